/* base/option.c - one table of rows describes an options struct; text is parsed into its fields under the row's bounds.
 * Invariant: a refused text leaves the field as it was. '-' and '_' are the same in keys and enum names. */
#include <math.h>
#include <stdio.h>

#include "base/internal.h"

#define FIELD(type, o, opts) ((type *)(void *)((char *)(opts) + (o)->offset))
#define FIELD_CONST(type, o, opts) ((const type *)(const void *)((const char *)(opts) + (o)->offset))

enum { LIST_BYTES = 384 };

static ed_status set_bool(const ed_option *o, void *opts, const char *text, ed_error *err) {
    static const char *const TRUE_WORDS[] = {"true", "1", "yes", "on"}, *const FALSE_WORDS[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(text, TRUE_WORDS[i]) == 0 || strcmp(text, FALSE_WORDS[i]) == 0) {
            *FIELD(bool, o, opts) = strcmp(text, TRUE_WORDS[i]) == 0;
            return ED_OK;
        }
    }
    return ed_error_set(err, ED_E_INVALID, o->key, ED_NO_OFFSET, "'%s' is not true or false", text);
}

static void bounds_text(const ed_option *o, char *buf, size_t buf_bytes) {
    char lo[32], hi[32];
    ed__format_f64(o->min, lo, sizeof lo);
    ed__format_f64(o->max, hi, sizeof hi);
    snprintf(buf, buf_bytes, "from %s to %s", lo, hi);
}

/* Exact comparison of an integer with a bound held as double: beyond 2^53 a conversion of v would round. */
static bool int_within(int64_t v, double min, double max) {
    bool low_ok = min <= -0x1p63 || (min < 0x1p63 && v >= (int64_t)ceil(min));
    bool high_ok = max >= 0x1p63 || (max >= -0x1p63 && v <= (int64_t)floor(max));
    return low_ok && high_ok;
}

static ed_status set_int(const ed_option *o, void *opts, const char *text, ed_error *err) {
    int64_t v;
    char bounds[80];
    bounds_text(o, bounds, sizeof bounds);
    if (!ed__parse_i64(text, &v))
        return ed_error_set(err, ED_E_INVALID, o->key, ED_NO_OFFSET, "'%s' is not a whole number %s", text, bounds);
    if (!int_within(v, o->min, o->max))
        return ed_error_set(err, ED_E_RANGE, o->key, ED_NO_OFFSET, "%s is not %s", text, bounds);
    *FIELD(int64_t, o, opts) = v;
    return ED_OK;
}

static ed_status set_float(const ed_option *o, void *opts, const char *text, ed_error *err) {
    double v;
    char bounds[80];
    bounds_text(o, bounds, sizeof bounds);
    if (!ed__parse_f64(text, &v) || isnan(v))
        return ed_error_set(err, ED_E_INVALID, o->key, ED_NO_OFFSET, "'%s' is not a number %s", text, bounds);
    if (!(v >= o->min && v <= o->max)) /* an infinity passes only where the bound itself is infinite */
        return ed_error_set(err, ED_E_RANGE, o->key, ED_NO_OFFSET, "%s is not %s", text, bounds);
    *FIELD(double, o, opts) = v;
    return ED_OK;
}

static ed_status set_string(const ed_option *o, void *opts, const char *text, ed_error *err) {
    char *copy = ed__strdup(text);
    if (!copy)
        return ed_error_set(err, ED_E_MEMORY, o->key, ED_NO_OFFSET, "no memory for %zu bytes of text", strlen(text));
    ed__free(*FIELD(char *, o, opts));
    *FIELD(char *, o, opts) = copy;
    return ED_OK;
}

static ed_status set_enum(const ed_option *o, void *opts, const char *text, ed_error *err) {
    char list[LIST_BYTES] = "";
    size_t at = 0;
    for (int i = 0; o->names[i]; i++) {
        if (ed__name_equal(o->names[i], text)) {
            *FIELD(int, o, opts) = i;
            return ED_OK;
        }
        if (at < sizeof list)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", o->names[i]);
    }
    return ed_error_set(err, ED_E_INVALID, o->key, ED_NO_OFFSET, "'%.64s' is not one of %s", text, list);
}

ed_status ed_option_set(const ed_option *o, void *opts, const char *text, ed_error *err) {
    if (!o || !opts || !text)
        return ed_error_set(err, ED_E_INVALID, o ? o->key : "", ED_NO_OFFSET, "an option needs a value");
    switch (o->type) {
    case ED_OPT_BOOL:
        return set_bool(o, opts, text, err);
    case ED_OPT_INT:
        return set_int(o, opts, text, err);
    case ED_OPT_FLOAT:
        return set_float(o, opts, text, err);
    case ED_OPT_STRING:
        return set_string(o, opts, text, err);
    case ED_OPT_ENUM:
        return set_enum(o, opts, text, err);
    }
    return ed_error_set(err, ED_E_INTERNAL, o->key, ED_NO_OFFSET, "option row of unknown type %d", (int)o->type);
}

const ed_option *ed_option_find(const ed_option *table, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++)
        if (ed__name_equal(table[i].key, key))
            return &table[i];
    return NULL;
}

/* Nearest key of the table, or NULL; no memory is an accepted reason to give no hint. */
static const char *nearest_key(const ed_option *table, size_t n, const char *key) {
    const char **names = n > 0 && n <= 4096 ? ed__calloc(n, sizeof *names) : NULL;
    if (!names)
        return NULL;
    for (size_t i = 0; i < n; i++)
        names[i] = table[i].key;
    int at = ed__nearest_name(key, names, (int)n);
    const char *found = at < 0 ? NULL : names[at];
    ed__free(names);
    return found;
}

ed_status ed_option_set_key(const ed_option *table, size_t n, void *opts, const char *key, const char *text, ed_error *err) {
    const ed_option *o = ed_option_find(table, n, key);
    if (o)
        return ed_option_set(o, opts, text, err);
    const char *near = nearest_key(table, n, key);
    if (near)
        return ed_error_set(err, ED_E_NOT_FOUND, key, ED_NO_OFFSET, "unknown option; did you mean '%s'?", near);
    return ed_error_set(err, ED_E_NOT_FOUND, key, ED_NO_OFFSET, "unknown option");
}

static const char *enum_name(const ed_option *o, int value) {
    for (int i = 0; o->names[i]; i++)
        if (i == value)
            return o->names[i];
    return "?";
}

const char *ed_option_get(const ed_option *o, const void *opts, char *buf, size_t buf_bytes) {
    char number[64] = "";
    const char *text = number;
    if (buf_bytes == 0)
        return buf;
    if (o->type == ED_OPT_BOOL)
        text = *FIELD_CONST(bool, o, opts) ? "true" : "false";
    else if (o->type == ED_OPT_INT)
        snprintf(number, sizeof number, "%lld", (long long)*FIELD_CONST(int64_t, o, opts));
    else if (o->type == ED_OPT_FLOAT)
        ed__format_f64(*FIELD_CONST(double, o, opts), number, sizeof number);
    else if (o->type == ED_OPT_STRING)
        text = *FIELD_CONST(char *, o, opts) ? *FIELD_CONST(char *, o, opts) : "";
    else if (o->type == ED_OPT_ENUM)
        text = enum_name(o, *FIELD_CONST(int, o, opts));
    size_t n = strlen(text);
    if (n >= buf_bytes)
        for (n = buf_bytes - 1; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;)
            n--; /* cut between characters */
    memcpy(buf, text, n);
    buf[n] = '\0';
    return buf;
}

void ed_options_release(const ed_option *table, size_t n, void *opts) {
    for (size_t i = 0; i < n; i++) {
        if (table[i].type != ED_OPT_STRING)
            continue;
        ed__free(*FIELD(char *, &table[i], opts));
        *FIELD(char *, &table[i], opts) = NULL;
    }
}
