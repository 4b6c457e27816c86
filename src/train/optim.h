/* train/optim.h - the optimiser seat: one file optim_<name>.c per update rule, listed in optims.c. The rule sees one parameter at a time, as plain arrays.
 * State is kept as named parameters "<param>.<suffix>" so that checkpoints hold it like any tensors. */
#ifndef ED_TRAIN_OPTIM_H
#define ED_TRAIN_OPTIM_H

#include "base/internal.h"
#include "endec/train.h"

enum { ED__OPTIM_MAX_STATE = 3 };

/** One update of one parameter (or, for row-sparse ones, of the touched rows). All arrays F32. */
typedef struct ed_optim_update {
    float *w;
    const float *g;
    float *state[ED__OPTIM_MAX_STATE];
    int64_t n, rows, cols; /* n = rows * cols; rows 1 for vectors */
    double lr, decay;      /* decay 0 where the parameter must not shrink */
    int64_t step;          /* from 1 */
    const ed_optim_opts *opts;
} ed_optim_update;

typedef struct ed_optim_seat {
    const char *name;
    int n_state;
    const char *suffix[ED__OPTIM_MAX_STATE];
    /** Shape of state s for a parameter; NULL: the parameter's own shape. Returns the rank. */
    int (*state_shape)(const ed_param *p, int s, int64_t *shape);
    bool elementwise; /* update may be called on any sub-range (threads, touched rows) */
    void (*update)(const ed_optim_update *u);
} ed_optim_seat;

extern const ed_optim_seat *const ed__optim_seats[];
extern const int ed__n_optim_seats;

#endif
