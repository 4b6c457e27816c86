/* tensor/tensor.c - tensor structs: making, reading, copying between strides and number formats. */
#include "tensor/graph.h"

#include <stdio.h>

int64_t ed_numel(const ed_tensor *t) {
    return ed__prod(t, 0, t->rank);
}

int64_t ed__prod(const ed_tensor *t, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= t->shape[i];
    return n;
}

void ed__contiguous_strides(int rank, const int64_t *shape, int64_t *stride) {
    int64_t s = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = s;
        s *= shape[i];
    }
}

bool ed_is_contiguous(const ed_tensor *t) {
    int64_t s = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != s)
            return false;
        s *= t->shape[i];
    }
    return true;
}

bool ed__same_shape(const ed_tensor *a, const ed_tensor *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) == 0;
}

bool ed__broadcast_shape(const ed_tensor *a, const ed_tensor *b, int *rank, int64_t *shape) {
    int r = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < r; i++) {
        int ia = i - (r - a->rank), ib = i - (r - b->rank);
        int64_t da = ia < 0 ? 1 : a->shape[ia], db = ib < 0 ? 1 : b->shape[ib];
        if (da != db && da != 1 && db != 1)
            return false;
        shape[i] = da == 1 ? db : da;
    }
    *rank = r;
    return true;
}

ed_tensor ed__view_of(void *data, ed_dtype dtype, int rank, const int64_t *shape) {
    ed_tensor t = {.data = data, .rank = rank, .dtype = dtype};
    if (rank > 0) /* shape may be NULL for a single number */
        memcpy(t.shape, shape, (size_t)rank * sizeof *shape);
    ed__contiguous_strides(rank, shape, t.stride);
    return t;
}

static double load(const void *p, ed_dtype d, int64_t i) {
    switch (d) {
    case ED_DTYPE_F32: return (double)((const float *)p)[i];
    case ED_DTYPE_F64: return ((const double *)p)[i];
    case ED_DTYPE_BF16: return (double)ed_bf16_to_f32(((const uint16_t *)p)[i]);
    case ED_DTYPE_F16: return (double)ed_f16_to_f32(((const uint16_t *)p)[i]);
    case ED_DTYPE_I32: return (double)((const int32_t *)p)[i];
    case ED_DTYPE_U8: case ED_DTYPE_BOOL: return (double)((const uint8_t *)p)[i];
    default: return 0;
    }
}

static void store(void *p, ed_dtype d, int64_t i, double v) {
    switch (d) {
    case ED_DTYPE_F32: ((float *)p)[i] = (float)v; break;
    case ED_DTYPE_F64: ((double *)p)[i] = v; break;
    case ED_DTYPE_BF16: ((uint16_t *)p)[i] = ed_f32_to_bf16((float)v); break;
    case ED_DTYPE_F16: ((uint16_t *)p)[i] = ed_f32_to_f16((float)v); break;
    case ED_DTYPE_I32: ((int32_t *)p)[i] = (int32_t)v; break;
    case ED_DTYPE_U8: ((uint8_t *)p)[i] = (uint8_t)v; break;
    case ED_DTYPE_BOOL: ((uint8_t *)p)[i] = v != 0; break;
    default: break;
    }
}

/** Walks the outer axes of a strided tensor; `off` is the element offset of the current innermost row. */
typedef struct walk {
    int64_t index[ED_MAX_RANK], off;
    int outer; /* axes walked */
} walk;

static bool walk_next(walk *w, const ed_tensor *t) {
    for (int i = w->outer - 1; i >= 0; i--) {
        w->off += t->stride[i];
        if (++w->index[i] < t->shape[i])
            return true;
        w->off -= t->stride[i] * t->shape[i];
        w->index[i] = 0;
    }
    return false;
}

double ed_get(const ed_tensor *t, int64_t flat) {
    int64_t off = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        off += flat % t->shape[i] * t->stride[i];
        flat /= t->shape[i];
    }
    return load(t->data, t->dtype, off);
}

static void copy_row(const ed_tensor *src, int64_t off, int64_t n, int64_t stride, ed_tensor *dst, int64_t at) {
    size_t es = ed_dtype_bytes(src->dtype);
    if (src->dtype == dst->dtype && stride == 1) {
        memcpy((char *)dst->data + (size_t)at * es, (const char *)src->data + off * (int64_t)es, (size_t)n * es);
    } else if (src->dtype == ED_DTYPE_F32 && dst->dtype == ED_DTYPE_F32) {
        const float *s = (const float *)src->data + off;
        float *d = (float *)dst->data + at;
        for (int64_t i = 0; i < n; i++)
            d[i] = s[i * stride];
    } else {
        for (int64_t i = 0; i < n; i++)
            store(dst->data, dst->dtype, at + i, load(src->data, src->dtype, off + i * stride));
    }
}

void ed__copy_strided(const ed_tensor *src, ed_tensor *dst) {
    int64_t n = ed_numel(src), at = 0;
    if (n == 0)
        return;
    if (ed_is_contiguous(src)) {
        copy_row(src, 0, n, 1, dst, 0);
        return;
    }
    walk w = {.outer = src->rank - 1};
    int64_t row = src->shape[src->rank - 1], stride = src->stride[src->rank - 1];
    do {
        copy_row(src, w.off, row, stride, dst, at);
        at += row;
    } while (walk_next(&w, src));
}

void ed_copy_out_f32(const ed_tensor *t, float *out) {
    int64_t n = ed_numel(t);
    ed_tensor d = ed__view_of(out, ED_DTYPE_F32, 1, &n);
    ed__copy_strided(t, &d);
}

void ed_copy_out_f64(const ed_tensor *t, double *out) {
    int64_t n = ed_numel(t);
    ed_tensor d = ed__view_of(out, ED_DTYPE_F64, 1, &n);
    ed__copy_strided(t, &d);
}

const char *ed_shape_text(const ed_tensor *t, char *buf, size_t bytes) {
    int at = snprintf(buf, bytes, "%s[", t ? ed_dtype_name(t->dtype) : "NULL");
    for (int i = 0; t && i < t->rank && at > 0 && (size_t)at < bytes; i++)
        at += snprintf(buf + at, bytes - (size_t)at, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (at > 0 && (size_t)at < bytes)
        snprintf(buf + at, bytes - (size_t)at, "]");
    return buf;
}

/* ------------------------------------------------------------------ gradients of views */

/** dst[view of a buffer laid out like t's storage] += src (contiguous). Stride-0 axes add up. */
static void scatter_add(const ed_tensor *t, ed_dtype gd, void *storage_grad, const void *src, ed_dtype sd) {
    size_t es = ed_dtype_bytes(t->dtype);
    int64_t base = ((const char *)t->data - (const char *)t->storage->data) / (int64_t)es, at = 0;
    int r = t->rank;
    int64_t row = r ? t->shape[r - 1] : 1, stride = r ? t->stride[r - 1] : 1;
    walk w = {.outer = r ? r - 1 : 0};
    if (ed_numel(t) == 0)
        return;
    do {
        int64_t off = base + w.off;
        if (gd == ED_DTYPE_F32 && sd == ED_DTYPE_F32) {
            float *d = (float *)storage_grad + off;
            const float *s = (const float *)src + at;
            for (int64_t i = 0; i < row; i++)
                d[i * stride] += s[i];
        } else {
            for (int64_t i = 0; i < row; i++)
                store(storage_grad, gd, off + i * stride, load(storage_grad, gd, off + i * stride) + load(src, sd, at + i));
        }
        at += row;
    } while (walk_next(&w, t));
}

bool ed__grad_scatter(ed_graph *g, const ed_tensor *t, const void *src, ed_dtype src_dtype) {
    bool fresh;
    void *grad = ed__storage_grad(g, t->storage, &fresh);
    ed_dtype gd = ed__grad_dtype(t->storage->dtype);
    if (!grad)
        return false;
    if (fresh)
        memset(grad, 0, (size_t)t->storage->numel * ed_dtype_bytes(gd));
    scatter_add(t, gd, grad, src, src_dtype);
    return true;
}
