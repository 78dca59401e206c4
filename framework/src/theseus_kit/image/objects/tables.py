"""What the loader is told of an image being linked: its dynamic symbols and relocations.

The symbols are those that other images define or may be bound to. The first one stands for the
image's own start: a reference to one of its own addresses that is no relative relocation (32 bits
of an address) is against it.
"""

from __future__ import annotations

from struct import pack

from theseus_kit.image.hash_tables import system_v_hash
from theseus_kit.image.objects.resolution import Target
from theseus_kit.image.symbols import SHN_ABS, SHN_UNDEF, STB_LOCAL, STT_NOTYPE, STT_TLS

OWN_START = 1
"""The number of the symbol for the image's own start."""
_STV_HIDDEN = 2
_GLOBAL = 1
_DEFINED = 1
"""Any section index says that a symbol is defined; none is looked at."""


class DynamicTables:
    """Symbols and relocations for the loader, collected."""

    def __init__(self) -> None:
        self._targets: list[Target] = []
        self._numbers: dict[Target, int] = {}
        self._relocations: list[tuple[int, int, int, int]] = []

    def symbol(self, target: Target) -> int:
        """The number of a symbol, which is added at its first use."""
        number = self._numbers.get(target)
        if number is None:
            self._targets.append(target)
            number = self._numbers[target] = OWN_START + len(self._targets)
        return number

    def thread_local(self, target: Target, start: int) -> tuple[int, int]:
        """The symbol and the addend that mean a thread-local variable; ``start``: .tdata's."""
        if target.is_fixed:
            return 0, target.address - start
        return self.symbol(target), 0

    def relocate(self, place: int, kind: int, symbol: int, addend: int) -> None:
        """Leave a relocation to the loader."""
        signed = (addend + (1 << 63)) % (1 << 64) - (1 << 63)
        self._relocations.append((place, kind, symbol, signed))

    @property
    def places(self) -> list[int]:
        """Where the loader will write."""
        return [place for place, *_ in self._relocations]

    def relocations(self) -> bytes:
        """The relocation table, relative ones first: those are applied in bulk."""
        ordered = sorted(self._relocations, key=lambda entry: (entry[1] != 8, entry[0]))
        return b"".join(
            pack("<QQq", place, symbol << 32 | kind, addend)
            for place, kind, symbol, addend in ordered
        )

    def symbols(self, thread_local_start: int) -> tuple[bytes, bytes]:
        """The symbol table and its strings."""
        strings = bytearray(b"\0")
        table = bytearray(24) + pack("<IBBHQQ", 0, STB_LOCAL << 4 | STT_NOTYPE, 0, _DEFINED, 0, 0)
        for target in self._targets:
            section, value, visibility = SHN_UNDEF, 0, 0
            if target.is_absolute:
                section, value, visibility = SHN_ABS, target.value, target.visibility
            elif target.is_fixed:
                section, value, visibility = _DEFINED, target.address, target.visibility
                if target.is_thread_local:
                    value -= thread_local_start
            binding, name = target.binding, 0
            if binding == STB_LOCAL:
                binding, visibility = _GLOBAL, _STV_HIDDEN
            else:
                name = len(strings)
                strings += target.name.encode("utf-8", "surrogateescape") + b"\0"
            kind = STT_TLS if target.is_thread_local else target.type
            table += pack(
                "<IBBHQQ", name, binding << 4 | kind, visibility, section, value, target.size
            )
        return bytes(table), bytes(strings)

    def hash_table(self) -> bytes:
        """DT_HASH over all symbols; see ``hash_tables`` for its form."""
        count = OWN_START + 1 + len(self._targets)
        buckets, chain = [0] * max(1, count // 2), [0] * count
        for number, target in enumerate(self._targets, OWN_START + 1):
            name = target.name.encode("utf-8", "surrogateescape")
            bucket = system_v_hash(name) % len(buckets)
            chain[number], buckets[bucket] = buckets[bucket], number
        return pack(f"<{2 + len(buckets) + count}I", len(buckets), count, *buckets, *chain)
