/* cli/main.c - the table of verbs, and the way from a status to an exit code. */
#include <unistd.h>

#include "cli.h"

const cli_command cli_commands[] = {
    {"translate", "translate lines with an encoder-decoder model", cmd_translate},
    {"generate", "continue a prompt with a decoder-only model", cmd_generate},
    {"score", "BLEU, chrF, error rates, perplexity", cmd_score},
    {"train", "train a model from a YAML config", cmd_train},
    {"train-tokenizer", "train a tokenizer on text files", cmd_train_tokenizer},
    {"tokenize", "text to token ids or pieces", cmd_tokenize},
    {"detokenize", "token ids to text", cmd_detokenize},
    {"info", "what a model file or folder holds", cmd_info},
    {"convert", "between llama2.c files and safetensors folders; other number formats", cmd_convert},
    {"inspect", "ask one question of a model", cmd_inspect},
    {"lab", "rerun the experiments of published methods", cmd_lab},
    {"bench", "measure prefill, decoding or training", cmd_bench},
    {"help", "this list, or the options of a command", cmd_help},
};
const int cli_n_commands = CLI_COUNT(cli_commands);

enum { EXIT_CLOSED_PIPE = 141 };

void cli_print_version(void) {
    printf("endec %s\n", ed_version());
}

static ed_status unknown_command(const char *name, ed_error *err) {
    ed_option names[CLI_COUNT(cli_commands)] = {0};
    ed_error inner = {0};
    for (size_t i = 0; i < CLI_COUNT(names); i++)
        names[i].key = cli_commands[i].name;
    ed_option_set_key(names, CLI_COUNT(names), NULL, name, "", &inner);
    const char *hint = strchr(inner.message, ';');
    return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "no such command%s ('endec help' lists all)", hint ? hint : "");
}

static const cli_command *find(const char *name) {
    for (int i = 0; i < cli_n_commands; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

/** How many arguments at the front are global options, so that "endec --threads 2 translate" works as well. */
static int leading_options(int argc, char **argv) {
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1]) {
        bool takes_value = !strchr(argv[i], '=') && (strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "--threads") == 0 || strcmp(argv[i], "--cpu") == 0 ||
                                                     strcmp(argv[i], "--verbosity") == 0);
        i += takes_value ? 2 : 1;
    }
    return (i < argc ? i : argc) - 1;
}

/** Puts the verb's arguments behind the global ones and runs it. */
static ed_status dispatch(cli *c, int argc, char **argv, ed_error *err) {
    int lead = leading_options(argc, argv);
    if (argc - lead < 2) { /* no verb: --help, --version */
        if (strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0)
            argc = 1;
        c->verb = "help";
        return cmd_help(c, argc - 1, argv + 1, err);
    }
    const char *name = argv[1 + lead];
    const cli_command *cmd = find(name);
    if (!cmd)
        return unknown_command(name, err);
    c->verb = cmd->name;
    memmove(argv + 2, argv + 1, (size_t)lead * sizeof *argv);
    return cmd->run(c, argc - 2, argv + 2, err);
}

static int exit_code(const cli *c, ed_status s, const ed_error *err) {
    char text[1024];
    if (c->closed_pipe)
        return EXIT_CLOSED_PIPE;
    if (s == ED_OK)
        return c->code;
    fprintf(stderr, "endec: %s\n", ed_error_text(err, text, sizeof text));
    return c->signal ? 128 + c->signal : ed_status_exit_code(s);
}

/** gcc's OpenMP threads wait for each other by spinning for milliseconds. On a machine that others use too, that burns the time that the awaited thread needs (a small
 *  model on two threads took 20 times the processor time). The library reads its environment before main runs, so the program starts itself once more with a short
 *  spin. Whoever sets one of the two variables keeps his choice. */
static void shorten_spinning(char **argv) {
#if defined(_OPENMP) && defined(__GNUC__) && !defined(__clang__)
    char path[4096];
    ssize_t n = getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") ? -1 : readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "1000", 0) != 0)
        return;
    path[n] = 0;
    execv(path, argv); /* comes back only when it failed: then the spinning stays */
#else
    (void)argv;
#endif
}

int main(int argc, char **argv) {
    shorten_spinning(argv);
    cli c = {.verb = "help", .verbosity = 2};
    ed_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        cli_help_commands(stderr);
        return ed_status_exit_code(ED_E_INVALID);
    }
    ed_status s = dispatch(&c, argc, argv, &err);
    cli_out tail = {.c = &c, .f = stdout, .name = "standard output"}; /* what help printed */
    if (s == ED_OK)
        s = cli_flush(&tail, &err);
    if (s != ED_OK && err.status == ED_OK)
        ed_error_set(&err, s, "", ED_NO_OFFSET, "%s", ed_status_text(s));
    return exit_code(&c, s, &err);
}
