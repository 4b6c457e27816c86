/* tensor/kernel/product.c - the inner part of matrix products: C (+)= A * panels.
 *
 * Every element of C is ONE chain c = fma(a[i,k], b[k,j], c) over ascending k, starting from 0 or from C. Blocking over k stores C and goes on from the
 * stored value, which changes no bit; blocking over rows or panels touches no chain. So bits depend neither on m nor on how callers cut the work.
 *
 * A tile is `rows` x `vecs` vectors of accumulators in registers (as in BLIS: Van Zee & van de Geijn 2015). Many rows: A is packed in blocks of
 * [KBLOCK][rows] on the stack (stays in L1) and passes over a group of panels whose K-block stays in L2. Few rows (decode): rows are read in place and the
 * panels stream from memory once, several at a time: for the bandwidth of several streams, and to have enough independent chains. */
#include "tensor/kernel/pack.h"

enum { P = EDK_PANEL, VPP = P / W };
#if defined(EDK_AVX512)
enum { ROWS = 12, GROUP_ROWS = 6, FEW = 24 };
#define VECS(rows) ((rows) <= 2 ? 8 : (rows) <= 6 ? 4 : 2)
#else
enum { ROWS = 6, GROUP_ROWS = 6, FEW = 12 };
#define VECS(rows) ((rows) == 1 ? 8 : (rows) <= 3 ? 4 : 2)
#endif
enum { KBLOCK = 256, GROUP = 32, /* 32 panels x 256 x 32 floats = 1 MiB of B in L2 */
       STREAM_K = 128,             /* 2 panels x 128 x 32 floats = 32 KiB in L1 */
       AHEAD = 2048 };             /* bytes that few rows prefetch ahead in a panel */

/* The constants of one tile. stream: B comes from memory, so prefetch it. */
typedef struct form {
    int rows, vecs;
    bool bf16, stream;
} form;

/* b: first column of the tile in its panel; panel_step: elements from one panel to the next. */
EDK_INLINE void tile(const form f, int64_t k, const float *a, int64_t a_row, int64_t a_k, const void *b, int64_t panel_step, float *c, int64_t ldc,
                     bool acc) {
    const int elem = f.bf16 ? 2 : 4;
    vf s[ROWS][8];
    EDK_UNROLL
    for (int i = 0; i < f.rows; i++)
        EDK_UNROLL
        for (int v = 0; v < f.vecs; v++)
            s[i][v] = acc ? vload(c + i * ldc + v * W) : (vf){0};
    for (int64_t t = 0; t < k; t++) {
        vf bv[8];
        EDK_UNROLL
        for (int v = 0; v < f.vecs; v++) {
            const char *at = (const char *)b + (t * P + (v / VPP) * panel_step + (v % VPP) * W) * elem;
            if (f.stream && v * W * elem % 64 == 0) /* once a cache line */
                __builtin_prefetch((const void *)((uintptr_t)at + AHEAD), 0, 3); /* may point past the end: a hint, never an access */
            bv[v] = f.bf16 ? vload_bf16((const uint16_t *)(const void *)at) : vload((const float *)(const void *)at);
        }
        EDK_UNROLL
        for (int i = 0; i < f.rows; i++) {
            vf av = vset(a[i * a_row + t * a_k]);
            EDK_UNROLL
            for (int v = 0; v < f.vecs; v++)
                s[i][v] = vfma(av, bv[v], s[i][v]);
        }
    }
    EDK_UNROLL
    for (int i = 0; i < f.rows; i++)
        EDK_UNROLL
        for (int v = 0; v < f.vecs; v++)
            vstore(c + i * ldc + v * W, s[i][v]);
}

typedef struct job {
    int64_t k, panel_step; /* length of this K-block; elements per whole panel */
    const float *a;
    int64_t a_row; /* rows in place: distance of rows; packed: 0 */
    const void *b; /* K-block of panel 0 */
    float *c;
    int64_t ldc, n;
    bool acc;
} job;

EDK_INLINE const void *at_elem(const void *b, bool bf16, int64_t i) {
    return bf16 ? (const void *)((const uint16_t *)b + i) : (const void *)((const float *)b + i);
}

/* All tiles of one row block over panels [p, end), all of them whole. packed: A is [k][rows], else rows in place and B streams from memory. */
EDK_INLINE void row_block(const int rows, const bool packed, const bool bf16, const job *j, int64_t p, int64_t end) {
    const int vecs = VECS(rows), wide = vecs > VPP ? vecs / VPP : 1, narrow = vecs < VPP ? vecs : VPP;
    const int64_t a_row = packed ? 1 : j->a_row, a_k = packed ? rows : 1;
    for (; wide > 1 && p + wide <= end; p += wide)
        tile((form){rows, vecs, bf16, !packed}, j->k, j->a, a_row, a_k, at_elem(j->b, bf16, p * j->panel_step), j->panel_step, j->c + p * P, j->ldc,
             j->acc);
    for (; p < end; p++)
        for (int v = 0; v < VPP; v += narrow)
            tile((form){rows, narrow, bf16, !packed}, j->k, j->a, a_row, a_k, at_elem(j->b, bf16, p * j->panel_step + v * W), j->panel_step,
                 j->c + p * P + v * W, j->ldc, j->acc);
}

/* Not inlined: one copy of each size, so that code stays small and each gets its own registers. */
#define DEFINE(rows, packed)                                                                                                        \
    static __attribute__((noinline)) void block_f32_##packed##_##rows(const job *j, int64_t p, int64_t end) {                       \
        row_block(rows, packed, false, j, p, end);                                                                                  \
    }                                                                                                                               \
    static __attribute__((noinline)) void block_bf16_##packed##_##rows(const job *j, int64_t p, int64_t end) {                      \
        row_block(rows, packed, true, j, p, end);                                                                                   \
    }
#define ENTRY(rows, packed) {block_f32_##packed##_##rows, block_bf16_##packed##_##rows},
#define UP_TO_6(X, packed) X(1, packed) X(2, packed) X(3, packed) X(4, packed) X(5, packed) X(6, packed)
#if defined(EDK_AVX512)
#define UP_TO_ROWS(X, packed) UP_TO_6(X, packed) X(7, packed) X(8, packed) X(9, packed) X(10, packed) X(11, packed) X(12, packed)
#else
#define UP_TO_ROWS(X, packed) UP_TO_6(X, packed)
#endif
UP_TO_6(DEFINE, 0)
UP_TO_ROWS(DEFINE, 1)
typedef void (*block_fn)(const job *j, int64_t p, int64_t end);
static const block_fn IN_PLACE[GROUP_ROWS][2] = {UP_TO_6(ENTRY, 0)}, PACKED[ROWS][2] = {UP_TO_ROWS(ENTRY, 1)};

/* Panels [p, end) for `rows` rows; a last panel with fewer than 32 columns goes through a tile of its own. */
static void run_block(int rows, bool packed, bool bf16, const job *j, int64_t p, int64_t end) {
    block_fn fn = packed ? PACKED[rows - 1][bf16] : IN_PLACE[rows - 1][bf16];
    int64_t whole = j->n / P;
    int64_t stop = end < whole ? end : whole;
    if (p < stop)
        fn(j, p, stop);
    if (end <= whole)
        return;
    float edge[ROWS * P] = {0};
    size_t bytes = (size_t)(j->n - whole * P) * sizeof(float);
    for (int i = 0; j->acc && i < rows; i++)
        memcpy(edge + i * P, j->c + i * j->ldc + whole * P, bytes);
    job last = *j;
    last.b = at_elem(j->b, bf16, whole * j->panel_step);
    last.c = edge;
    last.ldc = P;
    fn(&last, 0, 1);
    for (int i = 0; i < rows; i++)
        memcpy(j->c + i * j->ldc + whole * P, edge + i * P, bytes);
}

/* out[t*rows + i] = a[i*a_row + t*a_col] */
static void pack_a(int rows, int64_t k, const float *a, int64_t a_row, int64_t a_col, float *out) {
    int i = 0;
    int64_t k4 = a_col == 1 ? k & ~(int64_t)3 : 0;
    for (; a_col == 1 && i + 4 <= rows; i += 4) {
        for (int64_t t = 0; t < k4; t += 4)
            transpose4(a + i * a_row + t, a_row, out + t * rows + i, rows);
        for (int64_t t = k4; t < k; t++)
            for (int r = i; r < i + 4; r++)
                out[t * rows + r] = a[r * a_row + t];
    }
    for (int64_t t = 0; i < rows && t < k; t++)
        for (int r = i; r < rows; r++)
            out[t * rows + r] = a[r * a_row + t * a_col];
}

static void many_rows(int64_t m, int64_t k, int64_t a_col, bool bf16, job j, int64_t p, int64_t end, bool acc) {
    const float *a = j.a;
    const void *b = j.b;
    float *c = j.c, block[ROWS * KBLOCK];
    int64_t blocks = (m + ROWS - 1) / ROWS, each = m / blocks, longer = m % blocks; /* nearly equal row blocks */
    for (int64_t g = p; g < end; g += GROUP)
        for (int64_t t = 0; t < k; t += KBLOCK) {
            j.k = k - t < KBLOCK ? k - t : KBLOCK;
            j.acc = acc || t > 0;
            j.b = at_elem(b, bf16, t * P);
            int64_t row = 0;
            for (int64_t i = 0; i < blocks; i++) {
                int rows = (int)(each + (i < longer));
                pack_a(rows, j.k, a + row * j.a_row + t * a_col, j.a_row, a_col, block);
                job one = j;
                one.a = block;
                one.c = c + row * j.ldc;
                run_block(rows, true, bf16, &one, g, g + GROUP < end ? g + GROUP : end);
                row += rows;
            }
        }
}

/* Rows in place, in groups small enough for two panels at a time: memory is fastest with two streams or more. Where a panel is passed over more than once
 * (several groups, or tiles narrower than a panel), K-blocks of two panels stay in L1 between the passes. */
static void few_rows(int64_t m, int64_t k, bool bf16, job j, int64_t p, int64_t end, bool acc) {
    const int64_t groups = (m + GROUP_ROWS - 1) / GROUP_ROWS, each = m / groups, longer = m % groups;
    const bool once = groups == 1 && VECS(m) >= VPP;
    const int64_t step = once ? k : STREAM_K, width = once ? end - p : 2;
    const job whole = j;
    for (; p < end; p += width)
        for (int64_t t = 0; t < k; t += step) {
            j.k = k - t < step ? k - t : step;
            j.acc = acc || t > 0;
            j.b = at_elem(whole.b, bf16, t * P);
            j.a = whole.a + t;
            j.c = whole.c;
            for (int64_t i = 0; i < groups; i++) {
                int64_t rows = each + (i < longer);
                run_block((int)rows, false, bf16, &j, p, p + width < end ? p + width : end);
                j.a += rows * j.a_row;
                j.c += rows * j.ldc;
            }
        }
}

void EDK(gemm_panels)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_col, const void *b_packed, bool bf16, float *c,
                      int64_t ldc, int64_t panel_begin, int64_t panel_end, bool acc) {
    if (m <= 0 || panel_begin >= panel_end)
        return;
    if (k <= 0) {
        int64_t from = panel_begin * P, to = panel_end * P < n ? panel_end * P : n;
        for (int64_t i = 0; !acc && i < m; i++)
            memset(c + i * ldc + from, 0, (size_t)(to - from) * sizeof(float));
        return;
    }
    job j = {k, k * P, a, a_row, b_packed, c, ldc, n, acc};
    if (m <= FEW && a_col == 1)
        few_rows(m, k, bf16, j, panel_begin, panel_end, acc);
    else
        many_rows(m, k, a_col, bf16, j, panel_begin, panel_end, acc);
}

void EDK(gemm_packed)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b_packed, float *c, int64_t ldc,
                      int64_t panel_begin, int64_t panel_end, bool acc) {
    EDK(gemm_panels)(m, n, k, a, lda, 1, b_packed, false, c, ldc, panel_begin, panel_end, acc);
}

void EDK(gemm_packed_bf16)(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const uint16_t *b_packed, float *c, int64_t ldc,
                           int64_t panel_begin, int64_t panel_end, bool acc) {
    EDK(gemm_panels)(m, n, k, a, lda, 1, b_packed, true, c, ldc, panel_begin, panel_end, acc);
}
