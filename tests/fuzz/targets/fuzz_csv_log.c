/* tests/fuzz/targets/fuzz_csv_log.c - a log file that something else wrote: continuing it must either be refused and leave it alone, or give
 * a log that can be written to and continued again. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "endec/report.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    static const char *const columns[] = {"loss"};
    char path[64];
    snprintf(path, sizeof path, "/tmp/ed-fuzz-log-%ld.csv", (long)getpid());
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
        abort();
    ed_csv *csv;
    if (ed_csv_open(path, columns, 1, 20, &csv, NULL) == ED_OK) {
        double loss = 0.5;
        if (ed_csv_row(csv, INT64_MAX, &loss, NULL) != ED_OK)
            abort();
        ed_csv_close(&csv);
        if (ed_csv_open(path, columns, 1, 20, &csv, NULL) != ED_OK)
            abort();
        ed_csv_close(&csv);
    } else {
        f = fopen(path, "rb");
        if (!f || fseek(f, 0, SEEK_END) != 0 || ftell(f) != (long)size)
            abort();
        fclose(f);
    }
    unlink(path);
    return 0;
}
