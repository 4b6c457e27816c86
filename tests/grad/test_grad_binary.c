/* tests/grad/test_grad_binary.c - gradients of the broadcast ops of two tensors, and of where. */
#include "grad/twincheck.h"

typedef struct binary_case {
    const char *name;
    ed_binary kind;
    double a_lo, a_hi, b_lo, b_hi;
} binary_case;

static const binary_case cases[] = {
    {"add", ED_ADD, -1, 1, -1, 1},   {"sub", ED_SUB, -1, 1, -1, 1},        {"mul", ED_MUL, -2, 2, -2, 2},         {"div", ED_DIV, -2, 2, 0.5, 2},
    {"pow", ED_POW, 0.3, 2, -2, 2},  {"max2 a", ED_MAX, 0.5, 1, -0.5, 0.4}, {"max2 b", ED_MAX, -0.5, 0.4, 0.5, 1}, {"min2 a", ED_MIN, -0.5, 0.4, 0.5, 1},
    {"min2 b", ED_MIN, 0.5, 1, -0.5, 0.4},
};
enum { N_CASES = sizeof cases / sizeof *cases };

/* shapes of a and b: equal, bias, scalar, column, middle axis, both broadcast, size 1, other ranks */
static const struct {
    int ra;
    int64_t a[4];
    int rb;
    int64_t b[4];
} small[] = {
    {2, {3, 4}, 2, {3, 4}},       {3, {2, 3, 4}, 1, {4}},       {2, {3, 4}, 0, {0}},       {0, {0}, 2, {3, 4}},          {2, {3, 4}, 2, {3, 1}},
    {3, {2, 3, 4}, 3, {2, 1, 4}}, {3, {2, 1, 4}, 3, {1, 3, 1}}, {2, {1, 4}, 2, {3, 1}},    {1, {1}, 1, {1}},             {3, {2, 3, 4}, 3, {1, 3, 1}},
    {1, {4}, 3, {2, 3, 4}},       {0, {0}, 0, {0}},             {4, {2, 1, 3, 2}, 3, {4, 1, 2}}, {3, {3, 1, 1}, 3, {3, 2, 5}},
}, large[] = {
    {2, {70, 613}, 2, {70, 613}}, {2, {70, 613}, 1, {613}},     {2, {70, 613}, 0, {0}},    {2, {613, 70}, 2, {613, 1}},  {3, {5, 30, 600}, 3, {5, 1, 600}},
    {3, {40, 30, 40}, 2, {30, 1}}, {2, {1, 613}, 2, {70, 1}},
};

static ed_tensor *binary(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_binary_op(g, ((const binary_case *)ctx)->kind, x[0], x[1]);
}

static void fill(gradcheck_in in[2], int ra, const int64_t *a, int rb, const int64_t *b, const binary_case *c) {
    in[0] = (gradcheck_in){.rank = ra, .lo = c->a_lo, .hi = c->a_hi};
    in[1] = (gradcheck_in){.rank = rb, .lo = c->b_lo, .hi = c->b_hi};
    memcpy(in[0].shape, a, 4 * sizeof *a);
    memcpy(in[1].shape, b, 4 * sizeof *b);
}

static void kinds_by_differences(void **state) {
    gradcheck_in in[2];
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        binary_case c = cases[i];
        for (size_t k = 0; k < sizeof small / sizeof *small; k++) {
            char what[64];
            if (c.kind != ED_MUL && (k + (size_t)i) % 3) /* mul meets every shape, the others a third of them */
                continue;
            snprintf(what, sizeof what, "%s, shapes %zu", c.name, k);
            fill(in, small[k].ra, small[k].a, small[k].rb, small[k].b, &c);
            gradcheck(what, binary, &c, in, 2, 1e-7);
            twincheck(what, binary, &c, in, 2, 4e-6);
        }
    }
}

/* sums over many rows: the error allowed grows with the number of terms */
static void large_in_f32(void **state) {
    gradcheck_in in[2];
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        binary_case c = cases[i];
        for (size_t k = 0; k < sizeof large / sizeof *large; k++) {
            char what[64];
            if (c.kind != ED_MUL && (k + (size_t)i) % 4)
                continue;
            snprintf(what, sizeof what, "%s, large shapes %zu", c.name, k);
            fill(in, large[k].ra, large[k].a, large[k].rb, large[k].b, &c);
            twincheck(what, binary, &c, in, 2, k == 0 ? 4e-6 : 3e-5);
        }
    }
}

static ed_tensor *same_twice(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_mul(g, x[0], x[0]);
}

/* an expanded view (stride 0) of full shape on one side */
static ed_tensor *expanded(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n, (void)ctx;
    return ed_div(g, ed_expand(g, x[0], 3, (int64_t[]){2, 3, 4}), x[1]);
}

static void shared_operands(void **state) {
    (void)state;
    gradcheck_in one = {.rank = 2, .shape = {3, 5}}, two[2] = {{.rank = 2, .shape = {3, 1}}, {.rank = 3, .shape = {2, 3, 4}, .lo = 0.5, .hi = 2}};
    gradcheck("x * x", same_twice, NULL, &one, 1, 1e-8);
    gradcheck("expanded / x", expanded, NULL, two, 2, 1e-8);
    twincheck("x * x", same_twice, NULL, &one, 1, 1e-6);
    twincheck("expanded / x", expanded, NULL, two, 2, 4e-6);
}

/* ties, and the clamped base of pow: gradients by rule */
static void rules(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_dtype d = k ? ED_DTYPE_F64 : ED_DTYPE_F32;
        for (int op = 0; op < 3; op++) {
            ed_graph *g;
            ed_graph_opts o = ed_graph_opts_train();
            assert_int_equal(ed_graph_create(&o, &g), ED_OK);
            ed_tensor *a = ed_watch(g, ed_full(g, d, 1, (int64_t[]){3}, op == 2 ? -1 : 2)), *b = ed_watch(g, ed_full(g, d, 1, (int64_t[]){1}, 2));
            ed_tensor *y = op == 0 ? ed_max2(g, a, b) : op == 1 ? ed_min2(g, a, b) : ed_pow(g, a, b);
            assert_int_equal(ed_backward(g, &(ed_seed){y, NULL}, 1, NULL), ED_OK);
            for (int i = 0; i < 3; i++)
                assert_true(ed_get(ed_grad(g, a), i) == (op == 2 ? 0 : 1));
            double db = ed_get(ed_grad(g, b), 0), want = op == 2 ? 3e-18 * log(1e-9) : 0;
            assert_true(fabs(db - want) <= 1e-5 * fabs(want));
            ed_graph_destroy(&g);
        }
    }
}

typedef struct where_case {
    int rm;
    int64_t m[3];
} where_case;

static ed_tensor *where(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const where_case *c = ctx;
    uint8_t bits[4096];
    int64_t numel = 1;
    (void)n;
    for (int i = 0; i < c->rm; i++)
        numel *= c->m[i];
    for (int64_t i = 0; i < numel; i++)
        bits[i] = i % 3 == 0 || i % 5 == 1;
    return ed_where(g, ed_from(g, ED_DTYPE_BOOL, c->rm, c->m, bits), x[0], x[1]);
}

static void where_by_differences(void **state) {
    (void)state;
    where_case masks[] = {{3, {2, 3, 4}}, {2, {3, 1}}, {1, {4}}, {0, {0}}, {3, {1, 3, 4}}};
    gradcheck_in in[3][2] = {{{.rank = 3, .shape = {2, 3, 4}}, {.rank = 3, .shape = {2, 3, 4}}},
                             {{.rank = 3, .shape = {2, 1, 4}}, {.rank = 0}},
                             {{.rank = 1, .shape = {1}}, {.rank = 3, .shape = {2, 3, 1}}}};
    for (int m = 0; m < 5; m++) {
        for (int k = 0; k < 3; k++) {
            gradcheck("where", where, &masks[m], in[k], 2, 1e-8);
            twincheck("where", where, &masks[m], in[k], 2, 1e-6);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_by_differences), cmocka_unit_test(large_in_f32), cmocka_unit_test(shared_operands),
        cmocka_unit_test(rules),                cmocka_unit_test(where_by_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
