/* tests/grad/test_grad_softmax.c - softmax and log-softmax against finite differences. */
#include "grad/gradcheck.h"

typedef struct options {
    bool masked, one;
} options;

static ed_tensor *mask_of(ed_graph *g, const ed_tensor *x, const options *o) {
    if (!o->masked)
        return NULL;
    ed_tensor *m = ed_new(g, ED_DTYPE_BOOL, x->rank, x->shape);
    for (int64_t i = 0; m && i < ed_numel(m); i++)
        ((uint8_t *)m->data)[i] = i * 2654435761u % 7 > 2;
    return m;
}

static ed_tensor *softmax(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const options *o = ctx;
    (void)n;
    return ed_softmax(g, x[0], mask_of(g, x[0], o), o->one);
}

/* left-out elements are -inf, which has no finite difference: only the kept ones are compared */
static ed_tensor *log_softmax(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    (void)ctx;
    return ed_log_softmax(g, x[0], NULL);
}

static ed_tensor *log_softmax_kept(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    int32_t ids[] = {0, 2, 3, 0, 2, 3, 0, 2, 3};
    uint8_t keep[] = {1, 0, 1, 1, 0};
    (void)n;
    (void)ctx;
    ed_tensor *mask = ed_from(g, ED_DTYPE_U8, 1, (const int64_t[]){5}, keep);
    return ed_take(g, ed_log_softmax(g, x[0], mask), ed_from(g, ED_DTYPE_I32, 2, (const int64_t[]){3, 3}, ids));
}

static void all_kinds(void **state) {
    (void)state;
    const gradcheck_in shapes[] = {{.rank = 1, .shape = {1}}, {.rank = 1, .shape = {9}}, {.rank = 2, .shape = {1, 1}}, {.rank = 2, .shape = {7, 1}}, {.rank = 2, .shape = {1, 8}}, {.rank = 2, .shape = {5, 6}, .lo = -4, .hi = 4}, {.rank = 3, .shape = {2, 3, 5}, .lo = -4, .hi = 4}, {.rank = 4, .shape = {2, 1, 3, 4}, .lo = -4, .hi = 4}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (int k = 0; k < 4; k++) {
            options o = {.masked = k & 1, .one = k >> 1};
            gradcheck("softmax", softmax, &o, &shapes[s], 1, 1e-8);
        }
        gradcheck("log_softmax", log_softmax, NULL, &shapes[s], 1, 1e-8);
    }
    const gradcheck_in masked = {.rank = 2, .shape = {3, 5}};
    gradcheck("log_softmax, masked", log_softmax_kept, NULL, &masked, 1, 1e-8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
