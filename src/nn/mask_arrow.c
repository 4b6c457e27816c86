/* nn/mask_arrow.c - one context and several candidates in one row: arrow, arrow without sight of the candidates, diagonal (Uni-Encoder, Song et al. 2023).
 * The context is the shared group; candidates are groups of their own, whose limit says whether they see the context. */
#include "nn/mask_labels.h"

ed_status ed_mask_arrow(ed_arena *a, const ed_mask_dims *d, const int32_t *span, ed_arrow_kind kind, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_FAIL_IF((int)kind < (int)ED_ARROW || kind > ED_ARROW_DIAGONAL, ED_E_INVALID, err, "mask: arrow kind %d", (int)kind);
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_GROUP | ED__MASK_Q_LIMIT | ED__MASK_K_ORDER | ED__MASK_K_GROUP | ED__MASK_K_VALID, false, &m, out, err));
    ED_FAIL_IF(m.q_start + m.queries > m.keys, ED_E_RANGE, err, "mask: queries lie beyond the %lld keys that have spans", (long long)m.keys);
    for (int64_t i = 0; i < m.batch * m.keys; i++) {
        ED_FAIL_IF(span[i] < -2, ED_E_RANGE, err, "mask: span %d", span[i]);
        m.k_order[i] = 0;
        m.k_group[i] = span[i] == -1 ? ED_GROUP_SHARED : span[i];
        m.k_valid[i] = m.k_valid[i] && span[i] >= -1;
    }
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        int32_t s = span[i / m.queries * m.keys + m.q_start + i % m.queries];
        m.q_group[i] = s == -2 ? INT32_MAX : s >= 0 ? s : kind == ED_ARROW ? ED_GROUP_ALL : ED_GROUP_SHARED;
        m.q_limit[i] = s == -2 || (s >= 0 && kind == ED_ARROW_DIAGONAL) ? -1 : 0;
    }
    return ED_OK;
}
