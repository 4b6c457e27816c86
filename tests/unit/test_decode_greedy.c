/* tests/unit/test_decode_greedy.c - greedy generation against full recomputation, batches against one by one, streams, limits, bad input. */
#include "decode_common.h"

enum { V = 29, ROWS = 32 };

static const char *const kinds[][2] = {{"1", "rope"}, {"1", "learned"}, {"1", "alibi"}, {"0", "sinusoidal"}, {"0", "learned"}, {"0", "t5"}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static ed_model *model_at(int i) {
    return tiny_model(kinds[i][0][0] - '0', V, kinds[i][1], 11 + (uint64_t)i);
}

/** Every token is the largest logit of a full pass, every log-probability that of the full pass. */
static void check_against_full(const ed_model *m, const ed_prompt *p, const ed_decode_opts *o, const ed_hypothesis *h) {
    bool pair = ed_model_get_config(m)->kind == ED_MODEL_ENCDEC;
    int32_t text[64 + 1], bos = 0, n = 0;
    const int32_t *ids = p->n ? p->ids : &bos;
    int64_t n_ids = p->n ? p->n : 1;
    double sum = 0;
    float row[V];
    if (pair)
        text[n++] = 0;
    else
        for (; n < n_ids; n++)
            text[n] = ids[n];
    for (int64_t i = 0; i < h->n; i++) {
        full_logits(m, pair ? ids : NULL, n_ids, text, n, row);
        int32_t best = 0;
        for (int32_t v = 0; v < V; v++)
            best = row[v] > row[best] ? v : best;
        assert_int_equal(h->ids[i], best);
        assert_true(fabs((double)row[best] - naive_lse(row, V) - (double)h->logprobs[i]) < 2e-6);
        sum += (double)h->logprobs[i];
        assert_true((best == 1 || best == 5 || best == 9) == (h->finish == ED_FINISH_EOS && i == h->n - 1));
        text[n++] = best;
    }
    assert_true(h->sum_logprob == sum);
    assert_true(h->finish != ED_FINISH_LENGTH || h->n == o->max_new_tokens || n == 64 + 1);
}

static void test_greedy_is_full_recomputation(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        ed_model *m = model_at(k);
        prompts x;
        ed_result r[MANY];
        ed_decode_opts o = ed_decode_opts_default();
        o.max_new_tokens = 12;
        o.eos_token_id = (char *)(intptr_t)"1,5,9";
        o.batch_size = 5;
        make_prompts(&x, 3, V);
        generate(m, x.p, MANY, &o, r);
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(r[i].n, 1);
            check_against_full(m, &x.p[i], &o, &r[i].hyps[0]);
        }
        results_deinit(r, MANY);
        ed_model_destroy(&m);
    }
}

static void test_batches_change_nothing(void **state) {
    (void)state;
    const struct {
        int64_t batch, tokens;
        int threads;
    } ways[] = {{1, 2048, 1}, {32, 2048, 2}, {7, 16, 1}, {3, 1, 1}, {19, 100, 1}};
    for (int k = 0; k < N_KINDS; k += 3) {
        for (int mode = 0; mode < 3; mode++) {
            ed_model *m = model_at(k);
            prompts x;
            ed_result want[MANY], got[MANY];
            ed_decode_opts o = ed_decode_opts_default();
            o.max_new_tokens = 10;
            o.eos_token_id = (char *)(intptr_t)"1,5,9";
            o.num_beams = mode == 1 ? 3 : 1;
            o.temperature = mode == 2 ? 0.8 : 0;
            o.top_p = 0.9;
            o.repetition_penalty = mode ? 1.2 : 1;
            o.num_return_sequences = mode == 2 ? 4 : mode == 1 ? 2 : 1;
            make_prompts(&x, 5, V);
            for (int i = 0; i < MANY; i++) /* one by one */
                generate(m, &x.p[i], 1, &o, &want[i]);
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                ed_threads_set(k == 0 ? ways[w].threads : 1);
                o.batch_size = ways[w].batch;
                o.batch_tokens = ways[w].tokens;
                generate(m, x.p, MANY, &o, got);
                for (int i = 0; i < MANY; i++)
                    assert_true(same_result(&want[i], &got[i]));
                results_deinit(got, MANY);
            }
            ed_threads_set(1);
            results_deinit(want, MANY);
            ed_model_destroy(&m);
        }
    }
}

/* ------------------------------------------------------------------ logits of one row, whatever rides along */

/** Logits of the first slot's rows [n, V] when fed `chunk` rows at a time among `others` other sequences. */
static void stepped_logits(const ed_model *m, const int32_t *ids, int64_t n, int64_t chunk, int64_t others, float *out) {
    bool pair = ed_model_get_config(m)->kind == ED_MODEL_ENCDEC;
    int32_t src[40 * 9], lengths[40], feed[40 * 16], slot[40 * 16];
    ed_graph_opts o = ed_graph_opts_infer();
    ed_graph *g = NULL;
    ed_cache *c = NULL;
    ed_error e = {0};
    ed_rng r = ed_rng_make(17, 1);
    check_ok(ed_graph_create(&o, &g), &e);
    check_ok(ed_cache_create(m, others + 1, 64, &c, &e), &e);
    for (int64_t b = 0; b <= others; b++) {
        lengths[b] = b == 0 ? 5 : 1 + (int32_t)(b % 9);
        random_ids(&r, src + b * 9, 9, V);
    }
    if (pair) {
        ed_rows rows = {.batch = others + 1, .len = 9, .ids = src, .lengths = lengths};
        for (int64_t b = 0; b < 5; b++)
            src[b] = 3 + (int32_t)b;
        ed_tensor *memory = ed_model_encode(m, g, &rows);
        for (int64_t b = 0; b <= others; b++)
            check_ok(ed_cache_set_memory(c, g, b, memory, b, lengths[b], &e), &e);
    }
    for (int64_t at = 0; at < n; at += chunk) {
        int64_t k = 0;
        for (int64_t b = 1; b <= others; b++) { /* some before, each with its own number of rows */
            for (int64_t i = 0; i < 1 + b % 3 && ed_cache_length(c, b) + i < 60; i++, k++) {
                feed[k] = 3 + (int32_t)ed_rng_below(&r, V - 3);
                slot[k] = (int32_t)b;
            }
        }
        for (int64_t i = 0; i < chunk; i++, k++) {
            feed[k] = ids[at + i];
            slot[k] = 0;
        }
        ed_graph_reset(g);
        ed_tensor *y = ed_model_step(m, g, c, &(ed_step){.n_rows = k, .ids = feed, .slot = slot});
        y = y ? ed_model_logits(m, g, y) : NULL;
        check_ok(ed_graph_status(g, &e), &e);
        memcpy(out + at * V, (float *)y->data + (k - chunk) * V, (size_t)(chunk * V) * sizeof *out);
    }
    ed_cache_destroy(&c);
    ed_graph_destroy(&g);
}

static void test_rows_do_not_see_their_batch(void **state) {
    (void)state;
    const int64_t others[] = {0, 2, 7, 32}, chunks[] = {1, 4, 16};
    for (int k = 0; k < N_KINDS; k++) {
        ed_model *m = model_at(k);
        int32_t ids[ROWS];
        float want[ROWS * V], got[ROWS * V];
        ed_rng r = ed_rng_make(2, 2);
        random_ids(&r, ids, ROWS, V);
        ed_threads_set(1);
        stepped_logits(m, ids, ROWS, 1, 0, want);
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 3; j++)
                for (int threads = 1; threads <= (k % 3 == 0 && i > 1 && j > 0 ? 2 : 1); threads++) {
                    ed_threads_set(threads);
                    stepped_logits(m, ids, ROWS, chunks[j], others[i], got);
                    assert_memory_equal(want, got, sizeof want);
                }
        ed_threads_set(1);
        ed_model_destroy(&m);
    }
}

/* ------------------------------------------------------------------ streams, limits, lengths */

typedef struct seen {
    int64_t n[MANY], stop_at, stop_prompt, last[MANY];
    int32_t ids[MANY][64];
    bool all;
} seen;
static ed_stream_next on_token(void *user, const ed_token_event *e) {
    seen *s = user;
    assert_int_equal(e->index, s->n[e->prompt]);
    s->ids[e->prompt][s->n[e->prompt]++] = e->id;
    s->last[e->prompt] += e->last;
    if (e->prompt == s->stop_prompt && e->index == s->stop_at)
        return s->all ? ED_STREAM_STOP_ALL : ED_STREAM_STOP;
    return ED_STREAM_GO;
}

static void test_stream_and_cancel(void **state) {
    (void)state;
    ed_error e = {0};
    for (int way = 0; way < 4; way++) { /* not stopped, one stopped, all stopped, beams */
        ed_model *m = model_at(way == 3 ? 3 : 0);
        prompts x;
        ed_result r[MANY], whole[MANY];
        seen s = {.stop_prompt = way == 1 || way == 2 ? 6 : -1, .stop_at = 4, .all = way == 2};
        ed_stream stream = {on_token, &s};
        ed_decode_opts o = ed_decode_opts_default();
        ed_decode_stats st;
        o.max_new_tokens = 9;
        o.min_new_tokens = 6;
        o.batch_size = 4;
        o.num_beams = way == 3 ? 3 : 1;
        make_prompts(&x, 6, V);
        generate(m, x.p, MANY, &o, whole);
        check_ok(ed_generate(m, x.p, MANY, &o, &stream, r, &st, &e), &e);
        int64_t total = 0, cancelled = 0;
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(r[i].n, 1);
            const ed_hypothesis *h = &r[i].hyps[0];
            assert_int_equal(h->n, s.n[i]);
            assert_memory_equal(h->ids, s.ids[i], (size_t)h->n * sizeof *h->ids);
            assert_memory_equal(h->ids, whole[i].hyps[0].ids, (size_t)h->n * sizeof *h->ids);
            assert_int_equal(s.last[i], h->finish != ED_FINISH_CANCELLED);
            cancelled += h->finish == ED_FINISH_CANCELLED;
            total += h->n;
        }
        assert_int_equal(st.new_tokens, total);
        assert_int_equal(st.prompts, MANY);
        if (way == 1)
            assert_true(cancelled == 1 && r[6].hyps[0].n == 5);
        if (way == 2)
            assert_true(cancelled > 5 && r[6].hyps[0].n == 5);
        if (way == 0 || way == 3)
            assert_int_equal(cancelled, 0);
        results_deinit(r, MANY);
        results_deinit(whole, MANY);
        ed_model_destroy(&m);
    }
}

static void test_session_cancel_and_late_requests(void **state) {
    (void)state;
    ed_model *m = model_at(0);
    prompts x;
    ed_error e = {0};
    ed_session *s = NULL;
    ed_result want[3], r;
    ed_decode_opts o = ed_decode_opts_default(), samples = o, beams = o;
    bool busy = true;
    int64_t tag, done = 0, steps = 0;
    o.max_new_tokens = samples.max_new_tokens = beams.max_new_tokens = 8;
    o.eos_token_id = samples.eos_token_id = beams.eos_token_id = (char *)(intptr_t)"";
    samples.temperature = 1;
    samples.num_return_sequences = 2;
    beams.num_beams = 3;
    const ed_decode_opts *opts[] = {&o, &samples, &beams};
    make_prompts(&x, 9, V);
    for (int i = 0; i < 3; i++)
        generate(m, &x.p[i], 1, opts[i], &want[i]);
    check_ok(ed_session_create(m, &(ed_session_opts){.slots = 5, .batch_tokens = 8}, &s, &e), &e);
    check_ok(ed_session_submit(s, &x.p[0], opts[0], 0, NULL, &e), &e);
    check_ok(ed_session_submit(s, &x.p[5], opts[0], 77, NULL, &e), &e);
    for (; busy; steps++) {
        check_ok(ed_session_step(s, &busy, &e), &e);
        if (steps == 1)
            ed_session_cancel(s, 77, false);
        if (steps == 2)
            check_ok(ed_session_submit(s, &x.p[2], opts[2], 2, NULL, &e), &e);
        if (steps == 3)
            check_ok(ed_session_submit(s, &x.p[1], opts[1], 1, NULL, &e), &e);
        busy |= steps < 3;
        while (ed_session_take(s, &tag, &r)) {
            if (tag == 77)
                assert_true(r.n == 1 && r.hyps[0].finish == ED_FINISH_CANCELLED && r.hyps[0].n < 8);
            else
                assert_true(same_result(&r, &want[tag]));
            done++;
            ed_result_deinit(&r);
        }
    }
    assert_int_equal(done, 4);
    assert_int_equal(ed_session_submit(s, &x.p[1], &(ed_decode_opts){0}, 1, NULL, &e), ED_E_RANGE);
    beams.num_beams = 6;
    assert_int_equal(ed_session_submit(s, &x.p[1], &beams, 1, NULL, &e), ED_E_LIMIT);
    results_deinit(want, 3);
    ed_session_destroy(&s);
    ed_model_destroy(&m);
}

static void test_limits(void **state) {
    (void)state;
    ed_model *lm = model_at(0), *pair = model_at(3);
    int32_t ids[65];
    ed_rng r = ed_rng_make(4, 4);
    ed_result out;
    ed_error e = {0};
    ed_decode_opts o = ed_decode_opts_default();
    o.eos_token_id = (char *)(intptr_t)"";
    random_ids(&r, ids, 65, V);
    ed_prompt p = {.ids = ids, .n = 60};
    generate(lm, &p, 1, &o, &out); /* context of 64 rows: 60 + 5 tokens, the last is not fed */
    assert_true(out.hyps[0].n == 5 && out.hyps[0].finish == ED_FINISH_LENGTH);
    ed_result_deinit(&out);
    p.n = 64;
    generate(lm, &p, 1, &o, &out);
    assert_int_equal(out.hyps[0].n, 1);
    ed_result_deinit(&out);
    p.n = 65;
    assert_int_equal(ed_generate(lm, &p, 1, &o, NULL, &out, NULL, &e), ED_E_LIMIT);
    assert_int_equal(ed_generate(pair, &p, 1, &o, NULL, &out, NULL, &e), ED_E_LIMIT);
    p.n = 10;
    o.max_length_ratio = 1.25;
    o.max_length_extra = 3;
    generate(pair, &p, 1, &o, &out);
    assert_int_equal(out.hyps[0].n, 15); /* floor(12.5) + 3 */
    ed_result_deinit(&out);
    o.num_beams = 2;
    generate(pair, &p, 1, &o, &out);
    assert_int_equal(out.hyps[0].n, 15);
    ed_result_deinit(&out);
    ed_model_destroy(&lm);
    ed_model_destroy(&pair);
}

static void expect(const ed_model *m, const ed_prompt *p, ed_decode_opts o, ed_status want, const char *text) {
    ed_error e = {0};
    ed_result r = {0};
    assert_int_equal(ed_generate(m, p, 1, &o, NULL, &r, NULL, &e), want);
    if (!strstr(e.message, text))
        fail_msg("'%s' does not say '%s'", e.message, text);
    assert_true(r.n == 0 && !r.hyps);
}

static void test_bad_input(void **state) {
    (void)state;
    ed_model *lm = model_at(0), *pair = model_at(3);
    int32_t ids[] = {4, V, -1};
    ed_decode_opts o = ed_decode_opts_default(), b;
    expect(lm, &(ed_prompt){.ids = ids, .n = 2}, o, ED_E_RANGE, "prompt 0: text: token 1 is 29");
    expect(lm, &(ed_prompt){.ids = ids + 2, .n = 1}, o, ED_E_RANGE, "token 0 is -1");
    expect(pair, &(ed_prompt){.ids = ids, .n = 1, .prefix = ids + 1, .n_prefix = 1}, o, ED_E_RANGE, "prefix: token 0 is 29");
    expect(lm, &(ed_prompt){.ids = ids, .n = 1, .prefix = ids, .n_prefix = 1}, o, ED_E_INVALID, "prefix belongs to encoder-decoder");
    ed_prompt p = {.ids = ids, .n = 1};
    b = o, b.eos_token_id = (char *)(intptr_t)"29";
    expect(lm, &p, b, ED_E_INVALID, "eos_token_id: '29' does not begin with a token id from 0 to 28");
    b = o, b.bad_words_ids = (char *)(intptr_t)"3;4 5";
    expect(lm, &p, b, ED_E_INVALID, "bad_words_ids: '5'");
    b = o, b.forced_bos_token_id = V;
    expect(lm, &p, b, ED_E_RANGE, "forced token 29");
    b = o, b.num_beams = 2, b.temperature = 1;
    expect(lm, &p, b, ED_E_INVALID, "beam search does not sample");
    b = o, b.num_return_sequences = 2;
    expect(lm, &p, b, ED_E_INVALID, "greedy decoding has one answer");
    b = o, b.num_beams = 2, b.num_return_sequences = 3;
    expect(lm, &p, b, ED_E_INVALID, "more than num_beams");
    b = o, b.top_p = (double)NAN;
    expect(lm, &p, b, ED_E_RANGE, "top_p");
    b = o, b.max_new_tokens = 0;
    expect(lm, &p, b, ED_E_RANGE, "max_new_tokens");
    ed_model_destroy(&lm);
    ed_model_destroy(&pair);
    ed_model_config c = ed_model_config_default();
    ed_error e = {0};
    c.kind = ED_MODEL_DECODER;
    c.vocab_size = V;
    c.d_model = 16;
    c.n_heads = 2;
    c.decoder_layers = 1;
    check_ok(ed_model_create(&c, ED_DTYPE_F32, 1, &lm, &e), &e);
    expect(lm, &(ed_prompt){0}, o, ED_E_INVALID, "empty, and the model has no begin token");
    ed_param *w = ed_params_at(ed_model_params(lm), 0);
    for (int64_t i = 0; i < w->numel; i++)
        ((float *)w->data)[i] = NAN;
    ed_param_touch(w);
    expect(lm, &p, o, ED_E_NUMERIC, "not finite");
    o.num_beams = 2;
    expect(lm, &p, o, ED_E_NUMERIC, "not finite");
    ed_model_destroy(&lm);
}

static void test_short_memory(void **state) {
    (void)state;
#ifdef ED_TEST_HOOKS
    ed_model *m = model_at(3);
    prompts x;
    ed_result r[3];
    ed_error e = {0};
    ed_decode_opts o = ed_decode_opts_default();
    o.max_new_tokens = 3;
    make_prompts(&x, 1, V);
    for (int beams = 1; beams <= 2; beams++) {
        o.num_beams = beams;
        generate(m, x.p, 3, &o, r); /* packs weights */
        results_deinit(r, 3);
        int64_t blocks = ed__mem_blocks();
        ed_status s = ED_E_MEMORY;
        for (int64_t n = 0; s != ED_OK; n++) {
            ed__mem_fail_after(n, true);
            s = ed_generate(m, x.p, 3, &o, NULL, r, NULL, &e);
            ed__mem_fail_after(-1, false);
            if (s == ED_OK)
                results_deinit(r, 3);
            assert_int_equal(ed__mem_blocks(), blocks);
            assert_true(s == ED_OK || s == ED_E_MEMORY || s == ED_E_LIMIT);
            assert_true(n < 5000);
        }
    }
    ed_model_destroy(&m);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_is_full_recomputation), cmocka_unit_test(test_batches_change_nothing), cmocka_unit_test(test_rows_do_not_see_their_batch),
        cmocka_unit_test(test_stream_and_cancel),            cmocka_unit_test(test_session_cancel_and_late_requests), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_input),                    cmocka_unit_test(test_short_memory),
    };
    ed_threads_set(1); /* tiny models: two threads only where that is the question */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
