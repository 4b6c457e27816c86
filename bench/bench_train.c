/* bench/bench_train.c - training speed of an encoder-decoder on fixed random batches: seconds per step (median of runs), tokens/s, GFLOP/s and memory.
 * The same model, batch and optimiser as bench/peers/torch_train.py; bench/train_vs_torch.sh runs both in turn and prints the ratio.
 *
 *   bench_train [--bf16] [--size tiny|small] [--runs 5] [--steps 5] [--json FILE] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endec/report.h"
#include "endec/train.h"

enum { BATCH = 128, LEN = 32, MAX_RUNS = 50 };

typedef struct setup {
    const char *size;
    int64_t d, ff, heads, layers, vocab;
} setup;
static const setup sizes[] = {{"tiny", 128, 256, 4, 4, 6000}, {"small", 256, 1024, 4, 6, 8000}};

typedef struct fixed {
    int32_t src[BATCH * LEN], tgt[BATCH * LEN], targets[BATCH * LEN];
    float weights[BATCH * LEN];
} fixed;

static ed_status batch(void *self, int64_t step, int64_t micro, ed_arena *arena, ed_batch *out, ed_error *err) {
    fixed *f = self;
    (void)step, (void)micro, (void)arena, (void)err;
    *out = (ed_batch){.src = {.batch = BATCH, .len = LEN, .ids = f->src}, .tgt = {.batch = BATCH, .len = LEN, .ids = f->tgt}, .targets = f->targets,
                      .weights = f->weights, .weight = BATCH * LEN, .tokens = 2 * BATCH * LEN, .padded = 2 * BATCH * LEN};
    return ED_OK;
}

static void die(const ed_error *err) {
    fprintf(stderr, "bench_train: %s\n", err->message);
    exit(1);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static ed_model *make_model(const setup *s) {
    ed_model_config c = ed_model_config_default();
    ed_model *m;
    ed_error err = {0};
    c.d_model = s->d, c.d_ff = s->ff, c.n_heads = s->heads, c.encoder_layers = c.decoder_layers = s->layers, c.vocab_size = s->vocab, c.dropout = 0.1;
    c.pad_id = 0, c.eos_id = c.decoder_start_id = 1, c.position_offset = 1;
    if (ed_model_create(&c, ED_DTYPE_F32, 1, &m, &err) != ED_OK)
        die(&err);
    return m;
}

static fixed *make_data(const setup *s) {
    fixed *f = malloc(sizeof *f);
    ed_rng r = ed_rng_make(1, 0);
    for (int i = 0; f && i < BATCH * LEN; i++) {
        f->src[i] = (int32_t)(2 + ed_rng_below(&r, (uint64_t)s->vocab - 2));
        f->tgt[i] = (int32_t)(2 + ed_rng_below(&r, (uint64_t)s->vocab - 2));
        f->targets[i] = (int32_t)(2 + ed_rng_below(&r, (uint64_t)s->vocab - 2));
        f->weights[i] = 1;
    }
    return f;
}

int main(int argc, char **argv) {
    const setup *s = &sizes[1];
    int runs = 5, steps = 5;
    const char *json = NULL;
    ed_train_opts o = ed_train_opts_default();
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bf16"))
            o.bf16 = true;
        else if (!strcmp(argv[i], "--size") && i + 1 < argc)
            s = &sizes[strcmp(argv[++i], "tiny") != 0];
        else if (!strcmp(argv[i], "--runs") && i + 1 < argc)
            runs = (int)strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--steps") && i + 1 < argc)
            steps = (int)strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--json") && i + 1 < argc)
            json = argv[++i];
    }
    runs = runs < 1 ? 1 : runs > MAX_RUNS ? MAX_RUNS : runs;
    steps = steps < 1 ? 1 : steps;
    ed_model *m = make_model(s);
    fixed *data = make_data(s);
    ed_source source = {.batch = batch, .self = data};
    ed_objective obj = ed_objective_next_token();
    ed_trainer *t;
    ed_error err = {0};
    double time[MAX_RUNS], loss = 0, flops = 0;
    o.steps = 1 << 20, o.label_smoothing = 0.1, o.warmup_steps = 100;
    if (!data || ed_trainer_create(m, &obj, &source, NULL, &o, NULL, &t, &err) != ED_OK)
        die(&err);
    for (int r = -1; r < runs; r++) { /* run -1 warms up */
        double start = ed_time_s();
        for (int i = 0; i < steps; i++)
            if (ed_trainer_step(t, &loss, &err) != ED_OK)
                die(&err);
        if (r >= 0)
            time[r] = (ed_time_s() - start) / steps;
        flops = ed_trainer_counters(t).flops;
    }
    qsort(time, (size_t)runs, sizeof *time, by_value);
    double med = time[runs / 2];
    char machine[256], line[1024];
    snprintf(line, sizeof line,
             "{\"engine\": \"endec %s\", \"size\": \"%s\", \"bf16\": %s, \"seconds_per_step\": %.5f, \"fastest\": %.5f, \"slowest\": %.5f, "
             "\"tokens_per_second\": %.1f, \"forward_gflop\": %.2f, \"peak_mib\": %.1f, \"loss\": %.4f, \"machine\": \"%s\"}\n",
             ed_version(), s->size, o.bf16 ? "true" : "false", med, time[0], time[runs - 1], 2.0 * BATCH * LEN / med, 1e-9 * flops,
             (double)ed_peak_rss_bytes() / 1048576.0, loss, ed_machine_text(machine, sizeof machine));
    fputs(line, stdout);
    FILE *f = json ? fopen(json, "w") : NULL;
    if (f) {
        fputs(line, f);
        fclose(f);
    }
    ed_trainer_destroy(&t);
    ed_model_destroy(&m);
    free(data);
    return 0;
}
