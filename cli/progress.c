/* cli/progress.c - the progress line on standard error, and the signals that end long work politely. */
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "cli.h"

static bool line_open; /* a line without its end stands on the terminal */
static volatile sig_atomic_t caught;

static bool on_terminal(void) {
    static int known = -1;
    if (known < 0)
        known = isatty(STDERR_FILENO) == 1;
    return known == 1;
}

void cli_progress_end(void) {
    if (line_open)
        fputc('\n', stderr);
    line_open = false;
}

void cli_progress_line(bool keep, const char *fmt, ...) {
    va_list ap;
    bool overwrite = on_terminal();
    if (overwrite)
        fputc('\r', stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs(overwrite ? "\033[K" : "\n", stderr);
    line_open = overwrite;
    if (keep)
        cli_progress_end();
    fflush(stderr);
}

bool cli_progress_report(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    if (on_terminal() && total > 0)
        cli_progress_line(done >= total, "%s: %.0f %%", what, 100.0 * (double)done / (double)total);
    return !caught;
}

const char *cli_clock_text(double seconds, char *buf, size_t n) {
    long long s = isfinite(seconds) && seconds > 0 && seconds < 1e12 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(buf, n, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, n, "%lld:%02lld", s / 60, s % 60);
    return buf;
}

static void on_signal(int number) {
    caught = number;
}

void cli_catch_signals(void) {
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

int cli_caught_signal(void) {
    return caught;
}
