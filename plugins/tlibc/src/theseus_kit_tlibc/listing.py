"""Machine code written down as an assembler lists it: bytes on the left, source on the right.

::

    4885ff            test rdi, rdi        ; a comment
    7401              je 0x6

A test disassembles the left column and compares it with the right one, so neither can drift.
``0xcccccccccccccccc`` stands for an address that is patched in when the code is placed.
"""

from __future__ import annotations

HOLE = b"\xcc" * 8
"""Eight bytes where an address goes."""


class Listing:
    """One routine: its bytes, and its source for people."""

    def __init__(self, text: str) -> None:
        self.lines: list[tuple[bytes, str]] = []
        for line in text.splitlines():
            source = line.partition(";")[0].strip()
            if source:
                code, _, instruction = source.partition(" ")
                self.lines.append((bytes.fromhex(code), instruction.strip()))

    @property
    def code(self) -> bytes:
        return b"".join(code for code, _ in self.lines)

    @property
    def assembly(self) -> str:
        return "\n".join(instruction for _, instruction in self.lines)

    def with_address(self, address: int) -> bytes:
        """The code with an address in its holes."""
        return self.code.replace(HOLE, address.to_bytes(8, "little"))
