/* tests/unit/decode_common.h - tiny random models and naive twins for the generation tests. */
#ifndef DECODE_COMMON_H
#define DECODE_COMMON_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/internal.h"
#include "endec/decode.h"

static inline void check_ok(ed_status s, const ed_error *e) {
    char text[900];
    if (s != ED_OK)
        fail_msg("%s: %s", ed_status_name(s), ed_error_text(e, text, sizeof text));
}

/** A model whose logits differ clearly between tokens: initial weights of some size. */
static inline ed_model *tiny_model(int kind, int64_t vocab, const char *position, uint64_t seed) {
    ed_model_config c = ed_model_config_default();
    ed_model *m = NULL;
    ed_error e = {0};
    c.kind = kind;
    c.vocab_size = vocab;
    c.d_model = 16;
    c.d_ff = 24;
    c.n_heads = 4;
    c.n_kv_heads = kind == ED_MODEL_DECODER ? 2 : 0;
    c.encoder_layers = kind == ED_MODEL_DECODER ? 0 : 2;
    c.decoder_layers = 2;
    c.max_positions = 64;
    c.init_std = 0.6;
    c.scale_embedding = false;
    c.norm = kind == ED_MODEL_DECODER ? ED_NORM_RMS : ED_NORM_LAYER;
    c.gated_mlp = kind == ED_MODEL_DECODER;
    c.activation = kind == ED_MODEL_DECODER ? ED_SILU : ED_RELU;
    c.tie_embeddings = false;
    c.position = (char *)(intptr_t)position;
    c.bos_id = 0;
    c.eos_id = 1;
    c.pad_id = 2;
    c.decoder_start_id = kind == ED_MODEL_ENCDEC ? 0 : -1;
    check_ok(ed_model_create(&c, ED_DTYPE_F32, seed, &m, &e), &e);
    return m;
}

/** Random ids in [3, vocab). */
static inline void random_ids(ed_rng *r, int32_t *ids, int64_t n, int64_t vocab) {
    for (int64_t i = 0; i < n; i++)
        ids[i] = 3 + (int32_t)ed_rng_below(r, (uint64_t)(vocab - 3));
}

/** Logits [vocab] behind `tokens`, by a full pass without a cache. src NULL for decoder-only models. */
static inline void full_logits(const ed_model *m, const int32_t *src, int64_t n_src, const int32_t *tokens, int64_t n, float *out) {
    ed_graph_opts o = ed_graph_opts_infer();
    ed_graph *g = NULL;
    ed_error e = {0};
    check_ok(ed_graph_create(&o, &g), &e);
    ed_rows s = {.batch = 1, .len = n_src, .ids = src}, t = {.batch = 1, .len = n, .ids = tokens};
    ed_tensor *memory = src ? ed_model_encode(m, g, &s) : NULL;
    ed_tensor *x = ed_model_decode(m, g, &t, memory, src ? &s : NULL);
    x = x ? ed_model_logits(m, g, ed_slice(g, x, 1, n - 1, n, 1)) : NULL;
    check_ok(ed_graph_status(g, &e), &e);
    ed_copy_out_f32(x, out);
    ed_graph_destroy(&g);
}

static inline double naive_lse(const float *row, int64_t n) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = (double)row[i] > max ? (double)row[i] : max;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)row[i] - max);
    return max + log(sum);
}

static inline bool same_hypothesis(const ed_hypothesis *a, const ed_hypothesis *b) {
    return a->n == b->n && a->finish == b->finish && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0 &&
           memcmp(a->logprobs, b->logprobs, (size_t)a->n * sizeof *a->logprobs) == 0 && a->sum_logprob == b->sum_logprob && a->score == b->score;
}

static inline bool same_result(const ed_result *a, const ed_result *b) {
    bool same = a->n == b->n;
    for (int64_t i = 0; same && i < a->n; i++)
        same = same_hypothesis(&a->hyps[i], &b->hyps[i]);
    return same;
}

enum { MANY = 19, LONGEST = 24 };
/** Prompts of unequal lengths. */
typedef struct prompts {
    int32_t ids[MANY][LONGEST];
    ed_prompt p[MANY];
} prompts;
static inline void make_prompts(prompts *x, uint64_t seed, int64_t vocab) {
    ed_rng r = ed_rng_make(seed, 7);
    for (int i = 0; i < MANY; i++) {
        x->p[i] = (ed_prompt){.ids = x->ids[i], .n = i == 4 ? 0 : 1 + (int64_t)ed_rng_below(&r, LONGEST), .sequence = 100 + (uint64_t)i};
        random_ids(&r, x->ids[i], LONGEST, vocab);
    }
}

static inline void generate(const ed_model *m, const ed_prompt *p, int64_t n, const ed_decode_opts *o, ed_result *out) {
    ed_error e = {0};
    check_ok(ed_generate(m, p, n, o, NULL, out, NULL, &e), &e);
}

static inline void results_deinit(ed_result *r, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        ed_result_deinit(&r[i]);
}

#endif
