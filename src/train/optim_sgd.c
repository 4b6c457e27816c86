/* train/optim_sgd.c - stochastic gradient descent with optional (Nesterov) momentum and decoupled weight decay. */
#include "train/optim.h"

static void update(const ed_optim_update *u) {
    float mu = (float)u->opts->momentum, lr = (float)u->lr, keep = (float)(1 - u->lr * u->decay);
    for (int64_t i = 0; i < u->n; i++) {
        float d = u->g[i];
        if (mu != 0) {
            u->state[0][i] = mu * u->state[0][i] + d;
            d = u->opts->nesterov ? d + mu * u->state[0][i] : u->state[0][i];
        }
        u->w[i] = keep * u->w[i] - lr * d;
    }
}

const ed_optim_seat ed__optim_sgd = {.name = "sgd", .n_state = 1, .suffix = {"m"}, .elementwise = true, .update = update};
