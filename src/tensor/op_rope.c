/* tensor/op_rope.c - rotary position embedding with explicit positions.
 *
 * Pair i of the first rotary_dims numbers of a D vector is turned by the angle position * position_scale * theta^(-2i / rotary_dims); the other numbers
 * pass unchanged. Pairs are (i, i + rotary_dims/2) for HALF and (2i, 2i+1) for INTERLEAVED. Backward turns by the opposite angle.
 * Angles, cosines and sines are computed in f64 by libm and then rounded to the operand's type, once per distinct position of a call.
 * positions has the leading axes of x: x [.., T, D] or [.., T, H, D] with positions [.., T] (an expanded view serves for shared positions).
 * Maths: Su et al. 2021 "RoFormer". */
#include <stdlib.h>

#include "tensor/op_rows.h"

typedef struct rope_attrs {
    int64_t rotary;
    double theta, scale;
    ed_rope_kind kind;
} rope_attrs;

typedef struct rope_work {
    const ed_tensor *x;     /* source rows [rows, d], contiguous each */
    void *y;                /* [rows, d] */
    const int32_t *pos;     /* [rows / heads] */
    const int32_t *unique;  /* [n_unique], ascending */
    double *freq;           /* [half] */
    void *cos, *sin;        /* [n_unique, half] */
    int64_t n_unique, heads, d, half;
    double turn;            /* position_scale, negated in backward */
    ed_rope_kind kind;
    bool add;               /* y += instead of = */
} rope_work;

static int64_t slot_of(const rope_work *k, int32_t position) {
    int64_t lo = 0, hi = k->n_unique - 1;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (k->unique[mid] < position)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

#define T float
#define FN(name) name##_f32
#include "tensor/op_rope_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_rope_tmpl.h"
#undef T
#undef FN

static bool rope_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *pos = c->in[1];
    const rope_attrs *a = c->attrs;
    if (!ed__check_float(c, x) || !ed__check_dtype(c, pos, ED_DTYPE_I32, "positions"))
        return false;
    bool fits = x->rank == pos->rank + 1 || x->rank == pos->rank + 2;
    for (int axis = 0; fits && axis < pos->rank; axis++)
        fits = x->shape[axis] == pos->shape[axis];
    if (!fits)
        return ed__op_fail(c, ED_E_SHAPE, "positions must have the leading axes of the operand, without its last one or two");
    int64_t d = ed__row_len(x);
    if (a->rotary < 0 || a->rotary > d || a->rotary % 2)
        return ed__op_fail(c, ED_E_RANGE, "rotary_dims %lld must be even and in [0, %lld]", (long long)a->rotary, (long long)d);
    if (!(a->theta > 0 && isfinite(a->theta) && isfinite(a->scale)))
        return ed__op_fail(c, ED_E_INVALID, "theta must be a finite number > 0 and position_scale finite");
    if (a->kind != ED_ROPE_HALF && a->kind != ED_ROPE_INTERLEAVED)
        return ed__op_fail(c, ED_E_INVALID, "unknown rope kind %d", (int)a->kind);
    return ed__op_out(c, x->dtype, x->rank, x->shape) != NULL;
}

static int by_value(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Distinct positions, ascending, to unique [n]; returns their number. Positions mostly come sorted already. */
static int64_t unique_positions(const int32_t *pos, int64_t n, int32_t *unique) {
    bool sorted = true;
    for (int64_t i = 0; i < n; i++) {
        unique[i] = pos[i];
        sorted = sorted && (i == 0 || pos[i - 1] <= pos[i]);
    }
    if (!sorted)
        qsort(unique, (size_t)n, sizeof *unique, by_value);
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++)
        if (i == 0 || unique[i] != unique[m - 1])
            unique[m++] = unique[i];
    return m;
}

/* Turns the rows of x into y (x rows contiguous, y dense). */
static void rotate(const ed_call *c, const ed_tensor *x, void *y, bool opposite, bool add) {
    const rope_attrs *a = c->attrs;
    const ed_tensor *pos = ed__dense(c->g, c->in[1]);
    int64_t n = ed_numel(c->in[1]), rows = ed__row_count(x);
    int32_t *unique = ed__scratch(c->g, (size_t)n * sizeof *unique);
    if (!pos || !unique || n == 0 || rows == 0)
        return;
    rope_work k = {.x = x, .y = y, .pos = pos->data, .unique = unique, .heads = rows / n, .d = ed__row_len(x), .half = a->rotary / 2, .kind = a->kind, .add = add};
    bool f64 = x->dtype == ED_DTYPE_F64;
    k.n_unique = unique_positions(k.pos, n, unique);
    k.turn = opposite ? -a->scale : a->scale;
    k.freq = ed__scratch(c->g, (size_t)k.half * sizeof *k.freq);
    k.cos = ed__scratch(c->g, (size_t)(k.n_unique * k.half) * ed_dtype_bytes(x->dtype));
    k.sin = ed__scratch(c->g, (size_t)(k.n_unique * k.half) * ed_dtype_bytes(x->dtype));
    if (!k.freq || !k.cos || !k.sin)
        return;
    for (int64_t i = 0; i < k.half; i++)
        k.freq[i] = pow(a->theta, -2.0 * (double)i / (double)a->rotary);
    ed__parallel_for(k.n_unique, ed__grain(32 * k.half), f64 ? rope_table_f64 : rope_table_f32, &k);
    ed__parallel_for(rows, ed__grain(k.d), f64 ? rope_rows_f64 : rope_rows_f32, &k);
}

static void rope_forward(const ed_call *c) {
    const ed_tensor *x = ed__row_form(c->g, c->in[0]);
    if (x)
        rotate(c, x, c->out[0]->data, false, false);
}

static void rope_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool fresh = false;
    if (!dy || !ed__bw_wants(c, 0))
        return;
    ed_tensor *dx = ed__bw_grad_in(c, 0, &fresh);
    if (dx)
        rotate(c, dy, dx->data, true, !fresh);
}

static double rope_flops(const ed_call *c) {
    return 3.0 * (double)ed__row_count(c->in[0]) * (double)((const rope_attrs *)c->attrs)->rotary;
}

const ed_op ed__op_rope = {"rope", rope_shape, rope_forward, rope_backward, rope_flops, false};

ed_tensor *ed_rope(ed_graph *g, ed_tensor *x, const ed_tensor *positions, int64_t rotary_dims, double theta, double position_scale, ed_rope_kind kind) {
    rope_attrs attrs = {.rotary = rotary_dims, .theta = theta, .scale = position_scale, .kind = kind};
    ed_tensor *in[] = {x, (ed_tensor *)positions};
    return ed__op_run(g, &ed__op_rope, &attrs, sizeof attrs, in, 2, 0, NULL);
}
