/* tests/unit/fmt_util.h - what the tests of file formats share: a temporary folder, whole files, a log sink that keeps the last line. */
#ifndef FMT_UTIL_H
#define FMT_UTIL_H
#include <dirent.h>
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
#include "endec/io.h"
#include "io/tensor_file.h"

static char dir[64];

static inline const char *in_dir(const char *name) {
    static char paths[8][512];
    static int turn;
    char *p = paths[turn++ % 8];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

/* In memory where the system has it: these tests flush thousands of small files. */
static inline int make_dir(void **state) {
    (void)state;
    snprintf(dir, sizeof dir, "/dev/shm/endec-test-XXXXXX");
    if (access("/dev/shm", W_OK) == 0 && mkdtemp(dir))
        return 0;
    snprintf(dir, sizeof dir, "/tmp/endec-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* Removes what lies in the folder `path`, two levels deep, then the folder. */
static inline void remove_tree(const char *path, int depth) {
    char sub[1024];
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof sub, "%.700s/%.300s", path, e->d_name);
        if (unlink(sub) != 0 && depth > 0)
            remove_tree(sub, depth - 1);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static inline int remove_dir(void **state) {
    (void)state;
    remove_tree(dir, 3);
    return access(dir, F_OK) != 0 && ed__mem_blocks() == 0 ? 0 : -1;
}

static inline void put_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline char *get_file(const char *path, size_t *n) {
    char *data;
    assert_int_equal(ed__file_read(path, 0, &data, n, NULL), ED_OK);
    return data;
}

static inline int count_entries(const char *path) {
    int n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

/* Folder of the public data, or NULL. */
static inline const char *data_dir(void) {
    const char *d = getenv("ENDEC_DATA");
    if (!d)
        d = "../shared/data";
    if (access(d, R_OK) == 0)
        return d;
    print_message("skipped: no data\n");
    return NULL;
}
#endif
