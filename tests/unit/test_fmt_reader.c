/* tests/unit/test_fmt_reader.c - the bounded reader at every length: what does not fit is refused and moves nothing; numbers are little-endian. And the
 * JSON scanner's skipping of values it does not know. */
#include "io/json_scan.h"
#include "io/reader.h"
#include "unit/fmt_util.h"

static void test_numbers(void **state) {
    (void)state;
    static const unsigned char bytes[16] = {0x01, 0x02, 0x83, 0x04, 0x05, 0x06, 0x07, 0x88, 0, 0, 0x80, 0xbf, 0, 0, 0xf0, 0x3f};
    ed__reader r = ed__reader_make(bytes, 16);
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    int32_t e;
    int64_t f;
    float g;
    double h;
    assert_true(ed__reader_u8(&r, &a) && a == 1 && r.pos == 1);
    assert_true(ed__reader_u16(&r, &b) && b == 0x8302);
    assert_true(ed__reader_seek(&r, 0) && ed__reader_u32(&r, &c) && c == 0x04830201u);
    assert_true(ed__reader_i32(&r, &e) && e == (int32_t)0x88070605u);
    assert_true(ed__reader_f32(&r, &g) && g == -1.0f);
    assert_true(ed__reader_seek(&r, 0) && ed__reader_u64(&r, &d) && d == 0x8807060504830201u);
    assert_true(ed__reader_seek(&r, 0) && ed__reader_i64(&r, &f) && f < 0 && (uint64_t)f == d);
    assert_true(ed__reader_f64(&r, &h) && h > 0.99 && h < 1.01);
    assert_int_equal(ed__reader_left(&r), 0);
}

static void test_bounds(void **state) {
    (void)state;
    for (size_t n = 0; n <= 9; n++) {
        unsigned char *exact = calloc(n ? n : 1, 1);
        const unsigned char *p;
        uint8_t a;
        uint16_t b;
        uint32_t c;
        uint64_t d;
        for (size_t pos = 0; pos <= n; pos++) {
            size_t left = n - pos;
            ed__reader r = ed__reader_make(exact, n), s;
            assert_true(ed__reader_seek(&r, pos));
            assert_true(!ed__reader_seek(&r, n + 1) && r.pos == pos);
            s = r;
            assert_true(ed__reader_u8(&s, &a) == (left >= 1) && s.pos == pos + (left >= 1 ? 1 : 0));
            s = r;
            assert_true(ed__reader_u16(&s, &b) == (left >= 2) && s.pos == pos + (left >= 2 ? 2 : 0));
            s = r;
            assert_true(ed__reader_u32(&s, &c) == (left >= 4) && s.pos == pos + (left >= 4 ? 4 : 0));
            s = r;
            assert_true(ed__reader_u64(&s, &d) == (left >= 8) && s.pos == pos + (left >= 8 ? 8 : 0));
            s = r;
            assert_true(!ed__reader_take(&s, SIZE_MAX, &p) && !ed__reader_skip(&s, left + 1) && s.pos == pos);
            assert_true(ed__reader_take(&s, left, &p) && p == exact + pos && s.pos == n);
        }
        free(exact);
    }
}

static ed_status skip_text(const char *text) {
    ed__scan s = ed__scan_make("skip", text, strlen(text), 0, NULL);
    ED_TRY(ed__scan_skip(&s));
    return ed__scan_end(&s);
}

static void test_skip(void **state) {
    (void)state;
    static const char *const good[] = {"1", "-1.5e+3", "true", "null", "\"a\\n\\u00e9\"", "[]", "{}", "[[],[[]],{}]", " { \"a\" : [ 1 , { } ] , \"b\":null } "};
    static const char *const bad[] = {"", "[", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{1:1}", "[}", "{]", "[1 2]", "\"a", "[],", "1 1", ":"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(skip_text(good[i]), ED_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (skip_text(bad[i]) != ED_E_FORMAT)
            fail_msg("accepted: %s", bad[i]);
    for (int depth = 1; depth <= 70; depth++) {
        char text[200];
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        assert_int_equal(skip_text(text), depth <= 64 ? ED_OK : ED_E_FORMAT);
    }
}

static void test_uint(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t max;
        bool ok;
    } cases[] = {{"0", 0, true}, {"1", 0, false}, {"7", 6, false}, {"6", 6, true}, {"18446744073709551615", UINT64_MAX, true},
                 {"18446744073709551616", UINT64_MAX, false}, {"99", 99, true}, {"100", 99, false}, {"00", 9, false}, {"-1", 9, false}, {"1.0", 9, false},
                 {"", 9, false}, {"9223372036854775808", INT64_MAX, false}, {"9223372036854775807", INT64_MAX, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ed__scan s = ed__scan_make("n", cases[i].text, strlen(cases[i].text), 0, NULL);
        uint64_t v = 77;
        bool ok = ed__scan_uint(&s, "number", cases[i].max, &v) == ED_OK;
        assert_int_equal(ok, cases[i].ok);
        if (ok)
            assert_true(v == strtoull(cases[i].text, NULL, 10));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_bounds), cmocka_unit_test(test_skip), cmocka_unit_test(test_uint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
