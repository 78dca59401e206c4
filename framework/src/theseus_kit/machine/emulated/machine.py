"""The emulated machine: an x86-64 CPU in Unicorn that runs guest code for Python.

``uc_emu_start`` is never nested. Guest code leaves it in three ways: by a callback that answers
while the CPU waits (exports, system calls, TLB fills), by a ``hlt`` that says why (the return of
a call, an export that may call back), or by an exception. The run loop looks at the last two with
the CPU at rest, so Python may then call guest code again, to any depth: Python recurses, Unicorn
does not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from theseus_kit.errors import GuestInterrupted, GuestKilled, MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.exceptions import Exceptions
from theseus_kit.machine.emulated.exits import Exits
from theseus_kit.machine.emulated.features import read_features
from theseus_kit.machine.emulated.host_memory import view_of_memory
from theseus_kit.machine.emulated.library import Library
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.options import EmulatedOptions
from theseus_kit.machine.emulated.territory import OWN_SIZE, Territory
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.machine.protocol import (
    Ability,
    ExceptionCallback,
    HostFunction,
    SystemCallCallback,
    Thread,
)
from theseus_kit.values.exceptions import KilledByException, Registers
from theseus_kit.values.memory import AddressRange

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_SCRATCH_OFFSET = 0xD00
"""Where in the mailbox page, past the list of pages to flush, a call of our own may write."""
_RED_ZONE = 128
"""Bytes below rsp that a function may use without saying so (System V ABI, 3.2.2)."""

# Who has control: guest code (and callbacks it waits for), or Python with the CPU at rest.
_IDLE, _GUEST, _EXPORT, _EXCEPTION = range(4)


class EmulatedThread:
    """See :class:`theseus_kit.machine.protocol.Thread`."""

    def __init__(self, cpu: Cpu, stack: AddressRange, fs_base: int) -> None:
        self.stack = stack
        self.top = stack.end & -16
        """Where the next call's frame goes: below the innermost guest frame of this thread."""
        self.selected = False
        self.state: ctypes.c_void_p | None = None
        self._cpu = cpu
        self._fs_base = fs_base

    @property
    def fs_base(self) -> int:
        return self._cpu.read_register(uc.REG_FS_BASE) if self.selected else self._fs_base

    @fs_base.setter
    def fs_base(self, value: int) -> None:
        self._fs_base = value
        if self.selected:
            self._cpu.write_register(uc.REG_FS_BASE, value)

    def suspend(self) -> None:
        """Take the CPU's state away."""
        self._fs_base = self.fs_base
        self.selected = False
        self.state = self._cpu.save()

    def resume(self) -> None:
        """Give the CPU this thread's state."""
        if self.state is None:
            self._cpu.load_pristine()
        else:
            self._cpu.restore(self.state)
            self.state = None
        self._cpu.write_register(uc.REG_FS_BASE, self._fs_base)
        self.selected = True


class EmulatedMachine:
    """See :class:`theseus_kit.machine.protocol.Machine`."""

    def __init__(self, options: EmulatedOptions = EmulatedOptions()) -> None:  # noqa: B008
        library = Library()
        self._options = options
        self._library = library
        self._closed = False
        self._territory = Territory(options.territory_gib << 30)
        self._cpu = Cpu(library)
        own = self._territory.own.start
        view = view_of_memory()
        self._view = view
        self._mailbox = view[own : own + 4096].cast("Q")
        first, last = own + stubs.SHARED_OFFSET, own + stubs.EXPORTS_OFFSET - 1
        self._exits = Exits(self._cpu, self._mailbox, view, first, last)
        error = library.mem_map_ptr(
            self._cpu.handle, own, self._territory.size, 7, ctypes.c_void_p(own)
        )
        if error:
            raise MachineError(f"Unicorn cannot map {self._territory.size:#x} bytes: {error}")
        self._translation = Translation(self._cpu, view, self._exits.fail)
        self._exceptions = Exceptions(self._cpu, self._translation)
        self._cpu.start()
        self._memory = EmulatedMemory(self._territory, self._translation, view)
        code, self._stubs = stubs.shared_stubs(own)
        view[own + stubs.SHARED_OFFSET : own + stubs.SHARED_OFFSET + len(code)] = code
        table = self._translation.table
        table.set(own, own + 4096, 3)
        table.set(own + stubs.SHARED_OFFSET, own + OWN_SIZE, 5)
        self._reentered = self._stubs["reentered"]
        self._own = own
        self._next_code = own + stubs.CODE_OFFSET
        self._exception: ExceptionCallback | None = None
        self._thread: EmulatedThread | None = None
        self._place = _IDLE
        self._export_stack_pointer = 0
        self._float_result: float | None = None
        self._interrupted = False
        self._features: frozenset[str] | None = None

    @property
    def name(self) -> str:
        return "emulated"

    @property
    def details(self) -> str:
        version = ".".join(map(str, self._library.version))
        return f"Unicorn {version}, virtual TLB over {self._territory.size >> 30} GiB"

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
        own = self._own
        buffer, stack = own + _SCRATCH_OFFSET, own + 4096 - 16
        self.call(self._stubs["cpuid"], (buffer, leaf, subleaf), stack_pointer=stack)
        words = self._view[buffer : buffer + 16].cast("I")
        return words[0], words[1], words[2], words[3]

    @property
    def can_call(self) -> bool:
        return self._place != _GUEST and not self._closed

    def set_handlers(self, exception: ExceptionCallback, system_call: SystemCallCallback) -> None:
        self._exception = exception
        self._exits.system_call = system_call

    def export(
        self, function: HostFunction, arity: int, *, reenters: bool = False, name: str = ""
    ) -> int:
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
        address = self._next_code
        end = address + len(code)
        if end > self._own + OWN_SIZE:
            raise MachineError(f"no room for {len(code)} bytes of code {name!r}")
        self._next_code = (end + 15) & -16
        self._write_code(address, code)
        return address

    def _write_code(self, address: int, code: bytes) -> None:
        self._require_open()
        end = address + len(code)
        self._view[address:end] = code
        self._translation.bytes_changed(address & -4096, (end + 4095) & -4096)

    def create_thread(self, stack: AddressRange, fs_base: int = 0) -> EmulatedThread:
        return EmulatedThread(self._cpu, stack, fs_base)

    def select_thread(self, thread: Thread) -> None:
        assert isinstance(thread, EmulatedThread)
        self._require_rest("select a thread")
        if self._thread is thread:
            return
        if self._thread is not None:
            self._thread.suspend()
        thread.resume()
        self._thread = thread
        self._mailbox[stubs.TOP] = thread.top

    def call(
        self,
        address: int,
        arguments: Sequence[int] = (),
        *,
        float_arguments: Sequence[float] = (),
        stack_pointer: int | None = None,
    ) -> int:
        self._require_rest("call guest code")
        if self._place == _IDLE:
            self._float_result = None
            return self._call(address, arguments, float_arguments, stack_pointer)
        cpu = self._cpu
        state = cpu.save()
        try:
            result = self._call(address, arguments, float_arguments, stack_pointer)
            self._float_result = cpu.read_double(0)
        finally:
            cpu.restore(state)
        return result

    def _call(
        self,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> int:
        mailbox = self._mailbox
        if stack_pointer is None:
            if self._thread is None:
                raise MachineError("no thread is selected to call guest code on")
            stack_pointer = self._thread.top
        stack_pointer &= -16
        position = stubs.CALL_ARGUMENTS
        for argument in arguments[:6]:
            mailbox[position] = argument & _MASK
            position += 1
        if len(arguments) > 6:
            words = [argument & _MASK for argument in arguments[6:]]
            stack_pointer = (stack_pointer - 8 * len(words)) & -16
            data = b"".join(word.to_bytes(8, "little") for word in words)
            self._memory.write(stack_pointer, data)
        for index, value in enumerate(float_arguments):
            self._cpu.write_double(index, value)
        mailbox[stubs.CALL_VECTORS] = len(float_arguments)
        mailbox[stubs.CALL_STACK_POINTER] = stack_pointer
        mailbox[stubs.CALL_TARGET] = address
        return self._run(self._stubs["call"])

    def _run(self, pc: int) -> int:
        """Run guest code from ``pc`` until the innermost call returns; return its rax."""
        start, handle, mailbox = self._library.emu_start, self._cpu.handle, self._mailbox
        outer = self._place
        try:
            while True:
                self._place = _GUEST
                error = start(handle, pc, 0, 0, 0)
                self._place = outer
                reason = mailbox[10]
                if reason:
                    mailbox[10] = 0
                    if reason == stubs.REASON_RETURNED:
                        return mailbox[8]
                    if reason == stubs.REASON_REENTERING:
                        pc = self._answer_reentering(outer)
                        continue
                pc = self._look_into(error, outer)
        except BaseException:
            self._place = outer
            mailbox[stubs.REASON] = 0
            mailbox[stubs.ATTENTION] = 0
            raise

    def _answer_reentering(self, outer: int) -> int:
        """Run the export that the guest waits for; return where it goes on."""
        mailbox = self._mailbox
        stack_pointer = mailbox[stubs.STACK_POINTER]
        answer = self._exits.answers[mailbox[stubs.EXPORT]]
        saved = self._enter(_EXPORT, stack_pointer)
        try:
            result = answer() or 0
        finally:
            self._leave(saved, outer)
        mailbox[stubs.RESULT] = result & _MASK
        return self._reentered

    def _look_into(self, error: int, outer: int) -> int:
        """Deal with a stop that was no return and no export; return where the guest goes on."""
        failure = self._exits.failure
        if failure is not None:
            self._exits.failure = None
            self._translation.faulted = False
            raise failure
        context = self._exceptions.take(error)
        if context is None:
            registers = self._cpu.read_frame()
            if self._interrupted:
                self._interrupted = False
                raise GuestInterrupted("guest code was interrupted")
            context = self._exceptions.halted(registers.copy())
        saved = self._enter(_EXCEPTION, context.registers.rsp - _RED_ZONE)
        try:
            if self._exception is None:
                raise GuestKilled(KilledByException(context.vector), context)
            self._exception(context)
        finally:
            self._leave(saved, outer)
        self._cpu.write_frame(context.registers)
        return context.registers.rip

    def _enter(self, place: int, stack_pointer: int) -> tuple[EmulatedThread | None, int]:
        """Give Python control inside a guest frame."""
        self._place = place
        thread = self._thread
        if thread is None:
            return None, 0
        top = thread.top
        thread.top = self._mailbox[stubs.TOP] = stack_pointer & -16
        return thread, top

    def _leave(self, saved: tuple[EmulatedThread | None, int], outer: int) -> None:
        self._place = outer
        thread, top = saved
        if thread is not None:
            thread.top = self._mailbox[stubs.TOP] = top

    def prepare_call(self, address: int, arguments: Sequence[int]) -> Callable[[], int]:
        if len(arguments) > 6:
            return lambda: self.call(address, arguments)
        own, returned = self._own, self._stubs["returned"]
        values = tuple(argument & _MASK for argument in arguments)
        code = stubs.prepared_call(own, self._next_code, address, values, returned)
        pc = self.place_code(code, "prepared call")
        start, handle, mailbox = self._library.emu_start, self._cpu.handle, self._mailbox

        def prepared() -> int:
            if self._place != _IDLE or self._thread is None:
                return self.call(address, arguments)
            return self._run(pc)

        del start, handle, mailbox
        return prepared

    def float_result(self) -> float:
        if self._float_result is not None:
            return self._float_result
        return self._cpu.read_double(0)

    def float_argument(self, index: int) -> float:
        return self._cpu.read_double(index)

    def set_float_result(self, value: float) -> None:
        self._cpu.write_double(0, value)

    def registers(self) -> Registers:
        if self._place == _IDLE:
            return Registers()
        registers = self._cpu.read_frame().copy()
        in_export = self._place == _EXPORT or (
            self._place == _GUEST and not self._exits.in_system_call
        )
        if in_export:
            registers.rip = self._memory.read_u64(registers.rsp)
            registers.rsp += 8
        return registers

    def interrupt(self) -> None:
        self._interrupted = True
        self._cpu.stop()

    def close(self) -> None:
        if self._closed:
            return
        self._require_rest("close the machine")
        self._closed = True
        self._cpu.close()
        self._translation.close()
        self._exits.close()
        self._territory.release()

    def _require_open(self) -> None:
        if self._closed:
            raise MachineError("the machine is closed")

    def _require_rest(self, what: str) -> None:
        self._require_open()
        if self._place == _GUEST:
            raise MachineError(
                f"cannot {what} inside a system call or an export that does not re-enter"
            )

    def __enter__(self) -> EmulatedMachine:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()
