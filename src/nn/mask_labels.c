/* nn/mask_labels.c - dimensions and arrays of a label set. */
#include "nn/mask_labels.h"

static ed_status check(const ed_mask_dims *d, ed_error *err) {
    ED_FAIL_IF(d->batch < 1 || d->queries < 0 || d->keys < 0 || d->keys > INT32_MAX / 2 || d->queries > INT32_MAX / 2 || d->q_start > INT32_MAX / 2, ED_E_INVALID,
               err, "mask: %lld items, %lld queries, %lld keys", (long long)d->batch, (long long)d->queries, (long long)d->keys);
    for (int64_t b = 0; b < d->batch; b++) {
        int64_t first = d->first ? d->first[b] : 0, last = d->last ? d->last[b] : d->keys;
        ED_FAIL_IF(first < 0 || last < first || last > d->keys, ED_E_RANGE, err, "mask: real keys [%lld, %lld) of item %lld; it has %lld", (long long)first,
                   (long long)last, (long long)b, (long long)d->keys);
    }
    return ED_OK;
}

static void *array(ed_arena *a, bool wanted, int64_t rows, int64_t cols, size_t bytes, bool *ok) {
    size_t n, total;
    if (!wanted)
        return NULL;
    void *p = ed__mul_size((size_t)rows, (size_t)cols, &n) && ed__mul_size(n, bytes, &total) ? ed_arena_alloc(a, total) : NULL;
    *ok = *ok && p;
    return p;
}

ed_status ed__mask_start(ed_arena *a, const ed_mask_dims *d, int fields, bool batch_alike, ed__mask *m, ed_labels *out, ed_error *err) {
    ED_TRY(check(d, err));
    bool pads = d->first || d->last, ok = true;
    int64_t batch = batch_alike && !pads ? 1 : d->batch, q = d->queries, k = d->keys;
    *m = (ed__mask){.batch = batch, .queries = q, .keys = k, .q_start = d->q_start < 0 ? k - q : d->q_start};
    ED_FAIL_IF(m->q_start < 0, ED_E_INVALID, err, "mask: more queries (%lld) than keys (%lld) needs q_start", (long long)q, (long long)k);
    m->q_order = array(a, fields & ED__MASK_Q_ORDER, batch, q, sizeof(int32_t), &ok);
    m->q_group = array(a, fields & ED__MASK_Q_GROUP, batch, q, sizeof(int32_t), &ok);
    m->q_limit = array(a, fields & ED__MASK_Q_LIMIT, batch, q, sizeof(int32_t), &ok);
    m->q_low = array(a, fields & ED__MASK_Q_LOW, batch, q, sizeof(int32_t), &ok);
    m->k_order = array(a, fields & ED__MASK_K_ORDER, batch, k, sizeof(int32_t), &ok);
    m->k_group = array(a, fields & ED__MASK_K_GROUP, batch, k, sizeof(int32_t), &ok);
    m->k_valid = array(a, pads || fields & ED__MASK_K_VALID, batch, k, 1, &ok);
    ED_FAIL_IF(!ok, ED_E_MEMORY, err, "mask: no memory for the labels of %lld x %lld keys", (long long)batch, (long long)k);
    for (int64_t i = 0; m->k_valid && i < batch * k; i++)
        m->k_valid[i] = i % k >= (d->first ? d->first[i / k] : 0) && i % k < (d->last ? d->last[i / k] : k);
    *out = (ed_labels){.batch = batch, .queries = q, .keys = k, .q_order = m->q_order, .q_group = m->q_group, .q_limit = m->q_limit, .q_low = m->q_low,
                       .k_order = m->k_order, .k_group = m->k_group, .k_valid = m->k_valid, .q_start = m->q_start};
    return ED_OK;
}
