/* tests/unit/test_attention_bits.c - the bitwise promises of attention: a row's bits do not depend on rows, batch items, threads, segments, skipping, or on whether its keys
 * come in one pass or from a cache (ed_attend), alone or as a tree row; and what ed_attend adds to the op: parts, formats, partial results, refusals. */
#include "attention_cases.h"

static bool same(const float *a, const float *b, int64_t n) {
    return memcmp(a, b, sizeof *a * (size_t)n) == 0;
}

static float *run_o(const acase *c, int threads, int64_t *n) {
    ed_graph *g = agraph(false);
    afed f;
    ed_threads_set(threads);
    arun(g, c, ED_DTYPE_F32, &f);
    *n = ed_numel(f.o);
    float *o = malloc(sizeof *o * (size_t)(*n + 1));
    ed_copy_out_f32(f.o, o);
    ed_graph_destroy(&g);
    ed_threads_set(0);
    return o;
}

static void each_level(void (*fn)(void)) {
    ed_cpu_level old = ed_cpu_get();
    for (int l = 0; l < ED_CPU_LEVEL_COUNT; l++)
        if (ed_cpu_set((ed_cpu_level)l) == ED_OK)
            fn();
    ed_cpu_set(old);
}

static const acase BASE = {.B = 3, .T = 37, .S = 37, .H = 4, .Hkv = 2, .Dk = 24, .Dv = 20, .flags = C_CAUSAL | C_BIAS | C_POST | C_ONE};

/* one float view of a case in f32 */
typedef struct fcase {
    float *q, *k, *v, *bias, *post;
} fcase;
static float *tof(const double *x, int64_t n) {
    float *f = malloc(sizeof *f * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)x[i];
    return f;
}
static fcase fmake(const acase *c) {
    return (fcase){tof(c->q, c->B * c->T * c->H * c->Dk), tof(c->k, c->B * c->S * c->Hkv * c->Dk), tof(c->v, c->B * c->S * c->Hkv * c->Dv),
                   tof(c->bias, c->n_bias * c->H), tof(c->post, c->n_post * c->H)};
}
static void ffree(fcase *f) {
    free(f->q), free(f->k), free(f->v), free(f->bias), free(f->post);
}
static ed_attend_opts fopts(const acase *c, const fcase *f) {
    return (ed_attend_opts){.heads = c->H, .kv_heads = c->Hkv, .dk = c->Dk, .dv = c->Dv, .softcap = c->o.softcap, .softmax_one = c->o.softmax_one,
                            .tiled_heads = c->o.tiled_heads, .bias = c->flags & C_BIAS ? f->bias : NULL, .post_scale = c->flags & C_POST ? f->post : NULL,
                            .bias_map = c->o.bias_map, .post_map = c->o.post_map, .slopes = c->o.slopes};
}
static ed_kv_part fpart(const acase *c, const fcase *f, int64_t b, int64_t from, int64_t len) {
    return (ed_kv_part){.k = f->k + (b * c->S + from) * c->Hkv * c->Dk, .v = f->v + (b * c->S + from) * c->Hkv * c->Dv, .dtype = ED_DTYPE_F32, .len = len,
                        .k_row = c->Hkv * c->Dk, .k_head = c->Dk, .v_row = c->Hkv * c->Dv, .v_head = c->Dv};
}
static ed_attend_seq fseq(const acase *c, const fcase *f, int64_t b, int64_t t, int64_t rows, const ed_kv_part *parts, int n, float *o) {
    return (ed_attend_seq){.parts = parts, .n_parts = n, .rows = rows, .q = f->q + (b * c->T + t) * c->H * c->Dk, .q_row = c->H * c->Dk, .q_head = c->Dk, .o = o,
                           .o_row = c->H * c->Dv, .o_head = c->Dv, .causal = true, .window = -1, .q_start = c->S - c->T + t};
}

static void threads_and_batches(void) {
    acase c = BASE;
    acase_make(&c, 4);
    int64_t n, m;
    float *all = run_o(&c, 1, &n);
    for (int t = 2; t <= 3; t++) {
        float *x = run_o(&c, t, &m);
        assert_true(same(all, x, n));
        free(x);
    }
    for (int64_t b = 0; b < c.B; b++) { /* each batch item alone */
        acase one = c;
        one.B = 1;
        one.q += b * c.T * c.H * c.Dk, one.k += b * c.S * c.Hkv * c.Dk, one.v += b * c.S * c.Hkv * c.Dv;
        float *x = run_o(&one, 1, &m);
        assert_true(same(all + b * m, x, m));
        free(x);
    }
    c.flags |= C_SPLIT;
    float *x = run_o(&c, 1, &m);
    assert_true(same(all, x, n));
    free(x);
    c.flags &= ~(uint32_t)C_SPLIT;
    c.o.no_skip = true;
    x = run_o(&c, 2, &m);
    assert_true(same(all, x, n));
    free(x), free(all);
    acase_free(&c);
}

/* prefill rows against cached steps of 1, 4 and 16 rows, in one part or several, for lengths around tile and group borders */
static void cached_steps(void) {
    static const int64_t lens[] = {1, 31, 128, 129, 300, 2049, 2200};
    ed_arena *a;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        acase c = {.B = 2, .T = lens[i] < 40 ? lens[i] : 40, .S = lens[i], .H = 4, .Hkv = 2, .Dk = 20, .Dv = 16, .flags = C_CAUSAL | (i % 2 ? C_BIAS | C_POST : C_ONE | C_SLOPES)};
        acase_make(&c, 10 + i);
        fcase f = fmake(&c);
        ed_attend_opts o = fopts(&c, &f);
        int64_t n, row = c.H * c.Dv;
        float *all = run_o(&c, 1, &n), *got = calloc((size_t)(16 * row * 2), sizeof *got), lse[16 * 4];
        static const int64_t steps[] = {1, 4, 16};
        for (int s = 0; s < 3; s++) {
            for (int64_t t = 0; t + steps[s] <= c.T; t += steps[s] + 3) {
                int64_t keys = c.S - c.T + t + steps[s], cut = keys / 3;
                ed_kv_part p[4] = {fpart(&c, &f, 0, 0, keys), fpart(&c, &f, 1, 0, cut), fpart(&c, &f, 1, cut, 0), fpart(&c, &f, 1, cut, keys - cut)};
                ed_attend_seq q[2] = {fseq(&c, &f, 0, t, steps[s], p, 1, got), fseq(&c, &f, 1, t, steps[s], p + 1, 3, got + 16 * row)};
                q[1].lse = lse;
                ed_error err = {0};
                for (int th = 1; th <= 3; th++) {
                    ed_threads_set(th);
                    memset(got, 0xff, sizeof *got * (size_t)(32 * row));
                    assert_int_equal(ed_attend(&o, q, 2, a, &err), ED_OK);
                    assert_true(same(got, all + t * row, steps[s] * row));
                    assert_true(same(got + 16 * row, all + (c.T + t) * row, steps[s] * row));
                }
                ed_threads_set(0);
            }
        }
        free(all), free(got);
        ffree(&f);
        acase_free(&c);
    }
    assert_int_equal(ed_arena_used(a), 0);
    ed_arena_destroy(&a);
}

/* tree rows: committed keys, then scratch keys in any order; each row's bits are those of a decode of its own path */
static void tree_rows(void) {
    static const int64_t prefixes[] = {5, 128, 250, 2046};
    ed_arena *a;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    for (size_t i = 0; i < 4; i++) {
        int64_t prefix = prefixes[i];
        acase c = {.B = 1, .T = 7, .S = prefix + 7, .H = 4, .Hkv = 2, .Dk = 16, .Dv = 16, .flags = i % 2 ? C_BIAS | C_POST : 0};
        static const int parent[7] = {-1, 0, 0, 1, 3, 2, 4};
        acase_make(&c, 40 + i);
        fcase f = fmake(&c);
        ed_attend_opts o = fopts(&c, &f);
        int32_t path[7 * 7], len[7];
        for (int t = 0; t < 7; t++) {
            int n = 0, chain[7];
            for (int x = t; x >= 0; x = parent[x])
                chain[n++] = x;
            len[t] = n;
            for (int k = 0; k < n; k++)
                path[t * 7 + k] = (int32_t)(prefix + chain[n - 1 - k]);
        }
        float got[7 * 64], want[64];
        ed_kv_part p = fpart(&c, &f, 0, 0, c.S);
        ed_attend_seq s = fseq(&c, &f, 0, 0, 7, &p, 1, got);
        s.path = path, s.path_len = len, s.path_stride = 7, s.path_first = prefix;
        assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
        for (int t = 0; t < 7; t++) {
            ed_kv_part q[8] = {fpart(&c, &f, 0, 0, prefix)};
            for (int k = 0; k < len[t]; k++)
                q[1 + k] = fpart(&c, &f, 0, path[t * 7 + k], 1);
            ed_attend_seq one = fseq(&c, &f, 0, t, 1, q, 1 + len[t], want);
            one.q_start = prefix + len[t] - 1;
            assert_int_equal(ed_attend(&o, &one, 1, a, NULL), ED_OK);
            assert_true(same(got + t * 64, want, 64));
        }
        path[8] = (int32_t)c.S;
        assert_int_equal(ed_attend(&o, &s, 1, a, NULL), len[1] > 1 ? ED_E_RANGE : ED_OK);
        ffree(&f);
        acase_free(&c);
    }
    ed_arena_destroy(&a);
}

static void fetch_rows(const void *ctx, int64_t h, int64_t first, int64_t n, float *k, float *v) {
    const ed_kv_part *p = ctx;
    for (int64_t j = 0; j < n; j++) {
        memcpy(k + j * 24, (const float *)p->k + (first + j) * p->k_row + h * p->k_head, 24 * sizeof *k);
        memcpy(v + j * 20, (const float *)p->v + (first + j) * p->v_row + h * p->v_head, 20 * sizeof *v);
    }
}

/* fetched parts, bf16 parts, dropped older keys, key bias, window */
static void parts_and_formats(void) {
    ed_arena *a;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    acase c = {.B = 1, .T = 2, .S = 200, .H = 2, .Hkv = 1, .Dk = 24, .Dv = 20};
    acase_make(&c, 3);
    for (int64_t i = 0; i < c.S * 24; i++)
        c.k[i] = (double)ed_bf16_to_f32(ed_f32_to_bf16((float)c.k[i]));
    for (int64_t i = 0; i < c.S * 20; i++)
        c.v[i] = (double)ed_bf16_to_f32(ed_f32_to_bf16((float)c.v[i]));
    fcase f = fmake(&c);
    ed_attend_opts o = fopts(&c, &f);
    uint16_t k16[200 * 24], v16[200 * 20];
    for (int i = 0; i < 200 * 24; i++)
        k16[i] = ed_f32_to_bf16(f.k[i]);
    for (int i = 0; i < 200 * 20; i++)
        v16[i] = ed_f32_to_bf16(f.v[i]);
    float want[80], got[80];
    ed_kv_part plain = fpart(&c, &f, 0, 0, 200), p[3] = {fpart(&c, &f, 0, 0, 50), fpart(&c, &f, 0, 50, 70), fpart(&c, &f, 0, 120, 80)};
    ed_attend_seq s = fseq(&c, &f, 0, 0, 2, &plain, 1, want);
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    ed_kv_part inner = p[1];
    p[0].k = k16, p[0].v = v16, p[0].dtype = ED_DTYPE_BF16;
    p[1].fetch = fetch_rows, p[1].ctx = &inner, p[1].k = p[1].v = NULL;
    s = fseq(&c, &f, 0, 0, 2, p, 3, got);
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    assert_true(same(want, got, 80));
    /* a window over the whole cache equals the cache without the older keys */
    s = fseq(&c, &f, 0, 1, 1, &plain, 1, want);
    s.window = 60, s.q_start = 199;
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    ed_kv_part tail = fpart(&c, &f, 0, 139, 61);
    s = fseq(&c, &f, 0, 1, 1, &tail, 1, got);
    s.first_key = 139, s.q_start = 199;
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    assert_true(same(want, got, 40));
    /* empty cache */
    s = fseq(&c, &f, 0, 1, 1, &tail, 0, got);
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    for (int i = 0; i < 40; i++)
        assert_true(got[i] == 0);
    ffree(&f);
    acase_free(&c);
    ed_arena_destroy(&a);
}

static void test_invariance(void **state) {
    (void)state;
    each_level(threads_and_batches);
}
static void test_cached_steps(void **state) {
    (void)state;
    each_level(cached_steps);
}
static void test_tree_rows(void **state) {
    (void)state;
    each_level(tree_rows);
}
static void test_parts(void **state) {
    (void)state;
    each_level(parts_and_formats);
}

/* every level agrees with the f64 twin on a case with all row kernels in play */
static void levels_agree(void) {
    acase c = {.B = 2, .T = 45, .S = 140, .H = 2, .Hkv = 1, .Dk = 20, .Dv = 12,
               .flags = C_BIAS | C_POST | C_KAPPA | C_CAP | C_ENTROPY | C_HINGE | C_LABELS | C_VALID | C_POS, .amp = 3};
    acase_make(&c, 12);
    anaive n = anaive_run(&c);
    ed_graph *g = agraph(false);
    afed f;
    arun(g, &c, ED_DTYPE_F32, &f);
    aclose("o", f.o, n.o, 3e-5);
    aclose("entropy", f.out.entropy, n.entropy, 1e-4);
    aclose("hinge", f.out.hinge, n.hinge, 1e-4);
    ed_graph_destroy(&g);
    anaive_free(&n);
    acase_free(&c);
}
static void test_levels(void **state) {
    (void)state;
    each_level(levels_agree);
}

/* gradients: the same bits for any thread count, and with skipping off */
static void test_backward_bits(void **state) {
    (void)state;
    acase c = BASE;
    c.S = 300;
    c.flags |= C_VALID | C_KAPPA | C_LABELS | C_ENTROPY;
    acase_make(&c, 4);
    float *first[6] = {0};
    for (int run = 0; run < 4; run++) {
        ed_graph *g = agraph(true);
        afed f;
        ed_threads_set(run < 3 ? run + 1 : 1);
        c.o.no_skip = run == 3;
        arun(g, &c, ED_DTYPE_F32, &f);
        ed_seed s[2] = {{f.o, NULL}, {f.out.entropy, NULL}};
        assert_int_equal(ed_backward(g, s, 2, NULL), ED_OK);
        ed_tensor *x[6] = {f.q, f.kv[0].k, f.kv[0].v, f.bias, f.post, f.kappa};
        for (int i = 0; i < 6; i++) {
            int64_t n = ed_numel(x[i]);
            float *d = malloc(sizeof *d * (size_t)n);
            ed_copy_out_f32(ed_grad(g, x[i]), d);
            if (run == 0)
                first[i] = d;
            for (int64_t k = 0; k < n && run > 0; k++)
                assert_true(first[i][k] == d[k]);
            if (run > 0)
                free(d);
        }
        ed_graph_destroy(&g);
    }
    ed_threads_set(0);
    for (int i = 0; i < 6; i++)
        free(first[i]);
    acase_free(&c);
}

/* partial results of any split merge to the whole; the merge is neutral and associative */
static void test_partials(void **state) {
    (void)state;
    ed_arena *a;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    acase c = {.B = 1, .T = 3, .S = 700, .H = 2, .Hkv = 1, .Dk = 16, .Dv = 16, .flags = C_CAUSAL};
    acase_make(&c, 3);
    fcase f = fmake(&c);
    ed_attend_opts o = fopts(&c, &f);
    float want[96], lse[6], mem[2][6 * 16];
    ed_kv_part p = fpart(&c, &f, 0, 0, 700);
    ed_attend_seq s = fseq(&c, &f, 0, 0, 3, &p, 1, want);
    s.lse = lse;
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_OK);
    for (int64_t cut = 0; cut <= 6; cut++) {
        ed_attend_state x[2][6];
        for (int i = 0; i < 12; i++)
            x[i / 6][i % 6].o = mem[i / 6] + i % 6 * 16;
        assert_int_equal(ed_attend_partial(&o, &s, 0, 0, cut, x[0], a, NULL), ED_OK);
        assert_int_equal(ed_attend_partial(&o, &s, 0, cut, 6, x[1], a, NULL), ED_OK);
        for (int r = 0; r < 6; r++) {
            ed_attend_merge(&x[0][r], &x[1][r], 16);
            float l = ed_attend_finish(&x[0][r], 16, false);
            assert_true(fabsf(l - lse[r % 3 * 2 + r / 3]) < 1e-5f);
            for (int d = 0; d < 16; d++) {
                float w = want[(r % 3 * 2 + r / 3) * 16 + d];
                assert_true(fabsf(x[0][r].o[d] - w) < 1e-5f);
                assert_true(cut % 6 || x[0][r].o[d] == w); /* nothing on one side: the same bits */
            }
        }
    }
    float empty[4] = {0};
    ed_attend_state none = {-INFINITY, 0, empty};
    assert_true(ed_attend_finish(&none, 4, false) == -INFINITY && empty[0] == 0);
    s.q_start = 3, o.kv_heads = 3;
    assert_int_equal(ed_attend(&o, &s, 1, a, NULL), ED_E_SHAPE);
    ffree(&f);
    acase_free(&c);
    ed_arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invariance), cmocka_unit_test(test_cached_steps),  cmocka_unit_test(test_tree_rows), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_levels),     cmocka_unit_test(test_backward_bits), cmocka_unit_test(test_partials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
