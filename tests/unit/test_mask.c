/* tests/unit/test_mask.c - every label filler against its own definition, pair by pair, through the attention op: with q = 0 a row spreads its weight evenly over what it
 * sees, so the rows of p show the mask itself. */
#include "attention_cases.h"

#include "endec/mask.h"

enum { B = 2, T = 70, S = 90, OWN = S - T };

typedef bool (*sees_fn)(const void *ctx, int64_t b, int64_t t, int64_t j);

static ed_arena *arena;
static const ed_mask_dims DIMS = {.batch = B, .queries = T, .keys = S, .q_start = -1};

static void check_mask(const char *what, const ed_labels *l, sees_fn sees, const void *ctx) {
    for (int f32 = 0; f32 < 2; f32++) {
        ed_graph *g = agraph(false);
        ed_dtype dt = f32 ? ED_DTYPE_F32 : ED_DTYPE_F64;
        ed_tensor *q = ed_zeros(g, dt, 4, (int64_t[]){B, T, 1, 4}), *k = ed_zeros(g, dt, 4, (int64_t[]){B, S, 1, 4}), *v = ed_zeros(g, dt, 4, (int64_t[]){B, S, 1, S});
        for (int64_t i = 0; i < B * S; i++) {
            if (f32)
                ((float *)v->data)[i * S + i % S] = 1;
            else
                ((double *)v->data)[i * S + i % S] = 1;
        }
        ed_attention_opts o = ed_attention_opts_default();
        o.labels = l;
        ed_tensor *y = ed_attention(g, q, &(ed_kv){k, v}, 1, &o, NULL);
        assert_non_null(y);
        for (int64_t i = 0; i < B * T * S; i++) {
            bool want = sees(ctx, i / S / T, i / S % T, i % S);
            if ((ed_get(y, i) > 0) != want)
                fail_msg("%s: item %lld row %lld %s key %lld", what, (long long)(i / S / T), (long long)(i / S % T), want ? "must see" : "must not see", (long long)(i % S));
        }
        ed_graph_destroy(&g);
    }
}

static bool see_causal(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c, (void)b;
    return j <= OWN + t;
}
static const int32_t FIRST[B] = {3, 0}, LAST[B] = {90, 61};
static bool see_padded(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c, (void)t;
    return j >= FIRST[b] && j < LAST[b];
}
static bool see_window(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c, (void)b;
    return j <= OWN + t && j >= OWN + t - 33;
}
static const int32_t PREFIX[B] = {40, 0};
static bool see_prefix(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c;
    return j <= OWN + t || (j < PREFIX[b] && OWN + t < PREFIX[b]);
}
static bool see_chunks(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c, (void)b;
    int64_t d = (OWN + t) / 7 - j / 7;
    return d >= 0 && d <= 3;
}

static void test_plain(void **state) {
    (void)state;
    ed_labels l;
    assert_int_equal(ed_mask_causal(arena, &DIMS, &l, NULL), ED_OK);
    check_mask("causal", &l, see_causal, NULL);
    ed_mask_dims pads = DIMS;
    pads.first = FIRST, pads.last = LAST;
    assert_int_equal(ed_mask_bidirectional(arena, &pads, &l, NULL), ED_OK);
    check_mask("bidirectional", &l, see_padded, NULL);
    assert_int_equal(ed_mask_window(arena, &DIMS, 33, &l, NULL), ED_OK);
    check_mask("window", &l, see_window, NULL);
    assert_int_equal(ed_mask_window(arena, &DIMS, -1, &l, NULL), ED_E_INVALID);
    assert_int_equal(ed_mask_prefix(arena, &DIMS, PREFIX, &l, NULL), ED_OK);
    check_mask("prefix", &l, see_prefix, NULL);
    static const int32_t bad[B] = {0, S + 1};
    assert_int_equal(ed_mask_prefix(arena, &DIMS, bad, &l, NULL), ED_E_RANGE);
    assert_int_equal(ed_mask_chunks(arena, &DIMS, 7, 21, &l, NULL), ED_OK);
    check_mask("chunks", &l, see_chunks, NULL);
    assert_int_equal(ed_mask_chunks(arena, &DIMS, 7, 20, &l, NULL), ED_E_INVALID);
    assert_int_equal(ed_mask_chunks(arena, &DIMS, 1, -1, &l, NULL), ED_OK);
    check_mask("chunks of 1", &l, see_causal, NULL);
}

static int32_t tag[B * S], aux[B * S];
static bool see_documents(const void *c, int64_t b, int64_t t, int64_t j) {
    int32_t own = tag[b * S + OWN + t], key = tag[b * S + j];
    return own == key && key >= 0 && (!c || j <= OWN + t);
}
static bool see_levels(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c;
    return tag[b * S + j] <= tag[b * S + OWN + t];
}
static bool see_arrow(const void *c, int64_t b, int64_t t, int64_t j) {
    int kind = *(const int *)c;
    int32_t own = tag[b * S + OWN + t], key = tag[b * S + j];
    if (own == -2 || key == -2)
        return false;
    if (own == -1)
        return key == -1 || kind == ED_ARROW;
    return own == key || (key == -1 && kind != ED_ARROW_DIAGONAL);
}
static bool see_blocks(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c;
    int32_t own = tag[b * S + OWN + t], key = tag[b * S + j];
    if (own == -1)
        return key == -1 && j <= OWN + t;
    return key == own ? j <= OWN + t : key == -1 && j <= aux[b * S + OWN + t];
}

static void test_groups(void **state) {
    (void)state;
    ed_labels l;
    for (int i = 0; i < B * S; i++)
        tag[i] = i % S > 80 ? -1 : i % S / 17;
    assert_int_equal(ed_mask_documents(arena, &DIMS, tag, true, &l, NULL), ED_OK);
    check_mask("documents, causal", &l, see_documents, &l);
    assert_int_equal(ed_mask_documents(arena, &DIMS, tag, false, &l, NULL), ED_OK);
    check_mask("documents", &l, see_documents, NULL);
    assert_int_equal(ed_mask_levels(arena, &DIMS, tag, &l, NULL), ED_OK);
    check_mask("levels", &l, see_levels, NULL);
    for (int i = 0; i < B * S; i++)
        tag[i] = i % S < 30 ? -1 : i % S > 85 ? -2 : (i % S - 30) / 11;
    for (int kind = 0; kind < 3; kind++) {
        assert_int_equal(ed_mask_arrow(arena, &DIMS, tag, (ed_arrow_kind)kind, &l, NULL), ED_OK);
        check_mask("arrow", &l, see_arrow, &kind);
    }
    for (int i = 0; i < B * S; i++) {
        tag[i] = i % S < 50 ? -1 : (i % S - 50) / 8;
        aux[i] = tag[i] * 9 - 1;
    }
    assert_int_equal(ed_mask_side_blocks(arena, &DIMS, tag, aux, &l, NULL), ED_OK);
    check_mask("side blocks", &l, see_blocks, NULL);
}

static int32_t parent[B * T];
static bool see_tree(const void *c, int64_t b, int64_t t, int64_t j) {
    (void)c;
    if (j < OWN)
        return true;
    for (int64_t x = t; x >= 0; x = parent[b * T + x])
        if (x == j - OWN)
            return true;
    return false;
}

static void test_tree(void **state) {
    (void)state;
    ed_labels l;
    ed_rng r = ed_rng_make(3, 3);
    for (int i = 0; i < B * T; i++)
        parent[i] = (int32_t)ed_rng_below(&r, (uint64_t)(i % T) + 1) - 1;
    assert_int_equal(ed_mask_tree(arena, &DIMS, parent, &l, NULL), ED_OK);
    check_mask("tree", &l, see_tree, NULL);
    parent[5] = 5;
    assert_int_equal(ed_mask_tree(arena, &DIMS, parent, &l, NULL), ED_E_RANGE);
}

static bool see_bits(const void *c, int64_t b, int64_t t, int64_t j) {
    const ed_labels *l = c;
    return abit(l->bitmap + (b * T + t) * ((S + 63) / 64), j);
}

static void test_random(void **state) {
    (void)state;
    ed_labels l;
    ed_rng r = ed_rng_make(3, 4);
    for (int i = 0; i < B * S; i++)
        tag[i] = i % S < 2 ? -1 : (i % S - 2) / 2; /* words of two keys */
    assert_int_equal(ed_mask_random_rows(arena, &DIMS, tag, 0.5, 16, &r, &l, NULL), ED_OK);
    check_mask("random rows", &l, see_bits, &l);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++) {
            int64_t hidden = 0;
            assert_false(see_bits(&l, b, t, OWN + t));
            for (int64_t j = 2; j < S; j += 2) {
                bool a = see_bits(&l, b, t, j), z = see_bits(&l, b, t, j + 1);
                assert_true(a == z || OWN + t == j || OWN + t == j + 1);
                hidden += !a || !z;
            }
            assert_true(hidden == 22 || hidden == 23);
            assert_true(see_bits(&l, b, t, 0) && see_bits(&l, b, t, 1));
        }
}

static bool see_diagonals(const void *c, int64_t b, int64_t t, int64_t j) {
    const ed_labels *l = c;
    (void)b;
    return j <= OWN + t && l->block_keep[(OWN + t) / 8 - j / 8];
}

static void test_diagonals(void **state) {
    (void)state;
    ed_labels l;
    double p[32];
    ed_rng r = ed_rng_make(3, 5);
    assert_int_equal(ed_mask_block_probability(32, 0.5, p), ED_OK);
    double share = 0;
    for (int k = 0; k < 32; k++)
        share += p[k] * (32 - k) / (32 * 33 / 2);
    assert_true(fabs(share - 0.5) < 1e-6 && p[0] == 1);
    assert_int_equal(ed_mask_block_probability(32, 1, p), ED_OK);
    assert_true(p[31] == 1);
    assert_int_equal(ed_mask_block_probability(12, 0.6, p), ED_OK);
    assert_int_equal(ed_mask_block_diagonals(arena, &DIMS, 8, p, 12, true, &r, &l, NULL), ED_OK);
    assert_true(l.block_keep[0] && l.block_bonus[0] == 0);
    check_mask("block diagonals", &l, see_diagonals, &l);
    assert_int_equal(ed_mask_block_diagonals(arena, &DIMS, 8, p, 11, true, &r, &l, NULL), ED_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_groups), cmocka_unit_test(test_tree), cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_diagonals)};
    if (ed_arena_create(0, &arena) != ED_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ed_arena_destroy(&arena);
    return failed;
}
