/* io/tok_train.c - what the trainers share: options, reading a corpus line by line (plain or gzip), counting words, the alphabet; and the entry points. */
#include <stdlib.h>

#include <utf8proc.h>
#include <zlib.h>

#include "io/tok.h"

enum { CHUNK_BYTES = 1 << 16, MAX_LINE_BYTES = 1 << 20, MAX_WORD_BYTES = 512, MAX_VOCAB_OPTION = 1 << 20 };
#define MAX_WORDS ((size_t)1 << 26)

/* ------------------------------------------------------------------ options */

static const char *const kind_names[] = {"bytes", "chars", "bpe", "bytebpe", "unigram", NULL};
static const char *const normalizer_names[] = {"none", "nfc", "nfkc", NULL};
#define FIELD(f) offsetof(ed_tokenizer_train_opts, f)
static const ed_option option_table[] = {
    {"kind", ED_OPT_ENUM, FIELD(kind), 0, 0, kind_names, "KIND", "bytes, chars, bpe, bytebpe or unigram", 0},
    {"vocab_size", ED_OPT_INT, FIELD(vocab_size), 1, MAX_VOCAB_OPTION, NULL, "N", "number of pieces", 0},
    {"coverage", ED_OPT_FLOAT, FIELD(coverage), 0.5, 1, NULL, "X", "share of the text's characters that get pieces of their own", 0},
    {"normalizer", ED_OPT_ENUM, FIELD(normalizer), 0, 0, normalizer_names, "NAME", "none, nfc or nfkc; only none keeps every byte", 0},
    {"lowercase", ED_OPT_BOOL, FIELD(lowercase), 0, 0, NULL, NULL, "turn text into lower case", 0},
    {"byte_fallback", ED_OPT_BOOL, FIELD(byte_fallback), 0, 0, NULL, NULL, "write characters without piece as bytes", 0},
    {"prefix_space", ED_OPT_BOOL, FIELD(prefix_space), 0, 0, NULL, NULL, "put a space before every text", 0},
    {"add_bos", ED_OPT_BOOL, FIELD(add_bos), 0, 0, NULL, NULL, "the template begins with the begin token", 0},
    {"add_eos", ED_OPT_BOOL, FIELD(add_eos), 0, 0, NULL, NULL, "the template ends with the end token", 0},
    {"max_piece_chars", ED_OPT_INT, FIELD(max_piece_chars), 1, 128, NULL, "N", "longest piece in characters", 0},
    {"min_count", ED_OPT_INT, FIELD(min_count), 1, 1e12, NULL, "N", "least number of occurrences of a piece", 0},
    {"seed_factor", ED_OPT_FLOAT, FIELD(seed_factor), 2, 1000, NULL, "X", "unigram: seed pieces per final piece", 0},
    {"pad", ED_OPT_STRING, FIELD(pad), 0, 0, NULL, "TEXT", "padding token", 0},
    {"eos", ED_OPT_STRING, FIELD(eos), 0, 0, NULL, "TEXT", "end token", 0},
    {"unk", ED_OPT_STRING, FIELD(unk), 0, 0, NULL, "TEXT", "unknown token", 0},
    {"bos", ED_OPT_STRING, FIELD(bos), 0, 0, NULL, "TEXT", "begin token", 0},
    {"extra", ED_OPT_STRING, FIELD(extra), 0, 0, NULL, "LIST", "further special tokens, separated by commas", 0},
};

const ed_option *ed_tokenizer_train_options(size_t *n) {
    *n = sizeof option_table / sizeof *option_table;
    return option_table;
}

ed_tokenizer_train_opts ed_tokenizer_train_opts_default(void) {
    return (ed_tokenizer_train_opts){.kind = ED_TOKENIZER_BPE, .vocab_size = 8000, .coverage = 0.9999, .normalizer = ED_NORMALIZER_NONE,
                                     .byte_fallback = true, .prefix_space = true, .add_eos = true, .max_piece_chars = 16, .min_count = 2,
                                     .seed_factor = 20};
}

/* ------------------------------------------------------------------ reading lines */

bool ed__progress_report(const ed__corpus *c, const char *what, uint64_t done, uint64_t total) {
    return !c->progress.fn || c->progress.fn(c->progress.user, what, done, total);
}

typedef struct liner {
    bool keep_newline;
    ed__line_fn fn;
    void *ctx;
    ed__buf carry; /* the begin of a line whose end has not come yet */
} liner;

static ed_status give_line(liner *l, const char *s, size_t n, ed_error *err) {
    if (!l->keep_newline && n > 0 && s[n - 1] == '\n')
        n -= n > 1 && s[n - 2] == '\r' ? 2 : 1;
    return n ? l->fn(l->ctx, s, n, err) : ED_OK;
}

/* A line without end is given in parts, cut between characters. */
static ed_status give_long(liner *l, ed_error *err) {
    size_t n = l->carry.len, tail = 0;
    while (tail < 3 && tail + 1 < n && ((unsigned char)l->carry.data[n - 1 - tail] & 0xC0) == 0x80)
        tail++;
    tail += ((unsigned char)l->carry.data[n - 1 - tail] & 0xC0) == 0xC0; /* a lead byte whose rest may come */
    char rest[4];
    memcpy(rest, l->carry.data + n - tail, tail);
    ED_TRY(give_line(l, l->carry.data, n - tail, err));
    ed__buf_reset(&l->carry);
    ed__buf_put(&l->carry, rest, tail);
    return l->carry.status;
}

static ed_status feed(liner *l, const char *s, size_t n, ed_error *err) {
    while (n > 0) {
        const char *nl = memchr(s, '\n', n);
        size_t k = nl ? (size_t)(nl - s) + 1 : n;
        k = k < MAX_LINE_BYTES ? k : MAX_LINE_BYTES;
        if (nl && l->carry.len == 0 && k == (size_t)(nl - s) + 1) {
            ED_TRY(give_line(l, s, k, err));
        } else {
            ed__buf_put(&l->carry, s, k);
            ED_TRY(l->carry.status);
            if (s[k - 1] == '\n') {
                ED_TRY(give_line(l, l->carry.data, l->carry.len, err));
                ed__buf_reset(&l->carry);
            } else if (l->carry.len >= MAX_LINE_BYTES) {
                ED_TRY(give_long(l, err));
            }
        }
        s += k;
        n -= k;
    }
    return ED_OK;
}

static ed_status finish_lines(liner *l, ed_error *err) {
    ed_status s = l->carry.len ? give_line(l, l->carry.data, l->carry.len, err) : ED_OK;
    ed__buf_reset(&l->carry);
    return s;
}

static ed_status read_file(const ed__corpus *c, const char *path, char *chunk, liner *l, uint64_t *done, ed_error *err) {
    if (!ed__path_exists(path))
        return ed_error_set(err, ED_E_NOT_FOUND, path, ED_NO_OFFSET, "no such file");
    if (ed__path_is_dir(path))
        return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "a folder, not a text file");
    gzFile f = gzopen(path, "rb");
    if (!f)
        return ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot be opened");
    ed_status s = ED_OK;
    int n = 0;
    while (s == ED_OK && (n = gzread(f, chunk, CHUNK_BYTES)) > 0) {
        *done += (uint64_t)n;
        s = feed(l, chunk, (size_t)n, err);
        if (s == ED_OK && !ed__progress_report(c, "read text", *done, 0))
            s = ed_error_set(err, ED_E_CANCELLED, path, ED_NO_OFFSET, "cancelled");
    }
    if (s == ED_OK && n < 0)
        s = ed_error_set(err, ED_E_IO, path, ED_NO_OFFSET, "cannot be read or damaged gzip data");
    int rc = gzclose_r(f);
    if (s == ED_OK && rc == Z_BUF_ERROR)
        s = ed_error_set(err, ED_E_FORMAT, path, ED_NO_OFFSET, "gzip data ends in the middle");
    return s == ED_OK ? finish_lines(l, err) : s;
}

ed_status ed__corpus_lines(const ed__corpus *c, bool keep_newline, ed__line_fn fn, void *ctx, ed_error *err) {
    liner l = {keep_newline, fn, ctx, {0}};
    ed__buf_init(&l.carry, 2 * (size_t)MAX_LINE_BYTES + CHUNK_BYTES);
    char *chunk = ed__malloc(CHUNK_BYTES);
    ED_FAIL_IF(!chunk, ED_E_MEMORY, err, "no memory to read text");
    uint64_t done = 0;
    ed_status s = ED_OK;
    if (c->n_files == 0) {
        s = feed(&l, c->memory, c->memory_bytes, err);
        if (s == ED_OK)
            s = finish_lines(&l, err);
    }
    for (int i = 0; s == ED_OK && i < c->n_files; i++)
        s = read_file(c, c->files[i], chunk, &l, &done, err);
    ed__free(chunk);
    ed__buf_deinit(&l.carry);
    return s;
}

/* ------------------------------------------------------------------ words */

ed_status ed__words_add(ed__words *w, const char *s, size_t n, int64_t count) {
    int32_t id = 0;
    size_t before = w->text.n;
    if (w->text.max == 0)
        ed__intern_init(&w->text, MAX_WORDS);
    ED_TRY(ed__grow((void **)&w->count, &w->cap, before + 1, sizeof *w->count, MAX_WORDS));
    ED_TRY(ed__intern_put(&w->text, s, n, &id));
    if (w->text.n > before)
        w->count[id] = 0;
    w->count[id] += count;
    return ED_OK;
}

void ed__words_deinit(ed__words *w) {
    ed__intern_deinit(&w->text);
    ed__free(w->count);
    memset(w, 0, sizeof *w);
}

typedef enum char_class { CLASS_SPACE, CLASS_LETTER, CLASS_NUMBER, CLASS_OTHER } char_class;

static char_class class_of(uint32_t cp) {
    if (cp == ' ')
        return CLASS_SPACE;
    if (cp < 0x80)
        return (cp | 32) >= 'a' && (cp | 32) <= 'z' ? CLASS_LETTER : cp >= '0' && cp <= '9' ? CLASS_NUMBER : CLASS_OTHER;
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_ME) /* letters and the marks that belong to them */
        return CLASS_LETTER;
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO ? CLASS_NUMBER : CLASS_OTHER;
}

typedef struct word_counter {
    const ed_tokenizer *t;
    ed__words *words;
} word_counter;

static ed_status count_words(const char *s, size_t n, ed__words *w) {
    size_t begin = 0;
    char_class last = CLASS_SPACE;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0xFFFD;
        int len = (unsigned char)s[i] < 0x80 ? 1 : ed__utf8_decode((const unsigned char *)s + i, n - i, &cp);
        char_class c = class_of((unsigned char)s[i] < 0x80 ? (unsigned char)s[i] : cp);
        len = len ? len : 1;
        bool after_space = i > begin && last == CLASS_SPACE; /* a space belongs to whatever follows */
        if (i > begin && (c == CLASS_SPACE || (c != last && !after_space) || i - begin + (size_t)len > MAX_WORD_BYTES)) {
            ED_TRY(ed__words_add(w, s + begin, i - begin, 1));
            begin = i;
        }
        last = c;
        i += (size_t)len;
    }
    return n > begin ? ed__words_add(w, s + begin, n - begin, 1) : ED_OK;
}

static ed_status count_line(void *ctx, const char *line, size_t n, ed_error *err) {
    word_counter *c = ctx;
    ed__tok_text x;
    ed_status s = ed__tok_text_init(&x, &c->t->norm, c->t->prefix, false, line, n);
    if (s == ED_OK)
        s = count_words(x.data, x.n, c->words);
    ed__tok_text_deinit(&x);
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the words of the text, or more than %zu of them", MAX_WORDS);
    return ED_OK;
}

ed_status ed__words_count(const ed_tokenizer *t, const ed__corpus *c, ed__words *w, ed_error *err) {
    word_counter k = {t, w};
    return ed__corpus_lines(c, false, count_line, &k, err);
}

/* ------------------------------------------------------------------ alphabet */

enum { CODE_POINTS = 0x110000 };
typedef struct char_count {
    int64_t count;
    uint32_t cp;
} char_count;

static int compare_chars(const void *pa, const void *pb) {
    const char_count *a = pa, *b = pb;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return (a->cp > b->cp) - (a->cp < b->cp);
}

static void count_chars(const ed__words *w, int64_t *count) {
    for (size_t k = 0; k < w->text.n; k++) {
        size_t n;
        const char *s = ed__intern_get(&w->text, (int32_t)k, &n);
        for (size_t i = 0; i < n;) {
            uint32_t cp = 0;
            int len = ed__utf8_decode((const unsigned char *)s + i, n - i, &cp);
            if (len)
                count[cp] += w->count[k];
            i += (size_t)(len ? len : 1);
        }
    }
    count[0] = count[0x2581] = 0; /* NUL cannot be written in a vocabulary, U+2581 stands for the space there: both go through bytes */
    count[' '] += 1;
}

ed_status ed__words_alphabet(const ed__words *w, double coverage, uint32_t **cps, size_t *n, ed_error *err) {
    int64_t *count = ed__calloc(CODE_POINTS, sizeof *count), total = 0, sum = 0;
    ED_FAIL_IF(!count, ED_E_MEMORY, err, "no memory to count characters");
    count_chars(w, count);
    size_t k = 0;
    for (uint32_t cp = 0; cp < CODE_POINTS; cp++) {
        k += count[cp] > 0;
        total += count[cp];
    }
    char_count *list = ed__malloc(k * sizeof *list);
    *cps = ed__malloc((k + 1) * sizeof **cps);
    k = 0;
    for (uint32_t cp = 0; list && cp < CODE_POINTS; cp++)
        if (count[cp] > 0)
            list[k++] = (char_count){cp == ' ' ? INT64_MAX : count[cp], cp}; /* the space first, so that it is always in */
    bool ok = list && *cps;
    if (ok) {
        qsort(list, k, sizeof *list, compare_chars);
        *n = 0;
        for (size_t i = 0; i < k && (double)sum < coverage * (double)total; i++) {
            sum += count[list[i].cp];
            (*cps)[(*n)++] = list[i].cp;
        }
    }
    ed__free(list);
    ed__free(count);
    if (ok)
        return ED_OK;
    ed__free(*cps);
    *cps = NULL;
    return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for the alphabet");
}

/* ------------------------------------------------------------------ entry points */

static ed_status add_special(ed_tokenizer *t, const char *text, size_t n, int role, ed_error *err) {
    if (n == 0)
        return ED_OK;
    ED_FAIL_IF(ed__utf8_valid(text, n) != n, ED_E_INVALID, err, "a special token is not UTF-8");
    ED_FAIL_IF(ed_tokenizer_id(t, text, n) >= 0, ED_E_INVALID, err, "special token '%.*s' given twice", (int)(n < 100 ? n : 100), text);
    ED_FAIL_IF(ed__byte_piece(text, n) >= 0, ED_E_INVALID, err, "special token '%.*s' is the name of a byte piece", (int)n, text);
    if (role < ED_SPECIAL_COUNT)
        t->special[role] = ed_tokenizer_vocab_size(t);
    return ed__tok_add(t, text, n, ED_TOKEN_SPECIAL, err);
}

static ed_status add_specials(ed_tokenizer *t, const ed_tokenizer_train_opts *o, ed_error *err) {
    const char *names[ED_SPECIAL_COUNT] = {o->pad ? o->pad : "<pad>", o->eos ? o->eos : "</s>", o->unk ? o->unk : "<unk>", o->bos ? o->bos : ""};
    for (int k = 0; k < ED_SPECIAL_COUNT; k++)
        ED_TRY(add_special(t, names[k], strlen(names[k]), k, err));
    for (const char *p = o->extra; p && *p;) {
        size_t n = strcspn(p, ",");
        ED_TRY(add_special(t, p, n, ED_SPECIAL_COUNT, err));
        p += n + (p[n] == ',');
    }
    t->first = o->add_bos ? t->special[ED_SPECIAL_BOS] : -1;
    t->last = o->add_eos ? t->special[ED_SPECIAL_EOS] : -1;
    ED_FAIL_IF(o->add_bos && t->first < 0, ED_E_INVALID, err, "add_bos without a begin token");
    return ED_OK;
}

static const ed__tok_kind *const trainable[ED_TOKENIZER_KIND_COUNT] = {&ed__tok_bytes, &ed__tok_chars, &ed__tok_bpe, &ed__tok_bytebpe, &ed__tok_unigram};

static void configure(ed_tokenizer *t, const ed_tokenizer_train_opts *o) {
    bool metaspace = o->kind == ED_TOKENIZER_BPE || o->kind == ED_TOKENIZER_UNIGRAM;
    t->form = metaspace ? ED__FORM_METASPACE : o->kind == ED_TOKENIZER_CHARS ? ED__FORM_PLAIN : ED__FORM_BYTELEVEL;
    t->norm = (ed__tok_norm){(ed_normalizer)o->normalizer, o->lowercase};
    t->prefix = metaspace && o->prefix_space;
    t->split = t->fuse_unk = metaspace;
    t->pattern = o->kind == ED_TOKENIZER_BYTEBPE;
    t->byte_fallback = metaspace && o->byte_fallback;
}

static ed_status check_opts(const ed_tokenizer_train_opts *o, ed_error *err) {
    ED_FAIL_IF(o->kind < 0 || o->kind >= ED_TOKENIZER_KIND_COUNT, ED_E_INVALID, err, "no such kind of tokenizer: %d", o->kind);
    ED_FAIL_IF(o->normalizer < 0 || o->normalizer > ED_NORMALIZER_NFKC, ED_E_INVALID, err, "no such normalizer: %d", o->normalizer);
    ED_FAIL_IF(o->vocab_size < 1 || o->vocab_size > MAX_VOCAB_OPTION, ED_E_RANGE, err, "vocab_size %lld is not in 1..%d", (long long)o->vocab_size,
               MAX_VOCAB_OPTION);
    ED_FAIL_IF(!(o->coverage >= 0.5 && o->coverage <= 1), ED_E_RANGE, err, "coverage %g is not in 0.5..1", o->coverage);
    ED_FAIL_IF(o->max_piece_chars < 1 || o->max_piece_chars > 128, ED_E_RANGE, err, "max_piece_chars %lld is not in 1..128",
               (long long)o->max_piece_chars);
    ED_FAIL_IF(o->min_count < 1, ED_E_RANGE, err, "min_count %lld is below 1", (long long)o->min_count);
    ED_FAIL_IF(!(o->seed_factor >= 2 && o->seed_factor <= 1000), ED_E_RANGE, err, "seed_factor %g is not in 2..1000", o->seed_factor);
    return ED_OK;
}

static ed_status train(const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_tokenizer **out, ed_error *err) {
    ED_TRY(check_opts(o, err));
    ED_FAIL_IF(!trainable[o->kind]->train, ED_E_UNSUPPORTED, err, "this kind of tokenizer cannot be trained");
    ed_tokenizer *t = NULL;
    ed_error local = {0};
    ed_status s = ed__tok_create(trainable[o->kind], &t);
    if (s == ED_OK) {
        configure(t, o);
        s = add_specials(t, o, &local);
    }
    if (s == ED_OK)
        s = t->kind->train(t, o, c, &local);
    if (s == ED_OK && t->kind->destroy) /* training may have prepared for itself */
        t->kind->destroy(t);
    if (s == ED_OK)
        s = ed__tok_finish(t, &local);
    if (s != ED_OK) {
        ed_tokenizer_destroy(&t);
        return ed_error_set(err, s, local.where, local.where[0] ? local.offset : ED_NO_OFFSET, "%s", local.message[0] ? local.message : ed_status_text(s));
    }
    *out = t;
    return ED_OK;
}

ed_status ed_tokenizer_train(const ed_tokenizer_train_opts *opts, const char *const *files, int n, ed_progress progress, ed_tokenizer **out,
                             ed_error *err) {
    ED_FAIL_IF(!out || n < 0 || (!files && n), ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    ed_tokenizer_train_opts o = opts ? *opts : ed_tokenizer_train_opts_default();
    ED_FAIL_IF(n == 0 && o.kind != ED_TOKENIZER_BYTES, ED_E_INVALID, err, "no text to train on");
    for (int i = 0; i < n; i++)
        ED_FAIL_IF(!files[i], ED_E_INVALID, err, "a NULL argument");
    ed__corpus c = {.files = files, .n_files = n, .memory = "", .progress = progress};
    return train(&o, &c, out, err);
}

ed_status ed_tokenizer_train_text(const ed_tokenizer_train_opts *opts, const void *text, size_t n, ed_progress progress, ed_tokenizer **out,
                                  ed_error *err) {
    ED_FAIL_IF(!out || (!text && n), ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    ed_tokenizer_train_opts o = opts ? *opts : ed_tokenizer_train_opts_default();
    ed__corpus c = {.memory = text ? text : "", .memory_bytes = n, .progress = progress};
    return train(&o, &c, out, err);
}
