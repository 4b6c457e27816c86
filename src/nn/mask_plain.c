/* nn/mask_plain.c - causal, bidirectional, window and prefix labels: order is the key's index. */
#include "nn/mask_labels.h"

ed_status ed_mask_bidirectional(ed_arena *a, const ed_mask_dims *d, ed_labels *out, ed_error *err) {
    ed__mask m;
    ed_mask_dims any = *d; /* a query has no place of its own here */
    any.q_start = 0;
    return ed__mask_start(a, &any, 0, true, &m, out, err);
}

ed_status ed_mask_causal(ed_arena *a, const ed_mask_dims *d, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER, true, &m, out, err));
    for (int64_t i = 0; i < m.batch * m.queries; i++)
        m.q_order[i] = (int32_t)(m.q_start + i % m.queries);
    return ED_OK;
}

ed_status ed_mask_window(ed_arena *a, const ed_mask_dims *d, int64_t back, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_FAIL_IF(back < 0 || back > INT32_MAX / 2, ED_E_INVALID, err, "mask: a window of %lld keys", (long long)back);
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER | ED__MASK_Q_LOW, true, &m, out, err));
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        m.q_order[i] = (int32_t)(m.q_start + i % m.queries);
        m.q_low[i] = (int32_t)(m.q_order[i] - back);
    }
    return ED_OK;
}

/* rows of the prefix see up to its end, later rows up to themselves; the order of a key stays its index */
ed_status ed_mask_prefix(ed_arena *a, const ed_mask_dims *d, const int32_t *prefix, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER, false, &m, out, err));
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        int64_t own = m.q_start + i % m.queries, p = prefix[i / m.queries];
        ED_FAIL_IF(p < 0 || p > m.keys, ED_E_RANGE, err, "mask: a prefix of %lld keys; there are %lld", (long long)p, (long long)m.keys);
        m.q_order[i] = (int32_t)(own < p ? p - 1 : own);
    }
    return ED_OK;
}
