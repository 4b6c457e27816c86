/* task/run.h - the insides of a training run, shared by run.c, run_data.c, run_log.c and run_metric.c only. */
#ifndef ED_TASK_RUN_H
#define ED_TASK_RUN_H

#include "base/internal.h"
#include "endec/report.h"
#include "endec/run.h"

typedef struct run {
    const ed_run_config *config;
    const ed_run_callbacks *cb;
    bool resume;
    ed_tokenizer *tok;
    ed_model *model;
    ed_dataset *train_data, *valid_data;
    ed_bucket_source *train_source, *valid_source;
    ed_csv *csv;
    ed_tensorboard *tb;
} run;

typedef struct file_list {
    char **path;
    int n;
} file_list;

ed_status ed__run_path(const run *r, const char *name, char *buf, size_t bytes, ed_error *err);

/* ---- run_data.c */
/** path[0..n) with "$ENDEC_DATA/" replaced; from ed__malloc. */
ed_status ed__data_path(const ed_run_config *c, const char *path, size_t n, char **out, ed_error *err);
/** Appends the files of a comma-separated list (NULL: none). */
ed_status ed__file_list_add(file_list *l, const ed_run_config *c, const char *list, ed_error *err);
void ed__file_list_free(file_list *l);
/** Token ids of the training or validation files. *out stays NULL when there is no validation data. */
ed_status ed__run_dataset(run *r, bool train, ed_dataset **out, ed_error *err);
/** All lines of a comma-separated list of files. */
ed_status ed__run_lines(const ed_run_config *c, const char *list, ed_lines *out, ed_error *err);

/* ---- run_log.c */
ed_status ed__run_logs_open(run *r, int64_t step, ed_error *err);
void ed__run_log(run *r, const ed_train_report *t);
void ed__run_logs_close(run *r);
/** <out>/report.html: facts and curves. */
ed_status ed__run_report(run *r, ed_error *err);

/* ---- run_metric.c */
/** BLEU of the first metric_lines validation lines. */
ed_status ed__run_bleu(run *r, ed_model *m, double *bleu, ed_error *err);

#endif
