/* io/tok_unigram.h - the best segmentation under a unigram model, shared by encoding and training. */
#ifndef ED_IO_TOK_UNIGRAM_H
#define ED_IO_TOK_UNIGRAM_H

#include "io/tok.h"

typedef struct ed__unigram_cell {
    double score;  /* of the best segmentation of the bytes before this place */
    uint32_t len;  /* bytes of its last piece; 0 = no way here */
    int32_t id;    /* that piece, -1 = a character without piece */
} ed__unigram_cell;
typedef struct ed__unigram_table {
    ed__unigram_cell *cells; /* [n + 1] */
    size_t cap;
} ed__unigram_table;
/** Fills table->cells[0..n] for s[0..n). scores[id] are log probabilities. */
ed_status ed__unigram_best(const ed__trie *trie, const double *scores, double unk_score, const char *s, size_t n, ed__unigram_table *table);
/** Training (tok_train_unigram.c). */
ed_status ed__train_unigram(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err);

#endif
