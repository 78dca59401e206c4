"""No damage to an object makes the linker do anything but link it or refuse it by name.

As with damaged shared objects, code of what still loads is not run.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import pack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit import BUNDLED, Image, ImageError, Platform, assemble
from theseus_kit.image.opening import open_image
from theseus_kit.image.relocation import Definition

from .tiny_object import (
    ALLOC,
    COMMON,
    INIT_ARRAY,
    NOBITS,
    NOTYPE,
    OBJECT,
    THREAD_LOCAL,
    TLS,
    WEAK,
    WRITE,
    F,
    Relocation,
    Section,
    Symbol,
    TinyObject,
    code,
    words,
)

FRAMES = (
    pack("<IIB", 20, 0, 1)
    + b"zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\x90\x01\0\0"
    + pack("<IIiI", 16, 28, 0, 8)
    + bytes(4)
)
FULL = TinyObject(
    [
        code(
            bytes(64),
            *(Relocation(4 * n, kind, "far") for n, kind in enumerate((2, 4, 9, 41, 42))),
            *(Relocation(24 + 4 * n, kind, "v") for n, kind in enumerate((19, 21, 22, 23, 34))),
            Relocation(48, 20),
        ),
        words(".data", 0, 0, 0, relocations=[Relocation(8 * n, 1, "f") for n in range(3)]),
        words(".data.g", 5),
        Section(".tdata", bytes(16), ALLOC | WRITE | THREAD_LOCAL),
        Section(".bss", flags=ALLOC | WRITE, type=NOBITS, size=64),
        Section(".init_array", bytes(8), ALLOC | WRITE, [Relocation(0, 1, "f")], INIT_ARRAY),
        Section(".eh_frame", FRAMES, ALLOC, [Relocation(32, 2, ".text")]),
        Section(".debug_info", bytes(32), 0, [Relocation(8, 1, "f"), Relocation(16, 10, ".text")]),
    ],
    [
        F,
        Symbol("far", type=NOTYPE),
        Symbol("v", ".tdata", 8, TLS),
        Symbol("c", COMMON, 8, OBJECT),
        Symbol("g", ".data.g", 0, OBJECT, WEAK),
    ],
    groups={"g": [".data.g"]},
).build()


@pytest.fixture(scope="module")
def shared() -> Iterator[Platform]:
    with assemble(BUNDLED) as platform:
        yield platform


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects") / "damaged.o"


class _LinkedAndRelocated(Exception):
    pass


def link_without_running(platform: Platform, path: Path) -> None:
    """Link and load a file up to the moment when its own code would run, and take it back."""
    space = platform.namespace

    def bind(image, symbol, version):  # type: ignore[no-untyped-def]
        found: Definition | None = space._find(image, symbol, version, {})
        return found or space._stand_in(image, symbol, [])

    def stop(image: Image) -> None:
        for symbol in image.table.exported():
            image.loaded_sections.at(image.base + symbol.value, True)
        image.loaded_sections.all_dependencies()
        raise _LinkedAndRelocated

    with pytest.raises((ImageError, _LinkedAndRelocated)) as caught, ExitStack() as undo:
        space._loader.load(open_image(path), bind, stop, lambda: 0, undo)
    if caught.type is ImageError:
        assert str(caught.value).startswith(f"{path}: ")


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(FULL) - 1),
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [0, 1, 7, 0xFFF, 0xFFF1, 0xFFFF, 1 << 31, 1 << 47, 1 << 63, (1 << 64) - 1]
                ).map(lambda value: pack("<Q", value)),
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_object_is_linked_or_refused(
    shared: Platform, path: Path, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(FULL)
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    path.write_bytes(data[: len(FULL)])
    link_without_running(shared, path)
    assert shared.namespace.images == ()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.integers(1, len(FULL) - 1))
def test_an_object_that_is_cut_off_is_refused(shared: Platform, path: Path, size: int) -> None:
    path.write_bytes(FULL[:size])
    with pytest.raises(ImageError, match=r"damaged\.o: "):
        shared.namespace.load(path)


SOURCE = """
#include <stdexcept>
#include <string>
thread_local std::string name = "name";
inline int twice(int x) { if (x > 9) throw std::runtime_error(name); return x * 2; }
int f(int x) { try { return twice(x); } catch (const std::exception &e) { return e.what()[0]; } }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An object with everything that G++ puts into one."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not on this machine")
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "source.cpp").write_text(SOURCE)
    command = [compiler, "-c", "-O1", "-g1", "-fPIC", folder / "source.cpp", "-o", folder / "o.o"]
    subprocess.run(command, check=True, timeout=120)
    return (folder / "o.o").read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.data())
def test_a_damaged_object_of_a_compiler_is_linked_or_refused(
    shared: Platform, path: Path, compiled: bytes, changes: st.DataObject
) -> None:
    data = bytearray(compiled)
    # Half of the file is its tables of symbols, relocations and sections, at its end.
    offsets = st.integers(len(data) // 2, len(data) - 8)
    for offset in changes.draw(st.lists(offsets, min_size=1, max_size=3)):
        data[offset : offset + 8] = changes.draw(st.binary(min_size=8, max_size=8))
    path.write_bytes(data)
    link_without_running(shared, path)
    assert shared.namespace.images == ()
