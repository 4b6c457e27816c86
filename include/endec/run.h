/* endec/run.h - training runs on text: lines of files, run configs (YAML), the run itself.
 * The task layer, above train, decode and io: here, and only here, tokenizers and models are joined. */
#ifndef ENDEC_RUN_H
#define ENDEC_RUN_H

#include "endec/model.h"
#include "endec/tokenizer.h"
#include "endec/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ lines of text */

/** Lines of a file, without line ends (LF or CRLF); a last line without an end counts. text[i] is NUL-terminated; bytes[i] its length (a line may hold NUL). */
typedef struct ed_lines {
    char **text;
    size_t *bytes;
    int64_t n;
    char *memory; /* private */
} ed_lines;
/** Plain or gzip. ED_E_LIMIT beyond 4 GiB of text. */
ED_API ed_status ed_lines_read(const char *path, ed_lines *out, ed_error *err);
/** Takes a copy of text[0..n). */
ED_API ed_status ed_lines_split(const char *text, size_t n, ed_lines *out, ed_error *err);
ED_API void ed_lines_deinit(ed_lines *l);

/* ------------------------------------------------------------------ run configs */

typedef enum ed_run_task { ED_RUN_SEQ2SEQ, ED_RUN_CAUSAL, ED_RUN_PREFIX } ed_run_task;
/** What data a run reads. Paths may begin with "$ENDEC_DATA/", which stands for ed_run_config.data_dir; several files are parted by commas. */
typedef struct ed_run_data {
    char *train_source, *train_target, *valid_source, *valid_target; /* SEQ2SEQ and PREFIX: parallel lines */
    char *train, *valid;                                             /* CAUSAL: plain text */
    double valid_share;        /* CAUSAL without `valid`: this share at the end of the training lines is held out */
    bool lines_are_documents;  /* CAUSAL: an end token after every line; else after every file */
    int64_t batch_tokens, max_length;
    bool document_mask;
    int64_t metric_lines;      /* lines of the validation set translated at evaluations; 0 = none */
    int64_t metric_beams;
} ed_run_data;
typedef struct ed_run_config {
    int task; /* ed_run_task */
    char *out; /* output folder */
    char *data_dir;
    char *tokenizer_path; /* an existing tokenizer; NULL: train one */
    ed_tokenizer_train_opts tokenizer;
    ed_model_config model;
    ed_run_data data;
    ed_train_opts train;
} ed_run_config;
ED_API ed_run_config ed_run_config_default(void);
ED_API void ed_run_config_deinit(ed_run_config *c);
/** Reads a YAML file: sections tokenizer, model, data, train, and the keys task and out. Unknown keys are errors that name the nearest valid one and the line. */
ED_API ed_status ed_run_config_load(const char *path, ed_run_config *c, ed_error *err);
/** Sets "section.key=value" (or "task=..", "out=.."), as --set does. */
ED_API ed_status ed_run_config_set(ed_run_config *c, const char *assignment, ed_error *err);
/** The config as YAML, every key with its value. Free with ed_model_text_free. */
ED_API ed_status ed_run_config_yaml(const ed_run_config *c, char **text, ed_error *err);
/** The option tables by section name ("tokenizer", "model", "data", "train", ""), for help and docs; NULL when unknown. */
ED_API const ed_option *ed_run_config_section(const char *section, size_t *n);

/* ------------------------------------------------------------------ training runs */

typedef struct ed_run_callbacks {
    ed_train_callbacks train; /* report and stop are used; metric and add_files are the run's own */
    ed_progress progress;     /* tokenizer training and text encoding */
    void (*say)(void *user, const char *line); /* what is being done, one line each; NULL = silent */
    void *user;
} ed_run_callbacks;
/** Trains as the config says: tokenizer, data, model, loop; writes <out>/{config.yaml, log.csv, events.out.tfevents.*, report.html, checkpoint-N/, model/}. The folder
 *  model/ is the result: config.json, model.safetensors, tokenizer.json. resume: continue from the newest checkpoint. */
ED_API ed_status ed_run_train(const ed_run_config *c, bool resume, const ed_run_callbacks *cb, ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
