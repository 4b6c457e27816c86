/* tests/grad/gradcheck.h - gradients by central finite differences in f64, for any function of tensors.
 *
 * The scalar checked is L = sum(w * y) for fixed random w. Every differentiable input is checked twice: as a contiguous tensor and as a strided view
 * (a transposed or sliced part of a larger storage), which also proves that the gradient lands only inside the view. */
#ifndef GRADCHECK_H
#define GRADCHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "endec/ops.h"
#include "endec/tensor.h"

typedef ed_tensor *(*gradcheck_fn)(ed_graph *g, ed_tensor **x, int n, void *ctx);
typedef struct gradcheck_in {
    int rank;
    int64_t shape[ED_MAX_RANK];
    double lo, hi; /* values are uniform in [lo, hi); both 0 = [-1, 1) */
    bool no_grad;  /* fed, but not checked */
} gradcheck_in;

enum { GRADCHECK_MAX_IN = 12 };

static int64_t gradcheck_numel(const gradcheck_in *in) {
    int64_t n = 1;
    for (int i = 0; i < in->rank; i++)
        n *= in->shape[i];
    return n;
}

/** The input as a tensor; strided: last axis padded by one on each side and, for rank >= 2, the first two axes stored swapped. */
static ed_tensor *gradcheck_feed(ed_graph *g, const gradcheck_in *in, const double *v, bool strided) {
    if (!strided || in->rank == 0)
        return ed_watch(g, ed_from(g, ED_DTYPE_F64, in->rank, in->shape, v));
    int64_t big[ED_MAX_RANK];
    memcpy(big, in->shape, sizeof big);
    int r = in->rank;
    big[r - 1] += 2;
    bool swap = r >= 2;
    if (swap) {
        int64_t t = big[0];
        big[0] = big[1];
        big[1] = t;
    }
    ed_tensor *base = ed_watch(g, ed_full(g, ED_DTYPE_F64, r, big, 7.5));
    ed_tensor *x = swap ? ed_transpose(g, base, 0, 1) : base;
    x = ed_slice(g, x, swap && r == 2 ? 1 : r - 1, 1, 1 + in->shape[r - 1], 1);
    if (swap && r == 2) { /* the swap moved the padded axis: base is [c+2, r] seen as [r, c+2] */
        int64_t b2[2] = {in->shape[1] + 2, in->shape[0]};
        base = ed_watch(g, ed_full(g, ED_DTYPE_F64, 2, b2, 7.5));
        x = ed_slice(g, ed_transpose(g, base, 0, 1), 1, 1, 1 + in->shape[1], 1);
    }
    if (!x)
        return NULL;
    int64_t n = gradcheck_numel(in);
    for (int64_t i = 0; i < n; i++) {
        int64_t f = i, off = 0;
        for (int a = r - 1; a >= 0; a--) {
            off += f % x->shape[a] * x->stride[a];
            f /= x->shape[a];
        }
        ((double *)x->data)[off] = v[i];
    }
    return x;
}

static double gradcheck_eval(gradcheck_fn fn, void *ctx, const gradcheck_in *in, int n, double **v, bool strided, const double *w, double **grad,
                             int64_t *y_numel) {
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    ed_tensor *x[GRADCHECK_MAX_IN];
    ed_error err = {0};
    double loss = 0;
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_graph_seed(g, 11, 3);
    for (int i = 0; i < n; i++) {
        x[i] = gradcheck_feed(g, &in[i], v[i], strided);
        if (in[i].no_grad && x[i])
            x[i] = ed_stop_grad(g, x[i]);
    }
    ed_tensor *y = fn(g, x, n, ctx);
    if (!y) {
        char text[1024];
        ed_graph_status(g, &err);
        fail_msg("%s", ed_error_text(&err, text, sizeof text));
    }
    int64_t ny = ed_numel(y);
    *y_numel = ny;
    if (w) {
        double *out = malloc(sizeof(double) * (size_t)(ny + 1));
        ed_copy_out_f64(y, out);
        for (int64_t i = 0; i < ny; i++)
            loss += out[i] * w[i];
        free(out);
    }
    if (grad) {
        ed_tensor *c = ed_from(g, ED_DTYPE_F64, y->rank, y->shape, w);
        ed_seed s = {y, c};
        assert_int_equal(ed_backward(g, &s, 1, &err), ED_OK);
        for (int i = 0; i < n; i++) {
            memset(grad[i], 0, sizeof(double) * (size_t)(gradcheck_numel(&in[i])));
            ed_tensor *d = in[i].no_grad ? NULL : ed_grad(g, x[i]);
            if (d)
                ed_copy_out_f64(d, grad[i]);
        }
    }
    ed_graph_destroy(&g);
    return loss;
}

/** Checks all inputs of fn; tol is the allowed |analytic - numeric| / max(1, |analytic|, |numeric|). Elements beyond 400 per input are sampled. */
static void gradcheck(const char *what, gradcheck_fn fn, void *ctx, const gradcheck_in *in, int n, double tol) {
    double *v[GRADCHECK_MAX_IN], *grad[GRADCHECK_MAX_IN];
    ed_rng rng = ed_rng_make(77, (uint32_t)n);
    assert_true(n <= GRADCHECK_MAX_IN);
    for (int i = 0; i < n; i++) {
        int64_t m = gradcheck_numel(&in[i]);
        v[i] = malloc(sizeof(double) * (size_t)(m + 1));
        grad[i] = malloc(sizeof(double) * (size_t)(m + 1));
        double lo = in[i].lo, hi = in[i].hi;
        if (lo == 0 && hi == 0)
            lo = -1, hi = 1;
        for (int64_t k = 0; k < m; k++)
            v[i][k] = lo + (hi - lo) * ed_rng_uniform(&rng);
    }
    for (int strided = 0; strided < 2; strided++) {
        int64_t ny;
        gradcheck_eval(fn, ctx, in, n, v, strided, NULL, NULL, &ny);
        double *w = malloc(sizeof(double) * (size_t)(ny + 1));
        for (int64_t k = 0; k < ny; k++)
            w[k] = 2 * ed_rng_uniform(&rng) - 1;
        gradcheck_eval(fn, ctx, in, n, v, strided, w, grad, &ny);
        for (int i = 0; i < n; i++) {
            int64_t m = gradcheck_numel(&in[i]), step = m > 400 ? m / 400 : 1;
            for (int64_t k = 0; k < m && !in[i].no_grad; k += step) {
                double h = 1e-5, old = v[i][k];
                v[i][k] = old + h;
                double up = gradcheck_eval(fn, ctx, in, n, v, strided, w, NULL, &ny);
                v[i][k] = old - h;
                double down = gradcheck_eval(fn, ctx, in, n, v, strided, w, NULL, &ny);
                v[i][k] = old;
                double num = (up - down) / (2 * h), ana = grad[i][k];
                double scale = fmax(1, fmax(fabs(num), fabs(ana)));
                if (!(fabs(num - ana) <= tol * scale))
                    fail_msg("%s: input %d%s element %lld: backward %.10g, finite difference %.10g", what, i, strided ? " (strided)" : "", (long long)k, ana, num);
            }
        }
        free(w);
    }
    for (int i = 0; i < n; i++) {
        free(v[i]);
        free(grad[i]);
    }
}

#endif
