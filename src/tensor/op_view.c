/* tensor/op_view.c - views: new shapes and strides over the same storage. No copy, no tape entry: value and gradient live in the storage.
 *
 * Invariant: every element a view can reach lies inside the base it was made from; all sizes are checked here because nothing after this
 * looks at the storage's bounds again. */
#include "tensor/op.h"

/* x, or an error on the graph (which keeps an earlier one) when an operand is missing */
static bool here(ed_graph *g, const char *op, const ed_tensor *x) {
    if (!x)
        ed_graph_fail(g, ED_E_INVALID, "%s: operand 0 is missing", op);
    return x != NULL;
}

/* axis in [-rank, rank) to [0, rank); -1 with the error on the graph */
static int view_axis(ed_graph *g, const char *op, int rank, int axis) {
    int a = axis < 0 ? axis + rank : axis;
    if (a >= 0 && a < rank)
        return a;
    ed_graph_fail(g, ED_E_RANGE, "%s: axis %d is outside of rank %d", op, axis, rank);
    return -1;
}

/* ---- reshape */

/* Strides of the new shape over x's memory; false when no strides can do it. Groups of old and new axes with equal products are matched
 * from the left; inside a group the old axes must lie as one run. */
static bool reshape_strides(const ed_tensor *x, int rank, const int64_t *shape, int64_t *stride) {
    int64_t old_shape[ED_MAX_RANK], old_stride[ED_MAX_RANK];
    int n = 0, i = 0, j = 0;
    for (int d = 0; d < x->rank; d++) {
        if (x->shape[d] != 1) {
            old_shape[n] = x->shape[d];
            old_stride[n++] = x->stride[d];
        }
    }
    while (i < n && j < rank) {
        int i_end = i + 1, j_end = j + 1;
        int64_t a = old_shape[i], b = shape[j];
        while (a != b) {
            if (a < b)
                a *= old_shape[i_end++];
            else
                b *= shape[j_end++];
        }
        for (int k = i; k + 1 < i_end; k++)
            if (old_stride[k] != old_shape[k + 1] * old_stride[k + 1])
                return false;
        stride[j_end - 1] = old_stride[i_end - 1];
        for (int k = j_end - 1; k > j; k--)
            stride[k - 1] = stride[k] * shape[k];
        i = i_end;
        j = j_end;
    }
    for (; j < rank; j++)
        stride[j] = 1; /* trailing axes of size 1 */
    return true;
}

static void row_major(int rank, const int64_t *shape, int64_t *stride) {
    int64_t s = 1;
    for (int d = rank - 1; d >= 0; d--) {
        stride[d] = s;
        s *= shape[d] > 0 ? shape[d] : 1;
    }
}

/* fills in a size of -1 and checks the count */
static bool reshape_sizes(ed_graph *g, const ed_tensor *x, int rank, const int64_t *shape, int64_t *out) {
    int64_t known = 1, numel = ed_numel(x);
    int open = -1;
    for (int d = 0; d < rank; d++) {
        out[d] = shape[d];
        if (shape[d] == -1 && open < 0)
            open = d;
        else if (shape[d] < 0 || !ed__mul_i64(known, shape[d], &known))
            return ed_graph_fail(g, ED_E_SHAPE, "reshape: size %lld on axis %d is not allowed", (long long)shape[d], d) != NULL;
    }
    if (open >= 0)
        out[open] = known > 0 && numel % known == 0 ? numel / known : -1;
    if (open >= 0 ? out[open] < 0 : known != numel) {
        char text[128];
        return ed_graph_fail(g, ED_E_SHAPE, "reshape: %s does not fit %lld numbers", ed_shape_text(x, text, sizeof text),
                             (long long)known) != NULL;
    }
    return true;
}

ed_tensor *ed_reshape(ed_graph *g, ed_tensor *x, int rank, const int64_t *shape) {
    int64_t sizes[ED_MAX_RANK] = {0}, stride[ED_MAX_RANK] = {0};
    if (!here(g, "reshape", x))
        return NULL;
    if (rank < 0 || rank > ED_MAX_RANK)
        return ed_graph_fail(g, ED_E_SHAPE, "reshape: rank %d is outside of 0..%d", rank, ED_MAX_RANK);
    if (!reshape_sizes(g, x, rank, shape, sizes))
        return NULL;
    if (ed_numel(x) == 0) {
        row_major(rank, sizes, stride);
    } else if (!reshape_strides(x, rank, sizes, stride)) {
        x = ed_contiguous(g, x);
        row_major(rank, sizes, stride);
    }
    ed_tensor *v = x ? ed__new_view(g, x) : NULL;
    if (!v)
        return NULL;
    v->rank = rank;
    memcpy(v->shape, sizes, sizeof sizes);
    memcpy(v->stride, stride, sizeof stride);
    return v;
}

/* ---- axes in another order */

ed_tensor *ed_permute(ed_graph *g, ed_tensor *x, const int *axes) {
    unsigned seen = 0;
    ed_tensor *v = here(g, "permute", x) ? ed__new_view(g, x) : NULL;
    if (!v)
        return NULL;
    for (int d = 0; d < x->rank; d++) {
        int a = view_axis(g, "permute", x->rank, axes[d]);
        if (a < 0)
            return NULL;
        if (seen & 1u << a)
            return ed_graph_fail(g, ED_E_INVALID, "permute: axis %d is named twice", axes[d]);
        seen |= 1u << a;
        v->shape[d] = x->shape[a];
        v->stride[d] = x->stride[a];
    }
    return v;
}

ed_tensor *ed_transpose(ed_graph *g, ed_tensor *x, int axis_a, int axis_b) {
    int axes[ED_MAX_RANK];
    if (!here(g, "transpose", x))
        return NULL;
    int a = view_axis(g, "transpose", x->rank, axis_a), b = a < 0 ? a : view_axis(g, "transpose", x->rank, axis_b);
    if (a < 0 || b < 0)
        return NULL;
    for (int d = 0; d < x->rank; d++)
        axes[d] = d;
    axes[a] = b;
    axes[b] = a;
    return ed_permute(g, x, axes);
}

/* ---- parts */

ed_tensor *ed_slice(ed_graph *g, ed_tensor *x, int axis, int64_t begin, int64_t end, int64_t step) {
    if (!here(g, "slice", x))
        return NULL;
    int a = view_axis(g, "slice", x->rank, axis);
    if (a < 0)
        return NULL;
    int64_t size = x->shape[a];
    int64_t from = begin < 0 ? begin + size : begin, to = end == INT64_MAX ? size : end < 0 ? end + size : end;
    if (step < 1 || from < 0 || to < from || to > size)
        return ed_graph_fail(g, ED_E_RANGE, "slice: %lld..%lld step %lld is outside of axis %d with size %lld", (long long)begin,
                             (long long)end, (long long)step, axis, (long long)size);
    ed_tensor *v = ed__new_view(g, x);
    if (!v)
        return NULL;
    v->shape[a] = to > from ? (to - from - 1) / step + 1 : 0;
    if (v->shape[a] > 0) /* an empty slice stays at a valid address */
        v->data = (char *)x->data + from * x->stride[a] * (int64_t)ed_dtype_bytes(x->dtype);
    v->stride[a] = v->shape[a] > 1 ? x->stride[a] * step : x->stride[a];
    return v;
}

ed_tensor *ed_diagonal(ed_graph *g, ed_tensor *x) {
    if (!here(g, "diagonal", x))
        return NULL;
    if (x->rank < 2)
        return ed_graph_fail(g, ED_E_SHAPE, "diagonal: needs two axes, got rank %d", x->rank);
    ed_tensor *v = ed__new_view(g, x);
    if (!v)
        return NULL;
    int a = x->rank - 2;
    v->rank = a + 1;
    v->shape[a] = x->shape[a] < x->shape[a + 1] ? x->shape[a] : x->shape[a + 1];
    v->stride[a] = x->stride[a] + x->stride[a + 1];
    return v;
}

/* ---- axes of size 1 */

ed_tensor *ed_expand(ed_graph *g, ed_tensor *x, int rank, const int64_t *shape) {
    if (!here(g, "expand", x))
        return NULL;
    if (rank < x->rank || rank > ED_MAX_RANK)
        return ed_graph_fail(g, ED_E_SHAPE, "expand: rank %d is outside of %d..%d", rank, x->rank, ED_MAX_RANK);
    ed_tensor *v = ed__new_view(g, x);
    if (!v)
        return NULL;
    v->rank = rank;
    int64_t numel = 1;
    for (int d = 0; d < rank; d++) {
        int axis = d - (rank - x->rank);
        int64_t old = axis < 0 ? 1 : x->shape[axis];
        v->shape[d] = shape[d] == -1 ? old : shape[d];
        v->stride[d] = axis < 0 || (old == 1 && v->shape[d] != 1) ? 0 : x->stride[axis];
        if ((v->shape[d] != old && old != 1) || v->shape[d] < 0 || !ed__mul_i64(numel, v->shape[d], &numel))
            return ed_graph_fail(g, ED_E_SHAPE, "expand: size %lld of axis %d cannot become %lld", (long long)old, d, (long long)shape[d]);
    }
    return v;
}

ed_tensor *ed_unsqueeze(ed_graph *g, ed_tensor *x, int axis) {
    if (!here(g, "unsqueeze", x))
        return NULL;
    if (x->rank == ED_MAX_RANK)
        return ed_graph_fail(g, ED_E_SHAPE, "unsqueeze: rank %d is the highest", ED_MAX_RANK);
    int a = view_axis(g, "unsqueeze", x->rank + 1, axis);
    ed_tensor *v = a < 0 ? NULL : ed__new_view(g, x);
    if (!v)
        return NULL;
    v->rank = x->rank + 1;
    for (int d = v->rank - 1; d > a; d--) {
        v->shape[d] = x->shape[d - 1];
        v->stride[d] = x->stride[d - 1];
    }
    v->shape[a] = 1;
    v->stride[a] = a < x->rank ? x->shape[a] * x->stride[a] : 1;
    return v;
}

ed_tensor *ed_squeeze(ed_graph *g, ed_tensor *x, int axis) {
    if (!here(g, "squeeze", x))
        return NULL;
    int a = view_axis(g, "squeeze", x->rank, axis);
    if (a < 0)
        return NULL;
    if (x->shape[a] != 1)
        return ed_graph_fail(g, ED_E_SHAPE, "squeeze: axis %d has size %lld, not 1", axis, (long long)x->shape[a]);
    ed_tensor *v = ed__new_view(g, x);
    if (!v)
        return NULL;
    v->rank = x->rank - 1;
    for (int d = a; d < v->rank; d++) {
        v->shape[d] = x->shape[d + 1];
        v->stride[d] = x->stride[d + 1];
    }
    return v;
}
