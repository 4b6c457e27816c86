/* tensor/op.h - how an op is written. One op = one `ed_op` row: shape rule, forward, backward, flops, side by side in op_<family>.c; ops.c lists the rows.
 *
 * Life of a call: the public function fills an attribute struct and calls ed__op_run. That checks that no operand is NULL, copies the attributes
 * into the arena, calls row->shape (which checks operands and creates outputs with ed__op_out / ed__op_aux), then row->forward, and records the call on
 * the tape when recording is on and an operand needs a gradient. Backward visits recorded calls in reverse and calls row->backward for those whose
 * output received a gradient.
 *
 * Rules for a row:
 *   - shape: only place that may fail. Return ed__op_fail(c, status, fmt, ...) (= false) on error, true when outputs are made.
 *   - forward: must not fail; writes every element of every output. Outputs are contiguous. Inputs may have any strides (0 and gaps too);
 *     ed__dense(c->g, t) gives a contiguous copy (or t itself) in scratch memory.
 *   - backward: for each input i with ed__bw_wants(c, i), ADD its gradient: dx = ed__bw_grad_in(c, i) gives a contiguous, zero-filled or
 *     partly filled buffer of the input's shape to accumulate into (+=); pass `fresh` to learn that the buffer holds nothing yet, in which case the row
 *     must overwrite all of it and may skip reading. When all inputs are done return; the tape scatters views back into their storages.
 *     dy = ed__bw_grad_out(c, j) is contiguous, or NULL when output j received no gradient (treat as zeros).
 *   - an op must not change its inputs. Sums: fixed order for any thread count: split work over outputs, never over the summed axis.
 *   - two dtypes: write loops once as a template over T (float and double), see ED_FLOAT_DISPATCH; F32 hot loops call kernels (kernel.h). */
#ifndef ED_TENSOR_OP_H
#define ED_TENSOR_OP_H

#include "base/internal.h"
#include "endec/ops.h"
#include "endec/tensor.h"

enum { ED__OP_MAX_OUT = 4, ED__OP_MAX_AUX = 8 };

typedef struct ed_op ed_op;
typedef struct ed_call ed_call;

struct ed_op {
    const char *name;
    bool (*shape)(ed_call *c);
    void (*forward)(const ed_call *c);
    void (*backward)(const ed_call *c); /* NULL: no gradient flows (outputs never need one) */
    double (*flops)(const ed_call *c);  /* multiply-adds as 2; NULL: 0 */
    bool nonlinear;                     /* counts into nonlinear elements */
};

/** One recorded (or just running) call. */
struct ed_call {
    const ed_op *op;
    ed_graph *g;
    void *attrs; /* the row's attribute struct, in the arena */
    ed_tensor **in; /* [n_in]; entries may be NULL where the op allows an absent operand */
    int n_in, n_out, n_aux;
    uint32_t pass; /* RNG pass at call time */
    ed_tensor *out[ED__OP_MAX_OUT];
    ed_tensor *aux[ED__OP_MAX_AUX]; /* saved for backward (log-sum-exp, masks, ids, ...) */
};

/** Runs an op. optional: bit i set = in[i] may be NULL (absent). attrs may be NULL with 0 bytes. Returns out[0] or NULL; the call itself in *call (may be
 *  NULL) for ops with several outputs. */
ed_tensor *ed__op_run(ed_graph *g, const ed_op *op, const void *attrs, size_t attrs_bytes, ed_tensor *const *in, int n_in, uint32_t optional,
                      const ed_call **call);

/* inside shape */
bool ed__op_fail(ed_call *c, ed_status s, const char *fmt, ...) ED_PRINTF(3, 4); /* returns false; prefixes the op's name */
/** Adds an output / a saved tensor; NULL when the arena's cap is reached (then return false; the error is on the graph). */
ed_tensor *ed__op_out(ed_call *c, ed_dtype dtype, int rank, const int64_t *shape);
ed_tensor *ed__op_aux(ed_call *c, ed_dtype dtype, int rank, const int64_t *shape);
/** True when the tape will record this call (so aux tensors that only backward needs can be skipped otherwise). Valid inside shape and forward. */
bool ed__op_recording(const ed_call *c);
bool ed__op_axis(ed_call *c, const ed_tensor *x, int axis, int *out); /* normalises a negative axis, checks the range */

/* inside forward and backward */
/** Contiguous form of t: t itself, or a copy in scratch that lives until the call returns. NULL only when memory is gone (sets the graph's error: return). */
const ed_tensor *ed__dense(ed_graph *g, const ed_tensor *t);
/** Scratch memory, 64-byte aligned, until the call returns. */
void *ed__scratch(ed_graph *g, size_t bytes);
bool ed__bw_wants(const ed_call *c, int i);
ed_tensor *ed__bw_grad_in(const ed_call *c, int i, bool *fresh); /* contiguous, shape of in[i]; NULL when memory is gone */
const ed_tensor *ed__bw_grad_out(const ed_call *c, int j);
/** If in[i] is (a full view of) a row-sparse parameter: adds rows to its sparse gradient and returns true; then do not call ed__bw_grad_in.
 *  ids [n] need not be unique; rows [n, row]. */
bool ed__bw_sparse_rows(const ed_call *c, int i, const int32_t *ids, int64_t n, const void *rows);

/** Philox key of a site and the counter words 2 (step) and 3 (pass); words 0 and 1 are the element counter, left 0. */
void ed__graph_rng(const ed_graph *g, uint32_t site, uint32_t pass, ed_rng_key *key, uint32_t counter[4]);

/* helpers */
bool ed__same_shape(const ed_tensor *a, const ed_tensor *b);
/** NumPy broadcast of two shapes into shape/rank; false when they do not fit. */
bool ed__broadcast_shape(const ed_tensor *a, const ed_tensor *b, int *rank, int64_t *shape);
/** product of shape[from..to) */
int64_t ed__prod(const ed_tensor *t, int from, int to);
/** dst (contiguous, any float dtype or equal dtype) = src (any strides), row-major; converts float formats. */
void ed__copy_strided(const ed_tensor *src, ed_tensor *dst);
/** A tensor struct without storage, for passing plain memory around. */
ed_tensor ed__view_of(void *data, ed_dtype dtype, int rank, const int64_t *shape);
/** Makes a view tensor of the same storage in the arena (used by view ops). data/shape/stride set by the caller afterwards. */
ed_tensor *ed__new_view(ed_graph *g, const ed_tensor *base);
ed_param *ed__param_of(const ed_tensor *t); /* the parameter behind a leaf view, or NULL */

/** Runs STATEMENT with `T` defined by the including template; usual pattern:
 *      #define T float  / #include "op_x_tmpl.h" ... or, inline, a macro body used for float and double:
 *      ED_FLOAT_DISPATCH(x->dtype, name_f32(...), name_f64(...)); */
#define ED_FLOAT_DISPATCH(dt, f32_expr, f64_expr) \
    do {                                           \
        if ((dt) == ED_DTYPE_F64) {                \
            f64_expr;                              \
        } else {                                   \
            f32_expr;                              \
        }                                          \
    } while (0)

/** All rows (ops.c). */
extern const ed_op *const ed__ops[];
extern const int ed__n_ops;

#endif
