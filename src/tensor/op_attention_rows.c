/* tensor/op_attention_rows.c - explicit score rows in f64 from operands of any float dtype: the ground of the f64 twin and of the side outputs. */
#include <math.h>

#include "tensor/attention.h"

double ed__attn_elem(const ed_tensor *t, int64_t offset) {
    switch (t->dtype) {
    case ED_DTYPE_F64: return ((const double *)t->data)[offset];
    case ED_DTYPE_F32: return (double)((const float *)t->data)[offset];
    case ED_DTYPE_BF16: return (double)ed_bf16_to_f32(((const uint16_t *)t->data)[offset]);
    case ED_DTYPE_F16: return (double)ed_f16_to_f32(((const uint16_t *)t->data)[offset]);
    default: return 0;
    }
}

int ed__attn_seg(const ed_call *c, int64_t j, int64_t *local) {
    int s = 0;
    while (j >= c->in[1 + 2 * s]->shape[1])
        j -= c->in[1 + 2 * s++]->shape[1];
    *local = j;
    return s;
}

uint32_t ed__attn_drop_word(const ed__attn *a, int64_t bh, int64_t t, int64_t j) {
    uint32_t ctr[4] = {(uint32_t)(j / 32 * 8 + j % 8) | (uint32_t)(bh & 1023) << 22, (uint32_t)t | (uint32_t)(bh >> 10) << 22, a->counter[2], a->counter[3]}, out[4];
    ed_philox(a->key, ctr, out);
    return out[j / 8 % 4];
}

static double table_at(const ed_tensor *t, const ed_offset_map *m, int64_t h, int64_t offset) {
    return ed__attn_elem(t, ed_offset_map_at(m, offset) * t->stride[0] + (t->shape[1] == 1 ? 0 : h) * t->stride[1]);
}

double ed__attn_post(const ed_call *c, int64_t b, int64_t h, int64_t t, int64_t j, double *c_only, double *drop) {
    const ed__attn *a = c->attrs;
    double post = 1, keep = 1;
    if (a->i_post >= 0)
        post = table_at(c->in[a->i_post], &a->o.post_map, h, ed__attn_k_pos(a, b, j) - ed__attn_q_pos(a, b, t));
    if (a->drop)
        keep = ed__attn_drop_word(a, b * a->H + h, t, j) < a->drop_limit ? 0 : 1 / (1 - a->o.dropout);
    if (c_only)
        *c_only = post;
    if (drop)
        *drop = keep;
    return post * keep;
}

/* every additive hook but kappa */
static double added(const ed_call *c, const ed__vis *v, int64_t b, int64_t h, int64_t t, int64_t j) {
    const ed__attn *a = c->attrs;
    double s = 0;
    int64_t off = ed__attn_k_pos(a, b, j) - ed__attn_q_pos(a, b, t);
    if (a->i_bias >= 0)
        s += table_at(c->in[a->i_bias], &a->o.bias_map, h, off);
    if (a->o.slopes)
        s -= a->o.slopes[h] * (double)(off < 0 ? -off : off);
    if (a->i_rel >= 0) {
        const ed_tensor *r = c->in[a->i_rel];
        s += ed__attn_elem(r, b * r->stride[0] + h * r->stride[1] + t * r->stride[2] + ed_offset_map_at(&a->o.rel_map, off) * r->stride[3]);
    }
    if (a->i_dense >= 0) {
        const ed_tensor *d = c->in[a->i_dense];
        s += ed__attn_elem(d, b * d->stride[0] + h * d->stride[1] + t * d->stride[2] + j * d->stride[3]);
    }
    return s + (double)ed__vis_bonus(v, t, j);
}

void ed__attn_scores(const ed_call *c, const ed__vis *v, int64_t b, int64_t h, int64_t t, ed__attn_row *row) {
    const ed__attn *a = c->attrs;
    const ed_tensor *q = c->in[0];
    int64_t q_at = b * q->stride[0] + t * q->stride[1] + h * q->stride[2], kvh = ed__attn_kv_head(a, h), j = 0;
    for (int s = 0; s < a->n_seg; s++) {
        const ed_tensor *k = c->in[1 + 2 * s];
        for (int64_t l = 0; l < k->shape[1]; l++, j++) {
            row->s[j] = row->raw[j] = -INFINITY;
            row->slope[j] = 0;
            if (!ed__vis_pair(v, b, t, j))
                continue;
            double x = 0;
            for (int64_t d = 0; d < a->Dk; d++)
                x += ed__attn_elem(q, q_at + d * q->stride[3]) *
                     ed__attn_elem(k, b * k->stride[0] + l * k->stride[1] + kvh * k->stride[2] + d * k->stride[3]);
            x *= a->o.scale;
            row->slope[j] = 1;
            if (a->o.softcap > 0) {
                double u = tanh(x / a->o.softcap);
                x = a->o.softcap * u;
                row->slope[j] = 1 - u * u;
            }
            row->raw[j] = x + added(c, v, b, h, t, j);
            const ed_tensor *kappa = a->i_kappa >= 0 ? c->in[a->i_kappa] : NULL;
            row->s[j] = row->raw[j] + (kappa ? ed__attn_elem(kappa, b * kappa->stride[0] + j * kappa->stride[1]) : 0);
        }
    }
}
