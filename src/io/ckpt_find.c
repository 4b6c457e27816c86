/* io/ckpt_find.c - which checkpoint to load, and which to forget. A checkpoint counts only after every byte of it was read and its checksum fits.
 * Files are read with read(2), not mapped: a failing disk then gives an error that leads to the generation before, not a signal. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "io/checkpoint.h"

enum { CHUNK_BYTES = 1 << 20 };

/* Reads the whole file; its length and hash. */
static ed_status hash_fd(int fd, const char *path, uint64_t *bytes, uint64_t *hash, ed_error *err) {
    XXH3_state_t *state = XXH3_createState();
    char *chunk = ed__malloc(CHUNK_BYTES);
    ed_status s = state && chunk ? ED_OK : ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to verify");
    if (s == ED_OK)
        XXH3_64bits_reset(state);
    for (*bytes = 0; s == ED_OK;) {
        ssize_t n = read(fd, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = ed__errno_error(err, errno, path, "read");
        if (n <= 0)
            break;
        XXH3_64bits_update(state, chunk, (size_t)n);
        *bytes += (uint64_t)n;
    }
    if (s == ED_OK)
        *hash = XXH3_64bits_digest(state);
    ed__free(chunk);
    XXH3_freeState(state);
    return s;
}

static ed_status verify_file(const char *folder, const ed__ckpt_file *f, ed_error *err) {
    char *path;
    struct stat st;
    uint64_t bytes = 0, hash = 0;
    ED_TRY(ed__path_join(folder, f->name, &path, err));
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    ed_status s = ED_OK;
    if (fd < 0)
        s = ed__errno_error(err, errno, path, "open");
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        s = ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "is not a regular file");
    else if ((uint64_t)st.st_size != f->bytes)
        s = ed_error_set(err, ED_E_FORMAT, path, (uint64_t)st.st_size, "%llu bytes, the manifest says %llu: cut off or changed",
                         (unsigned long long)st.st_size, (unsigned long long)f->bytes);
    else
        s = hash_fd(fd, path, &bytes, &hash, err);
    if (s == ED_OK && (bytes != f->bytes || hash != f->xxh3))
        s = ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "checksum does not fit the manifest: damaged");
    if (fd >= 0)
        close(fd);
    ed__free(path);
    return s;
}

static ed_status load_manifest(const char *folder, ed__ckpt_manifest *m, ed_error *err) {
    char *path, *text;
    size_t n;
    ED_TRY(ed__path_join(folder, ED__CKPT_MANIFEST, &path, err));
    ed_status s = ed__file_read(path, ED__CKPT_MANIFEST_BYTES_MAX, &text, &n, err);
    if (s == ED_OK) {
        s = ed__ckpt_manifest_parse(path, text, n, m, err);
        ed__free(text);
    }
    ed__free(path);
    return s;
}

ed_status ed_ckpt_verify(const char *path, int64_t *step, ed_error *err) {
    ed__ckpt_manifest m;
    ED_TRY(load_manifest(path, &m, err));
    ed_status s = ED_OK;
    for (size_t i = 0; s == ED_OK && i < m.n; i++)
        s = verify_file(path, &m.files[i], err);
    if (s == ED_OK && step)
        *step = m.step;
    ed__ckpt_manifest_free(&m);
    return s;
}

ed_status ed__ckpt_verify_step(const char *dir, const ed__ckpt_entry *e, ed_error *err) {
    char *path;
    int64_t step = -1;
    ED_TRY(ed__ckpt_path(dir, e->step, e->kind, &path, err));
    ed_status s = ed_ckpt_verify(path, &step, err);
    if (s == ED_OK && step != e->step)
        s = ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "the manifest is that of step %lld", (long long)step);
    ed__free(path);
    return s;
}

/* ---- find */

static bool is_candidate(const ed__ckpt_entry *e) {
    return e->kind == ED__CKPT_WHOLE || e->kind == ED__CKPT_OLD;
}

static ed_status take_newest(const char *dir, const ed__ckpt_entry *list, size_t n, char **path, int64_t *step, ed_error *err) {
    ed_error first = {0};
    for (size_t i = 0; i < n; i++) {
        ed_error e = {0};
        char text[900];
        if (!is_candidate(&list[i]))
            continue;
        ed_status s = ed__ckpt_verify_step(dir, &list[i], &e);
        if (s == ED_OK) {
            ED_TRY(ed__ckpt_path(dir, list[i].step, list[i].kind, path, err));
            if (step)
                *step = list[i].step;
            return ED_OK;
        }
        if (s == ED_E_MEMORY) /* says nothing about the checkpoint */
            return ed_error_set(err, s, e.where, ED_NO_OFFSET, "%s", e.message);
        ed_log_line(ED_LOG_WARN, "checkpoint of step %lld skipped: %s", (long long)list[i].step, ed_error_text(&e, text, sizeof text));
        if (first.status == ED_OK)
            first = e;
    }
    if (first.status == ED_OK)
        return ed_error_set(err, ED_E_NOT_FOUND, dir, ED_NO_OFFSET, "no checkpoint in this folder");
    return ed_error_set(err, ED_E_FORMAT, first.where, first.offset, "no checkpoint of the folder is whole; the newest: %s", first.message);
}

ed_status ed_ckpt_find(const char *dir, char **path, int64_t *step, ed_error *err) {
    ed__ckpt_entry *list;
    size_t n;
    *path = NULL;
    ED_TRY(ed__ckpt_list(dir, &list, &n, err));
    ed_status s = take_newest(dir, list, n, path, step, err);
    ed__free(list);
    return s;
}

void ed_ckpt_path_free(char **path) {
    if (!path)
        return;
    ed__free(*path);
    *path = NULL;
}

/* ---- forget */

ed_status ed_ckpt_prune(const char *dir, int keep, ed_error *err) {
    ed__ckpt_entry *list;
    size_t n;
    int whole = 0;
    ED_FAIL_IF(keep < 1, ED_E_INVALID, err, "at least one checkpoint must be kept, not %d", keep);
    ED_TRY(ed__ckpt_recover(dir, err));
    ED_TRY(ed__ckpt_list(dir, &list, &n, err));
    ed_status s = ED_OK;
    for (size_t i = 0; s == ED_OK && i < n; i++) {
        if (list[i].kind != ED__CKPT_WHOLE)
            continue;
        if (whole >= keep)
            s = ed__ckpt_remove(dir, &list[i], err);
        else
            whole += ed__ckpt_verify_step(dir, &list[i], NULL) == ED_OK;
    }
    ed__free(list);
    return s;
}
