/* tensor/kernel.c - picks the kernel table of the CPU level in use. The generic table is in every build; the others exist on x86-64 (cmake/kernels.cmake
 * compiles the same sources once per level). */
#include "tensor/kernel.h"

extern const ed__kernel_table edk_table_generic;
#if defined(__x86_64__)
extern const ed__kernel_table edk_table_avx2, edk_table_avx512, edk_table_avx512bf16, edk_table_amx;
static const ed__kernel_table *const TABLES[ED_CPU_LEVEL_COUNT] = {&edk_table_generic, &edk_table_avx2, &edk_table_avx512, &edk_table_avx512bf16,
                                                               &edk_table_amx};
#else
static const ed__kernel_table *const TABLES[ED_CPU_LEVEL_COUNT] = {&edk_table_generic};
#endif

const ed__kernel_table *ed__kernels(void) {
    return TABLES[ed_cpu_get()];
}

const ed__kernel_table *ed__kernels_at(ed_cpu_level level) {
    int i = (int)level;
    return i >= 0 && i < ED_CPU_LEVEL_COUNT && level <= ed_cpu_best() ? TABLES[i] : NULL;
}
