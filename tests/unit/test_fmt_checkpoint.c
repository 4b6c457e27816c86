/* tests/unit/test_fmt_checkpoint.c - checkpoints: contents come back, two generations are kept, a failure of any write, flush or rename and a kill at
 * any moment leave a whole checkpoint, every truncation and every flipped bit is refused or leads to the generation before, with a warning. */
#include <signal.h>
#include <sys/wait.h>

#include "io/checkpoint.h"
#include "unit/fmt_util.h"

static char last_warning[1200];

static void keep_warning(void *user, ed_log_level level, const char *line) {
    (void)user;
    if (level == ED_LOG_WARN)
        snprintf(last_warning, sizeof last_warning, "%s", line);
}

/* Each file of a checkpoint of step s holds s, so that a mixture would show. */
static ed_status save_step(int64_t step, int keep, ed_error *e) {
    ed_ckpt_writer *w;
    float x[64];
    char text[64];
    for (int i = 0; i < 64; i++)
        x[i] = (float)step;
    ed_tensor_item item = {.name = "w", .dtype = ED_FILE_F32, .rank = 2, .shape = {8, 8}, .data = x};
    int n = snprintf(text, sizeof text, "{\"step\":%lld}", (long long)step);
    ed_status s = ed_ckpt_begin(dir, step, NULL, &w, e);
    if (s != ED_OK)
        return s;
    (void)ed_ckpt_add_tensors(w, "model.safetensors", &item, 1, NULL, e); /* a failure must reach commit by itself */
    (void)ed_ckpt_add_file(w, "trainer_state.json", text, (size_t)n, e);
    s = ed_ckpt_commit(&w, keep, e);
    assert_null(w);
    return s;
}

/* The step that find gives, after a look at the contents; -1 when it finds none. */
static int64_t found_step(void) {
    char *path, want[64], file[700];
    int64_t step = -1;
    size_t n;
    ed_tensor_file *f;
    float v;
    if (ed_ckpt_find(dir, &path, &step, NULL) != ED_OK)
        return -1;
    assert_int_equal(ed_tensor_file_open(path, NULL, &f, NULL), ED_OK);
    memcpy(&v, ed_tensor_file_find(f, "w")->data, 4);
    assert_true(v == (float)step);
    ed_tensor_file_close(&f);
    snprintf(file, sizeof file, "%s/trainer_state.json", path);
    snprintf(want, sizeof want, "{\"step\":%lld}", (long long)step);
    char *text = get_file(file, &n);
    assert_string_equal(text, want);
    ed__free(text);
    ed_ckpt_path_free(&path);
    return step;
}

static void test_generations(void **state) {
    (void)state;
    ed_error e = {0};
    char *path;
    assert_int_equal(ed_ckpt_find(in_dir("none"), &path, NULL, &e), ED_E_NOT_FOUND);
    assert_int_equal(ed_ckpt_find(dir, &path, NULL, &e), ED_E_NOT_FOUND);
    for (int64_t s = 0; s < 5; s++) {
        assert_int_equal(save_step(s * 9, 2, &e), ED_OK);
        assert_int_equal(found_step(), s * 9);
        assert_int_equal(count_entries(dir), 1 + (s == 0 ? 1 : 2)); /* the lock stays */
    }
    assert_true(access(in_dir("checkpoint-27"), F_OK) == 0 && access(in_dir("checkpoint-36"), F_OK) == 0);
    assert_int_equal(save_step(36, 2, &e), ED_OK); /* the same step again */
    assert_int_equal(count_entries(dir), 3);
    assert_int_equal(save_step(35, 2, &e), ED_E_STATE);
    assert_non_null(strstr(e.message, "36"));
    assert_int_equal(found_step(), 36);
    assert_int_equal(ed_ckpt_prune(dir, 1, &e), ED_OK);
    assert_int_equal(count_entries(dir), 2);
    assert_int_equal(ed_ckpt_prune(dir, 0, &e), ED_E_INVALID);
    assert_int_equal(save_step(-1, 2, &e), ED_E_RANGE);
    assert_int_equal(save_step(INT64_MAX, 2, &e), ED_E_RANGE);
}

static void test_lock(void **state) {
    (void)state;
    ed_dir_lock *a, *b;
    ed_ckpt_writer *w, *v;
    ed_error e = {0};
    assert_int_equal(ed_dir_lock_take(dir, &a, &e), ED_OK);
    assert_int_equal(ed_dir_lock_take(dir, &b, &e), ED_E_BUSY);
    assert_null(b);
    assert_int_equal(save_step(1, 2, &e), ED_E_BUSY);
    pid_t child = fork();
    if (child == 0)
        _exit(ed_dir_lock_take(dir, &b, NULL) == ED_E_BUSY ? 0 : 1);
    int how;
    assert_true(waitpid(child, &how, 0) == child && how == 0);
    assert_int_equal(ed_ckpt_begin(dir, 1, a, &w, &e), ED_OK); /* the holder may */
    ed_ckpt_abort(&w);
    ed_dir_lock_release(&a);
    assert_int_equal(ed_ckpt_begin(dir, 1, NULL, &w, &e), ED_OK);
    assert_int_equal(ed_ckpt_begin(dir, 2, NULL, &v, &e), ED_E_BUSY);
    ed_ckpt_abort(&w);
    assert_int_equal(count_entries(dir), 1);
}

static void test_names(void **state) {
    (void)state;
    static const char *const bad[] = {"", ".", "..", ".x", "a/b", "/x", "a b", "\xc3\xa9", "endec-manifest.json", "config.json"};
    ed_error e = {0};
    ed_ckpt_writer *w;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(ed_ckpt_begin(dir, 1, NULL, &w, &e), ED_OK);
        assert_int_equal(ed_ckpt_add_file(w, "config.json", "{}", 2, &e), ED_OK);
        assert_int_equal(ed_ckpt_add_file(w, bad[i], "x", 1, &e), ED_E_INVALID);
        assert_int_equal(ed_ckpt_add_file(w, "y", "x", 1, &e), ED_E_STATE);
        assert_int_equal(ed_ckpt_commit(&w, 2, &e), ED_E_INVALID);
        assert_int_equal(count_entries(dir), 1);
    }
}

/* Every write, flush and rename fails once, with one or two generations on the disk, also when a step is written again. */
static void test_failing_disk(void **state) {
    (void)state;
    ed_error e = {0};
    for (int again = 0; again < 2; again++) {
        int failures = 0;
        for (int64_t k = 1;; k++) {
            int64_t next = again ? 20 : 30;
            for (int64_t s = 10; s <= 20; s += 10)
                assert_int_equal(save_step(s, 2, &e), ED_OK);
            ed__io_fail_after(k);
            ed_status s = save_step(next, 2, &e);
            ed__io_fail_after(-1);
            int64_t found = found_step();
            assert_true(found == 20 || found == next);
            if (s == ED_OK)
                assert_int_equal(found, next);
            assert_int_equal(save_step(next, 2, &e), ED_OK); /* and all is well afterwards */
            assert_int_equal(found_step(), next);
            assert_int_equal(count_entries(dir), 3);
            failures += s != ED_OK;
            remove_tree(dir, 3);
            assert_int_equal(mkdir(dir, 0700), 0);
            if (k > 24)
                break;
        }
        assert_true(failures >= 10);
    }
}

static void test_failing_memory(void **state) {
    (void)state;
    ed_error e = {0};
    bool done = false;
    assert_int_equal(save_step(1, 2, &e), ED_OK);
    int64_t blocks = ed__mem_blocks();
    for (int64_t k = 1; !done && k < 300; k++) {
        ed__mem_fail_after(k, false);
        ed_status s = save_step(2, 2, &e);
        ed__mem_fail_after(-1, false);
        assert_int_equal(ed__mem_blocks(), blocks);
        int64_t found = found_step();
        assert_true(found == 2 || (found == 1 && s != ED_OK));
        done = s == ED_OK && k > 60;
    }
    assert_true(done);
    for (int64_t k = 1, ok = 0; !ok && k < 300; k++) { /* a loader without memory says so and does not fall back */
        char *path;
        int64_t step = -1;
        ed__mem_fail_after(k, false);
        ed_status s = ed_ckpt_find(dir, &path, &step, &e);
        ed__mem_fail_after(-1, false);
        ok = s == ED_OK && step == 2;
        assert_true(ok || s == ED_E_MEMORY);
        ed_ckpt_path_free(&path);
        assert_int_equal(ed__mem_blocks(), blocks);
    }
}

/* Every truncation and every flipped bit of every file: the generation before is found, and a warning says why. */
static void test_every_damage_falls_back(void **state) {
    (void)state;
    static const char *const files[] = {"model.safetensors", "trainer_state.json", ED__CKPT_MANIFEST};
    ed_error e = {0};
    assert_int_equal(save_step(5, 2, &e), ED_OK);
    assert_int_equal(save_step(6, 2, &e), ED_OK);
    ed_log_set(keep_warning, NULL, ED_LOG_WARN);
    for (int f = 0; f < 3; f++) {
        char name[100], path[400];
        size_t n;
        snprintf(name, sizeof name, "checkpoint-6/%s", files[f]);
        snprintf(path, sizeof path, "%s", in_dir(name));
        char *good = get_file(path, &n);
        for (size_t i = 0; i < n; i++) {
            last_warning[0] = '\0';
            good[i] ^= (char)(1 << (i % 8));
            put_file(path, good, n);
            good[i] ^= (char)(1 << (i % 8));
            assert_int_equal(found_step(), 5);
            assert_true(strstr(last_warning, "step 6 skipped") && strstr(last_warning, files[f]));
            put_file(path, good, i);
            assert_int_equal(found_step(), 5);
        }
        put_file(path, good, n + 1); /* and one byte more (the NUL behind the text) */
        assert_int_equal(found_step(), 5);
        unlink(path);
        assert_int_equal(found_step(), 5);
        put_file(path, good, n);
        assert_int_equal(found_step(), 6);
        ed__free(good);
    }
    /* both damaged: refused, never loaded */
    unlink(in_dir("checkpoint-5/trainer_state.json"));
    unlink(in_dir("checkpoint-6/model.safetensors"));
    char *path;
    assert_int_equal(ed_ckpt_find(dir, &path, NULL, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.where, "checkpoint-6/model.safetensors"));
    ed_log_set(NULL, NULL, ED_LOG_WARN);
}

/* A damaged newest generation must not push the last whole one out. */
static void test_damaged_does_not_count(void **state) {
    (void)state;
    ed_error e = {0};
    assert_int_equal(save_step(1, 2, &e), ED_OK);
    assert_int_equal(save_step(2, 2, &e), ED_OK);
    unlink(in_dir("checkpoint-2/model.safetensors"));
    assert_int_equal(save_step(3, 2, &e), ED_OK);
    assert_true(access(in_dir("checkpoint-1"), F_OK) == 0);
    unlink(in_dir("checkpoint-3/model.safetensors"));
    assert_int_equal(found_step(), 1);
    assert_int_equal(save_step(2, 2, &e), ED_OK); /* a later but damaged one does not forbid it */
    assert_int_equal(found_step(), 2);
}

static void test_renamed_folder(void **state) {
    (void)state;
    ed_error e = {0};
    assert_int_equal(save_step(1, 2, &e), ED_OK);
    assert_int_equal(rename(in_dir("checkpoint-1"), in_dir("checkpoint-9")), 0);
    assert_int_equal(found_step(), -1);
    assert_int_equal(rename(in_dir("checkpoint-9"), in_dir("checkpoint-01")), 0); /* not a name of ours */
    assert_int_equal(found_step(), -1);
    assert_int_equal(rename(in_dir("checkpoint-01"), in_dir(".checkpoint-1.old")), 0); /* a crash amid a replacement */
    assert_int_equal(found_step(), 1);
    assert_int_equal(save_step(2, 2, &e), ED_OK);
    assert_true(access(in_dir("checkpoint-1"), F_OK) == 0 && access(in_dir(".checkpoint-1.old"), F_OK) != 0);
}

static void test_links_are_not_followed(void **state) {
    (void)state;
    ed_error e = {0};
    size_t n;
    assert_int_equal(save_step(1, 2, &e), ED_OK);
    char *text = get_file(in_dir("checkpoint-1/trainer_state.json"), &n);
    put_file(in_dir("outside"), text, n);
    ed__free(text);
    unlink(in_dir("checkpoint-1/trainer_state.json"));
    assert_int_equal(symlink("../outside", in_dir("checkpoint-1/trainer_state.json")), 0);
    assert_int_equal(found_step(), -1);
    /* a left-over that is a link to a folder: the link goes, the folder stays */
    assert_int_equal(mkdir(in_dir("precious"), 0700), 0);
    put_file(in_dir("precious/x"), "x", 1);
    assert_int_equal(symlink("precious", in_dir(".checkpoint-7.new")), 0);
    assert_int_equal(save_step(7, 2, &e), ED_OK);
    assert_int_equal(access(in_dir("precious/x"), F_OK), 0);
    assert_int_equal(found_step(), 7);
}

/* The process is killed at random moments while it saves without end. */
static void test_kill(void **state) {
    (void)state;
    ed_rng r = ed_rng_make(11, 0);
    int64_t last = 0;
    ed_error e = {0};
    assert_int_equal(save_step(0, 2, &e), ED_OK);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0)
            for (int64_t s = last;; s += 1 + (s & 1)) {
                if (save_step(s, 2, NULL) != ED_OK) /* the first one writes the found step again */
                    _exit(3);
            }
        usleep((useconds_t)(1000 + ed_rng_below(&r, 20000)));
        kill(child, SIGKILL);
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        assert_true(WIFSIGNALED(how));
        int64_t found = found_step();
        assert_true(found >= last);
        last = found;
    }
    assert_true(last > 0);
    assert_int_equal(save_step(last + 1, 2, &e), ED_OK);
    assert_int_equal(count_entries(dir), 3);
}

static void test_manifest_refuses(void **state) {
    (void)state;
    static const struct {
        const char *body; /* sealed by the test */
        ed_status want;
    } cases[] = {
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"a\",\"bytes\":0,\"xxh3\":\"0123456789abcdef\"}]", ED_OK},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[]", ED_OK},
        {"{\"format\":\"endec-checkpoint\",\"version\":2,\"step\":5,\"files\":[]", ED_E_UNSUPPORTED},
        {"{\"format\":\"other\",\"version\":1,\"step\":5,\"files\":[]", ED_E_FORMAT},
        {"{\"version\":1,\"step\":5,\"files\":[]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":-1,\"files\":[]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":\"5\",\"files\":[]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"files\":[]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":{}", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[1]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"../a\",\"bytes\":0,\"xxh3\":\"0123456789abcdef\"}]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"a\",\"bytes\":-1,\"xxh3\":\"0123456789abcdef\"}]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"a\",\"bytes\":0,\"xxh3\":\"0123456789ABCDEF\"}]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"a\",\"bytes\":0}]", ED_E_FORMAT},
        {"{\"format\":\"endec-checkpoint\",\"version\":1,\"step\":5,\"files\":[{\"name\":\"a\",\"bytes\":0,\"xxh3\":\"0123456789abcdef\"},"
         "{\"name\":\"a\",\"bytes\":0,\"xxh3\":\"0123456789abcdef\"}]", ED_E_FORMAT},
        {"[\"format\"", ED_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        ed__ckpt_manifest m;
        int n = snprintf(text, sizeof text - 40, "%s,\"xxh3\":\"", cases[i].body);
        n += snprintf(text + n, 40, "%016llx\"}\n", (unsigned long long)ed__hash64(text, (size_t)n, 0));
        ed_error e = {0};
        ed_status s = ed__ckpt_manifest_parse("m", text, (size_t)n, &m, &e);
        if (s != cases[i].want)
            fail_msg("%s: %s (%s)", cases[i].body, ed_status_name(s), e.message);
        ed__ckpt_manifest_free(&m);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_generations),             CASE(test_lock),           CASE(test_names),          CASE(test_failing_disk),
        CASE(test_failing_memory),          CASE(test_renamed_folder), CASE(test_manifest_refuses), CASE(test_every_damage_falls_back),
        CASE(test_damaged_does_not_count),  CASE(test_kill),           CASE(test_links_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
