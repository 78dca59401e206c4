"""Machine code written down as an assembler lists it: bytes on the left, source on the right.

::

    4885ff            test rdi, rdi        ; a comment
    7401              je 0x6

A test disassembles the left column and compares it with the right one, so neither can drift.
``0xcccccccccccccccc`` stands for an address that is patched in when the code is placed.
"""

from __future__ import annotations

from functools import cached_property

HOLE = b"\xcc" * 8
"""Eight bytes where an address goes."""


class Listing:
    """One routine: its bytes, and its source for people."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def lines(self) -> list[tuple[bytes, str]]:
        """(bytes, instruction) in order; read off the text when first asked for."""
        sources = (line.partition(";")[0].strip() for line in self.text.splitlines())
        split = (source.partition(" ") for source in sources if source)
        return [(bytes.fromhex(code), instruction.strip()) for code, _, instruction in split]

    @property
    def code(self) -> bytes:
        return b"".join(code for code, _ in self.lines)

    def with_address(self, address: int) -> bytes:
        """The code with an address in its holes."""
        return self.code.replace(HOLE, address.to_bytes(8, "little"))

    def with_addresses(self, *addresses: int) -> bytes:
        """The code with an address of its own in each of its holes, in order."""
        code = self.code
        for address in addresses:
            code = code.replace(HOLE, address.to_bytes(8, "little"), 1)
        return code
