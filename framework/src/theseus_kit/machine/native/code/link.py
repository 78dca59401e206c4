"""Turns listings into machine code at an address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from theseus_kit.values.record import NamedTuple

_REFERENCE = re.compile(r"\[rip \+ (\w+)\]|^(?:j\w+|call) (\w+)$")


class Linked(NamedTuple):
    """Machine code, and the address of each of its labels."""

    code: bytes
    labels: Mapping[str, int]


class Instruction(NamedTuple):
    """One line of a listing. ``reference`` is the name whose distance stands at ``position``."""

    code: bytes
    assembly: str
    reference: str | None
    position: int


def read_listing(listing: str) -> Iterator[str | Instruction]:
    """Yield the labels and the instructions of a listing, in order."""
    for line in listing.splitlines():
        text = line.partition(";")[0].strip()
        if text.endswith(":"):
            yield text[:-1]
        elif text:
            encoded, _, assembly = text.partition("|")
            yield _instruction(encoded, assembly.strip())


def _instruction(encoded: str, assembly: str) -> Instruction:
    before, placeholder, after = encoded.partition("@")
    head = bytes.fromhex(before)
    if not placeholder:
        return Instruction(head, assembly, None, 0)
    match = _REFERENCE.search(assembly)
    assert match is not None, assembly
    return Instruction(
        head + bytes(4) + bytes.fromhex(after), assembly, match[1] or match[2], len(head)
    )


def link(listings: tuple[str, ...], address: int, data: Mapping[str, int]) -> Linked:
    """Join listings to code that starts at ``address`` and uses ``data``, addresses by name."""
    code = bytearray()
    labels: dict[str, int] = {}
    references: list[tuple[int, int, str]] = []
    for listing in listings:
        for line in listing.splitlines():
            encoded, is_instruction, _ = line.partition("|")
            if is_instruction and "@" not in encoded and ";" not in encoded:
                code += bytes.fromhex(encoded)  # as nearly all are; every start reads them all
                continue
            for item in read_listing(line):
                if isinstance(item, str):
                    labels[item] = address + len(code)
                    continue
                start = len(code)
                code += item.code
                if item.reference is not None:
                    references.append((start + item.position, len(code), item.reference))
    for position, end, name in references:
        target = labels[name] if name in labels else data[name]
        distance = target - (address + end)
        code[position : position + 4] = distance.to_bytes(4, "little", signed=True)
    return Linked(bytes(code), labels)
