/* cli/cli.h - the frame that all verbs of the tool stand on: arguments from option tables, help, input by lines, checked output, progress.
 *
 * A verb is one file cmd_<verb>.c with one function of type cli_fn and one row in the table of main.c. It describes its options by ed_option tables, calls
 * cli_parse, does its work, and returns a status; main prints the one error line and turns the status into the exit code. Results go to standard
 * output, everything else to standard error. */
#ifndef ENDEC_CLI_H
#define ENDEC_CLI_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endec/io.h"
#include "endec/text.h"

#define CLI_TRY(expr)                        \
    do {                                     \
        ed_status cli_try_s_ = (expr);       \
        if (cli_try_s_ != ED_OK)             \
            return cli_try_s_;               \
    } while (0)
#define CLI_COUNT(a) (sizeof(a) / sizeof *(a))

/* ------------------------------------------------------------------ the program (main.c) */

typedef struct cli {
    const char *verb;   /* "translate" */
    int64_t threads;    /* global options */
    int cpu, verbosity;
    bool version;
    bool markdown;      /* help is wanted as Markdown (endec help --markdown) */
    bool closed_pipe;   /* the reader of the output went away: no error line, exit code 141 */
    int64_t lines_before; /* input lines of earlier batches: messages count lines inside a batch */
    int signal;         /* the signal that ended the work, 0 = none */
    int code;           /* exit code of work that ended well with a "no" (lab: 1 a claim fails, 2 could not run); 0 else */
} cli;
typedef ed_status (*cli_fn)(cli *c, int argc, char **argv, ed_error *err);
typedef struct cli_command {
    const char *name, *summary;
    cli_fn run; /* argv without program and verb */
} cli_command;

ed_status cmd_bench(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_convert(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_detokenize(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_generate(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_help(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_info(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_inspect(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_lab(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_score(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_tokenize(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_train(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_train_tokenizer(cli *c, int argc, char **argv, ed_error *err);
ed_status cmd_translate(cli *c, int argc, char **argv, ed_error *err);

extern const cli_command cli_commands[];
extern const int cli_n_commands;

/* ------------------------------------------------------------------ arguments (args.c), help (help.c) */

/** One option table with the struct that it fills. */
typedef struct cli_group {
    const char *title; /* heading in help */
    const ed_option *table;
    size_t n;
    void *opts;
} cli_group;
/** An option that may be given several times; the texts are borrowed from argv. Free items with free(). */
typedef struct cli_multi {
    const char *name, *metavar, *help; /* name without dashes; "ref1" and "ref2" both match "ref" when numbered */
    const char **items;
    int n;
    bool numbered;
} cli_multi;
/** Another spelling of an option: the whole text with dashes, and the key it stands for. */
typedef struct cli_alias {
    const char *name, *key;
} cli_alias;
/** What a verb takes. Arrays end with an all-zero row. */
typedef struct cli_spec {
    const char *usage;        /* behind "endec <verb> " */
    const char *about;        /* one paragraph */
    cli_group *groups;
    const cli_group *keys;    /* NULL: none; help only: sections of a config file, shown without dashes */
    cli_multi *multis;        /* NULL: none */
    const cli_alias *aliases; /* NULL: none */
    const char *examples;     /* lines */
    int min_args, max_args;   /* positional arguments; max -1 = any number */
} cli_spec;
typedef struct cli_args {
    char **items; /* positional arguments, inside argv */
    int n;
    bool done; /* help or version was printed: nothing is left to do */
} cli_args;
/** Fills the groups' structs from argv and applies the global options (threads, CPU level, log). A usage error is ED_E_INVALID or ED_E_RANGE. */
ed_status cli_parse(cli *c, const cli_spec *spec, int argc, char **argv, cli_args *out, ed_error *err);
/** Fails unless `value` was given; option is how it is written ("-m"). */
ed_status cli_need(const char *value, const char *option, const char *what, ed_error *err);
/** Frees the strings of the groups and the lists. */
void cli_spec_deinit(cli_spec *spec);
const cli_group *cli_global_group(cli *c);
void cli_help(cli *c, const cli_spec *spec);
void cli_help_commands(FILE *f);
void cli_print_version(void);

/* ------------------------------------------------------------------ input (input.c) */

/** A file or standard input, read in blocks. */
typedef struct cli_in {
    const char *name;
    int fd;
    bool eof, terminal;
    char *data; /* bytes [begin, end) are not used yet */
    size_t begin, end, cap;
} cli_in;
/** Lines that lie in the reader's memory until its next call; NUL-terminated, without LF or CRLF. */
typedef struct cli_lines {
    char **text;
    size_t *bytes;
    int64_t n, cap;
} cli_lines;
/** path NULL or "-": standard input. */
ed_status cli_in_open(const char *path, cli_in *in, ed_error *err);
void cli_in_close(cli_in *in);
/** The next lines: at least one (none at the end), at most max_lines or about 16 MiB. From a pipe or terminal a batch also ends when wait_s seconds have passed since its
 *  first line and no further bytes are there; wait_s < 0 waits for full batches. */
ed_status cli_in_lines(cli_in *in, int64_t max_lines, double wait_s, cli_lines *out, ed_error *err);
void cli_lines_free(cli_lines *l);
/** All the rest, at most max_bytes; *text lies in the reader's memory, with a NUL behind it. */
ed_status cli_in_all(cli_in *in, size_t max_bytes, char **text, size_t *bytes, ed_error *err);

/* ------------------------------------------------------------------ output (output.c) */

typedef struct cli_out {
    cli *c;
    FILE *f;
    const char *name;
    ed_status status; /* first failure; later writes do nothing */
    int sys_errno;
} cli_out;
/** path NULL or "-": standard output. `input` (may be NULL) must not be the same file. */
ed_status cli_out_open(cli *c, const char *path, const cli_in *input, cli_out *out, ed_error *err);
void cli_put(cli_out *o, const void *bytes, size_t n);
void cli_printf(cli_out *o, const char *fmt, ...) ED_PRINTF(2, 3);
/** Text as a JSON string with its quotes; bytes that are no UTF-8 become U+FFFD. */
void cli_put_json(cli_out *o, const char *text, size_t n);
/** A number, or null when it is not finite. */
void cli_put_json_number(cli_out *o, double v);
/** Text on one line: line ends become spaces. */
void cli_put_line(cli_out *o, const char *text, size_t n);
ed_status cli_flush(cli_out *o, ed_error *err);
/** Flushes, closes and tells the first failure. A failure that came before (s != ED_OK) wins. */
ed_status cli_out_close(cli_out *o, ed_status s, ed_error *err);
ed_status cli_errno(ed_error *err, int sys_errno, const char *name, const char *step);

/* ------------------------------------------------------------------ progress (progress.c) */

/** One line on standard error that is overwritten on a terminal; plain lines elsewhere. keep: the line stays also on a terminal. */
void cli_progress_line(bool keep, const char *fmt, ...) ED_PRINTF(2, 3);
/** Ends an overwritten line, so that other text can follow. */
void cli_progress_end(void);
/** An ed_progress_fn: "what: 37 %", on terminals only; false when a signal asked to stop. */
bool cli_progress_report(void *user, const char *what, uint64_t done, uint64_t total);
/** "1:02:03" or "4:05". */
const char *cli_clock_text(double seconds, char *buf, size_t n);
/** From now on SIGINT and SIGTERM are noted once; the second one has its usual effect. */
void cli_catch_signals(void);
int cli_caught_signal(void);

/* ------------------------------------------------------------------ models (model.c) */

/** Names for --dtype: stored, f32, bf16, f16 and the ed_dtype of an index (ED_DTYPE_COUNT = stored). */
extern const char *const cli_dtype_names[];
ed_dtype cli_dtype(int index);
/** A tokenizer from a folder, a tokenizer.json, a llama2.c tokenizer, or a model that has one beside it. */
ed_status cli_tokenizer_load(const char *path, ed_tokenizer **out, ed_error *err);
bool cli_is_dir(const char *path);
bool cli_exists(const char *path);
bool cli_ends_with(const char *text, const char *end);
/** "dir/name" in buf; ED_E_LIMIT when it does not fit. */
ed_status cli_path(const char *dir, const char *name, char *buf, size_t n, ed_error *err);
/** Adds the numbers of a further call. */
void cli_stats_add(ed_decode_stats *sum, const ed_decode_stats *s);
/** Two lines on standard error: counts, tokens per second, memory. */
void cli_stats_print(const ed_decode_stats *s);

#endif
