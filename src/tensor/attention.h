/* tensor/attention.h - shared inside of the attention op: resolved attributes, visibility by blocks, offset tables.
 *
 * Words used throughout: a "slot" is a key index counted from the start of its first tile; `lead` slots before the first real key are empty (a cache whose
 * oldest keys were dropped starts inside a tile). A "sub" is a run of ED__SUB slots, the unit of block skipping; a tile has ED__SUBS of them. */
#ifndef ED_TENSOR_ATTENTION_H
#define ED_TENSOR_ATTENTION_H

#include "base/internal.h"
#include "endec/attention.h"
#include "tensor/op.h"

enum { ED__TILE = ED_ATTENTION_TILE, ED__SUB = 32, ED__SUBS = ED__TILE / ED__SUB, ED__ROWS = 32 /* query rows of one block */ };

/* ------------------------------------------------------------------ visibility (attention_vis.c) */

/** What the labels of 32 query rows / 32 key slots have in common. */
typedef struct ed__vis_q {
    int32_t order_min, order_max, group_min, group_max, limit_min, limit_max, low_min, low_max;
    bool any_all, every_all;
} ed__vis_q;
typedef struct ed__vis_k {
    int32_t order_min, order_max, group_min, group_max; /* over valid keys; shared keys excluded from group_* */
    int32_t shared_min;                                  /* lowest order among shared keys */
    bool any, every, any_shared, any_own;
} ed__vis_k;

typedef struct ed__vis {
    int64_t rows, slots, lead, nq, nk; /* nq, nk: blocks of 32 */
    bool causal, no_skip;
    int64_t window, q_start; /* in slots */
    const ed_labels *labels; /* NULL: index form */
    ed__vis_q *q;            /* [label batch, nq] */
    ed__vis_k *k;            /* [label batch, nk] */
    int32_t *k_order, *k_group, *k_valid; /* [label batch, nk * 32], padded with invalid keys */
} ed__vis;

enum { ED__VIS_NONE, ED__VIS_PART, ED__VIS_FULL };

/** Bytes and set-up of the block summaries. mem: ed__vis_bytes(v) bytes (0 in index form). Set rows, slots, lead, causal, window, q_start, labels first. */
size_t ed__vis_bytes(ed__vis *v);
void ed__vis_init(ed__vis *v, void *mem);
/** Relation of query rows [32 qb, 32 qb + 32) and slots [32 kb, 32 kb + 32) of batch item b. */
int ed__vis_class(const ed__vis *v, int64_t b, int64_t qb, int64_t kb);
/** The rule itself for one pair, straight from the labels (the oracle). slot >= 0. */
bool ed__vis_pair(const ed__vis *v, int64_t b, int64_t t, int64_t slot);
/** ANDs the optional terms of the labels into a mask row of one sub (-1 visible, 0 hidden). */
void ed__vis_optional(const ed__vis *v, int64_t b, int64_t t, int64_t kb, int32_t *mask);
/** Importance bonus of the pair (0 when absent). */
float ed__vis_bonus(const ed__vis *v, int64_t t, int64_t slot);

/* ------------------------------------------------------------------ offset tables (attention_map.c) */

/** A table spread out over every offset that occurs, one row per head: value[h * n + offset - lo]. */
typedef struct ed__spread {
    int64_t lo, n;
    float *value; /* NULL: off */
} ed__spread;
bool ed__map_valid(const ed_offset_map *m, int64_t rows);

/* ------------------------------------------------------------------ the op's attributes */

typedef struct ed__attn {
    int64_t B, T, S, H, Hkv, G, Dk, Dv;
    int n_seg;
    int i_bias, i_post, i_rel, i_kappa, i_dense; /* operand index, -1: absent. q is 0, k of segment s is 1 + 2s, v is 2 + 2s */
    ed_attention_opts o;                         /* scale and q_start resolved */
    ed_labels labels;                            /* copy of *o.labels; o.labels != NULL tells that it is there */
    bool drop;
    uint32_t drop_limit; /* a pair is dropped when its word is below this */
    ed_rng_key key;
    uint32_t counter[4];
    int64_t off_lo, off_hi; /* range of offsets that occur */
    /* outputs and aux by index, -1: absent */
    int out_entropy, out_hinge, aux_rows, aux_mass, aux_sum, aux_max;
} ed__attn;

static inline int64_t ed__attn_kv_head(const ed__attn *a, int64_t h) {
    return a->o.tiled_heads ? h % a->Hkv : h / a->G;
}
/** Query head number g of a kv head. */
static inline int64_t ed__attn_q_head(bool tiled, int64_t kv_heads, int64_t group, int64_t kvh, int64_t g) {
    return tiled ? kvh + g * kv_heads : kvh * group + g;
}
static inline int64_t ed__attn_q_pos(const ed__attn *a, int64_t b, int64_t t) {
    return a->o.q_pos ? a->o.q_pos[(a->o.pos_batch > 1 ? b : 0) * a->T + t] : a->o.q_start + t;
}
static inline int64_t ed__attn_k_pos(const ed__attn *a, int64_t b, int64_t j) {
    return a->o.k_pos ? a->o.k_pos[(a->o.pos_batch > 1 ? b : 0) * a->S + j] : j;
}
/** Word of the pair's dropout draw (op_attention_f64.c). */
uint32_t ed__attn_drop_word(const ed__attn *a, int64_t bh, int64_t t, int64_t j);
void ed__attn_vis(const ed__attn *a, ed__vis *v); /* fills v but for its summaries */

/* the two number formats: f64 is the plain twin, f32 the tiles */
void ed__attn_forward_f64(const ed_call *c);
void ed__attn_backward_f64(const ed_call *c);
void ed__attn_forward_f32(const ed_call *c);
void ed__attn_backward_f32(const ed_call *c);
/** rows, mass, columns from explicit scores and the log-sum-exp, either dtype (op_attention_side.c). */
void ed__attn_side(const ed_call *c);

/* ------------------------------------------------------------------ explicit rows in f64, from operands of any float dtype (op_attention_rows.c) */

typedef struct ed__attn_row {
    double *s;     /* [S] score, -inf where invisible */
    double *slope; /* [S] d cap(x) / dx */
    double *raw;   /* [S] s - kappa */
} ed__attn_row;
void ed__attn_scores(const ed_call *c, const ed__vis *v, int64_t b, int64_t h, int64_t t, ed__attn_row *row);
double ed__attn_elem(const ed_tensor *t, int64_t offset);
/** Segment of key j; *local = its row there. */
int ed__attn_seg(const ed_call *c, int64_t j, int64_t *local);
/** Post-softmax factor c * dropout of a pair; *c_only (may be NULL): c; *drop: dropout factor. */
double ed__attn_post(const ed_call *c, int64_t b, int64_t h, int64_t t, int64_t j, double *c_only, double *drop);

#endif
