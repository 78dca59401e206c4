"""What an image file asks of a platform: the symbols it imports, the system calls it makes itself.

Read from the file alone; no machine is needed and nothing of the image runs. Who answers is told
by two functions, so that the same list serves an assembled platform and a bare file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from theseus_kit.image.dynamic import Dynamic
from theseus_kit.image.opening import open_image
from theseus_kit.image.relocation import relocation_tables
from theseus_kit.image.symbols import SymbolTable
from theseus_kit.image.system_call_names import system_call_names
from theseus_kit.image.system_call_sites import SystemCallSite, find_system_call_sites
from theseus_kit.values.record import NamedTuple


class SymbolNeed(NamedTuple):
    """An imported symbol, and who answers it."""

    name: str
    version: str | None
    """As the image asks for it: ``GLIBC_2.34``. None where it asks for none."""
    kind: str
    """``function``, ``object`` (a variable), ``tls`` (a thread-local one) or ``unknown``."""
    weak: bool
    """The image can do without."""
    library: str | None
    """The library it expects the symbol from, which nothing here looks for."""
    provider: str | None
    """The plugin (or loaded image) that answers; None if nobody does."""


class SystemCallNeed(NamedTuple):
    """A system call that the image makes by itself, and who answers it."""

    number: int | None
    """None for sites whose number is no constant."""
    name: str
    sites: tuple[SystemCallSite, ...]
    provider: str | None


class Needs(NamedTuple):
    """Everything an image file asks of a platform."""

    image: str
    libraries: tuple[str, ...]
    """Its DT_NEEDED entries."""
    symbols: tuple[SymbolNeed, ...]
    system_calls: tuple[SystemCallNeed, ...]

    def only_missing(self) -> Needs:
        """What nobody answers and the image cannot do without."""
        return self._replace(
            symbols=tuple(s for s in self.symbols if s.provider is None and not s.weak),
            system_calls=tuple(c for c in self.system_calls if c.provider is None),
        )

    def as_json(self) -> dict[str, Any]:
        """The same as plain data, for ``json.dumps``."""
        return {
            "image": self.image,
            "libraries": list(self.libraries),
            "symbols": [symbol._asdict() for symbol in self.symbols],
            "system_calls": [
                {**call._asdict(), "sites": [site._asdict() for site in call.sites]}
                for call in self.system_calls
            ],
        }


def _nobody(_: object) -> None:
    return None


def find_needs(
    path: str | os.PathLike[str],
    symbol_provider: Callable[[str], str | None] = _nobody,
    system_call_provider: Callable[[int], str | None] = _nobody,
) -> Needs:
    """List what the image file at a host path needs; raises ImageError if it is not one.

    The two functions tell who provides a symbol, by name, and a system call, by number.
    """
    with open_image(path) as elf:
        reader = elf.reader()
        dynamic = Dynamic(elf, reader)
        table = SymbolTable(reader, dynamic)
        tables = relocation_tables(reader, dynamic)
        highest = max((max(table.cast("Q")[1::3].tolist()) >> 32 for _, table in tables), default=0)
        symbols = [
            SymbolNeed(
                symbol.name,
                table.versions.name(symbol.number),
                symbol.kind,
                symbol.is_weak,
                table.versions.library(symbol.number),
                symbol_provider(symbol.name),
            )
            for symbol in table.imported(highest)
        ]
        return Needs(
            elf.name,
            dynamic.needed,
            tuple(sorted(symbols, key=lambda symbol: symbol.name)),
            _system_call_needs(find_system_call_sites(elf), system_call_provider),
        )


def _system_call_needs(
    sites: list[SystemCallSite], provider: Callable[[int], str | None]
) -> tuple[SystemCallNeed, ...]:
    by_number: dict[int | None, list[SystemCallSite]] = {}
    for site in sites:
        by_number.setdefault(site.number, []).append(site)
    names = system_call_names()
    unknown = by_number.pop(None, [])
    needs = [
        SystemCallNeed(
            number,
            names.get(number, f"system call {number}"),
            tuple(by_number[number]),
            provider(number),
        )
        for number in sorted(number for number in by_number if number is not None)
    ]
    if unknown:
        needs.append(SystemCallNeed(None, "(number not constant)", tuple(unknown), None))
    return tuple(needs)
