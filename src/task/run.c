/* task/run.c - a training run on text: tokenizer, data, model, loop, logs, report, result folder.
 *
 * Order of work: tokenizer (loaded, or trained on the training files and kept in the output folder), ids of every line, model, loop with CSV and TensorBoard
 * logs, then the result folder model/ and an HTML report. Everything that resuming needs lies in the output folder. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/internal.h"
#include "endec/report.h"
#include "task/run.h"

static void say(const run *r, const char *fmt, ...) {
    char line[512];
    va_list ap;
    if (!r->cb || !r->cb->say)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    r->cb->say(r->cb->user, line);
}

ed_status ed__run_path(const run *r, const char *name, char *buf, size_t bytes, ed_error *err) {
    int n = snprintf(buf, bytes, "%s/%s", r->config->out, name);
    ED_FAIL_IF(n < 0 || (size_t)n >= bytes, ED_E_LIMIT, err, "the output path is too long");
    return ED_OK;
}

/* ------------------------------------------------------------------ tokenizer */

static ed_status train_tokenizer(run *r, const char *dir, ed_error *err) {
    const ed_run_data *d = &r->config->data;
    const char *lists[] = {d->train_source, d->train_target, d->train};
    file_list files = {0};
    ed_status s = ED_OK;
    for (size_t i = 0; i < sizeof lists / sizeof *lists && s == ED_OK; i++)
        s = ed__file_list_add(&files, r->config, lists[i], err);
    ed_progress none = {0};
    if (s == ED_OK) {
        say(r, "training a %s tokenizer on %d files", "sub-word", files.n);
        s = ed_tokenizer_train(&r->config->tokenizer, (const char *const *)files.path, files.n, r->cb ? r->cb->progress : none, &r->tok, err);
    }
    ed__file_list_free(&files);
    ED_TRY(s);
    return ed_tokenizer_save(r->tok, dir, err);
}

static ed_status get_tokenizer(run *r, ed_error *err) {
    char dir[4096], file[4096];
    ED_TRY(ed__run_path(r, "model", dir, sizeof dir, err));
    ED_TRY(ed__run_path(r, "model/tokenizer.json", file, sizeof file, err));
    ED_TRY(ed__dir_make(dir, err));
    if (r->config->tokenizer_path) {
        char *path;
        ED_TRY(ed__data_path(r->config, r->config->tokenizer_path, strlen(r->config->tokenizer_path), &path, err));
        ed_status s = ed_tokenizer_load(path, &r->tok, err);
        ed__free(path);
        ED_TRY(s);
        ED_TRY(ed_tokenizer_save(r->tok, dir, err));
    } else if (r->resume && ed__path_exists(file)) {
        ED_TRY(ed_tokenizer_load(dir, &r->tok, err));
    } else {
        ED_TRY(train_tokenizer(r, dir, err));
    }
    say(r, "tokenizer: %s, %d entries", ed_tokenizer_kind_name(r->tok), ed_tokenizer_vocab_size(r->tok));
    return ED_OK;
}

/* ------------------------------------------------------------------ model */

/** Ids and sizes that follow from tokenizer and task fill what the config leaves open. */
static ed_status complete_config(run *r, ed_model_config *c, ed_error *err) {
    int32_t vocab = ed_tokenizer_vocab_size(r->tok);
    ED_TRY(ed_model_config_copy(&r->config->model, c));
    c->kind = r->config->task == ED_RUN_SEQ2SEQ ? ED_MODEL_ENCDEC : ED_MODEL_DECODER;
    if (c->kind == ED_MODEL_DECODER)
        c->encoder_layers = 0;
    c->vocab_size = c->vocab_size ? c->vocab_size : vocab;
    ED_FAIL_IF(c->vocab_size < vocab, ED_E_RANGE, err, "model.vocab_size is %lld, but the tokenizer has %d entries", (long long)c->vocab_size, vocab);
    c->pad_id = ed_tokenizer_special(r->tok, ED_SPECIAL_PAD);
    c->eos_id = ed_tokenizer_special(r->tok, ED_SPECIAL_EOS);
    c->bos_id = ed_tokenizer_special(r->tok, ED_SPECIAL_BOS);
    c->unk_id = ed_tokenizer_special(r->tok, ED_SPECIAL_UNK);
    if (c->kind == ED_MODEL_ENCDEC)
        c->decoder_start_id = c->decoder_start_id >= 0 ? c->decoder_start_id : c->eos_id;
    ED_FAIL_IF(c->kind == ED_MODEL_ENCDEC && c->decoder_start_id < 0, ED_E_INVALID, err, "the tokenizer has no end token to start the decoder with");
    if (c->kind == ED_MODEL_ENCDEC && c->position_offset == 0)
        c->position_offset = c->pad_id + 1;
    int64_t need = r->config->data.max_length + 1;
    c->max_positions = c->max_positions > need ? c->max_positions : need;
    return ED_OK;
}

static ed_status make_model(run *r, ed_error *err) {
    ed_model_config c;
    ED_TRY(complete_config(r, &c, err));
    ed_status s = ed_model_create(&c, ED_DTYPE_F32, (uint64_t)r->config->train.seed, &r->model, err);
    ed_model_config_deinit(&c);
    ED_TRY(s);
    ed_param_count n = ed_model_count(r->model);
    say(r, "model: %.2f M parameters (encoder %.2f, decoder %.2f, embeddings %.2f)", 1e-6 * (double)n.total, 1e-6 * (double)n.encoder,
        1e-6 * (double)n.decoder, 1e-6 * (double)n.embedding);
    return ED_OK;
}

/* ------------------------------------------------------------------ sources */

static ed_status make_source(run *r, const ed_dataset *d, bool train, ed_bucket_source **out, ed_error *err) {
    const ed_run_config *c = r->config;
    const ed_model_config *m = ed_model_get_config(r->model);
    int64_t dropped;
    ed_batching b = {.layout = c->task == ED_RUN_SEQ2SEQ ? ED_LAYOUT_SEQ2SEQ : c->task == ED_RUN_CAUSAL ? ED_LAYOUT_CAUSAL : ED_LAYOUT_PREFIX,
                     .tokens = c->data.batch_tokens, .length = c->data.max_length, .accumulate = train ? c->train.accumulate : 1,
                     .start_id = (int32_t)m->decoder_start_id, .pad_id = (int32_t)(m->pad_id >= 0 ? m->pad_id : 0), .seed = (uint64_t)c->train.seed,
                     .shuffle = train, .document_mask = c->data.document_mask};
    ED_TRY(ed_bucket_source_create(d, &b, out, &dropped, err));
    if (dropped > 0)
        say(r, "%s data: %lld of %lld examples left out (empty or longer than %lld tokens)", train ? "training" : "validation", (long long)dropped,
            (long long)ed_dataset_count(d), (long long)b.length);
    return ED_OK;
}

static ed_status prepare(run *r, ed_error *err) {
    ED_TRY(ed__dir_make(r->config->out, err));
    ED_TRY(get_tokenizer(r, err));
    ED_TRY(ed__run_dataset(r, true, &r->train_data, err));
    ED_TRY(ed__run_dataset(r, false, &r->valid_data, err));
    say(r, "data: %lld training examples, %lld tokens; %lld validation examples", (long long)ed_dataset_count(r->train_data),
        (long long)ed_dataset_tokens(r->train_data), r->valid_data ? (long long)ed_dataset_count(r->valid_data) : 0LL);
    ED_TRY(make_model(r, err));
    ED_TRY(make_source(r, r->train_data, true, &r->train_source, err));
    return r->valid_data ? make_source(r, r->valid_data, false, &r->valid_source, err) : ED_OK;
}

/* ------------------------------------------------------------------ the loop's callbacks */

static void on_report(void *user, const ed_train_report *t) {
    run *r = user;
    ed__run_log(r, t);
    if (r->cb && r->cb->train.report)
        r->cb->train.report(r->cb->train.user, t);
}

static bool on_stop(void *user) {
    const run *r = user;
    return r->cb && r->cb->train.stop && r->cb->train.stop(r->cb->train.user);
}

static ed_status on_metric(void *user, ed_model *m, int64_t step, double *value, ed_error *err) {
    (void)step;
    return ed__run_bleu(user, m, value, err);
}

static ed_status save_result(run *r, ed_error *err) {
    char dir[4096];
    ED_TRY(ed__run_path(r, "model", dir, sizeof dir, err));
    return ed_model_save(r->model, dir, ED_DTYPE_F32, err);
}

static ed_status loop(run *r, ed_error *err) {
    ed_objective o = ed_objective_next_token();
    ed_source train = ed_bucket_source_of(r->train_source), valid = {0};
    ed_trainer *t;
    if (r->valid_source)
        valid = ed_bucket_source_of(r->valid_source);
    ED_TRY(ed_trainer_create(r->model, &o, &train, r->valid_source ? &valid : NULL, &r->config->train, r->config->out, &t, err));
    ed_train_callbacks cb = {.report = on_report, .stop = on_stop, .user = r};
    if (r->config->data.metric_lines > 0 && r->config->task == ED_RUN_SEQ2SEQ)
        cb.metric = on_metric;
    ed_status s = r->resume ? ed_trainer_resume(t, err) : ED_OK;
    if (s == ED_OK) {
        if (r->resume)
            say(r, "resuming after step %lld", (long long)ed_trainer_at(t));
        s = ed__run_logs_open(r, ed_trainer_at(t), err);
    }
    if (s == ED_OK)
        s = ed_trainer_run(t, &cb, err);
    ed_trainer_destroy(&t);
    return s;
}

static void run_deinit(run *r) {
    ed__run_logs_close(r);
    ed_bucket_source_destroy(&r->train_source);
    ed_bucket_source_destroy(&r->valid_source);
    ed_dataset_destroy(&r->train_data);
    ed_dataset_destroy(&r->valid_data);
    ed_model_destroy(&r->model);
    ed_tokenizer_destroy(&r->tok);
}

static ed_status write_config(run *r, ed_error *err) {
    char path[4096], *text;
    ED_TRY(ed__run_path(r, "config.yaml", path, sizeof path, err));
    ED_TRY(ed_run_config_yaml(r->config, &text, err));
    ed_status s = ed__file_write_atomic(path, text, strlen(text), err);
    ed_model_text_free(&text);
    return s;
}

ed_status ed_run_train(const ed_run_config *c, bool resume, const ed_run_callbacks *cb, ed_error *err) {
    run r = {.config = c, .cb = cb, .resume = resume};
    ED_FAIL_IF(!c->out || !*c->out, ED_E_INVALID, err, "the config names no output folder (out: DIR)");
    ed_status s = prepare(&r, err);
    if (s == ED_OK)
        s = write_config(&r, err);
    if (s == ED_OK)
        s = loop(&r, err);
    if (s == ED_OK)
        s = save_result(&r, err);
    if (s == ED_OK)
        s = ed__run_report(&r, err);
    run_deinit(&r);
    return s;
}
