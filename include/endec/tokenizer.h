/* endec/tokenizer.h - text to token ids and back.
 *
 * A tokenizer is a vocabulary (pieces with ids 0..n-1) and a rule that cuts bytes into pieces. Kinds:
 *   bytes     256 byte pieces and the special tokens (the ByT5 layout: specials first)
 *   chars     the code points of a training text, for character language models; others become the unknown token
 *   bpe       byte-pair merges over characters, spaces written as U+2581, unknown characters as byte pieces <0x00>..<0xFF>
 *   bytebpe   byte-pair merges over bytes, text cut by the GPT-2 pattern first
 *   unigram   unigram language model (Kudo 2018), best path, spaces and unknown characters as in bpe
 *   llama2c   the tokenizer.bin of llama2.c: merges by score
 *
 * Promises, for every kind but chars, when no normaliser is set: decode(encode(x)) == x for ANY bytes x, valid UTF-8 or not, with leading
 * spaces and literal U+2581 (a piece vocabulary loaded from elsewhere keeps the promise if it has all 256 byte pieces).
 * Special tokens are never made from plain text unless ED_ENCODE_PARSE_SPECIAL is given.
 *
 * A tokenizer is immutable after load or train (ed_tokenizer_add_special aside): any number of threads may use one.
 *
 *     ed_tokenizer *t = NULL;
 *     ed_token_ids ids = {0};
 *     if (!ed_tokenizer_load("model", &t, &err) && !ed_tokenizer_encode(t, "Hello", 5, ED_ENCODE_ADD_SPECIAL, &ids, &err))
 *         use(ids.ids, ids.n);
 *     ed_token_ids_deinit(&ids);
 *     ed_tokenizer_destroy(&t); */
#ifndef ENDEC_TOKENIZER_H
#define ENDEC_TOKENIZER_H

#include "endec/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ed_tokenizer ed_tokenizer;

/** Limits. Texts above the first are refused with ED_E_LIMIT (encode a large file in parts, cut at line ends). */
#define ED_TOKENIZER_MAX_TEXT_BYTES ((size_t)1 << 28)
#define ED_TOKENIZER_MAX_VOCAB ((int32_t)1 << 22)
#define ED_TOKENIZER_MAX_PIECE_BYTES 1024

/* ------------------------------------------------------------------ load, save, destroy */

/** Loads a tokenizer: a folder that holds tokenizer.json (or tokenizer.bin of llama2.c), or one of these files. Beside a tokenizer.json the files
 *  special_tokens_map.json and tokenizer_config.json are read, when present, for the names of the special tokens.
 *  Errors: ED_E_NOT_FOUND, ED_E_IO, ED_E_FORMAT (damaged), ED_E_UNSUPPORTED (a sound file with a part that Endec does not have; the message names
 *  the part). */
ED_API ed_status ed_tokenizer_load(const char *path, ed_tokenizer **out, ed_error *err);
/** As above from tokenizer.json text in memory; `name` stands in error messages. */
ED_API ed_status ed_tokenizer_load_memory(const char *name, const void *json, size_t n, ed_tokenizer **out, ed_error *err);
/** The tokenizer.bin of llama2.c. The file holds no count: vocab_size tokens are read (trailing bytes are refused), or all up to the end of the
 *  file when vocab_size is 0. Ids: 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes, then the pieces. */
ED_API ed_status ed_tokenizer_load_llama2c(const char *path, int32_t vocab_size, ed_tokenizer **out, ed_error *err);
ED_API ed_status ed_tokenizer_load_llama2c_memory(const char *name, const void *data, size_t n, int32_t vocab_size, ed_tokenizer **out,
                                                  ed_error *err);
/** Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json (each atomically) into `folder`, which is made when absent. The Hugging
 *  Face `tokenizers` library opens them and gives the same ids for valid UTF-8 text (but for U+2581, which it takes
 *  for a space, and for texts spelt like byte pieces). llama2c writes tokenizer.bin instead. */
ED_API ed_status ed_tokenizer_save(const ed_tokenizer *t, const char *folder, ed_error *err);
ED_API void ed_tokenizer_destroy(ed_tokenizer **t);

/* ------------------------------------------------------------------ vocabulary */

/** Name of the kind: "bytes", "chars", "bpe", "bytebpe", "unigram", "llama2c". */
ED_API const char *ed_tokenizer_kind_name(const ed_tokenizer *t);
/** Number of ids, special tokens included. */
ED_API int32_t ed_tokenizer_vocab_size(const ed_tokenizer *t);
/** XXH3-64 over all pieces and their special flags in id order. A model stores it and refuses another vocabulary. */
ED_API uint64_t ed_tokenizer_hash(const ed_tokenizer *t);

typedef enum ed_special { ED_SPECIAL_PAD, ED_SPECIAL_EOS, ED_SPECIAL_UNK, ED_SPECIAL_BOS, ED_SPECIAL_COUNT } ed_special;
/** Id of a special token, -1 when the tokenizer has none. */
ED_API int32_t ed_tokenizer_special(const ed_tokenizer *t, ed_special which);
/** Appends a special token (or finds it, when it is there already and special). `role`: ED_SPECIAL_COUNT for none. Changes size and hash; not to be
 *  called while another thread uses the tokenizer. ED_E_INVALID when `text` is empty, not UTF-8, or an ordinary piece; after ED_E_MEMORY
 *  the tokenizer can only be destroyed. */
ED_API ed_status ed_tokenizer_add_special(ed_tokenizer *t, const char *text, ed_special role, int32_t *id, ed_error *err);

/** The piece as written in the file ("\xE2\x96\x81the"), borrowed, NUL-terminated; *n (may be NULL) its bytes. NULL when id is out of range. */
ED_API const char *ed_tokenizer_text(const ed_tokenizer *t, int32_t id, size_t *n);
/** Id of a piece as written in the file, -1 when absent. */
ED_API int32_t ed_tokenizer_id(const ed_tokenizer *t, const char *text, size_t n);

enum {
    ED_TOKEN_SPECIAL = 1,    /* special token: adds no text */
    ED_TOKEN_BYTE = 2,       /* stands for one raw byte */
    ED_TOKEN_WORD_START = 4, /* begins with a space: the first token of a word (the first token of a text begins a word, too) */
};
/** ED_TOKEN_* bits of an id; 0 when out of range. */
ED_API uint32_t ed_tokenizer_flags(const ed_tokenizer *t, int32_t id);

/* ------------------------------------------------------------------ encode */

/** Token ids, owned by the caller: start from {0}, free with ed_token_ids_deinit. begin/end are NULL unless offsets were asked for; then token i covers
 *  the bytes [begin[i], end[i]) of the text of its encode call (added special tokens cover nothing). */
typedef struct ed_token_ids {
    int32_t *ids;        /* [n] */
    int64_t *begin, *end; /* [n] or NULL */
    int64_t n, cap;
} ed_token_ids;
ED_API void ed_token_ids_deinit(ed_token_ids *ids);

enum {
    ED_ENCODE_ADD_SPECIAL = 1,   /* the special tokens of the tokenizer's own template, e.g. </s> at the end */
    ED_ENCODE_BOS = 2,           /* the begin token first, whatever the template says; ED_E_STATE when there is none */
    ED_ENCODE_EOS = 4,           /* the end token last, likewise */
    ED_ENCODE_PARSE_SPECIAL = 8, /* the texts of special tokens inside `text` become these tokens: for trusted text only */
    ED_ENCODE_OFFSETS = 16,      /* fill begin/end; all calls that append to one list must agree (ED_E_STATE) */
};
/** Appends the tokens of text[0..n) to *out (set out->n = 0 to reuse the memory). On failure *out keeps its former tokens.
 *  Errors: ED_E_LIMIT (text too long), ED_E_MEMORY, ED_E_NOT_FOUND (a character with no piece in a vocabulary without unknown token). */
ED_API ed_status ed_tokenizer_encode(const ed_tokenizer *t, const void *text, size_t n, uint32_t flags, ed_token_ids *out, ed_error *err);

/* ------------------------------------------------------------------ decode */

/** Bytes, owned by the caller: start from {0}, free with ed_token_text_deinit. data is NUL-terminated after the first append. */
typedef struct ed_token_text {
    char *data; /* [n] bytes, perhaps not UTF-8 */
    size_t n, cap;
} ed_token_text;
ED_API void ed_token_text_deinit(ed_token_text *text);

enum { ED_DECODE_SKIP_SPECIAL = 1 }; /* special tokens add nothing; otherwise their texts */
/** Appends the bytes of ids[0..n) to *out. ED_E_RANGE for an id outside the vocabulary (then *out keeps its former bytes). */
ED_API ed_status ed_tokenizer_decode(const ed_tokenizer *t, const int32_t *ids, int64_t n, uint32_t flags, ed_token_text *out, ed_error *err);
/** The bytes that token `id` adds after token `prev` (-1: at the start): decode, one token at a time. Borrowed; perhaps a part of a UTF-8 sequence,
 *  perhaps empty. Special tokens give their text. ED_E_RANGE for bad ids. */
ED_API ed_status ed_tokenizer_piece(const ed_tokenizer *t, int32_t prev, int32_t id, const char **bytes, size_t *n);

/* ------------------------------------------------------------------ train */

typedef enum ed_tokenizer_kind {
    ED_TOKENIZER_BYTES,
    ED_TOKENIZER_CHARS,
    ED_TOKENIZER_BPE,
    ED_TOKENIZER_BYTEBPE,
    ED_TOKENIZER_UNIGRAM,
    ED_TOKENIZER_KIND_COUNT
} ed_tokenizer_kind;
typedef enum ed_normalizer { ED_NORMALIZER_NONE, ED_NORMALIZER_NFC, ED_NORMALIZER_NFKC } ed_normalizer;

/** What to train. Special tokens take the first ids in the order pad, eos, unk, bos, extra; "" = leave it out. */
typedef struct ed_tokenizer_train_opts {
    int kind;                /* ed_tokenizer_kind; default BPE */
    int64_t vocab_size;      /* all pieces together; default 8000. bytes, chars: not used. The result may be smaller when the text gives no more */
    double coverage;         /* share of the text's characters that get own pieces, in (0,1]; default 0.9999 (bpe, unigram), the rest is bytes */
    int normalizer;          /* ed_normalizer; default NONE, the only one with exact round trips */
    bool lowercase;          /* after the normaliser */
    bool byte_fallback;      /* bpe, unigram: 256 byte pieces; default true. Without: the unknown token */
    bool prefix_space;       /* bpe, unigram: a space goes before every text, so that a word has one form; default true. Undone by decode */
    bool add_bos, add_eos;   /* the template of ED_ENCODE_ADD_SPECIAL; default: eos only */
    int64_t max_piece_chars; /* default 16 */
    int64_t min_count;       /* pieces seen less often are not made; default 2 */
    double seed_factor;      /* unigram: seed pieces per final piece; default 20 */
    char *pad, *eos, *unk;   /* NULL = "<pad>", "</s>", "<unk>" */
    char *bos;               /* NULL = none */
    char *extra;             /* comma-separated further special tokens; NULL = none */
} ed_tokenizer_train_opts;
ED_API ed_tokenizer_train_opts ed_tokenizer_train_opts_default(void);
/** The descriptors of the fields above, for command lines and config files; *n rows. */
ED_API const ed_option *ed_tokenizer_train_options(size_t *n);

/** Trains on n text files, one sentence or paragraph a line; gzip files are unpacked on the way. bytes needs no file (n = 0). The result depends on options
 *  and text only. Errors: ED_E_INVALID (vocab_size too small: the message tells the least), ED_E_IO, ED_E_LIMIT, ED_E_CANCELLED. */
ED_API ed_status ed_tokenizer_train(const ed_tokenizer_train_opts *opts, const char *const *files, int n, ed_progress progress, ed_tokenizer **out,
                                    ed_error *err);
/** As above on text in memory. */
ED_API ed_status ed_tokenizer_train_text(const ed_tokenizer_train_opts *opts, const void *text, size_t n, ed_progress progress, ed_tokenizer **out,
                                         ed_error *err);

#ifdef __cplusplus
}
#endif
#endif
