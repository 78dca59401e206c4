"""What kind of CPU exception stopped the guest, and where exactly.

How each reaches us (Unicorn 2.1.4, virtual TLB):

- page fault: our fill callback refused; ``uc_emu_start`` returns UC_ERR_EXCEPTION. The callback
  saw the page only; the byte comes from Unicorn's own record or from decoding the instruction;
- invalid opcode: no hook, ``uc_emu_start`` returns UC_ERR_INSN_INVALID;
- everything else: UC_HOOK_INTR with the vector, for which no Python code runs inside Unicorn:
  a C function notes the vector and ``uc_emu_stop`` itself is the second callback;
- ``hlt``, ``in`` and ``out`` are executed in silence, and are general protection faults in user
  mode.

In all of them rip is that of the faulting instruction; for int3 that of the next.
"""

from __future__ import annotations

import ctypes
from functools import partial
from struct import Struct
from typing import Any

from theseus_kit.machine.accounted_memory import UNMAPPED
from theseus_kit.machine.emulated import library as uc
from theseus_kit.machine.emulated.cpu import Cpu
from theseus_kit.machine.emulated.fault_address import FaultDecoder
from theseus_kit.machine.emulated.internals import Internals
from theseus_kit.machine.emulated.translation import Translation
from theseus_kit.values.exceptions import (
    VECTOR_GENERAL_PROTECTION,
    VECTOR_INVALID_OPCODE,
    VECTOR_PAGE_FAULT,
    Access,
    ExceptionContext,
    PageFault,
    Registers,
)
from theseus_kit.values.memory import PAGE_SIZE, page_floor

VECTOR_DEBUG = 1

_ACCESSES = (Access.READ, Access.WRITE, Access.EXECUTE)
_FIRST_NON_CANONICAL = 1 << 47
_LAST_NON_CANONICAL = (1 << 64) - (1 << 47) - 1
_NO_VECTOR = 0xFFFF_FFFF
_SYSTEM_VECTORS = 32
_CONTRIBUTORY = frozenset((0, 8, 10, 11, 12, 13, 14))
"""Vectors that Unicorn remembers and would take for the first half of a double fault."""
_WITH_ERROR_CODE = frozenset((8, 10, 11, 12, 13, 14, 17))
_INT_LENGTH = 2

NoteVector = ctypes.CFUNCTYPE(None, ctypes.c_uint8, ctypes.c_uint32)


class Exceptions:
    """Turns a stop of the CPU into an :class:`ExceptionContext`."""

    def __init__(self, cpu: Cpu, translation: Translation, host: memoryview) -> None:
        self.internals: Internals | None = None
        self._cpu = cpu
        self._translation = translation
        self._host = host
        self._decoder: FaultDecoder | None = None
        noted = bytearray(8)
        self._noted = memoryview(noted).cast("I")
        self._noted[1] = _NO_VECTOR
        note: Any = partial(Struct("<II").pack_into, noted, 0)
        self._note = NoteVector(note)
        cpu.add_hook(uc.HOOK_INTR, self._note)
        cpu.add_hook(uc.HOOK_INTR, cpu.library.emu_stop)

    def take(self, error: int) -> ExceptionContext | None:
        """The exception that ended ``uc_emu_start`` with an error number; None if it was none.

        None: the CPU stopped in silence, because of a ``hlt`` or because it was asked to.
        """
        vector = self._noted[1]
        if vector != _NO_VECTOR:
            self._noted[1] = _NO_VECTOR
            return self._interrupt(vector)
        if self._translation.faulted:
            self._translation.faulted = False
            return self._page_fault(self._cpu.read_frame().copy())
        if error == uc.ERR_INSN_INVALID:
            return ExceptionContext(VECTOR_INVALID_OPCODE, self._cpu.read_frame().copy())
        return None

    def forget(self) -> None:
        """Drop what a stop has left behind whose call is given up."""
        self._noted[1] = _NO_VECTOR
        self._translation.faulted = False

    def privileged(self, registers: Registers) -> ExceptionContext:
        """The exception of an instruction that user mode may not execute."""
        return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, 0)

    def halted(self) -> ExceptionContext:
        """The exception of a ``hlt``, which Unicorn has executed: rip is after it."""
        registers = self._cpu.read_frame().copy()
        registers.rip -= 1
        return self.privileged(registers)

    def _interrupt(self, vector: int) -> ExceptionContext:
        registers = self._cpu.read_frame().copy()
        if vector in _CONTRIBUTORY:
            self._cpu.forget_exception()
        if vector >= _SYSTEM_VECTORS:  # int n: a gate that user mode may not use
            registers.rip -= _INT_LENGTH
            return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, vector << 3 | 2)
        return ExceptionContext(vector, registers, 0 if vector in _WITH_ERROR_CODE else None)

    def _page_fault(self, registers: Registers) -> ExceptionContext:
        translation = self._translation
        page, kind = translation.fault_page, translation.fault_kind
        if _FIRST_NON_CANONICAL <= page <= _LAST_NON_CANONICAL:
            return ExceptionContext(VECTOR_GENERAL_PROTECTION, registers, 0)
        access = _ACCESSES[kind]
        address = self._exact_address(registers, page, access)
        fault = PageFault(address, access, present=translation.table.get(page) != UNMAPPED)
        return ExceptionContext(VECTOR_PAGE_FAULT, registers, fault.error_code, fault)

    def _exact_address(self, registers: Registers, page: int, access: Access) -> int:
        if access is Access.EXECUTE:
            return max(registers.rip, page)
        if self.internals is not None:
            address = self.internals.fault_address
            if page_floor(address) == page:
                return address
        if self._decoder is None:
            self._decoder = FaultDecoder(self._segment_base)
        return self._decoder.exact_address(registers, page, self._code_at(registers.rip))

    def _code_at(self, address: int) -> bytes:
        """The bytes of an instruction that has been fetched: up to 15, of mapped pages only."""
        length = 15
        room = PAGE_SIZE - address % PAGE_SIZE
        if length > room and self._translation.table.get(address + room) == UNMAPPED:
            length = room
        return bytes(self._host[address : address + length])

    def _segment_base(self, name: str) -> int:
        register = uc.REG_FS_BASE if name == "fs" else uc.REG_GS_BASE
        return self._cpu.read_register(register)
