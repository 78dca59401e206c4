"""Host memory that guest code was given pointers to: looked at without risking the process.

The kernel does the touching: it answers with an error where an access of ours would be a fault
that ends the process. Used only for addresses that no machine keeps account of.
"""

from __future__ import annotations

import ctypes
import errno
import os
from struct import Struct
from typing import Any

from theseus_kit.errors import MachineError, MemoryFaultError
from theseus_kit.machine.native import system
from theseus_kit.values.memory import PAGE_SIZE, page_floor

_LAST_USER_ADDRESS = (1 << 47) - PAGE_SIZE
_IOVEC = Struct("<QQ")


def read(address: int, size: int) -> bytes:
    """Copy bytes out. Raises MemoryFaultError naming the first unreadable address."""
    buffer = ctypes.create_string_buffer(size)
    copied = _copy("process_vm_readv", ctypes.addressof(buffer), address, size)
    if copied == size:
        return buffer.raw
    raise MemoryFaultError(max(page_floor(address + copied), address), "read")


def check(address: int, size: int, for_writing: int) -> None:
    """Raise MemoryFaultError, naming the first address, unless all bytes can be accessed."""
    if size <= 0:
        return
    advice = system.MADV_POPULATE_WRITE if for_writing else system.MADV_POPULATE_READ
    position, end = page_floor(address), address + size
    while position < end:
        if not 0 <= position < _LAST_USER_ADDRESS:
            raise MemoryFaultError(max(position, address), "write" if for_writing else "read")
        error = system.advise(position, PAGE_SIZE, advice)
        if error == errno.EINVAL:  # a kernel before 5.14, or pages without a file or swap behind
            error = _touch(position, bool(for_writing))
        if error:
            raise MemoryFaultError(max(position, address), "write" if for_writing else "read")
        position += PAGE_SIZE


def _touch(address: int, for_writing: bool) -> int:
    byte = ctypes.c_char()
    place = ctypes.addressof(byte)
    if _copy("process_vm_readv", place, address, 1) != 1:
        return errno.EFAULT
    if for_writing and _copy("process_vm_writev", place, address, 1) != 1:
        return errno.EFAULT
    return 0


def _copy(function: str, here: int, there: int, size: int) -> int:
    """process_vm_readv(2) or its counterpart on this very process; bytes copied before a fault."""
    call: Any = getattr(ctypes.PyDLL(None, use_errno=True), function)
    call.restype = ctypes.c_ssize_t
    unsigned = ctypes.c_ulong
    local, remote = (
        (ctypes.c_char * 16).from_buffer_copy(_IOVEC.pack(at, size)) for at in (here, there)
    )
    copied: int = call(os.getpid(), local, unsigned(1), remote, unsigned(1), unsigned(0))
    if copied >= 0:
        return copied
    if ctypes.get_errno() == errno.EFAULT:
        return 0
    raise MachineError(f"the host forbids {function}: {system.errno_text()}")
