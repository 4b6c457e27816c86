/* tensor/op_rope_tmpl.h - rotary tables and rows for one number type. The includer defines T and FN(name). */

static void FN(rope_table)(void *ctx, int64_t begin, int64_t end) {
    const rope_work *k = ctx;
    for (int64_t u = begin; u < end; u++)
        for (int64_t i = 0; i < k->half; i++) {
            double angle = (double)k->unique[u] * k->turn * k->freq[i];
            ((T *)k->cos)[u * k->half + i] = (T)cos(angle);
            ((T *)k->sin)[u * k->half + i] = (T)sin(angle);
        }
}

/* One D vector; step = distance of the two numbers of a pair, jump = distance of pairs. */
static void FN(rope_pairs)(const T *x, const T *c, const T *s, T *y, int64_t half, int64_t step, int64_t jump, bool add) {
    for (int64_t i = 0; i < half; i++) {
        T a = x[i * jump], b = x[i * jump + step];
        T u = a * c[i] - b * s[i], v = a * s[i] + b * c[i];
        y[i * jump] = add ? y[i * jump] + u : u;
        y[i * jump + step] = add ? y[i * jump + step] + v : v;
    }
}

static void FN(rope_rows)(void *ctx, int64_t begin, int64_t end) {
    const rope_work *k = ctx;
    int64_t slot = 0, last = -1, rotary = 2 * k->half;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)k->x->data + ed__row_offset(k->x, r);
        T *y = (T *)k->y + r * k->d;
        if (r / k->heads != last) {
            last = r / k->heads;
            slot = slot_of(k, k->pos[last]);
        }
        const T *c = (const T *)k->cos + slot * k->half, *s = (const T *)k->sin + slot * k->half;
        if (k->kind == ED_ROPE_HALF)
            FN(rope_pairs)(x, c, s, y, k->half, k->half, 1, k->add);
        else
            FN(rope_pairs)(x, c, s, y, k->half, 1, 2, k->add);
        for (int64_t j = rotary; j < k->d; j++)
            y[j] = k->add ? y[j] + x[j] : x[j];
    }
}
