/* tensor/op_norm.c - layer norm, RMS norm and l2 norm over the last axis.
 *
 * Invariants: a row's output and input gradient depend on that row alone; gradients of w and b sum the rows in an order that depends on the shape alone
 * (work is split over columns). Mean and 1/std of each row are saved for backward.
 * Maths: Ba et al. 2016 "Layer normalization"; Zhang and Sennrich 2019 "Root mean square layer normalization". */
#include "tensor/op_rows.h"

enum { NORM_COLS = 64, NORM_ROWS = 128 };

typedef struct norm_attrs {
    double eps;
} norm_attrs;

typedef struct norm_work {
    const ed_tensor *x;  /* rows contiguous */
    const void *w, *b;   /* [n] or NULL */
    const void *dy;      /* [rows, n] */
    void *y, *dx;        /* [rows, n] */
    void *mean, *rstd;   /* [rows] */
    void *dw, *db;       /* [n] or NULL */
    int64_t rows, n;
    double eps;
    bool centre, fresh, fresh_w, fresh_b;
} norm_work;

#define T float
#define FN(name) name##_f32
#include "tensor/op_norm_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_norm_tmpl.h"
#undef T
#undef FN

extern const ed_op ed__op_layer_norm, ed__op_rms_norm, ed__op_l2_norm;

static bool affine_fits(ed_call *c, int i, const char *name) {
    const ed_tensor *x = c->in[0], *w = i < c->n_in ? c->in[i] : NULL;
    if (!w)
        return true;
    if (w->dtype != x->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "%s is %s, the operand %s", name, ed_dtype_name(w->dtype), ed_dtype_name(x->dtype));
    if (w->rank != 1 || w->shape[0] != ed__row_len(x))
        return ed__op_fail(c, ED_E_SHAPE, "%s must be a vector of %lld numbers", name, (long long)ed__row_len(x));
    return true;
}

static bool norm_shape(ed_call *c) {
    const ed_tensor *x = c->in[0];
    double eps = ((const norm_attrs *)c->attrs)->eps;
    int64_t rows[1] = {ed__row_count(x)};
    if (!ed__check_float(c, x) || !affine_fits(c, 1, "w") || !affine_fits(c, 2, "b"))
        return false;
    if (x->rank < 1)
        return ed__op_fail(c, ED_E_SHAPE, "the operand needs an axis to normalise over");
    if (!(eps >= 0 && isfinite(eps)))
        return ed__op_fail(c, ED_E_INVALID, "eps must be a finite number >= 0");
    if (!ed__op_out(c, x->dtype, x->rank, x->shape) || !ed__op_aux(c, x->dtype, 1, rows))
        return false;
    return c->op != &ed__op_layer_norm || ed__op_aux(c, x->dtype, 1, rows);
}

/* Common to forward and backward; x is NULL when memory is gone. */
static norm_work work_of(const ed_call *c) {
    const ed_tensor *x = c->in[0];
    norm_work k = {.x = ed__row_form(c->g, x), .y = c->out[0]->data, .rstd = c->aux[0]->data, .rows = ed__row_count(x), .n = ed__row_len(x)};
    k.eps = ((const norm_attrs *)c->attrs)->eps;
    k.centre = c->op == &ed__op_layer_norm;
    k.mean = k.centre ? c->aux[1]->data : NULL;
    for (int i = 1; i < c->n_in && k.x; i++) {
        const ed_tensor *w = c->in[i] ? ed__dense(c->g, c->in[i]) : NULL;
        if (c->in[i] && !w)
            k.x = NULL;
        *(i == 1 ? &k.w : &k.b) = w ? w->data : NULL;
    }
    return k;
}

static void norm_forward(const ed_call *c) {
    norm_work k = work_of(c);
    if (k.x && k.n > 0)
        ed__parallel_for(k.rows, ed__grain(k.n), k.x->dtype == ED_DTYPE_F64 ? norm_forward_f64 : norm_forward_f32, &k);
}

static bool wanted_grad(const ed_call *c, int i, void **data, bool *fresh) {
    if (i >= c->n_in || !c->in[i] || !ed__bw_wants(c, i))
        return false;
    ed_tensor *d = ed__bw_grad_in(c, i, fresh);
    *data = d ? d->data : NULL;
    return d != NULL;
}

static void norm_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    norm_work k = work_of(c);
    if (!dy || !k.x || k.n == 0)
        return;
    bool f64 = k.x->dtype == ED_DTYPE_F64;
    k.dy = dy->data;
    if (wanted_grad(c, 0, &k.dx, &k.fresh))
        ed__parallel_for(k.rows, ed__grain(2 * k.n), f64 ? norm_backward_f64 : norm_backward_f32, &k);
    bool has_w = wanted_grad(c, 1, &k.dw, &k.fresh_w), has_b = wanted_grad(c, 2, &k.db, &k.fresh_b);
    if (has_w || has_b) {
        int64_t blocks = (k.n + NORM_COLS - 1) / NORM_COLS;
        ed__parallel_for(blocks, ed__grain(NORM_COLS * k.rows), f64 ? norm_params_f64 : norm_params_f32, &k);
    }
}

static void l2_forward(const ed_call *c) {
    norm_work k = work_of(c);
    if (k.x)
        ed__parallel_for(k.rows, ed__grain(k.n), k.x->dtype == ED_DTYPE_F64 ? l2_forward_f64 : l2_forward_f32, &k);
}

static void l2_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    norm_work k = work_of(c);
    if (!dy || !k.x || !wanted_grad(c, 0, &k.dx, &k.fresh))
        return;
    k.dy = dy->data;
    ed__parallel_for(k.rows, ed__grain(k.n), k.x->dtype == ED_DTYPE_F64 ? l2_backward_f64 : l2_backward_f32, &k);
}

const ed_op ed__op_layer_norm = {"layer_norm", norm_shape, norm_forward, norm_backward, NULL, true};
const ed_op ed__op_rms_norm = {"rms_norm", norm_shape, norm_forward, norm_backward, NULL, true};
const ed_op ed__op_l2_norm = {"l2_norm", norm_shape, l2_forward, l2_backward, NULL, true};

ed_tensor *ed_layer_norm(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *b, double eps) {
    norm_attrs attrs = {.eps = eps};
    ed_tensor *in[] = {x, w, b};
    return ed__op_run(g, &ed__op_layer_norm, &attrs, sizeof attrs, in, 3, 1u << 1 | 1u << 2, NULL);
}

ed_tensor *ed_rms_norm(ed_graph *g, ed_tensor *x, ed_tensor *w, double eps) {
    norm_attrs attrs = {.eps = eps};
    ed_tensor *in[] = {x, w};
    return ed__op_run(g, &ed__op_rms_norm, &attrs, sizeof attrs, in, 2, 1u << 1, NULL);
}

ed_tensor *ed_l2_norm(ed_graph *g, ed_tensor *x, double eps) {
    norm_attrs attrs = {.eps = eps};
    return ed__op_run(g, &ed__op_l2_norm, &attrs, sizeof attrs, &x, 1, 0, NULL);
}
