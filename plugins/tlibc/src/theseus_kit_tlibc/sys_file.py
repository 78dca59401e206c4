"""sys/file.h: locking whole files."""

from __future__ import annotations

from theseus_kit_tlibc.deferred import DeferredBodies


class Bodies(DeferredBodies):
    """The functions of sys/file.h."""

    def flock(self, fd: int, operation: int) -> int:
        """Waits, where it has to, by trying again each millisecond."""
        library = self.library
        library.files.usable(fd)
        return library.locks.flock(library.files.description(fd), operation)
