/* tensor/packed.c - weights packed once into panels and streamed by every later call (decoding).
 * A parameter keeps one pack (ed_param.packed) that remembers the parameter's version; a stale or absent pack is made anew under one process-wide lock, so
 * that graphs of several threads may share parameters. Changing a parameter while another thread computes with it is a race of the caller's. */
#include <pthread.h>

#include "base/internal.h"
#include "tensor/kernel.h"

enum { P = EDK_PANEL };
static const int64_t PARALLEL_MACS = 1 << 17; /* of weights that come from memory: below this a second thread costs more than it brings */

static int64_t panels_of(int64_t n) {
    return (n + P - 1) / P;
}

struct ed__packed {
    int64_t out, in;
    bool bf16;
    uint64_t version; /* of the parameter when it was packed */
    size_t bytes;
    void *panels; /* [ceil(out/P)][in][P] f32 or bf16 */
};

typedef struct pack_job {
    const ed__packed *p;
    const ed__kernel_table *kt;
    ed_dtype dtype;
    const void *w;
    int64_t stride_out, stride_in;
} pack_job;

static void pack_f16_panel(const pack_job *j, int64_t panel, float *out) {
    int64_t left = j->p->out - panel * P, cols = left < P ? left : P;
    const uint16_t *w = (const uint16_t *)j->w + panel * P * j->stride_out;
    for (int64_t i = 0; i < j->p->in; i++)
        for (int64_t c = 0; c < P; c++)
            out[i * P + c] = c < cols ? ed_f16_to_f32(w[c * j->stride_out + i * j->stride_in]) : 0.0f;
}

static void pack_weight(void *ctx, int64_t begin, int64_t end) {
    const pack_job *j = ctx;
    const ed__packed *p = j->p;
    if (j->dtype == ED_DTYPE_BF16)
        j->kt->pack_b_bf16(p->out, p->in, j->w, j->stride_in, j->stride_out, p->panels, begin, end);
    else if (j->dtype == ED_DTYPE_F32)
        j->kt->pack_b(p->out, p->in, j->w, j->stride_in, j->stride_out, p->panels, begin, end);
    else
        for (int64_t i = begin; i < end; i++)
            pack_f16_panel(j, i, (float *)p->panels + i * p->in * P);
}

ed_status ed__packed_create(ed_dtype dtype, int64_t out, int64_t in, const void *w, int64_t stride_out, int64_t stride_in, ed__packed **result) {
    *result = NULL;
    if (dtype != ED_DTYPE_F32 && dtype != ED_DTYPE_BF16 && dtype != ED_DTYPE_F16)
        return ED_E_DTYPE;
    size_t bytes, elem = dtype == ED_DTYPE_BF16 ? 2 : 4;
    if (out < 0 || in < 0 || out > INT64_MAX - P || !ed__mul_size((size_t)panels_of(out) * P, (size_t)in, &bytes) ||
        !ed__mul_size(bytes, elem, &bytes))
        return ED_E_RANGE;
    ed__packed *p = ed__calloc(1, sizeof *p);
    if (p)
        p->panels = ed__malloc(bytes ? bytes : 1);
    if (!p || !p->panels) {
        ed__free(p);
        return ED_E_MEMORY;
    }
    p->out = out;
    p->in = in;
    p->bf16 = dtype == ED_DTYPE_BF16;
    p->bytes = bytes;
    pack_job j = {p, ed__kernels(), dtype, w, stride_out, stride_in};
    ed__parallel_for(panels_of(out), PARALLEL_MACS / (in * P + 1) + 1, pack_weight, &j);
    *result = p;
    return ED_OK;
}

void ed__packed_destroy(ed__packed **p) {
    if (!p || !*p)
        return;
    ed__free((*p)->panels);
    ed__free(*p);
    *p = NULL;
}

size_t ed__packed_bytes(const ed__packed *p) {
    return p->bytes + sizeof *p;
}

static pthread_mutex_t param_lock = PTHREAD_MUTEX_INITIALIZER;

const ed__packed *ed__packed_of(ed_param *param, int64_t out, int64_t in) {
    pthread_mutex_lock(&param_lock);
    ed__packed *p = param->packed;
    if (!p || p->version != param->version || p->out != out || p->in != in) {
        ed__packed_destroy(&p);
        if (ed__packed_create(param->dtype, out, in, param->data, in, 1, &p) == ED_OK)
            p->version = param->version;
        param->packed = p;
    }
    pthread_mutex_unlock(&param_lock);
    return p;
}

typedef struct linear_job {
    const ed__packed *p;
    const ed__kernel_table *kt;
    const void *panels; /* first one of the part */
    int64_t m, n;       /* rows; columns of the part */
    const float *x;     /* [m, in], rows x_row apart */
    int64_t x_row;
    float *y; /* [m, n], rows y_row apart */
    int64_t y_row;
    bool acc;
} linear_job;

static void linear_panels(void *ctx, int64_t begin, int64_t end) {
    const linear_job *j = ctx;
    j->kt->gemm_panels(j->m, j->n, j->p->in, j->x, j->x_row, 1, j->panels, j->p->bf16, j->y, j->y_row, begin, end, j->acc);
}

void ed__packed_linear_part(const ed__packed *p, int64_t first, int64_t n, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row,
                            bool accumulate) {
    const char *panels = (const char *)p->panels + (size_t)(first * p->in) * (p->bf16 ? 2 : 4);
    linear_job j = {p, ed__kernels(), panels, m, n, x, x_row, y, y_row, accumulate};
    int64_t panel_macs = m * p->in * P + 1;
    ed__parallel_for(panels_of(n), PARALLEL_MACS / panel_macs + 1, linear_panels, &j);
}

void ed__packed_linear(const ed__packed *p, int64_t m, const float *x, int64_t x_row, float *y, int64_t y_row, bool accumulate) {
    ed__packed_linear_part(p, 0, p->out, m, x, x_row, y, y_row, accumulate);
}
