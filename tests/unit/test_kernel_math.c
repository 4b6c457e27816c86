/* Kernels on arrays: every level of this machine against f64 libm and against the generic level; sizes 0..257, any alignment, memory that ends at
 * a protected page on both sides, NaN, infinities, subnormals. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tensor/kernel.h"

#define FOR_LEVELS(kt)                                                                    \
    for (int level_ = 0; level_ < ED_CPU_LEVEL_COUNT; level_++)                           \
        for (const ed__kernel_table *kt = ed__kernels_at((ed_cpu_level)level_); kt; kt = NULL)

/* ---- memory with a protected page on each side */
typedef struct guarded {
    char *map;
    size_t page, inner;
} guarded;
static guarded guarded_make(void) {
    guarded g = {NULL, (size_t)sysconf(_SC_PAGESIZE), 0};
    g.inner = 4 * g.page;
    g.map = mmap(NULL, g.inner + 2 * g.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map, g.page, PROT_NONE), 0);
    assert_int_equal(mprotect(g.map + g.page + g.inner, g.page, PROT_NONE), 0);
    return g;
}
static void guarded_free(guarded *g) {
    munmap(g->map, g->inner + 2 * g->page);
}
static void *at_front(const guarded *g) {
    return g->map + g->page;
}
static void *at_back(const guarded *g, size_t bytes) {
    return g->map + g->page + g->inner - bytes;
}

/* ---- f64 references */
static double reference(int kind, double p, double x) {
    switch (kind) {
    case ED_NEG: return -x;
    case ED_ABS: return fabs(x);
    case ED_EXP: return exp(x);
    case ED_LOG: return log(x);
    case ED_LOG1P: return log1p(x);
    case ED_SQRT: return sqrt(x);
    case ED_RSQRT: return 1 / sqrt(x);
    case ED_SQUARE: return x * x;
    case ED_SIN: return sin(x);
    case ED_COS: return cos(x);
    case ED_TANH: return tanh(x);
    case ED_SIGMOID: return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    case ED_ERF: return erf(x);
    case ED_RELU: return x < 0 ? 0 : x;
    case ED_LEAKY_RELU: return x < 0 ? (double)(float)p * x : x;
    case ED_ELU: return x > 0 ? x : expm1(x);
    case ED_SILU: return x == -INFINITY ? 0 : x >= 0 ? x / (1 + exp(-x)) : x * exp(x) / (1 + exp(x));
    case ED_GELU_TANH: {
        double u = 2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
        return u < -700 ? (isnan(x) ? x : 0) : x / (1 + exp(-u));
    }
    case ED_GELU_ERF: return x < -30 ? 0 : 0.5 * x * erfc(-x / sqrt(2));
    case ED_SOFTPLUS: return x > 40 ? x : log1p(exp(x));
    case ED_ROUND: return nearbyint(x);
    default: return NAN;
    }
}
static double slope(int kind, double p, double x) {
    double y = reference(kind, p, x);
    switch (kind) {
    case ED_NEG: return -1;
    case ED_ABS: return x > 0 ? 1 : -1;
    case ED_EXP: return y;
    case ED_LOG: return 1 / x;
    case ED_LOG1P: return 1 / (1 + x);
    case ED_SQRT: return 0.5 / y;
    case ED_RSQRT: return -0.5 * y / x;
    case ED_SQUARE: return 2 * x;
    case ED_SIN: return cos(x);
    case ED_COS: return -sin(x);
    case ED_TANH: return 1 / (cosh(x) * cosh(x));
    case ED_SIGMOID: return y * (1 - y);
    case ED_ERF: return 2 / sqrt(M_PI) * exp(-x * x);
    case ED_RELU: return x > 0;
    case ED_LEAKY_RELU: return x > 0 ? 1 : (double)(float)p;
    case ED_ELU: return x > 0 ? 1 : exp(x);
    case ED_SOFTPLUS: return reference(ED_SIGMOID, 0, x);
    case ED_ROUND: return 0;
    default: { /* silu, gelu: finite difference of the reference */
        double h = 1e-5;
        return (reference(kind, p, x + h) - reference(kind, p, x - h)) / (2 * h);
    }
    }
}

static bool same_number(float a, float b) {
    return a == b || (isnan(a) && isnan(b));
}

/* Error of y in units of the last place of the exact value; 0 when the exact value is below 1e-37 and y is as small. */
static double ulps(double exact, float y) {
    if (isnan(exact))
        return isnan(y) ? 0 : INFINITY;
    if (same_number((float)exact, y))
        return 0;
    if (isinf(exact) || !isfinite(y))
        return isfinite((float)exact) || isfinite(y) ? INFINITY : exact == (double)y ? 0 : INFINITY;
    if (fabs(exact) < 1e-37)
        return fabs((double)y) < 1.2e-37 ? 0 : INFINITY;
    int e;
    frexp(exact, &e);
    return fabs((double)y - exact) / ldexp(1, e - 24);
}

static const float EXTREMES[] = {0.0f,     -0.0f,   1e-45f,  -1e-45f,    1e-40f, -1e-40f, 1.17549435e-38f, -1.17549435e-38f, 1e-20f, -1e-20f,
                                 1e-7f,    -1e-7f,  0.5f,    -0.5f,      1.0f,   -1.0f,   1.5f,            2.5f,             -2.5f,  0.9999999f,
                                 8388607.5f, 8388609.0f, 87.33654f, 88.722839f, 88.73f, -87.33654f, -88.0f, -103.9f, -104.1f, 1e4f, -1e4f, 3.0e5f,
                                 6e5f, 1e9f, -1e9f, 1e20f, -1e20f, 3.4e38f, -3.4e38f, INFINITY, -INFINITY, NAN, 3.14159274f, 1.57079637f, 22.0f, 355.0f};
enum { N_EXTREMES = sizeof EXTREMES / sizeof *EXTREMES };

/* Dense samples: all magnitudes (random bits) and the range where activations live. */
static float sample(ed_rng *r, int i) {
    if (i < N_EXTREMES)
        return EXTREMES[i];
    if (i % 4 == 0) {
        uint32_t u = (uint32_t)ed_rng_u64(r);
        float x;
        memcpy(&x, &u, sizeof x);
        return x;
    }
    double span = i % 4 == 1 ? 1 : i % 4 == 2 ? 15 : 100;
    return (float)((2 * ed_rng_uniform(r) - 1) * span);
}

static void test_unary(void **state) {
    (void)state;
    enum { N = 200000 };
    float *x = malloc(sizeof(float) * N), *y = malloc(sizeof(float) * N);
    ed_rng r = ed_rng_make(5, 1);
    for (int i = 0; i < N; i++)
        x[i] = sample(&r, i);
    FOR_LEVELS(kt) {
        for (int kind = 0; kind < ED_UNARY_COUNT; kind++) {
            double worst = 0;
            int at = 0;
            kt->unary(kind, 0.01, x, y, N);
            for (int i = 0; i < N; i++) {
                double u = ulps(reference(kind, 0.01, (double)x[i]), y[i]);
                if (u > worst)
                    worst = u, at = i;
            }
            if (getenv("KERNEL_ULPS"))
                printf("%-8s %-12s %.2f ulp at %g\n", kt->name, ed_unary_name((ed_unary)kind), worst, (double)x[at]);
            if (!(worst <= 4))
                fail_msg("%s: %s is %g ulp off at %.9g: %.9g, exact %.9g", kt->name, ed_unary_name((ed_unary)kind), worst, (double)x[at], (double)y[at],
                         reference(kind, 0.01, (double)x[at]));
        }
    }
    free(x);
    free(y);
}

static void test_unary_grad(void **state) {
    (void)state;
    enum { N = 3001 };
    static float x[N], y[N], dy[N], dx[N];
    ed_rng r = ed_rng_make(6, 1);
    FOR_LEVELS(kt) {
        for (int kind = 0; kind < ED_UNARY_COUNT; kind++) {
            bool positive = kind == ED_LOG || kind == ED_SQRT || kind == ED_RSQRT || kind == ED_LOG1P;
            for (int i = 0; i < N; i++) {
                x[i] = (float)(positive ? 0.05 + 4 * ed_rng_uniform(&r) : 12 * ed_rng_uniform(&r) - 6);
                dy[i] = (float)(2 * ed_rng_uniform(&r) - 1);
                dx[i] = 1.0f;
            }
            kt->unary(kind, 0.2, x, y, N);
            kt->unary_grad(kind, 0.2, x, y, dy, dx, N, true);
            for (int i = 0; i < N; i++) {
                double want = 1 + (double)dy[i] * slope(kind, 0.2, (double)x[i]);
                if (!(fabs((double)dx[i] - want) <= 3e-6 * fmax(1, fabs(want))))
                    fail_msg("%s: slope of %s at %.9g: %.9g, exact %.9g", kt->name, ed_unary_name((ed_unary)kind), (double)x[i], (double)dx[i], want);
            }
            static float over[N];
            memset(over, 0xff, sizeof over);
            kt->unary_grad(kind, 0.2, x, y, dy, over, N, false);
            for (int i = 0; i < N; i++)
                assert_true(fabs((double)over[i] + 1 - (double)dx[i]) <= 1e-6 * fmax(1, fabs((double)dx[i])));
        }
    }
}

/* Slopes of saturating functions far out are 0 or 1, not NaN. */
static void test_unary_grad_far(void **state) {
    (void)state;
    static const int KINDS[] = {ED_TANH, ED_SIGMOID, ED_ERF, ED_SILU, ED_GELU_TANH, ED_GELU_ERF, ED_SOFTPLUS, ED_ELU, ED_RELU};
    float x[2] = {-1e30f, 1e30f}, y[2], dy[2] = {1, 1}, dx[2];
    FOR_LEVELS(kt) {
        for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
            bool passes = KINDS[i] != ED_TANH && KINDS[i] != ED_SIGMOID && KINDS[i] != ED_ERF;
            kt->unary(KINDS[i], 0, x, y, 2);
            kt->unary_grad(KINDS[i], 0, x, y, dy, dx, 2, false);
            assert_float_equal(dx[0], 0, 0);
            assert_float_equal(dx[1], passes ? 1 : 0, 0);
        }
    }
}

/* Result i depends on element i only: any start, any length, in place, up to the edge of the memory. */
static void test_edges(void **state) {
    (void)state;
    guarded gx = guarded_make(), gy = guarded_make();
    float full[300], want[300];
    ed_rng r = ed_rng_make(8, 1);
    for (int i = 0; i < 300; i++)
        full[i] = (float)(0.1 + 3 * ed_rng_uniform(&r));
    FOR_LEVELS(kt) {
        for (int kind = 0; kind < ED_UNARY_COUNT; kind++) {
            kt->unary(kind, 0.01, full, want, 300);
            for (int n = 0; n <= 257; n += n < 70 ? 1 : 17) {
                size_t bytes = (size_t)n * sizeof(float);
                for (int side = 0; side < 3; side++) { /* front edge, back edge, one float off the front */
                    float *x = side == 1 ? at_back(&gx, bytes) : (float *)at_front(&gx) + (side == 2);
                    float *y = side == 1 ? at_back(&gy, bytes) : (float *)at_front(&gy) + (side == 2);
                    memcpy(x, full, bytes);
                    kt->unary(kind, 0.01, x, y, n);
                    assert_memory_equal(y, want, bytes);
                    kt->unary(kind, 0.01, x, x, n);
                    assert_memory_equal(x, want, bytes);
                    memcpy(x, full, bytes);
                    kt->unary_grad(kind, 0.01, x, y, x, y, n, false);
                }
            }
        }
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

/* ---- reductions: the stated order, replayed with scalars */
static float fold16(float s[16]) {
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}
static void test_reductions(void **state) {
    (void)state;
    guarded gx = guarded_make(), gy = guarded_make();
    ed_rng r = ed_rng_make(9, 1);
    FOR_LEVELS(kt) {
        bool fused = level_ > ED_CPU_GENERIC;
        for (int n = 0; n <= 257; n++) {
            size_t bytes = (size_t)n * sizeof(float);
            for (int side = 0; side < 2; side++) {
                float *x = side ? at_back(&gx, bytes) : at_front(&gx), *y = side ? at_back(&gy, bytes) : at_front(&gy);
                float s[16] = {0}, d[16] = {0}, q[16] = {0}, mean = 0.25f, top = -INFINITY;
                for (int i = 0; i < n; i++) {
                    x[i] = (float)ed_rng_normal(&r);
                    y[i] = (float)ed_rng_normal(&r);
                    float e = x[i] - mean;
                    s[i % 16] += x[i];
                    d[i % 16] = fused ? fmaf(x[i], y[i], d[i % 16]) : x[i] * y[i] + d[i % 16];
                    q[i % 16] = fused ? fmaf(e, e, q[i % 16]) : e * e + q[i % 16];
                    top = x[i] > top ? x[i] : top;
                }
                assert_true(kt->sum(x, n) == fold16(s));
                assert_true(kt->dot(x, y, n) == fold16(d));
                assert_true(kt->sum_sq_dev(x, mean, n) == fold16(q));
                assert_true(kt->max(x, n) == top);
                for (int bad = 0; bad < n; bad += 13) {
                    float old = x[bad];
                    x[bad] = NAN;
                    assert_true(isnan(kt->max(x, n)));
                    assert_true(isnan(kt->sum(x, n)));
                    x[bad] = old;
                }
            }
        }
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static void test_linear(void **state) {
    (void)state;
    guarded g[3] = {guarded_make(), guarded_make(), guarded_make()};
    ed_rng r = ed_rng_make(10, 1);
    FOR_LEVELS(kt) {
        for (int n = 0; n <= 257; n += n < 40 ? 1 : 7) {
            size_t bytes = (size_t)n * sizeof(float);
            float x0[257], y0[257], z0[257];
            for (int side = 0; side < 2; side++) {
                float *v[3];
                for (int i = 0; i < 3; i++)
                    v[i] = side ? at_back(&g[i], bytes) : at_front(&g[i]);
                float *x = v[0], *y = v[1], *z = v[2];
                for (int i = 0; i < n; i++) {
                    x[i] = x0[i] = (float)ed_rng_normal(&r);
                    y[i] = y0[i] = (float)ed_rng_normal(&r);
                    z[i] = z0[i] = (float)ed_rng_normal(&r);
                }
#define CHECK(call, out, formula)                                         \
    do {                                                                  \
        call;                                                             \
        for (int i = 0; i < n; i++)                                       \
            assert_true(fabs((double)(out)[i] - (formula)) <= 1e-6 * (1 + fabs(formula))); \
        memcpy(y, y0, bytes);                                             \
        memcpy(z, z0, bytes);                                             \
    } while (0)
                CHECK(kt->axpy(1.5f, x, y, n), y, 1.5 * (double)x0[i] + (double)y0[i]);
                CHECK(kt->axpby(1.5f, x, -0.5f, y, n), y, 1.5 * (double)x0[i] - 0.5 * (double)y0[i]);
                CHECK(kt->scale(-3.0f, y, n), y, -3.0 * (double)y0[i]);
                CHECK(kt->add(x, y, n), y, (double)x0[i] + (double)y0[i]);
                CHECK(kt->mul(x, y, z, n), z, (double)x0[i] * (double)y0[i]);
                CHECK(kt->mul_add(x, y, z, n), z, (double)x0[i] * (double)y0[i] + (double)z0[i]);
                CHECK(kt->exp_sub(x, 0.5f, y, n), y, exp((double)(x0[i] - 0.5f)));
            }
        }
        float inf = -INFINITY, e = 1;
        kt->exp_sub(&inf, 3.0f, &e, 1);
        assert_true(e == 0.0f);
    }
    for (int i = 0; i < 3; i++)
        guarded_free(&g[i]);
}

/* All 65,536 halves there and back; floats around every rounding boundary against the definition. */
static uint16_t nearest_f16(double x) {
    double a = fabs(x), best = INFINITY;
    uint16_t found = 0;
    if (a >= 65520)
        return (uint16_t)((signbit(x) ? 0x8000 : 0) | 0x7c00);
    int e;
    frexp(a, &e);
    int q = e < -13 ? -24 : e - 11; /* the unit in the last place */
    double units = nearbyint(ldexp(a, -q));
    (void)best;
    double v = ldexp(units, q);
    frexp(v, &e);
    if (v == 0)
        found = 0;
    else if (v < ldexp(1, -14))
        found = (uint16_t)ldexp(v, 24);
    else
        found = (uint16_t)(((e + 14) << 10) | ((int)ldexp(v, 11 - e) & 0x3ff));
    return (uint16_t)((signbit(x) ? 0x8000 : 0) | found);
}
static void test_convert(void **state) {
    (void)state;
    static uint16_t h[65536], back[65536];
    static float f[65536];
    FOR_LEVELS(kt) {
        for (int i = 0; i < 65536; i++)
            h[i] = (uint16_t)i;
        kt->f16_to_f32(h, f, 65536);
        kt->f32_to_f16(f, back, 65536);
        for (int i = 0; i < 65536; i++) {
            bool nan = (i & 0x7c00) == 0x7c00 && (i & 0x3ff);
            assert_int_equal(back[i], nan ? (i | 0x200) : i);
            assert_true(nan ? isnan(f[i]) : f[i] == ed_f16_to_f32((uint16_t)i));
        }
        kt->bf16_to_f32(h, f, 65536);
        kt->f32_to_bf16(f, back, 65536);
        for (int i = 0; i < 65536; i++) {
            bool nan = (i & 0x7f80) == 0x7f80 && (i & 0x7f);
            assert_int_equal(back[i], nan ? (i | 0x40) : i);
        }
        ed_rng r = ed_rng_make(12, 1);
        for (int i = 0; i < 65536; i++) {
            uint32_t u = (uint32_t)ed_rng_u64(&r);
            if (i % 2) /* exponents that halves have, and ties */
                u = (u & 0x80000000u) | ((100u + (u >> 8) % 46u) << 23) | ((u & 1u) ? (u & 0x7fffffu) : (((u & 0x3ffu) << 13) | 0x1000u));
            memcpy(&f[i], &u, sizeof u);
        }
        for (int shift = 0; shift < 3; shift++) { /* also misaligned */
            kt->f32_to_f16(f + shift, back + shift, 65536 - shift);
            for (int i = shift; i < 65536; i++)
                if (!isnan(f[i]))
                    assert_int_equal(back[i], nearest_f16((double)f[i]));
        }
        kt->f32_to_bf16(f, back, 65536);
        for (int i = 0; i < 65536; i++)
            if (isnan(f[i])) {
                assert_true((back[i] & 0x7f80) == 0x7f80 && (back[i] & 0x7f));
            } else {
                float v = ed_bf16_to_f32(back[i]);
                assert_int_equal(back[i], ed_f32_to_bf16(f[i]));
                assert_true(isinf(v) || fabs((double)v - (double)f[i]) <= ldexp(fabs((double)f[i]), -8) + 1e-40);
            }
    }
    /* every size, up to protected pages */
    guarded gx = guarded_make(), gy = guarded_make();
    FOR_LEVELS(kt) {
        for (int n = 0; n <= 67; n++) {
            float *x = at_back(&gx, (size_t)n * 4);
            uint16_t *y = at_back(&gy, (size_t)n * 2);
            memset(x, 0, (size_t)n * 4);
            kt->f32_to_f16(x, y, n);
            kt->f16_to_f32(y, x, n);
            kt->f32_to_bf16(x, y, n);
            kt->bf16_to_f32(y, x, n);
        }
    }
    guarded_free(&gx);
    guarded_free(&gy);
}

static void test_philox(void **state) {
    (void)state;
    ed_rng_key key = ed_rng_key_make(99, 7);
    static const uint64_t starts[] = {0, 5, 0xfffffffau, 0x123456789abull};
    FOR_LEVELS(kt) {
        for (int s = 0; s < 4; s++) {
            for (int64_t blocks = 0; blocks < 40; blocks++) {
                uint32_t words[164], want[4];
                memset(words, 0xa5, sizeof words);
                kt->philox(key, starts[s], (uint32_t[]){0, 0, 3, 4}, words, blocks);
                for (int64_t b = 0; b < blocks; b++) {
                    uint64_t at = starts[s] + (uint64_t)b;
                    ed_philox(key, (uint32_t[]){(uint32_t)at, (uint32_t)(at >> 32), 3, 4}, want);
                    assert_memory_equal(words + 4 * b, want, sizeof want);
                }
                assert_int_equal(words[4 * blocks], 0xa5a5a5a5u);
            }
        }
    }
}

static void test_dispatch(void **state) {
    (void)state;
    ed_cpu_level before = ed_cpu_get();
    for (int i = 0; i < ED_CPU_LEVEL_COUNT; i++) {
        const ed__kernel_table *t = ed__kernels_at((ed_cpu_level)i);
        assert_true((t != NULL) == (i <= (int)ed_cpu_best()));
        if (!t)
            continue;
        assert_string_equal(t->name, ed_cpu_name((ed_cpu_level)i));
        assert_int_equal(ed_cpu_set((ed_cpu_level)i), ED_OK);
        assert_ptr_equal(ed__kernels(), t);
    }
    assert_null(ed__kernels_at((ed_cpu_level)-1));
    assert_null(ed__kernels_at(ED_CPU_LEVEL_COUNT));
    ed_cpu_set(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unary),      cmocka_unit_test(test_unary_grad), cmocka_unit_test(test_unary_grad_far),
                                       cmocka_unit_test(test_edges),      cmocka_unit_test(test_reductions), cmocka_unit_test(test_linear),
                                       cmocka_unit_test(test_philox),     cmocka_unit_test(test_convert),    cmocka_unit_test(test_dispatch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
