/* cli/cmd_info.c - endec info: what a model folder, a weight file or a tokenizer holds. Reading checks everything: damage is an error that names file and place. */
#include "cli.h"

typedef struct info_opts {
    bool json, tensors;
} info_opts;
static const ed_option table[] = {
    {"json", ED_OPT_BOOL, offsetof(info_opts, json), 0, 0, NULL, NULL, "one JSON object", 0},
    {"tensors", ED_OPT_BOOL, offsetof(info_opts, tensors), 0, 0, NULL, NULL, "also list every tensor: name, format, shape", 0},
};

/* ------------------------------------------------------------------ tensors */

static void shape_text(const int64_t *shape, int rank, char *buf, size_t n) {
    int at = snprintf(buf, n, "[");
    for (int i = 0; i < rank && at >= 0 && (size_t)at < n; i++)
        at += snprintf(buf + at, n - (size_t)at, "%s%lld", i ? ", " : "", (long long)shape[i]);
    if (at >= 0 && (size_t)at < n)
        snprintf(buf + at, n - (size_t)at, "]");
}

static void put_tensor(cli_out *out, bool json, bool first, const char *name, const char *dtype, const int64_t *shape, int rank) {
    char text[256];
    shape_text(shape, rank, text, sizeof text);
    if (!json) {
        cli_printf(out, "%-64s %-5s %s\n", name, dtype, text);
        return;
    }
    cli_printf(out, "%s{\"name\":", first ? "" : ",");
    cli_put_json(out, name, strlen(name));
    cli_printf(out, ",\"dtype\":\"%s\",\"shape\":%s}", dtype, text);
}

static void put_params(cli_out *out, bool json, const ed_params *p) {
    cli_printf(out, json ? ",\"tensors\":[" : "\n");
    for (int64_t i = 0; i < ed_params_count(p); i++) {
        const ed_param *t = ed_params_at(p, i);
        put_tensor(out, json, i == 0, t->name, ed_dtype_name(t->dtype), t->shape, t->rank);
    }
    if (json)
        cli_printf(out, "]");
}

static ed_status info_tensor_file(const info_opts *o, const char *path, cli_out *out, ed_error *err) {
    ed_tensor_file *f;
    int64_t numbers = 0;
    CLI_TRY(ed_tensor_file_open(path, NULL, &f, err));
    int64_t n = ed_tensor_file_count(f);
    for (int64_t i = 0; i < n; i++)
        numbers += ed_file_tensor_numel(ed_tensor_file_at(f, i));
    cli_printf(out, o->json ? "{\"kind\":\"tensors\",\"count\":%lld,\"numbers\":%lld,\"tensors\":[" : "tensors        %lld\nnumbers        %lld\n\n", (long long)n, (long long)numbers);
    for (int64_t i = 0; i < n; i++) {
        const ed_file_tensor *t = ed_tensor_file_at(f, i);
        put_tensor(out, o->json, i == 0, t->name, ed_file_dtype_name(t->dtype), t->shape, t->rank);
    }
    if (o->json)
        cli_printf(out, "]}\n");
    ed_tensor_file_close(&f);
    return ED_OK;
}

/* ------------------------------------------------------------------ tokenizer */

static void put_tokenizer(cli_out *out, bool json, const ed_tokenizer *t) {
    static const char *const names[ED_SPECIAL_COUNT] = {"pad", "eos", "unk", "bos"};
    cli_printf(out, json ? "{\"kind\":\"%s\",\"vocab_size\":%d,\"hash\":\"%016llx\"" : "tokenizer      %s, %d entries, hash %016llx", ed_tokenizer_kind_name(t),
               ed_tokenizer_vocab_size(t), (unsigned long long)ed_tokenizer_hash(t));
    for (int i = 0; i < ED_SPECIAL_COUNT; i++)
        if (ed_tokenizer_special(t, (ed_special)i) >= 0)
            cli_printf(out, json ? ",\"%s\":%d" : ", %s %d", names[i], ed_tokenizer_special(t, (ed_special)i));
    cli_printf(out, json ? "}" : "\n");
}

static ed_status info_tokenizer(const info_opts *o, const char *path, cli_out *out, ed_error *err) {
    ed_tokenizer *t;
    CLI_TRY(ed_tokenizer_load(path, &t, err));
    if (o->json)
        cli_printf(out, "{\"kind\":\"tokenizer\",\"tokenizer\":");
    put_tokenizer(out, o->json, t);
    if (o->json)
        cli_printf(out, "}\n");
    ed_tokenizer_destroy(&t);
    return ED_OK;
}

/* ------------------------------------------------------------------ model */

static const char *kind_name(const ed_model *m) {
    static const char *const names[] = {"encoder-decoder", "decoder", "encoder"};
    return names[ed_model_get_config(m)->kind];
}

static size_t weight_bytes(const ed_model *m) {
    static const size_t bytes[ED_DTYPE_COUNT] = {[ED_DTYPE_F32] = 4, [ED_DTYPE_F64] = 8, [ED_DTYPE_BF16] = 2, [ED_DTYPE_F16] = 2, [ED_DTYPE_I32] = 4, [ED_DTYPE_U8] = 1, [ED_DTYPE_BOOL] = 1};
    size_t sum = 0;
    const ed_params *p = ed_model_params(m);
    for (int64_t i = 0; i < ed_params_count(p); i++)
        sum += bytes[ed_params_at(p, i)->dtype] * (size_t)ed_params_at(p, i)->numel;
    return sum;
}

static ed_status put_model_json(cli_out *out, const ed_model *m, ed_error *err) {
    char *config;
    ed_param_count n = ed_model_count(m);
    CLI_TRY(ed_model_config_json(ed_model_get_config(m), ED_DTYPE_F32, &config, err));
    cli_printf(out, "{\"kind\":\"%s\",\"parameters\":{\"encoder\":%lld,\"decoder\":%lld,\"embedding\":%lld,\"head\":%lld,\"other\":%lld,\"total\":%lld},\"weight_bytes\":%zu,\"config\":",
               kind_name(m), (long long)n.encoder, (long long)n.decoder, (long long)n.embedding, (long long)n.head, (long long)n.other, (long long)n.total, weight_bytes(m));
    cli_put(out, config, strlen(config));
    ed_model_text_free(&config);
    return ED_OK;
}

/** The config's fields by the names of the option table. */
static void put_config(cli_out *out, const ed_model_config *c) {
    size_t n;
    char value[256];
    const ed_option *rows = ed_model_options(&n);
    for (size_t i = 0; i < n; i++)
        if (rows[i].type == ED_OPT_INT || rows[i].type == ED_OPT_ENUM || rows[i].type == ED_OPT_STRING || strcmp(ed_option_get(&rows[i], c, value, sizeof value), "false") != 0)
            cli_printf(out, "  %-22s %s\n", rows[i].key, ed_option_get(&rows[i], c, value, sizeof value));
}

static void put_model_text(cli_out *out, const ed_model *m) {
    ed_param_count n = ed_model_count(m);
    cli_printf(out, "model          %s\n", kind_name(m));
    cli_printf(out, "parameters     %lld (encoder %lld, decoder %lld, embeddings %lld, head %lld, other %lld)\n", (long long)n.total, (long long)n.encoder, (long long)n.decoder,
               (long long)n.embedding, (long long)n.head, (long long)n.other);
    cli_printf(out, "weights        %.2f MiB in memory, %lld tensors\n", (double)weight_bytes(m) / 1048576.0, (long long)ed_params_count(ed_model_params(m)));
}

static ed_status put_model(const info_opts *o, const ed_model *m, const ed_tokenizer *t, cli_out *out, ed_error *err) {
    if (o->json)
        CLI_TRY(put_model_json(out, m, err));
    else
        put_model_text(out, m);
    if (o->json)
        cli_printf(out, ",\"tokenizer\":");
    if (t)
        put_tokenizer(out, o->json, t);
    else
        cli_printf(out, o->json ? "null" : "tokenizer      none beside the model\n");
    if (!o->json) {
        cli_printf(out, "config\n");
        put_config(out, ed_model_get_config(m));
    }
    if (o->tensors)
        put_params(out, o->json, ed_model_params(m));
    if (o->json)
        cli_printf(out, "}\n");
    return ED_OK;
}

static ed_status info_model(const info_opts *o, const char *path, cli_out *out, ed_error *err) {
    ed_model *m;
    ed_tokenizer *t = NULL;
    ed_error inner = {0};
    CLI_TRY(ed_model_load(path, ED_DTYPE_COUNT, &m, err));
    ed_status s = cli_tokenizer_load(path, &t, &inner);
    if (s == ED_E_NOT_FOUND)
        s = ED_OK;
    else if (s != ED_OK && err)
        *err = inner;
    if (s == ED_OK)
        s = put_model(o, m, t, out, err);
    ed_tokenizer_destroy(&t);
    ed_model_destroy(&m);
    return s;
}

static ed_status run(cli *c, const info_opts *o, const char *path, ed_error *err) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char config[4096], tok[4096];
    cli_out out;
    CLI_TRY(cli_out_open(c, NULL, NULL, &out, err));
    CLI_TRY(cli_path(path, "config.json", config, sizeof config, err));
    CLI_TRY(cli_path(path, "tokenizer.json", tok, sizeof tok, err));
    if (cli_ends_with(path, ".safetensors"))
        return cli_out_close(&out, info_tensor_file(o, path, &out, err), err);
    bool file_is_tokenizer = cli_ends_with(base, ".json") || (cli_ends_with(base, ".bin") && strncmp(base, "tok", 3) == 0);
    if (file_is_tokenizer || (cli_exists(tok) && !cli_exists(config)))
        return cli_out_close(&out, info_tokenizer(o, path, &out, err), err);
    return cli_out_close(&out, info_model(o, path, &out, err), err);
}

ed_status cmd_info(cli *c, int argc, char **argv, ed_error *err) {
    info_opts o = {0};
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}};
    cli_spec spec = {.usage = "MODEL [--tensors] [--json]",
                     .about = "Shows what a model folder, a llama2.c file, a safetensors file or a tokenizer holds. Everything is read and checked on the way.",
                     .groups = groups, .min_args = 1, .max_args = 1,
                     .examples = "  endec info models/en-de-small\n  endec info model/model.safetensors --json\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, a.items[0], err);
    cli_spec_deinit(&spec);
    return s;
}
