"""What an address is called, as Theseus asks it, and what depends on what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import Image, Platform
from theseus_kit.image.sections import LoadedSection, SectionKind
from theseus_kit.runtime.wheel import find_wheel

from .tiny_image import CODE, DATA, TinyImage
from .tiny_image import Relocation as DynamicRelocation
from .tiny_image import Symbol as DynamicSymbol
from .tiny_object import (
    ALLOC,
    GLOBAL,
    LOCAL,
    NOBITS,
    NOTYPE,
    OBJECT,
    THREAD_LOCAL,
    TLS,
    WRITE,
    F,
    Relocation,
    Section,
    Symbol,
    TinyObject,
    code,
    words,
)

Link = Callable[..., Image]
R_64, PC32, PLT32, TLSGD = 1, 2, 4, 19


def section_at(platform: Platform, address: int, search_all: bool = False) -> tuple[str, int]:
    """The name and the offset found for an address; an empty name for none."""
    found = platform.namespace.get_section_containing_address(address, search_all)
    return ("", 0) if found is None else (found[0].name, found[1])


def named(platform: Platform, name: str) -> LoadedSection:
    found = platform.namespace.get_symbol(name)
    assert found is not None
    return found


def test_a_named_symbol_is_preferred_to_the_merged_text_section(
    link: Link, platform: Platform
) -> None:
    symbols = [Symbol("one", ".text", 0, size=4), Symbol("two", ".text", 8, size=4)]
    image = link(TinyObject([code(bytes(16))], symbols))
    start = image.symbol("one")
    assert section_at(platform, start) == ("one", 0)
    assert section_at(platform, start + 3) == ("one", 3)
    assert section_at(platform, start + 4) == (".text", 4)
    assert section_at(platform, start + 11) == ("two", 3)


def test_the_end_of_a_section_is_not_in_it(link: Link, platform: Platform) -> None:
    image = link(TinyObject([code(bytes(16))], [Symbol("one", ".text", 0, size=16)]))
    assert section_at(platform, image.symbol("one") + 15) == ("one", 15)
    assert section_at(platform, image.symbol("one") + 16) == ("", 0)


def test_only_code_is_found_unless_all_is_searched(link: Link, platform: Platform) -> None:
    sections = [
        code("c3"),
        words(".data", 1, 2),
        Section(".rodata", bytes(8)),
        Section(".bss", flags=ALLOC | WRITE, type=NOBITS, size=8),
    ]
    symbols = [F] + [
        Symbol(name, section, type=OBJECT)
        for name, section in (("data", ".data"), ("constant", ".rodata"), ("zero", ".bss"))
    ]
    image = link(TinyObject(sections, symbols))
    for name in ("data", "constant", "zero"):
        assert section_at(platform, image.symbol(name)) == ("", 0)
        assert section_at(platform, image.symbol(name) + 1, True) == (name, 1)
    assert section_at(platform, image.symbol("data") + 8, True) == (".data", 8)
    kinds = [named(platform, name).kind for name in ("f", "data", "constant", "zero")]
    assert kinds == [
        SectionKind.TEXT,
        SectionKind.DATA,
        SectionKind.READ_ONLY_DATA,
        SectionKind.ZERO_DATA,
    ]


def test_the_innermost_symbol_and_then_the_global_one_names_an_address(
    link: Link, platform: Platform
) -> None:
    symbols = [
        Symbol("outer", ".text", 0, size=16),
        Symbol("inner", ".text", 4, size=4, binding=LOCAL),
        Symbol("alias", ".text", 4, size=4, binding=GLOBAL),
    ]
    image = link(TinyObject([code(bytes(16))], symbols))
    names = [section_at(platform, image.symbol("outer") + at)[0] for at in (0, 4, 8)]
    assert names == ["outer", "alias", "outer"]


def test_a_stripped_image_has_its_segments(load: Callable[..., Image], platform: Platform) -> None:
    image = load(TinyImage(symbols=[DynamicSymbol("f", CODE, size=1)]))
    assert section_at(platform, image.base + CODE) == ("segment r-x", 0)
    assert section_at(platform, image.base + DATA + 5) == ("", 0)
    assert section_at(platform, image.base + DATA + 5, True) == ("segment rw-", 5)


def test_addresses_outside_every_image_are_in_no_section(platform: Platform) -> None:
    assert platform.namespace.get_section_containing_address(0, True) is None


def test_a_thread_local_variable_is_at_its_offset(link: Link, platform: Platform) -> None:
    data = Section(".tdata", bytes(16), ALLOC | WRITE | THREAD_LOCAL)
    image = link(TinyObject([data], [Symbol("variable", ".tdata", 8, TLS)]))
    found = named(platform, "variable")
    assert (found.kind, found.range.start, found.range.size) == (SectionKind.THREAD_LOCAL, 8, 8)
    assert found.image is image


def a_library() -> TinyObject:
    """``first`` jumps to ``second``, which reads ``table``; ``table`` holds the address of both."""
    addresses = [Relocation(0, R_64, "first"), Relocation(8, R_64, "second")]
    return TinyObject(
        [
            code("e9 00000000", Relocation(1, PLT32, "second", -4), name=".text.first"),
            code("48 8b 05 00000000 c3", Relocation(3, PC32, "table", -4), name=".text.second"),
            words(".data.table", 0, 0, relocations=addresses),
        ],
        [
            Symbol("first", ".text.first", size=5),
            Symbol("second", ".text.second", size=8),
            Symbol("table", ".data.table", type=OBJECT, size=16),
        ],
    )


def test_a_section_knows_what_it_depends_on(link: Link, platform: Platform) -> None:
    image = link(a_library())
    first, second, table = (named(platform, name) for name in ("first", "second", "table"))
    (jump,) = first.sections_i_depend_on
    assert (jump.section, jump.type, jump.addend) == (second, "R_X86_64_PLT32", -4)
    assert jump.place == image.symbol("first") + 1
    assert [dependency.section for dependency in second.sections_i_depend_on] == [table]
    assert [dependency.section for dependency in table.sections_i_depend_on] == [first, second]


def test_a_section_knows_what_depends_on_it_in_its_image_and_in_others(
    link: Link, platform: Platform
) -> None:
    link(a_library(), name="library")
    user = link(
        TinyObject(
            [code("e9 00000000", Relocation(1, PLT32, "second", -4))],
            [F, Symbol("second", type=NOTYPE)],
        ),
        name="user",
    )
    second = named(platform, "second")
    dependents = [d.section for d in second.sections_dependent_on_me]
    assert dependents == [named(platform, "first"), named(platform, "table"), named(platform, "f")]
    assert [d.section for d in named(platform, "f").sections_i_depend_on] == [second]
    platform.namespace.unload(user)
    assert len(second.sections_dependent_on_me) == 2


def test_a_shared_objects_dependencies_are_what_the_loader_relocated(
    load: Callable[..., Image], link: Link, platform: Platform
) -> None:
    link(a_library())
    user = load(
        TinyImage(
            symbols=[DynamicSymbol("second")],
            relocations=[
                DynamicRelocation(DATA, 8, "", CODE),
                DynamicRelocation(DATA + 8, 6, "second"),
            ],
        )
    )
    data = user.loaded_sections.at(user.base + DATA, True)
    assert data is not None
    found = [(d.section.name, d.type) for d in data.sections_i_depend_on]
    assert found == [("segment r-x", "R_X86_64_RELATIVE"), ("second", "R_X86_64_GLOB_DAT")]


@pytest.mark.skipif(not find_wheel().library.exists(), reason="no wasmtime library")
def test_the_wasmtime_librarys_functions_are_found_inside(platform: Platform) -> None:
    library = Path(find_wheel().library)
    image = platform.load(library)
    start = image.symbol("wasmtime_engine_increment_epoch")
    assert section_at(platform, start + 1) == ("wasmtime_engine_increment_epoch", 1)
    name = named(platform, "wasm_engine_new").name
    assert platform.namespace.get_symbol_starting_with("wasm_engine_new_with") is not None
    assert name == "wasm_engine_new"
