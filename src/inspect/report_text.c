/* inspect/report_text.c - numbers and escaped text for JSON, XML and CSV. Numbers never follow the host's locale; invalid UTF-8 is replaced,
 * so that a file written here is always well-formed. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

/* A locale may write the decimal sign as "," or as several bytes: whatever is no part of a C number becomes one point. */
static const char *plain_point(const char *raw, char out[40]) {
    size_t n = 0;
    for (const char *s = raw; *s != '\0' && n < 39; s++) {
        bool plain = (*s >= '0' && *s <= '9') || *s == '-' || *s == '+' || *s == 'e';
        if (plain || n == 0 || out[n - 1] != '.')
            out[n++] = plain ? *s : '.';
    }
    out[n] = '\0';
    return out;
}

const char *ed__number_text(double v, int digits, char out[40]) {
    char raw[64];
    if (!isfinite(v)) {
        snprintf(out, 40, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return out;
    }
    snprintf(raw, sizeof raw, "%.*g", digits < 17 ? digits : 17, v);
    return plain_point(raw, out);
}

const char *ed__number_exact(double v, char out[40]) {
    char raw[64];
    for (int digits = 15; isfinite(v) && digits <= 17; digits++) {
        snprintf(raw, sizeof raw, "%.*g", digits, v);
        if (strtod(raw, NULL) == v) /* both follow the same locale */
            return plain_point(raw, out);
    }
    return ed__number_text(v, 17, out);
}

const char *ed__number_fixed(double v, int decimals, char out[40]) {
    char raw[64];
    if (!(fabs(v) < 1e15) || decimals < 0 || decimals > 15)
        return ed__number_text(v, 6, out);
    snprintf(raw, sizeof raw, "%.*f", decimals, v);
    return plain_point(raw, out);
}

void ed__json_put_number(ed__buf *b, double v) {
    char text[40];
    ed__buf_puts(b, isfinite(v) ? ed__number_exact(v, text) : "null");
}

static const char replacement[] = "\xEF\xBF\xBD";

void ed__json_put_text(ed__buf *b, const char *text) {
    size_t n = strlen(text);
    ed__buf_put(b, "\"", 1);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)text + i, n - i, &cp);
        if (len == 0)
            ed__buf_puts(b, replacement);
        else if (cp == '"' || cp == '\\')
            ed__buf_printf(b, "\\%c", (char)cp);
        else if (cp == '\n')
            ed__buf_puts(b, "\\n");
        else if (cp < 0x20 || cp == 0x7f)
            ed__buf_printf(b, "\\u%04x", (unsigned)cp);
        else
            ed__buf_put(b, text + i, (size_t)len);
        i += len > 0 ? (size_t)len : 1;
    }
    ed__buf_put(b, "\"", 1);
}

static const char *xml_entity(uint32_t cp) {
    switch (cp) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (cp < 0x20 && cp != '\n' && cp != '\t') || cp == 0xfffe || cp == 0xffff ? replacement : NULL;
    }
}

void ed__xml_put_text(ed__buf *b, const char *text) {
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)text + i, n - i, &cp);
        const char *entity = len == 0 ? replacement : xml_entity(cp);
        if (entity != NULL)
            ed__buf_puts(b, entity);
        else
            ed__buf_put(b, text + i, (size_t)len);
        i += len > 0 ? (size_t)len : 1;
    }
}

void ed__csv_put_text(ed__buf *b, const char *text) {
    if (strpbrk(text, ",\"\r\n") == NULL) {
        ed__buf_puts(b, text);
        return;
    }
    ed__buf_put(b, "\"", 1);
    for (const char *s = text; *s != '\0'; s++)
        ed__buf_put(b, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
    ed__buf_put(b, "\"", 1);
}

int ed__text_columns(const char *text) {
    size_t n = strlen(text);
    int columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode((const unsigned char *)text + i, n - i, &cp), width = 1;
        if (len > 0)
            width = utf8proc_charwidth((utf8proc_int32_t)cp);
        columns += width > 0 ? width : 0;
        i += len > 0 ? (size_t)len : 1;
    }
    return columns;
}

ed_status ed__buf_result(const ed__buf *b, const char *what, ed_error *err) {
    if (b->status == ED_OK)
        return ED_OK;
    if (b->status == ED_E_MEMORY)
        return ed_error_set(err, b->status, what, ED_NO_OFFSET, "out of memory while it is written");
    return ed_error_set(err, b->status, what, ED_NO_OFFSET, "it would become larger than the limit of %zu bytes", b->max);
}
