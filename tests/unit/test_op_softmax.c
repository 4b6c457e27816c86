/* tests/unit/test_op_softmax.c - softmax and log-softmax: closed forms, masks, softmax-one, extreme logits, empty shapes, thread counts. */
#include "rowops.h"

static void closed_forms(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const double want[] = {1 / 6.0, 2 / 6.0, 3 / 6.0};
    for (int f64 = 0; f64 < 2; f64++) {
        double d[] = {0, log(2), log(3)};
        float f[] = {0, logf(2), logf(3)};
        ed_dtype dtype = f64 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        ed_tensor *x = ed_from(g, dtype, 1, ROWOPS_SHAPE(3), f64 ? (void *)d : (void *)f);
        double tol = f64 ? 1e-15 : 1e-6, logs[3];
        rowops_equal("softmax", ed_softmax(g, x, NULL, false), want, tol);
        for (int i = 0; i < 3; i++)
            logs[i] = log(want[i]);
        rowops_equal("log_softmax", ed_log_softmax(g, x, NULL), logs, tol);
    }
    ed_graph_destroy(&g);
}

static void softmax_one(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {log(3), -1000, 1000, 0}, want[] = {0.75, 0, 1, 0.5};
    rowops_equal("one", ed_softmax(g, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(4, 1), x), NULL, true), want, 1e-15);
    double pair[] = {-2, -1}, sum = 1 + exp(-2) + exp(-1), want2[] = {exp(-2) / sum, exp(-1) / sum};
    rowops_equal("one", ed_softmax(g, ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(2), pair), NULL, true), want2, 1e-15);
    ed_graph_destroy(&g);
}

/* naive f64 twin of one row */
static void twin(const double *x, const uint8_t *keep, double *y, int64_t n, bool one, bool logs) {
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        top = keep[i] ? fmax(top, x[i]) : top;
    if (one)
        top = fmax(top, 0);
    for (int64_t i = 0; i < n; i++)
        sum += keep[i] ? exp(x[i] - top) : 0;
    sum += one ? exp(-top) : 0;
    for (int64_t i = 0; i < n; i++)
        y[i] = logs ? (keep[i] && sum > 0 ? x[i] - top - log(sum) : -INFINITY) : keep[i] && sum > 0 ? exp(x[i] - top) / sum : 0;
}

enum { B = 3, R = 5, N = 37 };

static void masks(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{B, R, N}, {1, R, N}, {B, 1, N}, {1, 1, N}, {B, R, 1}, {1, 1, 1}};
    ed_rng rng = ed_rng_make(3, 0);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int kind = 0; kind < 3; kind++) {
            ed_graph *g = rowops_graph();
            ed_tensor *x = rowops_floats(g, kind ? ED_DTYPE_F32 : ED_DTYPE_F64, 3, ROWOPS_SHAPE(B, R, N), -3, 3, &rng);
            ed_tensor *mask = ed_new(g, kind ? ED_DTYPE_BOOL : ED_DTYPE_U8, 3, shapes[s]);
            for (int64_t i = 0; i < ed_numel(mask); i++)
                ((uint8_t *)mask->data)[i] = i / shapes[s][2] % 4 != 3 && ed_rng_uniform(&rng) < 0.6; /* some rows lose everything */
            ed_tensor *y = kind == 2 ? ed_log_softmax(g, x, mask) : ed_softmax(g, x, mask, kind == 1);
            rowops_must(g, y);
            for (int64_t r = 0; r < B * R; r++) {
                double row[N], want[N];
                uint8_t keep[N];
                for (int64_t j = 0; j < N; j++) {
                    int64_t b = shapes[s][0] > 1 ? r / R : 0, i = shapes[s][1] > 1 ? r % R : 0, k = shapes[s][2] > 1 ? j : 0;
                    keep[j] = ((uint8_t *)mask->data)[(b * shapes[s][1] + i) * shapes[s][2] + k];
                    row[j] = ed_get(x, r * N + j);
                }
                twin(row, keep, want, N, kind == 1, kind == 2);
                for (int64_t j = 0; j < N; j++)
                    rowops_close("masked", ed_get(y, r * N + j), want[j], kind ? 2e-6 : 1e-14);
            }
            ed_graph_destroy(&g);
        }
    }
}

static void nothing_left(void **state) {
    (void)state;
    for (int f64 = 0; f64 < 2; f64++)
        for (int logs = 0; logs < 2; logs++) {
            ed_graph *g = rowops_graph();
            ed_tensor *x = ed_watch(g, ed_full(g, f64 ? ED_DTYPE_F64 : ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 3), -INFINITY));
            uint8_t keep[] = {0, 0, 0, 1, 1, 1};
            ed_tensor *mask = ed_from(g, ED_DTYPE_BOOL, 2, ROWOPS_SHAPE(2, 3), keep);
            ed_tensor *y = logs ? ed_log_softmax(g, x, mask) : ed_softmax(g, x, mask, false);
            ed_seed seed = {y, NULL};
            rowops_must(g, y);
            assert_int_equal(ed_backward(g, &seed, 1, NULL), ED_OK);
            for (int64_t i = 0; i < 6; i++) {
                rowops_close("value", ed_get(y, i), logs ? -INFINITY : 0, 0);
                rowops_close("gradient", ed_get(ed_grad(g, x), i), 0, 0);
            }
            ed_graph_destroy(&g);
        }
}

static void extreme_logits(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float x[] = {1e30f, -1e30f, 1e30f, -1e30f, 3e38f, -3e38f, -INFINITY, 0, 1e-30f};
    const double want[] = {0.5, 0, 0.5, 0, 1, 0, 0, 0.5, 0.5};
    ed_tensor *y = ed_softmax(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(3, 3), x), NULL, false);
    rowops_equal("extreme", y, want, 1e-6);
    float bad[] = {0, NAN, 1};
    y = ed_softmax(g, ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(3), bad), NULL, false);
    assert_true(isnan(ed_get(y, 0)) && isnan(ed_get(y, 1)));
    ed_graph_destroy(&g);
}

static void small_shapes(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    for (int logs = 0; logs < 2; logs++) {
        ed_tensor *a = ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(0, 4)), *b = ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(4, 0));
        ed_tensor *one = ed_full(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(1), 5), *scalar = ed_full(g, ED_DTYPE_F64, 0, NULL, 5);
        ed_tensor *in[] = {a, b, one, scalar};
        for (int i = 0; i < 4; i++) {
            ed_tensor *y = logs ? ed_log_softmax(g, in[i], NULL) : ed_softmax(g, in[i], NULL, false);
            rowops_must(g, y);
            assert_int_equal(ed_numel(y), ed_numel(in[i]));
            if (i >= 2)
                rowops_close("one number", ed_get(y, 0), logs ? 0 : 1, 0);
        }
    }
    ed_graph_destroy(&g);
}

static void row_alone(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    ed_rng rng = ed_rng_make(4, 0);
    ed_tensor *x = rowops_floats(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(50, 131), -5, 5, &rng);
    ed_tensor *all = ed_softmax(g, x, NULL, false);
    ed_tensor *alone = ed_softmax(g, ed_from(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(131), (float *)x->data + 17 * 131), NULL, false);
    assert_memory_equal((float *)all->data + 17 * 131, alone->data, 131 * sizeof(float));
    ed_graph_destroy(&g);
}

static void refusals(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const int64_t xs[] = {2, 3};
    rowops_refused(g, ed_softmax(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_BOOL, 1, ROWOPS_SHAPE(2)), false), ED_E_SHAPE, "broadcast");
    rowops_refused(g, ed_softmax(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_BOOL, 3, ROWOPS_SHAPE(4, 2, 3)), false), ED_E_SHAPE, "broadcast");
    rowops_refused(g, ed_softmax(g, ed_zeros(g, ED_DTYPE_F32, 2, xs), ed_zeros(g, ED_DTYPE_F32, 2, xs), false), ED_E_DTYPE, "mask");
    rowops_refused(g, ed_log_softmax(g, ed_zeros(g, ED_DTYPE_I32, 2, xs), NULL), ED_E_DTYPE, "i32");
    ed_graph_destroy(&g);
}

static ed_tensor *plain_fn(ed_graph *g, ed_tensor **x) {
    return ed_softmax(g, x[0], NULL, false);
}
static ed_tensor *one_fn(ed_graph *g, ed_tensor **x) {
    return ed_softmax(g, x[0], NULL, true);
}
static ed_tensor *log_fn(ed_graph *g, ed_tensor **x) {
    return ed_log_softmax(g, x[0], NULL);
}
static ed_tensor *masked_fn(ed_graph *g, ed_tensor **x) {
    ed_tensor *mask = ed_new(g, ED_DTYPE_BOOL, 2, x[0]->shape);
    for (int64_t i = 0; mask && i < ed_numel(mask); i++)
        ((uint8_t *)mask->data)[i] = i * 2654435761u % 5 != 0;
    return ed_softmax(g, x[0], mask, false);
}

static void common_checks(void **state) {
    (void)state;
    const rowops_in in[] = {{.rank = 2, .shape = {301, 703}, .lo = -6, .hi = 6}};
    rowops_check(plain_fn, in, 1, 2e-6);
    rowops_check(one_fn, in, 1, 2e-6);
    rowops_check(log_fn, in, 1, 4e-6);
    rowops_check(masked_fn, in, 1, 2e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms),   cmocka_unit_test(softmax_one),  cmocka_unit_test(masks),     cmocka_unit_test(nothing_left),
        cmocka_unit_test(extreme_logits), cmocka_unit_test(small_shapes), cmocka_unit_test(row_alone), cmocka_unit_test(refusals),
        cmocka_unit_test(common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
