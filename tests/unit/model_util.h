/* tests/unit/model_util.h - tiny models and rows for tests of models, training and decoding. */
#ifndef TESTS_MODEL_UTIL_H
#define TESTS_MODEL_UTIL_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "endec/model.h"

static inline void check(ed_status s, const ed_error *err) {
    if (s != ED_OK)
        fail_msg("%s: %s", ed_status_name(s), err->message);
}

static inline void check_graph(const ed_graph *g) {
    ed_error err = {0};
    check(ed_graph_status(g, &err), &err);
}

static inline ed_model_config tiny_config(int kind, char *position) {
    ed_model_config c = ed_model_config_default();
    c.kind = kind;
    c.vocab_size = 23, c.d_model = 16, c.d_ff = 24, c.n_heads = 4, c.encoder_layers = 2, c.decoder_layers = 2, c.max_positions = 40, c.dropout = 0;
    c.position = position;
    c.pad_id = 0, c.eos_id = 1, c.decoder_start_id = 1, c.position_offset = 1, c.relative_max = 6, c.relative_buckets = 8;
    if (kind == ED_MODEL_DECODER) {
        c.norm = ED_NORM_RMS, c.activation = ED_SILU, c.gated_mlp = true, c.n_kv_heads = 2, c.bos_id = 2;
        c.attention_bias = c.output_bias = c.mlp_bias = false;
    }
    return c;
}

static inline ed_model *tiny_model(int kind, char *position, ed_dtype dtype) {
    ed_model_config c = tiny_config(kind, position);
    ed_model *m;
    ed_error err = {0};
    check(ed_model_create(&c, dtype, 5, &m, &err), &err);
    return m;
}

static inline void random_ids(int32_t *ids, int64_t n, int64_t vocab, uint32_t stream) {
    ed_rng r = ed_rng_make(9, stream);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(3 + ed_rng_below(&r, (uint64_t)vocab - 3));
}

#endif
