/* base/spare.c - a few large buffers that stay with the process between calls. Work space of this size taken from the heap and given back at every call
 * would be unmapped and mapped again by the C library, and the page faults would cost more than the work. At most SPARE_SLOTS buffers of ED__SPARE_BYTES
 * ever exist; a caller who gets none must do with less. Invariant: only the holder of a slot's `busy` flag touches its `data`. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/internal.h"

enum { SPARE_SLOTS = 8 };

static struct spare_slot {
    atomic_flag busy;
    void *data;
} slots[SPARE_SLOTS] = {{ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL},
                        {ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL}, {ATOMIC_FLAG_INIT, NULL}};

/* Aligned to its size, which is that of a huge page on x86-64: one page fault instead of 512. */
static void *new_buffer(void) {
    void *p = NULL;
    if (posix_memalign(&p, ED__SPARE_BYTES, ED__SPARE_BYTES) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(p, ED__SPARE_BYTES, MADV_HUGEPAGE);
#endif
    return p;
}

int ed__spare_take(void **data) {
    for (int i = 0; i < SPARE_SLOTS; i++) {
        if (atomic_flag_test_and_set_explicit(&slots[i].busy, memory_order_acquire))
            continue;
        if (!slots[i].data)
            slots[i].data = new_buffer();
        *data = slots[i].data;
        if (*data)
            return i;
        atomic_flag_clear_explicit(&slots[i].busy, memory_order_release);
        break;
    }
    return -1;
}

void ed__spare_give(int slot) {
    if (slot >= 0)
        atomic_flag_clear_explicit(&slots[slot].busy, memory_order_release);
}
