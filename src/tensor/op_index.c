/* tensor/op_index.c - rows and elements by index: gather, scatter, take, segment reduction, top k, integer sort.
 *
 * Invariants: every id is checked in the shape function, so that forward and backward index without checks. Rows that meet in one place are summed in
 * ascending order of their position, for any number of threads: such loops are split over columns. Ties go to the lowest index. */
#include "tensor/op_rows.h"

enum { COL_BLOCK = 64 };

typedef struct rows_work {
    const int32_t *ids;  /* [n] */
    const void *src;     /* rows of `row` elements */
    const void *w;       /* [n] or NULL (weight_grad: the rows of x) */
    void *dst;           /* rows of `row` elements */
    const uint8_t *skip; /* keep_rows: 1 = row is replaced */
    int32_t *best;       /* segment max: [segments, row] */
    int64_t n, row, src_row, bytes; /* src_row: elements between rows of a strided table; bytes: of an element */
    ed_dtype dtype;
    bool fresh;
} rows_work;

typedef struct pick_work {
    const ed_tensor *x; /* rows contiguous */
    const void *dy;     /* [rows, k] */
    void *y, *dx;       /* [rows, k], [rows, n] */
    int32_t *ids;       /* [rows, k] */
    int64_t n, k, bytes;
    bool fresh;
} pick_work;

#define T float
#define FN(name) name##_f32
#include "tensor/op_index_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_index_tmpl.h"
#undef T
#undef FN

/* ------------------------------------------------------------------ common */

static int64_t row_size(const ed_tensor *t) {
    return ed__prod(t, 1, t->rank);
}

/* Runs body over the column blocks of rows of k->row elements; n rows are visited. */
static void over_columns(rows_work *k, ed__range_fn body) {
    int64_t blocks = (k->row + COL_BLOCK - 1) / COL_BLOCK;
    ed__parallel_for(blocks, ed__grain(COL_BLOCK * k->n), body, k);
}

static void zero_all(const ed_tensor *t) {
    memset(t->data, 0, (size_t)ed_numel(t) * ed_dtype_bytes(t->dtype));
}

/* Do a and b have the same axes from `from` on? */
static bool same_rows(const ed_tensor *a, const ed_tensor *b) {
    bool same = a->rank == b->rank;
    for (int axis = 1; same && axis < a->rank; axis++)
        same = a->shape[axis] == b->shape[axis];
    return same;
}

/* x [m, ..] with ids [m] in [low, limit) */
static bool rows_and_ids(ed_call *c, const ed_tensor *x, const ed_tensor *ids, int64_t low, int64_t limit) {
    if (x->rank < 1 || ids->rank != 1 || ids->shape[0] != x->shape[0])
        return ed__op_fail(c, ED_E_SHAPE, "ids must be a vector with one id per row of the operand");
    return ed__check_ids(c, ids, low, limit);
}

/* ------------------------------------------------------------------ gather_rows: in = table, ids */

static bool gather_shape(ed_call *c) {
    const ed_tensor *table = c->in[0], *ids = c->in[1];
    int64_t shape[ED_MAX_RANK] = {0};
    if (table->rank < 1 || ids->rank + table->rank - 1 > ED_MAX_RANK)
        return ed__op_fail(c, ED_E_SHAPE, "the table needs an axis of rows, and the result at most %d axes", (int)ED_MAX_RANK);
    if (!ed__check_ids(c, ids, 0, table->shape[0]))
        return false;
    for (int a = 0; a < ids->rank; a++)
        shape[a] = ids->shape[a];
    for (int a = 1; a < table->rank; a++)
        shape[ids->rank + a - 1] = table->shape[a];
    /* half-precision tables are widened: nothing computes in them */
    bool half = table->dtype == ED_DTYPE_BF16 || table->dtype == ED_DTYPE_F16;
    return ed__op_out(c, half ? ED_DTYPE_F32 : table->dtype, ids->rank + table->rank - 1, shape) != NULL;
}

static void copy_rows(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    for (int64_t i = begin; i < end; i++) {
        const char *src = (const char *)k->src + k->ids[i] * k->src_row * k->bytes;
        if (k->dtype == ED_DTYPE_BF16)
            ed__kernels()->bf16_to_f32((const uint16_t *)(const void *)src, (float *)k->dst + i * k->row, k->row);
        else if (k->dtype == ED_DTYPE_F16)
            ed__kernels()->f16_to_f32((const uint16_t *)(const void *)src, (float *)k->dst + i * k->row, k->row);
        else
            memcpy((char *)k->dst + i * k->row * k->bytes, src, (size_t)(k->row * k->bytes));
    }
}

/* The table itself when the inside of its rows is contiguous (rows may lie apart), else a contiguous copy. */
static const ed_tensor *row_table(ed_graph *g, const ed_tensor *t) {
    int64_t step = 1;
    for (int a = t->rank - 1; a > 0; a--) {
        if (t->shape[a] != 1 && t->stride[a] != step)
            return ed__dense(g, t);
        step *= t->shape[a];
    }
    return t;
}

static void gather_forward(const ed_call *c) {
    const ed_tensor *table = row_table(c->g, c->in[0]), *ids = ed__dense(c->g, c->in[1]);
    if (!table || !ids)
        return;
    rows_work k = {.ids = ids->data, .src = table->data, .dst = c->out[0]->data, .n = ed_numel(ids), .row = row_size(table), .src_row = table->stride[0]};
    k.dtype = table->dtype;
    k.bytes = (int64_t)ed_dtype_bytes(table->dtype);
    ed__parallel_for(k.n, ed__grain(k.row), copy_rows, &k);
}

static void gather_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *ids = ed__dense(c->g, c->in[1]);
    bool fresh = false;
    if (!dy || !ids || !ed__bw_wants(c, 0) || ed__bw_sparse_rows(c, 0, ids->data, ed_numel(ids), dy->data))
        return;
    ed_tensor *dx = ed__bw_grad_in(c, 0, &fresh);
    if (!dx)
        return;
    if (fresh)
        zero_all(dx);
    rows_work k = {.ids = ids->data, .src = dy->data, .dst = dx->data, .n = ed_numel(ids), .row = row_size(c->in[0])};
    over_columns(&k, dx->dtype == ED_DTYPE_F64 ? add_rows_f64 : add_rows_f32);
}

const ed_op ed__op_gather_rows = {"gather_rows", gather_shape, gather_forward, gather_backward, NULL, false};

ed_tensor *ed_gather_rows(ed_graph *g, ed_tensor *table, const ed_tensor *ids) {
    ed_tensor *in[] = {table, (ed_tensor *)ids};
    return ed__op_run(g, &ed__op_gather_rows, NULL, 0, in, 2, 0, NULL);
}

/* ------------------------------------------------------------------ scatter_add_rows: in = x, ids, weights */

typedef struct count_attrs {
    int64_t n;
    ed_segment_kind kind;
} count_attrs;

static bool rows_out(ed_call *c, const ed_tensor *x, int64_t n) {
    int64_t shape[ED_MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = n;
    return ed__op_out(c, x->dtype, x->rank, shape) != NULL;
}

static bool scatter_add_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *w = c->in[2];
    int64_t n = ((const count_attrs *)c->attrs)->n;
    if (!ed__check_float(c, x) || !rows_and_ids(c, x, c->in[1], 0, n))
        return false;
    if (w && (w->dtype != x->dtype || w->rank != 1 || w->shape[0] != x->shape[0]))
        return ed__op_fail(c, ED_E_SHAPE, "weights must be %s, one per row of the operand", ed_dtype_name(x->dtype));
    return n >= 0 ? rows_out(c, x, n) : ed__op_fail(c, ED_E_INVALID, "the number of rows is negative");
}

static void scatter_add_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]), *ids = ed__dense(c->g, c->in[1]), *w = c->in[2] ? ed__dense(c->g, c->in[2]) : NULL;
    zero_all(c->out[0]);
    if (!x || !ids || (c->in[2] && !w))
        return;
    rows_work k = {.ids = ids->data, .src = x->data, .w = w ? w->data : NULL, .dst = c->out[0]->data, .n = x->shape[0], .row = row_size(x)};
    over_columns(&k, x->dtype == ED_DTYPE_F64 ? add_rows_f64 : add_rows_f32);
}

static void scatter_add_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *ids = ed__dense(c->g, c->in[1]), *w = c->in[2] ? ed__dense(c->g, c->in[2]) : NULL;
    const ed_tensor *x = c->in[2] ? ed__dense(c->g, c->in[0]) : c->in[0];
    if (!dy || !ids || !x || (c->in[2] && !w))
        return;
    rows_work k = {.ids = ids->data, .src = dy->data, .w = w ? w->data : NULL, .n = x->shape[0], .row = row_size(x)};
    bool f64 = x->dtype == ED_DTYPE_F64;
    ed_tensor *dx = ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &k.fresh) : NULL;
    if (dx) {
        k.dst = dx->data;
        ed__parallel_for(k.n, ed__grain(k.row), f64 ? pick_rows_f64 : pick_rows_f32, &k);
    }
    ed_tensor *dw = w && ed__bw_wants(c, 2) ? ed__bw_grad_in(c, 2, &k.fresh) : NULL;
    if (dw) {
        k.dst = dw->data;
        k.w = x->data;
        ed__parallel_for(k.n, ed__grain(k.row), f64 ? weight_grad_f64 : weight_grad_f32, &k);
    }
}

const ed_op ed__op_scatter_add_rows = {"scatter_add_rows", scatter_add_shape, scatter_add_forward, scatter_add_backward, NULL, false};

ed_tensor *ed_scatter_add_rows(ed_graph *g, ed_tensor *x, const ed_tensor *ids, ed_tensor *weights, int64_t n_rows) {
    count_attrs attrs = {.n = n_rows};
    ed_tensor *in[] = {x, (ed_tensor *)ids, weights};
    return ed__op_run(g, &ed__op_scatter_add_rows, &attrs, sizeof attrs, in, 3, 1u << 2, NULL);
}

/* ------------------------------------------------------------------ scatter_rows: in = base, x, ids; aux = flags of replaced rows */

static bool scatter_shape(ed_call *c) {
    const ed_tensor *base = c->in[0], *x = c->in[1], *ids = c->in[2];
    if (!ed__check_float(c, base) || !ed__check_dtype(c, x, base->dtype, "rows"))
        return false;
    if (base->rank < 1 || !same_rows(base, x))
        return ed__op_fail(c, ED_E_SHAPE, "the new rows do not have the shape of the rows they replace");
    if (!rows_and_ids(c, x, ids, 0, base->shape[0]) || !ed__op_out(c, base->dtype, base->rank, base->shape))
        return false;
    ed_tensor *flags = ed__op_aux(c, ED_DTYPE_U8, 1, base->shape);
    if (!flags)
        return false;
    zero_all(flags);
    for (int64_t i = 0; i < ids->shape[0]; i++) {
        int32_t id = ed__i32_at(ids, i);
        uint8_t *flag = (uint8_t *)flags->data + id;
        if (*flag)
            return ed__op_fail(c, ED_E_INVALID, "id %d stands twice (at position %lld)", (int)id, (long long)i);
        *flag = 1;
    }
    return true;
}

static void scatter_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[1]);
    size_t row_bytes = (size_t)row_size(c->in[0]) * ed_dtype_bytes(c->in[0]->dtype);
    ed__copy_strided(c->in[0], c->out[0]);
    for (int64_t i = 0; x && i < x->shape[0]; i++)
        memcpy((char *)c->out[0]->data + (size_t)ed__i32_at(c->in[2], i) * row_bytes, (const char *)x->data + (size_t)i * row_bytes, row_bytes);
}

static void scatter_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *ids = ed__dense(c->g, c->in[2]);
    if (!dy || !ids)
        return;
    rows_work k = {.ids = ids->data, .src = dy->data, .skip = c->aux[0]->data, .row = row_size(c->in[0])};
    bool f64 = c->in[0]->dtype == ED_DTYPE_F64;
    ed_tensor *dbase = ed__bw_wants(c, 0) ? ed__bw_grad_in(c, 0, &k.fresh) : NULL;
    if (dbase) {
        k.dst = dbase->data;
        ed__parallel_for(c->in[0]->shape[0], ed__grain(k.row), f64 ? keep_rows_f64 : keep_rows_f32, &k);
    }
    ed_tensor *dx = ed__bw_wants(c, 1) ? ed__bw_grad_in(c, 1, &k.fresh) : NULL;
    if (dx) {
        k.dst = dx->data;
        ed__parallel_for(c->in[1]->shape[0], ed__grain(k.row), f64 ? pick_rows_f64 : pick_rows_f32, &k);
    }
}

const ed_op ed__op_scatter_rows = {"scatter_rows", scatter_shape, scatter_forward, scatter_backward, NULL, false};

ed_tensor *ed_scatter_rows(ed_graph *g, ed_tensor *base, ed_tensor *x, const ed_tensor *ids) {
    ed_tensor *in[] = {base, x, (ed_tensor *)ids};
    return ed__op_run(g, &ed__op_scatter_rows, NULL, 0, in, 3, 0, NULL);
}

/* ------------------------------------------------------------------ segment_reduce: in = x, ids; aux = counts (mean) or best positions (max) */

static bool segment_shape(ed_call *c) {
    const ed_tensor *x = c->in[0];
    const count_attrs *a = c->attrs;
    if (!ed__check_float(c, x) || !rows_and_ids(c, x, c->in[1], -1, a->n))
        return false;
    if (a->n < 0 || a->kind < ED_SEGMENT_SUM || a->kind > ED_SEGMENT_MAX || x->shape[0] > INT32_MAX)
        return ed__op_fail(c, ED_E_INVALID, "bad number of segments, of rows, or bad kind");
    if (!rows_out(c, x, a->n))
        return false;
    if (a->kind == ED_SEGMENT_SUM)
        return true;
    return ed__op_aux(c, ED_DTYPE_I32, a->kind == ED_SEGMENT_MAX ? x->rank : 1, c->out[0]->shape) != NULL;
}

/* rows_work.w for MEAN: 1 / size of the segment of each row, in the operand's type. */
static void *mean_weights(const ed_call *c, const int32_t *ids, int64_t m) {
    const int32_t *count = c->aux[0]->data;
    bool f64 = c->in[0]->dtype == ED_DTYPE_F64;
    void *w = ed__scratch(c->g, (size_t)m * ed_dtype_bytes(c->in[0]->dtype));
    for (int64_t i = 0; w && i < m; i++) {
        double v = ids[i] < 0 ? 0 : 1.0 / count[ids[i]];
        if (f64)
            ((double *)w)[i] = v;
        else
            ((float *)w)[i] = (float)v;
    }
    return w;
}

/* out[s] /= count[s], so that the mean of equal numbers is that number */
static void divide_by_counts(const ed_call *c, int64_t row) {
    const int32_t *count = c->aux[0]->data;
    for (int64_t s = 0; s < c->out[0]->shape[0]; s++)
        for (int64_t j = 0; j < row && count[s] > 1; j++)
            ED_FLOAT_DISPATCH(c->out[0]->dtype, ((float *)c->out[0]->data)[s * row + j] /= (float)count[s],
                              ((double *)c->out[0]->data)[s * row + j] /= (double)count[s]);
}

static void segment_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]), *ids = ed__dense(c->g, c->in[1]);
    ed_segment_kind kind = ((const count_attrs *)c->attrs)->kind;
    zero_all(c->out[0]);
    if (!x || !ids)
        return;
    bool f64 = x->dtype == ED_DTYPE_F64;
    rows_work k = {.ids = ids->data, .src = x->data, .dst = c->out[0]->data, .n = x->shape[0], .row = row_size(x)};
    if (kind == ED_SEGMENT_MAX) {
        k.best = c->aux[0]->data;
        memset(k.best, 0xFF, (size_t)ed_numel(c->aux[0]) * sizeof *k.best); /* -1 */
        over_columns(&k, f64 ? segment_max_f64 : segment_max_f32);
        return;
    }
    over_columns(&k, f64 ? add_rows_f64 : add_rows_f32);
    if (kind == ED_SEGMENT_MEAN) {
        zero_all(c->aux[0]);
        for (int64_t i = 0; i < k.n; i++)
            if (k.ids[i] >= 0)
                ((int32_t *)c->aux[0]->data)[k.ids[i]]++;
        divide_by_counts(c, k.row);
    }
}

static void segment_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0), *ids = ed__dense(c->g, c->in[1]);
    ed_segment_kind kind = ((const count_attrs *)c->attrs)->kind;
    rows_work k = {.n = c->in[0]->shape[0], .row = row_size(c->in[0])};
    if (!dy || !ids || !ed__bw_wants(c, 0))
        return;
    ed_tensor *dx = ed__bw_grad_in(c, 0, &k.fresh);
    k.ids = ids->data;
    k.src = dy->data;
    k.w = kind == ED_SEGMENT_MEAN ? mean_weights(c, k.ids, k.n) : NULL;
    if (!dx || (kind == ED_SEGMENT_MEAN && !k.w))
        return;
    k.dst = dx->data;
    bool f64 = dx->dtype == ED_DTYPE_F64;
    if (kind == ED_SEGMENT_MAX) {
        k.best = c->aux[0]->data;
        ed__parallel_for(k.n, ed__grain(k.row), f64 ? segment_max_grad_f64 : segment_max_grad_f32, &k);
    } else {
        ed__parallel_for(k.n, ed__grain(k.row), f64 ? pick_rows_f64 : pick_rows_f32, &k);
    }
}

const ed_op ed__op_segment_reduce = {"segment_reduce", segment_shape, segment_forward, segment_backward, NULL, false};

ed_tensor *ed_segment_reduce(ed_graph *g, ed_tensor *x, const ed_tensor *ids, int64_t n, ed_segment_kind kind) {
    count_attrs attrs = {.n = n, .kind = kind};
    ed_tensor *in[] = {x, (ed_tensor *)ids};
    return ed__op_run(g, &ed__op_segment_reduce, &attrs, sizeof attrs, in, 2, 0, NULL);
}

/* ------------------------------------------------------------------ take: in = x, ids */

static bool take_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *ids = c->in[1];
    bool fits = x->rank >= 1 && x->rank == ids->rank;
    for (int a = 0; fits && a + 1 < x->rank; a++)
        fits = x->shape[a] == ids->shape[a];
    if (!fits)
        return ed__op_fail(c, ED_E_SHAPE, "operand and ids must agree in all axes but the last");
    if (x->dtype != ED_DTYPE_I32 && !ed__check_float(c, x))
        return false;
    return ed__check_ids(c, ids, 0, ed__row_len(x)) && ed__op_out(c, x->dtype, ids->rank, ids->shape) != NULL;
}

static void take_rows(void *ctx, int64_t begin, int64_t end) {
    const pick_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        const char *x = (const char *)k->x->data + ed__row_offset(k->x, r) * k->bytes;
        for (int64_t i = 0; i < k->k; i++)
            memcpy((char *)k->y + (r * k->k + i) * k->bytes, x + k->ids[r * k->k + i] * k->bytes, (size_t)k->bytes);
    }
}

static void take_forward(const ed_call *c) {
    const ed_tensor *x = ed__row_form(c->g, c->in[0]), *ids = ed__dense(c->g, c->in[1]);
    if (!x || !ids)
        return;
    pick_work k = {.x = x, .y = c->out[0]->data, .ids = ids->data, .n = ed__row_len(x), .k = ed__row_len(ids), .bytes = (int64_t)ed_dtype_bytes(x->dtype)};
    ed__parallel_for(ed__row_count(x), ed__grain(4 * k.k), take_rows, &k);
}

/* Gradient of take and top k: the picked elements, in ascending order of picks. */
static void picked_backward(const ed_call *c, const ed_tensor *ids) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    if (!dy || !ids || !ed__bw_wants(c, 0))
        return;
    pick_work k = {.dy = dy->data, .ids = ids->data, .n = ed__row_len(c->in[0]), .k = ed__row_len(ids)};
    ed_tensor *dx = ed__bw_grad_in(c, 0, &k.fresh);
    if (!dx)
        return;
    k.dx = dx->data;
    ed__parallel_for(ed__row_count(c->in[0]), ed__grain(k.n), dx->dtype == ED_DTYPE_F64 ? add_picked_f64 : add_picked_f32, &k);
}

static void take_backward(const ed_call *c) {
    picked_backward(c, ed__dense(c->g, c->in[1]));
}

const ed_op ed__op_take = {"take", take_shape, take_forward, take_backward, NULL, false};

ed_tensor *ed_take(ed_graph *g, ed_tensor *x, const ed_tensor *ids) {
    ed_tensor *in[] = {x, (ed_tensor *)ids};
    return ed__op_run(g, &ed__op_take, NULL, 0, in, 2, 0, NULL);
}

/* ------------------------------------------------------------------ topk: in = x; out = values, ids */

static bool topk_shape(ed_call *c) {
    const ed_tensor *x = c->in[0];
    int64_t k = ((const count_attrs *)c->attrs)->n, shape[ED_MAX_RANK];
    if (!ed__check_float(c, x))
        return false;
    if (x->rank < 1 || ed__row_len(x) > INT32_MAX)
        return ed__op_fail(c, ED_E_SHAPE, "the operand needs a last axis of less than 2^31 numbers");
    if (k < 0 || k > ed__row_len(x))
        return ed__op_fail(c, ED_E_RANGE, "k = %lld is outside [0, %lld]", (long long)k, (long long)ed__row_len(x));
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = k;
    return ed__op_out(c, x->dtype, x->rank, shape) && ed__op_out(c, ED_DTYPE_I32, x->rank, shape);
}

static void topk_forward(const ed_call *c) {
    const ed_tensor *x = ed__row_form(c->g, c->in[0]);
    if (!x || ed_numel(c->out[0]) == 0)
        return;
    pick_work k = {.x = x, .y = c->out[0]->data, .ids = c->out[1]->data, .n = ed__row_len(x), .k = ed__row_len(c->out[0])};
    ed__parallel_for(ed__row_count(x), ed__grain(2 * k.n), x->dtype == ED_DTYPE_F64 ? topk_rows_f64 : topk_rows_f32, &k);
}

static void topk_backward(const ed_call *c) {
    picked_backward(c, c->out[1]);
}

const ed_op ed__op_topk = {"topk", topk_shape, topk_forward, topk_backward, NULL, false};

ed_tensor *ed_topk(ed_graph *g, ed_tensor *x, int64_t k, ed_tensor **ids) {
    count_attrs attrs = {.n = k};
    const ed_call *call = NULL;
    ed_tensor *values = ed__op_run(g, &ed__op_topk, &attrs, sizeof attrs, &x, 1, 0, &call);
    if (ids)
        *ids = call ? call->out[1] : NULL;
    return values;
}

/* ------------------------------------------------------------------ argsort_i32 */

static bool argsort_shape(ed_call *c) {
    const ed_tensor *x = c->in[0];
    if (!ed__check_dtype(c, x, ED_DTYPE_I32, "keys"))
        return false;
    if (x->rank != 1 || x->shape[0] > INT32_MAX)
        return ed__op_fail(c, ED_E_SHAPE, "keys must be a vector of less than 2^31 numbers");
    return ed__op_out(c, ED_DTYPE_I32, 1, x->shape) != NULL;
}

/* One stable counting pass over byte `shift / 8` of the keys; the sign bit is flipped so that negative keys come first. */
static void radix_pass(const int32_t *keys, const int32_t *from, int32_t *to, int64_t n, int shift) {
    int64_t start[257] = {0};
    for (int64_t i = 0; i < n; i++)
        start[((((uint32_t)keys[i] ^ 0x80000000u) >> shift) & 255u) + 1]++;
    for (int b = 0; b < 256; b++)
        start[b + 1] += start[b];
    for (int64_t i = 0; i < n; i++)
        to[start[(((uint32_t)keys[from[i]] ^ 0x80000000u) >> shift) & 255u]++] = from[i];
}

static void argsort_forward(const ed_call *c) {
    const ed_tensor *keys = ed__dense(c->g, c->in[0]);
    int64_t n = ed_numel(c->in[0]);
    int32_t *a = c->out[0]->data, *b = ed__scratch(c->g, (size_t)n * sizeof *b);
    if (!keys || !b)
        return;
    for (int64_t i = 0; i < n; i++)
        a[i] = (int32_t)i;
    for (int shift = 0; shift < 32; shift += 16) { /* passes in pairs, so that the result ends in a */
        radix_pass(keys->data, a, b, n, shift);
        radix_pass(keys->data, b, a, n, shift + 8);
    }
}

const ed_op ed__op_argsort_i32 = {"argsort_i32", argsort_shape, argsort_forward, NULL, NULL, false};

ed_tensor *ed_argsort_i32(ed_graph *g, const ed_tensor *ids) {
    ed_tensor *in[] = {(ed_tensor *)ids};
    return ed__op_run(g, &ed__op_argsort_i32, NULL, 0, in, 1, 0, NULL);
}
