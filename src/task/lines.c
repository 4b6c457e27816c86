/* task/lines.c - text files as lines: plain or gzip, LF or CRLF, any bytes. */
#include <stdio.h>

#include <zlib.h>

#include "base/internal.h"
#include "endec/run.h"

static const size_t MAX_TEXT = (size_t)4 << 30;
enum { CHUNK = 1 << 20 };

static ed_status count_and_cut(ed_lines *l, size_t n, ed_error *err) {
    int64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += l->memory[i] == '\n';
    count += n > 0 && l->memory[n - 1] != '\n';
    l->text = ed__malloc((size_t)(count + 1) * sizeof *l->text);
    l->bytes = ed__malloc((size_t)(count + 1) * sizeof *l->bytes);
    ED_FAIL_IF(!l->text || !l->bytes, ED_E_MEMORY, err, "no memory for %lld lines", (long long)count);
    for (size_t at = 0; at < n;) {
        char *start = l->memory + at, *end = memchr(start, '\n', n - at);
        size_t len = end ? (size_t)(end - start) : n - at;
        at += len + 1;
        len -= len > 0 && start[len - 1] == '\r';
        start[len] = 0;
        l->text[l->n] = start;
        l->bytes[l->n++] = len;
    }
    return ED_OK;
}

ed_status ed_lines_split(const char *text, size_t n, ed_lines *out, ed_error *err) {
    *out = (ed_lines){0};
    out->memory = ed__malloc(n + 1);
    ED_FAIL_IF(!out->memory, ED_E_MEMORY, err, "no memory for %zu bytes of text", n);
    if (n)
        memcpy(out->memory, text, n);
    out->memory[n] = 0;
    ed_status s = count_and_cut(out, n, err);
    if (s != ED_OK)
        ed_lines_deinit(out);
    return s;
}

ed_status ed_lines_read(const char *path, ed_lines *out, ed_error *err) {
    *out = (ed_lines){0};
    if (!ed__path_exists(path))
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "no such file");
    gzFile f = gzopen(path, "rb"); /* reads plain files as they are */
    if (!f)
        return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot be opened");
    ed__buf b;
    ed__buf_init(&b, MAX_TEXT);
    char *chunk = ed__malloc(CHUNK);
    int n = chunk ? 1 : -2;
    while (n > 0 && b.status == ED_OK && (n = gzread(f, chunk, CHUNK)) > 0)
        ed__buf_put(&b, chunk, (size_t)n);
    int z = 0;
    const char *text = gzerror(f, &z);
    ed_status s = b.status;
    if (n < 0)
        s = n == -2 ? ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to read it")
                    : ed_error_set(err, z == Z_ERRNO ? ED_E_IO : ED_E_FORMAT, path, b.len, "cannot be read: %s", text && *text ? text : "damaged");
    else if (s != ED_OK)
        ed_error_set(err, s, path, b.len, "the text is too long (limit %zu bytes) or memory is used up", MAX_TEXT);
    else
        s = ed_lines_split(b.data ? b.data : "", b.len, out, err);
    gzclose(f);
    ed__free(chunk);
    ed__buf_deinit(&b);
    return s;
}

void ed_lines_deinit(ed_lines *l) {
    ed__free(l->text);
    ed__free(l->bytes);
    ed__free(l->memory);
    *l = (ed_lines){0};
}
