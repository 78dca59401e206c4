"""unistd.h and sys/uio.h: descriptors' bytes, identities, and what the system says of itself."""

from __future__ import annotations

import errno
import os
from struct import Struct
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.values.memory import PAGE_SIZE, Protection
from theseus_kit_tlibc.declare import MINUS_ONE, NULL, Header, c_function
from theseus_kit_tlibc.files import OPEN_MAX

# bits/confname.h
SC_CLK_TCK, SC_OPEN_MAX, SC_PAGESIZE, SC_IOV_MAX = 2, 4, 30, 60
SC_NPROCESSORS_CONF, SC_NPROCESSORS_ONLN, SC_PHYS_PAGES, SC_AVPHYS_PAGES = 83, 84, 85, 86

RW_COUNT_MAX = 0x7FFFF000
"""Most bytes one read or write moves (read(2))."""
IOV_MAX = 1024
_IOVEC = Struct("<QQ")
PROCESS_ID = 1
USER_ID = 0
_MEMORY_SIZE = 4 << 30


class Unistd(Header):
    header: ClassVar[str] = "unistd.h"

    @c_function("ssize_t read(int fd, void *buf, size_t count)", system_call=0, on_error=MINUS_ONE)
    def read(self, fd: int, buf: int, count: int) -> int:
        file = self.library.files.open_file(fd)
        # Checked before anything is consumed, so that EFAULT loses no bytes.
        count = min(count, RW_COUNT_MAX)
        self._check(buf, count, Protection.WRITE)
        data = file.read(count)
        self.library.memory.write(buf, data)
        return len(data)

    @c_function(
        "ssize_t write(int fd, const void *buf, size_t count)", system_call=1, on_error=MINUS_ONE
    )
    def write(self, fd: int, buf: int, count: int) -> int:
        self.library.files.open_file(fd)
        data = self.library.memory.read(buf, min(count, RW_COUNT_MAX))
        return self.library.files.write(fd, data)

    @c_function(
        "ssize_t pread(int fd, void *buf, size_t count, off_t offset)",
        system_call=17,
        aliases=("pread64",),
        on_error=MINUS_ONE,
    )
    def pread(self, fd: int, buf: int, count: int, offset: int) -> int:
        file = self.library.files.open_file(fd)
        if offset < 0:
            raise InvalidParameterError(f"pread at {offset}")
        count = min(count, RW_COUNT_MAX)
        self._check(buf, count, Protection.WRITE)
        data = file.read_at(count, offset)
        self.library.memory.write(buf, data)
        return len(data)

    @c_function(
        "ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)",
        system_call=18,
        aliases=("pwrite64",),
        on_error=MINUS_ONE,
    )
    def pwrite(self, fd: int, buf: int, count: int, offset: int) -> int:
        file = self.library.files.open_file(fd)
        if offset < 0:
            raise InvalidParameterError(f"pwrite at {offset}")
        return file.write_at(self.library.memory.read(buf, min(count, RW_COUNT_MAX)), offset)

    @c_function(
        "ssize_t writev(int fd, const struct iovec *iov, int iovcnt)",
        system_call=20,
        on_error=MINUS_ONE,
    )
    def writev(self, fd: int, iov: int, iovcnt: int) -> int:
        self.library.files.open_file(fd)
        memory = self.library.memory
        pieces = [memory.read(base, size) for base, size in self._vectors(iov, iovcnt)]
        return self.library.files.write(fd, b"".join(pieces))

    @c_function(
        "ssize_t readv(int fd, const struct iovec *iov, int iovcnt)",
        system_call=19,
        on_error=MINUS_ONE,
    )
    def readv(self, fd: int, iov: int, iovcnt: int) -> int:
        file = self.library.files.open_file(fd)
        vectors = self._vectors(iov, iovcnt)
        for base, size in vectors:
            self._check(base, size, Protection.WRITE)
        data = file.read(sum(size for _, size in vectors))
        position = 0
        for base, size in vectors:
            piece = data[position : position + size]
            self.library.memory.write(base, piece)
            position += len(piece)
        return position

    @c_function("int close(int fd)", system_call=3, on_error=MINUS_ONE)
    def close(self, fd: int) -> int:
        self.library.files.close(fd)
        return 0

    @c_function(
        "off_t lseek(int fd, off_t offset, int whence)",
        system_call=8,
        aliases=("lseek64",),
        on_error=MINUS_ONE,
    )
    def lseek(self, fd: int, offset: int, whence: int) -> int:
        file = self.library.files.open_file(fd)
        if whence not in (0, 1, 2):
            raise InvalidParameterError(f"lseek whence {whence}")
        return file.seek(offset, whence)

    @c_function(
        "int ftruncate(int fd, off_t length)",
        system_call=77,
        aliases=("ftruncate64",),
        on_error=MINUS_ONE,
    )
    def ftruncate(self, fd: int, length: int) -> int:
        file = self.library.files.open_file(fd)
        if length < 0:
            raise InvalidParameterError(f"ftruncate to {length}")
        file.truncate(length)
        return 0

    @c_function("int isatty(int fd)")
    def isatty(self, fd: int) -> int:
        """1 for a terminal of the host; 0 and ENOTTY, or EBADF, for everything else."""
        errno_value = errno.ENOTTY
        try:
            descriptor = self.library.files.open_file(fd).descriptor
            if descriptor is not None and os.isatty(descriptor):
                return 1
        except PlatformError as error:
            errno_value = error.errno
        self.library.hooks.errno_set(task=self.library.task, value=errno_value)
        return 0

    @c_function("int fsync(int fd)", system_call=74, on_error=MINUS_ONE)
    def fsync(self, fd: int) -> int:
        self.library.files.open_file(fd).synchronize()
        return 0

    @c_function("int fdatasync(int fd)", system_call=75, on_error=MINUS_ONE)
    def fdatasync(self, fd: int) -> int:
        return self.fsync(fd)

    @c_function("int unlink(const char *pathname)", system_call=87, on_error=MINUS_ONE)
    def unlink(self, pathname: int) -> int:
        path = self.library.path(pathname)
        self.library.hooks.path_remove(path=path, directory=False)
        return 0

    @c_function("int rmdir(const char *pathname)", system_call=84, on_error=MINUS_ONE)
    def rmdir(self, pathname: int) -> int:
        path = self.library.path(pathname)
        self.library.hooks.path_remove(path=path, directory=True)
        return 0

    @c_function("char *getcwd(char *buf, size_t size)", on_error=NULL)
    def getcwd(self, buf: int, size: int) -> int:
        """The working directory is an option of the plugin, and stays what it is."""
        text = os.fsencode(self.library.options.directory) + b"\0"
        if size < len(text):
            raise PlatformError("getcwd: the buffer is too small", errno.ERANGE)
        self.library.memory.write(buf, text)
        return buf

    @c_function("pid_t getpid(void)", system_call=39)
    def getpid(self) -> int:
        return PROCESS_ID

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
            SC_OPEN_MAX: OPEN_MAX,
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

    def _vectors(self, iov: int, iovcnt: int) -> list[tuple[int, int]]:
        if not 0 <= iovcnt <= IOV_MAX:
            raise InvalidParameterError(f"{iovcnt} vectors")
        return list(_IOVEC.iter_unpack(self.library.memory.read(iov, iovcnt * _IOVEC.size)))

    def _check(self, address: int, size: int, protection: Protection) -> None:
        if size:
            self.library.memory.check(address, size, protection)
