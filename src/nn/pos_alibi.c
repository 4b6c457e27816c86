/* nn/pos_alibi.c - attention with linear biases (Press et al. 2022): score - slope_h * distance; slopes 2^(-8 (h+1) / H) for H a power of two, and for other
 * H those of the power below, followed by every second one of the power above. */
#include <math.h>

#include "nn/position.h"

static double slope(int64_t h, int64_t heads) {
    int64_t p = 1;
    while (2 * p <= heads)
        p *= 2;
    if (h < p)
        return pow(2.0, -8.0 * (double)(h + 1) / (double)p);
    return pow(2.0, -4.0 * (double)(2 * (h - p) + 1) / (double)p);
}

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    int64_t heads = env->config->n_heads;
    double *s = ed_arena_alloc(env->arena, (size_t)heads * sizeof *s);
    ED_FAIL_IF(!s, ED_E_MEMORY, err, "no memory for slopes");
    for (int64_t h = 0; h < heads; h++)
        s[h] = slope(h, heads);
    out->slopes = s;
    return ED_OK;
}

const ed_position_seat ed__pos_alibi = {"alibi", false, build};
