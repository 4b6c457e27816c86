/* endec/ops.h - the primitive operations. Attention has a header of its own (attention.h).
 *
 * Each function takes the graph and tensors and returns a tensor of that graph, or NULL with the error on the graph. Unless said otherwise: float
 * operands must share one dtype (F32 or F64); axes may be negative (-1 = last); binary ops broadcast as NumPy does; every op has a gradient for
 * its float operands; sums run in a fixed order. "keep" keeps reduced axes with size 1.
 * What is a composition of these (GLU, LoRA, KL, InfoNCE, cosine, ...) is not a row here: see nn.h and the recipes. */
#ifndef ENDEC_OPS_H
#define ENDEC_OPS_H

#include "endec/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- views: no copy, no tape entry; the gradient lands in the same storage */
/** One size may be -1 (computed). Copies only when the strides do not allow a view. */
ED_API ed_tensor *ed_reshape(ed_graph *g, ed_tensor *x, int rank, const int64_t *shape);
ED_API ed_tensor *ed_permute(ed_graph *g, ed_tensor *x, const int *axes); /* axes: [rank], a permutation */
ED_API ed_tensor *ed_transpose(ed_graph *g, ed_tensor *x, int axis_a, int axis_b);
/** Elements begin, begin+step, ... < end of one axis; step >= 1. end < 0 counts from the back; INT64_MAX = to the end. */
ED_API ed_tensor *ed_slice(ed_graph *g, ed_tensor *x, int axis, int64_t begin, int64_t end, int64_t step);
ED_API ed_tensor *ed_expand(ed_graph *g, ed_tensor *x, int rank, const int64_t *shape); /* broadcast by stride 0 */
ED_API ed_tensor *ed_unsqueeze(ed_graph *g, ed_tensor *x, int axis);
ED_API ed_tensor *ed_squeeze(ed_graph *g, ed_tensor *x, int axis);
ED_API ed_tensor *ed_diagonal(ed_graph *g, ed_tensor *x); /* of the last two axes: [.., n, m] -> [.., min(n,m)] */

/* ---- copies */
ED_API ed_tensor *ed_contiguous(ed_graph *g, ed_tensor *x); /* x itself when it is contiguous */
ED_API ed_tensor *ed_concat(ed_graph *g, ed_tensor *const *x, int n, int axis);
typedef enum ed_pad_kind { ED_PAD_CONSTANT, ED_PAD_EDGE, ED_PAD_REFLECT } ed_pad_kind;
/** before, after: [rank] counts >= 0. REFLECT mirrors without repeating the border (needs size > pad). */
ED_API ed_tensor *ed_pad(ed_graph *g, ed_tensor *x, const int64_t *before, const int64_t *after, ed_pad_kind kind, double value);
/** To another float dtype (F32, F64, BF16, F16); the gradient is cast back. Also from I32/U8/BOOL to float, without gradient. */
ED_API ed_tensor *ed_cast(ed_graph *g, ed_tensor *x, ed_dtype dtype);

/* ---- unary (elementwise) */
typedef enum ed_unary {
    ED_NEG, ED_ABS, ED_EXP, ED_LOG, ED_LOG1P, ED_SQRT, ED_RSQRT, ED_SQUARE, ED_SIN, ED_COS, ED_TANH, ED_SIGMOID, ED_ERF,
    ED_RELU, ED_LEAKY_RELU, ED_ELU, ED_SILU, ED_GELU_TANH, ED_GELU_ERF, ED_SOFTPLUS, ED_ROUND, ED_UNARY_COUNT
} ed_unary;
/** ELU with alpha 1; LEAKY_RELU with slope 0.01 (ed_leaky_relu sets it); ROUND is to nearest even and has gradient 0. */
ED_API ed_tensor *ed_unary_op(ed_graph *g, ed_unary kind, ed_tensor *x);
ED_API const char *ed_unary_name(ed_unary kind); /* "gelu_tanh" */
ED_API ed_tensor *ed_neg(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_abs(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_exp(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_log(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_log1p(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_sqrt(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_rsqrt(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_square(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_sin(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_cos(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_tanh(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_sigmoid(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_erf(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_relu(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_leaky_relu(ed_graph *g, ed_tensor *x, double slope);
ED_API ed_tensor *ed_elu(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_silu(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_gelu_tanh(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_gelu_erf(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_softplus(ed_graph *g, ed_tensor *x);
ED_API ed_tensor *ed_round(ed_graph *g, ed_tensor *x);
/** y = a*x + b with constants. */
ED_API ed_tensor *ed_affine(ed_graph *g, ed_tensor *x, double a, double b);
/** clamp: gradient 0 outside. lower_bound: max(x, limit), whose gradient still passes when it would move the value back inside (grad < 0). */
ED_API ed_tensor *ed_clamp(ed_graph *g, ed_tensor *x, double lo, double hi);
ED_API ed_tensor *ed_lower_bound(ed_graph *g, ed_tensor *x, double limit);

/* ---- binary (broadcast) */
typedef enum ed_binary { ED_ADD, ED_SUB, ED_MUL, ED_DIV, ED_POW, ED_MAX, ED_MIN, ED_BINARY_COUNT } ed_binary;
ED_API ed_tensor *ed_binary_op(ed_graph *g, ed_binary kind, ed_tensor *a, ed_tensor *b);
ED_API ed_tensor *ed_add(ed_graph *g, ed_tensor *a, ed_tensor *b);
ED_API ed_tensor *ed_sub(ed_graph *g, ed_tensor *a, ed_tensor *b);
ED_API ed_tensor *ed_mul(ed_graph *g, ed_tensor *a, ed_tensor *b);
ED_API ed_tensor *ed_div(ed_graph *g, ed_tensor *a, ed_tensor *b);
ED_API ed_tensor *ed_pow(ed_graph *g, ed_tensor *a, ed_tensor *b); /* base clamped to >= 1e-9; gradient in both */
ED_API ed_tensor *ed_max2(ed_graph *g, ed_tensor *a, ed_tensor *b); /* ties: gradient to a */
ED_API ed_tensor *ed_min2(ed_graph *g, ed_tensor *a, ed_tensor *b);
/** mask (BOOL or U8, broadcast) ? a : b. */
ED_API ed_tensor *ed_where(ed_graph *g, ed_tensor *mask, ed_tensor *a, ed_tensor *b);

/* ---- reductions over one axis or, with axis = ED_ALL_AXES, over everything */
enum { ED_ALL_AXES = 1000 };
ED_API ed_tensor *ed_sum(ed_graph *g, ed_tensor *x, int axis, bool keep);
ED_API ed_tensor *ed_mean(ed_graph *g, ed_tensor *x, int axis, bool keep);
ED_API ed_tensor *ed_max(ed_graph *g, ed_tensor *x, int axis, bool keep); /* gradient to ONE element: the lowest index among ties */
ED_API ed_tensor *ed_min(ed_graph *g, ed_tensor *x, int axis, bool keep);
ED_API ed_tensor *ed_logsumexp(ed_graph *g, ed_tensor *x, int axis, bool keep);
ED_API ed_tensor *ed_argmax(ed_graph *g, ed_tensor *x, int axis); /* I32, lowest index among ties */
ED_API ed_tensor *ed_argmin(ed_graph *g, ed_tensor *x, int axis);
ED_API ed_tensor *ed_cumsum(ed_graph *g, ed_tensor *x, int axis);

/* ---- matrix products */
/** a [.., m, k] x b [.., k, n] -> [.., m, n]; leading axes broadcast; any strides (transposed views cost no copy). */
ED_API ed_tensor *ed_matmul(ed_graph *g, ed_tensor *a, ed_tensor *b);
/** x [.., in] with weight w [out, in] (F32, F64, BF16, F16 or a block format; strided views allowed) and bias [out] or NULL -> [.., out]. */
ED_API ed_tensor *ed_linear(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *bias);
/** Rows sorted by group: x [n, in], counts I32 [G] (sum n; zeros allowed), w [G, out, in], bias [G, out] or NULL -> [n, out]. Fixed order. */
ED_API ed_tensor *ed_grouped_matmul(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *bias, const ed_tensor *counts);

/* ---- index */
/** Rows of table [n, ..] by ids (I32, any shape) -> [ids.., ..]. Ids are checked: out of range is ED_E_RANGE. The gradient is row-sparse when the table
 *  is a row_sparse parameter. */
ED_API ed_tensor *ed_gather_rows(ed_graph *g, ed_tensor *table, const ed_tensor *ids);
/** out [n_rows, ..] = sum of w[i] * x[i] at row ids[i], ascending i; weights [m] or NULL; x [m, ..], ids I32 [m]. */
ED_API ed_tensor *ed_scatter_add_rows(ed_graph *g, ed_tensor *x, const ed_tensor *ids, ed_tensor *weights, int64_t n_rows);
/** base [n, ..] with rows ids[i] replaced by x[i] (ids unique): slot injection. */
ED_API ed_tensor *ed_scatter_rows(ed_graph *g, ed_tensor *base, ed_tensor *x, const ed_tensor *ids);
/** Picks x[.., ids[..]] along the last axis: x [.., n], ids I32 [.., k] -> [.., k]. */
ED_API ed_tensor *ed_take(ed_graph *g, ed_tensor *x, const ed_tensor *ids);
typedef enum ed_segment_kind { ED_SEGMENT_SUM, ED_SEGMENT_MEAN, ED_SEGMENT_MAX } ed_segment_kind;
/** x [m, ..], segment ids I32 [m] in [0, n) or -1 (ignored) -> [n, ..]; an empty segment gives 0. */
ED_API ed_tensor *ed_segment_reduce(ed_graph *g, ed_tensor *x, const ed_tensor *ids, int64_t n, ed_segment_kind kind);
/** k largest of the last axis, descending, ties to the lowest index. *ids I32 [.., k] may be NULL. Gradient to the picked values. */
ED_API ed_tensor *ed_topk(ed_graph *g, ed_tensor *x, int64_t k, ed_tensor **ids);
/** Positions that sort an I32 vector ascending, stable. */
ED_API ed_tensor *ed_argsort_i32(ed_graph *g, const ed_tensor *ids);
typedef enum ed_nearest_kind { ED_NEAREST_L2, ED_NEAREST_DOT, ED_NEAREST_COSINE } ed_nearest_kind;
/** For each row of x [n, d] the k best rows of codes [K, d]: smallest squared distance, or largest dot (codes normalised for COSINE). Never stores [n, K].
 *  ids I32 [n, k], scores [n, k] (NULL allowed). No gradient. Ties to the lowest id. */
ED_API ed_tensor *ed_nearest_rows(ed_graph *g, const ed_tensor *x, const ed_tensor *codes, int64_t k, ed_nearest_kind kind, ed_tensor **scores);

/* ---- norms over the last axis (w, b: [n] or NULL) */
ED_API ed_tensor *ed_layer_norm(ed_graph *g, ed_tensor *x, ed_tensor *w, ed_tensor *b, double eps);
ED_API ed_tensor *ed_rms_norm(ed_graph *g, ed_tensor *x, ed_tensor *w, double eps);
ED_API ed_tensor *ed_l2_norm(ed_graph *g, ed_tensor *x, double eps); /* x / max(|x|, eps) */

/* ---- softmax over the last axis; mask BOOL/U8 broadcastable to x (false = left out) or NULL; a row with nothing left is all zeros.
 * one: the denominator gets + e^{-m} (softmax-one), m = max(0, row max). */
ED_API ed_tensor *ed_softmax(ed_graph *g, ed_tensor *x, const ed_tensor *mask, bool one);
ED_API ed_tensor *ed_log_softmax(ed_graph *g, ed_tensor *x, const ed_tensor *mask); /* left-out elements: -inf, gradient 0 */

/* ---- rotary positions. x [.., T, H, D] or [.., T, D]; positions I32 [.., T]; rotates the first rotary_dims numbers of each D vector. */
typedef enum ed_rope_kind { ED_ROPE_HALF, ED_ROPE_INTERLEAVED } ed_rope_kind; /* pairs (i, i+d/2) as Hugging Face Llama; (2i, 2i+1) as the paper */
ED_API ed_tensor *ed_rope(ed_graph *g, ed_tensor *x, const ed_tensor *positions, int64_t rotary_dims, double theta, double position_scale, ed_rope_kind kind);

/* ---- losses: weighted sum over rows divided by the sum of weights (0 when that is 0); weights F32 [rows] or NULL (= 1); all give a scalar */
/** logits [.., V], targets I32 [..] (weight-0 rows are never looked at), label smoothing eps in [0,1): (1-eps) * CE + eps * mean over V. */
ED_API ed_tensor *ed_xent_ids(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights, double smoothing);
/** Soft targets [.., V] (each row sums to 1; no gradient into them). */
ED_API ed_tensor *ed_xent_soft(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights);
ED_API ed_tensor *ed_bce_logits(ed_graph *g, ed_tensor *logits, const ed_tensor *targets, const ed_tensor *weights, double positive_weight);
ED_API ed_tensor *ed_mse(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights); /* mean over the last axis inside a row */
ED_API ed_tensor *ed_l1(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights);
ED_API ed_tensor *ed_smooth_l1(ed_graph *g, ed_tensor *a, ed_tensor *b, const ed_tensor *weights, double beta);
/** KL(p || softmax(logits)) for given probabilities p [.., V] (constant). */
ED_API ed_tensor *ed_kl_div(ed_graph *g, ed_tensor *logits, const ed_tensor *p, const ed_tensor *weights);

/* ---- control */
ED_API ed_tensor *ed_stop_grad(ed_graph *g, ed_tensor *x);                    /* a view whose storage takes no gradient */
ED_API ed_tensor *ed_scale_grad(ed_graph *g, ed_tensor *x, double factor);
/** Straight-through: the value is q's exact bits, the gradient goes to x; also to q when grad_to_q. */
ED_API ed_tensor *ed_ste(ed_graph *g, ed_tensor *x, ed_tensor *q, bool grad_to_q);
/** Zeroes elements with probability p and scales the rest by 1/(1-p); x itself outside training mode or when p = 0. Keyed by site. rows: one draw per
 *  first-axis row (drop path). */
ED_API ed_tensor *ed_dropout(ed_graph *g, ed_tensor *x, double p, uint32_t site, bool rows);

/* ---- the table */
/** Number of op rows and the i-th row's name, for tools and tests. */
ED_API int ed_op_count(void);
ED_API const char *ed_op_name(int i);

#ifdef __cplusplus
}
#endif
#endif
