/* tensor/op_loss_tmpl.h - loss rows for one number type. The includer defines T and FN(name). */

/* ---- cross-entropy with ids: lse - (1-eps) x_t - eps mean(x), as (log s - (1-eps)(x_t - m) - eps mean(x - m)) with m the row maximum */

static double FN(xent_row)(const T *x, int64_t n, int64_t target, double eps, T *top, T *inv_sum) {
    *top = FN(v_max)(x, n);
    double dev, sum = FN(v_exp_sums)(x, *top, n, &dev);
    *inv_sum = (T)(1 / sum);
    double loss = log(sum) - (1 - eps) * ((double)x[target] - (double)*top);
    return eps > 0 ? loss - eps * dev / (double)n : loss;
}

static void FN(xent_ids_forward)(void *ctx, int64_t begin, int64_t end) {
    const xent_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T top = 0, inv_sum = 0;
        double w = row_weight(k->weights, r);
        if (w != 0)
            k->loss[r] = w * FN(xent_row)((const T *)k->x->data + ed__row_offset(k->x, r), k->n, ed__i32_at(k->targets, r), k->eps, &top, &inv_sum);
        else
            k->loss[r] = 0;
        if (k->top) {
            ((T *)k->top)[r] = top;
            ((T *)k->inv_sum)[r] = inv_sum;
        }
    }
}

static void FN(xent_ids_backward)(void *ctx, int64_t begin, int64_t end) {
    const xent_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T *dx = (T *)k->dx + r * k->n;
        double w = row_weight(k->weights, r), factor = w * k->scale;
        if (w == 0 || k->scale == 0) {
            if (k->fresh)
                memset(dx, 0, (size_t)k->n * sizeof *dx);
            continue;
        }
        T inv_sum = ((const T *)k->inv_sum)[r];
        FN(v_softmax_grad)((const T *)k->x->data + ed__row_offset(k->x, r), ((const T *)k->top)[r], (T)(factor * (double)inv_sum),
                           (T)(factor * k->eps / (double)k->n), dx, k->n, !k->fresh);
        dx[ed__i32_at(k->targets, r)] -= (T)(factor * (1 - k->eps));
    }
}

/* ---- soft targets: sum_j t_j (lse - x_j) [+ sum_j t_j log t_j]; terms with t_j = 0 are 0 whatever x_j is */

static double FN(soft_row)(const T *x, const T *t, int64_t n, bool kl, T *top, T *inv_sum, T *mass) {
    *top = FN(v_max)(x, n);
    double sum = FN(v_exp_sums)(x, *top, n, NULL), total = 0, loss = 0;
    for (int64_t j = 0; j < n; j++)
        if (t[j] != 0) {
            total += (double)t[j];
            loss -= (double)t[j] * ((double)x[j] - (double)*top - (kl ? log((double)t[j]) : 0));
        }
    *inv_sum = (T)(1 / sum);
    *mass = (T)total;
    return loss + total * log(sum);
}

static void FN(xent_soft_forward)(void *ctx, int64_t begin, int64_t end) {
    const xent_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T top = 0, inv_sum = 0, mass = 0;
        double w = row_weight(k->weights, r);
        const T *t = (const T *)k->targets->data + ed__row_offset(k->targets, r);
        k->loss[r] = w == 0 ? 0 : w * FN(soft_row)((const T *)k->x->data + ed__row_offset(k->x, r), t, k->n, k->kl, &top, &inv_sum, &mass);
        if (k->top) {
            ((T *)k->top)[r] = top;
            ((T *)k->inv_sum)[r] = inv_sum * mass;
        }
    }
}

static void FN(xent_soft_backward)(void *ctx, int64_t begin, int64_t end) {
    const xent_work *k = ctx;
    for (int64_t r = begin; r < end; r++) {
        T *dx = (T *)k->dx + r * k->n;
        double w = row_weight(k->weights, r), factor = w * k->scale;
        if (w == 0 || k->scale == 0) {
            if (k->fresh)
                memset(dx, 0, (size_t)k->n * sizeof *dx);
            continue;
        }
        T inv_sum = ((const T *)k->inv_sum)[r];
        FN(v_softmax_grad)((const T *)k->x->data + ed__row_offset(k->x, r), ((const T *)k->top)[r], (T)(factor * (double)inv_sum), 0, dx, k->n, !k->fresh);
        FN(v_axpy)((T)-factor, (const T *)k->targets->data + ed__row_offset(k->targets, r), dx, k->n);
    }
}

/* ---- elementwise losses of two operands, in pieces of V_CHUNK: mean over the row */

/* BCE with logits: (1-t) softplus(x) + pw t softplus(-x), with s = log1p(exp(-|x|)) so that nothing cancels. */
static double FN(bce_sum)(const T *x, const T *t, int64_t n, double pw) {
    T s[V_CHUNK];
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        s[j] = x[j] > 0 ? -x[j] : x[j];
    FN(v_softplus)(s, s, n);
    for (int64_t j = 0; j < n; j++) {
        double pos = (double)(x[j] > 0 ? x[j] : (T)0), neg = (double)(x[j] < 0 ? -x[j] : (T)0);
        sum += (1 - (double)t[j]) * (pos + (double)s[j]) + pw * (double)t[j] * (neg + (double)s[j]);
    }
    return sum;
}

static double FN(pair_sum)(const pair_work *k, const T *a, const T *b, int64_t n) {
    T d[V_CHUNK];
    double sum = 0;
    if (k->kind == PAIR_BCE)
        return FN(bce_sum)(a, b, n, k->param);
    for (int64_t j = 0; j < n; j++)
        d[j] = a[j] - b[j];
    switch (k->kind) {
    case PAIR_MSE:
        return (double)FN(v_dot)(d, d, n);
    case PAIR_L1:
        for (int64_t j = 0; j < n; j++)
            d[j] = d[j] < 0 ? -d[j] : d[j];
        return (double)FN(v_sum)(d, n);
    case PAIR_SMOOTH_L1:
        for (int64_t j = 0; j < n; j++) {
            double e = fabs((double)d[j]);
            sum += e < k->param ? e * e / (2 * k->param) : e - k->param / 2;
        }
        return sum;
    case PAIR_BCE:
        break;
    }
    return sum;
}

/* d loss / d a; the gradient of b is its negative (never asked of BCE). */
static void FN(pair_slope)(const pair_work *k, const T *a, const T *b, T *d, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        d[j] = a[j] - b[j];
    switch (k->kind) {
    case PAIR_MSE:
        FN(v_scale)(2, d, n);
        return;
    case PAIR_L1:
        for (int64_t j = 0; j < n; j++)
            d[j] = d[j] > 0 ? (T)1 : d[j] < 0 ? (T)-1 : d[j]; /* 0 stays 0, NaN stays NaN */
        return;
    case PAIR_SMOOTH_L1:
        for (int64_t j = 0; j < n; j++)
            d[j] = fabs((double)d[j]) < k->param ? (T)((double)d[j] / k->param) : d[j] > 0 ? (T)1 : d[j] < 0 ? (T)-1 : d[j];
        return;
    case PAIR_BCE:
        for (int64_t j = 0; j < n; j++)
            d[j] = a[j] > 0 ? -a[j] : a[j];
        FN(v_exp_sub)(d, 0, d, n);
        for (int64_t j = 0; j < n; j++) {
            T up = a[j] > 0 ? 1 / (1 + d[j]) : d[j] / (1 + d[j]), down = a[j] > 0 ? d[j] / (1 + d[j]) : 1 / (1 + d[j]);
            d[j] = (1 - b[j]) * up - (T)k->param * b[j] * down;
        }
        return;
    }
}

/* item = (row, piece of the row): part[item] = w / n * sum of the piece */
static void FN(pair_forward)(void *ctx, int64_t begin, int64_t end) {
    const pair_work *k = ctx;
    for (int64_t item = begin; item < end; item++) {
        int64_t r = item / k->pieces, at = item % k->pieces * V_CHUNK, len = k->n - at < V_CHUNK ? k->n - at : V_CHUNK;
        double w = k->each ? 1 : row_weight(k->weights, r);
        const T *a = (const T *)k->a->data + ed__row_offset(k->a, r) + at, *b = (const T *)k->b->data + ed__row_offset(k->b, r) + at;
        if (!k->each) {
            k->part[item] = w == 0 ? 0 : w / (double)k->n * FN(pair_sum)(k, a, b, len);
            continue;
        }
        k->part[item] = 0;
        for (int64_t j = 0; j < len; j++) {
            double wj = row_weight(k->weights, r * k->n + at + j);
            k->part[item] += wj == 0 ? 0 : wj * FN(pair_sum)(k, a + j, b + j, 1);
        }
    }
}

/* dx (+)= factor * d; none: the row is ignored, whatever d is. */
static void FN(put)(T factor, bool none, const T *d, T *dx, int64_t n, bool fresh) {
    if (none && fresh)
        memset(dx, 0, (size_t)n * sizeof *dx);
    else if (!none && fresh)
        for (int64_t j = 0; j < n; j++)
            dx[j] = factor * d[j];
    else if (!none)
        FN(v_axpy)(factor, d, dx, n);
}

static void FN(pair_backward)(void *ctx, int64_t begin, int64_t end) {
    const pair_work *k = ctx;
    T d[V_CHUNK];
    for (int64_t item = begin; item < end; item++) {
        int64_t r = item / k->pieces, at = item % k->pieces * V_CHUNK, len = k->n - at < V_CHUNK ? k->n - at : V_CHUNK;
        T *dx = (T *)k->dx + r * k->n + at;
        FN(pair_slope)(k, (const T *)k->a->data + ed__row_offset(k->a, r) + at, (const T *)k->b->data + ed__row_offset(k->b, r) + at, d, len);
        if (!k->each) {
            double w = row_weight(k->weights, r);
            FN(put)((T)(w * k->scale / (double)k->n), w == 0 || k->scale == 0, d, dx, len, k->fresh);
            continue;
        }
        for (int64_t j = 0; j < len; j++) {
            double w = row_weight(k->weights, r * k->n + at + j);
            FN(put)((T)(w * k->scale), w == 0 || k->scale == 0, d + j, dx + j, 1, k->fresh);
        }
    }
}
