/* inspect/probe_identical_token.c - the identical-token test of Luo et al. 2022 ("Your Transformer May Not be as Powerful as You Expect", section 3): does a
 * model tell the places of equal tokens apart? */
#include <math.h>

#include "base/internal.h"
#include "endec/inspect.h"

/** Largest distance of a row from row 0. x [1, n, d], contiguous. */
static double largest_gap(const ed_tensor *x, int64_t n) {
    int64_t d = x->shape[x->rank - 1];
    double gap = 0;
    for (int64_t i = 1; i < n; i++) {
        for (int64_t k = 0; k < d; k++) {
            double diff = fabs(ed_get(x, i * d + k) - ed_get(x, k));
            if (!(diff <= gap)) /* NaN must show */
                gap = diff;
        }
    }
    return gap;
}

static ed_status run(const ed_model *m, ed_graph *g, const int32_t *ids, int64_t n, double *gap, ed_error *err) {
    ed_rows rows = {.batch = 1, .len = n, .ids = ids};
    bool decoder = ed_model_get_config(m)->kind == ED_MODEL_DECODER;
    ed_tensor *x = decoder ? ed_model_decode(m, g, &rows, NULL, NULL) : ed_model_encode(m, g, &rows);
    x = x ? ed_contiguous(g, x) : NULL;
    ED_TRY(ed_graph_status(g, err));
    *gap = largest_gap(x, n);
    return ED_OK;
}

ed_status ed_inspect_identical_token(const ed_model *m, int32_t token, int64_t n, double *gap, ed_error *err) {
    const ed_model_config *c = ed_model_get_config(m);
    ed_graph_opts o = ed_graph_opts_infer();
    ed_graph *g;
    *gap = 0;
    ED_FAIL_IF(n < 2 || n > 1 << 20, ED_E_RANGE, err, "the identical-token test takes 2 to %d rows, not %lld", 1 << 20, (long long)n);
    ED_FAIL_IF(token < 0 || token >= c->vocab_size, ED_E_RANGE, err, "token %d is not in the vocabulary of %lld", token, (long long)c->vocab_size);
    ED_FAIL_IF(ed_graph_create(&o, &g) != ED_OK, ED_E_MEMORY, err, "no memory for the identical-token test");
    int32_t *ids = ed_arena_alloc(ed_graph_arena(g), (size_t)n * sizeof *ids);
    if (!ids) {
        ed_graph_destroy(&g);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %lld rows", (long long)n);
    }
    for (int64_t i = 0; i < n; i++)
        ids[i] = token;
    ed_status s = run(m, g, ids, n, gap, err);
    ed_graph_destroy(&g);
    return s;
}
