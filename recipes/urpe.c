/* recipes/urpe.c - universal relative positions (Luo et al. 2022, "Your Transformer May Not be as Powerful as You Expect", arXiv 2205.13401): positions that
 * act only inside the softmax cannot tell a token where it is; one learned Toeplitz factor on the attention weights can.
 *
 * Data: random tokens, drawn anew for every step from counter-keyed numbers. Two tasks: say your position (PI); say the token at every odd place (ETP).
 * Arms: no positions, relative bias, URPE, learned absolute positions (upper control); same seed, same data, same number of updates.
 * Claims: see CLAIMS below; they were fixed before the first run. */
#include "recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <endec/inspect.h>

/* ------------------------------------------------------------------ setup and thresholds */

typedef struct task {
    const char *name, *title;
    bool even;                          /* ETP, else PI */
    int64_t n, vocab, layers, steps;    /* rows of a sequence, tokens, blocks, updates of the miniature */
    double lr;
} task;
static const task TASKS[] = {
    {"PI", "Position identification", false, 64, 100, 2, 3000, 1e-3},
    {"ETP", "Even token prediction, first half", true, 16, 20, 3, 4000, 2e-3},
};
enum { N_TASKS = 2, BATCH = 16, WIDTH = 64, HEADS = 4, WARMUP = 200, POINTS = 30, CURVE_ROWS = 64, FINAL_ROWS = 1024, MAX_SEEDS = 16 };

enum { NONE, RELATIVE, URPE, LEARNED, N_MODES };
static const char *const MODES[] = {"none", "relative", "urpe", "learned"};

/** Pre-registered. Accuracies are medians over seeds; ETP counts the informative first half. */
static const struct {
    double pi_urpe, pi_relative, pi_none, etp_urpe, etp_gain, step_time, lm_gain;
} CLAIMS = {.pi_urpe = 0.95, .pi_relative = 0.30, .pi_none = 0.05, .etp_urpe = 0.85, .etp_gain = 0.20, .step_time = 1.15, .lm_gain = 0.002};

/* ------------------------------------------------------------------ data */

enum { STREAM_TRAIN = 1, STREAM_HELD_OUT = 2 };

typedef struct generator {
    const task *task;
    int64_t batch;
    ed_rng_key key;
} generator;

/** Token (step, row, place) is a pure function of the key. */
static int32_t token(const generator *g, int64_t step, int64_t row, int64_t place) {
    uint32_t out[4];
    ed_philox(g->key, (const uint32_t[4]){(uint32_t)place, (uint32_t)row, (uint32_t)step, 0}, out);
    return (int32_t)((uint64_t)out[0] * (uint64_t)g->task->vocab >> 32);
}

static int64_t classes(const task *t) {
    return t->even ? t->vocab + 1 : t->n;
}

static int32_t target(const task *t, const int32_t *ids, int64_t i) {
    if (!t->even)
        return (int32_t)i;
    return i < t->n / 2 ? ids[2 * i + 1] : (int32_t)t->vocab;
}

static ed_status make_batch(void *self, int64_t step, int64_t micro, ed_arena *arena, ed_batch *out, ed_error *err) {
    const generator *g = self;
    int64_t n = g->task->n, rows = g->batch * n;
    int32_t *ids = ed_arena_alloc(arena, (size_t)rows * sizeof *ids), *targets = ed_arena_alloc(arena, (size_t)rows * sizeof *targets);
    (void)micro;
    if (!ids || !targets)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a batch");
    for (int64_t i = 0; i < rows; i++)
        ids[i] = token(g, step, i / n, i % n);
    for (int64_t i = 0; i < rows; i++)
        targets[i] = target(g->task, ids + i / n * n, i % n);
    *out = (ed_batch){.src = {.batch = g->batch, .len = n, .ids = ids}, .targets = targets, .weight = (double)rows, .tokens = rows, .padded = rows};
    return ED_OK;
}

/* ------------------------------------------------------------------ model: an encoder and a linear head over its states */

static ed_status make_model(const task *t, const char *mode, uint64_t seed, ed_model **out, ed_error *err) {
    char position[32];
    ed_model_config c = ed_model_config_default();
    c.kind = ED_MODEL_ENCODER;
    c.vocab_size = t->vocab, c.d_model = WIDTH, c.d_ff = 4 * WIDTH, c.n_heads = HEADS, c.encoder_layers = t->layers, c.decoder_layers = 0;
    c.max_positions = c.relative_max = t->n;
    c.share_position_tables = true; /* as in the publication's synthetic experiments */
    c.dropout = 0;
    snprintf(position, sizeof position, "%s", mode);
    c.position = position;
    ed_status s = ed_model_create(&c, ED_DTYPE_F32, seed, out, err);
    if (s != ED_OK)
        return s;
    ed_param *w, *b;
    int64_t k = classes(t);
    s = ed_params_add(ed_model_params(*out), "head.weight", ED_DTYPE_F32, 2, (int64_t[]){k, WIDTH}, &w, err);
    if (s == ED_OK)
        s = ed_param_init(w, "xavier", 0, seed, err);
    if (s == ED_OK)
        s = ed_params_add(ed_model_params(*out), "head.bias", ED_DTYPE_F32, 1, &k, &b, err);
    if (s != ED_OK)
        ed_model_destroy(out);
    else
        b->no_decay = true;
    return s;
}

static ed_tensor *logits(ed_model *m, ed_graph *g, const ed_rows *src) {
    ed_params *p = ed_model_params(m);
    ed_tensor *x = ed_model_encode(m, g, src);
    return ed_linear(g, x, ed_use(g, ed_params_find(p, "head.weight")), ed_use(g, ed_params_find(p, "head.bias")));
}

static ed_status learn(void *self, ed_train_pass *p, ed_error *err) {
    const ed_batch *b = p->batch;
    (void)self;
    ed_tensor *y = logits(p->model, p->g, &b->src);
    ed_tensor *t = ed_wrap(p->g, ED_DTYPE_I32, 2, (int64_t[]){b->src.batch, b->src.len}, b->targets);
    ed_tensor *loss = ed_xent_ids(p->g, y, t, NULL, 0);
    ed_status s = ed_graph_status(p->g, err);
    if (s != ED_OK)
        return s;
    p->weight = b->weight;
    p->loss_sum = ed_get(loss, 0) * b->weight;
    return p->train ? ed_backward_loss(p->g, loss, p->scale, err) : ED_OK;
}

/* ------------------------------------------------------------------ accuracy on held-out sequences */

typedef struct exam {
    generator data;
    int64_t rows; /* sequences, in batches of data.batch */
    ed_graph *graph;
    ed_arena *arena;
} exam;

static ed_status exam_create(const task *t, uint64_t seed, exam *e) {
    ed_graph_opts o = ed_graph_opts_train();
    o.record = o.train = false;
    *e = (exam){.data = {t, CURVE_ROWS, ed_rng_key_make(seed, STREAM_HELD_OUT)}, .rows = CURVE_ROWS};
    ed_status s = ed_graph_create(&o, &e->graph);
    return s == ED_OK ? ed_arena_create(0, &e->arena) : s;
}

static void exam_destroy(exam *e) {
    ed_graph_destroy(&e->graph);
    ed_arena_destroy(&e->arena);
}

static int64_t count_right(const ed_tensor *best, const ed_batch *b, int64_t counted) {
    int64_t right = 0;
    for (int64_t r = 0; r < b->src.batch; r++)
        for (int64_t i = 0; i < counted; i++)
            right += ((const int32_t *)best->data)[r * b->src.len + i] == b->targets[r * b->src.len + i];
    return right;
}

static ed_status accuracy(void *ctx, ed_model *m, int64_t step, double *value, ed_error *err) {
    exam *e = ctx;
    int64_t n = e->data.task->n, counted = e->data.task->even ? n / 2 : n, right = 0;
    (void)step;
    for (int64_t at = 0; at < e->rows; at += e->data.batch) {
        ed_batch b;
        ed_arena_reset(e->arena);
        ed_graph_reset(e->graph);
        ed_status s = make_batch(&e->data, at, 0, e->arena, &b, err);
        ed_tensor *best = s == ED_OK ? ed_argmax(e->graph, logits(m, e->graph, &b.src), -1) : NULL;
        if (!best)
            return s != ED_OK ? s : ed_graph_status(e->graph, err);
        right += count_right(best, &b, counted);
    }
    *value = (double)right / (double)(e->rows * counted);
    return ED_OK;
}

/* ------------------------------------------------------------------ the arms */

typedef struct outcome {
    double accuracy[N_TASKS][N_MODES][MAX_SEEDS];
    double gap[N_TASKS][N_MODES]; /* identical-token gap of the trained model, first seed */
    lab_curve curve[N_TASKS][N_MODES];
    int seeds;
} outcome;

static int64_t steps_of(const lab_env *env, int64_t steps) {
    return env->size == LAB_SMOKE ? 12 : env->size == LAB_QUICK ? steps / 4 : steps;
}

static ed_train_opts train_opts(const lab_env *env, const task *t, uint64_t seed) {
    ed_train_opts o = ed_train_opts_default();
    o.steps = steps_of(env, t->steps);
    o.learning_rate = t->lr;
    o.warmup_steps = o.steps < 10 * WARMUP ? o.steps / 10 : WARMUP;
    for (int i = 0; ed_schedule_names()[i]; i++)
        if (strcmp(ed_schedule_names()[i], "linear") == 0)
            o.schedule = i;
    o.beta2 = 0.999;
    o.seed = (int64_t)seed;
    return o;
}

/** Heat map of the trained factor c: one row per head, one column per offset. */
static void plot_factor(lab_report *r, const task *t, ed_model *m) {
    const char *heads[HEADS] = {"head 0", "head 1", "head 2", "head 3"};
    char title[96];
    ed_params *set = ed_model_params(m);
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        const ed_param *p = ed_params_at(set, i);
        double *c = ed_name_match("*.pos.c", p->name) ? malloc((size_t)p->numel * sizeof *c) : NULL;
        if (!c)
            continue;
        for (int64_t k = 0; k < p->numel; k++) /* the table is [offsets, heads] */
            c[k % HEADS * p->shape[0] + k / HEADS] = (double)((const float *)p->data)[k];
        snprintf(title, sizeof title, "%s: factor c by head and offset (-%lld .. %lld)", t->name, (long long)t->n - 1, (long long)t->n - 1);
        lab_plot(r, &(ed_plot){.kind = ED_PLOT_HEAT, .title = title, .x_label = "offset key - query", .matrix = c, .rows = HEADS, .cols = p->shape[0],
                               .row_names = heads, .height = 240});
        free(c);
    }
}

static ed_status train_arm(const lab_env *env, lab_report *r, int ti, int mode, int seed, outcome *o, ed_error *err) {
    const task *t = &TASKS[ti];
    char name[64];
    ed_model *m;
    exam e;
    lab_cost cost;
    uint64_t key = (uint64_t)seed + 1;
    generator data = {t, env->size == LAB_SMOKE ? 4 : BATCH, ed_rng_key_make(key, STREAM_TRAIN)};
    ed_source source = {.batch = make_batch, .self = &data};
    ed_objective objective = {.name = "classify rows", .step = learn};
    ed_train_opts opts = train_opts(env, t, key);
    snprintf(name, sizeof name, "%s %s, seed %d", t->name, MODES[mode], seed + 1);
    ed_status s = make_model(t, MODES[mode], key, &m, err);
    if (s != ED_OK)
        return s;
    s = exam_create(t, key, &e);
    lab_arm arm = {name, m, &objective, &source, &opts, accuracy, &e, opts.steps / POINTS + (opts.steps < POINTS)};
    if (s == ED_OK)
        s = lab_train(env, &arm, seed == 0 ? &o->curve[ti][mode] : NULL, &cost, err);
    if (s == ED_OK) {
        e.rows = env->size == LAB_SMOKE ? CURVE_ROWS : FINAL_ROWS;
        s = accuracy(&e, m, opts.steps, &o->accuracy[ti][mode][seed], err);
        lab_cost_add(r, &cost);
    }
    if (s == ED_OK && seed == 0)
        s = ed_inspect_identical_token(m, 1, t->n, &o->gap[ti][mode], err);
    if (s == ED_OK && seed == 0 && mode == URPE)
        plot_factor(r, t, m);
    exam_destroy(&e);
    ed_model_destroy(&m);
    return s;
}

static void plot_curves(lab_report *r, const task *t, const outcome *o, int ti) {
    ed_series s[N_MODES];
    for (int k = 0; k < N_MODES; k++)
        s[k] = (ed_series){.label = MODES[k], .x = o->curve[ti][k].step, .y = o->curve[ti][k].value, .n = o->curve[ti][k].n, .dashed = k == LEARNED};
    lab_plot(r, &(ed_plot){.kind = ED_PLOT_LINES, .title = t->title, .x_label = "update", .y_label = "accuracy", .series = s, .n_series = N_MODES});
}

static ed_status train_all(const lab_env *env, lab_report *r, outcome *o, ed_error *err) {
    for (int ti = 0; ti < N_TASKS; ti++) {
        for (int seed = 0; seed < o->seeds; seed++)
            for (int mode = 0; mode < N_MODES; mode++) {
                ed_status s = train_arm(env, r, ti, mode, seed, o, err);
                if (s != ED_OK)
                    return s;
            }
        plot_curves(r, &TASKS[ti], o, ti);
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ exact invariants */

/** Largest difference of two models' states on the same sequences. */
static ed_status difference(ed_model *a, ed_model *b, const task *t, double *out, ed_error *err) {
    exam e;
    ed_batch batch;
    ed_status s = exam_create(t, 1, &e);
    if (s == ED_OK)
        s = make_batch(&e.data, 0, 0, e.arena, &batch, err);
    ed_tensor *x = s == ED_OK ? ed_model_encode(a, e.graph, &batch.src) : NULL, *y = s == ED_OK ? ed_model_encode(b, e.graph, &batch.src) : NULL;
    if (s == ED_OK)
        s = ed_graph_status(e.graph, err);
    *out = 0;
    for (int64_t i = 0; s == ED_OK && i < ed_numel(x); i++)
        *out = fmax(*out, fabs(ed_get(x, i) - ed_get(y, i)));
    exam_destroy(&e);
    return s;
}

static void randomise(ed_model *m, uint64_t seed) {
    ed_params *set = ed_model_params(m);
    ed_rng rng = ed_rng_make(seed, 7);
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        ed_param *p = ed_params_at(set, i);
        if (!ed_name_match("*.pos.c", p->name))
            continue;
        for (int64_t k = 0; k < p->numel; k++)
            ((float *)p->data)[k] = 1 + 0.5F * (float)ed_rng_normal(&rng);
        ed_param_touch(p);
    }
}

static ed_status invariants(lab_report *r, ed_error *err) {
    ed_model *relative = NULL, *urpe = NULL;
    double same = 0, flat = 0, wavy = 0;
    ed_status s = make_model(&TASKS[0], "relative", 1, &relative, err);
    if (s == ED_OK)
        s = make_model(&TASKS[0], "urpe", 1, &urpe, err);
    if (s == ED_OK)
        s = difference(relative, urpe, &TASKS[0], &same, err);
    if (s == ED_OK)
        s = ed_inspect_identical_token(relative, 1, TASKS[0].n, &flat, err);
    if (s == ED_OK) {
        randomise(urpe, 1);
        s = ed_inspect_identical_token(urpe, 1, TASKS[0].n, &wavy, err);
    }
    ed_model_destroy(&relative);
    ed_model_destroy(&urpe);
    if (s != ED_OK)
        return s;
    lab_invariant(r, "c = 1: largest difference of urpe's states from relative's, same seed (= 0)", same, 0, same == 0);
    lab_invariant(r, "identical tokens, random weights: largest row gap of relative (<=)", flat, 1e-5, flat <= 1e-5);
    lab_invariant(r, "identical tokens, random weights and c: largest row gap of urpe (>=)", wavy, 1e-2, wavy >= 1e-2);
    return ED_OK;
}

/* ------------------------------------------------------------------ time of a training step */

enum { TIMED = 20, WARM = 3, TIMED_SMOKE = 2 };
static const task TIMING = {"timing", "Training step", false, 512, 100, 2, TIMED + WARM, 1e-3};

typedef struct stopwatch {
    ed_model *model;
    ed_trainer *trainer;
    generator data;
    ed_source source;
    ed_objective objective;
    ed_train_opts opts;
    double seconds[TIMED];
} stopwatch;

static ed_status stopwatch_create(const lab_env *env, const char *mode, stopwatch *w, ed_error *err) {
    w->data = (generator){&TIMING, 2, ed_rng_key_make(1, STREAM_TRAIN)};
    w->source = (ed_source){.batch = make_batch, .self = &w->data};
    w->objective = (ed_objective){.name = "classify rows", .step = learn};
    w->opts = train_opts(env, &TIMING, 1);
    ed_status s = make_model(&TIMING, mode, 1, &w->model, err);
    return s == ED_OK ? ed_trainer_create(w->model, &w->objective, &w->source, NULL, &w->opts, NULL, &w->trainer, err) : s;
}

static ed_status time_steps(const lab_env *env, int timed, stopwatch w[2], ed_error *err) {
    const char *modes[] = {"relative", "urpe"};
    ed_status s = ED_OK;
    for (int k = 0; k < 2 && s == ED_OK; k++)
        s = stopwatch_create(env, modes[k], &w[k], err);
    for (int i = 0; i < WARM + timed && s == ED_OK; i++) {
        for (int k = 0; k < 2 && s == ED_OK; k++) {
            double start = ed_time_s();
            s = ed_trainer_step(w[k].trainer, NULL, err);
            if (i >= WARM)
                w[k].seconds[i - WARM] = ed_time_s() - start;
        }
    }
    return s;
}

static ed_status step_time(const lab_env *env, lab_report *r, ed_error *err) {
    int timed = env->size == LAB_SMOKE ? TIMED_SMOKE : TIMED;
    stopwatch *w = calloc(2, sizeof *w);
    if (!w)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for timing");
    ed_status s = time_steps(env, timed, w, err);
    if (s == ED_OK) {
        double relative = lab_median(w[0].seconds, timed), urpe = lab_median(w[1].seconds, timed); /* sorts them */
        double spread = (w[0].seconds[3 * timed / 4] - w[0].seconds[timed / 4]) / relative;
        lab_claim_cut(r, env, "training step, n = 512, d = 64, batch 2: urpe / relative, medians of 20 interleaved (<=)", LAB_AT_MOST, 6.91 / 6.79, 1,
                      urpe / relative, CLAIMS.step_time);
        lab_note(r, "Training step at n = 512: relative %.2f ms, urpe %.2f ms (medians of %d interleaved steps; the middle half of relative's steps spans %.0f %% "
                    "of its median).", 1e3 * relative, 1e3 * urpe, timed, 100 * spread);
    }
    for (int k = 0; k < 2; k++) {
        ed_trainer_destroy(&w[k].trainer);
        ed_model_destroy(&w[k].model);
    }
    free(w);
    return s;
}

/* ------------------------------------------------------------------ secondary: a character language model (full runs) */

enum { LM_SEEDS = 3, LM_STEPS = 1500, LM_LENGTH = 128, LM_ROWS = 16, LM_WIDTH = 96 };

static ed_status text_source(const char *text, size_t n, bool shuffle, ed_dataset *d, ed_bucket_source **out, ed_error *err) {
    int32_t *ids = malloc(n * sizeof *ids);
    int64_t dropped;
    for (size_t i = 0; ids && i < n; i++)
        ids[i] = (unsigned char)text[i];
    ed_status s = ids ? ed_dataset_add(d, NULL, 0, ids, (int64_t)n) : ED_E_MEMORY;
    free(ids);
    ed_batching b = {.layout = ED_LAYOUT_CAUSAL, .tokens = LM_ROWS * LM_LENGTH, .length = LM_LENGTH, .accumulate = 1, .pad_id = -1, .seed = 1, .shuffle = shuffle};
    return s == ED_OK ? ed_bucket_source_create(d, &b, out, &dropped, err) : ed_error_set(err, s, "", ED_NO_OFFSET, "no memory for the text");
}

static ed_status lm_arm(const lab_env *env, lab_report *r, const char *mode, int seed, const ed_source *train, const ed_source *valid, double *loss,
                        ed_error *err) {
    char name[64], position[16];
    ed_model *m;
    ed_trainer *judge = NULL;
    lab_cost cost;
    ed_model_config c = ed_model_config_default();
    c.kind = ED_MODEL_DECODER;
    c.vocab_size = 256, c.d_model = LM_WIDTH, c.d_ff = 4 * LM_WIDTH, c.n_heads = 4, c.encoder_layers = 0, c.decoder_layers = 4;
    c.max_positions = c.relative_max = LM_LENGTH;
    c.dropout = 0;
    snprintf(position, sizeof position, "%s", mode);
    c.position = position;
    snprintf(name, sizeof name, "character LM %s, seed %d", mode, seed + 1);
    ed_objective objective = ed_objective_next_token();
    ed_train_opts o = train_opts(env, &(task){.steps = LM_STEPS, .lr = 1e-3}, (uint64_t)seed + 1);
    ed_status s = ed_model_create(&c, ED_DTYPE_F32, (uint64_t)seed + 1, &m, err);
    if (s != ED_OK)
        return s;
    s = lab_train(env, &(lab_arm){.name = name, .model = m, .objective = &objective, .source = train, .opts = &o}, NULL, &cost, err);
    if (s == ED_OK) {
        lab_cost_add(r, &cost);
        s = ed_trainer_create(m, &objective, train, NULL, &o, NULL, &judge, err);
    }
    if (s == ED_OK)
        s = ed_trainer_evaluate(judge, valid, loss, err);
    ed_trainer_destroy(&judge);
    ed_model_destroy(&m);
    return s;
}

static ed_status lm_seeds(const lab_env *env, lab_report *r, const ed_source *train, const ed_source *valid, ed_error *err) {
    double gain[LM_SEEDS], relative = NAN, urpe = NAN;
    int better = 0;
    for (int seed = 0; seed < LM_SEEDS; seed++) {
        ed_status s = lm_arm(env, r, "relative", seed, train, valid, &relative, err);
        if (s == ED_OK)
            s = lm_arm(env, r, "urpe", seed, train, valid, &urpe, err);
        if (s != ED_OK)
            return s;
        gain[seed] = relative - urpe;
        better += gain[seed] >= CLAIMS.lm_gain;
        lab_note(r, "Character LM, seed %d, %d updates: validation loss relative %.4f, urpe %.4f nat, gain %.4f.", seed + 1, LM_STEPS, relative, urpe,
                 gain[seed]);
    }
    lab_claim(r, &(ed_claim){"secondary: character LM, seeds of 3 in which urpe's validation loss is lower by >= 0.002 nat (>= 2)", NAN, NAN, better, 2,
                             better >= 2 ? ED_VERDICT_PASS : ED_VERDICT_FAIL});
    return ED_OK;
}

static ed_status language_model(const lab_env *env, lab_report *r, ed_error *err) {
    char path[4096], *text;
    size_t n;
    ed_dataset *d[2] = {NULL, NULL};
    ed_bucket_source *source[2] = {NULL, NULL};
    if (lab_data_path(env, "text/shakespeare/input.txt", path, sizeof path, NULL) != ED_OK) {
        lab_claim(r, &(ed_claim){"secondary: character LM (needs text/shakespeare/input.txt)", NAN, NAN, NAN, 2, ED_VERDICT_SKIPPED});
        return ED_OK;
    }
    ed_status s = lab_file_read(path, (size_t)64 << 20, &text, &n, err);
    if (s != ED_OK)
        return s;
    size_t cut = n / 10 * 9;
    for (int k = 0; k < 2 && s == ED_OK; k++) {
        s = ed_dataset_create(&d[k]);
        if (s == ED_OK)
            s = text_source(k ? text + cut : text, k ? n - cut : cut, k == 0, d[k], &source[k], err);
    }
    if (s == ED_OK) {
        ed_source train = ed_bucket_source_of(source[0]), valid = ed_bucket_source_of(source[1]);
        s = lm_seeds(env, r, &train, &valid, err);
    }
    for (int k = 0; k < 2; k++) {
        ed_bucket_source_destroy(&source[k]);
        ed_dataset_destroy(&d[k]);
    }
    free(text);
    return s;
}

/* ------------------------------------------------------------------ the verdicts */

static double median_of(const outcome *o, int ti, int mode) {
    double v[MAX_SEEDS];
    memcpy(v, o->accuracy[ti][mode], sizeof v);
    return lab_median(v, o->seeds);
}

static void judge(const lab_env *env, lab_report *r, const outcome *o) {
    double pi[N_MODES], etp[N_MODES];
    for (int k = 0; k < N_MODES; k++) {
        pi[k] = median_of(o, 0, k);
        etp[k] = median_of(o, 1, k);
    }
    lab_claim_cut(r, env, "PI accuracy of urpe (>=)", LAB_AT_LEAST, 1.0, pi[RELATIVE], pi[URPE], CLAIMS.pi_urpe);
    lab_claim_cut(r, env, "PI accuracy of relative, the negative control (<=)", LAB_AT_MOST, 0.13, NAN, pi[RELATIVE], CLAIMS.pi_relative);
    lab_claim_cut(r, env, "PI accuracy without positions (<=)", LAB_AT_MOST, NAN, NAN, pi[NONE], CLAIMS.pi_none);
    lab_claim_cut(r, env, "ETP first-half accuracy of urpe (>=)", LAB_AT_LEAST, 1.0, etp[RELATIVE], etp[URPE], CLAIMS.etp_urpe);
    lab_claim_cut(r, env, "ETP first-half accuracy, urpe - relative (>=)", LAB_AT_LEAST, NAN, NAN, etp[URPE] - etp[RELATIVE], CLAIMS.etp_gain);
    for (int ti = 0; ti < N_TASKS; ti++) {
        lab_note(r, "%s, accuracy after %lld updates (median of %d): none %.4f, relative %.4f, urpe %.4f, learned %.4f. Identical-token gap of the trained models: none "
                    "%.2g, relative %.2g, urpe %.2g, learned %.2g.", TASKS[ti].name, (long long)steps_of(env, TASKS[ti].steps), o->seeds, median_of(o, ti, NONE),
                 median_of(o, ti, RELATIVE), median_of(o, ti, URPE), median_of(o, ti, LEARNED), o->gap[ti][NONE], o->gap[ti][RELATIVE], o->gap[ti][URPE],
                 o->gap[ti][LEARNED]);
        for (int seed = 0; o->seeds > 1 && seed < o->seeds; seed++)
            lab_note(r, "%s, seed %d: none %.4f, relative %.4f, urpe %.4f, learned %.4f.", TASKS[ti].name, seed + 1, o->accuracy[ti][NONE][seed],
                     o->accuracy[ti][RELATIVE][seed], o->accuracy[ti][URPE][seed], o->accuracy[ti][LEARNED][seed]);
    }
}

static ed_status run_arms(const lab_env *env, lab_report *r, outcome *o, ed_error *err) {
    ed_status s = invariants(r, err);
    if (s == ED_OK)
        s = step_time(env, r, err);
    if (s == ED_OK)
        s = train_all(env, r, o, err);
    if (s == ED_OK)
        judge(env, r, o);
    if (s == ED_OK && env->size == LAB_FULL)
        s = language_model(env, r, err);
    return s;
}

static ed_status run(const lab_env *env, lab_report *r, ed_error *err) {
    outcome *o = calloc(1, sizeof *o);
    if (!o)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for results");
    o->seeds = env->seeds < 1 ? 1 : env->seeds > MAX_SEEDS ? MAX_SEEDS : env->seeds;
    ed_status s = run_arms(env, r, o, err);
    for (int ti = 0; ti < N_TASKS; ti++)
        for (int k = 0; k < N_MODES; k++)
            lab_curve_free(&o->curve[ti][k]);
    free(o);
    return s;
}

const lab_recipe recipe_urpe = {"urpe", "Universal relative positions (Luo et al. 2022)",
                                "A learned Toeplitz factor on the attention weights lets a model with relative positions know where it is.", run};
