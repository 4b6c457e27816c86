/* inspect/metric_tokenize.c - BLEU's tokenizers 13a, zh, char and none, as sacreBLEU has them (13a is a port of NIST's mteval-v13a.pl). The
 * four regular expressions of 13a are written out as passes over code points: matches are found from left to right and do not overlap, and
 * "digit" and "punctuation" mean ASCII only. */
#include "inspect/metric.h"

static void swap(ed__cps *a, ed__cps *b) {
    ed__cps t = *a;
    *a = *b;
    *b = t;
}

static bool is_digit(uint32_t c) {
    return c >= '0' && c <= '9';
}

static bool is_point(uint32_t c) {
    return c == '.' || c == ',';
}

/* [\{-\~\[-\` -\&\(-\+\:-\@\/]: ASCII punctuation and space, without ' , - . */
static bool is_symbol(uint32_t c) {
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') ||
           c == '/';
}

/* Replaces each occurrence of the ASCII text `from` in place; `to` is never longer. */
static void replace(ed__cps *c, const char *from, const char *to) {
    size_t nf = strlen(from), nt = strlen(to), out = 0;
    for (size_t i = 0; i < c->n;) {
        size_t k = 0;
        while (k < nf && i + k < c->n && c->cp[i + k] == (unsigned char)from[k])
            k++;
        if (k < nf) {
            c->cp[out++] = c->cp[i++];
            continue;
        }
        for (size_t j = 0; j < nt; j++)
            c->cp[out++] = (unsigned char)to[j];
        i += nf;
    }
    c->n = out;
}

/* One pass: `first` and `second` tell whether a match begins at i (second is NULL for one-character matches); `shape` is the replacement with
 * 1 and 2 for the matched characters. At most 4 characters come from 1 or 2. */
static ed_status pass(ed__cps *line, ed__cps *out, bool (*first)(uint32_t), bool first_is, bool (*second)(uint32_t), bool second_is,
                      const char *shape) {
    ED_TRY(ed__cps_reserve(out, 4 * line->n));
    size_t n = 0, width = second != NULL ? 2 : 1;
    for (size_t i = 0; i < line->n;) {
        const uint32_t *c = line->cp + i;
        bool hit = i + width <= line->n && first(c[0]) == first_is && (second == NULL || second(c[1]) == second_is);
        if (!hit) {
            out->cp[n++] = c[0];
            i++;
            continue;
        }
        for (const char *s = shape; *s != '\0'; s++)
            out->cp[n++] = *s == '1' ? c[0] : *s == '2' ? c[1] : ' ';
        i += width;
    }
    out->n = n;
    swap(line, out);
    return ED_OK;
}

static bool is_dash(uint32_t c) {
    return c == '-';
}

static ed_status western(ed__cps *line, ed__cps *tmp) {
    ED_TRY(pass(line, tmp, is_symbol, true, NULL, false, " 1 "));
    ED_TRY(pass(line, tmp, is_digit, false, is_point, true, "1 2 "));
    ED_TRY(pass(line, tmp, is_point, true, is_digit, false, " 1 2"));
    return pass(line, tmp, is_digit, true, is_dash, true, "1 2 ");
}

static ed_status tokenize_13a(ed__cps *line, ed__cps *tmp) {
    replace(line, "<skipped>", "");
    replace(line, "-\n", "");
    replace(line, "\n", " ");
    replace(line, "&quot;", "\"");
    replace(line, "&amp;", "&");
    replace(line, "&lt;", "<");
    replace(line, "&gt;", ">");
    ED_TRY(ed__cps_reserve(line, line->n + 2));
    memmove(line->cp + 1, line->cp, line->n * sizeof *line->cp);
    line->cp[0] = ' ';
    line->cp[line->n + 1] = ' ';
    line->n += 2;
    return western(line, tmp);
}

/* sacreBLEU's ranges as they work there: its two ranges above U+FFFF are written as text of two characters, and comparing text then gives
 * U+2001..U+2A6D and U+2F81..U+2FA1. */
static bool is_chinese(uint32_t c) {
    static const uint16_t range[][2] = {{0x3400, 0x4db5}, {0x4e00, 0x9fa5}, {0x9fa6, 0x9fbb}, {0xf900, 0xfa2d}, {0xfa30, 0xfa6a},
                                        {0xfa70, 0xfad9}, {0x2001, 0x2a6d}, {0x2f81, 0x2fa1}, {0xff00, 0xffef}, {0x2e80, 0x2eff},
                                        {0x3000, 0x303f}, {0x31c0, 0x31ef}, {0x2f00, 0x2fdf}, {0x2ff0, 0x2fff}, {0x3100, 0x312f},
                                        {0x31a0, 0x31bf}, {0xfe10, 0xfe1f}, {0xfe30, 0xfe4f}, {0x2600, 0x26ff}, {0x2700, 0x27bf},
                                        {0x3200, 0x32ff}, {0x3300, 0x33ff}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (c >= range[i][0] && c <= range[i][1])
            return true;
    return false;
}

static ed_status tokenize_zh(ed__cps *line, ed__cps *tmp) {
    size_t start = 0;
    while (start < line->n && ed__cp_space(line->cp[start]))
        start++;
    line->n -= start;
    memmove(line->cp, line->cp + start, line->n * sizeof *line->cp);
    ED_TRY(pass(line, tmp, is_chinese, true, NULL, false, " 1 "));
    return western(line, tmp);
}

ed_status ed__bleu_tokenize(int tok, ed__cps *line, ed__cps *tmp, ed__metric_words *w) {
    if (tok == ED_BLEU_TOK_CHAR) {
        for (size_t i = 0; i < line->n; i++)
            if (!ed__cp_space(line->cp[i]))
                ED_TRY(ed__metric_words_add(w, line->cp + i, 1));
        return ED_OK;
    }
    if (tok == ED_BLEU_TOK_13A)
        ED_TRY(tokenize_13a(line, tmp));
    else if (tok == ED_BLEU_TOK_ZH)
        ED_TRY(tokenize_zh(line, tmp));
    return ed__metric_words_split(w, line->cp, line->n);
}
