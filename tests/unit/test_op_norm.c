/* tests/unit/test_op_norm.c - layer norm, RMS norm, l2 norm: closed forms, naive twin, extremes, empty shapes, thread counts. */
#include "rowops.h"

static void closed_forms(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {1, 3, -1, 1}, w[] = {2, 10}, b[] = {0.5, -1};
    ed_tensor *tx = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 2), x), *tw = ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(2), w);
    ed_tensor *tb = ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(2), b);
    /* rows have deviation 1 around 2 and 0; eps 3 makes 1/std = 1/2 */
    const double ln[] = {-0.5 * 2 + 0.5, 0.5 * 10 - 1, -0.5 * 2 + 0.5, 0.5 * 10 - 1}, bare[] = {-0.5, 0.5, -0.5, 0.5};
    rowops_equal("layer norm", ed_layer_norm(g, tx, tw, tb, 3), ln, 1e-15);
    rowops_equal("layer norm, bare", ed_layer_norm(g, tx, NULL, NULL, 3), bare, 1e-15);
    const double bias_only[] = {0, -0.5, 0, -0.5};
    rowops_equal("layer norm, bias", ed_layer_norm(g, tx, NULL, tb, 3), bias_only, 1e-15);
    /* mean squares 5 and 1; eps 4 and 3 make 1/3 and 1/2 */
    const double rms[] = {1 / 3.0, 1, -1 / sqrt(5), 1 / sqrt(5)};
    rowops_equal("rms norm", ed_rms_norm(g, tx, NULL, 4), rms, 1e-15);
    const double rms_w[] = {2 / 3.0, 10, -2 / sqrt(5), 10 / sqrt(5)};
    rowops_equal("rms norm, weight", ed_rms_norm(g, tx, tw, 4), rms_w, 1e-15);
    double y[] = {3, 4, 0.3, 0.4, 0, 0};
    const double l2[] = {0.6, 0.8, 0.3, 0.4, 0, 0};
    rowops_equal("l2", ed_l2_norm(g, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(3, 2), y), 1), l2, 1e-15);
    ed_graph_destroy(&g);
}

static void zero_rows(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        ed_graph *g = rowops_graph();
        ed_tensor *x = ed_watch(g, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 5)));
        ed_tensor *y = kind == 0 ? ed_layer_norm(g, x, NULL, NULL, 1e-5) : kind == 1 ? ed_rms_norm(g, x, NULL, 1e-5) : ed_l2_norm(g, x, 0);
        ed_seed seed = {y, NULL};
        rowops_must(g, y);
        assert_int_equal(ed_backward(g, &seed, 1, NULL), ED_OK);
        for (int64_t i = 0; i < 10; i++) {
            rowops_close("zero row", ed_get(y, i), 0, 0);
            assert_true(isfinite(ed_get(ed_grad(g, x), i)));
        }
        ed_graph_destroy(&g);
    }
}

/* Large offsets: the two-pass variance keeps the deviation that a sum of squares would lose. */
static void large_offset(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float x[64];
    for (int i = 0; i < 64; i++)
        x[i] = 65536.0f + (float)(i % 2);
    ed_tensor *y = ed_layer_norm(g, ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(64), x), NULL, NULL, 0);
    for (int i = 0; i < 64; i++)
        rowops_close("offset", ed_get(y, i), i % 2 ? 1 : -1, 1e-3);
    ed_graph_destroy(&g);
}

static void small_shapes(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{0, 4}, {4, 0}, {1, 1}, {3, 1}};
    for (int s = 0; s < 4; s++) {
        ed_graph *g = rowops_graph();
        ed_tensor *x = ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, shapes[s], 7)), *w = ed_watch(g, ed_full(g, ED_DTYPE_F32, 1, &shapes[s][1], 2));
        ed_tensor *y[] = {ed_layer_norm(g, x, w, w, 1e-5), ed_rms_norm(g, x, w, 0), ed_l2_norm(g, x, 1e-9)};
        const double want[] = {2, 2, 1};
        for (int i = 0; i < 3; i++) {
            rowops_must(g, y[i]);
            for (int64_t k = 0; k < ed_numel(y[i]); k++)
                rowops_close("one number", ed_get(y[i], k), want[i], 1e-6);
        }
        ed_seed seeds[] = {{y[0], NULL}, {y[1], NULL}, {y[2], NULL}};
        assert_int_equal(ed_backward(g, seeds, 3, NULL), ED_OK);
        if (shapes[s][1] == 1) /* d/dw: layer norm 0 (deviation) + rows (as bias), rms norm 1 per row */
            rowops_close("shared w and b", ed_get(ed_grad(g, w), 0), 2.0 * (double)shapes[s][0], 1e-6);
        ed_graph_destroy(&g);
    }
}

static void refusals(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const int64_t xs[] = {2, 3};
    rowops_refused(g, ed_layer_norm(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(2)), NULL, 1e-5), ED_E_SHAPE, "3 numbers");
    rowops_refused(g, ed_rms_norm(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(3)), 1e-5), ED_E_DTYPE, "f64");
    rowops_refused(g, ed_rms_norm(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), NULL, -1), ED_E_INVALID, "eps");
    rowops_refused(g, ed_l2_norm(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), NAN), ED_E_INVALID, "eps");
    rowops_refused(g, ed_layer_norm(g, ed_zeros(g, ED_DTYPE_F32, 0, NULL), NULL, NULL, 1e-5), ED_E_SHAPE, "axis");
    ed_graph_destroy(&g);
}

static ed_tensor *layer_fn(ed_graph *g, ed_tensor **x) {
    return ed_layer_norm(g, x[0], x[1], x[2], 1e-5);
}
static ed_tensor *rms_fn(ed_graph *g, ed_tensor **x) {
    return ed_rms_norm(g, x[0], x[1], 1e-5);
}
static ed_tensor *l2_fn(ed_graph *g, ed_tensor **x) {
    return ed_l2_norm(g, x[0], 1e-6);
}

static void common_checks(void **state) {
    (void)state;
    const rowops_in in[] = {{.rank = 3, .shape = {5, 71, 531}}, {.rank = 1, .shape = {531}}, {.rank = 1, .shape = {531}}}, short_rows[] = {{.rank = 2, .shape = {4001, 33}}, {.rank = 1, .shape = {33}}, {.rank = 1, .shape = {33}}};
    rowops_check(layer_fn, in, 3, 3e-5); /* sums of 355 rows */
    rowops_check(layer_fn, short_rows, 3, 3e-5); /* sums of 4001 rows */
    rowops_check(rms_fn, in, 2, 3e-5);
    rowops_check(l2_fn, in, 1, 2e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms), cmocka_unit_test(zero_rows), cmocka_unit_test(large_offset),
        cmocka_unit_test(small_shapes), cmocka_unit_test(refusals),  cmocka_unit_test(common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
