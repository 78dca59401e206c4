#include "standard_program.h"

static void strings(void) {
    const char *s = "one, two;three", *t = "a needle in hay";
    offset(s, strstr(s, "two"));
    offset(s, strstr(s, ""));
    offset(s, strstr(s, "four"));
    offset(t, strcasestr(t, "NEEDLE"));
    offset(t, memmem(t, 15, "le in", 5));
    offset(s, strchrnul(s, ';'));
    offset(s, strchrnul(s, '!'));
    offset(s, rawmemchr(s, 't'));
    number(strspn(s, "neo"));
    number(strspn(s, ""));
    number(strcspn(s, ";,"));
    number(strcspn(s, ""));
    offset(s, strpbrk(s, ";,"));
    offset(s, strpbrk(s, "!?"));
    number(sign(strcasecmp("Hello", "hELLO")));
    number(sign(strcasecmp("Hello", "help")));
    number(sign(strncasecmp("Hello", "help", 3)));
    number(sign(strcoll("b", "a")));
    const char *versions[] = {"a1", "a01", "a001", "a10", "a9", "a", "b", "1.2", "1.10", "1.010", "000", "00", "01", "010", "09", "0", "1", "9", "10"};
    for (int i = 0; i < 19; i++)
        for (int j = 0; j < 19; j++) number(sign(strverscmp(versions[i], versions[j])));
    number(ffs(0)), number(ffs(8)), number(ffsl(1L << 40)), number(ffsll(LLONG_MIN));
}

static void splitting(void) {
    char line[] = ",,one,two;;three,", *rest, *token;
    for (token = strtok_r(line, ",;", &rest); token; token = strtok_r(0, ",;", &rest)) text(token);
    char again[] = "a b  c";
    for (token = strtok(again, " "); token; token = strtok(0, " ")) text(token);
    char fields[] = "x::y:z", *place = fields;
    while ((token = strsep(&place, ":"))) text(token);
    number(place == 0);
}

static void copying(void) {
    char room[40];
    memset(room, '.', 40);
    strcpy(room, "ab");
    text(strcat(room, "cd"));
    text(strncat(room, "efgh", 2));
    offset(room, stpcpy(room, "12345"));
    offset(room, stpncpy(room + 2, "xy", 6));
    bytes(room, 40);
    offset(room, mempcpy(room, "mempcpy", 7));
    offset(room, memccpy(room, "until;here", ';', 10));
    offset(room, memccpy(room, "until;here", '!', 10));
    bytes(room, 40);
    char *copy = strndup("duplicate", 3);
    text(copy);
    free(copy);
    number(strxfrm(room, "order", 40));
    text(room);
    text(basename("/a/b/c.txt")), text(basename("plain"));
    text(strsignal(SIGSEGV)), text(strerror_r(ENOENT, room, 40));
}

static void numbers(void) {
    const char *texts[] = {"0", "-12", "+7x", "  42", "0x1f", "0x", "0xg", "077", "089", "z", "", "-", "9223372036854775807",
        "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
        "-1", "-18446744073709551615", "1_000", "\t\n\v\f\r 5", "0b11", "-0x8000000000000000"};
    int bases[] = {0, 2, 8, 10, 16, 36};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        for (int b = 0; b < 6; b++) {
            char *end = 0;
            errno = 0;
            both(strtol(texts[i], &end, bases[b])), offset(texts[i], end);
            both(strtoul(texts[i], &end, bases[b])), offset(texts[i], end);
        }
    number(atoi("-17 apples")), number(atol("123456789012")), number(atoi("2147483648"));
    real(atof(" 2.5e3!"));
}

static void floats(void) {
    const char *texts[] = {"0", "-0", "1", "0.1", "-2.5e-3", "1e308", "1e309", "-1e400", "4.9e-324", "2e-324", "2.2250738585072011e-308",
        "1e-400", "inf", "-INFINITY", "infinit", "nan", "NaN(123)", "nan(", "0x1p3", "0x1.8p-1", "0x.8", "0xp1", "0x1p-1074", "0x1p-1075",
        "0x1.fffffffffffff8p1023", "1e", "1e+", "1.e2", ".5", ".", "e5", "  3.25abc", "3.4028235677973366e38", "3.4028234e38",
        "1.17549435e-38", "1e-45", "7e-46", "16777217", "9007199254740993", "0.5000000298023223876953125", "1e4950", "1e-4950",
        "123456789012345678901234567890", "3.141592653589793238462643383279502884", "1e99999999999", "0e99999999999", "0x1p99999999"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *end = 0;
        errno = 0;
        real(strtod(texts[i], &end)), both(0), offset(texts[i], end);
        real(strtof(texts[i], &end)), both(0), offset(texts[i], end);
        long double x = strtold(texts[i], &end);
        if (x != x) text("nan"); else bytes(&x, 10);
        both(0), offset(texts[i], end);
    }
}

static void characters(void) {
    for (int c = -128; c < 256; c++) {
        int mask = 0;
        if (c >= -1) {
            mask |= !!isalnum(c) | !!isalpha(c) << 1 | !!isblank(c) << 2 | !!iscntrl(c) << 3 | !!isdigit(c) << 4 | !!isgraph(c) << 5;
            mask |= !!islower(c) << 6 | !!isprint(c) << 7 | !!ispunct(c) << 8 | !!isspace(c) << 9 | !!isupper(c) << 10 | !!isxdigit(c) << 11;
            number(mask), number(tolower(c)), number(toupper(c));
            number(!!(isalpha)(c)), number((tolower)(c)), number((toupper)(c));
        }
        number((*__ctype_b_loc())[c]), number((*__ctype_tolower_loc())[c]), number((*__ctype_toupper_loc())[c]);
    }
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static int compared;
static int by_tens(const void *a, const void *b, void *count) {
    ++*(int *)count;
    return *(const int *)a / 10 - *(const int *)b / 10;
}
static jmp_buf out_of_sort;
static int leaving(const void *a, const void *b) { longjmp(out_of_sort, 5); }
static void sorting(void) {
    int values[200];
    unsigned seed = 1;
    for (int i = 0; i < 200; i++) values[i] = (seed = seed * 1103515245 + 12345) >> 20;
    qsort(values, 200, sizeof *values, by_value);
    bytes(values, sizeof values);
    for (int i = 0; i < 4096; i += 97) {
        int *found = bsearch(&i, values, 200, sizeof *values, by_value);
        number(found ? *found : -1);
    }
    for (int i = 0; i < 200; i++) values[i] = (seed = seed * 1103515245 + 12345) >> 24;
    qsort_r(values, 200, sizeof *values, by_tens, &compared);
    bytes(values, sizeof values), number(compared);
    char wide[10][48];
    for (int i = 0; i < 10; i++) memset(wide[i], 'a' + (i * 7) % 10, 47), wide[i][47] = 0;
    qsort(wide, 10, 48, (int (*)(const void *, const void *))strcmp);
    for (int i = 0; i < 10; i++) text(wide[i]);
    qsort(values, 0, 4, by_value), qsort(values, 1, 4, by_value);
    number(setjmp(out_of_sort));
    static int once;
    if (!once++) qsort(values, 5, 4, leaving);
}

static void dividing(void) {
    int numerators[] = {7, -7, 0, INT_MIN, INT_MAX}, denominators[] = {2, -2, 3, INT_MAX};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 4; j++) {
            div_t d = div(numerators[i], denominators[j]);
            ldiv_t l = ldiv(numerators[i] * 4000000000L, denominators[j]);
            lldiv_t ll = lldiv(numerators[i], denominators[j]);
            number(d.quot), number(d.rem), number(l.quot), number(l.rem), number(ll.quot), number(ll.rem);
        }
    int (*volatile plain)(int) = abs;
    long (*volatile wide)(long) = labs;
    number(plain(-5)), number(plain(5)), number(wide(LONG_MIN + 1)), number(wide(9));
}

static jmp_buf place;
static sigjmp_buf masked;
static void deep(int depth, int value) { if (depth) deep(depth - 1, value); else longjmp(place, value); }
static void jumping(void) {
    volatile int rounds = 0;
    int value = setjmp(place);
    number(value);
    if (++rounds < 4) deep(rounds * 10, rounds - 1);
    sigset_t some, now;
    sigemptyset(&some), sigaddset(&some, SIGUSR1);
    volatile int again = 0;
    number(sigsetjmp(masked, 1));
    sigprocmask(SIG_BLOCK, 0, &now), number(sigismember(&now, SIGUSR1));
    if (!again++) sigprocmask(SIG_BLOCK, &some, 0), siglongjmp(masked, 3);
    again = 0;
    number(sigsetjmp(masked, 0));
    sigprocmask(SIG_BLOCK, 0, &now), number(sigismember(&now, SIGUSR1));
    if (!again++) sigprocmask(SIG_BLOCK, &some, 0), siglongjmp(masked, 3);
    sigprocmask(SIG_UNBLOCK, &some, 0);
}

RUN(strings, splitting, copying, numbers, floats, characters, sorting, dividing, jumping)
