/* tensor/op_attention_bwd.c - the F32 backward pass of the attention op: recomputes p from the log-sum-exp tile by tile.
 *
 *     P = p c drop      dP = do . v      D = sum_j P dP = do . o      ds = p (dP c drop - D) - dE p (s - u) + dH [s - kappa > 5]
 *     dv += P^T do      dk += scale dz^T q      dq += scale dz k      dz = ds cap'      db, dr, dd += ds      dkappa += ds without the hinge      dc += dP drop p
 *
 * A task is one (batch item, kv head, share of the key tiles): dk and dv of a tile have one writer, which visits query rows in ascending order. Shares (only
 * when there are few heads) keep dq sums of their own, added in ascending order afterwards; their number follows from shapes alone. */
#include <math.h>

#include "tensor/attention_tiles.h"

typedef struct bwd_job {
    const ed_call *c;
    const ed__attn *a;
    const ed__vis *v;
    const ed__tiles *x;
    const float *d_o, *d_entropy, *d_hinge; /* NULL: no gradient arrived */
    float **grad;                           /* [n_in] accumulation buffers or NULL */
    bool *fresh;                            /* [n_in] the buffer of q, k or v holds nothing yet: the first writer overwrites it */
    float *dq;                              /* [shares, B, Hkv, G * T, Dkp]; one share: [workers, G * T, Dkp] */
    float *table_bias, *table_post;         /* [shares * B * Hkv, G, n of the spread] partial sums or NULL */
    float *kappa;                           /* [B, Hkv, slots rounded up] or NULL */
    int64_t shares, tasks, workers, floats;
    float *mem;
    ed__run *runs;
} bwd_job;

/** Worker memory beside the bench. */
typedef struct bwd_bench {
    ed__bench w;
    float *vt;            /* [Dv, 128] */
    float *k;             /* [128, Dkp] */
    float *dp;            /* [32, 128] */
    float *q, *d_o;       /* [32, Dkp] scaled, [32, Dvp] of the block */
    float *big_d;         /* [32] do . o */
    float *dk, *dv;       /* [128, Dkp], [128, Dvp] */
    float *slope, *raw, *ds, *gated, *d_post; /* [128] */
} bwd_bench;

static int64_t bwd_floats(const ed__tiles *x) {
    return (int64_t)ed__bench_floats(x, ED__ROWS) + ED__TILE * (x->Dv + 2 * x->Dkp + x->Dvp + ED__ROWS + 5) + ED__ROWS * (x->Dkp + x->Dvp + 1) + 16;
}

static float *take(float **mem, int64_t n) {
    float *p = *mem;
    *mem += n;
    return p;
}

static void bwd_init(bwd_bench *w, const ed__tiles *x, float *mem) {
    ed__bench_init(&w->w, x, ED__ROWS, mem);
    mem += ed__bench_floats(x, ED__ROWS);
    w->vt = take(&mem, ED__TILE * x->Dv);
    w->k = take(&mem, ED__TILE * x->Dkp);
    w->dp = take(&mem, ED__TILE * ED__ROWS);
    w->dk = take(&mem, ED__TILE * x->Dkp);
    w->dv = take(&mem, ED__TILE * x->Dvp);
    w->q = take(&mem, ED__ROWS * x->Dkp);
    w->d_o = take(&mem, ED__ROWS * x->Dvp);
    w->big_d = take(&mem, ED__ROWS);
    w->slope = take(&mem, ED__TILE);
    w->raw = take(&mem, ED__TILE);
    w->ds = take(&mem, ED__TILE);
    w->gated = take(&mem, ED__TILE);
    w->d_post = take(&mem, ED__TILE);
}

/* ------------------------------------------------------------------ a tile */

static void pack(const bwd_job *j, const ed__unit *u, bwd_bench *w, int64_t tile) {
    const ed__tiles *x = j->x;
    int64_t slot = tile * ED__TILE, n = u->slots - slot < ED__TILE ? u->slots - slot : ED__TILE, n32 = (n + ED__SUB - 1) / ED__SUB * ED__SUB;
    w->w.tile = tile;
    w->w.n_slots = n32;
    ed__tiles_load(u, false, slot, n32, x->Dk, x->Dkp, w->k);
    x->kn->transpose(w->k, x->Dkp, n32, x->Dk, w->w.kt);
    ed__tiles_load(u, true, slot, n32, x->Dv, x->Dvp, w->w.vp);
    x->kn->transpose(w->w.vp, x->Dvp, n32, x->Dv, w->vt);
    ed__tiles_side(x, u, &w->w, tile);
    memset(w->dk, 0, sizeof(float) * (size_t)(n32 * x->Dkp));
    memset(w->dv, 0, sizeof(float) * (size_t)(n32 * x->Dvp));
}

/* scaled q, do, and D = do . o of query rows [t0, t1) of head h */
static void load_block(const bwd_job *j, const ed__unit *u, bwd_bench *w, int64_t h, int64_t t0, int64_t t1) {
    const ed__tiles *x = j->x;
    const ed__attn *a = j->a;
    for (int64_t t = t0; t < t1; t++) {
        const float *q = u->q + t * u->q_row + h * u->q_head;
        float *dst = w->q + (t - t0) * x->Dkp, *d_o = w->d_o + (t - t0) * x->Dvp;
        ed__copy_scaled(q, u->q_col, x->Dk, x->scale, dst);
        for (int64_t d = x->Dk; d < x->Dkp; d++)
            dst[d] = 0;
        int64_t at = ((u->b * a->T + t) * a->H + h) * a->Dv;
        if (j->d_o)
            memcpy(d_o, j->d_o + at, sizeof *d_o * (size_t)a->Dv);
        for (int64_t d = j->d_o ? x->Dv : 0; d < x->Dvp; d++)
            d_o[d] = 0;
        w->big_d[t - t0] = j->d_o ? x->kn->dot(d_o, (const float *)j->c->out[0]->data + at, a->Dv) : 0;
    }
}

static void add_to(float *dst, const float *src, const int32_t *k_pos, int64_t base, int64_t n, uint32_t active) {
    for (int i = 0; i < ED__TILE; i++) {
        if (!(active >> (i / ED__SUB) & 1u))
            continue;
        int64_t o = k_pos ? k_pos[i] - base : i;
        o = o < 0 ? 0 : o >= n ? n - 1 : o;
        dst[o] += src[i];
    }
}

/* sums into a spread table row: in place when positions run with the slots */
static void add_table(const ed__unit *u, const bwd_bench *w, const ed__spread *s, float *row, int64_t q_pos, const float *src, uint32_t active) {
    if (!u->k_pos && !u->q_pos)
        add_to(row + (u->base + w->w.tile * ED__TILE - q_pos - s->lo), src, NULL, 0, ED__TILE, active);
    else
        add_to(row, src, w->w.k_pos, q_pos + s->lo, s->n, active);
}

static void push_row(const bwd_job *j, const ed__unit *u, const bwd_bench *w, int64_t task, int64_t g, int64_t h, int64_t t, uint32_t active) {
    const ed__attn *a = j->a;
    int64_t q_pos = u->q_pos ? u->q_pos[t] : u->pos0 + t, slot = w->w.tile * ED__TILE;
    if (j->table_bias)
        add_table(u, w, &j->x->bias, j->table_bias + (task * a->G + g) * j->x->bias.n, q_pos, w->ds, active);
    if (j->table_post)
        add_table(u, w, &j->x->post, j->table_post + (task * a->G + g) * j->x->post.n, q_pos, w->d_post, active);
    if (j->kappa)
        add_to(j->kappa + (u->b * a->Hkv + u->kvh) * ((a->S + ED__TILE) & ~(int64_t)(ED__TILE - 1)) + slot, w->gated, NULL, 0, ED__TILE, active);
    float *rel = a->i_rel >= 0 ? j->grad[a->i_rel] : NULL, *dense = a->i_dense >= 0 ? j->grad[a->i_dense] : NULL;
    int64_t at = (u->b * a->H + h) * a->T + t, n_rel = rel ? j->c->in[a->i_rel]->shape[3] : 0;
    for (int i = 0; (rel || dense) && i < ED__TILE && slot + i < u->slots; i++) {
        if (!(active >> (i / ED__SUB) & 1u))
            continue;
        if (rel && w->ds[i] != 0)
            rel[at * n_rel + ed_offset_map_at(&a->o.rel_map, w->w.k_pos[i] - q_pos)] += w->ds[i];
        if (dense)
            dense[at * a->S + slot + i] += w->ds[i];
    }
}

static bool plain_rows(const bwd_job *j, const ed__unit *u) {
    const ed__tiles *x = j->x;
    return x->softcap == 0 && !x->bias.value && !x->post.value && !x->drop && !u->kappa && !u->rel && !u->dense && !j->d_hinge && !j->d_entropy &&
           !(u->vis->labels && u->vis->labels->block_bonus);
}

/* scores and dP of the block become P and dz */
static void grad_rows(const bwd_job *j, const ed__unit *u, bwd_bench *w, int64_t task, int64_t g, int64_t h, int64_t t0, int64_t t1, uint32_t active,
                      uint32_t partial) {
    const ed__attn *a = j->a;
    const ed__tiles *x = j->x;
    bool plain = plain_rows(j, u), tables = j->table_bias || j->table_post || j->kappa || (a->i_rel >= 0 && j->grad[a->i_rel]) ||
                                            (a->i_dense >= 0 && j->grad[a->i_dense]);
    for (int64_t t = t0; t < t1; t++) {
        int64_t at = (u->b * a->H + h) * a->T + t;
        float *s = w->w.s + (t - t0) * ED__TILE, *dp = w->dp + (t - t0) * ED__TILE, lse = ((const float *)j->c->aux[0]->data)[at];
        edk_attn_grad r = {.active = active, .lse = lse == -INFINITY ? 0 : lse, .big_d = w->big_d[t - t0]};
        edk_attn_finish f = {.active = active, .partial = partial, .mask = w->w.mask, .softcap = x->softcap, .kappa = u->kappa ? w->w.kappa : NULL,
                             .slope = x->softcap > 0 ? w->slope : NULL, .raw = j->d_hinge ? w->raw : NULL};
        if (partial)
            ed__tiles_mask(x, u, t, w->w.tile, partial, w->w.mask);
        if (!plain)
            ed__tiles_hooks(x, u, &w->w, h, t, active, &f.bias, &f.extra, &r.post, &r.drop);
        if (!plain || partial)
            x->kn->finish(&f, s);
        r.raw = f.raw, r.slope = f.slope;
        r.d_hinge = j->d_hinge ? j->d_hinge[at] : 0;
        r.d_entropy = j->d_entropy ? j->d_entropy[at] : 0;
        r.mean_score = a->out_entropy >= 0 ? lse - ((const float *)j->c->out[a->out_entropy]->data)[at] : 0;
        if (tables)
            r.ds = w->ds, r.gated = w->gated, r.d_post = j->table_post ? w->d_post : NULL;
        x->kn->grad(&r, s, dp);
        if (tables)
            push_row(j, u, w, task, g, h, t, active);
    }
}

/* all five products of a block of query rows and a tile, run by run of the active subs */
static void block(const bwd_job *j, const ed__unit *u, bwd_bench *w, int64_t task, int64_t g, int64_t t0, int64_t t1, float *dq) {
    const ed__tiles *x = j->x;
    uint32_t partial, active = ed__tiles_active(u, t0 / ED__ROWS, w->w.tile, &partial);
    int64_t m = t1 - t0, h = ed__attn_q_head(x->tiled, x->Hkv, x->G, u->kvh, g);
    if (!active)
        return;
    load_block(j, u, w, h, t0, t1);
    for (int pass = 0; pass < 2; pass++) {
        for (int s = 0; s < ED__SUBS; s++) {
            if (!(active >> s & 1u))
                continue;
            int e = s + 1;
            while (e < ED__SUBS && active >> e & 1u)
                e++;
            int64_t at = s * ED__SUB, n = (e - s) * ED__SUB;
            s = e;
            if (pass == 0) {
                x->kn->gemm(m, n, x->Dk, w->q, x->Dkp, 1, w->w.kt + at, ED__TILE, w->w.s + at, ED__TILE, false);
                x->kn->gemm(m, n, x->Dv, w->d_o, x->Dvp, 1, w->vt + at, ED__TILE, w->dp + at, ED__TILE, false);
                continue;
            }
            x->kn->gemm(n, x->Dvp, m, w->w.s + at, 1, ED__TILE, w->d_o, x->Dvp, w->dv + at * x->Dvp, x->Dvp, true);
            x->kn->gemm(n, x->Dkp, m, w->dp + at, 1, ED__TILE, w->q, x->Dkp, w->dk + at * x->Dkp, x->Dkp, true);
            x->kn->gemm(m, x->Dkp, n, w->dp + at, ED__TILE, 1, w->k + at * x->Dkp, x->Dkp, dq, x->Dkp, true);
        }
        if (pass == 0)
            grad_rows(j, u, w, task, g, h, t0, t1, active, partial);
    }
}

static void put(float *dst, const float *src, int64_t n, bool fresh) {
    if (fresh)
        memcpy(dst, src, sizeof *dst * (size_t)n);
    else
        for (int64_t i = 0; i < n; i++)
            dst[i] += src[i];
}

/* the tile's dk and dv into the runs' gradients */
static void put_tile(const bwd_job *j, const ed__unit *u, const bwd_bench *w) {
    const ed__attn *a = j->a;
    int64_t slot = w->w.tile * ED__TILE, end = slot + ED__TILE < u->slots ? slot + ED__TILE : u->slots;
    for (int i = 0; i < u->n_runs; i++) {
        const ed__run *r = &u->runs[i];
        float *dk = j->grad[1 + 2 * i], *dv = j->grad[2 + 2 * i];
        int64_t lo = r->first > slot ? r->first : slot, hi = r->first + r->len < end ? r->first + r->len : end;
        for (int64_t s = lo; s < hi; s++) {
            int64_t row = (u->b * r->len + s - r->first) * a->Hkv + u->kvh;
            if (dk)
                put(dk + row * a->Dk, w->dk + (s - slot) * j->x->Dkp, a->Dk, j->fresh[1 + 2 * i]);
            if (dv)
                put(dv + row * a->Dv, w->dv + (s - slot) * j->x->Dvp, a->Dv, j->fresh[2 + 2 * i]);
        }
    }
}

/* dq of one (batch item, kv head), shares in ascending order, times the scale */
static void fold_dq(const bwd_job *j, int64_t bk, const float *part, int64_t step) {
    const ed__attn *a = j->a;
    float *dst = j->grad[0];
    for (int64_t i = 0; dst && i < a->G * a->T; i++) {
        int64_t h = ed__attn_q_head(a->o.tiled_heads, a->Hkv, a->G, bk % a->Hkv, i / a->T), t = i % a->T;
        float *d = dst + ((bk / a->Hkv * a->T + t) * a->H + h) * a->Dk;
        const float *src = part + i * j->x->Dkp;
        for (int64_t k = 0; k < a->Dk; k++) {
            float s = src[k];
            for (int64_t m = 1; m < j->shares; m++)
                s += src[m * step + k];
            d[k] = j->fresh[0] ? s * j->x->scale : d[k] + s * j->x->scale;
        }
    }
}

static void backward_task(const bwd_job *j, int64_t task, int64_t worker, bwd_bench *w, ed__run *runs) {
    const ed__attn *a = j->a;
    int64_t bk = task / j->shares, share = task % j->shares, tiles = (a->S + ED__TILE - 1) / ED__TILE, rows = a->G * a->T * j->x->Dkp;
    float *dq = j->dq + (j->shares == 1 ? worker : share * a->B * a->Hkv + bk) * rows;
    ed__unit u;
    ed__unit_op(j->c, j->v, bk / a->Hkv, bk % a->Hkv, runs, &u);
    memset(dq, 0, sizeof *dq * (size_t)rows);
    for (int64_t tile = share; tile < tiles; tile += j->shares) {
        pack(j, &u, w, tile);
        for (int64_t g = 0; g < a->G; g++)
            for (int64_t t = 0; t < a->T; t += ED__ROWS)
                block(j, &u, w, task, g, t, t + ED__ROWS < a->T ? t + ED__ROWS : a->T, dq + (g * a->T + t) * j->x->Dkp);
        put_tile(j, &u, w);
    }
    if (j->shares == 1)
        fold_dq(j, bk, dq, 0);
}

static void backward_range(void *ctx, int64_t begin, int64_t end) {
    bwd_job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        bwd_bench w;
        bwd_init(&w, j->x, j->mem + i * j->floats);
        for (int64_t task = i; task < j->tasks; task += j->workers)
            backward_task(j, task, i, &w, j->runs + i * j->a->n_seg);
    }
}

static void fold_table(const bwd_job *j, int i_table, const ed_offset_map *m, const ed__spread *s, const float *part) {
    const ed__attn *a = j->a;
    float *dst = part ? j->grad[i_table] : NULL;
    int64_t heads = dst ? j->c->in[i_table]->shape[1] : 0;
    for (int64_t i = 0; dst && i < j->tasks * a->G; i++) {
        int64_t task = i / a->G, h = ed__attn_q_head(a->o.tiled_heads, a->Hkv, a->G, task / j->shares % a->Hkv, i % a->G);
        for (int64_t r = 0; r < s->n; r++)
            dst[ed_offset_map_at(m, s->lo + r) * heads + (heads == 1 ? 0 : h)] += part[i * s->n + r];
    }
}

static void fold_kappa(const bwd_job *j) {
    const ed__attn *a = j->a;
    int64_t ld = (a->S + ED__TILE) & ~(int64_t)(ED__TILE - 1);
    float *dst = j->kappa ? j->grad[a->i_kappa] : NULL;
    for (int64_t i = 0; dst && i < a->B * a->Hkv; i++)
        for (int64_t s = 0; s < a->S; s++)
            dst[i / a->Hkv * a->S + s] += j->kappa[i * ld + s];
}

/* scratch, zeroed when wanted; *ok turns false when there is none */
static void *room(const ed_call *c, int64_t bytes, bool zero, bool *ok) {
    void *p = *ok ? ed__scratch(c->g, (size_t)bytes) : NULL;
    *ok = *ok && p;
    if (p && zero)
        memset(p, 0, (size_t)bytes);
    return p;
}

static const float *grad_out(const ed_call *c, int j) {
    const ed_tensor *t = j >= 0 ? ed__bw_grad_out(c, j) : NULL;
    return t ? t->data : NULL;
}

/* Gradient buffers of all operands that want one. Only q, k and v can be overwritten; a tensor that serves as two of them (keys that are the values)
 *  comes back with the same buffer, which is then zeroed at once. */
static bool take_grads(const ed_call *c, bwd_job *j) {
    bool ok = true;
    j->grad = room(c, (int64_t)sizeof *j->grad * c->n_in, true, &ok);
    j->fresh = room(c, (int64_t)sizeof *j->fresh * c->n_in, true, &ok);
    for (int i = 0; ok && i < c->n_in; i++) {
        bool qkv = i <= 2 * j->a->n_seg, wants = ed__bw_wants(c, i);
        ed_tensor *t = wants ? ed__bw_grad_in(c, i, qkv ? &j->fresh[i] : NULL) : NULL;
        ok = t || !wants;
        j->grad[i] = t ? t->data : NULL;
        for (int k = 0; t && k < i; k++) {
            if (j->grad[k] == t->data && j->fresh[k]) {
                memset(t->data, 0, sizeof(float) * (size_t)ed_numel(t));
                j->fresh[k] = false;
            }
        }
    }
    return ok;
}

static bool take_room(const ed_call *c, bwd_job *j) {
    const ed__attn *a = j->a;
    const ed__tiles *x = j->x;
    bool ok = true, bias = a->i_bias >= 0 && j->grad[a->i_bias], post = a->i_post >= 0 && j->grad[a->i_post], kappa = a->i_kappa >= 0 && j->grad[a->i_kappa];
    bool pairwise = (a->i_rel >= 0 && j->grad[a->i_rel]) || (a->i_dense >= 0 && j->grad[a->i_dense]);
    int64_t f = (int64_t)sizeof(float), heads = a->B * a->Hkv, tiles = (a->S + ED__TILE - 1) / ED__TILE;
    j->shares = pairwise || heads >= 8 ? 1 : 8 / (heads > 0 ? heads : 1);
    j->shares = j->shares < tiles ? j->shares : tiles > 0 ? tiles : 1;
    j->tasks = heads * j->shares;
    double work = (double)a->B * (double)a->H * (double)a->T * (double)(a->S + 16) * (double)(a->Dk + a->Dv);
    int64_t threads = work < 1e5 ? 1 : ed_threads_get();
    j->workers = threads < j->tasks ? threads : j->tasks;
    j->floats = bwd_floats(x);
    j->dq = room(c, f * (j->shares == 1 ? j->workers : j->shares * heads) * a->G * a->T * x->Dkp, false, &ok);
    j->mem = room(c, f * j->workers * j->floats, false, &ok);
    j->runs = room(c, (int64_t)sizeof(ed__run) * j->workers * a->n_seg, false, &ok);
    j->table_bias = bias ? room(c, f * j->tasks * a->G * x->bias.n, true, &ok) : NULL;
    j->table_post = post ? room(c, f * j->tasks * a->G * x->post.n, true, &ok) : NULL;
    j->kappa = kappa ? room(c, f * heads * ((a->S + ED__TILE) & ~(int64_t)(ED__TILE - 1)), true, &ok) : NULL;
    return ok;
}

void ed__attn_backward_f32(const ed_call *c) {
    const ed__attn *a = c->attrs;
    ed__tiles x;
    ed__vis v;
    ed__tiles_op(c, &x);
    ed__attn_vis(a, &v);
    void *mem = ed__scratch(c->g, ed__vis_bytes(&v));
    bwd_job j = {.c = c, .a = a, .v = &v, .x = &x, .d_o = grad_out(c, 0), .d_entropy = grad_out(c, a->out_entropy), .d_hinge = grad_out(c, a->out_hinge)};
    if (!mem || a->B * a->T == 0 || !ed__tiles_tables(c, &x) || !take_grads(c, &j))
        return;
    ed__vis_init(&v, mem);
    if (!take_room(c, &j))
        return;
    if (j.tasks > 0)
        ed__parallel_for(j.workers, 1, backward_range, &j);
    int64_t part = a->G * a->T * x.Dkp;
    for (int64_t bk = 0; j.shares > 1 && bk < a->B * a->Hkv; bk++)
        fold_dq(&j, bk, j.dq + bk * part, a->B * a->Hkv * part);
    fold_table(&j, a->i_bias, &a->o.bias_map, &x.bias, j.table_bias);
    fold_table(&j, a->i_post, &a->o.post_map, &x.post, j.table_post);
    fold_kappa(&j);
}
