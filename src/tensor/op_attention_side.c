/* tensor/op_attention_side.c - attention rows, range masses, column sums and maxima from explicit scores, only for the rows asked for. No gradient.
 * p = exp(s - lse) with the log-sum-exp of the forward pass, in f64, stored in q's dtype. */
#include <math.h>

#include "tensor/attention.h"

typedef struct side_job {
    const ed_call *c;
    const ed__attn *a;
    ed__vis v;
    ed__attn_row *row; /* [workers] */
    double *mean;      /* [workers, S] */
    int64_t workers;
} side_job;

static void put(ed_tensor *t, int64_t i, double x) {
    if (t->dtype == ED_DTYPE_F64)
        ((double *)t->data)[i] = x;
    else
        ((float *)t->data)[i] = (float)x;
}

/* p of one row into row->s; zeros for an empty row */
static void probabilities(const side_job *j, int64_t b, int64_t h, int64_t t, ed__attn_row *row) {
    const ed__attn *a = j->a;
    double lse = ed_get(j->c->aux[0], (b * a->H + h) * a->T + t);
    ed__attn_scores(j->c, &j->v, b, h, t, row);
    for (int64_t i = 0; i < a->S; i++)
        row->s[i] = row->s[i] == -INFINITY ? 0 : exp(row->s[i] - lse);
}

static void rows_and_mass(const side_job *j, int64_t bh, ed__attn_row *row) {
    const ed__attn *a = j->a;
    int64_t b = bh / a->H, h = bh % a->H;
    for (int64_t r = 0; r < a->o.n_rows; r++) {
        probabilities(j, b, h, a->o.rows[r], row);
        for (int64_t i = 0; i < a->S; i++)
            put(j->c->aux[a->aux_rows], (bh * a->o.n_rows + r) * a->S + i, row->s[i]);
    }
    for (int64_t t = 0; a->o.n_ranges > 0 && t < a->T; t++) {
        probabilities(j, b, h, t, row);
        for (int64_t r = 0; r < a->o.n_ranges; r++) {
            double m = 0;
            for (int64_t i = a->o.ranges[2 * r]; i < a->o.ranges[2 * r + 1]; i++)
                m += row->s[i];
            put(j->c->aux[a->aux_mass], (bh * a->T + t) * a->o.n_ranges + r, m);
        }
    }
}

static void columns(const side_job *j, int64_t b, ed__attn_row *row, double *mean) {
    const ed__attn *a = j->a;
    ed_tensor *ts = j->c->aux[a->aux_sum], *tm = j->c->aux[a->aux_max];
    for (int64_t i = 0; i < a->S; i++)
        put(ts, b * a->S + i, 0), put(tm, b * a->S + i, 0);
    for (int64_t r = 0; r < a->o.n_column_rows; r++) {
        memset(mean, 0, sizeof *mean * (size_t)a->S);
        for (int64_t h = 0; h < a->H; h++) {
            probabilities(j, b, h, a->o.column_rows[r], row);
            for (int64_t i = 0; i < a->S; i++)
                mean[i] += row->s[i] / (double)a->H;
        }
        for (int64_t i = 0; i < a->S; i++) {
            put(ts, b * a->S + i, ed_get(ts, b * a->S + i) + mean[i]);
            if (mean[i] > ed_get(tm, b * a->S + i))
                put(tm, b * a->S + i, mean[i]);
        }
    }
}

static void side_range(void *ctx, int64_t begin, int64_t end) {
    side_job *j = ctx;
    const ed__attn *a = j->a;
    for (int64_t w = begin; w < end; w++) {
        for (int64_t i = w; i < a->B * a->H; i += j->workers)
            rows_and_mass(j, i, &j->row[w]);
        for (int64_t b = w; a->o.n_column_rows > 0 && b < a->B; b += j->workers)
            columns(j, b, &j->row[w], j->mean + w * a->S);
    }
}

void ed__attn_side(const ed_call *c) {
    side_job j = {.c = c, .a = c->attrs, .workers = ed_threads_get()};
    int64_t s = j.a->S;
    ed__attn_vis(j.a, &j.v);
    void *mem = ed__scratch(c->g, ed__vis_bytes(&j.v));
    j.row = ed__scratch(c->g, sizeof *j.row * (size_t)j.workers);
    j.mean = ed__scratch(c->g, sizeof(double) * (size_t)(j.workers * s * 4));
    if (!mem || !j.row || !j.mean)
        return;
    ed__vis_init(&j.v, mem);
    for (int64_t w = 0; w < j.workers; w++) {
        double *p = j.mean + j.workers * s + w * 3 * s;
        j.row[w] = (ed__attn_row){.s = p, .slope = p + s, .raw = p + 2 * s};
    }
    ed__parallel_for(j.workers, 1, side_range, &j);
}
