"""Translating blocks before they run, on a host thread of its own, while Python is busy elsewhere.

Half of a short program's time on this machine is the translation of code that runs once: some
7,000 blocks at 7 µs. None of it needs Python, and nothing of the guest's happens in it; so it may
go on while the interpreter imports what the platform is made of.

The engine belongs to that thread until somebody else needs it, who then ends the work in the
middle: everything that reaches the engine goes through ``cpu.library``, and what stands there
meanwhile waits for the thread before it gives anything out.

The thread needs no page table: in the engine's own TLB mode every address of the territory is
itself. Whether what was translated may be run is for :mod:`.ahead` to know.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.block_profile import BlockProfile
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.host_code import HostCode
from theseus_kit.machine.emulated.library import Library
from theseus_kit.machine.emulated.territory import Territory
from theseus_kit.values.memory import PAGE_SIZE, AddressRange


class Reserved(Library):
    """Stands for the library while the thread has the engine: asking for a function ends that."""

    def __init__(self, speculation: Speculation) -> None:
        self._speculation = speculation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._speculation.settle(), name)


class Speculation:
    """The blocks of one profile, translated from the file's bytes where they will be mapped."""

    def __init__(
        self,
        cpu: Cpu,
        territory: Territory,
        code: HostCode,
        profile: BlockProfile,
        descriptor: int,
    ) -> None:
        """Put the file's bytes in their place. Raises OutOfMemoryError where the host refuses."""
        start = territory.base + profile.place
        self.profile = profile
        self.range = AddressRange(start, start + profile.length)
        # A block may end on the page after its own; what lies behind the last is not the file's.
        behind = profile.length - PAGE_SIZE
        addresses = [start + block for block in profile.blocks if block < behind]
        self.left = len(addresses)
        """How many blocks have not been translated, as of when it was last settled."""
        self._cpu = cpu
        self._library = cpu.library
        self._territory = territory
        self._code = code
        self._addresses = (ctypes.c_uint64 * self.left)(*addresses)
        self._stop = ctypes.c_uint32(0)
        self._hook: ctypes.c_size_t | None = None
        self._thread: threading.Thread | None = None
        self._working = threading.RLock()
        """Held while the engine is at work. Re-entrant: a finaliser that closes a machine may run
        on the thread itself, just before the work or just after."""
        self.holds_bytes = True
        """The file's bytes are there for the thread alone."""
        territory.map_file(start, profile.length, descriptor, profile.offset)
        this = weakref.ref(self)
        # A child process has no such thread, and Python warns of a fork while there are any.
        os.register_at_fork(before=lambda: _end(this))

    def begin(self) -> None:
        """Translate what is left, on a thread of its own, as long as nobody needs the engine."""
        library, cpu = self._library, self._cpu
        if not self.left or not cpu.handle or cpu.library is not library:
            return
        hook = cpu.add_hook(
            # As translation.py has it: a scan of the TLB less for each block. No data is there.
            *(uc.HOOK_MEM_FETCH_PROT, library.emu_stop, self.range.start, self.range.end - 1)
        )
        cpu.library = Reserved(self)  # first: from here on settling mends whatever is half done
        self._hook = hook
        _set_tlb_mode(library, cpu, uc.TLB_CPU)
        self._stop.value = 0
        self._thread = threading.Thread(target=self._translate, name="theseus-kit translation")
        try:
            self._thread.start()
        except RuntimeError:  # the host has no more threads: nothing is translated ahead
            self.settle()

    def settle(self) -> Library:
        """End the work and give the engine back. Doing it twice is the same as once."""
        cpu, library = self._cpu, self._library
        if cpu.library is library:
            return library
        # A thread that has not come so far as to take the lock will see that it is to stop.
        self._stop.value = 1
        with self._working:
            hook, self._hook = self._hook, None
            if cpu.handle:
                if hook is not None:
                    library.hook_del(cpu.handle, hook)
                _set_tlb_mode(library, cpu, uc.TLB_VIRTUAL)
                library.ctl(cpu.handle_argument, ctypes.c_uint(uc.CTL_TLB_FLUSH))
            cpu.library = library  # last: whoever is interrupted before does all of it again
        return library

    def end(self) -> None:
        """Settle, and see the thread off."""
        self.settle()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join()

    def vacate(self) -> None:
        """Settle, and leave the place as empty as guest code must find it."""
        self.settle()
        if self.holds_bytes:
            self._territory.clear(self.range.start, self.range.size)
            self.holds_bytes = False

    def pages(self) -> set[int]:
        """Every page that a block may have been translated from."""
        start = self.range.start
        first = {block & -PAGE_SIZE for block in self.profile.blocks}
        pages = first | {page + PAGE_SIZE for page in first}
        return {start + page for page in pages if page < self.range.size}

    def _translate(self) -> None:
        with self._working:
            if not self.left:
                return
            addresses, done = self._addresses, len(self._addresses) - self.left
            self.left = self._code.translate(
                self._cpu.handle,
                ctypes.addressof(addresses) + ctypes.sizeof(ctypes.c_uint64) * done,
                self.left,
                ctypes.cast(self._library.ctl, ctypes.c_void_p),
                ctypes.addressof(self._stop),
            )


def _set_tlb_mode(library: Library, cpu: Cpu, mode: int) -> None:
    library.ctl(cpu.handle_argument, ctypes.c_uint(uc.CTL_TLB_TYPE), ctypes.c_int(mode))


def _end(speculation: weakref.ref[Speculation]) -> None:
    alive = speculation()
    if alive is not None:
        alive.end()
