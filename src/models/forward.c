/* models/forward.c - the one forward of transformer models: embedding, blocks, encoder, decoder, logits.
 *
 * A block does not know what stands behind its attention: `mix` is either full attention over the pass (here) or attention over a cache (cache.c).
 * Dropout sites are keyed by stack, layer and place, so that draws never depend on the order of calls.
 * Source: Vaswani et al. 2017; pre-norm: Xiong et al. 2020; RMS norm: Zhang & Sennrich 2019; gated MLP: Shazeer 2020. */
#include <math.h>

#include "models/model.h"

enum { SITE_EMBED = 1, SITE_SELF, SITE_CROSS, SITE_MLP, SITE_ACT, SITE_WEIGHTS_SELF, SITE_WEIGHTS_CROSS };

static uint32_t site(bool causal, int layer, int place) {
    return (uint32_t)place | (uint32_t)(layer + 1) << 8 | (uint32_t)causal << 31;
}

ed_tensor *ed__norm_apply(const ed_model *m, ed_graph *g, const ed__norm *n, ed_tensor *x) {
    if (!n->w)
        return x;
    if (m->config.norm == ED_NORM_RMS)
        return ed_rms_norm(g, x, ed_use(g, n->w), m->config.norm_eps);
    return ed_layer_norm(g, x, ed_use(g, n->w), n->b ? ed_use(g, n->b) : NULL, m->config.norm_eps);
}

ed_tensor *ed__linear_apply(ed_graph *g, const ed__linear *l, ed_tensor *x) {
    return ed_linear(g, x, ed_use(g, l->w), l->b ? ed_use(g, l->b) : NULL);
}

ed_tensor *ed__rotate(const ed_model *m, ed_graph *g, const ed_position *p, ed_tensor *x, const ed_tensor *positions) {
    const ed_model_config *c = &m->config;
    int64_t dims = c->rotary_dims ? c->rotary_dims : ed__head_dim(c);
    return p->rope ? ed_rope(g, x, positions, dims, c->rope_theta, c->rope_scale, (ed_rope_kind)c->rope_kind) : x;
}

/* ------------------------------------------------------------------ blocks */

static ed_tensor *mlp(const ed_model *m, ed_graph *g, const ed__block *b, ed_tensor *x) {
    const ed_model_config *c = &m->config;
    x = ed_site(g, "mlp_in", b->layer, x);
    ed_tensor *up = ed_site(g, "up", b->layer, ed__linear_apply(g, &b->up, x));
    ed_tensor *h;
    if (b->gate.w) {
        ed_tensor *gate = ed_site(g, "gate", b->layer, ed__linear_apply(g, &b->gate, x));
        h = ed_mul(g, ed_unary_op(g, (ed_unary)c->activation, gate), up);
    } else {
        h = ed_unary_op(g, (ed_unary)c->activation, up);
    }
    h = ed_site(g, "act", b->layer, h);
    h = ed_dropout(g, h, c->activation_dropout, site(b->causal, b->layer, SITE_ACT), false);
    return ed_site(g, "mlp_out", b->layer, ed__linear_apply(g, &b->down, h));
}

/** x + dropout(sublayer) with the norm before or after. */
static ed_tensor *residual(const ed_model *m, ed_graph *g, const ed__block *b, const ed__norm *n, ed_tensor *x, ed_tensor *y, int place) {
    y = ed_dropout(g, y, m->config.dropout, site(b->causal, b->layer, place), false);
    x = ed_add(g, x, y);
    return m->config.norm_place == ED_NORM_POST ? ed__norm_apply(m, g, n, x) : x;
}

static ed_tensor *attend(const ed_model *m, ed_graph *g, const ed__block *b, const ed__attention *a, bool cross, ed_tensor *x, ed__mix_fn mix, void *ctx) {
    ed_tensor *h = m->config.norm_place == ED_NORM_PRE ? ed__norm_apply(m, g, &a->norm, x) : x;
    h = ed_site(g, cross ? "cross_in" : "attn_in", b->layer, h);
    h = ed_site(g, cross ? "cross_heads" : "heads", b->layer, mix(ctx, m, g, b, a, cross, h));
    h = ed_site(g, cross ? "cross_out" : "attn_out", b->layer, ed__linear_apply(g, &a->o, h));
    return residual(m, g, b, &a->norm, x, h, cross ? SITE_CROSS : SITE_SELF);
}

ed_tensor *ed__block_apply(const ed_model *m, ed_graph *g, const ed__block *b, ed_tensor *x, ed__mix_fn mix, void *ctx) {
    x = ed_site(g, "in", b->layer, x);
    x = attend(m, g, b, &b->self, false, x, mix, ctx);
    if (b->cross.q.w)
        x = attend(m, g, b, &b->cross, true, x, mix, ctx);
    x = ed_site(g, "mid", b->layer, x);
    ed_tensor *h = mlp(m, g, b, m->config.norm_place == ED_NORM_PRE ? ed__norm_apply(m, g, &b->mlp_norm, x) : x);
    return ed_site(g, "out", b->layer, residual(m, g, b, &b->mlp_norm, x, h, SITE_MLP));
}

/* ------------------------------------------------------------------ embedding and end of a stack */

static ed_tensor *absolute_positions(const ed_model *m, ed_graph *g, const ed__stack *s, const ed_tensor *positions) {
    const ed_model_config *c = &m->config;
    int64_t n = ed_numel(positions), shape[2] = {s->pos.n_absolute, c->d_model};
    ed_tensor *ids = ed_new(g, ED_DTYPE_I32, positions->rank, positions->shape);
    if (!ids)
        return NULL;
    for (int64_t i = 0; i < n; i++) {
        int64_t p = ((const int32_t *)positions->data)[i] + c->position_offset;
        if (p < 0 || p >= s->pos.n_absolute)
            return ed_graph_fail(g, ED_E_RANGE, "position %lld: the model's longest sequence is %lld (max_positions)", (long long)(p - c->position_offset),
                                 (long long)c->max_positions);
        ((int32_t *)ids->data)[i] = (int32_t)p;
    }
    ed_tensor *table = s->pos.absolute ? ed_use(g, s->pos.absolute) : ed_wrap(g, m->dtype, 2, shape, s->pos.constants);
    return ed_gather_rows(g, table, ids);
}

ed_tensor *ed__embed(const ed_model *m, ed_graph *g, const ed__stack *s, const ed_tensor *ids, ed_tensor *embeddings, const ed_tensor *positions,
                     const ed_tensor *types) {
    const ed_model_config *c = &m->config;
    ed_tensor *x = embeddings;
    if (!x) {
        x = ed_gather_rows(g, ed_use(g, s->embed), ids);
        if (x && x->dtype != m->dtype)
            x = ed_cast(g, x, m->dtype);
        if (c->scale_embedding)
            x = ed_affine(g, x, sqrt((double)c->d_model), 0);
    }
    if (s->pos.n_absolute > 0)
        x = ed_add(g, x, absolute_positions(m, g, s, positions));
    if (s->types)
        x = ed_add(g, x, ed_gather_rows(g, ed_use(g, s->types), types));
    x = ed__norm_apply(m, g, &s->embed_norm, x);
    x = ed_dropout(g, x, c->dropout, site(s->causal, -1, SITE_EMBED), false);
    return ed_site(g, "embed", s->causal, x);
}

ed_tensor *ed__stack_finish(const ed_model *m, ed_graph *g, const ed__stack *s, ed_tensor *x) {
    return ed_site(g, "final", s->causal, ed__norm_apply(m, g, &s->final_norm, x));
}

/* ------------------------------------------------------------------ full passes */

/** What full attention needs to know about one pass. */
typedef struct pass {
    const ed_labels *self, *cross; /* NULL: plain causal / all keys */
    const ed_tensor *positions;    /* I32 [B, T] */
    const int32_t *pos;            /* explicit positions, or NULL = index */
    ed_tensor *memory;
    int64_t batch;
} pass;

static ed_tensor *split_heads(const ed_model *m, ed_graph *g, ed_tensor *x, int64_t heads) {
    return x ? ed_reshape(g, x, 4, (int64_t[]){x->shape[0], x->shape[1], heads, ed__head_dim(&m->config)}) : NULL;
}

/** The op's options from config and position seats. */
static ed_attention_opts attention_opts(const ed_model *m, ed_graph *g, const ed__block *b, const ed__attention *a, bool cross) {
    const ed_model_config *c = &m->config;
    ed_attention_opts o = ed_attention_opts_default();
    o.scale = c->attention_scale;
    o.softcap = c->softcap;
    o.dropout = c->attention_dropout;
    o.site = site(b->causal, b->layer, cross ? SITE_WEIGHTS_CROSS : SITE_WEIGHTS_SELF);
    if (a->pos.bias) {
        o.bias = ed_use(g, a->pos.bias);
        o.bias_map = a->pos.bias_map;
    }
    if (a->pos.post_scale) {
        o.post_scale = ed_use(g, a->pos.post_scale);
        o.post_map = a->pos.post_map;
    }
    o.slopes = a->pos.slopes;
    return o;
}

static ed_tensor *mix_full(void *ctx, const ed_model *m, ed_graph *g, const ed__block *b, const ed__attention *a, bool cross, ed_tensor *x) {
    const pass *p = ctx;
    const ed_model_config *c = &m->config;
    ed_tensor *from = cross ? p->memory : x;
    ed_tensor *q = ed_site(g, "q", b->layer, split_heads(m, g, ed__linear_apply(g, &a->q, x), c->n_heads));
    ed_tensor *k = ed_site(g, "k", b->layer, split_heads(m, g, ed__linear_apply(g, &a->k, from), ed__kv_heads(c)));
    ed_tensor *v = ed_site(g, "v", b->layer, split_heads(m, g, ed__linear_apply(g, &a->v, from), ed__kv_heads(c)));
    if (!cross) {
        q = ed__rotate(m, g, &a->pos, q, p->positions);
        k = ed__rotate(m, g, &a->pos, k, p->positions);
    }
    ed_attention_opts o = attention_opts(m, g, b, a, cross);
    o.labels = cross ? p->cross : p->self;
    o.causal = !cross && b->causal;
    o.q_start = cross ? 0 : -1;
    if (!cross && p->pos) {
        o.q_pos = o.k_pos = p->pos;
        o.pos_batch = p->batch;
    }
    ed_tensor *y = ed_attention(g, q, &(ed_kv){k, v}, 1, &o, NULL);
    return y ? ed_reshape(g, y, 3, (int64_t[]){y->shape[0], y->shape[1], y->shape[2] * y->shape[3]}) : NULL;
}

static void *graph_mem(ed_graph *g, size_t bytes) {
    void *p = ed_arena_alloc(ed_graph_arena(g), bytes);
    if (!p)
        ed_graph_fail(g, ED_E_LIMIT, "no room for %zu bytes of labels", bytes);
    return p;
}

/** valid[b, j] = j < lengths[b]; NULL when every row is real. */
static const uint8_t *valid_keys(ed_graph *g, const ed_rows *r) {
    uint8_t *v = r->lengths ? graph_mem(g, (size_t)(r->batch * r->len)) : NULL;
    for (int64_t b = 0; v && b < r->batch; b++)
        for (int64_t j = 0; j < r->len; j++)
            v[b * r->len + j] = j < r->lengths[b];
    return v;
}

/** Order of query rows of a causal pass whose first prefix[b] rows see each other. */
static const int32_t *prefix_orders(ed_graph *g, const ed_rows *r) {
    int32_t *o = graph_mem(g, (size_t)(r->batch * r->len) * sizeof *o);
    for (int64_t b = 0; o && b < r->batch; b++)
        for (int64_t t = 0; t < r->len; t++) {
            int32_t p = r->prefix ? r->prefix[b] : 0;
            o[b * r->len + t] = t < p ? p - 1 : (int32_t)t;
        }
    return o;
}

/** Labels of self-attention, or NULL when a plain causal or full mask says it all. Padding stands at the end, so that causal rows never see it. */
static const ed_labels *self_labels(ed_graph *g, const ed_rows *r, bool causal) {
    bool lengths = r->lengths && !causal;
    if (!lengths && !r->segments && !(causal && r->prefix))
        return NULL;
    ed_labels *l = graph_mem(g, sizeof *l);
    if (!l)
        return NULL;
    *l = (ed_labels){.batch = r->batch, .queries = r->len, .keys = r->len, .q_group = r->segments, .k_group = r->segments};
    l->k_valid = valid_keys(g, r);
    l->q_order = causal ? prefix_orders(g, r) : NULL;
    return l;
}

static const ed_labels *memory_labels(ed_graph *g, const ed_rows *src, int64_t queries) {
    if (!src->lengths)
        return NULL;
    ed_labels *l = graph_mem(g, sizeof *l);
    if (l)
        *l = (ed_labels){.batch = src->batch, .queries = queries, .keys = src->len, .k_valid = valid_keys(g, src)};
    return l;
}

static const ed_tensor *row_positions(ed_graph *g, const ed_rows *r) {
    int64_t shape[2] = {r->batch, r->len};
    if (r->positions)
        return ed_wrap(g, ED_DTYPE_I32, 2, shape, r->positions);
    ed_tensor *p = ed_new(g, ED_DTYPE_I32, 2, shape);
    for (int64_t i = 0; p && i < r->batch * r->len; i++)
        ((int32_t *)p->data)[i] = (int32_t)(i % r->len);
    return p;
}

static ed_tensor *run_stack(const ed_model *m, ed_graph *g, const ed__stack *s, const ed_rows *r, ed_tensor *memory, const ed_rows *src) {
    int64_t shape[2] = {r->batch, r->len};
    if (r->batch < 1 || r->len < 1 || (!r->ids && !r->embeddings))
        return ed_graph_fail(g, ED_E_INVALID, "a pass needs at least one row, with ids or embeddings");
    ed_tensor *ids = r->ids ? ed_wrap(g, ED_DTYPE_I32, 2, shape, r->ids) : NULL;
    ed_tensor *types = s->types ? (r->types ? ed_wrap(g, ED_DTYPE_I32, 2, shape, r->types) : ed_zeros(g, ED_DTYPE_I32, 2, shape)) : NULL;
    pass p = {.self = self_labels(g, r, s->causal), .cross = src ? memory_labels(g, src, r->len) : NULL, .positions = row_positions(g, r),
              .pos = r->positions, .memory = memory, .batch = r->batch};
    ed_tensor *x = ed__embed(m, g, s, ids, r->embeddings, p.positions, types);
    for (int64_t i = 0; i < s->n && x; i++) {
        ed_graph_mark mark = ed_graph_get_mark(g);
        x = ed__block_apply(m, g, &s->blocks[i], x, mix_full, &p);
        ed_graph_release(g, mark, &x, 1);
    }
    return ed__stack_finish(m, g, s, x);
}

ed_tensor *ed_model_encode(const ed_model *m, ed_graph *g, const ed_rows *src) {
    if (m->config.kind == ED_MODEL_DECODER)
        return ed_graph_fail(g, ED_E_STATE, "a decoder-only model has no encoder");
    return run_stack(m, g, &m->encoder, src, NULL, NULL);
}

ed_tensor *ed_model_decode(const ed_model *m, ed_graph *g, const ed_rows *tgt, ed_tensor *memory, const ed_rows *src) {
    if (m->config.kind == ED_MODEL_ENCODER)
        return ed_graph_fail(g, ED_E_STATE, "an encoder-only model has no decoder");
    if ((m->config.kind == ED_MODEL_ENCDEC) != (memory != NULL && src != NULL))
        return ed_graph_fail(g, ED_E_INVALID, "memory and source rows belong to encoder-decoder models, and they need them");
    return run_stack(m, g, &m->decoder, tgt, memory, src);
}

ed_tensor *ed_model_logits(const ed_model *m, ed_graph *g, ed_tensor *states) {
    if (!m->head.w)
        return ed_graph_fail(g, ED_E_STATE, "this model has no output layer");
    return ed_site(g, "logits", 0, ed__linear_apply(g, &m->head, states));
}
