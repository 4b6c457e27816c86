/* tensor/gemm_dnnl.c - matrix products by oneDNN: dnnl_sgemm for f32; for bf16 two reorders (f32 to bf16, into the layout that the matmul wants) and a
 * matmul with f32 accumulation, which uses the matrix units of the processor where it has them.
 *
 * State: oneDNN's instruction set can be set once per process, before its first use; it is set from the CPU level in use then. When the level is
 * masked further down later, oneDNN is left aside. bf16 primitives are kept in a cache of CACHE entries, oldest use leaves first; a
 * mutex guards the cache, and an entry in use is counted so that it is not destroyed under its user. */
#include "tensor/gemm_dnnl.h"

#ifndef ED_HAVE_DNNL
bool ed__dnnl_gemm(const ed__gemm_args *args) {
    (void)args;
    return false;
}
#else

#include <dnnl.h>
#include <pthread.h>

#include "base/internal.h"

#ifdef ED_HAVE_OPENMP
#include <omp.h>
#endif

/* ------------------------------------------------------------------ setting up */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static ed_cpu_level level_at_start;
static dnnl_engine_t engine; /* NULL: oneDNN cannot be used */

static void start(void) {
    static const dnnl_cpu_isa_t ISA[ED_CPU_LEVEL_COUNT] = {dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_all};
    level_at_start = ed_cpu_get();
    dnnl_set_max_cpu_isa(ISA[level_at_start]); /* fails when the process used oneDNN before: then its setting stays */
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success)
        engine = NULL;
}

static bool usable(void) {
#ifdef ED_HAVE_OPENMP
    if (omp_in_parallel())
        return false; /* primitives are made for the full thread count */
#endif
    if (ed_cpu_get() == ED_CPU_GENERIC)
        return false;
    pthread_once(&once, start);
    return engine && ed_cpu_get() >= level_at_start;
}

/* oneDNN takes its thread count from OpenMP's setting of the calling thread. */
static int threads_enter(void) {
#ifdef ED_HAVE_OPENMP
    int old = omp_get_max_threads();
    if (old != ed_threads_get())
        omp_set_num_threads(ed_threads_get());
    return old;
#else
    return 1;
#endif
}
static void threads_leave(int old) {
#ifdef ED_HAVE_OPENMP
    if (old != omp_get_max_threads())
        omp_set_num_threads(old);
#else
    (void)old;
#endif
}

/* ------------------------------------------------------------------ f32 */

/* Row-major matrix or its transpose: 'N' with the row stride, 'T' with the column stride, 0 when neither. */
static char form(int64_t row, int64_t col, int64_t rows, int64_t cols, int64_t *ld) {
    if (col == 1 && row >= cols) {
        *ld = row;
        return 'N';
    }
    if (row == 1 && col >= rows) {
        *ld = col;
        return 'T';
    }
    return 0;
}

static bool sgemm(const ed__gemm_args *g, char fa, int64_t lda, char fb, int64_t ldb) {
    int old = threads_enter();
    dnnl_status_t s = dnnl_sgemm(fa, fb, g->m, g->n, g->k, 1.0f, g->a, lda, g->b, ldb, g->accumulate ? 1.0f : 0.0f, g->c, g->c_row);
    threads_leave(old);
    return s == dnnl_success;
}

/* ------------------------------------------------------------------ bf16 */

typedef struct shape_key {
    int64_t m, n, k, a_row, a_col, b_row, b_col, c_row, accumulate, threads;
} shape_key;

typedef struct entry {
    shape_key key;
    dnnl_primitive_t pack_a, pack_b, product;
    dnnl_memory_desc_t a_from, b_from, a_to, b_to, c, scratch;
    uint64_t used; /* time of last use */
    int users;     /* calls running on it */
    bool ready;
} entry;

enum { CACHE = 64 };
static entry cache[CACHE];
static uint64_t cache_clock;
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;

static void entry_clear(entry *e) {
    dnnl_primitive_t p[3] = {e->pack_a, e->pack_b, e->product};
    for (int i = 0; i < 3; i++)
        if (p[i])
            dnnl_primitive_destroy(p[i]);
    memset(e, 0, sizeof *e);
}

static bool make_product(entry *e, const dnnl_memory_desc_t *a_any, const dnnl_memory_desc_t *b_any) {
    dnnl_matmul_desc_t d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bool ok = dnnl_matmul_desc_init(&d, a_any, b_any, NULL, &e->c) == dnnl_success && dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && e->key.accumulate)
        ok = dnnl_post_ops_create(&ops) == dnnl_success && dnnl_post_ops_append_sum(ops, 1.0f) == dnnl_success &&
             dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    ok = ok && dnnl_primitive_desc_create(&pd, &d, attr, engine, NULL) == dnnl_success && dnnl_primitive_create(&e->product, pd) == dnnl_success;
    if (ok) {
        e->a_to = *dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0);
        e->b_to = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
        e->scratch = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return ok;
}

static bool make_reorder(dnnl_primitive_t *p, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to) {
    dnnl_primitive_desc_t pd = NULL;
    bool ok = dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL) == dnnl_success && dnnl_primitive_create(p, pd) == dnnl_success;
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return ok;
}

static bool entry_make(entry *e, const shape_key *key) {
    e->key = *key;
    dnnl_dims_t da = {key->m, key->k}, db = {key->k, key->n}, dc = {key->m, key->n};
    dnnl_dims_t sa = {key->a_row, key->a_col}, sb = {key->b_row, key->b_col}, sc = {key->c_row, 1};
    dnnl_memory_desc_t a_any, b_any;
    bool ok = dnnl_memory_desc_init_by_strides(&e->a_from, 2, da, dnnl_f32, sa) == dnnl_success &&
              dnnl_memory_desc_init_by_strides(&e->b_from, 2, db, dnnl_f32, sb) == dnnl_success &&
              dnnl_memory_desc_init_by_strides(&e->c, 2, dc, dnnl_f32, sc) == dnnl_success &&
              dnnl_memory_desc_init_by_tag(&a_any, 2, da, dnnl_bf16, dnnl_ab) == dnnl_success &&
              dnnl_memory_desc_init_by_tag(&b_any, 2, db, dnnl_bf16, dnnl_format_tag_any) == dnnl_success && make_product(e, &a_any, &b_any) &&
              make_reorder(&e->pack_a, &e->a_from, &e->a_to) && make_reorder(&e->pack_b, &e->b_from, &e->b_to);
    if (!ok)
        entry_clear(e);
    e->ready = ok;
    return ok;
}

/* The entry of this shape with one more user, or NULL when all entries are busy or oneDNN refuses the shape. */
static entry *cache_take(const shape_key *key) {
    pthread_mutex_lock(&cache_lock);
    entry *hit = NULL, *oldest = NULL;
    for (int i = 0; i < CACHE && !hit; i++) {
        entry *e = &cache[i];
        if (e->ready && memcmp(&e->key, key, sizeof *key) == 0)
            hit = e;
        else if (e->users == 0 && (!oldest || e->used < oldest->used))
            oldest = e;
    }
    if (!hit && oldest) {
        entry_clear(oldest);
        hit = entry_make(oldest, key) ? oldest : NULL;
    }
    if (hit) {
        hit->used = ++cache_clock;
        hit->users++;
    }
    pthread_mutex_unlock(&cache_lock);
    return hit;
}
static void cache_release(entry *e) {
    pthread_mutex_lock(&cache_lock);
    e->users--;
    pthread_mutex_unlock(&cache_lock);
}

enum { MEM_A, MEM_B, MEM_PACKED_A, MEM_PACKED_B, MEM_C, MEM_SCRATCH, MEM_COUNT };

static bool reorder_run(dnnl_primitive_t p, dnnl_stream_t s, dnnl_memory_t from, dnnl_memory_t to) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(p, s, 2, args) == dnnl_success;
}

/* Until the product itself starts nothing is written to C, so a failure before it can fall back to Endec's own kernels. */
static bool entry_run(entry *e, void *const data[MEM_COUNT]) {
    const dnnl_memory_desc_t *md[MEM_COUNT] = {&e->a_from, &e->b_from, &e->a_to, &e->b_to, &e->c, &e->scratch};
    dnnl_memory_t mem[MEM_COUNT] = {0};
    dnnl_stream_t stream = NULL;
    bool ok = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; ok && i < MEM_COUNT; i++)
        ok = dnnl_memory_create(&mem[i], md[i], engine, data[i]) == dnnl_success;
    ok = ok && reorder_run(e->pack_a, stream, mem[MEM_A], mem[MEM_PACKED_A]) && reorder_run(e->pack_b, stream, mem[MEM_B], mem[MEM_PACKED_B]);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, mem[MEM_PACKED_A]}, {DNNL_ARG_WEIGHTS, mem[MEM_PACKED_B]}, {DNNL_ARG_DST, mem[MEM_C]},
                              {DNNL_ARG_SCRATCHPAD, mem[MEM_SCRATCH]}};
    ok = ok && dnnl_primitive_execute(e->product, stream, 4, args) == dnnl_success && dnnl_stream_wait(stream) == dnnl_success;
    for (int i = 0; i < MEM_COUNT; i++)
        if (mem[i])
            dnnl_memory_destroy(mem[i]);
    if (stream)
        dnnl_stream_destroy(stream);
    return ok;
}

static size_t round_up(size_t bytes) {
    return (bytes + 4095) & ~(size_t)4095;
}

static bool bf16_gemm(const ed__gemm_args *g) {
    shape_key key;
    memset(&key, 0, sizeof key);
    key = (shape_key){g->m, g->n, g->k, g->a_row, g->a_col, g->b_row, g->b_col, g->c_row, g->accumulate, ed_threads_get()};
    int old = threads_enter();
    entry *e = cache_take(&key);
    bool ok = false;
    if (e) {
        size_t na = round_up(dnnl_memory_desc_get_size(&e->a_to)), nb = round_up(dnnl_memory_desc_get_size(&e->b_to));
        char *mem = ed__malloc(na + nb + dnnl_memory_desc_get_size(&e->scratch) + 64);
        union {
            const float *in;
            void *data;
        } a = {g->a}, b = {g->b}; /* oneDNN's memory objects take no const pointers; inputs are only read */
        void *const data[MEM_COUNT] = {a.data, b.data, mem, mem ? mem + na : NULL, g->c, mem ? mem + na + nb : NULL};
        ok = mem && entry_run(e, data);
        ed__free(mem);
        cache_release(e);
    }
    threads_leave(old);
    return ok;
}

bool ed__dnnl_gemm(const ed__gemm_args *g) {
    int64_t lda, ldb;
    char fa = form(g->a_row, g->a_col, g->m, g->k, &lda), fb = form(g->b_row, g->b_col, g->k, g->n, &ldb);
    if (!fa || !fb || g->c_row < g->n || !usable())
        return false;
    return g->bf16 ? bf16_gemm(g) : sgemm(g, fa, lda, fb, ldb);
}
#endif
