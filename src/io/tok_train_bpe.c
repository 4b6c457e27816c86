/* io/tok_train_bpe.c - learning byte-pair merges (Sennrich et al. 2016): again and again the most frequent neighbouring pair becomes a piece.
 * Pair counts are kept up to date: a merge visits only the words that hold the pair. A heap orders pairs by count; its entries may be outdated and are
 * put right when they come up. Ties go to the smaller left id, then the smaller right id, so that the result depends on the text alone. */
#include <assert.h>

#include "io/tok.h"

#define MAX_ITEMS ((size_t)UINT32_MAX - 2)

typedef struct pair {
    int32_t left, right;
    int64_t count;
    uint32_t words; /* head of its list in trainer.nodes, 0 = none */
    bool banned, touched;
} pair;
typedef struct node {
    uint32_t word, next;
} node;
typedef struct entry {
    int64_t count;
    uint32_t pair;
} entry;

typedef struct trainer {
    ed_tokenizer *t;
    const ed__words *w;
    int64_t max_chars;
    int32_t *syms; /* all words one after the other; -1 = outside of the alphabet */
    size_t n_syms, cap_syms;
    size_t *begin; /* [words + 1] */
    uint32_t *len; /* [words] symbols left */
    pair *pairs;
    size_t n_pairs, cap_pairs;
    uint32_t *slots;
    size_t n_slots;
    node *nodes; /* [0] unused */
    size_t n_nodes, cap_nodes;
    entry *heap;
    size_t n_heap, cap_heap;
    uint32_t *touched;
    size_t n_touched, cap_touched;
} trainer;

/* ------------------------------------------------------------------ pairs */

static size_t pair_hash(int32_t left, int32_t right) {
    uint64_t k = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return (size_t)(k ^ k >> 29);
}

static ed_status grow_slots(trainer *r) {
    size_t n = r->n_slots ? r->n_slots * 2 : 1024;
    uint32_t *slots = ed__calloc(n, sizeof *slots);
    if (!slots)
        return ED_E_MEMORY;
    for (size_t k = 0; k < r->n_pairs; k++) {
        size_t i = pair_hash(r->pairs[k].left, r->pairs[k].right) & (n - 1);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)k + 1;
    }
    ed__free(r->slots);
    r->slots = slots;
    r->n_slots = n;
    return ED_OK;
}

static ed_status find_pair(trainer *r, int32_t left, int32_t right, uint32_t *out) {
    if ((r->n_pairs + 1) * 2 >= r->n_slots)
        ED_TRY(grow_slots(r));
    size_t i = pair_hash(left, right) & (r->n_slots - 1);
    for (; r->slots[i]; i = (i + 1) & (r->n_slots - 1)) {
        const pair *p = &r->pairs[r->slots[i] - 1];
        if (p->left == left && p->right == right) {
            *out = r->slots[i] - 1;
            return ED_OK;
        }
    }
    ED_TRY(ed__grow((void **)&r->pairs, &r->cap_pairs, r->n_pairs + 1, sizeof *r->pairs, MAX_ITEMS));
    r->pairs[r->n_pairs] = (pair){left, right, 0, 0, false, false};
    *out = (uint32_t)r->n_pairs;
    r->slots[i] = (uint32_t)++r->n_pairs;
    return ED_OK;
}

/* Adds sign x count of all pairs of a word; with sign > 0 the word goes onto their lists. */
static ed_status count_word(trainer *r, uint32_t word, int64_t sign) {
    const int32_t *y = r->syms + r->begin[word];
    for (uint32_t i = 0; i + 1 < r->len[word]; i++) {
        uint32_t k = 0;
        if (y[i] < 0 || y[i + 1] < 0)
            continue;
        ED_TRY(find_pair(r, y[i], y[i + 1], &k));
        pair *p = &r->pairs[k];
        p->count += sign * r->w->count[word];
        if (!p->touched) {
            p->touched = true;
            ED_TRY(ed__grow((void **)&r->touched, &r->cap_touched, r->n_touched + 1, sizeof *r->touched, MAX_ITEMS));
            r->touched[r->n_touched++] = k;
        }
        if (sign > 0 && (!p->words || r->nodes[p->words].word != word)) {
            ED_TRY(ed__grow((void **)&r->nodes, &r->cap_nodes, r->n_nodes + 1, sizeof *r->nodes, MAX_ITEMS));
            r->nodes[r->n_nodes] = (node){word, p->words};
            p->words = (uint32_t)r->n_nodes++;
        }
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ heap */

static bool before(const trainer *r, const entry *a, const entry *b) {
    if (a->count != b->count)
        return a->count > b->count;
    const pair *p = &r->pairs[a->pair], *q = &r->pairs[b->pair];
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static ed_status heap_push(trainer *r, uint32_t k) {
    ED_TRY(ed__grow((void **)&r->heap, &r->cap_heap, r->n_heap + 1, sizeof *r->heap, MAX_ITEMS));
    entry e = {r->pairs[k].count, k};
    size_t i = r->n_heap++;
    for (; i > 0 && before(r, &e, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = e;
    return ED_OK;
}

static entry heap_pop(trainer *r) {
    entry top = r->heap[0], e = r->heap[--r->n_heap];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < r->n_heap; i = k) {
        if (k + 1 < r->n_heap && before(r, &r->heap[k + 1], &r->heap[k]))
            k++;
        if (!before(r, &r->heap[k], &e))
            break;
        r->heap[i] = r->heap[k];
    }
    r->heap[i] = e;
    return top;
}

/* Puts the pairs whose counts changed onto the heap again. Falling counts are found out when the old entry comes up. */
static ed_status push_touched(trainer *r, int64_t min_count) {
    ed_status s = ED_OK;
    for (size_t i = 0; i < r->n_touched; i++) {
        pair *p = &r->pairs[r->touched[i]];
        p->touched = false;
        if (s == ED_OK && p->count >= min_count && !p->banned)
            s = heap_push(r, r->touched[i]);
    }
    r->n_touched = 0;
    return s;
}

/* ------------------------------------------------------------------ one merge */

static size_t count_chars(const char *s, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += ((unsigned char)s[i] & 0xC0) != 0x80;
    return k;
}

/* Piece of the joined pair: found, made, or -1 when there must be none (too long, or spelt like a special or byte piece). */
static ed_status join(trainer *r, const pair *p, int32_t *id, ed_error *err) {
    char text[2 * ED_TOKENIZER_MAX_PIECE_BYTES + 1];
    size_t a, b;
    const char *left = ed_tokenizer_text(r->t, p->left, &a), *right = ed_tokenizer_text(r->t, p->right, &b);
    memcpy(text, left, a);
    memcpy(text + a, right, b);
    text[a + b] = 0;
    *id = ed_tokenizer_id(r->t, text, a + b);
    if (*id >= 0) {
        *id = ed_tokenizer_flags(r->t, *id) & (ED_TOKEN_SPECIAL | ED_TOKEN_BYTE) ? -1 : *id;
        return ED_OK;
    }
    if ((int64_t)count_chars(text, a + b) > r->max_chars || a + b > ED_TOKENIZER_MAX_PIECE_BYTES || ed__byte_piece(text, a + b) >= 0)
        return ED_OK;
    *id = ed_tokenizer_vocab_size(r->t);
    return ed__tok_add(r->t, text, a + b, 0, err);
}

static bool holds(const trainer *r, uint32_t word, int32_t left, int32_t right) {
    const int32_t *y = r->syms + r->begin[word];
    for (uint32_t i = 0; i + 1 < r->len[word]; i++)
        if (y[i] == left && y[i + 1] == right)
            return true;
    return false;
}

static void rewrite(trainer *r, uint32_t word, int32_t left, int32_t right, int32_t id) {
    int32_t *y = r->syms + r->begin[word];
    uint32_t n = r->len[word], k = 0;
    for (uint32_t i = 0; i < n; k++) {
        bool hit = i + 1 < n && y[i] == left && y[i + 1] == right;
        y[k] = hit ? id : y[i];
        i += hit ? 2 : 1;
    }
    r->len[word] = k;
}

static ed_status apply(trainer *r, uint32_t k, int32_t id) {
    int32_t left = r->pairs[k].left, right = r->pairs[k].right;
    uint32_t at = r->pairs[k].words;
    r->pairs[k].words = 0;
    while (at) {
        node n = r->nodes[at];
        if (holds(r, n.word, left, right)) { /* the list may name words that have lost the pair */
            ED_TRY(count_word(r, n.word, -1));
            rewrite(r, n.word, left, right, id);
            ED_TRY(count_word(r, n.word, 1));
        }
        at = n.next;
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ the loop */

static ed_status load_words(trainer *r, ed__symbols_fn symbols) {
    ed__merge_scratch s = {0};
    size_t n = r->w->text.n;
    ed_status st = ED_OK;
    r->begin = ed__malloc((n + 1) * sizeof *r->begin);
    r->len = ed__malloc((n + 1) * sizeof *r->len);
    if (!r->begin || !r->len)
        return ED_E_MEMORY;
    for (size_t k = 0; st == ED_OK && k < n; k++) {
        size_t len;
        const char *word = ed__intern_get(&r->w->text, (int32_t)k, &len);
        st = symbols(r->t, word, len, &s);
        if (st == ED_OK)
            st = ed__grow((void **)&r->syms, &r->cap_syms, r->n_syms + s.n + 1, sizeof *r->syms, (size_t)1 << 34);
        if (st != ED_OK)
            break;
        r->begin[k] = r->n_syms;
        r->len[k] = (uint32_t)s.n;
        for (size_t i = 0; i < s.n; i++)
            r->syms[r->n_syms++] = s.syms[i].id;
    }
    ed__scratch_deinit(&s);
    for (size_t k = 0; st == ED_OK && k < n; k++)
        st = count_word(r, (uint32_t)k, 1);
    return st;
}

static ed_status learn(trainer *r, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    int32_t first = ed_tokenizer_vocab_size(r->t);
    ED_TRY(push_touched(r, o->min_count));
    while (r->n_heap > 0 && ed_tokenizer_vocab_size(r->t) < o->vocab_size) {
        entry e = heap_pop(r);
        pair *p = &r->pairs[e.pair];
        if (p->banned || p->count < o->min_count)
            continue;
        if (p->count != e.count) {
            if (p->count < e.count)
                ED_TRY(heap_push(r, e.pair));
            continue; /* a grown pair has a newer entry */
        }
        int32_t id = -1;
        ED_TRY(join(r, p, &id, err));
        p->banned = true; /* done, or never to be done */
        if (id < 0)
            continue;
        ED_TRY(ed__merges_put(&r->t->merges, p->left, p->right, id, (uint32_t)r->t->merges.n));
        ED_TRY(apply(r, e.pair, id));
        ED_TRY(push_touched(r, o->min_count));
        uint64_t done = (uint64_t)(ed_tokenizer_vocab_size(r->t) - first), all = (uint64_t)(o->vocab_size - first);
        ED_FAIL_IF(done % 64 == 0 && !ed__progress_report(c, "learn merges", done, all), ED_E_CANCELLED, err, "cancelled");
    }
    return ED_OK;
}

ed_status ed__train_merges(ed_tokenizer *t, const ed__words *w, const ed_tokenizer_train_opts *o, ed__symbols_fn symbols, const ed__corpus *c,
                           ed_error *err) {
    ED_FAIL_IF(ed_tokenizer_vocab_size(t) > o->vocab_size, ED_E_INVALID, err,
               "vocab_size %lld is too small: special tokens, bytes and characters alone are %d", (long long)o->vocab_size,
               (int)ed_tokenizer_vocab_size(t));
    trainer r = {.t = t, .w = w, .max_chars = o->max_piece_chars, .n_nodes = 1};
    ed_status s = load_words(&r, symbols);
    if (s == ED_OK)
        s = learn(&r, o, c, err);
    ed__free(r.syms);
    ed__free(r.begin);
    ed__free(r.len);
    ed__free(r.pairs);
    ed__free(r.slots);
    ed__free(r.nodes);
    ed__free(r.heap);
    ed__free(r.touched);
    return s;
}
