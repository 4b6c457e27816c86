/* tests/unit/test_base_status.c - error records, texts, log sink, checked arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/internal.h"

static void test_status_table(void **state) {
    (void)state;
    assert_string_equal(ed_status_name(ED_E_FORMAT), "E_FORMAT");
    assert_string_equal(ed_status_text(ED_E_FORMAT), "malformed data");
    assert_int_equal(ed_status_exit_code(ED_OK), 0);
    assert_int_equal(ed_status_exit_code(ED_E_CANCELLED), 130);
    assert_string_equal(ed_status_text((ed_status)-3), "internal error");
    assert_string_equal(ed_status_text((ed_status)ED_STATUS_COUNT), "internal error");
    assert_string_equal(ed_version(), "0.1.0");
}

static void test_error_text(void **state) {
    ed_error e;
    char buf[64];
    (void)state;
    assert_int_equal(ed_error_set(NULL, ED_E_IO, "x", 1, "y"), ED_E_IO);
    assert_int_equal(ed_error_set(&e, ED_E_FORMAT, "a.bin", 17, "bad tag %d", 5), ED_E_FORMAT);
    assert_int_equal(e.status, ED_E_FORMAT);
    assert_string_equal(ed_error_text(&e, buf, sizeof buf), "a.bin: byte 17: bad tag 5");
    ed_error_set(&e, ED_E_FORMAT, "", ED_NO_OFFSET, "plain");
    assert_string_equal(ed_error_text(&e, buf, sizeof buf), "plain");
    ed_error_set(&e, ED_E_MEMORY, NULL, ED_NO_OFFSET, "%s", "");
    assert_string_equal(ed_error_text(&e, buf, sizeof buf), "out of memory");
    assert_string_equal(ed_error_text(&e, buf, 4), "out");
    ed_error_set(&e, ED_E_IO, e.where, 3, "outer: %s", "inner");
    ed_error_set(&e, ED_E_IO, "w", 3, "again: %s", e.message); /* an argument inside the record itself */
    assert_string_equal(e.message, "again: outer: inner");
    assert_string_equal(ed_error_text(NULL, buf, sizeof buf), "");
}

/* Hostile text: cut between characters at every length, controls and broken bytes replaced. */
static void test_error_truncation(void **state) {
    ed_error e;
    char text[1200];
    (void)state;
    for (size_t lead = 0; lead < 4; lead++) {
        memset(text, 'a', lead);
        for (size_t i = lead; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xF0\x9F\x98\x80", 5);
        ed_error_set(&e, ED_E_IO, text, 0, "%s", text);
        assert_int_equal(ed__utf8_valid(e.message, strlen(e.message)), strlen(e.message));
        assert_int_equal(ed__utf8_valid(e.where, strlen(e.where)), strlen(e.where));
        assert_int_equal(strlen(e.message), lead + (511 - lead) / 4 * 4);
        assert_int_equal(strlen(e.where), lead + (255 - lead) / 4 * 4);
    }
    ed_error_set(&e, ED_E_IO, "a\nb\x1b[31m", 0, "x\xff\xc3|\xed\xa0\x80 \xc2\x85.");
    assert_string_equal(e.where, "a b [31m");
    assert_string_equal(e.message, "x??|???  .");
}

static void test_text_line_sizes(void **state) {
    char buf[16];
    (void)state;
    assert_int_equal(ed__text_line(buf, 0, "abc"), 0);
    assert_int_equal(ed__text_line(buf, 1, "abc"), 0);
    assert_string_equal(buf, "");
    assert_int_equal(ed__text_line(buf, 4, "ab\xC3\xA9"), 2);
    assert_string_equal(buf, "ab");
    assert_int_equal(ed__text_line(buf, 5, "ab\xC3\xA9"), 4);
}

typedef struct sink {
    int lines;
    ed_log_level level;
    char last[128];
} sink;

static void take_line(void *user, ed_log_level level, const char *line) {
    sink *s = user;
    s->lines++;
    s->level = level;
    snprintf(s->last, sizeof s->last, "%s", line);
    ed_log_line(ED_LOG_ERROR, "from inside"); /* dropped, no deadlock */
    if (s->lines == 3)
        ed_log_set(NULL, NULL, ED_LOG_DEBUG); /* a sink may remove itself */
}

static void test_log(void **state) {
    sink s = {0};
    (void)state;
    ed_log_line(ED_LOG_ERROR, "nobody listens");
    ed_log_set(take_line, &s, ED_LOG_INFO);
    ed_log_line(ED_LOG_DEBUG, "too low");
    assert_int_equal(s.lines, 0);
    ed_log_line(ED_LOG_WARN, "a\n%d", 7);
    assert_int_equal(s.lines, 1);
    assert_int_equal(s.level, ED_LOG_WARN);
    assert_string_equal(s.last, "a 7");
    ed_log_line(ED_LOG_INFO, "2");
    ed_log_line(ED_LOG_INFO, "3");
    ed_log_line(ED_LOG_INFO, "4");
    assert_int_equal(s.lines, 3);
}

static void test_checked(void **state) {
    size_t z = 5;
    int64_t i = 5;
    (void)state;
    assert_true(ed__add_size(SIZE_MAX - 1, 1, &z) && z == SIZE_MAX);
    assert_false(ed__add_size(SIZE_MAX, 1, &z));
    assert_int_equal(z, SIZE_MAX);
    assert_true(ed__mul_size(SIZE_MAX / 3, 3, &z) && z == SIZE_MAX / 3 * 3);
    assert_false(ed__mul_size(SIZE_MAX / 3 + 1, 3, &z));
    assert_true(ed__mul_size(0, SIZE_MAX, &z) && z == 0);
    assert_true(ed__mul_size(SIZE_MAX, 0, &z) && z == 0);
    assert_true(ed__mul_i64(INT64_MAX, 1, &i) && i == INT64_MAX);
    assert_false(ed__mul_i64(INT64_MAX / 2 + 1, 2, &i));
    assert_false(ed__mul_i64(-1, 2, &i));
    assert_false(ed__mul_i64(2, -1, &i));
    assert_int_equal(i, INT64_MAX);
    assert_true(ed__mul_i64(0, INT64_MAX, &i) && i == 0);
    assert_true(ed__align_size(65, 64, &z) && z == 128);
    assert_true(ed__align_size(64, 64, &z) && z == 64);
    assert_true(ed__align_size(0, 64, &z) && z == 0);
    assert_true(ed__align_size(SIZE_MAX - 63, 64, &z) && z == SIZE_MAX - 63);
    assert_false(ed__align_size(SIZE_MAX - 62, 64, &z));
    assert_false(ed__align_size(1, 48, &z));
    assert_false(ed__align_size(1, 0, &z));
}

static void test_system(void **state) {
    (void)state;
    double t = ed_time_s();
    assert_true(ed_time_s() >= t && t > 0.0);
    assert_true(ed_peak_rss_bytes() > (size_t)100 * 1024);
    assert_true(ed_cpu_get() == ed_cpu_best());
    assert_int_equal(ed_cpu_set(ED_CPU_GENERIC), ED_OK);
    assert_int_equal(ed_cpu_get(), ED_CPU_GENERIC);
    assert_string_equal(ed_cpu_name(ED_CPU_GENERIC), "generic");
    assert_string_equal(ed_cpu_name(ED_CPU_AVX512_BF16), "avx512bf16");
    assert_string_equal(ed_cpu_name((ed_cpu_level)99), "unknown");
    assert_int_equal(ed_cpu_set((ed_cpu_level)ED_CPU_LEVEL_COUNT), ED_E_INVALID);
    if (ed_cpu_best() < ED_CPU_AVX512_BF16)
        assert_int_equal(ed_cpu_set((ed_cpu_level)(ed_cpu_best() + 1)), ED_E_UNSUPPORTED);
    assert_int_equal(ed_cpu_get(), ED_CPU_GENERIC);
    assert_int_equal(ed_cpu_set(ed_cpu_best()), ED_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_status_table),    cmocka_unit_test(test_error_text),
                                       cmocka_unit_test(test_error_truncation), cmocka_unit_test(test_text_line_sizes),
                                       cmocka_unit_test(test_log),             cmocka_unit_test(test_checked),
                                       cmocka_unit_test(test_system)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
