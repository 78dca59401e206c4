"""What crosses the symbolication and unwinding hooks: symbols and frames."""

from __future__ import annotations

from enum import Enum

from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple


class Symbol(NamedTuple):
    """A name for an address. Everything but the two addresses is None where it is not known.

    One address may have several symbols, innermost first, where functions were inlined.
    """

    address: int
    """First address of what the symbol names."""
    offset: int
    """Bytes from ``address`` to the address that was asked about."""
    size: int | None = None
    name: str | None = None
    """As the symbol table spells it, mangled."""
    demangled: str | None = None
    image: str | None = None
    section: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def display_name(self) -> str:
        return self.demangled or self.name or f"{self.address:#x}"


class RuntimeCode(NamedTuple):
    """Code that appeared at run time (a JIT's), with what names it."""

    text: AddressRange
    label: str
    symbols: tuple[Symbol, ...] = ()
    elf: bytes | None = None
    """The code's own ELF file where the JIT offers one, for symbols, lines and unwind tables."""

    def __repr__(self) -> str:
        return f"<RuntimeCode {self.label!r} at {self.text.start:#x}-{self.text.end:#x}>"


class FrameKind(Enum):
    """What code a frame belongs to."""

    GUEST = "guest"
    """An image's, or code that a JIT made which is not WebAssembly's."""
    WASM = "wasm"
    """WebAssembly's, compiled by the runtime."""
    HOST = "host"
    """A Python function that guest code called."""
    PLATFORM = "platform"
    """Machine code of the platform's that guest code calls as a function: a libc's ``memcpy``."""
    TRANSITION = "transition"
    """The kit's own machine code, between guest code and Python."""


class Frame(NamedTuple):
    """One frame of a stack, innermost first. Addresses only: symbolication is another step."""

    instruction_pointer: int
    stack_pointer: int
    is_exact: bool
    """``instruction_pointer`` is the very instruction (a fault, the innermost frame), and not the
    return address after a call."""
    frame_pointer: int | None = None
    canonical_frame_address: int | None = None
    """The CFA: the caller's stack pointer after the return. None where the walker cannot tell."""
    function_start: int | None = None
    language_specific_data: int | None = None
    """Address of the LSDA, None if the frame has no cleanup."""
    kind: FrameKind = FrameKind.GUEST
    registers: Registers | None = None
    """As they stood in this frame, as far as its callees saved them."""
    personality: int | None = None
    """Address of the personality routine, None if the code has none or the walker cannot tell."""
    arguments_size: int = 0
    """Bytes of arguments pushed for the call in progress, which a landing pad has to drop."""
    end_reason: str | None = None
    """Of a walk's last frame: why it goes no further; None at the end of the stack."""

    @property
    def lookup_address(self) -> int:
        """The address to look up tables and names by: inside the call for a return address."""
        return self.instruction_pointer if self.is_exact else self.instruction_pointer - 1

    def __repr__(self) -> str:
        mark = "" if self.is_exact else " (return)"
        return f"<Frame {self.instruction_pointer:#x}{mark} sp={self.stack_pointer:#x}>"


class BacktraceEntry(NamedTuple):
    """A frame with the symbols found for it, innermost inlined function first."""

    frame: Frame
    symbols: tuple[Symbol, ...]
