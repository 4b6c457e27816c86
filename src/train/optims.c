/* train/optims.c - the list of optimisers, and what they share: state, groups, decay switches, row-sparse parameters. */
#include "train/optim.h"

#include <stdio.h>

extern const ed_optim_seat ed__optim_adamw, ed__optim_adam, ed__optim_sgd, ed__optim_adafactor, ed__optim_lion;

const ed_optim_seat *const ed__optim_seats[] = {&ed__optim_adamw, &ed__optim_adam, &ed__optim_sgd, &ed__optim_adafactor, &ed__optim_lion};
const int ed__n_optim_seats = sizeof ed__optim_seats / sizeof *ed__optim_seats;

static const char *const names[] = {"adamw", "adam", "sgd", "adafactor", "lion", NULL};

const char *const *ed_optim_names(void) {
    return names;
}

ed_optim_opts ed_optim_opts_default(void) {
    return (ed_optim_opts){.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .momentum = 0.9, .clip_threshold = 1, .decay_rate = 0.8};
}

typedef struct member {
    ed_param *p;
    ed_param *state[ED__OPTIM_MAX_STATE];
    double lr, decay;
} member;

struct ed_optim {
    const ed_optim_seat *seat;
    ed_optim_opts opts;
    ed_grads *grads;
    ed_params *state;
    member *members;
    int64_t n;
};

static ed_status add_state(ed_optim *o, member *m, ed_error *err) {
    for (int s = 0; s < o->seat->n_state; s++) {
        char name[512];
        int64_t shape[ED_MAX_RANK];
        int rank = m->p->rank;
        memcpy(shape, m->p->shape, sizeof shape);
        if (o->seat->state_shape)
            rank = o->seat->state_shape(m->p, s, shape);
        snprintf(name, sizeof name, "%s.%s", m->p->name, o->seat->suffix[s]);
        ED_TRY(ed_params_add(o->state, name, ED_DTYPE_F32, rank, shape, &m->state[s], err));
    }
    return ED_OK;
}

static ed_status fill(ed_optim *o, ed_params *params, ed_error *err) {
    int64_t n = ed_params_count(params);
    o->members = ed__calloc((size_t)n + 1, sizeof *o->members);
    ED_FAIL_IF(!o->members || ed_params_create(&o->state) != ED_OK, ED_E_MEMORY, err, "no memory for optimiser state");
    for (int64_t i = 0; i < n; i++) {
        ed_param *p = ed_params_at(params, i);
        if (!ed_grads_wants(o->grads, p))
            continue;
        ED_FAIL_IF(p->dtype != ED_DTYPE_F32, ED_E_DTYPE, err, "parameter '%s' is %s; optimisers train f32", p->name, ed_dtype_name(p->dtype));
        member *m = &o->members[o->n++];
        *m = (member){.p = p, .lr = 1, .decay = p->no_decay ? 0 : 1};
        ED_TRY(add_state(o, m, err));
    }
    return ED_OK;
}

ed_status ed_optim_create(const char *name, const ed_optim_opts *opts, ed_params *params, ed_grads *grads, ed_optim **out, ed_error *err) {
    const ed_optim_seat *seat = NULL;
    *out = NULL;
    for (int i = 0; i < ed__n_optim_seats; i++)
        if (strcmp(ed__optim_seats[i]->name, name) == 0)
            seat = ed__optim_seats[i];
    ED_FAIL_IF(!seat, ED_E_NOT_FOUND, err, "no optimiser is called '%s'", name);
    ed_optim *o = ed__calloc(1, sizeof *o);
    ED_FAIL_IF(!o, ED_E_MEMORY, err, "no memory for an optimiser");
    o->seat = seat;
    o->opts = opts ? *opts : ed_optim_opts_default();
    o->grads = grads;
    ed_status s = fill(o, params, err);
    if (s != ED_OK) {
        ed_optim_destroy(&o);
        return s;
    }
    *out = o;
    return ED_OK;
}

void ed_optim_destroy(ed_optim **o) {
    if (!o || !*o)
        return;
    ed_params_destroy(&(*o)->state);
    ed__free((*o)->members);
    ed__free(*o);
    *o = NULL;
}

ed_params *ed_optim_state(ed_optim *o) {
    return o->state;
}

ed_status ed_optim_group(ed_optim *o, const char *patterns, double lr, double decay) {
    for (int64_t i = 0; i < o->n; i++) {
        if (ed_name_match(patterns, o->members[i].p->name)) {
            o->members[i].lr = lr;
            o->members[i].decay = o->members[i].p->no_decay ? 0 : decay;
        }
    }
    return ED_OK;
}

typedef struct job {
    ed_optim_update u;
    const ed_optim_seat *seat;
} job;

/** Elementwise rules run on ranges of the parameter, so that one large table keeps all threads busy. */
static void update_range(void *ctx, int64_t begin, int64_t end) {
    const job *j = ctx;
    ed_optim_update u = j->u;
    u.w += begin;
    u.g += begin;
    for (int s = 0; s < ED__OPTIM_MAX_STATE; s++)
        if (u.state[s])
            u.state[s] += begin;
    u.n = end - begin;
    j->seat->update(&u);
}

static void run(const ed_optim_seat *seat, const ed_optim_update *u) {
    job j = {*u, seat};
    if (seat->elementwise)
        ed__parallel_for(u->n, 1 << 15, update_range, &j);
    else
        seat->update(u);
}

static void update_rows(const ed_optim *o, const member *m, ed_optim_update u) {
    const int32_t *ids;
    const void *rows;
    int64_t n = ed_grads_rows_of(o->grads, m->p, &ids, &rows), row = m->p->numel / m->p->shape[0];
    for (int64_t i = 0; i < n; i++) {
        u.w = (float *)m->p->data + ids[i] * row;
        u.g = (const float *)rows + i * row;
        for (int s = 0; s < o->seat->n_state; s++)
            u.state[s] = (float *)m->state[s]->data + ids[i] * row;
        u.n = row;
        o->seat->update(&u);
    }
}

ed_status ed_optim_step(ed_optim *o, int64_t step, double lr, ed_error *err) {
    for (int64_t i = 0; i < o->n; i++) {
        member *m = &o->members[i];
        if (m->lr == 0)
            continue;
        int64_t cols = m->p->rank >= 2 ? m->p->shape[m->p->rank - 1] : m->p->numel;
        ed_optim_update u = {.w = m->p->data, .n = m->p->numel, .cols = cols, .rows = cols ? m->p->numel / cols : 1, .lr = lr * m->lr,
                             .decay = o->opts.weight_decay * m->decay, .step = step, .opts = &o->opts};
        for (int s = 0; s < o->seat->n_state; s++)
            u.state[s] = m->state[s]->data;
        if (m->p->row_sparse && m->p->rank >= 2) {
            ED_FAIL_IF(!o->seat->elementwise, ED_E_UNSUPPORTED, err, "%s cannot train the row-sparse parameter '%s'", o->seat->name, m->p->name);
            update_rows(o, m, u);
        } else {
            u.g = ed_grads_of(o->grads, m->p);
            run(o->seat, &u);
        }
        ed_param_touch(m->p);
    }
    return ED_OK;
}
