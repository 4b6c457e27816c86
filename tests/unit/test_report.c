/* tests/unit/test_report.c - logs, event files, plots, pages and claims: files read back by independent small readers, known CRC vectors, a
 * checker for well-formed XML over plots of hostile data, allocation failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inspect/report.h"

static char folder[64];

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *slurp(const char *path, size_t *n) {
    char *data = NULL;
    size_t size = 0;
    assert_int_equal(ed__file_read(path, 1 << 26, &data, &size, NULL), ED_OK);
    if (n)
        *n = size;
    return data;
}

static void expect_file(const char *path, const char *want) {
    char *got = slurp(path, NULL);
    assert_string_equal(got, want);
    ed__free(got);
}

static void append_raw(const char *path, const char *text) {
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ed-report-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlink(path_of(e->d_name));
    if (d)
        closedir(d);
    return rmdir(folder);
}

/* ---- CSV */

static void csv_log(void **state) {
    (void)state;
    const char *cols[] = {"loss", "a,\"b\""};
    const char *path = path_of("log.csv");
    ed_csv *csv;
    ed_error err;
    assert_int_equal(ed_csv_open(path, cols, 2, -1, &csv, &err), ED_OK);
    for (int s = 1; s <= 5; s++) {
        assert_int_equal(ed_csv_row(csv, s, (double[]){s / 4.0, s == 2 ? NAN : -1e-9 * s}, &err), ED_OK);
        if (s == 1) /* on disk before the log is closed */
            expect_file(path, "step,loss,\"a,\"\"b\"\"\"\n1,0.25,-1e-09\n");
    }
    assert_int_equal(ed_csv_row(csv, 4, (double[]){0, 0}, &err), ED_E_STATE);
    ed_csv_close(&csv);
    ed_csv_close(&csv);
    append_raw(path, "6,0.1"); /* killed while writing */
    assert_int_equal(ed_csv_open(path, cols, 2, 3, &csv, &err), ED_OK);
    assert_int_equal(ed_csv_row(csv, 4, (double[]){9, 8}, &err), ED_OK);
    ed_csv_close(&csv);
    const char *want = "step,loss,\"a,\"\"b\"\"\"\n1,0.25,-1e-09\n2,0.5,nan\n3,0.75,-3e-09\n4,9,8\n";
    expect_file(path, want);
    assert_int_equal(ed_csv_open(path, cols, 1, 3, &csv, &err), ED_E_FORMAT);
    assert_null(csv);
    expect_file(path, want);
    assert_int_equal(ed_csv_open(path, cols, 2, 100, &csv, &err), ED_OK);
    ed_csv_close(&csv);
    expect_file(path, want);
    append_raw(path, "x,1,2\n");
    assert_int_equal(ed_csv_open(path, cols, 2, 100, &csv, &err), ED_E_FORMAT);
    assert_int_equal(err.offset, strlen(want));
    assert_int_equal(ed_csv_open(path_of("none.csv"), cols, 2, 7, &csv, &err), ED_OK);
    ed_csv_close(&csv);
    truncate(path_of("none.csv"), 5); /* killed within the header */
    assert_int_equal(ed_csv_open(path_of("none.csv"), cols, 2, 7, &csv, &err), ED_OK);
    ed_csv_close(&csv);
    expect_file(path_of("none.csv"), "step,loss,\"a,\"\"b\"\"\"\n");
    assert_int_equal(ed_csv_open("/nonexistent/x.csv", cols, 2, -1, &csv, &err), ED_E_IO);
    assert_int_equal(ed_csv_open("/dev/full", cols, 2, -1, &csv, &err), ED_E_IO);
    assert_int_equal(ed_csv_open(path, cols, 0, -1, &csv, &err), ED_E_RANGE);
    assert_int_equal(ed__mem_blocks(), 0);
}

/* ---- TensorBoard */

static void crc_vectors(void **state) { /* RFC 3720, B.4 */
    (void)state;
    unsigned char b[32];
    assert_int_equal(ed__crc32c("123456789", 9), 0xE3069283u);
    memset(b, 0, 32);
    assert_int_equal(ed__crc32c(b, 32), 0x8A9136AAu);
    memset(b, 0xFF, 32);
    assert_int_equal(ed__crc32c(b, 32), 0x62A8AB43u);
    for (int i = 0; i < 32; i++)
        b[i] = (unsigned char)i;
    assert_int_equal(ed__crc32c(b, 32), 0x46DD794Eu);
}

static uint64_t le(const unsigned char *p, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static uint64_t varint(const unsigned char **p) {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        unsigned char c = *(*p)++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80)
            return v;
    }
}

/* One decoded event; bytes fields point into the file. */
typedef struct event {
    double wall;
    int64_t step;
    const unsigned char *version, *summary, *session;
    size_t n_version, n_summary, n_session;
} event;

static event decode_event(const unsigned char *p, size_t n) {
    const unsigned char *end = p + n;
    event e = {0};
    while (p < end) {
        uint64_t key = varint(&p), len;
        switch (key) {
        case 1 << 3 | 1:
            memcpy(&e.wall, p, 8);
            p += 8;
            break;
        case 2 << 3:
            e.step = (int64_t)varint(&p);
            break;
        case 3 << 3 | 2:
        case 5 << 3 | 2:
        case 7 << 3 | 2:
            len = varint(&p);
            *(key >> 3 == 3 ? &e.version : key >> 3 == 5 ? &e.summary : &e.session) = p;
            *(key >> 3 == 3 ? &e.n_version : key >> 3 == 5 ? &e.n_summary : &e.n_session) = (size_t)len;
            p += len;
            break;
        default:
            fail_msg("unknown key %d", (int)key);
        }
    }
    assert_true(p == end);
    return e;
}

static uint32_t unmask(uint32_t m) {
    uint32_t r = m - 0xa282ead8u;
    return r >> 17 | r << 15;
}

static int read_records(const unsigned char *d, size_t n, event *out, int max) {
    int k = 0;
    for (size_t at = 0; at < n; k++) {
        assert_true(n - at >= 16 && k < max);
        size_t len = (size_t)le(d + at, 8);
        assert_int_equal(unmask((uint32_t)le(d + at + 8, 4)), ed__crc32c(d + at, 8));
        assert_true(len <= n - at - 16);
        assert_int_equal(unmask((uint32_t)le(d + at + 12 + len, 4)), ed__crc32c(d + at + 12, len));
        out[k] = decode_event(d + at + 12, len);
        at += 16 + len;
    }
    return k;
}

static void expect_scalar(const event *e, const char *tag, int64_t step, float value) {
    float got;
    size_t n = strlen(tag);
    assert_int_equal(e->step, step);
    assert_non_null(e->summary);
    assert_int_equal(e->n_summary, 2 + 2 + n + 5);
    const unsigned char *s = e->summary;
    assert_int_equal(s[0], 0x0a);
    assert_int_equal(s[1], 2 + n + 5);
    assert_int_equal(s[2], 0x0a);
    assert_int_equal(s[3], n);
    assert_memory_equal(s + 4, tag, n);
    assert_int_equal(s[4 + n], 0x15);
    memcpy(&got, s + 5 + n, 4);
    assert_true(memcmp(&got, &value, 4) == 0);
}

static void tensorboard(void **state) {
    (void)state;
    ed_tensorboard *tb, *tb2;
    event e[8];
    assert_int_equal(ed_tensorboard_open(folder, 299, &tb, NULL), ED_OK);
    assert_int_equal(ed_tensorboard_open(folder, -1, &tb2, NULL), ED_OK); /* same second, same process */
    assert_string_not_equal(ed_tensorboard_path(tb), ed_tensorboard_path(tb2));
    assert_non_null(strstr(ed_tensorboard_path(tb), "/events.out.tfevents."));
    assert_int_equal(ed_tensorboard_scalar(tb, "loss/train", 300, 2.5, NULL), ED_OK);
    assert_int_equal(ed_tensorboard_scalar(tb, "l\xC3\xA9", 1LL << 40, -1e-3, NULL), ED_OK);
    assert_int_equal(ed_tensorboard_scalar(tb, "bad\xFF", 1, 0, NULL), ED_E_INVALID);
    size_t n;
    char *data = slurp(ed_tensorboard_path(tb), &n);
    assert_int_equal(read_records((unsigned char *)data, n, e, 8), 4);
    assert_int_equal(e[0].n_version, 13);
    assert_memory_equal(e[0].version, "brain.Event:2", 13);
    assert_true(e[0].wall > 1.6e9);
    assert_int_equal(e[1].step, 300);
    assert_int_equal(e[1].n_session, 2);
    assert_memory_equal(e[1].session, "\x08\x01", 2);
    expect_scalar(&e[2], "loss/train", 300, 2.5f);
    expect_scalar(&e[3], "l\xC3\xA9", 1LL << 40, -1e-3f);
    ed__free(data);
    ed_tensorboard_close(&tb);
    ed_tensorboard_close(&tb2);
    assert_int_equal(ed_tensorboard_open("/dev/null/x", -1, &tb, NULL), ED_E_IO);
    assert_int_equal(ed__mem_blocks(), 0);
}

/* ---- plots */

/* Fails unless text is one well-formed XML element: balanced names, quoted attributes, no bare < or &. */
static void check_xml(const char *s) {
    char stack[16][16];
    int depth = 0, elements = 0;
    assert_int_equal(ed__utf8_valid(s, strlen(s)), strlen(s));
    for (; *s; s++) {
        if (*s == '&') {
            const char *end = strchr(s, ';');
            assert_true(end && end - s < 8);
        } else if (*s == '<' && s[1] == '?') {
            s = strchr(s, '>');
        } else if (*s == '<') {
            bool closing = s[1] == '/';
            char name[16] = {0};
            s += 1 + closing;
            for (int i = 0; (*s >= 'a' && *s <= 'z') && i < 15; s++)
                name[i++] = *s;
            assert_true(name[0] != 0);
            if (closing) {
                assert_true(depth > 0 && *s == '>');
                assert_string_equal(stack[--depth], name);
                continue;
            }
            elements++;
            while (*s == ' ') {
                const char *eq = strstr(s, "=\"");
                assert_non_null(eq);
                for (s++; s < eq; s++)
                    assert_true((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '-' || (*s >= '0' && *s <= '9'));
                s = eq + 2;
                assert_true(strncmp(s, "nan", 3) != 0 && strncmp(s, "inf", 3) != 0 && strncmp(s, "-inf", 4) != 0);
                while (*s && *s != '"')
                    assert_true(*s != '<' && *s++ != '>');
                assert_int_equal(*s++, '"');
            }
            if (*s == '/')
                s++;
            else {
                assert_true(depth < 16);
                memcpy(stack[depth++], name, 16);
            }
            assert_int_equal(*s, '>');
        }
    }
    assert_int_equal(depth, 0);
    assert_true(elements > 3);
}

static char *draw(const ed_plot *p) {
    ed_error err;
    if (ed_plot_save(p, path_of("p.svg"), &err) != ED_OK)
        fail_msg("plot: %s", err.message);
    char *svg = slurp(path_of("p.svg"), NULL);
    check_xml(svg);
    return svg;
}

static int count(const char *s, const char *what) {
    int n = 0;
    for (; (s = strstr(s, what)); s += strlen(what))
        n++;
    return n;
}

static void plots_of_good_data(void **state) {
    (void)state;
    double x[] = {1, 10, 100, 1000}, y[] = {4, 3, 2, 1}, sp[] = {0.5, 0, 0.25, NAN};
    ed_series s[] = {{.label = "a <&> \"b\"", .x = x, .y = y, .spread = sp, .n = 4, .markers = true}, {.label = "base", .y = y, .n = 4, .dashed = true}};
    ed_plot p = {.kind = ED_PLOT_LINES, .title = "T <1> & \x01\xFF", .x_label = "x'", .y_label = "y", .log_x = true, .series = s, .n_series = 2};
    char *svg = draw(&p);
    assert_non_null(strstr(svg, "a &lt;&amp;&gt; &quot;b&quot;"));
    assert_int_equal(count(svg, "<circle"), 4);
    assert_int_equal(count(svg, "<path"), 2);
    for (const char *tick[] = {">1<", ">10<", ">100<", ">1000<", NULL}, **t = tick; *t; t++)
        assert_non_null(strstr(svg, *t));
    ed__free(svg);
    p.kind = ED_PLOT_SCATTER;
    svg = draw(&p);
    assert_int_equal(count(svg, "<path"), 0);
    assert_int_equal(count(svg, "<circle"), 2 + 4 + 3); /* legend, first series, second without x = 0 on the log axis */
    ed__free(svg);
    const char *cats[] = {"one", "two & three", "a very long name of a category", "4"};
    p = (ed_plot){.kind = ED_PLOT_BARS, .series = s, .n_series = 2, .categories = cats, .n_categories = 4};
    svg = draw(&p);
    assert_int_equal(count(svg, "<rect"), 1 + 2 + 8); /* background, legend, bars */
    assert_non_null(strstr(svg, "two &amp; three"));
    ed__free(svg);
    double m[] = {1, 2, NAN, -3, 5, 6};
    const char *rows[] = {"r0", "r1"};
    p = (ed_plot){.kind = ED_PLOT_HEAT, .matrix = m, .rows = 2, .cols = 3, .row_names = rows};
    svg = draw(&p);
    assert_int_equal(count(svg, "class=\"cell\" fill=\"#"), 5 + 64);
    assert_int_equal(count(svg, "class=\"none\""), 1);
    assert_non_null(strstr(svg, "#440154")); /* lowest and highest cell have the ends of viridis */
    assert_non_null(strstr(svg, "#fde725"));
    ed__free(svg);
}

static void plots_of_hostile_data(void **state) {
    (void)state;
    double bad[][4] = {{NAN, NAN, NAN, NAN}, {INFINITY, -INFINITY, NAN, 0}, {1e308, -1e308, 1e-308, -1e-320}, {5, 5, 5, 5}, {0, 0, 0, 0},
                       {-1, -2, -3, -4},     {1e16, 1e16 + 2, 1e16, 1e16},  {1e299, -1e299, 1, 2},          {1e-299, 1e299, 1e-10, 1}, {1, 2, 3, 4}};
    const char *cats[] = {"", "\xE2", "\x1b[31m", "]]>"};
    size_t n = sizeof bad / sizeof *bad;
    for (size_t i = 0; i < n * n; i++)
        for (int mode = 0; mode < 7; mode++) {
            ed_series s[2] = {{.label = "s", .x = bad[i / n], .y = bad[i % n], .spread = bad[(i + 3) % n], .n = 4, .markers = true},
                              {.y = bad[i % n], .n = mode == 4 ? 4 : 0}};
            ed_plot p = {.kind = mode < 4 ? ED_PLOT_LINES : mode == 4 ? ED_PLOT_BARS : mode == 5 ? ED_PLOT_HEAT : ED_PLOT_SCATTER, .title = "",
                         .log_x = mode == 1 || mode == 3, .log_y = mode == 2 || mode == 3, .series = s, .n_series = 2, .categories = cats,
                         .n_categories = 4, .matrix = bad[i % n], .rows = 2, .cols = 2, .col_names = cats, .width = 200, .height = 200};
            ed__buf b;
            ed__buf_init(&b, 1 << 20);
            assert_int_equal(ed__plot_put(&b, &p, NULL), ED_OK);
            check_xml(b.data);
            ed__buf_deinit(&b);
        }
    ed_series none = {.y = NULL, .n = 0};
    ed_plot p = {.kind = ED_PLOT_LINES, .series = &none, .n_series = 1};
    ed__free(draw(&p));
    p.n_series = 0;
    assert_int_equal(ed_plot_save(&p, path_of("q.svg"), NULL), ED_E_INVALID);
    p = (ed_plot){.kind = ED_PLOT_HEAT, .matrix = bad[0], .rows = (int64_t)1 << 40, .cols = (int64_t)1 << 40};
    assert_int_equal(ed_plot_save(&p, path_of("q.svg"), NULL), ED_E_LIMIT);
    p = (ed_plot){.kind = ED_PLOT_LINES, .series = &none, .n_series = 1, .width = NAN};
    assert_int_equal(ed_plot_save(&p, path_of("q.svg"), NULL), ED_E_RANGE);
    assert_false(ed__path_exists(path_of("q.svg")));
    assert_int_equal(ed__mem_blocks(), 0);
}

/* A million noisy points with one peak: the file stays small and the peak stays in it. */
static void long_series(void **state) {
    (void)state;
    int64_t n = 1000000;
    double *y = malloc((size_t)n * sizeof *y);
    ed_rng r = ed_rng_make(1, 0);
    for (int64_t i = 0; i < n; i++)
        y[i] = ed_rng_uniform(&r);
    y[777777] = 5;
    ed_series s = {.y = y, .n = n};
    ed_plot p = {.series = &s, .n_series = 1};
    char *svg = draw(&p);
    assert_true(strlen(svg) < 100000);
    assert_non_null(strstr(svg, ">5<")); /* the axis reaches 5 */
    double top = 420;
    char *end = strchr(strstr(svg, " d=\"M") + 4, '"');
    *end = '\0';
    for (char *c = strstr(svg, " d=\"M") + 4; (c = strpbrk(c, "LM")); c++) {
        double v = atof(strchr(c, ' '));
        top = v < top ? v : top;
    }
    assert_true(top < 40);
    ed__free(svg);
    free(y);
}

static void expect_ticks(bool log, double lo, double hi, const char *want) {
    ed__axis a = {.log = log};
    char got[512] = "";
    ed__axis_fit(&a, lo, hi, 0, 6);
    for (int i = 0; i < a.n_ticks; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", a.labels[i]);
    assert_string_equal(got, want);
}

static void ticks(void **state) {
    (void)state;
    expect_ticks(false, 0, 10, "0 2 4 6 8 10 ");
    expect_ticks(false, -0.31, 0.72, "-0.2 0 0.2 0.4 0.6 ");
    expect_ticks(false, 0, 1, "0 0.2 0.4 0.6 0.8 1.0 ");
    expect_ticks(false, 1234567, 9876543, "2e6 4e6 6e6 8e6 ");
    expect_ticks(false, 0, 3e-7, "0 5e-8 1e-7 1.5e-7 2e-7 2.5e-7 3e-7 ");
    expect_ticks(true, 1, 100000, "1 10 100 1000 10000 100000 ");
    expect_ticks(true, 1e3, 1e7, "1000 1e4 1e5 1e6 1e7 ");
    expect_ticks(true, 2, 6, "2 3 4 5 6 ");
    expect_ticks(true, 1, 50, "1 2 5 10 20 50 ");
    expect_ticks(true, 1e-12, 1e12, "1e-12 1e-8 1e-4 1 1e4 1e8 1e12 ");
}

/* ---- pages and claims */

static void pages(void **state) {
    (void)state;
    const char *cols[] = {"name", "score"}, *cells[] = {"<b>x</b>", "1.5", "y,\"z\"", NULL}, *keys[] = {"k&"}, *values[] = {"<v>"};
    ed_table t = {.title = "T&T", .columns = cols, .n_columns = 2, .cells = cells, .n_rows = 2};
    double y[] = {1, 2};
    ed_series s = {.y = y, .n = 2};
    ed_plot plot = {.series = &s, .n_series = 1}, broken = {.kind = ED_PLOT_HEAT};
    ed_page *p;
    ed_error err;
    assert_int_equal(ed_page_create("A </title><script>", &p, &err), ED_OK);
    assert_int_equal(ed_page_heading(p, "H", &err), ED_OK);
    assert_int_equal(ed_page_text(p, "one\nline\n\n\ntwo", &err), ED_OK);
    assert_int_equal(ed_page_code(p, "if (a < b)", &err), ED_OK);
    assert_int_equal(ed_page_facts(p, keys, values, 1, &err), ED_OK);
    assert_int_equal(ed_page_table(p, &t, &err), ED_OK);
    assert_int_equal(ed_page_plot(p, &plot, &err), ED_OK);
    assert_int_equal(ed_page_plot(p, &broken, &err), ED_E_INVALID);
    assert_int_equal(ed_page_save(p, path_of("page.html"), &err), ED_OK);
    ed_page_destroy(&p);
    char *html = slurp(path_of("page.html"), NULL);
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "<b>x"));
    assert_null(strstr(html, "src="));
    assert_null(strstr(html, "href="));
    assert_int_equal(count(html, "<p>"), 2);
    assert_int_equal(count(html, "<figure>"), 1);
    assert_int_equal(count(html, "</figure>"), 1);
    assert_non_null(strstr(html, "<td class=\"n\">1.5</td>"));
    assert_non_null(strstr(html, "<dt>k&amp;</dt><dd>&lt;v&gt;</dd>"));
    assert_non_null(strstr(html, "</body>\n</html>\n"));
    ed__free(html);
    assert_int_equal(ed_table_save_csv(&t, path_of("t.csv"), &err), ED_OK);
    expect_file(path_of("t.csv"), "name,score\n<b>x</b>,1.5\n\"y,\"\"z\"\"\",\n");
    assert_int_equal(ed__mem_blocks(), 0);
}

static const ed_claim claims[] = {
    {"Tree drafts are faster than greedy decoding (speed-up, at least)", 2.2, 1, 1.3125, 1.2, ED_VERDICT_PASS},
    {"Output is the same, \"bit for bit\"\n(differing tokens, at most)", 0, NAN, 0, 0, ED_VERDICT_PASS},
    {"Ülkü 漢字 <tag> & more", NAN, 0.1, 1e-7, INFINITY, ED_VERDICT_INCONCLUSIVE},
};

static void lab_json(void **state) {
    (void)state;
    ed_lab lab = {.slug = "medusa", .title = "Heads \"x\"", .claims = claims, .n_claims = 3, .seconds = 12.25, .machine = "CPU"};
    char *text = NULL;
    assert_int_equal(ed_lab_json(&lab, &text, NULL), ED_OK);
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    assert_int_equal(json_object_size(j), 6);
    assert_string_equal(json_string_value(json_object_get(j, "slug")), "medusa");
    assert_string_equal(json_string_value(json_object_get(j, "holds")), "inconclusive");
    assert_true(json_number_value(json_object_get(j, "seconds")) == 12.25);
    json_t *c = json_object_get(j, "claims");
    assert_int_equal(json_array_size(c), 3);
    assert_int_equal(json_object_size(json_array_get(c, 0)), 6);
    assert_string_equal(json_string_value(json_object_get(json_array_get(c, 1), "text")), claims[1].text);
    assert_true(json_is_null(json_object_get(json_array_get(c, 1), "baseline")));
    assert_true(json_number_value(json_object_get(json_array_get(c, 2), "baseline")) == 0.1);
    assert_non_null(strstr(text, "\"baseline\":0.1,")); /* shortest form */
    assert_string_equal(json_string_value(json_object_get(json_array_get(c, 0), "holds")), "pass");
    json_decref(j);
    ed_report_free(&text);
    assert_null(text);
}

static void lab_verdicts(void **state) {
    (void)state;
    ed_claim c[2] = {{.text = "a", .holds = ED_VERDICT_SKIPPED}, {.text = "b", .holds = ED_VERDICT_SKIPPED}};
    ed_lab lab = {.slug = "s", .title = "t", .claims = c, .n_claims = 2};
    assert_int_equal(ed_lab_holds(&lab), ED_VERDICT_SKIPPED);
    c[1].holds = ED_VERDICT_PASS;
    assert_int_equal(ed_lab_holds(&lab), ED_VERDICT_PASS);
    c[0].holds = ED_VERDICT_INCONCLUSIVE;
    assert_int_equal(ed_lab_holds(&lab), ED_VERDICT_INCONCLUSIVE);
    c[1].holds = ED_VERDICT_FAIL;
    assert_int_equal(ed_lab_holds(&lab), ED_VERDICT_FAIL);
    char *text;
    c[1].holds = (ed_verdict)17;
    assert_int_equal(ed_lab_json(&lab, &text, NULL), ED_E_INVALID);
    assert_null(text);
}

static void lab_text(void **state) {
    (void)state;
    ed_lab lab = {.slug = "medusa", .title = "Heads", .claims = claims, .n_claims = 3, .seconds = 12.25, .machine = "CPU"};
    char *text = NULL;
    assert_int_equal(ed_lab_text(&lab, 0, &text, NULL), ED_OK);
    assert_string_equal(text, "medusa: Heads\n"
                              "  claim                                           paper  baseline  measured  threshold  holds\n"
                              "  Tree drafts are faster than greedy decoding       2.2         1     1.312        1.2  pass\n"
                              "  (speed-up, at least)\n"
                              "  Output is the same, \"bit for bit\" (differing        0         -         0          0  pass\n"
                              "  tokens, at most)\n"
                              "  Ülkü 漢字 <tag> & more                              -       0.1     1e-07        inf  inconclusive\n"
                              "inconclusive in 12.25 s on CPU\n");
    ed_report_free(&text);
    for (int width = 1; width < 140; width++) {
        assert_int_equal(ed_lab_text(&lab, width, &text, NULL), ED_OK);
        for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = '\0';
            assert_true(ed__text_columns(line) <= (width > 76 ? width : 76));
        }
        ed_report_free(&text);
    }
    assert_int_equal(ed__mem_blocks(), 0);
}

static void lab_files(void **state) {
    (void)state;
    double y[] = {1, 2, 1.5};
    ed_series s = {.label = "run", .y = y, .n = 3};
    ed_plot plot = {.title = "P", .series = &s, .n_series = 1};
    char machine[256];
    ed_lab lab = {.slug = "medusa", .title = "Heads", .claims = claims, .n_claims = 3, .seconds = 1, .machine = ed_machine_text(machine, sizeof machine)};
    assert_non_null(strstr(machine, ed_cpu_name(ed_cpu_get())));
    assert_int_equal(ed_lab_save(&lab, &plot, 1, folder, NULL), ED_OK);
    char *html = slurp(path_of("medusa.html"), NULL), *json = slurp(path_of("medusa.json"), NULL);
    assert_non_null(strstr(html, "<span class=\"verdict inconclusive\">inconclusive</span>"));
    assert_int_equal(count(html, "<svg"), 1);
    assert_non_null(strstr(html, "&lt;tag&gt; &amp; more"));
    assert_non_null(strstr(json, "\"machine\":\""));
    ed__free(html);
    ed__free(json);
    lab.slug = "../x";
    assert_int_equal(ed_lab_save(&lab, NULL, 0, folder, NULL), ED_E_INVALID);
}

/* Each allocation failing once: a status, nothing lost, old files untouched or whole. */
static ed_status everything(void) {
    const char *cols[] = {"a"}, *cells[] = {"1"};
    double y[] = {1, 2};
    ed_table t = {.columns = cols, .n_columns = 1, .cells = cells, .n_rows = 1};
    ed_series s = {.y = y, .n = 2};
    ed_plot plot = {.series = &s, .n_series = 1};
    ed_lab lab = {.slug = "x", .title = "t", .claims = claims, .n_claims = 3};
    ed_csv *csv = NULL;
    ed_tensorboard *tb = NULL;
    ed_page *page = NULL;
    char *text = NULL;
    ed_status st = ed_csv_open(path_of("f.csv"), cols, 1, 5, &csv, NULL);
    st = st == ED_OK ? ed_csv_row(csv, 1, y, NULL) : st;
    st = st == ED_OK ? ed_tensorboard_open(folder, 1, &tb, NULL) : st;
    st = st == ED_OK ? ed_tensorboard_scalar(tb, "t", 2, 3, NULL) : st;
    st = st == ED_OK ? ed_page_create("t", &page, NULL) : st;
    st = st == ED_OK ? ed_page_text(page, "a\n\nb", NULL) : st;
    st = st == ED_OK ? ed_page_table(page, &t, NULL) : st;
    st = st == ED_OK ? ed_table_save_csv(&t, path_of("t.csv"), NULL) : st;
    st = st == ED_OK ? ed_lab_text(&lab, 80, &text, NULL) : st;
    ed_report_free(&text);
    st = st == ED_OK ? ed_lab_save(&lab, &plot, 1, folder, NULL) : st;
    ed_csv_close(&csv);
    ed_tensorboard_close(&tb);
    ed_page_destroy(&page);
    unlink(path_of("f.csv"));
    return st;
}

static void allocation_failures(void **state) {
    (void)state;
    ed_status st = ED_E_MEMORY;
    int64_t n = 1;
    for (; st != ED_OK && n < 1000; n++) {
        ed__mem_fail_after(n, false);
        st = everything();
        ed__mem_fail_after(-1, false);
        assert_true(st == ED_OK || st == ED_E_MEMORY);
        assert_int_equal(ed__mem_blocks(), 0);
    }
    assert_true(n > 20 && n < 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_log),          cmocka_unit_test(crc_vectors),   cmocka_unit_test(tensorboard),
        cmocka_unit_test(plots_of_good_data), cmocka_unit_test(plots_of_hostile_data), cmocka_unit_test(long_series),
        cmocka_unit_test(ticks),            cmocka_unit_test(pages),         cmocka_unit_test(lab_json),
        cmocka_unit_test(lab_verdicts),     cmocka_unit_test(lab_text),      cmocka_unit_test(lab_files),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
