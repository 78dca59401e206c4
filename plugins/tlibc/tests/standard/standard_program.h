/* Programs that tell what they saw of the C library as text, for the host's and the guest's to be
 * compared. run(program, text) answers the text's length. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

static char *out;
/* Written without printf, which is tested by itself. */
static void text(const char *s) {
    while (*s) *out++ = *s++;
    *out++ = '\n';
}
static void number(long value) {
    char digits[24], *p = digits + 23;
    unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
    *p = 0;
    do *--p = '0' + rest % 10; while (rest /= 10);
    if (value < 0) *--p = '-';
    text(p);
}
static void bytes(const void *data, long size) {
    for (long i = 0; i < size; i++) {
        *out++ = "0123456789abcdef"[((const unsigned char *)data)[i] >> 4];
        *out++ = "0123456789abcdef"[((const unsigned char *)data)[i] & 15];
    }
    *out++ = '\n';
}
/* A number's bits; any NaN is any other. */
static void real(double value) {
    if (value != value) text("nan");
    else bytes(&value, 8);
}
static void offset(const void *base, const void *at) { number(at ? (const char *)at - (const char *)base : -1); }
static int sign(int value) { return (value > 0) - (value < 0); }
/* A result and its errno. */
static void both(long value) {
    int seen = errno;
    number(value);
    number(seen);
    errno = 0;
}
#define RUN(...)                                                                                   \
    static void (*const programs[])(void) = {__VA_ARGS__};                                         \
    long run(int program, char *into) {                                                            \
        out = into;                                                                                \
        programs[program]();                                                                       \
        return out - into;                                                                         \
    }
