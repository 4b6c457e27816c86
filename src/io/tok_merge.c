/* io/tok_merge.c - byte-pair merging of one word: always the pair of lowest rank, of equal ranks the leftmost (Sennrich et al. 2016).
 * Short words: rescan an array. Long words: a linked list and a heap of candidate pairs, where outdated candidates are recognised when they come up,
 * so that a word of n symbols costs O(n log n) (a 1 MiB word must not take hours). Both give the same result. */
#include <assert.h>

#include "io/tok.h"

enum { SHORT_WORD = 24, FIRST_SLOTS = 64 };
#define MAX_SYMBOLS ((size_t)INT32_MAX)

static size_t pair_hash(int32_t left, int32_t right) {
    uint64_t k = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(k ^ k >> 29);
}

static ed_status grow_slots(ed__merges *m) {
    size_t n = m->n_slots ? m->n_slots * 2 : FIRST_SLOTS;
    uint32_t *slots = ed__calloc(n, sizeof *slots);
    if (!slots)
        return ED_E_MEMORY;
    for (size_t k = 0; k < m->n; k++) {
        size_t i = pair_hash(m->list[k].left, m->list[k].right) & (n - 1);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)k + 1;
    }
    ed__free(m->slots);
    m->slots = slots;
    m->n_slots = n;
    return ED_OK;
}

const ed__merge *ed__merges_find(const ed__merges *m, int32_t left, int32_t right) {
    if (m->n == 0)
        return NULL;
    for (size_t mask = m->n_slots - 1, i = pair_hash(left, right) & mask; m->slots[i]; i = (i + 1) & mask) {
        const ed__merge *e = &m->list[m->slots[i] - 1];
        if (e->left == left && e->right == right)
            return e;
    }
    return NULL;
}

ed_status ed__merges_put(ed__merges *m, int32_t left, int32_t right, int32_t id, uint32_t rank) {
    if (ed__merges_find(m, left, right))
        return ED_E_FORMAT;
    if ((m->n + 1) * 2 >= m->n_slots)
        ED_TRY(grow_slots(m));
    ED_TRY(ed__grow((void **)&m->list, &m->cap, m->n + 1, sizeof *m->list, UINT32_MAX - 1));
    m->list[m->n] = (ed__merge){left, right, id, rank};
    size_t mask = m->n_slots - 1, i = pair_hash(left, right) & mask;
    while (m->slots[i])
        i = (i + 1) & mask;
    m->slots[i] = (uint32_t)++m->n;
    return ED_OK;
}

void ed__merges_deinit(ed__merges *m) {
    ed__free(m->list);
    ed__free(m->slots);
    memset(m, 0, sizeof *m);
}

ed_status ed__scratch_push(ed__merge_scratch *s, int32_t id, uint32_t begin) {
    if (s->n >= s->cap)
        ED_TRY(ed__grow((void **)&s->syms, &s->cap, s->n + 1, sizeof *s->syms, MAX_SYMBOLS));
    int32_t i = (int32_t)s->n++;
    s->syms[i] = (ed__sym){id, i - 1, -1, begin};
    if (i > 0)
        s->syms[i - 1].next = i;
    return ED_OK;
}

void ed__scratch_deinit(ed__merge_scratch *s) {
    ed__free(s->syms);
    ed__free(s->heap);
    memset(s, 0, sizeof *s);
}

/* ------------------------------------------------------------------ short words */

static void merge_short(const ed__merges *m, ed__sym *sym, size_t n) {
    const ed__merge *pair[SHORT_WORD]; /* pair[i]: the merge of symbols i and i+1, or NULL */
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = ed__merges_find(m, sym[i].id, sym[i + 1].id);
    while (n > 1) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && (best == n || pair[i]->rank < pair[best]->rank))
                best = i;
        if (best == n)
            break;
        sym[best].id = pair[best]->id;
        for (size_t i = best + 1; i + 1 < n; i++) {
            sym[i] = sym[i + 1];
            pair[i] = pair[i + 1];
        }
        n--;
        if (best > 0)
            pair[best - 1] = ed__merges_find(m, sym[best - 1].id, sym[best].id);
        if (best + 1 < n)
            pair[best] = ed__merges_find(m, sym[best].id, sym[best + 1].id);
    }
    for (size_t i = 0; i < n; i++)
        sym[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
}

/* ------------------------------------------------------------------ long words */

typedef struct candidate {
    uint64_t order; /* rank, then place: the smallest goes first */
    const ed__merge *merge;
} candidate;

static void sift_up(candidate *h, size_t i) {
    candidate c = h[i];
    for (; i > 0 && h[(i - 1) / 2].order > c.order; i = (i - 1) / 2)
        h[i] = h[(i - 1) / 2];
    h[i] = c;
}

static void sift_down(candidate *h, size_t n, size_t i) {
    candidate c = h[i];
    for (size_t k; (k = 2 * i + 1) < n; i = k) {
        if (k + 1 < n && h[k + 1].order < h[k].order)
            k++;
        if (h[k].order >= c.order)
            break;
        h[i] = h[k];
    }
    h[i] = c;
}

static size_t push_pair(const ed__merges *m, const ed__sym *sym, int32_t left, candidate *h, size_t n) {
    if (left < 0 || sym[left].next < 0)
        return n;
    const ed__merge *e = ed__merges_find(m, sym[left].id, sym[sym[left].next].id);
    if (!e)
        return n;
    h[n] = (candidate){(uint64_t)e->rank << 32 | (uint32_t)left, e};
    sift_up(h, n);
    return n + 1;
}

static void merge_long(const ed__merges *m, ed__sym *sym, size_t n_sym, candidate *h) {
    size_t n = 0;
    for (size_t i = 0; i + 1 < n_sym; i++)
        n = push_pair(m, sym, (int32_t)i, h, n);
    while (n > 0) {
        candidate c = h[0];
        h[0] = h[--n];
        sift_down(h, n, 0);
        int32_t left = (int32_t)(uint32_t)c.order, right = sym[left].next;
        if (sym[left].id != c.merge->left || right < 0 || sym[right].id != c.merge->right)
            continue; /* one of the two has been merged since */
        sym[left].id = c.merge->id;
        sym[left].next = sym[right].next;
        sym[right].id = -1;
        if (sym[right].next >= 0)
            sym[sym[right].next].prev = left;
        n = push_pair(m, sym, sym[left].prev, h, n);
        n = push_pair(m, sym, left, h, n);
        assert(n <= 2 * n_sym);
    }
}

ed_status ed__merge_word(const ed__merges *m, ed__merge_scratch *s) {
    if (m->n == 0 || s->n < 2)
        return ED_OK;
    if (s->n <= SHORT_WORD) {
        merge_short(m, s->syms, s->n);
        return ED_OK;
    }
    /* Each merge takes one candidate and adds at most two, and there are at most n - 1 merges. */
    ED_TRY(ed__grow(&s->heap, &s->heap_cap, 2 * s->n, sizeof(candidate), 2 * MAX_SYMBOLS));
    merge_long(m, s->syms, s->n, s->heap);
    return ED_OK;
}
