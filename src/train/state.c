/* train/state.c - what a checkpoint of a run holds: model.safetensors, optimizer.safetensors (rules' state, averaged weights, the objective's own parameters) and
 * trainer_state.json (counters, and the options that must not change between sessions). Everything else is a function of (seed, step). */
#include <math.h>
#include <stdio.h>

#include <jansson.h>

#include "train/trainer.h"

/** Items of several parameter sets under name prefixes. */
typedef struct item_list {
    ed_tensor_item *items;
    char **names;
    int64_t n;
} item_list;

static void items_free(item_list *l) {
    for (int64_t i = 0; i < l->n; i++)
        ed__free(l->names[i]);
    ed__free(l->names);
    ed__free(l->items);
}

static char *prefixed(const char *prefix, const char *name) {
    size_t a = strlen(prefix), b = strlen(name);
    char *s = ed__malloc(a + b + 1);
    if (s) {
        memcpy(s, prefix, a);
        memcpy(s + a, name, b + 1);
    }
    return s;
}

static ed_status items_add(item_list *l, const char *prefix, const ed_params *set) {
    int64_t m = set ? ed_params_count(set) : 0;
    if (m == 0)
        return ED_OK;
    ed_tensor_item *items = ed__realloc(l->items, (size_t)(l->n + m) * sizeof *items);
    if (items)
        l->items = items;
    char **names = ed__realloc(l->names, (size_t)(l->n + m) * sizeof *names);
    if (names)
        l->names = names;
    if (!items || !names)
        return ED_E_MEMORY;
    for (int64_t i = 0; i < m; i++) {
        const ed_param *p = ed_params_at(set, i);
        char *name = prefixed(prefix, p->name);
        if (!name)
            return ED_E_MEMORY;
        l->names[l->n] = name;
        l->items[l->n] = (ed_tensor_item){.name = name, .dtype = ed_file_dtype_of(p->dtype), .rank = p->rank, .data = p->data};
        memcpy(l->items[l->n++].shape, p->shape, sizeof p->shape);
    }
    return ED_OK;
}

static ed_params *objective_state(const ed_trainer *t) {
    return t->objective.state ? t->objective.state(t->objective.self) : NULL;
}

static ed_status add_state(ed_trainer *t, ed_ckpt_writer *w, ed_error *err) {
    item_list l = {0};
    ed_status s = items_add(&l, "optim.", ed_optim_state(t->optim));
    if (s == ED_OK)
        s = items_add(&l, "ema.", t->ema);
    if (s == ED_OK)
        s = items_add(&l, "objective.", objective_state(t));
    if (s != ED_OK)
        ed_error_set(err, s, "optimizer.safetensors", ED_NO_OFFSET, "no memory to list the optimiser's state");
    else
        s = ed_ckpt_add_tensors(w, "optimizer.safetensors", l.items, l.n, NULL, err);
    items_free(&l);
    return s;
}

static ed_status add_counters(const ed_trainer *t, ed_ckpt_writer *w, ed_error *err) {
    const ed__train_counters *c = &t->at;
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "{\n  \"global_step\": %lld,\n  \"max_steps\": %lld,\n  \"best_global_step\": %lld,\n  \"bad_evaluations\": %lld,\n"
                     "  \"snapshots\": %lld,\n  \"train_seconds\": %.3f,\n  \"seed\": %lld",
                     (long long)c->step, (long long)t->opts.steps, (long long)c->best_step, (long long)c->bad_evals, (long long)c->snapshots, c->seconds,
                     (long long)t->opts.seed);
    if (isfinite(c->best))
        n += snprintf(text + n, sizeof text - (size_t)n, ",\n  \"best_metric\": %.17g", c->best);
    n += snprintf(text + n, sizeof text - (size_t)n, "\n}\n");
    return ed_ckpt_add_file(w, "trainer_state.json", text, (size_t)n, err);
}

static ed_status add_config(const ed_trainer *t, ed_ckpt_writer *w, ed_error *err) {
    char *text;
    ED_TRY(ed_model_config_json(ed_model_get_config(t->model), ED_DTYPE_F32, &text, err));
    ed_status s = ed_ckpt_add_file(w, "config.json", text, strlen(text), err);
    ed_model_text_free(&text);
    return s;
}

ed_status ed__trainer_save(ed_trainer *t, const ed_train_callbacks *cb, ed_error *err) {
    ed_ckpt_writer *w;
    if (!t->out_dir)
        return ED_OK;
    ED_TRY(ed_ckpt_begin(t->out_dir, t->at.step, t->lock, &w, err));
    ed_status s = ed_ckpt_add_params(w, "model.safetensors", ed_model_params(t->model), ED_DTYPE_COUNT, NULL, err);
    if (s == ED_OK)
        s = add_state(t, w, err);
    if (s == ED_OK)
        s = add_counters(t, w, err);
    if (s == ED_OK)
        s = add_config(t, w, err);
    if (s == ED_OK && cb && cb->add_files)
        s = cb->add_files(cb->user, w, err);
    if (s != ED_OK) {
        ed_ckpt_abort(&w);
        return s;
    }
    return ed_ckpt_commit(&w, (int)t->opts.keep, err);
}

/* ------------------------------------------------------------------ loading */

static bool strip(void *user, const char *param, char *buf, size_t bytes) {
    int n = snprintf(buf, bytes, "%s%s", (const char *)user, param);
    return n > 0 && (size_t)n < bytes;
}

static ed_status load_set(ed_params *set, const ed_tensor_file *f, char *prefix, ed_error *err) {
    ed_params_load_opts o = ed_params_load_opts_default();
    o.strict = false;
    o.map = strip;
    o.user = prefix;
    if (!set)
        return ED_OK;
    for (int64_t i = 0; i < ed_params_count(set); i++) {
        char name[1024];
        ED_FAIL_IF(!strip(prefix, ed_params_at(set, i)->name, name, sizeof name) || !ed_tensor_file_find(f, name), ED_E_FORMAT, err,
                   "%s: '%s' is missing: the checkpoint belongs to another optimiser or model", ed_tensor_file_path(f), name);
    }
    return ed_params_load(set, f, &o, err);
}

static ed_status open_in(const char *dir, const char *name, ed_tensor_file **f, ed_error *err) {
    char *path;
    ED_TRY(ed__path_join(dir, name, &path, err));
    ed_status s = ed_tensor_file_open(path, NULL, f, err);
    ed__free(path);
    return s;
}

static ed_status load_tensors(ed_trainer *t, const char *dir, ed_error *err) {
    ed_tensor_file *f;
    ED_TRY(open_in(dir, "model.safetensors", &f, err));
    ed_status s = ed_params_load(ed_model_params(t->model), f, NULL, err);
    ed_tensor_file_close(&f);
    ED_TRY(s);
    ED_TRY(open_in(dir, "optimizer.safetensors", &f, err));
    s = load_set(ed_optim_state(t->optim), f, (char[]){"optim."}, err);
    if (s == ED_OK)
        s = load_set(t->ema, f, (char[]){"ema."}, err);
    if (s == ED_OK)
        s = load_set(objective_state(t), f, (char[]){"objective."}, err);
    ed_tensor_file_close(&f);
    return s;
}

static ed_status load_counters(ed_trainer *t, const char *dir, ed_error *err) {
    char *path;
    json_t *j = NULL;
    int64_t seed = t->opts.seed;
    ed__train_counters c = {.best = -INFINITY};
    ED_TRY(ed__path_join(dir, "trainer_state.json", &path, err));
    ed_status s = ed__json_load(path, 1 << 20, &j, err);
    if (s == ED_OK)
        s = ed__json_int(j, "global_step", 0, INT64_MAX, &c.step, path, err);
    if (s == ED_OK)
        s = ed__json_int(j, "best_global_step", 0, INT64_MAX, &c.best_step, path, err);
    if (s == ED_OK)
        s = ed__json_int(j, "bad_evaluations", 0, INT64_MAX, &c.bad_evals, path, err);
    if (s == ED_OK)
        s = ed__json_int(j, "snapshots", 0, INT64_MAX, &c.snapshots, path, err);
    if (s == ED_OK)
        s = ed__json_float(j, "train_seconds", 0, 1e15, &c.seconds, path, err);
    if (s == ED_OK)
        s = ed__json_float(j, "best_metric", -1e300, 1e300, &c.best, path, err);
    if (s == ED_OK)
        s = ed__json_int(j, "seed", 0, INT64_MAX, &seed, path, err);
    if (s == ED_OK && seed != t->opts.seed)
        s = ed_error_set(err, ED_E_STATE, path, ED_NO_OFFSET, "the checkpoint was made with seed %lld, the config says %lld", (long long)seed,
                         (long long)t->opts.seed);
    json_decref(j);
    ed__free(path);
    if (s == ED_OK)
        t->at = c;
    return s;
}

ed_status ed__trainer_load(ed_trainer *t, ed_error *err) {
    char *dir;
    int64_t step;
    ED_FAIL_IF(!t->out_dir, ED_E_STATE, err, "a run without an output folder cannot be resumed");
    ED_TRY(ed_ckpt_find(t->out_dir, &dir, &step, err));
    ed_status s = load_tensors(t, dir, err);
    if (s == ED_OK)
        s = load_counters(t, dir, err);
    ed_ckpt_path_free(&dir);
    return s;
}

ed_status ed__best_save(ed_trainer *t, ed_error *err) {
    char path[4096];
    if (!t->out_dir)
        return ED_OK;
    snprintf(path, sizeof path, "%s/best.safetensors", t->out_dir);
    return ed_params_save(ed_model_params(t->model), path, ED_DTYPE_COUNT, NULL, err);
}

ed_status ed__best_load(ed_trainer *t, ed_error *err) {
    char path[4096];
    ed_tensor_file *f;
    if (!t->out_dir)
        return ED_OK;
    snprintf(path, sizeof path, "%s/best.safetensors", t->out_dir);
    if (!ed__path_exists(path))
        return ED_OK;
    ED_TRY(ed_tensor_file_open(path, NULL, &f, err));
    ed_status s = ed_params_load(ed_model_params(t->model), f, NULL, err);
    ed_tensor_file_close(&f);
    return s;
}
