/* task/text_generate.c - continuing a prompt, with the text streamed in whole characters. */
#include "base/internal.h"
#include "endec/text.h"
#include "task/text_output.h"

typedef struct streamer {
    const ed_text_model *m;
    ed_text_fn fn;
    void *user;
    int32_t prev;     /* token before the next one; -1 at the start of the text */
    char held[4];     /* an unfinished UTF-8 sequence */
    size_t n_held;
} streamer;

/** Bytes at the end of text that begin a character but do not finish it. */
static size_t unfinished(const char *text, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return need > back ? back : 0;
    }
    return 0;
}

static bool pass_on(streamer *s, const char *bytes, size_t n, bool last) {
    char buf[4 + ED_TOKENIZER_MAX_PIECE_BYTES];
    if (n > ED_TOKENIZER_MAX_PIECE_BYTES)
        return s->fn(s->user, bytes, n);
    memcpy(buf, s->held, s->n_held);
    if (n)
        memcpy(buf + s->n_held, bytes, n);
    n += s->n_held;
    s->n_held = last ? 0 : unfinished(buf, n);
    memcpy(s->held, buf + n - s->n_held, s->n_held);
    return n == s->n_held || s->fn(s->user, buf, n - s->n_held);
}

static ed_stream_next on_token(void *user, const ed_token_event *e) {
    streamer *s = user;
    const char *bytes = "";
    size_t n = 0;
    if (e->sample != 0)
        return ED_STREAM_GO;
    bool special = ed_tokenizer_flags(s->m->tokenizer, e->id) & ED_TOKEN_SPECIAL;
    if (!special && ed_tokenizer_piece(s->m->tokenizer, s->prev, e->id, &bytes, &n) != ED_OK)
        n = 0;
    s->prev = e->id;
    return pass_on(s, bytes, n, e->last) ? ED_STREAM_GO : ED_STREAM_STOP;
}

static ed_status run(const ed_text_model *m, const ed_token_ids *ids, const ed_decode_opts *opts, const ed_stream *stream, ed_text_outputs *out,
                     ed_decode_stats *stats, ed_error *err) {
    ed_prompt p = {.ids = ids->ids, .n = ids->n};
    ed_result r = {0};
    ED_TRY(ed_generate(m->model, &p, 1, opts, stream, &r, stats, err));
    ed_status s = ed__text_outputs_create(1, opts->num_return_sequences, out, err);
    if (s == ED_OK)
        s = ed__text_fill(m, &r, out, 0, err);
    if (s != ED_OK)
        ed_text_outputs_deinit(out);
    ed_result_deinit(&r);
    return s;
}

ed_status ed_text_generate(const ed_text_model *m, const char *prompt, size_t bytes, const ed_decode_opts *opts, ed_text_fn on_text, void *user, ed_text_outputs *out,
                           ed_decode_stats *stats, ed_error *err) {
    ed_token_ids ids = {0};
    *out = (ed_text_outputs){0};
    ED_FAIL_IF(ed_model_get_config(m->model)->kind != ED_MODEL_DECODER, ED_E_STATE, err, "generation needs a decoder-only model; this one translates (translate)");
    ed_status s = ed_text_encode(m, prompt, bytes, &ids, err);
    streamer st = {.m = m, .fn = on_text, .user = user, .prev = bytes > 0 && ids.n > 0 ? ids.ids[ids.n - 1] : -1};
    ed_stream stream = {on_token, &st};
    if (s == ED_OK)
        s = run(m, &ids, opts, on_text ? &stream : NULL, out, stats, err);
    ed_token_ids_deinit(&ids);
    return s;
}
