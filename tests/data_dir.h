/* tests/data_dir.h - where optional test data lie: $ENDEC_DATA, else ../shared/data beside the checkout. Tests skip, aloud, without them. */
#ifndef TESTS_DATA_DIR_H
#define TESTS_DATA_DIR_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool data_path(const char *name, char *buf, size_t bytes) {
    const char *dir = getenv("ENDEC_DATA");
    snprintf(buf, bytes, "%s/%s", dir && *dir ? dir : "../shared/data", name);
    if (access(buf, R_OK) == 0)
        return true;
    printf("skipped: no data at %s (set ENDEC_DATA)\n", buf);
    return false;
}

#endif
