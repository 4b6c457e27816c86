/* inspect/metric_chrf.c - chrF and chrF++ with sacreBLEU's numbers: F of character n-grams (orders 1..6) and word n-grams (orders 1..2).
 * Statistics of each order are summed over lines, of several references the one with the best F of the line.
 * Source: Popovic 2015, 2017; sacreBLEU 2.x chrf.py for punctuation, effective order and eps. */
#include "inspect/metric.h"

#include <stdio.h>

#define ORDERS (2 * ED_CHRF_ORDER_MAX)

static const ed_option options[] = {
    {"char_order", ED_OPT_INT, offsetof(ed_chrf_opts, char_order), 1, ED_CHRF_ORDER_MAX, NULL, "N", "longest character n-gram of chrF", 0},
    {"word_order", ED_OPT_INT, offsetof(ed_chrf_opts, word_order), 0, ED_CHRF_ORDER_MAX, NULL, "N",
     "longest word n-gram of chrF, 2 for chrF++", 0},
    {"beta", ED_OPT_INT, offsetof(ed_chrf_opts, beta), 1, 100, NULL, "N", "weight of recall against precision", 0},
    {"lowercase", ED_OPT_BOOL, offsetof(ed_chrf_opts, lowercase), 0, 0, NULL, NULL, "score without regard to case", 0},
    {"whitespace", ED_OPT_BOOL, offsetof(ed_chrf_opts, whitespace), 0, 0, NULL, NULL, "count whitespace as characters", 0},
    {"eps_smoothing", ED_OPT_BOOL, offsetof(ed_chrf_opts, eps_smoothing), 0, 0, NULL, NULL, "mean over all orders, as chrF++.py", 0},
};

ed_chrf_opts ed_chrf_opts_default(void) {
    return (ed_chrf_opts){.char_order = 6, .word_order = 0, .beta = 2};
}

const ed_option *ed_chrf_options(size_t *n) {
    *n = sizeof options / sizeof *options;
    return options;
}

/* Counts of one order: n-grams of the hypothesis and the reference, and matches. */
typedef struct chrf_stat {
    int64_t hyp, ref, match;
} chrf_stat;

typedef struct chrf_work {
    const ed_chrf_opts *opts;
    ed__cps line, tmp;
    ed__metric_words words; /* chrF++ words of all strings of the line */
    ed__ngrams chars, grams;
    ed__ngrams *now; /* the one being counted */
    int now_base;    /* its first row in stat */
    chrf_stat (*stat)[ORDERS]; /* [ED_METRIC_REFS_MAX], of the line */
} chrf_work;

static void work_free(chrf_work *w) {
    ed__cps_free(&w->line);
    ed__cps_free(&w->tmp);
    ed__metric_words_free(&w->words);
    ed__ngrams_free(&w->chars);
    ed__ngrams_free(&w->grams);
    ed__free(w->stat);
}

static void count_gram(void *ctx, int order, const int64_t *counts) {
    chrf_work *w = ctx;
    for (int r = 1; r < w->now->n_strings; r++) {
        chrf_stat *s = &w->stat[r - 1][w->now_base + order - 1];
        s->hyp += counts[0];
        s->ref += counts[r];
        s->match += counts[0] < counts[r] ? counts[0] : counts[r];
    }
}

static double f_score(const ed_chrf_opts *o, const chrf_stat *stat) {
    const double eps = 1e-16, factor = (double)(o->beta * o->beta);
    double sum = 0, prec_sum = 0, rec_sum = 0;
    int64_t orders = o->char_order + o->word_order, effective = 0;
    for (int64_t k = 0; k < orders; k++) {
        const chrf_stat *s = &stat[k];
        double prec = s->hyp > 0 ? (double)s->match / (double)s->hyp : eps;
        double rec = s->ref > 0 ? (double)s->match / (double)s->ref : eps;
        double denom = factor * prec + rec;
        sum += denom > 0 ? (1 + factor) * prec * rec / denom : eps;
        if (s->hyp > 0 && s->ref > 0) {
            prec_sum += prec;
            rec_sum += rec;
            effective++;
        }
    }
    if (o->eps_smoothing)
        return 100 * sum / (double)orders;
    if (effective == 0 || prec_sum + rec_sum == 0)
        return 0;
    double prec = prec_sum / (double)effective, rec = rec_sum / (double)effective;
    return 100 * (1 + factor) * prec * rec / (factor * prec + rec);
}

static bool is_punct(uint32_t c) {
    return c > ' ' && c < 127 && !(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z');
}

/* Words with one punctuation mark set apart: the last one, or else the first ("(hi)" gives "(hi" and ")"). */
static ed_status add_words(ed__metric_words *w, const ed__cps *line) {
    for (size_t i = 0; i < line->n;) {
        const uint32_t *c = line->cp + i;
        size_t len = 0, cut = 0;
        while (i + len < line->n && !ed__cp_space(c[len]))
            len++;
        if (len > 1)
            cut = is_punct(c[len - 1]) ? len - 1 : is_punct(c[0]) ? 1 : 0;
        if (cut > 0)
            ED_TRY(ed__metric_words_add(w, c, cut));
        if (len > 0)
            ED_TRY(ed__metric_words_add(w, c + cut, len - cut));
        i += len + 1;
    }
    return ED_OK;
}

static void drop_spaces(ed__cps *line) {
    size_t n = 0;
    for (size_t i = 0; i < line->n; i++)
        if (!ed__cp_space(line->cp[i]))
            line->cp[n++] = line->cp[i];
    line->n = n;
}

/* Reads the hypothesis and the references of line i into w->chars and w->grams. */
static ed_status read_line(chrf_work *w, const char *hyp, const char *const *refs, int n_refs, int64_t n, int64_t i, ed_error *err) {
    size_t len[ED_METRIC_REFS_MAX + 1] = {0};
    int strings = 0;
    ed__metric_words_reset(&w->words);
    ed__ngrams_reset(&w->chars);
    ed__ngrams_reset(&w->grams);
    for (int r = -1; r < n_refs; r++) {
        const char *text = r < 0 ? hyp : refs[r * n + i];
        if (text == NULL)
            continue;
        ED_TRY(ed__cps_decode(&w->line, text, i, err));
        if (w->opts->lowercase)
            ED_TRY(ed__cps_lower(&w->line, &w->tmp));
        size_t before = w->words.n;
        if (w->opts->word_order > 0)
            ED_TRY(add_words(&w->words, &w->line));
        len[strings++] = w->words.n - before;
        if (!w->opts->whitespace)
            drop_spaces(&w->line);
        ED_TRY(ed__ngrams_add(&w->chars, w->line.cp, w->line.n));
    }
    ED_TRY(ed__metric_words_intern(&w->words));
    const uint32_t *ids = w->words.ids;
    for (int s = 0; s < strings; ids += len[s++])
        ED_TRY(ed__ngrams_add(&w->grams, ids, len[s]));
    return ED_OK;
}

/* sacreBLEU does not count the hypothesis' n-grams of an order the reference is too short for. */
static void drop_absent_orders(chrf_stat *stat) {
    for (int k = 0; k < ORDERS; k++)
        if (stat[k].ref == 0)
            stat[k].hyp = 0;
}

/* Adds the statistics of the line's best reference to total: [ORDERS]. */
static void add_best(chrf_work *w, chrf_stat *total) {
    int n_refs = w->chars.n_strings - 1, best = 0;
    double best_f = -1;
    memset(w->stat, 0, (size_t)n_refs * sizeof *w->stat);
    w->now = &w->chars;
    w->now_base = 0;
    ed__ngrams_count(w->now, (int)w->opts->char_order, count_gram, w);
    w->now = &w->grams;
    w->now_base = (int)w->opts->char_order;
    ed__ngrams_count(w->now, (int)w->opts->word_order, count_gram, w);
    for (int r = 0; r < n_refs; r++) {
        drop_absent_orders(w->stat[r]);
        double f = f_score(w->opts, w->stat[r]);
        if (f > best_f) {
            best_f = f;
            best = r;
        }
    }
    for (int k = 0; k < ORDERS; k++) {
        total[k].hyp += w->stat[best][k].hyp;
        total[k].ref += w->stat[best][k].ref;
        total[k].match += w->stat[best][k].match;
    }
}

static ed_status score_lines(chrf_work *w, const char *const *hyps, const char *const *refs, int n_refs, int64_t n, ed_metric_score *out,
                             ed_error *err) {
    chrf_stat total[ORDERS] = {{0}};
    w->stat = ed__calloc(ED_METRIC_REFS_MAX, sizeof *w->stat);
    if (w->stat == NULL)
        return ED_E_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        ED_TRY(read_line(w, hyps[i], refs, n_refs, n, i, err));
        add_best(w, total);
    }
    out->score = f_score(w->opts, total);
    return ED_OK;
}

static void sign(const ed_chrf_opts *o, const char *nrefs, ed_metric_score *s) {
    snprintf(s->name, sizeof s->name, "chrF%d%.*s", (int)o->beta, (int)(o->word_order < 8 ? o->word_order : 8), "++++++++");
    snprintf(s->signature, sizeof s->signature, "nrefs:%s|case:%s|eff:%s|nc:%d|nw:%d|space:%s|version:endec-%s", nrefs,
             o->lowercase ? "lc" : "mixed", o->eps_smoothing ? "no" : "yes", (int)o->char_order, (int)o->word_order,
             o->whitespace ? "yes" : "no", ed_version());
}

ed_status ed_metric_chrf(const ed_chrf_opts *opts, const char *const *hyps, const char *const *refs, int n_refs, int64_t n,
                         ed_metric_score *out, ed_error *err) {
    char nrefs[16];
    ED_FAIL_IF(opts == NULL || out == NULL, ED_E_INVALID, err, "options and result must not be NULL");
    ED_FAIL_IF(opts->char_order < 1 || opts->char_order > ED_CHRF_ORDER_MAX, ED_E_RANGE, err, "char_order must be 1 to %d", ED_CHRF_ORDER_MAX);
    ED_FAIL_IF(opts->word_order < 0 || opts->word_order > ED_CHRF_ORDER_MAX, ED_E_RANGE, err, "word_order must be 0 to %d", ED_CHRF_ORDER_MAX);
    ED_FAIL_IF(opts->beta < 1 || opts->beta > 100, ED_E_RANGE, err, "beta must be 1 to 100");
    ED_TRY(ed__metric_check(hyps, refs, n_refs, n, nrefs, err));
    *out = (ed_metric_score){.n = n};
    chrf_work w = {.opts = opts};
    ed_status s = score_lines(&w, hyps, refs, n_refs, n, out, err);
    work_free(&w);
    if (s == ED_E_MEMORY)
        return ed_error_set(err, s, "", ED_NO_OFFSET, "out of memory while counting n-grams");
    ED_TRY(s);
    sign(opts, nrefs, out);
    return ED_OK;
}
