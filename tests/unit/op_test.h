/* tests/unit/op_test.h - what the op tests share: a graph, tensors with known values, comparison with a naive twin, expected failures. */
#ifndef OP_TEST_H
#define OP_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "endec/ops.h"

#define SHAPE(...) ((int64_t[]){__VA_ARGS__})
#define RANK(...) ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define DIMS(...) RANK(__VA_ARGS__), SHAPE(__VA_ARGS__)

static ed_graph *new_graph(bool train) {
    ed_graph *g;
    ed_graph_opts o = train ? ed_graph_opts_train() : ed_graph_opts_infer();
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    return g;
}

/** The last call gave NULL, the graph holds this status, and after a reset it works again. */
static void assert_fails(ed_graph *g, const ed_tensor *result, ed_status want) {
    assert_null(result);
    assert_int_equal(ed_graph_status(g, NULL), want);
    ed_graph_reset(g);
    assert_int_equal(ed_graph_status(g, NULL), ED_OK);
}

/** Values that no two elements share: 0, 1, 2, ... times step plus start. */
static inline ed_tensor *ramp(ed_graph *g, ed_dtype d, int rank, const int64_t *shape, double start, double step) {
    ed_tensor *t = ed_new(g, ED_DTYPE_F64, rank, shape);
    for (int64_t i = 0; i < ed_numel(t); i++)
        ((double *)t->data)[i] = start + step * (double)i;
    return ed_cast(g, t, d);
}

static inline ed_tensor *noise(ed_graph *g, ed_dtype d, int rank, const int64_t *shape, uint32_t stream) {
    ed_rng r = ed_rng_make(3, stream);
    ed_tensor *t = ed_new(g, ED_DTYPE_F64, rank, shape);
    for (int64_t i = 0; i < ed_numel(t); i++)
        ((double *)t->data)[i] = 2 * ed_rng_uniform(&r) - 1;
    return ed_cast(g, t, d);
}

/** Shape and every value; want in row-major order. */
static inline void assert_tensor(const ed_tensor *t, int rank, const int64_t *shape, const double *want, double tol) {
    assert_non_null(t);
    assert_int_equal(t->rank, rank);
    for (int d = 0; d < rank; d++)
        assert_int_equal(t->shape[d], shape[d]);
    for (int64_t i = 0; i < ed_numel(t); i++) {
        double v = ed_get(t, i);
        if (!(fabs(v - want[i]) <= tol * fmax(1, fabs(want[i]))) && !(v == want[i]) && !(isnan(v) && isnan(want[i])))
            fail_msg("element %lld: %.17g, expected %.17g", (long long)i, v, want[i]);
    }
}

#endif
