/* io/fmt_safetensors_write.c - writer of safetensors files, laid out byte for byte as Hugging Face's library does: tensors by element format
 * (wide alignment first) then by name, compact JSON, header padded with blanks to 8 bytes. Checksums: safetensors_sum.c.
 * The header comes first in the file and holds the hashes of what follows, so data is read twice (hash, write) and never copied as a whole. */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "io/tensor_file.h"

enum { CHUNK_BYTES = 1 << 20, DIGITS = 16 };

typedef struct st_writer {
    const char *path;
    const ed_tensor_item **items; /* [n], in file order */
    uint64_t *bytes;              /* [n] */
    int64_t n;
    const ed_tensor_save_opts *opts;
    ed__buf header;      /* length prefix, JSON, padding */
    size_t digits_at;    /* place of the checksums in the header */
    unsigned char *chunk; /* [CHUNK_BYTES] */
    ed__save *save;
    XXH3_state_t *file_hash;
    uint64_t file_bytes;
    bool read_failed; /* a read callback failed: the file must not be committed */
    ed_error *err;
} st_writer;

ed_tensor_save_opts ed_tensor_save_opts_default(void) {
    return (ed_tensor_save_opts){.checksums = true};
}

ed_tensor_item ed_tensor_item_of(const ed_file_tensor *t) {
    ed_tensor_item item = {.name = t->name, .dtype = t->dtype, .rank = t->rank, .data = t->data};
    memcpy(item.shape, t->shape, sizeof item.shape);
    return item;
}

static ed_status no_memory(const st_writer *w) {
    return ed_error_set(w->err, ED_E_MEMORY, w->path, ED_NO_OFFSET, "no memory to save");
}

/* ---- what is to be written */

static int compare_items(const void *a, const void *b) {
    const ed_tensor_item *x = *(const ed_tensor_item *const *)a, *y = *(const ed_tensor_item *const *)b;
    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_item_names(const void *a, const void *b) {
    return strcmp((*(const ed_tensor_item *const *)a)->name, (*(const ed_tensor_item *const *)b)->name);
}

static ed_status bad_item(const st_writer *w, const char *name, const char *why) {
    return ed_error_set(w->err, ED_E_INVALID, w->path, ED_NO_OFFSET, "tensor '%.120s': %s", name, why);
}

static ed_status check_item(const st_writer *w, const ed_tensor_item *t) {
    ed_io_limits lim = ed_io_limits_default();
    int64_t numel, bytes;
    if (!t->name || t->name[0] == '\0' || strcmp(t->name, "__metadata__") == 0)
        return bad_item(w, t->name ? t->name : "", "not a name for a tensor");
    size_t len = strlen(t->name);
    if (len > lim.max_name_bytes || ed__utf8_valid(t->name, len) != len)
        return bad_item(w, t->name, "the name is too long or not UTF-8");
    if (ed_file_dtype_bytes(t->dtype) == 0 || !ed__shape_numel(t->rank, t->shape, lim.max_dim, &numel) ||
        !ed__mul_i64(numel, (int64_t)ed_file_dtype_bytes(t->dtype), &bytes))
        return bad_item(w, t->name, "bad number format or shape");
    return t->data || t->read || bytes == 0 ? ED_OK : bad_item(w, t->name, "no data");
}

static ed_status order_items(st_writer *w, const ed_tensor_item *items) {
    if (w->n > ed_io_limits_default().max_tensors)
        return ed_error_set(w->err, ED_E_LIMIT, w->path, ED_NO_OFFSET, "too many tensors: %lld", (long long)w->n);
    w->items = ed__malloc((size_t)w->n * sizeof *w->items);
    w->bytes = ed__malloc((size_t)w->n * sizeof *w->bytes);
    w->chunk = ed__malloc(CHUNK_BYTES);
    w->file_hash = XXH3_createState();
    if (!w->items || !w->bytes || !w->chunk || !w->file_hash)
        return no_memory(w);
    for (int64_t i = 0; i < w->n; i++) {
        ED_TRY(check_item(w, &items[i]));
        w->items[i] = &items[i];
    }
    qsort((void *)w->items, (size_t)w->n, sizeof *w->items, compare_item_names);
    for (int64_t i = 1; i < w->n; i++)
        if (strcmp(w->items[i - 1]->name, w->items[i]->name) == 0)
            return bad_item(w, w->items[i]->name, "two tensors of this name");
    qsort((void *)w->items, (size_t)w->n, sizeof *w->items, compare_items);
    return ED_OK;
}

/* ---- header */

static void put_json_string(ed__buf *b, const char *s) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    ed__buf_put(b, "\"", 1);
    for (; *s; s++) {
        const char *hit = strchr(from, *s);
        if (hit)
            ed__buf_printf(b, "\\%c", to[hit - from]);
        else if ((unsigned char)*s < 0x20)
            ed__buf_printf(b, "\\u%04x", (unsigned)*s);
        else
            ed__buf_put(b, s, 1);
    }
    ed__buf_put(b, "\"", 1);
}

static ed_status put_metadata(st_writer *w) {
    const ed_tensor_save_opts *o = w->opts;
    bool any = false;
    for (int64_t i = 0; i < o->n_metadata; i++) {
        const ed_metadata *m = &o->metadata[i];
        if (strcmp(m->key, ED__XXH3_KEY) == 0)
            continue;
        if (ed__utf8_valid(m->key, strlen(m->key)) != strlen(m->key) || ed__utf8_valid(m->value, strlen(m->value)) != strlen(m->value))
            return ed_error_set(w->err, ED_E_INVALID, w->path, ED_NO_OFFSET, "metadata '%.120s' is not UTF-8", m->key);
        for (int64_t j = 0; j < i; j++)
            if (strcmp(o->metadata[j].key, m->key) == 0)
                return ed_error_set(w->err, ED_E_INVALID, w->path, ED_NO_OFFSET, "metadata key '%.120s' stands twice", m->key);
        ed__buf_puts(&w->header, any ? "," : "\"__metadata__\":{");
        any = true;
        put_json_string(&w->header, m->key);
        ed__buf_puts(&w->header, ":");
        put_json_string(&w->header, m->value);
    }
    if (o->checksums) {
        ed__buf_puts(&w->header, any ? ",\"" ED__XXH3_KEY "\":\"" : "\"__metadata__\":{\"" ED__XXH3_KEY "\":\"");
        w->digits_at = w->header.len;
        for (int64_t i = 0; i <= w->n; i++)
            ed__buf_puts(&w->header, "0000000000000000");
        ed__buf_puts(&w->header, "\"");
        any = true;
    }
    if (any)
        ed__buf_puts(&w->header, w->n ? "}," : "}");
    return ED_OK;
}

static ed_status put_tensors(st_writer *w) {
    int64_t at = 0;
    for (int64_t i = 0; i < w->n; i++) {
        const ed_tensor_item *t = w->items[i];
        int64_t bytes = (int64_t)ed_file_dtype_bytes(t->dtype);
        for (int a = 0; a < t->rank; a++)
            bytes *= t->shape[a];
        if (bytes > INT64_MAX - at)
            return bad_item(w, t->name, "the file would be too large");
        w->bytes[i] = (uint64_t)bytes;
        put_json_string(&w->header, t->name);
        ed__buf_printf(&w->header, ":{\"dtype\":\"%s\",\"shape\":[", ed_file_dtype_name(t->dtype));
        for (int a = 0; a < t->rank; a++)
            ed__buf_printf(&w->header, "%s%lld", a ? "," : "", (long long)t->shape[a]);
        ed__buf_printf(&w->header, "],\"data_offsets\":[%lld,%lld]}%s", (long long)at, (long long)(at + bytes), i + 1 < w->n ? "," : "");
        at += bytes;
    }
    return ED_OK;
}

static ed_status build_header(st_writer *w) {
    char prefix[8];
    ed__buf_put(&w->header, "\0\0\0\0\0\0\0\0{", 9);
    ED_TRY(put_metadata(w));
    ED_TRY(put_tensors(w));
    ed__buf_puts(&w->header, "}");
    while (w->header.status == ED_OK && w->header.len % 8 != 0)
        ed__buf_puts(&w->header, " ");
    if (w->header.status != ED_OK)
        return ed_error_set(w->err, w->header.status, w->path, ED_NO_OFFSET, "header above the limit of %zu bytes, or no memory for it", w->header.max);
    for (int i = 0; i < 8; i++)
        prefix[i] = (char)((uint64_t)(w->header.len - 8) >> (8 * i));
    memcpy(w->header.data, prefix, 8);
    return ED_OK;
}

/* ---- data */

typedef ed_status (*sink_fn)(st_writer *w, const void *bytes, size_t n);

static ed_status sink_hash(st_writer *w, const void *bytes, size_t n) {
    XXH3_64bits_update(w->file_hash, bytes, n);
    return ED_OK;
}

static ed_status sink_file(st_writer *w, const void *bytes, size_t n) {
    XXH3_64bits_update(w->file_hash, bytes, n);
    w->file_bytes += n;
    return ed__save_write(w->save, bytes, n);
}

/* Feeds one tensor to the sink, chunk by chunk. */
static ed_status feed(st_writer *w, int64_t i, sink_fn sink) {
    const ed_tensor_item *t = w->items[i];
    for (uint64_t at = 0; at < w->bytes[i];) {
        uint64_t left = w->bytes[i] - at;
        size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
        const unsigned char *p = t->data ? (const unsigned char *)t->data + at : w->chunk;
        if (!t->data) {
            w->read_failed = true;
            ED_TRY(t->read(t->user, at, w->chunk, n, w->err));
            w->read_failed = false;
        }
        ED_TRY(sink(w, p, n));
        at += n;
    }
    return ED_OK;
}

static void put_digits(char *at, uint64_t hash) {
    static const char hex[] = "0123456789abcdef";
    for (int i = DIGITS; i-- > 0; hash >>= 4)
        at[i] = hex[hash & 15];
}

static ed_status fill_checksums(st_writer *w) {
    char *digits = w->header.data + w->digits_at;
    for (int64_t i = 0; i < w->n; i++) {
        XXH3_64bits_reset(w->file_hash);
        ED_TRY(feed(w, i, sink_hash));
        put_digits(digits + (i + 1) * DIGITS, XXH3_64bits_digest(w->file_hash));
    }
    put_digits(digits, ed__hash64(w->header.data, w->header.len, 0));
    return ED_OK;
}

static ed_status write_all(st_writer *w) {
    XXH3_64bits_reset(w->file_hash);
    ED_TRY(sink_file(w, w->header.data, w->header.len));
    for (int64_t i = 0; i < w->n; i++)
        ED_TRY(feed(w, i, sink_file));
    return ED_OK;
}

static ed_status write_items(st_writer *w, const ed_tensor_item *items) {
    ED_TRY(order_items(w, items));
    ED_TRY(build_header(w));
    if (w->opts->checksums)
        ED_TRY(fill_checksums(w));
    ED_TRY(ed__save_open(w->path, &w->save, w->err));
    ed_status s = write_all(w);
    if (!w->read_failed)
        return ed__save_commit(&w->save, w->err); /* tells a failed write, too */
    ed__save_abort(&w->save);
    return s;
}

ed_status ed__safetensors_write(const char *path, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, uint64_t *file_bytes,
                                uint64_t *file_hash, ed_error *err) {
    ed_tensor_save_opts defaults = ed_tensor_save_opts_default();
    st_writer w = {.path = path, .n = n, .opts = opts ? opts : &defaults, .err = err};
    ED_FAIL_IF(n < 0, ED_E_INVALID, err, "a negative number of tensors");
    ed__buf_init(&w.header, ed_io_limits_default().max_header_bytes);
    ed_status s = write_items(&w, items);
    if (s == ED_OK && file_bytes)
        *file_bytes = w.file_bytes;
    if (s == ED_OK && file_hash)
        *file_hash = XXH3_64bits_digest(w.file_hash);
    ed__buf_deinit(&w.header);
    ed__free((void *)w.items);
    ed__free(w.bytes);
    ed__free(w.chunk);
    XXH3_freeState(w.file_hash);
    return s;
}

ed_status ed_tensor_file_save(const char *path, const ed_tensor_item *items, int64_t n, const ed_tensor_save_opts *opts, ed_error *err) {
    return ed__safetensors_write(path, items, n, opts, NULL, NULL, err);
}
