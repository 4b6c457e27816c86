/* tensor/checkpoint.c - activation checkpointing: forward keeps only the inputs and the result; backward runs the function again, on the tail of the same
 * tape, and walks that tail. Draws are keyed by (seed, step, pass, site, element), so that the second run computes the same values.
 * Source: Chen et al. 2016, "Training deep nets with sublinear memory cost". */
#include "tensor/graph.h"

typedef struct attrs {
    ed_checkpoint_fn fn;
    void *ctx;
    ed_tensor *result; /* of the forward run, copied into the output */
    bool train;
    uint32_t pass;
} attrs;

static bool shape(ed_call *c) {
    attrs *a = c->attrs;
    return ed__op_out(c, a->result->dtype, a->result->rank, a->result->shape) != NULL;
}

static void forward(const ed_call *c) {
    const attrs *a = c->attrs;
    ed__copy_strided(a->result, c->out[0]);
}

static void backward(const ed_call *c) {
    ed_graph *g = c->g;
    attrs *a = c->attrs;
    size_t base = g->n_tape;
    ed_arena_mark mark = ed_arena_get_mark(g->arena);
    const ed_tensor *dy = ed__bw_grad_out(c, 0);
    bool record = ed_graph_set_record(g, true), train = ed_graph_set_train(g, a->train);
    uint32_t pass = ed_graph_set_pass(g, a->pass);
    ed_tensor *y = a->fn(a->ctx, g, c->in, c->n_in);
    ed_graph_set_record(g, record);
    ed_graph_set_train(g, train);
    ed_graph_set_pass(g, pass);
    if (y && dy && ed_needs_grad(y) && ed__grad_scatter(g, y, dy->data, dy->dtype))
        ed__tape_run(g, g->n_tape, base);
    g->n_tape = base;
    ed_arena_rewind(g->arena, mark);
}

const ed_op ed__op_checkpoint = {.name = "checkpoint", .shape = shape, .forward = forward, .backward = backward};

ed_tensor *ed_checkpoint(ed_graph *g, ed_checkpoint_fn fn, void *ctx, ed_tensor **in, int n_in) {
    if (g->error.status)
        return NULL;
    if (!g->opts.record)
        return fn(ctx, g, in, n_in);
    ed_graph_mark mark = ed_graph_get_mark(g);
    ed_arena_mark scratch = ed_arena_get_mark(g->scratch);
    bool record = ed_graph_set_record(g, false);
    ed_tensor *y = fn(ctx, g, in, n_in);
    ed_graph_set_record(g, record);
    void *copy = y ? ed__scratch(g, (size_t)ed_numel(y) * ed_dtype_bytes(y->dtype)) : NULL;
    if (!copy)
        return ed_graph_fail(g, ED_E_INVALID, "checkpoint: the function returned no tensor");
    ed_tensor kept = ed__view_of(copy, y->dtype, y->rank, y->shape);
    ed__copy_strided(y, &kept);
    ed_arena_rewind(g->arena, mark.data);
    attrs a = {fn, ctx, &kept, g->opts.train, g->pass};
    const ed_call *call;
    /* Parameters are not among `in`: the call must be recorded even when no input needs a gradient, since the function may use trained weights. */
    ed_tensor *out = ed__op_run(g, &ed__op_checkpoint, &a, sizeof a, in, n_in, 0, &call);
    if (out && !ed_needs_grad(out) && g->grads) {
        union {
            const ed_call *in;
            ed_call *out;
        } u = {call};
        if (!ed__tape_push(g, u.out))
            out = NULL;
    }
    ed_arena_rewind(g->scratch, scratch);
    return out;
}
