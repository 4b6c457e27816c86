/* tests/unit/test_fmt_llama2c.c - llama2.c v0 files: every number where the layout says (an independent walk in the order of llama2.c's run.c),
 * hostile headers, every truncation, and there-and-back through safetensors without a changed bit, for a made file and for a real one. */
#include <math.h>

#include "unit/fmt_util.h"

enum { DIM = 8, HIDDEN = 12, LAYERS = 3, HEADS = 2, KV = 1, VOCAB = 5, SEQ = 4, HEAD = DIM / HEADS };

static size_t floats_of(bool shared) {
    size_t per_layer = DIM + DIM * DIM + 2 * (KV * HEAD) * DIM + DIM * DIM + DIM + 3 * DIM * HIDDEN;
    return VOCAB * DIM + LAYERS * per_layer + DIM + 2 * SEQ * (HEAD / 2) + (shared ? 0 : VOCAB * DIM);
}

/* A file whose i-th float is i. */
static unsigned char *make_image(bool shared, size_t *n) {
    int32_t header[7] = {DIM, HIDDEN, LAYERS, HEADS, KV, shared ? VOCAB : -VOCAB, SEQ};
    size_t count = floats_of(shared);
    *n = sizeof header + 4 * count;
    unsigned char *data = malloc(*n);
    memcpy(data, header, sizeof header);
    for (size_t i = 0; i < count; i++) {
        float v = (float)i;
        memcpy(data + sizeof header + 4 * i, &v, 4);
    }
    return data;
}

static void expect_tensor(const ed_tensor_file *f, const char *name, int64_t rows, int64_t cols, float first) {
    const ed_file_tensor *t = ed_tensor_file_find(f, name);
    float v;
    if (!t)
        fail_msg("no tensor %s", name);
    assert_int_equal(t->rank, cols ? 2 : 1);
    assert_int_equal(t->shape[0], rows);
    if (cols)
        assert_int_equal(t->shape[1], cols);
    memcpy(&v, t->data, 4);
    assert_float_equal(v, first, 0);
}

static void expect_layers(const ed_tensor_file *f, size_t *at, const char *part, int64_t rows, int64_t cols) {
    for (int l = 0; l < LAYERS; l++) {
        char name[100];
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, part);
        expect_tensor(f, name, rows, cols, (float)*at);
        *at += (size_t)(rows * (cols ? cols : 1));
    }
}

static void test_places(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        size_t n, at = VOCAB * DIM;
        unsigned char *data = make_image(shared, &n);
        ed_llama2c_config c;
        ed_tensor_file *f;
        ed_error e = {0};
        put_file(in_dir("m.bin"), data, n);
        assert_int_equal(ed_llama2c_open(in_dir("m.bin"), NULL, &f, &c, &e), ED_OK);
        assert_int_equal(c.vocab_size, VOCAB);
        assert_int_equal(c.shared_classifier, shared);
        assert_int_equal(c.n_kv_heads, KV);
        expect_tensor(f, "model.embed_tokens.weight", VOCAB, DIM, 0);
        expect_layers(f, &at, "input_layernorm", DIM, 0);
        expect_layers(f, &at, "self_attn.q_proj", DIM, DIM);
        expect_layers(f, &at, "self_attn.k_proj", KV * HEAD, DIM);
        expect_layers(f, &at, "self_attn.v_proj", KV * HEAD, DIM);
        expect_layers(f, &at, "self_attn.o_proj", DIM, DIM);
        expect_layers(f, &at, "post_attention_layernorm", DIM, 0);
        expect_layers(f, &at, "mlp.gate_proj", HIDDEN, DIM);
        expect_layers(f, &at, "mlp.down_proj", DIM, HIDDEN);
        expect_layers(f, &at, "mlp.up_proj", HIDDEN, DIM);
        expect_tensor(f, "model.norm.weight", DIM, 0, (float)at);
        at += DIM;
        expect_tensor(f, "llama2c.rope_real", SEQ, HEAD / 2, (float)at);
        expect_tensor(f, "llama2c.rope_imag", SEQ, HEAD / 2, (float)(at + SEQ * HEAD / 2));
        at += SEQ * HEAD;
        if (shared)
            assert_null(ed_tensor_file_find(f, "lm_head.weight"));
        else
            expect_tensor(f, "lm_head.weight", VOCAB, DIM, (float)at);
        assert_int_equal(ed_tensor_file_count(f), 9 * LAYERS + 4 + !shared);
        ed_tensor_file_close(&f);
        free(data);
    }
}

/* The tensors of src as a safetensors file at dst. */
static void copy_as_safetensors(const ed_tensor_file *src, const char *dst) {
    int64_t n = ed_tensor_file_count(src);
    ed_tensor_item *items = malloc((size_t)n * sizeof *items);
    ed_metadata m = ed_tensor_file_metadata_at(src, 0);
    ed_tensor_save_opts o = ed_tensor_save_opts_default();
    o.metadata = &m;
    o.n_metadata = 1;
    for (int64_t i = 0; i < n; i++)
        items[i] = ed_tensor_item_of(ed_tensor_file_at(src, i));
    assert_int_equal(ed_tensor_file_save(dst, items, n, &o, NULL), ED_OK);
    free(items);
}

static void there_and_back(const char *path) {
    ed_tensor_file *f, *g;
    ed_error e = {0};
    size_t n, m;
    assert_int_equal(ed_llama2c_open(path, NULL, &f, NULL, &e), ED_OK);
    copy_as_safetensors(f, in_dir("model.safetensors"));
    ed_tensor_file_close(&f);
    assert_int_equal(ed_tensor_file_open(dir, NULL, &g, &e), ED_OK);
    if (ed_llama2c_save(in_dir("back.bin"), g, NULL, &e) != ED_OK)
        fail_msg("%s", e.message);
    ed_tensor_file_close(&g);
    char *a = get_file(path, &n), *b = get_file(in_dir("back.bin"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    ed__free(a);
    ed__free(b);
}

static void test_there_and_back(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        size_t n;
        unsigned char *data = make_image(shared, &n);
        put_file(in_dir("m.bin"), data, n);
        there_and_back(in_dir("m.bin"));
        free(data);
    }
}

static void test_real_model(void **state) {
    (void)state;
    char path[600];
    if (!data_dir())
        skip();
    snprintf(path, sizeof path, "%s/models/stories260k/stories260K.bin", data_dir());
    if (access(path, R_OK) != 0)
        skip();
    there_and_back(path);
    /* without its RoPE tables, the computed ones are the file's to f32 rounding */
    ed_tensor_file *f, *g;
    ed_llama2c_config c;
    assert_int_equal(ed_llama2c_open(path, NULL, &f, &c, NULL), ED_OK);
    assert_int_equal(c.dim, 64);
    assert_int_equal(c.n_layers, 5);
    assert_int_equal(c.n_kv_heads, 4);
    ed_tensor_item items[64];
    int64_t n = 0;
    for (int64_t i = 0; i < ed_tensor_file_count(f); i++)
        if (strncmp(ed_tensor_file_at(f, i)->name, "llama2c.", 8) != 0)
            items[n++] = ed_tensor_item_of(ed_tensor_file_at(f, i));
    assert_int_equal(ed_tensor_file_save(in_dir("model.safetensors"), items, n, NULL, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_open(dir, NULL, &g, NULL), ED_OK);
    assert_int_equal(ed_llama2c_save(in_dir("rope.bin"), g, NULL, NULL), ED_E_NOT_FOUND);
    assert_int_equal(ed_llama2c_save(in_dir("rope.bin"), g, &c, NULL), ED_OK);
    ed_tensor_file_close(&g);
    assert_int_equal(ed_llama2c_open(in_dir("rope.bin"), NULL, &g, NULL, NULL), ED_OK);
    for (int64_t i = 0; i < ed_tensor_file_count(f); i++) {
        const ed_file_tensor *a = ed_tensor_file_at(f, i), *b = ed_tensor_file_at(g, i);
        assert_string_equal(a->name, b->name);
        if (strncmp(a->name, "llama2c.", 8) != 0) {
            assert_memory_equal(a->data, b->data, a->bytes);
            continue;
        }
        float x[4], y[4];
        for (int64_t k = 0; k + 4 <= ed_file_tensor_numel(a); k += 4) {
            assert_int_equal(ed_file_tensor_read(a, k, 4, ED_DTYPE_F32, x, NULL), ED_OK);
            assert_int_equal(ed_file_tensor_read(b, k, 4, ED_DTYPE_F32, y, NULL), ED_OK);
            for (int j = 0; j < 4; j++)
                assert_true(fabsf(x[j] - y[j]) < 2e-4f); /* angles up to 512 in f32 */
        }
    }
    ed_tensor_file_close(&f);
    ed_tensor_file_close(&g);
}

static ed_status open_image(const unsigned char *data, size_t n, ed_error *e) {
    ed_tensor_file *f;
    ed_llama2c_config c;
    unsigned char *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    ed_status s = ed__llama2c_open_memory("image", exact, n, NULL, &f, &c, e);
    ed_tensor_file_close(&f);
    free(exact);
    return s;
}

static void test_hostile(void **state) {
    (void)state;
    static const int32_t values[] = {0, 1, -1, 2, 3, 7, 9, INT32_MAX, INT32_MIN, 1 << 28, (1 << 28) + 1, 1 << 16, 65535};
    size_t n;
    unsigned char *data = make_image(true, &n), *bad = malloc(n);
    for (size_t k = 0; k < n; k++) {
        ed_error e = {0};
        assert_int_equal(open_image(data, k, &e), ED_E_FORMAT);
        assert_string_equal(e.where, "image");
    }
    for (int field = 0; field < 7; field++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) { /* classes 1, 2, 5: no value but the right one fits the file's size */
            memcpy(bad, data, n);
            memcpy(bad + 4 * field, &values[v], 4);
            if (memcmp(bad, data, n) != 0)
                assert_int_equal(open_image(bad, n, NULL), ED_E_FORMAT);
        }
    /* heads that do not group, in a file that is otherwise right: kv = 6, head = 2 */
    int32_t odd[7] = {8, 1, 1, 4, 3, 1, 1};
    size_t floats = 8 + 8 + 64 + 48 + 48 + 64 + 8 + 3 * 8 + 8 + 2;
    unsigned char *ungrouped = calloc(28 + 4 * floats, 1);
    ed_error e = {0};
    memcpy(ungrouped, odd, sizeof odd);
    assert_int_equal(open_image(ungrouped, 28 + 4 * floats, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.message, "KV heads"));
    free(ungrouped);
    /* products that wrap: 2^28 everywhere; and a header that fits no size at all */
    int32_t huge[7] = {1 << 28, 1 << 28, 4096, 1 << 26, 1 << 26, 1 << 28, 1 << 28};
    memcpy(bad, huge, sizeof huge);
    assert_int_equal(open_image(bad, n, NULL), ED_E_FORMAT);
    assert_int_equal(open_image(data, n, NULL), ED_OK);
    free(data);
    free(bad);
}

static void test_writer_checks(void **state) {
    (void)state;
    size_t n;
    unsigned char *data = make_image(true, &n);
    ed_tensor_file *f;
    ed_llama2c_config c, d;
    ed_error e = {0};
    put_file(in_dir("m.bin"), data, n);
    assert_int_equal(ed_llama2c_open(in_dir("m.bin"), NULL, &f, &c, NULL), ED_OK);
    d = c;
    d.hidden_dim++;
    assert_int_equal(ed_llama2c_save(in_dir("o.bin"), f, &d, &e), ED_E_SHAPE);
    assert_non_null(strstr(e.message, "[12, 8]"));
    assert_non_null(strstr(e.message, "[13, 8]"));
    d = c;
    d.shared_classifier = false;
    assert_int_equal(ed_llama2c_save(in_dir("o.bin"), f, &d, &e), ED_E_NOT_FOUND);
    d = c;
    d.n_heads = 3;
    assert_int_equal(ed_llama2c_save(in_dir("o.bin"), f, &d, &e), ED_E_FORMAT);
    assert_int_equal(count_entries(dir), 1);
    bool done = false;
    for (int64_t k = 1; !done && k < 50; k++) {
        ed__io_fail_after(k);
        done = ed_llama2c_save(in_dir("o.bin"), f, &c, &e) == ED_OK;
        ed__io_fail_after(-1);
    }
    assert_true(done);
    ed_tensor_file_close(&f);
    for (int64_t k = 1, ok = 0; !ok && k < 50; k++) {
        ed__mem_fail_after(k, false);
        ed_status s = ed_llama2c_open(in_dir("m.bin"), NULL, &f, &c, NULL);
        ed__mem_fail_after(-1, false);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        ok = s == ED_OK;
        ed_tensor_file_close(&f);
        assert_int_equal(ed__mem_blocks(), 0);
    }
    free(data);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
int main(void) {
    const struct CMUnitTest tests[] = {CASE(test_places), CASE(test_there_and_back), CASE(test_real_model), CASE(test_hostile), CASE(test_writer_checks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
