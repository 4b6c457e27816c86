/* nn/mask_labels.h - what the mask fillers share: checked dimensions and label arrays from an arena. */
#ifndef ED_NN_MASK_LABELS_H
#define ED_NN_MASK_LABELS_H

#include "base/internal.h"
#include "endec/mask.h"

/** Writable arrays of a label set; NULL: not asked for. */
typedef struct ed__mask {
    int64_t batch, queries, keys, q_start;
    int32_t *q_order, *q_group, *q_limit, *q_low; /* [batch, queries] */
    int32_t *k_order, *k_group;                   /* [batch, keys] */
    uint8_t *k_valid;
} ed__mask;

enum { ED__MASK_Q_ORDER = 1, ED__MASK_Q_GROUP = 2, ED__MASK_Q_LIMIT = 4, ED__MASK_Q_LOW = 8, ED__MASK_K_ORDER = 16, ED__MASK_K_GROUP = 32, ED__MASK_K_VALID = 64 };

/** Checks d, allocates the arrays named by `fields` (k_valid whenever d has pads) and points *out at them. k_valid is set from d, the rest is the caller's to fill.
 *  batch_alike: one row serves all items unless d has pads. */
ed_status ed__mask_start(ed_arena *a, const ed_mask_dims *d, int fields, bool batch_alike, ed__mask *m, ed_labels *out, ed_error *err);

#endif
