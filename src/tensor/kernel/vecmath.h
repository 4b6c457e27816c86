/* tensor/kernel/vecmath.h - elementary functions on vectors of floats, a few ulp, right for NaN, infinities, zeros and subnormal inputs.
 * Lanes are independent: a value's bits do not depend on its neighbours. Sources: Cephes (Moshier, 1989) for the polynomials of exp, log and tanh;
 * Kahan's correction for log1p; Shepherd & Laframboise (1981) for the form (1 + 2a) erfcx(a) = P((a - K)/(a + K)), coefficients fitted here at Chebyshev
 * nodes (relative error 2.4e-9); erf's small-argument polynomial and its exponential form after N. Juffa. */
#ifndef ED_TENSOR_KERNEL_VECMATH_H
#define ED_TENSOR_KERNEL_VECMATH_H

#include "tensor/kernel/level.h"

/** 2^n for integer lanes n in [-126, 127]. */
EDK_INLINE vf vpow2(vi n) {
    return (vf)((n + 127) << 23);
}

/* Range reduction x = n ln2 + r, |r| <= ln2/2 + lo. The magic constant rounds to an integer in its own low bits. */
typedef struct vexp_parts {
    vf r;
    vi n;
} vexp_parts;
EDK_INLINE vexp_parts vexp_reduce(vf x, vf lo) {
    const vf magic = vset(12582912.0f);
    vf t = vfma(x, vset(1.44269504088896341f), magic);
    vf n = t - magic;
    vf r = vfma(n, vset(-0.693359375f), x);
    vexp_parts p = {vfma(n, vset(2.12194440e-4f), r) + lo, (vi)t - (vi)magic};
    return p;
}
/** exp(r) - 1 for |r| <= 0.35. */
EDK_INLINE vf vexpm1_small(vf r) {
    vf p = vset(1.9875691500e-4f);
    p = vfma(p, r, vset(1.3981999507e-3f));
    p = vfma(p, r, vset(8.3334519073e-3f));
    p = vfma(p, r, vset(4.1665795894e-2f));
    p = vfma(p, r, vset(1.6666665459e-1f));
    p = vfma(p, r, vset(5.0000001201e-1f));
    return vfma(p, r * r, r);
}
/* The powers of two are applied one after the other, so that results over- and underflow gradually. */
EDK_INLINE vf vscale2(vf y, vi n) {
    vi half = n >> 1;
    return y * vpow2(half) * vpow2(n - half);
}
EDK_INLINE vexp_parts vexp_clamped(vf x, vf lo) {
    x = vsel(x > 89.0f, vset(89.0f), x); /* NaN passes */
    x = vsel(x < -105.0f, vset(-105.0f), x);
    return vexp_reduce(x, lo);
}
/** exp(x + lo), |lo| tiny: the second word carries what x could not hold. */
EDK_INLINE vf vexp2w(vf x, vf lo) {
    vexp_parts p = vexp_clamped(x, lo);
    return vscale2(vexpm1_small(p.r) + 1.0f, p.n);
}
EDK_INLINE vf vexp(vf x) {
    return vexp2w(x, vset(0.0f));
}
EDK_INLINE vf vexpm1(vf x) {
    vf c = vsel(x > 89.0f, vset(89.0f), x);
    c = vsel(c < -20.0f, vset(-20.0f), c);
    vexp_parts p = vexp_reduce(c, vset(0.0f));
    vi half = p.n >> 1;
    vf a = vpow2(half), b = vpow2(p.n - half);
    vf y = vfma(vexpm1_small(p.r) * a, b, vfma(a, b, vset(-1.0f)));
    return vsel((vi)(p.n == 0), vexpm1_small(p.r), y);
}

EDK_INLINE vf vlog(vf x) {
    vi tiny = x < 1.17549435e-38f;
    vf s = vsel(tiny, x * 8388608.0f, x);
    vi bits = (vi)s;
    vi e = ((bits >> 23) & 255) - 126 - (tiny & 23);
    vf m = (vf)((bits & 0x7fffff) | 0x3f000000); /* [0.5, 1) */
    vi low = m < 0.707106781186547524f;
    e += low; /* a true lane is -1 */
    m = vsel(low, m + m, m) - 1.0f;
    vf z = m * m, ef = __builtin_convertvector(e, vf);
    vf p = vset(7.0376836292e-2f);
    p = vfma(p, m, vset(-1.1514610310e-1f));
    p = vfma(p, m, vset(1.1676998740e-1f));
    p = vfma(p, m, vset(-1.2420140846e-1f));
    p = vfma(p, m, vset(1.4249322787e-1f));
    p = vfma(p, m, vset(-1.6668057665e-1f));
    p = vfma(p, m, vset(2.0000714765e-1f));
    p = vfma(p, m, vset(-2.4999993993e-1f));
    p = vfma(p, m, vset(3.3333331174e-1f));
    vf y = vfma(ef, vset(-2.12194440e-4f), p * m * z);
    y = vfma(z, vset(-0.5f), y);
    y = vfma(ef, vset(0.693359375f), m + y);
    y = vsel(x == 0.0f, vset(-__builtin_inff()), y);
    y = vsel(x < 0.0f, vset(__builtin_nanf("")), y);
    return vsel((vi)(x == __builtin_inff()) | (vi)(x != x), x, y);
}
/** log(1 + x) = log(u) x / (u - 1) with u = 1 + x rounded. */
EDK_INLINE vf vlog1p(vf x) {
    vf u = x + 1.0f;
    vf y = vlog(u) * (x / (u - 1.0f));
    return vsel((vi)(u == 1.0f) | (vi)(x == __builtin_inff()), x, y);
}

EDK_INLINE vf vtanh(vf x) {
    vf a = vabs(x), z = x * x;
    vf p = vset(-5.70498872745e-3f);
    p = vfma(p, z, vset(2.06390887954e-2f));
    p = vfma(p, z, vset(-5.37397155531e-2f));
    p = vfma(p, z, vset(1.33314422036e-1f));
    p = vfma(p, z, vset(-3.33332819422e-1f));
    vf small = vfma(p * z, x, x);
    vf large = 1.0f - 2.0f / (vexp(a + a) + 1.0f);
    return vsel(a < 0.625f, small, vcopysign(large, x)); /* NaN takes the second branch and stays NaN */
}
EDK_INLINE vf vsigmoid(vf x) {
    return 1.0f / (vexp(-x) + 1.0f);
}
/** x sigmoid(u + lo), where x and u have one sign. With e = exp(-|u|) it is x / (1 + e) or x e / (1 + e); x e is scaled last, because e alone may be
 *  subnormal where x e is not. */
EDK_INLINE vf vgate(vf x, vf u, vf lo) {
    vi below = u < 0.0f;
    vexp_parts p = vexp_clamped(-vabs(u), vsel(below, lo, -lo));
    vf y = vexpm1_small(p.r) + 1.0f;
    vf e = vscale2(y, p.n), xe = vscale2(vsel(x < -200.0f, vset(-0.0f), x) * y, p.n);
    return vsel(below, xe, x) / (e + 1.0f);
}
EDK_INLINE vf vsilu(vf x) {
    return vgate(x, x, vset(0.0f));
}
/** log(1 + e^x) = max(x, 0) + log1p(e^-|x|) */
EDK_INLINE vf vsoftplus(vf x) {
    return vsel(x < 0.0f, vset(0.0f), x) + vlog1p(vexp(-vabs(x)));
}
EDK_INLINE vf velu(vf x) {
    return vsel(x > 0.0f, x, vexpm1(x));
}

/** erf for |x| <= 0.93. */
EDK_INLINE vf verf_small(vf x) {
    vf p = vset(-5.96761703e-4f), s = x * x;
    p = vfma(p, s, vset(4.99119423e-3f));
    p = vfma(p, s, vset(-2.67681349e-2f));
    p = vfma(p, s, vset(1.12819925e-1f));
    p = vfma(p, s, vset(-3.76125336e-1f));
    p = vfma(p, s, vset(1.28379166e-1f));
    return vfma(p, x, x);
}
EDK_INLINE vf verf(vf x) {
    vf t = vabs(x);
    t = vsel(t > 4.0f, vset(4.0f), t);
    vf r = vfma(vset(-1.72853470e-5f), t, vset(3.83197126e-4f));
    vf u = vfma(vset(-3.88396438e-3f), t, vset(2.42546219e-2f));
    r = vfma(r, t * t, u);
    r = vfma(r, t, vset(-1.06777877e-1f));
    r = vfma(r, t, vset(-6.34846687e-1f));
    r = vfma(r, t, vset(-1.28717512e-1f));
    vf large = vcopysign(1.0f - vexp(vfma(r, t, -t)), x);
    return vsel(vabs(x) > 0.927734375f, large, verf_small(x));
}

/** exp(-t^2/2) for t >= 0 to full relative precision: t = h + l with h of 12 bits, so h*h is exact. */
EDK_INLINE vf vgauss(vf t) {
    t = vsel(t > 20.0f, vset(20.0f), t);
    vf h = (vf)((vi)t & (int32_t)0xfffff000u);
    vf lo = (t - h) * (t + h) * -0.5f;
    return vexp2w(h * h * -0.5f, lo); /* |lo| < 0.05 here: exp's polynomial reaches that far */
}
/** Lower normal tail Phi(-t), t >= 0. */
EDK_INLINE vf vnormal_tail(vf t) {
    t = vsel(t > 20.0f, vset(20.0f), t);
    vf w = (t - 4.242640687f) / (t + 4.242640687f);
    vf p = vset(-2.820346866e-4f);
    p = vfma(p, w, vset(-8.116167965e-4f));
    p = vfma(p, w, vset(1.984171847e-3f));
    p = vfma(p, w, vset(2.581748138e-3f));
    p = vfma(p, w, vset(-2.378465027e-2f));
    p = vfma(p, w, vset(6.829444885e-2f));
    p = vfma(p, w, vset(-1.192734833e-1f));
    p = vfma(p, w, vset(1.296463738e-1f));
    p = vfma(p, w, vset(-4.756224273e-2f));
    p = vfma(p, w, vset(-1.356211359e-1f));
    p = vfma(p, w, vset(1.253008058f));
    return p * vgauss(t) / vfma(t, vset(2.828427125f), vset(2.0f));
}
EDK_INLINE vf vnormal_cdf(vf x) {
    vf tail = vnormal_tail(vabs(x));
    vf near = vfma(verf_small(x * 0.707106781f), vset(0.5f), vset(0.5f));
    return vsel(vabs(x) < 0.75f, near, vsel(x > 0.0f, 1.0f - tail, tail));
}
EDK_INLINE vf vgelu_erf(vf x) {
    return vsel(x < -20.0f, vset(-0.0f), x * vnormal_cdf(x));
}
/** To the nearest integer, ties to even. */
EDK_INLINE vf vround(vf x) {
    vf magic = vcopysign(vset(8388608.0f), x);
    return vsel(vabs(x) < 8388608.0f, vcopysign((x + magic) - magic, x), x);
}

#endif
