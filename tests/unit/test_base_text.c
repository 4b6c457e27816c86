/* tests/unit/test_base_text.c - UTF-8 over all code points and byte patterns, number texts, nearest names, growable buffers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/internal.h"

static void test_utf8_all_code_points(void **state) {
    char out[4];
    uint32_t cp = 0;
    (void)state;
    for (uint32_t c = 0; c < 0x110400; c++) {
        bool scalar = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
        int n = ed__utf8_encode(c, out);
        assert_int_equal(n, !scalar ? 0 : c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        if (n == 0)
            continue;
        if (ed__utf8_decode((unsigned char *)out, (size_t)n, &cp) != n || cp != c)
            fail_msg("code point %x", c);
        for (int cut = 1; cut < n; cut++)
            if (ed__utf8_decode((unsigned char *)out, (size_t)cut, &cp) != 0)
                fail_msg("code point %x cut to %d bytes", c, cut);
    }
    assert_int_equal(ed__utf8_encode(UINT32_MAX, out), 0);
}

/* Every sequence of three bytes, padded by one continuation byte: what decodes must encode back to the same bytes. */
static void test_utf8_all_bytes(void **state) {
    unsigned char b[4];
    char out[4];
    long valid = 0;
    (void)state;
    for (uint32_t x = 0xC00000; x < 0x1000000; x++) {
        uint32_t cp;
        b[0] = (unsigned char)(x >> 16);
        b[1] = (unsigned char)(x >> 8);
        b[2] = (unsigned char)x;
        b[3] = 0x80;
        int n = ed__utf8_decode(b, 4, &cp);
        if (n == 0)
            continue;
        valid++;
        if (ed__utf8_encode(cp, out) != n || memcmp(out, b, (size_t)n) != 0)
            fail_msg("%02x %02x %02x", b[0], b[1], b[2]);
    }
    /* 1920 two-byte characters with any third byte, 61440 three-byte ones, 2^20 four-byte ones over 64 last bytes */
    assert_int_equal(valid, 1920 * 256 + 61440 + (1 << 20) / 64);
}

static void test_utf8_valid(void **state) {
    (void)state;
    assert_int_equal(ed__utf8_valid("", 0), 0);
    assert_int_equal(ed__utf8_valid("abc\xC3\xA9", 5), 5);
    assert_int_equal(ed__utf8_valid("abc\xC3\xA9", 4), 3);
    assert_int_equal(ed__utf8_valid("ab\x80", 3), 2);
    assert_int_equal(ed__utf8_valid("\xC0\x80", 2), 0);
    assert_int_equal(ed__utf8_valid("\xED\xA0\x80", 3), 0);
    assert_int_equal(ed__utf8_valid("\xF4\x90\x80\x80", 4), 0);
    assert_int_equal(ed__utf8_valid("a\0b", 3), 3);
}

static void test_numbers(void **state) {
    char buf[32];
    double x = 0;
    int64_t i = 3;
    ed_rng r = ed_rng_make(5, 0);
    (void)state;
    assert_true(ed__parse_i64("+12", &i) && i == 12);
    assert_false(ed__parse_i64("-", &i) || ed__parse_i64("1_0", &i) || ed__parse_i64("--1", &i) || ed__parse_i64("\t1", &i));
    assert_int_equal(i, 12);
    assert_true(ed__parse_f64("-inf", &x) && isinf(x) && x < 0);
    assert_true(ed__parse_f64("nan", &x) && isnan(x));
    assert_false(ed__parse_f64("infinity and more", &x) || ed__parse_f64("NANA", &x) || ed__parse_f64("1,5", &x) || ed__parse_f64("-1e400", &x));
    ed__format_f64(0.1, buf, sizeof buf);
    assert_string_equal(buf, "0.1");
    ed__format_f64(-1e-5, buf, sizeof buf);
    assert_string_equal(buf, "-1e-05");
    ed__format_f64(INFINITY, buf, sizeof buf);
    assert_string_equal(buf, "inf");
    for (int k = 0; k < 20000; k++) { /* any bit pattern comes back */
        uint64_t bits = ed_rng_u64(&r);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        ed__format_f64(v, buf, sizeof buf);
        assert_true(ed__parse_f64(buf, &back) && memcmp(&v, &back, sizeof v) == 0);
    }
}

static void test_nearest(void **state) {
    static const char *const NAMES[] = {"train", "decode", "compress", "inspect", "learning_rate"};
    (void)state;
    assert_int_equal(ed__nearest_name("trian", NAMES, 5), 0); /* one swap */
    assert_int_equal(ed__nearest_name("Decode", NAMES, 5), 1);
    assert_int_equal(ed__nearest_name("comp", NAMES, 5), 2);
    assert_int_equal(ed__nearest_name("lerning-rat", NAMES, 5), 4);
    assert_int_equal(ed__nearest_name("zzz", NAMES, 5), -1);
    assert_int_equal(ed__nearest_name("", NAMES, 5), -1);
    assert_int_equal(ed__nearest_name("train", NAMES, 0), -1);
    char big[200];
    memset(big, 't', 199);
    big[199] = '\0';
    assert_int_equal(ed__nearest_name(big, NAMES, 5), -1);
    assert_true(ed__name_equal("a-b_c", "a_b-c"));
    assert_false(ed__name_equal("a-b", "a-b-"));
    assert_false(ed__name_equal("a", "b"));
}

static void test_buf(void **state) {
    ed__buf b;
    (void)state;
    ed__buf_init(&b, 10);
    assert_null(b.data);
    ed__buf_put(&b, NULL, 0);
    ed__buf_puts(&b, "12345");
    ed__buf_printf(&b, "%d", 67890);
    assert_int_equal(b.status, ED_OK);
    assert_string_equal(b.data, "1234567890");
    ed__buf_put(&b, "x", 1);
    assert_int_equal(b.status, ED_E_LIMIT);
    assert_int_equal(b.len, 10);
    ed__buf_reset(&b);
    ed__buf_printf(&b, "%s", "12345678901");
    assert_int_equal(b.status, ED_E_LIMIT);
    ed__buf_puts(&b, "1"); /* the first failure stays */
    assert_int_equal(b.len, 0);
    ed__buf_deinit(&b);
    ed__buf_init(&b, SIZE_MAX);
    ed__buf_puts(&b, "abc");
    assert_int_equal(b.status, ED_OK);
    ed__buf_put(&b, "x", SIZE_MAX - 2);
    assert_int_equal(b.status, ED_E_LIMIT);
    ed__buf_deinit(&b);
    ed__buf_init(&b, 1 << 20);
    for (int i = 0; i < 10000; i++)
        ed__buf_printf(&b, "%04d", i);
    assert_int_equal(b.len, 40000);
    assert_memory_equal(b.data + 4 * 1234, "1234", 4);
    ed__mem_fail_after(1, true);
    for (int i = 0; i < 10000 && b.status == ED_OK; i++)
        ed__buf_puts(&b, "0123456789");
    ed__mem_fail_after(-1, false);
    assert_int_equal(b.status, ED_E_MEMORY);
    ed__buf_deinit(&b);
    assert_int_equal(ed__mem_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_utf8_all_code_points), cmocka_unit_test(test_utf8_all_bytes),
                                       cmocka_unit_test(test_utf8_valid),           cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_nearest),              cmocka_unit_test(test_buf)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
