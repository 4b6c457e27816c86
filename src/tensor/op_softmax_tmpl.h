/* tensor/op_softmax_tmpl.h - softmax and log-softmax rows for one number type. The includer defines T and FN(name). */

/* One row: y = exp(x - m) / (sum + [one] e^{-m}); left-out elements are -inf before the exponential. */
static void FN(softmax_row)(const T *x, mask_row mask, T *y, int64_t n, bool one) {
    const T *src = x;
    if (mask.p) {
        for (int64_t j = 0; j < n; j++)
            y[j] = mask.p[j * mask.step] ? x[j] : (T)-INFINITY;
        src = y;
    }
    T top = FN(v_max)(src, n);
    if (one && top < 0)
        top = 0;
    if (top == (T)-INFINITY) { /* nothing left */
        memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    FN(v_exp_sub)(src, top, y, n);
    T sum = FN(v_sum)(y, n) + (one ? (T)exp(-(double)top) : (T)0);
    FN(v_scale)((T)1 / sum, y, n);
}

static void FN(softmax_forward)(void *ctx, int64_t begin, int64_t end) {
    const softmax_work *k = ctx;
    for (int64_t r = begin; r < end; r++)
        FN(softmax_row)((const T *)k->x->data + ed__row_offset(k->x, r), mask_at(&k->mask, r), (T *)k->y + r * k->n, k->n, k->one);
}

/* dx (+)= y * (dy - <y, dy>), also with softmax-one: its extra term is a constant of the denominator. */
static void FN(softmax_backward)(void *ctx, int64_t begin, int64_t end) {
    const softmax_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        const T *y = (const T *)k->y + r * k->n, *dy = (const T *)k->dy + r * k->n;
        T *dx = (T *)k->dx + r * k->n;
        T d = FN(v_dot)(y, dy, k->n);
        if (k->fresh)
            for (int64_t j = 0; j < k->n; j++)
                dx[j] = y[j] * (dy[j] - d);
        else
            for (int64_t j = 0; j < k->n; j++)
                dx[j] += y[j] * (dy[j] - d);
    }
}

static void FN(log_softmax_row)(const T *x, mask_row mask, T *y, int64_t n) {
    const T *src = x;
    if (mask.p) {
        for (int64_t j = 0; j < n; j++)
            y[j] = mask.p[j * mask.step] ? x[j] : (T)-INFINITY;
        src = y;
    }
    T top = FN(v_max)(src, n);
    if (top == (T)-INFINITY) {
        for (int64_t j = 0; j < n; j++)
            y[j] = (T)-INFINITY;
        return;
    }
    T log_sum = (T)log(FN(v_exp_sums)(src, top, n, NULL));
    for (int64_t j = 0; j < n; j++)
        y[j] = (src[j] - top) - log_sum;
}

static void FN(log_softmax_forward)(void *ctx, int64_t begin, int64_t end) {
    const softmax_work *k = ctx;
    for (int64_t r = begin; r < end; r++)
        FN(log_softmax_row)((const T *)k->x->data + ed__row_offset(k->x, r), mask_at(&k->mask, r), (T *)k->y + r * k->n, k->n);
}

/* dx (+)= dy - exp(y) * sum(dy), all over the kept elements; a row with nothing left has no gradient. */
static void FN(log_softmax_row_grad)(const T *y, const T *dy, mask_row mask, T *dx, int64_t n) {
    if (FN(v_max)(y, n) == (T)-INFINITY)
        return;
    T total = 0;
    if (mask.p)
        for (int64_t j = 0; j < n; j++)
            total += mask.p[j * mask.step] ? dy[j] : (T)0;
    else
        total = FN(v_sum)(dy, n);
    T e[V_CHUNK];
    for (int64_t i = 0; i < n; i += V_CHUNK) {
        int64_t len = n - i < V_CHUNK ? n - i : V_CHUNK;
        FN(v_exp_sub)(y + i, 0, e, len);
        for (int64_t j = 0; j < len; j++)
            if (!mask.p || mask.p[(i + j) * mask.step])
                dx[i + j] += dy[i + j] - e[j] * total;
    }
}

static void FN(log_softmax_backward)(void *ctx, int64_t begin, int64_t end) {
    const softmax_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T *dx = (T *)k->dx + r * k->n;
        if (k->fresh)
            memset(dx, 0, (size_t)k->n * sizeof *dx);
        FN(log_softmax_row_grad)((const T *)k->y + r * k->n, (const T *)k->dy + r * k->n, mask_at(&k->mask, r), dx, k->n);
    }
}
