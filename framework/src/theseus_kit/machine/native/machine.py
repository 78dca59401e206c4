"""The native machine: guest code on the host's CPU, in this process.

Python calls guest code through a builtin (:mod:`.code.entering`), guest code calls Python through
exports (:mod:`.code.leaving`), and what a CPU would report to an operating system arrives as
signals (:mod:`.code.signals`). Guest code runs on stacks of its own, Python always on the host
thread's. What the machine code and this file share is in :mod:`.layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from threading import get_ident
from typing import Any

from theseus_kit.errors import GuestKilled, MachineError, UsageError
from theseus_kit.machine.host_memory import view_of_memory
from theseus_kit.machine.native import layout
from theseus_kit.machine.native.context import ATTENTION, FRAME, HOST_STACK, THREAD, TOP, Context
from theseus_kit.machine.native.exceptions import forbidden_interrupt, read_exception
from theseus_kit.machine.native.memory import NativeMemory
from theseus_kit.machine.native.options import NativeOptions
from theseus_kit.machine.native.own_code import OwnCode
from theseus_kit.machine.native.process import process
from theseus_kit.machine.native.territory import Territory
from theseus_kit.machine.native.thread import NativeThread
from theseus_kit.machine.native.waiting import waiting_frames
from theseus_kit.machine.protocol import (
    Ability,
    ExceptionCallback,
    HostFunction,
    SystemCallCallback,
    Thread,
    Waiting,
)
from theseus_kit.values.exceptions import (
    VECTOR_BREAKPOINT,
    KilledByException,
    Registers,
)
from theseus_kit.values.memory import AddressRange, Protection

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTER_ARGUMENTS = 6
_RED_ZONE = 128
"""Bytes below rsp that a function may use without saying so (System V ABI, 3.2.2)."""
_REGISTERS_SIZE = layout.FRAME_KIND
_RSP = 8 * Registers.NAMES.index("rsp")
_RIP = 8 * Registers.NAMES.index("rip")
_DOUBLE = Struct("<d")
_WORD = Struct("<Q")
_CALLABLE_KINDS = frozenset((layout.KIND_REENTERING, layout.KIND_EXCEPTION))
_SYSCALL, _INT3_NOP = b"\x0f\x05", b"\xcc\x90"
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
            self._territory, self._context, self._code, self._process.protect_directly
        )
        self._exception: ExceptionCallback | None = None
        self._system_call: SystemCallCallback = _no_system_call
        self._context.set_callback(layout.CONTEXT_ON_EXCEPTION, self._on_exception)
        self._context.set_callback(layout.CONTEXT_ON_SYSTEM_CALL, self._system_call)
        self._rewritten: set[int] = set()
        """Where rip is after the int3 that stands for a ``syscall``."""
        self._thread: NativeThread | None = None
        self._frame_thread: NativeThread | None = None
        """The guest thread of the innermost call that Python placed; None: the idle thread's."""
        self._idle_thread: NativeThread | None = None
        """The thread that calls run on which machine code places: selected when nothing ran."""
        self._names: list[str] = []
        """Of the exports, by number."""
        self._owner = 0
        """Python's number of the host thread that uses the machine."""
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
        return None if self._dispatches else self._rewrite_system_calls

    def _rewrite_system_calls(self, addresses: Iterable[int]) -> None:
        for address in addresses:
            if bytes(self._view[address : address + 2]) != _SYSCALL:
                raise MachineError(f"no syscall instruction at {address:#x}")
            self._memory.patch(address, _INT3_NOP)
            self._rewritten.add(address + 1)

    @property
    def can_call(self) -> bool:
        if not self._words[HOST_STACK]:
            return not self.is_closed
        return self._may_call()

    def _may_call(self) -> bool:
        if not self._words[HOST_STACK]:
            return True
        frame = self._words[FRAME]
        if not frame or self._owner != get_ident():
            return False
        return self._word(frame + layout.FRAME_KIND) in _CALLABLE_KINDS

    def set_handlers(self, exception: ExceptionCallback, system_call: SystemCallCallback) -> None:
        self._exception = exception
        self._system_call = system_call
        self._context.set_callback(layout.CONTEXT_ON_SYSTEM_CALL, system_call)

    def export(
        self, function: HostFunction, arity: int, *, reenters: bool = False, name: str = ""
    ) -> int:
        self._require_open()
        kind = layout.KIND_REENTERING if reenters else layout.KIND_EXPORT
        self._names.append(name)
        return self._code.export_address(self._context.add(function, arity, kind))

    def replace_export(self, address: int, function: HostFunction, arity: int) -> None:
        self._require_open()
        self._context.replace(self._code.export_number(address), function, arity)

    def place_code(self, code: bytes, name: str = "") -> int:
        self._require_open()
        return self._code.place(code, name)

    def create_thread(self, stack: AddressRange, fs_base: int = 0) -> NativeThread:
        return NativeThread(stack, fs_base)

    def select_thread(self, thread: Thread) -> None:
        assert isinstance(thread, NativeThread)
        self._require_rest("select a thread")
        if self._thread is not None:
            self._thread.deselect()
        thread.select(self._words)
        self._thread = thread
        self._select_for_machine_code()

    def _select_for_machine_code(self) -> None:
        """Say where calls go. After a switch inside guest code Python places them, until none is
        running any more."""
        if self._words[HOST_STACK]:
            self._words[TOP] = 0
        elif self._thread is not None:
            self._idle_thread = self._thread
            self._words[TOP] = self._thread.top

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
        self._require_rest("call guest code")
        if not self._words[HOST_STACK]:
            self._select_for_machine_code()
        return self._call(address, arguments, float_arguments, stack_pointer)

    def _call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        thread = self._thread
        outer, outer_top = None, 0
        if self._words[FRAME]:
            outer = self._frame_thread or self._idle_thread
        if outer is not None:
            # The innermost frame is that thread's, whichever is selected now.
            outer_top, outer.top = outer.top, self._below_frame()
        try:
            if stack_pointer is None:
                if thread is None:
                    raise MachineError("no thread is selected to call guest code on")
                stack_pointer = thread.top
            else:
                self._memory.check((stack_pointer & -16) - 8, 8, Protection.READ_WRITE)
            stack_pointer &= -16
            if len(arguments) > _REGISTER_ARGUMENTS:
                stack_pointer = self._push(arguments[_REGISTER_ARGUMENTS:], stack_pointer)
                if thread is not None and outer is None:
                    outer, outer_top, thread.top = thread, thread.top, stack_pointer
            words = list(arguments[:_REGISTER_ARGUMENTS])
            if float_arguments:
                words += [0] * (_REGISTER_ARGUMENTS - len(words))
                words += [_WORD.unpack(_DOUBLE.pack(value))[0] for value in float_arguments]
            return self._run(address, stack_pointer, words)
        finally:
            if outer is not None:
                outer.top = outer_top

    def _push(self, arguments: Sequence[int], stack_pointer: int) -> int:
        words = [argument & _MASK for argument in arguments]
        stack_pointer = (stack_pointer - 8 * len(words)) & -16
        self._memory.write(stack_pointer, b"".join(map(_WORD.pack, words)))
        return stack_pointer

    def _run(self, address: int, stack_pointer: int, arguments: Sequence[int]) -> int:
        """Enter guest code; make the calling thread ready for it where it is not."""
        outer = self._frame_thread
        self._frame_thread = self._thread
        try:
            enter, place = self._enter, self._place
            result: int | None = enter(place, address, stack_pointer, *arguments)
            if result is None:
                self._attach()
                result = enter(place, address, stack_pointer, *arguments)
                if result is None:
                    raise MachineError("the calling thread cannot be made ready for guest code")
            return result
        finally:
            self._frame_thread = outer

    def _attach(self) -> None:
        """Make the machine the calling thread's. Raises MachineError while it is another's."""
        self._require_open()
        record = self._process.attach()
        if self._words[HOST_STACK] and self._words[THREAD] != record:
            raise MachineError("another thread is running code of this machine")
        self._words[THREAD] = record
        self._owner = get_ident()

    def _below_frame(self) -> int:
        """The top of the stack below the innermost guest frame."""
        return (self._word(self._words[FRAME] + _RSP) - _RED_ZONE) & -16

    def prepare_call(self, address: int, arguments: Sequence[int]) -> Callable[[], int]:
        self._require_open()
        values = tuple(argument & _MASK for argument in arguments)

        def slow() -> int:
            return self.call(address, values)

        if len(values) > _REGISTER_ARGUMENTS:
            return slow
        return self._process.prepared.prepare(
            self._context.address, address, values, slow, self._context
        )

    def float_result(self) -> float:
        value: float = _DOUBLE.unpack_from(
            self._view, self._context.address + layout.CONTEXT_FLOAT_RESULT
        )[0]
        return value

    def float_argument(self, index: int) -> float:
        place = self._words[FRAME] + layout.FRAME_XMM + 16 * index
        value: float = _DOUBLE.unpack_from(self._view, place)[0]
        return value

    def set_float_result(self, value: float) -> None:
        _DOUBLE.pack_into(self._view, self._words[FRAME] + layout.FRAME_XMM, value)

    def registers(self) -> Registers:
        frame = self._words[FRAME]
        if not frame:
            return Registers()
        return Registers.from_buffer_copy(self._view[frame : frame + _REGISTERS_SIZE])

    @property
    def registers_are_exact(self) -> bool:
        frame = self._words[FRAME]
        kinds = (layout.KIND_EXCEPTION, layout.KIND_TICK)
        return bool(frame) and self._word(frame + layout.FRAME_KIND) in kinds

    def waiting(self) -> Sequence[Waiting]:
        frame = self._words[FRAME]
        return list(waiting_frames(self._view, frame, self._code.export_address, self._names))

    def is_own_code(self, address: int) -> bool:
        return address in self._territory.own or address in self._process.code

    def interrupt(self) -> None:
        if self.is_closed or not self._words[HOST_STACK]:
            return
        self._words[ATTENTION] = 1
        self._process.threads.disturb(self._words[THREAD])

    def close(self) -> None:
        if self.is_closed:
            return
        self._require_rest("close the machine")
        self.is_closed = True
        self._context.belong_to_nobody()
        self._territory.release()
        self._memory.direct_protection.close()

    def _on_exception(self, frame: int, ucontext: int, signal: int) -> None:
        """Answer a fault of guest code: the machine code's callback for every signal but one."""
        view = self._view
        registers = Registers.from_buffer_copy(view[frame : frame + _REGISTERS_SIZE])
        if signal == layout.SIGSYS:
            found = forbidden_interrupt(registers)
        else:
            found = read_exception(view, ucontext, registers, self._memory.is_mapped)
        if found.vector == VECTOR_BREAKPOINT and registers.rip in self._rewritten:
            self._answer_rewritten(frame, registers)
        elif self._exception is None:
            raise GuestKilled(KilledByException(found.vector), found)
        else:
            self._exception(found)
        view[frame : frame + _REGISTERS_SIZE] = memoryview(found.registers).cast("B")

    def _answer_rewritten(self, frame: int, registers: Registers) -> None:
        """Serve a system call whose instruction is an int3 now."""
        view = self._view
        kind = self._word(frame + layout.FRAME_KIND)
        after = registers.rip + 1  # past the nop
        _WORD.pack_into(view, frame + layout.FRAME_KIND, layout.KIND_SYSTEM_CALL)
        _WORD.pack_into(view, frame + _RIP, registers.rip - 1)
        r = registers
        answer = self._system_call(r.rax, r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9)
        _WORD.pack_into(view, frame + layout.FRAME_KIND, kind)
        r.rip = r.rcx = after
        r.rax, r.r11 = answer & _MASK, r.rflags

    def _word(self, address: int) -> int:
        value: int = _WORD.unpack_from(self._view, address)[0]
        return value

    def _require_open(self) -> None:
        if self.is_closed:
            raise MachineError("the machine is closed")

    def _require_rest(self, what: str) -> None:
        self._require_open()
        if not self._may_call():
            if self._owner != get_ident():
                raise MachineError(f"cannot {what} while another thread runs guest code")
            raise MachineError(
                f"cannot {what} inside a system call or an export that does not re-enter"
            )

    def __enter__(self) -> NativeMachine:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()


def _no_system_call(number: int, *arguments: int) -> int:
    raise MachineError("the guest made a system call, which nothing answers")
