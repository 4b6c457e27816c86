/* tensor/kernel_bf16.h - contracts of the bf16 product kernels: operands rounded to bf16 while they are packed into tiles, products summed in f32. Levels with
 * bf16 instructions have them (avx512bf16: VDPBF16PS, amx: TDPBF16PS); at the others ed__bf16_kernels_at gives NULL.
 *
 * A tile holds 16 rows of A (or 16 columns of B) by 32 of the inner axis k, 512 values or 1 KiB, zero-padded. A's tile is [16 rows][32 k]; B's is in
 * pairs along k, [16 k pairs][16 columns][2]. Tiles along k follow each other; `step` is the distance in elements from one group of 16 rows (columns) to the next.
 *
 * Each element of C is one chain over ascending pairs of k, in the order and with the rounding of the level's instruction, starting from 0, from C or from a given row; so its
 * bits depend neither on m and n nor on how callers cut rows, columns and (at multiples of 32) k. Both instructions take denormals for zero and flush
 * denormal results; so does the rounding to bf16. */
#ifndef ED_TENSOR_KERNEL_BF16_H
#define ED_TENSOR_KERNEL_BF16_H

#include "tensor/kernel.h"

enum { EDK_TILE = 16, EDK_TILE_K = 32, EDK_TILE_SIZE = EDK_TILE * EDK_TILE_K };

typedef struct ed__bf16_kernels {
    /** Element (i, t) of the operand at x[i*outer_step + t*k_step], i < outer, t < k. pairs: B's layout, else A's. out 64-byte aligned. */
    void (*pack)(int64_t outer, int64_t k, const float *x, int64_t outer_step, int64_t k_step, bool pairs, uint16_t *out, int64_t step);
    /** c[i*c_row + j] = from[i*from_row + j] + the product over k_tiles tiles, i < rows, j < cols. from: NULL for 0; c itself with c_row to accumulate;
     *  a row with from_row 0 to start every row from it. */
    void (*multiply)(int64_t rows, int64_t cols, int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, float *c,
                     int64_t c_row, const float *from, int64_t from_row);
} ed__bf16_kernels;

const ed__bf16_kernels *ed__bf16_kernels_at(ed_cpu_level level);

/** The product of ed__gemm_f32 with bf16 = true and k > 0. False, with C untouched: the CPU level in use has no bf16 kernels. (gemm_bf16.c) */
bool ed__bf16_gemm(const ed__gemm_args *args);

#endif
