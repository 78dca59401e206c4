"""Walking a stack by the unwind tables of its code.

Where a table covers an address its rules are exact, whatever the code does with rbp, and so they
are in code that the platform placed (``placed_code.py``). Where there are none (WebAssembly's code
unless it registers its tables, stubs) the frame is taken to keep the frame pointer chain, as
``frame_pointers.py`` has it: compiled WebAssembly does.

The walk ends where the tables say that the stack ends, at the machine's own code that called the
guest, and where something makes no sense: an unreadable word, a stack pointer that does not rise, a
return address that is not executable. The last frame then says what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple
from theseus_kit.values.symbols import Frame, FrameKind
from theseus_kit_backtrace.call_frame_information import (
    CommonInformation,
    FrameDescription,
    Row,
    Rule,
    RuleKind,
)
from theseus_kit_backtrace.dwarf_expression import evaluate
from theseus_kit_backtrace.dwarf_reading import BROKEN
from theseus_kit_backtrace.frame_pointers import is_guest_code, read_link, tells_end
from theseus_kit_backtrace.unwind_tables import UnwindTables

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine

_ORDER = (
    *("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"),
)
"""Registers by DWARF number (x86-64 psABI, figure 3.36); rip stands for the return address."""

_RBP, _RSP, _RIP = 6, 7, 16
_IN_FILE_ORDER = itemgetter(*(_ORDER.index(name) for name in Registers.NAMES[:-1]))
_FILE = Struct(f"<{len(Registers.NAMES)}Q")
"""A register file as :class:`Registers` has it in memory, the flags last."""
_MASK = (1 << 64) - 1


class _Step(NamedTuple):
    """From one frame to its caller's."""

    cfa: int | None
    caller: list[int] | None
    """The caller's registers, None where the walk ends."""
    end: str | None = None
    """Why it ends, None at the end of the stack."""


class DwarfUnwinder:
    """Walks over one platform's memory and tables."""

    def __init__(
        self, tables: UnwindTables, machine: Machine, kind_at: Callable[[int], FrameKind]
    ) -> None:
        self._tables = tables
        self._machine = machine
        self._memory = machine.memory
        self._kind_at = kind_at

    def walk(
        self, registers: Registers, stack: AddressRange, is_exact: bool, max_frames: int
    ) -> Iterator[Frame]:
        """Walk at most ``max_frames`` frames, the register state's own first.

        ``is_exact``: the state's rip is an instruction's address and not a return address.
        """
        state = [getattr(registers, name) for name in _ORDER]
        for left in range(max_frames - 1, -1, -1):
            address = state[_RIP] if is_exact else state[_RIP] - 1
            found = self._tables.find(address)
            kind = self._kind_at(address)
            if found is not None:
                step = self._by_rules(state, *found)
            elif kind is FrameKind.TRANSITION:
                step = self._from_own_code(state, stack, is_exact)
            else:
                step = self._by_frame_pointer(state, stack)
            is_signal_frame = found is not None and found[0].common.is_signal_frame
            caller = step.caller
            if caller is not None:
                # Above a signal's frame the stack may be another one.
                if not is_signal_frame and caller[_RSP] <= state[_RSP]:
                    step = _Step(step.cfa, None, "the stack pointer does not rise")
                elif not left:
                    step = _Step(step.cfa, None, f"{max_frames} frames are enough")
            yield self._frame(state, is_exact, kind, found, step)
            if step.caller is None:
                return
            is_exact = is_signal_frame
            state = step.caller

    def _by_rules(self, state: list[int], frame: FrameDescription, row: Row) -> _Step:
        """The caller's registers as the row has them."""
        rules = row.rules
        return_address = rules.get(frame.common.return_address_column)
        if return_address is None or return_address.kind is RuleKind.UNDEFINED:
            return _Step(None, None)
        caller = list(state)
        cfa = None
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
        except (*BROKEN, PlatformError) as error:
            return _Step(None, None, str(error) or type(error).__name__)
        # An exact address may be the first of a page; a call ends before its return address.
        is_signal_frame = frame.common.is_signal_frame
        called = caller[_RIP] if is_signal_frame else caller[_RIP] - 1
        return self._checked(cfa, caller, called)

    def _checked(self, cfa: int, caller: list[int], called: int) -> _Step:
        """The step to a caller, if its address can be one."""
        if not caller[_RIP]:
            return _Step(cfa, None)
        if is_guest_code(self._machine, called) or self._machine.is_own_code(called):
            return _Step(cfa, caller)
        return _Step(cfa, None, f"the return address {caller[_RIP]:#x} is not executable")

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

    def _from_own_code(self, state: list[int], stack: AddressRange, is_exact: bool) -> _Step:
        """From the machine's own code, of which nothing is known: what called the guest, a stub."""
        if not is_exact:
            if is_guest_code(self._machine, state[_RIP] - 1):
                return self._by_frame_pointer(state, stack)
            return _Step(None, None)  # the host's: Python called the guest
        try:
            return_address = self._memory.read_u64(state[_RSP])
        except PlatformError as error:
            return _Step(None, None, str(error))
        caller = list(state)  # it has most likely pushed nothing
        caller[_RIP] = return_address
        caller[_RSP] = cfa = state[_RSP] + 8
        step = self._checked(cfa, caller, return_address - 1)
        return self._by_frame_pointer(state, stack) if step.end is not None else step

    def _by_frame_pointer(self, state: list[int], stack: AddressRange) -> _Step:
        stack_pointer, frame_pointer = state[_RSP], state[_RBP]
        top = stack.end if stack_pointer in stack else _MASK + 1
        link = read_link(self._machine, frame_pointer, stack_pointer, top)
        if link is None:
            return _Step(None, None, tells_end(frame_pointer))
        caller = list(state)
        caller[_RBP], caller[_RIP] = link
        caller[_RSP] = cfa = frame_pointer + 16
        return _Step(cfa, caller)

    def _read_word(self, address: int, size: int) -> int:
        if not 0 < size <= 8:
            raise PlatformError(f"a word of {size} bytes")
        return int.from_bytes(self._memory.read(address, size), "little")

    def _frame(
        self,
        state: list[int],
        is_exact: bool,
        kind: FrameKind,
        found: tuple[FrameDescription, Row] | None,
        step: _Step,
    ) -> Frame:
        start = lsda = personality = None
        arguments_size = 0
        if found is not None:
            frame, row = found
            start, lsda = frame.start, frame.language_specific_data
            personality = self._personality(frame.common)
            arguments_size = row.arguments_size
        return Frame(
            state[_RIP],
            state[_RSP],
            is_exact,
            state[_RBP],
            step.cfa,
            start,
            lsda,
            kind,
            Registers.from_buffer_copy(_FILE.pack(*_IN_FILE_ORDER(state), 0)),
            personality,
            arguments_size,
            step.end,
        )

    def _personality(self, common: CommonInformation) -> int | None:
        address = common.personality
        if address and common.personality_is_indirect:
            try:
                address = self._memory.read_u64(address)
            except PlatformError:  # a broken table
                return None
        return address or None
