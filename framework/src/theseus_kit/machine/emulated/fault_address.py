"""The exact byte a faulting instruction could not touch, when all that is known is the page.

Used where Unicorn's own record of the address cannot be (see internals.py): the instruction is
decoded and its memory operands are computed from the registers as they stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_LONGEST_INSTRUCTION = 15


class FaultDecoder:
    """Decodes faulting instructions. Capstone is loaded with the first."""

    def __init__(self, segment_base: Callable[[str], int]) -> None:
        """``segment_base`` gives the base of "fs" and "gs"."""
        import capstone

        self._segment_base = segment_base
        self._x86 = capstone.x86
        self._decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._decoder.detail = True

    def exact_address(self, registers: Registers, page: int, code: bytes) -> int:
        """The first byte of ``page`` that the instruction ``code`` at rip touches.

        ``code`` starts at rip and may be longer than the instruction. Where the instruction's
        operands do not reach the page (an operand this decoder does not know of) the page's own
        address is the answer.
        """
        touched = [
            max(start, page)
            for start, size in self._operands(registers, code[:_LONGEST_INSTRUCTION])
            if start < page + PAGE_SIZE and start + size > page
        ]
        return min(touched, default=page)

    def _operands(self, registers: Registers, code: bytes) -> Iterator[tuple[int, int]]:
        """Yield (address, size) of everything in memory that an instruction reads or writes."""
        x86 = self._x86
        instruction: Any = next(self._decoder.disasm(code, registers.rip, 1), None)
        if instruction is None:
            return
        values = {name: getattr(registers, name) for name in Registers.NAMES}
        values["rip"] = registers.rip + instruction.size

        def value_of(register: int) -> int:
            name = instruction.reg_name(register)
            if name in values:
                return int(values[name])
            wide = "r" + name[1:] if name.startswith("e") else name.removesuffix("d")
            return int(values.get(wide, 0)) & 0xFFFF_FFFF  # a 32-bit address size

        for operand in instruction.operands:
            if operand.type != x86.X86_OP_MEM:
                continue
            memory = operand.mem
            address = memory.disp
            if memory.base:
                address += value_of(memory.base)
            if memory.index:
                address += value_of(memory.index) * memory.scale
            if memory.segment in (x86.X86_REG_FS, x86.X86_REG_GS):
                address += self._segment_base(instruction.reg_name(memory.segment))
            yield address & _MASK, operand.size
        mnemonic = instruction.mnemonic
        if mnemonic.startswith(("push", "call", "enter")):
            yield (registers.rsp - 8) & _MASK, 8
        elif mnemonic.startswith(("pop", "ret")):
            yield registers.rsp, 8
        elif mnemonic == "leave":
            yield registers.rbp, 8
