/* endec/inspect.h - probes that look into models.
 *
 * A probe runs a model on inputs made for one question and gives a number. It never changes the model. */
#ifndef ENDEC_INSPECT_H
#define ENDEC_INSPECT_H

#include "endec/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Identical-token test (Luo et al. 2022): one token, n times. A model whose only positions are biases inside the softmax gives n equal rows, because each
 *  row is a convex combination of equal vectors, with or without a causal mask; a gap above rounding shows that the model knows where it is.
 *  *gap: largest |state[i][k] - state[0][k]| over rows i and channels k of the final states (encoder's; decoder's for decoder-only models). n >= 2.
 *  ED_E_RANGE: token not in the vocabulary, or n beyond the model's absolute positions. */
ED_API ed_status ed_inspect_identical_token(const ed_model *m, int32_t token, int64_t n, double *gap, ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
