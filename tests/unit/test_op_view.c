/* tests/unit/test_op_view.c - views share memory and land on the right elements; copies (contiguous, concat, pad, cast) hold the right bytes. */
#include "unit/op_test.h"

static void reshape_is_a_view(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *x = ramp(g, ED_DTYPE_F32, DIMS(2, 3, 4), 0, 1), *t = ed_permute(g, x, (int[]){1, 0, 2});
    static const struct {
        int rank;
        int64_t shape[4];
    } shapes[] = {{1, {24}}, {2, {6, 4}}, {4, {2, 1, 3, 4}}, {3, {1, 12, 2}}, {2, {-1, 8}}, {4, {2, 3, 2, 2}}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ed_tensor *v = ed_reshape(g, x, shapes[i].rank, shapes[i].shape);
        assert_non_null(v);
        assert_true(v->data == x->data && v->storage == x->storage && ed_numel(v) == 24);
        for (int k = 0; k < 24; k++)
            assert_true(ed_get(v, k) == k);
    }
    ed_tensor *split = ed_reshape(g, t, 4, SHAPE(3, 2, 2, 2)); /* axes that lie apart may be split, not joined */
    assert_true(split->storage == x->storage);
    ed_tensor *joined = ed_reshape(g, t, 2, SHAPE(6, 4)), *one = ed_reshape(g, ed_full(g, ED_DTYPE_F32, DIMS(1, 1), 5), 0, NULL);
    assert_true(joined->storage != x->storage);
    for (int k = 0; k < 24; k++) {
        assert_true(ed_get(split, k) == ed_get(t, k));
        assert_true(ed_get(joined, k) == ed_get(t, k));
    }
    assert_true(one->rank == 0 && ed_get(one, 0) == 5);
    assert_non_null(ed_reshape(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0, 3)), 2, SHAPE(5, 0)));
    assert_int_equal(ed_graph_count(g).recorded, 0);
    ed_graph_destroy(&g);
}

/* every reachable pair of shapes against flat order, over strided inputs */
static void reshape_keeps_order(void **state) {
    static const int64_t shapes[][3] = {{24, 1, 1}, {1, 24, 1}, {2, 12, 1}, {12, 2, 1}, {2, 3, 4}, {4, 3, 2}, {3, 8, 1}, {6, 1, 4}, {1, 1, 24}, {3, 2, 4}};
    enum { N = sizeof shapes / sizeof *shapes };
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    ed_graph *g = new_graph(true);
    (void)state;
    for (int i = 0; i < N; i++) {
        for (int o = 0; o < 6; o++) {
            for (int j = 0; j < N; j++) {
                ed_tensor *x = ed_permute(g, ramp(g, ED_DTYPE_F32, 3, shapes[i], 0, 1), orders[o]);
                ed_tensor *y = ed_reshape(g, x, 3, shapes[j]);
                for (int k = 0; k < 24; k++)
                    assert_true(ed_get(x, k) == ed_get(y, k));
            }
        }
        ed_graph_reset(g);
    }
    ed_graph_destroy(&g);
}

static void parts(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *x = ramp(g, ED_DTYPE_F32, DIMS(3, 5), 0, 1);
    assert_tensor(ed_slice(g, x, 1, 1, 5, 2), DIMS(3, 2), (double[]){1, 3, 6, 8, 11, 13}, 0);
    assert_tensor(ed_slice(g, x, 0, 1, -1, 1), DIMS(1, 5), (double[]){5, 6, 7, 8, 9}, 0);
    assert_tensor(ed_slice(g, x, -1, -2, INT64_MAX, 1), DIMS(3, 2), (double[]){3, 4, 8, 9, 13, 14}, 0);
    assert_int_equal(ed_numel(ed_slice(g, x, 1, 5, 5, 1)), 0);
    assert_tensor(ed_diagonal(g, x), DIMS(3), (double[]){0, 6, 12}, 0);
    assert_tensor(ed_diagonal(g, ed_transpose(g, x, 0, 1)), DIMS(3), (double[]){0, 6, 12}, 0);
    assert_tensor(ed_transpose(g, ed_slice(g, x, 1, 0, 2, 1), 0, -1), DIMS(2, 3), (double[]){0, 5, 10, 1, 6, 11}, 0);
    ed_tensor *e = ed_expand(g, ed_slice(g, x, 1, 2, 3, 1), 3, SHAPE(2, -1, 2));
    assert_tensor(e, DIMS(2, 3, 2), (double[]){2, 2, 7, 7, 12, 12, 2, 2, 7, 7, 12, 12}, 0);
    assert_true(e->storage == x->storage && e->stride[0] == 0 && e->stride[2] == 0);
    assert_true(ed_is_contiguous(ed_unsqueeze(g, x, 1)) && ed_unsqueeze(g, x, -1)->shape[2] == 1);
    assert_true(ed_squeeze(g, ed_unsqueeze(g, x, 0), 0)->rank == 2);
    assert_int_equal(ed_graph_count(g).recorded, 0);
    ed_graph_destroy(&g);
}

static void refused(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
#define X ramp(g, ED_DTYPE_F32, DIMS(3, 4), 0, 1)
    assert_fails(g, ed_reshape(g, X, 1, SHAPE(11)), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, X, 2, SHAPE(-1, 5)), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, X, 2, SHAPE(-1, -1)), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, X, 2, SHAPE(-1, 0)), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, X, 2, SHAPE(INT64_MAX, INT64_MAX)), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, X, 9, SHAPE(12, 1, 1, 1, 1, 1, 1, 1, 1)), ED_E_SHAPE);
    assert_fails(g, ed_permute(g, X, (int[]){0, 0}), ED_E_INVALID);
    assert_fails(g, ed_permute(g, X, (int[]){0, 2}), ED_E_RANGE);
    assert_fails(g, ed_transpose(g, X, 0, -3), ED_E_RANGE);
    assert_fails(g, ed_slice(g, X, 1, 0, 5, 1), ED_E_RANGE);
    assert_fails(g, ed_slice(g, X, 1, 3, 2, 1), ED_E_RANGE);
    assert_fails(g, ed_slice(g, X, 1, 0, 2, 0), ED_E_RANGE);
    assert_fails(g, ed_slice(g, X, 1, -5, 2, 1), ED_E_RANGE);
    assert_fails(g, ed_expand(g, X, 2, SHAPE(3, 5)), ED_E_SHAPE);
    assert_fails(g, ed_expand(g, X, 1, SHAPE(4)), ED_E_SHAPE);
    assert_fails(g, ed_squeeze(g, X, 0), ED_E_SHAPE);
    assert_fails(g, ed_unsqueeze(g, X, 3), ED_E_RANGE);
    assert_fails(g, ed_diagonal(g, ed_reshape(g, X, 1, SHAPE(12))), ED_E_SHAPE);
    assert_fails(g, ed_reshape(g, NULL, 1, SHAPE(1)), ED_E_INVALID);
    assert_fails(g, ed_concat(g, NULL, 0, 0), ED_E_INVALID);
    assert_fails(g, ed_concat(g, (ed_tensor *[]){X, ed_reshape(g, X, 2, SHAPE(4, 3))}, 2, 0), ED_E_SHAPE);
    assert_fails(g, ed_concat(g, (ed_tensor *[]){X, ramp(g, ED_DTYPE_F64, DIMS(3, 4), 0, 1)}, 2, 0), ED_E_DTYPE);
    assert_fails(g, ed_pad(g, X, SHAPE(3, 0), SHAPE(0, 0), ED_PAD_REFLECT, 0), ED_E_SHAPE);
    assert_fails(g, ed_pad(g, X, SHAPE(-1, 0), SHAPE(0, 0), ED_PAD_CONSTANT, 0), ED_E_RANGE);
    assert_fails(g, ed_cast(g, X, ED_DTYPE_I32), ED_E_DTYPE);
#undef X
    ed_graph_destroy(&g);
}

static void concat_and_contiguous(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *a = ramp(g, ED_DTYPE_F32, DIMS(2, 2), 0, 1), *b = ed_transpose(g, ramp(g, ED_DTYPE_F32, DIMS(3, 2), 10, 1), 0, 1);
    assert_tensor(ed_concat(g, (ed_tensor *[]){a, b}, 2, -1), DIMS(2, 5), (double[]){0, 1, 10, 12, 14, 2, 3, 11, 13, 15}, 0);
    assert_tensor(ed_concat(g, (ed_tensor *[]){a, a}, 2, 0), DIMS(4, 2), (double[]){0, 1, 2, 3, 0, 1, 2, 3}, 0);
    ed_tensor *ids = ed_from(g, ED_DTYPE_I32, DIMS(2), (int32_t[]){7, -3});
    assert_tensor(ed_concat(g, (ed_tensor *[]){ids, ids}, 2, 0), DIMS(4), (double[]){7, -3, 7, -3}, 0);
    assert_true(ed_contiguous(g, a) == a);
    ed_tensor *c = ed_contiguous(g, b);
    assert_true(ed_is_contiguous(c));
    assert_tensor(c, DIMS(2, 3), (double[]){10, 12, 14, 11, 13, 15}, 0);
    ed_graph_destroy(&g);
}

static void pads(void **state) {
    ed_graph *g = new_graph(true);
    (void)state;
    ed_tensor *x = ramp(g, ED_DTYPE_F64, DIMS(2, 3), 1, 1);
    assert_tensor(ed_pad(g, x, SHAPE(0, 2), SHAPE(1, 1), ED_PAD_CONSTANT, 9), DIMS(3, 6),
                  (double[]){9, 9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9, 9, 9, 9, 9, 9, 9}, 0);
    assert_tensor(ed_pad(g, x, SHAPE(1, 2), SHAPE(0, 1), ED_PAD_EDGE, 0), DIMS(3, 6), (double[]){1, 1, 1, 2, 3, 3, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6}, 0);
    assert_tensor(ed_pad(g, x, SHAPE(1, 2), SHAPE(1, 2), ED_PAD_REFLECT, 0), DIMS(4, 7),
                  (double[]){6, 5, 4, 5, 6, 5, 4, 3, 2, 1, 2, 3, 2, 1, 6, 5, 4, 5, 6, 5, 4, 3, 2, 1, 2, 3, 2, 1}, 0);
    assert_tensor(ed_pad(g, ed_from(g, ED_DTYPE_I32, DIMS(2), (int32_t[]){5, 6}), SHAPE(1), SHAPE(0), ED_PAD_CONSTANT, -100), DIMS(3),
                  (double[]){-100, 5, 6}, 0);
    assert_tensor(ed_pad(g, ed_zeros(g, ED_DTYPE_BOOL, DIMS(1)), SHAPE(0), SHAPE(1), ED_PAD_CONSTANT, 1), DIMS(2), (double[]){0, 1}, 0);
    assert_tensor(ed_pad(g, ed_zeros(g, ED_DTYPE_F32, DIMS(0)), SHAPE(1), SHAPE(1), ED_PAD_CONSTANT, 2), DIMS(2), (double[]){2, 2}, 0);
    assert_true(ed_get(ed_pad(g, ed_full(g, ED_DTYPE_F32, 0, NULL, 4), NULL, NULL, ED_PAD_EDGE, 0), 0) == 4);
    ed_graph_destroy(&g);
}

static void casts(void **state) {
    static const ed_dtype formats[] = {ED_DTYPE_F32, ED_DTYPE_F64, ED_DTYPE_BF16, ED_DTYPE_F16};
    ed_graph *g = new_graph(true);
    (void)state;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) { /* small whole numbers are exact in every format */
            ed_tensor *x = ed_transpose(g, ramp(g, formats[i], DIMS(3, 2), -2, 1), 0, 1), *y = ed_cast(g, x, formats[j]);
            assert_true(y->dtype == formats[j]);
            assert_tensor(y, DIMS(2, 3), (double[]){-2, 0, 2, -1, 1, 3}, 0);
        }
        assert_tensor(ed_cast(g, ed_from(g, ED_DTYPE_I32, DIMS(2), (int32_t[]){-7, 100}), formats[i]), DIMS(2), (double[]){-7, 100}, 0);
        assert_tensor(ed_cast(g, ed_from(g, ED_DTYPE_BOOL, DIMS(2), (uint8_t[]){1, 0}), formats[i]), DIMS(2), (double[]){1, 0}, 0);
    }
    float third = 1.0f / 3;
    assert_true(ed_get(ed_cast(g, ed_from(g, ED_DTYPE_F32, 0, NULL, &third), ED_DTYPE_BF16), 0) == ed_bf16_to_f32(ed_f32_to_bf16(third)));
    assert_true(ed_get(ed_cast(g, ed_from(g, ED_DTYPE_F32, 0, NULL, &third), ED_DTYPE_F16), 0) == ed_f16_to_f32(ed_f32_to_f16(third)));
    ed_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_is_a_view),     cmocka_unit_test(reshape_keeps_order), cmocka_unit_test(parts), cmocka_unit_test(refused),
        cmocka_unit_test(concat_and_contiguous), cmocka_unit_test(pads),                cmocka_unit_test(casts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
