/* tensor/attention_kernel.h - contracts of the attention kernels. The source src/tensor/kernel/attention.c is compiled once per CPU level; the generic level is
 * plain C on four-lane vectors. Row kernels work on one row of a tile: ED_ATTENTION_TILE floats, of which only the subs (runs of 32) set in `active`
 * are touched. An element's value depends on its own operands in a fixed order, never on how many rows or columns ride along. */
#ifndef ED_TENSOR_ATTENTION_KERNEL_H
#define ED_TENSOR_ATTENTION_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "endec/base.h"

/** What turns raw scores into final ones. NULL pointers and 0 are off. All [128] arrays are indexed by the slot's place in the tile. */
typedef struct edk_attn_finish {
    uint32_t active, partial; /* subs to touch; those of them that need `mask` */
    const int32_t *mask;      /* [128] -1 visible, 0 hidden */
    float softcap;
    const float *bias, *extra, *kappa; /* [128] added in this order */
    float *slope;                      /* [128] out: derivative of the cap */
    float *raw;                        /* [128] out: score before kappa, -inf where hidden */
    float *hinge;                      /* += sum of max(raw, 5) - 5 over visible slots */
} edk_attn_finish;

typedef struct edk_attn_grad {
    uint32_t active;
    float lse, big_d;        /* log-sum-exp and D of the row */
    const float *post, *drop; /* [128] factors or NULL */
    float d_entropy, mean_score; /* cotangent of the entropy, u = sum p s */
    float d_hinge;
    const float *raw, *slope; /* [128] or NULL (hinge, cap) */
    float *ds, *gated;        /* [128] out or NULL: d score, and the part that reaches kappa */
    float *d_post;            /* [128] out or NULL: dP drop p */
} edk_attn_grad;

typedef struct ed__attn_kernels {
    /** c[i, j] (+)= sum_k a[i*ar + k*ac] b[k*ldb + j], i < m, j < n; n a multiple of 16. Each element is one chain of fused multiply-adds in ascending k
     *  (generic: multiply, then add), starting from c (acc) or 0. */
    void (*gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t ar, int64_t ac, const float *b, int64_t ldb, float *c, int64_t ldc, bool acc);
    /** dst[c * 128 + r] = src[r * ld + c] for r < rows (a multiple of 8, <= 128), c < cols. */
    void (*transpose)(const float *src, int64_t ld, int64_t rows, int64_t cols, float *dst);
    void (*finish)(const edk_attn_finish *f, float *s);
    /** s becomes e^(s - m') and the row's m, l (and u = sum e^(s-m) s when not NULL) take the tile in; returns the factor e^(m - m') for what was summed before. A tile
     *  without a visible slot gives zeros and the factor 1. */
    float (*softmax)(float *s, uint32_t active, float *m, float *l, float *u);
    void (*multiply)(float *s, uint32_t active, const float *factor);
    void (*scale)(float *x, int64_t n, float f);
    float (*dot)(const float *x, const float *y, int64_t n); /* sixteen partial sums by index mod 16 */
    /** s -> p * post * drop, dp -> d (scale q.k). Hidden slots (s = -inf) give exact zeros. */
    void (*grad)(const edk_attn_grad *g, float *s, float *dp);
    /** mask of one sub from labels: [32] arrays of the keys, the row's own labels. */
    void (*mask_labels)(const int32_t *order, const int32_t *group, const int32_t *valid, int32_t q_order, int32_t q_group, int32_t q_limit, int32_t q_low,
                        int32_t *mask);
    /** mask of one sub: slots lo..hi (inclusive, relative to the sub) are visible. */
    void (*mask_range)(int64_t lo, int64_t hi, int32_t *mask);
    /** out[j] = table[clamp(k_pos[j] - base, 0, n - 1)]. */
    void (*gather)(const float *table, int64_t n, const int32_t *k_pos, int64_t base, uint32_t active, float *out);
    /** Dropout factors of a row: slot 32 a + 8 w + i takes word w of the Philox block with counter (counter[0] + 8 a + i, counter[1..3]); a word below limit gives
     *  0, another keep. */
    void (*drop)(ed_rng_key key, const uint32_t counter[4], uint32_t limit, float keep, uint32_t active, float *out);
} ed__attn_kernels;

/** The kernels of the level in use (ed_cpu_get); of one level, NULL when the machine or build lacks it. */
const ed__attn_kernels *ed__attn_kernels_now(void);
const ed__attn_kernels *ed__attn_kernels_at(ed_cpu_level level);

#endif
