/* tensor/nd.h - element loops over strided operands, shared by the elementwise and reduction ops.
 *
 * An ed__nd walks an output shape in row-major order together with up to four operands of any strides (0 = broadcast). Size-1 axes are
 * dropped and neighbouring axes merged where every operand allows it, so that the common cases (equal shapes, [.., n] with [n], a scalar, a
 * column) end as one or two axes with a long inner loop. Offsets and strides count elements. Sums run in an order that depends on shapes
 * only, never on the thread count. */
#ifndef ED_TENSOR_ND_H
#define ED_TENSOR_ND_H

#include "tensor/op.h"

enum {
    ED__ND_MAX = 4,       /* operands */
    ED__ND_TILE = 512,    /* elements handed to a term function at once: a few tiles fit the L1 cache */
    ED__ND_GRAIN = 32768, /* elements below which a loop stays on the calling thread */
};

typedef struct ed__nd {
    int rank; /* >= 1 */
    int n_in;
    int64_t numel;
    int64_t shape[ED_MAX_RANK];
    int64_t stride[ED__ND_MAX][ED_MAX_RANK];
} ed__nd;

/** in: [n_in], each broadcastable to shape (right-aligned). */
void ed__nd_init(ed__nd *nd, int rank, const int64_t *shape, const ed_tensor *const *in, int n_in);
/** Stride of operand i inside a row. */
static inline int64_t ed__nd_inner(const ed__nd *nd, int i) {
    return nd->stride[i][nd->rank - 1];
}

/** A piece of one row: n elements from flat output position pos; off[i]: offset of operand i there. Pieces run on several threads. */
typedef void (*ed__nd_row_fn)(void *ctx, int64_t pos, const int64_t *off, int64_t n);
void ed__nd_run(const ed__nd *nd, ed__nd_row_fn fn, void *ctx);

/** The n (<= ED__ND_TILE) values at flat position pos. Returns them: written to tmp, or standing elsewhere. */
typedef const void *(*ed__nd_term_fn)(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp);
/** y (+)= terms summed over the axes on which operand `target` is broadcast. y: contiguous F32 or F64 with the shape behind operand
 * `target`, which must have been given to ed__nd_init with y's own strides. fresh: overwrite. Sums of long runs go through tiles, so that
 * the rounding error stays small. */
void ed__nd_reduce(const ed__nd *nd, int target, ed_tensor *y, bool fresh, ed__nd_term_fn fn, void *ctx);

/** y (+)= factor * x for contiguous tensors of equal element count and any float dtypes. fresh: overwrite. */
void ed__nd_axpy(double factor, const ed_tensor *x, ed_tensor *y, bool fresh);

/** n elements of p with stride s as contiguous memory: p itself, or gathered into tmp. */
static inline const float *ed__tile_f32(const float *p, int64_t s, int64_t n, float *tmp) {
    if (s == 1)
        return p;
    for (int64_t i = 0; i < n; i++)
        tmp[i] = p[i * s];
    return tmp;
}
static inline const double *ed__tile_f64(const double *p, int64_t s, int64_t n, double *tmp) {
    if (s == 1)
        return p;
    for (int64_t i = 0; i < n; i++)
        tmp[i] = p[i * s];
    return tmp;
}

#endif
