/* inspect/report_lab.c - the claims of a lab run as a terminal table, JSON and HTML. The three are views of the same rows: numbers have four
 * significant digits for readers and are exact in JSON; an absent number is "-", or null in JSON. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

#define TEXT_MAX ((size_t)16 << 20)
#define CLAIMS_MAX 4096

const char *ed_verdict_name(ed_verdict v) {
    static const char *const names[] = {"pass", "fail", "inconclusive", "skipped"};
    return v >= 0 && v < ED_VERDICT_COUNT ? names[v] : "unknown";
}

ed_verdict ed_lab_holds(const ed_lab *lab) {
    bool seen[ED_VERDICT_COUNT] = {false};
    for (int i = 0; i < lab->n_claims; i++)
        if (lab->claims[i].holds >= 0 && lab->claims[i].holds < ED_VERDICT_COUNT)
            seen[lab->claims[i].holds] = true;
    return seen[ED_VERDICT_FAIL]           ? ED_VERDICT_FAIL
           : seen[ED_VERDICT_INCONCLUSIVE] ? ED_VERDICT_INCONCLUSIVE
           : seen[ED_VERDICT_PASS]         ? ED_VERDICT_PASS
                                           : ED_VERDICT_SKIPPED;
}

static ed_status check_lab(const ed_lab *lab, ed_error *err) {
    ED_FAIL_IF(lab == NULL || lab->slug == NULL || lab->title == NULL, ED_E_INVALID, err, "a lab report needs slug and title");
    ED_FAIL_IF(lab->n_claims < 0 || lab->n_claims > CLAIMS_MAX || (lab->claims == NULL && lab->n_claims > 0), ED_E_INVALID, err,
               "a lab report has 0 to %d claims", CLAIMS_MAX);
    for (int i = 0; i < lab->n_claims; i++)
        ED_FAIL_IF(lab->claims[i].text == NULL || (int)lab->claims[i].holds < 0 || lab->claims[i].holds >= ED_VERDICT_COUNT, ED_E_INVALID,
                   err, "claim %d lacks a text or a verdict", i + 1);
    return ED_OK;
}

void ed_report_free(char **text) {
    if (text == NULL)
        return;
    ed__free(*text);
    *text = NULL;
}

/* Hands the buffer's memory to the caller. */
static ed_status take(ed__buf *b, char **out, ed_error *err) {
    ed_status s = ed__buf_result(b, "lab report", err);
    *out = NULL;
    if (s != ED_OK) {
        ed__buf_deinit(b);
        return s;
    }
    *out = b->data;
    return ED_OK;
}

static const char *number(double v, char out[40]) {
    if (isnan(v)) {
        snprintf(out, 40, "-");
        return out;
    }
    return ed__number_text(v, 4, out);
}

/* The four numbers of a claim in the order of the table. */
static void numbers(const ed_claim *c, double out[4]) {
    out[0] = c->paper;
    out[1] = c->baseline;
    out[2] = c->measured;
    out[3] = c->threshold;
}

static const char *const number_names[4] = {"paper", "baseline", "measured", "threshold"};

/* ---- JSON */

static void put_json_claim(ed__buf *b, const ed_claim *c) {
    double v[4];
    numbers(c, v);
    ed__buf_puts(b, "{\"text\":");
    ed__json_put_text(b, c->text);
    for (int k = 0; k < 4; k++) {
        ed__buf_printf(b, ",\"%s\":", number_names[k]);
        ed__json_put_number(b, v[k]);
    }
    ed__buf_printf(b, ",\"holds\":\"%s\"}", ed_verdict_name(c->holds));
}

ed_status ed_lab_json(const ed_lab *lab, char **out, ed_error *err) {
    ed__buf b;
    ED_FAIL_IF(out == NULL, ED_E_INVALID, err, "result must not be NULL");
    *out = NULL;
    ED_TRY(check_lab(lab, err));
    ed__buf_init(&b, TEXT_MAX);
    ed__buf_puts(&b, "{\"slug\":");
    ed__json_put_text(&b, lab->slug);
    ed__buf_puts(&b, ",\"title\":");
    ed__json_put_text(&b, lab->title);
    ed__buf_puts(&b, ",\"claims\":[");
    for (int i = 0; i < lab->n_claims; i++) {
        ed__buf_puts(&b, i > 0 ? "," : "");
        put_json_claim(&b, &lab->claims[i]);
    }
    ed__buf_printf(&b, "],\"holds\":\"%s\",\"seconds\":", ed_verdict_name(ed_lab_holds(lab)));
    ed__json_put_number(&b, lab->seconds);
    ed__buf_puts(&b, ",\"machine\":");
    ed__json_put_text(&b, lab->machine != NULL ? lab->machine : "");
    ed__buf_puts(&b, "}\n");
    return take(&b, out, err);
}

/* ---- terminal */

static void put_spaces(ed__buf *b, int n) {
    for (int i = 0; i < n; i++)
        ed__buf_put(b, " ", 1);
}

static void put_right(ed__buf *b, const char *text, int width) {
    put_spaces(b, width - ed__text_columns(text));
    ed__buf_puts(b, text);
}

/* Bytes of `text` that fit in `width` columns, cut after a word where one ends; at least one character. *next gets what follows, without the
 * space at the cut. Control characters end up as spaces in put_line. */
static size_t line_length(const char *text, int width, const char **next) {
    size_t n = strlen(text), fit = 0, word = 0;
    int columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        char one[5] = {0};
        int len = ed__utf8_decode((const unsigned char *)text + i, n - i, &cp);
        size_t step = len > 0 ? (size_t)len : 1;
        memcpy(one, text + i, step);
        columns += ed__text_columns(one);
        if (columns > width && i > 0)
            break;
        if (text[i] == ' ')
            word = i;
        fit = i += step;
    }
    if (fit < n && text[fit] != ' ' && word > 0)
        fit = word;
    *next = text + fit + strspn(text + fit, " ");
    return fit;
}

/* One line of a text: control bytes become spaces, so that a claim can't send commands to the terminal. Returns its columns. */
static int put_line(ed__buf *b, const char *text, size_t n) {
    size_t start = b->len;
    ed__buf_put(b, text, n);
    if (b->status != ED_OK || n == 0)
        return 0;
    for (size_t i = start; i < b->len; i++)
        if ((unsigned char)b->data[i] < 0x20 || b->data[i] == 0x7f)
            b->data[i] = ' ';
    return ed__text_columns(b->data + start);
}

/* The claim's text wrapped in its column; numbers and verdict stand on its first line. */
static void put_text_claim(ed__buf *b, const ed_claim *c, int text_width, const int width[4]) {
    double v[4];
    char cell[40];
    const char *rest = c->text;
    numbers(c, v);
    for (bool first = true; first || *rest != '\0'; first = false) {
        const char *line = rest;
        size_t n = line_length(line, text_width, &rest);
        ed__buf_puts(b, "  ");
        int used = put_line(b, line, n);
        if (first) {
            put_spaces(b, text_width - used);
            for (int k = 0; k < 4; k++)
                put_right(b, number(v[k], cell), width[k] + 2);
            ed__buf_printf(b, "  %s", ed_verdict_name(c->holds));
        }
        ed__buf_puts(b, "\n");
    }
}

static void column_widths(const ed_lab *lab, int width[4]) {
    char cell[40];
    for (int k = 0; k < 4; k++) {
        width[k] = (int)strlen(number_names[k]);
        for (int i = 0; i < lab->n_claims; i++) {
            double v[4];
            numbers(&lab->claims[i], v);
            int w = (int)strlen(number(v[k], cell));
            width[k] = w > width[k] ? w : width[k];
        }
    }
}

ed_status ed_lab_text(const ed_lab *lab, int columns, char **out, ed_error *err) {
    ed__buf b;
    int width[4], longest = 5, fixed = 2 + 2 + 12; /* indent, gap, the longest verdict */
    char seconds[40];
    ED_FAIL_IF(out == NULL, ED_E_INVALID, err, "result must not be NULL");
    *out = NULL;
    ED_TRY(check_lab(lab, err));
    column_widths(lab, width);
    for (int k = 0; k < 4; k++)
        fixed += width[k] + 2;
    for (int i = 0; i < lab->n_claims; i++) {
        int w = ed__text_columns(lab->claims[i].text);
        longest = w > longest ? w : longest;
    }
    int room = (columns > 0 ? columns : 100) - fixed;
    room = room < 20 ? 20 : room;
    int text_width = longest < room ? longest : room;
    ed__buf_init(&b, TEXT_MAX);
    put_line(&b, lab->slug, strlen(lab->slug));
    ed__buf_puts(&b, ": ");
    put_line(&b, lab->title, strlen(lab->title));
    ed__buf_puts(&b, "\n  claim");
    put_spaces(&b, text_width - 5);
    for (int k = 0; k < 4; k++)
        put_right(&b, number_names[k], width[k] + 2);
    ed__buf_puts(&b, "  holds\n");
    for (int i = 0; i < lab->n_claims; i++)
        put_text_claim(&b, &lab->claims[i], text_width, width);
    ed__buf_printf(&b, "%s in %s s", ed_verdict_name(ed_lab_holds(lab)), ed__number_text(lab->seconds, 4, seconds));
    if (lab->machine != NULL) {
        ed__buf_puts(&b, " on ");
        put_line(&b, lab->machine, strlen(lab->machine));
    }
    ed__buf_puts(&b, "\n");
    return take(&b, out, err);
}

/* ---- HTML */

static void put_verdict(ed__buf *b, ed_verdict v) {
    ed__buf_printf(b, "<span class=\"verdict %s\">%s</span>", ed_verdict_name(v), ed_verdict_name(v));
}

static void put_html_claim(ed__buf *b, const ed_claim *c) {
    double v[4];
    char cell[40];
    numbers(c, v);
    ed__buf_puts(b, "<tr><td>");
    ed__xml_put_text(b, c->text);
    ed__buf_puts(b, "</td>");
    for (int k = 0; k < 4; k++)
        ed__buf_printf(b, "<td class=\"n\">%s</td>", number(v[k], cell));
    ed__buf_puts(b, "<td>");
    put_verdict(b, c->holds);
    ed__buf_puts(b, "</td></tr>\n");
}

ed_status ed_page_lab(ed_page *page, const ed_lab *lab, ed_error *err) {
    ed__buf b;
    char seconds[40];
    ED_FAIL_IF(page == NULL, ED_E_INVALID, err, "the page must not be NULL");
    ED_TRY(check_lab(lab, err));
    ed__buf_init(&b, TEXT_MAX);
    ed__buf_puts(&b, "<dl>\n<dt>Verdict</dt><dd>");
    put_verdict(&b, ed_lab_holds(lab));
    ed__buf_printf(&b, "</dd>\n<dt>Run time</dt><dd>%s s</dd>\n<dt>Machine</dt><dd>", ed__number_text(lab->seconds, 4, seconds));
    ed__xml_put_text(&b, lab->machine != NULL ? lab->machine : "not recorded");
    ed__buf_puts(&b, "</dd>\n</dl>\n<table>\n<thead><tr><th>Claim</th>");
    for (int k = 0; k < 4; k++)
        ed__buf_printf(&b, "<th class=\"n\">%s</th>", number_names[k]);
    ed__buf_puts(&b, "<th>holds</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < lab->n_claims; i++)
        put_html_claim(&b, &lab->claims[i]);
    ed__buf_puts(&b, "</tbody></table>\n");
    ed_status s = ed__buf_result(&b, "lab report", err);
    if (s == ED_OK)
        s = ed__page_html(page, b.data, err);
    ed__buf_deinit(&b);
    return s;
}

/* ---- both files */

static bool slug_is_plain(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && s[n] == '\0' && s[0] != '.' && n < 128;
}

static ed_status save_json(const ed_lab *lab, const char *path, ed_error *err) {
    char *json;
    ED_TRY(ed_lab_json(lab, &json, err));
    ed_status s = ed__file_write_atomic(path, json, strlen(json), err);
    ed_report_free(&json);
    return s;
}

static ed_status save_html(const ed_lab *lab, const ed_plot *plots, int n_plots, const char *path, ed_error *err) {
    ed_page *page;
    ED_TRY(ed_page_create(lab->title, &page, err));
    ed_status s = ed_page_lab(page, lab, err);
    for (int i = 0; i < n_plots && s == ED_OK; i++)
        s = ed_page_plot(page, &plots[i], err);
    if (s == ED_OK)
        s = ed_page_save(page, path, err);
    ed_page_destroy(&page);
    return s;
}

ed_status ed_lab_save(const ed_lab *lab, const ed_plot *plots, int n_plots, const char *dir, ed_error *err) {
    ed__buf path;
    ED_FAIL_IF(dir == NULL || n_plots < 0 || (plots == NULL && n_plots > 0), ED_E_INVALID, err, "folder and plots must not be NULL");
    ED_TRY(check_lab(lab, err));
    if (!slug_is_plain(lab->slug))
        return ed_error_set(err, ED_E_INVALID, lab->slug, ED_NO_OFFSET, "the slug of a lab is made of letters, digits, _ . - (1 to 127)");
    ED_TRY(ed__dir_make(dir, err));
    ed__buf_init(&path, (size_t)64 << 10);
    ed__buf_printf(&path, "%s/%s.json", dir, lab->slug);
    ed_status s = ed__buf_result(&path, dir, err);
    if (s == ED_OK)
        s = save_json(lab, path.data, err);
    ed__buf_reset(&path);
    ed__buf_printf(&path, "%s/%s.html", dir, lab->slug);
    if (s == ED_OK)
        s = ed__buf_result(&path, dir, err);
    if (s == ED_OK)
        s = save_html(lab, plots, n_plots, path.data, err);
    ed__buf_deinit(&path);
    return s;
}
