/* recipes/lab.c - what recipes share besides the report: progress, data files, training of an arm, small statistics, and bases cached by content.
 *
 * Invariants: nothing here draws random numbers or looks at the clock for anything but progress; a cached base exists under its name only when it is whole. */
#include "recipe.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dirent.h>
#include <xxhash.h>

/** Raised when a change of the library makes the same config give other weights. */
#define BASE_REVISION "1"
#define SAY_EVERY_S 10.0

/* ------------------------------------------------------------------ talking, stopping, files */

void lab_say(const lab_env *env, const char *fmt, ...) {
    char line[1024];
    va_list ap;
    if (!env->say)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    env->say(env->user, line);
}

bool lab_stopped(const lab_env *env) {
    return env->stop && env->stop(env->user);
}

ed_status lab_data_path(const lab_env *env, const char *name, char *buf, size_t bytes, ed_error *err) {
    if (!env->data_dir)
        return ed_error_set(err, ED_E_NOT_FOUND, name, ED_NO_OFFSET, "no data folder was given (--data DIR or ENDEC_DATA)");
    int n = snprintf(buf, bytes, "%s/%s", env->data_dir, name);
    if (n < 0 || (size_t)n >= bytes || access(buf, R_OK) != 0)
        return ed_error_set(err, ED_E_NOT_FOUND, name, ED_NO_OFFSET, "not in the data folder %s", env->data_dir);
    return ED_OK;
}

ed_status lab_file_read(const char *path, size_t max_bytes, char **text, size_t *n, ed_error *err) {
    FILE *f = fopen(path, "rb");
    *text = NULL;
    *n = 0;
    if (!f)
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "cannot be opened");
    char *buf = NULL;
    size_t len = 0, cap = 0;
    ed_status s = ED_OK;
    for (size_t got = 1; got && s == ED_OK; len += got) {
        if (cap - len < 65536) {
            char *grown = realloc(buf, cap = cap ? 2 * cap : 1 << 17);
            if (!grown) {
                s = ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for %zu bytes", cap);
                break;
            }
            buf = grown;
        }
        got = fread(buf + len, 1, cap - len - 1, f);
        if (len + got > max_bytes)
            s = ed_error_set(err, ED_E_LIMIT, path, ED_NO_OFFSET, "larger than %zu bytes", max_bytes);
    }
    if (s == ED_OK && ferror(f))
        s = ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot be read");
    fclose(f);
    if (s != ED_OK) {
        free(buf);
        return s;
    }
    buf[len] = 0;
    *text = buf;
    *n = len;
    return ED_OK;
}

/* ------------------------------------------------------------------ training an arm */

bool lab_curve_add(lab_curve *c, double step, double value) {
    if (c->n == c->cap) {
        int64_t cap = c->cap ? 2 * c->cap : 64;
        double *x = realloc(c->step, (size_t)cap * sizeof *x);
        c->step = x ? x : c->step;
        double *y = x ? realloc(c->value, (size_t)cap * sizeof *y) : NULL;
        c->value = y ? y : c->value;
        if (!x || !y)
            return false;
        c->cap = cap;
    }
    c->step[c->n] = step;
    c->value[c->n++] = value;
    return true;
}

void lab_curve_free(lab_curve *c) {
    free(c->step);
    free(c->value);
    *c = (lab_curve){0};
}

static ed_status point(const lab_arm *a, int64_t step, double loss, lab_curve *curve, double *value, ed_error *err) {
    *value = loss;
    ed_status s = a->measure ? a->measure(a->measure_ctx, a->model, step, value, err) : ED_OK;
    if (s == ED_OK && curve && !lab_curve_add(curve, (double)step, *value))
        s = ed_error_set(err, ED_E_MEMORY, a->name, ED_NO_OFFSET, "no memory for the curve");
    return s;
}

static ed_status updates(const lab_env *env, const lab_arm *a, ed_trainer *t, lab_curve *curve, double *seconds, ed_error *err) {
    double loss = 0, sum = 0, value = NAN, said = ed_time_s();
    int64_t n = 0;
    for (int64_t step = 1; step <= a->opts->steps; step++) {
        double start = ed_time_s();
        ed_status s = lab_stopped(env) ? ed_error_set(err, ED_E_CANCELLED, a->name, ED_NO_OFFSET, "stopped before step %lld", (long long)step)
                                       : ed_trainer_step(t, &loss, err);
        *seconds += ed_time_s() - start;
        sum += loss;
        n++;
        bool last = step == a->opts->steps;
        if (s == ED_OK && (last || (a->measure_every > 0 && step % a->measure_every == 0))) {
            s = point(a, step, sum / (double)n, curve, &value, err);
            sum = 0;
            n = 0;
        }
        if (s != ED_OK)
            return s;
        if (last || ed_time_s() - said > SAY_EVERY_S) {
            lab_say(env, "%s: step %lld of %lld, loss %.4f, value %.4f, %.0f s", a->name, (long long)step, (long long)a->opts->steps, loss, value, *seconds);
            said = ed_time_s();
        }
    }
    return ED_OK;
}

ed_status lab_train(const lab_env *env, const lab_arm *arm, lab_curve *curve, lab_cost *cost, ed_error *err) {
    ed_trainer *t;
    double seconds = 0;
    ed_status s = ed_trainer_create(arm->model, arm->objective, arm->source, NULL, arm->opts, NULL, &t, err);
    if (s != ED_OK)
        return s;
    s = updates(env, arm, t, curve, &seconds, err);
    ed_graph_counters c = ed_trainer_counters(t);
    if (cost)
        *cost = (lab_cost){arm->name, seconds, c.peak_bytes, c.flops / 2, ed_trainer_at(t), ed_params_numel(ed_model_params(arm->model))};
    ed_trainer_destroy(&t);
    return s;
}

/* ------------------------------------------------------------------ numbers */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lab_median(double *v, int64_t n) {
    if (n < 1)
        return NAN;
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* ------------------------------------------------------------------ bases cached by content */

static ed_status bases_dir(const lab_env *env, char *buf, size_t bytes, ed_error *err) {
    if (!env->work_dir)
        return ed_error_set(err, ED_E_STATE, "", ED_NO_OFFSET, "this recipe keeps trained bases: it needs a work folder");
    int n = snprintf(buf, bytes, "%s/bases", env->work_dir);
    return n > 0 && (size_t)n < bytes ? ED_OK : ed_error_set(err, ED_E_LIMIT, env->work_dir, ED_NO_OFFSET, "the path is too long");
}

ed_status lab_base_path(const lab_env *env, const lab_base *b, char *buf, size_t bytes, ed_error *err) {
    char dir[3072];
    size_t plain = strspn(b->kind, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (!plain || b->kind[plain] || plain > 64)
        return ed_error_set(err, ED_E_INVALID, b->kind, ED_NO_OFFSET, "the kind of a base is made of a-z, 0-9 and - (1 to 64)");
    ed_status s = bases_dir(env, dir, sizeof dir, err);
    if (s != ED_OK)
        return s;
    XXH3_state_t *h = XXH3_createState();
    if (!h || XXH3_64bits_reset(h) != XXH_OK) {
        XXH3_freeState(h);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for a hash");
    }
    const char *parts[] = {BASE_REVISION, ed_version(), b->kind, b->config};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        XXH3_64bits_update(h, parts[i], strlen(parts[i]) + 1); /* with its NUL: parts cannot run into each other */
    int n = snprintf(buf, bytes, "%s/%s-%016llx", dir, b->kind, (unsigned long long)XXH3_64bits_digest(h));
    XXH3_freeState(h);
    return n > 0 && (size_t)n < bytes ? ED_OK : ed_error_set(err, ED_E_LIMIT, dir, ED_NO_OFFSET, "the path is too long");
}

static bool is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/** Empties a folder of plain files and removes it; a base is never nested. */
static void remove_flat(const char *dir) {
    DIR *d = opendir(dir);
    char path[4096 + 256];
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && n > 0 && (size_t)n < sizeof path)
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

ed_status lab_base_get(const lab_env *env, const lab_base *b, char *buf, size_t bytes, ed_error *err) {
    char dir[3072], fresh[4096];
    ed_status s = lab_base_path(env, b, buf, bytes, err);
    if (s != ED_OK || is_dir(buf))
        return s;
    s = bases_dir(env, dir, sizeof dir, err);
    if (s != ED_OK)
        return s;
    int n = snprintf(fresh, sizeof fresh, "%s.part-XXXXXX", buf);
    if ((mkdir(env->work_dir, 0777) != 0 && errno != EEXIST) || (mkdir(dir, 0777) != 0 && errno != EEXIST) || n < 0 || (size_t)n >= sizeof fresh ||
        !mkdtemp(fresh))
        return ed_error_set(err, ED_E_IO, dir, ED_NO_OFFSET, "cannot make a folder for the base: %s", strerror(errno));
    lab_say(env, "building %s", buf);
    s = b->build(b->ctx, env, fresh, err);
    if (s == ED_OK && rename(fresh, buf) != 0 && !is_dir(buf)) /* a twin that was faster has made the same base */
        s = ed_error_set(err, ED_E_IO, buf, ED_NO_OFFSET, "cannot name the finished base: %s", strerror(errno));
    if (is_dir(fresh))
        remove_flat(fresh);
    return s;
}
