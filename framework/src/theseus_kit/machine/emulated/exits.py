"""Ways out of the running CPU into Python: exports, system calls, and the errors they raise.

The callbacks are generators that wait inside their ``try``: whatever Python code raises while it
runs on behalf of the guest, be it the exported function or a signal handler that happened to run
then, is kept in ``failure`` and makes the guest stop; the run loop raises it. A plain function
would lose the second kind: Python runs signal handlers at a function's entry, before its ``try``
begins, and ctypes can only print what comes out of a callback.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from typing import Any

from theseus_kit.errors import MachineError
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu, batch_of
from theseus_kit.machine.protocol import HostFunction, SystemCallCallback
from theseus_kit.values.exceptions import Registers

_MASK = 0xFFFF_FFFF_FFFF_FFFF

Leave = ctypes.CFUNCTYPE(None, ctypes.c_uint8)
"""uc_cb_insn_out_t, uc_cb_insn_in_t and uc_cb_insn_syscall_t, of whose parameters none is of use.
One byte of the engine's address is a small int, which costs no allocation."""

Answer = Callable[[], int | None]
Callbacks = Generator[None, int, None]


class Exits:
    """The exports by number, and the hooks that serve them and system calls."""

    def __init__(self, cpu: Cpu, mailbox: memoryview, memory: memoryview) -> None:
        self.failure: BaseException | None = None
        self.privileged: Registers | None = None
        """The registers at an instruction that user mode may not execute (in, out)."""
        self.in_system_call = False
        self.system_call: SystemCallCallback | None = None
        self.reentrant: frozenset[int] = frozenset()
        """The system calls that are answered with the CPU at rest."""
        self.waiting_system_call: tuple[int, ...] | None = None
        """Number and arguments of one of those, which the CPU stops for."""
        self.answers: list[Answer] = []
        self.names: list[str] = []
        self._cpu = cpu
        self._mailbox = mailbox
        self._words = memory.cast("Q")
        self._results = batch_of([uc.REG_RAX, uc.REG_RCX, uc.REG_R8 + 3], 8)
        self._written = memoryview(self._results.buffer).cast("B").cast("Q")
        self._generators: list[Callbacks] = []
        self._callbacks: list[Any] = []
        # First, for Unicorn goes through the hooks of all instructions in order, and leaves off
        # after any of them if another thread has just asked for a stop: the system call would be
        # passed over in silence (helper_syscall in qemu/target/i386/seg_helper.c).
        self._hook(self._answer_system_calls(), uc.INS_SYSCALL)
        self._hook(self._answer_exports(), uc.INS_OUT)
        self._hook(self._answer_in(), uc.INS_IN)

    def _hook(self, generator: Callbacks, instruction: int) -> None:
        next(generator)
        callback = Leave(generator.send)
        self._generators.append(generator)
        self._callbacks.append(callback)
        self._cpu.add_hook(uc.HOOK_INSN, callback, 1, 0, ctypes.c_int(instruction))

    def close(self) -> None:
        for generator in self._generators:
            generator.close()
        self.answers.clear()

    def add(self, function: HostFunction, arity: int, name: str) -> int:
        """Number a function. Raises MachineError when there are too many."""
        if len(self.answers) == stubs.EXPORT_LIMIT:
            raise MachineError(f"more than {stubs.EXPORT_LIMIT} exports")
        self.answers.append(self._bind(function, arity))
        self.names.append(name)
        return len(self.answers) - 1

    def replace(self, number: int, function: HostFunction, arity: int) -> None:
        self.answers[number] = self._bind(function, arity)

    def fail(self, error: BaseException) -> None:
        """Keep an error for the run loop and make the guest stop; the first error counts."""
        if self.failure is None:
            self.failure = error
        self._cpu.stop()

    def forget(self) -> None:
        """Drop what a call that is given up has left behind."""
        self.failure = None
        self.privileged = None
        self.waiting_system_call = None
        self.in_system_call = False

    def _answer_exports(self) -> Callbacks:
        mailbox, answers = self._mailbox, self.answers
        while True:
            try:
                while True:
                    yield
                    # Slots EXPORT and RESULT: literals, for this is the hottest line of all.
                    mailbox[8] = (answers[mailbox[0]]() or 0) & 0xFFFF_FFFF_FFFF_FFFF
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's)
                if mailbox[stubs.EXPORT] >= len(answers):
                    self._refuse_privileged()
                else:
                    self.failure = error
                    mailbox[stubs.ATTENTION] = stubs.ATTENTION_FAILED

    def _answer_in(self) -> Callbacks:
        while True:
            try:
                while True:
                    yield
                    self._refuse_privileged()
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's)
                self.fail(error)

    def _refuse_privileged(self) -> None:
        # The rest of its block still runs, and is undone as far as the registers go.
        self.privileged = self._cpu.read_frame().copy()
        self._cpu.stop()

    def _answer_system_calls(self) -> Callbacks:
        cpu = self._cpu
        library, handle = cpu.library, cpu.handle
        arguments = batch_of(
            [
                *(uc.REG_RAX, uc.REG_RDI, uc.REG_RSI, uc.REG_RDX, uc.REG_R8 + 2, uc.REG_R8),
                *(uc.REG_R8 + 1, uc.REG_RIP, uc.REG_RFLAGS),
            ],
            8,
        )
        read = memoryview(arguments.buffer).cast("B").cast("Q")
        while True:
            try:
                while True:
                    yield
                    library.reg_read_batch(
                        handle, arguments.ids, arguments.pointers, arguments.count
                    )
                    if read[0] in self.reentrant:
                        self.waiting_system_call = tuple(read[:7])
                        cpu.stop()  # takes effect before the next instruction
                        continue
                    rip, rflags = read[7], read[8]
                    self.in_system_call = True
                    result = self.answer_system_call(*read[:7])
                    self.in_system_call = False
                    self.finish_system_call(result, rip + 2, rflags)
            except GeneratorExit:
                return
            except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's)
                self.in_system_call = False
                self.fail(error)

    def answer_system_call(self, number: int, *arguments: int) -> int:
        """Have the callback answer. Raises MachineError if there is none, and what it raises."""
        if self.system_call is None:
            raise MachineError("the guest made a system call, which nothing answers")
        return self.system_call(number, *arguments)

    def finish_system_call(self, result: int, after: int, rflags: int) -> None:
        """Write the registers a system call returns with.

        The CPU keeps the return address in rcx and the flags in r11 (Intel SDM, SYSCALL); Linux
        returns with both as they are.
        """
        written, results = self._written, self._results
        written[0], written[1], written[2] = result & _MASK, after, rflags
        cpu = self._cpu
        cpu.library.reg_write_batch(cpu.handle, results.ids, results.pointers, results.count)

    def _bind(self, function: HostFunction, arity: int) -> Answer:
        """A function without parameters that fetches ``arity`` arguments and calls ``function``."""
        box = self._mailbox
        if arity == 0:
            return function
        if arity == 1:
            return lambda: function(box[1])
        if arity == 2:
            return lambda: function(box[1], box[2])
        if arity == 3:
            return lambda: function(box[1], box[2], box[3])
        if arity == 4:
            return lambda: function(box[1], box[2], box[3], box[4])
        if arity <= 6:
            return lambda: function(*box[1 : 1 + arity])
        words = self._words

        def with_stack_arguments() -> int | None:
            # rsp points at the return address; the seventh argument lies above it.
            first = (box[stubs.STACK_POINTER] >> 3) + 1
            return function(*box[1:7], *words[first : first + arity - 6])

        return with_stack_arguments
