/* recipes/recipe.h - what the lab's recipes share: how a recipe is registered, where it runs, what it reports, and how bases are cached.
 *
 * A recipe reruns the central experiment of one publication at the size of a desk: it makes its data, trains baselines and the method on equal steps from
 * equal seeds, and compares the outcome with claims whose thresholds were written down before the first run. It composes public calls (<endec/...>) only.
 *
 *     static ed_status run(const lab_env *env, lab_report *r, ed_error *err) { ... lab_claim(r, ...); lab_plot(r, ...); return ED_OK; }
 *     const lab_recipe recipe_urpe = {"urpe", "Title of the method", "one line", run};
 *
 * Verdicts: `smoke` runs walk the code path in seconds and check exact invariants; thresholds are skipped. `quick` runs show the trend; thresholds that do
 * not hold are inconclusive. Only the full miniature (the default) and `full` (more arms) pass and fail claims. */
#ifndef RECIPES_RECIPE_H
#define RECIPES_RECIPE_H

#include <endec/base.h>
#include <endec/model.h>
#include <endec/report.h>
#include <endec/train.h>

/** LAB_FULL adds arms to the miniature. */
typedef enum lab_size { LAB_SMOKE, LAB_QUICK, LAB_MINIATURE, LAB_FULL } lab_size;

/** Where a recipe runs. Strings are borrowed for the run. */
typedef struct lab_env {
    lab_size size;
    int seeds;            /* runs per arm; 0: as many as the recipe was registered with */
    const char *data_dir; /* laid out as docs/methods/README.md says; NULL: none given */
    const char *work_dir; /* results and caches; NULL: nothing is kept */
    void (*say)(void *user, const char *line); /* progress, one line without newline; NULL: silence */
    bool (*stop)(void *user);                  /* true asks the recipe to give up soon; NULL: never */
    void *user;
} lab_env;

typedef struct lab_report lab_report;

typedef struct lab_recipe {
    const char *slug, *title, *summary;
    ed_status (*run)(const lab_env *env, lab_report *r, ed_error *err);
} lab_recipe;

/** All recipes (recipes.c), by slug. */
extern const lab_recipe *const lab_recipes[];
extern const int lab_n_recipes;
enum { LAB_PLANNED = 66 }; /* methods that the project sets out to hold */
const lab_recipe *lab_find(const char *slug); /* NULL when absent */

/* ------------------------------------------------------------------ talking and stopping */

void lab_say(const lab_env *env, const char *fmt, ...) ED_PRINTF(2, 3);
bool lab_stopped(const lab_env *env);
/** "<data_dir>/<name>" when that file can be read, else ED_E_NOT_FOUND naming it. */
ed_status lab_data_path(const lab_env *env, const char *name, char *buf, size_t bytes, ed_error *err);
/** A whole file of at most max_bytes; *text is freed by free(). A NUL stands behind the last byte. */
ed_status lab_file_read(const char *path, size_t max_bytes, char **text, size_t *n, ed_error *err);

/* ------------------------------------------------------------------ the report. Everything given is copied. The first failure (memory) is kept. */

ed_status lab_report_create(const char *slug, const char *title, lab_report **out);
void lab_report_destroy(lab_report **r);
/** A claim as it stands. */
void lab_claim(lab_report *r, const ed_claim *c);
typedef enum lab_cut { LAB_AT_LEAST, LAB_AT_MOST } lab_cut;
/** A pre-registered claim "measured >= (or <=) threshold"; its verdict follows the size of the run (see above). A measured NaN is skipped. */
void lab_claim_cut(lab_report *r, const lab_env *env, const char *text, lab_cut cut, double paper, double baseline, double measured, double threshold);
/** An exact invariant: pass or fail at every size. `measured` is what was seen, `threshold` what is allowed. */
void lab_invariant(lab_report *r, const char *text, double measured, double threshold, bool holds);
/** A paragraph of free text: what was done, tried, seen. */
void lab_note(lab_report *r, const char *fmt, ...) ED_PRINTF(2, 3);
void lab_plot(lab_report *r, const ed_plot *plot);
/** What an arm cost: seconds of training, most bytes of its graph, multiply-adds of one forward pass, updates, parameters. */
typedef struct lab_cost {
    const char *arm;
    double seconds;
    size_t peak_bytes;
    double multiply_adds;
    int64_t steps, parameters;
} lab_cost;
void lab_cost_add(lab_report *r, const lab_cost *c);

/* Reading it, for the command line and tests */
ed_status lab_report_status(const lab_report *r);
ed_lab lab_report_claims(const lab_report *r); /* borrowed views; seconds 0 and machine NULL until lab_run fills them */
int lab_report_plots(const lab_report *r, const ed_plot **plots);
int lab_report_notes(const lab_report *r, const char *const **notes);
int lab_report_costs(const lab_report *r, const lab_cost **costs);
/** A self-contained HTML page: summary, claims, notes, costs, plots. */
ed_status lab_report_html(const lab_report *r, const char *summary, const char *path, ed_error *err);
/** The claims in the JSON of ed_lab_json, saved by rename. */
ed_status lab_report_json(const lab_report *r, const char *path, ed_error *err);

/** Runs a recipe into a new report with time and machine filled in. *out is made also when the run failed (with what was reported before). */
ed_status lab_run(const lab_recipe *recipe, const lab_env *env, lab_report **out, ed_error *err);

/* ------------------------------------------------------------------ training an arm */

typedef struct lab_curve {
    double *step, *value; /* [n] */
    int64_t n, cap;
} lab_curve;
bool lab_curve_add(lab_curve *c, double step, double value); /* false: no memory */
void lab_curve_free(lab_curve *c);

/** Value of the model on held-out data; called between updates. */
typedef ed_status (*lab_measure)(void *ctx, ed_model *m, int64_t step, double *value, ed_error *err);
typedef struct lab_arm {
    const char *name;
    ed_model *model;
    const ed_objective *objective;
    const ed_source *source;
    const ed_train_opts *opts;
    lab_measure measure;   /* NULL: the curve holds the training loss */
    void *measure_ctx;
    int64_t measure_every; /* a point of the curve every so many steps, and one at the end; 0: only at the end */
} lab_arm;
/** opts->steps updates, nothing saved. curve (points are added) and cost (filled, arm = name) may be NULL. ED_E_CANCELLED when env asks to stop. */
ed_status lab_train(const lab_env *env, const lab_arm *arm, lab_curve *curve, lab_cost *cost, ed_error *err);

/* ------------------------------------------------------------------ numbers */

/** Median of n values (the mean of the middle two for even n); NaN for n = 0. Reorders v. */
double lab_median(double *v, int64_t n);

/* ------------------------------------------------------------------ trained bases, cached by content
 * The place of a base follows from what made it: XXH3-64 of (kind, config text, version of the library, revision of this file's format). Builders
 * fill a fresh folder, which then takes its final name in one rename, so that two runs at a time, or a killed one, never leave half a base. */

typedef struct lab_base {
    const char *kind;   /* [a-z0-9-], e.g. "spec-base": begins the folder's name */
    const char *config; /* everything that decides the weights: generator, sizes, seed, steps */
    /** Puts the files of the base into `dir`, an empty folder. */
    ed_status (*build)(void *ctx, const lab_env *env, const char *dir, ed_error *err);
    void *ctx;
} lab_base;
/** "<work_dir>/bases/<kind>-<16 hex digits>" without looking at the disk. ED_E_STATE without a work_dir. */
ed_status lab_base_path(const lab_env *env, const lab_base *b, char *buf, size_t bytes, ed_error *err);
/** The folder of a finished base, built now when it is not there. */
ed_status lab_base_get(const lab_env *env, const lab_base *b, char *buf, size_t bytes, ed_error *err);

#endif
