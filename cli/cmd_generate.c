/* cli/cmd_generate.c - endec generate: continues a prompt; the text appears as it is made. */
#include "cli.h"

typedef struct generate_opts {
    char *model, *prompt, *file, *output;
    bool echo, stats, json;
    int dtype;
    ed_decode_opts decode;
} generate_opts;

#define FIELD(f) offsetof(generate_opts, f)
static const ed_option table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "PATH", "model folder, or a llama2.c .bin file with its tokenizer (tok*.bin) beside it", 'm'},
    {"prompt", ED_OPT_STRING, FIELD(prompt), 0, 0, NULL, "TEXT", "text to continue (default: none, the model begins by itself)", 'p'},
    {"file", ED_OPT_STRING, FIELD(file), 0, 0, NULL, "FILE", "read the prompt from a file, byte for byte ('-': standard input)", 'f'},
    {"output", ED_OPT_STRING, FIELD(output), 0, 0, NULL, "FILE", "write there (default: standard output)", 'o'},
    {"echo", ED_OPT_BOOL, FIELD(echo), 0, 0, NULL, NULL, "print the prompt first", 0},
    {"stats", ED_OPT_BOOL, FIELD(stats), 0, 0, NULL, NULL, "tokens per second and peak memory on standard error", 0},
    {"json", ED_OPT_BOOL, FIELD(json), 0, 0, NULL, NULL, "one JSON object with all outputs at the end, nothing before", 0},
    {"dtype", ED_OPT_ENUM, FIELD(dtype), 0, 0, cli_dtype_names, "TYPE", "number format of the weights in memory: stored, f32, bf16 or f16", 0},
};
static const cli_alias aliases[] = {
    {"--temp", "temperature"},      {"--beam", "num_beams"}, {"--beams", "num_beams"}, {"--n-best", "num_return_sequences"},
    {"--len-penalty", "length_penalty"}, {0},
};

static bool on_text(void *user, const char *text, size_t n) {
    cli_out *out = user;
    cli_put(out, text, n);
    return cli_flush(out, NULL) == ED_OK;
}

static void put_json(cli_out *out, const ed_text_outputs *r) {
    cli_printf(out, "{\"outputs\":[");
    for (int64_t i = 0; i < r->per_input && r->items[i].text; i++) {
        const ed_text_output *o = &r->items[i];
        cli_printf(out, "%s{\"text\":", i ? "," : "");
        cli_put_json(out, o->text, o->bytes);
        cli_printf(out, ",\"tokens\":%lld,\"sum_logprob\":", (long long)o->tokens);
        cli_put_json_number(out, o->sum_logprob);
        cli_printf(out, ",\"finish\":\"%s\"}", ed_finish_name(o->finish));
    }
    cli_printf(out, "]}\n");
}

static ed_status generate(const generate_opts *o, const ed_text_model *m, const char *prompt, size_t bytes, cli_out *out, ed_error *err) {
    ed_text_outputs r;
    ed_decode_stats stats = {0};
    bool stream = !o->json && o->decode.num_return_sequences == 1;
    if (o->echo && stream)
        cli_put(out, prompt, bytes);
    CLI_TRY(ed_text_generate(m, prompt, bytes, &o->decode, stream ? on_text : NULL, out, &r, &stats, err));
    if (o->json)
        put_json(out, &r);
    else if (stream)
        cli_put(out, "\n", 1);
    for (int64_t i = 0; i < r.per_input && !stream && !o->json && r.items[i].text; i++) {
        if (o->echo)
            cli_put(out, prompt, bytes);
        cli_put(out, r.items[i].text, r.items[i].bytes);
        cli_put(out, "\n", 1);
    }
    ed_text_outputs_deinit(&r);
    ed_status s = cli_flush(out, err);
    if (s == ED_OK && o->stats)
        cli_stats_print(&stats);
    return s;
}

static ed_status with_prompt(cli *c, const generate_opts *o, const ed_text_model *m, ed_error *err) {
    char empty[1] = "", *prompt = o->prompt ? o->prompt : empty;
    size_t bytes = strlen(prompt);
    cli_in in = {.fd = -1};
    cli_out out;
    ed_status s = ED_OK;
    if (o->file && (s = cli_in_open(o->file, &in, err)) == ED_OK)
        s = cli_in_all(&in, ED_TOKENIZER_MAX_TEXT_BYTES, &prompt, &bytes, err);
    if (s == ED_OK && (s = cli_out_open(c, o->output, &in, &out, err)) == ED_OK)
        s = cli_out_close(&out, generate(o, m, prompt, bytes, &out, err), err);
    cli_in_close(&in);
    return s;
}

static ed_status run(cli *c, const generate_opts *o, ed_error *err) {
    ed_text_model m;
    CLI_TRY(cli_need(o->model, "-m", "a model", err));
    if (o->prompt && o->file)
        return ed_error_set(err, ED_E_INVALID, "-p", ED_NO_OFFSET, "the prompt comes from -p or from -f, not from both");
    CLI_TRY(ed_text_model_load(o->model, cli_dtype(o->dtype), &m, err));
    ed_status s = with_prompt(c, o, &m, err);
    ed_text_model_deinit(&m);
    return s;
}

ed_status cmd_generate(cli *c, int argc, char **argv, ed_error *err) {
    generate_opts o = {.decode = ed_decode_opts_default()};
    size_t n;
    const ed_option *decode = ed_decode_options(&n);
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {"Decoding", decode, n, &o.decode}, {0}};
    cli_spec spec = {.usage = "-m MODEL [-p TEXT] [options]",
                     .about = "Continues a prompt with a decoder-only model and prints the new text as it is made. With --n-best above 1, samples or beams follow each other, a "
                              "line end behind each.",
                     .groups = groups, .aliases = aliases,
                     .examples = "  endec generate -m stories260K.bin -p \"Once upon a time\" -n 200\n"
                                 "  endec generate -m model -f prompt.txt --temp 0.8 --top-p 0.95 --seed 7 --stats\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, err);
    cli_spec_deinit(&spec);
    return s;
}
