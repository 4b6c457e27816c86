/* tests/unit/test_model_llama2c.c - a real trained Llama (stories260K) in llama2.c's v0 layout must generate its published greedy tokens.
 *
 * One copy of the weights in circulation has each layer's matrices stored after five rounds of "transpose, then read again in the same shape"; the test knows it by its
 * hash and undoes that first, which gives the published file bit for bit (hash checked). The published file is used as it is; any other is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/internal.h"
#include "data/stories260k_greedy.h"
#include "data_dir.h"
#include "endec/model.h"

static const uint64_t PUBLISHED = 0x0c9b5a18d38a945full, SCRAMBLED = 0x23167b88d38820e3ull;
enum { TOKENS = 256, LAYERS = 5, ROUNDS = 5, DIM = 64, HIDDEN = 172, KV = 32, VOCAB = 512, HEADER = 28 };

/** Undoes the rounds for the matrices [rows, cols] of all layers at w; returns where the next tensor begins. */
static float *unscramble(float *w, int rows, int cols) {
    float *tmp = malloc(sizeof(float) * (size_t)(rows * cols));
    for (int l = 0; l < LAYERS; l++, w += rows * cols) {
        for (int k = 0; k < ROUNDS; k++) {
            memcpy(tmp, w, sizeof(float) * (size_t)(rows * cols));
            for (int i = 0; i < rows * cols; i++)
                w[i] = tmp[i % rows * cols + i / rows];
        }
    }
    free(tmp);
    return w;
}

static void repair(char *file) {
    float *w = (float *)(void *)(file + HEADER) + VOCAB * DIM + LAYERS * DIM;
    w = unscramble(w, DIM, DIM);
    w = unscramble(w, KV, DIM);
    w = unscramble(w, KV, DIM);
    w = unscramble(w, DIM, DIM) + LAYERS * DIM;
    w = unscramble(w, HIDDEN, DIM);
    w = unscramble(w, DIM, HIDDEN);
    unscramble(w, HIDDEN, DIM);
}

/** Path of the published file (a temporary copy when it had to be repaired: *temporary). False: there is none. */
static bool published_file(char *path, size_t bytes, bool *temporary) {
    char *file, name[] = "/tmp/endec-stories-XXXXXX";
    size_t n;
    ed_error err = {0};
    *temporary = false;
    if (!data_path("models/stories260k/stories260K.bin", path, bytes))
        return false;
    assert_int_equal(ed__file_read(path, 1 << 24, &file, &n, &err), ED_OK);
    uint64_t hash = ed__hash64(file, n, 0);
    if (hash == SCRAMBLED) {
        repair(file);
        hash = ed__hash64(file, n, 0);
        assert_true(hash == PUBLISHED);
        int fd = mkstemp(name);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, file, n), (ssize_t)n);
        close(fd);
        snprintf(path, bytes, "%s", name);
        *temporary = true;
    }
    ed__free(file);
    if (hash != PUBLISHED)
        printf("skipped: %s is not the published file\n", path);
    return hash == PUBLISHED;
}

static int32_t argmax(const ed_tensor *logits) {
    int32_t best = 0;
    for (int32_t i = 1; i < VOCAB; i++)
        if (ed_get(logits, i) > ed_get(logits, best))
            best = i;
    return best;
}

static void published_tokens(void **state) {
    char path[1024];
    bool temporary;
    ed_model *m;
    ed_graph *g;
    ed_cache *c;
    ed_error err = {0};
    int32_t token = 1, slot = 0;
    (void)state;
    if (!published_file(path, sizeof path, &temporary))
        skip();
    if (ed_model_load(path, ED_DTYPE_COUNT, &m, &err) != ED_OK)
        fail_msg("%s %s", err.where, err.message);
    assert_int_equal(ed_graph_create(NULL, &g), ED_OK);
    assert_int_equal(ed_cache_create(m, 1, TOKENS, &c, &err), ED_OK);
    for (int i = 0; i < TOKENS; i++) {
        ed_graph_reset(g);
        ed_tensor *logits = ed_model_logits(m, g, ed_model_step(m, g, c, &(ed_step){1, &token, &slot}));
        assert_non_null(logits);
        token = argmax(logits);
        if (token != stories260k_greedy[i])
            fail_msg("token %d is %d, published is %d", i, token, stories260k_greedy[i]);
    }
    ed_cache_destroy(&c);
    ed_graph_destroy(&g);
    ed_model_destroy(&m);
    if (temporary)
        unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
