"""The process's signal handlers: ours in front, whoever was there before behind.

Each *entry* is one address of ours with handlers of its own to pass foreign faults on to. One is
enough until somebody installs a handler over ours: it will pass what it does not know back to us,
so it cannot be the one that this entry passes on to. Then the next entry goes in front::

    kernel → entry 1 → faulthandler, enabled after us → entry 0 → what was there at first

Entries are used again for the same handlers, so switching faulthandler on and off needs one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from struct import Struct
from typing import Final

from theseus_kit.errors import MachineError
from theseus_kit.machine.native import system

TICK_SIGNAL: Final = 62
"""The timer's: a real-time signal next to nobody uses, SIGRTMAX - 2."""

SIGNALS: Final = (11, 7, 4, 8, 5, 31, TICK_SIGNAL)
"""SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, and the timer's."""

_SA_SIGINFO, _SA_RESTART, _SA_ONSTACK, _SA_NODEFER = 0x4, 0x10000000, 0x08000000, 0x40000000
_ACTION = Struct("<Q128xi4xQ")
"""struct sigaction of the C library: handler, mask, flags, restorer."""


class SignalHandlers:
    """``entries`` are addresses of code, ``tables`` of their tables of 65 handlers by signal."""

    def __init__(self, entries: Sequence[int], tables: Sequence[int], view: memoryview) -> None:
        self._entries = entries
        self._tables = [view[table : table + 65 * 8].cast("Q") for table in tables]
        self._behind: list[dict[int, int]] = []
        """What each entry that is in use passes on to, by signal."""

    def install(self) -> None:
        """See that ours is the first handler of every signal. Raises MachineError."""
        for signal in SIGNALS:
            current = self._current(signal)
            if current in self._entries:
                continue
            self._put_in_front(signal, current)

    def _put_in_front(self, signal: int, current: int) -> None:
        for number, entry in enumerate(self._entries):
            if number == len(self._behind):
                self._behind.append({})
            behind = self._behind[number].setdefault(signal, current)
            if behind == current:
                self._tables[number][signal] = current
                flags = _SA_SIGINFO | _SA_RESTART | _SA_ONSTACK | _SA_NODEFER
                action = ctypes.create_string_buffer(_ACTION.pack(entry, flags, 0))
                if system.sigaction(signal, action, None) != 0:
                    raise MachineError(f"no handler for signal {signal}: {system.errno_text()}")
                return
        raise MachineError(
            f"more than {len(self._entries)} signal handlers were installed over the machine's own"
        )

    def _current(self, signal: int) -> int:
        action = ctypes.create_string_buffer(_ACTION.size)
        if system.sigaction(signal, None, action) != 0:
            raise MachineError(f"no handler for signal {signal}: {system.errno_text()}")
        handler: int = _ACTION.unpack(action.raw[: _ACTION.size])[0]
        return handler
