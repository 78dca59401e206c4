"""Names of addresses and addresses of names, against pyelftools and by hand-made corner cases."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
import wasmtime
from elftools.elf.elffile import ELFFile

from theseus_kit.errors import AlreadyRegisteredError, NotRegisteredError
from theseus_kit.image import ElfFile
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.symbols import RuntimeCode, Symbol
from theseus_kit_backtrace.symbol_table import ElfSymbols
from theseus_kit_backtrace.symbolizer import demangled

SOURCE = """
static int counter = 1;
int exported_variable = 2;
static __attribute__((noinline)) int local_function(int x) { return x * counter; }
int exported_function(int x) { return local_function(x) + exported_variable; }
int alias_of_it(int x) __attribute__((weak, alias("exported_function")));
__asm__(".text\\n.type sizeless, @function\\nsizeless: nop\\nnop\\nafter: ret\\n");
__asm__(".text\\n.type around, @function\\naround: nop\\ninside: nop\\nret\\n.size around, 3\\n");
"""


@pytest.fixture(scope="module")
def library():
    """The guest library's file, as large a symbol table as any."""
    path = next(Path(wasmtime.__file__).parent.glob("linux-x86_64/*.so"), None)
    if path is None:
        pytest.skip("the wasmtime package of this host has no Linux x86-64 library")
    return path


@pytest.fixture(scope="module")
def compiled(compile_image):
    return compile_image("symbols", SOURCE, "-O1")


def symbol_of(platform, image, name, offset=0):
    address = platform.hooks.symbol_lookup(name=name).address + offset
    (symbol,) = platform.hooks.symbolicate(address=address)
    return symbol


def test_every_function_of_the_guest_library_is_named_as_pyelftools_names_it(library):
    with library.open("rb") as file:
        entries = [
            (entry["st_value"], entry["st_size"], entry.name)
            for entry in ELFFile(file).get_section_by_name(".symtab").iter_symbols()
            if entry["st_info"]["type"] == "STT_FUNC" and entry["st_shndx"] != "SHN_UNDEF"
        ]
    names = {}
    for address, _, name in entries:
        names.setdefault(address, set()).add(name)
    with ElfFile.open(library) as elf:
        symbols = ElfSymbols(elf.contents, elf.sections())
        for address, size, _ in random.Random(1).sample(entries, 3000):
            found = symbols.at(address + size // 2)
            assert found.name in names[found.address]
            assert found.address <= address + size // 2 < found.address + found.size
            assert symbols.named(found.name).name == found.name


@pytest.mark.parametrize("name", ["exported_function", "local_function", "exported_variable"])
def test_a_symbol_is_found_by_name_and_its_addresses_lead_back(fresh_platform, compiled, name):
    image = fresh_platform.load(compiled)
    found = fresh_platform.hooks.symbol_lookup(name=name)
    assert found.image == image.name == "symbols.so"
    for offset in (0, found.size - 1):
        assert symbol_of(fresh_platform, image, name, offset) == Symbol(
            found.address, offset, found.size, name, None, image.name, found.section
        )


def test_an_exported_symbols_address_is_the_images_own(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    found = fresh_platform.hooks.symbol_lookup(name="exported_function")
    assert found.address == image.symbols["exported_function"]
    assert found.section == ".text"


def test_of_two_names_for_an_address_the_global_one_wins_over_the_weak(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    assert symbol_of(fresh_platform, image, "alias_of_it").name == "exported_function"


def test_a_symbol_without_a_size_reaches_to_the_next(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    assert symbol_of(fresh_platform, image, "sizeless", 1).name == "sizeless"
    assert symbol_of(fresh_platform, image, "sizeless", 2).name == "after"


def test_a_label_inside_a_sized_function_does_not_take_its_rest(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    assert symbol_of(fresh_platform, image, "around", 2).name == "around"


def test_an_address_that_no_symbol_holds_is_named_by_its_section(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    dynamic = next(section for section in image.sections() if section.name == ".dynstr")
    (found,) = fresh_platform.hooks.symbolicate(address=image.base + dynamic.address + 3)
    assert (found.name, found.section, found.offset) == (None, ".dynstr", 3)


@pytest.mark.parametrize("address", [0, 1, (1 << 64) - 1, 1 << 47])
def test_an_address_of_no_image_has_no_symbols(fresh_platform, address):
    assert list(fresh_platform.hooks.symbolicate(address=address)) == []


@pytest.mark.parametrize("name", ["", "no_such_symbol", "exported", "\udcff", "a" * 5000])
def test_an_unknown_name_is_not_found(fresh_platform, compiled, name):
    fresh_platform.load(compiled)
    assert fresh_platform.hooks.symbol_lookup(name=name) is None


def test_an_unloaded_images_symbols_go_with_it(fresh_platform, compiled):
    image = fresh_platform.load(compiled)
    address = fresh_platform.hooks.symbol_lookup(name="exported_function").address
    fresh_platform.namespace.unload(image)
    assert fresh_platform.hooks.symbol_lookup(name="exported_function") is None
    assert list(fresh_platform.hooks.symbolicate(address=address)) == []


@pytest.mark.skipif(shutil.which("strip") is None, reason="needs strip")
def test_a_stripped_image_is_named_by_its_dynamic_symbols(fresh_platform, compiled, tmp_path):
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", "-o", stripped, compiled], check=True)
    image = fresh_platform.load(stripped)
    assert symbol_of(fresh_platform, image, "exported_function", 1).name == "exported_function"
    assert fresh_platform.hooks.symbol_lookup(name="local_function") is None


def with_section_headers_at(path, target, offset):
    contents = bytearray(path.read_bytes())
    contents[0x28:0x30] = offset.to_bytes(8, "little")  # e_shoff
    if offset == 0:
        contents[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    target.write_bytes(contents)
    return target


@pytest.mark.parametrize("offset", [0, 1 << 40, 3], ids=["none", "outside the file", "garbage"])
def test_an_image_whose_section_headers_are_gone_is_named_by_its_segments(
    fresh_platform, compiled, tmp_path, offset
):
    image = fresh_platform.load(with_section_headers_at(compiled, tmp_path / "bare.so", offset))
    address = image.symbols["exported_function"]
    (found,) = fresh_platform.hooks.symbolicate(address=address + 1)
    assert (found.name, found.offset, found.section) == ("exported_function", 1, None)


def test_run_time_code_is_named_until_it_is_unregistered(fresh_platform):
    hooks = fresh_platform.hooks
    text = AddressRange(0x5000, 0x6000)
    function = Symbol(0x5100, 0, 0x40, "wasm_function_1")
    hooks.symbols_register(code=RuntimeCode(text, "module", (function,)))
    (named,) = hooks.symbolicate(address=0x5110)
    (unnamed,) = hooks.symbolicate(address=0x5FFF)
    assert (named.name, named.offset) == ("wasm_function_1", 0x10)
    assert (unnamed.name, unnamed.offset) == ("module", 0xFFF)
    assert hooks.symbol_lookup(name="wasm_function_1") == function
    hooks.symbols_unregister(text_start=0x5000)
    assert list(hooks.symbolicate(address=0x5110)) == []


@pytest.mark.parametrize(("start", "end"), [(0x5000, 0x6000), (0x5FFF, 0x7000), (0x4000, 0x5001)])
def test_run_time_code_that_overlaps_registered_code_is_refused(fresh_platform, start, end):
    hooks = fresh_platform.hooks
    hooks.symbols_register(code=RuntimeCode(AddressRange(0x5000, 0x6000), "one"))
    with pytest.raises(AlreadyRegisteredError, match="one"):
        hooks.symbols_register(code=RuntimeCode(AddressRange(start, end), "two"))
    hooks.symbols_register(code=RuntimeCode(AddressRange(0x6000, 0x7000), "beside"))


@pytest.mark.parametrize("start", [0x5001, 0x4FFF, 0])
def test_unregistering_what_is_not_registered_is_refused(fresh_platform, start):
    hooks = fresh_platform.hooks
    hooks.symbols_register(code=RuntimeCode(AddressRange(0x5000, 0x6000), "one"))
    with pytest.raises(NotRegisteredError):
        hooks.symbols_unregister(text_start=start)


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("_RNvCs15kBYyAo9fc_7mycrate3foo", "mycrate::foo"),
        ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place"),
        ("_ZNSt6vectorIiSaIiEE4pushEi", "std::vector<int, std::allocator<int>>::push(int)"),
        ("wasm_engine_new", None),
        ("foo__1xi", None),
        ("_ZZZ", None),
        (None, None),
    ],
)
def test_rust_and_cpp_names_are_demangled_and_others_left(name, readable):
    assert demangled(name) == readable
