/* tests/unit/test_decode_logits.c - every processor of the logit chain against a naive twin, row choices, and sampling against its exact law. */
#include "decode_common.h"

enum { V = 700 };

static ed_model_config config(int64_t vocab) {
    ed_model_config c = ed_model_config_default();
    c.kind = ED_MODEL_DECODER;
    c.vocab_size = vocab;
    c.eos_id = 1;
    return c;
}

/* ------------------------------------------------------------------ the naive twin, in f64 and in full */

typedef struct twin {
    const int32_t *text;
    int n, n_prompt, max_new;
} twin;

static int by_value(const void *a, const void *b) {
    const double *x = a, *y = b;
    return x[0] != y[0] ? (x[0] < y[0] ? 1 : -1) : (x[1] > y[1]) - (x[1] < y[1]);
}

static void naive(const ed_decode_opts *o, const twin *t, const int32_t *eos, int n_eos, const int32_t (*bad)[3], const int *bad_len, int n_bad, double *row) {
    static double sorted[V][2];
    int new_tokens = t->n - t->n_prompt;
    for (int v = 0; v < V; v++) {
        bool there = false;
        int count = 0;
        for (int i = 0; i < t->n; i++) {
            there |= t->text[i] == v;
            count += t->text[i] == v && i >= t->n_prompt;
        }
        if (there)
            row[v] = row[v] < 0 ? row[v] * o->repetition_penalty : row[v] / o->repetition_penalty;
        row[v] -= o->frequency_penalty * count + (count ? o->presence_penalty : 0);
    }
    int ng = (int)o->no_repeat_ngram_size;
    for (int v = 0; v < V && ng > 0; v++)
        for (int i = 0; i + ng <= t->n; i++) { /* does text + v end with the n-gram at i? */
            bool same = t->text[i + ng - 1] == v;
            for (int j = 0; j < ng - 1; j++)
                same = same && t->text[i + j] == t->text[t->n - (ng - 1) + j];
            if (same)
                row[v] = -INFINITY;
        }
    for (int b = 0; b < n_bad; b++) {
        int k = bad_len[b] - 1;
        bool match = k <= t->n && !(k == 0 && bad[b][0] == eos[0]);
        for (int j = 0; match && j < k; j++)
            match = t->text[t->n - k + j] == bad[b][j];
        if (match)
            row[bad[b][k]] = -INFINITY;
    }
    for (int i = 0; i < n_eos && new_tokens < o->min_new_tokens; i++)
        row[eos[i]] = -INFINITY;
    for (int v = 0; v < V; v++) {
        if (o->forced_bos_token_id >= 0 && t->n == 1)
            row[v] = v == o->forced_bos_token_id ? 0 : -INFINITY;
        if (o->forced_eos_token_id >= 0 && new_tokens == t->max_new - 1)
            row[v] = v == o->forced_eos_token_id ? 0 : -INFINITY;
    }
    if (o->temperature <= 0)
        return;
    for (int v = 0; v < V; v++) {
        row[v] /= o->temperature;
        sorted[v][0] = row[v];
        sorted[v][1] = v;
    }
    qsort(sorted, V, sizeof *sorted, by_value);
    int keep = V;
    if (o->top_k > 0 && o->top_k < V)
        for (keep = (int)o->top_k; keep < V && sorted[keep][0] == sorted[keep - 1][0]; keep++)
            ;
    double total = 0, sum = 0, best = sorted[0][0];
    for (int i = 0; i < keep; i++)
        total += exp(sorted[i][0] - best);
    int k2 = 0;
    for (; k2 < keep && (k2 == 0 || sum / total < o->top_p) && sorted[k2][0] > -INFINITY; k2++)
        sum += exp(sorted[k2][0] - best);
    if (o->top_p < 1)
        keep = k2;
    while (o->min_p > 0 && exp(sorted[keep - 1][0] - best) < o->min_p)
        keep--;
    for (int i = keep; i < V; i++)
        row[(int)sorted[i][1]] = -INFINITY;
}

/** One random text and row through both; options as set by the caller. */
static void both(const ed_decode_opts *o, uint64_t seed, const int32_t *eos, int n_eos, const int32_t (*bad)[3], const int *bad_len, int n_bad) {
    static float row[V];
    static double want[V];
    static int32_t scratch[V];
    int32_t text[60];
    ed_rng r = ed_rng_make(seed, 1);
    ed_model_config c = config(V);
    ed_logit_chain *chain = NULL, *copy = NULL;
    ed_error e = {0};
    twin t = {.text = text, .n_prompt = 1 + (int)ed_rng_below(&r, 30), .max_new = 20};
    t.n = t.n_prompt + (int)ed_rng_below(&r, 20);
    for (int i = 0; i < t.n; i++) /* few distinct tokens, so that there is something to repeat */
        text[i] = (int32_t)ed_rng_below(&r, 6);
    check_ok(ed_logit_chain_create(o, &c, text, t.n_prompt, t.max_new, &chain, &e), &e);
    for (int i = t.n_prompt; i < t.n; i++)
        assert_int_equal(ed_logit_chain_push(chain, text[i]), ED_OK);
    assert_int_equal(ed_logit_chain_clone(chain, &copy), ED_OK);
    assert_int_equal(ed_logit_chain_push(chain, 5), ED_OK); /* the clone does not see it */
    for (int v = 0; v < V; v++)
        want[v] = (double)(row[v] = (float)(3 * ed_rng_normal(&r)));
    naive(o, &t, eos, n_eos, bad, bad_len, n_bad, want);
    assert_true(ed_logit_chain_active(copy));
    ed_logit_chain_apply(copy, row, scratch);
    for (int v = 0; v < V; v++) {
        if ((row[v] == -INFINITY) != (want[v] == -INFINITY) || (want[v] > -INFINITY && fabs((double)row[v] - want[v]) > 1e-5 * (1 + fabs(want[v]))))
            fail_msg("seed %d: token %d: %g, not %g", (int)seed, v, (double)row[v], want[v]);
    }
    ed_logit_chain_destroy(&chain);
    ed_logit_chain_destroy(&copy);
}

static void test_processors(void **state) {
    (void)state;
    static const int32_t bad[][3] = {{5}, {2, 3}, {0, 1, 4}, {1}}, eos[] = {1, 6};
    static const int bad_len[] = {1, 2, 3, 1};
    for (uint64_t seed = 0; seed < 14; seed++) {
        for (int which = 0; which < 14; which++) {
            ed_decode_opts o = ed_decode_opts_default();
            bool all = which == 13;
            int n_bad = 0;
            if (which == 0 || all)
                o.repetition_penalty = 1.4;
            if (which == 1 || all)
                o.presence_penalty = 0.7;
            if (which == 2 || all)
                o.frequency_penalty = -0.3;
            if (which == 3 || all)
                o.no_repeat_ngram_size = 1 + (int64_t)(seed % 4);
            if (which == 4 || all) {
                o.bad_words_ids = (char *)(intptr_t) "5;2,3; 0,1 ,4;1";
                n_bad = 4;
            }
            if (which == 5 || all)
                o.min_new_tokens = 7;
            if (which == 6)
                o.forced_bos_token_id = 9;
            if (which == 7)
                o.forced_eos_token_id = 1;
            if (which >= 8)
                o.temperature = which == 8 || all ? 0.6 : 1;
            if (which == 9 || which == 12 || all)
                o.top_k = 1 + (int64_t)(seed * 21) % 300;
            if (which == 10 || which == 12 || all)
                o.top_p = 0.05 + 0.07 * (double)seed;
            if (which == 11 || which == 12 || all)
                o.min_p = 0.002 + 0.06 * (double)seed;
            if (which == 8 || which == 5)
                o.eos_token_id = (char *)(intptr_t) "1,6";
            both(&o, seed, eos, which == 5 || which == 8 ? 2 : 1, bad, bad_len, n_bad);
        }
    }
}

static void test_ties(void **state) {
    (void)state;
    float row[V], values[9];
    int32_t ids[9], scratch[V];
    ed_model_config c = config(V);
    ed_error e = {0};
    ed_logit_chain *chain = NULL;
    ed_decode_opts o = ed_decode_opts_default();
    o.temperature = 1;
    for (int v = 0; v < V; v++)
        row[v] = v % 7 == 3 ? 2 : v % 5 == 0 ? 1 : -INFINITY;
    assert_int_equal(ed_argmax_row(row, V), 3);
    assert_int_equal(ed_topk_row(row, V, 9, ids, values), 9);
    for (int i = 0; i < 9; i++)
        assert_true(ids[i] == 3 + 7 * i && values[i] == 2);
    o.top_k = 4; /* ties with the fourth stay */
    check_ok(ed_logit_chain_create(&o, &c, NULL, 0, 5, &chain, &e), &e);
    ed_logit_chain_apply(chain, row, scratch);
    int left = 0;
    for (int v = 0; v < V; v++)
        left += row[v] > -INFINITY;
    assert_int_equal(left, 100);
    ed_logit_chain_destroy(&chain);
    o.top_k = 0;
    o.top_p = 0.105; /* 100 equal tokens: the first eleven */
    check_ok(ed_logit_chain_create(&o, &c, NULL, 0, 5, &chain, &e), &e);
    ed_logit_chain_apply(chain, row, scratch);
    for (int v = 0; v < V; v++)
        assert_true((row[v] > -INFINITY) == (v % 7 == 3 && v / 7 < 11));
    ed_logit_chain_destroy(&chain);
    for (int v = 0; v < V; v++)
        row[v] = -INFINITY;
    assert_true(ed_argmax_row(row, V) == -1 && ed_sample_row(row, V, 0.5) == -1 && isnan(ed_logsumexp_row(row, V)) && ed_topk_row(row, V, 9, ids, values) == 0);
    row[600] = 5;
    assert_true(ed_argmax_row(row, V) == 600 && ed_sample_row(row, V, 0.999) == 600 && ed_logsumexp_row(row, V) == 5 && ed_topk_row(row, V, 9, ids, values) == 1);
    row[8] = NAN;
    assert_true(ed_argmax_row(row, V) == -1 && ed_sample_row(row, V, 0.5) == -1 && isnan(ed_logsumexp_row(row, V)));
    row[8] = INFINITY;
    assert_true(ed_argmax_row(row, V) == -1 && ed_sample_row(row, V, 0.5) == -1 && isnan(ed_logsumexp_row(row, V)));
}

static void test_topk_and_logsumexp(void **state) {
    (void)state;
    static float row[40000], values[5000];
    static double sorted[40000][2];
    static int32_t ids[5000];
    ed_rng r = ed_rng_make(3, 3);
    const int64_t sizes[] = {1, 7, 511, 512, 513, 40000}, ks[] = {1, 2, 10, 300, 5000};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++) {
            int64_t n = sizes[i], k = ks[j] < n ? ks[j] : n;
            for (int64_t v = 0; v < n; v++) {
                row[v] = (float)(ed_rng_below(&r, 3000)) * 0.01f; /* with ties */
                sorted[v][0] = (double)row[v];
                sorted[v][1] = (double)v;
            }
            qsort(sorted, (size_t)n, sizeof *sorted, by_value);
            assert_int_equal(ed_topk_row(row, n, ks[j], ids, values), k);
            for (int64_t v = 0; v < k; v++)
                assert_true(ids[v] == (int32_t)sorted[v][1] && (double)values[v] == sorted[v][0]);
            assert_int_equal(ed_argmax_row(row, n), ids[0]);
            assert_true(fabs(ed_logsumexp_row(row, n) - naive_lse(row, n)) < 2e-6);
        }
}

/* ------------------------------------------------------------------ sampling */

static void test_inverse_cdf(void **state) {
    (void)state;
    float row[] = {logf(1), -INFINITY, logf(2), logf(5), -INFINITY};
    const struct {
        double u;
        int32_t id;
    } cases[] = {{1e-9, 0}, {0.1249, 0}, {0.1251, 2}, {0.3749, 2}, {0.3751, 3}, {1 - 1e-12, 3}};
    for (int i = 0; i < 6; i++)
        assert_int_equal(ed_sample_row(row, 5, cases[i].u), cases[i].id);
    double u = ed_draw_uniform(1, ED_DRAW_TARGET, 5, 0, 9);
    assert_true(u == ed_draw_uniform(1, ED_DRAW_TARGET, 5, 0, 9));
    assert_true(u != ed_draw_uniform(2, ED_DRAW_TARGET, 5, 0, 9) && u != ed_draw_uniform(1, ED_DRAW_DRAFT, 5, 0, 9) &&
                u != ed_draw_uniform(1, ED_DRAW_TARGET, 6, 0, 9) && u != ed_draw_uniform(1, ED_DRAW_TARGET, 5, 1, 9) &&
                u != ed_draw_uniform(1, ED_DRAW_TARGET, 5, 0, 10));
}

/** Pairs of tokens sampled from a model against the exact law of all pairs: chi-square with a threshold near p = 1e-4. */
static void chi_square(int kind, double temperature, int64_t top_k, double limit_sigma) {
    enum { W = 6, N = 4000 };
    ed_model *m = tiny_model(kind, W, kind ? "rope" : "sinusoidal", 21);
    int32_t ids[] = {4, 3, 5}, start = 0, text[8];
    double law[W][W] = {{0}}, first[W] = {0}, chi = 0;
    static ed_prompt p[N / 4];
    static ed_result r[N / 4];
    int count[W][W] = {{0}}, cells = 0;
    ed_decode_opts o = ed_decode_opts_default();
    o.temperature = temperature;
    o.top_k = top_k;
    o.max_new_tokens = 2;
    o.num_return_sequences = 4;
    o.eos_token_id = (char *)(intptr_t) "";
    o.logprobs = false;
    int n = kind ? 3 : 1;
    memcpy(text, kind ? ids : &start, (size_t)n * sizeof *text);
    for (int a = -1; a < W; a++) { /* a = -1: the first token's law */
        float row[W], kept[W];
        int32_t best[W];
        if (a >= 0)
            text[n] = a;
        full_logits(m, kind ? NULL : ids, 3, text, n + (a >= 0), row);
        int64_t k = ed_topk_row(row, W, top_k ? top_k : W, best, kept);
        double sum = 0;
        for (int i = 0; i < k; i++)
            sum += exp((double)kept[i] / temperature);
        for (int i = 0; i < k; i++) {
            double q = exp((double)kept[i] / temperature) / sum;
            if (a < 0)
                first[best[i]] = q;
            else
                law[a][best[i]] = q * first[a];
        }
    }
    for (int i = 0; i < N / 4; i++)
        p[i] = (ed_prompt){.ids = ids, .n = 3};
    generate(m, p, N / 4, &o, r);
    for (int i = 0; i < N / 4; i++)
        for (int j = 0; j < 4; j++)
            count[r[i].hyps[j].ids[0]][r[i].hyps[j].ids[1]]++;
    double rest = 0, rest_count = 0;
    for (int a = 0; a < W; a++)
        for (int b = 0; b < W; b++) {
            double expected = law[a][b] * N;
            if (law[a][b] == 0)
                assert_int_equal(count[a][b], 0);
            if (expected < 5) {
                rest += expected;
                rest_count += count[a][b];
                continue;
            }
            chi += (count[a][b] - expected) * (count[a][b] - expected) / expected;
            cells++;
        }
    if (rest >= 1) {
        chi += (rest_count - rest) * (rest_count - rest) / rest;
        cells++;
    }
    double df = cells - 1;
    assert_true(df >= 1);
    if (chi > df + limit_sigma * sqrt(2 * df) + 8)
        fail_msg("chi-square %.1f with %g degrees of freedom", chi, df);
    results_deinit(r, N / 4);
    ed_model_destroy(&m);
}

static void test_law(void **state) {
    (void)state;
    chi_square(ED_MODEL_DECODER, 1.5, 0, 3.7);
    chi_square(ED_MODEL_ENCDEC, 0.9, 3, 3.7);
}

static void test_order_and_mates_do_not_matter(void **state) {
    (void)state;
    ed_model *m = tiny_model(ED_MODEL_DECODER, 31, "rope", 5);
    prompts x;
    ed_prompt back[MANY];
    ed_result a[MANY], b[MANY], c[MANY];
    ed_decode_opts o = ed_decode_opts_default();
    int differ = 0;
    o.temperature = 1;
    o.max_new_tokens = 12;
    o.eos_token_id = (char *)(intptr_t) "1,5";
    o.seed = 3;
    make_prompts(&x, 2, 31);
    for (int i = 0; i < MANY; i++)
        back[MANY - 1 - i] = x.p[i];
    generate(m, x.p, MANY, &o, a);
    o.batch_size = 3;
    generate(m, back, MANY, &o, b);
    o.seed = 4;
    generate(m, x.p, MANY, &o, c);
    for (int i = 0; i < MANY; i++) {
        assert_true(same_result(&a[i], &b[MANY - 1 - i]));
        differ += !same_result(&a[i], &c[i]);
    }
    assert_true(differ > MANY / 2);
    results_deinit(a, MANY);
    results_deinit(b, MANY);
    results_deinit(c, MANY);
    ed_model_destroy(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processors), cmocka_unit_test(test_ties), cmocka_unit_test(test_topk_and_logsumexp),
        cmocka_unit_test(test_inverse_cdf), cmocka_unit_test(test_law), cmocka_unit_test(test_order_and_mates_do_not_matter),
    };
    ed_threads_set(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
