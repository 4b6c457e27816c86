/* io/ckpt_folder.c - the output folder of a training run: its checkpoints, their removal, and order after a crash. See io/checkpoint.h for the names.
 * Invariant: what is named checkpoint-N was complete when it got the name, and loses the name by one rename; everything half-done is hidden. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/checkpoint.h"

enum { ENTRIES_MAX = 1 << 20, STEP_DIGITS_MAX = 18 };
static const char *const SUFFIX[] = {"", ".old", ".new", ".gone"};

ed_status ed__ckpt_path(const char *dir, int64_t step, ed__ckpt_kind kind, char **out, ed_error *err) {
    char name[64];
    snprintf(name, sizeof name, "%scheckpoint-%lld%s", kind == ED__CKPT_WHOLE ? "" : ".", (long long)step, SUFFIX[kind]);
    return ed__path_join(dir, name, out, err);
}

/* Exactly the names that ed__ckpt_path makes. */
static bool parse_name(const char *name, ed__ckpt_entry *e) {
    static const char stem[] = "checkpoint-";
    bool hidden = name[0] == '.';
    name += hidden;
    if (strncmp(name, stem, sizeof stem - 1) != 0)
        return false;
    name += sizeof stem - 1;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || digits > STEP_DIGITS_MAX || (digits > 1 && name[0] == '0'))
        return false;
    e->step = strtoll(name, NULL, 10);
    for (int k = hidden ? ED__CKPT_OLD : ED__CKPT_WHOLE; k <= (hidden ? ED__CKPT_GONE : ED__CKPT_WHOLE); k++)
        if (strcmp(name + digits, SUFFIX[k]) == 0) {
            e->kind = (ed__ckpt_kind)k;
            return true;
        }
    return false;
}

static int compare_entries(const void *a, const void *b) {
    const ed__ckpt_entry *x = a, *y = b;
    if (x->step != y->step)
        return x->step > y->step ? -1 : 1;
    return (int)x->kind - (int)y->kind;
}

ed_status ed__ckpt_list(const char *dir, ed__ckpt_entry **out, size_t *n, ed_error *err) {
    size_t cap = 0;
    ed_status s = ED_OK;
    *out = NULL;
    *n = 0;
    DIR *d = opendir(dir);
    if (!d)
        return ed__errno_error(err, errno, dir, "open the folder");
    for (struct dirent *e; s == ED_OK && (e = readdir(d)) != NULL;) {
        ed__ckpt_entry entry;
        if (!parse_name(e->d_name, &entry))
            continue;
        s = ed__grow((void **)out, &cap, *n + 1, sizeof **out, ENTRIES_MAX);
        if (s == ED_OK)
            (*out)[(*n)++] = entry;
        else
            ed_error_set(err, s, dir, ED_NO_OFFSET, "too many checkpoints to list");
    }
    closedir(d);
    if (s == ED_OK && *n > 0)
        qsort(*out, *n, sizeof **out, compare_entries);
    if (s != ED_OK) {
        ed__free(*out);
        *out = NULL;
        *n = 0;
    }
    return s;
}

/* ---- removing */

/* Deletes a folder of plain files (a link is deleted, not followed). */
static ed_status delete_folder(const char *path, ed_error *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || unlink(path) == 0 ? ED_OK : ed__errno_error(err, errno, path, "remove");
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return ed__errno_error(err, ENOMEM, path, "list the folder");
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(fd, e->d_name, 0); /* what stays makes rmdir fail */
    closedir(d);
    return rmdir(path) == 0 ? ED_OK : ed__errno_error(err, errno, path, "remove the folder");
}

ed_status ed__ckpt_remove(const char *dir, const ed__ckpt_entry *e, ed_error *err) {
    char *from = NULL, *gone = NULL;
    ed_status s = ed__ckpt_path(dir, e->step, e->kind, &from, err);
    if (s == ED_OK)
        s = ed__ckpt_path(dir, e->step, ED__CKPT_GONE, &gone, err);
    if (s == ED_OK && e->kind == ED__CKPT_WHOLE) {
        s = delete_folder(gone, err);
        if (s == ED_OK)
            s = ed__rename(from, gone, err);
        if (s == ED_OK)
            s = delete_folder(gone, err);
    } else if (s == ED_OK) {
        s = delete_folder(from, err);
    }
    ed__free(from);
    ed__free(gone);
    return s;
}

/* ---- order after a crash */

/* checkpoint-N was being replaced. The new one stays if it is whole; otherwise the old one comes back, unless it is the damaged one. */
static ed_status settle_pair(const char *dir, const ed__ckpt_entry *old, const char *old_path, const char *whole_path, ed_error *err) {
    ed__ckpt_entry whole = {old->step, ED__CKPT_WHOLE};
    if (!ed__path_exists(whole_path))
        return ed__rename(old_path, whole_path, err);
    ed_status new_state = ed__ckpt_verify_step(dir, &whole, err);
    if (new_state == ED_E_MEMORY)
        return new_state;
    ed_status old_state = new_state == ED_OK ? ED_E_FORMAT : ed__ckpt_verify_step(dir, old, err);
    if (old_state == ED_E_MEMORY)
        return old_state;
    if (old_state != ED_OK)
        return ed__ckpt_remove(dir, old, err);
    ED_TRY(ed__ckpt_remove(dir, &whole, err));
    return ed__rename(old_path, whole_path, err);
}

static ed_status settle_old(const char *dir, const ed__ckpt_entry *old, ed_error *err) {
    char *from = NULL, *to = NULL;
    ed_status s = ed__ckpt_path(dir, old->step, ED__CKPT_OLD, &from, err);
    if (s == ED_OK)
        s = ed__ckpt_path(dir, old->step, ED__CKPT_WHOLE, &to, err);
    if (s == ED_OK)
        s = settle_pair(dir, old, from, to, err);
    ed__free(from);
    ed__free(to);
    return s;
}

ed_status ed__ckpt_recover(const char *dir, ed_error *err) {
    ed__ckpt_entry *e;
    size_t n;
    ED_TRY(ed__ckpt_list(dir, &e, &n, err));
    ed_status s = ED_OK;
    for (size_t i = 0; s == ED_OK && i < n; i++) {
        if (e[i].kind == ED__CKPT_OLD)
            s = settle_old(dir, &e[i], err);
        else if (e[i].kind != ED__CKPT_WHOLE)
            s = ed__ckpt_remove(dir, &e[i], err);
    }
    ed__free(e);
    return s;
}
