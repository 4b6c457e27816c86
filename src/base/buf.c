/* base/buf.c - growable byte buffer with a mandatory maximum. The first failure is kept in `status`; later appends do nothing, so a writer checks once
 * at the end. Invariant: data is NULL or NUL-terminated at data[len], len <= max. */
#include <stdarg.h>
#include <stdio.h>

#include "base/internal.h"

void ed__buf_init(ed__buf *b, size_t max_bytes) {
    *b = (ed__buf){.max = max_bytes};
}

void ed__buf_deinit(ed__buf *b) {
    ed__free(b->data);
    *b = (ed__buf){.max = b->max};
}

/* Room for n more bytes and the NUL; false (and status set) past the maximum or out of memory. */
static bool make_room(ed__buf *b, size_t n) {
    if (b->status != ED_OK)
        return false;
    size_t most = b->max < SIZE_MAX ? b->max : SIZE_MAX - 1; /* the NUL behind the last byte counts in the capacity */
    if (n > most - b->len) {
        b->status = ED_E_LIMIT;
        return false;
    }
    b->status = ed__grow((void **)&b->data, &b->cap, b->len + n + 1, 1, most + 1);
    return b->status == ED_OK;
}

void ed__buf_put(ed__buf *b, const void *bytes, size_t n) {
    if (!make_room(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void ed__buf_puts(ed__buf *b, const char *s) {
    ed__buf_put(b, s, strlen(s));
}

void ed__buf_printf(ed__buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 && b->status == ED_OK)
        b->status = ED_E_INVALID;
    if (n < 0 || !make_room(b, (size_t)n))
        return;
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void ed__buf_reset(ed__buf *b) {
    b->len = 0;
    b->status = ED_OK;
    if (b->data)
        b->data[0] = '\0';
}
