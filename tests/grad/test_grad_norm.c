/* tests/grad/test_grad_norm.c - layer norm, RMS norm and l2 norm against finite differences. */
#include "grad/gradcheck.h"

static ed_tensor *layer(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    return ed_layer_norm(g, x[0], n > 1 ? x[1] : NULL, n > 2 ? x[2] : NULL, *(double *)ctx);
}
static ed_tensor *bias_only(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_layer_norm(g, x[0], NULL, x[1], *(double *)ctx);
}
static ed_tensor *rms(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    return ed_rms_norm(g, x[0], n > 1 ? x[1] : NULL, *(double *)ctx);
}
static ed_tensor *l2(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_l2_norm(g, x[0], *(double *)ctx);
}

static void all_kinds(void **state) {
    (void)state;
    static const gradcheck_in shapes[] = {{.rank = 1, .shape = {1}}, {.rank = 1, .shape = {6}}, {.rank = 2, .shape = {4, 1}}, {.rank = 2, .shape = {1, 5}}, {.rank = 2, .shape = {6, 7}, .lo = -3, .hi = 3}, {.rank = 3, .shape = {2, 3, 4}}, {.rank = 4, .shape = {2, 1, 2, 3}}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t n = shapes[s].shape[shapes[s].rank - 1];
        gradcheck_in in[] = {shapes[s], {.rank = 1, .shape = {n}}, {.rank = 1, .shape = {n}}};
        double eps = 0.1;
        for (int k = 1; k <= 3; k++)
            gradcheck("layer_norm", layer, &eps, in, k, 1e-7);
        gradcheck("layer_norm, bias only", bias_only, &eps, in, 2, 1e-7);
        for (int k = 1; k <= 2; k++)
            gradcheck("rms_norm", rms, &eps, in, k, 1e-7);
        in[0].lo = 0.2, in[0].hi = 1;
        eps = 1e-6;
        gradcheck("l2_norm", l2, &eps, in, 1, 1e-7);
        eps = 100; /* every row is held by eps: a plain scaling */
        gradcheck("l2_norm, held", l2, &eps, in, 1, 1e-7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
