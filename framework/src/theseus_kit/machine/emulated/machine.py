"""The emulated machine put together: what the protocol asks for, and which part answers it."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import MachineError
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exceptions import Exceptions
from theseus_kit.machine.emulated.exits import Exits
from theseus_kit.machine.emulated.features import read_features
from theseus_kit.machine.emulated.frames import EXACT, Frames
from theseus_kit.machine.emulated.internals import find_internals
from theseus_kit.machine.emulated.library import Library
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.options import EmulatedOptions
from theseus_kit.machine.emulated.run_loop import RunLoop
from theseus_kit.machine.emulated.territory import OWN_SIZE, Territory
from theseus_kit.machine.emulated.thread import GUEST, IDLE, EmulatedThread
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.placed_code import PlacedCode, PlacedPieces
from theseus_kit.machine.protocol import (
    Ability,
    ExceptionCallback,
    HostFunction,
    PreemptionCallback,
    SystemCallCallback,
    Thread,
    Waiting,
    require_system_call_numbers,
)
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, AddressRange

if TYPE_CHECKING:
    from theseus_kit.machine.emulated.ahead import Ahead

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTER_ARGUMENTS = 6
_SCRATCH_OFFSET = 0xD00
"""Where in the mailbox page, past the list of pages to flush, a call of our own may write."""
_ALL_PERMISSIONS = 7
_READ_WRITE = 3
_READ_EXECUTE = 5


class EmulatedMachine:
    """See :class:`theseus_kit.machine.protocol.Machine`."""

    def __init__(self, options: EmulatedOptions | None = None) -> None:
        options = options or EmulatedOptions()
        library = Library()
        self._library = library
        self._territory = Territory(options.territory_gib << 30)
        self._cpu = cpu = Cpu(library)
        self._release = weakref.finalize(self, _release, cpu, self._territory)
        self.is_closed = False
        self._release.atexit = False  # the process's end gives everything back by itself
        own = self._own = self._territory.own.start
        self._view = view = view_of_memory()
        mailbox = view[own : own + PAGE_SIZE].cast("Q")
        self._mailbox = mailbox
        self._exits = Exits(cpu, mailbox, view)
        self._translation = translation = Translation(cpu, view, self._exits.fail, options.grow_tlb)
        self._exceptions = Exceptions(cpu, translation, view)
        self._map_territory(options.internal_fields)
        cpu.start()
        self._memory = EmulatedMemory(self._territory, translation, view)
        self._stubs = self._place_stubs()
        self._loop = RunLoop(
            cpu, mailbox, self._stubs, self._exits, self._exceptions, translation, self._memory
        )
        self._frames = Frames(cpu, self._exits, self._memory)
        translation.announce = self._loop.announce
        self._next_code = own + stubs.CODE_OFFSET
        self._pieces = PlacedPieces()
        self._next_prepared = own + OWN_SIZE
        self._loop.uses_mailbox = self._uses_mailbox
        self._features: frozenset[str] | None = None
        self._ahead = None if options.blocks is None else self._look_ahead(options.blocks)

    def _map_territory(self, internal_fields: bool) -> None:
        """Make the whole territory the CPU's memory, at the addresses it has in the host."""
        base, size = self._territory.base, self._territory.size
        host = ctypes.c_void_p(base)
        error = self._library.mem_map_ptr(self._cpu.handle, base, size, _ALL_PERMISSIONS, host)
        if error:
            raise MachineError(f"Unicorn cannot map {size >> 30} GiB of memory: error {error}")
        internals = find_internals(self._cpu) if internal_fields else None
        if internals is not None:
            internals.leave_out_exit_requests()
        self._exceptions.internals = internals

    def _look_ahead(self, file: str) -> Ahead | None:
        """Prepare the code that ``file`` says will run. None where that cannot be done."""
        from theseus_kit.machine.emulated.ahead import Ahead
        from theseus_kit.machine.emulated.host_code import HostCode, runs_here

        if not runs_here():
            return None
        try:
            code = HostCode()
        except OSError:
            return None  # a host that lets no memory be written and executed
        loop = self._loop
        ahead = Ahead(
            *(self._cpu, self._territory, self._translation, code, Path(file)),
            lambda: loop.thread.place == IDLE,
        )
        self._memory.ahead = ahead
        # What is sure to be asked for soon, and would end the guess.
        self._features = self.cpu_features
        self._cpu.recycle(self._cpu.new_context())
        ahead.begin()
        return ahead

    def _place_stubs(self) -> dict[str, int]:
        own, table = self._own, self._translation.table
        code, addresses = stubs.shared_stubs(own)
        start = own + stubs.SHARED_OFFSET
        self._view[start : start + len(code)] = code
        self._mailbox[stubs.EXPORT] = stubs.NO_EXPORT
        table.set(own, own + PAGE_SIZE, _READ_WRITE)
        table.set(start, own + OWN_SIZE, _READ_EXECUTE)
        return addresses

    @property
    def name(self) -> str:
        return "emulated"

    @property
    def details(self) -> str:
        version = ".".join(map(str, self._library.version))
        fields = "known" if self._exceptions.internals is not None else "not used"
        size = self._territory.size >> 30
        return f"Unicorn {version}, virtual TLB over {size} GiB, internal fields {fields}"

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset(
            (
                *(Ability.PRECISE_FAULTS, Ability.EDIT_REGISTERS, Ability.THREAD_POINTER),
                *(Ability.ISOLATION, Ability.INTERRUPT_ANYWHERE),
            )
        )

    @property
    def memory(self) -> EmulatedMemory:
        return self._memory

    @property
    def cpu_features(self) -> frozenset[str]:
        if self._features is None:
            self._features = frozenset(read_features(self._cpuid))
        return self._features

    def _cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """Execute ``cpuid`` on the guest CPU: eax, ebx, ecx, edx."""
        self._require_rest("ask the CPU for its features")
        buffer, stack = self._own + _SCRATCH_OFFSET, self._own + PAGE_SIZE
        self.call(self._stubs["cpuid"], (buffer, leaf, subleaf), stack_pointer=stack)
        eax, ebx, ecx, edx = self._view[buffer : buffer + 16].cast("I")
        return eax, ebx, ecx, edx

    @property
    def can_call(self) -> bool:
        return self._release.alive and self._loop.thread.place != GUEST

    def set_handlers(
        self,
        exception: ExceptionCallback,
        system_call: SystemCallCallback,
        reentrant_system_calls: Collection[int] = frozenset(),
    ) -> None:
        self._loop.exception = exception
        self._exits.system_call = system_call
        self._exits.reentrant = require_system_call_numbers(reentrant_system_calls)

    def set_preemption(self, callback: PreemptionCallback | None) -> None:
        self._loop.requests.preemption = callback

    def preempt(self) -> None:
        self._loop.requests.preempt(self._loop.thread)
        if self._loop.thread.place == GUEST:
            self._cpu.stop()

    @property
    def thread_pointer_cell(self) -> None:
        return None

    @property
    def rewrite_system_calls(self) -> None:
        return None

    def export(
        self, function: HostFunction, arity: int, *, reenters: bool = False, name: str = ""
    ) -> int:
        self._require_open()
        number = self._exits.add(function, arity, name)
        address = self._own + stubs.EXPORTS_OFFSET + stubs.EXPORT_SIZE * number
        target = self._stubs["reentering" if reenters else "answered"]
        self._write_code(address, stubs.export_stub(number, address, target))
        return address

    def replace_export(self, address: int, function: HostFunction, arity: int) -> None:
        offset = address - self._own - stubs.EXPORTS_OFFSET
        number, remainder = divmod(offset, stubs.EXPORT_SIZE)
        if remainder or not 0 <= number < len(self._exits.answers):
            raise MachineError(f"{address:#x} is no export of this machine")
        self._exits.replace(number, function, arity)

    def place_code(self, code: bytes, name: str = "") -> int:
        self._require_open()
        address = self._next_code
        end = address + len(code)
        if end > self._next_prepared:
            raise MachineError(f"no room for {len(code)} bytes of code {name!r}")
        self._next_code = (end + 15) & -16
        self._write_code(address, code)
        self._pieces.add(address, len(code), name)
        return address

    def _write_code(self, address: int, code: bytes) -> None:
        """Write code where none was: nothing can have been translated from there."""
        self._view[address : address + len(code)] = code

    def create_thread(self, stack: AddressRange, fs_base: int = 0) -> EmulatedThread:
        return EmulatedThread(self._cpu, stack, fs_base)

    def select_thread(self, thread: Thread) -> None:
        self._require_rest("select a thread")
        if not isinstance(thread, EmulatedThread) or not thread.is_of(self._cpu):
            raise MachineError(f"{thread!r} is a thread of another machine")
        self._loop.select(thread)

    def call(
        self,
        address: int,
        arguments: Sequence[int] = (),
        *,
        float_arguments: Sequence[float] = (),
        stack_pointer: int | None = None,
    ) -> int:
        self._require_rest("call guest code")
        return self._loop.call(address, arguments, float_arguments, stack_pointer)

    def prepare_call(self, address: int, arguments: Sequence[int]) -> Callable[[], int]:
        if len(arguments) > _REGISTER_ARGUMENTS:
            return lambda: self.call(address, arguments)
        values = tuple(argument & _MASK for argument in arguments)
        pc = self._place_prepared_call(address, values)
        loop, release, run = self._loop, self._release, self._loop.run

        def prepared() -> int:
            thread = loop.thread
            if thread.place or not thread.top or not release.alive:
                return self.call(address, values)
            if loop.requests.any:
                loop.requests.forget(thread)
            return run(pc)

        return prepared

    def direct_call(self, address: int) -> None:
        return None

    def _place_prepared_call(self, address: int, values: tuple[int, ...]) -> int:
        """Place its code at the far end, away from code in which threads may be switched."""
        self._require_open()
        returned = self._stubs["returned"]
        size = len(stubs.prepared_call(self._own, self._own, address, values, returned))
        pc = (self._next_prepared - size) & -16
        if pc < self._next_code:
            raise MachineError("no room for another prepared call")
        self._next_prepared = pc
        self._write_code(pc, stubs.prepared_call(self._own, pc, address, values, returned))
        return pc

    def _uses_mailbox(self, address: int) -> bool:
        """Whether an address is in the shared stubs, the exports' or those of prepared calls."""
        offset = address - self._own
        return (
            stubs.SHARED_OFFSET <= offset < stubs.CODE_OFFSET
            or self._next_prepared - self._own <= offset < OWN_SIZE
        )

    def float_result(self) -> float:
        result = self._loop.thread.float_result
        return self._cpu.read_double(0) if result is None else result

    def float_argument(self, index: int) -> float:
        return self._cpu.read_double(index)

    def set_float_result(self, value: float) -> None:
        self._cpu.write_double(0, value)

    def registers(self) -> Registers:
        return self._frames.registers(self._loop.thread)

    @property
    def registers_are_exact(self) -> bool:
        return self._loop.thread.place in EXACT

    def waiting(self, thread: Thread | None = None) -> Sequence[Waiting]:
        of = self._loop.thread if thread is None or self.is_closed else thread
        assert isinstance(of, EmulatedThread)
        first, names = self._own + stubs.EXPORTS_OFFSET, self._exits.names
        return [
            Waiting(registers, is_exact, first + stubs.EXPORT_SIZE * number, names[number])
            if number is not None
            else Waiting(registers, is_exact, None)
            for registers, is_exact, number in self._frames.waiting(of)
        ]

    def is_own_code(self, address: int) -> bool:
        return self._own + PAGE_SIZE <= address < self._own + OWN_SIZE

    def placed_code(self, address: int) -> PlacedCode | None:
        return self._pieces.at(address)

    def interrupt(self) -> bool:
        noted = self._loop.requests.interrupt(self._loop.thread)
        if self._loop.thread.place == GUEST:
            self._cpu.stop()
        return noted

    def idle(self) -> None:
        if self._ahead is not None and self._release.alive:
            self._ahead.idle()

    def take_interrupt(self) -> bool:
        return self._loop.requests.take_interrupt()

    def close(self) -> None:
        if not self._release.alive:
            return
        self._require_rest("close the machine")
        if self._loop.thread.place != IDLE:
            raise MachineError("cannot close the machine while guest code waits for Python")
        self._loop.pulse.end()
        if self._ahead is not None:
            self._ahead.close()
        self._loop.give_up()
        self.is_closed = True
        self._release()
        self._translation.close()
        self._exits.close()

    def _require_open(self) -> None:
        if not self._release.alive:
            raise MachineError("the machine is closed")

    def _require_rest(self, what: str) -> None:
        self._require_open()
        if self._loop.thread.place == GUEST:
            raise MachineError(
                f"cannot {what} inside a system call or an export that does not re-enter"
            )

    def __enter__(self) -> EmulatedMachine:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()


def _release(cpu: Cpu, territory: Territory) -> None:
    cpu.close()
    territory.release()
