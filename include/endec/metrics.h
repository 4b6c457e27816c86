/* endec/metrics.h - scores of text against references: BLEU, chrF, word and character error rate, exact match.
 *
 * All functions take lines as NUL-terminated UTF-8 strings. Bytes that are no valid UTF-8 count as one character each, so that the raw
 * output of a byte model can be scored. A line may have at most ED_METRIC_LINE_MAX bytes.
 *
 *     const char *hyp[] = {"The cat sat."}, *ref[] = {"The cat sat down."};
 *     ed_bleu_opts o = ed_bleu_opts_default();
 *     ed_metric_score s;
 *     if (ed_metric_bleu(&o, hyp, ref, 1, 1, &s, &err) == ED_OK)
 *         printf("%s = %.2f %s\n", s.name, s.score, s.signature);
 *
 * `hyps` is [n]. `refs` is [n_refs][n] in one array: refs[r * n + i] is the r-th reference of line i; with one reference it is simply the
 * list of reference lines. A NULL entry means that line i has no r-th reference; every line needs at least one.
 * BLEU and chrF give the numbers of sacreBLEU 2.x for the same signature (Post 2018, "A call for clarity in reporting BLEU scores"). */
#ifndef ENDEC_METRICS_H
#define ENDEC_METRICS_H

#include "endec/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ED_METRIC_LINE_MAX ((size_t)1 << 20)
#define ED_METRIC_REFS_MAX 64
#define ED_BLEU_ORDER 4
#define ED_CHRF_ORDER_MAX 16

/** One result. Fields that a metric does not have are 0. Scores are on the 0..100 scale. */
typedef struct ed_metric_score {
    char name[16];       /* "BLEU", "chrF2", "chrF2++", "WER", "CER", "exact" */
    char signature[160]; /* what was computed, in sacreBLEU's form: "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:endec-0.1.0" */
    double score;        /* NaN where it is undefined (error rate without any reference word) */
    int64_t n;           /* lines scored */
    /* BLEU */
    double precisions[ED_BLEU_ORDER]; /* percent, smoothed */
    int64_t counts[ED_BLEU_ORDER];    /* matched n-grams */
    int64_t totals[ED_BLEU_ORDER];    /* n-grams of the hypotheses */
    double bp;                        /* brevity penalty, 0..1 */
    int64_t sys_len, ref_len;         /* tokens (BLEU), items (error rates) */
    /* error rates; exact match uses hits only */
    int64_t hits, substitutions, deletions, insertions;
} ed_metric_score;

/* ------------------------------------------------------------------ BLEU (Papineni et al. 2002) */

/** 13A: mteval-v13a, for languages with spaces. NONE: split at whitespace. CHAR: one token a character. ZH: 13A after each Chinese character
 *  was set apart. */
typedef enum ed_bleu_tok { ED_BLEU_TOK_13A, ED_BLEU_TOK_NONE, ED_BLEU_TOK_CHAR, ED_BLEU_TOK_ZH, ED_BLEU_TOK_COUNT } ed_bleu_tok;
/** What stands for a precision of zero matches (Chen and Cherry 2014): EXP halves from order to order, FLOOR counts smooth_value matches,
 *  ADD_K adds smooth_value to matches and totals of orders 2.., NONE leaves zero. */
typedef enum ed_bleu_smooth {
    ED_BLEU_SMOOTH_EXP,
    ED_BLEU_SMOOTH_FLOOR,
    ED_BLEU_SMOOTH_ADD_K,
    ED_BLEU_SMOOTH_NONE,
    ED_BLEU_SMOOTH_COUNT
} ed_bleu_smooth;

typedef struct ed_bleu_opts {
    int tok;              /* ed_bleu_tok; default 13A */
    int smooth;           /* ed_bleu_smooth; default EXP */
    double smooth_value;  /* FLOOR, ADD_K; -1 (default) = 0.1 for FLOOR, 1 for ADD_K */
    bool lowercase;       /* default false */
    bool effective_order; /* leave out orders that the hypothesis is too short for; wanted for single sentences; default false */
} ed_bleu_opts;
ED_API ed_bleu_opts ed_bleu_opts_default(void);
/** Descriptors of the fields of ed_bleu_opts; *n gets their number. */
ED_API const ed_option *ed_bleu_options(size_t *n);

/** Corpus BLEU: n-gram counts are summed over lines before the ratio. The reference length of a line is that of the reference nearest in
 *  length (the shorter one when two are equally near). Errors: ED_E_INVALID for n < 1, n_refs outside 1..ED_METRIC_REFS_MAX, a NULL
 *  hypothesis or a line without reference; ED_E_RANGE for options; ED_E_LIMIT for an over-long line; ED_E_MEMORY. */
ED_API ed_status ed_metric_bleu(const ed_bleu_opts *opts, const char *const *hyps, const char *const *refs, int n_refs, int64_t n,
                                ed_metric_score *out, ed_error *err);
/** BLEU of one sentence; effective order is always on. refs is [n_refs]. */
ED_API ed_status ed_metric_bleu_sentence(const ed_bleu_opts *opts, const char *hyp, const char *const *refs, int n_refs,
                                         ed_metric_score *out, ed_error *err);

/* ------------------------------------------------------------------ chrF, chrF++ (Popovic 2015, 2017) */

typedef struct ed_chrf_opts {
    int64_t char_order; /* 1..ED_CHRF_ORDER_MAX, default 6 */
    int64_t word_order; /* 0 (default) = chrF, 2 = chrF++ */
    int64_t beta;       /* recall counts beta times as much; default 2 */
    bool lowercase;     /* default false */
    bool whitespace;    /* count whitespace as characters; default false */
    bool eps_smoothing; /* mean of F over all orders with eps for absent n-grams, as chrF++.py; default false: mean over orders that exist */
} ed_chrf_opts;
ED_API ed_chrf_opts ed_chrf_opts_default(void);
ED_API const ed_option *ed_chrf_options(size_t *n);
/** Corpus chrF. Of several references the one with the best F of the line is taken. Errors as ed_metric_bleu. */
ED_API ed_status ed_metric_chrf(const ed_chrf_opts *opts, const char *const *hyps, const char *const *refs, int n_refs, int64_t n,
                                ed_metric_score *out, ed_error *err);

/* ------------------------------------------------------------------ error rates and exact match */

/** Word error rate: 100 * (substitutions + deletions + insertions) / reference words, over the whole corpus; words are what whitespace
 *  separates. One reference a line; the score may pass 100. Several alignments of least cost may exist: the one with fewest
 *  substitutions is counted. ED_E_LIMIT when a pair of lines needs more than 2^30 table cells. */
ED_API ed_status ed_metric_wer(bool lowercase, const char *const *hyps, const char *const *refs, int64_t n, ed_metric_score *out,
                               ed_error *err);
/** The same over characters (Unicode code points); runs of whitespace count as one space, outer whitespace is dropped. */
ED_API ed_status ed_metric_cer(bool lowercase, const char *const *hyps, const char *const *refs, int64_t n, ed_metric_score *out,
                               ed_error *err);
/** Percent of lines that equal any of their references, outer whitespace aside. */
ED_API ed_status ed_metric_exact(bool lowercase, const char *const *hyps, const char *const *refs, int n_refs, int64_t n,
                                 ed_metric_score *out, ed_error *err);

/* ------------------------------------------------------------------ output */

#define ED_METRIC_JSON_BYTES 2048
/** One JSON object on one line without newline, for example {"name":"BLEU","score":33.1,"signature":...,"precisions":[..],"bp":1,...}; a
 *  score that is NaN becomes null. ED_E_RANGE when buf is too small (ED_METRIC_JSON_BYTES always suffices). */
ED_API ed_status ed_metric_json(const ed_metric_score *s, char *buf, size_t buf_bytes, ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
