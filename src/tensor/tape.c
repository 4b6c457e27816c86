/* tensor/tape.c - running ops, recording them, and the reverse pass.
 *
 * Invariants: every storage that needs a gradient is either a leaf or the output of exactly one recorded call, so that when the reverse walk reaches
 * that call all contributions are in; its gradient buffer then goes back to the pool unless it is watched. Gradients are written per storage;
 * an operand that is a strided view gets a contiguous temporary, which is scattered into the storage's gradient after the op's backward. */
#include "tensor/graph.h"

#include <stdarg.h>
#include <stdio.h>

static const size_t MAX_TAPE = (size_t)1 << 32;

/* ------------------------------------------------------------------ running an op */

bool ed__op_fail(ed_call *c, ed_status s, const char *fmt, ...) {
    char text[360];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ed_graph_fail(c->g, s, "%s: %s", c->op->name, text);
    return false;
}

ed_tensor *ed__op_out(ed_call *c, ed_dtype dtype, int rank, const int64_t *shape) {
    ed_tensor *t = ed__tensor_make(c->g, c->g->arena, dtype, rank, shape, NULL);
    if (t)
        c->out[c->n_out++] = t;
    return t;
}

ed_tensor *ed__op_aux(ed_call *c, ed_dtype dtype, int rank, const int64_t *shape) {
    ed_tensor *t = ed__tensor_make(c->g, c->g->arena, dtype, rank, shape, NULL);
    if (t)
        c->aux[c->n_aux++] = t;
    return t;
}

bool ed__op_recording(const ed_call *c) {
    if (!c->g->opts.record || !c->op->backward)
        return false;
    for (int i = 0; i < c->n_in; i++)
        if (ed_needs_grad(c->in[i]))
            return true;
    return false;
}

bool ed__op_axis(ed_call *c, const ed_tensor *x, int axis, int *out) {
    int a = axis < 0 ? axis + x->rank : axis;
    if (a < 0 || a >= x->rank)
        return ed__op_fail(c, ED_E_SHAPE, "axis %d of a tensor with %d axes", axis, x->rank);
    *out = a;
    return true;
}

bool ed__tape_push(ed_graph *g, ed_call *c) {
    if (g->n_tape == g->cap_tape && ed__grow((void **)&g->tape, &g->cap_tape, g->n_tape + 1, sizeof *g->tape, MAX_TAPE) != ED_OK) {
        ed_graph_fail(g, ED_E_MEMORY, "no memory for the tape (%zu calls)", g->n_tape);
        return false;
    }
    g->tape[g->n_tape++] = c;
    for (int j = 0; j < c->n_out; j++) {
        c->out[j]->storage->needs_grad = ed_dtype_is_float(c->out[j]->dtype);
        c->out[j]->storage->produced = true;
    }
    return true;
}

/** The call with its operand list and attributes in the arena; NULL when an operand is missing or memory is gone. */
static ed_call *call_make(ed_graph *g, const ed_op *op, const void *attrs, size_t attrs_bytes, ed_tensor *const *in, int n_in, uint32_t optional) {
    for (int i = 0; i < n_in; i++)
        if (!in[i] && (i >= 32 || !(optional >> i & 1u)))
            return (void *)ed_graph_fail(g, ED_E_INVALID, "%s: operand %d is missing", op->name, i);
    size_t in_bytes = (size_t)n_in * sizeof *in, at_in = (sizeof(ed_call) + 15) & ~(size_t)15, at_attrs = at_in + ((in_bytes + 15) & ~(size_t)15);
    char *mem = ed_arena_alloc(g->arena, at_attrs + attrs_bytes);
    if (!mem)
        return (void *)ed_graph_fail(g, ED_E_LIMIT, "the graph's memory is used up: %zu bytes in use, cap %zu", ed_arena_used(g->arena), g->opts.cap_bytes);
    ed_call *c = (ed_call *)(void *)mem;
    *c = (ed_call){.op = op, .g = g, .in = (ed_tensor **)(void *)(mem + at_in), .n_in = n_in, .pass = g->pass, .attrs = attrs ? mem + at_attrs : NULL};
    memcpy(c->in, in, in_bytes);
    if (attrs)
        memcpy(mem + at_attrs, attrs, attrs_bytes);
    return c;
}

ed_tensor *ed__op_run(ed_graph *g, const ed_op *op, const void *attrs, size_t attrs_bytes, ed_tensor *const *in, int n_in, uint32_t optional,
                      const ed_call **call) {
    if (call)
        *call = NULL;
    if (g->error.status)
        return NULL;
    ed_call *c = call_make(g, op, attrs, attrs_bytes, in, n_in, optional);
    if (!c || !op->shape(c))
        return NULL;
    bool record = ed__op_recording(c);
    ed_arena_mark mark = ed_arena_get_mark(g->scratch);
    op->forward(c);
    ed_arena_rewind(g->scratch, mark);
    g->count.ops++;
    if (op->flops)
        g->count.flops += op->flops(c);
    if (op->nonlinear)
        g->count.nonlinear += (double)ed_numel(c->out[0]);
    if (g->error.status || (record && !ed__tape_push(g, c)))
        return NULL;
    if (call)
        *call = c;
    return c->out[0];
}

void *ed__scratch(ed_graph *g, size_t bytes) {
    void *p = ed_arena_alloc(g->scratch, bytes);
    if (!p)
        ed_graph_fail(g, ED_E_LIMIT, "no room for %zu bytes of scratch memory", bytes);
    return p;
}

const ed_tensor *ed__dense(ed_graph *g, const ed_tensor *t) {
    if (ed_is_contiguous(t))
        return t;
    ed_tensor *d = ed__scratch(g, sizeof *d);
    void *data = ed__scratch(g, (size_t)ed_numel(t) * ed_dtype_bytes(t->dtype));
    if (!d || !data)
        return NULL;
    *d = ed__view_of(data, t->dtype, t->rank, t->shape);
    ed__copy_strided(t, d);
    return d;
}

/* ------------------------------------------------------------------ gradient buffers */

static size_t bucket_of(size_t bytes) {
    return (bytes >> 6) * 0x9E3779B97F4A7C15ull >> 58;
}

static void *pool_take(ed_graph *g, size_t bytes) {
    size_t n = (bytes + 63) & ~(size_t)63;
    n = n ? n : 64;
    for (ed__free_block **b = &g->pool[bucket_of(n)]; *b; b = &(*b)->next) {
        if ((*b)->bytes == n) {
            ed__free_block *hit = *b;
            *b = hit->next;
            return hit;
        }
    }
    return ed_arena_alloc(g->grads_arena, n);
}

static void pool_give(ed_graph *g, void *p, size_t bytes) {
    size_t n = (bytes + 63) & ~(size_t)63;
    ed__free_block *b = p;
    b->bytes = n ? n : 64;
    b->next = g->pool[bucket_of(b->bytes)];
    g->pool[bucket_of(b->bytes)] = b;
}

static size_t grad_bytes(const ed_storage *s) {
    return (size_t)s->numel * ed_dtype_bytes(ed__grad_dtype(s->dtype));
}

void *ed__storage_grad(ed_graph *g, ed_storage *s, bool *fresh) {
    *fresh = false;
    if (s->param) {
        void *flat = g->grads ? ed_grads_of(g->grads, s->param) : NULL;
        if (flat)
            return flat;
        if (!s->watched)
            return ed_graph_fail(g, ED_E_UNSUPPORTED, "parameter '%s' keeps row-sparse gradients: only gather_rows may use it in training", s->param->name);
    }
    if (s->epoch == g->epoch)
        return s->grad;
    s->grad = pool_take(g, grad_bytes(s));
    if (!s->grad) {
        ed_graph_fail(g, ED_E_LIMIT, "the graph's memory is used up by gradients: cap %zu bytes", g->opts.cap_bytes);
        return NULL;
    }
    s->epoch = g->epoch;
    *fresh = true;
    return s->grad;
}

bool ed__bw_wants(const ed_call *c, int i) {
    return ed_needs_grad(c->in[i]);
}

static bool whole(const ed_tensor *t) {
    return t->data == t->storage->data && ed_numel(t) == t->storage->numel && ed_is_contiguous(t);
}

static ed_tensor *grad_view(ed_graph *g, const ed_tensor *t, void *data) {
    ed_tensor *v = ed__scratch(g, sizeof *v);
    if (v)
        *v = ed__view_of(data, ed__grad_dtype(t->dtype), t->rank, t->shape);
    return v;
}

ed_tensor *ed__bw_grad_in(const ed_call *c, int i, bool *fresh_out) {
    ed_graph *g = c->g;
    ed_tensor *t = c->in[i];
    ed_dtype gd = ed__grad_dtype(t->dtype);
    size_t bytes = (size_t)ed_numel(t) * ed_dtype_bytes(gd);
    bool fresh = false;
    void *data;
    if (ed_is_contiguous(t)) {
        data = ed__storage_grad(g, t->storage, &fresh);
        if (data && fresh && !(whole(t) && fresh_out)) {
            memset(data, 0, grad_bytes(t->storage));
            fresh = false;
        }
        if (data)
            data = (char *)data + ((const char *)t->data - (const char *)t->storage->data) / (int64_t)ed_dtype_bytes(t->dtype) * (int64_t)ed_dtype_bytes(gd);
    } else {
        data = ed__scratch(g, bytes);
        fresh = data != NULL;
        if (data && !fresh_out) {
            memset(data, 0, bytes);
            fresh = false;
        }
    }
    ed_tensor *v = data ? grad_view(g, t, data) : NULL;
    if (v && !ed_is_contiguous(t)) {
        if (g->n_pending == (int)(sizeof g->pending / sizeof *g->pending))
            return (void *)ed_graph_fail(g, ED_E_INTERNAL, "%s: too many strided operands", c->op->name);
        g->pending[g->n_pending].input = i;
        g->pending[g->n_pending++].temp = v;
    }
    if (fresh_out)
        *fresh_out = fresh;
    return v;
}

const ed_tensor *ed__bw_grad_out(const ed_call *c, int j) {
    const ed_storage *s = c->out[j]->storage;
    return s->epoch == c->g->epoch ? grad_view(c->g, c->out[j], s->grad) : NULL;
}

bool ed__bw_sparse_rows(const ed_call *c, int i, const int32_t *ids, int64_t n, const void *rows) {
    const ed_tensor *t = c->in[i];
    return t->storage->param && t->storage->param->row_sparse && c->g->grads && whole(t) &&
           ed__grads_add_rows(c->g->grads, t->storage->param, ids, n, rows);
}

/* ------------------------------------------------------------------ the reverse pass */

static bool reached(const ed_graph *g, const ed_call *c) {
    for (int j = 0; j < c->n_out; j++)
        if (c->out[j]->storage->epoch == g->epoch)
            return true;
    return false;
}

static void give_back(ed_graph *g, const ed_call *c) {
    for (int j = 0; j < c->n_out; j++) {
        ed_storage *s = c->out[j]->storage;
        if (s->epoch == g->epoch && !s->watched) {
            pool_give(g, s->grad, grad_bytes(s));
            s->epoch = 0;
            s->grad = NULL;
        }
    }
}

ed_status ed__tape_run(ed_graph *g, size_t from, size_t to) {
    for (size_t i = from; i > to && !g->error.status; i--) {
        ed_call *c = g->tape[i - 1];
        if (!reached(g, c))
            continue;
        ed_arena_mark mark = ed_arena_get_mark(g->scratch);
        int pending = g->n_pending;
        c->op->backward(c);
        for (int k = pending; k < g->n_pending && !g->error.status; k++)
            ed__grad_scatter(g, c->in[g->pending[k].input], g->pending[k].temp->data, g->pending[k].temp->dtype);
        g->n_pending = pending;
        ed_arena_rewind(g->scratch, mark);
        give_back(g, c);
    }
    return g->error.status;
}

static ed_status seed(ed_graph *g, const ed_seed *s, double scale) {
    const ed_tensor *t = s->tensor;
    if (!t || (s->cotangent && !ed__same_shape(t, s->cotangent)))
        return ED_E_SHAPE;
    if (!ed_needs_grad(t))
        return ED_OK; /* nothing upstream wants a gradient */
    ed_dtype gd = ed__grad_dtype(t->dtype);
    ed_arena_mark mark = ed_arena_get_mark(g->scratch);
    void *data = ed__scratch(g, (size_t)ed_numel(t) * ed_dtype_bytes(gd));
    if (!data)
        return ED_E_LIMIT;
    ed_tensor tmp = ed__view_of(data, gd, t->rank, t->shape);
    if (s->cotangent) {
        ed__copy_strided(s->cotangent, &tmp);
    } else {
        for (int64_t i = 0, n = ed_numel(t); i < n; i++) {
            if (gd == ED_DTYPE_F64)
                ((double *)data)[i] = scale;
            else
                ((float *)data)[i] = (float)scale;
        }
    }
    bool ok = ed__grad_scatter(g, t, data, gd);
    ed_arena_rewind(g->scratch, mark);
    return ok ? ED_OK : ED_E_LIMIT;
}

static ed_status backward(ed_graph *g, const ed_seed *seeds, int n, double scale, ed_error *err) {
    if (g->error.status)
        return ed_graph_status(g, err);
    g->epoch++;
    memset(g->pool, 0, sizeof g->pool);
    ed_arena_reset(g->grads_arena);
    if (g->opts.cap_bytes) {
        size_t used = ed_arena_used(g->arena);
        ed_arena_set_cap(g->grads_arena, g->opts.cap_bytes > used ? g->opts.cap_bytes - used : 1);
    }
    for (int i = 0; i < n; i++) {
        ed_status s = seed(g, &seeds[i], scale);
        if (s != ED_OK)
            return g->error.status ? ed_graph_status(g, err) : ed_error_set(err, s, "", ED_NO_OFFSET, "seed %d of the backward pass does not fit its tensor", i);
    }
    ed__tape_run(g, g->n_tape, 0);
    return ed_graph_status(g, err);
}

ed_status ed_backward(ed_graph *g, const ed_seed *seeds, int n, ed_error *err) {
    return backward(g, seeds, n, 1, err);
}

ed_status ed_backward_loss(ed_graph *g, ed_tensor *loss, double scale, ed_error *err) {
    if (g->error.status)
        return ed_graph_status(g, err);
    if (!loss || ed_numel(loss) != 1)
        return ed_error_set(err, ED_E_SHAPE, "", ED_NO_OFFSET, "a loss is one number");
    return backward(g, &(ed_seed){loss, NULL}, 1, scale, err);
}

ed_tensor *ed_grad(ed_graph *g, const ed_tensor *t) {
    if (!t || g->error.status)
        return NULL;
    ed_storage *s = t->storage;
    void *grad = s->param && g->grads ? ed_grads_of(g->grads, s->param) : NULL;
    if (!grad && s->epoch == g->epoch && g->epoch)
        grad = s->grad;
    if (!grad)
        return NULL;
    ed_tensor *v = ed__new_view(g, t);
    ed_storage *vs = v ? ed_arena_zalloc(g->arena, sizeof *vs) : NULL;
    if (!vs)
        return NULL;
    ed_dtype gd = ed__grad_dtype(t->dtype);
    *vs = (ed_storage){.data = grad, .numel = s->numel, .dtype = gd};
    v->data = (char *)grad + ((const char *)t->data - (const char *)s->data) / (int64_t)ed_dtype_bytes(t->dtype) * (int64_t)ed_dtype_bytes(gd);
    v->dtype = gd;
    v->storage = vs;
    return v;
}
