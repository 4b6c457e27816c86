/* tests/unit/test_op_binary.c - broadcast values against a naive twin that walks indices, for random shapes and strides. */
#include "unit/op_test.h"

static double naive(ed_binary kind, double a, double b) {
    switch (kind) {
    case ED_ADD: return a + b;
    case ED_SUB: return a - b;
    case ED_MUL: return a * b;
    case ED_DIV: return a / b;
    case ED_POW: return pow(a < 1e-9 ? 1e-9 : a, b);
    case ED_MAX: return a >= b ? a : b;
    default: return a <= b ? a : b;
    }
}

/* element of t at an index of the broadcast shape */
static double at(const ed_tensor *t, int rank, const int64_t *index) {
    int64_t flat = 0;
    for (int d = 0; d < t->rank; d++) {
        int64_t i = t->shape[d] == 1 ? 0 : index[d + rank - t->rank];
        flat = flat * t->shape[d] + i;
    }
    return ed_get(t, flat);
}

/* a random tensor that broadcasts to shape: leading axes may be missing, axes may be 1, storage order may be reversed, rows may have gaps */
static ed_tensor *random_operand(ed_graph *g, ed_rng *r, ed_dtype d, int rank, const int64_t *shape, uint32_t stream) {
    int lead = (int)ed_rng_below(r, (uint64_t)rank + 1), n = rank - lead, axes[ED_MAX_RANK];
    int64_t s[ED_MAX_RANK], stored[ED_MAX_RANK];
    bool reversed = ed_rng_below(r, 3) == 0, gaps = n > 0 && ed_rng_below(r, 3) == 0;
    for (int i = 0; i < n; i++)
        s[i] = ed_rng_below(r, 3) == 0 ? 1 : shape[lead + i];
    for (int i = 0; i < n; i++) {
        axes[i] = reversed ? n - 1 - i : i;
        stored[axes[i]] = s[i] * (gaps && i == n - 1 ? 2 : 1);
    }
    ed_tensor *t = ed_permute(g, noise(g, d, n, stored, stream), axes);
    return gaps ? ed_slice(g, t, n - 1, 0, INT64_MAX, 2) : t;
}

static void random_shapes(void **state) {
    ed_rng r = ed_rng_make(1, 2);
    ed_graph *g = new_graph(false);
    (void)state;
    for (int trial = 0; trial < 400; trial++) {
        int rank = 1 + (int)ed_rng_below(&r, 4);
        int64_t shape[4], numel = 1;
        ed_dtype d = trial % 2 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        ed_binary kind = (ed_binary)(trial / 2 % ED_BINARY_COUNT);
        for (int i = 0; i < rank; i++)
            shape[i] = 1 + (int64_t)ed_rng_below(&r, i + 1 == rank && trial % 10 == 0 ? 1500 : 6);
        ed_tensor *a = random_operand(g, &r, d, rank, shape, 2 * (uint32_t)trial), *b = random_operand(g, &r, d, rank, shape, 2 * (uint32_t)trial + 1);
        ed_tensor *y = ed_binary_op(g, kind, a, b);
        assert_non_null(y);
        for (int i = 0; i < y->rank; i++)
            numel *= y->shape[i];
        assert_int_equal(numel, ed_numel(y));
        int64_t index[4] = {0};
        for (int64_t k = 0; k < numel; k++) {
            double want = naive(kind, at(a, y->rank, index), at(b, y->rank, index)), got = ed_get(y, k);
            double tol = d == ED_DTYPE_F64 ? 1e-15 : 1e-6;
            if (!(fabs(got - want) <= tol * fabs(want)))
                fail_msg("trial %d kind %d element %lld: %.9g, expected %.9g", trial, (int)kind, (long long)k, got, want);
            for (int i = y->rank - 1; i >= 0 && ++index[i] == y->shape[i]; i--)
                index[i] = 0;
        }
        ed_graph_reset(g);
    }
    ed_graph_destroy(&g);
}

static void special_values(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_dtype d = k ? ED_DTYPE_F64 : ED_DTYPE_F32;
        ed_tensor *nan = ed_full(g, d, 0, NULL, NAN), *one = ed_full(g, d, DIMS(1), 1), *low = ed_full(g, d, DIMS(1), -5);
        assert_true(isnan(ed_get(ed_max2(g, nan, one), 0)) && isnan(ed_get(ed_max2(g, one, nan), 0)));
        assert_true(isnan(ed_get(ed_min2(g, nan, one), 0)) && isnan(ed_get(ed_min2(g, one, nan), 0)));
        assert_true(isinf(ed_get(ed_div(g, one, ed_full(g, d, 0, NULL, 0)), 0)));
        assert_true(fabs(ed_get(ed_pow(g, low, one), 0) - 1e-9) < 1e-15);
    }
    ed_graph_destroy(&g);
}

static void empty_and_refused(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *y = ed_add(g, ed_watch(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0, 4))), ed_watch(g, ed_zeros(g, ED_DTYPE_F32, DIMS(4))));
    assert_int_equal(ed_numel(y), 0);
    assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
    assert_fails(g, ed_add(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F32, DIMS(4))), ED_E_SHAPE);
    assert_fails(g, ed_add(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F64, DIMS(3))), ED_E_DTYPE);
    assert_fails(g, ed_mul(g, ed_zeros(g, ED_DTYPE_I32, DIMS(3)), ed_zeros(g, ED_DTYPE_I32, DIMS(3))), ED_E_DTYPE);
    assert_fails(g, ed_sub(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3)), NULL), ED_E_INVALID);
    assert_fails(g, ed_binary_op(g, ED_BINARY_COUNT, ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F32, DIMS(3))), ED_E_INVALID);
    assert_fails(g, ed_where(g, ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F32, DIMS(3))), ED_E_DTYPE);
    assert_fails(g, ed_where(g, ed_zeros(g, ED_DTYPE_BOOL, DIMS(2)), ed_zeros(g, ED_DTYPE_F32, DIMS(3)), ed_zeros(g, ED_DTYPE_F32, DIMS(3))), ED_E_SHAPE);
    ed_graph_destroy(&g);
}

static void where_values(void **state) {
    ed_graph *g = new_graph(false);
    (void)state;
    ed_tensor *mask = ed_from(g, ED_DTYPE_BOOL, DIMS(2, 1), (uint8_t[]){1, 0}), *a = ramp(g, ED_DTYPE_F32, DIMS(3), 1, 1);
    ed_tensor *b = ed_full(g, ED_DTYPE_F32, 0, NULL, -INFINITY);
    assert_tensor(ed_where(g, mask, a, b), DIMS(2, 3), (double[]){1, 2, 3, -INFINITY, -INFINITY, -INFINITY}, 0);
    ed_tensor *ids = ed_from(g, ED_DTYPE_I32, DIMS(2), (int32_t[]){5, 6}), *none = ed_full(g, ED_DTYPE_I32, DIMS(1), -1);
    assert_tensor(ed_where(g, ed_from(g, ED_DTYPE_U8, DIMS(2), (uint8_t[]){0, 2}), ids, none), DIMS(2), (double[]){-1, 6}, 0);
    ed_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_shapes),
        cmocka_unit_test(special_values),
        cmocka_unit_test(empty_and_refused),
        cmocka_unit_test(where_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
