/* tests/fuzz/tok_use.h - what the tokenizer targets do with a vocabulary that was accepted: encode, decode, look up; ids must be in range. */
#ifndef TOK_USE_H
#define TOK_USE_H

#include <stdlib.h>
#include <string.h>

#include "endec/tokenizer.h"

static inline void use_text(const ed_tokenizer *t, const void *text, size_t n, uint32_t flags, bool exact) {
    ed_token_ids ids = {0};
    ed_token_text out = {0};
    if (ed_tokenizer_encode(t, text, n, flags, &ids, NULL) == ED_OK) {
        for (int64_t i = 0; i < ids.n; i++) {
            if (ids.ids[i] < 0 || ids.ids[i] >= ed_tokenizer_vocab_size(t))
                abort();
            if (!(flags & (ED_ENCODE_PARSE_SPECIAL | ED_ENCODE_ADD_SPECIAL)) && (ed_tokenizer_flags(t, ids.ids[i]) & ED_TOKEN_SPECIAL) &&
                ids.ids[i] != ed_tokenizer_special(t, ED_SPECIAL_UNK))
                abort(); /* a special token out of plain text */
            if ((flags & ED_ENCODE_OFFSETS) && (ids.begin[i] < 0 || ids.begin[i] > ids.end[i] || ids.end[i] > (int64_t)n))
                abort();
        }
        if (ed_tokenizer_decode(t, ids.ids, ids.n, 0, &out, NULL) != ED_OK)
            abort();
        if (exact && (out.n != n || (n && memcmp(out.data, text, n) != 0)))
            abort();
    } else if (exact) {
        abort();
    }
    ed_token_ids_deinit(&ids);
    ed_token_text_deinit(&out);
}

static inline void use_tokenizer(const ed_tokenizer *t) {
    static const char text[] = " ab\xE2\x96\x81 abc<0x41><unk></s> \xFF\xC3\xA9 'll\n\n  x aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    use_text(t, text, sizeof text, 0, false);
    use_text(t, text, sizeof text - 1, ED_ENCODE_OFFSETS | ED_ENCODE_ADD_SPECIAL, false);
    use_text(t, text, sizeof text - 1, ED_ENCODE_PARSE_SPECIAL, false);
    for (int32_t id = 0; id < ed_tokenizer_vocab_size(t); id++) {
        size_t n;
        const char *s = ed_tokenizer_text(t, id, &n);
        if (!s || ed_tokenizer_id(t, s, n) != id)
            abort();
    }
}

#endif
