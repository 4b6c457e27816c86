/* tensor/attention_tiles.h - the tile engine under the F32 attention op and the decode entry.
 * A `unit` is one (sequence, kv head): its keys as runs, its query rows, its hooks. A `bench` is one worker's memory. The engine walks key tiles outside and blocks
 * of query rows inside, so that a tile is packed once for all rows. */
#ifndef ED_TENSOR_ATTENTION_TILES_H
#define ED_TENSOR_ATTENTION_TILES_H

#include "tensor/attention.h"
#include "tensor/attention_kernel.h"

/** Keys and values at slots [first, first + len): element (j, d) of k at k[j * k_row + d * k_col]. */
typedef struct ed__run {
    const void *k, *v;
    ed_dtype k_dtype, v_dtype;
    int64_t first, len, k_row, k_col, v_row, v_col;
    ed_kv_fetch fetch; /* not NULL: used instead, for rows local + [0, len) of kv_head */
    const void *ctx;
    int64_t local, kv_head;
} ed__run;

/** Constants of a call. */
typedef struct ed__tiles {
    const ed__attn_kernels *kn;
    int64_t H, Hkv, G, Dk, Dv, Dkp, Dvp; /* p: rounded up to 16 */
    bool tiled, one, entropy, hinge;
    float scale, softcap;
    ed__spread bias, post;  /* value of offset f for head h at value[h * n + f - lo]; 128 spare zeros on both sides of a head's offsets */
    const ed_offset_map *rel_map;
    bool drop;
    ed_rng_key key;
    uint32_t counter[4], drop_limit;
    float keep;
} ed__tiles;

typedef struct ed__unit {
    int64_t b, kvh, rows, slots, lead, base; /* base: logical index of slot 0, a multiple of the tile */
    const ed__run *runs;
    int n_runs;
    const ed__vis *vis;
    const float *q; /* element (t, head, d) at q[t * q_row + head * q_head + d * q_col], head counted over all query heads */
    int64_t q_row, q_head, q_col;
    const float *kappa; /* slot lead + j at kappa[j * kappa_step]; NULL: off */
    int64_t kappa_step;
    const float *rel, *dense; /* of batch item b; NULL: off */
    int64_t rel_head, rel_row, rel_col, dense_head, dense_row, dense_col;
    const int32_t *q_pos, *k_pos; /* row t; slot lead + j; NULL: pos0 + t and base + slot */
    int64_t pos0;
} ed__unit;

/** One worker's memory for at most `rows` rows at a time (query rows times heads of a group). */
typedef struct ed__bench {
    float *kt, *vp, *rows, *s, *bias, *extra, *post, *drop, *kappa;
    int32_t *mask, *k_pos, *head, *t; /* head and row of each of the task's rows */
    float *q;                         /* [R, Dk] scaled */
    float *o, *m, *l, *u, *hinge;     /* state of the current group of tiles */
    float *O, *M, *L, *U;             /* merged groups before it */
    /* the packed tile */
    int64_t tile;
    const float *v; /* [slots, ld_v] */
    int64_t ld_v, n_slots;
    int v_finite; /* -1: not looked yet */
} ed__bench;

size_t ed__bench_floats(const ed__tiles *x, int64_t rows);
void ed__bench_init(ed__bench *w, const ed__tiles *x, int64_t rows, float *mem);

/** The row range of a task: rows r of the bench are (g, t) with t in [t0, t1), heads outside (or inside when row_major). Copies and scales q, clears the state. */
int64_t ed__tiles_begin(const ed__tiles *x, const ed__unit *u, int64_t t0, int64_t t1, bool row_major, ed__bench *w);
/** Takes key tiles [tile_begin, tile_end) of the unit into rows [r0, r1) of the bench (the range of t must lie in one block of 32 unless the rows' block is
 *  split by the caller). emit(ctx, group): called after the last tile of every full group; NULL: groups are merged inside the bench. */
typedef void (*ed__emit_fn)(void *ctx, const ed__tiles *x, ed__bench *w, int64_t group, int64_t r0, int64_t r1);
void ed__tiles_run(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t r0, int64_t r1, int64_t tile_begin, int64_t tile_end, ed__emit_fn emit, void *ctx);
/** Merges the current group into the rows' totals and clears it (used as emit, and once at the end). */
void ed__tiles_merge(void *ctx, const ed__tiles *x, ed__bench *w, int64_t group, int64_t r0, int64_t r1);
/** Softmax-one, division, canonical zero: o[Dv], returns the log-sum-exp; *mean (may be NULL) is divided too. */
float ed__tiles_finish(float m, float l, float *o, int64_t dv, bool one, float *mean);

/* pieces that backward shares */
void ed__copy_scaled(const float *src, int64_t step, int64_t n, float f, float *dst); /* dst[i] = src[i * step] * f */
void ed__tiles_load(const ed__unit *u, bool values, int64_t slot, int64_t n, int64_t cols, int64_t ld, float *dst); /* rows -> [n, ld], zero-padded, hidden keys zero */
void ed__tiles_mask(const ed__tiles *x, const ed__unit *u, int64_t t, int64_t tile, uint32_t partial, int32_t *mask);
/** Subs of the tile that query block qb looks at, and those of them that need a mask. */
uint32_t ed__tiles_active(const ed__unit *u, int64_t qb, int64_t tile, uint32_t *partial);
/** Pointers to the row's [128] additive terms and factor (NULL: off); buffers of the bench serve as memory. */
void ed__tiles_hooks(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t head, int64_t t, uint32_t active, const float **bias, const float **extra,
                     const float **post, const float **drop);
void ed__tiles_side(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t tile); /* kappa and key positions of a tile */
bool ed__spread_make(ed__spread *s, const ed__tiles *x, int64_t lo, int64_t hi, const ed_offset_map *map, const float *table, int64_t row_step, int64_t head_step,
                     const double *slopes, float *mem); /* mem: ed__spread_floats */
size_t ed__spread_floats(const ed__tiles *x, int64_t lo, int64_t hi);
void ed__tiles_op(const ed_call *c, ed__tiles *x); /* constants of a recorded call, without tables */
bool ed__tiles_tables(const ed_call *c, ed__tiles *x); /* tables, in scratch */
void ed__unit_op(const ed_call *c, const ed__vis *v, int64_t b, int64_t kvh, ed__run *runs, ed__unit *u); /* runs: [n_seg] */

#endif
