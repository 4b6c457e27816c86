/* task/text_model.c - a model with the tokenizer that stands beside it. */
#include <dirent.h>

#include "base/internal.h"
#include "endec/text.h"

/** "dir/tok*.bin", or NULL. */
static char *find_llama2c_tokenizer(const char *dir) {
    char *path = NULL;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && !path && (e = readdir(d)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (n > 7 && strncmp(e->d_name, "tok", 3) == 0 && strcmp(e->d_name + n - 4, ".bin") == 0 && ed__path_join(dir, e->d_name, &path, NULL) != ED_OK)
            path = NULL;
    }
    if (d)
        closedir(d);
    return path;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (ed__path_is_dir(path))
        return ed__strdup(path);
    return slash ? ed__strndup(path, slash > path ? (size_t)(slash - path) : 1) : ed__strdup(".");
}

static ed_status load_tokenizer(const char *path, int64_t vocab, ed_tokenizer **out, ed_error *err) {
    char *dir = folder_of(path), *json = NULL, *bin = NULL;
    if (!dir)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for a path");
    ed_status s = ed__path_join(dir, "tokenizer.json", &json, err);
    if (s == ED_OK && ed__path_exists(json))
        s = ed_tokenizer_load(dir, out, err);
    else if (s == ED_OK && (bin = find_llama2c_tokenizer(dir)) != NULL)
        s = ed_tokenizer_load_llama2c(bin, (int32_t)(vocab < INT32_MAX ? vocab : INT32_MAX), out, err);
    else if (s == ED_OK)
        s = ed_error_set(err, ED_E_NOT_FOUND, dir, ED_NO_OFFSET, "no tokenizer.json (or llama2.c tok*.bin) stands beside the model");
    ed__free(json);
    ed__free(bin);
    ed__free(dir);
    return s;
}

ed_status ed_text_model_load(const char *path, ed_dtype dtype, ed_text_model *out, ed_error *err) {
    *out = (ed_text_model){0};
    ED_TRY(ed_model_load(path, dtype, &out->model, err));
    int64_t vocab = ed_model_get_config(out->model)->vocab_size;
    ed_status s = load_tokenizer(path, vocab, &out->tokenizer, err);
    if (s == ED_OK && ed_tokenizer_vocab_size(out->tokenizer) > vocab)
        s = ed_error_set(err, ED_E_RANGE, path, ED_NO_OFFSET, "the tokenizer has %d entries, the model's vocabulary only %lld", ed_tokenizer_vocab_size(out->tokenizer),
                         (long long)vocab);
    if (s != ED_OK)
        ed_text_model_deinit(out);
    return s;
}

void ed_text_model_deinit(ed_text_model *m) {
    ed_model_destroy(&m->model);
    ed_tokenizer_destroy(&m->tokenizer);
}

ed_status ed_text_encode(const ed_text_model *m, const char *text, size_t bytes, ed_token_ids *out, ed_error *err) {
    bool decoder = ed_model_get_config(m->model)->kind == ED_MODEL_DECODER;
    uint32_t flags = !decoder ? ED_ENCODE_ADD_SPECIAL : ed_tokenizer_special(m->tokenizer, ED_SPECIAL_BOS) >= 0 ? ED_ENCODE_BOS : 0;
    return ed_tokenizer_encode(m->tokenizer, text, bytes, flags, out, err);
}
