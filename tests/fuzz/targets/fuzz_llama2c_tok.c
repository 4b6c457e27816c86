/* tests/fuzz/targets/fuzz_llama2c_tok.c - any bytes as the tokenizer.bin of llama2.c, with and without a known vocabulary size. */
#include "fuzz/tok_use.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    for (int32_t vocab = 0; vocab <= 264; vocab += 264) {
        ed_tokenizer *t = NULL;
        ed_error e = {0};
        if (ed_tokenizer_load_llama2c_memory("fuzz", data, size, vocab, &t, &e) == ED_OK)
            use_tokenizer(t);
        else if (t || !e.message[0])
            abort();
        ed_tokenizer_destroy(&t);
    }
    return 0;
}
