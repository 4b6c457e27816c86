/* io/ckpt_manifest.c - the manifest of a checkpoint: which files belong to it, how long they are, and their XXH3-64.
 * Text: {"format":"endec-checkpoint","version":1,"step":N,"files":[{"name":"..","bytes":N,"xxh3":"16 digits"},..],"xxh3":"16 digits"}\n
 * The last value seals all bytes before its digits, and what follows it is fixed, so that no flipped bit of a manifest goes unseen. */
#include <jansson.h>

#include "io/checkpoint.h"

enum { DIGITS = 16, VERSION = 1 };
static const char SEAL[] = ",\"xxh3\":\"", TAIL[] = "\"}\n";

bool ed__ckpt_name_ok(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n >= ED__CKPT_NAME_BYTES || name[0] == '.' || strcmp(name, ED__CKPT_MANIFEST) == 0)
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

void ed__ckpt_manifest_free(ed__ckpt_manifest *m) {
    ed__free(m->files);
    *m = (ed__ckpt_manifest){0};
}

ed_status ed__ckpt_manifest_add(ed__ckpt_manifest *m, const char *name, uint64_t bytes, uint64_t xxh3, ed_error *err) {
    if (!ed__ckpt_name_ok(name))
        return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "not a name for a file of a checkpoint (letters, digits, '.', '_', '-')");
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->files[i].name, name) == 0)
            return ed_error_set(err, ED_E_INVALID, name, ED_NO_OFFSET, "the checkpoint has a file of this name already");
    ed_status s = ed__grow((void **)&m->files, &m->cap, m->n + 1, sizeof *m->files, ED__CKPT_FILES_MAX);
    if (s != ED_OK)
        return ed_error_set(err, s, name, ED_NO_OFFSET, "no room for one more file (at most %d)", ED__CKPT_FILES_MAX);
    ed__ckpt_file *f = &m->files[m->n++];
    *f = (ed__ckpt_file){.bytes = bytes, .xxh3 = xxh3};
    memcpy(f->name, name, strlen(name) + 1);
    return ED_OK;
}

ed_status ed__ckpt_manifest_text(const ed__ckpt_manifest *m, ed__buf *b, ed_error *err) {
    ed__buf_init(b, ED__CKPT_MANIFEST_BYTES_MAX);
    ed__buf_printf(b, "{\"format\":\"endec-checkpoint\",\"version\":%d,\"step\":%lld,\"files\":[", VERSION, (long long)m->step);
    for (size_t i = 0; i < m->n; i++)
        ed__buf_printf(b, "%s{\"name\":\"%s\",\"bytes\":%llu,\"xxh3\":\"%016llx\"}", i ? "," : "", m->files[i].name,
                       (unsigned long long)m->files[i].bytes, (unsigned long long)m->files[i].xxh3);
    ed__buf_printf(b, "]%s", SEAL);
    if (b->status == ED_OK)
        ed__buf_printf(b, "%016llx%s", (unsigned long long)ed__hash64(b->data, b->len, 0), TAIL);
    if (b->status != ED_OK)
        return ed_error_set(err, b->status, ED__CKPT_MANIFEST, ED_NO_OFFSET, "the manifest does not fit into memory or its limit");
    return ED_OK;
}

/* ---- reading */

static bool parse_hash(const char *text, size_t n, uint64_t *out) {
    uint64_t v = 0;
    if (n != DIGITS)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return true;
}

static ed_status check_seal(const char *where, const char *text, size_t n, ed_error *err) {
    const size_t end = DIGITS + sizeof TAIL - 1, need = end + sizeof SEAL - 1;
    uint64_t want;
    if (n < need || memcmp(text + n - (sizeof TAIL - 1), TAIL, sizeof TAIL - 1) != 0 || memcmp(text + n - need, SEAL, sizeof SEAL - 1) != 0 ||
        !parse_hash(text + n - end, DIGITS, &want))
        return ed_error_set(err, ED_E_FORMAT, where, n, "the manifest is cut off or damaged");
    if (ed__hash64(text, n - end, 0) != want)
        return ed_error_set(err, ED_E_FORMAT, where, n - end, "the manifest's checksum does not fit: damaged");
    return ED_OK;
}

static ed_status parse_file(const char *where, const json_t *o, ed__ckpt_manifest *m, ed_error *err) {
    const char *name = NULL, *hash = NULL;
    int64_t bytes = -1;
    uint64_t xxh3;
    if (!json_is_object(o))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "an entry of the list of files is no object");
    ED_TRY(ed__json_str(o, "name", &name, where, err));
    ED_TRY(ed__json_str(o, "xxh3", &hash, where, err));
    ED_TRY(ed__json_int(o, "bytes", 0, INT64_MAX, &bytes, where, err));
    if (!name || !hash || bytes < 0 || !parse_hash(hash, strlen(hash), &xxh3) || !ed__ckpt_name_ok(name))
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "an entry of the list of files lacks a proper name, bytes or xxh3");
    ed_status s = ed__ckpt_manifest_add(m, name, (uint64_t)bytes, xxh3, err);
    if (s == ED_E_INVALID)
        return ed_error_set(err, ED_E_FORMAT, where, ED_NO_OFFSET, "file '%s' is listed twice", name);
    return s;
}

static ed_status parse_fields(const char *where, const json_t *root, ed__ckpt_manifest *m, ed_error *err) {
    const char *format = NULL;
    int64_t version = 0, step = -1;
    if (!json_is_object(root))
        return ed_error_set(err, ED_E_FORMAT, where, 0, "the manifest is no JSON object");
    ED_TRY(ed__json_str(root, "format", &format, where, err));
    if (!format || strcmp(format, "endec-checkpoint") != 0)
        return ed_error_set(err, ED_E_FORMAT, where, 0, "not the manifest of a checkpoint");
    ED_TRY(ed__json_int(root, "version", 1, INT32_MAX, &version, where, err));
    if (version != VERSION)
        return ed_error_set(err, ED_E_UNSUPPORTED, where, 0, "manifest version %lld, this program reads %d", (long long)version, VERSION);
    ED_TRY(ed__json_int(root, "step", 0, INT64_MAX, &step, where, err));
    const json_t *files = json_object_get(root, "files");
    if (step < 0 || !json_is_array(files))
        return ed_error_set(err, ED_E_FORMAT, where, 0, "the manifest lacks its step or its list of files");
    m->step = step;
    for (size_t i = 0; i < json_array_size(files); i++)
        ED_TRY(parse_file(where, json_array_get(files, i), m, err));
    return ED_OK;
}

ed_status ed__ckpt_manifest_parse(const char *where, const char *text, size_t n, ed__ckpt_manifest *m, ed_error *err) {
    json_t *root = NULL;
    *m = (ed__ckpt_manifest){0};
    ED_TRY(check_seal(where, text, n, err));
    ED_TRY(ed__json_parse(where, text, n, &root, err));
    ed_status s = parse_fields(where, root, m, err);
    json_decref(root);
    if (s != ED_OK)
        ed__ckpt_manifest_free(m);
    return s;
}
