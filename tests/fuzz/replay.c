/* tests/fuzz/replay.c - runs a fuzz target over the files of the given folders, plus every truncation of small seeds and single-byte flips
 * drawn from a fixed stream: the corpus stays a plain regression test, with no fuzzing engine needed. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endec/base.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

enum { FULL_TRUNCATION_BYTES = 2048, FLIPS = 200, MAX_SEED_BYTES = 1 << 24 };

static void run_copy(const unsigned char *data, size_t size) {
    unsigned char *copy = malloc(size ? size : 1); /* an exact-size heap block lets ASan see any read past the end */
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_variants(unsigned char *data, size_t size, ed_rng *rng) {
    run_copy(data, size);
    size_t step = size <= FULL_TRUNCATION_BYTES ? 1 : size / 256;
    for (size_t n = 0; n < size; n += step)
        run_copy(data, n);
    for (int i = 0; i < FLIPS && size > 0; i++) {
        size_t at = (size_t)ed_rng_below(rng, i & 1 ? size : (size < 64 ? size : 64));
        unsigned char old = data[at];
        data[at] = (unsigned char)ed_rng_u64(rng);
        run_copy(data, size);
        data[at] = old;
    }
}

static int run_folder(const char *folder, ed_rng *rng) {
    DIR *d = opendir(folder);
    int n = 0;
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[1024];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = fopen(path, "rb");
        if (!f)
            continue;
        unsigned char *data = malloc(MAX_SEED_BYTES);
        size_t size = data ? fread(data, 1, MAX_SEED_BYTES, f) : 0;
        fclose(f);
        if (data)
            run_variants(data, size, rng);
        free(data);
        n++;
    }
    closedir(d);
    return n;
}

int main(int argc, char **argv) {
    ed_rng rng = ed_rng_make(1, 0);
    int n = 0;
    run_copy((const unsigned char *)"", 0);
    for (int i = 1; i < argc; i++)
        n += run_folder(argv[i], &rng);
    printf("%d seed files replayed\n", n);
    return n > 0 ? 0 : 1;
}
