/* tests/unit/test_base_json.c - JSON bounds (depth, duplicates, NUL, big integers), error places, typed getters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/internal.h"

static ed_status parse(const char *text, json_t **out, ed_error *err) {
    return ed__json_parse("t.json", text, strlen(text), out, err);
}

static void expect_bad(const char *text, size_t n, ed_status want, uint64_t offset) {
    json_t *v = NULL;
    ed_error e = {0};
    char *copy = malloc(n ? n : 1); /* exact size: the sanitizer sees a read past the end */
    assert_non_null(copy);
    memcpy(copy, text, n);
    assert_int_equal(ed__json_parse("t.json", copy, n, &v, &e), want);
    assert_null(v);
    assert_string_equal(e.where, "t.json");
    if (offset != ED_NO_OFFSET)
        assert_int_equal(e.offset, offset);
    free(copy);
}

static void test_depth(void **state) {
    char text[400];
    json_t *v;
    (void)state;
    for (int depth = 60; depth < 70; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        if (depth <= 64) {
            assert_int_equal(parse(text, &v, NULL), ED_OK);
            json_decref(v);
        } else {
            expect_bad(text, strlen(text), ED_E_LIMIT, 64);
        }
    }
    assert_int_equal(parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\", []]", &v, NULL), ED_OK);
    json_decref(v);
    memset(text, ']', 100); /* closers first do not buy depth */
    memset(text + 100, '[', 100);
    expect_bad(text, 200, ED_E_LIMIT, 164);
}

static void test_malformed(void **state) {
    (void)state;
    expect_bad("", 0, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("{\"a\":1,}", 8, ED_E_FORMAT, 8);
    expect_bad("{\"a\":1,\"a\":2}", 13, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[1]x", 4, ED_E_FORMAT, 4);
    expect_bad("[1", 2, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[\"\\u0000\"]", 10, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[1]\0", 4, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[\"a\0b\"]", 7, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("\"abc\\", 5, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[\"\xff\"]", 5, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[NaN]", 5, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[1e999]", 7, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[00000000000000000000000001]", 28, ED_E_FORMAT, ED_NO_OFFSET);
    expect_bad("[1e-99999999999999999999999, 1e99999999999999999999]", 52, ED_E_FORMAT, ED_NO_OFFSET);
}

static void test_big_integers(void **state) {
    json_t *v;
    double x = 0;
    int64_t i = 0;
    const char *s = NULL;
    const char *text = "{\"max\": 1000000000000000019884624838656, \"low\": -9223372036854775809, \"min\": -9223372036854775808,"
                       " \"i\": 9223372036854775807, \"f\": 0.10000000000000000000000001, \"s\": \"\\\"99999999999999999999999\"}";
    (void)state;
    assert_int_equal(parse(text, &v, NULL), ED_OK);
    assert_int_equal(ed__json_float(v, "max", 0, 1e300, &x, "t", NULL), ED_OK);
    assert_true(x > 0.999999999999999e30 && x < 1.000000000000001e30);
    assert_int_equal(ed__json_int(v, "max", 0, INT64_MAX, &i, "t", NULL), ED_E_FORMAT);
    assert_int_equal(ed__json_float(v, "low", -1e300, 0, &x, "t", NULL), ED_OK);
    assert_true(x < -9.22337203685477e18 && x > -9.22337203685478e18);
    assert_int_equal(ed__json_int(v, "min", INT64_MIN, 0, &i, "t", NULL), ED_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(ed__json_int(v, "i", 0, INT64_MAX, &i, "t", NULL), ED_OK);
    assert_true(i == INT64_MAX);
    assert_int_equal(ed__json_float(v, "f", 0, 1, &x, "t", NULL), ED_OK);
    assert_true(x == 0.1);
    assert_int_equal(ed__json_str(v, "s", &s, "t", NULL), ED_OK);
    assert_string_equal(s, "\"99999999999999999999999");
    json_decref(v);
    assert_int_equal(parse("99999999999999999999", &v, NULL), ED_OK);
    json_decref(v);
}

static void test_getters(void **state) {
    json_t *v;
    ed_error e;
    int64_t i = -7;
    double x = -7;
    bool b = true;
    const char *s = "kept";
    (void)state;
    assert_int_equal(parse("{\"i\": 5, \"f\": 0.5, \"b\": false, \"s\": \"text\", \"n\": null}", &v, &e), ED_OK);
    assert_int_equal(ed__json_int(v, "absent", 0, 9, &i, "t", &e), ED_OK);
    assert_int_equal(ed__json_int(v, "n", 0, 9, &i, "t", &e), ED_OK);
    assert_int_equal(i, -7);
    assert_int_equal(ed__json_int(v, "i", 0, 4, &i, "t", &e), ED_E_FORMAT);
    assert_string_equal(e.message, "'i' is 5, allowed is 0 to 4");
    assert_string_equal(e.where, "t");
    assert_int_equal(ed__json_int(v, "i", 6, 9, &i, "t", &e), ED_E_FORMAT);
    assert_int_equal(ed__json_int(v, "f", 0, 9, &i, "t", &e), ED_E_FORMAT);
    assert_int_equal(i, -7);
    assert_int_equal(ed__json_int(v, "i", 5, 5, &i, "t", &e), ED_OK);
    assert_int_equal(i, 5);
    assert_int_equal(ed__json_float(v, "s", 0, 9, &x, "t", &e), ED_E_FORMAT);
    assert_int_equal(ed__json_float(v, "f", 0.6, 9, &x, "t", &e), ED_E_FORMAT);
    assert_true(x == -7);
    assert_int_equal(ed__json_float(v, "i", 0, 9, &x, "t", &e), ED_OK);
    assert_true(x == 5);
    assert_int_equal(ed__json_bool(v, "i", &b, "t", &e), ED_E_FORMAT);
    assert_int_equal(ed__json_bool(v, "b", &b, "t", &e), ED_OK);
    assert_false(b);
    assert_int_equal(ed__json_str(v, "i", &s, "t", &e), ED_E_FORMAT);
    assert_string_equal(s, "kept");
    assert_int_equal(ed__json_str(v, "s", &s, "t", &e), ED_OK);
    assert_string_equal(s, "text");
    json_decref(v);
    assert_int_equal(parse("[1]", &v, &e), ED_OK);
    assert_int_equal(ed__json_int(v, "i", 0, 9, &i, "t", &e), ED_E_FORMAT);
    assert_int_equal(ed__json_int(NULL, "i", 0, 9, &i, "t", &e), ED_E_FORMAT);
    json_decref(v);
}

static void test_load(void **state) {
    char path[64] = "/tmp/endec-test-json-XXXXXX";
    json_t *v;
    ed_error e;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\": [1, 2}", 12), 12);
    close(fd);
    assert_int_equal(ed__json_load(path, 100, &v, &e), ED_E_FORMAT);
    assert_null(v);
    assert_string_equal(e.where, path);
    assert_int_equal(e.offset, 12);
    assert_int_equal(ed__json_load(path, 11, &v, &e), ED_E_LIMIT);
    unlink(path);
    assert_int_equal(ed__json_load(path, 100, &v, &e), ED_E_NOT_FOUND);
    assert_int_equal(ed__mem_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_depth), cmocka_unit_test(test_malformed), cmocka_unit_test(test_big_integers),
                                       cmocka_unit_test(test_getters), cmocka_unit_test(test_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
