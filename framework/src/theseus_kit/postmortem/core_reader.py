"""Reading a core file back: which image files lay where.

Only what symbolication needs is read: the notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct, error
from typing import BinaryIO

from theseus_kit.errors import UsageError
from theseus_kit.postmortem import notes
from theseus_kit.postmortem.core_file import ET_CORE, PN_XNUM, PT_NOTE
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.record import NamedTuple

_ELF_HEADER = Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = Struct("<IIQQQQQQ")
_SECTION_HEADER = Struct("<IIQQQQIIQQ")
_IDENTIFICATION = b"\x7fELF\x02\x01"
_MOST_NOTES = 64 << 20


class MappedImage(NamedTuple):
    """A file of a core: the addresses its pages lay at, and which page was the first."""

    path: Path
    range: AddressRange
    """From its first page to its last one, gaps included."""
    offset: int
    """Bytes into the file, of the first page."""


def read_images(core: Path) -> list[MappedImage]:
    """The mapped files of a core file, in order of address; any process's, not just our guests'.

    Raises UsageError for a file that cannot be read, is no core file or is damaged.
    """
    try:
        with core.open("rb") as file:
            header = file.read(_ELF_HEADER.size)
            if not header.startswith(_IDENTIFICATION):
                raise UsageError(f"{core}: is no 64-bit ELF core file")
            contents = list(_note_segments(file, header, core))
        files = [
            mapped
            for content in contents
            for kind, note in notes.read_notes(content)
            if kind == notes.NT_FILE
            for mapped in notes.read_mapped_files(note)
        ]
    except OSError as problem:
        raise UsageError(f"{core}: {problem.strerror}") from problem
    except (error, ValueError) as problem:
        raise UsageError(f"{core}: is damaged: {problem}") from problem
    images: dict[str, MappedImage] = {}
    for mapped in sorted(files, key=lambda mapped: mapped.range.start):
        known = images.get(mapped.path)
        if known is None:
            images[mapped.path] = MappedImage(Path(mapped.path), mapped.range, mapped.offset)
        else:
            whole = AddressRange(known.range.start, max(known.range.end, mapped.range.end))
            images[mapped.path] = known._replace(range=whole)
    return list(images.values())


def _note_segments(file: BinaryIO, header: bytes, core: Path) -> Iterator[bytes]:
    _, kind, _, _, _, table, sections, _, _, entry_size, count, *_ = _ELF_HEADER.unpack(header)
    if kind != ET_CORE:
        raise UsageError(f"{core}: is an ELF file but no core file: use --image for an image")
    if entry_size != _PROGRAM_HEADER.size:
        raise ValueError(f"program headers of {entry_size} bytes")
    if count == PN_XNUM:
        file.seek(sections)
        count = _SECTION_HEADER.unpack(file.read(_SECTION_HEADER.size))[7]
    file.seek(table)
    headers = file.read(count * entry_size)
    if len(headers) < count * entry_size:
        raise ValueError("it ends inside its program headers")
    for segment, _, offset, _, _, size, *_ in _PROGRAM_HEADER.iter_unpack(headers):
        if segment == PT_NOTE:
            file.seek(offset)
            yield file.read(min(size, _MOST_NOTES))
