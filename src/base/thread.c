/* base/thread.c - parallel loops over OpenMP's pool, inline when OpenMP is absent, the work is small, or we are inside a parallel loop already.
 * Invariant: [0,n) is cut into at most ed_threads_get() contiguous ranges that differ by at most one item, none shorter than `grain`; bodies get
 * disjoint ranges and must give results that do not depend on the cut. */
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/internal.h"

#ifdef ED_HAVE_OPENMP
#include <omp.h>
#endif

enum { MAX_THREADS = 1024 };

static atomic_int pool_threads; /* 0: not asked yet */

static int default_threads(void) {
    long n = 0;
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
#endif
    if (n < 1)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

void ed_threads_set(int n) {
    atomic_store(&pool_threads, n <= 0 ? default_threads() : n > MAX_THREADS ? MAX_THREADS : n);
}

int ed_threads_get(void) {
    int n = atomic_load_explicit(&pool_threads, memory_order_relaxed);
    if (n == 0) {
        n = default_threads();
        atomic_store(&pool_threads, n);
    }
    return n;
}

#ifdef ED_HAVE_OPENMP
static void run_ranges(int64_t n, int ranges, ed__range_fn body, void *ctx) {
    int64_t each = n / ranges, longer = n % ranges; /* the first `longer` ranges have one item more */
#pragma omp parallel for schedule(static, 1) num_threads(ranges)
    for (int i = 0; i < ranges; i++) {
        int64_t begin = each * i + (i < longer ? i : longer);
        body(ctx, begin, begin + each + (i < longer));
    }
}
#endif

void ed__parallel_for(int64_t n, int64_t grain, ed__range_fn body, void *ctx) {
    if (n <= 0)
        return;
#ifdef ED_HAVE_OPENMP
    int64_t ranges = n / (grain > 0 ? grain : 1), threads = ed_threads_get();
    if (ranges > threads)
        ranges = threads;
    if (ranges > 1 && !omp_in_parallel()) {
        run_ranges(n, (int)ranges, body, ctx);
        return;
    }
#else
    (void)grain;
#endif
    body(ctx, 0, n);
}
