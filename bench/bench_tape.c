/* bench/bench_tape.c - what one small op costs: microseconds of processor time per op, plain forward, forward recorded on the tape, and backward. Tiny models
 * (thousands of updates, vectors of a few numbers) live on this figure; the aim is 0.3 us or less per op and direction.
 *
 * A chain of CHAIN ops of one kind runs on one thread; the best of REPEATS is reported, in processor time, so that neighbours on the machine matter little.
 *
 * usage: bench_tape [CSV]     with CSV: lines "op,numbers,plain_us,recorded_us,backward_us" */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "endec/attention.h"
#include "endec/ops.h"

enum { CHAIN = 2000, REPEATS = 60 };

typedef ed_tensor *(*op_fn)(ed_graph *g, ed_tensor *x, ed_tensor *const *extra);

static ed_tensor *add(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return ed_add(g, x, e[0]); }
static ed_tensor *mul(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return ed_mul(g, x, e[0]); }
static ed_tensor *bias(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return ed_add(g, x, e[1]); }
static ed_tensor *tanh_op(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return (void)e, ed_tanh(g, x); }
static ed_tensor *affine(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return (void)e, ed_affine(g, x, 0.999, 0); }
static ed_tensor *linear(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return ed_linear(g, x, e[2], e[1]); }
static ed_tensor *softmax(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return (void)e, ed_softmax(g, x, NULL, false); }
static ed_tensor *norm(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return ed_layer_norm(g, x, e[1], e[1], 1e-5); }
static ed_tensor *views(ed_graph *g, ed_tensor *x, ed_tensor *const *e) { return (void)e, ed_transpose(g, ed_reshape(g, x, 2, x->shape), 0, 0); }

typedef struct cost {
    double plain, recorded, backward; /* us per op */
} cost;

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(ed_graph *g) {
    ed_error err;
    char text[1024];
    ed_graph_status(g, &err);
    fprintf(stderr, "bench_tape: %s\n", ed_error_text(&err, text, sizeof text));
    exit(1);
}

/** Leaves of one pass: x [1, n], extra: same shape, vector [n], matrix [n, n]. */
static ed_tensor *leaves(ed_graph *g, int64_t n, ed_tensor **extra) {
    extra[0] = ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, (int64_t[]){1, n}, 0.999));
    extra[1] = ed_watch(g, ed_full(g, ED_DTYPE_F32, 1, &n, 0.001));
    extra[2] = ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, (int64_t[]){n, n}, 1.0 / (double)n));
    return ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, (int64_t[]){1, n}, 0.5));
}

static double chain(ed_graph *g, op_fn op, ed_tensor **x, ed_tensor *const *extra) {
    double start = cpu_s();
    for (int i = 0; i < CHAIN; i++)
        *x = op(g, *x, extra);
    double spent = cpu_s() - start;
    if (!*x)
        fail(g);
    return spent;
}

static cost measure(ed_graph *g, op_fn op, int64_t n) {
    cost best = {INFINITY, INFINITY, INFINITY};
    for (int r = 0; r < REPEATS; r++) {
        ed_tensor *extra[3], *x;
        ed_graph_reset(g);
        ed_graph_set_record(g, false);
        x = leaves(g, n, extra);
        best.plain = fmin(best.plain, chain(g, op, &x, extra));
        ed_graph_reset(g);
        ed_graph_set_record(g, true);
        x = leaves(g, n, extra);
        best.recorded = fmin(best.recorded, chain(g, op, &x, extra));
        double start = cpu_s();
        if (ed_backward(g, &(ed_seed){x, NULL}, 1, NULL) != ED_OK)
            fail(g);
        best.backward = fmin(best.backward, cpu_s() - start);
    }
    double us = 1e6 / CHAIN;
    return (cost){best.plain * us, best.recorded * us, best.backward * us};
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        op_fn op;
    } ops[] = {{"add", add}, {"mul", mul}, {"add row", bias}, {"tanh", tanh_op}, {"affine", affine}, {"linear n x n", linear}, {"softmax", softmax},
               {"layer norm", norm}, {"2 views", views}};
    static const int64_t sizes[] = {1, 8, 64};
    FILE *csv = argc > 1 ? fopen(argv[1], "w") : NULL;
    ed_graph_opts o = ed_graph_opts_train();
    ed_graph *g;
    if ((argc > 1 && !csv) || ed_graph_create(&o, &g) != ED_OK) {
        fprintf(stderr, "bench_tape: cannot start\n");
        return 1;
    }
    ed_threads_set(1);
    printf("%-14s %8s %12s %12s %12s   us of processor time per op\n", "op", "numbers", "plain", "recorded", "backward");
    if (csv)
        fprintf(csv, "op,numbers,plain_us,recorded_us,backward_us\n");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            cost c = measure(g, ops[i].op, sizes[k]);
            printf("%-14s %8lld %12.3f %12.3f %12.3f\n", ops[i].name, (long long)sizes[k], c.plain, c.recorded, c.backward);
            if (csv)
                fprintf(csv, "%s,%lld,%.4f,%.4f,%.4f\n", ops[i].name, (long long)sizes[k], c.plain, c.recorded, c.backward);
        }
    }
    ed_graph_destroy(&g);
    return csv && fclose(csv) != 0;
}
