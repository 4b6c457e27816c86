/* endec/mask.h - fillers of attention labels (attention.h): who sees whom, by name.
 *
 * Every function fills *out with arrays from the arena (the graph's own, ed_graph_arena, suits a training step); they live until the arena is reset. Shapes stand in
 * ed_mask_dims. Row t of the queries is the key at index q_start + t wherever a mask speaks of a query's own place. A layer may have a label set of its own.
 * All return ED_OK, ED_E_INVALID (arguments that make no sense, named in err), ED_E_RANGE or ED_E_MEMORY. */
#ifndef ENDEC_MASK_H
#define ENDEC_MASK_H

#include "endec/attention.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ed_mask_dims {
    int64_t batch, queries, keys;
    int64_t q_start;           /* key index of query row 0 itself; < 0: keys - queries */
    const int32_t *first, *last; /* [batch]: keys first[b] .. last[b] - 1 are real, the others pads; NULL: 0 / keys */
} ed_mask_dims;

/** Keys up to the query's own place. */
ED_API ed_status ed_mask_causal(ed_arena *a, const ed_mask_dims *d, ed_labels *out, ed_error *err);
/** All real keys (encoders, cross-attention over padded sources). */
ED_API ed_status ed_mask_bidirectional(ed_arena *a, const ed_mask_dims *d, ed_labels *out, ed_error *err);
/** Causal, and at most `back` keys behind the own place (back >= 0). */
ED_API ed_status ed_mask_window(ed_arena *a, const ed_mask_dims *d, int64_t back, ed_labels *out, ed_error *err);
/** Keys below prefix[b] are seen by all, among themselves too; the rest is causal. Also the one-stack sequence-to-sequence mask, prefix = source length. */
ED_API ed_status ed_mask_prefix(ed_arena *a, const ed_mask_dims *d, const int32_t *prefix, ed_labels *out, ed_error *err);
/** Packed documents or streams that must not mix: document[batch, keys] >= 0 names each key's group; causal inside or not. A negative document is a pad. */
ED_API ed_status ed_mask_documents(ed_arena *a, const ed_mask_dims *d, const int32_t *document, bool causal, ed_labels *out, ed_error *err);
/** Chunks of c rows: i sees j iff 0 <= floor(i/c) - floor(j/c) <= left/c. left < 0: unlimited past; else left % c must be 0. */
ED_API ed_status ed_mask_chunks(ed_arena *a, const ed_mask_dims *d, int64_t c, int64_t left, ed_labels *out, ed_error *err);
/** Rows see every key of a level up to their own (scales, groups, fronts): level[batch, keys], any integers; a query has the level of its own place. */
ED_API ed_status ed_mask_levels(ed_arena *a, const ed_mask_dims *d, const int32_t *level, ed_labels *out, ed_error *err);

typedef enum ed_arrow_kind {
    ED_ARROW,          /* context rows see everything; candidate rows see the context and themselves */
    ED_ARROW_NO_SIGHT, /* as ED_ARROW, but context rows see the context only */
    ED_ARROW_DIAGONAL  /* context sees context, each candidate itself */
} ed_arrow_kind;
/** One context with several candidates: span[batch, keys] = -1 context, k >= 0 candidate k, -2 pad. Inside a span sight is full. */
ED_API ed_status ed_mask_arrow(ed_arena *a, const ed_mask_dims *d, const int32_t *span, ed_arrow_kind kind, ed_labels *out, ed_error *err);
/** Side blocks packed behind real rows: block[batch, keys] = -1 for a real row (causal among real rows), else the number of its block (causal inside, in key order);
 *  limit[batch, keys]: last real row, by key index, that a block row sees (-1: none); ignored for real rows. */
ED_API ed_status ed_mask_side_blocks(ed_arena *a, const ed_mask_dims *d, const int32_t *block, const int32_t *limit, ed_labels *out, ed_error *err);
/** Tree of n nodes = the queries, whose keys are the last n; the keys - n keys before are seen by all. parent[batch, n] < own index, -1 for roots. */
ED_API ed_status ed_mask_tree(ed_arena *a, const ed_mask_dims *d, const int32_t *parent, ed_labels *out, ed_error *err);
/** Every row hides a random `ratio` of the words, and itself: `sets` draws a batch item, each row takes one of them. word[batch, keys]: number of the key's word,
 *  whose keys hide together; < 0: never hidden by a draw. Advances rng. */
ED_API ed_status ed_mask_random_rows(ed_arena *a, const ed_mask_dims *d, const int32_t *word, double ratio, int64_t sets, ed_rng *rng, ed_labels *out, ed_error *err);
/** Sampled block diagonals, causal: distance 0 is kept, distance k > 0 with probability[k]; n = number of distances (at least the blocks of the longest row).
 *  importance: adds ln(1 / probability) to the scores of kept blocks. Advances rng by n draws. */
ED_API ed_status ed_mask_block_diagonals(ed_arena *a, const ed_mask_dims *d, int64_t block, const double *probability, int64_t n, bool importance, ed_rng *rng,
                                         ed_labels *out, ed_error *err);
/** probability[k] = max(0.05, r^k) with r such that the expected share of kept blocks of the lower triangle of n x n blocks is `density` in (0, 1]; n >= 1. When
 *  even r = 0 keeps more, r = 0. */
ED_API ed_status ed_mask_block_probability(int64_t n, double density, double *probability);

#ifdef __cplusplus
}
#endif
#endif
