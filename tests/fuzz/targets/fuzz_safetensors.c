/* tests/fuzz/targets/fuzz_safetensors.c - any bytes as a safetensors file: no crash, no leak; what opens can be read to
 * its last byte, and every record agrees with itself. */
#include <stdlib.h>

#include "base/internal.h"
#include "io/tensor_file.h"

static void must(bool ok) {
    if (!ok)
        abort();
}

static uint64_t read_all(const ed_tensor_file *f) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < ed_tensor_file_count(f); i++) {
        const ed_file_tensor *t = ed_tensor_file_at(f, i);
        must(ed_tensor_file_find(f, t->name) == t);
        must((uint64_t)ed_file_tensor_numel(t) * ed_file_dtype_bytes(t->dtype) == t->bytes);
        hash ^= ed__hash64(t->data, (size_t)t->bytes, hash);
        hash ^= ed__hash64(t->name, strlen(t->name), hash);
        float x[4];
        int64_t n = ed_file_tensor_numel(t) < 4 ? ed_file_tensor_numel(t) : 4;
        (void)ed_file_tensor_read(t, 0, n, ED_DTYPE_F32, x, NULL);
        (void)ed_file_tensor_read(t, 0, n, ED_DTYPE_I32, x, NULL);
    }
    return hash;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    int64_t blocks = ed__mem_blocks();
    for (int verify = 0; verify < 2; verify++) {
        ed_tensor_file_opts o = ed_tensor_file_opts_default();
        ed_tensor_file *f;
        ed_error e = {0};
        o.verify = verify;
        ed_status s = ed__safetensors_open_memory("fuzz", data, size, &o, &f, &e);
        must((s == ED_OK) == (f != NULL) && (s == ED_OK || (e.status == s && e.message[0])));
        if (s == ED_OK)
            (void)read_all(f);
        ed_tensor_file_close(&f);
    }
    must(ed__mem_blocks() == blocks);
    return 0;
}
