/* endec/train.h - training: batches, objectives, optimisers, schedules, the one loop, checkpoints.
 *
 * The loop knows no method. A batch SOURCE gives the batches of a step; an OBJECTIVE turns a batch into gradients (it may run several forward and backward
 * passes, and do work after the update); OPTIMISERS and SCHEDULES are seats found by name. Everything that happens is a function of (seed, step): a run that
 * is killed and resumed ends with the same bits as one that was not.
 * train sees token ids, never tokenizers: task.h joins the two. */
#ifndef ENDEC_TRAIN_H
#define ENDEC_TRAIN_H

#include "endec/io.h"
#include "endec/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ batches */

/** One micro-batch. Arrays live in the arena given to the source, until the next micro-batch. */
typedef struct ed_batch {
    ed_rows src, tgt;       /* src.batch = 0 when the task has no source side */
    const int32_t *targets; /* [tgt.batch, tgt.len] (encoder-only tasks: [src.batch, src.len]) */
    const float *weights;   /* same shape: weight of each target in the loss; 0 = ignored */
    double weight;          /* sum of weights */
    int64_t tokens;         /* real rows on both sides, for tokens/s */
    int64_t padded;         /* rows computed, padding included */
    void *user;             /* for sources and objectives that know more */
} ed_batch;

/** A batch source: batch(step, micro) must be a pure function of its arguments, so that resuming needs no state. */
typedef struct ed_source {
    ed_status (*batch)(void *self, int64_t step, int64_t micro, ed_arena *arena, ed_batch *out, ed_error *err);
    /** Micro-batches and loss weight of a step (may be NULL: then every step has `accumulate` of them, each weighing the same). */
    double (*step_weight)(void *self, int64_t step, int64_t n_micro);
    int64_t (*steps_per_epoch)(void *self); /* 0 or NULL: endless */
    void *self;
} ed_source;

/** Sequences in memory: pairs (source, target), or single sequences (n_src = 0 for all). */
typedef struct ed_dataset ed_dataset;
ED_API ed_status ed_dataset_create(ed_dataset **out);
ED_API void ed_dataset_destroy(ed_dataset **d);
/** Copies the ids. tgt may be empty for encoder-only data. */
ED_API ed_status ed_dataset_add(ed_dataset *d, const int32_t *src, int64_t n_src, const int32_t *tgt, int64_t n_tgt);
ED_API int64_t ed_dataset_count(const ed_dataset *d);
ED_API int64_t ed_dataset_tokens(const ed_dataset *d); /* both sides */
ED_API void ed_dataset_get(const ed_dataset *d, int64_t i, const int32_t **src, int64_t *n_src, const int32_t **tgt, int64_t *n_tgt);

typedef enum ed_layout {
    ED_LAYOUT_SEQ2SEQ, /* src -> encoder; decoder reads start + tgt[..n-1], learns tgt */
    ED_LAYOUT_CAUSAL,  /* all targets joined (each one document), cut into rows of `length`; every token is learned */
    ED_LAYOUT_PREFIX   /* one row = src + tgt; src rows see each other; only tgt is learned */
} ed_layout;
typedef struct ed_batching {
    int layout;           /* ed_layout */
    int64_t tokens;       /* most padded target (or source) tokens in a micro-batch */
    int64_t length;       /* longest sequence; longer examples are left out and counted (CAUSAL: row length) */
    int64_t accumulate;   /* micro-batches a step */
    int32_t start_id;     /* first decoder input of SEQ2SEQ */
    int32_t pad_id;
    uint64_t seed;
    bool shuffle;         /* false: data order, for evaluation */
    bool document_mask;   /* CAUSAL: rows do not see other documents */
} ed_batching;
typedef struct ed_bucket_source ed_bucket_source;
/** Batches by token count from length buckets: each epoch is shuffled by (seed, epoch), sorted by length inside pools, cut by tokens, and the batches are
 *  shuffled. The dataset is borrowed. *dropped counts examples that are too long or empty. */
ED_API ed_status ed_bucket_source_create(const ed_dataset *d, const ed_batching *b, ed_bucket_source **out, int64_t *dropped, ed_error *err);
ED_API void ed_bucket_source_destroy(ed_bucket_source **s);
ED_API ed_source ed_bucket_source_of(ed_bucket_source *s);

/* ------------------------------------------------------------------ objectives */

/** What an objective's step gets. */
typedef struct ed_train_pass {
    ed_graph *g;
    ed_model *model;
    const ed_batch *batch;
    double scale;     /* share of this micro-batch in the step: multiply the loss's cotangent by it */
    int64_t step;
    bool train;       /* false: evaluation; compute loss_sum and weight only */
    double smoothing; /* label smoothing of the run */
    double loss_sum;  /* out: sum over targets of the plain negative log-likelihood (or the method's own measure), in nats */
    double weight;    /* out: number of targets */
} ed_train_pass;
typedef struct ed_objective {
    const char *name;
    ed_status (*step)(void *self, ed_train_pass *p, ed_error *err);
    ed_status (*after_update)(void *self, ed_model *m, int64_t step, ed_error *err); /* NULL: nothing */
    /** Named state for checkpoints (NULL: none): a parameter set that is saved and loaded beside the model. */
    ed_params *(*state)(void *self);
    void *self;
} ed_objective;
/** Cross entropy of the decoder's next token: serves SEQ2SEQ, CAUSAL and PREFIX layouts. */
ED_API ed_objective ed_objective_next_token(void);

/* ------------------------------------------------------------------ optimisers and schedules */

typedef struct ed_optim_opts {
    double beta1, beta2, eps, weight_decay; /* decoupled decay */
    double momentum;                        /* sgd */
    bool nesterov;
    double clip_threshold, decay_rate;      /* adafactor */
} ed_optim_opts;
ED_API ed_optim_opts ed_optim_opts_default(void);
/** An optimiser over a parameter set. name: adamw, adam, sgd, adafactor, lion. */
typedef struct ed_optim ed_optim;
ED_API ed_status ed_optim_create(const char *name, const ed_optim_opts *opts, ed_params *params, ed_grads *grads, ed_optim **out, ed_error *err);
ED_API void ed_optim_destroy(ed_optim **o);
/** Learning-rate factor and decay switch for parameters whose names match (later calls win). lr_factor 0 freezes. */
ED_API ed_status ed_optim_group(ed_optim *o, const char *patterns, double lr_factor, double decay_factor);
/** One update with the gradients of the ed_grads given at creation. step counts from 1. Untouched rows of row-sparse parameters stay as they are. */
ED_API ed_status ed_optim_step(ed_optim *o, int64_t step, double lr, ed_error *err);
/** Optimiser state as named tensors, for checkpoints. */
ED_API ed_params *ed_optim_state(ed_optim *o);
/** X-list of names for option tables, NULL-terminated. */
ED_API const char *const *ed_optim_names(void);

/** Factor on the peak learning rate at `step` (from 1). name: constant, linear, cosine, inverse_sqrt, polynomial. warmup in steps; total = steps of the
 *  run; floor = lowest factor. Unknown name: NaN. */
ED_API double ed_schedule(const char *name, int64_t step, int64_t warmup, int64_t total, double floor);
ED_API const char *const *ed_schedule_names(void);

/* ------------------------------------------------------------------ the loop */

typedef struct ed_train_opts {
    int64_t steps;          /* updates of the whole run */
    double learning_rate;   /* peak */
    int schedule;           /* index into ed_schedule_names() */
    int64_t warmup_steps;
    double lr_floor;
    int optimizer;          /* index into ed_optim_names() */
    double beta1, beta2, adam_eps, weight_decay, momentum;
    double clip_norm;       /* 0 = off */
    double label_smoothing;
    int64_t accumulate;     /* micro-batches per update */
    bool bf16;              /* matrix products in bf16 with f32 accumulation */
    char *train_only;       /* name patterns of trained parameters; NULL = all */
    char *lr_groups;        /* "pattern=factor;pattern=factor" */
    double ema;             /* decay of the averaged weights kept beside the trained ones; 0 = off */
    int64_t average_last;   /* weights of the last N snapshots are averaged at the end; 0 = off */
    int64_t snapshot_every; /* steps between snapshots (0: eval_every) */
    int64_t eval_every, save_every, log_every; /* steps; 0 = never (log: 50) */
    int64_t patience;       /* evaluations without a better result before the run stops; 0 = off */
    int64_t keep;           /* checkpoints kept */
    int64_t seed;
    double max_memory_gib;  /* cap of the graph's arena; 0 = none */
} ed_train_opts;
ED_API ed_train_opts ed_train_opts_default(void);
ED_API const ed_option *ed_train_options(size_t *n);
ED_API void ed_train_opts_deinit(ed_train_opts *o);

/** One line of progress. */
typedef struct ed_train_report {
    int64_t step, steps, epoch;
    double loss;         /* nats per target since the last report */
    double lr, grad_norm;
    double tokens_per_s, elapsed_s, left_s;
    double valid_loss;   /* NaN unless this is an evaluation */
    double metric;       /* NaN unless the caller's metric ran */
    bool best;
    size_t peak_bytes;
} ed_train_report;
typedef struct ed_train_callbacks {
    void (*report)(void *user, const ed_train_report *r);
    /** Quality on held-out data, higher is better (BLEU); called at evaluations with the weights to be judged in place. NULL: the negative validation loss. */
    ed_status (*metric)(void *user, ed_model *m, int64_t step, double *value, ed_error *err);
    /** True ends the run after this step with a checkpoint (SIGINT). */
    bool (*stop)(void *user);
    /** Adds the caller's files (tokenizer, config) to a checkpoint folder being written. NULL: none. */
    ed_status (*add_files)(void *user, ed_ckpt_writer *w, ed_error *err);
    void *user;
} ed_train_callbacks;

typedef struct ed_trainer ed_trainer;
/** model, objective, sources are borrowed. out_dir NULL: nothing is saved. valid may be NULL. */
ED_API ed_status ed_trainer_create(ed_model *m, const ed_objective *o, const ed_source *train, const ed_source *valid, const ed_train_opts *opts,
                                   const char *out_dir, ed_trainer **out, ed_error *err);
ED_API void ed_trainer_destroy(ed_trainer **t);
/** Continues from the newest intact checkpoint of out_dir; ED_E_NOT_FOUND when there is none. */
ED_API ed_status ed_trainer_resume(ed_trainer *t, ed_error *err);
/** Runs to opts.steps, or until patience or stop ends it. A loss that is no finite number stops with ED_E_NUMERIC; the last checkpoint stays good.
 *  ED_E_CANCELLED after stop() (state is saved). At the end the model holds the best or averaged weights as the options say. */
ED_API ed_status ed_trainer_run(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err);
/** One update; *loss in nats per target. For recipes and benchmarks that want their own outer loop. */
ED_API ed_status ed_trainer_step(ed_trainer *t, double *loss, ed_error *err);
/** Mean loss over all batches of the source's first epoch, without dropout. */
ED_API ed_status ed_trainer_evaluate(ed_trainer *t, const ed_source *s, double *loss, ed_error *err);
ED_API int64_t ed_trainer_at(const ed_trainer *t); /* steps done */
ED_API ed_status ed_trainer_save(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err);
ED_API ed_graph_counters ed_trainer_counters(const ed_trainer *t);

#ifdef __cplusplus
}
#endif
#endif
