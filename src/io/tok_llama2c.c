/* io/tok_llama2c.c - tokenizer.bin of llama2.c (Karpathy 2023): int32 max_token_length, then per token float32 score, int32 length, bytes; little endian.
 * Ids 0 <unk>, 1 <s>, 2 </s>, 3..258 raw bytes. Encoding joins the neighbours whose concatenation is the piece of the best score, leftmost first. All pairs
 * that can join are listed at load time, with equal ranks for equal scores, so the shared merger does the work. Every text gets a space in front, which
 * decode takes away. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/tok.h"

enum { HEAD_BYTES = 4, FIRST_BYTE_ID = 3, FIRST_PIECE_ID = 259, ITEM_BYTES = 8 };
#define WORST_SCORE (-1e10) /* llama2.c starts its search here: pairs at or below never merge */

static uint32_t read_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float read_f32(const unsigned char *p) {
    uint32_t u = read_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static ed_status add_token(ed_tokenizer *t, int32_t id, const char *s, size_t n, ed_error *err) {
    static const char *const special[FIRST_BYTE_ID] = {"<unk>", "<s>", "</s>"};
    if (id < FIRST_BYTE_ID)
        return ed__tok_add(t, special[id], strlen(special[id]), ED_TOKEN_SPECIAL, err);
    if (id < FIRST_PIECE_ID) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)(id - FIRST_BYTE_ID));
        ED_FAIL_IF(n != 6 || ed__byte_piece(s, n) != id - FIRST_BYTE_ID, ED_E_FORMAT, err, "token %d is not the byte piece %s", (int)id, text);
        return ed__tok_add(t, text, 6, 0, err);
    }
    ED_FAIL_IF(n == 0 || ed__byte_piece(s, n) >= 0, ED_E_FORMAT, err, "token %d is %s", (int)id, n ? "a second byte piece" : "empty");
    char text[ED_TOKENIZER_MAX_PIECE_BYTES + 1];
    memcpy(text, s, n);
    text[n] = 0;
    return ed__tok_add(t, text, n, 0, err);
}

static ed_status read_tokens(ed_tokenizer *t, const unsigned char *p, size_t n, int32_t vocab_size, ed_error *err) {
    ED_FAIL_IF(n < HEAD_BYTES, ED_E_FORMAT, err, "the file ends in its head");
    uint32_t max_len = read_u32(p);
    ED_FAIL_IF(max_len == 0 || max_len > ED_TOKENIZER_MAX_PIECE_BYTES, ED_E_FORMAT, err, "the longest token is said to have %u bytes, the limit is %d",
               (unsigned)max_len, ED_TOKENIZER_MAX_PIECE_BYTES);
    size_t at = HEAD_BYTES, cap = 0;
    int32_t id = 0;
    for (; vocab_size ? id < vocab_size : at < n; id++) {
        ED_FAIL_IF(n - at < ITEM_BYTES, ED_E_FORMAT, err, "the file ends in token %d", (int)id);
        float score = read_f32(p + at);
        uint32_t len = read_u32(p + at + 4);
        at += ITEM_BYTES;
        ED_FAIL_IF(!isfinite(score), ED_E_FORMAT, err, "the score of token %d is not a finite number", (int)id);
        ED_FAIL_IF(len > ED_TOKENIZER_MAX_PIECE_BYTES || len > n - at, ED_E_FORMAT, err, "token %d has a length of %u bytes", (int)id, (unsigned)len);
        ed_status s = ed__grow((void **)&t->scores, &cap, (size_t)id + 1, sizeof *t->scores, (size_t)ED_TOKENIZER_MAX_VOCAB);
        ED_FAIL_IF(s != ED_OK, s, err, "more than %d tokens or no memory for them", (int)ED_TOKENIZER_MAX_VOCAB);
        t->scores[id] = (double)score;
        ED_TRY(add_token(t, id, (const char *)p + at, len, err));
        at += len;
    }
    ED_FAIL_IF(at != n, ED_E_FORMAT, err, "%zu bytes after the last of %d tokens", n - at, (int)vocab_size);
    ED_FAIL_IF(id < FIRST_PIECE_ID, ED_E_FORMAT, err, "%d tokens, but 259 are the least (3 special, 256 bytes)", (int)id);
    return ED_OK;
}

typedef struct scored {
    double score;
    int32_t id;
} scored;

static int compare_scores(const void *pa, const void *pb) {
    const scored *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Lists every way to make piece `id` from two pieces. */
static ed_status put_pairs(ed_tokenizer *t, int32_t id, uint32_t rank) {
    size_t n;
    const char *s = ed__intern_get(&t->vocab.bytes, t->vocab.bytes_of[id], &n);
    if (ed__vocab_match(&t->vocab, s, n) != id || t->scores[id] <= WORST_SCORE)
        return ED_OK;
    for (size_t k = 1; k < n; k++) {
        int32_t left = ed__vocab_match(&t->vocab, s, k), right = ed__vocab_match(&t->vocab, s + k, n - k);
        if (left >= 0 && right >= 0)
            ED_TRY(ed__merges_put(&t->merges, left, right, id, rank));
    }
    return ED_OK;
}

static ed_status llama2c_prepare(ed_tokenizer *t, ed_error *err) {
    int32_t n = ed__vocab_size(&t->vocab);
    ed__merges_deinit(&t->merges);
    scored *order = ed__malloc((size_t)n * sizeof *order);
    ED_FAIL_IF(!order, ED_E_MEMORY, err, "no memory for the vocabulary");
    for (int32_t i = 0; i < n; i++)
        order[i] = (scored){t->scores[i], i};
    qsort(order, (size_t)n, sizeof *order, compare_scores);
    ed_status s = ED_OK;
    uint32_t rank = 0;
    for (int32_t i = 0; s == ED_OK && i < n; i++) {
        rank += i > 0 && order[i].score != order[i - 1].score;
        if (!(t->vocab.flags[order[i].id] & (ED_TOKEN_SPECIAL | ED_TOKEN_BYTE)))
            s = put_pairs(t, order[i].id, rank);
    }
    ed__free(order);
    ED_FAIL_IF(s != ED_OK, s, err, "no memory for the merges");
    return ED_OK;
}

static ed_status load(ed_tokenizer *t, const void *data, size_t n, int32_t vocab_size, ed_error *err) {
    t->byte_fallback = true;
    t->prefix = true;
    ED_TRY(read_tokens(t, data, n, vocab_size, err));
    t->special[ED_SPECIAL_UNK] = 0;
    t->special[ED_SPECIAL_BOS] = t->first = 1;
    t->special[ED_SPECIAL_EOS] = 2;
    return ed__tok_finish(t, err);
}

ed_status ed_tokenizer_load_llama2c_memory(const char *name, const void *data, size_t n, int32_t vocab_size, ed_tokenizer **out, ed_error *err) {
    ED_FAIL_IF(!out || (!data && n), ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    ED_FAIL_IF(vocab_size < 0 || vocab_size > ED_TOKENIZER_MAX_VOCAB, ED_E_INVALID, err, "a vocabulary of %d tokens, the limit is %d", (int)vocab_size,
               (int)ED_TOKENIZER_MAX_VOCAB);
    ed_tokenizer *t = NULL;
    ed_error local = {0};
    ed_status s = ed__tok_create(&ed__tok_llama2c, &t);
    if (s == ED_OK)
        s = load(t, data, n, vocab_size, &local);
    if (s != ED_OK) {
        ed_tokenizer_destroy(&t);
        return ed_error_set(err, s, name ? name : "", ED_NO_OFFSET, "%s", local.message[0] ? local.message : ed_status_text(s));
    }
    *out = t;
    return ED_OK;
}

ed_status ed_tokenizer_load_llama2c(const char *path, int32_t vocab_size, ed_tokenizer **out, ed_error *err) {
    ED_FAIL_IF(!path || !out, ED_E_INVALID, err, "a NULL argument");
    *out = NULL;
    ed__map m;
    ED_TRY(ed__map_open(path, (size_t)1 << 29, &m, err));
    ed_status s = ed_tokenizer_load_llama2c_memory(path, m.data, m.size, vocab_size, out, err);
    ed__map_close(&m);
    return s;
}

static void put_u32(ed__buf *b, uint32_t v) {
    unsigned char p[4] = {(unsigned char)v, (unsigned char)(v >> 8), (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
    ed__buf_put(b, p, sizeof p);
}

ed_status ed__tok_llama2c_save(const ed_tokenizer *t, const char *folder, ed_error *err) {
    size_t max_len = 1, n;
    for (int32_t id = 0; id < ed__vocab_size(&t->vocab); id++) {
        ED_FAIL_IF(id > 2 && (t->vocab.flags[id] & ED_TOKEN_SPECIAL), ED_E_UNSUPPORTED, err, "tokenizer.bin cannot hold the special token '%s'",
                   ed_tokenizer_text(t, id, NULL));
        ed_tokenizer_text(t, id, &n);
        max_len = n > max_len ? n : max_len;
    }
    ed__buf b;
    ed__buf_init(&b, SIZE_MAX / 2);
    put_u32(&b, (uint32_t)max_len);
    for (int32_t id = 0; id < ed__vocab_size(&t->vocab); id++) {
        const char *s = ed_tokenizer_text(t, id, &n);
        float score = (float)t->scores[id];
        uint32_t bits;
        memcpy(&bits, &score, sizeof bits);
        put_u32(&b, bits);
        put_u32(&b, (uint32_t)n);
        ed__buf_put(&b, s, n);
    }
    char *path = NULL;
    ed_status s = b.status != ED_OK ? ed_error_set(err, b.status, folder, ED_NO_OFFSET, "no memory to save") : ed__path_join(folder, "tokenizer.bin", &path, err);
    if (s == ED_OK)
        s = ed__file_write_atomic(path, b.data, b.len, err);
    ed__free(path);
    ed__buf_deinit(&b);
    return s;
}

const ed__tok_kind ed__tok_llama2c = {"llama2c", llama2c_prepare, ed__bpe_encode, NULL, NULL};
