"""Other images than Wasmtime: zlib where it is installed, and C of our own where gcc is."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from theseus_kit import (
    GuestKilled,
    ImageError,
    MissingSymbolError,
    Platform,
    assemble,
)
from theseus_kit.values.exceptions import KilledByException, Panicked
from theseus_kit.values.memory import MapRequest

PLACES = ("/lib/x86_64-linux-gnu/libz.so.1", "/usr/lib64/libz.so.1", "/usr/lib/libz.so.1")
ZLIB = next((path for path in map(Path, PLACES) if path.exists()), None)


@pytest.fixture
def fresh(machine: str):  # type: ignore[no-untyped-def]
    with assemble(machine=machine) as platform:
        yield platform


def compile_image(folder: Path, source: str, *flags: str) -> Path:
    """Compile C to a shared object; skips where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (folder / "image.c").write_text(source)
    image = folder / "image.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", *flags, "image.c", "-o", "image.so"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return image


@pytest.mark.skipif(ZLIB is None, reason="zlib is not installed")
def test_zlib_compresses_as_the_host_s_does(fresh: Platform) -> None:
    assert ZLIB is not None
    image = fresh.load(ZLIB)
    text = b"what a port stands on " * 200
    buffer = fresh.hooks.memory_map(request=MapRequest(1 << 16)).base
    memory = fresh.machine.memory
    memory.write(buffer, text)
    assert image.call("crc32", 0, buffer, len(text)) == zlib.crc32(text)
    target, length = buffer + (1 << 15), buffer + (1 << 14)
    memory.write_u64(length, 1 << 14)
    assert image.call("compress", target, length, buffer, len(text)) == 0
    assert zlib.decompress(memory.read(target, memory.read_u64(length))) == text


def test_constructors_run_and_thread_local_variables_keep_their_values(
    fresh: Platform, tmp_path: Path
) -> None:
    image = fresh.load(
        compile_image(
            tmp_path,
            """
            static __thread int counter = 40;
            static int started;
            __attribute__((constructor)) static void start(void) { started = 1; }
            int next(void) { return started + ++counter; }
            """,
        )
    )
    assert [image.call("next"), image.call("next")] == [42, 43]


def test_a_stack_protected_function_finds_its_canary_and_a_smashed_stack_is_noticed(
    fresh: Platform, tmp_path: Path
) -> None:
    image = fresh.load(
        compile_image(
            tmp_path,
            """
            #include <string.h>
            int fill(int size) {
                volatile char buffer[16];
                for (int i = 0; i < size; i++) buffer[i] = 1;
                return buffer[3];
            }
            """,
            "-fstack-protector-all",
        )
    )
    assert image.call("fill", 16) == 1
    with pytest.raises(GuestKilled) as raised:
        image.call("fill", 32)
    assert isinstance(raised.value.reason, Panicked)
    assert "stack" in str(raised.value)


def test_a_wild_store_kills_the_guest_with_the_address_and_a_backtrace(
    fresh: Platform, tmp_path: Path
) -> None:
    image = fresh.load(
        compile_image(
            tmp_path,
            """
            __attribute__((noinline)) void poke(char *where) { *where = 1; }
            int outer(char *where) { poke(where); return 1; }
            """,
            "-O0",  # every function has a frame for the walker to find
        )
    )
    with pytest.raises(GuestKilled) as raised:
        image.call("outer", 0x1234)
    killed = raised.value
    assert killed.reason == KilledByException(0x0E)
    assert killed.context is not None
    assert killed.context.page_fault is not None
    assert killed.context.page_fault.accessed_address == 0x1234
    names = [entry.symbols[0].name for entry in killed.backtrace if entry.symbols]
    assert names[:2] == ["poke", "outer"]


def test_a_guest_that_aborts_is_killed_and_python_lives(fresh: Platform, tmp_path: Path) -> None:
    image = fresh.load(
        compile_image(
            tmp_path, "#include <stdlib.h>\nint give_up(int now) { if (now) abort(); return 1; }"
        )
    )
    assert image.call("give_up", 0) == 1
    with pytest.raises(GuestKilled, match="abort") as raised:
        image.call("give_up", 1)
    names = [symbol.name for entry in raised.value.backtrace for symbol in entry.symbols]
    assert names[:2] == ["__abort", "give_up"]


MISSING = "int nobody_provides_this(int); int ask(void) { return nobody_provides_this(1); }"


def test_a_missing_symbol_is_refused_when_strict(fresh: Platform, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nobody_provides_this"):
        fresh.load(compile_image(tmp_path, MISSING), strict=True)


def test_a_missing_symbol_names_itself_when_called(fresh: Platform, tmp_path: Path) -> None:
    image = fresh.load(compile_image(tmp_path, MISSING))
    with pytest.raises(MissingSymbolError, match=r"image\.so called nobody_provides_this"):
        image.call("ask")


def test_an_image_resolves_its_imports_in_images_loaded_before_it(
    fresh: Platform, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    fresh.load(compile_image(tmp_path / "one", "int base(void) { return 40; }"))
    image = fresh.load(
        compile_image(tmp_path / "two", "int base(void); int sum(void) { return base() + 2; }")
    )
    assert image.call("sum") == 42
