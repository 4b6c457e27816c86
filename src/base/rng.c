/* base/rng.c - counter-based random numbers and the laws drawn from them.
 * Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Normal quantile: Wichura, algorithm AS 241
 * (PPND16), Applied Statistics 37, 1988. Logarithm: the fdlibm method (s = f/(2+f), odd polynomial in s).
 * Invariant: only IEEE + - * / sqrt and integer steps, never libm: the numbers are the same bits on every machine (build with no FP contraction). */
#include <math.h>

#include "base/internal.h"

/* ---- Philox */

/* Bijective on 32 bits and 0 for 0 (the finaliser of MurmurHash3): for one stream all 64-bit seeds give distinct keys,
 * and a seed below 2^32 stands in the key as it is. */
static uint32_t mix32(uint32_t h) {
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

ed_rng_key ed_rng_key_make(uint64_t seed, uint32_t stream) {
    return (ed_rng_key){{(uint32_t)seed, stream ^ mix32((uint32_t)(seed >> 32))}};
}

void ed_philox(ed_rng_key key, const uint32_t counter[4], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key.k[0], k1 = key.k[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The middle of one of 2^23 (2^52) equal cells: exact in the format, so neither end of (0,1) can come out of rounding. */
float ed_uniform_f32(uint32_t word) {
    return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}

double ed_uniform_f64(uint32_t hi, uint32_t lo) {
    uint64_t bits = (uint64_t)hi << 32 | lo;
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

/* ---- laws */

double ed__log(double x) {
    static const double LN2_HI = 6.93147180369123816490e-01, LN2_LO = 1.90821492927058770002e-10;
    static const double L[7] = {6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
                                1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01};
    uint64_t bits;
    if (!(x > 0.0) || x > 0x1.fffffffffffffp1023) /* 0, negative, NaN, infinity */
        return x == 0.0 ? -INFINITY : x > 0.0 ? x : NAN;
    int e = x < 0x1p-1022 ? -54 : 0;
    if (e)
        x *= 0x1p54; /* subnormal: bring the leading bit into place */
    memcpy(&bits, &x, sizeof bits);
    e += (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
    memcpy(&x, &bits, sizeof x); /* in [1, 2) */
    if (x > 1.4142135623730951) {
        x *= 0.5;
        e++;
    }
    double f = x - 1.0, s = f / (2.0 + f), z = s * s, half = 0.5 * f * f, r = L[6];
    for (int i = 5; i >= 0; i--)
        r = r * z + L[i];
    r *= z;
    return e * LN2_HI - ((half - (s * (half + r) + e * LN2_LO)) - f);
}

/* c[0] + c[1] x + ... + c[7] x^7 */
static double poly7(const double c[8], double x) {
    double y = c[7];
    for (int i = 6; i >= 0; i--)
        y = y * x + c[i];
    return y;
}

static const double CENTRE_P[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                   4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3};
static const double CENTRE_Q[8] = {1.0,                      4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
                                   2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3};
static const double NEAR_P[8] = {1.42343711074968357734e0, 4.63033784615654529590e0,  5.76949722146069140550e0,  3.64784832476320460504e0,
                                 1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double NEAR_Q[8] = {1.0,                       2.05319162663775882187e0,  1.67638483018380384940e0,  6.89767334985100004550e-1,
                                 1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9};
static const double FAR_P[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
static const double FAR_Q[8] = {1.0,                       5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
                                7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15};

double ed_normal_icdf(double u) {
    double q = u - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        double r = 0.180625 - q * q;
        return q * poly7(CENTRE_P, r) / poly7(CENTRE_Q, r);
    }
    double tail = q < 0.0 ? u : 1.0 - u; /* 1 - u is exact here */
    if (!(tail > 0.0))
        return tail == 0.0 ? (q < 0.0 ? -INFINITY : INFINITY) : NAN;
    double r = sqrt(-ed__log(tail));
    double x = r <= 5.0 ? poly7(NEAR_P, r - 1.6) / poly7(NEAR_Q, r - 1.6) : poly7(FAR_P, r - 5.0) / poly7(FAR_Q, r - 5.0);
    return q < 0.0 ? -x : x;
}

/* ---- stateful cursor: draw p is half (p & 1) of block p / 2 */

ed_rng ed_rng_make(uint64_t seed, uint32_t stream) {
    return (ed_rng){ed_rng_key_make(seed, stream), 0};
}

uint64_t ed_rng_u64(ed_rng *r) {
    uint64_t block = r->position >> 1;
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0}, out[4];
    ed_philox(r->key, counter, out);
    const uint32_t *half = out + 2 * (r->position & 1);
    r->position++;
    return (uint64_t)half[0] << 32 | half[1];
}

double ed_rng_uniform(ed_rng *r) {
    uint64_t x = ed_rng_u64(r);
    return ed_uniform_f64((uint32_t)(x >> 32), (uint32_t)x);
}

/* High half of the 128-bit product; *lo gets the low half. */
static uint64_t mul_wide(uint64_t a, uint64_t b, uint64_t *lo) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t mid = a1 * b0 + (a0 * b0 >> 32), mid2 = a0 * b1 + (uint32_t)mid;
    *lo = a * b;
    return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/* Lemire, "Fast random integer generation in an interval", 2019: multiply, and redraw the few words that would favour some result. */
uint64_t ed_rng_below(ed_rng *r, uint64_t n) {
    uint64_t lo, hi;
    if (n <= 1)
        return 0;
    uint64_t redraw_below = (0 - n) % n; /* 2^64 mod n */
    do
        hi = mul_wide(ed_rng_u64(r), n, &lo);
    while (lo < redraw_below);
    return hi;
}

double ed_rng_normal(ed_rng *r) {
    return ed_normal_icdf(ed_rng_uniform(r));
}

double ed_rng_gumbel(ed_rng *r) {
    return -ed__log(-ed__log(ed_rng_uniform(r)));
}

double ed_rng_exponential(ed_rng *r) {
    return -ed__log(ed_rng_uniform(r));
}

void ed_rng_shuffle(ed_rng *r, int64_t *items, int64_t n) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)ed_rng_below(r, (uint64_t)i + 1), t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}
