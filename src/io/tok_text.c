/* io/tok_text.c - normalising text (NFC, NFKC, lower case) with a map back to the input bytes.
 * The text is cut into chunks before every character that cannot join with what stands before it; chunks are normalised alone and each
 * output byte maps to the input range of its chunk. Canonical ordering is our own counting sort: hostile runs of a million combining marks stay linear.
 * Bytes that are not UTF-8 pass through unchanged. Unicode data: utf8proc. */
#include <utf8proc.h>

#include "io/tok.h"

enum { MAX_DECOMPOSED = 64, SMALL_RUN = 16, CLASSES = 256 };
#define MAX_OUT_BYTES (ED_TOKENIZER_MAX_TEXT_BYTES * 12)

typedef struct writer {
    ed__tok_norm norm;
    bool align;
    char *out;
    uint32_t *begin, *end;
    size_t n, cap, cap_begin, cap_end;
    int32_t *cps; /* decomposed code points of the chunk */
    size_t n_cps, cap_cps;
    int32_t *spare;
    size_t cap_spare;
} writer;

static ed_status put(writer *w, const char *s, size_t n, size_t begin, size_t end) {
    ED_TRY(ed__grow((void **)&w->out, &w->cap, w->n + n, 1, MAX_OUT_BYTES));
    memcpy(w->out + w->n, s, n);
    if (w->align) {
        ED_TRY(ed__grow((void **)&w->begin, &w->cap_begin, w->n + n, sizeof *w->begin, MAX_OUT_BYTES));
        ED_TRY(ed__grow((void **)&w->end, &w->cap_end, w->n + n, sizeof *w->end, MAX_OUT_BYTES));
        for (size_t i = 0; i < n; i++) {
            w->begin[w->n + i] = (uint32_t)begin;
            w->end[w->n + i] = (uint32_t)end;
        }
    }
    w->n += n;
    return ED_OK;
}

static int ccc(int32_t cp) {
    return cp < 0x300 ? 0 : utf8proc_get_property(cp)->combining_class;
}

static utf8proc_option_t options(const writer *w) {
    return w->norm.form == ED_NORMALIZER_NFKC ? UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT : UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
}

/* Decomposes cp onto the end of w->cps; *first gets the first code point of the decomposition. */
static ed_status decompose(writer *w, uint32_t cp, size_t *count) {
    ED_TRY(ed__grow((void **)&w->cps, &w->cap_cps, w->n_cps + MAX_DECOMPOSED, sizeof *w->cps, MAX_OUT_BYTES));
    int bound = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, w->cps + w->n_cps, MAX_DECOMPOSED, options(w), &bound);
    if (n < 1 || n > MAX_DECOMPOSED) { /* cannot happen with any Unicode version so far; keep the character */
        w->cps[w->n_cps] = (int32_t)cp;
        n = 1;
    }
    *count = (size_t)n;
    return ED_OK;
}

/* True when a character whose decomposition begins with `first` never joins with the one before it. */
static bool stands_alone(int32_t first) {
    if (first < 0x300)
        return true;
    if (first >= 0x1160 && first <= 0x11FF) /* Hangul vowels and finals */
        return false;
    utf8proc_category_t c = utf8proc_category(first);
    return ccc(first) == 0 && c != UTF8PROC_CATEGORY_MN && c != UTF8PROC_CATEGORY_MC && c != UTF8PROC_CATEGORY_ME;
}

/* Stable sort of a run of marks by combining class. */
static ed_status order_run(writer *w, int32_t *run, size_t n) {
    if (n <= SMALL_RUN) {
        for (size_t i = 1; i < n; i++) {
            int32_t cp = run[i];
            size_t j = i;
            for (; j > 0 && ccc(run[j - 1]) > ccc(cp); j--)
                run[j] = run[j - 1];
            run[j] = cp;
        }
        return ED_OK;
    }
    ED_TRY(ed__grow((void **)&w->spare, &w->cap_spare, n, sizeof *w->spare, MAX_OUT_BYTES));
    size_t at[CLASSES + 1] = {0};
    for (size_t i = 0; i < n; i++)
        at[(ccc(run[i]) & 255) + 1]++;
    for (size_t c = 0; c < CLASSES; c++)
        at[c + 1] += at[c];
    for (size_t i = 0; i < n; i++)
        w->spare[at[ccc(run[i]) & 255]++] = run[i];
    memcpy(run, w->spare, n * sizeof *run);
    return ED_OK;
}

static ed_status put_code_point(writer *w, int32_t cp, size_t begin, size_t end) {
    char utf8[4];
    if (w->norm.lower && cp == 0x130) /* the one letter whose lower case is two characters */
        return put(w, "i\xCC\x87", 3, begin, end);
    if (w->norm.lower)
        cp = utf8proc_tolower(cp);
    return put(w, utf8, (size_t)ed__utf8_encode((uint32_t)cp, utf8), begin, end);
}

/* Writes the chunk in w->cps, which came from input [begin, end). */
static ed_status flush(writer *w, size_t begin, size_t end) {
    size_t n = w->n_cps;
    w->n_cps = 0;
    if (n == 0)
        return ED_OK;
    if (w->norm.form != ED_NORMALIZER_NONE) {
        for (size_t i = 0; i < n;) {
            size_t j = i;
            while (j < n && ccc(w->cps[j]) != 0)
                j++;
            if (j > i)
                ED_TRY(order_run(w, w->cps + i, j - i));
            i = j > i ? j : i + 1;
        }
        utf8proc_ssize_t m = utf8proc_normalize_utf32(w->cps, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        n = m >= 0 ? (size_t)m : n;
    }
    for (size_t i = 0; i < n; i++)
        ED_TRY(put_code_point(w, w->cps[i], begin, end));
    return ED_OK;
}

static ed_status normalise(writer *w, const unsigned char *s, size_t n) {
    size_t chunk = 0; /* where the chunk in w->cps began */
    for (size_t i = 0; i < n;) {
        if (s[i] < 0x80 && (i + 1 >= n || s[i + 1] < 0x80)) { /* plain ASCII: nothing can join */
            ED_TRY(flush(w, chunk, i));
            char c = (char)(w->norm.lower && s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
            ED_TRY(put(w, &c, 1, i, i + 1));
            chunk = ++i;
            continue;
        }
        uint32_t cp = 0;
        int len = ed__utf8_decode(s + i, n - i, &cp);
        if (len == 0) {
            ED_TRY(flush(w, chunk, i));
            ED_TRY(put(w, (const char *)s + i, 1, i, i + 1));
            chunk = ++i;
            continue;
        }
        size_t count = 1;
        if (w->norm.form == ED_NORMALIZER_NONE) {
            ED_TRY(flush(w, chunk, i));
            chunk = i;
            ED_TRY(ed__grow((void **)&w->cps, &w->cap_cps, 1, sizeof *w->cps, MAX_OUT_BYTES));
            w->cps[0] = (int32_t)cp;
        } else {
            ED_TRY(decompose(w, cp, &count));
            if (w->n_cps > 0 && stands_alone(w->cps[w->n_cps])) {
                ED_TRY(flush(w, chunk, i));
                chunk = i;
                ED_TRY(decompose(w, cp, &count));
            }
        }
        w->n_cps += count;
        i += (size_t)len;
    }
    return flush(w, chunk, n);
}

static ed_status init_plain(ed__tok_text *x, bool prefix, const char *s, size_t n) {
    x->data = s;
    x->n = n;
    if (!prefix)
        return ED_OK;
    if (!(x->owned = ed__malloc(n + 1)))
        return ED_E_MEMORY;
    x->owned[0] = ' ';
    memcpy(x->owned + 1, s, n);
    x->data = x->owned;
    x->n = n + 1;
    return ED_OK;
}

ed_status ed__tok_text_init(ed__tok_text *x, const ed__tok_norm *norm, bool prefix, bool align, const char *s, size_t n) {
    memset(x, 0, sizeof *x);
    prefix = prefix && n > 0;
    x->prefix = prefix;
    if (norm->form == ED_NORMALIZER_NONE && !norm->lower)
        return init_plain(x, prefix, s, n);
    writer w = {.norm = *norm, .align = align};
    ed_status st = ED_OK;
    if (prefix) {
        w.align = false;
        st = put(&w, " ", 1, 0, 0);
        w.align = align;
    }
    if (st == ED_OK && align) { /* the maps have no entry for the prefix: let them begin one before */
        st = ed__grow((void **)&w.begin, &w.cap_begin, n + 1, sizeof *w.begin, MAX_OUT_BYTES);
        if (st == ED_OK)
            st = ed__grow((void **)&w.end, &w.cap_end, n + 1, sizeof *w.end, MAX_OUT_BYTES);
    }
    if (st == ED_OK)
        st = normalise(&w, (const unsigned char *)s, n);
    ed__free(w.cps);
    ed__free(w.spare);
    if (st != ED_OK) {
        ed__free(w.out);
        ed__free(w.begin);
        ed__free(w.end);
        return st;
    }
    if (align && prefix) {
        memmove(w.begin, w.begin + 1, (w.n - 1) * sizeof *w.begin);
        memmove(w.end, w.end + 1, (w.n - 1) * sizeof *w.end);
    }
    x->owned = w.out;
    x->data = w.out ? w.out : "";
    x->n = w.n;
    x->begin = w.begin;
    x->end = w.end;
    return ED_OK;
}

void ed__tok_text_deinit(ed__tok_text *x) {
    ed__free(x->owned);
    ed__free(x->begin);
    ed__free(x->end);
    memset(x, 0, sizeof *x);
}
