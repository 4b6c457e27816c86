/* tensor/kernel/philox.c - many blocks of Philox4x32-10 at once (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): one block per vector lane.
 * Whole numbers only, so every level gives the words of ed_philox exactly. */
#include "tensor/kernel/level.h"

enum { ROUNDS = 10 };
static const uint32_t MUL0 = 0xD2511F53u, MUL1 = 0xCD9E8D57u, KEY0_STEP = 0x9E3779B9u, KEY1_STEP = 0xBB67AE85u;
typedef uint64_t vq __attribute__((vector_size(4 * W)));

/** 64-bit products of the even lanes (low halves of the 64-bit lanes). */
EDK_INLINE vq mul_even(vq a, vq b) {
#if defined(EDK_AVX512)
    return (vq)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(EDK_AVX2)
    return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffffu) * (b & 0xffffffffu);
#endif
}

/** High and low words of x * m, lane by lane. */
EDK_INLINE void mul_wide(vu x, uint32_t m, vu *hi, vu *lo) {
    const vq low = (vq){0} + 0xffffffffu, vm = (vq){0} + m;
    vq even = mul_even((vq)x, vm), odd = mul_even((vq)x >> 32, vm);
    *hi = (vu)((even >> 32) | (odd & ~low));
    *lo = (vu)((even & low) | (odd << 32));
}

/** The four words of W blocks, side by side, to block-major order: words [W][4]. */
EDK_INLINE void interleave(vu a, vu b, vu c, vu d, uint32_t *words) {
    /* 64-bit pairs of words: a0 b0, a2 b2, ... and a1 b1, a3 b3, ...; then the same with c and d */
    const vq low = (vq){0} + 0xffffffffu;
    vq ab_even = ((vq)a & low) | ((vq)b << 32), ab_odd = ((vq)a >> 32) | ((vq)b & ~low);
    vq cd_even = ((vq)c & low) | ((vq)d << 32), cd_odd = ((vq)c >> 32) | ((vq)d & ~low);
    uint64_t t[4][W / 2];
    memcpy(t[0], &ab_even, sizeof ab_even);
    memcpy(t[1], &cd_even, sizeof cd_even);
    memcpy(t[2], &ab_odd, sizeof ab_odd);
    memcpy(t[3], &cd_odd, sizeof cd_odd);
    for (int i = 0; i < W / 2; i++)
        for (int k = 0; k < 4; k++)
            memcpy(words + 8 * i + 2 * k, &t[k][i], sizeof t[k][i]);
}

/** Blocks block .. block + W - 1. words: [W][4] */
EDK_INLINE void lanes(ed_rng_key key, uint64_t block, const uint32_t counter[4], uint32_t *words) {
    vu lane = {0}, c0, c1, c2 = (vu){0} + counter[2], c3 = (vu){0} + counter[3], hi0, lo0, hi1, lo1;
    uint32_t k0 = key.k[0], k1 = key.k[1];
    EDK_UNROLL
    for (int i = 0; i < W; i++)
        lane[i] = (uint32_t)i;
    c0 = lane + (uint32_t)block;
    c1 = (uint32_t)(block >> 32) - (vu)(c0 < lane); /* a carry shows as c0 < lane, whose mask is -1 */
    EDK_UNROLL
    for (int r = 0; r < ROUNDS; r++) {
        mul_wide(c0, MUL0, &hi0, &lo0);
        mul_wide(c2, MUL1, &hi1, &lo1);
        c0 = hi1 ^ c1 ^ k0;
        c1 = lo1;
        c2 = hi0 ^ c3 ^ k1;
        c3 = lo0;
        k0 += KEY0_STEP;
        k1 += KEY1_STEP;
    }
    interleave(c0, c1, c2, c3, words);
}

void EDK(philox)(ed_rng_key key, uint64_t block, const uint32_t counter[4], uint32_t *words, int64_t blocks) {
    int64_t i = 0;
    for (; i + W <= blocks; i += W)
        lanes(key, block + (uint64_t)i, counter, words + 4 * i);
    if (i < blocks) {
        uint32_t rest[4 * W];
        lanes(key, block + (uint64_t)i, counter, rest);
        memcpy(words + 4 * i, rest, (size_t)(blocks - i) * 4 * sizeof *words);
    }
}
