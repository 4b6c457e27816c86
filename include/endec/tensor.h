/* endec/tensor.h - tensors, parameters, graphs (arena + tape), gradients.
 *
 * A tensor is a strided view of a storage. An op (ops.h, attention.h) takes a graph and tensors, computes at once, and returns a new tensor that
 * lives in the graph's arena until ed_graph_reset. When an operand needs a gradient the op is also recorded on the graph's tape.
 *   - NULL operands give NULL; the first error stays on the graph (ed_graph_status), so building code checks once, at the end.
 *   - Views (reshape, permute, slice, expand, ...) copy nothing and record nothing: value AND gradient live in the storage.
 *   - Who needs a gradient is a property of the graph (ed_graph_set_grads, ed_watch), never of the model: one model may be frozen in one graph
 *     and trained in another.
 *   - A graph belongs to one thread at a time; ops use the thread pool inside. Parameters that no graph trains may be shared by all graphs. */
#ifndef ENDEC_TENSOR_H
#define ENDEC_TENSOR_H

#include "endec/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ number formats */

/** Element formats. The first two can be computed in (F64 is the oracle: every op runs in it through plain C); BF16 and F16 are storage formats
 *  for weights and caches; I32, U8, BOOL hold ids, bytes and masks. Block formats are appended here by src/tensor/quant_<name>.c. */
typedef enum ed_dtype { ED_DTYPE_F32, ED_DTYPE_F64, ED_DTYPE_BF16, ED_DTYPE_F16, ED_DTYPE_I32, ED_DTYPE_U8, ED_DTYPE_BOOL, ED_DTYPE_COUNT } ed_dtype;
ED_API const char *ed_dtype_name(ed_dtype d); /* "f32", ...; "?" when out of range */
ED_API size_t ed_dtype_bytes(ed_dtype d);     /* bytes per element */
ED_API bool ed_dtype_is_float(ed_dtype d);    /* F32, F64, BF16, F16 */
ED_API uint16_t ed_f32_to_bf16(float x);      /* round to nearest even; NaN stays NaN */
ED_API float ed_bf16_to_f32(uint16_t x);
ED_API uint16_t ed_f32_to_f16(float x);
ED_API float ed_f16_to_f32(uint16_t x);

/* ------------------------------------------------------------------ tensors */

enum { ED_MAX_RANK = 8 };
typedef struct ed_graph ed_graph;
typedef struct ed_storage ed_storage;

/** Read the fields freely; only ops and ed_tensor_* create tensors. Row-major: the last axis is the fastest. Strides count elements. */
typedef struct ed_tensor {
    void *data; /* first element of this view */
    int64_t shape[ED_MAX_RANK];
    int64_t stride[ED_MAX_RANK];
    int rank; /* 0 = a single number */
    ed_dtype dtype;
    ed_storage *storage; /* owner of value and gradient; private */
} ed_tensor;

ED_API int64_t ed_numel(const ed_tensor *t);
ED_API bool ed_is_contiguous(const ed_tensor *t);
/** Element by flat row-major index, converted to double (slow: for tests, printing, scalars). */
ED_API double ed_get(const ed_tensor *t, int64_t flat_index);
/** Copies all elements in row-major order to f32 / f64. out: [numel]. */
ED_API void ed_copy_out_f32(const ed_tensor *t, float *out);
ED_API void ed_copy_out_f64(const ed_tensor *t, double *out);
/** "f32[2, 3, 64]". Returns buf. */
ED_API const char *ed_shape_text(const ed_tensor *t, char *buf, size_t buf_bytes);

/* ------------------------------------------------------------------ parameters
 * A parameter is named storage outside any graph. A parameter set owns parameters in a fixed order (the order of files, gradients, optimiser state). */

typedef struct ed_param {
    char *name;
    ed_dtype dtype;
    int rank;
    int64_t shape[ED_MAX_RANK];
    int64_t numel;
    void *data;       /* contiguous; read-only when `mapped` */
    bool mapped;      /* data belongs to a memory-mapped file */
    bool no_decay;    /* biases, norms, tables whose decay would change the method: optimisers skip weight decay */
    bool row_sparse;  /* gradient is kept as touched rows (embedding tables that ask for it) */
    int32_t index;    /* place in its set */
    uint64_t version; /* raised by every change of the data, so that packed copies know they are stale */
    void *packed;     /* private: packed copy for the decode kernels */
} ed_param;

typedef struct ed_params ed_params;
ED_API ed_status ed_params_create(ed_params **out);
ED_API void ed_params_destroy(ed_params **set);
/** Adds a zero-filled parameter. The name must be new (ED_E_INVALID). The set owns it; *out (may be NULL) stays valid until the set is destroyed. */
ED_API ed_status ed_params_add(ed_params *set, const char *name, ed_dtype dtype, int rank, const int64_t *shape, ed_param **out, ed_error *err);
ED_API int64_t ed_params_count(const ed_params *set);
ED_API ed_param *ed_params_at(const ed_params *set, int64_t i);
ED_API ed_param *ed_params_find(const ed_params *set, const char *name); /* NULL when absent */
ED_API int64_t ed_params_numel(const ed_params *set);                    /* numbers in all parameters */
/** Tells that p->data was changed by hand. */
ED_API void ed_param_touch(ed_param *p);
/** XXH3 hash over names, shapes and bytes: proves that frozen weights did not move. */
ED_API uint64_t ed_params_hash(const ed_params *set);
/** Initialisers by name, keyed by (seed, parameter name): normal(a = std), truncated (normal cut at 2 std, a = std), uniform(a = bound),
 *  kaiming (uniform, fan-in, a = negative slope), xavier (uniform), zero, one, constant(a), identity. ED_E_NOT_FOUND for another name. */
ED_API ed_status ed_param_init(ed_param *p, const char *kind, double a, uint64_t seed, ed_error *err);
/** Glob match with '*' and '?' over the whole name; several patterns parted by ',' (any may match); a leading '!' takes matches away again. */
ED_API bool ed_name_match(const char *patterns, const char *name);

/** Gradients of (some) parameters of a set in ONE flat buffer, in set order. dtype F32 or F64. trainable: patterns for ed_name_match, NULL = all.
 *  Row-sparse parameters stand outside the flat buffer as (ids, rows). */
typedef struct ed_grads ed_grads;
ED_API ed_status ed_grads_create(const ed_params *set, const char *trainable, ed_dtype dtype, ed_grads **out, ed_error *err);
ED_API void ed_grads_destroy(ed_grads **g);
ED_API void ed_grads_zero(ed_grads *g);
ED_API void *ed_grads_flat(ed_grads *g, int64_t *numel);              /* the buffer: [numel] */
ED_API void *ed_grads_of(ed_grads *g, const ed_param *p);             /* [p->numel]; NULL: frozen or row-sparse */
/** Rows touched so far of a row-sparse parameter: ids ascending and unique, rows [*n, row]. */
ED_API int64_t ed_grads_rows_of(ed_grads *g, const ed_param *p, const int32_t **ids, const void **rows);
ED_API bool ed_grads_wants(const ed_grads *g, const ed_param *p);
/** Square root of the sum of squares over all, in f64, fixed order. */
ED_API double ed_grads_norm(ed_grads *g);
ED_API void ed_grads_scale(ed_grads *g, double factor);

/* ------------------------------------------------------------------ graphs */

typedef struct ed_graph_opts {
    size_t cap_bytes;      /* arena cap; 0 = none. Passing it makes ops return NULL with ED_E_LIMIT; the graph can be reset and used again */
    bool record;           /* record ops whose operands need gradients (training) */
    bool train;            /* dropout and other training-only behaviour is on */
    bool strict;           /* decode path: fixed reduction order, independent of batch mates, row counts and threads */
    ed_dtype matmul_dtype; /* ED_DTYPE_BF16: matrix products round f32 operands to bf16 and accumulate in f32; ED_DTYPE_F32: plain */
} ed_graph_opts;
ED_API ed_graph_opts ed_graph_opts_train(void); /* record, train */
ED_API ed_graph_opts ed_graph_opts_infer(void); /* strict */
ED_API ed_status ed_graph_create(const ed_graph_opts *opts, ed_graph **out);
ED_API void ed_graph_destroy(ed_graph **g);
/** Forgets tape and tensors, keeps memory. Clears the error. */
ED_API void ed_graph_reset(ed_graph *g);
ED_API const ed_graph_opts *ed_graph_get_opts(const ed_graph *g);
/** First error since creation or reset. */
ED_API ed_status ed_graph_status(const ed_graph *g, ed_error *err);
/** Puts an error on the graph (first one wins) and returns NULL, for code that composes ops. */
ED_API ed_tensor *ed_graph_fail(ed_graph *g, ed_status s, const char *fmt, ...) ED_PRINTF(3, 4);

/** Switches recording for the ops that follow; returns the old value. Teacher passes run with false. */
ED_API bool ed_graph_set_record(ed_graph *g, bool on);
ED_API bool ed_graph_set_train(ed_graph *g, bool on);
/** Where parameter gradients land (accumulated over any number of backward calls); NULL: all parameters are frozen in this graph. The graph
 *  borrows it. Set it before the forward pass. */
ED_API void ed_graph_set_grads(ed_graph *g, ed_grads *grads);
/** Random draws are keyed by (seed, step, pass, site, element), never by tape order: recomputation draws the same numbers. */
ED_API void ed_graph_seed(ed_graph *g, uint64_t seed, uint32_t step);
ED_API uint32_t ed_graph_set_pass(ed_graph *g, uint32_t pass);
/** The key and the first counter words of draws at `site` (32-bit, e.g. a hash of the layer's name). */
ED_API ed_rng_key ed_graph_rng_key(const ed_graph *g, uint32_t site);

/** Bytes now, most bytes ever, multiply-adds (as 2 flops), and non-linear elements computed since reset. */
typedef struct ed_graph_counters {
    size_t bytes, peak_bytes;
    double flops;
    double nonlinear;
    int64_t ops, recorded;
} ed_graph_counters;
ED_API ed_graph_counters ed_graph_count(const ed_graph *g);
ED_API ed_arena *ed_graph_arena(ed_graph *g); /* for side data of one pass */

/* Leaves */
/** Uninitialised / zeroed / filled tensor in the arena. */
ED_API ed_tensor *ed_new(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape);
ED_API ed_tensor *ed_zeros(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape);
ED_API ed_tensor *ed_full(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, double value);
/** Copies caller's data (contiguous, of `dtype`). */
ED_API ed_tensor *ed_from(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, const void *data);
/** As ed_from without a copy: data must outlive the graph's pass and is never written. */
ED_API ed_tensor *ed_wrap(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, const void *data);
/** The parameter as a tensor of this graph (the same tensor each time within one pass). */
ED_API ed_tensor *ed_use(ed_graph *g, ed_param *p);
/** Asks for the gradient of t's storage: a leaf then counts as needing a gradient, an activation keeps its gradient after backward. Call it before
 *  t is used. Returns t. */
ED_API ed_tensor *ed_watch(ed_graph *g, ed_tensor *t);
ED_API bool ed_needs_grad(const ed_tensor *t);

/* Backward */
typedef struct ed_seed {
    ed_tensor *tensor;          /* where the pass starts */
    const ed_tensor *cotangent; /* same shape; NULL: ones */
} ed_seed;
/** Reverse pass over the tape from the seeds. Parameter gradients are ADDED to the graph's ed_grads. May run several times on one tape with other
 *  seeds: gradients of watched tensors are those of the latest call. */
ED_API ed_status ed_backward(ed_graph *g, const ed_seed *seeds, int n, ed_error *err);
/** ed_backward from one scalar loss with cotangent `scale` (1/accumulation steps, loss scaling). */
ED_API ed_status ed_backward_loss(ed_graph *g, ed_tensor *loss, double scale, ed_error *err);
/** Gradient of a watched tensor after backward (a tensor of t's shape, valid until the next backward or reset); NULL when none reached it. */
ED_API ed_tensor *ed_grad(ed_graph *g, const ed_tensor *t);

/** Runs fn(ctx, g, inputs) without keeping its activations; backward runs it again. fn must be deterministic, use only `in`, parameters and
 *  constants, and return one tensor. Saves memory at the price of a second forward. */
typedef ed_tensor *(*ed_checkpoint_fn)(void *ctx, ed_graph *g, ed_tensor **in, int n_in);
ED_API ed_tensor *ed_checkpoint(ed_graph *g, ed_checkpoint_fn fn, void *ctx, ed_tensor **in, int n_in);

/** Inference helper: frees everything allocated since the mark except the values of *keep (copied below the mark; *keep is updated). Does nothing while
 *  recording. */
typedef struct ed_graph_mark {
    ed_arena_mark data;
} ed_graph_mark;
ED_API ed_graph_mark ed_graph_get_mark(ed_graph *g);
ED_API void ed_graph_release(ed_graph *g, ed_graph_mark m, ed_tensor **keep, int n_keep);

/* ------------------------------------------------------------------ hooks: named read / replace points
 * Model code passes activations through ed_site(g, "layer", n, "mlp_out", x). With no hook installed this is one branch. */
typedef ed_tensor *(*ed_hook_fn)(void *user, ed_graph *g, const char *site, int layer, ed_tensor *x); /* returns x (read) or its replacement */
ED_API void ed_graph_set_hook(ed_graph *g, ed_hook_fn fn, void *user); /* survives reset; NULL removes */
ED_API ed_tensor *ed_site(ed_graph *g, const char *site, int layer, ed_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
