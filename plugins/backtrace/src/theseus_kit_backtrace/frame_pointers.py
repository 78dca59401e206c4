"""Walking a stack by its chain of frame pointers.

    high  │ …                    │
          ├──────────────────────┤ ◄── stack pointer of the caller's frame, CFA of this one
          │ return address       │
          │ caller's rbp         │ ◄── rbp of this frame
          │ locals               │
    low   └──────────────────────┘ ◄── rsp

It needs no tables and no memory, and is as right as the code is kept to the chain: code that
WebAssembly was compiled to always is, C compiled with -fno-omit-frame-pointer is, most of
optimised Rust and C is not; code that the platform placed, which never is, has rules of its own
(``placed_code.py``). A function that does not set up rbp is missing from the trace, its
caller's link being taken for its own; one that uses rbp for something else ends it. What the
caller may rely on: a walk ends, reads nothing that the guest could not, and never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, TypeAlias

from theseus_kit.errors import PlatformError
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange, Protection
from theseus_kit.values.symbols import Frame, FrameKind

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine

_LINK = Struct("<QQ")
"""What lies at a frame pointer: the caller's frame pointer and the return address."""

_POINTER_ALIGNMENT = 8

_OWN = (FrameKind.PLATFORM, FrameKind.TRANSITION)

CallerOfPlaced: TypeAlias = Callable[[int, int, int], "tuple[int, int, int] | None"]
"""From address, rsp and rbp to the caller's rbp, the return address and the CFA."""


def walk(
    machine: Machine,
    registers: Registers,
    stack: AddressRange,
    is_exact: bool,
    max_frames: int,
    kind_at: Callable[[int], FrameKind] = lambda address: FrameKind.GUEST,
    caller_of_placed: CallerOfPlaced | None = None,
) -> Iterator[Frame]:
    """Walk at most ``max_frames`` frames, the register state's own first.

    ``is_exact``: the state's rip is an instruction's address and not a return address.
    ``caller_of_placed`` tells how to get through code that the platform placed, which sets up no
    frame pointer.

    The walk ends at a frame pointer that is zero, misaligned, not above the one before, outside
    the stack or unreadable, and at a return address that is not executable. A register state on
    another stack (an alternate signal stack) is followed as far as its memory can be read.
    """
    instruction, stack_pointer, frame_pointer = registers.rip, registers.rsp, registers.rbp
    top = stack.end if stack_pointer in stack else 1 << 64
    below = stack_pointer
    for left in range(max_frames - 1, -1, -1):
        address = instruction if is_exact else instruction - 1
        kind = kind_at(address)
        end = caller = None
        if kind in _OWN and caller_of_placed is not None:
            caller = caller_of_placed(address, stack_pointer, frame_pointer)
            if caller is not None and not _makes_sense(machine, caller, stack_pointer, top):
                caller = None
        if caller is None and (kind is not FrameKind.TRANSITION or is_guest_code(machine, address)):
            link = read_link(machine, frame_pointer, below, top)
            if link is None:
                end = tells_end(frame_pointer)
            else:
                caller = (*link, frame_pointer + _LINK.size)
        if caller is not None and not left:
            end = f"{max_frames} frames are enough"
        yield Frame(
            instruction,
            stack_pointer,
            is_exact,
            frame_pointer=frame_pointer,
            canonical_frame_address=None if caller is None else caller[2],
            kind=kind,
            end_reason=end,
        )
        if caller is None:
            return
        frame_pointer, instruction, stack_pointer = caller
        below = stack_pointer  # the next link lies above this one
        is_exact = False


def tells_end(frame_pointer: int) -> str | None:
    """Why a chain of frame pointers ends; None where it says so itself, by a zero."""
    return f"the frame pointer {frame_pointer:#x} leads nowhere" if frame_pointer else None


def read_link(machine: Machine, frame_pointer: int, below: int, top: int) -> tuple[int, int] | None:
    """The caller's frame pointer and the return address, None where the chain ends."""
    if frame_pointer % _POINTER_ALIGNMENT or not below <= frame_pointer <= top - _LINK.size:
        return None
    try:
        caller, return_address = _LINK.unpack(machine.memory.read(frame_pointer, _LINK.size))
    except PlatformError:
        return None
    return (caller, return_address) if _is_return_address(machine, return_address) else None


def _is_return_address(machine: Machine, address: int) -> bool:
    # The call instruction ends right before the return address.
    called = address - 1
    return bool(address) and (is_guest_code(machine, called) or machine.is_own_code(called))


def _makes_sense(
    machine: Machine, caller: tuple[int, int, int], stack_pointer: int, top: int
) -> bool:
    _, return_address, frame_address = caller
    return stack_pointer < frame_address <= top and _is_return_address(machine, return_address)


def is_guest_code(machine: Machine, address: int) -> bool:
    """Whether the guest could run what is at an address."""
    try:
        machine.memory.check(address, 1, Protection.EXECUTE)
    except PlatformError:
        return False
    return True
