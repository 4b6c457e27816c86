/* train/optim_adafactor.c - Adafactor (Shazeer & Stern 2018) with a given learning rate: second moments of matrices are kept as row and column means
 * (decay 1 - step^-decay_rate), updates are clipped to RMS clip_threshold, no first moment. Vectors keep a full second moment. */
#include <math.h>

#include "train/optim.h"

static int state_shape(const ed_param *p, int s, int64_t *shape) {
    int64_t cols = p->rank >= 2 ? p->shape[p->rank - 1] : 0;
    if (p->rank < 2) { /* vectors: state 0 is the full second moment, state 1 is empty */
        shape[0] = s == 0 ? p->numel : 1;
        return 1;
    }
    shape[0] = s == 0 ? p->numel / (cols ? cols : 1) : cols;
    return 1;
}

static void moments(const ed_optim_update *u, double keep) {
    for (int64_t r = 0; r < u->rows; r++) {
        double sum = 0;
        for (int64_t c = 0; c < u->cols; c++)
            sum += (double)u->g[r * u->cols + c] * (double)u->g[r * u->cols + c] + 1e-30;
        u->state[0][r] = (float)(keep * (double)u->state[0][r] + (1 - keep) * sum / (double)u->cols);
    }
    for (int64_t c = 0; c < u->cols; c++) {
        double sum = 0;
        for (int64_t r = 0; r < u->rows; r++)
            sum += (double)u->g[r * u->cols + c] * (double)u->g[r * u->cols + c] + 1e-30;
        u->state[1][c] = (float)(keep * (double)u->state[1][c] + (1 - keep) * sum / (double)u->rows);
    }
}

static double direction(const ed_optim_update *u, double row_mean, int64_t i) {
    double v = u->rows == 1 ? (double)u->state[0][i] : (double)u->state[0][i / u->cols] * (double)u->state[1][i % u->cols] / row_mean;
    return (double)u->g[i] / sqrt(v > 1e-30 ? v : 1e-30);
}

static void update(const ed_optim_update *u) {
    double keep = 1 - pow((double)u->step, -u->opts->decay_rate), row_mean = 0, square = 0;
    if (u->rows == 1) {
        for (int64_t i = 0; i < u->n; i++)
            u->state[0][i] = (float)(keep * (double)u->state[0][i] + (1 - keep) * ((double)u->g[i] * (double)u->g[i] + 1e-30));
    } else {
        moments(u, keep);
        for (int64_t r = 0; r < u->rows; r++)
            row_mean += (double)u->state[0][r] / (double)u->rows;
    }
    for (int64_t i = 0; i < u->n; i++) {
        double d = direction(u, row_mean, i);
        square += d * d;
    }
    double rms = sqrt(square / (double)(u->n ? u->n : 1)), clip = rms / u->opts->clip_threshold;
    double size = u->lr / (clip > 1 ? clip : 1);
    for (int64_t i = 0; i < u->n; i++)
        u->w[i] = (float)((1 - u->lr * u->decay) * (double)u->w[i] - size * direction(u, row_mean, i));
}

const ed_optim_seat ed__optim_adafactor = {.name = "adafactor", .n_state = 2, .suffix = {"row", "col"}, .state_shape = state_shape, .update = update};
