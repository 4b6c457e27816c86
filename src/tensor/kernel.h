/* tensor/kernel.h - contracts of the F32 kernels. The sources in src/tensor/kernel/ are compiled once per CPU level (cmake/kernels.cmake) and found through
 * ed__kernels(), which follows ed_cpu_set. The generic level is the plain C twin that every other level is tested against.
 *
 * Common promises: no alignment is required of pointers; sizes may be 0; buffers do not overlap unless stated; a result element depends only on its own
 * row/column inputs in a fixed order (never on how many rows or columns ride along, or on the thread that computes it). Levels may differ from each other
 * in the last bits (FMA, vector maths): error bounds stand beside each function. */
#ifndef ED_TENSOR_KERNEL_H
#define ED_TENSOR_KERNEL_H

#include <stdint.h>

#include "endec/base.h"
#include "endec/ops.h"

/** Columns of one packed weight panel. */
enum { EDK_PANEL = 32 };

/** Numbers of one AdamW step: m = beta1 m + c1 g;  v = beta2 v + c2 g g;  w = keep w - size m / (sqrt(v) root + eps). */
typedef struct edk_adamw {
    float beta1, c1, beta2, c2, size, root, eps, keep;
} edk_adamw;

typedef struct ed__kernel_table {
    const char *name;
    /* ---- elementwise, n elements; y may equal x. |error| <= 4 ulp of the f64 result unless the result is below 1e-37 */
    void (*unary)(int kind /* ed_unary */, double param, const float *x, float *y, int64_t n);
    /** dx (+)= dy * f'(x); y = f(x) as forward gave it. add: accumulate, else overwrite. */
    void (*unary_grad)(int kind, double param, const float *x, const float *y, const float *dy, float *dx, int64_t n, bool add);
    void (*exp_sub)(const float *x, float max, float *y, int64_t n); /* y = exp(x - max); -inf gives 0 */
    /* ---- reductions in a fixed order that does not depend on the level's vector width: 16 partial sums by index mod 16, folded 8-4-2-1 */
    float (*sum)(const float *x, int64_t n);
    float (*dot)(const float *x, const float *y, int64_t n);
    float (*max)(const float *x, int64_t n);        /* -inf for n = 0; NaN anywhere gives NaN */
    float (*sum_sq_dev)(const float *x, float mean, int64_t n); /* sum (x-mean)^2 */
    /* ---- linear combinations: y = a*x + y;  y = a*x + b*y;  y *= a;  y += x; z = x*y; z += x*y */
    void (*axpy)(float a, const float *x, float *y, int64_t n);
    void (*axpby)(float a, const float *x, float b, float *y, int64_t n);
    void (*scale)(float a, float *y, int64_t n);
    void (*add)(const float *x, float *y, int64_t n);
    void (*mul)(const float *x, const float *y, float *z, int64_t n);
    void (*mul_add)(const float *x, const float *y, float *z, int64_t n);
    /* ---- inner loops of rows (rows.c); the same bits at every level but for exp
     * norms: y = (x - mean) rstd [w] [+ b] (w, b may be NULL);  g = dy [w], h = (x - mean) rstd;  dx (+)= rstd (g - mean_g - h mean_gh);
     * sum_w[j] += dy[r, j] (x[r, j] - mean[r]) rstd[r] and sum_b[j] += dy[r, j] over ascending rows r (mean NULL: 0) */
    void (*norm_apply)(const float *x, float mean, float rstd, const float *w, const float *b, float *y, int64_t n);
    void (*norm_terms)(const float *x, const float *dy, const float *w, float mean, float rstd, float *g, float *h, int64_t n);
    void (*norm_grad)(const float *g, const float *h, float rstd, float mean_g, float mean_gh, float *dx, int64_t n, bool add);
    void (*norm_params)(int64_t rows, int64_t n, const float *x, int64_t x_step, const float *dy, int64_t dy_step, const float *mean, const float *rstd,
                        float *sum_w, float *sum_b);
    void (*add_columns)(int64_t rows, int64_t n, const float *x, int64_t step, double *sum); /* sum[j] += x[r*step + j], rows ascending */
    double (*sum_squares)(const float *x, int64_t n);                                        /* in f64; partial sums as in `sum` */
    void (*exp_sums)(const float *x, float max, int64_t n, float *sum_exp, float *sum_dev);  /* sums of exp(x - max) and of x - max */
    void (*softmax_grad)(const float *x, float max, float factor, float each, float *dx, int64_t n, bool add); /* dx (+)= factor exp(x - max) - each */
    void (*drop_scale)(const float *x, const uint32_t *words, uint32_t threshold, float factor, float *y, int64_t n,
                       bool add); /* y (+)= words >= threshold ? factor x : 0 */
    void (*adamw)(const edk_adamw *a, float *w, float *m, float *v, const float *g, int64_t n);
    /* ---- conversions */
    void (*f32_to_bf16)(const float *x, uint16_t *y, int64_t n); /* round to nearest even */
    void (*bf16_to_f32)(const uint16_t *x, float *y, int64_t n);
    void (*f32_to_f16)(const float *x, uint16_t *y, int64_t n);
    void (*f16_to_f32)(const uint16_t *x, float *y, int64_t n);
    /* ---- random words: those of ed_philox for the counters {b low, b high, counter[2], counter[3]}, b = block .. block + blocks - 1. words: [blocks][4] */
    void (*philox)(ed_rng_key key, uint64_t block, const uint32_t counter[4], uint32_t *words, int64_t blocks);
    /* ---- matrix product on packed B. Panel p of the packed form holds columns p*EDK_PANEL.. as [k][EDK_PANEL], zero-padded.
     * c[i, j] (+)= sum_k a[i, k] b[k, j], each element ONE chain of fused multiply-adds in ascending k (generic: fmaf-free mul+add), so a row's bits do not
     * depend on m. lda, ldc in elements. Computes columns [panel_begin*32, min(panel_end*32, n)). acc: add to c (chain starts from c), else from 0. */
    void (*gemm_packed)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b_packed, float *c, int64_t ldc, int64_t panel_begin,
                        int64_t panel_end, bool acc);
    /** As gemm_packed with bf16 weights in the same panel layout (values widened exactly to f32; same chain). */
    void (*gemm_packed_bf16)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const uint16_t *b_packed, float *c, int64_t ldc,
                             int64_t panel_begin, int64_t panel_end, bool acc);
    /** The general form of both: element (i, k) of A at a[i*a_row + k*a_col]; b_packed holds f32 or (bf16 = true) bf16 panels. */
    void (*gemm_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_col, const void *b_packed, bool bf16, float *c,
                        int64_t ldc, int64_t panel_begin, int64_t panel_end, bool acc);
    /** Packs B given as element (k, j) at b[k*stride_k + j*stride_j] into panels [panel_begin, panel_end). */
    void (*pack_b)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, float *packed, int64_t panel_begin, int64_t panel_end);
    void (*pack_b_bf16)(int64_t n, int64_t k, const uint16_t *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                        int64_t panel_end);
    /** Rounds while packing: f32 source, bf16 panels. */
    void (*pack_b_to_bf16)(int64_t n, int64_t k, const float *b, int64_t stride_k, int64_t stride_j, uint16_t *packed, int64_t panel_begin,
                           int64_t panel_end);
} ed__kernel_table;

/** The table of the level in use (ed_cpu_get). */
const ed__kernel_table *ed__kernels(void);
/** The table of one level, NULL when this build or machine lacks it (tests). */
const ed__kernel_table *ed__kernels_at(ed_cpu_level level);

/* ---- products over the kernels and, for large non-strict ones, oneDNN (gemm.c). C (+)= op(A) op(B), row-major with element strides, so that any transposed
 * or strided view works without a copy by the caller. Threads split over outputs only.
 * strict: own kernels, row bits independent of m. bf16: operands rounded to bf16, f32 accumulation (training only; kernel_bf16.h where the CPU level has
 * bf16 instructions).
 * Always returns ED_OK: short of memory it works in small pieces. */
typedef struct ed__gemm_args {
    int64_t m, n, k;
    const float *a; /* element (i,k) at a[i*a_row + k*a_col] */
    int64_t a_row, a_col;
    const float *b; /* element (k,j) at b[k*b_row + j*b_col] */
    int64_t b_row, b_col;
    float *c; /* element (i,j) at c[i*c_row + j] */
    int64_t c_row;
    bool accumulate, strict, bf16;
    const float *bias; /* [n], contiguous: C starts as the bias in every row (accumulate must be false); NULL: none */
} ed__gemm_args;
ed_status ed__gemm_f32(const ed__gemm_args *args);

/** y[m, out] (+)= x[m, in] * w^T for a weight that does not change between calls: packed once (on the parameter, see ed_param.packed) and streamed.
 *  dtype of the pack: F32 or BF16 (F16 widens to F32 panels). */
typedef struct ed__packed ed__packed;
ed_status ed__packed_create(ed_dtype dtype, int64_t out, int64_t in, const void *w, int64_t stride_out, int64_t stride_in, ed__packed **result);
void ed__packed_destroy(ed__packed **p);
size_t ed__packed_bytes(const ed__packed *p);
/** The parameter's pack as a matrix [out, in], made or renewed when its version changed; thread-safe. NULL when memory is short. */
const ed__packed *ed__packed_of(ed_param *param, int64_t out, int64_t in);
/** y[m, n] from output columns [first, first + n) only; first must be a multiple of EDK_PANEL. */
void ed__packed_linear_part(const ed__packed *p, int64_t first, int64_t n, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row,
                            bool accumulate);
void ed__packed_linear(const ed__packed *p, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row, bool accumulate);

#endif
