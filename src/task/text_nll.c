/* task/text_nll.c - how well a decoder-only model predicts a text: rows that overlap, so that counted tokens have context. */
#include <math.h>

#include "base/internal.h"
#include "endec/text.h"

/** Negative log-likelihood of tokens [from, n) of one row, teacher-forced. */
static ed_status row_nll(const ed_text_model *m, ed_graph *g, const int32_t *ids, int64_t n, int64_t from, double *sum, ed_error *err) {
    ed_graph_reset(g);
    ed_rows rows = {.batch = 1, .len = n - 1, .ids = ids};
    ed_tensor *h = ed_model_decode(m->model, g, &rows, NULL, NULL);
    ed_tensor *logits = ed_model_logits(m->model, g, ed_slice(g, h, 1, from - 1, n - 1, 1));
    int64_t k = n - from;
    ed_tensor *targets = ed_from(g, ED_DTYPE_I32, 2, (int64_t[]){1, k}, ids + from);
    ed_tensor *loss = ed_xent_ids(g, logits, targets, NULL, 0);
    ED_TRY(ed_graph_status(g, err));
    *sum += ed_get(loss, 0) * (double)k;
    return isfinite(*sum) ? ED_OK : ed_error_set(err, ED_E_NUMERIC, "", ED_NO_OFFSET, "the model gave a number that is not finite");
}

static ed_status run(const ed_text_model *m, const ed_token_ids *ids, int64_t length, int64_t stride, double *nats, int64_t *tokens, ed_error *err) {
    ed_graph *g;
    double sum = 0;
    int64_t done = 1; /* tokens before `done` are counted; the first token has no context */
    ed_status s = ED_OK;
    ED_FAIL_IF(ids->n < 2, ED_E_INVALID, err, "the text has fewer than two tokens");
    ED_FAIL_IF(ed_graph_create(NULL, &g) != ED_OK, ED_E_MEMORY, err, "no memory for a graph");
    while (done < ids->n && s == ED_OK) {
        int64_t fresh = done == 1 ? length : stride, end = done + fresh < ids->n ? done + fresh : ids->n, begin = end - length - 1 > 0 ? end - length - 1 : 0;
        s = row_nll(m, g, ids->ids + begin, end - begin, done - begin, &sum, err);
        done = end;
    }
    ed_graph_destroy(&g);
    *tokens = ids->n - 1;
    *nats = sum / (double)(ids->n - 1);
    return s;
}

ed_status ed_text_nll(const ed_text_model *m, const char *text, size_t bytes, int64_t length, int64_t stride, double *nats, int64_t *tokens, ed_error *err) {
    const ed_model_config *c = ed_model_get_config(m->model);
    ed_token_ids ids = {0};
    ED_FAIL_IF(c->kind != ED_MODEL_DECODER, ED_E_STATE, err, "perplexity needs a decoder-only model");
    length = length > 0 && length <= c->max_positions ? length : c->max_positions;
    stride = stride > 0 && stride <= length ? stride : length;
    ed_status s = ed_text_encode(m, text, bytes, &ids, err);
    if (s == ED_OK)
        s = run(m, &ids, length, stride, nats, tokens, err);
    ed_token_ids_deinit(&ids);
    return s;
}
