/* io/tok_chars.c - the character tokenizer: each code point of the training text is a piece, any other character or stray byte is the unknown token.
 * Pieces stand in code point order. In tokenizer.json it is a BPE without merges and without metaspace. U+0000 has no piece (JSON keys cannot hold it). */
#include "io/tok.h"

static ed_status chars_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err) {
    (void)err;
    for (size_t i = 0; i < x->n;) {
        unsigned char c = (unsigned char)x->data[i];
        uint32_t cp = 0;
        int len = c < 0x80 ? 1 : ed__utf8_decode((const unsigned char *)x->data + i, x->n - i, &cp);
        int32_t id = c < 0x80 ? t->char_id[c] : len ? ed__vocab_match(&t->vocab, x->data + i, (size_t)len) : -1;
        len = len ? len : 1;
        if (id < 0)
            id = t->special[ED_SPECIAL_UNK];
        if (id < 0)
            return ED_E_NOT_FOUND;
        ED_TRY(ed__tok_emit(out, id, i, i + (size_t)len));
        i += (size_t)len;
    }
    return ED_OK;
}

enum { CODE_POINTS = 0x110000 };
typedef struct seen {
    const ed_tokenizer *t;
    unsigned char *bits; /* [CODE_POINTS / 8] */
} seen;

static ed_status see_line(void *ctx, const char *line, size_t n, ed_error *err) {
    seen *p = ctx;
    (void)err;
    ed__tok_text x;
    ED_TRY(ed__tok_text_init(&x, &p->t->norm, false, false, line, n));
    for (size_t i = 0; i < x.n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)x.data + i, x.n - i, &cp);
        if (len && cp)
            p->bits[cp / 8] |= (unsigned char)(1u << cp % 8);
        i += (size_t)(len ? len : 1);
    }
    ed__tok_text_deinit(&x);
    return ED_OK;
}

static ed_status chars_train(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    (void)o;
    seen s = {t, ed__calloc(CODE_POINTS / 8, 1)};
    ED_FAIL_IF(!s.bits, ED_E_MEMORY, err, "no memory to train");
    ed_status st = ed__corpus_lines(c, true, see_line, &s, err);
    for (uint32_t cp = 1; st == ED_OK && cp < CODE_POINTS; cp++)
        if (s.bits[cp / 8] >> cp % 8 & 1) {
            char text[5] = {0};
            int n = ed__utf8_encode(cp, text);
            if (ed__intern_find(&t->vocab.text, text, (size_t)n) < 0)
                st = ed__tok_add(t, text, (size_t)n, 0, err);
        }
    ed__free(s.bits);
    return st;
}

const ed__tok_kind ed__tok_chars = {"chars", NULL, chars_encode, chars_train, NULL};
