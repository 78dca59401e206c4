"""Which functions of numbers, control flow and dates are imported at their first call.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit_tlibc.declare import MINUS_ONE, NULL
from theseus_kit_tlibc.deferred import Table

_OF_ONE = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc"),
    *("exp", "exp2", "expm1", "fabs", "lgamma", "log", "log10", "log1p", "log2", "logb", "round"),
    *("sin", "sinh", "tan", "tanh", "tgamma"),
)
_OF_TWO = ("atan2", "copysign", "fdim", "fmax", "fmin", "hypot", "nextafter", "remainder")

NUMBERS = (
    Table(
        "stdlib_numbers",
        "stdlib.h",
        """
        long strtol(const char *nptr, char **endptr, int base) = strtoll strtoimax strtoq \
            __isoc23_strtol __isoc23_strtoll __isoc23_strtoimax __strtol_internal \
            __strtoll_internal
        unsigned long strtoul(const char *nptr, char **endptr, int base) = strtoull \
            strtoumax strtouq __isoc23_strtoul __isoc23_strtoull __isoc23_strtoumax \
            __strtoul_internal __strtoull_internal
        long strtol_l(const char *nptr, char **endptr, int base, locale_t *locale) = \
            strtoll_l __strtol_l __strtoll_l
        unsigned long strtoul_l(const char *nptr, char **endptr, int base, locale_t *locale) \
            = strtoull_l __strtoul_l __strtoull_l
    """,
        NULL,
    ),
    Table(
        "stdlib_numbers",
        "stdlib.h",
        """
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
    """,
    ),
    Table(
        "stdlib_numbers",
        "stdlib.h",
        """
        void strtold(const char *nptr, char **endptr) = strtold_l __strtold_l
    """,
        machine_code_only=True,
    ),
    Table(
        "stdlib_sort",
        "stdlib.h",
        """
        void qsort(void *base, size_t n, size_t size, void *compare)
        void qsort_r(void *base, size_t n, size_t size, void *compare, void *argument)
        void *bsearch(const void *key, const void *base, size_t n, size_t size, void *compare)
    """,
        machine_code_only=True,
    ),
    Table(
        "stdlib_division",
        "stdlib.h",
        """
        int abs(int j)
        long labs(long j) = llabs imaxabs
        long div(int numerator, int denominator)
        long ldiv(long numerator, long denominator) = lldiv imaxdiv
    """,
        machine_code_only=True,
    ),
    Table(
        "setjmp",
        "setjmp.h",
        """
        int setjmp(void *env)
        int _setjmp(void *env)
        int __sigsetjmp(void *env, int savemask)
        void longjmp(void *env, int val) = _longjmp siglongjmp __longjmp_chk
    """,
        machine_code_only=True,
    ),
)

ARITHMETIC = (
    Table(
        "math_functions",
        "math.h",
        """
        double sqrt(double x)
        float sqrtf(float x)
    """,
        machine_code=True,
    ),
    Table(
        "math_functions",
        "math.h",
        "\n".join(
            [f"double {name}(double x)\nfloat {name}f(float x)" for name in _OF_ONE]
            + [
                f"double {name}(double x, double y)\nfloat {name}f(float x, float y)"
                for name in _OF_TWO
            ]
        ),
    ),
    Table(
        "math_functions",
        "math.h",
        """
        long lround(double x) = llround
        long lrint(double x) = llrint
        double frexp(double x, int *exponent)
        double ldexp(double x, int exponent) = scalbn
        double modf(double x, double *whole)
        float modff(float x, float *whole)
        void sincos(double x, double *sine, double *cosine)
        void sincosf(float x, float *sine, float *cosine)
        int ilogb(double x)
    """,
    ),
    Table("math_functions", "math.h", "void frexpl(int *exponent)", machine_code_only=True),
    Table(
        "fenv",
        "fenv.h",
        """
        int fegetround(void)
        int fesetround(int mode)
        int fetestexcept(int exceptions)
        int feclearexcept(int exceptions)
    """,
        machine_code_only=True,
    ),
    Table(
        "stdlib_environment",
        "stdlib.h",
        """
        int setenv(const char *name, const char *value, int overwrite)
        int unsetenv(const char *name)
        int putenv(char *string)
        int clearenv(void)
    """,
        MINUS_ONE,
    ),
    Table(
        "stdlib_random",
        "stdlib.h",
        """
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
    """,
    ),
)

DATES = (
    Table(
        "time_calendar",
        "time.h",
        """
        struct tm *gmtime_r(const time_t *timep, struct tm *result)
        struct tm *gmtime(const time_t *timep)
        struct tm *localtime_r(const time_t *timep, struct tm *result)
        struct tm *localtime(const time_t *timep)
        char *asctime_r(const struct tm *tm, char *buf)
        char *asctime(const struct tm *tm)
        char *ctime_r(const time_t *timep, char *buf)
        char *ctime(const time_t *timep)
    """,
        NULL,
    ),
    Table(
        "time_calendar",
        "time.h",
        """
        time_t timegm(struct tm *tm)
        time_t mktime(struct tm *tm) = timelocal
    """,
        MINUS_ONE,
    ),
    Table(
        "time_calendar",
        "time.h",
        """
        void tzset(void)
        size_t strftime(char *s, size_t room, const char *format, const struct tm *tm)
        size_t strftime_l(char *s, size_t room, const char *format, const struct tm *tm, \
            locale_t *locale) = __strftime_l
        size_t wcsftime(wchar_t *s, size_t room, const wchar_t *format, const struct tm *tm)
        size_t wcsftime_l(wchar_t *s, size_t room, const wchar_t *format, const struct tm \
            *tm, locale_t *locale) = __wcsftime_l
        double difftime(time_t end, time_t start)
        clock_t clock(void)
    """,
    ),
)
