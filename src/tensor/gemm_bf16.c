/* tensor/gemm_bf16.c - matrix products of f32 operands rounded to bf16, over the tile kernels (kernel_bf16.h).
 *
 * C (+)= A B. A chunk of B (CHUNK values at most: it stays in L2) is packed by all threads. Then each thread takes blocks of rows of A, packs k_step columns of
 * a block at a time on its stack, where the first-level cache holds them, and multiplies them with the chunk; so A is read once from memory and never written
 * back in packed form. Matrices too large for one chunk are cut along n first, then along k.
 * Threads split over rows, and over columns when there are too few rows; every element of C is one chain over ascending k whatever the cuts (kernel_bf16.h),
 * so that bits depend neither on threads nor on memory. Without a chunk buffer, or for a small B, a smaller chunk lies on the stack. */
#include "base/internal.h"
#include "tensor/kernel_bf16.h"

enum {
    CHUNK = ED__SPARE_BYTES / 2, /* values of B */
    STACK_CHUNK = 1 << 14,
    BLOCK = 1 << 14, /* values of A: 32 KiB, with the piece of B in use what a first-level cache holds */
    BLOCK_ROWS = 64, /* A is contiguous along k */
    BLOCK_COLUMN_ROWS = 128, /* A is contiguous along its rows: longer runs of them */
    LEAST_COLUMNS = 1024, /* of a chunk, when there are that many: each chunk along n packs A anew */
    COLUMN_STEP = 2 * EDK_TILE,
    WORTH = 1 << 15 /* work that pays for another thread, in values packed or written */
};

typedef struct product {
    const ed__gemm_args *g;
    const ed__bf16_kernels *kt;
    int64_t t, k;          /* the chunk's part of the inner axis */
    int64_t first, n;      /* the chunk's columns */
    uint16_t *b;           /* packed: groups of 16 columns, b_step apart */
    int64_t b_step;
    int64_t rows, k_step;  /* of a block of A */
    int64_t blocks, group; /* row blocks; columns of one item */
} product;

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

/* Items are groups of 16 columns where B is contiguous along k, else groups of 32 of k: threads then read whole rows. */
static bool items_are_columns(const ed__gemm_args *g) {
    return g->b_row == 1;
}
static void pack_range(void *ctx, int64_t begin, int64_t end) {
    const product *p = ctx;
    const ed__gemm_args *g = p->g;
    const float *b = g->b + p->t * g->b_row + p->first * g->b_col;
    if (items_are_columns(g)) {
        int64_t j = begin * EDK_TILE, n = min64(end * EDK_TILE, p->n) - j;
        p->kt->pack(n, p->k, b + j * g->b_col, g->b_col, g->b_row, true, p->b + begin * p->b_step, p->b_step);
    } else {
        int64_t t = begin * EDK_TILE_K, k = min64(end * EDK_TILE_K, p->k) - t;
        p->kt->pack(p->n, k, b + t * g->b_row, g->b_col, g->b_row, true, p->b + begin * EDK_TILE_SIZE, p->b_step);
    }
}

/* Items are pairs of a row block and a column group, row blocks of one group next to each other. */
static void multiply_range(void *ctx, int64_t begin, int64_t end) {
    const product *p = ctx;
    const ed__gemm_args *g = p->g;
    uint16_t block[BLOCK] __attribute__((aligned(64)));
    for (int64_t item = begin; item < end; item++) {
        int64_t i = item % p->blocks * p->rows, j = item / p->blocks * p->group;
        int64_t rows = min64(p->rows, g->m - i), cols = min64(p->group, p->n - j);
        float *c = g->c + i * g->c_row + p->first + j;
        for (int64_t t = 0; t < p->k; t += p->k_step) {
            int64_t k = min64(p->k_step, p->k - t), tiles = round_up(k, EDK_TILE_K) / EDK_TILE_K, step = tiles * EDK_TILE_SIZE;
            p->kt->pack(rows, k, g->a + i * g->a_row + (p->t + t) * g->a_col, g->a_row, g->a_col, false, block, step);
            bool again = g->accumulate || p->t + t > 0;
            const float *from = again ? c : g->bias ? g->bias + p->first + j : NULL;
            p->kt->multiply(rows, cols, tiles, block, step, p->b + j / EDK_TILE * p->b_step + t * EDK_TILE, p->b_step, c, g->c_row, from, again ? g->c_row : 0);
        }
    }
}

/* Row blocks of A's best shape; fewer rows, then parts of the columns, until every thread has something to do. */
static void plan_items(product *p) {
    const ed__gemm_args *g = p->g;
    int64_t threads = ed_threads_get();
    p->rows = g->a_row == 1 && g->a_col != 1 ? BLOCK_COLUMN_ROWS : BLOCK_ROWS;
    while (p->rows > COLUMN_STEP && g->m < p->rows * threads)
        p->rows /= 2;
    p->rows = min64(p->rows, round_up(g->m, EDK_TILE));
    p->k_step = BLOCK / p->rows / EDK_TILE_K * EDK_TILE_K;
    p->blocks = (g->m + p->rows - 1) / p->rows;
    int64_t groups = (threads + p->blocks - 1) / p->blocks;
    p->group = round_up((p->n + groups - 1) / groups, COLUMN_STEP);
}

static void run_chunk(product *p) {
    const ed__gemm_args *g = p->g;
    int64_t tiles = round_up(p->k, EDK_TILE_K) / EDK_TILE_K, panels = round_up(p->n, EDK_TILE) / EDK_TILE;
    p->b_step = tiles * EDK_TILE_SIZE;
    if (items_are_columns(g))
        ed__parallel_for(panels, WORTH / p->b_step + 1, pack_range, p);
    else
        ed__parallel_for(tiles, WORTH / (panels * EDK_TILE_SIZE) + 1, pack_range, p);
    plan_items(p);
    int64_t cols = min64(p->group, p->n), groups = (p->n + p->group - 1) / p->group;
    double cost = (double)min64(p->rows, g->m) * ((double)p->k + (double)cols + (double)p->k * (double)cols / 256);
    ed__parallel_for(p->blocks * groups, (int64_t)(WORTH / cost) + 1, multiply_range, p);
}

/* All chunks of at most `room` values. */
static void run_chunks(const ed__gemm_args *g, const ed__bf16_kernels *kt, uint16_t *b, int64_t room) {
    int64_t n_all = round_up(g->n, EDK_TILE), k_all = round_up(g->k, EDK_TILE_K);
    int64_t fit = room / k_all / COLUMN_STEP * COLUMN_STEP, least = min64(n_all, room >= CHUNK ? LEAST_COLUMNS : COLUMN_STEP);
    int64_t n_step = min64(n_all, fit > least ? fit : least), k_step = min64(k_all, room / n_step / EDK_TILE_K * EDK_TILE_K);
    product p = {.g = g, .kt = kt, .b = b};
    for (p.first = 0; p.first < g->n; p.first += n_step)
        for (p.t = 0; p.t < g->k; p.t += k_step) {
            p.n = min64(n_step, g->n - p.first);
            p.k = min64(k_step, g->k - p.t);
            run_chunk(&p);
        }
}

static void on_stack(const ed__gemm_args *g, const ed__bf16_kernels *kt) {
    uint16_t b[STACK_CHUNK] __attribute__((aligned(64)));
    run_chunks(g, kt, b, STACK_CHUNK);
}

bool ed__bf16_gemm(const ed__gemm_args *g) {
    const ed__bf16_kernels *kt = ed__bf16_kernels_at(ed_cpu_get());
    if (!kt)
        return false;
    void *chunk = NULL;
    bool small = round_up(g->n, EDK_TILE) <= STACK_CHUNK && round_up(g->k, EDK_TILE_K) <= STACK_CHUNK / round_up(g->n, EDK_TILE);
    int slot = small ? -1 : ed__spare_take(&chunk);
    if (slot >= 0)
        run_chunks(g, kt, chunk, CHUNK);
    else
        on_stack(g, kt);
    ed__spare_give(slot);
    return true;
}

/* ------------------------------------------------------------------ the kernels of a level */

const ed__bf16_kernels *edk_bf16_kernels_generic(void);
#if defined(__x86_64__)
const ed__bf16_kernels *edk_bf16_kernels_avx2(void);
const ed__bf16_kernels *edk_bf16_kernels_avx512(void);
const ed__bf16_kernels *edk_bf16_kernels_avx512bf16(void);
const ed__bf16_kernels *edk_bf16_kernels_amx(void);
#endif

const ed__bf16_kernels *ed__bf16_kernels_at(ed_cpu_level level) {
    static const ed__bf16_kernels *(*const LEVELS[ED_CPU_LEVEL_COUNT])(void) = {
        edk_bf16_kernels_generic,
#if defined(__x86_64__)
        edk_bf16_kernels_avx2, edk_bf16_kernels_avx512, edk_bf16_kernels_avx512bf16, edk_bf16_kernels_amx,
#endif
    };
    int i = (int)level;
    return i >= 0 && i < ED_CPU_LEVEL_COUNT && level <= ed_cpu_best() ? LEVELS[i]() : NULL;
}
