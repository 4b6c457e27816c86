/* io/safetensors_index.c - sharded safetensors: model.safetensors.index.json, {"metadata": {...}, "weight_map": {tensor: file, ...}}.
 * The index is outside text: its file names must be plain names below the model's folder, of regular files that are neither links nor known under
 * another name (unless follow_links). Index and shards must agree: every listed tensor stands in the shard it is listed for, and no shard holds an
 * unlisted one. Read twice, like the safetensors header: count, then fill. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "io/json_scan.h"
#include "io/tensor_file.h"

typedef struct index_entry {
    const char *name, *file;
} index_entry;

typedef struct index_parse {
    ed__scan s;
    const ed_io_limits *limits;
    index_entry *entries; /* pass 2 */
    char *text;
    size_t n, text_used;
} index_parse;

static ed_status take_text(index_parse *p, const char *what, const char **out) {
    size_t len;
    *out = p->text ? p->text + p->text_used : NULL;
    ED_TRY(ed__scan_string(&p->s, what, p->limits->max_name_bytes, p->text ? p->text + p->text_used : NULL, &len));
    p->text_used += len + 1;
    return ED_OK;
}

static ed_status parse_weight_map(index_parse *p) {
    bool first = true, more;
    ED_TRY(ed__scan_expect(&p->s, '{'));
    for (;;) {
        index_entry e;
        ED_TRY(ed__scan_next(&p->s, '}', &first, &more));
        if (!more)
            return ED_OK;
        if (p->n == (uint64_t)p->limits->max_tensors)
            return ed_error_set(p->s.err, ED_E_LIMIT, p->s.where, p->s.base + p->s.r.pos, "more than %zu tensors", p->n);
        ED_TRY(take_text(p, "tensor name", &e.name));
        ED_TRY(ed__scan_expect(&p->s, ':'));
        ED_TRY(take_text(p, "file name", &e.file));
        if (p->entries)
            p->entries[p->n] = e;
        p->n++;
    }
}

static ed_status parse_index(index_parse *p) {
    bool first = true, more, found = false;
    char key[33];
    size_t len;
    p->s.r.pos = p->n = p->text_used = 0;
    ED_TRY(ed__scan_expect(&p->s, '{'));
    for (;;) {
        ED_TRY(ed__scan_next(&p->s, '}', &first, &more));
        if (!more)
            break;
        ED_TRY(ed__scan_string(&p->s, "key of the index", sizeof key - 1, key, &len));
        ED_TRY(ed__scan_expect(&p->s, ':'));
        if (strcmp(key, "weight_map") != 0) {
            ED_TRY(ed__scan_skip(&p->s));
            continue;
        }
        if (found)
            return ed__scan_fail(&p->s, "weight_map stands twice");
        found = true;
        ED_TRY(parse_weight_map(p));
    }
    if (!found || p->n == 0)
        return ed__scan_fail(&p->s, "the index lists no tensor (weight_map)");
    return ed__scan_end(&p->s);
}

/* ---- file names */

static ed_status check_part(const char *path, bool last, ed_error *err) {
    struct stat st;
    if (lstat(path, &st) != 0)
        return ed__errno_error(err, errno, path, "find the shard");
    if (S_ISLNK(st.st_mode))
        return ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "a shard may not be a symbolic link (option follow_links)");
    if (last ? !S_ISREG(st.st_mode) : !S_ISDIR(st.st_mode))
        return ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "a shard must be a regular file");
    if (last && st.st_nlink > 1)
        return ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "a shard may not be a hard link to another file (option follow_links)");
    return ED_OK;
}

/* Each part of `path` below the folder (its first folder_len bytes) is a plain folder, the last one a plain file. */
static ed_status check_no_links(char *path, size_t folder_len, ed_error *err) {
    ed_status s = ED_OK;
    for (char *c = path + folder_len + 1; s == ED_OK && *c; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        s = check_part(path, false, err);
        *c = '/';
    }
    return s == ED_OK ? check_part(path, true, err) : s;
}

static ed_status shard_path(const char *folder, const char *file, const ed_tensor_file_opts *opts, char **out, ed_error *err) {
    ED_TRY(ed__path_join(folder, file, out, err));
    ed_status s = opts->follow_links ? ED_OK : check_no_links(*out, strlen(folder), err);
    if (s != ED_OK) {
        ed__free(*out);
        *out = NULL;
    }
    return s;
}

/* ---- shards */

static int compare_files(const void *a, const void *b) {
    const index_entry *x = a, *y = b;
    int c = strcmp(x->file, y->file);
    return c ? c : strcmp(x->name, y->name);
}

static int64_t count_files(const index_entry *e, size_t n) {
    int64_t files = n > 0;
    for (size_t i = 1; i < n; i++)
        files += strcmp(e[i - 1].file, e[i].file) != 0;
    return files;
}

/* Appends a shard's tensors to f. */
static ed_status append_image(ed_tensor_file *f, int64_t shard, ed__st_image *im, size_t *cap, const ed_io_limits *limits, ed_error *err) {
    ed_status s = ed__grow((void **)&f->tensors, cap, (size_t)(f->n + im->n), sizeof *f->tensors, (size_t)limits->max_tensors);
    if (s == ED_OK) {
        for (int64_t i = 0; i < im->n; i++) {
            f->tensors[f->n + i] = im->tensors[i];
            f->tensors[f->n + i].shard = (int16_t)shard;
        }
        f->n += im->n;
    } else {
        ed_error_set(err, s, f->path, ED_NO_OFFSET, s == ED_E_LIMIT ? "more than %lld tensors" : "no memory for %lld tensors",
                     (long long)limits->max_tensors);
    }
    ed__free(im->tensors);
    f->shards[shard].text = im->text;
    if (shard == 0) {
        f->metadata = im->metadata;
        f->n_metadata = im->n_metadata;
    } else {
        ed__free(im->metadata);
    }
    return s;
}

static ed_status open_shards(ed_tensor_file *f, const char *folder, const index_parse *p, const ed_tensor_file_opts *opts, ed_error *err) {
    size_t cap = 0;
    int64_t shard = 0;
    for (size_t i = 0; i < p->n; i++) {
        char *path;
        ed__st_image im;
        if (i > 0 && strcmp(p->entries[i - 1].file, p->entries[i].file) == 0)
            continue;
        ED_TRY(shard_path(folder, p->entries[i].file, opts, &path, err));
        ed_status s = ed__shard_open(&f->shards[shard], path, opts, &im, err);
        ed__free(path);
        ED_TRY(s);
        ED_TRY(append_image(f, shard++, &im, &cap, &opts->limits, err));
    }
    return ed__tensor_file_index(f, err);
}

/* Every listed tensor in its shard, and none besides. */
static ed_status check_agreement(const ed_tensor_file *f, const index_parse *p, ed_error *err) {
    int64_t shard = 0;
    for (size_t i = 0; i < p->n; i++) {
        const index_entry *e = &p->entries[i];
        bool same_file = i > 0 && strcmp(e[-1].file, e->file) == 0;
        if (i > 0 && !same_file)
            shard++;
        if (same_file && strcmp(e[-1].name, e->name) == 0)
            return ed_error_set(err, ED_E_FORMAT, f->path, ED_NO_OFFSET, "tensor '%.120s' is listed twice", e->name);
        const ed_file_tensor *t = ed_tensor_file_find(f, e->name);
        if (!t || t->shard != shard)
            return ed_error_set(err, ED_E_FORMAT, f->path, ED_NO_OFFSET, "tensor '%.120s' is not in '%.120s' as listed", e->name, e->file);
    }
    if ((uint64_t)f->n != p->n)
        return ed_error_set(err, ED_E_FORMAT, f->path, ED_NO_OFFSET, "the shards hold %lld tensors, the index lists %zu", (long long)f->n, p->n);
    return ED_OK;
}

static ed_status open_parsed(const char *folder, const char *index_path, index_parse *p, const ed_tensor_file_opts *opts, ed_tensor_file **out,
                             ed_error *err) {
    qsort(p->entries, p->n, sizeof *p->entries, compare_files);
    int64_t files = count_files(p->entries, p->n), most = opts->limits.max_shards < INT16_MAX ? opts->limits.max_shards : INT16_MAX;
    if (files > most)
        return ed_error_set(err, ED_E_LIMIT, index_path, ED_NO_OFFSET, "%lld shards, above the limit of %lld", (long long)files, (long long)most);
    ED_TRY(ed__tensor_file_new(index_path, files, out, err));
    ed_status s = open_shards(*out, folder, p, opts, err);
    if (s == ED_OK)
        s = check_agreement(*out, p, err);
    if (s != ED_OK)
        ed_tensor_file_close(out);
    return s;
}

ed_status ed__safetensors_open_index(const char *folder, const char *index_path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err) {
    ed__map map;
    ED_TRY(ed__map_open(index_path, opts->limits.max_header_bytes, &map, err));
    index_parse p = {.s = ed__scan_make(index_path, map.data, map.size, 0, err), .limits = &opts->limits};
    ed_status s = parse_index(&p);
    if (s == ED_OK) {
        p.entries = ed__malloc(p.n * sizeof *p.entries);
        p.text = ed__malloc(p.text_used);
        s = p.entries && p.text ? parse_index(&p) : ed_error_set(err, ED_E_MEMORY, index_path, ED_NO_OFFSET, "no memory for %zu names", p.n);
    }
    if (s == ED_OK)
        s = open_parsed(folder, index_path, &p, opts, out, err);
    ed__free(p.entries);
    ed__free(p.text);
    ed__map_close(&map);
    return s;
}
