/* train/schedules.c - learning-rate schedules as factors on the peak. Warm-up rises linearly from 1/warmup to 1 in all of them. */
#include <math.h>

#include "base/internal.h"
#include "endec/train.h"

typedef double (*shape_fn)(double t, double warmup, double total); /* t = steps, 1 at the end of warm-up */

static double constant(double t, double warmup, double total) {
    (void)t, (void)warmup, (void)total;
    return 1;
}

static double share(double t, double warmup, double total) {
    double x = total > warmup ? (t - warmup) / (total - warmup) : 1;
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static double linear(double t, double warmup, double total) {
    return 1 - share(t, warmup, total);
}

static double cosine(double t, double warmup, double total) {
    return 0.5 * (1 + cos(3.14159265358979323846 * share(t, warmup, total)));
}

static double inverse_sqrt(double t, double warmup, double total) {
    (void)total;
    return sqrt((warmup > 1 ? warmup : 1) / t);
}

static double polynomial(double t, double warmup, double total) {
    double x = 1 - share(t, warmup, total);
    return x * x;
}

static const char *const names[] = {"constant", "linear", "cosine", "inverse_sqrt", "polynomial", NULL};
static const shape_fn shapes[] = {constant, linear, cosine, inverse_sqrt, polynomial};

const char *const *ed_schedule_names(void) {
    return names;
}

double ed_schedule(const char *name, int64_t step, int64_t warmup, int64_t total, double floor) {
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        if (step < warmup)
            return (double)step / (double)warmup;
        return floor + (1 - floor) * shapes[i]((double)(step > 0 ? step : 1), (double)warmup, (double)total);
    }
    return NAN;
}
