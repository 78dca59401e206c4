"""What kind of CPU exception stopped the guest, and where exactly.

How each reaches us (Unicorn 2.1.4, virtual TLB):

- page fault: our fill callback refused; ``uc_emu_start`` returns UC_ERR_EXCEPTION. The callback
  saw the page only, see :mod:`theseus_kit.machine.emulated.fault_address` for the byte;
- invalid opcode: no hook, ``uc_emu_start`` returns UC_ERR_INSN_INVALID;
- everything else: UC_HOOK_INTR with the vector, for which no Python code runs inside Unicorn:
  a C function notes the vector and ``uc_emu_stop`` itself is the second callback;
- ``hlt``: stops in silence and is a general protection fault in user mode.

In all of them rip is that of the faulting instruction; for int3 that of the next.
"""

from __future__ import annotations

import ctypes
from functools import partial
from struct import Struct
from typing import Any

from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.translation import UNMAPPED, Translation, add_hook
from theseus_kit.values.exceptions import (
    VECTOR_GENERAL_PROTECTION,
    VECTOR_INVALID_OPCODE,
    VECTOR_PAGE_FAULT,
    Access,
    ExceptionContext,
    PageFault,
    Registers,
)

_ACCESSES = (Access.READ, Access.WRITE, Access.EXECUTE)
_FIRST_NON_CANONICAL = 1 << 47
_LAST_NON_CANONICAL = (1 << 64) - (1 << 47) - 1
_NO_VECTOR = 0xFFFF_FFFF
_SYSTEM_VECTORS = 32
_CONTRIBUTORY = frozenset((0, 8, 10, 11, 12, 13, 14))
"""Vectors that Unicorn remembers and would take for the first half of a double fault."""
_WITH_ERROR_CODE = frozenset((8, 10, 11, 12, 13, 14, 17))

NoteVector = ctypes.CFUNCTYPE(None, ctypes.c_uint8, ctypes.c_uint32)


class Exceptions:
    """Turns a stop of the CPU into an :class:`ExceptionContext`."""

    def __init__(self, cpu: Cpu, translation: Translation) -> None:
        self._cpu = cpu
        self._translation = translation
        noted = bytearray(8)
        self._noted = memoryview(noted).cast("I")
        self._noted[1] = _NO_VECTOR
        note: Any = partial(Struct("<II").pack_into, noted, 0)
        self._note = NoteVector(note)
        add_hook(cpu, uc.HOOK_INTR, self._note)
        add_hook(cpu, uc.HOOK_INTR, cpu.library.emu_stop)

    def take(self, error: int) -> ExceptionContext | None:
        """The exception that ended ``uc_emu_start`` with an error number; None if it was none.

        None: the CPU stopped without any, because of a ``hlt`` or because it was asked to.
        """
        translation = self._translation
        vector = self._noted[1]
        if vector != _NO_VECTOR:
            self._noted[1] = _NO_VECTOR
            registers = self._cpu.read_frame().copy()
            if vector in _CONTRIBUTORY:
                self._cpu.forget_exception()
            if vector >= _SYSTEM_VECTORS:  # int n: a gate that user mode may not use
                code = vector << 3 | 2
                return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, code)
            return ExceptionContext(vector, registers, 0 if vector in _WITH_ERROR_CODE else None)
        registers = self._cpu.read_frame().copy()
        if translation.faulted:
            translation.faulted = False
            return self._page_fault(registers)
        if error == uc.ERR_INSN_INVALID:
            return ExceptionContext(VECTOR_INVALID_OPCODE, registers)
        return None

    def halted(self, registers: Registers) -> ExceptionContext:
        """The exception of a ``hlt`` in guest code."""
        registers.rip -= 1
        return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, 0)

    def _page_fault(self, registers: Registers) -> ExceptionContext:
        translation = self._translation
        page = translation.fault_page
        if _FIRST_NON_CANONICAL <= page <= _LAST_NON_CANONICAL:
            return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, 0)
        address = page
        fault = PageFault(
            address,
            _ACCESSES[translation.fault_kind],
            present=translation.table.get(page) != UNMAPPED,
        )
        return ExceptionContext(VECTOR_PAGE_FAULT, registers, fault.error_code, fault)
