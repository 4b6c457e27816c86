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

/* Key of a code, larger is better: dot, dot / |c|, or 2 dot - |c|^2 (|x|^2 is the same for all). NaN is the worst. */
static T FN(key_of)(const nearest_work *k, T dot, int64_t code) {
    T v = dot;
    if (k->kind == ED_NEAREST_L2)
        v = 2 * dot - ((const T *)k->norms)[code];
    else if (k->kind == ED_NEAREST_COSINE)
        v = dot * ((const T *)k->norms)[code];
    return isnan(v) ? (T)-INFINITY : v;
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

/* Offers the codes [k->code0, k->code1) to the rows [row0 + begin, row0 + end); k->dots [rows of the tile, code1 - code0]. */
static void FN(offer_rows)(void *ctx, int64_t begin, int64_t end) {
    const nearest_work *k = ctx;
    int64_t width = k->code1 - k->code0;
    for (int64_t i = begin; i < end; i++) {
        const T *dots = (const T *)k->dots + i * width;
        T *key = (T *)k->keys + (k->row0 + i) * k->k;
        int32_t *id = k->ids + (k->row0 + i) * k->k;
        for (int64_t j = 0; j < width; j++) {
            int64_t code = k->code0 + j;
            FN(offer)(key, id, code < k->k ? code : k->k, k->k, FN(key_of)(k, dots[j], code), code);
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
