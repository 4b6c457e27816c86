/* base/internal.h - what the rest of the library uses from base and users never see.
 * Error macros, checked arithmetic, memory with fault injection, files, JSON, UTF-8, parallel loops. */
#ifndef ED_BASE_INTERNAL_H
#define ED_BASE_INTERNAL_H

#include <string.h>

#include "endec/base.h"

/* ---- errors: try a call and pass its failure on; fail when a condition holds */
#define ED_TRY(expr)                       \
    do {                                   \
        ed_status ed_try_s_ = (expr);      \
        if (ed_try_s_ != ED_OK)            \
            return ed_try_s_;              \
    } while (0)
#define ED_FAIL_IF(cond, status, err, ...)                                              \
    do {                                                                                \
        if (cond)                                                                       \
            return ed_error_set((err), (status), "", ED_NO_OFFSET, __VA_ARGS__);        \
    } while (0)

/* ---- checked arithmetic (checked.c): false on overflow, *out untouched */
bool ed__add_size(size_t a, size_t b, size_t *out);
bool ed__mul_size(size_t a, size_t b, size_t *out);
bool ed__mul_i64(int64_t a, int64_t b, int64_t *out); /* both >= 0 */
bool ed__align_size(size_t a, size_t align, size_t *out); /* align = power of two */

/* ---- memory (mem.c). All heap memory of the library goes through these. Returned memory is 64-byte aligned.
 * In test builds (ED_TEST_HOOKS) ed__mem_fail_after(n) makes the n-th call from now fail (once or from then on), and blocks are counted. */
void *ed__malloc(size_t bytes);
void *ed__calloc(size_t count, size_t bytes);
void *ed__realloc(void *p, size_t bytes); /* p from ed__malloc/ed__calloc/ed__realloc or NULL; keeps 64-byte alignment */
void ed__free(void *p);
char *ed__strdup(const char *s);
char *ed__strndup(const char *s, size_t n);
/** Growable array helper: makes room for `need` items in *items (capacity *cap, item_bytes each), doubling; fails past max_items. */
ed_status ed__grow(void **items, size_t *cap, size_t need, size_t item_bytes, size_t max_items);
int64_t ed__mem_blocks(void); /* live blocks, for leak checks in tests */
void ed__mem_fail_after(int64_t n, bool persistent); /* n < 0: off */
void ed__io_fail_after(int64_t n); /* test builds: the n-th write, fsync or rename of a save from now fails once (a write as on a full disk) */

/* ---- work space kept between calls (spare.c): 64-byte aligned buffers of ED__SPARE_BYTES, few in the whole process */
enum { ED__SPARE_BYTES = 2 << 20 };
int ed__spare_take(void **data); /* the slot, or -1 when all are in use or memory is short */
void ed__spare_give(int slot);   /* -1: nothing */

/* ---- growable byte buffer with a mandatory maximum (buf.c) */
typedef struct ed__buf {
    char *data; /* always NUL-terminated once something was written; NULL when empty */
    size_t len, cap, max;
    ed_status status; /* first failure; later appends do nothing */
} ed__buf;
void ed__buf_init(ed__buf *b, size_t max_bytes);
void ed__buf_deinit(ed__buf *b);
void ed__buf_put(ed__buf *b, const void *bytes, size_t n);
void ed__buf_puts(ed__buf *b, const char *s);
void ed__buf_printf(ed__buf *b, const char *fmt, ...) ED_PRINTF(2, 3);
void ed__buf_reset(ed__buf *b);

/* ---- files (file.c). Paths are UTF-8; errors name the path. */
/** Read-only map of a whole regular file (or a heap copy where mmap fails). An empty file gives data != NULL, size 0. */
typedef struct ed__map {
    const unsigned char *data;
    size_t size;
    bool mapped;
} ed__map;
ed_status ed__map_open(const char *path, size_t max_bytes, ed__map *out, ed_error *err); /* max_bytes 0 = no limit */
void ed__map_close(ed__map *m);
/** Whole file into ed__malloc memory with a NUL after the end. */
ed_status ed__file_read(const char *path, size_t max_bytes, char **data, size_t *size, ed_error *err);
/** Atomic save: temp file in the same folder, write, fsync, rename, fsync of the folder. `open` ... `commit` or `abort`.
 *  A failed write (full disk, I/O error) is kept and returned by commit; the old file stays as it was. */
typedef struct ed__save ed__save;
ed_status ed__save_open(const char *path, ed__save **out, ed_error *err);
ed_status ed__save_write(ed__save *s, const void *data, size_t n);
ed_status ed__save_commit(ed__save **s, ed_error *err);
void ed__save_abort(ed__save **s);
ed_status ed__file_write_atomic(const char *path, const void *data, size_t n, ed_error *err);
/** rename(2) of a file or folder, and the flush of a folder that makes renames in it durable; both fail on demand in test builds. */
ed_status ed__rename(const char *from, const char *to, ed_error *err);
ed_status ed__dir_sync(const char *dir, ed_error *err);
ed_status ed__dir_make(const char *path, ed_error *err); /* with parents; existing is fine */
bool ed__path_exists(const char *path);
bool ed__path_is_dir(const char *path);
/** "dir/name"; refuses a name that is absolute or has a ".." part (ED_E_FORMAT). Result from ed__malloc. */
ed_status ed__path_join(const char *dir, const char *name, char **out, ed_error *err);
/** An error from errno: "path: cannot <step>: no space left on device". ENOENT is ED_E_NOT_FOUND, ENOMEM ED_E_MEMORY, all else ED_E_IO. */
ed_status ed__errno_error(ed_error *err, int sys_errno, const char *path, const char *step);
/** XXH3-64 of bytes, as used in checksums. */
uint64_t ed__hash64(const void *data, size_t n, uint64_t seed);

/* ---- UTF-8 (utf8.c) */
/** Decodes one code point at s (n bytes left, n >= 1). Returns its length 1..4, or 0 if the bytes are not valid UTF-8 (overlong, surrogate, > 10FFFF). */
int ed__utf8_decode(const unsigned char *s, size_t n, uint32_t *cp);
int ed__utf8_encode(uint32_t cp, char out[4]);
/** Offset of the first invalid byte, or n when all is valid. */
size_t ed__utf8_valid(const void *s, size_t n);

/* ---- JSON (json.c, over jansson): bounded depth 64, duplicate keys refused, errors with file and byte offset */
struct json_t;
ed_status ed__json_parse(const char *where, const void *text, size_t n, struct json_t **out, ed_error *err);
ed_status ed__json_load(const char *path, size_t max_bytes, struct json_t **out, ed_error *err);
/** Typed getters. Absent key or null: *out untouched, ED_OK. Wrong type or out of [min,max]: ED_E_FORMAT, naming `where` and the key. */
ed_status ed__json_int(const struct json_t *o, const char *key, int64_t min, int64_t max, int64_t *out, const char *where, ed_error *err);
ed_status ed__json_float(const struct json_t *o, const char *key, double min, double max, double *out, const char *where, ed_error *err);
ed_status ed__json_bool(const struct json_t *o, const char *key, bool *out, const char *where, ed_error *err);
/** Borrowed pointer into the JSON object. */
ed_status ed__json_str(const struct json_t *o, const char *key, const char **out, const char *where, ed_error *err);

/* ---- text (text.c) */
/** Copies src as one line of valid UTF-8, cut between characters: control characters become ' ', bytes that are no UTF-8 '?'. Returns the length. */
size_t ed__text_line(char *dst, size_t dst_bytes, const char *src);
/** Whole text as a number, whatever the host's locale: no blanks, no rest, no overflow ("inf" and "nan" pass in f64). *out untouched on failure. */
bool ed__parse_i64(const char *text, int64_t *out);
bool ed__parse_f64(const char *text, double *out);
/** Shortest of 15 to 17 digits that reads back to v; 32 bytes are enough. */
void ed__format_f64(double v, char *buf, size_t buf_bytes);
/** Equality of keys: '-' and '_' are the same. */
bool ed__name_equal(const char *a, const char *b);

/* ---- natural logarithm from IEEE operations only (rng.c): same bits on any machine, error below 1 ulp */
double ed__log(double x);

/* ---- text distance for "did you mean": index of the nearest of n names, or -1 when none is near */
int ed__nearest_name(const char *text, const char *const *names, int n);

/* ---- parallel loops (thread.c, over OpenMP). `body` runs for disjoint ranges [begin,end) of [0,n); every range has at least `grain` items.
 * Runs inline when n <= grain or the pool has one thread. Results must not depend on the split. */
typedef void (*ed__range_fn)(void *ctx, int64_t begin, int64_t end);
void ed__parallel_for(int64_t n, int64_t grain, ed__range_fn body, void *ctx);

#endif
