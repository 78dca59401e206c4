"""The needs of an image file: what it imports, what it asks the kernel, and who answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from theseus_kit import ImageError, Platform
from theseus_kit.image import find_needs

from .test_symbols import wasmtime_library
from .tiny_image import CODE, DATA, OBJECT, TLS, WEAK, Relocation, Symbol, TinyImage

WANTING = TinyImage(
    code=bytes.fromhex("b8 09 00 00 00 0f 05 89 f8 0f 05 c3"),
    needed=["libc.so.6"],
    symbols=[
        Symbol("malloc", version="GLIBC_2.2.5"),
        Symbol("environ", type=OBJECT),
        Symbol("maybe", type=0, binding=WEAK),
        Symbol("ours", CODE),
        Symbol("count", type=TLS),
    ],
)


def test_imports_are_listed_with_version_kind_and_provider(tmp_path: Path) -> None:
    path = WANTING.write(tmp_path / "wanting.so")
    needs = find_needs(path, {"malloc": "tlibc"}.get)
    assert needs.image == "wanting.so"
    assert needs.libraries == ("libc.so.6",)
    assert [tuple(need) for need in needs.symbols] == [
        ("count", None, "tls", False, None, None),
        ("environ", None, "object", False, None, None),
        ("malloc", "GLIBC_2.2.5", "function", False, "libtiny.so", "tlibc"),
        ("maybe", None, "unknown", True, None, None),
    ]


def test_system_calls_are_listed_by_number_with_their_sites(tmp_path: Path) -> None:
    path = WANTING.write(tmp_path / "wanting.so")
    needs = find_needs(path, system_call_provider={9: "tlibc"}.get)
    known, unknown = needs.system_calls
    assert (known.number, known.name, known.provider) == (9, "mmap", "tlibc")
    assert [site.address for site in known.sites] == [CODE + 5]
    assert (unknown.number, unknown.name, unknown.provider) == (None, "(number not constant)", None)


def test_only_what_is_missing_can_be_asked_for(tmp_path: Path) -> None:
    path = WANTING.write(tmp_path / "wanting.so")
    missing = find_needs(path, {"malloc": "tlibc"}.get, {9: "tlibc"}.get).only_missing()
    assert [need.name for need in missing.symbols] == ["count", "environ"]
    assert [call.number for call in missing.system_calls] == [None]


def test_needs_are_plain_data_for_json(tmp_path: Path) -> None:
    needs = find_needs(WANTING.write(tmp_path / "wanting.so"), {"malloc": "tlibc"}.get)
    data = json.loads(json.dumps(needs.as_json()))
    assert data["symbols"][2]["provider"] == "tlibc"
    assert data["system_calls"][0]["sites"][0]["address"] == CODE + 5


def test_an_image_that_needs_nothing_has_no_needs(tmp_path: Path) -> None:
    needs = find_needs(TinyImage().write(tmp_path / "modest.so"))
    assert (needs.symbols, needs.system_calls) == ((), ())


def test_an_import_that_no_hash_table_counts_is_listed(tmp_path: Path) -> None:
    tiny = TinyImage(
        symbols=[Symbol("wanted")], relocations=[Relocation(DATA, 6, "wanted")], hashes=()
    )
    assert [n.name for n in find_needs(tiny.write(tmp_path / "t.so")).symbols] == ["wanted"]


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no image")
    with pytest.raises(ImageError, match="is not an ELF file"):
        find_needs(tmp_path / "text.so")


def test_the_imports_of_libwasmtime_are_those_pyelftools_sees() -> None:
    path = wasmtime_library()
    with path.open("rb") as stream:
        dynsym = ELFFile(stream).get_section_by_name(".dynsym")
        expected = {
            symbol.name: symbol["st_info"]["bind"] == "STB_WEAK"
            for symbol in dynsym.iter_symbols()
            if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
        }
    needs = find_needs(path)
    assert {need.name: need.weak for need in needs.symbols} == expected
    malloc = next(need for need in needs.symbols if need.name == "malloc")
    assert (malloc.version, malloc.library) == ("GLIBC_2.2.5", "libc.so.6")


def test_a_platform_names_the_plugins_that_answer(platform: Platform) -> None:
    needs = find_needs(
        wasmtime_library(), platform.namespace.provider_of, platform.system_calls.provider_of
    )
    providers = {need.name: need.provider for need in needs.symbols}
    assert providers["malloc"] == "tlibc"
    calls = {call.name: call.provider for call in needs.system_calls}
    assert calls["mmap"] == "tlibc"
