/* tensor/kernel/unary.c - elementwise functions and their derivatives over arrays; exp(x - max) for softmax.
 * One loop template per array shape; the functions stand in vecmath.h. sin, cos and the argument of gelu_tanh are computed in doubles in blocks: the first
 * two need the range reduction, the last one because exp magnifies the rounding of its argument. */
#include <math.h>

#include "tensor/kernel/vecmath.h"

enum { BLOCK = 64 };

/* y[i] = EXPR(x), vector by vector, then the rest as one part of a vector. y may equal x. */
#define MAP1(EXPR)                                \
    do {                                          \
        int64_t i = 0;                            \
        for (; i + W <= n; i += W) {              \
            vf v = vload(x + i);                  \
            vstore(y + i, EXPR);                  \
        }                                         \
        if (i < n) {                              \
            vf v = vload_part(x + i, n - i);      \
            vstore_part(y + i, EXPR, n - i);      \
        }                                         \
    } while (0)

/* ---- sin and cos in doubles: Cody-Waite reduction by pi/2 in two words (n below 2^20 keeps the first product exact), fdlibm's polynomials */
EDK_INLINE double sincos_one(double x, int64_t shift) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    double t = x * 6.36619772367581382433e-01 + magic, n = t - magic;
    int64_t q;
    memcpy(&q, &t, sizeof q);
    q += shift;
    double r = (x - n * 1.57079632673412561417e+00) - n * 6.07710050650619224932e-11, z = r * r;
    double s = r + r * z * (-1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 +
               z * (2.75573137070700676789e-06 + z * -2.50507602534068634195e-08))));
    double c = 1.0 - 0.5 * z + z * z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05 +
               z * (-2.75573143513906633035e-07 + z * 2.08757232129817482790e-09))));
    double v = (q & 1) ? c : s;
    return (q & 2) ? -v : v;
}
/* sin(x + shift*pi/2); arguments beyond the reduction's range (and NaN, infinities) go to libm. */
static void map_sincos(const float *x, float *y, int64_t n, int shift) {
    for (int64_t at = 0; at < n; at += BLOCK) {
        int m = n - at < BLOCK ? (int)(n - at) : BLOCK;
        float r[BLOCK];
        for (int i = 0; i < m; i++)
            r[i] = (float)sincos_one((double)x[at + i], shift);
        for (int i = 0; i < m; i++) {
            float v = x[at + i];
            if (!(v < 524288.0f && v > -524288.0f))
                r[i] = (float)(shift ? cos((double)v) : sin((double)v));
        }
        memcpy(y + at, r, (size_t)m * sizeof(float));
    }
}

/* ---- gelu_tanh(x) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3), as PyTorch's approximate="tanh" */
static void gelu_arg(const float *x, float *hi, float *lo, int m) {
    for (int i = 0; i < m; i++) {
        double v = (double)x[i], u = v * (1.5957691216057308 + 0.07135481627159256 * (v * v));
        u = u > 200.0 ? 200.0 : u < -200.0 ? -200.0 : u;
        hi[i] = (float)u;
        lo[i] = (float)(u - (double)hi[i]);
    }
}
/* sigmoid(hi + lo); the gate of gelu_tanh */
EDK_INLINE vf sigmoid2w(vf hi, vf lo) {
    return 1.0f / (vexp2w(-hi, -lo) + 1.0f);
}
static void map_gelu_tanh(const float *x, float *y, int64_t n) {
    float xs[BLOCK] = {0}, hi[BLOCK] = {0}, lo[BLOCK] = {0}, r[BLOCK];
    for (int64_t at = 0; at < n; at += BLOCK) {
        int m = n - at < BLOCK ? (int)(n - at) : BLOCK;
        memcpy(xs, x + at, (size_t)m * sizeof(float));
        gelu_arg(xs, hi, lo, BLOCK);
        for (int i = 0; i < m; i += W)
            vstore(r + i, vgate(vload(xs + i), vload(hi + i), vload(lo + i)));
        memcpy(y + at, r, (size_t)m * sizeof(float));
    }
}

void EDK(unary)(int kind, double param, const float *x, float *y, int64_t n) {
    const float p = (float)param;
    switch (kind) {
    case ED_NEG: MAP1(-v); break;
    case ED_ABS: MAP1(vabs(v)); break;
    case ED_EXP: MAP1(vexp(v)); break;
    case ED_LOG: MAP1(vlog(v)); break;
    case ED_LOG1P: MAP1(vlog1p(v)); break;
    case ED_SQRT: MAP1(vsqrt(v)); break;
    case ED_RSQRT: MAP1(1.0f / vsqrt(v)); break;
    case ED_SQUARE: MAP1(v * v); break;
    case ED_SIN: map_sincos(x, y, n, 0); break;
    case ED_COS: map_sincos(x, y, n, 1); break;
    case ED_TANH: MAP1(vtanh(v)); break;
    case ED_SIGMOID: MAP1(vsigmoid(v)); break;
    case ED_ERF: MAP1(verf(v)); break;
    case ED_RELU: MAP1(vsel(v < 0.0f, vset(0.0f), v)); break;
    case ED_LEAKY_RELU: MAP1(vsel(v < 0.0f, v * p, v)); break;
    case ED_ELU: MAP1(velu(v)); break;
    case ED_SILU: MAP1(vsilu(v)); break;
    case ED_GELU_TANH: map_gelu_tanh(x, y, n); break;
    case ED_GELU_ERF: MAP1(vgelu_erf(v)); break;
    case ED_SOFTPLUS: MAP1(vsoftplus(v)); break;
    case ED_ROUND: MAP1(vround(v)); break;
    default: break;
    }
}

void EDK(exp_sub)(const float *x, float max, float *y, int64_t n) {
    MAP1(vexp(v - max));
}

/* dx (+)= EXPR(v = x, f = y, d = dy) */
#define STEP(LD, ST)                                \
    do {                                            \
        vf v = LD(x + i), f = LD(y + i), d = LD(dy + i); \
        (void)v, (void)f;                           \
        vf r = SLOPE;                               \
        ST(dx + i, add ? LD(dx + i) + r : r);       \
    } while (0)
#define LD_PART(p) vload_part(p, n - i)
#define ST_PART(p, r) vstore_part(p, r, n - i)
#define MAP_GRAD                      \
    do {                              \
        int64_t i = 0;                \
        for (; i + W <= n; i += W)    \
            STEP(vload, vstore);      \
        if (i < n)                    \
            STEP(LD_PART, ST_PART);   \
    } while (0)

EDK_INLINE vf silu_slope(vf x) {
    vf s = vsigmoid(x);
    vf g = vfma(x * s, 1.0f - s, s);
    return vsel(x < -90.0f, vset(0.0f), g); /* s is 0 there and x may be infinite */
}
EDK_INLINE vf gelu_erf_slope(vf x) {
    vf pdf = vgauss(vabs(x)) * 0.398942280f;
    return vsel(vabs(x) > 20.0f, vnormal_cdf(x), vfma(x, pdf, vnormal_cdf(x)));
}

static void grad_gelu_tanh(const float *x, const float *dy, float *dx, int64_t n, bool add) {
    float xs[BLOCK] = {0}, hi[BLOCK] = {0}, lo[BLOCK] = {0}, r[BLOCK];
    for (int64_t at = 0; at < n; at += BLOCK) {
        int m = n - at < BLOCK ? (int)(n - at) : BLOCK;
        memcpy(xs, x + at, (size_t)m * sizeof(float));
        gelu_arg(xs, hi, lo, BLOCK);
        for (int i = 0; i < m; i += W) { /* d/dx x s(2u) = s + x s (1 - s) 2u' */
            vf v = vload(xs + i), s = sigmoid2w(vload(hi + i), vload(lo + i));
            vf slope = vfma(v * v, vset(0.21406444881f), vset(1.59576912161f));
            vf g = vfma(v * s * (1.0f - s), slope, s);
            vstore(r + i, vsel(vabs(v) > 30.0f, s, g));
        }
        for (int i = 0; i < m; i++)
            dx[at + i] = (add ? dx[at + i] : 0.0f) + dy[at + i] * r[i];
    }
}

static void grad_sincos(const float *x, const float *dy, float *dx, int64_t n, bool add, int shift) {
    for (int64_t at = 0; at < n; at += BLOCK) {
        int m = n - at < BLOCK ? (int)(n - at) : BLOCK;
        float r[BLOCK];
        map_sincos(x + at, r, m, !shift);
        for (int i = 0; i < m; i++)
            dx[at + i] = (add ? dx[at + i] : 0.0f) + dy[at + i] * (shift ? -r[i] : r[i]);
    }
}

/* A file-local macro per kind keeps the loop template free of function pointers. */
void EDK(unary_grad)(int kind, double param, const float *x, const float *y, const float *dy, float *dx, int64_t n, bool add) {
    const float p = (float)param;
    switch (kind) {
#define SLOPE -d
    case ED_NEG: MAP_GRAD; break;
#undef SLOPE
#define SLOPE vsel(v > 0.0f, d, vsel(v < 0.0f, -d, v * d))
    case ED_ABS: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * f)
    case ED_EXP: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d / v)
    case ED_LOG: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d / (v + 1.0f))
    case ED_LOG1P: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * 0.5f / f)
    case ED_SQRT: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * -0.5f * f * f * f)
    case ED_RSQRT: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * (v + v))
    case ED_SQUARE: MAP_GRAD; break;
#undef SLOPE
    case ED_SIN: grad_sincos(x, dy, dx, n, add, 0); break;
    case ED_COS: grad_sincos(x, dy, dx, n, add, 1); break;
#define SLOPE (d * (1.0f - f) * (1.0f + f))
    case ED_TANH: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * f * (1.0f - f))
    case ED_SIGMOID: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * 1.128379167f * vexp(-v * v))
    case ED_ERF: MAP_GRAD; break;
#undef SLOPE
#define SLOPE vsel(v > 0.0f, d, vset(0.0f))
    case ED_RELU: MAP_GRAD; break;
#undef SLOPE
#define SLOPE vsel(v > 0.0f, d, d * p)
    case ED_LEAKY_RELU: MAP_GRAD; break;
#undef SLOPE
#define SLOPE vsel(v > 0.0f, d, d * (f + 1.0f))
    case ED_ELU: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * silu_slope(v))
    case ED_SILU: MAP_GRAD; break;
#undef SLOPE
    case ED_GELU_TANH: grad_gelu_tanh(x, dy, dx, n, add); break;
#define SLOPE (d * gelu_erf_slope(v))
    case ED_GELU_ERF: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * vsigmoid(v))
    case ED_SOFTPLUS: MAP_GRAD; break;
#undef SLOPE
#define SLOPE (d * 0.0f)
    case ED_ROUND: MAP_GRAD; break;
#undef SLOPE
    default: break;
    }
}
