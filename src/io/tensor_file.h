/* io/tensor_file.h - the inside of an open tensor file, shared by the format readers of this folder. */
#ifndef ED_IO_TENSOR_FILE_H
#define ED_IO_TENSOR_FILE_H

#include "base/internal.h"
#include "endec/io.h"

/** One mapped file of a tensor file, with the text (names, metadata) that was decoded from it. */
typedef struct ed__shard {
    char *path;
    ed__map map;
    char *text;
    bool borrowed; /* map belongs to the caller (parsing from memory) */
} ed__shard;

struct ed_tensor_file {
    char *path;
    ed__shard *shards; /* [n_shards] */
    int64_t n_shards;
    ed_file_tensor *tensors; /* [n], in byte order, shard after shard */
    int64_t n;
    const ed_file_tensor **by_name; /* [n], sorted by name */
    ed_metadata *metadata;          /* [n_metadata], sorted by key, of shard 0 */
    int64_t n_metadata;
};

#define ED__XXH3_KEY "endec.xxh3"

/** Empty file object with room for n_shards; close it with ed_tensor_file_close. */
ed_status ed__tensor_file_new(const char *path, int64_t n_shards, ed_tensor_file **out, ed_error *err);
/** Sorts the names; a name that stands twice is ED_E_FORMAT. */
ed_status ed__tensor_file_index(ed_tensor_file *f, ed_error *err);
/** Elements of a shape; false when rank or an axis is out of range or rank/product overflow. */
bool ed__shape_numel(int rank, const int64_t *shape, int64_t max_dim, int64_t *numel);
/** "[2, 3]" */
const char *ed__dims_text(int rank, const int64_t *shape, char *buf, size_t buf_bytes);

/** A parsed safetensors image: what one shard gives. Arrays are owned by the caller after success. */
typedef struct ed__st_image {
    ed_file_tensor *tensors;
    int64_t n;
    ed_metadata *metadata;
    int64_t n_metadata;
    char *text;
} ed__st_image;
/** Parses and checks a whole safetensors image in memory. Nothing is left allocated on failure. */
ed_status ed__safetensors_parse(const char *where, const unsigned char *data, size_t size, const ed_tensor_file_opts *opts, ed__st_image *out, ed_error *err);
/** As ed_tensor_file_open for an image in memory (borrowed until close): fuzzing, embedding. */
ed_status ed__safetensors_open_memory(const char *where, const void *data, size_t size, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err);
/** Checks the checksums of a parsed image when it has them. */
ed_status ed__safetensors_verify(const char *where, const unsigned char *data, size_t size, const ed__st_image *image, ed_error *err);
/** Opens the shards that an index text names (folder: where they lie). */
ed_status ed__safetensors_open_index(const char *folder, const char *index_path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err);
/** Maps shard number `at` of f and parses it. */
ed_status ed__shard_open(ed__shard *sh, const char *path, const ed_tensor_file_opts *opts, ed__st_image *image, ed_error *err);

/** As ed_tensor_file_save; also tells length and XXH3-64 of the whole file. */
ed_status ed__safetensors_write(const char *path, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, uint64_t *file_bytes,
                                uint64_t *file_hash, ed_error *err);
/** As ed__safetensors_write for a parameter set (ed_params_save). */
ed_status ed__params_write(const ed_params *params, const char *path, ed_dtype dtype, const ed_tensor_save_opts *opts, uint64_t *file_bytes,
                           uint64_t *file_hash, ed_error *err);

/** As ed_llama2c_open for an image in memory (borrowed until close). */
ed_status ed__llama2c_open_memory(const char *where, const void *data, size_t size, const ed_tensor_file_opts *opts, ed_tensor_file **out,
                                  ed_llama2c_config *config, ed_error *err);

#endif
