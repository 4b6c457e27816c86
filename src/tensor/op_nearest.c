/* tensor/op_nearest.c - for each row of x the k best rows of a code table.
 *
 * The products x codes^T are made tile by tile (TILE_ROWS x TILE_CODES) and offered to a sorted list of k entries per row; the [n, K] matrix is never
 * stored. Invariants: a dot product is one chain over d that depends on its two rows alone (strict products for f32, plain loops for f64), so that the
 * result is the same for any thread count and tile, and equal codes get equal keys: the lowest id wins.
 * L2 ranks by 2 x.c - |c|^2, whose rounding error grows with |x| and |c|: codes whose distances differ by less than that may change places; the k
 * winners are then scored and ordered by their exact squared distance. k is expected to be small (insertion into a sorted list). */
#include "tensor/op_rows.h"

enum { TILE_ROWS = 256, TILE_CODES = 1024, BLOCK = 64 };

typedef struct nearest_attrs {
    int64_t k;
    ed_nearest_kind kind;
} nearest_attrs;

typedef struct nearest_work {
    const void *x, *codes; /* [n, d], [codes, d] */
    void *norms;           /* [codes] */
    void *dots;            /* [TILE_ROWS, TILE_CODES] */
    void *keys;            /* [n, k] scores */
    int32_t *ids;          /* [n, k] */
    int64_t d, k, row0, code0, code1;
    ed_nearest_kind kind;
} nearest_work;

#define T float
#define FN(name) name##_f32
#include "tensor/op_nearest_tmpl.h"
#undef T
#undef FN
#define T double
#define FN(name) name##_f64
#include "tensor/op_nearest_tmpl.h"
#undef T
#undef FN

static bool nearest_shape(ed_call *c) {
    const ed_tensor *x = c->in[0], *codes = c->in[1];
    const nearest_attrs *a = c->attrs;
    if (!ed__check_float(c, x) || !ed__check_dtype(c, codes, x->dtype, "codes"))
        return false;
    if (x->rank != 2 || codes->rank != 2 || x->shape[1] != codes->shape[1] || codes->shape[0] > INT32_MAX)
        return ed__op_fail(c, ED_E_SHAPE, "needs rows [n, d] and codes [K, d] with one d");
    if (a->k < 1 || a->k > codes->shape[0])
        return ed__op_fail(c, ED_E_RANGE, "k = %lld is outside [1, %lld]", (long long)a->k, (long long)codes->shape[0]);
    if (a->kind < ED_NEAREST_L2 || a->kind > ED_NEAREST_COSINE)
        return ed__op_fail(c, ED_E_INVALID, "unknown kind %d", (int)a->kind);
    int64_t shape[2] = {x->shape[0], a->k};
    return ed__op_out(c, ED_DTYPE_I32, 2, shape) && ed__op_out(c, x->dtype, 2, shape);
}

/* dots[i, j] of f64 rows, as a parallel body */
static void plain_dots(void *ctx, int64_t begin, int64_t end) {
    const nearest_work *k = ctx;
    int64_t width = k->code1 - k->code0;
    for (int64_t i = begin; i < end; i++)
        for (int64_t j = 0; j < width; j++)
            ((double *)k->dots)[i * width + j] =
                v_dot_f64((const double *)k->x + (k->row0 + i) * k->d, (const double *)k->codes + (k->code0 + j) * k->d, k->d);
}

/* Dots of `rows` rows from row0 with the codes [code0, code1). */
static ed_status tile_dots(const nearest_work *k, int64_t rows, bool f64) {
    int64_t width = k->code1 - k->code0;
    if (f64) {
        ed__parallel_for(rows, ed__grain(width * k->d), plain_dots, (void *)k);
        return ED_OK;
    }
    ed__gemm_args args = {.m = rows, .n = width, .k = k->d, .a_row = k->d, .a_col = 1, .b_row = 1, .b_col = k->d, .c_row = width, .strict = true};
    args.a = (const float *)k->x + k->row0 * k->d;
    args.b = (const float *)k->codes + k->code0 * k->d;
    args.c = k->dots;
    return ed__gemm_f32(&args);
}

static void nearest_forward(const ed_call *c) {
    const ed_tensor *x = ed__dense(c->g, c->in[0]), *codes = ed__dense(c->g, c->in[1]);
    const nearest_attrs *a = c->attrs;
    if (!x || !codes)
        return;
    int64_t n = x->shape[0], n_codes = codes->shape[0];
    bool f64 = x->dtype == ED_DTYPE_F64;
    size_t bytes = ed_dtype_bytes(x->dtype);
    nearest_work k = {.x = x->data, .codes = codes->data, .keys = c->out[1]->data, .ids = c->out[0]->data, .d = x->shape[1], .k = a->k, .kind = a->kind};
    k.norms = ed__scratch(c->g, (size_t)n_codes * bytes);
    k.dots = ed__scratch(c->g, TILE_ROWS * TILE_CODES * bytes);
    if (!k.norms || !k.dots)
        return;
    ed__parallel_for(n_codes, ed__grain(k.d), f64 ? code_norms_f64 : code_norms_f32, &k);
    for (k.code0 = 0; k.code0 < n_codes; k.code0 = k.code1) {
        k.code1 = k.code0 + TILE_CODES < n_codes ? k.code0 + TILE_CODES : n_codes;
        for (k.row0 = 0; k.row0 < n; k.row0 += TILE_ROWS) {
            int64_t rows = n - k.row0 < TILE_ROWS ? n - k.row0 : TILE_ROWS;
            ed_status s = tile_dots(&k, rows, f64);
            if (s != ED_OK) {
                ed_graph_fail(c->g, s, "nearest_rows: the product of a tile failed");
                return;
            }
            ed__parallel_for(rows, ed__grain(k.code1 - k.code0), f64 ? offer_rows_f64 : offer_rows_f32, &k);
        }
    }
    if (k.kind == ED_NEAREST_L2)
        ed__parallel_for(n, ed__grain(k.k * k.d), f64 ? refine_rows_f64 : refine_rows_f32, &k);
}

static double nearest_flops(const ed_call *c) {
    return 2.0 * (double)ed_numel(c->in[0]) * (double)c->in[1]->shape[0];
}

const ed_op ed__op_nearest_rows = {"nearest_rows", nearest_shape, nearest_forward, NULL, nearest_flops, false};

ed_tensor *ed_nearest_rows(ed_graph *g, const ed_tensor *x, const ed_tensor *codes, int64_t k, ed_nearest_kind kind, ed_tensor **scores) {
    nearest_attrs attrs = {.k = k, .kind = kind};
    const ed_call *call = NULL;
    ed_tensor *in[] = {(ed_tensor *)x, (ed_tensor *)codes};
    ed_tensor *ids = ed__op_run(g, &ed__op_nearest_rows, &attrs, sizeof attrs, in, 2, 0, &call);
    if (scores)
        *scores = call ? call->out[1] : NULL;
    return ids;
}
