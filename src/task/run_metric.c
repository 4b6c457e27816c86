/* task/run_metric.c - quality on held-out lines during training: BLEU of translations by the weights as they are. */
#include "endec/metrics.h"
#include "endec/text.h"
#include "task/run.h"

static ed_status score(const run *r, ed_model *m, const ed_lines *src, const ed_lines *ref, int64_t n, double *bleu, ed_error *err) {
    ed_text_model tm = {m, r->tok};
    ed_text_outputs out;
    ed_metric_score result;
    ed_decode_opts o = ed_decode_opts_default();
    ed_bleu_opts b = ed_bleu_opts_default();
    o.num_beams = r->config->data.metric_beams;
    o.max_length_ratio = 2;
    o.max_length_extra = 20;
    ED_TRY(ed_text_translate(&tm, (const char *const *)src->text, src->bytes, n, &o, &out, NULL, err));
    const char **hyps = ed__malloc((size_t)(n + 1) * sizeof *hyps);
    ed_status s = hyps ? ED_OK : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for translations");
    for (int64_t i = 0; i < n && hyps; i++)
        hyps[i] = out.items[i].text ? out.items[i].text : "";
    if (s == ED_OK)
        s = ed_metric_bleu(&b, hyps, (const char *const *)ref->text, 1, n, &result, err);
    *bleu = s == ED_OK ? result.score : 0;
    ed__free(hyps);
    ed_text_outputs_deinit(&out);
    return s;
}

ed_status ed__run_bleu(run *r, ed_model *m, double *bleu, ed_error *err) {
    const ed_run_data *d = &r->config->data;
    ed_lines src, ref;
    ED_TRY(ed__run_lines(r->config, d->valid_source, &src, err));
    ed_status s = ed__run_lines(r->config, d->valid_target, &ref, err);
    if (s == ED_OK) {
        int64_t n = src.n < ref.n ? src.n : ref.n;
        n = n < d->metric_lines ? n : d->metric_lines;
        s = score(r, m, &src, &ref, n, bleu, err);
        ed_lines_deinit(&ref);
    }
    ed_lines_deinit(&src);
    return s;
}
