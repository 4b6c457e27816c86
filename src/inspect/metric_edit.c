/* inspect/metric_edit.c - word and character error rate by edit distance (Wagner and Fischer 1974) with counts of each edit, and exact match.
 * The distance table keeps one row; a cell holds its cost and the substitutions and deletions of the path, so no table is walked back. */
#include "inspect/metric.h"

#include <math.h>
#include <stdio.h>

#define CELLS_MAX ((uint64_t)1 << 30)

typedef struct edit_cell {
    uint32_t cost, sub, del; /* insertions = cost - sub - del */
} edit_cell;

typedef struct edit_work {
    ed__cps line, tmp;
    ed__metric_words words;
    edit_cell *row;
    size_t row_cap;
} edit_work;

static void work_free(edit_work *w) {
    ed__cps_free(&w->line);
    ed__cps_free(&w->tmp);
    ed__metric_words_free(&w->words);
    ed__free(w->row);
}

static bool better(edit_cell a, edit_cell b) {
    return a.cost < b.cost || (a.cost == b.cost && a.sub < b.sub);
}

/* Edits that turn the reference ref [nr] into the hypothesis hyp [nh]; row has nh + 1 cells. */
static edit_cell distance(const uint32_t *hyp, size_t nh, const uint32_t *ref, size_t nr, edit_cell *row) {
    for (size_t j = 0; j <= nh; j++)
        row[j] = (edit_cell){.cost = (uint32_t)j};
    for (size_t i = 0; i < nr; i++) {
        edit_cell diagonal = row[0];
        row[0] = (edit_cell){.cost = row[0].cost + 1, .del = row[0].del + 1};
        for (size_t j = 0; j < nh; j++) {
            edit_cell best = diagonal, del = row[j + 1], ins = row[j];
            diagonal = row[j + 1];
            if (hyp[j] != ref[i]) {
                best.cost++;
                best.sub++;
            }
            del.cost++;
            del.del++;
            ins.cost++;
            best = better(del, best) ? del : best;
            row[j + 1] = better(ins, best) ? ins : best;
        }
    }
    return row[nh];
}

/* Reads one text: decoded, lower-cased on demand, outer whitespace dropped. */
static ed_status read_text(edit_work *w, const char *text, int64_t i, bool lowercase, ed_error *err) {
    size_t start = 0;
    ED_TRY(ed__cps_decode(&w->line, text, i, err));
    if (lowercase)
        ED_TRY(ed__cps_lower(&w->line, &w->tmp));
    ed__cps_rstrip(&w->line);
    while (start < w->line.n && ed__cp_space(w->line.cp[start]))
        start++;
    w->line.n -= start;
    memmove(w->line.cp, w->line.cp + start, w->line.n * sizeof *w->line.cp);
    return ED_OK;
}

/* Appends the items of w->line to w->words: words, or characters with runs of whitespace as one space. */
static ed_status add_items(edit_work *w, bool chars) {
    static const uint32_t space = ' ';
    const ed__cps *l = &w->line;
    if (!chars)
        return ed__metric_words_split(&w->words, l->cp, l->n);
    for (size_t i = 0; i < l->n; i++) {
        if (!ed__cp_space(l->cp[i]))
            ED_TRY(ed__metric_words_add(&w->words, l->cp + i, 1));
        else if (!ed__cp_space(l->cp[i - 1])) /* i > 0: outer whitespace is gone */
            ED_TRY(ed__metric_words_add(&w->words, &space, 1));
    }
    return ED_OK;
}

static ed_status add_line(edit_work *w, const char *hyp, const char *ref, int64_t i, bool lowercase, bool chars, ed_metric_score *out,
                          ed_error *err) {
    ed__metric_words_reset(&w->words);
    ED_TRY(read_text(w, hyp, i, lowercase, err));
    ED_TRY(add_items(w, chars));
    size_t nh = w->words.n;
    ED_TRY(read_text(w, ref, i, lowercase, err));
    ED_TRY(add_items(w, chars));
    size_t nr = w->words.n - nh;
    ED_FAIL_IF((uint64_t)nh * nr > CELLS_MAX, ED_E_LIMIT, err, "line %lld: aligning %zu with %zu items needs more than 2^30 table cells",
               (long long)i + 1, nh, nr);
    ED_TRY(ed__metric_words_intern(&w->words));
    ED_TRY(ed__grow((void **)&w->row, &w->row_cap, nh + 1, sizeof *w->row, UINT32_MAX));
    edit_cell d = distance(w->words.ids, nh, w->words.ids + nh, nr, w->row);
    out->substitutions += d.sub;
    out->deletions += d.del;
    out->insertions += d.cost - d.sub - d.del;
    out->hits += (int64_t)nr - d.sub - d.del;
    out->sys_len += (int64_t)nh;
    out->ref_len += (int64_t)nr;
    return ED_OK;
}

static ed_status error_rate(const char *name, bool chars, bool lowercase, const char *const *hyps, const char *const *refs, int64_t n,
                            ed_metric_score *out, ed_error *err) {
    char nrefs[16];
    ED_FAIL_IF(out == NULL, ED_E_INVALID, err, "result must not be NULL");
    ED_TRY(ed__metric_check(hyps, refs, 1, n, nrefs, err));
    *out = (ed_metric_score){.n = n};
    edit_work w = {0};
    ed_status s = ED_OK;
    for (int64_t i = 0; i < n && s == ED_OK; i++)
        s = add_line(&w, hyps[i], refs[i], i, lowercase, chars, out, err);
    work_free(&w);
    if (s == ED_E_MEMORY)
        return ed_error_set(err, s, "", ED_NO_OFFSET, "out of memory while aligning lines");
    ED_TRY(s);
    int64_t edits = out->substitutions + out->deletions + out->insertions;
    out->score = out->ref_len > 0 ? 100.0 * (double)edits / (double)out->ref_len : (double)NAN;
    snprintf(out->name, sizeof out->name, "%s", name);
    snprintf(out->signature, sizeof out->signature, "nrefs:1|case:%s|tok:%s|version:endec-%s", lowercase ? "lc" : "mixed",
             chars ? "char" : "none", ed_version());
    return ED_OK;
}

ed_status ed_metric_wer(bool lowercase, const char *const *hyps, const char *const *refs, int64_t n, ed_metric_score *out, ed_error *err) {
    return error_rate("WER", false, lowercase, hyps, refs, n, out, err);
}

ed_status ed_metric_cer(bool lowercase, const char *const *hyps, const char *const *refs, int64_t n, ed_metric_score *out, ed_error *err) {
    return error_rate("CER", true, lowercase, hyps, refs, n, out, err);
}

static ed_status match_line(edit_work *w, ed__cps *kept, const char *hyp, const char *const *refs, int n_refs, int64_t n, int64_t i,
                            bool lowercase, int64_t *hits, ed_error *err) {
    ED_TRY(read_text(w, hyp, i, lowercase, err));
    ed__cps swap = *kept;
    *kept = w->line;
    w->line = swap;
    for (int r = 0; r < n_refs; r++) {
        if (refs[r * n + i] == NULL)
            continue;
        ED_TRY(read_text(w, refs[r * n + i], i, lowercase, err));
        if (w->line.n == kept->n && memcmp(w->line.cp, kept->cp, kept->n * sizeof *kept->cp) == 0) {
            (*hits)++;
            return ED_OK;
        }
    }
    return ED_OK;
}

ed_status ed_metric_exact(bool lowercase, const char *const *hyps, const char *const *refs, int n_refs, int64_t n, ed_metric_score *out,
                          ed_error *err) {
    char nrefs[16];
    ED_FAIL_IF(out == NULL, ED_E_INVALID, err, "result must not be NULL");
    ED_TRY(ed__metric_check(hyps, refs, n_refs, n, nrefs, err));
    *out = (ed_metric_score){.n = n};
    edit_work w = {0};
    ed__cps kept = {0};
    ed_status s = ED_OK;
    for (int64_t i = 0; i < n && s == ED_OK; i++)
        s = match_line(&w, &kept, hyps[i], refs, n_refs, n, i, lowercase, &out->hits, err);
    work_free(&w);
    ed__cps_free(&kept);
    if (s == ED_E_MEMORY)
        return ed_error_set(err, s, "", ED_NO_OFFSET, "out of memory while comparing lines");
    ED_TRY(s);
    out->score = 100.0 * (double)out->hits / (double)n;
    snprintf(out->name, sizeof out->name, "exact");
    snprintf(out->signature, sizeof out->signature, "nrefs:%s|case:%s|version:endec-%s", nrefs, lowercase ? "lc" : "mixed", ed_version());
    return ED_OK;
}
