/* nn/mask_side_blocks.c - blocks of extra rows packed beside a shared prefix: real rows are the shared group, a block sees itself and the prefix up to its limit. */
#include "nn/mask_labels.h"

ed_status ed_mask_side_blocks(ed_arena *a, const ed_mask_dims *d, const int32_t *block, const int32_t *limit, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_ORDER | ED__MASK_Q_GROUP | ED__MASK_Q_LIMIT | ED__MASK_K_GROUP, false, &m, out, err));
    ED_FAIL_IF(m.q_start + m.queries > m.keys, ED_E_RANGE, err, "mask: queries lie beyond the %lld keys that name blocks", (long long)m.keys);
    for (int64_t i = 0; i < m.batch * m.keys; i++) {
        ED_FAIL_IF(block[i] < -1, ED_E_RANGE, err, "mask: block %d", block[i]);
        m.k_group[i] = block[i] < 0 ? ED_GROUP_SHARED : block[i];
    }
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        int64_t own = m.q_start + i % m.queries, at = i / m.queries * m.keys + own;
        m.q_order[i] = (int32_t)own;
        m.q_group[i] = m.k_group[at];
        m.q_limit[i] = block[at] < 0 ? (int32_t)own : limit[at];
    }
    return ED_OK;
}
