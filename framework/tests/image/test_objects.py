"""Relocatable objects are linked as a linker does it, and refused by name where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

import pytest

from theseus_kit import Image, ImageError, MissingSymbolError, Platform
from theseus_kit.image.objects.slots import (
    FINALISER_ASSEMBLY,
    FINALISER_SIZE,
    STUB_ASSEMBLY,
    finaliser,
    stub,
)
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit.values.memory import Protection

from .tiny_object import (
    ABSOLUTE,
    ALLOC,
    COMMON,
    HIDDEN,
    INIT_ARRAY,
    NOBITS,
    NOTYPE,
    OBJECT,
    WEAK,
    WRITE,
    F,
    Relocation,
    Section,
    Symbol,
    TinyObject,
    code,
    jump_to,
    load_from,
    words,
)

Link = Callable[..., Image]
Word = Callable[[int], int]
R_64, PC32, GOT32, PLT32, GOTPCREL, R_32, R_32S, PC64 = 1, 2, 3, 4, 9, 10, 11, 24
GOTOFF64, GOTPC32, GOT64, GOTPCREL64, GOTPC64, PLTOFF64, SIZE32, SIZE64 = (
    25,
    26,
    27,
    28,
    29,
    31,
    32,
    33,
)
GOTPCRELX, REX_GOTPCRELX = 41, 42


THREE = words(".data", 1, 2, 3)


def test_a_function_reads_a_variable_of_its_object(link: Link) -> None:
    image = link(TinyObject([load_from(".data", addend=4), THREE], [F]))
    assert image.call("f") == 2


def test_sections_lie_by_protection(link: Link, platform: Platform) -> None:
    zeros = Section(".bss", flags=ALLOC | WRITE, type=NOBITS, size=64)
    constants = Section(".rodata", b"text", ALLOC)
    image = link(TinyObject([load_from(".data"), THREE, zeros, constants], [F]))
    found = {s.name: image.segment_at(image.base + s.address) for s in image.sections()}
    protections = {name: s.protection for name, s in found.items() if s is not None}
    assert protections[".text"] == Protection.READ_EXECUTE
    assert protections[".data"] == protections[".bss"] == Protection.READ_WRITE
    assert protections[".rodata"] == Protection.READ
    region = platform.hooks.memory_query(address=image.symbol("f"))
    assert region.protection == Protection.READ_EXECUTE


@pytest.mark.parametrize("kind", [PC32, PLT32])
def test_a_call_reaches_what_a_plugin_provides_by_a_stub(
    kind: int, link: Link, platform: Platform
) -> None:
    platform.namespace.provide("test", CFunction("int far(void)", lambda: 42))
    image = link(TinyObject([jump_to("far", kind)], [F, Symbol("far", type=NOTYPE)]))
    assert image.call("f") == 42
    assert image.missing == ()


@pytest.mark.parametrize("kind", [GOTPCREL, GOTPCRELX, REX_GOTPCRELX])
def test_a_variable_of_another_image_is_read_through_the_got(
    kind: int, link: Link, platform: Platform
) -> None:
    platform.namespace.provide("test", CObject("number", pack("<Q", 77)))
    image = link(TinyObject([load_from("number", kind)], [F, Symbol("number", type=NOTYPE)]))
    assert image.call("f") == platform.namespace.resolve("number")


def test_a_got_slot_may_hold_one_of_the_images_own_addresses(link: Link) -> None:
    image = link(
        TinyObject([load_from("f", GOTPCREL)], [F]),
    )
    assert image.call("f") == image.symbol("f")


def test_a_word_may_hold_an_address_with_an_addend(link: Link, word: Word) -> None:
    data = words(".data", 0, 0, 0, relocations=[Relocation(8, R_64, ".data", 16)])
    image = link(TinyObject([data], [Symbol("table", ".data", type=OBJECT)]))
    assert word(image.symbol("table") + 8) == image.symbol("table") + 16


@pytest.mark.parametrize("kind", [R_32, R_32S])
def test_a_half_word_holds_an_absolute_value(kind: int, link: Link, word: Word) -> None:
    data = words(".data", 0, relocations=[Relocation(0, kind, "small", 1)])
    small = Symbol("small", ABSOLUTE, 0x1233, NOTYPE)
    image = link(TinyObject([data], [Symbol("table", ".data", type=OBJECT), small]))
    assert word(image.symbol("table")) == 0x1234
    assert image.symbol("small") == 0x1233


@pytest.mark.parametrize(("kind", "name"), [(R_32, "R_X86_64_32"), (R_32S, "R_X86_64_32S")])
def test_an_address_that_32_bits_cannot_hold_is_refused_with_the_remedy(
    kind: int, name: str, link: Link
) -> None:
    data = words(".data", 0, relocations=[Relocation(0, kind, ".data")])
    message = rf"section \.data at 0x0: {name} against section \.data at 0x0.*-fPIC"
    with pytest.raises(ImageError, match=message):
        link(TinyObject([data]))


def test_an_absolute_value_too_large_for_its_place_is_refused(link: Link) -> None:
    data = words(".data", 0, relocations=[Relocation(0, R_32S, "large")])
    large = Symbol("large", ABSOLUTE, 1 << 31, NOTYPE)
    message = r"section \.data at 0x0: R_X86_64_32S against large: 0x80000000 does not fit"
    with pytest.raises(ImageError, match=message):
        link(TinyObject([data], [large]))


def test_distances_of_64_bits_are_counted_from_their_place(link: Link, word: Word) -> None:
    data = words(
        ".data", 0, 0, relocations=[Relocation(0, PC64, "f", 3), Relocation(8, PC64, "malloc")]
    )
    symbols = [F, Symbol("malloc", type=NOTYPE), Symbol("table", ".data", type=OBJECT)]
    image = link(TinyObject([code("c3"), data], symbols))
    table = image.symbol("table")
    assert word(table) == (image.symbol("f") + 3 - table) % 2**64
    namespace = image.namespace
    assert namespace is not None
    assert (word(table + 8) + table + 8) % 2**64 == namespace.resolve("malloc")


def test_the_large_code_models_types_count_from_the_got(link: Link, word: Word) -> None:
    relocations = [
        Relocation(0, GOTPC64, "_GLOBAL_OFFSET_TABLE_"),
        Relocation(8, GOTOFF64, ".data", 8),
        Relocation(16, GOT64, "malloc"),
        Relocation(24, PLTOFF64, "malloc"),
        Relocation(32, GOTPCREL64, "malloc"),
        Relocation(40, GOTPC32, "_GLOBAL_OFFSET_TABLE_"),
        Relocation(44, GOT32, "malloc"),
    ]
    symbols = [
        Symbol("table", ".data", type=OBJECT),
        Symbol("malloc", type=NOTYPE),
        Symbol("_GLOBAL_OFFSET_TABLE_", type=NOTYPE),
    ]
    image = link(TinyObject([words(".data", *[0] * 6, relocations=relocations)], symbols))
    table, namespace = image.symbol("table"), image.namespace
    assert namespace is not None
    got = (word(table) + table) % 2**64
    assert (got + word(table + 8)) % 2**64 == table + 8
    assert word(got + word(table + 16)) == namespace.resolve("malloc")
    found = namespace.get_section_containing_address((got + word(table + 24)) % 2**64)
    assert found is not None
    assert (found[0].name, found[1]) == ("malloc@plt", 0)
    assert (word(table + 32) + table + 32) % 2**64 == got + word(table + 16)
    low, high = word(table + 40) & 0xFFFFFFFF, word(table + 40) >> 32
    assert (table + 40 + low - got) % 2**32 == 0
    assert high == word(table + 16)


def test_sizes_of_symbols_are_written(link: Link, word: Word) -> None:
    relocations = [Relocation(0, SIZE64, "table", 1), Relocation(8, SIZE32, "table")]
    data = words(".data", 0, 0, relocations=relocations)
    image = link(TinyObject([data], [Symbol("table", ".data", type=OBJECT, size=16)]))
    assert (word(image.symbol("table")), word(image.symbol("table") + 8)) == (17, 16)


def test_common_symbols_are_zero_and_the_largest_counts(link: Link, word: Word) -> None:
    small = Symbol("shared", COMMON, 8, OBJECT, size=8)
    large = Symbol("shared", COMMON, 64, OBJECT, size=256)
    image = link(
        TinyObject([load_from("shared")], [F, small]),
        TinyObject([words(".data", 5)], [large, Symbol("other", COMMON, 4, OBJECT, size=4)]),
    )
    assert image.call("f") == 0
    symbol = image.table.lookup("shared")
    assert symbol is not None
    assert symbol.size == 256
    assert image.symbol("shared") % 64 == 0
    assert not image.symbol("shared") <= image.symbol("other") < image.symbol("shared") + 256


def test_a_definition_comes_before_a_common_symbol(link: Link) -> None:
    image = link(
        TinyObject([load_from("shared")], [F, Symbol("shared", COMMON, 8, OBJECT)]),
        TinyObject([words(".data", 5)], [Symbol("shared", ".data", type=OBJECT)]),
    )
    assert image.call("f") == 5


def test_objects_linked_together_share_hidden_symbols_that_others_do_not_see(link: Link) -> None:
    secret = Symbol("secret", ".data", type=OBJECT, visibility=HIDDEN)
    image = link(
        TinyObject([load_from("secret")], [F, Symbol("secret", type=NOTYPE)]),
        TinyObject([words(".data", 9)], [secret]),
    )
    assert image.call("f") == 9
    assert "secret" not in image.symbols


def test_a_hidden_symbol_that_no_object_defines_is_refused(link: Link) -> None:
    with pytest.raises(ImageError, match=r"tiny0\.o: needs the hidden symbol malloc; link it tog"):
        link(TinyObject([jump_to("malloc")], [F, Symbol("malloc", type=NOTYPE, visibility=HIDDEN)]))


def test_a_strong_definition_comes_before_a_weak_one(link: Link) -> None:
    weak = TinyObject([load_from("value"), words(".data", 1)], [F])
    weak.symbols.append(Symbol("value", ".data", type=OBJECT, binding=WEAK))
    strong = TinyObject([words(".data", 2)], [Symbol("value", ".data", type=OBJECT)])
    assert link(weak, strong).call("f") == 2


def test_two_strong_definitions_are_refused_by_name(link: Link) -> None:
    same = TinyObject([code("c3")], [F])
    with pytest.raises(ImageError, match=r"tiny1\.o: defines f, which tiny0\.o defines too"):
        link(same, same)


def test_a_weak_reference_that_nothing_answers_is_null(link: Link) -> None:
    symbols = [F, Symbol("nobody", type=NOTYPE, binding=WEAK)]
    image = link(TinyObject([load_from("nobody", GOTPCREL)], symbols), strict=True)
    assert image.call("f") == 0


def test_a_weak_hidden_reference_is_never_another_images(link: Link) -> None:
    symbols = [F, Symbol("malloc", type=NOTYPE, binding=WEAK, visibility=HIDDEN)]
    assert link(TinyObject([load_from("malloc", GOTPCREL)], symbols)).call("f") == 0


def test_a_function_that_nobody_defines_names_itself_when_called(link: Link) -> None:
    tiny = TinyObject([jump_to("nobody")], [F, Symbol("nobody", type=NOTYPE)])
    with pytest.raises(MissingSymbolError, match=r"tiny0\.o called nobody"):
        link(tiny).call("f")
    with pytest.raises(ImageError, match=r"no plugin provides 1 of the symbols .*nobody"):
        link(tiny, strict=True)


def grouped(value: int, signature: str = "shared") -> TinyObject:
    """An object whose ``f`` reads ``shared``, of which each object brings a copy."""
    return TinyObject(
        [load_from(signature), words(f".data.{signature}", value)],
        [F, Symbol(signature, f".data.{signature}", type=OBJECT, binding=WEAK)],
        groups={signature: [f".data.{signature}"]},
    )


def test_of_groups_linked_together_the_first_is_kept(link: Link) -> None:
    second = grouped(2)
    second.symbols[0] = Symbol("g", ".text")
    image = link(grouped(1), second)
    assert (image.call("f"), image.call("g")) == (1, 1)
    assert [s.name for s in image.sections()].count(".data.shared") == 1


def test_a_group_that_is_loaded_already_is_used_again(link: Link, platform: Platform) -> None:
    first = link(grouped(1), name="first")
    second = link(grouped(2), name="second")
    assert second.call("f") == 1
    assert "shared" not in second.symbols
    message = r"first0\.o: is in use by second0\.o \(shared\)"
    with pytest.raises(ImageError, match=message):
        platform.namespace.unload(first)


def test_a_reference_into_a_group_that_was_left_out_is_refused(link: Link) -> None:
    second = grouped(2)
    second.symbols[0] = Symbol("g", ".text")
    second.sections[0].relocations[0].symbol = ".data.shared"
    message = r"tiny1\.o: section \.text at 0x3: R_X86_64_PC32 against section \.data\.shared: lies"
    with pytest.raises(ImageError, match=message):
        link(grouped(1), second)


def test_constructors_run_by_priority(link: Link, word: Word) -> None:
    # mov rax, [rip + log]; shl rax, 4; or al, n; mov [rip + log], rax; ret
    def constructor(n: int) -> Section:
        return code(
            bytes.fromhex("48 8b 05 00000000 48 c1 e0 04 0c")
            + bytes([n])
            + bytes.fromhex("48 89 05 00000000 c3"),
            Relocation(3, PC32, "log", -4),
            Relocation(16, PC32, "log", -4),
            name=f".text.{n}",
        )

    def entry(suffix: str, n: int) -> Section:
        relocations = [Relocation(0, R_64, f".text.{n}")]
        name = ".init_array" + suffix
        return Section(name, bytes(8), ALLOC | WRITE, relocations, type=INIT_ARRAY)

    entries = [entry("", 3), entry(".00102", 2), entry(".00101", 1)]
    sections = [constructor(1), constructor(2), constructor(3), *entries, words(".data", 0)]
    image = link(TinyObject(sections, [Symbol("log", ".data", type=OBJECT)]))
    assert word(image.symbol("log")) == 0x123


def test_the_linkers_own_names_are_defined(link: Link, platform: Platform) -> None:
    symbols = [
        F,
        Symbol("__start_things", type=NOTYPE),
        Symbol("__stop_things", type=NOTYPE),
        Symbol("__dso_handle", type=NOTYPE, visibility=HIDDEN),
    ]
    relocations = [Relocation(n * 8, R_64, symbol.name) for n, symbol in enumerate(symbols[1:])]
    sections = [code("c3"), words("things", 1, 2, 3, relocations=relocations)]
    image = link(TinyObject(sections, symbols))
    things = next(s for s in image.sections() if s.name == "things")
    start = image.base + things.address
    read = platform.machine.memory.read_u64
    assert (read(start), read(start + 8)) == (start, start + 24)
    assert read(start + 16) in image.range


def disassembly(data: bytes) -> list[str]:
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    return [
        f"{mnemonic} {operands}".strip()
        for _, _, mnemonic, operands in disassembler.disasm_lite(data, 0)
    ]


def test_a_stub_is_what_its_source_says() -> None:
    source = STUB_ASSEMBLY.format(displacement=hex(0x2000 - 6))
    assert disassembly(stub(0, 0x2000)) == source.split("; ")


def test_the_finaliser_is_what_its_source_says() -> None:
    source = FINALISER_ASSEMBLY.format(handle=hex(0x2000 - 7), finalize=hex(0x3000 - 14))
    lines = [line.partition(";")[0].strip() for line in source.strip().splitlines()]
    lines[lines.index("je 2")] = f"je {0x11 + 2 + 2:#x}"  # two bytes on from its own end
    code = finaliser(0, 0x2000, 0x3000)
    assert disassembly(code)[:6] == lines
    assert len(code) == FINALISER_SIZE
