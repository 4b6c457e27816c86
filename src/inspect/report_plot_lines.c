/* inspect/report_plot_lines.c - line charts and scatter plots. A long series is thinned to the lowest and highest point of each run of
 * neighbours, which looks the same at this resolution and keeps files small. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

#define RUNS 2000

static double x_of(const ed_series *s, int64_t i) {
    return s->x != NULL ? s->x[i] : (double)i;
}

static bool shown(const ed_plot *p, const ed_series *s, int64_t i) {
    return ed__axis_takes(p->log_x, x_of(s, i)) && ed__axis_takes(p->log_y, s->y[i]);
}

/* Adds one point to a path: "M" after a gap, else "L". */
static void put_point(ed__buf *b, const ed_series *s, int64_t i, bool *pen_down, const ed__axis *x, const ed__axis *y) {
    ed__buf_puts(b, *pen_down ? "L" : "M");
    ed__svg_number(b, ed__axis_map(x, x_of(s, i)));
    ed__buf_put(b, " ", 1);
    ed__svg_number(b, ed__axis_map(y, s->y[i]));
    *pen_down = true;
}

/* The lowest and highest shown point of [begin, end) in their order; -1 when there is none. */
static void extremes(const ed_plot *p, const ed_series *s, int64_t begin, int64_t end, int64_t pick[2]) {
    int64_t low = -1, high = -1;
    for (int64_t i = begin; i < end; i++) {
        if (!shown(p, s, i))
            continue;
        low = low < 0 || s->y[i] < s->y[low] ? i : low;
        high = high < 0 || s->y[i] > s->y[high] ? i : high;
    }
    pick[0] = low < high ? low : high;
    pick[1] = low < high ? high : low;
}

static void draw_path(ed__buf *b, const ed_plot *p, int index, const ed__axis *x, const ed__axis *y) {
    const ed_series *s = &p->series[index];
    int64_t run = s->n > 2 * RUNS ? (s->n + RUNS - 1) / RUNS : 1;
    bool pen_down = false;
    ed__buf_printf(b, "<path class=\"l %s%s\" d=\"", ed__svg_color(index), s->dashed ? " d" : index >= 7 ? " d1" : "");
    for (int64_t i = 0; i < s->n; i += run) {
        int64_t pick[2], end = i + run < s->n ? i + run : s->n;
        extremes(p, s, i, end, pick);
        if (pick[0] < 0) {
            pen_down = false;
            continue;
        }
        put_point(b, s, pick[0], &pen_down, x, y);
        if (pick[1] != pick[0])
            put_point(b, s, pick[1], &pen_down, x, y);
    }
    ed__buf_puts(b, "\"/>\n");
}

static void draw_spread(ed__buf *b, const ed_plot *p, int index, const ed__axis *x, const ed__axis *y) {
    const ed_series *s = &p->series[index];
    char class_name[16];
    snprintf(class_name, sizeof class_name, "e %s", ed__svg_color(index));
    for (int64_t i = 0; i < s->n; i++) {
        if (!shown(p, s, i) || !(s->spread[i] > 0) || !ed__axis_takes(p->log_y, s->y[i] + s->spread[i]))
            continue;
        double px = ed__axis_map(x, x_of(s, i)), low = s->y[i] - s->spread[i];
        double top = ed__axis_map(y, s->y[i] + s->spread[i]), bottom = ed__axis_takes(p->log_y, low) ? ed__axis_map(y, low) : y->at0;
        ed__svg_line(b, class_name, px, top, px, bottom);
        ed__svg_line(b, class_name, px - 3, top, px + 3, top);
        ed__svg_line(b, class_name, px - 3, bottom, px + 3, bottom);
    }
}

static void draw_dots(ed__buf *b, const ed_plot *p, int index, const ed__axis *x, const ed__axis *y) {
    const ed_series *s = &p->series[index];
    double r = s->n > 2000 ? 1.5 : s->n > 300 ? 2.2 : 3.2, last_x = -1e9, last_y = -1e9;
    for (int64_t i = 0; i < s->n; i++) {
        if (!shown(p, s, i))
            continue;
        double px = ed__axis_map(x, x_of(s, i)), py = ed__axis_map(y, s->y[i]);
        if (fabs(px - last_x) < 0.1 && fabs(py - last_y) < 0.1)
            continue; /* the same dot again */
        ed__svg_dot(b, ed__svg_color(index), px, py, r);
        last_x = px;
        last_y = py;
    }
}

void ed__plot_lines(ed__buf *b, const ed_plot *p, const ed__axis *x, const ed__axis *y) {
    for (int i = 0; i < p->n_series; i++) {
        if (p->series[i].spread != NULL)
            draw_spread(b, p, i, x, y);
        if (p->kind == ED_PLOT_LINES)
            draw_path(b, p, i, x, y);
        if (p->kind == ED_PLOT_SCATTER || p->series[i].markers)
            draw_dots(b, p, i, x, y);
    }
}
