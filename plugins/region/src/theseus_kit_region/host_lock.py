"""mlock(2) and munlock(2) on guest pages, which are host pages at the same addresses."""

from __future__ import annotations

import os

from theseus_kit.errors import PlatformError


class HostLock:
    """The host C library's two calls, looked up at the first use."""

    def __init__(self) -> None:
        import ctypes

        library = ctypes.CDLL(None, use_errno=True)
        self._get_errno = ctypes.get_errno
        self._lock = library.mlock
        self._unlock = library.munlock
        for function in (self._lock, self._unlock):
            function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            function.restype = ctypes.c_int

    def lock(self, address: int, size: int) -> None:
        """Raises PlatformError with the host's errno, having locked nothing."""
        if self._lock(address, size):
            number = self._get_errno()
            self._unlock(address, size)
            raise PlatformError(
                f"the host locked no {size} bytes at {address:#x}: {os.strerror(number)}", number
            )

    def unlock(self, address: int, size: int) -> None:
        """Raises PlatformError with the host's errno."""
        if self._unlock(address, size):
            number = self._get_errno()
            raise PlatformError(
                f"the host unlocked no {size} bytes at {address:#x}: {os.strerror(number)}", number
            )
