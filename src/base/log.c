/* base/log.c - the process-wide log sink. The library prints nothing itself: lines go to the callback of ed_log_set.
 * Invariants: the sink gets one call at a time (a mutex), one complete line without newline; a line logged from inside the sink is dropped
 * (it would wait for itself). The level check reads one atomic, so silent logging costs next to nothing. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/internal.h"

enum { LOG_SILENT = ED_LOG_ERROR + 1, LOG_LINE_BYTES = 2048 };

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static ed_log_fn sink_fn;
static void *sink_user;
static atomic_int sink_lowest = LOG_SILENT;
static _Thread_local bool inside_sink;

void ed_log_set(ed_log_fn fn, void *user, ed_log_level lowest) {
    bool nested = inside_sink; /* a sink may replace itself; its thread holds the lock then */
    if (!nested)
        pthread_mutex_lock(&sink_lock);
    sink_fn = fn;
    sink_user = user;
    atomic_store(&sink_lowest, fn ? (int)lowest : LOG_SILENT);
    if (!nested)
        pthread_mutex_unlock(&sink_lock);
}

void ed_log_line(ed_log_level level, const char *fmt, ...) {
    char raw[LOG_LINE_BYTES + 8], line[LOG_LINE_BYTES];
    if ((int)level < atomic_load_explicit(&sink_lowest, memory_order_relaxed) || inside_sink)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    ed__text_line(line, sizeof line, raw);
    pthread_mutex_lock(&sink_lock);
    inside_sink = true;
    if (sink_fn)
        sink_fn(sink_user, level, line);
    inside_sink = false;
    pthread_mutex_unlock(&sink_lock);
}
