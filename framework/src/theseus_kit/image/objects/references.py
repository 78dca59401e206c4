"""Applies the relocations of objects: writes what is known, leaves the rest to the loader.

Distances inside the image are known before it is loaded. Its own addresses, other images' symbols
and thread-local storage are not: those become dynamic relocations, or go through the GOT and PLT.

Letters as in the psABI: A the addend, S the symbol's address, P the place, G the slot in the GOT,
L the stub in the PLT. Source: System V ABI, AMD64 supplement, table 4.9.
"""

from __future__ import annotations

from theseus_kit.image.objects.object_file import InputSection, ObjectFile, ObjectRelocation
from theseus_kit.image.objects.relocation_types import (
    FROM_GOT,
    GOT_ITSELF,
    R_32,
    R_32S,
    R_64,
    R_DTPOFF32,
    R_DTPOFF64,
    R_GOTOFF64,
    R_IRELATIVE,
    R_PC32,
    R_PC64,
    R_PLT32,
    R_PLTOFF64,
    R_RELATIVE,
    R_SIZE32,
    R_SIZE64,
    R_TLSDESC_CALL,
    R_TLSLD,
    SLOTS,
    THREAD_LOCAL,
    UNSIGNED,
    WORDS,
    size_of,
)
from theseus_kit.image.objects.resolution import Resolution, Target
from theseus_kit.image.objects.slots import Slots
from theseus_kit.image.objects.tables import OWN_START, DynamicTables
from theseus_kit.image.symbols import STT_FUNC, STT_NOTYPE, STT_TLS

_SIZES = frozenset({R_SIZE32, R_SIZE64})
_OFFSETS = frozenset({R_DTPOFF32, R_DTPOFF64})
_MAY_LOSE = (".eh_frame", ".gcc_except_table", ".debug")
"""Sections that describe others, and may go on describing what was left out."""
_NEAR_JUMPS = frozenset(range(0x80, 0x90))


class References:
    """The relocations of one image being linked."""

    def __init__(self, resolution: Resolution, slots: Slots, tables: DynamicTables) -> None:
        self._resolution = resolution
        self._slots = slots
        self._tables = tables
        self._unloaded_values: dict[ObjectFile, list[int | None]] = {}

    def ask(self, section: InputSection) -> None:
        """Check a loaded section's relocations, and ask for the slots and stubs they need."""
        contents = section.contents() if section.relocations else b""
        for relocation in section.relocations:
            target = self._resolution.of(section, relocation.symbol)
            size = size_of(relocation.type)
            if size is None:
                section.fail("no object has such relocations", relocation)
            if relocation.offset + size > len(contents):
                section.fail("lies outside the section", relocation)
            if size == 0 or self._is_lost(section, target, relocation):
                continue
            if target.is_in_file and not target.is_fixed:
                section.fail("lies in a section that is not loaded", relocation)
            self._check_thread_local(section, target, relocation)
            slot = SLOTS.get(relocation.type)
            if slot is not None:
                self._slots.ask(slot, target)
            elif self._wants_stub(contents, relocation, target):
                self._slots.ask_stub(target)
                if not target.is_defined and target.type == STT_NOTYPE:
                    target.type = STT_FUNC

    def apply(self, section: InputSection, thread_local_start: int) -> bytearray:
        """A loaded section's contents, relocated."""
        contents = section.contents()
        data = bytearray(contents)
        for relocation in section.relocations:
            target = self._resolution.of(section, relocation.symbol)
            if not size_of(relocation.type) or self._is_lost(section, target, relocation):
                continue
            value = self._value(section, contents, relocation, target, thread_local_start)
            if value is not None:
                _store(section, data, relocation, value)
        return data

    def apply_unloaded(self, section: InputSection, thread_local_start: int) -> bytearray:
        """The contents of a section that is not loaded (debug information), relocated.

        Its places hold the image's own addresses and offsets in other such sections; what was left
        out, or is another image's, is at 0.
        """
        data = bytearray(section.contents())
        # Debug information has most of an object's relocations: the loop asks for little.
        values = self._values(section.file)
        for offset, kind, symbol, addend in section.relocations:
            size = size_of(kind)
            if not size or offset + size > len(data):
                continue
            value = values[symbol]
            if value is None:
                value = 0
            elif kind in _OFFSETS:
                value += addend - thread_local_start
            else:
                value += addend
            data[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        return data

    def _values(self, file: ObjectFile) -> list[int | None]:
        """What the symbols of a file stand for in debug information, by number."""
        values = self._unloaded_values.get(file)
        if values is None:
            values = self._unloaded_values[file] = [
                target.address if target.is_in_file or target.is_absolute else None
                for target in self._resolution.symbols[file]
            ]
        return values

    def _value(
        self,
        section: InputSection,
        contents: bytes,
        relocation: ObjectRelocation,
        target: Target,
        thread_local_start: int,
    ) -> int | None:
        """What to write; None where it is left to the loader."""
        kind, addend = relocation.type, relocation.addend
        place = section.address + relocation.offset
        slot = SLOTS.get(kind)
        if slot is not None:
            origin = self._slots.got.address if kind in FROM_GOT else place
            return self._slots.address(slot, target) + addend - origin
        if kind in GOT_ITSELF:
            return self._slots.got.address + addend - place
        if kind in THREAD_LOCAL:
            return self._thread_local(section, relocation, target, thread_local_start)
        if kind in _SIZES and target.is_defined:
            return target.size + addend
        if self._wants_stub(contents, relocation, target):
            origin = self._slots.got.address if kind == R_PLTOFF64 else place
            return self._slots.stub_address(target) + addend - origin
        if kind in (R_GOTOFF64, R_PLTOFF64):
            if not target.is_fixed:
                section.fail("is defined by another image; compile with -fPIC", relocation)
            return target.address + addend - self._slots.got.address
        if kind in (R_PC32, R_PC64, R_PLT32) and target.is_fixed:
            return target.address + addend - place
        if kind in (R_64, R_32, R_32S) and target.is_absolute:
            return target.value + addend
        self._leave(section, relocation, target)
        return None

    def _leave(self, section: InputSection, relocation: ObjectRelocation, target: Target) -> None:
        """Leave a reference to the loader, as it is or as a relative one."""
        place = section.address + relocation.offset
        kind, addend = relocation.type, relocation.addend
        if not target.is_fixed:
            self._tables.relocate(place, kind, self._tables.symbol(target), addend)
        elif kind == R_64:
            if target.is_resolver:
                self._tables.relocate(place, R_IRELATIVE, 0, target.address)
            else:
                self._tables.relocate(place, R_RELATIVE, 0, target.address + addend)
        else:
            self._tables.relocate(place, kind, OWN_START, target.address + addend)

    def _thread_local(
        self,
        section: InputSection,
        relocation: ObjectRelocation,
        target: Target,
        start: int,
    ) -> int | None:
        kind, addend = relocation.type, relocation.addend
        if kind in (R_DTPOFF32, R_DTPOFF64):
            if not target.is_fixed:
                section.fail("is defined by another image; compile with -fPIC", relocation)
            return target.address - start + addend
        symbol, offset = self._tables.thread_local(target, start)
        place = section.address + relocation.offset
        self._tables.relocate(place, kind, symbol, offset + addend)
        return None

    def _wants_stub(self, contents: bytes, relocation: ObjectRelocation, target: Target) -> bool:
        """Whether a reference goes to a stub: calls of what is elsewhere, or not yet chosen."""
        if target.is_fixed and not target.is_resolver:
            return False
        if relocation.type in (R_PLT32, R_PLTOFF64):
            return True
        if relocation.type != R_PC32:
            return False
        return target.is_resolver or _is_jump(contents, relocation.offset)

    def _is_lost(self, section: InputSection, target: Target, relocation: ObjectRelocation) -> bool:
        if not target.is_lost:
            return False
        if not section.name.startswith(_MAY_LOSE):
            section.fail("lies in a group of which another copy is used", relocation)
        return True

    def _check_thread_local(
        self, section: InputSection, target: Target, relocation: ObjectRelocation
    ) -> None:
        kind = relocation.type
        if kind in THREAD_LOCAL:
            if kind in (R_TLSLD, R_TLSDESC_CALL):
                return
            if not target.is_defined and target.name:
                target.type = STT_TLS
            if not target.is_thread_local:
                section.fail("is no thread-local variable", relocation)
        elif target.is_thread_local and kind not in _SIZES:
            section.fail("is a thread-local variable", relocation)


def _is_jump(contents: bytes, offset: int) -> bool:
    """Whether a place is the displacement of ``call``, ``jmp`` or a conditional jump.

    Assemblers before binutils 2.31 wrote R_X86_64_PC32 for those as for everything else.
    """
    if offset < 1:
        return False
    opcode = contents[offset - 1]
    return opcode in (0xE8, 0xE9) or (
        offset >= 2 and contents[offset - 2] == 0x0F and opcode in _NEAR_JUMPS
    )


def _store(
    section: InputSection, data: bytearray, relocation: ObjectRelocation, value: int
) -> None:
    if relocation.type in WORDS:
        data[relocation.offset : relocation.offset + 8] = (value & (1 << 64) - 1).to_bytes(
            8, "little"
        )
        return
    signed = relocation.type not in UNSIGNED
    low, high = (-(1 << 31), 1 << 31) if signed else (0, 1 << 32)
    if not low <= value < high:
        section.fail(f"{value:#x} does not fit into 32 bits; compile with -fPIC", relocation)
    data[relocation.offset : relocation.offset + 4] = value.to_bytes(4, "little", signed=signed)
