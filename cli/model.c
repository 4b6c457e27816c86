/* cli/model.c - small helpers of several verbs: paths, tokenizers, number formats, decoding statistics. */
#include <sys/stat.h>

#include "cli.h"

const char *const cli_dtype_names[] = {"stored", "f32", "bf16", "f16", NULL};

ed_dtype cli_dtype(int index) {
    static const ed_dtype d[] = {ED_DTYPE_COUNT, ED_DTYPE_F32, ED_DTYPE_BF16, ED_DTYPE_F16};
    return d[index];
}

bool cli_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool cli_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool cli_ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

ed_status cli_path(const char *dir, const char *name, char *buf, size_t n, ed_error *err) {
    int len = snprintf(buf, n, "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= n)
        return ed_error_set(err, ED_E_LIMIT, dir, ED_NO_OFFSET, "the path is too long");
    return ED_OK;
}

/** A llama2.c model, which has its tokenizer in another file: tok*.bin files are tokenizers themselves. */
static bool is_llama2c_model(const char *path) {
    char json[4096], bin[4096];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    if (!cli_is_dir(path))
        return cli_ends_with(path, ".bin") && strncmp(base, "tok", 3) != 0;
    return cli_path(path, "tokenizer.json", json, sizeof json, NULL) == ED_OK && !cli_exists(json) &&
           cli_path(path, "tokenizer.bin", bin, sizeof bin, NULL) == ED_OK && !cli_exists(bin);
}

ed_status cli_tokenizer_load(const char *path, ed_tokenizer **out, ed_error *err) {
    ed_text_model m;
    if (!cli_exists(path))
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "no such file or folder");
    if (!is_llama2c_model(path))
        return ed_tokenizer_load(path, out, err);
    CLI_TRY(ed_text_model_load(path, ED_DTYPE_COUNT, &m, err));
    *out = m.tokenizer;
    m.tokenizer = NULL;
    ed_text_model_deinit(&m);
    return ED_OK;
}

void cli_stats_add(ed_decode_stats *sum, const ed_decode_stats *s) {
    sum->prompts += s->prompts;
    sum->prompt_tokens += s->prompt_tokens;
    sum->source_tokens += s->source_tokens;
    sum->new_tokens += s->new_tokens;
    sum->encoder_passes += s->encoder_passes;
    sum->encoder_rows += s->encoder_rows;
    sum->passes += s->passes;
    sum->rows += s->rows;
    sum->prompt_rows += s->prompt_rows;
    sum->encode_s += s->encode_s;
    sum->prefill_s += s->prefill_s;
    sum->decode_s += s->decode_s;
    sum->total_s += s->total_s;
    sum->cache_bytes = sum->cache_bytes > s->cache_bytes ? sum->cache_bytes : s->cache_bytes;
}

static double rate(int64_t n, double seconds) {
    return seconds > 0 ? (double)n / seconds : 0;
}

void cli_stats_print(const ed_decode_stats *s) {
    fprintf(stderr, "endec: %lld inputs, %lld tokens in, %lld tokens out in %.3f s", (long long)s->prompts, (long long)(s->source_tokens > 0 ? s->source_tokens : s->prompt_tokens),
            (long long)s->new_tokens, s->total_s);
    fprintf(stderr, "; peak memory %.1f MiB, of it %.1f MiB keys and values\n", (double)ed_peak_rss_bytes() / 1048576.0, (double)s->cache_bytes / 1048576.0);
    fprintf(stderr, "endec:");
    if (s->source_tokens > 0)
        fprintf(stderr, " encode %.1f tokens/s (%.3f s),", rate(s->source_tokens, s->encode_s), s->encode_s);
    if (s->prompt_tokens > 0 && s->source_tokens == 0)
        fprintf(stderr, " prefill %.1f tokens/s (%.3f s),", rate(s->prompt_rows, s->prefill_s), s->prefill_s);
    double decode = s->decode_s + (s->source_tokens > 0 ? s->prefill_s : 0);
    fprintf(stderr, " decode %.1f tokens/s (%.3f s)\n", rate(s->new_tokens, decode), decode);
}
