/* tests/unit/test_lab.c - the lab's own machinery: reports own what they are given, verdicts follow the size of a run, bases are cached by content and
 * appear whole or not at all, medians. The recipes themselves run in tests/cli/lab.sh. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "recipe.h"

static char work[64];

static int make_work(void **state) {
    (void)state;
    snprintf(work, sizeof work, "/tmp/endec-lab-XXXXXX");
    return mkdtemp(work) ? 0 : -1;
}

static void write_text(const char *dir, const char *name, const char *text) {
    char path[4600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ------------------------------------------------------------------ report */

static void test_report_owns_its_data(void **state) {
    lab_report *r;
    char label[] = "method", title[] = "a title", text[] = "a claim", row[] = "head 0";
    double x[] = {1, 2, 3}, y[] = {4, 5, 6}, heat[] = {7, 8};
    const char *rows[] = {row};
    (void)state;
    assert_int_equal(lab_report_create("slug", title, &r), ED_OK);
    ed_series s = {.label = label, .x = x, .y = y, .n = 3};
    lab_plot(r, &(ed_plot){.kind = ED_PLOT_LINES, .title = title, .series = &s, .n_series = 1});
    lab_plot(r, &(ed_plot){.kind = ED_PLOT_HEAT, .matrix = heat, .rows = 1, .cols = 2, .row_names = rows});
    lab_claim(r, &(ed_claim){text, 1, 2, 3, 4, ED_VERDICT_PASS});
    lab_note(r, "%d notes", 1);
    memset(label, 'x', sizeof label - 1);
    memset(title, 'x', sizeof title - 1);
    memset(text, 'x', sizeof text - 1);
    memset(row, 'x', sizeof row - 1);
    memset(x, 0, sizeof x);
    memset(y, 0, sizeof y);
    memset(heat, 0, sizeof heat);
    s.n = 0;

    const ed_plot *plots;
    const char *const *notes;
    assert_int_equal(lab_report_plots(r, &plots), 2);
    assert_string_equal(plots[0].series[0].label, "method");
    assert_string_equal(plots[0].title, "a title");
    assert_int_equal(plots[0].series[0].n, 3);
    assert_true(plots[0].series[0].x[2] == 3 && plots[0].series[0].y[0] == 4);
    assert_true(plots[1].matrix[1] == 8);
    assert_string_equal(plots[1].row_names[0], "head 0");
    ed_lab lab = lab_report_claims(r);
    assert_int_equal(lab.n_claims, 1);
    assert_string_equal(lab.claims[0].text, "a claim");
    assert_int_equal(lab_report_notes(r, &notes), 1);
    assert_string_equal(notes[0], "1 notes");
    assert_int_equal(lab_report_status(r), ED_OK);
    lab_report_destroy(&r);
    assert_null(r);
}

static ed_verdict verdict_of(lab_size size, lab_cut cut, double measured) {
    lab_report *r;
    lab_env env = {.size = size};
    assert_int_equal(lab_report_create("s", "t", &r), ED_OK);
    lab_claim_cut(r, &env, "c", cut, NAN, NAN, measured, 1);
    ed_verdict v = lab_report_claims(r).claims[0].holds;
    lab_report_destroy(&r);
    return v;
}

static void test_verdicts(void **state) {
    (void)state;
    assert_int_equal(verdict_of(LAB_MINIATURE, LAB_AT_LEAST, 1), ED_VERDICT_PASS);
    assert_int_equal(verdict_of(LAB_MINIATURE, LAB_AT_LEAST, 0.999), ED_VERDICT_FAIL);
    assert_int_equal(verdict_of(LAB_MINIATURE, LAB_AT_MOST, 1), ED_VERDICT_PASS);
    assert_int_equal(verdict_of(LAB_FULL, LAB_AT_MOST, 1.001), ED_VERDICT_FAIL);
    assert_int_equal(verdict_of(LAB_QUICK, LAB_AT_LEAST, 0.5), ED_VERDICT_INCONCLUSIVE);
    assert_int_equal(verdict_of(LAB_QUICK, LAB_AT_LEAST, 1.5), ED_VERDICT_PASS);
    assert_int_equal(verdict_of(LAB_SMOKE, LAB_AT_LEAST, 1.5), ED_VERDICT_SKIPPED);
    assert_int_equal(verdict_of(LAB_SMOKE, LAB_AT_LEAST, 0.5), ED_VERDICT_SKIPPED);
    assert_int_equal(verdict_of(LAB_MINIATURE, LAB_AT_LEAST, NAN), ED_VERDICT_SKIPPED);
}

static ed_status failing(const lab_env *env, lab_report *r, ed_error *err) {
    (void)env;
    lab_note(r, "got this far");
    return ed_error_set(err, ED_E_NOT_FOUND, "x", ED_NO_OFFSET, "no data");
}

static void test_run_keeps_what_a_failed_recipe_said(void **state) {
    lab_report *r;
    lab_env env = {.size = LAB_SMOKE};
    ed_error err;
    const char *const *notes;
    (void)state;
    lab_recipe recipe = {"x", "X", "x", failing};
    assert_int_equal(lab_run(&recipe, &env, &r, &err), ED_E_NOT_FOUND);
    assert_int_equal(lab_report_notes(r, &notes), 1);
    assert_non_null(lab_report_claims(r).machine);
    lab_report_destroy(&r);
}

static void test_list(void **state) {
    (void)state;
    assert_in_range(lab_n_recipes, 1, LAB_PLANNED);
    assert_ptr_equal(lab_find("urpe"), lab_recipes[lab_n_recipes - 1]);
    assert_null(lab_find("no-such-method"));
    for (int i = 1; i < lab_n_recipes; i++)
        assert_true(strcmp(lab_recipes[i - 1]->slug, lab_recipes[i]->slug) < 0);
}

static void test_json_and_html(void **state) {
    lab_report *r;
    char path[128], *text;
    size_t n;
    double y[] = {1, 2};
    ed_series s = {.label = "curve", .y = y, .n = 2};
    (void)state;
    assert_int_equal(lab_report_create("slug", "title", &r), ED_OK);
    lab_claim(r, &(ed_claim){"c", NAN, 2, 3, 4, ED_VERDICT_PASS});
    lab_note(r, "a note with <angle> brackets");
    lab_cost_add(r, &(lab_cost){"arm one", 1.5, 1 << 20, 1e6, 10, 1000});
    lab_plot(r, &(ed_plot){.kind = ED_PLOT_LINES, .title = "Plot", .series = &s, .n_series = 1});
    snprintf(path, sizeof path, "%s/r.json", work);
    assert_int_equal(lab_report_json(r, path, NULL), ED_OK);
    assert_int_equal(lab_file_read(path, 1 << 16, &text, &n, NULL), ED_OK);
    assert_non_null(strstr(text, "\"paper\":null,\"baseline\":2,\"measured\":3,\"threshold\":4,\"holds\":\"pass\""));
    free(text);
    snprintf(path, sizeof path, "%s/r.html", work);
    assert_int_equal(lab_report_html(r, "summary", path, NULL), ED_OK);
    assert_int_equal(lab_file_read(path, 1 << 20, &text, &n, NULL), ED_OK);
    assert_non_null(strstr(text, "&lt;angle&gt;"));
    assert_non_null(strstr(text, "arm one"));
    assert_non_null(strstr(text, "<svg"));
    free(text);
    assert_int_equal(lab_file_read(path, 10, &text, &n, NULL), ED_E_LIMIT);
    assert_int_equal(lab_report_json(r, "/no/such/folder/r.json", NULL), ED_E_IO);
    lab_report_destroy(&r);
}

/* ------------------------------------------------------------------ bases */

typedef struct builder {
    int calls;
    bool fail;
} builder;

static ed_status build(void *ctx, const lab_env *env, const char *dir, ed_error *err) {
    builder *b = ctx;
    (void)env;
    b->calls++;
    write_text(dir, "weights", "42");
    return b->fail ? ed_error_set(err, ED_E_CANCELLED, dir, ED_NO_OFFSET, "stopped") : ED_OK;
}

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static void test_base_is_built_once(void **state) {
    builder b = {0, false};
    lab_env env = {.work_dir = work};
    lab_base base = {"toy", "d=4 seed=1", build, &b};
    char first[4096], again[4096], file[4600];
    (void)state;
    assert_int_equal(lab_base_get(&env, &base, first, sizeof first, NULL), ED_OK);
    assert_int_equal(lab_base_get(&env, &base, again, sizeof again, NULL), ED_OK);
    assert_int_equal(b.calls, 1);
    assert_string_equal(first, again);
    snprintf(file, sizeof file, "%s/weights", first);
    assert_true(exists(file));
}

static void test_base_name_follows_content(void **state) {
    lab_env env = {.work_dir = work};
    char a[4096], b[4096], c[4096];
    (void)state;
    assert_int_equal(lab_base_path(&env, &(lab_base){.kind = "toy", .config = "d=4 seed=1"}, a, sizeof a, NULL), ED_OK);
    assert_int_equal(lab_base_path(&env, &(lab_base){.kind = "toy", .config = "d=4 seed=2"}, b, sizeof b, NULL), ED_OK);
    assert_int_equal(lab_base_path(&env, &(lab_base){.kind = "toyd", .config = "=4 seed=1"}, c, sizeof c, NULL), ED_OK);
    assert_string_not_equal(a, b);
    assert_string_not_equal(strrchr(a, '-'), strrchr(c, '-'));
    assert_int_equal(lab_base_path(&env, &(lab_base){.kind = "../x", .config = ""}, a, sizeof a, NULL), ED_E_INVALID);
    assert_int_equal(lab_base_path(&(lab_env){.work_dir = NULL}, &(lab_base){.kind = "toy", .config = ""}, a, sizeof a, NULL), ED_E_STATE);
}

static void test_failed_build_leaves_nothing(void **state) {
    builder b = {0, true};
    lab_env env = {.work_dir = work};
    lab_base base = {"broken", "x", build, &b};
    char path[4096], command[4200];
    (void)state;
    assert_int_equal(lab_base_get(&env, &base, path, sizeof path, NULL), ED_E_CANCELLED);
    assert_false(exists(path));
    snprintf(command, sizeof command, "ls %s/bases | grep -q broken", work);
    assert_int_not_equal(system(command), 0);
    b.fail = false;
    assert_int_equal(lab_base_get(&env, &base, path, sizeof path, NULL), ED_OK);
    assert_int_equal(b.calls, 2);
}

/* ------------------------------------------------------------------ numbers */

static void test_median(void **state) {
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    (void)state;
    assert_true(lab_median(odd, 3) == 2);
    assert_true(lab_median(even, 4) == 2.5);
    assert_true(isnan(lab_median(odd, 0)));
}

static int remove_work(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", work);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_owns_its_data), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_run_keeps_what_a_failed_recipe_said), cmocka_unit_test(test_list),
        cmocka_unit_test(test_json_and_html), cmocka_unit_test(test_base_is_built_once),
        cmocka_unit_test(test_base_name_follows_content), cmocka_unit_test(test_failed_build_leaves_nothing),
        cmocka_unit_test(test_median),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
