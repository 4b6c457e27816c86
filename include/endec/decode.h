/* endec/decode.h - generation: greedy, sampling, beam search, over any model with a decoder, for lists of prompts or a stream of requests.
 *
 *     ed_decode_opts o = ed_decode_opts_default();          // greedy, 256 new tokens
 *     ed_prompt p = {.ids = ids, .n = n};                   // decoder-only: the prompt; encoder-decoder: the source
 *     ed_result r;
 *     ed_generate(model, &p, 1, &o, NULL, &r, NULL, &err);  // r.hyps[0].ids, .n, .sum_logprob, .finish
 *     ed_result_deinit(&r);
 *
 * Token ids only; texts are joined with models in text.h. What a prompt gives does not depend, to the last bit, on the prompts beside it, their order, batch sizes,
 * or threads. Definitions and the order of processors are those of Hugging Face's generate(): the same options give the same hypotheses and scores.
 * Reading order: options, prompts and results, ed_generate; then sessions (requests come and go); then the parts, for other loops. */
#ifndef ENDEC_DECODE_H
#define ENDEC_DECODE_H

#include "endec/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ options */

typedef enum ed_early_stopping { ED_EARLY_FALSE, ED_EARLY_TRUE, ED_EARLY_NEVER } ed_early_stopping;

/** Described field by field by ed_decode_options(). Lists of ids are text: "2,5"; lists of sequences part them by ';': "7;8,9". Strings are owned by the struct
 *  when they were set through the option table (release with ed_decode_opts_deinit); a caller may also point them at literals and not release. */
typedef struct ed_decode_opts {
    int64_t max_new_tokens, min_new_tokens; /* new tokens count the end token */
    double max_length_ratio;                /* a > 0: at most floor(a * source or prompt tokens) + b new tokens, where that is less */
    int64_t max_length_extra;               /* b */
    /* beam search */
    int64_t num_beams;            /* 1: greedy or sampling */
    int64_t num_return_sequences; /* n-best of the beams, or independent samples */
    double length_penalty;        /* score = sum of log-probabilities / length^penalty */
    int early_stopping;           /* ed_early_stopping */
    /* sampling */
    double temperature; /* 0: greedy */
    int64_t top_k;      /* 0: off */
    double top_p;       /* 1: off */
    double min_p;       /* 0: off */
    int64_t seed;
    /* penalties and bans */
    double repetition_penalty;                  /* 1: off; over prompt (decoder side) and new tokens */
    double presence_penalty, frequency_penalty; /* 0: off; over new tokens */
    int64_t no_repeat_ngram_size;               /* 0: off */
    char *bad_words_ids;                        /* sequences that may not be completed; NULL: none */
    char *eos_token_id;                         /* ids that end a sequence; NULL: the model's; "" : none */
    int64_t forced_bos_token_id;                /* first new token when one token stands before it; -1: off */
    int64_t forced_eos_token_id;                /* last token when max_new_tokens is reached; -1: off */
    /* batching: speed and memory only, never the result */
    int64_t batch_size;   /* prompts in work at a time (beams and samples ride inside) */
    int64_t batch_tokens; /* most prompt or padded source tokens in one pass */
    bool logprobs;        /* log-probabilities of greedy and sampled tokens; false saves a little time */
} ed_decode_opts;
ED_API ed_decode_opts ed_decode_opts_default(void);
/** The option table and its length. */
ED_API const ed_option *ed_decode_options(size_t *n);
ED_API void ed_decode_opts_deinit(ed_decode_opts *o);
/** Bounds, lists of ids, and what excludes what, for a model of this config. ed_generate checks too. */
ED_API ed_status ed_decode_opts_check(const ed_decode_opts *o, const ed_model_config *c, ed_error *err);

/* ------------------------------------------------------------------ prompts and results */

/** Decoder-only: ids is the text to continue; empty = the model's BOS. Encoder-decoder: ids is the source (empty = BOS); the decoder starts with the config's
 *  decoder_start_id (else BOS), followed by `prefix`. */
typedef struct ed_prompt {
    const int32_t *ids;
    int64_t n;
    const int32_t *prefix;
    int64_t n_prefix;
    uint64_t sequence; /* names this sequence's random draws; 0: 1 + its place in the list (sessions: 1 + tag) */
} ed_prompt;

typedef enum ed_finish { ED_FINISH_EOS, ED_FINISH_LENGTH, ED_FINISH_CANCELLED } ed_finish;
ED_API const char *ed_finish_name(ed_finish f); /* "stop", "length", "cancelled" */

/** One continuation: new tokens only, with the end token when that ended it. Log-probabilities of greedy and sampled tokens are the model's own (before any processor);
 *  those of beams are what the search summed up (after processors), as in Hugging Face's scores. */
typedef struct ed_hypothesis {
    int32_t *ids;    /* [n] */
    float *logprobs; /* [n]; zeros when opts.logprobs is off */
    int64_t n;
    double sum_logprob;
    double score; /* sum_logprob / n^length_penalty */
    ed_finish finish;
} ed_hypothesis;
/** Best first (beams) or in sample order. Beam search may find fewer than asked for when too few tokens are allowed. */
typedef struct ed_result {
    ed_hypothesis *hyps; /* [n] */
    int64_t n;
} ed_result;
ED_API void ed_result_deinit(ed_result *r);

typedef struct ed_decode_stats {
    int64_t prompts, prompt_tokens; /* decoder-side prompt tokens */
    int64_t source_tokens;          /* without padding */
    int64_t new_tokens;             /* in the results */
    int64_t encoder_passes, encoder_rows; /* rows with padding */
    int64_t passes, rows;           /* decoder passes (prompts and steps) and their rows */
    int64_t prompt_rows;            /* of these, rows of passes' prompt chunks */
    double encode_s, prefill_s, decode_s; /* prefill: passes with prompt chunks; decode: all others, with token choice */
    double total_s;
    size_t cache_bytes;
} ed_decode_stats;

/** One new token, in the order of its sequence. Beams are reported when a prompt is done: its best hypothesis, token by token. */
typedef struct ed_token_event {
    int64_t prompt; /* place in the list (sessions: tag) */
    int64_t sample; /* 0 .. num_return_sequences - 1 */
    int64_t index;  /* 0 = first new token */
    int32_t id;
    float logprob;
    bool last;        /* no token follows: */
    ed_finish finish; /* why, when last */
} ed_token_event;
typedef enum ed_stream_next { ED_STREAM_GO, ED_STREAM_STOP, ED_STREAM_STOP_ALL } ed_stream_next; /* STOP: this sequence ends as CANCELLED; ALL: every one */
typedef ed_stream_next (*ed_token_fn)(void *user, const ed_token_event *e);
typedef struct ed_stream {
    ed_token_fn fn; /* NULL: off */
    void *user;
} ed_stream;

/** Continues (decoder-only) or transduces (encoder-decoder) n prompts. results [n] are in the order of the prompts; all are checked before work starts and an error names
 *  the prompt. Inside, prompts are sorted by length, finished ones make room for waiting ones. A context that is full ends a sequence with LENGTH. On error the results are
 *  empty. stream, stats: may be NULL. ED_E_RANGE (ids), ED_E_LIMIT (prompt longer than the context), ED_E_INVALID (empty prompt without BOS, options),
 *  ED_E_NUMERIC (the model gave NaN), ED_E_MEMORY. Cancelled work is no error. */
ED_API ed_status ed_generate(const ed_model *m, const ed_prompt *prompts, int64_t n, const ed_decode_opts *opts, const ed_stream *stream, ed_result *results,
                             ed_decode_stats *stats, ed_error *err);

/* ------------------------------------------------------------------ sessions: requests come and go, each with its own options */

typedef struct ed_session ed_session;
typedef struct ed_session_opts {
    int64_t slots;        /* sequences held at a time; a request takes num_beams or num_return_sequences of them */
    int64_t context;      /* cached rows per sequence; 0 = the model's max_positions */
    int64_t batch_tokens; /* as in ed_decode_opts */
} ed_session_opts;
/** The model is borrowed. One thread at a time may use a session. */
ED_API ed_status ed_session_create(const ed_model *m, const ed_session_opts *o, ed_session **out, ed_error *err);
ED_API void ed_session_destroy(ed_session **s);
/** Queues a request; everything is copied. `tag` comes back with tokens and result. The stream may be NULL. */
ED_API ed_status ed_session_submit(ed_session *s, const ed_prompt *p, const ed_decode_opts *o, int64_t tag, const ed_stream *stream, ed_error *err);
/** Admits waiting requests, makes one pass over all sequences in work, chooses their tokens. *busy: work is left. After an error results can still be taken,
 *  but the session makes no further steps worth having: destroy it. */
ED_API ed_status ed_session_step(ed_session *s, bool *busy, ed_error *err);
/** Takes a finished request; false when there is none. */
ED_API bool ed_session_take(ed_session *s, int64_t *tag, ed_result *out);
/** Ends requests with this tag (all: every one) as CANCELLED; what they have so far becomes their result. */
ED_API void ed_session_cancel(ed_session *s, int64_t tag, bool all);
ED_API ed_decode_stats ed_session_stats(const ed_session *s);

/* ------------------------------------------------------------------ parts: the logit chain and the sampler */

/** What turns a row of logits into the law of the next token. Its state is the path: prompt and tokens so far, so that every branch of a tree or beam has a chain of
 *  its own. Order (Hugging Face's): repetition, presence and frequency penalties, no-repeat n-grams, bad words, min_new_tokens, forced first, forced last,
 *  temperature, top-k, top-p, min-p. The last four act only when temperature > 0. Rules are shared between clones. */
typedef struct ed_logit_chain ed_logit_chain;
/** prompt: decoder-side tokens that stand before the first new one. max_new: the sequence's own limit (forced last token). */
ED_API ed_status ed_logit_chain_create(const ed_decode_opts *o, const ed_model_config *c, const int32_t *prompt, int64_t n, int64_t max_new, ed_logit_chain **out,
                                       ed_error *err);
ED_API void ed_logit_chain_destroy(ed_logit_chain **c);
ED_API ed_status ed_logit_chain_clone(const ed_logit_chain *c, ed_logit_chain **out);
/** *to becomes what `from` is, keeping its memory; both must come from one chain. */
ED_API ed_status ed_logit_chain_copy(const ed_logit_chain *from, ed_logit_chain *to);
ED_API ed_status ed_logit_chain_push(ed_logit_chain *c, int32_t token);
/** Tokens of the path (prompt included), and how many are new. */
ED_API const int32_t *ed_logit_chain_tokens(const ed_logit_chain *c, int64_t *n, int64_t *n_new);
ED_API bool ed_logit_chain_is_eos(const ed_logit_chain *c, int32_t token);
/** True when apply may change a row at all. */
ED_API bool ed_logit_chain_active(const ed_logit_chain *c);
/** row [V], changed in place; left-out tokens become -inf. scratch [V] is overwritten; it may be NULL when temperature is 0. */
ED_API void ed_logit_chain_apply(const ed_logit_chain *c, float *row, int32_t *scratch);

/** Streams of draws, kept apart so that no method shifts another's numbers. */
typedef enum ed_draw_domain { ED_DRAW_TARGET = 1, ED_DRAW_DRAFT, ED_DRAW_ACCEPT } ed_draw_domain;
/** Uniform in (0,1): a pure function of its arguments. position: absolute, the number of decoder-side tokens before the drawn one. */
ED_API double ed_draw_uniform(uint64_t seed, ed_draw_domain domain, uint64_t sequence, uint32_t sample, int64_t position);
/** Inverse CDF in id order: the first id whose running sum (f64) of exp(row - max) passes u * total; -1 when the row has NaN, +inf, or nothing but -inf. */
ED_API int32_t ed_sample_row(const float *row, int64_t vocab, double u);
/** The largest, ties to the lowest id; -1 as above. */
ED_API int32_t ed_argmax_row(const float *row, int64_t vocab);
/** log of the sum of exp(row); NaN when ed_argmax_row would give -1. */
ED_API double ed_logsumexp_row(const float *row, int64_t vocab);
/** The k largest, best first, ties to the lowest id; -inf never counts. ids, values [k]; returns how many there are. */
ED_API int64_t ed_topk_row(const float *row, int64_t vocab, int64_t k, int32_t *ids, float *values);

#ifdef __cplusplus
}
#endif
#endif
