/* inspect/report_plot.c - the frame around every plot: checks, ranges, title, legend, axes, grid. Margins grow with the labels: the y axis first,
 * since the x axis' ticks depend on the width that is left. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

#define SERIES_MAX 64
#define POINTS_MAX ((int64_t)16 << 20)
#define CELLS_MAX 65536

static ed_status check_series(const ed_plot *p, ed_error *err) {
    int64_t points = 0;
    ED_FAIL_IF(p->series == NULL || p->n_series < 1, ED_E_INVALID, err, "the plot has no series");
    ED_FAIL_IF(p->n_series > SERIES_MAX, ED_E_LIMIT, err, "%d series are more than the limit of %d", p->n_series, SERIES_MAX);
    for (int i = 0; i < p->n_series; i++) {
        const ed_series *s = &p->series[i];
        ED_FAIL_IF(s->n < 0 || s->n > POINTS_MAX || (points += s->n) > POINTS_MAX, ED_E_LIMIT, err, "the plot has more than %lld points",
                   (long long)POINTS_MAX);
        ED_FAIL_IF(s->y == NULL && s->n > 0, ED_E_INVALID, err, "series %d has no values", i + 1);
        ED_FAIL_IF(p->kind == ED_PLOT_BARS && s->n != p->n_categories, ED_E_INVALID, err, "series %d has %lld bars for %d categories", i + 1,
                   (long long)s->n, p->n_categories);
    }
    return ED_OK;
}

static ed_status check_plot(const ed_plot *p, ed_error *err) {
    ED_FAIL_IF(p == NULL, ED_E_INVALID, err, "the plot must not be NULL");
    ED_FAIL_IF(p->width != 0 && !(p->width >= 200 && p->width <= 4000), ED_E_RANGE, err, "the width of a plot is 200 to 4000 pixels");
    ED_FAIL_IF(p->height != 0 && !(p->height >= 200 && p->height <= 4000), ED_E_RANGE, err, "the height of a plot is 200 to 4000 pixels");
    if (p->kind == ED_PLOT_LINES || p->kind == ED_PLOT_SCATTER)
        return check_series(p, err);
    ED_FAIL_IF(p->log_x || p->log_y, ED_E_INVALID, err, "bars and heat maps have no logarithmic axes");
    if (p->kind == ED_PLOT_BARS) {
        ED_FAIL_IF(p->categories == NULL || p->n_categories < 1 || p->n_categories > 1024, ED_E_INVALID, err, "bars need 1 to 1024 categories");
        for (int i = 0; i < p->n_categories; i++)
            ED_FAIL_IF(p->categories[i] == NULL, ED_E_INVALID, err, "category %d has no name", i + 1);
        return check_series(p, err);
    }
    ED_FAIL_IF(p->kind != ED_PLOT_HEAT, ED_E_INVALID, err, "no kind of plot has number %d", (int)p->kind);
    ED_FAIL_IF(p->matrix == NULL || p->rows < 1 || p->cols < 1, ED_E_INVALID, err, "the heat map has no cells");
    ED_FAIL_IF(p->rows > CELLS_MAX / p->cols, ED_E_LIMIT, err, "the heat map has more than %d cells", CELLS_MAX);
    return ED_OK;
}

static void include(double v, bool log, double *lo, double *hi) {
    if (!ed__axis_takes(log, v))
        return;
    *lo = fmin(*lo, v);
    *hi = fmax(*hi, v);
}

/* Ranges of the values drawn: points whose other coordinate has no place do not count. */
static void series_ranges(const ed_plot *p, double x[2], double y[2]) {
    x[0] = y[0] = INFINITY;
    x[1] = y[1] = -INFINITY;
    for (int i = 0; i < p->n_series; i++) {
        const ed_series *s = &p->series[i];
        for (int64_t k = 0; k < s->n; k++) {
            double vx = s->x != NULL ? s->x[k] : (double)k, d = s->spread != NULL ? s->spread[k] : 0;
            if (!ed__axis_takes(p->log_x, vx) || !ed__axis_takes(p->log_y, s->y[k]))
                continue;
            include(vx, p->log_x, &x[0], &x[1]);
            include(s->y[k], p->log_y, &y[0], &y[1]);
            include(s->y[k] - d, p->log_y, &y[0], &y[1]);
            include(s->y[k] + d, p->log_y, &y[0], &y[1]);
        }
    }
}

/* ---- the parts around the frame */

/* Draws a row of samples and labels that wraps; returns the y below it. */
static double legend(ed__buf *b, const ed_plot *p, double left, double right, double y) {
    double x = left;
    int shown = 0;
    for (int i = 0; p->kind != ED_PLOT_HEAT && i < p->n_series; i++) {
        const ed_series *s = &p->series[i];
        if (s->label == NULL)
            continue;
        double w = 30 + ed__svg_text_width(s->label) + 16;
        if (shown++ > 0 && x + w > right) {
            x = left;
            y += 18;
        }
        char class_name[24];
        snprintf(class_name, sizeof class_name, "l %s%s", ed__svg_color(i), s->dashed ? " d" : i >= 7 ? " d1" : "");
        if (p->kind == ED_PLOT_LINES)
            ed__svg_line(b, class_name, x, y + 8, x + 22, y + 8);
        else if (p->kind == ED_PLOT_BARS)
            ed__svg_rect(b, ed__svg_color(i), x + 6, y + 2, 12, 12);
        else
            ed__svg_dot(b, ed__svg_color(i), x + 12, y + 8, 4);
        ed__svg_text(b, "t", "start", x + 28, y + 12, 0, s->label);
        x += w;
    }
    return shown > 0 ? y + 24 : y;
}

static double widest_label(const ed__axis *a) {
    double w = 0;
    for (int i = 0; i < a->n_ticks; i++)
        w = fmax(w, ed__svg_text_width(a->labels[i]));
    return w;
}

static double widest_name(const char *const *names, int64_t n) {
    double w = 0;
    for (int64_t i = 0; names != NULL && i < n; i++)
        w = fmax(w, names[i] != NULL ? ed__svg_text_width(names[i]) : 0);
    return fmin(w, 180);
}

/* Names under n columns that do not fit side by side are drawn slanted: 30 degrees, ending under the middle of their column. */
static void make_room_for_names(ed__frame *f, double widest, int64_t n) {
    double column = (f->right - f->left) / (double)n;
    if (widest <= column - 4)
        return;
    f->bottom -= 0.5 * widest;
    f->left = fmax(f->left, 0.87 * widest - column / 2 + 6);
}

static void draw_y_axis(ed__buf *b, const ed__frame *f, const ed__axis *a) {
    for (int i = 0; i < a->n_ticks; i++) {
        double y = ed__axis_map(a, a->ticks[i]);
        ed__svg_line(b, "g", f->left, y, f->right, y);
        ed__svg_text(b, "t", "end", f->left - 8, y + 4, 0, a->labels[i]);
    }
    ed__svg_line(b, "ax", f->left, f->top, f->left, f->bottom);
}

static void draw_x_axis(ed__buf *b, const ed__frame *f, const ed__axis *a) {
    for (int i = 0; i < a->n_ticks; i++) {
        double x = ed__axis_map(a, a->ticks[i]);
        ed__svg_line(b, "g", x, f->top, x, f->bottom);
        ed__svg_text(b, "t", "middle", x, f->bottom + 18, 0, a->labels[i]);
    }
    ed__svg_line(b, "ax", f->left, f->bottom, f->right, f->bottom);
}

static void draw_captions(ed__buf *b, const ed_plot *p, const ed__frame *f, double height) {
    if (p->title != NULL)
        ed__svg_text(b, "h", "start", 14, 24, 0, p->title);
    if (p->x_label != NULL)
        ed__svg_text(b, "t", "middle", (f->left + f->right) / 2, height - 10, 0, p->x_label);
    if (p->y_label != NULL)
        ed__svg_text(b, "t", "middle", 18, (f->top + f->bottom) / 2, -90, p->y_label);
}

static void draw_xy(ed__buf *b, const ed_plot *p, ed__frame *f, double height) {
    double rx[2], ry[2];
    ed__axis x = {.log = p->log_x}, y = {.log = p->log_y};
    series_ranges(p, rx, ry);
    ed__axis_fit(&y, ry[0], ry[1], 0.05, (int)fmax(3, (f->bottom - f->top) / 38));
    f->left += widest_label(&y);
    ed__axis_fit(&x, rx[0], rx[1], p->kind == ED_PLOT_SCATTER ? 0.04 : 0.01, (int)fmax(3, (f->right - f->left) / 85));
    x.at0 = f->left, x.at1 = f->right, y.at0 = f->bottom, y.at1 = f->top;
    draw_x_axis(b, f, &x);
    draw_y_axis(b, f, &y);
    draw_captions(b, p, f, height);
    ed__plot_lines(b, p, &x, &y);
}

static void draw_bars(ed__buf *b, const ed_plot *p, ed__frame *f, double height) {
    double rx[2], ry[2], names = widest_name(p->categories, p->n_categories);
    ed__axis y = {.log = false};
    series_ranges(p, rx, ry);
    include(0, false, &ry[0], &ry[1]);
    double room = ry[1] - ry[0];
    ed__axis_fit(&y, ry[0] < 0 ? ry[0] - 0.05 * room : 0, ry[1] > 0 ? ry[1] + 0.05 * room : 0, 0, (int)fmax(3, (f->bottom - f->top) / 38));
    f->left += widest_label(&y);
    make_room_for_names(f, names, p->n_categories);
    y.at0 = f->bottom, y.at1 = f->top;
    draw_y_axis(b, f, &y);
    draw_captions(b, p, f, height);
    ed__plot_bars(b, p, f, &y);
}

static void draw_heat(ed__buf *b, const ed_plot *p, ed__frame *f, double height) {
    double lo = INFINITY, hi = -INFINITY, names = widest_name(p->col_names, p->cols);
    ed__axis scale = {.log = false};
    for (int64_t i = 0; i < p->rows * p->cols; i++)
        include(p->matrix[i], false, &lo, &hi);
    ed__axis_fit(&scale, lo, hi, 0, 5);
    f->right -= 44 + widest_label(&scale);
    f->left += fmax(widest_name(p->row_names, p->rows), 24);
    make_room_for_names(f, names, p->cols);
    scale.at0 = f->bottom, scale.at1 = f->top;
    draw_captions(b, p, f, height);
    ed__plot_heat(b, p, f, &scale);
}

ed_status ed__plot_put(ed__buf *b, const ed_plot *p, ed_error *err) {
    ED_TRY(check_plot(p, err));
    double width = p->width > 0 ? p->width : 720, height = p->height > 0 ? p->height : 420;
    ed__frame f = {.left = p->y_label != NULL ? 42 : 24, .right = width - 22, .bottom = height - (p->x_label != NULL ? 52 : 34)};
    ed__svg_open(b, p->title, width, height);
    f.top = legend(b, p, 14, f.right, p->title != NULL ? 38 : 14);
    f.top = fmin(f.top, f.bottom - 60); /* so many labels that little is left: draw anyway */
    if (p->kind == ED_PLOT_BARS)
        draw_bars(b, p, &f, height);
    else if (p->kind == ED_PLOT_HEAT)
        draw_heat(b, p, &f, height);
    else
        draw_xy(b, p, &f, height);
    ed__buf_puts(b, "</svg>\n");
    return ed__buf_result(b, "plot", err);
}

ed_status ed_plot_save(const ed_plot *plot, const char *path, ed_error *err) {
    ed__buf b;
    ED_FAIL_IF(path == NULL, ED_E_INVALID, err, "the path must not be NULL");
    ed__buf_init(&b, (size_t)64 << 20);
    ed__buf_puts(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    ed_status s = ed__plot_put(&b, plot, err);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, b.data, b.len, err);
    ed__buf_deinit(&b);
    return s;
}
