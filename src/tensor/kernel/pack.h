/* tensor/kernel/pack.h - the 4x4 transpose that packing of A (product.c) and of B (pack.c) share. */
#ifndef ED_TENSOR_KERNEL_PACK_H
#define ED_TENSOR_KERNEL_PACK_H

#include "tensor/kernel/level.h"

typedef float v4 __attribute__((vector_size(16)));
typedef float v4_mem __attribute__((vector_size(16), aligned(4), may_alias));

/** dst[r + c*dst_step] = src[r*src_step + c] for r, c in 0..3. */
EDK_INLINE void transpose4(const float *src, int64_t src_step, float *dst, int64_t dst_step) {
    v4 a = *(const v4_mem *)src, b = *(const v4_mem *)(src + src_step);
    v4 c = *(const v4_mem *)(src + 2 * src_step), d = *(const v4_mem *)(src + 3 * src_step);
    v4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    v4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(v4_mem *)dst = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(v4_mem *)(dst + dst_step) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(v4_mem *)(dst + 2 * dst_step) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
    *(v4_mem *)(dst + 3 * dst_step) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

#endif
