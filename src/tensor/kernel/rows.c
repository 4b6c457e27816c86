/* tensor/kernel/rows.c - the inner loops of norms, cross-entropy, dropout, column sums and AdamW. Elementwise loops are plain C that the compiler turns into
 * vectors of the level; sums run in an order fixed by the sizes alone, the same at every level. Maths stand beside the callers (op_norm, op_loss, ...). */
#include "tensor/kernel/level.h"
#include "tensor/kernel/vecmath.h"

enum { PARTS = 16, NV = PARTS / W };
typedef float half_f __attribute__((vector_size(2 * W), aligned(4), may_alias)); /* W / 2 floats, and as doubles */
typedef double vd __attribute__((vector_size(4 * W)));
typedef double vd_mem __attribute__((vector_size(4 * W), aligned(8), may_alias));

EDK_INLINE vd load_wide(const float *p) {
#if defined(EDK_AVX512)
    return (vd)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(EDK_AVX2)
    return (vd)_mm256_cvtps_pd(_mm_loadu_ps(p));
#else
    return __builtin_convertvector(*(const half_f *)p, vd);
#endif
}

/* ------------------------------------------------------------------ norms */

void EDK(norm_apply)(const float *x, float mean, float rstd, const float *w, const float *b, float *y, int64_t n) {
    if (w && b)
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - mean) * rstd * w[j] + b[j];
    else if (w)
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - mean) * rstd * w[j];
    else
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - mean) * rstd + (b ? b[j] : 0);
}

void EDK(norm_terms)(const float *x, const float *dy, const float *w, float mean, float rstd, float *restrict g, float *restrict h, int64_t n) {
    for (int64_t j = 0; j < n; j++)
        h[j] = (x[j] - mean) * rstd;
    if (w)
        for (int64_t j = 0; j < n; j++)
            g[j] = dy[j] * w[j];
    else
        memcpy(g, dy, (size_t)n * sizeof *g);
}

void EDK(norm_grad)(const float *restrict g, const float *restrict h, float rstd, float mean_g, float mean_gh, float *restrict dx, int64_t n, bool add) {
    if (add)
        for (int64_t j = 0; j < n; j++)
            dx[j] += rstd * (g[j] - mean_g - h[j] * mean_gh);
    else
        for (int64_t j = 0; j < n; j++)
            dx[j] = rstd * (g[j] - mean_g - h[j] * mean_gh);
}

/* Four vectors of columns stay in registers while the rows run. */
EDK_INLINE void norm_columns(int64_t rows, const float *x, int64_t x_step, const float *dy, int64_t dy_step, const float *mean, const float *rstd, float *pw,
                             float *pb) {
    vf sw[4], sb[4];
    EDK_UNROLL
    for (int v = 0; v < 4; v++)
        sw[v] = vload(pw + v * W), sb[v] = vload(pb + v * W);
    for (int64_t r = 0; r < rows; r++) {
        vf m = vset(mean ? mean[r] : 0), s = vset(rstd[r]);
        EDK_UNROLL
        for (int v = 0; v < 4; v++) {
            vf d = vload(dy + r * dy_step + v * W);
            sw[v] += d * ((vload(x + r * x_step + v * W) - m) * s);
            sb[v] += d;
        }
    }
    EDK_UNROLL
    for (int v = 0; v < 4; v++)
        vstore(pw + v * W, sw[v]), vstore(pb + v * W, sb[v]);
}

void EDK(norm_params)(int64_t rows, int64_t n, const float *x, int64_t x_step, const float *dy, int64_t dy_step, const float *mean, const float *rstd,
                      float *sum_w, float *sum_b) {
    int64_t j = 0;
    for (; j + 4 * W <= n; j += 4 * W)
        norm_columns(rows, x + j, x_step, dy + j, dy_step, mean, rstd, sum_w + j, sum_b + j);
    for (int64_t r = 0; r < rows && j < n; r++)
        for (int64_t i = j; i < n; i++) {
            float d = dy[r * dy_step + i];
            sum_w[i] += d * ((x[r * x_step + i] - (mean ? mean[r] : 0)) * rstd[r]);
            sum_b[i] += d;
        }
}

/* ------------------------------------------------------------------ sums in doubles */

void EDK(add_columns)(int64_t rows, int64_t n, const float *x, int64_t step, double *sum) {
    enum { V = 8, H = W / 2 };
    int64_t j = 0;
    for (; j + V * H <= n; j += V * H) {
        vd s[V];
        EDK_UNROLL
        for (int v = 0; v < V; v++)
            s[v] = *(const vd_mem *)(sum + j + v * H);
        for (int64_t r = 0; r < rows; r++)
            EDK_UNROLL
            for (int v = 0; v < V; v++)
                s[v] += load_wide(x + r * step + j + v * H);
        EDK_UNROLL
        for (int v = 0; v < V; v++)
            *(vd_mem *)(sum + j + v * H) = s[v];
    }
    for (int64_t r = 0; r < rows && j < n; r++)
        for (int64_t i = j; i < n; i++)
            sum[i] += (double)x[r * step + i];
}

double EDK(sum_squares)(const float *x, int64_t n) {
    enum { H = W / 2, V = PARTS / H };
    vd s[V];
    double part[PARTS];
    int64_t i = 0;
    EDK_UNROLL
    for (int v = 0; v < V; v++)
        s[v] = (vd){0};
    for (; i + PARTS <= n; i += PARTS)
        EDK_UNROLL
        for (int v = 0; v < V; v++) {
            vd a = load_wide(x + i + v * H);
            s[v] += a * a;
        }
    memcpy(part, s, sizeof part);
    for (int k = 0; i < n; i++, k++)
        part[k] += (double)x[i] * (double)x[i];
    for (int half = PARTS / 2; half; half /= 2)
        for (int k = 0; k < half; k++)
            part[k] += part[k + half];
    return part[0];
}

/* ------------------------------------------------------------------ cross-entropy */

EDK_INLINE float fold(const vf *acc) {
    float s[PARTS];
    for (int v = 0; v < NV; v++)
        vstore(s + v * W, acc[v]);
    for (int half = PARTS / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

void EDK(exp_sums)(const float *x, float max, int64_t n, float *sum_exp, float *sum_dev) {
    vf e[NV], d[NV];
    int64_t i = 0;
    for (int v = 0; v < NV; v++)
        e[v] = d[v] = (vf){0};
    for (; i + PARTS <= n; i += PARTS)
        EDK_UNROLL
        for (int v = 0; v < NV; v++) {
            vf dev = vload(x + i + v * W) - max;
            e[v] += vexp(dev);
            d[v] += dev;
        }
    for (int v = 0; v < NV && i + v * W < n; v++) {
        int64_t r = n - i - v * W < W ? n - i - v * W : W;
        vf dev = vload_part(x + i + v * W, r) - max;
        e[v] += vsel(vfirst(r), vexp(dev), (vf){0});
        d[v] += vsel(vfirst(r), dev, (vf){0});
    }
    *sum_exp = fold(e);
    *sum_dev = fold(d);
}

void EDK(softmax_grad)(const float *x, float max, float factor, float each, float *dx, int64_t n, bool add) {
    const vf f = vset(factor), less = vset(each);
    int64_t i = 0;
    for (; i + W <= n; i += W) {
        vf e = vexp(vload(x + i) - max);
        vstore(dx + i, (add ? vfma(f, e, vload(dx + i)) : f * e) - less);
    }
    if (i < n) {
        vf e = vexp(vload_part(x + i, n - i) - max);
        vstore_part(dx + i, (add ? vfma(f, e, vload_part(dx + i, n - i)) : f * e) - less, n - i);
    }
}

/* ------------------------------------------------------------------ dropout */

void EDK(drop_scale)(const float *x, const uint32_t *words, uint32_t threshold, float factor, float *y, int64_t n, bool add) {
    if (add)
        for (int64_t i = 0; i < n; i++) {
            float v = x[i] * factor; /* computed in any case: a branch would keep the loop from vectors */
            y[i] += words[i] >= threshold ? v : 0;
        }
    else
        for (int64_t i = 0; i < n; i++) {
            float v = x[i] * factor;
            y[i] = words[i] >= threshold ? v : 0;
        }
}

/* ------------------------------------------------------------------ AdamW */

void EDK(adamw)(const edk_adamw *a, float *w, float *m, float *v, const float *g, int64_t n) {
    const vf b1 = vset(a->beta1), b2 = vset(a->beta2), c1 = vset(a->c1), c2 = vset(a->c2), eps = vset(a->eps), size = vset(a->size), root = vset(a->root),
             keep = vset(a->keep);
#define STEP(LD, ST)                                                                                  \
    do {                                                                                              \
        vf gi = LD(g + i), mi = b1 * LD(m + i) + c1 * gi, vi_ = b2 * LD(v + i) + c2 * gi * gi;        \
        ST(m + i, mi);                                                                                \
        ST(v + i, vi_);                                                                               \
        ST(w + i, keep * LD(w + i) - size * mi / (vsqrt(vi_) * root + eps));                          \
    } while (0)
#define LD_PART(p) vload_part(p, n - i)
#define ST_PART(p, r) vstore_part(p, r, n - i)
    int64_t i = 0;
    for (; i + W <= n; i += W)
        STEP(vload, vstore);
    if (i < n)
        STEP(LD_PART, ST_PART);
}
