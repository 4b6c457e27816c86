/* nn/mask_block_diagonals.c - sampled block distances (Li 2024, arXiv 2410.18441, section on block attention): whole block diagonals are kept or left out. */
#include <math.h>

#include "nn/mask_labels.h"

ed_status ed_mask_block_diagonals(ed_arena *a, const ed_mask_dims *d, int64_t block, const double *probability, int64_t n, bool importance, ed_rng *rng,
                                  ed_labels *out, ed_error *err) {
    ED_FAIL_IF(block < 1 || block > INT32_MAX || n < 1 || n > INT32_MAX || d->keys < 0 || d->keys / block + (d->keys % block != 0) > n, ED_E_INVALID, err,
               "mask: %lld distances of blocks of %lld for %lld keys", (long long)n, (long long)block, (long long)d->keys);
    ED_TRY(ed_mask_causal(a, d, out, err));
    uint8_t *keep = ed_arena_alloc(a, (size_t)n);
    float *bonus = ed_arena_zalloc(a, sizeof *bonus * (size_t)n);
    ED_FAIL_IF(!keep || !bonus, ED_E_MEMORY, err, "mask: no memory for %lld distances", (long long)n);
    for (int64_t k = 0; k < n; k++) {
        ED_FAIL_IF(!(probability[k] >= 0 && probability[k] <= 1), ED_E_RANGE, err, "mask: probability %g of distance %lld", probability[k], (long long)k);
        keep[k] = (ed_rng_uniform(rng) < probability[k]) | (k == 0);
        bonus[k] = keep[k] && k > 0 && importance ? (float)-log(probability[k]) : 0;
    }
    out->block = block;
    out->n_distances = n;
    out->block_keep = keep;
    out->block_bonus = importance ? bonus : NULL;
    return ED_OK;
}

static double kept_share(int64_t n, double r, double *probability) {
    double share = 0, power = 1;
    for (int64_t k = 0; k < n; k++, power *= r) {
        probability[k] = power > 0.05 ? power : 0.05;
        share += probability[k] * (double)(n - k);
    }
    return share / ((double)n * (double)(n + 1) / 2);
}

ed_status ed_mask_block_probability(int64_t n, double density, double *probability) {
    double lo = 0, hi = 1;
    if (n < 1 || !(density > 0 && density <= 1))
        return ED_E_INVALID;
    for (int i = 0; i < 60; i++) { /* the share grows with r */
        double mid = (lo + hi) / 2;
        if (kept_share(n, mid, probability) < density)
            lo = mid;
        else
            hi = mid;
    }
    if (density >= 1)
        lo = hi = 1;
    else if (kept_share(n, 0, probability) >= density)
        lo = hi = 0;
    kept_share(n, (lo + hi) / 2, probability);
    return ED_OK;
}
