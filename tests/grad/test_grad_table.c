/* tests/grad/test_grad_table.c - every row of the op table that has a gradient is exercised by some gradient test.
 *
 * Reads the sources of tests/grad (the tests run from the repository's root) and looks for a call of ed_<row>( or, for rows that are reached through a
 * kind, for the row's name in the list below. A new row without a gradient test fails here. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/op.h"

/* rows that no public function is named after, or that tests reach by enum or wrapper name: {row, text that must stand in a gradient test} */
static const char *const by_text[][2] = {
    {"neg", "ED_NEG"},           {"abs", "ED_ABS"},         {"exp", "ED_EXP"},           {"log", "ED_LOG"},           {"log1p", "ED_LOG1P"},
    {"sqrt", "ED_SQRT"},         {"rsqrt", "ED_RSQRT"},     {"square", "ED_SQUARE"},     {"sin", "ED_SIN"},           {"cos", "ED_COS"},
    {"tanh", "ED_TANH"},         {"sigmoid", "ED_SIGMOID"}, {"erf", "ED_ERF"},           {"relu", "ED_RELU"},         {"elu", "ED_ELU"},
    {"silu", "ED_SILU"},         {"gelu_tanh", "ED_GELU_TANH"}, {"gelu_erf", "ED_GELU_ERF"}, {"softplus", "ED_SOFTPLUS"}, {"round", "ED_ROUND"},
    {"add", "ED_ADD"},           {"sub", "ED_SUB"},         {"mul", "ED_MUL"},           {"div", "ED_DIV"},           {"pow", "ED_POW"},
    {"max2", "ED_MAX"},          {"min2", "ED_MIN"},        {"sum", "ed_sum"},           {"mean", "ed_mean"},         {"max", "ed_max}"},
    {"min", "ed_min}"},          {"logsumexp", "ed_logsumexp"},
};

/* all gradient tests but this one, one after the other */
static char *read_tests(void) {
    DIR *dir = opendir("tests/grad");
    char *all = calloc(1, 1);
    size_t len = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[512];
        if (!strstr(e->d_name, ".c") || strstr(e->d_name, "grad_table"))
            continue;
        snprintf(path, sizeof path, "tests/grad/%s", e->d_name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        all = realloc(all, len + (1 << 20));
        assert_non_null(all);
        size_t n = fread(all + len, 1, (1 << 20) - 1, f);
        fclose(f);
        len += n;
        all[len] = 0;
    }
    closedir(dir);
    return all;
}

static bool covered(const char *tests, const char *row) {
    char call[80];
    for (size_t i = 0; i < sizeof by_text / sizeof *by_text; i++)
        if (strcmp(by_text[i][0], row) == 0)
            return strstr(tests, by_text[i][1]) != NULL;
    snprintf(call, sizeof call, "ed_%s(", row);
    return strstr(tests, call) != NULL;
}

static void every_row_has_a_gradient_test(void **state) {
    char *tests = read_tests();
    int missing = 0;
    (void)state;
    for (int i = 0; i < ed__n_ops; i++) {
        if (ed__ops[i]->backward && !covered(tests, ed__ops[i]->name)) {
            print_error("op row '%s' has a gradient and no test in tests/grad\n", ed__ops[i]->name);
            missing++;
        }
    }
    free(tests);
    assert_int_equal(missing, 0);
}

/* a row is complete: name, shape rule and forward */
static void rows_are_complete(void **state) {
    (void)state;
    for (int i = 0; i < ed__n_ops; i++) {
        assert_non_null(ed__ops[i]->name);
        assert_non_null(ed__ops[i]->shape);
        assert_non_null(ed__ops[i]->forward);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_a_gradient_test),
        cmocka_unit_test(rows_are_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
