/* decode/options.c - the option table of generation, lists of ids, and the checks of options and prompts. */
#include "decode/decode.h"

#include <math.h>
#include <stdio.h>

#define FIELD(f) offsetof(ed_decode_opts, f)
#define BIG 1e12

static const char *const early[] = {"false", "true", "never", NULL}; /* order of ed_early_stopping */

static const ed_option table[] = {
    {"max_new_tokens", ED_OPT_INT, FIELD(max_new_tokens), 1, 1e9, NULL, "N", "most new tokens", 'n'},
    {"min_new_tokens", ED_OPT_INT, FIELD(min_new_tokens), 0, 1e9, NULL, "N", "no end token before N new tokens", 0},
    {"max_length_ratio", ED_OPT_FLOAT, FIELD(max_length_ratio), 0, 1e6, NULL, "A", "at most A * source tokens + max_length_extra new tokens (0: off)", 0},
    {"max_length_extra", ED_OPT_INT, FIELD(max_length_extra), 0, 1e9, NULL, "B", "see max_length_ratio", 0},
    {"num_beams", ED_OPT_INT, FIELD(num_beams), 1, 1024, NULL, "N", "beams of the search (1: none)", 0},
    {"num_return_sequences", ED_OPT_INT, FIELD(num_return_sequences), 1, 1024, NULL, "N", "best hypotheses, or samples, per prompt", 0},
    {"length_penalty", ED_OPT_FLOAT, FIELD(length_penalty), -100, 100, NULL, "X", "beams: score = sum of log-probabilities / length^X", 0},
    {"early_stopping", ED_OPT_ENUM, FIELD(early_stopping), 0, 0, early, "WHEN",
     "beams: true stops at num_beams hypotheses; false when the best running beam looks worse; never only when none can win", 0},
    {"temperature", ED_OPT_FLOAT, FIELD(temperature), 0, 1e6, NULL, "X", "divides the logits before sampling (0: greedy)", 0},
    {"top_k", ED_OPT_INT, FIELD(top_k), 0, 1e9, NULL, "N", "sample from the N likeliest tokens (0: all)", 0},
    {"top_p", ED_OPT_FLOAT, FIELD(top_p), 0, 1, NULL, "P", "sample from the fewest tokens that hold P of the probability (1: all)", 0},
    {"min_p", ED_OPT_FLOAT, FIELD(min_p), 0, 1, NULL, "P", "drop tokens below P times the likeliest (0: off)", 0},
    {"seed", ED_OPT_INT, FIELD(seed), 0, 9e15, NULL, "N", "seed of sampling", 0},
    {"repetition_penalty", ED_OPT_FLOAT, FIELD(repetition_penalty), 1e-6, 1e6, NULL, "X", "divides (negative: multiplies) logits of tokens already there (1: off)", 0},
    {"presence_penalty", ED_OPT_FLOAT, FIELD(presence_penalty), -1e6, 1e6, NULL, "X", "subtracted from logits of tokens generated before", 0},
    {"frequency_penalty", ED_OPT_FLOAT, FIELD(frequency_penalty), -1e6, 1e6, NULL, "X", "subtracted once for each time the token was generated", 0},
    {"no_repeat_ngram_size", ED_OPT_INT, FIELD(no_repeat_ngram_size), 0, 1e6, NULL, "N", "no N-gram twice (0: off)", 0},
    {"bad_words_ids", ED_OPT_STRING, FIELD(bad_words_ids), 0, 0, NULL, "IDS", "token sequences that may not be completed: \"7;8,9\"", 0},
    {"eos_token_id", ED_OPT_STRING, FIELD(eos_token_id), 0, 0, NULL, "IDS", "ids that end a sequence (unset: the model's; empty: none)", 0},
    {"forced_bos_token_id", ED_OPT_INT, FIELD(forced_bos_token_id), -1, 1e9, NULL, "ID", "first token behind the decoder's start token (-1: free)", 0},
    {"forced_eos_token_id", ED_OPT_INT, FIELD(forced_eos_token_id), -1, 1e9, NULL, "ID", "token forced at the length limit (-1: free)", 0},
    {"batch_size", ED_OPT_INT, FIELD(batch_size), 1, 1 << 16, NULL, "N", "prompts in work at a time", 'b'},
    {"batch_tokens", ED_OPT_INT, FIELD(batch_tokens), 1, 1e9, NULL, "N", "most prompt or source tokens in one pass", 0},
    {"logprobs", ED_OPT_BOOL, FIELD(logprobs), 0, 0, NULL, NULL, "log-probabilities of the chosen tokens", 0},
};

ed_decode_opts ed_decode_opts_default(void) {
    return (ed_decode_opts){.max_new_tokens = 256, .num_beams = 1, .num_return_sequences = 1, .length_penalty = 1, .top_p = 1, .repetition_penalty = 1,
                            .forced_bos_token_id = -1, .forced_eos_token_id = -1, .batch_size = 32, .batch_tokens = 2048, .logprobs = true};
}

const ed_option *ed_decode_options(size_t *n) {
    *n = sizeof table / sizeof *table;
    return table;
}

void ed_decode_opts_deinit(ed_decode_opts *o) {
    ed_options_release(table, sizeof table / sizeof *table, o);
}

/* ------------------------------------------------------------------ lists of ids */

void ed__id_list_deinit(ed__id_list *l) {
    ed__free(l->ids);
    ed__free(l->ends);
    *l = (ed__id_list){0};
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/** Reads one id at *at and moves behind it; false when no id in [0, vocab) stands there. */
static bool read_id(const char **at, int64_t vocab, int32_t *id) {
    const char *s = *at;
    int64_t v = 0;
    while (is_blank(*s))
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++)
        if ((v = v * 10 + (*s - '0')) >= vocab)
            return false;
    while (is_blank(*s))
        s++;
    *id = (int32_t)v;
    *at = s;
    return true;
}

static ed_status parse_into(const char *key, const char *text, int64_t vocab, ed__id_list *l, ed_error *err) {
    for (const char *at = text;; at++) {
        ED_FAIL_IF(!read_id(&at, vocab, &l->ids[l->n]), ED_E_INVALID, err, "%s: '%.40s' does not begin with a token id from 0 to %lld", key, at,
                   (long long)vocab - 1);
        l->n++;
        ED_FAIL_IF(*at && *at != ',' && *at != ';', ED_E_INVALID, err, "%s: '%.40s': ids are parted by ',', sequences by ';'", key, at);
        if (*at != ',')
            l->ends[l->n_seqs++] = l->n;
        if (!*at)
            return ED_OK;
    }
}

ed_status ed__id_list_parse(const char *key, const char *text, int64_t vocab, ed__id_list *out, ed_error *err) {
    *out = (ed__id_list){0};
    while (text && is_blank(*text))
        text++;
    if (!text || !*text)
        return ED_OK;
    size_t most = strlen(text) / 2 + 1; /* an id takes two characters, but for the last */
    out->ids = ed__malloc(most * sizeof *out->ids);
    out->ends = ed__malloc(most * sizeof *out->ends);
    ed_status s = out->ids && out->ends ? parse_into(key, text, vocab, out, err) : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %s", key);
    if (s != ED_OK)
        ed__id_list_deinit(out);
    return s;
}

ed_status ed__eos_list(const ed_decode_opts *o, const ed_model_config *c, ed__id_list *out, ed_error *err) {
    if (o->eos_token_id || c->eos_id < 0)
        return ed__id_list_parse("eos_token_id", o->eos_token_id, c->vocab_size, out, err);
    *out = (ed__id_list){.ids = ed__malloc(sizeof(int32_t)), .ends = ed__malloc(sizeof(int64_t)), .n = 1, .n_seqs = 1};
    if (!out->ids || !out->ends) {
        ed__id_list_deinit(out);
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for eos_token_id");
    }
    out->ids[0] = (int32_t)c->eos_id;
    out->ends[0] = 1;
    return ED_OK;
}

/* ------------------------------------------------------------------ checks */

static ed_status check_bounds(const ed_decode_opts *o, ed_error *err) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *field = (const char *)o + table[i].offset;
        double v = 0;
        if (table[i].type == ED_OPT_INT)
            v = (double)*(const int64_t *)(const void *)field;
        else if (table[i].type == ED_OPT_FLOAT)
            v = *(const double *)(const void *)field;
        else
            continue;
        ED_FAIL_IF(!(v >= table[i].min && v <= table[i].max), ED_E_RANGE, err, "%s is %g; allowed is %g to %g", table[i].key, v, table[i].min, table[i].max);
    }
    ED_FAIL_IF(o->early_stopping < 0 || o->early_stopping > ED_EARLY_NEVER, ED_E_RANGE, err, "early_stopping is false, true or never");
    return ED_OK;
}

ed_status ed_decode_opts_check(const ed_decode_opts *o, const ed_model_config *c, ed_error *err) {
    ed__id_list ids;
    ED_TRY(check_bounds(o, err));
    ED_FAIL_IF(c->kind == ED_MODEL_ENCODER, ED_E_UNSUPPORTED, err, "an encoder-only model cannot generate");
    ED_FAIL_IF(o->forced_bos_token_id >= c->vocab_size || o->forced_eos_token_id >= c->vocab_size, ED_E_RANGE, err,
               "forced token %lld is not in the vocabulary of %lld",
               (long long)(o->forced_bos_token_id >= c->vocab_size ? o->forced_bos_token_id : o->forced_eos_token_id), (long long)c->vocab_size);
    ED_FAIL_IF(o->num_beams > 1 && o->temperature > 0, ED_E_INVALID, err, "beam search does not sample: num_beams %lld needs temperature 0",
               (long long)o->num_beams);
    ED_FAIL_IF(o->num_beams > 1 && o->num_return_sequences > o->num_beams, ED_E_INVALID, err, "num_return_sequences %lld is more than num_beams %lld",
               (long long)o->num_return_sequences, (long long)o->num_beams);
    ED_FAIL_IF(o->num_beams == 1 && o->temperature <= 0 && o->num_return_sequences > 1, ED_E_INVALID, err,
               "greedy decoding has one answer: num_return_sequences %lld needs beams or a temperature", (long long)o->num_return_sequences);
    ED_TRY(ed__eos_list(o, c, &ids, err));
    ed__id_list_deinit(&ids);
    ED_TRY(ed__id_list_parse("bad_words_ids", o->bad_words_ids, c->vocab_size, &ids, err));
    ed__id_list_deinit(&ids);
    return ED_OK;
}

int64_t ed__max_new(const ed_decode_opts *o, int64_t n) {
    int64_t most = o->max_new_tokens;
    if (o->max_length_ratio > 0) {
        double by_ratio = floor(o->max_length_ratio * (double)n) + (double)o->max_length_extra;
        if (by_ratio < (double)most)
            most = by_ratio < 1 ? 1 : (int64_t)by_ratio;
    }
    return most;
}

int64_t ed__width(const ed_decode_opts *o) {
    return o->num_beams > 1 ? o->num_beams : o->num_return_sequences;
}

static ed_status check_ids(const char *what, const int32_t *ids, int64_t n, int64_t vocab, const char *name, ed_error *err) {
    ED_FAIL_IF(n < 0 || (n > 0 && !ids), ED_E_INVALID, err, "%s%s has %lld tokens and no ids", name, what, (long long)n);
    for (int64_t i = 0; i < n; i++)
        ED_FAIL_IF(ids[i] < 0 || ids[i] >= vocab, ED_E_RANGE, err, "%s%s: token %lld is %d, but the vocabulary has %lld entries", name, what, (long long)i,
                   ids[i], (long long)vocab);
    return ED_OK;
}

ed_status ed__prompt_check(const ed_model_config *c, const ed_prompt *p, int64_t context, int64_t which, int64_t *n_decoder, ed_error *err) {
    char text[40] = "";
    if (which >= 0)
        snprintf(text, sizeof text, "prompt %lld: ", (long long)which);
    bool pair = c->kind == ED_MODEL_ENCDEC;
    ED_TRY(check_ids(pair ? "source" : "text", p->ids, p->n, c->vocab_size, text, err));
    ED_TRY(check_ids("prefix", p->prefix, p->n_prefix, c->vocab_size, text, err));
    ED_FAIL_IF(!pair && p->n_prefix, ED_E_INVALID, err, "%sa prefix belongs to encoder-decoder models", text);
    ED_FAIL_IF(p->n == 0 && c->bos_id < 0, ED_E_INVALID, err, "%sempty, and the model has no begin token to stand for it", text);
    ED_FAIL_IF(pair && c->decoder_start_id < 0 && c->bos_id < 0, ED_E_INVALID, err, "%sthe model has neither decoder_start_id nor bos_id to start with", text);
    ED_FAIL_IF(pair && p->n > c->max_positions, ED_E_LIMIT, err, "%sthe source has %lld tokens; the model's longest sequence is %lld", text,
               (long long)p->n, (long long)c->max_positions);
    *n_decoder = pair ? 1 + p->n_prefix : p->n ? p->n : 1;
    ED_FAIL_IF(*n_decoder > context, ED_E_LIMIT, err, "%s%lld tokens; the context holds %lld", text, (long long)*n_decoder, (long long)context);
    return ED_OK;
}
