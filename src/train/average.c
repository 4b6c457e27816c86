/* train/average.c - averaged weights: an exponential moving average beside the trained weights (new = m * old + (1 - m) * x), and the plain mean of the last
 * snapshots (Vaswani et al. 2017 averaged the last checkpoints). Snapshots are files of weights only, so that a resumed run averages the same ones. */
#include <stdio.h>

#include "train/trainer.h"

ed_status ed__ema_create(ed_trainer *t, ed_error *err) {
    const ed_params *from = ed_model_params(t->model);
    ED_FAIL_IF(ed_params_create(&t->ema) != ED_OK, ED_E_MEMORY, err, "no memory for averaged weights");
    for (int64_t i = 0; i < ed_params_count(from); i++) {
        const ed_param *p = ed_params_at(from, i);
        ed_param *q;
        ED_TRY(ed_params_add(t->ema, p->name, p->dtype, p->rank, p->shape, &q, err));
        memcpy(q->data, p->data, (size_t)p->numel * ed_dtype_bytes(p->dtype));
    }
    return ED_OK;
}

void ed__ema_update(ed_trainer *t) {
    const ed_params *from = ed_model_params(t->model);
    float m = (float)t->opts.ema, x = (float)(1 - t->opts.ema);
    for (int64_t i = 0; i < ed_params_count(from); i++) {
        const ed_param *p = ed_params_at(from, i);
        float *e = ed_params_at(t->ema, i)->data;
        const float *w = p->data;
        for (int64_t k = 0; k < p->numel && p->dtype == ED_DTYPE_F32; k++)
            e[k] = m * e[k] + x * w[k];
    }
}

void ed__ema_swap(ed_trainer *t) {
    const ed_params *params = ed_model_params(t->model);
    for (int64_t i = 0; i < ed_params_count(params); i++) {
        ed_param *p = ed_params_at(params, i), *e = ed_params_at(t->ema, i);
        unsigned char *a = p->data, *b = e->data;
        for (size_t k = 0, n = (size_t)p->numel * ed_dtype_bytes(p->dtype); k < n; k++) {
            unsigned char x = a[k];
            a[k] = b[k];
            b[k] = x;
        }
        ed_param_touch(p);
    }
}

static void snapshot_path(const ed_trainer *t, int64_t i, char *path, size_t bytes) {
    snprintf(path, bytes, "%s/snapshot-%lld.safetensors", t->out_dir, (long long)(i % t->opts.average_last));
}

ed_status ed__snapshot_save(ed_trainer *t, ed_error *err) {
    char path[4096];
    if (t->opts.average_last < 1 || !t->out_dir)
        return ED_OK;
    snapshot_path(t, t->at.snapshots, path, sizeof path);
    ED_TRY(ed_params_save(ed_model_params(t->model), path, ED_DTYPE_COUNT, NULL, err));
    t->at.snapshots++;
    return ED_OK;
}

/** sum += weights of one file / n, in f64. */
static ed_status add_file(const ed_params *params, const char *path, double **sum, double n, ed_error *err) {
    ed_tensor_file *f;
    ED_TRY(ed_tensor_file_open(path, NULL, &f, err));
    ed_status s = ED_OK;
    for (int64_t i = 0; i < ed_params_count(params) && s == ED_OK; i++) {
        const ed_param *p = ed_params_at(params, i);
        const ed_file_tensor *ft = ed_tensor_file_find(f, p->name);
        double *tmp = ed__malloc((size_t)(p->numel + 1) * sizeof *tmp);
        if (!tmp)
            s = ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory to average weights");
        else if (!ft || ed_file_tensor_numel(ft) != p->numel)
            s = ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "tensor '%s' is missing or has another size", p->name);
        else
            s = ed_file_tensor_read(ft, 0, p->numel, ED_DTYPE_F64, tmp, err);
        for (int64_t k = 0; s == ED_OK && k < p->numel; k++)
            sum[i][k] += tmp[k] / n;
        ed__free(tmp);
    }
    ed_tensor_file_close(&f);
    return s;
}

static void store(ed_param *p, const double *v) {
    for (int64_t k = 0; k < p->numel; k++) {
        if (p->dtype == ED_DTYPE_F64)
            ((double *)p->data)[k] = v[k];
        else
            ((float *)p->data)[k] = (float)v[k];
    }
    ed_param_touch(p);
}

ed_status ed__snapshot_average(ed_trainer *t, ed_error *err) {
    ed_params *params = ed_model_params(t->model);
    int64_t n = t->at.snapshots < t->opts.average_last ? t->at.snapshots : t->opts.average_last, m = ed_params_count(params);
    if (n < 1 || !t->out_dir)
        return ED_OK;
    double **sum = ed__calloc((size_t)m + 1, sizeof *sum);
    ed_status s = sum ? ED_OK : ED_E_MEMORY;
    for (int64_t i = 0; i < m && s == ED_OK; i++)
        s = (sum[i] = ed__calloc((size_t)ed_params_at(params, i)->numel + 1, sizeof(double))) ? ED_OK : ED_E_MEMORY;
    if (s != ED_OK)
        ed_error_set(err, s, "", ED_NO_OFFSET, "no memory to average weights");
    for (int64_t i = 0; i < n && s == ED_OK; i++) {
        char path[4096];
        snapshot_path(t, t->at.snapshots - 1 - i, path, sizeof path);
        s = add_file(params, path, sum, (double)n, err);
    }
    for (int64_t i = 0; i < m && sum; i++) {
        if (s == ED_OK)
            store(ed_params_at(params, i), sum[i]);
        ed__free(sum[i]);
    }
    ed__free(sum);
    return s;
}
