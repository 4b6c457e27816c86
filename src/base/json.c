/* base/json.c - JSON over jansson, with the bounds that hostile files need.
 * Invariants: nesting of at most 64 (checked by a scan before jansson recurses), duplicate keys and NUL characters refused, the whole input is one
 * value; every error names the place and the byte. Integers beyond int64 read as floats. */
#include <jansson.h>

#include "base/internal.h"

enum { JSON_DEPTH_MAX = 64 };
#define JSON_BYTES_MAX ((size_t)1 << 30) /* jansson tells positions as int */

/* Offset of the first bracket that nests too deep, or n. Strings are skipped; anything malformed is left to the parser. */
static size_t too_deep_at(const char *text, size_t n) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return i;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return n;
}

/* Does this run of digits not fit into an int64? */
static bool too_big(const char *digits, size_t n, bool negative) {
    const char *limit = negative ? "9223372036854775808" : "9223372036854775807";
    return n > 19 || (n == 19 && memcmp(digits, limit, 19) > 0);
}

/* Integers beyond int64 are legal JSON and stand in real configuration files (1e30 written out as "no maximum"), but jansson refuses them. In a
 * copy, their last two digits become "e2": the value stays right to 17 digits, it reads as a float, and no byte offset moves. */
static void soften_big_integers(char *text, size_t n) {
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') {
            in_string = !in_string;
        } else if (in_string) {
            i += text[i] == '\\';
        } else if (text[i] >= '0' && text[i] <= '9') {
            size_t first = i;
            while (i < n && text[i] >= '0' && text[i] <= '9')
                i++;
            bool integer = i == n || (text[i] != '.' && text[i] != 'e' && text[i] != 'E');
            bool negative = first > 0 && text[first - 1] == '-';
            char before = first > negative ? text[first - 1 - negative] : ' ';
            bool starts_number = before != '.' && before != 'e' && before != 'E' && before != '+'; /* else a fraction or an exponent */
            if (integer && starts_number && too_big(text + first, i - first, negative))
                memcpy(text + i - 2, "e2", 2);
            i--; /* the loop steps on */
        }
    }
}

static json_t *load(const char *text, size_t n, json_error_t *e) {
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
    json_t *value = json_loadb(n ? text : "", n, flags, e);
    if (value || json_error_code(e) != json_error_numeric_overflow)
        return value;
    char *copy = ed__malloc(n);
    if (!copy)
        return NULL; /* told as the overflow it was */
    memcpy(copy, text, n);
    soften_big_integers(copy, n);
    value = json_loadb(copy, n, flags, e);
    ed__free(copy);
    return value;
}

ed_status ed__json_parse(const char *where, const void *text, size_t n, json_t **out, ed_error *err) {
    json_error_t e;
    *out = NULL;
    if (n > JSON_BYTES_MAX)
        return ed_error_set(err, ED_E_LIMIT, where, ED_NO_OFFSET, "%zu bytes of JSON, above the limit of %zu", n, JSON_BYTES_MAX);
    size_t deep = too_deep_at(text, n);
    if (deep < n)
        return ed_error_set(err, ED_E_LIMIT, where, deep, "JSON nested deeper than %d", JSON_DEPTH_MAX);
    *out = load(text, n, &e);
    if (*out)
        return ED_OK;
    if (json_error_code(&e) == json_error_out_of_memory)
        return ed_error_set(err, ED_E_MEMORY, where, ED_NO_OFFSET, "no memory to parse %zu bytes of JSON", n);
    uint64_t at = e.position >= 0 && (size_t)e.position <= n ? (uint64_t)e.position : ED_NO_OFFSET;
    return ed_error_set(err, ED_E_FORMAT, where, at, "not valid JSON: %s", e.text);
}

ed_status ed__json_load(const char *path, size_t max_bytes, json_t **out, ed_error *err) {
    ed__map m;
    *out = NULL;
    ED_TRY(ed__map_open(path, max_bytes, &m, err));
    ed_status s = ed__json_parse(path, m.data, m.size, out, err);
    ed__map_close(&m);
    return s;
}

/* Finds a key. *value stays NULL when it is absent or null (both mean "use the default"). */
static ed_status find(const json_t *o, const char *key, const json_t **value, const char *where, ed_error *err) {
    *value = NULL;
    if (!json_is_object(o))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "a JSON object is needed to hold '%s'", key);
    const json_t *v = json_object_get(o, key);
    if (v && !json_is_null(v))
        *value = v;
    return ED_OK;
}

ed_status ed__json_int(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, const char *where, ed_error *err) {
    const json_t *v;
    ED_TRY(find(o, key, &v, where, err));
    if (!v)
        return ED_OK;
    if (!json_is_integer(v))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' must be a whole number", key);
    int64_t x = json_integer_value(v);
    if (x < min || x > max)
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' is %lld, allowed is %lld to %lld", key, (long long)x, (long long)min,
                            (long long)max);
    *out = x;
    return ED_OK;
}

ed_status ed__json_float(const json_t *o, const char *key, double min, double max, double *out, const char *where, ed_error *err) {
    const json_t *v;
    ED_TRY(find(o, key, &v, where, err));
    if (!v)
        return ED_OK;
    if (!json_is_number(v))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' must be a number", key);
    double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' is %g, allowed is %g to %g", key, x, min, max);
    *out = x;
    return ED_OK;
}

ed_status ed__json_bool(const json_t *o, const char *key, bool *out, const char *where, ed_error *err) {
    const json_t *v;
    ED_TRY(find(o, key, &v, where, err));
    if (!v)
        return ED_OK;
    if (!json_is_boolean(v))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' must be true or false", key);
    *out = json_is_true(v);
    return ED_OK;
}

ed_status ed__json_str(const json_t *o, const char *key, const char **out, const char *where, ed_error *err) {
    const json_t *v;
    ED_TRY(find(o, key, &v, where, err));
    if (!v)
        return ED_OK;
    if (!json_is_string(v))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "'%s' must be a text", key);
    *out = json_string_value(v);
    return ED_OK;
}
