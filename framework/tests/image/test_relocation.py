"""Every dynamic relocation of the x86-64 psABI does what table 4.9 says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from theseus_kit import Image, ImageError, Platform
from theseus_kit.image.relative_relocation import ASSEMBLY as RELATIVE_ASSEMBLY
from theseus_kit.image.relative_relocation import CODE as RELATIVE_CODE
from theseus_kit.values.linkage import CFunction, CObject

from .tiny_image import (
    CODE,
    DATA,
    OBJECT,
    RESOLVER,
    Relocation,
    Symbol,
    TinyImage,
    lay_out,
)

Load = Callable[..., Image]
Word = Callable[[int], int]
_MASK = (1 << 64) - 1
INSIDE = Symbol("inside", DATA + 0x100, type=OBJECT, size=24)


def _one(kind: int, symbol: str = "inside", addend: int = 0, **image: object) -> TinyImage:
    relocation = Relocation(DATA + 8, kind, symbol, addend)
    return TinyImage(data=bytes(0x200), symbols=[INSIDE], relocations=[relocation], **image)


def test_relative_adds_the_load_bias(load: Load, word: Word) -> None:
    image = load(_one(8, "", 0x1234))
    assert word(image.base + DATA + 8) == image.base + 0x1234


def test_relative_wraps_at_64_bits(load: Load, word: Word) -> None:
    image = load(_one(8, "", -0x10))
    assert word(image.base + DATA + 8) == image.base - 0x10


def test_relative_may_stand_at_an_odd_address(load: Load, word: Word) -> None:
    tiny = TinyImage(data=bytes(64), relocations=[Relocation(DATA + 3, 8, "", 5)])
    tiny.relative_count = 1
    image = load(tiny)
    assert word(image.base + DATA + 3) == image.base + 5


def test_a_thousand_relative_relocations_are_all_applied(load: Load, word: Word) -> None:
    places = [DATA + 8 * n for n in range(400)]
    tiny = TinyImage(relocations=[Relocation(p, 8, "", 3 * p) for p in places])
    tiny.relative_count = 400
    image = load(tiny)
    assert [word(image.base + p) - image.base for p in places] == [3 * p for p in places]


def test_relative_relocations_may_lie_in_several_segments(load: Load, word: Word) -> None:
    places = [DATA + 16, 0xAF00]
    tiny = TinyImage(relocations=[Relocation(p, 8, "", 1) for p in places])
    tiny.relative_count = 2
    image = load(tiny)
    assert [word(image.base + p) - image.base for p in places] == [1, 1]


def test_a_false_relative_count_is_seen_through(load: Load, word: Word) -> None:
    tiny = _one(1)
    tiny.relative_count = 1
    image = load(tiny)
    assert word(image.base + DATA + 8) == image.base + DATA + 0x100


@pytest.mark.parametrize(
    ("kind", "addend", "expected"),
    [
        (1, 5, lambda base: base + DATA + 0x105),  # 64: S + A
        (6, 5, lambda base: base + DATA + 0x100),  # GLOB_DAT: S
        (7, 5, lambda base: base + DATA + 0x100),  # JUMP_SLOT: S
        (24, 5, lambda base: 0x105 - 8),  # PC64: S + A - P
        (33, 5, lambda base: 24 + 5),  # SIZE64: Z + A
    ],
)
def test_a_symbolic_relocation_writes_a_word(
    load: Load, word: Word, kind: int, addend: int, expected: Callable[[int], int]
) -> None:
    image = load(_one(kind, addend=addend))
    assert word(image.base + DATA + 8) == expected(image.base) & _MASK


@pytest.mark.parametrize(("kind", "addend", "value"), [(2, 4, 0xFC), (32, 1, 25)])
def test_a_32_bit_relocation_writes_four_bytes(
    load: Load, platform: Platform, kind: int, addend: int, value: int
) -> None:
    image = load(_one(kind, addend=addend))
    written = platform.machine.memory.read(image.base + DATA + 8, 8)
    assert written == value.to_bytes(4, "little") + bytes(4)


@pytest.mark.parametrize("kind", [10, 11])
def test_an_absolute_32_bit_address_that_cannot_reach_is_refused(load: Load, kind: int) -> None:
    with pytest.raises(ImageError, match="cannot reach; compile it with -fPIC"):
        load(_one(kind))


def test_a_copy_relocation_is_refused_with_the_remedy(load: Load) -> None:
    with pytest.raises(ImageError, match=r"copies the variable inside .*build it as a shared"):
        load(_one(5))


def test_an_unknown_relocation_is_refused_by_number(load: Load) -> None:
    with pytest.raises(ImageError, match="unknown type 77 at 0x8008"):
        load(_one(77))


def test_a_relocation_of_type_none_does_nothing(load: Load, word: Word) -> None:
    assert word(load(_one(0)).base + DATA + 8) == 0


@pytest.mark.parametrize("place", [CODE, 0x7FFC, 0x9000 - 4, 1 << 40, _MASK - 3])
def test_a_relocation_outside_writable_segments_is_refused(load: Load, place: int) -> None:
    for kind, count in ((8, 1), (8, None), (1, None)):
        symbol = "inside" if kind == 1 else ""
        tiny = TinyImage(symbols=[INSIDE], relocations=[Relocation(place, kind, symbol)])
        tiny.relative_count = count
        with pytest.raises(ImageError, match="outside its writable segments"):
            load(tiny)


def test_a_symbol_index_outside_the_table_is_refused(load: Load) -> None:
    tiny = _one(1)
    tiny.relocations[0].type |= 0xFFFF << 32
    with pytest.raises(ImageError, match=r"symbol \d+ lies outside"):
        load(tiny)


def test_a_null_symbol_stands_for_zero(load: Load, word: Word) -> None:
    assert word(load(_one(1, "", 7)).base + DATA + 8) == 7


def test_text_relocations_change_code_and_leave_it_executable(
    load: Load, platform: Platform
) -> None:
    # mov rax, imm64; ret
    code = bytes.fromhex("48 b8") + bytes(8) + b"\xc3"
    tiny = TinyImage(
        code=code,
        symbols=[INSIDE, Symbol("address", CODE)],
        relocations=[Relocation(CODE + 2, 1, "inside")],
        tags=[(22, 0)],
    )
    image = load(tiny)
    assert image.call("address") == image.symbols["inside"]
    assert str(platform.hooks.memory_query(address=image.base + CODE).protection) == "r-x"


def test_relr_adds_the_bias_to_listed_words_and_to_the_bitmap_behind(
    load: Load, word: Word
) -> None:
    data = b"".join(n.to_bytes(8, "little") for n in range(140))
    bitmap = 1 | 0b101 << 1 | 1 << 63
    tiny = TinyImage(data=data, relr=[DATA, bitmap, 1 | 1 << 1])
    image = load(tiny)
    changed = {0, 1, 3, 63, 64}
    for n in range(140):
        expected = n + image.base if n in changed else n
        assert word(image.base + DATA + 8 * n) == expected, n


def test_relr_that_starts_with_a_bitmap_is_refused(load: Load) -> None:
    with pytest.raises(ImageError, match="starts with a bitmap"):
        load(TinyImage(relr=[3]))


def test_relr_outside_the_image_is_refused(load: Load) -> None:
    with pytest.raises(ImageError, match="outside its writable segments"):
        load(TinyImage(relr=[DATA + 0xFF8, 1 | 1 << 1]))


# lea rax, [rip + …]; ret — at CODE, returning CODE + 16
_RESOLVER = bytes.fromhex("48 8d 05 09 00 00 00 c3")
# mov eax, 42; ret
_FORTY_TWO = bytes.fromhex("b8 2a 00 00 00 c3")
_CHOICE = Symbol("choice", CODE, type=RESOLVER)


def _with_resolver(*relocations: Relocation) -> TinyImage:
    code = lay_out((CODE, _RESOLVER), (CODE + 16, _FORTY_TWO))
    return TinyImage(code=code, symbols=[_CHOICE], relocations=list(relocations))


def test_irelative_calls_the_resolver(load: Load, word: Word) -> None:
    image = load(_with_resolver(Relocation(DATA, 37, "", CODE)))
    assert word(image.base + DATA) == image.base + CODE + 16


@pytest.mark.parametrize(("kind", "addend"), [(1, 3), (6, 0), (7, 0)])
def test_a_reference_to_an_indirect_function_gets_what_its_resolver_returns(
    load: Load, word: Word, kind: int, addend: int
) -> None:
    image = load(_with_resolver(Relocation(DATA, kind, "choice", addend)))
    assert word(image.base + DATA) == image.base + CODE + 16 + addend


def test_an_indirect_function_is_called_through_its_resolver(load: Load) -> None:
    image = load(_with_resolver())
    assert image.symbols["choice"] == image.base + CODE + 16
    assert image.call("choice") == 42


def test_a_resolver_may_use_relocated_data(load: Load, word: Word) -> None:
    # mov rax, [rip + …]; ret — reads DATA + 8, itself relocated
    code = bytes.fromhex("48 8b 05") + (DATA + 8 - CODE - 7).to_bytes(4, "little") + b"\xc3"
    relocations = [Relocation(DATA, 37, "", CODE), Relocation(DATA + 8, 8, "", CODE)]
    image = load(TinyImage(code=code, relocations=relocations))
    assert word(image.base + DATA) == image.base + CODE


def test_a_resolver_writes_to_memory_that_is_read_only_afterwards(
    load: Load, platform: Platform, word: Word
) -> None:
    image = load(_with_resolver(Relocation(0xAF00, 37, "", CODE)))
    assert word(image.base + 0xAF00) == image.base + CODE + 16
    assert str(platform.hooks.memory_query(address=image.base + 0xAF00).protection) == "r--"


def test_a_jump_slot_reaches_the_function_a_plugin_provides(load: Load, platform: Platform) -> None:
    seen: list[int] = []
    function = CFunction("int observe(int value)", lambda value: seen.append(value) or 9)
    platform.namespace.provide("test", function)
    code = bytes.fromhex("ff 25") + (DATA - CODE - 6).to_bytes(4, "little")
    tiny = TinyImage(
        code=code,
        symbols=[Symbol("observe"), Symbol("call_it", CODE)],
        plt_relocations=[Relocation(DATA, 7, "observe")],
        tags=[(20, 7)],
    )
    assert load(tiny).call("call_it", -5) == 9
    assert seen == [-5]


def test_a_reference_to_a_provided_variable_gets_its_memory(
    load: Load, platform: Platform, word: Word
) -> None:
    platform.namespace.provide("test", CObject("counter", (77).to_bytes(8, "little")))
    tiny = TinyImage(
        symbols=[Symbol("counter", type=OBJECT)], relocations=[Relocation(DATA, 6, "counter")]
    )
    first, second = load(tiny, "one.so"), load(tiny, "two.so")
    assert word(word(first.base + DATA)) == 77
    assert word(first.base + DATA) == word(second.base + DATA)


def test_the_bulk_code_is_what_its_source_says() -> None:
    import capstone

    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    instructions = list(disassembler.disasm_lite(RELATIVE_CODE, 0))
    labels = {address: n for n, (address, *_) in enumerate(instructions)}
    source = [line.partition(";")[0].strip() for line in RELATIVE_ASSEMBLY.splitlines()]
    lines = [line for line in source if line]
    targets = {}
    for line in list(lines):
        if line.endswith(":"):
            targets[line[:-1]] = lines.index(line)
            lines.remove(line)
    assert len(lines) == len(instructions)
    for line, (_, _, mnemonic, operands) in zip(lines, instructions, strict=True):
        if mnemonic.startswith("j"):
            expected, label = line.split()
            assert (mnemonic, labels[int(operands, 16)]) == (expected, targets[label])
        else:
            assert f"{mnemonic} {operands}".strip() == line


def test_relative_relocations_may_alternate_between_segments(load: Load, word: Word) -> None:
    places = [place for n in range(20) for place in (DATA + 16 * n, 0xAF00 - 16 * n)]
    image = load(TinyImage(relocations=[Relocation(p, 8, "", p) for p in places]))
    assert [word(image.base + p) - image.base for p in places] == places


def test_other_relocations_may_stand_between_relative_ones(load: Load, word: Word) -> None:
    kinds = [8, 8, 1, 8, 6, 8, 8]
    relocations = [
        Relocation(DATA + 8 * n, kind, "" if kind == 8 else "inside", 0x40 if kind == 8 else 0)
        for n, kind in enumerate(kinds)
    ]
    image = load(TinyImage(data=bytes(0x200), symbols=[INSIDE], relocations=relocations))
    expected = [0x40 if kind == 8 else DATA + 0x100 for kind in kinds]
    assert [word(image.base + DATA + 8 * n) - image.base for n in range(7)] == expected


def test_a_table_that_relocates_itself_counts_as_the_file_has_it(load: Load, word: Word) -> None:
    # The first entry overwrites the place of the second one.
    entries = (DATA + 24, 8, 0x77, DATA + 0x100, 8, 5)
    table = b"".join(value.to_bytes(8, "little") for value in entries)
    image = load(TinyImage(data=table + bytes(0x100), tags=[(7, DATA), (8, 48), (9, 24)]))
    assert word(image.base + DATA + 24) == image.base + 0x77
    assert word(image.base + DATA + 0x100) == image.base + 5


def test_a_table_that_guest_code_cannot_read_is_applied_all_the_same(
    load: Load, word: Word
) -> None:
    class ExecuteOnly(TinyImage):
        def build(self) -> bytes:
            data = bytearray(super().build())
            data[64 + 4 : 64 + 8] = (1).to_bytes(4, "little")
            return bytes(data)

    image = load(ExecuteOnly(relocations=[Relocation(DATA, 8, "", 9)]))
    assert word(image.base + DATA) == image.base + 9
