/* tests/fuzz/targets/fuzz_json.c - JSON text of any bytes: a value or a clean error, and typed getters over what was parsed. */
#include <jansson.h>
#include <stdlib.h>

#include "base/internal.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    json_t *v = NULL;
    ed_error e = {0};
    ed_status s = ed__json_parse("fuzz", data, size, &v, &e);
    if ((s == ED_OK) != (v != NULL) || (s != ED_OK && (e.status != s || (e.offset != ED_NO_OFFSET && e.offset > size))))
        abort();
    if (json_is_object(v)) {
        const char *key;
        json_t *member;
        json_object_foreach(v, key, member) {
            int64_t i = 0;
            double x = 0;
            bool b = false;
            const char *text = NULL;
            if (ed__json_int(v, key, -100, 100, &i, "fuzz", &e) == ED_OK && (i < -100 || i > 100))
                abort();
            (void)ed__json_float(v, key, 0, 1e6, &x, "fuzz", &e);
            (void)ed__json_bool(v, key, &b, "fuzz", &e);
            (void)ed__json_str(v, key, &text, "fuzz", &e);
        }
    }
    json_decref(v);
    return 0;
}
