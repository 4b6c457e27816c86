/* endec/attention.h - the attention op, its mask labels and hooks, and the decode entry.
 *
 *     s_ij = cap(scale * q_i . k_j) + b_h[pk_j - pq_i] + r_h[i, pk_j - pq_i] + kappa[j] + d[i, j]        (invisible pairs left out)
 *     p_ij = e^(s_ij - m) / (sum_j e^(s_ij - m) + [softmax_one] e^(-m))
 *     o_i  = sum_j drop(p_ij * c_h[pk_j - pq_i]) v_j
 *
 * A row that sees no key gives o = 0 and lse = -inf. Everything is optional except q, k, v; what is off costs nothing.
 *
 * Promises (F32; tested bitwise): a row's result does not depend on how many rows, batch items or threads ride along, nor on whether its keys came in one
 * pass or in cached steps. Keys are taken in tiles of ED_ATTENTION_TILE, aligned at logical key index 0; inside a tile every sum is one chain of fused
 * multiply-adds in ascending key order (scores: ascending channel); ED_ATTENTION_GROUP tiles make one partial softmax and partials merge in ascending order.
 * These constants belong to the numbers a model gives: they are never tuned.
 * Memory: T x S scores are never stored for F32; backward recomputes them from the log-sum-exp. F64 is a plain twin, the oracle. */
#ifndef ENDEC_ATTENTION_H
#define ENDEC_ATTENTION_H

#include "endec/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { ED_ATTENTION_TILE = 128, ED_ATTENTION_GROUP = 16 };

/* ------------------------------------------------------------------ who sees whom
 * Every query row has small integers (order, group, limit, low), every key row (order, group, valid). A pair is visible iff
 *     valid[j]  and  key.order >= query.low
 *     and (  key.group == query.group and key.order <= query.order
 *         or key.group == ED_GROUP_SHARED and key.order <= query.limit
 *         or query.group == ED_GROUP_ALL )
 *     and every optional term that is present agrees.
 * Minima and maxima of the labels over blocks of 32 rows tell which blocks to skip, forward and backward; kernels know no mask by name.
 * mask.h fills labels. All arrays are borrowed: they must stay as they are until the graph is reset. */

enum { ED_GROUP_SHARED = -1, ED_GROUP_ALL = -2 };

typedef struct ed_labels {
    int64_t batch;         /* rows of the arrays below: 1 (all batch items alike) or B */
    int64_t queries, keys; /* T, S */
    const int32_t *q_order; /* [batch, T]; NULL: INT32_MAX (no bound) */
    const int32_t *q_group; /* [batch, T]; NULL: 0 */
    const int32_t *q_limit; /* [batch, T]; NULL: INT32_MAX */
    const int32_t *q_low;   /* [batch, T]; NULL: INT32_MIN */
    const int32_t *k_order; /* [batch, S]; NULL: the key's index */
    const int32_t *k_group; /* [batch, S]; NULL: 0 */
    const uint8_t *k_valid; /* [batch, S]; NULL: 1. Contents of keys with 0 are never used, not even NaN */
    /* ---- optional terms, ANDed to the rule above */
    /** Tree: key scratch_first + c (0 <= c < n_scratch) is visible only when bit c of the row's ancestor bits is set. */
    const uint64_t *ancestors; /* [batch, T, (n_scratch + 63) / 64]; NULL: absent */
    int64_t scratch_first, n_scratch;
    /** Visibility bits per pair, chosen per batch item (random masks): bit j of row t of map bitmap_of[b]. */
    const uint64_t *bitmap;   /* [n_bitmaps, T, (S + 63) / 64]; NULL: absent */
    const int32_t *bitmap_of; /* [B], each in [0, n_bitmaps); NULL: map b when n_bitmaps > 1, else map 0 */
    int64_t n_bitmaps;
    /** Sampled block diagonals: with I = (q_start + t) / block and J = j / block the pair is visible only when 0 <= I - J < n_distances and
     *  block_keep[I - J]; block_bonus[I - J] (NULL: 0) is added to its score (importance weights). */
    const uint8_t *block_keep; /* [n_distances]; NULL: absent */
    const float *block_bonus;
    int64_t block, n_distances;
    /** Hides the pair whose key index is the query's own (q_start + t). */
    bool exclude_self;
    /** Key index of query row 0 itself; used by the two terms above only. */
    int64_t q_start;
} ed_labels;

/* ------------------------------------------------------------------ tables by offset (key position minus query position) */

/** Offset -> table row: the offset is clamped to [lo, hi] and looked up: bucket[offset - lo], or offset - lo when bucket is NULL. */
typedef struct ed_offset_map {
    int32_t lo, hi;
    const int32_t *bucket; /* [hi - lo + 1], values in [0, n); borrowed until the graph is reset; NULL: identity, n = hi - lo + 1 */
    int32_t n;             /* rows of the table */
} ed_offset_map;
/** Offsets clamped to +-(n_max - 1): a table of 2 n_max - 1 rows, row = offset + n_max - 1. */
ED_API ed_offset_map ed_offset_map_clamp(int32_t n_max);
/** T5 buckets. two_sided: buckets/2 each way, the second half for keys after the query; else keys after the query share bucket 0 with offset 0. Half of a
 *  side's buckets are exact distances, the rest logarithmic up to max_distance. The lookup lives in the arena. ED_E_INVALID, ED_E_MEMORY. */
ED_API ed_status ed_offset_map_t5(ed_arena *arena, bool two_sided, int32_t buckets, int32_t max_distance, ed_offset_map *out);
/** Row of the table for this offset. */
ED_API int32_t ed_offset_map_at(const ed_offset_map *m, int64_t offset);

/* ------------------------------------------------------------------ the op */

/** One run of keys and values. Float tensors k [B, S_i, Hkv, Dk], v [B, S_i, Hkv, Dv], any strides; v may be k. Constants may be BF16 or F16 when q is F32.
 *  A batch of 1 serves every batch item. */
typedef struct ed_kv {
    ed_tensor *k, *v;
} ed_kv;

typedef struct ed_attention_opts {
    double scale;     /* 0: 1 / sqrt(Dk) */
    double softcap;   /* cap(x) = softcap * tanh(x / softcap); 0: off */
    bool softmax_one; /* adds 1 to the denominator: a row may attend to nothing */
    bool tiled_heads; /* grouped queries: query head h reads kv head h % Hkv (tiled) instead of h / (H / Hkv) */
    double dropout;   /* of p * c, in training mode only; the draw is keyed by (site, batch, head, query, key) */
    uint32_t site;

    /* ---- visibility. With labels the three fields after it are ignored. Without: order = index */
    const ed_labels *labels;
    bool causal;     /* query row t sees keys j <= q_start + t */
    int64_t window;  /* >= 0: and j >= q_start + t - window; < 0: no window */
    int64_t q_start; /* key index of query row 0 itself; < 0: S - T (the queries are the last rows) */

    /* ---- positions (int32, borrowed): only tables look at them. NULL: q_start + t and j */
    const int32_t *q_pos, *k_pos; /* [pos_batch, T], [pos_batch, S] */
    int64_t pos_batch;            /* 1 or B */

    /* ---- hooks; tensors of q's dtype, with gradient; NULL: off */
    ed_tensor *bias;       /* b [n, H] or [n, 1], row by bias_map; added before the mask */
    ed_offset_map bias_map;
    const double *slopes;  /* [H]: adds slope * distance, distance = -|offset| (ALiBi); borrowed; NULL: off */
    ed_tensor *post_scale; /* c [n, H] or [n, 1], row by post_map; multiplies p after the softmax, no renormalisation */
    ed_offset_map post_map;
    ed_tensor *rel;        /* r [B or 1, H, T, n], last axis by rel_map (Transformer-XL term) */
    ed_offset_map rel_map;
    ed_tensor *key_bias;   /* kappa [B, S], shared by heads and queries */
    ed_tensor *dense;      /* d [B or 1, H or 1, T, S]: small sizes */

    /* ---- side outputs, only when asked */
    bool want_entropy; /* with gradient */
    bool want_hinge;   /* with gradient */
    const int32_t *rows; /* [n_rows] query rows whose p is wanted; borrowed */
    int64_t n_rows;
    const int64_t *ranges; /* [n_ranges, 2] key ranges [begin, end) whose mass is wanted; borrowed */
    int64_t n_ranges;
    const int32_t *column_rows; /* [n_column_rows] query rows over which columns are summed; borrowed */
    int64_t n_column_rows;

    bool no_skip; /* visits every block (tests: the result must not change) */
} ed_attention_opts;
/** Plain bidirectional attention: scale 0, window -1, q_start -1, everything else off. */
ED_API ed_attention_opts ed_attention_opts_default(void);

typedef struct ed_attention_out {
    ed_tensor *o;       /* [B, T, H, Dv] */
    ed_tensor *lse;     /* [B, H, T] natural log of the denominator; no gradient */
    ed_tensor *entropy; /* [B, H, T] lse - sum_j p s: entropy of p before c and dropout (softmax_one: with the unseen extra key); 0 for an empty row */
    ed_tensor *hinge;   /* [B, H, T] sum over visible keys of max(s - kappa, 5) - 5 */
    ed_tensor *rows;    /* [B, H, n_rows, S] p; no gradient, as all that follow */
    ed_tensor *mass;    /* [B, H, T, n_ranges] sum of p over each range */
    ed_tensor *column_sum, *column_max; /* [B, S] over the chosen rows of (mean over heads of p) */
} ed_attention_out;

/** q [B, T, H, Dk] (F32 or F64, any strides), keys and values as the concatenation of `n` runs (n <= 64), S = sum of their lengths (may be 0).
 *  H must be a multiple of Hkv. opts NULL: defaults. Returns o (contiguous) or NULL; out (may be NULL) gets everything.
 *  Gradients: q, every k and v, bias, post_scale, rel, key_bias, dense; through o, entropy and hinge.
 *  Errors on the graph: ED_E_SHAPE, ED_E_DTYPE, ED_E_INVALID (labels or maps that do not fit), ED_E_LIMIT (positions further apart than 2^24). */
ED_API ed_tensor *ed_attention(ed_graph *g, ed_tensor *q, const ed_kv *kv, int n, const ed_attention_opts *opts, ed_attention_out *out);

/* ------------------------------------------------------------------ partial softmax and merge (public: cache splits, sharded contexts) */

/** Result of a set of keys for one query: m = max s, l = sum e^(s - m), o[dv] = sum e^(s - m) c v. Neutral: m = -inf, l = 0, o = 0. */
typedef struct ed_attend_state {
    float m, l;
    float *o;
} ed_attend_state;
/** acc = acc merged with x. Associative up to rounding; a neutral operand changes no bit. */
ED_API void ed_attend_merge(ed_attend_state *acc, const ed_attend_state *x, int64_t dv);
/** o /= l (with the extra 1 of softmax-one), returns the log-sum-exp; an empty state gives zeros and -inf. */
ED_API float ed_attend_finish(ed_attend_state *s, int64_t dv, bool softmax_one);

/* ------------------------------------------------------------------ decode entry: ragged sequences over caches, not recorded on a tape */

/** Fills rows [first, first + n) of one kv head as F32: k [n, dk], v [n, dv] contiguous (quantised or foreign caches). Called from several threads. */
typedef void (*ed_kv_fetch)(const void *ctx, int64_t kv_head, int64_t first, int64_t n, float *k, float *v);

/** A run of cached keys. Element (row j, head h, channel d) at k[j * k_row + h * k_head + d], likewise v. dtype F32, F64, BF16 or F16. */
typedef struct ed_kv_part {
    const void *k, *v;
    ed_dtype dtype;
    int64_t len;
    int64_t k_row, k_head, v_row, v_head; /* strides in elements */
    ed_kv_fetch fetch;                    /* not NULL: used instead of k and v */
    const void *ctx;
} ed_kv_part;

/** One sequence of a ragged batch. Key "indices" below count from first_key through the parts in order. */
typedef struct ed_attend_seq {
    const ed_kv_part *parts; /* [n_parts] in logical order (pages, ring halves, committed + scratch, ...) */
    int n_parts;
    int64_t first_key; /* logical index of the first key of parts[0] (> 0: older keys were dropped) */
    int64_t rows;      /* query rows */
    const float *q;    /* element (t, h, d) at q[t * q_row + h * q_head + d] */
    int64_t q_row, q_head;
    float *o; /* element (t, h, d) at o[t * o_row + h * o_head + d] */
    int64_t o_row, o_head;
    float *lse; /* [rows, H] or NULL */

    bool causal;             /* row t sees logical keys j <= q_start + t */
    int64_t window, q_start; /* as in ed_attention_opts; q_start is a logical index, < 0: the last `rows` keys */
    const ed_labels *labels; /* batch 1, queries = rows, keys = number of keys given; NULL: the fields above. Index 0 of its arrays is first_key */
    const int32_t *q_pos, *k_pos; /* [rows], [keys]; NULL: logical indices */
    const float *key_bias;        /* [keys] or NULL */
    /** Strict tree rows: row t sees the keys before path_first (a logical index) and then, as if they stood right behind those, its own path: the keys
     *  path[t * path_stride + 0 .. path_len[t]) (logical indices >= path_first, root to self). Positions are the places in that order (the query's: that of
     *  its last key), and the bits are those of a plain decode of that path. NULL: off. With a path, causal and window are ignored and labels, q_pos, k_pos and
     *  key_bias must be NULL. */
    const int32_t *path, *path_len;
    int64_t path_stride, path_first;
} ed_attend_seq;

typedef struct ed_attend_opts {
    int64_t heads, kv_heads, dk, dv;
    double scale, softcap; /* as in ed_attention_opts */
    bool softmax_one, tiled_heads;
    const float *bias, *post_scale; /* [n, H] contiguous or NULL, rows by their maps */
    ed_offset_map bias_map, post_map;
    const double *slopes; /* [H] or NULL */
} ed_attend_opts;

/** Attention of every sequence over its cache, F32. Work is cut into runs of tiles of ED_ATTENTION_GROUP, so one long sequence keeps all threads busy;
 *  the result is bitwise that of ed_attention over the same keys. scratch (rewound before return) provides working memory. */
ED_API ed_status ed_attend(const ed_attend_opts *opts, const ed_attend_seq *seqs, int64_t n, ed_arena *scratch, ed_error *err);
/** One partial: row states of sequence s and kv head over key tiles [tile_begin, tile_end) of its cache, without normalisation, for outer schedulers.
 *  states: [heads / kv_heads * rows], head-major; each o [dv] given by the caller. Rows with a path are refused (ED_E_INVALID). */
ED_API ed_status ed_attend_partial(const ed_attend_opts *opts, const ed_attend_seq *seq, int64_t kv_head, int64_t tile_begin, int64_t tile_end,
                                   ed_attend_state *states, ed_arena *scratch, ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
