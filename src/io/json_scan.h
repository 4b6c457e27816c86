/* io/json_scan.h - a pull scanner for the two JSON headers that describe weights (safetensors header, shard index).
 * Why not jansson here: these texts come from hostile files of up to 100 MB, a document tree would cost twenty times their size, and errors must name
 * the byte in the file. The scanner allocates nothing, does not recurse, and accepts strict JSON (RFC 8259) only. */
#ifndef ED_IO_JSON_SCAN_H
#define ED_IO_JSON_SCAN_H

#include "io/reader.h"

typedef struct ed__scan {
    ed__reader r;
    const char *where; /* file, for errors */
    uint64_t base;     /* offset of r.data in the file */
    ed_error *err;
} ed__scan;

ed__scan ed__scan_make(const char *where, const void *text, size_t n, uint64_t base, ed_error *err);
/** ED_E_FORMAT at the current byte. */
ed_status ed__scan_fail(const ed__scan *s, const char *fmt, ...) ED_PRINTF(2, 3);
/** Next character after blanks, not taken; -1 at the end. */
int ed__scan_peek(ed__scan *s);
/** Takes `c` after blanks, or fails. */
ed_status ed__scan_expect(ed__scan *s, char c);
/** Steps through the members of an object or the items of an array: call with *first = true after the opening bracket was taken. *more = false when
 *  `close` was taken. */
ed_status ed__scan_next(ed__scan *s, char close, bool *first, bool *more);
/** A string, decoded to UTF-8. out NULL: only checked and measured. Otherwise out gets *len bytes and a NUL. Longer than max_bytes (what: "name",
 *  for the message) is ED_E_LIMIT; NUL characters and invalid UTF-8 are ED_E_FORMAT. *len is the decoded length without NUL. */
ed_status ed__scan_string(ed__scan *s, const char *what, size_t max_bytes, char *out, size_t *len);
/** A whole number 0..max without sign, fraction, exponent or leading zeros. */
ed_status ed__scan_uint(ed__scan *s, const char *what, uint64_t max, uint64_t *out);
/** Any value, of a nesting of at most 64. */
ed_status ed__scan_skip(ed__scan *s);
/** Only blanks may be left. */
ed_status ed__scan_end(ed__scan *s);

#endif
