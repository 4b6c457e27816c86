/* tensor/kernel/linear.c - scaled sums and products of arrays. Elementwise, so the order cannot matter; multiply-adds are fused where the level can. */
#include "tensor/kernel/level.h"

/* Runs STEP(load, store) over vectors, then over the rest as a part of one. */
#define LD_PART(p) vload_part(p, n - i)
#define ST_PART(p, r) vstore_part(p, r, n - i)
#define EACH(STEP)                  \
    do {                            \
        int64_t i = 0;              \
        for (; i + W <= n; i += W)  \
            STEP(vload, vstore);    \
        if (i < n)                  \
            STEP(LD_PART, ST_PART); \
    } while (0)

void EDK(axpy)(float a, const float *x, float *y, int64_t n) {
    const vf va = vset(a);
#define STEP(LD, ST) ST(y + i, vfma(va, LD(x + i), LD(y + i)))
    EACH(STEP);
#undef STEP
}

void EDK(axpby)(float a, const float *x, float b, float *y, int64_t n) {
    const vf va = vset(a), vb = vset(b);
#define STEP(LD, ST) ST(y + i, vfma(va, LD(x + i), vb * LD(y + i)))
    EACH(STEP);
#undef STEP
}

void EDK(scale)(float a, float *y, int64_t n) {
    const vf va = vset(a);
#define STEP(LD, ST) ST(y + i, va * LD(y + i))
    EACH(STEP);
#undef STEP
}

void EDK(add)(const float *x, float *y, int64_t n) {
#define STEP(LD, ST) ST(y + i, LD(x + i) + LD(y + i))
    EACH(STEP);
#undef STEP
}

void EDK(mul)(const float *x, const float *y, float *z, int64_t n) {
#define STEP(LD, ST) ST(z + i, LD(x + i) * LD(y + i))
    EACH(STEP);
#undef STEP
}

void EDK(mul_add)(const float *x, const float *y, float *z, int64_t n) {
#define STEP(LD, ST) ST(z + i, vfma(LD(x + i), LD(y + i), LD(z + i)))
    EACH(STEP);
#undef STEP
}
