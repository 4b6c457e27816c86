/* tensor/kernel/convert.c - f32 to and from the 16-bit storage formats, round to nearest even; NaN stays a (quiet) NaN.
 * bf16 is plain integer work that compilers vectorise; f16 uses the processor's converters where the level has them (F16C) and the same bits by
 * integer arithmetic elsewhere. */
#include "tensor/kernel/level.h"

EDK_INLINE uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
EDK_INLINE float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

void EDK(f32_to_bf16)(const float *x, uint16_t *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t u = bits_of(x[i]);
        uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (u >> 16) | 0x40u;
        y[i] = (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
    }
}

void EDK(bf16_to_f32)(const uint16_t *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = float_of((uint32_t)x[i] << 16);
}

/* Finite values go through the float adder: adding 2^k aligns the mantissa at the target's last place, so the processor does the rounding. */
EDK_INLINE uint16_t f16_of(float x) {
    uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x3ffu));
    if (a >= 0x47800000u) /* 65536 and more */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) /* below 2^-14: the result is subnormal, in units of 2^-24 */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - 0x3f000000u));
    uint32_t r = a + 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((r - 0x38000000u) >> 13)); /* rounding past 65504 carries into infinity */
}
EDK_INLINE float f16_value(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 0x3ffu;
    if (e == 31)
        return float_of(sign | 0x7f800000u | (m << 13) | (m ? 0x400000u : 0u));
    if (e == 0)
        return float_of(sign | bits_of((float)m * 5.9604644775390625e-8f));
    return float_of(sign | ((e + 112u) << 23) | (m << 13));
}

void EDK(f32_to_f16)(const float *x, uint16_t *y, int64_t n) {
    int64_t i = 0;
#if defined(EDK_AVX512) || defined(EDK_AVX2)
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#endif
    for (; i < n; i++)
        y[i] = f16_of(x[i]);
}

void EDK(f16_to_f32)(const uint16_t *x, float *y, int64_t n) {
    int64_t i = 0;
#if defined(EDK_AVX512) || defined(EDK_AVX2)
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(x + i))));
#endif
    for (; i < n; i++)
        y[i] = f16_value(x[i]);
}
