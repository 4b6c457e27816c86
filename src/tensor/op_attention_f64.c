/* tensor/op_attention_f64.c - the plain f64 twin of attention: whole score rows, every hook, forward and backward, in the order of the formula. The oracle of
 * the tiles and the finite-difference subject of the hooks. One task is one (batch item, kv head), so dk and dv have one writer.
 *
 * Backward, with P = p c drop, dP = do . v, D = sum_j P dP:   ds = p (dP c drop - D) - dE p (s - u) + dH [s - kappa > 5],   u = sum p s = lse - E. */
#include <math.h>

#include "tensor/attention.h"

typedef struct f64_job {
    const ed_call *c;
    const ed__attn *a;
    ed__vis v;
    double *work; /* [workers, work_each] */
    int64_t work_each, workers, tasks;
    /* backward */
    const double *d_o, *d_entropy, *d_hinge; /* NULL: no gradient arrived */
    double **grad;                           /* [n_in] accumulation buffers, NULL: not wanted */
    double *table_bias, *table_post, *kappa; /* per-task partial sums: [tasks, G, n], [tasks, G, n], [tasks, S] */
} f64_job;

static ed__attn_row take_row(const f64_job *j, int64_t worker) {
    double *w = j->work + worker * j->work_each;
    return (ed__attn_row){.s = w, .slope = w + j->a->S, .raw = w + 2 * j->a->S};
}

/* ------------------------------------------------------------------ forward */

/* denominator's logarithm; -inf for an empty row */
static double row_lse(const ed__attn *a, const double *s) {
    double m = -INFINITY, l = 0;
    for (int64_t j = 0; j < a->S; j++)
        m = s[j] > m ? s[j] : m;
    if (m == -INFINITY)
        return m;
    if (a->o.softmax_one && m < 0)
        m = 0;
    for (int64_t j = 0; j < a->S; j++)
        l += exp(s[j] - m);
    return m + log(l + (a->o.softmax_one ? exp(-m) : 0));
}

static void put_sides(const f64_job *job, int64_t at, const ed__attn_row *row, double lse) {
    const ed__attn *a = job->a;
    const ed_call *c = job->c;
    double u = 0, hinge = 0;
    for (int64_t j = 0; j < a->S; j++) {
        if (row->s[j] == -INFINITY)
            continue;
        u += exp(row->s[j] - lse) * row->s[j];
        hinge += row->raw[j] > 5 ? row->raw[j] - 5 : 0;
    }
    ((double *)c->aux[0]->data)[at] = lse;
    if (a->out_entropy >= 0)
        ((double *)c->out[a->out_entropy]->data)[at] = lse == -INFINITY ? 0 : lse - u;
    if (a->out_hinge >= 0)
        ((double *)c->out[a->out_hinge]->data)[at] = hinge;
}

static void forward_row(const f64_job *job, int64_t b, int64_t h, int64_t t, ed__attn_row *row) {
    const ed__attn *a = job->a;
    const ed_call *c = job->c;
    double *o = (double *)c->out[0]->data + ((b * a->T + t) * a->H + h) * a->Dv;
    int64_t kvh = ed__attn_kv_head(a, h), j = 0;
    ed__attn_scores(c, &job->v, b, h, t, row);
    double lse = row_lse(a, row->s);
    put_sides(job, (b * a->H + h) * a->T + t, row, lse);
    memset(o, 0, sizeof *o * (size_t)a->Dv);
    for (int s = 0; s < a->n_seg; s++) {
        const ed_tensor *v = c->in[2 + 2 * s];
        for (int64_t l = 0; l < v->shape[1]; l++, j++) {
            if (row->s[j] == -INFINITY)
                continue;
            double p = exp(row->s[j] - lse) * ed__attn_post(c, b, h, t, j, NULL, NULL);
            for (int64_t d = 0; d < a->Dv; d++)
                o[d] += p * ed__attn_elem(v, b * v->stride[0] + l * v->stride[1] + kvh * v->stride[2] + d * v->stride[3]);
        }
    }
}

static void forward_range(void *ctx, int64_t begin, int64_t end) {
    f64_job *job = ctx;
    for (int64_t w = begin; w < end; w++) {
        ed__attn_row row = take_row(job, w);
        for (int64_t i = w; i < job->tasks; i += job->workers)
            for (int64_t t = 0; t < job->a->T; t++)
                forward_row(job, i / job->a->H, i % job->a->H, t, &row);
    }
}

static bool job_start(f64_job *job, const ed_call *c, int64_t tasks, int rows) {
    const ed__attn *a = c->attrs;
    *job = (f64_job){.c = c, .a = a, .tasks = tasks, .work_each = rows * (a->S + 8)};
    job->workers = ed_threads_get() < tasks ? ed_threads_get() : tasks;
    job->workers = job->workers > 0 ? job->workers : 1;
    job->work = ed__scratch(c->g, sizeof(double) * (size_t)(job->work_each * job->workers));
    ed__attn_vis(job->a, &job->v);
    void *mem = ed__scratch(c->g, ed__vis_bytes(&job->v));
    if (!job->work || !mem)
        return false;
    ed__vis_init(&job->v, mem);
    return true;
}

void ed__attn_forward_f64(const ed_call *c) {
    const ed__attn *a = c->attrs;
    f64_job job;
    if (job_start(&job, c, a->B * a->H, 3))
        ed__parallel_for(job.workers, 1, forward_range, &job);
}

/* ------------------------------------------------------------------ backward */

static double dot_v(const f64_job *job, int64_t b, int64_t kvh, int seg, int64_t l, const double *d_o) {
    const ed_tensor *v = job->c->in[2 + 2 * seg];
    double x = 0;
    for (int64_t d = 0; d_o && d < job->a->Dv; d++)
        x += d_o[d] * ed__attn_elem(v, b * v->stride[0] + l * v->stride[1] + kvh * v->stride[2] + d * v->stride[3]);
    return x;
}

/* dq and dk of one pair: dz = d loss / d (scale q.k) */
static void push_qk(const f64_job *job, int64_t b, int64_t h, int64_t t, int seg, int64_t l, double dz) {
    const ed__attn *a = job->a;
    const ed_tensor *q = job->c->in[0], *k = job->c->in[1 + 2 * seg];
    int64_t kvh = ed__attn_kv_head(a, h), q_at = b * q->stride[0] + t * q->stride[1] + h * q->stride[2],
            k_at = b * k->stride[0] + l * k->stride[1] + kvh * k->stride[2];
    double *dq = job->grad[0], *dk = job->grad[1 + 2 * seg];
    for (int64_t d = 0; dq && d < a->Dk; d++)
        dq[((b * a->T + t) * a->H + h) * a->Dk + d] += dz * a->o.scale * ed__attn_elem(k, k_at + d * k->stride[3]);
    for (int64_t d = 0; dk && d < a->Dk; d++)
        dk[((b * k->shape[1] + l) * a->Hkv + kvh) * a->Dk + d] += dz * a->o.scale * ed__attn_elem(q, q_at + d * q->stride[3]);
}

/* ds of one pair into the additive hooks; `gated`: the part that also reaches kappa */
static void push_hooks(const f64_job *job, int64_t task, int64_t g, int64_t b, int64_t h, int64_t t, int64_t j, double ds, double gated) {
    const ed__attn *a = job->a;
    int64_t off = ed__attn_k_pos(a, b, j) - ed__attn_q_pos(a, b, t);
    if (job->table_bias)
        job->table_bias[(task * a->G + g) * a->o.bias_map.n + ed_offset_map_at(&a->o.bias_map, off)] += ds;
    if (job->kappa)
        job->kappa[task * a->S + j] += gated;
    if (a->i_rel >= 0 && job->grad[a->i_rel]) {
        int64_t n = job->c->in[a->i_rel]->shape[3];
        job->grad[a->i_rel][((b * a->H + h) * a->T + t) * n + ed_offset_map_at(&a->o.rel_map, off)] += ds;
    }
    if (a->i_dense >= 0 && job->grad[a->i_dense])
        job->grad[a->i_dense][((b * a->H + h) * a->T + t) * a->S + j] += ds;
}

/* P = p c drop and dP of a row, dv, dc; returns D = sum P dP */
static double row_values(const f64_job *job, int64_t task, int64_t g, int64_t b, int64_t h, int64_t t, const double *s, double lse, double *da) {
    const ed__attn *a = job->a;
    const double *d_o = job->d_o ? job->d_o + ((b * a->T + t) * a->H + h) * a->Dv : NULL;
    int64_t kvh = ed__attn_kv_head(a, h), j = 0;
    double big_d = 0;
    for (int seg = 0; seg < a->n_seg; seg++) {
        int64_t len = job->c->in[2 + 2 * seg]->shape[1];
        double *dv = job->grad[2 + 2 * seg];
        for (int64_t l = 0; l < len; l++, j++) {
            da[j] = 0;
            if (s[j] == -INFINITY)
                continue;
            double post, drop, p = exp(s[j] - lse), dp = dot_v(job, b, kvh, seg, l, d_o), f = ed__attn_post(job->c, b, h, t, j, &post, &drop);
            big_d += p * f * dp;
            da[j] = dp * f;
            for (int64_t d = 0; dv && d_o && d < a->Dv; d++)
                dv[((b * len + l) * a->Hkv + kvh) * a->Dv + d] += p * f * d_o[d];
            if (job->table_post)
                job->table_post[(task * a->G + g) * a->o.post_map.n + ed_offset_map_at(&a->o.post_map, ed__attn_k_pos(a, b, j) - ed__attn_q_pos(a, b, t))] +=
                    dp * drop * p;
        }
    }
    return big_d;
}

static void backward_row(const f64_job *job, int64_t task, int64_t g, int64_t b, int64_t h, int64_t t, ed__attn_row *row, double *da) {
    const ed__attn *a = job->a;
    int64_t at = (b * a->H + h) * a->T + t, j = 0;
    double lse = ((const double *)job->c->aux[0]->data)[at];
    double d_e = job->d_entropy ? job->d_entropy[at] : 0, d_h = job->d_hinge ? job->d_hinge[at] : 0;
    double u = a->out_entropy >= 0 ? lse - ((const double *)job->c->out[a->out_entropy]->data)[at] : 0;
    if (lse == -INFINITY)
        return;
    ed__attn_scores(job->c, &job->v, b, h, t, row);
    double big_d = row_values(job, task, g, b, h, t, row->s, lse, da);
    for (int seg = 0; seg < a->n_seg; seg++) {
        for (int64_t l = 0; l < job->c->in[1 + 2 * seg]->shape[1]; l++, j++) {
            if (row->s[j] == -INFINITY)
                continue;
            double p = exp(row->s[j] - lse), gated = p * (da[j] - big_d) - d_e * p * (row->s[j] - u), ds = gated + (row->raw[j] > 5 ? d_h : 0);
            push_hooks(job, task, g, b, h, t, j, ds, gated);
            push_qk(job, b, h, t, seg, l, ds * row->slope[j]);
        }
    }
}

static void backward_range(void *ctx, int64_t begin, int64_t end) {
    f64_job *job = ctx;
    const ed__attn *a = job->a;
    for (int64_t w = begin; w < end; w++) {
        ed__attn_row row = take_row(job, w);
        double *da = row.raw + a->S;
        for (int64_t i = w; i < job->tasks; i += job->workers)
            for (int64_t g = 0; g < a->G; g++)
                for (int64_t t = 0; t < a->T; t++)
                    backward_row(job, i, g, i / a->Hkv, ed__attn_q_head(a->o.tiled_heads, a->Hkv, a->G, i % a->Hkv, g), t, &row, da);
    }
}

static double *zeros(const ed_call *c, int64_t n) {
    double *p = ed__scratch(c->g, sizeof *p * (size_t)n);
    if (p)
        memset(p, 0, sizeof *p * (size_t)n);
    return p;
}

/* per-task table sums into the table, batch items in ascending order */
static void fold_table(const f64_job *job, int i_table, const ed_offset_map *m, const double *part) {
    const ed__attn *a = job->a;
    double *dst = part ? job->grad[i_table] : NULL;
    int64_t heads = dst ? job->c->in[i_table]->shape[1] : 0;
    for (int64_t task = 0; dst && task < job->tasks; task++)
        for (int64_t g = 0; g < a->G; g++) {
            int64_t h = ed__attn_q_head(a->o.tiled_heads, a->Hkv, a->G, task % a->Hkv, g);
            for (int64_t r = 0; r < m->n; r++)
                dst[r * heads + (heads == 1 ? 0 : h)] += part[(task * a->G + g) * m->n + r];
        }
}

static const double *grad_out(const ed_call *c, int j) {
    const ed_tensor *t = j >= 0 ? ed__bw_grad_out(c, j) : NULL;
    return t ? t->data : NULL;
}

void ed__attn_backward_f64(const ed_call *c) {
    const ed__attn *a = c->attrs;
    f64_job job;
    if (!job_start(&job, c, a->B * a->Hkv, 4))
        return;
    job.d_o = grad_out(c, 0), job.d_entropy = grad_out(c, a->out_entropy), job.d_hinge = grad_out(c, a->out_hinge);
    job.grad = ed__scratch(c->g, sizeof *job.grad * (size_t)c->n_in);
    for (int i = 0; job.grad && i < c->n_in; i++) {
        ed_tensor *t = ed__bw_wants(c, i) ? ed__bw_grad_in(c, i, NULL) : NULL;
        job.grad[i] = t ? t->data : NULL;
        if (!t && ed__bw_wants(c, i))
            return;
    }
    bool bias = a->i_bias >= 0 && ed__bw_wants(c, a->i_bias), post = a->i_post >= 0 && ed__bw_wants(c, a->i_post),
         kappa = a->i_kappa >= 0 && ed__bw_wants(c, a->i_kappa);
    job.table_bias = bias ? zeros(c, job.tasks * a->G * a->o.bias_map.n) : NULL;
    job.table_post = post ? zeros(c, job.tasks * a->G * a->o.post_map.n) : NULL;
    job.kappa = kappa ? zeros(c, job.tasks * a->S) : NULL;
    if (!job.grad || (bias && !job.table_bias) || (post && !job.table_post) || (kappa && !job.kappa))
        return;
    ed__parallel_for(job.workers, 1, backward_range, &job);
    fold_table(&job, a->i_bias, &a->o.bias_map, job.table_bias);
    fold_table(&job, a->i_post, &a->o.post_map, job.table_post);
    for (int64_t i = 0; job.kappa && i < job.tasks * a->S; i++)
        job.grad[a->i_kappa][i / a->S / a->Hkv * a->S + i % a->S] += job.kappa[i];
}
