/* tests/unit/test_op_reduce.c - reductions against naive twins in f64; ties, NaN, infinities, long sums, equal bits for any thread count. */
#include "unit/op_test.h"

enum { R_SUM, R_MEAN, R_MAX, R_MIN, R_LSE, R_ARGMAX, R_ARGMIN, R_COUNT };

static ed_tensor *call(ed_graph *g, int kind, ed_tensor *x, int axis, bool keep) {
    switch (kind) {
    case R_SUM: return ed_sum(g, x, axis, keep);
    case R_MEAN: return ed_mean(g, x, axis, keep);
    case R_MAX: return ed_max(g, x, axis, keep);
    case R_MIN: return ed_min(g, x, axis, keep);
    case R_LSE: return ed_logsumexp(g, x, axis, keep);
    case R_ARGMAX: return ed_argmax(g, x, axis);
    default: return ed_argmin(g, x, axis);
    }
}

/* over n values at v[i * step] */
static double naive(int kind, const double *v, int64_t n, int64_t step) {
    double sum = 0, e = 0, best = v[0];
    int64_t place = 0;
    bool low = kind == R_MIN || kind == R_ARGMIN;
    for (int64_t i = 0; i < n; i++) {
        sum += v[i * step];
        if (low ? v[i * step] < best : v[i * step] > best) {
            best = v[i * step];
            place = i;
        }
    }
    for (int64_t i = 0; i < n; i++)
        e += exp(v[i * step] - best);
    return kind == R_SUM ? sum : kind == R_MEAN ? sum / (double)n : kind == R_LSE ? best + log(e) : kind == R_MAX || kind == R_MIN ? best : (double)place;
}

static void check(ed_graph *g, int kind, ed_tensor *x, int axis, bool keep, double tol) {
    int64_t numel = ed_numel(x), outer = 1, inner = 1, n = axis == ED_ALL_AXES ? numel : x->shape[axis];
    double *v = malloc(sizeof(double) * (size_t)numel);
    ed_copy_out_f64(x, v);
    for (int d = 0; axis != ED_ALL_AXES && d < x->rank; d++) {
        outer *= d < axis ? x->shape[d] : 1;
        inner *= d > axis ? x->shape[d] : 1;
    }
    ed_tensor *y = call(g, kind, x, axis, keep);
    assert_non_null(y);
    bool arg = kind >= R_ARGMAX;
    assert_int_equal(y->rank, keep && !arg ? x->rank : axis == ED_ALL_AXES ? 0 : x->rank - 1);
    assert_int_equal(ed_numel(y), outer * inner);
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < inner; i++) {
            double want = naive(kind, v + o * n * inner + i, n, inner), got = ed_get(y, o * inner + i);
            if (!(fabs(got - want) <= tol * fmax(1, fabs(want))))
                fail_msg("kind %d axis %d element %lld: %.9g, expected %.9g", kind, axis, (long long)(o * inner + i), got, want);
        }
    }
    free(v);
}

static void against_naive(void **state) {
    static const int axes[] = {0, 1, 2, ED_ALL_AXES};
    ed_graph *g = new_graph(false);
    (void)state;
    for (int kind = 0; kind < R_COUNT; kind++) {
        for (int k = 0; k < 16; k++) {
            ed_dtype d = k & 1 ? ED_DTYPE_F64 : ED_DTYPE_F32;
            ed_tensor *x = k & 2 ? noise(g, d, DIMS(5, 7, 33), 4) : noise(g, d, DIMS(3, 22, 530), 5);
            x = k & 4 ? ed_transpose(g, x, 0, 2) : x;
            x = k & 8 ? ed_slice(g, x, 1, 1, INT64_MAX, 3) : x;
            for (int a = 0; a < 4; a++)
                check(g, kind, x, axes[a], (k + a) % 2 == 0, d == ED_DTYPE_F64 ? 1e-12 : 1e-5);
            ed_graph_reset(g);
        }
    }
    ed_graph_destroy(&g);
}

/* place of each length's extreme: vector part, tail, first and last */
static void every_place(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    for (int64_t n = 1; n < 70; n += n < 20 ? 1 : 7) {
        for (int64_t p = 0; p < n; p++) {
            for (int k = 0; k < 4; k++) {
                ed_dtype d = k & 1 ? ED_DTYPE_F64 : ED_DTYPE_F32;
                bool nan = (k & 2) != 0;
                ed_tensor *x = ed_full(g, d, 1, &n, -2);
                for (int64_t i = p; i < n; i += nan ? n : 3) { /* ties after p */
                    double v = nan ? NAN : 4;
                    if (d == ED_DTYPE_F64)
                        ((double *)x->data)[i] = v;
                    else
                        ((float *)x->data)[i] = (float)v;
                }
                assert_true(ed_get(ed_argmax(g, x, 0), 0) == (double)p);
                assert_true(ed_get(ed_argmin(g, ed_neg(g, x), 0), 0) == (double)p);
                double top = ed_get(ed_max(g, x, 0, false), 0);
                assert_true(nan ? isnan(top) : top == 4);
                assert_true(isnan(ed_get(ed_logsumexp(g, x, 0, false), 0)) == nan);
            }
        }
        ed_graph_reset(g);
    }
    ed_graph_destroy(&g);
}

static void far_ends(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_dtype d = k ? ED_DTYPE_F64 : ED_DTYPE_F32;
        assert_true(fabs(ed_get(ed_logsumexp(g, ed_full(g, d, DIMS(4), 5000), 0, false), 0) - (5000 + log(4))) < 1e-3);
        assert_true(ed_get(ed_logsumexp(g, ed_full(g, d, DIMS(4), INFINITY), 0, false), 0) == INFINITY);
        ed_tensor *x = ed_watch(g, ed_full(g, d, DIMS(2, 3), -INFINITY)), *y = ed_logsumexp(g, x, 1, false);
        assert_true(ed_get(y, 1) == -INFINITY);
        assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
        assert_true(ed_get(ed_grad(g, x), 2) == 0);
        assert_true(ed_get(ed_max(g, x, 1, false), 0) == -INFINITY && ed_get(ed_argmax(g, x, 1), 0) == 0);
    }
    assert_fails(g, ed_max(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3, 0)), 1, false), ED_E_SHAPE);
    assert_fails(g, ed_mean(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0)), ED_ALL_AXES, false), ED_E_SHAPE);
    assert_fails(g, ed_sum(g, ed_zeros(g, ED_DTYPE_F32, DIMS(2)), 1, false), ED_E_SHAPE);
    assert_fails(g, ed_cumsum(g, ed_zeros(g, ED_DTYPE_F32, DIMS(2)), ED_ALL_AXES), ED_E_RANGE);
    assert_fails(g, ed_sum(g, ed_zeros(g, ED_DTYPE_I32, DIMS(2)), 0, false), ED_E_DTYPE);
    assert_tensor(ed_sum(g, ed_zeros(g, ED_DTYPE_F32, DIMS(2, 0)), 1, false), DIMS(2), (double[]){0, 0}, 0);
    assert_int_equal(ed_numel(ed_max(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0, 3)), 1, false)), 0);
    ed_graph_destroy(&g);
}

/* 2 million times 0.1 in f32: a plain running sum would be off by percents */
static void long_sums(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    ed_tensor *x = ed_full(g, ED_DTYPE_F32, DIMS(1000, 2000), 0.1);
    double row = 2000 * (double)0.1f;
    assert_true(fabs(ed_get(ed_sum(g, x, ED_ALL_AXES, false), 0) / (1000 * row) - 1) < 1e-6);
    assert_true(fabs(ed_get(ed_sum(g, x, 0, false), 1999) / (row / 2) - 1) < 2e-6);
    assert_true(fabs(ed_get(ed_sum(g, x, 1, false), 999) / row - 1) < 2e-6);
    assert_true(fabs(ed_get(ed_cumsum(g, x, 0), 999 * 2000) / (row / 2) - 1) < 1e-6);
    ed_graph_destroy(&g);
}

static void cumsum_values(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_tensor *x = ramp(g, k ? ED_DTYPE_F64 : ED_DTYPE_F32, DIMS(2, 3), 1, 1);
        assert_tensor(ed_cumsum(g, x, 1), DIMS(2, 3), (double[]){1, 3, 6, 4, 9, 15}, 0);
        assert_tensor(ed_cumsum(g, x, 0), DIMS(2, 3), (double[]){1, 2, 3, 5, 7, 9}, 0);
        assert_tensor(ed_cumsum(g, ed_transpose(g, x, 0, 1), -1), DIMS(3, 2), (double[]){1, 5, 2, 7, 3, 9}, 0);
    }
    ed_graph_destroy(&g);
}

/* the same bits with 1 and with 2 threads: values and gradients of sums large enough to be split */
static void thread_counts(void **state) {
    int threads = ed_threads_get();
    double *first[4] = {NULL};
    (void)state;
    for (int n = 1; n <= 2; n++) {
        ed_threads_set(n);
        ed_graph *g = new_graph(true);
        ed_tensor *x = ed_watch(g, noise(g, ED_DTYPE_F32, DIMS(300, 700), 8)), *b = ed_watch(g, noise(g, ED_DTYPE_F32, DIMS(700), 9));
        ed_tensor *y = ed_mul(g, x, b), *s = ed_sum(g, y, ED_ALL_AXES, false), *rows = ed_logsumexp(g, y, 0, false);
        assert_int_equal(ed_backward(g, (ed_seed[]){{s, NULL}, {rows, NULL}}, 2, NULL), ED_OK);
        const ed_tensor *outs[4] = {s, rows, ed_grad(g, b), ed_grad(g, x)};
        for (int i = 0; i < 4; i++) {
            size_t bytes = sizeof(double) * (size_t)ed_numel(outs[i]);
            double *v = malloc(bytes);
            ed_copy_out_f64(outs[i], v);
            if (n == 1)
                first[i] = v;
            else {
                assert_memory_equal(v, first[i], bytes);
                free(v);
                free(first[i]);
            }
        }
        ed_graph_destroy(&g);
    }
    ed_threads_set(threads);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_naive), cmocka_unit_test(every_place),   cmocka_unit_test(far_ends),
        cmocka_unit_test(long_sums),     cmocka_unit_test(cumsum_values), cmocka_unit_test(thread_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
