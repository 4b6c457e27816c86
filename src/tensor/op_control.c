/* tensor/op_control.c - ops that steer gradients or noise: stop_grad, scale_grad, ste, dropout.
 *
 * Dropout keeps element e when word e%4 of the Philox block at counter {e/4 low, e/4 high, step, pass}, keyed by (seed, site), is at least
 * p * 2^32. Nothing is saved: backward draws the same words again from the key kept with the call. Philox4x32-10: Salmon et al. 2011,
 * "Parallel random numbers: as easy as 1, 2, 3". */
#include "tensor/graph.h"
#include "tensor/kernel.h"
#include "tensor/nd.h"

/* ---- stop_grad: the same memory and strides behind a storage of its own, which no tape entry made */

ed_tensor *ed_stop_grad(ed_graph *g, ed_tensor *x) {
    if (!x)
        return ed_graph_fail(g, ED_E_INVALID, "stop_grad: operand 0 is missing");
    ed_tensor *v = ed__new_view(g, x);
    ed_storage *s = v ? ed_arena_alloc(g->arena, sizeof *s) : NULL;
    if (!s)
        return ed_graph_fail(g, ED_E_LIMIT, "stop_grad: the graph's memory is used up");
    *s = (ed_storage){.data = x->storage->data, .numel = x->storage->numel, .dtype = x->storage->dtype};
    v->storage = s;
    return v;
}

/* ---- scale_grad: y = x, dx += factor * dy */

typedef struct scale_grad_attrs {
    double factor;
} scale_grad_attrs;

static bool like_first(ed_call *c) {
    const ed_tensor *x = c->in[0];
    if (x->dtype != ED_DTYPE_F32 && x->dtype != ED_DTYPE_F64)
        return ed__op_fail(c, ED_E_DTYPE, "needs f32 or f64, got %s", ed_dtype_name(x->dtype));
    return ed__op_out(c, x->dtype, x->rank, x->shape) != NULL;
}

static void scale_grad_forward(const ed_call *c) {
    ed__copy_strided(c->in[0], c->out[0]);
}

static void pass_grad(const ed_call *c, int i, double factor) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &fresh) : NULL;
    if (dx)
        ed__nd_axpy(factor, dy, dx, fresh);
}

static void scale_grad_backward(const ed_call *c) {
    pass_grad(c, 0, ((const scale_grad_attrs *)c->attrs)->factor);
}

extern const ed_op ed__op_scale_grad;
const ed_op ed__op_scale_grad = {"scale_grad", like_first, scale_grad_forward, scale_grad_backward, NULL, false};

ed_tensor *ed_scale_grad(ed_graph *g, ed_tensor *x, double factor) {
    scale_grad_attrs a = {factor};
    return ed__op_run(g, &ed__op_scale_grad, &a, sizeof a, &x, 1, 0, NULL);
}

/* ---- straight-through: y = q's bits, dx += dy, and dq += dy when asked */

typedef struct ste_attrs {
    bool grad_to_q;
} ste_attrs;

static bool ste_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *q = c->in[1];
    if (x->dtype != q->dtype || !ed__same_shape(x, q)) {
        char s0[128], s1[128];
        return ed__op_fail(c, ED_E_SHAPE, "%s and %s must be alike", ed_shape_text(x, s0, sizeof s0), ed_shape_text(q, s1, sizeof s1));
    }
    return like_first(c);
}

static void ste_forward(const ed_call *c) {
    ed__copy_strided(c->in[1], c->out[0]);
}

static void ste_backward(const ed_call *c) {
    pass_grad(c, 0, 1);
    if (((const ste_attrs *)c->attrs)->grad_to_q)
        pass_grad(c, 1, 1);
}

extern const ed_op ed__op_ste;
const ed_op ed__op_ste = {"ste", ste_shape, ste_forward, ste_backward, NULL, false};

ed_tensor *ed_ste(ed_graph *g, ed_tensor *x, ed_tensor *q, bool grad_to_q) {
    ste_attrs a = {grad_to_q};
    return ed__op_run(g, &ed__op_ste, &a, sizeof a, (ed_tensor *[]){x, q}, 2, 0, NULL);
}

/* ---- dropout */

enum { BLOCKS = 64, CHUNK = 4 * BLOCKS }; /* Philox blocks drawn at a time; elements they serve */

typedef struct dropout_attrs {
    double p;
    uint32_t site;
    bool rows;
    uint32_t threshold; /* words below it drop their element */
    ed_rng_key key;
    uint32_t counter[4]; /* words 2 and 3: step and pass of the call */
} dropout_attrs;

typedef struct dropout_ctx {
    const dropout_attrs *a;
    const ed_tensor *x; /* input or dy, contiguous */
    ed_tensor *y;       /* output or dx */
    bool add;
    int64_t row; /* elements of a first-axis row */
} dropout_ctx;

#define DROPOUT_ROW(T)                                                                                                                     \
    static void row_##T(const dropout_ctx *p, bool kept, int64_t at) {                                                                     \
        const T *x = (const T *)p->x->data + at;                                                                                           \
        T *y = (T *)p->y->data + at, scale = kept ? (T)(1 / (1 - p->a->p)) : 0;                                                            \
        for (int64_t i = 0; i < p->row; i++)                                                                                               \
            y[i] = (kept ? x[i] * scale : 0) + (p->add ? y[i] : 0);                                                                        \
    }
DROPOUT_ROW(float)
DROPOUT_ROW(double)

/* y (+)= kept ? x / (1 - p) : 0 for n <= CHUNK elements with their words */
static void mask_float(const dropout_ctx *p, const uint32_t *words, int64_t at, int64_t n) {
    ed__kernels()->drop_scale((const float *)p->x->data + at, words, p->a->threshold, (float)(1 / (1 - p->a->p)), (float *)p->y->data + at, n, p->add);
}
static void mask_double(const dropout_ctx *p, const uint32_t *words, int64_t at, int64_t n) {
    const double *x = (const double *)p->x->data + at;
    double *y = (double *)p->y->data + at, factor = 1 / (1 - p->a->p);
    for (int64_t i = 0; i < n; i++)
        y[i] = (words[i] >= p->a->threshold ? x[i] * factor : 0) + (p->add ? y[i] : 0);
}

static void dropout_elements(void *ctx, int64_t begin, int64_t end) {
    const dropout_ctx *p = ctx;
    int64_t numel = ed_numel(p->y);
    uint32_t words[CHUNK];
    for (int64_t k = begin; k < end; k++) {
        int64_t at = k * CHUNK, n = numel - at < CHUNK ? numel - at : CHUNK;
        ed__kernels()->philox(p->a->key, (uint64_t)k * BLOCKS, p->a->counter, words, (n + 3) / 4);
        ED_FLOAT_DISPATCH(p->y->dtype, mask_float(p, words, at, n), mask_double(p, words, at, n));
    }
}

static void dropout_rows(void *ctx, int64_t begin, int64_t end) {
    const dropout_ctx *p = ctx;
    for (int64_t r = begin; r < end; r++) {
        uint32_t counter[4] = {(uint32_t)((uint64_t)r / 4), (uint32_t)((uint64_t)r / 4 >> 32), p->a->counter[2], p->a->counter[3]},
                 words[4];
        ed_philox(p->a->key, counter, words);
        bool kept = words[r % 4] >= p->a->threshold;
        ED_FLOAT_DISPATCH(p->y->dtype, row_float(p, kept, r * p->row), row_double(p, kept, r * p->row));
    }
}

static void dropout_apply(const dropout_attrs *a, const ed_tensor *x, ed_tensor *y, bool add) {
    int64_t n = ed_numel(y);
    dropout_ctx p = {a, x, y, add, y->rank > 0 ? ed__prod(y, 1, y->rank) : 1};
    if (n == 0)
        return;
    if (a->rows)
        ed__parallel_for(n / p.row, p.row >= ED__ND_GRAIN ? 1 : ED__ND_GRAIN / p.row, dropout_rows, &p);
    else
        ed__parallel_for((n + CHUNK - 1) / CHUNK, ED__ND_GRAIN / CHUNK, dropout_elements, &p);
}

static bool dropout_shape(ed_call *c) {
    dropout_attrs *a = c->attrs;
    ed__graph_rng(c->g, a->site, c->pass, &a->key, a->counter);
    return like_first(c);
}

static void dropout_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]);
    if (x)
        dropout_apply(c->attrs, x, c->out[0], false);
}

static void dropout_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &fresh) : NULL;
    if (dx)
        dropout_apply(c->attrs, dy, dx, !fresh);
}

extern const ed_op ed__op_dropout;
const ed_op ed__op_dropout = {"dropout", dropout_shape, dropout_forward, dropout_backward, NULL, false};

ed_tensor *ed_dropout(ed_graph *g, ed_tensor *x, double p, uint32_t site, bool rows) {
    dropout_attrs a = {.p = p, .site = site, .rows = rows};
    if (!(p >= 0 && p < 1))
        return ed_graph_fail(g, ED_E_RANGE, "dropout: probability %g is outside of [0, 1)", p);
    if (x && (p == 0 || !ed_graph_get_opts(g)->train))
        return x;
    a.threshold = (uint32_t)(p * 4294967296.0);
    return ed__op_run(g, &ed__op_dropout, &a, sizeof a, &x, 1, 0, NULL);
}
