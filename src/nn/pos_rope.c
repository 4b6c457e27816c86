/* nn/pos_rope.c - rotary positions (Su et al. 2021): queries and keys are rotated before attention and before the cache, so that a cached key keeps its
 * position for ever. The rotation is the op ed_rope; this seat only switches it on. */
#include "nn/position.h"

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    int64_t dims = env->config->rotary_dims ? env->config->rotary_dims : env->config->head_dim;
    ED_FAIL_IF(dims % 2, ED_E_SHAPE, err, "rotary positions need an even number of dimensions per head, not %lld", (long long)dims);
    out->rope = true;
    return ED_OK;
}

const ed_position_seat ed__pos_rope = {"rope", false, build};
