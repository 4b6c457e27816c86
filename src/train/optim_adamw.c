/* train/optim_adamw.c - Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019). "adam" is the same rule with decay left to zero by
 * its default options. Bias correction is folded into the step size and epsilon is added to the corrected root, as in PyTorch. */
#include <math.h>

#include "train/optim.h"

static void update(const ed_optim_update *u) {
    const ed_optim_opts *o = u->opts;
    float b1 = (float)o->beta1, b2 = (float)o->beta2, c1 = (float)(1 - o->beta1), c2 = (float)(1 - o->beta2), eps = (float)o->eps;
    float size = (float)(u->lr / (1 - pow(o->beta1, (double)u->step)));
    float root = (float)(1 / sqrt(1 - pow(o->beta2, (double)u->step)));
    float keep = (float)(1 - u->lr * u->decay);
    float *restrict w = u->w, *restrict m = u->state[0], *restrict v = u->state[1];
    const float *restrict g = u->g;
    for (int64_t i = 0; i < u->n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        w[i] = keep * w[i] - size * m[i] / (sqrtf(v[i]) * root + eps);
    }
}

const ed_optim_seat ed__optim_adamw = {.name = "adamw", .n_state = 2, .suffix = {"m", "v"}, .elementwise = true, .update = update};
const ed_optim_seat ed__optim_adam = {.name = "adam", .n_state = 2, .suffix = {"m", "v"}, .elementwise = true, .update = update};
