/* base/file.c - reading whole files (mapped or copied), folders and paths. Writing stands in save.c.
 * Invariants: only regular files are read (a FIFO or device would block or never end); the limit is checked before memory is taken; every error
 * names the path, the step and the system's reason. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/internal.h"

enum { READ_SLACK = 64, PATH_BYTES_MAX = 65536 };

/* An empty file maps to this: a valid address with nothing to read. */
static const unsigned char EMPTY[1];

ed_status ed__errno_error(ed_error *err, int sys_errno, const char *path, const char *step) {
    char reason[128];
    snprintf(reason, sizeof reason, "%s", strerror(sys_errno));
    if (reason[0] >= 'A' && reason[0] <= 'Z' && reason[1] >= 'a' && reason[1] <= 'z')
        reason[0] = (char)(reason[0] - 'A' + 'a');
    ed_status s = sys_errno == ENOENT ? ED_E_NOT_FOUND : sys_errno == ENOMEM ? ED_E_MEMORY : ED_E_IO;
    return ed_error_set(err, s, path, ED_NO_OFFSET, "cannot %s: %s", step, reason);
}

/* Opens a regular file of at most max_bytes (0 = no limit). O_NONBLOCK: opening a FIFO must not wait for its other end. */
static ed_status open_regular(const char *path, size_t max_bytes, int *fd_out, size_t *size, ed_error *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return ed__errno_error(err, errno, path, "open");
    ed_status s = ED_OK;
    if (fstat(fd, &st) != 0)
        s = ed__errno_error(err, errno, path, "read its size");
    else if (!S_ISREG(st.st_mode))
        s = ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, S_ISDIR(st.st_mode) ? "is a folder, not a file" : "is not a regular file");
    else if ((uint64_t)st.st_size > SIZE_MAX - READ_SLACK)
        s = ed_error_set(err, ED_E_LIMIT, path, ED_NO_OFFSET, "too large for this machine's address space");
    else if (max_bytes && (uint64_t)st.st_size > max_bytes)
        s = ed_error_set(err, ED_E_LIMIT, path, ED_NO_OFFSET, "%llu bytes, above the limit of %zu", (unsigned long long)st.st_size, max_bytes);
    if (s != ED_OK) {
        close(fd);
        return s;
    }
    *fd_out = fd;
    *size = (size_t)st.st_size;
    return ED_OK;
}

/* Reads to the end of the file, which may have grown or shrunk since its size was asked. */
static ed_status read_all(int fd, const char *path, size_t size_hint, size_t max_bytes, char **data, size_t *size, ed_error *err) {
    size_t cap = 0, len = 0, most = max_bytes && max_bytes < SIZE_MAX - READ_SLACK ? max_bytes + READ_SLACK : SIZE_MAX;
    char *p = NULL;
    ed_status s = ed__grow((void **)&p, &cap, size_hint + 2, 1, most);
    while (s == ED_OK) {
        ssize_t n = read(fd, p + len, cap - len - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = ed__errno_error(err, errno, path, "read");
        if (n <= 0)
            break;
        len += (size_t)n;
        if (max_bytes && len > max_bytes) {
            s = ed_error_set(err, ED_E_LIMIT, path, ED_NO_OFFSET, "more than the limit of %zu bytes", max_bytes);
            break;
        }
        if (cap - len < 2)
            s = ed__grow((void **)&p, &cap, cap + 1, 1, most);
    }
    if (s != ED_OK) {
        if (s == ED_E_MEMORY)
            ed_error_set(err, s, path, ED_NO_OFFSET, "no memory for %zu bytes", size_hint);
        ed__free(p);
        return s;
    }
    p[len] = '\0';
    *data = p;
    *size = len;
    return ED_OK;
}

ed_status ed__file_read(const char *path, size_t max_bytes, char **data, size_t *size, ed_error *err) {
    int fd = -1;
    size_t hint = 0;
    *data = NULL;
    *size = 0;
    ED_TRY(open_regular(path, max_bytes, &fd, &hint, err));
    ed_status s = read_all(fd, path, hint, max_bytes, data, size, err);
    close(fd);
    return s;
}

ed_status ed__map_open(const char *path, size_t max_bytes, ed__map *out, ed_error *err) {
    int fd = -1;
    size_t size = 0;
    char *copy = NULL;
    *out = (ed__map){EMPTY, 0, false};
    ED_TRY(open_regular(path, max_bytes, &fd, &size, err));
    void *p = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    ed_status s = ED_OK;
    if (p != MAP_FAILED)
        *out = (ed__map){p, size, true};
    else if ((s = read_all(fd, path, size, max_bytes, &copy, &size, err)) == ED_OK)
        *out = (ed__map){(unsigned char *)copy, size, false};
    close(fd);
    return s;
}

void ed__map_close(ed__map *m) {
    if (m->mapped)
        munmap((void *)m->data, m->size);
    else if (m->data != EMPTY)
        ed__free((void *)m->data);
    *m = (ed__map){EMPTY, 0, false};
}

bool ed__path_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool ed__path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static ed_status make_one_dir(const char *path, ed_error *err) {
    if (mkdir(path, 0777) == 0)
        return ED_OK;
    int why = errno; /* a read-only parent answers EROFS or EACCES for a folder that exists */
    if (ed__path_is_dir(path))
        return ED_OK;
    if (why == EEXIST)
        why = ENOTDIR;
    return ed__errno_error(err, why, path, "make folder");
}

ed_status ed__dir_make(const char *path, ed_error *err) {
    if (path[0] == '\0')
        return ed_error_set(err, ED_E_INVALID, path, ED_NO_OFFSET, "a folder needs a name");
    char *p = ed__strdup(path);
    if (!p)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for a path");
    ed_status s = ED_OK;
    for (char *c = p + 1; s == ED_OK && *c; c++) {
        if (*c != '/' || c[-1] == '/')
            continue;
        *c = '\0';
        s = make_one_dir(p, err);
        *c = '/';
    }
    if (s == ED_OK)
        s = make_one_dir(p, err);
    ed__free(p);
    return s;
}

/* Is one part between slashes ".."? */
static bool has_parent_part(const char *name) {
    while (*name) {
        size_t n = strcspn(name, "/");
        if (n == 2 && name[0] == '.' && name[1] == '.')
            return true;
        name += n + (name[n] == '/');
    }
    return false;
}

ed_status ed__path_join(const char *dir, const char *name, char **out, ed_error *err) {
    *out = NULL;
    size_t dir_len = strlen(dir), name_len = strlen(name);
    if (name_len == 0 || name[0] == '/' || has_parent_part(name))
        return ed_error_set(err, ED_E_FORMAT, name, ED_NO_OFFSET, "not a plain name inside '%.100s' (empty, absolute or with '..')", dir);
    if (dir_len > PATH_BYTES_MAX || name_len > PATH_BYTES_MAX)
        return ed_error_set(err, ED_E_LIMIT, name, ED_NO_OFFSET, "path longer than %d bytes", PATH_BYTES_MAX);
    char *p = ed__malloc(dir_len + name_len + 2);
    if (!p)
        return ed_error_set(err, ED_E_MEMORY, name, ED_NO_OFFSET, "no memory for a path");
    snprintf(p, dir_len + name_len + 2, "%s%s%s", dir, dir_len && dir[dir_len - 1] != '/' ? "/" : "", name);
    *out = p;
    return ED_OK;
}
