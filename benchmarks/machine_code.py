"""The machine code that benchmarks run in the guest, each instruction beside its assembly."""

from __future__ import annotations

from collections.abc import Sequence

Listing = Sequence[tuple[str, str]]
"""Assembly and bytes of each instruction; jump targets are offsets in the listing."""

CALL_LOOP: Listing = (
    # void loop(unsigned long times, void (*function)(int, int, int))
    ("push rbx", "53"),
    ("push r12", "41 54"),
    ("push rax", "50"),  # the stack must be aligned to 16 bytes at a call
    ("mov rbx, rdi", "48 89 fb"),
    ("mov r12, rsi", "49 89 f4"),
    ("mov edi, 1", "bf 01 00 00 00"),
    ("mov esi, 2", "be 02 00 00 00"),
    ("mov edx, 3", "ba 03 00 00 00"),
    ("call r12", "41 ff d4"),
    ("dec rbx", "48 ff cb"),
    ("jne 0xa", "75 e9"),
    ("pop rax", "58"),
    ("pop r12", "41 5c"),
    ("pop rbx", "5b"),
    ("ret", "c3"),
)

OUT_LOOP: Listing = (
    # edi: how often
    ("out dx, al", "ee"),
    ("dec edi", "ff cf"),
    ("jne 0", "75 fb"),
    ("hlt", "f4"),
)

HALT: Listing = (("hlt", "f4"),)


def code_of(listing: Listing) -> bytes:
    """The bytes of a listing."""
    return b"".join(bytes.fromhex(encoded) for _, encoded in listing)
