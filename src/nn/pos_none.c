/* nn/pos_none.c - no position signal at all (the lower control of position experiments, and decoders that learn order from the causal mask). */
#include "nn/position.h"

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    (void)env, (void)out, (void)err;
    return ED_OK;
}

const ed_position_seat ed__pos_none = {"none", false, build};
