/* nn/pos_relative.c - a learned bias per clamped offset and head, added before the softmax (Shaw et al. 2018 in its scalar form; the RPE baseline of URPE). */
#include "nn/position.h"

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    ED_FAIL_IF(out->bias, ED_E_INVALID, err, "positions t5, relative and urpe each bring a bias table: use one of them");
    if (env->first) {
        out->bias = env->first->bias;
        out->bias_map = env->first->bias_map;
        return ED_OK;
    }
    out->bias_map = ed_offset_map_clamp((int32_t)env->config->relative_max);
    return ed__position_table(env, "b", out->bias_map.n, "normal", 0.02, &out->bias, err);
}

const ed_position_seat ed__pos_relative = {"relative", false, build};
