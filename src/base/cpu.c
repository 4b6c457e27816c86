/* base/cpu.c - which kernel level this machine has, and the level in use (maskable, so that tests run every level).
 * A level counts only when the processor and the operating system both support it: __builtin_cpu_supports checks the saved register state (XCR0)
 * for the AVX families; the tile registers of AMX have to be asked for, once per process (Linux: arch_prctl). Kernels for other processors than x86-64 are plain C. */
#include <stdatomic.h>

#include "base/internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* F16C has no name in older compilers' __builtin_cpu_supports; its state is AVX's, which the caller has checked. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* The system grants the tile registers to the whole process, threads to come included. It refuses where they cannot be saved. */
static bool has_amx(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & AMX_BF16) || !(d & AMX_TILE))
        return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static ed_cpu_level detect(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2") || !has_f16c())
        return ED_CPU_GENERIC;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512cd"))
        return ED_CPU_AVX2;
    if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni"))
        return ED_CPU_AVX512;
    return has_amx() ? ED_CPU_AMX : ED_CPU_AVX512_BF16;
}
#else
static ed_cpu_level detect(void) {
    return ED_CPU_GENERIC;
}
#endif

static atomic_int best_level = -1, used_level = -1; /* -1: not asked yet; racing first calls store the same value */

ed_cpu_level ed_cpu_best(void) {
    int level = atomic_load_explicit(&best_level, memory_order_relaxed);
    if (level < 0) {
        level = (int)detect();
        atomic_store(&best_level, level);
    }
    return (ed_cpu_level)level;
}

ed_cpu_level ed_cpu_get(void) {
    int level = atomic_load_explicit(&used_level, memory_order_relaxed);
    return level < 0 ? ed_cpu_best() : (ed_cpu_level)level;
}

const char *ed_cpu_name(ed_cpu_level level) {
    static const char *const NAMES[ED_CPU_LEVEL_COUNT] = {"generic", "avx2", "avx512", "avx512bf16", "amx"};
    int i = (int)level;
    return i >= 0 && i < ED_CPU_LEVEL_COUNT ? NAMES[i] : "unknown";
}

ed_status ed_cpu_set(ed_cpu_level level) {
    int i = (int)level;
    if (i < 0 || i >= ED_CPU_LEVEL_COUNT)
        return ED_E_INVALID;
    if (level > ed_cpu_best())
        return ED_E_UNSUPPORTED;
    atomic_store(&used_level, i);
    return ED_OK;
}
