/* tests/unit/test_base_arena.c - arena against a simple model: contents survive, counts are exact, caps and failed memory leave it usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/internal.h"
#include "base/poison.h"

static void test_counts(void **state) {
    ed_arena *a;
    (void)state;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    assert_int_equal(ed_arena_used(a), 0);
    char *p = ed_arena_alloc(a, 1), *q = ed_arena_alloc(a, 65), *z = ed_arena_alloc(a, 0);
    assert_true(p && q && z);
    assert_true((uintptr_t)p % 64 == 0 && (uintptr_t)q % 64 == 0 && q >= p + 64 && z != q);
    assert_int_equal(ed_arena_used(a), 64 + 128 + 64);
    ed_arena_mark m = ed_arena_get_mark(a);
    assert_non_null(ed_arena_alloc(a, 5 << 20)); /* larger than the first block */
    assert_non_null(ed_arena_alloc(a, 300 << 20)); /* larger than the largest ordinary block */
    assert_int_equal(ed_arena_used(a), 256 + ((size_t)305 << 20));
    ed_arena_rewind(a, m);
    assert_int_equal(ed_arena_used(a), 256);
    assert_int_equal(ed_arena_high_water(a), 256 + ((size_t)305 << 20));
    int64_t blocks = ed__mem_blocks();
    assert_non_null(ed_arena_alloc(a, 300 << 20)); /* reuses the kept block, whatever its place */
    assert_int_equal(ed__mem_blocks(), blocks);
    ed_arena_reset(a);
    assert_int_equal(ed_arena_used(a), 0);
    ed_arena_destroy(&a);
    assert_null(a);
    ed_arena_destroy(&a);
}

static void test_cap(void **state) {
    ed_arena *a;
    (void)state;
    assert_int_equal(ed_arena_create(1000, &a), ED_OK);
    assert_int_equal(ed_arena_cap(a), 1000);
    for (int i = 0; i < 15; i++)
        assert_non_null(ed_arena_alloc(a, 64)); /* 960 bytes */
    assert_null(ed_arena_alloc(a, 1));
    assert_null(ed_arena_alloc(a, SIZE_MAX));
    assert_null(ed_arena_alloc(a, SIZE_MAX - 63));
    assert_int_equal(ed_arena_used(a), 960);
    ed_arena_set_cap(a, 0);
    assert_non_null(ed_arena_alloc(a, 4096));
    ed_arena_set_cap(a, 64);
    assert_null(ed_arena_alloc(a, 1));
    ed_arena_reset(a);
    assert_non_null(ed_arena_alloc(a, 64));
    ed_arena_destroy(&a);
}

static void test_memory_failure(void **state) {
    ed_arena *a;
    (void)state;
    for (int64_t n = 1;; n++) {
        int64_t before = ed__mem_blocks();
        bool ok = true;
        ed__mem_fail_after(n, true);
        if (ed_arena_create(0, &a) == ED_OK) {
            ok = ed_arena_alloc(a, 100) && ed_arena_alloc(a, 2 << 20);
            size_t used = ed_arena_used(a);
            ed__mem_fail_after(-1, false);
            assert_non_null(ed_arena_alloc(a, 9 << 20)); /* usable after a failure */
            assert_int_equal(ed_arena_used(a), used + (9 << 20));
            ed_arena_destroy(&a);
        } else {
            ok = false;
        }
        ed__mem_fail_after(-1, false);
        assert_int_equal(ed__mem_blocks(), before);
        if (ok)
            break;
        assert_true(n < 100);
    }
}

/* A stack of marked phases with random sizes; every live allocation carries a pattern that must survive. */
static void test_model(void **state) {
    enum { STEPS = 4000, LIVE = 256 };
    typedef struct live {
        unsigned char *p;
        size_t n;
        ed_arena_mark before;
        size_t used_before;
    } live;
    live stack[LIVE];
    size_t top = 0, high = 0;
    ed_arena *a;
    ed_rng r = ed_rng_make(7, 0);
    (void)state;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    for (int step = 0; step < STEPS; step++) {
        uint64_t kind = ed_rng_below(&r, 10);
        if (kind < 7 && top < LIVE) {
            size_t n = (size_t)ed_rng_below(&r, ed_rng_below(&r, 20) == 0 ? 1500000 : 2000);
            live l = {NULL, n, ed_arena_get_mark(a), ed_arena_used(a)};
            l.p = kind == 0 ? ed_arena_zalloc(a, n) : ed_arena_alloc(a, n);
            assert_non_null(l.p);
            if (kind == 0 && n)
                assert_true(l.p[0] == 0 && l.p[n - 1] == 0 && l.p[n / 2] == 0);
            memset(l.p, (int)(top & 0xFF), n);
            stack[top++] = l;
        } else if (top > 0) {
            size_t to = (size_t)ed_rng_below(&r, top);
            if (kind == 9)
                to = 0;
            for (size_t i = 0; i < top; i++)
                for (size_t j = 0; j < stack[i].n; j += 97)
                    assert_int_equal(stack[i].p[j], i & 0xFF);
            ed_arena_rewind(a, stack[to].before);
            assert_int_equal(ed_arena_used(a), stack[to].used_before);
            top = to;
        }
        high = ed_arena_used(a) > high ? ed_arena_used(a) : high;
    }
    assert_int_equal(ed_arena_high_water(a), high);
    ed_arena_destroy(&a);
}

static void test_strdup(void **state) {
    ed_arena *a;
    (void)state;
    assert_int_equal(ed_arena_create(64, &a), ED_OK);
    assert_string_equal(ed_arena_strdup(a, "hello"), "hello");
    assert_null(ed_arena_strdup(a, "no room"));
    ed_arena_destroy(&a);
    assert_int_equal(ed_arena_create(0, NULL), ED_E_INVALID);
}

/* Under AddressSanitizer a use of freed arena space is seen: the slack behind an allocation, everything after a rewind. */
static void test_poison(void **state) {
    (void)state;
#ifdef ED_ASAN
    ed_arena *a;
    assert_int_equal(ed_arena_create(0, &a), ED_OK);
    char *p = ed_arena_alloc(a, 40);
    ed_arena_mark m = ed_arena_get_mark(a);
    char *q = ed_arena_alloc(a, 2 << 20);
    assert_true(!__asan_address_is_poisoned(p + 39) && __asan_address_is_poisoned(p + 40));
    assert_false(__asan_address_is_poisoned(q + 1000));
    ed_arena_rewind(a, m);
    assert_true(!__asan_address_is_poisoned(p) && __asan_address_is_poisoned(q) && __asan_address_is_poisoned(q + 1000));
    ed_arena_reset(a);
    assert_true(__asan_address_is_poisoned(p));
    ed_arena_destroy(&a);
    p = ed__malloc(8);
    assert_true(__asan_address_is_poisoned(p - 1) && __asan_address_is_poisoned(p + 8));
    ed__free(p);
#else
    skip();
#endif
}

static int no_leak(void **state) {
    (void)state;
    return ed__mem_blocks() == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_counts, no_leak), cmocka_unit_test_teardown(test_cap, no_leak),
                                       cmocka_unit_test_teardown(test_memory_failure, no_leak), cmocka_unit_test_teardown(test_model, no_leak),
                                       cmocka_unit_test_teardown(test_strdup, no_leak), cmocka_unit_test_teardown(test_poison, no_leak)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
