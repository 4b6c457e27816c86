/* tests/unit/test_attention.c - the attention op against a naive twin over random shapes, every hook and every mask term; f32 gradients against the f64
 * twin's (whose own gradients are checked by finite differences in tests/grad/test_grad_attention.c); fully hidden rows; side outputs; refusals. */
#include "attention_cases.h"

static const ed_dtype DTYPES[2] = {ED_DTYPE_F64, ED_DTYPE_F32};

static void check_forward(acase c, uint64_t seed) {
    acase_make(&c, seed);
    anaive n = anaive_run(&c);
    for (int i = 0; i < 2; i++) {
        ed_graph *g = agraph(false);
        afed f;
        double tol = i ? 2e-5 : 1e-12;
        arun(g, &c, DTYPES[i], &f);
        aclose("o", f.o, n.o, tol);
        aclose("lse", f.out.lse, n.lse, tol);
        if (f.out.entropy)
            aclose("entropy", f.out.entropy, n.entropy, tol * 5);
        if (f.out.hinge)
            aclose("hinge", f.out.hinge, n.hinge, tol * 5);
        ed_graph_destroy(&g);
    }
    anaive_free(&n);
    acase_free(&c);
}

/* weights of the three outputs that carry gradient */
static void run_backward(ed_graph *g, const acase *c, ed_dtype dt, afed *f) {
    ed_rng r = ed_rng_make(31, 1);
    double *w = arand(&r, c->B * c->T * c->H * c->Dv, 1), *we = arand(&r, c->B * c->H * c->T, 1), *wh = arand(&r, c->B * c->H * c->T, 0.1);
    arun(g, c, dt, f);
    ed_seed s[3] = {{f->o, NULL}, {f->out.entropy, NULL}, {f->out.hinge, NULL}};
    s[0].cotangent = afeed(g, dt, 4, f->o->shape, w);
    int n = 1;
    if (f->out.entropy)
        s[n++] = (ed_seed){f->out.entropy, afeed(g, dt, 3, f->out.entropy->shape, we)};
    if (f->out.hinge)
        s[n++] = (ed_seed){f->out.hinge, afeed(g, dt, 3, f->out.hinge->shape, wh)};
    ed_error err = {0};
    if (ed_backward(g, s, n, &err) != ED_OK)
        fail_msg("%s", err.message);
    free(w), free(we), free(wh);
}

static void compare_grad(const char *what, ed_graph *g32, ed_tensor *x32, ed_graph *g64, ed_tensor *x64) {
    if (!x32)
        return;
    ed_tensor *a = ed_grad(g32, x32), *b = ed_grad(g64, x64);
    if (ed_numel(x32) == 0)
        return;
    assert_non_null(a);
    assert_non_null(b);
    double *want = malloc(sizeof *want * (size_t)(ed_numel(b) + 1));
    ed_copy_out_f64(b, want);
    aclose(what, a, want, 2e-4);
    free(want);
}

static void check_backward(acase c, uint64_t seed) {
    acase_make(&c, seed);
    ed_graph *g32 = agraph(true), *g64 = agraph(true);
    afed f32, f64;
    run_backward(g32, &c, ED_DTYPE_F32, &f32);
    run_backward(g64, &c, ED_DTYPE_F64, &f64);
    double *o = malloc(sizeof *o * (size_t)(ed_numel(f64.o) + 1));
    ed_copy_out_f64(f64.o, o);
    aclose("o (training)", f32.o, o, 5e-5);
    free(o);
    compare_grad("dq", g32, f32.q, g64, f64.q);
    for (int i = 0; i < f32.n; i++) {
        compare_grad("dk", g32, f32.kv[i].k, g64, f64.kv[i].k);
        compare_grad("dv", g32, f32.kv[i].v, g64, f64.kv[i].v);
    }
    compare_grad("db", g32, f32.bias, g64, f64.bias);
    compare_grad("dc", g32, f32.post, g64, f64.post);
    compare_grad("dr", g32, f32.rel, g64, f64.rel);
    compare_grad("dkappa", g32, f32.kappa, g64, f64.kappa);
    compare_grad("dd", g32, f32.dense, g64, f64.dense);
    ed_graph_destroy(&g32);
    ed_graph_destroy(&g64);
    acase_free(&c);
}

static const uint32_t KINDS[] = {
    0, C_CAUSAL, C_CAUSAL | C_WINDOW, C_WINDOW, C_LABELS, C_LABELS | C_SHARED_ALL, C_LABELS | C_VALID, C_VALID, C_TREE, C_BITMAP, C_BLOCKS, C_SELF, C_LABELS | C_TREE | C_VALID,
    C_BIAS, C_BIAS | C_CAUSAL, C_BIAS | C_POS, C_BIAS | C_T5, C_BIAS | C_T5 | C_CAUSAL, C_BIAS | C_ONEHEAD, C_POST, C_POST | C_CAUSAL | C_BIAS, C_POST | C_POS, C_REL, C_REL | C_POS | C_CAUSAL,
    C_KAPPA, C_KAPPA | C_ONE, C_DENSE, C_ONE, C_ONE | C_CAUSAL, C_CAP, C_CAP | C_BIAS, C_SLOPES | C_CAUSAL, C_SLOPES | C_BIAS | C_POS, C_TILED, C_ENTROPY, C_ENTROPY | C_CAUSAL | C_ONE,
    C_ENTROPY | C_LABELS | C_BIAS | C_KAPPA, C_HINGE, C_HINGE | C_KAPPA | C_ONE, C_SPLIT | C_CAUSAL, C_SPLIT | C_BIAS | C_POST | C_VALID,
    C_BIAS | C_POST | C_REL | C_KAPPA | C_DENSE | C_ONE | C_CAP | C_SLOPES | C_ENTROPY | C_HINGE | C_LABELS | C_VALID | C_SPLIT | C_POS,
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static const acase SHAPES[] = {
    {.B = 2, .T = 5, .S = 5, .H = 2, .Hkv = 2, .Dk = 8, .Dv = 8},
    {.B = 2, .T = 33, .S = 33, .H = 4, .Hkv = 2, .Dk = 16, .Dv = 12},
    {.B = 1, .T = 70, .S = 150, .H = 3, .Hkv = 1, .Dk = 20, .Dv = 32},
    {.B = 2, .T = 1, .S = 270, .H = 4, .Hkv = 4, .Dk = 32, .Dv = 16},
};

static void test_forward_kinds(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++)
        for (int s = 0; s < 4; s++) {
            acase c = SHAPES[s];
            c.flags = KINDS[k];
            c.amp = KINDS[k] & C_HINGE ? 4 : 1.5;
            check_forward(c, (uint64_t)(100 * k + s));
        }
}

static void test_backward_kinds(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++)
        for (int s = 0; s < 3; s++) {
            acase c = SHAPES[s];
            c.flags = KINDS[k];
            c.amp = KINDS[k] & C_HINGE ? 4 : 1.5;
            check_backward(c, (uint64_t)(100 * k + s));
        }
}

static void test_backward_dropout(void **state) {
    (void)state;
    acase c = SHAPES[1];
    c.flags = C_DROP | C_CAUSAL;
    check_backward(c, 3);
    c = SHAPES[2];
    c.flags = C_DROP | C_POST | C_BIAS;
    check_backward(c, 4);
}

static void test_long_groups(void **state) { /* more than ED_ATTENTION_GROUP tiles: partials are merged */
    (void)state;
    acase c = {.B = 1, .T = 3, .S = 2300, .H = 2, .Hkv = 1, .Dk = 16, .Dv = 16, .flags = C_CAUSAL | C_ENTROPY};
    check_forward(c, 8);
    c.flags = C_ONE | C_ENTROPY;
    check_forward(c, 9);
    check_backward(c, 10);
    acase empty = {.B = 1, .T = 3, .S = 0, .H = 2, .Hkv = 1, .Dk = 16, .Dv = 16};
    check_forward(empty, 11);
    check_backward(empty, 11);
}

/* one tensor as queries, keys and values at once, or as keys and values: the gradients add up */
static void test_aliases(void **state) {
    (void)state;
    for (int all = 0; all < 2; all++) {
        double *d[2];
        acase c = {.B = 2, .T = 40, .S = 40, .H = 2, .Hkv = 2, .Dk = 16, .Dv = 16};
        acase_make(&c, 3);
        for (int i = 0; i < 2; i++) {
            ed_graph *g = agraph(true);
            ed_tensor *k = afeed(g, DTYPES[i], 4, (int64_t[]){c.B, c.S, c.Hkv, c.Dk}, c.k), *q = all ? k : afeed(g, DTYPES[i], 4, k->shape, c.q);
            ed_tensor *o = ed_attention(g, q, &(ed_kv){k, k}, 1, NULL, NULL);
            ed_seed s = {o, afeed(g, DTYPES[i], 4, k->shape, c.v)};
            assert_int_equal(ed_backward(g, &s, 1, NULL), ED_OK);
            d[i] = malloc(sizeof **d * (size_t)ed_numel(k));
            if (i)
                aclose("dk", ed_grad(g, k), d[0], 1e-4);
            else
                ed_copy_out_f64(ed_grad(g, k), d[0]);
            ed_graph_destroy(&g);
        }
        free(d[0]), free(d[1]);
        acase_free(&c);
    }
}

static void test_dropout_rate(void **state) {
    (void)state;
    ed_graph *g = agraph(true);
    acase c = {.B = 2, .T = 40, .S = 64, .H = 2, .Hkv = 2, .Dk = 4, .Dv = 64, .flags = C_DROP};
    acase_make(&c, 1);
    for (int64_t i = 0; i < c.B * c.S * c.Hkv * c.Dv; i++) /* v = identity: o is the row of weights */
        c.v[i] = i % c.Dv == i / (c.Dv * c.Hkv) % c.S;
    afed f;
    arun(g, &c, ED_DTYPE_F32, &f);
    anaive n = anaive_run(&c);
    int64_t zero = 0, total = ed_numel(f.o);
    for (int64_t i = 0; i < total; i++) {
        double x = ed_get(f.o, i), p = n.o[i];
        zero += x == 0;
        assert_true(x == 0 || fabs(x - p / 0.7) < 1e-5);
    }
    assert_true(fabs((double)zero / (double)total - 0.3) < 0.02);
    anaive_free(&n);
    acase_free(&c);
    ed_graph_destroy(&g);
}

/* rows that see nothing: zeros, -inf, no NaN anywhere, also in gradients; hidden keys may hold NaN */
static void test_hidden(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        ed_graph *g = agraph(true);
        acase c = {.B = 2, .T = 6, .S = 40, .H = 2, .Hkv = 2, .Dk = 8, .Dv = 8, .flags = C_VALID | C_ENTROPY | C_BIAS};
        acase_make(&c, 2);
        for (int64_t j = 0; j < c.labels.batch * c.S; j++)
            c.valid[j] = c.labels.batch > 1 && j >= c.S && j % 3;
        for (int64_t j = 0; j < c.B * c.S * 16; j++)
            if (!c.valid[c.labels.batch > 1 ? j / 16 : j / 16 % c.S])
                c.k[j] = c.v[j] = NAN;
        afed f;
        run_backward(g, &c, DTYPES[i], &f);
        for (int64_t j = 0; j < ed_numel(f.o); j++) {
            assert_true(isfinite(ed_get(f.o, j)));
            if (j < ed_numel(f.o) / 2)
                assert_true(ed_get(f.o, j) == 0);
        }
        for (int64_t j = 0; j < ed_numel(f.out.lse) / 2; j++) {
            assert_true(ed_get(f.out.lse, j) == -INFINITY);
            assert_true(ed_get(f.out.entropy, j) == 0);
        }
        ed_tensor *d[4] = {ed_grad(g, f.q), ed_grad(g, f.kv[0].k), ed_grad(g, f.kv[0].v), ed_grad(g, f.bias)};
        for (int k = 0; k < 4; k++)
            for (int64_t j = 0; d[k] && j < ed_numel(d[k]); j++)
                assert_true(isfinite(ed_get(d[k], j)));
        acase_free(&c);
        ed_graph_destroy(&g);
    }
}

/* a NaN in a key that a row must not see stays out of that row, in any tile shape */
static void test_future_nan(void **state) {
    (void)state;
    ed_graph *g = agraph(false);
    acase c = {.B = 1, .T = 40, .S = 40, .H = 1, .Hkv = 1, .Dk = 8, .Dv = 16, .flags = C_CAUSAL};
    acase_make(&c, 2);
    for (int64_t d = 0; d < 16; d++)
        c.v[20 * 16 + d] = NAN;
    for (int64_t d = 0; d < 8; d++)
        c.k[20 * 8 + d] = NAN;
    afed f;
    arun(g, &c, ED_DTYPE_F32, &f);
    for (int64_t t = 0; t < 40; t++)
        for (int64_t d = 0; d < 16; d++)
            assert_true(isnan(ed_get(f.o, t * 16 + d)) == (t >= 20));
    acase_free(&c);
    ed_graph_destroy(&g);
}

static void test_sides(void **state) {
    (void)state;
    acase c = {.B = 2, .T = 7, .S = 50, .H = 3, .Hkv = 3, .Dk = 8, .Dv = 8, .flags = C_LABELS | C_BIAS};
    static const int32_t rows[2] = {6, 1};
    static const int64_t ranges[4] = {0, 20, 20, 50};
    acase_make(&c, 5);
    c.o.rows = rows, c.o.n_rows = 2;
    c.o.column_rows = rows, c.o.n_column_rows = 2;
    c.o.ranges = ranges, c.o.n_ranges = 2;
    anaive n = anaive_run(&c);
    for (int i = 0; i < 2; i++) {
        ed_graph *g = agraph(false);
        double tol = i ? 1e-5 : 1e-12;
        afed f;
        arun(g, &c, DTYPES[i], &f);
        for (int64_t b = 0; b < 2; b++) {
            for (int64_t j = 0; j < c.S; j++) {
                double sum = 0, max = 0;
                for (int r = 0; r < 2; r++) {
                    double mean = 0;
                    for (int64_t h = 0; h < 3; h++) {
                        double p = n.p[((b * 3 + h) * 7 + rows[r]) * c.S + j];
                        mean += p / 3;
                        assert_true(fabs(ed_get(f.out.rows, ((b * 3 + h) * 2 + r) * c.S + j) - p) < tol);
                    }
                    sum += mean;
                    max = mean > max ? mean : max;
                }
                assert_true(fabs(ed_get(f.out.column_sum, b * c.S + j) - sum) < tol);
                assert_true(fabs(ed_get(f.out.column_max, b * c.S + j) - max) < tol);
            }
            for (int64_t h = 0; h < 3; h++)
                for (int64_t t = 0; t < 7; t++)
                    for (int r = 0; r < 2; r++) {
                        double mass = 0;
                        for (int64_t j = ranges[2 * r]; j < ranges[2 * r + 1]; j++)
                            mass += n.p[((b * 3 + h) * 7 + t) * c.S + j];
                        assert_true(fabs(ed_get(f.out.mass, ((b * 3 + h) * 7 + t) * 2 + r) - mass) < tol);
                    }
        }
        ed_graph_destroy(&g);
    }
    anaive_free(&n);
    acase_free(&c);
}

static void test_large_scores(void **state) {
    (void)state;
    acase c = {.B = 1, .T = 4, .S = 200, .H = 1, .Hkv = 1, .Dk = 4, .Dv = 4, .amp = 100};
    check_forward(c, 1);
    c.flags = C_ONE;
    check_forward(c, 2);
}

static void refuse(ed_status want, acase c, ed_attention_opts *change) {
    ed_graph *g = agraph(false);
    acase_make(&c, 1);
    ed_attention_opts o = change ? *change : c.o;
    ed_tensor *q = afeed(g, ED_DTYPE_F32, 4, (int64_t[]){c.B, c.T, c.H, c.Dk}, c.q);
    ed_kv kv = {afeed(g, ED_DTYPE_F32, 4, (int64_t[]){c.B, c.S, c.Hkv, c.Dk}, c.k), afeed(g, ED_DTYPE_F32, 4, (int64_t[]){c.B, c.S, c.Hkv, c.Dv}, c.v)};
    if (o.bias)
        o.bias = afeed(g, ED_DTYPE_F32, 2, (int64_t[]){c.n_bias - 1, c.H}, c.bias);
    assert_null(ed_attention(g, q, &kv, 1, &o, NULL));
    assert_int_equal(ed_graph_status(g, NULL), want);
    acase_free(&c);
    ed_graph_destroy(&g);
}

static void test_refusals(void **state) {
    (void)state;
    acase c = {.B = 1, .T = 4, .S = 6, .H = 4, .Hkv = 3, .Dk = 4, .Dv = 4};
    refuse(ED_E_SHAPE, c, NULL);
    c.Hkv = 2;
    ed_tensor any;
    ed_attention_opts o = ed_attention_opts_default();
    o.bias = &any, o.bias_map = ed_offset_map_clamp(40);
    refuse(ED_E_INVALID, c, &o);
    o = ed_attention_opts_default();
    o.dropout = 1;
    refuse(ED_E_RANGE, c, &o);
    ed_labels l = {.batch = 1, .queries = 4, .keys = 7};
    o = ed_attention_opts_default();
    o.labels = &l;
    refuse(ED_E_SHAPE, c, &o);
    static const int32_t row = 4, pos_far[6] = {0, 1 << 30, 0, 0, 0, 0};
    o = ed_attention_opts_default();
    o.rows = &row, o.n_rows = 1;
    refuse(ED_E_RANGE, c, &o);
    static const double slopes[4] = {1, 1, 1, 1};
    o = ed_attention_opts_default();
    o.k_pos = pos_far, o.slopes = slopes;
    refuse(ED_E_LIMIT, c, &o);
}

static void test_t5_buckets(void **state) {
    (void)state;
    ed_arena *a;
    ed_offset_map m;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    assert_int_equal(ed_offset_map_t5(a, true, 32, 128, &m), ED_OK);
    static const int32_t two[][2] = {{0, 0}, {-1, 1}, {-7, 7}, {-8, 8}, {-11, 8}, {-12, 9}, {-127, 15}, {-128, 15}, {-9999, 15}, {1, 17}, {7, 23}, {8, 24}, {9999, 31}};
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        assert_int_equal(ed_offset_map_at(&m, two[i][0]), two[i][1]);
    assert_int_equal(ed_offset_map_t5(a, false, 32, 128, &m), ED_OK);
    static const int32_t one[][2] = {{5, 0}, {0, 0}, {-1, 1}, {-15, 15}, {-16, 16}, {-19, 17}, {-18, 16}, {-127, 31}, {-128, 31}, {-500, 31}};
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        assert_int_equal(ed_offset_map_at(&m, one[i][0]), one[i][1]);
    assert_int_equal(ed_offset_map_t5(a, true, 3, 128, &m), ED_E_INVALID);
    ed_arena_destroy(&a);
}

/* URPE: a table of ones changes no bit; swapping the sign of the offset does change the result */
static void test_post_scale(void **state) {
    (void)state;
    acase c = {.B = 2, .T = 40, .S = 40, .H = 2, .Hkv = 2, .Dk = 16, .Dv = 16, .flags = C_BIAS | C_CAUSAL};
    acase with = c;
    with.flags |= C_POST;
    acase_make(&c, 6);
    acase_make(&with, 6);
    for (int64_t i = 0; i < with.n_post * with.H; i++)
        with.post[i] = 1;
    for (int i = 0; i < 2; i++) {
        ed_graph *g1 = agraph(true), *g2 = agraph(true);
        afed a, b;
        size_t es = ed_dtype_bytes(DTYPES[i]);
        run_backward(g1, &c, DTYPES[i], &a);
        run_backward(g2, &with, DTYPES[i], &b);
        assert_memory_equal(a.o->data, b.o->data, es * (size_t)ed_numel(a.o));
        ed_tensor *x[4] = {a.q, a.kv[0].k, a.kv[0].v, a.bias}, *y[4] = {b.q, b.kv[0].k, b.kv[0].v, b.bias};
        for (int k = 0; k < 4; k++)
            assert_memory_equal(ed_grad(g1, x[k])->data, ed_grad(g2, y[k])->data, es * (size_t)ed_numel(x[k]));
        assert_non_null(ed_grad(g2, b.post));
        ed_graph_destroy(&g1);
        ed_graph_destroy(&g2);
    }
    acase_free(&c);
    acase_free(&with);
    /* Toeplitz fixture: k = 0, so p is uniform over 3 keys; c = 0 but for offset +1 (the next key): row t gives v[t + 1] / 3 */
    static const double zero[12] = {0}, v[3] = {10, 20, 30}, post[5] = {0, 0, 0, 1, 0};
    ed_graph *g = agraph(false);
    ed_tensor *q = afeed(g, ED_DTYPE_F32, 4, (int64_t[]){1, 3, 1, 4}, zero);
    ed_kv kv = {afeed(g, ED_DTYPE_F32, 4, (int64_t[]){1, 3, 1, 4}, zero), afeed(g, ED_DTYPE_F32, 4, (int64_t[]){1, 3, 1, 1}, v)};
    ed_attention_opts o = ed_attention_opts_default();
    o.post_scale = afeed(g, ED_DTYPE_F32, 2, (int64_t[]){5, 1}, post);
    o.post_map = ed_offset_map_clamp(3);
    ed_tensor *y = ed_attention(g, q, &kv, 1, &o, NULL);
    assert_non_null(y);
    assert_true(fabs(ed_get(y, 0) - 20.0 / 3) < 1e-5 && fabs(ed_get(y, 1) - 10) < 1e-5 && ed_get(y, 2) == 0);
    ed_graph_destroy(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward_kinds), cmocka_unit_test(test_backward_kinds), cmocka_unit_test(test_backward_dropout), cmocka_unit_test(test_long_groups),
        cmocka_unit_test(test_aliases), cmocka_unit_test(test_dropout_rate),  cmocka_unit_test(test_hidden),         cmocka_unit_test(test_future_nan),       cmocka_unit_test(test_sides),
        cmocka_unit_test(test_large_scores),  cmocka_unit_test(test_refusals),       cmocka_unit_test(test_t5_buckets),       cmocka_unit_test(test_post_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
