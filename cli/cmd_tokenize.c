/* cli/cmd_tokenize.c - endec tokenize and endec detokenize: text to ids or pieces, and ids to text. With --raw the two undo each other for any bytes. */
#include "cli.h"

enum { BATCH_LINES = 512 };
static const double BATCH_WAIT_S = 0.1;
static const size_t IDS_TEXT_MAX = (size_t)4 << 30;

typedef struct tokenize_opts {
    char *model, *input, *output;
    bool ids, raw, no_special, parse_special, special;
} tokenize_opts;

#define FIELD(f) offsetof(tokenize_opts, f)
static const ed_option encode_table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "PATH", "model folder, tokenizer.json, or llama2.c tokenizer or model", 'm'},
    {"input", ED_OPT_STRING, FIELD(input), 0, 0, NULL, "FILE", "read from here (default: standard input)", 'i'},
    {"output", ED_OPT_STRING, FIELD(output), 0, 0, NULL, "FILE", "write there (default: standard output)", 'o'},
    {"ids", ED_OPT_BOOL, FIELD(ids), 0, 0, NULL, NULL, "print ids in place of pieces", 0},
    {"raw", ED_OPT_BOOL, FIELD(raw), 0, 0, NULL, NULL, "all input is one text, line ends included; one output line", 0},
    {"no_special", ED_OPT_BOOL, FIELD(no_special), 0, 0, NULL, NULL, "without the tokenizer's own special tokens (end token and such)", 0},
    {"parse_special", ED_OPT_BOOL, FIELD(parse_special), 0, 0, NULL, NULL, "texts of special tokens become these tokens (trusted text only)", 0},
};
static const ed_option decode_table[] = {
    {"model", ED_OPT_STRING, FIELD(model), 0, 0, NULL, "PATH", "model folder, tokenizer.json, or llama2.c tokenizer or model", 'm'},
    {"input", ED_OPT_STRING, FIELD(input), 0, 0, NULL, "FILE", "read from here (default: standard input)", 'i'},
    {"output", ED_OPT_STRING, FIELD(output), 0, 0, NULL, "FILE", "write there (default: standard output)", 'o'},
    {"raw", ED_OPT_BOOL, FIELD(raw), 0, 0, NULL, NULL, "all ids are one text; no line end is added", 0},
    {"special", ED_OPT_BOOL, FIELD(special), 0, 0, NULL, NULL, "print the texts of special tokens as well", 0},
};

typedef struct job {
    const tokenize_opts *opts;
    ed_tokenizer *tok;
    cli_in in;
    cli_out out;
    cli_lines lines;
    ed_token_ids ids;
    ed_token_text text;
    int64_t line; /* from 1 */
} job;

/** One text in (n bytes), one line out. */
typedef ed_status (*convert_fn)(job *j, const char *text, size_t n, ed_error *err);

/* ------------------------------------------------------------------ text to ids */

/** A piece with its control characters spelt as byte pieces are, so that it stays on its line. */
static void put_piece(job *j, int32_t id) {
    size_t n = 0;
    const char *p = ed_tokenizer_text(j->tok, id, &n);
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)p[i];
        if (ch < 0x20 || ch == 0x7F)
            cli_printf(&j->out, "<0x%02X>", ch);
        else
            cli_put(&j->out, p + i, 1);
    }
}

static ed_status encode(job *j, const char *text, size_t n, ed_error *err) {
    uint32_t flags = (j->opts->no_special ? 0u : (uint32_t)ED_ENCODE_ADD_SPECIAL) | (j->opts->parse_special ? (uint32_t)ED_ENCODE_PARSE_SPECIAL : 0u);
    j->ids.n = 0;
    CLI_TRY(ed_tokenizer_encode(j->tok, text, n, flags, &j->ids, err));
    for (int64_t i = 0; i < j->ids.n; i++) {
        if (i > 0)
            cli_put(&j->out, " ", 1);
        if (j->opts->ids)
            cli_printf(&j->out, "%d", j->ids.ids[i]);
        else
            put_piece(j, j->ids.ids[i]);
    }
    cli_put(&j->out, "\n", 1);
    return ED_OK;
}

/* ------------------------------------------------------------------ ids to text */

static ed_status bad_id(const job *j, const char *text, ed_error *err) {
    int n = (int)strcspn(text, " \t,\r\n");
    return ed_error_set(err, ED_E_FORMAT, j->in.name, ED_NO_OFFSET, "line %lld: '%.*s' is not an id of this vocabulary (0 to %d)", (long long)j->line, n < 40 ? n : 40, text,
                        ed_tokenizer_vocab_size(j->tok) - 1);
}

/** Appends one id to the list (grown by doubling; the memory is ours, apart from the tokenizer's lists). */
static ed_status push(int32_t **ids, size_t *n, size_t *cap, int32_t id, ed_error *err) {
    if (*n == *cap) {
        size_t more = 2 * *cap + 256;
        int32_t *grown = realloc(*ids, more * sizeof *grown);
        if (!grown)
            return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %zu ids", more);
        *ids = grown;
        *cap = more;
    }
    (*ids)[(*n)++] = id;
    return ED_OK;
}

static ed_status parse_ids(const job *j, const char *text, size_t bytes, int32_t **ids, size_t *n, ed_error *err) {
    const char *p = text, *end = text + bytes;
    size_t cap = 0;
    int32_t vocab = ed_tokenizer_vocab_size(j->tok);
    while (p < end) {
        if (strchr(" \t,\r\n", *p) && *p) {
            p++;
            continue;
        }
        const char *begin = p;
        int64_t id = 0;
        while (p < end && *p >= '0' && *p <= '9' && id < vocab)
            id = 10 * id + (*p++ - '0');
        bool ended = p == end || (*p && strchr(" \t,\r\n", *p));
        if (p == begin || !ended || id >= vocab)
            return bad_id(j, begin, err);
        CLI_TRY(push(ids, n, &cap, (int32_t)id, err));
    }
    return ED_OK;
}

static ed_status decode(job *j, const char *text, size_t bytes, ed_error *err) {
    int32_t *ids = NULL;
    size_t n = 0;
    ed_status s = parse_ids(j, text, bytes, &ids, &n, err);
    j->text.n = 0;
    if (s == ED_OK)
        s = ed_tokenizer_decode(j->tok, ids, (int64_t)n, j->opts->special ? 0 : ED_DECODE_SKIP_SPECIAL, &j->text, err);
    free(ids);
    CLI_TRY(s);
    cli_put(&j->out, j->text.data ? j->text.data : "", j->text.n);
    if (!j->opts->raw)
        cli_put(&j->out, "\n", 1);
    return ED_OK;
}

/* ------------------------------------------------------------------ both */

static ed_status by_line(job *j, convert_fn convert, ed_error *err) {
    for (;;) {
        CLI_TRY(cli_in_lines(&j->in, BATCH_LINES, BATCH_WAIT_S, &j->lines, err));
        if (j->lines.n == 0)
            return ED_OK;
        for (int64_t i = 0; i < j->lines.n; i++) {
            j->line++;
            CLI_TRY(convert(j, j->lines.text[i], j->lines.bytes[i], err));
        }
        CLI_TRY(cli_flush(&j->out, err));
    }
}

static ed_status as_one(job *j, convert_fn convert, size_t max_bytes, ed_error *err) {
    char *text;
    size_t n;
    CLI_TRY(cli_in_all(&j->in, max_bytes, &text, &n, err));
    j->line = 1;
    return convert(j, text, n, err);
}

static ed_status run(cli *c, const tokenize_opts *o, convert_fn convert, size_t max_bytes, ed_error *err) {
    job j = {.opts = o, .in.fd = -1};
    CLI_TRY(cli_need(o->model, "-m", "a tokenizer", err));
    CLI_TRY(cli_tokenizer_load(o->model, &j.tok, err));
    ed_status s = cli_in_open(o->input, &j.in, err);
    if (s == ED_OK && (s = cli_out_open(c, o->output, &j.in, &j.out, err)) == ED_OK)
        s = cli_out_close(&j.out, o->raw ? as_one(&j, convert, max_bytes, err) : by_line(&j, convert, err), err);
    ed_token_ids_deinit(&j.ids);
    ed_token_text_deinit(&j.text);
    cli_lines_free(&j.lines);
    cli_in_close(&j.in);
    ed_tokenizer_destroy(&j.tok);
    return s;
}

static ed_status command(cli *c, cli_spec *spec, const tokenize_opts *o, convert_fn convert, size_t max_bytes, int argc, char **argv, ed_error *err) {
    cli_args a;
    ed_status s = cli_parse(c, spec, argc, argv, &a, err);
    if (s == ED_OK && !a.done)
        s = run(c, o, convert, max_bytes, err);
    cli_spec_deinit(spec);
    return s;
}

ed_status cmd_tokenize(cli *c, int argc, char **argv, ed_error *err) {
    tokenize_opts o = {0};
    cli_group groups[] = {{"Options", encode_table, CLI_COUNT(encode_table), &o}, {0}};
    cli_spec spec = {.usage = "-m MODEL [--ids] [options] < text",
                     .about = "Cuts text into the tokens of a model: a line of pieces (or ids) for each line of text.",
                     .groups = groups,
                     .examples = "  echo 'A dog runs.' | endec tokenize -m models/en-de-small --ids\n"
                                 "  endec tokenize -m model --ids --raw < any.bin | endec detokenize -m model --raw | cmp - any.bin\n"};
    return command(c, &spec, &o, encode, ED_TOKENIZER_MAX_TEXT_BYTES, argc, argv, err);
}

ed_status cmd_detokenize(cli *c, int argc, char **argv, ed_error *err) {
    tokenize_opts o = {0};
    cli_group groups[] = {{"Options", decode_table, CLI_COUNT(decode_table), &o}, {0}};
    cli_spec spec = {.usage = "-m MODEL [options] < ids",
                     .about = "Turns lines of token ids (parted by blanks or commas) into text. Special tokens add nothing unless --special is given.",
                     .groups = groups,
                     .examples = "  echo '17 204 9' | endec detokenize -m models/en-de-small\n"};
    return command(c, &spec, &o, decode, IDS_TEXT_MAX, argc, argv, err);
}
