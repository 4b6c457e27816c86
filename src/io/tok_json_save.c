/* io/tok_json_save.c - writing tokenizer.json, tokenizer_config.json and special_tokens_map.json so that the Hugging Face libraries give the same ids.
 * What each kind becomes there is listed at the head of tok_json.c. */
#include <math.h>

#include "io/tok.h"

static void put_string(ed__buf *b, const char *s) {
    ed__buf_puts(b, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            ed__buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            ed__buf_printf(b, "\\u%04x", c);
        else
            ed__buf_put(b, s, 1);
    }
    ed__buf_puts(b, "\"");
}

static const char *text_of(const ed_tokenizer *t, int32_t id) {
    return ed_tokenizer_text(t, id, NULL);
}

static void put_added(const ed_tokenizer *t, ed__buf *b) {
    const char *comma = "";
    ed__buf_puts(b, "  \"added_tokens\": [");
    for (int32_t id = 0; id < ed_tokenizer_vocab_size(t); id++) {
        if (!(t->vocab.flags[id] & ED_TOKEN_SPECIAL))
            continue;
        ed__buf_printf(b, "%s\n    {\"id\": %d, \"content\": ", comma, (int)id);
        put_string(b, text_of(t, id));
        ed__buf_puts(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}");
        comma = ",";
    }
    ed__buf_puts(b, "\n  ],\n");
}

static void put_normalizer(const ed_tokenizer *t, ed__buf *b) {
    const char *comma = "";
    bool metaspace = t->form == ED__FORM_METASPACE;
    if (t->norm.form == ED_NORMALIZER_NONE && !t->norm.lower && !metaspace) {
        ed__buf_puts(b, "  \"normalizer\": null,\n");
        return;
    }
    ed__buf_puts(b, "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    if (t->norm.form != ED_NORMALIZER_NONE) {
        ed__buf_printf(b, "{\"type\": \"%s\"}", t->norm.form == ED_NORMALIZER_NFC ? "NFC" : "NFKC");
        comma = ", ";
    }
    if (t->norm.lower) {
        ed__buf_printf(b, "%s{\"type\": \"Lowercase\"}", comma);
        comma = ", ";
    }
    if (t->prefix) {
        ed__buf_printf(b, "%s{\"type\": \"Prepend\", \"prepend\": \"" ED__METASPACE "\"}", comma);
        comma = ", ";
    }
    if (metaspace)
        ed__buf_printf(b, "%s{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" ED__METASPACE "\"}", comma);
    ed__buf_puts(b, "]},\n");
}

static void put_pre_tokenizer(const ed_tokenizer *t, ed__buf *b) {
    if (t->form == ED__FORM_BYTELEVEL)
        ed__buf_printf(b, "  \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": %s},\n",
                       t->pattern ? "true" : "false");
    else if (t->form == ED__FORM_METASPACE && t->split)
        ed__buf_puts(b, "  \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"" ED__METASPACE
                        "\", \"prepend_scheme\": \"never\", \"split\": true},\n");
    else
        ed__buf_puts(b, "  \"pre_tokenizer\": null,\n");
}

static void put_sequence(const ed_tokenizer *t, ed__buf *b, const char *id, int type_id, bool first) {
    if (first && t->first >= 0) {
        ed__buf_puts(b, "{\"SpecialToken\": {\"id\": ");
        put_string(b, text_of(t, t->first));
        ed__buf_puts(b, ", \"type_id\": 0}}, ");
    }
    ed__buf_printf(b, "{\"Sequence\": {\"id\": \"%s\", \"type_id\": %d}}", id, type_id);
    if (t->last >= 0) {
        ed__buf_puts(b, ", {\"SpecialToken\": {\"id\": ");
        put_string(b, text_of(t, t->last));
        ed__buf_printf(b, ", \"type_id\": %d}}", type_id);
    }
}

static void put_template_special(const ed_tokenizer *t, ed__buf *b, int32_t id, const char *comma) {
    ed__buf_puts(b, comma);
    put_string(b, text_of(t, id));
    ed__buf_puts(b, ": {\"id\": ");
    put_string(b, text_of(t, id));
    ed__buf_printf(b, ", \"ids\": [%d], \"tokens\": [", (int)id);
    put_string(b, text_of(t, id));
    ed__buf_puts(b, "]}");
}

static void put_post_processor(const ed_tokenizer *t, ed__buf *b) {
    if (t->first < 0 && t->last < 0) {
        ed__buf_puts(b, "  \"post_processor\": null,\n");
        return;
    }
    ed__buf_puts(b, "  \"post_processor\": {\"type\": \"TemplateProcessing\",\n    \"single\": [");
    put_sequence(t, b, "A", 0, true);
    ed__buf_puts(b, "],\n    \"pair\": [");
    put_sequence(t, b, "A", 0, true);
    ed__buf_puts(b, ", ");
    put_sequence(t, b, "B", 1, false);
    ed__buf_puts(b, "],\n    \"special_tokens\": {");
    if (t->first >= 0)
        put_template_special(t, b, t->first, "");
    if (t->last >= 0 && t->last != t->first)
        put_template_special(t, b, t->last, t->first >= 0 ? ", " : "");
    ed__buf_puts(b, "}},\n");
}

static void put_decoder(const ed_tokenizer *t, ed__buf *b) {
    if (t->form == ED__FORM_BYTELEVEL) {
        ed__buf_puts(b, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, \"use_regex\": false},\n");
    } else if (t->form == ED__FORM_METASPACE) {
        ed__buf_puts(b, "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"" ED__METASPACE
                        "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
        if (t->prefix)
            ed__buf_puts(b, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
        ed__buf_puts(b, "]},\n");
    } else {
        ed__buf_puts(b, "  \"decoder\": {\"type\": \"Fuse\"},\n");
    }
}

/* Special tokens that were added behind a finished model stand in added_tokens only: the model of the file then ends before them. */
static int32_t model_size(const ed_tokenizer *t) {
    int32_t n = ed_tokenizer_vocab_size(t);
    if (t->kind == &ed__tok_unigram) /* its rows are numbered by place */
        return n;
    while (n > 0 && (t->vocab.flags[n - 1] & ED_TOKEN_SPECIAL) && n - 1 != t->special[ED_SPECIAL_UNK])
        n--;
    return n;
}

static void put_bpe_model(const ed_tokenizer *t, ed__buf *b) {
    int32_t unk = t->special[ED_SPECIAL_UNK];
    bool named_unk = unk >= 0 && t->form != ED__FORM_BYTELEVEL; /* bytes are never unknown */
    ed__buf_puts(b, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (named_unk)
        put_string(b, text_of(t, unk));
    else
        ed__buf_puts(b, "null");
    ed__buf_printf(b, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": %s, \"byte_fallback\": %s, \"ignore_merges\": %s,\n",
                   t->fuse_unk ? "true" : "false", t->byte_fallback ? "true" : "false", t->ignore_merges ? "true" : "false");
    ed__buf_puts(b, "    \"vocab\": {");
    for (int32_t id = 0, n = model_size(t); id < n; id++) {
        ed__buf_puts(b, id ? ",\n      " : "\n      ");
        put_string(b, text_of(t, id));
        ed__buf_printf(b, ": %d", (int)id);
    }
    ed__buf_puts(b, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < t->merges.n; i++) {
        ed__buf_puts(b, i ? ",\n      [" : "\n      [");
        put_string(b, text_of(t, t->merges.list[i].left));
        ed__buf_puts(b, ", ");
        put_string(b, text_of(t, t->merges.list[i].right));
        ed__buf_puts(b, "]");
    }
    ed__buf_puts(b, "\n    ]}\n");
}

static void put_unigram_model(const ed_tokenizer *t, ed__buf *b) {
    ed__buf_puts(b, "  \"model\": {\"type\": \"Unigram\", \"unk_id\": ");
    if (t->special[ED_SPECIAL_UNK] >= 0)
        ed__buf_printf(b, "%d", (int)t->special[ED_SPECIAL_UNK]);
    else
        ed__buf_puts(b, "null");
    ed__buf_printf(b, ", \"byte_fallback\": %s,\n    \"vocab\": [", t->byte_fallback ? "true" : "false");
    for (int32_t id = 0, n = model_size(t); id < n; id++) {
        ed__buf_puts(b, id ? ",\n      [" : "\n      [");
        put_string(b, text_of(t, id));
        ed__buf_printf(b, ", %.17g%s]", t->scores[id], fabs(t->scores[id]) < 1e15 && t->scores[id] == floor(t->scores[id]) ? ".0" : "");
    }
    ed__buf_puts(b, "\n    ]}\n");
}

static void put_tokenizer(const ed_tokenizer *t, ed__buf *b) {
    ed__buf_puts(b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(t, b);
    put_normalizer(t, b);
    put_pre_tokenizer(t, b);
    put_post_processor(t, b);
    put_decoder(t, b);
    if (t->kind == &ed__tok_unigram)
        put_unigram_model(t, b);
    else
        put_bpe_model(t, b);
    ed__buf_puts(b, "}\n");
}

static void put_roles(const ed_tokenizer *t, ed__buf *b, const char *comma) {
    static const char *const keys[ED_SPECIAL_COUNT] = {"pad_token", "eos_token", "unk_token", "bos_token"};
    for (int k = 0; k < ED_SPECIAL_COUNT; k++)
        if (t->special[k] >= 0) {
            ed__buf_printf(b, "%s\n  \"%s\": ", comma, keys[k]);
            put_string(b, text_of(t, t->special[k]));
            comma = ",";
        }
}

static ed_status write_file(const char *folder, const char *name, ed__buf *b, ed_error *err) {
    char *path = NULL;
    ed_status s = b->status != ED_OK ? ed_error_set(err, b->status, folder, ED_NO_OFFSET, "no memory to write %s", name)
                                     : ed__path_join(folder, name, &path, err);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, b->data, b->len, err);
    ed__free(path);
    ed__buf_reset(b);
    return s;
}

ed_status ed__tok_json_save(const ed_tokenizer *t, const char *folder, ed_error *err) {
    ed__buf b;
    ed__buf_init(&b, SIZE_MAX / 2);
    put_tokenizer(t, &b);
    ed_status s = write_file(folder, "tokenizer.json", &b, err);
    if (s == ED_OK) {
        ed__buf_puts(&b, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"clean_up_tokenization_spaces\": false");
        put_roles(t, &b, ",");
        ed__buf_puts(&b, "\n}\n");
        s = write_file(folder, "tokenizer_config.json", &b, err);
    }
    if (s == ED_OK) {
        ed__buf_puts(&b, "{");
        put_roles(t, &b, "");
        ed__buf_puts(&b, "\n}\n");
        s = write_file(folder, "special_tokens_map.json", &b, err);
    }
    ed__buf_deinit(&b);
    return s;
}
