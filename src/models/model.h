/* models/model.h - the insides of transformer models, shared by the files of this folder only. */
#ifndef ED_MODELS_MODEL_H
#define ED_MODELS_MODEL_H

#include "base/internal.h"
#include "endec/io.h"
#include "endec/model.h"
#include "nn/position.h"

typedef struct ed__linear {
    ed_param *w, *b; /* [out, in], [out] or NULL */
} ed__linear;
typedef struct ed__norm {
    ed_param *w, *b; /* [d]; w NULL: absent */
} ed__norm;
typedef struct ed__attention {
    ed__linear q, k, v, o;
    ed__norm norm;
    ed_position pos;
} ed__attention;
typedef struct ed__block {
    ed__attention self, cross; /* cross.q.w NULL: none */
    ed__norm mlp_norm;
    ed__linear up, gate, down;
    int layer;
    bool causal;
} ed__block;
typedef struct ed__stack {
    ed_param *embed, *types;
    ed_position pos;
    ed__norm embed_norm, final_norm;
    ed__block *blocks;
    int64_t n;
    bool causal;
} ed__stack;

struct ed_model {
    ed_model_config config;
    ed_params *params;
    ed_arena *arena; /* blocks, tables, slopes */
    ed_dtype dtype;  /* compute dtype: F32 or F64 */
    ed_dtype matrix_dtype; /* stored format of matrices */
    ed__stack encoder, decoder;
    ed__linear head; /* w = an embedding table when tied */
    ed__linear pooler; /* encoder-only, when the checkpoint has one */
};

/* ---- config */
const char *ed__position(const ed_model_config *c);
int64_t ed__head_dim(const ed_model_config *c);
int64_t ed__kv_heads(const ed_model_config *c);

/* ---- names (names.c): a parameter's role in a block or stack, and its name in the config's family */
typedef enum ed__role {
    ED__EMBED, ED__TYPES, ED__POSITIONS, ED__EMBED_NORM, ED__FINAL_NORM, ED__HEAD, /* per stack */
    ED__SELF, ED__SELF_Q, ED__SELF_K, ED__SELF_V, ED__SELF_O, ED__SELF_NORM,       /* per block; ED__SELF is the prefix of relative tables */
    ED__CROSS_Q, ED__CROSS_K, ED__CROSS_V, ED__CROSS_O, ED__CROSS_NORM, ED__UP, ED__GATE, ED__DOWN, ED__MLP_NORM, ED__ROLE_COUNT
} ed__role;
/** Name without ".weight"/".bias". decoder: which stack of an encoder-decoder; layer < 0 for stack roles. Returns buf. */
const char *ed__param_name(const ed_model_config *c, ed__role role, bool decoder, int64_t layer, char *buf, size_t bytes);

/* ---- build (arch_transformer.c) */
ed_status ed__model_build(const ed_model_config *c, ed_dtype dtype, ed_dtype matrix_dtype, uint64_t seed, bool init, ed_model **out, ed_error *err);

/* ---- forward (forward.c), also used by cache.c */
ed_tensor *ed__norm_apply(const ed_model *m, ed_graph *g, const ed__norm *n, ed_tensor *x);
ed_tensor *ed__linear_apply(ed_graph *g, const ed__linear *l, ed_tensor *x);
/** Rotates x [.., T, H, D] when the block has rotary positions. positions I32 [.., T]. */
ed_tensor *ed__rotate(const ed_model *m, ed_graph *g, const ed_position *p, ed_tensor *x, const ed_tensor *positions);

/** One attention sublayer's mixing step, whatever stands behind it: x [.., d] (normed) to [.., heads * head_dim] before the output projection. */
typedef ed_tensor *(*ed__mix_fn)(void *ctx, const ed_model *m, ed_graph *g, const ed__block *b, const ed__attention *a, bool cross, ed_tensor *x);
/** A block over x [.., d]. */
ed_tensor *ed__block_apply(const ed_model *m, ed_graph *g, const ed__block *b, ed_tensor *x, ed__mix_fn mix, void *ctx);
/** Embedding of ids (positions I32 of the same shape): [.., d]. embeddings replaces the table's rows. */
ed_tensor *ed__embed(const ed_model *m, ed_graph *g, const ed__stack *s, const ed_tensor *ids, ed_tensor *embeddings, const ed_tensor *positions,
                     const ed_tensor *types);
ed_tensor *ed__stack_finish(const ed_model *m, ed_graph *g, const ed__stack *s, ed_tensor *x);

#endif
