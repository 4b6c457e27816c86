/* inspect/report_csv.c - the numeric step log and tables as CSV. A log that is resumed at step s holds exactly the rows up to s: what a killed
 * run wrote after its last checkpoint is cut off, so that the continued run writes those rows again. */
#include "inspect/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COLUMNS_MAX 1024
#define LOG_MAX ((size_t)4 << 30)

struct ed_csv {
    char *path;
    int fd, n_columns;
    int64_t last_step;
    ed__buf row;
};

static void put_header(ed__buf *b, const char *const *columns, int n) {
    ed__buf_puts(b, "step");
    for (int i = 0; i < n; i++) {
        ed__buf_put(b, ",", 1);
        ed__csv_put_text(b, columns[i]);
    }
    ed__buf_put(b, "\n", 1);
}

/* The step at the beginning of a row, or false when there is none. */
static bool row_step(const char *s, const char *end, int64_t *step) {
    char digits[24];
    size_t n = 0;
    while (s + n < end && n < sizeof digits - 1 && s[n] != ',' && s[n] != '\n')
        n++;
    if (n == 0 || n >= sizeof digits - 1)
        return false;
    memcpy(digits, s, n);
    digits[n] = '\0';
    char *stop;
    errno = 0;
    long long v = strtoll(digits, &stop, 10);
    *step = v;
    return *stop == '\0' && errno == 0 && (digits[0] == '-' || (digits[0] >= '0' && digits[0] <= '9'));
}

/* How many bytes of an existing log stay. header stands in csv->row. A file that ends within its header is begun again. */
static ed_status bytes_to_keep(ed_csv *csv, int64_t resume_step, const char *data, size_t size, size_t *keep, ed_error *err) {
    size_t header = csv->row.len;
    *keep = 0;
    if (size < header && memcmp(data, csv->row.data, size) == 0)
        return ED_OK;
    if (size < header || memcmp(data, csv->row.data, header) != 0)
        return ed_error_set(err, ED_E_FORMAT, csv->path, 0, "the log has other columns than this run; it cannot be continued");
    for (*keep = header; *keep < size;) {
        const char *row = data + *keep, *end = memchr(row, '\n', size - *keep);
        int64_t step = 0;
        if (end == NULL)
            return ED_OK;
        if (!row_step(row, end, &step))
            return ed_error_set(err, ED_E_FORMAT, csv->path, *keep, "the row does not begin with a step");
        if (step > resume_step)
            return ED_OK;
        csv->last_step = step;
        *keep = (size_t)(end + 1 - data);
    }
    return ED_OK;
}

static ed_status cut_log(ed_csv *csv, int64_t resume_step, size_t *keep, ed_error *err) {
    ed__map map;
    *keep = 0;
    if (!ed__path_exists(csv->path))
        return ED_OK;
    ED_TRY(ed__map_open(csv->path, LOG_MAX, &map, err));
    ed_status s = bytes_to_keep(csv, resume_step, (const char *)map.data, map.size, keep, err);
    ed__map_close(&map);
    ED_TRY(s);
    if (truncate(csv->path, (off_t)*keep) != 0)
        return ed_error_set(err, ED_E_IO, csv->path, ED_NO_OFFSET, "cannot cut the log at byte %zu: %s", *keep, strerror(errno));
    return ED_OK;
}

static ed_status open_log(ed_csv *csv, int64_t resume_step, ed_error *err) {
    size_t keep = 0;
    if (resume_step >= 0)
        ED_TRY(cut_log(csv, resume_step, &keep, err));
    ED_TRY(ed__append_open(csv->path, resume_step < 0, &csv->fd, err));
    if (keep > 0)
        return ED_OK;
    return ed__append_write(csv->fd, csv->path, csv->row.data, csv->row.len, err);
}

ed_status ed_csv_open(const char *path, const char *const *columns, int n_columns, int64_t resume_step, ed_csv **out, ed_error *err) {
    ED_FAIL_IF(path == NULL || columns == NULL || out == NULL, ED_E_INVALID, err, "path, columns and result must not be NULL");
    *out = NULL;
    ED_FAIL_IF(n_columns < 1 || n_columns > COLUMNS_MAX, ED_E_RANGE, err, "a log has 1 to %d columns, not %d", COLUMNS_MAX, n_columns);
    for (int i = 0; i < n_columns; i++)
        ED_FAIL_IF(columns[i] == NULL || strpbrk(columns[i], "\r\n") != NULL, ED_E_INVALID, err, "column %d has no name of one line", i + 1);
    ed_csv *csv = ed__calloc(1, sizeof *csv);
    ED_FAIL_IF(csv == NULL, ED_E_MEMORY, err, "out of memory for a log");
    csv->fd = -1;
    csv->n_columns = n_columns;
    csv->last_step = INT64_MIN;
    csv->path = ed__strdup(path);
    ed__buf_init(&csv->row, (size_t)1 << 20);
    put_header(&csv->row, columns, n_columns);
    ed_status s = csv->path == NULL ? ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "out of memory") : ed__buf_result(&csv->row, path, err);
    if (s == ED_OK)
        s = open_log(csv, resume_step, err);
    if (s != ED_OK) {
        ed_csv_close(&csv);
        return s;
    }
    *out = csv;
    return ED_OK;
}

ed_status ed_csv_row(ed_csv *csv, int64_t step, const double *values, ed_error *err) {
    char text[40];
    ED_FAIL_IF(csv == NULL || values == NULL, ED_E_INVALID, err, "log and values must not be NULL");
    if (step < csv->last_step)
        return ed_error_set(err, ED_E_STATE, csv->path, ED_NO_OFFSET, "step %lld comes after step %lld", (long long)step,
                            (long long)csv->last_step);
    ed__buf_reset(&csv->row);
    ed__buf_printf(&csv->row, "%lld", (long long)step);
    for (int i = 0; i < csv->n_columns; i++)
        ed__buf_printf(&csv->row, ",%s", ed__number_text(values[i], 9, text));
    ed__buf_put(&csv->row, "\n", 1);
    ED_TRY(ed__buf_result(&csv->row, csv->path, err));
    ED_TRY(ed__append_write(csv->fd, csv->path, csv->row.data, csv->row.len, err));
    csv->last_step = step;
    return ED_OK;
}

void ed_csv_close(ed_csv **csv) {
    if (csv == NULL || *csv == NULL)
        return;
    if ((*csv)->fd >= 0)
        close((*csv)->fd);
    ed__free((*csv)->path);
    ed__buf_deinit(&(*csv)->row);
    ed__free(*csv);
    *csv = NULL;
}

ed_status ed_table_save_csv(const ed_table *t, const char *path, ed_error *err) {
    ED_FAIL_IF(t == NULL || path == NULL || t->columns == NULL || t->n_columns < 1 || t->n_rows < 0 || (t->cells == NULL && t->n_rows > 0),
               ED_E_INVALID, err, "a table needs columns and cells");
    ed__buf b;
    ed__buf_init(&b, LOG_MAX);
    for (int64_t r = -1; r < t->n_rows && b.status == ED_OK; r++)
        for (int c = 0; c < t->n_columns; c++) {
            const char *cell = r < 0 ? t->columns[c] : t->cells[r * t->n_columns + c];
            ed__csv_put_text(&b, cell != NULL ? cell : "");
            ed__buf_put(&b, c + 1 < t->n_columns ? "," : "\n", 1);
        }
    ed_status s = ed__buf_result(&b, path, err);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, b.data, b.len, err);
    ed__buf_deinit(&b);
    return s;
}
