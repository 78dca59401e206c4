"""Which functions of characters and their strings are imported at their first call.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit_tlibc.declare import MINUS_ONE, NULL
from theseus_kit_tlibc.deferred import Table

_CHARACTERS = (
    "alnum",
    "alpha",
    "blank",
    "cntrl",
    "digit",
    "graph",
    "lower",
    "print",
    "punct",
    "space",
    "upper",
    "xdigit",
)

STRINGS = (
    Table(
        "string_search",
        "string.h",
        """
        char *strstr(const char *haystack, const char *needle)
        char *strcasestr(const char *haystack, const char *needle)
        void *memmem(const void *haystack, size_t size, const void *needle, size_t needle_size)
        void *rawmemchr(const void *s, int c) = __rawmemchr
        char *strchrnul(const char *s, int c)
        size_t strspn(const char *s, const char *accept)
        size_t strcspn(const char *s, const char *reject)
        char *strpbrk(const char *s, const char *accept)
        char *strtok(char *s, const char *delimiters)
        char *strtok_r(char *s, const char *delimiters, char **saved) = __strtok_r
        char *strsep(char **stringp, const char *delimiters) = __strsep
        int strcasecmp(const char *s1, const char *s2) = __strcasecmp
        int strncasecmp(const char *s1, const char *s2, size_t n)
        int strcasecmp_l(const char *s1, const char *s2, locale_t *locale) = __strcasecmp_l
        int strncasecmp_l(const char *s1, const char *s2, size_t n, locale_t *locale) = \
            __strncasecmp_l
        int strcoll(const char *s1, const char *s2)
        int strcoll_l(const char *s1, const char *s2, locale_t *locale) = __strcoll_l
        int strverscmp(const char *s1, const char *s2) = __strverscmp
        int ffs(int i)
        int ffsl(long i) = ffsll
    """,
    ),
    Table(
        "string_copy",
        "string.h",
        """
        void *memccpy(void *dest, const void *src, int c, size_t n)
        char *strcat(char *dest, const char *src)
        char *strncat(char *dest, const char *src, size_t n)
        char *stpcpy(char *dest, const char *src) = __stpcpy
        char *stpncpy(char *dest, const char *src, size_t n) = __stpncpy
        size_t strlcpy(char *dest, const char *src, size_t size)
        size_t strlcat(char *dest, const char *src, size_t size)
        size_t strxfrm(char *dest, const char *src, size_t n)
        size_t strxfrm_l(char *dest, const char *src, size_t n, locale_t *locale) = __strxfrm_l
        void bzero(void *s, size_t n) = explicit_bzero
        void bcopy(const void *src, void *dest, size_t n)
        char *strsignal(int sig)
        char *strerror_r(int errnum, char *buf, size_t size)
        char *strerror_l(int errnum, locale_t *locale)
        char *basename(const char *path)
    """,
    ),
    Table(
        "string_copy",
        "string.h",
        """
        char *strndup(const char *s, size_t n) = __strndup
    """,
        NULL,
    ),
    Table(
        "string_copy",
        "string.h",
        """
        void *mempcpy(void *dest, const void *src, size_t n) = __mempcpy
    """,
        machine_code=True,
    ),
    Table(
        "fortify",
        "string.h",
        """
        void *__memcpy_chk(void *dest, const void *src, size_t n, size_t room)
        void *__memmove_chk(void *dest, const void *src, size_t n, size_t room)
        void *__mempcpy_chk(void *dest, const void *src, size_t n, size_t room)
        void *__memset_chk(void *s, int c, size_t n, size_t room)
    """,
        machine_code=True,
    ),
    Table(
        "fortify",
        "string.h",
        """
        void __chk_fail(void)
        char *__strcpy_chk(char *dest, const char *src, size_t room)
        char *__stpcpy_chk(char *dest, const char *src, size_t room)
        char *__strncpy_chk(char *dest, const char *src, size_t n, size_t room)
        char *__stpncpy_chk(char *dest, const char *src, size_t n, size_t room)
        char *__strcat_chk(char *dest, const char *src, size_t room)
        char *__strncat_chk(char *dest, const char *src, size_t n, size_t room)
        size_t __strlcpy_chk(char *dest, const char *src, size_t size, size_t room)
        long __fdelt_chk(long fd) = __fdelt_warn
    """,
    ),
)

CHARACTERS = (
    Table(
        "ctype",
        "ctype.h",
        """
        const unsigned short **__ctype_b_loc(void)
        const int **__ctype_tolower_loc(void)
        const int **__ctype_toupper_loc(void)
    """,
        machine_code=True,
    ),
    Table(
        "ctype",
        "ctype.h",
        """
        size_t __ctype_get_mb_cur_max(void)
        int tolower(int c)
        int toupper(int c)
        int toascii(int c)
        int isascii(int c)
        int tolower_l(int c, locale_t *locale) = __tolower_l
        int toupper_l(int c, locale_t *locale) = __toupper_l
    """,
    ),
    Table("ctype", "ctype.h", "\n".join(f"int is{name}(int c)" for name in _CHARACTERS)),
    Table("wctype", "wctype.h", "\n".join(f"int isw{name}(wint_t wc)" for name in _CHARACTERS)),
    Table(
        "wctype",
        "wctype.h",
        """
        unsigned long wctype(const char *name)
        unsigned long wctype_l(const char *name, locale_t *locale) = __wctype_l
        int iswctype(wint_t wc, unsigned long desc)
        int iswctype_l(wint_t wc, unsigned long desc, locale_t *locale) = __iswctype_l
        unsigned long wctrans(const char *name)
        unsigned long wctrans_l(const char *name, locale_t *locale) = __wctrans_l
        wint_t towctrans(wint_t wc, unsigned long desc)
        wint_t towctrans_l(wint_t wc, unsigned long desc, locale_t *locale) = __towctrans_l
        wint_t towlower(wint_t wc)
        wint_t towupper(wint_t wc)
        wint_t towlower_l(wint_t wc, locale_t *locale) = __towlower_l
        wint_t towupper_l(wint_t wc, locale_t *locale) = __towupper_l
    """,
    ),
    Table(
        "locale",
        "locale.h",
        """
        char *setlocale(int category, const char *locale)
        locale_t *newlocale(int mask, const char *locale, locale_t *base) = __newlocale
        locale_t *duplocale(locale_t *locale) = __duplocale
        void freelocale(locale_t *locale) = __freelocale
        locale_t *uselocale(locale_t *locale) = __uselocale
        struct lconv *localeconv(void)
        char *nl_langinfo(int item)
        char *nl_langinfo_l(int item, locale_t *locale) = __nl_langinfo_l
    """,
        NULL,
    ),
    Table(
        "wchar_convert",
        "wchar.h",
        """
        wint_t btowc(int c)
        int wctob(wint_t c)
        int mbsinit(const mbstate_t *ps)
        size_t mbrtowc(wchar_t *pwc, const char *s, size_t n, mbstate_t *ps)
        size_t mbrlen(const char *s, size_t n, mbstate_t *ps) = __mbrlen
        int mbtowc(wchar_t *pwc, const char *s, size_t n)
        int mblen(const char *s, size_t n)
        size_t wcrtomb(char *s, wchar_t wc, mbstate_t *ps)
        int wctomb(char *s, wchar_t wc)
        size_t mbsnrtowcs(wchar_t *dest, const char **src, size_t nms, size_t size, mbstate_t *ps)
        size_t mbsrtowcs(wchar_t *dest, const char **src, size_t size, mbstate_t *ps)
        size_t mbstowcs(wchar_t *dest, const char *src, size_t size)
        size_t wcsnrtombs(char *dest, const wchar_t **src, size_t nwc, size_t size, mbstate_t *ps)
        size_t wcsrtombs(char *dest, const wchar_t **src, size_t size, mbstate_t *ps)
        size_t wcstombs(char *dest, const wchar_t *src, size_t size)
    """,
        MINUS_ONE,
    ),
    Table(
        "wchar",
        "wchar.h",
        """
        size_t wcslen(const wchar_t *s)
        size_t wcsnlen(const wchar_t *s, size_t limit)
        wchar_t *wcscpy(wchar_t *dest, const wchar_t *src)
        wchar_t *wcpcpy(wchar_t *dest, const wchar_t *src)
        wchar_t *wcsncpy(wchar_t *dest, const wchar_t *src, size_t n)
        wchar_t *wcscat(wchar_t *dest, const wchar_t *src)
        wchar_t *wcsncat(wchar_t *dest, const wchar_t *src, size_t n)
        int wcscmp(const wchar_t *s1, const wchar_t *s2)
        int wcsncmp(const wchar_t *s1, const wchar_t *s2, size_t n)
        int wcscoll(const wchar_t *s1, const wchar_t *s2)
        int wcscoll_l(const wchar_t *s1, const wchar_t *s2, locale_t *locale) = __wcscoll_l
        size_t wcsxfrm(wchar_t *dest, const wchar_t *src, size_t n)
        size_t wcsxfrm_l(wchar_t *dest, const wchar_t *src, size_t n, locale_t *locale) = \
            __wcsxfrm_l
        wchar_t *wcschr(const wchar_t *s, wchar_t c)
        wchar_t *wcsrchr(const wchar_t *s, wchar_t c)
        wchar_t *wcsstr(const wchar_t *haystack, const wchar_t *needle)
        size_t wcsspn(const wchar_t *s, const wchar_t *accept)
        size_t wcscspn(const wchar_t *s, const wchar_t *reject)
        wchar_t *wcspbrk(const wchar_t *s, const wchar_t *accept)
        wchar_t *wmemchr(const wchar_t *s, wchar_t c, size_t n)
        int wmemcmp(const wchar_t *s1, const wchar_t *s2, size_t n)
        wchar_t *wmemcpy(wchar_t *dest, const wchar_t *src, size_t n) = wmemmove
        wchar_t *wmemset(wchar_t *s, wchar_t c, size_t n)
        long wcstol(const wchar_t *nptr, wchar_t **endptr, int base) = wcstoll wcstoimax \
            __isoc23_wcstol __isoc23_wcstoll
        unsigned long wcstoul(const wchar_t *nptr, wchar_t **endptr, int base) = wcstoull \
            wcstoumax __isoc23_wcstoul __isoc23_wcstoull
        double wcstod(const wchar_t *nptr, wchar_t **endptr)
        float wcstof(const wchar_t *nptr, wchar_t **endptr)
        int fwide(FILE *stream, int mode)
    """,
    ),
    Table(
        "wchar",
        "wchar.h",
        """
        wchar_t *wcsdup(const wchar_t *s)
    """,
        NULL,
    ),
    Table(
        "wchar",
        "wchar.h",
        """
        wint_t fgetwc(FILE *stream) = getwc getwc_unlocked fgetwc_unlocked
        wint_t getwchar(void)
        wint_t fputwc(wchar_t wc, FILE *stream) = putwc putwc_unlocked fputwc_unlocked
        wint_t putwchar(wchar_t wc)
        int fputws(const wchar_t *ws, FILE *stream)
        wint_t ungetwc(wint_t wc, FILE *stream)
    """,
        MINUS_ONE,
        blocks=True,
    ),
)
