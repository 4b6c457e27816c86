/* train/trainer.h - the insides of a trainer, shared by loop.c, state.c and average.c only. */
#ifndef ED_TRAIN_TRAINER_H
#define ED_TRAIN_TRAINER_H

#include "base/internal.h"
#include "endec/train.h"

/** Counters that a checkpoint carries beside tensors. */
typedef struct ed__train_counters {
    int64_t step;       /* updates done */
    int64_t bad_evals;  /* evaluations since the best one */
    int64_t best_step;
    double best;        /* best metric so far; -inf at first */
    double seconds;     /* training time so far, over all sessions */
    int64_t snapshots;  /* snapshot files written */
} ed__train_counters;

struct ed_trainer {
    ed_model *model;
    ed_objective objective;
    ed_source train, valid;
    bool has_valid;
    ed_train_opts opts;
    char *out_dir;
    ed_dir_lock *lock;
    ed_graph *graph;
    ed_grads *grads;
    ed_optim *optim;
    ed_arena *batch_arena;
    ed_params *ema; /* averaged weights, or NULL */
    ed__train_counters at;
    double last_norm;
    double last_eval; /* validation loss of the newest evaluation */
    int64_t tokens; /* since the last report */
};

/* ---- average.c: EMA and snapshots */
ed_status ed__ema_create(ed_trainer *t, ed_error *err);
void ed__ema_update(ed_trainer *t);
/** Exchanges the model's weights with the averaged ones (twice = back). */
void ed__ema_swap(ed_trainer *t);
ed_status ed__snapshot_save(ed_trainer *t, ed_error *err);
/** Averages the newest snapshots into the model. */
ed_status ed__snapshot_average(ed_trainer *t, ed_error *err);

/* ---- state.c: checkpoints */
ed_status ed__trainer_save(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err);
ed_status ed__trainer_load(ed_trainer *t, ed_error *err);
/** The best weights so far: <out>/best.safetensors. */
ed_status ed__best_save(ed_trainer *t, ed_error *err);
ed_status ed__best_load(ed_trainer *t, ed_error *err);

#endif
