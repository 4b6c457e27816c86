/* endec/base.h - status and errors, memory arenas, random numbers, options, logging, threads, CPU level.
 *
 * Everything else in Endec stands on this header. Conventions of the whole library:
 *   - Every call that can fail returns `ed_status`; the last argument may be an `ed_error *` (NULL is fine) that gets the details.
 *   - The library never prints, exits, or reads the environment. It talks through the callbacks of `ed_log_set`.
 *   - create/destroy: heap objects; destroy takes the object's address, sets it to NULL, and accepts NULL.
 *   - Sizes are int64_t (element counts, shapes) or size_t (bytes). Units stand in names: _bytes, _ms, _s.
 *   - Options come as structs that `ed_<noun>_opts_default()` fills. */
#ifndef ENDEC_BASE_H
#define ENDEC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(ED_BUILD_SHARED)
#define ED_API __attribute__((visibility("default")))
#else
#define ED_API
#endif
#if defined(__GNUC__)
#define ED_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define ED_PRINTF(f, a)
#endif

#define ED_VERSION_MAJOR 0
#define ED_VERSION_MINOR 1
#define ED_VERSION_PATCH 0
/** "0.1.0", the version of the library linked at run time. */
ED_API const char *ed_version(void);

/* ------------------------------------------------------------------ status and errors */

/** X(name, exit code of the command-line tool, text). Numbers are stable: only append. */
#define ED_STATUS_LIST(X)                                            \
    X(OK, 0, "ok")                                                   \
    X(E_INVALID, 2, "invalid argument")                              \
    X(E_RANGE, 2, "value out of range")                              \
    X(E_SHAPE, 2, "shapes do not fit")                               \
    X(E_DTYPE, 2, "number format not allowed here")                  \
    X(E_MEMORY, 3, "out of memory")                                  \
    X(E_LIMIT, 3, "a configured limit was reached")                  \
    X(E_IO, 4, "input/output error")                                 \
    X(E_FORMAT, 5, "malformed data")                                 \
    X(E_UNSUPPORTED, 6, "not supported")                             \
    X(E_NOT_FOUND, 4, "not found")                                   \
    X(E_STATE, 2, "call not allowed in this state")                  \
    X(E_CANCELLED, 130, "cancelled")                                 \
    X(E_INFEASIBLE, 2, "no solution within the given limits")        \
    X(E_NUMERIC, 7, "not a finite number")                           \
    X(E_BUSY, 4, "in use by another process")                        \
    X(E_INTERNAL, 70, "internal error")

typedef enum ed_status {
#define ED_STATUS_ENUM(name, code, text) ED_##name,
    ED_STATUS_LIST(ED_STATUS_ENUM)
#undef ED_STATUS_ENUM
    ED_STATUS_COUNT
} ed_status;

/** The short text of a status ("malformed data"); never NULL, also for values out of the list. */
ED_API const char *ed_status_text(ed_status s);
/** The name without prefix ("E_FORMAT"). */
ED_API const char *ed_status_name(ed_status s);
/** The exit code that the command-line tool uses for this status (documented in docs/cli.md). */
ED_API int ed_status_exit_code(ed_status s);

/** Offset value of an error that has no place in a file. */
#define ED_NO_OFFSET UINT64_MAX

/** Details of a failure. Plain data: copy it freely. `where` names the file, key or tensor ("" when none);
 *  `message` is one complete English line without newline that also says the limit that was hit. */
typedef struct ed_error {
    ed_status status;
    uint64_t offset; /* byte offset in `where`, or ED_NO_OFFSET */
    char where[256];
    char message[512];
} ed_error;

/** Fills *err when err is not NULL; returns `s`, so that a caller writes `return ed_error_set(...)`.
 *  Over-long text is cut at a UTF-8 boundary. Never fails. */
ED_API ed_status ed_error_set(ed_error *err, ed_status s, const char *where, uint64_t offset, const char *fmt, ...) ED_PRINTF(5, 6);
/** Writes "where: byte N: message" (parts that are absent left out) to buf, always NUL-terminated; returns buf. */
ED_API const char *ed_error_text(const ed_error *err, char *buf, size_t buf_bytes);

/* ------------------------------------------------------------------ log and progress */

typedef enum ed_log_level { ED_LOG_DEBUG, ED_LOG_INFO, ED_LOG_WARN, ED_LOG_ERROR } ed_log_level;
/** Gets one complete line without newline. May be called from any thread, one call at a time. */
typedef void (*ed_log_fn)(void *user, ed_log_level level, const char *line);
/** Installs the process-wide log sink (NULL: silence, the default) and the lowest level passed on. */
ED_API void ed_log_set(ed_log_fn fn, void *user, ed_log_level lowest);
ED_API void ed_log_line(ed_log_level level, const char *fmt, ...) ED_PRINTF(2, 3);

/** Progress of long work. `total` 0 = unknown. Return false to cancel: the work stops soon with ED_E_CANCELLED. */
typedef bool (*ed_progress_fn)(void *user, const char *what, uint64_t done, uint64_t total);
typedef struct ed_progress {
    ed_progress_fn fn; /* NULL: no reports, never cancelled */
    void *user;
} ed_progress;

/* ------------------------------------------------------------------ arena */

/** A bump allocator with marks, a byte cap and a high-water mark. Not thread-safe: one arena, one thread at a time. */
typedef struct ed_arena ed_arena;
typedef struct ed_arena_mark {
    size_t block, used;
} ed_arena_mark;
/** cap_bytes 0 = no cap. Memory is taken from the system in growing blocks and kept until destroy. */
ED_API ed_status ed_arena_create(size_t cap_bytes, ed_arena **out);
ED_API void ed_arena_destroy(ed_arena **arena);
/** 64-byte aligned, NOT zeroed; NULL when the cap or memory is reached (the arena stays usable). bytes 0 gives a valid pointer. */
ED_API void *ed_arena_alloc(ed_arena *a, size_t bytes);
/** As ed_arena_alloc, zeroed. */
ED_API void *ed_arena_zalloc(ed_arena *a, size_t bytes);
/** Copies a NUL-terminated string; NULL on failure. */
ED_API char *ed_arena_strdup(ed_arena *a, const char *s);
ED_API ed_arena_mark ed_arena_get_mark(const ed_arena *a);
/** Frees everything allocated since the mark. Marks nest. */
ED_API void ed_arena_rewind(ed_arena *a, ed_arena_mark m);
ED_API void ed_arena_reset(ed_arena *a);
/** Bytes in use now, the most ever in use, and the cap (0 = none). */
ED_API size_t ed_arena_used(const ed_arena *a);
ED_API size_t ed_arena_high_water(const ed_arena *a);
ED_API size_t ed_arena_cap(const ed_arena *a);
ED_API void ed_arena_set_cap(ed_arena *a, size_t cap_bytes);

/* ------------------------------------------------------------------ counter-based random numbers
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). A draw is a pure function of key and counter: the same
 * on any machine and for any thread count; any position can be drawn alone. Derived numbers use IEEE + - * / sqrt only (no libm). */

typedef struct ed_rng_key {
    uint32_t k[2]; /* seed (or model hash), stream */
} ed_rng_key;
ED_API ed_rng_key ed_rng_key_make(uint64_t seed, uint32_t stream);
/** One block of four 32-bit words for the counter words c0..c3. */
ED_API void ed_philox(ed_rng_key key, const uint32_t counter[4], uint32_t out[4]);
/** Uniform in the open interval (0,1): f32 with 23 bits, f64 with 52 bits. Never 0, never 1. */
ED_API float ed_uniform_f32(uint32_t word);
ED_API double ed_uniform_f64(uint32_t hi, uint32_t lo);
/** Inverse normal CDF on (0,1), deterministic, relative error below 1e-9. */
ED_API double ed_normal_icdf(double u);

/** Stateful use: a cursor on the counter. Copying it forks the stream; saving the struct saves the state. */
typedef struct ed_rng {
    ed_rng_key key;
    uint64_t position; /* draws taken so far, in 64-bit steps */
} ed_rng;
ED_API ed_rng ed_rng_make(uint64_t seed, uint32_t stream);
ED_API uint64_t ed_rng_u64(ed_rng *r);
ED_API double ed_rng_uniform(ed_rng *r);
/** Unbiased integer in [0, n), n >= 1. */
ED_API uint64_t ed_rng_below(ed_rng *r, uint64_t n);
ED_API double ed_rng_normal(ed_rng *r);
ED_API double ed_rng_gumbel(ed_rng *r);
ED_API double ed_rng_exponential(ed_rng *r);
/** Fisher-Yates shuffle of n indices. */
ED_API void ed_rng_shuffle(ed_rng *r, int64_t *items, int64_t n);

/* ------------------------------------------------------------------ option descriptors
 * ONE table describes an options struct; it feeds --help, `--set key=value`, YAML keys, unknown-key hints and docs/config.md. */

typedef enum ed_option_type { ED_OPT_BOOL, ED_OPT_INT, ED_OPT_FLOAT, ED_OPT_STRING, ED_OPT_ENUM } ed_option_type;
typedef struct ed_option {
    const char *key; /* "learning_rate"; the command line accepts --learning-rate and --learning_rate */
    ed_option_type type;
    size_t offset;          /* of the field in the options struct: bool, int64_t, double, char * (owned by the struct), int */
    double min, max;        /* inclusive bounds of INT and FLOAT */
    const char *const *names; /* ENUM: NULL-terminated names; the field (int) holds the index */
    const char *metavar;    /* shown in help: "N", "FILE" */
    const char *help;       /* one line; the default value is appended by the help printer */
    char short_name;        /* 'p' for -p, 0 = none */
} ed_option;
/** Parses `text` into the field of `opts` that `o` describes. Errors name the key, the text and what is allowed. */
ED_API ed_status ed_option_set(const ed_option *o, void *opts, const char *text, ed_error *err);
/** Row with this key ('-' and '_' are the same), or NULL. */
ED_API const ed_option *ed_option_find(const ed_option *table, size_t n, const char *key);
/** As find + set; an unknown key is ED_E_NOT_FOUND and the message names the nearest valid key. */
ED_API ed_status ed_option_set_key(const ed_option *table, size_t n, void *opts, const char *key, const char *text, ed_error *err);
/** The current value as text ("0.1", "true", "adamw"), NUL-terminated; returns buf. */
ED_API const char *ed_option_get(const ed_option *o, const void *opts, char *buf, size_t buf_bytes);
/** Frees every ED_OPT_STRING field of opts and sets it to NULL. */
ED_API void ed_options_release(const ed_option *table, size_t n, void *opts);

/* ------------------------------------------------------------------ threads and CPU level */

/** Number of threads of the pool (default: the CPUs this process may run on). n <= 0 restores the default. */
ED_API void ed_threads_set(int n);
ED_API int ed_threads_get(void);

/** Kernel levels; a level needs all below it. GENERIC is plain C. */
typedef enum ed_cpu_level { ED_CPU_GENERIC, ED_CPU_AVX2, ED_CPU_AVX512, ED_CPU_AVX512_BF16, ED_CPU_AMX, ED_CPU_LEVEL_COUNT } ed_cpu_level;
/** The best level this machine has / the level in use / its name ("generic", "avx2", "avx512", "avx512bf16", "amx"). */
ED_API ed_cpu_level ed_cpu_best(void);
ED_API ed_cpu_level ed_cpu_get(void);
ED_API const char *ed_cpu_name(ed_cpu_level level);
/** Masks the level (kernels pick it up at their next call). Above the best: ED_E_UNSUPPORTED. Set it before creating models. */
ED_API ed_status ed_cpu_set(ed_cpu_level level);
/** Wall clock in seconds, monotonic. */
ED_API double ed_time_s(void);
/** Largest resident memory of this process so far, in bytes (0 when the system does not tell). */
ED_API size_t ed_peak_rss_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
