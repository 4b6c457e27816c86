/* io/tok.h - the tokenizer seat: what the kinds (tok_<name>.c) share and the vtable that each fills.
 * Forms of a piece: its TEXT is what stands in files; its BYTES are what it matches in the input and adds to the output. Metaspace kinds write a space
 * as U+2581 in the text only, so a literal U+2581 of the input matches no piece and goes through byte pieces: nothing is lost. */
#ifndef ED_IO_TOK_H
#define ED_IO_TOK_H

#include "base/internal.h"
#include "endec/tokenizer.h"

#define ED__METASPACE "\xE2\x96\x81"

/* ---- string interner: bytes -> dense id (tok_vocab.c) */
typedef struct ed__intern_item {
    size_t at;
    uint32_t len, tag;
} ed__intern_item;
typedef struct ed__intern {
    char *blob; /* NUL after each string */
    size_t blob_len, blob_cap;
    ed__intern_item *items; /* [n] */
    size_t n, cap, max;
    uint32_t *slots; /* item + 1, 0 = free; power of two */
    size_t n_slots;
} ed__intern;
void ed__intern_init(ed__intern *in, size_t max_items);
void ed__intern_deinit(ed__intern *in);
int32_t ed__intern_find(const ed__intern *in, const char *s, size_t n); /* -1 when absent */
ed_status ed__intern_put(ed__intern *in, const char *s, size_t n, int32_t *id); /* finds or adds */
static inline const char *ed__intern_get(const ed__intern *in, int32_t id, size_t *n) {
    *n = in->items[id].len;
    return in->blob + in->items[id].at;
}

/* ---- vocabulary (tok_vocab.c) */
typedef enum ed__piece_form { ED__FORM_PLAIN, ED__FORM_METASPACE, ED__FORM_BYTELEVEL } ed__piece_form;
typedef struct ed__vocab {
    ed__intern text;   /* id = piece id */
    ed__intern bytes;  /* distinct byte strings of pieces */
    int32_t *bytes_of; /* [n] piece -> byte string */
    int32_t *match_of; /* [bytes.n] byte string -> the ordinary piece that matches it, or -1 */
    uint8_t *flags;    /* [n] ED_TOKEN_* */
    size_t cap_bytes_of, cap_match_of, cap_flags;
} ed__vocab;
/** Appends a piece; `flags` SPECIAL or 0, the rest is found out: byte pieces only when byte_fallback. ED_E_FORMAT: duplicate, too long, bad alphabet. */
ed_status ed__vocab_add(ed__vocab *v, ed__piece_form form, bool byte_fallback, const char *text, size_t n, uint32_t flags, ed_error *err);
/** The ordinary piece whose bytes are s[0..n), or -1. */
int32_t ed__vocab_match(const ed__vocab *v, const char *s, size_t n);
static inline int32_t ed__vocab_size(const ed__vocab *v) {
    return (int32_t)v->text.n;
}
/** GPT-2's alphabet: the character that stands for a byte, and back (-1 when none). */
uint32_t ed__bytelevel_char(unsigned char b);
int ed__bytelevel_byte(uint32_t cp);
/** The value of "<0xAB>" (two upper-case hex digits, nothing else), or -1. */
int ed__byte_piece(const char *s, size_t n);

/* ---- byte trie over pieces (tok_trie.c) */
typedef struct ed__trie_node {
    uint32_t child;   /* first child; children are adjacent, sorted by label */
    uint16_t n_child; /* 0..256 */
    uint8_t label;
    int32_t id; /* piece that ends here, or -1 */
} ed__trie_node;
typedef struct ed__trie {
    ed__trie_node *nodes; /* [n], 0 = root */
    size_t n, cap;
    uint32_t first[256]; /* root's child by byte, 0 = none */
    size_t depth;        /* longest key */
} ed__trie;
typedef struct ed__trie_key {
    const char *s;
    uint32_t n;
    int32_t id;
} ed__trie_key;
/** Builds from keys (sorted in place; of equal keys the lowest id wins; empty keys are left out). */
ed_status ed__trie_build(ed__trie *t, ed__trie_key *keys, size_t n);
void ed__trie_deinit(ed__trie *t);
/** The child of `node` (0 = root) by `byte`, or 0. */
static inline uint32_t ed__trie_step(const ed__trie *t, uint32_t node, unsigned char byte) {
    if (node == 0)
        return t->first[byte];
    const ed__trie_node *p = &t->nodes[node];
    uint32_t lo = p->child, hi = p->child + p->n_child;
    while (hi - lo > 8) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->nodes[mid].label <= byte)
            lo = mid;
        else
            hi = mid;
    }
    for (; lo < hi; lo++)
        if (t->nodes[lo].label == byte)
            return lo;
    return 0;
}

/* ---- byte-pair merging (tok_merge.c) */
typedef struct ed__merge {
    int32_t left, right, id;
    uint32_t rank;
} ed__merge;
typedef struct ed__merges {
    ed__merge *list; /* [n] in file order */
    size_t n, cap;
    uint32_t *slots; /* list index + 1 */
    size_t n_slots;
} ed__merges;
typedef struct ed__sym {
    int32_t id;         /* -1: merged away */
    int32_t prev, next; /* -1 at the ends */
    uint32_t begin;     /* place in the word; the symbol ends where the next begins */
} ed__sym;
typedef struct ed__merge_scratch {
    ed__sym *syms; /* [n] */
    size_t n, cap;
    void *heap;
    size_t heap_cap;
} ed__merge_scratch;
/** ED_E_FORMAT when the pair is there already. */
ed_status ed__merges_put(ed__merges *m, int32_t left, int32_t right, int32_t id, uint32_t rank);
const ed__merge *ed__merges_find(const ed__merges *m, int32_t left, int32_t right);
void ed__merges_deinit(ed__merges *m);
ed_status ed__scratch_push(ed__merge_scratch *s, int32_t id, uint32_t begin);
void ed__scratch_deinit(ed__merge_scratch *s);
/** Merges the symbols of one word: lowest rank first, leftmost first, until nothing fits. O(n log n). Symbol 0 stays the head of the list. */
ed_status ed__merge_word(const ed__merges *m, ed__merge_scratch *s);

/* ---- normaliser with alignment (tok_text.c) */
typedef struct ed__tok_norm {
    ed_normalizer form;
    bool lower;
} ed__tok_norm;
/** Text as the kinds see it: normalised, with one space before it when `prefix`. */
typedef struct ed__tok_text {
    const char *data; /* [n] */
    size_t n;
    size_t prefix;        /* 0 or 1 bytes that are not in the input */
    uint32_t *begin, *end; /* [n - prefix] input range of each byte; NULL when input = output */
    char *owned;
    size_t base; /* where this text begins in the caller's */
} ed__tok_text;
ed_status ed__tok_text_init(ed__tok_text *x, const ed__tok_norm *norm, bool prefix, bool align, const char *s, size_t n);
void ed__tok_text_deinit(ed__tok_text *x);

/* ---- output of encode */
typedef struct ed__tok_sink {
    ed_token_ids *ids;
    const ed__tok_text *text;
    bool offsets;
} ed__tok_sink;
ed_status ed__token_ids_reserve(ed_token_ids *ids, bool offsets);
/** Appends token `id` that covers text bytes [begin, end). */
static inline ed_status ed__tok_emit(ed__tok_sink *s, int32_t id, size_t begin, size_t end) {
    ed_token_ids *o = s->ids;
    if (o->n >= o->cap)
        ED_TRY(ed__token_ids_reserve(o, s->offsets));
    o->ids[o->n] = id;
    if (s->offsets) {
        const ed__tok_text *x = s->text;
        size_t b = begin < x->prefix ? 0 : begin - x->prefix, e = end < x->prefix ? 0 : end - x->prefix, n = x->n - x->prefix;
        if (x->begin) {
            size_t last = e > b ? x->end[e - 1] : 0;
            b = b < n ? x->begin[b] : (n ? x->end[n - 1] : 0);
            e = last > b ? last : b;
        }
        o->begin[o->n] = (int64_t)(x->base + b);
        o->end[o->n] = (int64_t)(x->base + e);
    }
    o->n++;
    return ED_OK;
}

/* ---- training text (tok_train.c) */
typedef struct ed__words {
    ed__intern text; /* distinct words in order of first appearance */
    int64_t *count;  /* [text.n] */
    size_t cap;
} ed__words;
/** Gets one line (newline included when `keep_newline`). */
typedef ed_status (*ed__line_fn)(void *ctx, const char *line, size_t n, ed_error *err);
typedef struct ed__corpus {
    const char *const *files;
    int n_files;
    const void *memory; /* used when n_files is 0 */
    size_t memory_bytes;
    ed_progress progress;
} ed__corpus;
ed_status ed__corpus_lines(const ed__corpus *c, bool keep_newline, ed__line_fn fn, void *ctx, ed_error *err);
ed_status ed__words_add(ed__words *w, const char *s, size_t n, int64_t count);
void ed__words_deinit(ed__words *w);
/** Counts the words of the corpus as trainers see them: normalised, cut before each space and between letters, digits and the rest. */
ed_status ed__words_count(const ed_tokenizer *t, const ed__corpus *c, ed__words *w, ed_error *err);
/** Code points of the words, most frequent first (ties: lowest first), as many as `coverage` asks for; U+2581 and U+0000 are never among them and a space is
 *  always. Result [*n] from ed__malloc. */
ed_status ed__words_alphabet(const ed__words *w, double coverage, uint32_t **cps, size_t *n, ed_error *err);
bool ed__progress_report(const ed__corpus *c, const char *what, uint64_t done, uint64_t total);
/** Learns merges on symbol sequences; words are given as piece ids per byte string by `first_symbols`. See tok_train_bpe.c. */
typedef ed_status (*ed__symbols_fn)(const ed_tokenizer *t, const char *word, size_t n, ed__merge_scratch *s);
ed_status ed__train_merges(ed_tokenizer *t, const ed__words *w, const ed_tokenizer_train_opts *o, ed__symbols_fn symbols, const ed__corpus *c,
                           ed_error *err);

/* ---- the seat */
typedef struct ed__tok_kind {
    const char *name;
    /** Builds what encode needs once the vocabulary is complete (again after add_special). NULL: nothing. */
    ed_status (*prepare)(ed_tokenizer *t, ed_error *err);
    /** Tokens of one plain text, no special tokens. */
    ed_status (*encode)(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err);
    /** Fills a fresh tokenizer (specials are in) from a corpus. NULL: cannot be trained. */
    ed_status (*train)(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err);
    void (*destroy)(ed_tokenizer *t); /* frees impl; NULL: nothing */
} ed__tok_kind;
extern const ed__tok_kind ed__tok_bytes, ed__tok_chars, ed__tok_bpe, ed__tok_bytebpe, ed__tok_unigram, ed__tok_llama2c;

struct ed_tokenizer {
    const ed__tok_kind *kind;
    ed__vocab vocab;
    ed__piece_form form;
    ed__tok_norm norm;
    bool prefix;        /* one space before every text, taken away by decode */
    bool split;         /* metaspace: words are cut before every space, even where a piece has one inside */
    bool pattern;       /* bytebpe: cut by the GPT-2 pattern */
    bool byte_fallback; /* characters without piece become byte pieces */
    bool fuse_unk;      /* neighbouring unknown tokens are one */
    bool ignore_merges; /* bytebpe: a word that is a piece is taken whole */
    int32_t special[ED_SPECIAL_COUNT];
    int32_t first, last; /* ids that ED_ENCODE_ADD_SPECIAL puts before and after, or -1 */
    int32_t byte_id[256]; /* byte pieces, or -1 */
    int32_t char_id[128]; /* pieces of one ASCII character, or -1 */
    bool space_after[256]; /* some piece has a space right after this byte */
    ed__merges merges;
    double *scores; /* [vocab] unigram (log probability), llama2c (merge score); NULL otherwise */
    ed__trie specials;
    void *impl;
    uint64_t hash;
};
ed_status ed__tok_create(const ed__tok_kind *kind, ed_tokenizer **out);
ed_status ed__tok_add(ed_tokenizer *t, const char *text, size_t n, uint32_t flags, ed_error *err);
/** Checks and indexes the finished vocabulary. */
ed_status ed__tok_finish(ed_tokenizer *t, ed_error *err);
/** What stands for a character or stray byte s[0..n) without a piece of its own: byte pieces, or the unknown token, pushed at `begin`. */
ed_status ed__tok_fallback(const ed_tokenizer *t, const char *s, size_t n, uint32_t begin, ed__merge_scratch *out);
/** End of the word that begins at byte i: before the next space that no piece could reach across (all spaces, when the text is to be `split`). What is cut
 *  here merges or segments independently, so cutting changes nothing but the time. */
size_t ed__tok_word_end(const ed_tokenizer *t, const ed__tok_text *x, size_t i);
/** Symbols of a word: one per character, with fallback. */
ed_status ed__tok_char_symbols(const ed_tokenizer *t, const char *s, size_t n, ed__merge_scratch *out);
/** Characters merged by t->merges (tok_bpe.c); llama2c shares it. */
ed_status ed__bpe_encode(const ed_tokenizer *t, const ed__tok_text *x, ed__tok_sink *out, ed_error *err);
ed_status ed__tok_emit_symbols(const ed__merge_scratch *s, size_t base, size_t n, ed__tok_sink *out);
/** tokenizer.json (tok_json.c, tok_json_save.c). `dir` (may be NULL) is where the files of special token names are looked for. */
ed_status ed__tok_json_load(const char *where, const void *text, size_t n, const char *dir, ed_tokenizer **out, ed_error *err);
ed_status ed__tok_json_save(const ed_tokenizer *t, const char *folder, ed_error *err);
ed_status ed__tok_llama2c_save(const ed_tokenizer *t, const char *folder, ed_error *err);
/** Byte pieces in GPT-2's alphabet, in byte order. */
ed_status ed__tok_add_byte_alphabet(ed_tokenizer *t, ed_error *err);
/** "<0x00>".."<0xFF>". */
ed_status ed__tok_add_byte_pieces(ed_tokenizer *t, ed_error *err);

#endif
