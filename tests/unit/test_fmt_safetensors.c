/* tests/unit/test_fmt_safetensors.c - safetensors: bytes equal to those of Hugging Face's library (recorded from its version 0.8.0), round trips,
 * every truncation, every flipped bit, hostile headers (classes of docs/limits.md), shards, failing memory and failing disk. */
#include "unit/fmt_util.h"

/* What save() of the Python library wrote for the tensors of golden_items() with the metadata {"k": "v\"\\\t\x01/"}. */
static const char GOLDEN_HEADER[] =
    "{\"__metadata__\":{\"k\":\"v\\\"\\\\\\t\\u0001/\"},\"a\\\"\\n\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
    "\"h\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[16,24]},\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,48]},"
    "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[48,52]},\"\xc3\xa9\":{\"dtype\":\"F16\",\"shape\":[0,4],\"data_offsets\":[52,52]},"
    "\"u\":{\"dtype\":\"U16\",\"shape\":[1],\"data_offsets\":[52,54]},\"aa\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[54,55]},"
    "\"c\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[55,56]}} ";
enum { GOLDEN_HEADER_BYTES = 488 };
static const unsigned char GOLDEN_DATA[56] = {1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f,
                                              0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xa0, 0x40,
                                              0, 0, 0x40, 0xc0, 0xff, 0xff, 7, 1};
enum { N_GOLDEN = 8 };

static const float b_data[] = {0, 1, 2, 3, 4, 5}, x_data[] = {-3};
static const int64_t a_data[] = {1, -2};
static const double h_data[] = {1.5};
static const uint16_t u_data[] = {65535};
static const uint8_t aa_data[] = {7}, c_data[] = {1};

static const ed_tensor_item GOLDEN[N_GOLDEN] = {
    {.name = "b", .dtype = ED_FILE_F32, .rank = 2, .shape = {2, 3}, .data = b_data},
    {.name = "a\"\n", .dtype = ED_FILE_I64, .rank = 1, .shape = {2}, .data = a_data},
    {.name = "c", .dtype = ED_FILE_BOOL, .rank = 0, .data = c_data},
    {.name = "\xc3\xa9", .dtype = ED_FILE_F16, .rank = 2, .shape = {0, 4}},
    {.name = "aa", .dtype = ED_FILE_U8, .rank = 1, .shape = {1}, .data = aa_data},
    {.name = "h", .dtype = ED_FILE_F64, .rank = 1, .shape = {1}, .data = h_data},
    {.name = "u", .dtype = ED_FILE_U16, .rank = 1, .shape = {1}, .data = u_data},
    {.name = "x", .dtype = ED_FILE_F32, .rank = 1, .shape = {1}, .data = x_data},
};
static const ed_metadata GOLDEN_META[] = {{"k", "v\"\\\t\x01/"}};

static ed_tensor_save_opts save_opts(bool checksums) {
    ed_tensor_save_opts o = ed_tensor_save_opts_default();
    o.checksums = checksums;
    o.metadata = GOLDEN_META;
    o.n_metadata = 1;
    return o;
}

static void expect_golden(const ed_tensor_file *f) {
    assert_int_equal(ed_tensor_file_count(f), N_GOLDEN);
    for (int i = 0; i < N_GOLDEN; i++) {
        const ed_file_tensor *t = ed_tensor_file_find(f, GOLDEN[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, GOLDEN[i].dtype);
        assert_int_equal(t->rank, GOLDEN[i].rank);
        assert_memory_equal(t->shape, GOLDEN[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, (size_t)ed_file_tensor_numel(t) * ed_file_dtype_bytes(t->dtype));
        if (t->bytes)
            assert_memory_equal(t->data, GOLDEN[i].data, t->bytes);
    }
    assert_string_equal(ed_tensor_file_metadata(f, "k"), GOLDEN_META[0].value);
    assert_null(ed_tensor_file_metadata(f, "l"));
    assert_null(ed_tensor_file_find(f, "nobody"));
}

static void test_same_bytes_as_hugging_face(void **state) {
    (void)state;
    ed_tensor_save_opts o = save_opts(false);
    size_t n;
    assert_int_equal(ed_tensor_file_save(in_dir("g"), GOLDEN, N_GOLDEN, &o, NULL), ED_OK);
    unsigned char *data = (unsigned char *)get_file(in_dir("g"), &n);
    assert_int_equal(n, 8 + GOLDEN_HEADER_BYTES + sizeof GOLDEN_DATA);
    assert_int_equal(data[0] | data[1] << 8, GOLDEN_HEADER_BYTES);
    assert_memory_equal(data + 8, GOLDEN_HEADER, GOLDEN_HEADER_BYTES);
    assert_memory_equal(data + 8 + GOLDEN_HEADER_BYTES, GOLDEN_DATA, sizeof GOLDEN_DATA);
    ed__free(data);
}

static void test_round_trip(void **state) {
    (void)state;
    for (int sums = 0; sums < 2; sums++) {
        ed_tensor_save_opts o = save_opts(sums);
        ed_tensor_file *f;
        ed_error e = {0};
        assert_int_equal(ed_tensor_file_save(in_dir("model.safetensors"), GOLDEN, N_GOLDEN, &o, &e), ED_OK);
        assert_int_equal(ed_tensor_file_open(in_dir("model.safetensors"), NULL, &f, &e), ED_OK);
        expect_golden(f);
        assert_int_equal(ed_tensor_file_metadata_count(f), 1 + sums);
        ed_tensor_file_close(&f);
        assert_int_equal(ed_tensor_file_open(dir, NULL, &f, &e), ED_OK); /* the folder */
        expect_golden(f);
        ed_tensor_file_close(&f);
        unlink(in_dir("model.safetensors"));
    }
    ed_tensor_file *f;
    assert_int_equal(ed_tensor_file_open(dir, NULL, &f, NULL), ED_E_NOT_FOUND);
    assert_int_equal(ed_tensor_file_open(in_dir("none"), NULL, &f, NULL), ED_E_NOT_FOUND);
    assert_null(f);
}

static void test_empty_file_of_tensors(void **state) {
    (void)state;
    for (int sums = 0; sums < 2; sums++) {
        ed_tensor_save_opts o = ed_tensor_save_opts_default();
        ed_tensor_file *f;
        o.checksums = sums;
        assert_int_equal(ed_tensor_file_save(in_dir("e"), NULL, 0, &o, NULL), ED_OK);
        assert_int_equal(ed_tensor_file_open(in_dir("e"), NULL, &f, NULL), ED_OK);
        assert_int_equal(ed_tensor_file_count(f), 0);
        assert_null(ed_tensor_file_find(f, "x"));
        ed_tensor_file_close(&f);
    }
}

/* ---- damage */

static ed_status open_image(const unsigned char *data, size_t n, bool verify, ed_error *e) {
    ed_tensor_file_opts o = ed_tensor_file_opts_default();
    ed_tensor_file *f;
    o.verify = verify;
    unsigned char *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    ed_status s = ed__safetensors_open_memory("image", copy, n, &o, &f, e);
    if (s == ED_OK)
        expect_golden(f); /* whatever opens with verification has the right content */
    ed_tensor_file_close(&f);
    free(copy);
    return s;
}

static unsigned char *golden_image(size_t *n) {
    ed_tensor_save_opts o = save_opts(true);
    assert_int_equal(ed_tensor_file_save(in_dir("d"), GOLDEN, N_GOLDEN, &o, NULL), ED_OK);
    return (unsigned char *)get_file(in_dir("d"), n);
}

static void test_every_truncation_refused(void **state) {
    (void)state;
    size_t n;
    unsigned char *data = golden_image(&n);
    for (size_t k = 0; k < n; k++) {
        ed_error e = {0};
        assert_int_not_equal(open_image(data, k, true, &e), ED_OK);
        assert_string_equal(e.where, "image");
        assert_true(e.offset != ED_NO_OFFSET && e.message[0]);
    }
    ed_error e = {0};
    assert_int_equal(open_image(data, n - 1, true, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.message, "tensor 'c'"));
    assert_int_equal(e.offset, n - 1);
    ed__free(data);
}

static void test_every_bit_flip_refused_or_harmless(void **state) {
    (void)state;
    size_t n, harmless = 0;
    unsigned char *data = golden_image(&n);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            data[i] ^= (unsigned char)(1 << bit);
            harmless += open_image(data, n, true, NULL) == ED_OK;
            data[i] ^= (unsigned char)(1 << bit);
        }
    /* only a flip inside the key "endec.xxh3" itself goes unseen: nothing but that key is lost */
    assert_true(harmless <= 10 * 8);
    data[n - 2] ^= 1; /* tensor aa */
    ed_error e = {0};
    assert_int_equal(open_image(data, n, true, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.message, "tensor 'aa'"));
    assert_int_equal(e.offset, n - 2);
    ed_tensor_file_opts o = ed_tensor_file_opts_default();
    ed_tensor_file *f;
    o.verify = false;
    assert_int_equal(ed__safetensors_open_memory("image", data, n, &o, &f, NULL), ED_OK);
    ed_tensor_file_close(&f);
    ed__free(data);
}

/* ---- hostile headers */

typedef struct hostile {
    const char *json;
    size_t payload; /* bytes after the header */
    ed_status want;
} hostile;

#define T(dtype, shape, offsets) "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
static const hostile HOSTILE[] = {
    /* good ones first: the table must be able to fail */
    {T("\"F32\"", "[2]", "[0,8]"), 8, ED_OK},
    {T("\"F32\"", "[]", "[0,4]"), 4, ED_OK},
    {T("\"F32\"", "[1,1,1,1,1,1,1,1]", "[0,4]"), 4, ED_OK},
    {T("\"F32\"", "[0]", "[0,0]"), 0, ED_OK},
    {"{ \"x\" : { \"shape\" : [ 2 ] , \"data_offsets\" : [ 0 , 2 ] , \"dtype\" : \"U8\" } } \n", 2, ED_OK},
    {"{\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 2, ED_OK},
    {"{\"\\u00e9\\ud83d\\ude00\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_OK},
    {"{}", 0, ED_OK},
    {"{\"__metadata__\":{}}", 0, ED_OK},
    /* 1: rank */
    {T("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, ED_E_FORMAT},
    {T("\"F32\"", "4", "[0,4]"), 4, ED_E_FORMAT},
    {T("\"F32\"", "[-1]", "[0,4]"), 4, ED_E_FORMAT},
    /* 2: products */
    {T("\"F32\"", "[2147483648,2147483648]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"F32\"", "[4294967296,1073741824]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"F32\"", "[4294967296,1073741825]", "[0,4]"), 4, ED_E_FORMAT},
    {T("\"F32\"", "[1099511627776,1099511627776,0]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"F32\"", "[0,1099511627776,1099511627776]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"U8\"", "[1099511627777]", "[0,1]"), 1, ED_E_FORMAT},
    {T("\"U8\"", "[9223372036854775808]", "[0,0]"), 0, ED_E_FORMAT},
    {T("\"U8\"", "[18446744073709551617]", "[0,1]"), 1, ED_E_FORMAT},
    {T("\"F64\"", "[1099511627776,1048576]", "[0,0]"), 0, ED_E_FORMAT},
    /* 6: sizes and regions */
    {T("\"F32\"", "[2]", "[0,8]"), 7, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[0,8]"), 9, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[0,4]"), 4, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[8,0]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[1,9]"), 9, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[18446744073709551608,0]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[9223372036854775800,9223372036854775808]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[9223372036854775799,9223372036854775807]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[0]", "[1,1]"), 0, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}", 3, ED_E_FORMAT},
    {"{}", 1, ED_E_FORMAT},
    /* 7: other types */
    {T("7", "[2]", "[0,8]"), 8, ED_E_FORMAT},
    {T("null", "[2]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "\"2\"", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2.0]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2e0]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[02]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[+2]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[\"2\"]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2,]", "[0,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[0]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[0,8,8]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "[]"), 8, ED_E_FORMAT},
    {T("\"F32\"", "[2]", "8"), 8, ED_E_FORMAT},
    {T("\"F4\"", "[2]", "[0,1]"), 1, ED_E_UNSUPPORTED},
    {T("\"f32\"", "[2]", "[0,8]"), 8, ED_E_UNSUPPORTED},
    {T("\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", "[2]", "[0,8]"), 8, ED_E_LIMIT},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"BOOL\",\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"x\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"x\":{}}", 0, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"z\":0}}", 8, ED_E_FORMAT},
    {"{\"x\":[]}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{\"a\":1}}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":[]}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, ED_E_FORMAT},
    {"{\"\\u005f_metadata__\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{\"endec.xxh3\":\"00\"}}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{\"endec.xxh3\":\"0000000000000000\"}}", 0, ED_E_FORMAT},
    {"{\"__metadata__\":{\"endec.xxh3\" : \"0000000000000000\"}}", 0, ED_E_FORMAT},
    /* names and JSON */
    {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"a\\ud800\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"a\\ud800\\u0041\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"a\\x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"\xc0\x80\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"a\nb\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, ED_E_FORMAT},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, ED_E_FORMAT},
    {" {}", 0, ED_E_FORMAT},
    {"", 0, ED_E_FORMAT},
    {"[]", 0, ED_E_FORMAT},
    {"{", 0, ED_E_FORMAT},
    {"{}}", 0, ED_E_FORMAT},
    {"{},", 0, ED_E_FORMAT},
    {"{,}", 0, ED_E_FORMAT},
    {"{\"x\"}", 0, ED_E_FORMAT},
    {"{\"x", 0, ED_E_FORMAT},
    {"{\"x\\", 0, ED_E_FORMAT},
    {"{\"x\\u12", 0, ED_E_FORMAT},
};

static size_t build_image(unsigned char *out, const char *json, size_t json_bytes, size_t payload) {
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)json_bytes >> (8 * i));
    memcpy(out + 8, json, json_bytes);
    memset(out + 8 + json_bytes, 1, payload);
    return 8 + json_bytes + payload;
}

static void test_hostile_headers(void **state) {
    (void)state;
    ed_tensor_file_opts o = ed_tensor_file_opts_default();
    for (size_t i = 0; i < sizeof HOSTILE / sizeof HOSTILE[0]; i++) {
        unsigned char image[1024];
        ed_tensor_file *f;
        ed_error e = {0};
        size_t n = build_image(image, HOSTILE[i].json, strlen(HOSTILE[i].json), HOSTILE[i].payload);
        unsigned char *exact = malloc(n); /* so that a sanitizer sees one byte too far */
        memcpy(exact, image, n);
        ed_status s = ed__safetensors_open_memory("hostile", exact, n, &o, &f, &e);
        if (s != HOSTILE[i].want)
            fail_msg("%s: %s (%s), expected %s", HOSTILE[i].json, ed_status_name(s), e.message, ed_status_name(HOSTILE[i].want));
        if (s != ED_OK)
            assert_true(e.status == s && strcmp(e.where, "hostile") == 0 && e.message[0] && f == NULL);
        ed_tensor_file_close(&f);
        free(exact);
    }
}

static void test_header_lengths(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        ed_status want;
    } cases[] = {{0, ED_E_FORMAT}, {1, ED_E_FORMAT}, {3, ED_E_FORMAT}, {100000000, ED_E_FORMAT}, {100000001, ED_E_LIMIT},
                 {UINT64_MAX, ED_E_LIMIT}, {UINT64_MAX - 7, ED_E_LIMIT}, {(uint64_t)1 << 63, ED_E_LIMIT}, {2, ED_OK}};
    ed_tensor_file_opts o = ed_tensor_file_opts_default();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char image[10];
        ed_tensor_file *f;
        build_image(image, "{}", 2, 0);
        for (int b = 0; b < 8; b++)
            image[b] = (unsigned char)(cases[i].length >> (8 * b));
        assert_int_equal(ed__safetensors_open_memory("h", image, sizeof image, &o, &f, NULL), cases[i].want);
        ed_tensor_file_close(&f);
    }
}

/* 23: a header full of the smallest things; and 15: nesting. Memory stays under 64 MiB + 4 x the file. */
static void test_memory_bound(void **state) {
    (void)state;
    enum { REPEATS = 200000 };
    static const char *const units[] = {"\"%d\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[%d,%d]},", "[", "{\"a\":", "\"%d\":0,", NULL};
    size_t cap = (size_t)REPEATS * 80 + 64;
    unsigned char *image = malloc(cap);
    for (int u = 0; units[u]; u++) {
        size_t at = 9, before = ed_peak_rss_bytes();
        ed_tensor_file_opts o = ed_tensor_file_opts_default();
        ed_tensor_file *f;
        image[8] = '{';
        for (int i = 0; i < REPEATS; i++)
            at += (size_t)snprintf((char *)image + at, cap - at, units[u], i, i, i + 1);
        image[at - 1] = u == 0 ? '}' : image[at - 1];
        for (int b = 0; b < 8; b++)
            image[b] = (unsigned char)((at - 8) >> (8 * b));
        memset(image + at, 0, u == 0 ? 0 : 1);
        assert_int_not_equal(ed__safetensors_open_memory("m", image, at, &o, &f, NULL), ED_OK);
        assert_true(ed_peak_rss_bytes() - before < ((size_t)64 << 20) + 4 * at);
        ed_tensor_file_close(&f);
    }
    free(image);
}

static void test_limits_can_be_moved(void **state) {
    (void)state;
    unsigned char image[1024];
    size_t n = build_image(image, HOSTILE[5].json, strlen(HOSTILE[5].json), HOSTILE[5].payload);
    for (int k = 0; k < 4; k++) {
        ed_tensor_file_opts o = ed_tensor_file_opts_default();
        ed_tensor_file *f;
        if (k == 0)
            o.limits.max_tensors = 1;
        if (k == 1)
            o.limits.max_header_bytes = 20;
        if (k == 2)
            o.limits.max_name_bytes = 0;
        if (k == 3)
            o.limits.max_dim = 0;
        assert_int_equal(ed__safetensors_open_memory("l", image, n, &o, &f, NULL), k == 3 ? ED_E_FORMAT : ED_E_LIMIT);
    }
}

/* ---- the writer refuses what the reader would */

static void test_writer_refuses(void **state) {
    (void)state;
    const ed_tensor_item good = {.name = "x", .dtype = ED_FILE_U8, .rank = 1, .shape = {1}, .data = aa_data};
    for (int k = 0; k < 9; k++) {
        ed_tensor_item items[2] = {good, good};
        items[1].name = "y";
        switch (k) {
        case 0: items[1].name = "x"; break;
        case 1: items[1].name = ""; break;
        case 2: items[1].name = "__metadata__"; break;
        case 3: items[1].name = "\xff"; break;
        case 4: items[1].rank = 9; break;
        case 5: items[1].shape[0] = -1; break;
        case 6: items[1].shape[0] = INT64_MAX; break;
        case 7: items[1].data = NULL; break;
        default: items[1].dtype = ED_FILE_DTYPE_COUNT; break;
        }
        ed_error e = {0};
        assert_int_equal(ed_tensor_file_save(in_dir("w"), items, 2, NULL, &e), ED_E_INVALID);
        assert_true(e.message[0]);
    }
    assert_int_equal(count_entries(dir), 0);
}

static ed_status read_pattern(void *user, uint64_t offset, void *out, size_t bytes, ed_error *err) {
    const int64_t *fail_at = user;
    if (*fail_at >= 0 && offset >= (uint64_t)*fail_at)
        return ed_error_set(err, ED_E_IO, "source", offset, "gone");
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)out)[i] = (unsigned char)((offset + i) * 7 / 3);
    return ED_OK;
}

static void test_streamed_tensor(void **state) {
    (void)state;
    enum { N = 3000001 };
    int64_t fail_at = -1;
    ed_tensor_item item = {.name = "s", .dtype = ED_FILE_U8, .rank = 1, .shape = {N}, .read = read_pattern, .user = &fail_at};
    ed_tensor_file *f;
    ed_error e = {0};
    assert_int_equal(ed_tensor_file_save(in_dir("s"), &item, 1, NULL, &e), ED_OK);
    assert_int_equal(ed_tensor_file_open(in_dir("s"), NULL, &f, &e), ED_OK);
    const unsigned char *p = ed_tensor_file_at(f, 0)->data;
    for (int64_t i = 0; i < N; i += 997)
        assert_int_equal(p[i], (unsigned char)((uint64_t)i * 7 / 3));
    ed_tensor_file_close(&f);
    for (int sums = 0; sums < 2; sums++) { /* a failing source leaves the old file */
        ed_tensor_save_opts o = save_opts(sums);
        fail_at = 2000000;
        assert_int_equal(ed_tensor_file_save(in_dir("s"), &item, 1, &o, &e), ED_E_IO);
        assert_string_equal(e.where, "source");
        assert_int_equal(ed_tensor_file_open(in_dir("s"), NULL, &f, &e), ED_OK);
        ed_tensor_file_close(&f);
        assert_int_equal(count_entries(dir), 1);
    }
}

/* ---- failing memory and disk */

static void test_failing_memory(void **state) {
    (void)state;
    size_t n;
    unsigned char *data = golden_image(&n);
    int64_t blocks = ed__mem_blocks();
    bool done = false;
    for (int64_t k = 1; !done && k < 200; k++) {
        ed_tensor_file *f;
        ed__mem_fail_after(k, false);
        ed_status s = ed_tensor_file_open(in_dir("d"), NULL, &f, NULL);
        ed__mem_fail_after(-1, false);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        done = s == ED_OK;
        ed_tensor_file_close(&f);
        assert_int_equal(ed__mem_blocks(), blocks);
    }
    assert_true(done);
    done = false;
    for (int64_t k = 1; !done && k < 200; k++) {
        ed_tensor_save_opts o = save_opts(true);
        ed__mem_fail_after(k, true);
        ed_status s = ed_tensor_file_save(in_dir("d2"), GOLDEN, N_GOLDEN, &o, NULL);
        ed__mem_fail_after(-1, false);
        assert_int_equal(ed__mem_blocks(), blocks);
        assert_true(s == ED_OK || s == ED_E_MEMORY);
        done = s == ED_OK;
    }
    assert_true(done);
    ed__free(data);
}

static void test_failing_disk(void **state) {
    (void)state;
    size_t n;
    unsigned char *data = golden_image(&n);
    bool done = false;
    for (int64_t k = 1; !done && k < 50; k++) {
        ed_tensor_file *f;
        ed__io_fail_after(k);
        done = ed_tensor_file_save(in_dir("d"), GOLDEN, N_GOLDEN - 1, NULL, NULL) == ED_OK;
        ed__io_fail_after(-1);
        assert_int_equal(ed_tensor_file_open(in_dir("d"), NULL, &f, NULL), ED_OK); /* old or new, always whole */
        ed_tensor_file_close(&f);
        assert_int_equal(count_entries(dir), 1);
    }
    assert_true(done);
    ed__free(data);
}

/* ---- shards */

static void put_shards(void) {
    ed_tensor_save_opts o = save_opts(true);
    assert_int_equal(ed_tensor_file_save(in_dir("s1.safetensors"), GOLDEN, 3, &o, NULL), ED_OK);
    assert_int_equal(ed_tensor_file_save(in_dir("s2.safetensors"), GOLDEN + 3, N_GOLDEN - 3, &o, NULL), ED_OK);
}

static ed_status open_index(const char *json, bool follow, ed_error *e) {
    ed_tensor_file_opts o = ed_tensor_file_opts_default();
    ed_tensor_file *f;
    o.follow_links = follow;
    put_file(in_dir("model.safetensors.index.json"), json, strlen(json));
    ed_status s = ed_tensor_file_open(dir, &o, &f, e);
    if (s == ED_OK) {
        expect_golden(f);
        ed_tensor_file_close(&f);
    }
    assert_null(f);
    return s;
}

#define S1 "\"b\":\"s1.safetensors\",\"a\\\"\\n\":\"s1.safetensors\",\"c\":\"s1.safetensors\","
#define S2 "\"\xc3\xa9\":\"s2.safetensors\",\"aa\":\"s2.safetensors\",\"h\":\"s2.safetensors\",\"u\":\"s2.safetensors\",\"x\":\"s2.safetensors\""

static void test_shards(void **state) {
    (void)state;
    put_shards();
    ed_error e = {0};
    assert_int_equal(open_index("{\"metadata\":{\"total_size\":1e3,\"a\":[[],{},[{\"b\":null}]]},\"weight_map\":{" S1 S2 "}}", false, &e), ED_OK);
    assert_int_equal(open_index("{\"weight_map\":{" S1 S2 "},\"weight_map\":{}}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{\"weight_map\":{" S1 "\"x\":\"s1.safetensors\"," S2 "}}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{\"weight_map\":{" S1 "\"b\":\"s1.safetensors\"," S2 "}}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{\"weight_map\":{" S1 "\"\xc3\xa9\":\"s2.safetensors\"}}", false, &e), ED_E_FORMAT); /* unlisted tensors */
    assert_int_equal(open_index("{\"weight_map\":{" S1 "\"q\":\"s2.safetensors\"," S2 "}}", false, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.message, "'q'"));
    assert_int_equal(open_index("{\"weight_map\":{" S1 S2 ",\"q\":\"s3.safetensors\"}}", false, &e), ED_E_NOT_FOUND);
    assert_int_equal(open_index("{\"weight_map\":{\"b\":\"s2.safetensors\",\"a\\\"\\n\":\"s1.safetensors\",\"c\":\"s1.safetensors\"," S2 "}}", false, &e), ED_E_FORMAT);
    assert_non_null(strstr(e.message, "'b' is not in 's2.safetensors'"));
    assert_int_equal(open_index("{\"weight_map\":{}}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{\"weight_map\":[]}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{}", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("", false, &e), ED_E_FORMAT);
    assert_int_equal(open_index("{\"weight_map\":{" S1 S2 "}", false, &e), ED_E_FORMAT);
}

/* 22: names that lead out of the folder, links, folders */
static void test_shard_paths(void **state) {
    (void)state;
    static const char *const bad[] = {"/etc/passwd", "../s1.safetensors", "a/../s1.safetensors", "", "..", ".", "sub", "sub/", "link", "linked/s1.safetensors", "fifo"};
    put_shards();
    ed_error e = {0};
    assert_int_equal(mkdir(in_dir("sub"), 0700), 0);
    assert_int_equal(rename(in_dir("s1.safetensors"), in_dir("sub/s1.safetensors")), 0);
    assert_int_equal(symlink("sub/s1.safetensors", in_dir("link")), 0);
    assert_int_equal(symlink("sub", in_dir("linked")), 0);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char json[1024];
        snprintf(json, sizeof json, "{\"weight_map\":{\"b\":\"%s\",\"a\\\"\\n\":\"%s\",\"c\":\"%s\"," S2 "}}", bad[i], bad[i], bad[i]);
        ed_status s = open_index(json, false, &e);
        if (s == ED_OK)
            fail_msg("a shard named '%s' was opened", bad[i]);
        bool link = strncmp(bad[i], "link", 4) == 0;
        assert_int_equal(open_index(json, true, &e) == ED_OK, link);
    }
    static const char good[] = "{\"weight_map\":{\"b\":\"sub/s1.safetensors\",\"a\\\"\\n\":\"sub/s1.safetensors\",\"c\":\"sub/s1.safetensors\"," S2 "}}";
    assert_int_equal(open_index(good, false, &e), ED_OK);
    assert_int_equal(link(in_dir("sub/s1.safetensors"), in_dir("hard")), 0);
    assert_int_equal(open_index(good, false, &e), ED_E_FORMAT);
    assert_int_equal(open_index(good, true, &e), ED_OK);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_same_bytes_as_hugging_face), CASE(test_round_trip),     CASE(test_empty_file_of_tensors),
        CASE(test_every_truncation_refused),   CASE(test_every_bit_flip_refused_or_harmless),
        CASE(test_hostile_headers),            CASE(test_header_lengths), CASE(test_memory_bound),
        CASE(test_limits_can_be_moved),        CASE(test_writer_refuses), CASE(test_streamed_tensor),
        CASE(test_failing_memory),             CASE(test_failing_disk),   CASE(test_shards),
        CASE(test_shard_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
