/* tensor/op_matmul.c - matmul, linear, grouped_matmul: forward and backward.
 *
 * All three are products of strided matrices over batch axes, C[i] (+)= A[i] B[i]; backward is the same with transposed views, dA = dC B^T and
 * dB = A^T dC, where batch axes that were broadcast are summed in ascending order. F32 goes to ed__gemm_f32, F64 (the oracle) to plain loops. Many small
 * items are spread over threads, each on one thread; large ones run one after the other, each on all threads. */
#include "tensor/kernel.h"
#include "tensor/op.h"

static const double ITEM_MACS = 4e6;       /* items below this share the threads */
static const double PARALLEL_MACS = 524288; /* work worth a second thread */

/* ------------------------------------------------------------------ one product */

/** A matrix somewhere in memory; strides in elements. */
typedef struct mat {
    void *data;
    int64_t rows, cols, row, col;
} mat;

static mat transposed(mat a) {
    return (mat){a.data, a.cols, a.rows, a.col, a.row};
}
static mat shifted(mat a, int64_t elems, size_t elem_bytes) {
    a.data = (char *)a.data + elems * (int64_t)elem_bytes;
    return a;
}

typedef struct mode {
    ed_dtype dtype;
    bool strict, bf16;
} mode;

static mode mode_of(const ed_call *c, ed_dtype dtype) {
    const ed_graph_opts *o = ed_graph_get_opts(c->g);
    return (mode){dtype, o->strict, o->matmul_dtype == ED_DTYPE_BF16 && !o->strict};
}

typedef struct job_f64 {
    mat a, b, c;
    bool acc;
} job_f64;

/* Rows of C. Both loop orders give each element the same chain over ascending k. */
static void rows_f64(void *ctx, int64_t begin, int64_t end) {
    const job_f64 *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        const double *a = (const double *)j->a.data + i * j->a.row, *b = j->b.data;
        double *c = (double *)j->c.data + i * j->c.row;
        for (int64_t x = 0; !j->acc && x < j->c.cols; x++)
            c[x] = 0;
        if (j->b.col == 1) {
            for (int64_t k = 0; k < j->a.cols; k++)
                for (int64_t x = 0; x < j->c.cols; x++)
                    c[x] += a[k * j->a.col] * b[k * j->b.row + x];
        } else {
            for (int64_t x = 0; x < j->c.cols; x++)
                for (int64_t k = 0; k < j->a.cols; k++)
                    c[x] += a[k * j->a.col] * b[k * j->b.row + x * j->b.col];
        }
    }
}

/* C (+)= A B; C has unit column stride. */
static void product(mode md, mat a, mat b, mat c, bool acc) {
    if (md.dtype == ED_DTYPE_F64) {
        double row_macs = (double)b.rows * (double)b.cols + 1;
        ed__parallel_for(c.rows, (int64_t)(PARALLEL_MACS / row_macs) + 1, rows_f64, &(job_f64){a, b, c, acc});
    } else {
        ed__gemm_f32(&(ed__gemm_args){c.rows, c.cols, a.cols, a.data, a.row, a.col, b.data, b.row, b.col, c.data, c.row, acc, md.strict, md.bf16, NULL});
    }
}

/* ------------------------------------------------------------------ batches */

/** Products over batch axes. Axes with c stride 0 and size > 1 are summed; `keep` axes come first, then the summed ones. */
typedef struct batch {
    mode md;
    mat a, b, c; /* of item 0 */
    int n_axes, n_keep;
    int64_t size[ED_MAX_RANK], sa[ED_MAX_RANK], sb[ED_MAX_RANK], sc[ED_MAX_RANK];
    bool acc;
} batch;

/* Adds the element offsets of flat index i over axes [from, to). */
static void offsets(const batch *b, int from, int to, int64_t i, int64_t off[3]) {
    for (int x = to - 1; x >= from; x--) {
        int64_t at = i % b->size[x];
        i /= b->size[x];
        off[0] += at * b->sa[x];
        off[1] += at * b->sb[x];
        off[2] += at * b->sc[x];
    }
}

static int64_t items(const batch *b, int from, int to) {
    int64_t n = 1;
    for (int x = from; x < to; x++)
        n *= b->size[x];
    return n;
}

static void run_items(void *ctx, int64_t begin, int64_t end) {
    const batch *b = ctx;
    size_t es = ed_dtype_bytes(b->md.dtype);
    int64_t summed = items(b, b->n_keep, b->n_axes);
    for (int64_t i = begin; i < end; i++)
        for (int64_t s = 0; s < summed; s++) {
            int64_t off[3] = {0};
            offsets(b, 0, b->n_keep, i, off);
            offsets(b, b->n_keep, b->n_axes, s, off);
            product(b->md, shifted(b->a, off[0], es), shifted(b->b, off[1], es), shifted(b->c, off[2], es), b->acc || s > 0);
        }
}

static void batch_run(batch *b) {
    int64_t n = items(b, 0, b->n_keep);
    double macs = (double)b->c.rows * (double)b->c.cols * (double)b->a.cols * (double)items(b, b->n_keep, b->n_axes);
    if (n > 1 && macs < ITEM_MACS) {
        b->md.strict = true; /* own kernels: the same bits whether or not the loop runs in parallel */
        ed__parallel_for(n, (int64_t)(PARALLEL_MACS / (macs + 1)) + 1, run_items, b);
    } else {
        run_items(b, 0, n);
    }
}

/* Batch axes of the whole product in order, with the strides of each operand (0 where it is broadcast). */
static int64_t batch_stride(const ed_tensor *t, int rank, int axis) {
    int i = axis - (rank - t->rank);
    return i < 0 || t->shape[i] == 1 ? 0 : t->stride[i];
}

/** Which of the operands of C = A B plays the result in this product. */
static batch batch_make(mode md, mat a, mat b, mat c, const ed_tensor *ta, const ed_tensor *tb, const ed_tensor *tc, int rank, const int64_t *shape) {
    batch r = {.md = md, .a = a, .b = b, .c = c};
    for (int pass = 0; pass < 2; pass++) {
        for (int x = 0; x < rank - 2; x++) {
            int64_t sc = batch_stride(tc, rank, x);
            bool summed = sc == 0 && shape[x] > 1;
            if (summed != (pass == 1))
                continue;
            r.size[r.n_axes] = shape[x];
            r.sa[r.n_axes] = batch_stride(ta, rank, x);
            r.sb[r.n_axes] = batch_stride(tb, rank, x);
            r.sc[r.n_axes++] = sc;
        }
        if (pass == 0)
            r.n_keep = r.n_axes;
    }
    return r;
}

/* ------------------------------------------------------------------ matmul */

static mat last_two(const ed_tensor *t) {
    int r = t->rank;
    return (mat){t->data, t->shape[r - 2], t->shape[r - 1], t->stride[r - 2], t->stride[r - 1]};
}

/* True when all leading axes and the row axis of t advance like one axis; *out is then [rows.., cols] as one matrix. */
static bool foldable(const ed_tensor *t, mat *out) {
    int64_t rows = 1, stride = 0;
    for (int i = t->rank - 2; i >= 0; i--) {
        if (t->shape[i] == 1)
            continue;
        if (rows == 1)
            stride = t->stride[i];
        else if (t->stride[i] != stride * rows)
            return false;
        rows *= t->shape[i];
    }
    int64_t cols = t->shape[t->rank - 1];
    *out = (mat){t->data, rows, cols, rows == 1 ? cols : stride, t->stride[t->rank - 1]};
    return true;
}

static bool single_matrix(const ed_tensor *t) {
    return ed__prod(t, 0, t->rank - 2) == 1;
}

static bool matmul_shape(ed_call *c) {
    const ed_tensor *a = c->in[0], *b = c->in[1];
    char ta[128], tb[128];
    if (a->dtype != b->dtype || (a->dtype != ED_DTYPE_F32 && a->dtype != ED_DTYPE_F64))
        return ed__op_fail(c, ED_E_DTYPE, "operands must both be f32 or both f64, they are %s and %s", ed_shape_text(a, ta, sizeof ta),
                           ed_shape_text(b, tb, sizeof tb));
    ed_tensor la = *a, lb = *b;
    int64_t shape[ED_MAX_RANK];
    int rank = 0;
    la.rank -= 2;
    lb.rank -= 2;
    if (la.rank < 0 || lb.rank < 0 || a->shape[a->rank - 1] != b->shape[b->rank - 2] || !ed__broadcast_shape(&la, &lb, &rank, shape))
        return ed__op_fail(c, ED_E_SHAPE, "%s times %s", ed_shape_text(a, ta, sizeof ta), ed_shape_text(b, tb, sizeof tb));
    shape[rank] = a->shape[a->rank - 2];
    shape[rank + 1] = b->shape[b->rank - 1];
    return ed__op_out(c, a->dtype, rank + 2, shape) != NULL;
}

static void matmul_forward(const ed_call *c) {
    const ed_tensor *a = c->in[0], *b = c->in[1], *y = c->out[0];
    mode md = mode_of(c, y->dtype);
    mat ma, my;
    if (single_matrix(b) && ed__prod(a, 0, a->rank - 2) > 1 && foldable(a, &ma) && foldable(y, &my)) {
        product(md, ma, last_two(b), my, false);
        return;
    }
    batch r = batch_make(md, last_two(a), last_two(b), last_two(y), a, b, y, y->rank, y->shape);
    batch_run(&r);
}

static void matmul_grad_a(const ed_call *c, const ed_tensor *dy) {
    const ed_tensor *b = c->in[1];
    bool fresh = false;
    const ed_tensor *da = ed__bw_grad_in(c, 0, &fresh);
    if (!da)
        return;
    mode md = mode_of(c, dy->dtype);
    mat mda, mdy;
    if (single_matrix(b) && ed_numel(da) > 0 && ed__prod(da, 0, da->rank - 2) > 1 && foldable(da, &mda) && foldable(dy, &mdy)) {
        product(md, mdy, transposed(last_two(b)), mda, !fresh);
        return;
    }
    batch r = batch_make(md, last_two(dy), transposed(last_two(b)), last_two(da), dy, b, da, dy->rank, dy->shape);
    r.acc = !fresh;
    batch_run(&r);
}

static void matmul_grad_b(const ed_call *c, const ed_tensor *dy) {
    const ed_tensor *a = c->in[0];
    bool fresh = false;
    const ed_tensor *db = ed__bw_grad_in(c, 1, &fresh);
    if (!db)
        return;
    mode md = mode_of(c, dy->dtype);
    mat ma, mdy;
    if (single_matrix(db) && ed__prod(a, 0, a->rank - 2) > 1 && foldable(a, &ma) && foldable(dy, &mdy)) {
        product(md, transposed(ma), mdy, last_two(db), !fresh);
        return;
    }
    batch r = batch_make(md, transposed(last_two(a)), last_two(dy), last_two(db), a, dy, db, dy->rank, dy->shape);
    r.acc = !fresh;
    batch_run(&r);
}

/* A fresh gradient of which no product writes anything (a batch axis of size 0) still has to be zeros. */
static bool nothing_summed(const ed_call *c, const ed_tensor *dy) {
    if (ed__prod(dy, 0, dy->rank - 2) > 0)
        return false;
    for (int i = 0; i < 2; i++) {
        bool fresh = false;
        const ed_tensor *d = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, &fresh) : NULL;
        if (d && fresh)
            memset(d->data, 0, (size_t)ed_numel(d) * ed_dtype_bytes(d->dtype));
    }
    return true;
}

static void matmul_backward(const ed_call *c) {
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    if (!dy || nothing_summed(c, dy))
        return;
    if (ed__bw_wants(c, 0))
        matmul_grad_a(c, dy);
    if (ed__bw_wants(c, 1))
        matmul_grad_b(c, dy);
}

static double matmul_flops(const ed_call *c) {
    return 2.0 * (double)ed_numel(c->out[0]) * (double)c->in[0]->shape[c->in[0]->rank - 1];
}

const ed_op ed__op_matmul = {"matmul", matmul_shape, matmul_forward, matmul_backward, matmul_flops, false};

ed_tensor *ed_matmul(ed_graph *g, ed_tensor *a, ed_tensor *b) {
    return ed__op_run(g, &ed__op_matmul, NULL, 0, (ed_tensor *[]){a, b}, 2, 0, NULL);
}

/* ------------------------------------------------------------------ linear and grouped_matmul: shared parts */

/* Weight formats that may meet x: x's own, or a 16-bit storage format that takes no gradient. */
static bool weight_dtype_ok(ed_call *c, const ed_tensor *x, const ed_tensor *w, const ed_tensor *bias) {
    bool storage = w->dtype == ED_DTYPE_BF16 || w->dtype == ED_DTYPE_F16;
    if ((x->dtype != ED_DTYPE_F32 && x->dtype != ED_DTYPE_F64) || (w->dtype != x->dtype && !storage))
        return ed__op_fail(c, ED_E_DTYPE, "x is %s and w is %s", ed_dtype_name(x->dtype), ed_dtype_name(w->dtype));
    if (bias && bias->dtype != x->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "x is %s and the bias is %s", ed_dtype_name(x->dtype), ed_dtype_name(bias->dtype));
    if (storage && ed_needs_grad(w) && ed__op_recording(c))
        return ed__op_fail(c, ED_E_DTYPE, "a weight stored as %s cannot be trained", ed_dtype_name(w->dtype));
    return true;
}

/* The weight in x's format: itself, or widened in scratch. NULL when memory is gone. */
static const ed_tensor *widened(const ed_call *c, const ed_tensor *w, ed_dtype dtype) {
    if (w->dtype == dtype)
        return w;
    ed_tensor *t = ed__scratch(c->g, sizeof *t);
    void *data = ed__scratch(c->g, (size_t)ed_numel(w) * ed_dtype_bytes(dtype));
    if (!t || !data)
        return NULL;
    *t = ed__view_of(data, dtype, w->rank, w->shape);
    ed__copy_strided(w, t);
    return t;
}

/* x as one matrix [rows, in]; dense when its leading axes do not fold. data NULL when memory is gone. */
static mat rows_of(const ed_call *c, const ed_tensor *x) {
    mat m;
    if (foldable(x, &m))
        return m;
    const ed_tensor *d = ed__dense(c->g, x);
    return d && foldable(d, &m) ? m : (mat){0};
}

/* The parameter's pack when this call may use it: decoding in f32 with a whole, frozen weight. */
static const ed__packed *pack_of(const ed_call *c, const ed_tensor *x, const ed_tensor *w) {
    ed_param *p = ed__param_of(w);
    if (!p || x->dtype != ED_DTYPE_F32 || !ed_graph_get_opts(c->g)->strict || ed_needs_grad(w) || w->data != p->data || ed_numel(w) != p->numel ||
        !ed_is_contiguous(w) || p->numel == 0)
        return NULL;
    int64_t in = w->shape[w->rank - 1];
    return ed__packed_of(p, p->numel / in, in);
}

/* Every row of y = the bias. */
static void fill_bias(const ed_tensor *bias, int64_t offset, mat y, size_t elem_bytes) {
    const char *b = (const char *)bias->data + offset * (int64_t)elem_bytes;
    int64_t step = bias->stride[bias->rank - 1] * (int64_t)elem_bytes;
    for (int64_t i = 0; i < y.rows; i++) {
        char *row = (char *)y.data + i * y.row * (int64_t)elem_bytes;
        if (step == (int64_t)elem_bytes)
            memcpy(row, b, (size_t)y.cols * elem_bytes);
        else
            for (int64_t j = 0; j < y.cols; j++)
                memcpy(row + j * (int64_t)elem_bytes, b + j * step, elem_bytes);
    }
}

typedef struct colsum {
    mat dy;
    void *out;
    ed_dtype dtype;
    bool acc;
} colsum;

/* sum[x] += the rows of column j + x */
static void add_rows(const colsum *s, int64_t j, int64_t n, double *sum) {
    if (s->dtype != ED_DTYPE_F64) {
        ed__kernels()->add_columns(s->dy.rows, n, (const float *)s->dy.data + j, s->dy.row, sum);
        return;
    }
    for (int64_t i = 0; i < s->dy.rows; i++)
        for (int64_t x = 0; x < n; x++)
            sum[x] += ((const double *)s->dy.data)[i * s->dy.row + j + x];
}

/* out[j] (+)= sum over rows, ascending, in doubles. */
static void colsum_range(void *ctx, int64_t begin, int64_t end) {
    enum { BLOCK = 128 };
    const colsum *s = ctx;
    for (int64_t j = begin; j < end; j += BLOCK) {
        int64_t n = end - j < BLOCK ? end - j : BLOCK;
        double sum[BLOCK] = {0};
        add_rows(s, j, n, sum);
        for (int64_t x = 0; x < n; x++) {
            if (s->dtype == ED_DTYPE_F64)
                ((double *)s->out)[j + x] = sum[x] + (s->acc ? ((double *)s->out)[j + x] : 0);
            else
                ((float *)s->out)[j + x] = (float)(sum[x] + (s->acc ? (double)((float *)s->out)[j + x] : 0));
        }
    }
}

static void column_sums(mat dy, void *out, ed_dtype dtype, bool acc) {
    double rows = (double)dy.rows + 1;
    ed__parallel_for(dy.cols, (int64_t)(PARALLEL_MACS / rows) + 1, colsum_range, &(colsum){dy, out, dtype, acc});
}

/* ------------------------------------------------------------------ linear: x [.., in], w [out, in], bias [out] -> [.., out] */

static bool linear_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    char tx[128], tw[128], tb[128];
    if (!weight_dtype_ok(c, x, w, b))
        return false;
    if (x->rank < 1 || w->rank != 2 || x->shape[x->rank - 1] != w->shape[1] || (b && (b->rank != 1 || b->shape[0] != w->shape[0])))
        return ed__op_fail(c, ED_E_SHAPE, "x %s, w %s, bias %s", ed_shape_text(x, tx, sizeof tx), ed_shape_text(w, tw, sizeof tw),
                           ed_shape_text(b, tb, sizeof tb));
    int64_t shape[ED_MAX_RANK];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->rank - 1] = w->shape[0];
    return ed__op_out(c, x->dtype, x->rank, shape) != NULL;
}

static void linear_forward(const ed_call *c) {
    const ed_tensor *x = c->in[0], *w = c->in[1], *bias = c->in[2];
    mat mx = rows_of(c, x), my;
    if (!mx.data || !foldable(c->out[0], &my))
        return;
    const ed__packed *p = mx.col == 1 ? pack_of(c, x, w) : NULL;
    const ed_tensor *wide = p ? w : widened(c, w, x->dtype);
    mode how = mode_of(c, x->dtype);
    if (!wide)
        return;
    if (!p && bias && bias->stride[0] == 1 && x->dtype == ED_DTYPE_F32) { /* the product lays the bias */
        mat b = transposed(last_two(wide));
        ed__gemm_f32(&(ed__gemm_args){my.rows, my.cols, mx.cols, mx.data, mx.row, mx.col, b.data, b.row, b.col, my.data, my.row, false, how.strict,
                                      how.bf16, bias->data});
        return;
    }
    if (bias)
        fill_bias(bias, 0, my, ed_dtype_bytes(x->dtype));
    if (p)
        ed__packed_linear(p, mx.rows, mx.data, mx.row, my.data, my.row, bias != NULL);
    else
        product(mode_of(c, x->dtype), mx, transposed(last_two(wide)), my, bias != NULL);
}

static void linear_backward(const ed_call *c) {
    const ed_tensor *x = c->in[0], *dy = ed__bw_grad_out(c, 0);
    mat mdy, md;
    bool fresh = false;
    if (!dy || !foldable(dy, &mdy))
        return;
    mode how = mode_of(c, x->dtype);
    if (ed__bw_wants(c, 0)) {
        const ed_tensor *dx = ed__bw_grad_in(c, 0, &fresh), *w = widened(c, c->in[1], x->dtype);
        if (dx && w && foldable(dx, &md))
            product(how, mdy, last_two(w), md, !fresh);
    }
    if (ed__bw_wants(c, 1)) {
        const ed_tensor *dw = ed__bw_grad_in(c, 1, &fresh);
        mat mx = rows_of(c, x);
        if (dw && mx.data)
            product(how, transposed(mdy), mx, last_two(dw), !fresh);
    }
    if (c->in[2] && ed__bw_wants(c, 2)) {
        const ed_tensor *db = ed__bw_grad_in(c, 2, &fresh);
        if (db)
            column_sums(mdy, db->data, db->dtype, !fresh);
    }
}

static double linear_flops(const ed_call *c) {
    return 2.0 * (double)ed_numel(c->out[0]) * (double)c->in[1]->shape[1];
}

const ed_op ed__op_linear = {"linear", linear_shape, linear_forward, linear_backward, linear_flops, false};

ed_tensor *ed_linear(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *bias) {
    return ed__op_run(g, &ed__op_linear, NULL, 0, (ed_tensor *[]){x, w, bias}, 3, 1u << 2, NULL);
}

/* ------------------------------------------------------------------ grouped_matmul: x [n, in] sorted by group, w [G, out, in], bias [G, out] */

enum { X, WEIGHT, BIAS, COUNTS };

static int64_t count_of(const ed_tensor *counts, int64_t i) {
    return ((const int32_t *)counts->data)[i * counts->stride[0]];
}

static bool grouped_shape(ed_call *c) {
    const ed_tensor *x = c->in[X], *w = c->in[WEIGHT], *b = c->in[BIAS], *n = c->in[COUNTS];
    char tx[128], tw[128], tb[128], tn[128];
    if (!weight_dtype_ok(c, x, w, b))
        return false;
    if (n->dtype != ED_DTYPE_I32)
        return ed__op_fail(c, ED_E_DTYPE, "counts are %s, not i32", ed_dtype_name(n->dtype));
    if (x->rank != 2 || w->rank != 3 || n->rank != 1 || x->shape[1] != w->shape[2] || n->shape[0] != w->shape[0] ||
        (b && (b->rank != 2 || b->shape[0] != w->shape[0] || b->shape[1] != w->shape[1])))
        return ed__op_fail(c, ED_E_SHAPE, "x %s, w %s, bias %s, counts %s", ed_shape_text(x, tx, sizeof tx), ed_shape_text(w, tw, sizeof tw),
                           ed_shape_text(b, tb, sizeof tb), ed_shape_text(n, tn, sizeof tn));
    int64_t sum = 0;
    for (int64_t i = 0; i < n->shape[0]; i++) {
        if (count_of(n, i) < 0)
            return ed__op_fail(c, ED_E_RANGE, "count %lld is negative", (long long)i);
        sum += count_of(n, i);
    }
    if (sum != x->shape[0])
        return ed__op_fail(c, ED_E_RANGE, "counts sum to %lld, x has %lld rows", (long long)sum, (long long)x->shape[0]);
    return ed__op_out(c, x->dtype, 2, (int64_t[]){x->shape[0], w->shape[1]}) != NULL;
}

/* Matrix i of w [G, rows, cols]. */
static mat matrix_at(const ed_tensor *w, int64_t i) {
    return shifted(last_two(w), i * w->stride[0], ed_dtype_bytes(w->dtype));
}
static mat row_part(mat a, int64_t begin, int64_t rows, size_t elem_bytes) {
    mat r = shifted(a, begin * a.row, elem_bytes);
    r.rows = rows;
    return r;
}

static void grouped_forward(const ed_call *c) {
    const ed_tensor *x = c->in[X], *w = c->in[WEIGHT], *bias = c->in[BIAS], *counts = c->in[COUNTS];
    size_t es = ed_dtype_bytes(x->dtype);
    mat mx = last_two(x), my = last_two(c->out[0]);
    int64_t out = w->shape[1], begin = 0;
    const ed__packed *p = mx.col == 1 && out % EDK_PANEL == 0 ? pack_of(c, x, w) : NULL;
    const ed_tensor *wide = p ? w : widened(c, w, x->dtype);
    for (int64_t i = 0; wide && i < counts->shape[0]; i++) {
        int64_t rows = count_of(counts, i);
        mat a = row_part(mx, begin, rows, es), y = row_part(my, begin, rows, es);
        begin += rows;
        if (bias)
            fill_bias(bias, i * bias->stride[0], y, es);
        if (p && rows > 0)
            ed__packed_linear_part(p, i * out, out, rows, a.data, a.row, y.data, y.row, bias != NULL);
        else
            product(mode_of(c, x->dtype), a, transposed(matrix_at(wide, i)), y, bias != NULL);
    }
}

static void grouped_backward(const ed_call *c) {
    const ed_tensor *x = c->in[X], *counts = c->in[COUNTS], *dy = ed__bw_grad_out(c, 0);
    if (!dy)
        return;
    mode how = mode_of(c, x->dtype);
    size_t es = ed_dtype_bytes(x->dtype);
    bool fresh_x = false, fresh_w = false, fresh_b = false;
    bool want_x = ed__bw_wants(c, X), want_w = ed__bw_wants(c, WEIGHT), want_b = c->in[BIAS] && ed__bw_wants(c, BIAS);
    const ed_tensor *w = want_x ? widened(c, c->in[WEIGHT], x->dtype) : NULL, *dx = want_x ? ed__bw_grad_in(c, X, &fresh_x) : NULL;
    int64_t begin = 0;
    for (int64_t i = 0; w && dx && i < counts->shape[0]; begin += count_of(counts, i++)) {
        int64_t rows = count_of(counts, i);
        product(how, row_part(last_two(dy), begin, rows, es), matrix_at(w, i), row_part(last_two(dx), begin, rows, es), !fresh_x);
    }
    const ed_tensor *dw = want_w ? ed__bw_grad_in(c, WEIGHT, &fresh_w) : NULL;
    begin = 0;
    for (int64_t i = 0; dw && i < counts->shape[0]; begin += count_of(counts, i++)) {
        int64_t rows = count_of(counts, i);
        product(how, transposed(row_part(last_two(dy), begin, rows, es)), row_part(last_two(x), begin, rows, es), matrix_at(dw, i), !fresh_w);
    }
    const ed_tensor *db = want_b ? ed__bw_grad_in(c, BIAS, &fresh_b) : NULL;
    begin = 0;
    for (int64_t i = 0; db && i < counts->shape[0]; begin += count_of(counts, i++))
        column_sums(row_part(last_two(dy), begin, count_of(counts, i), es), (char *)db->data + i * db->stride[0] * (int64_t)es, db->dtype, !fresh_b);
}

static double grouped_flops(const ed_call *c) {
    return 2.0 * (double)ed_numel(c->out[0]) * (double)c->in[X]->shape[1];
}

const ed_op ed__op_grouped_matmul = {"grouped_matmul", grouped_shape, grouped_forward, grouped_backward, grouped_flops, false};

ed_tensor *ed_grouped_matmul(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *bias, const ed_tensor *counts) {
    return ed__op_run(g, &ed__op_grouped_matmul, NULL, 0, (ed_tensor *[]){x, w, bias, (ed_tensor *)counts}, 4, 1u << BIAS, NULL);
}
