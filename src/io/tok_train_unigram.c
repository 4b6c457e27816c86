/* io/tok_train_unigram.c - training a unigram vocabulary (Kudo 2018, "Subword Regularization"): many frequent substrings as seeds, then in turn EM on their
 * probabilities and pruning of those whose loss hurts the likelihood least, until the vocabulary has the wished size. Details (digamma in the M step,
 * the loss of a piece from the second-best way to write it, 3/4 kept a round, a margin of 10 % at the end) follow SentencePiece.
 * Works on distinct words with counts. Everything runs in a fixed order on one thread, so the result depends on the text alone.
 * Invariant: every character of the alphabet stays a piece, so each segment can always be written. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "io/tok.h"
#include "io/tok_unigram.h"

enum { EM_STEPS = 2, MAX_ROUNDS = 100 };
#define KEPT_SHARE 0.75
#define MARGIN 1.1
#define LEAST_EXPECTED 0.5
#define MAX_POSITIONS ((size_t)1 << 31)

typedef struct piece {
    const char *s; /* in trainer.segments */
    uint32_t n;
    bool single; /* one character: never dropped */
    double score;
    double count; /* scratch: expected or best-path count */
} piece;

typedef struct trainer {
    ed_tokenizer *t;
    const ed_tokenizer_train_opts *o;
    const ed__corpus *c;
    ed__words segments; /* words cut at characters outside of the alphabet */
    ed__intern alphabet; /* id = its index */
    piece *pieces;
    size_t n, cap;
    double *scores; /* [n] copy of piece scores, for the trie */
    ed__trie trie;
    ed__trie_key *keys;
    ed__unigram_table table;
    size_t wanted; /* pieces that the finished vocabulary has room for */
} trainer;

/* ------------------------------------------------------------------ segments */

static int char_len(const char *s, size_t n) {
    uint32_t cp;
    int len = ed__utf8_decode((const unsigned char *)s, n, &cp);
    return len ? len : 1;
}

static ed_status cut_word(trainer *r, const char *s, size_t n, int64_t count) {
    size_t begin = 0;
    for (size_t i = 0; i <= n;) {
        size_t len = i < n ? (size_t)char_len(s + i, n - i) : 1;
        if (i == n || ed__intern_find(&r->alphabet, s + i, len) < 0) {
            if (i > begin)
                ED_TRY(ed__words_add(&r->segments, s + begin, i - begin, count));
            begin = i + len;
        }
        i += len;
    }
    return ED_OK;
}

static ed_status make_segments(trainer *r, ed_error *err) {
    ed__words w = {0};
    uint32_t *cps = NULL;
    size_t n = 0;
    ed__intern_init(&r->alphabet, 0x110000);
    ed_status s = ed__words_count(r->t, r->c, &w, err);
    if (s == ED_OK)
        s = ed__words_alphabet(&w, r->o->coverage, &cps, &n, err);
    for (size_t i = 0; s == ED_OK && i < n; i++) {
        char text[4];
        int32_t id;
        s = ed__intern_put(&r->alphabet, text, (size_t)ed__utf8_encode(cps[i], text), &id);
    }
    if (s == ED_OK) /* the space is a piece even when no text has one */
        s = ed__words_add(&r->segments, " ", 1, 1);
    for (size_t k = 0; s == ED_OK && k < w.text.n; k++) {
        size_t len;
        const char *word = ed__intern_get(&w.text, (int32_t)k, &len);
        s = cut_word(r, word, len, w.count[k]);
    }
    ed__free(cps);
    ed__words_deinit(&w);
    return s;
}

/* ------------------------------------------------------------------ seeds
 * Substrings of growing length: one of length k is counted only where both its (k-1)-parts are frequent, by a hash of (part, next character). A part all of
 * whose occurrences continue in the same way is no seed: the longer one says the same. */

typedef struct gram {
    uint64_t key; /* part << 32 | next character */
    int64_t count;
    uint32_t at; /* a position where it occurs */
    bool covered; /* always continued alike */
} gram;

typedef struct gram_table {
    gram *list;
    size_t n, cap;
    uint32_t *slots;
    size_t n_slots;
} gram_table;

typedef struct positions {
    const char **s;  /* [n] where the character stands */
    int32_t *symbol; /* [n] index in the alphabet, -1 = end of a segment */
    uint32_t *word;  /* [n] segment */
    int32_t *id;     /* [n] gram of the current length that begins here, -1 = none */
    size_t n;
} positions;

static size_t slot_of(const gram_table *g, uint64_t key) {
    uint64_t h = key * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 31) & (g->n_slots - 1);
}

static ed_status grow_grams(gram_table *g) {
    size_t n = g->n_slots ? g->n_slots * 2 : 4096;
    uint32_t *slots = ed__calloc(n, sizeof *slots);
    if (!slots)
        return ED_E_MEMORY;
    ed__free(g->slots);
    g->slots = slots;
    g->n_slots = n;
    for (size_t k = 0; k < g->n; k++) {
        size_t i = slot_of(g, g->list[k].key);
        while (slots[i])
            i = (i + 1) & (n - 1);
        slots[i] = (uint32_t)k + 1;
    }
    return ED_OK;
}

static ed_status count_gram(gram_table *g, uint64_t key, uint32_t at, int64_t count, int32_t *id) {
    if ((g->n + 1) * 2 >= g->n_slots)
        ED_TRY(grow_grams(g));
    size_t i = slot_of(g, key);
    while (g->slots[i] && g->list[g->slots[i] - 1].key != key)
        i = (i + 1) & (g->n_slots - 1);
    if (!g->slots[i]) {
        ED_TRY(ed__grow((void **)&g->list, &g->cap, g->n + 1, sizeof *g->list, INT32_MAX));
        g->list[g->n] = (gram){key, 0, at, false};
        g->slots[i] = (uint32_t)++g->n;
    }
    *id = (int32_t)g->slots[i] - 1;
    g->list[*id].count += count;
    return ED_OK;
}

static void free_grams(gram_table *g) {
    ed__free(g->list);
    ed__free(g->slots);
    memset(g, 0, sizeof *g);
}

static void free_positions(positions *p) {
    ed__free(p->s);
    ed__free(p->symbol);
    ed__free(p->word);
    ed__free(p->id);
}

static ed_status make_positions(trainer *r, positions *p) {
    size_t total = r->segments.text.blob_len; /* one NUL after each: room for the ends */
    if (total > MAX_POSITIONS)
        return ED_E_LIMIT;
    p->s = ed__malloc((total + 1) * sizeof *p->s);
    p->symbol = ed__malloc((total + 1) * sizeof *p->symbol);
    p->word = ed__malloc((total + 1) * sizeof *p->word);
    p->id = ed__malloc((total + 1) * sizeof *p->id);
    if (!p->s || !p->symbol || !p->word || !p->id)
        return ED_E_MEMORY;
    for (size_t k = 0; k < r->segments.text.n; k++) {
        size_t n;
        const char *s = ed__intern_get(&r->segments.text, (int32_t)k, &n);
        for (size_t i = 0; i <= n;) {
            size_t len = i < n ? (size_t)char_len(s + i, n - i) : 1;
            p->s[p->n] = s + i;
            p->symbol[p->n] = i < n ? ed__intern_find(&r->alphabet, s + i, len) : -1;
            p->word[p->n++] = (uint32_t)k;
            i += len;
        }
    }
    return ED_OK;
}

static ed_status add_piece(trainer *r, const char *s, size_t n, double score, bool single) {
    ED_TRY(ed__grow((void **)&r->pieces, &r->cap, r->n + 1, sizeof *r->pieces, INT32_MAX));
    r->pieces[r->n++] = (piece){s, (uint32_t)n, single, score, 0};
    return ED_OK;
}

/* The text that a piece gets in the file. False: too long, or spelt like a special or byte piece. */
static bool piece_text(const ed_tokenizer *t, const char *s, size_t n, char *text, size_t *n_text) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (k + 3 > ED_TOKENIZER_MAX_PIECE_BYTES)
            return false;
        if (s[i] == ' ') {
            memcpy(text + k, ED__METASPACE, 3);
            k += 3;
        } else {
            text[k++] = s[i];
        }
    }
    text[k] = 0;
    *n_text = k;
    return ed_tokenizer_id(t, text, k) < 0 && ed__byte_piece(text, k) < 0;
}

static ed_status add_grams(trainer *r, const positions *p, const gram_table *g, size_t length) {
    char text[ED_TOKENIZER_MAX_PIECE_BYTES + 1];
    for (size_t i = 0; i < g->n; i++) {
        const gram *x = &g->list[i];
        size_t n = (size_t)(p->s[x->at + length] - p->s[x->at]), k;
        bool single = length == 1;
        if ((x->covered || x->count < r->o->min_count) && !single)
            continue;
        if (piece_text(r->t, p->s[x->at], n, text, &k))
            ED_TRY(add_piece(r, p->s[x->at], n, (double)x->count * (double)length, single));
    }
    return ED_OK;
}

/* Counts the grams of length k into g, from the parts (length k - 1) that p->id names; leaves the ids of length k in p->id. */
static ed_status count_level(trainer *r, positions *p, gram_table *part, gram_table *g, size_t k) {
    for (size_t i = 0; i + 1 < p->n; i++) { /* id[i + 1] still belongs to length k - 1 when i is done: left to right */
        int32_t id = -1;
        if (k == 1 ? p->symbol[i] >= 0 : p->id[i] >= 0 && p->id[i + 1] >= 0) {
            uint64_t key = k == 1 ? (uint64_t)p->symbol[i] : (uint64_t)p->id[i] << 32 | (uint32_t)p->symbol[i + k - 1];
            ED_TRY(count_gram(g, key, (uint32_t)i, r->segments.count[p->word[i]], &id));
        }
        p->id[i] = id;
    }
    p->id[p->n - 1] = -1;
    for (size_t i = 0; k > 1 && i < g->n; i++) {
        gram *x = &part->list[g->list[i].key >> 32];
        x->covered = x->covered || x->count == g->list[i].count;
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->id[i] >= 0 && g->list[p->id[i]].count < r->o->min_count)
            p->id[i] = -1;
    return ED_OK;
}

static int by_score(const void *pa, const void *pb) {
    const piece *a = pa, *b = pb;
    if (a->single != b->single)
        return a->single ? -1 : 1;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    int c = memcmp(a->s, b->s, a->n < b->n ? a->n : b->n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

static ed_status make_seeds(trainer *r) {
    positions p = {0};
    gram_table part = {0}, g = {0};
    ed_status s = make_positions(r, &p);
    for (size_t k = 1; s == ED_OK && k <= (size_t)r->o->max_piece_chars; k++) {
        s = count_level(r, &p, &part, &g, k);
        if (s == ED_OK && k > 1)
            s = add_grams(r, &p, &part, k - 1);
        free_grams(&part);
        part = g;
        memset(&g, 0, sizeof g);
        if (part.n == 0)
            break;
        if (s == ED_OK && k == (size_t)r->o->max_piece_chars)
            s = add_grams(r, &p, &part, k);
    }
    free_grams(&part);
    free_grams(&g);
    free_positions(&p);
    if (s != ED_OK)
        return s;
    qsort(r->pieces, r->n, sizeof *r->pieces, by_score);
    double most = r->o->seed_factor * (double)r->o->vocab_size, sum = 0;
    r->n = (double)r->n > most ? (size_t)most : r->n;
    for (size_t i = 0; i < r->n; i++)
        sum += r->pieces[i].score;
    for (size_t i = 0; i < r->n; i++)
        r->pieces[i].score = log(r->pieces[i].score / sum);
    return ED_OK;
}

/* ------------------------------------------------------------------ EM */

static ed_status index_pieces(trainer *r) {
    ed__free(r->keys);
    ed__free(r->scores);
    r->keys = ed__malloc(r->n * sizeof *r->keys);
    r->scores = ed__malloc(r->n * sizeof *r->scores);
    if (!r->keys || !r->scores)
        return ED_E_MEMORY;
    for (size_t i = 0; i < r->n; i++) {
        r->keys[i] = (ed__trie_key){r->pieces[i].s, r->pieces[i].n, (int32_t)i};
        r->scores[i] = r->pieces[i].score;
    }
    return ed__trie_build(&r->trie, r->keys, r->n);
}

typedef struct arc {
    uint32_t begin, end;
    int32_t id;
} arc;
typedef struct lattice {
    arc *arcs;
    size_t n, cap;
    double *alpha, *beta;
    size_t cap_alpha, cap_beta;
} lattice;

static double log_add(double a, double b) {
    double hi = a > b ? a : b, lo = a > b ? b : a;
    return lo == -INFINITY ? hi : hi + log1p(exp(lo - hi));
}

static ed_status build_lattice(const trainer *r, const char *s, size_t n, lattice *l) {
    ED_TRY(ed__grow((void **)&l->alpha, &l->cap_alpha, n + 1, sizeof *l->alpha, MAX_POSITIONS));
    ED_TRY(ed__grow((void **)&l->beta, &l->cap_beta, n + 1, sizeof *l->beta, MAX_POSITIONS));
    l->n = 0;
    for (size_t i = 0; i <= n; i++)
        l->alpha[i] = l->beta[i] = -INFINITY;
    l->alpha[0] = l->beta[n] = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t node = 0;
        if (l->alpha[i] == -INFINITY) /* inside a character */
            continue;
        for (size_t j = i; j < n && (node = ed__trie_step(&r->trie, node, (unsigned char)s[j])) != 0; j++) {
            int32_t id = r->trie.nodes[node].id;
            if (id < 0)
                continue;
            ED_TRY(ed__grow((void **)&l->arcs, &l->cap, l->n + 1, sizeof *l->arcs, MAX_POSITIONS));
            l->arcs[l->n++] = (arc){(uint32_t)i, (uint32_t)j + 1, id};
            l->alpha[j + 1] = log_add(l->alpha[j + 1], l->alpha[i] + r->scores[id]);
        }
    }
    return ED_OK;
}

/* Adds the expected uses of each piece in one segment (forward-backward; arcs stand in order of their begin). */
static ed_status expect(trainer *r, const char *s, size_t n, double count, lattice *l) {
    ED_TRY(build_lattice(r, s, n, l));
    if (l->alpha[n] == -INFINITY) /* a character whose spelling is a special token: no piece may be made of it */
        return ED_OK;
    for (size_t k = l->n; k-- > 0;) {
        const arc *a = &l->arcs[k];
        double through = r->scores[a->id] + l->beta[a->end];
        r->pieces[a->id].count += count * exp(l->alpha[a->begin] + through - l->alpha[n]);
        l->beta[a->begin] = log_add(l->beta[a->begin], through);
    }
    return ED_OK;
}

static double digamma(double x) {
    double r = 0;
    for (; x < 7; x++)
        r -= 1 / x;
    x -= 0.5;
    double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
    return r + log(x) + xx2 / 24 - 7.0 / 960 * xx4 + 31.0 / 8064 * xx4 * xx2 - 127.0 / 30720 * xx4 * xx4;
}

static ed_status em_step(trainer *r) {
    lattice l = {0};
    ed_status s = index_pieces(r);
    for (size_t i = 0; i < r->n; i++)
        r->pieces[i].count = 0;
    for (size_t k = 0; s == ED_OK && k < r->segments.text.n; k++) {
        size_t n;
        const char *text = ed__intern_get(&r->segments.text, (int32_t)k, &n);
        s = expect(r, text, n, (double)r->segments.count[k], &l);
    }
    ed__free(l.arcs);
    ed__free(l.alpha);
    ed__free(l.beta);
    size_t kept = 0;
    double sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        piece p = r->pieces[i];
        if (p.count < LEAST_EXPECTED) {
            if (!p.single)
                continue;
            p.count = LEAST_EXPECTED;
        }
        sum += p.count;
        r->pieces[kept++] = p;
    }
    r->n = kept;
    for (size_t i = 0; i < r->n; i++)
        r->pieces[i].score = digamma(r->pieces[i].count) - digamma(sum);
    return s;
}

/* ------------------------------------------------------------------ pruning */

typedef struct ranked {
    double loss;
    size_t i;
} ranked;

static int by_loss(const void *pa, const void *pb) {
    const ranked *a = pa, *b = pb;
    if (a->loss != b->loss)
        return a->loss > b->loss ? -1 : 1;
    return (a->i > b->i) - (a->i < b->i);
}

/* Best-path counts of the pieces into piece.count, and into where[] the counts of the segments that hold each piece. Returns the segments' total. */
static ed_status count_best(trainer *r, double *where, double *total) {
    for (size_t i = 0; i < r->n; i++)
        r->pieces[i].count = where[i] = 0;
    *total = 0;
    for (size_t k = 0; k < r->segments.text.n; k++) {
        size_t n;
        const char *s = ed__intern_get(&r->segments.text, (int32_t)k, &n);
        double count = (double)r->segments.count[k];
        ED_TRY(ed__unigram_best(&r->trie, r->scores, -1e6, s, n, &r->table));
        *total += count;
        for (size_t i = n; i > 0; i -= r->table.cells[i].len)
            if (r->table.cells[i].id >= 0) {
                r->pieces[r->table.cells[i].id].count += count;
                where[r->table.cells[i].id] += count;
            }
    }
    return ED_OK;
}

/* How much log likelihood the text loses when piece i must be written by its second-best way; -1: it is never the best way itself. */
static ed_status loss_of(trainer *r, size_t i, double where, double uses, double total, double *loss) {
    const piece *p = &r->pieces[i];
    *loss = -1;
    if (p->count == 0)
        return ED_OK;
    ED_TRY(ed__unigram_best(&r->trie, r->scores, -1e6, p->s, p->n, &r->table));
    if (r->table.cells[p->n].id != (int32_t)i)
        return ED_OK;
    r->scores[i] = -INFINITY; /* forbid it */
    ed_status s = ed__unigram_best(&r->trie, r->scores, -1e6, p->s, p->n, &r->table);
    r->scores[i] = p->score;
    ED_TRY(s);
    size_t n_parts = 0;
    for (size_t k = p->n; k > 0; k -= r->table.cells[k].len)
        n_parts++;
    double log_alt_sum = log(uses + p->count * (double)(n_parts - 1)), alt = 0;
    for (size_t k = p->n; k > 0; k -= r->table.cells[k].len) {
        int32_t id = r->table.cells[k].id;
        alt += log((id >= 0 ? r->pieces[id].count : 0) + p->count) - log_alt_sum;
    }
    *loss = where / total * (log(p->count) - log(uses) - alt);
    *loss = *loss < 0 ? 0 : *loss;
    return ED_OK;
}

static ed_status rank_pieces(trainer *r, double *where, ranked *order, size_t *n_order) {
    double total = 0, uses = 0;
    ED_TRY(count_best(r, where, &total));
    for (size_t i = 0; i < r->n; i++)
        uses += r->pieces[i].count;
    *n_order = 0;
    for (size_t i = 0; i < r->n; i++) {
        double loss = INFINITY;
        if (!r->pieces[i].single)
            ED_TRY(loss_of(r, i, where[i], uses, total, &loss));
        if (loss >= 0)
            order[(*n_order)++] = (ranked){loss, i};
    }
    return ED_OK;
}

static ed_status prune(trainer *r, size_t target) {
    double *where = ed__malloc(r->n * sizeof *where);
    ranked *order = ed__malloc(r->n * sizeof *order);
    unsigned char *keep = ed__calloc(r->n, 1);
    size_t n = 0, kept = 0, most = (size_t)(KEPT_SHARE * (double)r->n);
    ed_status s = where && order && keep ? index_pieces(r) : ED_E_MEMORY;
    if (s == ED_OK)
        s = rank_pieces(r, where, order, &n);
    if (s == ED_OK) {
        qsort(order, n, sizeof *order, by_loss);
        most = most > target ? most : target;
        for (size_t i = 0; i < n && (i < most || order[i].loss == INFINITY); i++)
            keep[order[i].i] = 1;
        for (size_t i = 0; i < r->n; i++) /* order stays, so that nothing depends on the sort */
            if (keep[i])
                r->pieces[kept++] = r->pieces[i];
        r->n = kept;
    }
    ed__free(where);
    ed__free(order);
    ed__free(keep);
    return s;
}

static ed_status shrink(trainer *r, ed_error *err) {
    size_t target = (size_t)(MARGIN * (double)r->wanted);
    for (int round = 0; round < MAX_ROUNDS; round++) {
        for (int k = 0; k < EM_STEPS; k++)
            ED_TRY(em_step(r));
        ED_FAIL_IF(!ed__progress_report(r->c, "unigram pieces left", r->n, 0), ED_E_CANCELLED, err, "cancelled");
        if (r->n <= target)
            break;
        ED_TRY(prune(r, target));
    }
    return ED_OK;
}

/* ------------------------------------------------------------------ result */

static ed_status emit_pieces(trainer *r, ed_error *err) {
    char text[ED_TOKENIZER_MAX_PIECE_BYTES + 1];
    size_t n = 0;
    int32_t first = ed_tokenizer_vocab_size(r->t);
    qsort(r->pieces, r->n, sizeof *r->pieces, by_score); /* characters first, so that none is cut off */
    r->n = r->n < r->wanted ? r->n : r->wanted;
    double worst = 0;
    for (size_t i = 0; i < r->n; i++) {
        worst = r->pieces[i].score < worst ? r->pieces[i].score : worst;
        r->pieces[i].single = false;
    }
    qsort(r->pieces, r->n, sizeof *r->pieces, by_score);
    r->t->scores = ed__calloc((size_t)first + r->n, sizeof *r->t->scores);
    ED_FAIL_IF(!r->t->scores, ED_E_MEMORY, err, "no memory for the vocabulary");
    for (int32_t id = 0; id < first; id++) /* specials are 0 as in SentencePiece; bytes as bad as the worst piece, so that readers which match them gain nothing */
        r->t->scores[id] = r->t->vocab.flags[id] & ED_TOKEN_BYTE ? worst : 0;
    for (size_t i = 0; i < r->n; i++) {
        bool ok = piece_text(r->t, r->pieces[i].s, r->pieces[i].n, text, &n);
        assert(ok);
        (void)ok;
        r->t->scores[first + (int32_t)i] = r->pieces[i].score;
        ED_TRY(ed__tok_add(r->t, text, n, 0, err));
    }
    return ED_OK;
}

static ed_status train(trainer *r, ed_error *err) {
    ED_TRY(make_segments(r, err));
    if (r->t->byte_fallback)
        ED_TRY(ed__tok_add_byte_pieces(r->t, err));
    int64_t least = ed_tokenizer_vocab_size(r->t) + (int64_t)r->alphabet.n;
    ED_FAIL_IF(least > r->o->vocab_size, ED_E_INVALID, err, "vocab_size %lld is too small: special tokens, bytes and characters alone are %lld",
               (long long)r->o->vocab_size, (long long)least);
    r->wanted = (size_t)(r->o->vocab_size - ed_tokenizer_vocab_size(r->t));
    ED_TRY(make_seeds(r));
    ED_TRY(shrink(r, err));
    return emit_pieces(r, err);
}

ed_status ed__train_unigram(ed_tokenizer *t, const ed_tokenizer_train_opts *o, const ed__corpus *c, ed_error *err) {
    trainer r = {.t = t, .o = o, .c = c};
    ed_status s = train(&r, err);
    ed__words_deinit(&r.segments);
    ed__intern_deinit(&r.alphabet);
    ed__free(r.pieces);
    ed__free(r.scores);
    ed__free(r.keys);
    ed__trie_deinit(&r.trie);
    ed__free(r.table.cells);
    return s;
}
