/* models/config_json.c - config.json: Hugging Face's keys for the three families, and everything they cannot say under the key "endec".
 *
 * Reading: `model_type` selects the family's key table, which fills fields; then "endec", when present, sets fields by their option names and wins. Writing
 * does the reverse, so that a config goes out and comes back unchanged, and the family's own tools find the keys they know. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "models/model.h"

typedef enum key_type { KEY_INT, KEY_FLOAT, KEY_BOOL, KEY_ACT } key_type;
typedef struct key_row {
    const char *key;
    key_type type;
    size_t offset;
} key_row;
#define FIELD(f) offsetof(ed_model_config, f)

static const key_row m2m_keys[] = {
    {"vocab_size", KEY_INT, FIELD(vocab_size)}, {"d_model", KEY_INT, FIELD(d_model)}, {"encoder_ffn_dim", KEY_INT, FIELD(d_ff)},
    {"decoder_ffn_dim", KEY_INT, FIELD(d_ff)}, {"encoder_attention_heads", KEY_INT, FIELD(n_heads)}, {"decoder_attention_heads", KEY_INT, FIELD(n_heads)},
    {"encoder_layers", KEY_INT, FIELD(encoder_layers)}, {"decoder_layers", KEY_INT, FIELD(decoder_layers)},
    {"max_position_embeddings", KEY_INT, FIELD(max_positions)}, {"activation_function", KEY_ACT, FIELD(activation)}, {"dropout", KEY_FLOAT, FIELD(dropout)},
    {"attention_dropout", KEY_FLOAT, FIELD(attention_dropout)}, {"activation_dropout", KEY_FLOAT, FIELD(activation_dropout)},
    {"scale_embedding", KEY_BOOL, FIELD(scale_embedding)}, {"tie_word_embeddings", KEY_BOOL, FIELD(tie_embeddings)}, {"pad_token_id", KEY_INT, FIELD(pad_id)},
    {"bos_token_id", KEY_INT, FIELD(bos_id)}, {"eos_token_id", KEY_INT, FIELD(eos_id)}, {"decoder_start_token_id", KEY_INT, FIELD(decoder_start_id)},
};
static const key_row llama_keys[] = {
    {"vocab_size", KEY_INT, FIELD(vocab_size)}, {"hidden_size", KEY_INT, FIELD(d_model)}, {"intermediate_size", KEY_INT, FIELD(d_ff)},
    {"num_attention_heads", KEY_INT, FIELD(n_heads)}, {"num_key_value_heads", KEY_INT, FIELD(n_kv_heads)}, {"head_dim", KEY_INT, FIELD(head_dim)},
    {"num_hidden_layers", KEY_INT, FIELD(decoder_layers)}, {"max_position_embeddings", KEY_INT, FIELD(max_positions)}, {"hidden_act", KEY_ACT, FIELD(activation)},
    {"rms_norm_eps", KEY_FLOAT, FIELD(norm_eps)}, {"rope_theta", KEY_FLOAT, FIELD(rope_theta)}, {"attention_bias", KEY_BOOL, FIELD(attention_bias)},
    {"attention_bias", KEY_BOOL, FIELD(output_bias)}, {"mlp_bias", KEY_BOOL, FIELD(mlp_bias)}, {"tie_word_embeddings", KEY_BOOL, FIELD(tie_embeddings)},
    {"attention_dropout", KEY_FLOAT, FIELD(attention_dropout)}, {"pad_token_id", KEY_INT, FIELD(pad_id)}, {"bos_token_id", KEY_INT, FIELD(bos_id)},
    {"eos_token_id", KEY_INT, FIELD(eos_id)},
};
static const key_row bert_keys[] = {
    {"vocab_size", KEY_INT, FIELD(vocab_size)}, {"hidden_size", KEY_INT, FIELD(d_model)}, {"intermediate_size", KEY_INT, FIELD(d_ff)},
    {"num_attention_heads", KEY_INT, FIELD(n_heads)}, {"num_hidden_layers", KEY_INT, FIELD(encoder_layers)},
    {"max_position_embeddings", KEY_INT, FIELD(max_positions)}, {"hidden_act", KEY_ACT, FIELD(activation)}, {"layer_norm_eps", KEY_FLOAT, FIELD(norm_eps)},
    {"type_vocab_size", KEY_INT, FIELD(type_vocab)}, {"hidden_dropout_prob", KEY_FLOAT, FIELD(dropout)},
    {"attention_probs_dropout_prob", KEY_FLOAT, FIELD(attention_dropout)}, {"pad_token_id", KEY_INT, FIELD(pad_id)},
};

typedef struct family {
    const char *model_type, *architecture;
    const key_row *keys;
    size_t n;
} family;
/* order of ed_model_kind */
static const family families[] = {
    {"m2m_100", "M2M100ForConditionalGeneration", m2m_keys, sizeof m2m_keys / sizeof *m2m_keys},
    {"llama", "LlamaForCausalLM", llama_keys, sizeof llama_keys / sizeof *llama_keys},
    {"bert", "BertModel", bert_keys, sizeof bert_keys / sizeof *bert_keys},
};

/** Names of activations in config.json files. */
static const struct {
    const char *name;
    ed_unary kind;
} acts[] = {{"relu", ED_RELU}, {"gelu", ED_GELU_ERF}, {"gelu_new", ED_GELU_TANH}, {"gelu_pytorch_tanh", ED_GELU_TANH}, {"silu", ED_SILU}, {"swish", ED_SILU},
            {"tanh", ED_TANH}, {"sigmoid", ED_SIGMOID}, {"elu", ED_ELU}};

/** What a family takes for granted: the config before its keys are read. */
static ed_model_config family_defaults(int kind) {
    ed_model_config c = ed_model_config_default();
    c.kind = kind;
    c.dropout = 0;
    if (kind == ED_MODEL_DECODER) {
        c.norm = ED_NORM_RMS, c.norm_eps = 1e-6, c.activation = ED_SILU, c.gated_mlp = true, c.scale_embedding = false, c.encoder_layers = 0;
        c.attention_bias = c.output_bias = c.mlp_bias = c.norm_bias = c.tie_embeddings = false;
    } else if (kind == ED_MODEL_ENCODER) {
        c.norm_place = ED_NORM_POST, c.embedding_norm = true, c.scale_embedding = false, c.activation = ED_GELU_ERF, c.norm_eps = 1e-12, c.decoder_layers = 0;
        c.type_vocab = 2;
    }
    return c;
}

static const char *default_position(int kind) {
    return kind == ED_MODEL_DECODER ? "rope" : kind == ED_MODEL_ENCODER ? "learned" : "sinusoidal";
}

/* ------------------------------------------------------------------ reading */

static ed_status read_act(const json_t *j, const key_row *k, int *out, const char *where, ed_error *err) {
    const char *name = NULL;
    ED_TRY(ed__json_str(j, k->key, &name, where, err));
    if (!name)
        return ED_OK;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        if (strcmp(acts[i].name, name) == 0) {
            *out = acts[i].kind;
            return ED_OK;
        }
    }
    return ed_error_set(err, ED_E_UNSUPPORTED, where, ED_NO_OFFSET, "%s: activation '%s' is not known", k->key, name);
}

static ed_status read_key(const json_t *j, const key_row *k, ed_model_config *c, const char *where, ed_error *err) {
    void *field = (char *)c + k->offset;
    if (json_is_null(json_object_get(j, k->key)))
        return ED_OK;
    switch (k->type) {
    case KEY_INT: return ed__json_int(j, k->key, -1, (int64_t)1 << 40, field, where, err);
    case KEY_FLOAT: return ed__json_float(j, k->key, -1e30, 1e30, field, where, err);
    case KEY_BOOL: return ed__json_bool(j, k->key, field, where, err);
    case KEY_ACT: return read_act(j, k, field, where, err);
    }
    return ED_OK;
}

static ed_status read_extra(json_t *extra, ed_model_config *c, const char *where, ed_error *err) {
    size_t n;
    const ed_option *table = ed_model_options(&n);
    const char *key;
    json_t *v;
    ED_FAIL_IF(!json_is_object(extra), ED_E_FORMAT, err, "%s: \"endec\" is not an object", where);
    json_object_foreach(extra, key, v) {
        char text[512];
        const ed_option *o = ed_option_find(table, n, key);
        if (!o)
            return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "endec.%s is not a known key", key);
        if (json_is_string(v))
            snprintf(text, sizeof text, "%s", json_string_value(v));
        else if (json_is_boolean(v))
            snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
        else if (json_is_integer(v))
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
        else if (json_is_real(v))
            snprintf(text, sizeof text, "%.17g", json_real_value(v));
        else
            return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "endec.%s has a value of the wrong type", key);
        ED_TRY(ed_option_set(o, c, text, err));
    }
    return ED_OK;
}

static ed_status family_of(const json_t *j, const char *where, int *kind, ed_error *err) {
    const char *type = NULL;
    ED_TRY(ed__json_str(j, "model_type", &type, where, err));
    if (!type)
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "model_type is missing");
    for (int i = 0; i < (int)(sizeof families / sizeof *families); i++) {
        if (strcmp(families[i].model_type, type) == 0) {
            *kind = i;
            return ED_OK;
        }
    }
    return ed_error_set(err, ED_E_UNSUPPORTED, where, ED_NO_OFFSET, "model_type '%s' is not supported (m2m_100, llama, bert)", type);
}

static ed_status parse(const char *where, const json_t *j, ed_model_config *c, ed_error *err) {
    int kind = 0;
    ED_TRY(family_of(j, where, &kind, err));
    *c = family_defaults(kind);
    for (size_t i = 0; i < families[kind].n; i++)
        ED_TRY(read_key(j, &families[kind].keys[i], c, where, err));
    if (kind == ED_MODEL_ENCDEC)
        c->position_offset = c->pad_id + 1;
    json_t *extra = json_object_get(j, "endec");
    if (extra)
        ED_TRY(read_extra(extra, c, where, err));
    if (!c->position && !(c->position = ed__strdup(default_position(kind))))
        return ed_error_set(err, ED_E_MEMORY, where, ED_NO_OFFSET, "no memory for a config");
    ed_error inner = {0};
    ed_status s = ed_model_config_check(c, &inner);
    return s == ED_OK ? ED_OK : ed_error_set(err, s, where, ED_NO_OFFSET, "%s", inner.message);
}

ed_status ed_model_config_parse(const char *where, const char *text, size_t n, ed_model_config *out, ed_error *err) {
    json_t *j = NULL;
    ED_TRY(ed__json_parse(where, text, n, &j, err));
    ed_status s = json_is_object(j) ? ED_OK : ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "config is not a JSON object");
    memset(out, 0, sizeof *out);
    if (s == ED_OK)
        s = parse(where, j, out, err);
    json_decref(j);
    if (s != ED_OK)
        ed_model_config_deinit(out);
    return s;
}

/* ------------------------------------------------------------------ writing */

static json_t *act_json(int kind) {
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if ((int)acts[i].kind == kind)
            return json_string(acts[i].name);
    return json_string("relu"); /* the true name stands under "endec" */
}

static bool act_known(int kind) {
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if ((int)acts[i].kind == kind)
            return true;
    return false;
}

static void write_key(json_t *j, const key_row *k, const ed_model_config *c) {
    const void *field = (const char *)c + k->offset;
    switch (k->type) {
    case KEY_INT: {
        int64_t v = *(const int64_t *)field;
        if (k->offset == FIELD(n_kv_heads))
            v = ed__kv_heads(c);
        if (k->offset == FIELD(head_dim))
            v = ed__head_dim(c);
        bool id = strstr(k->key, "_token_id") != NULL;
        json_object_set_new(j, k->key, id && v < 0 ? json_null() : json_integer(v));
        break;
    }
    case KEY_FLOAT: json_object_set_new(j, k->key, json_real(*(const double *)field)); break;
    case KEY_BOOL: json_object_set_new(j, k->key, json_boolean(*(const bool *)field)); break;
    case KEY_ACT: json_object_set_new(j, k->key, act_json(*(const int *)field)); break;
    }
}

static bool has_key(const family *f, size_t offset) {
    for (size_t i = 0; i < f->n; i++)
        if (f->keys[i].offset == offset)
            return true;
    return false;
}

/** Fields that the family's keys do not carry and that differ from its defaults. */
static json_t *extra_json(const ed_model_config *c) {
    const family *f = &families[c->kind];
    ed_model_config base = family_defaults(c->kind);
    json_t *extra = json_object();
    size_t n;
    const ed_option *table = ed_model_options(&n);
    if (c->kind == ED_MODEL_ENCDEC)
        base.position_offset = c->pad_id + 1;
    for (size_t i = 0; i < n; i++) {
        char a[512], b[512];
        bool act = table[i].offset == FIELD(activation) && !act_known(c->activation);
        if (table[i].offset == FIELD(position) || table[i].offset == FIELD(kind) || (has_key(f, table[i].offset) && !act))
            continue;
        ed_option_get(&table[i], c, a, sizeof a);
        ed_option_get(&table[i], &base, b, sizeof b);
        if (strcmp(a, b) != 0)
            json_object_set_new(extra, table[i].key, json_string(a));
    }
    if (strcmp(ed__position(c), default_position(c->kind)) != 0)
        json_object_set_new(extra, "position", json_string(ed__position(c)));
    return extra;
}

static const char *torch_dtype(ed_dtype d) {
    return d == ED_DTYPE_BF16 ? "bfloat16" : d == ED_DTYPE_F16 ? "float16" : d == ED_DTYPE_F64 ? "float64" : "float32";
}

ed_status ed_model_config_json(const ed_model_config *c, ed_dtype weights, char **text, ed_error *err) {
    const family *f = &families[c->kind];
    json_t *j = json_object(), *extra = extra_json(c);
    json_object_set_new(j, "architectures", json_pack("[s]", f->architecture));
    json_object_set_new(j, "model_type", json_string(f->model_type));
    json_object_set_new(j, "torch_dtype", json_string(torch_dtype(weights)));
    for (size_t i = 0; i < f->n; i++)
        write_key(j, &f->keys[i], c);
    if (c->kind == ED_MODEL_ENCDEC) {
        json_object_set_new(j, "is_encoder_decoder", json_true());
        json_object_set_new(j, "num_hidden_layers", json_integer(c->encoder_layers));
        json_object_set_new(j, "encoder_layerdrop", json_integer(0));
        json_object_set_new(j, "decoder_layerdrop", json_integer(0));
    }
    if (json_object_size(extra) > 0)
        json_object_set(j, "endec", extra);
    json_decref(extra);
    char *s = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(j);
    *text = s ? ed__strdup(s) : NULL;
    free(s);
    return *text ? ED_OK : ed_error_set(err, ED_E_MEMORY, "config.json", ED_NO_OFFSET, "no memory for the config's text");
}

void ed_model_text_free(char **text) {
    ed__free(*text);
    *text = NULL;
}
