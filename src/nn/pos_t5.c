/* nn/pos_t5.c - T5's learned bias per bucket of offsets (Raffel et al. 2020): one- or two-sided, half exact, half logarithmic up to relative_max. */
#include "nn/position.h"

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    const ed_position_config *c = env->config;
    ED_FAIL_IF(out->bias, ED_E_INVALID, err, "positions t5, relative and urpe each bring a bias table: use one of them");
    if (env->first) {
        out->bias = env->first->bias;
        out->bias_map = env->first->bias_map;
        return ED_OK;
    }
    ed_status s = ed_offset_map_t5(env->arena, !env->causal, (int32_t)c->relative_buckets, (int32_t)c->relative_max, &out->bias_map);
    ED_FAIL_IF(s != ED_OK, s, err, "relative_buckets %lld and relative_max %lld do not make T5 buckets", (long long)c->relative_buckets,
               (long long)c->relative_max);
    return ed__position_table(env, "b", c->relative_buckets, "normal", 0.02, &out->bias, err);
}

const ed_position_seat ed__pos_t5 = {"t5", false, build};
