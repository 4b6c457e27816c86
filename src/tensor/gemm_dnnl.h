/* tensor/gemm_dnnl.h - large f32 products through oneDNN. Without oneDNN in the build it never takes a product. */
#ifndef ED_TENSOR_GEMM_DNNL_H
#define ED_TENSOR_GEMM_DNNL_H

#include "tensor/kernel.h"

/** Computes the product and returns true, or leaves C untouched and returns false: bf16 is asked for, oneDNN is absent, the CPU level in use forbids it, we are inside a
 *  parallel loop, the strides are not those of a matrix or its transpose, or memory is short. */
bool ed__dnnl_gemm(const ed__gemm_args *args);

#endif
