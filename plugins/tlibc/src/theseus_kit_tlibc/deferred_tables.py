"""All the functions that are imported at their first call, and those of no larger family.

:mod:`.deferred` says how to read a table.
"""

from __future__ import annotations

from theseus_kit_tlibc.declare import MINUS_ONE, RESULT
from theseus_kit_tlibc.deferred import Table
from theseus_kit_tlibc.tables_files import FILES
from theseus_kit_tlibc.tables_numbers import ARITHMETIC, DATES, NUMBERS
from theseus_kit_tlibc.tables_tasks import TASKS
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

PRINTING = (
    Table(
        "stdio",
        "stdio.h",
        """
        int snprintf(char *str, size_t size, const char *format, ...)
        int vsnprintf(char *str, size_t size, const char *format, va_list *ap)
        int sprintf(char *str, const char *format, ...)
        int vsprintf(char *str, const char *format, va_list *ap)
        int __snprintf_chk(char *str, size_t size, int flag, size_t room, const char *format, ...)
        int __sprintf_chk(char *str, int flag, size_t room, const char *format, ...)
        int __vsprintf_chk(char *str, int flag, size_t room, const char *format, va_list *ap)
        int __vsnprintf_chk(char *str, size_t size, int flag, size_t room, const char *format, \
            va_list *ap)
    """,
        MINUS_ONE,
    ),
    Table(
        "stdio_print",
        "stdio.h",
        """
        int printf(const char *format, ...)
        int fprintf(FILE *stream, const char *format, ...)
        int vprintf(const char *format, va_list *ap)
        int vfprintf(FILE *stream, const char *format, va_list *ap)
        int dprintf(int fd, const char *format, ...)
        int vdprintf(int fd, const char *format, va_list *ap)
        int __printf_chk(int flag, const char *format, ...)
        int __fprintf_chk(FILE *stream, int flag, const char *format, ...)
        int __vprintf_chk(int flag, const char *format, va_list *ap)
        int __vfprintf_chk(FILE *stream, int flag, const char *format, va_list *ap)
        int __dprintf_chk(int fd, int flag, const char *format, ...)
    """,
        MINUS_ONE,
        blocks=True,
    ),
    Table(
        "stdio_print",
        "stdio.h",
        """
        int asprintf(char **strp, const char *format, ...)
        int vasprintf(char **strp, const char *format, va_list *ap)
        int __asprintf_chk(char **strp, int flag, const char *format, ...)
    """,
        MINUS_ONE,
    ),
)

SYSTEM = (
    Table(
        "pwd",
        "pwd.h",
        """
        int getpwuid_r(uid_t uid, struct passwd *pwd, char *buf, size_t buflen, struct passwd \
            **result)
    """,
        RESULT,
    ),
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
    *PRINTING,
    *FILES,
    *TASKS,
    *SYSTEM,
    *CONVERSION,
)
