"""unistd.h: who and what the process is, and what the system says of itself."""

from __future__ import annotations

from typing import ClassVar

from theseus_kit.errors import InvalidParameterError
from theseus_kit.values.memory import PAGE_SIZE
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function
from theseus_kit_tlibc.transfer import IOV_MAX

# bits/confname.h
SC_CLK_TCK, SC_OPEN_MAX, SC_PAGESIZE, SC_IOV_MAX = 2, 4, 30, 60
SC_NPROCESSORS_CONF, SC_NPROCESSORS_ONLN, SC_PHYS_PAGES, SC_AVPHYS_PAGES = 83, 84, 85, 86

PROCESS_ID = 1
USER_ID = 0
_MEMORY_SIZE = 4 << 30


class UnistdProcess(Header):
    header: ClassVar[str] = "unistd.h"

    @c_function("pid_t getpid(void)", system_call=39)
    def getpid(self) -> int:
        return PROCESS_ID

    @c_function("pid_t getppid(void)", system_call=110)
    def getppid(self) -> int:
        """Nobody the guest could know: as for the first process of a PID namespace."""
        return 0

    @c_function("pid_t gettid(void)", system_call=186)
    def gettid(self) -> int:
        return self.library.task.id

    @c_function("uid_t getuid(void)", system_call=102)
    def getuid(self) -> int:
        """The platform has one user, who owns it."""
        return USER_ID

    @c_function("uid_t geteuid(void)", system_call=107)
    def geteuid(self) -> int:
        return USER_ID

    @c_function("gid_t getgid(void)", system_call=104)
    def getgid(self) -> int:
        return 0

    @c_function("gid_t getegid(void)", system_call=108)
    def getegid(self) -> int:
        return 0

    @c_function("int getpagesize(void)")
    def getpagesize(self) -> int:
        return PAGE_SIZE

    @c_function("long sysconf(int name)", on_error=MINUS_ONE)
    def sysconf(self, name: int) -> int:
        """Raises EINVAL for a name this platform has no answer to."""
        processors = self.library.options.processors
        values = {
            SC_CLK_TCK: 100,
            SC_OPEN_MAX: self.library.files.limit,
            SC_PAGESIZE: PAGE_SIZE,
            SC_IOV_MAX: IOV_MAX,
            SC_NPROCESSORS_CONF: processors,
            SC_NPROCESSORS_ONLN: processors,
            SC_PHYS_PAGES: _MEMORY_SIZE // PAGE_SIZE,
            SC_AVPHYS_PAGES: _MEMORY_SIZE // PAGE_SIZE,
        }
        if name not in values:
            raise InvalidParameterError(f"sysconf({name})")
        return values[name]

    @c_function("const char *gnu_get_libc_version(void)")
    def gnu_get_libc_version(self) -> int:
        """The version whose behaviour the bodies here follow; Rust's std asks for it."""
        return self.library.constant(b"2.36\0")
