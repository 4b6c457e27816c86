/* tests/unit/test_fmt_params.c - parameters from and to files: identity, conversions against the scalar functions of tensor.h, refusals that change
 * nothing, names by callback; and element conversion of file tensors. */
#include <math.h>

#include "unit/fmt_util.h"

static ed_params *make_set(ed_dtype dtype) {
    ed_params *p;
    int64_t s1[] = {3, 5}, s2[] = {7};
    assert_int_equal(ed_params_create(&p), ED_OK);
    assert_int_equal(ed_params_add(p, "w", dtype, 2, s1, NULL, NULL), ED_OK);
    assert_int_equal(ed_params_add(p, "b", dtype, 1, s2, NULL, NULL), ED_OK);
    assert_int_equal(ed_params_add(p, "s", dtype, 0, NULL, NULL, NULL), ED_OK);
    return p;
}

static double value_at(const ed_param *p, int64_t i) {
    const unsigned char *d = p->data;
    switch (p->dtype) {
    case ED_DTYPE_F32: return ((const float *)d)[i];
    case ED_DTYPE_F64: return ((const double *)d)[i];
    case ED_DTYPE_BF16: return ed_bf16_to_f32(((const uint16_t *)d)[i]);
    case ED_DTYPE_F16: return ed_f16_to_f32(((const uint16_t *)d)[i]);
    default: return 0;
    }
}

static void fill_set(ed_params *set) {
    ed_rng r = ed_rng_make(3, 1);
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        ed_param *p = ed_params_at(set, i);
        for (int64_t k = 0; k < p->numel; k++) {
            float v = (float)ed_rng_normal(&r);
            if (p->dtype == ED_DTYPE_F32)
                ((float *)p->data)[k] = v;
            else if (p->dtype == ED_DTYPE_F64)
                ((double *)p->data)[k] = ed_rng_normal(&r);
            else
                ((uint16_t *)p->data)[k] = p->dtype == ED_DTYPE_BF16 ? ed_f32_to_bf16(v) : ed_f32_to_f16(v);
        }
    }
}

static double rounded(double v, ed_dtype d) {
    switch (d) {
    case ED_DTYPE_F32: return (float)v;
    case ED_DTYPE_BF16: return ed_bf16_to_f32(ed_f32_to_bf16((float)v));
    case ED_DTYPE_F16: return ed_f16_to_f32(ed_f32_to_f16((float)v));
    default: return v;
    }
}

/* Every parameter format, saved in every format, loaded into every format. */
static void test_all_conversions(void **state) {
    (void)state;
    static const ed_dtype floats[] = {ED_DTYPE_F32, ED_DTYPE_F64, ED_DTYPE_BF16, ED_DTYPE_F16, ED_DTYPE_COUNT};
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 5; b++)
            for (int c = 0; c < 4; c++) {
                ed_params *from = make_set(floats[a]), *to = make_set(floats[c]);
                ed_tensor_file *f;
                ed_error e = {0};
                fill_set(from);
                assert_int_equal(ed_params_save(from, in_dir("p"), floats[b], NULL, &e), ED_OK);
                assert_int_equal(ed_tensor_file_open(in_dir("p"), NULL, &f, &e), ED_OK);
                uint64_t version = ed_params_at(to, 0)->version;
                assert_int_equal(ed_params_load(to, f, NULL, &e), ED_OK);
                assert_true(ed_params_at(to, 0)->version != version);
                for (int64_t i = 0; i < ed_params_count(to); i++)
                    for (int64_t k = 0; k < ed_params_at(to, i)->numel; k++) {
                        double want = rounded(rounded(value_at(ed_params_at(from, i), k), floats[b]), floats[c]);
                        assert_true(value_at(ed_params_at(to, i), k) == want);
                    }
                if (a == c && b == 4)
                    assert_true(ed_params_hash(from) == ed_params_hash(to));
                ed_tensor_file_close(&f);
                ed_params_destroy(&from);
                ed_params_destroy(&to);
            }
}

static bool rename_param(void *user, const char *name, char *buf, size_t n) {
    if (strcmp(name, "b") == 0 && user)
        return false;
    snprintf(buf, n, "model.%s", name);
    return true;
}

static void test_refusals(void **state) {
    (void)state;
    float x[16] = {1, 2, 3};
    ed_tensor_item items[] = {{.name = "w", .dtype = ED_FILE_F32, .rank = 2, .shape = {3, 5}, .data = x},
                              {.name = "b", .dtype = ED_FILE_F32, .rank = 1, .shape = {7}, .data = x},
                              {.name = "s", .dtype = ED_FILE_F32, .rank = 0, .data = x},
                              {.name = "llama2c.rope_real", .dtype = ED_FILE_F32, .rank = 0, .data = x},
                              {.name = "more", .dtype = ED_FILE_F32, .rank = 0, .data = x}};
    for (int k = 0; k < 9; k++) {
        ed_params *set = make_set(ED_DTYPE_F32);
        ed_params_load_opts o = ed_params_load_opts_default();
        ed_tensor_item it[5];
        ed_tensor_file *f;
        ed_error e = {0};
        int64_t n = 4;
        ed_status want = ED_OK;
        memcpy(it, items, sizeof it);
        switch (k) {
        case 0: break;
        case 1: n = 1; want = ED_E_NOT_FOUND; break;
        case 2: n = 5; want = ED_E_NOT_FOUND; break;
        case 3: it[0].shape[0] = 5; it[0].shape[1] = 3; want = ED_E_SHAPE; break;
        case 4: it[2].rank = 1; it[2].shape[0] = 1; want = ED_E_SHAPE; break;
        case 5: it[1].dtype = ED_FILE_I32; want = ED_E_DTYPE; break;
        case 6: n = 1; o.strict = false; break;
        case 7: o.map = rename_param; want = ED_E_NOT_FOUND; break;
        default: o.ignore = NULL; want = ED_E_NOT_FOUND; break;
        }
        uint64_t before = ed_params_hash(set);
        assert_int_equal(ed_tensor_file_save(in_dir("r"), it, n, NULL, &e), ED_OK);
        assert_int_equal(ed_tensor_file_open(in_dir("r"), NULL, &f, &e), ED_OK);
        assert_int_equal(ed_params_load(set, f, &o, &e), want);
        assert_int_equal(ed_params_hash(set) == before, want != ED_OK);
        if (k == 1)
            assert_non_null(strstr(e.message, "2 of the model's 3 tensors are missing: b, s"));
        if (k == 2)
            assert_non_null(strstr(e.message, "1 tensors have no place in the model: more"));
        if (k == 3)
            assert_true(strstr(e.message, "'w'") && strstr(e.message, "[5, 3]") && strstr(e.message, "[3, 5]"));
        ed_tensor_file_close(&f);
        ed_params_destroy(&set);
    }
}

static void test_names_by_callback(void **state) {
    (void)state;
    float x[16] = {1, 2, 3};
    ed_tensor_item items[] = {{.name = "model.w", .dtype = ED_FILE_F32, .rank = 2, .shape = {3, 5}, .data = x},
                              {.name = "model.s", .dtype = ED_FILE_F32, .rank = 0, .data = x}};
    ed_params *set = make_set(ED_DTYPE_F32);
    ed_params_load_opts o = ed_params_load_opts_default();
    ed_tensor_file *f;
    o.map = rename_param;
    o.user = &o; /* "b" stays as it is */
    assert_int_equal(ed_tensor_file_save(in_dir("c"), items, 2, NULL, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_open(in_dir("c"), NULL, &f, NULL), ED_OK);
    assert_int_equal(ed_params_load(set, f, &o, NULL), ED_OK);
    assert_true(value_at(ed_params_find(set, "w"), 2) == 3 && value_at(ed_params_find(set, "s"), 0) == 1);
    ed_tensor_file_close(&f);
    ed_params_destroy(&set);
}

static void test_many_missing_names(void **state) {
    (void)state;
    ed_params *set;
    ed_tensor_file *f;
    ed_error e = {0};
    assert_int_equal(ed_params_create(&set), ED_OK);
    for (int i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer.%d.weight", i);
        assert_int_equal(ed_params_add(set, name, ED_DTYPE_F32, 0, NULL, NULL, NULL), ED_OK);
    }
    assert_int_equal(ed_tensor_file_save(in_dir("m"), NULL, 0, NULL, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_open(in_dir("m"), NULL, &f, NULL), ED_OK);
    assert_int_equal(ed_params_load(set, f, NULL, &e), ED_E_NOT_FOUND);
    assert_non_null(strstr(e.message, "500 of the model's 500"));
    assert_non_null(strstr(e.message, ", ..."));
    ed_tensor_file_close(&f);
    ed_params_destroy(&set);
}

/* More than one chunk of the writer: offsets of source and target differ. */
static void test_large_conversion(void **state) {
    (void)state;
    enum { N = 1500001 };
    int64_t shape[] = {N};
    ed_params *from, *to;
    ed_param *a, *b;
    ed_tensor_file *f;
    assert_int_equal(ed_params_create(&from), ED_OK);
    assert_int_equal(ed_params_create(&to), ED_OK);
    assert_int_equal(ed_params_add(from, "w", ED_DTYPE_F32, 1, shape, &a, NULL), ED_OK);
    assert_int_equal(ed_params_add(to, "w", ED_DTYPE_F32, 1, shape, &b, NULL), ED_OK);
    for (int64_t i = 0; i < N; i++)
        ((float *)a->data)[i] = (float)(i % 251) - 100; /* exact in BF16 */
    assert_int_equal(ed_params_save(from, in_dir("l"), ED_DTYPE_BF16, NULL, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_open(in_dir("l"), NULL, &f, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_at(f, 0)->dtype, ED_FILE_BF16);
    assert_int_equal(ed_params_load(to, f, NULL, NULL), ED_OK);
    assert_memory_equal(a->data, b->data, N * 4);
    ed_tensor_file_close(&f);
    ed_params_destroy(&from);
    ed_params_destroy(&to);
}

static void test_integers(void **state) {
    (void)state;
    static const int64_t i64[] = {INT32_MAX, INT32_MIN, 5, (int64_t)INT32_MAX + 1};
    static const int64_t low[] = {(int64_t)INT32_MIN - 1};
    static const uint64_t u64[] = {7, UINT64_MAX};
    static const int8_t i8[] = {-1, 127};
    static const uint8_t bools[] = {0, 1, 2};
    int32_t out[4] = {9, 9, 9, 9};
    uint8_t b[3];
    ed_error e = {0};
    ed_file_tensor t = {.name = "t", .data = i64, .bytes = sizeof i64, .shape = {4}, .dtype = ED_FILE_I64, .rank = 1};
    assert_int_equal(ed_file_tensor_read(&t, 0, 4, ED_DTYPE_I32, out, &e), ED_E_RANGE);
    assert_int_equal(e.offset, 24);
    assert_int_equal(out[0], 9);
    assert_int_equal(ed_file_tensor_read(&t, 0, 3, ED_DTYPE_I32, out, &e), ED_OK);
    assert_true(out[0] == INT32_MAX && out[1] == INT32_MIN && out[2] == 5 && out[3] == 9);
    assert_int_equal(ed_file_tensor_read(&t, 2, 3, ED_DTYPE_I32, out, &e), ED_E_RANGE);
    assert_int_equal(ed_file_tensor_read(&t, -1, 1, ED_DTYPE_I32, out, &e), ED_E_RANGE);
    assert_int_equal(ed_file_tensor_read(&t, 0, 4, ED_DTYPE_F32, out, &e), ED_E_DTYPE);
    t = (ed_file_tensor){.name = "t", .data = low, .bytes = sizeof low, .shape = {1}, .dtype = ED_FILE_I64, .rank = 1};
    assert_int_equal(ed_file_tensor_read(&t, 0, 1, ED_DTYPE_I32, out, &e), ED_E_RANGE);
    t = (ed_file_tensor){.name = "t", .data = u64, .bytes = sizeof u64, .shape = {2}, .dtype = ED_FILE_U64, .rank = 1};
    assert_int_equal(ed_file_tensor_read(&t, 0, 2, ED_DTYPE_I32, out, &e), ED_E_RANGE);
    t = (ed_file_tensor){.name = "t", .data = i8, .bytes = 2, .shape = {2}, .dtype = ED_FILE_I8, .rank = 1};
    assert_int_equal(ed_file_tensor_read(&t, 0, 2, ED_DTYPE_I32, out, &e), ED_OK);
    assert_true(out[0] == -1 && out[1] == 127);
    t = (ed_file_tensor){.name = "t", .data = bools, .bytes = 3, .shape = {3}, .dtype = ED_FILE_BOOL, .rank = 1};
    assert_int_equal(ed_file_tensor_read(&t, 0, 2, ED_DTYPE_BOOL, b, &e), ED_OK);
    assert_int_equal(ed_file_tensor_read(&t, 0, 3, ED_DTYPE_BOOL, b, &e), ED_E_FORMAT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
int main(void) {
    const struct CMUnitTest tests[] = {CASE(test_all_conversions), CASE(test_refusals),           CASE(test_names_by_callback),
                                       CASE(test_many_missing_names), CASE(test_large_conversion),   CASE(test_integers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
