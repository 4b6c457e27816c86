/* tests/grad/test_grad_loss.c - losses against finite differences. */
#include "grad/gradcheck.h"

typedef struct options {
    int kind, weights; /* weights: 0 none, 1 per row, 2 per element */
    double param;
} options;

static ed_tensor *weights_of(ed_graph *g, const ed_tensor *x, int kind) {
    int64_t n = 1;
    for (int a = 0; a + 1 < x->rank; a++)
        n *= x->shape[a];
    ed_tensor *w = kind == 0 ? NULL : kind == 1 ? ed_new(g, ED_DTYPE_F32, 1, &n) : ed_new(g, ED_DTYPE_F32, x->rank, x->shape);
    for (int64_t i = 0; w && i < ed_numel(w); i++)
        ((float *)w->data)[i] = (float)(i * 5 % 4) * 0.5f + (ed_numel(w) == 1);
    return w;
}

static ed_tensor *by_ids(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const options *o = ctx;
    (void)n;
    ed_tensor *t = ed_new(g, ED_DTYPE_I32, x[0]->rank - 1, x[0]->shape);
    for (int64_t i = 0; t && i < ed_numel(t); i++)
        ((int32_t *)t->data)[i] = (int32_t)(i * 3 % x[0]->shape[x[0]->rank - 1]);
    return ed_xent_ids(g, x[0], t, weights_of(g, x[0], o->weights), o->param);
}

static ed_tensor *pair(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const options *o = ctx;
    ed_tensor *w = weights_of(g, x[0], o->weights);
    (void)n;
    switch (o->kind) {
    case 0:
        return ed_mse(g, x[0], x[1], w);
    case 1:
        return ed_l1(g, x[0], x[1], w);
    case 2:
        return ed_smooth_l1(g, x[0], x[1], w, o->param);
    case 3:
        return ed_bce_logits(g, x[0], x[1], w, o->param);
    case 4:
        return ed_xent_soft(g, x[0], x[1], w);
    default:
        return ed_kl_div(g, x[0], x[1], w);
    }
}

static void cross_entropy(void **state) {
    (void)state;
    static const gradcheck_in shapes[] = {{.rank = 1, .shape = {1}}, {.rank = 1, .shape = {5}}, {.rank = 2, .shape = {4, 1}}, {.rank = 2, .shape = {1, 6}}, {.rank = 2, .shape = {5, 7}, .lo = -4, .hi = 4}, {.rank = 3, .shape = {2, 3, 4}, .lo = -4, .hi = 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int k = 0; k < 4; k++) {
            options o = {.weights = k & 1, .param = k >> 1 ? 0.3 : 0};
            gradcheck("xent_ids", by_ids, &o, &shapes[s], 1, 1e-8);
        }
}

static void pairs(void **state) {
    (void)state;
    static const char *names[] = {"mse", "l1", "smooth_l1", "bce_logits", "xent_soft", "kl_div"};
    static const gradcheck_in shapes[] = {{.rank = 0, .shape = {0}}, {.rank = 1, .shape = {1}}, {.rank = 1, .shape = {6}}, {.rank = 2, .shape = {4, 1}}, {.rank = 2, .shape = {1, 5}}, {.rank = 2, .shape = {5, 7}, .lo = -4, .hi = 4}, {.rank = 3, .shape = {2, 3, 4}}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int kind = 0; kind < 6; kind++)
            for (int weights = 0; weights < (kind < 4 ? 3 : 2); weights++) {
                options o = {kind, weights, 0.6};
                gradcheck_in in[] = {shapes[s], shapes[s]};
                if (kind >= 4 && shapes[s].rank == 0)
                    continue;
                if (kind >= 3) { /* targets: constants in (0, 1) */
                    in[1].no_grad = true;
                    in[1].lo = 0.05, in[1].hi = 0.95;
                }
                gradcheck(names[kind], pair, &o, in, 2, 1e-7);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cross_entropy), cmocka_unit_test(pairs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
