/* Row kernels (kernel/rows.c): plain loops as oracles, the same bits at every level where no exponential is in play, sizes 0 .. 150, arrays that end
 * where their heap block ends (so that AddressSanitizer sees a step too far). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/kernel.h"

enum { MAX_N = 150, ROWS = 9 };
#define FOR_LEVELS(kt)                                                          \
    for (int level_ = 0; level_ < ED_CPU_LEVEL_COUNT; level_++)                 \
        for (const ed__kernel_table *kt = ed__kernels_at((ed_cpu_level)level_); kt; kt = NULL)

static float *random_floats(ed_rng *r, int64_t n) {
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(4 * ed_rng_uniform(r) - 2);
    return x;
}

static void same(const char *what, const ed__kernel_table *kt, int64_t n, const float *got, const float *want) {
    for (int64_t i = 0; i < n; i++)
        if (got[i] != want[i])
            fail_msg("%s at %s: element %lld of %lld is %.9g, not %.9g", what, kt->name, (long long)i, (long long)n, (double)got[i], (double)want[i]);
}

static void test_norm_rows(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(41, 1);
    for (int64_t n = 0; n <= MAX_N; n++) {
        float *x = random_floats(&r, n), *dy = random_floats(&r, n), *w = random_floats(&r, n), *b = random_floats(&r, n), *out = random_floats(&r, n),
              *out2 = random_floats(&r, n), want[MAX_N], want2[MAX_N], mean = 0.3f, rstd = 1.7f;
        FOR_LEVELS(kt) {
            for (int form = 0; form < 4; form++) {
                for (int64_t j = 0; j < n; j++) {
                    want[j] = (x[j] - mean) * rstd;
                    want[j] = form & 1 ? want[j] * w[j] : want[j];
                    want[j] = form & 2 ? want[j] + b[j] : want[j];
                }
                kt->norm_apply(x, mean, rstd, form & 1 ? w : NULL, form & 2 ? b : NULL, out, n);
                same("norm_apply", kt, n, out, want);
            }
            for (int weighted = 0; weighted < 2; weighted++) {
                for (int64_t j = 0; j < n; j++) {
                    want[j] = weighted ? dy[j] * w[j] : dy[j];
                    want2[j] = (x[j] - mean) * rstd;
                }
                kt->norm_terms(x, dy, weighted ? w : NULL, mean, rstd, out, out2, n);
                same("norm_terms g", kt, n, out, want);
                same("norm_terms h", kt, n, out2, want2);
            }
            for (int add = 0; add < 2; add++) {
                for (int64_t j = 0; j < n; j++) {
                    out[j] = b[j];
                    want[j] = rstd * (dy[j] - 0.25f - x[j] * 0.5f);
                    want[j] = add ? b[j] + want[j] : want[j];
                }
                kt->norm_grad(dy, x, rstd, 0.25f, 0.5f, out, n, add);
                same("norm_grad", kt, n, out, want);
            }
        }
        free(x), free(dy), free(w), free(b), free(out), free(out2);
    }
}

static void test_columns(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(42, 1);
    for (int64_t n = 0; n <= MAX_N; n++) {
        float *x = random_floats(&r, ROWS * n), *dy = random_floats(&r, ROWS * n), *mean = random_floats(&r, ROWS), *rstd = random_floats(&r, ROWS);
        FOR_LEVELS(kt) {
            for (int centre = 0; centre < 2; centre++) {
                float sw[MAX_N], sb[MAX_N], ww[MAX_N], wb[MAX_N];
                double sum[MAX_N], want[MAX_N];
                for (int64_t j = 0; j < n; j++) {
                    sw[j] = sb[j] = ww[j] = wb[j] = (float)j;
                    sum[j] = want[j] = (double)j;
                }
                for (int64_t i = 0; i < ROWS; i++)
                    for (int64_t j = 0; j < n; j++) {
                        ww[j] += dy[i * n + j] * ((x[i * n + j] - (centre ? mean[i] : 0)) * rstd[i]);
                        wb[j] += dy[i * n + j];
                        want[j] += (double)x[i * n + j];
                    }
                kt->norm_params(ROWS, n, x, n, dy, n, centre ? mean : NULL, rstd, sw, sb);
                same("norm_params w", kt, n, sw, ww);
                same("norm_params b", kt, n, sb, wb);
                kt->add_columns(ROWS, n, x, n, sum);
                assert_memory_equal(sum, want, (size_t)n * sizeof *sum);
            }
        }
        free(x), free(dy), free(mean), free(rstd);
    }
}

static void test_sums(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(43, 1);
    for (int64_t n = 0; n <= MAX_N; n++) {
        float *x = random_floats(&r, n), *dx = random_floats(&r, n);
        double squares = 0, exps = 0, devs = 0;
        for (int64_t i = 0; i < n; i++) {
            squares += (double)x[i] * (double)x[i];
            exps += exp((double)x[i] - 2);
            devs += (double)x[i] - 2;
        }
        FOR_LEVELS(kt) {
            float e, d;
            assert_true(fabs(kt->sum_squares(x, n) - squares) <= 1e-14 * squares);
            assert_true(kt->sum_squares(x, n) == ed__kernels_at(ED_CPU_GENERIC)->sum_squares(x, n));
            kt->exp_sums(x, 2, n, &e, &d);
            assert_true(fabs((double)e - exps) <= 2e-6 * exps);
            assert_true(fabs((double)d - devs) <= 2e-6 * fabs(devs));
            for (int add = 0; add < 2; add++) {
                float *out = malloc((size_t)n * sizeof *out + 1);
                assert_non_null(out);
                memcpy(out, dx, (size_t)n * sizeof *out);
                kt->softmax_grad(x, 2, 0.5f, 0.01f, out, n, add);
                for (int64_t i = 0; i < n; i++) {
                    double want = (add ? (double)dx[i] : 0) + 0.5 * exp((double)x[i] - 2) - (double)0.01f;
                    assert_true(fabs((double)out[i] - want) <= 1e-6);
                }
                free(out);
            }
        }
        free(x), free(dx);
    }
}

static void test_updates(void **state) {
    (void)state;
    const edk_adamw a = {.beta1 = 0.9f, .c1 = 0.1f, .beta2 = 0.98f, .c2 = 0.02f, .size = 0.01f, .root = 1.5f, .eps = 1e-6f, .keep = 0.999f};
    ed_rng r = ed_rng_make(44, 1);
    for (int64_t n = 0; n <= MAX_N; n++) {
        float *x = random_floats(&r, n), *g = random_floats(&r, n);
        uint32_t *words = malloc((size_t)n * sizeof *words + 1);
        assert_non_null(words);
        for (int64_t i = 0; i < n; i++)
            words[i] = (uint32_t)ed_rng_below(&r, 1000);
        FOR_LEVELS(kt) {
            float *w = malloc(3 * (size_t)n * sizeof *w + 1), *m = w + n, *v = m + n, want[3 * MAX_N];
            assert_non_null(w);
            for (int64_t i = 0; i < n; i++) {
                w[i] = x[i], m[i] = x[i] * 0.1f, v[i] = x[i] * x[i];
                want[n + i] = a.beta1 * m[i] + a.c1 * g[i];
                want[2 * n + i] = a.beta2 * v[i] + a.c2 * g[i] * g[i];
                want[i] = a.keep * w[i] - a.size * want[n + i] / (sqrtf(want[2 * n + i]) * a.root + a.eps);
            }
            kt->adamw(&a, w, m, v, g, n);
            same("adamw", kt, 3 * n, w, want);
            for (int add = 0; add < 2; add++) {
                for (int64_t i = 0; i < n; i++) {
                    w[i] = g[i];
                    want[i] = (add ? g[i] : 0) + (words[i] >= 500 ? x[i] * 1.25f : 0);
                }
                kt->drop_scale(x, words, 500, 1.25f, w, n, add);
                same("drop_scale", kt, n, w, want);
            }
            free(w);
        }
        free(x), free(g), free(words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_norm_rows), cmocka_unit_test(test_columns), cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_updates)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
