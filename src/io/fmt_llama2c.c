/* io/fmt_llama2c.c - llama2.c's v0 checkpoint (docs/formats/llama2c.md): seven int32, then f32 tensors in a fixed order, layers stacked.
 * The reader is a view: nothing is copied, each layer's slice becomes a tensor with Llama's canonical name. One table (PARTS) gives order, name and
 * shape for reader and writer, so that they cannot differ. Source of the layout: llama2.c, run.c memory_map_weights and export.py legacy_export. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "io/json_scan.h"
#include "io/tensor_convert.h"
#include "io/tensor_file.h"

enum { HEADER_BYTES = 28, MAX_LAYERS = 4096, MAX_FIELD = 1 << 28, NAME_BYTES = 64, CONFIG_FIELDS = 8 };
#define CONFIG_KEY "llama2c.config"

/* Axis lengths of the layout, computed once from the header. */
typedef enum part_dim { D_NONE, D_DIM, D_HIDDEN, D_Q, D_KV, D_VOCAB, D_SEQ, D_HALF_HEAD, D_COUNT } part_dim;

typedef struct llama_part {
    const char *name; /* with %d: once per layer */
    part_dim rows, cols;
    bool per_layer;
} llama_part;

static const llama_part PARTS[] = {
    {"model.embed_tokens.weight", D_VOCAB, D_DIM, false},
    {"model.layers.%d.input_layernorm.weight", D_DIM, D_NONE, true},
    {"model.layers.%d.self_attn.q_proj.weight", D_Q, D_DIM, true},
    {"model.layers.%d.self_attn.k_proj.weight", D_KV, D_DIM, true},
    {"model.layers.%d.self_attn.v_proj.weight", D_KV, D_DIM, true},
    {"model.layers.%d.self_attn.o_proj.weight", D_DIM, D_Q, true},
    {"model.layers.%d.post_attention_layernorm.weight", D_DIM, D_NONE, true},
    {"model.layers.%d.mlp.gate_proj.weight", D_HIDDEN, D_DIM, true},
    {"model.layers.%d.mlp.down_proj.weight", D_DIM, D_HIDDEN, true},
    {"model.layers.%d.mlp.up_proj.weight", D_HIDDEN, D_DIM, true},
    {"model.norm.weight", D_DIM, D_NONE, false},
    {"llama2c.rope_real", D_SEQ, D_HALF_HEAD, false},
    {"llama2c.rope_imag", D_SEQ, D_HALF_HEAD, false},
    {"lm_head.weight", D_VOCAB, D_DIM, false}, /* only when not shared: always the last */
};
enum { N_PARTS = sizeof PARTS / sizeof PARTS[0] };

static int part_count(const ed_llama2c_config *c) {
    return c->shared_classifier ? N_PARTS - 1 : N_PARTS;
}

static void fill_dims(const ed_llama2c_config *c, int64_t dims[D_COUNT]) {
    int64_t head = c->dim / c->n_heads;
    dims[D_NONE] = 1;
    dims[D_DIM] = dims[D_Q] = c->dim;
    dims[D_HIDDEN] = c->hidden_dim;
    dims[D_KV] = head * c->n_kv_heads;
    dims[D_VOCAB] = c->vocab_size;
    dims[D_SEQ] = c->seq_len;
    dims[D_HALF_HEAD] = head / 2;
}

static bool part_bytes(const llama_part *p, const int64_t dims[D_COUNT], int64_t *bytes) {
    int64_t n;
    return ed__mul_i64(dims[p->rows], dims[p->cols], &n) && ed__mul_i64(n, 4, bytes);
}

/* ---- header */

static ed_status check_field(const char *where, const char *name, int64_t value, int64_t max, uint64_t at, ed_error *err) {
    if (value >= 1 && value <= max)
        return ED_OK;
    return ed_error_set(err, ED_E_FORMAT, where, at, "llama2.c header: %s is %lld, allowed is 1 to %lld", name, (long long)value, (long long)max);
}

static ed_status check_config(const char *where, const ed_llama2c_config *c, ed_error *err) {
    ED_TRY(check_field(where, "dim", c->dim, MAX_FIELD, 0, err));
    ED_TRY(check_field(where, "hidden_dim", c->hidden_dim, MAX_FIELD, 4, err));
    ED_TRY(check_field(where, "n_layers", c->n_layers, MAX_LAYERS, 8, err));
    ED_TRY(check_field(where, "n_heads", c->n_heads, c->dim, 12, err));
    ED_TRY(check_field(where, "n_kv_heads", c->n_kv_heads, c->n_heads, 16, err));
    ED_TRY(check_field(where, "vocab_size", c->vocab_size, MAX_FIELD, 20, err));
    ED_TRY(check_field(where, "seq_len", c->seq_len, MAX_FIELD, 24, err));
    if (c->dim % c->n_heads != 0 || (c->dim / c->n_heads) % 2 != 0)
        return ed_error_set(err, ED_E_FORMAT, where, 12, "llama2.c header: dim %d does not part into %d heads of an even size", c->dim, c->n_heads);
    if (c->n_heads % c->n_kv_heads != 0)
        return ed_error_set(err, ED_E_FORMAT, where, 16, "llama2.c header: %d heads do not part into groups for %d KV heads", c->n_heads, c->n_kv_heads);
    return ED_OK;
}

/* Bytes of the whole file by its header; false when that overflows. */
static bool file_bytes(const ed_llama2c_config *c, int64_t *total) {
    int64_t dims[D_COUNT], sum = HEADER_BYTES;
    fill_dims(c, dims);
    for (int i = 0; i < part_count(c); i++) {
        int64_t bytes;
        if (!part_bytes(&PARTS[i], dims, &bytes) || !ed__mul_i64(bytes, PARTS[i].per_layer ? c->n_layers : 1, &bytes) || bytes > INT64_MAX - sum)
            return false;
        sum += bytes;
    }
    *total = sum;
    return true;
}

static ed_status read_config(const char *where, const void *data, size_t size, ed_llama2c_config *c, ed_error *err) {
    ed__reader r = ed__reader_make(data, size);
    int32_t vocab;
    int64_t need;
    if (!ed__reader_i32(&r, &c->dim) || !ed__reader_i32(&r, &c->hidden_dim) || !ed__reader_i32(&r, &c->n_layers) || !ed__reader_i32(&r, &c->n_heads) ||
        !ed__reader_i32(&r, &c->n_kv_heads) || !ed__reader_i32(&r, &vocab) || !ed__reader_i32(&r, &c->seq_len))
        return ed_error_set(err, ED_E_FORMAT, where, 0, "%zu bytes: too short for a llama2.c header of %d", size, HEADER_BYTES);
    c->shared_classifier = vocab > 0;
    c->vocab_size = vocab == INT32_MIN ? 0 : vocab < 0 ? -vocab : vocab;
    ED_TRY(check_config(where, c, err));
    if (!file_bytes(c, &need) || (uint64_t)need != size)
        return ed_error_set(err, ED_E_FORMAT, where, size, "the llama2.c header asks for %lld bytes, the file has %zu: cut off, or another format",
                            file_bytes(c, &need) ? (long long)need : -1LL, size);
    return ED_OK;
}

/* ---- reading */

/* The part's name in a layer. The longest of the table with a layer below MAX_LAYERS fits. */
static void name_tensor(const llama_part *p, int layer, char text[NAME_BYTES]) {
    static const char prefix[] = "model.layers.%d.";
    int n = p->per_layer ? snprintf(text, NAME_BYTES, "model.layers.%d.%s", layer, p->name + sizeof prefix - 1) : snprintf(text, NAME_BYTES, "%s", p->name);
    assert(n > 0 && n < NAME_BYTES);
    (void)n;
}

static void list_tensors(ed_tensor_file *f, const unsigned char *data, const ed_llama2c_config *c) {
    int64_t dims[D_COUNT], at = HEADER_BYTES;
    fill_dims(c, dims);
    for (int i = 0; i < part_count(c); i++)
        for (int layer = 0; layer < (PARTS[i].per_layer ? c->n_layers : 1); layer++) {
            ed_file_tensor *t = &f->tensors[f->n];
            int64_t bytes = 0;
            bool fits = part_bytes(&PARTS[i], dims, &bytes);
            assert(fits); /* checked for the whole file by read_config */
            (void)fits;
            *t = (ed_file_tensor){.data = data + at, .bytes = (uint64_t)bytes, .offset = (uint64_t)at, .dtype = ED_FILE_F32};
            t->rank = PARTS[i].cols == D_NONE ? 1 : 2;
            t->shape[0] = dims[PARTS[i].rows];
            t->shape[1] = t->rank == 2 ? dims[PARTS[i].cols] : 0;
            t->name = f->shards[0].text + (size_t)f->n * NAME_BYTES;
            name_tensor(&PARTS[i], layer, f->shards[0].text + (size_t)f->n * NAME_BYTES);
            f->n++;
            at += bytes;
        }
}

/* The header as metadata: eight numbers parted by blanks. */
static ed_status keep_config(ed_tensor_file *f, const ed_llama2c_config *c, char *text) {
    snprintf(text, 2 * NAME_BYTES, "%d %d %d %d %d %d %d %d", c->dim, c->hidden_dim, c->n_layers, c->n_heads, c->n_kv_heads, c->vocab_size, c->seq_len,
             c->shared_classifier);
    f->metadata = ed__malloc(sizeof *f->metadata);
    if (!f->metadata)
        return ED_E_MEMORY;
    f->metadata[0] = (ed_metadata){CONFIG_KEY, text};
    f->n_metadata = 1;
    return ED_OK;
}

static ed_status fill_view(ed_tensor_file *f, const unsigned char *data, const ed_llama2c_config *c, ed_error *err) {
    size_t n = 0;
    for (int i = 0; i < part_count(c); i++)
        n += PARTS[i].per_layer ? (size_t)c->n_layers : 1;
    f->tensors = ed__malloc(n * sizeof *f->tensors);
    f->shards[0].text = ed__malloc((n + 2) * NAME_BYTES);
    if (!f->tensors || !f->shards[0].text || keep_config(f, c, f->shards[0].text + n * NAME_BYTES) != ED_OK)
        return ed_error_set(err, ED_E_MEMORY, f->path, ED_NO_OFFSET, "no memory for the list of %zu tensors", n);
    list_tensors(f, data, c);
    return ed__tensor_file_index(f, err);
}

ed_status ed__llama2c_open_memory(const char *where, const void *data, size_t size, const ed_tensor_file_opts *opts, ed_tensor_file **out,
                                  ed_llama2c_config *config, ed_error *err) {
    ed_llama2c_config c;
    (void)opts;
    *out = NULL;
    ED_TRY(read_config(where, data, size, &c, err));
    ED_TRY(ed__tensor_file_new(where, 1, out, err));
    ed_status s = fill_view(*out, data, &c, err);
    if (s != ED_OK)
        ed_tensor_file_close(out);
    else if (config)
        *config = c;
    return s;
}

ed_status ed_llama2c_open(const char *path, const ed_tensor_file_opts *opts, ed_tensor_file **out, ed_llama2c_config *config, ed_error *err) {
    ed__map map;
    *out = NULL;
    ED_TRY(ed__map_open(path, 0, &map, err));
    ed_status s = ed__llama2c_open_memory(path, map.data, map.size, opts, out, config, err);
    if (s != ED_OK) {
        ed__map_close(&map);
        return s;
    }
    (*out)->shards[0].map = map;
    (*out)->shards[0].borrowed = false;
    return ED_OK;
}

/* ---- writing */

static ed_status config_of(const ed_tensor_file *f, const ed_llama2c_config *given, ed_llama2c_config *c, ed_error *err) {
    uint64_t v[CONFIG_FIELDS];
    const char *text = ed_tensor_file_metadata(f, CONFIG_KEY);
    if (given) {
        *c = *given;
        return check_config(f->path, c, err);
    }
    if (!text)
        return ed_error_set(err, ED_E_NOT_FOUND, f->path, ED_NO_OFFSET, "no llama2.c configuration given, and no metadata " CONFIG_KEY);
    ed__scan s = ed__scan_make(CONFIG_KEY, text, strlen(text), 0, err);
    for (int i = 0; i < CONFIG_FIELDS; i++)
        ED_TRY(ed__scan_uint(&s, "number", INT32_MAX, &v[i]));
    ED_TRY(ed__scan_end(&s));
    *c = (ed_llama2c_config){(int32_t)v[0], (int32_t)v[1], (int32_t)v[2], (int32_t)v[3], (int32_t)v[4], (int32_t)v[5], (int32_t)v[6], v[7] != 0};
    return check_config(f->path, c, err);
}

static ed_status write_header(ed__save *save, const ed_llama2c_config *c) {
    int32_t v[7] = {c->dim, c->hidden_dim, c->n_layers, c->n_heads, c->n_kv_heads, c->shared_classifier ? c->vocab_size : -c->vocab_size, c->seq_len};
    unsigned char bytes[HEADER_BYTES];
    for (int i = 0; i < HEADER_BYTES; i++)
        bytes[i] = (unsigned char)((uint32_t)v[i / 4] >> (8 * (i % 4)));
    return ed__save_write(save, bytes, sizeof bytes);
}

/* cos or sin of position * 10000^(-2i / head size), row by row. */
static ed_status write_rope(ed__save *save, const ed_llama2c_config *c, bool imaginary) {
    int head = c->dim / c->n_heads;
    for (int pos = 0; pos < c->seq_len; pos++)
        for (int i = 0; i < head / 2; i++) {
            float angle = (float)pos * (float)(1.0 / pow(10000.0, 2.0 * i / head)), v = imaginary ? sinf(angle) : cosf(angle);
            ED_TRY(ed__save_write(save, &v, sizeof v));
        }
    return ED_OK;
}

static ed_status write_tensor(ed__save *save, const ed_tensor_file *f, const ed_file_tensor *t, int rank, const int64_t *shape, ed_error *err) {
    enum { BLOCK = 4096 };
    float block[BLOCK];
    char a[ED_MAX_RANK * 22 + 4], b[ED_MAX_RANK * 22 + 4];
    if (t->rank != rank || memcmp(t->shape, shape, sizeof(int64_t) * (size_t)rank) != 0)
        return ed_error_set(err, ED_E_SHAPE, f->path, t->offset, "tensor '%.100s' is %s, the llama2.c configuration needs %s", t->name,
                            ed__dims_text(t->rank, t->shape, a, sizeof a), ed__dims_text(rank, shape, b, sizeof b));
    int64_t n = ed_file_tensor_numel(t);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t m = n - at < BLOCK ? n - at : BLOCK;
        ED_TRY(ed_file_tensor_read(t, at, m, ED_DTYPE_F32, block, err));
        ED_TRY(ed__save_write(save, block, (size_t)m * 4));
    }
    return ED_OK;
}

static ed_status write_part(ed__save *save, const ed_tensor_file *f, const ed_llama2c_config *c, const llama_part *p, int layer, ed_error *err) {
    char name[NAME_BYTES];
    int64_t dims[D_COUNT], shape[2];
    name_tensor(p, layer, name);
    fill_dims(c, dims);
    shape[0] = dims[p->rows];
    shape[1] = dims[p->cols];
    const ed_file_tensor *t = ed_tensor_file_find(f, name);
    if (t)
        return write_tensor(save, f, t, p->cols == D_NONE ? 1 : 2, shape, err);
    if (p->rows == D_SEQ)
        return write_rope(save, c, strcmp(name, "llama2c.rope_imag") == 0);
    return ed_error_set(err, ED_E_NOT_FOUND, f->path, ED_NO_OFFSET, "tensor '%s' is missing", name);
}

static ed_status write_parts(ed__save *save, const ed_tensor_file *f, const ed_llama2c_config *c, ed_error *err) {
    ED_TRY(write_header(save, c));
    for (int i = 0; i < part_count(c); i++)
        for (int layer = 0; layer < (PARTS[i].per_layer ? c->n_layers : 1); layer++)
            ED_TRY(write_part(save, f, c, &PARTS[i], layer, err));
    return ED_OK;
}

ed_status ed_llama2c_save(const char *path, const ed_tensor_file *file, const ed_llama2c_config *config, ed_error *err) {
    ed_llama2c_config c;
    ed__save *save;
    ed_error first = {0};
    ED_TRY(config_of(file, config, &c, err));
    ED_TRY(ed__save_open(path, &save, err));
    ed_status s = write_parts(save, file, &c, &first);
    if (s == ED_OK || first.status == ED_OK) /* all written, or a failed write, which commit tells */
        return ed__save_commit(&save, err);
    if (err)
        *err = first;
    ed__save_abort(&save);
    return s;
}
