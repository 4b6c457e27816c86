/* endec/text.h - text in, text out: models joined with their tokenizers. The task layer, above decode and io. */
#ifndef ENDEC_TEXT_H
#define ENDEC_TEXT_H

#include "endec/decode.h"
#include "endec/model.h"
#include "endec/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model with its tokenizer. */
typedef struct ed_text_model {
    ed_model *model;
    ed_tokenizer *tokenizer;
} ed_text_model;
/** From a folder (config.json, weights, tokenizer), or a llama2.c file or folder with its tokenizer (tok*.bin) beside it. dtype as in ed_model_load. A tokenizer with
 *  more entries than the model's vocabulary is refused (ED_E_RANGE). */
ED_API ed_status ed_text_model_load(const char *path, ed_dtype dtype, ed_text_model *out, ed_error *err);
ED_API void ed_text_model_deinit(ed_text_model *m);
/** Token ids for an encoder's input (with the tokenizer's own special tokens) or a decoder's prompt (with its begin token, without an end token). Appends to *out. */
ED_API ed_status ed_text_encode(const ed_text_model *m, const char *text, size_t bytes, ed_token_ids *out, ed_error *err);

/** One output text; from the library, freed by ed_text_outputs_deinit. */
typedef struct ed_text_output {
    char *text; /* NUL-terminated; perhaps not UTF-8 when a limit cut a sequence inside a character */
    size_t bytes;
    double score, sum_logprob;
    int64_t tokens;
    ed_finish finish;
} ed_text_output;
typedef struct ed_text_outputs {
    ed_text_output *items; /* [n_inputs * per_input], best first for each input; text NULL where beam search found fewer */
    int64_t n_inputs, per_input;
} ed_text_outputs;
ED_API void ed_text_outputs_deinit(ed_text_outputs *o);
/** Translates lines with an encoder-decoder model (num_return_sequences outputs each). An empty line gives an empty output. Sources beyond the model's context are cut, with a
 *  warning to the log. stats may be NULL. */
ED_API ed_status ed_text_translate(const ed_text_model *m, const char *const *lines, const size_t *bytes, int64_t n, const ed_decode_opts *opts,
                                   ed_text_outputs *out, ed_decode_stats *stats, ed_error *err);
/** Continues a prompt with a decoder-only model. on_text gets the new text as it grows, always whole UTF-8 characters where the bytes allow it (NULL: off); return false to stop. */
typedef bool (*ed_text_fn)(void *user, const char *text, size_t bytes);
ED_API ed_status ed_text_generate(const ed_text_model *m, const char *prompt, size_t bytes, const ed_decode_opts *opts, ed_text_fn on_text, void *user,
                                  ed_text_outputs *out, ed_decode_stats *stats, ed_error *err);
/** Mean negative log-likelihood of a text under a decoder-only model: rows of `length` tokens of which the last `stride` are counted (0: length; the first row counts all).
 *  *tokens: how many were counted. */
ED_API ed_status ed_text_nll(const ed_text_model *m, const char *text, size_t bytes, int64_t length, int64_t stride, double *nats_per_token, int64_t *tokens,
                             ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
