/* task/text_translate.c - lines of text through an encoder-decoder model. */
#include "base/internal.h"
#include "endec/text.h"
#include "task/text_output.h"

/** Ids of all lines in one array; line i is ids[at[i] .. at[i + 1]). */
typedef struct encoded {
    ed_token_ids ids;
    int64_t *at;
    int64_t *line; /* which input line prompt i is (empty lines have none) */
    int64_t n;
} encoded;

static void encoded_free(encoded *e) {
    ed_token_ids_deinit(&e->ids);
    ed__free(e->at);
    ed__free(e->line);
}

/** Cuts a source that is longer than the model's context, keeping its end token. */
static void cut_source(const ed_text_model *m, encoded *e, int64_t line) {
    const ed_model_config *c = ed_model_get_config(m->model);
    int64_t n = e->ids.n - e->at[e->n];
    if (n <= c->max_positions)
        return;
    ed_log_line(ED_LOG_WARN, "line %lld has %lld tokens; the model reads the first %lld", (long long)line + 1, (long long)n, (long long)c->max_positions);
    e->ids.ids[e->at[e->n] + c->max_positions - 1] = e->ids.ids[e->ids.n - 1];
    e->ids.n = e->at[e->n] + c->max_positions;
}

static ed_status encode_lines(const ed_text_model *m, const char *const *lines, const size_t *bytes, int64_t n, encoded *e, ed_error *err) {
    *e = (encoded){.at = ed__malloc((size_t)(n + 1) * sizeof *e->at), .line = ed__malloc((size_t)(n + 1) * sizeof *e->line)};
    ED_FAIL_IF(!e->at || !e->line, ED_E_MEMORY, err, "no memory for %lld lines", (long long)n);
    e->at[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (bytes[i] == 0)
            continue;
        ED_TRY(ed_text_encode(m, lines[i], bytes[i], &e->ids, err));
        cut_source(m, e, i);
        e->line[e->n++] = i;
        e->at[e->n] = e->ids.n;
    }
    return ED_OK;
}

static ed_status run(const ed_text_model *m, const encoded *e, const ed_decode_opts *opts, ed_text_outputs *out, ed_decode_stats *stats, ed_error *err) {
    ed_prompt *p = ed__calloc((size_t)e->n + 1, sizeof *p);
    ed_result *r = ed__calloc((size_t)e->n + 1, sizeof *r);
    ed_status s = p && r ? ED_OK : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %lld prompts", (long long)e->n);
    for (int64_t i = 0; i < e->n && s == ED_OK; i++)
        p[i] = (ed_prompt){.ids = e->ids.ids + e->at[i], .n = e->at[i + 1] - e->at[i], .sequence = (uint64_t)e->line[i] + 1};
    if (s == ED_OK && e->n > 0)
        s = ed_generate(m->model, p, e->n, opts, NULL, r, stats, err);
    for (int64_t i = 0; i < e->n && s == ED_OK; i++)
        s = ed__text_fill(m, &r[i], out, e->line[i], err);
    for (int64_t i = 0; r && i < e->n; i++)
        ed_result_deinit(&r[i]);
    ed__free(p);
    ed__free(r);
    return s;
}

ed_status ed_text_translate(const ed_text_model *m, const char *const *lines, const size_t *bytes, int64_t n, const ed_decode_opts *opts, ed_text_outputs *out,
                            ed_decode_stats *stats, ed_error *err) {
    encoded e;
    if (stats)
        *stats = (ed_decode_stats){0};
    *out = (ed_text_outputs){0};
    ED_FAIL_IF(ed_model_get_config(m->model)->kind != ED_MODEL_ENCDEC, ED_E_STATE, err, "translation needs an encoder-decoder model; this one continues text (generate)");
    ED_TRY(ed__text_outputs_create(n, opts->num_return_sequences, out, err));
    ed_status s = encode_lines(m, lines, bytes, n, &e, err);
    if (s == ED_OK)
        s = run(m, &e, opts, out, stats, err);
    encoded_free(&e);
    if (s != ED_OK)
        ed_text_outputs_deinit(out);
    return s;
}
