/* tensor/kernel/level.h - what differs between CPU levels, and nothing else: the vector width W, fused multiply-add, square root, partial loads.
 * Every kernel source is compiled once per level with ED_LEVEL=<level> and ED_LEVEL_<level> defined; EDK(name) gives its functions the level's suffix.
 * Vectors are the compilers' vector extensions (gcc and clang), so one source serves all levels; at the generic level they are 4 wide and lower
 * to plain arithmetic on any processor. The build has -ffp-contract=off: a multiply-add is fused only where vfma is written. */
#ifndef ED_TENSOR_KERNEL_LEVEL_H
#define ED_TENSOR_KERNEL_LEVEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tensor/kernel.h"

#if defined(ED_LEVEL_avx512) || defined(ED_LEVEL_avx512bf16)
#define EDK_AVX512 1
#elif defined(ED_LEVEL_avx2)
#define EDK_AVX2 1
#endif
#if defined(EDK_AVX512) || defined(EDK_AVX2)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define EDK_CAT2(a, b) a##_##b
#define EDK_CAT(a, b) EDK_CAT2(a, b)
#define EDK(name) EDK_CAT(edk_##name, ED_LEVEL)
#define EDK_INLINE static inline __attribute__((always_inline))
/* Complete unrolling of a loop with a constant count, so that an array of accumulators becomes registers. */
#if defined(__clang__)
#define EDK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EDK_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(EDK_AVX512)
enum { W = 16 };
#elif defined(EDK_AVX2)
enum { W = 8 };
#else
enum { W = 4 };
#endif
typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef float vf_mem __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef uint16_t vh __attribute__((vector_size(2 * W)));
typedef uint16_t vh_mem __attribute__((vector_size(2 * W), aligned(2), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * W)));

EDK_INLINE vf vload(const float *p) {
    return *(const vf_mem *)p;
}
EDK_INLINE void vstore(float *p, vf v) {
    *(vf_mem *)p = v;
}
EDK_INLINE vf vset(float x) {
    return x - (vf){0}; /* x - 0 is x for every x, -0 included */
}
/** m ? a : b, lane by lane; m lanes are all ones or zero. */
EDK_INLINE vf vsel(vi m, vf a, vf b) {
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
EDK_INLINE vf vabs(vf x) {
    return (vf)((vi)x & 0x7fffffff);
}
/** Magnitude of x with the sign of s. */
EDK_INLINE vf vcopysign(vf x, vf s) {
    return (vf)(((vi)x & 0x7fffffff) | ((vi)s & INT32_MIN));
}
/** bf16 to f32: exact. */
EDK_INLINE vf vload_bf16(const uint16_t *p) {
#if defined(EDK_AVX512)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16);
#elif defined(EDK_AVX2)
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16);
#else
    vh h = *(const vh_mem *)p;
    return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

/** a*b + c: one rounding at the levels with FMA, two at the generic one. */
EDK_INLINE vf vfma(vf a, vf b, vf c) {
#if defined(EDK_AVX512)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(EDK_AVX2)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}
EDK_INLINE vf vsqrt(vf x) {
#if defined(EDK_AVX512)
    return _mm512_sqrt_ps(x);
#elif defined(EDK_AVX2)
    return _mm256_sqrt_ps(x);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(x);
#else
    for (int i = 0; i < W; i++)
        x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

#if defined(EDK_AVX2)
/** Lane mask of the first r lanes. */
EDK_INLINE __m256i first_lanes(int64_t r) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)r), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif
/** The first r (0..W) floats at p, 0 in the other lanes; never touches memory past them. */
EDK_INLINE vf vload_part(const float *p, int64_t r) {
#if defined(EDK_AVX512)
    return _mm512_maskz_loadu_ps((__mmask16)((1u << r) - 1u), p);
#elif defined(EDK_AVX2)
    return _mm256_maskload_ps(p, first_lanes(r));
#else
    vf v = {0};
    for (int i = 0; i < W; i++)
        if (i < r)
            v[i] = p[i];
    return v;
#endif
}
EDK_INLINE void vstore_part(float *p, vf v, int64_t r) {
#if defined(EDK_AVX512)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << r) - 1u), v);
#elif defined(EDK_AVX2)
    _mm256_maskstore_ps(p, first_lanes(r), v);
#else
    for (int i = 0; i < W; i++)
        if (i < r)
            p[i] = v[i];
#endif
}
/** Lane numbers below r as a mask. */
EDK_INLINE vi vfirst(int64_t r) {
    vi lane = {0};
    EDK_UNROLL
    for (int i = 0; i < W; i++)
        lane[i] = i;
    return (vi)(lane < (int32_t)r);
}

/* ---- the functions of one level, gathered by table.c; contracts in tensor/kernel.h */
void EDK(unary)(int kind, double param, const float *x, float *y, int64_t n);
void EDK(unary_grad)(int kind, double param, const float *x, const float *y, const float *dy, float *dx, int64_t n, bool add);
void EDK(exp_sub)(const float *x, float max, float *y, int64_t n);
float EDK(sum)(const float *x, int64_t n);
float EDK(dot)(const float *x, const float *y, int64_t n);
float EDK(max)(const float *x, int64_t n);
float EDK(sum_sq_dev)(const float *x, float mean, int64_t n);
void EDK(axpy)(float a, const float *x, float *y, int64_t n);
void EDK(axpby)(float a, const float *x, float b, float *y, int64_t n);
void EDK(scale)(float a, float *y, int64_t n);
void EDK(add)(const float *x, float *y, int64_t n);
void EDK(mul)(const float *x, const float *y, float *z, int64_t n);
void EDK(mul_add)(const float *x, const float *y, float *z, int64_t n);
void EDK(norm_apply)(const float *x, float mean, float rstd, const float *w, const float *b, float *y, int64_t n);
void EDK(norm_terms)(const float *x, const float *dy, const float *w, float mean, float rstd, float *g, float *h, int64_t n);
void EDK(norm_grad)(const float *g, const float *h, float rstd, float mean_g, float mean_gh, float *dx, int64_t n, bool add);
void EDK(norm_params)(int64_t rows, int64_t n, const float *x, int64_t x_step, const float *dy, int64_t dy_step, const float *mean, const float *rstd,
                      float *sum_w, float *sum_b);
void EDK(add_columns)(int64_t rows, int64_t n, const float *x, int64_t step, double *sum);
double EDK(sum_squares)(const float *x, int64_t n);
void EDK(exp_sums)(const float *x, float max, int64_t n, float *sum_exp, float *sum_dev);
void EDK(softmax_grad)(const float *x, float max, float factor, float each, float *dx, int64_t n, bool add);
void EDK(drop_scale)(const float *x, const uint32_t *words, uint32_t threshold, float factor, float *y, int64_t n, bool add);
void EDK(adamw)(const edk_adamw *a, float *w, float *m, float *v, const float *g, int64_t n);
void EDK(f32_to_bf16)(const float *x, uint16_t *y, int64_t n);
void EDK(bf16_to_f32)(const uint16_t *x, float *y, int64_t n);
void EDK(f32_to_f16)(const float *x, uint16_t *y, int64_t n);
void EDK(f16_to_f32)(const uint16_t *x, float *y, int64_t n);
void EDK(gemm_packed)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b_packed, float *c, int64_t ldc,
                      int64_t panel_begin, int64_t panel_end, bool acc);
void EDK(gemm_packed_bf16)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const uint16_t *b_packed, float *c, int64_t ldc,
                           int64_t panel_begin, int64_t panel_end, bool acc);
void EDK(gemm_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_col, const void *b_packed, bool bf16, float *c,
                      int64_t ldc, int64_t panel_begin, int64_t panel_end, bool acc);
void EDK(pack_b)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, float *packed, int64_t panel_begin, int64_t panel_end);
void EDK(pack_b_bf16)(int64_t n, int64_t k, const uint16_t *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                      int64_t panel_end);
void EDK(pack_b_to_bf16)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                         int64_t panel_end);
void EDK(philox)(ed_rng_key key, uint64_t block, const uint32_t counter[4], uint32_t *words, int64_t blocks);
extern const ed__kernel_table EDK(table);

#endif
