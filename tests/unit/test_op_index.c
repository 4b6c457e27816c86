/* tests/unit/test_op_index.c - gather, scatter, take, segments, top k, sort, nearest rows: closed forms, naive twins, bad ids, ties, empty shapes,
 * thread counts. */
#include "rowops.h"

static ed_tensor *ints(ed_graph *g, int64_t n, const int32_t *v) {
    return ed_from(g, ED_DTYPE_I32, 1, &n, v);
}

static void store(ed_tensor *t, int64_t i, double v) {
    if (t->dtype == ED_DTYPE_F64)
        ((double *)t->data)[i] = v;
    else
        ((float *)t->data)[i] = (float)v;
}

static void expect_ints(const ed_tensor *t, const int32_t *want) {
    assert_int_equal(t->dtype, ED_DTYPE_I32);
    for (int64_t i = 0; i < ed_numel(t); i++)
        assert_int_equal((int32_t)ed_get(t, i), want[i]);
}

static void gather_values(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float table[] = {0, 1, 10, 11, 20, 21};
    int32_t ids[] = {2, 0, 2, 1};
    const double want[] = {20, 21, 0, 1, 20, 21, 10, 11};
    ed_tensor *t = ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(3, 2), table), *i = ed_from(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(2, 2), ids);
    ed_tensor *y = ed_gather_rows(g, t, i);
    rowops_must(g, y);
    assert_int_equal(y->rank, 3);
    rowops_equal("gather", y, want, 0);
    /* ids of a strided view, a rank-0 id, a vector table, integer and half-precision tables */
    const double across[] = {20, 21, 20, 21, 0, 1, 10, 11};
    rowops_equal("strided ids", ed_gather_rows(g, t, ed_transpose(g, i, 0, 1)), across, 0);
    const double row2[] = {20, 21};
    rowops_equal("one id", ed_gather_rows(g, t, ed_from(g, ED_DTYPE_I32, 0, NULL, ids)), row2, 0);
    const double column[] = {21, 1, 21, 11};
    rowops_equal("strided table", ed_gather_rows(g, ed_slice(g, t, 1, 1, 2, 1), ints(g, 4, ids)), column, 0);
    int32_t vec[] = {7, 8, 9};
    expect_ints(ed_gather_rows(g, ints(g, 3, vec), ints(g, 4, ids)), (const int32_t[]){9, 7, 9, 8});
    uint16_t half[6];
    for (int k = 0; k < 6; k++)
        half[k] = ed_f32_to_bf16(table[k]);
    y = ed_gather_rows(g, ed_from(g, ED_DTYPE_BF16, 2, ROWOPS_SHAPE(3, 2), half), ints(g, 4, ids));
    assert_int_equal(y->dtype, ED_DTYPE_F32);
    rowops_equal("bf16", y, want, 0);
    ed_graph_destroy(&g);
}

static void gather_sparse(void **state) {
    (void)state;
    ed_params *set = NULL;
    ed_param *p = NULL;
    ed_grads *grads = NULL;
    assert_int_equal(ed_params_create(&set), ED_OK);
    assert_int_equal(ed_params_add(set, "table", ED_DTYPE_F32, 2, ROWOPS_SHAPE(100, 3), &p, NULL), ED_OK);
    p->row_sparse = true;
    assert_int_equal(ed_grads_create(set, NULL, ED_DTYPE_F32, &grads, NULL), ED_OK);
    ed_graph *g = rowops_graph();
    ed_graph_set_grads(g, grads);
    int32_t ids[] = {70, 3, 70};
    ed_tensor *y = ed_gather_rows(g, ed_use(g, p), ints(g, 3, ids));
    ed_seed seed = {y, NULL};
    rowops_must(g, y);
    assert_int_equal(ed_backward(g, &seed, 1, NULL), ED_OK);
    const int32_t *touched = NULL;
    const void *rows = NULL;
    assert_int_equal(ed_grads_rows_of(grads, p, &touched, &rows), 2);
    assert_int_equal(touched[0], 3);
    assert_int_equal(touched[1], 70);
    assert_true(((const float *)rows)[0] == 1 && ((const float *)rows)[5] == 2);
    ed_graph_destroy(&g);
    ed_grads_destroy(&grads);
    ed_params_destroy(&set);
}

static void scatter_values(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 10, 100}, base[] = {-1, -2, -3, -4, -5, -6};
    int32_t ids[] = {3, 0, 3}, pick[] = {2, 0};
    ed_tensor *tx = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(3, 2), x), *i = ints(g, 3, ids);
    const double sum[] = {3, 4, 0, 0, 0, 0, 6, 8}, weighted[] = {30, 40, 0, 0, 0, 0, 501, 602};
    rowops_equal("scatter_add", ed_scatter_add_rows(g, tx, i, NULL, 4), sum, 0);
    rowops_equal("scatter_add weighted", ed_scatter_add_rows(g, tx, i, ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(3), w), 4), weighted, 0);
    const double put[] = {3, 4, -3, -4, 1, 2};
    ed_tensor *tb = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(3, 2), base);
    rowops_equal("scatter_rows", ed_scatter_rows(g, tb, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 2), x), ints(g, 2, pick)), put, 0);
    assert_true(ed_get(tb, 0) == -1);
    ed_graph_destroy(&g);
}

static void take_values(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {1, 2, 3, 4, 5, 6};
    int32_t ids[] = {2, 2, 0, 1}, whole[] = {10, 20, 30, 40, 50, 60};
    const double want[] = {3, 3, 4, 5};
    ed_tensor *i = ed_from(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(2, 2), ids);
    rowops_equal("take", ed_take(g, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 3), x), i), want, 0);
    expect_ints(ed_take(g, ed_from(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(2, 3), whole), i), (const int32_t[]){30, 30, 40, 50});
    ed_graph_destroy(&g);
}

static void segment_values(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10};
    int32_t ids[] = {2, 0, -1, 2, 2};
    ed_tensor *tx = ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(5, 2), x), *i = ints(g, 5, ids);
    const double sum[] = {3, -4, 0, 0, 17, -20}, mean[] = {3, -4, 0, 0, 17 / 3.0, -20 / 3.0}, top[] = {3, -4, 0, 0, 9, -2};
    rowops_equal("sum", ed_segment_reduce(g, tx, i, 3, ED_SEGMENT_SUM), sum, 0);
    rowops_equal("mean", ed_segment_reduce(g, tx, i, 3, ED_SEGMENT_MEAN), mean, 1e-15);
    rowops_equal("max", ed_segment_reduce(g, tx, i, 3, ED_SEGMENT_MAX), top, 0);
    /* ties: the gradient of the maximum goes to the first */
    double tie[] = {5, 5, 5};
    int32_t zero[] = {0, 0, 0};
    ed_tensor *t = ed_watch(g, ed_from(g, ED_DTYPE_F64, 1, ROWOPS_SHAPE(3), tie)), *y = ed_segment_reduce(g, t, ints(g, 3, zero), 1, ED_SEGMENT_MAX);
    ed_seed seed = {y, NULL};
    rowops_must(g, y);
    assert_int_equal(ed_backward(g, &seed, 1, NULL), ED_OK);
    rowops_equal("first of ties", ed_grad(g, t), (const double[]){1, 0, 0}, 0);
    ed_graph_destroy(&g);
}

/* Selection by repeated scan, NaN the largest, ties to the lowest index. */
static void topk_twin(const double *x, int64_t n, int64_t k, double *v, int32_t *id) {
    uint8_t used[64] = {0};
    for (int64_t m = 0; m < k; m++) {
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++)
            if (!used[i] && (best < 0 || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best]))))
                best = i;
        used[best] = 1;
        v[m] = x[best];
        id[m] = (int32_t)best;
    }
}

static void topk_values(void **state) {
    (void)state;
    ed_rng rng = ed_rng_make(9, 0);
    for (int64_t n = 1; n <= 40; n += 3)
        for (int64_t k = 0; k <= n; k += 1 + n / 5) {
            ed_graph *g = rowops_graph();
            bool f64 = k % 2;
            ed_tensor *x = rowops_floats(g, f64 ? ED_DTYPE_F64 : ED_DTYPE_F32, 2, ROWOPS_SHAPE(6, n), 0, 1, &rng), *ids = NULL;
            for (int64_t i = 0; i < 6 * n; i++) { /* few distinct values; the last row with special ones */
                double v = floor(ed_get(x, i) * 8) - 4, special[] = {NAN, INFINITY, -INFINITY, -0.0, 0.0, 1, NAN, 2};
                v = i >= 5 * n ? special[(int)v + 4] : v;
                store(x, i, v);
            }
            ed_tensor *y = ed_topk(g, x, k, &ids);
            rowops_must(g, y);
            for (int64_t r = 0; r < 6; r++) {
                double row[64], v[64];
                int32_t id[64];
                for (int64_t j = 0; j < n; j++)
                    row[j] = ed_get(x, r * n + j);
                topk_twin(row, n, k, v, id);
                for (int64_t m = 0; m < k; m++) {
                    rowops_close("top", ed_get(y, r * k + m), v[m], 0);
                    assert_int_equal((int32_t)ed_get(ids, r * k + m), id[m]);
                }
            }
            ed_graph_destroy(&g);
        }
}

static void argsort_values(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    int32_t v[] = {5, -1, 5, INT32_MIN, INT32_MAX, 0, -1, 65536, 255, 256};
    expect_ints(ed_argsort_i32(g, ints(g, 10, v)), (const int32_t[]){3, 1, 6, 5, 0, 2, 8, 9, 7, 4});
    ed_rng rng = ed_rng_make(2, 0);
    int32_t many[3000];
    for (int i = 0; i < 3000; i++)
        many[i] = (int32_t)ed_rng_u64(&rng) >> (i % 32);
    ed_tensor *y = ed_argsort_i32(g, ints(g, 3000, many));
    const int32_t *at = y->data;
    for (int i = 1; i < 3000; i++)
        assert_true(many[at[i - 1]] < many[at[i]] || (many[at[i - 1]] == many[at[i]] && at[i - 1] < at[i]));
    ed_graph_destroy(&g);
}

static void refusals(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const int64_t xs[] = {3, 2};
    int32_t high[] = {0, 3, 1}, low[] = {0, 1, -1}, twice[] = {1, 1}, under[] = {-2, 0, 0};
#define X ed_zeros(g, ED_DTYPE_F32, 2, xs)
    rowops_refused(g, ed_gather_rows(g, X, ints(g, 3, high)), ED_E_RANGE, "id 3 at position 1 is outside [0, 3)");
    rowops_refused(g, ed_gather_rows(g, X, ints(g, 3, low)), ED_E_RANGE, "id -1 at position 2");
    rowops_refused(g, ed_gather_rows(g, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(0, 2)), ints(g, 3, low)), ED_E_RANGE, "[0, 0)");
    rowops_refused(g, ed_gather_rows(g, X, X), ED_E_DTYPE, "ids are f32");
    rowops_refused(g, ed_scatter_add_rows(g, X, ints(g, 3, high), NULL, 3), ED_E_RANGE, "id 3");
    rowops_refused(g, ed_scatter_add_rows(g, X, ints(g, 2, high), NULL, 9), ED_E_SHAPE, "one id per row");
    rowops_refused(g, ed_scatter_add_rows(g, X, ints(g, 3, high), ed_zeros(g, ED_DTYPE_F32, 1, ROWOPS_SHAPE(2)), 9), ED_E_SHAPE, "weights");
    rowops_refused(g, ed_scatter_rows(g, X, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 2)), ints(g, 2, twice)), ED_E_INVALID, "id 1 stands twice");
    rowops_refused(g, ed_scatter_rows(g, X, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 3)), ints(g, 2, twice)), ED_E_SHAPE, "rows");
    rowops_refused(g, ed_segment_reduce(g, X, ints(g, 3, high), 3, ED_SEGMENT_SUM), ED_E_RANGE, "id 3");
    rowops_refused(g, ed_segment_reduce(g, X, ints(g, 3, under), 3, ED_SEGMENT_MAX), ED_E_RANGE, "id -2");
    rowops_refused(g, ed_take(g, X, ed_full(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(3, 1), 2)), ED_E_RANGE, "id 2 at position 0");
    rowops_refused(g, ed_take(g, X, ed_zeros(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(2, 1))), ED_E_SHAPE, "axes");
    rowops_refused(g, ed_topk(g, X, 3, NULL), ED_E_RANGE, "k = 3");
    rowops_refused(g, ed_topk(g, X, -1, NULL), ED_E_RANGE, "k = -1");
    rowops_refused(g, ed_argsort_i32(g, X), ED_E_DTYPE, "keys");
    rowops_refused(g, ed_nearest_rows(g, X, X, 4, ED_NEAREST_L2, NULL), ED_E_RANGE, "k = 4");
    rowops_refused(g, ed_nearest_rows(g, X, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(3, 5)), 1, ED_NEAREST_L2, NULL), ED_E_SHAPE, "one d");
#undef X
    ed_graph_destroy(&g);
}

static void empty_shapes(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    const int64_t none[] = {0}, x02[] = {0, 2}, x30[] = {3, 0};
    ed_tensor *no_ids = ed_zeros(g, ED_DTYPE_I32, 1, none), *ids = ed_zeros(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(3));
    ed_tensor *a = ed_watch(g, ed_zeros(g, ED_DTYPE_F32, 2, x02)), *b = ed_watch(g, ed_zeros(g, ED_DTYPE_F32, 2, x30));
    ed_tensor *t = ed_watch(g, ed_full(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(3, 2), 4));
    ed_seed seeds[] = {{ed_gather_rows(g, t, no_ids), NULL},
                       {ed_gather_rows(g, b, ids), NULL},
                       {ed_scatter_add_rows(g, a, no_ids, NULL, 3), NULL},
                       {ed_scatter_rows(g, t, a, no_ids), NULL},
                       {ed_segment_reduce(g, a, no_ids, 0, ED_SEGMENT_MEAN), NULL},
                       {ed_segment_reduce(g, b, ids, 1, ED_SEGMENT_MAX), NULL},
                       {ed_take(g, t, ed_zeros(g, ED_DTYPE_I32, 2, x30)), NULL},
                       {ed_topk(g, b, 0, NULL), NULL}};
    for (int i = 0; i < 8; i++)
        rowops_must(g, seeds[i].tensor);
    assert_int_equal(ed_backward(g, seeds, 8, NULL), ED_OK);
    for (int64_t i = 0; i < 6; i++) {
        rowops_close("no rows added", ed_get(seeds[2].tensor, i), 0, 0);
        rowops_close("no rows replaced", ed_get(seeds[3].tensor, i), 4, 0);
        rowops_close("gradient of the base only", ed_get(ed_grad(g, t), i), 1, 0);
    }
    rowops_must(g, ed_argsort_i32(g, no_ids));
    rowops_must(g, ed_nearest_rows(g, a, t, 2, ED_NEAREST_DOT, NULL));
    ed_graph_destroy(&g);
}

/* ---- nearest rows */

static double nearest_score(const ed_tensor *x, int64_t r, const ed_tensor *c, int64_t j, ed_nearest_kind kind) {
    int64_t d = x->shape[1];
    double dot = 0, sq = 0, dist = 0;
    for (int64_t i = 0; i < d; i++) {
        double a = ed_get(x, r * d + i), b = ed_get(c, j * d + i);
        dot += a * b;
        sq += b * b;
        dist += (a - b) * (a - b);
    }
    return kind == ED_NEAREST_L2 ? -dist : kind == ED_NEAREST_DOT ? dot : sq > 0 ? dot / sqrt(sq) : 0;
}

/* Ids against the full ranking; grid values make ties exact in every format. Codes repeat, so that the lowest id must win. */
static void nearest_against_ranking(void **state) {
    (void)state;
    enum { N = 9, K = 1500, D = 5, TOP = 4 };
    ed_rng rng = ed_rng_make(12, 0);
    for (int f64 = 0; f64 < 2; f64++)
        for (int kind = 0; kind < 3; kind++) {
            ed_graph *g = rowops_graph();
            ed_dtype dtype = f64 ? ED_DTYPE_F64 : ED_DTYPE_F32;
            ed_tensor *x = rowops_floats(g, dtype, 2, ROWOPS_SHAPE(N, D), 0, 1, &rng), *c = rowops_floats(g, dtype, 2, ROWOPS_SHAPE(K, D), 0, 1, &rng), *scores = NULL;
            ed_tensor *both[] = {x, c};
            for (int b = 0; b < 2; b++)
                for (int64_t i = 0; i < ed_numel(both[b]); i++) {
                    double v = floor(ed_get(both[b], i) * 4) - 1;
                    store(both[b], i, v);
                }
            ed_tensor *ids = ed_nearest_rows(g, x, c, TOP, (ed_nearest_kind)kind, &scores);
            rowops_must(g, ids);
            for (int64_t r = 0; r < N; r++) {
                double last = INFINITY;
                int32_t last_id = -1;
                for (int m = 0; m < TOP; m++) {
                    double best = -INFINITY;
                    int32_t best_id = -1;
                    for (int32_t j = 0; j < K; j++) { /* the best after (last, last_id) */
                        double s = nearest_score(x, r, c, j, (ed_nearest_kind)kind);
                        bool later = s < last - 1e-9 || (fabs(s - last) <= 1e-9 && j > last_id);
                        if (later && s > best + 1e-9) {
                            best = s;
                            best_id = j;
                        }
                    }
                    double got = ed_get(scores, r * TOP + m);
                    rowops_close("score", kind == ED_NEAREST_L2 ? -got : got, best, 1e-6);
                    if (kind != ED_NEAREST_COSINE) /* cosines of scaled codes tie only up to rounding */
                        assert_int_equal((int32_t)ed_get(ids, r * TOP + m), best_id);
                    last = best;
                    last_id = best_id;
                }
            }
            ed_graph_destroy(&g);
        }
}

/* Equal codes far apart in the table, in other tiles and panels: always the lowest id, and distance 0 to itself. */
static void nearest_duplicates(void **state) {
    (void)state;
    enum { K = 2100, D = 33 };
    for (int f64 = 0; f64 < 2; f64++) {
        ed_graph *g = rowops_graph();
        ed_rng rng = ed_rng_make(13, 0);
        ed_dtype dtype = f64 ? ED_DTYPE_F64 : ED_DTYPE_F32;
        ed_tensor *c = rowops_floats(g, dtype, 2, ROWOPS_SHAPE(K, D), -1, 1, &rng), *scores = NULL;
        size_t row = D * ed_dtype_bytes(dtype);
        for (int64_t j = 700; j < K; j++)
            memcpy((char *)c->data + (size_t)j * row, (char *)c->data + (size_t)(j % 700) * row, row);
        for (int kind = 0; kind < 3; kind++) {
            ed_tensor *ids = ed_nearest_rows(g, ed_slice(g, c, 0, 690, 1400, 1), c, 3, (ed_nearest_kind)kind, &scores);
            rowops_must(g, ids);
            for (int64_t r = 0; r < 710; r++) {
                int32_t first = (int32_t)ed_get(ids, 3 * r);
                assert_true(first < 700);
                assert_int_equal((int32_t)ed_get(ids, 3 * r + 1), first + 700);
                assert_int_equal((int32_t)ed_get(ids, 3 * r + 2), first + 1400);
                if (kind == ED_NEAREST_L2) {
                    assert_int_equal(first, (690 + r) % 700);
                    assert_true(ed_get(scores, 3 * r) == 0);
                }
            }
        }
        ed_graph_destroy(&g);
    }
}

static void nearest_threads(void **state) {
    (void)state;
    static const int threads[] = {1, 2, 3, 7};
    ed_graph *g = rowops_graph();
    ed_rng rng = ed_rng_make(14, 0);
    ed_tensor *x = rowops_floats(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(531, 40), -1, 1, &rng), *c = rowops_floats(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(1300, 40), -1, 1, &rng);
    ed_tensor *id0 = NULL, *s0 = NULL;
    for (int t = 0; t < 4; t++) {
        ed_tensor *s = NULL;
        ed_threads_set(threads[t]);
        ed_tensor *id = ed_nearest_rows(g, x, c, 5, ED_NEAREST_L2, &s);
        rowops_must(g, id);
        id0 = t ? id0 : id;
        s0 = t ? s0 : s;
        assert_memory_equal(id->data, id0->data, 531 * 5 * sizeof(int32_t));
        assert_memory_equal(s->data, s0->data, 531 * 5 * sizeof(float));
    }
    /* a row alone gives the same bits */
    ed_tensor *s = NULL, *id = ed_nearest_rows(g, ed_slice(g, x, 0, 300, 301, 1), c, 5, ED_NEAREST_L2, &s);
    assert_memory_equal(id->data, (int32_t *)id0->data + 300 * 5, 5 * sizeof(int32_t));
    assert_memory_equal(s->data, (float *)s0->data + 300 * 5, 5 * sizeof(float));
    ed_threads_set(0);
    ed_graph_destroy(&g);
}

/* NaN and infinite rows give valid ids, never garbage. */
static void nearest_nan(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    float x[] = {NAN, 1, INFINITY, INFINITY}, c[] = {1, 0, NAN, 0, 0, 1};
    ed_tensor *ids = ed_nearest_rows(g, ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 2), x), ed_from(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(3, 2), c), 3, ED_NEAREST_L2, NULL);
    rowops_must(g, ids);
    for (int r = 0; r < 2; r++) {
        int seen = 0;
        for (int m = 0; m < 3; m++)
            seen |= 1 << (int)ed_get(ids, r * 3 + m);
        assert_int_equal(seen, 7);
    }
    ed_graph_destroy(&g);
}

/* ---- the common checks */

static ed_tensor *gather_fn(ed_graph *g, ed_tensor **x) {
    return ed_gather_rows(g, x[0], x[1]);
}
static ed_tensor *scatter_add_fn(ed_graph *g, ed_tensor **x) {
    return ed_scatter_add_rows(g, x[0], x[1], x[2], 57);
}
static ed_tensor *scatter_fn(ed_graph *g, ed_tensor **x) {
    int32_t ids[40];
    for (int i = 0; i < 40; i++)
        ids[i] = i * 37 % 200;
    return ed_scatter_rows(g, x[0], x[1], ints(g, 40, ids));
}
static ed_tensor *take_fn(ed_graph *g, ed_tensor **x) {
    return ed_take(g, x[0], x[1]);
}
static ed_tensor *sum_fn(ed_graph *g, ed_tensor **x) {
    return ed_segment_reduce(g, x[0], x[1], 57, ED_SEGMENT_SUM);
}
static ed_tensor *mean_fn(ed_graph *g, ed_tensor **x) {
    return ed_segment_reduce(g, x[0], x[1], 57, ED_SEGMENT_MEAN);
}
static ed_tensor *max_fn(ed_graph *g, ed_tensor **x) {
    return ed_segment_reduce(g, x[0], x[1], 57, ED_SEGMENT_MAX);
}
static ed_tensor *topk_fn(ed_graph *g, ed_tensor **x) {
    return ed_topk(g, x[0], 9, NULL);
}

static void common_checks(void **state) {
    (void)state;
    const rowops_in table[] = {{.rank = 2, .shape = {57, 700}}, {.rank = 2, .shape = {20, 30}, .id_limit = 57}};
    const rowops_in rows[] = {{.rank = 3, .shape = {600, 7, 90}}, {.rank = 1, .shape = {600}, .id_limit = 57}, {.rank = 1, .shape = {600}}};
    const rowops_in slots[] = {{.rank = 2, .shape = {200, 900}}, {.rank = 2, .shape = {40, 900}}};
    const rowops_in picks[] = {{.rank = 2, .shape = {900, 130}}, {.rank = 2, .shape = {900, 17}, .id_limit = 130}};
    const rowops_in segments[] = {{.rank = 2, .shape = {600, 300}}, {.rank = 1, .shape = {600}, .id_low = -1, .id_limit = 50}};
    rowops_check(gather_fn, table, 2, 4e-6);
    rowops_check(scatter_add_fn, rows, 3, 3e-5); /* dots of 630 numbers */
    rowops_check(scatter_fn, slots, 2, 1e-7);
    rowops_check(take_fn, picks, 2, 4e-6);
    rowops_check(sum_fn, segments, 2, 4e-6);
    rowops_check(mean_fn, segments, 2, 4e-6);
    rowops_check(max_fn, segments, 2, 1e-7);
    rowops_check(topk_fn, picks, 1, 1e-7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_values),
        cmocka_unit_test(gather_sparse),
        cmocka_unit_test(scatter_values),
        cmocka_unit_test(take_values),
        cmocka_unit_test(segment_values),
        cmocka_unit_test(topk_values),
        cmocka_unit_test(argsort_values),
        cmocka_unit_test(refusals),
        cmocka_unit_test(empty_shapes),
        cmocka_unit_test(nearest_against_ranking),
        cmocka_unit_test(nearest_duplicates),
        cmocka_unit_test(nearest_threads),
        cmocka_unit_test(nearest_nan),
        cmocka_unit_test(common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
