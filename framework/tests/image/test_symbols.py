"""Symbols are found by name through either hash table, in the version that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerSymSection

from theseus_kit import Image, ImageError
from theseus_kit.image.dynamic import Dynamic
from theseus_kit.image.elf import ElfFile
from theseus_kit.image.symbols import SymbolTable

from .tiny_image import CODE, DATA, OBJECT, RESOLVER, TLS, Relocation, Symbol, TinyImage

Load = Callable[..., Image]
SEVERAL = [Symbol(f"symbol_{n}", CODE + n) for n in range(40)]
HOST_LIBRARIES = [
    Path("/lib/x86_64-linux-gnu") / name
    for name in ("libz.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6")
]


def wasmtime_library() -> Path:
    import wasmtime

    return Path(wasmtime.__file__).parent / "linux-x86_64" / "_libwasmtime.so"


def table_of(path: Path) -> SymbolTable:
    with ElfFile.open(path) as elf:
        reader = elf.reader()
        return SymbolTable(reader, Dynamic(elf, reader))


@pytest.mark.parametrize("hashes", [("gnu",), ("sysv",), ("gnu", "sysv")])
def test_every_exported_symbol_is_found_by_name(load: Load, hashes: tuple[str, ...]) -> None:
    image = load(TinyImage(symbols=[Symbol("imported"), *SEVERAL], hashes=hashes))
    assert dict(image.symbols) == {s.name: image.base + (s.value or 0) for s in SEVERAL}
    assert len(image.symbols) == 40
    assert "imported" not in image.symbols


@pytest.mark.parametrize("hashes", [("gnu",), ("sysv",), ()])
def test_an_unknown_name_is_not_found(load: Load, hashes: tuple[str, ...]) -> None:
    image = load(TinyImage(symbols=SEVERAL, hashes=hashes))
    assert "symbol_40" not in image.symbols
    assert 7 not in image.symbols
    with pytest.raises(KeyError):
        image.symbols["symbol_40"]
    with pytest.raises(ImageError, match=r"libtiny\.so: exports no symbol symbol_40"):
        image.call("symbol_40")


def test_an_image_without_symbols_exports_nothing(load: Load) -> None:
    assert dict(load(TinyImage(hashes=())).symbols) == {}


def test_an_absolute_symbol_is_not_moved(load: Load) -> None:
    assert load(TinyImage(symbols=[Symbol("fixed", 99, absolute=True)])).symbols["fixed"] == 99


def test_hidden_and_thread_local_symbols_are_not_among_the_addresses(load: Load) -> None:
    symbols = [
        Symbol("hidden", CODE, visibility=2),
        Symbol("local", CODE, binding=0),
        Symbol("thread", 0, type=TLS),
        Symbol("open", CODE),
    ]
    assert list(load(TinyImage(symbols=symbols)).symbols) == ["open"]


def test_the_default_version_answers_a_plain_name(load: Load) -> None:
    symbols = [
        Symbol("f", CODE + 1, version="OLD_1", hidden=True),
        Symbol("f", CODE + 2, version="NEW_2"),
    ]
    image = load(TinyImage(symbols=symbols))
    assert image.symbols["f"] == image.base + CODE + 2
    assert image.symbol("f", "OLD_1") == image.base + CODE + 1
    assert image.symbol("f", "NEW_2") == image.base + CODE + 2
    assert list(image.symbols) == ["f"]
    with pytest.raises(ImageError, match="exports no symbol f@OTHER"):
        image.symbol("f", "OTHER")


def test_a_symbol_without_version_answers_any_version(load: Load) -> None:
    image = load(TinyImage(symbols=[Symbol("f", CODE)]))
    assert image.symbol("f", "ANY_1") == image.base + CODE


@pytest.mark.parametrize("path", [*HOST_LIBRARIES, wasmtime_library()], ids=lambda p: p.name)
def test_lookups_agree_with_pyelftools(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    table = table_of(path)
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        dynsym = elf.get_section_by_name(".dynsym")
        expected = {
            (symbol.name, symbol["st_value"])
            for symbol in dynsym.iter_symbols()
            if symbol["st_shndx"] != "SHN_UNDEF"
            and symbol["st_info"]["bind"] != "STB_LOCAL"
            and symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
        }
        assert {(s.name, s.value) for s in table.exported()} == expected
        assert {s.name for s in table.imported()} >= {
            s.name for s in dynsym.iter_symbols() if s["st_shndx"] == "SHN_UNDEF" and s.name
        }
    for name, _ in list(expected)[::17]:
        assert table.lookup(name) is not None or all_hidden(table, name)


def all_hidden(table: SymbolTable, name: str) -> bool:
    same = [s for s in table.exported() if s.name == name]
    return all(table.versions.is_hidden(s.number) for s in same)


@pytest.mark.parametrize("path", HOST_LIBRARIES, ids=lambda p: p.name)
def test_versions_agree_with_pyelftools(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    table = table_of(path)
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        numbers = next(s for s in elf.iter_sections() if isinstance(s, GNUVerSymSection))
        definitions = next(s for s in elf.iter_sections() if isinstance(s, GNUVerDefSection))
        names = {
            entry["vd_ndx"]: next(aux).name
            for entry, aux in definitions.iter_versions()
            if entry["vd_ndx"] > 1
        }
        for symbol in table.exported():
            number = numbers.get_symbol(symbol.number)["ndx"]
            expected = names.get(number & 0x7FFF) if isinstance(number, int) else None
            assert table.versions.name(symbol.number) == expected, symbol


def test_a_gnu_hash_chain_that_leads_outside_is_refused(load: Load) -> None:
    tiny = TinyImage(symbols=SEVERAL)
    data = bytearray(tiny.build())
    start = data.index((20).to_bytes(4, "little") + (1).to_bytes(4, "little"))
    for bucket in range(20):
        at = start + 24 + 4 * bucket
        data[at : at + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(ImageError, match="GNU hash table leads outside it"):
        load_bytes(load, data)


def test_a_hash_chain_that_loops_is_refused(load: Load) -> None:
    tiny = TinyImage(symbols=SEVERAL, hashes=("sysv",))
    data = bytearray(tiny.build())
    start = data.index((3).to_bytes(4, "little") + (41).to_bytes(4, "little"))
    for index in range(41):
        at = start + 20 + 4 * index
        data[at : at + 4] = index.to_bytes(4, "little")
    image = load_bytes(load, data)
    with pytest.raises(ImageError, match="a chain of its hash table never ends"):
        image.symbols["symbol_77"]


def test_a_list_of_versions_that_overlaps_itself_is_refused(load: Load) -> None:
    tiny = TinyImage(symbols=[Symbol("f", CODE, version="A"), Symbol("g", CODE, version="B")])
    data = bytearray(tiny.build())
    first = data.index(pack("<HHHHIII", 1, 0, 2, 1, 0, 20, 28))
    data[first + 16 : first + 20] = pack("<I", 1)
    with pytest.raises(ImageError, match="list of symbol versions is damaged"):
        load_bytes(load, data)


def test_an_unwind_index_outside_the_image_is_none(load: Load) -> None:
    for address in (0x3000_0000, 0x5000):
        header = pack("<IIQQQQQQ", 0x6474E550, 4, 0, address, address, 64, 64, 4)
        assert load(TinyImage(extra_headers=[header])).eh_frame_hdr is None


def load_bytes(load: Load, data: bytearray) -> Image:
    class Ready(TinyImage):
        def build(self) -> bytes:
            return bytes(data)

    return load(Ready())


def test_calling_an_indirect_function_asks_its_resolver_once(load: Load) -> None:
    # inc dword ptr [rip + …]; lea rax, [rip + …]; ret — counts in DATA, answers CODE + 32
    code = (
        bytes.fromhex("ff 05")
        + (DATA - CODE - 6).to_bytes(4, "little")
        + bytes.fromhex("48 8d 05 13 00 00 00 c3")
    )
    # mov eax, [rip + …]; ret
    code = code.ljust(32, b"\xcc") + bytes.fromhex("8b 05")
    code += (DATA - CODE - 32 - 6).to_bytes(4, "little") + b"\xc3"
    image = load(TinyImage(code=code, symbols=[Symbol("count", CODE, type=RESOLVER)]))
    assert [image.call("count") for _ in range(3)] == [1, 1, 1]


def test_an_image_says_what_it_is(load: Load) -> None:
    image = load(TinyImage(soname="libtiny.so.1", needed=["libc.so.6", "libm.so.6"]))
    assert image.soname == "libtiny.so.1"
    assert image.needed == ("libc.so.6", "libm.so.6")
    assert image.build_id is None
    assert image.eh_frame_hdr is None
    assert image.sections() == ()
    assert repr(image) == f"<Image libtiny.so {image.base:#x}-{image.base + 0xB000:#x}>"


def test_negative_arguments_are_passed_as_twos_complement(load: Load) -> None:
    # lea rax, [rdi + rsi]; ret
    image = load(TinyImage(code=bytes.fromhex("48 8d 04 37 c3"), symbols=[Symbol("add", CODE)]))
    assert image.call("add", -3, 5) == 2
    assert image.call("add", -3, 1) == (1 << 64) - 2


def test_the_symbols_of_an_image_outlive_it(load: Load, platform: object) -> None:
    image = load(TinyImage(symbols=[*SEVERAL, Symbol("data", DATA, type=OBJECT)]))
    platform.namespace.unload(image)  # type: ignore[attr-defined]
    assert image.symbols["data"] == image.base + DATA
    with pytest.raises(ImageError, match="is not loaded any more"):
        image.call("symbol_1")


def test_an_import_without_hash_table_is_still_bound(load: Load) -> None:
    tiny = TinyImage(
        symbols=[Symbol("nobody_has_it")],
        relocations=[Relocation(DATA, 6, "nobody_has_it")],
        hashes=(),
    )
    assert load(tiny).missing == ("nobody_has_it",)
