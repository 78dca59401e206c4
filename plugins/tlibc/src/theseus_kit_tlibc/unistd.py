"""unistd.h: what is done to open files through their descriptors.

Names of files are :mod:`.unistd_names`', the process itself is :mod:`.unistd_process`'.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.machine.protocol import Ability
from theseus_kit.values.paths import OpenMode
from theseus_kit_tlibc.declare import MINUS_ONE, Header, c_function
from theseus_kit_tlibc.direct import READ, WRITE
from theseus_kit_tlibc.fcntl import O_CLOEXEC
from theseus_kit_tlibc.listing import Listing
from theseus_kit_tlibc.transfer import RW_COUNT_MAX, check_offset

CLOSE_RANGE_UNSHARE, CLOSE_RANGE_CLOEXEC = 2, 4
_SEEK_HOLE = 4


class Unistd(Header):
    header: ClassVar[str] = "unistd.h"

    def machine_code(self, listing: Listing) -> Callable[[], bytes] | None:
        if Ability.HOST_FUNCTIONS not in self.library.machine.abilities:
            return None
        if listing is READ:
            return self.library.direct.code(listing, OpenMode.READ, "__read_slow")
        return self.library.direct.code(listing, OpenMode.WRITE, "__write_slow")

    @c_function("ssize_t __read_slow(int fd, void *buf, size_t count)", on_error=MINUS_ONE,
                blocks=True)  # fmt: skip
    def read_slow(self, fd: int, buf: int, count: int) -> int:
        return self.read(fd, buf, count)

    @c_function("ssize_t __write_slow(int fd, const void *buf, size_t count)",
                on_error=MINUS_ONE, blocks=True)  # fmt: skip
    def write_slow(self, fd: int, buf: int, count: int) -> int:
        return self.write(fd, buf, count)

    @c_function(
        "ssize_t read(int fd, void *buf, size_t count)",
        system_call=0,
        on_error=MINUS_ONE,
        blocks=True,
        listing=READ,
    )
    def read(self, fd: int, buf: int, count: int) -> int:
        library = self.library
        description = library.files.description(fd)
        window = library.memory.window(buf, min(count, RW_COUNT_MAX), writable=True)
        return library.transfers.read(description, [window])

    @c_function(
        "ssize_t write(int fd, const void *buf, size_t count)",
        system_call=1,
        on_error=MINUS_ONE,
        blocks=True,
        listing=WRITE,
    )
    def write(self, fd: int, buf: int, count: int) -> int:
        library = self.library
        description = library.files.description(fd)
        window = library.memory.window(buf, min(count, RW_COUNT_MAX), writable=False)
        return library.transfers.write(description, [window])

    @c_function(
        "ssize_t pread(int fd, void *buf, size_t count, off_t offset)",
        system_call=17,
        aliases=("pread64",),
        on_error=MINUS_ONE,
    )
    def pread(self, fd: int, buf: int, count: int, offset: int) -> int:
        check_offset(offset)
        library = self.library
        description = library.files.description(fd)
        window = library.memory.window(buf, min(count, RW_COUNT_MAX), writable=True)
        return library.transfers.read_at(description, [window], offset)

    @c_function(
        "ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)",
        system_call=18,
        aliases=("pwrite64",),
        on_error=MINUS_ONE,
    )
    def pwrite(self, fd: int, buf: int, count: int, offset: int) -> int:
        check_offset(offset)
        library = self.library
        description = library.files.description(fd)
        window = library.memory.window(buf, min(count, RW_COUNT_MAX), writable=False)
        return library.transfers.write_at(description, [window], offset)

    @c_function("int close(int fd)", system_call=3, on_error=MINUS_ONE)
    def close(self, fd: int) -> int:
        self.library.files.close(fd)
        return 0

    @c_function(
        "int close_range(unsigned int first, unsigned int last, int flags)",
        system_call=436,
        on_error=MINUS_ONE,
    )
    def close_range(self, first: int, last: int, flags: int) -> int:
        if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
            raise InvalidParameterError(f"close_range {first} to {last}, flags {flags:#x}")
        files = self.library.files
        if not flags & CLOSE_RANGE_CLOEXEC:
            files.close_range(first, last)
            return 0
        for descriptor in [number for number in files.descriptions if first <= number <= last]:
            files.set_close_on_exec(descriptor, close=True)
        return 0

    @c_function(
        "off_t lseek(int fd, off_t offset, int whence)",
        system_call=8,
        aliases=("lseek64",),
        on_error=MINUS_ONE,
    )
    def lseek(self, fd: int, offset: int, whence: int) -> int:
        file = self.library.files.usable(fd)
        if not os.SEEK_SET <= whence <= _SEEK_HOLE:
            raise InvalidParameterError(f"lseek whence {whence}")
        description = self.library.files.description(fd)
        if description.is_directory:
            from theseus_kit_tlibc.dirent import seek_directory

            return seek_directory(description, offset, whence)
        return file.seek(offset, whence)

    @c_function("int dup(int oldfd)", system_call=32, on_error=MINUS_ONE)
    def dup(self, oldfd: int) -> int:
        return self.library.files.duplicate(oldfd)

    @c_function("int dup2(int oldfd, int newfd)", system_call=33, on_error=MINUS_ONE)
    def dup2(self, oldfd: int, newfd: int) -> int:
        return self.library.files.duplicate_to(oldfd, newfd)

    @c_function("int dup3(int oldfd, int newfd, int flags)", system_call=292, on_error=MINUS_ONE)
    def dup3(self, oldfd: int, newfd: int, flags: int) -> int:
        if oldfd == newfd or flags & ~O_CLOEXEC:
            raise InvalidParameterError(f"dup3 of {oldfd} to {newfd}, flags {flags:#o}")
        close = flags & O_CLOEXEC != 0
        return self.library.files.duplicate_to(oldfd, newfd, close_on_exec=close)

    @c_function(
        "int ftruncate(int fd, off_t length)",
        system_call=77,
        aliases=("ftruncate64",),
        on_error=MINUS_ONE,
    )
    def ftruncate(self, fd: int, length: int) -> int:
        if length < 0:
            raise InvalidParameterError(f"ftruncate to {length}")
        self.library.files.usable(fd).truncate(length)
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
        self.library.files.usable(fd).synchronize()
        return 0

    @c_function("int fdatasync(int fd)", system_call=75, on_error=MINUS_ONE)
    def fdatasync(self, fd: int) -> int:
        return self.fsync(fd)

    @c_function("int syncfs(int fd)", system_call=306, on_error=MINUS_ONE)
    def syncfs(self, fd: int) -> int:
        """The file itself is what the guest has of its file system."""
        return self.fsync(fd)

    @c_function("void sync(void)", system_call=162)
    def sync(self) -> None:
        """Each open file that can be written."""
        for description in list(self.library.files.descriptions.values()):
            if OpenMode.WRITE in description.file.mode and description.host > 2:
                description.file.synchronize()
