"""Files that are no loadable image are refused by one line that names the file and the fault."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from struct import pack, pack_into

import pytest

from theseus_kit import ImageError
from theseus_kit.image.elf import ElfFile

from .tiny_image import DATA, DYNAMIC, TinyImage

_FIRST_LOAD = 64
_PROGRAM_HEADER = 56


def _changed(layout: str, offset: int, value: int) -> Callable[[bytearray], None]:
    return lambda data: pack_into(layout, data, offset, value)


def _load_field(index: int, layout: str, offset: int, value: int) -> Callable[[bytearray], None]:
    return _changed(layout, _FIRST_LOAD + index * _PROGRAM_HEADER + offset, value)


REFUSED = {
    "a 32-bit ARM file": (
        lambda data: data.__setitem__(slice(4, 20), pack("<B13xH", 1, 40)[:16]),
        r"32-bit file",
    ),
    "a 32-bit file": (_changed("<B", 4, 1), "is a 32-bit file"),
    "an unknown class": (_changed("<B", 4, 7), "unknown ELF class 7"),
    "big endian": (_changed("<B", 5, 2), "big endian"),
    "FreeBSD": (_changed("<B", 7, 9), "another operating system"),
    "a relocatable object": (_changed("<H", 16, 1), "is a relocatable object"),
    "an executable": (_changed("<H", 16, 2), "is an executable"),
    "a core file": (_changed("<H", 16, 4), "is a core file"),
    "AArch64": (_changed("<H", 18, 183), "another machine \\(AArch64\\)"),
    "an unknown machine": (_changed("<H", 18, 9999), "number 9999"),
    "no program headers": (_changed("<H", 56, 0), "has no program headers"),
    "program headers far away": (_changed("<Q", 32, 1 << 60), "is cut off"),
    "odd program headers": (_changed("<H", 54, 32), "program headers of 32 bytes"),
    "too many program headers": (_changed("<H", 56, 0xFFFF), "more program headers"),
    "an absurd p_memsz": (_load_field(2, "<Q", 40, 1 << 62), "ends beyond user addresses"),
    "p_filesz above p_memsz": (_load_field(0, "<Q", 40, 16), "more bytes in the file"),
    "p_offset behind the end": (_load_field(0, "<Q", 8, 1 << 40), "beyond the file's end"),
    "no power of two": (_load_field(0, "<Q", 48, 0x3000), "no power of two"),
    "a crooked offset": (_load_field(0, "<Q", 8, 8), "differ within a page"),
    "overlapping segments": (_load_field(1, "<Q", 16, 0), "overlaps the one before it"),
    "segments out of order": (_load_field(0, "<Q", 16, 0x9000), "out of order"),
    "writable code": (_load_field(1, "<I", 4, 7), "both writable and executable"),
    "nothing dynamic": (_load_field(4, "<I", 0, 4), "has no dynamic section"),
    "a dynamic section outside": (_load_field(4, "<Q", 16, 0x5000_0000), "the dynamic section"),
    "an absurd alignment": (_load_field(0, "<Q", 48, 1 << 63), "no power of two"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_with_wrong_headers_is_refused_by_name(
    name: str, tmp_path: Path, load: Callable[..., object], platform: object
) -> None:
    change, message = REFUSED[name]
    data = bytearray(TinyImage().build())
    change(data)
    path = tmp_path / "broken.so"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=f"^{re.escape(str(path))}: .*{message}") as caught:
        platform.load(path)  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x7fELF", "is cut off inside its ELF header"),
        (b"MZ" + bytes(100), "is not an ELF file"),
        (b"\0asm\x01\0\0\0", "is not an ELF file"),
    ],
)
def test_a_file_that_is_no_elf_file_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.so"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        ElfFile.open(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened: No such file"):
        ElfFile.open(tmp_path / "nothing.so")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not a regular file"):
        ElfFile.open(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="is not a regular file"):
        ElfFile.open(tmp_path / "pipe")


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        ElfFile.open("lib\0tiny.so")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = TinyImage().build()
    last_byte_needed = len(data.rstrip(b"\0"))
    for length in [*range(1, 0x400, 7), *range(0x400, last_byte_needed, 97)]:
        (tmp_path / "cut.so").write_bytes(data[:length])
        with pytest.raises(ImageError):
            ElfFile.open(tmp_path / "cut.so").reader()


def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "broken.so").write_bytes(b"garbage")
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(5):
        with pytest.raises(ImageError):
            ElfFile.open(tmp_path / "broken.so")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_addresses_and_file_offsets_differ_in_the_tiny_image(tmp_path: Path) -> None:
    with ElfFile.open(TinyImage().write(tmp_path / "tiny.so")) as elf:
        data = next(s for s in elf.loads if s.address == DATA)
        dynamic = next(s for s in elf.loads if s.address == DYNAMIC)
    assert data.offset != data.address
    assert dynamic.offset != dynamic.address
