/* tests/unit/test_base_mem.c - aligned heap, live count, fault injection, growable arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/internal.h"

static void test_alignment_and_content(void **state) {
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = ed__malloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, (int)n, n);
        p = ed__realloc(p, 2 * n + 5);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], n & 0xFF);
        p = ed__realloc(p, n / 2);
        for (size_t i = 0; i < n / 2; i++)
            assert_int_equal(p[i], n & 0xFF);
        ed__free(p);
    }
    unsigned char *z = ed__calloc(100, 7);
    for (int i = 0; i < 700; i++)
        assert_int_equal(z[i], 0);
    ed__free(z);
    ed__free(NULL);
    assert_int_equal(ed__mem_blocks(), 0);
}

static void test_limits(void **state) {
    (void)state;
    assert_null(ed__malloc(SIZE_MAX));
    assert_null(ed__malloc(SIZE_MAX - 63));
    assert_null(ed__calloc(SIZE_MAX / 2, 3));
    char *p = ed__malloc(10);
    assert_null(ed__realloc(p, SIZE_MAX)); /* the old block stays */
    memset(p, 1, 10);
    ed__free(p);
    assert_int_equal(ed__mem_blocks(), 0);
}

static void test_strings(void **state) {
    (void)state;
    char *a = ed__strdup("hello"), *b = ed__strndup("hello", 3), *c = ed__strndup("hi", 100);
    assert_string_equal(a, "hello");
    assert_string_equal(b, "hel");
    assert_string_equal(c, "hi");
    assert_null(ed__strdup(NULL));
    assert_int_equal(ed__mem_blocks(), 3);
    ed__free(a);
    ed__free(b);
    ed__free(c);
}

static void test_injection(void **state) {
    void *p[4];
    (void)state;
    ed__mem_fail_after(3, false);
    for (int i = 0; i < 4; i++)
        p[i] = ed__malloc(8);
    assert_true(p[0] && p[1] && !p[2] && p[3]);
    for (int i = 0; i < 4; i++)
        ed__free(p[i]);
    ed__mem_fail_after(2, true);
    for (int i = 0; i < 4; i++)
        p[i] = ed__calloc(1, 8);
    assert_true(p[0] && !p[1] && !p[2] && !p[3]);
    assert_null(ed__realloc(p[0], 100));
    ed__mem_fail_after(-1, false);
    ed__free(p[0]);
    p[0] = ed__malloc(8);
    assert_non_null(p[0]);
    ed__free(p[0]);
    assert_int_equal(ed__mem_blocks(), 0);
}

static void test_grow(void **state) {
    int *items = NULL;
    size_t cap = 0;
    (void)state;
    for (size_t n = 1; n <= 1000; n++) {
        assert_int_equal(ed__grow((void **)&items, &cap, n, sizeof *items, 1000), ED_OK);
        assert_true(cap >= n && cap <= 1000);
        items[n - 1] = (int)n;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i + 1);
    assert_int_equal(ed__grow((void **)&items, &cap, 1001, sizeof *items, 1000), ED_E_LIMIT);
    assert_int_equal(ed__grow((void **)&items, &cap, SIZE_MAX / 2, 16, SIZE_MAX), ED_E_LIMIT);
    ed__mem_fail_after(1, false);
    assert_int_equal(ed__grow((void **)&items, &cap, 5000, sizeof *items, 9999), ED_E_MEMORY);
    assert_int_equal(cap, 1000);
    assert_int_equal(items[999], 1000);
    ed__free(items);
    assert_int_equal(ed__mem_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alignment_and_content), cmocka_unit_test(test_limits), cmocka_unit_test(test_strings),
                                       cmocka_unit_test(test_injection), cmocka_unit_test(test_grow)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
