/* tests/fuzz/targets/fuzz_llama2c.c - any bytes as a llama2.c v0 file: no crash, no leak; the tensors of what opens tile the file. */
#include <stdlib.h>

#include "base/internal.h"
#include "io/tensor_file.h"

static void must(bool ok) {
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    int64_t blocks = ed__mem_blocks();
    ed_llama2c_config c;
    ed_tensor_file *f;
    ed_error e = {0};
    ed_status s = ed__llama2c_open_memory("fuzz", data, size, NULL, &f, &c, &e);
    must((s == ED_OK) == (f != NULL) && (s == ED_OK || (e.status == s && e.message[0])));
    uint64_t at = 28, hash = 0;
    for (int64_t i = 0; f && i < ed_tensor_file_count(f); i++) {
        const ed_file_tensor *t = ed_tensor_file_at(f, i);
        must(t->offset == at && ed_tensor_file_find(f, t->name) == t);
        hash ^= ed__hash64(t->data, (size_t)t->bytes, hash);
        at += t->bytes;
    }
    must(!f || at == size);
    ed_tensor_file_close(&f);
    must(ed__mem_blocks() == blocks);
    return 0;
}
