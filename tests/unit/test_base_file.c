/* tests/unit/test_base_file.c - reading, paths, and the atomic save under a failure at every step: the file on disk is the old one or the new one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/internal.h"

static char dir[64];

static const char *in_dir(const char *name) {
    static char paths[4][512];
    static int turn;
    char *p = paths[turn++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

static int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/endec-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int entries(void) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

static int remove_dir(void **state) {
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (unlink(in_dir(e->d_name)) != 0)
            rmdir(in_dir(e->d_name));
    if (d)
        closedir(d);
    return rmdir(dir) == 0 && ed__mem_blocks() == 0 ? 0 : -1;
}

static void expect_content(const char *path, const char *want, size_t n) {
    char *data;
    size_t size;
    assert_int_equal(ed__file_read(path, 0, &data, &size, NULL), ED_OK);
    assert_int_equal(size, n);
    assert_memory_equal(data, want, n);
    assert_int_equal(data[size], 0);
    ed__free(data);
}

static void test_read(void **state) {
    const char *path = in_dir("a");
    ed_error e;
    ed__map m;
    char *data;
    size_t size;
    (void)state;
    assert_int_equal(ed__file_write_atomic(path, "hello", 5, &e), ED_OK);
    expect_content(path, "hello", 5);
    assert_int_equal(ed__map_open(path, 5, &m, &e), ED_OK);
    assert_true(m.size == 5 && memcmp(m.data, "hello", 5) == 0);
    ed__map_close(&m);
    ed__map_close(&m);
    assert_int_equal(ed__map_open(path, 4, &m, &e), ED_E_LIMIT);
    assert_non_null(strstr(e.message, "limit of 4"));
    assert_string_equal(e.where, path);
    assert_int_equal(ed__file_read(path, 4, &data, &size, &e), ED_E_LIMIT);
    assert_null(data);
    assert_int_equal(ed__file_write_atomic(path, NULL, 0, &e), ED_OK);
    assert_int_equal(ed__map_open(path, 0, &m, &e), ED_OK);
    assert_true(m.data != NULL && m.size == 0);
    ed__map_close(&m);
    expect_content(path, "", 0);
    ed__mem_fail_after(1, false);
    assert_int_equal(ed__file_read(path, 0, &data, &size, &e), ED_E_MEMORY);
    ed__mem_fail_after(-1, false);
}

static void test_read_grown(void **state) {
    char *data;
    size_t size;
    (void)state;
    if (!ed__path_exists("/proc/self/status"))
        skip();
    assert_int_equal(ed__file_read("/proc/self/status", 1 << 20, &data, &size, NULL), ED_OK); /* a file that tells size 0 */
    assert_true(size > 100 && memcmp(data, "Name:", 5) == 0);
    ed__free(data);
    assert_int_equal(ed__file_read("/proc/self/status", 50, &data, &size, NULL), ED_E_LIMIT);
}

static void test_not_regular(void **state) {
    ed__map m;
    ed__save *s;
    ed_error e;
    (void)state;
    assert_int_equal(ed__map_open(in_dir("absent"), 0, &m, &e), ED_E_NOT_FOUND);
    assert_string_equal(e.message, "cannot open: no such file or directory");
    assert_int_equal(ed__map_open(dir, 0, &m, &e), ED_E_IO);
    assert_string_equal(e.message, "is a folder, not a file");
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(ed__map_open(in_dir("fifo"), 0, &m, &e), ED_E_IO); /* and does not wait for a writer */
    assert_int_equal(ed__save_open(in_dir("fifo"), &s, &e), ED_E_IO);
    assert_int_equal(ed__map_open("/dev/null", 0, &m, &e), ED_E_IO);
    assert_int_equal(ed__save_open("/dev/null", &s, &e), ED_E_IO);
    assert_null(s);
    assert_int_equal(ed__save_open(dir, &s, &e), ED_E_IO);
    assert_int_equal(ed__save_open(in_dir(""), &s, &e), ED_E_INVALID);
    assert_int_equal(ed__save_open(in_dir("no/such"), &s, &e), ED_E_NOT_FOUND);
}

static void test_save(void **state) {
    const char *path = in_dir("s");
    ed__save *s;
    struct stat st;
    (void)state;
    assert_int_equal(ed__file_write_atomic(path, "old", 3, NULL), ED_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(ed__save_open(path, &s, NULL), ED_OK);
    assert_int_equal(ed__save_write(s, "new", 3), ED_OK);
    assert_int_equal(entries(), 2);
    expect_content(path, "old", 3);
    ed__save_abort(&s);
    assert_null(s);
    assert_int_equal(entries(), 1);
    expect_content(path, "old", 3);
    assert_int_equal(ed__save_open(path, &s, NULL), ED_OK);
    assert_int_equal(ed__save_write(s, "new", 3), ED_OK);
    assert_int_equal(ed__save_commit(&s, NULL), ED_OK);
    expect_content(path, "new", 3);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(entries(), 1);
}

static void test_save_link_and_long_name(void **state) {
    char name[256];
    struct stat st;
    (void)state;
    assert_int_equal(ed__file_write_atomic(in_dir("real"), "1", 1, NULL), ED_OK);
    assert_int_equal(symlink("real", in_dir("link")), 0);
    assert_int_equal(ed__file_write_atomic(in_dir("link"), "22", 2, NULL), ED_OK);
    assert_int_equal(lstat(in_dir("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    expect_content(in_dir("real"), "22", 2);
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_int_equal(ed__file_write_atomic(in_dir(name), "x", 1, NULL), ED_OK); /* the longest name there is */
    expect_content(in_dir(name), "x", 1);
}

/* Every write, flush and rename fails once in turn, with sizes below and above the buffer. */
static void test_save_torture(void **state) {
    static const size_t SIZES[] = {1, 1000, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 700001};
    char *fresh = malloc(700001);
    const char *path = in_dir("t");
    (void)state;
    assert_non_null(fresh);
    for (size_t i = 0; i < 700001; i++)
        fresh[i] = (char)(i * 31 >> 3);
    for (size_t k = 0; k < sizeof SIZES / sizeof *SIZES; k++) {
        int failures = 0;
        for (int64_t n = 1;; n++) {
            ed_error e = {0};
            ed__save *s;
            assert_int_equal(ed__file_write_atomic(path, "the old content", 15, NULL), ED_OK);
            ed__io_fail_after(n);
            assert_int_equal(ed__save_open(path, &s, &e), ED_OK);
            for (size_t at = 0; at < SIZES[k]; at += 250000)
                (void)ed__save_write(s, fresh + at, SIZES[k] - at < 250000 ? SIZES[k] - at : 250000);
            ed_status status = ed__save_commit(&s, &e);
            ed__io_fail_after(-1);
            assert_null(s);
            assert_int_equal(entries(), 1); /* no temporary file stays */
            if (status == ED_OK) {
                expect_content(path, fresh, SIZES[k]);
                break;
            }
            failures++;
            assert_int_equal(status, ED_E_IO);
            assert_int_equal(e.status, ED_E_IO);
            assert_string_equal(e.where, path);
            if (strstr(e.message, "folder")) /* after the rename: the new file stands, only its durability is in doubt */
                expect_content(path, fresh, SIZES[k]);
            else
                expect_content(path, "the old content", 15);
            if (n == 1)
                assert_string_equal(e.message, "cannot write: no space left on device");
            assert_true(n < 50);
        }
        assert_true(failures >= 4); /* write, flush, rename, flush of the folder */
    }
    free(fresh);
}

static void test_save_memory(void **state) {
    const char *path = in_dir("m");
    (void)state;
    assert_int_equal(ed__file_write_atomic(path, "old", 3, NULL), ED_OK);
    for (int64_t n = 1;; n++) {
        int64_t before = ed__mem_blocks();
        ed__mem_fail_after(n, true);
        ed_status s = ed__file_write_atomic(path, "new", 3, NULL);
        ed__mem_fail_after(-1, false);
        assert_int_equal(ed__mem_blocks(), before);
        assert_int_equal(entries(), 1);
        expect_content(path, s == ED_OK ? "new" : "old", 3);
        if (s == ED_OK)
            break;
        assert_int_equal(s, ED_E_MEMORY);
        assert_true(n < 20);
    }
}

/* The words of the system, in our sentence. */
static void test_errno_text(void **state) {
    (void)state;
    ed_error e;
    assert_int_equal(ed__errno_error(&e, ENOSPC, "p", "write"), ED_E_IO);
    assert_string_equal(e.message, "cannot write: no space left on device");
}

static void test_dirs(void **state) {
    ed_error e;
    (void)state;
    assert_int_equal(ed__dir_make(in_dir("x/y//z/"), &e), ED_OK);
    assert_true(ed__path_is_dir(in_dir("x/y/z")));
    assert_int_equal(ed__dir_make(in_dir("x/y/z"), &e), ED_OK);
    assert_int_equal(ed__dir_make("/", &e), ED_OK);
    assert_int_equal(ed__dir_make("", &e), ED_E_INVALID);
    assert_int_equal(ed__file_write_atomic(in_dir("x/f"), "1", 1, NULL), ED_OK);
    assert_int_equal(ed__dir_make(in_dir("x/f/g"), &e), ED_E_IO);
    assert_non_null(strstr(e.message, "not a directory"));
    assert_false(ed__path_is_dir(in_dir("x/f")));
    assert_true(ed__path_exists(in_dir("x/f")));
    assert_false(ed__path_exists(in_dir("x/g")));
    unlink(in_dir("x/f"));
    rmdir(in_dir("x/y/z"));
    rmdir(in_dir("x/y"));
}

static void test_join(void **state) {
    static const char *const BAD[] = {"", "/etc/passwd", "..", "../a", "a/../b", "a/..", "a//../b"};
    static const char *const GOOD[] = {"a", "a/b", "..a", "a..", "...", "./a", "a/...b"};
    char *p, want[64];
    ed_error e;
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(ed__path_join("d", BAD[i], &p, &e), ED_E_FORMAT);
        assert_null(p);
    }
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        assert_int_equal(ed__path_join("d", GOOD[i], &p, &e), ED_OK);
        snprintf(want, sizeof want, "d/%s", GOOD[i]);
        assert_string_equal(p, want);
        ed__free(p);
    }
    assert_int_equal(ed__path_join("d/", "a", &p, &e), ED_OK);
    assert_string_equal(p, "d/a");
    ed__free(p);
    assert_int_equal(ed__path_join("", "a", &p, &e), ED_OK);
    assert_string_equal(p, "a");
    ed__free(p);
}

static void test_hash(void **state) {
    (void)state;
    assert_true(ed__hash64(NULL, 0, 0) == 0x2D06800538D394C2u); /* published XXH3-64 of the empty input */
    assert_true(ed__hash64("a", 1, 0) != ed__hash64("a", 1, 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, make_dir, remove_dir),         cmocka_unit_test(test_read_grown),
        cmocka_unit_test_setup_teardown(test_not_regular, make_dir, remove_dir),  cmocka_unit_test_setup_teardown(test_save, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_save_link_and_long_name, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_save_torture, make_dir, remove_dir), cmocka_unit_test_setup_teardown(test_save_memory, make_dir, remove_dir),
        cmocka_unit_test(test_errno_text),                                      cmocka_unit_test_setup_teardown(test_dirs, make_dir, remove_dir),
        cmocka_unit_test(test_join),                                             cmocka_unit_test(test_hash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
