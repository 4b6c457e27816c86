/* io/tok_unigram.c - encoding with a unigram language model (Kudo 2018): the segmentation of the highest total log probability, by dynamic programming over a
 * trie of pieces. A character that no piece begins with alone costs 10 less than the worst piece and becomes byte pieces or the unknown token. Sums run in
 * f64 from the left and a later candidate wins only when strictly better: the order of the Hugging Face library, so that ties agree.
 * The text is cut before spaces that no piece reaches across, which keeps the table small. Training: tok_train_unigram.c. */
#include <math.h>

#include "io/tok.h"
#include "io/tok_unigram.h"

#define UNKNOWN_PENALTY 10.0

typedef struct model {
    ed__trie trie;
    double unk_score;
} model;

static void unigram_destroy(ed_tokenizer *t) {
    model *m = t->impl;
    if (m)
        ed__trie_deinit(&m->trie);
    ed__free(m);
    t->impl = NULL;
}

static ed_status unigram_prepare(ed_tokenizer *t, ed_error *err) {
    size_t n = t->vocab.text.n, k = 0;
    model *m = t->impl = ed__calloc(1, sizeof *m);
    ed__trie_key *keys = ed__malloc(n * sizeof *keys);
    ed_status s = m && keys ? ED_OK : ED_E_MEMORY;
    double worst = INFINITY;
    for (size_t id = 0; s == ED_OK && id < n; id++) {
        size_t len;
        const char *p = ed__intern_get(&t->vocab.bytes, t->vocab.bytes_of[id], &len);
        worst = t->scores[id] < worst ? t->scores[id] : worst;
        if (t->vocab.match_of[t->vocab.bytes_of[id]] == (int32_t)id)
            keys[k++] = (ed__trie_key){p, (uint32_t)len, (int32_t)id};
    }
    if (s == ED_OK) {
        m->unk_score = worst - UNKNOWN_PENALTY;
        s = ed__trie_build(&m->trie, keys, k);
    }
    ed__free(keys);
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the vocabulary's trie");
    return ED_OK;
}

/* Bytes of the character at s: 1 for a byte that is not UTF-8. */
static size_t char_bytes(const char *s, size_t n) {
    uint32_t cp;
    int len = (unsigned char)*s < 0x80 ? 1 : ed__utf8_decode((const unsigned char *)s, n, &cp);
    return len ? (size_t)len : 1;
}

ed_status ed__unigram_best(const ed__trie *trie, const double *scores, double unk_score, const char *s, size_t n, ed__unigram_table *table) {
    ED_TRY(ed__grow((void **)&table->cells, &table->cap, n + 1, sizeof *table->cells, ED_TOKENIZER_MAX_TEXT_BYTES * 13));
    ed__unigram_cell *c = table->cells;
    for (size_t i = 0; i <= n; i++)
        c[i] = (ed__unigram_cell){-INFINITY, 0, -1};
    c[0].score = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = char_bytes(s + i, n - i);
        bool single = false;
        uint32_t node = 0;
        for (size_t j = i; j < n && (node = ed__trie_step(trie, node, (unsigned char)s[j])) != 0; j++) {
            int32_t id = trie->nodes[node].id;
            if (id < 0)
                continue;
            double score = c[i].score + scores[id];
            if (c[j + 1].len == 0 || score > c[j + 1].score)
                c[j + 1] = (ed__unigram_cell){score, (uint32_t)(j + 1 - i), id};
            single = single || j + 1 - i == len;
        }
        if (!single) {
            double score = c[i].score + unk_score;
            if (c[i + len].len == 0 || score > c[i + len].score)
                c[i + len] = (ed__unigram_cell){score, (uint32_t)len, -1};
        }
    }
    return ED_OK;
}

/* Turns the back pointers into symbols, first to last. */
static ed_status trace(const ed_tokenizer *t, const char *s, size_t n, ed__unigram_cell *c, ed__merge_scratch *out) {
    out->n = 0;
    uint32_t next = 0; /* reverse the chain in place: cells[i].len becomes the length of the piece that begins at i */
    int32_t next_id = 0;
    for (size_t i = n; i > 0;) {
        uint32_t len = c[i].len;
        int32_t id = c[i].id;
        c[i].len = next;
        c[i].id = next_id;
        next = len;
        next_id = id;
        i -= len;
    }
    for (size_t i = 0; i < n;) {
        if (next_id >= 0)
            ED_TRY(ed__scratch_push(out, next_id, (uint32_t)i));
        else
            ED_TRY(ed__tok_fallback(t, s + i, next, (uint32_t)i, out));
        i += next;
        if (i < n) {
            next = c[i].len;
            next_id = c[i].id;
        }
    }
    return ED_OK;
}

static ed_status encode_words(const ed_tokenizer *t, const ed__tok_text *x, ed__unigram_table *table, ed__merge_scratch *s, ed__tok_sink *out) {
    const model *m = t->impl;
    if (!m)
        return ED_E_MEMORY; /* a failed ed_tokenizer_add_special */
    for (size_t i = 0; i < x->n;) {
        size_t n = ed__tok_word_end(t, x, i) - i;
        ED_TRY(ed__unigram_best(&m->trie, t->scores, m->unk_score, x->data + i, n, table));
        ED_TRY(trace(t, x->data + i, n, table->cells, s));
        ED_TRY(ed__tok_emit_symbols(s, i, n, out));
        i += n;
    }
    return ED_OK;
}

static ed_status unigram_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err) {
    (void)err;
    ed__unigram_table table = {0};
    ed__merge_scratch s = {0};
    ed_status st = encode_words(t, x, &table, &s, out);
    ed__free(table.cells);
    ed__scratch_deinit(&s);
    return st;
}

const ed__tok_kind ed__tok_unigram = {"unigram", unigram_prepare, unigram_encode, ed__train_unigram, unigram_destroy};
