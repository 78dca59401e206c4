"""Finds every inline ``syscall`` instruction of an image file, and the number it is made with.

Only disassembly tells an instruction from two bytes of another one that happen to be ``0f 05``:
libwasmtime 50 has 313 such pairs and 241 instructions. Each pair's function is found, and only
those functions are disassembled, linearly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from theseus_kit.image.elf import ElfFile, Segment
from theseus_kit.image.functions import FunctionRange, Functions
from theseus_kit.image.register_values import RegisterValues
from theseus_kit.values.memory import Protection
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from capstone import Cs

_SHF_EXECINSTR = 4
_SYSCALL = re.compile(b"\x0f\x05")


class SystemCallSite(NamedTuple):
    """One ``syscall`` instruction."""

    file_offset: int
    address: int
    """Its virtual address, the image's own."""
    number: int | None
    """The system call's number, None where it is no constant (or one of several)."""
    function: str | None
    """The mangled name of the function that holds it, None where no symbol table tells."""


def find_system_call_sites(elf: ElfFile) -> list[SystemCallSite]:
    """List the ``syscall`` instructions of an image file, by address.

    Raises ImageError where the tables that bound its functions are damaged.
    """
    candidates = [
        (segment, segment.offset + match.start())
        for segment in elf.loads
        if segment.protection & Protection.EXECUTE
        for match in _SYSCALL.finditer(_code(elf, segment))
    ]
    if not candidates:
        return []
    functions = Functions(elf)
    ranges: dict[FunctionRange, Segment] = {}
    for segment, offset in candidates:
        address = offset - segment.offset + segment.address
        code = _surrounding_code(elf, functions, segment, address)
        if code is not None:
            ranges[code] = segment
    sites = {
        site.address: site
        for code, segment in ranges.items()
        for site in _sites_in(elf, functions, segment, code)
    }
    return [sites[address] for address in sorted(sites)]


def _code(elf: ElfFile, segment: Segment) -> memoryview:
    return memoryview(elf.contents)[segment.offset : segment.offset + segment.file_size]


def _surrounding_code(
    elf: ElfFile, functions: Functions, segment: Segment, address: int
) -> FunctionRange | None:
    """The function around an address, or the code between two functions; None if it is data.

    An executable segment may hold data: then the sections tell, and without sections the frame
    index, which leaves out hand-written functions without frame information.
    """
    whole = FunctionRange(segment.address, segment.address + segment.file_size)
    found = functions.containing(address)
    if found is not None:
        return found if whole.start <= found.start and found.end <= whole.end else None
    sections = elf.sections()
    if not sections:
        return None if functions.has_frame_index else whole
    for section in sections:
        if section.address <= address < section.address + section.size:
            if not section.flags & _SHF_EXECINSTR:
                return None
            inside = FunctionRange(section.address, section.address + section.size)
            return functions.uncovered(address, _within(inside, whole))
    return None


def _within(inner: FunctionRange, outer: FunctionRange) -> FunctionRange:
    return FunctionRange(max(inner.start, outer.start), min(inner.end, outer.end))


def _sites_in(
    elf: ElfFile, functions: Functions, segment: Segment, code: FunctionRange
) -> Iterator[SystemCallSite]:
    start = code.start - segment.address
    data = bytes(_code(elf, segment)[start : code.end - segment.address])
    instructions = list(_disassembler().disasm_lite(data, code.start))
    values = RegisterValues(instructions)
    for address, _, mnemonic, _ in instructions:
        if mnemonic == "syscall":
            yield SystemCallSite(
                address - segment.address + segment.offset,
                address,
                values.before(address, "rax"),
                functions.name(address),
            )


def _disassembler() -> Cs:
    # Imported here: capstone takes longer to import than a boot may.
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    disassembler.skipdata = True
    return disassembler
