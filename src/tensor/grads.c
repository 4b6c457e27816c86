/* tensor/grads.c - gradients of a parameter set: one flat buffer in set order, and (ids, rows) lists for row-sparse tables. */
#include "tensor/graph.h"
#include "tensor/kernel.h"

#include <math.h>

enum { FROZEN = -1, SPARSE = -2 };
static const size_t MAX_SPARSE_ITEMS = (size_t)1 << 40;

static void release(ed_grads *g) {
    for (int64_t i = 0; g->sparse && i < g->n; i++) {
        ed__free(g->sparse[i].ids);
        ed__free(g->sparse[i].rows);
    }
    ed__free(g->sparse);
    ed__free(g->offset);
    ed__free(g->flat);
    ed__free(g);
}

/** 16-element rounding keeps every parameter's gradient 64-byte aligned. */
static int64_t place(ed_grads *g, const ed_param *p, const char *trainable) {
    if (!ed_dtype_is_float(p->dtype) || (trainable && !ed_name_match(trainable, p->name)))
        return FROZEN;
    if (p->row_sparse && p->rank >= 2)
        return SPARSE;
    int64_t at = g->numel;
    g->numel += (p->numel + 15) / 16 * 16;
    return at;
}

ed_status ed_grads_create(const ed_params *set, const char *trainable, ed_dtype dtype, ed_grads **out, ed_error *err) {
    *out = NULL;
    if (dtype != ED_DTYPE_F32 && dtype != ED_DTYPE_F64)
        return ed_error_set(err, ED_E_DTYPE, "", ED_NO_OFFSET, "gradients are f32 or f64, not %s", ed_dtype_name(dtype));
    ed_grads *g = ed__calloc(1, sizeof *g);
    if (!g)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for gradients");
    g->set = set;
    g->dtype = dtype;
    g->n = ed_params_count(set);
    g->offset = ed__calloc((size_t)g->n + 1, sizeof *g->offset);
    g->sparse = ed__calloc((size_t)g->n + 1, sizeof *g->sparse);
    for (int64_t i = 0; g->offset && i < g->n; i++)
        g->offset[i] = place(g, ed_params_at(set, i), trainable);
    g->flat = ed__calloc((size_t)g->numel + 1, ed_dtype_bytes(dtype));
    if (!g->offset || !g->sparse || !g->flat) {
        release(g);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for gradients");
    }
    *out = g;
    return ED_OK;
}

void ed_grads_destroy(ed_grads **g) {
    if (g && *g) {
        release(*g);
        *g = NULL;
    }
}

enum { SCALE_GRAIN = 1 << 16 };

static void clear_range(void *ctx, int64_t begin, int64_t end) {
    ed_grads *g = ctx;
    size_t es = ed_dtype_bytes(g->dtype);
    memset((char *)g->flat + (size_t)begin * es, 0, (size_t)(end - begin) * es);
}

void ed_grads_zero(ed_grads *g) {
    ed__parallel_for(g->numel, SCALE_GRAIN, clear_range, g);
    for (int64_t i = 0; i < g->n; i++)
        g->sparse[i].n = 0;
}

void *ed_grads_flat(ed_grads *g, int64_t *numel) {
    if (numel)
        *numel = g->numel;
    return g->flat;
}

/** Place of p in this set's gradients, or FROZEN when p belongs to another set. */
static int64_t offset_of(const ed_grads *g, const ed_param *p) {
    return p->index < g->n && ed_params_at(g->set, p->index) == p ? g->offset[p->index] : FROZEN;
}

void *ed_grads_of(ed_grads *g, const ed_param *p) {
    int64_t at = offset_of(g, p);
    return at < 0 ? NULL : (char *)g->flat + (size_t)at * ed_dtype_bytes(g->dtype);
}

bool ed_grads_wants(const ed_grads *g, const ed_param *p) {
    return offset_of(g, p) != FROZEN;
}

bool ed__grads_add_rows(ed_grads *g, const ed_param *p, const int32_t *ids, int64_t n, const void *rows) {
    size_t row = (size_t)(p->numel / (p->shape[0] ? p->shape[0] : 1)), es = ed_dtype_bytes(g->dtype);
    if (offset_of(g, p) != SPARSE)
        return false;
    ed__sparse *s = &g->sparse[p->index];
    if (ed__grow((void **)&s->ids, &s->cap_ids, (size_t)(s->n + n), sizeof *s->ids, MAX_SPARSE_ITEMS) != ED_OK ||
        ed__grow(&s->rows, &s->cap_rows, (size_t)(s->n + n) * row, es, MAX_SPARSE_ITEMS) != ED_OK)
        return false;
    memcpy(s->ids + s->n, ids, (size_t)n * sizeof *ids);
    memcpy((char *)s->rows + (size_t)s->n * row * es, rows, (size_t)n * row * es);
    s->n += n;
    s->merged = false;
    return true;
}

/** Adds row b to row a. */
static void row_add(ed_dtype d, void *rows, size_t row, size_t a, size_t b) {
    for (size_t k = 0; k < row; k++) {
        if (d == ED_DTYPE_F64)
            ((double *)rows)[a * row + k] += ((double *)rows)[b * row + k];
        else
            ((float *)rows)[a * row + k] += ((float *)rows)[b * row + k];
    }
}

/** Sorts by id, keeping the order of arrival within an id (bottom-up merge sort of indices), and sums rows of equal id in that order. */
static bool merge(ed__sparse *s, ed_dtype d, size_t row) {
    size_t n = (size_t)s->n, es = ed_dtype_bytes(d);
    size_t *a = ed__malloc((2 * n + 1) * sizeof *a), *b = a ? a + n : NULL;
    char *sorted = ed__malloc((n * row + 1) * es);
    int32_t *ids = ed__malloc((n + 1) * sizeof *ids);
    size_t m = 0;
    if (!a || !sorted || !ids) {
        ed__free(a), ed__free(sorted), ed__free(ids);
        return false;
    }
    size_t *src = a, *dst = b;
    for (size_t i = 0; i < n; i++)
        src[i] = i;
    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n, i = lo, j = mid;
            for (size_t k = lo; k < hi; k++)
                dst[k] = i < mid && (j >= hi || s->ids[src[i]] <= s->ids[src[j]]) ? src[i++] : src[j++];
        }
        size_t *t = src;
        src = dst;
        dst = t;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(sorted + m * row * es, (char *)s->rows + src[i] * row * es, row * es);
        if (m > 0 && ids[m - 1] == s->ids[src[i]])
            row_add(d, sorted, row, m - 1, m);
        else
            ids[m++] = s->ids[src[i]];
    }
    memcpy(s->ids, ids, m * sizeof *ids);
    memcpy(s->rows, sorted, m * row * es);
    s->n = (int64_t)m;
    s->merged = true;
    ed__free(a), ed__free(sorted), ed__free(ids);
    return true;
}

int64_t ed_grads_rows_of(ed_grads *g, const ed_param *p, const int32_t **ids, const void **rows) {
    if (offset_of(g, p) != SPARSE)
        return 0;
    ed__sparse *s = &g->sparse[p->index];
    if (!s->merged && s->n > 0 && !merge(s, g->dtype, (size_t)(p->numel / (p->shape[0] ? p->shape[0] : 1))))
        return 0;
    *ids = s->ids;
    *rows = s->rows;
    return s->n;
}

static double sum_squares(ed_dtype d, const void *x, int64_t n) {
    double s = 0;
    if (d == ED_DTYPE_F32)
        return ed__kernels()->sum_squares(x, n);
    for (int64_t i = 0; i < n; i++)
        s += ((const double *)x)[i] * ((const double *)x)[i];
    return s;
}

/** Sums of fixed blocks of the flat buffer, so that threads do not change the result. */
enum { NORM_BLOCK = 1 << 14 };
typedef struct norm_job {
    const ed_grads *g;
    double *partial;
} norm_job;

static void norm_range(void *ctx, int64_t begin, int64_t end) {
    norm_job *j = ctx;
    size_t es = ed_dtype_bytes(j->g->dtype);
    for (int64_t b = begin; b < end; b++) {
        int64_t at = b * NORM_BLOCK, n = j->g->numel - at < NORM_BLOCK ? j->g->numel - at : NORM_BLOCK;
        j->partial[b] = sum_squares(j->g->dtype, (const char *)j->g->flat + (size_t)at * es, n);
    }
}

double ed_grads_norm(ed_grads *g) {
    int64_t blocks = (g->numel + NORM_BLOCK - 1) / NORM_BLOCK;
    double s = 0;
    norm_job job = {g, ed__malloc((size_t)(blocks + 1) * sizeof(double))};
    if (!job.partial)
        return sqrt(sum_squares(g->dtype, g->flat, g->numel));
    ed__parallel_for(blocks, 4, norm_range, &job);
    for (int64_t b = 0; b < blocks; b++)
        s += job.partial[b];
    ed__free(job.partial);
    for (int64_t i = 0; i < g->n; i++) {
        const ed_param *p = ed_params_at(g->set, i);
        const int32_t *ids;
        const void *rows;
        int64_t n = g->offset[i] == SPARSE ? ed_grads_rows_of(g, p, &ids, &rows) : 0;
        if (n > 0)
            s += sum_squares(g->dtype, rows, n * (p->numel / p->shape[0]));
    }
    return sqrt(s);
}

typedef struct scale_job {
    ed_dtype dtype;
    void *x;
    double factor;
} scale_job;

static void scale_range(void *ctx, int64_t begin, int64_t end) {
    const scale_job *j = ctx;
    if (j->dtype == ED_DTYPE_F32)
        ed__kernels()->scale((float)j->factor, (float *)j->x + begin, end - begin);
    else
        for (int64_t i = begin; i < end; i++)
            ((double *)j->x)[i] *= j->factor;
}

static void scale_all(ed_dtype d, void *x, int64_t n, double f) {
    ed__parallel_for(n, SCALE_GRAIN, scale_range, &(scale_job){d, x, f});
}

void ed_grads_scale(ed_grads *g, double f) {
    scale_all(g->dtype, g->flat, g->numel, f);
    for (int64_t i = 0; i < g->n; i++) {
        const ed_param *p = ed_params_at(g->set, i);
        if (g->offset[i] == SPARSE && g->sparse[i].n > 0)
            scale_all(g->dtype, g->sparse[i].rows, g->sparse[i].n * (p->numel / p->shape[0]), f);
    }
}
