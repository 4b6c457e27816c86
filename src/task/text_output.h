/* task/text_output.h - results as texts, shared by translation and generation. */
#ifndef ED_TASK_TEXT_OUTPUT_H
#define ED_TASK_TEXT_OUTPUT_H

#include "endec/text.h"

ed_status ed__text_outputs_create(int64_t n_inputs, int64_t per_input, ed_text_outputs *out, ed_error *err);
/** Texts of the hypotheses of one input, special tokens left out. */
ed_status ed__text_fill(const ed_text_model *m, const ed_result *r, ed_text_outputs *out, int64_t input, ed_error *err);

#endif
