/* cli/cmd_lab.c - endec lab: lists the methods of the tree, runs their recipes, prints the table of claims, writes JSON and HTML.
 *
 * Exit codes: 0 no claim fails, 1 a claim fails, 2 the recipe could not run (or every claim was skipped). */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "cli.h"
#include "recipe.h"

enum { CLAIM_FAILS = 1, NOT_RUN = 2 };

typedef struct lab_opts {
    bool smoke, quick, full, all, quiet;
    int64_t seeds;
    char *data, *work, *json, *html;
} lab_opts;
static const ed_option table[] = {
    {"smoke", ED_OPT_BOOL, offsetof(lab_opts, smoke), 0, 0, NULL, NULL, "seconds: the code path and exact invariants; thresholds are skipped", 0},
    {"quick", ED_OPT_BOOL, offsetof(lab_opts, quick), 0, 0, NULL, NULL, "fewer updates: a threshold that does not hold is inconclusive", 0},
    {"full", ED_OPT_BOOL, offsetof(lab_opts, full), 0, 0, NULL, NULL, "more arms than a plain run", 0},
    {"all", ED_OPT_BOOL, offsetof(lab_opts, all), 0, 0, NULL, NULL, "every method that is here", 0},
    {"seeds", ED_OPT_INT, offsetof(lab_opts, seeds), 0, 1000, NULL, "N", "runs per arm (0: what the claims were registered with)", 0},
    {"data", ED_OPT_STRING, offsetof(lab_opts, data), 0, 0, NULL, "DIR", "folder of public data (default: $ENDEC_DATA)", 0},
    {"work", ED_OPT_STRING, offsetof(lab_opts, work), 0, 0, NULL, "DIR", "results and cached bases (default: $XDG_CACHE_HOME/endec or ~/.cache/endec)", 0},
    {"json", ED_OPT_STRING, offsetof(lab_opts, json), 0, 0, NULL, "FILE", "the claims as JSON; one METHOD", 0},
    {"html", ED_OPT_STRING, offsetof(lab_opts, html), 0, 0, NULL, "FILE", "a page with claims, notes, costs and plots; one METHOD", 0},
    {"quiet", ED_OPT_BOOL, offsetof(lab_opts, quiet), 0, 0, NULL, NULL, "no progress lines", 'q'},
};

/** One call of the verb. */
typedef struct request {
    cli *c;
    const lab_opts *o;
    lab_env env;
    char work[3072];
} request;

static void say(void *user, const char *line) {
    (void)user;
    cli_progress_line(true, "%s", line);
}

static bool stop(void *user) {
    (void)user;
    return cli_caught_signal() != 0;
}

/* ------------------------------------------------------------------ work folder */

static ed_status make_dirs(const char *path, ed_error *err) {
    char buf[4096];
    snprintf(buf, sizeof buf, "%s", path);
    for (char *p = buf + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char kept = *p;
        *p = 0;
        if (mkdir(buf, 0777) != 0 && errno != EEXIST)
            return cli_errno(err, errno, buf, "make the folder");
        if (!kept)
            return ED_OK;
        *p = kept;
    }
}

static void find_work(request *q) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (q->o->work)
        snprintf(q->work, sizeof q->work, "%s", q->o->work);
    else if (cache && *cache)
        snprintf(q->work, sizeof q->work, "%s/endec", cache);
    else if (home && *home)
        snprintf(q->work, sizeof q->work, "%s/.cache/endec", home);
    q->env.work_dir = q->work[0] ? q->work : NULL;
}

/* ------------------------------------------------------------------ the list */

/** How the last full run ended: a verdict's name, or "not run" without a readable result. */
static const char *last_state(const request *q, const char *slug) {
    char path[4096], *text;
    size_t n;
    const char *state = "not run";
    snprintf(path, sizeof path, "%s/results/%s.json", q->work, slug);
    if (!q->env.work_dir || lab_file_read(path, (size_t)1 << 24, &text, &n, NULL) != ED_OK)
        return state;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    const char *holds = json_string_value(json_object_get(root, "holds"));
    for (int v = 0; holds && v < ED_VERDICT_COUNT; v++)
        if (strcmp(holds, ed_verdict_name((ed_verdict)v)) == 0)
            state = ed_verdict_name((ed_verdict)v);
    json_decref(root);
    free(text);
    return state;
}

static void list(const request *q, cli_out *out) {
    cli_printf(out, "%-28s %-13s %s\n", "method", "last run", "what it claims");
    for (int i = 0; i < lab_n_recipes; i++)
        cli_printf(out, "%-28s %-13s %s\n", lab_recipes[i]->slug, last_state(q, lab_recipes[i]->slug), lab_recipes[i]->summary);
    cli_printf(out, "%d of %d planned methods are here\n", lab_n_recipes, LAB_PLANNED);
}

/* ------------------------------------------------------------------ a run */

static int columns(void) {
    struct winsize w;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 60 ? w.ws_col : 0;
}

static ed_status print_report(const lab_report *r, cli_out *out, ed_error *err) {
    ed_lab lab = lab_report_claims(r);
    const char *const *notes;
    const lab_cost *costs;
    char *text;
    CLI_TRY(ed_lab_text(&lab, columns(), &text, err));
    cli_printf(out, "%s", text);
    ed_report_free(&text);
    for (int i = 0, n = lab_report_notes(r, &notes); i < n; i++)
        cli_printf(out, "note: %s\n", notes[i]);
    for (int i = 0, n = lab_report_costs(r, &costs); i < n; i++)
        cli_printf(out, "cost: %s: %lld parameters, %lld updates, %.1f s, peak %.1f MiB, %.4g multiply-adds forward\n", costs[i].arm,
                   (long long)costs[i].parameters, (long long)costs[i].steps, costs[i].seconds, (double)costs[i].peak_bytes / 1048576.0, costs[i].multiply_adds);
    return cli_flush(out, err);
}

/** The files asked for, and the result of a full run for the list. */
static ed_status save(const request *q, const lab_recipe *recipe, const lab_report *r, ed_error *err) {
    char dir[3200], path[4096];
    if (q->o->json)
        CLI_TRY(lab_report_json(r, q->o->json, err));
    if (q->o->html)
        CLI_TRY(lab_report_html(r, recipe->summary, q->o->html, err));
    if (!q->env.work_dir || q->env.size < LAB_MINIATURE)
        return ED_OK;
    snprintf(dir, sizeof dir, "%s/results", q->work);
    CLI_TRY(make_dirs(dir, err));
    snprintf(path, sizeof path, "%s/%s.html", dir, recipe->slug);
    CLI_TRY(lab_report_html(r, recipe->summary, path, err));
    snprintf(path, sizeof path, "%s/%s.json", dir, recipe->slug);
    return lab_report_json(r, path, err);
}

/** A run takes minutes: whether its files can be written is asked before. */
static ed_status check_writable(const char *path, ed_error *err) {
    bool fresh = path && !cli_exists(path);
    FILE *f = path ? fopen(path, "ab") : NULL;
    if (path && !f)
        return ed_error_set(err, ED_E_INVALID, path, ED_NO_OFFSET, "cannot be written: %s", strerror(errno));
    if (f)
        fclose(f);
    if (fresh)
        remove(path);
    return ED_OK;
}

static int code_of(const lab_report *r) {
    ed_lab lab = lab_report_claims(r);
    ed_verdict v = ed_lab_holds(&lab);
    return v == ED_VERDICT_FAIL ? CLAIM_FAILS : v == ED_VERDICT_SKIPPED ? NOT_RUN : 0;
}

/** Runs one recipe; the exit code keeps the worst of several. */
static void run_one(const request *q, const lab_recipe *recipe, cli_out *out) {
    char text[1024];
    lab_report *r = NULL;
    ed_error err = {.status = ED_OK};
    int code = NOT_RUN;
    ed_status s = lab_run(recipe, &q->env, &r, &err);
    cli_progress_end();
    if (s == ED_OK)
        s = print_report(r, out, &err);
    if (s == ED_OK)
        s = save(q, recipe, r, &err);
    if (s == ED_OK)
        code = code_of(r);
    else
        fprintf(stderr, "endec: %s: %s\n", recipe->slug, ed_error_text(&err, text, sizeof text));
    lab_report_destroy(&r);
    q->c->code = code > q->c->code ? code : q->c->code;
}

static ed_status run_some(const request *q, const cli_args *a, cli_out *out, ed_error *err) {
    int n = q->o->all ? lab_n_recipes : a->n;
    for (int i = 0; !q->o->all && i < n; i++)
        if (!lab_find(a->items[i]))
            return ed_error_set(err, ED_E_INVALID, a->items[i], ED_NO_OFFSET, "no such method ('endec lab' lists those that are here)");
    if (n != 1 && (q->o->json || q->o->html))
        return ed_error_set(err, ED_E_INVALID, "--json, --html", ED_NO_OFFSET, "take one METHOD; runs of several leave theirs in %s/results", q->work);
    CLI_TRY(check_writable(q->o->json, err));
    CLI_TRY(check_writable(q->o->html, err));
    cli_catch_signals();
    for (int i = 0; i < n && !cli_caught_signal(); i++)
        run_one(q, q->o->all ? lab_recipes[i] : lab_find(a->items[i]), out);
    q->c->signal = cli_caught_signal();
    return q->c->signal ? ed_error_set(err, ED_E_CANCELLED, "", ED_NO_OFFSET, "stopped") : ED_OK;
}

static ed_status work(cli *c, const lab_opts *o, const cli_args *a, cli_out *out, ed_error *err) {
    const char *data = getenv("ENDEC_DATA");
    request q = {.c = c, .o = o, .env = {.seeds = (int)o->seeds, .say = o->quiet ? NULL : say, .stop = stop}};
    q.env.size = o->smoke ? LAB_SMOKE : o->quick ? LAB_QUICK : o->full ? LAB_FULL : LAB_MINIATURE;
    q.env.data_dir = o->data ? o->data : data && *data ? data : NULL;
    find_work(&q);
    if (o->smoke + o->quick + o->full > 1)
        return ed_error_set(err, ED_E_INVALID, "--smoke, --quick, --full", ED_NO_OFFSET, "exclude each other");
    if (o->all || a->n > 0)
        return run_some(&q, a, out, err);
    list(&q, out);
    return ED_OK;
}

ed_status cmd_lab(cli *c, int argc, char **argv, ed_error *err) {
    lab_opts o = {0};
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}};
    cli_spec spec = {.usage = "[METHOD...] [options]",
                     .about = "Without METHOD: the methods that are here, and how their last full run ended. With METHOD: reruns its central experiment at desk size "
                              "and compares the outcome with claims that were fixed beforehand. Exit code: 0 no claim fails, 1 a claim fails, 2 could not run.",
                     .groups = groups,
                     .examples = "endec lab\nendec lab urpe --smoke\nendec lab urpe --html urpe.html --json urpe.json\n",
                     .max_args = -1};
    cli_args a;
    cli_out out;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done) {
        s = cli_out_open(c, NULL, NULL, &out, err);
        if (s == ED_OK)
            s = cli_out_close(&out, work(c, &o, &a, &out, err), err);
    }
    cli_spec_deinit(&spec);
    return s;
}
