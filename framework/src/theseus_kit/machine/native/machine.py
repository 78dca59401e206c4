"""The native machine: guest code on the host's CPU, in this process.

Python calls guest code through a builtin (:mod:`.code.entering`), guest code calls Python through
exports (:mod:`.code.leaving`), and what a CPU would report to an operating system arrives as
signals (:mod:`.code.signals`). Guest code runs on stacks of its own, Python always on the host
thread's. What the machine code and this file share is in :mod:`.layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from struct import Struct
from typing import Any

from theseus_kit.errors import MachineError, UsageError
from theseus_kit.machine.direct import DirectCall
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.native import layout
from theseus_kit.machine.native.answers import Answers
from theseus_kit.machine.native.calls import Calls
from theseus_kit.machine.native.context import GUEST, Context
from theseus_kit.machine.native.memory import NativeMemory
from theseus_kit.machine.native.options import NativeOptions
from theseus_kit.machine.native.own_code import OwnCode
from theseus_kit.machine.native.process import process
from theseus_kit.machine.native.territory import Territory
from theseus_kit.machine.native.thread import NativeThread
from theseus_kit.machine.native.waiting import EXACT, waiting_frames
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
from theseus_kit.values.memory import AddressRange

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTER_ARGUMENTS = 6
_REGISTERS_SIZE = layout.FRAME_KIND
_DOUBLE = Struct("<d")
_SYSTEM_CALLS = ("auto", "dispatch", "rewrite")


class NativeMachine:
    """See :class:`theseus_kit.machine.protocol.Machine`."""

    def __init__(self, options: NativeOptions = NativeOptions()) -> None:  # noqa: B008
        if options.system_calls not in _SYSTEM_CALLS:
            raise UsageError(
                f"machine 'native', option system_calls: {options.system_calls!r} is none of "
                f"{', '.join(_SYSTEM_CALLS)}"
            )
        self._process = process()
        if options.system_calls == "dispatch" and self._process.dispatch.mode is None:
            raise MachineError(
                "this kernel has no Syscall User Dispatch: use system_calls=rewrite or auto"
            )
        self._dispatches = (
            self._process.dispatch.mode is not None and options.system_calls != "rewrite"
        )
        self.is_closed = False
        self._territory = Territory(options.territory_gib << 30)
        self._view = view_of_memory()
        self._context = Context(self._view)
        self._words = self._context.words
        self._place = self._context.address
        self._enter = self._process.enter
        self._code = OwnCode(
            self._territory.own, self._view, self._context.address, self._process.host_call
        )
        self._memory = NativeMemory(
            self._territory, self._context, self._code, self._process.direct_mapping
        )
        self._answers = Answers(self._context, self._memory)
        self._nobody = NativeThread(self._context, AddressRange(0, 0), 0)
        self._context.select(self._nobody.address)
        self._calls = Calls(self._process, self._context, self._memory, self._nobody.address)
        self._pieces = PlacedPieces()
        self._names: list[str] = []
        """Of the exports, by number."""
        self._features: frozenset[str] | None = None

    @property
    def name(self) -> str:
        return "native"

    @property
    def details(self) -> str:
        size = self._territory.size >> 30
        if self._dispatches:
            way = f"system calls by Syscall User Dispatch ({self._process.dispatch.mode})"
        else:
            way = "system calls by rewriting syscall instructions"
        return f"the host's CPU, {way}, territory of {size} GiB"

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset(
            (
                *(Ability.PRECISE_FAULTS, Ability.EDIT_REGISTERS),
                *(Ability.INTERRUPT_ANYWHERE, Ability.HOST_FUNCTIONS),
            )
        )

    @property
    def memory(self) -> NativeMemory:
        return self._memory

    @property
    def cpu_features(self) -> frozenset[str]:
        if self._features is None:
            from theseus_kit.machine.native.features import read_features

            host = self._process
            self._features = frozenset(read_features(host.cpuid, host.extended_state))
        return self._features

    @property
    def thread_pointer_cell(self) -> int:
        return self._place + layout.CONTEXT_THREAD_POINTER

    @property
    def rewrite_system_calls(self) -> Callable[[Iterable[int]], None] | None:
        return None if self._dispatches else self._answers.rewrite_system_calls

    @property
    def can_call(self) -> bool:
        return not self.is_closed and self._calls.may_call

    def set_handlers(
        self,
        exception: ExceptionCallback,
        system_call: SystemCallCallback,
        reentrant_system_calls: Collection[int] = frozenset(),
    ) -> None:
        numbers = require_system_call_numbers(reentrant_system_calls)
        self._answers.set_handlers(exception, system_call, numbers)

    def set_preemption(self, callback: PreemptionCallback | None) -> None:
        self._answers.preemption = callback

    def preempt(self) -> None:
        self._ask(layout.ATTENTION_PREEMPT)

    def export(
        self, function: HostFunction, arity: int, *, reenters: bool = False, name: str = ""
    ) -> int:
        self._calls.require_open()
        kind = layout.KIND_REENTERING if reenters else layout.KIND_EXPORT
        self._names.append(name)
        return self._code.export_address(self._context.add(function, arity, kind))

    def replace_export(self, address: int, function: HostFunction, arity: int) -> None:
        self._calls.require_open()
        self._context.replace(self._code.export_number(address), function, arity)

    def place_code(self, code: bytes, name: str = "") -> int:
        self._calls.require_open()
        address = self._code.place(code, name)
        self._pieces.add(address, len(code), name)
        return address

    def create_thread(self, stack: AddressRange, fs_base: int = 0) -> NativeThread:
        return NativeThread(self._context, stack, fs_base)

    def select_thread(self, thread: Thread) -> None:
        if not isinstance(thread, NativeThread) or not thread.is_of(self._context):
            raise MachineError(f"{thread!r} is a thread of another machine")
        self._calls.select(thread)

    def call(
        self,
        address: int,
        arguments: Sequence[int] = (),
        *,
        float_arguments: Sequence[float] = (),
        stack_pointer: int | None = None,
    ) -> int:
        if stack_pointer is None and len(arguments) <= _REGISTER_ARGUMENTS and not float_arguments:
            result: int | None = self._enter(self._place, address, 0, *arguments)
            if result is not None:
                return result
        return self._calls.call(address, arguments, float_arguments, stack_pointer)

    def prepare_call(self, address: int, arguments: Sequence[int]) -> Callable[[], int]:
        self._calls.require_open()
        values = tuple(argument & _MASK for argument in arguments)
        prepared: Callable[[], int] = self._calls.prepare(
            address, values, lambda: self.call(address, values)
        )
        return prepared

    def direct_call(self, address: int) -> DirectCall:
        return DirectCall(self._enter, (self._place, address, 0), self._context)

    def float_result(self) -> float:
        return self._double(self._words[GUEST] + layout.GUEST_FLOAT_RESULT)

    def float_argument(self, index: int) -> float:
        return self._double(self._calls.frame + layout.FRAME_XMM + 16 * index)

    def _double(self, address: int) -> float:
        value: float = _DOUBLE.unpack_from(self._view, address)[0]
        return value

    def set_float_result(self, value: float) -> None:
        _DOUBLE.pack_into(self._view, self._calls.frame + layout.FRAME_XMM, value)

    def registers(self) -> Registers:
        frame = self._calls.frame
        if frame == self._words[GUEST]:
            return Registers()
        return Registers.from_buffer_copy(self._view[frame : frame + _REGISTERS_SIZE])

    @property
    def registers_are_exact(self) -> bool:
        return self._calls.kind in EXACT

    def waiting(self, thread: Thread | None = None) -> Sequence[Waiting]:
        record = self._words[GUEST]
        if thread is not None:
            assert isinstance(thread, NativeThread)
            record = thread.address
        return list(waiting_frames(self._view, record, self._code.export_address, self._names))

    def is_own_code(self, address: int) -> bool:
        return address in self._territory.own or address in self._process.code

    def placed_code(self, address: int) -> PlacedCode | None:
        return self._pieces.at(address)

    def interrupt(self) -> bool:
        return self._ask(layout.ATTENTION_INTERRUPT)

    def take_interrupt(self) -> bool:
        return not self.is_closed and self._context.take(layout.ATTENTION_INTERRUPT)

    def idle(self) -> None:
        """The host's processor prepares nothing."""

    def _ask(self, attention: int) -> bool:
        if self.is_closed or not self._calls.in_progress:
            return False
        self._context.ask(attention)
        self._calls.disturb()
        return True

    def close(self) -> None:
        if self.is_closed:
            return
        if not self._calls.are_abandoned:
            self._calls.require_rest("close the machine")
            if self._calls.in_progress:
                raise MachineError("cannot close the machine while guest code waits for Python")
        self.is_closed = self._calls.is_closed = True
        self._context.ask(layout.ATTENTION_CLOSED)
        self._context.belong_to_nobody()
        self._calls.forget_thread()
        self._territory.release()
        self._memory.direct_mapping.close()

    def __enter__(self) -> NativeMachine:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()
