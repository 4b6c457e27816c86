/* bench_kernels - speed of the matrix products and kernels on this machine, in one run: GFLOP/s of ed__gemm_f32 (own kernels, f32 as training takes
 * it, bf16), GB/s of packed weights beside the read bandwidth measured over the same amount of memory, nanoseconds of small calls.
 *
 *     bench_kernels [--threads N] [--cpu-time] [--json FILE]
 *
 * Times are the best of several repeats. Neighbours on the same machine show: run it when the machine is quiet, or with --cpu-time, which takes one
 * thread and its processor time instead of the wall clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/internal.h"
#include "tensor/kernel.h"

static FILE *json;
static int rows_written;
static bool cpu_time;

static double now(void) {
    struct timespec t;
    if (!cpu_time || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
        return ed_time_s();
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One result to the terminal and to the JSON list. */
static void report(const char *name, const char *what, double value, const char *unit) {
    printf("%-28s %-22s %10.2f %s\n", name, what, value, unit);
    fflush(stdout);
    if (json)
        fprintf(json, "%s\n  {\"name\": \"%s\", \"what\": \"%s\", \"value\": %.4g, \"unit\": \"%s\"}", rows_written++ ? "," : "", name, what, value, unit);
}

typedef void (*work_fn)(void *ctx);
/* Seconds of the fastest of at least 5 calls and `span` seconds. */
static double best_of(double span, work_fn fn, void *ctx) {
    double best = 1e30, end = now() + span;
    fn(ctx);
    for (int i = 0; i < 5 || (now() < end && i < 100000); i++) {
        double t = now();
        fn(ctx);
        t = now() - t;
        best = t < best ? t : best;
    }
    return best;
}

static float *numbers(int64_t n) {
    float *x = ed__malloc((size_t)n * sizeof(float));
    if (!x) {
        fprintf(stderr, "bench_kernels: no memory for %lld numbers\n", (long long)n);
        exit(3);
    }
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(i * 37 % 101) / 50.0f - 1.0f;
    return x;
}

/* ---- products */

static void run_gemm(void *ctx) {
    ed__gemm_f32(ctx);
}
static void bench_product(int64_t m, int64_t n, int64_t k, bool b_transposed, const char *note) {
    float *a = numbers(m * k), *b = numbers(k * n), *c = numbers(m * n);
    ed__gemm_args g = {m, n, k, a, k, 1, b, b_transposed ? 1 : n, b_transposed ? k : 1, c, n, false, false, false, NULL};
    char name[64];
    double gflop = 2e-9 * (double)m * (double)n * (double)k;
    snprintf(name, sizeof name, "gemm %lldx%lldx%lld%s", (long long)m, (long long)n, (long long)k, note);
    g.strict = true;
    report(name, "own f32", gflop / best_of(0.1, run_gemm, &g), "GFLOP/s");
    g.strict = false;
    report(name, "f32", gflop / best_of(0.1, run_gemm, &g), "GFLOP/s");
    g.bf16 = true;
    report(name, "bf16", gflop / best_of(0.1, run_gemm, &g), "GFLOP/s");
    ed__free(a);
    ed__free(b);
    ed__free(c);
}

/* The products of a training step on 4096 tokens of width 128 (hidden width 512, 6000 words): milliseconds in f32 and with operands rounded to bf16. */
static void bench_training(void) {
    static const struct {
        const char *name;
        int64_t m, n, k;
        bool a_transposed, b_transposed;
    } SHAPES[] = {{"x W^T 128 to 128", 4096, 128, 128, false, true},        {"x W^T 128 to 512", 4096, 512, 128, false, true},
                  {"x W^T 512 to 128", 4096, 128, 512, false, true},        {"dx = dy W 128 to 128", 4096, 128, 128, false, false},
                  {"dx = dy W 512 to 128", 4096, 128, 512, false, false},   {"dW = dy^T x 128x128", 128, 128, 4096, true, false},
                  {"dW = dy^T x 512x128", 512, 128, 4096, true, false},     {"dW = dy^T x 128x512", 128, 512, 4096, true, false},
                  {"logits x W^T 128 to 6000", 4096, 6000, 128, false, true}, {"dx = dy W 6000 to 128", 4096, 128, 6000, false, false},
                  {"dW = dy^T x 6000x128", 6000, 128, 4096, true, false}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        int64_t m = SHAPES[i].m, n = SHAPES[i].n, k = SHAPES[i].k;
        bool at = SHAPES[i].a_transposed, bt = SHAPES[i].b_transposed;
        float *a = numbers(m * k), *b = numbers(k * n), *c = numbers(m * n);
        ed__gemm_args g = {m, n, k, a, at ? 1 : k, at ? m : 1, b, bt ? 1 : n, bt ? k : 1, c, n, false, false, false, NULL};
        double f32 = best_of(0.1, run_gemm, &g);
        report(SHAPES[i].name, "f32", 1e3 * f32, "ms");
        g.bf16 = true;
        double bf16 = best_of(0.1, run_gemm, &g);
        char what[64];
        snprintf(what, sizeof what, "bf16 (%.1f times)", f32 / bf16);
        report(SHAPES[i].name, what, 1e3 * bf16, "ms");
        ed__free(a);
        ed__free(b);
        ed__free(c);
    }
}

/* ---- packed weights: COPIES matrices read in turn, so that no cache holds the next one */

enum { COPIES = 6, OUT = 4096, IN = 4096 };
static const int64_t WORDS = (int64_t)OUT * IN / 2; /* of one copy */
typedef struct stream {
    ed__packed *w[COPIES];
    int64_t m;
    float *x, *y;
    const uint64_t *bytes; /* roofline: plain memory of the same size */
    int next;              /* copy to read */
    uint64_t sums[64];
} stream;

static void run_packed(void *ctx) {
    stream *s = ctx;
    s->next = (s->next + 1) % COPIES;
    ed__packed_linear(s->w[s->next], s->m, s->x, IN, s->y, OUT, false);
}
/* Reads blocks of 2 MiB, each as 4 streams at once: one stream alone does not keep enough lines in flight. */
enum { BLOCK_WORDS = 262144, STREAMS = 4, STREAM_WORDS = BLOCK_WORDS / STREAMS };
static void read_range(void *ctx, int64_t begin, int64_t end) {
    stream *s = ctx;
    const uint64_t *w = s->bytes + s->next * WORDS;
    uint64_t sum[8] = {0};
    for (int64_t block = begin; block < end; block++)
        for (int64_t i = 0; i < STREAM_WORDS; i += 8)
            for (int64_t p = 0; p < STREAMS; p++) {
                const uint64_t *at = w + block * BLOCK_WORDS + p * STREAM_WORDS + i;
                __builtin_prefetch((const void *)((uintptr_t)at + 2048));
                for (int j = 0; j < 8; j++)
                    sum[j] += at[j];
            }
    for (int j = 1; j < 8; j++)
        sum[0] += sum[j];
    s->sums[begin % 64] = sum[0];
}
static void run_read(void *ctx) {
    stream *s = ctx;
    s->next = (s->next + 1) % COPIES;
    ed__parallel_for(WORDS / BLOCK_WORDS, 1, read_range, ctx);
}
static void bench_packed(ed_dtype dtype, const char *name, double roof) {
    stream s = {.x = numbers(16 * IN), .y = numbers(16 * OUT)};
    float *w = numbers((int64_t)OUT * IN);
    uint16_t *w16 = ed__malloc(sizeof(uint16_t) * OUT * IN);
    if (!w16)
        exit(3);
    ed__kernels()->f32_to_bf16(w, w16, (int64_t)OUT * IN);
    double bytes = 0;
    for (int i = 0; i < COPIES; i++) {
        if (ed__packed_create(dtype, OUT, IN, dtype == ED_DTYPE_BF16 ? (void *)w16 : w, IN, 1, &s.w[i]) != ED_OK)
            exit(3);
        bytes = (double)ed__packed_bytes(s.w[i]);
    }
    for (s.m = 1; s.m <= 16; s.m *= 2) {
        double t = best_of(0.5, run_packed, &s);
        char what[64];
        snprintf(what, sizeof what, "m = %lld (%.0f %% of roof)", (long long)s.m, 100e-9 * bytes / t / roof);
        report(name, what, 1e-9 * bytes / t, "GB/s");
    }
    for (int i = 0; i < COPIES; i++)
        ed__packed_destroy(&s.w[i]);
    ed__free(w);
    ed__free(w16);
    ed__free(s.x);
    ed__free(s.y);
}

static double bench_read(void) {
    stream s = {0};
    uint64_t *bytes = ed__malloc((size_t)(COPIES * WORDS) * 8);
    if (!bytes)
        exit(3);
    memset(bytes, 1, (size_t)(COPIES * WORDS) * 8);
    s.bytes = bytes;
    double roof = 1e-9 * (double)WORDS * 8 / best_of(1.0, run_read, &s);
    report("read bandwidth", "roof", roof, "GB/s");
    ed__free(bytes);
    return roof;
}

/* ---- small calls and elementwise functions */

static void run_small(void *ctx) {
    for (int i = 0; i < 1000; i++)
        ed__gemm_f32(ctx);
}
static void bench_small(int64_t size) {
    float *a = numbers(size * size), *b = numbers(size * size), *c = numbers(size * size);
    ed__gemm_args g = {size, size, size, a, size, 1, b, 1, size, c, size, false, true, false, NULL};
    char name[64];
    snprintf(name, sizeof name, "gemm %lldx%lldx%lld", (long long)size, (long long)size, (long long)size);
    report(name, "one call", 1e6 * best_of(0.02, run_small, &g), "ns");
    ed__free(a);
    ed__free(b);
    ed__free(c);
}

enum { SPAN = 4096 };
typedef struct elementwise {
    int kind;
    float *x, *y;
} elementwise;
static void run_unary(void *ctx) {
    elementwise *e = ctx;
    for (int i = 0; i < 50; i++)
        ed__kernels()->unary(e->kind, 0.01, e->x, e->y, SPAN);
}
static void bench_unary(void) {
    static const int KINDS[] = {ED_EXP, ED_LOG1P, ED_TANH, ED_SIGMOID, ED_SILU, ED_ERF, ED_GELU_TANH, ED_GELU_ERF, ED_SIN};
    elementwise e = {0, numbers(SPAN), numbers(SPAN)};
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        e.kind = KINDS[i];
        report(ed_unary_name((ed_unary)e.kind), "one thread", 1e-6 * 50 * SPAN / best_of(0.02, run_unary, &e), "M/s");
    }
    ed__free(e.x);
    ed__free(e.y);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
            json = fopen(argv[++i], "w");
        } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            ed_threads_set((int)strtol(argv[++i], NULL, 10));
        } else if (strcmp(argv[i], "--cpu-time") == 0) {
            cpu_time = true;
            ed_threads_set(1);
        } else {
            fprintf(stderr, "usage: bench_kernels [--threads N] [--cpu-time] [--json FILE]\n");
            return 2;
        }
    }
    printf("level %s, %d threads\n", ed_cpu_name(ed_cpu_get()), ed_threads_get());
    if (json)
        fprintf(json, "[\n  {\"name\": \"machine\", \"level\": \"%s\", \"threads\": %d},", ed_cpu_name(ed_cpu_get()), ed_threads_get());
    double roof = bench_read();
    bench_packed(ED_DTYPE_F32, "packed f32 4096x4096", roof);
    bench_packed(ED_DTYPE_BF16, "packed bf16 4096x4096", roof);
    static const int64_t SQUARES[] = {256, 512, 1024, 2048};
    for (int i = 0; i < 4; i++)
        bench_product(SQUARES[i], SQUARES[i], SQUARES[i], false, "");
    bench_product(4096, 128, 512, true, " W^T");
    bench_product(4096, 512, 128, true, " W^T");
    bench_product(128, 512, 4096, false, " (dW)");
    bench_training();
    bench_small(4);
    bench_small(16);
    bench_small(64);
    bench_unary();
    if (json) {
        fprintf(json, "\n]\n");
        if (fclose(json) != 0) {
            fprintf(stderr, "bench_kernels: the JSON file could not be written\n");
            return 4;
        }
    }
    return 0;
}
