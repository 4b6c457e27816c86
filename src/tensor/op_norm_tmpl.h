/* tensor/op_norm_tmpl.h - normalisation rows for one number type. The includer defines T and FN(name). */

/* ---- layer norm and RMS norm: y = (x - mean) * rstd * w + b; RMS norm has mean 0 */

static void FN(norm_forward)(void *ctx, int64_t begin, int64_t end) {
    const norm_work *k = ctx;
    const T *w = k->w, *b = k->b;
    int64_t n = k->n;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)k->x->data + ed__row_offset(k->x, r);
        T *y = (T *)k->y + r * n;
        T mean = k->centre ? FN(v_sum)(x, n) / (T)n : (T)0;
        double var = (double)(k->centre ? FN(v_sum_sq_dev)(x, mean, n) : FN(v_dot)(x, x, n)) / (double)n;
        T rstd = (T)(1 / sqrt(var + k->eps));
        if (k->centre)
            ((T *)k->mean)[r] = mean;
        ((T *)k->rstd)[r] = rstd;
        FN(v_norm_apply)(x, mean, rstd, w, b, y, n);
    }
}

/* With g = dy * w and h = (x - mean) * rstd:  dx (+)= rstd * (g - [centre] mean(g) - h * mean(g h)). Rows longer than a chunk form g and h twice. */
static void FN(norm_row_grad)(const norm_work *k, const T *x, const T *dy, T mean, T rstd, T *dx) {
    const T *w = k->w;
    int64_t n = k->n;
    T g[V_CHUNK], h[V_CHUNK];
    double sum_g = 0, sum_gh = 0;
    for (int64_t i = 0; i < n; i += V_CHUNK) {
        int64_t len = n - i < V_CHUNK ? n - i : V_CHUNK;
        FN(v_norm_terms)(x + i, dy + i, w ? w + i : NULL, mean, rstd, g, h, len);
        sum_gh += (double)FN(v_dot)(g, h, len);
        if (k->centre)
            sum_g += (double)FN(v_sum)(g, len);
    }
    T mean_g = (T)(sum_g / (double)n), mean_gh = (T)(sum_gh / (double)n);
    for (int64_t i = 0; i < n; i += V_CHUNK) {
        int64_t len = n - i < V_CHUNK ? n - i : V_CHUNK;
        if (n > V_CHUNK)
            FN(v_norm_terms)(x + i, dy + i, w ? w + i : NULL, mean, rstd, g, h, len);
        FN(v_norm_grad)(g, h, rstd, mean_g, mean_gh, dx + i, len, !k->fresh);
    }
}

static void FN(norm_backward)(void *ctx, int64_t begin, int64_t end) {
    const norm_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)k->x->data + ed__row_offset(k->x, r);
        T mean = k->centre ? ((const T *)k->mean)[r] : (T)0;
        FN(norm_row_grad)(k, x, (const T *)k->dy + r * k->n, mean, ((const T *)k->rstd)[r], (T *)k->dx + r * k->n);
    }
}

/* Column block `block`: dw += sum over rows of dy * h, db += sum of dy. Rows ascend in blocks of NORM_ROWS whose partial sums are added in f64, so
 * the order depends on nothing but the shape. */
static void FN(norm_param_block)(const norm_work *k, int64_t block) {
    int64_t j0 = block * NORM_COLS, len = k->n - j0 < NORM_COLS ? k->n - j0 : NORM_COLS;
    double sum_w[NORM_COLS] = {0}, sum_b[NORM_COLS] = {0};
    for (int64_t r0 = 0; r0 < k->rows; r0 += NORM_ROWS) {
        T part_w[NORM_COLS] = {0}, part_b[NORM_COLS] = {0};
        int64_t r1 = r0 + NORM_ROWS < k->rows ? r0 + NORM_ROWS : k->rows;
        int64_t together = ed_is_contiguous(k->x) ? r1 - r0 : 1; /* rows at one distance from each other */
        for (int64_t r = r0; r < r1; r += together) {
            const T *x = (const T *)k->x->data + ed__row_offset(k->x, r) + j0, *dy = (const T *)k->dy + r * k->n + j0;
            FN(v_norm_params)(together, len, x, k->n, dy, k->n, k->centre ? (const T *)k->mean + r : NULL, (const T *)k->rstd + r, part_w, part_b);
        }
        for (int64_t j = 0; j < len; j++) {
            sum_w[j] += (double)part_w[j];
            sum_b[j] += (double)part_b[j];
        }
    }
    for (int64_t j = 0; j < len && k->dw; j++)
        ((T *)k->dw)[j0 + j] = (T)(sum_w[j] + (k->fresh_w ? 0 : (double)((T *)k->dw)[j0 + j]));
    for (int64_t j = 0; j < len && k->db; j++)
        ((T *)k->db)[j0 + j] = (T)(sum_b[j] + (k->fresh_b ? 0 : (double)((T *)k->db)[j0 + j]));
}

static void FN(norm_params)(void *ctx, int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++)
        FN(norm_param_block)(ctx, block);
}

/* ---- l2 norm: y = x / max(|x|, eps); rstd keeps the factor, negative when eps decided (then the factor is a constant) */

static void FN(l2_forward)(void *ctx, int64_t begin, int64_t end) {
    const norm_work *k = ctx;
    int64_t n = k->n;
    for (int64_t r = begin; r < end; r++) {
        const T *x = (const T *)k->x->data + ed__row_offset(k->x, r);
        T *y = (T *)k->y + r * n;
        double length = sqrt((double)FN(v_dot)(x, x, n));
        bool held = length <= k->eps;
        double divisor = held ? k->eps : length;
        T factor = divisor == 0 ? (T)0 : (T)(1 / divisor);
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] * factor;
        ((T *)k->rstd)[r] = held ? -factor : factor;
    }
}

static void FN(l2_backward)(void *ctx, int64_t begin, int64_t end) {
    const norm_work *k = ctx;
    int64_t n = k->n;
    for (int64_t r = begin; r < end; r++) {
        const T *y = (const T *)k->y + r * n, *dy = (const T *)k->dy + r * n;
        T *dx = (T *)k->dx + r * n;
        T kept = ((const T *)k->rstd)[r], factor = kept < 0 ? -kept : kept;
        T d = kept < 0 ? (T)0 : FN(v_dot)(y, dy, n);
        for (int64_t j = 0; j < n; j++) {
            T v = (dy[j] - y[j] * d) * factor;
            dx[j] = k->fresh ? v : dx[j] + v;
        }
    }
}
