/* task/text_output.c - results as texts, shared by translation and generation. */
#include "task/text_output.h"

#include "base/internal.h"

ed_status ed__text_outputs_create(int64_t n, int64_t per_input, ed_text_outputs *out, ed_error *err) {
    *out = (ed_text_outputs){.n_inputs = n, .per_input = per_input};
    out->items = ed__calloc((size_t)(n * per_input) + 1, sizeof *out->items);
    ED_FAIL_IF(!out->items, ED_E_MEMORY, err, "no memory for %lld outputs", (long long)(n * per_input));
    return ED_OK;
}

void ed_text_outputs_deinit(ed_text_outputs *o) {
    for (int64_t i = 0; o->items && i < o->n_inputs * o->per_input; i++)
        ed__free(o->items[i].text);
    ed__free(o->items);
    *o = (ed_text_outputs){0};
}

ed_status ed__text_fill(const ed_text_model *m, const ed_result *r, ed_text_outputs *out, int64_t input, ed_error *err) {
    for (int64_t i = 0; i < r->n && i < out->per_input; i++) {
        const ed_hypothesis *h = &r->hyps[i];
        ed_text_output *o = &out->items[input * out->per_input + i];
        ed_token_text text = {0};
        ED_TRY(ed_tokenizer_decode(m->tokenizer, h->ids, h->n, ED_DECODE_SKIP_SPECIAL, &text, err));
        *o = (ed_text_output){.text = ed__strndup(text.data ? text.data : "", text.n), .bytes = text.n, .score = h->score, .sum_logprob = h->sum_logprob,
                              .tokens = h->n, .finish = h->finish};
        ed_token_text_deinit(&text);
        ED_FAIL_IF(!o->text, ED_E_MEMORY, err, "no memory for an output");
    }
    return ED_OK;
}
