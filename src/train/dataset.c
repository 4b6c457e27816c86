/* train/dataset.c - sequences of token ids in memory: one long array of ids, and per example where its two sides begin. */
#include "base/internal.h"
#include "endec/train.h"

static const size_t MAX_IDS = (size_t)1 << 40;

typedef struct example {
    int64_t at, n_src, n_tgt;
} example;

struct ed_dataset {
    int32_t *ids;
    size_t n_ids, cap_ids;
    example *items;
    size_t n, cap;
};

ed_status ed_dataset_create(ed_dataset **out) {
    *out = ed__calloc(1, sizeof **out);
    return *out ? ED_OK : ED_E_MEMORY;
}

void ed_dataset_destroy(ed_dataset **d) {
    if (!d || !*d)
        return;
    ed__free((*d)->ids);
    ed__free((*d)->items);
    ed__free(*d);
    *d = NULL;
}

ed_status ed_dataset_add(ed_dataset *d, const int32_t *src, int64_t n_src, const int32_t *tgt, int64_t n_tgt) {
    if (n_src < 0 || n_tgt < 0)
        return ED_E_INVALID;
    ED_TRY(ed__grow((void **)&d->ids, &d->cap_ids, d->n_ids + (size_t)(n_src + n_tgt), sizeof *d->ids, MAX_IDS));
    ED_TRY(ed__grow((void **)&d->items, &d->cap, d->n + 1, sizeof *d->items, MAX_IDS));
    if (n_src)
        memcpy(d->ids + d->n_ids, src, (size_t)n_src * sizeof *src);
    if (n_tgt)
        memcpy(d->ids + d->n_ids + n_src, tgt, (size_t)n_tgt * sizeof *tgt);
    d->items[d->n++] = (example){(int64_t)d->n_ids, n_src, n_tgt};
    d->n_ids += (size_t)(n_src + n_tgt);
    return ED_OK;
}

int64_t ed_dataset_count(const ed_dataset *d) {
    return (int64_t)d->n;
}

int64_t ed_dataset_tokens(const ed_dataset *d) {
    return (int64_t)d->n_ids;
}

void ed_dataset_get(const ed_dataset *d, int64_t i, const int32_t **src, int64_t *n_src, const int32_t **tgt, int64_t *n_tgt) {
    const example *e = &d->items[i];
    *src = d->ids + e->at;
    *n_src = e->n_src;
    *tgt = d->ids + e->at + e->n_src;
    *n_tgt = e->n_tgt;
}
