/* tensor/dtype.c - names and sizes of number formats, and conversions of single numbers. */
#include "endec/tensor.h"

#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
    bool is_float;
} rows[ED_DTYPE_COUNT] = {
    [ED_DTYPE_F32] = {"f32", 4, true}, [ED_DTYPE_F64] = {"f64", 8, true}, [ED_DTYPE_BF16] = {"bf16", 2, true}, [ED_DTYPE_F16] = {"f16", 2, true},
    [ED_DTYPE_I32] = {"i32", 4, false}, [ED_DTYPE_U8] = {"u8", 1, false}, [ED_DTYPE_BOOL] = {"bool", 1, false},
};

static bool known(ed_dtype d) {
    return (int)d >= 0 && d < ED_DTYPE_COUNT;
}

const char *ed_dtype_name(ed_dtype d) {
    return known(d) ? rows[d].name : "?";
}

size_t ed_dtype_bytes(ed_dtype d) {
    return known(d) ? rows[d].bytes : 0;
}

bool ed_dtype_is_float(ed_dtype d) {
    return known(d) && rows[d].is_float;
}

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

uint16_t ed_f32_to_bf16(float x) {
    uint32_t u = bits_of(x);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u); /* quiet NaN, sign and payload top kept */
    u += 0x7fffu + ((u >> 16) & 1u);
    return (uint16_t)(u >> 16);
}

float ed_bf16_to_f32(uint16_t x) {
    return float_of((uint32_t)x << 16);
}

uint16_t ed_f32_to_f16(float x) {
    uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((a >> 13) & 0x1ffu));
    if (a >= 0x477ff000u) /* rounds to 65520 or more: infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: subnormal; adding 0.5 aligns the unit in the last place with 2^-24 and rounds to nearest even */
        float v = float_of(a) + 0.5f;
        return (uint16_t)(sign | (bits_of(v) - 0x3f000000u));
    }
    a += 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((a - 0x38000000u) >> 13));
}

float ed_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 31u, m = h & 0x3ffu;
    if (e == 31)
        return float_of(sign | 0x7f800000u | (m << 13));
    if (e == 0) {
        float v = (float)m * 0x1p-24f;
        return float_of(bits_of(v) | sign);
    }
    return float_of(sign | ((e + 112u) << 23) | (m << 13));
}
