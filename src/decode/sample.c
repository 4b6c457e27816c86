/* decode/sample.c - choosing from one row of logits: largest, k largest, log-sum-exp, keyed inverse-CDF draws.
 *
 * Invariants: ties go to the lowest id; sums run in id order in f64 over blocks of f32 exponentials, so a row's result depends on the row alone. A row with NaN or +inf,
 * or with nothing above -inf, has no law: -1 or NaN, never a silent token. */
#include "decode/decode.h"

#include <math.h>

#include "tensor/kernel.h"

enum { BLOCK = 256 };

/** A block this far below the largest adds nothing to a sum in f64 (e^-100); leaving it out spares the slow arithmetic of subnormal numbers. */
#define FAR_BELOW 100.0f

double ed_draw_uniform(uint64_t seed, ed_draw_domain domain, uint64_t sequence, uint32_t sample, int64_t position) {
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)sequence, (uint32_t)(sequence >> 32), sample}, out[4];
    ed_philox(ed_rng_key_make(seed, (uint32_t)domain), counter, out);
    return ed_uniform_f64(out[0], out[1]);
}

int32_t ed_argmax_row(const float *row, int64_t vocab) {
    const ed__kernel_table *k = ed__kernels();
    float best = -INFINITY;
    int64_t at = 0;
    for (int64_t i = 0; i < vocab; i += BLOCK) {
        float max = k->max(row + i, vocab - i < BLOCK ? vocab - i : BLOCK);
        if (isnan(max))
            return -1;
        if (max > best) {
            best = max;
            at = i;
        }
    }
    if (!(best > -INFINITY && best < INFINITY))
        return -1;
    while (row[at] != best)
        at++;
    return (int32_t)at;
}

double ed__row_mass(const float *row, int64_t vocab, float *max) {
    const ed__kernel_table *k = ed__kernels();
    float e[BLOCK];
    double sum = 0;
    *max = k->max(row, vocab);
    if (!(*max > -INFINITY && *max < INFINITY))
        return NAN;
    for (int64_t i = 0; i < vocab; i += BLOCK) {
        int64_t n = vocab - i < BLOCK ? vocab - i : BLOCK;
        if (k->max(row + i, n) < *max - FAR_BELOW)
            continue;
        k->exp_sub(row + i, *max, e, n);
        sum += (double)k->sum(e, n);
    }
    return sum;
}

double ed_logsumexp_row(const float *row, int64_t vocab) {
    float max;
    double mass = ed__row_mass(row, vocab, &max);
    return isnan(mass) ? mass : (double)max + ed__log(mass);
}

int32_t ed_sample_row(const float *row, int64_t vocab, double u) {
    const ed__kernel_table *k = ed__kernels();
    float e[BLOCK], max;
    double total = ed__row_mass(row, vocab, &max), sum = 0;
    int32_t last = -1;
    if (isnan(total))
        return -1;
    for (int64_t i = 0; i < vocab; i += BLOCK) {
        int64_t n = vocab - i < BLOCK ? vocab - i : BLOCK;
        if (k->max(row + i, n) < max - FAR_BELOW)
            continue;
        k->exp_sub(row + i, max, e, n);
        for (int64_t j = 0; j < n; j++) {
            if (e[j] <= 0)
                continue;
            last = (int32_t)(i + j);
            if ((sum += (double)e[j]) > u * total)
                return last;
        }
    }
    return last; /* rounding left none: the last id that has a chance */
}

/* ------------------------------------------------------------------ the k largest: a heap whose root is the worst of the best so far */

static bool worse(float va, int32_t ia, float vb, int32_t ib) {
    return va < vb || (va == vb && ia > ib);
}

static void sift_down(int32_t *ids, float *values, int64_t at, int64_t n) {
    float v = values[at];
    int32_t id = ids[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && worse(values[child + 1], ids[child + 1], values[child], ids[child]))
            child++;
        if (!worse(values[child], ids[child], v, id))
            break;
        values[at] = values[child];
        ids[at] = ids[child];
    }
    values[at] = v;
    ids[at] = id;
}

static void heap_add(int32_t *ids, float *values, int64_t n, int32_t id, float v) {
    int64_t at = n;
    for (; at > 0 && worse(v, id, values[(at - 1) / 2], ids[(at - 1) / 2]); at = (at - 1) / 2) {
        values[at] = values[(at - 1) / 2];
        ids[at] = ids[(at - 1) / 2];
    }
    values[at] = v;
    ids[at] = id;
}

/** Turns the heap into a list, best first. */
static void heap_sort(int32_t *ids, float *values, int64_t n) {
    for (int64_t i = n - 1; i > 0; i--) {
        float v = values[0];
        int32_t id = ids[0];
        values[0] = values[i];
        ids[0] = ids[i];
        values[i] = v;
        ids[i] = id;
        sift_down(ids, values, 0, i);
    }
}

int64_t ed_topk_row(const float *row, int64_t vocab, int64_t k, int32_t *ids, float *values) {
    const ed__kernel_table *kt = ed__kernels();
    int64_t n = 0;
    for (int64_t i = 0; i < vocab && k > 0; i += BLOCK) {
        int64_t end = vocab - i < BLOCK ? vocab : i + BLOCK;
        if (n == k && kt->max(row + i, end - i) <= values[0]) /* nothing here can win; ids only grow, so ties lose */
            continue;
        for (int64_t j = i; j < end; j++) {
            if (n < k && row[j] > -INFINITY) {
                heap_add(ids, values, n++, (int32_t)j, row[j]);
            } else if (n == k && row[j] > values[0]) {
                values[0] = row[j];
                ids[0] = (int32_t)j;
                sift_down(ids, values, 0, n);
            }
        }
    }
    heap_sort(ids, values, n);
    return n;
}
