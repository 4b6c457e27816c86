/* tensor/op_attention_f32.c - the F32 forward pass of the attention op: turns operands into units of the tile engine and spreads them over threads.
 * A task is one (batch item, kv head, range of query rows); ranges depend on shapes only, and no number depends on the split. */
#include <math.h>

#include "tensor/attention_tiles.h"

enum { TASK_ROWS = 256 };

void ed__tiles_op(const ed_call *c, ed__tiles *x) {
    const ed__attn *a = c->attrs;
    *x = (ed__tiles){.kn = ed__attn_kernels_now(), .H = a->H, .Hkv = a->Hkv, .G = a->G, .Dk = a->Dk, .Dv = a->Dv, .Dkp = (a->Dk + 15) & ~(int64_t)15,
                     .Dvp = (a->Dv + 15) & ~(int64_t)15, .tiled = a->o.tiled_heads, .one = a->o.softmax_one, .entropy = a->out_entropy >= 0,
                     .hinge = a->out_hinge >= 0, .scale = (float)a->o.scale, .softcap = (float)a->o.softcap, .rel_map = a->i_rel >= 0 ? &a->o.rel_map : NULL,
                     .drop = a->drop, .key = a->key, .drop_limit = a->drop_limit, .keep = (float)(1 / (1 - a->o.dropout))};
    memcpy(x->counter, a->counter, sizeof x->counter);
}

static bool table(const ed_call *c, ed__tiles *x, ed__spread *s, int i, const ed_offset_map *map, const double *slopes) {
    const ed__attn *a = c->attrs;
    if (i < 0 && !slopes)
        return true;
    const ed_tensor *t = i >= 0 ? c->in[i] : NULL;
    float *mem = ed__scratch(c->g, sizeof *mem * ed__spread_floats(x, a->off_lo, a->off_hi));
    return ed__spread_make(s, x, a->off_lo, a->off_hi, map, t ? t->data : NULL, t ? t->stride[0] : 0, t && t->shape[1] > 1 ? t->stride[1] : 0, slopes, mem);
}

bool ed__tiles_tables(const ed_call *c, ed__tiles *x) {
    const ed__attn *a = c->attrs;
    return table(c, x, &x->bias, a->i_bias, &a->o.bias_map, a->o.slopes) && table(c, x, &x->post, a->i_post, &a->o.post_map, NULL);
}

static const char *at_bytes(const ed_tensor *t, int64_t offset) {
    return (const char *)t->data + offset * (int64_t)ed_dtype_bytes(t->dtype);
}

static void fill_runs(const ed_call *c, int64_t b, int64_t kvh, ed__run *runs) {
    const ed__attn *a = c->attrs;
    int64_t first = 0;
    for (int s = 0; s < a->n_seg; s++) {
        const ed_tensor *k = c->in[1 + 2 * s], *v = c->in[2 + 2 * s];
        runs[s] = (ed__run){.k = at_bytes(k, b * k->stride[0] + kvh * k->stride[2]), .v = at_bytes(v, b * v->stride[0] + kvh * v->stride[2]),
                            .k_dtype = k->dtype, .v_dtype = v->dtype, .first = first, .len = k->shape[1], .k_row = k->stride[1], .k_col = k->stride[3],
                            .v_row = v->stride[1], .v_col = v->stride[3], .kv_head = kvh};
        first += k->shape[1];
    }
}

void ed__unit_op(const ed_call *c, const ed__vis *v, int64_t b, int64_t kvh, ed__run *runs, ed__unit *u) {
    const ed__attn *a = c->attrs;
    const ed_tensor *q = c->in[0], *kappa = a->i_kappa >= 0 ? c->in[a->i_kappa] : NULL, *r = a->i_rel >= 0 ? c->in[a->i_rel] : NULL,
                    *d = a->i_dense >= 0 ? c->in[a->i_dense] : NULL;
    fill_runs(c, b, kvh, runs);
    *u = (ed__unit){.b = b, .kvh = kvh, .rows = a->T, .slots = a->S, .runs = runs, .n_runs = a->n_seg, .vis = v,
                    .q = (const float *)q->data + b * q->stride[0], .q_row = q->stride[1], .q_head = q->stride[2], .q_col = q->stride[3], .pos0 = a->o.q_start};
    if (kappa)
        u->kappa = (const float *)kappa->data + b * kappa->stride[0], u->kappa_step = kappa->stride[1];
    if (r)
        u->rel = (const float *)r->data + b * r->stride[0], u->rel_head = r->stride[1], u->rel_row = r->stride[2], u->rel_col = r->stride[3];
    if (d)
        u->dense = (const float *)d->data + b * d->stride[0], u->dense_head = d->stride[1], u->dense_row = d->stride[2], u->dense_col = d->stride[3];
    int64_t pb = a->o.pos_batch > 1 ? b : 0;
    u->q_pos = a->o.q_pos ? a->o.q_pos + pb * a->T : NULL;
    u->k_pos = a->o.k_pos ? a->o.k_pos + pb * a->S : NULL;
}

/* ------------------------------------------------------------------ forward */

typedef struct fwd_job {
    const ed_call *c;
    const ed__attn *a;
    const ed__vis *v;
    const ed__tiles *x;
    int64_t task_rows, ranges, tasks, workers, bench_floats;
    float *mem;     /* [workers, bench_floats] */
    ed__run *runs;  /* [workers, n_seg] */
} fwd_job;

static void put_row(const fwd_job *j, const ed__bench *w, int64_t b, int64_t r, bool merged) {
    const ed__attn *a = j->a;
    const ed_call *c = j->c;
    int64_t h = w->head[r], t = w->t[r], at = (b * a->H + h) * a->T + t;
    float *o = (merged ? w->O : w->o) + r * j->x->Dvp, m = merged ? w->M[r] : w->m[r], l = merged ? w->L[r] : w->l[r], u = merged ? w->U[r] : w->u[r];
    float lse = ed__tiles_finish(m, l, o, a->Dv, a->o.softmax_one, &u);
    memcpy((float *)c->out[0]->data + ((b * a->T + t) * a->H + h) * a->Dv, o, sizeof *o * (size_t)a->Dv);
    ((float *)c->aux[0]->data)[at] = lse;
    if (a->out_entropy >= 0)
        ((float *)c->out[a->out_entropy]->data)[at] = lse == -INFINITY ? 0 : lse - u;
    if (a->out_hinge >= 0)
        ((float *)c->out[a->out_hinge]->data)[at] = w->hinge[r];
}

static void forward_task(const fwd_job *j, int64_t task, ed__bench *w, ed__run *runs) {
    const ed__attn *a = j->a;
    int64_t range = task % j->ranges, bk = task / j->ranges, b = bk / a->Hkv, t0 = range * j->task_rows;
    int64_t t1 = t0 + j->task_rows < a->T ? t0 + j->task_rows : a->T, tiles = (a->S + ED__TILE - 1) / ED__TILE;
    ed__unit u;
    ed__unit_op(j->c, j->v, b, bk % a->Hkv, runs, &u);
    int64_t rows = ed__tiles_begin(j->x, &u, t0, t1, false, w);
    ed__tiles_run(j->x, &u, w, 0, rows, 0, tiles, ed__tiles_merge, NULL);
    bool merged = tiles >= ED_ATTENTION_GROUP;
    if (merged)
        ed__tiles_merge(NULL, j->x, w, 0, 0, rows);
    for (int64_t r = 0; r < rows; r++)
        put_row(j, w, b, r, merged);
}

static void forward_range(void *ctx, int64_t begin, int64_t end) {
    fwd_job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        ed__bench w;
        ed__bench_init(&w, j->x, j->task_rows * j->a->G, j->mem + i * j->bench_floats);
        for (int64_t task = i; task < j->tasks; task += j->workers) /* interleaved: causal rows grow more costly downwards */
            forward_task(j, task, &w, j->runs + i * j->a->n_seg);
    }
}

void ed__attn_forward_f32(const ed_call *c) {
    const ed__attn *a = c->attrs;
    ed__tiles x;
    ed__vis v;
    ed__tiles_op(c, &x);
    ed__attn_vis(a, &v);
    void *mem = ed__scratch(c->g, ed__vis_bytes(&v));
    if (!mem || !ed__tiles_tables(c, &x) || a->B * a->T == 0)
        return;
    ed__vis_init(&v, mem);
    fwd_job j = {.c = c, .a = a, .v = &v, .x = &x, .task_rows = TASK_ROWS / a->G / ED__ROWS * ED__ROWS};
    j.task_rows = j.task_rows < ED__ROWS ? ED__ROWS : j.task_rows;
    j.task_rows = j.task_rows < a->T ? j.task_rows : a->T;
    j.ranges = (a->T + j.task_rows - 1) / j.task_rows;
    j.tasks = a->B * a->Hkv * j.ranges;
    int64_t threads = ed_threads_get();
    double work = (double)a->B * (double)a->H * (double)a->T * (double)(a->S + 16) * (double)(a->Dk + a->Dv);
    j.workers = work < 1e5 ? 1 : threads < j.tasks ? threads : j.tasks; /* a fork costs more than so little work */
    j.bench_floats = (int64_t)ed__bench_floats(&x, j.task_rows * a->G);
    j.mem = ed__scratch(c->g, sizeof(float) * (size_t)(j.workers * j.bench_floats));
    j.runs = ed__scratch(c->g, sizeof(ed__run) * (size_t)(j.workers * a->n_seg));
    if (j.mem && j.runs)
        ed__parallel_for(j.workers, 1, forward_range, &j);
}
