/* tests/unit/test_tok_json.c - tokenizer.json: ids published by the Hugging Face library for our files (tests/unit/data/make_tok_golden.py), parts that
 * must be refused by name, and hostile vocabularies. JSON is written here with ' for ". */
#include <jansson.h>

#include "tok_common.h"

static void check_golden(const char *name, const json_t *rows) {
    char path[256];
    ed_tokenizer *t = NULL;
    ed_token_ids ids = {0};
    ed_error e = {0};
    snprintf(path, sizeof path, "tests/unit/data/tok_golden/%s", name);
    check_ok(ed_tokenizer_load(path, &t, &e), &e);
    assert_true(json_array_size(rows) > 20);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *text = json_array_get(row, 0), *want = json_array_get(row, 1);
        ids.n = 0;
        check_ok(ed_tokenizer_encode(t, json_string_value(text), json_string_length(text), ED_ENCODE_ADD_SPECIAL | ED_ENCODE_PARSE_SPECIAL, &ids, &e), &e);
        bool same = (size_t)ids.n == json_array_size(want);
        for (int64_t k = 0; same && k < ids.n; k++)
            same = ids.ids[k] == json_integer_value(json_array_get(want, (size_t)k));
        if (!same)
            fail_msg("%s: other ids for '%s'", name, json_string_value(text));
    }
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

static void test_golden(void **state) {
    (void)state;
    json_error_t je;
    json_t *all = json_load_file("tests/unit/data/tok_golden.json", JSON_ALLOW_NUL, &je);
    const char *name;
    json_t *rows;
    int n = 0;
    assert_non_null(all);
    json_object_foreach(all, name, rows) {
        if (!json_is_array(rows))
            continue;
        check_golden(name, rows);
        n++;
    }
    json_decref(all);
    assert_int_equal(n, 6);
}

#define BYTE_PRE "'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'use_regex':true}"
#define META_NORM "'normalizer':{'type':'Sequence','normalizers':[{'type':'Replace','pattern':{'String':' '},'content':'\xE2\x96\x81'}]}"

static ed_status load(const char *text, ed_tokenizer **t, ed_error *e) {
    size_t n = strlen(text);
    char *copy = malloc(n); /* exact size: reads past the end show under ASan */
    assert_non_null(copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    memset(e, 0, sizeof *e);
    ed_status s = ed_tokenizer_load_memory("tokenizer.json", copy, n, t, e);
    free(copy);
    return s;
}

typedef struct refusal {
    ed_status status;
    const char *part; /* must stand in the message */
    const char *text;
} refusal;

static const refusal refusals[] = {
    {ED_E_FORMAT, "", ""},
    {ED_E_FORMAT, "model", "[]"},
    {ED_E_FORMAT, "model", "{}"},
    {ED_E_FORMAT, "model", "{'model':[]}"},
    {ED_E_UNSUPPORTED, "WordPiece", "{'model':{'type':'WordPiece','vocab':{'a':0}}}"},
    {ED_E_UNSUPPORTED, "BertNormalizer", "{'normalizer':{'type':'BertNormalizer'},'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "NFC", "{'normalizer':{'type':'Sequence','normalizers':[{'type':'Lowercase'},{'type':'NFC'}]},'model':{'type':'BPE','vocab':{'a':0}}}"},
    {ED_E_UNSUPPORTED, "Whitespace", "{'pre_tokenizer':{'type':'Whitespace'},'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "several", "{'pre_tokenizer':{'type':'Sequence','pretokenizers':[{'type':'Digits'},{'type':'ByteLevel'}]},'model':{'type':'BPE','vocab':{'a':0}}}"},
    {ED_E_UNSUPPORTED, "prepend_scheme", "{'pre_tokenizer':{'type':'Metaspace','replacement':'\xE2\x96\x81','prepend_scheme':'always'},'model':{'type':'BPE','vocab':{'a':0}}}"},
    {ED_E_UNSUPPORTED, "WordPiece", "{'decoder':{'type':'WordPiece'},'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "RobertaProcessing", "{'post_processor':{'type':'RobertaProcessing'},'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "truncation", "{'truncation':{'max_length':5},'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "dropout", "{'model':{'type':'BPE','dropout':0.1,'vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "end_of_word_suffix", "{'model':{'type':'BPE','end_of_word_suffix':'</w>','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "not special", "{'added_tokens':[{'id':1,'content':'x','special':false}],'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_UNSUPPORTED, "lstrip", "{'added_tokens':[{'id':1,'content':'x','special':true,'lstrip':true}],'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_FORMAT, "no vocab", "{'model':{'type':'BPE','merges':[]}}"},
    {ED_E_FORMAT, "no vocab", "{'model':{'type':'BPE','vocab':[['a',0]],'merges':[]}}"},
    {ED_E_FORMAT, "empty", "{'model':{'type':'BPE','vocab':{},'merges':[]}}"},
    {ED_E_FORMAT, "same id", "{'model':{'type':'BPE','vocab':{'a':0,'b':0},'merges':[]}}"},
    {ED_E_FORMAT, "hole", "{'model':{'type':'BPE','vocab':{'a':0,'b':2},'merges':[]}}"},
    {ED_E_FORMAT, "integer in", "{'model':{'type':'BPE','vocab':{'a':-1},'merges':[]}}"},
    {ED_E_FORMAT, "integer in", "{'model':{'type':'BPE','vocab':{'a':4294967296},'merges':[]}}"},
    {ED_E_FORMAT, "", "{'model':{'type':'BPE','vocab':{'a':99999999999999999999999},'merges':[]}}"},
    {ED_E_FORMAT, "integer in", "{'model':{'type':'BPE','vocab':{'a':0.0},'merges':[]}}"},
    {ED_E_FORMAT, "integer in", "{'model':{'type':'BPE','vocab':{'a':'0'},'merges':[]}}"},
    {ED_E_FORMAT, "", "{'model':{'type':'BPE','vocab':{'a\\u0000':0},'merges':[]}}"},
    {ED_E_FORMAT, "twice", "{'added_tokens':[{'id':1,'content':'a','special':true}],'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_FORMAT, "same id", "{'added_tokens':[{'id':0,'content':'b','special':true}],'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_FORMAT, "byte 0x00", "{" BYTE_PRE ",'model':{'type':'BPE','vocab':{'a':0},'merges':[]}}"},
    {ED_E_FORMAT, "alphabet", "{" BYTE_PRE ",'model':{'type':'BPE','vocab':{'a b':0},'merges':[]}}"},
    {ED_E_FORMAT, "not in the vocabulary", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0,'b':1},'merges':[['a','b']]}}"},
    {ED_E_FORMAT, "not in the vocabulary", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0,'ab':1},'merges':['a b']}}"},
    {ED_E_FORMAT, "twice", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0,'b':1,'ab':2},'merges':['a b','a b']}}"},
    {ED_E_FORMAT, "not two", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0},'merges':['a']}}"},
    {ED_E_FORMAT, "not two", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0},'merges':['a a a']}}"},
    {ED_E_FORMAT, "not two", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0},'merges':[['a']]}}"},
    {ED_E_FORMAT, "not two", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0},'merges':[7]}}"},
    {ED_E_FORMAT, "merges", "{" META_NORM ",'model':{'type':'BPE','vocab':{'a':0},'merges':{}}}"},
    {ED_E_FORMAT, "unk_token", "{" META_NORM ",'model':{'type':'BPE','unk_token':'u','vocab':{'a':0},'merges':[]}}"},
    {ED_E_FORMAT, "unk_id", "{" META_NORM ",'model':{'type':'Unigram','unk_id':1,'vocab':[['a',-1.0]]}}"},
    {ED_E_FORMAT, "unk_id", "{" META_NORM ",'model':{'type':'Unigram','unk_id':-1,'vocab':[['a',-1.0]]}}"},
    {ED_E_FORMAT, "row 0", "{" META_NORM ",'model':{'type':'Unigram','vocab':[['a']]}}"},
    {ED_E_FORMAT, "row 1", "{" META_NORM ",'model':{'type':'Unigram','vocab':[['a',-1],['b','-1']]}}"},
    {ED_E_FORMAT, "twice", "{" META_NORM ",'model':{'type':'Unigram','vocab':[['a',-1],['a',-2]]}}"},
    {ED_E_FORMAT, "template", "{'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'a'}},{'Sequence':{'id':'A'}}]},'model':{'type':'BPE','vocab':{'a':0}}}"},
    {ED_E_FORMAT, "template", "{'post_processor':{'type':'TemplateProcessing','single':[]},'model':{'type':'BPE','vocab':{'a':0}}}"},
};

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        ed_tokenizer *t = NULL;
        ed_error e;
        ed_status s = load(refusals[i].text, &t, &e);
        if (s != refusals[i].status || !strstr(e.message, refusals[i].part) || !e.message[0] || t)
            fail_msg("%s\n  gave %s: %s", refusals[i].text, ed_status_name(s), e.message);
        assert_string_equal(e.where, "tokenizer.json");
    }
}

/* Merges that would spell a special or a byte piece do not work; neither does the piece itself. */
static void test_specials_cannot_be_spelt(void **state) {
    (void)state;
    ed_tokenizer *t = NULL;
    ed_error e;
    ed_token_ids ids = {0};
    const char *bpe = "{" META_NORM ",'added_tokens':[{'id':3,'content':'ab','special':true}],"
                      "'model':{'type':'BPE','unk_token':'u','vocab':{'a':0,'b':1,'u':2,'ab':3},'merges':['a b']}}";
    check_ok(load(bpe, &t, &e), &e);
    check_ok(ed_tokenizer_encode(t, "ab", 2, 0, &ids, &e), &e);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.ids[0], 0);
    ids.n = 0;
    check_ok(ed_tokenizer_encode(t, "u", 1, 0, &ids, &e), &e); /* the unknown token, but as unknown, not as the letter */
    assert_int_equal(ids.n, 1);
    assert_true(ed_tokenizer_flags(t, ids.ids[0]) & ED_TOKEN_SPECIAL);
    ed_tokenizer_destroy(&t);
    const char *uni = "{" META_NORM ",'added_tokens':[{'id':2,'content':'ab','special':true}],"
                      "'model':{'type':'Unigram','unk_id':null,'byte_fallback':true,'vocab':[['a',-5],['b',-5],['ab',0],['<0x41>',0],['<0x4g>',0],['<',-9],"
                      "['0',-9],['x',-9],['4',-9],['1',-9],['>',-9],['g',-9]]}}";
    check_ok(load(uni, &t, &e), &e);
    ids.n = 0;
    check_ok(ed_tokenizer_encode(t, "ab<0x41>", 8, 0, &ids, &e), &e);
    assert_int_equal(ids.n, 8);
    ids.n = 0;
    check_ok(ed_tokenizer_encode(t, "A<0x4g>", 7, 0, &ids, &e), &e); /* A is a byte; '<0x4g>' is no byte piece but an ordinary one */
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.ids[0], 3);
    assert_int_equal(ids.ids[1], 4);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

/* Without pre_tokenizer a piece may have spaces inside; with one it may not match across words. By hand: a|_|b|_|_|a, ranks __ < a_ < a_b. */
static void test_spaces_inside_pieces(void **state) {
    (void)state;
    const char *model = "'model':{'type':'BPE','vocab':{'\xE2\x96\x81':0,'a':1,'b':2,'\xE2\x96\x81\xE2\x96\x81':3,'a\xE2\x96\x81':4,'a\xE2\x96\x81""b':5},"
                        "'merges':['\xE2\x96\x81 \xE2\x96\x81','a \xE2\x96\x81','a\xE2\x96\x81 b']}}";
    const char *pre = "'pre_tokenizer':{'type':'Metaspace','replacement':'\xE2\x96\x81','prepend_scheme':'never','split':true},";
    int32_t whole[] = {5, 3, 1}, cut[] = {1, 0, 2, 0, 0, 1};
    for (int split = 0; split < 2; split++) {
        char text[1024];
        ed_tokenizer *t = NULL;
        ed_error e;
        ed_token_ids ids = {0};
        snprintf(text, sizeof text, "{" META_NORM ",%s%s", split ? pre : "", model);
        check_ok(load(text, &t, &e), &e);
        check_ok(ed_tokenizer_encode(t, "a b  a", 6, 0, &ids, &e), &e);
        assert_int_equal(ids.n, split ? 6 : 3);
        assert_memory_equal(ids.ids, split ? cut : whole, (size_t)ids.n * sizeof *ids.ids);
        ed_token_ids_deinit(&ids);
        ed_tokenizer_destroy(&t);
    }
}

static void test_extreme_scores_and_long_pieces(void **state) {
    (void)state;
    ed_tokenizer *t = NULL;
    ed_error e;
    ed_token_ids ids = {0};
    const char *huge = "{" META_NORM ",'model':{'type':'Unigram','unk_id':0,'vocab':[['u',1e308],['a',-1e308],['b',1e308],['ab',1e300]]}}";
    check_ok(load(huge, &t, &e), &e);
    check_ok(ed_tokenizer_encode(t, "abababcab", 9, 0, &ids, &e), &e);
    assert_true(ids.n >= 1);
    check_save_load(t);
    ed_tokenizer_destroy(&t);
    char text[2600] = "{" META_NORM ",'model':{'type':'Unigram','unk_id':null,'vocab':[['";
    size_t n = strlen(text);
    memset(text + n, 'x', 1025);
    memcpy(text + n + 1025, "',-1]]}}", 9);
    assert_int_equal(load(text, &t, &e), ED_E_FORMAT);
    memcpy(text + n + 1024, "',-1]]}}", 9);
    check_ok(load(text, &t, &e), &e);
    ed_token_ids_deinit(&ids);
    ed_tokenizer_destroy(&t);
}

/* Names of special tokens that nobody could guess come from the files beside. */
static void test_roles_from_side_files(void **state) {
    (void)state;
    ed_tokenizer_train_opts o = ed_tokenizer_train_opts_default();
    ed_tokenizer *t = NULL;
    ed_error e = {0};
    o.vocab_size = 300;
    o.pad = (char *)"@@p\"\\";
    o.eos = (char *)"@@e\n";
    o.unk = (char *)"@@u";
    o.bos = (char *)"@@b\x7F";
    o.extra = (char *)"@@0,@@1";
    o.add_bos = true;
    check_ok(ed_tokenizer_train_text(&o, "abc abc", 7, (ed_progress){0}, &t, &e), &e);
    assert_int_equal(ed_tokenizer_id(t, "@@1", 3), 5);
    check_save_load(t);
    ed_tokenizer_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_specials_cannot_be_spelt),
        cmocka_unit_test(test_spaces_inside_pieces),
        cmocka_unit_test(test_extreme_scores_and_long_pieces),
        cmocka_unit_test(test_roles_from_side_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
