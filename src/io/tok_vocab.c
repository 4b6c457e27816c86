/* io/tok_vocab.c - a string interner and the vocabulary built on it.
 * Invariants: piece ids are dense and in the order of adding; two pieces never have the same text; two pieces may have the same bytes (only the first
 * ordinary one is matched in input). Special and byte pieces are never matched in input. */
#include "io/tok.h"

enum { FIRST_SLOTS = 256 };
#define MAX_BLOB ((size_t)1 << 40)

void ed__intern_init(ed__intern *in, size_t max_items) {
    memset(in, 0, sizeof *in);
    in->max = max_items;
}

void ed__intern_deinit(ed__intern *in) {
    ed__free(in->blob);
    ed__free(in->items);
    ed__free(in->slots);
    ed__intern_init(in, in->max);
}

/* Index of the slot that holds s, or of the free slot where it belongs. */
static size_t find_slot(const ed__intern *in, const char *s, size_t n, uint64_t hash) {
    size_t mask = in->n_slots - 1, i = (size_t)(hash >> 32) & mask;
    uint32_t tag = (uint32_t)hash;
    for (; in->slots[i]; i = (i + 1) & mask) {
        const ed__intern_item *it = &in->items[in->slots[i] - 1];
        if (it->tag == tag && it->len == n && memcmp(in->blob + it->at, s, n) == 0)
            break;
    }
    return i;
}

int32_t ed__intern_find(const ed__intern *in, const char *s, size_t n) {
    if (in->n == 0)
        return -1;
    return (int32_t)in->slots[find_slot(in, s, n, ed__hash64(s, n, 0))] - 1;
}

static ed_status grow_slots(ed__intern *in) {
    size_t n = in->n_slots ? in->n_slots * 2 : FIRST_SLOTS;
    uint32_t *slots = ed__calloc(n, sizeof *slots);
    if (!slots)
        return ED_E_MEMORY;
    for (size_t k = 0; k < in->n; k++) {
        const ed__intern_item *it = &in->items[k];
        size_t i = (size_t)(ed__hash64(in->blob + it->at, it->len, 0) >> 32) & (n - 1);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)k + 1;
    }
    ed__free(in->slots);
    in->slots = slots;
    in->n_slots = n;
    return ED_OK;
}

ed_status ed__intern_put(ed__intern *in, const char *s, size_t n, int32_t *id) {
    if (n > UINT32_MAX)
        return ED_E_LIMIT;
    if (in->n * 2 >= in->n_slots)
        ED_TRY(grow_slots(in));
    uint64_t hash = ed__hash64(s, n, 0);
    size_t i = find_slot(in, s, n, hash);
    if (!in->slots[i]) {
        if (in->n >= in->max || in->n >= INT32_MAX)
            return ED_E_LIMIT;
        ED_TRY(ed__grow((void **)&in->items, &in->cap, in->n + 1, sizeof *in->items, in->max));
        ED_TRY(ed__grow((void **)&in->blob, &in->blob_cap, in->blob_len + n + 1, 1, MAX_BLOB));
        in->items[in->n] = (ed__intern_item){in->blob_len, (uint32_t)n, (uint32_t)hash};
        if (n)
            memcpy(in->blob + in->blob_len, s, n);
        in->blob[in->blob_len + n] = 0;
        in->blob_len += n + 1;
        in->slots[i] = (uint32_t)++in->n;
    }
    *id = (int32_t)in->slots[i] - 1;
    return ED_OK;
}

/* ------------------------------------------------------------------ forms of a piece */

/* GPT-2 writes a byte as the character of the same number when that is visible, else as 256 + its place among the invisible ones. */
static bool byte_visible(int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
}

uint32_t ed__bytelevel_char(unsigned char b) {
    if (byte_visible(b))
        return b;
    uint32_t k = 0;
    for (int i = 0; i < b; i++)
        k += !byte_visible(i);
    return 256 + k;
}

int ed__bytelevel_byte(uint32_t cp) {
    if (cp < 256)
        return byte_visible((int)cp) ? (int)cp : -1;
    for (int i = 0, k = 256; i < 256; i++)
        if (!byte_visible(i) && (uint32_t)k++ == cp)
            return i;
    return -1;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int ed__byte_piece(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex_digit(s[3]) < 0 || hex_digit(s[4]) < 0)
        return -1;
    return hex_digit(s[3]) * 16 + hex_digit(s[4]);
}

/* Bytes of an ordinary piece; `out` has room for n bytes (no form makes text longer). False: a character outside the byte alphabet. */
static bool piece_bytes(ed__piece_form form, const char *text, size_t n, char *out, size_t *n_out) {
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)text + i, n - i, &cp);
        if (len == 0)
            len = 1; /* llama2c pieces may be any bytes */
        if (form == ED__FORM_METASPACE && cp == 0x2581) {
            out[k++] = ' ';
        } else if (form == ED__FORM_BYTELEVEL) {
            int b = ed__bytelevel_byte(cp);
            if (b < 0)
                return false;
            out[k++] = (char)b;
        } else {
            memcpy(out + k, text + i, (size_t)len);
            k += (size_t)len;
        }
        i += (size_t)len;
    }
    *n_out = k;
    return true;
}

ed_status ed__vocab_add(ed__vocab *v, ed__piece_form form, bool byte_fallback, const char *text, size_t n, uint32_t flags, ed_error *err) {
    ED_FAIL_IF(n > ED_TOKENIZER_MAX_PIECE_BYTES, ED_E_FORMAT, err, "a piece of %zu bytes, the limit is %d", n, ED_TOKENIZER_MAX_PIECE_BYTES);
    ED_FAIL_IF(ed__intern_find(&v->text, text, n) >= 0, ED_E_FORMAT, err, "piece '%s' stands twice in the vocabulary", text);
    ED_FAIL_IF(v->text.n >= (size_t)ED_TOKENIZER_MAX_VOCAB, ED_E_LIMIT, err, "more than %d pieces", (int)ED_TOKENIZER_MAX_VOCAB);
    char bytes[ED_TOKENIZER_MAX_PIECE_BYTES];
    size_t n_bytes = n;
    int byte = byte_fallback && !(flags & ED_TOKEN_SPECIAL) ? ed__byte_piece(text, n) : -1;
    if (flags & ED_TOKEN_SPECIAL) {
        memcpy(bytes, text, n);
    } else if (byte >= 0) {
        bytes[0] = (char)byte;
        n_bytes = 1;
        flags |= ED_TOKEN_BYTE;
    } else {
        ED_FAIL_IF(!piece_bytes(form, text, n, bytes, &n_bytes), ED_E_FORMAT, err, "piece '%s' has a character outside the byte alphabet", text);
    }
    if (!(flags & ED_TOKEN_SPECIAL) && n_bytes && bytes[0] == ' ')
        flags |= ED_TOKEN_WORD_START;
    int32_t id = 0, b = 0;
    size_t before = v->bytes.n, max = (size_t)ED_TOKENIZER_MAX_VOCAB + 1;
    ed_status s = ed__grow((void **)&v->bytes_of, &v->cap_bytes_of, v->text.n + 1, sizeof *v->bytes_of, max);
    if (s == ED_OK)
        s = ed__grow((void **)&v->flags, &v->cap_flags, v->text.n + 1, sizeof *v->flags, max);
    if (s == ED_OK)
        s = ed__grow((void **)&v->match_of, &v->cap_match_of, v->bytes.n + 1, sizeof *v->match_of, max);
    if (s == ED_OK)
        s = ed__intern_put(&v->bytes, bytes, n_bytes, &b);
    if (s == ED_OK && v->bytes.n > before)
        v->match_of[b] = -1;
    if (s == ED_OK)
        s = ed__intern_put(&v->text, text, n, &id);
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the vocabulary");
    v->bytes_of[id] = b;
    v->flags[id] = (uint8_t)flags;
    /* A plain space inside a metaspace piece can never come out of cutting: the input's spaces are U+2581 there. */
    bool dead = form == ED__FORM_METASPACE && memchr(text, ' ', n);
    if (!(flags & (ED_TOKEN_SPECIAL | ED_TOKEN_BYTE)) && !dead && n_bytes && v->match_of[b] < 0)
        v->match_of[b] = id;
    return ED_OK;
}

int32_t ed__vocab_match(const ed__vocab *v, const char *s, size_t n) {
    int32_t b = ed__intern_find(&v->bytes, s, n);
    return b < 0 ? -1 : v->match_of[b];
}
