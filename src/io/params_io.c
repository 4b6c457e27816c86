/* io/params_io.c - parameters from and to tensor files.
 * Loading is all or nothing: names, shapes, formats and value ranges are checked for the whole set before the first parameter changes. */
#include <stdio.h>

#include "io/tensor_convert.h"
#include "io/tensor_file.h"

enum { NAME_BYTES = 4096, LIST_BYTES = 300 };

ed_params_load_opts ed_params_load_opts_default(void) {
    return (ed_params_load_opts){.strict = true, .ignore = "llama2c.*"};
}

/* ---- loading */

typedef struct name_list {
    int64_t n;
    char text[LIST_BYTES]; /* the first names, parted by ", " */
    size_t used;
    bool full;
} name_list;

static void list_add(name_list *l, const char *name) {
    int n = l->full ? 0 : snprintf(l->text + l->used, sizeof l->text - l->used, "%s%s", l->n ? ", " : "", name);
    if (n < 0 || (size_t)n >= sizeof l->text - l->used) {
        l->text[l->used] = '\0'; /* a name is shown whole or not at all */
        l->full = true;
    } else {
        l->used += (size_t)n;
    }
    l->n++;
}

typedef struct load_plan {
    ed_params *params;
    const ed_tensor_file *file;
    const ed_params_load_opts *opts;
    const ed_file_tensor **source; /* [parameters]: NULL keeps its values */
    bool *used;                    /* [tensors] */
    name_list missing, extra;
} load_plan;

static ed_status find_source(load_plan *pl, int64_t i, ed_error *err) {
    const ed_param *p = ed_params_at(pl->params, i);
    const char *path = ed_tensor_file_path(pl->file);
    char mapped[NAME_BYTES], a[ED_MAX_RANK * 22 + 4], b[ED_MAX_RANK * 22 + 4];
    const char *name = p->name;
    if (pl->opts->map) {
        mapped[0] = '\0';
        if (!pl->opts->map(pl->opts->user, p->name, mapped, sizeof mapped))
            return ED_OK;
        name = mapped;
    }
    const ed_file_tensor *t = ed_tensor_file_find(pl->file, name);
    if (!t) {
        list_add(&pl->missing, name);
        return ED_OK;
    }
    if (t->rank != p->rank || memcmp(t->shape, p->shape, sizeof(int64_t) * (size_t)p->rank) != 0)
        return ed_error_set(err, ED_E_SHAPE, path, t->offset, "tensor '%.100s' is %s, the model needs %s", name,
                            ed__dims_text(t->rank, t->shape, a, sizeof a), ed__dims_text(p->rank, p->shape, b, sizeof b));
    if (p->mapped)
        return ed_error_set(err, ED_E_STATE, p->name, ED_NO_OFFSET, "the parameter is read-only (mapped)");
    ED_TRY(ed__convert_check(t, 0, p->numel, p->dtype, err));
    pl->source[i] = t;
    pl->used[t - ed_tensor_file_at(pl->file, 0)] = true;
    return ED_OK;
}

static ed_status make_plan(load_plan *pl, ed_error *err) {
    const char *path = ed_tensor_file_path(pl->file);
    int64_t n = ed_params_count(pl->params), m = ed_tensor_file_count(pl->file);
    for (int64_t i = 0; i < n; i++)
        ED_TRY(find_source(pl, i, err));
    for (int64_t i = 0; i < m; i++) {
        const char *name = ed_tensor_file_at(pl->file, i)->name;
        if (!pl->used[i] && !(pl->opts->ignore && ed_name_match(pl->opts->ignore, name)))
            list_add(&pl->extra, name);
    }
    if (!pl->opts->strict)
        return ED_OK;
    if (pl->missing.n)
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "%lld of the model's %lld tensors are missing: %s%s", (long long)pl->missing.n,
                            (long long)n, pl->missing.text, pl->missing.full ? ", ..." : "");
    if (pl->extra.n)
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "%lld tensors have no place in the model: %s%s", (long long)pl->extra.n,
                            pl->extra.text, pl->extra.full ? ", ..." : "");
    return ED_OK;
}

ed_status ed_params_load(ed_params *params, const ed_tensor_file *file, const ed_params_load_opts *opts, ed_error *err) {
    ed_params_load_opts defaults = ed_params_load_opts_default();
    int64_t n = ed_params_count(params);
    load_plan *pl = ed__calloc(1, sizeof *pl);
    ED_FAIL_IF(!pl, ED_E_MEMORY, err, "no memory to load parameters");
    *pl = (load_plan){.params = params, .file = file, .opts = opts ? opts : &defaults};
    pl->source = ed__calloc((size_t)n, sizeof *pl->source);
    pl->used = ed__calloc((size_t)ed_tensor_file_count(file), sizeof *pl->used);
    ed_status s = pl->source && pl->used ? make_plan(pl, err) : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory to load parameters");
    for (int64_t i = 0; s == ED_OK && i < n; i++) {
        ed_param *p = ed_params_at(params, i);
        if (!pl->source[i])
            continue;
        ed__convert_copy(pl->source[i], 0, p->numel, p->dtype, p->data);
        ed_param_touch(p);
    }
    ed__free((void *)pl->source);
    ed__free(pl->used);
    ed__free(pl);
    return s;
}

/* ---- saving */

typedef struct save_source {
    const ed_param *p;
    ed_dtype to;
} save_source;

static ed_status read_converted(void *user, uint64_t offset, void *out, size_t bytes, ed_error *err) {
    const save_source *src = user;
    size_t to_bytes = ed_dtype_bytes(src->to), from_bytes = ed_dtype_bytes(src->p->dtype);
    (void)err;
    const unsigned char *from = (const unsigned char *)src->p->data + offset / to_bytes * from_bytes;
    ed__convert_floats(ed_file_dtype_of(src->p->dtype), from, src->to, out, (int64_t)(bytes / to_bytes));
    return ED_OK;
}

static void make_item(const ed_param *p, ed_dtype dtype, save_source *src, ed_tensor_item *item) {
    bool convert = dtype != ED_DTYPE_COUNT && dtype != p->dtype && ed_dtype_is_float(p->dtype);
    *src = (save_source){p, convert ? dtype : p->dtype};
    *item = (ed_tensor_item){.name = p->name, .dtype = ed_file_dtype_of(src->to), .rank = p->rank};
    memcpy(item->shape, p->shape, sizeof item->shape);
    item->data = convert ? NULL : p->data;
    item->read = convert ? read_converted : NULL;
    item->user = src;
}

ed_status ed__params_write(const ed_params *params, const char *path, ed_dtype dtype, const ed_tensor_save_opts *opts, uint64_t *file_bytes,
                           uint64_t *file_hash, ed_error *err) {
    int64_t n = ed_params_count(params);
    ED_FAIL_IF(dtype != ED_DTYPE_COUNT && !ed_dtype_is_float(dtype), ED_E_DTYPE, err, "parameters are saved in a float format, not %s",
               ed_dtype_name(dtype));
    ed_tensor_item *items = ed__calloc((size_t)n, sizeof *items);
    save_source *sources = ed__calloc((size_t)n, sizeof *sources);
    ed_status s = items && sources ? ED_OK : ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to save");
    for (int64_t i = 0; s == ED_OK && i < n; i++)
        make_item(ed_params_at(params, i), dtype, &sources[i], &items[i]);
    if (s == ED_OK)
        s = ed__safetensors_write(path, items, n, opts, file_bytes, file_hash, err);
    ed__free(items);
    ed__free(sources);
    return s;
}

ed_status ed_params_save(const ed_params *params, const char *path, ed_dtype dtype, const ed_tensor_save_opts *opts, ed_error *err) {
    return ed__params_write(params, path, dtype, opts, NULL, NULL, err);
}
