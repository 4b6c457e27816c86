/* tests/unit/test_tok_unigram.c - unigram: exact round trips, best path against trying all segmentations, what training must find. */
#include <math.h>

#include "io/tok.h"
#include "tok_common.h"

static void test_round_trips(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_UNIGRAM, 450);
    assert_int_equal(ed_tokenizer_vocab_size(t), 450);
    check_round_trips(t);
    check_save_load(t);
    ed_tokenizer_destroy(&t);
}

/* Score of the best of all segmentations of the n bytes at s (ASCII, the space written as U+2581 in pieces). */
static double best_of_all(const ed_tokenizer *t, const char *s, size_t n, uint32_t cuts) {
    double sum = 0;
    for (size_t i = 0; i < n;) {
        size_t j = i + 1, k = 0;
        char text[64];
        while (j < n && !(cuts >> (j - 1) & 1))
            j++;
        for (size_t x = i; x < j; x++) {
            memcpy(text + k, s[x] == ' ' ? "\xE2\x96\x81" : s + x, s[x] == ' ' ? 3 : 1);
            k += s[x] == ' ' ? 3 : 1;
        }
        int32_t id = ed_tokenizer_id(t, text, k);
        if (id < 0)
            return -INFINITY;
        sum += t->scores[id];
        i = j;
    }
    return sum;
}

static void test_best_path(void **state) {
    (void)state;
    static const char *const words[] = {"reading", "longest", "water", "thewriter", "runnings", "waitcold"};
    ed_tokenizer *t = train_small(ED_TOKENIZER_UNIGRAM, 450);
    ed_token_ids ids = {0};
    ed_error e = {0};
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        char s[16];
        snprintf(s, sizeof s, " %s", words[w]);
        size_t n = strlen(s);
        double best = -INFINITY, got = 0;
        for (uint32_t cuts = 0; cuts < 1u << (n - 1); cuts++)
            best = fmax(best, best_of_all(t, s, n, cuts));
        ids.n = 0;
        check_ok(ed_tokenizer_encode(t, words[w], n - 1, 0, &ids, &e), &e);
        for (int64_t i = 0; i < ids.n; i++)
            got += t->scores[ids.ids[i]];
        assert_true(isfinite(best));
        assert_true(fabs(got - best) < 1e-9);
    }
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

/* A text of three planted words without spaces inside: training must find them, and the scores must be log probabilities. */
static void test_finds_planted_words(void **state) {
    (void)state;
    static const char *const plants[] = {"kolima", "tuxedo", "brahms"};
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL, *u = NULL;
    ed_error e = {0};
    ed_rng r = ed_rng_make(5, 0);
    char text[8192];
    size_t n = 0;
    for (int i = 0; i < 400; i++) {
        for (uint64_t k = 1 + ed_rng_below(&r, 3); k > 0; k--) {
            memcpy(text + n, plants[ed_rng_below(&r, 3)], 6);
            n += 6;
        }
        text[n++] = ' ';
    }
    o.kind = ED_TOKENIZER_UNIGRAM;
    o.byte_fallback = false;
    o.coverage = 1;
    o.vocab_size = 3 + 16 + 10; /* specials, the space and 15 letters, ten words */
    check_ok(ed_tokenizer_train_text(&o, text, n, (ed_progress){0}, &t, &e), &e);
    double mass = 0;
    for (int32_t id = 3; id < ed_tokenizer_vocab_size(t); id++)
        mass += exp(t->scores[id]);
    assert_true(mass > 0.8 && mass < 1.05);
    for (int i = 0; i < 3; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, "\xE2\x96\x81%s", plants[i]);
        if (ed_tokenizer_id(t, plants[i], 6) < 0 || ed_tokenizer_id(t, piece, 9) < 0)
            fail_msg("'%s' was not found", plants[i]);
    }
    for (int threads = 1; threads <= 2; threads++) {
        ed_threads_set(threads);
        check_ok(ed_tokenizer_train_text(&o, text, n, (ed_progress){0}, &u, &e), &e);
        assert_true(ed_tokenizer_hash(t) == ed_tokenizer_hash(u));
        assert_memory_equal(t->scores, u->scores, (size_t)ed_tokenizer_vocab_size(t) * sizeof *t->scores);
        ed_tokenizer_destroy(&u);
    }
    ed_threads_set(0);
    ed_tokenizer_destroy(&t);
}

static void test_unknown_without_bytes(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    ed_token_ids ids = {0};
    o.kind = ED_TOKENIZER_UNIGRAM;
    o.byte_fallback = false;
    o.unk = (char *)"";
    o.vocab_size = 40;
    check_ok(ed_tokenizer_train_text(&o, "ab ab abab", 10, (ed_progress){0}, &t, &e), &e);
    assert_int_equal(ed_tokenizer_special(t, ED_SPECIAL_UNK), -1);
    assert_int_equal(ed_tokenizer_encode(t, "abc", 3, 0, &ids, &e), ED_E_NOT_FOUND);
    assert_int_equal(ids.n, 0);
    check_round_trip(t, "abba ab", 7, 0);
    ed_tokenizer_destroy(&t);
    o.unk = NULL;
    check_ok(ed_tokenizer_train_text(&o, "ab ab abab", 10, (ed_progress){0}, &t, &e), &e);
    check_ok(ed_tokenizer_encode(t, "abcdab", 6, ED_ENCODE_OFFSETS, &ids, &e), &e);
    int64_t unk = -1;
    for (int64_t i = 0; i < ids.n; i++)
        if (ids.ids[i] == ed_tokenizer_special(t, ED_SPECIAL_UNK)) {
            assert_int_equal(unk, -1); /* neighbours are one */
            unk = i;
        }
    assert_true(unk >= 0);
    assert_int_equal(ids.begin[unk], 2);
    assert_int_equal(ids.end[unk], 4);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_memory_failures(void **state) {
    (void)state;
    ed_error e = {0};
    int64_t blocks = ed__mem_blocks();
    for (int64_t n = 0; n < 900; n += 13) {
        ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
        ed_tokenizer *t = NULL;
        o.kind = ED_TOKENIZER_UNIGRAM;
        o.vocab_size = 290;
        ed__mem_fail_after(n, true);
        ed_status s = ed_tokenizer_train_text(&o, "the reader reads the reading", 28, (ed_progress){0}, &t, &e);
        ed__mem_fail_after(-1, false);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        ed_tokenizer_destroy(&t);
        assert_int_equal(ed__mem_blocks(), blocks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_best_path),
        cmocka_unit_test(test_finds_planted_words),
        cmocka_unit_test(test_unknown_without_bytes),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
