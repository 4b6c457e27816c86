/* tensor/op_binary.c - elementwise functions of two broadcast tensors, and where.
 *
 * One row function per kind and dtype works on contiguous tiles; operands with other strides (a column, a scalar, a transposed view) are
 * gathered into a tile first, so every pattern meets the same loop. The gradient of operand i at each output element comes from the same
 * kind of tile function and is summed over the axes on which the operand was broadcast (ed__nd_reduce: fixed order). pow clamps its base to
 * >= 1e-9: below it the gradient of the base is 0. max2 and min2 send the gradient of ties to a and pass NaN on. */
#include <math.h>

#include "tensor/kernel.h"
#include "tensor/nd.h"

/* ---- tile functions: z = f(a, b); d = dy * df/da, dy * df/db */

#define POW_BASE 1e-9

#define VALUE(T, name, expr)                                                                                                               \
    static void name##_##T(const T *restrict as, const T *restrict bs, T *restrict z, int64_t n) {                                         \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            T a = as[i], b = bs[i];                                                                                                        \
            z[i] = expr;                                                                                                                   \
        }                                                                                                                                  \
    }
#define SLOPE(T, name, expr)                                                                                                               \
    static void name##_##T(const T *restrict dys, const T *restrict as, const T *restrict bs, T *restrict d, int64_t n) {                  \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            T dy = dys[i], a = as[i], b = bs[i];                                                                                           \
            (void)a, (void)b;                                                                                                              \
            d[i] = expr;                                                                                                                   \
        }                                                                                                                                  \
    }

static float pow_of_float(float a, float b) {
    return powf(a < (float)POW_BASE ? (float)POW_BASE : a, b);
}
static double pow_of_double(double a, double b) {
    return pow(a < POW_BASE ? POW_BASE : a, b);
}
static float log_of_float(float a) {
    return logf(a < (float)POW_BASE ? (float)POW_BASE : a);
}
static double log_of_double(double a) {
    return log(a < POW_BASE ? POW_BASE : a);
}

#define A_WINS_MAX (a >= b || a != a)
#define A_WINS_MIN (a <= b || a != a)
#define TILES(T)                                                                                                                           \
    VALUE(T, add, a + b)                                                                                                                   \
    VALUE(T, sub, a - b)                                                                                                                   \
    VALUE(T, mul, a *b)                                                                                                                    \
    VALUE(T, div, a / b)                                                                                                                   \
    VALUE(T, pow, pow_of_##T(a, b))                                                                                                        \
    VALUE(T, max, A_WINS_MAX ? a : b)                                                                                                      \
    VALUE(T, min, A_WINS_MIN ? a : b)                                                                                                      \
    SLOPE(T, sub_b, -dy)                                                                                                                   \
    SLOPE(T, mul_a, dy *b)                                                                                                                 \
    SLOPE(T, mul_b, dy *a)                                                                                                                 \
    SLOPE(T, div_a, dy / b)                                                                                                                \
    SLOPE(T, div_b, -dy *a / (b * b))                                                                                                      \
    SLOPE(T, pow_a, a < (T)POW_BASE ? 0 : dy * b * pow_of_##T(a, b - 1))                                                                   \
    SLOPE(T, pow_b, dy *pow_of_##T(a, b) * log_of_##T(a))                                                                                  \
    SLOPE(T, max_a, A_WINS_MAX ? dy : 0)                                                                                                   \
    SLOPE(T, max_b, A_WINS_MAX ? 0 : dy)                                                                                                   \
    SLOPE(T, min_a, A_WINS_MIN ? dy : 0)                                                                                                   \
    SLOPE(T, min_b, A_WINS_MIN ? 0 : dy)
TILES(float)
TILES(double)

typedef struct binary_tiles {
    void (*value_f32)(const float *a, const float *b, float *z, int64_t n);
    void (*value_f64)(const double *a, const double *b, double *z, int64_t n);
    /* per operand; NULL: d = dy */
    void (*slope_f32[2])(const float *dy, const float *a, const float *b, float *d, int64_t n);
    void (*slope_f64[2])(const double *dy, const double *a, const double *b, double *d, int64_t n);
} binary_tiles;

#define TILE_ROW(f, da_f32, db_f32, da_f64, db_f64)                                                                                        \
    {                                                                                                                                      \
        f##_float, f##_double, {da_f32, db_f32}, {                                                                                         \
            da_f64, db_f64                                                                                                                 \
        }                                                                                                                                  \
    }
#define TILE_ROW_AB(f) TILE_ROW(f, f##_a_float, f##_b_float, f##_a_double, f##_b_double)
static const binary_tiles tiles_of[ED_BINARY_COUNT] = {
    [ED_ADD] = TILE_ROW(add, NULL, NULL, NULL, NULL),
    [ED_SUB] = TILE_ROW(sub, NULL, sub_b_float, NULL, sub_b_double),
    [ED_MUL] = TILE_ROW_AB(mul),
    [ED_DIV] = TILE_ROW_AB(div),
    [ED_POW] = TILE_ROW_AB(pow),
    [ED_MAX] = TILE_ROW_AB(max),
    [ED_MIN] = TILE_ROW_AB(min),
};

/* ---- the rows */

typedef struct binary_attrs {
    int kind;
} binary_attrs;

typedef struct binary_ctx {
    const binary_tiles *f;
    const void *a, *b, *dy;
    int64_t a_stride, b_stride; /* inside a row */
    void *z;
    int which; /* operand whose gradient is made */
} binary_ctx;

static bool binary_shape(ed_call *c) {
    const ed_tensor *a = c->in[0], *b = c->in[1];
    int rank;
    int64_t shape[ED_MAX_RANK];
    if (a->dtype != b->dtype || (a->dtype != ED_DTYPE_F32 && a->dtype != ED_DTYPE_F64))
        return ed__op_fail(c, ED_E_DTYPE, "needs two f32 or two f64, got %s and %s", ed_dtype_name(a->dtype), ed_dtype_name(b->dtype));
    if (!ed__broadcast_shape(a, b, &rank, shape)) {
        char s0[128], s1[128];
        return ed__op_fail(c, ED_E_SHAPE, "%s and %s do not broadcast", ed_shape_text(a, s0, sizeof s0), ed_shape_text(b, s1, sizeof s1));
    }
    return ed__op_out(c, a->dtype, rank, shape) != NULL;
}

/* A gathered tile is made once for a whole row when the operand stands still in it. */
static void value_row_f32(void *ctx, int64_t pos, const int64_t *off, int64_t n) {
    const binary_ctx *p = ctx;
    const float *a = (const float *)p->a + off[0], *b = (const float *)p->b + off[1], *ta = NULL, *tb = NULL;
    float *z = (float *)p->z + pos, buf_a[ED__ND_TILE], buf_b[ED__ND_TILE];
    if (p->a_stride == 1 && p->b_stride == 1) {
        p->f->value_f32(a, b, z, n);
        return;
    }
    for (int64_t i = 0; i < n; i += ED__ND_TILE) {
        int64_t m = n - i < ED__ND_TILE ? n - i : ED__ND_TILE;
        if (i == 0 || p->a_stride != 0)
            ta = ed__tile_f32(a + i * p->a_stride, p->a_stride, m, buf_a);
        if (i == 0 || p->b_stride != 0)
            tb = ed__tile_f32(b + i * p->b_stride, p->b_stride, m, buf_b);
        p->f->value_f32(ta, tb, z + i, m);
    }
}

static void value_row_f64(void *ctx, int64_t pos, const int64_t *off, int64_t n) {
    const binary_ctx *p = ctx;
    const double *a = (const double *)p->a + off[0], *b = (const double *)p->b + off[1];
    double *z = (double *)p->z + pos, buf_a[ED__ND_TILE], buf_b[ED__ND_TILE];
    for (int64_t i = 0; i < n; i += ED__ND_TILE) {
        int64_t m = n - i < ED__ND_TILE ? n - i : ED__ND_TILE;
        p->f->value_f64(ed__tile_f64(a + i * p->a_stride, p->a_stride, m, buf_a), ed__tile_f64(b + i * p->b_stride, p->b_stride, m, buf_b),
                        z + i, m);
    }
}

static void binary_forward(const ed_call *c) {
    ed_tensor *y = c->out[0];
    ed__nd nd;
    ed__nd_init(&nd, y->rank, y->shape, (const ed_tensor *const *)c->in, 2);
    binary_ctx p = {.f = &tiles_of[((const binary_attrs *)c->attrs)->kind],
                    .a = c->in[0]->data,
                    .b = c->in[1]->data,
                    .a_stride = ed__nd_inner(&nd, 0),
                    .b_stride = ed__nd_inner(&nd, 1),
                    .z = y->data};
    ed__nd_run(&nd, y->dtype == ED_DTYPE_F64 ? value_row_f64 : value_row_f32, &p);
}

static const void *slope_term(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp, bool f64) {
    const binary_ctx *p = ctx;
    double buf_a[ED__ND_TILE], buf_b[ED__ND_TILE];
    if (f64) {
        const double *dy = (const double *)p->dy + pos, *a = (const double *)p->a + off[0], *b = (const double *)p->b + off[1];
        if (!p->f->slope_f64[p->which])
            return dy;
        p->f->slope_f64[p->which](dy, ed__tile_f64(a, p->a_stride, n, buf_a), ed__tile_f64(b, p->b_stride, n, buf_b), tmp, n);
    } else {
        const float *dy = (const float *)p->dy + pos, *a = (const float *)p->a + off[0], *b = (const float *)p->b + off[1];
        if (!p->f->slope_f32[p->which])
            return dy;
        p->f->slope_f32[p->which](dy, ed__tile_f32(a, p->a_stride, n, (float *)buf_a), ed__tile_f32(b, p->b_stride, n, (float *)buf_b), tmp,
                                  n);
    }
    return tmp;
}
static const void *slope_term_f32(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp) {
    return slope_term(ctx, pos, off, n, tmp, false);
}
static const void *slope_term_f64(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp) {
    return slope_term(ctx, pos, off, n, tmp, true);
}

static void binary_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    for (int i = 0; dy && i < 2; i++) {
        bool fresh = false;
        ed_tensor *d = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &fresh) : NULL;
        if (!d)
            continue;
        ed__nd nd;
        ed__nd_init(&nd, dy->rank, dy->shape, (const ed_tensor *const[]){c->in[0], c->in[1], d}, 3);
        binary_ctx p = {.f = &tiles_of[((const binary_attrs *)c->attrs)->kind],
                        .a = c->in[0]->data,
                        .b = c->in[1]->data,
                        .dy = dy->data,
                        .a_stride = ed__nd_inner(&nd, 0),
                        .b_stride = ed__nd_inner(&nd, 1),
                        .which = i};
        ed__nd_reduce(&nd, 2, d, fresh, dy->dtype == ED_DTYPE_F64 ? slope_term_f64 : slope_term_f32, &p);
    }
}

#define BINARY_ROW(kind, name, fn, nonlinear)                                                                                              \
    extern const ed_op ed__op_##name;                                                                                                      \
    const ed_op ed__op_##name = {#name, binary_shape, binary_forward, binary_backward, NULL, nonlinear};                                   \
    ed_tensor *ed_##fn(ed_graph *g, ed_tensor *a, ed_tensor *b) {                                                                          \
        return ed__op_run(g, &ed__op_##name, &(binary_attrs){kind}, sizeof(binary_attrs), (ed_tensor *[]){a, b}, 2, 0, NULL);              \
    }
BINARY_ROW(ED_ADD, add, add, false)
BINARY_ROW(ED_SUB, sub, sub, false)
BINARY_ROW(ED_MUL, mul, mul, false)
BINARY_ROW(ED_DIV, div, div, true)
BINARY_ROW(ED_POW, pow, pow, true)
BINARY_ROW(ED_MAX, max2, max2, true)
BINARY_ROW(ED_MIN, min2, min2, true)

ed_tensor *ed_binary_op(ed_graph *g, ed_binary kind, ed_tensor *a, ed_tensor *b) {
    typedef ed_tensor *(*binary_fn)(ed_graph *, ed_tensor *, ed_tensor *);
    static const binary_fn fns[ED_BINARY_COUNT] = {ed_add, ed_sub, ed_mul, ed_div, ed_pow, ed_max2, ed_min2};
    if ((int)kind < 0 || kind >= ED_BINARY_COUNT)
        return ed_graph_fail(g, ED_E_INVALID, "binary: kind %d does not exist", (int)kind);
    return fns[kind](g, a, b);
}

/* ---- where: mask ? a : b. Any element format of 4 or 8 bytes: values are moved, not computed with */

static bool where_shape(ed_call *c) {
    const ed_tensor *mask = c->in[0], *a = c->in[1], *b = c->in[2];
    int rank;
    int64_t shape[ED_MAX_RANK];
    ed_tensor ab;
    if (mask->dtype != ED_DTYPE_BOOL && mask->dtype != ED_DTYPE_U8)
        return ed__op_fail(c, ED_E_DTYPE, "the mask must be bool or u8, not %s", ed_dtype_name(mask->dtype));
    if (a->dtype != b->dtype || (a->dtype != ED_DTYPE_F32 && a->dtype != ED_DTYPE_F64 && a->dtype != ED_DTYPE_I32))
        return ed__op_fail(c, ED_E_DTYPE, "needs two f32, f64 or i32, got %s and %s", ed_dtype_name(a->dtype), ed_dtype_name(b->dtype));
    if (ed__broadcast_shape(a, b, &rank, shape)) {
        ab = ed__view_of(NULL, a->dtype, rank, shape);
        if (ed__broadcast_shape(mask, &ab, &rank, shape))
            return ed__op_out(c, a->dtype, rank, shape) != NULL;
    }
    char s0[128], s1[128], s2[128];
    return ed__op_fail(c, ED_E_SHAPE, "%s, %s and %s do not broadcast", ed_shape_text(mask, s0, sizeof s0), ed_shape_text(a, s1, sizeof s1),
                       ed_shape_text(b, s2, sizeof s2));
}

typedef struct where_ctx {
    const uint8_t *mask;
    const void *a, *b; /* values; backward: dy and NULL */
    int64_t mask_stride, a_stride, b_stride;
    void *y;
    bool want; /* backward: mask value that lets dy through */
} where_ctx;

#define WHERE_ROW(name, T)                                                                                                                 \
    static void name(void *ctx, int64_t pos, const int64_t *off, int64_t n) {                                                              \
        const where_ctx *p = ctx;                                                                                                          \
        const uint8_t *mask = p->mask + off[0];                                                                                            \
        const T *a = (const T *)p->a + off[1], *b = (const T *)p->b + off[2];                                                              \
        T *y = (T *)p->y + pos;                                                                                                            \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            T va = a[i * p->a_stride], vb = b[i * p->b_stride];                                                                            \
            y[i] = mask[i * p->mask_stride] ? va : vb;                                                                                     \
        }                                                                                                                                  \
    }
#define WHERE_TERM(name, T)                                                                                                                \
    static const void *name(void *ctx, int64_t pos, const int64_t *off, int64_t n, void *tmp) {                                            \
        const where_ctx *p = ctx;                                                                                                          \
        const uint8_t *mask = p->mask + off[0];                                                                                            \
        const T *dy = (const T *)p->a + pos;                                                                                               \
        T *d = tmp;                                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            T v = dy[i];                                                                                                                   \
            d[i] = (mask[i * p->mask_stride] != 0) == p->want ? v : 0;                                                                     \
        }                                                                                                                                  \
        return d;                                                                                                                          \
    }
WHERE_ROW(where_row_f32, float)
WHERE_ROW(where_row_f64, double)
WHERE_ROW(where_row_i32, int32_t)
WHERE_TERM(where_term_f32, float)
WHERE_TERM(where_term_f64, double)

static void where_forward(const ed_call *c) {
    ed_tensor *y = c->out[0];
    ed__nd nd;
    ed__nd_init(&nd, y->rank, y->shape, (const ed_tensor *const *)c->in, 3);
    where_ctx p = {.mask = c->in[0]->data,
                   .a = c->in[1]->data,
                   .b = c->in[2]->data,
                   .mask_stride = ed__nd_inner(&nd, 0),
                   .a_stride = ed__nd_inner(&nd, 1),
                   .b_stride = ed__nd_inner(&nd, 2),
                   .y = y->data};
    ed__nd_run(&nd, y->dtype == ED_DTYPE_F64 ? where_row_f64 : y->dtype == ED_DTYPE_F32 ? where_row_f32 : where_row_i32, &p);
}

static void where_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    for (int i = 1; dy && i < 3; i++) {
        bool fresh = false;
        ed_tensor *d = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &fresh) : NULL;
        if (!d)
            continue;
        ed__nd nd;
        ed__nd_init(&nd, dy->rank, dy->shape, (const ed_tensor *const[]){c->in[0], d}, 2);
        where_ctx p = {.mask = c->in[0]->data, .a = dy->data, .mask_stride = ed__nd_inner(&nd, 0), .want = i == 1};
        ed__nd_reduce(&nd, 1, d, fresh, dy->dtype == ED_DTYPE_F64 ? where_term_f64 : where_term_f32, &p);
    }
}

extern const ed_op ed__op_where;
const ed_op ed__op_where = {"where", where_shape, where_forward, where_backward, NULL, false};

ed_tensor *ed_where(ed_graph *g, ed_tensor *mask, ed_tensor *a, ed_tensor *b) {
    return ed__op_run(g, &ed__op_where, NULL, 0, (ed_tensor *[]){mask, a, b}, 3, 0, NULL);
}
