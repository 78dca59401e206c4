#include "standard_program.h"

static void with_locale(const char *name, void (*body)(void)) {
    const char *got = setlocale(LC_ALL, name);
    text(got ? got : "none");
    if (got) body();
    setlocale(LC_ALL, "C");
}

static void locales_body(void) {
    text(nl_langinfo(CODESET)), text(nl_langinfo(D_T_FMT)), text(nl_langinfo(ABMON_3)), text(nl_langinfo(RADIXCHAR)), text(nl_langinfo(YESEXPR));
    struct lconv *c = localeconv();
    text(c->decimal_point), text(c->thousands_sep), text(c->grouping), number(c->frac_digits), number(c->int_n_sign_posn);
    number(MB_CUR_MAX);
}
static void locales(void) {
    const char *names[] = {"C", "POSIX", "C.UTF-8", "C.utf8", "xx_YY", "C.utf-9"};
    for (int i = 0; i < 6; i++) with_locale(names[i], locales_body);
    text(setlocale(LC_CTYPE, "C.UTF-8")), text(setlocale(LC_ALL, 0));
    char *mixed = strdup(setlocale(LC_ALL, 0));
    text(setlocale(LC_ALL, "C")), text(setlocale(LC_ALL, mixed)), text(setlocale(LC_ALL, "C"));
    free(mixed);
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", 0), copy = duplocale(utf8);
    text(nl_langinfo_l(CODESET, utf8)), text(nl_langinfo_l(CODESET, copy)), text(nl_langinfo(CODESET));
    number(uselocale(0) == LC_GLOBAL_LOCALE);
    uselocale(utf8);
    text(nl_langinfo(CODESET)), number(uselocale(0) == utf8), text(setlocale(LC_CTYPE, 0));
    number(uselocale(LC_GLOBAL_LOCALE) == utf8), text(nl_langinfo(CODESET));
    freelocale(copy), freelocale(utf8);
    errno = 0;
    both(newlocale(LC_ALL_MASK, "none", 0) == 0), both(newlocale(1 << 30, "C", 0) == 0);
}

static void conversions(void) {
    const char *texts[] = {"plain", "\xc3\xa9t\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80!", "\x80", "\xc3", "\xc0\x80", "\xed\xa0\x80", "a\xff"};
    for (int i = 0; i < 9; i++) {
        wchar_t wide[20], one = 0;
        char back[40];
        mbstate_t state = {0};
        const char *p = texts[i];
        memset(wide, 0, sizeof wide), errno = 0;
        both(mbrtowc(&one, p, strlen(p), &state)), number(one), number(mbsinit(&state));
        memset(&state, 0, sizeof state);
        for (const char *q = p; *q; q++) {
            size_t used = mbrtowc(&one, q, 1, &state);
            both(used);
            if (used == (size_t)-1) break;
        }
        memset(&state, 0, sizeof state);
        both(mbsrtowcs(wide, &p, 20, &state)), offset(texts[i], p), bytes(wide, 24);
        p = texts[i], memset(&state, 0, sizeof state);
        both(mbsrtowcs(0, &p, 0, &state));
        p = texts[i], memset(&state, 0, sizeof state), memset(wide, 0, sizeof wide);
        both(mbsnrtowcs(wide, &p, 2, 20, &state)), offset(texts[i], p), number(mbsinit(&state));
        both(mbstowcs(wide, texts[i], 20)), both(mbtowc(&one, texts[i], 4)), both(mblen(texts[i], 1));
    }
    wchar_t wide[] = {'a', 0xe9, 0x20ac, 0x1f600, 0}, surrogate[] = {'a', 0xd800, 0};
    char back[40];
    const wchar_t *p = wide;
    errno = 0, memset(back, 0, sizeof back);
    both(wcsrtombs(back, &p, 40, 0)), bytes(back, 16), number(p ? p - wide : -1);
    p = wide, both(wcsrtombs(back, &p, 5, 0)), number(p ? p - wide : -1);
    p = wide, both(wcsnrtombs(back, &p, 2, 40, 0)), number(p ? p - wide : -1);
    both(wcstombs(back, surrogate, 40)), both(wcstombs(0, wide, 0));
    for (int i = 0; i < 300; i += 7) number(btowc(i)), number(wctob(i));
}
static void conversion(void) { with_locale("C", conversions), with_locale("C.UTF-8", conversions); }

static void classes(void) {
    const char *names[] = {"alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit", "none"};
    const wint_t some[] = {0, ' ', 'A', 'z', '5', 0xe9, 0xc9, 0x3b1, 0x4e00, 0x2003, 0x20ac, 0x1f600, WEOF};
    for (int i = 0; i < 13; i++) {
        number(wctype(names[i]) != 0);
        for (int j = 0; j < 13; j++) number(!!iswctype(some[j], wctype(names[i])));
    }
    for (int j = 0; j < 13; j++) number(towlower(some[j])), number(towupper(some[j])), number(!!iswalpha(some[j])), number(towctrans(some[j], wctrans("toupper")));
}
static void classification(void) { with_locale("C", classes), with_locale("C.UTF-8", classes); }

static void wide_strings(void) {
    wchar_t room[40], *end;
    wcscpy(room, L"one"), wcscat(room, L"-two"), wcsncat(room, L"-three", 3);
    bytes(room, 4 * wcslen(room)), number(wcslen(room));
    number(sign(wcscmp(L"abc", L"abd"))), number(sign(wcsncmp(L"abc", L"abd", 2))), number(sign(wcscmp(L"b", L"abd")));
    number(wcschr(room, 't') - room), number(wcsrchr(room, '-') - room), number(wcsstr(room, L"two") - room);
    number(wcsspn(room, L"eno")), number(wcscspn(room, L"-")), number(wcspbrk(room, L"w-") - room);
    number(wmemchr(room, 'w', 10) - room), number(sign(wmemcmp(room, room + 1, 4)));
    wmemset(room, 'x', 5), wmemcpy(room + 10, room, 5), wmemmove(room + 1, room, 4), bytes(room, 60);
    wcsncpy(room, L"ab", 6), bytes(room, 24), number(wcsnlen(room, 1));
    number(wcstol(L" -123x", &end, 0)), number(wcstoul(L"ff", &end, 16)), real(wcstod(L"2.5e1z", &end));
}

#include <iconv.h>
static void sets(void) {
    const char *names[][2] = {{"UTF-16LE", "UTF-8"}, {"UTF-8", "ISO-8859-1"}, {"ISO-8859-1", "UTF-8"}, {"WCHAR_T", "UTF-8"}, {"UTF-8", "UTF-16BE"}, {"ASCII", "UTF-8"}, {"UTF-8", "NONE"}, {"UTF-16", "UTF-8"}};
    const char *texts[] = {"plain", "\xc3\xa9\xe2\x82\xac", "a\xc3", "b\xff z", "\xf0\x9f\x98\x80"};
    for (int i = 0; i < 8; i++) {
        errno = 0;
        iconv_t cd = iconv_open(names[i][0], names[i][1]);
        both(cd == (iconv_t)-1);
        if (cd == (iconv_t)-1) continue;
        for (int t = 0; t < 5; t++)
            for (size_t room = i == 7 ? 21 : 3; room < 40; room += 18) { /* glibc writes the byte order mark apart */
                char in[20], out[40], *from = in, *to = out;
                size_t left = strlen(strcpy(in, texts[t])), space = room;
                memset(out, 0, 40), iconv(cd, 0, 0, 0, 0), errno = 0;
                both(iconv(cd, &from, &left, &to, &space)), number(from - in), number(left), number(to - out), number(space), bytes(out, 40);
            }
        both(iconv_close(cd));
    }
}

RUN(sets, locales, conversion, classification, wide_strings)
