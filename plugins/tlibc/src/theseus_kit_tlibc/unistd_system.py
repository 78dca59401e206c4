"""What the system is: sys/utsname.h, sys/sysinfo.h, and advice it need not take."""

from __future__ import annotations

from theseus_kit_tlibc.deferred import DeferredBodies

_FIELD = 65
_NAMES = (b"Linux", b"theseus-kit", b"6.0.0", b"#1", b"x86_64", b"(none)")
"""System, node, release, version, machine, domain: of the Linux whose calls are served."""


class Bodies(DeferredBodies):
    def uname(self, buf: int) -> int:
        data = b"".join(name.ljust(_FIELD, b"\0") for name in _NAMES)
        self.library.memory.write(buf, data)
        return 0

    def get_nprocs(self) -> int:
        return self.library.options.processors

    def sched_cpucount(self, size: int, mask: int) -> int:
        """How many bits of a cpu_set_t are set."""
        return int.from_bytes(self.library.memory.read(mask, size), "little").bit_count()

    def posix_madvise(self, address: int, length: int, advice: int) -> int:
        """Advice never changes what memory holds here (POSIX), so there is nothing to do."""
        return 0
