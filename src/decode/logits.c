/* decode/logits.c - the logit chain: every processor between the model's logits and the law of the next token, as rows of one table.
 *
 * A chain is shared rules plus the state of one path: its tokens and, for penalties, the distinct tokens with their counts. Processors run in the table's order, which is
 * Hugging Face's, and each has their definition (transformers, generation/logits_process.py); presence and frequency penalties are OpenAI's. */
#include "decode/decode.h"

#include <math.h>

#include "tensor/kernel.h"

enum { MAX_TOKENS = INT32_MAX, BLOCK = 256 };

typedef struct rules {
    int refs;
    ed_decode_opts o; /* numbers only */
    int64_t vocab;
    ed__id_list eos, bad;
    bool counts; /* penalties are on: distinct tokens are kept */
    bool active;
} rules;

struct ed_logit_chain {
    rules *r;
    int32_t *tokens; /* [n] */
    size_t cap;
    int64_t n, n_prompt, max_new;
    int32_t *seen;  /* [n_seen] distinct tokens, with penalties only */
    int32_t *count; /* [n_seen] how often among the new ones */
    size_t cap_seen, cap_count;
    int64_t n_seen;
};

/* ------------------------------------------------------------------ processors */

typedef struct processor {
    const char *name;
    bool (*on)(const rules *r);
    void (*apply)(const ed_logit_chain *c, float *row, int32_t *scratch);
} processor;

static void ban_all_but(const ed_logit_chain *c, float *row, int64_t id) {
    for (int64_t i = 0; i < c->r->vocab; i++)
        row[i] = -INFINITY;
    row[id] = 0;
}

static bool repetition_on(const rules *r) {
    return r->o.repetition_penalty != 1;
}
static void repetition(const ed_logit_chain *c, float *row, int32_t *scratch) {
    float p = (float)c->r->o.repetition_penalty;
    (void)scratch;
    for (int64_t i = 0; i < c->n_seen; i++) {
        float *x = &row[c->seen[i]];
        *x = *x < 0 ? *x * p : *x / p;
    }
}

static bool presence_on(const rules *r) {
    return r->o.presence_penalty != 0 || r->o.frequency_penalty != 0;
}
static void presence(const ed_logit_chain *c, float *row, int32_t *scratch) {
    (void)scratch;
    for (int64_t i = 0; i < c->n_seen; i++)
        if (c->count[i] > 0)
            row[c->seen[i]] -= (float)(c->r->o.presence_penalty + c->r->o.frequency_penalty * c->count[i]);
}

static bool ngram_on(const rules *r) {
    return r->o.no_repeat_ngram_size > 0;
}
/** Bans every token that would complete an n-gram which the path has already. */
static void ngram(const ed_logit_chain *c, float *row, int32_t *scratch) {
    int64_t prefix = c->r->o.no_repeat_ngram_size - 1;
    (void)scratch;
    if (c->n <= prefix)
        return;
    const int32_t *suffix = c->tokens + c->n - prefix;
    for (int64_t i = 0; i + prefix < c->n; i++)
        if (memcmp(c->tokens + i, suffix, (size_t)prefix * sizeof *suffix) == 0)
            row[c->tokens[i + prefix]] = -INFINITY;
}

static bool bad_on(const rules *r) {
    return r->bad.n_seqs > 0;
}
static void bad(const ed_logit_chain *c, float *row, int32_t *scratch) {
    (void)scratch;
    for (int64_t i = 0, begin = 0; i < c->r->bad.n_seqs; begin = c->r->bad.ends[i++]) {
        const int32_t *seq = c->r->bad.ids + begin;
        int64_t prefix = c->r->bad.ends[i] - begin - 1;
        if (prefix == 0 && ed_logit_chain_is_eos(c, seq[0]))
            continue; /* an end token stays possible */
        if (prefix <= c->n && memcmp(c->tokens + c->n - prefix, seq, (size_t)prefix * sizeof *seq) == 0)
            row[seq[prefix]] = -INFINITY;
    }
}

static bool min_new_on(const rules *r) {
    return r->o.min_new_tokens > 0 && r->eos.n > 0;
}
static void min_new(const ed_logit_chain *c, float *row, int32_t *scratch) {
    (void)scratch;
    for (int64_t i = 0; c->n - c->n_prompt < c->r->o.min_new_tokens && i < c->r->eos.n; i++)
        row[c->r->eos.ids[i]] = -INFINITY;
}

static bool forced_first_on(const rules *r) {
    return r->o.forced_bos_token_id >= 0;
}
static void forced_first(const ed_logit_chain *c, float *row, int32_t *scratch) {
    (void)scratch;
    if (c->n == 1)
        ban_all_but(c, row, c->r->o.forced_bos_token_id);
}

static bool forced_last_on(const rules *r) {
    return r->o.forced_eos_token_id >= 0;
}
static void forced_last(const ed_logit_chain *c, float *row, int32_t *scratch) {
    (void)scratch;
    if (c->n - c->n_prompt == c->max_new - 1)
        ban_all_but(c, row, c->r->o.forced_eos_token_id);
}

static bool temperature_on(const rules *r) {
    return r->o.temperature > 0 && r->o.temperature != 1;
}
static void temperature(const ed_logit_chain *c, float *row, int32_t *scratch) {
    float t = (float)c->r->o.temperature;
    (void)scratch;
    for (int64_t i = 0; i < c->r->vocab; i++)
        row[i] /= t;
}

static bool top_k_on(const rules *r) {
    return r->o.temperature > 0 && r->o.top_k > 0 && r->o.top_k < r->vocab;
}
/** Keeps what is not below the k-th largest, found with a heap of ids whose root is the smallest of the k largest so far. */
static void top_k(const ed_logit_chain *c, float *row, int32_t *scratch) {
    const ed__kernel_table *kt = ed__kernels();
    int64_t v = c->r->vocab, k = c->r->o.top_k, n = 0;
    for (int64_t i = 0; i < v; i += BLOCK) {
        int64_t end = v - i < BLOCK ? v : i + BLOCK;
        if (n == k && kt->max(row + i, end - i) <= row[scratch[0]])
            continue;
        for (int64_t j = i; j < end; j++) {
            int64_t at;
            if (n == k && !(row[j] > row[scratch[0]]))
                continue;
            if (n < k) { /* up from the end */
                for (at = n++; at > 0 && row[j] < row[scratch[(at - 1) / 2]]; at = (at - 1) / 2)
                    scratch[at] = scratch[(at - 1) / 2];
            } else { /* down from the root */
                int64_t child;
                for (at = 0; (child = 2 * at + 1) < k; at = child) {
                    child += child + 1 < k && row[scratch[child + 1]] < row[scratch[child]];
                    if (!(row[scratch[child]] < row[j]))
                        break;
                    scratch[at] = scratch[child];
                }
            }
            scratch[at] = (int32_t)j;
        }
    }
    float least = row[scratch[0]];
    for (int64_t i = 0; i < v; i++)
        row[i] = row[i] < least ? -INFINITY : row[i]; /* ties with the k-th stay */
}

static bool top_p_on(const rules *r) {
    return r->o.temperature > 0 && r->o.top_p < 1;
}

static bool before(const float *row, int32_t a, int32_t b) {
    return row[a] > row[b] || (row[a] == row[b] && a < b);
}

static void order_down(const float *row, int32_t *heap, int64_t at, int64_t n) {
    int32_t id = heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && before(row, heap[child + 1], heap[child]);
        if (!before(row, heap[child], id))
            break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

/** Keeps the likeliest tokens up to and with the one that brings their sum to top_p. A heap gives them in order, so that only the kept ones are sorted. */
static void top_p(const ed_logit_chain *c, float *row, int32_t *scratch) {
    const ed__kernel_table *kt = ed__kernels();
    int64_t v = c->r->vocab, n = 0;
    float max;
    double mass = ed__row_mass(row, v, &max), sum = 0;
    if (isnan(mass))
        return;
    /* all tokens below (1 - top_p) / v together hold less than 1 - top_p: none of them is kept (a little slack for rounding; the likeliest always stays) */
    double floor_logit = (double)max + ed__log(fmax((1 - c->r->o.top_p) * mass / (double)v, 1e-300)) - 0.01;
    float lowest = floor_logit < (double)max ? (float)floor_logit : max;
    for (int64_t i = 0; i < v; i += BLOCK) {
        int64_t end = v - i < BLOCK ? v : i + BLOCK;
        for (int64_t j = kt->max(row + i, end - i) >= lowest ? i : end; j < end; j++)
            if (row[j] >= lowest)
                scratch[n++] = (int32_t)j;
    }
    for (int64_t i = n / 2; i-- > 0;)
        order_down(row, scratch, i, n);
    int32_t last = scratch[0];
    do {
        float e;
        last = scratch[0];
        kt->exp_sub(&row[last], max, &e, 1);
        sum += (double)e;
        scratch[0] = scratch[--n];
        order_down(row, scratch, 0, n > 0 ? n : 1);
    } while (n > 0 && sum < c->r->o.top_p * mass);
    float least = row[last];
    for (int64_t i = 0; i <= last; i++)
        row[i] = row[i] < least ? -INFINITY : row[i];
    for (int64_t i = last + 1; i < v; i++)
        row[i] = row[i] <= least ? -INFINITY : row[i];
}

static bool min_p_on(const rules *r) {
    return r->o.temperature > 0 && r->o.min_p > 0;
}
static void min_p(const ed_logit_chain *c, float *row, int32_t *scratch) {
    double least = ed__kernels()->max(row, c->r->vocab) + ed__log(c->r->o.min_p);
    (void)scratch;
    for (int64_t i = 0; i < c->r->vocab; i++)
        row[i] = (double)row[i] < least ? -INFINITY : row[i];
}

static const processor table[] = {
    {"repetition_penalty", repetition_on, repetition},
    {"presence_and_frequency_penalty", presence_on, presence},
    {"no_repeat_ngram", ngram_on, ngram},
    {"bad_words", bad_on, bad},
    {"min_new_tokens", min_new_on, min_new},
    {"forced_bos", forced_first_on, forced_first},
    {"forced_eos", forced_last_on, forced_last},
    {"temperature", temperature_on, temperature},
    {"top_k", top_k_on, top_k},
    {"top_p", top_p_on, top_p},
    {"min_p", min_p_on, min_p},
};

void ed_logit_chain_apply(const ed_logit_chain *c, float *row, int32_t *scratch) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].on(c->r))
            table[i].apply(c, row, scratch);
}

bool ed_logit_chain_active(const ed_logit_chain *c) {
    return c->r->active;
}

/* ------------------------------------------------------------------ rules */

static void rules_release(rules **r) {
    if (*r && --(*r)->refs == 0) {
        ed__id_list_deinit(&(*r)->eos);
        ed__id_list_deinit(&(*r)->bad);
        ed__free(*r);
    }
    *r = NULL;
}

static ed_status rules_create(const ed_decode_opts *o, const ed_model_config *c, rules **out, ed_error *err) {
    rules *r = ed__calloc(1, sizeof *r);
    ED_FAIL_IF(!r, ED_E_MEMORY, err, "no memory for the rules of a sequence");
    r->refs = 1;
    r->vocab = c->vocab_size;
    r->o = *o;
    r->o.bad_words_ids = r->o.eos_token_id = NULL;
    ed_status s = ed__eos_list(o, c, &r->eos, err);
    if (s == ED_OK)
        s = ed__id_list_parse("bad_words_ids", o->bad_words_ids, r->vocab, &r->bad, err);
    r->counts = repetition_on(r) || presence_on(r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        r->active |= table[i].on(r);
    if (s != ED_OK)
        rules_release(&r);
    *out = r;
    return s;
}

/* ------------------------------------------------------------------ paths */

/** Counts a token among the distinct ones. A linear search: paths are short beside vocabularies, and only penalties ask. */
static ed_status note(ed_logit_chain *c, int32_t token, bool is_new) {
    int64_t i = 0;
    while (i < c->n_seen && c->seen[i] != token)
        i++;
    if (i == c->n_seen) {
        ED_TRY(ed__grow((void **)&c->seen, &c->cap_seen, (size_t)i + 1, sizeof *c->seen, MAX_TOKENS));
        ED_TRY(ed__grow((void **)&c->count, &c->cap_count, (size_t)i + 1, sizeof *c->count, MAX_TOKENS));
        c->seen[i] = token;
        c->count[i] = 0;
        c->n_seen++;
    }
    c->count[i] += is_new;
    return ED_OK;
}

static ed_status append(ed_logit_chain *c, int32_t token, bool is_new) {
    ED_TRY(ed__grow((void **)&c->tokens, &c->cap, (size_t)c->n + 1, sizeof *c->tokens, MAX_TOKENS));
    if (c->r->counts)
        ED_TRY(note(c, token, is_new));
    c->tokens[c->n++] = token;
    return ED_OK;
}

ed_status ed_logit_chain_create(const ed_decode_opts *o, const ed_model_config *config, const int32_t *prompt, int64_t n, int64_t max_new,
                                ed_logit_chain **out, ed_error *err) {
    *out = NULL;
    ed_logit_chain *c = ed__calloc(1, sizeof *c);
    ED_FAIL_IF(!c, ED_E_MEMORY, err, "no memory for a sequence");
    ed_status s = ed_decode_opts_check(o, config, err);
    if (s == ED_OK)
        s = rules_create(o, config, &c->r, err);
    for (int64_t i = 0; i < n && s == ED_OK; i++)
        if (prompt[i] < 0 || prompt[i] >= config->vocab_size)
            s = ed_error_set(err, ED_E_RANGE, "", ED_NO_OFFSET, "token %d is not in the vocabulary of %lld", prompt[i], (long long)config->vocab_size);
        else if ((s = append(c, prompt[i], false)) != ED_OK)
            ed_error_set(err, s, "", ED_NO_OFFSET, "no memory for a prompt of %lld tokens", (long long)n);
    c->n_prompt = n;
    c->max_new = max_new;
    if (s != ED_OK)
        ed_logit_chain_destroy(&c);
    *out = c;
    return s;
}

void ed_logit_chain_destroy(ed_logit_chain **pc) {
    ed_logit_chain *c = pc ? *pc : NULL;
    if (!c)
        return;
    rules_release(&c->r);
    ed__free(c->tokens);
    ed__free(c->seen);
    ed__free(c->count);
    ed__free(c);
    *pc = NULL;
}

ed_status ed_logit_chain_copy(const ed_logit_chain *from, ed_logit_chain *to) {
    ED_TRY(ed__grow((void **)&to->tokens, &to->cap, (size_t)from->n + 1, sizeof *to->tokens, MAX_TOKENS));
    ED_TRY(ed__grow((void **)&to->seen, &to->cap_seen, (size_t)from->n_seen + 1, sizeof *to->seen, MAX_TOKENS));
    ED_TRY(ed__grow((void **)&to->count, &to->cap_count, (size_t)from->n_seen + 1, sizeof *to->count, MAX_TOKENS));
    if (from->n)
        memcpy(to->tokens, from->tokens, (size_t)from->n * sizeof *to->tokens);
    if (from->n_seen) {
        memcpy(to->seen, from->seen, (size_t)from->n_seen * sizeof *to->seen);
        memcpy(to->count, from->count, (size_t)from->n_seen * sizeof *to->count);
    }
    to->n = from->n;
    to->n_prompt = from->n_prompt;
    to->max_new = from->max_new;
    to->n_seen = from->n_seen;
    return ED_OK;
}

ed_status ed_logit_chain_clone(const ed_logit_chain *c, ed_logit_chain **out) {
    ed_logit_chain *to = ed__calloc(1, sizeof *to);
    *out = NULL;
    if (!to)
        return ED_E_MEMORY;
    to->r = c->r;
    to->r->refs++;
    ed_status s = ed_logit_chain_copy(c, to);
    if (s != ED_OK)
        ed_logit_chain_destroy(&to);
    *out = to;
    return s;
}

ed_status ed_logit_chain_push(ed_logit_chain *c, int32_t token) {
    if (token < 0 || token >= c->r->vocab)
        return ED_E_RANGE;
    return append(c, token, true);
}

const int32_t *ed_logit_chain_tokens(const ed_logit_chain *c, int64_t *n, int64_t *n_new) {
    if (n)
        *n = c->n;
    if (n_new)
        *n_new = c->n - c->n_prompt;
    return c->tokens;
}

bool ed_logit_chain_is_eos(const ed_logit_chain *c, int32_t token) {
    for (int64_t i = 0; i < c->r->eos.n; i++)
        if (c->r->eos.ids[i] == token)
            return true;
    return false;
}
