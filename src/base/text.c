/* base/text.c - small text work: one-line copies of untrusted text, numbers that ignore the host's locale, and "did you mean".
 * Numbers: parsing and printing switch this thread to the C locale for the call, so that a host that speaks another locale changes nothing.
 * Nearest name: optimal string alignment distance (Levenshtein with swaps of neighbours). */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/internal.h"

size_t ed__text_line(char *dst, size_t dst_bytes, const char *src) {
    size_t left = strlen(src), at = 0;
    if (dst_bytes == 0)
        return 0;
    while (left > 0) {
        uint32_t cp = '?';
        int len = ed__utf8_decode((const unsigned char *)src, left, &cp);
        bool plain = len > 0 && cp >= 0x20 && cp != 0x7F && !(cp >= 0x80 && cp < 0xA0) && cp != 0x2028 && cp != 0x2029;
        size_t take = len > 0 ? (size_t)len : 1, put = plain ? take : 1;
        if (at + put > dst_bytes - 1)
            break;
        if (plain)
            memmove(dst + at, src, take); /* dst may be src */
        else
            dst[at] = len > 0 ? ' ' : '?';
        at += put;
        src += take;
        left -= take;
    }
    dst[at] = '\0';
    return at;
}

/* ---- numbers */

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Switches this thread to the C locale; give the result to leave_c_locale. */
static locale_t enter_c_locale(void) {
    pthread_once(&c_locale_once, make_c_locale);
    return c_locale ? uselocale(c_locale) : (locale_t)0;
}

static void leave_c_locale(locale_t old) {
    if (old)
        uselocale(old);
}

bool ed__parse_i64(const char *text, int64_t *out) {
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;
    if (!isdigit((unsigned char)*digits))
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *out = v;
    return true;
}

bool ed__parse_f64(const char *text, double *out) {
    char *end;
    const char *first = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*first) && *first != '.' && strcmp(first, "inf") != 0 && strcmp(first, "nan") != 0)
        return false;
    locale_t old = enter_c_locale();
    errno = 0;
    double v = strtod(text, &end);
    bool overflow = errno == ERANGE && fabs(v) > 1.0; /* ERANGE of a tiny number is no failure */
    leave_c_locale(old);
    if (end == text || *end != '\0' || overflow)
        return false;
    *out = v;
    return true;
}

void ed__format_f64(double v, char *buf, size_t buf_bytes) {
    locale_t old = enter_c_locale();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, buf_bytes, "%.*g", digits, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    leave_c_locale(old);
}

/* ---- nearest name */

enum { NAME_MAX_CHARS = 63 };

static int fold(char c) {
    return c == '-' ? '_' : tolower((unsigned char)c);
}

bool ed__name_equal(const char *a, const char *b) {
    while (*a && *b && (*a == '-' ? '_' : *a) == (*b == '-' ? '_' : *b)) {
        a++;
        b++;
    }
    return *a == *b;
}

static int min_int(int a, int b) {
    return a < b ? a : b;
}

/* Three rows of the alignment table are enough: row i needs i-1, and i-2 for a swap. */
static int distance(const char *a, int n, const char *b, int m) {
    int rows[3][NAME_MAX_CHARS + 2];
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            now[j] = min_int(above[j - 1] + !same, min_int(above[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
                now[j] = min_int(now[j], above2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

static bool starts_with(const char *name, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (fold(name[i]) != fold(text[i])) /* a shorter name differs at its NUL */
            return false;
    return true;
}

int ed__nearest_name(const char *text, const char *const *names, int n) {
    size_t len = strlen(text);
    if (len == 0 || len > NAME_MAX_CHARS)
        return -1;
    int best = -1, best_distance = len <= 3 ? 2 : (int)len / 3 + 2; /* must be beaten */
    for (int i = 0; i < n; i++) {
        size_t name_len = strlen(names[i]);
        if (name_len > NAME_MAX_CHARS)
            continue;
        int d = len >= 3 && starts_with(names[i], text, len) ? 1 : distance(text, (int)len, names[i], (int)name_len);
        if (d < best_distance) {
            best_distance = d;
            best = i;
        }
    }
    return best;
}
