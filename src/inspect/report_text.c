/* inspect/report_text.c - numbers and escaped text for JSON, XML and CSV. Numbers never follow the host's locale; invalid UTF-8 is replaced,
 * so that a file written here is always well-formed. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

/* A locale may write the decimal sign as "," or as several bytes: whatever is no part of a C number becomes one point. */
const char *ed__number_text(double v, int digits, char out[40]) {
    char raw[64];
    size_t n = 0;
    if (!isfinite(v)) {
        snprintf(out, 40, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return out;
    }
    snprintf(raw, sizeof raw, "%.*g", digits < 17 ? digits : 17, v);
    for (const char *s = raw; *s != '\0' && n < 39; s++) {
        bool plain = (*s >= '0' && *s <= '9') || *s == '-' || *s == '+' || *s == 'e';
        if (plain || n == 0 || out[n - 1] != '.')
            out[n++] = plain ? *s : '.';
    }
    out[n] = '\0';
    return out;
}

void ed__json_put_number(ed__buf *b, double v, int digits) {
    char text[40];
    ed__buf_puts(b, isfinite(v) ? ed__number_text(v, digits, text) : "null");
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
