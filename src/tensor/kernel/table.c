/* tensor/kernel/table.c - the functions of one level as a table. */
#include "tensor/kernel/level.h"

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

const ed__kernel_table EDK(table) = {
    .name = TEXT(ED_LEVEL),
    .unary = EDK(unary),
    .unary_grad = EDK(unary_grad),
    .exp_sub = EDK(exp_sub),
    .sum = EDK(sum),
    .dot = EDK(dot),
    .max = EDK(max),
    .sum_sq_dev = EDK(sum_sq_dev),
    .axpy = EDK(axpy),
    .axpby = EDK(axpby),
    .scale = EDK(scale),
    .add = EDK(add),
    .mul = EDK(mul),
    .mul_add = EDK(mul_add),
    .norm_apply = EDK(norm_apply),
    .norm_terms = EDK(norm_terms),
    .norm_grad = EDK(norm_grad),
    .norm_params = EDK(norm_params),
    .add_columns = EDK(add_columns),
    .sum_squares = EDK(sum_squares),
    .exp_sums = EDK(exp_sums),
    .softmax_grad = EDK(softmax_grad),
    .drop_scale = EDK(drop_scale),
    .adamw = EDK(adamw),
    .f32_to_bf16 = EDK(f32_to_bf16),
    .bf16_to_f32 = EDK(bf16_to_f32),
    .f32_to_f16 = EDK(f32_to_f16),
    .f16_to_f32 = EDK(f16_to_f32),
    .philox = EDK(philox),
    .gemm_packed = EDK(gemm_packed),
    .gemm_packed_bf16 = EDK(gemm_packed_bf16),
    .gemm_panels = EDK(gemm_panels),
    .pack_b = EDK(pack_b),
    .pack_b_bf16 = EDK(pack_b_bf16),
    .pack_b_to_bf16 = EDK(pack_b_to_bf16),
};
