"""The global offset table and the procedure linkage table of an image being linked.

A reference to another image goes through a word in the GOT, which the loader fills and which is
always in reach; a call goes through a stub in the PLT that jumps where the word says::

    call strlen@PLT ──► .plt:  jmp qword ptr [rip + …] ──► .got:  address of strlen

The first word of the GOT is the address of the dynamic section, as the psABI has it. Behind the
stubs lies the finaliser, which C++ needs: it has the destructors run that the image registered by
``__cxa_atexit`` under its ``__dso_handle``. In files that a compiler links it is in crtbegin.o.
"""

from __future__ import annotations

from struct import pack, pack_into

from theseus_kit.image.elf_header import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS, Section
from theseus_kit.image.objects.object_file import InputSection, ObjectFile
from theseus_kit.image.objects.relocation_types import (
    R_64,
    R_DTPMOD64,
    R_DTPOFF64,
    R_IRELATIVE,
    R_RELATIVE,
    R_TLSDESC,
    R_TPOFF64,
    Slot,
)
from theseus_kit.image.objects.resolution import Target
from theseus_kit.image.objects.tables import DynamicTables

STUB_SIZE = 8
STUB_ASSEMBLY = "jmp qword ptr [rip + {displacement}]; nop"
"""A stub of the PLT: ff 25 and the displacement from its sixth byte, then a two-byte nop."""
FINALISER_SIZE = 24
FINALISER_ASSEMBLY = """
    lea rdi, [rip + {handle}]
    mov rax, qword ptr [rip + {finalize}]
    test rax, rax                   ; no plugin need provide __cxa_finalize
    je 2
    jmp rax
    ret
"""
_WORDS = {Slot.MODULE_AND_OFFSET: 2, Slot.OWN_MODULE: 2, Slot.DESCRIPTOR: 2}


def stub(address: int, word: int) -> bytes:
    """The code of a stub at ``address`` that jumps where the word at ``word`` says."""
    return b"\xff\x25" + pack("<i", word - address - 6) + b"\x66\x90"


def finaliser(address: int, handle: int, word: int) -> bytes:
    """The finaliser at ``address``: ``word`` holds the address of __cxa_finalize, or 0."""
    return (
        b"\x48\x8d\x3d"
        + pack("<i", handle - address - 7)
        + b"\x48\x8b\x05"
        + pack("<i", word - address - 14)
        + bytes.fromhex("4885c0 7402 ffe0 c3 6690")
    )


class Slots:
    """Both tables of one image. Ask for everything first; addresses exist after the layout."""

    def __init__(self, file: ObjectFile) -> None:
        flags = SHF_ALLOC | SHF_WRITE
        self.got = InputSection(file, 0, Section(".got", SHT_PROGBITS, flags, 0, 0, 8, 0, 0, 8, 8))
        flags = SHF_ALLOC | SHF_EXECINSTR
        self.plt = InputSection(
            file, 0, Section(".plt", SHT_PROGBITS, flags, 0, 0, 0, 0, 0, 16, STUB_SIZE)
        )
        self._offsets: dict[tuple[Slot, Target | None], int] = {}
        self._stubs: dict[Target, int] = {}
        self._finalize: Target | None = None

    def ask(self, slot: Slot, target: Target) -> None:
        """Make sure that the GOT has a slot."""
        key = (slot, None if slot is Slot.OWN_MODULE else target)
        if key not in self._offsets:
            header = self.got.header
            self._offsets[key] = header.size
            self.got.header = header._replace(size=header.size + 8 * _WORDS.get(slot, 1))

    def ask_stub(self, target: Target) -> None:
        """Make sure that the PLT has a stub."""
        if target not in self._stubs:
            self.ask(Slot.ADDRESS, target)
            header = self.plt.header
            self._stubs[target] = header.size
            self.plt.header = header._replace(size=header.size + STUB_SIZE)

    def ask_finaliser(self, finalize: Target) -> None:
        """Have a finaliser that calls ``finalize``, behind the last stub: ask for it last."""
        self.ask(Slot.ADDRESS, finalize)
        self._finalize = finalize
        header = self.plt.header
        self.plt.header = header._replace(size=header.size + FINALISER_SIZE)

    @property
    def finaliser_address(self) -> int | None:
        """Where the finaliser is, None if there is none."""
        if self._finalize is None:
            return None
        return self.plt.address + self.plt.size - FINALISER_SIZE

    def address(self, slot: Slot, target: Target) -> int:
        """Where a slot is."""
        key = (slot, None if slot is Slot.OWN_MODULE else target)
        return self.got.address + self._offsets[key]

    def stub_address(self, target: Target) -> int:
        """Where a stub is."""
        return self.plt.address + self._stubs[target]

    def stubs(self) -> list[tuple[Target, int]]:
        """Every stub: what it jumps to, its address."""
        return [(target, self.plt.address + offset) for target, offset in self._stubs.items()]

    def write(self, dynamic_address: int, thread_local_start: int, tables: DynamicTables) -> None:
        """Write both tables; what only the loader knows becomes a relocation."""
        got = bytearray(self.got.size)
        tables.relocate(self.got.address, R_RELATIVE, 0, dynamic_address)
        for (slot, target), offset in self._offsets.items():
            self._write_slot(got, slot, target, offset, thread_local_start, tables)
        self.got.data = got
        self.plt.data = b"".join(
            stub(address, self.address(Slot.ADDRESS, target)) for target, address in self.stubs()
        )
        if self._finalize is not None and self.finaliser_address is not None:
            word = self.address(Slot.ADDRESS, self._finalize)
            self.plt.data += finaliser(self.finaliser_address, self.got.address, word)

    def _write_slot(
        self,
        got: bytearray,
        slot: Slot,
        target: Target | None,
        offset: int,
        thread_local_start: int,
        tables: DynamicTables,
    ) -> None:
        place = self.got.address + offset
        if target is None:
            tables.relocate(place, R_DTPMOD64, 0, 0)
        elif slot is Slot.ADDRESS:
            if target.is_absolute:
                pack_into("<Q", got, offset, target.value & (1 << 64) - 1)
            elif target.is_fixed:
                kind = R_IRELATIVE if target.is_resolver else R_RELATIVE
                tables.relocate(place, kind, 0, target.address)
            else:
                tables.relocate(place, R_64, tables.symbol(target), 0)
        else:
            symbol, addend = tables.thread_local(target, thread_local_start)
            if slot is Slot.MODULE_AND_OFFSET:
                tables.relocate(place, R_DTPMOD64, symbol, 0)
                tables.relocate(place + 8, R_DTPOFF64, symbol, addend)
            elif slot is Slot.DESCRIPTOR:
                tables.relocate(place, R_TLSDESC, symbol, addend)
            else:
                tables.relocate(place, R_TPOFF64, symbol, addend)
