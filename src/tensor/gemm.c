/* tensor/gemm.c - f32 matrix products of any strides over the panel kernels.
 *
 * C (+)= A B. B is packed a chunk at a time (K_CHUNK rows x some panels) and multiplied; chunks follow each other in ascending k, so that every element of
 * C stays one chain (kernel.h) whatever the chunk sizes, the split over threads, or m. Ways to go:
 *   - few rows or little work: chunks of one panel on the stack, no heap; with enough work each thread does its own panels;
 *   - many rows: a chunk of up to CHUNK_FLOATS on the heap, packed and multiplied by all threads; without memory for it, the first way;
 *   - large and not strict: oneDNN (gemm_dnnl.c);
 *   - bf16 where the processor has bf16 instructions: tiles (gemm_bf16.c). */
#include "base/internal.h"
#include "tensor/gemm_dnnl.h"
#include "tensor/kernel_bf16.h"

enum { P = EDK_PANEL, STACK_K = 128, FEW_ROWS = 12, ROUND_ROWS = 32, K_CHUNK = 1024 };
static const int64_t CHUNK_FLOATS = 1 << 20;      /* of packed B: 4 MiB, so that two threads' L2 hold it */
static const int64_t PARALLEL_MACS = 1 << 19;     /* some 5 us: below this a second thread costs more than it brings */
static const int64_t DNNL_MACS = (int64_t)1 << 20; /* below this oneDNN's set-up shows */

static int64_t panels_of(int64_t n) {
    return (n + P - 1) / P;
}
static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ------------------------------------------------------------------ one chunk of B at a time */

/* Rows [row, row + rows) of A from column t on, k of them, rounded to bf16: dense [rows][k]. */
static void round_rows(const ed__gemm_args *g, const ed__kernel_table *kt, int64_t row, int64_t rows, int64_t t, int64_t k, float *out) {
    uint16_t half[STACK_K];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t s = 0; s < k; s += STACK_K) {
            int64_t len = min64(STACK_K, k - s);
            float *to = out + i * k + s;
            for (int64_t q = 0; q < len; q++)
                to[q] = g->a[(row + i) * g->a_row + (t + s + q) * g->a_col];
            kt->f32_to_bf16(to, half, len);
            kt->bf16_to_f32(half, to, len);
        }
}

/* All rows [row, end) times panels [first, last) of a packed chunk that covers k of the inner axis from t on. */
typedef struct chunk {
    const ed__gemm_args *g;
    const ed__kernel_table *kt;
    int64_t t, k;          /* part of the inner axis */
    int64_t first, panels; /* part of the columns, in panels */
    void *packed;          /* [panels][k][P] f32, or bf16 when g->bf16 */
} chunk;

static void chunk_pack(const chunk *h, int64_t begin, int64_t end) {
    const ed__gemm_args *g = h->g;
    const float *b = g->b + h->t * g->b_row + h->first * P * g->b_col;
    int64_t n = g->n - h->first * P;
    if (g->bf16)
        h->kt->pack_b_to_bf16(n, h->k, b, g->b_row, g->b_col, h->packed, begin, end);
    else
        h->kt->pack_b(n, h->k, b, g->b_row, g->b_col, h->packed, begin, end);
}

static void chunk_multiply(const chunk *h, int64_t row, int64_t end, int64_t first, int64_t last) {
    const ed__gemm_args *g = h->g;
    bool acc = g->accumulate || h->t > 0;
    int64_t n = g->n - h->first * P;
    float *c = g->c + h->first * P, rounded[ROUND_ROWS * STACK_K];
    if (!g->bf16) {
        h->kt->gemm_panels(end - row, n, h->k, g->a + row * g->a_row + h->t * g->a_col, g->a_row, g->a_col, h->packed, false, c + row * g->c_row,
                           g->c_row, first, last, acc);
        return;
    }
    for (; row < end; row += ROUND_ROWS) { /* bf16: k <= STACK_K */
        int64_t rows = min64(ROUND_ROWS, end - row);
        round_rows(g, h->kt, row, rows, h->t, h->k, rounded);
        h->kt->gemm_panels(rows, n, h->k, rounded, h->k, 1, h->packed, true, c + row * g->c_row, g->c_row, first, last, acc);
    }
}

/* ------------------------------------------------------------------ without the heap */

static void stack_panels(void *ctx, int64_t begin, int64_t end) {
    const ed__gemm_args *g = ctx;
    float packed[STACK_K * P];
    chunk h = {.g = g, .kt = ed__kernels(), .panels = 1, .packed = packed};
    for (h.first = begin; h.first < end; h.first++)
        for (h.t = 0; h.t < g->k; h.t += STACK_K) {
            h.k = min64(STACK_K, g->k - h.t);
            chunk_pack(&h, 0, 1);
            chunk_multiply(&h, 0, g->m, 0, 1);
        }
}

/* ------------------------------------------------------------------ with a heap chunk and all threads */

static void pack_range(void *ctx, int64_t begin, int64_t end) {
    chunk_pack(ctx, begin, end);
}
static void panel_range(void *ctx, int64_t begin, int64_t end) {
    const chunk *h = ctx;
    chunk_multiply(h, 0, h->g->m, begin, end);
}
static void row_range(void *ctx, int64_t begin, int64_t end) {
    const chunk *h = ctx;
    chunk_multiply(h, begin * FEW_ROWS, min64(end * FEW_ROWS, h->g->m), 0, h->panels);
}

static bool heap_chunks(const ed__gemm_args *g) {
    int64_t k_step = min64(g->bf16 ? STACK_K : K_CHUNK, g->k), all = panels_of(g->n), step = CHUNK_FLOATS / (k_step * P);
    step = min64(step, all);
    chunk h = {.g = g, .kt = ed__kernels(), .packed = ed__malloc((size_t)(step * k_step * P) * sizeof(float))};
    if (!h.packed)
        return false;
    for (h.first = 0; h.first < all; h.first += step)
        for (h.t = 0; h.t < g->k; h.t += k_step) {
            h.panels = min64(step, all - h.first);
            h.k = min64(k_step, g->k - h.t);
            int64_t blocks = (g->m + FEW_ROWS - 1) / FEW_ROWS, macs = h.k * P;
            ed__parallel_for(h.panels, PARALLEL_MACS / 4 / macs + 1, pack_range, &h);
            if (blocks >= 4 * ed_threads_get())
                ed__parallel_for(blocks, PARALLEL_MACS / (macs * h.panels * FEW_ROWS) + 1, row_range, &h);
            else
                ed__parallel_for(h.panels, PARALLEL_MACS / (macs * g->m) + 1, panel_range, &h);
        }
    ed__free(h.packed);
    return true;
}

static void zero_rows(const ed__gemm_args *g) {
    for (int64_t i = 0; i < g->m; i++)
        memset(g->c + i * g->c_row, 0, (size_t)g->n * sizeof(float));
}

static void bias_rows(void *ctx, int64_t begin, int64_t end) {
    const ed__gemm_args *g = ctx;
    for (int64_t i = begin; i < end; i++)
        memcpy(g->c + i * g->c_row, g->bias, (size_t)g->n * sizeof(float));
}

ed_status ed__gemm_f32(const ed__gemm_args *g) {
    if (g->m <= 0 || g->n <= 0)
        return ED_OK;
    if (g->bias && !(g->bf16 && g->k > 0 && ed__bf16_kernels_at(ed_cpu_get()))) { /* those kernels lay the bias themselves */
        ed__gemm_args rest = *g;
        rest.accumulate = true;
        rest.bias = NULL;
        ed__parallel_for(g->m, PARALLEL_MACS / 16 / g->n + 1, bias_rows, (void *)g);
        return ed__gemm_f32(&rest);
    }
    if (g->k <= 0) {
        if (!g->accumulate)
            zero_rows(g);
        return ED_OK;
    }
    if (g->bf16 && ed__bf16_gemm(g))
        return ED_OK;
    ed__gemm_args own = *g;
    double macs = (double)g->m * (double)g->n * (double)g->k;
    if (!g->strict && macs >= (double)DNNL_MACS && ed__dnnl_gemm(g))
        return ED_OK;
    if (macs < (double)PARALLEL_MACS) {
        stack_panels(&own, 0, panels_of(g->n));
        return ED_OK;
    }
    if (g->m > FEW_ROWS && heap_chunks(&own))
        return ED_OK;
    ed__parallel_for(panels_of(g->n), PARALLEL_MACS / (g->k * P * min64(g->m, PARALLEL_MACS)) + 1, stack_panels, &own);
    return ED_OK;
}
