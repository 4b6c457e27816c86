/* tensor/kernel/bf16.c - bf16 product kernels (contracts in tensor/kernel_bf16.h): packing f32 matrices of any strides into bf16 tiles, and products of
 * tiles by the matrix unit (amx) or by dot-product instructions (avx512bf16). Empty at the other levels.
 *
 * Packing reads along whichever axis is contiguous. Along k, sixteen rows of 32 values give A's tile as it is; along the outer axis, rows 2p and 2p + 1 are
 * interleaved and give B's tile as it is. The other two cases differ by one transposition of a 16 x 16 matrix of 32-bit pairs, done in registers.
 *
 * Products: a block of 32 x 32 of C stays in four tile registers while k runs (Intel 64 and IA-32 Optimization Manual, chapter on AMX); without tiles, 8 x 32
 * in sixteen vectors. The compilers' tile intrinsics do not all tell the compiler that they read memory, hence the barriers. */
#include "tensor/kernel_bf16.h"

#include "tensor/kernel/level.h"

const ed__bf16_kernels *EDK(bf16_kernels)(void);

#if defined(ED_LEVEL_avx512bf16)
enum { T = EDK_TILE, TK = EDK_TILE_K, SIZE = EDK_TILE_SIZE };

/* ------------------------------------------------------------------ packing */

/* The first n of 16 lanes. */
EDK_INLINE __mmask16 first_mask(int64_t n) {
    return (__mmask16)(n >= 16 ? 0xffffu : n <= 0 ? 0u : (1u << n) - 1u);
}

EDK_INLINE __mmask16 mask_if(bool in, __mmask16 m) {
    return (__mmask16)(in ? m : 0);
}

/* z[i] = row i of 16, 32 values along k each. Rows past `outer` are read as row 0 under an empty mask. */
EDK_INLINE void load_along_k(int64_t outer, int64_t k, const float *x, int64_t step, __m512i z[16]) {
    __mmask16 low = first_mask(k), high = first_mask(k - 16);
    EDK_UNROLL
    for (int i = 0; i < 16; i++) {
        bool in = i < outer;
        const float *p = x + (in ? i : 0) * step;
        __m512 a = _mm512_maskz_loadu_ps(mask_if(in, low), p), b = _mm512_maskz_loadu_ps(mask_if(in, high), p + 16);
        z[i] = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    }
}

/* z[p] = pairs (k = 2p, 2p + 1) of 16 outer values. */
EDK_INLINE void load_across(int64_t outer, int64_t k, const float *x, int64_t step, __m512i z[16]) {
    const __m512i weave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                                           16, 0);
    __mmask16 lanes = first_mask(outer);
    EDK_UNROLL
    for (int p = 0; p < 16; p++) {
        bool even = 2 * p < k, odd = 2 * p + 1 < k;
        __m512 a = _mm512_maskz_loadu_ps(mask_if(even, lanes), x + (even ? 2 * p : 0) * step);
        __m512 b = _mm512_maskz_loadu_ps(mask_if(odd, lanes), x + (odd ? 2 * p + 1 : 0) * step);
        z[p] = _mm512_permutexvar_epi16(weave, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    }
}

EDK_INLINE void transpose16(__m512i z[16]) {
    __m512i t[16], u[16];
    EDK_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(z[i], z[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(z[i], z[i + 1]);
    }
    EDK_UNROLL
    for (int i = 0; i < 16; i += 4) { /* u[i + c]: columns c, 4 + c, 8 + c, 12 + c of rows i .. i + 3, one in each quarter */
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    EDK_UNROLL
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(u[c], u[4 + c], 0x88), b = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0x88);
        __m512i d = _mm512_shuffle_i32x4(u[c], u[4 + c], 0xdd), e = _mm512_shuffle_i32x4(u[8 + c], u[12 + c], 0xdd);
        z[c] = _mm512_shuffle_i32x4(a, b, 0x88);
        z[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
        z[8 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
        z[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
    }
}

EDK_INLINE void pack_tile(const bool along_k, const bool pairs, int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    __m512i z[16];
    if (along_k)
        load_along_k(outer, k, x, step, z);
    else
        load_across(outer, k, x, step, z);
    if (along_k == pairs)
        transpose16(z);
    EDK_UNROLL
    for (int i = 0; i < 16; i++)
        _mm512_store_si512((void *)(out + i * TK), z[i]);
}

/* Full tiles have code of their own, in which the masks are gone. */
EDK_INLINE void pack_any(const bool along_k, const bool pairs, int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    if (outer >= T && k >= TK)
        pack_tile(along_k, pairs, T, TK, x, step, out);
    else
        pack_tile(along_k, pairs, outer, k, x, step, out);
}

static __attribute__((noinline)) void tile_rows(int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    pack_any(true, false, outer, k, x, step, out);
}
static __attribute__((noinline)) void tile_rows_pairs(int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    pack_any(true, true, outer, k, x, step, out);
}
static __attribute__((noinline)) void tile_columns(int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    pack_any(false, false, outer, k, x, step, out);
}
static __attribute__((noinline)) void tile_columns_pairs(int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out) {
    pack_any(false, true, outer, k, x, step, out);
}
typedef void (*tile_fn)(int64_t outer, int64_t k, const float *x, int64_t step, uint16_t *out);

/* Neither axis is contiguous: through a dense block. */
static void tile_strided(int64_t outer, int64_t k, const float *x, int64_t outer_step, int64_t k_step, bool pairs, uint16_t *out) {
    float dense[SIZE] = {0};
    int64_t rows = outer < T ? outer : T, len = k < TK ? k : TK;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t t = 0; t < len; t++)
            dense[i * TK + t] = x[i * outer_step + t * k_step];
    if (pairs)
        tile_rows_pairs(T, TK, dense, TK, out);
    else
        tile_rows(T, TK, dense, TK, out);
}

/* The tile after next along k, k_step floats apart: lines that the processor's own prefetch does not guess. */
EDK_INLINE void prefetch_rows(const float *x, int64_t k_step) {
    for (int t = 0; t < TK; t++)
        _mm_prefetch((const char *)((uintptr_t)x + (uintptr_t)(t * k_step) * sizeof(float)), _MM_HINT_T0);
}

static void pack(int64_t outer, int64_t k, const float *x, int64_t outer_step, int64_t k_step, bool pairs, uint16_t *out, int64_t step) {
    if (k_step == 1) {
        tile_fn tile = pairs ? tile_rows_pairs : tile_rows;
        for (int64_t i = 0; i < outer; i += T)
            for (int64_t t = 0; t < k; t += TK)
                tile(outer - i, k - t, x + i * outer_step + t, outer_step, out + i / T * step + t * T);
        return;
    }
    tile_fn tile = pairs ? tile_columns_pairs : tile_columns;
    for (int64_t t = 0; t < k; t += TK)
        for (int64_t i = 0; i < outer; i += T) {
            const float *from = x + i * outer_step + t * k_step;
            uint16_t *to = out + i / T * step + t * T;
            if (outer_step != 1) {
                tile_strided(outer - i, k - t, from, outer_step, k_step, pairs, to);
                continue;
            }
            if (k - t >= 2 * TK)
                prefetch_rows(from + TK * k_step, k_step);
            tile(outer - i, k - t, from, k_step, to);
        }
}

/* ------------------------------------------------------------------ products */

#if defined(ED_LEVEL_amx)
#define BARRIER() __asm__ volatile("" ::: "memory")

enum { LINE = 64, BLOCK = 2 * T };

/* Rows 0..15 (and 16..31) by columns 0..15 (and 16..31), all of k. Tile registers 0..3 sum, 4 and 5 hold A, 6 and 7 hold B. */
EDK_INLINE void block(const bool two_rows, const bool two_cols, int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step,
                      float *c, int64_t c_row, const float *from, int64_t from_row) {
    const size_t line = (size_t)c_row * sizeof(float), from_line = (size_t)from_row * sizeof(float);
    float *below = c + T * c_row;
    BARRIER();
    if (from) { /* from_row 0 loads one row sixteen times */
        _tile_loadd(0, from, from_line);
        if (two_cols)
            _tile_loadd(1, from + T, from_line);
        if (two_rows)
            _tile_loadd(2, from + T * from_row, from_line);
        if (two_rows && two_cols)
            _tile_loadd(3, from + T * from_row + T, from_line);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t t = 0; t < k_tiles; t++) {
        _tile_loadd(6, b + t * SIZE, LINE);
        _tile_loadd(4, a + t * SIZE, LINE);
        _tile_dpbf16ps(0, 4, 6);
        if (two_rows) {
            _tile_loadd(5, a + a_step + t * SIZE, LINE);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (two_cols) {
            _tile_loadd(7, b + b_step + t * SIZE, LINE);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_rows && two_cols)
            _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, line);
    if (two_cols)
        _tile_stored(1, c + T, line);
    if (two_rows)
        _tile_stored(2, below, line);
    if (two_rows && two_cols)
        _tile_stored(3, below + T, line);
    BARRIER();
}

typedef void (*block_fn)(int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, float *c, int64_t c_row, const float *from,
                         int64_t from_row);
#define DEFINE(name, two_rows, two_cols)                                                                                                              \
    static __attribute__((noinline)) void name(int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, float *c,       \
                                               int64_t c_row, const float *from, int64_t from_row) {                                                  \
        block(two_rows, two_cols, k_tiles, a, a_step, b, b_step, c, c_row, from, from_row);                                                           \
    }
DEFINE(block_1x1, false, false)
DEFINE(block_1x2, false, true)
DEFINE(block_2x1, true, false)
DEFINE(block_2x2, true, true)
static const block_fn BLOCKS[2][2] = {{block_1x1, block_1x2}, {block_2x1, block_2x2}};

/* A block at the lower or right edge of C, through a whole one. */
static void edge_block(block_fn fn, int64_t rows, int64_t cols, int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step,
                       float *c, int64_t c_row, const float *from, int64_t from_row) {
    float whole[BLOCK * BLOCK] __attribute__((aligned(64)));
    if (from) {
        memset(whole, 0, sizeof whole);
        for (int64_t i = 0; i < rows; i++)
            memcpy(whole + i * BLOCK, from + i * from_row, (size_t)cols * sizeof(float));
    }
    fn(k_tiles, a, a_step, b, b_step, whole, BLOCK, from ? whole : NULL, BLOCK);
    for (int64_t i = 0; i < rows; i++)
        memcpy(c + i * c_row, whole + i * BLOCK, (size_t)cols * sizeof(float));
}

/* All eight tile registers: 16 rows of 64 bytes. The state is this thread's own and is given back at the end, so that the system need not save it. */
static void multiply(int64_t rows, int64_t cols, int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, float *c,
                     int64_t c_row, const float *from, int64_t from_row) {
    static const struct tile_config {
        uint8_t palette, start_row, zeros[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } CONFIG = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    BARRIER();
    _tile_loadconfig(&CONFIG);
    for (int64_t j = 0; j < cols; j += BLOCK)
        for (int64_t i = 0; i < rows; i += BLOCK) {
            int64_t m = rows - i < BLOCK ? rows - i : BLOCK, n = cols - j < BLOCK ? cols - j : BLOCK;
            block_fn fn = BLOCKS[m > T][n > T];
            const uint16_t *a_at = a + i / T * a_step, *b_at = b + j / T * b_step;
            const float *from_at = from ? from + i * from_row + j : NULL;
            float *c_at = c + i * c_row + j;
            if (m % T == 0 && n % T == 0)
                fn(k_tiles, a_at, a_step, b_at, b_step, c_at, c_row, from_at, from_row);
            else
                edge_block(fn, m, n, k_tiles, a_at, a_step, b_at, b_step, c_at, c_row, from_at, from_row);
        }
    _tile_release();
}

#else

enum { ROWS = 8 };

/* 8 rows by 32 columns. Rows past `rows` are the packing's zeros or another half's values: computed, not stored. */
static void block(int64_t rows, int64_t cols, int64_t k_tiles, const uint16_t *a, const uint16_t *b, const uint16_t *b2, float *c, int64_t c_row,
                  const float *from, int64_t from_row) {
    __m512 sum[ROWS][2];
    const __mmask16 low = first_mask(cols), high = first_mask(cols - 16);
    EDK_UNROLL
    for (int i = 0; i < ROWS; i++) {
        bool in = from && i < rows;
        const float *p = in ? from + i * from_row : c;
        sum[i][0] = _mm512_maskz_loadu_ps(mask_if(in, low), p);
        sum[i][1] = _mm512_maskz_loadu_ps(mask_if(in, high), p + 16);
    }
    for (int64_t t = 0; t < k_tiles * SIZE; t += SIZE)
        for (int p = 0; p < 16; p++) {
            __m512bh v = (__m512bh)_mm512_load_si512((const void *)(b + t + p * TK)), w = (__m512bh)_mm512_load_si512((const void *)(b2 + t + p * TK));
            EDK_UNROLL
            for (int i = 0; i < ROWS; i++) {
                int32_t pair;
                memcpy(&pair, a + t + i * TK + 2 * p, sizeof pair);
                __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, v);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, w);
            }
        }
    EDK_UNROLL
    for (int i = 0; i < ROWS; i++)
        if (i < rows) {
            _mm512_mask_storeu_ps(c + i * c_row, low, sum[i][0]);
            _mm512_mask_storeu_ps(c + i * c_row + 16, high, sum[i][1]);
        }
}

static void multiply(int64_t rows, int64_t cols, int64_t k_tiles, const uint16_t *a, int64_t a_step, const uint16_t *b, int64_t b_step, float *c,
                     int64_t c_row, const float *from, int64_t from_row) {
    for (int64_t j = 0; j < cols; j += 2 * T)
        for (int64_t i = 0; i < rows; i += ROWS) {
            const uint16_t *b_at = b + j / T * b_step, *b2 = cols - j > T ? b_at + b_step : b_at;
            block(rows - i, cols - j, k_tiles, a + i / T * a_step + i % T * TK, b_at, b2, c + i * c_row + j, c_row,
                  from ? from + i * from_row + j : NULL, from_row);
        }
}
#endif

const ed__bf16_kernels *EDK(bf16_kernels)(void) {
    static const ed__bf16_kernels KERNELS = {pack, multiply};
    return &KERNELS;
}

#else
const ed__bf16_kernels *EDK(bf16_kernels)(void) {
    return NULL;
}
#endif
