/* tests/unit/test_tok_basic.c - the calls that all tokenizers share, and the kinds bytes and chars. Oracles: closed forms (byte b is id 3 + b). */
#include <unistd.h>
#include <zlib.h>

#include "io/tok.h"
#include "tok_common.h"

static void test_bytes_layout(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BYTES, 1);
    ed_token_ids ids = {0};
    ed_error e = {0};
    assert_int_equal(ed_tokenizer_vocab_size(t), 259);
    assert_string_equal(ed_tokenizer_kind_name(t), "bytes");
    check_ok(ed_tokenizer_encode(t, "A\xFF\0", 3, ED_ENCODE_ADD_SPECIAL, &ids, &e), &e);
    int32_t want[] = {3 + 'A', 3 + 255, 3, 1};
    assert_int_equal(ids.n, 4);
    assert_memory_equal(ids.ids, want, sizeof want);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_PAD), 0);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_EOS), 1);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_UNK), 2);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_BOS), -1);
    check_round_trips(t);
    check_save_load(t);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
    assert_null(t);
    ed_tokenizer_destroy(&t);
}

static void test_chars(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    o.kind = ED_TOKENIZER_CHARS;
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    ed_token_ids ids = {0};
    const char text[] = "b\xC3\xA4 a\nb";
    check_ok(ed_tokenizer_train_text(&o, text, sizeof text - 1, (ed_progress){0}, &t, &e), &e);
    /* 3 specials, then \n, space, a, b, ä in code point order */
    assert_int_equal(ed_tokenizer_vocab_size(t), 8);
    check_ok(ed_tokenizer_encode(t, "a\xC3\xA4?\xFF\n", 6, ED_ENCODE_OFFSETS, &ids, &e), &e);
    int32_t want[] = {5, 7, 2, 2, 3};
    int64_t begin[] = {0, 1, 3, 4, 5}, end[] = {1, 3, 4, 5, 6};
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.ids, want, sizeof want);
    assert_memory_equal(ids.begin, begin, sizeof begin);
    assert_memory_equal(ids.end, end, sizeof end);
    assert_true(ed_tokenizer_flags(t, 4) & ED_TOKEN_WORD_START);
    check_round_trip(t, text, sizeof text - 1, 0);
    check_save_load(t);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_specials_only_when_asked(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BYTES, 1);
    ed_token_ids ids = {0};
    ed_token_text out = {0};
    ed_error e = {0};
    const char *text = "x</s>y<pad>";
    check_ok(ed_tokenizer_encode(t, text, strlen(text), 0, &ids, &e), &e);
    assert_int_equal(ids.n, strlen(text));
    ids.n = 0;
    check_ok(ed_tokenizer_encode(t, text, strlen(text), ED_ENCODE_PARSE_SPECIAL | ED_ENCODE_EOS, &ids, &e), &e);
    int32_t want[] = {3 + 'x', 1, 3 + 'y', 0, 1};
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.ids, want, sizeof want);
    check_ok(ed_tokenizer_decode(t, ids.ids, ids.n, ED_DECODE_SKIP_SPECIAL, &out, &e), &e);
    assert_string_equal(out.data, "xy");
    ed_token_text_deinit(&out);
    assert_int_equal(ed_tokenizer_encode(t, text, 1, ED_ENCODE_BOS, &ids, &e), ED_E_STATE);
    assert_int_equal(ids.n, 5); /* a failed call leaves the list alone */
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_add_special(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BYTES, 1);
    ed_error e = {0};
    ed_token_ids ids = {0};
    int32_t id = -1;
    uint64_t hash = ed_tokenizer_hash(t);
    check_ok(ed_tokenizer_add_special(t, "<mem0>", ED_SPECIAL_COUNT, &id, &e), &e);
    assert_int_equal(id, 259);
    assert_true(hash != ed_tokenizer_hash(t));
    check_ok(ed_tokenizer_add_special(t, "<mem0>", ED_SPECIAL_BOS, &id, &e), &e);
    assert_int_equal(id, 259);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_BOS), 259);
    assert_int_equal(ed_tokenizer_add_special(t, "A", ED_SPECIAL_COUNT, &id, &e), ED_E_INVALID);
    assert_int_equal(ed_tokenizer_add_special(t, "", ED_SPECIAL_COUNT, &id, &e), ED_E_INVALID);
    assert_int_equal(ed_tokenizer_add_special(t, "\xFF", ED_SPECIAL_COUNT, &id, &e), ED_E_INVALID);
    check_ok(ed_tokenizer_encode(t, "a<mem0>", 7, ED_ENCODE_PARSE_SPECIAL | ED_ENCODE_BOS, &ids, &e), &e);
    int32_t want[] = {259, 3 + 'a', 259};
    assert_int_equal(ids.n, 3);
    assert_memory_equal(ids.ids, want, sizeof want);
    check_save_load(t);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_limits_and_misuse(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BYTES, 1), *u = NULL;
    ed_token_ids ids = {0};
    ed_token_text out = {0};
    ed_error e = {0};
    const char *s;
    size_t n;
    assert_int_equal(ed_tokenizer_encode(t, "x", ED_TOKENIZER_MAX_TEXT_BYTES + 1, 0, &ids, &e), ED_E_LIMIT);
    assert_int_equal(ed_tokenizer_encode(t, NULL, 1, 0, &ids, &e), ED_E_INVALID);
    assert_int_equal(ed_tokenizer_encode(t, "x", 1, 64, &ids, &e), ED_E_INVALID);
    check_ok(ed_tokenizer_encode(t, "x", 1, 0, &ids, &e), &e);
    assert_int_equal(ed_tokenizer_encode(t, "x", 1, ED_ENCODE_OFFSETS, &ids, &e), ED_E_STATE);
    int32_t bad[] = {5, 259};
    assert_int_equal(ed_tokenizer_decode(t, bad, 2, 0, &out, &e), ED_E_RANGE);
    assert_int_equal(out.n, 0);
    assert_non_null(strstr(e.message, "259"));
    bad[1] = -1;
    assert_int_equal(ed_tokenizer_decode(t, bad, 2, 0, &out, &e), ED_E_RANGE);
    assert_int_equal(ed_tokenizer_piece(t, -1, 259, &s, &n), ED_E_RANGE);
    assert_int_equal(ed_tokenizer_piece(t, 259, 0, &s, &n), ED_E_RANGE);
    assert_null(ed_tokenizer_text(t, -1, NULL));
    assert_null(ed_tokenizer_text(t, 259, NULL));
    assert_int_equal(ed_tokenizer_flags(t, 259), 0);
    assert_int_equal(ed_tokenizer_id(t, "nothing", 7), -1);
    assert_int_equal(ed_tokenizer_load("no/such/folder", &u, &e), ED_E_NOT_FOUND);
    assert_int_equal(ed_tokenizer_load("tests/unit", &u, &e), ED_E_NOT_FOUND);
    assert_null(u);
    ed_token_ids_deinit(&ids);
    ed_token_text_deinit(&out);
    ed_tokenizer_destroy(&t);
}

static void test_add_special_to_each_kind(void **state) {
    (void)state;
    for (int kind = 0; kind < ED_TOKENIZER_KIND_COUNT; kind++) {
        ed_tokenizer *t = train_small(kind, 400);
        ed_error e = {0};
        ed_token_ids ids = {0};
        int32_t id = -1, n = ed_tokenizer_vocab_size(t);
        check_ok(ed_tokenizer_add_special(t, "<mem0>", ED_SPECIAL_COUNT, &id, &e), &e);
        assert_int_equal(id, n);
        check_ok(ed_tokenizer_encode(t, "the<mem0> the", 13, ED_ENCODE_PARSE_SPECIAL, &ids, &e), &e);
        int seen = 0;
        for (int64_t i = 0; i < ids.n; i++)
            seen += ids.ids[i] == id;
        assert_int_equal(seen, 1);
        check_save_load(t);
        ed_token_ids_deinit(&ids);
        ed_tokenizer_destroy(&t);
    }
}

static void write_gz(const char *path, const void *data, size_t n) {
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, data, (unsigned)n), n);
    assert_int_equal(gzclose(f), Z_OK);
}

static void test_gzip_corpus(void **state) {
    (void)state;
    char path[] = "/tmp/endec_gz_XXXXXX", *text = NULL, *gz = NULL;
    const char *files[] = {path};
    size_t n, n_gz;
    ed_error e = {0};
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL, *u = train_small(ED_TOKENIZER_BPE, 400);
    close(mkstemp(path));
    check_ok(ed__file_read(TOK_CORPUS, 1 << 20, &text, &n, &e), &e);
    write_gz(path, text, n);
    o.vocab_size = 400;
    check_ok(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), &e);
    assert_true(ed_tokenizer_hash(t) == ed_tokenizer_hash(u));
    ed_tokenizer_destroy(&t);
    check_ok(ed__file_read(path, 1 << 20, &gz, &n_gz, &e), &e);
    check_ok(ed__file_write_atomic(path, gz, n_gz - 12, &e), &e); /* cut short */
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_FORMAT);
    gz[n_gz / 2] = (char)~gz[n_gz / 2]; /* damaged */
    gz[n_gz - 6] = (char)~gz[n_gz - 6];
    check_ok(ed__file_write_atomic(path, gz, n_gz, &e), &e);
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_IO);
    assert_null(t);
    ed__free(text);
    ed__free(gz);
    ed_tokenizer_destroy(&u);
    remove(path);
}

typedef struct joined {
    ed__buf all;
    int lines;
} joined;

static ed_status join_line(void *ctx, const char *line, size_t n, ed_error *err) {
    joined *j = ctx;
    (void)err;
    assert_int_equal(ed__utf8_valid(line, n), n); /* no character is cut */
    ed__buf_put(&j->all, line, n);
    j->lines++;
    return ED_OK;
}

static void test_lines(void **state) {
    (void)state;
    size_t n = ((size_t)5 << 20) + 1;
    char *text = malloc(n);
    ed_error e = {0};
    joined j = {0};
    assert_non_null(text);
    text[0] = 'x';
    for (size_t i = 1; i < n; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    ed__corpus c = {.memory = text, .memory_bytes = n};
    ed__buf_init(&j.all, n);
    check_ok(ed__corpus_lines(&c, true, join_line, &j, &e), &e); /* one line of 5 MiB comes in parts */
    assert_true(j.lines >= 5 && j.lines < 20);
    assert_int_equal(j.all.len, n);
    assert_memory_equal(j.all.data, text, n);
    free(text);
    ed__buf_reset(&j.all);
    c = (ed__corpus){.memory = "a\r\nb\n\nc", .memory_bytes = 7};
    check_ok(ed__corpus_lines(&c, false, join_line, &j, &e), &e);
    assert_string_equal(j.all.data, "abc");
    ed__buf_reset(&j.all);
    check_ok(ed__corpus_lines(&c, true, join_line, &j, &e), &e);
    assert_string_equal(j.all.data, "a\r\nb\n\nc");
    ed__buf_deinit(&j.all);
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user, (void)what, (void)done, (void)total;
    return false;
}

static void test_train_errors(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    const char *files[] = {TOK_CORPUS, "no/such/file"};
    o.vocab_size = 300;
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_INVALID);
    assert_non_null(strstr(e.message, "too small"));
    o.vocab_size = 600;
    assert_int_equal(ed_tokenizer_train(&o, files, 2, (ed_progress){0}, &t, &e), ED_E_NOT_FOUND);
    assert_int_equal(ed_tokenizer_train(&o, files, 0, (ed_progress){0}, &t, &e), ED_E_INVALID);
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){stop_at_once, NULL}, &t, &e), ED_E_CANCELLED);
    o.add_bos = true;
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_INVALID);
    o.bos = (char *)"</s>";
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_INVALID);
    o.coverage = 2;
    assert_int_equal(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), ED_E_RANGE);
    assert_null(t);
}

static void test_option_table(void **state) {
    (void)state;
    size_t n;
    const ed_option *table = ed_tokenizer_train_options(&n);
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_error e = {0};
    check_ok(ed_option_set_key(table, n, &o, "kind", "unigram", &e), &e);
    check_ok(ed_option_set_key(table, n, &o, "vocab-size", "123", &e), &e);
    check_ok(ed_option_set_key(table, n, &o, "normalizer", "nfkc", &e), &e);
    check_ok(ed_option_set_key(table, n, &o, "extra", "<a>,<b>", &e), &e);
    assert_int_equal(o.kind, ED_TOKENIZER_UNIGRAM);
    assert_int_equal(o.vocab_size, 123);
    assert_int_equal(o.normalizer, ED_NORMALIZER_NFKC);
    assert_string_equal(o.extra, "<a>,<b>");
    ed_options_release(table, n, &o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_layout),      cmocka_unit_test(test_chars),
        cmocka_unit_test(test_specials_only_when_asked), cmocka_unit_test(test_add_special),
        cmocka_unit_test(test_limits_and_misuse), cmocka_unit_test(test_train_errors),
        cmocka_unit_test(test_option_table),
        cmocka_unit_test(test_add_special_to_each_kind),
        cmocka_unit_test(test_gzip_corpus),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
