/* tests/unit/test_tok_llama2c.c - tokenizer.bin of llama2.c: a naive twin of its published merging loop on the real 512-piece file, and damaged files. */
#include "tok_common.h"

typedef struct file {
    unsigned char data[16384];
    size_t n;
} file;

static void put(file *f, float score, uint32_t len, const char *s, size_t n) {
    memcpy(f->data + f->n, &score, 4);
    memcpy(f->data + f->n + 4, &len, 4);
    memcpy(f->data + f->n + 8, s, n);
    f->n += 8 + n;
}

static void make(file *f) {
    uint32_t longest = 8;
    char text[8];
    memcpy(f->data, &longest, 4);
    f->n = 4;
    put(f, 0, 5, "<unk>", 5);
    put(f, 0, 5, "\n<s>\n", 5);
    put(f, 0, 6, "\n</s>\n", 6);
    for (unsigned b = 0; b < 256; b++) {
        snprintf(text, sizeof text, "<0x%02X>", b);
        put(f, 0, 6, text, 6);
    }
    put(f, -1, 2, "ab", 2); /* 259 */
    put(f, -1, 2, "bc", 2); /* the same score: the leftmost goes first */
    put(f, 0, 3, "abc", 3);
    put(f, -9, 1, " ", 1);
    put(f, -9, 1, "a", 1);
    put(f, -9, 1, "b", 1);
    put(f, -9, 1, "c", 1);
    put(f, -5, 2, " a", 2);
}

static void test_small_file(void **state) {
    (void)state;
    file f;
    ed_tokenizer *t = NULL;
    ed_token_ids ids = {0};
    ed_error e = {0};
    make(&f);
    check_ok(ed_tokenizer_load_llama2c_memory("f", f.data, f.n, 0, &t, &e), &e);
    assert_int_equal(ed_tokenizer_vocab_size(t), 267);
    check_ok(ed_tokenizer_encode(t, "abc", 3, ED_ENCODE_ADD_SPECIAL, &ids, &e), &e);
    int32_t want[] = {1, 262, 261}; /* <s>, space, ab -> abc */
    assert_int_equal(ids.n, 3);
    assert_memory_equal(ids.ids, want, sizeof want);
    check_round_trips(t);
    check_save_load(t);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void expect(const file *f, size_t n, int32_t vocab, ed_status want) {
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    unsigned char *copy = malloc(n ? n : 1); /* exact size: reads past the end show under ASan */
    memcpy(copy, f->data, n);
    ed_status s = ed_tokenizer_load_llama2c_memory("f", copy, n, vocab, &t, &e);
    free(copy);
    ed_tokenizer_destroy(&t);
    assert_int_equal(s, want);
    if (s != ED_OK)
        assert_true(e.message[0] != 0);
}

static void test_damaged_files(void **state) {
    (void)state;
    file f, g;
    float nan = 0;
    uint32_t huge = 0x7FFFFFFF, bits = 0x7FC00000;
    make(&f);
    expect(&f, f.n, 267, ED_OK);
    expect(&f, f.n, 266, ED_E_FORMAT);
    expect(&f, f.n, 268, ED_E_FORMAT);
    expect(&f, f.n, -1, ED_E_INVALID);
    expect(&f, f.n, ED_TOKENIZER_MAX_VOCAB + 1, ED_E_INVALID);
    expect(&f, 0, 0, ED_E_FORMAT);
    for (size_t n = 1; n < f.n; n += 97)
        expect(&f, n, 267, ED_E_FORMAT);
    g = f;
    memcpy(g.data + 8, &huge, 4); /* length of token 0 */
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    memcpy(&nan, &bits, 4);
    memcpy(g.data + 4, &nan, 4);
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    memset(g.data, 0, 4); /* longest token 0 */
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    put(&g, 0, 2, "ab", 2); /* twice */
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    put(&g, 0, 0, "", 0);
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    put(&g, 0, 6, "<0x41>", 6);
    expect(&g, g.n, 0, ED_E_FORMAT);
    g = f;
    g.data[4 + 13 + 13 + 14 + 8 + 4] = 'x'; /* "<0x00>" -> "<0x0x" */
    expect(&g, g.n, 0, ED_E_FORMAT);
}

/* llama2.c's encode, as published: scan all pairs for the best score, merge, again. */
static size_t naive_encode(const ed_tokenizer *t, const float *scores, const char *text, int32_t *ids) {
    size_t n = 0;
    if (*text)
        ids[n++] = ed_tokenizer_id(t, " ", 1);
    for (const char *p = text; *p;) {
        size_t len = 1;
        while (((unsigned char)p[len] & 0xC0) == 0x80 && len < 4)
            len++;
        int32_t id = ed_tokenizer_id(t, p, len);
        if (id >= 0)
            ids[n++] = id;
        else
            for (size_t i = 0; i < len; i++)
                ids[n++] = (unsigned char)p[i] + 3;
        p += len;
    }
    for (;;) {
        float best = -1e10f;
        int32_t best_id = -1;
        size_t best_at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            char joined[256];
            size_t a, b;
            const char *x = ed_tokenizer_text(t, ids[i], &a), *y = ed_tokenizer_text(t, ids[i + 1], &b);
            memcpy(joined, x, a);
            memcpy(joined + a, y, b);
            int32_t id = ed_tokenizer_id(t, joined, a + b);
            if (id >= 0 && scores[id] > best) {
                best = scores[id];
                best_id = id;
                best_at = i;
            }
        }
        if (best_id < 0)
            return n;
        ids[best_at] = best_id;
        memmove(ids + best_at + 1, ids + best_at + 2, (n - best_at - 2) * sizeof *ids);
        n--;
    }
}

static void test_real_file(void **state) {
    (void)state;
    const char *dir = getenv("ENDEC_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/models/stories260k/tok512.bin", dir ? dir : "../shared/data");
    if (!ed__path_exists(path)) {
        print_message("skipped: no data\n");
        skip();
    }
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    check_ok(ed_tokenizer_load_llama2c(path, 512, &t, &e), &e);
    assert_int_equal(ed_tokenizer_vocab_size(t), 512);
    char *raw = NULL;
    size_t n_raw, at = 4;
    float scores[512];
    check_ok(ed__file_read(path, 1 << 20, &raw, &n_raw, &e), &e);
    for (int i = 0; i < 512; i++) {
        uint32_t len;
        memcpy(&scores[i], raw + at, 4);
        memcpy(&len, raw + at + 4, 4);
        at += 8 + len;
    }
    assert_int_equal(at, n_raw);
    ed__free(raw);
    static const char *const texts[] = {"Once upon a time, there was a little girl named Lily.", "", " ", "  two  spaces ", "She loved to play outside in the park.",
                                        "\xE4\xBD\xA0\xE5\xA5\xBD caf\xC3\xA9", "hahahahahaha", "I want to play with your ball, but I can't find it.\n\n\tX"};
    ed_token_ids ids = {0};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        int32_t want[256];
        size_t n = naive_encode(t, scores, texts[k], want);
        ids.n = 0;
        check_ok(ed_tokenizer_encode(t, texts[k], strlen(texts[k]), 0, &ids, &e), &e);
        assert_int_equal(ids.n, n);
        assert_memory_equal(ids.ids, want, n * sizeof *want);
    }
    check_round_trips(t);
    check_save_load(t);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_file),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_real_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
