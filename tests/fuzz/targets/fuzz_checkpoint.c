/* tests/fuzz/targets/fuzz_checkpoint.c - any bytes as a checkpoint manifest: no crash, no leak. The bytes are tried as they are, and with a right seal
 * in place of their last 28 bytes, so that mutations get past the checksum. What is accepted can be written and read again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/internal.h"
#include "io/checkpoint.h"

static void must(bool ok) {
    if (!ok)
        abort();
}

static void try_text(const char *text, size_t n) {
    ed__ckpt_manifest m, again;
    ed__buf b;
    if (ed__ckpt_manifest_parse("fuzz", text, n, &m, NULL) != ED_OK) {
        must(m.files == NULL);
        return;
    }
    for (size_t i = 0; i < m.n; i++)
        must(ed__ckpt_name_ok(m.files[i].name));
    must(ed__ckpt_manifest_text(&m, &b, NULL) == ED_OK);
    must(ed__ckpt_manifest_parse("again", b.data, b.len, &again, NULL) == ED_OK);
    must(again.n == m.n && again.step == m.step);
    ed__buf_deinit(&b);
    ed__ckpt_manifest_free(&again);
    ed__ckpt_manifest_free(&m);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    enum { SEAL_BYTES = 28 };
    int64_t blocks = ed__mem_blocks();
    if (size > ED__CKPT_MANIFEST_BYTES_MAX)
        return 0;
    try_text((const char *)data, size);
    if (size >= SEAL_BYTES) {
        char *text = malloc(size + 1);
        must(text != NULL);
        size_t body = size - SEAL_BYTES;
        memcpy(text, data, body);
        memcpy(text + body, ",\"xxh3\":\"", 9);
        snprintf(text + body + 9, 20, "%016llx\"}\n", (unsigned long long)ed__hash64(text, body + 9, 0));
        try_text(text, size);
        free(text);
    }
    must(ed__mem_blocks() == blocks);
    return 0;
}
