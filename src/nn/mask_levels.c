/* nn/mask_levels.c - chunk-aware sight (streaming encoders) and level-causal sight (scales, groups, fronts): order is coarser than the index. */
#include "nn/mask_labels.h"

ed_status ed_mask_chunks(ed_arena *a, const ed_mask_dims *d, int64_t c, int64_t left, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_FAIL_IF(c < 1 || c > INT32_MAX || (left >= 0 && left % c), ED_E_INVALID, err, "mask: chunks of %lld rows with %lld rows to the left, which is not a multiple",
               (long long)c, (long long)left);
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER | ED__MASK_K_ORDER | (left >= 0 ? ED__MASK_Q_LOW : 0), true, &m, out, err));
    for (int64_t i = 0; i < m.batch * m.keys; i++)
        m.k_order[i] = (int32_t)(i % m.keys / c);
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        int64_t order = (m.q_start + i % m.queries) / c, low = order - left / c;
        m.q_order[i] = (int32_t)order;
        if (left >= 0)
            m.q_low[i] = (int32_t)(low < 0 ? 0 : low);
    }
    return ED_OK;
}

ed_status ed_mask_levels(ed_arena *a, const ed_mask_dims *d, const int32_t *level, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER | ED__MASK_K_ORDER, false, &m, out, err));
    ED_FAIL_IF(m.q_start + m.queries > m.keys, ED_E_RANGE, err, "mask: queries lie beyond the %lld keys that have levels", (long long)m.keys);
    memcpy(m.k_order, level, sizeof *level * (size_t)(m.batch * m.keys));
    for (int64_t i = 0; i < m.batch * m.queries; i++)
        m.q_order[i] = level[i / m.queries * m.keys + m.q_start + i % m.queries];
    return ED_OK;
}
