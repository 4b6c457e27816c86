/* inspect/metric_text.c - lines as code points: decoding, whitespace, lower case, words. Invariant: what Python's str does (isspace, lower,
 * split, rstrip), because sacreBLEU's numbers stand on it. */
#include "inspect/metric.h"

#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

ed_status ed__cps_reserve(ed__cps *c, size_t n) {
    return ed__grow((void **)&c->cp, &c->cap, n > 0 ? n : 1, sizeof *c->cp, (size_t)1 << 31);
}

void ed__cps_free(ed__cps *c) {
    ed__free(c->cp);
    *c = (ed__cps){0};
}

ed_status ed__cps_decode(ed__cps *c, const char *line, int64_t index, ed_error *err) {
    const unsigned char *s = (const unsigned char *)line;
    size_t n = strnlen(line, ED_METRIC_LINE_MAX + 1);
    ED_FAIL_IF(n > ED_METRIC_LINE_MAX, ED_E_LIMIT, err, "line %lld is longer than the limit of %zu bytes", (long long)index + 1,
               ED_METRIC_LINE_MAX);
    ED_FAIL_IF(ed__cps_reserve(c, n) != ED_OK, ED_E_MEMORY, err, "out of memory for a line of %zu bytes", n);
    c->n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        int len = ed__utf8_decode(s + i, n - i, &cp);
        if (len == 0) {
            cp = 0xDC00u + s[i];
            len = 1;
        }
        c->cp[c->n++] = cp;
        i += (size_t)len;
    }
    return ED_OK;
}

bool ed__cp_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

void ed__cps_rstrip(ed__cps *c) {
    while (c->n > 0 && ed__cp_space(c->cp[c->n - 1]))
        c->n--;
}

/* Unicode's Cased and Case_Ignorable as far as the final-sigma rule needs them (Unicode 3.13, table 3-17). The ranges are the cased
 * characters that are no letters by category: ordinals, Roman numerals, letters in circles and squares. */
static bool is_cased(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || c == 0xaa || c == 0xba ||
           (c >= 0x2160 && c <= 0x217f) || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

static bool is_case_ignorable(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_LM ||
           k == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2018 || c == 0x2019 || c == 0x2024 ||
           c == 0x2027;
}

static bool sigma_is_final(const ed__cps *c, size_t at) {
    size_t i = at, j = at + 1;
    while (i > 0 && is_case_ignorable(c->cp[i - 1]))
        i--;
    if (i == 0 || !is_cased(c->cp[i - 1]))
        return false;
    while (j < c->n && is_case_ignorable(c->cp[j]))
        j++;
    return j == c->n || !is_cased(c->cp[j]);
}

ed_status ed__cps_lower(ed__cps *c, ed__cps *tmp) {
    ED_TRY(ed__cps_reserve(tmp, 2 * c->n));
    tmp->n = 0;
    for (size_t i = 0; i < c->n; i++) {
        uint32_t cp = c->cp[i];
        if (cp == 0x3a3) {
            tmp->cp[tmp->n++] = sigma_is_final(c, i) ? 0x3c2 : 0x3c3;
        } else if (cp == 0x130) {
            tmp->cp[tmp->n++] = 'i';
            tmp->cp[tmp->n++] = 0x307;
        } else {
            tmp->cp[tmp->n++] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
        }
    }
    ed__cps swap = *c;
    *c = *tmp;
    *tmp = swap;
    return ED_OK;
}

void ed__metric_words_reset(ed__metric_words *w) {
    w->text.n = 0;
    w->n = 0;
}

void ed__metric_words_free(ed__metric_words *w) {
    ed__cps_free(&w->text);
    ed__free(w->w);
    ed__free(w->ids);
    *w = (ed__metric_words){0};
}

ed_status ed__metric_words_add(ed__metric_words *w, const uint32_t *cp, size_t n) {
    ED_TRY(ed__cps_reserve(&w->text, w->text.n + n));
    ED_TRY(ed__grow((void **)&w->w, &w->cap, w->n + 1, sizeof *w->w, UINT32_MAX));
    if (n > 0)
        memcpy(w->text.cp + w->text.n, cp, n * sizeof *cp);
    w->w[w->n++] = (struct ed__word){.off = w->text.n, .len = n};
    w->text.n += n;
    return ED_OK;
}

ed_status ed__metric_words_split(ed__metric_words *w, const uint32_t *cp, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        while (i < n && !ed__cp_space(cp[i]))
            i++;
        if (i > start)
            ED_TRY(ed__metric_words_add(w, cp + start, i - start));
        else
            i++;
    }
    return ED_OK;
}

struct key {
    const uint32_t *cp;
    size_t len, index;
};

static int key_compare(const void *pa, const void *pb) {
    const struct key *a = pa, *b = pb;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->cp, b->cp, a->len * sizeof *a->cp);
}

/* Sorted, equal words stand side by side; any total order does. */
ed_status ed__metric_words_intern(ed__metric_words *w) {
    struct key *keys = ed__malloc((w->n + 1) * sizeof *keys);
    ed_status s = keys == NULL ? ED_E_MEMORY : ed__grow((void **)&w->ids, &w->ids_cap, w->n + 1, sizeof *w->ids, UINT32_MAX);
    if (s != ED_OK) {
        ed__free(keys);
        return s;
    }
    for (size_t i = 0; i < w->n; i++)
        keys[i] = (struct key){.cp = w->text.cp + w->w[i].off, .len = w->w[i].len, .index = i};
    qsort(keys, w->n, sizeof *keys, key_compare);
    uint32_t id = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (i > 0 && key_compare(&keys[i - 1], &keys[i]) != 0)
            id++;
        w->ids[keys[i].index] = id;
    }
    ed__free(keys);
    return ED_OK;
}

ed_status ed__metric_check(const char *const *hyps, const char *const *refs, int n_refs, int64_t n, char nrefs_text[16], ed_error *err) {
    ED_FAIL_IF(hyps == NULL || refs == NULL, ED_E_INVALID, err, "hypotheses and references must not be NULL");
    ED_FAIL_IF(n < 1, ED_E_INVALID, err, "no lines to score");
    ED_FAIL_IF(n_refs < 1 || n_refs > ED_METRIC_REFS_MAX, ED_E_INVALID, err, "%d references a line; allowed are 1 to %d", n_refs,
               ED_METRIC_REFS_MAX);
    int first = 0;
    bool varies = false;
    for (int64_t i = 0; i < n; i++) {
        int have = 0;
        for (int r = 0; r < n_refs; r++)
            have += refs[r * n + i] != NULL;
        ED_FAIL_IF(hyps[i] == NULL, ED_E_INVALID, err, "line %lld has no hypothesis", (long long)i + 1);
        ED_FAIL_IF(have == 0, ED_E_INVALID, err, "line %lld has no reference", (long long)i + 1);
        first = i == 0 ? have : first;
        varies |= have != first;
    }
    if (varies)
        snprintf(nrefs_text, 16, "var");
    else
        snprintf(nrefs_text, 16, "%d", first);
    return ED_OK;
}
