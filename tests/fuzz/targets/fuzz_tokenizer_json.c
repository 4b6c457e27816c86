/* tests/fuzz/targets/fuzz_tokenizer_json.c - any bytes as tokenizer.json; what is accepted must work. */
#include "fuzz/tok_use.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    if (ed_tokenizer_load_memory("fuzz", data, size, &t, &e) == ED_OK)
        use_tokenizer(t);
    else if (t || !e.message[0])
        abort();
    ed_tokenizer_destroy(&t);
    return 0;
}
