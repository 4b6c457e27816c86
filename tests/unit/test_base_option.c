/* tests/unit/test_base_option.c - option rows: every type, every bound, every refusal leaves the field as it was. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/internal.h"

typedef struct opts {
    bool flag;
    int64_t steps, wide;
    double rate, limit;
    char *name;
    int kind;
} opts;

static const char *const KINDS[] = {"sgd", "adam_w", "lion", NULL};
static const ed_option TABLE[] = {
    {"flag", ED_OPT_BOOL, offsetof(opts, flag), 0, 0, NULL, NULL, "a flag", 'f'},
    {"max_steps", ED_OPT_INT, offsetof(opts, steps), 1, 1000, NULL, "N", "steps", 0},
    {"wide", ED_OPT_INT, offsetof(opts, wide), -INFINITY, INFINITY, NULL, "N", "any integer", 0},
    {"learning_rate", ED_OPT_FLOAT, offsetof(opts, rate), 0, 10, NULL, "X", "rate", 0},
    {"limit", ED_OPT_FLOAT, offsetof(opts, limit), 0, INFINITY, NULL, "X", "limit", 0},
    {"name", ED_OPT_STRING, offsetof(opts, name), 0, 0, NULL, "TEXT", "name", 0},
    {"kind", ED_OPT_ENUM, offsetof(opts, kind), 0, 0, KINDS, "KIND", "kind", 0},
};
enum { ROWS = sizeof TABLE / sizeof *TABLE };

static ed_status set(opts *o, const char *key, const char *text, ed_error *err) {
    return ed_option_set_key(TABLE, ROWS, o, key, text, err);
}

static void test_accept(void **state) {
    opts o = {0};
    char buf[64];
    (void)state;
    assert_int_equal(set(&o, "flag", "on", NULL), ED_OK);
    assert_true(o.flag);
    assert_int_equal(set(&o, "flag", "no", NULL), ED_OK);
    assert_false(o.flag);
    assert_int_equal(set(&o, "max-steps", "1000", NULL), ED_OK);
    assert_int_equal(o.steps, 1000);
    assert_int_equal(set(&o, "wide", "-9223372036854775808", NULL), ED_OK);
    assert_true(o.wide == INT64_MIN);
    assert_int_equal(set(&o, "wide", "9223372036854775807", NULL), ED_OK);
    assert_true(o.wide == INT64_MAX);
    assert_int_equal(set(&o, "learning-rate", "1e-3", NULL), ED_OK);
    assert_true(o.rate == 1e-3);
    assert_string_equal(ed_option_get(ed_option_find(TABLE, ROWS, "learning_rate"), &o, buf, sizeof buf), "0.001");
    assert_int_equal(set(&o, "learning_rate", "0.1", NULL), ED_OK);
    assert_string_equal(ed_option_get(&TABLE[3], &o, buf, sizeof buf), "0.1");
    assert_int_equal(set(&o, "limit", "inf", NULL), ED_OK);
    assert_true(isinf(o.limit));
    assert_int_equal(set(&o, "limit", "4.9e-324", NULL), ED_OK); /* tiny is not an overflow */
    assert_true(o.limit > 0);
    assert_int_equal(set(&o, "kind", "adam-w", NULL), ED_OK);
    assert_int_equal(o.kind, 1);
    assert_string_equal(ed_option_get(&TABLE[6], &o, buf, sizeof buf), "adam_w");
    assert_int_equal(set(&o, "name", "first", NULL), ED_OK);
    assert_int_equal(set(&o, "name", "z\xC3\xBCrich\n2", NULL), ED_OK);
    assert_string_equal(ed_option_get(&TABLE[5], &o, buf, sizeof buf), "z\xC3\xBCrich\n2");
    assert_string_equal(ed_option_get(&TABLE[5], &o, buf, 3), "z"); /* cut between characters */
    ed_options_release(TABLE, ROWS, &o);
    assert_null(o.name);
    assert_string_equal(ed_option_get(&TABLE[5], &o, buf, sizeof buf), "");
    assert_string_equal(ed_option_get(&TABLE[0], &o, buf, sizeof buf), "false");
    assert_string_equal(ed_option_get(&TABLE[1], &o, buf, sizeof buf), "1000");
}

static void test_refuse(void **state) {
    static const struct {
        const char *key, *text;
        ed_status status;
    } BAD[] = {
        {"flag", "maybe", ED_E_INVALID},       {"flag", "", ED_E_INVALID},          {"flag", "TRUE ", ED_E_INVALID},
        {"max_steps", "0", ED_E_RANGE},        {"max_steps", "1001", ED_E_RANGE},   {"max_steps", "5x", ED_E_INVALID},
        {"max_steps", "", ED_E_INVALID},       {"max_steps", " 5", ED_E_INVALID},   {"max_steps", "5 ", ED_E_INVALID},
        {"max_steps", "1e2", ED_E_INVALID},    {"max_steps", "0x10", ED_E_INVALID}, {"wide", "9223372036854775808", ED_E_INVALID},
        {"learning_rate", "nan", ED_E_INVALID}, {"learning_rate", "inf", ED_E_RANGE}, {"learning_rate", "-1e-9", ED_E_RANGE},
        {"learning_rate", "10.0001", ED_E_RANGE}, {"learning_rate", "1e999", ED_E_INVALID}, {"learning_rate", "0.1.2", ED_E_INVALID},
        {"learning_rate", "", ED_E_INVALID},   {"learning_rate", ".", ED_E_INVALID}, {"learning_rate", " 1", ED_E_INVALID},
        {"limit", "-inf", ED_E_RANGE},         {"limit", "nan", ED_E_INVALID},      {"kind", "adam", ED_E_INVALID},
        {"kind", "", ED_E_INVALID},            {"nothing_like_it", "1", ED_E_NOT_FOUND},
    };
    opts o = {true, 5, 6, 0.5, 0.25, NULL, 2}, before = o;
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        ed_error e = {0};
        assert_int_equal(set(&o, BAD[i].key, BAD[i].text, &e), BAD[i].status);
        assert_int_equal(e.status, BAD[i].status);
        assert_string_equal(e.where, BAD[i].key);
        assert_true(e.message[0] != '\0');
        assert_memory_equal(&o, &before, sizeof o);
    }
    assert_int_equal(ed_option_set(&TABLE[0], &o, NULL, NULL), ED_E_INVALID);
}

static void test_messages(void **state) {
    opts o = {0};
    ed_error e;
    (void)state;
    set(&o, "max_steps", "2000", &e);
    assert_string_equal(e.message, "2000 is not from 1 to 1000");
    set(&o, "kind", "x", &e);
    assert_string_equal(e.message, "'x' is not one of sgd, adam_w, lion");
    set(&o, "lerning-rate", "1", &e);
    assert_string_equal(e.message, "unknown option; did you mean 'learning_rate'?");
    set(&o, "learning", "1", &e);
    assert_string_equal(e.message, "unknown option; did you mean 'learning_rate'?");
    set(&o, "quux", "1", &e);
    assert_string_equal(e.message, "unknown option");
}

static void test_string_memory(void **state) {
    opts o = {0};
    ed_error e;
    (void)state;
    assert_int_equal(set(&o, "name", "old", NULL), ED_OK);
    ed__mem_fail_after(1, true);
    assert_int_equal(set(&o, "name", "new", &e), ED_E_MEMORY);
    assert_int_equal(set(&o, "lerning_rate", "1", &e), ED_E_NOT_FOUND); /* only the hint is lost */
    ed__mem_fail_after(-1, false);
    assert_string_equal(o.name, "old");
    ed_options_release(TABLE, ROWS, &o);
    assert_int_equal(ed__mem_blocks(), 0);
}

/* A host that speaks a comma locale changes nothing. Runs where such a locale is installed. */
static void test_locale(void **state) {
    opts o = {0};
    char buf[32];
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        skip();
    assert_int_equal(set(&o, "learning_rate", "0.5", NULL), ED_OK);
    assert_string_equal(ed_option_get(&TABLE[3], &o, buf, sizeof buf), "0.5");
    assert_int_equal(set(&o, "learning_rate", "0,5", NULL), ED_E_INVALID);
    setlocale(LC_ALL, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_accept), cmocka_unit_test(test_refuse), cmocka_unit_test(test_messages),
                                       cmocka_unit_test(test_string_memory), cmocka_unit_test(test_locale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
