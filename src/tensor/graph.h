/* tensor/graph.h - the insides of graphs, storages and gradients, shared by tensor.c, graph.c, tape.c, checkpoint.c, param.c, grads.c only. */
#ifndef ED_TENSOR_GRAPH_H
#define ED_TENSOR_GRAPH_H

#include "tensor/op.h"

/** Memory behind one or more tensors (views). Value and gradient share one layout: numel contiguous elements. */
struct ed_storage {
    void *data;
    int64_t numel;
    ed_dtype dtype;
    bool needs_grad; /* fixed when the storage is made (or by ed_watch on a leaf) */
    bool watched;    /* keep the gradient after backward */
    bool produced;   /* made by a recorded op */
    uint32_t epoch;  /* backward call in which `grad` was last written; 0 = never */
    void *grad;      /* [numel] of the gradient's dtype, or NULL */
    ed_param *param; /* leaf of this parameter, or NULL */
};

enum { ED__POOL_BUCKETS = 64 };
/** Free gradient buffers by size, so that backward needs memory for the live ones only. */
typedef struct ed__free_block {
    struct ed__free_block *next;
    size_t bytes;
} ed__free_block;

typedef struct ed__leaf {
    const ed_param *param;
    ed_tensor *tensor;
} ed__leaf;

struct ed_graph {
    ed_graph_opts opts;
    ed_arena *arena;   /* values, calls, attributes of one pass */
    ed_arena *leaves;  /* leaf tensors of parameters: survive rewinds within a pass */
    ed_arena *grads_arena; /* gradients of activations of one backward call */
    ed_arena *scratch; /* temporary memory of one op call */
    ed_call **tape;
    size_t n_tape, cap_tape;
    ed__leaf *leaf_table; /* open addressing, size power of two */
    size_t n_leaves, cap_leaves;
    ed_grads *grads; /* borrowed */
    uint32_t epoch;
    ed__free_block *pool[ED__POOL_BUCKETS];
    uint64_t seed;
    uint32_t step, pass;
    ed_hook_fn hook;
    void *hook_user;
    ed_graph_counters count;
    ed_error error;
    /* backward of one call: views whose contiguous temporary must be scattered into the storage's gradient afterwards */
    struct {
        int input;
        ed_tensor *temp;
    } pending[16];
    int n_pending;
    const ed_call *running; /* call in whose backward we are */
};

struct ed_params {
    ed_param **items;
    size_t n, cap;
    size_t *table; /* open addressing by name hash: index + 1, 0 = free */
    size_t table_cap;
};

typedef struct ed__sparse {
    int32_t *ids;
    void *rows;
    int64_t n;
    size_t cap_ids, cap_rows;
    bool merged; /* ids ascending and unique */
} ed__sparse;

struct ed_grads {
    const ed_params *set;
    ed_dtype dtype;
    void *flat;
    int64_t numel;
    int64_t *offset; /* per parameter: place in flat; -1 frozen; -2 row-sparse */
    ed__sparse *sparse;
    int64_t n;
};

ed_dtype ed__grad_dtype(ed_dtype d);
/** Storage + tensor in `a`; data NULL = allocate. NULL when memory or the cap is reached (error set on g). */
ed_tensor *ed__tensor_make(ed_graph *g, ed_arena *a, ed_dtype dtype, int rank, const int64_t *shape, void *data);
bool ed__shape_ok(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, int64_t *numel, size_t *bytes);
void ed__contiguous_strides(int rank, const int64_t *shape, int64_t *stride);
bool ed__grads_add_rows(ed_grads *g, const ed_param *p, const int32_t *ids, int64_t n, const void *rows);
/** Gradient buffer of a storage in this backward call; *fresh when nothing was written yet (then uninitialised). NULL: memory. */
void *ed__storage_grad(ed_graph *g, ed_storage *s, bool *fresh);
/** storage gradient of t's view += src (contiguous, t's shape). */
bool ed__grad_scatter(ed_graph *g, const ed_tensor *t, const void *src, ed_dtype src_dtype);
/** Reverse walk over tape entries [from, to), newest first. */
ed_status ed__tape_run(ed_graph *g, size_t from, size_t to);
bool ed__tape_push(ed_graph *g, ed_call *c);
extern const ed_op ed__op_checkpoint;

#endif
