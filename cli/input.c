/* cli/input.c - lines from a file, pipe or terminal, in batches that do not keep a slow writer's lines waiting.
 *
 * Any bytes are accepted: a line may hold NUL, a last line may lack its end, CRLF counts as a line end. Invariant: bytes [begin, end) of data are those that no caller
 * has had; data has room for a NUL behind end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { BLOCK = 1 << 16, BATCH_BYTES = 16 << 20 };
static const size_t LINE_MAX_BYTES = (size_t)1 << 30;

ed_status cli_in_open(const char *path, cli_in *in, ed_error *err) {
    struct stat st;
    bool std = !path || strcmp(path, "-") == 0;
    *in = (cli_in){.name = std ? "standard input" : path};
    in->fd = std ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return cli_errno(err, errno, in->name, "open");
    if (fstat(in->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        cli_in_close(in);
        return ed_error_set(err, ED_E_IO, in->name, ED_NO_OFFSET, "is a folder, not a file");
    }
    in->terminal = isatty(in->fd) == 1;
    return ED_OK;
}

void cli_in_close(cli_in *in) {
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    free(in->data);
    *in = (cli_in){.fd = -1};
}

static ed_status make_room(cli_in *in, ed_error *err) {
    if (in->cap - in->end > BLOCK)
        return ED_OK;
    if (in->begin > 0 && in->begin >= in->end - in->begin) { /* move only when it pays */
        memmove(in->data, in->data + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
    }
    if (in->cap - in->end > BLOCK)
        return ED_OK;
    size_t cap = 2 * in->cap + 2 * BLOCK;
    char *grown = realloc(in->data, cap);
    if (!grown)
        return ed_error_set(err, ED_E_MEMORY, in->name, ED_NO_OFFSET, "no memory for %zu bytes of input", cap);
    in->data = grown;
    in->cap = cap;
    return ED_OK;
}

/** One read; sets eof at the end. */
static ed_status fill(cli_in *in, ed_error *err) {
    CLI_TRY(make_room(in, err));
    for (;;) {
        ssize_t n = read(in->fd, in->data + in->end, BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cli_errno(err, errno, in->name, "read");
        in->eof = n == 0;
        in->end += (size_t)n;
        in->data[in->end] = 0;
        return ED_OK;
    }
}

static bool more_within(const cli_in *in, double seconds) {
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    return poll(&p, 1, seconds > 0 ? (int)(seconds * 1000) : 0) > 0;
}

void cli_lines_free(cli_lines *l) {
    free(l->text);
    free(l->bytes);
    *l = (cli_lines){0};
}

static ed_status lines_grow(cli_lines *l, ed_error *err) {
    if (l->n < l->cap)
        return ED_OK;
    int64_t cap = 2 * l->cap + 64;
    char **text = realloc(l->text, (size_t)cap * sizeof *text);
    size_t *bytes = text ? realloc(l->bytes, (size_t)cap * sizeof *bytes) : NULL;
    l->text = text ? text : l->text;
    l->bytes = bytes ? bytes : l->bytes;
    if (!text || !bytes)
        return ed_error_set(err, ED_E_MEMORY, "", ED_NO_OFFSET, "no memory for %lld lines", (long long)cap);
    l->cap = cap;
    return ED_OK;
}

/** Bytes of the next line with its end; 0 = not complete yet. *scanned: bytes known to hold no line end. */
static size_t next_line(const cli_in *in, size_t at, size_t *scanned) {
    const char *from = in->data + at + *scanned, *end = at + *scanned < in->end ? memchr(from, '\n', in->end - at - *scanned) : NULL;
    *scanned = end ? 0 : in->end - at;
    if (end)
        return (size_t)(end - in->data) - at + 1;
    return in->eof && in->end > at ? in->end - at : 0;
}

/** Lengths of the lines to hand out, line ends included; the bytes stay in the reader. */
static ed_status collect(cli_in *in, int64_t max_lines, double wait_s, cli_lines *l, ed_error *err) {
    size_t used = 0, scanned = 0;
    double first = 0;
    while (l->n < max_lines && used < BATCH_BYTES) {
        size_t n = in->data ? next_line(in, in->begin + used, &scanned) : 0;
        if (n > 0) {
            CLI_TRY(lines_grow(l, err));
            if (l->n == 0)
                first = ed_time_s();
            l->bytes[l->n++] = n;
            used += n;
            continue;
        }
        if (in->eof || (l->n > 0 && wait_s >= 0 && !more_within(in, first + wait_s - ed_time_s())))
            break;
        if (scanned > LINE_MAX_BYTES)
            return ed_error_set(err, ED_E_LIMIT, in->name, ED_NO_OFFSET, "a line is longer than %zu bytes", LINE_MAX_BYTES);
        CLI_TRY(fill(in, err));
    }
    return ED_OK;
}

ed_status cli_in_lines(cli_in *in, int64_t max_lines, double wait_s, cli_lines *l, ed_error *err) {
    l->n = 0;
    CLI_TRY(collect(in, in->terminal ? 1 : max_lines, wait_s, l, err));
    for (int64_t i = 0; i < l->n; i++) { /* only now does the memory stand still */
        char *text = in->data + in->begin;
        size_t n = l->bytes[i];
        in->begin += n;
        if (text[n - 1] == '\n') {
            n--;
            n -= n > 0 && text[n - 1] == '\r';
        }
        text[n] = 0;
        l->text[i] = text;
        l->bytes[i] = n;
    }
    return ED_OK;
}

ed_status cli_in_all(cli_in *in, size_t max_bytes, char **text, size_t *bytes, ed_error *err) {
    CLI_TRY(make_room(in, err));
    while (!in->eof && in->end - in->begin <= max_bytes)
        CLI_TRY(fill(in, err));
    *bytes = in->end - in->begin;
    if (*bytes > max_bytes)
        return ed_error_set(err, ED_E_LIMIT, in->name, ED_NO_OFFSET, "more than %zu bytes of text", max_bytes);
    *text = in->data + in->begin;
    in->begin = in->end;
    return ED_OK;
}
