"""The host's C functions that the native machine is made of, and what their refusals become."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any, Final, NoReturn

from theseus_kit.errors import MachineError, OutOfMemoryError

PROT_NONE: Final = 0
PROT_READ_WRITE: Final = 3
PROT_READ_EXECUTE: Final = 5

MAP_PRIVATE: Final = 0x02
MAP_FIXED: Final = 0x10
MAP_ANONYMOUS: Final = 0x20
MAP_NORESERVE: Final = 0x4000
MAP_FIXED_NOREPLACE: Final = 0x100000
ANONYMOUS: Final = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE

MADV_DONTNEED: Final = 4
MADV_DONTDUMP: Final = 16
MADV_POPULATE_READ: Final = 22
MADV_POPULATE_WRITE: Final = 23

_FAILED = ctypes.c_void_p(-1).value

# The GIL is kept: each of these is over before another thread could make use of it.
_library = ctypes.PyDLL(None, use_errno=True)


def _function(name: str, *arguments: Any, result: Any = ctypes.c_int) -> Any:
    function = getattr(_library, name)
    function.argtypes = arguments
    function.restype = result
    return function


_address, _size, _int, _long = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_long

_mmap = _function("mmap", _address, _size, _int, _int, _int, ctypes.c_int64, result=_address)
_munmap = _function("munmap", _address, _size)
_mprotect = _function("mprotect", _address, _size, _int)
_madvise = _function("madvise", _address, _size, _int)
prctl: Any = _function("prctl", _int, *(ctypes.c_ulong,) * 4)
sigaction: Any = _function("sigaction", _int, _address, _address)
sigaltstack: Any = _function("sigaltstack", _address, _address)
syscall: Any = _function("syscall", _long, *(_long,) * 6, result=_long)


def errno_text() -> str:
    """What went wrong in the last call of this thread, in words."""
    return os.strerror(ctypes.get_errno())


def allocate(size: int, protection: int = PROT_READ_WRITE) -> int:
    """Map private zero pages wherever the host likes. Raises MachineError."""
    address: int = _mmap(None, size, protection, ANONYMOUS, -1, 0)
    if address == _FAILED:
        raise MachineError(f"the host refuses {size:#x} bytes of memory: {errno_text()}")
    return address


def reserve(address: int, size: int) -> int:
    """Take addresses if all of them are free: 0, EEXIST, or the host's reason to refuse."""
    result = _mmap(address, size, PROT_NONE, ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)
    if result == address:
        return 0
    if result == _FAILED:
        return ctypes.get_errno()
    _munmap(result, size)  # kernels before 4.17 take the address for a hint
    return errno.EEXIST


def map_fixed(
    address: int, size: int, protection: int, flags: int, descriptor: int = -1, offset: int = 0
) -> None:
    """Map over whatever is there. Raises OutOfMemoryError with the host's errno."""
    if _mmap(address, size, protection, flags | MAP_FIXED, descriptor, offset) == _FAILED:
        _refused("mmap", address, size)


def release(address: int, size: int) -> None:
    """Unmap pages."""
    _munmap(address, size)


def protect(address: int, size: int, protection: int) -> None:
    """Change the protection of pages. Raises OutOfMemoryError with the host's errno."""
    if _mprotect(address, size, protection) != 0:
        _refused("mprotect", address, size)


def advise(address: int, size: int, advice: int) -> int:
    """madvise(2): 0, or the error number."""
    return 0 if _madvise(address, size, advice) == 0 else ctypes.get_errno()


def _refused(what: str, address: int, size: int) -> NoReturn:
    error = ctypes.get_errno()
    raise OutOfMemoryError(
        f"host {what} of {size:#x} bytes at {address:#x}: {os.strerror(error)}", error
    )
