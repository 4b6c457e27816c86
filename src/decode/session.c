/* decode/session.c - requests and their sequences: made, queued, cancelled, handed back.
 *
 * Invariants: a slot is either on the free stack or held by exactly one path; a group stands in exactly one of the queues waiting, active, done. */
#include "decode/decode.h"

enum { MAX_SLOTS = 1 << 16, MAX_NEW = INT32_MAX };

/* ------------------------------------------------------------------ small parts */

void ed__queue_push(ed__queue *q, ed__group *g) {
    g->next = NULL;
    if (q->last)
        q->last->next = g;
    else
        q->first = g;
    q->last = g;
    q->n++;
}

ed__group *ed__queue_pop(ed__queue *q) {
    ed__group *g = q->first;
    if (g) {
        q->first = g->next;
        q->last = q->first ? q->last : NULL;
        q->n--;
        g->next = NULL;
    }
    return g;
}

int32_t ed__slot_take(ed_session *s) {
    return s->n_free > 0 ? s->free_slots[--s->n_free] : -1;
}

void ed__slot_give(ed_session *s, int32_t *slot) {
    if (*slot >= 0)
        s->free_slots[s->n_free++] = *slot;
    *slot = -1;
}

void ed__path_deinit(ed__path *p) {
    ed_logit_chain_destroy(&p->chain);
    ed__free(p->logprobs);
    *p = (ed__path){.slot = -1};
}

ed_status ed__path_push(ed__path *p, int32_t id, float logprob) {
    int64_t n_new;
    ed_logit_chain_tokens(p->chain, NULL, &n_new);
    ED_TRY(ed__grow((void **)&p->logprobs, &p->cap, (size_t)n_new + 1, sizeof *p->logprobs, MAX_NEW));
    ED_TRY(ed_logit_chain_push(p->chain, id));
    p->logprobs[n_new] = logprob;
    p->sum += (double)logprob;
    return ED_OK;
}

void ed__hypothesis_deinit(ed_hypothesis *h) {
    ed__free(h->ids);
    ed__free(h->logprobs);
    *h = (ed_hypothesis){0};
}

void ed_result_deinit(ed_result *r) {
    for (int64_t i = 0; r && i < r->n; i++)
        ed__hypothesis_deinit(&r->hyps[i]);
    if (r) {
        ed__free(r->hyps);
        *r = (ed_result){0};
    }
}

const char *ed_finish_name(ed_finish f) {
    return f == ED_FINISH_EOS ? "stop" : f == ED_FINISH_LENGTH ? "length" : f == ED_FINISH_CANCELLED ? "cancelled" : "?";
}

ed_stream_next ed__emit(ed_session *s, const ed__group *g, const ed_token_event *e) {
    if (s->stop_all)
        return ED_STREAM_STOP_ALL;
    ed_stream_next next = g->stream.fn ? g->stream.fn(g->stream.user, e) : ED_STREAM_GO;
    s->stop_all |= next == ED_STREAM_STOP_ALL;
    return next;
}

/* ------------------------------------------------------------------ groups */

void ed__group_destroy(ed__group **pg) {
    ed__group *g = *pg;
    if (!g)
        return;
    ed__beams_deinit(g);
    for (int64_t i = 0; g->paths && i < g->width; i++)
        ed__path_deinit(&g->paths[i]);
    ed__free(g->paths);
    ed__free(g->source);
    ed_result_deinit(&g->result);
    ed__free(g);
    *pg = NULL;
}

/** Decoder-side tokens before the first new one: BOS for an empty text; start token and prefix behind an encoder. Returns ed__malloc memory [n]. */
static int32_t *decoder_prompt(const ed_model_config *c, const ed_prompt *p, int64_t n) {
    int32_t *ids = ed__malloc((size_t)n * sizeof *ids);
    if (!ids)
        return NULL;
    if (c->kind == ED_MODEL_ENCDEC) {
        ids[0] = (int32_t)(c->decoder_start_id >= 0 ? c->decoder_start_id : c->bos_id);
        if (p->n_prefix)
            memcpy(ids + 1, p->prefix, (size_t)p->n_prefix * sizeof *ids);
    } else if (p->n) {
        memcpy(ids, p->ids, (size_t)n * sizeof *ids);
    } else {
        ids[0] = (int32_t)c->bos_id;
    }
    return ids;
}

static ed_status copy_source(const ed_model_config *c, const ed_prompt *p, ed__group *g) {
    if (c->kind != ED_MODEL_ENCDEC)
        return ED_OK;
    g->n_source = p->n ? p->n : 1;
    g->source = ed__malloc((size_t)g->n_source * sizeof *g->source);
    if (!g->source)
        return ED_E_MEMORY;
    if (p->n)
        memcpy(g->source, p->ids, (size_t)p->n * sizeof *g->source);
    else
        g->source[0] = (int32_t)c->bos_id;
    return ED_OK;
}

static ed_status samples_init(ed__group *g, ed_error *err) {
    g->result.hyps = ed__calloc((size_t)g->width, sizeof *g->result.hyps);
    ED_FAIL_IF(!g->result.hyps, ED_E_MEMORY, err, "no memory for %lld results", (long long)g->width);
    g->result.n = g->width;
    return ED_OK;
}

static ed_status fill_group(const ed_session *s, const ed_prompt *p, const ed_decode_opts *o, ed__group *g, ed_error *err) {
    int64_t room = ed_cache_capacity(s->cache) - g->n_prompt + 1, n_eos = 0; /* the last new token is never fed */
    ed__id_list eos;
    g->width = ed__width(o);
    g->search = o->num_beams > 1;
    g->forked = g->search || g->width == 1;
    g->limit = ed__max_new(o, p->n);
    g->limit = g->limit < room ? g->limit : room;
    g->paths = ed__calloc((size_t)g->width, sizeof *g->paths);
    int32_t *ids = decoder_prompt(s->config, p, g->n_prompt);
    ed_status st = g->paths && ids ? copy_source(s->config, p, g) : ED_E_MEMORY;
    if (st != ED_OK) {
        ed__free(ids);
        return ed_error_set(err, st, "", ED_NO_OFFSET, "no memory for a request");
    }
    for (int64_t i = 0; i < g->width; i++)
        g->paths[i] = (ed__path){.slot = -1, .sample = (int32_t)i};
    st = ed_logit_chain_create(o, s->config, ids, g->n_prompt, g->limit, &g->paths[0].chain, err);
    ed__free(ids);
    ED_TRY(st);
    g->paths[0].live = true;
    for (int64_t i = 1; i < g->width; i++)
        if ((st = ed_logit_chain_clone(g->paths[0].chain, &g->paths[i].chain)) != ED_OK)
            return ed_error_set(err, st, "", ED_NO_OFFSET, "no memory for %lld sequences", (long long)g->width);
    if (!g->search)
        return samples_init(g, err);
    ED_TRY(ed__eos_list(o, s->config, &eos, err));
    n_eos = eos.n;
    ed__id_list_deinit(&eos);
    st = ed__beams_init(g, n_eos);
    return st == ED_OK ? st : ed_error_set(err, st, "", ED_NO_OFFSET, "no memory for %lld beams", (long long)g->width);
}

ed_status ed_session_submit(ed_session *s, const ed_prompt *p, const ed_decode_opts *o, int64_t tag, const ed_stream *stream, ed_error *err) {
    int64_t n_decoder;
    ED_TRY(ed_decode_opts_check(o, s->config, err));
    ED_TRY(ed__prompt_check(s->config, p, ed_cache_capacity(s->cache), -1, &n_decoder, err));
    ED_FAIL_IF(ed__width(o) > s->opts.slots, ED_E_LIMIT, err, "a request of %lld sequences does not fit a session of %lld", (long long)ed__width(o),
               (long long)s->opts.slots);
    ed__group *g = ed__calloc(1, sizeof *g);
    ED_FAIL_IF(!g, ED_E_MEMORY, err, "no memory for a request");
    g->tag = tag;
    g->sequence = p->sequence ? p->sequence : (uint64_t)tag + 1;
    g->opts = *o;
    g->opts.bad_words_ids = g->opts.eos_token_id = NULL;
    g->stream = stream ? *stream : (ed_stream){0};
    g->n_prompt = n_decoder;
    ed_status st = fill_group(s, p, o, g, err);
    if (st != ED_OK) {
        ed__group_destroy(&g);
        return st;
    }
    s->stats.prompts++;
    s->stats.prompt_tokens += n_decoder;
    s->stats.source_tokens += g->n_source;
    ed__queue_push(&s->waiting, g);
    return ED_OK;
}

ed_status ed__hypothesis_make(const ed__group *g, const ed__path *p, int32_t id, float logprob, ed_finish finish, ed_hypothesis *out) {
    int64_t n, n_new;
    const int32_t *tokens = ed_logit_chain_tokens(p->chain, &n, &n_new);
    int64_t total = n_new + (id >= 0);
    *out = (ed_hypothesis){.ids = ed__malloc((size_t)(total + 1) * sizeof *out->ids), .logprobs = ed__malloc((size_t)(total + 1) * sizeof *out->logprobs),
                           .n = total, .sum_logprob = p->sum, .finish = finish};
    if (!out->ids || !out->logprobs) {
        ed__hypothesis_deinit(out);
        return ED_E_MEMORY;
    }
    if (n_new) {
        memcpy(out->ids, tokens + n - n_new, (size_t)n_new * sizeof *out->ids);
        memcpy(out->logprobs, p->logprobs, (size_t)n_new * sizeof *out->logprobs);
    }
    if (id >= 0) {
        out->ids[n_new] = id;
        out->logprobs[n_new] = logprob;
        out->sum_logprob += (double)logprob;
    }
    out->score = ed__penalised(out->sum_logprob, total, g->opts.length_penalty);
    return ED_OK;
}

/* ------------------------------------------------------------------ sessions */

ed_status ed_session_create(const ed_model *m, const ed_session_opts *o, ed_session **out, ed_error *err) {
    const ed_model_config *c = ed_model_get_config(m);
    *out = NULL;
    ED_FAIL_IF(o->slots < 1 || o->slots > MAX_SLOTS, ED_E_RANGE, err, "a session has 1 to %d slots, not %lld", MAX_SLOTS, (long long)o->slots);
    ED_FAIL_IF(o->context < 0 || o->context > c->max_positions, ED_E_RANGE, err, "context %lld: the model's longest sequence is %lld", (long long)o->context,
               (long long)c->max_positions);
    ED_FAIL_IF(o->batch_tokens < 1, ED_E_RANGE, err, "batch_tokens is %lld; it must be at least 1", (long long)o->batch_tokens);
    ed_session *s = ed__calloc(1, sizeof *s);
    ED_FAIL_IF(!s, ED_E_MEMORY, err, "no memory for a session");
    s->model = m;
    s->config = c;
    s->opts = *o;
    ed_graph_opts go = ed_graph_opts_infer();
    ed_status st = ed_graph_create(&go, &s->graph);
    s->free_slots = ed__malloc((size_t)o->slots * sizeof *s->free_slots);
    if (st != ED_OK || !s->free_slots)
        st = ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a session");
    if (st == ED_OK)
        st = ed_cache_create(m, o->slots, o->context ? o->context : c->max_positions, &s->cache, err);
    for (int64_t i = o->slots; st == ED_OK && i-- > 0;)
        s->free_slots[s->n_free++] = (int32_t)i;
    if (st != ED_OK)
        ed_session_destroy(&s);
    *out = s;
    return st;
}

static void queue_clear(ed__queue *q) {
    for (ed__group *g; (g = ed__queue_pop(q));)
        ed__group_destroy(&g);
}

void ed_session_destroy(ed_session **ps) {
    ed_session *s = ps ? *ps : NULL;
    if (!s)
        return;
    queue_clear(&s->waiting);
    queue_clear(&s->active);
    queue_clear(&s->done);
    ed_cache_destroy(&s->cache);
    ed_graph_destroy(&s->graph);
    ed__free(s->free_slots);
    ed__free(s->ids);
    ed__free(s->row_slot);
    ed__free(s->pick_rows);
    ed__free(s->wants);
    ed__free(s);
    *ps = NULL;
}

bool ed_session_take(ed_session *s, int64_t *tag, ed_result *out) {
    ed__group *g = ed__queue_pop(&s->done);
    if (!g)
        return false;
    if (tag)
        *tag = g->tag;
    *out = g->result;
    g->result = (ed_result){0};
    ed__group_destroy(&g);
    return true;
}

void ed_session_cancel(ed_session *s, int64_t tag, bool all) {
    ed__queue *queues[] = {&s->waiting, &s->active};
    for (size_t i = 0; i < 2; i++)
        for (ed__group *g = queues[i]->first; g; g = g->next)
            g->cancelled |= all || g->tag == tag;
}

ed_decode_stats ed_session_stats(const ed_session *s) {
    ed_decode_stats st = s->stats;
    st.cache_bytes = ed_cache_bytes(s->cache);
    return st;
}
