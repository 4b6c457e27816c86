/* inspect/report.h - helpers shared by metrics and reports: numbers and text as JSON, XML and CSV want them whatever the host's locale is,
 * append-only files, TFRecord framing, plot axes, SVG elements. */
#ifndef ED_INSPECT_REPORT_H
#define ED_INSPECT_REPORT_H

#include "base/internal.h"
#include "endec/report.h"

/* ---- numbers and escaped text (report_text.c) */
/** %.<digits>g with a point as decimal sign; "nan", "inf", "-inf". Returns out. */
const char *ed__number_text(double v, int digits, char out[40]);
/** %.<decimals>f likewise, for |v| < 1e15 (else as %g). */
const char *ed__number_fixed(double v, int decimals, char out[40]);
/** The shortest of 15 to 17 digits that reads back as v. */
const char *ed__number_exact(double v, char out[40]);
/** ed__number_exact, null where JSON has no number for v. */
void ed__json_put_number(ed__buf *b, double v);
/** A JSON string with quotes; bytes that are no UTF-8 become U+FFFD. */
void ed__json_put_text(ed__buf *b, const char *text);
/** Text for XML and HTML content and attributes: < > & " ' escaped; control bytes that XML forbids and invalid UTF-8 become U+FFFD. */
void ed__xml_put_text(ed__buf *b, const char *text);
/** A CSV field, quoted when it has a comma, quote or line break. */
void ed__csv_put_text(ed__buf *b, const char *text);
/** Columns that the text takes on a terminal (wide characters count two). */
int ed__text_columns(const char *text);
/** The error of a buffer that could not grow, or ED_OK. */
ed_status ed__buf_result(const ed__buf *b, const char *what, ed_error *err);

/* ---- files that grow by whole records (report_append.c) */
ed_status ed__append_open(const char *path, bool fresh, int *fd, ed_error *err);
/** Writes all n bytes, or fails and cuts the file back so that no half record stays. */
ed_status ed__append_write(int fd, const char *path, const void *data, size_t n, ed_error *err);

/* ---- TFRecord (report_tensorboard.c) */
uint32_t ed__crc32c(const void *data, size_t n);
/** length (u64), masked crc of it, data, masked crc of data; all little-endian. */
void ed__tfrecord_put(ed__buf *b, const void *data, size_t n);

/* ---- axes (report_axis.c) */
#define ED__TICKS 32
typedef struct ed__axis {
    double lo, hi;   /* data range shown; positive when log */
    double at0, at1; /* pixels of lo and hi */
    bool log;
    double ticks[ED__TICKS];
    char labels[ED__TICKS][24];
    int n_ticks;
} ed__axis;
/** Whether v has a place on the axis. */
bool ed__axis_takes(bool log, double v);
/** Sets the range to lo..hi (widened by `pad` of it on both sides and when empty) and about `want` nice ticks. */
void ed__axis_fit(ed__axis *a, double lo, double hi, double pad, int want);
double ed__axis_map(const ed__axis *a, double v);

/* ---- SVG elements (report_svg.c); coordinates in pixels, one decimal */
/** The opening tag, title, style sheet and background; the caller writes "</svg>". */
void ed__svg_open(ed__buf *b, const char *title, double width, double height);
typedef struct ed__frame { /* the box that data is drawn in */
    double left, top, right, bottom;
} ed__frame;
/** Colour class of a series: "c0".."c6" and around again. */
const char *ed__svg_color(int series);
void ed__svg_line(ed__buf *b, const char *class_name, double x1, double y1, double x2, double y2);
void ed__svg_rect(ed__buf *b, const char *class_name, double x, double y, double w, double h);
/** anchor: "start", "middle", "end"; turn in degrees. */
void ed__svg_text(ed__buf *b, const char *class_name, const char *anchor, double x, double y, double turn, const char *text);
void ed__svg_dot(ed__buf *b, const char *class_name, double x, double y, double r);
void ed__svg_number(ed__buf *b, double v);
/** Width of a text in the 12 px font, by rule of thumb. */
double ed__svg_text_width(const char *text);

/* ---- plots (report_plot.c): draws the whole <svg> element */
ed_status ed__plot_put(ed__buf *b, const ed_plot *plot, ed_error *err);
/** Ready-made HTML at the end of a page (report_page.c); the caller escaped it. */
ed_status ed__page_html(ed_page *page, const char *html, ed_error *err);
/** The kinds (report_plot_<kind>.c): fit axes, then draw into the frame that the caller made. */
void ed__plot_lines(ed__buf *b, const ed_plot *p, const ed__axis *x, const ed__axis *y);
void ed__plot_bars(ed__buf *b, const ed_plot *p, const ed__frame *f, const ed__axis *y);
void ed__plot_heat(ed__buf *b, const ed_plot *p, const ed__frame *f, const ed__axis *scale);

#endif
