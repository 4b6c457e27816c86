/* tests/unit/rowops.h - one check for any differentiable op of rows, used by test_op_{index,norm,softmax,rope,loss}.c:
 *   - output and gradients have the same bits for 1, 2, 3 and 7 threads,
 *   - F32 (kernels) agrees with F64 (plain loops),
 *   - a second use of the inputs adds its gradient to the first (backward overwrites a fresh buffer and adds to a filled one),
 *   - when memory for results, scratch or gradients ends, the call fails with ED_E_LIMIT and nothing else happens. */
#ifndef ROWOPS_H
#define ROWOPS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "endec/ops.h"
#include "endec/tensor.h"
#include "tensor/graph.h"

enum { ROWOPS_MAX_IN = 4 };

typedef ed_tensor *(*rowops_fn)(ed_graph *g, ed_tensor **x);

typedef struct rowops_in {
    int rank;
    int64_t shape[4];
    int64_t id_low, id_limit; /* limit > 0: I32 ids in [low, limit) */
    bool constant;            /* float without gradient */
    double lo, hi;            /* floats are uniform in [lo, hi); both 0 = [-2, 2) */
} rowops_in;

typedef struct rowops_result {
    double *y, *grad[ROWOPS_MAX_IN];
    int64_t ny, n[ROWOPS_MAX_IN];
} rowops_result;

static inline ed_graph *rowops_graph(void) {
    ed_graph_opts o = ed_graph_opts_train();
    ed_graph *g = NULL;
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    return g;
}

static inline void rowops_must(ed_graph *g, const void *p) {
    ed_error err = {0};
    char text[1024];
    if (!p) {
        ed_graph_status(g, &err);
        fail_msg("%s", ed_error_text(&err, text, sizeof text));
    }
}

/** Fails unless the graph stands in error `s` with `part` in its message; then resets the graph. */
static inline void rowops_refused(ed_graph *g, const ed_tensor *y, ed_status s, const char *part) {
    ed_error err = {0};
    assert_null(y);
    assert_int_equal(ed_graph_status(g, &err), s);
    if (!strstr(err.message, part))
        fail_msg("'%s' does not say '%s'", err.message, part);
    ed_graph_reset(g);
}

/** |a - b| <= tol * max(1, |a|, |b|), or equal (infinities), or both NaN. */
static inline void rowops_close(const char *what, double a, double b, double tol) {
    if (a == b || (isnan(a) && isnan(b)))
        return;
    if (!(fabs(a - b) <= tol * fmax(1, fmax(fabs(a), fabs(b)))))
        fail_msg("%s: %.10g is not %.10g", what, a, b);
}

static inline void rowops_equal(const char *what, const ed_tensor *t, const double *want, double tol) {
    for (int64_t i = 0; i < ed_numel(t); i++)
        rowops_close(what, ed_get(t, i), want[i], tol);
}

static inline ed_tensor *rowops_floats(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, double lo, double hi, ed_rng *rng) {
    ed_tensor *t = ed_new(g, dtype, rank, shape);
    rowops_must(g, t);
    for (int64_t i = 0; i < ed_numel(t); i++) {
        float v = (float)(lo + (hi - lo) * ed_rng_uniform(rng)); /* exact in both formats */
        if (dtype == ED_DTYPE_F64)
            ((double *)t->data)[i] = v;
        else
            ((float *)t->data)[i] = v;
    }
    return t;
}

static inline ed_tensor *rowops_feed(ed_graph *g, ed_dtype dtype, const rowops_in *in, ed_rng *rng) {
    if (in->id_limit <= 0) {
        bool wide = in->lo == 0 && in->hi == 0;
        ed_tensor *t = rowops_floats(g, dtype, in->rank, in->shape, wide ? -2 : in->lo, wide ? 2 : in->hi, rng);
        return in->constant ? t : ed_watch(g, t);
    }
    ed_tensor *t = ed_new(g, ED_DTYPE_I32, in->rank, in->shape);
    rowops_must(g, t);
    for (int64_t i = 0; i < ed_numel(t); i++)
        ((int32_t *)t->data)[i] = (int32_t)(in->id_low + (int64_t)ed_rng_below(rng, (uint64_t)(in->id_limit - in->id_low)));
    return t;
}

static inline double *rowops_doubles(const ed_tensor *t) {
    double *v = malloc(sizeof *v * (size_t)(ed_numel(t) + 1));
    assert_non_null(v);
    ed_copy_out_f64(t, v);
    return v;
}

/** fn called `copies` times on the same inputs; all calls seeded with one random cotangent. */
static inline rowops_result rowops_run(rowops_fn fn, const rowops_in *in, int n, ed_dtype dtype, int threads, int copies) {
    rowops_result r = {0};
    ed_tensor *x[ROWOPS_MAX_IN];
    ed_seed seeds[2];
    ed_error err = {0};
    ed_rng rng = ed_rng_make(5, 1);
    ed_graph *g = rowops_graph();
    ed_threads_set(threads);
    for (int i = 0; i < n; i++)
        x[i] = rowops_feed(g, dtype, &in[i], &rng);
    for (int k = 0; k < copies; k++) {
        seeds[k].tensor = fn(g, x);
        rowops_must(g, seeds[k].tensor);
    }
    ed_tensor *y = seeds[0].tensor;
    ed_tensor *dy = rowops_floats(g, dtype, y->rank, y->shape, -1, 1, &rng);
    for (int k = 0; k < copies; k++)
        seeds[k].cotangent = dy;
    assert_int_equal(ed_backward(g, seeds, copies, &err), ED_OK);
    r.y = rowops_doubles(y);
    r.ny = ed_numel(y);
    for (int i = 0; i < n; i++) {
        ed_tensor *d = in[i].id_limit > 0 || in[i].constant ? NULL : ed_grad(g, x[i]);
        r.n[i] = d ? ed_numel(d) : 0;
        r.grad[i] = d ? rowops_doubles(d) : NULL;
    }
    ed_graph_destroy(&g);
    ed_threads_set(0);
    return r;
}

static inline void rowops_free(rowops_result *r) {
    free(r->y);
    for (int i = 0; i < ROWOPS_MAX_IN; i++)
        free(r->grad[i]);
}

static inline void rowops_same_bits(const rowops_result *a, const rowops_result *b, int n) {
    assert_memory_equal(a->y, b->y, sizeof(double) * (size_t)a->ny);
    for (int i = 0; i < n; i++)
        if (a->n[i])
            assert_memory_equal(a->grad[i], b->grad[i], sizeof(double) * (size_t)a->n[i]);
}

static inline void rowops_near(const char *what, const rowops_result *a, const rowops_result *b, int n, double factor, double tol) {
    char text[128];
    for (int64_t k = 0; k < a->ny; k++)
        rowops_close(what, a->y[k], b->y[k], tol);
    for (int i = 0; i < n; i++) {
        assert_int_equal(a->n[i], b->n[i]);
        for (int64_t k = 0; k < a->n[i]; k++) {
            snprintf(text, sizeof text, "%s: gradient %d[%lld]", what, i, (long long)k);
            rowops_close(text, factor * a->grad[i][k], b->grad[i][k], tol);
        }
    }
}

/** Runs fn with the room for results (which = 0), scratch (1) or gradients (2) cut to growing sizes; rows of x[0] are strided, so that a copy is needed. */
static inline void rowops_caps(rowops_fn fn, const rowops_in *in, int n, int which) {
    bool done = false;
    for (size_t room = 1; !done; room = room * 16) {
        ed_tensor *x[ROWOPS_MAX_IN];
        ed_error err = {0};
        ed_rng rng = ed_rng_make(5, 1);
        ed_graph *g = rowops_graph();
        rowops_in wide = in[0];
        wide.shape[wide.rank - 1] *= 2;
        for (int i = 1; i < n; i++)
            x[i] = rowops_feed(g, ED_DTYPE_F32, &in[i], &rng);
        x[0] = ed_slice(g, rowops_feed(g, ED_DTYPE_F32, &wide, &rng), -1, 0, INT64_MAX, 2);
        rowops_must(g, x[0]);
        if (which == 0)
            ed_arena_set_cap(g->arena, ed_arena_used(g->arena) + room);
        if (which == 1)
            ed_arena_set_cap(g->scratch, room);
        if (which == 2)
            g->opts.cap_bytes = ed_arena_used(g->arena) + room;
        ed_seed seed = {fn(g, x), NULL};
        done = seed.tensor && ed_backward(g, &seed, 1, &err) == ED_OK;
        if (!done)
            assert_int_equal(ed_graph_status(g, &err), ED_E_LIMIT);
        assert_true(done || room < (size_t)1 << 40);
        ed_graph_destroy(&g);
    }
}

/** The whole check; tol is for F32 against F64. */
static inline void rowops_check(rowops_fn fn, const rowops_in *in, int n, double tol) {
    static const int threads[] = {2, 3, 7};
    for (int which = 0; which < 3; which++)
        rowops_caps(fn, in, n, which);
    for (int f64 = 0; f64 < 2; f64++) {
        ed_dtype dtype = f64 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        rowops_result one = rowops_run(fn, in, n, dtype, 1, 1);
        for (int t = 0; t < 3; t++) {
            rowops_result many = rowops_run(fn, in, n, dtype, threads[t], 1);
            rowops_same_bits(&one, &many, n);
            rowops_free(&many);
        }
        rowops_result twice = rowops_run(fn, in, n, dtype, 2, 2);
        rowops_near("second use", &one, &twice, n, 2, f64 ? 1e-12 : tol);
        rowops_free(&twice);
        if (!f64) {
            rowops_result exact = rowops_run(fn, in, n, ED_DTYPE_F64, 1, 1);
            rowops_near("f32 against f64", &one, &exact, n, 1, tol);
            rowops_free(&exact);
        }
        rowops_free(&one);
    }
}

#define ROWOPS_SHAPE(...) ((const int64_t[]){__VA_ARGS__})

#endif
