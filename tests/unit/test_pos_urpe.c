/* tests/unit/test_pos_urpe.c - universal relative positions (Luo et al. 2022): c = 1 is plain relative positions to the bit, the identical-token theorem, the
 * direction of offsets, row sums, the gradient of c by a naive triple loop, clamping, padding, cached decoding, sharing, files. */
#include "unit/model_util.h"

#include <unistd.h>

#include "endec/inspect.h"

static ed_graph *graph(bool train) {
    ed_graph_opts o = train ? ed_graph_opts_train() : ed_graph_opts_infer();
    ed_graph *g;
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    return g;
}

/** Parameters whose names match get `value(i)`: constant a plus b times a standard normal number. */
static void fill(ed_model *m, const char *patterns, double a, double b) {
    ed_params *set = ed_model_params(m);
    ed_rng rng = ed_rng_make(77, 3);
    int hits = 0;
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        ed_param *p = ed_params_at(set, i);
        if (!ed_name_match(patterns, p->name))
            continue;
        hits++;
        for (int64_t k = 0; k < p->numel; k++)
            ((float *)p->data)[k] = (float)(a + b * ed_rng_normal(&rng));
        ed_param_touch(p);
    }
    assert_int_not_equal(hits, 0);
}

static ed_tensor *states(const ed_model *m, ed_graph *g, const ed_rows *r) {
    ed_tensor *x = ed_model_get_config(m)->kind == ED_MODEL_DECODER ? ed_model_decode(m, g, r, NULL, NULL) : ed_model_encode(m, g, r);
    check_graph(g);
    return x;
}

static void assert_same_bits(const ed_tensor *a, const ed_tensor *b) {
    assert_int_equal(ed_numel(a), ed_numel(b));
    for (int64_t i = 0; i < ed_numel(a); i++)
        if (ed_get(a, i) != ed_get(b, i))
            fail_msg("element %lld: %.9g and %.9g", (long long)i, ed_get(a, i), ed_get(b, i));
}

/* ------------------------------------------------------------------ c = 1 */

typedef struct pass {
    ed_model *m;
    ed_graph *g;
    ed_grads *grads;
    ed_tensor *x;
} pass;

static pass train_pass(int kind, char *position, const ed_rows *r) {
    pass p = {.m = tiny_model(kind, position, ED_DTYPE_F32), .g = graph(true)};
    ed_error err = {0};
    check(ed_grads_create(ed_model_params(p.m), NULL, ED_DTYPE_F32, &p.grads, &err), &err);
    ed_graph_set_grads(p.g, p.grads);
    p.x = states(p.m, p.g, r);
    check(ed_backward_loss(p.g, ed_sum(p.g, ed_exp(p.g, p.x), ED_ALL_AXES, false), 1, &err), &err);
    return p;
}

static void pass_free(pass *p) {
    ed_graph_destroy(&p->g);
    ed_grads_destroy(&p->grads);
    ed_model_destroy(&p->m);
}

static void compare_with_relative(int kind) {
    int32_t ids[26];
    random_ids(ids, 26, 23, 1);
    ed_rows r = {.batch = 2, .len = 13, .ids = ids};
    pass a = train_pass(kind, "relative", &r), b = train_pass(kind, "urpe", &r);
    assert_same_bits(a.x, b.x);
    ed_params *set = ed_model_params(b.m);
    int tables = 0;
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        const ed_param *p = ed_params_at(set, i), *twin = ed_params_find(ed_model_params(a.m), p->name);
        const float *gb = ed_grads_of(b.grads, p);
        if (!twin) {
            double sum = 0;
            assert_true(ed_name_match("*.pos.c", p->name));
            for (int64_t k = 0; k < p->numel; k++)
                sum += fabsf(gb[k]);
            assert_true(sum > 1e-3); /* c learns from the first step on */
            tables++;
            continue;
        }
        assert_memory_equal(gb, ed_grads_of(a.grads, twin), (size_t)p->numel * sizeof *gb);
    }
    assert_int_equal(tables, 2);
    pass_free(&a);
    pass_free(&b);
}

static void test_c_one_is_relative(void **state) {
    (void)state;
    compare_with_relative(ED_MODEL_ENCODER);
    compare_with_relative(ED_MODEL_DECODER);
}

static void compare_plain(char *plain, char *with, const char *zero) {
    int32_t ids[13];
    random_ids(ids, 13, 23, 2);
    ed_rows r = {.batch = 1, .len = 13, .ids = ids};
    ed_model *a = tiny_model(ED_MODEL_ENCODER, plain, ED_DTYPE_F32), *b = tiny_model(ED_MODEL_ENCODER, with, ED_DTYPE_F32);
    ed_graph *g = graph(false);
    if (zero)
        fill(b, zero, 0, 0);
    assert_same_bits(states(a, g, &r), states(b, g, &r));
    ed_graph_destroy(&g);
    ed_model_destroy(&a);
    ed_model_destroy(&b);
}

static void test_b_zero_c_one_is_none(void **state) {
    (void)state;
    compare_plain("none", "urpe", "*.pos.b");
}

/** On top of another logit-side position only c is new, whatever the order of the names. */
static void test_on_top_of_others(void **state) {
    (void)state;
    compare_plain("rope", "rope+urpe", NULL);
    compare_plain("rope", "urpe+rope", NULL);
    compare_plain("alibi", "alibi+urpe", NULL);
    compare_plain("t5", "t5+urpe", NULL);
    compare_plain("relative", "urpe+relative", NULL);
    ed_model *m = tiny_model(ED_MODEL_ENCODER, "rope+urpe", ED_DTYPE_F32);
    assert_non_null(ed_params_find(ed_model_params(m), "encoder.layer.1.attention.self.pos.c"));
    assert_null(ed_params_find(ed_model_params(m), "encoder.layer.1.attention.self.pos.b"));
    ed_model_destroy(&m);
}

/* ------------------------------------------------------------------ identical tokens */

static double gap_of(int kind, char *position, double noise) {
    ed_model *m = tiny_model(kind, position, ED_DTYPE_F32);
    ed_error err = {0};
    double gap;
    if (noise > 0)
        fill(m, "*.pos.c", 1, noise);
    if (strstr(position, "relative"))
        fill(m, "*.pos.b", 0, 2); /* whatever the biases */
    check(ed_inspect_identical_token(m, 7, 32, &gap, &err), &err);
    ed_model_destroy(&m);
    return gap;
}

static void test_identical_token(void **state) {
    (void)state;
    for (int kind = ED_MODEL_DECODER; kind <= ED_MODEL_ENCODER; kind++) { /* with and without a causal mask */
        assert_true(gap_of(kind, "none", 0) <= 1e-5);
        assert_true(gap_of(kind, "relative", 0) <= 1e-5);
        assert_true(gap_of(kind, "alibi", 0) <= 1e-5);
        assert_true(gap_of(kind, "t5", 0) <= 1e-5);
        assert_true(gap_of(kind, "urpe", 0) <= 1e-5);
        assert_true(gap_of(kind, "urpe", 0.5) >= 1e-2);
        assert_true(gap_of(kind, "rope+urpe", 0.5) >= 1e-2);
        assert_true(gap_of(kind, "learned", 0) >= 1e-2);
    }
}

static void test_identical_token_arguments(void **state) {
    ed_model *m = tiny_model(ED_MODEL_ENCODER, "learned", ED_DTYPE_F32);
    double gap;
    ed_error err;
    (void)state;
    assert_int_equal(ed_inspect_identical_token(m, 23, 8, &gap, &err), ED_E_RANGE);
    assert_int_equal(ed_inspect_identical_token(m, -1, 8, &gap, &err), ED_E_RANGE);
    assert_int_equal(ed_inspect_identical_token(m, 1, 1, &gap, &err), ED_E_RANGE);
    assert_int_equal(ed_inspect_identical_token(m, 1, 400, &gap, &err), ED_E_RANGE); /* beyond max_positions */
    assert_int_equal(ed_inspect_identical_token(m, 1, 8, &gap, NULL), ED_OK);
    ed_model_destroy(&m);
}

/* ------------------------------------------------------------------ the op: direction, row sums, gradient of c */

enum { T = 9, H = 2, D = 4, N_MAX = 6 };

typedef struct op_case {
    ed_tensor *q, *k, *v, *b, *c, *o;
} op_case;

static ed_tensor *noise(ed_graph *g, ed_dtype d, int rank, const int64_t *shape, uint32_t stream) {
    ed_rng r = ed_rng_make(3, stream);
    ed_tensor *t = ed_new(g, ED_DTYPE_F64, rank, shape);
    for (int64_t i = 0; i < ed_numel(t); i++)
        ((double *)t->data)[i] = ed_rng_normal(&r);
    return ed_watch(g, ed_contiguous(g, ed_cast(g, t, d)));
}

static op_case run_op(ed_graph *g, ed_dtype d) {
    int64_t s[4] = {1, T, H, D}, table[2] = {2 * N_MAX - 1, H};
    op_case x = {noise(g, d, 4, s, 1), noise(g, d, 4, s, 2), noise(g, d, 4, s, 3), noise(g, d, 2, table, 4), noise(g, d, 2, table, 5), NULL};
    ed_attention_opts o = ed_attention_opts_default();
    o.bias = x.b, o.post_scale = x.c;
    o.bias_map = o.post_map = ed_offset_map_clamp(N_MAX);
    x.o = ed_attention(g, x.q, &(ed_kv){x.k, x.v}, 1, &o, NULL);
    check_graph(g);
    return x;
}

static int64_t row_of(int64_t i, int64_t j) { /* the published index, (j - i) + (n_max - 1), clamped */
    int64_t r = j - i + N_MAX - 1;
    return r < 0 ? 0 : r > 2 * N_MAX - 2 ? 2 * N_MAX - 2 : r;
}

/** softmax weights of one row, naive. */
static void naive_row(const op_case *x, int64_t h, int64_t i, double *a) {
    double m = -INFINITY, sum = 0;
    for (int64_t j = 0; j < T; j++) {
        double s = 0;
        for (int64_t k = 0; k < D; k++)
            s += ed_get(x->q, (i * H + h) * D + k) * ed_get(x->k, (j * H + h) * D + k);
        a[j] = s / sqrt(D) + ed_get(x->b, row_of(i, j) * H + h);
        m = fmax(m, a[j]);
    }
    for (int64_t j = 0; j < T; j++)
        sum += a[j] = exp(a[j] - m);
    for (int64_t j = 0; j < T; j++)
        a[j] /= sum;
}

static void check_op(ed_dtype d, double tol) {
    ed_graph *g = graph(true);
    op_case x = run_op(g, d);
    double a[T], dc[(2 * N_MAX - 1) * H] = {0};
    ed_error err = {0};
    for (int64_t h = 0; h < H; h++) {
        for (int64_t i = 0; i < T; i++) {
            naive_row(&x, h, i, a);
            for (int64_t k = 0; k < D; k++) {
                double o = 0;
                for (int64_t j = 0; j < T; j++) {
                    double v = ed_get(x.v, (j * H + h) * D + k);
                    o += a[j] * ed_get(x.c, row_of(i, j) * H + h) * v;
                    dc[row_of(i, j) * H + h] += a[j] * v; /* the cotangent is all ones */
                }
                assert_true(fabs(o - ed_get(x.o, (i * H + h) * D + k)) <= tol);
            }
        }
    }
    check(ed_backward(g, &(ed_seed){x.o, NULL}, 1, &err), &err);
    const ed_tensor *got = ed_grad(g, x.c);
    for (int64_t i = 0; i < (2 * N_MAX - 1) * H; i++)
        assert_true(fabs(ed_get(got, i) - dc[i]) <= tol * 10);
    ed_graph_destroy(&g);
}

/** Output and gradient of c against triple loops; T > N_MAX, so that the ends of the table are shared. */
static void test_op_is_the_formula(void **state) {
    (void)state;
    check_op(ED_DTYPE_F64, 1e-12);
    check_op(ED_DTYPE_F32, 1e-5);
}

/** With v = 1 the output is the row sum of A * C. */
static void test_row_sums(void **state) {
    ed_graph *g = graph(false);
    int64_t s[4] = {1, T, H, D};
    op_case x = run_op(g, ED_DTYPE_F32);
    ed_attention_opts o = ed_attention_opts_default();
    double a[T];
    (void)state;
    o.bias = x.b, o.post_scale = x.c;
    o.bias_map = o.post_map = ed_offset_map_clamp(N_MAX);
    ed_tensor *y = ed_attention(g, x.q, &(ed_kv){x.k, ed_full(g, ED_DTYPE_F32, 4, s, 1)}, 1, &o, NULL);
    for (int64_t h = 0; h < H; h++) {
        for (int64_t i = 0; i < T; i++) {
            double sum = 0;
            naive_row(&x, h, i, a);
            for (int64_t j = 0; j < T; j++)
                sum += a[j] * ed_get(x.c, row_of(i, j) * H + h);
            assert_true(fabs(sum - ed_get(y, (i * H + h) * D)) <= 1e-5);
        }
    }
    ed_graph_destroy(&g);
}

/** Only the key right after the query may speak: row j answers to a change of token j + 1 and of itself (the residual), to nothing else. */
static void test_direction_of_offsets(void **state) {
    ed_model_config c = tiny_config(ED_MODEL_ENCODER, "urpe");
    ed_model *m;
    ed_error err = {0};
    ed_graph *g = graph(false);
    int32_t ids[9] = {3, 4, 5, 6, 7, 8, 9, 10, 11}, changed[9];
    (void)state;
    c.encoder_layers = 1;
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &m, &err), &err);
    fill(m, "*.query.*,*.pos.b,*.pos.c", 0, 0); /* uniform attention */
    ed_param *table = ed_params_find(ed_model_params(m), "encoder.layer.0.attention.self.pos.c");
    for (int64_t h = 0; h < c.n_heads; h++)
        ((float *)table->data)[(c.relative_max - 1 + 1) * c.n_heads + h] = 1; /* offset +1 */
    memcpy(changed, ids, sizeof ids);
    changed[5] = 12;
    ed_tensor *x = states(m, g, &(ed_rows){.batch = 1, .len = 9, .ids = ids}), *y = states(m, g, &(ed_rows){.batch = 1, .len = 9, .ids = changed});
    for (int64_t i = 0; i < 9; i++) {
        double diff = 0;
        for (int64_t k = 0; k < c.d_model; k++)
            diff = fmax(diff, fabs(ed_get(x, i * c.d_model + k) - ed_get(y, i * c.d_model + k)));
        assert_int_equal(diff > 0, i == 4 || i == 5);
    }
    ed_graph_destroy(&g);
    ed_model_destroy(&m);
}

/* ------------------------------------------------------------------ lengths and padding */

/** A table of 2 * 3 - 1 rows serves 13 rows like a longer one whose ends repeat. */
static void test_clamping(void **state) {
    ed_model_config c = tiny_config(ED_MODEL_ENCODER, "urpe");
    ed_model *a, *b;
    ed_error err = {0};
    ed_graph *g = graph(false);
    int32_t ids[13];
    (void)state;
    random_ids(ids, 13, 23, 4);
    c.relative_max = 3;
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &a, &err), &err);
    c.relative_max = 13;
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &b, &err), &err);
    fill(a, "*.pos.c,*.pos.b", 1, 0.5);
    for (int64_t i = 0; i < ed_params_count(ed_model_params(a)); i++) {
        const ed_param *from = ed_params_at(ed_model_params(a), i);
        ed_param *to = ed_params_at(ed_model_params(b), i);
        if (!ed_name_match("*.pos.?", from->name))
            continue;
        for (int64_t off = -12; off <= 12; off++) {
            int64_t near = off < -2 ? -2 : off > 2 ? 2 : off;
            memcpy((float *)to->data + (off + 12) * c.n_heads, (const float *)from->data + (near + 2) * c.n_heads, (size_t)c.n_heads * sizeof(float));
        }
    }
    ed_rows r = {.batch = 1, .len = 13, .ids = ids};
    assert_same_bits(states(a, g, &r), states(b, g, &r));
    ed_graph_destroy(&g);
    ed_model_destroy(&a);
    ed_model_destroy(&b);
}

static void test_padding_never_matters(void **state) {
    ed_model *m = tiny_model(ED_MODEL_ENCODER, "urpe", ED_DTYPE_F32);
    ed_graph *g = graph(false);
    int32_t ids[18], other[18], lengths[2] = {5, 9};
    (void)state;
    fill(m, "*.pos.c", 1, 0.5);
    random_ids(ids, 18, 23, 5);
    memcpy(other, ids, sizeof ids);
    for (int i = 5; i < 9; i++)
        other[i] = ids[i] == 3 ? 4 : 3;
    ed_tensor *x = states(m, g, &(ed_rows){.batch = 2, .len = 9, .ids = ids, .lengths = lengths});
    ed_tensor *y = states(m, g, &(ed_rows){.batch = 2, .len = 9, .ids = other, .lengths = lengths});
    ed_tensor *alone = states(m, g, &(ed_rows){.batch = 1, .len = 5, .ids = ids});
    int64_t d = ed_model_get_config(m)->d_model;
    for (int64_t i = 0; i < 18 * d; i++)
        if (i < 5 * d || i >= 9 * d)
            assert_true(ed_get(x, i) == ed_get(y, i));
    for (int64_t i = 0; i < 5 * d; i++)
        assert_true(fabs(ed_get(x, i) - ed_get(alone, i)) <= 1e-5);
    ed_graph_destroy(&g);
    ed_model_destroy(&m);
}

/* ------------------------------------------------------------------ cached decoding */

static void compare_cached(char *position) {
    ed_model *m = tiny_model(ED_MODEL_DECODER, position, ED_DTYPE_F32);
    ed_graph *g = graph(false);
    ed_cache *cache;
    ed_error err = {0};
    int32_t ids[14], slot[14] = {0};
    int64_t d = ed_model_get_config(m)->d_model, n = 14;
    float *full = malloc((size_t)(n * d) * sizeof *full);
    fill(m, "*.pos.c", 1, 0.5);
    random_ids(ids, n, 23, 6);
    ed_copy_out_f32(states(m, g, &(ed_rows){.batch = 1, .len = n, .ids = ids}), full);
    check(ed_cache_create(m, 1, 20, &cache, &err), &err);
    for (int64_t at = 0, rows; at < n; at += rows) {
        rows = at == 0 ? 4 : 1; /* a prompt, then one by one */
        ed_graph_reset(g);
        ed_tensor *x = ed_model_step(m, g, cache, &(ed_step){rows, ids + at, slot});
        check_graph(g);
        for (int64_t i = 0; i < rows * d; i++)
            assert_true(fabs(ed_get(x, i) - full[at * d + i]) <= 1e-5);
    }
    free(full);
    ed_cache_destroy(&cache);
    ed_graph_destroy(&g);
    ed_model_destroy(&m);
}

static void test_cached_decode(void **state) {
    (void)state;
    compare_cached("urpe");
    compare_cached("rope+urpe");
    compare_cached("alibi+urpe");
}

/* ------------------------------------------------------------------ sharing, files, refusals */

static int count(const ed_model *m, const char *patterns) {
    int n = 0;
    for (int64_t i = 0; i < ed_params_count(ed_model_params(m)); i++)
        n += ed_name_match(patterns, ed_params_at(ed_model_params(m), i)->name);
    return n;
}

static void test_shared_tables(void **state) {
    ed_model_config c = tiny_config(ED_MODEL_ENCODER, "urpe");
    ed_model *shared, *own;
    ed_error err = {0};
    ed_graph *g = graph(false);
    int32_t ids[9];
    (void)state;
    random_ids(ids, 9, 23, 7);
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &own, &err), &err);
    c.share_position_tables = true;
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &shared, &err), &err);
    assert_int_equal(count(own, "*.pos.b"), 2);
    assert_int_equal(count(own, "*.pos.c"), 2);
    assert_int_equal(count(shared, "*.pos.b"), 1);
    assert_int_equal(count(shared, "*.pos.c"), 1);
    fill(shared, "*.pos.b,*.pos.c", 1, 0.5);
    for (int l = 0; l < 2; l++) { /* one table per layer with the same numbers */
        for (const char *k = "bc"; *k; k++) {
            char name[64];
            snprintf(name, sizeof name, "encoder.layer.%d.attention.self.pos.%c", l, *k);
            ed_param *to = ed_params_find(ed_model_params(own), name);
            name[14] = '0';
            memcpy(to->data, ed_params_find(ed_model_params(shared), name)->data, (size_t)to->numel * sizeof(float));
        }
    }
    ed_rows r = {.batch = 1, .len = 9, .ids = ids};
    assert_same_bits(states(own, g, &r), states(shared, g, &r));
    ed_graph_destroy(&g);
    ed_model_destroy(&own);
    ed_model_destroy(&shared);
}

static void test_files_keep_tables(void **state) {
    char dir[] = "/tmp/endec-urpe-XXXXXX", command[64];
    ed_error err = {0};
    ed_model *back, *m = tiny_model(ED_MODEL_DECODER, "rope+urpe", ED_DTYPE_F32);
    (void)state;
    assert_non_null(mkdtemp(dir));
    fill(m, "*.pos.c", 1, 0.5);
    check(ed_model_save(m, dir, ED_DTYPE_F32, &err), &err);
    check(ed_model_load(dir, ED_DTYPE_COUNT, &back, &err), &err);
    assert_string_equal(ed_model_get_config(back)->position, "rope+urpe");
    assert_non_null(ed_params_find(ed_model_params(back), "model.layers.0.self_attn.pos.c"));
    assert_true(ed_params_hash(ed_model_params(m)) == ed_params_hash(ed_model_params(back)));
    ed_model_destroy(&m);
    ed_model_destroy(&back);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_init_and_decay(void **state) {
    ed_model *m = tiny_model(ED_MODEL_ENCODER, "urpe", ED_DTYPE_F32);
    ed_param *c = ed_params_find(ed_model_params(m), "encoder.layer.0.attention.self.pos.c");
    ed_param *b = ed_params_find(ed_model_params(m), "encoder.layer.0.attention.self.pos.b");
    (void)state;
    assert_true(b->no_decay && c->no_decay);
    assert_int_equal(c->shape[0], 11);
    assert_int_equal(c->shape[1], 4);
    for (int64_t i = 0; i < c->numel; i++)
        assert_true(((float *)c->data)[i] == 1);
    ed_model_destroy(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_c_one_is_relative),      cmocka_unit_test(test_b_zero_c_one_is_none),
        cmocka_unit_test(test_on_top_of_others),       cmocka_unit_test(test_identical_token),
        cmocka_unit_test(test_identical_token_arguments), cmocka_unit_test(test_op_is_the_formula),
        cmocka_unit_test(test_row_sums),               cmocka_unit_test(test_direction_of_offsets),
        cmocka_unit_test(test_clamping),               cmocka_unit_test(test_padding_never_matters),
        cmocka_unit_test(test_cached_decode),          cmocka_unit_test(test_shared_tables),
        cmocka_unit_test(test_files_keep_tables),      cmocka_unit_test(test_init_and_decay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
