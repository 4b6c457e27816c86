/* tests/unit/tok_common.h - helpers of the tokenizer tests: training on the small corpus, round trips, hostile texts. */
#ifndef TOK_COMMON_H
#define TOK_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/internal.h"
#include "endec/tokenizer.h"

#define TOK_CORPUS "tests/unit/data/tok_corpus.txt"

static inline void check_ok(ed_status s, const ed_error *e) {
    char text[900];
    if (s != ED_OK)
        fail_msg("%s: %s", ed_status_name(s), ed_error_text(e, text, sizeof text));
}

static inline ed_tokenizer *train_small(int kind, int64_t vocab) {
    const char *files[] = {TOK_CORPUS};
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    o.kind = kind;
    o.vocab_size = vocab;
    check_ok(ed_tokenizer_train(&o, files, 1, (ed_progress){0}, &t, &e), &e);
    return t;
}

static inline void check_round_trip(const ed_tokenizer *t, const void *text, size_t n, uint32_t flags) {
    ed_token_ids ids = {0};
    ed_token_text out = {0};
    ed_error e = {0};
    check_ok(ed_tokenizer_encode(t, text, n, flags | ED_ENCODE_OFFSETS, &ids, &e), &e);
    int64_t at = 0;
    for (int64_t i = 0; i < ids.n; i++) { /* tokens cover the text without holes */
        assert_true(ids.begin[i] <= ids.end[i]);
        assert_int_equal(ids.begin[i], at);
        at = ids.end[i];
        if (!(flags & ED_ENCODE_PARSE_SPECIAL))
            assert_false(ed_tokenizer_flags(t, ids.ids[i]) & ED_TOKEN_SPECIAL);
    }
    assert_int_equal(at, n);
    check_ok(ed_tokenizer_decode(t, ids.ids, ids.n, 0, &out, &e), &e);
    assert_int_equal(out.n, n);
    assert_memory_equal(out.data, n ? text : "", n);
    ed_token_ids_deinit(&ids);
    ed_token_text_deinit(&out);
}

/* Texts that break careless tokenizers. */
static const char *const HARD_TEXTS[] = {
    "", " ", "  ", "a", " a", "a ", "  a  b  ", "\xE2\x96\x81", "\xE2\x96\x81z", " \xE2\x96\x81 a", "<0x41>", "<unk>", "</s>", "<pad><0xE2><0x96><0x81>",
    "\n", "\r\n\t", "the the the", "don't we'll I'm", "\xFF\xFE", "\xE2\x96", "\x81", "\xC0\x80", "\xED\xA0\x80", "a\xF4\x90\x80\x80z",
    "\xF0\x9F\x98\x80 emoji", "e\xCC\x81 \xC3\xA9", "10:45 (x)", "the\xE2\x80\xA8line", " \xC2\xA0 ", "\x7F\x01\x02",
};
enum { N_HARD_TEXTS = sizeof HARD_TEXTS / sizeof *HARD_TEXTS };

/* Random bytes of three tastes: any byte, ASCII-heavy with spaces, pieces of hard texts. */
static inline size_t random_text(ed_rng *r, char *out, size_t max) {
    size_t n = 0, want = (size_t)ed_rng_below(r, max + 1);
    uint64_t taste = ed_rng_below(r, 3);
    while (n < want) {
        if (taste == 2) {
            const char *s = HARD_TEXTS[ed_rng_below(r, N_HARD_TEXTS)];
            size_t k = strlen(s);
            if (n + k > want)
                break;
            memcpy(out + n, s, k);
            n += k;
            if (k == 0 && n < want)
                out[n++] = ' ';
        } else {
            uint64_t x = ed_rng_u64(r);
            out[n++] = taste == 0 ? (char)x : " etaoinshr \xC3\xA4"[x % 13];
        }
    }
    return n;
}

static inline void check_round_trips(const ed_tokenizer *t) {
    char text[256];
    ed_rng r = ed_rng_make(7, 1);
    for (int i = 0; i < N_HARD_TEXTS; i++)
        check_round_trip(t, HARD_TEXTS[i], strlen(HARD_TEXTS[i]), 0);
    check_round_trip(t, "a\0b\0", 4, 0);
    for (int i = 0; i < 3000; i++) {
        size_t n = random_text(&r, text, sizeof text);
        check_round_trip(t, text, n, 0);
        check_round_trip(t, text, n, ED_ENCODE_PARSE_SPECIAL);
    }
}

/* Saves to a fresh folder, loads again, checks that nothing changed. */
static inline void check_save_load(const ed_tokenizer *t) {
    char folder[] = "/tmp/endec_tok_XXXXXX", path[64], text[256];
    ed_error e = {0};
    ed_tokenizer *u = NULL;
    ed_token_ids a = {0}, b = {0};
    assert_non_null(mkdtemp(folder));
    check_ok(ed_tokenizer_save(t, folder, &e), &e);
    check_ok(ed_tokenizer_load(folder, &u, &e), &e);
    assert_string_equal(ed_tokenizer_kind_name(t), ed_tokenizer_kind_name(u));
    assert_int_equal(ed_tokenizer_vocab_size(t), ed_tokenizer_vocab_size(u));
    assert_true(ed_tokenizer_hash(t) == ed_tokenizer_hash(u));
    for (int k = 0; k < ED_SPECIAL_COUNT; k++)
        assert_int_equal(ed_tokenizer_special(t, (ed_special)k), ed_tokenizer_special(u, (ed_special)k));
    ed_rng r = ed_rng_make(9, 1);
    for (int i = 0; i < 500; i++) {
        size_t n = random_text(&r, text, sizeof text);
        a.n = b.n = 0;
        check_ok(ed_tokenizer_encode(t, text, n, ED_ENCODE_ADD_SPECIAL, &a, &e), &e);
        check_ok(ed_tokenizer_encode(u, text, n, ED_ENCODE_ADD_SPECIAL, &b, &e), &e);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, (size_t)a.n * sizeof *a.ids);
    }
    ed_token_ids_deinit(&a);
    ed_token_ids_deinit(&b);
    ed_tokenizer_destroy(&u);
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.bin"};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        remove(path);
    }
    assert_int_equal(remove(folder), 0);
}

#endif
