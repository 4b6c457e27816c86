/* tests/unit/test_positions.c - every position seat against its publication: ALiBi's slopes, the sinusoids' formula, T5's buckets, learned tables and their end,
 * clamped relative tables, rotary switch, and how seats combine. */
#include "unit/model_util.h"

#include "nn/position.h"

typedef struct fixture {
    ed_arena *arena;
    ed_params *params;
    ed_position_config config;
    ed_position_env env;
    ed_position got;
} fixture;

/** Builds one list of seats for the stack (layer -1) or for a block. */
static ed_status build(fixture *f, const char *list, int layer, int64_t heads, bool causal, ed_error *err) {
    memset(f, 0, sizeof *f);
    assert_int_equal(ed_arena_create(0, &f->arena), ED_OK);
    assert_int_equal(ed_params_create(&f->params), ED_OK);
    f->config = (ed_position_config){.list = list, .n_heads = heads, .head_dim = 8, .d_model = 8 * heads, .max_positions = 20, .offset = 2,
                                     .relative_max = 128, .relative_buckets = 32};
    f->env = (ed_position_env){.config = &f->config, .params = f->params, .arena = f->arena, .dtype = ED_DTYPE_F32, .name = "x.self_attn",
                               .absolute_name = "x.embed_positions.weight", .causal = causal, .layer = layer, .seed = 1};
    return ed__positions_build(&f->env, &f->got, err);
}

static void drop(fixture *f) {
    ed_params_destroy(&f->params);
    ed_arena_destroy(&f->arena);
}

/* ------------------------------------------------------------------ ALiBi */

static void check_slopes(int64_t heads, const double *want) {
    fixture f;
    assert_int_equal(build(&f, "alibi", 0, heads, true, NULL), ED_OK);
    for (int64_t h = 0; h < heads; h++)
        assert_true(fabs(f.got.slopes[h] - want[h]) <= 1e-12);
    assert_int_equal(ed_params_count(f.params), 0);
    drop(&f);
}

/** Press et al. 2022: 1/2, 1/4 .. 1/256 for 8 heads; the published code's values for 12 heads: those of 8, then every second one of 16. */
static void test_alibi_slopes(void **state) {
    static const double eight[] = {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625};
    static const double twelve[] = {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625,
                                    0.70710678118654757, 0.35355339059327379, 0.17677669529663689, 0.088388347648318447};
    static const double sixteen[] = {0.70710678118654757, 0.5, 0.35355339059327379, 0.25, 0.17677669529663689, 0.125};
    fixture f;
    (void)state;
    check_slopes(8, eight);
    check_slopes(12, twelve);
    assert_int_equal(build(&f, "alibi", 0, 16, true, NULL), ED_OK);
    for (int h = 0; h < 6; h++)
        assert_true(fabs(f.got.slopes[h] - sixteen[h]) <= 1e-12);
    drop(&f);
}

/** Slopes act as a penalty that grows with distance: with equal scores the nearest key weighs most. */
static void test_alibi_direction(void **state) {
    ed_graph_opts go = ed_graph_opts_infer();
    ed_graph *g;
    int64_t s[4] = {1, 5, 1, 1};
    float v[5] = {0, 1, 2, 3, 4};
    double slope = 1;
    (void)state;
    assert_int_equal(ed_graph_create(&go, &g), ED_OK);
    ed_attention_opts o = ed_attention_opts_default();
    o.slopes = &slope;
    o.causal = true;
    ed_tensor *z = ed_zeros(g, ED_DTYPE_F32, 4, s), *y = ed_attention(g, z, &(ed_kv){z, ed_from(g, ED_DTYPE_F32, 4, s, v)}, 1, &o, NULL);
    double sum = 0, dot = 0;
    for (int j = 0; j < 5; j++) {
        sum += exp(-(4.0 - j));
        dot += exp(-(4.0 - j)) * j;
    }
    assert_true(fabs(ed_get(y, 4) - dot / sum) <= 1e-5);
    ed_graph_destroy(&g);
}

/* ------------------------------------------------------------------ absolute kinds */

static void test_sinusoids(void **state) {
    fixture f;
    (void)state;
    assert_int_equal(build(&f, "sinusoidal", -1, 4, false, NULL), ED_OK);
    assert_int_equal(f.got.n_absolute, 22);
    assert_null(f.got.absolute);
    const float *t = f.got.constants;
    for (int64_t pos = 0; pos < 22; pos++) {
        for (int64_t i = 0; i < 16; i++) { /* fairseq and M2M100: sines, then cosines; frequencies from 1 down to 1/10000 */
            double f0 = pow(10000.0, -(double)i / 15.0);
            assert_true(fabs(t[pos * 32 + i] - sin((double)pos * f0)) <= 1e-6);
            assert_true(fabs(t[pos * 32 + 16 + i] - cos((double)pos * f0)) <= 1e-6);
        }
    }
    assert_int_equal(ed_params_count(f.params), 0);
    drop(&f);
}

static void test_learned(void **state) {
    fixture f;
    (void)state;
    assert_int_equal(build(&f, "learned", -1, 4, false, NULL), ED_OK);
    assert_int_equal(f.got.n_absolute, 22);
    assert_ptr_equal(f.got.absolute, ed_params_find(f.params, "x.embed_positions.weight"));
    assert_int_equal(f.got.absolute->shape[0], 22);
    assert_int_equal(f.got.absolute->shape[1], 32);
    drop(&f);
    assert_int_equal(build(&f, "learned", 0, 4, false, NULL), ED_OK); /* nothing per block */
    assert_int_equal(ed_params_count(f.params), 0);
    drop(&f);
}

/** max_positions rows pass; one more is an error that names the limit, for both absolute kinds. */
static void test_absolute_ends(void **state) {
    int32_t ids[41] = {0};
    ed_graph_opts o = ed_graph_opts_infer();
    char *kinds[] = {"learned", "sinusoidal"};
    (void)state;
    for (int k = 0; k < 2; k++) {
        ed_model *m = tiny_model(ED_MODEL_ENCODER, kinds[k], ED_DTYPE_F32);
        ed_graph *g;
        ed_error err = {0};
        assert_int_equal(ed_graph_create(&o, &g), ED_OK);
        assert_non_null(ed_model_encode(m, g, &(ed_rows){.batch = 1, .len = 40, .ids = ids}));
        check_graph(g);
        assert_null(ed_model_encode(m, g, &(ed_rows){.batch = 1, .len = 41, .ids = ids}));
        assert_int_equal(ed_graph_status(g, &err), ED_E_RANGE);
        assert_non_null(strstr(err.message, "40"));
        ed_graph_destroy(&g);
        ed_model_destroy(&m);
    }
}

/* ------------------------------------------------------------------ relative kinds */

/** Buckets as T5's published code gives them for 32 buckets and max_distance 128. */
static void test_t5_buckets(void **state) {
    static const struct {
        int32_t distance, two_sided, one_sided;
    } want[] = {{0, 0, 0}, {1, 1, 1}, {7, 7, 7}, {8, 8, 8}, {10, 8, 10}, {12, 9, 12}, {15, 9, 15}, {16, 10, 16}, {20, 10, 17}, {31, 11, 21}, {32, 12, 21},
                {50, 13, 24}, {64, 14, 26}, {100, 15, 30}, {127, 15, 31}, {128, 15, 31}, {1000, 15, 31}};
    fixture two, one;
    (void)state;
    assert_int_equal(build(&two, "t5", 0, 4, false, NULL), ED_OK);
    assert_int_equal(build(&one, "t5", 0, 4, true, NULL), ED_OK);
    assert_int_equal(two.got.bias->shape[0], 32);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(ed_offset_map_at(&two.got.bias_map, -want[i].distance), want[i].two_sided);
        if (want[i].distance > 0) /* keys after the query: the second half */
            assert_int_equal(ed_offset_map_at(&two.got.bias_map, want[i].distance), 16 + want[i].two_sided);
        assert_int_equal(ed_offset_map_at(&one.got.bias_map, -want[i].distance), want[i].one_sided);
        assert_int_equal(ed_offset_map_at(&one.got.bias_map, want[i].distance), 0);
    }
    drop(&two);
    drop(&one);
}

static void test_relative(void **state) {
    fixture f;
    (void)state;
    assert_int_equal(build(&f, "relative", 0, 4, false, NULL), ED_OK);
    assert_ptr_equal(f.got.bias, ed_params_find(f.params, "x.self_attn.pos.b"));
    assert_true(f.got.bias->no_decay);
    assert_int_equal(f.got.bias->shape[0], 255);
    assert_int_equal(ed_offset_map_at(&f.got.bias_map, 0), 127);
    assert_int_equal(ed_offset_map_at(&f.got.bias_map, 3), 130); /* key after the query: above the middle */
    assert_int_equal(ed_offset_map_at(&f.got.bias_map, -3), 124);
    assert_int_equal(ed_offset_map_at(&f.got.bias_map, 500), 254);
    assert_int_equal(ed_offset_map_at(&f.got.bias_map, -500), 0);
    drop(&f);
}

static void test_rope_and_none(void **state) {
    fixture f;
    (void)state;
    assert_int_equal(build(&f, "rope", 0, 4, true, NULL), ED_OK);
    assert_true(f.got.rope && !f.got.bias && !f.got.slopes && !f.got.post_scale);
    drop(&f);
    assert_int_equal(build(&f, "none", 0, 4, true, NULL), ED_OK);
    assert_true(!f.got.rope && !f.got.bias && !f.got.slopes && !f.got.post_scale && !f.got.n_absolute);
    drop(&f);
}

static void test_combinations(void **state) {
    fixture f;
    ed_error err;
    (void)state;
    assert_int_equal(build(&f, "learned+sinusoidal", -1, 4, false, &err), ED_E_INVALID);
    drop(&f);
    assert_int_equal(build(&f, "relative+t5", 0, 4, false, &err), ED_E_INVALID);
    drop(&f);
    assert_int_equal(build(&f, "rope+urpe", 0, 4, false, &err), ED_OK);
    assert_true(f.got.rope && f.got.post_scale && !f.got.bias);
    drop(&f);
    assert_int_equal(ed__positions_check("rope+urpe", &err), ED_OK);
    assert_int_equal(ed__positions_check("rope+", &err), ED_E_NOT_FOUND);
    assert_int_equal(ed__positions_check("", &err), ED_E_NOT_FOUND);
    assert_int_equal(ed__positions_check("rop", &err), ED_E_NOT_FOUND);
    assert_int_equal(ed__positions_check("ropes", &err), ED_E_NOT_FOUND);
    assert_int_equal(ed__positions_check("URPE", &err), ED_E_NOT_FOUND);
}

/** Every seat of the list trains and runs in every kind of model that takes it. */
static void test_every_seat_runs(void **state) {
    int32_t ids[8];
    (void)state;
    random_ids(ids, 8, 23, 1);
    for (int i = 0; i < ed__n_position_seats; i++) {
        for (int kind = ED_MODEL_DECODER; kind <= ED_MODEL_ENCODER; kind++) {
            char name[32];
            snprintf(name, sizeof name, "%s", ed__position_seats[i]->name);
            ed_model *m = tiny_model(kind, name, ED_DTYPE_F32);
            ed_graph_opts o = ed_graph_opts_train();
            ed_graph *g;
            ed_grads *grads;
            ed_error err = {0};
            ed_rows r = {.batch = 1, .len = 8, .ids = ids};
            assert_int_equal(ed_graph_create(&o, &g), ED_OK);
            check(ed_grads_create(ed_model_params(m), NULL, ED_DTYPE_F32, &grads, &err), &err);
            ed_graph_set_grads(g, grads);
            ed_tensor *x = kind == ED_MODEL_DECODER ? ed_model_decode(m, g, &r, NULL, NULL) : ed_model_encode(m, g, &r);
            check(ed_backward_loss(g, ed_mean(g, ed_square(g, x), ED_ALL_AXES, false), 1, &err), &err);
            assert_true(isfinite(ed_grads_norm(grads)) && ed_grads_norm(grads) > 0);
            ed_grads_destroy(&grads);
            ed_graph_destroy(&g);
            ed_model_destroy(&m);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alibi_slopes),  cmocka_unit_test(test_alibi_direction), cmocka_unit_test(test_sinusoids),
        cmocka_unit_test(test_learned),       cmocka_unit_test(test_absolute_ends),   cmocka_unit_test(test_t5_buckets),
        cmocka_unit_test(test_relative),      cmocka_unit_test(test_rope_and_none),   cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_every_seat_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
