/* tensor/kernel/pack.c - B of a matrix product into panels of 32 columns: panel p is [k][32], its missing columns zero.
 * The inner kernel then reads B front to back whatever B's strides were. */
#include "tensor/kernel/pack.h"

enum { P = EDK_PANEL };

/* Columns are contiguous along k (a weight [out, in] seen as B = W^T): 4x4 transposes, then the rest one by one. */
static void pack_columns(int64_t k, int64_t cols, const float *b, int64_t stride_j, float *out) {
    int64_t j = 0, k4 = k & ~(int64_t)3;
    for (; j + 4 <= cols; j += 4) {
        for (int64_t i = 0; i < k4; i += 4)
            transpose4(b + j * stride_j + i, stride_j, out + i * P + j, P);
        for (int64_t i = k4; i < k; i++)
            for (int64_t t = j; t < j + 4; t++)
                out[i * P + t] = b[t * stride_j + i];
    }
    for (; j < cols; j++)
        for (int64_t i = 0; i < k; i++)
            out[i * P + j] = b[j * stride_j + i];
}

static void pack_rows(int64_t k, int64_t cols, const float *b, int64_t stride_k, int64_t stride_j, float *out) {
    if (stride_j == 1 && cols == P) {
        for (int64_t i = 0; i < k; i++)
            memcpy(out + i * P, b + i * stride_k, P * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < cols; j++)
            out[i * P + j] = b[i * stride_k + j * stride_j];
}

static int64_t columns_of(int64_t n, int64_t panel) {
    int64_t left = n - panel * P;
    return left < P ? left : P;
}

void EDK(pack_b)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, float *packed, int64_t panel_begin, int64_t panel_end) {
    for (int64_t p = panel_begin; p < panel_end; p++) {
        int64_t cols = columns_of(n, p);
        float *out = packed + p * k * P;
        const float *from = b + p * P * stride_j;
        for (int64_t i = 0; cols < P && i < k; i++)
            memset(out + i * P + cols, 0, (size_t)(P - cols) * sizeof(float));
        if (stride_k == 1 && k > 1)
            pack_columns(k, cols, from, stride_j, out);
        else
            pack_rows(k, cols, from, stride_k, stride_j, out);
    }
}

void EDK(pack_b_bf16)(int64_t n, int64_t k, const uint16_t *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                      int64_t panel_end) {
    for (int64_t p = panel_begin; p < panel_end; p++) {
        int64_t cols = columns_of(n, p);
        uint16_t *out = packed + p * k * P;
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < P; j++)
                out[i * P + j] = j < cols ? b[i * stride_k + (p * P + j) * stride_j] : (uint16_t)0;
    }
}

/* Through a stack block of f32 panels, so that the strided reading is written once. */
void EDK(pack_b_to_bf16)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                         int64_t panel_end) {
    enum { ROWS = 64 };
    float block[ROWS * P];
    for (int64_t p = panel_begin; p < panel_end; p++)
        for (int64_t i = 0; i < k; i += ROWS) {
            int64_t rows = k - i < ROWS ? k - i : ROWS;
            EDK(pack_b)(columns_of(n, p), rows, b + i * stride_k + p * P * stride_j, stride_k, stride_j, block, 0, 1);
            EDK(f32_to_bf16)(block, packed + (p * k + i) * P, rows * P);
        }
}
