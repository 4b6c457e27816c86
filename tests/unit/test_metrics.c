/* tests/unit/test_metrics.c - BLEU and chrF against scores that sacreBLEU printed (data/metrics_golden.json, made by metrics_golden.py),
 * closed forms for small cases, edit distance against a naive twin, error paths, allocation failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "base/internal.h"
#include "endec/metrics.h"

#define GOLDEN "tests/unit/data/metrics_golden.json"

static const char *opt_str(const json_t *o, const char *key, const char *fallback) {
    const json_t *v = json_object_get(o, key);
    return v ? json_string_value(v) : fallback;
}

static bool opt_bool(const json_t *o, const char *key) {
    return json_is_true(json_object_get(o, key));
}

static int index_of(const char *name, const char *const *names) {
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

static double num(const json_t *o, const char *key, double fallback) {
    const json_t *v = json_object_get(o, key);
    return v ? json_number_value(v) : fallback;
}

/* Fills flat [streams][n] text pointers; NULL where JSON has null. */
static const char **stream_lines(const json_t *streams, size_t n) {
    size_t m = json_array_size(streams);
    const char **out = calloc(m * n, sizeof *out);
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < n; i++)
            out[r * n + i] = json_string_value(json_array_get(json_array_get(streams, r), i));
    return out;
}

static void same_signature(const char *got, const char *want) {
    char full[256];
    snprintf(full, sizeof full, "%s|version:endec-%s", want, ed_version());
    assert_string_equal(got, full);
}

static void near(const char *what, const char *name, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol))
        fail_msg("%s: %s is %.10g, want %.10g", name, what, got, want);
}

static int check_bleu(const json_t *c, const char *const *hyps, const char *const *refs, int n_refs, int64_t n) {
    static const char *const toks[] = {"13a", "none", "char", "zh", NULL}, *const smooths[] = {"exp", "floor", "add-k", "none", NULL};
    const char *name = opt_str(c, "name", "");
    const json_t *b;
    size_t k;
    json_array_foreach(json_object_get(c, "bleu"), k, b) {
        const json_t *o = json_object_get(b, "opts");
        ed_bleu_opts opts = ed_bleu_opts_default();
        ed_metric_score s;
        ed_error err;
        opts.tok = index_of(opt_str(o, "tokenize", "13a"), toks);
        opts.smooth = index_of(opt_str(o, "smooth_method", "exp"), smooths);
        opts.smooth_value = num(o, "smooth_value", -1);
        opts.lowercase = opt_bool(o, "lowercase");
        opts.effective_order = opt_bool(o, "effective_order");
        assert_int_equal(ed_metric_bleu(&opts, hyps, refs, n_refs, n, &s, &err), ED_OK);
        char label[128];
        snprintf(label, sizeof label, "%s (bleu setting %zu)", name, k);
        near("sys_len", label, (double)s.sys_len, num(b, "sys_len", -1), 0);
        near("ref_len", label, (double)s.ref_len, num(b, "ref_len", -1), 0);
        near("bp", label, s.bp, num(b, "bp", -1), 1e-7);
        for (int p = 0; p < ED_BLEU_ORDER; p++)
            near("precision", label, s.precisions[p], json_number_value(json_array_get(json_object_get(b, "precisions"), (size_t)p)), 1e-6);
        near("score", label, s.score, num(b, "score", -1), 1e-6);
        same_signature(s.signature, opt_str(b, "signature", ""));
    }
    return (int)k;
}

static int check_chrf(const json_t *c, const char *const *hyps, const char *const *refs, int n_refs, int64_t n) {
    const json_t *b;
    size_t k;
    json_array_foreach(json_object_get(c, "chrf"), k, b) {
        const json_t *o = json_object_get(b, "opts");
        ed_chrf_opts opts = ed_chrf_opts_default();
        ed_metric_score s;
        ed_error err;
        opts.char_order = (int64_t)num(o, "char_order", 6);
        opts.word_order = (int64_t)num(o, "word_order", 0);
        opts.beta = (int64_t)num(o, "beta", 2);
        opts.lowercase = opt_bool(o, "lowercase");
        opts.whitespace = opt_bool(o, "whitespace");
        opts.eps_smoothing = opt_bool(o, "eps_smoothing");
        assert_int_equal(ed_metric_chrf(&opts, hyps, refs, n_refs, n, &s, &err), ED_OK);
        char label[128];
        snprintf(label, sizeof label, "%s (chrF setting %zu)", opt_str(c, "name", ""), k);
        near("score", label, s.score, num(b, "score", -1), 1e-6);
        assert_string_equal(s.name, opt_str(b, "name", ""));
        same_signature(s.signature, opt_str(b, "signature", ""));
    }
    return (int)k;
}

static void golden(void **state) {
    (void)state;
    json_error_t je;
    json_t *root = json_load_file(GOLDEN, 0, &je);
    assert_non_null(root);
    const json_t *c;
    size_t k;
    int checks = 0;
    json_array_foreach(json_object_get(root, "cases"), k, c) {
        const json_t *jh = json_object_get(c, "hyps"), *jr = json_object_get(c, "refs");
        size_t n = json_array_size(jh);
        json_t *one = json_pack("[O]", jh);
        const char **hyps = stream_lines(one, n), **refs = stream_lines(jr, n);
        checks += check_bleu(c, hyps, refs, (int)json_array_size(jr), (int64_t)n);
        checks += check_chrf(c, hyps, refs, (int)json_array_size(jr), (int64_t)n);
        json_decref(one);
        free(hyps);
        free(refs);
    }
    assert_true(k >= 30 && checks >= 300);
    json_decref(root);
    assert_int_equal(ed__mem_blocks(), 0);
}

/* 3 of 4 unigrams, 1 of 3 bigrams, then smoothed 1/2 * 1/2 and 1/4 * 1/1 (halved once more each order). */
static void bleu_closed_form(void **state) {
    (void)state;
    const char *hyp = "a b x c", *ref = "a b y c";
    ed_bleu_opts o = ed_bleu_opts_default();
    ed_metric_score s;
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 1, 1, &s, NULL), ED_OK);
    double p[4] = {75, 100.0 / 3, 25, 25};
    for (int k = 0; k < 4; k++)
        assert_true(fabs(s.precisions[k] - p[k]) < 1e-12);
    assert_true(fabs(s.score - pow(p[0] * p[1] * p[2] * p[3], 0.25)) < 1e-9);
    assert_int_equal(s.counts[0], 3);
    assert_int_equal(s.totals[3], 1);
    assert_int_equal(ed_metric_bleu_sentence(&o, "a b", &ref, 1, &s, NULL), ED_OK); /* two orders only: 100 %, brevity exp(1 - 4/2) */
    assert_true(fabs(s.score - 100 * exp(-1)) < 1e-9);
    assert_non_null(strstr(s.signature, "eff:yes"));
}

/* Distance by the recursion itself, memory of the whole table. */
static int naive_distance(const char *a, const char *b) {
    int na = (int)strlen(a), nb = (int)strlen(b), d[32][32];
    for (int i = 0; i <= na; i++)
        for (int j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            int sub = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), del = d[i - 1][j] + 1, ins = d[i][j - 1] + 1;
            d[i][j] = sub < del ? (sub < ins ? sub : ins) : (del < ins ? del : ins);
        }
    return d[na][nb];
}

static void error_rates(void **state) {
    (void)state;
    const char *hyps[] = {"the cat  sat", "extra word here", ""}, *refs[] = {"the dog sat", "word here", "gone now"};
    ed_metric_score s;
    assert_int_equal(ed_metric_wer(false, hyps, refs, 3, &s, NULL), ED_OK);
    assert_int_equal(s.substitutions, 1);
    assert_int_equal(s.insertions, 1);
    assert_int_equal(s.deletions, 2);
    assert_int_equal(s.hits, 4);
    assert_int_equal(s.ref_len, 7);
    assert_true(fabs(s.score - 400.0 / 7) < 1e-9);
    const char *h = " ab \t c\xC3\xA9 ", *r = "ab c\xC3\xA8";
    assert_int_equal(ed_metric_cer(false, &h, &r, 1, &s, NULL), ED_OK);
    assert_int_equal(s.ref_len, 5);
    assert_int_equal(s.substitutions, 1);
    h = "x", r = " ";
    assert_int_equal(ed_metric_wer(false, &h, &r, 1, &s, NULL), ED_OK);
    assert_true(isnan(s.score));
    ed_rng rng = ed_rng_make(7, 0);
    for (int t = 0; t < 500; t++) {
        char a[16] = {0}, b[16] = {0};
        for (uint64_t i = 0, n = ed_rng_below(&rng, 13); i < n; i++)
            a[i] = (char)('a' + ed_rng_below(&rng, 3));
        for (uint64_t i = 0, n = 1 + ed_rng_below(&rng, 12); i < n; i++)
            b[i] = (char)('a' + ed_rng_below(&rng, 3));
        const char *pa = a, *pb = b;
        assert_int_equal(ed_metric_cer(false, &pa, &pb, 1, &s, NULL), ED_OK);
        assert_int_equal(s.substitutions + s.deletions + s.insertions, naive_distance(a, b));
        assert_int_equal(s.hits + s.substitutions + s.insertions, s.sys_len);
        assert_int_equal(s.hits + s.substitutions + s.deletions, s.ref_len);
    }
    assert_int_equal(ed__mem_blocks(), 0);
}

static void exact_match(void **state) {
    (void)state;
    const char *hyps[] = {" yes", "No", "maybe"}, *refs[] = {"yes", "no", "never", "y", NULL, "maybe "};
    ed_metric_score s;
    assert_int_equal(ed_metric_exact(false, hyps, refs, 2, 3, &s, NULL), ED_OK);
    assert_int_equal(s.hits, 2);
    assert_true(fabs(s.score - 200.0 / 3) < 1e-9);
    assert_non_null(strstr(s.signature, "nrefs:var"));
    assert_int_equal(ed_metric_exact(true, hyps, refs, 2, 3, &s, NULL), ED_OK);
    assert_int_equal(s.hits, 3);
}

/* Invalid bytes count as one character each and never crash. */
static void invalid_bytes(void **state) {
    (void)state;
    const char *hyp = "a\xFF\xC3 b\xE2\x82", *ref = "a\xFF\xC3 b\xE2\x82";
    ed_chrf_opts o = ed_chrf_opts_default();
    ed_bleu_opts b = ed_bleu_opts_default();
    ed_metric_score s;
    assert_int_equal(ed_metric_chrf(&o, &hyp, &ref, 1, 1, &s, NULL), ED_OK);
    assert_true(fabs(s.score - 100) < 1e-9);
    b.tok = ED_BLEU_TOK_CHAR;
    assert_int_equal(ed_metric_bleu(&b, &hyp, &ref, 1, 1, &s, NULL), ED_OK);
    assert_int_equal(s.sys_len, 6);
}

static void refused(void **state) {
    (void)state;
    const char *hyp = "a", *ref = "a", *none = NULL;
    ed_bleu_opts o = ed_bleu_opts_default();
    ed_chrf_opts c = ed_chrf_opts_default();
    ed_metric_score s;
    ed_error err;
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 1, 0, &s, &err), ED_E_INVALID);
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 0, 1, &s, &err), ED_E_INVALID);
    assert_int_equal(ed_metric_bleu(&o, &none, &ref, 1, 1, &s, &err), ED_E_INVALID);
    assert_int_equal(ed_metric_bleu(&o, &hyp, &none, 1, 1, &s, &err), ED_E_INVALID);
    assert_string_equal(err.message, "line 1 has no reference");
    o.tok = 9;
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 1, 1, &s, &err), ED_E_RANGE);
    o = ed_bleu_opts_default();
    o.smooth_value = NAN;
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 1, 1, &s, &err), ED_E_RANGE);
    c.char_order = 17;
    assert_int_equal(ed_metric_chrf(&c, &hyp, &ref, 1, 1, &s, &err), ED_E_RANGE);
    char *huge = malloc(ED_METRIC_LINE_MAX + 2);
    memset(huge, 'a', ED_METRIC_LINE_MAX + 1);
    huge[ED_METRIC_LINE_MAX + 1] = '\0';
    const char *h = huge;
    assert_int_equal(ed_metric_wer(false, &h, &ref, 1, &s, &err), ED_E_LIMIT);
    huge[ED_METRIC_LINE_MAX] = '\0';
    assert_int_equal(ed_metric_cer(false, &h, &h, 1, &s, &err), ED_E_LIMIT); /* 2^40 cells */
    assert_int_equal(ed_metric_wer(false, &h, &h, 1, &s, &err), ED_OK);
    free(huge);
    assert_int_equal(ed__mem_blocks(), 0);
}

static void json_line(void **state) {
    (void)state;
    const char *hyp = "a b x c", *ref = "a b y c";
    ed_bleu_opts o = ed_bleu_opts_default();
    ed_metric_score s;
    char buf[ED_METRIC_JSON_BYTES], tiny[16];
    assert_int_equal(ed_metric_bleu(&o, &hyp, &ref, 1, 1, &s, NULL), ED_OK);
    assert_int_equal(ed_metric_json(&s, buf, sizeof buf, NULL), ED_OK);
    json_t *j = json_loads(buf, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    assert_string_equal(opt_str(j, "name", ""), "BLEU");
    assert_true(fabs(num(j, "score", 0) - s.score) < 1e-8);
    assert_int_equal(json_array_size(json_object_get(j, "precisions")), 4);
    assert_true(num(j, "bp", 0) == 1);
    assert_int_equal(num(j, "sys_len", 0), 4);
    assert_null(strchr(buf, '\n'));
    json_decref(j);
    assert_int_equal(ed_metric_json(&s, tiny, sizeof tiny, NULL), ED_E_RANGE);
    ref = "";
    assert_int_equal(ed_metric_wer(false, &hyp, &ref, 1, &s, NULL), ED_OK);
    assert_int_equal(ed_metric_json(&s, buf, sizeof buf, NULL), ED_OK);
    assert_non_null(strstr(buf, "\"score\":null"));
    assert_non_null(strstr(buf, "\"insertions\":4"));
    assert_int_equal(ed__mem_blocks(), 0);
}

/* Every allocation failing once: a status, no leak, and the next call works. */
static void allocation_failures(void **state) {
    (void)state;
    const char *hyps[] = {"The Cat sat, on 5-6 mats.", "more words than before in this line, really"},
               *refs[] = {"the cat sat on 5 mats .", "some other words in that line", "a", "b"};
    ed_bleu_opts o = ed_bleu_opts_default();
    ed_chrf_opts c = ed_chrf_opts_default();
    ed_metric_score s;
    o.lowercase = c.lowercase = true;
    c.word_order = 2;
    for (int which = 0; which < 4; which++) {
        ed_status st = ED_E_MEMORY;
        int64_t n = 1;
        for (; st != ED_OK && n < 500; n++) {
            ed__mem_fail_after(n, false);
            st = which == 0   ? ed_metric_bleu(&o, hyps, refs, 2, 2, &s, NULL)
                 : which == 1 ? ed_metric_chrf(&c, hyps, refs, 2, 2, &s, NULL)
                 : which == 2 ? ed_metric_wer(true, hyps, refs, 2, &s, NULL)
                              : ed_metric_exact(true, hyps, refs, 2, 2, &s, NULL);
            assert_true(st == ED_OK || st == ED_E_MEMORY);
            assert_int_equal(ed__mem_blocks(), 0);
        }
        ed__mem_fail_after(-1, false);
        assert_true(n > 3 && n < 500);
    }
}

static void option_tables(void **state) {
    (void)state;
    size_t n = 0;
    ed_bleu_opts o = ed_bleu_opts_default();
    const ed_option *t = ed_bleu_options(&n);
    assert_int_equal(ed_option_set_key(t, n, &o, "tok", "char", NULL), ED_OK);
    assert_int_equal(o.tok, ED_BLEU_TOK_CHAR);
    assert_int_equal(ed_option_set_key(t, n, &o, "effective-order", "true", NULL), ED_OK);
    assert_true(o.effective_order);
    ed_chrf_opts c = ed_chrf_opts_default();
    t = ed_chrf_options(&n);
    assert_int_equal(ed_option_set_key(t, n, &c, "word_order", "2", NULL), ED_OK);
    assert_int_equal(c.word_order, 2);
    assert_int_equal(ed_option_set_key(t, n, &c, "word_order", "99", NULL), ED_E_RANGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),        cmocka_unit_test(bleu_closed_form),    cmocka_unit_test(error_rates),
        cmocka_unit_test(exact_match),   cmocka_unit_test(invalid_bytes),       cmocka_unit_test(refused),
        cmocka_unit_test(json_line),     cmocka_unit_test(allocation_failures), cmocka_unit_test(option_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
