/* io/checkpoint.h - the inside of training checkpoints, shared by manifest, writer and finder (docs/formats/checkpoint.md). */
#ifndef ED_IO_CHECKPOINT_H
#define ED_IO_CHECKPOINT_H

#include "base/internal.h"
#include "endec/io.h"

#define ED__CKPT_MANIFEST "endec-manifest.json"
enum { ED__CKPT_NAME_BYTES = 128, ED__CKPT_FILES_MAX = 4096, ED__CKPT_MANIFEST_BYTES_MAX = 1 << 20 };

typedef struct ed__ckpt_file {
    char name[ED__CKPT_NAME_BYTES];
    uint64_t bytes, xxh3;
} ed__ckpt_file;

typedef struct ed__ckpt_manifest {
    int64_t step;
    ed__ckpt_file *files; /* [n], in the order of writing, names unique */
    size_t n, cap;
} ed__ckpt_manifest;

/** One path part of [A-Za-z0-9._-], not hidden, not the manifest's own name, short enough. */
bool ed__ckpt_name_ok(const char *name);
void ed__ckpt_manifest_free(ed__ckpt_manifest *m);
/** Checks the name and appends; ED_E_INVALID for a bad or repeated name. */
ed_status ed__ckpt_manifest_add(ed__ckpt_manifest *m, const char *name, uint64_t bytes, uint64_t xxh3, ed_error *err);
/** The manifest as text, sealed with its own checksum. Free b with ed__buf_deinit in every case. */
ed_status ed__ckpt_manifest_text(const ed__ckpt_manifest *m, ed__buf *b, ed_error *err);
/** Reads a manifest and checks its seal. *m is empty on failure. */
ed_status ed__ckpt_manifest_parse(const char *where, const char *text, size_t n, ed__ckpt_manifest *m, ed_error *err);

/** Kinds of folders beside each other in an output folder. */
typedef enum ed__ckpt_kind {
    ED__CKPT_WHOLE, /* checkpoint-N */
    ED__CKPT_OLD,   /* .checkpoint-N.old: the one that a new checkpoint-N is just replacing */
    ED__CKPT_NEW,   /* .checkpoint-N.new: being written */
    ED__CKPT_GONE   /* .checkpoint-N.gone: being removed */
} ed__ckpt_kind;
typedef struct ed__ckpt_entry {
    int64_t step;
    ed__ckpt_kind kind;
} ed__ckpt_entry;
/** Path of such a folder, from ed__malloc. */
ed_status ed__ckpt_path(const char *dir, int64_t step, ed__ckpt_kind kind, char **out, ed_error *err);
/** All such folders, newest step first, WHOLE before OLD. *out: [*n], free with ed__free. */
ed_status ed__ckpt_list(const char *dir, ed__ckpt_entry **out, size_t *n, ed_error *err);
/** As ed_ckpt_verify, and the manifest must be that of `step`. */
ed_status ed__ckpt_verify_step(const char *dir, const ed__ckpt_entry *e, ed_error *err);
/** Takes the folder out of sight by one rename, then deletes it. */
ed_status ed__ckpt_remove(const char *dir, const ed__ckpt_entry *e, ed_error *err);
/** Brings the folder in order after a crash: left-overs go, a half-done replacement is finished or undone. Needs the lock. */
ed_status ed__ckpt_recover(const char *dir, ed_error *err);

#endif
