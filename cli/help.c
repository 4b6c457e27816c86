/* cli/help.c - help texts, printed from the tables that also parse the options, as plain text or as Markdown (docs/config.md). */
#include "cli.h"

enum { LEFT = 32, WIDTH = 110 };

/** Text in lines of at most WIDTH columns, indented by `left`; `at` is the column where it begins. */
static void wrap(const char *text, int left, int at) {
    while (*text) {
        size_t word = strcspn(text, " ");
        if (at > left && at + 1 + (int)word > WIDTH) {
            printf("\n%*s", left, "");
            at = left;
        }
        printf("%s%.*s", at > left ? " " : "", (int)word, text);
        at += (int)word + (at > left);
        text += word;
        text += strspn(text, " ");
    }
    printf("\n");
}

static void dashed(const char *key, char *buf, size_t n) {
    size_t i = 0;
    for (; key[i] && i + 1 < n; i++)
        buf[i] = key[i] == '_' ? '-' : key[i];
    buf[i] = 0;
}

/** "-n, --max-new-tokens N (or --beam)". */
static void spelled(const ed_option *o, const cli_alias *aliases, char *buf, size_t n) {
    char key[128];
    dashed(o->key, key, sizeof key);
    int at = o->short_name ? snprintf(buf, n, "-%c, ", o->short_name) : 0;
    for (const cli_alias *a = aliases; a && a->name && at >= 0 && (size_t)at < n; a++)
        if (strcmp(a->key, o->key) == 0)
            at += snprintf(buf + at, n - (size_t)at, "%s, ", a->name);
    if (at >= 0 && (size_t)at < n)
        snprintf(buf + at, n - (size_t)at, "--%s%s%s", key, o->metavar && o->type != ED_OPT_BOOL ? " " : "", o->metavar && o->type != ED_OPT_BOOL ? o->metavar : "");
}

static void print_row(const char *left, const char *help, const char *value) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s%s", help, value ? " [" : "", value ? value : "", value ? "]" : "");
    int at = printf("  %s", left);
    if (at + 2 > LEFT)
        printf("\n%*s", LEFT, "");
    else
        printf("%*s", LEFT - at, "");
    wrap(text, LEFT, LEFT);
}

static void option_row(const cli *c, const cli_group *g, const ed_option *o, const cli_alias *aliases, bool keys) {
    char left[256], value[256];
    bool shown = o->type != ED_OPT_BOOL || keys || strcmp(ed_option_get(o, g->opts, value, sizeof value), "true") == 0;
    if (keys)
        snprintf(left, sizeof left, "%s%s%s", o->key, o->metavar ? " " : "", o->metavar ? o->metavar : "");
    else
        spelled(o, aliases, left, sizeof left);
    ed_option_get(o, g->opts, value, sizeof value);
    if (c->markdown)
        printf("| `%s` | %s | %s%s%s |\n", left, o->help, shown && *value ? "`" : "", shown ? value : "", shown && *value ? "`" : "");
    else
        print_row(left, o->help, shown && *value ? value : NULL);
}

static void group(const cli *c, const cli_group *g, const cli_alias *aliases, bool keys) {
    if (c->markdown)
        printf("\n%s:\n\n| %s | meaning | default |\n|---|---|---|\n", g->title, keys ? "key" : "option");
    else
        printf("\n%s:\n", g->title);
    for (size_t i = 0; i < g->n; i++)
        option_row(c, g, &g->table[i], aliases, keys);
}

static void multis(const cli *c, const cli_spec *spec) {
    if (!spec->multis)
        return;
    printf(c->markdown ? "\nMay be repeated:\n\n| option | meaning | default |\n|---|---|---|\n" : "\nMay be repeated:\n");
    for (const cli_multi *m = spec->multis; m->name; m++) {
        char left[256];
        snprintf(left, sizeof left, "--%s %s", m->name, m->metavar);
        if (c->markdown)
            printf("| `%s` | %s | |\n", left, m->help);
        else
            print_row(left, m->help, NULL);
    }
}

void cli_help(cli *c, const cli_spec *spec) {
    if (c->markdown)
        printf("\n## endec %s\n\n```\nendec %s %s\n```\n\n", c->verb, c->verb, spec->usage);
    else
        printf("usage: endec %s %s\n\n", c->verb, spec->usage);
    wrap(spec->about, 0, 0);
    for (const cli_group *g = spec->groups; g && g->table; g++)
        group(c, g, spec->aliases, false);
    multis(c, spec);
    for (const cli_group *g = spec->keys; g && g->table; g++)
        group(c, g, NULL, true);
    if (!c->markdown)
        group(c, cli_global_group(c), NULL, false);
    if (spec->examples)
        printf(c->markdown ? "\n```\n%s```\n" : "\nExamples:\n%s", spec->examples);
}

void cli_help_commands(FILE *f) {
    fprintf(f, "usage: endec COMMAND [options] [arguments]\n\nEncoder and decoder neural models: train, run, compress, inspect.\n\nCommands:\n");
    for (int i = 0; i < cli_n_commands; i++)
        fprintf(f, "  %-16s %s\n", cli_commands[i].name, cli_commands[i].summary);
    fprintf(f, "\n'endec COMMAND --help' shows options and examples. Options of every command: -t/--threads N, --cpu LEVEL, --verbosity LEVEL.\n"
               "Exit codes: 0 done, 2 usage, 3 memory or a limit, 4 files and disks, 5 malformed data, 6 not supported, 7 not a number, 70 internal,\n"
               "130 interrupted, 141 the reader of the output went away.\n");
}

/* ------------------------------------------------------------------ endec help */

typedef struct help_opts {
    bool markdown;
} help_opts;
static const ed_option help_table[] = {
    {"markdown", ED_OPT_BOOL, offsetof(help_opts, markdown), 0, 0, NULL, NULL, "all options of all commands as one Markdown page", 0},
};

static const cli_command *find_command(const char *name) {
    for (int i = 0; i < cli_n_commands; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

/** A verb prints its help when it is asked for it the usual way. */
static ed_status help_of(cli *c, const cli_command *cmd, ed_error *err) {
    char text[] = "--help", *argv[] = {text, NULL};
    c->verb = cmd->name;
    return cmd->run(c, 1, argv, err);
}

static ed_status help_markdown(cli *c, ed_error *err) {
    c->markdown = true;
    printf("# Options of every command\n\nMade by `endec help --markdown` from the tables that parse the options. Keys of `endec train` are the keys of its YAML file.\n");
    printf("What the commands do: [cli.md](cli.md).\n\n## All commands\n");
    group(c, cli_global_group(c), NULL, false);
    for (int i = 0; i < cli_n_commands; i++)
        if (cli_commands[i].run != cmd_help)
            CLI_TRY(help_of(c, &cli_commands[i], err));
    return ED_OK;
}

static ed_status help_on(cli *c, const cli_args *a, const help_opts *o, ed_error *err) {
    if (o->markdown)
        return help_markdown(c, err);
    if (a->n == 0) {
        cli_help_commands(stdout);
        return ED_OK;
    }
    const cli_command *cmd = find_command(a->items[0]);
    if (!cmd)
        return ed_error_set(err, ED_E_INVALID, a->items[0], ED_NO_OFFSET, "no such command ('endec help' lists all)");
    return help_of(c, cmd, err);
}

ed_status cmd_help(cli *c, int argc, char **argv, ed_error *err) {
    help_opts o = {0};
    cli_group groups[] = {{"Options", help_table, CLI_COUNT(help_table), &o}, {0}};
    cli_spec spec = {.usage = "[COMMAND]", .about = "Lists the commands, or shows the options of one.", .groups = groups, .max_args = 1};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = help_on(c, &a, &o, err);
    return s;
}
