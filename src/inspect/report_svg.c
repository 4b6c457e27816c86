/* inspect/report_svg.c - SVG elements and the look of all plots. The look is one style sheet of classes (no CSS
 * variables: simple renderers lack them), with a second set of colours for dark mode. Series colours are Okabe and Ito's set, safe for colour
 * blindness, without its yellow, which is too pale for thin lines. */
#include "inspect/report.h"

#include <math.h>
#include <stdlib.h>

static const char style[] =
    "<style>"
    ".ed-plot{font-family:'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif;font-size:12px}"
    ".ed-plot .bg{fill:#fff}.ed-plot .t{fill:#333}.ed-plot .h{fill:#111;font-size:15px;font-weight:bold}"
    ".ed-plot .v{font-size:10px}.ed-plot .dark{fill:#111}.ed-plot .pale{fill:#fff}"
    ".ed-plot .g{stroke:#e4e4e4;stroke-width:1}.ed-plot .ax{stroke:#888;stroke-width:1}.ed-plot .none{fill:#c8c8c8}.ed-plot .eb{stroke:#222;stroke-width:1.4}"
    ".ed-plot .l{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.ed-plot .d{stroke-dasharray:6 5}"
    ".ed-plot .d1{stroke-dasharray:2 4}.ed-plot .e{stroke-width:1.2}"
    ".ed-plot .c0{stroke:#0072b2;fill:#0072b2}.ed-plot .c1{stroke:#d55e00;fill:#d55e00}.ed-plot .c2{stroke:#009e73;fill:#009e73}"
    ".ed-plot .c3{stroke:#cc79a7;fill:#cc79a7}.ed-plot .c4{stroke:#e69f00;fill:#e69f00}.ed-plot .c5{stroke:#56b4e9;fill:#56b4e9}"
    ".ed-plot .c6{stroke:#777;fill:#777}"
    ".ed-plot .cell,.ed-plot .none{shape-rendering:crispEdges}.ed-plot path.l{fill:none}.ed-plot circle,.ed-plot rect{stroke:none}.ed-plot circle{fill-opacity:.75}"
    "@media (prefers-color-scheme:dark){.ed-plot .bg{fill:#16181c}.ed-plot .t{fill:#c8ccd2}.ed-plot .h{fill:#eceff3}"
    ".ed-plot .g{stroke:#2c3036}.ed-plot .ax{stroke:#7a808a}.ed-plot .none{fill:#4a4f57}.ed-plot .eb{stroke:#eceff3}.ed-plot .c0{stroke:#3f8fe0;fill:#3f8fe0}"
    ".ed-plot .c5{stroke:#9bd3f5;fill:#9bd3f5}.ed-plot .c6{stroke:#a5aab2;fill:#a5aab2}}"
    "</style>";

const char *ed__svg_color(int series) {
    static const char *const names[] = {"c0", "c1", "c2", "c3", "c4", "c5", "c6"};
    return names[series % 7];
}

void ed__svg_number(ed__buf *b, double v) {
    double tenths = round(fmin(1e7, fmax(-1e7, v)) * 10);
    long long n = (long long)tenths, whole = llabs(n) / 10, part = llabs(n) % 10;
    ed__buf_printf(b, part != 0 ? "%s%lld.%lld" : "%s%lld", n < 0 ? "-" : "", whole, part);
}

static void put_attribute(ed__buf *b, const char *name, double v) {
    ed__buf_printf(b, " %s=\"", name);
    ed__svg_number(b, v);
    ed__buf_put(b, "\"", 1);
}

void ed__svg_line(ed__buf *b, const char *class_name, double x1, double y1, double x2, double y2) {
    ed__buf_printf(b, "<line class=\"%s\"", class_name);
    put_attribute(b, "x1", x1);
    put_attribute(b, "y1", y1);
    put_attribute(b, "x2", x2);
    put_attribute(b, "y2", y2);
    ed__buf_puts(b, "/>\n");
}

void ed__svg_rect(ed__buf *b, const char *class_name, double x, double y, double w, double h) {
    ed__buf_printf(b, "<rect class=\"%s\"", class_name);
    put_attribute(b, "x", x);
    put_attribute(b, "y", y);
    put_attribute(b, "width", fmax(0, w));
    put_attribute(b, "height", fmax(0, h));
    ed__buf_puts(b, "/>\n");
}

void ed__svg_dot(ed__buf *b, const char *class_name, double x, double y, double r) {
    ed__buf_printf(b, "<circle class=\"%s\"", class_name);
    put_attribute(b, "cx", x);
    put_attribute(b, "cy", y);
    put_attribute(b, "r", r);
    ed__buf_puts(b, "/>\n");
}

void ed__svg_text(ed__buf *b, const char *class_name, const char *anchor, double x, double y, double turn, const char *text) {
    ed__buf_printf(b, "<text class=\"%s\" text-anchor=\"%s\"", class_name, anchor);
    put_attribute(b, "x", x);
    put_attribute(b, "y", y);
    if (turn != 0) {
        ed__buf_puts(b, " transform=\"rotate(");
        ed__svg_number(b, turn);
        ed__buf_put(b, " ", 1);
        ed__svg_number(b, x);
        ed__buf_put(b, " ", 1);
        ed__svg_number(b, y);
        ed__buf_puts(b, ")\"");
    }
    ed__buf_put(b, ">", 1);
    ed__xml_put_text(b, text);
    ed__buf_puts(b, "</text>\n");
}

double ed__svg_text_width(const char *text) {
    return 6.7 * ed__text_columns(text);
}

void ed__svg_open(ed__buf *b, const char *title, double width, double height) {
    ed__buf_puts(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ed-plot\" role=\"img\" viewBox=\"0 0 ");
    ed__svg_number(b, width);
    ed__buf_put(b, " ", 1);
    ed__svg_number(b, height);
    ed__buf_put(b, "\"", 1);
    put_attribute(b, "width", width);
    put_attribute(b, "height", height);
    ed__buf_puts(b, ">\n<title>");
    ed__xml_put_text(b, title != NULL ? title : "plot");
    ed__buf_puts(b, "</title>\n");
    ed__buf_puts(b, style);
    ed__svg_rect(b, "bg", 0, 0, width, height);
}
