/* tests/fuzz/targets/fuzz_metrics.c - texts from outside: every metric must end in a status and keep its score in its range. The first byte
 * picks options; the rest is hypothesis and references, separated by NUL bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endec/metrics.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void need(int holds) {
    if (!holds)
        abort();
}

static int in_percent(double v) {
    return v >= 0 && v <= 100.000001;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    if (size < 1 || size > 4096)
        return 0;
    char *text = malloc(size + 4), json[ED_METRIC_JSON_BYTES];
    if (!text)
        abort();
    memcpy(text, data + 1, size - 1);
    memset(text + size - 1, 0, 4);
    const char *hyp = text, *refs[2];
    refs[0] = hyp + strlen(hyp) + 1;
    refs[1] = (size_t)(refs[0] - text) + strlen(refs[0]) + 1 < size ? refs[0] + strlen(refs[0]) + 1 : NULL;
    if ((size_t)(refs[0] - text) >= size)
        refs[0] = "";
    ed_bleu_opts b = ed_bleu_opts_default();
    ed_chrf_opts c = ed_chrf_opts_default();
    ed_metric_score s;
    b.tok = data[0] & 3;
    b.smooth = data[0] >> 2 & 3;
    b.lowercase = c.lowercase = data[0] >> 4 & 1;
    c.word_order = data[0] >> 4 & 2;
    c.whitespace = data[0] >> 6 & 1;
    c.eps_smoothing = data[0] >> 7;
    need(ed_metric_bleu(&b, &hyp, refs, 2, 1, &s, NULL) == ED_OK && s.score >= 0 && s.bp <= 1);
    need(b.smooth == ED_BLEU_SMOOTH_FLOOR || in_percent(s.score));
    need(ed_metric_json(&s, json, sizeof json, NULL) == ED_OK);
    need(ed_metric_bleu_sentence(&b, hyp, refs, 2, &s, NULL) == ED_OK);
    need(ed_metric_chrf(&c, &hyp, refs, 2, 1, &s, NULL) == ED_OK && in_percent(s.score));
    need(ed_metric_chrf(&c, &hyp, &hyp, 1, 1, &s, NULL) == ED_OK);
    need(ed_metric_wer(b.lowercase, &hyp, refs, 1, &s, NULL) == ED_OK);
    need(s.hits + s.substitutions + s.deletions == s.ref_len && s.hits + s.substitutions + s.insertions == s.sys_len);
    need(ed_metric_cer(b.lowercase, &hyp, refs, 1, &s, NULL) == ED_OK && s.hits >= 0);
    need(ed_metric_exact(b.lowercase, &hyp, &hyp, 1, 1, &s, NULL) == ED_OK && s.hits == 1);
    free(text);
    return 0;
}
