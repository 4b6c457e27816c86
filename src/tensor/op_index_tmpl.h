/* tensor/op_index_tmpl.h - row moves and picks for one number type. The includer defines T and FN(name). */

/* dst[ids[i], j] += w[i] * src[i, j] for ascending i and the columns j of blocks [begin, end): work is split over columns, so that the order of a sum
 * never depends on the threads. ids < 0 are skipped. */
static void FN(add_rows)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    int64_t j0 = begin * COL_BLOCK, j1 = end * COL_BLOCK < k->row ? end * COL_BLOCK : k->row;
    for (int64_t i = 0; i < k->n; i++) {
        if (k->ids[i] < 0)
            continue;
        const T *src = (const T *)k->src + i * k->row + j0;
        T *dst = (T *)k->dst + k->ids[i] * k->row + j0;
        if (!k->w) {
            for (int64_t j = 0; j < j1 - j0; j++)
                dst[j] += src[j];
        } else {
            T w = ((const T *)k->w)[i];
            for (int64_t j = 0; j < j1 - j0; j++)
                dst[j] += w * src[j];
        }
    }
}

/* dst[i] (+)= w[i] * src[ids[i]]; ids < 0 give zeros. */
static void FN(pick_rows)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    for (int64_t i = begin; i < end; i++) {
        T *dst = (T *)k->dst + i * k->row;
        if (k->ids[i] < 0) {
            if (k->fresh)
                memset(dst, 0, (size_t)k->row * sizeof *dst);
            continue;
        }
        const T *src = (const T *)k->src + k->ids[i] * k->row;
        T w = k->w ? ((const T *)k->w)[i] : (T)1;
        for (int64_t j = 0; j < k->row; j++)
            dst[j] = k->fresh ? w * src[j] : dst[j] + w * src[j];
    }
}

/* dw[i] (+)= <x[i], dy[ids[i]]> */
static void FN(weight_grad)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    for (int64_t i = begin; i < end; i++) {
        T d = FN(v_dot)((const T *)k->w + i * k->row, (const T *)k->src + k->ids[i] * k->row, k->row);
        ((T *)k->dst)[i] = k->fresh ? d : ((T *)k->dst)[i] + d;
    }
}

/* dst (+)= src on the rows that are not replaced */
static void FN(keep_rows)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    for (int64_t i = begin; i < end; i++) {
        T *dst = (T *)k->dst + i * k->row;
        if (k->skip[i] && k->fresh)
            memset(dst, 0, (size_t)k->row * sizeof *dst);
        else if (!k->skip[i] && k->fresh)
            memcpy(dst, (const T *)k->src + i * k->row, (size_t)k->row * sizeof *dst);
        else if (!k->skip[i])
            FN(v_add)((const T *)k->src + i * k->row, dst, k->row);
    }
}

/* dx[row, ids[row, i]] += dy[row, i]; rows of n and of k columns */
static void FN(add_picked)(void *ctx, int64_t begin, int64_t end) {
    const pick_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T *dx = (T *)k->dx + r * k->n;
        if (k->fresh)
            memset(dx, 0, (size_t)k->n * sizeof *dx);
        for (int64_t i = 0; i < k->k; i++)
            dx[k->ids[r * k->k + i]] += ((const T *)k->dy)[r * k->k + i];
    }
}

/* Segment maximum on column blocks; best[segment, j] = first position of the maximum (NaN wins), -1 = empty. */
static void FN(segment_max)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    int64_t j0 = begin * COL_BLOCK, j1 = end * COL_BLOCK < k->row ? end * COL_BLOCK : k->row;
    for (int64_t i = 0; i < k->n; i++) {
        if (k->ids[i] < 0)
            continue;
        const T *src = (const T *)k->src + i * k->row;
        T *dst = (T *)k->dst + k->ids[i] * k->row;
        int32_t *best = k->best + k->ids[i] * k->row;
        for (int64_t j = j0; j < j1; j++)
            if (best[j] < 0 || src[j] > dst[j] || (isnan(src[j]) && !isnan(dst[j]))) {
                dst[j] = src[j];
                best[j] = (int32_t)i;
            }
    }
}

static void FN(segment_max_grad)(void *ctx, int64_t begin, int64_t end) {
    const rows_work *k = ctx;
    for (int64_t i = begin; i < end; i++) {
        T *dx = (T *)k->dst + i * k->row;
        if (k->fresh)
            memset(dx, 0, (size_t)k->row * sizeof *dx);
        if (k->ids[i] < 0)
            continue;
        const int32_t *best = k->best + k->ids[i] * k->row;
        const T *dy = (const T *)k->src + k->ids[i] * k->row;
        for (int64_t j = 0; j < k->row; j++)
            if (best[j] == i)
                dx[j] += dy[j];
    }
}

/* ---- top k of a row: a heap whose root is the worst kept; order = larger value, then lower index; NaN counts as the largest value */

static bool FN(before)(T a, int32_t ia, T b, int32_t ib) {
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b) ? ia < ib : isnan(a) != 0;
    return a > b || (a == b && ia < ib);
}

static void FN(sift_down)(T *v, int32_t *id, int64_t at, int64_t n) {
    T top = v[at];
    int32_t top_id = id[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n)
            break;
        if (child + 1 < n && FN(before)(v[child], id[child], v[child + 1], id[child + 1]))
            child++;
        if (!FN(before)(top, top_id, v[child], id[child]))
            break;
        v[at] = v[child];
        id[at] = id[child];
        at = child;
    }
    v[at] = top;
    id[at] = top_id;
}

static void FN(topk_row)(const T *x, int64_t n, T *v, int32_t *id, int64_t k) {
    if (k == 0)
        return;
    for (int64_t i = 0; i < k; i++) {
        v[i] = x[i];
        id[i] = (int32_t)i;
    }
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        FN(sift_down)(v, id, i, k);
    for (int64_t i0 = k; i0 < n; i0 += COL_BLOCK) {
        int64_t end = i0 + COL_BLOCK < n ? i0 + COL_BLOCK : n;
        if (FN(v_max)(x + i0, end - i0) <= v[0]) /* nothing in this block beats the worst kept (false with a NaN) */
            continue;
        for (int64_t i = i0; i < end; i++)
            if (x[i] > v[0] || (isnan(x[i]) && !isnan(v[0]))) { /* an equal value has the higher index: it never enters */
                v[0] = x[i];
                id[0] = (int32_t)i;
                FN(sift_down)(v, id, 0, k);
            }
    }
    for (int64_t m = k - 1; m > 0; m--) { /* heap sort: the worst goes last */
        T last = v[m];
        int32_t last_id = id[m];
        v[m] = v[0];
        id[m] = id[0];
        v[0] = last;
        id[0] = last_id;
        FN(sift_down)(v, id, 0, m);
    }
}

static void FN(topk_rows)(void *ctx, int64_t begin, int64_t end) {
    const pick_work *k = ctx;
    for (int64_t r = begin; r < end; r++)
        FN(topk_row)((const T *)k->x->data + ed__row_offset(k->x, r), k->n, (T *)k->y + r * k->k, k->ids + r * k->k, k->k);
}
