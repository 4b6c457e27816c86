/* tests/unit/test_op_control.c - dropout masks word for word from ed_philox, their statistics, and when dropout is off; the op table. */
#include "unit/op_test.h"

static const double P = 0.3;

/* dropout is keyed by (seed, site) and counted by {element / 4, 0, step, pass} */
static bool kept(uint64_t seed, uint32_t site, uint32_t step, uint32_t pass, int64_t i) {
    uint32_t counter[4] = {(uint32_t)(i / 4), 0, step, pass}, words[4];
    ed_philox(ed_rng_key_make(seed, site), counter, words);
    return words[i % 4] >= P * 4294967296.0;
}

static void mask_is_philox(void **state) {
    static const int64_t sizes[] = {1, 3, 63, 64, 65, 40007};
    ed_graph *g = new_graph(true);
    (void)state;
    for (int k = 0; k < 12; k++) {
        ed_dtype d = k & 1 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        int64_t n = sizes[k / 2];
        ed_graph_seed(g, 17 + (uint64_t)k, 5);
        ed_graph_set_pass(g, (uint32_t)k);
        ed_tensor *y = ed_dropout(g, ed_full(g, d, 1, &n, 2), P, 1234, false);
        for (int64_t i = 0; i < n; i++)
            assert_true(fabs(ed_get(y, i) - (kept(17 + (uint64_t)k, 1234, 5, (uint32_t)k, i) ? 2 / (1 - P) : 0)) < 1e-6);
        ed_graph_reset(g);
    }
    ed_graph_destroy(&g);
}

static void rows_drop_together(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_graph_seed(g, 2, 9);
    ed_tensor *y = ed_dropout(g, ed_full(g, ED_DTYPE_F32, DIMS(50, 3, 2), 1), P, 7, true);
    for (int64_t r = 0; r < 50; r++)
        for (int64_t i = 0; i < 6; i++)
            assert_true(fabs(ed_get(y, r * 6 + i) - (kept(2, 7, 9, 0, r) ? 1 / (1 - P) : 0)) < 1e-6);
    ed_graph_destroy(&g);
}

/* share of kept elements within 5 standard deviations; sites, steps and passes draw differently; the same key draws the same */
static void draws(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *x = ed_full(g, ED_DTYPE_F32, DIMS(100000), 1), *y[5];
    for (int k = 0; k < 5; k++) {
        ed_graph_seed(g, 3, k == 2);
        ed_graph_set_pass(g, k == 3);
        y[k] = ed_dropout(g, x, P, k == 4 ? 11 : 10, false);
    }
    int64_t count = 0, differ[5] = {0};
    for (int64_t i = 0; i < 100000; i++) {
        count += ed_get(y[0], i) != 0;
        for (int k = 1; k < 5; k++)
            differ[k] += (ed_get(y[0], i) != 0) != (ed_get(y[k], i) != 0);
    }
    assert_true(llabs(count - 70000) < 725);
    assert_int_equal(differ[1], 0);
    for (int k = 2; k < 5; k++)
        assert_true(llabs(differ[k] - 42000) < 800); /* 2 p (1-p) */
    ed_graph_destroy(&g);
}

static void off_and_refused(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *x = ed_zeros(g, ED_DTYPE_F32, DIMS(4));
    assert_true(ed_dropout(g, x, 0, 1, false) == x);
    ed_graph_set_train(g, false);
    assert_true(ed_dropout(g, x, 0.5, 1, false) == x);
    ed_graph_set_train(g, true);
    assert_true(ed_numel(ed_dropout(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0, 3)), 0.5, 1, true)) == 0);
    assert_fails(g, ed_dropout(g, x, 1, 1, false), ED_E_RANGE);
    assert_fails(g, ed_dropout(g, ed_zeros(g, ED_DTYPE_F32, DIMS(4)), NAN, 1, false), ED_E_RANGE);
    assert_fails(g, ed_dropout(g, NULL, 0.5, 1, false), ED_E_INVALID);
    assert_fails(g, ed_stop_grad(g, NULL), ED_E_INVALID);
    assert_fails(g, ed_ste(g, ed_zeros(g, ED_DTYPE_F32, DIMS(4)), ed_zeros(g, ED_DTYPE_F32, DIMS(1)), false), ED_E_SHAPE);
    ed_graph_destroy(&g);
}

/* the value of ste is q bit by bit, also where x + (q - x) would round */
static void ste_is_exact(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *q = noise(g, ED_DTYPE_F32, DIMS(100), 6), *y = ed_ste(g, ed_full(g, ED_DTYPE_F32, DIMS(100), 1e6), q, false);
    assert_memory_equal(y->data, q->data, 400);
    ed_graph_destroy(&g);
}

/* the table holds each name once */
static void table(void **state) {
    (void)state;
    assert_true(ed_op_count() > 0);
    for (int i = 0; i < ed_op_count(); i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(ed_op_name(i), ed_op_name(j));
    assert_null(ed_op_name(-1));
    assert_null(ed_op_name(ed_op_count()));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mask_is_philox),  cmocka_unit_test(rows_drop_together), cmocka_unit_test(draws),
        cmocka_unit_test(off_and_refused), cmocka_unit_test(ste_is_exact),       cmocka_unit_test(table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
