/* decode/admit.c - waiting requests get slots; sources are encoded in padded batches of similar length, one memory per request.
 *
 * Room is filled in bulk (when a quarter of the slots is free, or nothing runs), so that the encoder sees batches and prompts share passes. */
#include "decode/decode.h"

/** Slots for the group: the first path's now, the others' with it, so that a running group never waits. False: no room. */
static bool take_slots(ed_session *s, ed__group *g) {
    if (s->n_free < g->width)
        return false;
    for (int64_t i = 0; i < g->width; i++) {
        g->paths[i].slot = ed__slot_take(s);
        ed_cache_truncate(s->cache, g->paths[i].slot, 0);
    }
    return true;
}

/** Source ids of n groups, padded to `len`: ids [n, len], lengths [n]. */
static void pad_sources(const ed_session *s, ed__group *const *groups, int64_t n, int64_t len, int32_t *ids, int32_t *lengths) {
    int32_t pad = (int32_t)(s->config->pad_id >= 0 ? s->config->pad_id : 0);
    for (int64_t i = 0; i < n; i++) {
        lengths[i] = (int32_t)groups[i]->n_source;
        memcpy(ids + i * len, groups[i]->source, (size_t)groups[i]->n_source * sizeof *ids);
        for (int64_t j = groups[i]->n_source; j < len; j++)
            ids[i * len + j] = pad;
    }
}

static ed_status encode(ed_session *s, ed__group *const *groups, int64_t n, int64_t len, ed_error *err) {
    ed_graph_reset(s->graph);
    ed_arena *a = ed_graph_arena(s->graph);
    int32_t *ids = ed_arena_alloc(a, (size_t)(n * len) * sizeof *ids), *lengths = ed_arena_alloc(a, (size_t)n * sizeof *lengths);
    ED_FAIL_IF(!ids || !lengths, ED_E_MEMORY, err, "no memory for %lld source rows", (long long)(n * len));
    pad_sources(s, groups, n, len, ids, lengths);
    ed_rows rows = {.batch = n, .len = len, .ids = ids, .lengths = lengths};
    ed_tensor *memory = ed_model_encode(s->model, s->graph, &rows);
    ED_TRY(ed_graph_status(s->graph, err));
    for (int64_t i = 0; i < n; i++) {
        ED_TRY(ed_cache_set_memory(s->cache, s->graph, groups[i]->paths[0].slot, memory, i, groups[i]->n_source, err));
        ed__free(groups[i]->source);
        groups[i]->source = NULL;
    }
    s->stats.encoder_passes++;
    s->stats.encoder_rows += n * len;
    return ED_OK;
}

/** Insertion sort by source length, longest first, stable: lists are as short as the slots are few. */
static void sort_by_length(ed__group **g, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        ed__group *x = g[i];
        int64_t j = i;
        for (; j > 0 && g[j - 1]->n_source < x->n_source; j--)
            g[j] = g[j - 1];
        g[j] = x;
    }
}

static ed_status encode_all(ed_session *s, ed__group **groups, int64_t n, ed_error *err) {
    double start = ed_time_s();
    sort_by_length(groups, n);
    for (int64_t i = 0; i < n;) {
        int64_t len = groups[i]->n_source, most = s->opts.batch_tokens / len, k = n - i;
        k = k < most ? k : most > 1 ? most : 1;
        ED_TRY(encode(s, groups + i, k, len, err));
        i += k;
    }
    s->stats.encode_s += ed_time_s() - start;
    return ED_OK;
}

ed_status ed__admit(ed_session *s, ed_error *err) {
    int64_t n = 0, most = s->n_free < s->waiting.n ? s->n_free : s->waiting.n;
    if (most == 0 || (s->active.n > 0 && s->n_free * 4 < s->opts.slots))
        return ED_OK;
    ed__group **groups = ed__malloc((size_t)most * sizeof *groups);
    ED_FAIL_IF(!groups, ED_E_MEMORY, err, "no memory for %lld requests", (long long)most);
    while (s->waiting.first && take_slots(s, s->waiting.first)) {
        groups[n] = ed__queue_pop(&s->waiting);
        ed__queue_push(&s->active, groups[n++]);
    }
    ed_status st = s->config->kind == ED_MODEL_ENCDEC ? encode_all(s, groups, n, err) : ED_OK;
    ed__free(groups);
    return st;
}
