/* inspect/report_axis.c - data ranges, round tick values and their labels for plots.
 * Round steps are 1, 2 or 5 times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems 1990). Invariant: whatever the data,
 * lo < hi, both finite, both positive on a log axis, and at most ED__TICKS ticks. */
#include "inspect/report.h"

#include <math.h>
#include <stdio.h>

bool ed__axis_takes(bool log, double v) {
    return log ? v >= 1e-300 && v <= 1e300 : fabs(v) <= 1e300;
}

/* 1, 2 or 5 times a power of ten, not below `raw` > 0 (within rounding). */
static double round_step(double raw) {
    double power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1.0001 ? 1 : lead <= 2.0001 ? 2 : lead <= 5.0001 ? 5 : 10);
}

/* "1.5e+06" becomes "1.5e6". */
static void short_exponent(char *s) {
    char *e = strchr(s, 'e');
    if (e == NULL)
        return;
    char *from = e + 1, *to = e + 1;
    if (*from == '-')
        *to++ = *from++;
    else if (*from == '+')
        from++;
    while (*from == '0' && from[1] != '\0')
        from++;
    memmove(to, from, strlen(from) + 1);
}

static void label(char out[24], double v, double step) {
    char text[40];
    double top = fabs(v);
    int exponent = (int)floor(log10(step) + 1e-9);
    if (v == 0)
        snprintf(text, sizeof text, "0");
    else if (top >= 1e6 || step < 1e-4)
        ed__number_text(v, (int)fmin(17, fmax(1, floor(log10(top)) - exponent + 1)), text);
    else
        ed__number_fixed(v, exponent < 0 ? -exponent : 0, text);
    short_exponent(text);
    snprintf(out, 24, "%.23s", text);
}

static void linear_ticks(ed__axis *a, int want) {
    double step = round_step((a->hi - a->lo) / want), first = ceil(a->lo / step - 1e-6);
    for (int i = 0; i < ED__TICKS; i++) {
        double v = (first + i) * step;
        if (v > a->hi + 1e-6 * step)
            break;
        a->ticks[a->n_ticks] = v;
        label(a->labels[a->n_ticks++], fabs(v) < 1e-9 * step ? 0 : v, step);
    }
}

/* lead * 10^exponent. A wide axis writes "1e5" throughout rather than mixing it with "100000". */
static void log_tick(ed__axis *a, int lead, int exponent) {
    double v = lead * pow(10, exponent);
    char text[40];
    if (a->n_ticks == ED__TICKS || v < a->lo * 0.999999 || v > a->hi * 1.000001)
        return;
    a->ticks[a->n_ticks] = v;
    if ((a->hi >= 1e6 || a->lo <= 1e-4) && (exponent > 3 || exponent < -2))
        snprintf(text, sizeof text, "%de%d", lead, exponent);
    else
        ed__number_text(v, 6, text);
    snprintf(a->labels[a->n_ticks++], 24, "%.23s", text);
}

/* Powers of ten, every k-th when there are many, 1-2-5 when there are few; linear ticks when there is less than one. */
static void log_ticks(ed__axis *a, int want) {
    double decades = log10(a->hi) - log10(a->lo); /* the quotient may overflow */
    int first = (int)floor(log10(a->lo)), last = (int)ceil(log10(a->hi)), every = (int)fmax(1, ceil(decades / want));
    if (decades < 0.9) {
        linear_ticks(a, want);
        return;
    }
    for (int d = first; d <= last; d += every) {
        log_tick(a, 1, d);
        if (decades < 2.5) {
            log_tick(a, 2, d);
            log_tick(a, 5, d);
        }
    }
}

void ed__axis_fit(ed__axis *a, double lo, double hi, double pad, int want) {
    if (!(lo <= hi)) /* no data at all */
        lo = hi = a->log ? 1 : 0;
    a->n_ticks = 0;
    if (a->log) {
        double width = log10(hi) - log10(lo), grow = width > 1e-9 ? pad * width : 0.5;
        a->lo = fmax(1e-305, lo * pow(10, -grow));
        a->hi = fmin(1e305, hi * pow(10, grow));
        log_ticks(a, want);
        return;
    }
    double width = hi - lo, size = fmax(fabs(lo), fabs(hi)), grow = pad * width;
    if (width <= 1e-9 * size || width < 1e-290)
        grow = size > 1e-290 ? 0.05 * size : 1;
    a->lo = lo - grow;
    a->hi = hi + grow;
    linear_ticks(a, want);
}

double ed__axis_map(const ed__axis *a, double v) {
    double t = a->log ? (log(v) - log(a->lo)) / (log(a->hi) - log(a->lo)) : (v - a->lo) / (a->hi - a->lo);
    return a->at0 + fmin(2, fmax(-1, t)) * (a->at1 - a->at0);
}
