/* io/tok_bytebpe.c - byte-level BPE as in GPT-2 (Radford et al. 2019): text is cut by GPT-2's pattern, then bytes merge. Pieces are written in an alphabet
 * of visible characters, one per byte. Every byte has a piece, so nothing is unknown. Stretches that are not UTF-8 are words of their own; the pattern
 * sees valid stretches only (so the matcher need not check the whole text again for each match). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "io/tok.h"

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static void bytebpe_destroy(ed_tokenizer *t) {
    pcre2_code_free(t->impl);
    t->impl = NULL;
}

static ed_status compile(ed_tokenizer *t, ed_error *err) {
    int code = 0;
    PCRE2_SIZE at = 0;
    if (!t->pattern || t->impl)
        return ED_OK;
    t->impl = pcre2_compile((PCRE2_SPTR)GPT2_PATTERN, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    ED_FAIL_IF(!t->impl, ED_E_UNSUPPORTED, err, "this build of PCRE2 has no Unicode support (error %d)", code);
    pcre2_jit_compile(t->impl, PCRE2_JIT_COMPLETE); /* where there is no JIT, matching works all the same */
    return ED_OK;
}

static ed_status bytebpe_prepare(ed_tokenizer *t, ed_error *err) {
    int32_t unk = t->special[ED_SPECIAL_UNK];
    for (int b = 0; b < 256; b++) {
        char s = (char)b;
        t->byte_id[b] = ed__vocab_match(&t->vocab, &s, 1);
        if (t->byte_id[b] < 0)
            t->byte_id[b] = unk;
        ED_FAIL_IF(t->byte_id[b] < 0, ED_E_FORMAT, err, "no piece for byte 0x%02X and no unknown token", (unsigned)b);
    }
    return compile(t, err);
}

typedef ed_status (*word_fn)(void *ctx, size_t begin, size_t end);

/* Words of the valid stretch [from, to). */
static ed_status cut_valid(const ed_tokenizer *t, pcre2_match_data *md, const char *s, size_t from, size_t to, word_fn fn, void *ctx) {
    for (size_t i = from; i < to;) {
        int rc = pcre2_match(t->impl, (PCRE2_SPTR)s + from, to - from, i - from, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED, md, NULL);
        if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
            return rc == PCRE2_ERROR_NOMEMORY ? ED_E_MEMORY : ED_E_LIMIT;
        size_t end = rc < 0 ? to : from + pcre2_get_ovector_pointer(md)[1]; /* the pattern matches anywhere; no match would mean the rest */
        ED_TRY(fn(ctx, i, end));
        i = end;
    }
    return ED_OK;
}

/* End of the stretch of bytes that are not UTF-8, which begins at i. */
static size_t invalid_end(const char *s, size_t n, size_t i) {
    uint32_t cp;
    while (i < n && ed__utf8_decode((const unsigned char *)s + i, n - i, &cp) == 0)
        i++;
    return i;
}

static ed_status cut(const ed_tokenizer *t, const char *s, size_t n, word_fn fn, void *ctx) {
    if (!t->pattern)
        return n ? fn(ctx, 0, n) : ED_OK;
    if (!t->impl)
        return ED_E_MEMORY; /* a failed ed_tokenizer_add_special */
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    ed_status st = md ? ED_OK : ED_E_MEMORY;
    for (size_t i = 0; st == ED_OK && i < n;) {
        size_t valid = i + ed__utf8_valid(s + i, n - i), end = invalid_end(s, n, valid);
        st = cut_valid(t, md, s, i, valid, fn, ctx);
        if (st == ED_OK && end > valid)
            st = fn(ctx, valid, end);
        i = end;
    }
    pcre2_match_data_free(md);
    return st;
}

typedef struct encoder {
    const ed_tokenizer *t;
    const ed__tok_text *x;
    ed__tok_sink *out;
    ed__merge_scratch s;
} encoder;

static ed_status byte_symbols(const ed_tokenizer *t, const char *word, size_t n, ed__merge_scratch *s) {
    s->n = 0;
    for (size_t i = 0; i < n; i++)
        ED_TRY(ed__scratch_push(s, t->byte_id[(unsigned char)word[i]], (uint32_t)i));
    return ED_OK;
}

static ed_status encode_word(void *ctx, size_t begin, size_t end) {
    encoder *e = ctx;
    const char *word = e->x->data + begin;
    if (e->t->ignore_merges) {
        int32_t id = ed__vocab_match(&e->t->vocab, word, end - begin);
        if (id >= 0)
            return ed__tok_emit(e->out, id, begin, end);
    }
    ED_TRY(byte_symbols(e->t, word, end - begin, &e->s));
    ED_TRY(ed__merge_word(&e->t->merges, &e->s));
    return ed__tok_emit_symbols(&e->s, begin, end - begin, e->out);
}

static ed_status bytebpe_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err) {
    (void)err;
    encoder e = {t, x, out, {0}};
    ed_status st = cut(t, x->data, x->n, encode_word, &e);
    ed__scratch_deinit(&e.s);
    return st;
}

/* ------------------------------------------------------------------ training */

enum { MAX_TRAIN_WORD = 512 };
typedef struct counter {
    const ed_tokenizer *t;
    const char *text;
    ed__words *words;
} counter;

static ed_status count_word(void *ctx, size_t begin, size_t end) {
    counter *c = ctx;
    for (size_t n; begin < end; begin += n) {
        n = end - begin < MAX_TRAIN_WORD ? end - begin : MAX_TRAIN_WORD;
        ED_TRY(ed__words_add(c->words, c->text + begin, n, 1));
    }
    return ED_OK;
}

static ed_status count_line(void *ctx, const char *line, size_t n, ed_error *err) {
    counter *c = ctx;
    (void)err;
    ed__tok_text x;
    ED_TRY(ed__tok_text_init(&x, &c->t->norm, false, false, line, n));
    c->text = x.data;
    ed_status s = cut(c->t, x.data, x.n, count_word, c);
    ed__tok_text_deinit(&x);
    return s;
}

static ed_status bytebpe_train(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    ed__words w = {0};
    counter k = {t, NULL, &w};
    ed_status s = ed__tok_add_byte_alphabet(t, err);
    if (s == ED_OK)
        s = bytebpe_prepare(t, err);
    if (s == ED_OK)
        s = ed__corpus_lines(c, true, count_line, &k, err);
    if (s == ED_OK)
        s = ed__train_merges(t, &w, o, byte_symbols, c, err);
    ed__words_deinit(&w);
    return s;
}

const ed__tok_kind ed__tok_bytebpe = {"bytebpe", bytebpe_prepare, bytebpe_encode, bytebpe_train, bytebpe_destroy};
