/* tensor/kernel/attention.c - attention kernels, compiled once per CPU level (contracts in tensor/attention_kernel.h).
 * One outer-product micro-kernel serves all five products of attention (scores, P V, and the three of backward): a block of rows times a few vectors of columns
 * stays in registers while k runs. Row kernels are plain loops over 32 lanes that the compiler turns into vectors of the level.
 * exp: Cephes' range reduction and polynomial (Moshier), 2 ulp; below -87.3 it gives 0. */
#include <math.h>
#include <string.h>

#include "tensor/attention_kernel.h"

#define CAT_(a, b) a##_##b
#define CAT(a, b) CAT_(a, b)
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { TILE = 128, SUB = 32, SUBS = TILE / SUB };

/* ------------------------------------------------------------------ vectors of the level */

#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
#include <immintrin.h>
enum { VL = 16, MAX_M = 8 };
typedef float vf __attribute__((vector_size(64), aligned(4), may_alias));
INLINE vf fma_v(vf a, vf b, vf c) {
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
INLINE vf splat(float x) {
    return (vf)_mm512_set1_ps(x);
}
#elif defined(ED_LEVEL_avx2)
#include <immintrin.h>
enum { VL = 8, MAX_M = 6 };
typedef float vf __attribute__((vector_size(32), aligned(4), may_alias));
INLINE vf fma_v(vf a, vf b, vf c) {
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE vf splat(float x) {
    return (vf)_mm256_set1_ps(x);
}
#else
enum { VL = 4, MAX_M = 4 };
typedef float vf __attribute__((vector_size(16), aligned(4), may_alias));
INLINE vf fma_v(vf a, vf b, vf c) {
    return a * b + c;
}
INLINE vf splat(float x) {
    return (vf){x, x, x, x};
}
#endif
#if defined(ED_LEVEL_generic)
#define FMA(a, b, c) ((a) * (b) + (c))
#else
#define FMA(a, b, c) __builtin_fmaf((a), (b), (c))
#endif

INLINE vf load(const float *p) {
    return *(const vf *)p;
}
INLINE void store(float *p, vf v) {
    *(vf *)p = v;
}

/* ------------------------------------------------------------------ product */

/* R rows by C vectors, all k */
INLINE void micro(const int R, const int C, int64_t k, const float *a, int64_t ar, int64_t ac, const float *b, int64_t ldb, float *c, int64_t ldc, bool acc) {
    vf s[8][8];
    UNROLL for (int i = 0; i < R; i++) {
        UNROLL for (int j = 0; j < C; j++)
            s[i][j] = acc ? load(c + i * ldc + j * VL) : splat(0);
    }
    for (int64_t p = 0; p < k; p++, a += ac, b += ldb) {
        vf bv[8];
        UNROLL for (int j = 0; j < C; j++)
            bv[j] = load(b + j * VL);
        UNROLL for (int i = 0; i < R; i++) {
            vf av = splat(a[i * ar]);
            UNROLL for (int j = 0; j < C; j++)
                s[i][j] = fma_v(av, bv[j], s[i][j]);
        }
    }
    UNROLL for (int i = 0; i < R; i++) {
        UNROLL for (int j = 0; j < C; j++)
            store(c + i * ldc + j * VL, s[i][j]);
    }
}

#define MICRO_ARGS k, a, ar, ac, b, ldb, c, ldc, acc
/* one column strip of C vectors for m <= MAX_M rows */
#define STRIP(name, C)                                                                                                                               \
    static void name(int m, int64_t k, const float *a, int64_t ar, int64_t ac, const float *b, int64_t ldb, float *c, int64_t ldc, bool acc) {       \
        switch (m) {                                                                                                                                 \
        case 1: micro(1, C, MICRO_ARGS); break;                                                                                                      \
        case 2: micro(2, C, MICRO_ARGS); break;                                                                                                      \
        case 3: micro(3, C, MICRO_ARGS); break;                                                                                                      \
        case 4: micro(4, C, MICRO_ARGS); break;                                                                                                      \
        STRIP_MORE(C)                                                                                                                                \
        default: break;                                                                                                                              \
        }                                                                                                                                            \
    }
#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
#define STRIP_MORE(C)                          \
    case 5: micro(5, C, MICRO_ARGS); break;    \
    case 6: micro(6, C, MICRO_ARGS); break;    \
    case 7: micro(7, C, MICRO_ARGS); break;    \
    case 8: micro(8, C, MICRO_ARGS); break;
#elif defined(ED_LEVEL_avx2)
#define STRIP_MORE(C)                          \
    case 5: micro(5, C, MICRO_ARGS); break;    \
    case 6: micro(6, C, MICRO_ARGS); break;
#else
#define STRIP_MORE(C)
#endif
STRIP(strip_two, 2)
#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
STRIP(strip_one, 1)
#endif

/* a single row has no rows to hide the latency of its chains: take up to eight vectors at once */
static int64_t row_strips(int64_t n, int64_t k, const float *a, int64_t ac, const float *b, int64_t ldb, float *c, bool acc) {
    int64_t j = 0;
    for (; j + 8 * VL <= n; j += 8 * VL)
        micro(1, 8, k, a, 0, ac, b + j, ldb, c + j, 0, acc);
    for (; j + 4 * VL <= n; j += 4 * VL)
        micro(1, 4, k, a, 0, ac, b + j, ldb, c + j, 0, acc);
    return j;
}

static void gemm(int64_t m, int64_t n, int64_t k, const float *a, int64_t ar, int64_t ac, const float *b, int64_t ldb, float *c, int64_t ldc, bool acc) {
    int64_t j = m == 1 ? row_strips(n, k, a, ac, b, ldb, c, acc) : 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
        for (int64_t i = 0; i < m; i += MAX_M)
            strip_two(m - i < MAX_M ? (int)(m - i) : MAX_M, k, a + i * ar, ar, ac, b + j, ldb, c + i * ldc + j, ldc, acc);
    }
#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
    for (; j < n; j += VL) {
        for (int64_t i = 0; i < m; i += MAX_M)
            strip_one(m - i < MAX_M ? (int)(m - i) : MAX_M, k, a + i * ar, ar, ac, b + j, ldb, c + i * ldc + j, ldc, acc);
    }
#endif
}

static void transpose(const float *src, int64_t ld, int64_t rows, int64_t cols, float *dst) {
    for (int64_t r0 = 0; r0 < rows; r0 += 16) {
        const float *s = src + r0 * ld;
        for (int64_t c = 0; c < cols; c++) {
            float *d = dst + c * TILE + r0;
            for (int r = 0; r < 16; r++)
                d[r] = s[r * ld + c];
        }
    }
}

/* ------------------------------------------------------------------ exp */

INLINE float exp_1(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float n = FMA(x, 1.44269504088896341f, magic);
    n -= magic;
    float r = FMA(n, -0.693359375f, x);
    r = FMA(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = FMA(p, r, 1.3981999507e-3f);
    p = FMA(p, r, 8.3334519073e-3f);
    p = FMA(p, r, 4.1665795894e-2f);
    p = FMA(p, r, 1.6666665459e-1f);
    p = FMA(p, r, 5.0000001201e-1f);
    float y = FMA(p * r, r, r) + 1.0f;
    float nc = n < -126.0f ? -126.0f : n > 127.0f ? 127.0f : n;
    union {
        int32_t i;
        float f;
    } two = {((int32_t)nc + 127) * (1 << 23)};
    return x < -87.3f ? 0.0f : y * two.f;
}

/* tanh and its derivative; the series near 0 keeps the relative error small */
INLINE float tanh_1(float x) {
    float ax = x < 0 ? -x : x, e = exp_1(ax > 12.0f ? -24.0f : -2.0f * ax), t = (1.0f - e) / (1.0f + e), x2 = x * x;
    float near = FMA(x2, FMA(x2, FMA(x2, -0.053968254f, 0.13333334f), -0.33333334f), 1.0f) * x;
    return ax < 0.1f ? near : x < 0 ? -t : t;
}

/* ------------------------------------------------------------------ rows of a tile */

#define FOR_SUBS(active) for (int sub = 0, at = 0; sub < SUBS; sub++, at += SUB) if ((active) >> sub & 1u)

static void cap_row(float *s, float cap, float *slope) {
    for (int j = 0; j < SUB; j++) {
        float t = tanh_1(s[j] / cap);
        s[j] = t * cap;
        if (slope)
            slope[j] = 1.0f - t * t;
    }
}

static void add_row(float *s, const float *x) {
    for (int j = 0; j < SUB; j++)
        s[j] += x[j];
}

static void hide_row(float *s, const int32_t *mask) {
    for (int j = 0; j < SUB; j++)
        s[j] = mask[j] ? s[j] : -INFINITY;
}

static float hinge_row(const float *s, float sum) {
    for (int j = 0; j < SUB; j++)
        sum += s[j] > 5.0f ? s[j] - 5.0f : 0.0f;
    return sum;
}

static void finish(const edk_attn_finish *f, float *s) {
    FOR_SUBS(f->active) {
        if (f->softcap > 0)
            cap_row(s + at, f->softcap, f->slope ? f->slope + at : NULL);
        if (f->bias)
            add_row(s + at, f->bias + at);
        if (f->extra)
            add_row(s + at, f->extra + at);
        if (f->partial >> sub & 1u)
            hide_row(s + at, f->mask + at);
        if (f->raw)
            memcpy(f->raw + at, s + at, SUB * sizeof *s);
        if (f->hinge)
            *f->hinge = hinge_row(s + at, *f->hinge);
        if (f->kappa)
            add_row(s + at, f->kappa + at);
    }
}

/* sixteen partial sums by slot mod 16, folded 8-4-2-1 */
INLINE float fold(const float *x) {
    float y[8];
    for (int i = 0; i < 8; i++)
        y[i] = x[i] + x[i + 8];
    for (int i = 0; i < 4; i++)
        y[i] += y[i + 4];
    return (y[0] + y[2]) + (y[1] + y[3]);
}

static float softmax(float *s, uint32_t active, float *m, float *l, float *u) {
    float top[16], sum[16] = {0}, mean[16] = {0}, t = -INFINITY;
    for (int i = 0; i < 16; i++)
        top[i] = -INFINITY;
    FOR_SUBS(active) {
        for (int j = 0; j < SUB; j += 16)
            for (int i = 0; i < 16; i++)
                top[i] = s[at + j + i] > top[i] || s[at + j + i] != s[at + j + i] ? s[at + j + i] : top[i];
    }
    for (int i = 0; i < 16; i++)
        t = top[i] > t || top[i] != top[i] ? top[i] : t;
    if (t == -INFINITY) {
        FOR_SUBS(active)
            memset(s + at, 0, SUB * sizeof *s);
        return 1.0f;
    }
    float old = *m, next = t > old || t != t ? t : old, alpha = old == -INFINITY ? 0.0f : exp_1(old - next);
    FOR_SUBS(active) {
        if (u) {
            for (int j = 0; j < SUB; j += 16)
                for (int i = 0; i < 16; i++) {
                    float x = s[at + j + i];
                    mean[i] += x == -INFINITY ? 0.0f : exp_1(x - next) * x;
                }
        }
        for (int j = 0; j < SUB; j++)
            s[at + j] = exp_1(s[at + j] - next);
        for (int j = 0; j < SUB; j += 16)
            for (int i = 0; i < 16; i++)
                sum[i] += s[at + j + i];
    }
    *m = next;
    *l = *l * alpha + fold(sum);
    if (u)
        *u = *u * alpha + fold(mean);
    return alpha;
}

static void multiply(float *s, uint32_t active, const float *factor) {
    FOR_SUBS(active) {
        for (int j = 0; j < SUB; j++)
            s[at + j] *= factor[at + j];
    }
}

static void scale(float *x, int64_t n, float f) {
    for (int64_t i = 0; i < n; i++)
        x[i] *= f;
}

static void grad_plain(const edk_attn_grad *g, float *s, float *dp) {
    float lse = g->lse, big_d = g->big_d;
    FOR_SUBS(g->active) {
        for (int j = at; j < at + SUB; j++) {
            float p = exp_1(s[j] - lse), d = p * (dp[j] - big_d);
            dp[j] = s[j] == -INFINITY ? 0.0f : d;
            s[j] = p;
        }
    }
}

/* the same with every hook; the order of the products is that of grad_plain when the factors are 1 */
static void grad_full(const edk_attn_grad *g, float *s, float *dp) {
    FOR_SUBS(g->active) {
        float p[SUB], gated[SUB];
        for (int j = 0; j < SUB; j++)
            p[j] = exp_1(s[at + j] - g->lse);
        for (int j = 0; j < SUB; j++) {
            float f = (g->post ? g->post[at + j] : 1.0f) * (g->drop ? g->drop[at + j] : 1.0f), x = s[at + j];
            float d = p[j] * (dp[at + j] * f - g->big_d);
            if (g->d_entropy != 0)
                d -= g->d_entropy * p[j] * (x - g->mean_score);
            gated[j] = x == -INFINITY ? 0.0f : d;
            if (g->d_post)
                g->d_post[at + j] = x == -INFINITY ? 0.0f : dp[at + j] * (g->drop ? g->drop[at + j] : 1.0f) * p[j];
            s[at + j] = p[j] * f;
        }
        for (int j = 0; j < SUB; j++) {
            float ds = gated[j] + (g->raw && g->raw[at + j] > 5.0f ? g->d_hinge : 0.0f);
            if (g->gated)
                g->gated[at + j] = gated[j];
            if (g->ds)
                g->ds[at + j] = ds;
            dp[at + j] = g->slope ? ds * g->slope[at + j] : ds;
        }
    }
}

static void grad(const edk_attn_grad *g, float *s, float *dp) {
    if (g->post || g->drop || g->d_entropy != 0 || g->raw || g->slope || g->ds || g->gated || g->d_post)
        grad_full(g, s, dp);
    else
        grad_plain(g, s, dp);
}

static void mask_labels(const int32_t *order, const int32_t *group, const int32_t *valid, int32_t q_order, int32_t q_group, int32_t q_limit, int32_t q_low,
                        int32_t *mask) {
    int32_t all = -(q_group == -2);
    for (int j = 0; j < SUB; j++) {
        int32_t own = -(group[j] == q_group) & -(order[j] <= q_order), shared = -(group[j] == -1) & -(order[j] <= q_limit);
        mask[j] = (own | shared | all) & -(order[j] >= q_low) & -(valid[j] != 0);
    }
}

static void mask_range(int64_t lo, int64_t hi, int32_t *mask) {
    int32_t a = lo < 0 ? 0 : lo > SUB ? SUB : (int32_t)lo, b = hi < -1 ? -1 : hi > SUB ? SUB : (int32_t)hi;
    for (int32_t j = 0; j < SUB; j++)
        mask[j] = -(j >= a) & -(j <= b);
}

static void gather(const float *table, int64_t n, const int32_t *k_pos, int64_t base, uint32_t active, float *out) {
    int32_t last = (int32_t)n - 1;
    FOR_SUBS(active) {
        for (int j = at; j < at + SUB; j++) {
            int64_t o = k_pos[j] - base;
            int32_t i = o < 0 ? 0 : o > last ? last : (int32_t)o;
            out[j] = table[i];
        }
    }
}

/* Philox4x32-10 on the eight blocks of a sub at once */
static void drop(ed_rng_key key, const uint32_t counter[4], uint32_t limit, float keep, uint32_t active, float *out) {
    enum { N = SUB / 4 };
    FOR_SUBS(active) {
        uint32_t x0[N], x1[N], x2[N], x3[N], k0 = key.k[0], k1 = key.k[1];
        for (int i = 0; i < N; i++) {
            x0[i] = counter[0] + (uint32_t)(at / 4 + i);
            x1[i] = counter[1];
            x2[i] = counter[2];
            x3[i] = counter[3];
        }
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
            for (int i = 0; i < N; i++) {
                uint64_t a = (uint64_t)x0[i] * 0xD2511F53u, b = (uint64_t)x2[i] * 0xCD9E8D57u;
                uint32_t y0 = (uint32_t)(b >> 32) ^ x1[i] ^ k0, y2 = (uint32_t)(a >> 32) ^ x3[i] ^ k1;
                x1[i] = (uint32_t)b;
                x3[i] = (uint32_t)a;
                x0[i] = y0;
                x2[i] = y2;
            }
        }
        for (int i = 0; i < N; i++) {
            float *o = out + at + 4 * i;
            o[0] = x0[i] < limit ? 0.0f : keep;
            o[1] = x1[i] < limit ? 0.0f : keep;
            o[2] = x2[i] < limit ? 0.0f : keep;
            o[3] = x3[i] < limit ? 0.0f : keep;
        }
    }
}

extern const ed__attn_kernels CAT(edk_attention, ED_LEVEL);
const ed__attn_kernels CAT(edk_attention, ED_LEVEL) = {.gemm = gemm, .transpose = transpose, .finish = finish, .softmax = softmax, .multiply = multiply,
                                                       .scale = scale, .grad = grad, .mask_labels = mask_labels, .mask_range = mask_range,
                                                       .gather = gather, .drop = drop};
