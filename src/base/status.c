/* base/status.c - status codes, their texts and exit codes, and the error record that carries the details of a failure.
 * One X-macro (ED_STATUS_LIST) yields numbers, names, texts and exit codes, so they cannot drift apart.
 * Invariant: every text in an ed_error is one line of valid UTF-8, whatever bytes (file names, tensor names) went into it. */
#include <stdarg.h>
#include <stdio.h>

#include "base/internal.h"

typedef struct status_row {
    const char *name, *text;
    int exit_code;
} status_row;

static const status_row ROWS[ED_STATUS_COUNT] = {
#define STATUS_ROW(name, code, text) {#name, text, code},
    ED_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

/* A status can come from a cast integer: anything out of the list reads as an internal error. */
static const status_row *row_of(ed_status s) {
    int i = (int)s;
    return &ROWS[i >= 0 && i < ED_STATUS_COUNT ? i : ED_E_INTERNAL];
}

const char *ed_version(void) {
#define STR2(x) #x
#define STR(x) STR2(x)
    return STR(ED_VERSION_MAJOR) "." STR(ED_VERSION_MINOR) "." STR(ED_VERSION_PATCH);
}

const char *ed_status_text(ed_status s) {
    return row_of(s)->text;
}

const char *ed_status_name(ed_status s) {
    return row_of(s)->name;
}

int ed_status_exit_code(ed_status s) {
    return row_of(s)->exit_code;
}

ed_status ed_error_set(ed_error *err, ed_status s, const char *where, uint64_t offset, const char *fmt, ...) {
    /* Formatted aside first: the arguments may point into *err itself (a caller that puts its own words before a lower message). */
    char message[2 * sizeof err->message], place[sizeof err->where];
    if (!err)
        return s;
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(message, sizeof message, fmt, ap) < 0)
        message[0] = '\0';
    va_end(ap);
    ed__text_line(place, sizeof place, where ? where : "");
    err->status = s;
    err->offset = offset;
    memcpy(err->where, place, sizeof place);
    ed__text_line(err->message, sizeof err->message, message);
    return s;
}

const char *ed_error_text(const ed_error *err, char *buf, size_t buf_bytes) {
    char line[sizeof err->where + sizeof err->message + 64], place[64] = "";
    if (buf_bytes == 0)
        return buf;
    buf[0] = '\0';
    if (!err)
        return buf;
    if (err->offset != ED_NO_OFFSET)
        snprintf(place, sizeof place, "byte %llu: ", (unsigned long long)err->offset);
    const char *message = err->message[0] ? err->message : ed_status_text(err->status);
    snprintf(line, sizeof line, "%s%s%s%s", err->where, err->where[0] ? ": " : "", place, message);
    ed__text_line(buf, buf_bytes, line);
    return buf;
}
