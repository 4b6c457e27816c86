/* tests/unit/test_op_loss.c - losses: closed forms, naive twins, weights and ignored rows, bad targets, extremes, thread counts. */
#include "rowops.h"

static double loss_of(ed_graph *g, ed_tensor *y) {
    rowops_must(g, y);
    assert_int_equal(y->rank, 0);
    return ed_get(y, 0);
}

static void xent_closed_forms(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {0, log(2), log(5), 0, 0, 0};
    int32_t t[] = {1, 2};
    float w[] = {3, 1};
    ed_tensor *tx = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 3), x), *tt = ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(2), t);
    ed_tensor *tw = ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(2), w);
    double a = log(8 / 2.0), b = log(3), sa = log(8) - log(10) / 3; /* sa: mean over the classes of -log p */
    rowops_close("plain", loss_of(g, ed_xent_ids(g, tx, tt, NULL, 0)), (a + b) / 2, 1e-15);
    rowops_close("weighted", loss_of(g, ed_xent_ids(g, tx, tt, tw, 0)), (3 * a + b) / 4, 1e-15);
    rowops_close("smoothed", loss_of(g, ed_xent_ids(g, tx, tt, tw, 0.25)), (3 * (0.75 * a + 0.25 * sa) + b) / 4, 1e-15);
    double soft[] = {0.5, 0.5, 0, 0.2, 0.3, 0.5};
    ed_tensor *ts = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 3), soft);
    double ca = 0.5 * log(8) + 0.5 * log(4), h = 0.2 * log(0.2) + 0.3 * log(0.3) + 0.5 * log(0.5);
    rowops_close("soft", loss_of(g, ed_xent_soft(g, tx, ts, tw)), (3 * ca + b) / 4, 1e-15);
    rowops_close("kl", loss_of(g, ed_kl_div(g, tx, ts, tw)), (3 * (ca - log(2)) + b + h) / 4, 1e-15);
    double p[] = {1 / 8.0, 2 / 8.0, 5 / 8.0, 1 / 3.0, 1 / 3.0, 1 / 3.0};
    rowops_close("kl to itself", loss_of(g, ed_kl_div(g, tx, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 3), p), NULL)), 0, 1e-15);
    ed_graph_destroy(&g);
}

/* Gradient of a row is w / sum(w) * (softmax - smoothed target). */
static void xent_gradient(void **state) {
    (void)state;
    for (int f64 = 0; f64 < 2; f64++) {
        ed_graph *g = rowops_graph();
        ed_rng rng = ed_rng_make(1, 0);
        ed_tensor *x = ed_watch(g, rowops_floats(g, f64 ? ED_DTYPE_F64 : ED_DTYPE_F32, 2, ROWOPS_SHAPE(4, 700), -4, 4, &rng));
        int32_t t[] = {0, 699, -5, 350};
        float w[] = {1, 2, 0, 0.5f};
        ed_tensor *loss = ed_xent_ids(g, x, ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(4), t), ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(4), w), 0.1);
        rowops_must(g, loss);
        assert_int_equal(ed_backward_loss(g, loss, 10, NULL), ED_OK);
        ed_tensor *p = ed_softmax(g, x, NULL, false);
        for (int64_t r = 0; r < 4; r++)
            for (int64_t j = 0; j < 700; j++) {
                double target = (j == t[r] ? 0.9 : 0) + 0.1 / 700;
                rowops_close("gradient", ed_get(ed_grad(g, x), r * 700 + j), 10 * w[r] / 3.5 * (ed_get(p, r * 700 + j) - target), f64 ? 1e-14 : 2e-6);
            }
        ed_graph_destroy(&g);
    }
}

/* Rows of weight 0 may hold anything; when all weights are 0 loss and gradient are 0. */
static void ignored_rows(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float x[] = {1, 2, NAN, INFINITY}, w[] = {1, 0}, none[] = {0, 0}, soft[] = {0, 1, NAN, 1};
    int32_t t[] = {1, 1000000};
    for (int all = 0; all < 2; all++)
        for (int kind = 0; kind < 6; kind++) {
            ed_tensor *tx = ed_watch(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 2), x)), *ts = ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 2), soft);
            ed_tensor *tw = ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(2), all ? none : w), *y = NULL;
            ed_tensor *tt = ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(2), t);
            y = kind == 0 ? ed_xent_ids(g, tx, tt, tw, 0.1) : kind == 1 ? ed_xent_soft(g, tx, ts, tw) : kind == 2 ? ed_kl_div(g, tx, ts, tw) : y;
            y = kind == 3 ? ed_mse(g, tx, ts, tw) : kind == 4 ? ed_smooth_l1(g, tx, ts, tw, 1) : kind == 5 ? ed_bce_logits(g, tx, ts, tw, 2) : y;
            double v = loss_of(g, y);
            assert_true(all ? v == 0 : isfinite(v) && v > 0);
            assert_int_equal(ed_backward_loss(g, y, 1, NULL), ED_OK);
            for (int64_t i = 0; i < 4; i++) {
                double d = ed_get(ed_grad(g, tx), i);
                assert_true(all || i >= 2 ? d == 0 : isfinite(d) && d != 0);
            }
        }
    ed_graph_destroy(&g);
}

static void bad_targets(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    int32_t high[] = {0, 3}, low[] = {-1, 0};
    const int64_t xs[] = {2, 3}, rows[] = {2};
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_from(g, ED_DTYPE_I32, 1, rows, high), NULL, 0), ED_E_RANGE, "target 3 of row 1");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_from(g, ED_DTYPE_I32, 1, rows, low), NULL, 0), ED_E_RANGE, "target -1 of row 0");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_I32, 1, rows), NULL, 1), ED_E_RANGE, "smoothing");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_I32, 1, rows), NULL, NAN), ED_E_RANGE, "smoothing");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F32, 1, rows), NULL, 0), ED_E_DTYPE, "targets");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_I32, 2, xs), NULL, 0), ED_E_SHAPE, "targets");
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_I32, 1, rows), ed_zeros(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(3)), 0), ED_E_SHAPE, "weights");
    rowops_refused(g, ed_xent_soft(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F64, 2, xs), NULL), ED_E_DTYPE, "f64");
    rowops_refused(g, ed_mse(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F32, 1, rows), NULL), ED_E_SHAPE, "shape");
    rowops_refused(g, ed_smooth_l1(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F32, 2, xs), NULL, -1), ED_E_INVALID, "-1");
    ed_graph_destroy(&g);
}

static void pair_closed_forms(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double a[] = {1, 2, 3, 4}, b[] = {1, 0, 3.5, 1}, w[] = {1, 3};
    ed_tensor *ta = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 2), a), *tb = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 2), b);
    ed_tensor *tw = ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(2), w);
    rowops_close("mse", loss_of(g, ed_mse(g, ta, tb, NULL)), (0 + 4 + 0.25 + 9) / 4, 1e-15);
    rowops_close("mse w", loss_of(g, ed_mse(g, ta, tb, tw)), (1 * 2 + 3 * 4.625) / 4, 1e-15);
    rowops_close("l1 w", loss_of(g, ed_l1(g, ta, tb, tw)), (1 * 1 + 3 * 1.75) / 4, 1e-15);
    rowops_close("smooth l1", loss_of(g, ed_smooth_l1(g, ta, tb, NULL, 2)), (0 + 1 + 0.0625 + 2) / 4, 1e-15);
    rowops_close("smooth l1, beta 0", loss_of(g, ed_smooth_l1(g, ta, tb, tw, 0)), (1 * 1 + 3 * 1.75) / 4, 1e-15);
    double each[] = {0, 1, 2, 1};
    rowops_close("mse per element", loss_of(g, ed_mse(g, ta, tb, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 2), each))), (4 + 2 * 0.25 + 9) / 4, 1e-15);
    double x[] = {0, log(3), -log(3), 0}, t[] = {1, 1, 0, 0.5}; /* sigmoid 1/2, 3/4, 1/4, 1/2 */
    double want = (2 * log(2) + 2 * log(4 / 3.0) + log(4 / 3.0) + 1.5 * log(2)) / 4;
    rowops_close("bce", loss_of(g, ed_bce_logits(g, ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(4), x), ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(4), t), NULL, 2)), want, 1e-15);
    ed_graph_destroy(&g);
}

static void extremes(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float x[] = {1e30f, -1e30f, 1e30f, 0}, z[] = {1e4f, -1e4f}, one[] = {1, 0}, other[] = {0, 1};
    int32_t t[] = {0, 1};
    const int64_t two[] = {2};
    ed_tensor *tx = ed_watch(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 2), x));
    rowops_close("huge", loss_of(g, ed_xent_ids(g, tx, ed_from(g, ED_DTYPE_I32, 1, two, t), NULL, 0)) / 1e30, 0.5, 1e-6);
    ed_tensor *tz = ed_watch(g, ed_from(g, ED_DTYPE_F32, 1, two, z));
    rowops_close("bce right", loss_of(g, ed_bce_logits(g, tz, ed_from(g, ED_DTYPE_F32, 1, two, one), NULL, 1)), 0, 0);
    ed_tensor *wrong = ed_bce_logits(g, tz, ed_from(g, ED_DTYPE_F32, 1, two, other), NULL, 1);
    rowops_close("bce wrong", loss_of(g, wrong), 1e4, 1e-6);
    assert_int_equal(ed_backward_loss(g, wrong, 1, NULL), ED_OK);
    rowops_close("bce slope", ed_get(ed_grad(g, tz), 0), 0.5, 1e-6);
    rowops_close("bce slope", ed_get(ed_grad(g, tz), 1), -0.5, 1e-6);
    /* a class of logit -inf has probability 0: fine unless it is the target */
    float masked[] = {0, -INFINITY};
    int32_t first[] = {0};
    rowops_close("-inf", loss_of(g, ed_xent_ids(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(1, 2), masked), ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(1), first), NULL, 0)), 0, 0);
    rowops_close("-inf soft", loss_of(g, ed_xent_soft(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(1, 2), masked), ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(1, 2), one), NULL)), 0, 0);
    ed_graph_destroy(&g);
}

static void small_shapes(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const int64_t none[] = {0, 3}, empty[] = {3, 0}, single[] = {1, 1};
    rowops_close("no rows", loss_of(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, none), ed_zeros(g, ED_DTYPE_I32, 1, none), NULL, 0)), 0, 0);
    rowops_close("no rows", loss_of(g, ed_mse(g, ed_zeros(g, ED_DTYPE_F32, 2, none), ed_zeros(g, ED_DTYPE_F32, 2, none), NULL)), 0, 0);
    rowops_close("empty rows", loss_of(g, ed_l1(g, ed_zeros(g, ED_DTYPE_F32, 2, empty), ed_zeros(g, ED_DTYPE_F32, 2, empty), NULL)), 0, 0);
    rowops_refused(g, ed_xent_ids(g, ed_zeros(g, ED_DTYPE_F32, 2, empty), ed_zeros(g, ED_DTYPE_I32, 1, empty), NULL, 0), ED_E_SHAPE, "class");
    rowops_close("one class", loss_of(g, ed_xent_ids(g, ed_full(g, ED_DTYPE_F32, 2, single, 9), ed_zeros(g, ED_DTYPE_I32, 1, single), NULL, 0.5)), 0, 0);
    rowops_close("scalars", loss_of(g, ed_mse(g, ed_full(g, ED_DTYPE_F64, 0, NULL, 3), ed_full(g, ED_DTYPE_F64, 0, NULL, 1), NULL)), 4, 0);
    ed_tensor *x = ed_watch(g, ed_full(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(3), 3)), *same = ed_mse(g, x, x, NULL);
    rowops_close("itself", loss_of(g, same), 0, 0);
    assert_int_equal(ed_backward_loss(g, same, 1, NULL), ED_OK);
    rowops_close("itself", ed_get(ed_grad(g, x), 1), 0, 0);
    ed_graph_destroy(&g);
}

static ed_tensor *xent_fn(ed_graph *g, ed_tensor **x) {
    return ed_xent_ids(g, x[0], x[1], x[2], 0.1);
}
static ed_tensor *soft_fn(ed_graph *g, ed_tensor **x) {
    return ed_xent_soft(g, x[0], x[1], x[2]);
}
static ed_tensor *kl_fn(ed_graph *g, ed_tensor **x) {
    return ed_kl_div(g, x[0], x[1], x[2]);
}
static ed_tensor *mse_fn(ed_graph *g, ed_tensor **x) {
    return ed_mse(g, x[0], x[1], x[2]);
}
static ed_tensor *l1_fn(ed_graph *g, ed_tensor **x) {
    return ed_l1(g, x[0], x[1], x[2]);
}
static ed_tensor *smooth_fn(ed_graph *g, ed_tensor **x) {
    return ed_smooth_l1(g, x[0], x[1], x[2], 0.7);
}
static ed_tensor *bce_fn(ed_graph *g, ed_tensor **x) {
    return ed_bce_logits(g, x[0], x[1], x[2], 1.7);
}

static void common_checks(void **state) {
    (void)state;
    const rowops_in ids[] = {{.rank = 3, .shape = {3, 23, 1300}, .lo = -8, .hi = 8}, {.rank = 2, .shape = {3, 23}, .id_limit = 1300}, {.rank = 2, .shape = {3, 23}, .constant = true, .lo = 0, .hi = 1}};
    const rowops_in soft[] = {{.rank = 2, .shape = {71, 1300}}, {.rank = 2, .shape = {71, 1300}, .constant = true, .lo = 0, .hi = 0.002}, {.rank = 1, .shape = {71}, .constant = true, .lo = 0, .hi = 1}};
    const rowops_in pair[] = {{.rank = 2, .shape = {71, 1300}}, {.rank = 2, .shape = {71, 1300}}, {.rank = 1, .shape = {71}, .constant = true, .lo = 0, .hi = 1}};
    const rowops_in each[] = {{.rank = 2, .shape = {40, 600}}, {.rank = 2, .shape = {40, 600}}, {.rank = 2, .shape = {40, 600}, .constant = true, .lo = 0, .hi = 1}};
    const rowops_in bce[] = {{.rank = 2, .shape = {71, 1300}}, {.rank = 2, .shape = {71, 1300}, .constant = true, .lo = 0, .hi = 1}, {.rank = 1, .shape = {71}, .constant = true, .lo = 0, .hi = 1}};
    rowops_check(xent_fn, ids, 3, 1e-6);
    rowops_check(soft_fn, soft, 3, 1e-6);
    rowops_check(kl_fn, soft, 3, 1e-6);
    rowops_check(mse_fn, pair, 3, 1e-6);
    rowops_check(l1_fn, pair, 3, 1e-6);
    rowops_check(smooth_fn, pair, 3, 1e-6);
    rowops_check(mse_fn, each, 3, 1e-6);
    rowops_check(bce_fn, bce, 3, 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xent_closed_forms), cmocka_unit_test(xent_gradient), cmocka_unit_test(ignored_rows), cmocka_unit_test(bad_targets),
        cmocka_unit_test(pair_closed_forms), cmocka_unit_test(extremes),      cmocka_unit_test(small_shapes), cmocka_unit_test(common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
