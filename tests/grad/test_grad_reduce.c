/* tests/grad/test_grad_reduce.c - gradients of the reductions and of cumsum, along each axis and over everything. */
#include "grad/twincheck.h"

typedef ed_tensor *(*reduce_fn)(ed_graph *g, ed_tensor *x, int axis, bool keep);
typedef struct reduce_case {
    const char *name;
    reduce_fn fn;
    int axis;
    bool keep;
} reduce_case;

static const struct {
    const char *name;
    reduce_fn fn;
} ops[] = {{"sum", ed_sum}, {"mean", ed_mean}, {"max", ed_max}, {"min", ed_min}, {"logsumexp", ed_logsumexp}};
enum { N_OPS = sizeof ops / sizeof *ops };

static ed_tensor *reduce(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const reduce_case *c = ctx;
    (void)n;
    return c->fn(g, x[0], c->axis, c->keep);
}

/* values far enough apart that a difference step changes no maximum */
static void all_axes(void **state) {
    static const int axes[] = {0, 1, 2, -1, ED_ALL_AXES};
    (void)state;
    for (int i = 0; i < N_OPS; i++) {
        for (int a = 0; a < 5; a++) {
            reduce_case c = {ops[i].name, ops[i].fn, axes[a], (i + a) % 2 == 0};
            gradcheck_in in = {.rank = 3, .shape = {3, 2, 4}, .lo = -3, .hi = 3}, one = {.rank = 3, .shape = {1, 1, 1}};
            char what[64];
            snprintf(what, sizeof what, "%s axis %d", c.name, c.axis);
            gradcheck(what, reduce, &c, &in, 1, 1e-7);
            gradcheck(what, reduce, &c, &one, 1, 1e-7);
            twincheck(what, reduce, &c, &in, 1, 2e-6);
        }
    }
}

static void large_in_f32(void **state) {
    static const int axes[] = {0, 1, 2, ED_ALL_AXES};
    (void)state;
    for (int i = 0; i < N_OPS; i++) {
        for (int a = 0; a < 4; a++) {
            reduce_case c = {ops[i].name, ops[i].fn, axes[a], false};
            gradcheck_in in = {.rank = 3, .shape = {9, 70, 130}}, wide = {.rank = 3, .shape = {2, 40, 1100}};
            char what[64];
            snprintf(what, sizeof what, "%s axis %d", c.name, c.axis);
            twincheck(what, reduce, &c, &in, 1, 1e-5);
            if (i < 2)
                twincheck(what, reduce, &c, &wide, 1, 1e-5);
        }
    }
}

static ed_tensor *scalar_sum(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_sum(g, x[0], ED_ALL_AXES, false);
}

/* a stride-0 view counts each copy */
static ed_tensor *expanded_sum(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_logsumexp(g, ed_mean(g, ed_expand(g, x[0], 3, (int64_t[]){3, 4, 6}), 0, true), 1, false);
}

static void odd_inputs(void **state) {
    (void)state;
    gradcheck_in number = {.rank = 0}, column = {.rank = 2, .shape = {4, 1}};
    gradcheck("sum of a number", scalar_sum, NULL, &number, 1, 1e-8);
    gradcheck("expanded", expanded_sum, NULL, &column, 1, 1e-8);
    twincheck("expanded", expanded_sum, NULL, &column, 1, 2e-6);
}

static ed_tensor *cumsum(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_cumsum(g, x[0], *(const int *)ctx);
}

static void cumsum_axes(void **state) {
    (void)state;
    for (int axis = -1; axis < 3; axis++) {
        gradcheck_in in = {.rank = 3, .shape = {3, 4, 5}}, large = {.rank = 3, .shape = {4, 33, 700}};
        gradcheck("cumsum", cumsum, &axis, &in, 1, 1e-8);
        twincheck("cumsum", cumsum, &axis, &in, 1, 2e-6);
        twincheck("cumsum", cumsum, &axis, &large, 1, 1e-5);
    }
}

/* ties: the whole gradient goes to the lowest index */
static void ties(void **state) {
    static const float x[2][4] = {{1, 3, 3, 0}, {-5, -5, -5, -5}};
    (void)state;
    for (int op = 0; op < 2; op++) {
        ed_graph *g;
        ed_graph_opts o = ed_graph_opts_train();
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *t = ed_watch(g, ed_from(g, ED_DTYPE_F32, 2, (int64_t[]){2, 4}, x));
        ed_tensor *y = op == 0 ? ed_max(g, t, 1, false) : ed_min(g, ed_neg(g, t), 1, false);
        assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
        for (int i = 0; i < 8; i++)
            assert_true(ed_get(ed_grad(g, t), i) == (i == 1 || i == 4 ? (op == 0 ? 1 : -1) : 0));
        ed_graph_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_axes),    cmocka_unit_test(large_in_f32), cmocka_unit_test(odd_inputs),
        cmocka_unit_test(cumsum_axes), cmocka_unit_test(ties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
