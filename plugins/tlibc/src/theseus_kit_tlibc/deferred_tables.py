"""All the functions that are imported at their first call, and those of no larger family.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit_tlibc.declare import MINUS_ONE
from theseus_kit_tlibc.deferred import Table
from theseus_kit_tlibc.tables_numbers import ARITHMETIC, DATES, NUMBERS
from theseus_kit_tlibc.tables_text import CHARACTERS, STRINGS

MESSAGES = (
    Table(
        "libintl",
        "libintl.h",
        """
        char *gettext(const char *msgid)
        char *dgettext(const char *domain, const char *msgid)
        char *dcgettext(const char *domain, const char *msgid, int category)
        char *ngettext(const char *msgid, const char *plural, unsigned long n)
        char *dngettext(const char *domain, const char *msgid, const char *plural, unsigned \
            long n)
        char *textdomain(const char *domain)
        char *bindtextdomain(const char *domain, const char *directory)
        char *bind_textdomain_codeset(const char *domain, const char *codeset)
    """,
    ),
)

SCANNING = (
    Table(
        "stdio_scan",
        "stdio.h",
        """
        int sscanf(const char *text, const char *format, ...) = __isoc99_sscanf __isoc23_sscanf
        int vsscanf(const char *text, const char *format, va_list *arguments) = \
            __isoc99_vsscanf __isoc23_vsscanf
    """,
        MINUS_ONE,
    ),
    Table(
        "stdio_scan",
        "stdio.h",
        """
        int fscanf(FILE *stream, const char *format, ...) = __isoc99_fscanf __isoc23_fscanf
        int vfscanf(FILE *stream, const char *format, va_list *arguments) = __isoc99_vfscanf \
            __isoc23_vfscanf
        int scanf(const char *format, ...) = __isoc99_scanf __isoc23_scanf
        int vscanf(const char *format, va_list *arguments) = __isoc99_vscanf __isoc23_vscanf
    """,
        MINUS_ONE,
        blocks=True,
    ),
)

SYSTEM = (
    Table(
        "unistd_system",
        "unistd.h",
        """
        int uname(struct utsname *buf)
        int get_nprocs(void) = get_nprocs_conf
        int __sched_cpucount(size_t size, const cpu_set_t *mask)
        int posix_madvise(void *address, size_t length, int advice)
    """,
        MINUS_ONE,
    ),
    Table(
        "dlfcn",
        "dlfcn.h",
        """
        void *dlopen(const char *filename, int flags)
        int dlclose(void *handle)
        int dladdr(const void *address, void *info)
    """,
    ),
)

CONVERSION = (
    Table(
        "iconv",
        "iconv.h",
        """
        iconv_t *iconv_open(const char *tocode, const char *fromcode)
        int iconv_close(iconv_t *cd)
        size_t iconv(iconv_t *cd, char **inbuf, size_t *inleft, char **outbuf, size_t *outleft)
    """,
        MINUS_ONE,
    ),
)

TABLES = (
    *STRINGS,
    *NUMBERS,
    *CHARACTERS,
    *DATES,
    *ARITHMETIC,
    *MESSAGES,
    *SCANNING,
    *SYSTEM,
    *CONVERSION,
)
