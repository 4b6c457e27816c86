/* tests/grad/test_grad_attention.c - every hook of attention that carries a gradient, and both outputs beside o that do, by central differences in f64. */
#include "grad/gradcheck.h"

#include "endec/attention.h"

enum { B = 2, T = 3, S = 4, H = 2, HKV = 1, DK = 2, DV = 2 };

typedef struct setup {
    ed_attention_opts o;
    bool bias, post, rel, kappa, dense, split;
    int out; /* 0 o, 1 entropy, 2 hinge */
} setup;

static ed_tensor *run(ed_graph *g, ed_tensor **x, int n, void *ctx) {
    setup *s = ctx;
    ed_attention_opts o = s->o;
    ed_kv kv[2] = {{x[1], x[2]}, {NULL, NULL}};
    int i = 3;
    (void)n;
    if (s->split)
        kv[1] = (ed_kv){x[i], x[i + 1]}, i += 2;
    if (s->bias)
        o.bias = x[i++];
    if (s->post)
        o.post_scale = x[i++];
    if (s->rel)
        o.rel = x[i++];
    if (s->kappa)
        o.key_bias = x[i++];
    if (s->dense)
        o.dense = x[i++];
    ed_attention_out out;
    o.want_entropy = s->out == 1, o.want_hinge = s->out == 2;
    if (!ed_attention(g, x[0], kv, s->split ? 2 : 1, &o, &out))
        return NULL;
    return s->out == 1 ? out.entropy : s->out == 2 ? out.hinge : out.o;
}

static void check(const char *what, setup s, double amp) {
    gradcheck_in in[GRADCHECK_MAX_IN] = {{4, {B, T, H, DK}, -amp, amp, false}, {4, {B, S, HKV, DK}, -amp, amp, false}, {4, {B, S, HKV, DV}, 0, 0, false}};
    int n = 3;
    int64_t keys = S;
    if (s.split) {
        in[1].shape[1] = in[2].shape[1] = S - 2;
        in[n++] = (gradcheck_in){4, {1, 2, HKV, DK}, 0, 0, false}; /* a batch of 1 serves both items */
        in[n++] = (gradcheck_in){4, {1, 2, HKV, DV}, 0, 0, false};
    }
    if (s.bias)
        in[n++] = (gradcheck_in){2, {s.o.bias_map.n, H}, 0, 0, false};
    if (s.post)
        in[n++] = (gradcheck_in){2, {s.o.post_map.n, 1}, 0, 0, false};
    if (s.rel)
        in[n++] = (gradcheck_in){4, {B, H, T, s.o.rel_map.n}, 0, 0, false};
    if (s.kappa)
        in[n++] = (gradcheck_in){2, {B, keys}, 0, 0, false};
    if (s.dense)
        in[n++] = (gradcheck_in){4, {1, H, T, keys}, 0, 0, false};
    gradcheck(what, run, &s, in, n, 1e-6);
}

static setup base(void) {
    setup s = {.o = ed_attention_opts_default()};
    s.o.bias_map = ed_offset_map_clamp(3);
    s.o.post_map = ed_offset_map_clamp(4);
    s.o.rel_map = (ed_offset_map){.lo = -2, .hi = 1, .n = 4};
    return s;
}

static void test_qkv(void **state) {
    (void)state;
    setup s = base();
    check("plain", s, 1);
    s.o.causal = true;
    check("causal", s, 1);
    s.o.softmax_one = true, s.o.window = 1;
    check("softmax-one, window", s, 1);
    s.o.softcap = 1.5;
    check("softcap", s, 2);
    s.split = true;
    check("segments", s, 1);
}

static void test_hooks(void **state) {
    (void)state;
    setup s = base();
    s.bias = true;
    check("b", s, 1);
    s = base(), s.post = true;
    check("c", s, 1);
    s = base(), s.rel = true;
    check("r", s, 1);
    s = base(), s.kappa = true;
    check("kappa", s, 1);
    s = base(), s.dense = true;
    check("d", s, 1);
    s = base(), s.bias = s.post = s.rel = s.kappa = s.dense = s.split = true, s.o.causal = true, s.o.softcap = 3, s.o.softmax_one = true;
    check("all hooks", s, 1);
}

static void test_dropout(void **state) {
    (void)state;
    setup s = base();
    s.o.dropout = 0.4, s.o.site = 5, s.post = true;
    check("dropout", s, 1);
}

static void test_outputs(void **state) {
    (void)state;
    setup s = base();
    s.out = 1;
    check("entropy", s, 1);
    s.o.softmax_one = true, s.kappa = s.bias = true, s.o.causal = true;
    check("entropy with softmax-one, kappa, b", s, 1);
    s = base(), s.out = 2, s.kappa = s.bias = true;
    check("hinge", s, 6);
    s.o.softcap = 9, s.o.causal = true;
    check("hinge with softcap", s, 6);
}

static void test_labels(void **state) {
    (void)state;
    static const int32_t order[B * S] = {0, 1, 2, 3, 0, 1, 0, 1}, group[B * S] = {0, 0, 0, 0, -1, -1, 1, 2};
    static const int32_t q_order[B * T] = {-1, 2, 3, 1, 0, 1}, q_group[B * T] = {0, 0, 0, 1, 2, -2}, q_limit[B * T] = {0, 0, 0, 0, 1, 1};
    static const uint8_t valid[B * S] = {1, 1, 0, 1, 1, 1, 1, 1};
    static const ed_labels l = {.batch = B, .queries = T, .keys = S, .q_order = q_order, .q_group = q_group, .q_limit = q_limit, .k_order = order, .k_group = group,
                                .k_valid = valid};
    setup s = base();
    s.o.labels = &l; /* row 0 of item 0 sees nothing */
    s.bias = s.kappa = true;
    check("labels", s, 1);
    s.out = 1;
    check("labels, entropy", s, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_qkv), cmocka_unit_test(test_hooks), cmocka_unit_test(test_dropout), cmocka_unit_test(test_outputs),
                                       cmocka_unit_test(test_labels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
