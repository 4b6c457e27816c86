/* base/mem.c - the heap of the library: 64-byte aligned blocks (one cache line, one AVX-512 register), counted, with fault injection in test builds.
 * Layout: [64-byte header: size][bytes asked for]; the header is poisoned under AddressSanitizer, so that underruns are seen too.
 * Invariant: live_blocks = calls that returned memory minus frees; tests check that it comes back to where it was. */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/internal.h"
#include "base/poison.h"

/* Blocks of HUGE_LEAST and more ask for huge pages: 512 times fewer page faults, and strided walks over large matrices stay in the TLB. */
enum { MEM_ALIGN = 64, HUGE_PAGE = 2 << 20, HUGE_LEAST = 4 << 20 };

typedef struct mem_header {
    size_t bytes;
} mem_header;

static atomic_llong live_blocks;

#ifdef ED_TEST_HOOKS
static atomic_llong calls_until_failure = -1;
static atomic_bool failure_stays;

/* The counter runs down to 1; the call that finds it there fails, and leaves it there when the failure is to stay. */
static bool injected_failure(void) {
    long long left = atomic_load(&calls_until_failure);
    while (left >= 0) {
        long long next = left > 1 ? left - 1 : atomic_load(&failure_stays) ? left : -1;
        if (atomic_compare_exchange_weak(&calls_until_failure, &left, next))
            return left <= 1;
    }
    return false;
}

void ed__mem_fail_after(int64_t n, bool persistent) {
    atomic_store(&failure_stays, persistent);
    atomic_store(&calls_until_failure, n < 0 ? -1 : n);
}
#else
static bool injected_failure(void) {
    return false;
}

void ed__mem_fail_after(int64_t n, bool persistent) {
    (void)n;
    (void)persistent;
}
#endif

static mem_header *header_of(void *p) {
    return (mem_header *)((char *)p - MEM_ALIGN);
}

static void *raw_block(size_t total) {
    void *raw = NULL;
    if (posix_memalign(&raw, total >= HUGE_LEAST ? HUGE_PAGE : MEM_ALIGN, total) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (total >= HUGE_LEAST)
        (void)madvise(raw, total & ~(size_t)(HUGE_PAGE - 1), MADV_HUGEPAGE); /* advice: where it is refused nothing changes */
#endif
    return raw;
}

void *ed__malloc(size_t bytes) {
    size_t total;
    void *raw = NULL;
    if (injected_failure() || !ed__add_size(bytes ? bytes : 1, MEM_ALIGN, &total) || !(raw = raw_block(total)))
        return NULL;
    ((mem_header *)raw)->bytes = bytes;
    ED_POISON(raw, MEM_ALIGN);
    atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    return (char *)raw + MEM_ALIGN;
}

void *ed__calloc(size_t count, size_t bytes) {
    size_t total;
    if (!ed__mul_size(count, bytes, &total))
        return NULL;
    void *p = ed__malloc(total);
    if (p)
        memset(p, 0, total);
    return p;
}

void *ed__realloc(void *p, size_t bytes) {
    if (!p)
        return ed__malloc(bytes);
    mem_header *h = header_of(p);
    ED_UNPOISON(h, MEM_ALIGN);
    size_t old = h->bytes;
    ED_POISON(h, MEM_ALIGN);
    void *q = ed__malloc(bytes); /* the system's realloc would not keep the alignment */
    if (!q)
        return NULL;
    memcpy(q, p, old < bytes ? old : bytes);
    ed__free(p);
    return q;
}

void ed__free(void *p) {
    if (!p)
        return;
    mem_header *h = header_of(p);
    ED_UNPOISON(h, MEM_ALIGN);
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
    free(h);
}

char *ed__strdup(const char *s) {
    return s ? ed__strndup(s, strlen(s)) : NULL;
}

char *ed__strndup(const char *s, size_t n) {
    size_t len = s ? strnlen(s, n) : 0;
    char *copy = s ? ed__malloc(len + 1) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

ed_status ed__grow(void **items, size_t *cap, size_t need, size_t item_bytes, size_t max_items) {
    size_t want = *cap ? *cap : 8, bytes;
    void *p;
    if (need <= *cap)
        return ED_OK;
    if (need > max_items)
        return ED_E_LIMIT;
    while (want < need)
        want = want > max_items / 2 ? max_items : want * 2;
    if (want > max_items)
        want = max_items;
    if (!ed__mul_size(want, item_bytes, &bytes))
        return ED_E_LIMIT;
    /* *items is in truth some other pointer type behind a cast: moved as bytes to stay within the aliasing rules */
    memcpy(&p, items, sizeof p);
    p = ed__realloc(p, bytes);
    if (!p)
        return ED_E_MEMORY;
    memcpy(items, &p, sizeof p);
    *cap = want;
    return ED_OK;
}

int64_t ed__mem_blocks(void) {
    return atomic_load(&live_blocks);
}
