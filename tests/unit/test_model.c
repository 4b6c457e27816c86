/* tests/unit/test_model.c - transformer models: gradients of whole models by finite differences in f64, padding and packing, cached decoding against full
 * passes (bit for bit), hooks, save and load. */
#include "model_util.h"

#include "base/internal.h"

enum { B = 3, S = 7, T = 5 };

typedef struct pair_batch {
    int32_t src[B * S], tgt[B * T], targets[B * T], src_len[B];
    float weights[B * T];
} pair_batch;

static pair_batch make_batch(void) {
    pair_batch b = {.src_len = {7, 3, 5}};
    random_ids(b.src, B * S, 23, 1);
    random_ids(b.tgt, B * T, 23, 2);
    random_ids(b.targets, B * T, 23, 3);
    for (int i = 0; i < B * T; i++)
        b.weights[i] = i % 4 != 3;
    return b;
}

static ed_tensor *pair_loss(const ed_model *m, ed_graph *g, const pair_batch *b) {
    ed_rows src = {.batch = B, .len = S, .ids = b->src, .lengths = b->src_len}, tgt = {.batch = B, .len = T, .ids = b->tgt};
    bool pair = ed_model_get_config(m)->kind == ED_MODEL_ENCDEC;
    ed_tensor *mem = pair ? ed_model_encode(m, g, &src) : NULL;
    ed_tensor *logits = ed_model_logits(m, g, ed_model_decode(m, g, &tgt, mem, pair ? &src : NULL));
    return ed_xent_ids(g, logits, ed_from(g, ED_DTYPE_I32, 2, (int64_t[]){B, T}, b->targets), ed_from(g, ED_DTYPE_F32, 2, (int64_t[]){B, T}, b->weights), 0.1);
}

static double loss_value(const ed_model *m, const pair_batch *b) {
    ed_graph *g;
    ed_graph_opts o = {.matmul_dtype = ED_DTYPE_F32};
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_tensor *l = pair_loss(m, g, b);
    check_graph(g);
    double v = ed_get(l, 0);
    ed_graph_destroy(&g);
    return v;
}

/** Central differences on a few numbers of every parameter. */
static void check_gradients(ed_model *m) {
    pair_batch b = make_batch();
    ed_params *params = ed_model_params(m);
    ed_grads *grads;
    ed_graph *g;
    ed_graph_opts o = ed_graph_opts_train();
    ed_error err = {0};
    check(ed_grads_create(params, NULL, ED_DTYPE_F64, &grads, &err), &err);
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_graph_set_grads(g, grads);
    check(ed_backward_loss(g, pair_loss(m, g, &b), 1, &err), &err);
    for (int64_t i = 0; i < ed_params_count(params); i++) {
        ed_param *p = ed_params_at(params, i);
        const double *grad = ed_grads_of(grads, p);
        for (int64_t k = 0; k < p->numel; k += p->numel / 3 + 1) {
            double *w = (double *)p->data + k, old = *w, h = 1e-5;
            *w = old + h;
            double up = loss_value(m, &b);
            *w = old - h;
            double down = loss_value(m, &b);
            *w = old;
            if (fabs((up - down) / (2 * h) - grad[k]) > 2e-8 * fmax(1, fabs(grad[k])) + 1e-8)
                fail_msg("%s[%lld]: backward %.12g, finite difference %.12g", p->name, (long long)k, grad[k], (up - down) / (2 * h));
        }
    }
    ed_graph_destroy(&g);
    ed_grads_destroy(&grads);
}

static void gradients(void **state) {
    char *lists[] = {(char[]){"sinusoidal"}, (char[]){"learned"}, (char[]){"rope+urpe"}, (char[]){"t5"}, (char[]){"alibi"}, (char[]){"relative"}};
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int kind = ED_MODEL_ENCDEC; kind <= ED_MODEL_DECODER; kind++) {
            ed_model *m = tiny_model(kind, lists[i], ED_DTYPE_F64);
            check_gradients(m);
            ed_model_destroy(&m);
        }
    }
}

static void padding_changes_nothing(void **state) {
    ed_model *m = tiny_model(ED_MODEL_ENCDEC, (char[]){"sinusoidal"}, ED_DTYPE_F32);
    pair_batch a = make_batch(), b = make_batch();
    float out[2][B * T * 23];
    (void)state;
    for (int i = 0; i < B; i++)
        for (int k = b.src_len[i]; k < S; k++)
            b.src[i * S + k] = 5;
    for (int v = 0; v < 2; v++) {
        const pair_batch *x = v ? &b : &a;
        ed_graph *g;
        assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
        ed_rows src = {.batch = B, .len = S, .ids = x->src, .lengths = x->src_len}, tgt = {.batch = B, .len = T, .ids = x->tgt};
        ed_tensor *l = ed_model_logits(m, g, ed_model_decode(m, g, &tgt, ed_model_encode(m, g, &src), &src));
        check_graph(g);
        ed_copy_out_f32(l, out[v]);
        ed_graph_destroy(&g);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    ed_model_destroy(&m);
}

/** Packed documents give each row what it gets alone. */
static void packed_documents(void **state) {
    ed_model *m = tiny_model(ED_MODEL_DECODER, (char[]){"rope"}, ED_DTYPE_F32);
    int32_t ids[8] = {3, 4, 5, 6, 7, 8, 9, 10}, seg[8] = {0, 0, 0, 1, 1, 1, 1, 1}, pos[8] = {0, 1, 2, 0, 1, 2, 3, 4};
    float packed[8 * 23], alone[5 * 23];
    ed_graph *g;
    (void)state;
    assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
    ed_rows r = {.batch = 1, .len = 8, .ids = ids, .segments = seg, .positions = pos};
    ed_tensor *l = ed_model_logits(m, g, ed_model_decode(m, g, &r, NULL, NULL));
    check_graph(g);
    ed_copy_out_f32(l, packed);
    ed_rows one = {.batch = 1, .len = 5, .ids = ids + 3};
    l = ed_model_logits(m, g, ed_model_decode(m, g, &one, NULL, NULL));
    check_graph(g);
    ed_copy_out_f32(l, alone);
    for (int i = 0; i < 5 * 23; i++)
        assert_true(fabsf(packed[3 * 23 + i] - alone[i]) < 1e-5f);
    ed_graph_destroy(&g);
    ed_model_destroy(&m);
}

/** A prefix row sees the whole prefix; rows after it are causal. */
static void prefix_mask(void **state) {
    ed_model *m = tiny_model(ED_MODEL_DECODER, (char[]){"rope"}, ED_DTYPE_F32);
    int32_t ids[6] = {3, 4, 5, 6, 7, 8}, prefix[1] = {3};
    float base[6 * 23], changed[6 * 23];
    (void)state;
    for (int v = 0; v < 2; v++) {
        ed_graph *g;
        assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
        ids[2] = v ? 9 : 5; /* last prefix token */
        ids[5] = v ? 10 : 8; /* last token */
        ed_rows r = {.batch = 1, .len = 6, .ids = ids, .prefix = prefix};
        ed_tensor *l = ed_model_logits(m, g, ed_model_decode(m, g, &r, NULL, NULL));
        check_graph(g);
        ed_copy_out_f32(l, v ? changed : base);
        ed_graph_destroy(&g);
    }
    assert_memory_not_equal(base, changed, 23 * sizeof(float)); /* row 0 sees token 2 */
    ed_model_destroy(&m);
}

/** Logits of every row by cached steps of `width` rows must be the bits of one full pass. */
static void compare_steps(const ed_model *m, int64_t n, int64_t width, ed_tensor *full, ed_graph *g, ed_tensor *memory, int64_t src_len, const int32_t *ids) {
    ed_cache *c;
    ed_error err = {0};
    int32_t slots[16] = {0};
    check(ed_cache_create(m, 1, n, &c, &err), &err);
    if (memory)
        check(ed_cache_set_memory(c, g, 0, memory, 0, src_len, &err), &err);
    for (int64_t at = 0; at < n; at += width) {
        int64_t k = n - at < width ? n - at : width;
        ed_tensor *l = ed_model_logits(m, g, ed_model_step(m, g, c, &(ed_step){k, ids + at, slots}));
        check_graph(g);
        assert_memory_equal(l->data, (float *)full->data + at * 23, (size_t)(k * 23) * sizeof(float));
    }
    assert_int_equal(ed_cache_length(c, 0), n);
    ed_cache_destroy(&c);
}

static void cached_steps_are_bit_equal(void **state) {
    char *lists[] = {(char[]){"sinusoidal"}, (char[]){"rope"}, (char[]){"alibi"}, (char[]){"t5"}, (char[]){"urpe"}, (char[]){"learned"}};
    int32_t ids[20], src[7];
    (void)state;
    random_ids(ids, 20, 23, 4);
    random_ids(src, 7, 23, 5);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int kind = ED_MODEL_ENCDEC; kind <= ED_MODEL_DECODER; kind++) {
            ed_model *m = tiny_model(kind, lists[i], ED_DTYPE_F32);
            ed_graph *g;
            assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
            ed_rows s = {.batch = 1, .len = 7, .ids = src}, r = {.batch = 1, .len = 20, .ids = ids};
            ed_tensor *mem = kind == ED_MODEL_ENCDEC ? ed_model_encode(m, g, &s) : NULL;
            ed_tensor *full = ed_model_logits(m, g, ed_model_decode(m, g, &r, mem, mem ? &s : NULL));
            check_graph(g);
            compare_steps(m, 20, 1, full, g, mem, 7, ids);
            compare_steps(m, 20, 4, full, g, mem, 7, ids);
            compare_steps(m, 20, 16, full, g, mem, 7, ids);
            ed_graph_destroy(&g);
            ed_model_destroy(&m);
        }
    }
}

static void cache_errors_change_nothing(void **state) {
    ed_model *m = tiny_model(ED_MODEL_DECODER, (char[]){"rope"}, ED_DTYPE_F32);
    ed_cache *c;
    ed_graph *g;
    ed_error err = {0};
    int32_t ids[4] = {3, 4, 5, 6}, bad[4] = {3, 4, 5, 99}, slots[4] = {0, 0, 1, 1}, apart[4] = {0, 1, 0, 1};
    (void)state;
    check(ed_cache_create(m, 2, 4, &c, &err), &err);
    assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
    assert_non_null(ed_model_step(m, g, c, &(ed_step){4, ids, slots}));
    uint64_t stamp = ed_cache_stamp(c, 0);
    const struct {
        ed_step step;
        ed_status want;
    } cases[] = {{{4, bad, slots}, ED_E_RANGE}, {{4, ids, apart}, ED_E_INVALID}, {{3, ids, (int32_t[]){0, 0, 0}}, ED_E_LIMIT},
                 {{1, ids, (int32_t[]){2}}, ED_E_RANGE}, {{0, ids, slots}, ED_E_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ed_graph_reset(g);
        assert_null(ed_model_step(m, g, c, &cases[i].step));
        assert_int_equal(ed_graph_status(g, NULL), cases[i].want);
        assert_int_equal(ed_cache_length(c, 0), 2);
        assert_true(ed_cache_stamp(c, 0) == stamp);
    }
    assert_int_equal(ed_cache_truncate(c, 0, 3), ED_E_RANGE);
    assert_int_equal(ed_cache_truncate(c, 0, 1), ED_OK);
    assert_true(ed_cache_stamp(c, 0) != stamp);
    ed_graph_destroy(&g);
    ed_cache_destroy(&c);
    ed_model_destroy(&m);
}

/** Reordering slots by any map gives what copying through fresh caches would give. */
static void cache_reorder(void **state) {
    enum { N = 5 };
    ed_model *m = tiny_model(ED_MODEL_DECODER, (char[]){"rope"}, ED_DTYPE_F32);
    const int32_t maps[][N] = {{1, 2, 3, 4, 0}, {0, 0, 0, 0, 0}, {4, 4, 2, 1, 3}, {1, 0, 3, 2, 4}, {2, 2, 4, 4, 1}};
    (void)state;
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++) {
        ed_cache *c;
        ed_graph *g;
        ed_error err = {0};
        float before[N][23], after[23];
        check(ed_cache_create(m, N, 8, &c, &err), &err);
        assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
        for (int32_t i = 0; i < N; i++) /* slot i holds i + 1 rows; remember what the next token would give */
            for (int32_t j = 0; j <= i; j++)
                assert_non_null(ed_model_step(m, g, c, &(ed_step){1, (int32_t[]){3 + i + j}, &i}));
        for (int32_t i = 0; i < N; i++) {
            ed_tensor *l = ed_model_logits(m, g, ed_model_step(m, g, c, &(ed_step){1, (int32_t[]){7}, &i}));
            memcpy(before[i], l->data, sizeof before[i]);
            assert_int_equal(ed_cache_truncate(c, i, i + 1), ED_OK);
        }
        assert_int_equal(ed_cache_reorder(c, maps[k], N), ED_OK);
        for (int32_t i = 0; i < N; i++) {
            assert_int_equal(ed_cache_length(c, i), maps[k][i] + 1);
            ed_tensor *l = ed_model_logits(m, g, ed_model_step(m, g, c, &(ed_step){1, (int32_t[]){7}, &i}));
            memcpy(after, l->data, sizeof after);
            assert_memory_equal(after, before[maps[k][i]], sizeof after);
        }
        ed_graph_destroy(&g);
        ed_cache_destroy(&c);
    }
    ed_model_destroy(&m);
}

typedef struct tap {
    int calls;
    bool replace;
} tap;

static ed_tensor *on_site(void *user, ed_graph *g, const char *site, int layer, ed_tensor *x) {
    tap *t = user;
    (void)layer;
    if (strcmp(site, "mlp_out") != 0)
        return x;
    t->calls++;
    return t->replace ? ed_contiguous(g, ed_from(g, x->dtype, x->rank, x->shape, x->data)) : x; /* a copy of itself: a clamp to the natural value */
}

static void hooks_are_bit_exact(void **state) {
    ed_model *m = tiny_model(ED_MODEL_DECODER, (char[]){"rope"}, ED_DTYPE_F32);
    int32_t ids[6] = {3, 4, 5, 6, 7, 8};
    float out[3][6 * 23];
    (void)state;
    for (int v = 0; v < 3; v++) {
        tap t = {0, v == 2};
        ed_graph *g;
        assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
        if (v)
            ed_graph_set_hook(g, on_site, &t);
        ed_rows r = {.batch = 1, .len = 6, .ids = ids};
        ed_tensor *l = ed_model_logits(m, g, ed_model_decode(m, g, &r, NULL, NULL));
        check_graph(g);
        ed_copy_out_f32(l, out[v]);
        assert_int_equal(t.calls, v ? 2 : 0);
        ed_graph_destroy(&g);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    assert_memory_equal(out[0], out[2], sizeof out[0]);
    ed_model_destroy(&m);
}

static void save_and_load(void **state) {
    char dir[] = "/tmp/endec-test-model-XXXXXX", cmd[64], *text;
    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int kind = ED_MODEL_ENCDEC; kind <= ED_MODEL_ENCODER; kind++) {
        ed_model *m = tiny_model(kind, kind == ED_MODEL_ENCODER ? (char[]){"learned"} : (char[]){"rope+urpe"}, ED_DTYPE_F32), *n;
        ed_error err = {0};
        check(ed_model_save(m, dir, ED_DTYPE_F32, &err), &err);
        check(ed_model_load(dir, ED_DTYPE_COUNT, &n, &err), &err);
        assert_true(ed_params_hash(ed_model_params(m)) == ed_params_hash(ed_model_params(n)));
        size_t n_opts;
        const ed_option *table = ed_model_options(&n_opts);
        for (size_t i = 0; i < n_opts; i++) {
            char a[256], b[256];
            ed_option_get(&table[i], ed_model_get_config(m), a, sizeof a);
            ed_option_get(&table[i], ed_model_get_config(n), b, sizeof b);
            if (strcmp(table[i].key, "n_kv_heads") != 0 && strcmp(table[i].key, "head_dim") != 0) /* written out in full */
                assert_string_equal(a, b);
        }
        check(ed_model_config_json(ed_model_get_config(n), ED_DTYPE_F32, &text, &err), &err);
        ed_model_text_free(&text);
        ed_model_destroy(&m);
        ed_model_destroy(&n);
    }
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

static void bad_configs(void **state) {
    const struct {
        const char *key, *value, *word;
    } cases[] = {{"n_heads", "5", "multiple"}, {"n_kv_heads", "3", "multiple"}, {"vocab_size", "0", "vocab"}, {"eos_id", "23", "vocabulary"},
                 {"position", "wavy", "wavy"}, {"position", "learned+sinusoidal", "combined"}, {"position", "t5+relative", "bias"},
                 {"rotary_dims", "3", "rotary"}, {"encoder_layers", "0", "encoder_layers"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ed_model_config c = tiny_config(ED_MODEL_ENCDEC, NULL);
        ed_model *m;
        ed_error err = {0};
        size_t n;
        const ed_option *t = ed_model_options(&n);
        check(ed_option_set_key(t, n, &c, cases[i].key, cases[i].value, &err), &err);
        assert_int_not_equal(ed_model_create(&c, ED_DTYPE_F32, 1, &m, &err), ED_OK);
        assert_null(m);
        if (!strstr(err.message, cases[i].word))
            fail_msg("%s=%s: '%s' does not say '%s'", cases[i].key, cases[i].value, err.message, cases[i].word);
        ed_model_config_deinit(&c);
    }
    assert_int_equal(ed__mem_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients),          cmocka_unit_test(padding_changes_nothing),     cmocka_unit_test(packed_documents), cmocka_unit_test(prefix_mask),
        cmocka_unit_test(cached_steps_are_bit_equal), cmocka_unit_test(cache_errors_change_nothing), cmocka_unit_test(cache_reorder),    cmocka_unit_test(hooks_are_bit_exact),
        cmocka_unit_test(save_and_load),      cmocka_unit_test(bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
