/* tensor/op_unary.c - elementwise functions of one tensor: the ed_unary kinds, affine, clamp, lower_bound.
 *
 * F32 runs through the kernels (kernel.h gives their error bounds); F64 through the plain loops below, which are also the definition of
 * each function and of its derivative. Derivatives at kinks: abs 0 at 0, relu and leaky relu take the left branch at 0. Stable forms:
 * softplus = max(x,0) + log1p(exp(-|x|)), sigmoid by the sign of x. gelu_tanh: Hendrycks and Gimpel 2016 with sqrt(2/pi) (x + 0.044715
 * x^3). */
#include <math.h>

#include "tensor/kernel.h"
#include "tensor/nd.h"

typedef struct unary_attrs {
    int kind;
    double param; /* slope of leaky relu */
} unary_attrs;

static bool float_same_shape(ed_call *c) {
    const ed_tensor *x = c->in[0];
    if (x->dtype != ED_DTYPE_F32 && x->dtype != ED_DTYPE_F64)
        return ed__op_fail(c, ED_E_DTYPE, "needs f32 or f64, got %s", ed_dtype_name(x->dtype));
    return ed__op_out(c, x->dtype, x->rank, x->shape) != NULL;
}

/* ---- F64 definitions */

#define GELU_A 0.79788456080286535588 /* sqrt(2/pi) */
#define GELU_B 0.044715
#define INV_SQRT2 0.70710678118654752440
#define INV_SQRT_2PI 0.39894228040143267794
#define TWO_INV_SQRT_PI 1.12837916709551257390

static double sigmoid(double x) {
    double e = exp(-fabs(x));
    return (x >= 0 ? 1 : e) / (1 + e);
}

static double gelu_tanh_grad(double x) {
    double t = tanh(GELU_A * (x + GELU_B * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_A * (1 + 3 * GELU_B * x * x);
}

static double sign_or_zero(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : x * 0;
}

/* clang-format off */
static double unary_value(int kind, double p, double x) {
    switch ((ed_unary)kind) {
    case ED_NEG: return -x;
    case ED_ABS: return fabs(x);
    case ED_EXP: return exp(x);
    case ED_LOG: return log(x);
    case ED_LOG1P: return log1p(x);
    case ED_SQRT: return sqrt(x);
    case ED_RSQRT: return 1 / sqrt(x);
    case ED_SQUARE: return x * x;
    case ED_SIN: return sin(x);
    case ED_COS: return cos(x);
    case ED_TANH: return tanh(x);
    case ED_SIGMOID: return sigmoid(x);
    case ED_ERF: return erf(x);
    case ED_RELU: return x > 0 || x != x ? x : 0;
    case ED_LEAKY_RELU: return x > 0 ? x : p * x;
    case ED_ELU: return x > 0 ? x : expm1(x);
    case ED_SILU: return x * sigmoid(x);
    case ED_GELU_TANH: return 0.5 * x * (1 + tanh(GELU_A * (x + GELU_B * x * x * x)));
    case ED_GELU_ERF: return 0.5 * x * (1 + erf(x * INV_SQRT2));
    case ED_SOFTPLUS: return (x > 0 || x != x ? x : 0) + log1p(exp(-fabs(x)));
    case ED_ROUND: return nearbyint(x);
    default: return x;
    }
}

/* derivative at x with y = f(x) */
static double unary_slope(int kind, double p, double x, double y) {
    switch ((ed_unary)kind) {
    case ED_NEG: return -1;
    case ED_ABS: return sign_or_zero(x);
    case ED_EXP: return y;
    case ED_LOG: return 1 / x;
    case ED_LOG1P: return 1 / (1 + x);
    case ED_SQRT: return 0.5 / y;
    case ED_RSQRT: return -0.5 * y / x;
    case ED_SQUARE: return 2 * x;
    case ED_SIN: return cos(x);
    case ED_COS: return -sin(x);
    case ED_TANH: return 1 - y * y;
    case ED_SIGMOID: return y * (1 - y);
    case ED_ERF: return TWO_INV_SQRT_PI * exp(-x * x);
    case ED_RELU: return x > 0;
    case ED_LEAKY_RELU: return x > 0 ? 1 : p;
    case ED_ELU: return x > 0 ? 1 : y + 1;
    case ED_SILU: return sigmoid(x) * (1 + x - y);
    case ED_GELU_TANH: return gelu_tanh_grad(x);
    case ED_GELU_ERF: return 0.5 * (1 + erf(x * INV_SQRT2)) + x * INV_SQRT_2PI * exp(-0.5 * x * x);
    case ED_SOFTPLUS: return sigmoid(x);
    default: return 0; /* ROUND */
    }
}

/* clang-format on */

/* ---- the rows of the kinds */

typedef struct unary_ctx {
    const unary_attrs *a;
    const ed_tensor *x, *y, *dy; /* all contiguous, of one dtype */
    ed_tensor *out;              /* y or dx */
    bool fresh;
} unary_ctx;

static void forward_range(void *p, int64_t begin, int64_t end) {
    const unary_ctx *u = p;
    if (u->out->dtype == ED_DTYPE_F32) {
        ed__kernels()->unary(u->a->kind, u->a->param, (const float *)u->x->data + begin, (float *)u->out->data + begin, end - begin);
        return;
    }
    const double *x = u->x->data;
    double *y = u->out->data;
    for (int64_t i = begin; i < end; i++)
        y[i] = unary_value(u->a->kind, u->a->param, x[i]);
}

static void backward_range(void *p, int64_t begin, int64_t end) {
    const unary_ctx *u = p;
    if (u->out->dtype == ED_DTYPE_F32) {
        ed__kernels()->unary_grad(u->a->kind, u->a->param, (const float *)u->x->data + begin, (const float *)u->y->data + begin,
                                  (const float *)u->dy->data + begin, (float *)u->out->data + begin, end - begin, !u->fresh);
        return;
    }
    const double *x = u->x->data, *y = u->y->data, *dy = u->dy->data;
    double *dx = u->out->data;
    for (int64_t i = begin; i < end; i++)
        dx[i] = dy[i] * unary_slope(u->a->kind, u->a->param, x[i], y[i]) + (u->fresh ? 0 : dx[i]);
}

static void unary_forward(const ed_call *c) {
    unary_ctx u = {.a = c->attrs, .x = ed__dense(c->g, c->in[0]), .out = c->out[0]};
    if (u.x)
        ed__parallel_for(ed_numel(u.out), ED__ND_GRAIN, forward_range, &u);
}

static void unary_backward(const ed_call *c) {
    unary_ctx u = {.a = c->attrs, .y = c->out[0], .dy = ed__bw_grad_out(c, 0)};
    if (!u.dy || !ed__bw_wants(c, 0))
        return;
    u.x = ed__dense(c->g, c->in[0]);
    u.out = u.x ? ed__bw_grad_in(c, 0, &u.fresh) : NULL;
    if (u.out)
        ed__parallel_for(ed_numel(u.out), ED__ND_GRAIN, backward_range, &u);
}

/** X(kind, name, counts as non-linear) in the order of ed_unary */
#define UNARY_LIST(X)                                                                                                                      \
    X(ED_NEG, neg, false)                                                                                                                  \
    X(ED_ABS, abs, true)                                                                                                                   \
    X(ED_EXP, exp, true)                                                                                                                   \
    X(ED_LOG, log, true)                                                                                                                   \
    X(ED_LOG1P, log1p, true)                                                                                                               \
    X(ED_SQRT, sqrt, true)                                                                                                                 \
    X(ED_RSQRT, rsqrt, true)                                                                                                               \
    X(ED_SQUARE, square, true)                                                                                                             \
    X(ED_SIN, sin, true)                                                                                                                   \
    X(ED_COS, cos, true)                                                                                                                   \
    X(ED_TANH, tanh, true)                                                                                                                 \
    X(ED_SIGMOID, sigmoid, true)                                                                                                           \
    X(ED_ERF, erf, true)                                                                                                                   \
    X(ED_RELU, relu, true)                                                                                                                 \
    X(ED_LEAKY_RELU, leaky_relu, true)                                                                                                     \
    X(ED_ELU, elu, true)                                                                                                                   \
    X(ED_SILU, silu, true)                                                                                                                 \
    X(ED_GELU_TANH, gelu_tanh, true)                                                                                                       \
    X(ED_GELU_ERF, gelu_erf, true)                                                                                                         \
    X(ED_SOFTPLUS, softplus, true)                                                                                                         \
    X(ED_ROUND, round, true)

#define UNARY_ROW(kind, name, nonlinear)                                                                                                   \
    extern const ed_op ed__op_##name;                                                                                                      \
    const ed_op ed__op_##name = {#name, float_same_shape, unary_forward, unary_backward, NULL, nonlinear};
UNARY_LIST(UNARY_ROW)
#undef UNARY_ROW

#define UNARY_POINTER(kind, name, nonlinear) [kind] = &ed__op_##name,
static const ed_op *const unary_rows[ED_UNARY_COUNT] = {UNARY_LIST(UNARY_POINTER)};
#undef UNARY_POINTER

static ed_tensor *run_unary(ed_graph *g, ed_unary kind, double param, ed_tensor *x) {
    unary_attrs a = {(int)kind, param};
    return ed__op_run(g, unary_rows[kind], &a, sizeof a, &x, 1, 0, NULL);
}

ed_tensor *ed_unary_op(ed_graph *g, ed_unary kind, ed_tensor *x) {
    if ((int)kind < 0 || kind >= ED_UNARY_COUNT)
        return ed_graph_fail(g, ED_E_INVALID, "unary: kind %d does not exist", (int)kind);
    return run_unary(g, kind, kind == ED_LEAKY_RELU ? 0.01 : 0, x);
}

const char *ed_unary_name(ed_unary kind) {
    return (int)kind >= 0 && kind < ED_UNARY_COUNT ? unary_rows[kind]->name : "?";
}

#define PLAIN_WRAPPER(kind, name)                                                                                                          \
    ed_tensor *ed_##name(ed_graph *g, ed_tensor *x) {                                                                                      \
        return run_unary(g, kind, 0, x);                                                                                                   \
    }
PLAIN_WRAPPER(ED_NEG, neg)
PLAIN_WRAPPER(ED_ABS, abs)
PLAIN_WRAPPER(ED_EXP, exp)
PLAIN_WRAPPER(ED_LOG, log)
PLAIN_WRAPPER(ED_LOG1P, log1p)
PLAIN_WRAPPER(ED_SQRT, sqrt)
PLAIN_WRAPPER(ED_RSQRT, rsqrt)
PLAIN_WRAPPER(ED_SQUARE, square)
PLAIN_WRAPPER(ED_SIN, sin)
PLAIN_WRAPPER(ED_COS, cos)
PLAIN_WRAPPER(ED_TANH, tanh)
PLAIN_WRAPPER(ED_SIGMOID, sigmoid)
PLAIN_WRAPPER(ED_ERF, erf)
PLAIN_WRAPPER(ED_RELU, relu)
PLAIN_WRAPPER(ED_ELU, elu)
PLAIN_WRAPPER(ED_SILU, silu)
PLAIN_WRAPPER(ED_GELU_TANH, gelu_tanh)
PLAIN_WRAPPER(ED_GELU_ERF, gelu_erf)
PLAIN_WRAPPER(ED_SOFTPLUS, softplus)
PLAIN_WRAPPER(ED_ROUND, round)

ed_tensor *ed_leaky_relu(ed_graph *g, ed_tensor *x, double slope) {
    return run_unary(g, ED_LEAKY_RELU, slope, x);
}

/* ---- affine, clamp, lower_bound: functions of one number and two constants, one loop per dtype and direction */

typedef struct consts_attrs {
    double a, b; /* factor and offset; lowest and highest; limit */
} consts_attrs;

typedef struct consts_ctx {
    const consts_attrs *k;
    const void *x, *dy;
    void *out;
    bool fresh;
} consts_ctx;

/* y = value(x, a, b) */
#define VALUE_LOOP(name, T, value)                                                                                                         \
    static void name##_value_##T(void *ctx, int64_t begin, int64_t end) {                                                                  \
        const consts_ctx *p = ctx;                                                                                                         \
        const T *restrict xs = p->x, a = (T)p->k->a, b = (T)p->k->b;                                                                       \
        T *restrict ys = p->out;                                                                                                           \
        (void)b;                                                                                                                           \
        for (int64_t i = begin; i < end; i++) {                                                                                            \
            T x = xs[i];                                                                                                                   \
            ys[i] = value;                                                                                                                 \
        }                                                                                                                                  \
    }
/* dx (+)= slope(x, dy, a, b) */
#define SLOPE_LOOP(name, T, slope)                                                                                                         \
    static void name##_slope_##T(void *ctx, int64_t begin, int64_t end) {                                                                  \
        const consts_ctx *p = ctx;                                                                                                         \
        const T *restrict xs = p->x, *restrict dys = p->dy, a = (T)p->k->a, b = (T)p->k->b;                                                \
        T *restrict dxs = p->out;                                                                                                          \
        (void)b;                                                                                                                           \
        if (p->fresh)                                                                                                                      \
            memset(dxs + begin, 0, (size_t)(end - begin) * sizeof(T));                                                                     \
        for (int64_t i = begin; i < end; i++) {                                                                                            \
            T x = xs[i], dy = dys[i];                                                                                                      \
            (void)x;                                                                                                                       \
            dxs[i] += slope;                                                                                                               \
        }                                                                                                                                  \
    }
#define CONSTS_OP(name, value, slope, nonlinear)                                                                                           \
    VALUE_LOOP(name, float, value)                                                                                                         \
    VALUE_LOOP(name, double, value)                                                                                                        \
    SLOPE_LOOP(name, float, slope)                                                                                                         \
    SLOPE_LOOP(name, double, slope)                                                                                                        \
    static void name##_forward(const ed_call *c) {                                                                                         \
        consts_forward(c, name##_value_float, name##_value_double);                                                                        \
    }                                                                                                                                      \
    static void name##_backward(const ed_call *c) {                                                                                        \
        consts_backward(c, name##_slope_float, name##_slope_double);                                                                       \
    }                                                                                                                                      \
    extern const ed_op ed__op_##name;                                                                                                      \
    const ed_op ed__op_##name = {#name, float_same_shape, name##_forward, name##_backward, NULL, nonlinear};

static void consts_forward(const ed_call *c, ed__range_fn f32, ed__range_fn f64) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]);
    if (!x)
        return;
    consts_ctx k = {.k = c->attrs, .x = x->data, .out = c->out[0]->data};
    ed__parallel_for(ed_numel(x), ED__ND_GRAIN, x->dtype == ED_DTYPE_F64 ? f64 : f32, &k);
}

static void consts_backward(const ed_call *c, ed__range_fn f32, ed__range_fn f64) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    if (!dy || !ed__bw_wants(c, 0))
        return;
    consts_ctx k = {.k = c->attrs, .dy = dy->data};
    const ed_tensor *x = ed__dense(c->g, c->in[0]);
    ed_tensor *dx = x ? ed__bw_grad_in(c, 0, &k.fresh) : NULL;
    if (!dx)
        return;
    k.x = x->data;
    k.out = dx->data;
    ed__parallel_for(ed_numel(x), ED__ND_GRAIN, x->dtype == ED_DTYPE_F64 ? f64 : f32, &k);
}

CONSTS_OP(affine, a *x + b, a *dy, false)
CONSTS_OP(clamp, x<a ? a : x> b ? b : x, x<a || x> b ? 0 : dy, true)
CONSTS_OP(lower_bound, x < a ? a : x, x < a && dy >= 0 ? 0 : dy, true)

static ed_tensor *run_consts(ed_graph *g, const ed_op *op, ed_tensor *x, double a, double b) {
    consts_attrs k = {a, b};
    return ed__op_run(g, op, &k, sizeof k, &x, 1, 0, NULL);
}

ed_tensor *ed_affine(ed_graph *g, ed_tensor *x, double a, double b) {
    return run_consts(g, &ed__op_affine, x, a, b);
}

ed_tensor *ed_clamp(ed_graph *g, ed_tensor *x, double lo, double hi) {
    if (!(lo <= hi))
        return ed_graph_fail(g, ED_E_INVALID, "clamp: %g..%g is no range", lo, hi);
    return run_consts(g, &ed__op_clamp, x, lo, hi);
}

ed_tensor *ed_lower_bound(ed_graph *g, ed_tensor *x, double limit) {
    return run_consts(g, &ed__op_lower_bound, x, limit, 0);
}
