/* tensor/attention_kernel.c - picks the attention kernels of the CPU level in use. */
#include <stddef.h>

#include "tensor/attention_kernel.h"

extern const ed__attn_kernels edk_attention_generic;
#if defined(__x86_64__)
extern const ed__attn_kernels edk_attention_avx2, edk_attention_avx512, edk_attention_avx512bf16, edk_attention_amx;
static const ed__attn_kernels *const levels[ED_CPU_LEVEL_COUNT] = {&edk_attention_generic, &edk_attention_avx2, &edk_attention_avx512,
                                                                   &edk_attention_avx512bf16, &edk_attention_amx};
#else
static const ed__attn_kernels *const levels[ED_CPU_LEVEL_COUNT] = {&edk_attention_generic};
#endif

const ed__attn_kernels *ed__attn_kernels_at(ed_cpu_level level) {
    return level >= 0 && level < ED_CPU_LEVEL_COUNT && level <= ed_cpu_best() ? levels[level] : NULL;
}

const ed__attn_kernels *ed__attn_kernels_now(void) {
    const ed__attn_kernels *k = ed__attn_kernels_at(ed_cpu_get());
    return k ? k : &edk_attention_generic;
}
