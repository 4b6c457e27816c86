/* io/tokenizers.c - the list of tokenizer kinds and the calls that all share: building and indexing a vocabulary, encode (special tokens, normaliser, then
 * the kind), decode, look-ups. The kinds themselves see one plain text at a time and never a special token. */
#include <assert.h>

#include "io/tok.h"

/* ------------------------------------------------------------------ building */

ed_status ed__tok_create(const ed__tok_kind *kind, ed_tokenizer **out) {
    ed_tokenizer *t = ed__calloc(1, sizeof *t);
    if (!t)
        return ED_E_MEMORY;
    t->kind = kind;
    t->first = t->last = -1;
    for (int i = 0; i < ED_SPECIAL_COUNT; i++)
        t->special[i] = -1;
    ed__intern_init(&t->vocab.text, (size_t)ED_TOKENIZER_MAX_VOCAB);
    ed__intern_init(&t->vocab.bytes, (size_t)ED_TOKENIZER_MAX_VOCAB);
    *out = t;
    return ED_OK;
}

void ed_tokenizer_destroy(ed_tokenizer **tp) {
    ed_tokenizer *t = tp ? *tp : NULL;
    if (!t)
        return;
    if (t->kind->destroy)
        t->kind->destroy(t);
    ed__intern_deinit(&t->vocab.text);
    ed__intern_deinit(&t->vocab.bytes);
    ed__free(t->vocab.bytes_of);
    ed__free(t->vocab.match_of);
    ed__free(t->vocab.flags);
    ed__merges_deinit(&t->merges);
    ed__trie_deinit(&t->specials);
    ed__free(t->scores);
    ed__free(t);
    *tp = NULL;
}

ed_status ed__tok_add(ed_tokenizer *t, const char *text, size_t n, uint32_t flags, ed_error *err) {
    return ed__vocab_add(&t->vocab, t->form, t->byte_fallback, text, n, flags, err);
}

ed_status ed__tok_add_byte_pieces(ed_tokenizer *t, ed_error *err) {
    static const char hex[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; b++) {
        char text[7] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>', 0};
        ED_TRY(ed__tok_add(t, text, 6, 0, err));
    }
    return ED_OK;
}

ed_status ed__tok_add_byte_alphabet(ed_tokenizer *t, ed_error *err) {
    for (int b = 0; b < 256; b++) {
        char text[5] = {0};
        int n = ed__utf8_encode(ed__bytelevel_char((unsigned char)b), text);
        ED_TRY(ed__tok_add(t, text, (size_t)n, 0, err));
    }
    return ED_OK;
}

static ed_status index_specials(ed_tokenizer *t) {
    size_t n = 0, n_vocab = t->vocab.text.n;
    for (size_t i = 0; i < n_vocab; i++)
        n += (t->vocab.flags[i] & ED_TOKEN_SPECIAL) != 0;
    ed__trie_key *keys = ed__malloc((n + 1) * sizeof *keys);
    if (!keys)
        return ED_E_MEMORY;
    n = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if (t->vocab.flags[i] & ED_TOKEN_SPECIAL) {
            size_t len;
            const char *s = ed__intern_get(&t->vocab.text, (int32_t)i, &len);
            keys[n++] = (ed__trie_key){s, (uint32_t)len, (int32_t)i};
        }
    ed_status st = ed__trie_build(&t->specials, keys, n);
    ed__free(keys);
    return st;
}

static void index_bytes(ed_tokenizer *t) {
    for (int b = 0; b < 256; b++)
        t->byte_id[b] = -1;
    for (int32_t id = ed__vocab_size(&t->vocab) - 1; id >= 0; id--)
        if (t->vocab.flags[id] & ED_TOKEN_BYTE) {
            size_t n;
            t->byte_id[(unsigned char)*ed__intern_get(&t->vocab.bytes, t->vocab.bytes_of[id], &n)] = id;
        }
    for (int c = 0; c < 128; c++) {
        char s = (char)c;
        t->char_id[c] = ed__vocab_match(&t->vocab, &s, 1);
    }
}

static void index_spaces(ed_tokenizer *t) {
    memset(t->space_after, t->char_id[' '] < 0, sizeof t->space_after); /* an unknown space may be one with its neighbours */
    for (size_t b = 0; b < t->vocab.bytes.n; b++) {
        size_t n;
        const char *s = ed__intern_get(&t->vocab.bytes, (int32_t)b, &n);
        for (size_t i = 1; t->vocab.match_of[b] >= 0 && i < n; i++)
            if (s[i] == ' ')
                t->space_after[(unsigned char)s[i - 1]] = true;
    }
}

size_t ed__tok_word_end(const ed_tokenizer *t, const ed__tok_text *x, size_t i) {
    const char *end = x->data + x->n, *p = x->data + i + 1;
    while (p < end && (p = memchr(p, ' ', (size_t)(end - p))) != NULL) {
        if (t->split || !t->space_after[(unsigned char)p[-1]])
            return (size_t)(p - x->data);
        p++;
    }
    return x->n;
}

static ed_status hash_vocab(ed_tokenizer *t) {
    ed__buf b;
    ed__buf_init(&b, SIZE_MAX / 2);
    for (int32_t id = 0; id < ed__vocab_size(&t->vocab); id++) {
        size_t n;
        const char *s = ed__intern_get(&t->vocab.text, id, &n);
        unsigned char head[5] = {(unsigned char)n, (unsigned char)(n >> 8), (unsigned char)(n >> 16), (unsigned char)(n >> 24),
                                 t->vocab.flags[id] & ED_TOKEN_SPECIAL};
        ed__buf_put(&b, head, sizeof head);
        ed__buf_put(&b, s, n);
    }
    ed_status st = b.status;
    if (st == ED_OK)
        t->hash = ed__hash64(b.data, b.len, 0);
    ed__buf_deinit(&b);
    return st;
}

ed_status ed__tok_finish(ed_tokenizer *t, ed_error *err) {
    ED_FAIL_IF(t->vocab.text.n == 0, ED_E_FORMAT, err, "the vocabulary is empty");
    index_bytes(t);
    index_spaces(t);
    ed_status s = index_specials(t);
    if (s == ED_OK)
        s = hash_vocab(t);
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the vocabulary's index");
    for (int i = 0; i < ED_SPECIAL_COUNT; i++)
        assert(t->special[i] < ed__vocab_size(&t->vocab));
    return t->kind->prepare ? t->kind->prepare(t, err) : ED_OK;
}

ed_status ed_tokenizer_add_special(ed_tokenizer *t, const char *text, ed_special role, int32_t *id, ed_error *err) {
    size_t n = text ? strlen(text) : 0;
    ED_FAIL_IF(!t || n == 0 || n > ED_TOKENIZER_MAX_PIECE_BYTES || ed__utf8_valid(text, n) != n, ED_E_INVALID, err,
               "a special token must be UTF-8 of 1 to %d bytes", ED_TOKENIZER_MAX_PIECE_BYTES);
    ED_FAIL_IF(role < 0 || role > ED_SPECIAL_COUNT, ED_E_INVALID, err, "no such role of a special token: %d", (int)role);
    int32_t found = ed__intern_find(&t->vocab.text, text, n);
    ED_FAIL_IF(found >= 0 && !(t->vocab.flags[found] & ED_TOKEN_SPECIAL), ED_E_INVALID, err, "'%s' is an ordinary piece already", text);
    if (found < 0) {
        found = ed__vocab_size(&t->vocab);
        if (t->scores) {
            double *s = ed__realloc(t->scores, ((size_t)found + 1) * sizeof *s);
            ED_FAIL_IF(!s, ED_E_MEMORY, err, "no memory for the vocabulary");
            t->scores = s;
            s[found] = 0;
        }
        ED_TRY(ed__tok_add(t, text, n, ED_TOKEN_SPECIAL, err));
        if (t->kind->destroy)
            t->kind->destroy(t);
        ED_TRY(ed__tok_finish(t, err));
    }
    if (role < ED_SPECIAL_COUNT)
        t->special[role] = found;
    if (id)
        *id = found;
    return ED_OK;
}

/* ------------------------------------------------------------------ look-ups */

const char *ed_tokenizer_kind_name(const ed_tokenizer *t) {
    return t->kind->name;
}

int32_t ed_tokenizer_vocab_size(const ed_tokenizer *t) {
    return ed__vocab_size(&t->vocab);
}

uint64_t ed_tokenizer_hash(const ed_tokenizer *t) {
    return t->hash;
}

int32_t ed_tokenizer_special(const ed_tokenizer *t, ed_special which) {
    return which >= 0 && which < ED_SPECIAL_COUNT ? t->special[which] : -1;
}

static bool id_ok(const ed_tokenizer *t, int32_t id) {
    return id >= 0 && id < ed__vocab_size(&t->vocab);
}

const char *ed_tokenizer_text(const ed_tokenizer *t, int32_t id, size_t *n) {
    size_t len;
    if (!id_ok(t, id))
        return NULL;
    return ed__intern_get(&t->vocab.text, id, n ? n : &len);
}

int32_t ed_tokenizer_id(const ed_tokenizer *t, const char *text, size_t n) {
    return text ? ed__intern_find(&t->vocab.text, text, n) : -1;
}

uint32_t ed_tokenizer_flags(const ed_tokenizer *t, int32_t id) {
    return id_ok(t, id) ? t->vocab.flags[id] : 0;
}

/* ------------------------------------------------------------------ encode */

void ed_token_ids_deinit(ed_token_ids *ids) {
    if (!ids)
        return;
    ed__free(ids->ids);
    ed__free(ids->begin);
    ed__free(ids->end);
    memset(ids, 0, sizeof *ids);
}

ed_status ed__token_ids_reserve(ed_token_ids *o, bool offsets) {
    size_t need = (size_t)o->n + 1, cap = (size_t)o->cap, cap_b = cap, cap_e = cap, max = (size_t)INT64_MAX / 16;
    if (offsets) {
        cap_b = o->begin ? cap : 0;
        cap_e = o->end ? cap : 0;
        ED_TRY(ed__grow((void **)&o->begin, &cap_b, need, sizeof *o->begin, max));
        ED_TRY(ed__grow((void **)&o->end, &cap_e, need, sizeof *o->end, max));
    }
    ED_TRY(ed__grow((void **)&o->ids, &cap, need, sizeof *o->ids, max));
    o->cap = (int64_t)(offsets ? (cap < cap_b ? (cap < cap_e ? cap : cap_e) : (cap_b < cap_e ? cap_b : cap_e)) : cap);
    return ED_OK;
}

ed_status ed__tok_fallback(const ed_tokenizer *t, const char *s, size_t n, uint32_t begin, ed__merge_scratch *out) {
    bool all = t->byte_fallback;
    for (size_t i = 0; all && i < n; i++)
        all = t->byte_id[(unsigned char)s[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < n; i++)
            ED_TRY(ed__scratch_push(out, t->byte_id[(unsigned char)s[i]], begin + (uint32_t)i));
        return ED_OK;
    }
    int32_t unk = t->special[ED_SPECIAL_UNK];
    if (unk < 0)
        return ED_E_NOT_FOUND;
    if (t->fuse_unk && out->n > 0 && out->syms[out->n - 1].id == unk)
        return ED_OK;
    return ed__scratch_push(out, unk, begin);
}

ed_status ed__tok_char_symbols(const ed_tokenizer *t, const char *s, size_t n, ed__merge_scratch *out) {
    out->n = 0;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        uint32_t cp = 0;
        int len = 1;
        int32_t id;
        if (c < 0x80) {
            id = t->char_id[c];
        } else {
            len = ed__utf8_decode((const unsigned char *)s + i, n - i, &cp);
            id = len ? ed__vocab_match(&t->vocab, s + i, (size_t)len) : -1;
            len = len ? len : 1;
        }
        if (id >= 0)
            ED_TRY(ed__scratch_push(out, id, (uint32_t)i));
        else
            ED_TRY(ed__tok_fallback(t, s + i, (size_t)len, (uint32_t)i, out));
        i += (size_t)len;
    }
    return ED_OK;
}

ed_status ed__tok_emit_symbols(const ed__merge_scratch *s, size_t base, size_t n, ed__tok_sink *out) {
    for (int32_t i = s->n ? 0 : -1; i >= 0;) {
        const ed__sym *y = &s->syms[i];
        size_t end = y->next >= 0 ? s->syms[y->next].begin : n;
        ED_TRY(ed__tok_emit(out, y->id, base + y->begin, base + end));
        i = y->next;
    }
    return ED_OK;
}

/* Adds a special token that covers input bytes [begin, end). */
static ed_status emit_special(ed__tok_sink *sink, int32_t id, size_t begin, size_t end) {
    ed__tok_text whole = {.n = end};
    sink->text = &whole;
    return ed__tok_emit(sink, id, begin, end);
}

static ed_status encode_plain(const ed_tokenizer *t, const char *s, size_t begin, size_t end, ed__tok_sink *sink, ed_error *err) {
    if (begin == end)
        return ED_OK;
    ed__tok_text x;
    ed_status st = ed__tok_text_init(&x, &t->norm, t->prefix, sink->offsets, s + begin, end - begin);
    x.base = begin;
    sink->text = &x;
    if (st == ED_OK)
        st = t->kind->encode(t, &x, sink, err);
    ed__tok_text_deinit(&x);
    return st;
}

/* The longest special token at s[0..n), or -1. */
static int32_t special_at(const ed__trie *trie, const char *s, size_t n, size_t *len) {
    int32_t found = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < n && (node = ed__trie_step(trie, node, (unsigned char)s[i])) != 0; i++)
        if (trie->nodes[node].id >= 0) {
            found = trie->nodes[node].id;
            *len = i + 1;
        }
    return found;
}

static ed_status encode_parsed(const ed_tokenizer *t, const char *s, size_t n, ed__tok_sink *sink, ed_error *err) {
    size_t from = 0;
    for (size_t i = 0; i < n;) {
        size_t len = 0;
        int32_t id = special_at(&t->specials, s + i, n - i, &len);
        if (id < 0) {
            i++;
            continue;
        }
        ED_TRY(encode_plain(t, s, from, i, sink, err));
        ED_TRY(emit_special(sink, id, i, i + len));
        from = i += len;
    }
    return encode_plain(t, s, from, n, sink, err);
}

static ed_status encode_all(const ed_tokenizer *t, const char *s, size_t n, uint32_t flags, ed__tok_sink *sink, ed_error *err) {
    int32_t first = flags & ED_ENCODE_BOS ? t->special[ED_SPECIAL_BOS] : flags & ED_ENCODE_ADD_SPECIAL ? t->first : -1;
    int32_t last = flags & ED_ENCODE_EOS ? t->special[ED_SPECIAL_EOS] : flags & ED_ENCODE_ADD_SPECIAL ? t->last : -1;
    ED_FAIL_IF((flags & ED_ENCODE_BOS) && first < 0, ED_E_STATE, err, "the tokenizer has no begin token");
    ED_FAIL_IF((flags & ED_ENCODE_EOS) && last < 0, ED_E_STATE, err, "the tokenizer has no end token");
    if (first >= 0)
        ED_TRY(emit_special(sink, first, 0, 0));
    if (flags & ED_ENCODE_PARSE_SPECIAL)
        ED_TRY(encode_parsed(t, s, n, sink, err));
    else
        ED_TRY(encode_plain(t, s, 0, n, sink, err));
    return last >= 0 ? emit_special(sink, last, n, n) : ED_OK;
}

ed_status ed_tokenizer_encode(const ed_tokenizer *t, const void *text, size_t n, uint32_t flags, ed_token_ids *out, ed_error *err) {
    ED_FAIL_IF(!t || !out || (!text && n), ED_E_INVALID, err, "a NULL argument");
    ED_FAIL_IF(flags > 31, ED_E_INVALID, err, "unknown encode flags %#x", (unsigned)flags);
    ED_FAIL_IF(n > ED_TOKENIZER_MAX_TEXT_BYTES, ED_E_LIMIT, err, "a text of %zu bytes, the limit is %zu", n, ED_TOKENIZER_MAX_TEXT_BYTES);
    bool offsets = (flags & ED_ENCODE_OFFSETS) != 0;
    ED_FAIL_IF(out->n > 0 && offsets != (out->begin != NULL), ED_E_STATE, err, "offsets for a part of the list only");
    if (out->n == 0 && !offsets && out->begin) { /* reused memory */
        ed__free(out->begin);
        ed__free(out->end);
        out->begin = out->end = NULL;
    } else if (out->n == 0 && offsets && !out->begin && out->cap) {
        ed_token_ids_deinit(out);
    }
    int64_t before = out->n;
    ed__tok_sink sink = {out, NULL, offsets};
    ed_error local = {0};
    ed_status s = encode_all(t, text ? text : "", n, flags, &sink, &local);
    if (s == ED_OK)
        return s;
    out->n = before;
    if (local.status == ED_OK)
        s = ed_error_set(&local, s, "", ED_NO_OFFSET,
                         s == ED_E_NOT_FOUND ? "a character has no piece and the vocabulary has no unknown token" : "no memory to encode a text of %zu bytes", n);
    if (err)
        *err = local;
    return s;
}

/* ------------------------------------------------------------------ decode */

void ed_token_text_deinit(ed_token_text *text) {
    if (!text)
        return;
    ed__free(text->data);
    memset(text, 0, sizeof *text);
}

ed_status ed_tokenizer_piece(const ed_tokenizer *t, int32_t prev, int32_t id, const char **bytes, size_t *n) {
    if (!t || !id_ok(t, id) || (prev != -1 && !id_ok(t, prev)))
        return ED_E_RANGE;
    const char *s = ed__intern_get(&t->vocab.bytes, t->vocab.bytes_of[id], n);
    bool special = t->vocab.flags[id] & ED_TOKEN_SPECIAL;
    /* Behind a special token a text begins anew; but an unknown token may stand for a character in the middle (not with byte fallback). */
    bool at_start = prev < 0 || ((t->vocab.flags[prev] & ED_TOKEN_SPECIAL) && (t->byte_fallback || prev != t->special[ED_SPECIAL_UNK]));
    if (t->prefix && at_start && !special && *n && *s == ' ') { /* the space that encode put before the text */
        s++;
        --*n;
    }
    *bytes = s;
    return ED_OK;
}

static ed_status decode_one(const ed_tokenizer *t, int32_t prev, int32_t id, uint32_t flags, ed_token_text *out) {
    const char *s;
    size_t n;
    ED_TRY(ed_tokenizer_piece(t, prev, id, &s, &n));
    if ((flags & ED_DECODE_SKIP_SPECIAL) && (t->vocab.flags[id] & ED_TOKEN_SPECIAL))
        return ED_OK;
    ED_TRY(ed__grow((void **)&out->data, &out->cap, out->n + n + 1, 1, SIZE_MAX / 2));
    memcpy(out->data + out->n, s, n);
    out->n += n;
    out->data[out->n] = 0;
    return ED_OK;
}

ed_status ed_tokenizer_decode(const ed_tokenizer *t, const int32_t *ids, int64_t n, uint32_t flags, ed_token_text *out, ed_error *err) {
    ED_FAIL_IF(!t || !out || n < 0 || (!ids && n), ED_E_INVALID, err, "a NULL argument or a negative count");
    ED_FAIL_IF(flags > ED_DECODE_SKIP_SPECIAL, ED_E_INVALID, err, "unknown decode flags %#x", (unsigned)flags);
    size_t before = out->n;
    ed_status s = ed__grow((void **)&out->data, &out->cap, out->n + 1, 1, SIZE_MAX / 2);
    for (int64_t i = 0; s == ED_OK && i < n; i++) {
        s = decode_one(t, i ? ids[i - 1] : -1, ids[i], flags, out);
        if (s == ED_E_RANGE)
            ed_error_set(err, s, "", ED_NO_OFFSET, "token %lld is %d, the vocabulary has %d ids", (long long)i, (int)ids[i],
                         (int)ed__vocab_size(&t->vocab));
    }
    if (s == ED_OK) {
        out->data[out->n] = 0;
        return s;
    }
    out->n = before;
    if (out->data)
        out->data[before] = 0;
    if (s != ED_E_RANGE)
        ed_error_set(err, s, "", ED_NO_OFFSET, "no memory to decode %lld tokens", (long long)n);
    return s;
}

/* ------------------------------------------------------------------ files */

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

#define MAX_FILE_BYTES ((size_t)1 << 29)

static ed_status load_json_file(const char *path, const char *dir, ed_tokenizer **out, ed_error *err) {
    ed__map m;
    ED_TRY(ed__map_open(path, MAX_FILE_BYTES, &m, err));
    ed_status s = ed__tok_json_load(path, m.data, m.size, dir, out, err);
    ed__map_close(&m);
    return s;
}

static ed_status load_folder(const char *path, ed_tokenizer **out, ed_error *err) {
    char *file = NULL;
    ED_TRY(ed__path_join(path, "tokenizer.json", &file, err));
    ed_status s;
    if (ed__path_exists(file)) {
        s = load_json_file(file, path, out, err);
    } else {
        ed__free(file);
        file = NULL;
        ED_TRY(ed__path_join(path, "tokenizer.bin", &file, err));
        s = ed__path_exists(file) ? ed_tokenizer_load_llama2c(file, 0, out, err)
                                  : ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "the folder has no tokenizer.json and no tokenizer.bin");
    }
    ed__free(file);
    return s;
}

ed_status ed_tokenizer_load(const char *path, ed_tokenizer **out, ed_error *err) {
    ED_FAIL_IF(!path || !out, ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    if (ed__path_is_dir(path))
        return load_folder(path, out, err);
    if (ends_with(path, ".bin"))
        return ed_tokenizer_load_llama2c(path, 0, out, err);
    const char *slash = strrchr(path, '/');
    char *dir = slash ? ed__strndup(path, slash == path ? 1 : (size_t)(slash - path)) : ed__strdup(".");
    ED_FAIL_IF(!dir, ED_E_MEMORY, err, "no memory for a path");
    ed_status s = load_json_file(path, dir, out, err);
    ed__free(dir);
    return s;
}

ed_status ed_tokenizer_load_memory(const char *name, const void *json, size_t n, ed_tokenizer **out, ed_error *err) {
    ED_FAIL_IF(!out || (!json && n), ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    return ed__tok_json_load(name ? name : "", json ? json : "", n, NULL, out, err);
}

ed_status ed_tokenizer_save(const ed_tokenizer *t, const char *folder, ed_error *err) {
    ED_FAIL_IF(!t || !folder, ED_E_INVALID, err, "a NULL argument");
    ED_TRY(ed__dir_make(folder, err));
    return t->kind == &ed__tok_llama2c ? ed__tok_llama2c_save(t, folder, err) : ed__tok_json_save(t, folder, err);
}
