/* io/json_scan.c - pull scanner for JSON headers of weight files (json_scan.h).
 * Invariants: never reads past the text, never recurses, never allocates; a decoded string is never longer than its source. */
#include <stdarg.h>
#include <stdio.h>

#include "io/json_scan.h"

enum { SCAN_DEPTH_MAX = 64 };

ed__scan ed__scan_make(const char *where, const void *text, size_t n, uint64_t base, ed_error *err) {
    return (ed__scan){ed__reader_make(text, n), where, base, err};
}

ed_status ed__scan_fail(const ed__scan *s, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ed_error_set(s->err, ED_E_FORMAT, s->where, s->base + s->r.pos, "%s", text);
}

int ed__scan_peek(ed__scan *s) {
    ed__reader *r = &s->r;
    while (r->pos < r->len && (r->data[r->pos] == ' ' || r->data[r->pos] == '\n' || r->data[r->pos] == '\r' || r->data[r->pos] == '\t'))
        r->pos++;
    return r->pos < r->len ? r->data[r->pos] : -1;
}

ed_status ed__scan_expect(ed__scan *s, char c) {
    if (ed__scan_peek(s) != c)
        return ed__scan_fail(s, "JSON: expected '%c'", c);
    s->r.pos++;
    return ED_OK;
}

ed_status ed__scan_next(ed__scan *s, char close, bool *first, bool *more) {
    int c = ed__scan_peek(s);
    bool was_first = *first;
    *first = false;
    *more = true;
    if (c == close) {
        s->r.pos++;
        *more = false;
        return ED_OK;
    }
    if (was_first)
        return ED_OK;
    if (c != ',')
        return ed__scan_fail(s, "JSON: expected ',' or '%c'", close);
    s->r.pos++;
    if (ed__scan_peek(s) == close)
        return ed__scan_fail(s, "JSON: a comma before '%c'", close);
    return ED_OK;
}

/* ---- strings */

/* Four hex digits at p. */
static bool hex4(const unsigned char *p, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = p[i];
        unsigned d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
        if (d == 99)
            return false;
        v = v << 4 | d;
    }
    *out = v;
    return true;
}

/* \uXXXX, with its second half when it is a surrogate; the reader stands behind the 'u'. */
static ed_status scan_unicode(ed__scan *s, uint32_t *cp) {
    const unsigned char *p;
    uint32_t low;
    if (!ed__reader_take(&s->r, 4, &p) || !hex4(p, cp))
        return ed__scan_fail(s, "JSON: bad \\u escape");
    if (*cp >= 0xD800 && *cp < 0xDC00) {
        if (!ed__reader_take(&s->r, 6, &p) || p[0] != '\\' || p[1] != 'u' || !hex4(p + 2, &low) || low < 0xDC00 || low > 0xDFFF)
            return ed__scan_fail(s, "JSON: half a surrogate pair");
        *cp = 0x10000 + ((*cp - 0xD800) << 10) + (low - 0xDC00);
    } else if (*cp >= 0xDC00 && *cp <= 0xDFFF) {
        return ed__scan_fail(s, "JSON: half a surrogate pair");
    }
    return ED_OK;
}

static ed_status scan_escape(ed__scan *s, uint32_t *cp) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint8_t c;
    if (!ed__reader_u8(&s->r, &c))
        return ed__scan_fail(s, "JSON: string without end");
    if (c == 'u')
        return scan_unicode(s, cp);
    const char *hit = c ? strchr(from, c) : NULL;
    if (!hit)
        return ed__scan_fail(s, "JSON: unknown escape");
    *cp = (unsigned char)to[hit - from];
    return ED_OK;
}

/* One character of a string as UTF-8 in ch; *n = 0 at the closing quote. */
static ed_status scan_char(ed__scan *s, char ch[4], int *n) {
    ed__reader *r = &s->r;
    uint32_t cp = 0;
    if (r->pos == r->len)
        return ed__scan_fail(s, "JSON: string without end");
    unsigned char c = r->data[r->pos];
    if (c < 0x20)
        return ed__scan_fail(s, "JSON: control character in a string");
    if (c == '"') {
        r->pos++;
        *n = 0;
        return ED_OK;
    }
    if (c != '\\') {
        *n = c < 0x80 ? 1 : ed__utf8_decode(r->data + r->pos, ed__reader_left(r), &cp);
        if (*n == 0)
            return ed__scan_fail(s, "JSON: not valid UTF-8");
        memcpy(ch, r->data + r->pos, (size_t)*n);
        r->pos += (size_t)*n;
        return ED_OK;
    }
    r->pos++;
    ED_TRY(scan_escape(s, &cp));
    if (cp == 0)
        return ed__scan_fail(s, "JSON: NUL character in a string");
    *n = ed__utf8_encode(cp, ch);
    return ED_OK;
}

ed_status ed__scan_string(ed__scan *s, const char *what, size_t max_bytes, char *out, size_t *len) {
    char ch[4];
    int n = 0;
    size_t used = 0;
    if (ed__scan_peek(s) != '"')
        return ed__scan_fail(s, "JSON: expected a string (%s)", what);
    s->r.pos++;
    for (;;) {
        ED_TRY(scan_char(s, ch, &n));
        if (n == 0)
            break;
        if ((size_t)n > max_bytes - used)
            return ed_error_set(s->err, ED_E_LIMIT, s->where, s->base + s->r.pos, "%s longer than the limit of %zu bytes", what, max_bytes);
        if (out)
            memcpy(out + used, ch, (size_t)n);
        used += (size_t)n;
    }
    if (out)
        out[used] = '\0';
    *len = used;
    return ED_OK;
}

/* ---- numbers, anything */

ed_status ed__scan_uint(ed__scan *s, const char *what, uint64_t max, uint64_t *out) {
    ed__reader *r = &s->r;
    uint64_t v = 0;
    (void)ed__scan_peek(s);
    size_t start = r->pos;
    while (r->pos < r->len && r->data[r->pos] >= '0' && r->data[r->pos] <= '9') {
        unsigned d = r->data[r->pos] - '0';
        if (d > max || v > (max - d) / 10)
            return ed__scan_fail(s, "%s above the limit of %llu", what, (unsigned long long)max);
        v = v * 10 + d;
        r->pos++;
    }
    size_t digits = r->pos - start;
    if (digits == 0 || (digits > 1 && r->data[start] == '0'))
        return ed__scan_fail(s, "%s is not a whole number from 0", what);
    if (r->pos < r->len && (r->data[r->pos] == '.' || r->data[r->pos] == 'e' || r->data[r->pos] == 'E'))
        return ed__scan_fail(s, "%s is not a whole number", what);
    *out = v;
    return ED_OK;
}

/* A number, true, false or null: the run of its characters. Its spelling does not matter, for nobody uses the value. */
static ed_status skip_plain(ed__scan *s) {
    ed__reader *r = &s->r;
    size_t start = r->pos;
    while (r->pos < r->len && (strchr("+-.", r->data[r->pos]) || (r->data[r->pos] >= '0' && r->data[r->pos] <= '9') ||
                               ((r->data[r->pos] | 0x20) >= 'a' && (r->data[r->pos] | 0x20) <= 'z')) && r->data[r->pos] != 0)
        r->pos++;
    return r->pos > start ? ED_OK : ed__scan_fail(s, "JSON: expected a value");
}

/* Value by value with a stack of one bit per open bracket: 1 = object. */
ed_status ed__scan_skip(ed__scan *s) {
    uint64_t objects = 0;
    int depth = 0;
    bool opened = false; /* the last step opened a bracket: the next one may close it at once */
    do {
        size_t len;
        bool more = true;
        if (depth > 0)
            ED_TRY(ed__scan_next(s, objects & 1 ? '}' : ']', &opened, &more));
        if (!more) {
            objects >>= 1;
            depth--;
            continue;
        }
        if (depth > 0 && (objects & 1)) {
            ED_TRY(ed__scan_string(s, "key", SIZE_MAX, NULL, &len));
            ED_TRY(ed__scan_expect(s, ':'));
        }
        int c = ed__scan_peek(s);
        if (c == '"') {
            ED_TRY(ed__scan_string(s, "value", SIZE_MAX, NULL, &len));
        } else if (c == '{' || c == '[') {
            if (depth == SCAN_DEPTH_MAX)
                return ed__scan_fail(s, "JSON: nested deeper than %d", SCAN_DEPTH_MAX);
            s->r.pos++;
            objects = objects << 1 | (c == '{');
            depth++;
            opened = true;
        } else {
            ED_TRY(skip_plain(s));
        }
    } while (depth > 0);
    return ED_OK;
}

ed_status ed__scan_end(ed__scan *s) {
    return ed__scan_peek(s) == -1 ? ED_OK : ed__scan_fail(s, "JSON: text after the end");
}
