/* models/arch_transformer.c - builds the parameters of a transformer from its config: stacks, blocks, heads, in the order of files and gradients.
 *
 * Invariants: every parameter is registered under its family name (names.c); matrices are [out, in]; biases, norms and position tables carry no_decay;
 * a tied table is ONE parameter used in several places. */
#include <math.h>

#include "models/model.h"

typedef struct builder {
    ed_model *m;
    const ed_model_config *c;
    uint64_t seed;
    bool init, decoder; /* which stack is being built */
    int64_t layer;
    ed_error *err;
} builder;

static ed_status add(builder *b, ed__role role, const char *suffix, ed_dtype dtype, int rank, const int64_t *shape, ed_param **out) {
    char name[256];
    size_t n = strlen(ed__param_name(b->c, role, b->decoder, b->layer, name, sizeof name - 16));
    memcpy(name + n, suffix, strlen(suffix) + 1);
    ed_param *p = ed_params_find(b->m->params, name);
    if (p) { /* tied: the same table serves again */
        *out = p;
        return ED_OK;
    }
    return ed_params_add(b->m->params, name, dtype, rank, shape, out, b->err);
}

static ed_status init(const builder *b, ed_param *p, const char *kind, double a) {
    return b->init ? ed_param_init(p, kind, a, b->seed, b->err) : ED_OK;
}

static ed_status matrix(builder *b, ed__role role, int64_t out, int64_t in, bool bias, ed__linear *l) {
    ED_TRY(add(b, role, ".weight", b->m->matrix_dtype, 2, (int64_t[]){out, in}, &l->w));
    ED_TRY(b->c->init_std > 0 ? init(b, l->w, "normal", b->c->init_std) : init(b, l->w, "xavier", 0));
    if (!bias)
        return ED_OK;
    ED_TRY(add(b, role, ".bias", b->m->dtype, 1, &out, &l->b));
    l->b->no_decay = true;
    return ED_OK;
}

static ed_status norm(builder *b, ed__role role, ed__norm *n) {
    ED_TRY(add(b, role, ".weight", b->m->dtype, 1, &b->c->d_model, &n->w));
    n->w->no_decay = true;
    ED_TRY(init(b, n->w, "one", 1));
    if (b->c->norm != ED_NORM_LAYER || !b->c->norm_bias)
        return ED_OK;
    ED_TRY(add(b, role, ".bias", b->m->dtype, 1, &b->c->d_model, &n->b));
    n->b->no_decay = true;
    return ED_OK;
}

static ed_status positions(builder *b, ed_position *out, const ed_position *first) {
    char name[256], absolute[256];
    size_t n = strlen(ed__param_name(b->c, ED__POSITIONS, b->decoder, b->layer, absolute, sizeof absolute - 16));
    memcpy(absolute + n, ".weight", 8);
    const ed_model_config *c = b->c;
    ed_position_config pc = {.list = ed__position(c), .n_heads = c->n_heads, .head_dim = ed__head_dim(c), .d_model = c->d_model, .rotary_dims = c->rotary_dims,
                             .max_positions = c->max_positions, .offset = c->position_offset, .relative_max = c->relative_max,
                             .relative_buckets = c->relative_buckets, .init_std = c->init_std};
    ed_position_env env = {.config = &pc, .params = b->m->params, .arena = b->m->arena, .dtype = b->m->dtype, .absolute_name = absolute,
                           .name = ed__param_name(b->c, ED__SELF, b->decoder, b->layer, name, sizeof name), .causal = b->decoder, .layer = (int)b->layer,
                           .first = b->c->share_position_tables && b->layer > 0 ? first : NULL, .seed = b->seed};
    return ed__positions_build(&env, out, b->err);
}

static ed_status attention(builder *b, bool cross, ed__attention *a) {
    const ed_model_config *c = b->c;
    int64_t q = c->n_heads * ed__head_dim(c), kv = ed__kv_heads(c) * ed__head_dim(c);
    int shift = cross ? ED__CROSS_Q - ED__SELF_Q : 0;
    ED_TRY(norm(b, (ed__role)(cross ? ED__CROSS_NORM : ED__SELF_NORM), &a->norm));
    ED_TRY(matrix(b, (ed__role)(ED__SELF_Q + shift), q, c->d_model, c->attention_bias, &a->q));
    ED_TRY(matrix(b, (ed__role)(ED__SELF_K + shift), kv, c->d_model, c->attention_bias, &a->k));
    ED_TRY(matrix(b, (ed__role)(ED__SELF_V + shift), kv, c->d_model, c->attention_bias, &a->v));
    return matrix(b, (ed__role)(ED__SELF_O + shift), c->d_model, q, c->output_bias, &a->o);
}

static ed_status block(builder *b, ed__block *k, const ed__block *first) {
    const ed_model_config *c = b->c;
    k->layer = (int)b->layer;
    k->causal = b->decoder;
    ED_TRY(attention(b, false, &k->self));
    ED_TRY(positions(b, &k->self.pos, &first->self.pos));
    if (b->decoder && c->kind == ED_MODEL_ENCDEC)
        ED_TRY(attention(b, true, &k->cross));
    ED_TRY(norm(b, ED__MLP_NORM, &k->mlp_norm));
    if (c->gated_mlp)
        ED_TRY(matrix(b, ED__GATE, c->d_ff, c->d_model, c->mlp_bias, &k->gate));
    ED_TRY(matrix(b, ED__UP, c->d_ff, c->d_model, c->mlp_bias, &k->up));
    return matrix(b, ED__DOWN, c->d_model, c->d_ff, c->mlp_bias, &k->down);
}

static ed_status embedding(builder *b, ed__stack *s) {
    const ed_model_config *c = b->c;
    double std = c->init_std > 0 ? c->init_std : pow((double)c->d_model, -0.5);
    ED_TRY(add(b, ED__EMBED, ".weight", b->m->matrix_dtype, 2, (int64_t[]){c->vocab_size, c->d_model}, &s->embed));
    ED_TRY(init(b, s->embed, "normal", std));
    if (c->type_vocab > 0 && c->kind == ED_MODEL_ENCODER) {
        ED_TRY(add(b, ED__TYPES, ".weight", b->m->dtype, 2, (int64_t[]){c->type_vocab, c->d_model}, &s->types));
        ED_TRY(init(b, s->types, "normal", std));
    }
    return c->embedding_norm ? norm(b, ED__EMBED_NORM, &s->embed_norm) : ED_OK;
}

static ed_status stack(builder *b, bool decoder, int64_t n, ed__stack *s) {
    b->decoder = decoder;
    b->layer = -1;
    s->causal = decoder;
    s->n = n;
    ED_TRY(embedding(b, s));
    ED_TRY(positions(b, &s->pos, NULL));
    s->blocks = ed_arena_zalloc(b->m->arena, (size_t)n * sizeof *s->blocks);
    ED_FAIL_IF(!s->blocks, ED_E_MEMORY, b->err, "no memory for %lld blocks", (long long)n);
    for (b->layer = 0; b->layer < n; b->layer++)
        ED_TRY(block(b, &s->blocks[b->layer], &s->blocks[0]));
    b->layer = -1;
    return b->c->norm_place == ED_NORM_PRE ? norm(b, ED__FINAL_NORM, &s->final_norm) : ED_OK;
}

static ed_status head(builder *b) {
    const ed_model_config *c = b->c;
    ed_model *m = b->m;
    if (c->kind == ED_MODEL_ENCODER)
        return ED_OK; /* encoders give states; task heads are added by those who train them */
    if (c->tie_embeddings) {
        m->head.w = m->decoder.embed;
        return ED_OK;
    }
    return matrix(b, ED__HEAD, c->vocab_size, c->d_model, false, &m->head);
}

static ed_status build(builder *b) {
    const ed_model_config *c = b->c;
    if (c->kind != ED_MODEL_DECODER)
        ED_TRY(stack(b, false, c->encoder_layers, &b->m->encoder));
    if (c->kind != ED_MODEL_ENCODER)
        ED_TRY(stack(b, true, c->decoder_layers, &b->m->decoder));
    return head(b);
}

ed_status ed__model_build(const ed_model_config *c, ed_dtype dtype, ed_dtype matrix_dtype, uint64_t seed, bool initialise, ed_model **out, ed_error *err) {
    *out = NULL;
    ED_TRY(ed_model_config_check(c, err));
    ED_FAIL_IF(dtype != ED_DTYPE_F32 && dtype != ED_DTYPE_F64, ED_E_DTYPE, err, "models compute in f32 or f64, not %s", ed_dtype_name(dtype));
    ed_model *m = ed__calloc(1, sizeof *m);
    ED_FAIL_IF(!m, ED_E_MEMORY, err, "no memory for a model");
    m->dtype = dtype;
    m->matrix_dtype = matrix_dtype;
    ed_status s = ed_model_config_copy(c, &m->config);
    if (s == ED_OK && (ed_params_create(&m->params) != ED_OK || ed_arena_create(0, &m->arena) != ED_OK))
        s = ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a model");
    builder b = {.m = m, .c = &m->config, .seed = seed, .init = initialise, .err = err};
    if (s == ED_OK)
        s = build(&b);
    if (s != ED_OK) {
        ed_model_destroy(&m);
        return s;
    }
    *out = m;
    return ED_OK;
}

ed_status ed_model_create(const ed_model_config *c, ed_dtype dtype, uint64_t seed, ed_model **out, ed_error *err) {
    return ed__model_build(c, dtype, dtype, seed, true, out, err);
}

void ed_model_destroy(ed_model **pm) {
    ed_model *m = pm ? *pm : NULL;
    if (!m)
        return;
    ed_params_destroy(&m->params);
    ed_arena_destroy(&m->arena);
    ed_model_config_deinit(&m->config);
    ed__free(m);
    *pm = NULL;
}

const ed_model_config *ed_model_get_config(const ed_model *m) {
    return &m->config;
}

ed_params *ed_model_params(const ed_model *m) {
    return m->params;
}

static int64_t numel(const ed_param *p) {
    return p ? p->numel : 0;
}

static int64_t linear_numel(const ed__linear *l) {
    return numel(l->w) + numel(l->b);
}

static int64_t attention_numel(const ed__attention *a) {
    return linear_numel(&a->q) + linear_numel(&a->k) + linear_numel(&a->v) + linear_numel(&a->o) + numel(a->norm.w) + numel(a->norm.b);
}

static int64_t stack_numel(const ed__stack *s) {
    int64_t n = numel(s->final_norm.w) + numel(s->final_norm.b);
    for (int64_t i = 0; i < s->n; i++) {
        const ed__block *k = &s->blocks[i];
        n += attention_numel(&k->self) + attention_numel(&k->cross) + linear_numel(&k->up) + linear_numel(&k->gate) + linear_numel(&k->down) +
             numel(k->mlp_norm.w) + numel(k->mlp_norm.b);
    }
    return n;
}

ed_param_count ed_model_count(const ed_model *m) {
    ed_param_count c = {.encoder = stack_numel(&m->encoder), .decoder = stack_numel(&m->decoder), .total = ed_params_numel(m->params)};
    c.embedding = numel(m->encoder.embed) + (m->decoder.embed != m->encoder.embed ? numel(m->decoder.embed) : 0);
    c.head = m->head.w && m->head.w != m->decoder.embed ? linear_numel(&m->head) : 0;
    c.other = c.total - c.encoder - c.decoder - c.embedding - c.head;
    return c;
}
