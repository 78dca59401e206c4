"""Time and randomness, as everything on a platform gets them: the host's, or made to repeat.

A deterministic platform has a clock of its own. It starts at a fixed date, goes on by a fixed step
whenever somebody reads it, so that a loop that waits for time to pass ends, and jumps where all
tasks wait. Its random bytes come from a seed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Protocol

RandomBytes = Callable[[int], bytes]
"""Returns that many random bytes."""

STEP_NS = 1_000
"""What one reading of the virtual clock takes: about what a system call takes a slow machine."""
EPOCH_NS = 946_684_800 * 1_000_000_000
"""The virtual clock's date at its start: 2000-01-01 00:00 UTC."""
START_NS = 1_000_000_000
"""Its monotonic time then: a machine that was just switched on. Not 0, which programs may take for
"never"."""


class Clock(Protocol):
    """A platform's time, in nanoseconds."""

    @property
    def is_virtual(self) -> bool:
        """Waiting takes no time, and machine code must not read the host's clock in its place."""
        ...

    def monotonic_ns(self) -> int:
        """Time that never goes back, CLOCK_MONOTONIC (clock_gettime(2))."""
        ...

    def realtime_ns(self) -> int:
        """Time since 1970-01-01 00:00 UTC, CLOCK_REALTIME."""
        ...

    def cpu_ns(self) -> int:
        """Time for which the process has had a CPU, CLOCK_PROCESS_CPUTIME_ID."""
        ...

    def advance_to(self, monotonic_ns: int) -> None:
        """Let time pass until then, where time passes only so; nothing for the host's."""
        ...


class HostClock:
    """The host's clocks."""

    is_virtual = False
    # On Linux CLOCK_MONOTONIC and CLOCK_REALTIME, without a method of ours in between.
    monotonic_ns = staticmethod(time.monotonic_ns)
    realtime_ns = staticmethod(time.time_ns)
    cpu_ns = staticmethod(time.process_time_ns)

    def advance_to(self, monotonic_ns: int) -> None:
        """The host's time passes by itself."""


class VirtualClock:
    """A clock that only its readers and waiters move."""

    is_virtual = True

    def __init__(self, step_ns: int = STEP_NS) -> None:
        self._now = START_NS
        self._step = step_ns

    def monotonic_ns(self) -> int:
        self._now += self._step
        return self._now

    def realtime_ns(self) -> int:
        return self.monotonic_ns() - START_NS + EPOCH_NS

    def cpu_ns(self) -> int:
        return self.monotonic_ns() - START_NS

    def advance_to(self, monotonic_ns: int) -> None:
        self._now = max(self._now, monotonic_ns)


def seeded_bytes(seed: int) -> RandomBytes:
    """Return a source of bytes that are the same for the same seed and the same requests."""
    from random import Random

    return Random(seed).randbytes


host_bytes: RandomBytes = os.urandom
"""The host's randomness."""
