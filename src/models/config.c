/* models/config.c - the config of transformer models: defaults, option table, checks. */
#include "models/model.h"

#include <math.h>

#define FIELD(f) offsetof(ed_model_config, f)
#define BIG 1e9

static const char *const kinds[] = {"encoder-decoder", "decoder", "encoder", NULL};
static const char *const norms[] = {"layer", "rms", NULL};
static const char *const places[] = {"pre", "post", NULL};
static const char *const ropes[] = {"half", "interleaved", NULL};
/* order of ed_unary */
static const char *const activations[] = {"neg",  "abs",  "exp",        "log", "log1p", "sqrt",      "rsqrt",    "square",   "sin",   "cos", "tanh",
                                          "sigmoid", "erf", "relu", "leaky_relu", "elu", "silu", "gelu_tanh", "gelu_erf", "softplus", "round", NULL};

static const ed_option table[] = {
    {"kind", ED_OPT_ENUM, FIELD(kind), 0, 0, kinds, "KIND", "encoder-decoder, decoder or encoder", 0},
    {"vocab_size", ED_OPT_INT, FIELD(vocab_size), 0, BIG, NULL, "N", "size of the vocabulary (0: the tokenizer's)", 0},
    {"d_model", ED_OPT_INT, FIELD(d_model), 1, 1 << 20, NULL, "N", "width of the stream", 0},
    {"d_ff", ED_OPT_INT, FIELD(d_ff), 1, 1 << 22, NULL, "N", "width of the MLP's hidden layer", 0},
    {"n_heads", ED_OPT_INT, FIELD(n_heads), 1, 4096, NULL, "N", "attention heads", 0},
    {"n_kv_heads", ED_OPT_INT, FIELD(n_kv_heads), 0, 4096, NULL, "N", "key/value heads (0: as many as heads)", 0},
    {"head_dim", ED_OPT_INT, FIELD(head_dim), 0, 1 << 16, NULL, "N", "numbers per head (0: d_model / n_heads)", 0},
    {"encoder_layers", ED_OPT_INT, FIELD(encoder_layers), 0, 4096, NULL, "N", "blocks of the encoder", 0},
    {"decoder_layers", ED_OPT_INT, FIELD(decoder_layers), 0, 4096, NULL, "N", "blocks of the decoder", 0},
    {"max_positions", ED_OPT_INT, FIELD(max_positions), 1, 1 << 24, NULL, "N", "longest sequence", 0},
    {"norm", ED_OPT_ENUM, FIELD(norm), 0, 0, norms, "KIND", "layer or rms", 0},
    {"norm_place", ED_OPT_ENUM, FIELD(norm_place), 0, 0, places, "PLACE", "pre (before each sublayer) or post", 0},
    {"norm_eps", ED_OPT_FLOAT, FIELD(norm_eps), 0, 1, NULL, "X", "epsilon of the norms", 0},
    {"activation", ED_OPT_ENUM, FIELD(activation), 0, 0, activations, "NAME", "activation of the MLP", 0},
    {"gated_mlp", ED_OPT_BOOL, FIELD(gated_mlp), 0, 0, NULL, NULL, "act(gate) * up in place of act(up)", 0},
    {"position", ED_OPT_STRING, FIELD(position), 0, 0, NULL, "NAMES", "none, learned, sinusoidal, rope, alibi, t5, relative, urpe; several joined by '+'", 0},
    {"rope_theta", ED_OPT_FLOAT, FIELD(rope_theta), 1, 1e12, NULL, "X", "base of the rotary frequencies", 0},
    {"rope_scale", ED_OPT_FLOAT, FIELD(rope_scale), 1e-6, 1e6, NULL, "X", "factor on rotary positions", 0},
    {"rope_kind", ED_OPT_ENUM, FIELD(rope_kind), 0, 0, ropes, "KIND", "pairs (i, i + d/2): half; (2i, 2i + 1): interleaved", 0},
    {"rotary_dims", ED_OPT_INT, FIELD(rotary_dims), 0, 1 << 16, NULL, "N", "rotated numbers per head (0: all)", 0},
    {"position_offset", ED_OPT_INT, FIELD(position_offset), 0, 1 << 20, NULL, "N", "added to absolute positions", 0},
    {"relative_max", ED_OPT_INT, FIELD(relative_max), 1, 1 << 20, NULL, "N", "furthest offset with its own entry in relative tables", 0},
    {"relative_buckets", ED_OPT_INT, FIELD(relative_buckets), 2, 1 << 16, NULL, "N", "buckets of T5 positions", 0},
    {"share_position_tables", ED_OPT_BOOL, FIELD(share_position_tables), 0, 0, NULL, NULL, "one relative table for all layers", 0},
    {"scale_embedding", ED_OPT_BOOL, FIELD(scale_embedding), 0, 0, NULL, NULL, "multiply embeddings by sqrt(d_model)", 0},
    {"embedding_norm", ED_OPT_BOOL, FIELD(embedding_norm), 0, 0, NULL, NULL, "norm after the embeddings", 0},
    {"tie_embeddings", ED_OPT_BOOL, FIELD(tie_embeddings), 0, 0, NULL, NULL, "output layer = embedding table", 0},
    {"tie_encoder_decoder", ED_OPT_BOOL, FIELD(tie_encoder_decoder), 0, 0, NULL, NULL, "one embedding table for both sides", 0},
    {"attention_bias", ED_OPT_BOOL, FIELD(attention_bias), 0, 0, NULL, NULL, "biases of q, k and v", 0},
    {"output_bias", ED_OPT_BOOL, FIELD(output_bias), 0, 0, NULL, NULL, "bias of the attention's output", 0},
    {"mlp_bias", ED_OPT_BOOL, FIELD(mlp_bias), 0, 0, NULL, NULL, "biases of the MLP", 0},
    {"norm_bias", ED_OPT_BOOL, FIELD(norm_bias), 0, 0, NULL, NULL, "biases of layer norms", 0},
    {"softcap", ED_OPT_FLOAT, FIELD(softcap), 0, 1e6, NULL, "X", "soft cap of attention scores (0: off)", 0},
    {"attention_scale", ED_OPT_FLOAT, FIELD(attention_scale), 0, 1e6, NULL, "X", "factor on scores (0: 1/sqrt(head_dim))", 0},
    {"dropout", ED_OPT_FLOAT, FIELD(dropout), 0, 0.99, NULL, "P", "dropout of embeddings and sublayer outputs", 0},
    {"attention_dropout", ED_OPT_FLOAT, FIELD(attention_dropout), 0, 0.99, NULL, "P", "dropout of attention weights", 0},
    {"activation_dropout", ED_OPT_FLOAT, FIELD(activation_dropout), 0, 0.99, NULL, "P", "dropout inside the MLP", 0},
    {"init_std", ED_OPT_FLOAT, FIELD(init_std), 0, 10, NULL, "X", "normal initialisation (0: Xavier)", 0},
    {"type_vocab", ED_OPT_INT, FIELD(type_vocab), 0, 1 << 16, NULL, "N", "segment types of an encoder", 0},
    {"pad_id", ED_OPT_INT, FIELD(pad_id), -1, BIG, NULL, "ID", "padding token", 0},
    {"bos_id", ED_OPT_INT, FIELD(bos_id), -1, BIG, NULL, "ID", "begin of sequence", 0},
    {"eos_id", ED_OPT_INT, FIELD(eos_id), -1, BIG, NULL, "ID", "end of sequence", 0},
    {"unk_id", ED_OPT_INT, FIELD(unk_id), -1, BIG, NULL, "ID", "unknown token", 0},
    {"decoder_start_id", ED_OPT_INT, FIELD(decoder_start_id), -1, BIG, NULL, "ID", "first token of the decoder", 0},
};

const ed_option *ed_model_options(size_t *n) {
    *n = sizeof table / sizeof *table;
    return table;
}

ed_model_config ed_model_config_default(void) {
    return (ed_model_config){.kind = ED_MODEL_ENCDEC, .d_model = 256, .d_ff = 1024, .n_heads = 4, .encoder_layers = 6, .decoder_layers = 6,
                             .max_positions = 512, .norm = ED_NORM_LAYER, .norm_place = ED_NORM_PRE, .norm_eps = 1e-5, .activation = ED_RELU,
                             .rope_theta = 10000, .rope_scale = 1, .rope_kind = ED_ROPE_HALF, .relative_max = 128, .relative_buckets = 32,
                             .scale_embedding = true, .tie_embeddings = true, .tie_encoder_decoder = true, .attention_bias = true, .output_bias = true,
                             .mlp_bias = true, .norm_bias = true, .dropout = 0.1, .pad_id = -1, .bos_id = -1, .eos_id = -1, .unk_id = -1,
                             .decoder_start_id = -1};
}

void ed_model_config_deinit(ed_model_config *c) {
    ed_options_release(table, sizeof table / sizeof *table, c);
}

ed_status ed_model_config_copy(const ed_model_config *from, ed_model_config *to) {
    *to = *from;
    to->position = ed__strdup(ed__position(from));
    return to->position ? ED_OK : ED_E_MEMORY;
}

const char *ed__position(const ed_model_config *c) {
    return c->position ? c->position : c->kind == ED_MODEL_DECODER ? "rope" : "sinusoidal";
}

int64_t ed__head_dim(const ed_model_config *c) {
    return c->head_dim ? c->head_dim : c->d_model / c->n_heads;
}

int64_t ed__kv_heads(const ed_model_config *c) {
    return c->n_kv_heads ? c->n_kv_heads : c->n_heads;
}

static ed_status check_ids(const ed_model_config *c, ed_error *err) {
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"pad_id", c->pad_id}, {"bos_id", c->bos_id}, {"eos_id", c->eos_id}, {"unk_id", c->unk_id}, {"decoder_start_id", c->decoder_start_id}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        ED_FAIL_IF(ids[i].id >= c->vocab_size, ED_E_RANGE, err, "%s is %lld, but the vocabulary has %lld entries", ids[i].name, (long long)ids[i].id,
                   (long long)c->vocab_size);
    return ED_OK;
}

ed_status ed_model_config_check(const ed_model_config *c, ed_error *err) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *field = (const char *)c + table[i].offset;
        double v = 0;
        if (table[i].type == ED_OPT_INT)
            v = (double)*(const int64_t *)(const void *)field;
        else if (table[i].type == ED_OPT_FLOAT)
            v = *(const double *)(const void *)field;
        else
            continue;
        ED_FAIL_IF(!(v >= table[i].min && v <= table[i].max), ED_E_RANGE, err, "%s is %g; allowed is %g to %g", table[i].key, v, table[i].min, table[i].max);
    }
    ED_FAIL_IF(c->vocab_size < 1, ED_E_RANGE, err, "vocab_size is %lld; a model needs at least one token", (long long)c->vocab_size);
    ED_FAIL_IF(!c->head_dim && c->d_model % c->n_heads, ED_E_SHAPE, err, "d_model %lld is not a multiple of n_heads %lld", (long long)c->d_model,
               (long long)c->n_heads);
    ED_FAIL_IF(c->n_heads % ed__kv_heads(c), ED_E_SHAPE, err, "n_heads %lld is not a multiple of n_kv_heads %lld", (long long)c->n_heads,
               (long long)ed__kv_heads(c));
    ED_FAIL_IF(c->kind != ED_MODEL_DECODER && c->encoder_layers < 1, ED_E_RANGE, err, "a model of this kind needs encoder_layers >= 1");
    ED_FAIL_IF(c->kind != ED_MODEL_ENCODER && c->decoder_layers < 1, ED_E_RANGE, err, "a model of this kind needs decoder_layers >= 1");
    ED_FAIL_IF(c->rotary_dims > ed__head_dim(c) || c->rotary_dims % 2, ED_E_RANGE, err, "rotary_dims %lld must be even and at most head_dim %lld",
               (long long)c->rotary_dims, (long long)ed__head_dim(c));
    ED_FAIL_IF(c->activation < 0 || c->activation >= ED_UNARY_COUNT, ED_E_RANGE, err, "activation %d is unknown", c->activation);
    ED_TRY(ed__positions_check(ed__position(c), err));
    return check_ids(c, err);
}
