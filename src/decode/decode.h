/* decode/decode.h - the insides of generation, shared by the files of this folder only.
 *
 * Who owns what: a session owns groups (one per request); a group owns its paths (one per beam or sample); a path owns a logit chain, which holds the tokens, and one
 * slot of the session's cache. What a path still has to feed to the model is always: its tokens beyond the cached length. */
#ifndef ED_DECODE_DECODE_H
#define ED_DECODE_DECODE_H

#include "base/internal.h"
#include "endec/decode.h"

/* ---- options.c */
typedef struct ed__id_list {
    int32_t *ids;
    int64_t n;
    int64_t *ends; /* [n_seqs] end of each sequence in ids */
    int64_t n_seqs;
} ed__id_list;
/** "1,2;3" to sequences (1,2) and (3). text NULL or blank: empty. key: named in errors. */
ed_status ed__id_list_parse(const char *key, const char *text, int64_t vocab, ed__id_list *out, ed_error *err);
void ed__id_list_deinit(ed__id_list *l);
/** Ids that end a sequence: the option, else the model's. */
ed_status ed__eos_list(const ed_decode_opts *o, const ed_model_config *c, ed__id_list *out, ed_error *err);
/** Most new tokens for a prompt (decoder-only) or source of n tokens, before the context's own limit. */
int64_t ed__max_new(const ed_decode_opts *o, int64_t n);
/** Sequences a request keeps in work: beams or samples. */
int64_t ed__width(const ed_decode_opts *o);
/** Ids in range, nothing empty without BOS, the prompt fits: *n_decoder gets the decoder-side prompt length. which < 0: no "prompt N: " in messages. */
ed_status ed__prompt_check(const ed_model_config *c, const ed_prompt *p, int64_t context, int64_t which, int64_t *n_decoder, ed_error *err);

/* ---- sample.c */
/** Sum of exp(row - *max), and the largest; NaN when the row has NaN or +inf, or nothing but -inf. */
double ed__row_mass(const float *row, int64_t vocab, float *max);

/* ---- session.c, loop.c, beam.c */

typedef struct ed__path {
    ed_logit_chain *chain;
    float *logprobs; /* [cap] of new tokens */
    size_t cap;
    double sum;
    int32_t slot;   /* -1: none */
    int32_t sample; /* place among a group's samples */
    bool live;
} ed__path;

/** A beam search that may still take hypotheses. */
typedef struct ed__beams {
    ed_hypothesis *done; /* [n_done], best first; room for num_beams + 1 */
    int64_t n_done;
    int64_t keep; /* candidates looked at per step: max(2, 1 + end tokens) * num_beams */
    struct ed__pick *picks; /* [width, keep]: what the choice found, per live path */
    int64_t *n_picks;       /* [width] */
    struct ed__candidate *best; /* [keep], scratch of one step */
    ed__path *spare;        /* [width], scratch of one step */
    int32_t *ids;           /* [width, keep], scratch of the choice */
    float *values;          /* [width, keep] */
    bool can_improve;
} ed__beams;
typedef struct ed__pick {
    int32_t id;
    float logprob;
} ed__pick;
typedef struct ed__candidate {
    double score;
    int32_t path, id;
    float logprob;
} ed__candidate;

typedef struct ed__group {
    struct ed__group *next; /* in a queue or list */
    int64_t tag;
    uint64_t sequence;
    ed_decode_opts opts; /* strings NULL: the chains hold their rules */
    ed_stream stream;
    int32_t *source; /* encoder-decoder: until encoded */
    int64_t n_source;
    int64_t n_prompt, limit; /* decoder-side prompt; most new tokens */
    int64_t width;
    ed__path *paths; /* [width] */
    bool forked;     /* samples: every path has its own slot by now */
    bool search;     /* beam search */
    bool cancelled, finished;
    ed__beams beams;
    ed_result result;
} ed__group;

/** A row whose logits are wanted in the present pass, and what was chosen from it. */
typedef struct ed__want {
    ed__group *group;
    int64_t path; /* in group */
    int64_t row;  /* in the pass */
    int32_t id;   /* -1: the row had no usable law */
    float logprob;
} ed__want;

typedef struct ed__queue {
    ed__group *first, *last;
    int64_t n;
} ed__queue;

struct ed_session {
    const ed_model *model;
    const ed_model_config *config;
    ed_graph *graph;
    ed_cache *cache;
    ed_session_opts opts;
    int32_t *free_slots; /* [slots], a stack */
    int64_t n_free;
    ed__queue waiting, active, done;
    /* arrays of one pass */
    int32_t *ids, *row_slot, *pick_rows;
    ed__want *wants;
    size_t cap_ids, cap_slot, cap_pick, cap_wants;
    int64_t n_rows, n_wants;
    bool stop_all;
    ed_decode_stats stats;
};

/* session.c */
void ed__queue_push(ed__queue *q, ed__group *g);
ed__group *ed__queue_pop(ed__queue *q);
void ed__group_destroy(ed__group **g);
void ed__path_deinit(ed__path *p);
int32_t ed__slot_take(ed_session *s);
void ed__slot_give(ed_session *s, int32_t *slot);
/** Appends a token to the path. */
ed_status ed__path_push(ed__path *p, int32_t id, float logprob);
/** The path's new tokens as a hypothesis; with `id` behind them when id >= 0. */
ed_status ed__hypothesis_make(const ed__group *g, const ed__path *p, int32_t id, float logprob, ed_finish finish, ed_hypothesis *out);
void ed__hypothesis_deinit(ed_hypothesis *h);
/** Tells the stream of one token; its answer. */
ed_stream_next ed__emit(ed_session *s, const ed__group *g, const ed_token_event *e);

/* admit.c: waiting groups get slots and, when there is an encoder, their memory */
ed_status ed__admit(ed_session *s, ed_error *err);

/* beam.c */
/** sum / n^penalty */
double ed__penalised(double sum, int64_t n, double penalty);
ed_status ed__beams_init(ed__group *g, int64_t n_eos);
void ed__beams_deinit(ed__group *g);
/** Finds the best continuations of one path from its row of logits (changed in place); false when the row has no usable law. Thread-safe between paths. */
bool ed__beams_choose(ed__group *g, int64_t path, float *row, int64_t vocab, int32_t *scratch);
/** One step of the search from all picks. *done: the group is finished. */
ed_status ed__beams_advance(ed_session *s, ed__group *g, bool *done);
/** Moves the best hypotheses into the group's result and reports them. When there are none, the best running beam becomes one that ends as `unfinished`. */
ed_status ed__beams_finish(ed_session *s, ed__group *g, ed_finish unfinished);

#endif
