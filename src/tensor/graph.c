/* tensor/graph.c - graphs: arenas, leaves, options, errors, hooks. The tape itself is in tape.c.
 *
 * Four arenas: `arena` holds the values and calls of a pass; `leaves` the parameter leaves (they survive rewinds of `arena` inside a pass);
 * `grads_arena` the gradients of activations of one backward call; `scratch` what one op call needs meanwhile. The cap holds for the sum. */
#include "tensor/graph.h"

#include <stdarg.h>
#include <stdio.h>

ed_graph_opts ed_graph_opts_train(void) {
    return (ed_graph_opts){.record = true, .train = true, .matmul_dtype = ED_DTYPE_F32};
}

ed_graph_opts ed_graph_opts_infer(void) {
    return (ed_graph_opts){.strict = true, .matmul_dtype = ED_DTYPE_F32};
}

ed_status ed_graph_create(const ed_graph_opts *opts, ed_graph **out) {
    ed_graph *g = ed__calloc(1, sizeof *g);
    *out = NULL;
    if (!g)
        return ED_E_MEMORY;
    g->opts = opts ? *opts : ed_graph_opts_infer();
    if (ed_arena_create(g->opts.cap_bytes, &g->arena) != ED_OK || ed_arena_create(0, &g->leaves) != ED_OK ||
        ed_arena_create(g->opts.cap_bytes, &g->grads_arena) != ED_OK || ed_arena_create(g->opts.cap_bytes, &g->scratch) != ED_OK) {
        ed_graph_destroy(&g);
        return ED_E_MEMORY;
    }
    *out = g;
    return ED_OK;
}

void ed_graph_destroy(ed_graph **pg) {
    ed_graph *g = pg ? *pg : NULL;
    if (!g)
        return;
    ed_arena_destroy(&g->arena);
    ed_arena_destroy(&g->leaves);
    ed_arena_destroy(&g->grads_arena);
    ed_arena_destroy(&g->scratch);
    ed__free(g->tape);
    ed__free(g->leaf_table);
    ed__free(g);
    *pg = NULL;
}

void ed_graph_reset(ed_graph *g) {
    ed_arena_reset(g->arena);
    ed_arena_reset(g->leaves);
    ed_arena_reset(g->grads_arena);
    ed_arena_reset(g->scratch);
    memset(g->pool, 0, sizeof g->pool);
    if (g->n_leaves)
        memset(g->leaf_table, 0, g->cap_leaves * sizeof *g->leaf_table);
    g->n_leaves = g->n_tape = 0;
    g->n_pending = 0;
    g->epoch = 0;
    g->error = (ed_error){0};
    g->pass = 0;
    size_t peak = ed_graph_count(g).peak_bytes;
    g->count = (ed_graph_counters){.peak_bytes = peak};
}

const ed_graph_opts *ed_graph_get_opts(const ed_graph *g) {
    return &g->opts;
}

ed_status ed_graph_status(const ed_graph *g, ed_error *err) {
    if (err && g->error.status != ED_OK)
        *err = g->error;
    return g->error.status;
}

ed_tensor *ed_graph_fail(ed_graph *g, ed_status s, const char *fmt, ...) {
    char text[400];
    va_list ap;
    if (g->error.status != ED_OK)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ed_error_set(&g->error, s, "", ED_NO_OFFSET, "%s", text);
    return NULL;
}

bool ed_graph_set_record(ed_graph *g, bool on) {
    bool old = g->opts.record;
    g->opts.record = on;
    return old;
}

bool ed_graph_set_train(ed_graph *g, bool on) {
    bool old = g->opts.train;
    g->opts.train = on;
    return old;
}

void ed_graph_set_grads(ed_graph *g, ed_grads *grads) {
    g->grads = grads;
}

void ed_graph_seed(ed_graph *g, uint64_t seed, uint32_t step) {
    g->seed = seed;
    g->step = step;
}

uint32_t ed_graph_set_pass(ed_graph *g, uint32_t pass) {
    uint32_t old = g->pass;
    g->pass = pass;
    return old;
}

ed_rng_key ed_graph_rng_key(const ed_graph *g, uint32_t site) {
    return ed_rng_key_make(g->seed, site);
}

void ed__graph_rng(const ed_graph *g, uint32_t site, uint32_t pass, ed_rng_key *key, uint32_t counter[4]) {
    *key = ed_graph_rng_key(g, site);
    counter[0] = counter[1] = 0;
    counter[2] = g->step;
    counter[3] = pass;
}

ed_graph_counters ed_graph_count(const ed_graph *g) {
    ed_graph_counters c = g->count;
    size_t peak = ed_arena_high_water(g->arena) + ed_arena_high_water(g->grads_arena) + ed_arena_high_water(g->scratch);
    c.bytes = ed_arena_used(g->arena) + ed_arena_used(g->grads_arena);
    c.peak_bytes = peak > c.peak_bytes ? peak : c.peak_bytes;
    c.recorded = (int64_t)g->n_tape;
    return c;
}

ed_arena *ed_graph_arena(ed_graph *g) {
    return g->arena;
}

void ed_graph_set_hook(ed_graph *g, ed_hook_fn fn, void *user) {
    g->hook = fn;
    g->hook_user = user;
}

ed_tensor *ed_site(ed_graph *g, const char *site, int layer, ed_tensor *x) {
    return g->hook && x ? g->hook(g->hook_user, g, site, layer, x) : x;
}

/* ------------------------------------------------------------------ tensors of a graph */

ed_dtype ed__grad_dtype(ed_dtype d) {
    return d == ED_DTYPE_F64 ? ED_DTYPE_F64 : ED_DTYPE_F32;
}

bool ed__shape_ok(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, int64_t *numel, size_t *bytes) {
    int64_t n = 1;
    if (rank < 0 || rank > ED_MAX_RANK || ed_dtype_bytes(dtype) == 0) {
        ed_graph_fail(g, ED_E_SHAPE, "a tensor has at most %d axes and a known number format", ED_MAX_RANK);
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || !ed__mul_i64(n, shape[i], &n)) {
            ed_graph_fail(g, ED_E_SHAPE, "axis %d of a new tensor has size %lld", i, (long long)shape[i]);
            return false;
        }
    }
    if (!ed__mul_size((size_t)n, ed_dtype_bytes(dtype), bytes)) {
        ed_graph_fail(g, ED_E_RANGE, "a tensor of %lld elements does not fit into memory", (long long)n);
        return false;
    }
    *numel = n;
    return true;
}

ed_tensor *ed__tensor_make(ed_graph *g, ed_arena *a, ed_dtype dtype, int rank, const int64_t *shape, void *data) {
    size_t bytes;
    int64_t numel;
    struct {
        ed_tensor t;
        ed_storage s;
    } *both;
    if (!ed__shape_ok(g, dtype, rank, shape, &numel, &bytes))
        return NULL;
    both = ed_arena_alloc(a, sizeof *both);
    if (both && !data)
        data = ed_arena_alloc(a, bytes);
    if (!both || !data)
        return ed_graph_fail(g, ED_E_LIMIT, "the graph's memory is used up: %zu bytes in use, cap %zu", ed_arena_used(a), ed_arena_cap(a));
    both->t = ed__view_of(data, dtype, rank, shape);
    both->s = (ed_storage){.data = data, .numel = numel, .dtype = dtype};
    both->t.storage = &both->s;
    return &both->t;
}

ed_tensor *ed_new(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape) {
    return g->error.status ? NULL : ed__tensor_make(g, g->arena, dtype, rank, shape, NULL);
}

ed_tensor *ed_zeros(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape) {
    ed_tensor *t = ed_new(g, dtype, rank, shape);
    if (t)
        memset(t->data, 0, (size_t)ed_numel(t) * ed_dtype_bytes(dtype));
    return t;
}

ed_tensor *ed_full(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, double value) {
    ed_tensor *t = ed_new(g, dtype, rank, shape);
    ed_tensor one = ed__view_of(&value, ED_DTYPE_F64, rank, shape);
    if (!t)
        return NULL;
    memset(one.stride, 0, sizeof one.stride);
    if (rank == 0 || ed_numel(t) == 1)
        ed__copy_strided(&(ed_tensor){.data = &value, .dtype = ED_DTYPE_F64}, t);
    else
        ed__copy_strided(&one, t);
    return t;
}

ed_tensor *ed_from(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, const void *data) {
    ed_tensor *t = ed_new(g, dtype, rank, shape);
    if (t && ed_numel(t) > 0)
        memcpy(t->data, data, (size_t)ed_numel(t) * ed_dtype_bytes(dtype));
    return t;
}

ed_tensor *ed_wrap(ed_graph *g, ed_dtype dtype, int rank, const int64_t *shape, const void *data) {
    union { /* the graph never writes through it: no op writes its inputs */
        const void *in;
        void *out;
    } u = {data};
    if (g->error.status)
        return NULL;
    return data ? ed__tensor_make(g, g->arena, dtype, rank, shape, u.out) : ed_graph_fail(g, ED_E_INVALID, "ed_wrap needs data");
}

ed_tensor *ed__new_view(ed_graph *g, const ed_tensor *base) {
    ed_tensor *t = ed_arena_alloc(g->arena, sizeof *t);
    if (!t)
        return ed_graph_fail(g, ED_E_LIMIT, "the graph's memory is used up: %zu bytes in use", ed_arena_used(g->arena));
    *t = *base;
    return t;
}

ed_param *ed__param_of(const ed_tensor *t) {
    return t->storage ? t->storage->param : NULL;
}

bool ed_needs_grad(const ed_tensor *t) {
    return t && t->storage && t->storage->needs_grad;
}

ed_tensor *ed_watch(ed_graph *g, ed_tensor *t) {
    (void)g;
    if (t && ed_dtype_is_float(t->dtype)) {
        t->storage->watched = true;
        t->storage->needs_grad = true;
    }
    return t;
}

/* ------------------------------------------------------------------ leaves of parameters */

static ed__leaf *leaf_slot(const ed_graph *g, const ed_param *p) {
    size_t i = (size_t)(((uintptr_t)p >> 6) * 0x9E3779B97F4A7C15ull >> 20) & (g->cap_leaves - 1);
    while (g->leaf_table[i].param && g->leaf_table[i].param != p)
        i = (i + 1) & (g->cap_leaves - 1);
    return &g->leaf_table[i];
}

static bool leaf_room(ed_graph *g) {
    if (g->cap_leaves > 2 * (g->n_leaves + 1))
        return true;
    ed__leaf *old = g->leaf_table;
    size_t old_cap = g->cap_leaves, cap = old_cap ? 2 * old_cap : 256;
    ed__leaf *t = ed__calloc(cap, sizeof *t);
    if (!t)
        return false;
    g->leaf_table = t;
    g->cap_leaves = cap;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].param)
            *leaf_slot(g, old[i].param) = old[i];
    ed__free(old);
    return true;
}

ed_tensor *ed_use(ed_graph *g, ed_param *p) {
    if (g->error.status)
        return NULL;
    if (!p)
        return ed_graph_fail(g, ED_E_INVALID, "ed_use needs a parameter");
    if (!leaf_room(g))
        return ed_graph_fail(g, ED_E_MEMORY, "no memory for parameter leaves");
    ed__leaf *l = leaf_slot(g, p);
    if (l->param)
        return l->tensor;
    ed_tensor *t = ed__tensor_make(g, g->leaves, p->dtype, p->rank, p->shape, p->data);
    if (!t)
        return NULL;
    t->storage->param = p;
    t->storage->needs_grad = g->grads && ed_grads_wants(g->grads, p);
    *l = (ed__leaf){p, t};
    g->n_leaves++;
    return t;
}

/* ------------------------------------------------------------------ releasing memory inside an inference pass */

ed_graph_mark ed_graph_get_mark(ed_graph *g) {
    return (ed_graph_mark){ed_arena_get_mark(g->arena)};
}

void ed_graph_release(ed_graph *g, ed_graph_mark m, ed_tensor **keep, int n_keep) {
    ed_tensor saved[8];
    if (g->opts.record || g->n_tape || n_keep > 8 || g->error.status)
        return;
    ed_arena_mark scratch = ed_arena_get_mark(g->scratch);
    for (int i = 0; i < n_keep; i++) {
        void *copy = keep[i] ? ed_arena_alloc(g->scratch, (size_t)ed_numel(keep[i]) * ed_dtype_bytes(keep[i]->dtype)) : NULL;
        if (keep[i] && !copy)
            return; /* no room to copy: keep everything */
        if (!keep[i])
            continue;
        saved[i] = ed__view_of(copy, keep[i]->dtype, keep[i]->rank, keep[i]->shape);
        ed__copy_strided(keep[i], &saved[i]);
    }
    ed_arena_rewind(g->arena, m.data);
    for (int i = 0; i < n_keep; i++)
        if (keep[i])
            keep[i] = ed_from(g, saved[i].dtype, saved[i].rank, saved[i].shape, saved[i].data);
    ed_arena_rewind(g->scratch, scratch);
}
