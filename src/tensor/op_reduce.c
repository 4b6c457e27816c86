/* tensor/op_reduce.c - sum, mean, max, min, logsumexp, argmax, argmin, cumsum over one axis or over everything.
 *
 * sum and mean walk any strides in a fixed order (ed__nd_reduce). The others see x as rows: the reduced axis is moved to the end (a view,
 * copied only when that is not dense already), so an output element is one row. max, min: lowest index among ties, NaN wins over numbers;
 * that index gets the gradient. logsumexp = m + log sum exp(x - m) with the row maximum m; its gradient is exp(x - y). Sums inside a row
 * are kept in f64. */
#include <math.h>

#include "tensor/kernel.h"
#include "tensor/nd.h"

typedef struct reduce_attrs {
    int axis; /* in [0, rank) or ED_ALL_AXES */
    bool keep;
} reduce_attrs;

/* shape of the result; keep: reduced axes stay as 1 */
static int reduced_shape(const ed_tensor *x, int axis, bool keep, int64_t *shape) {
    int r = 0;
    for (int d = 0; d < x->rank; d++) {
        bool gone = axis == ED_ALL_AXES || axis == d;
        if (!gone || keep)
            shape[r++] = gone ? 1 : x->shape[d];
    }
    return r;
}

static bool reduce_args(ed_call *c) {
    reduce_attrs *a = c->attrs;
    const ed_tensor *x = c->in[0];
    if (x->dtype != ED_DTYPE_F32 && x->dtype != ED_DTYPE_F64)
        return ed__op_fail(c, ED_E_DTYPE, "needs f32 or f64, got %s", ed_dtype_name(x->dtype));
    return a->axis == ED_ALL_AXES || ed__op_axis(c, x, a->axis, &a->axis);
}

static int64_t reduced_count(const ed_tensor *x, int axis) {
    return axis == ED_ALL_AXES ? ed_numel(x) : x->shape[axis];
}

static bool reduce_out(ed_call *c, ed_dtype dtype) {
    const reduce_attrs *a = c->attrs;
    int64_t shape[ED_MAX_RANK];
    int rank = reduced_shape(c->in[0], a->axis, a->keep, shape);
    return ed__op_out(c, dtype, rank, shape) != NULL;
}

/* t (an output or its gradient) with the reduced axes as size 1, so that it broadcasts against x */
static ed_tensor kept_view(const ed_call *c, const ed_tensor *t) {
    const reduce_attrs *a = c->attrs;
    int64_t shape[ED_MAX_RANK];
    int rank = reduced_shape(c->in[0], a->axis, true, shape);
    return ed__view_of(t->data, t->dtype, rank, shape);
}

static ed_tensor *run_reduce(ed_graph *g, const ed_op *op, ed_tensor *x, int axis, bool keep) {
    reduce_attrs a = {axis, keep};
    return ed__op_run(g, op, &a, sizeof a, &x, 1, 0, NULL);
}

/* ---- sum, mean */

typedef struct terms {
    const void *x;
    int64_t stride;
} terms;

static const void *term_f32(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp) {
    const terms *t = ctx;
    (void)pos;
    return ed__tile_f32((const float *)t->x + off[0], t->stride, n, tmp);
}
static const void *term_f64(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp) {
    const terms *t = ctx;
    (void)pos;
    return ed__tile_f64((const double *)t->x + off[0], t->stride, n, tmp);
}

static bool sum_shape(ed_call *c) {
    return reduce_args(c) && reduce_out(c, c->in[0]->dtype);
}

static bool mean_shape(ed_call *c) {
    if (!reduce_args(c))
        return false;
    if (reduced_count(c->in[0], ((const reduce_attrs *)c->attrs)->axis) == 0)
        return ed__op_fail(c, ED_E_SHAPE, "the mean of no numbers");
    return reduce_out(c, c->in[0]->dtype);
}

static void sum_forward(const ed_call *c) {
    const ed_tensor *x = c->in[0];
    ed_tensor y = kept_view(c, c->out[0]);
    ed__nd nd;
    ed__nd_init(&nd, x->rank, x->shape, (const ed_tensor *const[]){x, &y}, 2);
    terms t = {x->data, ed__nd_inner(&nd, 0)};
    ed__nd_reduce(&nd, 1, &y, true, x->dtype == ED_DTYPE_F64 ? term_f64 : term_f32, &t);
}

static void mean_forward(const ed_call *c) {
    ed_tensor *y = c->out[0];
    double n = (double)reduced_count(c->in[0], ((const reduce_attrs *)c->attrs)->axis);
    sum_forward(c);
    if (y->dtype == ED_DTYPE_F64)
        for (int64_t i = 0; i < ed_numel(y); i++)
            ((double *)y->data)[i] /= n;
    else
        for (int64_t i = 0; i < ed_numel(y); i++)
            ((float *)y->data)[i] /= (float)n;
}

typedef struct spread_ctx {
    const void *dy;
    void *dx;
    int64_t stride; /* of dy inside a row: 0 or 1 */
    double factor;
    bool fresh;
} spread_ctx;

#define SPREAD_ROW(name, T)                                                                                                                \
    static void name(void *ctx, int64_t pos, const int64_t *off, int64_t n) {                                                              \
        const spread_ctx *p = ctx;                                                                                                         \
        const T *dy = (const T *)p->dy + off[0], f = (T)p->factor;                                                                         \
        T *dx = (T *)p->dx + pos;                                                                                                          \
        if (p->fresh)                                                                                                                      \
            memset(dx, 0, (size_t)n * sizeof *dx);                                                                                         \
        if (p->stride == 0)                                                                                                                \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                dx[i] += f * dy[0];                                                                                                        \
        else                                                                                                                               \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                dx[i] += f * dy[i];                                                                                                        \
    }
SPREAD_ROW(spread_f32, float)
SPREAD_ROW(spread_f64, double)

/* dx (+)= factor * dy along the reduced axes */
static void spread(const ed_call *c, double factor) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    spread_ctx p = {.factor = factor};
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &p.fresh) : NULL;
    if (!dx)
        return;
    ed_tensor kept = kept_view(c, dy);
    ed__nd nd;
    ed__nd_init(&nd, dx->rank, dx->shape, (const ed_tensor *const[]){&kept}, 1);
    p.dy = dy->data;
    p.dx = dx->data;
    p.stride = ed__nd_inner(&nd, 0);
    ed__nd_run(&nd, dx->dtype == ED_DTYPE_F64 ? spread_f64 : spread_f32, &p);
}

static void sum_backward(const ed_call *c) {
    spread(c, 1);
}

static void mean_backward(const ed_call *c) {
    spread(c, 1 / (double)reduced_count(c->in[0], ((const reduce_attrs *)c->attrs)->axis));
}

extern const ed_op ed__op_sum, ed__op_mean;
const ed_op ed__op_sum = {"sum", sum_shape, sum_forward, sum_backward, NULL, false};
const ed_op ed__op_mean = {"mean", mean_shape, mean_forward, mean_backward, NULL, false};

ed_tensor *ed_sum(ed_graph *g, ed_tensor *x, int axis, bool keep) {
    return run_reduce(g, &ed__op_sum, x, axis, keep);
}
ed_tensor *ed_mean(ed_graph *g, ed_tensor *x, int axis, bool keep) {
    return run_reduce(g, &ed__op_mean, x, axis, keep);
}

/* ---- rows: x as [rows, n] with the reduced axis last */

typedef struct rows_ctx {
    const void *x; /* [rows, n] */
    int64_t rows, n;
    void *y;        /* [rows] or NULL */
    int32_t *index; /* [rows] or NULL */
    double sign;    /* 1: max, -1: min */
} rows_ctx;

/* false when memory is gone */
static bool rows_of(const ed_call *c, rows_ctx *r) {
    const reduce_attrs *a = c->attrs;
    ed_tensor x = *c->in[0];
    if (a->axis != ED_ALL_AXES) {
        for (int d = a->axis; d + 1 < x.rank; d++) {
            x.shape[d] = c->in[0]->shape[d + 1];
            x.stride[d] = c->in[0]->stride[d + 1];
        }
        x.shape[x.rank - 1] = c->in[0]->shape[a->axis];
        x.stride[x.rank - 1] = c->in[0]->stride[a->axis];
    }
    const ed_tensor *dense = ed__dense(c->g, &x);
    r->n = reduced_count(c->in[0], a->axis);
    r->rows = r->n > 0 ? ed_numel(&x) / r->n : 0;
    r->x = dense ? dense->data : NULL;
    return dense != NULL;
}

static void run_rows(rows_ctx *r, ed__range_fn body) {
    ed__parallel_for(r->rows, r->n >= ED__ND_GRAIN ? 1 : ED__ND_GRAIN / (r->n > 0 ? r->n : 1), body, r);
}

/* ---- max, min, argmax, argmin */

/* Best value of a row by 16 running bests (which the compiler turns into vectors), then its first place. NaN is better than any number. */
#define BEST_OF(T)                                                                                                                         \
    static T best_of_##T(const T *x, int64_t n, T sign) {                                                                                  \
        T best[16], nan = 0, top;                                                                                                          \
        int64_t i = 0;                                                                                                                     \
        for (int j = 0; j < 16; j++)                                                                                                       \
            best[j] = -(T)INFINITY;                                                                                                        \
        for (; i + 16 <= n; i += 16)                                                                                                       \
            for (int j = 0; j < 16; j++) {                                                                                                 \
                T v = sign * x[i + j];                                                                                                     \
                best[j] = v > best[j] ? v : v == v ? best[j] : v;                                                                          \
            }                                                                                                                              \
        for (; i < n; i++)                                                                                                                 \
            best[0] = sign * x[i] > best[0] || x[i] != x[i] ? sign * x[i] : best[0];                                                       \
        top = best[0];                                                                                                                     \
        for (int j = 0; j < 16; j++) {                                                                                                     \
            nan = best[j] != best[j] ? 1 : nan;                                                                                            \
            top = best[j] > top ? best[j] : top;                                                                                           \
        }                                                                                                                                  \
        return nan != 0 ? (T)NAN : sign * top;                                                                                             \
    }                                                                                                                                      \
    static int64_t place_of_##T(const T *x, T best) {                                                                                      \
        int64_t i = 0;                                                                                                                     \
        if (best == best)                                                                                                                  \
            while (x[i] != best)                                                                                                           \
                i++;                                                                                                                       \
        else                                                                                                                               \
            while (x[i] == x[i])                                                                                                           \
                i++;                                                                                                                       \
        return i;                                                                                                                          \
    }                                                                                                                                      \
    static void best_rows_##T(void *ctx, int64_t begin, int64_t end) {                                                                     \
        const rows_ctx *p = ctx;                                                                                                           \
        for (int64_t r = begin; r < end; r++) {                                                                                            \
            const T *x = (const T *)p->x + r * p->n;                                                                                       \
            T best = best_of_##T(x, p->n, (T)p->sign);                                                                                     \
            if (p->y)                                                                                                                      \
                ((T *)p->y)[r] = best;                                                                                                     \
            if (p->index)                                                                                                                  \
                p->index[r] = (int32_t)place_of_##T(x, best);                                                                              \
        }                                                                                                                                  \
    }
BEST_OF(float)
BEST_OF(double)

static void best_forward(const ed_call *c, double sign, void *y, int32_t *index) {
    rows_ctx r = {.y = y, .index = index, .sign = sign};
    if (rows_of(c, &r))
        run_rows(&r, c->in[0]->dtype == ED_DTYPE_F64 ? best_rows_double : best_rows_float);
}

static bool best_args(ed_call *c) {
    if (!reduce_args(c))
        return false;
    int64_t n = reduced_count(c->in[0], ((const reduce_attrs *)c->attrs)->axis);
    return (n >= 1 && n <= INT32_MAX) || ed__op_fail(c, ED_E_SHAPE, "cannot choose among %lld numbers", (long long)n);
}

static bool best_shape(ed_call *c) {
    if (!best_args(c) || !reduce_out(c, c->in[0]->dtype))
        return false;
    return !ed__op_recording(c) || ed__op_aux(c, ED_DTYPE_I32, c->out[0]->rank, c->out[0]->shape);
}

static void max_forward(const ed_call *c) {
    best_forward(c, 1, c->out[0]->data, c->n_aux ? c->aux[0]->data : NULL);
}
static void min_forward(const ed_call *c) {
    best_forward(c, -1, c->out[0]->data, c->n_aux ? c->aux[0]->data : NULL);
}

static void best_backward(const ed_call *c) {
    const reduce_attrs *a = c->attrs;
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &fresh) : NULL;
    if (!dx)
        return;
    if (fresh)
        memset(dx->data, 0, (size_t)ed_numel(dx) * ed_dtype_bytes(dx->dtype));
    const int32_t *index = c->aux[0]->data;
    int64_t n = reduced_count(dx, a->axis), inner = a->axis == ED_ALL_AXES ? 1 : ed__prod(dx, a->axis + 1, dx->rank);
    for (int64_t r = 0; r < ed_numel(dy); r++) {
        int64_t at = (r / inner * n + index[r]) * inner + r % inner;
        ED_FLOAT_DISPATCH(dx->dtype, ((float *)dx->data)[at] += ((const float *)dy->data)[r],
                          ((double *)dx->data)[at] += ((const double *)dy->data)[r]);
    }
}

extern const ed_op ed__op_max, ed__op_min;
const ed_op ed__op_max = {"max", best_shape, max_forward, best_backward, NULL, true};
const ed_op ed__op_min = {"min", best_shape, min_forward, best_backward, NULL, true};

ed_tensor *ed_max(ed_graph *g, ed_tensor *x, int axis, bool keep) {
    return run_reduce(g, &ed__op_max, x, axis, keep);
}
ed_tensor *ed_min(ed_graph *g, ed_tensor *x, int axis, bool keep) {
    return run_reduce(g, &ed__op_min, x, axis, keep);
}

static bool arg_shape(ed_call *c) {
    return best_args(c) && reduce_out(c, ED_DTYPE_I32);
}
static void argmax_forward(const ed_call *c) {
    best_forward(c, 1, NULL, c->out[0]->data);
}
static void argmin_forward(const ed_call *c) {
    best_forward(c, -1, NULL, c->out[0]->data);
}

extern const ed_op ed__op_argmax, ed__op_argmin;
const ed_op ed__op_argmax = {"argmax", arg_shape, argmax_forward, NULL, NULL, true};
const ed_op ed__op_argmin = {"argmin", arg_shape, argmin_forward, NULL, NULL, true};

ed_tensor *ed_argmax(ed_graph *g, ed_tensor *x, int axis) {
    return run_reduce(g, &ed__op_argmax, x, axis, false);
}
ed_tensor *ed_argmin(ed_graph *g, ed_tensor *x, int axis) {
    return run_reduce(g, &ed__op_argmin, x, axis, false);
}

/* ---- logsumexp */

static void lse_rows_float(void *ctx, int64_t begin, int64_t end) {
    const rows_ctx *p = ctx;
    const ed__kernel_table *k = ed__kernels();
    float tile[ED__ND_TILE];
    for (int64_t r = begin; r < end; r++) {
        const float *x = (const float *)p->x + r * p->n;
        float m = best_of_float(x, p->n, 1);
        double s = 0;
        for (int64_t i = 0; i < p->n && isfinite(m); i += ED__ND_TILE) {
            int64_t n = p->n - i < ED__ND_TILE ? p->n - i : ED__ND_TILE;
            k->exp_sub(x + i, m, tile, n);
            s += (double)k->sum(tile, n);
        }
        ((float *)p->y)[r] = isfinite(m) ? (float)((double)m + log(s)) : m;
    }
}

static void lse_rows_double(void *ctx, int64_t begin, int64_t end) {
    const rows_ctx *p = ctx;
    for (int64_t r = begin; r < end; r++) {
        const double *x = (const double *)p->x + r * p->n;
        double m = best_of_double(x, p->n, 1), s = 0;
        for (int64_t i = 0; i < p->n && isfinite(m); i++)
            s += exp(x[i] - m);
        ((double *)p->y)[r] = isfinite(m) ? m + log(s) : m;
    }
}

static bool lse_shape(ed_call *c) {
    if (!reduce_args(c))
        return false;
    if (reduced_count(c->in[0], ((const reduce_attrs *)c->attrs)->axis) == 0)
        return ed__op_fail(c, ED_E_SHAPE, "no numbers along the axis");
    return reduce_out(c, c->in[0]->dtype);
}

static void lse_forward(const ed_call *c) {
    rows_ctx r = {.y = c->out[0]->data};
    if (rows_of(c, &r))
        run_rows(&r, c->in[0]->dtype == ED_DTYPE_F64 ? lse_rows_double : lse_rows_float);
}

typedef struct lse_ctx {
    const void *x, *y, *dy; /* operands 0, 1, 2 of the walk */
    int64_t x_stride, y_stride;
    void *dx;
    bool fresh;
} lse_ctx;

/* p = exp(x - y), 0 where y = -inf (a row of -inf only) */
static void lse_back_f32(void *ctx, int64_t pos, const int64_t *off, int64_t n) {
    const lse_ctx *p = ctx;
    const ed__kernel_table *k = ed__kernels();
    const float *x = (const float *)p->x + off[0], *y = (const float *)p->y + off[1], *dy = (const float *)p->dy + off[2];
    float *dx = (float *)p->dx + pos, t[ED__ND_TILE];
    for (int64_t i = 0; i < n;
         i += ED__ND_TILE, x += ED__ND_TILE * p->x_stride, y += ED__ND_TILE * p->y_stride, dy += ED__ND_TILE * p->y_stride) {
        int64_t m = n - i < ED__ND_TILE ? n - i : ED__ND_TILE;
        for (int64_t j = 0; j < m; j++) {
            float v = y[j * p->y_stride];
            t[j] = v == -INFINITY ? v : x[j * p->x_stride] - v;
        }
        k->exp_sub(t, 0, t, m);
        for (int64_t j = 0; j < m; j++)
            dx[i + j] = t[j] * dy[j * p->y_stride] + (p->fresh ? 0 : dx[i + j]);
    }
}

static void lse_back_f64(void *ctx, int64_t pos, const int64_t *off, int64_t n) {
    const lse_ctx *p = ctx;
    const double *x = (const double *)p->x + off[0], *y = (const double *)p->y + off[1], *dy = (const double *)p->dy + off[2];
    double *dx = (double *)p->dx + pos;
    for (int64_t j = 0; j < n; j++) {
        double v = y[j * p->y_stride];
        dx[j] = (v == -(double)INFINITY ? 0 : exp(x[j * p->x_stride] - v) * dy[j * p->y_stride]) + (p->fresh ? 0 : dx[j]);
    }
}

static void lse_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *x = c->in[0];
    lse_ctx p = {0};
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &p.fresh) : NULL;
    if (!dx)
        return;
    ed_tensor y = kept_view(c, c->out[0]), g = kept_view(c, dy);
    ed__nd nd;
    ed__nd_init(&nd, x->rank, x->shape, (const ed_tensor *const[]){x, &y, &g}, 3);
    p.x = x->data;
    p.y = y.data;
    p.dy = g.data;
    p.x_stride = ed__nd_inner(&nd, 0);
    p.y_stride = ed__nd_inner(&nd, 1);
    p.dx = dx->data;
    ed__nd_run(&nd, dx->dtype == ED_DTYPE_F64 ? lse_back_f64 : lse_back_f32, &p);
}

extern const ed_op ed__op_logsumexp;
const ed_op ed__op_logsumexp = {"logsumexp", lse_shape, lse_forward, lse_backward, NULL, true};

ed_tensor *ed_logsumexp(ed_graph *g, ed_tensor *x, int axis, bool keep) {
    return run_reduce(g, &ed__op_logsumexp, x, axis, keep);
}

/* ---- cumsum: x as [outer, n, inner]; the running sums of up to TILE columns are kept in f64 */

typedef struct cumsum_ctx {
    const void *x;
    void *y;
    int64_t n, inner, chunks;
    bool backward, fresh; /* backward runs from the end and adds unless fresh */
} cumsum_ctx;

/* one item: columns [col, col + m) of outer index o. A single column needs no array */
#define CUMSUM(T)                                                                                                                          \
    static void cumsum_line_##T(const cumsum_ctx *p, int64_t o) {                                                                          \
        const T *x = (const T *)p->x + o * p->n;                                                                                           \
        T *y = (T *)p->y + o * p->n;                                                                                                       \
        double run = 0;                                                                                                                    \
        for (int64_t k = 0; k < p->n; k++) {                                                                                               \
            int64_t at = p->backward ? p->n - 1 - k : k;                                                                                   \
            run += x[at];                                                                                                                  \
            y[at] = (T)run + (p->fresh ? 0 : y[at]);                                                                                       \
        }                                                                                                                                  \
    }                                                                                                                                      \
    static void cumsum_columns_##T(const cumsum_ctx *p, int64_t o, int64_t col, int64_t m) {                                               \
        double run[ED__ND_TILE] = {0};                                                                                                     \
        for (int64_t k = 0; k < p->n; k++) {                                                                                               \
            int64_t at = (o * p->n + (p->backward ? p->n - 1 - k : k)) * p->inner + col;                                                   \
            const T *x = (const T *)p->x + at;                                                                                             \
            T *y = (T *)p->y + at;                                                                                                         \
            for (int64_t j = 0; j < m; j++) {                                                                                              \
                run[j] += x[j];                                                                                                            \
                y[j] = (T)run[j] + (p->fresh ? 0 : y[j]);                                                                                  \
            }                                                                                                                              \
        }                                                                                                                                  \
    }                                                                                                                                      \
    static void cumsum_##T(void *ctx, int64_t begin, int64_t end) {                                                                        \
        const cumsum_ctx *p = ctx;                                                                                                         \
        for (int64_t item = begin; item < end; item++) {                                                                                   \
            int64_t col = item % p->chunks * ED__ND_TILE, m = p->inner - col < ED__ND_TILE ? p->inner - col : ED__ND_TILE;                 \
            if (p->inner == 1)                                                                                                             \
                cumsum_line_##T(p, item);                                                                                                  \
            else                                                                                                                           \
                cumsum_columns_##T(p, item / p->chunks, col, m);                                                                           \
        }                                                                                                                                  \
    }
CUMSUM(float)
CUMSUM(double)

static void cumsum_run(const ed_call *c, const ed_tensor *x, ed_tensor *y, bool backward, bool fresh) {
    int axis = ((const reduce_attrs *)c->attrs)->axis;
    int64_t inner = ed__prod(y, axis + 1, y->rank), n = y->shape[axis], chunks = (inner + ED__ND_TILE - 1) / ED__ND_TILE;
    cumsum_ctx p = {x->data, y->data, n, inner, chunks, backward, fresh};
    int64_t cost = n * (inner < ED__ND_TILE ? inner : ED__ND_TILE);
    if (ed_numel(y) > 0)
        ed__parallel_for(ed__prod(y, 0, axis) * chunks, cost >= ED__ND_GRAIN ? 1 : ED__ND_GRAIN / cost,
                         y->dtype == ED_DTYPE_F64 ? cumsum_double : cumsum_float, &p);
}

static bool cumsum_shape(ed_call *c) {
    if (!reduce_args(c))
        return false;
    if (((const reduce_attrs *)c->attrs)->axis == ED_ALL_AXES)
        return ed__op_fail(c, ED_E_RANGE, "needs one axis");
    return ed__op_out(c, c->in[0]->dtype, c->in[0]->rank, c->in[0]->shape) != NULL;
}

static void cumsum_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]);
    if (x)
        cumsum_run(c, x, c->out[0], false, true);
}

static void cumsum_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    ed_tensor *dx = dy && ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &fresh) : NULL;
    if (dx)
        cumsum_run(c, dy, dx, true, fresh);
}

extern const ed_op ed__op_cumsum;
const ed_op ed__op_cumsum = {"cumsum", cumsum_shape, cumsum_forward, cumsum_backward, NULL, false};

ed_tensor *ed_cumsum(ed_graph *g, ed_tensor *x, int axis) {
    return run_reduce(g, &ed__op_cumsum, x, axis, false);
}
