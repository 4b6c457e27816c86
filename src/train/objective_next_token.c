/* train/objective_next_token.c - cross entropy of the decoder's next token, for encoder-decoder models (teacher forcing), causal and prefix language models.
 * In training the reported loss is the optimised one, label smoothing (Szegedy et al. 2016) included; in evaluation it is the plain negative log-likelihood. */
#include "base/internal.h"
#include "endec/train.h"

static ed_status step(void *self, ed_train_pass *p, ed_error *err) {
    ed_graph *g = p->g;
    const ed_batch *b = p->batch;
    int64_t shape[2] = {b->tgt.batch, b->tgt.len};
    bool pair = ed_model_get_config(p->model)->kind == ED_MODEL_ENCDEC;
    (void)self;
    ed_tensor *memory = pair ? ed_model_encode(p->model, g, &b->src) : NULL;
    ed_tensor *states = ed_model_decode(p->model, g, &b->tgt, memory, pair ? &b->src : NULL);
    ed_tensor *logits = ed_model_logits(p->model, g, states);
    ed_tensor *targets = ed_wrap(g, ED_DTYPE_I32, 2, shape, b->targets), *weights = ed_wrap(g, ED_DTYPE_F32, 2, shape, b->weights);
    ed_tensor *loss = ed_xent_ids(g, logits, targets, weights, p->train ? p->smoothing : 0);
    ED_TRY(ed_graph_status(g, err));
    p->weight = b->weight;
    p->loss_sum = ed_get(loss, 0) * b->weight;
    return p->train ? ed_backward_loss(g, loss, p->scale, err) : ED_OK;
}

ed_objective ed_objective_next_token(void) {
    return (ed_objective){.name = "next_token", .step = step};
}
