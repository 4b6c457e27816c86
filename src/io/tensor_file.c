/* io/tensor_file.c - the open tensor file: element formats, list, look-up by name, closing. Formats fill it (fmt_*.c).
 * Invariant: after ed__tensor_file_index every tensor has a unique name and its bytes lie inside its mapping. */
#include <stdio.h>
#include <stdlib.h>

#include "io/tensor_file.h"

static const struct {
    const char *name;
    unsigned char bytes;
} FILE_DTYPES[ED_FILE_DTYPE_COUNT] = {
    [ED_FILE_BOOL] = {"BOOL", 1}, [ED_FILE_U8] = {"U8", 1},           [ED_FILE_I8] = {"I8", 1},   [ED_FILE_F8_E5M2] = {"F8_E5M2", 1},
    [ED_FILE_F8_E4M3] = {"F8_E4M3", 1}, [ED_FILE_I16] = {"I16", 2},   [ED_FILE_U16] = {"U16", 2}, [ED_FILE_F16] = {"F16", 2},
    [ED_FILE_BF16] = {"BF16", 2}, [ED_FILE_I32] = {"I32", 4},         [ED_FILE_U32] = {"U32", 4}, [ED_FILE_F32] = {"F32", 4},
    [ED_FILE_F64] = {"F64", 8},   [ED_FILE_I64] = {"I64", 8},         [ED_FILE_U64] = {"U64", 8},
};

const char *ed_file_dtype_name(ed_file_dtype d) {
    return (unsigned)d < ED_FILE_DTYPE_COUNT ? FILE_DTYPES[d].name : "?";
}

size_t ed_file_dtype_bytes(ed_file_dtype d) {
    return (unsigned)d < ED_FILE_DTYPE_COUNT ? FILE_DTYPES[d].bytes : 0;
}

ed_file_dtype ed_file_dtype_of(ed_dtype d) {
    switch (d) {
    case ED_DTYPE_F32: return ED_FILE_F32;
    case ED_DTYPE_F64: return ED_FILE_F64;
    case ED_DTYPE_BF16: return ED_FILE_BF16;
    case ED_DTYPE_F16: return ED_FILE_F16;
    case ED_DTYPE_I32: return ED_FILE_I32;
    case ED_DTYPE_U8: return ED_FILE_U8;
    case ED_DTYPE_BOOL: return ED_FILE_BOOL;
    default: return ED_FILE_DTYPE_COUNT;
    }
}

ed_io_limits ed_io_limits_default(void) {
    return (ed_io_limits){.max_header_bytes = 100000000,
                          .max_tensors = 1 << 22,
                          .max_name_bytes = 65536,
                          .max_metadata_bytes = (size_t)64 << 20,
                          .max_shards = 4096,
                          .max_dim = (int64_t)1 << 40};
}

ed_tensor_file_opts ed_tensor_file_opts_default(void) {
    return (ed_tensor_file_opts){.verify = true, .follow_links = false, .limits = ed_io_limits_default()};
}

/* The product counts axes of length 0 as 1, so that [2^40, 2^40, 0] is refused as well: strides are made of such products. */
bool ed__shape_numel(int rank, const int64_t *shape, int64_t max_dim, int64_t *numel) {
    int64_t product = 1;
    bool empty = false;
    if (rank < 0 || rank > ED_MAX_RANK)
        return false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || shape[i] > max_dim || !ed__mul_i64(product, shape[i] ? shape[i] : 1, &product))
            return false;
        empty |= shape[i] == 0;
    }
    *numel = empty ? 0 : product;
    return true;
}

const char *ed__dims_text(int rank, const int64_t *shape, char *buf, size_t buf_bytes) {
    size_t used = 0;
    int n = snprintf(buf, buf_bytes, "[");
    for (int i = 0; i <= rank && n >= 0 && used + (size_t)n < buf_bytes; i++) {
        used += (size_t)n;
        if (i < rank)
            n = snprintf(buf + used, buf_bytes - used, "%s%lld", i ? ", " : "", (long long)shape[i]);
        else
            n = snprintf(buf + used, buf_bytes - used, "]");
    }
    return buf;
}

const char *ed_file_tensor_text(const ed_file_tensor *t, char *buf, size_t buf_bytes) {
    char dims[ED_MAX_RANK * 22 + 4];
    snprintf(buf, buf_bytes, "%s%s", ed_file_dtype_name(t->dtype), ed__dims_text(t->rank, t->shape, dims, sizeof dims));
    return buf;
}

int64_t ed_file_tensor_numel(const ed_file_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

ed_status ed__tensor_file_new(const char *path, int64_t n_shards, ed_tensor_file **out, ed_error *err) {
    ed_tensor_file *f = ed__calloc(1, sizeof *f);
    *out = NULL;
    if (f) {
        f->path = ed__strdup(path);
        f->shards = ed__calloc((size_t)n_shards, sizeof *f->shards);
        f->n_shards = f->shards ? n_shards : 0;
    }
    for (int64_t i = 0; f && i < f->n_shards; i++)
        f->shards[i].borrowed = true; /* nothing to unmap yet */
    if (!f || !f->path || !f->shards) {
        ed_tensor_file_close(&f);
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to open the file");
    }
    *out = f;
    return ED_OK;
}

void ed_tensor_file_close(ed_tensor_file **file) {
    if (!file || !*file)
        return;
    ed_tensor_file *f = *file;
    for (int64_t i = 0; i < f->n_shards; i++) {
        if (!f->shards[i].borrowed)
            ed__map_close(&f->shards[i].map);
        ed__free(f->shards[i].path);
        ed__free(f->shards[i].text);
    }
    ed__free(f->shards);
    ed__free(f->tensors);
    ed__free((void *)f->by_name);
    ed__free(f->metadata);
    ed__free(f->path);
    ed__free(f);
    *file = NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const ed_file_tensor *const *)a)->name, (*(const ed_file_tensor *const *)b)->name);
}

ed_status ed__tensor_file_index(ed_tensor_file *f, ed_error *err) {
    f->by_name = ed__malloc((size_t)f->n * sizeof *f->by_name);
    if (!f->by_name)
        return ed_error_set(err, ED_E_MEMORY, f->path, ED_NO_OFFSET, "no memory for the names of %lld tensors", (long long)f->n);
    for (int64_t i = 0; i < f->n; i++)
        f->by_name[i] = &f->tensors[i];
    qsort((void *)f->by_name, (size_t)f->n, sizeof *f->by_name, compare_names);
    for (int64_t i = 1; i < f->n; i++)
        if (strcmp(f->by_name[i - 1]->name, f->by_name[i]->name) == 0)
            return ed_error_set(err, ED_E_FORMAT, f->path, f->by_name[i]->offset, "two tensors named '%.120s'", f->by_name[i]->name);
    return ED_OK;
}

const char *ed_tensor_file_path(const ed_tensor_file *file) {
    return file->path;
}

int64_t ed_tensor_file_count(const ed_tensor_file *file) {
    return file->n;
}

const ed_file_tensor *ed_tensor_file_at(const ed_tensor_file *file, int64_t i) {
    return i >= 0 && i < file->n ? &file->tensors[i] : NULL;
}

const ed_file_tensor *ed_tensor_file_find(const ed_tensor_file *file, const char *name) {
    int64_t lo = 0, hi = file->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        int c = strcmp(file->by_name[mid]->name, name);
        if (c == 0)
            return file->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int64_t ed_tensor_file_metadata_count(const ed_tensor_file *file) {
    return file->n_metadata;
}

ed_metadata ed_tensor_file_metadata_at(const ed_tensor_file *file, int64_t i) {
    return i >= 0 && i < file->n_metadata ? file->metadata[i] : (ed_metadata){NULL, NULL};
}

const char *ed_tensor_file_metadata(const ed_tensor_file *file, const char *key) {
    for (int64_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0)
            return file->metadata[i].value;
    return NULL;
}
