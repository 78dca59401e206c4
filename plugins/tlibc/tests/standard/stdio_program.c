#include "standard_program.h"

static void scanning(void) {
    int a = -9, b = -9, c = -9, n = -9;
    unsigned u = 9;
    long l = -9;
    short h = -9;
    signed char hh = -9;
    double d = -9;
    float f = -9;
    long double wide = -9;
    char word[50] = "", set[50] = "", three[4] = "";
    char *made = 0;
    void *p = 0;
#define SHOW(call) errno = 0, number(call), number(a), number(b), number(c), number(n), number(u), number(l), number(h), number(hh), real(d), real(f), bytes(&wide, 10), text(word), text(set), text(three), number((long)p)
    SHOW(sscanf("12 -34 0x1f", "%d %d %i", &a, &b, &c));
    SHOW(sscanf("  7,8", "%d,%d%n", &a, &b, &n));
    SHOW(sscanf("7;8", "%d,%d", &a, &b));
    SHOW(sscanf("", "%d", &a));
    SHOW(sscanf("   ", "%d", &a));
    SHOW(sscanf("x", "%d", &a));
    SHOW(sscanf("4294967297 99999999999999999999", "%d %ld", &a, &l));
    SHOW(sscanf("70000 300 077", "%hd %hhd %i", &h, &hh, &c));
    SHOW(sscanf("ff 0xAB 17", "%x %X %o", &u, &a, &b));
    SHOW(sscanf("2.5e3 -0.125 1e-4000", "%lf %f %Lf", &d, &f, &wide));
    SHOW(sscanf("inf 0x1.8p1", "%lf %f", &d, &f));
    SHOW(sscanf("hello world-x", "%s %[a-z]-%2c", word, set, three));
    SHOW(sscanf("hello", "%3s%s", word, set));
    SHOW(sscanf("abc]def", "%[^]]%n", set, &n));
    SHOW(sscanf("a-b]c", "%[]a-]", set));
    SHOW(sscanf("12345", "%2d%3d", &a, &b));
    SHOW(sscanf("skip 5", "%*s %d", &a));
    SHOW(sscanf("100%", "%d%%%n", &a, &n));
    SHOW(sscanf("0x7fff0000", "%p", &p));
    SHOW(sscanf("made up", "%ms", &made)), text(made), free(made);
    SHOW(sscanf("1.5.5", "%lf%lf", &d, &d));
    SHOW(sscanf("-", "%d", &a));
    SHOW(sscanf("0xz", "%x", &u));
    SHOW(sscanf("12e+q", "%lf%s", &d, word));
    SHOW(sscanf("2024-05-06T07:08:09", "%4d-%2d-%2dT%*d:%d", &a, &b, &c, &n));
}

static void printing(void) {
    char line[400];
    long double values[] = {0, 1, -2.5L, 0.1L, 1e4000L, -3.6e-4951L, 123456789.987654321L, 1e-5L, 99999.95L, INFINITY, NAN};
    const char *formats[] = {"%Lf", "%.3Lf", "%Le", "%.0Le", "%Lg", "%#Lg", "%.15Lg", "%25.6Lg|", "%-25.3Le|", "%025.3Le|", "%+LG", "%.0Lf", "%#.0Lf"};
    for (int i = 0; i < 11; i++)
        for (int f = 0; f < 13; f++)
            if (i != 4 || !strstr(formats[f], "Lf")) number(snprintf(line, sizeof line, formats[f], values[i])), text(line);
    double plain[] = {0, 1, -2.5, 0.1, 5e-324, 1e308, 255.999, 1.9999999, INFINITY};
    const char *hexadecimal[] = {"%a", "%A", "%.0a", "%.3a", "%20a|", "%-20a|", "%020a|", "%#.0a", "%+a"};
    for (int i = 0; i < 9; i++)
        for (int f = 0; f < 9; f++) snprintf(line, sizeof line, hexadecimal[f], plain[i]), text(line);
    for (int i = 0; i < 9; i++) snprintf(line, sizeof line, "%La", (long double)plain[i]), text(line);
    snprintf(line, sizeof line, "%d %Lf %s %f %d %d %d %d %Lg %d", 1, 2.5L, "three", 4.0, 5, 6, 7, 8, 9.5L, 10), text(line);
}

RUN(scanning, printing)
