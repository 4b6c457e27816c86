/* tensor/op_attention_tiles.c - the tile engine: packs a tile of keys and values, scores a block of query rows against it, online softmax, P V.
 * Source of the algorithm: Milakov & Gimelshein 2018 (online softmax); Dao et al. 2022 (tiles, recomputation from the log-sum-exp).
 * Invariant behind the bitwise promises: every number of a row comes from a chain whose order is fixed by channels and slots alone; skipping what a row does
 * not see removes only terms that would add an exact zero. */
#include <math.h>

#include "tensor/attention_tiles.h"

enum { PAD = ED__TILE };

/* ------------------------------------------------------------------ memory of a worker */

static float *take(float **mem, int64_t n) {
    float *p = *mem;
    *mem += (n + 15) & ~(int64_t)15;
    return p;
}

static void lay_out(ed__bench *w, const ed__tiles *x, int64_t rows, float **mem) {
    int64_t wide = x->Dkp > x->Dvp ? x->Dkp : x->Dvp;
    w->kt = take(mem, x->Dk * ED__TILE);
    w->vp = take(mem, x->Dvp * ED__TILE);
    w->rows = take(mem, wide * ED__TILE);
    w->s = take(mem, ED__ROWS * ED__TILE);
    w->bias = take(mem, ED__TILE);
    w->extra = take(mem, ED__TILE);
    w->post = take(mem, ED__TILE);
    w->drop = take(mem, ED__TILE);
    w->kappa = take(mem, ED__TILE);
    w->mask = (int32_t *)(void *)take(mem, ED__TILE);
    w->k_pos = (int32_t *)(void *)take(mem, ED__TILE);
    w->head = (int32_t *)(void *)take(mem, rows);
    w->t = (int32_t *)(void *)take(mem, rows);
    w->q = take(mem, rows * x->Dk);
    w->o = take(mem, rows * x->Dvp);
    w->O = take(mem, rows * x->Dvp);
    w->m = take(mem, rows);
    w->l = take(mem, rows);
    w->u = take(mem, rows);
    w->hinge = take(mem, rows);
    w->M = take(mem, rows);
    w->L = take(mem, rows);
    w->U = take(mem, rows);
}

size_t ed__bench_floats(const ed__tiles *x, int64_t rows) {
    int64_t wide = x->Dkp > x->Dvp ? x->Dkp : x->Dvp;
    int64_t n = (x->Dk + x->Dvp + wide + ED__ROWS + 7) * ED__TILE + rows * (x->Dk + 2 * x->Dvp + 9) + 24 * 16;
    return (size_t)((n + 15) & ~(int64_t)15);
}

void ed__bench_init(ed__bench *w, const ed__tiles *x, int64_t rows, float *mem) {
    *w = (ed__bench){.tile = -1};
    lay_out(w, x, rows, &mem);
}

/* ------------------------------------------------------------------ packing */

static void widen(const void *src, ed_dtype dtype, int64_t at, int64_t step, int64_t n, float *dst) {
    if (dtype == ED_DTYPE_F32 && step == 1) {
        memcpy(dst, (const float *)src + at, sizeof *dst * (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n; i++, at += step) {
        switch (dtype) {
        case ED_DTYPE_F64: dst[i] = (float)((const double *)src)[at]; break;
        case ED_DTYPE_BF16: dst[i] = ed_bf16_to_f32(((const uint16_t *)src)[at]); break;
        case ED_DTYPE_F16: dst[i] = ed_f16_to_f32(((const uint16_t *)src)[at]); break;
        default: dst[i] = ((const float *)src)[at]; break;
        }
    }
}

/* slots [a, b) of one run into dst row a - slot */
static void load_run(const ed__run *r, bool values, int64_t a, int64_t b, int64_t slot, int64_t cols, int64_t ld, float *dst) {
    const void *src = values ? r->v : r->k;
    int64_t row = values ? r->v_row : r->k_row, col = values ? r->v_col : r->k_col;
    ed_dtype dtype = values ? r->v_dtype : r->k_dtype;
    for (int64_t j = a; j < b; j++) {
        float *d = dst + (j - slot) * ld;
        widen(src, dtype, (j - r->first) * row, col, cols, d);
        for (int64_t i = cols; i < ld; i++)
            d[i] = 0;
    }
}

static void clear_hidden(const ed__unit *u, int64_t slot, int64_t n, int64_t ld, float *dst) {
    const ed_labels *l = u->vis->labels;
    if (!l || !l->k_valid)
        return;
    const int32_t *valid = u->vis->k_valid + (l->batch > 1 ? u->b : 0) * u->vis->nk * ED__SUB + slot;
    for (int64_t j = 0; j < n; j++)
        if (slot + j < u->vis->nk * ED__SUB && !valid[j])
            memset(dst + j * ld, 0, sizeof *dst * (size_t)ld);
}

void ed__tiles_load(const ed__unit *u, bool values, int64_t slot, int64_t n, int64_t cols, int64_t ld, float *dst) {
    int64_t done = slot;
    for (int i = 0; i < u->n_runs; i++) {
        const ed__run *r = &u->runs[i];
        int64_t a = r->first > slot ? r->first : slot, b = r->first + r->len < slot + n ? r->first + r->len : slot + n;
        if (a >= b)
            continue;
        memset(dst + (done - slot) * ld, 0, sizeof *dst * (size_t)((a - done) * ld));
        if (r->fetch)
            memset(dst + (a - slot) * ld, 0, sizeof *dst * (size_t)((b - a) * ld));
        else
            load_run(r, values, a, b, slot, cols, ld, dst);
        done = b;
    }
    memset(dst + (done - slot) * ld, 0, sizeof *dst * (size_t)((slot + n - done) * ld));
    clear_hidden(u, slot, n, ld, dst);
}

/* the one plain run that holds all of [slot, slot + n), when rows can be read in place */
static const ed__run *plain_run(const ed__unit *u, int64_t slot, int64_t n) {
    if (u->vis->labels && u->vis->labels->k_valid)
        return NULL;
    for (int i = 0; i < u->n_runs; i++) {
        const ed__run *r = &u->runs[i];
        if (!r->fetch && r->first <= slot && slot + n <= r->first + r->len)
            return r;
    }
    return NULL;
}

/* foreign caches: both tensors at once through the caller's function */
static void load_fetched(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t slot, int64_t n, float *k) {
    ed__tiles_load(u, false, slot, n, x->Dk, x->Dk, k);
    ed__tiles_load(u, true, slot, n, x->Dv, x->Dvp, w->vp);
    for (int i = 0; i < u->n_runs; i++) {
        const ed__run *r = &u->runs[i];
        int64_t a = r->first > slot ? r->first : slot, b = r->first + r->len < slot + n ? r->first + r->len : slot + n;
        if (!r->fetch || a >= b)
            continue;
        float *v = w->vp + (a - slot) * x->Dvp;
        r->fetch(r->ctx, r->kv_head, r->local + a - r->first, b - a, k + (a - slot) * x->Dk, v);
        for (int64_t j = b - a - 1; x->Dv != x->Dvp && j >= 0; j--) { /* [n, Dv] -> [n, Dvp], last row first */
            memmove(v + j * x->Dvp, v + j * x->Dv, sizeof *v * (size_t)x->Dv);
            memset(v + j * x->Dvp + x->Dv, 0, sizeof *v * (size_t)(x->Dvp - x->Dv));
        }
    }
    clear_hidden(u, slot, n, x->Dk, k);
    clear_hidden(u, slot, n, x->Dvp, w->vp);
}

void ed__tiles_side(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t tile) {
    int64_t slot = tile * ED__TILE;
    bool pos = x->rel_map || u->k_pos || u->q_pos;
    for (int i = 0; (u->kappa || pos) && i < ED__TILE; i++) {
        int64_t s = slot + i, j = s - u->lead;
        bool in = s >= u->lead && s < u->slots;
        w->kappa[i] = u->kappa && in ? u->kappa[j * u->kappa_step] : 0;
        w->k_pos[i] = !in ? 0 : u->k_pos ? u->k_pos[j] : (int32_t)(u->base + s);
    }
}

static void pack_tile(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t tile, int64_t rows) {
    int64_t slot = tile * ED__TILE, n = u->slots - slot < ED__TILE ? u->slots - slot : ED__TILE, n32 = (n + ED__SUB - 1) / ED__SUB * ED__SUB;
    const ed__run *r = plain_run(u, slot, n);
    bool fetched = false;
    for (int i = 0; i < u->n_runs; i++)
        fetched |= u->runs[i].fetch != NULL;
    w->tile = tile;
    w->n_slots = n32;
    w->v = w->vp;
    w->ld_v = x->Dvp;
    w->v_finite = -1;
    if (fetched) {
        load_fetched(x, u, w, slot, n32, w->rows);
        x->kn->transpose(w->rows, x->Dk, n32, x->Dk, w->kt);
    } else {
        if (r && n == n32 && r->k_dtype == ED_DTYPE_F32 && r->k_col == 1) {
            x->kn->transpose((const float *)r->k + (slot - r->first) * r->k_row, r->k_row, n32, x->Dk, w->kt);
        } else {
            ed__tiles_load(u, false, slot, n32, x->Dk, x->Dk, w->rows);
            x->kn->transpose(w->rows, x->Dk, n32, x->Dk, w->kt);
        }
        if (rows < 8 && r && r->v_dtype == ED_DTYPE_F32 && r->v_col == 1 && x->Dv == x->Dvp) { /* few rows: read values where they lie */
            w->v = (const float *)r->v + (slot - r->first) * r->v_row;
            w->ld_v = r->v_row;
            w->n_slots = n;
        } else {
            ed__tiles_load(u, true, slot, n32, x->Dv, x->Dvp, w->vp);
        }
    }
    ed__tiles_side(x, u, w, tile);
}

/* ------------------------------------------------------------------ rows */

void ed__copy_scaled(const float *src, int64_t step, int64_t n, float f, float *dst) {
    if (step == 1)
        for (int64_t i = 0; i < n; i++)
            dst[i] = src[i] * f;
    else
        for (int64_t i = 0; i < n; i++)
            dst[i] = src[i * step] * f;
}

int64_t ed__tiles_begin(const ed__tiles *x, const ed__unit *u, int64_t t0, int64_t t1, bool row_major, ed__bench *w) {
    int64_t n = t1 - t0, r = 0;
    w->tile = -1;
    for (int64_t i = 0; i < (row_major ? n : x->G); i++) {
        for (int64_t j = 0; j < (row_major ? x->G : n); j++, r++) {
            int64_t g = row_major ? j : i, t = t0 + (row_major ? i : j), h = ed__attn_q_head(x->tiled, x->Hkv, x->G, u->kvh, g);
            const float *q = u->q + t * u->q_row + h * u->q_head;
            w->head[r] = (int32_t)h;
            w->t[r] = (int32_t)t;
            ed__copy_scaled(q, u->q_col, x->Dk, x->scale, w->q + r * x->Dk);
            w->m[r] = w->M[r] = -INFINITY;
            w->l[r] = w->u[r] = w->L[r] = w->U[r] = w->hinge[r] = 0;
        }
    }
    memset(w->o, 0, sizeof(float) * (size_t)(r * x->Dvp));
    if (u->base + u->slots >= ED_ATTENTION_GROUP * ED__TILE)
        memset(w->O, 0, sizeof(float) * (size_t)(r * x->Dvp));
    return r;
}

uint32_t ed__tiles_active(const ed__unit *u, int64_t qb, int64_t tile, uint32_t *partial) {
    uint32_t active = 0;
    *partial = 0;
    for (int s = 0; s < ED__SUBS; s++) {
        int64_t kb = tile * ED__SUBS + s;
        int c = kb < u->vis->nk ? ed__vis_class(u->vis, u->b, qb, kb) : ED__VIS_NONE;
        active |= (uint32_t)(c != ED__VIS_NONE) << s;
        *partial |= (uint32_t)(c == ED__VIS_PART) << s;
    }
    return active;
}

void ed__tiles_mask(const ed__tiles *x, const ed__unit *u, int64_t t, int64_t tile, uint32_t partial, int32_t *mask) {
    const ed__vis *v = u->vis;
    const ed_labels *l = v->labels;
    for (int s = 0; s < ED__SUBS; s++) {
        if (!(partial >> s & 1u))
            continue;
        int64_t kb = tile * ED__SUBS + s, slot = kb * ED__SUB;
        if (!l) {
            int64_t lo = v->lead, hi = v->slots - 1;
            if (v->causal && v->q_start + t < hi)
                hi = v->q_start + t;
            if (v->window >= 0 && v->q_start + t - v->window > lo)
                lo = v->q_start + t - v->window;
            x->kn->mask_range(lo - slot, hi - slot, mask + s * ED__SUB);
            continue;
        }
        int64_t lb = l->batch > 1 ? u->b : 0, i = lb * l->queries + t, at = lb * v->nk * ED__SUB + slot;
        x->kn->mask_labels(v->k_order + at, v->k_group + at, v->k_valid + at, l->q_order ? l->q_order[i] : INT32_MAX, l->q_group ? l->q_group[i] : 0,
                           l->q_limit ? l->q_limit[i] : INT32_MAX, l->q_low ? l->q_low[i] : INT32_MIN, mask + s * ED__SUB);
        ed__vis_optional(v, u->b, t, kb, mask + s * ED__SUB);
    }
}

/* a table's values for one row: in place when positions run with the slots, gathered otherwise */
static const float *table_row(const ed__tiles *x, const ed__unit *u, ed__bench *w, const ed__spread *s, int64_t head, int64_t q_pos, uint32_t active, float *buf) {
    if (!s->value)
        return NULL;
    const float *row = s->value + head * s->n;
    if (!u->k_pos && !u->q_pos)
        return row + (u->base + w->tile * ED__TILE - q_pos - s->lo);
    x->kn->gather(row, s->n, w->k_pos, q_pos + s->lo, active, buf);
    return buf;
}

/* rel, dense and the block bonus, summed into one row */
static const float *extra_row(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t head, int64_t t, int64_t q_pos, uint32_t active) {
    bool bonus = u->vis->labels && u->vis->labels->block_bonus;
    if (!u->rel && !u->dense && !bonus)
        return NULL;
    for (int i = 0; i < ED__TILE; i++) {
        int64_t slot = w->tile * ED__TILE + i;
        float e = 0;
        bool in = active >> (i / ED__SUB) & 1u && slot >= u->lead && slot < u->slots;
        if (in && u->rel)
            e += u->rel[head * u->rel_head + t * u->rel_row + ed_offset_map_at(x->rel_map, w->k_pos[i] - q_pos) * u->rel_col];
        if (in && u->dense)
            e += u->dense[head * u->dense_head + t * u->dense_row + (slot - u->lead) * u->dense_col];
        w->extra[i] = in && bonus ? e + ed__vis_bonus(u->vis, t, slot) : e;
    }
    return w->extra;
}

void ed__tiles_hooks(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t head, int64_t t, uint32_t active, const float **bias, const float **extra,
                     const float **post, const float **drop) {
    int64_t q_pos = u->q_pos ? u->q_pos[t] : u->pos0 + t;
    *bias = table_row(x, u, w, &x->bias, head, q_pos, active, w->bias);
    *extra = extra_row(x, u, w, head, t, q_pos, active);
    *post = table_row(x, u, w, &x->post, head, q_pos, active, w->post);
    *drop = NULL;
    if (x->drop) {
        int64_t bh = u->b * x->H + head;
        uint32_t ctr[4] = {(uint32_t)(w->tile * (ED__TILE / 4)) | (uint32_t)(bh & 1023) << 22, (uint32_t)t | (uint32_t)(bh >> 10) << 22, x->counter[2], x->counter[3]};
        x->kn->drop(x->key, ctr, x->drop_limit, x->keep, active, w->drop);
        *drop = w->drop;
    }
}

/* ------------------------------------------------------------------ one block of rows against one tile */

static void softmax_rows(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t r0, int64_t r1, uint32_t active, uint32_t partial) {
    bool plain = !partial && x->softcap == 0 && !x->bias.value && !x->post.value && !x->drop && !u->kappa && !u->rel && !u->dense && !x->hinge &&
                 !(u->vis->labels && u->vis->labels->block_bonus);
    for (int64_t r = r0; r < r1; r++) {
        float *s = w->s + (r - r0) * ED__TILE;
        const float *post = NULL, *drop = NULL;
        if (!plain) {
            edk_attn_finish f = {.active = active, .partial = partial, .mask = w->mask, .softcap = x->softcap, .kappa = u->kappa ? w->kappa : NULL,
                                 .hinge = x->hinge ? &w->hinge[r] : NULL};
            ed__tiles_hooks(x, u, w, w->head[r], w->t[r], active, &f.bias, &f.extra, &post, &drop);
            if (r == r0 || w->t[r] != w->t[r - 1])
                ed__tiles_mask(x, u, w->t[r], w->tile, partial, w->mask);
            x->kn->finish(&f, s);
        }
        float alpha = x->kn->softmax(s, active, &w->m[r], &w->l[r], x->entropy ? &w->u[r] : NULL);
        if (alpha != 1)
            x->kn->scale(w->o + r * x->Dvp, x->Dvp, alpha);
        if (post)
            x->kn->multiply(s, active, post);
        if (drop)
            x->kn->multiply(s, active, drop);
    }
}

static bool values_finite(ed__bench *w, int64_t dv) {
    if (w->v_finite < 0) {
        float probe = 0;
        for (int64_t j = 0; j < w->n_slots; j++)
            for (int64_t d = 0; d < dv; d++)
                probe += w->v[j * w->ld_v + d] * 0.0f;
        w->v_finite = probe == 0;
    }
    return w->v_finite;
}

/* rows times values, slots in ascending order. A hidden slot has p = 0 and adds nothing, unless its value is not finite: then slots are taken one by one */
static void add_values(const ed__tiles *x, ed__bench *w, int64_t r0, int64_t r1, uint32_t active, uint32_t partial) {
    float *o = w->o + r0 * x->Dvp;
    bool careful = partial && !values_finite(w, x->Dv);
    for (int s = 0; s < ED__SUBS; s++) {
        if (!(active >> s & 1u))
            continue;
        int e = s + 1;
        while (e < ED__SUBS && active >> e & 1u)
            e++;
        int64_t a = s * ED__SUB, b = e * ED__SUB < w->n_slots ? e * ED__SUB : w->n_slots;
        if (!careful)
            x->kn->gemm(r1 - r0, x->Dvp, b - a, w->s + a, ED__TILE, 1, w->v + a * w->ld_v, w->ld_v, o, x->Dvp, true);
        for (int64_t r = 0; careful && r < r1 - r0; r++)
            for (int64_t j = a; j < b; j++)
                if (w->s[r * ED__TILE + j] != 0)
                    x->kn->gemm(1, x->Dvp, 1, w->s + r * ED__TILE + j, ED__TILE, 1, w->v + j * w->ld_v, w->ld_v, o + r * x->Dvp, x->Dvp, true);
        s = e;
    }
}

static void scores(const ed__tiles *x, ed__bench *w, int64_t r0, int64_t r1, uint32_t active) {
    for (int s = 0; s < ED__SUBS; s++) {
        if (!(active >> s & 1u))
            continue;
        int e = s + 1;
        while (e < ED__SUBS && active >> e & 1u)
            e++;
        x->kn->gemm(r1 - r0, (e - s) * ED__SUB, x->Dk, w->q + r0 * x->Dk, x->Dk, 1, w->kt + s * ED__SUB, ED__TILE, w->s + s * ED__SUB, ED__TILE, false);
        s = e;
    }
}

/* end of the block of rows that starts at r0: at most 32 rows whose t lie in one block of 32 query rows */
static int64_t block_end(const ed__bench *w, int64_t r0, int64_t r1) {
    int64_t e = r0 + 1;
    while (e < r1 && e - r0 < ED__ROWS && w->t[e] / ED__ROWS == w->t[r0] / ED__ROWS)
        e++;
    return e;
}

void ed__tiles_run(const ed__tiles *x, const ed__unit *u, ed__bench *w, int64_t r0, int64_t r1, int64_t tile_begin, int64_t tile_end, ed__emit_fn emit, void *ctx) {
    for (int64_t tile = tile_begin; tile < tile_end; tile++) {
        w->tile = -1;
        for (int64_t r = r0; r < r1;) {
            int64_t e = block_end(w, r, r1);
            uint32_t partial, active = ed__tiles_active(u, w->t[r] / ED__ROWS, tile, &partial);
            if (active) {
                if (w->tile < 0)
                    pack_tile(x, u, w, tile, r1 - r0);
                scores(x, w, r, e, active);
                softmax_rows(x, u, w, r, e, active, partial);
                add_values(x, w, r, e, active, partial);
            }
            r = e;
        }
        int64_t logical = u->base / ED__TILE + tile;
        if ((logical + 1) % ED_ATTENTION_GROUP == 0)
            emit(ctx, x, w, logical / ED_ATTENTION_GROUP, r0, r1);
    }
}

/* ------------------------------------------------------------------ merging and finishing */

static void merge_state(float *m1, float *l1, float *o1, float *u1, float m2, float l2, const float *o2, float u2, int64_t dv) {
    if (m2 == -INFINITY)
        return;
    float m = *m1 > m2 ? *m1 : m2, a1 = *m1 == -INFINITY ? 0 : expf(*m1 - m), a2 = expf(m2 - m);
    if (m2 != m2 || *m1 != *m1)
        m = a1 = a2 = NAN;
    *m1 = m;
    *l1 = *l1 * a1 + l2 * a2;
    *u1 = *u1 * a1 + u2 * a2;
    for (int64_t d = 0; d < dv; d++)
        o1[d] = o1[d] * a1 + o2[d] * a2;
}

void ed_attend_merge(ed_attend_state *acc, const ed_attend_state *x, int64_t dv) {
    float u = 0;
    merge_state(&acc->m, &acc->l, acc->o, &u, x->m, x->l, x->o, 0, dv);
}

void ed__tiles_merge(void *ctx, const ed__tiles *x, ed__bench *w, int64_t group, int64_t r0, int64_t r1) {
    (void)ctx, (void)group;
    for (int64_t r = r0; r < r1; r++) {
        merge_state(&w->M[r], &w->L[r], w->O + r * x->Dvp, &w->U[r], w->m[r], w->l[r], w->o + r * x->Dvp, w->u[r], x->Dvp);
        w->m[r] = -INFINITY;
        w->l[r] = w->u[r] = 0;
    }
    memset(w->o + r0 * x->Dvp, 0, sizeof(float) * (size_t)((r1 - r0) * x->Dvp));
}

float ed__tiles_finish(float m, float l, float *o, int64_t dv, bool one, float *mean) {
    float f = 1, lse = m;
    if (m == -INFINITY) {
        f = 0;
    } else {
        float top = one && m < 0 ? 0 : m, a = one && m < 0 ? expf(m) : 1, sum = l * a + (one ? expf(-top) : 0);
        f = a / sum;
        lse = top + logf(sum);
    }
    for (int64_t d = 0; d < dv; d++)
        o[d] = o[d] * f + 0.0f; /* + 0: a sum that underflowed must not keep the sign of its last term */
    if (mean)
        *mean *= f;
    return lse;
}

float ed_attend_finish(ed_attend_state *s, int64_t dv, bool softmax_one) {
    return ed__tiles_finish(s->m, s->l, s->o, dv, softmax_one, NULL);
}

/* ------------------------------------------------------------------ tables */

size_t ed__spread_floats(const ed__tiles *x, int64_t lo, int64_t hi) {
    return (size_t)(x->H * (hi - lo + 1 + 2 * PAD));
}

bool ed__spread_make(ed__spread *s, const ed__tiles *x, int64_t lo, int64_t hi, const ed_offset_map *map, const float *table, int64_t row_step, int64_t head_step,
                     const double *slopes, float *mem) {
    if (!mem)
        return false;
    *s = (ed__spread){.lo = lo - PAD, .n = hi - lo + 1 + 2 * PAD, .value = mem};
    for (int64_t h = 0; h < x->H; h++) {
        float *row = mem + h * s->n;
        for (int64_t i = 0; i < s->n; i++) {
            int64_t off = s->lo + i, dist = off < 0 ? -off : off;
            row[i] = table ? table[ed_offset_map_at(map, off) * row_step + h * head_step] : 0;
            if (slopes)
                row[i] -= (float)(slopes[h] * (double)dist);
        }
    }
    return true;
}
