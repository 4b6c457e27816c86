/* cli/cmd_translate.c - endec translate: a line in, a line out. Lines go through the model in batches; what a line gives does not depend on the others. */
#include "cli.h"

enum { BATCH_LINES = 512 };
static const double BATCH_WAIT_S = 0.1; /* a line of a slow pipe waits no longer for company */

typedef struct translate_opts {
    char *model, *input, *output;
    bool stats, json;
    int dtype;
    ed_decode_opts decode;
} translate_opts;

#define FIELD(f) offsetof(translate_opts, f)
static const ed_option table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "DIR", "model folder: config.json, model.safetensors, tokenizer.json", 'm'},
    {"input", ED_OPT_STRING, FIELD(input), 0, 0, NULL, "FILE", "read lines from here (default: standard input)", 'i'},
    {"output", ED_OPT_STRING, FIELD(output), 0, 0, NULL, "FILE", "write lines there (default: standard output)", 'o'},
    {"stats", ED_OPT_BOOL, FIELD(stats), 0, 0, NULL, NULL, "tokens per second and peak memory on standard error", 0},
    {"json", ED_OPT_BOOL, FIELD(json), 0, 0, NULL, NULL, "one JSON object per input line", 0},
    {"dtype", ED_OPT_ENUM, FIELD(dtype), 0, 0, cli_dtype_names, "TYPE", "number format of the weights in memory: stored, f32, bf16 or f16", 0},
};
static const cli_alias aliases[] = {
    {"--beam", "num_beams"}, {"--beams", "num_beams"}, {"--n-best", "num_return_sequences"}, {"--len-penalty", "length_penalty"}, {"--temp", "temperature"}, {0},
};

/** The work of one run. */
typedef struct job {
    const translate_opts *opts;
    ed_text_model model;
    cli_in in;
    cli_out out;
    cli_lines lines;
    int64_t done; /* lines before this batch */
    ed_decode_stats stats;
} job;

static void put_json(cli_out *out, int64_t index, const ed_text_output *o, int64_t n) {
    cli_printf(out, "{\"index\":%lld,\"outputs\":[", (long long)index);
    for (int64_t i = 0; i < n && o[i].text; i++) {
        cli_printf(out, "%s{\"text\":", i ? "," : "");
        cli_put_json(out, o[i].text, o[i].bytes);
        cli_printf(out, ",\"score\":");
        cli_put_json_number(out, o[i].score);
        cli_printf(out, ",\"sum_logprob\":");
        cli_put_json_number(out, o[i].sum_logprob);
        cli_printf(out, ",\"tokens\":%lld,\"finish\":\"%s\"}", (long long)o[i].tokens, ed_finish_name(o[i].finish));
    }
    cli_printf(out, "]}\n");
}

static void put_texts(cli_out *out, int64_t index, const ed_text_output *o, int64_t n) {
    if (n == 1) {
        if (o->text)
            cli_put_line(out, o->text, o->bytes);
        cli_put(out, "\n", 1);
        return;
    }
    for (int64_t i = 0; i < n && (o[i].text || i == 0); i++) {
        cli_printf(out, "%lld ||| ", (long long)index);
        if (o[i].text)
            cli_put_line(out, o[i].text, o[i].bytes);
        cli_printf(out, " ||| %.6f\n", o[i].score);
    }
}

static ed_status translate_batch(job *j, ed_error *err) {
    ed_text_outputs r;
    ed_decode_stats stats = {0};
    CLI_TRY(ed_text_translate(&j->model, (const char *const *)j->lines.text, j->lines.bytes, j->lines.n, &j->opts->decode, &r, &stats, err));
    cli_stats_add(&j->stats, &stats);
    for (int64_t i = 0; i < r.n_inputs; i++)
        (j->opts->json ? put_json : put_texts)(&j->out, j->done + i, r.items + i * r.per_input, r.per_input);
    j->done += r.n_inputs;
    j->out.c->lines_before = j->done;
    ed_text_outputs_deinit(&r);
    return cli_flush(&j->out, err);
}

/** Samples are keyed by the line's place in its batch: sampling reads full batches, so that they do not depend on the writer's pace. */
static ed_status translate_all(job *j, ed_error *err) {
    bool sampling = j->opts->decode.temperature > 0 && j->opts->decode.num_beams == 1;
    for (;;) {
        CLI_TRY(cli_in_lines(&j->in, BATCH_LINES, sampling ? -1 : BATCH_WAIT_S, &j->lines, err));
        if (j->lines.n == 0)
            return ED_OK;
        CLI_TRY(translate_batch(j, err));
    }
}

static ed_status run(cli *c, const translate_opts *o, ed_error *err) {
    job j = {.opts = o, .in.fd = -1};
    CLI_TRY(cli_need(o->model, "-m", "a model folder", err));
    CLI_TRY(ed_text_model_load(o->model, cli_dtype(o->dtype), &j.model, err));
    ed_status s = ed_decode_opts_check(&o->decode, ed_model_get_config(j.model.model), err);
    if (s == ED_OK)
        s = cli_in_open(o->input, &j.in, err);
    if (s == ED_OK && (s = cli_out_open(c, o->output, &j.in, &j.out, err)) == ED_OK)
        s = cli_out_close(&j.out, translate_all(&j, err), err);
    if (s == ED_OK && o->stats)
        cli_stats_print(&j.stats);
    cli_lines_free(&j.lines);
    cli_in_close(&j.in);
    ed_text_model_deinit(&j.model);
    return s;
}

ed_status cmd_translate(cli *c, int argc, char **argv, ed_error *err) {
    translate_opts o = {.decode = ed_decode_opts_default()};
    size_t n;
    const ed_option *decode = ed_decode_options(&n);
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {"Decoding", decode, n, &o.decode}, {0}};
    cli_spec spec = {.usage = "-m DIR [options] < in > out",
                     .about = "Translates every line of the input with an encoder-decoder model: one output line per input line. With --n-best above 1 the output is "
                              "'index ||| text ||| score', best first.",
                     .groups = groups, .aliases = aliases,
                     .examples = "  endec translate -m models/en-de-small < in.en > out.de\n"
                                 "  endec translate -m models/en-de-small --beam 5 --n-best 5 -i in.en\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, err);
    cli_spec_deinit(&spec);
    return s;
}
