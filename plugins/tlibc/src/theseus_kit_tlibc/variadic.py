"""Arguments a C prototype does not name: those behind ``...``, and those of a ``va_list``.

System V ABI for x86-64, 3.2.3 and 3.5.7: integers and pointers in rdi rsi rdx rcx r8 r9, doubles
in xmm0 to xmm7, and what no longer fits, of either kind and in order, in 8-byte stack words.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine, Memory

_INTEGER_REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
_VECTOR_REGISTERS = 8
_DOUBLE = Struct("<d")

# struct __va_list_tag: gp_offset, fp_offset, overflow_arg_area, reg_save_area
_VA_LIST = Struct("<IIQQ")
_GP_END = 48
_FP_END = 48 + 16 * _VECTOR_REGISTERS


class Arguments(Protocol):
    """Further arguments, each fetched once, in order."""

    def integer(self) -> int:
        """The next integer or pointer, an unsigned 64-bit word."""
        ...

    def double(self) -> float: ...

    def long_double(self) -> bytes:
        """The ten bytes of the next one: always in memory, at a multiple of sixteen."""
        ...


class CallArguments:
    """The arguments behind ``...`` of the export that is being served.

    ``fixed`` counts the named integer arguments; none of the named ones is floating-point.
    """

    def __init__(self, machine: Machine, fixed: int) -> None:
        self._machine = machine
        self._registers = machine.registers()
        self._integers = fixed
        self._doubles = 0
        self._stack = self._registers.rsp

    def integer(self) -> int:
        if self._integers < len(_INTEGER_REGISTERS):
            self._integers += 1
            value: int = getattr(self._registers, _INTEGER_REGISTERS[self._integers - 1])
            return value
        return self._word()

    def double(self) -> float:
        if self._doubles < _VECTOR_REGISTERS:
            self._doubles += 1
            return self._machine.float_argument(self._doubles - 1)
        value: float = _DOUBLE.unpack(self._word().to_bytes(8, "little"))[0]
        return value

    def long_double(self) -> bytes:
        self._stack = (self._stack + 15) & -16
        value = self._machine.memory.read(self._stack, 10)
        self._stack += 16
        return value

    def _word(self) -> int:
        value = self._machine.memory.read_u64(self._stack)
        self._stack += 8
        return value


class ListArguments:
    """The arguments of a ``va_list``, which is advanced in place as va_arg does."""

    def __init__(self, memory: Memory, address: int) -> None:
        self._memory = memory
        self._address = address

    def integer(self) -> int:
        return self._memory.read_u64(self._next(floating=False))

    def double(self) -> float:
        value: float = _DOUBLE.unpack(self._memory.read(self._next(floating=True), 8))[0]
        return value

    def long_double(self) -> bytes:
        gp, fp, overflow, saved = _VA_LIST.unpack(self._memory.read(self._address, _VA_LIST.size))
        overflow = (overflow + 15) & -16
        self._memory.write(self._address, _VA_LIST.pack(gp, fp, overflow + 16, saved))
        return self._memory.read(overflow, 10)

    def _next(self, *, floating: bool) -> int:
        gp, fp, overflow, saved = _VA_LIST.unpack(self._memory.read(self._address, _VA_LIST.size))
        if floating and fp < _FP_END:
            place, fp = saved + fp, fp + 16
        elif not floating and gp < _GP_END:
            place, gp = saved + gp, gp + 8
        else:
            place, overflow = overflow, overflow + 8
        self._memory.write(self._address, _VA_LIST.pack(gp, fp, overflow, saved))
        result: int = place
        return result
