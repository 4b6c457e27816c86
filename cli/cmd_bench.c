/* cli/cmd_bench.c - endec bench: tokens per second of prefill, decoding or training on random tokens, beside what the machine could do.
 *
 * Every run is listed and the median is the result. Decoding is held against memory: each pass reads all weights of the decoder once. Prefill and training are held
 * against arithmetic: two operations a weight and row forward, three times that with the backward pass (attention's own products are not counted). */
#include <math.h>

#include "bench.h"
#include "cli.h"
#include "endec/report.h"
#include "endec/train.h"

enum { MAX_RUNS = 1000 };

typedef struct bench_opts {
    char *model, *json;
    int64_t runs, batch, length, tokens, warmup;
    int dtype;
} bench_opts;

#define FIELD(f) offsetof(bench_opts, f)
static const ed_option table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "PATH", "model folder or llama2.c file", 'm'},
    {"runs", ED_OPT_INT, FIELD(runs), 1, MAX_RUNS, NULL, "N", "timed runs; the median is the result", 'r'},
    {"warmup", ED_OPT_INT, FIELD(warmup), 0, MAX_RUNS, NULL, "N", "runs before them that do not count", 0},
    {"batch", ED_OPT_INT, FIELD(batch), 1, 4096, NULL, "B", "sequences side by side", 'b'},
    {"length", ED_OPT_INT, FIELD(length), 1, 1 << 20, NULL, "L", "tokens of each prompt, source or training row", 'l'},
    {"new_tokens", ED_OPT_INT, FIELD(tokens), 2, 1 << 20, NULL, "N", "decode: tokens made for each prompt", 'n'},
    {"dtype", ED_OPT_ENUM, FIELD(dtype), 0, 0, cli_dtype_names, "TYPE", "number format of the weights in memory: stored, f32, bf16 or f16", 0},
    {"json", ED_OPT_STRING, FIELD(json), 0, 0, NULL, "FILE", "write the result as JSON as well ('-': in place of the text)", 0},
};

typedef enum bench_kind { BENCH_PREFILL, BENCH_DECODE, BENCH_TRAIN, BENCH_KINDS } bench_kind;
static const char *const kind_names[BENCH_KINDS] = {"prefill", "decode", "train"};

typedef struct bench {
    const bench_opts *opts;
    bench_kind kind;
    ed_model *model;
    int32_t *ids; /* [batch, length] */
    double runs[MAX_RUNS]; /* tokens per second */
    double limit, share;   /* measured limit (bytes/s or operations/s; 0 = none) and the median's part of it */
    double work;           /* bytes or operations per token */
    size_t peak_bytes;     /* before the machine's limits were measured */
} bench;

/* ------------------------------------------------------------------ the three measurements: each gives tokens per second of one run */

static ed_status run_encoder(const bench *b, double *rate, ed_error *err) {
    ed_graph *g;
    ed_rows rows = {.batch = b->opts->batch, .len = b->opts->length, .ids = b->ids};
    if (ed_graph_create(NULL, &g) != ED_OK)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a graph");
    double start = ed_time_s();
    ed_model_encode(b->model, g, &rows);
    *rate = (double)(rows.batch * rows.len) / (ed_time_s() - start);
    ed_status s = ed_graph_status(g, err);
    ed_graph_destroy(&g);
    return s;
}

static ed_status run_generate(const bench *b, int64_t new_tokens, ed_decode_stats *stats, ed_error *err) {
    int64_t n = b->opts->batch;
    char none[1] = "";
    ed_prompt *p = calloc((size_t)n, sizeof *p);
    ed_result *r = calloc((size_t)n, sizeof *r);
    ed_decode_opts o = ed_decode_opts_default();
    o.max_new_tokens = new_tokens;
    o.eos_token_id = none;
    o.batch_size = n;
    o.batch_tokens = n * b->opts->length;
    o.logprobs = false;
    ed_status s = p && r ? ED_OK : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %lld prompts", (long long)n);
    for (int64_t i = 0; s == ED_OK && i < n; i++)
        p[i] = (ed_prompt){.ids = b->ids + i * b->opts->length, .n = b->opts->length};
    if (s == ED_OK)
        s = ed_generate(b->model, p, n, &o, NULL, r, stats, err);
    for (int64_t i = 0; r && i < n; i++)
        ed_result_deinit(&r[i]);
    free(p);
    free(r);
    return s;
}

static ed_status run_prefill(const bench *b, double *rate, ed_error *err) {
    ed_decode_stats stats = {0};
    if (ed_model_get_config(b->model)->kind != ED_MODEL_DECODER)
        return run_encoder(b, rate, err);
    CLI_TRY(run_generate(b, 1, &stats, err));
    *rate = stats.prefill_s > 0 ? (double)stats.prompt_rows / stats.prefill_s : 0;
    return ED_OK;
}

static ed_status run_decode(const bench *b, double *rate, ed_error *err) {
    ed_decode_stats stats = {0};
    CLI_TRY(run_generate(b, b->opts->tokens, &stats, err));
    int64_t steps = stats.new_tokens - b->opts->batch; /* the first token of each sequence belongs to the prompt's pass */
    *rate = stats.decode_s > 0 ? (double)steps / stats.decode_s : 0;
    return ED_OK;
}

/** A source that gives the same rows at every step. */
static ed_status same_batch(void *self, int64_t step, int64_t micro, ed_arena *arena, ed_batch *out, ed_error *err) {
    const bench *b = self;
    int64_t n = b->opts->batch * b->opts->length;
    bool pairs = ed_model_get_config(b->model)->kind == ED_MODEL_ENCDEC;
    float *weights = ed_arena_alloc(arena, (size_t)n * sizeof *weights);
    (void)step;
    (void)micro;
    if (!weights)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a batch");
    for (int64_t i = 0; i < n; i++)
        weights[i] = 1;
    ed_rows rows = {.batch = b->opts->batch, .len = b->opts->length, .ids = b->ids};
    *out = (ed_batch){.tgt = rows, .targets = b->ids, .weights = weights, .weight = (double)n, .tokens = pairs ? 2 * n : n, .padded = pairs ? 2 * n : n};
    if (pairs)
        out->src = rows;
    return ED_OK;
}

static ed_status run_train(const bench *b, ed_trainer *t, double *rate, ed_error *err) {
    bool pairs = ed_model_get_config(b->model)->kind == ED_MODEL_ENCDEC;
    double start = ed_time_s(), loss;
    CLI_TRY(ed_trainer_step(t, &loss, err));
    *rate = (double)(b->opts->batch * b->opts->length * (pairs ? 2 : 1)) / (ed_time_s() - start);
    return ED_OK;
}

static ed_status measure(bench *b, ed_trainer *t, ed_error *err) {
    for (int64_t i = -b->opts->warmup; i < b->opts->runs; i++) {
        double rate = 0;
        CLI_TRY(b->kind == BENCH_TRAIN ? run_train(b, t, &rate, err) : b->kind == BENCH_DECODE ? run_decode(b, &rate, err) : run_prefill(b, &rate, err));
        if (i >= 0)
            b->runs[i] = rate;
    }
    return ED_OK;
}

static ed_status measure_training(bench *b, ed_error *err) {
    ed_trainer *t;
    ed_objective o = ed_objective_next_token();
    ed_train_opts opts = ed_train_opts_default();
    ed_source source = {.batch = same_batch, .self = b};
    CLI_TRY(ed_trainer_create(b->model, &o, &source, NULL, &opts, NULL, &t, err));
    ed_status s = measure(b, t, err);
    ed_trainer_destroy(&t);
    return s;
}

/* ------------------------------------------------------------------ the limit */

static int by_value(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(const bench *b) {
    double sorted[MAX_RUNS];
    int64_t n = b->opts->runs;
    memcpy(sorted, b->runs, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

/** Bytes of one weight of the matrices. */
static double matrix_bytes(const ed_model *m) {
    const ed_params *p = ed_model_params(m);
    for (int64_t i = 0; i < ed_params_count(p); i++)
        if (ed_params_at(p, i)->rank == 2)
            return ed_params_at(p, i)->dtype == ED_DTYPE_BF16 || ed_params_at(p, i)->dtype == ED_DTYPE_F16 ? 2 : 4;
    return 4;
}

static void find_limit(bench *b) {
    ed_param_count n = ed_model_count(b->model);
    const ed_model_config *c = ed_model_get_config(b->model);
    b->peak_bytes = ed_peak_rss_bytes();
    double head = (double)(c->vocab_size * c->d_model), per_row;
    if (b->kind == BENCH_DECODE) {
        b->work = ((double)n.decoder + head) * matrix_bytes(b->model) / (double)b->opts->batch;
        b->limit = cli_read_bandwidth();
    } else {
        if (b->kind == BENCH_TRAIN) /* tokens of both sides are counted: half of them pass the encoder, half the decoder */
            per_row = c->kind == ED_MODEL_ENCDEC ? 3 * (double)(n.encoder + n.decoder) / 2 + 3 * head / 2 : 3 * ((double)n.decoder + head);
        else
            per_row = c->kind == ED_MODEL_DECODER ? (double)n.decoder : (double)n.encoder;
        b->work = 2 * per_row;
        b->limit = cli_peak_flops();
    }
    b->share = b->limit > 0 ? median(b) * b->work / b->limit : 0;
}

/* ------------------------------------------------------------------ output */

static void put_text(const bench *b, cli_out *out) {
    char machine[256];
    bool memory = b->kind == BENCH_DECODE;
    cli_printf(out, "%s: %.1f tokens/s (median of %lld: ", kind_names[b->kind], median(b), (long long)b->opts->runs);
    for (int64_t i = 0; i < b->opts->runs; i++)
        cli_printf(out, "%s%.1f", i ? " " : "", b->runs[i]);
    cli_printf(out, ")\nbatch %lld, length %lld", (long long)b->opts->batch, (long long)b->opts->length);
    if (memory)
        cli_printf(out, ", %lld new tokens each", (long long)b->opts->tokens);
    cli_printf(out, ", %s, %.2f M parameters\n", b->opts->model, 1e-6 * (double)ed_model_count(b->model).total);
    if (b->limit > 0)
        cli_printf(out, "%.1f %% of the measured %s (%.1f %s; %.4g %s per token)\n", 100 * b->share, memory ? "read bandwidth" : "f32 multiply-add rate", 1e-9 * b->limit,
                   memory ? "GB/s" : "GFLOP/s", b->work, memory ? "weight bytes" : "operations");
    cli_printf(out, "%s; endec %s, compiler %s\n", ed_machine_text(machine, sizeof machine), ed_version(), __VERSION__);
}

static void put_json(const bench *b, cli_out *out) {
    char machine[256];
    bool memory = b->kind == BENCH_DECODE;
    ed_machine_text(machine, sizeof machine);
    cli_printf(out, "{\"bench\":\"%s\",\"tokens_per_second\":%.6g,\"runs\":[", kind_names[b->kind], median(b));
    for (int64_t i = 0; i < b->opts->runs; i++)
        cli_printf(out, "%s%.6g", i ? "," : "", b->runs[i]);
    cli_printf(out, "],\"batch\":%lld,\"length\":%lld,\"new_tokens\":%lld,\"model\":", (long long)b->opts->batch, (long long)b->opts->length,
               memory ? (long long)b->opts->tokens : 0);
    cli_put_json(out, b->opts->model, strlen(b->opts->model));
    cli_printf(out, ",\"parameters\":%lld,\"weight_bytes_each\":%.0f,\"threads\":%d,\"cpu\":\"%s\",\"machine\":", (long long)ed_model_count(b->model).total,
               matrix_bytes(b->model), ed_threads_get(), ed_cpu_name(ed_cpu_get()));
    cli_put_json(out, machine, strlen(machine));
    cli_printf(out, ",\"roofline\":{\"limit\":\"%s\",\"per_second\":", memory ? "read bytes" : "f32 operations");
    cli_put_json_number(out, b->limit > 0 ? b->limit : NAN);
    cli_printf(out, ",\"per_token\":%.6g,\"share\":", b->work);
    cli_put_json_number(out, b->limit > 0 ? b->share : NAN);
    cli_printf(out, "},\"peak_rss_bytes\":%zu,\"version\":\"%s\",\"compiler\":", b->peak_bytes, ed_version());
    cli_put_json(out, __VERSION__, strlen(__VERSION__));
    cli_printf(out, "}\n");
}

static ed_status report(cli *c, const bench *b, ed_error *err) {
    cli_out out;
    bool only_json = b->opts->json && strcmp(b->opts->json, "-") == 0;
    if (!only_json) {
        CLI_TRY(cli_out_open(c, NULL, NULL, &out, err));
        put_text(b, &out);
        CLI_TRY(cli_out_close(&out, ED_OK, err));
    }
    if (!b->opts->json)
        return ED_OK;
    CLI_TRY(cli_out_open(c, b->opts->json, NULL, &out, err));
    put_json(b, &out);
    return cli_out_close(&out, ED_OK, err);
}

/* ------------------------------------------------------------------ the verb */

static ed_status check(const bench *b, ed_error *err) {
    const ed_model_config *c = ed_model_get_config(b->model);
    int64_t need = b->opts->length + (b->kind == BENCH_DECODE && c->kind == ED_MODEL_DECODER ? b->opts->tokens : 0);
    if (need > c->max_positions || (b->kind == BENCH_DECODE && b->opts->tokens >= c->max_positions))
        return ed_error_set(err, ED_E_RANGE, "--length", ED_NO_OFFSET, "the model's context has %lld tokens; choose --length and --new-tokens below", (long long)c->max_positions);
    if (c->kind == ED_MODEL_ENCODER && b->kind != BENCH_PREFILL)
        return ed_error_set(err, ED_E_UNSUPPORTED, kind_names[b->kind], ED_NO_OFFSET, "this model is an encoder only");
    return ED_OK;
}

static ed_status run_loaded(cli *c, bench *b, ed_error *err) {
    CLI_TRY(check(b, err));
    int64_t n = b->opts->batch * b->opts->length, vocab = ed_model_get_config(b->model)->vocab_size;
    ed_rng rng = ed_rng_make(1, 0);
    b->ids = malloc((size_t)n * sizeof *b->ids);
    if (!b->ids)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %lld tokens", (long long)n);
    for (int64_t i = 0; i < n; i++)
        b->ids[i] = (int32_t)ed_rng_below(&rng, (uint64_t)vocab);
    ed_status s = b->kind == BENCH_TRAIN ? measure_training(b, err) : measure(b, NULL, err);
    free(b->ids);
    CLI_TRY(s);
    find_limit(b);
    return report(c, b, err);
}

static ed_status run(cli *c, const bench_opts *o, const char *what, ed_error *err) {
    bench b = {.opts = o, .kind = BENCH_KINDS};
    for (int i = 0; i < BENCH_KINDS; i++)
        if (strcmp(kind_names[i], what) == 0)
            b.kind = (bench_kind)i;
    if (b.kind == BENCH_KINDS)
        return ed_error_set(err, ED_E_INVALID, what, ED_NO_OFFSET, "there are prefill, decode and train");
    CLI_TRY(cli_need(o->model, "-m", "a model", err));
    ed_dtype dtype = b.kind == BENCH_TRAIN ? ED_DTYPE_F32 : cli_dtype(o->dtype); /* trained weights are f32 */
    CLI_TRY(ed_model_load(o->model, dtype, &b.model, err));
    ed_status s = run_loaded(c, &b, err);
    ed_model_destroy(&b.model);
    return s;
}

ed_status cmd_bench(cli *c, int argc, char **argv, ed_error *err) {
    bench_opts o = {.runs = 5, .warmup = 1, .batch = 1, .length = 64, .tokens = 128};
    cli_group groups[] = {{"Options", table, CLI_COUNT(table), &o}, {0}};
    cli_spec spec = {.usage = "prefill|decode|train -m MODEL [options]",
                     .about = "Measures tokens per second on random tokens and compares with the machine's measured limits. Encoder-decoder models: prefill is the encoder, training "
                              "counts the tokens of both sides.",
                     .groups = groups, .min_args = 1, .max_args = 1,
                     .examples = "  endec bench decode -m models/en-de-small --batch 8 --json decode.json\n  endec bench train -m model --batch 32 --length 64 -r 10\n"};
    cli_args a;
    ed_status s = cli_parse(c, &spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, &o, a.items[0], err);
    cli_spec_deinit(&spec);
    return s;
}
