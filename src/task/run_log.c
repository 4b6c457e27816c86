/* task/run_log.c - what a run writes beside its checkpoints: log.csv, TensorBoard events, and report.html with curves drawn from log.csv, so that a resumed
 * run's report shows the whole run. Logs are best effort: a log line that cannot be written never stops the training. */
#include <math.h>
#include <stdio.h>

#include "task/run.h"

enum { N_COLUMNS = 8 };
static const char *const columns[N_COLUMNS] = {"loss", "valid_loss", "metric", "lr", "grad_norm", "tokens_per_s", "seconds", "peak_bytes"};
static const char *const tags[N_COLUMNS] = {"train/loss", "eval/loss", "eval/metric", "train/learning_rate", "train/grad_norm", "train/tokens_per_second", NULL, NULL};

ed_status ed__run_logs_open(run *r, int64_t step, ed_error *err) {
    char path[4096], dir[4096];
    ED_TRY(ed__run_path(r, "log.csv", path, sizeof path, err));
    ED_TRY(ed__run_path(r, "runs", dir, sizeof dir, err));
    ED_TRY(ed_csv_open(path, columns, N_COLUMNS, r->resume ? step : -1, &r->csv, err));
    return ed_tensorboard_open(dir, r->resume ? step : -1, &r->tb, err);
}

void ed__run_log(run *r, const ed_train_report *t) {
    const double v[N_COLUMNS] = {t->loss, t->valid_loss, t->metric, t->lr, t->grad_norm, t->tokens_per_s, t->elapsed_s, (double)t->peak_bytes};
    ed_error err = {0};
    if (r->csv && ed_csv_row(r->csv, t->step, v, &err) != ED_OK)
        ed_log_line(ED_LOG_WARN, "log.csv: %s", err.message);
    for (int i = 0; i < N_COLUMNS && r->tb; i++)
        if (tags[i] && isfinite(v[i]) && ed_tensorboard_scalar(r->tb, tags[i], t->step, v[i], &err) != ED_OK)
            ed_log_line(ED_LOG_WARN, "TensorBoard: %s", err.message);
}

void ed__run_logs_close(run *r) {
    ed_csv_close(&r->csv);
    ed_tensorboard_close(&r->tb);
}

/* ------------------------------------------------------------------ report.html */

/** Columns of log.csv: step first. */
typedef struct table {
    double *x[N_COLUMNS + 1];
    int64_t n;
} table;

static void table_free(table *t) {
    for (int i = 0; i <= N_COLUMNS; i++)
        ed__free(t->x[i]);
}

static void table_row(table *t, char *line) {
    for (int i = 0; i <= N_COLUMNS; i++) {
        char *end = strchr(line, ',');
        if (end)
            *end = 0;
        if (!ed__parse_f64(line, &t->x[i][t->n]))
            t->x[i][t->n] = NAN;
        line = end ? end + 1 : line + strlen(line);
    }
    t->n++;
}

static ed_status table_read(const char *path, table *t, ed_error *err) {
    ed_lines l;
    ED_TRY(ed_lines_read(path, &l, err));
    ed_status s = ED_OK;
    for (int i = 0; i <= N_COLUMNS && s == ED_OK; i++)
        s = (t->x[i] = ed__malloc((size_t)(l.n + 1) * sizeof(double))) ? ED_OK : ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for a log");
    for (int64_t i = 1; i < l.n && s == ED_OK; i++)
        table_row(t, l.text[i]);
    ed_lines_deinit(&l);
    return s;
}

/** Rows of two columns where the second is a number. Returns their count. */
static int64_t finite_rows(const table *t, int column, double *x, double *y) {
    int64_t n = 0;
    for (int64_t i = 0; i < t->n; i++) {
        if (isfinite(t->x[column + 1][i])) {
            x[n] = t->x[0][i];
            y[n++] = t->x[column + 1][i];
        }
    }
    return n;
}

static ed_status add_curve(ed_page *page, const table *t, const char *title, const char *y_label, const int *cols, const char *const *labels, int n, ed_error *err) {
    double *mem = ed__malloc((size_t)(4 * t->n + 4) * sizeof *mem);
    ed_series s[2];
    int m = 0;
    ED_FAIL_IF(!mem, ED_E_MEMORY, err, "no memory for curves");
    for (int i = 0; i < n; i++) {
        double *x = mem + 2 * i * t->n, *y = x + t->n;
        int64_t rows = finite_rows(t, cols[i], x, y);
        if (rows > 0)
            s[m++] = (ed_series){.label = labels[i], .x = x, .y = y, .n = rows, .markers = rows < 40};
    }
    ed_plot p = {.kind = ED_PLOT_LINES, .title = title, .x_label = "step", .y_label = y_label, .series = s, .n_series = m};
    ed_status st = m > 0 ? ed_page_plot(page, &p, err) : ED_OK;
    ed__free(mem);
    return st;
}

static ed_status fill_page(const run *r, ed_page *page, const table *t, ed_error *err) {
    char machine[256], params[64], steps[64], seconds[64], *yaml;
    snprintf(params, sizeof params, "%.2f M", 1e-6 * (double)ed_model_count(r->model).total);
    snprintf(steps, sizeof steps, "%lld", (long long)r->config->train.steps);
    snprintf(seconds, sizeof seconds, "%.0f", t->n ? t->x[7][t->n - 1] : 0.0);
    const char *keys[] = {"Parameters", "Steps", "Training seconds", "Machine"};
    const char *values[] = {params, steps, seconds, ed_machine_text(machine, sizeof machine)};
    ED_TRY(ed_page_facts(page, keys, values, 4, err));
    ED_TRY(add_curve(page, t, "Loss", "nats per token", (int[]){0, 1}, (const char *[]){"training", "validation"}, 2, err));
    ED_TRY(add_curve(page, t, "Held-out quality", "BLEU", (int[]){2}, (const char *[]){"BLEU"}, 1, err));
    ED_TRY(add_curve(page, t, "Learning rate", "", (int[]){3}, (const char *[]){NULL}, 1, err));
    ED_TRY(add_curve(page, t, "Gradient norm", "", (int[]){4}, (const char *[]){NULL}, 1, err));
    ED_TRY(add_curve(page, t, "Speed", "tokens/s", (int[]){5}, (const char *[]){NULL}, 1, err));
    ED_TRY(ed_page_heading(page, "Config", err));
    ED_TRY(ed_run_config_yaml(r->config, &yaml, err));
    ed_status s = ed_page_code(page, yaml, err);
    ed_model_text_free(&yaml);
    return s;
}

ed_status ed__run_report(run *r, ed_error *err) {
    char log[4096], out[4096];
    table t = {0};
    ed_page *page = NULL;
    ED_TRY(ed__run_path(r, "log.csv", log, sizeof log, err));
    ED_TRY(ed__run_path(r, "report.html", out, sizeof out, err));
    ed_csv_close(&r->csv);
    ed_status s = table_read(log, &t, err);
    if (s == ED_OK)
        s = ed_page_create("Training run", &page, err);
    if (s == ED_OK)
        s = fill_page(r, page, &t, err);
    if (s == ED_OK)
        s = ed_page_save(page, out, err);
    ed_page_destroy(&page);
    table_free(&t);
    return s;
}
