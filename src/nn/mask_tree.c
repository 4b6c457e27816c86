/* nn/mask_tree.c - token trees: every node sees the committed keys and, by ancestor bits, its path from the root. */
#include "nn/mask_labels.h"

ed_status ed_mask_tree(ed_arena *a, const ed_mask_dims *d, const int32_t *parent, ed_labels *out, ed_error *err) {
    ed__mask m;
    int64_t n = d->queries, words = (n + 63) / 64;
    ED_FAIL_IF(n > d->keys || n > 65536, ED_E_INVALID, err, "mask: a tree of %lld nodes over %lld keys", (long long)n, (long long)d->keys);
    ED_TRY(ed__mask_start(a, d, 0, false, &m, out, err));
    uint64_t *bits = ed_arena_zalloc(a, sizeof *bits * (size_t)(m.batch * n * words));
    ED_FAIL_IF(!bits, ED_E_MEMORY, err, "mask: no memory for a tree of %lld nodes", (long long)n);
    for (int64_t i = 0; i < m.batch * n; i++) {
        int64_t node = i % n, p = parent[i];
        ED_FAIL_IF(p < -1 || p >= node, ED_E_RANGE, err, "mask: node %lld has the parent %lld", (long long)node, (long long)p);
        if (p >= 0)
            memcpy(bits + i * words, bits + (i - node + p) * words, sizeof *bits * (size_t)words);
        bits[i * words + node / 64] |= (uint64_t)1 << (node % 64);
    }
    out->ancestors = bits;
    out->scratch_first = d->keys - n;
    out->n_scratch = n;
    return ED_OK;
}
