/* inspect/report_page.c - one HTML page without scripts or foreign resources. The page is a growing buffer; a failed addition leaves it as it
 * was before, so that what stands can still be saved. */
#include "inspect/report.h"


#define PAGE_MAX ((size_t)64 << 20)

struct ed_page {
    ed__buf body;
};

static const char head[] =
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<style>\n"
    "body{font:16px/1.55 system-ui,'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif;color:#222;background:#fff;max-width:920px;"
    "margin:40px auto;padding:0 20px}\n"
    "h1{font-size:28px;line-height:1.25;margin:0 0 20px}h2{font-size:20px;margin:36px 0 10px}p{margin:0 0 12px}\n"
    "table{border-collapse:collapse;margin:14px 0 24px;font-size:14px;width:100%}"
    "caption{text-align:left;font-weight:600;padding:0 0 6px}\n"
    "th{text-align:left;border-bottom:2px solid #999;padding:6px 10px;vertical-align:bottom}"
    "td{border-bottom:1px solid #e2e2e2;padding:6px 10px;vertical-align:top}"
    "th.n,td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "dl{display:grid;grid-template-columns:max-content auto;gap:4px 18px;margin:14px 0 24px;font-size:14px}dt{color:#666}dd{margin:0}\n"
    "pre{background:#f5f6f7;padding:12px 14px;overflow-x:auto;font:13px/1.45 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}\n"
    "figure{margin:18px 0 26px;overflow-x:auto}svg{max-width:100%;height:auto}\n"
    ".verdict{font-weight:600;white-space:nowrap}.pass{color:#00704f}.fail{color:#b34700}.inconclusive{color:#8a6100}.skipped{color:#6a6a6a}\n"
    "@media (prefers-color-scheme:dark){body{color:#d8dbe0;background:#16181c}th{border-color:#777}td{border-color:#2f333a}"
    "dt{color:#9aa0a8}pre{background:#1f2228}.pass{color:#3cc79c}.fail{color:#ff9a5c}.inconclusive{color:#e6b84d}.skipped{color:#a0a0a0}}\n"
    "</style>\n";

/* Cuts a failed addition off again. */
static ed_status added(ed_page *p, size_t before, ed_status s, ed_error *err) {
    if (s == ED_OK)
        s = ed__buf_result(&p->body, "page", err);
    if (s == ED_OK)
        return ED_OK;
    p->body.status = ED_OK;
    p->body.len = before;
    if (p->body.data != NULL)
        p->body.data[before] = '\0';
    return s;
}

ed_status ed_page_create(const char *title, ed_page **out, ed_error *err) {
    ED_FAIL_IF(title == NULL || out == NULL, ED_E_INVALID, err, "title and result must not be NULL");
    *out = NULL;
    ed_page *p = ed__calloc(1, sizeof *p);
    ED_FAIL_IF(p == NULL, ED_E_MEMORY, err, "out of memory for a page");
    ed__buf_init(&p->body, PAGE_MAX);
    ed__buf_puts(&p->body, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    ed__xml_put_text(&p->body, title);
    ed__buf_puts(&p->body, "</title>\n");
    ed__buf_puts(&p->body, head);
    ed__buf_puts(&p->body, "</head>\n<body>\n<h1>");
    ed__xml_put_text(&p->body, title);
    ed__buf_puts(&p->body, "</h1>\n");
    ed_status s = ed__buf_result(&p->body, "page", err);
    if (s != ED_OK) {
        ed_page_destroy(&p);
        return s;
    }
    *out = p;
    return ED_OK;
}

void ed_page_destroy(ed_page **page) {
    if (page == NULL || *page == NULL)
        return;
    ed__buf_deinit(&(*page)->body);
    ed__free(*page);
    *page = NULL;
}

static ed_status put_element(ed_page *p, const char *tag, const char *text, ed_error *err) {
    ED_FAIL_IF(p == NULL || text == NULL, ED_E_INVALID, err, "page and text must not be NULL");
    size_t before = p->body.len;
    ed__buf_printf(&p->body, "<%s>", tag);
    ed__xml_put_text(&p->body, text);
    ed__buf_printf(&p->body, "</%s>\n", tag);
    return added(p, before, ED_OK, err);
}

ed_status ed_page_heading(ed_page *page, const char *text, ed_error *err) {
    return put_element(page, "h2", text, err);
}

ed_status ed_page_code(ed_page *page, const char *text, ed_error *err) {
    return put_element(page, "pre", text, err);
}

ed_status ed_page_text(ed_page *page, const char *text, ed_error *err) {
    ED_FAIL_IF(page == NULL || text == NULL, ED_E_INVALID, err, "page and text must not be NULL");
    size_t before = page->body.len;
    for (const char *s = text; *s != '\0';) {
        const char *end = strstr(s, "\n\n");
        char *part = end != NULL ? ed__strndup(s, (size_t)(end - s)) : ed__strdup(s);
        ed_status status = part != NULL ? put_element(page, "p", part, err) : ed_error_set(err, ED_E_MEMORY, "page", ED_NO_OFFSET, "out of memory");
        ed__free(part);
        if (status != ED_OK)
            return added(page, before, status, err);
        s = end != NULL ? end + strspn(end, "\n") : s + strlen(s);
    }
    return ED_OK;
}

ed_status ed_page_facts(ed_page *page, const char *const *keys, const char *const *values, int n, ed_error *err) {
    ED_FAIL_IF(page == NULL || n < 0 || (n > 0 && (keys == NULL || values == NULL)), ED_E_INVALID, err, "facts need keys and values");
    size_t before = page->body.len;
    ed__buf_puts(&page->body, "<dl>\n");
    for (int i = 0; i < n; i++) {
        ed__buf_puts(&page->body, "<dt>");
        ed__xml_put_text(&page->body, keys[i] != NULL ? keys[i] : "");
        ed__buf_puts(&page->body, "</dt><dd>");
        ed__xml_put_text(&page->body, values[i] != NULL ? values[i] : "");
        ed__buf_puts(&page->body, "</dd>\n");
    }
    ed__buf_puts(&page->body, "</dl>\n");
    return added(page, before, ED_OK, err);
}

/* "12", "-3.5e4", "99.1 %", "1.8x", "nan": set to the right. Digits with a unit of at most three characters count. */
static bool is_number(const char *s) {
    s += *s == '-' || *s == '+';
    if (strcmp(s, "nan") == 0 || strcmp(s, "inf") == 0)
        return true;
    if (*s < '0' || *s > '9')
        return false;
    s += strspn(s, "0123456789.,e+-");
    s += strspn(s, " ");
    return strlen(s) <= 3;
}

/* A column of numbers: no cell is anything else. */
static bool number_column(const ed_table *t, int c) {
    bool any = false;
    for (int64_t r = 0; r < t->n_rows; r++) {
        const char *cell = t->cells[r * t->n_columns + c];
        if (cell == NULL || cell[0] == '\0')
            continue;
        if (!is_number(cell))
            return false;
        any = true;
    }
    return any;
}

static void put_row(ed__buf *b, const ed_table *t, const char *const *cells, const char *tag, const bool *right) {
    ed__buf_puts(b, "<tr>");
    for (int c = 0; c < t->n_columns; c++) {
        ed__buf_printf(b, right[c] ? "<%s class=\"n\">" : "<%s>", tag);
        ed__xml_put_text(b, cells[c] != NULL ? cells[c] : "");
        ed__buf_printf(b, "</%s>", tag);
    }
    ed__buf_puts(b, "</tr>\n");
}

ed_status ed_page_table(ed_page *page, const ed_table *t, ed_error *err) {
    ED_FAIL_IF(page == NULL || t == NULL || t->columns == NULL || t->n_columns < 1 || t->n_rows < 0 || (t->cells == NULL && t->n_rows > 0),
               ED_E_INVALID, err, "a table needs columns and cells");
    size_t before = page->body.len;
    ed__buf *b = &page->body;
    bool *right = ed__calloc((size_t)t->n_columns, sizeof *right);
    ED_FAIL_IF(right == NULL, ED_E_MEMORY, err, "out of memory for a table");
    for (int c = 0; c < t->n_columns; c++)
        right[c] = number_column(t, c);
    ed__buf_puts(b, "<table>");
    if (t->title != NULL) {
        ed__buf_puts(b, "<caption>");
        ed__xml_put_text(b, t->title);
        ed__buf_puts(b, "</caption>");
    }
    ed__buf_puts(b, "\n<thead>");
    put_row(b, t, t->columns, "th", right);
    ed__buf_puts(b, "</thead>\n<tbody>\n");
    for (int64_t r = 0; r < t->n_rows && b->status == ED_OK; r++)
        put_row(b, t, t->cells + r * t->n_columns, "td", right);
    ed__buf_puts(b, "</tbody></table>\n");
    ed__free(right);
    return added(page, before, ED_OK, err);
}

ed_status ed_page_plot(ed_page *page, const ed_plot *plot, ed_error *err) {
    ED_FAIL_IF(page == NULL, ED_E_INVALID, err, "the page must not be NULL");
    size_t before = page->body.len;
    ed__buf_puts(&page->body, "<figure>\n");
    ed_status s = ed__plot_put(&page->body, plot, err);
    ed__buf_puts(&page->body, "</figure>\n");
    return added(page, before, s, err);
}

ed_status ed__page_html(ed_page *page, const char *html, ed_error *err) {
    size_t before = page->body.len;
    ed__buf_puts(&page->body, html);
    return added(page, before, ED_OK, err);
}

ed_status ed_page_save(const ed_page *page, const char *path, ed_error *err) {
    static const char foot[] = "</body>\n</html>\n";
    ED_FAIL_IF(page == NULL || path == NULL, ED_E_INVALID, err, "page and path must not be NULL");
    ed__save *save;
    ED_TRY(ed__save_open(path, &save, err));
    (void)ed__save_write(save, page->body.data, page->body.len); /* a failure is kept and told by commit */
    (void)ed__save_write(save, foot, sizeof foot - 1);
    return ed__save_commit(&save, err);
}
