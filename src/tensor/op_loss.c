/* tensor/op_loss.c - losses: cross-entropy with ids or soft targets, KL, BCE with logits, mean squared, absolute and smooth absolute error.
 *
 * All give one number: sum over rows of weight * row loss, divided by the sum of weights (0, with zero gradient, when that sum is 0).
 * Invariants: a row of weight 0 is never looked at: neither its target nor its numbers (NaN there does no harm). Row losses are f64 and added in row
 * order. The softmax is never stored: cross-entropy keeps the maximum and 1/sum of each row and backward writes (softmax - target) straight into the
 * gradient.
 * Weights are F32 or F64, one per row: of the operand's leading shape or flat. Elementwise losses (mse, l1, smooth_l1, bce_logits) also take
 * weights of the operand's own shape: then every element is a row of its own. */
#include "tensor/op_rows.h"

typedef enum pair_kind { PAIR_MSE, PAIR_L1, PAIR_SMOOTH_L1, PAIR_BCE } pair_kind;

typedef struct loss_attrs {
    double param; /* smoothing, beta or the weight of positives */
    pair_kind kind;
} loss_attrs;

typedef struct xent_work {
    const ed_tensor *x, *targets, *weights; /* x (and soft targets): rows contiguous; weights NULL = 1 */
    double *loss;                           /* [rows] weighted row losses */
    void *top, *inv_sum;                    /* [rows] or NULL; soft: inv_sum times the row's target mass */
    void *dx;                               /* [rows, n] */
    int64_t n;
    double eps, scale; /* scale: cotangent / sum of weights */
    bool fresh, kl;
} xent_work;

typedef struct pair_work {
    const ed_tensor *a, *b, *weights;
    double *part; /* [rows * pieces] */
    void *dx;     /* [rows, n] */
    int64_t n, pieces;
    double param, scale;
    pair_kind kind;
    bool each, fresh; /* each: weights per element */
} pair_work;

/* Weight i in flat order (1 when there are none). */
static double row_weight(const ed_tensor *w, int64_t i) {
    if (!w)
        return 1;
    int64_t at = w->rank == 1 ? i * w->stride[0] : ed__flat_offset(w, i);
    return w->dtype == ED_DTYPE_F64 ? ((const double *)w->data)[at] : (double)((const float *)w->data)[at];
}

#define T float
#define FN(name) name##_f32
#include "tensor/op_loss_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_loss_tmpl.h"
#undef T
#undef FN

/* ------------------------------------------------------------------ common */

/* Do the weights fit x? Per row (leading shape or flat), or of x's own shape where `elements` allows it. */
static bool weights_fit(ed_call *c, const ed_tensor *x, const ed_tensor *w, bool elements) {
    if (!w)
        return true;
    if (!ed__check_float(c, w))
        return false;
    bool rows = w->rank == 1 && w->shape[0] == ed__row_count(x);
    bool lead = x->rank > 0 && w->rank == x->rank - 1;
    for (int a = 0; lead && a < w->rank; a++)
        lead = w->shape[a] == x->shape[a];
    if (rows || lead || (elements && ed__same_shape(w, x)))
        return true;
    return ed__op_fail(c, ED_E_SHAPE, "weights must be one number per row (%lld rows)", (long long)ed__row_count(x));
}

static double weight_sum(const ed_tensor *w, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; w && i < n; i++)
        sum += row_weight(w, i);
    return w ? sum : (double)n;
}

/* Writes sum(part) / weight sum to the scalar output. */
static void write_loss(const ed_call *c, const double *part, int64_t n, double sumw) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += part[i];
    double loss = sumw == 0 ? 0 : sum / sumw;
    ED_FLOAT_DISPATCH(c->out[0]->dtype, *(float *)c->out[0]->data = (float)loss, *(double *)c->out[0]->data = loss);
}

/* Cotangent of the scalar divided by the sum of weights. */
static double loss_scale(const ed_tensor *dy, double sumw) {
    double d = dy->dtype == ED_DTYPE_F64 ? *(const double *)dy->data : (double)*(const float *)dy->data;
    return sumw == 0 ? 0 : d / sumw;
}

/* ------------------------------------------------------------------ cross-entropy and KL: in = logits, targets, weights */

extern const ed_op ed__op_xent_ids, ed__op_xent_soft, ed__op_kl_div;

static bool xent_outputs(ed_call *c) {
    const ed_tensor *x = c->in[0];
    int64_t rows[1] = {ed__row_count(x)};
    if (!ed__op_out(c, x->dtype, 0, NULL))
        return false;
    return !ed__op_recording(c) || (ed__op_aux(c, x->dtype, 1, rows) && ed__op_aux(c, x->dtype, 1, rows));
}

static bool logits_fit(ed_call *c) {
    const ed_tensor *x = c->in[0];
    if (!ed__check_float(c, x))
        return false;
    if (x->rank < 1 || (ed__row_len(x) < 1 && ed__row_count(x) > 0))
        return ed__op_fail(c, ED_E_SHAPE, "logits need a last axis of at least one class");
    return weights_fit(c, x, c->in[2], false);
}

static bool xent_ids_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *t = c->in[1];
    double eps = ((const loss_attrs *)c->attrs)->param;
    if (!logits_fit(c) || !ed__check_dtype(c, t, ED_DTYPE_I32, "targets"))
        return false;
    bool fits = t->rank == x->rank - 1;
    for (int a = 0; fits && a < t->rank; a++)
        fits = t->shape[a] == x->shape[a];
    if (!fits)
        return ed__op_fail(c, ED_E_SHAPE, "targets must have the shape of the logits without the last axis");
    if (!(eps >= 0 && eps < 1))
        return ed__op_fail(c, ED_E_RANGE, "label smoothing %g is outside [0, 1)", eps);
    for (int64_t r = 0, rows = ed__row_count(x); r < rows; r++) {
        int32_t id = row_weight(c->in[2], r) != 0 ? ed__i32_at(t, r) : 0;
        if (id < 0 || id >= ed__row_len(x))
            return ed__op_fail(c, ED_E_RANGE, "target %d of row %lld is outside [0, %lld)", (int)id, (long long)r, (long long)ed__row_len(x));
    }
    return xent_outputs(c);
}

static bool xent_soft_shape(ed_call *c) {
    if (!logits_fit(c))
        return false;
    if (c->in[1]->dtype != c->in[0]->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "targets are %s, logits %s", ed_dtype_name(c->in[1]->dtype), ed_dtype_name(c->in[0]->dtype));
    if (!ed__same_shape(c->in[0], c->in[1]))
        return ed__op_fail(c, ED_E_SHAPE, "targets must have the shape of the logits");
    return xent_outputs(c);
}

/* False when memory is gone. */
static bool xent_work_of(const ed_call *c, xent_work *k) {
    bool ids = c->op == &ed__op_xent_ids;
    *k = (xent_work){.x = ed__row_form(c->g, c->in[0]), .weights = c->in[2], .n = ed__row_len(c->in[0])};
    k->targets = ids ? c->in[1] : ed__row_form(c->g, c->in[1]);
    k->eps = ids ? ((const loss_attrs *)c->attrs)->param : 0;
    k->kl = c->op == &ed__op_kl_div;
    k->top = c->n_aux ? c->aux[0]->data : NULL;
    k->inv_sum = c->n_aux ? c->aux[1]->data : NULL;
    return k->x && k->targets;
}

static void xent_forward(const ed_call *c) {
    xent_work k;
    int64_t rows = ed__row_count(c->in[0]);
    bool f64 = c->in[0]->dtype == ED_DTYPE_F64, ids = c->op == &ed__op_xent_ids;
    if (!xent_work_of(c, &k) || !(k.loss = ed__scratch(c->g, (size_t)rows * sizeof *k.loss)))
        return;
    ed__range_fn f32_body = ids ? xent_ids_forward_f32 : xent_soft_forward_f32, f64_body = ids ? xent_ids_forward_f64 : xent_soft_forward_f64;
    ed__parallel_for(rows, ed__grain(2 * k.n), f64 ? f64_body : f32_body, &k);
    write_loss(c, k.loss, rows, weight_sum(k.weights, rows));
}

static void xent_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    xent_work k;
    int64_t rows = ed__row_count(c->in[0]);
    bool f64 = c->in[0]->dtype == ED_DTYPE_F64, ids = c->op == &ed__op_xent_ids, fresh = false;
    if (!dy || !ed__bw_wants(c, 0) || !xent_work_of(c, &k))
        return;
    ed_tensor *dx = ed__bw_grad_in(c, 0, &fresh);
    if (!dx)
        return;
    k.dx = dx->data;
    k.fresh = fresh;
    k.scale = loss_scale(dy, weight_sum(k.weights, rows));
    ed__range_fn f32_body = ids ? xent_ids_backward_f32 : xent_soft_backward_f32, f64_body = ids ? xent_ids_backward_f64 : xent_soft_backward_f64;
    ed__parallel_for(rows, ed__grain(2 * k.n), f64 ? f64_body : f32_body, &k);
}

const ed_op ed__op_xent_ids = {"xent_ids", xent_ids_shape, xent_forward, xent_backward, NULL, false};
const ed_op ed__op_xent_soft = {"xent_soft", xent_soft_shape, xent_forward, xent_backward, NULL, false};
const ed_op ed__op_kl_div = {"kl_div", xent_soft_shape, xent_forward, xent_backward, NULL, false};

static ed_tensor *run_xent(ed_graph *g, const ed_op *op, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights, double smoothing) {
    loss_attrs attrs = {.param = smoothing};
    ed_tensor *in[] = {logits, (ed_tensor *)targets, (ed_tensor *)weights};
    return ed__op_run(g, op, &attrs, sizeof attrs, in, 3, 1u << 2, NULL);
}

ed_tensor *ed_xent_ids(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights, double smoothing) {
    return run_xent(g, &ed__op_xent_ids, logits, targets, weights, smoothing);
}

ed_tensor *ed_xent_soft(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights) {
    return run_xent(g, &ed__op_xent_soft, logits, targets, weights, 0);
}

ed_tensor *ed_kl_div(ed_graph *g, ed_tensor *logits, const ed_tensor *p, const ed_tensor *weights) {
    return run_xent(g, &ed__op_kl_div, logits, p, weights, 0);
}

/* ------------------------------------------------------------------ elementwise losses: in = a, b, weights */

static bool pair_shape(ed_call *c) {
    const ed_tensor *a = c->in[0], *b = c->in[1];
    const loss_attrs *attrs = c->attrs;
    if (!ed__check_float(c, a))
        return false;
    if (a->dtype != b->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "operands are %s and %s", ed_dtype_name(a->dtype), ed_dtype_name(b->dtype));
    if (!ed__same_shape(a, b))
        return ed__op_fail(c, ED_E_SHAPE, "operands must have one shape");
    if (!(attrs->param >= 0 && isfinite(attrs->param)))
        return ed__op_fail(c, ED_E_INVALID, "the parameter %g must be a finite number >= 0", attrs->param);
    return weights_fit(c, a, c->in[2], true) && ed__op_out(c, a->dtype, 0, NULL) != NULL;
}

/* False when memory is gone. */
static bool pair_work_of(const ed_call *c, pair_work *k) {
    const loss_attrs *attrs = c->attrs;
    const ed_tensor *a = c->in[0], *w = c->in[2];
    *k = (pair_work){.a = ed__row_form(c->g, a), .b = ed__row_form(c->g, c->in[1]), .weights = w, .n = ed__row_len(a), .param = attrs->param, .kind = attrs->kind};
    k->each = w && ed__same_shape(w, a);
    k->pieces = (k->n + V_CHUNK - 1) / V_CHUNK;
    return k->a && k->b;
}

/* Sum of weights: per element or per row. An empty row has loss 0. */
static double pair_weight_sum(const ed_call *c, const pair_work *k) {
    return weight_sum(k->weights, k->each ? ed_numel(c->in[0]) : ed__row_count(c->in[0]));
}

static void pair_forward(const ed_call *c) {
    pair_work k;
    if (!pair_work_of(c, &k))
        return;
    int64_t items = ed__row_count(c->in[0]) * k.pieces;
    k.part = ed__scratch(c->g, (size_t)items * sizeof *k.part);
    if (!k.part)
        return;
    int64_t grain = ed__grain(4 * (k.n < V_CHUNK ? k.n : V_CHUNK));
    ed__parallel_for(items, grain, c->in[0]->dtype == ED_DTYPE_F64 ? pair_forward_f64 : pair_forward_f32, &k);
    write_loss(c, k.part, items, pair_weight_sum(c, &k));
}

static void pair_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    pair_work k;
    if (!dy || !pair_work_of(c, &k))
        return;
    double scale = loss_scale(dy, pair_weight_sum(c, &k));
    int64_t items = ed__row_count(c->in[0]) * k.pieces, grain = ed__grain(4 * (k.n < V_CHUNK ? k.n : V_CHUNK));
    for (int i = 0; i < (k.kind == PAIR_BCE ? 1 : 2); i++) {
        ed_tensor *dx = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &k.fresh) : NULL;
        if (!dx)
            continue;
        k.dx = dx->data;
        k.scale = i == 0 ? scale : -scale;
        ed__parallel_for(items, grain, dx->dtype == ED_DTYPE_F64 ? pair_backward_f64 : pair_backward_f32, &k);
    }
}

const ed_op ed__op_mse = {"mse", pair_shape, pair_forward, pair_backward, NULL, false};
const ed_op ed__op_l1 = {"l1", pair_shape, pair_forward, pair_backward, NULL, false};
const ed_op ed__op_smooth_l1 = {"smooth_l1", pair_shape, pair_forward, pair_backward, NULL, false};
const ed_op ed__op_bce_logits = {"bce_logits", pair_shape, pair_forward, pair_backward, NULL, false};

static ed_tensor *run_pair(ed_graph *g, const ed_op *op, pair_kind kind, ed_tensor *a, ed_tensor *b, const ed_tensor *weights, double param) {
    loss_attrs attrs = {.param = param, .kind = kind};
    ed_tensor *in[] = {a, b, (ed_tensor *)weights};
    return ed__op_run(g, op, &attrs, sizeof attrs, in, 3, 1u << 2, NULL);
}

ed_tensor *ed_mse(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights) {
    return run_pair(g, &ed__op_mse, PAIR_MSE, a, b, weights, 0);
}

ed_tensor *ed_l1(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights) {
    return run_pair(g, &ed__op_l1, PAIR_L1, a, b, weights, 0);
}

ed_tensor *ed_smooth_l1(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights, double beta) {
    return run_pair(g, &ed__op_smooth_l1, PAIR_SMOOTH_L1, a, b, weights, beta);
}

ed_tensor *ed_bce_logits(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights, double positive_weight) {
    return run_pair(g, &ed__op_bce_logits, PAIR_BCE, logits, (ed_tensor *)targets, weights, positive_weight);
}
