/* models/cache.c - contiguous key/value caches, and the decoder pass over them.
 *
 * Layout: per layer one block [slots, capacity, kv_heads * head_dim] for K and one for V, F32. A slot's length counts committed rows; a pass writes behind
 * it and commits only when it has succeeded, so a failed pass changes nothing. Keys are rotated before they are stored and keep their position.
 * The keys and values of an encoder's memory are computed once, shared by reference between slots (beams), and freed with the last of them. */
#include "models/model.h"

enum { MAX_SLOTS = 1 << 16 };

/** Cross-attention keys and values of one source sequence, all decoder layers: k[layer] is [n, kv_heads * head_dim]. */
typedef struct memory {
    int64_t n;
    int refs;
    float *data; /* [layers, 2, n, kv] */
} memory;

typedef struct slot {
    int64_t length;
    uint64_t stamp;
    memory *mem;
} slot;

struct ed_cache {
    const ed_model *model;
    int64_t slots, capacity, kv; /* kv = kv_heads * head_dim */
    int64_t layers;
    float *rows; /* [layers, 2, slots, capacity, kv] */
    slot *slot;
    slot *spare;      /* [slots], for reorder */
    float *spare_rows; /* one slot's rows of one layer, for cycles in reorder */
};

ed_status ed_cache_create(const ed_model *m, int64_t slots, int64_t capacity, ed_cache **out, ed_error *err) {
    size_t bytes;
    int64_t kv = ed__kv_heads(&m->config) * ed__head_dim(&m->config), numel = 2 * m->decoder.n;
    *out = NULL;
    ED_FAIL_IF(!m->decoder.n, ED_E_STATE, err, "an encoder-only model needs no cache");
    ED_FAIL_IF(m->dtype != ED_DTYPE_F32, ED_E_DTYPE, err, "cached decoding computes in f32");
    ED_FAIL_IF(slots < 1 || slots > MAX_SLOTS || capacity < 1, ED_E_RANGE, err, "a cache has 1 to %d slots and at least one row", MAX_SLOTS);
    bool fits = ed__mul_i64(numel, slots, &numel) && ed__mul_i64(numel, capacity, &numel) && ed__mul_i64(numel, kv, &numel) &&
                ed__mul_size((size_t)numel, sizeof(float), &bytes);
    ed_cache *c = ed__calloc(1, sizeof *c);
    if (c) {
        *c = (ed_cache){.model = m, .slots = slots, .capacity = capacity, .kv = kv, .layers = m->decoder.n};
        c->rows = fits ? ed__malloc(bytes) : NULL;
        c->slot = ed__calloc((size_t)slots, sizeof *c->slot);
        c->spare = ed__calloc((size_t)slots, sizeof *c->spare);
        c->spare_rows = fits ? ed__malloc((size_t)(capacity * kv) * sizeof(float)) : NULL;
    }
    if (!c || !c->rows || !c->slot || !c->spare || !c->spare_rows) {
        ed_cache_destroy(&c);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a cache of %lld sequences of %lld rows", (long long)slots, (long long)capacity);
    }
    *out = c;
    return ED_OK;
}

static void memory_release(memory **m) {
    if (*m && --(*m)->refs == 0) {
        ed__free((*m)->data);
        ed__free(*m);
    }
    *m = NULL;
}

void ed_cache_destroy(ed_cache **pc) {
    ed_cache *c = pc ? *pc : NULL;
    if (!c)
        return;
    for (int64_t i = 0; c->slot && i < c->slots; i++)
        memory_release(&c->slot[i].mem);
    ed__free(c->rows);
    ed__free(c->slot);
    ed__free(c->spare);
    ed__free(c->spare_rows);
    ed__free(c);
    *pc = NULL;
}

static bool has_slot(const ed_cache *c, int64_t i) {
    return i >= 0 && i < c->slots;
}

int64_t ed_cache_length(const ed_cache *c, int64_t i) {
    return has_slot(c, i) ? c->slot[i].length : 0;
}

int64_t ed_cache_capacity(const ed_cache *c) {
    return c->capacity;
}

size_t ed_cache_bytes(const ed_cache *c) {
    size_t n = (size_t)(2 * c->layers * c->slots * c->capacity * c->kv) * sizeof(float);
    for (int64_t i = 0; i < c->slots; i++)
        if (c->slot[i].mem)
            n += (size_t)(2 * c->layers * c->slot[i].mem->n * c->kv) * sizeof(float) / (size_t)c->slot[i].mem->refs;
    return n;
}

uint64_t ed_cache_stamp(const ed_cache *c, int64_t i) {
    return has_slot(c, i) ? c->slot[i].stamp : 0;
}

ed_status ed_cache_truncate(ed_cache *c, int64_t i, int64_t length) {
    if (!has_slot(c, i) || length < 0 || length > c->slot[i].length)
        return ED_E_RANGE;
    c->slot[i].length = length;
    c->slot[i].stamp++;
    return ED_OK;
}

/** First row of a slot; side 0 = keys, 1 = values. */
static float *rows_of(const ed_cache *c, int64_t layer, int side, int64_t i) {
    return c->rows + ((layer * 2 + side) * c->slots + i) * c->capacity * c->kv;
}

static void copy_rows(ed_cache *c, int64_t from, int64_t to) {
    size_t bytes = (size_t)(c->slot[from].length * c->kv) * sizeof(float);
    for (int64_t l = 0; l < c->layers && bytes; l++)
        for (int side = 0; side < 2; side++)
            memcpy(rows_of(c, l, side, to), rows_of(c, l, side, from), bytes);
}

ed_status ed_cache_copy(ed_cache *c, int64_t from, int64_t to) {
    if (!has_slot(c, from) || !has_slot(c, to))
        return ED_E_RANGE;
    if (from == to)
        return ED_OK;
    copy_rows(c, from, to);
    memory *mem = c->slot[from].mem;
    if (mem)
        mem->refs++;
    memory_release(&c->slot[to].mem);
    c->slot[to] = (slot){c->slot[from].length, c->slot[to].stamp + 1, mem};
    return ED_OK;
}

/** Moves rows of one layer and side by the permutation-with-repeats `from`. Slots that nobody reads any more are overwritten first; what is left are cycles, each
 *  broken through one spare slot. done: scratch [n]. */
static void reorder_rows(ed_cache *c, int64_t layer, int side, const int32_t *from, int64_t n, int32_t *readers, int32_t *queue) {
    int64_t head = 0, tail = 0;
    memset(readers, 0, (size_t)c->slots * sizeof *readers);
    for (int64_t i = 0; i < n; i++)
        readers[from[i]] += from[i] != i;
    for (int64_t i = 0; i < n; i++)
        if (readers[i] == 0 && from[i] != i)
            queue[tail++] = (int32_t)i;
    for (; head < tail; head++) { /* nobody needs the old rows of queue[head] */
        int32_t i = queue[head], f = from[i];
        memcpy(rows_of(c, layer, side, i), rows_of(c, layer, side, f), (size_t)(c->spare[f].length * c->kv) * sizeof(float));
        readers[i] = -1;
        if (--readers[f] == 0 && f < n && from[f] != f)
            queue[tail++] = f;
    }
    for (int64_t i = 0; i < n; i++) {
        if (readers[i] <= 0 || from[i] == i)
            continue;
        memcpy(c->spare_rows, rows_of(c, layer, side, i), (size_t)(c->spare[i].length * c->kv) * sizeof(float));
        int64_t at = i;
        for (; from[at] != i; at = from[at]) {
            memcpy(rows_of(c, layer, side, at), rows_of(c, layer, side, from[at]), (size_t)(c->spare[from[at]].length * c->kv) * sizeof(float));
            readers[at] = -1;
        }
        memcpy(rows_of(c, layer, side, at), c->spare_rows, (size_t)(c->spare[i].length * c->kv) * sizeof(float));
        readers[at] = -1;
    }
}

ed_status ed_cache_reorder(ed_cache *c, const int32_t *from, int64_t n) {
    if (n < 0 || n > c->slots)
        return ED_E_RANGE;
    for (int64_t i = 0; i < n; i++)
        if (!has_slot(c, from[i]))
            return ED_E_RANGE;
    int32_t *tmp = ed__malloc(2 * (size_t)c->slots * sizeof *tmp);
    if (!tmp)
        return ED_E_MEMORY;
    memcpy(c->spare, c->slot, (size_t)c->slots * sizeof *c->slot);
    for (int64_t l = 0; l < c->layers; l++)
        for (int side = 0; side < 2; side++)
            reorder_rows(c, l, side, from, n, tmp, tmp + c->slots);
    for (int64_t i = 0; i < n; i++)
        if (c->spare[from[i]].mem)
            c->spare[from[i]].mem->refs++;
    for (int64_t i = 0; i < n; i++) {
        memory *old = c->spare[i].mem;
        c->slot[i] = (slot){c->spare[from[i]].length, c->spare[i].stamp + 1, c->spare[from[i]].mem};
        memory_release(&old);
    }
    ed__free(tmp);
    return ED_OK;
}

/* ------------------------------------------------------------------ cross-attention memory */

static memory *memory_make(const ed_cache *c, int64_t n) {
    memory *mem = ed__calloc(1, sizeof *mem);
    if (!mem)
        return NULL;
    mem->n = n;
    mem->refs = 1;
    mem->data = ed__malloc((size_t)(2 * c->layers * n * c->kv + 1) * sizeof(float));
    if (!mem->data) {
        ed__free(mem);
        return NULL;
    }
    return mem;
}

static float *memory_rows(const ed_cache *c, const memory *mem, int64_t layer, int side) {
    return mem->data + (layer * 2 + side) * mem->n * c->kv;
}

ed_status ed_cache_set_memory(ed_cache *c, ed_graph *g, int64_t i, const ed_tensor *states, int64_t row, int64_t n, ed_error *err) {
    const ed_model *m = c->model;
    ED_FAIL_IF(m->config.kind != ED_MODEL_ENCDEC, ED_E_STATE, err, "only encoder-decoder models have a memory");
    ED_FAIL_IF(!has_slot(c, i) || !states || states->rank != 3 || row < 0 || row >= states->shape[0] || n < 1 || n > states->shape[1], ED_E_RANGE, err,
               "memory row or length out of range");
    memory *mem = memory_make(c, n);
    ED_FAIL_IF(!mem, ED_E_MEMORY, err, "no memory for %lld source rows", (long long)n);
    ed_graph_mark mark = ed_graph_get_mark(g);
    ed_tensor view = *states;
    ed_tensor *x = ed_slice(g, ed_slice(g, &view, 0, row, row + 1, 1), 1, 0, n, 1);
    for (int64_t l = 0; l < c->layers && x; l++) {
        const ed__attention *a = &m->decoder.blocks[l].cross;
        ed_tensor *k = ed__linear_apply(g, &a->k, x), *v = ed__linear_apply(g, &a->v, x);
        if (!k || !v)
            break;
        memcpy(memory_rows(c, mem, l, 0), k->data, (size_t)(n * c->kv) * sizeof(float));
        memcpy(memory_rows(c, mem, l, 1), v->data, (size_t)(n * c->kv) * sizeof(float));
    }
    ed_status s = ed_graph_status(g, err);
    ed_graph_release(g, mark, NULL, 0);
    if (s != ED_OK) {
        memory_release(&mem);
        return s;
    }
    memory_release(&c->slot[i].mem);
    c->slot[i].mem = mem;
    c->slot[i].length = 0;
    c->slot[i].stamp++;
    return ED_OK;
}

/* ------------------------------------------------------------------ a pass over new rows */

/** One run of rows of the same slot. */
typedef struct run {
    int64_t slot, first, n; /* first row in the pass */
} run;

typedef struct step_ctx {
    ed_cache *cache;
    const ed_tensor *positions; /* I32 [n_rows] */
    const run *runs;
    int64_t n_runs;
    ed_kv_part *parts;
    ed_attend_seq *seqs;
} step_ctx;

static ed_attend_opts attend_opts(const ed_model *m, const ed__attention *a) {
    const ed_model_config *c = &m->config;
    ed_attend_opts o = {.heads = c->n_heads, .kv_heads = ed__kv_heads(c), .dk = ed__head_dim(c), .dv = ed__head_dim(c), .scale = c->attention_scale,
                        .softcap = c->softcap, .slopes = a->pos.slopes};
    if (a->pos.bias) {
        o.bias = a->pos.bias->data;
        o.bias_map = a->pos.bias_map;
    }
    if (a->pos.post_scale) {
        o.post_scale = a->pos.post_scale->data;
        o.post_map = a->pos.post_map;
    }
    return o;
}

/** Writes the new keys (rotated) and values behind the committed rows. */
static void store_rows(const step_ctx *s, int64_t layer, const ed_tensor *k, const ed_tensor *v) {
    ed_cache *c = s->cache;
    for (int64_t i = 0; i < s->n_runs; i++) {
        const run *r = &s->runs[i];
        int64_t at = c->slot[r->slot].length * c->kv;
        size_t bytes = (size_t)(r->n * c->kv) * sizeof(float);
        memcpy(rows_of(c, layer, 0, r->slot) + at, (const float *)k->data + r->first * c->kv, bytes);
        memcpy(rows_of(c, layer, 1, r->slot) + at, (const float *)v->data + r->first * c->kv, bytes);
    }
}

static void fill_seq(const step_ctx *s, int64_t i, int64_t layer, bool cross, const ed_tensor *q, ed_tensor *o) {
    ed_cache *c = s->cache;
    const run *r = &s->runs[i];
    const slot *sl = &c->slot[r->slot];
    int64_t dh = ed__head_dim(&c->model->config), width = c->model->config.n_heads * dh;
    const float *k = cross ? memory_rows(c, sl->mem, layer, 0) : rows_of(c, layer, 0, r->slot);
    const float *v = cross ? memory_rows(c, sl->mem, layer, 1) : rows_of(c, layer, 1, r->slot);
    s->parts[i] = (ed_kv_part){.k = k, .v = v, .dtype = ED_DTYPE_F32, .len = cross ? sl->mem->n : sl->length + r->n, .k_row = c->kv, .k_head = dh,
                               .v_row = c->kv, .v_head = dh};
    s->seqs[i] = (ed_attend_seq){.parts = &s->parts[i], .n_parts = 1, .rows = r->n, .q = (const float *)q->data + r->first * width, .q_row = width,
                                 .q_head = dh, .o = (float *)o->data + r->first * width, .o_row = width, .o_head = dh, .causal = !cross, .window = -1,
                                 .q_start = cross ? 0 : sl->length};
}

static ed_tensor *mix_cached(void *ctx, const ed_model *m, ed_graph *g, const ed__block *b, const ed__attention *a, bool cross, ed_tensor *x) {
    const step_ctx *s = ctx;
    const ed_model_config *c = &m->config;
    int64_t n = x ? x->shape[0] : 0, dh = ed__head_dim(c);
    ed_tensor *q = ed__linear_apply(g, &a->q, x);
    q = ed_site(g, "q", b->layer, q ? ed_reshape(g, q, 3, (int64_t[]){n, c->n_heads, dh}) : NULL);
    if (!cross) {
        ed_tensor *k = ed__linear_apply(g, &a->k, x), *v = ed__linear_apply(g, &a->v, x);
        k = ed_site(g, "k", b->layer, k ? ed_reshape(g, k, 3, (int64_t[]){n, ed__kv_heads(c), dh}) : NULL);
        v = ed_site(g, "v", b->layer, v ? ed_reshape(g, v, 3, (int64_t[]){n, ed__kv_heads(c), dh}) : NULL);
        q = ed__rotate(m, g, &a->pos, q, s->positions);
        k = ed__rotate(m, g, &a->pos, k, s->positions);
        k = k ? ed_contiguous(g, k) : NULL;
        v = v ? ed_contiguous(g, v) : NULL;
        if (!k || !v)
            return NULL;
        store_rows(s, b->layer, k, v);
    }
    q = q ? ed_contiguous(g, q) : NULL;
    ed_tensor *o = q ? ed_new(g, ED_DTYPE_F32, 2, (int64_t[]){n, c->n_heads * dh}) : NULL;
    if (!o)
        return NULL;
    for (int64_t i = 0; i < s->n_runs; i++)
        fill_seq(s, i, b->layer, cross, q, o);
    ed_attend_opts opts = attend_opts(m, a);
    ed_error err;
    if (ed_attend(&opts, s->seqs, s->n_runs, ed_graph_arena(g), &err) != ED_OK)
        return ed_graph_fail(g, err.status, "%s", err.message);
    return o;
}

/** Splits the rows into runs of one slot each and checks slots, lengths and ids. Returns the number of runs, or -1 with the error on the graph. */
static int64_t find_runs(const ed_model *m, ed_graph *g, const ed_cache *c, const ed_step *st, run *runs) {
    int64_t n = 0;
    for (int64_t r = 0; r < st->n_rows; r++) {
        if (!has_slot(c, st->slot[r]))
            return ed_graph_fail(g, ED_E_RANGE, "row %lld asks for slot %d of a cache with %lld", (long long)r, st->slot[r], (long long)c->slots), -1;
        if (st->ids[r] < 0 || st->ids[r] >= m->config.vocab_size)
            return ed_graph_fail(g, ED_E_RANGE, "token %d is not in the vocabulary of %lld", st->ids[r], (long long)m->config.vocab_size), -1;
        if (n > 0 && runs[n - 1].slot == st->slot[r]) {
            runs[n - 1].n++;
            continue;
        }
        for (int64_t i = 0; i < n; i++)
            if (runs[i].slot == st->slot[r])
                return ed_graph_fail(g, ED_E_INVALID, "the rows of slot %d do not stand together", st->slot[r]), -1;
        runs[n++] = (run){st->slot[r], r, 1};
    }
    for (int64_t i = 0; i < n; i++) {
        const slot *s = &c->slot[runs[i].slot];
        if (s->length + runs[i].n > c->capacity)
            return ed_graph_fail(g, ED_E_LIMIT, "the context of slot %lld is full: %lld rows and %lld new ones, room for %lld", (long long)runs[i].slot,
                                 (long long)s->length, (long long)runs[i].n, (long long)c->capacity),
                   -1;
        if (m->config.kind == ED_MODEL_ENCDEC && !s->mem)
            return ed_graph_fail(g, ED_E_STATE, "slot %lld has no encoder memory yet", (long long)runs[i].slot), -1;
    }
    return n;
}

static ed_tensor *step_positions(ed_graph *g, const ed_cache *c, const step_ctx *s, int64_t n_rows) {
    ed_tensor *p = ed_new(g, ED_DTYPE_I32, 1, &n_rows);
    for (int64_t i = 0; p && i < s->n_runs; i++)
        for (int64_t k = 0; k < s->runs[i].n; k++)
            ((int32_t *)p->data)[s->runs[i].first + k] = (int32_t)(c->slot[s->runs[i].slot].length + k);
    return p;
}

ed_tensor *ed_model_step(const ed_model *m, ed_graph *g, ed_cache *c, const ed_step *st) {
    ed_arena *a = ed_graph_arena(g);
    if (ed_graph_status(g, NULL) != ED_OK)
        return NULL;
    if (st->n_rows < 1 || c->model != m)
        return ed_graph_fail(g, ED_E_INVALID, "a step needs rows, and a cache made for this model");
    if (ed_graph_get_opts(g)->record)
        return ed_graph_fail(g, ED_E_STATE, "cached decoding is not recorded on a tape: use an inference graph");
    size_t n = (size_t)st->n_rows;
    run *runs = ed_arena_alloc(a, n * sizeof *runs);
    step_ctx s = {.cache = c, .runs = runs, .parts = ed_arena_alloc(a, n * sizeof *s.parts), .seqs = ed_arena_alloc(a, n * sizeof *s.seqs)};
    if (!runs || !s.parts || !s.seqs)
        return ed_graph_fail(g, ED_E_LIMIT, "no room for a pass of %lld rows", (long long)st->n_rows);
    if ((s.n_runs = find_runs(m, g, c, st, runs)) < 0)
        return NULL;
    s.positions = step_positions(g, c, &s, st->n_rows);
    ed_tensor *ids = ed_wrap(g, ED_DTYPE_I32, 1, &st->n_rows, st->ids);
    ed_tensor *types = m->decoder.types ? ed_zeros(g, ED_DTYPE_I32, 1, &st->n_rows) : NULL;
    ed_tensor *x = ed__embed(m, g, &m->decoder, ids, NULL, s.positions, types);
    for (int64_t l = 0; l < m->decoder.n && x; l++) {
        ed_graph_mark mark = ed_graph_get_mark(g);
        x = ed__block_apply(m, g, &m->decoder.blocks[l], x, mix_cached, &s);
        ed_graph_release(g, mark, &x, 1);
    }
    x = ed__stack_finish(m, g, &m->decoder, x);
    for (int64_t i = 0; x && i < s.n_runs; i++) {
        c->slot[runs[i].slot].length += runs[i].n;
        c->slot[runs[i].slot].stamp++;
    }
    return x;
}
