/* Products of operands rounded to bf16, at every level. Oracle: the f64 product of the rounded operands. Products of two bf16 values are exact in f32, so that
 * only the additions round: |error| <= (k + 2) 2^-24 (|c| + sum |a b|). Bits: independent of threads, of memory and of the number of rows. */
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
#include "tensor/kernel_bf16.h"

#define FOR_LEVELS(level) for (ed_cpu_level level = ED_CPU_GENERIC; level <= ed_cpu_best() && ed_cpu_set(level) == ED_OK; level++)

enum { ALONG, ACROSS, STRIDED, FORMS };

/* A matrix whose last element is followed by a page that must not be touched. */
typedef struct matrix {
    float *x;
    int64_t rows, cols, row, col;
    char *pages;
    size_t bytes;
} matrix;

static matrix matrix_make(ed_rng *r, int64_t rows, int64_t cols, int form) {
    matrix m = {.rows = rows, .cols = cols, .row = form == ALONG ? cols + 3 : form == ACROSS ? 1 : 2, .col = form == ALONG ? 1 : form == ACROSS ? rows + 5 : 2 * rows + 1};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (size_t)((rows - 1) * m.row + (cols - 1) * m.col + 1);
    m.bytes = (n * sizeof(float) + page - 1) / page * page;
    m.pages = mmap(NULL, m.bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(m.pages != MAP_FAILED);
    assert_int_equal(mprotect(m.pages + m.bytes, page, PROT_NONE), 0);
    m.x = (float *)(void *)(m.pages + m.bytes) - n;
    for (size_t i = 0; i < n; i++)
        m.x[i] = NAN; /* gaps between the elements are not to be read into any sum */
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            m.x[i * m.row + j * m.col] = (float)(2 * ed_rng_uniform(r) - 1);
    return m;
}
static void matrix_free(matrix *m) {
    munmap(m->pages, m->bytes + (size_t)sysconf(_SC_PAGESIZE));
}

static float rounded(float x) {
    uint16_t h;
    float y;
    ed__kernels_at(ED_CPU_GENERIC)->f32_to_bf16(&x, &h, 1);
    ed__kernels_at(ED_CPU_GENERIC)->bf16_to_f32(&h, &y, 1);
    return y;
}
static float *dense_rounded(const matrix *m, bool transposed) {
    float *d = malloc(sizeof(float) * (size_t)(m->rows * m->cols));
    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++)
            d[transposed ? j * m->rows + i : i * m->cols + j] = rounded(m->x[i * m->row + j * m->col]);
    return d;
}

static ed__gemm_args args_of(const matrix *a, const matrix *b, float *c, bool acc) {
    return (ed__gemm_args){a->rows, b->cols, a->cols, a->x, a->row, a->col, b->x, b->row, b->col, c, b->cols + 3, acc, false, true, NULL};
}
static float c_before(int64_t i) {
    return (float)(i % 7) - 3.0f;
}
static void fill_c(float *c, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        c[i] = c_before(i);
}

/* Every `every`-th element against the oracle; what lies between the rows of C stays as it was. */
static void check(const ed__gemm_args *g, const float *a, const float *b_columns, int64_t every) {
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = g->n; j < g->c_row; j++)
            assert_true(g->c[i * g->c_row + j] == c_before(i * g->c_row + j));
        for (int64_t j = (i * 5) % every; j < g->n; j += every) {
            double sum = g->accumulate ? (double)c_before(i * g->c_row + j) : 0, size = fabs(sum);
            for (int64_t t = 0; t < g->k; t++) {
                double p = (double)a[i * g->k + t] * (double)b_columns[j * g->k + t];
                sum += p;
                size += fabs(p);
            }
            double got = (double)g->c[i * g->c_row + j], bound = (double)(g->k + 2) * 0x1p-24 * size + 1e-37;
            if (!(fabs(got - sum) <= bound))
                fail_msg("%s: m %lld n %lld k %lld: c[%lld][%lld] is %.9g, not %.9g +- %.3g", ed_cpu_name(ed_cpu_get()), (long long)g->m, (long long)g->n,
                         (long long)g->k, (long long)i, (long long)j, got, sum, bound);
        }
    }
}

static void one_case(ed_rng *r, int64_t m, int64_t n, int64_t k, int form_a, int form_b, bool acc, int64_t every) {
    matrix a = matrix_make(r, m, k, form_a), b = matrix_make(r, k, n, form_b);
    float *da = dense_rounded(&a, false), *db = dense_rounded(&b, true), *c = malloc(sizeof(float) * (size_t)(m * (n + 3)));
    ed__gemm_args g = args_of(&a, &b, c, acc);
    FOR_LEVELS(level) {
        fill_c(c, m * (n + 3));
        assert_int_equal(ed__gemm_f32(&g), ED_OK);
        check(&g, da, db, every);
    }
    free(da);
    free(db);
    free(c);
    matrix_free(&a);
    matrix_free(&b);
}

/* Every size from 1 to 70 of each axis, in turn with every pair of layouts. */
static void test_tails(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(31, 1);
    for (int64_t d = 1; d <= 70; d++)
        for (int form = 0; form < FORMS * FORMS; form++) {
            bool acc = (d + form) % 2;
            one_case(&r, d, 33, 40, form % FORMS, form / FORMS, acc, 1 + 6 * (form % 3 > 0));
            one_case(&r, 21, d, 67, form % FORMS, form / FORMS, acc, 1 + 6 * (form % 3 > 0));
            one_case(&r, 37, 18, d, form % FORMS, form / FORMS, acc, 1 + 6 * (form % 3 > 0));
        }
}

/* A bias gives the bits of a product added to rows that held it, bf16 or not, threads or not. */
static void test_bias(void **state) {
    (void)state;
    static const int64_t SHAPES[][3] = {{1, 1, 1}, {37, 18, 70}, {64, 96, 64}, {300, 40, 530}, {130, 1100, 1000}, {9, 70, 0}};
    ed_rng r = ed_rng_make(33, 1);
    for (int i = 0; i < (int)(sizeof SHAPES / sizeof *SHAPES); i++) {
        int64_t m = SHAPES[i][0], n = SHAPES[i][1], k = SHAPES[i][2], row = n + 3;
        matrix a = matrix_make(&r, m, k, 0), b = matrix_make(&r, k, n, 1);
        float *bias = malloc(sizeof(float) * (size_t)n), *c = malloc(sizeof(float) * (size_t)(m * row)), *want = malloc(sizeof(float) * (size_t)(m * row));
        fill_c(bias, n);
        FOR_LEVELS(level) {
            for (int mode = 0; mode < 4; mode++) {
                ed__gemm_args g = args_of(&a, &b, c, false), h = args_of(&a, &b, want, true);
                g.bias = bias;
                g.bf16 = h.bf16 = mode & 1;
                fill_c(c, m * row);
                fill_c(want, m * row);
                for (int64_t j = 0; j < m * row; j++)
                    want[j] = j % row < n ? bias[j % row] : want[j];
                ed_threads_set(mode & 2 ? 2 : 1);
                assert_int_equal(ed__gemm_f32(&g), ED_OK);
                assert_int_equal(ed__gemm_f32(&h), ED_OK);
                assert_memory_equal(c, want, sizeof(float) * (size_t)(m * row));
            }
        }
        free(bias), free(c), free(want);
        matrix_free(&a);
        matrix_free(&b);
    }
}

/* Several row blocks, steps of k and chunks of B. */
static void test_large(void **state) {
    (void)state;
    static const int64_t SHAPES[][3] = {{300, 40, 530}, {130, 1100, 1000}, {40, 70, 16500}, {9, 17000, 70}, {600, 200, 129}, {1, 1500, 1030}, {1030, 1, 1100}};
    ed_rng r = ed_rng_make(32, 1);
    for (int i = 0; i < (int)(sizeof SHAPES / sizeof *SHAPES); i++)
        for (int form = 0; form < FORMS; form++)
            one_case(&r, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], form, (form + i) % FORMS, form & 1, 1 + SHAPES[i][0] * SHAPES[i][1] / 200);
}

/* One thread or many, with and without work space: the same bits. */
static void test_same_bits(void **state) {
    (void)state;
    static const int64_t SHAPES[][3] = {{70, 300, 260}, {20, 600, 500}, {500, 33, 1000}, {40, 1500, 1100}, {300, 128, 128}};
    ed_rng r = ed_rng_make(33, 1);
    for (int s = 0; s < 5; s++) {
        int64_t m = SHAPES[s][0], n = SHAPES[s][1], k = SHAPES[s][2];
        size_t count = (size_t)(m * (n + 3));
        matrix a = matrix_make(&r, m, k, s % 2), b = matrix_make(&r, k, n, s / 2 % 2);
        float *c = malloc(count * sizeof(float)), *want = malloc(count * sizeof(float));
        ed__gemm_args g = args_of(&a, &b, c, s % 2);
        FOR_LEVELS(level) {
            for (int threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4)
                for (int held = 0; held < 2; held++) {
                    int slots[16];
                    void *data;
                    for (int i = 0; i < 16; i++)
                        slots[i] = held ? ed__spare_take(&data) : -1;
                    ed_threads_set(threads);
                    fill_c(c, (int64_t)count);
                    ed__gemm_f32(&g);
                    for (int i = 0; i < 16; i++)
                        ed__spare_give(slots[i]);
                    if (threads == 1 && !held)
                        memcpy(want, c, count * sizeof(float));
                    assert_memory_equal(c, want, count * sizeof(float));
                }
            if (!ed__bf16_kernels_at(level))
                continue;
            for (int64_t i = 0; i < m; i += 13) { /* a row by itself */
                ed__gemm_args row = g;
                row.m = 1;
                row.a += i * g.a_row;
                row.c += i * g.c_row;
                for (int64_t j = 0; j < n; j++)
                    row.c[j] = c_before(i * g.c_row + j);
                ed__gemm_f32(&row);
                assert_memory_equal(row.c, want + i * g.c_row, (size_t)n * sizeof(float));
            }
        }
        ed_threads_set(0);
        free(c);
        free(want);
        matrix_free(&a);
        matrix_free(&b);
    }
}

/* Infinities and NaN reach their own row or column and no other, although tiles are padded. */
static void test_not_finite(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(34, 1);
    for (int form = 0; form < FORMS; form++) {
        matrix a = matrix_make(&r, 35, 45, form), b = matrix_make(&r, 45, 37, FORMS - 1 - form);
        float *c = malloc(sizeof(float) * 35 * 40);
        a.x[34 * a.row + 44 * a.col] = INFINITY;
        a.x[5 * a.row + 3 * a.col] = NAN;
        b.x[44 * b.row + 36 * b.col] = 0x1.ffp127f; /* rounds to infinity */
        b.x[2 * b.row + 7 * b.col] = NAN;
        ed__gemm_args g = args_of(&a, &b, c, false);
        FOR_LEVELS(level) {
            ed__gemm_f32(&g);
            for (int64_t i = 0; i < 35; i++)
                for (int64_t j = 0; j < 37; j++)
                    assert_true(isfinite(c[i * 40 + j]) == !(i == 34 || i == 5 || j == 36 || j == 7));
        }
        free(c);
        matrix_free(&a);
        matrix_free(&b);
    }
}

static void empty_sum(const ed__gemm_args *g, bool acc) {
    ed__gemm_args none = *g;
    none.k = 0;
    none.accumulate = acc;
    fill_c(g->c, g->m * g->c_row);
    ed__gemm_f32(&none);
    for (int64_t i = 0; i < g->m * g->c_row; i++)
        assert_true(g->c[i] == (acc || i % g->c_row >= g->n ? c_before(i) : 0));
}
static void test_empty(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(35, 1);
    matrix a = matrix_make(&r, 5, 6, ALONG), b = matrix_make(&r, 6, 7, ALONG);
    float c[5 * 10];
    ed__gemm_args g = args_of(&a, &b, c, false), none = g;
    none.m = 0;
    FOR_LEVELS(level) {
        empty_sum(&g, false);
        empty_sum(&g, true);
        fill_c(c, 50);
        ed__gemm_f32(&none);
        for (int64_t i = 0; i < 50; i++)
            assert_true(c[i] == c_before(i));
    }
    matrix_free(&a);
    matrix_free(&b);
}

#if defined(__x86_64__)
/* Which parts of the register state are in use: bits 17 and 18 are the tile configuration and the tiles. */
static unsigned state_in_use(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low;
}
static void note_state(void *ctx, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        ((unsigned *)ctx)[i] = state_in_use();
}
#endif

/* No thread keeps tile registers after a product. */
static void test_tiles_released(void **state) {
    (void)state;
#if defined(__x86_64__)
    if (ed_cpu_best() < ED_CPU_AMX)
        skip();
    ed_rng r = ed_rng_make(36, 1);
    matrix a = matrix_make(&r, 400, 200, ALONG), b = matrix_make(&r, 200, 100, ALONG);
    float *c = malloc(sizeof(float) * 400 * 103);
    unsigned in_use[2] = {~0u, ~0u};
    ed__gemm_args g = args_of(&a, &b, c, false);
    assert_int_equal(ed_cpu_set(ED_CPU_AMX), ED_OK);
    ed_threads_set(2);
    ed__gemm_f32(&g);
    ed__parallel_for(2, 1, note_state, in_use);
    ed_threads_set(0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(in_use[i] & (3u << 17), 0);
    free(c);
    matrix_free(&a);
    matrix_free(&b);
#else
    skip();
#endif
}

/* A bounded number of aligned buffers that come back. */
static void test_spare(void **state) {
    (void)state;
    enum { MOST = 64 };
    void *data[MOST], *again;
    int slots[MOST], n = 0;
    while (n < MOST && (slots[n] = ed__spare_take(&data[n])) >= 0) {
        assert_true((uintptr_t)data[n] % 64 == 0);
        memset(data[n], n, ED__SPARE_BYTES);
        n++;
    }
    assert_true(n > 0 && n < MOST);
    for (int i = 0; i < n; i++)
        assert_true(((unsigned char *)data[i])[0] == i && ((unsigned char *)data[i])[ED__SPARE_BYTES - 1] == i);
    ed__spare_give(slots[n / 2]);
    assert_int_equal(ed__spare_take(&again), slots[n / 2]);
    assert_ptr_equal(again, data[n / 2]);
    for (int i = 0; i < n; i++)
        ed__spare_give(slots[i]);
    ed__spare_give(-1);
}

static int reset(void **state) {
    (void)state;
    ed_threads_set(0);
    return ed_cpu_set(ed_cpu_best()) == ED_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_tails, reset),      cmocka_unit_test_teardown(test_large, reset),
                                       cmocka_unit_test_teardown(test_same_bits, reset),  cmocka_unit_test_teardown(test_bias, reset),
                                        cmocka_unit_test_teardown(test_not_finite, reset),
                                       cmocka_unit_test_teardown(test_empty, reset),      cmocka_unit_test_teardown(test_tiles_released, reset),
                                       cmocka_unit_test_teardown(test_spare, reset)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
