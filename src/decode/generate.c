/* decode/generate.c - a list of prompts through one session: checked first, sorted longest first, handed back in the caller's order. */
#include "decode/decode.h"

#include <stdlib.h>

enum { MOST_SLOTS = 1 << 16 };

typedef struct place {
    int64_t length, index;
} place;

static int longer_first(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/** Checks every prompt and finds the rows that the longest one may need. */
static ed_status check_all(const ed_model_config *c, const ed_prompt *prompts, int64_t n, const ed_decode_opts *o, place *order, int64_t *context, ed_error *err) {
    *context = 1;
    for (int64_t i = 0; i < n; i++) {
        int64_t n_decoder;
        ED_TRY(ed__prompt_check(c, &prompts[i], c->max_positions, i, &n_decoder, err));
        int64_t most = ed__max_new(o, prompts[i].n), rows = most > c->max_positions - n_decoder + 1 ? c->max_positions : n_decoder + most - 1;
        *context = rows > *context ? rows : *context;
        order[i] = (place){prompts[i].n + prompts[i].n_prefix, i};
    }
    qsort(order, (size_t)n, sizeof *order, longer_first);
    return ED_OK;
}

static ed_status run_all(ed_session *s, const ed_prompt *prompts, int64_t n, const ed_decode_opts *o, const place *order, const ed_stream *stream,
                         ed_result *results, ed_error *err) {
    int64_t next = 0, tag;
    bool stopped = false;
    ed_result r;
    for (bool busy = true; busy || next < n;) {
        for (; next < n && s->waiting.n < s->opts.slots; next++)
            ED_TRY(ed_session_submit(s, &prompts[order[next].index], o, order[next].index, stream, err));
        if (stopped)
            ed_session_cancel(s, 0, true);
        ED_TRY(ed_session_step(s, &busy, err));
        stopped |= s->stop_all;
        while (ed_session_take(s, &tag, &r))
            results[tag] = r;
    }
    return ED_OK;
}

ed_status ed_generate(const ed_model *m, const ed_prompt *prompts, int64_t n, const ed_decode_opts *o, const ed_stream *stream, ed_result *results,
                      ed_decode_stats *stats, ed_error *err) {
    const ed_model_config *c = ed_model_get_config(m);
    ed_session_opts so = {.batch_tokens = o->batch_tokens};
    ed_session *s = NULL;
    double start = ed_time_s();
    for (int64_t i = 0; i < n; i++)
        results[i] = (ed_result){0};
    if (stats)
        *stats = (ed_decode_stats){0};
    ED_TRY(ed_decode_opts_check(o, c, err));
    if (n <= 0)
        return ED_OK;
    place *order = ed__malloc((size_t)n * sizeof *order);
    ED_FAIL_IF(!order, ED_E_MEMORY, err, "no memory for %lld prompts", (long long)n);
    ed_status st = check_all(c, prompts, n, o, order, &so.context, err);
    so.slots = (n < o->batch_size ? n : o->batch_size) * ed__width(o);
    so.slots = so.slots < MOST_SLOTS ? so.slots : MOST_SLOTS;
    if (st == ED_OK)
        st = ed_session_create(m, &so, &s, err);
    if (st == ED_OK)
        st = run_all(s, prompts, n, o, order, stream, results, err);
    if (stats && s) {
        *stats = ed_session_stats(s);
        stats->total_s = ed_time_s() - start;
    }
    for (int64_t i = 0; i < n && st != ED_OK; i++)
        ed_result_deinit(&results[i]);
    ed_session_destroy(&s);
    ed__free(order);
    return st;
}
