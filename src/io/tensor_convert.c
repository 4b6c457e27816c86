/* io/tensor_convert.c - elements of file tensors converted to the library's formats (ed_file_tensor_read) and back (io/params_io.c).
 * Float formats go through f64, which holds each of them exactly; the way down to BF16 and F16 passes f32. Sources may be unaligned: all loads are
 * memcpy. Conversions are element-wise, so their result does not depend on the split over threads. */
#include <stdio.h>

#include "io/tensor_convert.h"

static bool file_is_float(ed_file_dtype d) {
    return d == ED_FILE_F16 || d == ED_FILE_BF16 || d == ED_FILE_F32 || d == ED_FILE_F64;
}

static bool file_is_int(ed_file_dtype d) {
    return d == ED_FILE_U8 || d == ED_FILE_I8 || d == ED_FILE_I16 || d == ED_FILE_U16 || d == ED_FILE_I32 || d == ED_FILE_U32 || d == ED_FILE_I64 ||
           d == ED_FILE_U64;
}

bool ed__convert_allowed(ed_file_dtype from, ed_dtype to) {
    return from == ed_file_dtype_of(to) || (file_is_float(from) && ed_dtype_is_float(to)) || (file_is_int(from) && to == ED_DTYPE_I32);
}

/* ---- one element */

static double load_float(ed_file_dtype d, const unsigned char *p) {
    uint16_t h;
    float f;
    double v;
    switch (d) {
    case ED_FILE_F16: memcpy(&h, p, 2); return ed_f16_to_f32(h);
    case ED_FILE_BF16: memcpy(&h, p, 2); return ed_bf16_to_f32(h);
    case ED_FILE_F32: memcpy(&f, p, 4); return f;
    default: memcpy(&v, p, 8); return v;
    }
}

static void store_float(ed_dtype d, double v, unsigned char *p) {
    float f = (float)v;
    uint16_t h;
    switch (d) {
    case ED_DTYPE_F16: h = ed_f32_to_f16(f); memcpy(p, &h, 2); break;
    case ED_DTYPE_BF16: h = ed_f32_to_bf16(f); memcpy(p, &h, 2); break;
    case ED_DTYPE_F32: memcpy(p, &f, 4); break;
    default: memcpy(p, &v, 8); break;
    }
}

/* Any integer format as int64; U64 beyond its range becomes INT64_MAX, which no target of ours holds either. */
static int64_t load_int(ed_file_dtype d, const unsigned char *p) {
    int8_t i8;
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    switch (d) {
    case ED_FILE_U8: return *p;
    case ED_FILE_I8: memcpy(&i8, p, 1); return i8;
    case ED_FILE_I16: memcpy(&i16, p, 2); return i16;
    case ED_FILE_U16: memcpy(&u16, p, 2); return u16;
    case ED_FILE_I32: memcpy(&i32, p, 4); return i32;
    case ED_FILE_U32: memcpy(&u32, p, 4); return u32;
    case ED_FILE_I64: memcpy(&i64, p, 8); return i64;
    default: memcpy(&u64, p, 8); return u64 > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)u64;
    }
}

/* ---- many elements */

typedef struct convert_job {
    const unsigned char *src;
    unsigned char *dst;
    ed_file_dtype from;
    ed_dtype to;
} convert_job;

static void float_range(void *ctx, int64_t begin, int64_t end) {
    const convert_job *j = ctx;
    size_t fs = ed_file_dtype_bytes(j->from), ts = ed_dtype_bytes(j->to);
    for (int64_t i = begin; i < end; i++)
        store_float(j->to, load_float(j->from, j->src + (size_t)i * fs), j->dst + (size_t)i * ts);
}

ed_status ed__convert_check(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, ed_error *err) {
    char text[160];
    size_t fs = ed_file_dtype_bytes(t->dtype);
    const unsigned char *src = (const unsigned char *)t->data + (size_t)first * fs;
    if (!ed__convert_allowed(t->dtype, to))
        return ed_error_set(err, ED_E_DTYPE, t->name, t->offset, "%s does not convert to %s", ed_file_tensor_text(t, text, sizeof text),
                            ed_dtype_name(to));
    if (to == ED_DTYPE_BOOL)
        for (int64_t i = 0; i < count; i++)
            if (src[i] > 1)
                return ed_error_set(err, ED_E_FORMAT, t->name, t->offset + (uint64_t)(first + i), "a BOOL of %u: only 0 and 1 are allowed", src[i]);
    if (to == ED_DTYPE_I32 && t->dtype != ED_FILE_I32)
        for (int64_t i = 0; i < count; i++) {
            int64_t v = load_int(t->dtype, src + (size_t)i * fs);
            if (v < INT32_MIN || v > INT32_MAX)
                return ed_error_set(err, ED_E_RANGE, t->name, t->offset + (uint64_t)(first + i) * fs, "%lld does not fit into i32", (long long)v);
        }
    return ED_OK;
}

void ed__convert_copy(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, void *out) {
    enum { GRAIN = 1 << 15 };
    size_t fs = ed_file_dtype_bytes(t->dtype);
    convert_job j = {(const unsigned char *)t->data + (size_t)first * fs, out, t->dtype, to};
    if (t->dtype == ed_file_dtype_of(to)) {
        if (count > 0)
            memcpy(out, j.src, (size_t)count * fs);
    } else if (ed_dtype_is_float(to)) {
        ed__parallel_for(count, GRAIN, float_range, &j);
    } else {
        for (int64_t i = 0; i < count; i++) {
            int32_t v = (int32_t)load_int(t->dtype, j.src + (size_t)i * fs);
            memcpy(j.dst + i * 4, &v, 4);
        }
    }
}

void ed__convert_floats(ed_file_dtype from, const void *src, ed_dtype to, void *dst, int64_t count) {
    convert_job j = {src, dst, from, to};
    float_range(&j, 0, count);
}

ed_status ed_file_tensor_read(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, void *out, ed_error *err) {
    int64_t numel = ed_file_tensor_numel(t);
    if (first < 0 || count < 0 || first > numel || count > numel - first)
        return ed_error_set(err, ED_E_RANGE, t->name, ED_NO_OFFSET, "elements %lld..+%lld of a tensor of %lld", (long long)first, (long long)count,
                            (long long)numel);
    ED_TRY(ed__convert_check(t, first, count, to, err));
    ed__convert_copy(t, first, count, to, out);
    return ED_OK;
}
