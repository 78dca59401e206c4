"""Which functions are imported at their first call, by the modules that have them.

A line is a prototype as the header writes it, then ``=`` and further symbols of the same meaning.
"""

from __future__ import annotations

from theseus_kit_tlibc.declare import MINUS_ONE, NULL, RESULT
from theseus_kit_tlibc.deferred import Table

_CHARACTERS = ("alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
               "space", "upper", "xdigit")  # fmt: skip

_OF_ONE = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc"),
    *("exp", "exp2", "expm1", "fabs", "lgamma", "log", "log10", "log1p", "log2", "logb", "round"),
    *("sin", "sinh", "tan", "tanh", "tgamma"),
)
_OF_TWO = ("atan2", "copysign", "fdim", "fmax", "fmin", "hypot", "nextafter", "remainder")

STRINGS = (
    Table("string_search", "string.h", """
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
        int strncasecmp_l(const char *s1, const char *s2, size_t n, locale_t *locale) = __strncasecmp_l
        int strcoll(const char *s1, const char *s2)
        int strcoll_l(const char *s1, const char *s2, locale_t *locale) = __strcoll_l
        int strverscmp(const char *s1, const char *s2) = __strverscmp
        int ffs(int i)
        int ffsl(long i) = ffsll
    """),  # fmt: skip
    Table("string_copy", "string.h", """
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
    """),  # fmt: skip
    Table("string_copy", "string.h", """
        char *strndup(const char *s, size_t n) = __strndup
    """, NULL),  # fmt: skip
    Table("string_copy", "string.h", """
        void *mempcpy(void *dest, const void *src, size_t n) = __mempcpy
    """, machine_code=True),  # fmt: skip
    Table("fortify", "string.h", """
        void *__memcpy_chk(void *dest, const void *src, size_t n, size_t room)
        void *__memmove_chk(void *dest, const void *src, size_t n, size_t room)
        void *__mempcpy_chk(void *dest, const void *src, size_t n, size_t room)
        void *__memset_chk(void *s, int c, size_t n, size_t room)
    """, machine_code=True),  # fmt: skip
    Table("fortify", "string.h", """
        void __chk_fail(void)
        char *__strcpy_chk(char *dest, const char *src, size_t room)
        char *__stpcpy_chk(char *dest, const char *src, size_t room)
        char *__strncpy_chk(char *dest, const char *src, size_t n, size_t room)
        char *__stpncpy_chk(char *dest, const char *src, size_t n, size_t room)
        char *__strcat_chk(char *dest, const char *src, size_t room)
        char *__strncat_chk(char *dest, const char *src, size_t n, size_t room)
        size_t __strlcpy_chk(char *dest, const char *src, size_t size, size_t room)
        long __fdelt_chk(long fd) = __fdelt_warn
    """),  # fmt: skip
)

NUMBERS = (
    Table("stdlib_numbers", "stdlib.h", """
        long strtol(const char *nptr, char **endptr, int base) = strtoll strtoimax strtoq __isoc23_strtol __isoc23_strtoll __isoc23_strtoimax __strtol_internal __strtoll_internal
        unsigned long strtoul(const char *nptr, char **endptr, int base) = strtoull strtoumax strtouq __isoc23_strtoul __isoc23_strtoull __isoc23_strtoumax __strtoul_internal __strtoull_internal
        long strtol_l(const char *nptr, char **endptr, int base, locale_t *locale) = strtoll_l __strtol_l __strtoll_l
        unsigned long strtoul_l(const char *nptr, char **endptr, int base, locale_t *locale) = strtoull_l __strtoul_l __strtoull_l
    """, NULL),  # fmt: skip
    Table("stdlib_numbers", "stdlib.h", """
        int atoi(const char *nptr)
        long atol(const char *nptr) = atoll
        double atof(const char *nptr)
        double strtod(const char *nptr, char **endptr)
        double strtod_l(const char *nptr, char **endptr, locale_t *locale) = __strtod_l
        double __strtod_nan(const char *nptr, char **endptr, int end)
        float strtof(const char *nptr, char **endptr)
        float strtof_l(const char *nptr, char **endptr, locale_t *locale) = __strtof_l
        float __strtof_nan(const char *nptr, char **endptr, int end)
        void __strtold_to(const char *nptr, char **endptr, void *result)
    """),  # fmt: skip
    Table("stdlib_numbers", "stdlib.h", """
        void strtold(const char *nptr, char **endptr) = strtold_l __strtold_l
    """, machine_code=True),  # fmt: skip
    Table("stdlib_sort", "stdlib.h", """
        void qsort(void *base, size_t n, size_t size, void *compare)
        void qsort_r(void *base, size_t n, size_t size, void *compare, void *argument)
        void *bsearch(const void *key, const void *base, size_t n, size_t size, void *compare)
    """, machine_code=True),  # fmt: skip
    Table("stdlib_division", "stdlib.h", """
        int abs(int j)
        long labs(long j) = llabs imaxabs
        long div(int numerator, int denominator)
        long ldiv(long numerator, long denominator) = lldiv imaxdiv
    """, machine_code=True),  # fmt: skip
    Table("setjmp", "setjmp.h", """
        int setjmp(void *env)
        int _setjmp(void *env)
        int __sigsetjmp(void *env, int savemask)
        void longjmp(void *env, int val) = _longjmp siglongjmp __longjmp_chk
    """, machine_code=True),  # fmt: skip
)

CHARACTERS = (
    Table("ctype", "ctype.h", """
        const unsigned short **__ctype_b_loc(void)
        const int **__ctype_tolower_loc(void)
        const int **__ctype_toupper_loc(void)
    """, machine_code=True),  # fmt: skip
    Table("ctype", "ctype.h", """
        size_t __ctype_get_mb_cur_max(void)
        int tolower(int c)
        int toupper(int c)
        int toascii(int c)
        int isascii(int c)
        int tolower_l(int c, locale_t *locale) = __tolower_l
        int toupper_l(int c, locale_t *locale) = __toupper_l
    """),  # fmt: skip
    Table("ctype", "ctype.h", "\n".join(f"int is{name}(int c)" for name in _CHARACTERS)),
    Table("wctype", "wctype.h", "\n".join(f"int isw{name}(wint_t wc)" for name in _CHARACTERS)),
    Table("wctype", "wctype.h", """
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
    """),  # fmt: skip
    Table("locale", "locale.h", """
        char *setlocale(int category, const char *locale)
        locale_t *newlocale(int mask, const char *locale, locale_t *base) = __newlocale
        locale_t *duplocale(locale_t *locale) = __duplocale
        void freelocale(locale_t *locale) = __freelocale
        locale_t *uselocale(locale_t *locale) = __uselocale
        struct lconv *localeconv(void)
        char *nl_langinfo(int item)
        char *nl_langinfo_l(int item, locale_t *locale) = __nl_langinfo_l
    """, NULL),  # fmt: skip
    Table("wchar_convert", "wchar.h", """
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
    """, MINUS_ONE),  # fmt: skip
    Table("wchar", "wchar.h", """
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
        size_t wcsxfrm_l(wchar_t *dest, const wchar_t *src, size_t n, locale_t *locale) = __wcsxfrm_l
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
        long wcstol(const wchar_t *nptr, wchar_t **endptr, int base) = wcstoll wcstoimax __isoc23_wcstol __isoc23_wcstoll
        unsigned long wcstoul(const wchar_t *nptr, wchar_t **endptr, int base) = wcstoull wcstoumax __isoc23_wcstoul __isoc23_wcstoull
        double wcstod(const wchar_t *nptr, wchar_t **endptr)
        float wcstof(const wchar_t *nptr, wchar_t **endptr)
        int fwide(FILE *stream, int mode)
    """),  # fmt: skip
    Table("wchar", "wchar.h", """
        wchar_t *wcsdup(const wchar_t *s)
    """, NULL),  # fmt: skip
    Table("wchar", "wchar.h", """
        wint_t fgetwc(FILE *stream) = getwc getwc_unlocked fgetwc_unlocked
        wint_t getwchar(void)
        wint_t fputwc(wchar_t wc, FILE *stream) = putwc putwc_unlocked fputwc_unlocked
        wint_t putwchar(wchar_t wc)
        int fputws(const wchar_t *ws, FILE *stream)
        wint_t ungetwc(wint_t wc, FILE *stream)
    """, MINUS_ONE, blocks=True),  # fmt: skip
)

DATES = (
    Table("time_calendar", "time.h", """
        struct tm *gmtime_r(const time_t *timep, struct tm *result)
        struct tm *gmtime(const time_t *timep)
        struct tm *localtime_r(const time_t *timep, struct tm *result)
        struct tm *localtime(const time_t *timep)
        char *asctime_r(const struct tm *tm, char *buf)
        char *asctime(const struct tm *tm)
        char *ctime_r(const time_t *timep, char *buf)
        char *ctime(const time_t *timep)
    """, NULL),  # fmt: skip
    Table("time_calendar", "time.h", """
        time_t timegm(struct tm *tm)
        time_t mktime(struct tm *tm) = timelocal
    """, MINUS_ONE),  # fmt: skip
    Table("time_calendar", "time.h", """
        void tzset(void)
        size_t strftime(char *s, size_t room, const char *format, const struct tm *tm)
        size_t strftime_l(char *s, size_t room, const char *format, const struct tm *tm, locale_t *locale) = __strftime_l
        size_t wcsftime(wchar_t *s, size_t room, const wchar_t *format, const struct tm *tm)
        size_t wcsftime_l(wchar_t *s, size_t room, const wchar_t *format, const struct tm *tm, locale_t *locale) = __wcsftime_l
        double difftime(time_t end, time_t start)
        clock_t clock(void)
    """),  # fmt: skip
)

ARITHMETIC = (
    Table("math_functions", "math.h", """
        double sqrt(double x)
        float sqrtf(float x)
        void frexpl(int *exponent)
    """, machine_code=True),  # fmt: skip
    Table("math_functions", "math.h", "\n".join(
        [f"double {name}(double x)\nfloat {name}f(float x)" for name in _OF_ONE]
        + [f"double {name}(double x, double y)\nfloat {name}f(float x, float y)" for name in _OF_TWO]
    )),  # fmt: skip
    Table("math_functions", "math.h", """
        long lround(double x) = llround
        long lrint(double x) = llrint
        double frexp(double x, int *exponent)
        double ldexp(double x, int exponent) = scalbn
        double modf(double x, double *whole)
        float modff(float x, float *whole)
        void sincos(double x, double *sine, double *cosine)
        void sincosf(float x, float *sine, float *cosine)
        int ilogb(double x)
    """),  # fmt: skip
    Table("fenv", "fenv.h", """
        int fegetround(void)
        int fesetround(int mode)
        int fetestexcept(int exceptions)
        int feclearexcept(int exceptions)
    """, machine_code=True),  # fmt: skip
    Table("stdlib_environment", "stdlib.h", """
        int setenv(const char *name, const char *value, int overwrite)
        int unsetenv(const char *name)
        int putenv(char *string)
        int clearenv(void)
    """, MINUS_ONE),  # fmt: skip
    Table("stdlib_random", "stdlib.h", """
        void srandom(unsigned int seed) = srand
        long random(void)
        int rand(void)
        int rand_r(unsigned int *seedp)
        void srand48(long seed)
        double drand48(void)
        long lrand48(void)
        long mrand48(void)
        uint32_t arc4random(void)
        void arc4random_buf(void *buf, size_t n)
        uint32_t arc4random_uniform(uint32_t bound)
    """),  # fmt: skip
)

MESSAGES = (
    Table("libintl", "libintl.h", """
        char *gettext(const char *msgid)
        char *dgettext(const char *domain, const char *msgid)
        char *dcgettext(const char *domain, const char *msgid, int category)
        char *ngettext(const char *msgid, const char *plural, unsigned long n)
        char *dngettext(const char *domain, const char *msgid, const char *plural, unsigned long n)
        char *textdomain(const char *domain)
        char *bindtextdomain(const char *domain, const char *directory)
        char *bind_textdomain_codeset(const char *domain, const char *codeset)
    """),  # fmt: skip
)

SCANNING = (
    Table("stdio_scan", "stdio.h", """
        int sscanf(const char *text, const char *format, ...) = __isoc99_sscanf __isoc23_sscanf
        int vsscanf(const char *text, const char *format, va_list *arguments) = __isoc99_vsscanf __isoc23_vsscanf
    """, MINUS_ONE),  # fmt: skip
    Table("stdio_scan", "stdio.h", """
        int fscanf(FILE *stream, const char *format, ...) = __isoc99_fscanf __isoc23_fscanf
        int vfscanf(FILE *stream, const char *format, va_list *arguments) = __isoc99_vfscanf __isoc23_vfscanf
        int scanf(const char *format, ...) = __isoc99_scanf __isoc23_scanf
        int vscanf(const char *format, va_list *arguments) = __isoc99_vscanf __isoc23_vscanf
    """, MINUS_ONE, blocks=True),  # fmt: skip
)

TABLES = (*STRINGS, *NUMBERS, *CHARACTERS, *DATES, *ARITHMETIC, *MESSAGES, *SCANNING)
