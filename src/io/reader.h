/* io/reader.h - the bounded reader of outside bytes: pointer, length, position. Every take is checked; a take that does not fit returns false and
 * moves nothing. Numbers are little-endian. */
#ifndef ED_IO_READER_H
#define ED_IO_READER_H

#include "base/internal.h"

typedef struct ed__reader {
    const unsigned char *data; /* [len] */
    size_t len, pos;           /* pos <= len, always */
} ed__reader;

ed__reader ed__reader_make(const void *data, size_t len);
static inline size_t ed__reader_left(const ed__reader *r) {
    return r->len - r->pos;
}
/** The next n bytes, in place. */
bool ed__reader_take(ed__reader *r, size_t n, const unsigned char **out);
bool ed__reader_skip(ed__reader *r, size_t n);
/** To an absolute position <= len. */
bool ed__reader_seek(ed__reader *r, size_t pos);
bool ed__reader_u8(ed__reader *r, uint8_t *out);
bool ed__reader_u16(ed__reader *r, uint16_t *out);
bool ed__reader_u32(ed__reader *r, uint32_t *out);
bool ed__reader_u64(ed__reader *r, uint64_t *out);
bool ed__reader_i32(ed__reader *r, int32_t *out);
bool ed__reader_i64(ed__reader *r, int64_t *out);
bool ed__reader_f32(ed__reader *r, float *out);
bool ed__reader_f64(ed__reader *r, double *out);

#endif
