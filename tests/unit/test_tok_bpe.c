/* tests/unit/test_tok_bpe.c - bpe and bytebpe: exact round trips, a naive merger and a naive trainer as oracles, near-linear time, normalisers. */
#include <time.h>

#include "io/tok.h"
#include "tok_common.h"

static void test_round_trips(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BPE, 450), *u = train_small(ED_TOKENIZER_BYTEBPE, 380);
    assert_int_equal(ed_tokenizer_vocab_size(t), 450);
    assert_int_equal(ed_tokenizer_vocab_size(u), 380);
    check_round_trips(t);
    check_round_trips(u);
    check_save_load(t);
    check_save_load(u);
    ed_tokenizer_destroy(&t);
    ed_tokenizer_destroy(&u);
}

static void test_no_prefix_round_trips(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    o.prefix_space = false;
    o.vocab_size = 300;
    const char *text = "low lower lowest newer wider new low low";
    check_ok(ed_tokenizer_train_text(&o, text, strlen(text), (ed_progress){0}, &t, &e), &e);
    check_round_trips(t);
    check_save_load(t);
    ed_tokenizer_destroy(&t);
}

/* The textbook's example by hand: words " aaab" x2 and " ab" x1 give the pairs  (a,a):4 (a,b):3 ( ,a):3. */
static void test_merges_by_hand(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    ed_token_ids ids = {0};
    o.byte_fallback = false;
    o.vocab_size = 8; /* 3 specials, space, a, b, and two merges */
    check_ok(ed_tokenizer_train_text(&o, "aaab aaab ab", 12, (ed_progress){0}, &t, &e), &e);
    assert_int_equal(ed_tokenizer_vocab_size(t), 8);
    assert_string_equal(ed_tokenizer_text(t, 3, NULL), "\xE2\x96\x81"); /* the space first, then by count: a 7, b 3 */
    assert_string_equal(ed_tokenizer_text(t, 4, NULL), "a");
    assert_string_equal(ed_tokenizer_text(t, 5, NULL), "b");
    assert_string_equal(ed_tokenizer_text(t, 6, NULL), "aa");
    /* then (space,aa):2 (aa,a):2 (a,b):3 -> ab */
    assert_string_equal(ed_tokenizer_text(t, 7, NULL), "ab");
    check_ok(ed_tokenizer_encode(t, "aaab c", 6, ED_ENCODE_OFFSETS, &ids, &e), &e);
    int32_t want[] = {3, 6, 7, 3, 2};
    int64_t begin[] = {0, 0, 2, 4, 5}, end[] = {0, 2, 4, 5, 6};
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.ids, want, sizeof want);
    assert_memory_equal(ids.begin, begin, sizeof begin);
    assert_memory_equal(ids.end, end, sizeof end);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

/* Long words use the heap, short words the array: both must give what splitting by hand gives. The oracle replays the merges in training order. */
static void test_against_naive_merger(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BYTEBPE, 390);
    ed_token_ids ids = {0};
    ed_error e = {0};
    ed_rng r = ed_rng_make(3, 0);
    for (int round = 0; round < 200; round++) {
        char word[400];
        int32_t sym[400];
        size_t n = 1 + (size_t)ed_rng_below(&r, round & 1 ? 20 : 399), m = n;
        for (size_t i = 0; i < n; i++) {
            word[i] = "etaoinrwdlgh"[ed_rng_below(&r, 12)];
            sym[i] = ed_tokenizer_id(t, word + i, 1);
        }
        for (int32_t id = 259; id < ed_tokenizer_vocab_size(t); id++) { /* pieces in order of learning; each was made by one pair of older ones */
            size_t len;
            const char *text = ed_tokenizer_text(t, id, &len);
            for (size_t i = 0; i + 1 < m; i++) {
                char joined[64];
                size_t a, b;
                const char *x = ed_tokenizer_text(t, sym[i], &a), *y = ed_tokenizer_text(t, sym[i + 1], &b);
                if (a + b != len || len > sizeof joined)
                    continue;
                memcpy(joined, x, a);
                memcpy(joined + a, y, b);
                if (memcmp(joined, text, len) != 0)
                    continue;
                sym[i] = id;
                memmove(sym + i + 1, sym + i + 2, (m - i - 2) * sizeof *sym);
                m--;
            }
        }
        ids.n = 0;
        check_ok(ed_tokenizer_encode(t, word, n, 0, &ids, &e), &e);
        assert_int_equal(ids.n, m);
        assert_memory_equal(ids.ids, sym, m * sizeof *sym);
    }
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

/* ---- the trainer against counting all pairs anew before each merge */

enum { NAIVE_VOCAB = 430, NAIVE_WORDS = 1024, NAIVE_LEN = 64 };
typedef struct naive {
    int32_t sym[NAIVE_WORDS][NAIVE_LEN];
    size_t len[NAIVE_WORDS], n;
    int64_t count[NAIVE_VOCAB][NAIVE_VOCAB];
} naive;

static void naive_load(naive *v, const ed_tokenizer *t, const ed__words *w) {
    v->n = w->text.n;
    assert_true(v->n <= NAIVE_WORDS);
    for (size_t k = 0; k < v->n; k++) {
        size_t len;
        const char *s = ed__intern_get(&w->text, (int32_t)k, &len);
        for (size_t i = 0, step; i < len; i += step) {
            uint32_t cp;
            step = (size_t)ed__utf8_decode((const unsigned char *)s + i, len - i, &cp);
            v->sym[k][v->len[k]++] = ed__vocab_match(&t->vocab, s + i, step);
        }
    }
}

static size_t chars_of(const ed_tokenizer *t, int32_t id) {
    size_t n, k = 0;
    const char *s = ed_tokenizer_text(t, id, &n);
    for (size_t i = 0; i < n; i++)
        k += ((unsigned char)s[i] & 0xC0) != 0x80;
    return k;
}

/* Most frequent pair, ties to the smaller ids; pairs that would make pieces of more than 16 characters are left out. */
static int64_t naive_best(naive *v, const ed_tokenizer *t, const ed__words *w, int32_t *left, int32_t *right) {
    int64_t best = 0;
    memset(v->count, 0, sizeof v->count);
    for (size_t k = 0; k < v->n; k++)
        for (size_t i = 0; i + 1 < v->len[k]; i++)
            if (v->sym[k][i] >= 0 && v->sym[k][i + 1] >= 0)
                v->count[v->sym[k][i]][v->sym[k][i + 1]] += w->count[k];
    for (int32_t a = 0; a < NAIVE_VOCAB; a++)
        for (int32_t b = 0; b < NAIVE_VOCAB; b++)
            if (v->count[a][b] > best && chars_of(t, a) + chars_of(t, b) <= 16) {
                best = v->count[a][b];
                *left = a;
                *right = b;
            }
    return best;
}

static void test_against_naive_trainer(void **state) {
    (void)state;
    const char *files[] = {TOK_CORPUS};
    ed_tokenizer *t = train_small(ED_TOKENIZER_BPE, NAIVE_VOCAB);
    ed__corpus c = {.files = files, .n_files = 1};
    ed__words w = {0};
    ed_error e = {0};
    naive *v = calloc(1, sizeof *v);
    assert_non_null(v);
    check_ok(ed__words_count(t, &c, &w, &e), &e);
    naive_load(v, t, &w);
    assert_true(t->merges.n > 50);
    for (size_t m = 0; m < t->merges.n; m++) {
        int32_t left = -1, right = -1;
        assert_true(naive_best(v, t, &w, &left, &right) >= 2);
        assert_int_equal(t->merges.list[m].left, left);
        assert_int_equal(t->merges.list[m].right, right);
        for (size_t k = 0; k < v->n; k++)
            for (size_t i = 0; i + 1 < v->len[k]; i++)
                if (v->sym[k][i] == left && v->sym[k][i + 1] == right) {
                    v->sym[k][i] = t->merges.list[m].id;
                    memmove(&v->sym[k][i + 1], &v->sym[k][i + 2], (v->len[k] - i - 2) * sizeof v->sym[k][0]);
                    v->len[k]--;
                }
    }
    free(v);
    ed__words_deinit(&w);
    ed_tokenizer_destroy(&t);
}

static double time_letters(const ed_tokenizer *t, size_t n) {
    char *text = malloc(n);
    ed_token_ids ids = {0};
    ed_error e = {0};
    assert_non_null(text);
    memset(text, 'e', n);
    clock_t t0 = clock(); /* processor time: other work on the machine must not count */
    check_ok(ed_tokenizer_encode(t, text, n, 0, &ids, &e), &e);
    double s = (double)(clock() - t0) / CLOCKS_PER_SEC;
    ed_token_ids_deinit(&ids);
    free(text);
    return s;
}

static void test_long_word_is_near_linear(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    char text[600];
    memset(text, 'e', sizeof text);
    o.vocab_size = 280;
    check_ok(ed_tokenizer_train_text(&o, text, sizeof text, (ed_progress){0}, &t, &e), &e);
    assert_true(ed_tokenizer_id(t, "eeee", 4) >= 0); /* so that merging really happens */
    double small = 1e9, large = 1e9;
    for (int i = 0; i < 3; i++) { /* the best of three */
        double s = time_letters(t, 1 << 16), l = time_letters(t, 1 << 20);
        small = s < small ? s : small;
        large = l < large ? l : large;
    }
    if (large > 20 * 1.5 * small + 0.05)
        fail_msg("1 MiB takes %.1f times as long as 64 KiB", large / small);
    ed_tokenizer_destroy(&t);
}

static void test_normaliser_and_offsets(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    ed_token_ids ids = {0};
    ed_token_text out = {0};
    o.kind = ED_TOKENIZER_CHARS;
    o.normalizer = ED_NORMALIZER_NFKC;
    o.lowercase = true;
    const char *train = "abcdefi12\xE2\x81\x84 \xC3\xA9\xEA\xB0\x80\xCC\x87";
    check_ok(ed_tokenizer_train_text(&o, train, strlen(train), (ed_progress){0}, &t, &e), &e);
    /* A | e + acute -> é | ﬁ -> f i | ½ -> 1 ⁄ 2 | ㄱ + ㅏ -> 가 (compatibility letters) | İ -> i + dot */
    const char *text = "Ae\xCC\x81\xEF\xAC\x81\xC2\xBD\xE3\x84\xB1\xE3\x85\x8F\xC4\xB0";
    check_ok(ed_tokenizer_encode(t, text, strlen(text), ED_ENCODE_OFFSETS, &ids, &e), &e);
    check_ok(ed_tokenizer_decode(t, ids.ids, ids.n, 0, &out, &e), &e);
    assert_string_equal(out.data, "a\xC3\xA9" "fi1\xE2\x81\x84" "2\xEA\xB0\x80i\xCC\x87");
    int64_t begin[] = {0, 1, 4, 4, 7, 7, 7, 9, 15, 15}, end[] = {1, 4, 7, 7, 9, 9, 9, 15, 17, 17};
    assert_int_equal(ids.n, 10);
    assert_memory_equal(ids.begin, begin, sizeof begin);
    assert_memory_equal(ids.end, end, sizeof end);
    ed_token_ids_deinit(&ids);
    ed_token_text_deinit(&out);
    ed_tokenizer_destroy(&t);
}

/* A million combining marks of alternating classes: canonical ordering must not be quadratic. */
static void test_hostile_marks(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    ed_token_ids ids = {0};
    o.kind = ED_TOKENIZER_BYTES;
    o.normalizer = ED_NORMALIZER_NFC;
    check_ok(ed_tokenizer_train(&o, NULL, 0, (ed_progress){0}, &t, &e), &e);
    size_t n = 1 << 20;
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t i = 0; i + 4 <= n; i += 4)
        memcpy(text + i, "\xCC\x87\xCC\xA3", 4); /* dot above (230), dot below (220) */
    double t0 = ed_time_s();
    check_ok(ed_tokenizer_encode(t, text, n, 0, &ids, &e), &e);
    assert_true(ed_time_s() - t0 < 10);
    assert_int_equal(ids.n, n);
    assert_int_equal(ids.ids[1], 3 + 0xA3); /* all dots below come first now */
    assert_int_equal(ids.ids[n - 1], 3 + 0x87);
    ed_token_ids_deinit(&ids);
    free(text);
    ed_tokenizer_destroy(&t);
}

static void test_streaming_pieces(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BPE, 500);
    ed_token_ids ids = {0};
    ed_error e = {0};
    const char *text = " the \xF0\x9F\x98\x80 dog";
    char out[64];
    size_t n_out = 0;
    check_ok(ed_tokenizer_encode(t, text, strlen(text), ED_ENCODE_ADD_SPECIAL, &ids, &e), &e);
    for (int64_t i = 0; i + 1 < ids.n; i++) {
        const char *s;
        size_t n;
        assert_int_equal(ed_tokenizer_piece(t, i ? ids.ids[i - 1] : -1, ids.ids[i], &s, &n), ED_OK);
        memcpy(out + n_out, s, n);
        n_out += n;
    }
    assert_int_equal(n_out, strlen(text));
    assert_memory_equal(out, text, n_out);
    int32_t the = ed_tokenizer_id(t, "\xE2\x96\x81the", 6);
    assert_true(the >= 0 && (ed_tokenizer_flags(t, the) & ED_TOKEN_WORD_START));
    assert_true(ed_tokenizer_flags(t, ed_tokenizer_id(t, "<0x41>", 6)) & ED_TOKEN_BYTE);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_memory_failures(void **state) {
    (void)state;
    ed_tokenizer *t = train_small(ED_TOKENIZER_BPE, 450), *u = NULL;
    ed_error e = {0};
    const char *text = "the reader reads \xE7\x81\xAB";
    int64_t blocks = ed__mem_blocks();
    for (int64_t n = 0; n < 12; n++) {
        ed_token_ids ids = {0};
        ed__mem_fail_after(n, true);
        ed_status s = ed_tokenizer_encode(t, text, strlen(text), ED_ENCODE_OFFSETS, &ids, &e);
        ed__mem_fail_after(-1, false);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        ed_token_ids_deinit(&ids);
    }
    for (int64_t n = 0; n < 400; n += 7) {
        ed__mem_fail_after(n, true);
        ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
        o.vocab_size = 300;
        ed_status s = ed_tokenizer_train_text(&o, text, strlen(text), (ed_progress){0}, &u, &e);
        ed__mem_fail_after(-1, false);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        ed_tokenizer_destroy(&u);
        assert_int_equal(ed__mem_blocks(), blocks);
    }
    ed_tokenizer_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_no_prefix_round_trips),
        cmocka_unit_test(test_merges_by_hand),
        cmocka_unit_test(test_against_naive_merger),
        cmocka_unit_test(test_against_naive_trainer),
        cmocka_unit_test(test_long_word_is_near_linear),
        cmocka_unit_test(test_normaliser_and_offsets),
        cmocka_unit_test(test_hostile_marks),
        cmocka_unit_test(test_streaming_pieces),
        cmocka_unit_test(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
