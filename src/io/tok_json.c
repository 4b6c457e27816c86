/* io/tok_json.c - reading tokenizer.json (the file of the Hugging Face `tokenizers` library) into a kind of ours.
 *   BPE, ByteLevel pre-tokenizer                      -> bytebpe, or bytes when there is neither merge nor pattern
 *   BPE, spaces as U+2581                             -> bpe
 *   BPE without merges, no pre-tokenizer              -> chars
 *   Unigram, spaces as U+2581                         -> unigram
 * Every part that would change ids and that we do not have is refused by name: silently other ids are the worst outcome. Ids must be dense. */
#include <jansson.h>
#include <math.h>

#include "io/tok.h"

typedef struct reader {
    ed_tokenizer *t;
    const json_t *root, *model;
    bool metaspace, replace, bytelevel, fuse;
    const char **texts; /* [n] borrowed from the JSON */
    bool *special;      /* [n] */
    double *scores;     /* [n] or NULL */
    int32_t n;
} reader;

#define UNSUPPORTED_IF(cond, err, ...) ED_FAIL_IF(cond, ED_E_UNSUPPORTED, err, __VA_ARGS__)
#define BAD_IF(cond, err, ...) ED_FAIL_IF(cond, ED_E_FORMAT, err, __VA_ARGS__)

/* A member, NULL when absent or null. */
static const json_t *get(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static const char *get_str(const json_t *o, const char *key) {
    const json_t *v = get(o, key);
    return json_is_string(v) ? json_string_value(v) : "";
}

static bool is(const json_t *o, const char *type) {
    return strcmp(get_str(o, "type"), type) == 0;
}

/* Item i of a part that may be null, one object, or a Sequence of them; NULL past the end. */
static const json_t *part_at(const json_t *part, const char *list_key, size_t i) {
    if (!part)
        return NULL;
    if (is(part, "Sequence"))
        return json_array_get(json_object_get(part, list_key), i);
    return i == 0 ? part : NULL;
}

static bool is_space_replace(const json_t *o, const char *from, const char *to) {
    return is(o, "Replace") && strcmp(get_str(get(o, "pattern"), "String"), from) == 0 && strcmp(get_str(o, "content"), to) == 0;
}

static ed_status read_normalizer(reader *r, ed_error *err) {
    const json_t *part = get(r->root, "normalizer"), *p;
    int stage = 0; /* the parts must come in the order in which we apply them */
    for (size_t i = 0; (p = part_at(part, "normalizers", i)) != NULL; i++) {
        int s = 0;
        if (is(p, "NFC") || is(p, "NFKC")) {
            s = 1;
            r->t->norm.form = is(p, "NFC") ? ED_NORMALIZER_NFC : ED_NORMALIZER_NFKC;
        } else if (is(p, "Lowercase")) {
            s = 2;
            r->t->norm.lower = true;
        } else if (is(p, "Prepend") && strcmp(get_str(p, "prepend"), ED__METASPACE) == 0) {
            s = 3;
            r->t->prefix = true;
        } else if (is_space_replace(p, " ", ED__METASPACE)) {
            s = 4;
            r->replace = r->metaspace = true;
        }
        UNSUPPORTED_IF(s == 0, err, "normalizer '%s'", get_str(p, "type"));
        UNSUPPORTED_IF(s <= stage, err, "normalizer '%s' at place %zu of the sequence", get_str(p, "type"), i);
        stage = s;
    }
    UNSUPPORTED_IF(r->t->prefix && !r->replace, err, "normalizer 'Prepend' without 'Replace'");
    return ED_OK;
}

static ed_status read_pre_tokenizer(reader *r, ed_error *err) {
    const json_t *p = part_at(get(r->root, "pre_tokenizer"), "pretokenizers", 0);
    UNSUPPORTED_IF(part_at(get(r->root, "pre_tokenizer"), "pretokenizers", 1) != NULL, err, "pre_tokenizer with several parts");
    if (!p)
        return ED_OK;
    if (is(p, "ByteLevel")) {
        UNSUPPORTED_IF(json_is_true(get(p, "add_prefix_space")), err, "pre_tokenizer 'ByteLevel' with add_prefix_space");
        r->bytelevel = true;
        r->t->pattern = !json_is_false(get(p, "use_regex"));
        return ED_OK;
    }
    UNSUPPORTED_IF(!is(p, "Metaspace"), err, "pre_tokenizer '%s'", get_str(p, "type"));
    UNSUPPORTED_IF(strcmp(get_str(p, "replacement"), ED__METASPACE) != 0 || strcmp(get_str(p, "prepend_scheme"), "never") != 0, err,
                   "pre_tokenizer 'Metaspace' with a prepend_scheme other than 'never' or another replacement");
    r->metaspace = true;
    r->t->split = !json_is_false(get(p, "split"));
    return ED_OK;
}

static ed_status read_decoder(reader *r, ed_error *err) {
    const json_t *part = get(r->root, "decoder"), *p;
    bool strip = false, replace = false, bytes = false;
    for (size_t i = 0; (p = part_at(part, "decoders", i)) != NULL; i++) {
        if (is(p, "Strip") && strcmp(get_str(p, "content"), " ") == 0 && json_integer_value(get(p, "start")) == 1 &&
            json_integer_value(get(p, "stop")) == 0)
            strip = true;
        else if (is_space_replace(p, ED__METASPACE, " "))
            replace = true;
        else if (is(p, "ByteLevel"))
            bytes = true;
        else
            UNSUPPORTED_IF(!is(p, "ByteFallback") && !is(p, "Fuse"), err, "decoder '%s'", get_str(p, "type"));
    }
    UNSUPPORTED_IF(part && (strip != r->t->prefix || replace != r->metaspace || bytes != r->bytelevel), err,
                   "decoder that does not undo the normalizer and the pre_tokenizer");
    return ED_OK;
}

/* ------------------------------------------------------------------ vocabulary */

static ed_status claim(reader *r, const json_t *id, const char *text, bool special, ed_error *err) {
    BAD_IF(!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= ED_TOKENIZER_MAX_VOCAB, err,
           "the id of '%s' is not an integer in 0..%d", text, (int)ED_TOKENIZER_MAX_VOCAB - 1);
    json_int_t i = json_integer_value(id);
    BAD_IF(i >= r->n, err, "the id %lld of '%s' leaves a hole: there are at most %d pieces", (long long)i, text, (int)r->n);
    BAD_IF(r->texts[i] && strcmp(r->texts[i], text) != 0, err, "the pieces '%s' and '%s' have the same id %lld", r->texts[i], text, (long long)i);
    r->texts[i] = text;
    r->special[i] = r->special[i] || special;
    return ED_OK;
}

static ed_status claim_model(reader *r, ed_error *err) {
    const json_t *vocab = get(r->model, "vocab");
    if (json_is_object(vocab)) {
        const char *key;
        json_t *id;
        json_object_foreach((json_t *)vocab, key, id) ED_TRY(claim(r, id, key, false, err));
        return ED_OK;
    }
    for (size_t i = 0; i < json_array_size(vocab); i++) {
        const json_t *row = json_array_get(vocab, i), *text = json_array_get(row, 0), *score = json_array_get(row, 1);
        BAD_IF(json_array_size(row) != 2 || !json_is_string(text) || !json_is_number(score) || !isfinite(json_number_value(score)), err,
               "row %zu of the vocabulary is not a piece and a score", i);
        r->texts[i] = json_string_value(text);
        r->scores[i] = json_number_value(score);
    }
    return ED_OK;
}

static ed_status claim_added(reader *r, ed_error *err) {
    const json_t *added = get(r->root, "added_tokens");
    BAD_IF(added && !json_is_array(added), err, "added_tokens is not a list");
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *a = json_array_get(added, i);
        const char *text = get_str(a, "content");
        BAD_IF(!*text, err, "added token %zu has no content", i);
        UNSUPPORTED_IF(!json_is_true(get(a, "special")), err, "added token '%s' that is not special", text);
        UNSUPPORTED_IF(json_is_true(get(a, "lstrip")) || json_is_true(get(a, "rstrip")) || json_is_true(get(a, "single_word")), err,
                       "added token '%s' with lstrip, rstrip or single_word", text);
        ED_TRY(claim(r, get(a, "id"), text, true, err));
    }
    return ED_OK;
}

static ed_status add_pieces(reader *r, ed_error *err) {
    ED_TRY(claim_model(r, err));
    ED_TRY(claim_added(r, err));
    while (r->n > 0 && !r->texts[r->n - 1]) /* room for added tokens that were in the model already */
        r->n--;
    for (int32_t i = 0; i < r->n; i++) {
        BAD_IF(!r->texts[i], err, "no piece has the id %d", (int)i);
        ED_TRY(ed__tok_add(r->t, r->texts[i], strlen(r->texts[i]), r->special[i] ? ED_TOKEN_SPECIAL : 0, err));
    }
    return ED_OK;
}

static ed_status read_vocab(reader *r, ed_error *err) {
    const json_t *vocab = get(r->model, "vocab");
    bool unigram = r->t->kind == &ed__tok_unigram;
    BAD_IF(unigram ? !json_is_array(vocab) : !json_is_object(vocab), err, "the model has no vocab");
    size_t n = (unigram ? json_array_size(vocab) : json_object_size(vocab)) + json_array_size(get(r->root, "added_tokens"));
    BAD_IF(n == 0, err, "the vocabulary is empty");
    ED_FAIL_IF(n > (size_t)ED_TOKENIZER_MAX_VOCAB, ED_E_LIMIT, err, "a vocabulary of %zu pieces, the limit is %d", n, (int)ED_TOKENIZER_MAX_VOCAB);
    r->n = (int32_t)n;
    r->texts = ed__calloc(n, sizeof *r->texts);
    r->special = ed__calloc(n, sizeof *r->special);
    r->scores = unigram ? ed__calloc(n, sizeof *r->scores) : NULL;
    ED_FAIL_IF(!r->texts || !r->special || (unigram && !r->scores), ED_E_MEMORY, err, "no memory for the vocabulary");
    ED_TRY(add_pieces(r, err));
    r->t->scores = r->scores;
    r->scores = NULL;
    return ED_OK;
}

/* ------------------------------------------------------------------ merges */

static ed_status put_merge(reader *r, size_t rank, const char *left, size_t n_left, const char *right, size_t n_right, ed_error *err) {
    char joined[2 * ED_TOKENIZER_MAX_PIECE_BYTES];
    const ed__vocab *v = &r->t->vocab;
    int32_t a = ed__intern_find(&v->text, left, n_left), b = ed__intern_find(&v->text, right, n_right), id = -1;
    if (a >= 0 && b >= 0) { /* so both lengths are within the limit */
        memcpy(joined, left, n_left);
        memcpy(joined + n_left, right, n_right);
        id = ed__intern_find(&v->text, joined, n_left + n_right);
    }
    BAD_IF(id < 0, err, "merge %zu ('%.*s', '%.*s') names a piece that is not in the vocabulary", rank, (int)(n_left < 64 ? n_left : 64), left,
           (int)(n_right < 64 ? n_right : 64), right);
    /* Such a merge would make a special or byte piece out of its spelling in plain text: never. */
    if ((v->flags[a] | v->flags[b] | v->flags[id]) & (ED_TOKEN_SPECIAL | ED_TOKEN_BYTE))
        return ED_OK;
    ed_status s = ed__merges_put(&r->t->merges, a, b, id, (uint32_t)rank);
    BAD_IF(s == ED_E_FORMAT, err, "merge %zu ('%s', '%s') stands twice", rank, ed_tokenizer_text(r->t, a, NULL), ed_tokenizer_text(r->t, b, NULL));
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the merges");
    return ED_OK;
}

static ed_status read_merges(reader *r, ed_error *err) {
    const json_t *merges = get(r->model, "merges");
    BAD_IF(merges && !json_is_array(merges), err, "merges is not a list");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *m = json_array_get(merges, i);
        if (json_is_string(m)) { /* "left right" */
            const char *s = json_string_value(m), *space = strchr(s, ' ');
            BAD_IF(!space || strchr(space + 1, ' '), err, "merge %zu is not two pieces", i);
            ED_TRY(put_merge(r, i, s, (size_t)(space - s), space + 1, strlen(space + 1), err));
        } else {
            const json_t *a = json_array_get(m, 0), *b = json_array_get(m, 1);
            BAD_IF(json_array_size(m) != 2 || !json_is_string(a) || !json_is_string(b), err, "merge %zu is not two pieces", i);
            ED_TRY(put_merge(r, i, json_string_value(a), json_string_length(a), json_string_value(b), json_string_length(b), err));
        }
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ model */

static ed_status read_bpe_options(reader *r, ed_error *err) {
    const json_t *m = r->model;
    UNSUPPORTED_IF(get(m, "dropout") && json_number_value(get(m, "dropout")) != 0, err, "model with dropout");
    UNSUPPORTED_IF(*get_str(m, "continuing_subword_prefix") || *get_str(m, "end_of_word_suffix"), err,
                   "model with continuing_subword_prefix or end_of_word_suffix");
    r->t->fuse_unk = json_is_true(get(m, "fuse_unk"));
    r->t->ignore_merges = json_is_true(get(m, "ignore_merges"));
    UNSUPPORTED_IF(r->t->ignore_merges && !r->bytelevel, err, "ignore_merges without ByteLevel");
    return ED_OK;
}

static ed_status choose_kind(reader *r, ed_error *err) {
    const json_t *m = r->model;
    bool bpe = is(m, "BPE") || (!*get_str(m, "type") && get(m, "merges"));
    bool no_merges = json_array_size(get(m, "merges")) == 0;
    UNSUPPORTED_IF(!bpe && !is(m, "Unigram"), err, "model type '%s'", get_str(m, "type"));
    r->t->byte_fallback = json_is_true(get(m, "byte_fallback"));
    if (!bpe) {
        UNSUPPORTED_IF(!r->metaspace || r->bytelevel, err, "Unigram without spaces as U+2581");
        r->t->kind = &ed__tok_unigram;
        r->t->form = ED__FORM_METASPACE;
        r->t->fuse_unk = true;
        return ED_OK;
    }
    ED_TRY(read_bpe_options(r, err));
    UNSUPPORTED_IF(r->bytelevel && (r->metaspace || r->t->byte_fallback), err, "ByteLevel together with U+2581 or byte fallback");
    if (r->bytelevel) {
        r->t->kind = no_merges && !r->t->pattern ? &ed__tok_bytes : &ed__tok_bytebpe;
        r->t->form = ED__FORM_BYTELEVEL;
    } else if (r->metaspace) {
        r->t->kind = &ed__tok_bpe;
        r->t->form = ED__FORM_METASPACE;
    } else {
        UNSUPPORTED_IF(!no_merges || r->t->byte_fallback || r->t->fuse_unk, err, "BPE without pre_tokenizer");
        r->t->kind = &ed__tok_chars;
        r->t->form = ED__FORM_PLAIN;
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ special tokens */

static int32_t special_id(const ed_tokenizer *t, const char *text) {
    int32_t id = ed_tokenizer_id(t, text, strlen(text));
    return id >= 0 && (t->vocab.flags[id] & ED_TOKEN_SPECIAL) ? id : -1;
}

static ed_status read_unk(reader *r, ed_error *err) {
    const json_t *unk_id = get(r->model, "unk_id");
    const char *unk = get_str(r->model, "unk_token");
    int32_t id = -1;
    if (unk_id) {
        BAD_IF(!json_is_integer(unk_id) || json_integer_value(unk_id) < 0 || json_integer_value(unk_id) >= ed_tokenizer_vocab_size(r->t), err,
               "unk_id is outside of the vocabulary");
        id = (int32_t)json_integer_value(unk_id);
    } else if (*unk) {
        id = ed_tokenizer_id(r->t, unk, strlen(unk));
        BAD_IF(id < 0, err, "unk_token '%s' is not in the vocabulary", unk);
    }
    r->t->special[ED_SPECIAL_UNK] = id;
    if (id >= 0) { /* unknown stands for no text of its own: it is never matched in input */
        r->t->vocab.flags[id] = ED_TOKEN_SPECIAL;
        if (r->t->vocab.match_of[r->t->vocab.bytes_of[id]] == id)
            r->t->vocab.match_of[r->t->vocab.bytes_of[id]] = -1;
    }
    return ED_OK;
}

static void guess_specials(ed_tokenizer *t) {
    static const char *const names[ED_SPECIAL_COUNT][5] = {
        {"<pad>", "[PAD]", "<|pad|>"},
        {"</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "[SEP]"},
        {"<unk>", "[UNK]"},
        {"<s>", "<bos>", "<|endoftext|>", "<|begin_of_text|>", "[CLS]"},
    };
    for (int k = 0; k < ED_SPECIAL_COUNT; k++)
        for (int i = 0; i < 5 && names[k][i] && t->special[k] < 0; i++)
            t->special[k] = special_id(t, names[k][i]);
}

/* Roles by name from special_tokens_map.json or tokenizer_config.json. */
static ed_status read_roles(ed_tokenizer *t, const char *dir, const char *file, ed_error *err) {
    static const char *const keys[ED_SPECIAL_COUNT] = {"pad_token", "eos_token", "unk_token", "bos_token"};
    char *path = NULL;
    json_t *map = NULL;
    ED_TRY(ed__path_join(dir, file, &path, err));
    ed_status s = ed__path_exists(path) ? ed__json_load(path, (size_t)1 << 26, &map, err) : ED_OK;
    ed__free(path);
    for (int k = 0; map && k < ED_SPECIAL_COUNT; k++) {
        const json_t *v = get(map, keys[k]);
        const char *text = json_is_object(v) ? get_str(v, "content") : json_is_string(v) ? json_string_value(v) : "";
        int32_t id = special_id(t, text);
        if (id >= 0)
            t->special[k] = id;
    }
    json_decref(map);
    return s;
}

/* TemplateProcessing: at most one special token before and one after sequence A. */
static ed_status read_template(ed_tokenizer *t, const json_t *p, ed_error *err) {
    const json_t *single = get(p, "single");
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i), *special = get(item, "SpecialToken");
        if (!special) {
            UNSUPPORTED_IF(seen || strcmp(get_str(get(item, "Sequence"), "id"), "A") != 0, err, "post_processor with another template");
            seen = true;
            continue;
        }
        int32_t id = special_id(t, get_str(special, "id")), *place = seen ? &t->last : &t->first;
        BAD_IF(id < 0, err, "the template names '%s', which is no special token", get_str(special, "id"));
        UNSUPPORTED_IF(*place >= 0, err, "post_processor with several special tokens on one side");
        *place = id;
    }
    BAD_IF(!seen, err, "the template has no sequence");
    return ED_OK;
}

static ed_status read_specials(reader *r, const char *dir, ed_error *err) {
    const json_t *part = get(r->root, "post_processor"), *p;
    ED_TRY(read_unk(r, err));
    if (dir) {
        ED_TRY(read_roles(r->t, dir, "tokenizer_config.json", err));
        ED_TRY(read_roles(r->t, dir, "special_tokens_map.json", err));
    }
    guess_specials(r->t);
    for (size_t i = 0; (p = part_at(part, "processors", i)) != NULL; i++) {
        if (is(p, "ByteLevel")) /* changes offsets only */
            continue;
        UNSUPPORTED_IF(!is(p, "TemplateProcessing"), err, "post_processor '%s'", get_str(p, "type"));
        UNSUPPORTED_IF(r->t->first >= 0 || r->t->last >= 0, err, "post_processor with two templates");
        ED_TRY(read_template(r->t, p, err));
    }
    return ED_OK;
}

static ed_status read_all(reader *r, const char *dir, ed_error *err) {
    r->model = get(r->root, "model");
    BAD_IF(!json_is_object(r->model), err, "no model");
    UNSUPPORTED_IF(get(r->root, "truncation") || get(r->root, "padding"), err, "truncation or padding");
    ED_TRY(read_normalizer(r, err));
    ED_TRY(read_pre_tokenizer(r, err));
    ED_TRY(read_decoder(r, err));
    ED_TRY(choose_kind(r, err));
    ED_TRY(read_vocab(r, err));
    ED_TRY(read_specials(r, dir, err));
    if (r->t->kind != &ed__tok_unigram)
        ED_TRY(read_merges(r, err));
    return ed__tok_finish(r->t, err);
}

ed_status ed__tok_json_load(const char *where, const void *text, size_t n, const char *dir, ed_tokenizer **out, ed_error *err) {
    json_t *root = NULL;
    ed_error local = {0};
    ED_TRY(ed__json_parse(where, text, n, &root, err));
    reader r = {.root = root};
    ed_status s = ed__tok_create(&ed__tok_chars, &r.t);
    if (s == ED_OK)
        s = read_all(&r, dir, &local);
    ed__free(r.texts);
    ed__free(r.special);
    ed__free(r.scores);
    json_decref(root);
    if (s != ED_OK) {
        ed_tokenizer_destroy(&r.t);
        return ed_error_set(err, s, local.where[0] ? local.where : where, local.where[0] ? local.offset : ED_NO_OFFSET, "%s",
                            local.message[0] ? local.message : ed_status_text(s));
    }
    *out = r.t;
    return ED_OK;
}
