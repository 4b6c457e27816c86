/* tests/unit/test_decode_hf.c - hypotheses and scores of Hugging Face's generate() (transformers 5.23, torch 2.15, float32) on two tiny random models.
 *
 * tests/unit/data/decode_hf/expected.tsv: model folder, options, prompt (source), then each returned hypothesis as ids:score (score 0 for greedy). All prompts of one option set
 * run as one batch here; Hugging Face ran them alone. */
#include "decode_common.h"

#define FOLDER "tests/unit/data/decode_hf/"
enum { MOST = 8, FIELDS = 16 };

typedef struct expected {
    char *hyps[FIELDS];
    int n;
} expected;

static int64_t read_ids(char *text, int32_t *ids) {
    int64_t n = 0;
    for (char *save = NULL, *t = strtok_r(text, ",", &save); t; t = strtok_r(NULL, ",", &save))
        ids[n++] = (int32_t)strtol(t, NULL, 10);
    return n;
}

static void set_options(char *text, ed_decode_opts *o) {
    size_t n;
    const ed_option *table = ed_decode_options(&n);
    ed_error e = {0};
    *o = ed_decode_opts_default();
    for (char *save = NULL, *t = strtok_r(text, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(t, '=');
        assert_non_null(eq);
        *eq = 0;
        check_ok(ed_option_set_key(table, n, o, t, eq + 1, &e), &e);
    }
}

static void compare(const char *what, const ed_result *r, const expected *want, bool scores) {
    if (r->n != want->n)
        fail_msg("%s: %lld hypotheses, not %d", what, (long long)r->n, want->n);
    for (int h = 0; h < want->n; h++) {
        int32_t ids[64];
        char *colon = strchr(want->hyps[h], ':');
        *colon = 0;
        double score = strtod(colon + 1, NULL);
        int64_t n = read_ids(want->hyps[h], ids);
        const ed_hypothesis *got = &r->hyps[h];
        if (got->n != n || memcmp(got->ids, ids, (size_t)n * sizeof *ids))
            fail_msg("%s: hypothesis %d differs (%lld tokens, not %lld; score %g, not %g)", what, h, (long long)got->n, (long long)n, got->score, score);
        if (scores && fabs(got->score - score) > 2e-5 * (1 + fabs(score)))
            fail_msg("%s: hypothesis %d has score %.8g, not %.8g", what, h, got->score, score);
    }
}

/** Runs the lines [begin, end), which share model and options. */
static void run_block(const ed_model *m, char *options, char *(*fields)[FIELDS], const int *n_fields, int begin, int end) {
    char what[512];
    int32_t ids[MOST][64];
    ed_prompt p[MOST];
    ed_result r[MOST];
    ed_decode_opts o;
    snprintf(what, sizeof what, "%s", options);
    set_options(options, &o);
    for (int i = begin; i < end; i++)
        p[i - begin] = (ed_prompt){.ids = ids[i - begin], .n = read_ids(fields[i][2], ids[i - begin])};
    generate(m, p, end - begin, &o, r);
    for (int i = begin; i < end; i++) {
        expected want = {.n = n_fields[i] - 3};
        for (int h = 0; h < want.n; h++)
            want.hyps[h] = fields[i][3 + h];
        compare(what, &r[i - begin], &want, o.num_beams > 1);
    }
    results_deinit(r, end - begin);
    ed_decode_opts_deinit(&o);
}

static void test_transformers(void **state) {
    (void)state;
    enum { MAX_LINES = 1000 };
    static char *fields[MAX_LINES][FIELDS];
    static int n_fields[MAX_LINES];
    char *text;
    size_t size;
    int n = 0, blocks = 0;
    ed_error e = {0};
    ed_model *m = NULL;
    check_ok(ed__file_read(FOLDER "expected.tsv", 0, &text, &size, &e), &e);
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && n < MAX_LINES; line = strtok_r(NULL, "\n", &save), n++)
        for (char *s2 = NULL, *f = strtok_r(line, "\t", &s2); f && n_fields[n] < FIELDS; f = strtok_r(NULL, "\t", &s2))
            fields[n][n_fields[n]++] = f;
    for (int i = 0, j; i < n; i = j, blocks++) {
        char options[512], path[128];
        for (j = i + 1; j < n && j - i < MOST && !strcmp(fields[j][0], fields[i][0]) && !strcmp(fields[j][1], fields[i][1]); j++)
            ;
        if (i == 0 || strcmp(fields[i][0], fields[i - 1][0])) {
            ed_model_destroy(&m);
            snprintf(path, sizeof path, FOLDER "%s", fields[i][0]);
            check_ok(ed_model_load(path, ED_DTYPE_COUNT, &m, &e), &e);
        }
        snprintf(options, sizeof options, "%s", fields[i][1]);
        run_block(m, options, fields, n_fields, i, j);
    }
    assert_int_equal(n, 408);
    assert_int_equal(blocks, 102);
    ed_model_destroy(&m);
    ed__free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers)};
    ed_threads_set(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
