/* train/options.c - the option table of training runs: YAML keys under `train:`, --set keys, and their help. */
#include "base/internal.h"
#include "endec/train.h"

#define FIELD(f) offsetof(ed_train_opts, f)
#define BIG 1e12

static const char *const schedules[] = {"constant", "linear", "cosine", "inverse_sqrt", "polynomial", NULL}; /* order of ed_schedule_names */
static const char *const optimizers[] = {"adamw", "adam", "sgd", "adafactor", "lion", NULL};                 /* order of ed_optim_names */

static const ed_option table[] = {
    {"steps", ED_OPT_INT, FIELD(steps), 1, BIG, NULL, "N", "updates of the whole run", 0},
    {"learning_rate", ED_OPT_FLOAT, FIELD(learning_rate), 0, 1e3, NULL, "X", "peak learning rate", 0},
    {"lr_scheduler_type", ED_OPT_ENUM, FIELD(schedule), 0, 0, schedules, "NAME", "shape of the learning rate after warm-up", 0},
    {"warmup_steps", ED_OPT_INT, FIELD(warmup_steps), 0, BIG, NULL, "N", "steps of linear warm-up", 0},
    {"lr_floor", ED_OPT_FLOAT, FIELD(lr_floor), 0, 1, NULL, "X", "lowest factor on the peak learning rate", 0},
    {"optimizer", ED_OPT_ENUM, FIELD(optimizer), 0, 0, optimizers, "NAME", "update rule", 0},
    {"adam_beta1", ED_OPT_FLOAT, FIELD(beta1), 0, 1, NULL, "X", "decay of the first moment", 0},
    {"adam_beta2", ED_OPT_FLOAT, FIELD(beta2), 0, 1, NULL, "X", "decay of the second moment", 0},
    {"adam_epsilon", ED_OPT_FLOAT, FIELD(adam_eps), 0, 1, NULL, "X", "added to the root of the second moment", 0},
    {"weight_decay", ED_OPT_FLOAT, FIELD(weight_decay), 0, 10, NULL, "X", "decoupled weight decay (not on biases, norms, position tables)", 0},
    {"momentum", ED_OPT_FLOAT, FIELD(momentum), 0, 1, NULL, "X", "momentum of sgd", 0},
    {"max_grad_norm", ED_OPT_FLOAT, FIELD(clip_norm), 0, BIG, NULL, "X", "clip gradients to this norm (0: off)", 0},
    {"label_smoothing", ED_OPT_FLOAT, FIELD(label_smoothing), 0, 0.99, NULL, "X", "share of the target spread over the vocabulary", 0},
    {"gradient_accumulation_steps", ED_OPT_INT, FIELD(accumulate), 1, 1 << 20, NULL, "N", "micro-batches per update", 0},
    {"bf16", ED_OPT_BOOL, FIELD(bf16), 0, 0, NULL, NULL, "matrix products in bf16, accumulated in f32", 0},
    {"train_only", ED_OPT_STRING, FIELD(train_only), 0, 0, NULL, "PATTERNS", "name patterns of the trained parameters", 0},
    {"lr_groups", ED_OPT_STRING, FIELD(lr_groups), 0, 0, NULL, "P=X;P=X", "learning-rate factors by name pattern", 0},
    {"ema", ED_OPT_FLOAT, FIELD(ema), 0, 1, NULL, "X", "decay of averaged weights (0: off)", 0},
    {"average_last", ED_OPT_INT, FIELD(average_last), 0, 1000, NULL, "N", "average the weights of the last N snapshots at the end", 0},
    {"snapshot_every", ED_OPT_INT, FIELD(snapshot_every), 0, BIG, NULL, "N", "steps between snapshots (0: at evaluations)", 0},
    {"eval_steps", ED_OPT_INT, FIELD(eval_every), 0, BIG, NULL, "N", "steps between evaluations (0: never)", 0},
    {"save_steps", ED_OPT_INT, FIELD(save_every), 0, BIG, NULL, "N", "steps between checkpoints (0: only at the end)", 0},
    {"logging_steps", ED_OPT_INT, FIELD(log_every), 0, BIG, NULL, "N", "steps between progress lines", 0},
    {"early_stopping_patience", ED_OPT_INT, FIELD(patience), 0, BIG, NULL, "N", "evaluations without improvement before stopping (0: off)", 0},
    {"save_total_limit", ED_OPT_INT, FIELD(keep), 1, 1000, NULL, "N", "checkpoints kept", 0},
    {"seed", ED_OPT_INT, FIELD(seed), 0, 9e15, NULL, "N", "seed of initialisation, data order and dropout", 0},
    {"max_memory_gib", ED_OPT_FLOAT, FIELD(max_memory_gib), 0, 1e6, NULL, "X", "cap of the memory of one pass (0: none)", 0},
};

ed_train_opts ed_train_opts_default(void) {
    return (ed_train_opts){.steps = 10000, .learning_rate = 5e-4, .schedule = 3, .warmup_steps = 1000, .beta1 = 0.9, .beta2 = 0.98, .adam_eps = 1e-8,
                           .weight_decay = 0, .momentum = 0.9, .clip_norm = 1, .label_smoothing = 0, .accumulate = 1, .eval_every = 500, .save_every = 500,
                           .log_every = 50, .keep = 2, .seed = 1};
}

const ed_option *ed_train_options(size_t *n) {
    *n = sizeof table / sizeof *table;
    return table;
}

void ed_train_opts_deinit(ed_train_opts *o) {
    ed_options_release(table, sizeof table / sizeof *table, o);
}
