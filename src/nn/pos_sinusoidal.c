/* nn/pos_sinusoidal.c - fixed sinusoids (Vaswani et al. 2017) in the layout of fairseq and Hugging Face's M2M100: the first half of the vector holds sines,
 * the second cosines, frequencies 10000^(-i / (d/2 - 1)). Positions are shifted by the offset (pad_id + 1 in that family). */
#include <math.h>

#include "nn/position.h"

static double value(int64_t pos, int64_t i, int64_t d) {
    int64_t half = d / 2;
    if (i >= 2 * half)
        return 0; /* odd width: the last number is zero, as in fairseq */
    double f = exp(-log(10000.0) * (double)(i % half) / (double)(half > 1 ? half - 1 : 1));
    double angle = (double)pos * f;
    return i < half ? sin(angle) : cos(angle);
}

static ed_status build(const ed_position_env *env, ed_position *out, ed_error *err) {
    const ed_position_config *c = env->config;
    int64_t n = c->max_positions + c->offset, d = c->d_model;
    ED_FAIL_IF(out->constants || out->absolute, ED_E_INVALID, err, "positions learned and sinusoidal cannot be combined");
    void *t = ed_arena_alloc(env->arena, (size_t)(n * d) * ed_dtype_bytes(env->dtype));
    ED_FAIL_IF(!t, ED_E_MEMORY, err, "no memory for %lld sinusoidal positions", (long long)n);
    for (int64_t k = 0; k < n * d; k++) {
        double v = value(k / d, k % d, d);
        if (env->dtype == ED_DTYPE_F64)
            ((double *)t)[k] = v;
        else
            ((float *)t)[k] = (float)v;
    }
    out->constants = t;
    out->n_absolute = n;
    return ED_OK;
}

const ed_position_seat ed__pos_sinusoidal = {"sinusoidal", true, build};
