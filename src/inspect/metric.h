/* inspect/metric.h - what the metrics share: lines as code points, whitespace and case as Python has them, interned words, n-gram counts.
 * Characters are uint32_t code points; a byte that is no valid UTF-8 becomes 0xDC00 + byte, the way Python's surrogateescape reads it, so
 * that scores equal those of sacreBLEU on the same decoded text. */
#ifndef ED_INSPECT_METRIC_H
#define ED_INSPECT_METRIC_H

#include "base/internal.h"
#include "endec/metrics.h"

/* ---- growable code points (metric_text.c) */
typedef struct ed__cps {
    uint32_t *cp;
    size_t n, cap;
} ed__cps;
ed_status ed__cps_reserve(ed__cps *c, size_t n);
void ed__cps_free(ed__cps *c);
/** Replaces c with the code points of a line; ED_E_LIMIT above ED_METRIC_LINE_MAX (the message names line `index`, counted from 0). */
ed_status ed__cps_decode(ed__cps *c, const char *line, int64_t index, ed_error *err);
/** Lower case as Python's str.lower: full mapping of U+0130, final sigma. `tmp` is scratch. */
ed_status ed__cps_lower(ed__cps *c, ed__cps *tmp);
bool ed__cp_space(uint32_t cp); /* str.isspace */
void ed__cps_rstrip(ed__cps *c);

/* ---- words of one segment, numbered by content */
typedef struct ed__metric_words {
    ed__cps text; /* all words, one after the other */
    struct ed__word {
        size_t off, len; /* in text */
    } *w;
    uint32_t *ids; /* [n] after ed__metric_words_intern: equal words have equal numbers */
    size_t n, cap, ids_cap;
} ed__metric_words;
void ed__metric_words_reset(ed__metric_words *w);
void ed__metric_words_free(ed__metric_words *w);
ed_status ed__metric_words_add(ed__metric_words *w, const uint32_t *cp, size_t n);
ed_status ed__metric_words_split(ed__metric_words *w, const uint32_t *cp, size_t n); /* str.split */
ed_status ed__metric_words_intern(ed__metric_words *w);

/* ---- n-gram counts over several strings (metric_ngram.c) */
typedef struct ed__ngrams {
    struct ed__gram {
        uint64_t key;
        uint32_t pos;
    } *grams;
    uint32_t *ids, *rank, *left, *owner; /* [n]; left = items to the end of the string, this one included */
    size_t n, cap;
    int n_strings;
} ed__ngrams;
void ed__ngrams_reset(ed__ngrams *g);
void ed__ngrams_free(ed__ngrams *g);
/** Adds one string of ids (the hypothesis first). */
ed_status ed__ngrams_add(ed__ngrams *g, const uint32_t *ids, size_t n);
/** Called once for each distinct n-gram of length `order` with its count in each string: counts is [n_strings]. */
typedef void (*ed__ngram_fn)(void *ctx, int order, const int64_t *counts);
void ed__ngrams_count(ed__ngrams *g, int max_order, ed__ngram_fn fn, void *ctx);

/* ---- tokenizers (metric_tokenize.c): cuts `line` in place into words of w. `tmp` is scratch. */
ed_status ed__bleu_tokenize(int tok, ed__cps *line, ed__cps *tmp, ed__metric_words *w);

/* ---- arguments (metric_text.c) */
/** Checks n, n_refs, that no hypothesis is NULL and that each line has a reference; *nrefs_text gets "2" or "var". */
ed_status ed__metric_check(const char *const *hyps, const char *const *refs, int n_refs, int64_t n, char nrefs_text[16], ed_error *err);

#endif
