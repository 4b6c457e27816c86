/* endec/report.h - what a run leaves behind: CSV logs, TensorBoard event files, SVG plots, HTML pages, and the table of a lab's claims.
 *
 *     ed_csv *log;                                        a log that a resumed run continues
 *     const char *cols[] = {"loss", "lr"};
 *     ed_csv_open("run/log.csv", cols, 2, -1, &log, &err);
 *     ed_csv_row(log, step, (double[]){loss, lr}, &err);
 *
 *     ed_series s = {.label = "train", .y = losses, .n = n};   a plot
 *     ed_plot p = {.kind = ED_PLOT_LINES, .title = "Loss", .x_label = "step", .series = &s, .n_series = 1};
 *     ed_plot_save(&p, "run/loss.svg", &err);
 *
 * All text is UTF-8 and is escaped for the format it goes to. Files other than logs are saved atomically. Numbers never follow the locale. */
#ifndef ENDEC_REPORT_H
#define ENDEC_REPORT_H

#include "endec/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ CSV log */

/** A numeric log, one row a step: header "step,<column>,...", every row written to the system at once. */
typedef struct ed_csv ed_csv;
/** resume_step < 0 starts a new file. Otherwise an existing file is continued: its header must be the same (else ED_E_FORMAT) and rows
 *  from the first one whose step is above resume_step are cut off, a half-written last row too; a missing file is started.
 *  1..1024 columns. */
ED_API ed_status ed_csv_open(const char *path, const char *const *columns, int n_columns, int64_t resume_step, ed_csv **out, ed_error *err);
/** values is [n_columns]; NaN stands as "nan". Steps must not fall (ED_E_STATE). */
ED_API ed_status ed_csv_row(ed_csv *csv, int64_t step, const double *values, ed_error *err);
ED_API void ed_csv_close(ed_csv **csv);

/* ------------------------------------------------------------------ TensorBoard */

/** Writer of <dir>/events.out.tfevents.<time>.<host>.<pid>. */
typedef struct ed_tensorboard ed_tensorboard;
/** Makes `dir` when it is missing. resume_step >= 0 tells TensorBoard to forget what earlier files of dir hold above that step. */
ED_API ed_status ed_tensorboard_open(const char *dir, int64_t resume_step, ed_tensorboard **out, ed_error *err);
/** One scalar, stored as f32; written to the system at once. */
ED_API ed_status ed_tensorboard_scalar(ed_tensorboard *tb, const char *tag, int64_t step, double value, ed_error *err);
/** Path of the event file, valid until close. */
ED_API const char *ed_tensorboard_path(const ed_tensorboard *tb);
ED_API void ed_tensorboard_close(ed_tensorboard **tb);

/* ------------------------------------------------------------------ plots */

typedef enum ed_plot_kind { ED_PLOT_LINES, ED_PLOT_SCATTER, ED_PLOT_BARS, ED_PLOT_HEAT } ed_plot_kind;

/** Points that are not finite, or not positive on a log axis, are left out; a line is broken there. Nothing is copied: the arrays must
 *  live until the call that draws returns. */
typedef struct ed_series {
    const char *label;    /* NULL: not in the legend */
    const double *x;      /* [n], NULL: 0, 1, 2...; not used by bars */
    const double *y;      /* [n]; bars: one per category */
    const double *spread; /* [n] half length of an error bar, or NULL */
    int64_t n;
    bool markers;         /* lines: a dot on each point */
    bool dashed;          /* lines: for a threshold or a baseline */
} ed_series;

typedef struct ed_plot {
    ed_plot_kind kind;
    const char *title, *x_label, *y_label; /* NULL: none */
    bool log_x, log_y;                     /* not for bars and heat maps */
    const ed_series *series;               /* [n_series], 1..64; not for heat maps */
    int n_series;
    const char *const *categories; /* bars: [n_categories] names under the groups */
    int n_categories;
    const double *matrix; /* heat: [rows, cols], row 0 on top; NaN is drawn grey */
    int64_t rows, cols;   /* heat: at most 65536 cells */
    const char *const *row_names, *const *col_names; /* heat: [rows], [cols] or NULL */
    double width, height; /* of the picture in CSS pixels, 200..4000; 0: 720 x 420 */
} ed_plot;
/** A standalone SVG file. ED_E_INVALID names what the plot lacks; ED_E_LIMIT for too many series, points (16 Mi) or cells. */
ED_API ed_status ed_plot_save(const ed_plot *plot, const char *path, ed_error *err);

/* ------------------------------------------------------------------ HTML page */

/** A self-contained page (no script, no foreign resource) that grows from top to bottom. Its size is limited to 64 MiB. */
typedef struct ed_page ed_page;

/** cells is [n_rows][n_columns]; NULL cells are empty. Cells that read as numbers are set to the right. */
typedef struct ed_table {
    const char *title; /* NULL: none */
    const char *const *columns;
    int n_columns;
    const char *const *cells;
    int64_t n_rows;
} ed_table;
ED_API ed_status ed_page_create(const char *title, ed_page **out, ed_error *err);
ED_API void ed_page_destroy(ed_page **page);
ED_API ed_status ed_page_heading(ed_page *page, const char *text, ed_error *err);
/** One paragraph; an empty line in the text begins another. */
ED_API ed_status ed_page_text(ed_page *page, const char *text, ed_error *err);
/** Text as it stands, in a fixed-width font. */
ED_API ed_status ed_page_code(ed_page *page, const char *text, ed_error *err);
/** Key-value facts: keys and values are [n]. */
ED_API ed_status ed_page_facts(ed_page *page, const char *const *keys, const char *const *values, int n, ed_error *err);
ED_API ed_status ed_page_table(ed_page *page, const ed_table *table, ed_error *err);
ED_API ed_status ed_page_plot(ed_page *page, const ed_plot *plot, ed_error *err);
/** Saves what was added so far; the page may grow on. */
ED_API ed_status ed_page_save(const ed_page *page, const char *path, ed_error *err);
/** The table as CSV (RFC 4180). */
ED_API ed_status ed_table_save_csv(const ed_table *table, const char *path, ed_error *err);

/* ------------------------------------------------------------------ claims of a lab run */

/** Skipped: could not be run here. Inconclusive: ran, but noise or too few runs forbid a verdict. */
typedef enum ed_verdict { ED_VERDICT_PASS, ED_VERDICT_FAIL, ED_VERDICT_INCONCLUSIVE, ED_VERDICT_SKIPPED, ED_VERDICT_COUNT } ed_verdict;
/** "pass", "fail", "inconclusive", "skipped". */
ED_API const char *ed_verdict_name(ed_verdict v);

/** One claim; NaN stands for a number that there is not. The text says the unit and which way the threshold cuts. */
typedef struct ed_claim {
    const char *text;
    double paper;     /* what the publication reports */
    double baseline;  /* our run without the method */
    double measured;  /* our run with it */
    double threshold; /* fixed before the run */
    ed_verdict holds;
} ed_claim;

typedef struct ed_lab {
    const char *slug, *title;
    const ed_claim *claims; /* [n_claims] */
    int n_claims;
    double seconds;      /* wall clock of the run */
    const char *machine; /* as ed_machine_text */
} ed_lab;
/** FAIL when a claim fails; else INCONCLUSIVE when one is; else PASS when one passes; else SKIPPED. */
ED_API ed_verdict ed_lab_holds(const ed_lab *lab);
/** The claims as a table for a terminal, at most `columns` wide (0: 100). *out is freed by ed_report_free. */
ED_API ed_status ed_lab_text(const ed_lab *lab, int columns, char **out, ed_error *err);
/** {"slug","title","claims":[{"text","paper","baseline","measured","threshold","holds"}],"holds","seconds","machine"} and a newline; "holds"
 *  are verdict names, absent numbers null. *out is freed by ed_report_free. */
ED_API ed_status ed_lab_json(const ed_lab *lab, char **out, ed_error *err);
/** Verdict, facts and the table of claims at the end of a page. */
ED_API ed_status ed_page_lab(ed_page *page, const ed_lab *lab, ed_error *err);
/** Writes <dir>/<slug>.json and <dir>/<slug>.html (claims, then plots: [n_plots], may be NULL). The slug is [A-Za-z0-9_.-]. */
ED_API ed_status ed_lab_save(const ed_lab *lab, const ed_plot *plots, int n_plots, const char *dir, ed_error *err);
ED_API void ed_report_free(char **text);

/** "AMD EPYC 9R45, 2 CPUs, avx512bf16, 2 threads": the processor, what this process may use, the kernel level and the pool. Returns buf. */
ED_API const char *ed_machine_text(char *buf, size_t buf_bytes);

#ifdef __cplusplus
}
#endif
#endif
