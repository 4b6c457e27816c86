/* base/arena.c - bump allocator in growing blocks, with marks, a byte cap and a high-water mark.
 *
 *   blocks[0]            blocks[cur]               blocks[cur+1] ...
 *   |used.........|      |used......|free.....|    |free (kept for reuse)|
 *
 * Invariants: every block behind `cur` is empty, so their order is free and a fitting one may be swapped forward; block i starts at byte
 * `start` of the arena's count, hence used bytes = blocks[cur].start + used, and a mark (block, used) restores the count exactly.
 * Counted are requested bytes rounded up to 64. Free space is poisoned under AddressSanitizer. */
#include <assert.h>

#include "base/internal.h"
#include "base/poison.h"

#define ARENA_ALIGN ((size_t)64)
#define ARENA_FIRST_BLOCK ((size_t)1 << 20)
#define ARENA_LARGEST_BLOCK ((size_t)256 << 20)
#define ARENA_MAX_BLOCKS ((size_t)1 << 20)

typedef struct arena_block {
    char *data;
    size_t bytes;
    size_t start; /* bytes in use in all earlier blocks; meaningful up to `cur` */
} arena_block;

struct ed_arena {
    arena_block *blocks;
    size_t n_blocks, blocks_cap;
    size_t cur, used; /* current block, bytes used in it */
    size_t next_bytes; /* size of the next ordinary block */
    size_t cap, high;
};

ed_status ed_arena_create(size_t cap_bytes, ed_arena **out) {
    if (!out)
        return ED_E_INVALID;
    *out = NULL;
    ed_arena *a = ed__calloc(1, sizeof *a);
    if (!a)
        return ED_E_MEMORY;
    a->cap = cap_bytes;
    a->next_bytes = ARENA_FIRST_BLOCK;
    *out = a;
    return ED_OK;
}

void ed_arena_destroy(ed_arena **arena) {
    if (!arena || !*arena)
        return;
    ed_arena *a = *arena;
    for (size_t i = 0; i < a->n_blocks; i++) {
        ED_UNPOISON(a->blocks[i].data, a->blocks[i].bytes);
        ed__free(a->blocks[i].data);
    }
    ed__free(a->blocks);
    ed__free(a);
    *arena = NULL;
}

/* Appends a block of at least n bytes: the growing size if memory and cap allow, else just n. */
static bool add_block(ed_arena *a, size_t n) {
    if (ed__grow((void **)&a->blocks, &a->blocks_cap, a->n_blocks + 1, sizeof *a->blocks, ARENA_MAX_BLOCKS) != ED_OK)
        return false;
    size_t bytes = a->next_bytes;
    if (a->cap && bytes > a->cap)
        bytes = (a->cap + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    if (bytes < n)
        bytes = n;
    char *data = ed__malloc(bytes);
    if (!data && bytes > n) {
        bytes = n;
        data = ed__malloc(bytes);
    }
    if (!data)
        return false;
    if (a->next_bytes < ARENA_LARGEST_BLOCK)
        a->next_bytes *= 2;
    ED_POISON(data, bytes);
    a->blocks[a->n_blocks++] = (arena_block){data, bytes, 0};
    return true;
}

/* Makes a block with n free bytes the current one. An unused current block is passed over in place, so nothing is wasted. */
static bool next_block(ed_arena *a, size_t n) {
    size_t total = ed_arena_used(a), at = a->used > 0 ? a->cur + 1 : a->cur, fit = at;
    while (fit < a->n_blocks && a->blocks[fit].bytes < n)
        fit++;
    if (fit >= a->n_blocks) {
        if (!add_block(a, n))
            return false;
        fit = a->n_blocks - 1;
    }
    arena_block b = a->blocks[fit];
    a->blocks[fit] = a->blocks[at];
    a->blocks[at] = b;
    a->blocks[at].start = total;
    a->cur = at;
    a->used = 0;
    return true;
}

void *ed_arena_alloc(ed_arena *a, size_t bytes) {
    size_t n, total;
    if (!ed__align_size(bytes ? bytes : 1, ARENA_ALIGN, &n) || !ed__add_size(ed_arena_used(a), n, &total))
        return NULL;
    if (a->cap && total > a->cap)
        return NULL;
    if ((a->n_blocks == 0 || a->blocks[a->cur].bytes - a->used < n) && !next_block(a, n))
        return NULL;
    char *p = a->blocks[a->cur].data + a->used;
    a->used += n;
    if (total > a->high)
        a->high = total;
    ED_UNPOISON(p, bytes ? bytes : 1); /* the slack up to n stays poisoned */
    return p;
}

void *ed_arena_zalloc(ed_arena *a, size_t bytes) {
    void *p = ed_arena_alloc(a, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

char *ed_arena_strdup(ed_arena *a, const char *s) {
    size_t n = strlen(s) + 1;
    char *p = ed_arena_alloc(a, n);
    if (p)
        memcpy(p, s, n);
    return p;
}

ed_arena_mark ed_arena_get_mark(const ed_arena *a) {
    return (ed_arena_mark){a->cur, a->used};
}

void ed_arena_rewind(ed_arena *a, ed_arena_mark m) {
    assert(m.block < a->cur || (m.block == a->cur && m.used <= a->used)); /* a mark of the past, not one already rewound over */
    if (a->n_blocks == 0)
        return;
    for (size_t i = m.block + 1; i <= a->cur; i++)
        ED_POISON(a->blocks[i].data, a->blocks[i].bytes);
    ED_POISON(a->blocks[m.block].data + m.used, a->blocks[m.block].bytes - m.used);
    a->cur = m.block;
    a->used = m.used;
}

void ed_arena_reset(ed_arena *a) {
    ed_arena_rewind(a, (ed_arena_mark){0, 0});
}

size_t ed_arena_used(const ed_arena *a) {
    return a->n_blocks ? a->blocks[a->cur].start + a->used : 0;
}

size_t ed_arena_high_water(const ed_arena *a) {
    return a->high;
}

size_t ed_arena_cap(const ed_arena *a) {
    return a->cap;
}

void ed_arena_set_cap(ed_arena *a, size_t cap_bytes) {
    a->cap = cap_bytes;
}
