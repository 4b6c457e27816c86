/* cli/cmd_train.c - endec train: a training run from a YAML file. The first SIGINT or SIGTERM saves a checkpoint and ends the run; --resume goes on from there with
 * the same bits as a run that was never stopped. */
#include <math.h>
#include <unistd.h>

#include "cli.h"
#include "endec/run.h"

typedef struct own_opts {
    char *out;
    bool resume;
} own_opts;
static const ed_option table[] = {
    {"out", ED_OPT_STRING, offsetof(own_opts, out), 0, 0, NULL, "DIR", "output folder, in place of the config's", 'o'},
    {"resume", ED_OPT_BOOL, offsetof(own_opts, resume), 0, 0, NULL, NULL, "go on from the newest checkpoint of the output folder", 0},
};
static const ed_option data_dir_row = {"data_dir", ED_OPT_STRING, offsetof(ed_run_config, data_dir), 0, 0, NULL, NULL, NULL, 0};

/* ------------------------------------------------------------------ what the run says */

static void on_report(void *user, const ed_train_report *r) {
    char left[32], valid[64] = "", metric[64] = "";
    bool eval = isfinite(r->valid_loss) || isfinite(r->metric);
    (void)user;
    if (isfinite(r->valid_loss))
        snprintf(valid, sizeof valid, "  valid %.4f", r->valid_loss);
    if (isfinite(r->metric))
        snprintf(metric, sizeof metric, "  BLEU %.2f", r->metric);
    cli_progress_line(eval || r->step == r->steps, "step %lld/%lld  loss %.4f%s%s%s  lr %.3g  %.0f tokens/s  left %s", (long long)r->step, (long long)r->steps, r->loss, valid,
                      metric, eval && r->best ? " (best)" : "", r->lr, r->tokens_per_s, cli_clock_text(r->left_s, left, sizeof left));
}

static bool on_stop(void *user) {
    (void)user;
    return cli_caught_signal() != 0;
}

static void say(void *user, const char *line) {
    (void)user;
    cli_progress_end();
    fprintf(stderr, "endec: %s\n", line);
}

/* ------------------------------------------------------------------ the config */

/** A key that does not exist is the user's mistake (exit code 2), unlike a file that does not exist. */
static ed_status as_usage(ed_status s, ed_error *err) {
    return s == ED_E_NOT_FOUND ? ed_error_set(err, ED_E_INVALID, err->where, err->offset, "%s", err->message) : s;
}

static ed_status load(const own_opts *o, const cli_multi *sets, const char *path, ed_run_config *config, ed_error *err) {
    const char *data = getenv("ENDEC_DATA");
    if (data && *data)
        CLI_TRY(ed_option_set(&data_dir_row, config, data, err));
    if (!cli_exists(path))
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "no such config file");
    CLI_TRY(as_usage(ed_run_config_load(path, config, err), err));
    for (int i = 0; i < sets->n; i++)
        CLI_TRY(as_usage(ed_run_config_set(config, sets->items[i], err), err));
    if (o->out) {
        size_t n;
        const ed_option *top = ed_run_config_section("", &n);
        CLI_TRY(ed_option_set_key(top, n, config, "out", o->out, err));
    }
    return cli_need(config->out, "--out", "an output folder (or out: in the config)", err);
}

/** A new run in a folder that holds checkpoints would fail at its first save: better before the work. */
static ed_status check_folder(const ed_run_config *config, bool resume, ed_error *err) {
    char *path = NULL;
    int64_t step = 0;
    if (resume || ed_ckpt_find(config->out, &path, &step, NULL) != ED_OK)
        return ED_OK;
    ed_ckpt_path_free(&path);
    return ed_error_set(err, ED_E_STATE, config->out, ED_NO_OFFSET, "holds a run already (checkpoint-%lld): --resume continues it, --out DIR begins elsewhere", (long long)step);
}

static ed_status run(cli *c, const own_opts *o, const cli_multi *sets, const char *path, ed_run_config *config, ed_error *err) {
    ed_run_callbacks cb = {.train = {.report = on_report, .stop = on_stop}, .progress = {cli_progress_report, NULL}, .say = say};
    CLI_TRY(load(o, sets, path, config, err));
    CLI_TRY(check_folder(config, o->resume, err));
    cli_catch_signals();
    ed_status s = ed_run_train(config, o->resume, &cb, err);
    cli_progress_end();
    c->signal = s == ED_E_CANCELLED ? cli_caught_signal() : 0;
    if (s == ED_OK)
        fprintf(stderr, "endec: done: %s/model, %s/report.html\n", config->out, config->out);
    return s;
}

/* ------------------------------------------------------------------ help: the keys by section */

enum { N_SECTIONS = 5 };
static const char *const section_names[N_SECTIONS] = {"", "tokenizer", "model", "data", "train"};
static const char *const section_titles[N_SECTIONS] = {"Config keys at the top (--set task=...)", "Config section 'tokenizer' (--set tokenizer.kind=...)",
                                                       "Config section 'model' (--set model.d_model=...)", "Config section 'data' (--set data.max_length=...)",
                                                       "Config section 'train' (--set train.steps=...)"};

/** The sections of the config as groups for the help printer; out: [N_SECTIONS + 1]. */
static void section_groups(ed_run_config *config, cli_group *out) {
    void *structs[N_SECTIONS] = {config, &config->tokenizer, &config->model, &config->data, &config->train};
    for (int i = 0; i < N_SECTIONS; i++) {
        out[i] = (cli_group){.title = section_titles[i], .opts = structs[i]};
        out[i].table = ed_run_config_section(section_names[i], &out[i].n);
    }
    out[N_SECTIONS] = (cli_group){0};
}

ed_status cmd_train(cli *c, int argc, char **argv, ed_error *err) {
    own_opts o = {0};
    ed_run_config config = ed_run_config_default();
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}}, sections[N_SECTIONS + 1];
    cli_multi multis[] = {{.name = "set", .metavar = "SECTION.KEY=VALUE", .help = "set a key of the config, after the file was read"}, {0}};
    cli_spec spec = {.usage = "CONFIG.yaml [--set SECTION.KEY=VALUE]... [--resume] [--out DIR]",
                     .about = "Trains a model as a YAML file says: tokenizer, data, model, training. The output folder gets the model (model/), checkpoints, log.csv, TensorBoard "
                              "events and report.html. SIGINT saves a checkpoint and stops; --resume goes on. $ENDEC_DATA/ at the front of a path stands for the folder that the "
                              "environment variable ENDEC_DATA names.",
                     .groups = groups, .keys = sections, .multis = multis, .min_args = 1, .max_args = 1,
                     .examples = "  endec train run.yaml --out runs/first --set train.steps=2000\n"
                                 "  endec train run.yaml --out runs/first --set train.steps=2000 --resume\n"};
    cli_args a;
    section_groups(&config, sections);
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, &multis[0], a.items[0], &config, err);
    cli_spec_deinit(&spec);
    ed_run_config_deinit(&config);
    return s;
}
