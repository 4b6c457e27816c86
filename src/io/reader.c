/* io/reader.c - the bounded reader (reader.h). The single place where readers turn bytes into numbers. */
#include "io/reader.h"

ed__reader ed__reader_make(const void *data, size_t len) {
    return (ed__reader){data, len, 0};
}

bool ed__reader_take(ed__reader *r, size_t n, const unsigned char **out) {
    if (n > r->len - r->pos)
        return false;
    *out = r->data + r->pos;
    r->pos += n;
    return true;
}

bool ed__reader_skip(ed__reader *r, size_t n) {
    const unsigned char *p;
    return ed__reader_take(r, n, &p);
}

bool ed__reader_seek(ed__reader *r, size_t pos) {
    if (pos > r->len)
        return false;
    r->pos = pos;
    return true;
}

/* The next n <= 8 bytes as a little-endian number. */
static bool take_le(ed__reader *r, size_t n, uint64_t *out) {
    const unsigned char *p;
    uint64_t v = 0;
    if (!ed__reader_take(r, n, &p))
        return false;
    for (size_t i = n; i-- > 0;)
        v = v << 8 | p[i];
    *out = v;
    return true;
}

bool ed__reader_u8(ed__reader *r, uint8_t *out) {
    if (r->pos == r->len)
        return false;
    *out = r->data[r->pos++];
    return true;
}

bool ed__reader_u16(ed__reader *r, uint16_t *out) {
    uint64_t v;
    if (!take_le(r, 2, &v))
        return false;
    *out = (uint16_t)v;
    return true;
}

bool ed__reader_u32(ed__reader *r, uint32_t *out) {
    uint64_t v;
    if (!take_le(r, 4, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool ed__reader_u64(ed__reader *r, uint64_t *out) {
    return take_le(r, 8, out);
}

bool ed__reader_i32(ed__reader *r, int32_t *out) {
    uint32_t v;
    if (!ed__reader_u32(r, &v))
        return false;
    memcpy(out, &v, sizeof v);
    return true;
}

bool ed__reader_f32(ed__reader *r, float *out) {
    uint32_t v;
    if (!ed__reader_u32(r, &v))
        return false;
    memcpy(out, &v, sizeof v);
    return true;
}

bool ed__reader_i64(ed__reader *r, int64_t *out) {
    uint64_t v;
    if (!ed__reader_u64(r, &v))
        return false;
    memcpy(out, &v, sizeof v);
    return true;
}

bool ed__reader_f64(ed__reader *r, double *out) {
    uint64_t v;
    if (!ed__reader_u64(r, &v))
        return false;
    memcpy(out, &v, sizeof v);
    return true;
}
