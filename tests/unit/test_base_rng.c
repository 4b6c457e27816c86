/* tests/unit/test_base_rng.c - Philox against the published known-answer vectors (Random123), laws against high-precision values and moments. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/internal.h"

static void test_known_answers(void **state) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } KAT[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ed_philox((ed_rng_key){{KAT[i].key[0], KAT[i].key[1]}}, KAT[i].counter, out);
        assert_memory_equal(out, KAT[i].out, sizeof out);
    }
}

static void test_keys(void **state) {
    (void)state;
    ed_rng_key k = ed_rng_key_make(42, 7), high = ed_rng_key_make(42 | (uint64_t)1 << 40, 7);
    assert_true(k.k[0] == 42 && k.k[1] == 7);
    assert_true(high.k[0] == 42 && high.k[1] != 7); /* the high half of the seed counts */
}

static void test_cursor(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(3, 1), fork;
    uint32_t out[4];
    ed_philox(r.key, (uint32_t[4]){0, 0, 0, 0}, out);
    assert_int_equal(ed_rng_u64(&r), (uint64_t)out[0] << 32 | out[1]);
    assert_int_equal(ed_rng_u64(&r), (uint64_t)out[2] << 32 | out[3]);
    ed_philox(r.key, (uint32_t[4]){1, 0, 0, 0}, out);
    fork = r;
    assert_int_equal(ed_rng_u64(&r), (uint64_t)out[0] << 32 | out[1]);
    assert_int_equal(r.position, 3);
    assert_int_equal(ed_rng_u64(&fork), (uint64_t)out[0] << 32 | out[1]);
    r.position = ((uint64_t)5 << 33) + 1; /* random access, past 32 bits of blocks */
    ed_philox(r.key, (uint32_t[4]){0, 5, 0, 0}, out);
    assert_int_equal(ed_rng_u64(&r), (uint64_t)out[2] << 32 | out[3]);
}

static void test_uniform_edges(void **state) {
    (void)state;
    assert_true(ed_uniform_f32(0) == 0x1p-24f && ed_uniform_f32(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(ed_uniform_f64(0, 0) == 0x1p-53 && ed_uniform_f64(UINT32_MAX, UINT32_MAX) == 1.0 - 0x1p-53);
    assert_true(ed_uniform_f32(0x80000000u) == 0.5f + 0x1p-24f);
}

/* Values from 40-digit arithmetic. */
static void test_normal_quantiles(void **state) {
    static const double Q[][2] = {{0.5001, 0.00025066283008800749239}, {0.6, 0.25334710313579974132},    {0.07499, -1.4396021182393162092},
                                  {0.075, -1.4395314709384559349},     {0.0751, -1.4388253927525399824}, {0.925, 1.4395314709384562291},
                                  {0.975, 1.9599639845400538556},      {0.99, 2.3263478740408407676},    {0.001, -3.0902323061678135354},
                                  {1e-5, -4.2648907939228246102},      {1e-10, -6.3613409024040561991},  {1.4e-11, -6.6567230915181836356},
                                  {1.3e-11, -6.6676114565107408347},   {1e-16, -8.2220822161304356152},  {0x1p-53, -8.2095361516013868556},
                                  {1e-50, -14.933337534788488981},     {1e-300, -37.047096299361199237}, {1.0 - 0x1p-53, 8.2095361516013868556}};
    double worst = 0;
    (void)state;
    for (size_t i = 0; i < sizeof Q / sizeof *Q; i++)
        worst = fmax(worst, fabs(ed_normal_icdf(Q[i][0]) / Q[i][1] - 1.0));
    assert_true(worst < 2e-14);
    assert_true(ed_normal_icdf(0.5) == 0.0);
    assert_true(ed_normal_icdf(0.0) == -INFINITY && ed_normal_icdf(1.0) == INFINITY);
    assert_true(isnan(ed_normal_icdf(-0.1)) && isnan(ed_normal_icdf(1.1)) && isnan(ed_normal_icdf(NAN)));
    for (double u = 1e-12; u < 0.5; u *= 1.01) { /* inverse of the error function of the C library, on a dense grid */
        double x = ed_normal_icdf(u), back = 0.5 * erfc(-x / sqrt(2.0));
        double slope = exp(-0.5 * x * x) / sqrt(8.0 * atan(1.0));
        assert_true(fabs(back - u) / slope < 1e-9 * fmax(fabs(x), 1e-3));
        double upper = 1.0 - u; /* its distance to 1 is exact, so the two tails must mirror each other to the bit */
        assert_true(ed_normal_icdf(upper) == -ed_normal_icdf(1.0 - upper));
    }
}

static void test_log(void **state) {
    double worst = 0;
    (void)state;
    for (double x = 1e-307; x < 1e307; x *= 1.0137)
        worst = fmax(worst, fabs(ed__log(x) - log(x)) / fmax(fabs(log(x)), 1e-300));
    for (double x = 0.5; x < 2.0; x += 0.00137)
        worst = fmax(worst, fabs(ed__log(x) - log(x)) / fmax(fabs(log(x)), 1e-300));
    assert_true(worst < 4e-16);
    assert_true(ed__log(1.0) == 0.0 && ed__log(0.0) == -INFINITY && ed__log(INFINITY) == INFINITY);
    assert_true(isnan(ed__log(-1.0)) && isnan(ed__log(NAN)));
    assert_true(fabs(ed__log(5e-324) + 744.44007192138126231) < 1e-12);
    assert_true(fabs(ed__log(1.7976931348623157e308) - 709.78271289338399673) < 1e-12);
}

static void check_moments(double (*draw)(ed_rng *), double mean, double var) {
    enum { N = 100000 };
    ed_rng r = ed_rng_make(11, 2);
    double s = 0, s2 = 0;
    for (int i = 0; i < N; i++) {
        double x = draw(&r);
        s += x;
        s2 += x * x;
    }
    assert_true(fabs(s / N - mean) < 5 * sqrt(var / N));
    assert_true(fabs(s2 / N - s / N * (s / N) - var) < 0.04 * var);
    assert_int_equal(r.position, N);
}

static void test_laws(void **state) {
    (void)state;
    check_moments(ed_rng_uniform, 0.5, 1.0 / 12);
    check_moments(ed_rng_normal, 0, 1);
    check_moments(ed_rng_exponential, 1, 1);
    check_moments(ed_rng_gumbel, 0.57721566490153286, 1.6449340668482264);
}

static void test_below(void **state) {
    enum { N = 70000, CELLS = 7 };
    int count[CELLS] = {0};
    ed_rng r = ed_rng_make(1, 0);
    double chi2 = 0;
    (void)state;
    for (int i = 0; i < N; i++)
        count[ed_rng_below(&r, CELLS)]++;
    for (int i = 0; i < CELLS; i++)
        chi2 += (count[i] - N / CELLS) * (double)(count[i] - N / CELLS) / (N / CELLS);
    assert_true(chi2 < 22.5); /* 0.999 quantile of chi-square with 6 degrees of freedom */
    assert_int_equal(ed_rng_below(&r, 1), 0);
    /* n = 3 * 2^62: without redrawing, the lowest third of results would come twice as often as it should */
    int low = 0;
    for (int i = 0; i < N; i++) {
        uint64_t n = (uint64_t)3 << 62, x = ed_rng_below(&r, n);
        assert_true(x < n);
        low += x % 3 == 0;
    }
    assert_true(abs(low - N / 3) < 700);
    for (uint64_t n = 1; n < 1000; n++)
        assert_true(ed_rng_below(&r, n) < n);
}

static void test_shuffle(void **state) {
    int seen[6] = {0};
    ed_rng r = ed_rng_make(9, 0);
    (void)state;
    for (int i = 0; i < 6000; i++) {
        int64_t v[3] = {0, 1, 2};
        ed_rng_shuffle(&r, v, 3);
        assert_true(v[0] != v[1] && v[0] != v[2] && v[1] != v[2]);
        seen[v[0] * 2 + (v[1] > v[2])]++;
    }
    for (int i = 0; i < 6; i++)
        assert_true(seen[i] > 850 && seen[i] < 1150);
    ed_rng_shuffle(&r, NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known_answers),    cmocka_unit_test(test_keys),   cmocka_unit_test(test_cursor),
                                       cmocka_unit_test(test_uniform_edges),    cmocka_unit_test(test_normal_quantiles),
                                       cmocka_unit_test(test_log),              cmocka_unit_test(test_laws),
                                       cmocka_unit_test(test_below),            cmocka_unit_test(test_shuffle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
