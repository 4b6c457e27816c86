/* tests/grad/twincheck.h - the same function in f32 and f64, on contiguous and on reversed-stride inputs, must give the same values and gradients.
 *
 * The f64 contiguous run is the reference (gradcheck.h proves its gradient). Shapes may be large here: one forward and one backward per variant. The backward
 * pass starts from two calls of the function, so that its second visit adds to gradients that are already there. */
#ifndef TWINCHECK_H
#define TWINCHECK_H

#include "grad/gradcheck.h"

/** v in row-major order as a watched tensor; reversed: stored with its axes in the opposite order. */
static ed_tensor *twin_feed(ed_graph *g, const gradcheck_in *in, ed_dtype dtype, const double *v, bool reversed) {
    int64_t n = gradcheck_numel(in), shape[ED_MAX_RANK] = {0}, index[ED_MAX_RANK] = {0};
    int axes[ED_MAX_RANK];
    for (int d = 0; d < in->rank; d++) {
        axes[d] = reversed ? in->rank - 1 - d : d;
        shape[axes[d]] = in->shape[d];
    }
    ed_tensor *t = ed_watch(g, ed_new(g, dtype, in->rank, shape)), *x = reversed && t ? ed_permute(g, t, axes) : t;
    for (int64_t i = 0; x && i < n; i++) {
        int64_t off = 0;
        for (int d = 0; d < in->rank; d++)
            off += index[d] * x->stride[d];
        if (dtype == ED_DTYPE_F64)
            ((double *)x->data)[off] = v[i];
        else
            ((float *)x->data)[off] = (float)v[i];
        for (int d = in->rank - 1; d >= 0 && ++index[d] == in->shape[d]; d--)
            index[d] = 0;
    }
    return x;
}

/** One forward and backward; y and grad[i] in f64, y allocated here. */
static double *twin_eval(const char *what, gradcheck_fn fn, void *ctx, const gradcheck_in *in, int n, double **v, ed_dtype dtype, bool reversed,
                         double **grad, int64_t *y_numel) {
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    ed_tensor *x[GRADCHECK_MAX_IN], *y[2];
    ed_error err = {0};
    char text[1024];
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_graph_seed(g, 11, 3);
    for (int i = 0; i < n; i++) {
        x[i] = twin_feed(g, &in[i], dtype, v[i], reversed);
        if (in[i].no_grad)
            x[i] = ed_stop_grad(g, x[i]);
    }
    for (int k = 0; k < 2; k++) {
        y[k] = fn(g, x, n, ctx);
        if (!y[k]) {
            ed_graph_status(g, &err);
            fail_msg("%s: %s", what, ed_error_text(&err, text, sizeof text));
        }
    }
    *y_numel = ed_numel(y[0]);
    double *out = malloc(sizeof(double) * (size_t)(*y_numel + 1));
    ed_copy_out_f64(y[0], out);
    ed_tensor *w = ed_new(g, dtype, y[0]->rank, y[0]->shape);
    for (int64_t i = 0; i < *y_numel; i++) {
        double wi = (double)((i * 7919 + 13) % 64) / 64 - 0.49;
        if (dtype == ED_DTYPE_F64)
            ((double *)w->data)[i] = wi;
        else
            ((float *)w->data)[i] = (float)wi;
    }
    ed_seed seeds[2] = {{y[0], w}, {y[1], w}};
    if (ed_backward(g, seeds, 2, &err) != ED_OK)
        fail_msg("%s: %s", what, ed_error_text(&err, text, sizeof text));
    for (int i = 0; i < n; i++) {
        ed_tensor *d = in[i].no_grad ? NULL : ed_grad(g, x[i]);
        memset(grad[i], 0, sizeof(double) * (size_t)gradcheck_numel(&in[i]));
        if (d)
            ed_copy_out_f64(d, grad[i]);
    }
    ed_graph_destroy(&g);
    return out;
}

static void twin_compare(const char *what, const char *part, const double *got, const double *want, int64_t n, double tol, double scale_floor) {
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tol * fmax(scale_floor, fabs(want[i]))) && got[i] != want[i])
            fail_msg("%s, %s, element %lld: %.9g, reference %.17g", what, part, (long long)i, got[i], want[i]);
}

/** tol: allowed |f32 - f64| / max(1, |f64|) of values and gradients. */
static void twincheck(const char *what, gradcheck_fn fn, void *ctx, const gradcheck_in *in, int n, double tol) {
    static const struct {
        const char *name;
        ed_dtype dtype;
        bool reversed;
    } variants[3] = {{"f64 reversed", ED_DTYPE_F64, true}, {"f32", ED_DTYPE_F32, false}, {"f32 reversed", ED_DTYPE_F32, true}};
    double *v[GRADCHECK_MAX_IN], *want[GRADCHECK_MAX_IN], *got[GRADCHECK_MAX_IN];
    int64_t ny, ny2;
    ed_rng rng = ed_rng_make(5, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        int64_t m = gradcheck_numel(&in[i]);
        double lo = in[i].lo == in[i].hi ? -1 : in[i].lo, hi = in[i].lo == in[i].hi ? 1 : in[i].hi;
        v[i] = malloc(sizeof(double) * (size_t)(m + 1));
        want[i] = malloc(sizeof(double) * (size_t)(m + 1));
        got[i] = malloc(sizeof(double) * (size_t)(m + 1));
        for (int64_t k = 0; k < m; k++)
            v[i][k] = (float)(lo + (hi - lo) * ed_rng_uniform(&rng));
    }
    double *y = twin_eval(what, fn, ctx, in, n, v, ED_DTYPE_F64, false, want, &ny);
    for (int k = 0; k < 3; k++) {
        double t = variants[k].dtype == ED_DTYPE_F64 ? 1e-12 : tol;
        double *z = twin_eval(what, fn, ctx, in, n, v, variants[k].dtype, variants[k].reversed, got, &ny2);
        char part[64];
        assert_int_equal(ny, ny2);
        snprintf(part, sizeof part, "%s value", variants[k].name);
        twin_compare(what, part, z, y, ny, t, 1);
        for (int i = 0; i < n; i++) {
            snprintf(part, sizeof part, "%s gradient %d", variants[k].name, i);
            twin_compare(what, part, got[i], want[i], gradcheck_numel(&in[i]), t, 1);
        }
        free(z);
    }
    free(y);
    for (int i = 0; i < n; i++) {
        free(v[i]);
        free(want[i]);
        free(got[i]);
    }
}

#endif
