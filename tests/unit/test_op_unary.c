/* tests/unit/test_op_unary.c - values of the elementwise functions: closed forms, far ends, special values, in f32 and f64. */
#include "unit/op_test.h"

static double apply(ed_graph *g, ed_unary kind, ed_dtype d, double x) {
    ed_tensor *y = ed_unary_op(g, kind, ed_full(g, d, 0, NULL, x));
    assert_non_null(y);
    return ed_get(y, 0);
}

static void values(void **state) {
    static const struct {
        ed_unary kind;
        double x, y;
    } points[] = {
        {ED_NEG, 1.5, -1.5},
        {ED_ABS, -2.25, 2.25},
        {ED_EXP, 1, 2.718281828459045},
        {ED_EXP, -0.0, 1},
        {ED_LOG, 10, 2.302585092994046},
        {ED_LOG, 0, -INFINITY},
        {ED_LOG1P, 1e-10, 9.9999999995e-11},
        {ED_SQRT, 2, 1.4142135623730951},
        {ED_RSQRT, 4, 0.5},
        {ED_SQUARE, -3, 9},
        {ED_SIN, 1, 0.8414709848078965},
        {ED_COS, 1, 0.5403023058681398},
        {ED_SIN, 100, -0.5063656411097588},
        {ED_TANH, 0.5, 0.46211715726000975},
        {ED_TANH, 50, 1},
        {ED_SIGMOID, 1, 0.7310585786300049},
        {ED_SIGMOID, 800, 1},
        {ED_SIGMOID, -800, 0},
        {ED_ERF, 0.5, 0.5204998778130465},
        {ED_ERF, -6, -1},
        {ED_RELU, -2, 0},
        {ED_RELU, 3, 3},
        {ED_LEAKY_RELU, -2, -0.02},
        {ED_ELU, -1, -0.6321205588285577},
        {ED_SILU, 1, 0.7310585786300049},
        {ED_SILU, -800, 0},
        {ED_GELU_TANH, 1, 0.8411919906082768},
        {ED_GELU_TANH, -30, 0},
        {ED_GELU_ERF, 1, 0.8413447460685429},
        {ED_GELU_ERF, 30, 30},
        {ED_SOFTPLUS, 0, 0.6931471805599453},
        {ED_SOFTPLUS, 800, 800},
        {ED_SOFTPLUS, -20, 2.061153620314381e-09},
        {ED_ROUND, 0.5, 0},
        {ED_ROUND, 1.5, 2},
        {ED_ROUND, -2.5, -2},
        {ED_ROUND, 2.4999, 2},
    };
    ed_graph *g = new_graph(false);
    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        for (int k = 0; k < 2; k++) {
            double got = apply(g, points[i].kind, k ? ED_DTYPE_F64 : ED_DTYPE_F32, points[i].x), want = points[i].y, tol = k ? 1e-14 : 1e-6;
            if (!(fabs(got - want) <= tol * fabs(want)) && got != want && !(want == 0 && fabs(got) < 1e-30))
                fail_msg("%s(%g) in %s: %.17g, expected %.17g", ed_unary_name(points[i].kind), points[i].x, k ? "f64" : "f32", got, want);
        }
    }
    ed_graph_destroy(&g);
}

/* NaN in, NaN out, in every kind and format */
static void nan_passes(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    for (int kind = 0; kind < ED_UNARY_COUNT; kind++)
        for (int k = 0; k < 2; k++)
            if (!isnan(apply(g, (ed_unary)kind, k ? ED_DTYPE_F64 : ED_DTYPE_F32, NAN)))
                fail_msg("%s loses NaN in %s", ed_unary_name((ed_unary)kind), k ? "f64" : "f32");
    assert_true(isnan(ed_get(ed_clamp(g, ed_full(g, ED_DTYPE_F32, 0, NULL, NAN), 0, 1), 0)));
    ed_graph_destroy(&g);
}

/* named wrappers call the kind of their name */
static void names(void **state) {
    typedef ed_tensor *(*fn)(ed_graph *, ed_tensor *);
    static const fn wrappers[ED_UNARY_COUNT] = {ed_neg,  ed_abs,     ed_exp, ed_log,  ed_log1p, ed_sqrt, ed_rsqrt, ed_square,    ed_sin,      ed_cos,      ed_tanh,
                                                ed_sigmoid, ed_erf, ed_relu, NULL,     ed_elu,  ed_silu,  ed_gelu_tanh, ed_gelu_erf, ed_softplus, ed_round};
    ed_graph *g = new_graph(false);
    (void)state;
    for (int kind = 0; kind < ED_UNARY_COUNT; kind++) {
        if (!wrappers[kind])
            continue;
        ed_tensor *x = ed_full(g, ED_DTYPE_F32, 0, NULL, 0.7);
        assert_true(ed_get(wrappers[kind](g, x), 0) == ed_get(ed_unary_op(g, (ed_unary)kind, x), 0));
    }
    assert_string_equal(ed_unary_name(ED_GELU_TANH), "gelu_tanh");
    assert_string_equal(ed_unary_name(ED_ROUND), "round");
    assert_string_equal(ed_unary_name(ED_UNARY_COUNT), "?");
    ed_graph_destroy(&g);
}

static void constants(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_tensor *x = ed_transpose(g, ramp(g, k ? ED_DTYPE_F64 : ED_DTYPE_F32, DIMS(2, 3), -2, 1), 0, 1);
        assert_tensor(ed_affine(g, x, 2, 1), DIMS(3, 2), (double[]){-3, 3, -1, 5, 1, 7}, 0);
        assert_tensor(ed_clamp(g, x, -1, 2), DIMS(3, 2), (double[]){-1, 1, -1, 2, 0, 2}, 0);
        assert_tensor(ed_lower_bound(g, x, 0.5), DIMS(3, 2), (double[]){0.5, 1, 0.5, 2, 0.5, 3}, 0);
        assert_tensor(ed_leaky_relu(g, x, 0.5), DIMS(3, 2), (double[]){-1, 1, -0.5, 2, 0, 3}, 0);
    }
    ed_graph_destroy(&g);
}

static void refused(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    assert_fails(g, ed_exp(g, ed_zeros(g, ED_DTYPE_I32, DIMS(2))), ED_E_DTYPE);
    assert_fails(g, ed_exp(g, ed_zeros(g, ED_DTYPE_BF16, DIMS(2))), ED_E_DTYPE);
    assert_fails(g, ed_exp(g, NULL), ED_E_INVALID);
    assert_fails(g, ed_unary_op(g, ED_UNARY_COUNT, ed_zeros(g, ED_DTYPE_F32, DIMS(2))), ED_E_INVALID);
    assert_fails(g, ed_clamp(g, ed_zeros(g, ED_DTYPE_F32, DIMS(2)), 1, 0), ED_E_INVALID);
    assert_int_equal(ed_numel(ed_exp(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3, 0)))), 0);
    ed_graph_destroy(&g);
}

/* non-linear elements are counted, linear ones are not */
static void counted(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    ed_tensor *x = ed_zeros(g, ED_DTYPE_F32, DIMS(3, 5));
    ed_neg(g, ed_affine(g, x, 1, 2));
    assert_true(ed_graph_count(g).nonlinear == 0);
    ed_relu(g, x);
    assert_true(ed_graph_count(g).nonlinear == 15);
    ed_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),  cmocka_unit_test(nan_passes), cmocka_unit_test(names),
        cmocka_unit_test(constants), cmocka_unit_test(refused),  cmocka_unit_test(counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
