/* io/tok_bytes.c - the byte tokenizer: each byte is a token, specials first (ids 0 pad, 1 </s>, 2 <unk>, then byte b = 3 + b by default, the layout of
 * ByT5, Xue et al. 2022). In tokenizer.json it is a byte-level BPE without merges and without pattern. */
#include "io/tok.h"

static ed_status bytes_prepare(ed_tokenizer *t, ed_error *err) {
    for (int b = 0; b < 256; b++) {
        char s = (char)b;
        t->byte_id[b] = ed__vocab_match(&t->vocab, &s, 1);
        ED_FAIL_IF(t->byte_id[b] < 0, ED_E_FORMAT, err, "no piece for byte 0x%02X", (unsigned)b);
    }
    return ED_OK;
}

static ed_status bytes_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err) {
    (void)err;
    for (size_t i = 0; i < x->n; i++)
        ED_TRY(ed__tok_emit(out, t->byte_id[(unsigned char)x->data[i]], i, i + 1));
    return ED_OK;
}

static ed_status bytes_train(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    (void)o;
    (void)c;
    return ed__tok_add_byte_alphabet(t, err);
}

const ed__tok_kind ed__tok_bytes = {"bytes", bytes_prepare, bytes_encode, bytes_train, NULL};
