"""``theseus-kit symbolicate ADDRESS…``: what addresses of a core or of an image are called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from theseus_kit.cli.backtrace import location, symbol_as_json
from theseus_kit.cli.options import (
    DEFAULT_PLUGINS,
    OptionsOption,
    PluginsOption,
    assemble_platform,
)
from theseus_kit.errors import ImageError, UsageError
from theseus_kit.values.memory import AddressRange, page_floor
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from theseus_kit.image import Image
    from theseus_kit.platform import Platform
    from theseus_kit.values.symbols import Symbol


class _Place(NamedTuple):
    """An image's file, and where it lay when the addresses were taken."""

    path: Path
    range: AddressRange | None
    """None: the addresses are all its own."""
    base: int | None
    """Its load bias; None where it follows from ``range`` and ``offset``."""
    offset: int = 0


def symbolicate_command(
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS...", help="Addresses, in hexadecimal, as addr2line."),
    ],
    core: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The core file that the addresses are of."),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The image that the addresses are of."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Where --image lay; 0: addresses are the file's own."),
    ] = None,
    plugins: PluginsOption = DEFAULT_PLUGINS,
    option: OptionsOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Name addresses: image, section, symbol, and file and line where the image says them.

    An address is looked up as it is; for a return address give the one before it, which is in the
    call. Images are loaded on an emulated machine and asked by the symbolication plugin.
    """
    asked = [_parse(text, "ADDRESS") for text in addresses]
    places = _places(core, image, base)
    with assemble_platform(plugins, "emulated", option) as platform:
        found = _symbolicate(platform, places, asked)
    if json:
        import json as json_module

        report = [
            {"address": address, "symbols": [symbol_as_json(symbol) for symbol in symbols]}
            for address, symbols in found
        ]
        print(json_module.dumps(report, indent=2))
    else:
        _show(found)
    return 0


def _parse(text: str, what: str) -> int:
    try:
        address = int(text, 16)
    except ValueError:
        raise UsageError(f"{what} {text!r}: write it in hexadecimal, as 0x7f12") from None
    if not 0 <= address < 1 << 64:
        raise UsageError(f"{what} {text!r}: an address has 64 bits")
    return address


def _places(core: Path | None, image: Path | None, base: str | None) -> list[_Place]:
    if (core is None) == (image is None):
        raise UsageError("say where the addresses are from: --core FILE or --image FILE")
    if image is not None:
        return [_Place(image, None, _parse(base or "0", "--base"))]
    if base is not None:
        raise UsageError("--base belongs to --image: a core file says where its images lay")
    from theseus_kit.postmortem.core_reader import read_images

    assert core is not None
    return [_Place(m.path, m.range, None, m.offset) for m in read_images(core)]


def _symbolicate(
    platform: Platform, places: Sequence[_Place], addresses: Sequence[int]
) -> list[tuple[int, list[Symbol]]]:
    loaded: dict[_Place, tuple[Image, int] | None] = {}
    found: list[tuple[int, list[Symbol]]] = []
    for address in addresses:
        symbols: list[Symbol] = []
        for place in places:
            if place.range is None or address in place.range:
                if place not in loaded:
                    loaded[place] = _load(platform, place)
                image = loaded[place]
                if image is not None:
                    symbols += _symbols(platform, *image, address)
        found.append((address, symbols))
    return found


def _load(platform: Platform, place: _Place) -> tuple[Image, int] | None:
    """Load an image; return it with the bias it had. None for a core's file that is not there."""
    try:
        image = platform.load(place.path)
    except ImageError as error:
        if place.base is not None:
            raise
        print(f"theseus-kit: its addresses stay without names: {error}", file=sys.stderr)
        return None
    if place.base is not None:
        return image, place.base
    first = image.segments[0]
    assert place.range is not None
    if page_floor(first.offset) != place.offset:
        print(
            f"theseus-kit: its addresses stay without names: {place.path} is another file than "
            "the one that was mapped",
            file=sys.stderr,
        )
        return None
    return image, place.range.start - page_floor(first.address)


def _symbols(platform: Platform, image: Image, base: int, address: int) -> list[Symbol]:
    """What an address is called in an image that had another load bias."""
    here = address - base + image.base
    if here not in image.range:
        return []
    return [
        symbol._replace(address=symbol.address - image.base + base)
        for symbol in platform.hooks.symbolicate(address=here)
    ]


def _show(found: Sequence[tuple[int, Sequence[Symbol]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("address", "image", "section", "symbol", "offset", "demangled", "at")
    for address, symbols in found:
        if not symbols:
            table.add_row(f"{address:#x}", "", "", "unknown")
        for depth, symbol in enumerate(symbols):
            table.add_row(
                "" if depth else f"{address:#x}",
                symbol.image or "",
                symbol.section or "",
                symbol.name or "",
                f"{symbol.offset:#x}",
                symbol.demangled or "",
                location(symbol) if symbol.file else "",
            )
    Console().print(table)
