/* tensor/op_rows.h - what the row-wise ops (norms, softmax, losses, index, rope) share: a tensor seen as rows of its last axis, row addresses of strided
 * views, checks of operands, and the vector primitives that the templates op_*_tmpl.h call under one name for float and double.
 *
 * The v_* primitives of float are the kernels (kernel.h); those of double are plain loops. Every one of them sums in an order fixed by n alone. */
#ifndef ED_TENSOR_OP_ROWS_H
#define ED_TENSOR_OP_ROWS_H

#include <math.h>

#include "tensor/kernel.h"
#include "tensor/op.h"

/* ---- rows */

/** Size of the last axis; 1 for a rank-0 tensor. */
static inline int64_t ed__row_len(const ed_tensor *t) {
    return t->rank == 0 ? 1 : t->shape[t->rank - 1];
}

/** Number of rows: product of all axes but the last. */
static inline int64_t ed__row_count(const ed_tensor *t) {
    return t->rank == 0 ? 1 : ed__prod(t, 0, t->rank - 1);
}

/** Items per piece of a parallel loop whose items cost `cost` elementary steps: below about 32k steps a loop runs inline. */
static inline int64_t ed__grain(int64_t cost) {
    int64_t grain = 32768 / (cost > 0 ? cost : 1);
    return grain > 0 ? grain : 1;
}

/** x itself when every row (last axis) is contiguous in memory, else a contiguous copy; NULL when memory is gone. */
static inline const ed_tensor *ed__row_form(ed_graph *g, const ed_tensor *x) {
    bool unit = x->rank == 0 || x->shape[x->rank - 1] <= 1 || x->stride[x->rank - 1] == 1;
    return unit ? x : ed__dense(g, x);
}

/** Element offset of row r in a tensor of ed__row_form (any strides on the leading axes). */
static inline int64_t ed__row_offset(const ed_tensor *x, int64_t r) {
    int64_t offset = 0;
    for (int axis = x->rank - 2; axis >= 0; axis--) {
        if (axis == 0 || r == 0) {
            offset += r * x->stride[axis];
            break;
        }
        offset += (r % x->shape[axis]) * x->stride[axis];
        r /= x->shape[axis];
    }
    return offset;
}

/** Element offset of flat index i in any tensor. */
static inline int64_t ed__flat_offset(const ed_tensor *x, int64_t i) {
    int64_t offset = 0;
    for (int axis = x->rank - 1; axis >= 0; axis--) {
        offset += (i % x->shape[axis]) * x->stride[axis];
        i /= x->shape[axis];
    }
    return offset;
}

/** Flat element i of an I32 tensor of any strides. */
static inline int32_t ed__i32_at(const ed_tensor *x, int64_t i) {
    return ((const int32_t *)x->data)[ed__flat_offset(x, i)];
}

/* ---- operand checks, for shape functions */

static inline bool ed__check_float(ed_call *c, const ed_tensor *x) {
    if (x->dtype == ED_DTYPE_F32 || x->dtype == ED_DTYPE_F64)
        return true;
    return ed__op_fail(c, ED_E_DTYPE, "operand is %s, not f32 or f64", ed_dtype_name(x->dtype));
}

static inline bool ed__check_dtype(ed_call *c, const ed_tensor *x, ed_dtype dtype, const char *what) {
    if (x->dtype == dtype)
        return true;
    return ed__op_fail(c, ED_E_DTYPE, "%s are %s, not %s", what, ed_dtype_name(x->dtype), ed_dtype_name(dtype));
}

/** Every id in [low, limit); the error names the first bad one. */
static inline bool ed__check_ids(ed_call *c, const ed_tensor *ids, int64_t low, int64_t limit) {
    if (!ed__check_dtype(c, ids, ED_DTYPE_I32, "ids"))
        return false;
    int64_t n = ed_numel(ids);
    bool dense = ed_is_contiguous(ids);
    for (int64_t i = 0; i < n; i++) {
        int32_t id = dense ? ((const int32_t *)ids->data)[i] : ed__i32_at(ids, i);
        if (id < low || id >= limit)
            return ed__op_fail(c, ED_E_RANGE, "id %d at position %lld is outside [%lld, %lld)", (int)id, (long long)i, (long long)low, (long long)limit);
    }
    return true;
}

/* ---- vector primitives: float through the kernels, double as plain loops */

enum { V_CHUNK = 512 }; /* stack buffers of the row loops; also a fixed summation block */

static inline float v_sum_f32(const float *x, int64_t n) {
    return ed__kernels()->sum(x, n);
}
static inline float v_dot_f32(const float *x, const float *y, int64_t n) {
    return ed__kernels()->dot(x, y, n);
}
static inline float v_max_f32(const float *x, int64_t n) {
    return ed__kernels()->max(x, n);
}
static inline float v_sum_sq_dev_f32(const float *x, float mean, int64_t n) {
    return ed__kernels()->sum_sq_dev(x, mean, n);
}
static inline void v_exp_sub_f32(const float *x, float top, float *y, int64_t n) {
    ed__kernels()->exp_sub(x, top, y, n);
}
static inline void v_axpy_f32(float a, const float *x, float *y, int64_t n) {
    ed__kernels()->axpy(a, x, y, n);
}
static inline void v_scale_f32(float a, float *y, int64_t n) {
    ed__kernels()->scale(a, y, n);
}
static inline void v_add_f32(const float *x, float *y, int64_t n) {
    ed__kernels()->add(x, y, n);
}
static inline void v_softplus_f32(const float *x, float *y, int64_t n) {
    ed__kernels()->unary(ED_SOFTPLUS, 0, x, y, n);
}

static inline void v_norm_apply_f32(const float *x, float mean, float rstd, const float *w, const float *b, float *y, int64_t n) {
    ed__kernels()->norm_apply(x, mean, rstd, w, b, y, n);
}
static inline void v_norm_terms_f32(const float *x, const float *dy, const float *w, float mean, float rstd, float *g, float *h, int64_t n) {
    ed__kernels()->norm_terms(x, dy, w, mean, rstd, g, h, n);
}
static inline void v_norm_grad_f32(const float *g, const float *h, float rstd, float mean_g, float mean_gh, float *dx, int64_t n, bool add) {
    ed__kernels()->norm_grad(g, h, rstd, mean_g, mean_gh, dx, n, add);
}
static inline void v_norm_params_f32(int64_t rows, int64_t n, const float *x, int64_t x_step, const float *dy, int64_t dy_step, const float *mean,
                                     const float *rstd, float *sum_w, float *sum_b) {
    ed__kernels()->norm_params(rows, n, x, x_step, dy, dy_step, mean, rstd, sum_w, sum_b);
}

static inline void v_norm_apply_f64(const double *x, double mean, double rstd, const double *w, const double *b, double *y, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        y[j] = (x[j] - mean) * rstd * (w ? w[j] : 1) + (b ? b[j] : 0);
}
static inline void v_norm_terms_f64(const double *x, const double *dy, const double *w, double mean, double rstd, double *g, double *h, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        g[j] = w ? dy[j] * w[j] : dy[j];
        h[j] = (x[j] - mean) * rstd;
    }
}
static inline void v_norm_grad_f64(const double *g, const double *h, double rstd, double mean_g, double mean_gh, double *dx, int64_t n, bool add) {
    for (int64_t j = 0; j < n; j++)
        dx[j] = (add ? dx[j] : 0) + rstd * (g[j] - mean_g - h[j] * mean_gh);
}
static inline void v_norm_params_f64(int64_t rows, int64_t n, const double *x, int64_t x_step, const double *dy, int64_t dy_step, const double *mean,
                                     const double *rstd, double *sum_w, double *sum_b) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double d = dy[r * dy_step + j];
            sum_w[j] += d * ((x[r * x_step + j] - (mean ? mean[r] : 0)) * rstd[r]);
            sum_b[j] += d;
        }
}

static inline double v_sum_f64(const double *x, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += x[i];
    return s;
}
static inline double v_dot_f64(const double *x, const double *y, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += x[i] * y[i];
    return s;
}
static inline double v_max_f64(const double *x, int64_t n) {
    double top = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        top = x[i] > top || isnan(x[i]) ? x[i] : top;
    return top;
}
static inline double v_sum_sq_dev_f64(const double *x, double mean, int64_t n) {
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (x[i] - mean) * (x[i] - mean);
    return s;
}
static inline void v_exp_sub_f64(const double *x, double top, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = exp(x[i] - top);
}
static inline void v_axpy_f64(double a, const double *x, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}
static inline void v_scale_f64(double a, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] *= a;
}
static inline void v_add_f64(const double *x, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] += x[i];
}
static inline void v_softplus_f64(const double *x, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = (x[i] > 0 ? x[i] : 0) + log1p(exp(-fabs(x[i])));
}

/** sum exp(x - top) and, where dev is not NULL, sum (x - top), in blocks of V_CHUNK whose sums are added in f64. */
static inline double v_exp_sums_f32(const float *x, float top, int64_t n, double *dev) {
    double s = 0, d = 0;
    for (int64_t i = 0; i < n; i += V_CHUNK) {
        float e, x_dev;
        ed__kernels()->exp_sums(x + i, top, n - i < V_CHUNK ? n - i : V_CHUNK, &e, &x_dev);
        s += (double)e;
        d += (double)x_dev;
    }
    if (dev)
        *dev = d;
    return s;
}
static inline double v_exp_sums_f64(const double *x, double top, int64_t n, double *dev) {
    double s = 0, d = 0;
    for (int64_t i = 0; i < n; i++) {
        s += exp(x[i] - top);
        d += x[i] - top;
    }
    if (dev)
        *dev = d;
    return s;
}

/** dx (+)= factor exp(x - top) - each */
static inline void v_softmax_grad_f32(const float *x, float top, float factor, float each, float *dx, int64_t n, bool add) {
    ed__kernels()->softmax_grad(x, top, factor, each, dx, n, add);
}
static inline void v_softmax_grad_f64(const double *x, double top, double factor, double each, double *dx, int64_t n, bool add) {
    for (int64_t i = 0; i < n; i++)
        dx[i] = (add ? dx[i] : 0) + factor * exp(x[i] - top) - each;
}

#endif
