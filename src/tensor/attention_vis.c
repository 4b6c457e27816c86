/* tensor/attention_vis.c - visibility: the label rule for one pair, and what it says of whole blocks of 32 x 32 pairs.
 * A block summary is only minima and maxima, so "part" may be said of a block that is in truth empty or full: that costs time, never a result. */
#include <limits.h>

#include "tensor/attention.h"

static int64_t blocks(int64_t n) {
    return (n + ED__SUB - 1) / ED__SUB;
}

size_t ed__vis_bytes(ed__vis *v) {
    v->nq = blocks(v->rows);
    v->nk = blocks(v->slots);
    if (!v->labels)
        return 0;
    size_t lb = (size_t)v->labels->batch;
    return lb * ((size_t)v->nq * sizeof(ed__vis_q) + (size_t)v->nk * (sizeof(ed__vis_k) + 3 * ED__SUB * sizeof(int32_t))) + 3 * 64;
}

static int32_t lab(const int32_t *a, int64_t i, int32_t absent) {
    return a ? a[i] : absent;
}

static ed__vis_q sum_q(const ed_labels *l, int64_t begin, int64_t end) {
    ed__vis_q s = {INT_MAX, INT_MIN, INT_MAX, INT_MIN, INT_MAX, INT_MIN, INT_MAX, INT_MIN, false, true};
    for (int64_t i = begin; i < end; i++) {
        int32_t o = lab(l->q_order, i, INT_MAX), g = lab(l->q_group, i, 0), m = lab(l->q_limit, i, INT_MAX), w = lab(l->q_low, i, INT_MIN);
        s.order_min = o < s.order_min ? o : s.order_min;
        s.order_max = o > s.order_max ? o : s.order_max;
        s.group_min = g < s.group_min ? g : s.group_min;
        s.group_max = g > s.group_max ? g : s.group_max;
        s.limit_min = m < s.limit_min ? m : s.limit_min;
        s.limit_max = m > s.limit_max ? m : s.limit_max;
        s.low_min = w < s.low_min ? w : s.low_min;
        s.low_max = w > s.low_max ? w : s.low_max;
        s.any_all |= g == ED_GROUP_ALL;
        s.every_all &= g == ED_GROUP_ALL;
    }
    return s;
}

static ed__vis_k sum_k(const int32_t *order, const int32_t *group, const int32_t *valid) {
    ed__vis_k s = {INT_MAX, INT_MIN, INT_MAX, INT_MIN, INT_MAX, false, true, false, false};
    for (int i = 0; i < ED__SUB; i++) {
        if (!valid[i]) {
            s.every = false;
            continue;
        }
        s.any = true;
        s.order_min = order[i] < s.order_min ? order[i] : s.order_min;
        s.order_max = order[i] > s.order_max ? order[i] : s.order_max;
        if (group[i] == ED_GROUP_SHARED) {
            s.any_shared = true;
            s.shared_min = order[i] < s.shared_min ? order[i] : s.shared_min;
        } else {
            s.any_own = true;
            s.group_min = group[i] < s.group_min ? group[i] : s.group_min;
            s.group_max = group[i] > s.group_max ? group[i] : s.group_max;
        }
    }
    return s;
}

/* key labels of one label batch, moved to slots and padded */
static void fill_keys(const ed__vis *v, int64_t lb) {
    const ed_labels *l = v->labels;
    int64_t n = v->nk * ED__SUB;
    int32_t *order = v->k_order + lb * n, *group = v->k_group + lb * n, *valid = v->k_valid + lb * n;
    for (int64_t s = 0; s < n; s++) {
        int64_t j = s - v->lead;
        bool in = j >= 0 && j < l->keys;
        order[s] = in ? lab(l->k_order, lb * l->keys + j, (int32_t)j) : 0;
        group[s] = in ? lab(l->k_group, lb * l->keys + j, 0) : 0;
        valid[s] = in && (!l->k_valid || l->k_valid[lb * l->keys + j]);
    }
}

void ed__vis_init(ed__vis *v, void *mem) {
    if (!v->labels)
        return;
    const ed_labels *l = v->labels;
    char *p = mem;
    int64_t n = v->nk * ED__SUB;
    v->q = (ed__vis_q *)(void *)p;
    p += ((size_t)(l->batch * v->nq) * sizeof *v->q + 63) & ~(size_t)63;
    v->k = (ed__vis_k *)(void *)p;
    p += ((size_t)(l->batch * v->nk) * sizeof *v->k + 63) & ~(size_t)63;
    v->k_order = (int32_t *)(void *)p;
    v->k_group = v->k_order + l->batch * n;
    v->k_valid = v->k_group + l->batch * n;
    for (int64_t lb = 0; lb < l->batch; lb++) {
        fill_keys(v, lb);
        for (int64_t i = 0; i < v->nq; i++) {
            int64_t end = (i + 1) * ED__SUB < v->rows ? (i + 1) * ED__SUB : v->rows;
            v->q[lb * v->nq + i] = sum_q(l, lb * v->rows + i * ED__SUB, lb * v->rows + end);
        }
        for (int64_t i = 0; i < v->nk; i++) {
            int64_t at = lb * n + i * ED__SUB;
            v->k[lb * v->nk + i] = sum_k(v->k_order + at, v->k_group + at, v->k_valid + at);
        }
    }
}

static int class_index(const ed__vis *v, int64_t qb, int64_t kb) {
    int64_t t0 = qb * ED__SUB, t1 = t0 + ED__SUB - 1, s0 = kb * ED__SUB, s1 = s0 + ED__SUB - 1;
    t1 = t1 < v->rows ? t1 : v->rows - 1;
    bool part = s0 < v->lead || s1 >= v->slots;
    if (s1 < v->lead)
        return ED__VIS_NONE;
    if (v->causal) {
        if (s0 > v->q_start + t1)
            return ED__VIS_NONE;
        part |= s1 > v->q_start + t0;
    }
    if (v->window >= 0) {
        if (s1 < v->q_start + t0 - v->window)
            return ED__VIS_NONE;
        part |= s0 < v->q_start + t1 - v->window;
    }
    return part ? ED__VIS_PART : ED__VIS_FULL;
}

/* rows of this block that look at this key block by sampled distances: none, or at least one kept distance */
static bool blocks_none(const ed__vis *v, int64_t qb, int64_t kb) {
    const ed_labels *l = v->labels;
    int64_t t1 = (qb + 1) * ED__SUB - 1, j0 = kb * ED__SUB - v->lead, j1 = j0 + ED__SUB - 1;
    t1 = t1 < v->rows ? t1 : v->rows - 1;
    j0 = j0 > 0 ? j0 : 0;
    int64_t lo = (l->q_start + qb * ED__SUB) / l->block - j1 / l->block, hi = (l->q_start + t1) / l->block - j0 / l->block;
    lo = lo > 0 ? lo : 0;
    for (int64_t d = lo; d <= hi && d < l->n_distances; d++)
        if (l->block_keep[d])
            return false;
    return true;
}

static int class_labels(const ed__vis *v, int64_t b, int64_t qb, int64_t kb) {
    const ed_labels *l = v->labels;
    int64_t lb = l->batch > 1 ? b : 0;
    const ed__vis_q *q = &v->q[lb * v->nq + qb];
    const ed__vis_k *k = &v->k[lb * v->nk + kb];
    if (!k->any || k->order_max < q->low_min)
        return ED__VIS_NONE;
    bool both_shared = k->any_shared && q->group_min <= ED_GROUP_SHARED && q->group_max >= ED_GROUP_SHARED;
    bool own = ((k->any_own && k->group_min <= q->group_max && q->group_min <= k->group_max) || both_shared) && k->order_min <= q->order_max;
    bool shared = k->any_shared && k->shared_min <= q->limit_max;
    if (!q->any_all && !own && !shared)
        return ED__VIS_NONE;
    if (l->block_keep && blocks_none(v, qb, kb))
        return ED__VIS_NONE;
    bool one_group = !k->any_shared && k->group_min == k->group_max && q->group_min == q->group_max && k->group_min == q->group_min;
    bool all_own = one_group && k->order_max <= q->order_min;
    bool all_shared = !k->any_own && k->order_max <= q->limit_min;
    bool optional = l->ancestors || l->bitmap || l->block_keep || l->exclude_self;
    bool full = k->every && k->order_min >= q->low_max && (q->every_all || all_own || all_shared) && !optional;
    return full ? ED__VIS_FULL : ED__VIS_PART;
}

int ed__vis_class(const ed__vis *v, int64_t b, int64_t qb, int64_t kb) {
    if (v->no_skip)
        return ED__VIS_PART;
    return v->labels ? class_labels(v, b, qb, kb) : class_index(v, qb, kb);
}

static bool bit(const uint64_t *words, int64_t i) {
    return words[i >> 6] >> (i & 63) & 1;
}

static bool optional_pair(const ed_labels *l, int64_t b, int64_t t, int64_t j) {
    int64_t lb = l->batch > 1 ? b : 0, c = j - l->scratch_first;
    if (l->ancestors && c >= 0 && c < l->n_scratch && !bit(l->ancestors + (lb * l->queries + t) * ((l->n_scratch + 63) / 64), c))
        return false;
    if (l->bitmap) {
        int64_t m = l->bitmap_of ? l->bitmap_of[b] : l->n_bitmaps > 1 ? b : 0;
        if (!bit(l->bitmap + (m * l->queries + t) * ((l->keys + 63) / 64), j))
            return false;
    }
    if (l->block_keep) {
        int64_t d = (l->q_start + t) / l->block - j / l->block;
        if (d < 0 || d >= l->n_distances || !l->block_keep[d])
            return false;
    }
    return !(l->exclude_self && j == l->q_start + t);
}

bool ed__vis_pair(const ed__vis *v, int64_t b, int64_t t, int64_t slot) {
    if (slot < v->lead || slot >= v->slots)
        return false;
    if (!v->labels)
        return !(v->causal && slot > v->q_start + t) && !(v->window >= 0 && slot < v->q_start + t - v->window);
    const ed_labels *l = v->labels;
    int64_t lb = l->batch > 1 ? b : 0, j = slot - v->lead, i = lb * l->queries + t, m = lb * l->keys + j;
    int32_t ko = lab(l->k_order, m, (int32_t)j), kg = lab(l->k_group, m, 0), qg = lab(l->q_group, i, 0);
    bool seen = (kg == qg && ko <= lab(l->q_order, i, INT_MAX)) || (kg == ED_GROUP_SHARED && ko <= lab(l->q_limit, i, INT_MAX)) || qg == ED_GROUP_ALL;
    return seen && (!l->k_valid || l->k_valid[m]) && ko >= lab(l->q_low, i, INT_MIN) && optional_pair(l, b, t, j);
}

void ed__vis_optional(const ed__vis *v, int64_t b, int64_t t, int64_t kb, int32_t *mask) {
    const ed_labels *l = v->labels;
    if (!l || !(l->ancestors || l->bitmap || l->block_keep || l->exclude_self))
        return;
    for (int i = 0; i < ED__SUB; i++) {
        if (mask[i])
            mask[i] = -(int32_t)optional_pair(l, b, t, kb * ED__SUB + i - v->lead);
    }
}

float ed__vis_bonus(const ed__vis *v, int64_t t, int64_t slot) {
    const ed_labels *l = v->labels;
    if (!l || !l->block_bonus)
        return 0;
    int64_t d = (l->q_start + t) / l->block - (slot - v->lead) / l->block;
    return d >= 0 && d < l->n_distances ? l->block_bonus[d] : 0;
}
