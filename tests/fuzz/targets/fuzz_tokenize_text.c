/* tests/fuzz/targets/fuzz_tokenize_text.c - any bytes as text for each kind of tokenizer; without a normaliser decode must give them back exactly. The first
 * byte chooses kind, normaliser and flags. */
#include "fuzz/tok_use.h"

enum { N_FORMS = 3 };
static const char TRAINING[] = "the reader reads the longest sentence and the writer writes it again\nDon't we'll 12 34 12 caf\xC3\xA9 caf\xC3\xA9 na\xC3\xAFve\n"
                               "  the  reader\t\tthe\xE2\x96\x81reader \xE2\x96\x81 aaaa aaaa aaaaaaaa\n";

static ed_tokenizer *make(int kind, int form) {
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    o.kind = kind;
    o.vocab_size = 380;
    o.normalizer = form;
    o.lowercase = form == ED_NORMALIZER_NFKC;
    if (ed_tokenizer_train_text(&o, TRAINING, sizeof TRAINING - 1, (ed_progress){0}, &t, NULL) != ED_OK)
        abort();
    return t;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static ed_tokenizer *tokenizers[ED_TOKENIZER_KIND_COUNT][N_FORMS];
    if (size == 0)
        return 0;
    int kind = data[0] % ED_TOKENIZER_KIND_COUNT, form = data[0] / 8 % N_FORMS;
    uint32_t flags = (data[0] & 64 ? ED_ENCODE_PARSE_SPECIAL : 0) | (data[0] & 128 ? ED_ENCODE_OFFSETS : 0);
    ed_tokenizer **t = &tokenizers[kind][form];
    if (!*t)
        *t = make(kind, form);
    use_text(*t, data + 1, size - 1, flags, form == 0 && kind != ED_TOKENIZER_CHARS);
    return 0;
}
