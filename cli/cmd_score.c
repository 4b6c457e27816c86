/* cli/cmd_score.c - endec score: translations against references, or text under a language model. */
#include <math.h>

#include "cli.h"
#include "endec/metrics.h"
#include "endec/run.h"

typedef struct score_opts {
    char *model;
    bool json, brief, lowercase;
    int64_t width, length, stride;
    ed_bleu_opts bleu;
    ed_chrf_opts chrf;
} score_opts;

#define FIELD(f) offsetof(score_opts, f)
static const ed_option table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "PATH", "ppl: model folder or llama2.c file", 'm'},
    {"json", ED_OPT_BOOL, FIELD(json), 0, 0, NULL, NULL, "one JSON object; its field \"score\" is the score", 0},
    {"score_only", ED_OPT_BOOL, FIELD(brief), 0, 0, NULL, NULL, "print the score alone", 'b'},
    {"width", ED_OPT_INT, FIELD(width), 0, 17, NULL, "N", "digits behind the point", 'w'},
    {"lowercase", ED_OPT_BOOL, FIELD(lowercase), 0, 0, NULL, NULL, "score without regard to case", 0},
    {"length", ED_OPT_INT, FIELD(length), 0, 1 << 24, NULL, "N", "ppl: tokens of a row (0: the model's context)", 0},
    {"stride", ED_OPT_INT, FIELD(stride), 0, 1 << 24, NULL, "N", "ppl: tokens counted in a row (0: all of them)", 0},
};
static const cli_alias aliases[] = {{"-tok", "tok"}, {"--tokenize", "tok"}, {"-lc", "lowercase"}, {"--smooth-method", "smooth"}, {"-b", "score_only"}, {0}};

/** Hypotheses and references as the metrics want them. */
typedef struct texts {
    ed_lines hyp;
    ed_lines *ref;
    const char **refs; /* [n_refs][n] */
    int n_refs;
} texts;

static void texts_free(texts *t) {
    ed_lines_deinit(&t->hyp);
    for (int i = 0; i < t->n_refs; i++)
        ed_lines_deinit(&t->ref[i]);
    free(t->ref);
    free(t->refs);
}

/** Metrics take C strings: a NUL inside a line becomes the character U+0001, so that nothing behind it is lost. */
static void without_nul(ed_lines *l) {
    for (int64_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->bytes[i]; k++)
            if (l->text[i][k] == 0)
                l->text[i][k] = 1;
}

static ed_status read_lines(const char *path, ed_lines *out, ed_error *err) {
    cli_in in;
    char *text;
    size_t n;
    *out = (ed_lines){0};
    ed_status s;
    if (strcmp(path, "-") != 0) {
        s = ed_lines_read(path, out, err);
    } else {
        s = cli_in_open(NULL, &in, err);
        if (s == ED_OK)
            s = cli_in_all(&in, (size_t)4 << 30, &text, &n, err);
        if (s == ED_OK)
            s = ed_lines_split(text, n, out, err);
        cli_in_close(&in);
    }
    if (s == ED_OK)
        without_nul(out);
    return s;
}

static ed_status texts_read(texts *t, const char *hyp, const cli_multi *refs, ed_error *err) {
    *t = (texts){0};
    if (refs->n == 0)
        return ed_error_set(err, ED_E_INVALID, "--ref", ED_NO_OFFSET, "a reference file must be given");
    CLI_TRY(read_lines(hyp, &t->hyp, err));
    t->ref = calloc((size_t)refs->n, sizeof *t->ref);
    t->refs = calloc((size_t)refs->n * (size_t)(t->hyp.n + 1), sizeof *t->refs);
    if (!t->ref || !t->refs)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for references");
    for (; t->n_refs < refs->n; t->n_refs++) {
        ed_lines *r = &t->ref[t->n_refs];
        CLI_TRY(read_lines(refs->items[t->n_refs], r, err));
        for (int64_t i = 0; i < r->n && i < t->hyp.n; i++)
            t->refs[t->n_refs * t->hyp.n + i] = r->text[i];
        if (r->n != t->hyp.n) {
            int64_t n = r->n;
            ed_lines_deinit(r);
            return ed_error_set(err, ED_E_INVALID, refs->items[t->n_refs], ED_NO_OFFSET, "has %lld lines, %s has %lld", (long long)n, hyp, (long long)t->hyp.n);
        }
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ metrics against references */

static ed_status measure(const char *metric, score_opts *o, const texts *t, ed_metric_score *r, ed_error *err) {
    const char *const *hyps = (const char *const *)t->hyp.text;
    int64_t n = t->hyp.n;
    o->bleu.lowercase = o->chrf.lowercase = o->lowercase;
    if (strcmp(metric, "bleu") == 0)
        return ed_metric_bleu(&o->bleu, hyps, t->refs, t->n_refs, n, r, err);
    if (strcmp(metric, "chrf") == 0)
        return ed_metric_chrf(&o->chrf, hyps, t->refs, t->n_refs, n, r, err);
    if (strcmp(metric, "exact") == 0)
        return ed_metric_exact(o->lowercase, hyps, t->refs, t->n_refs, n, r, err);
    if (t->n_refs > 1)
        return ed_error_set(err, ED_E_INVALID, "--ref", ED_NO_OFFSET, "error rates take one reference");
    return strcmp(metric, "wer") == 0 ? ed_metric_wer(o->lowercase, hyps, t->refs, n, r, err) : ed_metric_cer(o->lowercase, hyps, t->refs, n, r, err);
}

static void put_details(cli_out *out, const ed_metric_score *r) {
    if (strcmp(r->name, "BLEU") == 0)
        cli_printf(out, " %.1f/%.1f/%.1f/%.1f (BP = %.3f ratio = %.3f hyp_len = %lld ref_len = %lld)", r->precisions[0], r->precisions[1], r->precisions[2], r->precisions[3], r->bp,
                   r->ref_len ? (double)r->sys_len / (double)r->ref_len : 0.0, (long long)r->sys_len, (long long)r->ref_len);
    else if (strcmp(r->name, "WER") == 0 || strcmp(r->name, "CER") == 0)
        cli_printf(out, " (substitutions = %lld deletions = %lld insertions = %lld ref_len = %lld)", (long long)r->substitutions, (long long)r->deletions,
                   (long long)r->insertions, (long long)r->ref_len);
}

static ed_status put_score(cli_out *out, const score_opts *o, const ed_metric_score *r, ed_error *err) {
    char json[ED_METRIC_JSON_BYTES];
    int w = (int)o->width;
    if (o->json) {
        CLI_TRY(ed_metric_json(r, json, sizeof json, err));
        cli_printf(out, "%s\n", json);
    } else if (o->brief) {
        cli_printf(out, "%.*f\n", w, r->score);
    } else {
        cli_printf(out, "%s%s%s = %.*f", r->name, r->signature[0] ? "|" : "", r->signature, w, r->score);
        put_details(out, r);
        cli_put(out, "\n", 1);
    }
    return ED_OK;
}

static ed_status score_texts(const char *metric, score_opts *o, const char *hyp, const cli_multi *refs, cli_out *out, ed_error *err) {
    texts t;
    ed_metric_score r = {0};
    ed_status s = texts_read(&t, hyp, refs, err);
    if (s == ED_OK)
        s = measure(metric, o, &t, &r, err);
    if (s == ED_OK)
        s = put_score(out, o, &r, err);
    texts_free(&t);
    return s;
}

/* ------------------------------------------------------------------ perplexity */

static void put_ppl(cli_out *out, const score_opts *o, double nats, int64_t tokens, size_t bytes) {
    double bits = bytes ? nats * (double)tokens / log(2.0) / (double)bytes : NAN;
    if (o->json) {
        cli_printf(out, "{\"name\":\"ppl\",\"score\":");
        cli_put_json_number(out, exp(nats));
        cli_printf(out, ",\"nats_per_token\":");
        cli_put_json_number(out, nats);
        cli_printf(out, ",\"bits_per_byte\":");
        cli_put_json_number(out, bits);
        cli_printf(out, ",\"tokens\":%lld,\"bytes\":%zu}\n", (long long)tokens, bytes);
    } else if (o->brief) {
        cli_printf(out, "%.*f\n", (int)o->width, exp(nats));
    } else {
        cli_printf(out, "perplexity = %.4f (nats/token = %.6f bits/byte = %.6f tokens = %lld bytes = %zu)\n", exp(nats), nats, bits, (long long)tokens, bytes);
    }
}

static ed_status ppl_of(const score_opts *o, const ed_text_model *m, const char *path, cli_out *out, ed_error *err) {
    cli_in in;
    char *text;
    size_t n;
    double nats = 0;
    int64_t tokens = 0;
    ed_status s = cli_in_open(path, &in, err);
    if (s == ED_OK)
        s = cli_in_all(&in, ED_TOKENIZER_MAX_TEXT_BYTES, &text, &n, err);
    if (s == ED_OK)
        s = ed_text_nll(m, text, n, o->length, o->stride, &nats, &tokens, err);
    if (s == ED_OK)
        put_ppl(out, o, nats, tokens, n);
    cli_in_close(&in);
    return s;
}

static ed_status score_ppl(const score_opts *o, const char *path, cli_out *out, ed_error *err) {
    ed_text_model m;
    CLI_TRY(cli_need(o->model, "-m", "a language model", err));
    CLI_TRY(ed_text_model_load(o->model, ED_DTYPE_COUNT, &m, err));
    ed_status s = ppl_of(o, &m, path, out, err);
    ed_text_model_deinit(&m);
    return s;
}

/* ------------------------------------------------------------------ the verb */

static ed_status run(cli *c, score_opts *o, const cli_args *a, const cli_multi *refs, ed_error *err) {
    static const char *const metrics[] = {"bleu", "chrf", "wer", "cer", "exact"};
    const char *metric = a->items[0], *file = a->n > 1 ? a->items[1] : "-";
    cli_out out;
    CLI_TRY(cli_out_open(c, NULL, NULL, &out, err));
    if (strcmp(metric, "ppl") == 0)
        return cli_out_close(&out, score_ppl(o, file, &out, err), err);
    for (size_t i = 0; i < CLI_COUNT(metrics); i++)
        if (strcmp(metric, metrics[i]) == 0)
            return cli_out_close(&out, score_texts(metric, o, file, refs, &out, err), err);
    return ed_error_set(err, ED_E_INVALID, metric, ED_NO_OFFSET, "no such score; there are bleu, chrf, wer, cer, exact and ppl");
}

/** Rows of an option table that are not in the verb's own table (lowercase is common to all metrics). */
static size_t without_common(const ed_option *rows, size_t n, ed_option *out) {
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!ed_option_find(table, CLI_COUNT(table), rows[i].key))
            out[m++] = rows[i];
    return m;
}

ed_status cmd_score(cli *c, int argc, char **argv, ed_error *err) {
    score_opts o = {.width = 1, .bleu = ed_bleu_opts_default(), .chrf = ed_chrf_opts_default()};
    ed_option bleu[16], chrf[16];
    size_t n_bleu, n_chrf;
    const ed_option *b = ed_bleu_options(&n_bleu), *h = ed_chrf_options(&n_chrf);
    n_bleu = without_common(b, n_bleu < CLI_COUNT(bleu) ? n_bleu : CLI_COUNT(bleu), bleu);
    n_chrf = without_common(h, n_chrf < CLI_COUNT(chrf) ? n_chrf : CLI_COUNT(chrf), chrf);
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {"BLEU", bleu, n_bleu, &o.bleu}, {"chrF", chrf, n_chrf, &o.chrf}, {0}};
    cli_multi multis[] = {{.name = "ref", .metavar = "FILE", .help = "reference lines, plain or gzip (--ref2 FILE and so on mean the same)", .numbered = true}, {0}};
    cli_spec spec = {.usage = "bleu|chrf|wer|cer|exact --ref FILE [--ref FILE] [HYP], or: ppl -m MODEL [FILE]",
                     .about = "Scores lines against references, with sacreBLEU's definitions and signature, or measures how well a language model predicts a text. Without a file, "
                              "standard input is read.",
                     .groups = groups, .multis = multis, .aliases = aliases, .min_args = 1, .max_args = 2,
                     .examples = "  endec score bleu --ref test.de out.de\n"
                                 "  endec translate -m models/en-de-small < test.en | endec score chrf --ref test.de --json\n"
                                 "  endec score ppl -m stories260K.bin story.txt\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, &a, &multis[0], err);
    cli_spec_deinit(&spec);
    return s;
}
