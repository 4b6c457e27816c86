/* inspect/report_plot_heat.c - a matrix as coloured cells with a colour bar. Colours run along nine anchors of viridis (van der Walt and Smith
 * 2015), which grows evenly in lightness and is safe for colour blindness. Small matrices show their numbers. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

static void color_of(double t, int rgb[3]) {
    static const unsigned char anchor[9][3] = {{68, 1, 84},    {71, 44, 122},  {59, 81, 139},  {44, 113, 142}, {33, 144, 141},
                                               {39, 173, 129}, {92, 200, 99},  {170, 220, 50}, {253, 231, 37}};
    double at = 8 * fmin(1, fmax(0, t));
    int i = at < 8 ? (int)at : 7;
    for (int k = 0; k < 3; k++)
        rgb[k] = (int)lround(anchor[i][k] + (at - i) * (anchor[i + 1][k] - anchor[i][k]));
}

static double share(const ed__axis *scale, double v) {
    return (v - scale->lo) / (scale->hi - scale->lo);
}

/* Class "cell" turns smoothing of edges off and the cell reaches a little under its neighbours (coordinates are rounded), so that no seams
 * show. */
static void put_cell(ed__buf *b, double x, double y, double w, double h, double t) {
    int rgb[3];
    color_of(t, rgb);
    ed__buf_puts(b, "<path class=\"cell\" fill=\"");
    ed__buf_printf(b, "#%02x%02x%02x\" d=\"M", (unsigned)rgb[0], (unsigned)rgb[1], (unsigned)rgb[2]);
    ed__svg_number(b, x);
    ed__buf_put(b, " ", 1);
    ed__svg_number(b, y);
    ed__buf_put(b, "h", 1);
    ed__svg_number(b, w + 0.2);
    ed__buf_put(b, "v", 1);
    ed__svg_number(b, h + 0.2);
    ed__buf_put(b, "h", 1);
    ed__svg_number(b, -w - 0.2);
    ed__buf_puts(b, "z\"/>\n");
}

static void draw_cells(ed__buf *b, const ed_plot *p, const ed__frame *f, const ed__axis *scale) {
    double w = (f->right - f->left) / (double)p->cols, h = (f->bottom - f->top) / (double)p->rows;
    bool numbers = w >= 34 && h >= 16;
    char text[40];
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t c = 0; c < p->cols; c++) {
            double v = p->matrix[r * p->cols + c], x = f->left + (double)c * w, y = f->top + (double)r * h;
            if (!ed__axis_takes(false, v)) {
                ed__svg_rect(b, "none", x, y, w, h);
                continue;
            }
            put_cell(b, x, y, w, h, share(scale, v));
            if (numbers)
                ed__svg_text(b, share(scale, v) > 0.6 ? "v dark" : "v pale", "middle", x + w / 2, y + h / 2 + 3.5, 0,
                             ed__number_text(v, 3, text));
        }
}

/* Names or numbers along one side, as many as have room; slanted when the columns are narrow. */
static void draw_names(ed__buf *b, const ed_plot *p, const ed__frame *f, bool rows) {
    int64_t n = rows ? p->rows : p->cols;
    const char *const *names = rows ? p->row_names : p->col_names;
    double step = (rows ? f->bottom - f->top : f->right - f->left) / (double)n, widest = 0;
    char index[24];
    snprintf(index, sizeof index, "%lld", (long long)n - 1);
    for (int64_t i = 0; i < n; i++)
        widest = fmax(widest, names == NULL ? ed__svg_text_width(index) : names[i] != NULL ? ed__svg_text_width(names[i]) : 0);
    bool slanted = !rows && names != NULL && widest > step - 4;
    int64_t need = (int64_t)ceil((rows || slanted ? 14 : widest + 8) / step), every = 1;
    for (int k = 0; every < need; k++) /* 1, 2, 5, 10, 20, 50... */
        every = k % 3 == 1 ? every / 2 * 5 : every * 2;
    for (int64_t i = 0; i < n; i += every) {
        snprintf(index, sizeof index, "%lld", (long long)i);
        const char *text = names == NULL ? index : names[i] != NULL ? names[i] : "";
        if (rows)
            ed__svg_text(b, "t", "end", f->left - 6, f->top + ((double)i + 0.5) * step + 4, 0, text);
        else if (slanted)
            ed__svg_text(b, "t", "end", f->left + ((double)i + 0.5) * step + 4, f->bottom + 14, -30, text);
        else
            ed__svg_text(b, "t", "middle", f->left + ((double)i + 0.5) * step, f->bottom + 16, 0, text);
    }
}

void ed__plot_heat(ed__buf *b, const ed_plot *p, const ed__frame *f, const ed__axis *scale) {
    double bar = f->right + 18, height = (f->bottom - f->top) / 64;
    draw_cells(b, p, f, scale);
    draw_names(b, p, f, true);
    draw_names(b, p, f, false);
    for (int i = 0; i < 64; i++)
        put_cell(b, bar, f->top + i * height, 14, height, (63.5 - i) / 64);
    for (int i = 0; i < scale->n_ticks; i++) {
        double y = ed__axis_map(scale, scale->ticks[i]);
        ed__svg_line(b, "ax", bar + 14, y, bar + 18, y);
        ed__svg_text(b, "t", "start", bar + 22, y + 4, 0, scale->labels[i]);
    }
}
