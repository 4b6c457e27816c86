/* tests/unit/attention_cases.h - random attention problems and a naive f64 twin written from the formula alone, shared by the attention tests. */
#ifndef ATTENTION_CASES_H
#define ATTENTION_CASES_H

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "endec/attention.h"
#include "endec/ops.h"

/* what of the hooks a case uses */
enum {
    C_CAUSAL = 1, C_WINDOW = 2, C_LABELS = 4, C_BIAS = 8, C_POST = 16, C_REL = 32, C_KAPPA = 64, C_DENSE = 128, C_ONE = 256, C_CAP = 512, C_SLOPES = 1024,
    C_POS = 2048, C_TILED = 4096, C_ENTROPY = 8192, C_HINGE = 16384, C_DROP = 32768, C_VALID = 65536, C_TREE = 1 << 17, C_BITMAP = 1 << 18, C_BLOCKS = 1 << 19,
    C_SELF = 1 << 20, C_SPLIT = 1 << 21, C_SHARED_ALL = 1 << 22, C_T5 = 1 << 23, C_ONEHEAD = 1 << 24
};

typedef struct acase {
    int64_t B, T, S, H, Hkv, Dk, Dv;
    uint32_t flags;
    double amp; /* scale of q */
    /* data in f64 */
    double *q, *k, *v, *bias, *post, *rel, *kappa, *dense;
    int64_t n_bias, n_post, n_rel;
    ed_labels labels;
    ed_attention_opts o;
    double slopes[64];
    int32_t *ints;
    int64_t n_ints;
    uint8_t *valid, *keep;
    float *bonus;
    uint64_t *bits, *tree;
    int32_t *q_pos, *k_pos;
    ed_arena *arena;
} acase;

static inline double *arand(ed_rng *r, int64_t n, double amp) {
    double *p = malloc(sizeof *p * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        p[i] = (double)(float)(amp * (2 * ed_rng_uniform(r) - 1));
    return p;
}

static inline int32_t *aints(ed_rng *r, int64_t n, int64_t lo, int64_t hi) {
    int32_t *p = malloc(sizeof *p * (size_t)(n + 1));
    for (int64_t i = 0; i < n; i++)
        p[i] = (int32_t)(lo + (int64_t)ed_rng_below(r, (uint64_t)(hi - lo + 1)));
    return p;
}

static inline void acase_labels(acase *c, ed_rng *r) {
    int64_t lb = ed_rng_below(r, 2) ? c->B : 1, T = c->T, S = c->S;
    ed_labels *l = &c->labels;
    *l = (ed_labels){.batch = lb, .queries = T, .keys = S, .q_start = S > T ? S - T : 0};
    if (c->flags & C_LABELS) {
        int32_t *qo = aints(r, lb * T, 0, S), *qg = aints(r, lb * T, 0, 2), *ql = aints(r, lb * T, -1, S), *qw = aints(r, lb * T, -3, S / 4);
        int32_t *ko = aints(r, lb * S, 0, S), *kg = aints(r, lb * S, -1, 2);
        for (int64_t i = 0; i < lb * T; i++) /* runs of equal groups, so that whole blocks agree now and then */
            qg[i] = i / 40 % 3;
        for (int64_t i = 0; i < lb * S; i++) {
            kg[i] = (int32_t)(i / 70 % 3) - (i / 70 % 3 == 2 ? 3 : 0);
            ko[i] = (int32_t)(i % S);
        }
        if (c->flags & C_SHARED_ALL)
            for (int64_t i = 0; i < lb * T; i++)
                qg[i] = i % 7 == 0 ? ED_GROUP_ALL : i % 5 == 0 ? ED_GROUP_SHARED : qg[i];
        l->q_order = qo, l->q_group = qg, l->q_limit = ql, l->q_low = qw, l->k_order = ko, l->k_group = kg;
    }
    if (c->flags & C_VALID) {
        c->valid = malloc((size_t)(lb * S + 1));
        for (int64_t i = 0; i < lb * S; i++)
            c->valid[i] = ed_rng_below(r, 4) != 0;
        l->k_valid = c->valid;
    }
    if (c->flags & C_TREE) {
        l->scratch_first = S / 2, l->n_scratch = S - S / 2;
        int64_t w = (l->n_scratch + 63) / 64;
        c->tree = malloc(sizeof(uint64_t) * (size_t)(lb * T * w + 1));
        for (int64_t i = 0; i < lb * T * w; i++)
            c->tree[i] = ed_rng_u64(r) | ed_rng_u64(r);
        l->ancestors = c->tree;
    }
    if (c->flags & C_BITMAP) {
        int64_t w = (S + 63) / 64;
        l->n_bitmaps = c->B;
        c->bits = malloc(sizeof(uint64_t) * (size_t)(c->B * T * w + 1));
        for (int64_t i = 0; i < c->B * T * w; i++)
            c->bits[i] = ed_rng_u64(r);
        l->bitmap = c->bits;
    }
    if (c->flags & C_BLOCKS) {
        l->block = 24, l->n_distances = S / 24 + 2;
        c->keep = malloc((size_t)l->n_distances);
        c->bonus = malloc(sizeof(float) * (size_t)l->n_distances);
        for (int64_t i = 0; i < l->n_distances; i++)
            c->keep[i] = i == 0 || ed_rng_below(r, 2), c->bonus[i] = (float)ed_rng_uniform(r);
        l->block_keep = c->keep, l->block_bonus = c->bonus;
    }
    l->exclude_self = c->flags & C_SELF;
}

static inline void acase_make(acase *c, uint64_t seed) {
    ed_rng r = ed_rng_make(seed, 5);
    int64_t hb = c->flags & C_ONEHEAD ? 1 : c->H;
    double amp = c->amp > 0 ? c->amp : 1.5;
    ed_attention_opts o = ed_attention_opts_default();
    assert_int_equal(ed_arena_create(0, &c->arena), ED_OK);
    c->q = arand(&r, c->B * c->T * c->H * c->Dk, amp);
    c->k = arand(&r, c->B * c->S * c->Hkv * c->Dk, amp);
    c->v = arand(&r, c->B * c->S * c->Hkv * c->Dv, 1);
    o.causal = c->flags & C_CAUSAL;
    o.window = c->flags & C_WINDOW ? 21 : -1;
    o.softmax_one = c->flags & C_ONE;
    o.softcap = c->flags & C_CAP ? 2.5 : 0;
    o.tiled_heads = c->flags & C_TILED;
    o.want_entropy = c->flags & C_ENTROPY;
    o.want_hinge = c->flags & C_HINGE;
    o.dropout = c->flags & C_DROP ? 0.3 : 0;
    o.site = 99;
    o.bias_map = ed_offset_map_clamp(40);
    if (c->flags & C_T5)
        assert_int_equal(ed_offset_map_t5(c->arena, !(c->flags & C_CAUSAL), 16, 50, &o.bias_map), ED_OK);
    o.post_map = ed_offset_map_clamp(55);
    o.rel_map = (ed_offset_map){.lo = -30, .hi = 33, .n = 64};
    c->n_bias = o.bias_map.n, c->n_post = o.post_map.n, c->n_rel = o.rel_map.n;
    c->bias = arand(&r, c->n_bias * hb, 1);
    c->post = arand(&r, c->n_post * hb, 1.5);
    c->rel = arand(&r, c->B * c->H * c->T * c->n_rel, 1);
    c->kappa = arand(&r, c->B * c->S, 2);
    c->dense = arand(&r, c->B * c->H * c->T * c->S, 1);
    for (int64_t h = 0; h < c->H; h++)
        c->slopes[h] = 0.25 / (double)(h + 1);
    if (c->flags & C_SLOPES)
        o.slopes = c->slopes;
    if (c->flags & C_POS) {
        c->q_pos = aints(&r, c->B * c->T, -20, 90);
        c->k_pos = aints(&r, c->B * c->S, -20, 90);
        o.q_pos = c->q_pos, o.k_pos = c->k_pos, o.pos_batch = c->B;
    }
    if (c->flags & (C_LABELS | C_VALID | C_TREE | C_BITMAP | C_BLOCKS | C_SELF)) {
        acase_labels(c, &r);
        o.labels = &c->labels;
    }
    c->o = o;
}

static inline void acase_free(acase *c) {
    free(c->q), free(c->k), free(c->v), free(c->bias), free(c->post), free(c->rel), free(c->kappa), free(c->dense), free(c->valid), free(c->keep), free(c->bonus);
    free(c->bits), free(c->tree), free(c->q_pos), free(c->k_pos);
    free((void *)(uintptr_t)c->labels.q_order), free((void *)(uintptr_t)c->labels.q_group), free((void *)(uintptr_t)c->labels.q_limit);
    free((void *)(uintptr_t)c->labels.q_low), free((void *)(uintptr_t)c->labels.k_order), free((void *)(uintptr_t)c->labels.k_group);
    ed_arena_destroy(&c->arena);
}

/* a tensor of dtype dt holding f64 data, watched */
static inline ed_tensor *afeed(ed_graph *g, ed_dtype dt, int rank, const int64_t *shape, const double *v) {
    ed_tensor *t = ed_new(g, dt, rank, shape);
    assert_non_null(t);
    for (int64_t i = 0; i < ed_numel(t); i++) {
        if (dt == ED_DTYPE_F64)
            ((double *)t->data)[i] = v[i];
        else
            ((float *)t->data)[i] = (float)v[i];
    }
    return ed_watch(g, t);
}

typedef struct afed {
    ed_tensor *q, *bias, *post, *rel, *kappa, *dense;
    ed_kv kv[3];
    int n;
    ed_tensor *o;
    ed_attention_out out;
} afed;

static inline double *apart(const double *x, int64_t B, int64_t S, int64_t w, int64_t a, int64_t b) {
    double *p = malloc(sizeof *p * (size_t)(B * (b - a) * w + 1));
    for (int64_t i = 0; i < B; i++)
        memcpy(p + i * (b - a) * w, x + (i * S + a) * w, sizeof *p * (size_t)((b - a) * w));
    return p;
}

static inline void arun(ed_graph *g, const acase *c, ed_dtype dt, afed *f) {
    int64_t hb = c->flags & C_ONEHEAD ? 1 : c->H;
    ed_attention_opts o = c->o;
    memset(f, 0, sizeof *f);
    f->q = afeed(g, dt, 4, (int64_t[]){c->B, c->T, c->H, c->Dk}, c->q);
    int64_t cut[4] = {0, c->S, c->S, c->S};
    f->n = 1;
    if (c->flags & C_SPLIT)
        cut[1] = c->S / 3, cut[2] = c->S / 3 + c->S / 2, f->n = 3;
    for (int i = 0; i < f->n; i++) {
        double *k = apart(c->k, c->B, c->S, c->Hkv * c->Dk, cut[i], cut[i + 1]), *v = apart(c->v, c->B, c->S, c->Hkv * c->Dv, cut[i], cut[i + 1]);
        f->kv[i].k = afeed(g, dt, 4, (int64_t[]){c->B, cut[i + 1] - cut[i], c->Hkv, c->Dk}, k);
        f->kv[i].v = afeed(g, dt, 4, (int64_t[]){c->B, cut[i + 1] - cut[i], c->Hkv, c->Dv}, v);
        free(k), free(v);
    }
    if (c->flags & C_BIAS)
        o.bias = f->bias = afeed(g, dt, 2, (int64_t[]){c->n_bias, hb}, c->bias);
    if (c->flags & C_POST)
        o.post_scale = f->post = afeed(g, dt, 2, (int64_t[]){c->n_post, hb}, c->post);
    if (c->flags & C_REL)
        o.rel = f->rel = afeed(g, dt, 4, (int64_t[]){c->B, c->H, c->T, c->n_rel}, c->rel);
    if (c->flags & C_KAPPA)
        o.key_bias = f->kappa = afeed(g, dt, 2, (int64_t[]){c->B, c->S}, c->kappa);
    if (c->flags & C_DENSE)
        o.dense = f->dense = afeed(g, dt, 4, (int64_t[]){c->B, c->H, c->T, c->S}, c->dense);
    f->o = ed_attention(g, f->q, f->kv, f->n, &o, &f->out);
    if (!f->o) {
        ed_error e;
        char text[1024];
        ed_graph_status(g, &e);
        fail_msg("%s", ed_error_text(&e, text, sizeof text));
    }
}

/* ------------------------------------------------------------------ the naive twin */

static inline bool abit(const uint64_t *w, int64_t i) {
    return w[i / 64] >> (i % 64) & 1;
}

static inline bool asees(const acase *c, int64_t b, int64_t t, int64_t j) {
    const ed_labels *l = c->o.labels;
    int64_t start = c->o.q_start < 0 ? c->S - c->T : c->o.q_start;
    if (!l)
        return (!c->o.causal || j <= start + t) && (c->o.window < 0 || j >= start + t - c->o.window);
    int64_t i = (l->batch > 1 ? b : 0) * l->queries + t, m = (l->batch > 1 ? b : 0) * l->keys + j;
    int64_t ko = l->k_order ? l->k_order[m] : j, kg = l->k_group ? l->k_group[m] : 0, qg = l->q_group ? l->q_group[i] : 0;
    int64_t qo = l->q_order ? l->q_order[i] : INT_MAX, ql = l->q_limit ? l->q_limit[i] : INT_MAX, low = l->q_low ? l->q_low[i] : INT_MIN;
    bool seen = false;
    if (kg == qg && ko <= qo)
        seen = true;
    if (kg == ED_GROUP_SHARED && ko <= ql)
        seen = true;
    if (qg == ED_GROUP_ALL)
        seen = true;
    if (l->k_valid && !l->k_valid[m])
        seen = false;
    if (ko < low)
        seen = false;
    if (l->ancestors && j >= l->scratch_first && j < l->scratch_first + l->n_scratch && !abit(l->ancestors + i * ((l->n_scratch + 63) / 64), j - l->scratch_first))
        seen = false;
    if (l->bitmap && !abit(l->bitmap + (b * l->queries + t) * ((l->keys + 63) / 64), j))
        seen = false;
    if (l->block_keep) {
        int64_t d = (l->q_start + t) / l->block - j / l->block;
        if (d < 0 || d >= l->n_distances || !l->block_keep[d])
            seen = false;
    }
    return seen && !(l->exclude_self && j == l->q_start + t);
}

static inline double atable(const double *x, const ed_offset_map *m, int64_t heads, int64_t h, int64_t off) {
    int64_t r = off < m->lo ? m->lo : off > m->hi ? m->hi : off;
    r -= m->lo;
    if (m->bucket)
        r = m->bucket[r];
    return x[r * heads + (heads == 1 ? 0 : h)];
}

typedef struct anaive {
    double *o, *lse, *entropy, *hinge, *p; /* [B,T,H,Dv], [B,H,T] x 3, [B,H,T,S] */
} anaive;

static inline void anaive_free(anaive *n) {
    free(n->o), free(n->lse), free(n->entropy), free(n->hinge), free(n->p);
}

static inline anaive anaive_run(const acase *c) {
    anaive n = {calloc((size_t)(c->B * c->T * c->H * c->Dv + 1), 8), calloc((size_t)(c->B * c->H * c->T + 1), 8), calloc((size_t)(c->B * c->H * c->T + 1), 8),
                calloc((size_t)(c->B * c->H * c->T + 1), 8), calloc((size_t)(c->B * c->H * c->T * c->S + 1), 8)};
    int64_t start = c->S - c->T, hb = c->flags & C_ONEHEAD ? 1 : c->H;
    double *s = malloc(sizeof *s * (size_t)(c->S + 1));
    for (int64_t b = 0; b < c->B; b++)
        for (int64_t h = 0; h < c->H; h++)
            for (int64_t t = 0; t < c->T; t++) {
                int64_t kh = c->o.tiled_heads ? h % c->Hkv : h / (c->H / c->Hkv), at = (b * c->H + h) * c->T + t;
                double m = -INFINITY, l = 0, e = 0;
                for (int64_t j = 0; j < c->S; j++) {
                    s[j] = -INFINITY;
                    if (!asees(c, b, t, j))
                        continue;
                    double x = 0;
                    for (int64_t d = 0; d < c->Dk; d++)
                        x += c->q[((b * c->T + t) * c->H + h) * c->Dk + d] * c->k[((b * c->S + j) * c->Hkv + kh) * c->Dk + d];
                    x /= sqrt((double)c->Dk);
                    if (c->flags & C_CAP)
                        x = 2.5 * tanh(x / 2.5);
                    int64_t off = (c->k_pos ? c->k_pos[b * c->S + j] : j) - (c->q_pos ? c->q_pos[b * c->T + t] : start + t);
                    if (c->flags & C_BIAS)
                        x += atable(c->bias, &c->o.bias_map, hb, h, off);
                    if (c->flags & C_SLOPES)
                        x -= c->slopes[h] * fabs((double)off);
                    if (c->flags & C_REL)
                        x += c->rel[at * c->n_rel + (off < -30 ? 0 : off > 33 ? 63 : off + 30)];
                    if (c->flags & C_DENSE)
                        x += c->dense[at * c->S + j];
                    if (c->flags & C_BLOCKS)
                        x += (double)c->bonus[(c->labels.q_start + t) / 24 - j / 24];
                    if (x > 5)
                        n.hinge[at] += x - 5;
                    s[j] = x + (c->flags & C_KAPPA ? c->kappa[b * c->S + j] : 0);
                    m = s[j] > m ? s[j] : m;
                }
                if (m == -INFINITY) {
                    n.lse[at] = m;
                    continue;
                }
                for (int64_t j = 0; j < c->S; j++)
                    l += exp(s[j] - m);
                if (c->o.softmax_one)
                    l += exp(-m);
                n.lse[at] = m + log(l);
                for (int64_t j = 0; j < c->S; j++) {
                    double p = exp(s[j] - n.lse[at]), w = p;
                    n.p[at * c->S + j] = p;
                    if (s[j] == -INFINITY)
                        continue;
                    e -= p * (s[j] - n.lse[at]);
                    int64_t off = (c->k_pos ? c->k_pos[b * c->S + j] : j) - (c->q_pos ? c->q_pos[b * c->T + t] : start + t);
                    if (c->flags & C_POST)
                        w *= atable(c->post, &c->o.post_map, hb, h, off);
                    for (int64_t d = 0; d < c->Dv; d++)
                        n.o[((b * c->T + t) * c->H + h) * c->Dv + d] += w * c->v[((b * c->S + j) * c->Hkv + kh) * c->Dv + d];
                }
                if (c->o.softmax_one)
                    e += exp(-n.lse[at]) * n.lse[at]; /* the unseen key with score 0 */
                n.entropy[at] = e;
            }
    free(s);
    return n;
}

static inline void aclose(const char *what, const ed_tensor *t, const double *want, double tol) {
    int64_t n = ed_numel(t);
    double *got = malloc(sizeof *got * (size_t)(n + 1));
    ed_copy_out_f64(t, got);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tol * fmax(1, fabs(want[i])) || (got[i] == want[i])))
            fail_msg("%s element %lld: %.9g, expected %.9g", what, (long long)i, got[i], want[i]);
    free(got);
}

static inline ed_graph *agraph(bool train) {
    ed_graph *g;
    ed_graph_opts o = train ? ed_graph_opts_train() : ed_graph_opts_infer();
    assert_int_equal(ed_graph_create(&o, &g), ED_OK);
    ed_graph_seed(g, 7, 2);
    return g;
}

#endif
