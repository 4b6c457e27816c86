/* tensor/op_attention.c - the attention row: operand checks, outputs, dispatch by number format, flop count, and the public call.
 * Operands: 0 = q, then k and v of each run, then the hooks that are present (their places stand in ed__attn). The maths stands in endec/attention.h;
 * F64 runs in op_attention_f64.c (plain twin), F32 in op_attention_f32.c and op_attention_bwd.c (tiles). */
#include <math.h>

#include "tensor/attention.h"

enum { MAX_SEGMENTS = 64, MAX_HOOKS = 5 };
static const int64_t MAX_SPAN = (int64_t)1 << 24;

ed_attention_opts ed_attention_opts_default(void) {
    return (ed_attention_opts){.window = -1, .q_start = -1};
}

/* ------------------------------------------------------------------ shape: every check */

static bool check_kv(ed_call *c, const ed__attn *a) {
    const ed_tensor *q = c->in[0];
    bool f64 = q->dtype == ED_DTYPE_F64;
    for (int i = 1; i <= 2 * a->n_seg; i++) {
        const ed_tensor *t = c->in[i];
        bool store = !f64 && (t->dtype == ED_DTYPE_BF16 || t->dtype == ED_DTYPE_F16) && !ed_needs_grad(t);
        if (t->dtype != q->dtype && !store)
            return ed__op_fail(c, ED_E_DTYPE, "keys and values are %s, queries %s", ed_dtype_name(t->dtype), ed_dtype_name(q->dtype));
        int64_t d = i % 2 ? a->Dk : a->Dv;
        if (t->rank != 4 || t->shape[0] != a->B || t->shape[2] != a->Hkv || t->shape[3] != d || t->shape[1] != c->in[i % 2 ? i + 1 : i - 1]->shape[1])
            return ed__op_fail(c, ED_E_SHAPE, "keys or values of run %d do not fit [%lld, S, %lld, %lld]", (i - 1) / 2, (long long)a->B, (long long)a->Hkv,
                               (long long)d);
    }
    return true;
}

static bool check_table(ed_call *c, const ed__attn *a, int i, const ed_offset_map *m, const char *what) {
    if (i < 0)
        return true;
    const ed_tensor *t = c->in[i];
    if (t->dtype != c->in[0]->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "%s table is %s", what, ed_dtype_name(t->dtype));
    if (t->rank != 2 || (t->shape[1] != a->H && t->shape[1] != 1))
        return ed__op_fail(c, ED_E_SHAPE, "%s table needs the shape [n, %lld]", what, (long long)a->H);
    return ed__map_valid(m, t->shape[0]) || ed__op_fail(c, ED_E_INVALID, "the offset map does not fit the %s table of %lld rows", what, (long long)t->shape[0]);
}

static bool check_hook(ed_call *c, int i, int rank, const int64_t *shape, const char *what) {
    if (i < 0)
        return true;
    const ed_tensor *t = c->in[i];
    if (t->dtype != c->in[0]->dtype)
        return ed__op_fail(c, ED_E_DTYPE, "%s is %s", what, ed_dtype_name(t->dtype));
    if (t->rank == rank && memcmp(t->shape, shape, sizeof *shape * (size_t)rank) == 0)
        return true;
    char text[96];
    return ed__op_fail(c, ED_E_SHAPE, "%s has the shape %s", what, ed_shape_text(t, text, sizeof text));
}

static bool check_hooks(ed_call *c, const ed__attn *a) {
    int64_t n_rel = a->i_rel >= 0 && c->in[a->i_rel]->rank == 4 ? c->in[a->i_rel]->shape[3] : 0;
    const int64_t rel[4] = {a->B, a->H, a->T, n_rel}, kappa[2] = {a->B, a->S}, dense[4] = {a->B, a->H, a->T, a->S};
    if (!check_table(c, a, a->i_bias, &a->o.bias_map, "bias") || !check_table(c, a, a->i_post, &a->o.post_map, "post-softmax") ||
        !check_hook(c, a->i_rel, 4, rel, "the row-by-offset bias") || !check_hook(c, a->i_kappa, 2, kappa, "the per-key bias") ||
        !check_hook(c, a->i_dense, 4, dense, "the dense bias"))
        return false;
    return a->i_rel < 0 || ed__map_valid(&a->o.rel_map, n_rel) || ed__op_fail(c, ED_E_INVALID, "the offset map does not fit the row-by-offset bias");
}

static bool check_labels(ed_call *c, const ed__attn *a) {
    const ed_labels *l = a->o.labels;
    if (!l)
        return true;
    if ((l->batch != 1 && l->batch != a->B) || l->queries != a->T || l->keys != a->S)
        return ed__op_fail(c, ED_E_SHAPE, "labels are for [%lld, %lld, %lld], the call has [%lld, %lld, %lld]", (long long)l->batch, (long long)l->queries,
                           (long long)l->keys, (long long)a->B, (long long)a->T, (long long)a->S);
    if ((l->block_keep && (l->block < 1 || l->n_distances < 0)) || (l->ancestors && (l->n_scratch < 0 || l->scratch_first < 0)) || l->q_start < 0)
        return ed__op_fail(c, ED_E_INVALID, "an optional term of the labels has a negative size");
    for (int64_t b = 0; l->bitmap && b < a->B; b++) {
        int64_t m = l->bitmap_of ? l->bitmap_of[b] : l->n_bitmaps > 1 ? b : 0;
        if (m < 0 || m >= l->n_bitmaps)
            return ed__op_fail(c, ED_E_RANGE, "bitmap %lld of batch item %lld does not exist (%lld bitmaps)", (long long)m, (long long)b, (long long)l->n_bitmaps);
    }
    return true;
}

/* range of key position minus query position over all pairs */
static bool find_offsets(ed_call *c, ed__attn *a) {
    int64_t kmin = 0, kmax = a->S - 1, qmin = a->o.q_start, qmax = a->o.q_start + a->T - 1;
    int64_t pb = a->o.pos_batch > 1 ? a->o.pos_batch : 1;
    if ((a->o.q_pos || a->o.k_pos) && pb != 1 && pb != a->B)
        return ed__op_fail(c, ED_E_SHAPE, "positions for %lld batch items, the call has %lld", (long long)pb, (long long)a->B);
    if (a->o.k_pos && a->S > 0) {
        kmin = kmax = a->o.k_pos[0];
        for (int64_t i = 0; i < pb * a->S; i++) {
            kmin = a->o.k_pos[i] < kmin ? a->o.k_pos[i] : kmin;
            kmax = a->o.k_pos[i] > kmax ? a->o.k_pos[i] : kmax;
        }
    }
    if (a->o.q_pos && a->T > 0) {
        qmin = qmax = a->o.q_pos[0];
        for (int64_t i = 0; i < pb * a->T; i++) {
            qmin = a->o.q_pos[i] < qmin ? a->o.q_pos[i] : qmin;
            qmax = a->o.q_pos[i] > qmax ? a->o.q_pos[i] : qmax;
        }
    }
    a->off_lo = kmin - qmax;
    a->off_hi = kmax - qmin;
    bool used = a->i_bias >= 0 || a->i_post >= 0 || a->o.slopes;
    if (used && a->off_hi - a->off_lo >= MAX_SPAN)
        return ed__op_fail(c, ED_E_LIMIT, "positions lie %lld apart; the limit of offset tables is %lld", (long long)(a->off_hi - a->off_lo), (long long)MAX_SPAN);
    return true;
}

static bool check_sides(ed_call *c, const ed__attn *a) {
    for (int64_t i = 0; i < a->o.n_rows; i++)
        if (!a->o.rows || a->o.rows[i] < 0 || a->o.rows[i] >= a->T)
            return ed__op_fail(c, ED_E_RANGE, "wanted row %lld is not one of %lld", (long long)i, (long long)a->T);
    for (int64_t i = 0; i < a->o.n_column_rows; i++)
        if (!a->o.column_rows || a->o.column_rows[i] < 0 || a->o.column_rows[i] >= a->T)
            return ed__op_fail(c, ED_E_RANGE, "column row %lld is not one of %lld", (long long)i, (long long)a->T);
    for (int64_t i = 0; i < a->o.n_ranges; i++)
        if (!a->o.ranges || a->o.ranges[2 * i] < 0 || a->o.ranges[2 * i + 1] > a->S || a->o.ranges[2 * i] > a->o.ranges[2 * i + 1])
            return ed__op_fail(c, ED_E_RANGE, "key range %lld does not lie in [0, %lld)", (long long)i, (long long)a->S);
    return true;
}

static bool make_outputs(ed_call *c, ed__attn *a) {
    ed_dtype dt = c->in[0]->dtype;
    const int64_t o[4] = {a->B, a->T, a->H, a->Dv}, row[3] = {a->B, a->H, a->T}, rows[4] = {a->B, a->H, a->o.n_rows, a->S},
                  mass[4] = {a->B, a->H, a->T, a->o.n_ranges}, col[2] = {a->B, a->S};
    bool ok = ed__op_out(c, dt, 4, o) != NULL;
    a->out_entropy = a->out_hinge = a->aux_rows = a->aux_mass = a->aux_sum = a->aux_max = -1;
    if (ok && a->o.want_entropy) {
        a->out_entropy = c->n_out;
        ok = ed__op_out(c, dt, 3, row) != NULL;
    }
    if (ok && a->o.want_hinge) {
        a->out_hinge = c->n_out;
        ok = ed__op_out(c, dt, 3, row) != NULL;
    }
    ok = ok && ed__op_aux(c, dt, 3, row) != NULL; /* aux 0: lse */
    if (ok && a->o.n_rows > 0) {
        a->aux_rows = c->n_aux;
        ok = ed__op_aux(c, dt, 4, rows) != NULL;
    }
    if (ok && a->o.n_ranges > 0) {
        a->aux_mass = c->n_aux;
        ok = ed__op_aux(c, dt, 4, mass) != NULL;
    }
    if (ok && a->o.n_column_rows > 0) {
        a->aux_sum = c->n_aux;
        a->aux_max = c->n_aux + 1;
        ok = ed__op_aux(c, dt, 2, col) != NULL && ed__op_aux(c, dt, 2, col) != NULL;
    }
    return ok;
}

static void set_dropout(const ed_call *c, ed__attn *a) {
    double p = a->o.dropout;
    a->drop = p > 0 && ed_graph_get_opts(c->g)->train;
    a->drop_limit = (uint32_t)(p * 4294967296.0);
    if (a->drop)
        ed__graph_rng(c->g, a->o.site, c->pass, &a->key, a->counter);
}

static bool attention_shape(ed_call *c) {
    ed__attn *a = c->attrs;
    const ed_tensor *q = c->in[0], *k = c->in[1], *v = c->in[2];
    if (q->dtype != ED_DTYPE_F32 && q->dtype != ED_DTYPE_F64)
        return ed__op_fail(c, ED_E_DTYPE, "queries are %s", ed_dtype_name(q->dtype));
    if (q->rank != 4 || k->rank != 4 || v->rank != 4)
        return ed__op_fail(c, ED_E_SHAPE, "queries, keys and values need the axes [B, T, H, D]");
    a->B = q->shape[0], a->T = q->shape[1], a->H = q->shape[2], a->Dk = q->shape[3];
    a->Hkv = k->shape[2], a->Dv = v->shape[3], a->S = 0;
    if (a->Hkv < 1 || a->H < 1 || a->H % a->Hkv || a->Dk < 1 || a->Dv < 1)
        return ed__op_fail(c, ED_E_SHAPE, "%lld query heads over %lld kv heads, head widths %lld and %lld", (long long)a->H, (long long)a->Hkv, (long long)a->Dk,
                           (long long)a->Dv);
    a->G = a->H / a->Hkv;
    if (!check_kv(c, a))
        return false;
    for (int i = 0; i < a->n_seg; i++)
        a->S += c->in[1 + 2 * i]->shape[1];
    if (a->S > INT32_MAX / 2 || a->T > INT32_MAX / 2)
        return ed__op_fail(c, ED_E_LIMIT, "more than 2^30 rows");
    if (a->o.scale == 0)
        a->o.scale = 1 / sqrt((double)a->Dk);
    if (a->o.q_start < 0)
        a->o.q_start = a->S - a->T;
    set_dropout(c, a);
    if (a->drop && (a->S >= 1 << 24 || a->T >= 1 << 22 || a->B * a->H >= 1 << 20))
        return ed__op_fail(c, ED_E_LIMIT, "dropout is keyed for fewer than 2^24 keys, 2^22 queries, 2^20 heads");
    return check_hooks(c, a) && check_labels(c, a) && find_offsets(c, a) && check_sides(c, a) && make_outputs(c, a);
}

/* ------------------------------------------------------------------ dispatch */

void ed__attn_vis(const ed__attn *a, ed__vis *v) {
    *v = (ed__vis){.rows = a->T, .slots = a->S, .causal = a->o.causal, .no_skip = a->o.no_skip, .window = a->o.window, .q_start = a->o.q_start,
                   .labels = a->o.labels ? &a->labels : NULL};
}

static void attention_forward(const ed_call *c) {
    const ed__attn *a = c->attrs;
    ED_FLOAT_DISPATCH(c->in[0]->dtype, ed__attn_forward_f32(c), ed__attn_forward_f64(c));
    if (a->aux_rows >= 0 || a->aux_mass >= 0 || a->aux_sum >= 0)
        ed__attn_side(c);
}

static void attention_backward(const ed_call *c) {
    ED_FLOAT_DISPATCH(c->in[0]->dtype, ed__attn_backward_f32(c), ed__attn_backward_f64(c));
}

/* visited pairs, counted in blocks of 32 x 32 as the tiles visit them */
static double attention_flops(const ed_call *c) {
    const ed__attn *a = c->attrs;
    ed__vis v;
    ed__attn_vis(a, &v);
    size_t bytes = ed__vis_bytes(&v);
    void *mem = bytes ? ed__malloc(bytes) : NULL;
    if (bytes && !mem)
        return 0;
    ed__vis_init(&v, mem);
    double pairs = 0;
    bool alike = !v.labels || v.labels->batch == 1;
    for (int64_t b = 0; b < (alike ? 1 : a->B); b++) {
        for (int64_t qb = 0; qb < v.nq; qb++) {
            double rows = (double)(a->T - qb * ED__SUB < ED__SUB ? a->T - qb * ED__SUB : ED__SUB);
            for (int64_t kb = 0; kb < v.nk; kb++)
                pairs += ed__vis_class(&v, b, qb, kb) == ED__VIS_NONE ? 0 : rows * (double)(a->S - kb * ED__SUB < ED__SUB ? a->S - kb * ED__SUB : ED__SUB);
        }
    }
    ed__free(mem);
    return 2 * pairs * (double)(alike ? a->B : 1) * (double)a->H * (double)(a->Dk + a->Dv);
}

const ed_op ed__op_attention = {
    .name = "attention", .shape = attention_shape, .forward = attention_forward, .backward = attention_backward, .flops = attention_flops, .nonlinear = false};

/* ------------------------------------------------------------------ the public call */

/* a batch of 1 (or, for hooks, a head axis of 1) serves all: a view with stride 0 */
static ed_tensor *spread(ed_graph *g, ed_tensor *t, int64_t b, int64_t h) {
    if (!t || t->rank != 4)
        return t;
    int64_t shape[4] = {t->shape[0] == 1 ? b : t->shape[0], h && t->shape[1] == 1 ? h : t->shape[1], t->shape[2], t->shape[3]};
    return memcmp(shape, t->shape, sizeof shape) == 0 ? t : ed_expand(g, t, 4, shape);
}

static int add(ed_tensor **in, int *n, ed_tensor *t) {
    if (!t)
        return -1;
    in[*n] = t;
    return (*n)++;
}

static void fill_out(const ed_call *call, ed_attention_out *out) {
    const ed__attn *a = call->attrs;
    *out = (ed_attention_out){.o = call->out[0], .lse = call->aux[0]};
    out->entropy = a->out_entropy >= 0 ? call->out[a->out_entropy] : NULL;
    out->hinge = a->out_hinge >= 0 ? call->out[a->out_hinge] : NULL;
    out->rows = a->aux_rows >= 0 ? call->aux[a->aux_rows] : NULL;
    out->mass = a->aux_mass >= 0 ? call->aux[a->aux_mass] : NULL;
    out->column_sum = a->aux_sum >= 0 ? call->aux[a->aux_sum] : NULL;
    out->column_max = a->aux_max >= 0 ? call->aux[a->aux_max] : NULL;
}

ed_tensor *ed_attention(ed_graph *g, ed_tensor *q, const ed_kv *kv, int n, const ed_attention_opts *opts, ed_attention_out *out) {
    if (out)
        *out = (ed_attention_out){0};
    if (!q || !kv)
        return NULL;
    if (n < 1 || n > MAX_SEGMENTS)
        return ed_graph_fail(g, ED_E_INVALID, "attention: %d runs of keys; 1 to %d are allowed", n, MAX_SEGMENTS);
    ed__attn a = {.n_seg = n, .o = opts ? *opts : ed_attention_opts_default()};
    if (!(a.o.dropout >= 0 && a.o.dropout < 1) || !(a.o.softcap >= 0) || !isfinite(a.o.scale))
        return ed_graph_fail(g, ED_E_RANGE, "attention: dropout %g, softcap %g, scale %g", a.o.dropout, a.o.softcap, a.o.scale);
    if (a.o.labels)
        a.labels = *a.o.labels;
    ed_tensor *in[1 + 2 * MAX_SEGMENTS + MAX_HOOKS];
    int n_in = 0;
    int64_t b = q->shape[0];
    add(in, &n_in, q);
    for (int i = 0; i < n; i++) {
        if (!(in[n_in++] = spread(g, kv[i].k, b, 0)) || !(in[n_in++] = spread(g, kv[i].v, b, 0)))
            return NULL;
    }
    int64_t h = q->rank == 4 ? q->shape[2] : 0;
    a.i_bias = add(in, &n_in, a.o.bias);
    a.i_post = add(in, &n_in, a.o.post_scale);
    a.i_rel = add(in, &n_in, spread(g, a.o.rel, b, h));
    a.i_kappa = add(in, &n_in, a.o.key_bias);
    a.i_dense = add(in, &n_in, spread(g, a.o.dense, b, h));
    if ((a.o.rel && a.i_rel < 0) || (a.o.dense && a.i_dense < 0))
        return NULL;
    const ed_call *call;
    ed_tensor *o = ed__op_run(g, &ed__op_attention, &a, sizeof a, in, n_in, 0, &call);
    if (o && out)
        fill_out(call, out);
    return o;
}
