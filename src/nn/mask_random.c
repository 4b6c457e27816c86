/* nn/mask_random.c - a random hidden share of the words for every row (DupMAE decoder, Xiao & Liu 2022): a bitmap per batch item. */
#include "nn/mask_labels.h"

/* one set: a shuffle of the item's words, the first share of them hidden; hidden[w] = 1 */
static void draw_set(ed_rng *rng, int64_t words, double ratio, int64_t *order, uint8_t *hidden) {
    int64_t n = (int64_t)((double)words * ratio + 0.5);
    for (int64_t w = 0; w < words; w++)
        order[w] = w, hidden[w] = 0;
    ed_rng_shuffle(rng, order, words);
    for (int64_t i = 0; i < n; i++)
        hidden[order[i]] = 1;
}

static void fill_row(const ed__mask *m, const int32_t *word, const uint8_t *hidden, int64_t own, uint64_t *bits) {
    for (int64_t j = 0; j < m->keys; j++)
        if (j != own && (word[j] < 0 || !hidden[word[j]]))
            bits[j / 64] |= (uint64_t)1 << (j % 64);
}

ed_status ed_mask_random_rows(ed_arena *a, const ed_mask_dims *d, const int32_t *word, double ratio, int64_t sets, ed_rng *rng, ed_labels *out, ed_error *err) {
    ed__mask m;
    ED_FAIL_IF(!(ratio >= 0 && ratio <= 1) || sets < 1 || sets > 1 << 20, ED_E_INVALID, err, "mask: ratio %g, %lld sets", ratio, (long long)sets);
    ED_TRY(ed__mask_start(a, d, 0, false, &m, out, err));
    int64_t per_row = (m.keys + 63) / 64, most = 0;
    for (int64_t i = 0; i < d->batch * m.keys; i++) {
        ED_FAIL_IF(word[i] >= m.keys, ED_E_RANGE, err, "mask: word %d of %lld keys", word[i], (long long)m.keys);
        most = word[i] + 1 > most ? word[i] + 1 : most;
    }
    uint64_t *bits = ed_arena_zalloc(a, sizeof *bits * (size_t)(d->batch * m.queries * per_row));
    int64_t *order = ed_arena_alloc(a, sizeof *order * (size_t)most);
    uint8_t *hidden = ed_arena_alloc(a, (size_t)(sets * most));
    ED_FAIL_IF(!bits || !order || !hidden, ED_E_MEMORY, err, "mask: no memory for %lld random rows", (long long)(d->batch * m.queries));
    for (int64_t b = 0; b < d->batch; b++) {
        int64_t words = 0;
        for (int64_t j = 0; j < m.keys; j++)
            words = word[b * m.keys + j] + 1 > words ? word[b * m.keys + j] + 1 : words;
        for (int64_t s = 0; s < sets; s++)
            draw_set(rng, words, ratio, order, hidden + s * most);
        for (int64_t t = 0; t < m.queries; t++)
            fill_row(&m, word + b * m.keys, hidden + (int64_t)ed_rng_below(rng, (uint64_t)sets) * most, m.q_start + t, bits + (b * m.queries + t) * per_row);
    }
    out->bitmap = bits;
    out->n_bitmaps = d->batch;
    return ED_OK;
}
