/* tensor/op_nearest_tmpl.h - streaming top k over scores for one number type. The includer defines T and FN(name). */

/* Factor or offset of each code: L2: |c|^2; cosine: 1/|c| (0 for a zero code). */
static void FN(code_norms)(void *ctx, int64_t begin, int64_t end) {
    const nearest_work *k = ctx;
    for (int64_t j = begin; j < end; j++) {
        const T *c = (const T *)k->codes + j * k->d;
        double sq = (double)FN(v_dot)(c, c, k->d);
        ((T *)k->norms)[j] = (T)(k->kind == ED_NEAREST_L2 ? sq : sq > 0 ? 1 / sqrt(sq) : 0);
    }
}

/* Turns the dots of one row with codes [code0, code0 + n) into keys, larger is better: dot, dot / |c|, or 2 dot - |c|^2 (|x|^2 is the same for all). */
static void FN(keys_of)(const nearest_work *k, T *v, int64_t n) {
    const T *norms = (const T *)k->norms + k->code0;
    if (k->kind == ED_NEAREST_L2)
        for (int64_t j = 0; j < n; j++)
            v[j] = 2 * v[j] - norms[j];
    else if (k->kind == ED_NEAREST_COSINE)
        for (int64_t j = 0; j < n; j++)
            v[j] *= norms[j];
}

/* Keeps the k best (key, id) sorted, best first. Ids arrive ascending: an equal key goes behind. held = entries so far. */
static void FN(offer)(T *key, int32_t *id, int64_t held, int64_t k, T new_key, int64_t code) {
    int64_t at = held < k ? held : k - 1;
    if (held == k && !(new_key > key[at]))
        return;
    for (; at > 0 && new_key > key[at - 1]; at--) {
        key[at] = key[at - 1];
        id[at] = id[at - 1];
    }
    key[at] = new_key;
    id[at] = (int32_t)code;
}

/* Offers the codes [k->code0, k->code1) to the rows row0 + [begin, end); k->dots [rows of the tile, code1 - code0]. A block whose maximum does not beat
 * the worst entry is skipped; a NaN key counts as -inf. */
static void FN(offer_rows)(void *ctx, int64_t begin, int64_t end) {
    const nearest_work *k = ctx;
    int64_t width = k->code1 - k->code0;
    for (int64_t i = begin; i < end; i++) {
        T *v = (T *)k->dots + i * width, *key = (T *)k->keys + (k->row0 + i) * k->k;
        int32_t *id = k->ids + (k->row0 + i) * k->k;
        FN(keys_of)(k, v, width);
        for (int64_t j0 = 0; j0 < width; j0 += BLOCK) {
            int64_t len = width - j0 < BLOCK ? width - j0 : BLOCK, code = k->code0 + j0;
            if (code >= k->k && FN(v_max)(v + j0, len) <= key[k->k - 1])
                continue;
            for (int64_t j = 0; j < len; j++, code++)
                FN(offer)(key, id, code < k->k ? code : k->k, k->k, isnan(v[j0 + j]) ? (T)-INFINITY : v[j0 + j], code);
        }
    }
}

/* L2: replaces the keys by exact squared distances and orders by them, so that the cancellation in 2 dot - |c|^2 does not show in the scores. */
static void FN(refine_rows)(void *ctx, int64_t begin, int64_t end) {
    const nearest_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)k->x + r * k->d;
        T *score = (T *)k->keys + r * k->k;
        int32_t *id = k->ids + r * k->k;
        for (int64_t m = 0; m < k->k; m++) {
            const T *c = (const T *)k->codes + id[m] * k->d;
            double sum = 0;
            for (int64_t j = 0; j < k->d; j++)
                sum += (double)(x[j] - c[j]) * (double)(x[j] - c[j]);
            T s = (T)sum;
            int32_t own = id[m];
            int64_t at = m;
            for (; at > 0 && (s < score[at - 1] || (s == score[at - 1] && own < id[at - 1])); at--) {
                score[at] = score[at - 1];
                id[at] = id[at - 1];
            }
            score[at] = s;
            id[at] = own;
        }
    }
}
