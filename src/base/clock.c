/* base/clock.c - what the system tells about the run: monotonic wall clock, peak resident memory. */
#include <sys/resource.h>
#include <time.h>

#include "base/internal.h"

double ed_time_s(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 0.0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t ed_peak_rss_bytes(void) {
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0 || u.ru_maxrss < 0)
        return 0;
#ifdef __APPLE__
    return (size_t)u.ru_maxrss;
#else
    return (size_t)u.ru_maxrss * 1024; /* Linux counts in KiB */
#endif
}
