/* nn/pos_urpe.c - universal relative positions (Luo et al. 2022, "Your Transformer May Not be as Powerful as You Expect"): a relative bias b before the
 * softmax and a learned Toeplitz factor c after it, A_U = softmax(.. + B) * C. Rows of A_U need not sum to 1, which is what lets the model know where it
 * is. c starts at 1 (then it is plain RPE); no weight decay on b and c; offsets beyond relative_max - 1 share the end entry. On top of another
 * logit-side position ("rope+urpe", "t5+urpe", "alibi+urpe") only c is new. */
#include "nn/position.h"

static bool has_logit_side(const char *list) {
    return strstr(list, "rope") || strstr(list, "t5") || strstr(list, "alibi") || strstr(list, "relative");
}

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    const ed_position_config *c = env->config;
    if (env->first) {
        out->post_scale = env->first->post_scale;
        out->post_map = env->first->post_map;
        if (!out->bias && !has_logit_side(c->list)) {
            out->bias = env->first->bias;
            out->bias_map = env->first->bias_map;
        }
        return ED_OK;
    }
    out->post_map = ed_offset_map_clamp((int32_t)c->relative_max);
    ED_TRY(ed__position_table(env, "c", out->post_map.n, "one", 1, &out->post_scale, err));
    if (has_logit_side(c->list))
        return ED_OK;
    out->bias_map = out->post_map;
    return ed__position_table(env, "b", out->bias_map.n, "normal", 0.02, &out->bias, err);
}

const ed_position_seat ed__pos_urpe = {"urpe", false, build};
