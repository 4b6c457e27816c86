/* base/checked.c - arithmetic that says when it overflows. Sizes that come from files pass through here before anything is allocated.
 * Invariant: on failure *out keeps its value. */
#include "base/internal.h"

bool ed__add_size(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool ed__mul_size(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool ed__mul_i64(int64_t a, int64_t b, int64_t *out) {
    if (a < 0 || b < 0 || (b != 0 && a > INT64_MAX / b))
        return false;
    *out = a * b;
    return true;
}

bool ed__align_size(size_t a, size_t align, size_t *out) {
    size_t up;
    if (align == 0 || (align & (align - 1)) != 0 || !ed__add_size(a, align - 1, &up))
        return false;
    *out = up & ~(align - 1);
    return true;
}
