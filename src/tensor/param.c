/* tensor/param.c - parameter sets: named storage in a fixed order, found by name through a hash table; initialisers; name patterns. */
#include "tensor/graph.h"

#include <math.h>

#include "tensor/kernel.h"

enum { MAX_PARAMS = 1 << 24 };

ed_status ed_params_create(ed_params **out) {
    *out = ed__calloc(1, sizeof **out);
    return *out ? ED_OK : ED_E_MEMORY;
}

static void param_destroy(ed_param *p) {
    ed__packed *packed = p->packed;
    ed__packed_destroy(&packed);
    ed__free(p->name);
    if (!p->mapped)
        ed__free(p->data);
    ed__free(p);
}

void ed_params_destroy(ed_params **set) {
    if (!set || !*set)
        return;
    for (size_t i = 0; i < (*set)->n; i++)
        param_destroy((*set)->items[i]);
    ed__free((*set)->items);
    ed__free((*set)->table);
    ed__free(*set);
    *set = NULL;
}

static size_t *slot_of(const ed_params *s, const char *name) {
    size_t i = ed__hash64(name, strlen(name), 0) & (s->table_cap - 1);
    while (s->table[i] && strcmp(s->items[s->table[i] - 1]->name, name) != 0)
        i = (i + 1) & (s->table_cap - 1);
    return &s->table[i];
}

static ed_status table_grow(ed_params *s) {
    if (s->table_cap > 2 * (s->n + 1))
        return ED_OK;
    size_t cap = s->table_cap ? 2 * s->table_cap : 64;
    size_t *t = ed__calloc(cap, sizeof *t);
    if (!t)
        return ED_E_MEMORY;
    ed__free(s->table);
    s->table = t;
    s->table_cap = cap;
    for (size_t i = 0; i < s->n; i++)
        *slot_of(s, s->items[i]->name) = i + 1;
    return ED_OK;
}

static ed_status param_make(const char *name, ed_dtype dtype, int rank, const int64_t *shape, ed_param **out) {
    ed_param *p = ed__calloc(1, sizeof *p);
    if (!p)
        return ED_E_MEMORY;
    p->dtype = dtype;
    p->rank = rank;
    p->numel = 1;
    for (int i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        if (!ed__mul_i64(p->numel, shape[i], &p->numel)) {
            ed__free(p);
            return ED_E_RANGE;
        }
    }
    size_t bytes;
    p->name = ed__strdup(name);
    if (p->name && ed__mul_size((size_t)p->numel, ed_dtype_bytes(dtype), &bytes))
        p->data = ed__calloc(bytes ? bytes : 1, 1);
    if (!p->data) {
        ed__free(p->name);
        ed__free(p);
        return ED_E_MEMORY;
    }
    *out = p;
    return ED_OK;
}

ed_status ed_params_add(ed_params *s, const char *name, ed_dtype dtype, int rank, const int64_t *shape, ed_param **out, ed_error *err) {
    ed_param *p;
    if (!name || !*name || rank < 0 || rank > ED_MAX_RANK || ed_dtype_bytes(dtype) == 0)
        return ed_error_set(err, ED_E_INVALID, name ? name : "", ED_NO_OFFSET, "parameter needs a name, a known number format and at most %d axes", ED_MAX_RANK);
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0)
            return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "axis %d has negative size %lld", i, (long long)shape[i]);
    if (ed_params_find(s, name))
        return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "a parameter of this name exists already");
    if (ed__grow((void **)&s->items, &s->cap, s->n + 1, sizeof(ed_param *), MAX_PARAMS) != ED_OK || table_grow(s) != ED_OK)
        return ed_error_set(err, ED_E_MEMORY, name, ED_NO_OFFSET, "no memory for another parameter");
    ed_status st = param_make(name, dtype, rank, shape, &p);
    if (st != ED_OK)
        return ed_error_set(err, st, name, ED_NO_OFFSET, "cannot allocate this parameter: %s", ed_status_text(st));
    p->index = (int32_t)s->n;
    s->items[s->n++] = p;
    *slot_of(s, name) = s->n;
    if (out)
        *out = p;
    return ED_OK;
}

int64_t ed_params_count(const ed_params *s) {
    return (int64_t)s->n;
}

ed_param *ed_params_at(const ed_params *s, int64_t i) {
    return i >= 0 && (size_t)i < s->n ? s->items[i] : NULL;
}

ed_param *ed_params_find(const ed_params *s, const char *name) {
    size_t at = s->table_cap ? *slot_of(s, name) : 0;
    return at ? s->items[at - 1] : NULL;
}

int64_t ed_params_numel(const ed_params *s) {
    int64_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->items[i]->numel;
    return n;
}

void ed_param_touch(ed_param *p) {
    p->version++;
}

uint64_t ed_params_hash(const ed_params *s) {
    uint64_t h = 0;
    for (size_t i = 0; i < s->n; i++) {
        const ed_param *p = s->items[i];
        h = ed__hash64(p->name, strlen(p->name), h);
        h = ed__hash64(p->shape, (size_t)p->rank * sizeof p->shape[0], h);
        h = ed__hash64(p->data, (size_t)p->numel * ed_dtype_bytes(p->dtype), h);
    }
    return h;
}

/* ------------------------------------------------------------------ initialisers */

static void put(ed_param *p, int64_t i, double v) {
    switch (p->dtype) {
    case ED_DTYPE_F64: ((double *)p->data)[i] = v; break;
    case ED_DTYPE_BF16: ((uint16_t *)p->data)[i] = ed_f32_to_bf16((float)v); break;
    case ED_DTYPE_F16: ((uint16_t *)p->data)[i] = ed_f32_to_f16((float)v); break;
    default: ((float *)p->data)[i] = (float)v; break;
    }
}

typedef enum init_kind { INIT_NORMAL, INIT_TRUNCATED, INIT_UNIFORM, INIT_CONSTANT, INIT_IDENTITY } init_kind;

static double draw(init_kind kind, double a, double u) {
    switch (kind) {
    case INIT_NORMAL: return a * ed_normal_icdf(u);
    case INIT_TRUNCATED: return a * ed_normal_icdf(0.022750131948179195 + u * (1 - 2 * 0.022750131948179195)); /* between the quantiles of -2 and 2 */
    case INIT_UNIFORM: return a * (2 * u - 1);
    default: return a;
    }
}

static void fill(ed_param *p, init_kind kind, double a, uint64_t seed) {
    ed_rng_key key = ed_rng_key_make(seed, (uint32_t)ed__hash64(p->name, strlen(p->name), 0));
    int64_t cols = p->rank ? p->shape[p->rank - 1] : 1;
    for (int64_t i = 0; i < p->numel; i++) {
        uint32_t c[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0, 0}, w[4];
        if (kind == INIT_IDENTITY) {
            put(p, i, i / cols == i % cols);
        } else if (kind == INIT_CONSTANT) {
            put(p, i, a);
        } else {
            ed_philox(key, c, w);
            put(p, i, draw(kind, a, ed_uniform_f64(w[0], w[1])));
        }
    }
    ed_param_touch(p);
}

ed_status ed_param_init(ed_param *p, const char *kind, double a, uint64_t seed, ed_error *err) {
    double fan_in = p->rank > 1 ? (double)(p->numel / (p->shape[0] ? p->shape[0] : 1)) : (double)p->numel;
    double fan_out = p->rank > 0 ? (double)p->shape[0] : 1;
    if (p->mapped)
        return ed_error_set(err, ED_E_STATE, p->name, ED_NO_OFFSET, "a memory-mapped parameter cannot be initialised");
    fan_in = fan_in > 0 ? fan_in : 1;
    if (strcmp(kind, "normal") == 0)
        fill(p, INIT_NORMAL, a, seed);
    else if (strcmp(kind, "truncated") == 0)
        fill(p, INIT_TRUNCATED, a, seed);
    else if (strcmp(kind, "uniform") == 0)
        fill(p, INIT_UNIFORM, a, seed);
    else if (strcmp(kind, "kaiming") == 0)
        fill(p, INIT_UNIFORM, sqrt(6.0 / ((1 + a * a) * fan_in)), seed);
    else if (strcmp(kind, "xavier") == 0)
        fill(p, INIT_UNIFORM, sqrt(6.0 / (fan_in + fan_out)), seed);
    else if (strcmp(kind, "zero") == 0)
        fill(p, INIT_CONSTANT, 0, seed);
    else if (strcmp(kind, "one") == 0)
        fill(p, INIT_CONSTANT, 1, seed);
    else if (strcmp(kind, "constant") == 0)
        fill(p, INIT_CONSTANT, a, seed);
    else if (strcmp(kind, "identity") == 0)
        fill(p, INIT_IDENTITY, 0, seed);
    else
        return ed_error_set(err, ED_E_NOT_FOUND, p->name, ED_NO_OFFSET, "no initialiser is called '%s'", kind);
    return ED_OK;
}

/* ------------------------------------------------------------------ name patterns */

/** Glob over pattern [p, pe): '*' any run, '?' any one character. Iterative with one backtrack point. */
static bool glob(const char *p, const char *pe, const char *s) {
    const char *star = NULL, *mark = NULL;
    while (*s) {
        if (p < pe && (*p == '?' || (*p == *s && *p != '*'))) {
            p++, s++;
        } else if (p < pe && *p == '*') {
            star = p++;
            mark = s;
        } else if (star) {
            p = star + 1;
            s = ++mark;
        } else {
            return false;
        }
    }
    while (p < pe && *p == '*')
        p++;
    return p == pe;
}

bool ed_name_match(const char *patterns, const char *name) {
    bool match = patterns && *patterns == '!'; /* a list that begins with an exception starts from "all" */
    for (const char *p = patterns; p && *p;) {
        size_t n = strcspn(p, ",");
        bool neg = *p == '!';
        if (n > (size_t)neg && glob(p + neg, p + n, name))
            match = !neg;
        p += n + (p[n] == ',');
    }
    return match;
}
