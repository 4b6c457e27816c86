/* tests/unit/test_base_thread.c - ranges cover [0,n) once, keep their grain, and give the same numbers for any thread count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/internal.h"

enum { MOST = 5000 };

typedef struct cover {
    atomic_int seen[MOST];
    atomic_int calls;
    atomic_llong shortest, longest;
} cover;

static cover c;

static void note_range(void *ctx, int64_t begin, int64_t end) {
    cover *v = ctx;
    long long n = end - begin;
    atomic_fetch_add(&v->calls, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&v->seen[i], 1);
    for (long long old = atomic_load(&v->shortest); n < old && !atomic_compare_exchange_weak(&v->shortest, &old, n);)
        ;
    for (long long old = atomic_load(&v->longest); n > old && !atomic_compare_exchange_weak(&v->longest, &old, n);)
        ;
}

static void run_cover(int64_t n, int64_t grain) {
    for (int i = 0; i < MOST; i++)
        atomic_store(&c.seen[i], 0);
    atomic_store(&c.calls, 0);
    atomic_store(&c.shortest, INT64_MAX);
    atomic_store(&c.longest, 0);
    ed__parallel_for(n, grain, note_range, &c);
    for (int64_t i = 0; i < MOST; i++)
        assert_int_equal(atomic_load(&c.seen[i]), i < n);
}

static void test_ranges(void **state) {
    static const int THREADS[] = {1, 2, 3, 7};
    static const int64_t SIZES[] = {0, 1, 2, 7, 64, 65, 1000, 4999, 5000}, GRAINS[] = {-1, 0, 1, 16, 999, 10000};
    (void)state;
    for (int t = 0; t < 4; t++) {
        ed_threads_set(THREADS[t]);
        assert_int_equal(ed_threads_get(), THREADS[t]);
        for (int s = 0; s < 9; s++) {
            for (int g = 0; g < 6; g++) {
                run_cover(SIZES[s], GRAINS[g]);
                int calls = atomic_load(&c.calls);
                assert_true(calls <= THREADS[t] && (calls > 0) == (SIZES[s] > 0));
                if (SIZES[s] <= GRAINS[g] && SIZES[s] > 0)
                    assert_int_equal(calls, 1);
                if (calls > 1)
                    assert_true(atomic_load(&c.shortest) >= GRAINS[g] && atomic_load(&c.longest) - atomic_load(&c.shortest) <= 1);
            }
        }
    }
    ed_threads_set(0);
    assert_true(ed_threads_get() >= 1);
    int standard = ed_threads_get();
    ed_threads_set(-5);
    assert_int_equal(ed_threads_get(), standard);
    ed_threads_set(1 << 30);
    assert_true(ed_threads_get() <= 1024);
    ed_threads_set(0);
}

/* Counter-based noise per item: the split must not show. */
static void fill_noise(void *ctx, int64_t begin, int64_t end) {
    double *out = ctx;
    for (int64_t i = begin; i < end; i++) {
        ed_rng r = ed_rng_make(1, 0);
        r.position = (uint64_t)i;
        out[i] = ed_rng_normal(&r);
    }
}

static void test_same_numbers(void **state) {
    static double one[MOST], many[MOST];
    (void)state;
    ed_threads_set(1);
    ed__parallel_for(MOST, 1, fill_noise, one);
    for (int t = 2; t <= 7; t++) {
        memset(many, 0, sizeof many);
        ed_threads_set(t);
        ed__parallel_for(MOST, 1, fill_noise, many);
        assert_memory_equal(one, many, sizeof one);
    }
    ed_threads_set(0);
}

static void count_inner(void *ctx, int64_t begin, int64_t end) {
    atomic_llong *inner_calls = ctx;
    (void)begin;
    (void)end;
    atomic_fetch_add(inner_calls, 1);
}

static void call_inner(void *ctx, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        ed__parallel_for(100, 1, count_inner, ctx); /* runs inline: one call each */
}

static void test_nested(void **state) {
    atomic_llong inner_calls = 0;
    (void)state;
#ifndef ED_HAVE_OPENMP
    skip();
#endif
    ed_threads_set(3);
    ed__parallel_for(30, 1, call_inner, &inner_calls);
    assert_int_equal(atomic_load(&inner_calls), 30);
    ed_threads_set(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranges), cmocka_unit_test(test_same_numbers), cmocka_unit_test(test_nested)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
