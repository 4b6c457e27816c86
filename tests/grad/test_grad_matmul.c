/* matmul, linear, grouped_matmul: gradients by finite differences, values against plain sums, dtypes, errors, the packed path of decoding. */
#include "grad/gradcheck.h"

static ed_tensor *fn_matmul(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_matmul(g, x[0], x[1]);
}
static ed_tensor *fn_matmul_t(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_matmul(g, x[0], ed_transpose(g, x[1], -1, -2));
}
/* One operand twice: both gradients land in the same storage. */
static ed_tensor *fn_gram(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_matmul(g, x[0], ed_transpose(g, x[0], -1, -2));
}
static ed_tensor *fn_square(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_matmul(g, x[0], x[0]);
}
static ed_tensor *fn_expand(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_matmul(g, ed_expand(g, x[0], 3, (int64_t[]){3, 2, 4}), x[1]);
}

static void test_matmul(void **state) {
    (void)state;
    gradcheck("matmul", fn_matmul, NULL, (gradcheck_in[]){{.rank = 2, .shape = {3, 4}}, {.rank = 2, .shape = {4, 5}}}, 2, 1e-8);
    gradcheck("matmul of ones", fn_matmul, NULL, (gradcheck_in[]){{.rank = 2, .shape = {1, 1}}, {.rank = 2, .shape = {1, 1}}}, 2, 1e-8);
    gradcheck("matmul, batch", fn_matmul, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 3, 4}}, {.rank = 3, .shape = {2, 4, 2}}}, 2, 1e-8);
    gradcheck("matmul, one b", fn_matmul, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 3, 4}}, {.rank = 2, .shape = {4, 2}}}, 2, 1e-8);
    gradcheck("matmul, one a", fn_matmul, NULL, (gradcheck_in[]){{.rank = 2, .shape = {3, 4}}, {.rank = 4, .shape = {2, 1, 4, 2}}}, 2, 1e-8);
    gradcheck("matmul, both broadcast", fn_matmul, NULL, (gradcheck_in[]){{.rank = 4, .shape = {2, 1, 3, 2}}, {.rank = 4, .shape = {1, 3, 2, 2}}}, 2, 1e-8);
    gradcheck("matmul, vector rows", fn_matmul, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 1, 4}}, {.rank = 3, .shape = {2, 4, 1}}}, 2, 1e-8);
    gradcheck("matmul, transposed", fn_matmul_t, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 3, 4}}, {.rank = 3, .shape = {2, 5, 4}}}, 2, 1e-8);
    gradcheck("matmul, inner 0", fn_matmul, NULL, (gradcheck_in[]){{.rank = 2, .shape = {2, 0}}, {.rank = 2, .shape = {0, 3}}}, 2, 1e-8);
    gradcheck("gram", fn_gram, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 3, 4}}}, 1, 1e-8);
    gradcheck("square", fn_square, NULL, (gradcheck_in[]){{.rank = 2, .shape = {3, 3}}}, 1, 1e-8);
    gradcheck("expanded", fn_expand, NULL, (gradcheck_in[]){{.rank = 3, .shape = {1, 2, 4}}, {.rank = 3, .shape = {3, 4, 2}}}, 2, 1e-8);
}

static void test_matmul_random(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(31, 0);
    for (int round = 0; round < 25; round++) {
        int64_t m = 1 + (int64_t)ed_rng_below(&r, 4), n = 1 + (int64_t)ed_rng_below(&r, 4), k = 1 + (int64_t)ed_rng_below(&r, 4);
        gradcheck_in in[2] = {{.rank = 2 + (int)ed_rng_below(&r, 3)}, {.rank = 2 + (int)ed_rng_below(&r, 3)}};
        int64_t lead[2] = {1 + (int64_t)ed_rng_below(&r, 3), 1 + (int64_t)ed_rng_below(&r, 3)};
        for (int i = 0; i < 2; i++) {
            int rank = in[i].rank;
            for (int x = 0; x < rank - 2; x++)
                in[i].shape[x] = ed_rng_below(&r, 3) ? lead[2 - (rank - 2) + x] : 1;
            in[i].shape[rank - 2] = i ? k : m;
            in[i].shape[rank - 1] = i ? n : k;
        }
        gradcheck("random matmul", fn_matmul, NULL, in, 2, 1e-8);
    }
}

static ed_tensor *fn_linear(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)ctx;
    return ed_linear(g, x[0], x[1], n > 2 ? x[2] : NULL);
}
static void test_linear(void **state) {
    (void)state;
    gradcheck("linear", fn_linear, NULL, (gradcheck_in[]){{.rank = 3, .shape = {2, 3, 4}}, {.rank = 2, .shape = {5, 4}}, {.rank = 1, .shape = {5}}}, 3, 1e-8);
    gradcheck("linear without bias", fn_linear, NULL, (gradcheck_in[]){{.rank = 2, .shape = {3, 4}}, {.rank = 2, .shape = {5, 4}}}, 2, 1e-8);
    gradcheck("linear of a vector", fn_linear, NULL, (gradcheck_in[]){{.rank = 1, .shape = {4}}, {.rank = 2, .shape = {2, 4}}, {.rank = 1, .shape = {2}}}, 3, 1e-8);
    gradcheck("linear 1x1", fn_linear, NULL, (gradcheck_in[]){{.rank = 2, .shape = {1, 1}}, {.rank = 2, .shape = {1, 1}}, {.rank = 1, .shape = {1}}}, 3, 1e-8);
    gradcheck("linear, frozen weight", fn_linear, NULL, (gradcheck_in[]){{.rank = 4, .shape = {2, 1, 3, 4}}, {.rank = 2, .shape = {3, 4}, .no_grad = true}, {.rank = 1, .shape = {3}}}, 3, 1e-8);
}

static ed_tensor *fn_grouped(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    int64_t groups = x[1] ? x[1]->shape[0] : 0;
    return ed_grouped_matmul(g, x[0], x[1], n > 2 ? x[2] : NULL, ed_from(g, ED_DTYPE_I32, 1, &groups, ctx));
}
static void test_grouped(void **state) {
    (void)state;
    gradcheck("grouped", fn_grouped, (int32_t[]){2, 0, 3}, (gradcheck_in[]){{.rank = 2, .shape = {5, 4}}, {.rank = 3, .shape = {3, 2, 4}}, {.rank = 2, .shape = {3, 2}}}, 3, 1e-8);
    gradcheck("grouped, no bias", fn_grouped, (int32_t[]){0, 1}, (gradcheck_in[]){{.rank = 2, .shape = {1, 3}}, {.rank = 3, .shape = {2, 3, 3}}}, 2, 1e-8);
}

/* ---- f32 against f64: one function of the same numbers, in both dtypes, values and gradients; also with bf16 products */
typedef struct run {
    double y[4096], da[4096], db[4096];
} run;
static void run_both(ed_dtype dtype, ed_dtype matmul, const int64_t *sa, int ra, const int64_t *sb, int rb, run *out) {
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    o.matmul_dtype = matmul;
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_rng r = ed_rng_make(5, 9);
    ed_tensor *t[2];
    for (int i = 0; i < 2; i++) {
        ed_tensor *d = ed_new(g, ED_DTYPE_F64, i ? rb : ra, i ? sb : sa);
        for (int64_t k = 0; k < ed_numel(d); k++)
            ((double *)d->data)[k] = (double)(float)(2 * ed_rng_uniform(&r) - 1);
        t[i] = ed_watch(g, dtype == ED_DTYPE_F64 ? d : ed_cast(g, d, dtype));
    }
    ed_tensor *y = ed_matmul(g, t[0], t[1]);
    ed_seed s = {y, NULL};
    assert_int_equal(ed_backward(g, &s, 1, NULL), ED_OK);
    ed_copy_out_f64(y, out->y);
    ed_copy_out_f64(ed_grad(g, t[0]), out->da);
    ed_copy_out_f64(ed_grad(g, t[1]), out->db);
    ed_graph_destroy(&g);
}
static void test_f32(void **state) {
    (void)state;
    static const struct {
        int ra, rb;
        int64_t a[4], b[4];
    } CASES[] = {{2, 2, {33, 40}, {40, 50}}, {3, 3, {4, 20, 7}, {4, 7, 9}}, {3, 2, {4, 20, 7}, {7, 33}}, {2, 3, {20, 7}, {3, 7, 9}}, {4, 4, {2, 1, 5, 6}, {1, 3, 6, 4}}};
    static run exact, f32, bf16;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        memset(&exact, 0, sizeof exact), memset(&f32, 0, sizeof f32), memset(&bf16, 0, sizeof bf16);
        run_both(ED_DTYPE_F64, ED_DTYPE_F32, CASES[i].a, CASES[i].ra, CASES[i].b, CASES[i].rb, &exact);
        run_both(ED_DTYPE_F32, ED_DTYPE_F32, CASES[i].a, CASES[i].ra, CASES[i].b, CASES[i].rb, &f32);
        run_both(ED_DTYPE_F32, ED_DTYPE_BF16, CASES[i].a, CASES[i].ra, CASES[i].b, CASES[i].rb, &bf16);
        const double *e = exact.y, *f = f32.y, *h = bf16.y;
        bool differs = false;
        for (size_t k = 0; k < sizeof(run) / sizeof(double); k++) {
            assert_true(fabs(e[k] - f[k]) < 2e-5 && fabs(e[k] - h[k]) < 0.25);
            differs |= fabs(f[k] - h[k]) > 1e-5;
        }
        assert_true(differs); /* bf16 was really used */
    }
}

/* ---- decoding: frozen parameters go through packs; same bits as without, renewed after a change */
static void linear_once(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *b, float *out) {
    ed_tensor *y = ed_linear(g, x, w, b);
    assert_non_null(y);
    ed_copy_out_f32(y, out);
}
static void test_packed(void **state) {
    (void)state;
    enum { M = 3, IN = 70, OUT = 45 };
    static const ed_dtype DTYPES[] = {ED_DTYPE_F32, ED_DTYPE_BF16, ED_DTYPE_F16};
    ed_params *set;
    ed_graph *g;
    ed_param *p, *b;
    ed_graph_opts o = ed_graph_opts_infer();
    float x[M * IN], direct[M * OUT], packed[M * OUT];
    for (int i = 0; i < M * IN; i++)
        x[i] = (float)(i % 13) / 8 - 0.7f;
    for (int d = 0; d < 3; d++) {
        assert_int_equal(ed_params_create(&set), ED_OK);
        assert_int_equal(ed_params_add(set, "w", DTYPES[d], 2, (int64_t[]){OUT, IN}, &p, NULL), ED_OK);
        assert_int_equal(ed_params_add(set, "b", ED_DTYPE_F32, 1, (int64_t[]){OUT}, &b, NULL), ED_OK);
        ed_param_init(b, "normal", 1, 2, NULL);
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        for (int round = 0; round < 2; round++) {
            ed_param_init(p, "normal", 0.5, (uint64_t)round, NULL);
            ed_tensor *tx = ed_from(g, ED_DTYPE_F32, 2, (int64_t[]){M, IN}, x);
            ed_tensor *plain = ed_wrap(g, DTYPES[d], 2, p->shape, p->data);
            linear_once(g, tx, ed_use(g, p), ed_use(g, b), packed);
            assert_non_null(p->packed);
            linear_once(g, tx, plain, ed_use(g, b), direct);
            assert_memory_equal(packed, direct, sizeof packed);
            for (int64_t j = 0; j < OUT; j++) {
                double want = ed_get(ed_use(g, b), j);
                for (int64_t k = 0; k < IN; k++)
                    want += (double)x[k] * ed_get(plain, j * IN + k);
                assert_true(fabs((double)packed[j] - want) < 1e-4);
            }
            ed_graph_reset(g);
        }
        ed_graph_destroy(&g);
        ed_params_destroy(&set);
    }
}

/* grouped_matmul through packs: each group equals ed_linear with its own weight, bit for bit. */
static void test_grouped_packed(void **state) {
    (void)state;
    enum { G = 3, IN = 20 };
    static const int32_t COUNTS[G] = {2, 0, 4};
    ed_graph_opts o = ed_graph_opts_infer();
    for (int64_t out = 32; out <= 64; out += 8) { /* 32 and 64: packed; others: not */
        ed_params *set;
        ed_graph *g;
        ed_param *p;
        assert_int_equal(ed_params_create(&set), ED_OK);
        assert_int_equal(ed_params_add(set, "w", ED_DTYPE_F32, 3, (int64_t[]){G, out, IN}, &p, NULL), ED_OK);
        ed_param_init(p, "normal", 1, 3, NULL);
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *x = ed_new(g, ED_DTYPE_F32, 2, (int64_t[]){6, IN}), *w = ed_use(g, p);
        for (int i = 0; i < 6 * IN; i++)
            ((float *)x->data)[i] = (float)(i % 11) - 5.3f;
        ed_tensor *y = ed_grouped_matmul(g, x, w, NULL, ed_from(g, ED_DTYPE_I32, 1, (int64_t[]){G}, COUNTS));
        assert_non_null(y);
        assert_true((p->packed != NULL) == (out % 32 == 0));
        int64_t row = 0;
        for (int64_t i = 0; i < G; row += COUNTS[i++]) {
            ed_tensor *wi = ed_squeeze(g, ed_slice(g, w, 0, i, i + 1, 1), 0);
            ed_tensor *part = ed_linear(g, ed_slice(g, x, 0, row, row + COUNTS[i], 1), wi, NULL);
            assert_non_null(part);
            assert_memory_equal(part->data, (float *)y->data + row * out, (size_t)(COUNTS[i] * out) * sizeof(float));
        }
        ed_graph_destroy(&g);
        ed_params_destroy(&set);
    }
}

/* ---- errors */
static void expect(ed_graph *g, ed_tensor *t, ed_status s, const char *part) {
    ed_error e = {0};
    assert_null(t);
    assert_int_equal(ed_graph_status(g, &e), s);
    assert_non_null(strstr(e.message, part));
    ed_graph_reset(g);
}
static void test_errors(void **state) {
    (void)state;
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
#define T(dtype, rank, ...) ed_zeros(g, dtype, rank, (int64_t[]){__VA_ARGS__})
    expect(g, ed_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 2, 2, 3)), ED_E_SHAPE, "f32[2, 3]");
    expect(g, ed_matmul(g, T(ED_DTYPE_F32, 1, 3), T(ED_DTYPE_F32, 2, 3, 2)), ED_E_SHAPE, "matmul");
    expect(g, ed_matmul(g, T(ED_DTYPE_F32, 3, 2, 2, 3), T(ED_DTYPE_F32, 3, 3, 3, 2)), ED_E_SHAPE, "matmul");
    expect(g, ed_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F64, 2, 3, 2)), ED_E_DTYPE, "f64");
    expect(g, ed_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), NULL), ED_E_INVALID, "operand 1");
    expect(g, ed_linear(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 2, 4, 2), NULL), ED_E_SHAPE, "linear");
    expect(g, ed_linear(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 2, 4, 3), T(ED_DTYPE_F32, 1, 3)), ED_E_SHAPE, "bias");
    expect(g, ed_linear(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_I32, 2, 4, 3), NULL), ED_E_DTYPE, "i32");
    expect(g, ed_linear(g, T(ED_DTYPE_F32, 2, 2, 3), ed_watch(g, T(ED_DTYPE_BF16, 2, 4, 3)), NULL), ED_E_DTYPE, "bf16");
    expect(g, ed_grouped_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 3, 2, 4, 3), NULL, T(ED_DTYPE_I32, 1, 2)), ED_E_RANGE, "sum to 0");
    expect(g, ed_grouped_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 3, 2, 4, 3), NULL, ed_full(g, ED_DTYPE_I32, 1, (int64_t[]){2}, -1)), ED_E_RANGE, "negative");
    expect(g, ed_grouped_matmul(g, T(ED_DTYPE_F32, 2, 2, 3), T(ED_DTYPE_F32, 3, 2, 4, 3), NULL, T(ED_DTYPE_I32, 1, 3)), ED_E_SHAPE, "counts");
    ed_tensor *y = ed_matmul(g, T(ED_DTYPE_F32, 3, 0, 2, 3), T(ED_DTYPE_F32, 2, 3, 2)); /* empty is no error */
    assert_non_null(y);
    assert_int_equal(ed_numel(y), 0);
    ed_graph_destroy(&g);
}

/* An empty batch still gives zero gradients. */
static void test_empty_batch(void **state) {
    (void)state;
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_tensor *a = ed_watch(g, T(ED_DTYPE_F32, 3, 0, 2, 3)), *b = ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, (int64_t[]){3, 2}, 1));
    ed_tensor *y = ed_matmul(g, a, b), *l = ed_linear(g, a, ed_transpose(g, b, 0, 1), NULL);
    ed_seed s[2] = {{y, NULL}, {l, NULL}};
    assert_int_equal(ed_backward(g, s, 2, NULL), ED_OK);
    ed_tensor *d = ed_grad(g, b);
    for (int64_t i = 0; d && i < 6; i++)
        assert_float_equal(ed_get(d, i), 0, 0);
    ed_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matmul),  cmocka_unit_test(test_matmul_random),  cmocka_unit_test(test_linear),
                                       cmocka_unit_test(test_grouped), cmocka_unit_test(test_f32),            cmocka_unit_test(test_packed),
                                       cmocka_unit_test(test_errors),  cmocka_unit_test(test_grouped_packed), cmocka_unit_test(test_empty_batch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
