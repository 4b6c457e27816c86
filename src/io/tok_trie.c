/* io/tok_trie.c - a byte trie with adjacent, sorted children, built breadth-first from sorted keys (no recursion: key length is an outsider's choice).
 * The root's children are indexed by byte, so most misses cost one load. */
#include <stdlib.h>

#include "io/tok.h"

static int compare_keys(const void *pa, const void *pb) {
    const ed__trie_key *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    if (c)
        return c;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Keys [lo, hi) share their first `depth` bytes, which lead to a node. */
typedef struct span {
    size_t lo, hi;
    uint32_t depth;
} span;

/* Appends the children of node `at` (keys sp) and their spans; spans[i] belongs to node i. */
static ed_status expand(ed__trie *t, const ed__trie_key *keys, size_t at, span **spans, size_t *cap) {
    span sp = (*spans)[at];
    size_t i = sp.lo;
    while (i < sp.hi && keys[i].n == sp.depth) { /* sorted: the keys that end here come first, the lowest id at the front */
        if (t->nodes[at].id < 0)
            t->nodes[at].id = keys[i].id;
        i++;
    }
    t->nodes[at].child = (uint32_t)t->n;
    while (i < sp.hi) {
        size_t j = i + 1;
        while (j < sp.hi && keys[j].s[sp.depth] == keys[i].s[sp.depth])
            j++;
        ED_TRY(ed__grow((void **)&t->nodes, &t->cap, t->n + 1, sizeof *t->nodes, UINT32_MAX));
        ED_TRY(ed__grow((void **)spans, cap, t->n + 1, sizeof **spans, UINT32_MAX));
        unsigned char label = (unsigned char)keys[i].s[sp.depth];
        t->nodes[t->n] = (ed__trie_node){0, 0, label, -1};
        (*spans)[t->n] = (span){i, j, sp.depth + 1};
        if (at == 0)
            t->first[label] = (uint32_t)t->n;
        t->nodes[at].n_child++;
        t->n++;
        i = j;
    }
    return ED_OK;
}

ed_status ed__trie_build(ed__trie *t, ed__trie_key *keys, size_t n) {
    ed__trie_deinit(t);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (keys[i].n) {
            t->depth = keys[i].n > t->depth ? keys[i].n : t->depth;
            keys[kept++] = keys[i];
        }
    if (kept)
        qsort(keys, kept, sizeof *keys, compare_keys);
    span *spans = NULL;
    size_t cap = 0;
    ed_status s = ed__grow((void **)&t->nodes, &t->cap, 1, sizeof *t->nodes, UINT32_MAX);
    if (s == ED_OK)
        s = ed__grow((void **)&spans, &cap, 1, sizeof *spans, UINT32_MAX);
    if (s == ED_OK) {
        t->nodes[0] = (ed__trie_node){0, 0, 0, -1};
        spans[0] = (span){0, kept, 0};
        t->n = 1;
    }
    for (size_t at = 0; s == ED_OK && at < t->n; at++)
        s = expand(t, keys, at, &spans, &cap);
    ed__free(spans);
    if (s != ED_OK)
        ed__trie_deinit(t);
    return s;
}

void ed__trie_deinit(ed__trie *t) {
    ed__free(t->nodes);
    memset(t, 0, sizeof *t);
}
