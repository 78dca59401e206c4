"""Syscall User Dispatch: the kernel hands ``syscall`` instructions of guest code to us.

In range mode no selector byte has to be flipped on the way in and out of guest code. Newer kernels
take the range whose system calls are caught (PR_SYS_DISPATCH_INCLUSIVE_ON); older ones only one
whose system calls are let through, so everything above the guests' range must be it, and nothing
executable may lie below. It is a property of each host thread, inherited by none and cleared by
fork (Documentation/admin-guide/syscall-user-dispatch.rst).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import system
from theseus_kit.machine.native.territory import GUEST_RANGE

_PR_SET_SYSCALL_USER_DISPATCH = 59
_EXCLUSIVE, _INCLUSIVE = 1, 2
_LAST_ADDRESS = (1 << 64) - 1

_MODES: Final = {
    "inclusive range": (_INCLUSIVE, GUEST_RANGE.start, GUEST_RANGE.size),
    "exclusive range": (_EXCLUSIVE, GUEST_RANGE.end, _LAST_ADDRESS - GUEST_RANGE.end),
}


class SystemCallDispatch:
    """The way that works on this kernel; found out by arming the calling thread."""

    def __init__(self) -> None:
        self.mode: str | None = None
        """How the range is told to the kernel, None where the kernel does not dispatch."""
        for mode in _MODES:
            if mode == "exclusive range" and _has_code_below():
                continue
            if _set(mode):
                self.mode = mode
                break

    def arm(self) -> None:
        """Have the calling thread's guest system calls caught. Raises MachineError."""
        if self.mode is not None and not _set(self.mode):
            raise MachineError(f"the kernel refuses Syscall User Dispatch: {system.errno_text()}")


def _set(mode: str) -> bool:
    operation, start, size = _MODES[mode]
    return bool(system.prctl(_PR_SET_SYSCALL_USER_DISPATCH, operation, start, size, 0) == 0)


def _has_code_below() -> bool:
    """Whether host code lies below the end of the guests' range, as in a non-PIE executable."""
    for line in Path("/proc/self/maps").read_text("ascii", "replace").splitlines():
        addresses, permissions, *_ = line.split()
        if int(addresses.partition("-")[0], 16) >= GUEST_RANGE.end:
            return False
        if "x" in permissions:
            return True
    return False
