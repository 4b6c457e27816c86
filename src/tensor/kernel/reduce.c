/* tensor/kernel/reduce.c - sums, dot products, maxima.
 * Order: 16 partial sums by index mod 16, folded 8-4-2-1, at every level; absent elements of the last group count as 0. Only the fusing of
 * multiply-adds (dot, sum_sq_dev) differs between the generic level and the others. */
#include "tensor/kernel/level.h"

enum { PARTS = 16, NV = PARTS / W };

static float fold(const vf *acc) {
    float s[PARTS];
    for (int v = 0; v < NV; v++)
        vstore(s + v * W, acc[v]);
    for (int half = PARTS / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}
/* Lanes of vector v that hold elements when r (< 16) are left. */
EDK_INLINE int64_t part(int64_t r, int v) {
    r -= v * W;
    return r < 0 ? 0 : r > W ? W : r;
}

float EDK(sum)(const float *x, int64_t n) {
    vf acc[NV] = {{0}};
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        EDK_UNROLL
        for (int v = 0; v < NV; v++)
            acc[v] += vload(x + i + v * W);
    for (int v = 0; v < NV && part(n - i, v) > 0; v++)
        acc[v] += vload_part(x + i + v * W, part(n - i, v));
    return fold(acc);
}

float EDK(dot)(const float *x, const float *y, int64_t n) {
    vf acc[NV] = {{0}};
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        EDK_UNROLL
        for (int v = 0; v < NV; v++)
            acc[v] = vfma(vload(x + i + v * W), vload(y + i + v * W), acc[v]);
    for (int v = 0; v < NV && part(n - i, v) > 0; v++) {
        int64_t r = part(n - i, v);
        acc[v] = vfma(vload_part(x + i + v * W, r), vload_part(y + i + v * W, r), acc[v]);
    }
    return fold(acc);
}

float EDK(sum_sq_dev)(const float *x, float mean, int64_t n) {
    vf acc[NV] = {{0}};
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        EDK_UNROLL
        for (int v = 0; v < NV; v++) {
            vf d = vload(x + i + v * W) - mean;
            acc[v] = vfma(d, d, acc[v]);
        }
    for (int v = 0; v < NV && part(n - i, v) > 0; v++) {
        int64_t r = part(n - i, v);
        vf d = vsel(vfirst(r), vload_part(x + i + v * W, r) - mean, vset(0.0f));
        acc[v] = vfma(d, d, acc[v]);
    }
    return fold(acc);
}

float EDK(max)(const float *x, int64_t n) {
    const vf none = vset(-__builtin_inff());
    vf best = none;
    vi nan = {0};
    vf tops[4] = {none, none, none, none}; /* chains side by side; the maximum does not depend on the order */
    int64_t i = 0;
    for (; i + 4 * W <= n; i += 4 * W)
        EDK_UNROLL
        for (int k = 0; k < 4; k++) {
            vf v = vload(x + i + k * W);
            nan |= (vi)(v != v);
            tops[k] = vsel(v > tops[k], v, tops[k]);
        }
    EDK_UNROLL
    for (int k = 0; k < 4; k++)
        best = vsel(tops[k] > best, tops[k], best);
    for (; i + W <= n; i += W) {
        vf v = vload(x + i);
        nan |= (vi)(v != v);
        best = vsel(v > best, v, best);
    }
    if (i < n) {
        vf v = vsel(vfirst(n - i), vload_part(x + i, n - i), none);
        nan |= (vi)(v != v);
        best = vsel(v > best, v, best);
    }
    float m = best[0];
    int32_t any = nan[0];
    for (int l = 1; l < W; l++) {
        m = best[l] > m ? best[l] : m;
        any |= nan[l];
    }
    return any ? __builtin_nanf("") : m;
}
