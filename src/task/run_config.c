/* task/run_config.c - run configs: YAML sections into option structs. Every key is a row of an option table, so that help, --set, YAML and docs cannot
 * disagree. Two levels only (section, key); a list of scalars is joined by commas. */
#include <stdio.h>

#include <yaml.h>

#include "base/internal.h"
#include "endec/run.h"

enum { MAX_CONFIG_BYTES = 1 << 20 };
#define TOP(f) offsetof(ed_run_config, f)
#define DATA(f) offsetof(ed_run_data, f)

static const char *const tasks[] = {"seq2seq", "causal", "prefix", NULL};

static const ed_option top_table[] = {
    {"task", ED_OPT_ENUM, TOP(task), 0, 0, tasks, "TASK", "seq2seq (encoder-decoder), causal or prefix (decoder)", 0},
    {"out", ED_OPT_STRING, TOP(out), 0, 0, NULL, "DIR", "output folder", 0},
    {"tokenizer_path", ED_OPT_STRING, TOP(tokenizer_path), 0, 0, NULL, "PATH", "an existing tokenizer in place of a trained one", 0},
};
static const ed_option data_table[] = {
    {"train_source", ED_OPT_STRING, DATA(train_source), 0, 0, NULL, "FILES", "source lines (plain or .gz)", 0},
    {"train_target", ED_OPT_STRING, DATA(train_target), 0, 0, NULL, "FILES", "target lines", 0},
    {"valid_source", ED_OPT_STRING, DATA(valid_source), 0, 0, NULL, "FILES", "held-out source lines", 0},
    {"valid_target", ED_OPT_STRING, DATA(valid_target), 0, 0, NULL, "FILES", "held-out target lines", 0},
    {"train", ED_OPT_STRING, DATA(train), 0, 0, NULL, "FILES", "text of a causal language model", 0},
    {"valid", ED_OPT_STRING, DATA(valid), 0, 0, NULL, "FILES", "held-out text", 0},
    {"valid_share", ED_OPT_FLOAT, DATA(valid_share), 0, 0.9, NULL, "X", "causal, without valid: share of the text at its end that is held out", 0},
    {"lines_are_documents", ED_OPT_BOOL, DATA(lines_are_documents), 0, 0, NULL, NULL, "causal: an end token after every line, not every file", 0},
    {"batch_tokens", ED_OPT_INT, DATA(batch_tokens), 1, 1 << 24, NULL, "N", "most padded tokens of a micro-batch, on the longer side", 0},
    {"max_length", ED_OPT_INT, DATA(max_length), 1, 1 << 24, NULL, "N", "longest sequence; causal: row length", 0},
    {"document_mask", ED_OPT_BOOL, DATA(document_mask), 0, 0, NULL, NULL, "causal: rows do not see other documents", 0},
    {"metric_lines", ED_OPT_INT, DATA(metric_lines), 0, 1 << 24, NULL, "N", "held-out lines translated for BLEU at evaluations (0: none)", 0},
    {"metric_beams", ED_OPT_INT, DATA(metric_beams), 1, 64, NULL, "N", "beams of that translation", 0},
};

/** A section: its name, its table, and where its struct lies in the config. */
typedef struct section {
    const char *name;
    size_t offset;
} section;
static const section sections[] = {{"", 0}, {"tokenizer", TOP(tokenizer)}, {"model", TOP(model)}, {"data", TOP(data)}, {"train", TOP(train)}};
enum { N_SECTIONS = sizeof sections / sizeof *sections };

const ed_option *ed_run_config_section(const char *name, size_t *n) {
    *n = sizeof top_table / sizeof *top_table;
    if (strcmp(name, "") == 0)
        return top_table;
    if (strcmp(name, "tokenizer") == 0)
        return ed_tokenizer_train_options(n);
    if (strcmp(name, "model") == 0)
        return ed_model_options(n);
    if (strcmp(name, "train") == 0)
        return ed_train_options(n);
    *n = sizeof data_table / sizeof *data_table;
    if (strcmp(name, "data") == 0)
        return data_table;
    *n = 0;
    return NULL;
}

ed_run_config ed_run_config_default(void) {
    return (ed_run_config){.tokenizer = ed_tokenizer_train_opts_default(), .model = ed_model_config_default(), .train = ed_train_opts_default(),
                           .data = {.batch_tokens = 4096, .max_length = 256, .metric_beams = 1}};
}

void ed_run_config_deinit(ed_run_config *c) {
    for (int i = 0; i < N_SECTIONS; i++) {
        size_t n;
        const ed_option *t = ed_run_config_section(sections[i].name, &n);
        ed_options_release(t, n, (char *)c + sections[i].offset);
    }
    ed__free(c->data_dir);
    c->data_dir = NULL;
}

static ed_status set(ed_run_config *c, const char *name, const char *key, const char *value, const char *where, size_t line, ed_error *err) {
    const char *names[N_SECTIONS];
    for (int i = 0; i < N_SECTIONS; i++) {
        size_t n;
        ed_error inner = {0};
        names[i] = sections[i].name;
        if (strcmp(sections[i].name, name) != 0)
            continue;
        const ed_option *t = ed_run_config_section(name, &n);
        ed_status s = ed_option_set_key(t, n, (char *)c + sections[i].offset, key, value, &inner);
        if (s == ED_OK)
            return ED_OK;
        return line ? ed_error_set(err, s, where, ED_NO_OFFSET, "line %zu: %s%s%s", line, *name ? name : "", *name ? ": " : "", inner.message)
                    : ed_error_set(err, s, where, ED_NO_OFFSET, "%s%s%s", *name ? name : "", *name ? ": " : "", inner.message);
    }
    int near = ed__nearest_name(name, names + 1, N_SECTIONS - 1);
    return ed_error_set(err, ED_E_NOT_FOUND, where, ED_NO_OFFSET, "line %zu: unknown section '%s'%s%s%s", line, name, near >= 0 ? "; did you mean '" : "",
                        near >= 0 ? names[near + 1] : "", near >= 0 ? "'?" : "");
}

ed_status ed_run_config_set(ed_run_config *c, const char *assignment, ed_error *err) {
    const char *eq = strchr(assignment, '='), *dot = strchr(assignment, '.');
    char name[64] = "", key[128];
    ED_FAIL_IF(!eq || eq == assignment, ED_E_INVALID, err, "'%s' is not section.key=value", assignment);
    if (dot && dot < eq) {
        ED_FAIL_IF((size_t)(dot - assignment) >= sizeof name, ED_E_INVALID, err, "'%s': the section's name is too long", assignment);
        memcpy(name, assignment, (size_t)(dot - assignment));
        name[dot - assignment] = 0;
    } else {
        dot = assignment - 1;
    }
    ED_FAIL_IF((size_t)(eq - dot - 1) >= sizeof key, ED_E_INVALID, err, "'%s': the key is too long", assignment);
    memcpy(key, dot + 1, (size_t)(eq - dot - 1));
    key[eq - dot - 1] = 0;
    return set(c, name, key, eq + 1, "--set", 0, err);
}

/* ------------------------------------------------------------------ YAML */

/** State of the walk over parser events. */
typedef struct reader {
    ed_run_config *config;
    const char *path;
    char section[64], key[128];
    ed__buf list; /* joined scalars of a sequence */
    int depth;    /* open mappings */
    bool in_list, has_key;
    ed_error *err;
} reader;

static ed_status yaml_fail(reader *r, size_t line, const char *what) {
    return ed_error_set(r->err, ED_E_FORMAT, r->path, ED_NO_OFFSET, "line %zu: %s", line, what);
}

static ed_status on_scalar(reader *r, const char *text, size_t line) {
    if (r->in_list) {
        if (r->list.len)
            ed__buf_puts(&r->list, ",");
        ed__buf_puts(&r->list, text);
        return r->list.status == ED_OK ? ED_OK : yaml_fail(r, line, "the list is too long");
    }
    if (r->depth == 0)
        return yaml_fail(r, line, "a config is a mapping of sections");
    if (!r->has_key) {
        if (strlen(text) >= sizeof r->key)
            return yaml_fail(r, line, "the key is too long");
        memcpy(r->key, text, strlen(text) + 1);
        r->has_key = true;
        return ED_OK;
    }
    r->has_key = false;
    return set(r->config, r->section, r->key, text, r->path, line, r->err);
}

static ed_status on_mapping(reader *r, size_t line) {
    if (r->depth == 1) {
        if (!r->has_key || strlen(r->key) >= sizeof r->section)
            return yaml_fail(r, line, "a section needs a name");
        memcpy(r->section, r->key, strlen(r->key) + 1);
        r->has_key = false;
    } else if (r->depth > 1 || r->in_list) {
        return yaml_fail(r, line, "configs have two levels: section and key");
    }
    r->depth++;
    return ED_OK;
}

static ed_status on_event(reader *r, const yaml_event_t *e) {
    size_t line = e->start_mark.line + 1;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        if (e->data.scalar.length != strlen((const char *)e->data.scalar.value))
            return yaml_fail(r, line, "a value holds a NUL byte");
        return on_scalar(r, (const char *)e->data.scalar.value, line);
    case YAML_MAPPING_START_EVENT: return on_mapping(r, line);
    case YAML_MAPPING_END_EVENT:
        if (--r->depth == 1)
            r->section[0] = 0;
        return ED_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (!r->has_key || r->in_list)
            return yaml_fail(r, line, "a list stands where a key is expected");
        r->in_list = true;
        ed__buf_reset(&r->list);
        return ED_OK;
    case YAML_SEQUENCE_END_EVENT:
        r->in_list = false;
        return on_scalar(r, r->list.data && r->list.len ? r->list.data : "", line);
    case YAML_ALIAS_EVENT: return yaml_fail(r, line, "aliases are not supported");
    default: return ED_OK;
    }
}

static ed_status walk(reader *r, yaml_parser_t *p) {
    for (;;) {
        yaml_event_t e;
        if (!yaml_parser_parse(p, &e))
            return yaml_fail(r, p->problem_mark.line + 1, p->problem ? p->problem : "not YAML");
        bool end = e.type == YAML_STREAM_END_EVENT;
        ed_status s = on_event(r, &e);
        yaml_event_delete(&e);
        if (end || s != ED_OK)
            return s;
    }
}

ed_status ed_run_config_load(const char *path, ed_run_config *c, ed_error *err) {
    char *text;
    size_t n;
    yaml_parser_t p;
    ED_TRY(ed__file_read(path, MAX_CONFIG_BYTES, &text, &n, err));
    reader r = {.config = c, .path = path, .err = err};
    ed__buf_init(&r.list, MAX_CONFIG_BYTES);
    ed_status s = yaml_parser_initialize(&p) ? ED_OK : ed_error_set(err, ED_E_MEMORY, path, ED_NO_OFFSET, "no memory for the YAML parser");
    if (s == ED_OK) {
        yaml_parser_set_input_string(&p, (const unsigned char *)text, n);
        s = walk(&r, &p);
        yaml_parser_delete(&p);
    }
    ed__buf_deinit(&r.list);
    ed__free(text);
    return s;
}

ed_status ed_run_config_yaml(const ed_run_config *c, char **out, ed_error *err) {
    ed__buf b;
    ed__buf_init(&b, MAX_CONFIG_BYTES);
    for (int i = 0; i < N_SECTIONS; i++) {
        size_t n;
        const ed_option *t = ed_run_config_section(sections[i].name, &n);
        if (i > 0)
            ed__buf_printf(&b, "%s:\n", sections[i].name);
        for (size_t k = 0; k < n; k++) {
            char v[4096];
            ed_option_get(&t[k], (const char *)c + sections[i].offset, v, sizeof v);
            bool quote = t[k].type == ED_OPT_STRING;
            if (quote && !*v)
                continue; /* an absent string stays at its default */
            ed__buf_printf(&b, quote ? "%s%s: \"%s\"\n" : "%s%s: %s\n", i > 0 ? "  " : "", t[k].key, v);
        }
    }
    *out = b.status == ED_OK ? ed__strdup(b.data ? b.data : "") : NULL;
    ed__buf_deinit(&b);
    return *out ? ED_OK : ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for the config's text");
}
