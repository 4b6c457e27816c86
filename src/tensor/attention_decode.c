/* tensor/attention_decode.c - attention of ragged sequences over caches, without a tape (ed_attend), and single partial results (ed_attend_partial).
 * A job is one (sequence, kv head, range of query rows); its keys are cut into groups of ED_ATTENTION_GROUP tiles, each of which is one item of work for any thread;
 * the groups' states are merged in ascending order afterwards, exactly as the op does inside one task. Even work over ragged batches: Sanovar et al. 2024.
 * Tree rows with a path read the tiles that lie wholly before path_first together, and the rest row by row with their ancestors gathered behind it. */
#include <math.h>

#include "tensor/attention_tiles.h"

enum { JOB_ROWS = 256, GROUP_KEYS = ED_ATTENTION_GROUP * ED__TILE };
static const int64_t MAX_SPAN = (int64_t)1 << 24;

typedef struct seq_plan {
    const ed_attend_seq *s;
    int64_t keys, base, lead, slots, q_start, max_path;
    const int32_t *q_pos; /* the caller's, or those of rows with a path */
    ed__vis vis;
} seq_plan;

typedef struct job {
    const seq_plan *p;
    int64_t kvh, t0, t1, groups, items, first_item, states; /* states: index of the first state of [groups, rows] */
} job;

typedef struct decode {
    const ed_attend_opts *opts;
    ed__tiles x;
    seq_plan *plans;
    job *jobs;
    int32_t *job_of; /* [items] */
    int64_t n_jobs, n_items, n_states, max_rows, max_runs, workers, bench_floats;
    float *m, *l, *o; /* [n_states], [n_states], [n_states, Dvp] */
    float *mem;
    ed__run *runs;
} decode;

/* ------------------------------------------------------------------ checks and plans */

static ed_status check_opts(const ed_attend_opts *o, ed_error *err) {
    ED_FAIL_IF(o->heads < 1 || o->kv_heads < 1 || o->heads % o->kv_heads || o->dk < 1 || o->dv < 1, ED_E_SHAPE, err,
               "attention: %lld heads over %lld kv heads, widths %lld and %lld", (long long)o->heads, (long long)o->kv_heads, (long long)o->dk, (long long)o->dv);
    ED_FAIL_IF((o->bias && !ed__map_valid(&o->bias_map, o->bias_map.n)) || (o->post_scale && !ed__map_valid(&o->post_map, o->post_map.n)), ED_E_INVALID, err,
               "attention: an offset map does not fit its table");
    ED_FAIL_IF(!(o->softcap >= 0) || !isfinite(o->scale), ED_E_RANGE, err, "attention: softcap %g, scale %g", o->softcap, o->scale);
    return ED_OK;
}

static ed_status check_path(const ed_attend_seq *s, seq_plan *p, ed_arena *scratch, ed_error *err) {
    p->q_pos = s->q_pos;
    if (!s->path)
        return ED_OK;
    ED_FAIL_IF(s->labels || s->q_pos || s->k_pos || s->key_bias, ED_E_INVALID, err, "attention: rows with a path take no labels, positions or key bias");
    ED_FAIL_IF(!s->path_len || s->path_first < s->first_key || s->path_first > s->first_key + p->keys, ED_E_RANGE, err, "attention: the path starts outside the keys");
    int32_t *pos = ed_arena_alloc(scratch, sizeof *pos * (size_t)s->rows);
    ED_FAIL_IF(!pos, ED_E_MEMORY, err, "attention: no memory for positions");
    p->q_pos = pos;
    for (int64_t t = 0; t < s->rows; t++) {
        ED_FAIL_IF(s->path_len[t] < 0 || s->path_len[t] > s->path_stride, ED_E_RANGE, err, "attention: the path of row %lld has %d keys", (long long)t, s->path_len[t]);
        for (int32_t i = 0; i < s->path_len[t]; i++) {
            int64_t k = s->path[t * s->path_stride + i];
            ED_FAIL_IF(k < s->path_first || k >= s->first_key + p->keys, ED_E_RANGE, err, "attention: key %lld of the path of row %lld does not exist", (long long)k,
                       (long long)t);
        }
        p->max_path = s->path_len[t] > p->max_path ? s->path_len[t] : p->max_path;
        pos[t] = (int32_t)(s->path_first + s->path_len[t] - 1);
    }
    p->slots = s->path_first + p->max_path - p->base;
    return ED_OK;
}

static ed_status plan_seq(const ed_attend_seq *s, seq_plan *p, ed_arena *scratch, ed_error *err) {
    *p = (seq_plan){.s = s};
    ED_FAIL_IF(s->rows < 0 || s->first_key < 0 || s->n_parts < 0, ED_E_INVALID, err, "attention: a sequence has negative sizes");
    for (int i = 0; i < s->n_parts; i++) {
        const ed_kv_part *k = &s->parts[i];
        ED_FAIL_IF(k->len < 0 || (!k->fetch && k->len > 0 && (!k->k || !k->v || !ed_dtype_is_float(k->dtype))), ED_E_INVALID, err, "attention: part %d of a cache is not readable", i);
        p->keys += k->len;
    }
    ED_FAIL_IF(p->keys > INT32_MAX / 2 || s->first_key > INT32_MAX / 2, ED_E_LIMIT, err, "attention: more than 2^30 keys");
    p->base = s->first_key / ED__TILE * ED__TILE;
    p->lead = s->first_key - p->base;
    p->slots = p->lead + p->keys;
    p->q_start = s->q_start < 0 ? s->first_key + p->keys - s->rows : s->q_start;
    ED_TRY(check_path(s, p, scratch, err));
    const ed_labels *l = s->labels;
    ED_FAIL_IF(l && (l->batch != 1 || l->queries != s->rows || l->keys != p->keys || l->q_start < 0), ED_E_SHAPE, err, "attention: labels do not fit the sequence");
    ED_FAIL_IF(l && l->bitmap && ((l->bitmap_of ? l->bitmap_of[0] : 0) < 0 || (l->bitmap_of ? l->bitmap_of[0] : 0) >= l->n_bitmaps), ED_E_RANGE, err,
               "attention: the bitmap does not exist");
    ED_FAIL_IF(l && l->block_keep && l->block < 1, ED_E_INVALID, err, "attention: a block of %lld keys", (long long)l->block);
    p->vis = (ed__vis){.rows = s->rows, .slots = p->slots, .lead = p->lead, .causal = s->causal && !s->path, .window = s->path ? -1 : s->window,
                       .q_start = p->q_start - p->base, .labels = l};
    size_t bytes = ed__vis_bytes(&p->vis);
    void *mem = ed_arena_alloc(scratch, bytes);
    ED_FAIL_IF(!mem, ED_E_MEMORY, err, "attention: no memory for label summaries");
    ed__vis_init(&p->vis, mem);
    return ED_OK;
}

static void widen_range(const int32_t *pos, int64_t n, int64_t from, int64_t *lo, int64_t *hi) {
    for (int64_t i = 0; i < n; i++) {
        int64_t p = pos ? pos[i] : from + i;
        *lo = p < *lo ? p : *lo;
        *hi = p > *hi ? p : *hi;
        if (!pos && i == 0 && n > 1)
            i = n - 2; /* the ends of a run say all */
    }
}

static ed_status make_tables(decode *d, int64_t n, ed_arena *scratch, ed_error *err) {
    const ed_attend_opts *o = d->opts;
    int64_t klo = INT64_MAX, khi = INT64_MIN, qlo = INT64_MAX, qhi = INT64_MIN;
    if (!o->bias && !o->post_scale && !o->slopes)
        return ED_OK;
    for (int64_t i = 0; i < n; i++) {
        const seq_plan *p = &d->plans[i];
        widen_range(p->s->k_pos, p->s->path ? p->slots - p->lead : p->keys, p->s->first_key, &klo, &khi);
        widen_range(p->q_pos, p->s->rows, p->q_start, &qlo, &qhi);
    }
    if (klo > khi || qlo > qhi)
        klo = khi = qlo = qhi = 0;
    int64_t lo = klo - qhi, hi = khi - qlo;
    ED_FAIL_IF(hi - lo >= MAX_SPAN, ED_E_LIMIT, err, "attention: positions lie %lld apart; the limit of offset tables is %lld", (long long)(hi - lo), (long long)MAX_SPAN);
    size_t bytes = sizeof(float) * ed__spread_floats(&d->x, lo, hi);
    bool ok = true;
    if (o->bias || o->slopes)
        ok = ed__spread_make(&d->x.bias, &d->x, lo, hi, &o->bias_map, o->bias, o->heads, 1, o->slopes, ed_arena_alloc(scratch, bytes));
    if (ok && o->post_scale)
        ok = ed__spread_make(&d->x.post, &d->x, lo, hi, &o->post_map, o->post_scale, o->heads, 1, NULL, ed_arena_alloc(scratch, bytes));
    ED_FAIL_IF(!ok, ED_E_MEMORY, err, "attention: no memory for offset tables");
    return ED_OK;
}

static int64_t last_group(const seq_plan *p) {
    return p->slots > 0 ? (p->base + p->slots - 1) / GROUP_KEYS : p->base / GROUP_KEYS;
}

/* rows of one job: a path keeps all rows of the sequence together */
static int64_t job_rows(const decode *d, const seq_plan *p) {
    int64_t rows = JOB_ROWS / d->x.G / ED__ROWS * ED__ROWS;
    rows = rows < ED__ROWS ? ED__ROWS : rows;
    return p->s->path || rows > p->s->rows ? p->s->rows : rows;
}

static void add_jobs(decode *d, const seq_plan *p, bool count) {
    int64_t step = job_rows(d, p), first = p->base / GROUP_KEYS;
    for (int64_t kvh = 0; kvh < d->x.Hkv; kvh++) {
        for (int64_t t = 0; t < p->s->rows; t += step) {
            job j = {.p = p, .kvh = kvh, .t0 = t, .t1 = t + step < p->s->rows ? t + step : p->s->rows, .groups = last_group(p) - first + 1,
                     .first_item = d->n_items, .states = d->n_states};
            int64_t rows = (j.t1 - j.t0) * d->x.G;
            j.items = p->s->path ? p->s->path_first / GROUP_KEYS - first + 1 : j.groups; /* the last item of a path takes all groups that hold scratch keys */
            j.items = j.items < j.groups ? j.items : j.groups;
            for (int64_t i = 0; !count && i < j.items; i++)
                d->job_of[d->n_items + i] = (int32_t)d->n_jobs;
            if (!count)
                d->jobs[d->n_jobs] = j;
            d->n_jobs++;
            d->n_items += j.items;
            d->n_states += j.groups * rows;
            d->max_rows = rows > d->max_rows ? rows : d->max_rows;
        }
    }
    int64_t runs = p->s->n_parts + p->max_path;
    d->max_runs = runs > d->max_runs ? runs : d->max_runs;
}

static ed_status make_jobs(decode *d, int64_t n, ed_arena *scratch, ed_error *err) {
    for (int64_t i = 0; i < n; i++)
        add_jobs(d, &d->plans[i], true);
    ED_FAIL_IF(d->n_items > INT32_MAX || d->n_states > (int64_t)1 << 40, ED_E_LIMIT, err, "attention: too much work for one call");
    int64_t threads = ed_threads_get(), items = d->n_items > 0 ? d->n_items : 1, states = d->n_states;
    d->workers = threads < items ? threads : items;
    d->bench_floats = (int64_t)ed__bench_floats(&d->x, d->max_rows);
    d->jobs = ed_arena_alloc(scratch, sizeof *d->jobs * (size_t)d->n_jobs);
    d->job_of = ed_arena_alloc(scratch, sizeof *d->job_of * (size_t)items);
    d->m = ed_arena_alloc(scratch, sizeof *d->m * (size_t)states);
    d->l = ed_arena_alloc(scratch, sizeof *d->l * (size_t)states);
    d->o = ed_arena_alloc(scratch, sizeof *d->o * (size_t)(states * d->x.Dvp));
    d->mem = ed_arena_alloc(scratch, sizeof *d->mem * (size_t)(d->workers * d->bench_floats));
    d->runs = ed_arena_alloc(scratch, sizeof *d->runs * (size_t)(d->workers * d->max_runs));
    ED_FAIL_IF(!d->jobs || !d->job_of || !d->m || !d->l || !d->o || !d->mem || !d->runs, ED_E_MEMORY, err, "attention: no memory for %lld partial rows",
               (long long)states);
    d->n_jobs = d->n_items = d->n_states = 0;
    for (int64_t i = 0; i < n; i++)
        add_jobs(d, &d->plans[i], false);
    for (int64_t i = 0; i < states; i++)
        d->m[i] = -INFINITY;
    return ED_OK;
}

static void set_tiles(decode *d, const ed_attend_opts *o) {
    d->opts = o;
    d->x = (ed__tiles){.kn = ed__attn_kernels_now(), .H = o->heads, .Hkv = o->kv_heads, .G = o->heads / o->kv_heads, .Dk = o->dk, .Dv = o->dv,
                       .Dkp = (o->dk + 15) & ~(int64_t)15, .Dvp = (o->dv + 15) & ~(int64_t)15, .tiled = o->tiled_heads, .one = o->softmax_one,
                       .scale = (float)(o->scale == 0 ? 1 / sqrt((double)o->dk) : o->scale), .softcap = (float)o->softcap};
}

/* ------------------------------------------------------------------ units */

static ed__run part_run(const ed_kv_part *k, int64_t kvh, int64_t first, int64_t from, int64_t len) {
    int64_t es = (int64_t)ed_dtype_bytes(k->dtype);
    return (ed__run){.k = k->fetch ? NULL : (const char *)k->k + (kvh * k->k_head + from * k->k_row) * es,
                     .v = k->fetch ? NULL : (const char *)k->v + (kvh * k->v_head + from * k->v_row) * es, .k_dtype = k->dtype, .v_dtype = k->dtype,
                     .first = first, .len = len, .k_row = k->k_row, .k_col = 1, .v_row = k->v_row, .v_col = 1, .fetch = k->fetch, .ctx = k->ctx, .local = from,
                     .kv_head = kvh};
}

/* the keys below slot `end` as runs; returns their number */
static int runs_below(const seq_plan *p, int64_t kvh, int64_t end, ed__run *runs) {
    int64_t at = p->lead;
    int n = 0;
    for (int i = 0; i < p->s->n_parts && at < end; at += p->s->parts[i++].len) {
        int64_t len = p->s->parts[i].len < end - at ? p->s->parts[i].len : end - at;
        if (len > 0)
            runs[n++] = part_run(&p->s->parts[i], kvh, at, 0, len);
    }
    return n;
}

/* path key i of row t stands at slot path_first - base + i */
static int runs_path(const seq_plan *p, int64_t kvh, int64_t t, int n, ed__run *runs) {
    for (int32_t i = 0; i < p->s->path_len[t]; i++) {
        int64_t local = p->s->path[t * p->s->path_stride + i] - p->s->first_key;
        const ed_kv_part *k = p->s->parts;
        while (local >= k->len)
            local -= (k++)->len;
        runs[n++] = part_run(k, kvh, p->s->path_first - p->base + i, local, 1);
    }
    return n;
}

static ed__unit make_unit(const seq_plan *p, int64_t kvh, ed__run *runs, int n_runs) {
    return (ed__unit){.kvh = kvh, .rows = p->s->rows, .slots = p->slots, .lead = p->lead, .base = p->base, .runs = runs, .n_runs = n_runs, .vis = &p->vis,
                      .q = p->s->q, .q_row = p->s->q_row, .q_head = p->s->q_head, .q_col = 1, .kappa = p->s->key_bias, .kappa_step = 1, .q_pos = p->q_pos,
                      .k_pos = p->s->k_pos, .pos0 = p->q_start};
}

/* ------------------------------------------------------------------ work */

typedef struct emit_ctx {
    decode *d;
    const job *j;
} emit_ctx;

/* the rows' state of a finished group into its place; the bench starts anew */
static void emit(void *ctx, const ed__tiles *x, ed__bench *w, int64_t group, int64_t r0, int64_t r1) {
    emit_ctx *e = ctx;
    int64_t rows = (e->j->t1 - e->j->t0) * x->G, at = e->j->states + (group - e->j->p->base / GROUP_KEYS) * rows;
    for (int64_t r = r0; r < r1; r++) {
        e->d->m[at + r] = w->m[r];
        e->d->l[at + r] = w->l[r];
        memcpy(e->d->o + (at + r) * x->Dvp, w->o + r * x->Dvp, sizeof(float) * (size_t)x->Dvp);
        w->m[r] = -INFINITY;
        w->l[r] = w->u[r] = 0;
    }
    memset(w->o + r0 * x->Dvp, 0, sizeof(float) * (size_t)((r1 - r0) * x->Dvp));
}

/* runs tiles and hands over the last, unfinished group */
static void run_tiles(emit_ctx *e, const ed__unit *u, ed__bench *w, int64_t r0, int64_t r1, int64_t begin, int64_t end, bool last) {
    ed__tiles_run(&e->d->x, u, w, r0, r1, begin, end, emit, e);
    int64_t next = u->base / ED__TILE + end;
    if (last && next % ED_ATTENTION_GROUP)
        emit(e, &e->d->x, w, next / ED_ATTENTION_GROUP, r0, r1);
}

/* shared tiles for all rows, then each row with its ancestors gathered behind them */
static void path_item(emit_ctx *e, ed__unit *u, ed__bench *w, ed__run *runs, int64_t begin) {
    const seq_plan *p = e->j->p;
    int64_t cut = p->s->path_first - p->base, shared = cut / ED__TILE, G = e->d->x.G;
    ed__vis vis = p->vis;
    vis.slots = u->slots = cut;
    vis.nk = (cut + ED__SUB - 1) / ED__SUB;
    u->vis = &vis;
    u->n_runs = runs_below(p, u->kvh, cut, runs);
    run_tiles(e, u, w, 0, p->s->rows * G, begin, shared, false);
    for (int64_t t = 0; t < p->s->rows; t++) {
        ed__unit row = *u;
        int64_t end = cut + p->s->path_len[t];
        int n = runs_below(p, u->kvh, cut, runs);
        vis.slots = row.slots = end;
        vis.nk = (end + ED__SUB - 1) / ED__SUB;
        row.n_runs = runs_path(p, u->kvh, t, n, runs);
        run_tiles(e, &row, w, t * G, (t + 1) * G, shared, (end + ED__TILE - 1) / ED__TILE, true);
    }
}

static void do_item(decode *d, int64_t item, ed__bench *w, ed__run *runs) {
    const job *j = &d->jobs[d->job_of[item]];
    const seq_plan *p = j->p;
    emit_ctx e = {d, j};
    int64_t group = p->base / GROUP_KEYS + item - j->first_item, tile0 = p->base / ED__TILE, tiles = (p->slots + ED__TILE - 1) / ED__TILE;
    int64_t begin = group * ED_ATTENTION_GROUP - tile0, end = begin + ED_ATTENTION_GROUP;
    begin = begin > 0 ? begin : 0;
    ed__unit u = make_unit(p, j->kvh, runs, runs_below(p, j->kvh, p->slots, runs));
    ed__tiles_begin(&d->x, &u, j->t0, j->t1, p->s->path != NULL, w);
    if (p->s->path && item - j->first_item == j->items - 1) {
        path_item(&e, &u, w, runs, begin);
        return;
    }
    run_tiles(&e, &u, w, 0, (j->t1 - j->t0) * d->x.G, begin, end < tiles ? end : tiles, true);
}

static void item_range(void *ctx, int64_t begin, int64_t end) {
    decode *d = ctx;
    for (int64_t i = begin; i < end; i++) {
        ed__bench w;
        ed__bench_init(&w, &d->x, d->max_rows, d->mem + i * d->bench_floats);
        for (int64_t item = i; item < d->n_items; item += d->workers)
            do_item(d, item, &w, d->runs + i * d->max_runs);
    }
}

/* groups of every row in ascending order, division, output */
static void merge_range(void *ctx, int64_t begin, int64_t end) {
    decode *d = ctx;
    const ed__tiles *x = &d->x;
    for (int64_t i = begin; i < end; i++) {
        const job *j = &d->jobs[i];
        const ed_attend_seq *s = j->p->s;
        int64_t n = j->t1 - j->t0, rows = n * x->G;
        for (int64_t r = 0; r < rows; r++) {
            int64_t g = s->path ? r % x->G : r / n, t = j->t0 + (s->path ? r / x->G : r % n), h = ed__attn_q_head(x->tiled, x->Hkv, x->G, j->kvh, g);
            int64_t at = j->states + r;
            ed_attend_state acc = {d->m[at], d->l[at], d->o + at * x->Dvp};
            if (acc.m == -INFINITY) /* a group without work for this row left no sums */
                acc.l = 0, memset(acc.o, 0, sizeof(float) * (size_t)x->Dvp);
            for (int64_t k = 1; k < j->groups; k++) {
                int64_t b = at + k * rows;
                ed_attend_merge(&acc, &(ed_attend_state){d->m[b], d->l[b], d->o + b * x->Dvp}, x->Dvp);
            }
            float lse = ed_attend_finish(&acc, x->Dv, x->one);
            memcpy(s->o + t * s->o_row + h * s->o_head, acc.o, sizeof(float) * (size_t)x->Dv);
            if (s->lse)
                s->lse[t * x->H + h] = lse;
        }
    }
}

static ed_status attend(decode *d, const ed_attend_seq *seqs, int64_t n, ed_arena *scratch, ed_error *err) {
    d->plans = ed_arena_alloc(scratch, sizeof *d->plans * (size_t)n);
    ED_FAIL_IF(!d->plans, ED_E_MEMORY, err, "attention: no memory for %lld sequences", (long long)n);
    for (int64_t i = 0; i < n; i++)
        ED_TRY(plan_seq(&seqs[i], &d->plans[i], scratch, err));
    ED_TRY(make_tables(d, n, scratch, err));
    ED_TRY(make_jobs(d, n, scratch, err));
    ed__parallel_for(d->workers, 1, item_range, d);
    ed__parallel_for(d->n_jobs, 16, merge_range, d);
    return ED_OK;
}

ed_status ed_attend(const ed_attend_opts *opts, const ed_attend_seq *seqs, int64_t n, ed_arena *scratch, ed_error *err) {
    ED_TRY(check_opts(opts, err));
    ED_FAIL_IF(n < 0, ED_E_INVALID, err, "attention: %lld sequences", (long long)n);
    decode d = {0};
    set_tiles(&d, opts);
    ed_arena_mark mark = ed_arena_get_mark(scratch);
    ed_status s = attend(&d, seqs, n, scratch, err);
    ed_arena_rewind(scratch, mark);
    return s;
}

/* ------------------------------------------------------------------ one partial result */

static ed_status partial(decode *d, const ed_attend_seq *seq, int64_t kvh, int64_t tile_begin, int64_t tile_end, ed_attend_state *states, ed_arena *scratch,
                         ed_error *err) {
    seq_plan p;
    d->plans = &p;
    ED_TRY(plan_seq(seq, &p, scratch, err));
    ED_TRY(make_tables(d, 1, scratch, err));
    int64_t rows = seq->rows * d->x.G, tile0 = p.base / ED__TILE, tiles = (p.slots + ED__TILE - 1) / ED__TILE, b = tile_begin - tile0, e = tile_end - tile0;
    float *mem = ed_arena_alloc(scratch, sizeof *mem * ed__bench_floats(&d->x, rows));
    ed__run *runs = ed_arena_alloc(scratch, sizeof *runs * (size_t)seq->n_parts);
    ED_FAIL_IF(!mem || !runs, ED_E_MEMORY, err, "attention: no memory for %lld rows", (long long)rows);
    ed__bench w;
    ed__bench_init(&w, &d->x, rows, mem);
    ed__unit u = make_unit(&p, kvh, runs, runs_below(&p, kvh, p.slots, runs));
    ed__tiles_begin(&d->x, &u, 0, seq->rows, false, &w);
    memset(w.O, 0, sizeof(float) * (size_t)(rows * d->x.Dvp));
    ed__tiles_run(&d->x, &u, &w, 0, rows, b > 0 ? b : 0, e < tiles ? e : tiles, ed__tiles_merge, NULL);
    ed__tiles_merge(NULL, &d->x, &w, 0, 0, rows);
    for (int64_t r = 0; r < rows; r++) {
        states[r].m = w.M[r];
        states[r].l = w.L[r];
        memcpy(states[r].o, w.O + r * d->x.Dvp, sizeof(float) * (size_t)d->x.Dv);
    }
    return ED_OK;
}

ed_status ed_attend_partial(const ed_attend_opts *opts, const ed_attend_seq *seq, int64_t kv_head, int64_t tile_begin, int64_t tile_end,
                            ed_attend_state *states, ed_arena *scratch, ed_error *err) {
    ED_TRY(check_opts(opts, err));
    ED_FAIL_IF(seq->path || kv_head < 0 || kv_head >= opts->kv_heads, ED_E_INVALID, err, "attention: partial results are for rows without a path and existing heads");
    decode d = {0};
    set_tiles(&d, opts);
    ed_arena_mark mark = ed_arena_get_mark(scratch);
    ed_status s = partial(&d, seq, kv_head, tile_begin, tile_end, states, scratch, err);
    ed_arena_rewind(scratch, mark);
    return s;
}
