"""Calls of C functions with more than six arguments, by a piece of machine code for each.

A machine takes six arguments in registers and must place the others on the guest's stack itself,
in Python. Here all of them are written to guest memory at once, and machine code takes them there:

    block    0       8       16      24      32      40      48        8 * (count - 1)
             ├ rdi ──┼ rsi ──┼ rdx ──┼ rcx ──┼ r8 ───┼ r9 ───┼ [rsp] ─ ─ ─ ┤
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from theseus_kit.runtime.scratch import map_guarded
from theseus_kit.values.memory import PAGE_SIZE

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine

REGISTERS: Final = 6
"""Arguments in registers (System V ABI, 3.2.3)."""
LIMIT: Final = 16
"""Arguments at most: a block's offsets are single bytes here. No function of Wasmtime has more."""
BLOCK_SIZE: Final = 8 * LIMIT

_HEAD = b"\x49\x89\xfb"
_ALIGN = b"\x48\x83\xec\x08"
_LOADS = bytes.fromhex("498b7308 498b5310 498b4b18 4d8b4320 4d8b4b28 498b3b")
_CALL = Struct("<2sQ3s")
_TAIL = Struct("<3sBB")


def assembly(target: int, count: int) -> list[str]:
    """Return the instructions of :func:`machine_code`, as text."""
    extra = count - REGISTERS
    is_even = extra % 2 == 0
    return [
        "mov r11, rdi",
        # The caller's call left rsp 8 below a multiple of 16; at ours it must be one.
        *(["sub rsp, 8"] if is_even else []),
        *(
            f"push qword ptr [r11 + {8 * index:#x}]"
            for index in range(count - 1, REGISTERS - 1, -1)
        ),
        "mov rsi, qword ptr [r11 + 8]",
        "mov rdx, qword ptr [r11 + 0x10]",
        "mov rcx, qword ptr [r11 + 0x18]",
        "mov r8, qword ptr [r11 + 0x20]",
        "mov r9, qword ptr [r11 + 0x28]",
        "mov rdi, qword ptr [r11]",
        f"movabs r11, {target:#x}",
        "call r11",
        f"add rsp, {_immediate(8 * (extra + is_even))}",
        "ret",
    ]


def _immediate(value: int) -> str:
    """A number as disassemblers write it: in decimal up to 9."""
    return str(value) if value < 10 else hex(value)


def needs_block(count: int) -> bool:
    """Whether a function with so many arguments is called by a block."""
    return REGISTERS < count <= LIMIT


def machine_code(target: int, count: int) -> bytes:
    """Return code that is called with a block's address and calls ``target`` with its arguments."""
    extra = count - REGISTERS
    is_even = extra % 2 == 0
    pushes = b"".join(
        bytes((0x41, 0xFF, 0x73, 8 * index)) for index in range(count - 1, REGISTERS - 1, -1)
    )
    return b"".join(
        (
            _HEAD,
            _ALIGN if is_even else b"",
            pushes,
            _LOADS,
            _CALL.pack(b"\x49\xbb", target, b"\x41\xff\xd3"),
            _TAIL.pack(b"\x48\x83\xc4", 8 * (extra + is_even), 0xC3),
        )
    )


class StackCalls:
    """Makes what calls functions with stack arguments, for one library.

    A call takes a block and gives it back: calls inside calls, of one task or of several, never
    share one.
    """

    def __init__(self, machine: Machine, hooks: HookRelay) -> None:
        self._machine = machine
        self._hooks = hooks
        self.blocks: list[int] = []
        """The addresses of those that no call uses."""
        self._code: dict[tuple[int, int], int] = {}
        """Where the code for a function and its number of arguments was placed."""

    def new_block(self) -> int:
        """Return the address of a block where none is left. Raises OutOfMemoryError."""
        start = map_guarded(self._hooks, PAGE_SIZE, "stack arguments of calls")
        self.blocks.extend(range(start + BLOCK_SIZE, start + PAGE_SIZE, BLOCK_SIZE))
        return start

    def place(self, target: int, count: int) -> int:
        """Return the address of :func:`machine_code` for a function, placed once."""
        code = self._code.get((target, count))
        if code is None:
            code = self._machine.place_code(machine_code(target, count))
            self._code[target, count] = code
        return code

    def caller(self, target: int, count: int) -> Callable[[int, Sequence[int]], int]:
        """Return what makes calls as ``Machine.call`` does, of this function only."""
        call = self._machine.call
        if not needs_block(count):
            return call
        code = self.place(target, count)
        pack, view = Struct(f"<{count}Q").pack_into, self._machine.memory.view
        blocks, new_block = self.blocks, self.new_block

        def call_by_block(address: int, arguments: Sequence[int]) -> int:
            block = blocks.pop() if blocks else new_block()
            try:
                pack(view, block, *arguments)
                return call(code, (block,))
            finally:
                blocks.append(block)

        return call_by_block
