/* tests/unit/test_train.c - optimisers against closed forms, schedules, batches, accumulation, resume bit for bit, and runs that must stop. */
#include "model_util.h"

#include <unistd.h>

#include "base/internal.h"
#include "endec/train.h"

/* ------------------------------------------------------------------ optimisers */

/** Two steps of a one-parameter problem; g is the constant gradient. Returns the weight. */
static double two_steps(const char *name, double g, double lr, double decay) {
    ed_params *p;
    ed_grads *grads;
    ed_optim *o;
    ed_param *w;
    ed_error err = {0};
    ed_optim_opts u = ed_optim_opts_default();
    u.weight_decay = decay;
    assert_int_equal(ed_params_create(&p), ED_OK);
    check(ed_params_add(p, "w", ED_DTYPE_F32, 1, (int64_t[]){1}, &w, &err), &err);
    *(float *)w->data = 1;
    check(ed_grads_create(p, NULL, ED_DTYPE_F32, &grads, &err), &err);
    check(ed_optim_create(name, &u, p, grads, &o, &err), &err);
    for (int64_t s = 1; s <= 2; s++) {
        *(float *)ed_grads_of(grads, w) = (float)g;
        check(ed_optim_step(o, s, lr, &err), &err);
    }
    double v = (double)*(float *)w->data;
    ed_optim_destroy(&o);
    ed_grads_destroy(&grads);
    ed_params_destroy(&p);
    return v;
}

static void closed_forms(void **state) {
    (void)state;
    /* with a constant gradient Adam's corrected moments are g and g^2: each step is lr * sign(g) */
    assert_true(fabs(two_steps("adamw", 0.3, 0.1, 0) - 0.8) < 1e-5);
    assert_true(fabs(two_steps("adam", -2, 0.1, 0) - 1.2) < 1e-5);
    /* decoupled decay: w <- w (1 - lr d) - lr */
    assert_true(fabs(two_steps("adamw", 0.3, 0.1, 0.5) - ((0.95 - 0.1) * 0.95 - 0.1)) < 1e-5);
    /* momentum .9: steps g and 1.9 g */
    assert_true(fabs(two_steps("sgd", 0.5, 0.1, 0) - (1 - 0.05 - 0.095)) < 1e-6);
    assert_true(fabs(two_steps("lion", 0.5, 0.1, 0) - 0.8) < 1e-6);
    /* one number: the second moment is g^2, the update has RMS 1 */
    assert_true(fabs(two_steps("adafactor", 0.5, 0.1, 0) - 0.8) < 1e-5);
}

static void schedules(void **state) {
    (void)state;
    assert_true(fabs(ed_schedule("constant", 5, 10, 100, 0) - 0.5) < 1e-12);
    assert_true(fabs(ed_schedule("constant", 50, 10, 100, 0) - 1) < 1e-12);
    assert_true(fabs(ed_schedule("linear", 55, 10, 100, 0) - 0.5) < 1e-12);
    assert_true(fabs(ed_schedule("cosine", 55, 10, 100, 0.2) - 0.6) < 1e-12);
    assert_true(fabs(ed_schedule("cosine", 100, 10, 100, 0.2) - 0.2) < 1e-12);
    assert_true(fabs(ed_schedule("inverse_sqrt", 40, 10, 100, 0) - 0.5) < 1e-12);
    assert_true(isnan(ed_schedule("wobble", 1, 1, 1, 0)));
    for (int i = 0; ed_schedule_names()[i]; i++)
        for (int64_t s = 1; s <= 120; s++) {
            double f = ed_schedule(ed_schedule_names()[i], s, 10, 100, 0);
            assert_true(f >= 0 && f <= 1);
        }
}

/* ------------------------------------------------------------------ data */

static ed_dataset *copy_task(int64_t n) {
    ed_dataset *d;
    ed_rng r = ed_rng_make(3, 0);
    assert_int_equal(ed_dataset_create(&d), ED_OK);
    for (int64_t i = 0; i < n; i++) {
        int32_t ids[12];
        int64_t len = 2 + (int64_t)ed_rng_below(&r, 8);
        for (int64_t k = 0; k < len; k++)
            ids[k] = (int32_t)(3 + ed_rng_below(&r, 20));
        ids[len++] = 1;
        assert_int_equal(ed_dataset_add(d, ids, len, ids, len), ED_OK);
    }
    return d;
}

static ed_bucket_source *make_source(const ed_dataset *d, int layout, int64_t tokens, int64_t accumulate, bool shuffle) {
    ed_bucket_source *s;
    ed_error err = {0};
    ed_batching b = {.layout = layout, .tokens = tokens, .length = layout == ED_LAYOUT_CAUSAL ? 8 : 24, .accumulate = accumulate, .start_id = 1, .pad_id = 0,
                     .seed = 4, .shuffle = shuffle};
    check(ed_bucket_source_create(d, &b, &s, NULL, &err), &err);
    return s;
}

/** One epoch covers every example once, batches keep the token limit, and batch (step, micro) does not depend on what was asked before. */
static void batches(void **state) {
    ed_dataset *d = copy_task(200);
    ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, 64, 1, true), *t = make_source(d, ED_LAYOUT_SEQ2SEQ, 64, 1, true);
    ed_source a = ed_bucket_source_of(s), b = ed_bucket_source_of(t);
    ed_arena *arena, *arena2;
    ed_error err = {0};
    ed_batch x, y;
    double weight = 0, all = 0;
    (void)state;
    assert_int_equal(ed_arena_create(0, &arena), ED_OK);
    assert_int_equal(ed_arena_create(0, &arena2), ED_OK);
    for (int64_t i = 0; i < 200; i++) {
        const int32_t *p, *q;
        int64_t n, m;
        ed_dataset_get(d, i, &p, &n, &q, &m);
        all += (double)m;
    }
    int64_t n = a.steps_per_epoch(a.self);
    for (int64_t i = 0; i < n; i++) {
        check(a.batch(a.self, i, 0, arena, &x, &err), &err);
        assert_true(x.tgt.batch * x.tgt.len <= 64 && x.src.batch * x.src.len <= 64);
        weight += x.weight;
    }
    assert_true(weight == all);
    check(a.batch(a.self, 2 * n + 3, 0, arena, &x, &err), &err); /* after other epochs were planned */
    check(a.batch(a.self, 5, 0, arena, &x, &err), &err);
    check(b.batch(b.self, 5, 0, arena2, &y, &err), &err);
    assert_int_equal(x.tgt.len, y.tgt.len);
    assert_memory_equal(x.targets, y.targets, (size_t)(x.tgt.batch * x.tgt.len) * sizeof(int32_t));
    ed_bucket_source_destroy(&s);
    ed_bucket_source_destroy(&t);
    s = make_source(d, ED_LAYOUT_PREFIX, 64, 1, false);
    a = ed_bucket_source_of(s);
    check(a.batch(a.self, 0, 0, arena, &x, &err), &err);
    for (int64_t i = 0; i < x.tgt.batch; i++) { /* a copy task as prefix LM: the token learned at row k is the input of row k + 1 */
        for (int64_t k = 0; k + 1 < x.tgt.lengths[i]; k++)
            if (x.weights[i * x.tgt.len + k] > 0)
                assert_int_equal(x.targets[i * x.tgt.len + k], x.tgt.ids[i * x.tgt.len + k + 1]);
        assert_true(x.weights[i * x.tgt.len + x.tgt.prefix[i] - 1] == 1);
        assert_true(x.tgt.prefix[i] == 1 || x.weights[i * x.tgt.len + x.tgt.prefix[i] - 2] == 0);
    }
    ed_bucket_source_destroy(&s);
    ed_arena_destroy(&arena);
    ed_arena_destroy(&arena2);
    ed_dataset_destroy(&d);
}

/* ------------------------------------------------------------------ runs */

static ed_train_opts run_opts(int64_t steps) {
    ed_train_opts o = ed_train_opts_default();
    o.steps = steps, o.learning_rate = 0.01, o.warmup_steps = 10, o.schedule = 0, o.eval_every = 0, o.save_every = 10, o.label_smoothing = 0.1;
    return o;
}

static ed_model *run_model(double dropout) {
    ed_model_config c = tiny_config(ED_MODEL_ENCDEC, NULL);
    ed_model *m;
    ed_error err = {0};
    c.dropout = dropout;
    check(ed_model_create(&c, ED_DTYPE_F32, 5, &m, &err), &err);
    return m;
}

static void learns_to_copy(void **state) {
    ed_dataset *d = copy_task(400);
    ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, 256, 1, true), *v = make_source(d, ED_LAYOUT_SEQ2SEQ, 256, 1, false);
    ed_source src = ed_bucket_source_of(s), valid = ed_bucket_source_of(v);
    ed_objective obj = ed_objective_next_token();
    ed_train_opts o = run_opts(500);
    ed_trainer *t;
    ed_error err = {0};
    ed_model *m = run_model(0);
    double before, after;
    (void)state;
    o.label_smoothing = 0;
    check(ed_trainer_create(m, &obj, &src, NULL, &o, NULL, &t, &err), &err);
    check(ed_trainer_evaluate(t, &valid, &before, &err), &err);
    check(ed_trainer_run(t, NULL, &err), &err);
    check(ed_trainer_evaluate(t, &valid, &after, &err), &err);
    if (!(before > 2.5 && after < 0.7))
        fail_msg("loss %g before, %g after", before, after);
    ed_trainer_destroy(&t);
    ed_model_destroy(&m);
    ed_bucket_source_destroy(&s);
    ed_bucket_source_destroy(&v);
    ed_dataset_destroy(&d);
}

/** All examples as one batch, or as micro-batches of one step, give the same weights after an update, to rounding. */
static void accumulation_is_exact(void **state) {
    ed_dataset *d = copy_task(16);
    ed_model *m[2];
    ed_error err = {0};
    (void)state;
    for (int v = 0; v < 2; v++) {
        ed_bucket_source *whole = make_source(d, ED_LAYOUT_SEQ2SEQ, v ? 64 : 4096, 1, false);
        ed_source src = ed_bucket_source_of(whole);
        int64_t parts = src.steps_per_epoch(src.self);
        assert_true(v ? parts > 2 : parts == 1);
        ed_bucket_source_destroy(&whole);
        ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, v ? 64 : 4096, parts, false);
        src = ed_bucket_source_of(s);
        ed_objective obj = ed_objective_next_token();
        ed_train_opts o = run_opts(1);
        ed_trainer *t;
        o.accumulate = parts, o.optimizer = 2, o.learning_rate = 1, o.warmup_steps = 0, o.clip_norm = 0;
        m[v] = run_model(0);
        check(ed_trainer_create(m[v], &obj, &src, NULL, &o, NULL, &t, &err), &err);
        check(ed_trainer_run(t, NULL, &err), &err);
        ed_trainer_destroy(&t);
        ed_bucket_source_destroy(&s);
    }
    for (int64_t i = 0; i < ed_params_count(ed_model_params(m[0])); i++) {
        const ed_param *p = ed_params_at(ed_model_params(m[0]), i), *q = ed_params_at(ed_model_params(m[1]), i);
        for (int64_t k = 0; k < p->numel; k++)
            if (fabsf(((float *)p->data)[k] - ((float *)q->data)[k]) > 1e-5f)
                fail_msg("%s[%lld]: %g and %g", p->name, (long long)k, (double)((float *)p->data)[k], (double)((float *)q->data)[k]);
    }
    ed_model_destroy(&m[0]);
    ed_model_destroy(&m[1]);
    ed_dataset_destroy(&d);
}

typedef struct stopper {
    int64_t at;
    ed_trainer *t;
} stopper;

static bool stop_now(void *user) {
    stopper *s = user;
    return ed_trainer_at(s->t) == s->at;
}

/** A run that is stopped and resumed (twice, once not at a checkpoint's step) ends with the bits of an undisturbed one. */
static void resume_is_bit_equal(void **state) {
    char dir[] = "/tmp/endec-test-train-XXXXXX", cmd[80];
    uint64_t hash[2];
    ed_dataset *d = copy_task(100);
    ed_objective obj = ed_objective_next_token();
    ed_error err = {0};
    (void)state;
    assert_non_null(mkdtemp(dir));
    for (int v = 0; v < 2; v++) {
        ed_train_opts o = run_opts(40);
        o.ema = 0.9;
        o.accumulate = 2;
        for (int64_t stop = v ? 7 : -1; stop < 60; stop += 16) {
            ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, 128, 2, true);
            ed_source src = ed_bucket_source_of(s);
            ed_model *m = run_model(0.2);
            ed_trainer *t;
            check(ed_trainer_create(m, &obj, &src, NULL, &o, v ? dir : NULL, &t, &err), &err);
            if (v && stop > 7)
                check(ed_trainer_resume(t, &err), &err);
            stopper st = {stop, t};
            ed_train_callbacks cb = {.stop = stop_now, .user = &st};
            ed_status r = ed_trainer_run(t, &cb, &err);
            assert_int_equal(r, stop >= 0 && stop < 40 ? ED_E_CANCELLED : ED_OK);
            hash[v] = ed_params_hash(ed_model_params(m));
            ed_trainer_destroy(&t);
            ed_model_destroy(&m);
            ed_bucket_source_destroy(&s);
            if (r == ED_OK)
                break;
        }
    }
    assert_true(hash[0] == hash[1]);
    ed_dataset_destroy(&d);
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

static ed_status nan_step(void *self, ed_train_pass *p, ed_error *err) {
    (void)self, (void)err;
    p->weight = 1;
    p->loss_sum = p->step >= 3 ? NAN : 1;
    return ED_OK;
}

static void nan_stops(void **state) {
    ed_dataset *d = copy_task(20);
    ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, 128, 1, true);
    ed_source src = ed_bucket_source_of(s);
    ed_objective obj = {.name = "nan", .step = nan_step};
    ed_train_opts o = run_opts(10);
    ed_trainer *t;
    ed_error err = {0};
    ed_model *m = run_model(0);
    (void)state;
    check(ed_trainer_create(m, &obj, &src, NULL, &o, NULL, &t, &err), &err);
    assert_int_equal(ed_trainer_run(t, NULL, &err), ED_E_NUMERIC);
    assert_non_null(strstr(err.message, "step 4"));
    assert_int_equal(ed_trainer_at(t), 3);
    ed_trainer_destroy(&t);
    ed_model_destroy(&m);
    ed_bucket_source_destroy(&s);
    ed_dataset_destroy(&d);
}

static void frozen_weights_do_not_move(void **state) {
    ed_dataset *d = copy_task(50);
    ed_bucket_source *s = make_source(d, ED_LAYOUT_SEQ2SEQ, 128, 1, true);
    ed_source src = ed_bucket_source_of(s);
    ed_objective obj = ed_objective_next_token();
    ed_train_opts o = run_opts(5);
    ed_trainer *t;
    ed_error err = {0};
    ed_model *m = run_model(0), *fresh = run_model(0);
    (void)state;
    o.train_only = (char[]){"model.decoder.*"};
    o.lr_groups = (char[]){"*.fc1.*=0"};
    check(ed_trainer_create(m, &obj, &src, NULL, &o, NULL, &t, &err), &err);
    check(ed_trainer_run(t, NULL, &err), &err);
    for (int64_t i = 0; i < ed_params_count(ed_model_params(m)); i++) {
        const ed_param *p = ed_params_at(ed_model_params(m), i), *q = ed_params_at(ed_model_params(fresh), i);
        bool same = memcmp(p->data, q->data, (size_t)p->numel * 4) == 0;
        bool trained = strncmp(p->name, "model.decoder.", 14) == 0 && !strstr(p->name, ".fc1.");
        /* keys of cross-attention have a bias without effect: softmax does not see a constant; it may stay */
        if (same == trained && !strstr(p->name, "k_proj.bias"))
            fail_msg("%s: %s", p->name, same ? "did not move" : "moved");
    }
    ed_trainer_destroy(&t);
    ed_model_destroy(&m);
    ed_model_destroy(&fresh);
    ed_bucket_source_destroy(&s);
    ed_dataset_destroy(&d);
    assert_int_equal(ed__mem_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_forms),        cmocka_unit_test(schedules), cmocka_unit_test(batches),           cmocka_unit_test(learns_to_copy), cmocka_unit_test(accumulation_is_exact),
        cmocka_unit_test(resume_is_bit_equal), cmocka_unit_test(nan_stops), cmocka_unit_test(frozen_weights_do_not_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
