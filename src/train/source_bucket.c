/* train/source_bucket.c - batches by token count from a dataset.
 *
 * The plan of an epoch is a pure function of (dataset, options, epoch): shuffle the examples by (seed, epoch), sort pools of some hundred batches by length, cut
 * by padded tokens, shuffle the batches. So a resumed run sees the same batches, and evaluation (shuffle off) always sees data order.
 * Causal text is one stream of all targets, cut into rows; the cut starts at another offset every epoch. */
#include "base/internal.h"
#include "endec/train.h"

enum { POOL_BATCHES = 100 };

typedef struct span {
    int64_t first, n; /* examples (or stream rows) order[first .. first+n) */
} span;

struct ed_bucket_source {
    const ed_dataset *data;
    ed_batching opt;
    int64_t *usable; /* indices of examples that fit */
    int64_t n_usable;
    int64_t *order; /* [n_usable or rows] of the planned epoch */
    int64_t n_order;
    span *batches;
    size_t n_batches, cap_batches;
    int64_t epoch; /* planned epoch, -1 = none */
    int64_t epoch_first; /* number of its first batch, counted over all epochs */
    int32_t *stream; /* CAUSAL: all targets joined */
    int32_t *document; /* CAUSAL: document of each stream token */
    int64_t n_stream;
};

static int64_t src_len(const ed_bucket_source *s, int64_t i) {
    const int32_t *a, *b;
    int64_t n, m;
    ed_dataset_get(s->data, i, &a, &n, &b, &m);
    return n;
}

static int64_t tgt_len(const ed_bucket_source *s, int64_t i) {
    const int32_t *a, *b;
    int64_t n, m;
    ed_dataset_get(s->data, i, &a, &n, &b, &m);
    return m;
}

/** Rows that an example takes on its longer side. */
static int64_t row_len(const ed_bucket_source *s, int64_t i) {
    int64_t a = src_len(s, i), b = tgt_len(s, i);
    if (s->opt.layout == ED_LAYOUT_PREFIX)
        return a + b;
    return a > b ? a : b;
}

static bool fits(const ed_bucket_source *s, int64_t i) {
    int64_t n = row_len(s, i), a = src_len(s, i), b = tgt_len(s, i);
    return n >= 1 && n <= s->opt.length && n <= s->opt.tokens && b >= 1 && (s->opt.layout == ED_LAYOUT_CAUSAL || a >= 1);
}

static ed_status make_stream(ed_bucket_source *s) {
    int64_t n = ed_dataset_count(s->data), total = 0, at = 0;
    for (int64_t i = 0; i < n; i++)
        total += tgt_len(s, i);
    s->stream = ed__malloc((size_t)(total + 1) * sizeof *s->stream);
    s->document = ed__malloc((size_t)(total + 1) * sizeof *s->document);
    if (!s->stream || !s->document)
        return ED_E_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        const int32_t *a, *b;
        int64_t na, nb;
        ed_dataset_get(s->data, i, &a, &na, &b, &nb);
        memcpy(s->stream + at, b, (size_t)nb * sizeof *b);
        for (int64_t k = 0; k < nb; k++)
            s->document[at + k] = (int32_t)(i & INT32_MAX);
        at += nb;
    }
    s->n_stream = total;
    return ED_OK;
}

/* ------------------------------------------------------------------ the plan of an epoch */

typedef struct keyed {
    int64_t index, length;
} keyed;

/** Stable merge sort by length. */
static void sort_by_length(keyed *a, keyed *tmp, int64_t n) {
    for (int64_t w = 1; w < n; w *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * w) {
            int64_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n, i = lo, j = mid;
            for (int64_t k = lo; k < hi; k++)
                tmp[k] = i < mid && (j >= hi || a[i].length <= a[j].length) ? a[i++] : a[j++];
        }
        memcpy(a, tmp, (size_t)n * sizeof *a);
    }
}

static ed_status push_batch(ed_bucket_source *s, int64_t first, int64_t n) {
    ED_TRY(ed__grow((void **)&s->batches, &s->cap_batches, s->n_batches + 1, sizeof *s->batches, (size_t)1 << 32));
    s->batches[s->n_batches++] = (span){first, n};
    return ED_OK;
}

static ed_status cut(ed_bucket_source *s, const keyed *k) {
    int64_t first = 0, longest = 0;
    for (int64_t i = 0; i < s->n_order; i++) {
        int64_t n = k[i].length > longest ? k[i].length : longest;
        if (i > first && n * (i - first + 1) > s->opt.tokens) {
            ED_TRY(push_batch(s, first, i - first));
            first = i;
            n = k[i].length;
        }
        longest = n;
    }
    return s->n_order > first ? push_batch(s, first, s->n_order - first) : ED_OK;
}

static void shuffle_batches(ed_bucket_source *s, ed_rng *rng) {
    for (size_t i = s->n_batches; i > 1; i--) {
        size_t j = (size_t)ed_rng_below(rng, i);
        span t = s->batches[i - 1];
        s->batches[i - 1] = s->batches[j];
        s->batches[j] = t;
    }
}

static ed_status plan_pairs(ed_bucket_source *s, ed_rng *rng) {
    s->n_order = s->n_usable;
    memcpy(s->order, s->usable, (size_t)s->n_usable * sizeof *s->order);
    if (s->opt.shuffle)
        ed_rng_shuffle(rng, s->order, s->n_order);
    keyed *k = ed__malloc(2 * (size_t)(s->n_order + 1) * sizeof *k);
    if (!k)
        return ED_E_MEMORY;
    int64_t total = 0;
    for (int64_t i = 0; i < s->n_order; i++) {
        k[i] = (keyed){s->order[i], row_len(s, s->order[i])};
        total += k[i].length;
    }
    int64_t mean = s->n_order ? total / s->n_order + 1 : 1, pool = POOL_BATCHES * (s->opt.tokens / mean + 1);
    for (int64_t at = 0; at < s->n_order; at += pool)
        sort_by_length(k + at, k + s->n_order, s->n_order - at < pool ? s->n_order - at : pool);
    for (int64_t i = 0; i < s->n_order; i++)
        s->order[i] = k[i].index;
    ed_status st = cut(s, k);
    ed__free(k);
    return st;
}

/** Rows of the stream: order[i] = first token of row i; the row reads length tokens and learns the next of each. */
static ed_status plan_stream(ed_bucket_source *s, ed_rng *rng) {
    int64_t len = s->opt.length, shift = s->opt.shuffle && s->n_stream > 2 * len ? (int64_t)ed_rng_below(rng, (uint64_t)len) : 0;
    s->n_order = (s->n_stream - 1 - shift + (s->opt.shuffle ? 0 : len - 1)) / len;
    for (int64_t i = 0; i < s->n_order; i++)
        s->order[i] = shift + i * len;
    if (s->opt.shuffle)
        ed_rng_shuffle(rng, s->order, s->n_order);
    int64_t rows = s->opt.tokens / len > 0 ? s->opt.tokens / len : 1;
    for (int64_t i = 0; i < s->n_order; i += rows)
        ED_TRY(push_batch(s, i, s->n_order - i < rows ? s->n_order - i : rows));
    return ED_OK;
}

static ed_status plan(ed_bucket_source *s, int64_t epoch) {
    if (s->epoch == epoch)
        return ED_OK;
    ed_rng rng = ed_rng_make(s->opt.seed, (uint32_t)(epoch + 1));
    s->n_batches = 0;
    s->epoch = -1;
    ED_TRY(s->opt.layout == ED_LAYOUT_CAUSAL ? plan_stream(s, &rng) : plan_pairs(s, &rng));
    if (s->opt.shuffle)
        shuffle_batches(s, &rng);
    s->epoch = epoch;
    return ED_OK;
}

/* ------------------------------------------------------------------ filling a batch */

typedef struct fill {
    ed_arena *arena;
    bool failed;
} fill;

static int32_t *ids_of(fill *f, int64_t n, int32_t value) {
    int32_t *p = ed_arena_alloc(f->arena, (size_t)n * sizeof *p);
    f->failed |= !p;
    for (int64_t i = 0; p && i < n; i++)
        p[i] = value;
    return p;
}

static float *floats_of(fill *f, int64_t n) {
    float *p = ed_arena_zalloc(f->arena, (size_t)n * sizeof *p);
    f->failed |= !p;
    return p;
}

static ed_status batch_pairs(ed_bucket_source *s, const span *b, ed_arena *arena, ed_batch *out) {
    fill f = {arena, false};
    bool prefix = s->opt.layout == ED_LAYOUT_PREFIX;
    int64_t S = 0, T = 0, n = b->n;
    for (int64_t i = 0; i < n; i++) {
        int64_t a = src_len(s, s->order[b->first + i]), t = tgt_len(s, s->order[b->first + i]);
        S = a > S ? a : S;
        T = prefix ? (a + t - 1 > T ? a + t - 1 : T) : (t > T ? t : T);
    }
    int32_t *src = prefix ? NULL : ids_of(&f, n * S, s->opt.pad_id), *src_lens = ids_of(&f, n, 0), *in = ids_of(&f, n * T, s->opt.pad_id);
    int32_t *tgt = ids_of(&f, n * T, s->opt.pad_id), *tgt_lens = ids_of(&f, n, 0);
    float *w = floats_of(&f, n * T);
    if (f.failed)
        return ED_E_LIMIT;
    *out = (ed_batch){.targets = tgt, .weights = w};
    for (int64_t i = 0; i < n; i++) {
        const int32_t *a, *t;
        int64_t na, nt, skip;
        ed_dataset_get(s->data, s->order[b->first + i], &a, &na, &t, &nt);
        src_lens[i] = (int32_t)na;
        skip = prefix ? na - 1 : 0; /* rows before the first learned one */
        if (prefix) {
            memcpy(in + i * T, a, (size_t)na * sizeof *a);
            memcpy(in + i * T + na, t, (size_t)(nt - 1) * sizeof *t);
        } else {
            memcpy(src + i * S, a, (size_t)na * sizeof *a);
            in[i * T] = s->opt.start_id;
            memcpy(in + i * T + 1, t, (size_t)(nt - 1) * sizeof *t);
        }
        memcpy(tgt + i * T + skip, t, (size_t)nt * sizeof *t);
        for (int64_t k = 0; k < nt; k++)
            w[i * T + skip + k] = 1;
        tgt_lens[i] = (int32_t)(skip + nt);
        out->weight += (double)nt;
        out->tokens += na + nt;
    }
    if (!prefix)
        out->src = (ed_rows){.batch = n, .len = S, .ids = src, .lengths = src_lens};
    out->tgt = (ed_rows){.batch = n, .len = T, .ids = in, .lengths = tgt_lens, .prefix = prefix ? src_lens : NULL};
    out->padded = n * (T + (prefix ? 0 : S));
    return ED_OK;
}

static ed_status batch_stream(ed_bucket_source *s, const span *b, ed_arena *arena, ed_batch *out) {
    fill f = {arena, false};
    int64_t n = b->n, T = s->opt.length;
    int32_t *in = ids_of(&f, n * T, s->opt.pad_id >= 0 ? s->opt.pad_id : 0), *tgt = ids_of(&f, n * T, 0), *lens = ids_of(&f, n, 0);
    int32_t *doc = s->opt.document_mask ? ids_of(&f, n * T, 0) : NULL;
    float *w = floats_of(&f, n * T);
    if (f.failed)
        return ED_E_LIMIT;
    *out = (ed_batch){.targets = tgt, .weights = w};
    for (int64_t i = 0; i < n; i++) {
        int64_t at = s->order[b->first + i], m = s->n_stream - 1 - at < T ? s->n_stream - 1 - at : T;
        for (int64_t k = 0; k < m; k++) {
            in[i * T + k] = s->stream[at + k];
            tgt[i * T + k] = s->stream[at + k + 1];
            w[i * T + k] = doc && s->document[at + k] != s->document[at + k + 1] ? 0 : 1;
            out->weight += (double)w[i * T + k];
            if (doc)
                doc[i * T + k] = s->document[at + k];
        }
        lens[i] = (int32_t)m;
        out->tokens += m;
    }
    out->tgt = (ed_rows){.batch = n, .len = T, .ids = in, .lengths = lens, .segments = doc};
    out->padded = n * T;
    return ED_OK;
}

/** Batch number `index` counted over all epochs. Epochs may differ by a batch or two, so their first numbers are found by walking: onwards from the planned
 *  epoch, or from the beginning when the number lies before it. */
static const span *locate(ed_bucket_source *s, int64_t index, ed_status *st) {
    int64_t epoch = s->epoch >= 0 && index >= s->epoch_first ? s->epoch : 0;
    int64_t first = epoch > 0 ? s->epoch_first : 0;
    for (;; epoch++) {
        if ((*st = plan(s, epoch)) != ED_OK || s->n_batches == 0)
            return NULL;
        s->epoch_first = first;
        if (index - first < (int64_t)s->n_batches)
            return &s->batches[index - first];
        first += (int64_t)s->n_batches;
    }
}

static ed_status batch(void *self, int64_t step, int64_t micro, ed_arena *arena, ed_batch *out, ed_error *err) {
    ed_bucket_source *s = self;
    ed_status st;
    const span *b = locate(s, step * s->opt.accumulate + micro, &st);
    if (b)
        st = s->opt.layout == ED_LAYOUT_CAUSAL ? batch_stream(s, b, arena, out) : batch_pairs(s, b, arena, out);
    else if (st == ED_OK)
        st = ED_E_STATE;
    return st == ED_OK ? ED_OK : ed_error_set(err, st, "", ED_NO_OFFSET, st == ED_E_STATE ? "the data hold no usable example" : "no memory for a batch");
}

/** Targets of a whole step: the weight by which its micro-batches are averaged. */
static double step_weight(void *self, int64_t step, int64_t n_micro) {
    ed_bucket_source *s = self;
    double sum = 0;
    for (int64_t m = 0; m < n_micro; m++) {
        ed_status st;
        const span *b = locate(s, step * s->opt.accumulate + m, &st);
        for (int64_t i = 0; b && i < b->n; i++)
            sum += (double)(s->opt.layout == ED_LAYOUT_CAUSAL ? s->opt.length : tgt_len(s, s->order[b->first + i]));
    }
    return sum;
}

static int64_t steps_per_epoch(void *self) {
    ed_bucket_source *s = self;
    if (plan(s, s->epoch >= 0 ? s->epoch : 0) != ED_OK)
        return 0;
    return ((int64_t)s->n_batches + s->opt.accumulate - 1) / s->opt.accumulate;
}

ed_source ed_bucket_source_of(ed_bucket_source *s) {
    return (ed_source){batch, step_weight, steps_per_epoch, s};
}

static ed_status setup(ed_bucket_source *s, int64_t *dropped) {
    int64_t n = ed_dataset_count(s->data);
    int64_t room = n;
    if (s->opt.layout == ED_LAYOUT_CAUSAL) {
        ED_TRY(make_stream(s));
        room = s->n_stream / s->opt.length + 2;
    }
    s->usable = ed__malloc((size_t)(n + 1) * sizeof *s->usable);
    s->order = ed__malloc((size_t)(room + 1) * sizeof *s->order);
    if (!s->usable || !s->order)
        return ED_E_MEMORY;
    for (int64_t i = 0; i < n && s->opt.layout != ED_LAYOUT_CAUSAL; i++)
        if (fits(s, i))
            s->usable[s->n_usable++] = i;
    if (dropped)
        *dropped = s->opt.layout == ED_LAYOUT_CAUSAL ? 0 : n - s->n_usable;
    return ED_OK;
}

ed_status ed_bucket_source_create(const ed_dataset *d, const ed_batching *b, ed_bucket_source **out, int64_t *dropped, ed_error *err) {
    *out = NULL;
    ED_FAIL_IF(b->tokens < 1 || b->length < 1 || b->accumulate < 1, ED_E_RANGE, err, "batch tokens, length and accumulate must be at least 1");
    ed_bucket_source *s = ed__calloc(1, sizeof *s);
    ED_FAIL_IF(!s, ED_E_MEMORY, err, "no memory for batches");
    *s = (ed_bucket_source){.data = d, .opt = *b, .epoch = -1};
    ed_status st = setup(s, dropped);
    if (st == ED_OK)
        st = plan(s, 0);
    if (st == ED_OK && s->n_batches == 0)
        st = ed_error_set(err, ED_E_INVALID, "", ED_NO_OFFSET, "no example is usable: all are empty or longer than %lld tokens", (long long)b->length);
    else if (st != ED_OK)
        ed_error_set(err, st, "", ED_NO_OFFSET, "no memory for batches");
    if (st != ED_OK) {
        ed_bucket_source_destroy(&s);
        return st;
    }
    *out = s;
    return ED_OK;
}

void ed_bucket_source_destroy(ed_bucket_source **ps) {
    ed_bucket_source *s = ps ? *ps : NULL;
    if (!s)
        return;
    ed__free(s->usable);
    ed__free(s->order);
    ed__free(s->batches);
    ed__free(s->stream);
    ed__free(s->document);
    ed__free(s);
    *ps = NULL;
}
