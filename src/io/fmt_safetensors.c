/* io/fmt_safetensors.c - reader of safetensors files (docs/formats/safetensors.md).
 * The header is read twice by the same code: pass 1 checks its grammar and counts tensors, metadata and text, so that pass 2 can allocate exactly
 * what the counted header needs; memory never follows a number that the file merely states. Pass 2 fills the records and checks each tensor.
 * Invariants after success: names unique and non-empty; tensors in byte order, without gap or overlap, covering the file exactly;
 * dtype x shape == bytes for each. */
#include <stdio.h>
#include <stdlib.h>

#include "io/json_scan.h"
#include "io/tensor_file.h"

enum { PREFIX_BYTES = 8, SHORT_KEY_BYTES = 32 };

typedef struct st_parse {
    ed__scan s;
    const ed_io_limits *limits;
    const unsigned char *payload; /* [payload_bytes] */
    size_t payload_bytes;
    ed__st_image *out; /* pass 2; NULL in pass 1 */
    size_t n, n_metadata, text_used;
} st_parse;

static ed_status tensor_fail(const st_parse *p, const char *name, uint64_t payload_offset, const char *why) {
    uint64_t at = p->s.base + p->s.r.len + payload_offset;
    return ed_error_set(p->s.err, ED_E_FORMAT, p->s.where, at, "tensor '%.120s': %s", name, why);
}

/* A string into the text block (pass 2) or only counted (pass 1). */
static ed_status take_text(st_parse *p, const char *what, size_t max_bytes, const char **out) {
    size_t len;
    char *dst = p->out ? p->out->text + p->text_used : NULL;
    ED_TRY(ed__scan_string(&p->s, what, max_bytes, dst, &len));
    p->text_used += len + 1;
    *out = dst;
    return ED_OK;
}

/* ---- one tensor: {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]} */

static ed_status parse_dtype(st_parse *p, ed_file_tensor *t) {
    char name[SHORT_KEY_BYTES + 1];
    size_t len;
    ED_TRY(ed__scan_string(&p->s, "dtype", SHORT_KEY_BYTES, name, &len));
    for (int d = 0; d < ED_FILE_DTYPE_COUNT; d++)
        if (strcmp(name, ed_file_dtype_name((ed_file_dtype)d)) == 0) {
            t->dtype = (ed_file_dtype)d;
            return ED_OK;
        }
    return ed_error_set(p->s.err, ED_E_UNSUPPORTED, p->s.where, p->s.base + p->s.r.pos, "number format '%s' is not supported", name);
}

static ed_status parse_shape(st_parse *p, ed_file_tensor *t) {
    bool first = true, more;
    uint64_t dim;
    ED_TRY(ed__scan_expect(&p->s, '['));
    for (t->rank = 0;; t->rank++) {
        ED_TRY(ed__scan_next(&p->s, ']', &first, &more));
        if (!more)
            return ED_OK;
        if (t->rank == ED_MAX_RANK)
            return ed__scan_fail(&p->s, "shape of more than %d axes", ED_MAX_RANK);
        ED_TRY(ed__scan_uint(&p->s, "axis length", (uint64_t)p->limits->max_dim, &dim));
        t->shape[t->rank] = (int64_t)dim;
    }
}

/* begin and end are left in t->offset and t->bytes, relative to the payload, until check_tensor. */
static ed_status parse_offsets(st_parse *p, ed_file_tensor *t) {
    ED_TRY(ed__scan_expect(&p->s, '['));
    ED_TRY(ed__scan_uint(&p->s, "data offset", (uint64_t)INT64_MAX, &t->offset));
    ED_TRY(ed__scan_expect(&p->s, ','));
    ED_TRY(ed__scan_uint(&p->s, "data offset", (uint64_t)INT64_MAX, &t->bytes));
    return ed__scan_expect(&p->s, ']');
}

static ed_status parse_info(st_parse *p, ed_file_tensor *t) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    char key[SHORT_KEY_BYTES + 1];
    unsigned seen = 0;
    bool first = true, more;
    size_t len;
    ED_TRY(ed__scan_expect(&p->s, '{'));
    for (;;) {
        ED_TRY(ed__scan_next(&p->s, '}', &first, &more));
        if (!more)
            break;
        ED_TRY(ed__scan_string(&p->s, "key of a tensor", SHORT_KEY_BYTES, key, &len));
        unsigned k = 0;
        while (k < 3 && strcmp(key, keys[k]) != 0)
            k++;
        if (k == 3)
            return ed__scan_fail(&p->s, "unknown key '%s' of a tensor", key);
        if (seen & 1u << k)
            return ed__scan_fail(&p->s, "key '%s' stands twice", key);
        seen |= 1u << k;
        ED_TRY(ed__scan_expect(&p->s, ':'));
        ED_TRY(k == 0 ? parse_dtype(p, t) : k == 1 ? parse_shape(p, t) : parse_offsets(p, t));
    }
    return seen == 7 ? ED_OK : ed__scan_fail(&p->s, "a tensor lacks its dtype, shape or data_offsets");
}

static ed_status check_tensor(const st_parse *p, ed_file_tensor *t) {
    uint64_t begin = t->offset, end = t->bytes;
    int64_t numel, need;
    char why[200];
    if (t->name[0] == '\0')
        return tensor_fail(p, "", 0, "the name is empty");
    if (strcmp(t->name, "__metadata__") == 0)
        return tensor_fail(p, t->name, 0, "the name is reserved");
    if (end < begin)
        return tensor_fail(p, t->name, 0, "data ends before it begins");
    if (!ed__shape_numel(t->rank, t->shape, p->limits->max_dim, &numel) || !ed__mul_i64(numel, (int64_t)ed_file_dtype_bytes(t->dtype), &need))
        return tensor_fail(p, t->name, begin, "the shape's product overflows");
    if ((uint64_t)need != end - begin) {
        char shape[ED_MAX_RANK * 22 + 16];
        snprintf(why, sizeof why, "%s needs %lld bytes, its offsets give %llu", ed_file_tensor_text(t, shape, sizeof shape), (long long)need,
                 (unsigned long long)(end - begin));
        return tensor_fail(p, t->name, begin, why);
    }
    if (end > p->payload_bytes) {
        snprintf(why, sizeof why, "data of %llu bytes reaches past the end of the file by %llu", (unsigned long long)(end - begin),
                 (unsigned long long)(end - p->payload_bytes));
        return tensor_fail(p, t->name, begin, why);
    }
    t->bytes = end - begin;
    t->offset = p->s.base + p->s.r.len + begin;
    t->data = p->payload + begin;
    return ED_OK;
}

/* ---- the header */

static ed_status parse_metadata(st_parse *p) {
    bool first = true, more;
    ED_TRY(ed__scan_expect(&p->s, '{'));
    for (;;) {
        ed_metadata m;
        ED_TRY(ed__scan_next(&p->s, '}', &first, &more));
        if (!more)
            return ED_OK;
        ED_TRY(take_text(p, "metadata key", p->limits->max_name_bytes, &m.key));
        ED_TRY(ed__scan_expect(&p->s, ':'));
        ED_TRY(take_text(p, "metadata value", p->limits->max_metadata_bytes, &m.value));
        if (p->out)
            p->out->metadata[p->n_metadata] = m;
        p->n_metadata++;
    }
}

static ed_status parse_tensor(st_parse *p) {
    ed_file_tensor t = {0};
    if (p->n == (uint64_t)p->limits->max_tensors)
        return ed_error_set(p->s.err, ED_E_LIMIT, p->s.where, p->s.base + p->s.r.pos, "more than %llu tensors", (unsigned long long)p->n);
    ED_TRY(take_text(p, "tensor name", p->limits->max_name_bytes, &t.name));
    ED_TRY(ed__scan_expect(&p->s, ':'));
    ED_TRY(parse_info(p, &t));
    if (p->out) {
        ED_TRY(check_tensor(p, &t));
        p->out->tensors[p->n] = t;
    }
    p->n++;
    return ED_OK;
}

/* Does the key __metadata__ stand here, in its plain spelling? */
static bool at_metadata(ed__scan *s) {
    static const char key[] = "\"__metadata__\"";
    (void)ed__scan_peek(s);
    if (ed__reader_left(&s->r) < sizeof key - 1 || memcmp(s->r.data + s->r.pos, key, sizeof key - 1) != 0)
        return false;
    s->r.pos += sizeof key - 1;
    return true;
}

static ed_status parse_header(st_parse *p) {
    bool first = true, more, had_metadata = false;
    p->n = p->n_metadata = p->text_used = 0;
    p->s.r.pos = 0;
    if (p->s.r.len == 0 || p->s.r.data[0] != '{')
        return ed__scan_fail(&p->s, "the header does not begin with '{': not a safetensors file");
    p->s.r.pos = 1;
    for (;;) {
        ED_TRY(ed__scan_next(&p->s, '}', &first, &more));
        if (!more)
            return ed__scan_end(&p->s);
        if (!at_metadata(&p->s)) {
            ED_TRY(parse_tensor(p));
            continue;
        }
        if (had_metadata)
            return ed__scan_fail(&p->s, "__metadata__ stands twice");
        had_metadata = true;
        ED_TRY(ed__scan_expect(&p->s, ':'));
        ED_TRY(parse_metadata(p));
    }
}

/* ---- order */

static int compare_offsets(const void *a, const void *b) {
    const ed_file_tensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) /* empty tensors first */
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Brings the tensors into byte order; they must follow each other without gap or overlap to the last byte. */
static ed_status order_tensors(const st_parse *p) {
    const ed__st_image *im = p->out;
    uint64_t start = p->s.base + p->s.r.len, at = start;
    bool sorted = true;
    for (int64_t i = 1; sorted && i < im->n; i++)
        sorted = compare_offsets(&im->tensors[i - 1], &im->tensors[i]) < 0;
    if (!sorted)
        qsort(im->tensors, (size_t)im->n, sizeof *im->tensors, compare_offsets);
    for (int64_t i = 0; i < im->n; i++) {
        const ed_file_tensor *t = &im->tensors[i];
        if (t->offset != at)
            return tensor_fail(p, t->name, t->offset - start, t->offset < at ? "overlaps the tensor before it" : "a gap before its data");
        at += t->bytes;
    }
    if (at != start + p->payload_bytes)
        return ed_error_set(p->s.err, ED_E_FORMAT, p->s.where, at, "%llu bytes after the last tensor",
                            (unsigned long long)(start + p->payload_bytes - at));
    return ED_OK;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const ed_metadata *)a)->key, ((const ed_metadata *)b)->key);
}

static ed_status order_metadata(const st_parse *p) {
    const ed__st_image *im = p->out;
    qsort(im->metadata, (size_t)im->n_metadata, sizeof *im->metadata, compare_keys);
    for (int64_t i = 1; i < im->n_metadata; i++)
        if (strcmp(im->metadata[i - 1].key, im->metadata[i].key) == 0)
            return ed_error_set(p->s.err, ED_E_FORMAT, p->s.where, p->s.base, "metadata key '%.120s' stands twice", im->metadata[i].key);
    return ED_OK;
}

/* ---- the image */

static void image_free(ed__st_image *im) {
    ed__free(im->tensors);
    ed__free(im->metadata);
    ed__free(im->text);
    *im = (ed__st_image){0};
}

static ed_status image_fill(st_parse *p, ed__st_image *im) {
    im->n = (int64_t)p->n;
    im->n_metadata = (int64_t)p->n_metadata;
    im->tensors = ed__malloc(p->n * sizeof *im->tensors);
    im->metadata = ed__malloc(p->n_metadata * sizeof *im->metadata);
    im->text = ed__malloc(p->text_used);
    if (!im->tensors || !im->metadata || !im->text)
        return ed_error_set(p->s.err, ED_E_MEMORY, p->s.where, ED_NO_OFFSET, "no memory for the list of %lld tensors", (long long)im->n);
    p->out = im;
    ED_TRY(parse_header(p));
    ED_TRY(order_metadata(p));
    return order_tensors(p);
}

ed_status ed__safetensors_parse(const char *where, const unsigned char *data, size_t size, const ed_tensor_file_opts *opts, ed__st_image *out,
                                ed_error *err) {
    ed__reader r = ed__reader_make(data, size);
    uint64_t header_bytes;
    *out = (ed__st_image){0};
    if (!ed__reader_u64(&r, &header_bytes))
        return ed_error_set(err, ED_E_FORMAT, where, 0, "%zu bytes: too short for a safetensors file", size);
    if (header_bytes > opts->limits.max_header_bytes)
        return ed_error_set(err, ED_E_LIMIT, where, 0, "header of %llu bytes, above the limit of %zu: not a safetensors file, or raise the limit",
                            (unsigned long long)header_bytes, opts->limits.max_header_bytes);
    if (header_bytes > ed__reader_left(&r))
        return ed_error_set(err, ED_E_FORMAT, where, 0, "header of %llu bytes in a file of %zu: cut off, or not a safetensors file",
                            (unsigned long long)header_bytes, size);
    size_t start = PREFIX_BYTES + (size_t)header_bytes;
    st_parse p = {.s = ed__scan_make(where, data + PREFIX_BYTES, (size_t)header_bytes, PREFIX_BYTES, err),
                  .limits = &opts->limits,
                  .payload = data + start,
                  .payload_bytes = size - start};
    ED_TRY(parse_header(&p));
    ed_status s = image_fill(&p, out);
    if (s == ED_OK && opts->verify)
        s = ed__safetensors_verify(where, data, size, out, err);
    if (s != ED_OK)
        image_free(out);
    return s;
}

/* ---- opening */

/* The only shard of f becomes the whole file. */
static ed_status adopt_image(ed_tensor_file *f, ed__st_image *im, ed_error *err) {
    f->tensors = im->tensors;
    f->n = im->n;
    f->metadata = im->metadata;
    f->n_metadata = im->n_metadata;
    f->shards[0].text = im->text;
    return ed__tensor_file_index(f, err);
}

ed_status ed__shard_open(ed__shard *sh, const char *path, const ed_tensor_file_opts *opts, ed__st_image *image, ed_error *err) {
    sh->path = ed__strdup(path);
    if (!sh->path)
        return ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for a path");
    ED_TRY(ed__map_open(path, 0, &sh->map, err));
    sh->borrowed = false;
    return ed__safetensors_parse(path, sh->map.data, sh->map.size, opts, image, err);
}

static ed_status open_file(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err) {
    ed__st_image im;
    ed_tensor_file *f;
    ED_TRY(ed__tensor_file_new(path, 1, &f, err));
    ed_status s = ed__shard_open(&f->shards[0], path, opts, &im, err);
    if (s == ED_OK)
        s = adopt_image(f, &im, err);
    if (s != ED_OK)
        ed_tensor_file_close(&f);
    *out = f;
    return s;
}

ed_status ed__safetensors_open_memory(const char *where, const void *data, size_t size, const ed_tensor_file_opts *opts, ed_tensor_file **out,
                                      ed_error *err) {
    ed__st_image im;
    ed_tensor_file *f;
    *out = NULL;
    ED_TRY(ed__tensor_file_new(where, 1, &f, err));
    ed_status s = ed__safetensors_parse(where, data, size, opts, &im, err);
    if (s == ED_OK)
        s = adopt_image(f, &im, err);
    if (s != ED_OK)
        ed_tensor_file_close(&f);
    *out = f;
    return s;
}

static ed_status open_folder(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err) {
    char *single = NULL, *index = NULL;
    ed_status s = ed__path_join(path, "model.safetensors", &single, err);
    if (s == ED_OK)
        s = ed__path_join(path, "model.safetensors.index.json", &index, err);
    if (s == ED_OK && ed__path_exists(single))
        s = open_file(single, opts, out, err);
    else if (s == ED_OK && ed__path_exists(index))
        s = ed__safetensors_open_index(path, index, opts, out, err);
    else if (s == ED_OK)
        s = ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "the folder holds neither model.safetensors nor model.safetensors.index.json");
    ed__free(single);
    ed__free(index);
    return s;
}

ed_status ed_tensor_file_open(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_error *err) {
    ed_tensor_file_opts defaults = ed_tensor_file_opts_default();
    *out = NULL;
    opts = opts ? opts : &defaults;
    return ed__path_is_dir(path) ? open_folder(path, opts, out, err) : open_file(path, opts, out, err);
}
