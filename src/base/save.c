/* base/save.c - atomic save: the new content goes to a temporary file in the same folder, is flushed to the disk, and takes the name by rename.
 * Invariants: a reader sees the old file or the new one, never a part; after any failure before the rename the old file is untouched and the temporary
 * one is gone; the first failure is kept and told by commit. A symbolic link keeps pointing: its target is replaced. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/internal.h"

enum { SAVE_BUFFER_BYTES = 1 << 18, SAVE_NAME_BYTES = 200, SAVE_TRIES = 100 };
#define SAVE_WRITE_MAX ((size_t)1 << 30) /* bytes of one write call */

struct ed__save {
    int fd;
    char *path; /* as given, for errors */
    char *target, *tmp, *dir;
    char *buffer; /* [SAVE_BUFFER_BYTES] */
    size_t used;
    ed_status status; /* first failure, with its step and reason */
    int sys_errno;
    const char *step;
};

/* ---- system calls, with the failures that tests ask for */

#ifdef ED_TEST_HOOKS
static atomic_llong io_until_failure = -1;

static bool injected_failure(void) {
    long long left = atomic_load(&io_until_failure);
    if (left < 0)
        return false;
    atomic_store(&io_until_failure, left <= 1 ? -1 : left - 1);
    return left <= 1;
}

void ed__io_fail_after(int64_t n) {
    atomic_store(&io_until_failure, n < 0 ? -1 : n);
}
#else
static bool injected_failure(void) {
    return false;
}

void ed__io_fail_after(int64_t n) {
    (void)n;
}
#endif

static ssize_t sys_write(int fd, const void *p, size_t n) {
    if (injected_failure()) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, p, n < SAVE_WRITE_MAX ? n : SAVE_WRITE_MAX);
}

static int sys_fsync(int fd) {
    if (injected_failure()) {
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static int sys_rename(const char *from, const char *to) {
    if (injected_failure()) {
        errno = EIO;
        return -1;
    }
    return rename(from, to);
}

/* ---- open */

static void save_free(ed__save *s) {
    ed__free(s->path);
    ed__free(s->target);
    ed__free(s->tmp);
    ed__free(s->dir);
    ed__free(s->buffer);
    ed__free(s);
}

/* The file that gets replaced: path itself, or what the link at path leads to. */
static char *resolve_target(const char *path) {
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        char *real = realpath(path, NULL), *copy = real ? ed__strdup(real) : NULL;
        free(real);
        if (copy)
            return copy;
    }
    return ed__strdup(path);
}

/* Bytes of `name` that fit into the temporary name, cut between characters. */
static int name_prefix(const char *name) {
    size_t n = strlen(name);
    if (n > SAVE_NAME_BYTES) {
        n = SAVE_NAME_BYTES;
        while (n > 1 && ((unsigned char)name[n] & 0xC0) == 0x80)
            n--;
    }
    return (int)n;
}

static ed_status open_temp(ed__save *s, const char *name, mode_t mode, ed_error *err) {
    static atomic_uint serial;
    size_t bytes = strlen(s->dir) + SAVE_NAME_BYTES + 64;
    s->tmp = ed__malloc(bytes);
    if (!s->tmp)
        return ed_error_set(err, ED_E_MEMORY, s->path, ED_NO_OFFSET, "no memory to save");
    for (int i = 0; i < SAVE_TRIES; i++) {
        unsigned n = atomic_fetch_add(&serial, 1);
        snprintf(s->tmp, bytes, "%s/.%.*s.tmp.%ld.%u", s->dir, name_prefix(name), name, (long)getpid(), n);
        s->fd = open(s->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (s->fd >= 0)
            return ED_OK;
        if (errno != EEXIST)
            break;
    }
    return ed__errno_error(err, errno, s->path, "make a temporary file beside it");
}

static ed_status save_prepare(ed__save *s, const char *path, ed_error *err) {
    struct stat st;
    s->path = ed__strdup(path);
    s->target = resolve_target(path);
    s->buffer = ed__malloc(SAVE_BUFFER_BYTES);
    if (!s->path || !s->target || !s->buffer)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to save");
    const char *slash = strrchr(s->target, '/'), *name = slash ? slash + 1 : s->target;
    if (*name == '\0')
        return ed_error_set(err, ED_E_INVALID, path, ED_NO_OFFSET, "a file needs a name");
    bool old = stat(s->target, &st) == 0;
    if (old && !S_ISREG(st.st_mode))
        return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, S_ISDIR(st.st_mode) ? "is a folder, not a file" : "is not a regular file");
    s->dir = slash ? ed__strndup(s->target, slash == s->target ? 1 : (size_t)(slash - s->target)) : ed__strdup(".");
    if (!s->dir)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to save");
    ED_TRY(open_temp(s, name, 0666, err));
    if (old)
        (void)!fchmod(s->fd, st.st_mode & 0777); /* the new file keeps the old one's access rights where the system allows it */
    return ED_OK;
}

ed_status ed__save_open(const char *path, ed__save **out, ed_error *err) {
    *out = NULL;
    ed__save *s = ed__calloc(1, sizeof *s);
    if (!s)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to save");
    s->fd = -1;
    ed_status status = save_prepare(s, path, err);
    if (status != ED_OK) {
        save_free(s);
        return status;
    }
    *out = s;
    return ED_OK;
}

/* ---- write */

static ed_status keep_failure(ed__save *s, const char *step) {
    if (s->status == ED_OK) {
        s->sys_errno = errno;
        s->status = ED_E_IO;
        s->step = step;
    }
    return s->status;
}

static ed_status write_out(ed__save *s, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = sys_write(s->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done == 0)
            errno = EIO;
        if (done <= 0)
            return keep_failure(s, "write");
        p += done;
        n -= (size_t)done;
    }
    return ED_OK;
}

static ed_status flush(ed__save *s) {
    size_t n = s->used;
    s->used = 0;
    return write_out(s, s->buffer, n);
}

ed_status ed__save_write(ed__save *s, const void *data, size_t n) {
    if (s->status != ED_OK || n == 0)
        return s->status;
    if (n > SAVE_BUFFER_BYTES - s->used) {
        ED_TRY(flush(s));
        if (n >= SAVE_BUFFER_BYTES)
            return write_out(s, data, n);
    }
    memcpy(s->buffer + s->used, data, n);
    s->used += n;
    return ED_OK;
}

/* ---- commit, abort */

/* Makes the rename itself durable. Some file systems cannot flush a folder, and some folders may be written but not opened: nothing to do then. */
static ed_status flush_dir(ed__save *s) {
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? ED_OK : keep_failure(s, "open the folder of");
    if (sys_fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        keep_failure(s, "flush the folder of");
    close(fd);
    return s->status;
}

static ed_status close_temp(ed__save *s) {
    int fd = s->fd;
    s->fd = -1;
    if (fd >= 0 && close(fd) != 0 && errno != EINTR) /* network file systems tell a full disk here */
        return keep_failure(s, "write");
    return s->status;
}

static ed_status finish(ed__save *s) {
    ED_TRY(s->status);
    ED_TRY(flush(s));
    if (sys_fsync(s->fd) != 0)
        return keep_failure(s, "flush to disk");
    ED_TRY(close_temp(s));
    if (sys_rename(s->tmp, s->target) != 0)
        return keep_failure(s, "rename the temporary file to");
    s->tmp[0] = '\0'; /* nothing left to unlink */
    return flush_dir(s);
}

ed_status ed__save_commit(ed__save **save, ed_error *err) {
    ed__save *s = *save;
    ed_status status = finish(s);
    if (status != ED_OK)
        status = ed__errno_error(err, s->sys_errno, s->path, s->step);
    ed__save_abort(save);
    return status;
}

void ed__save_abort(ed__save **save) {
    if (!save || !*save)
        return;
    ed__save *s = *save;
    (void)close_temp(s);
    if (s->tmp[0])
        unlink(s->tmp);
    save_free(s);
    *save = NULL;
}

ed_status ed__rename(const char *from, const char *to, ed_error *err) {
    return sys_rename(from, to) == 0 ? ED_OK : ed__errno_error(err, errno, from, "rename");
}

ed_status ed__dir_sync(const char *dir, ed_error *err) {
    ed_status status = ED_OK;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? ED_OK : ed__errno_error(err, errno, dir, "open the folder");
    if (sys_fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
        status = ed__errno_error(err, errno, dir, "flush the folder");
    close(fd);
    return status;
}

ed_status ed__file_write_atomic(const char *path, const void *data, size_t n, ed_error *err) {
    ed__save *s;
    ED_TRY(ed__save_open(path, &s, err));
    (void)ed__save_write(s, data, n); /* a failure is kept and told by commit */
    return ed__save_commit(&s, err);
}
