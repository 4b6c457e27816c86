/* cli/cmd_convert.c - endec convert: llama2.c files to safetensors folders and back, bit for bit; folders to another number format.
 *
 * Without --dtype the tensors are written as they are, the RoPE tables of llama2.c among them, so that the way back gives the same file. With --dtype the weights go
 * through the model, which knows which of them may be stored in fewer bits. */
#include <errno.h>
#include <sys/stat.h>

#include "cli.h"

static const char *const targets[] = {"safetensors", "llama2c", NULL};
typedef struct convert_opts {
    int to, dtype;
} convert_opts;
static const ed_option table[] = {
    {"to", ED_OPT_ENUM, offsetof(convert_opts, to), 0, 0, targets, "FORMAT", "safetensors (a folder) or llama2c (a .bin file)", 0},
    {"dtype", ED_OPT_ENUM, offsetof(convert_opts, dtype), 0, 0, cli_dtype_names, "TYPE", "number format of the weights: stored, f32, bf16 or f16", 0},
};

static ed_status make_folder(const char *dir, ed_error *err) {
    if (mkdir(dir, 0777) == 0 || (errno == EEXIST && cli_is_dir(dir)))
        return ED_OK;
    return cli_errno(err, errno, dir, "make the folder");
}

/** Small files are written at once: a whole file or none. */
static ed_status write_text(const char *dir, const char *name, const char *text, ed_error *err) {
    char path[4096], temp[4096];
    char part[256];
    snprintf(part, sizeof part, ".%s.part", name);
    CLI_TRY(cli_path(dir, name, path, sizeof path, err));
    CLI_TRY(cli_path(dir, part, temp, sizeof temp, err));
    FILE *f = fopen(temp, "wb");
    if (!f)
        return cli_errno(err, errno, temp, "open");
    bool bad = fputs(text, f) < 0;
    bad |= fclose(f) != 0;
    if (!bad && rename(temp, path) == 0)
        return ED_OK;
    ed_status s = cli_errno(err, errno, path, "write");
    remove(temp);
    return s;
}

/** The tokenizer beside the model, when there is one. */
static ed_status copy_tokenizer(const char *in, const char *out, ed_error *err) {
    ed_tokenizer *t = NULL;
    ed_error inner = {0};
    ed_status s = cli_tokenizer_load(in, &t, &inner);
    if (s == ED_E_NOT_FOUND) {
        fprintf(stderr, "endec: no tokenizer stands beside %s; the folder gets none\n", in);
        return ED_OK;
    }
    if (s == ED_OK)
        s = ed_tokenizer_save(t, out, err);
    else if (err)
        *err = inner;
    ed_tokenizer_destroy(&t);
    return s;
}

static ed_status save_tensors(const ed_tensor_file *f, const char *path, ed_error *err) {
    int64_t n = ed_tensor_file_count(f), n_meta = ed_tensor_file_metadata_count(f);
    ed_tensor_item *items = calloc((size_t)n + 1, sizeof *items);
    ed_metadata *meta = calloc((size_t)n_meta + 1, sizeof *meta);
    ed_tensor_save_opts o = ed_tensor_save_opts_default();
    ed_status s = items && meta ? ED_OK : ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for %lld tensors", (long long)n);
    for (int64_t i = 0; s == ED_OK && i < n; i++)
        items[i] = ed_tensor_item_of(ed_tensor_file_at(f, i));
    for (int64_t i = 0; s == ED_OK && i < n_meta; i++)
        meta[i] = ed_tensor_file_metadata_at(f, i);
    o.metadata = meta;
    o.n_metadata = n_meta;
    if (s == ED_OK)
        s = ed_tensor_file_save(path, items, n, &o, err);
    free(items);
    free(meta);
    return s;
}

/** llama2.c file to folder, tensors as they are. */
static ed_status unpack(const char *in, const char *out, ed_error *err) {
    char path[4096], *config;
    ed_model *m;
    ed_tensor_file *f;
    CLI_TRY(cli_path(out, "model.safetensors", path, sizeof path, err));
    CLI_TRY(ed_model_load(in, ED_DTYPE_COUNT, &m, err)); /* checks the weights, and knows the config */
    ed_status s = ed_model_config_json(ed_model_get_config(m), ED_DTYPE_F32, &config, err);
    ed_model_destroy(&m);
    CLI_TRY(s);
    s = write_text(out, "config.json", config, err);
    ed_model_text_free(&config);
    CLI_TRY(s);
    CLI_TRY(ed_llama2c_open(in, NULL, &f, NULL, err));
    s = save_tensors(f, path, err);
    ed_tensor_file_close(&f);
    return s == ED_OK ? copy_tokenizer(in, out, err) : s;
}

/** Any model to a folder in another number format. */
static ed_status requantise(const char *in, const char *out, int dtype, ed_error *err) {
    ed_model *m;
    CLI_TRY(ed_model_load(in, ED_DTYPE_COUNT, &m, err));
    ed_status s = ed_model_save(m, out, cli_dtype(dtype), err);
    ed_model_destroy(&m);
    return s == ED_OK ? copy_tokenizer(in, out, err) : s;
}

/** The header of a model that did not come from llama2.c; refuses what the format cannot say. */
static ed_status llama2c_config(const ed_model_config *c, ed_llama2c_config *l, const char *where, ed_error *err) {
    bool biases = c->attention_bias || c->output_bias || c->mlp_bias;
    bool fits = c->kind == ED_MODEL_DECODER && c->norm == ED_NORM_RMS && c->norm_place == ED_NORM_PRE && c->gated_mlp && c->activation == ED_SILU && !biases &&
                strcmp(c->position, "rope") == 0 && c->rope_kind == ED_ROPE_INTERLEAVED && c->rope_theta == 10000 && c->rope_scale == 1 && !c->scale_embedding &&
                !c->embedding_norm && (c->head_dim == 0 || c->head_dim * c->n_heads == c->d_model) && (c->rotary_dims == 0 || c->rotary_dims * c->n_heads == c->d_model) &&
                c->softcap == 0 && c->attention_scale == 0;
    if (!fits)
        return ed_error_set(err, ED_E_UNSUPPORTED, where, ED_NO_OFFSET, "llama2.c files hold Llama models with interleaved RoPE of base 10000, RMS norms and SwiGLU without biases only");
    if (c->bos_id != 1 || c->eos_id != 2)
        fprintf(stderr, "endec: warning: readers of llama2.c files take 1 for the begin and 2 for the end token; this model has %lld and %lld\n", (long long)c->bos_id,
                (long long)c->eos_id);
    *l = (ed_llama2c_config){.dim = (int32_t)c->d_model, .hidden_dim = (int32_t)c->d_ff, .n_layers = (int32_t)c->decoder_layers, .n_heads = (int32_t)c->n_heads,
                             .n_kv_heads = (int32_t)(c->n_kv_heads ? c->n_kv_heads : c->n_heads), .vocab_size = (int32_t)c->vocab_size,
                             .seq_len = (int32_t)c->max_positions, .shared_classifier = c->tie_embeddings};
    return ED_OK;
}

static ed_status pack(const char *in, const char *out, ed_error *err) {
    ed_model *m;
    ed_tensor_file *f;
    ed_llama2c_config l;
    CLI_TRY(ed_model_load(in, ED_DTYPE_COUNT, &m, err));
    ed_status s = llama2c_config(ed_model_get_config(m), &l, in, err);
    ed_model_destroy(&m);
    CLI_TRY(s);
    CLI_TRY(cli_is_dir(in) ? ed_tensor_file_open(in, NULL, &f, err) : ed_llama2c_open(in, NULL, &f, NULL, err));
    s = ed_llama2c_save(out, f, ed_tensor_file_metadata(f, "llama2c.config") ? NULL : &l, err);
    ed_tensor_file_close(&f);
    return s;
}

static ed_status run(const convert_opts *o, const char *in, const char *out, ed_error *err) {
    bool to_llama2c = o->to == 1 || cli_ends_with(out, ".bin");
    if (!cli_exists(in))
        return ed_error_set(err, ED_E_NOT_FOUND, in, ED_NO_OFFSET, "no such model");
    if (to_llama2c && cli_dtype(o->dtype) != ED_DTYPE_COUNT && cli_dtype(o->dtype) != ED_DTYPE_F32)
        return ed_error_set(err, ED_E_INVALID, "--dtype", ED_NO_OFFSET, "llama2.c files hold f32 only");
    if (to_llama2c)
        return pack(in, out, err);
    CLI_TRY(make_folder(out, err));
    if (!cli_is_dir(in) && cli_dtype(o->dtype) == ED_DTYPE_COUNT)
        return unpack(in, out, err);
    return requantise(in, out, o->dtype, err);
}

ed_status cmd_convert(cli *c, int argc, char **argv, ed_error *err) {
    convert_opts o = {0};
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}};
    cli_spec spec = {.usage = "IN OUT [--to safetensors|llama2c] [--dtype TYPE]",
                     .about = "Turns a llama2.c file into a folder with config.json, model.safetensors and the tokenizer, and such a folder into a llama2.c file (an OUT that ends in "
                              ".bin, or --to llama2c); the way there and back gives the same bytes. With --dtype the weights are stored in another number format.",
                     .groups = groups, .min_args = 2, .max_args = 2,
                     .examples = "  endec convert stories260K.bin stories\n  endec convert stories stories260K.bin\n  endec convert model model-bf16 --dtype bf16\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(&o, a.items[0], a.items[1], err);
    cli_spec_deinit(&spec);
    return s;
}
