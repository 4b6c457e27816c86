/* nn/pos_learned.c - a learned vector per position, added to the embedding (Gehring et al. 2017; BERT, GPT-2). */
#include "nn/position.h"

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    const ed_position_config *c = env->config;
    int64_t shape[2] = {c->max_positions + c->offset, c->d_model};
    ED_FAIL_IF(out->constants || out->absolute, ED_E_INVALID, err, "positions learned and sinusoidal cannot be combined");
    ED_TRY(ed_params_add(env->params, env->absolute_name, env->dtype, 2, shape, &out->absolute, err));
    out->n_absolute = shape[0];
    return ed_param_init(out->absolute, "normal", c->init_std > 0 ? c->init_std : 0.02, env->seed, err);
}

const ed_position_seat ed__pos_learned = {"learned", true, build};
