"""How to get from code that the platform placed to its caller, read off its instructions.

A libc's ``memcpy`` or ``syscall`` in machine code has no unwind table, keeps no frame pointer, and
may be anybody's. What it does to its stack is a handful of instructions, so they are followed from
its first byte along every path, with what is known before each of them::

    instruction         CFA         saved
    push rbx            rsp + 8
    sub rsp, 0x20       rsp + 16    rbx at CFA - 16
    call rax            rsp + 48    rbx at CFA - 16
    add rsp, 0x20       rsp + 48    rbx at CFA - 16
    pop rbx             rsp + 16    rbx at CFA - 16
    ret                 rsp + 8

Where paths meet that differ, or an instruction moves rsp in another way (``and rsp, -16``), it is
not known any more; the CFA is found by rbp then, if that was set up from rsp. Where neither is, no
row holds. A part that is called from another part of the same piece is a function of its own.

Code with a table is walked by its table: a signal's return, which restores what no rule here can.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import PlatformError
from theseus_kit.values.record import NamedTuple
from theseus_kit_backtrace.call_frame_information import (
    RETURN_ADDRESS_COLUMN,
    CommonInformation,
    FrameDescription,
    Row,
    Rule,
    RuleKind,
)

if TYPE_CHECKING:
    from theseus_kit.machine.placed_code import PlacedCode
    from theseus_kit.machine.protocol import Machine

_WORD = 8
_MASK = (1 << 64) - 1
_RBP, _RSP = 6, 7
_CALLEE_SAVED = {"rbx": 3, "rbp": _RBP, "r12": 12, "r13": 13, "r14": 14, "r15": 15}
"""By DWARF number (x86-64 psABI, figure 3.36)."""
_LONGEST_INSTRUCTION = 15
_RETURN_ADDRESS = Rule(RuleKind.AT_CFA_OFFSET, -_WORD)
_ENDS = frozenset(("hlt", "ud2", "int3"))
_COMMON = CommonInformation(1, -_WORD, RETURN_ADDRESS_COLUMN, False, 0, 0, False, b"")


class _State(NamedTuple):
    """What is known before an instruction."""

    stack: int | None = _WORD
    """The CFA less rsp."""
    frame: int | None = None
    """The CFA less rbp, once that was made from rsp."""
    saved: frozenset[tuple[int, int]] = frozenset()
    """Registers whose caller's value lies in memory, and where from the CFA."""

    def meet(self, other: _State) -> _State:
        """What is known whichever way control came."""
        return _State(
            self.stack if self.stack == other.stack else None,
            self.frame if self.frame == other.frame else None,
            self.saved & other.saved,
        )

    def saving(self, register: int, place: int) -> _State:
        """The first place counts: what is stored later may be another value."""
        if any(register == known for known, _ in self.saved):
            return self
        return self._replace(saved=self.saved | {(register, place)})


class PlacedRow(NamedTuple):
    """The rules that hold before an instruction, None where they are not known."""

    size: int
    """Bytes of the instruction."""
    row: Row | None


class PlacedFrames:
    """The rows of one machine's placed code, found for a piece when it is first asked about."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pieces: dict[PlacedCode, dict[int, PlacedRow]] = {}

    def find(self, address: int) -> tuple[FrameDescription, Row] | None:
        """The row that holds at an address; None where none is known."""
        piece = self._machine.placed_code(address)
        if piece is None:
            return None
        if piece not in self._pieces:
            start, end = piece.range
            self._pieces[piece] = rows_of(self._machine.memory.read(start, end - start))
        offset = address - piece.range.start
        row = _row_at(self._pieces[piece], offset)
        if row is None:
            return None
        return FrameDescription(*piece.range, None, _COMMON, b""), row

    def caller(
        self, address: int, stack_pointer: int, frame_pointer: int
    ) -> tuple[int, int, int] | None:
        """The caller's frame pointer, the return address and the CFA of the code at an address,
        from its own rsp and rbp; None where they cannot be told."""
        found = self.find(address)
        if found is None:
            return None
        row = found[1]
        base = stack_pointer if row.cfa_register == _RSP else frame_pointer
        frame_address = base + row.cfa_offset & _MASK
        saved = row.rules.get(_RBP)
        read = self._machine.memory.read_u64
        try:
            if saved is not None:
                frame_pointer = read(frame_address + saved.value & _MASK)
            return frame_pointer, read(frame_address - _WORD & _MASK), frame_address
        except PlatformError:
            return None


def _row_at(rows: dict[int, PlacedRow], offset: int) -> Row | None:
    # A return address is looked up by the last byte of its call.
    for start in range(offset, offset - _LONGEST_INSTRUCTION, -1):
        found = rows.get(start)
        if found is not None and offset < start + found.size:
            return found.row
    return None


def _row(state: _State) -> Row | None:
    rules = {number: Rule(RuleKind.AT_CFA_OFFSET, place) for number, place in state.saved}
    rules[RETURN_ADDRESS_COLUMN] = _RETURN_ADDRESS
    if state.stack is not None:
        return Row(_RSP, state.stack, b"", rules)
    if state.frame is not None:
        return Row(_RBP, state.frame, b"", rules)
    return None


def rows_of(code: bytes) -> dict[int, PlacedRow]:
    """The row before each instruction that can be reached from the start of a piece."""
    import capstone  # 80 ms, for the first trace through placed code

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    found: dict[int, tuple[int, _State]] = {}
    ways = [(0, _State())]
    while ways:
        offset, state = ways.pop()
        if offset in found:
            known = found[offset][1]
            state = known.meet(state)
            if state == known:
                continue
        if not 0 <= offset < len(code):
            continue
        text = code[offset : offset + _LONGEST_INSTRUCTION]
        instruction = next(decoder.disasm(text, offset, 1), None)
        if instruction is None:
            continue
        found[offset] = instruction.size, state
        ways += _next(_Decoded(instruction), state)
    return {offset: PlacedRow(size, _row(state)) for offset, (size, state) in found.items()}


def _next(instruction: _Decoded, state: _State) -> Iterator[tuple[int, _State]]:
    """Where control goes from an instruction, and what is known there."""
    target = instruction.target
    if instruction.is_call:
        if target is not None:
            yield target, _State()
    elif instruction.is_jump and target is not None:
        yield target, state
    if not instruction.ends:
        yield instruction.end, state if instruction.is_call else _after(instruction, state)


class _Decoded:
    """The few things asked about an instruction of capstone's."""

    def __init__(self, instruction: Any) -> None:
        from capstone import x86

        self._x86 = x86
        self._instruction = instruction
        self.mnemonic: str = instruction.mnemonic
        self.operands = instruction.operands
        self.end: int = instruction.address + instruction.size
        self.is_call: bool = instruction.group(x86.X86_GRP_CALL)
        self.is_jump: bool = instruction.group(x86.X86_GRP_JUMP)
        is_return = instruction.group(x86.X86_GRP_RET) or instruction.group(x86.X86_GRP_IRET)
        self.ends = is_return or self.mnemonic == "jmp" or self.mnemonic in _ENDS

    @property
    def target(self) -> int | None:
        """Where a relative call or jump leads, from the piece's start."""
        if self.operands and self.operands[0].type == self._x86.X86_OP_IMM:
            target: int = self.operands[0].imm
            return target
        return None

    def register(self, index: int) -> str:
        """The name of a register operand, empty for other operands."""
        if index >= len(self.operands) or self.operands[index].type != self._x86.X86_OP_REG:
            return ""
        name: str = self._instruction.reg_name(self.operands[index].reg)
        return name

    def immediate(self, index: int) -> int | None:
        operand = self.operands[index]
        if operand.type != self._x86.X86_OP_IMM:
            return None
        value: int = operand.imm
        return value

    def displacement(self, index: int, base: str) -> int | None:
        """The x of an operand ``[base + x]``."""
        if index >= len(self.operands) or self.operands[index].type != self._x86.X86_OP_MEM:
            return None
        memory = self.operands[index].mem
        if memory.index or memory.segment or self._instruction.reg_name(memory.base) != base:
            return None
        value: int = memory.disp
        return value

    @property
    def is_word(self) -> bool:
        """It works on 64 bits, where an operand says so."""
        return not self.operands or self.operands[0].size == _WORD

    def writes(self, register: str) -> bool:
        names = (
            self._instruction.reg_name(number) for number in self._instruction.regs_access()[1]
        )
        # Writing half of one is writing it.
        return any(name in (register, register.replace("r", "e"), register[1:]) for name in names)


def _after(instruction: _Decoded, state: _State) -> _State:
    """What is known after an instruction that goes on at the next one."""
    depth = _depth_after(instruction, state)
    frame = state.frame
    if instruction.writes("rbp") or instruction.mnemonic == "enter":
        frame = _made_from_stack(instruction, state)
    # What is popped has been given back: below rsp anything may be written.
    kept = frozenset(at for at in state.saved if depth is None or at[1] >= -depth)
    after = _State(depth, frame, kept)
    if instruction.mnemonic in ("push", "mov") and instruction.is_word:
        return _saving(instruction, state.stack, after)
    return after


def _depth_after(instruction: _Decoded, state: _State) -> int | None:
    """The CFA less rsp after an instruction."""
    mnemonic, depth = instruction.mnemonic, state.stack
    if mnemonic == "leave":
        return None if state.frame is None else state.frame - _WORD
    if mnemonic == "enter":
        return None
    if not instruction.writes("rsp"):
        return depth
    if not instruction.is_word:
        return None
    if mnemonic == "mov" and instruction.register(1) == "rbp":
        return state.frame
    if mnemonic == "lea" and state.frame is not None:
        by_frame = instruction.displacement(1, "rbp")
        if by_frame is not None:
            return state.frame - by_frame
    if depth is None:
        return None
    if mnemonic in ("push", "pushfq"):
        return depth + _WORD
    if mnemonic in ("pop", "popfq") and instruction.register(0) != "rsp":
        return depth - _WORD
    if mnemonic in ("add", "sub"):
        value = instruction.immediate(1)
        if value is not None:
            return depth + value if mnemonic == "sub" else depth - value
    if mnemonic == "lea":
        by_stack = instruction.displacement(1, "rsp")
        if by_stack is not None:
            return depth - by_stack
    return None


def _made_from_stack(instruction: _Decoded, state: _State) -> int | None:
    """The CFA less rbp after an instruction that sets rbp."""
    if state.stack is None or instruction.register(0) != "rbp":
        return None
    if instruction.mnemonic == "mov" and instruction.register(1) == "rsp":
        return state.stack
    if instruction.mnemonic == "lea":
        offset = instruction.displacement(1, "rsp")
        return None if offset is None else state.stack - offset
    return None


def _saving(instruction: _Decoded, depth: int | None, after: _State) -> _State:
    """The state, with the register that an instruction stores in the frame."""
    if depth is None:
        return after
    if instruction.mnemonic == "push":
        register, place = instruction.register(0), -depth - _WORD
    else:
        offset = instruction.displacement(0, "rsp")
        if offset is None:
            return after
        register, place = instruction.register(1), offset - depth
    number = _CALLEE_SAVED.get(register)
    return after if number is None else after.saving(number, place)
