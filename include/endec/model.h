/* endec/model.h - transformer models: encoder-decoder, decoder-only, encoder-only, from one set of blocks and one config.
 *
 * One forward serves training and running: what differs is the graph's mode, the weights' number format, and whether a cache stands behind attention.
 * Parameters carry the names that Hugging Face gives them for the config's family (m2m_100, llama, bert), so that their tools open a saved folder.
 * Shapes: B sequences, T rows each (S on the source side), d = d_model, V = vocab_size. Padding comes at the end of a sequence; its content never
 * changes another row. */
#ifndef ENDEC_MODEL_H
#define ENDEC_MODEL_H

#include "endec/attention.h"
#include "endec/ops.h"
#include "endec/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ed_model_kind { ED_MODEL_ENCDEC, ED_MODEL_DECODER, ED_MODEL_ENCODER } ed_model_kind;
typedef enum ed_norm_kind { ED_NORM_LAYER, ED_NORM_RMS } ed_norm_kind;
typedef enum ed_norm_place { ED_NORM_PRE, ED_NORM_POST } ed_norm_place;

/** Everything that shapes a model. Plain data apart from `position` (owned). The table of ed_model_options() describes each field. */
typedef struct ed_model_config {
    int kind;           /* ed_model_kind */
    int64_t vocab_size, d_model, d_ff, n_heads, n_kv_heads, head_dim; /* n_kv_heads 0 = n_heads; head_dim 0 = d_model / n_heads */
    int64_t encoder_layers, decoder_layers;
    int64_t max_positions; /* longest sequence of learned positions and relative tables; the context limit otherwise */
    int norm, norm_place;  /* ed_norm_kind, ed_norm_place */
    double norm_eps;
    int activation; /* ed_unary */
    bool gated_mlp; /* act(gate(x)) * up(x) */
    char *position; /* position seats joined by '+': none learned sinusoidal rope alibi t5 relative urpe; see nn.h */
    double rope_theta, rope_scale;
    int rope_kind;         /* ed_rope_kind */
    int64_t rotary_dims;   /* 0 = head_dim */
    int64_t position_offset; /* added to positions of learned and sinusoidal tables */
    int64_t relative_max;  /* furthest offset with an entry of its own in relative tables */
    int64_t relative_buckets; /* T5 buckets */
    bool share_position_tables; /* one relative table for all layers of a stack, owned by the first */
    bool scale_embedding, embedding_norm, tie_embeddings, tie_encoder_decoder;
    bool attention_bias, output_bias, mlp_bias, norm_bias;
    double softcap; /* of attention scores; 0 = off */
    double attention_scale; /* 0 = 1/sqrt(head_dim) */
    double dropout, attention_dropout, activation_dropout;
    double init_std; /* 0 = Xavier for matrices and d^-0.5 for embeddings */
    int64_t type_vocab; /* segment ids of encoder-only models; 0 = none */
    int64_t pad_id, bos_id, eos_id, unk_id, decoder_start_id; /* -1 = absent */
} ed_model_config;

/** A small pre-norm encoder-decoder; every field set. */
ED_API ed_model_config ed_model_config_default(void);
/** The option table (keys, bounds, help) of ed_model_config and its length. */
ED_API const ed_option *ed_model_options(size_t *n);
/** Checks the fields against each other (divisibility, ranges, known positions). */
ED_API ed_status ed_model_config_check(const ed_model_config *c, ed_error *err);
ED_API ed_status ed_model_config_copy(const ed_model_config *from, ed_model_config *to);
ED_API void ed_model_config_deinit(ed_model_config *c);
/** config.json text to config, and back. Known families: m2m_100, llama, bert; what those cannot say stands under the key "endec". The text of
 *  save comes from ed_model_text_free'd memory. */
ED_API ed_status ed_model_config_parse(const char *where, const char *text, size_t n, ed_model_config *out, ed_error *err);
ED_API ed_status ed_model_config_json(const ed_model_config *c, ed_dtype weights, char **text, ed_error *err);
ED_API void ed_model_text_free(char **text);

typedef struct ed_model ed_model;
/** A model with initialised weights (f32, or f64 for oracles), keyed by seed and parameter name. */
ED_API ed_status ed_model_create(const ed_model_config *c, ed_dtype dtype, uint64_t seed, ed_model **out, ed_error *err);
/** From a folder with config.json and model.safetensors (or shards), or a llama2.c file or folder. Weights keep F32/BF16/F16 as stored when
 *  `dtype` is ED_DTYPE_COUNT, else they are converted. Missing, extra or misshapen tensors are errors that name them. */
ED_API ed_status ed_model_load(const char *path, ed_dtype dtype, ed_model **out, ed_error *err);
/** Writes config.json and model.safetensors into the folder (atomically each), weights as f32, bf16 or f16. */
ED_API ed_status ed_model_save(const ed_model *m, const char *folder, ed_dtype weights, ed_error *err);
ED_API void ed_model_destroy(ed_model **m);
ED_API const ed_model_config *ed_model_get_config(const ed_model *m);
ED_API ed_params *ed_model_params(const ed_model *m);
/** Numbers by part, embeddings and output head apart (the head counts 0 when tied). */
typedef struct ed_param_count {
    int64_t encoder, decoder, embedding, head, other, total;
} ed_param_count;
ED_API ed_param_count ed_model_count(const ed_model *m);

/** Rows of one side of one pass. ids or embeddings is needed; all arrays are borrowed until the graph is reset. */
typedef struct ed_rows {
    int64_t batch, len;
    const int32_t *ids;       /* [B, T] */
    ed_tensor *embeddings;    /* [B, T, d]: used in place of ids, after any input scaling */
    const int32_t *lengths;   /* [B] real rows of each sequence; NULL = all */
    const int32_t *positions; /* [B, T]; NULL = 0, 1, 2, ... */
    const int32_t *segments;  /* [B, T] document number of packed rows (rows see their own document only); NULL = one document */
    const int32_t *prefix;    /* [B] rows at the start that see each other both ways (prefix LM); NULL = 0 */
    const int32_t *types;     /* [B, T] segment ids of BERT-like encoders; NULL = 0 */
} ed_rows;

/** Encoder states [B, S, d] (after the final norm when the config has one). */
ED_API ed_tensor *ed_model_encode(const ed_model *m, ed_graph *g, const ed_rows *src);
/** Decoder states [B, T, d] with teacher forcing; memory [B, S, d] and src as given to encode (NULL for decoder-only models). */
ED_API ed_tensor *ed_model_decode(const ed_model *m, ed_graph *g, const ed_rows *tgt, ed_tensor *memory, const ed_rows *src);
/** Logits [.., V] of states [.., d]. */
ED_API ed_tensor *ed_model_logits(const ed_model *m, ed_graph *g, ed_tensor *states);

/* ------------------------------------------------------------------ cached decoding */

/** Keys and values of `slots` sequences, contiguous per sequence and layer; each slot has its own length. Cross-attention K/V are computed once. */
typedef struct ed_cache ed_cache;
ED_API ed_status ed_cache_create(const ed_model *m, int64_t slots, int64_t capacity, ed_cache **out, ed_error *err);
ED_API void ed_cache_destroy(ed_cache **c);
ED_API int64_t ed_cache_length(const ed_cache *c, int64_t slot);
ED_API int64_t ed_cache_capacity(const ed_cache *c);
ED_API size_t ed_cache_bytes(const ed_cache *c);
/** Counter raised by every commit, cut or copy of the slot. */
ED_API uint64_t ed_cache_stamp(const ed_cache *c, int64_t slot);
/** Forgets rows from `length` on (roll back). */
ED_API ed_status ed_cache_truncate(ed_cache *c, int64_t slot, int64_t length);
/** Rows, length and cross-attention entry of `from` become those of `to` (beams). */
ED_API ed_status ed_cache_copy(ed_cache *c, int64_t from, int64_t to);
/** Reorders: slot i takes what slot from[i] held before the call, for i in [0, n). */
ED_API ed_status ed_cache_reorder(ed_cache *c, const int32_t *from, int64_t n);
/** Computes the cross-attention keys and values of every decoder layer from memory row `row` (of [B, S, d], real length n) into `slot`. */
ED_API ed_status ed_cache_set_memory(ed_cache *c, ed_graph *g, int64_t slot, const ed_tensor *memory, int64_t row, int64_t n, ed_error *err);

/** One pass over new rows of some slots. Row r belongs to slot[r] and gets the next position of that slot; rows of one slot stand together, in order. */
typedef struct ed_step {
    int64_t n_rows;
    const int32_t *ids;  /* [n_rows] */
    const int32_t *slot; /* [n_rows] */
} ed_step;
/** Decoder states [n_rows, d] of the new rows; their keys and values are appended to the cache. A row's bits do not depend on batch mates, on how many rows
 *  come per pass, or on threads. On error (context full, bad id) the cache is unchanged. */
ED_API ed_tensor *ed_model_step(const ed_model *m, ed_graph *g, ed_cache *c, const ed_step *step);

#ifdef __cplusplus
}
#endif
#endif
