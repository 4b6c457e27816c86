/* io/tensor_convert.h - conversion of file tensors, in two halves so that a whole set can be checked before anything is written. */
#ifndef ED_IO_TENSOR_CONVERT_H
#define ED_IO_TENSOR_CONVERT_H

#include "base/internal.h"
#include "endec/io.h"

bool ed__convert_allowed(ed_file_dtype from, ed_dtype to);
/** Is the conversion allowed, and does every value fit? Elements [first, first+count) must exist. */
ed_status ed__convert_check(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, ed_error *err);
/** Converts what ed__convert_check accepted. out: [count]. */
void ed__convert_copy(const ed_file_tensor *t, int64_t first, int64_t count, ed_dtype to, void *out);
/** `count` floats of a float format, on the calling thread. */
void ed__convert_floats(ed_file_dtype from, const void *src, ed_dtype to, void *dst, int64_t count);

#endif
