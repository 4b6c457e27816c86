/* inspect/metric_bleu.c - corpus and sentence BLEU with sacreBLEU's numbers: clipped n-gram counts of orders 1..4 summed over the corpus,
 * brevity penalty against the nearest reference length, smoothing of Chen and Cherry (2014).
 * Source: Papineni et al. 2002; sacreBLEU 2.x compute_bleu for the order of the smoothing steps. */
#include "inspect/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const tok_names[] = {"13a", "none", "char", "zh", NULL};
static const char *const smooth_names[] = {"exp", "floor", "add-k", "none", NULL};

static const ed_option options[] = {
    {"tok", ED_OPT_ENUM, offsetof(ed_bleu_opts, tok), 0, 0, tok_names, "NAME", "tokenizer of BLEU: 13a, none, char or zh", 0},
    {"smooth", ED_OPT_ENUM, offsetof(ed_bleu_opts, smooth), 0, 0, smooth_names, "NAME", "smoothing: exp, floor, add-k or none", 0},
    {"smooth_value", ED_OPT_FLOAT, offsetof(ed_bleu_opts, smooth_value), -1, 100, NULL, "X",
     "value of floor and add-k smoothing, -1 for 0.1 and 1", 0},
    {"lowercase", ED_OPT_BOOL, offsetof(ed_bleu_opts, lowercase), 0, 0, NULL, NULL, "score without regard to case", 0},
    {"effective_order", ED_OPT_BOOL, offsetof(ed_bleu_opts, effective_order), 0, 0, NULL, NULL,
     "leave out orders longer than the text, for single sentences", 0},
};

ed_bleu_opts ed_bleu_opts_default(void) {
    return (ed_bleu_opts){.tok = ED_BLEU_TOK_13A, .smooth = ED_BLEU_SMOOTH_EXP, .smooth_value = -1};
}

const ed_option *ed_bleu_options(size_t *n) {
    *n = sizeof options / sizeof *options;
    return options;
}

/* Scratch of one scoring call. */
typedef struct bleu_work {
    const ed_bleu_opts *opts;
    ed__cps line, tmp;
    ed__metric_words words;
    ed__ngrams grams;
    ed_metric_score *out;
} bleu_work;

static void work_free(bleu_work *w) {
    ed__cps_free(&w->line);
    ed__cps_free(&w->tmp);
    ed__metric_words_free(&w->words);
    ed__ngrams_free(&w->grams);
}

static void count_gram(void *ctx, int order, const int64_t *counts) {
    bleu_work *w = ctx;
    int64_t clip = 0;
    for (int r = 1; r < w->grams.n_strings; r++)
        clip = counts[r] > clip ? counts[r] : clip;
    w->out->totals[order - 1] += counts[0];
    w->out->counts[order - 1] += counts[0] < clip ? counts[0] : clip;
}

/* The reference length nearest to the hypothesis, the shorter one on a tie. len: [n], hypothesis first. */
static int64_t nearest_length(const size_t *len, int n) {
    int64_t hyp = (int64_t)len[0], best = (int64_t)len[1];
    for (int r = 2; r < n; r++) {
        int64_t l = (int64_t)len[r], d = llabs(hyp - l), b = llabs(hyp - best);
        if (d < b || (d == b && l < best))
            best = l;
    }
    return best;
}

/* Adds the counts of one line to w->out. */
static ed_status add_line(bleu_work *w, const char *hyp, const char *const *refs, int n_refs, int64_t n, int64_t i, ed_error *err) {
    size_t len[ED_METRIC_REFS_MAX + 1] = {0};
    int strings = 0;
    ed__metric_words_reset(&w->words);
    for (int r = -1; r < n_refs; r++) {
        const char *text = r < 0 ? hyp : refs[r * n + i];
        if (text == NULL)
            continue;
        ED_TRY(ed__cps_decode(&w->line, text, i, err));
        if (w->opts->lowercase)
            ED_TRY(ed__cps_lower(&w->line, &w->tmp));
        ed__cps_rstrip(&w->line);
        size_t before = w->words.n;
        ED_TRY(ed__bleu_tokenize(w->opts->tok, &w->line, &w->tmp, &w->words));
        len[strings++] = w->words.n - before;
    }
    ED_TRY(ed__metric_words_intern(&w->words));
    ed__ngrams_reset(&w->grams);
    const uint32_t *ids = w->words.ids;
    for (int s = 0; s < strings; ids += len[s++])
        ED_TRY(ed__ngrams_add(&w->grams, ids, len[s]));
    ed__ngrams_count(&w->grams, ED_BLEU_ORDER, count_gram, w);
    w->out->sys_len += (int64_t)len[0];
    w->out->ref_len += nearest_length(len, strings);
    return ED_OK;
}

static double smooth_value(const ed_bleu_opts *o) {
    if (o->smooth_value >= 0)
        return o->smooth_value;
    return o->smooth == ED_BLEU_SMOOTH_FLOOR ? 0.1 : 1.0;
}

/* From the counts to score, precisions and bp. A precision of zero takes part as log = -9999999999, which makes the score 0. */
static void finish(const ed_bleu_opts *o, ed_metric_score *s) {
    s->bp = 1;
    if (s->sys_len < s->ref_len)
        s->bp = s->sys_len > 0 ? exp(1.0 - (double)s->ref_len / (double)s->sys_len) : 0.0;
    int64_t any = 0;
    for (int k = 0; k < ED_BLEU_ORDER; k++)
        any |= s->counts[k];
    if (any == 0)
        return;
    double halving = 1, value = smooth_value(o), sum = 0;
    int orders = ED_BLEU_ORDER;
    for (int k = 0; k < ED_BLEU_ORDER; k++) {
        double add = o->smooth == ED_BLEU_SMOOTH_ADD_K && k > 0 ? value : 0;
        double correct = (double)s->counts[k] + add, total = (double)s->totals[k] + add;
        if (total == 0)
            break;
        if (o->effective_order)
            orders = k + 1;
        if (correct > 0)
            s->precisions[k] = 100.0 * correct / total;
        else if (o->smooth == ED_BLEU_SMOOTH_EXP)
            s->precisions[k] = 100.0 / ((halving *= 2) * total);
        else if (o->smooth == ED_BLEU_SMOOTH_FLOOR)
            s->precisions[k] = 100.0 * value / total;
    }
    for (int k = 0; k < orders; k++)
        sum += s->precisions[k] > 0 ? log(s->precisions[k]) : -9999999999.0;
    s->score = s->bp * exp(sum / orders);
}

static void sign(const ed_bleu_opts *o, const char *nrefs, ed_metric_score *s) {
    char smooth[32];
    if (o->smooth == ED_BLEU_SMOOTH_FLOOR || o->smooth == ED_BLEU_SMOOTH_ADD_K) {
        long long hundredths = llround(100 * smooth_value(o)); /* not %f: the decimal point must not follow the host's locale */
        snprintf(smooth, sizeof smooth, "%s[%lld.%02lld]", smooth_names[o->smooth], hundredths / 100, hundredths % 100);
    } else {
        snprintf(smooth, sizeof smooth, "%s", smooth_names[o->smooth]);
    }
    snprintf(s->name, sizeof s->name, "BLEU");
    snprintf(s->signature, sizeof s->signature, "nrefs:%s|case:%s|eff:%s|tok:%s|smooth:%s|version:endec-%s", nrefs,
             o->lowercase ? "lc" : "mixed", o->effective_order ? "yes" : "no", tok_names[o->tok], smooth, ed_version());
}

ed_status ed_metric_bleu(const ed_bleu_opts *opts, const char *const *hyps, const char *const *refs, int n_refs, int64_t n,
                         ed_metric_score *out, ed_error *err) {
    char nrefs[16];
    ED_FAIL_IF(opts == NULL || out == NULL, ED_E_INVALID, err, "options and result must not be NULL");
    ED_FAIL_IF(opts->tok < 0 || opts->tok >= ED_BLEU_TOK_COUNT, ED_E_RANGE, err, "no BLEU tokenizer has number %d", opts->tok);
    ED_FAIL_IF(opts->smooth < 0 || opts->smooth >= ED_BLEU_SMOOTH_COUNT, ED_E_RANGE, err, "no smoothing has number %d", opts->smooth);
    ED_FAIL_IF(!(opts->smooth_value <= 100), ED_E_RANGE, err, "smooth_value must be a number up to 100");
    ED_TRY(ed__metric_check(hyps, refs, n_refs, n, nrefs, err));
    *out = (ed_metric_score){.n = n};
    bleu_work w = {.opts = opts, .out = out};
    ed_status s = ED_OK;
    for (int64_t i = 0; i < n && s == ED_OK; i++)
        s = add_line(&w, hyps[i], refs, n_refs, n, i, err);
    work_free(&w);
    if (s == ED_E_MEMORY)
        return ed_error_set(err, s, "", ED_NO_OFFSET, "out of memory while counting n-grams");
    ED_TRY(s);
    finish(opts, out);
    sign(opts, nrefs, out);
    return ED_OK;
}

ed_status ed_metric_bleu_sentence(const ed_bleu_opts *opts, const char *hyp, const char *const *refs, int n_refs, ed_metric_score *out,
                                  ed_error *err) {
    ED_FAIL_IF(opts == NULL, ED_E_INVALID, err, "options must not be NULL");
    ed_bleu_opts o = *opts;
    o.effective_order = true;
    return ed_metric_bleu(&o, &hyp, refs, n_refs, 1, out, err);
}
