/* tests/grad/test_grad_index.c - gather, scatter, take, segments and top k against finite differences. */
#include "grad/gradcheck.h"

enum { ROWS = 6 }; /* rows that scatters and segments write */

/* I32 ids of a shape: spread over [low, limit), some of them repeated. */
static ed_tensor *ids_of(ed_graph *g, int rank, const int64_t *shape, int64_t low, int64_t limit) {
    ed_tensor *t = ed_new(g, ED_DTYPE_I32, rank, shape);
    for (int64_t i = 0; t && i < ed_numel(t); i++)
        ((int32_t *)t->data)[i] = (int32_t)(low + (i * i + 3 * i) % (limit - low));
    return t;
}

static ed_tensor *gather(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    (void)ctx;
    return ed_gather_rows(g, x[0], ids_of(g, 2, (const int64_t[]){2, 5}, 0, x[0]->shape[0]));
}
static ed_tensor *scatter_add(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)ctx;
    return ed_scatter_add_rows(g, x[0], ids_of(g, 1, x[0]->shape, 0, ROWS), n > 1 ? x[1] : NULL, ROWS);
}
static ed_tensor *scatter(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    (void)ctx;
    ed_tensor *ids = ed_new(g, ED_DTYPE_I32, 1, x[1]->shape);
    for (int64_t i = 0; ids && i < ed_numel(ids); i++)
        ((int32_t *)ids->data)[i] = (int32_t)(x[0]->shape[0] - 1 - i);
    return ed_scatter_rows(g, x[0], x[1], ids);
}
static ed_tensor *take(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    int64_t shape[ED_MAX_RANK];
    (void)n;
    (void)ctx;
    memcpy(shape, x[0]->shape, sizeof shape);
    shape[x[0]->rank - 1] = 4;
    return ed_take(g, x[0], ids_of(g, x[0]->rank, shape, 0, x[0]->shape[x[0]->rank - 1]));
}
static ed_tensor *segment(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    (void)n;
    return ed_segment_reduce(g, x[0], ids_of(g, 1, x[0]->shape, -1, ROWS), ROWS, *(ed_segment_kind *)ctx);
}
static ed_tensor *topk(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    int64_t last = x[0]->shape[x[0]->rank - 1];
    (void)n;
    (void)ctx;
    return ed_topk(g, x[0], last > 3 ? 3 : last, NULL);
}

static void all_kinds(void **state) {
    (void)state;
    static const gradcheck_in shapes[] = {{.rank = 1, .shape = {1}}, {.rank = 1, .shape = {8}}, {.rank = 2, .shape = {7, 1}}, {.rank = 2, .shape = {1, 5}}, {.rank = 2, .shape = {7, 9}}, {.rank = 3, .shape = {5, 2, 3}}, {.rank = 3, .shape = {3, 1, 4}}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        gradcheck_in weighted[] = {shapes[s], {.rank = 1, .shape = {shapes[s].shape[0]}}}, slots[] = {shapes[s], shapes[s]};
        slots[1].shape[0] = (shapes[s].shape[0] + 1) / 2;
        gradcheck("gather_rows", gather, NULL, &shapes[s], 1, 1e-8);
        gradcheck("scatter_add_rows", scatter_add, NULL, weighted, 1, 1e-8);
        gradcheck("scatter_add_rows, weighted", scatter_add, NULL, weighted, 2, 1e-8);
        gradcheck("scatter_rows", scatter, NULL, slots, 2, 1e-8);
        gradcheck("take", take, NULL, &shapes[s], 1, 1e-8);
        for (ed_segment_kind k = ED_SEGMENT_SUM; k <= ED_SEGMENT_MAX; k++)
            gradcheck("segment_reduce", segment, &k, &shapes[s], 1, 1e-8);
        gradcheck("topk", topk, NULL, &shapes[s], 1, 1e-8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
