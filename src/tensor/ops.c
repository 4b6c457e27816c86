/* tensor/ops.c - THE op table: one line per row. A row stands here exactly once; its code stands in op_<family>.c. */
#include "tensor/op.h"

/* clang-format off */
#define OP_ROWS(X) \
    /* op_copy.c */ \
    X(contiguous) \
    X(concat) \
    X(pad) \
    X(cast) \
    /* op_unary.c */ \
    X(neg) \
    X(abs) \
    X(exp) \
    X(log) \
    X(log1p) \
    X(sqrt) \
    X(rsqrt) \
    X(square) \
    X(sin) \
    X(cos) \
    X(tanh) \
    X(sigmoid) \
    X(erf) \
    X(relu) \
    X(leaky_relu) \
    X(elu) \
    X(silu) \
    X(gelu_tanh) \
    X(gelu_erf) \
    X(softplus) \
    X(round) \
    X(affine) \
    X(clamp) \
    X(lower_bound) \
    /* op_binary.c */ \
    X(add) \
    X(sub) \
    X(mul) \
    X(div) \
    X(pow) \
    X(max2) \
    X(min2) \
    X(where) \
    /* op_reduce.c */ \
    X(sum) \
    X(mean) \
    X(max) \
    X(min) \
    X(argmax) \
    X(argmin) \
    X(logsumexp) \
    X(cumsum) \
    /* op_control.c */ \
    X(scale_grad) \
    X(ste) \
    X(dropout) \
    /* op_matmul.c */ \
    X(matmul) \
    X(linear) \
    X(grouped_matmul) \
    /* op_index.c, op_nearest.c */ \
    X(gather_rows) \
    X(scatter_add_rows) \
    X(scatter_rows) \
    X(take) \
    X(segment_reduce) \
    X(topk) \
    X(argsort_i32) \
    X(nearest_rows) \
    /* op_norm.c, op_softmax.c, op_rope.c */ \
    X(layer_norm) \
    X(rms_norm) \
    X(l2_norm) \
    X(softmax) \
    X(log_softmax) \
    X(rope) \
    /* op_loss.c */ \
    X(xent_ids) \
    X(xent_soft) \
    X(kl_div) \
    X(bce_logits) \
    X(mse) \
    X(l1) \
    X(smooth_l1) \
    /* op_attention.c */ \
    X(attention) \
    /* checkpoint.c */ \
    X(checkpoint) \
    /* end */
/* clang-format on */

#define OP_DECLARE(name) extern const ed_op ed__op_##name;
OP_ROWS(OP_DECLARE)

#define OP_POINTER(name) &ed__op_##name,
const ed_op *const ed__ops[] = {OP_ROWS(OP_POINTER)};
const int ed__n_ops = (int)(sizeof ed__ops / sizeof *ed__ops);

int ed_op_count(void) {
    return ed__n_ops;
}

const char *ed_op_name(int i) {
    return i >= 0 && i < ed__n_ops ? ed__ops[i]->name : NULL;
}
