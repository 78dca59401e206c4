"""No damage to a file makes the loader do anything but load it or refuse it by name.

A damaged file that still loads may have any meaning at all, so its own code is not run here:
mapping and relocating must be safe, what the guest then does is the machine's to contain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from struct import pack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit import BUNDLED, GuestError, ImageError, Platform, assemble
from theseus_kit.image import ElfFile, find_needs

from .tiny_image import CODE, DATA, OBJECT, RESOLVER, TLS, Relocation, Symbol, TinyImage

FULL = TinyImage(
    code=bytes.fromhex("48 8d 05 09 00 00 00 c3").ljust(64, b"\x90")
    + b"\xb8\x09\0\0\0\x0f\x05\xc3",
    data=bytes(0x400),
    symbols=[
        Symbol("strlen", version="GLIBC_2.2.5"),
        Symbol("nowhere", version="GLIBC_2.34"),
        Symbol("ours", CODE, version="OURS_1"),
        Symbol("chosen", CODE, type=RESOLVER),
        Symbol("table", DATA + 8, type=OBJECT, size=32),
        Symbol("mine", 8, type=TLS),
    ],
    relocations=[
        *(Relocation(DATA + 8 * n, 8, "", CODE) for n in range(8)),
        Relocation(DATA + 0x100, 1, "table", 4),
        Relocation(DATA + 0x108, 6, "ours"),
        Relocation(DATA + 0x110, 16, "mine"),
        Relocation(DATA + 0x118, 18, "mine"),
        Relocation(DATA + 0x120, 36, "mine"),
        Relocation(DATA + 0x130, 37, "", CODE),
        Relocation(DATA + 0x138, 24, "table"),
    ],
    plt_relocations=[Relocation(DATA + 0x140, 7, "strlen"), Relocation(DATA + 0x148, 7, "nowhere")],
    relr=[DATA + 0x200, 0x7F],
    tls=(DATA, 16, 32, 8),
    hashes=("gnu", "sysv"),
    needed=["libc.so.6"],
    soname="libfull.so",
    relative_count=8,
).build()
META_END = FULL.rindex(b"libfull.so") + 64
DYNAMIC_OFFSET = len(FULL) - 0x1000


@pytest.fixture(scope="module")
def shared() -> Iterator[Platform]:
    with assemble(BUNDLED) as platform:
        yield platform


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "damaged.so"


class _MappedAndRelocated(Exception):
    pass


def load_without_running(platform: Platform, path: Path) -> None:
    """Load a file up to the moment when its own code would run, and take it back."""
    space = platform.namespace
    loader = space._loader

    def bind(image, symbol, version):  # type: ignore[no-untyped-def]
        return space._find(image, symbol, version, {}) or space._stand_in(image, symbol, [])

    def stop(image):  # type: ignore[no-untyped-def]
        for symbol in image.table.exported():
            image.table.lookup(symbol.name)
        raise _MappedAndRelocated

    with pytest.raises((ImageError, _MappedAndRelocated)), ExitStack() as undo:
        loader.load(ElfFile.open(path), bind, stop, lambda: 0, undo)


BOUNDARIES = (0, 1, 7, 8, 0xFFF, 0x1000, 0x3FFF, 0x8000, 1 << 31, 1 << 47, 1 << 63, (1 << 64) - 1)
offsets = st.one_of(
    st.integers(0, 0x3FF),
    st.integers(0x400, META_END - 1),
    st.integers(DYNAMIC_OFFSET, DYNAMIC_OFFSET + 0x1FF),
)
values = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(
        [0, 1, 7, 8, 0xFFF, 0x1000, 0x3FFF, 0x8000, 1 << 31, 1 << 47, 1 << 63, -1 % 2**64]
    ).map(lambda value: pack("<Q", value)),
)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(offsets, values), min_size=1, max_size=4))
def test_a_damaged_image_is_loaded_or_refused(
    shared: Platform, path: Path, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(FULL)
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    path.write_bytes(data[: len(FULL)])
    load_without_running(shared, path)
    assert shared.namespace.images == ()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(length=st.integers(1, len(FULL) - 1))
def test_a_truncated_image_is_loaded_or_refused(shared: Platform, path: Path, length: int) -> None:
    path.write_bytes(FULL[:length])
    load_without_running(shared, path)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(offsets, values), min_size=1, max_size=3))
def test_the_needs_of_a_damaged_file_are_told_or_refused(
    path: Path, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(FULL)
    for offset, value in changes:
        data[offset : offset + len(value)] = value
    path.write_bytes(data)
    with suppress(ImageError):
        find_needs(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=300), with_magic=st.booleans())
def test_garbage_is_refused(path: Path, content: bytes, with_magic: bool) -> None:
    path.write_bytes((b"\x7fELF\x02\x01\x01" if with_magic else b"") + content)
    with pytest.raises(ImageError):
        find_needs(path)


def test_the_undamaged_image_loads(shared: Platform, path: Path) -> None:
    path.write_bytes(FULL)
    image = shared.load(path)
    assert image.symbols["table"] == image.base + DATA + 8
    shared.namespace.unload(image)


def test_damaged_code_is_the_machines_to_contain(shared: Platform, path: Path) -> None:
    data = bytearray(FULL)
    at = data.index(bytes.fromhex("48 8d 05 09"))
    data[at : at + 2] = b"\x0f\x0b"  # ud2, in a resolver function
    path.write_bytes(data)
    with assemble(BUNDLED) as platform, pytest.raises(GuestError):
        platform.load(path)
