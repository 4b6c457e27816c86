/* tests/grad/test_grad_unary.c - gradients of the elementwise functions of one tensor, away from their kinks. */
#include "grad/twincheck.h"

typedef struct unary_case {
    ed_unary kind;
    double lo, hi;
} unary_case;

/* every kind, on ranges without kinks and poles */
static const unary_case cases[] = {
    {ED_NEG, -2, 2},        {ED_ABS, 0.1, 2},      {ED_ABS, -2, -0.1},      {ED_EXP, -3, 3},      {ED_LOG, 0.2, 4},        {ED_LOG1P, -0.7, 3},
    {ED_SQRT, 0.2, 4},      {ED_RSQRT, 0.2, 4},    {ED_SQUARE, -2, 2},      {ED_SIN, -4, 4},      {ED_COS, -4, 4},         {ED_TANH, -3, 3},
    {ED_SIGMOID, -6, 6},    {ED_ERF, -2, 2},       {ED_RELU, 0.1, 2},       {ED_RELU, -2, -0.1},  {ED_LEAKY_RELU, 0.1, 2}, {ED_LEAKY_RELU, -2, -0.1},
    {ED_ELU, 0.1, 2},       {ED_ELU, -3, -0.1},    {ED_SILU, -6, 6},        {ED_GELU_TANH, -4, 4}, {ED_GELU_ERF, -4, 4},   {ED_SOFTPLUS, -8, 8},
    {ED_ROUND, 0.6, 1.4},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static ed_tensor *unary(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_unary_op(g, ((const unary_case *)ctx)->kind, x[0]);
}

static void kinds_by_differences(void **state) {
    unsigned seen = 0;
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        unary_case c = cases[i];
        gradcheck_in in = {.rank = 2, .shape = {5, 7}, .lo = c.lo, .hi = c.hi};
        gradcheck(ed_unary_name(c.kind), unary, &c, &in, 1, 1e-7);
        seen |= 1u << c.kind;
    }
    assert_int_equal(seen, (1u << ED_UNARY_COUNT) - 1);
}

static void kinds_in_f32(void **state) {
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        unary_case c = cases[i];
        gradcheck_in small = {.rank = 3, .shape = {3, 1, 11}, .lo = c.lo, .hi = c.hi}, large = {.rank = 2, .shape = {70, 613}, .lo = c.lo, .hi = c.hi};
        twincheck(ed_unary_name(c.kind), unary, &c, &small, 1, 4e-6);
        twincheck(ed_unary_name(c.kind), unary, &c, &large, 1, 4e-6);
    }
}

static ed_tensor *leaky(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_leaky_relu(g, x[0], 0.3);
}
static ed_tensor *affine(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_affine(g, x[0], -1.5, 0.25);
}
static ed_tensor *clamp(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_clamp(g, x[0], -0.5, 0.7);
}

static void constants(void **state) {
    (void)state;
    gradcheck_in all = {.rank = 3, .shape = {2, 3, 4}}, below = {.rank = 1, .shape = {9}, .lo = -2, .hi = -0.1}, large = {.rank = 2, .shape = {80, 500}};
    gradcheck("leaky_relu", leaky, NULL, &below, 1, 1e-8);
    gradcheck("affine", affine, NULL, &all, 1, 1e-8);
    gradcheck("clamp", clamp, NULL, &all, 1, 1e-8);
    twincheck("leaky_relu", leaky, NULL, &below, 1, 1e-6);
    twincheck("affine", affine, NULL, &large, 1, 1e-6);
    twincheck("clamp", clamp, NULL, &large, 1, 1e-6);
}

/* lower_bound is not a derivative where the limit holds: a gradient that would lift the value (below 0) passes, one that would sink it stops */
static void lower_bound_rule(void **state) {
    (void)state;
    static const double x[4] = {-2, -2, 3, 3}, w[4] = {-1, 1, -1, 1}, want[4] = {-1, 0, -1, 1};
    for (int k = 0; k < 2; k++) {
        ed_dtype d = k ? ED_DTYPE_F64 : ED_DTYPE_F32;
        ed_graph *g;
        ed_graph_opts o = ed_graph_opts_train();
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *t = ed_watch(g, ed_cast(g, ed_from(g, ED_DTYPE_F64, 1, (int64_t[]){4}, x), d));
        ed_tensor *y = ed_lower_bound(g, t, 0.5), *cot = ed_cast(g, ed_from(g, ED_DTYPE_F64, 1, (int64_t[]){4}, w), d);
        assert_non_null(y);
        assert_int_equal(ed_backward(g, &(ed_seed){y, cot}, 1, NULL), ED_OK);
        for (int i = 0; i < 4; i++) {
            assert_true(ed_get(y, i) == (x[i] < 0.5 ? 0.5 : x[i]));
            assert_true(ed_get(ed_grad(g, t), i) == want[i]);
        }
        ed_graph_destroy(&g);
    }
}

/* derivatives exactly at kinks */
static void kinks(void **state) {
    (void)state;
    static const struct {
        ed_unary kind;
        double at, slope;
    } points[] = {{ED_ABS, 0, 0}, {ED_RELU, 0, 0}, {ED_LEAKY_RELU, 0, 0.01}, {ED_ELU, 0, 1}, {ED_ROUND, 0.5, 0}};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        for (int k = 0; k < 2; k++) {
            ed_graph *g;
            ed_graph_opts o = ed_graph_opts_train();
            assert_int_equal(ed_graph_create(&o, &g), ED_OK);
            ed_tensor *t = ed_watch(g, ed_full(g, k ? ED_DTYPE_F64 : ED_DTYPE_F32, 0, NULL, points[i].at));
            ed_tensor *y = ed_unary_op(g, points[i].kind, t);
            assert_int_equal(ed_backward_loss(g, y, 1, NULL), ED_OK);
            if (fabs(ed_get(ed_grad(g, t), 0) - points[i].slope) > 1e-8)
                fail_msg("%s at %g: slope %g", ed_unary_name(points[i].kind), points[i].at, ed_get(ed_grad(g, t), 0));
            ed_graph_destroy(&g);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_by_differences), cmocka_unit_test(kinds_in_f32), cmocka_unit_test(constants),
        cmocka_unit_test(lower_bound_rule),     cmocka_unit_test(kinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
