"""What constant a register holds at an instruction, as far as one function's text tells.

Compilers load a system call's number shortly before the instruction, but not always right before
it: the number may come through another register, or be one of several where paths meet. So the
question is followed backwards through the function, along every path that leads to the instruction
from inside the function, until an instruction sets the register. A path whose value cannot be told
makes the whole answer unknown.

Instructions are the tuples of capstone's ``disasm_lite``: address, size, mnemonic, operands as
text. Decoding operands in full takes ten times as long, and only a few shapes matter here.
"""

from __future__ import annotations

from collections.abc import Sequence

Instruction = tuple[int, int, str, str]

_FAMILIES = {
    **dict.fromkeys(("rax", "eax", "ax", "al", "ah"), "rax"),
    **dict.fromkeys(("rbx", "ebx", "bx", "bl", "bh"), "rbx"),
    **dict.fromkeys(("rcx", "ecx", "cx", "cl", "ch"), "rcx"),
    **dict.fromkeys(("rdx", "edx", "dx", "dl", "dh"), "rdx"),
    **dict.fromkeys(("rsi", "esi", "si", "sil"), "rsi"),
    **dict.fromkeys(("rdi", "edi", "di", "dil"), "rdi"),
    **dict.fromkeys(("rbp", "ebp", "bp", "bpl"), "rbp"),
    **{f"r{n}{suffix}": f"r{n}" for n in range(8, 16) for suffix in ("", "d", "w", "b")},
}
_WHOLE = frozenset(
    {"rax", "eax", "rbx", "ebx", "rcx", "ecx", "rdx", "edx", "rsi", "esi", "rdi", "edi", "rbp"}
    | {"ebp"}
    | {f"r{n}{suffix}" for n in range(8, 16) for suffix in ("", "d")}
)
"""Names whose writing sets the whole register: 32-bit ones clear the upper half."""

_KEPT_BY_CALLS = frozenset({"rbx", "rbp", "r12", "r13", "r14", "r15"})
_SYSTEM_CALL_CHANGES = frozenset({"rax", "rcx", "r11"})
_NO_DESTINATION = frozenset({"cmp", "test", "push", "nop", "endbr64", "bt", "comiss", "ucomiss"})
_CHANGES_RAX_AND_RDX = frozenset(
    {"mul", "div", "idiv", "cdq", "cqo", "cwd", "cpuid", "rdtsc", "rdtscp", "xgetbv"}
    | {"cbw", "cwde", "cdqe", "cmpxchg", "lock cmpxchg", "cmpxchg8b", "cmpxchg16b"}
    | {"lock cmpxchg16b", "lodsb", "lodsd", "lodsq", "lahf", "rdrand", "xbegin"}
)
_ENDS_FLOW = frozenset({"jmp", "ret", "ud2", "hlt", "notrack jmp", "int3"})
_LONGEST_SEARCH = 4096
"""Instructions looked at for one answer; functions are long, answers are near."""


class RegisterValues:
    """Answers questions about the registers of one function's instructions."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self._instructions = instructions
        self._index = {address: i for i, (address, *_) in enumerate(instructions)}
        self._jumps: dict[int, list[int]] | None = None

    def before(self, address: int, register: str) -> int | None:
        """The one value a register (``rax``) can have before an instruction, None if unknown."""
        start = self._index.get(address)
        if start is None:
            return None
        values: set[int] = set()
        pending = [(source, register) for source in self._sources(start)]
        if not pending:
            return None
        seen = set(pending)
        while pending:
            index, wanted = pending.pop()
            if index < 0 or len(seen) > _LONGEST_SEARCH:
                return None
            value, follow = self._effect(index, wanted)
            if value is not None:
                values.add(value)
                if len(values) > 1:
                    return None
            elif follow is None:
                return None
            else:
                sources = self._sources(index)
                if not sources:
                    return None
                fresh = {(source, follow) for source in sources} - seen
                seen |= fresh
                pending += fresh
        return values.pop() if len(values) == 1 else None

    def _sources(self, index: int) -> list[int]:
        """The instructions that can run just before one; -1 stands for the function's caller."""
        address = self._instructions[index][0]
        sources = list(self._jump_sources().get(address, ()))
        if index == 0:
            sources.append(-1)
        elif self._falls_through(index - 1):
            sources.append(index - 1)
        return sources

    def _falls_through(self, index: int) -> bool:
        """Whether an instruction can be followed by the next one: no jump or return, and no
        padding behind one."""
        while self._instructions[index][2] == "nop":
            if index == 0 or self._instructions[index][0] in self._jump_sources():
                return True
            index -= 1
        return self._instructions[index][2] not in _ENDS_FLOW

    def _jump_sources(self) -> dict[int, list[int]]:
        if self._jumps is None:
            self._jumps = {}
            for index, (_, _, mnemonic, operands) in enumerate(self._instructions):
                if mnemonic[0] == "j" and operands.startswith("0x"):
                    self._jumps.setdefault(int(operands, 16), []).append(index)
        return self._jumps

    def _effect(self, index: int, register: str) -> tuple[int | None, str | None]:
        """What an instruction makes of a register: (value, None) if it sets it to a constant,
        (None, where to look further) if it keeps or copies it, (None, None) if unknown."""
        _, _, mnemonic, operands = self._instructions[index]
        unchanged = (None, register)
        unknown = (None, None)
        if mnemonic == "call":
            return unchanged if register in _KEPT_BY_CALLS else unknown
        if mnemonic == "syscall":
            return unknown if register in _SYSTEM_CALL_CHANGES else unchanged
        if mnemonic in _CHANGES_RAX_AND_RDX and register in ("rax", "rdx"):
            return unknown
        destination, _, source = operands.partition(", ")
        if mnemonic in ("xchg", "xadd", "lock xadd"):
            named = {_FAMILIES.get(destination), _FAMILIES.get(source)}
            return unknown if register in named else unchanged
        if mnemonic.startswith("rep") and register in ("rcx", "rsi", "rdi", "rax"):
            return unknown
        if mnemonic in _NO_DESTINATION or _FAMILIES.get(destination) != register:
            return unchanged
        if mnemonic == "imul" and not source:
            return unknown
        if destination not in _WHOLE:
            return unknown
        if mnemonic in ("mov", "movabs"):
            value = _constant(source)
            return (value, None) if value is not None else (None, _FAMILIES.get(source))
        if mnemonic in ("xor", "sub") and source == destination:
            return 0, None
        if mnemonic == "pop" and index and self._instructions[index - 1][2] == "push":
            return _constant(self._instructions[index - 1][3]), None
        return unknown


def _constant(text: str) -> int | None:
    """The number an operand spells out, None for registers and memory."""
    try:
        return int(text, 0)
    except ValueError:
        return None
