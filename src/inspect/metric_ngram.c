/* inspect/metric_ngram.c - counts every n-gram of several strings at once. Instead of hashing n-grams, each order is ranked from the one
 * below: the n-gram at p is the pair (rank of the (n-1)-gram at p, item at p+n-1), one sort of 64-bit keys an order (prefix doubling of
 * Karp, Miller and Rosenberg 1972, one item at a time). Exact for any order, no collisions, O(n log n) an order. */
#include "inspect/metric.h"

#include <assert.h>
#include <stdlib.h>

void ed__ngrams_reset(ed__ngrams *g) {
    g->n = 0;
    g->n_strings = 0;
}

void ed__ngrams_free(ed__ngrams *g) {
    ed__free(g->grams);
    ed__free(g->ids);
    ed__free(g->rank);
    ed__free(g->left);
    ed__free(g->owner);
    *g = (ed__ngrams){0};
}

/* The five arrays share one capacity, so each is grown from the same old value. */
static ed_status reserve(ed__ngrams *g, size_t need) {
    if (need <= g->cap)
        return ED_OK;
    size_t caps[5] = {g->cap, g->cap, g->cap, g->cap, g->cap};
    ED_TRY(ed__grow((void **)&g->grams, &caps[0], need, sizeof *g->grams, UINT32_MAX));
    ED_TRY(ed__grow((void **)&g->ids, &caps[1], need, sizeof *g->ids, UINT32_MAX));
    ED_TRY(ed__grow((void **)&g->rank, &caps[2], need, sizeof *g->rank, UINT32_MAX));
    ED_TRY(ed__grow((void **)&g->left, &caps[3], need, sizeof *g->left, UINT32_MAX));
    ED_TRY(ed__grow((void **)&g->owner, &caps[4], need, sizeof *g->owner, UINT32_MAX));
    g->cap = caps[0];
    for (int i = 1; i < 5; i++)
        g->cap = caps[i] < g->cap ? caps[i] : g->cap;
    return ED_OK;
}

ed_status ed__ngrams_add(ed__ngrams *g, const uint32_t *ids, size_t n) {
    assert(g->n_strings <= ED_METRIC_REFS_MAX);
    ED_TRY(reserve(g, g->n + n));
    for (size_t i = 0; i < n; i++) {
        size_t p = g->n + i;
        g->ids[p] = ids[i];
        g->rank[p] = 0;
        g->left[p] = (uint32_t)(n - i);
        g->owner[p] = (uint32_t)g->n_strings;
    }
    g->n += n;
    g->n_strings++;
    return ED_OK;
}

static int gram_compare(const void *pa, const void *pb) {
    const struct ed__gram *a = pa, *b = pb;
    return a->key < b->key ? -1 : a->key > b->key;
}

void ed__ngrams_count(ed__ngrams *g, int max_order, ed__ngram_fn fn, void *ctx) {
    int64_t counts[ED_METRIC_REFS_MAX + 1];
    for (int order = 1; order <= max_order; order++) {
        size_t m = 0, span = (size_t)order - 1;
        for (size_t p = 0; p < g->n; p++)
            if (g->left[p] > span)
                g->grams[m++] = (struct ed__gram){.key = (uint64_t)g->rank[p] << 32 | g->ids[p + span], .pos = (uint32_t)p};
        if (m == 0)
            return;
        qsort(g->grams, m, sizeof *g->grams, gram_compare);
        uint32_t rank = 0;
        for (size_t i = 0; i < m; rank++) {
            memset(counts, 0, (size_t)g->n_strings * sizeof *counts);
            for (uint64_t key = g->grams[i].key; i < m && g->grams[i].key == key; i++) {
                g->rank[g->grams[i].pos] = rank;
                counts[g->owner[g->grams[i].pos]]++;
            }
            fn(ctx, order, counts);
        }
    }
}
