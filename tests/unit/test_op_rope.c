/* tests/unit/test_op_rope.c - rotary positions: naive complex twin, both pairings, partial, shared positions, extremes, thread counts. */
#include "rowops.h"

enum { B = 2, T = 5, H = 3, D = 10 };

/* rotates pair (a, b) of v by angle */
static void turn(double *v, int64_t a, int64_t b, double angle) {
    double x = v[a], y = v[b];
    v[a] = x * cos(angle) - y * sin(angle);
    v[b] = x * sin(angle) + y * cos(angle);
}

static void against_twin(void **state) {
    (void)state;
    const int32_t pos[B * T] = {0, 1, 2, 3, 4, 100000, 7, 7, -3, 0};
    ed_rng rng = ed_rng_make(6, 0);
    for (int f64 = 0; f64 < 2; f64++)
        for (int kind = 0; kind < 2; kind++)
            for (int64_t rotary = 0; rotary <= D; rotary += 2)
                for (int heads = 0; heads < 2; heads++) {
                    ed_graph *g = rowops_graph();
                    ed_tensor *x = rowops_floats(g, f64 ? ED_DTYPE_F64 : ED_DTYPE_F32, heads ? 4 : 3, heads ? ROWOPS_SHAPE(B, T, H, D) : ROWOPS_SHAPE(B, T, D), -1, 1, &rng);
                    ed_tensor *p = ed_from(g, ED_DTYPE_I32, 2, ROWOPS_SHAPE(B, T), pos);
                    ed_tensor *y = ed_rope(g, x, p, rotary, 500, 0.5, (ed_rope_kind)kind);
                    rowops_must(g, y);
                    int64_t per = heads ? H : 1;
                    for (int64_t r = 0; r < B * T * per; r++) {
                        double v[D];
                        for (int j = 0; j < D; j++)
                            v[j] = ed_get(x, r * D + j);
                        for (int64_t i = 0; i < rotary / 2; i++) {
                            double angle = pos[r / per] * 0.5 * pow(500, -2.0 * (double)i / (double)rotary);
                            turn(v, kind == ED_ROPE_HALF ? i : 2 * i, kind == ED_ROPE_HALF ? i + rotary / 2 : 2 * i + 1, angle);
                        }
                        for (int j = 0; j < D; j++)
                            rowops_close("rope", ed_get(y, r * D + j), v[j], f64 ? 1e-12 : 1e-6);
                    }
                    ed_graph_destroy(&g);
                }
}

/* A quarter turn: position 1, one pair of frequency 1, scale pi/2. */
static void quarter_turn(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    double x[] = {1, 0, 5, 0, 1, 6};
    int32_t pos[] = {1, 2};
    const double want[] = {0, 1, 5, 0, -1, 6};
    ed_tensor *y = ed_rope(g, ed_from(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(2, 3), x), ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(2), pos), 2, 10000, acos(-1) / 2, ED_ROPE_HALF);
    rowops_equal("quarter", y, want, 1e-15);
    ed_graph_destroy(&g);
}

/* Scores of rotated vectors depend on the difference of positions only. */
static void relative_only(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    ed_rng rng = ed_rng_make(8, 0);
    ed_tensor *q = rowops_floats(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(1, 16), -1, 1, &rng), *k = rowops_floats(g, ED_DTYPE_F64, 2, ROWOPS_SHAPE(1, 16), -1, 1, &rng);
    double first = 0;
    for (int32_t shift = 0; shift < 2000; shift += 499) {
        int32_t pq = 9 + shift, pk = 4 + shift;
        ed_tensor *a = ed_rope(g, q, ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(1), &pq), 16, 10000, 1, ED_ROPE_INTERLEAVED);
        ed_tensor *b = ed_rope(g, k, ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(1), &pk), 16, 10000, 1, ED_ROPE_INTERLEAVED);
        double dot = 0;
        for (int i = 0; i < 16; i++)
            dot += ed_get(a, i) * ed_get(b, i);
        first = shift == 0 ? dot : first;
        rowops_close("relative", dot, first, 1e-11);
    }
    ed_graph_destroy(&g);
}

static void small_shapes(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    int32_t pos[] = {3};
    rowops_must(g, ed_rope(g, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(0, 4)), ed_zeros(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(0)), 4, 1e4, 1, ED_ROPE_HALF));
    rowops_must(g, ed_rope(g, ed_zeros(g, ED_DTYPE_F32, 3, ROWOPS_SHAPE(1, 0, 4)), ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(1), pos), 4, 1e4, 1, ED_ROPE_HALF));
    ed_tensor *y = ed_rope(g, ed_full(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(1, 1), 2), ed_from(g, ED_DTYPE_I32, 1, ROWOPS_SHAPE(1), pos), 0, 1e4, 1, ED_ROPE_HALF);
    rowops_close("untouched", ed_get(y, 0), 2, 0);
    ed_graph_destroy(&g);
}

static ed_tensor *try_rope(ed_graph *g, int64_t rotary, double theta, ed_dtype pos, int64_t n_pos) {
    return ed_rope(g, ed_zeros(g, ED_DTYPE_F32, 2, ROWOPS_SHAPE(2, 6)), ed_zeros(g, pos, 1, &n_pos), rotary, theta, 1, ED_ROPE_HALF);
}

static void refusals(void **state) {
    (void)state;
    ed_graph *g = rowops_graph();
    rowops_refused(g, try_rope(g, 3, 1e4, ED_DTYPE_I32, 2), ED_E_RANGE, "rotary_dims 3");
    rowops_refused(g, try_rope(g, 8, 1e4, ED_DTYPE_I32, 2), ED_E_RANGE, "[0, 6]");
    rowops_refused(g, try_rope(g, -2, 1e4, ED_DTYPE_I32, 2), ED_E_RANGE, "rotary_dims");
    rowops_refused(g, try_rope(g, 4, 0, ED_DTYPE_I32, 2), ED_E_INVALID, "theta");
    rowops_refused(g, try_rope(g, 4, NAN, ED_DTYPE_I32, 2), ED_E_INVALID, "theta");
    rowops_refused(g, try_rope(g, 4, 1e4, ED_DTYPE_F32, 2), ED_E_DTYPE, "positions");
    rowops_refused(g, try_rope(g, 4, 1e4, ED_DTYPE_I32, 3), ED_E_SHAPE, "positions");
    ed_graph_destroy(&g);
}

static ed_tensor *half_fn(ed_graph *g, ed_tensor **x) {
    return ed_rope(g, x[0], x[1], 48, 1e4, 1, ED_ROPE_HALF);
}
static ed_tensor *interleaved_fn(ed_graph *g, ed_tensor **x) {
    return ed_rope(g, x[0], x[1], 64, 1e4, 1, ED_ROPE_INTERLEAVED);
}

static void common_checks(void **state) {
    (void)state;
    const rowops_in in[] = {{.rank = 4, .shape = {2, 129, 3, 64}}, {.rank = 2, .shape = {2, 129}, .id_low = -20, .id_limit = 300}};
    rowops_check(half_fn, in, 2, 1e-6);
    rowops_check(interleaved_fn, in, 2, 1e-6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_twin), cmocka_unit_test(quarter_turn), cmocka_unit_test(relative_only),
        cmocka_unit_test(small_shapes), cmocka_unit_test(refusals),     cmocka_unit_test(common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
