/* nn/position.h - the position seat: how rows learn where they are.
 *
 * A seat is one file, pos_<name>.c, with one row of this table; positions.c lists them. `build` runs once per block (layer >= 0: relative kinds) and once
 * per stack (layer -1: absolute kinds), adds the parameters it needs, and fills the fields of `ed_position` that attention and the embedding read. Several
 * seats combine ("rope+urpe") because each fills other fields; two that would fill the same one are refused. */
#ifndef ED_NN_POSITION_H
#define ED_NN_POSITION_H

#include "base/internal.h"
#include "endec/attention.h"

/** What the seats contribute to one block or, for the absolute kinds, to one stack. */
typedef struct ed_position {
    ed_param *absolute;    /* learned table [max_positions + offset, d], or NULL */
    const void *constants; /* fixed table of the same shape and of the model's compute dtype, or NULL */
    int64_t n_absolute;
    bool rope;
    ed_param *bias; /* b [n, H] */
    ed_offset_map bias_map;
    ed_param *post_scale; /* c [n, H] */
    ed_offset_map post_map;
    const double *slopes; /* [H] */
} ed_position;

/** What positions need to know of a model. */
typedef struct ed_position_config {
    const char *list; /* "rope+urpe" */
    int64_t n_heads, head_dim, d_model, rotary_dims; /* rotary_dims 0 = head_dim */
    int64_t max_positions, offset;                   /* rows of absolute tables: max_positions + offset */
    int64_t relative_max, relative_buckets;
    double init_std; /* 0 = each table's own default */
} ed_position_config;

typedef struct ed_position_env {
    const ed_position_config *config;
    ed_params *params;
    ed_arena *arena;  /* lives as long as the model */
    ed_dtype dtype;   /* compute dtype of the model */
    const char *name; /* prefix of parameter names, "model.encoder.layers.0.self_attn" */
    const char *absolute_name; /* full name of a learned absolute table in the model's family */
    bool causal;      /* decoder stack */
    int layer;        /* -1: the stack itself */
    const ed_position *first; /* tables of layer 0 when the stack shares them, else NULL */
    uint64_t seed;
} ed_position_env;

typedef struct ed_position_seat {
    const char *name;
    bool absolute; /* built per stack, else per block */
    ed_status (*build)(const ed_position_env *env, ed_position *out, ed_error *err);
} ed_position_seat;

extern const ed_position_seat *const ed__position_seats[];
extern const int ed__n_position_seats;

/** Checks a list like "rope+urpe": every name known. */
ed_status ed__positions_check(const char *list, ed_error *err);
/** Runs every seat of env->config->list that belongs to env->layer. */
ed_status ed__positions_build(const ed_position_env *env, ed_position *out, ed_error *err);
/** A table parameter "<env->name>.pos.<suffix>" of shape [n, heads], no weight decay. kind and a as in ed_param_init. */
ed_status ed__position_table(const ed_position_env *env, const char *suffix, int64_t n, const char *kind, double a, ed_param **out, ed_error *err);

#endif
