/* tests/grad/test_grad_view.c - gradients through views, copies and the control ops. */
#include "grad/twincheck.h"

/* a square after each view, so that a gradient that lands on the wrong element shows */
#define THEN_SQUARE(name, expr)                                                     \
    static ed_tensor *name(ed_graph *g, ed_tensor **x, int n, void *ctx) {          \
        (void)n, (void)ctx;                                                         \
        return ed_square(g, expr);                                                  \
    }
THEN_SQUARE(reshape, ed_reshape(g, x[0], 3, (int64_t[]){2, -1, 3}))
THEN_SQUARE(reshape_copy, ed_reshape(g, ed_transpose(g, x[0], 0, 1), 1, (int64_t[]){-1}))
THEN_SQUARE(permute, ed_permute(g, x[0], (int[]){1, 0}))
THEN_SQUARE(slice, ed_slice(g, ed_slice(g, x[0], 1, 1, INT64_MAX, 2), 0, 1, 3, 1))
THEN_SQUARE(overlap, ed_mul(g, ed_slice(g, x[0], 1, 0, -1, 1), ed_slice(g, x[0], 1, 1, INT64_MAX, 1)))
THEN_SQUARE(expand, ed_expand(g, ed_unsqueeze(g, x[0], 1), 4, (int64_t[]){2, 4, 3, 6}))
THEN_SQUARE(squeeze, ed_squeeze(g, ed_unsqueeze(g, x[0], -1), 2))
THEN_SQUARE(diagonal, ed_diagonal(g, x[0]))
THEN_SQUARE(contiguous, ed_contiguous(g, ed_transpose(g, x[0], 0, 1)))

static void views(void **state) {
    static const struct {
        const char *name;
        gradcheck_fn fn;
    } cases[] = {{"reshape", reshape},   {"reshape_copy", reshape_copy}, {"permute", permute},   {"slice", slice},          {"overlap", overlap},
                 {"expand", expand},     {"squeeze", squeeze},           {"diagonal", diagonal}, {"contiguous", contiguous}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gradcheck_in in = {.rank = 2, .shape = {4, 6}};
        gradcheck(cases[i].name, cases[i].fn, NULL, &in, 1, 1e-8);
        twincheck(cases[i].name, cases[i].fn, NULL, &in, 1, 1e-6);
    }
}

static ed_tensor *concat(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    return ed_concat(g, x, n, *(const int *)ctx);
}

/* more strided operands than one backward call may hold */
static ed_tensor *concat_many(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    ed_tensor *parts[40];
    (void)n, (void)ctx;
    for (int i = 0; i < 40; i++)
        parts[i] = ed_slice(g, ed_transpose(g, x[0], 0, 1), 1, i % 3, i % 3 + 2, 1);
    return ed_concat(g, parts, 40, 0);
}

static void concats(void **state) {
    (void)state;
    for (int axis = 0; axis < 3; axis++) {
        gradcheck_in in[3];
        for (int i = 0; i < 3; i++) {
            in[i] = (gradcheck_in){.rank = 3, .shape = {2, 3, 4}};
            in[i].shape[axis] = i + 1;
        }
        gradcheck("concat", concat, &axis, in, 3, 1e-8);
        twincheck("concat", concat, &axis, in, 3, 1e-6);
    }
    gradcheck_in one = {.rank = 2, .shape = {4, 3}};
    gradcheck("concat of 40", concat_many, NULL, &one, 1, 1e-7);
}

static ed_tensor *pad(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_pad(g, x[0], (int64_t[]){2, 0, 3}, (int64_t[]){1, 2, 1}, *(const ed_pad_kind *)ctx, 0.5);
}

static void pads(void **state) {
    (void)state;
    for (int k = ED_PAD_CONSTANT; k <= ED_PAD_REFLECT; k++) {
        ed_pad_kind kind = (ed_pad_kind)k;
        gradcheck_in in = {.rank = 3, .shape = {3, 3, 4}};
        gradcheck("pad", pad, &kind, &in, 1, 1e-8);
        twincheck("pad", pad, &kind, &in, 1, 1e-6);
    }
}

/* to the other format and back: every step is exact in f64 except the rounding to f32 */
static ed_tensor *cast_there(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_cast(g, ed_square(g, ed_cast(g, x[0], *(const ed_dtype *)ctx)), ED_DTYPE_F64);
}

static void casts(void **state) {
    (void)state;
    static const struct {
        ed_dtype from, via;
        double tol;
    } cases[] = {{ED_DTYPE_F64, ED_DTYPE_F32, 1e-6}, {ED_DTYPE_F32, ED_DTYPE_F64, 1e-6}};
    for (int i = 0; i < 2; i++) {
        ed_graph *g;
        ed_graph_opts o = ed_graph_opts_train();
        ed_dtype via = cases[i].via;
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *x = ed_watch(g, ed_full(g, cases[i].from, 1, (int64_t[]){5}, 0.75));
        ed_tensor *y = cast_there(g, &x, 1, &via);
        assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
        for (int k = 0; k < 5; k++)
            assert_true(fabs(ed_get(ed_grad(g, x), k) - 1.5) < cases[i].tol);
        ed_graph_destroy(&g);
    }
    /* a 16-bit leaf gets its gradient in f32 */
    for (int k = 0; k < 2; k++) {
        ed_graph *g;
        ed_graph_opts o = ed_graph_opts_train();
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *x = ed_watch(g, ed_full(g, k ? ED_DTYPE_BF16 : ED_DTYPE_F16, 2, (int64_t[]){3, 2}, 1.5));
        ed_tensor *y = ed_square(g, ed_cast(g, ed_transpose(g, x, 0, 1), ED_DTYPE_F32));
        assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
        for (int i = 0; i < 6; i++)
            assert_true(ed_get(ed_grad(g, x), i) == 3);
        ed_graph_destroy(&g);
    }
}

static ed_tensor *stop(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_add(g, x[0], ed_mul(g, ed_stop_grad(g, ed_square(g, x[1])), x[1]));
}

/* stop_grad cannot be checked by differences: x0 + sg(x1^2) * x1 has gradients 1 and x1^2 */
static void stop_grad_blocks(void **state) {
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    ed_tensor *x[2];
    (void)state;
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    for (int i = 0; i < 2; i++)
        x[i] = ed_watch(g, ed_full(g, ED_DTYPE_F64, 1, (int64_t[]){3}, 1.5 + i));
    ed_tensor *y = stop(g, x, 2, NULL), *cut = ed_stop_grad(g, ed_transpose(g, ed_reshape(g, x[0], 2, (int64_t[]){3, 1}), 0, 1));
    assert_false(ed_needs_grad(cut));
    assert_true(cut->data == x[0]->data);
    assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
    assert_true(ed_get(ed_grad(g, x[0]), 1) == 1);
    assert_true(ed_get(ed_grad(g, x[1]), 1) == 6.25);
    ed_graph_destroy(&g);
}

static ed_tensor *dropout(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_dropout(g, x[0], 0.3, 99, *(const bool *)ctx);
}

static void dropouts(void **state) {
    (void)state;
    for (int r = 0; r < 2; r++) {
        bool rows = r != 0;
        gradcheck_in in = {.rank = 2, .shape = {9, 13}}, large = {.rank = 3, .shape = {50, 7, 171}};
        gradcheck("dropout", dropout, &rows, &in, 1, 1e-8);
        twincheck("dropout", dropout, &rows, &in, 1, 1e-6);
        twincheck("dropout", dropout, &rows, &large, 1, 1e-6);
    }
}

/* inside a checkpoint the second forward draws the same mask as the first */
static ed_tensor *noisy(void *ctx, ed_graph *g, ed_tensor **in, int n) {
    (void)ctx, (void)n;
    return ed_mul(g, ed_dropout(g, ed_square(g, in[0]), 0.4, 5, false), ed_exp(g, in[1]));
}
static ed_tensor *checkpointed(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    return ed_checkpoint(g, noisy, ctx, x, n);
}

static void checkpoints(void **state) {
    (void)state;
    gradcheck_in in[2] = {{.rank = 2, .shape = {4, 5}}, {.rank = 1, .shape = {5}}};
    gradcheck("checkpoint", checkpointed, NULL, in, 2, 1e-8);
    twincheck("checkpoint", checkpointed, NULL, in, 2, 4e-6);
}

/* scale_grad and ste define their gradients; values are x and q */
static void steered(void **state) {
    (void)state;
    for (int k = 0; k < 8; k++) {
        ed_dtype d = k & 1 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        bool to_q = (k & 2) != 0, strided = (k & 4) != 0;
        ed_graph *g;
        ed_graph_opts o = ed_graph_opts_train();
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        ed_tensor *x = ed_watch(g, ed_full(g, d, 2, (int64_t[]){3, 4}, 1.25)), *q = ed_watch(g, ed_full(g, d, 2, (int64_t[]){3, 4}, 0.3));
        ed_tensor *xv = strided ? ed_transpose(g, x, 0, 1) : x, *qv = strided ? ed_transpose(g, q, 0, 1) : q;
        ed_tensor *s = ed_scale_grad(g, xv, -0.5), *y = ed_ste(g, s, qv, to_q);
        assert_true(ed_get(s, 5) == 1.25 && ed_get(y, 5) == ed_get(q, 5));
        assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
        assert_true(ed_get(ed_grad(g, x), 7) == -0.5);
        ed_tensor *dq = ed_grad(g, q);
        assert_true((dq ? ed_get(dq, 7) : 0) == (to_q ? 1 : 0));
        ed_graph_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views),            cmocka_unit_test(concats),  cmocka_unit_test(pads),    cmocka_unit_test(casts),
        cmocka_unit_test(stop_grad_blocks), cmocka_unit_test(dropouts), cmocka_unit_test(steered),
        cmocka_unit_test(checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
