/* inspect/report_machine.c - one line that names the machine a figure was measured on. */
#include "inspect/report.h"

#include <stdio.h>
#include <sched.h>
#include <sys/utsname.h>

/* The value of the first line "model name : ..." of /proc/cpuinfo, else the architecture. */
static void cpu_model(char *out, size_t bytes) {
    char line[512];
    struct utsname u;
    snprintf(out, bytes, "%s", uname(&u) == 0 ? u.machine : "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\r\n")] = '\0';
        if (colon[0] != '\0')
            snprintf(out, bytes, "%s", colon);
        break;
    }
    fclose(f);
}

const char *ed_machine_text(char *buf, size_t buf_bytes) {
    char model[256];
    cpu_set_t set;
    int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1, threads = ed_threads_get();
    cpu_model(model, sizeof model);
    if (buf_bytes > 0)
        snprintf(buf, buf_bytes, "%s, %d CPU%s, %s, %d thread%s", model, cpus, cpus == 1 ? "" : "s", ed_cpu_name(ed_cpu_get()), threads,
                 threads == 1 ? "" : "s");
    return buf;
}
