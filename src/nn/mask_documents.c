/* nn/mask_documents.c - packed documents and streams that must not mix: group = document. */
#include "nn/mask_labels.h"

ed_status ed_mask_documents(ed_arena *a, const ed_mask_dims *d, const int32_t *document, bool causal, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_TRY(ed__mask_start(a, d, ED__MASK_Q_GROUP | ED__MASK_K_GROUP | ED__MASK_K_VALID | (causal ? ED__MASK_Q_ORDER : 0), false, &m, out, err));
    ED_FAIL_IF(m.q_start + m.queries > m.keys, ED_E_RANGE, err, "mask: queries lie beyond the %lld keys that name documents", (long long)m.keys);
    for (int64_t i = 0; i < m.batch * m.keys; i++) {
        m.k_group[i] = document[i];
        m.k_valid[i] = m.k_valid[i] && document[i] >= 0;
    }
    for (int64_t i = 0; i < m.batch * m.queries; i++) {
        int64_t own = m.q_start + i % m.queries, doc = document[i / m.queries * m.keys + own];
        m.q_group[i] = doc < 0 ? INT32_MAX : (int32_t)doc; /* a pad row sees nothing */
        if (causal)
            m.q_order[i] = (int32_t)own;
    }
    return ED_OK;
}
