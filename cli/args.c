/* cli/args.c - the argument parser. Every option is a row of an ed_option table, or an option that may be repeated (cli_multi); the parser knows no verb.
 *
 * Spellings: --key value, --key=value, --some-key and --some_key, -k value, -kvalue; booleans take no value, or =true and =false, and --no-key; aliases of a verb come
 * first. "--" ends the options. A usage error names the option as it was typed. */
#include "cli.h"

static const char *const cpu_names[] = {"best", "generic", "avx2", "avx512", "avx512bf16", "amx", NULL};
_Static_assert(CLI_COUNT(cpu_names) == ED_CPU_LEVEL_COUNT + 2, "a name for every level");
static const char *const verbosity_names[] = {"silent", "error", "warn", "info", "debug", NULL};

static const ed_option global_table[] = {
    {"threads", ED_OPT_INT, offsetof(cli, threads), 0, 1024, NULL, "N", "threads (0: all CPUs this process may use)", 't'},
    {"cpu", ED_OPT_ENUM, offsetof(cli, cpu), 0, 0, cpu_names, "LEVEL", "highest kernel level: best, generic, avx2, avx512, avx512bf16 or amx", 0},
    {"verbosity", ED_OPT_ENUM, offsetof(cli, verbosity), 0, 0, verbosity_names, "LEVEL", "messages on standard error: silent, error, warn, info or debug", 0},
    {"version", ED_OPT_BOOL, offsetof(cli, version), 0, 0, NULL, NULL, "print the version and stop", 0},
};

const cli_group *cli_global_group(cli *c) {
    static cli_group g; /* one program, one set of global options */
    g = (cli_group){"Global options", global_table, CLI_COUNT(global_table), c};
    return &g;
}

/* ------------------------------------------------------------------ log and global settings */

static void log_line(void *user, ed_log_level level, const char *line) {
    static const char *const names[] = {"debug: ", "", "warning: ", "error: "};
    const cli *c = user;
    cli_progress_end();
    fprintf(stderr, "endec: %s%s", names[level], line);
    if (c->lines_before > 0)
        fprintf(stderr, " (line 1 is input line %lld)", (long long)c->lines_before + 1);
    fputc('\n', stderr);
}

static ed_status apply_globals(cli *c, ed_error *err) {
    if (c->verbosity > 0)
        ed_log_set(log_line, c, (ed_log_level)((int)ED_LOG_ERROR + 1 - c->verbosity));
    ed_threads_set((int)c->threads);
    if (c->cpu > 0 && ed_cpu_set((ed_cpu_level)(c->cpu - 1)) != ED_OK)
        return ed_error_set(err, ED_E_UNSUPPORTED, "--cpu", ED_NO_OFFSET, "this machine has no %s; its best level is %s", cpu_names[c->cpu], ed_cpu_name(ed_cpu_best()));
    return ED_OK;
}

/* ------------------------------------------------------------------ finding an option */

typedef struct found {
    const ed_option *option;
    void *opts;
    cli_multi *multi;
    bool negated;
} found;

static bool find_key(cli *c, const cli_spec *spec, const char *key, found *f) {
    for (const cli_group *g = spec->groups; g && g->table; g++) {
        f->option = ed_option_find(g->table, g->n, key);
        f->opts = g->opts;
        if (f->option)
            return true;
    }
    f->option = ed_option_find(global_table, CLI_COUNT(global_table), key);
    f->opts = c;
    return f->option != NULL;
}

static bool find_multi(const cli_spec *spec, const char *key, found *f) {
    for (cli_multi *m = spec->multis; m && m->name; m++) {
        size_t n = strlen(m->name);
        if (strncmp(m->name, key, n) != 0)
            continue;
        bool digits = m->numbered && key[n] && key[n + strspn(key + n, "0123456789")] == 0;
        if (key[n] == 0 || digits) {
            f->multi = m;
            return true;
        }
    }
    return false;
}

static bool find_short(cli *c, const cli_spec *spec, char name, found *f) {
    for (const cli_group *g = spec->groups; g && g->table; g++)
        for (size_t i = 0; i < g->n; i++)
            if (g->table[i].short_name == name) {
                f->option = &g->table[i];
                f->opts = g->opts;
                return true;
            }
    for (size_t i = 0; i < CLI_COUNT(global_table); i++)
        if (global_table[i].short_name == name) {
            f->option = &global_table[i];
            f->opts = c;
            return true;
        }
    return false;
}

static const char *alias_key(const cli_spec *spec, const char *name) {
    for (const cli_alias *a = spec->aliases; a && a->name; a++)
        if (strcmp(a->name, name) == 0)
            return a->key;
    return NULL;
}

/** All keys of the verb as one table, so that the library's nearest-name search can run over it. */
static ed_status unknown(cli *c, const cli_spec *spec, const char *name, ed_error *err) {
    ed_option all[256];
    ed_error inner = {0};
    size_t n = 0;
    for (const cli_group *g = spec->groups; g && g->table; g++)
        for (size_t i = 0; i < g->n && n < CLI_COUNT(all); i++)
            all[n++] = g->table[i];
    for (size_t i = 0; i < CLI_COUNT(global_table) && n < CLI_COUNT(all); i++)
        all[n++] = global_table[i];
    for (const cli_multi *m = spec->multis; m && m->name && n < CLI_COUNT(all); m++)
        all[n++] = (ed_option){.key = m->name};
    for (const cli_alias *a = spec->aliases; a && a->name && n < CLI_COUNT(all); a++)
        if (strncmp(a->name, "--", 2) == 0)
            all[n++] = (ed_option){.key = a->name + 2};
    const char *bare = name + strspn(name, "-");
    bool absent = *bare && !ed_option_find(all, n, bare);
    if (absent)
        ed_option_set_key(all, n, c, bare, "", &inner);
    return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "%s ('endec %s --help' lists all)", absent ? inner.message : "unknown option", c->verb);
}

/* ------------------------------------------------------------------ one argument */

static ed_status set_value(const found *f, const char *typed, const char *value, ed_error *err) {
    ed_error inner = {0};
    if (f->multi) {
        const char **grown = realloc(f->multi->items, (size_t)(f->multi->n + 1) * sizeof *grown);
        if (!grown)
            return ed_error_set(err, ED_E_MEMORY, typed, ED_NO_OFFSET, "no memory for a list of arguments");
        f->multi->items = grown;
        grown[f->multi->n++] = value;
        return ED_OK;
    }
    ed_status s = ed_option_set(f->option, f->opts, value, &inner);
    return s == ED_OK ? s : ed_error_set(err, s, typed, ED_NO_OFFSET, "%s", inner.message);
}

/** The part of `arg` before '=' in name; returns what stands behind it, or NULL. */
static const char *split(const char *arg, char *name, size_t n) {
    const char *eq = strchr(arg, '=');
    size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
    len = len < n ? len : n - 1;
    memcpy(name, arg, len);
    name[len] = 0;
    return eq ? eq + 1 : NULL;
}

/** Which option `arg` names; *value is what stands in the same argument (NULL: nothing). */
static ed_status resolve(cli *c, const cli_spec *spec, const char *arg, char *name, size_t n, found *f, const char **value, ed_error *err) {
    *f = (found){0};
    *value = split(arg, name, n);
    const char *key = alias_key(spec, name);
    if (!key && strncmp(name, "--", 2) == 0)
        key = name + 2;
    if (key) {
        if (find_multi(spec, key, f) || find_key(c, spec, key, f))
            return ED_OK;
        f->negated = strncmp(key, "no-", 3) == 0 || strncmp(key, "no_", 3) == 0;
        if (f->negated && find_key(c, spec, key + 3, f) && f->option->type == ED_OPT_BOOL && !*value)
            return ED_OK;
        return unknown(c, spec, name, err);
    }
    if (!find_short(c, spec, arg[1], f))
        return unknown(c, spec, name, err);
    name[2] = 0;
    *value = arg[2] == '=' ? arg + 3 : arg[2] ? arg + 2 : NULL;
    return ED_OK;
}

static ed_status take_option(cli *c, const cli_spec *spec, int argc, char **argv, int *at, ed_error *err) {
    char name[256];
    const char *value;
    found f;
    CLI_TRY(resolve(c, spec, argv[*at], name, sizeof name, &f, &value, err));
    bool is_bool = !f.multi && f.option->type == ED_OPT_BOOL;
    if (!value && is_bool)
        value = f.negated ? "false" : "true";
    if (!value && *at + 1 >= argc)
        return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "needs a value");
    if (!value)
        value = argv[++*at];
    return set_value(&f, name, value, err);
}

static bool is_help(const char *arg) {
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

ed_status cli_parse(cli *c, const cli_spec *spec, int argc, char **argv, cli_args *out, ed_error *err) {
    bool options = true;
    *out = (cli_args){.items = argv};
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (options && strcmp(arg, "--") == 0)
            options = false;
        else if (!options || arg[0] != '-' || arg[1] == 0)
            argv[out->n++] = arg;
        else if (is_help(arg))
            out->done = true;
        else
            CLI_TRY(take_option(c, spec, argc, argv, &i, err));
    }
    if (out->done)
        cli_help(c, spec);
    else if (c->version)
        cli_print_version();
    if (out->done || c->version) {
        out->done = true;
        return ED_OK;
    }
    if (spec->max_args >= 0 && out->n > spec->max_args)
        return ed_error_set(err, ED_E_INVALID, out->items[spec->max_args], ED_NO_OFFSET, "unexpected argument; usage: endec %s %s", c->verb, spec->usage);
    if (out->n < spec->min_args)
        return ed_error_set(err, ED_E_INVALID, c->verb, ED_NO_OFFSET, "an argument is missing; usage: endec %s %s", c->verb, spec->usage);
    return apply_globals(c, err);
}

ed_status cli_need(const char *value, const char *option, const char *what, ed_error *err) {
    if (value && *value)
        return ED_OK;
    return ed_error_set(err, ED_E_INVALID, option, ED_NO_OFFSET, "%s must be given", what);
}

void cli_spec_deinit(cli_spec *spec) {
    for (cli_group *g = spec->groups; g && g->table; g++)
        ed_options_release(g->table, g->n, g->opts);
    for (cli_multi *m = spec->multis; m && m->name; m++) {
        free(m->items);
        m->items = NULL;
    }
}
