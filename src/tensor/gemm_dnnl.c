/* tensor/gemm_dnnl.c - f32 matrix products by oneDNN's dnnl_sgemm. (For bf16 Endec's own kernels are faster from f32 operands: gemm_bf16.c.)
 *
 * State: oneDNN's instruction set can be set once per process, before its first use; it is set from the CPU level in use then. When the level is
 * masked further down later, oneDNN is left aside. */
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

static void start(void) {
    static const dnnl_cpu_isa_t ISA[ED_CPU_LEVEL_COUNT] = {dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core, dnnl_cpu_isa_all,
                                                           dnnl_cpu_isa_all};
    level_at_start = ed_cpu_get();
    dnnl_set_max_cpu_isa(ISA[level_at_start]); /* fails when the process used oneDNN before: then its setting stays */
}

static bool usable(void) {
#ifdef ED_HAVE_OPENMP
    if (omp_in_parallel())
        return false; /* it would start threads of its own */
#endif
    if (ed_cpu_get() == ED_CPU_GENERIC)
        return false;
    pthread_once(&once, start);
    return ed_cpu_get() >= level_at_start;
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

/* ------------------------------------------------------------------ products */

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

bool ed__dnnl_gemm(const ed__gemm_args *g) {
    int64_t lda = 0, ldb = 0;
    char fa = form(g->a_row, g->a_col, g->m, g->k, &lda), fb = form(g->b_row, g->b_col, g->k, g->n, &ldb);
    if (g->bf16 || !fa || !fb || g->c_row < g->n || !usable())
        return false;
    int old = threads_enter();
    dnnl_status_t s = dnnl_sgemm(fa, fb, g->m, g->n, g->k, 1.0f, g->a, lda, g->b, ldb, g->accumulate ? 1.0f : 0.0f, g->c, g->c_row);
    threads_leave(old);
    return s == dnnl_success;
}
#endif
