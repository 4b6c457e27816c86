/* io/tok_bpe.c - byte-pair encoding over characters (Sennrich et al. 2016) with spaces as U+2581 and byte fallback, as SentencePiece writes it.
 * The text is cut before spaces that no piece reaches across. Training keeps letters, digits and other characters in
 * separate pieces; since pieces then never mix them, encoding needs no such cut. */
#include "io/tok.h"

static ed_status encode_words(const ed_tokenizer *t, const ed__tok_text *x, ed__merge_scratch *s, ed__tok_sink *out) {
    for (size_t i = 0; i < x->n;) {
        size_t j = ed__tok_word_end(t, x, i);
        ED_TRY(ed__tok_char_symbols(t, x->data + i, j - i, s));
        ED_TRY(ed__merge_word(&t->merges, s));
        ED_TRY(ed__tok_emit_symbols(s, i, j - i, out));
        i = j;
    }
    return ED_OK;
}

ed_status ed__bpe_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err) {
    (void)err;
    ed__merge_scratch s = {0};
    ed_status st = encode_words(t, x, &s, out);
    ed__scratch_deinit(&s);
    return st;
}

/* Symbols for training: characters outside the alphabet are -1, which no pair may contain. */
static ed_status train_symbols(const ed_tokenizer *t, const char *word, size_t n, ed__merge_scratch *s) {
    s->n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)word + i, n - i, &cp);
        len = len ? len : 1;
        ED_TRY(ed__scratch_push(s, ed__vocab_match(&t->vocab, word + i, (size_t)len), (uint32_t)i));
        i += (size_t)len;
    }
    return ED_OK;
}

static ed_status add_alphabet(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__words *w, ed_error *err) {
    uint32_t *cps = NULL;
    size_t n = 0;
    ED_TRY(ed__words_alphabet(w, o->coverage, &cps, &n, err));
    ed_status s = ED_OK;
    for (size_t i = 0; s == ED_OK && i < n; i++) {
        char text[5] = {0};
        int len = ed__utf8_encode(cps[i] == ' ' ? 0x2581 : cps[i], text);
        if (ed__intern_find(&t->vocab.text, text, (size_t)len) < 0)
            s = ed__tok_add(t, text, (size_t)len, 0, err);
    }
    ed__free(cps);
    return s;
}

static ed_status bpe_train(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    ed__words w = {0};
    ed_status s = ed__words_count(t, c, &w, err);
    if (s == ED_OK && t->byte_fallback)
        s = ed__tok_add_byte_pieces(t, err);
    if (s == ED_OK)
        s = add_alphabet(t, o, &w, err);
    if (s == ED_OK)
        s = ed__train_merges(t, &w, o, train_symbols, c, err);
    ed__words_deinit(&w);
    return s;
}

const ed__tok_kind ed__tok_bpe = {"bpe", NULL, ed__bpe_encode, bpe_train, NULL};
