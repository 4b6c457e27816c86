/* task/run_data.c - the text of a run as token ids. */
#include "task/run.h"

static const char DATA_PREFIX[] = "$ENDEC_DATA/";

ed_status ed__data_path(const ed_run_config *c, const char *path, size_t n, char **out, ed_error *err) {
    size_t skip = sizeof DATA_PREFIX - 1, dir = 0;
    bool named = n > skip && memcmp(path, DATA_PREFIX, skip) == 0;
    ED_FAIL_IF(named && !c->data_dir, ED_E_NOT_FOUND, err, "the config reads %.*s: set the environment variable ENDEC_DATA to the data folder", (int)n, path);
    if (named)
        dir = strlen(c->data_dir);
    else
        skip = 0;
    *out = ed__malloc(dir + n + 2);
    ED_FAIL_IF(!*out, ED_E_MEMORY, err, "no memory for a path");
    if (named) {
        memcpy(*out, c->data_dir, dir);
        (*out)[dir++] = '/';
    }
    memcpy(*out + dir, path + skip, n - skip);
    (*out)[dir + n - skip] = 0;
    return ED_OK;
}

ed_status ed__file_list_add(file_list *l, const ed_run_config *c, const char *list, ed_error *err) {
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        const char *begin = p;
        p += n + (p[n] == ',');
        while (n > 0 && *begin == ' ')
            begin++, n--;
        if (n == 0)
            continue;
        char **grown = ed__realloc(l->path, (size_t)(l->n + 1) * sizeof *grown);
        ED_FAIL_IF(!grown, ED_E_MEMORY, err, "no memory for a file list");
        l->path = grown;
        ED_TRY(ed__data_path(c, begin, n, &l->path[l->n], err));
        l->n++;
    }
    return ED_OK;
}

void ed__file_list_free(file_list *l) {
    for (int i = 0; i < l->n; i++)
        ed__free(l->path[i]);
    ed__free(l->path);
    *l = (file_list){0};
}

/** Joins the lines of several files into one list. */
static ed_status lines_append(ed__buf *b, const char *path, ed_error *err) {
    ed_lines one;
    ED_TRY(ed_lines_read(path, &one, err));
    for (int64_t i = 0; i < one.n; i++) {
        ed__buf_put(b, one.text[i], one.bytes[i]);
        ed__buf_puts(b, "\n");
    }
    ed_lines_deinit(&one);
    return b->status == ED_OK ? ED_OK : ed_error_set(err, b->status, path, ED_NO_OFFSET, "no memory for the text");
}

ed_status ed__run_lines(const ed_run_config *c, const char *list, ed_lines *out, ed_error *err) {
    file_list f = {0};
    ed__buf b;
    *out = (ed_lines){0};
    ed_status s = ed__file_list_add(&f, c, list, err);
    ed__buf_init(&b, (size_t)4 << 30);
    if (s == ED_OK && f.n == 1)
        s = ed_lines_read(f.path[0], out, err);
    for (int i = 0; i < f.n && f.n > 1 && s == ED_OK; i++)
        s = lines_append(&b, f.path[i], err);
    if (s == ED_OK && f.n > 1)
        s = ed_lines_split(b.data ? b.data : "", b.len, out, err);
    ed__buf_deinit(&b);
    ed__file_list_free(&f);
    return s;
}

static ed_status add_pairs(run *r, const ed_lines *src, const ed_lines *tgt, ed_dataset *d, ed_error *err) {
    ed_token_ids a = {0}, b = {0};
    ed_status s = ED_OK;
    for (int64_t i = 0; i < src->n && s == ED_OK; i++) {
        a.n = b.n = 0;
        s = ed_tokenizer_encode(r->tok, src->text[i], src->bytes[i], ED_ENCODE_ADD_SPECIAL, &a, err);
        if (s == ED_OK)
            s = ed_tokenizer_encode(r->tok, tgt->text[i], tgt->bytes[i], ED_ENCODE_ADD_SPECIAL, &b, err);
        if (s == ED_OK && (src->bytes[i] == 0 || tgt->bytes[i] == 0))
            a.n = b.n = 0; /* an empty side teaches nothing: left out and counted */
        if (s == ED_OK)
            s = ed_dataset_add(d, a.ids, a.n, b.ids, b.n);
    }
    ed_token_ids_deinit(&a);
    ed_token_ids_deinit(&b);
    return s;
}

static ed_status load_pairs(run *r, const char *src_list, const char *tgt_list, ed_dataset *d, ed_error *err) {
    ed_lines src, tgt;
    ED_TRY(ed__run_lines(r->config, src_list, &src, err));
    ed_status s = ed__run_lines(r->config, tgt_list, &tgt, err);
    if (s == ED_OK) {
        s = src.n == tgt.n ? add_pairs(r, &src, &tgt, d, err)
                           : ed_error_set(err, ED_E_FORMAT, tgt_list, ED_NO_OFFSET, "has %lld lines, %s has %lld: parallel files need as many", (long long)tgt.n,
                                          src_list, (long long)src.n);
        ed_lines_deinit(&tgt);
    }
    ed_lines_deinit(&src);
    return s;
}

/** Lines [begin, end) as one text with their line ends, or as a document each; an end token after every document when the tokenizer has one. */
static ed_status add_text(run *r, const ed_lines *l, int64_t begin, int64_t end, ed_dataset *d, ed_error *err) {
    ed_token_ids ids = {0};
    ed__buf b;
    bool per_line = r->config->data.lines_are_documents;
    uint32_t eos = ed_tokenizer_special(r->tok, ED_SPECIAL_EOS) >= 0 ? ED_ENCODE_EOS : 0;
    ed_status s = ED_OK;
    ed__buf_init(&b, (size_t)4 << 30);
    for (int64_t i = begin; i < end && s == ED_OK; i++) {
        ed__buf_put(&b, l->text[i], l->bytes[i]);
        if (!per_line)
            ed__buf_puts(&b, "\n");
        s = b.status;
        if (s != ED_OK || b.len == 0 || (!per_line && i + 1 < end))
            continue;
        ids.n = 0;
        s = ed_tokenizer_encode(r->tok, b.data, b.len, eos, &ids, err);
        if (s == ED_OK)
            s = ed_dataset_add(d, NULL, 0, ids.ids, ids.n);
        ed__buf_reset(&b);
    }
    ed__buf_deinit(&b);
    ed_token_ids_deinit(&ids);
    return s;
}

/** First line of the held-out end: the first one that begins at or after the given share of the bytes. */
static int64_t split_line(const ed_lines *l, double valid_share) {
    double total = 0, at = 0;
    for (int64_t i = 0; i < l->n; i++)
        total += (double)l->bytes[i] + 1;
    for (int64_t i = 0; i < l->n; i++) {
        if (at >= total * (1 - valid_share))
            return i;
        at += (double)l->bytes[i] + 1;
    }
    return l->n;
}

static ed_status load_text(run *r, const char *list, bool train, bool shared, ed_dataset *d, ed_error *err) {
    ed_lines l;
    ED_TRY(ed__run_lines(r->config, list, &l, err));
    int64_t cut = shared ? split_line(&l, r->config->data.valid_share) : 0;
    ed_status s = train ? add_text(r, &l, 0, shared ? cut : l.n, d, err) : add_text(r, &l, cut, l.n, d, err);
    ed_lines_deinit(&l);
    return s;
}

ed_status ed__run_dataset(run *r, bool train, ed_dataset **out, ed_error *err) {
    const ed_run_data *d = &r->config->data;
    const char *src = train ? d->train_source : d->valid_source, *tgt = train ? d->train_target : d->valid_target, *text = train ? d->train : d->valid;
    bool pairs = r->config->task != ED_RUN_CAUSAL, shared = !pairs && !d->valid && d->valid_share > 0;
    if (shared)
        text = d->train;
    *out = NULL;
    ED_FAIL_IF(train && pairs && (!src || !tgt), ED_E_INVALID, err, "this task needs data.train_source and data.train_target");
    ED_FAIL_IF(train && !pairs && !text, ED_E_INVALID, err, "a causal run needs data.train");
    if (!train && (pairs ? !src || !tgt : !text))
        return ED_OK;
    ED_FAIL_IF(ed_dataset_create(out) != ED_OK, ED_E_MEMORY, err, "no memory for data");
    ed_status s = pairs ? load_pairs(r, src, tgt, *out, err) : load_text(r, text, train, shared, *out, err);
    if (s == ED_OK && ed_dataset_count(*out) == 0)
        s = ed_error_set(err, ED_E_INVALID, pairs ? src : text, ED_NO_OFFSET, "holds no text");
    if (s != ED_OK)
        ed_dataset_destroy(out);
    return s;
}
