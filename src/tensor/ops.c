/* tensor/ops.c - the list of all op rows, one line per row, for tools and tests. A new op adds its declaration and its line here. */
#include "tensor/op.h"

/* op_index.c, op_nearest.c */
extern const ed_op ed__op_gather_rows, ed__op_scatter_add_rows, ed__op_scatter_rows, ed__op_take, ed__op_segment_reduce, ed__op_topk;
extern const ed_op ed__op_argsort_i32, ed__op_nearest_rows;
/* op_norm.c, op_softmax.c, op_rope.c */
extern const ed_op ed__op_layer_norm, ed__op_rms_norm, ed__op_l2_norm, ed__op_softmax, ed__op_log_softmax, ed__op_rope;
/* op_loss.c */
extern const ed_op ed__op_xent_ids, ed__op_xent_soft, ed__op_kl_div, ed__op_bce_logits, ed__op_mse, ed__op_l1, ed__op_smooth_l1;
/* checkpoint.c */
extern const ed_op ed__op_checkpoint;

const ed_op *const ed__ops[] = {
    &ed__op_gather_rows,
    &ed__op_scatter_add_rows,
    &ed__op_scatter_rows,
    &ed__op_take,
    &ed__op_segment_reduce,
    &ed__op_topk,
    &ed__op_argsort_i32,
    &ed__op_nearest_rows,
    &ed__op_layer_norm,
    &ed__op_rms_norm,
    &ed__op_l2_norm,
    &ed__op_softmax,
    &ed__op_log_softmax,
    &ed__op_rope,
    &ed__op_xent_ids,
    &ed__op_xent_soft,
    &ed__op_kl_div,
    &ed__op_bce_logits,
    &ed__op_mse,
    &ed__op_l1,
    &ed__op_smooth_l1,
    &ed__op_checkpoint,
};
const int ed__n_ops = (int)(sizeof ed__ops / sizeof *ed__ops);

int ed_op_count(void) {
    return ed__n_ops;
}

const char *ed_op_name(int i) {
    return i >= 0 && i < ed__n_ops ? ed__ops[i]->name : NULL;
}
