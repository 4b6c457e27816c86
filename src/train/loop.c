/* train/loop.c - the one training loop: batches, accumulation, clipping, update, averaged weights, evaluation, checkpoints, early stop.
 *
 * Invariants: a step is a function of (weights, optimiser state, seed, step), so that a resumed run has the same bits; gradients live in one flat buffer;
 * micro-batches are weighted by their targets, so that accumulation does not change the loss; a loss or gradient that is not finite stops the run
 * before it touches the weights. */
#include <math.h>

#include "train/trainer.h"

static ed_status make_optimizer(ed_trainer *t, ed_error *err) {
    const ed_train_opts *o = &t->opts;
    ed_optim_opts u = ed_optim_opts_default();
    u.beta1 = o->beta1, u.beta2 = o->beta2, u.eps = o->adam_eps, u.weight_decay = o->weight_decay, u.momentum = o->momentum;
    ED_TRY(ed_grads_create(ed_model_params(t->model), o->train_only, ED_DTYPE_F32, &t->grads, err));
    ED_TRY(ed_optim_create(ed_optim_names()[o->optimizer], &u, ed_model_params(t->model), t->grads, &t->optim, err));
    for (const char *p = o->lr_groups; p && *p;) { /* "pattern=factor;pattern=factor" */
        size_t n = strcspn(p, ";"), eq = strcspn(p, "=");
        char text[512];
        double factor = -1;
        if (n < sizeof text && eq > 0 && eq < n) {
            memcpy(text, p, n);
            text[n] = text[eq] = 0;
        } else {
            eq = n;
        }
        ED_FAIL_IF(eq >= n || !ed__parse_f64(text + eq + 1, &factor) || factor < 0, ED_E_INVALID, err, "lr_groups: '%.*s' is not PATTERN=FACTOR", (int)n, p);
        ED_TRY(ed_optim_group(t->optim, text, factor, 1));
        p += n + (p[n] == ';');
    }
    return ED_OK;
}

static ed_status setup(ed_trainer *t, const char *out_dir, ed_error *err) {
    ed_graph_opts g = ed_graph_opts_train();
    g.matmul_dtype = t->opts.bf16 ? ED_DTYPE_BF16 : ED_DTYPE_F32;
    g.cap_bytes = (size_t)(t->opts.max_memory_gib * 1073741824.0);
    if (out_dir) {
        t->out_dir = ed__strdup(out_dir);
        ED_FAIL_IF(!t->out_dir, ED_E_MEMORY, err, "no memory for a trainer");
        ED_TRY(ed_dir_lock_take(out_dir, &t->lock, err));
    }
    ED_FAIL_IF(ed_graph_create(&g, &t->graph) != ED_OK || ed_arena_create(0, &t->batch_arena) != ED_OK, ED_E_MEMORY, err, "no memory for a trainer");
    ED_TRY(make_optimizer(t, err));
    return t->opts.ema > 0 ? ed__ema_create(t, err) : ED_OK;
}

ed_status ed_trainer_create(ed_model *m, const ed_objective *o, const ed_source *train, const ed_source *valid, const ed_train_opts *opts, const char *out_dir,
                            ed_trainer **out, ed_error *err) {
    *out = NULL;
    ed_trainer *t = ed__calloc(1, sizeof *t);
    ED_FAIL_IF(!t, ED_E_MEMORY, err, "no memory for a trainer");
    t->model = m;
    t->objective = *o;
    t->train = *train;
    t->has_valid = valid != NULL;
    if (valid)
        t->valid = *valid;
    t->opts = *opts; /* strings are borrowed from the caller's options */
    t->at.best = -INFINITY;
    t->last_eval = NAN;
    ed_status s = setup(t, out_dir, err);
    if (s != ED_OK) {
        ed_trainer_destroy(&t);
        return s;
    }
    *out = t;
    return ED_OK;
}

void ed_trainer_destroy(ed_trainer **pt) {
    ed_trainer *t = pt ? *pt : NULL;
    if (!t)
        return;
    ed_graph_destroy(&t->graph);
    ed_optim_destroy(&t->optim);
    ed_grads_destroy(&t->grads);
    ed_arena_destroy(&t->batch_arena);
    ed_params_destroy(&t->ema);
    ed_dir_lock_release(&t->lock);
    ed__free(t->out_dir);
    ed__free(t);
    *pt = NULL;
}

ed_status ed_trainer_resume(ed_trainer *t, ed_error *err) {
    return ed__trainer_load(t, err);
}

ed_status ed_trainer_save(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err) {
    return ed__trainer_save(t, cb, err);
}

int64_t ed_trainer_at(const ed_trainer *t) {
    return t->at.step;
}

ed_graph_counters ed_trainer_counters(const ed_trainer *t) {
    return ed_graph_count(t->graph);
}

/* ------------------------------------------------------------------ one update */

/** Forward and backward of one micro-batch. */
static ed_status micro_step(ed_trainer *t, int64_t micro, double total, double *loss_sum, double *weight, ed_error *err) {
    ed_batch b;
    ed_arena_reset(t->batch_arena);
    ED_TRY(t->train.batch(t->train.self, t->at.step, micro, t->batch_arena, &b, err));
    ed_graph_reset(t->graph);
    ed_graph_set_grads(t->graph, t->grads);
    ed_graph_seed(t->graph, (uint64_t)t->opts.seed, (uint32_t)(t->at.step * t->opts.accumulate + micro));
    ed_train_pass p = {.g = t->graph, .model = t->model, .batch = &b, .scale = total > 0 ? b.weight / total : 1.0 / (double)t->opts.accumulate,
                       .step = t->at.step, .train = true, .smoothing = t->opts.label_smoothing};
    ED_TRY(t->objective.step(t->objective.self, &p, err));
    *loss_sum += p.loss_sum;
    *weight += p.weight;
    t->tokens += b.tokens;
    return ED_OK;
}

static ed_status update(ed_trainer *t, ed_error *err) {
    const ed_train_opts *o = &t->opts;
    t->last_norm = ed_grads_norm(t->grads);
    ED_FAIL_IF(!isfinite(t->last_norm), ED_E_NUMERIC, err, "step %lld: the gradient is not finite; try a lower learning_rate or max_grad_norm",
               (long long)t->at.step + 1);
    if (o->clip_norm > 0 && t->last_norm > o->clip_norm)
        ed_grads_scale(t->grads, o->clip_norm / t->last_norm);
    double lr = o->learning_rate * ed_schedule(ed_schedule_names()[o->schedule], t->at.step + 1, o->warmup_steps, o->steps, o->lr_floor);
    ED_TRY(ed_optim_step(t->optim, t->at.step + 1, lr, err));
    t->at.step++;
    if (t->ema)
        ed__ema_update(t);
    return t->objective.after_update ? t->objective.after_update(t->objective.self, t->model, t->at.step, err) : ED_OK;
}

ed_status ed_trainer_step(ed_trainer *t, double *loss, ed_error *err) {
    double sum = 0, weight = 0, total = 0;
    if (t->opts.accumulate > 1 && t->train.step_weight)
        total = t->train.step_weight(t->train.self, t->at.step, t->opts.accumulate);
    ed_grads_zero(t->grads);
    for (int64_t m = 0; m < t->opts.accumulate; m++)
        ED_TRY(micro_step(t, m, total, &sum, &weight, err));
    double mean = weight > 0 ? sum / weight : 0;
    ED_FAIL_IF(!isfinite(mean), ED_E_NUMERIC, err, "step %lld: the loss is %g; the weights of the last checkpoint are untouched", (long long)t->at.step + 1, mean);
    ED_TRY(update(t, err));
    if (loss)
        *loss = mean;
    return ED_OK;
}

ed_status ed_trainer_evaluate(ed_trainer *t, const ed_source *s, double *loss, ed_error *err) {
    int64_t n = s->steps_per_epoch ? s->steps_per_epoch(s->self) : 1;
    double sum = 0, weight = 0;
    bool record = ed_graph_set_record(t->graph, false), train = ed_graph_set_train(t->graph, false);
    ed_status st = ED_OK;
    for (int64_t i = 0; i < n && st == ED_OK; i++) {
        ed_batch b;
        ed_arena_reset(t->batch_arena);
        ed_graph_reset(t->graph);
        st = s->batch(s->self, i, 0, t->batch_arena, &b, err);
        ed_train_pass p = {.g = t->graph, .model = t->model, .batch = &b, .step = t->at.step};
        if (st == ED_OK)
            st = t->objective.step(t->objective.self, &p, err);
        sum += p.loss_sum;
        weight += p.weight;
    }
    ed_graph_set_record(t->graph, record);
    ed_graph_set_train(t->graph, train);
    *loss = weight > 0 ? sum / weight : 0;
    return st;
}

/* ------------------------------------------------------------------ the run */

/** Evaluation with the weights that will be kept: the averaged ones when there are any. */
static ed_status evaluate(ed_trainer *t, const ed_train_callbacks *cb, ed_train_report *r, ed_error *err) {
    double metric = NAN;
    ed_status s = ED_OK;
    if (t->ema)
        ed__ema_swap(t);
    if (t->has_valid)
        s = ed_trainer_evaluate(t, &t->valid, &r->valid_loss, err);
    if (s == ED_OK && cb && cb->metric)
        s = cb->metric(cb->user, t->model, t->at.step, &metric, err);
    r->metric = metric;
    double value = isfinite(metric) ? metric : -r->valid_loss;
    if (s == ED_OK && value > t->at.best) {
        t->at.best = value;
        t->at.best_step = t->at.step;
        t->at.bad_evals = 0;
        r->best = true;
        s = ed__best_save(t, err);
    } else {
        t->at.bad_evals++;
    }
    if (t->ema)
        ed__ema_swap(t);
    return s;
}

typedef struct meter {
    double start, last, loss_sum;
    int64_t steps, from;
} meter;

static void report(ed_trainer *t, const ed_train_callbacks *cb, meter *m, ed_train_report *r) {
    double now = ed_time_s(), span = now - m->last;
    int64_t per_epoch = t->train.steps_per_epoch ? t->train.steps_per_epoch(t->train.self) : 0;
    r->step = t->at.step;
    r->steps = t->opts.steps;
    r->epoch = per_epoch > 0 ? t->at.step / per_epoch : 0;
    r->loss = m->steps ? m->loss_sum / (double)m->steps : NAN;
    r->lr = t->opts.learning_rate * ed_schedule(ed_schedule_names()[t->opts.schedule], t->at.step, t->opts.warmup_steps, t->opts.steps, t->opts.lr_floor);
    r->grad_norm = t->last_norm;
    r->tokens_per_s = span > 0 ? (double)t->tokens / span : 0;
    r->elapsed_s = t->at.seconds + now - m->start;
    r->left_s = t->at.step > m->from ? (now - m->start) / (double)(t->at.step - m->from) * (double)(t->opts.steps - t->at.step) : 0;
    r->peak_bytes = ed_graph_count(t->graph).peak_bytes;
    if (cb && cb->report)
        cb->report(cb->user, r);
    m->last = ed_time_s();
    m->loss_sum = 0;
    m->steps = 0;
    t->tokens = 0;
}

static bool due(int64_t step, int64_t every) {
    return every > 0 && step % every == 0;
}

/** What follows an update: reports, snapshots, evaluation, checkpoint. */
static ed_status after_step(ed_trainer *t, const ed_train_callbacks *cb, meter *m, ed_error *err) {
    const ed_train_opts *o = &t->opts;
    bool last = t->at.step == o->steps, eval = due(t->at.step, o->eval_every) || (last && o->eval_every > 0);
    ed_train_report r = {.valid_loss = NAN, .metric = NAN};
    if (due(t->at.step, o->snapshot_every ? o->snapshot_every : o->eval_every))
        ED_TRY(ed__snapshot_save(t, err));
    if (eval)
        ED_TRY(evaluate(t, cb, &r, err));
    if (eval || last || due(t->at.step, o->log_every))
        report(t, cb, m, &r);
    if (last || due(t->at.step, o->save_every)) {
        double now = ed_time_s();
        t->at.seconds += now - m->start;
        m->start = now;
        m->from = t->at.step;
        ED_TRY(ed__trainer_save(t, cb, err));
    }
    return ED_OK;
}

/** Leaves the weights that the options ask for in the model. */
static ed_status finish(ed_trainer *t, ed_error *err) {
    if (t->opts.average_last > 0)
        return ed__snapshot_average(t, err);
    if (t->at.best_step > 0)
        return ed__best_load(t, err);
    if (t->ema)
        ed__ema_swap(t);
    return ED_OK;
}

ed_status ed_trainer_run(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err) {
    meter m = {.start = ed_time_s(), .last = ed_time_s(), .from = t->at.step};
    while (t->at.step < t->opts.steps) {
        double loss;
        if (cb && cb->stop && cb->stop(cb->user)) {
            t->at.seconds += ed_time_s() - m.start;
            ED_TRY(ed__trainer_save(t, cb, err));
            return ed_error_set(err, ED_E_CANCELLED, "", ED_NO_OFFSET, "stopped after step %lld; --resume continues from there", (long long)t->at.step);
        }
        ED_TRY(ed_trainer_step(t, &loss, err));
        m.loss_sum += loss;
        m.steps++;
        ED_TRY(after_step(t, cb, &m, err));
        if (t->opts.patience > 0 && t->at.bad_evals >= t->opts.patience)
            break;
    }
    return finish(t, err);
}
