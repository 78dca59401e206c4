"""Walking a stack by the unwind tables of its code.

Where a table covers an address its rules are exact, whatever the code does with rbp. Where none
does (WebAssembly's code unless it registers its tables, stubs) the frame is taken to keep the
frame pointer chain, as ``frame_pointers.py`` has it: compiled WebAssembly does.

The walk ends where the tables say that the stack ends, and where something makes no sense: an
unreadable word, a stack pointer that does not rise, a return address that is not executable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange, Protection
from theseus_kit.values.symbols import Frame
from theseus_kit_backtrace.call_frame_information import FrameDescription, Row, Rule, RuleKind
from theseus_kit_backtrace.dwarf_expression import evaluate
from theseus_kit_backtrace.dwarf_reading import BROKEN
from theseus_kit_backtrace.frame_pointers import read_link
from theseus_kit_backtrace.unwind_tables import UnwindTables

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

_ORDER = (
    *("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"),
)
"""Registers by DWARF number (x86-64 psABI, figure 3.36); rip stands for the return address."""

_RBP, _RSP, _RIP = 6, 7, 16
_MASK = (1 << 64) - 1


class DwarfUnwinder:
    """Walks over one platform's memory and tables."""

    def __init__(self, tables: UnwindTables, memory: Memory) -> None:
        self._tables = tables
        self._memory = memory

    def walk(
        self, registers: Registers, stack: AddressRange, is_exact: bool, max_frames: int
    ) -> Iterator[Frame]:
        """Walk at most ``max_frames`` frames, the register state's own first.

        ``is_exact``: the state's rip is an instruction's address and not a return address.
        """
        state = [getattr(registers, name) for name in _ORDER]
        for _ in range(max_frames):
            address = state[_RIP]
            found = self._tables.find(address if is_exact else address - 1)
            if found is None:
                frame, caller = None, self._by_frame_pointer(state, stack)
            else:
                frame, caller = found[0], self._by_rules(state, *found)
            yield _frame(state, is_exact, frame, caller)
            if caller is None:
                return
            is_exact = frame is not None and frame.common.is_signal_frame
            # Above a signal's frame the stack may be another one.
            if not is_exact and caller[_RSP] <= state[_RSP]:
                return
            state = caller

    def _by_rules(self, state: list[int], frame: FrameDescription, row: Row) -> list[int] | None:
        """The caller's registers as the row has them; None where the stack ends."""
        rules = row.rules
        return_address = rules.get(frame.common.return_address_column)
        if return_address is None or return_address.kind is RuleKind.UNDEFINED:
            return None
        caller = list(state)
        try:
            if row.cfa_expression:
                cfa = evaluate(row.cfa_expression, state, self._read_word)
            else:
                cfa = state[row.cfa_register] + row.cfa_offset & _MASK
            caller[_RSP] = cfa
            for number, rule in rules.items():
                if number < len(caller):
                    caller[number] = self._value(rule, cfa, state, caller[number])
            caller[_RIP] = self._value(return_address, cfa, state, 0)
            if not caller[_RIP]:
                return None
            # An exact address may be the first of a page; a call ends before its return address.
            called = caller[_RIP] if frame.common.is_signal_frame else caller[_RIP] - 1
            self._memory.check(called, 1, Protection.EXECUTE)
        except (*BROKEN, PlatformError):
            return None
        return caller

    def _value(self, rule: Rule, cfa: int, state: list[int], unchanged: int) -> int:
        kind = rule.kind
        if kind is RuleKind.AT_CFA_OFFSET:
            return self._memory.read_u64(cfa + rule.value & _MASK)
        if kind is RuleKind.CFA_OFFSET:
            return cfa + rule.value & _MASK
        if kind is RuleKind.REGISTER:
            return state[rule.value]
        if kind is RuleKind.UNDEFINED:
            return unchanged
        value = evaluate(rule.expression, state, self._read_word, (cfa,))
        return self._memory.read_u64(value) if kind is RuleKind.AT_EXPRESSION else value

    def _by_frame_pointer(self, state: list[int], stack: AddressRange) -> list[int] | None:
        stack_pointer, frame_pointer = state[_RSP], state[_RBP]
        top = stack.end if stack_pointer in stack else _MASK + 1
        link = read_link(self._memory, frame_pointer, stack_pointer, top)
        if link is None:
            return None
        caller = list(state)
        caller[_RBP], caller[_RIP] = link
        caller[_RSP] = frame_pointer + 16
        return caller

    def _read_word(self, address: int, size: int) -> int:
        if not 0 < size <= 8:
            raise PlatformError(f"a word of {size} bytes")
        return int.from_bytes(self._memory.read(address, size), "little")


def _frame(
    state: list[int],
    is_exact: bool,
    description: FrameDescription | None,
    caller: list[int] | None,
) -> Frame:
    return Frame(
        state[_RIP],
        state[_RSP],
        is_exact,
        frame_pointer=state[_RBP],
        canonical_frame_address=None if caller is None else caller[_RSP],
        function_start=None if description is None else description.start,
        language_specific_data=None if description is None else description.language_specific_data,
        registers=Registers(**dict(zip(_ORDER, state, strict=True))),
    )
