/* Matrix products: panel kernels at every level, ed__gemm_f32 over shapes and strides, packed weights. Oracles: the stated chain of multiply-adds,
 * replayed with scalars (bitwise), and f64 sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/internal.h"
#include "tensor/kernel.h"

#define FOR_LEVELS(kt)                                                                    \
    for (int level_ = 0; level_ < ED_CPU_LEVEL_COUNT; level_++)                           \
        for (const ed__kernel_table *kt = ed__kernels_at((ed_cpu_level)level_); kt; kt = NULL)

static float *random_floats(ed_rng *r, int64_t n) {
    float *x = malloc(sizeof(float) * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(2 * ed_rng_uniform(r) - 1);
    return x;
}

/* One element as kernel.h states it. */
static float chain(int64_t k, const float *a, int64_t a_col, const float *b, int64_t b_row, float c, bool fused) {
    for (int64_t i = 0; i < k; i++)
        c = fused ? fmaf(a[i * a_col], b[i * b_row], c) : a[i * a_col] * b[i * b_row] + c;
    return c;
}

static const int64_t KS[] = {0, 1, 2, 3, 31, 127, 128, 256, 257, 300, 700};
enum { N_KS = sizeof KS / sizeof *KS, MAX_M = 40, MAX_N = 200, MAX_K = 700 };

/* gemm_packed and its bf16 form: every row count to 40, tails of n, lengths of k: bit for bit the chain, hence independent of m. Strided and transposed
 * packing sources, accumulation, panel ranges. */
static void test_panels(void **state) {
    (void)state;
    static const int64_t NS[] = {1, 16, 31, 32, 33, 64, 100, 160, 200};
    ed_rng r = ed_rng_make(21, 1);
    float *a = random_floats(&r, MAX_M * (MAX_K + 3)), *b = random_floats(&r, (int64_t)MAX_K * MAX_N);
    float *c = malloc(sizeof(float) * MAX_M * (MAX_N + 5)), *packed = malloc(sizeof(float) * MAX_K * (MAX_N + 32));
    uint16_t *b16 = malloc(sizeof(uint16_t) * MAX_K * MAX_N), *packed16 = malloc(sizeof(uint16_t) * MAX_K * (MAX_N + 32));
    float *wide = malloc(sizeof(float) * MAX_K * MAX_N);
    FOR_LEVELS(kt) {
        bool fused = level_ > ED_CPU_GENERIC;
        kt->f32_to_bf16(b, b16, (int64_t)MAX_K * MAX_N);
        kt->bf16_to_f32(b16, wide, (int64_t)MAX_K * MAX_N);
        for (int round = 0; round < 88; round++) {
            int64_t n = NS[ed_rng_below(&r, 9)], k = KS[round % N_KS], m = 1 + round % MAX_M, lda = k + (int64_t)ed_rng_below(&r, 3), ldc = n + 5;
            bool trans = round & 1, bf16 = round & 2, acc = ed_rng_below(&r, 2), a_trans = round % 5 == 4;
            int64_t sk = trans ? 1 : n, sj = trans ? (k ? k : 1) : 1, panels = (n + 31) / 32, cut = (int64_t)ed_rng_below(&r, (uint64_t)panels + 1);
            int64_t a_row = a_trans ? 1 : lda, a_col = a_trans ? m : 1;
            for (int64_t i = 0; i < m * ldc; i++)
                c[i] = (float)(i % 7);
            if (bf16 && round % 8 < 4)
                kt->pack_b_bf16(n, k, b16, sk, sj, packed16, 0, panels);
            else if (bf16)
                kt->pack_b_to_bf16(n, k, b, sk, sj, packed16, 0, panels);
            else
                kt->pack_b(n, k, b, sk, sj, packed, 0, panels);
            for (int part = 0; part < 2; part++) {
                int64_t from = part ? cut : 0, to = part ? panels : cut;
                if (a_trans)
                    kt->gemm_panels(m, n, k, a, a_row, a_col, bf16 ? (void *)packed16 : packed, bf16, c, ldc, from, to, acc);
                else if (bf16)
                    kt->gemm_packed_bf16(m, n, k, a, lda, packed16, c, ldc, from, to, acc);
                else
                    kt->gemm_packed(m, n, k, a, lda, packed, c, ldc, from, to, acc);
            }
            for (int64_t i = 0; i < m; i++)
                for (int64_t j = 0; j < ldc; j++) {
                    float was = (float)((i * ldc + j) % 7);
                    float want = j >= n ? was : chain(k, a + i * a_row, a_col, (bf16 ? wide : b) + j * sj, sk, acc ? was : 0.0f, fused);
                    if (c[i * ldc + j] != want)
                        fail_msg("%s%s: m %lld n %lld k %lld at (%lld, %lld): %.9g, the chain gives %.9g", kt->name, bf16 ? " bf16" : "", (long long)m,
                                 (long long)n, (long long)k, (long long)i, (long long)j, (double)c[i * ldc + j], (double)want);
                }
        }
    }
    free(a), free(b), free(c), free(packed), free(b16), free(packed16), free(wide);
}

/* Reading and writing stay inside the operands: each ends at a protected page. */
static void *page_end(size_t bytes, char **map, size_t *size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *size = (bytes + page - 1) / page * page + page;
    *map = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(*map != MAP_FAILED);
    assert_int_equal(mprotect(*map + *size - page, page, PROT_NONE), 0);
    return *map + *size - page - bytes;
}
static void test_guards(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(22, 1);
    FOR_LEVELS(kt) {
        for (int round = 0; round < 60; round++) {
            int64_t m = 1 + (int64_t)ed_rng_below(&r, 30), n = 1 + (int64_t)ed_rng_below(&r, 70), k = 1 + (int64_t)ed_rng_below(&r, 40);
            int64_t panels = (n + 31) / 32;
            bool trans = round & 1, bf16 = round & 2;
            char *map[4];
            size_t size[4], elem = bf16 ? 2 : 4;
            float *a = page_end((size_t)(m * k) * 4, &map[0], &size[0]), *b = page_end((size_t)(k * n) * 4, &map[1], &size[1]);
            float *c = page_end((size_t)(m * n) * 4, &map[2], &size[2]);
            void *packed = page_end((size_t)(panels * 32 * k) * elem, &map[3], &size[3]);
            for (int64_t i = 0; i < m * k; i++)
                a[i] = 1;
            for (int64_t i = 0; i < k * n; i++)
                b[i] = 1;
            if (bf16)
                kt->pack_b_to_bf16(n, k, b, trans ? 1 : n, trans ? k : 1, packed, 0, panels);
            else
                kt->pack_b(n, k, b, trans ? 1 : n, trans ? k : 1, packed, 0, panels);
            kt->gemm_panels(m, n, k, a, k, 1, packed, bf16, c, n, 0, panels, true); /* C was zero pages */
            for (int64_t i = 0; i < m * n; i++)
                assert_true(c[i] == (float)k);
            for (int i = 0; i < 4; i++)
                munmap(map[i], size[i]);
        }
    }
}

/* ---- ed__gemm_f32 */

typedef struct problem {
    int64_t m, n, k;
    int form; /* bit 0: A transposed, 1: B transposed, 2: both with gaps (inner strides > 1), 3: A broadcast over rows */
} problem;

static ed__gemm_args args_of(problem p, const float *a, const float *b, float *c, int64_t c_row) {
    ed__gemm_args g = {.m = p.m, .n = p.n, .k = p.k, .a = a, .b = b, .c = c, .c_row = c_row};
    int64_t gap = p.form & 4 ? 2 : 1;
    g.a_row = p.form & 1 ? gap : gap * p.k, g.a_col = p.form & 1 ? gap * p.m : gap;
    g.b_row = p.form & 2 ? gap : gap * p.n, g.b_col = p.form & 2 ? gap * p.k : gap;
    if (p.form & 8)
        g.a_row = 0;
    return g;
}

static float rounded(float x, bool bf16) {
    return bf16 ? ed_bf16_to_f32(ed_f32_to_bf16(x)) : x;
}

static void check_gemm(const ed__gemm_args *g, float start, const char *how) {
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->c_row; j++) {
            double want = j < g->n && !g->accumulate ? 0 : (double)start, size = fabs(want);
            for (int64_t t = 0; j < g->n && t < g->k; t++) {
                double x = (double)rounded(g->a[i * g->a_row + t * g->a_col], g->bf16) * (double)rounded(g->b[t * g->b_row + j * g->b_col], g->bf16);
                want += x;
                size += fabs(x);
            }
            double got = (double)g->c[i * g->c_row + j], tol = j < g->n ? 6e-8 * size * (2 + sqrt((double)g->k)) : 0;
            if (!(fabs(got - want) <= tol))
                fail_msg("%s, level %s: m %lld n %lld k %lld strides %lld/%lld %lld/%lld%s%s%s at (%lld, %lld): %.9g, exact %.9g", how,
                         ed_cpu_name(ed_cpu_get()), (long long)g->m, (long long)g->n, (long long)g->k, (long long)g->a_row, (long long)g->a_col,
                         (long long)g->b_row, (long long)g->b_col, g->accumulate ? " acc" : "", g->strict ? " strict" : "", g->bf16 ? " bf16" : "",
                         (long long)i, (long long)j, got, want);
        }
}

static void test_gemm(void **state) {
    (void)state;
    enum { BIG = 300 };
    ed_cpu_level before = ed_cpu_get();
    ed_rng r = ed_rng_make(23, 1);
    float *a = random_floats(&r, 2 * BIG * BIG), *b = random_floats(&r, 2 * BIG * BIG), *c = malloc(sizeof(float) * BIG * (BIG + 3));
    FOR_LEVELS(kt) {
        assert_int_equal(ed_cpu_set((ed_cpu_level)level_), ED_OK);
        for (int round = 0; round < 160; round++) {
            int64_t top = round < 120 ? 40 : 150, big = round % 40 == 39;
            problem p = {(int64_t)ed_rng_below(&r, (uint64_t)top), (int64_t)ed_rng_below(&r, (uint64_t)top), (int64_t)ed_rng_below(&r, (uint64_t)top),
                         (int)ed_rng_below(&r, 16)};
            if (big) /* reaches threads, the heap chunks and oneDNN */
                p.m = 130, p.n = 97, p.k = 129, p.form &= 3;
            ed__gemm_args g = args_of(p, a, b, c, p.n + 3);
            g.accumulate = round & 1, g.strict = round & 2, g.bf16 = ed_rng_below(&r, 3) == 0;
            for (int64_t i = 0; i < p.m * g.c_row; i++)
                c[i] = 0.5f;
            assert_int_equal(ed__gemm_f32(&g), ED_OK);
            check_gemm(&g, 0.5f, kt->name);
        }
    }
    ed_cpu_set(before);
    free(a), free(b), free(c);
}

/* strict: row bits independent of m, of threads, of memory for the heap chunk, and equal to the packed path. */
static void test_strict_bits(void **state) {
    (void)state;
    enum { M = 40, N = 130, K = 300 };
    ed_rng r = ed_rng_make(24, 1);
    ed_cpu_level before = ed_cpu_get();
    float *x = random_floats(&r, M * K), *w = random_floats(&r, N * K), *one = malloc(sizeof(float) * M * N), *y = malloc(sizeof(float) * M * N);
    uint16_t *w16 = malloc(sizeof(uint16_t) * N * K);
    FOR_LEVELS(kt) {
        ed_cpu_set((ed_cpu_level)level_);
        kt->f32_to_bf16(w, w16, N * K);
        ed__packed *p, *p16;
        assert_int_equal(ed__packed_create(ED_DTYPE_F32, N, K, w, K, 1, &p), ED_OK);
        assert_int_equal(ed__packed_create(ED_DTYPE_BF16, N, K, w16, K, 1, &p16), ED_OK);
        assert_true(ed__packed_bytes(p) > 4 * N * K && ed__packed_bytes(p16) > 2 * N * K && ed__packed_bytes(p16) < ed__packed_bytes(p));
        for (int64_t i = 0; i < M; i++) {
            ed__gemm_args g = {1, N, K, x + i * K, K, 1, w, 1, K, one + i * N, N, false, true, false, NULL};
            ed__gemm_f32(&g);
        }
        for (int threads = 1; threads <= 2; threads++) {
            ed_threads_set(threads);
            for (int64_t m = 1; m <= M; m++) {
                ed__gemm_args g = {m, N, K, x, K, 1, w, 1, K, y, N, false, true, false, NULL};
                memset(y, 0xff, sizeof(float) * M * N);
                ed__gemm_f32(&g);
                assert_memory_equal(y, one, sizeof(float) * (size_t)(m * N));
                memset(y, 0xff, sizeof(float) * M * N);
                ed__packed_linear(p, m, x, K, y, N, false);
                assert_memory_equal(y, one, sizeof(float) * (size_t)(m * N));
                ed__packed_linear_part(p, 64, N - 64, m, x, K, y, N, false);
                for (int64_t i = 0; i < m; i++)
                    assert_memory_equal(y + i * N, one + i * N + 64, sizeof(float) * (N - 64));
            }
#ifdef ED_TEST_HOOKS
            ed__gemm_args g = {M, N, K, x, K, 1, w, 1, K, y, N, false, true, false, NULL};
            ed__mem_fail_after(0, true);
            ed__gemm_f32(&g);
            ed__mem_fail_after(-1, false);
            assert_memory_equal(y, one, sizeof(float) * M * N);
#endif
        }
        float *first = malloc(sizeof(float) * N);
        ed__packed_linear(p16, 1, x, K, first, N, false);
        ed__packed_linear(p16, M, x, K, y, N, false);
        assert_memory_equal(first, y, sizeof(float) * N);
        ed__packed_linear(p16, 1, x, K, y, N, true);
        for (int64_t j = 0; j < N; j++) {
            double want = 0;
            for (int64_t t = 0; t < K; t++)
                want += (double)x[t] * (double)ed_bf16_to_f32(w16[j * K + t]);
            assert_true(fabs((double)first[j] - want) < 1e-4 && fabs((double)y[j] - 2 * want) < 2e-4);
        }
        free(first);
        ed__packed_destroy(&p);
        ed__packed_destroy(&p16);
        assert_null(p);
    }
    ed_threads_set(0);
    ed_cpu_set(before);
    free(x), free(w), free(one), free(y), free(w16);
}

/* F16 weights widen exactly; strides of a transposed weight; formats that cannot be packed; sizes that overflow; no memory. */
static void test_packed_create(void **state) {
    (void)state;
    enum { N = 37, K = 19 };
    ed_rng r = ed_rng_make(25, 1);
    float *w = random_floats(&r, N * K), *x = random_floats(&r, K), y[N];
    uint16_t h[N * K];
    for (int i = 0; i < N * K; i++)
        h[i] = ed_f32_to_f16(w[i]);
    ed__packed *p = NULL;
    assert_int_equal(ed__packed_create(ED_DTYPE_F16, N, K, h, 1, N, &p), ED_OK); /* h is [K, N] */
    ed__packed_linear(p, 1, x, K, y, N, false);
    for (int j = 0; j < N; j++) {
        double want = 0;
        for (int t = 0; t < K; t++)
            want += (double)x[t] * (double)ed_f16_to_f32(h[t * N + j]);
        assert_true(fabs((double)y[j] - want) < 1e-5);
    }
    ed__packed_destroy(&p);
    ed__packed_destroy(&p);
    ed__packed_destroy(NULL);
    assert_int_equal(ed__packed_create(ED_DTYPE_I32, N, K, h, 1, N, &p), ED_E_DTYPE);
    assert_int_equal(ed__packed_create(ED_DTYPE_F32, INT64_MAX, 2, w, 1, 1, &p), ED_E_RANGE);
    assert_int_equal(ed__packed_create(ED_DTYPE_F32, (int64_t)1 << 40, (int64_t)1 << 40, w, 1, 1, &p), ED_E_RANGE);
    assert_null(p);
#ifdef ED_TEST_HOOKS
    int64_t blocks = ed__mem_blocks();
    for (int i = 0; i < 2; i++) {
        ed__mem_fail_after(i, true);
        assert_int_equal(ed__packed_create(ED_DTYPE_F32, N, K, w, K, 1, &p), ED_E_MEMORY);
        ed__mem_fail_after(-1, false);
        assert_int_equal(ed__mem_blocks(), blocks);
    }
#endif
    assert_int_equal(ed__packed_create(ED_DTYPE_F32, 0, K, w, K, 1, &p), ED_OK);
    ed__packed_linear(p, 1, x, K, y, N, false);
    ed__packed_destroy(&p);
    free(w), free(x);
}

/* Large non-strict bf16 products keep the accuracy of bf16 operands whoever computes them, on the first and on later (cached) calls. */
static void test_bf16_large(void **state) {
    (void)state;
    enum { M = 160, N = 112, K = 144 };
    ed_rng r = ed_rng_make(26, 1);
    float *a = random_floats(&r, M * K), *b = random_floats(&r, K * N), *c = malloc(sizeof(float) * M * N);
    for (int form = 0; form < 4; form++)
        for (int again = 0; again < 2; again++) {
            ed__gemm_args g = args_of((problem){M, N, K, form}, a, b, c, N);
            g.bf16 = true;
            g.accumulate = again;
            for (int i = 0; i < M * N; i++)
                c[i] = 0.25f;
            assert_int_equal(ed__gemm_f32(&g), ED_OK);
            check_gemm(&g, 0.25f, "bf16");
        }
    free(a), free(b), free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_panels),      cmocka_unit_test(test_guards),        cmocka_unit_test(test_gemm),
                                       cmocka_unit_test(test_strict_bits), cmocka_unit_test(test_packed_create), cmocka_unit_test(test_bf16_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
