/* tests/grad/test_grad_rope.c - rotary positions against finite differences. */
#include "grad/gradcheck.h"

typedef struct options {
    int64_t rotary, heads;
    ed_rope_kind kind;
} options;

static ed_tensor *rope(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    const options *o = ctx;
    (void)n;
    ed_tensor *pos = ed_new(g, ED_DTYPE_I32, x[0]->rank - (o->heads ? 2 : 1), x[0]->shape);
    for (int64_t i = 0; pos && i < ed_numel(pos); i++)
        ((int32_t *)pos->data)[i] = (int32_t)(i * 7 % 5);
    return ed_rope(g, x[0], pos, o->rotary, 100, 0.7, o->kind);
}

static void all_kinds(void **state) {
    (void)state;
    static const gradcheck_in shapes[] = {{.rank = 2, .shape = {1, 1}}, {.rank = 2, .shape = {1, 2}}, {.rank = 2, .shape = {3, 7}}, {.rank = 3, .shape = {2, 3, 6}}, {.rank = 4, .shape = {2, 3, 2, 6}}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int64_t rotary = 0; rotary <= shapes[s].shape[shapes[s].rank - 1]; rotary += 2)
            for (int k = 0; k < 4; k++) {
                options o = {rotary, k & 1, (ed_rope_kind)(k >> 1)};
                gradcheck("rope", rope, &o, &shapes[s], 1, 1e-8);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
