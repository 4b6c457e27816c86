/* io/fmt_checkpoint.c - writing training checkpoints, and the lock on their folder.
 * Order of events: hidden folder; each file written, flushed and renamed inside it; manifest last; folder renamed to checkpoint-N; parent flushed;
 * only then are older generations removed. At every moment before the rename the folder's checkpoints are those of before. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/tensor_file.h"

/* ---- lock */

struct ed_dir_lock {
    int fd;
};

ed_status ed_dir_lock_take(const char *dir, ed_dir_lock **out, ed_error *err) {
    char *path;
    *out = NULL;
    ED_TRY(ed__dir_make(dir, err));
    ED_TRY(ed__path_join(dir, ".endec.lock", &path, err));
    ed_dir_lock *l = ed__malloc(sizeof *l);
    ed_status s = l ? ED_OK : ed_error_set(err, ED_E_MEMORY, dir, ED_NO_OFFSET, "no memory for a lock");
    if (l)
        l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (l && l->fd < 0)
        s = ed__errno_error(err, errno, path, "open the lock");
    else if (l && flock(l->fd, LOCK_EX | LOCK_NB) != 0)
        s = errno == EWOULDBLOCK ? ed_error_set(err, ED_E_BUSY, dir, ED_NO_OFFSET, "another process is writing into this folder")
                                 : ed__errno_error(err, errno, path, "lock");
    ed__free(path);
    if (s != ED_OK && l) {
        if (l->fd >= 0)
            close(l->fd);
        ed__free(l);
        return s;
    }
    *out = l;
    return s;
}

void ed_dir_lock_release(ed_dir_lock **lock) {
    if (!lock || !*lock)
        return;
    close((*lock)->fd); /* the file stays: removing it would let two processes lock two files of one name */
    ed__free(*lock);
    *lock = NULL;
}

/* ---- writer */

struct ed_ckpt_writer {
    char *dir, *temp; /* output folder; hidden folder being filled */
    ed_dir_lock *own_lock;
    ed__ckpt_manifest manifest;
    bool made;    /* temp exists */
    ed_error bad; /* first failure: commit tells it and does nothing */
};

/* A later step that is whole must not be buried: find would load that one, not ours. */
static ed_status refuse_later(const char *dir, int64_t step, ed_error *err) {
    ed__ckpt_entry *list;
    size_t n;
    ED_TRY(ed__ckpt_list(dir, &list, &n, err));
    ed_status s = ED_OK;
    for (size_t i = 0; s == ED_OK && i < n && list[i].step > step; i++)
        if (list[i].kind == ED__CKPT_WHOLE && ed__ckpt_verify_step(dir, &list[i], NULL) == ED_OK)
            s = ed_error_set(err, ED_E_STATE, dir, ED_NO_OFFSET, "holds a checkpoint of step %lld already: resume from it, remove it, or use another folder",
                             (long long)list[i].step);
    ed__free(list);
    return s;
}

static ed_status prepare(ed_ckpt_writer *w, const char *dir, int64_t step, ed_dir_lock *lock, ed_error *err) {
    w->dir = ed__strdup(dir);
    w->manifest.step = step;
    if (!w->dir)
        return ed_error_set(err, ED_E_MEMORY, dir, ED_NO_OFFSET, "no memory for a checkpoint");
    if (!lock)
        ED_TRY(ed_dir_lock_take(dir, &w->own_lock, err));
    ED_TRY(ed__ckpt_recover(dir, err));
    ED_TRY(refuse_later(dir, step, err));
    ED_TRY(ed__ckpt_path(dir, step, ED__CKPT_NEW, &w->temp, err));
    if (mkdir(w->temp, 0777) != 0)
        return ed__errno_error(err, errno, w->temp, "make the folder");
    w->made = true;
    return ED_OK;
}

ed_status ed_ckpt_begin(const char *dir, int64_t step, ed_dir_lock *lock, ed_ckpt_writer **out, ed_error *err) {
    const int64_t most = 999999999999999999; /* 18 digits, what names are read with */
    *out = NULL;
    ED_FAIL_IF(step < 0 || step > most, ED_E_RANGE, err, "step %lld is not in 0..10^18-1", (long long)step);
    ed_ckpt_writer *w = ed__calloc(1, sizeof *w);
    ED_FAIL_IF(!w, ED_E_MEMORY, err, "no memory for a checkpoint");
    ed_status s = prepare(w, dir, step, lock, err);
    if (s != ED_OK)
        ed_ckpt_abort(&w);
    *out = w;
    return s;
}

void ed_ckpt_abort(ed_ckpt_writer **writer) {
    if (!writer || !*writer)
        return;
    ed_ckpt_writer *w = *writer;
    if (w->made)
        (void)ed__ckpt_remove(w->dir, &(ed__ckpt_entry){w->manifest.step, ED__CKPT_NEW}, NULL); /* what stays is cleared by the next begin */
    ed_dir_lock_release(&w->own_lock);
    ed__ckpt_manifest_free(&w->manifest);
    ed__free(w->dir);
    ed__free(w->temp);
    ed__free(w);
    *writer = NULL;
}

/* Keeps the first failure for commit. */
static ed_status keep(ed_ckpt_writer *w, ed_status s, const ed_error *e, ed_error *err) {
    if (s != ED_OK && w->bad.status == ED_OK) {
        w->bad = *e;
        w->bad.status = s;
    }
    if (s != ED_OK && err)
        *err = *e;
    return s;
}

/* The path of a new file of the checkpoint; its name goes to the manifest, with its sums to come. */
static ed_status new_file(ed_ckpt_writer *w, const char *name, char **path, ed_error *err) {
    *path = NULL;
    if (w->bad.status != ED_OK)
        return ed_error_set(err, ED_E_STATE, w->dir, ED_NO_OFFSET, "the checkpoint has failed already: %s", w->bad.message);
    ED_TRY(ed__ckpt_manifest_add(&w->manifest, name, 0, 0, err));
    ed_status s = ed__path_join(w->temp, name, path, err);
    if (s != ED_OK)
        w->manifest.n--;
    return s;
}

ed_status ed_ckpt_add_file(ed_ckpt_writer *w, const char *name, const void *bytes, size_t n, ed_error *err) {
    ed_error e = {0};
    char *path;
    ed_status s = new_file(w, name, &path, &e);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, bytes, n, &e);
    if (s == ED_OK) {
        w->manifest.files[w->manifest.n - 1].bytes = n;
        w->manifest.files[w->manifest.n - 1].xxh3 = ed__hash64(bytes, n, 0);
    }
    ed__free(path);
    return keep(w, s, &e, err);
}

ed_status ed_ckpt_add_tensors(ed_ckpt_writer *w, const char *name, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, ed_error *err) {
    ed_error e = {0};
    char *path;
    ed_status s = new_file(w, name, &path, &e);
    if (s == ED_OK) {
        ed__ckpt_file *f = &w->manifest.files[w->manifest.n - 1];
        s = ed__safetensors_write(path, items, n, opts, &f->bytes, &f->xxh3, &e);
    }
    ed__free(path);
    return keep(w, s, &e, err);
}

ed_status ed_ckpt_add_params(ed_ckpt_writer *w, const char *name, const ed_params *params, ed_dtype dtype, const ed_tensor_save_opts *opts, ed_error *err) {
    ed_error e = {0};
    char *path;
    ed_status s = new_file(w, name, &path, &e);
    if (s == ED_OK) {
        ed__ckpt_file *f = &w->manifest.files[w->manifest.n - 1];
        s = ed__params_write(params, path, dtype, opts, &f->bytes, &f->xxh3, &e);
    }
    ed__free(path);
    return keep(w, s, &e, err);
}

static ed_status write_manifest(ed_ckpt_writer *w, ed_error *err) {
    ed__buf text;
    char *path = NULL;
    ed_status s = ed__ckpt_manifest_text(&w->manifest, &text, err);
    if (s == ED_OK)
        s = ed__path_join(w->temp, ED__CKPT_MANIFEST, &path, err);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, text.data, text.len, err);
    ed__free(path);
    ed__buf_deinit(&text);
    return s;
}

/* temp becomes `final`; an older checkpoint of the same step waits as `old` until then, where ed_ckpt_find sees it. */
static ed_status put_in_place(ed_ckpt_writer *w, const char *final, const char *old, ed_error *err) {
    bool replaces = ed__path_exists(final);
    if (replaces)
        ED_TRY(ed__rename(final, old, err));
    ed_status s = ed__rename(w->temp, final, err);
    if (s != ED_OK) {
        if (replaces)
            (void)ed__rename(old, final, NULL); /* else the next begin does it */
        return s;
    }
    w->made = false;
    ED_TRY(ed__dir_sync(w->dir, err));
    return replaces ? ed__ckpt_remove(w->dir, &(ed__ckpt_entry){w->manifest.step, ED__CKPT_OLD}, err) : ED_OK;
}

static ed_status finish(ed_ckpt_writer *w, ed_error *err) {
    char *final = NULL, *old = NULL;
    if (w->bad.status != ED_OK)
        return ed_error_set(err, w->bad.status, w->bad.where, w->bad.offset, "%s", w->bad.message);
    ED_TRY(write_manifest(w, err));
    ed_status s = ed__ckpt_path(w->dir, w->manifest.step, ED__CKPT_WHOLE, &final, err);
    if (s == ED_OK)
        s = ed__ckpt_path(w->dir, w->manifest.step, ED__CKPT_OLD, &old, err);
    if (s == ED_OK)
        s = put_in_place(w, final, old, err);
    ed__free(final);
    ed__free(old);
    return s;
}

ed_status ed_ckpt_commit(ed_ckpt_writer **writer, int keep_n, ed_error *err) {
    ed_ckpt_writer *w = *writer;
    ed_error e = {0};
    char text[900];
    ed_status s = keep_n >= 1 ? finish(w, err) : ed_error_set(err, ED_E_INVALID, w->dir, ED_NO_OFFSET, "at least one checkpoint must be kept");
    if (s == ED_OK && ed_ckpt_prune(w->dir, keep_n, &e) != ED_OK) /* the checkpoint stands all the same */
        ed_log_line(ED_LOG_WARN, "older checkpoints were not removed: %s", ed_error_text(&e, text, sizeof text));
    ed_ckpt_abort(writer);
    return s;
}
