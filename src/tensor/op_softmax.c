/* tensor/op_softmax.c - softmax and log-softmax over the last axis, with a broadcast mask and the softmax-one denominator.
 *
 * Invariants: a row depends on that row alone; a row with nothing left (all masked, or all -inf) is zeros (softmax) or -inf (log-softmax) and takes no
 * gradient, never NaN. The row maximum is subtracted first, so that huge logits do not overflow.
 * Softmax-one ("Attention is off by one"): y_i = e^{x_i - m} / (e^{-m} + sum_j e^{x_j - m}), m = max(0, max x). */
#include "tensor/op_rows.h"

typedef struct softmax_attrs {
    bool one;
} softmax_attrs;

/* A BOOL/U8 mask laid over x by strides (0 on broadcast axes). data NULL: no mask. */
typedef struct mask_view {
    const uint8_t *data;
    const ed_tensor *x; /* whose rows are counted */
    int64_t stride[ED_MAX_RANK];
} mask_view;
typedef struct mask_row {
    const uint8_t *p; /* NULL: nothing is left out */
    int64_t step;
} mask_row;

typedef struct softmax_work {
    const ed_tensor *x; /* rows contiguous */
    mask_view mask;
    void *y;        /* [rows, n] */
    const void *dy; /* [rows, n] */
    void *dx;       /* [rows, n] */
    int64_t n;
    bool one, fresh;
} softmax_work;

static mask_view mask_over(const ed_tensor *mask, const ed_tensor *x) {
    mask_view v = {.x = x};
    if (!mask)
        return v;
    v.data = mask->data;
    int lead = x->rank - mask->rank;
    for (int a = 0; a < mask->rank; a++)
        v.stride[lead + a] = mask->shape[a] == 1 ? 0 : mask->stride[a];
    return v;
}

static mask_row mask_at(const mask_view *v, int64_t r) {
    mask_row row = {0};
    if (!v->data)
        return row;
    row.p = v->data;
    for (int axis = v->x->rank - 2; axis >= 0; axis--) {
        row.p += (r % v->x->shape[axis]) * v->stride[axis];
        r /= v->x->shape[axis];
    }
    row.step = v->x->rank ? v->stride[v->x->rank - 1] : 0;
    return row;
}

#define T float
#define FN(name) name##_f32
#include "tensor/op_softmax_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_softmax_tmpl.h"
#undef T
#undef FN

static bool softmax_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *mask = c->n_in > 1 ? c->in[1] : NULL;
    if (!ed__check_float(c, x))
        return false;
    if (mask) {
        int rank = 0;
        int64_t shape[ED_MAX_RANK] = {0};
        if (mask->dtype != ED_DTYPE_BOOL && mask->dtype != ED_DTYPE_U8)
            return ed__op_fail(c, ED_E_DTYPE, "mask is %s, not bool or u8", ed_dtype_name(mask->dtype));
        bool fits = ed__broadcast_shape(x, mask, &rank, shape) && rank == x->rank;
        for (int a = 0; fits && a < rank; a++)
            fits = shape[a] == x->shape[a];
        if (!fits)
            return ed__op_fail(c, ED_E_SHAPE, "the mask does not broadcast to the operand");
    }
    return ed__op_out(c, x->dtype, x->rank, x->shape) != NULL;
}

static softmax_work forward_work(const ed_call *c) {
    const ed_tensor *x = ed__row_form(c->g, c->in[0]);
    softmax_work k = {.x = x, .mask = mask_over(c->in[1], c->in[0]), .y = c->out[0]->data, .n = ed__row_len(c->in[0])};
    return k;
}

/* False when there is nothing to do. */
static bool backward_work(const ed_call *c, softmax_work *k) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    if (!dy || !ed__bw_wants(c, 0))
        return false;
    ed_tensor *dx = ed__bw_grad_in(c, 0, &k->fresh);
    if (!dx)
        return false;
    k->mask = mask_over(c->in[1], c->in[0]);
    k->y = c->out[0]->data;
    k->dy = dy->data;
    k->dx = dx->data;
    k->n = ed__row_len(c->in[0]);
    return true;
}

static void run_rows(const ed_call *c, softmax_work *k, ed__range_fn f32, ed__range_fn f64) {
    ed__parallel_for(ed__row_count(c->in[0]), ed__grain(k->n), c->in[0]->dtype == ED_DTYPE_F64 ? f64 : f32, k);
}

static void softmax_forward(const ed_call *c) {
    softmax_work k = forward_work(c);
    k.one = ((const softmax_attrs *)c->attrs)->one;
    if (k.x)
        run_rows(c, &k, softmax_forward_f32, softmax_forward_f64);
}

static void softmax_backward(const ed_call *c) {
    softmax_work k = {0};
    if (backward_work(c, &k))
        run_rows(c, &k, softmax_backward_f32, softmax_backward_f64);
}

static void log_softmax_forward(const ed_call *c) {
    softmax_work k = forward_work(c);
    if (k.x)
        run_rows(c, &k, log_softmax_forward_f32, log_softmax_forward_f64);
}

static void log_softmax_backward(const ed_call *c) {
    softmax_work k = {0};
    if (backward_work(c, &k))
        run_rows(c, &k, log_softmax_backward_f32, log_softmax_backward_f64);
}

const ed_op ed__op_softmax = {"softmax", softmax_shape, softmax_forward, softmax_backward, NULL, true};
const ed_op ed__op_log_softmax = {"log_softmax", softmax_shape, log_softmax_forward, log_softmax_backward, NULL, true};

ed_tensor *ed_softmax(ed_graph *g, ed_tensor *x, const ed_tensor *mask, bool one) {
    softmax_attrs attrs = {.one = one};
    ed_tensor *in[] = {x, (ed_tensor *)mask};
    return ed__op_run(g, &ed__op_softmax, &attrs, sizeof attrs, in, 2, 1u << 1, NULL);
}

ed_tensor *ed_log_softmax(ed_graph *g, ed_tensor *x, const ed_tensor *mask) {
    ed_tensor *in[] = {x, (ed_tensor *)mask};
    return ed__op_run(g, &ed__op_log_softmax, NULL, 0, in, 2, 1u << 1, NULL);
}
