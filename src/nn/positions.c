/* nn/positions.c - the list of position seats and what they share. */
#include "nn/position.h"

#include <stdio.h>

extern const ed_position_seat ed__pos_none, ed__pos_learned, ed__pos_sinusoidal, ed__pos_rope, ed__pos_alibi, ed__pos_t5, ed__pos_relative, ed__pos_urpe;

const ed_position_seat *const ed__position_seats[] = {&ed__pos_none,  &ed__pos_learned, &ed__pos_sinusoidal, &ed__pos_rope,
                                                      &ed__pos_alibi, &ed__pos_t5,      &ed__pos_relative,   &ed__pos_urpe};
const int ed__n_position_seats = sizeof ed__position_seats / sizeof *ed__position_seats;

static const ed_position_seat *find(const char *name, size_t n) {
    for (int i = 0; i < ed__n_position_seats; i++)
        if (strlen(ed__position_seats[i]->name) == n && memcmp(ed__position_seats[i]->name, name, n) == 0)
            return ed__position_seats[i];
    return NULL;
}

ed_status ed__positions_check(const char *list, ed_error *err) {
    for (const char *p = list;; p++) {
        size_t n = strcspn(p, "+");
        ED_FAIL_IF(!find(p, n), ED_E_NOT_FOUND, err, "position '%.*s' is unknown (none, learned, sinusoidal, rope, alibi, t5, relative, urpe)", (int)n, p);
        p += n;
        if (!*p)
            return ED_OK;
    }
}

ed_status ed__positions_build(const ed_position_env *env, ed_position *out, ed_error *err) {
    for (const char *p = env->config->list;; p++) {
        size_t n = strcspn(p, "+");
        const ed_position_seat *s = find(p, n);
        if (s && s->absolute == (env->layer < 0))
            ED_TRY(s->build(env, out, err));
        p += n;
        if (!*p)
            return ED_OK;
    }
}

ed_status ed__position_table(const ed_position_env *env, const char *suffix, int64_t n, const char *kind, double a, ed_param **out, ed_error *err) {
    char name[512];
    int64_t shape[2] = {n, env->config->n_heads};
    snprintf(name, sizeof name, "%s.pos.%s", env->name, suffix);
    ED_TRY(ed_params_add(env->params, name, env->dtype, 2, shape, out, err));
    (*out)->no_decay = true;
    return ed_param_init(*out, kind, a, env->seed, err);
}
