/* tests/unit/test_decode_beam.c - beam search against a naive search without caches and against exhaustive enumeration. */
#include "decode_common.h"

enum { V = 13, MAXB = 64, MAXT = 16 };

/* ------------------------------------------------------------------ the naive search: a literal form of the published algorithm over arrays, full passes */

typedef struct seq {
    int32_t ids[MAXT];
    int n;
    double score; /* running: sum; finished: penalised */
    bool finished; /* a slot of the finished list that is in use */
} seq;
#define NONE (-1e9)

static bool in_list(int32_t id, const int32_t *eos, int n) {
    for (int i = 0; i < n; i++)
        if (eos[i] == id)
            return true;
    return false;
}

typedef struct naive_opts {
    const ed_model *m;
    const int32_t *src;
    int n_src;
    const int32_t *prompt;
    int n_prompt, beams, limit, min_new, early;
    double penalty;
    const int32_t *eos;
    int n_eos;
} naive_opts;

static void next_logprobs(const naive_opts *o, const seq *s, double *lp) {
    int32_t text[64];
    float row[V];
    memcpy(text, o->prompt, (size_t)o->n_prompt * sizeof *text);
    memcpy(text + o->n_prompt, s->ids, (size_t)s->n * sizeof *text);
    full_logits(o->m, o->src, o->n_src, text, o->n_prompt + s->n, row);
    double lse = naive_lse(row, V);
    for (int v = 0; v < V; v++)
        lp[v] = s->n < o->min_new && in_list(v, o->eos, o->n_eos) ? -INFINITY : (double)row[v] - lse;
}

/** The k best of n by score, stable: out gets their indices. */
static void top(const double *score, int n, int k, int *out) {
    static bool used[MAXB * V + MAXB * 8];
    memset(used, 0, sizeof used);
    for (int i = 0; i < k; i++) {
        int best = -1;
        for (int j = 0; j < n; j++)
            if (!used[j] && (best < 0 || score[j] > score[best]))
                best = j;
        used[out[i] = best] = true;
    }
}

static int naive_beam(const naive_opts *o, seq *finished) {
    static seq run[MAXB], cand[MAXB * 8], merged[MAXB * 9];
    static double acc[MAXB * V], ended[MAXB * 8], scores[MAXB * 9];
    static int pick[MAXB * V], order[MAXB * 9];
    int K = o->beams, keep = (o->n_eos > 1 ? 1 + o->n_eos : 2) * K;
    bool improve = true;
    for (int b = 0; b < K; b++) {
        run[b] = (seq){.score = b ? NONE : 0};
        finished[b] = (seq){.score = NONE};
    }
    for (int len = 0;; len++) {
        bool all = true, all_stop = true;
        for (int b = 0; b < K; b++) {
            double lp[V];
            if (run[b].score <= NONE / 2) {
                for (int v = 0; v < V; v++)
                    acc[b * V + v] = NONE * 2;
                continue;
            }
            next_logprobs(o, &run[b], lp);
            for (int v = 0; v < V; v++)
                acc[b * V + v] = run[b].score + lp[v];
        }
        int k = keep < K * V ? keep : K * V;
        top(acc, K * V, k, pick);
        for (int i = 0; i < k; i++) {
            cand[i] = run[pick[i] / V];
            cand[i].ids[cand[i].n++] = pick[i] % V;
            cand[i].score = acc[pick[i]];
            cand[i].finished = in_list(pick[i] % V, o->eos, o->n_eos) || len + 1 == o->limit;
            ended[i] = cand[i].score + (cand[i].finished ? NONE : 0);
            all_stop = all_stop && (cand[i].finished || cand[i].score < NONE / 2);
        }
        top(ended, k, K < k ? K : k, order);
        for (int b = 0; b < K; b++) {
            run[b] = b < k ? cand[order[b]] : (seq){.score = NONE};
            run[b].score = b < k ? ended[order[b]] : NONE;
        }
        for (int b = 0; b < K; b++)
            all = all && finished[b].finished;
        int n = 0;
        for (int b = 0; b < K; b++)
            merged[n++] = finished[b];
        for (int i = 0; i < k; i++) {
            merged[n] = cand[i];
            merged[n].finished = cand[i].finished && i < K && cand[i].score > NONE / 2;
            bool shut = (all && o->early == ED_EARLY_TRUE) || !improve || !merged[n].finished;
            merged[n++].score = shut ? NONE * 3 : cand[i].score / pow(len + 1, o->penalty);
        }
        for (int i = 0; i < n; i++)
            scores[i] = merged[i].score;
        top(scores, n, K, order);
        for (int b = 0; b < K; b++)
            finished[b] = merged[order[b]];
        double worst = 1e30, length = o->early == ED_EARLY_NEVER && o->penalty > 0 ? o->limit : len + 1;
        bool full = true;
        for (int b = 0; b < K; b++) {
            full = full && finished[b].finished;
            worst = fmin(worst, finished[b].finished ? finished[b].score : NONE);
        }
        improve = improve && run[0].score > NONE / 2 && run[0].score / pow(length, o->penalty) > worst;
        if (!improve || all_stop || (full && o->early == ED_EARLY_TRUE))
            break;
    }
    int n = 0;
    while (n < K && finished[n].finished)
        n++;
    return n;
}

/* ------------------------------------------------------------------ */

static void set_eos(ed_decode_opts *o, char *text, const int32_t *eos, int n) {
    char *at = text;
    for (int i = 0; i < n; i++)
        at += snprintf(at, 8, "%s%d", i ? "," : "", eos[i]);
    *at = 0;
    o->eos_token_id = text;
}

static void test_naive_search(void **state) {
    (void)state;
    static const int32_t eos[] = {1, 4, 7};
    ed_rng r = ed_rng_make(8, 8);
    const char *const positions[] = {"sinusoidal", "rope", "relative"};
    for (int trial = 0; trial < 18; trial++) {
        int kind = trial % 2;
        ed_model *m = tiny_model(kind, V, positions[trial % 3], 50 + (uint64_t)trial);
        prompts x;
        ed_result got[5];
        char text[64];
        int32_t start = 0;
        ed_decode_opts o = ed_decode_opts_default();
        o.num_beams = 2 + (int64_t)ed_rng_below(&r, 4);
        o.num_return_sequences = o.num_beams;
        o.max_new_tokens = 1 + (int64_t)ed_rng_below(&r, 9);
        o.min_new_tokens = ed_rng_below(&r, 2) ? (int64_t)ed_rng_below(&r, 4) : 0;
        o.early_stopping = (int)ed_rng_below(&r, 3);
        o.length_penalty = (double)ed_rng_below(&r, 5) * 0.7 - 0.6;
        int n_eos = (int)ed_rng_below(&r, 4);
        set_eos(&o, text, eos, n_eos);
        o.batch_size = 3;
        make_prompts(&x, (uint64_t)trial, V);
        x.p[4].n = 5;
        generate(m, x.p, 5, &o, got);
        for (int i = 0; i < 5; i++) {
            static seq want[MAXB];
            bool pair = kind == ED_MODEL_ENCDEC;
            naive_opts no = {m, pair ? x.p[i].ids : NULL, (int)x.p[i].n, pair ? &start : x.p[i].ids, pair ? 1 : (int)x.p[i].n, (int)o.num_beams,
                             (int)o.max_new_tokens, (int)o.min_new_tokens, o.early_stopping, o.length_penalty, eos, n_eos};
            int n = naive_beam(&no, want);
            assert_int_equal(got[i].n, n);
            for (int h = 0; h < n; h++) {
                const ed_hypothesis *y = &got[i].hyps[h];
                assert_int_equal(y->n, want[h].n);
                assert_memory_equal(y->ids, want[h].ids, (size_t)y->n * sizeof *y->ids);
                assert_true(fabs(y->score - want[h].score) < 1e-5 * (1 + fabs(y->score)));
                double sum = 0;
                for (int64_t t = 0; t < y->n; t++)
                    sum += (double)y->logprobs[t];
                assert_true(fabs(sum - y->sum_logprob) < 1e-12 * (1 + fabs(sum)));
                assert_int_equal(y->finish == ED_FINISH_EOS, in_list(y->ids[y->n - 1], eos, n_eos));
            }
        }
        results_deinit(got, 5);
        ed_model_destroy(&m);
    }
}

/** With room for every path the search is exhaustive: the n-best list is that of all texts of up to L tokens. */
static void test_exhaustive(void **state) {
    (void)state;
    enum { W = 4, L = 3, ALL = 1 + 3 + 9 + 27 };
    for (int kind = 0; kind < 2; kind++)
        for (int lp = 0; lp < 3; lp++) {
            ed_model *m = tiny_model(kind, W, kind ? "rope" : "sinusoidal", 7 + (uint64_t)lp);
            int32_t ids[] = {3, 2, 3}, start = 0;
            ed_prompt p = {.ids = ids, .n = 3};
            ed_result r;
            ed_decode_opts o = ed_decode_opts_default();
            o.num_beams = o.num_return_sequences = 48;
            o.max_new_tokens = L;
            o.length_penalty = lp;
            generate(m, &p, 1, &o, &r);
            seq all[256] = {{.n = 0}}, list[256];
            int n = 1, n_list = 0;
            for (int at = 0; at < n; at++) { /* breadth first: every unfinished text grows by every token */
                int32_t text[8];
                int n_prompt = kind ? 3 : 1;
                float row[W];
                memcpy(text, kind ? ids : &start, (size_t)n_prompt * sizeof *text);
                memcpy(text + n_prompt, all[at].ids, (size_t)all[at].n * sizeof *text);
                full_logits(m, kind ? NULL : ids, 3, text, n_prompt + all[at].n, row);
                double lse = naive_lse(row, W);
                for (int v = 0; v < W; v++) {
                    seq s = all[at];
                    s.ids[s.n++] = v;
                    s.score += (double)row[v] - lse;
                    if (v != 1 && s.n < L) {
                        all[n++] = s;
                        continue;
                    }
                    s.score /= pow(s.n, lp);
                    int i = n_list++;
                    for (; i > 0 && list[i - 1].score < s.score; i--)
                        list[i] = list[i - 1];
                    list[i] = s;
                }
            }
            assert_int_equal(n_list, ALL); /* 1 end at once, 3 after one token, 9 * 4 of three */
            assert_int_equal(r.n, ALL);
            for (int h = 0; h < ALL; h++) {
                assert_true(fabs(r.hyps[h].score - list[h].score) < 1e-5);
                assert_int_equal(r.hyps[h].n, list[h].n);
                assert_memory_equal(r.hyps[h].ids, list[h].ids, (size_t)list[h].n * sizeof(int32_t));
            }
            ed_result_deinit(&r);
            ed_model_destroy(&m);
        }
}

/** No beam below greedy's own score when nothing is cut: one beam of the search is greedy decoding. */
static void test_wide_is_no_worse_than_greedy(void **state) {
    (void)state;
    int better = 0;
    for (int k = 0; k < 6; k++) {
        ed_model *m = tiny_model(k % 2, V, k % 2 ? "rope" : "sinusoidal", 90 + (uint64_t)k);
        prompts x;
        ed_result one[MANY], wide[MANY];
        ed_decode_opts o = ed_decode_opts_default();
        o.max_new_tokens = 2;
        o.eos_token_id = (char *)(intptr_t)"";
        o.length_penalty = 0;
        make_prompts(&x, 1, V);
        generate(m, x.p, MANY, &o, one);
        o.num_beams = V;
        generate(m, x.p, MANY, &o, wide);
        for (int i = 0; i < MANY; i++) {
            assert_true(wide[i].hyps[0].score >= one[i].hyps[0].sum_logprob - 1e-5);
            better += wide[i].hyps[0].score > one[i].hyps[0].sum_logprob + 1e-3;
        }
        results_deinit(one, MANY);
        results_deinit(wide, MANY);
        ed_model_destroy(&m);
    }
    assert_true(better > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_naive_search), cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_wide_is_no_worse_than_greedy)};
    ed_threads_set(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
