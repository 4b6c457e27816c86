/* models/load.c - models from and to disk: a folder with config.json and safetensors, or a llama2.c v0 file (alone, or the only .bin of a folder). */
#include <dirent.h>
#include <stdio.h>

#include "models/model.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };

/** Stored format of the matrices: as in the file when the caller leaves it open (F16 and F32 become F32, exactly), else what he asks for. */
static ed_dtype matrix_dtype(const ed_tensor_file *f, ed_dtype wanted) {
    if (wanted != ED_DTYPE_COUNT)
        return wanted;
    int64_t bf16 = 0, other = 0;
    for (int64_t i = 0; i < ed_tensor_file_count(f); i++) {
        const ed_file_tensor *t = ed_tensor_file_at(f, i);
        if (t->rank >= 2)
            *(t->dtype == ED_FILE_BF16 ? &bf16 : &other) += 1;
    }
    return bf16 > 0 && other == 0 ? ED_DTYPE_BF16 : ED_DTYPE_F32;
}

static ed_status load_params(const ed_model_config *c, const ed_tensor_file *f, ed_dtype dtype, ed_model **out, ed_error *err) {
    ed_dtype matrices = matrix_dtype(f, dtype);
    ed_params_load_opts o = ed_params_load_opts_default();
    /* Buffers that Hugging Face's tools may store beside the weights, and the tied output layer stored a second time. */
    o.ignore = c->tie_embeddings ? "llama2c.*,lm_head.weight,*.embed_positions.weights,*.rotary_emb.inv_freq,model.encoder.embed_tokens.weight,"
                                   "model.decoder.embed_tokens.weight,embeddings.position_ids"
                                 : "llama2c.*,*.embed_positions.weights,*.rotary_emb.inv_freq,embeddings.position_ids";
    ED_TRY(ed__model_build(c, matrices == ED_DTYPE_F64 ? ED_DTYPE_F64 : ED_DTYPE_F32, matrices, 0, false, out, err));
    ed_status s = ed_params_load((*out)->params, f, &o, err);
    if (s != ED_OK)
        ed_model_destroy(out);
    return s;
}

static ed_status load_folder(const char *dir, ed_dtype dtype, ed_model **out, ed_error *err) {
    char *path, *text;
    size_t n;
    ed_model_config c;
    ed_tensor_file *f;
    ED_TRY(ed__path_join(dir, "config.json", &path, err));
    ed_status s = ed__file_read(path, MAX_CONFIG_BYTES, &text, &n, err);
    if (s == ED_OK) {
        s = ed_model_config_parse(path, text, n, &c, err);
        ed__free(text);
    }
    ed__free(path);
    ED_TRY(s);
    s = ed_tensor_file_open(dir, NULL, &f, err);
    if (s == ED_OK) {
        s = load_params(&c, f, dtype, out, err);
        ed_tensor_file_close(&f);
    }
    ed_model_config_deinit(&c);
    return s;
}

static ed_status load_llama2c(const char *path, ed_dtype dtype, ed_model **out, ed_error *err) {
    ed_tensor_file *f;
    ed_llama2c_config l;
    ED_TRY(ed_llama2c_open(path, NULL, &f, &l, err));
    ed_model_config c = ed_model_config_default();
    c.kind = ED_MODEL_DECODER;
    c.vocab_size = l.vocab_size, c.d_model = l.dim, c.d_ff = l.hidden_dim, c.n_heads = l.n_heads, c.n_kv_heads = l.n_kv_heads;
    c.encoder_layers = 0, c.decoder_layers = l.n_layers, c.max_positions = l.seq_len;
    c.norm = ED_NORM_RMS, c.activation = ED_SILU, c.gated_mlp = true, c.rope_kind = ED_ROPE_INTERLEAVED, c.dropout = 0;
    c.scale_embedding = c.attention_bias = c.output_bias = c.mlp_bias = c.norm_bias = false;
    c.tie_embeddings = l.shared_classifier;
    c.unk_id = 0, c.bos_id = 1, c.eos_id = 2;
    ed_status s = load_params(&c, f, dtype, out, err);
    ed_tensor_file_close(&f);
    return s;
}

/** The only file of the folder that ends in .bin and is not a tokenizer; NULL when there is none or several. */
static char *only_bin(const char *dir) {
    char found[256] = "", *path = NULL;
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len < 5 || len >= sizeof found || strcmp(e->d_name + len - 4, ".bin") != 0 || strncmp(e->d_name, "tok", 3) == 0)
            continue;
        memcpy(found, e->d_name, len + 1);
        n++;
    }
    if (d)
        closedir(d);
    if (n == 1 && ed__path_join(dir, found, &path, NULL) != ED_OK)
        path = NULL;
    return path;
}

ed_status ed_model_load(const char *path, ed_dtype dtype, ed_model **out, ed_error *err) {
    *out = NULL;
    if (!ed__path_exists(path))
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "no such model");
    if (!ed__path_is_dir(path))
        return load_llama2c(path, dtype, out, err);
    char *config, *bin;
    ED_TRY(ed__path_join(path, "config.json", &config, err));
    bool has_config = ed__path_exists(config);
    ed__free(config);
    if (has_config)
        return load_folder(path, dtype, out, err);
    bin = only_bin(path);
    if (!bin)
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "the folder has neither a config.json nor one llama2.c .bin file");
    ed_status s = load_llama2c(bin, dtype, out, err);
    ed__free(bin);
    return s;
}

ed_status ed_model_save(const ed_model *m, const char *folder, ed_dtype weights, ed_error *err) {
    char *text, *path;
    ED_TRY(ed__dir_make(folder, err));
    ED_TRY(ed__path_join(folder, "model.safetensors", &path, err));
    ed_metadata meta = {"format", "pt"}; /* Hugging Face's loaders want it */
    ed_tensor_save_opts o = ed_tensor_save_opts_default();
    o.metadata = &meta;
    o.n_metadata = 1;
    ed_status s = ed_params_save(m->params, path, weights, &o, err);
    ed__free(path);
    ED_TRY(s);
    ED_TRY(ed_model_config_json(&m->config, weights == ED_DTYPE_COUNT ? m->matrix_dtype : weights, &text, err));
    s = ed__path_join(folder, "config.json", &path, err);
    if (s == ED_OK) {
        s = ed__file_write_atomic(path, text, strlen(text), err);
        ed__free(path);
    }
    ed_model_text_free(&text);
    return s;
}
