/* base/hash.c - XXH3-64 (library xxHash), the checksum of Endec's files. Same value on any machine. */
#include <xxhash.h>

#include "base/internal.h"

uint64_t ed__hash64(const void *data, size_t n, uint64_t seed) {
    return XXH3_64bits_withSeed(n ? data : "", n, seed);
}
