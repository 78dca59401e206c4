"""Where a call's arguments go: the mailbox, vector registers, the stack (System V ABI, 3.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

from theseus_kit.errors import MachineError
from theseus_kit.machine.emulated import stubs
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.memory import EmulatedMemory
from theseus_kit.machine.emulated.thread import EmulatedThread

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_REGISTERS = 6


class Arguments:
    """Prepares what the stub ``call`` takes over."""

    def __init__(self, cpu: Cpu, mailbox: memoryview, memory: EmulatedMemory) -> None:
        self._cpu = cpu
        self._mailbox = mailbox
        self._memory = memory

    def place(
        self,
        thread: EmulatedThread,
        address: int,
        arguments: Sequence[int],
        float_arguments: Sequence[float],
        stack_pointer: int | None,
    ) -> None:
        """Put the target, its arguments and the stack pointer where the stub looks for them."""
        mailbox = self._mailbox
        if stack_pointer is None:
            stack_pointer = thread.top
            if not stack_pointer:
                raise MachineError("no thread is selected to call guest code on")
        stack_pointer &= -16
        position = stubs.CALL_ARGUMENTS
        for argument in arguments[:_REGISTERS]:
            mailbox[position] = argument & _MASK
            position += 1
        if len(arguments) > _REGISTERS:
            stack_pointer = self._push(stack_pointer, arguments[_REGISTERS:])
        for index, value in enumerate(float_arguments):
            self._cpu.write_double(index, value)
        mailbox[stubs.CALL_VECTORS] = len(float_arguments)
        mailbox[stubs.CALL_STACK_POINTER] = stack_pointer
        mailbox[stubs.CALL_TARGET] = address

    def _push(self, stack_pointer: int, arguments: Sequence[int]) -> int:
        """Put stack arguments in their place; return the stack pointer to call with."""
        stack_pointer = (stack_pointer - 8 * len(arguments)) & -16
        data = b"".join((argument & _MASK).to_bytes(8, "little") for argument in arguments)
        self._memory.write(stack_pointer, data)
        return stack_pointer
