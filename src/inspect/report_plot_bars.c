/* inspect/report_plot_bars.c - grouped bars from zero, one group a category, one colour a series. */
#include "inspect/report.h"

#include <math.h>

static void draw_bar(ed__buf *b, const ed_series *s, int index, int64_t k, double x, double width, const ed__axis *y) {
    double v = s->y[k], zero = ed__axis_map(y, 0);
    if (!ed__axis_takes(false, v))
        return;
    double at = ed__axis_map(y, v);
    ed__svg_rect(b, ed__svg_color(index), x, fmin(at, zero), width, fabs(at - zero));
    if (s->spread == NULL || !(s->spread[k] > 0) || !ed__axis_takes(false, s->spread[k]))
        return;
    ed__svg_line(b, "eb", x + width / 2, ed__axis_map(y, v - s->spread[k]), x + width / 2, ed__axis_map(y, v + s->spread[k]));
}

void ed__plot_bars(ed__buf *b, const ed_plot *p, const ed__frame *f, const ed__axis *y) {
    double group = (f->right - f->left) / p->n_categories, width = fmin(60, 0.8 * group / p->n_series), names = 0;
    for (int c = 0; c < p->n_categories; c++)
        names = fmax(names, ed__svg_text_width(p->categories[c]));
    int every = (int)fmax(1, ceil(14 / group)); /* slanted names need 14 pixels each */
    for (int c = 0; c < p->n_categories; c++) {
        double middle = f->left + (c + 0.5) * group, x = middle - 0.5 * width * p->n_series;
        for (int i = 0; i < p->n_series; i++)
            draw_bar(b, &p->series[i], i, c, x + i * width + 0.5, width - 1, y);
        if (names <= group - 4)
            ed__svg_text(b, "t", "middle", middle, f->bottom + 18, 0, p->categories[c]);
        else if (c % every == 0)
            ed__svg_text(b, "t", "end", middle + 4, f->bottom + 14, -30, p->categories[c]);
    }
    ed__svg_line(b, "ax", f->left, ed__axis_map(y, 0), f->right, ed__axis_map(y, 0));
}
