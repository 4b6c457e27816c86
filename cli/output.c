/* cli/output.c - results, with every write checked: a full disk is an error, a reader that went away ends the work quietly. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <utf8proc.h>

#include "cli.h"

ed_status cli_errno(ed_error *err, int sys_errno, const char *name, const char *step) {
    char reason[128];
    snprintf(reason, sizeof reason, "%s", strerror(sys_errno));
    if (reason[0] >= 'A' && reason[0] <= 'Z')
        reason[0] = (char)(reason[0] - 'A' + 'a');
    return ed_error_set(err, sys_errno == ENOENT ? ED_E_NOT_FOUND : ED_E_IO, name, ED_NO_OFFSET, "cannot %s: %s", step, reason);
}

/** Opening the output empties it: that must not be the file that is still to be read. */
static bool same_file(const char *path, const cli_in *in) {
    struct stat a, b;
    return in && in->fd >= 0 && stat(path, &a) == 0 && fstat(in->fd, &b) == 0 && S_ISREG(a.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

ed_status cli_out_open(cli *c, const char *path, const cli_in *input, cli_out *out, ed_error *err) {
    bool std = !path || strcmp(path, "-") == 0;
    *out = (cli_out){.c = c, .f = stdout, .name = std ? "standard output" : path};
    if (std)
        return ED_OK;
    if (same_file(path, input))
        return ed_error_set(err, ED_E_INVALID, path, ED_NO_OFFSET, "input and output are the same file");
    out->f = fopen(path, "wb");
    return out->f ? ED_OK : cli_errno(err, errno, path, "open");
}

static void failed(cli_out *o) {
    if (o->status != ED_OK)
        return;
    o->sys_errno = errno;
    o->status = errno == EPIPE ? ED_E_CANCELLED : ED_E_IO;
    o->c->closed_pipe |= errno == EPIPE;
}

void cli_put(cli_out *o, const void *bytes, size_t n) {
    if (o->status == ED_OK && n > 0 && fwrite(bytes, 1, n, o->f) != n)
        failed(o);
}

void cli_printf(cli_out *o, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (o->status == ED_OK && vfprintf(o->f, fmt, ap) < 0)
        failed(o);
    va_end(ap);
}

void cli_put_json(cli_out *o, const char *text, size_t n) {
    cli_put(o, "\"", 1);
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t cp;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &cp);
        if (len <= 0)
            cli_put(o, "\xEF\xBF\xBD", 3);
        else if (cp == '"' || cp == '\\')
            cli_printf(o, "\\%c", (int)cp);
        else if (cp < 0x20 || cp == 0x7F)
            cli_printf(o, "\\u%04x", (unsigned)cp);
        else
            cli_put(o, text + i, (size_t)len);
        i += len <= 0 ? 1 : (size_t)len;
    }
    cli_put(o, "\"", 1);
}

void cli_put_json_number(cli_out *o, double v) {
    if (isfinite(v))
        cli_printf(o, "%.17g", v);
    else
        cli_printf(o, "null");
}

void cli_put_line(cli_out *o, const char *text, size_t n) {
    while (n > 0) {
        size_t run = 0;
        while (run < n && text[run] != '\n' && text[run] != '\r')
            run++;
        cli_put(o, text, run);
        if (run < n)
            cli_put(o, " ", 1);
        run += run < n;
        text += run;
        n -= run;
    }
}

static ed_status told(const cli_out *o, ed_error *err) {
    if (o->status == ED_OK)
        return ED_OK;
    if (o->status == ED_E_CANCELLED)
        return ed_error_set(err, ED_E_CANCELLED, o->name, ED_NO_OFFSET, "the reader went away");
    return cli_errno(err, o->sys_errno, o->name, "write");
}

ed_status cli_flush(cli_out *o, ed_error *err) {
    if (o->status == ED_OK && fflush(o->f) != 0)
        failed(o);
    return told(o, err);
}

ed_status cli_out_close(cli_out *o, ed_status s, ed_error *err) {
    if (o->status == ED_OK && fflush(o->f) != 0)
        failed(o);
    if (o->f != stdout && fclose(o->f) != 0)
        failed(o);
    o->f = stdout;
    return s != ED_OK && !o->c->closed_pipe ? s : told(o, err);
}
