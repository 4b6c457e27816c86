/* cli/roofline.c - measured limits of the machine: memory read bandwidth and peak rate of f32 multiply-adds, with the pool's threads and the CPU level in use. */
#include "bench.h"
#include "cli.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { STREAMS = 4, READ_PASSES = 6, FMA_PASSES = 4, FMA_ROUNDS = 1 << 20 };
static const size_t READ_BYTES = (size_t)256 << 20;

/* ------------------------------------------------------------------ reading */

/** Sum of n words, read as several streams at once: one stream alone does not keep enough cache lines in flight. n is a multiple of 8 * STREAMS. */
static uint64_t sum_words(const uint64_t *w, size_t n) {
    uint64_t s[8] = {0};
    size_t part = n / STREAMS;
    for (size_t i = 0; i < part; i += 8)
        for (size_t p = 0; p < STREAMS; p++)
            for (size_t k = 0; k < 8; k++)
                s[k] += w[p * part + i + k];
    uint64_t sum = 0;
    for (int k = 0; k < 8; k++)
        sum += s[k];
    return sum;
}

static double read_pass(const uint64_t *w, size_t words, int threads, uint64_t *sink) {
    size_t part = words / (size_t)threads / (8 * STREAMS) * (8 * STREAMS);
    uint64_t sum = 0;
    double start = ed_time_s();
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static, 1)
#endif
    for (int t = 0; t < threads; t++)
        sum += sum_words(w + (size_t)t * part, part);
    *sink += sum;
    return (double)(part * (size_t)threads * sizeof *w) / (ed_time_s() - start);
}

double cli_read_bandwidth(void) {
    uint64_t *w = malloc(READ_BYTES), sink = 0;
    double best = 0;
    if (!w)
        return 0;
    for (size_t i = 0; i < READ_BYTES / sizeof *w; i++)
        w[i] = i;
    for (int pass = 0; pass < READ_PASSES; pass++) {
        double rate = read_pass(w, READ_BYTES / sizeof *w, ed_threads_get(), &sink);
        best = rate > best ? rate : best;
    }
    free(w);
    return sink == 1 ? 0 : best; /* the sum is used, so that no pass can be left out */
}

/* ------------------------------------------------------------------ multiply-adds */

#if defined(__x86_64__)

/** 12 chains of fused multiply-adds hide the latency of two units. Returns a number that depends on all of them. */
__attribute__((target("avx512f"))) static float chains_avx512(int rounds) {
    __m512 a[12], x = _mm512_set1_ps(0.999999f), y = _mm512_set1_ps(1e-6f);
    for (int i = 0; i < 12; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++)
            a[i] = _mm512_fmadd_ps(a[i], x, y);
    for (int i = 1; i < 12; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    float out[16];
    _mm512_storeu_ps(out, a[0]);
    return out[0];
}

__attribute__((target("avx2,fma"))) static float chains_avx2(int rounds) {
    __m256 a[12], x = _mm256_set1_ps(0.999999f), y = _mm256_set1_ps(1e-6f);
    for (int i = 0; i < 12; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < 12; i++)
            a[i] = _mm256_fmadd_ps(a[i], x, y);
    for (int i = 1; i < 12; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    float out[8];
    _mm256_storeu_ps(out, a[0]);
    return out[0];
}

double cli_peak_flops(void) {
    bool wide = ed_cpu_get() >= ED_CPU_AVX512;
    int threads = ed_threads_get();
    double best = 0, flops = 2.0 * 12 * (wide ? 16 : 8) * FMA_ROUNDS * threads, sink = 0;
    if (ed_cpu_get() < ED_CPU_AVX2)
        return 0;
    for (int pass = 0; pass < FMA_PASSES; pass++) {
        double start = ed_time_s();
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : sink) schedule(static, 1)
#endif
        for (int t = 0; t < threads; t++)
            sink += (double)(wide ? chains_avx512(FMA_ROUNDS) : chains_avx2(FMA_ROUNDS));
        double rate = flops / (ed_time_s() - start);
        best = rate > best ? rate : best;
    }
    return sink == -1 ? 0 : best;
}

#else

double cli_peak_flops(void) {
    return 0;
}

#endif
