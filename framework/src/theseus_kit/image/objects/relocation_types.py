"""The relocation types of relocatable objects: their numbers, names, sizes and what they need.

Source: System V ABI, AMD64 supplement, table 4.9 and section 4.4.1; "ELF Handling For Thread-Local
Storage"; the large code models' types, section 3.5.
"""

from __future__ import annotations

from enum import Enum, auto

R_NONE, R_64, R_PC32, R_GOT32, R_PLT32 = 0, 1, 2, 3, 4
R_GLOB_DAT, R_RELATIVE, R_GOTPCREL, R_32, R_32S = 6, 8, 9, 10, 11
R_DTPMOD64, R_DTPOFF64, R_TPOFF64 = 16, 17, 18
R_TLSGD, R_TLSLD, R_DTPOFF32, R_GOTTPOFF, R_TPOFF32 = 19, 20, 21, 22, 23
R_PC64, R_GOTOFF64, R_GOTPC32, R_GOT64, R_GOTPCREL64 = 24, 25, 26, 27, 28
R_GOTPC64, R_PLTOFF64, R_SIZE32, R_SIZE64 = 29, 31, 32, 33
R_GOTPC32_TLSDESC, R_TLSDESC_CALL, R_TLSDESC, R_IRELATIVE = 34, 35, 36, 37
R_GOTPCRELX, R_REX_GOTPCRELX = 41, 42

_FIRST_NAMES = """
    NONE 64 PC32 GOT32 PLT32 COPY GLOB_DAT JUMP_SLOT RELATIVE GOTPCREL 32 32S 16 PC16 8 PC8
    DTPMOD64 DTPOFF64 TPOFF64 TLSGD TLSLD DTPOFF32 GOTTPOFF TPOFF32 PC64 GOTOFF64 GOTPC32 GOT64
    GOTPCREL64 GOTPC64 GOTPLT64 PLTOFF64 SIZE32 SIZE64 GOTPC32_TLSDESC TLSDESC_CALL TLSDESC
    IRELATIVE RELATIVE64
"""
_NAMES = {
    **dict(enumerate(_FIRST_NAMES.split())),
    R_GOTPCRELX: "GOTPCRELX",
    R_REX_GOTPCRELX: "REX_GOTPCRELX",
    43: "CODE_4_GOTPCRELX",
    44: "CODE_4_GOTTPOFF",
}


def type_name(kind: int) -> str:
    """A type's name in the psABI: type_name(4) returns "R_X86_64_PLT32"."""
    name = _NAMES.get(kind)
    return f"relocation type {kind}" if name is None else f"R_X86_64_{name}"


class Slot(Enum):
    """What a place in the GOT holds for the loader to fill."""

    ADDRESS = auto()
    """A symbol's address."""
    MODULE_AND_OFFSET = auto()
    """A thread-local variable's module and offset: what __tls_get_addr takes. Two words."""
    OWN_MODULE = auto()
    """The image's own module, and 0. Two words."""
    OFFSET_FROM_THREAD_POINTER = auto()
    DESCRIPTOR = auto()
    """A thread-local variable's descriptor. Two words."""


SLOTS = {
    R_GOT32: Slot.ADDRESS,
    R_GOT64: Slot.ADDRESS,
    R_GOTPCREL: Slot.ADDRESS,
    R_GOTPCREL64: Slot.ADDRESS,
    R_GOTPCRELX: Slot.ADDRESS,
    R_REX_GOTPCRELX: Slot.ADDRESS,
    R_TLSGD: Slot.MODULE_AND_OFFSET,
    R_TLSLD: Slot.OWN_MODULE,
    R_GOTTPOFF: Slot.OFFSET_FROM_THREAD_POINTER,
    R_GOTPC32_TLSDESC: Slot.DESCRIPTOR,
}
"""By type, what it wants in the GOT."""

FROM_GOT = frozenset({R_GOT32, R_GOT64})
"""Types that count from the GOT's start; the other types with a slot count from their place."""
GOT_ITSELF = frozenset({R_GOTPC32, R_GOTPC64})
THREAD_LOCAL = frozenset(
    {R_TLSGD, R_TLSLD, R_DTPOFF32, R_DTPOFF64, R_GOTTPOFF, R_TPOFF32, R_TPOFF64}
    | {R_GOTPC32_TLSDESC, R_TLSDESC_CALL}
)
STATIC_TLS = frozenset({R_GOTTPOFF, R_TPOFF32, R_TPOFF64})

WORDS = frozenset(
    {R_64, R_DTPOFF64, R_TPOFF64, R_PC64, R_GOTOFF64, R_GOT64, R_GOTPCREL64, R_GOTPC64}
    | {R_PLTOFF64, R_SIZE64}
)
"""Types that write 8 bytes."""
UNSIGNED = frozenset({R_32, R_SIZE32})
"""Types whose 4 bytes are zero-extended; all others are sign-extended."""

_NOTHING = frozenset({R_NONE, R_TLSDESC_CALL})
_HALF_WORDS = frozenset(
    {R_PC32, R_GOT32, R_PLT32, R_GOTPCREL, R_32, R_32S, R_TLSGD, R_TLSLD, R_DTPOFF32, R_GOTTPOFF}
    | {R_TPOFF32, R_GOTPC32, R_SIZE32, R_GOTPC32_TLSDESC, R_GOTPCRELX, R_REX_GOTPCRELX}
)


def size_of(kind: int) -> int | None:
    """How many bytes a type writes; None for a type that no object should have."""
    if kind in WORDS:
        return 8
    if kind in _HALF_WORDS:
        return 4
    return 0 if kind in _NOTHING else None
