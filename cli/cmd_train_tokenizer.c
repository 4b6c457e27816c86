/* cli/cmd_train_tokenizer.c - endec train-tokenizer: a tokenizer from text files. */
#include "cli.h"

typedef struct own_opts {
    char *output;
} own_opts;
static const ed_option table[] = {
    {"output", ED_OPT_STRING, offsetof(own_opts, output), 0, 0, NULL, "DIR", "folder for tokenizer.json (made when absent)", 'o'},
};
static const cli_alias aliases[] = {{"--out", "output"}, {0}};

static ed_status run(cli *c, const own_opts *o, const ed_tokenizer_train_opts *t, const cli_args *a, ed_error *err) {
    ed_tokenizer *tok = NULL;
    CLI_TRY(cli_need(o->output, "-o", "an output folder", err));
    if (a->n == 0 && t->kind != ED_TOKENIZER_BYTES)
        return ed_error_set(err, ED_E_INVALID, c->verb, ED_NO_OFFSET, "no text files were given");
    cli_catch_signals();
    ed_status s = ed_tokenizer_train(t, (const char *const *)a->items, a->n, (ed_progress){cli_progress_report, NULL}, &tok, err);
    cli_progress_end();
    c->signal = s == ED_E_CANCELLED ? cli_caught_signal() : 0;
    if (s == ED_OK && (s = ed_tokenizer_save(tok, o->output, err)) == ED_OK)
        fprintf(stderr, "endec: %s tokenizer with %d entries in %s\n", ed_tokenizer_kind_name(tok), ed_tokenizer_vocab_size(tok), o->output);
    ed_tokenizer_destroy(&tok);
    return s;
}

ed_status cmd_train_tokenizer(cli *c, int argc, char **argv, ed_error *err) {
    own_opts o = {0};
    ed_tokenizer_train_opts t = ed_tokenizer_train_opts_default();
    size_t n;
    const ed_option *rows = ed_tokenizer_train_options(&n);
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {"Tokenizer", rows, n, &t}, {0}};
    cli_spec spec = {.usage = "-o DIR [options] FILES...",
                     .about = "Trains a tokenizer on text files (plain or gzip, a sentence or paragraph a line) and writes tokenizer.json.",
                     .groups = groups, .aliases = aliases, .max_args = -1,
                     .examples = "  endec train-tokenizer --kind bpe --vocab-size 8000 -o tok train.en.gz train.de.gz\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, &t, &a, err);
    cli_spec_deinit(&spec);
    return s;
}
