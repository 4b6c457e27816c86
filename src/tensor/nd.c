/* tensor/nd.c - strided element loops and sums in a fixed order (contracts in nd.h).
 *
 * Invariant: how work is cut for threads never changes a result. ed__nd_run computes elements that do not depend on each other;
 * ed__nd_reduce gives every output element to one thread, which adds its terms in row-major order. Long sums are two-level (blocks of rows,
 * tiles of a row), which keeps the error of n terms near sqrt(n) roundings instead of n. */
#include "tensor/nd.h"

#include "tensor/kernel.h"

enum { BLOCK_ROWS = 32 }; /* rows added up before they join the total */

void ed__nd_init(ed__nd *nd, int rank, const int64_t *shape, const ed_tensor *const *in, int n_in) {
    int r = 0;
    nd->n_in = n_in;
    nd->numel = 1;
    for (int d = 0; d < rank; d++) {
        int64_t n = shape[d], s[ED__ND_MAX] = {0};
        bool merge = r > 0;
        nd->numel *= n;
        if (n == 1)
            continue;
        for (int i = 0; i < n_in; i++) {
            int axis = d - (rank - in[i]->rank);
            s[i] = axis < 0 || in[i]->shape[axis] == 1 ? 0 : in[i]->stride[axis];
            merge = merge && nd->stride[i][r - 1] == n * s[i];
        }
        r -= merge;
        nd->shape[r] = merge ? nd->shape[r] * n : n;
        for (int i = 0; i < n_in; i++)
            nd->stride[i][r] = s[i];
        r++;
    }
    if (r == 0) {
        nd->shape[r] = 1;
        for (int i = 0; i < n_in; i++)
            nd->stride[i][r] = 0;
        r++;
    }
    nd->rank = r;
}

/* ---- elementwise */

typedef struct run_ctx {
    const ed__nd *nd;
    ed__nd_row_fn fn;
    void *ctx;
} run_ctx;

/* moves idx and off to the next row (all axes but the last) */
static void next_row(const ed__nd *nd, int64_t *idx, int64_t *off) {
    for (int d = nd->rank - 2; d >= 0; d--) {
        bool wrap = ++idx[d] == nd->shape[d];
        for (int i = 0; i < nd->n_in; i++)
            off[i] += nd->stride[i][d] - (wrap ? nd->stride[i][d] * nd->shape[d] : 0);
        if (!wrap)
            return;
        idx[d] = 0;
    }
}

static void run_range(void *p, int64_t begin, int64_t end) {
    const run_ctx *r = p;
    const ed__nd *nd = r->nd;
    int64_t n = nd->shape[nd->rank - 1], row = begin / n, col = begin % n;
    int64_t idx[ED_MAX_RANK] = {0}, off[ED__ND_MAX] = {0};
    for (int d = nd->rank - 2; d >= 0; d--) {
        idx[d] = row % nd->shape[d];
        row /= nd->shape[d];
        for (int i = 0; i < nd->n_in; i++)
            off[i] += idx[d] * nd->stride[i][d];
    }
    for (int64_t pos = begin; pos < end; col = 0) {
        int64_t at[ED__ND_MAX] = {0}, m = n - col < end - pos ? n - col : end - pos;
        for (int i = 0; i < nd->n_in; i++)
            at[i] = off[i] + col * ed__nd_inner(nd, i);
        r->fn(r->ctx, pos, at, m);
        pos += m;
        next_row(nd, idx, off);
    }
}

void ed__nd_run(const ed__nd *nd, ed__nd_row_fn fn, void *ctx) {
    run_ctx r = {nd, fn, ctx};
    if (nd->numel <= 0)
        return;
    if (nd->rank == 1 && nd->numel <= ED__ND_GRAIN) {
        const int64_t zero[ED__ND_MAX] = {0};
        fn(ctx, 0, zero, nd->numel);
    } else {
        ed__parallel_for(nd->numel, ED__ND_GRAIN, run_range, &r);
    }
}

/* ---- sums */

/* a subset of an nd's axes; slot ED__ND_MAX of stride is the flat output position */
typedef struct axes {
    int rank;
    int64_t count;
    int64_t shape[ED_MAX_RANK];
    int64_t stride[ED__ND_MAX + 1][ED_MAX_RANK];
} axes;

typedef struct cursor {
    int64_t idx[ED_MAX_RANK];
    int64_t off[ED__ND_MAX + 1];
} cursor;

static void axes_push(axes *a, const ed__nd *nd, int d, int64_t pos_stride) {
    int r = a->rank++;
    a->shape[r] = nd->shape[d];
    a->count *= nd->shape[d];
    for (int i = 0; i < nd->n_in; i++)
        a->stride[i][r] = nd->stride[i][d];
    a->stride[ED__ND_MAX][r] = pos_stride;
}

static void cursor_seek(cursor *c, const axes *a, const int64_t *base, int64_t index) {
    for (int i = 0; i <= ED__ND_MAX; i++)
        c->off[i] = base ? base[i] : 0;
    for (int d = a->rank - 1; d >= 0; d--) {
        c->idx[d] = index % a->shape[d];
        index /= a->shape[d];
        for (int i = 0; i <= ED__ND_MAX; i++)
            c->off[i] += c->idx[d] * a->stride[i][d];
    }
}

static void cursor_next(cursor *c, const axes *a) {
    for (int d = a->rank - 1; d >= 0; d--) {
        bool wrap = ++c->idx[d] == a->shape[d];
        for (int i = 0; i <= ED__ND_MAX; i++)
            c->off[i] += a->stride[i][d] - (wrap ? a->stride[i][d] * a->shape[d] : 0);
        if (!wrap)
            return;
        c->idx[d] = 0;
    }
}

typedef struct sum_ctx {
    const ed__nd *nd;
    axes kept, summed; /* without the inner axis */
    int64_t inner;     /* size of the inner axis */
    int64_t chunks;    /* tiles of the inner axis */
    bool f64, fresh;
    char *y;
    ed__nd_term_fn fn;
    void *ctx;
} sum_ctx;

static void vec_add(bool f64, const void *x, void *y, int64_t n) {
    if (!f64) {
        ed__kernels()->add(x, y, n);
        return;
    }
    const double *a = x;
    double *b = y;
    for (int64_t i = 0; i < n; i++)
        b[i] += a[i];
}

static double vec_sum(bool f64, const void *x, int64_t n) {
    if (!f64)
        return ed__kernels()->sum(x, n);
    const double *a = x;
    double s[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            s[j] += a[i + j];
    for (; i < n; i++)
        s[i & 3] += a[i];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

static const void *call_term(const sum_ctx *s, const cursor *c, int64_t col, int64_t n, void *tmp) {
    int64_t at[ED__ND_MAX] = {0};
    for (int i = 0; i < s->nd->n_in; i++)
        at[i] = c->off[i] + col * ed__nd_inner(s->nd, i);
    return s->fn(s->ctx, c->off[ED__ND_MAX] + col, at, n, tmp);
}

/* y as wide as the output: nothing to sum */
static void copy_range(void *p, int64_t pos, const int64_t *off, int64_t n) {
    const sum_ctx *s = p;
    size_t size = s->f64 ? sizeof(double) : sizeof(float);
    double tmp[ED__ND_TILE];
    int64_t at[ED__ND_MAX] = {0};
    for (int64_t done = 0; done < n; done += ED__ND_TILE) {
        int64_t m = n - done < ED__ND_TILE ? n - done : ED__ND_TILE;
        char *y = s->y + (size_t)(pos + done) * size;
        for (int i = 0; i < s->nd->n_in; i++)
            at[i] = off[i] + done * ed__nd_inner(s->nd, i);
        const void *t = s->fn(s->ctx, pos + done, at, m, s->fresh ? (void *)y : (void *)tmp);
        if (!s->fresh)
            vec_add(s->f64, t, y, m);
        else if (t != y)
            memcpy(y, t, (size_t)m * size);
    }
}

/* the inner axis is kept: rows of terms add up to a row of y. Items: kept index x tile */
static void sum_rows(void *p, int64_t begin, int64_t end) {
    const sum_ctx *s = p;
    size_t size = s->f64 ? sizeof(double) : sizeof(float);
    double tmp[ED__ND_TILE], block[ED__ND_TILE], total[ED__ND_TILE];
    for (int64_t item = begin; item < end; item++) {
        int64_t k = item / s->chunks, col = item % s->chunks * ED__ND_TILE;
        int64_t n = s->inner - col < ED__ND_TILE ? s->inner - col : ED__ND_TILE;
        size_t bytes = (size_t)n * size;
        char *y = s->y + (size_t)(k * s->inner + col) * size;
        cursor kept, c;
        cursor_seek(&kept, &s->kept, NULL, k);
        cursor_seek(&c, &s->summed, kept.off, 0);
        memset(total, 0, bytes);
        for (int64_t r = 0; r < s->summed.count; r += BLOCK_ROWS) {
            int64_t rows = s->summed.count - r < BLOCK_ROWS ? s->summed.count - r : BLOCK_ROWS;
            for (int64_t i = 0; i < rows; i++, cursor_next(&c, &s->summed)) {
                const void *t = call_term(s, &c, col, n, tmp);
                if (i == 0)
                    memcpy(block, t, bytes);
                else
                    vec_add(s->f64, t, block, n);
            }
            vec_add(s->f64, block, total, n);
        }
        if (s->fresh)
            memcpy(y, total, bytes);
        else
            vec_add(s->f64, total, y, n);
    }
}

/* the inner axis is summed: every term row folds to one number. Items: kept index */
static void sum_points(void *p, int64_t begin, int64_t end) {
    const sum_ctx *s = p;
    double tmp[ED__ND_TILE];
    cursor kept, c;
    cursor_seek(&kept, &s->kept, NULL, begin);
    for (int64_t k = begin; k < end; k++, cursor_next(&kept, &s->kept)) {
        double total = 0;
        cursor_seek(&c, &s->summed, kept.off, 0);
        for (int64_t r = 0; r < s->summed.count; r++, cursor_next(&c, &s->summed)) {
            for (int64_t col = 0; col < s->inner; col += ED__ND_TILE) {
                int64_t n = s->inner - col < ED__ND_TILE ? s->inner - col : ED__ND_TILE;
                total += vec_sum(s->f64, call_term(s, &c, col, n, tmp), n);
            }
        }
        if (s->f64)
            ((double *)(void *)s->y)[k] = total + (s->fresh ? 0 : ((double *)(void *)s->y)[k]);
        else
            ((float *)(void *)s->y)[k] = (float)(total + (s->fresh ? 0 : ((float *)(void *)s->y)[k]));
    }
}

void ed__nd_reduce(const ed__nd *nd, int target, ed_tensor *y, bool fresh, ed__nd_term_fn fn, void *ctx) {
    int last = nd->rank - 1;
    sum_ctx s = {.nd = nd, .inner = nd->shape[last], .f64 = y->dtype == ED_DTYPE_F64, .fresh = fresh, .y = y->data, .fn = fn, .ctx = ctx};
    int64_t y_numel = ed_numel(y), pos_stride = nd->shape[last];
    if (nd->numel == 0) {
        if (fresh)
            memset(y->data, 0, (size_t)y_numel * ed_dtype_bytes(y->dtype));
        return;
    }
    if (y_numel == nd->numel) {
        ed__nd_run(nd, copy_range, &s);
        return;
    }
    int64_t pos_strides[ED_MAX_RANK] = {0};
    for (int d = last - 1; d >= 0; pos_stride *= nd->shape[d], d--)
        pos_strides[d] = pos_stride;
    s.kept.count = s.summed.count = 1;
    for (int d = 0; d < last; d++)
        axes_push(nd->stride[target][d] != 0 ? &s.kept : &s.summed, nd, d, pos_strides[d]);
    s.chunks = (s.inner + ED__ND_TILE - 1) / ED__ND_TILE;
    bool rows = nd->stride[target][last] != 0;
    int64_t cost = s.summed.count * (rows && s.inner > ED__ND_TILE ? ED__ND_TILE : s.inner);
    int64_t grain = cost >= ED__ND_GRAIN ? 1 : ED__ND_GRAIN / cost;
    ed__parallel_for(rows ? s.kept.count * s.chunks : s.kept.count, grain, rows ? sum_rows : sum_points, &s);
}

/* ---- y (+)= factor * x */

static double load(const ed_tensor *t, int64_t i) {
    switch (t->dtype) {
    case ED_DTYPE_F32:
        return ((const float *)t->data)[i];
    case ED_DTYPE_F64:
        return ((const double *)t->data)[i];
    case ED_DTYPE_BF16:
        return ed_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case ED_DTYPE_F16:
        return ed_f16_to_f32(((const uint16_t *)t->data)[i]);
    default:
        return 0;
    }
}

static void store(ed_tensor *t, int64_t i, double v) {
    switch (t->dtype) {
    case ED_DTYPE_F32:
        ((float *)t->data)[i] = (float)v;
        break;
    case ED_DTYPE_F64:
        ((double *)t->data)[i] = v;
        break;
    case ED_DTYPE_BF16:
        ((uint16_t *)t->data)[i] = ed_f32_to_bf16((float)v);
        break;
    case ED_DTYPE_F16:
        ((uint16_t *)t->data)[i] = ed_f32_to_f16((float)v);
        break;
    default:
        break;
    }
}

typedef struct axpy_ctx {
    double factor;
    const ed_tensor *x;
    ed_tensor *y;
    bool fresh;
} axpy_ctx;

static void axpy_f32(const axpy_ctx *c, int64_t begin, int64_t end) {
    const float *x = (const float *)c->x->data + begin, a = (float)c->factor;
    float *y = (float *)c->y->data + begin;
    int64_t n = end - begin;
    if (c->fresh && a == 1)
        memcpy(y, x, (size_t)n * sizeof *y);
    else if (c->fresh)
        for (int64_t i = 0; i < n; i++)
            y[i] = a * x[i];
    else if (a == 1)
        ed__kernels()->add(x, y, n);
    else
        ed__kernels()->axpy(a, x, y, n);
}

static void axpy_range(void *p, int64_t begin, int64_t end) {
    const axpy_ctx *c = p;
    if (c->x->dtype == ED_DTYPE_F32 && c->y->dtype == ED_DTYPE_F32)
        axpy_f32(c, begin, end);
    else
        for (int64_t i = begin; i < end; i++)
            store(c->y, i, c->factor * load(c->x, i) + (c->fresh ? 0 : load(c->y, i)));
}

void ed__nd_axpy(double factor, const ed_tensor *x, ed_tensor *y, bool fresh) {
    axpy_ctx c = {factor, x, y, fresh};
    ed__parallel_for(ed_numel(y), ED__ND_GRAIN, axpy_range, &c);
}
