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
INLINE vf max_v(vf a, vf b) { /* b when either is NaN */
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
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
INLINE vf max_v(vf a, vf b) { /* b when either is NaN */
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
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
INLINE vf max_v(vf a, vf b) { /* b when either is NaN */
    for (int i = 0; i < VL; i++)
        b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}
#endif
typedef int32_t vi __attribute__((vector_size(4 * VL)));
enum { PER16 = 16 / VL }; /* vectors that hold sixteen lanes */

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

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
#define SHUF(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

/* eight rows of eight: pairs, then pairs of pairs, then halves */
INLINE void transpose8(const float *src, int64_t ld, float *dst) {
    v8 r[8], p[8];
    UNROLL for (int i = 0; i < 8; i++)
        r[i] = *(const v8 *)(src + i * ld);
    UNROLL for (int i = 0; i < 8; i += 2) {
        p[i] = SHUF(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        p[i + 1] = SHUF(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    UNROLL for (int i = 0; i < 8; i += 4) {
        r[i] = SHUF(p[i], p[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 1] = SHUF(p[i], p[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i + 2] = SHUF(p[i + 1], p[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[i + 3] = SHUF(p[i + 1], p[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        *(v8 *)(dst + i * TILE) = SHUF(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(v8 *)(dst + (i + 4) * TILE) = SHUF(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

static void transpose(const float *src, int64_t ld, int64_t rows, int64_t cols, float *dst) {
    for (int64_t r = 0; r < rows; r += 8) {
        const float *s = src + r * ld;
        int64_t c = 0;
        for (; c + 8 <= cols; c += 8)
            transpose8(s + c, ld, dst + c * TILE + r);
        for (; c < cols; c++)
            for (int i = 0; i < 8; i++)
                dst[c * TILE + r + i] = s[i * ld + c];
    }
}

/* sixteen partial sums by index mod 16, folded 8-4-2-1 */
INLINE float fold(const vf *x) {
    float f[16], y[8];
    memcpy(f, x, sizeof f);
    for (int i = 0; i < 8; i++)
        y[i] = f[i] + f[i + 8];
    for (int i = 0; i < 4; i++)
        y[i] += y[i + 4];
    return (y[0] + y[2]) + (y[1] + y[3]);
}

static float dot(const float *x, const float *y, int64_t n) {
    vf s[PER16];
    float tail[16] = {0};
    int64_t i = 0;
    UNROLL for (int k = 0; k < PER16; k++)
        s[k] = splat(0);
    for (; i + 16 <= n; i += 16) {
        UNROLL for (int k = 0; k < PER16; k++)
            s[k] = fma_v(load(x + i + k * VL), load(y + i + k * VL), s[k]);
    }
    for (int64_t k = i; k < n; k++)
        tail[k - i] = x[k] * y[k];
    UNROLL for (int k = 0; k < PER16; k++)
        s[k] += load(tail + k * VL);
    return fold(s);
}

/* ------------------------------------------------------------------ exp */

INLINE vf exp_v(vf x) {
    const vf magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vf n = fma_v(x, splat(1.44269504088896341f), magic) - magic;
    n = max_v(n, splat(-126.0f)); /* also takes the NaN out of the exponent; the polynomial keeps it */
    n = -max_v(-n, splat(-127.0f));
    vf r = fma_v(n, splat(-0.693359375f), x);
    r = fma_v(n, splat(2.12194440e-4f), r);
    vf p = splat(1.9875691500e-4f);
    p = fma_v(p, r, splat(1.3981999507e-3f));
    p = fma_v(p, r, splat(8.3334519073e-3f));
    p = fma_v(p, r, splat(4.1665795894e-2f));
    p = fma_v(p, r, splat(1.6666665459e-1f));
    p = fma_v(p, r, splat(5.0000001201e-1f));
    vf y = fma_v(p * r, r, r) + splat(1.0f);
    vf two = (vf)((__builtin_convertvector(n, vi) + 127) << 23);
    return (vf)((vi)(y * two) & ~(vi)(x < splat(-87.3f)));
}

INLINE float exp_1(float x) {
    return exp_v(splat(x))[0];
}

INLINE vf select_v(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* tanh; the series near 0 keeps the relative error small */
INLINE vf tanh_v(vf x) {
    vf one = splat(1.0f), ax = max_v(x, -x), e = exp_v(max_v(ax * splat(-2.0f), splat(-24.0f))), t = (one - e) / (one + e), x2 = x * x;
    vf near = fma_v(x2, splat(-0.053968254f), splat(0.13333334f));
    near = fma_v(x2, fma_v(x2, near, splat(-0.33333334f)), one) * x;
    return select_v((vi)(ax < splat(0.1f)), near, select_v((vi)(x < splat(0)), -t, t));
}

/* ------------------------------------------------------------------ rows of a tile */

#define FOR_SUBS(active) for (int sub = 0, at = 0; sub < SUBS; sub++, at += SUB) if ((active) >> sub & 1u)

static void cap_row(float *s, float cap, float *slope) {
    for (int j = 0; j < SUB; j += VL) {
        vf t = tanh_v(load(s + j) / splat(cap));
        store(s + j, t * splat(cap));
        if (slope)
            store(slope + j, splat(1.0f) - t * t);
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

/* the row's maximum; NaN only when nothing but NaN is visible */
INLINE float row_max(const float *s, uint32_t active) {
    vf top[4];
    float t = -INFINITY, lane[VL];
    bool nan = false;
    UNROLL for (int i = 0; i < 4; i++)
        top[i] = splat(-INFINITY);
    FOR_SUBS(active) {
        for (int j = 0; j < SUB; j += 4 * VL <= SUB ? 4 * VL : SUB) {
            UNROLL for (int i = 0; i < 4; i++) {
                if (j + i * VL < SUB)
                    top[i] = max_v(load(s + at + j + i * VL), top[i]);
            }
        }
    }
    store(lane, max_v(max_v(top[0], top[1]), max_v(top[2], top[3])));
    for (int i = 0; i < VL; i++)
        t = lane[i] > t ? lane[i] : t;
    if (t == -INFINITY) {
        FOR_SUBS(active) {
            for (int j = 0; j < SUB; j++)
                nan |= s[at + j] != s[at + j];
        }
    }
    return nan ? NAN : t;
}

INLINE void exp_row(float *s, vf top, vf *sum) {
    UNROLL for (int j = 0; j < SUB; j += VL) {
        vf e = exp_v(load(s + j) - top);
        store(s + j, e);
        sum[j / VL % PER16] += e;
    }
}

/* the same, and the sum of e^(s - m) s */
INLINE void exp_mean_row(float *s, vf top, vf *sum, vf *mean) {
    UNROLL for (int j = 0; j < SUB; j += VL) {
        vf x = load(s + j), e = exp_v(x - top);
        store(s + j, e);
        sum[j / VL % PER16] += e;
        mean[j / VL % PER16] += (vf)((vi)(e * x) & ~(vi)(x == splat(-INFINITY)));
    }
}

static float softmax(float *s, uint32_t active, float *m, float *l, float *u) {
    vf sum[PER16], mean[PER16];
    float t = row_max(s, active), old = *m;
    if (t == -INFINITY) {
        FOR_SUBS(active)
            memset(s + at, 0, SUB * sizeof *s);
        return 1.0f;
    }
    float next = t > old || t != t ? t : old, alpha = old == -INFINITY ? 1.0f : exp_1(old - next);
    UNROLL for (int i = 0; i < PER16; i++)
        sum[i] = mean[i] = splat(0);
    FOR_SUBS(active) {
        if (u)
            exp_mean_row(s + at, splat(next), sum, mean);
        else
            exp_row(s + at, splat(next), sum);
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
    vf lse = splat(g->lse), big_d = splat(g->big_d);
    FOR_SUBS(g->active) {
        UNROLL for (int j = 0; j < SUB; j += VL) {
            vf x = load(s + at + j), p = exp_v(x - lse), d = p * (load(dp + at + j) - big_d);
            store(dp + at + j, (vf)((vi)d & ~(vi)(x == splat(-INFINITY))));
            store(s + at + j, p);
        }
    }
}

/* the same with every hook; the order of the products is that of grad_plain when the factors are 1 */
static void grad_full(const edk_attn_grad *g, float *s, float *dp) {
    vf lse = splat(g->lse), big_d = splat(g->big_d), d_e = splat(g->d_entropy), u = splat(g->mean_score), one = splat(1.0f);
    FOR_SUBS(g->active) {
        for (int j = at; j < at + SUB; j += VL) {
            vf x = load(s + j), p = exp_v(x - lse), c = g->post ? load(g->post + j) : one, k = g->drop ? load(g->drop + j) : one, f = c * k;
            vi seen = ~(vi)(x == splat(-INFINITY));
            vf w = load(dp + j), d = p * (w * f - big_d);
            if (g->d_entropy != 0)
                d -= d_e * p * (x - u);
            d = (vf)((vi)d & seen);
            if (g->d_post)
                store(g->d_post + j, (vf)((vi)(w * k * p) & seen));
            if (g->gated)
                store(g->gated + j, d);
            if (g->raw)
                d += (vf)((vi)splat(g->d_hinge) & (vi)(load(g->raw + j) > splat(5.0f)));
            if (g->ds)
                store(g->ds + j, d);
            store(dp + j, g->slope ? (vf)((vi)(d * load(g->slope + j)) & seen) : d);
            store(s + j, p * f);
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

/* Philox4x32-10 on the eight blocks of a sub at once; 32-bit words in 64-bit lanes */
typedef uint64_t vu __attribute__((vector_size(64)));
#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
#define MUL_LOW(a, b) (vu)_mm512_mul_epu32((__m512i)(a), _mm512_set1_epi64(b)) /* low halves */
#else
#define MUL_LOW(a, b) ((a) & 0xFFFFFFFFu) * (b)
#endif

static void drop(ed_rng_key key, const uint32_t counter[4], uint32_t limit, float keep, uint32_t active, float *out) {
    FOR_SUBS(active) {
        vu x0 = {0, 1, 2, 3, 4, 5, 6, 7}, x1 = {0}, x2 = {0}, x3 = {0};
        uint32_t k0 = key.k[0], k1 = key.k[1];
        x0 += counter[0] + (uint32_t)(at / 4);
        x1 += counter[1], x2 += counter[2], x3 += counter[3];
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
            vu a = MUL_LOW(x0, 0xD2511F53u), b = MUL_LOW(x2, 0xCD9E8D57u);
            x0 = (b >> 32) ^ x1 ^ k0;
            x2 = (a >> 32) ^ x3 ^ k1;
            x1 = b & 0xFFFFFFFFu;
            x3 = a & 0xFFFFFFFFu;
        }
        for (int i = 0; i < 8; i++) {
            float *o = out + at + i;
            o[0] = (uint32_t)x0[i] < limit ? 0.0f : keep;
            o[8] = (uint32_t)x1[i] < limit ? 0.0f : keep;
            o[16] = (uint32_t)x2[i] < limit ? 0.0f : keep;
            o[24] = (uint32_t)x3[i] < limit ? 0.0f : keep;
        }
    }
}

extern const ed__attn_kernels CAT(edk_attention, ED_LEVEL);
const ed__attn_kernels CAT(edk_attention, ED_LEVEL) = {.gemm = gemm, .transpose = transpose, .finish = finish, .softmax = softmax, .multiply = multiply,
                                                       .scale = scale, .dot = dot, .grad = grad, .mask_labels = mask_labels, .mask_range = mask_range,
                                                       .gather = gather, .drop = drop};
