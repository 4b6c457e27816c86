/* train/optim_lion.c - Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms"): the sign of an interpolated momentum. */
#include "train/optim.h"

static void update(const ed_optim_update *u) {
    float b1 = (float)u->opts->beta1, b2 = (float)u->opts->beta2, lr = (float)u->lr, keep = (float)(1 - u->lr * u->decay);
    for (int64_t i = 0; i < u->n; i++) {
        float c = b1 * u->state[0][i] + (1 - b1) * u->g[i];
        u->w[i] = keep * u->w[i] - lr * (float)((c > 0) - (c < 0));
        u->state[0][i] = b2 * u->state[0][i] + (1 - b2) * u->g[i];
    }
}

const ed_optim_seat ed__optim_lion = {.name = "lion", .n_state = 1, .suffix = {"m"}, .elementwise = true, .update = update};
