/* decode/beam.c - beam search as in Hugging Face's generate() (transformers 5, generation/utils.py, _beam_search), one group at a time.
 *
 * Per step: every running beam gives its best continuations; the `keep` best of all are looked at in order (keep leaves num_beams running ones even if every end token is
 * among them). Of those, ended ones among the first num_beams become hypotheses with score sum / length^penalty; the first num_beams that have not ended run on. The
 * search ends when no candidate can run on, with early_stopping = true when num_beams hypotheses exist, else when the best running beam's score at its present
 * length (never: at the longest length, when that helps) does not beat the worst of num_beams hypotheses; that verdict is final.
 * Ties: better beam first, then the lower token id; an older hypothesis before a newer one. Sums are f64.
 * Slots: a parent's slot goes to its first child; further children take slots of beams that died, so only those copy rows. */
#include "decode/decode.h"

#include <math.h>

double ed__penalised(double sum, int64_t n, double penalty) {
    return n > 0 ? sum / pow((double)n, penalty) : 0;
}

ed_status ed__beams_init(ed__group *g, int64_t n_eos) {
    ed__beams *b = &g->beams;
    b->keep = (n_eos > 1 ? 1 + n_eos : 2) * g->width;
    b->can_improve = true;
    b->done = ed__calloc((size_t)g->width + 1, sizeof *b->done);
    b->picks = ed__malloc((size_t)(g->width * b->keep) * sizeof *b->picks);
    b->n_picks = ed__calloc((size_t)g->width, sizeof *b->n_picks);
    b->best = ed__malloc((size_t)b->keep * sizeof *b->best);
    b->spare = ed__malloc((size_t)g->width * sizeof *b->spare);
    b->ids = ed__malloc((size_t)(g->width * b->keep) * sizeof *b->ids);
    b->values = ed__malloc((size_t)(g->width * b->keep) * sizeof *b->values);
    return b->done && b->picks && b->n_picks && b->best && b->spare && b->ids && b->values ? ED_OK : ED_E_MEMORY;
}

void ed__beams_deinit(ed__group *g) {
    ed__beams *b = &g->beams;
    for (int64_t i = 0; b->done && i < b->n_done; i++)
        ed__hypothesis_deinit(&b->done[i]);
    ed__free(b->done);
    ed__free(b->picks);
    ed__free(b->n_picks);
    ed__free(b->best);
    ed__free(b->spare);
    ed__free(b->ids);
    ed__free(b->values);
    *b = (ed__beams){0};
}

bool ed__beams_choose(ed__group *g, int64_t path, float *row, int64_t vocab, int32_t *scratch) {
    ed__beams *b = &g->beams;
    const ed_logit_chain *chain = g->paths[path].chain;
    double lse = ed_logsumexp_row(row, vocab);
    int32_t *ids = b->ids + path * b->keep;
    float *values = b->values + path * b->keep;
    ed__pick *picks = b->picks + path * b->keep;
    bool active = ed_logit_chain_active(chain);
    if (isnan(lse))
        return false;
    if (active) { /* processors see log-probabilities here, as in the original */
        for (int64_t i = 0; i < vocab; i++)
            row[i] = (float)((double)row[i] - lse);
        ed_logit_chain_apply(chain, row, scratch);
    }
    int64_t n = ed_topk_row(row, vocab, b->keep, ids, values);
    for (int64_t i = 0; i < n; i++)
        picks[i] = (ed__pick){ids[i], active ? values[i] : (float)((double)values[i] - lse)};
    b->n_picks[path] = n;
    return true;
}

/** Merges the sorted picks of the running beams into best[], highest score first; returns how many there are. */
static int64_t merge(ed__group *g) {
    ed__beams *b = &g->beams;
    int64_t n = 0;
    for (int64_t p = 0; p < g->width; p++) {
        for (int64_t i = 0; g->paths[p].live && i < b->n_picks[p]; i++) {
            const ed__pick *k = &b->picks[p * b->keep + i];
            ed__candidate c = {g->paths[p].sum + (double)k->logprob, (int32_t)p, k->id, k->logprob};
            if (n == b->keep && !(c.score > b->best[n - 1].score))
                break; /* the rest of this beam is no better */
            int64_t at = n < b->keep ? n++ : n - 1;
            for (; at > 0 && b->best[at - 1].score < c.score; at--)
                b->best[at] = b->best[at - 1];
            b->best[at] = c;
        }
    }
    return n;
}

/** Takes an ended candidate among the num_beams best hypotheses. */
static ed_status add_done(ed__group *g, const ed__candidate *c, ed_finish finish) {
    ed__beams *b = &g->beams;
    ed_hypothesis h;
    ED_TRY(ed__hypothesis_make(g, &g->paths[c->path], c->id, c->logprob, finish, &h));
    int64_t at = b->n_done++;
    for (; at > 0 && b->done[at - 1].score < h.score; at--)
        b->done[at] = b->done[at - 1];
    b->done[at] = h;
    if (b->n_done > g->width)
        ed__hypothesis_deinit(&b->done[--b->n_done]);
    return ED_OK;
}

static ed_status branch(ed_session *s, const ed__path *parent, ed__path *to) {
    int64_t n_new;
    ed_logit_chain_tokens(parent->chain, NULL, &n_new);
    ED_TRY(ed_logit_chain_copy(parent->chain, to->chain));
    ED_TRY(ed__grow((void **)&to->logprobs, &to->cap, (size_t)n_new + 1, sizeof *to->logprobs, INT32_MAX));
    if (n_new)
        memcpy(to->logprobs, parent->logprobs, (size_t)n_new * sizeof *to->logprobs);
    to->sum = parent->sum;
    to->live = true;
    return ed_cache_copy(s->cache, parent->slot, to->slot);
}

/** The n candidates in run[] become the beams, in order. Works on the array of paths as a permutation: nothing is lost on failure. */
static ed_status run_on(ed_session *s, ed__group *g, const ed__candidate *run, int64_t n) {
    ed__path *old = g->paths, *now = g->beams.spare;
    int32_t *owner = g->beams.ids; /* [width]: which new beam took old beam's place; scratch here */
    int64_t unused = 0;
    ed_status st = ED_OK;
    for (int64_t p = 0; p < g->width; p++)
        owner[p] = -1;
    for (int64_t i = 0; i < n; i++)
        if (owner[run[i].path] < 0)
            owner[run[i].path] = (int32_t)i;
    for (int64_t i = 0; i < g->width; i++) {
        if (i < n && owner[run[i].path] == i) {
            now[i] = old[run[i].path];
            continue;
        }
        while (owner[unused] >= 0)
            unused++;
        now[i] = old[unused];
        now[i].live = false;
        owner[unused] = (int32_t)g->width; /* taken */
    }
    for (int64_t i = 0; i < n && st == ED_OK; i++)
        if (owner[run[i].path] != i)
            st = branch(s, &now[owner[run[i].path]], &now[i]);
    for (int64_t i = 0; i < n && st == ED_OK; i++)
        st = ed__path_push(&now[i], run[i].id, run[i].logprob);
    memcpy(old, now, (size_t)g->width * sizeof *old);
    return st;
}

/** Whether a running beam may still become one of the best. */
static bool can_improve(const ed__group *g, double best_running, int64_t length) {
    const ed__beams *b = &g->beams;
    if (b->n_done < g->width)
        return true;
    if (g->opts.early_stopping == ED_EARLY_NEVER && g->opts.length_penalty > 0)
        length = g->limit;
    return ed__penalised(best_running, length, g->opts.length_penalty) > b->done[b->n_done - 1].score;
}

ed_status ed__beams_advance(ed_session *s, ed__group *g, bool *done) {
    ed__beams *b = &g->beams;
    int64_t n_new, n_run = 0, n = merge(g);
    ed_logit_chain_tokens(g->paths[0].chain, NULL, &n_new);
    for (int64_t i = 0; i < n; i++) {
        ed__candidate c = b->best[i];
        bool eos = ed_logit_chain_is_eos(g->paths[c.path].chain, c.id);
        if (!eos && n_new + 1 < g->limit) {
            if (n_run < g->width)
                b->best[n_run++] = c; /* n_run <= i: a place already read */
        } else if (i < g->width) {
            ED_TRY(add_done(g, &c, eos ? ED_FINISH_EOS : ED_FINISH_LENGTH));
        }
    }
    b->can_improve = b->can_improve && n_run > 0 && can_improve(g, b->best[0].score, n_new + 1);
    bool full = g->opts.early_stopping == ED_EARLY_TRUE && b->n_done == g->width;
    *done = !b->can_improve || full;
    return *done ? ED_OK : run_on(s, g, b->best, n_run);
}

static void report_best(ed_session *s, const ed__group *g) {
    const ed_hypothesis *h = &g->result.hyps[0];
    for (int64_t i = 0; i < h->n; i++) {
        ed_token_event e = {.prompt = g->tag, .index = i, .id = h->ids[i], .logprob = h->logprobs[i], .last = i + 1 == h->n, .finish = h->finish};
        if (ed__emit(s, g, &e) != ED_STREAM_GO)
            return;
    }
}

ed_status ed__beams_finish(ed_session *s, ed__group *g, ed_finish unfinished) {
    ed__beams *b = &g->beams;
    for (int64_t p = 0; p < g->width && b->n_done == 0; p++)
        if (g->paths[p].live) {
            ED_TRY(ed__hypothesis_make(g, &g->paths[p], -1, 0, unfinished, &b->done[0]));
            b->n_done = 1;
        }
    int64_t n = b->n_done < g->opts.num_return_sequences ? b->n_done : g->opts.num_return_sequences;
    g->result.hyps = ed__calloc((size_t)n + 1, sizeof *g->result.hyps);
    if (!g->result.hyps)
        return ED_E_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        g->result.hyps[i] = b->done[i];
        b->done[i] = (ed_hypothesis){0};
        s->stats.new_tokens += g->result.hyps[i].n;
    }
    g->result.n = n;
    if (n > 0 && unfinished != ED_FINISH_CANCELLED)
        report_best(s, g);
    return ED_OK;
}
