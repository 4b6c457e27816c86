/* endec/io.h - model files: safetensors (one file or shards), llama2.c v0, training checkpoints, and parameters from and to them.
 *
 * One view serves every weight format: an `ed_tensor_file` is a list of named tensors that point into a read-only mapping of the file.
 * Everything in a file is checked before it is used (docs/limits.md has the limits, docs/formats/ the layouts): a damaged, cut or hostile file is
 * refused with the file, the tensor and the byte named; it never crashes and never makes the library allocate by its word.
 * Files stay mapped while they are open: nothing may cut one short meanwhile (Endec itself never writes into a file in place).
 * Saving is atomic: after a crash or on a full disk the old file is still there, whole. */
#ifndef ENDEC_IO_H
#define ENDEC_IO_H

#include "endec/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ element formats of files */

/** In the order in which safetensors writers lay tensors out (highest first). All little-endian. */
typedef enum ed_file_dtype {
    ED_FILE_BOOL,
    ED_FILE_U8,
    ED_FILE_I8,
    ED_FILE_F8_E5M2,
    ED_FILE_F8_E4M3,
    ED_FILE_I16,
    ED_FILE_U16,
    ED_FILE_F16,
    ED_FILE_BF16,
    ED_FILE_I32,
    ED_FILE_U32,
    ED_FILE_F32,
    ED_FILE_F64,
    ED_FILE_I64,
    ED_FILE_U64,
    ED_FILE_DTYPE_COUNT
} ed_file_dtype;
ED_API const char *ed_file_dtype_name(ed_file_dtype d); /* "F32", ...; "?" when out of range */
ED_API size_t ed_file_dtype_bytes(ed_file_dtype d);     /* bytes per element, 0 when out of range */
/** The file format that holds a tensor format without change. */
ED_API ed_file_dtype ed_file_dtype_of(ed_dtype d);

/* ------------------------------------------------------------------ reading */

/** Limits of readers (docs/limits.md). Raise them for files you trust. */
typedef struct ed_io_limits {
    size_t max_header_bytes;   /* of one safetensors header or shard index: 100,000,000 */
    int64_t max_tensors;       /* of one file or folder: 4,194,304 */
    size_t max_name_bytes;     /* of a tensor name or metadata key: 65,536 */
    size_t max_metadata_bytes; /* of one metadata value: 64 MiB */
    int64_t max_shards;        /* 4096 */
    int64_t max_dim;           /* of one axis: 2^40 */
} ed_io_limits;
ED_API ed_io_limits ed_io_limits_default(void);

typedef struct ed_tensor_file_opts {
    bool verify;         /* check the checksums that Endec writes, when the file has them (reads all bytes once, in parallel). Default true */
    bool follow_links;   /* shards named by an index file may be symbolic links or have several names (a Hugging Face cache). Default false */
    ed_io_limits limits;
} ed_tensor_file_opts;
ED_API ed_tensor_file_opts ed_tensor_file_opts_default(void);

/** One tensor of a file. `data` is only as aligned as the file makes it: use ed_file_tensor_read, or memcpy. */
typedef struct ed_file_tensor {
    const char *name;
    const void *data;   /* [shape], row-major, `bytes` long, read-only, valid until the file is closed */
    uint64_t bytes;
    uint64_t offset;    /* of the first byte, in its file */
    int64_t shape[ED_MAX_RANK];
    ed_file_dtype dtype;
    int16_t rank;       /* 0..8; 0 = a single number */
    int16_t shard;      /* which file of the folder, 0 for a single file */
} ed_file_tensor;

typedef struct ed_tensor_file ed_tensor_file;
/** Opens a safetensors file, or a folder that holds model.safetensors or model.safetensors.index.json with its shards. Never follows names out of
 *  the folder. opts NULL = defaults. ED_E_NOT_FOUND: no such file; ED_E_FORMAT: malformed or damaged (err: file, byte, tensor); ED_E_LIMIT. */
ED_API ed_status ed_tensor_file_open(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err);
ED_API void ed_tensor_file_close(ed_tensor_file **file);
ED_API const char *ed_tensor_file_path(const ed_tensor_file *file);
/** Tensors in the order of their bytes (shard after shard). */
ED_API int64_t ed_tensor_file_count(const ed_tensor_file *file);
ED_API const ed_file_tensor *ed_tensor_file_at(const ed_tensor_file *file, int64_t i);
ED_API const ed_file_tensor *ed_tensor_file_find(const ed_tensor_file *file, const char *name); /* NULL when absent */

typedef struct ed_metadata {
    const char *key, *value; /* UTF-8 */
} ed_metadata;
/** String metadata, sorted by key (of the first shard). */
ED_API int64_t ed_tensor_file_metadata_count(const ed_tensor_file *file);
ED_API ed_metadata ed_tensor_file_metadata_at(const ed_tensor_file *file, int64_t i);
ED_API const char *ed_tensor_file_metadata(const ed_tensor_file *file, const char *key); /* NULL when absent */

ED_API int64_t ed_file_tensor_numel(const ed_file_tensor *t);
/** "F32[2, 3, 64]". Returns buf. */
ED_API const char *ed_file_tensor_text(const ed_file_tensor *t, char *buf, size_t buf_bytes);
/** Converts elements [first, first+count) to `to`. out: [count]. Floats to floats (rounded to nearest even); integers and BOOL to themselves; any
 *  integer to I32 when its value fits (ED_E_RANGE). Anything else: ED_E_DTYPE. Nothing is written on failure. */
ED_API ed_status ed_file_tensor_read(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, void *out, ed_error *err);

/* ------------------------------------------------------------------ writing */

/** Produces `bytes` bytes from byte `offset` of a tensor. Called in rising order over the whole tensor, twice when checksums are written: both runs
 *  must give the same bytes. */
typedef ed_status (*ed_tensor_read_fn)(void *user, uint64_t offset, void *out, size_t bytes, ed_error *err);
typedef struct ed_tensor_item {
    const char *name;
    ed_file_dtype dtype;
    int rank;
    int64_t shape[ED_MAX_RANK];
    const void *data;       /* [shape] row-major; or NULL and `read` */
    ed_tensor_read_fn read; /* streams the bytes, for tensors that are converted while they are written */
    void *user;
} ed_tensor_item;
/** The item that writes a file tensor again, byte for byte. */
ED_API ed_tensor_item ed_tensor_item_of(const ed_file_tensor *t);

typedef struct ed_tensor_save_opts {
    bool checksums;              /* XXH3-64 of header and tensors, in the metadata key "endec.xxh3". Default true */
    const ed_metadata *metadata; /* [n_metadata]; a key "endec.xxh3" among them is left out */
    int64_t n_metadata;
} ed_tensor_save_opts;
ED_API ed_tensor_save_opts ed_tensor_save_opts_default(void);
/** Writes a safetensors file atomically, laid out as Hugging Face's library does (by format, then name). At no time is a second copy of the data in
 *  memory. ED_E_INVALID for empty, repeated or over-long names and bad shapes. */
ED_API ed_status ed_tensor_file_save(const char *path, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, ed_error *err);

/* ------------------------------------------------------------------ parameters */

/** Writes the file's name of a parameter to buf (NUL-terminated). False: this parameter is not in the file and keeps its values. */
typedef bool (*ed_param_name_fn)(void *user, const char *param_name, char *buf, size_t buf_bytes);
typedef struct ed_params_load_opts {
    bool strict;          /* a parameter without a tensor, or a tensor without a parameter, is an error. Default true */
    const char *ignore;   /* ed_name_match patterns of tensors that are no parameters. Default "llama2c.*" */
    ed_param_name_fn map; /* NULL: same names */
    void *user;
} ed_params_load_opts;
ED_API ed_params_load_opts ed_params_load_opts_default(void);
/** Fills parameters from a file, converting to each parameter's format. All or nothing: everything is checked before the first number is copied.
 *  ED_E_NOT_FOUND: missing or extra tensors (counted, the first ones named); ED_E_SHAPE: names the tensor and both shapes; ED_E_DTYPE. */
ED_API ed_status ed_params_load(ed_params *params, const ed_tensor_file *file, const ed_params_load_opts *opts, ed_error *err);
/** Writes all parameters. dtype ED_DTYPE_COUNT: as they are; F32, F64, BF16, F16: float parameters are converted while they are written. */
ED_API ed_status ed_params_save(const ed_params *params, const char *path, ed_dtype dtype, const ed_tensor_save_opts *opts, ed_error *err);

/* ------------------------------------------------------------------ llama2.c v0 */

typedef struct ed_llama2c_config {
    int32_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
    bool shared_classifier; /* the embedding is also the output matrix */
} ed_llama2c_config;
/** Opens a llama2.c v0 file as a tensor file with Llama's canonical names (docs/formats/llama2c.md); the two RoPE tables are "llama2c.rope_real" and
 *  "llama2c.rope_imag". RoPE pairs are interleaved (2i, 2i+1); rows are not permuted. The metadata key "llama2c.config" carries the header, so
 *  that a copy of the tensors as safetensors can be turned back. */
ED_API ed_status ed_llama2c_open(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_llama2c_config *config, ed_error *err);
/** Writes a llama2.c v0 file. config NULL: from the metadata key "llama2c.config". Tensors of any float format are written as F32. RoPE tables that
 *  the file lacks are computed (base 10000). A file from ed_llama2c_open, saved as safetensors and back, gives the same bytes. */
ED_API ed_status ed_llama2c_save(const char *path, const ed_tensor_file *file, const ed_llama2c_config *config, ed_error *err);

/* ------------------------------------------------------------------ training checkpoints */

/** Exclusive use of an output folder by one process. Taken by ed_ckpt_begin on its own when no lock is passed. ED_E_BUSY: another holds it. */
typedef struct ed_dir_lock ed_dir_lock;
ED_API ed_status ed_dir_lock_take(const char *dir, ed_dir_lock **out, ed_error *err); /* makes the folder when absent */
ED_API void ed_dir_lock_release(ed_dir_lock **lock);

/** Writes DIR/checkpoint-STEP: all files go to a hidden folder, each flushed to the disk; the manifest with lengths and checksums comes last; then
 *  the folder gets its name. Before that moment nothing old is touched; a failure or crash at any point loses nothing that was complete. */
typedef struct ed_ckpt_writer ed_ckpt_writer;
/** lock: NULL, or the caller's lock on the same folder (borrowed). ED_E_STATE when an intact checkpoint of a later step is there. */
ED_API ed_status ed_ckpt_begin(const char *dir, int64_t step, ed_dir_lock *lock, ed_ckpt_writer **out, ed_error *err);
/** name: one path part of [A-Za-z0-9._-], not starting with '.', used once. */
ED_API ed_status ed_ckpt_add_file(ed_ckpt_writer *w, const char *name, const void *bytes, size_t n, ed_error *err);
ED_API ed_status ed_ckpt_add_tensors(ed_ckpt_writer *w, const char *name, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, ed_error *err);
ED_API ed_status ed_ckpt_add_params(ed_ckpt_writer *w, const char *name, const ed_params *params, ed_dtype dtype, const ed_tensor_save_opts *opts, ed_error *err);
/** Makes the checkpoint stand, then removes generations beyond the newest `keep` (>= 1; 2 is the usual choice). Ends the writer in every case. */
ED_API ed_status ed_ckpt_commit(ed_ckpt_writer **w, int keep, ed_error *err);
ED_API void ed_ckpt_abort(ed_ckpt_writer **w);

/** Checks one checkpoint folder: manifest, presence, length and checksum of every file. step may be NULL. */
ED_API ed_status ed_ckpt_verify(const char *path, int64_t *step, ed_error *err);
/** The newest checkpoint of DIR that is complete and verifies. A damaged one is skipped with a warning that says why (ed_log). ED_E_NOT_FOUND: there
 *  is none at all; ED_E_FORMAT: there are some, but none verifies (the reason is the newest one's). *path: free with ed_ckpt_path_free. */
ED_API ed_status ed_ckpt_find(const char *dir, char **path, int64_t *step, ed_error *err);
ED_API void ed_ckpt_path_free(char **path);
/** Removes checkpoints older than the newest `keep` (>= 1) that verify, and left-overs of broken saves. Call it while holding the folder's lock and
 *  while no writer of the folder is open. */
ED_API ed_status ed_ckpt_prune(const char *dir, int keep, ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
