/* train/optim_adamw.c - Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019). "adam" is the same rule with decay left to zero by
 * its default options. Bias correction is folded into the step size and epsilon is added to the corrected root, as in PyTorch. */
#include <math.h>

#include "tensor/kernel.h"
#include "train/optim.h"

static void update(const ed_optim_update *u) {
    const ed_optim_opts *o = u->opts;
    edk_adamw a = {.beta1 = (float)o->beta1, .c1 = (float)(1 - o->beta1), .beta2 = (float)o->beta2, .c2 = (float)(1 - o->beta2), .eps = (float)o->eps};
    a.size = (float)(u->lr / (1 - pow(o->beta1, (double)u->step)));
    a.root = (float)(1 / sqrt(1 - pow(o->beta2, (double)u->step)));
    a.keep = (float)(1 - u->lr * u->decay);
    ed__kernels()->adamw(&a, u->w, u->state[0], u->state[1], u->g, u->n);
}

const ed_optim_seat ed__optim_adamw = {.name = "adamw", .n_state = 2, .suffix = {"m", "v"}, .elementwise = true, .update = update};
const ed_optim_seat ed__optim_adam = {.name = "adam", .n_state = 2, .suffix = {"m", "v"}, .elementwise = true, .update = update};
