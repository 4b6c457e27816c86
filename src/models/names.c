/* models/names.c - parameter names as Hugging Face gives them. One column per family; "%d" is the layer, "{}" the stack (encoder or decoder). Which
 * family a config belongs to follows from its kind: m2m_100 (encoder-decoder), llama (decoder), bert (encoder). */
#include <stdio.h>

#include "models/model.h"

static const struct {
    const char *m2m, *llama, *bert;
} rows[ED__ROLE_COUNT] = {
    [ED__EMBED] = {"model.{}.embed_tokens", "model.embed_tokens", "embeddings.word_embeddings"},
    [ED__TYPES] = {"model.{}.embed_types", "model.embed_types", "embeddings.token_type_embeddings"},
    [ED__POSITIONS] = {"model.{}.embed_positions", "model.embed_positions", "embeddings.position_embeddings"},
    [ED__EMBED_NORM] = {"model.{}.layernorm_embedding", "model.embed_norm", "embeddings.LayerNorm"},
    [ED__FINAL_NORM] = {"model.{}.layer_norm", "model.norm", "encoder.norm"},
    [ED__HEAD] = {"lm_head", "lm_head", "cls.predictions.decoder"},
    [ED__SELF] = {"model.{}.layers.%d.self_attn", "model.layers.%d.self_attn", "encoder.layer.%d.attention.self"},
    [ED__SELF_Q] = {"model.{}.layers.%d.self_attn.q_proj", "model.layers.%d.self_attn.q_proj", "encoder.layer.%d.attention.self.query"},
    [ED__SELF_K] = {"model.{}.layers.%d.self_attn.k_proj", "model.layers.%d.self_attn.k_proj", "encoder.layer.%d.attention.self.key"},
    [ED__SELF_V] = {"model.{}.layers.%d.self_attn.v_proj", "model.layers.%d.self_attn.v_proj", "encoder.layer.%d.attention.self.value"},
    [ED__SELF_O] = {"model.{}.layers.%d.self_attn.out_proj", "model.layers.%d.self_attn.o_proj", "encoder.layer.%d.attention.output.dense"},
    [ED__SELF_NORM] = {"model.{}.layers.%d.self_attn_layer_norm", "model.layers.%d.input_layernorm", "encoder.layer.%d.attention.output.LayerNorm"},
    [ED__CROSS_Q] = {"model.{}.layers.%d.encoder_attn.q_proj", NULL, NULL},
    [ED__CROSS_K] = {"model.{}.layers.%d.encoder_attn.k_proj", NULL, NULL},
    [ED__CROSS_V] = {"model.{}.layers.%d.encoder_attn.v_proj", NULL, NULL},
    [ED__CROSS_O] = {"model.{}.layers.%d.encoder_attn.out_proj", NULL, NULL},
    [ED__CROSS_NORM] = {"model.{}.layers.%d.encoder_attn_layer_norm", NULL, NULL},
    [ED__UP] = {"model.{}.layers.%d.fc1", "model.layers.%d.mlp.up_proj", "encoder.layer.%d.intermediate.dense"},
    [ED__GATE] = {"model.{}.layers.%d.fc_gate", "model.layers.%d.mlp.gate_proj", "encoder.layer.%d.intermediate.gate"},
    [ED__DOWN] = {"model.{}.layers.%d.fc2", "model.layers.%d.mlp.down_proj", "encoder.layer.%d.output.dense"},
    [ED__MLP_NORM] = {"model.{}.layers.%d.final_layer_norm", "model.layers.%d.post_attention_layernorm", "encoder.layer.%d.output.LayerNorm"},
};

const char *ed__param_name(const ed_model_config *c, ed__role role, bool decoder, int64_t layer, char *buf, size_t bytes) {
    const char *p = c->kind == ED_MODEL_ENCDEC ? rows[role].m2m : c->kind == ED_MODEL_DECODER ? rows[role].llama : rows[role].bert;
    size_t n = 0;
    if (role == ED__EMBED && c->kind == ED_MODEL_ENCDEC && c->tie_encoder_decoder)
        p = "model.shared";
    buf[0] = 0;
    for (; p && *p && n + 32 < bytes; p++) {
        if (p[0] == '%' && p[1] == 'd') {
            n += (size_t)snprintf(buf + n, bytes - n, "%lld", (long long)layer);
            p++;
        } else if (p[0] == '{' && p[1] == '}') {
            n += (size_t)snprintf(buf + n, bytes - n, "%s", decoder ? "decoder" : "encoder");
            p++;
        } else {
            buf[n++] = *p;
            buf[n] = 0;
        }
    }
    return buf;
}
