/* tensor/op_copy.c - ops that move numbers without arithmetic: contiguous, concat, pad, cast.
 *
 * All but cast take any element format; gradients flow for float formats. Backward adds slices of dy in a fixed order; where one input
 * element was copied to several places (edge and reflect padding) one thread adds them in output order. */
#include "tensor/kernel.h"
#include "tensor/nd.h"

/* ---- contiguous: y = x, row-major */

static bool contiguous_shape(ed_call *c) {
    return ed__op_out(c, c->in[0]->dtype, c->in[0]->rank, c->in[0]->shape) != NULL;
}

static void contiguous_forward(const ed_call *c) {
    ed__copy_strided(c->in[0], c->out[0]);
}

static void contiguous_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &fresh) : NULL;
    if (dx)
        ed__nd_axpy(1, dy, dx, fresh);
}

extern const ed_op ed__op_contiguous;
const ed_op ed__op_contiguous = {"contiguous", contiguous_shape, contiguous_forward, contiguous_backward, NULL, false};

ed_tensor *ed_contiguous(ed_graph *g, ed_tensor *x) {
    if (x && ed_is_contiguous(x))
        return x;
    return ed__op_run(g, &ed__op_contiguous, NULL, 0, &x, 1, 0, NULL);
}

/* ---- concat: x_0 [outer, n_0, inner], x_1 [outer, n_1, inner], ... -> y [outer, sum n, inner] */

typedef struct concat_attrs {
    int axis;
} concat_attrs;

static bool concat_shape(ed_call *c) {
    concat_attrs *a = c->attrs;
    const ed_tensor *first = c->in[0];
    int64_t shape[ED_MAX_RANK];
    if (!ed__op_axis(c, first, a->axis, &a->axis))
        return false;
    memcpy(shape, first->shape, sizeof shape);
    shape[a->axis] = 0;
    for (int i = 0; i < c->n_in; i++) {
        const ed_tensor *x = c->in[i];
        if (x->dtype != first->dtype)
            return ed__op_fail(c, ED_E_DTYPE, "operand %d is %s, operand 0 is %s", i, ed_dtype_name(x->dtype), ed_dtype_name(first->dtype));
        bool fits = x->rank == first->rank;
        for (int d = 0; fits && d < x->rank; d++)
            fits = d == a->axis || x->shape[d] == first->shape[d];
        if (!fits) {
            char s0[128], s1[128];
            return ed__op_fail(c, ED_E_SHAPE, "operand %d %s does not fit %s along axis %d", i, ed_shape_text(x, s1, sizeof s1),
                               ed_shape_text(first, s0, sizeof s0), a->axis);
        }
        shape[a->axis] += x->shape[a->axis];
    }
    return ed__op_out(c, first->dtype, first->rank, shape) != NULL;
}

static void concat_forward(const ed_call *c) {
    int axis = ((const concat_attrs *)c->attrs)->axis;
    ed_tensor *y = c->out[0];
    size_t size = ed_dtype_bytes(y->dtype);
    int64_t outer = ed__prod(y, 0, axis), inner = ed__prod(y, axis + 1, y->rank), at = 0;
    size_t row = (size_t)(y->shape[axis] * inner) * size;
    for (int i = 0; i < c->n_in; i++) {
        const ed_tensor *x = ed__dense(c->g, c->in[i]);
        if (!x)
            return;
        size_t part = (size_t)(x->shape[axis] * inner) * size;
        for (int64_t o = 0; part > 0 && o < outer; o++)
            memcpy((char *)y->data + (size_t)o * row + (size_t)(at * inner) * size, (const char *)x->data + (size_t)o * part, part);
        at += x->shape[axis];
    }
}

static void concat_backward(const ed_call *c) {
    int axis = ((const concat_attrs *)c->attrs)->axis;
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    if (!dy)
        return;
    int64_t outer = ed__prod(dy, 0, axis), inner = ed__prod(dy, axis + 1, dy->rank), at = 0;
    for (int i = 0; i < c->n_in; at += c->in[i]->shape[axis], i++) {
        bool fresh = false;
        ed_tensor *dx = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &fresh) : NULL;
        int64_t part = c->in[i]->shape[axis] * inner;
        for (int64_t o = 0; dx && part > 0 && o < outer; o++) {
            ed_tensor from = ed__view_of((char *)dy->data + (size_t)((o * dy->shape[axis] + at) * inner) * ed_dtype_bytes(dy->dtype),
                                         dy->dtype, 1, &part);
            ed_tensor to = ed__view_of((char *)dx->data + (size_t)(o * part) * ed_dtype_bytes(dx->dtype), dx->dtype, 1, &part);
            ed__nd_axpy(1, &from, &to, fresh);
        }
    }
}

extern const ed_op ed__op_concat;
const ed_op ed__op_concat = {"concat", concat_shape, concat_forward, concat_backward, NULL, false};

ed_tensor *ed_concat(ed_graph *g, ed_tensor *const *x, int n, int axis) {
    enum { MANY = 16 }; /* strided operands that one backward call can hold */
    concat_attrs a = {axis};
    if (n < 1)
        return ed_graph_fail(g, ED_E_INVALID, "concat: needs at least one operand");
    if (n > MANY) {
        ed_tensor **dense = ed_arena_alloc(ed_graph_arena(g), (size_t)n * sizeof *dense);
        for (int i = 0; dense && i < n; i++)
            dense[i] = ed_contiguous(g, x[i]);
        if (!dense)
            return ed_graph_fail(g, ED_E_LIMIT, "concat: no memory for %d operands", n);
        x = dense;
    }
    return ed__op_run(g, &ed__op_concat, &a, sizeof a, x, n, 0, NULL);
}

/* ---- pad */

typedef struct pad_attrs {
    int64_t before[ED_MAX_RANK], after[ED_MAX_RANK];
    ed_pad_kind kind;
    double value;
} pad_attrs;

static bool pad_shape(ed_call *c) {
    const pad_attrs *a = c->attrs;
    const ed_tensor *x = c->in[0];
    int64_t shape[ED_MAX_RANK] = {0};
    if (a->kind != ED_PAD_CONSTANT && a->kind != ED_PAD_EDGE && a->kind != ED_PAD_REFLECT)
        return ed__op_fail(c, ED_E_INVALID, "unknown kind %d", (int)a->kind);
    for (int d = 0; d < x->rank; d++) {
        int64_t most = a->before[d] > a->after[d] ? a->before[d] : a->after[d];
        if (a->before[d] < 0 || a->after[d] < 0 || most > INT64_MAX / 4)
            return ed__op_fail(c, ED_E_RANGE, "axis %d: %lld and %lld are not counts", d, (long long)a->before[d], (long long)a->after[d]);
        if (most > 0 && ((a->kind == ED_PAD_REFLECT && x->shape[d] <= most) || (a->kind == ED_PAD_EDGE && x->shape[d] < 1)))
            return ed__op_fail(c, ED_E_SHAPE, "axis %d with size %lld is too short for %lld", d, (long long)x->shape[d], (long long)most);
        shape[d] = a->before[d] + x->shape[d] + a->after[d];
    }
    return ed__op_out(c, x->dtype, x->rank, shape) != NULL;
}

/* input index of output index i on an axis with n inputs; -1: the constant */
static int64_t pad_source(ed_pad_kind kind, int64_t i, int64_t before, int64_t n) {
    int64_t s = i - before;
    if (s >= 0 && s < n)
        return s;
    if (kind == ED_PAD_CONSTANT)
        return -1;
    if (kind == ED_PAD_EDGE)
        return s < 0 ? 0 : n - 1;
    return s < 0 ? -s : 2 * (n - 1) - s;
}

/* input row (all axes but the last) of an output row, -1: constant; x, y of equal rank >= 1 */
static int64_t pad_source_row(const pad_attrs *a, const ed_tensor *x, const ed_tensor *y, int64_t row) {
    int64_t source = 0, step = 1;
    for (int d = y->rank - 2; d >= 0; d--) {
        int64_t s = pad_source(a->kind, row % y->shape[d], a->before[d], x->shape[d]);
        if (s < 0)
            return -1;
        row /= y->shape[d];
        source += s * step;
        step *= x->shape[d];
    }
    return source;
}

/* the constant in the element format of t */
static void encode(const ed_tensor *t, double value, unsigned char out[8]) {
    float f = (float)value;
    int32_t i = value > -2147483649.0 && value < 2147483648.0 ? (int32_t)value : 0;
    uint16_t h = t->dtype == ED_DTYPE_BF16 ? ed_f32_to_bf16(f) : ed_f32_to_f16(f);
    switch (t->dtype) {
    case ED_DTYPE_F64:
        memcpy(out, &value, sizeof value);
        break;
    case ED_DTYPE_F32:
        memcpy(out, &f, sizeof f);
        break;
    case ED_DTYPE_BF16:
    case ED_DTYPE_F16:
        memcpy(out, &h, sizeof h);
        break;
    case ED_DTYPE_I32:
        memcpy(out, &i, sizeof i);
        break;
    default:
        out[0] = (unsigned char)i;
        break;
    }
}

static void pad_forward(const ed_call *c) {
    const pad_attrs *a = c->attrs;
    const ed_tensor *x = ed__dense(c->g, c->in[0]);
    ed_tensor *y = c->out[0];
    if (!x || ed_numel(y) == 0)
        return;
    unsigned char constant[8] = {0};
    size_t size = ed_dtype_bytes(y->dtype);
    int last = y->rank - 1;
    int64_t n_in = last < 0 ? 1 : x->shape[last], n_out = last < 0 ? 1 : y->shape[last], before = last < 0 ? 0 : a->before[last];
    encode(y, a->value, constant);
    for (int64_t r = 0; r < ed_numel(y) / n_out; r++) {
        int64_t from = pad_source_row(a, x, y, r);
        char *out = (char *)y->data + (size_t)(r * n_out) * size;
        const char *in = (const char *)x->data + (size_t)((from < 0 ? 0 : from) * n_in) * size;
        for (int64_t i = 0; i < n_out; i++) {
            int64_t s = from < 0 ? -1 : pad_source(a->kind, i, before, n_in);
            if (s >= 0 && i == before) { /* the inside in one piece */
                memcpy(out + (size_t)i * size, in, (size_t)n_in * size);
                i += n_in - 1;
            } else {
                memcpy(out + (size_t)i * size, s < 0 ? (const char *)constant : in + (size_t)s * size, size);
            }
        }
    }
}

#define PAD_GRAD(T)                                                                                                                        \
    do {                                                                                                                                   \
        T *to = (T *)dx->data + from * n_in;                                                                                               \
        const T *in = (const T *)dy->data + r * n_out;                                                                                     \
        for (int64_t i = 0; i < n_out; i++) {                                                                                              \
            int64_t s = pad_source(a->kind, i, before, n_in);                                                                              \
            if (s >= 0)                                                                                                                    \
                to[s] += in[i];                                                                                                            \
        }                                                                                                                                  \
    } while (0)

static void pad_backward(const ed_call *c) {
    const pad_attrs *a = c->attrs;
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *x = c->in[0];
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &fresh) : NULL;
    if (!dx)
        return;
    if (fresh)
        memset(dx->data, 0, (size_t)ed_numel(dx) * ed_dtype_bytes(dx->dtype));
    int last = dy->rank - 1;
    int64_t n_in = last < 0 ? 1 : x->shape[last], n_out = last < 0 ? 1 : dy->shape[last], before = last < 0 ? 0 : a->before[last];
    for (int64_t r = 0; n_out > 0 && r < ed_numel(dy) / n_out; r++) {
        int64_t from = pad_source_row(a, x, dy, r);
        if (from >= 0)
            ED_FLOAT_DISPATCH(dx->dtype, PAD_GRAD(float), PAD_GRAD(double));
    }
}

extern const ed_op ed__op_pad;
const ed_op ed__op_pad = {"pad", pad_shape, pad_forward, pad_backward, NULL, false};

ed_tensor *ed_pad(ed_graph *g, ed_tensor *x, const int64_t *before, const int64_t *after, ed_pad_kind kind, double value) {
    pad_attrs a = {.kind = kind, .value = value};
    if (!x)
        return ed_graph_fail(g, ED_E_INVALID, "pad: operand 0 is missing");
    for (int d = 0; d < x->rank; d++) {
        a.before[d] = before[d];
        a.after[d] = after[d];
    }
    return ed__op_run(g, &ed__op_pad, &a, sizeof a, &x, 1, 0, NULL);
}

/* ---- cast */

typedef struct cast_attrs {
    ed_dtype dtype;
} cast_attrs;

static bool cast_shape(ed_call *c) {
    const cast_attrs *a = c->attrs;
    if (!ed_dtype_is_float(a->dtype))
        return ed__op_fail(c, ED_E_DTYPE, "to %s is not supported", ed_dtype_name(a->dtype));
    return ed__op_out(c, a->dtype, c->in[0]->rank, c->in[0]->shape) != NULL;
}

typedef struct cast_ctx {
    const ed_tensor *x;
    ed_tensor *y;
} cast_ctx;

/* one step between F32 and a 16-bit format, by kernel; both contiguous */
static void cast_half_range(void *p, int64_t begin, int64_t end) {
    const cast_ctx *k = p;
    const ed__kernel_table *t = ed__kernels();
    int64_t n = end - begin;
    if (k->x->dtype == ED_DTYPE_F32) {
        const float *x = (const float *)k->x->data + begin;
        uint16_t *y = (uint16_t *)k->y->data + begin;
        (k->y->dtype == ED_DTYPE_BF16 ? t->f32_to_bf16 : t->f32_to_f16)(x, y, n);
    } else {
        const uint16_t *x = (const uint16_t *)k->x->data + begin;
        float *y = (float *)k->y->data + begin;
        (k->x->dtype == ED_DTYPE_BF16 ? t->bf16_to_f32 : t->f16_to_f32)(x, y, n);
    }
}

static double whole_number(const ed_tensor *x, int64_t i) {
    return x->dtype == ED_DTYPE_I32 ? ((const int32_t *)x->data)[i] : ((const uint8_t *)x->data)[i];
}

/* x: I32, U8 or BOOL, contiguous */
static void cast_from_whole(const ed_tensor *x, ed_tensor *y) {
    size_t size = ed_dtype_bytes(y->dtype);
    for (int64_t i = 0; i < ed_numel(y); i++)
        encode(y, whole_number(x, i), (unsigned char *)y->data + (size_t)i * size);
}

static bool is_half(ed_dtype d) {
    return d == ED_DTYPE_BF16 || d == ED_DTYPE_F16;
}

static void cast_forward(const ed_call *c) {
    const ed_tensor *x = c->in[0];
    ed_tensor *y = c->out[0];
    bool half = (x->dtype == ED_DTYPE_F32 && is_half(y->dtype)) || (is_half(x->dtype) && y->dtype == ED_DTYPE_F32);
    if (!half && ed_dtype_is_float(x->dtype)) {
        ed__copy_strided(x, y);
        return;
    }
    cast_ctx k = {ed__dense(c->g, x), y};
    if (k.x && half)
        ed__parallel_for(ed_numel(y), ED__ND_GRAIN, cast_half_range, &k);
    else if (k.x)
        cast_from_whole(k.x, y);
}

extern const ed_op ed__op_cast;
const ed_op ed__op_cast = {"cast", cast_shape, cast_forward, contiguous_backward, NULL, false};

ed_tensor *ed_cast(ed_graph *g, ed_tensor *x, ed_dtype dtype) {
    cast_attrs a = {dtype};
    if (x && x->dtype == dtype)
        return x;
    return ed__op_run(g, &ed__op_cast, &a, sizeof a, &x, 1, 0, NULL);
}
