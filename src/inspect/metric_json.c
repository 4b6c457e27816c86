/* inspect/metric_json.c - one result as one line of JSON; only the fields that the metric has. */
#include "inspect/metric.h"
#include "inspect/report.h"

static void put_ints(ed__buf *b, const char *key, const int64_t *v, int n) {
    ed__buf_printf(b, ",\"%s\":[", key);
    for (int i = 0; i < n; i++)
        ed__buf_printf(b, "%s%lld", i > 0 ? "," : "", (long long)v[i]);
    ed__buf_puts(b, "]");
}

static void put_bleu(ed__buf *b, const ed_metric_score *s) {
    ed__buf_puts(b, ",\"precisions\":[");
    for (int i = 0; i < ED_BLEU_ORDER; i++) {
        ed__buf_puts(b, i > 0 ? "," : "");
        ed__json_put_number(b, s->precisions[i]);
    }
    ed__buf_puts(b, "]");
    put_ints(b, "counts", s->counts, ED_BLEU_ORDER);
    put_ints(b, "totals", s->totals, ED_BLEU_ORDER);
    ed__buf_puts(b, ",\"bp\":");
    ed__json_put_number(b, s->bp);
    ed__buf_printf(b, ",\"sys_len\":%lld,\"ref_len\":%lld", (long long)s->sys_len, (long long)s->ref_len);
}

static void put_edits(ed__buf *b, const ed_metric_score *s) {
    ed__buf_printf(b, ",\"hits\":%lld,\"substitutions\":%lld,\"deletions\":%lld,\"insertions\":%lld,\"sys_len\":%lld,\"ref_len\":%lld",
                   (long long)s->hits, (long long)s->substitutions, (long long)s->deletions, (long long)s->insertions,
                   (long long)s->sys_len, (long long)s->ref_len);
}

ed_status ed_metric_json(const ed_metric_score *s, char *buf, size_t buf_bytes, ed_error *err) {
    ED_FAIL_IF(s == NULL || buf == NULL || buf_bytes == 0, ED_E_INVALID, err, "result and buffer must not be NULL");
    ed__buf b;
    ed__buf_init(&b, ED_METRIC_JSON_BYTES);
    ed__buf_puts(&b, "{\"name\":");
    ed__json_put_text(&b, s->name);
    ed__buf_puts(&b, ",\"score\":");
    ed__json_put_number(&b, s->score);
    ed__buf_puts(&b, ",\"signature\":");
    ed__json_put_text(&b, s->signature);
    ed__buf_printf(&b, ",\"n\":%lld", (long long)s->n);
    if (strcmp(s->name, "BLEU") == 0)
        put_bleu(&b, s);
    else if (strcmp(s->name, "WER") == 0 || strcmp(s->name, "CER") == 0)
        put_edits(&b, s);
    else if (strcmp(s->name, "exact") == 0)
        ed__buf_printf(&b, ",\"hits\":%lld", (long long)s->hits);
    ed__buf_puts(&b, "}");
    ed_status status = b.status;
    if (status == ED_OK && b.len + 1 > buf_bytes)
        status = ED_E_RANGE;
    if (status == ED_OK)
        memcpy(buf, b.data, b.len + 1);
    else
        buf[0] = '\0';
    ed__buf_deinit(&b);
    if (status == ED_E_RANGE)
        return ed_error_set(err, status, "", ED_NO_OFFSET, "the buffer of %zu bytes is too small for the JSON line", buf_bytes);
    return status == ED_OK ? ED_OK : ed_error_set(err, status, "", ED_NO_OFFSET, "out of memory for the JSON line");
}
