"""sys/statfs.h and sys/statvfs.h: what is told of the file system a file is in.

The namespace is one file system of no particular kind to its guests, which are told what holds of
all of it: the longest name, the size of a block. How much room is left nobody can promise.
"""

from __future__ import annotations

from struct import Struct

from theseus_kit_tlibc.deferred import DeferredBodies
from theseus_kit_tlibc.locations import AT_FDCWD
from theseus_kit_tlibc.sys_stat import BLOCK_SIZE

# struct statfs: f_type f_bsize f_blocks f_bfree f_bavail f_files f_ffree f_fsid[2] f_namelen
# f_frsize f_flags f_spare[4]
_STATFS = Struct("<qqQQQQQiiqqq32x")
# struct statvfs: f_bsize f_frsize f_blocks f_bfree f_bavail f_files f_ffree f_favail f_fsid f_flag
# f_namemax and six reserved ints
_STATVFS = Struct("<QQQQQQQQQQQ24x")
TMPFS_MAGIC = 0x01021994
NAME_MAX = 255


class Bodies(DeferredBodies):
    """The functions of sys/statfs.h."""

    def statfs(self, path: int, buf: int) -> int:
        self.library.locations.status(AT_FDCWD, path, 0)
        return self._write_statfs(buf)

    def fstatfs(self, fd: int, buf: int) -> int:
        self.library.files.open_file(fd)
        return self._write_statfs(buf)

    def statvfs(self, path: int, buf: int) -> int:
        self.library.locations.status(AT_FDCWD, path, 0)
        return self._write_statvfs(buf)

    def fstatvfs(self, fd: int, buf: int) -> int:
        self.library.files.open_file(fd)
        return self._write_statvfs(buf)

    def _write_statfs(self, buf: int) -> int:
        data = _STATFS.pack(
            TMPFS_MAGIC, BLOCK_SIZE, *(0, 0, 0, 0, 0), *(0, 0), NAME_MAX, BLOCK_SIZE, 0
        )
        self.library.memory.write(buf, data)
        return 0

    def _write_statvfs(self, buf: int) -> int:
        data = _STATVFS.pack(BLOCK_SIZE, BLOCK_SIZE, *(0, 0, 0, 0, 0, 0), 0, 0, NAME_MAX)
        self.library.memory.write(buf, data)
        return 0
