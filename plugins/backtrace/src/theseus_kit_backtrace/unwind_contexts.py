"""The opaque contexts that ``_Unwind_*`` functions hand to guest code, and questions about them.

A context stands for one frame while a callback or a personality routine looks at it. It is a
number that looks like an aligned pointer; the guest never looks behind one. What is written to a
context (a landing pad, the registers it is entered with) is kept there for whoever made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.errors import NotRegisteredError, PlatformError
from theseus_kit.values.exceptions import Registers

if TYPE_CHECKING:
    from theseus_kit.values.symbols import Frame

REGISTERS_BY_NUMBER = (
    *("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"),
)
"""Registers by DWARF number (x86-64 psABI, figure 3.36); rip stands for the return address."""

_STEP = 16


class Context:
    """A frame that guest code looks at, and the registers it may change."""

    __slots__ = ("frame", "registers")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.registers = frame.registers or Registers(
            rip=frame.instruction_pointer, rsp=frame.stack_pointer, rbp=frame.frame_pointer or 0
        )


class Contexts:
    """The contexts that are valid now. They nest, as the callbacks do that they are for."""

    def __init__(self) -> None:
        self._open: list[Context] = []

    def open(self, context: Context) -> int:
        """The number that guest code knows the context by, until :meth:`close`."""
        self._open.append(context)
        return _STEP * len(self._open)

    def close(self) -> None:
        """Forget the latest context."""
        self._open.pop()

    def of(self, number: int) -> Context:
        """Raises NotRegisteredError for what is no context, or is none any more."""
        index, remainder = divmod(number, _STEP)
        if remainder or not 0 < index <= len(self._open):
            raise NotRegisteredError(
                f"{number:#x} is no unwind context: one is valid only while its callback runs"
            )
        return self._open[index - 1]

    def general_register(self, number: int, index: int) -> int:
        """_Unwind_GetGR."""
        value: int = getattr(self.of(number).registers, _register_name(index))
        return value

    def set_general_register(self, number: int, index: int, value: int) -> None:
        """_Unwind_SetGR."""
        setattr(self.of(number).registers, _register_name(index), value)

    def instruction_pointer(self, number: int) -> int:
        """_Unwind_GetIP."""
        return self.of(number).registers.rip

    def set_instruction_pointer(self, number: int, value: int) -> None:
        """_Unwind_SetIP."""
        self.of(number).registers.rip = value


def _register_name(index: int) -> str:
    if not 0 <= index < len(REGISTERS_BY_NUMBER):
        raise PlatformError(f"no general register {index}: x86-64 has 0 to 16 in DWARF's count")
    return REGISTERS_BY_NUMBER[index]
