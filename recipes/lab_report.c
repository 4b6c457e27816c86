/* recipes/lab_report.c - what a recipe leaves behind: claims, notes, costs and plots, copied as they come in, and written as JSON and HTML.
 *
 * Invariants: the report owns all it holds, so that recipes may free their data at once; the first failure sticks and later additions do nothing. */
#include "recipe.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Everything a report owns hangs on one chain of blocks. */
typedef struct block {
    struct block *next;
    max_align_t data[];
} block;

struct lab_report {
    ed_status status;
    char *slug, *title, *machine;
    double seconds;
    ed_claim *claims;
    ed_plot *plots;
    const char **notes;
    lab_cost *costs;
    int n_claims, n_plots, n_notes, n_costs;
    block *blocks;
};

/* ------------------------------------------------------------------ memory */

static void *own(lab_report *r, size_t bytes) {
    block *b = r->status == ED_OK && bytes < SIZE_MAX - sizeof *b ? malloc(sizeof *b + bytes) : NULL;
    if (!b) {
        r->status = r->status ? r->status : ED_E_MEMORY;
        return NULL;
    }
    b->next = r->blocks;
    r->blocks = b;
    return b->data;
}

static void *own_copy(lab_report *r, const void *from, size_t bytes) {
    void *p = from ? own(r, bytes ? bytes : 1) : NULL;
    if (p && bytes)
        memcpy(p, from, bytes);
    return p;
}

static char *own_text(lab_report *r, const char *s) {
    return s ? own_copy(r, s, strlen(s) + 1) : NULL;
}

/** Room for one more item in a plain array; false when memory is gone. */
static bool grow(lab_report *r, void **items, int n, size_t item_bytes) {
    void *p = r->status == ED_OK ? realloc(*items, ((size_t)n + 1) * item_bytes) : NULL;
    if (!p) {
        r->status = r->status ? r->status : ED_E_MEMORY;
        return false;
    }
    *items = p;
    return true;
}

ed_status lab_report_create(const char *slug, const char *title, lab_report **out) {
    lab_report *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return ED_E_MEMORY;
    r->seconds = 0;
    r->slug = own_text(r, slug);
    r->title = own_text(r, title);
    if (r->status != ED_OK) {
        lab_report_destroy(&r);
        return ED_E_MEMORY;
    }
    *out = r;
    return ED_OK;
}

void lab_report_destroy(lab_report **pr) {
    lab_report *r = pr ? *pr : NULL;
    if (!r)
        return;
    while (r->blocks) {
        block *b = r->blocks;
        r->blocks = b->next;
        free(b);
    }
    free(r->claims);
    free(r->plots);
    free(r->notes);
    free(r->costs);
    free(r);
    *pr = NULL;
}

/* ------------------------------------------------------------------ adding */

void lab_claim(lab_report *r, const ed_claim *c) {
    ed_claim copy = *c;
    copy.text = own_text(r, c->text);
    if (grow(r, (void **)&r->claims, r->n_claims, sizeof *r->claims))
        r->claims[r->n_claims++] = copy;
}

void lab_claim_cut(lab_report *r, const lab_env *env, const char *text, lab_cut cut, double paper, double baseline, double measured, double threshold) {
    bool holds = cut == LAB_AT_LEAST ? measured >= threshold : measured <= threshold;
    ed_verdict v = env->size == LAB_SMOKE || isnan(measured) ? ED_VERDICT_SKIPPED
                   : holds                                   ? ED_VERDICT_PASS
                   : env->size == LAB_QUICK                  ? ED_VERDICT_INCONCLUSIVE
                                                             : ED_VERDICT_FAIL;
    lab_claim(r, &(ed_claim){text, paper, baseline, measured, threshold, v});
}

void lab_invariant(lab_report *r, const char *text, double measured, double threshold, bool holds) {
    lab_claim(r, &(ed_claim){text, NAN, NAN, measured, threshold, holds ? ED_VERDICT_PASS : ED_VERDICT_FAIL});
}

void lab_note(lab_report *r, const char *fmt, ...) {
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    char *copy = own_text(r, text);
    if (grow(r, (void **)&r->notes, r->n_notes, sizeof *r->notes))
        r->notes[r->n_notes++] = copy;
}

static const char *const *own_names(lab_report *r, const char *const *names, int64_t n) {
    const char **copy = names && n > 0 ? own(r, (size_t)n * sizeof *copy) : NULL;
    for (int64_t i = 0; copy && i < n; i++)
        copy[i] = own_text(r, names[i] ? names[i] : "");
    return copy;
}

static const ed_series *own_series(lab_report *r, const ed_plot *p) {
    ed_series *s = p->n_series > 0 ? own_copy(r, p->series, (size_t)p->n_series * sizeof *s) : NULL;
    for (int i = 0; s && i < p->n_series; i++) {
        size_t bytes = (size_t)s[i].n * sizeof(double);
        s[i].label = own_text(r, s[i].label);
        s[i].x = own_copy(r, s[i].x, bytes);
        s[i].y = own_copy(r, s[i].y, bytes);
        s[i].spread = own_copy(r, s[i].spread, bytes);
    }
    return s;
}

void lab_plot(lab_report *r, const ed_plot *plot) {
    ed_plot p = *plot;
    p.title = own_text(r, plot->title);
    p.x_label = own_text(r, plot->x_label);
    p.y_label = own_text(r, plot->y_label);
    p.series = own_series(r, plot);
    p.categories = own_names(r, plot->categories, plot->n_categories);
    if (plot->matrix) {
        p.matrix = own_copy(r, plot->matrix, (size_t)(plot->rows * plot->cols) * sizeof(double));
        p.row_names = own_names(r, plot->row_names, plot->rows);
        p.col_names = own_names(r, plot->col_names, plot->cols);
    }
    if (grow(r, (void **)&r->plots, r->n_plots, sizeof *r->plots))
        r->plots[r->n_plots++] = p;
}

void lab_cost_add(lab_report *r, const lab_cost *c) {
    lab_cost copy = *c;
    copy.arm = own_text(r, c->arm);
    if (grow(r, (void **)&r->costs, r->n_costs, sizeof *r->costs))
        r->costs[r->n_costs++] = copy;
}

/* ------------------------------------------------------------------ reading */

ed_status lab_report_status(const lab_report *r) {
    return r->status;
}

ed_lab lab_report_claims(const lab_report *r) {
    return (ed_lab){r->slug, r->title, r->claims, r->n_claims, r->seconds, r->machine};
}

int lab_report_plots(const lab_report *r, const ed_plot **plots) {
    *plots = r->plots;
    return r->n_plots;
}

int lab_report_notes(const lab_report *r, const char *const **notes) {
    *notes = r->notes;
    return r->n_notes;
}

int lab_report_costs(const lab_report *r, const lab_cost **costs) {
    *costs = r->costs;
    return r->n_costs;
}

ed_status lab_run(const lab_recipe *recipe, const lab_env *env, lab_report **out, ed_error *err) {
    char machine[256];
    double start = ed_time_s();
    if (lab_report_create(recipe->slug, recipe->title, out) != ED_OK)
        return ed_error_set(err, ED_E_MEMORY, recipe->slug, ED_NO_OFFSET, "no memory for a report");
    ed_status s = recipe->run(env, *out, err);
    (*out)->seconds = ed_time_s() - start;
    (*out)->machine = own_text(*out, ed_machine_text(machine, sizeof machine));
    if (s == ED_OK && (*out)->status != ED_OK)
        s = ed_error_set(err, (*out)->status, recipe->slug, ED_NO_OFFSET, "no memory for the report");
    return s;
}

/* ------------------------------------------------------------------ files */

static ed_status page_notes(const lab_report *r, ed_page *page, ed_error *err) {
    ed_status s = r->n_notes ? ed_page_heading(page, "Notes", err) : ED_OK;
    for (int i = 0; i < r->n_notes && s == ED_OK; i++)
        s = ed_page_text(page, r->notes[i], err);
    return s;
}

enum { COST_COLUMNS = 6, CELL = 48 };

static ed_status page_costs(const lab_report *r, ed_page *page, ed_error *err) {
    static const char *const columns[COST_COLUMNS] = {"arm", "parameters", "updates", "seconds", "peak MiB", "multiply-adds (forward)"};
    if (r->n_costs == 0)
        return ED_OK;
    size_t n = (size_t)r->n_costs * COST_COLUMNS;
    char(*text)[CELL] = malloc(n * sizeof *text);
    const char **cells = malloc(n * sizeof *cells);
    if (!text || !cells) {
        free(text);
        free(cells);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for the table of costs");
    }
    for (size_t i = 0; i < n; i++)
        cells[i] = text[i];
    for (int i = 0; i < r->n_costs; i++) {
        const lab_cost *c = &r->costs[i];
        size_t at = (size_t)i * COST_COLUMNS;
        cells[at] = c->arm;
        snprintf(text[at + 1], CELL, "%lld", (long long)c->parameters);
        snprintf(text[at + 2], CELL, "%lld", (long long)c->steps);
        snprintf(text[at + 3], CELL, "%.1f", c->seconds);
        snprintf(text[at + 4], CELL, "%.1f", (double)c->peak_bytes / 1048576.0);
        snprintf(text[at + 5], CELL, "%.4g", c->multiply_adds);
    }
    ed_table t = {.title = "Costs", .columns = columns, .n_columns = COST_COLUMNS, .cells = cells, .n_rows = r->n_costs};
    ed_status s = ed_page_table(page, &t, err);
    free(text);
    free(cells);
    return s;
}

ed_status lab_report_html(const lab_report *r, const char *summary, const char *path, ed_error *err) {
    ed_lab lab = lab_report_claims(r);
    ed_page *page;
    ed_status s = ed_page_create(r->title, &page, err);
    if (s != ED_OK)
        return s;
    if (summary)
        s = ed_page_text(page, summary, err);
    if (s == ED_OK)
        s = ed_page_lab(page, &lab, err);
    if (s == ED_OK)
        s = page_notes(r, page, err);
    if (s == ED_OK)
        s = page_costs(r, page, err);
    for (int i = 0; i < r->n_plots && s == ED_OK; i++)
        s = ed_page_plot(page, &r->plots[i], err);
    if (s == ED_OK)
        s = ed_page_save(page, path, err);
    ed_page_destroy(&page);
    return s;
}

ed_status lab_report_json(const lab_report *r, const char *path, ed_error *err) {
    ed_lab lab = lab_report_claims(r);
    char *text, temp[4096];
    ed_status s = ed_lab_json(&lab, &text, err);
    if (s != ED_OK)
        return s;
    FILE *f = NULL;
    int len = snprintf(temp, sizeof temp, "%s.part", path);
    bool ok = len > 0 && (size_t)len < sizeof temp && (f = fopen(temp, "wb")) != NULL;
    ok = ok && fputs(text, f) >= 0;
    ok = f && fclose(f) == 0 && ok && rename(temp, path) == 0;
    ed_report_free(&text);
    if (f && !ok)
        remove(temp);
    return ok ? ED_OK : ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "the result cannot be written");
}
