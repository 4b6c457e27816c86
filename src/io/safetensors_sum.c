/* io/safetensors_sum.c - checksums inside safetensors files: the metadata value "endec.xxh3" is a run of 16-digit hexadecimal XXH3-64 values: first
 * that of the header (length prefix, JSON and padding, with these 16 digits read as '0'), then one per tensor in byte order. Other readers see an
 * ordinary metadata string. The hashes guard against damage, not against malice. */
#include <stdatomic.h>
#include <stdio.h>
#include <xxhash.h>

#include "io/reader.h"
#include "io/tensor_file.h"

enum { DIGITS = 16 };

/* 16 lower-case hexadecimal digits. */
static bool parse_digits(const char *text, uint64_t *out) {
    uint64_t v = 0;
    for (int i = 0; i < DIGITS; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return true;
}

/* Hash of the header with the 16 digits at `at` as zeros; false without memory. */
static bool header_hash(const unsigned char *data, size_t header_end, size_t at, uint64_t *hash) {
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return false;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, data, at);
    XXH3_64bits_update(state, "0000000000000000", DIGITS);
    XXH3_64bits_update(state, data + at + DIGITS, header_end - at - DIGITS);
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return true;
}

static ed_status verify_header(const char *where, const unsigned char *data, size_t header_end, uint64_t want, ed_error *err) {
    static const char mark[] = "\"" ED__XXH3_KEY "\":\"";
    const unsigned char *hit = memmem(data, header_end, mark, sizeof mark - 1);
    if (!hit || (size_t)(data + header_end - hit) < sizeof mark - 1 + DIGITS)
        return ed_error_set(err, ED_E_FORMAT, where, 8, "the checksums were re-written by another program; open without verifying");
    uint64_t got;
    if (!header_hash(data, header_end, (size_t)(hit - data) + sizeof mark - 1, &got))
        return ed_error_set(err, ED_E_MEMORY, where, ED_NO_OFFSET, "no memory to check the header");
    if (got != want)
        return ed_error_set(err, ED_E_FORMAT, where, 0, "the header's checksum does not fit: damaged, or changed by a program that ignores " ED__XXH3_KEY);
    return ED_OK;
}

typedef struct sum_check {
    const ed__st_image *image;
    const char *digits;
    _Atomic int64_t first_bad; /* smallest index of a tensor that does not fit, or image->n */
} sum_check;

static void check_range(void *ctx, int64_t begin, int64_t end) {
    sum_check *c = ctx;
    for (int64_t i = begin; i < end; i++) {
        uint64_t want;
        bool ok = parse_digits(c->digits + i * DIGITS, &want);
        ok = ok && ed__hash64(c->image->tensors[i].data, (size_t)c->image->tensors[i].bytes, 0) == want;
        int64_t seen = atomic_load(&c->first_bad);
        while (!ok && i < seen && !atomic_compare_exchange_weak(&c->first_bad, &seen, i)) {
        }
    }
}

ed_status ed__safetensors_verify(const char *where, const unsigned char *data, size_t size, const ed__st_image *image, ed_error *err) {
    const char *digits = NULL;
    ed__reader r = ed__reader_make(data, size);
    uint64_t header_bytes, want;
    for (int64_t i = 0; i < image->n_metadata; i++)
        if (strcmp(image->metadata[i].key, ED__XXH3_KEY) == 0)
            digits = image->metadata[i].value;
    if (!digits)
        return ED_OK;
    if (strlen(digits) != (size_t)(image->n + 1) * DIGITS || !parse_digits(digits, &want) || !ed__reader_u64(&r, &header_bytes))
        return ed_error_set(err, ED_E_FORMAT, where, 8, "the checksums (" ED__XXH3_KEY ") are not those of %lld tensors", (long long)image->n);
    ED_TRY(verify_header(where, data, 8 + (size_t)header_bytes, want, err));
    sum_check c = {.image = image, .digits = digits + DIGITS, .first_bad = image->n};
    ed__parallel_for(image->n, 1, check_range, &c);
    int64_t bad = atomic_load(&c.first_bad);
    if (bad == image->n)
        return ED_OK;
    const ed_file_tensor *t = &image->tensors[bad];
    return ed_error_set(err, ED_E_FORMAT, where, t->offset, "tensor '%.120s' (%llu bytes): checksum does not fit, the data is damaged", t->name,
                        (unsigned long long)t->bytes);
}
