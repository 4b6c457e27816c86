/* decode/loop.c - one step of a session: rows of all sequences in one pass, then a token (or the beams' next step) for each that has fed all it has.
 *
 * A path feeds its tokens beyond the cached length: the prompt at first (in chunks under a shared budget), one token per step later. Prompt chunks and single rows share
 * passes. Samples of one prompt share its rows: they fork before the last prompt row. A row's bits do not depend on its pass, so the result does not depend on any of this. */
#include "decode/decode.h"

#include <math.h>

#include "tensor/kernel.h"

enum { MAX_ROWS = INT32_MAX, NO_LAW = -1, NOTHING_LEFT = -2, CHOICE_GRAIN = 1 << 14 };

/* ------------------------------------------------------------------ which rows */

static ed_status add_rows(ed_session *s, const int32_t *ids, int64_t n, int32_t slot) {
    size_t need = (size_t)(s->n_rows + n);
    ED_TRY(ed__grow((void **)&s->ids, &s->cap_ids, need, sizeof *s->ids, MAX_ROWS));
    ED_TRY(ed__grow((void **)&s->row_slot, &s->cap_slot, need, sizeof *s->row_slot, MAX_ROWS));
    memcpy(s->ids + s->n_rows, ids, (size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        s->row_slot[s->n_rows + i] = slot;
    s->n_rows += n;
    return ED_OK;
}

static ed_status add_want(ed_session *s, ed__group *g, int64_t path) {
    ED_TRY(ed__grow((void **)&s->wants, &s->cap_wants, (size_t)s->n_wants + 1, sizeof *s->wants, MAX_ROWS));
    ED_TRY(ed__grow((void **)&s->pick_rows, &s->cap_pick, (size_t)s->n_wants + 1, sizeof *s->pick_rows, MAX_ROWS));
    s->pick_rows[s->n_wants] = (int32_t)(s->n_rows - 1);
    s->wants[s->n_wants++] = (ed__want){.group = g, .path = path};
    return ED_OK;
}

/** Gives every sample the rows of the prompt but its last. */
static ed_status fork_samples(ed_session *s, ed__group *g) {
    for (int64_t i = 1; i < g->width; i++) {
        ED_TRY(ed_cache_copy(s->cache, g->paths[0].slot, g->paths[i].slot));
        g->paths[i].live = true;
    }
    g->forked = true;
    return ED_OK;
}

static ed_status add_path(ed_session *s, ed__group *g, int64_t path, int64_t *budget, int64_t *prompt_rows) {
    const ed__path *p = &g->paths[path];
    int64_t n, cached = ed_cache_length(s->cache, p->slot);
    const int32_t *tokens = ed_logit_chain_tokens(p->chain, &n, NULL);
    int64_t left = n - cached, take = g->forked ? left : left - 1;
    if (left > 1) {
        take = take < *budget ? take : *budget;
        *budget -= take;
        *prompt_rows += take;
    }
    if (take == 0)
        return ED_OK;
    ED_TRY(add_rows(s, tokens + cached, take, p->slot));
    return take == left ? add_want(s, g, path) : ED_OK;
}

static ed_status build_pass(ed_session *s, int64_t *prompt_rows) {
    int64_t budget = s->opts.batch_tokens;
    s->n_rows = s->n_wants = *prompt_rows = 0;
    for (ed__group *g = s->active.first; g; g = g->next) {
        if (!g->forked && ed_cache_length(s->cache, g->paths[0].slot) == g->n_prompt - 1)
            ED_TRY(fork_samples(s, g));
        for (int64_t p = 0; p < g->width; p++)
            if (g->paths[p].live)
                ED_TRY(add_path(s, g, p, &budget, prompt_rows));
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ the choice */

typedef struct choice_ctx {
    ed__want *wants;
    float *logits;    /* [n_wants, vocab] */
    int32_t *scratch; /* [n_wants, vocab] or NULL */
    float *raw;       /* [n_wants, vocab] or NULL: the rows before processors */
    int64_t vocab;
} choice_ctx;

static void choose_token(ed__want *w, float *row, const float *raw, int64_t vocab, int32_t *scratch) {
    const ed__group *g = w->group;
    const ed__path *p = &g->paths[w->path];
    double lse = g->opts.logprobs ? ed_logsumexp_row(row, vocab) : ed__kernels()->max(row, vocab);
    int64_t n;
    w->logprob = 0;
    w->id = NO_LAW;
    if (!(lse > -INFINITY && lse < INFINITY))
        return;
    if (ed_logit_chain_active(p->chain))
        ed_logit_chain_apply(p->chain, row, scratch);
    ed_logit_chain_tokens(p->chain, &n, NULL);
    if (g->opts.temperature > 0)
        w->id = ed_sample_row(row, vocab, ed_draw_uniform((uint64_t)g->opts.seed, ED_DRAW_TARGET, g->sequence, (uint32_t)p->sample, n));
    else
        w->id = ed_argmax_row(row, vocab);
    if (w->id < 0)
        w->id = NOTHING_LEFT;
    else if (g->opts.logprobs)
        w->logprob = (float)((double)raw[w->id] - lse);
}

static void choose_range(void *ctx, int64_t begin, int64_t end) {
    const choice_ctx *c = ctx;
    for (int64_t i = begin; i < end; i++) {
        ed__want *w = &c->wants[i];
        float *row = c->logits + i * c->vocab, *raw = row;
        int32_t *scratch = c->scratch ? c->scratch + i * c->vocab : NULL;
        if (w->group->search) {
            w->id = ed__beams_choose(w->group, w->path, row, c->vocab, scratch) ? 0 : NO_LAW;
            continue;
        }
        if (c->raw && w->group->opts.logprobs && ed_logit_chain_active(w->group->paths[w->path].chain)) {
            raw = c->raw + i * c->vocab;
            memcpy(raw, row, (size_t)c->vocab * sizeof *raw);
        }
        choose_token(w, row, raw, c->vocab, scratch);
    }
}

static ed_status choose_all(ed_session *s, ed_tensor *logits, ed_error *err) {
    choice_ctx c = {.wants = s->wants, .logits = logits->data, .vocab = s->config->vocab_size};
    bool scratch = false, raw = false;
    for (int64_t i = 0; i < s->n_wants; i++) {
        const ed__group *g = s->wants[i].group;
        bool active = ed_logit_chain_active(g->paths[s->wants[i].path].chain);
        scratch |= active && g->opts.temperature > 0;
        raw |= active && g->opts.logprobs && !g->search;
    }
    size_t n = (size_t)(s->n_wants * c.vocab);
    c.scratch = scratch ? ed_arena_alloc(ed_graph_arena(s->graph), n * sizeof *c.scratch) : NULL;
    c.raw = raw ? ed_arena_alloc(ed_graph_arena(s->graph), n * sizeof *c.raw) : NULL;
    ED_FAIL_IF((scratch && !c.scratch) || (raw && !c.raw), ED_E_MEMORY, err, "no memory to choose among %lld x %lld logits", (long long)s->n_wants,
               (long long)c.vocab);
    ed__parallel_for(s->n_wants, 1 + CHOICE_GRAIN / c.vocab, choose_range, &c);
    for (int64_t i = 0; i < s->n_wants; i++) {
        const ed__group *g = s->wants[i].group;
        int64_t n_new;
        ed_logit_chain_tokens(g->paths[s->wants[i].path].chain, NULL, &n_new);
        ED_FAIL_IF(s->wants[i].id == NO_LAW, ED_E_NUMERIC, err, "prompt %lld: the model's logits for new token %lld are not finite numbers", (long long)g->tag,
                   (long long)n_new);
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ the consequences */

/** The path ends: its tokens become its hypothesis, its slot is free. */
static ed_status end_path(ed_session *s, ed__group *g, ed__path *p, ed_finish finish) {
    ed_hypothesis *h = &g->result.hyps[p->sample];
    ED_TRY(ed__hypothesis_make(g, p, -1, 0, finish, h));
    s->stats.new_tokens += h->n;
    p->live = false;
    ed__slot_give(s, &p->slot);
    return ED_OK;
}

static ed_status take_token(ed_session *s, const ed__want *w) {
    ed__group *g = w->group;
    ed__path *p = &g->paths[w->path];
    int64_t n_new;
    if (w->id == NOTHING_LEFT) /* the rules allow no token at all */
        return end_path(s, g, p, ED_FINISH_LENGTH);
    ED_TRY(ed__path_push(p, w->id, w->logprob));
    ed_logit_chain_tokens(p->chain, NULL, &n_new);
    bool eos = ed_logit_chain_is_eos(p->chain, w->id), last = eos || n_new >= g->limit;
    ed_finish finish = eos ? ED_FINISH_EOS : ED_FINISH_LENGTH;
    ed_token_event e = {.prompt = g->tag, .sample = p->sample, .index = n_new - 1, .id = w->id, .logprob = w->logprob, .last = last, .finish = finish};
    ed_stream_next next = ed__emit(s, g, &e);
    if (last)
        return end_path(s, g, p, finish);
    return next == ED_STREAM_STOP ? end_path(s, g, p, ED_FINISH_CANCELLED) : ED_OK;
}

static ed_status finish_beams(ed_session *s, ed__group *g, ed_finish unfinished) {
    ED_TRY(ed__beams_finish(s, g, unfinished));
    for (int64_t i = 0; i < g->width; i++) {
        g->paths[i].live = false;
        ed__slot_give(s, &g->paths[i].slot);
    }
    g->finished = true;
    return ED_OK;
}

static ed_status take_all(ed_session *s) {
    for (int64_t i = 0; i < s->n_wants;) {
        ed__group *g = s->wants[i].group;
        bool done = false;
        if (!g->search) {
            ED_TRY(take_token(s, &s->wants[i++]));
            continue;
        }
        while (i < s->n_wants && s->wants[i].group == g)
            i++;
        ED_TRY(ed__beams_advance(s, g, &done));
        if (done)
            ED_TRY(finish_beams(s, g, ED_FINISH_LENGTH));
    }
    return ED_OK;
}

static ed_status cancel_group(ed_session *s, ed__group *g) {
    if (g->search)
        return finish_beams(s, g, ED_FINISH_CANCELLED);
    for (int64_t i = 0; i < g->width; i++)
        if (!g->result.hyps[i].ids)
            ED_TRY(end_path(s, g, &g->paths[i], ED_FINISH_CANCELLED));
    return ED_OK;
}

static bool is_finished(const ed__group *g) {
    bool live = false;
    for (int64_t i = 0; i < g->width; i++)
        live |= g->paths[i].live;
    return g->search ? g->finished : !live;
}

/** Ends cancelled groups and moves finished ones to the done queue. */
static ed_status sweep(ed_session *s, ed__queue *q) {
    for (int64_t n = q->n; n-- > 0;) {
        ed__group *g = ed__queue_pop(q);
        ed_status st = (g->cancelled || s->stop_all) && !is_finished(g) ? cancel_group(s, g) : ED_OK;
        ed__queue_push(st == ED_OK && is_finished(g) ? &s->done : q, g);
        ED_TRY(st);
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ the step */

static ed_status run_pass(ed_session *s, ed_error *err) {
    ed_graph_reset(s->graph);
    ed_step step = {.n_rows = s->n_rows, .ids = s->ids, .slot = s->row_slot};
    ed_tensor *x = ed_model_step(s->model, s->graph, s->cache, &step);
    if (s->n_wants == 0)
        return ed_graph_status(s->graph, err);
    if (x && s->n_wants < s->n_rows)
        x = ed_gather_rows(s->graph, x, ed_wrap(s->graph, ED_DTYPE_I32, 1, &s->n_wants, s->pick_rows));
    x = x ? ed_model_logits(s->model, s->graph, x) : NULL;
    x = x ? ed_contiguous(s->graph, x) : NULL;
    ED_TRY(ed_graph_status(s->graph, err));
    return choose_all(s, x, err);
}

static ed_status step_once(ed_session *s, ed_error *err) {
    int64_t prompt_rows;
    double start = ed_time_s();
    ed_status st = build_pass(s, &prompt_rows);
    ED_FAIL_IF(st != ED_OK, st, err, "no memory for a pass");
    ED_TRY(run_pass(s, err));
    st = take_all(s);
    ED_FAIL_IF(st != ED_OK, st, err, "no memory for the tokens of a step");
    *(prompt_rows ? &s->stats.prefill_s : &s->stats.decode_s) += ed_time_s() - start;
    s->stats.passes++;
    s->stats.rows += s->n_rows;
    s->stats.prompt_rows += prompt_rows;
    return ED_OK;
}

ed_status ed_session_step(ed_session *s, bool *busy, ed_error *err) {
    ed_status st = sweep(s, &s->active);
    st = st == ED_OK ? sweep(s, &s->waiting) : st;
    ED_FAIL_IF(st != ED_OK, st, err, "no memory for results");
    s->stop_all = false;
    ED_TRY(ed__admit(s, err));
    if (s->active.n > 0)
        ED_TRY(step_once(s, err));
    st = sweep(s, &s->active);
    st = st == ED_OK ? sweep(s, &s->waiting) : st;
    ED_FAIL_IF(st != ED_OK, st, err, "no memory for results");
    *busy = s->active.n + s->waiting.n > 0;
    return ED_OK;
}
