"""``theseus-kit symbolicate``: addresses of an image and of a core, against addr2line and gdb."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.runtime.wheel import find_wheel

LIBRARY = find_wheel().library


def symbolicate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "theseus_kit.cli", "symbolicate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "COLUMNS": "250"},
    )


def found(*arguments: object) -> list[dict[str, Any]]:
    done = symbolicate("--json", *arguments)
    assert done.returncode == 0, done.stderr
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def refused(*arguments: object) -> str:
    done = symbolicate(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


@pytest.fixture(scope="module")
def text_symbols() -> list[tuple[int, str]]:
    """Some functions of the library, by binutils."""
    reader = shutil.which("nm") or pytest.skip("nm is not installed")
    listed = subprocess.run([reader, LIBRARY], capture_output=True, text=True, check=True).stdout
    symbols = re.findall(r"^([0-9a-f]{16}) [Tt] (\S+)$", listed, re.MULTILINE)
    addresses = [address for address, _ in symbols]
    alone = [(int(at, 16), name) for at, name in symbols if addresses.count(at) == 1]
    return alone[:: len(alone) // 20]


@pytest.mark.parametrize("base", [0, 0x7F1234560000])
def test_functions_of_an_image_have_the_names_binutils_gives_them(
    text_symbols: list[tuple[int, str]], base: int
) -> None:
    addresses = [base + address for address, _ in text_symbols]
    listed = found("--image", LIBRARY, "--base", hex(base), *map(hex, addresses))
    assert [entry["address"] for entry in listed] == addresses
    names = [entry["symbols"][-1]["name"] for entry in listed]
    assert names == [name for _, name in text_symbols]
    assert all(entry["symbols"][-1]["offset"] == 0 for entry in listed)
    assert all(entry["symbols"][-1]["address"] == entry["address"] for entry in listed)


def test_a_table_names_image_section_symbol_and_offset() -> None:
    (entry,) = found("--image", LIBRARY, "0")
    with assemble() as platform:
        image = platform.load(LIBRARY)
        address = image.symbol("wasmtime_func_call") - image.base
    output = symbolicate("--image", LIBRARY, hex(address + 5)).stdout
    (row,) = [line for line in output.splitlines() if "wasmtime_func_call" in line]
    for text in (hex(address + 5), "_libwasmtime.so", ".text", "0x5"):
        assert text in row
    assert entry["address"] == 0


def test_an_address_outside_of_the_image_is_unknown() -> None:
    assert found("--image", LIBRARY, "0xffffffff0000") == [
        {"address": 0xFFFFFFFF0000, "symbols": []}
    ]
    assert "unknown" in symbolicate("--image", LIBRARY, "ffffffff0000").stdout


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A core of a platform with the library, and where some of its functions lay."""
    path = tmp_path_factory.mktemp("core") / "core"
    with assemble() as platform:
        image = platform.load(LIBRARY)
        names = ("wasmtime_func_call", "wasm_engine_new")
        addresses = {name: image.symbol(name) for name in names}
        with pytest.raises(GuestKilled) as caught:
            platform.machine.call(image.symbol("wasm_engine_delete"), (0x1000,))
        platform.write_core(path, caught.value)
    return path, addresses


def test_addresses_of_a_core_are_named_by_the_images_it_lists(
    core: tuple[Path, dict[str, int]],
) -> None:
    path, addresses = core
    listed = found("--core", path, *(hex(address + 1) for address in addresses.values()))
    assert [entry["symbols"][0]["name"] for entry in listed] == list(addresses)
    assert [entry["symbols"][0]["address"] for entry in listed] == list(addresses.values())


def test_an_image_that_is_gone_leaves_its_addresses_unnamed(tmp_path: Path) -> None:
    copy = tmp_path / "gone.so"
    shutil.copy(LIBRARY, copy)
    with assemble() as platform:
        address = platform.load(copy).symbol("wasmtime_func_call")
        platform.write_core(tmp_path / "core")
    copy.unlink()
    done = symbolicate("--json", "--core", tmp_path / "core", hex(address))
    assert done.returncode == 0
    assert json.loads(done.stdout) == [{"address": address, "symbols": []}]
    assert "gone.so" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["0x10"], "say where the addresses are from: --core FILE or --image FILE"),
        (["0x10", "--image", LIBRARY, "--core", "core"], "say where the addresses are from"),
        (["main", "--image", LIBRARY], "ADDRESS 'main': write it in hexadecimal"),
        (["1" + "0" * 16, "--image", LIBRARY], "an address has 64 bits"),
        (["0x10", "--core", "core", "--base", "0"], "--base belongs to --image"),
        (["0x10", "--core", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["0x10", "--core", LIBRARY], "is an ELF file but no core file: use --image"),
        (["0x10", "--core", __file__], "is no 64-bit ELF core file"),
        (["0x10", "--image", __file__], "not an ELF file"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(arguments: list[Any], expected: str) -> None:
    message = refused(*arguments)
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("size", [10, 63, 100, 300])
def test_a_core_that_is_cut_off_is_refused_or_names_nothing(
    core: tuple[Path, dict[str, int]], tmp_path: Path, size: int
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(core[0].read_bytes()[:size])
    done = symbolicate("--json", "--core", cut, "0x10")
    assert "Traceback" not in done.stderr
    assert done.returncode == 2 or json.loads(done.stdout) == [{"address": 16, "symbols": []}]


INLINED = """
static inline __attribute__((always_inline)) int deepest(volatile int *p)
{
    return p[0] / p[1];
}
static inline __attribute__((always_inline)) int deeper(volatile int *p)
{
    return deepest(p) + 1;
}
int outermost(volatile int *p)
{
    return deeper(p) * 3;
}
"""


def test_lines_and_inlined_functions_are_those_of_addr2line(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or pytest.skip("no C compiler is installed")
    oracle = shutil.which("addr2line") or pytest.skip("addr2line is not installed")
    source, image = tmp_path / "inlined.c", tmp_path / "inlined.so"
    source.write_text(INLINED)
    subprocess.run([compiler, "-g", "-O2", "-shared", "-fPIC", "-o", image, source], check=True)
    with assemble() as platform:
        loaded = platform.load(image)
        start = loaded.symbol("outermost") - loaded.base
    addresses = [hex(start + offset) for offset in range(0, 12)]
    expected = [
        subprocess.run(
            [oracle, "-f", "-i", "-e", image, address], capture_output=True, text=True, check=True
        ).stdout.split()
        for address in addresses
    ]
    ours = [
        [
            text
            for symbol in entry["symbols"]
            for text in (symbol["name"], f"{symbol['file']}:{symbol['line']}")
        ]
        for entry in found("--image", image, *addresses)
    ]
    assert ours == expected
    assert any(len(line) == 6 for line in ours)
