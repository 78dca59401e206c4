"""Writing an ELF core file of a platform: memory, registers of every task, images.

::

    file                                   memory
    ┌──────────────────────────────┐
    │ ELF header: ET_CORE          │
    │ PT_NOTE, PT_LOAD, PT_LOAD …  │ ──→  one PT_LOAD for each readable region
    ├──────────────────────────────┤
    │ notes (``notes.py``)         │
    ├──────────────────────────────┤ page-aligned
    │ the regions' bytes           │       pages of zeros are holes of the file
    └──────────────────────────────┘

``gdb IMAGE CORE`` opens it: the auxiliary vector says where IMAGE's program headers lie, from
which gdb concludes how far it was moved. Only the integer registers are there; nothing keeps the
vector registers of a frame.

Source: System V ABI, chapter 5; gABI for PN_XNUM; core(5).
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, BinaryIO

from theseus_kit.errors import GuestKilled, UsageError
from theseus_kit.postmortem import notes
from theseus_kit.postmortem.host_pages import HostPages
from theseus_kit.postmortem.signals import Signal, signal_of_exception, signal_of_reason
from theseus_kit.values.exceptions import ExceptionContext, Registers
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection, page_ceil, page_floor
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.image import Image
    from theseus_kit.platform import Platform
    from theseus_kit.task import Task
    from theseus_kit.values.memory import Region

_ELF_HEADER = Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = Struct("<IIQQQQQQ")
_SECTION_HEADER = Struct("<IIQQQQIIQQ")
_IDENTIFICATION = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
ET_CORE, _EM_X86_64 = 4, 62
PT_LOAD, PT_NOTE = 1, 4
PN_XNUM = 0xFFFF
_ENTRY_OFFSET, _HEADERS_OFFSET, _HEADER_COUNT_OFFSET = 24, 32, 56
_CHUNK = 1 << 16
_ZEROS = bytes(_CHUNK)


class _State(NamedTuple):
    """The registers a task stopped with."""

    registers: Registers
    is_exact: bool
    signal: Signal
    task: Task
    """The one that it was; debuggers show it first."""


def write_core(
    platform: Platform,
    path: str | Path,
    cause: GuestKilled | ExceptionContext | None = None,
    program: Image | None = None,
) -> None:
    """Write an ELF core file of a platform, as it is or as a kill left it.

    ``cause`` is why: the error that a killed guest's caller got, or the exception that a handler
    is answering; its registers become those of the task that was killed, or of the current one.
    Without one they are those of :meth:`Platform.backtrace`. ``program`` is the image that a
    debugger is to be started with; by default the innermost one of the backtrace, or else the first
    one loaded.

    The file appears whole or not at all. Raises UsageError where it cannot be written.
    """
    target = Path(path)
    state = _state(platform, cause)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _write(file, platform, state, program or _program(platform, state))
            temporary.replace(target)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as error:
        raise UsageError(
            f"cannot write a core file to {target}: {error.strerror}: name another file"
        ) from error


def _state(platform: Platform, cause: GuestKilled | ExceptionContext | None) -> _State:
    machine, current = platform.machine, platform.tasks.current
    if isinstance(cause, ExceptionContext):
        return _State(cause.registers, True, signal_of_exception(cause), current)
    if cause is None:
        registers = platform.tasks.current_registers() or Registers()
        return _State(registers, machine.registers_are_exact, Signal(0), current)
    task = cause.task or current
    if cause.context is not None:
        return _State(cause.context.registers, True, signal_of_exception(cause.context), task)
    return _State(cause.registers or Registers(), False, signal_of_reason(cause.reason), task)


def _program(platform: Platform, state: _State) -> Image | None:
    namespace = platform.namespace
    frames = platform.hooks.unwind_frames(
        registers=state.registers, stack=state.task.stack, is_exact=state.is_exact
    )
    for frame in frames:
        image = namespace.image_at(frame.lookup_address)
        if image is not None:
            return image
    return next(iter(namespace.images), None)


def _write(file: BinaryIO, platform: Platform, state: _State, program: Image | None) -> None:
    territory = platform.machine.memory.territory
    regions: list[Region] = [
        region
        for region in platform.hooks.memory_query_range(
            address=territory.start, size=territory.size
        )
        if region.is_readable
    ]
    content = b"".join(_notes(platform, state, program))
    # Two headers of segments more than regions: the notes', and room for PN_XNUM's section.
    notes_offset = _ELF_HEADER.size + _PROGRAM_HEADER.size * (len(regions) + 1)
    notes_offset += _SECTION_HEADER.size
    data_offset = page_ceil(notes_offset + len(content))
    file.write(program_headers(regions, notes_offset, len(content), data_offset))
    file.seek(notes_offset)
    file.write(content)
    view = platform.machine.memory.view
    with HostPages() as pages:
        for region in regions:
            for run in pages.touched(region.range):
                _write_run(file, data_offset - region.base, view, run)
            data_offset += region.size
    file.truncate(data_offset)


def _write_run(file: BinaryIO, shift: int, view: memoryview, run: AddressRange) -> None:
    for start in range(run.start, run.end, _CHUNK):
        data = bytes(view[start : min(start + _CHUNK, run.end)])
        if data != (_ZEROS if len(data) == _CHUNK else bytes(len(data))):
            file.seek(start + shift)
            file.write(data)


def program_headers(
    regions: list[Region], notes_offset: int, notes_size: int, data_offset: int
) -> bytes:
    count = len(regions) + 1
    extended = count >= PN_XNUM
    sections = notes_offset - _SECTION_HEADER.size if extended else 0
    parts = [
        _ELF_HEADER.pack(
            _IDENTIFICATION,
            *(ET_CORE, _EM_X86_64, 1),
            *(0, _ELF_HEADER.size, sections, 0),
            *(_ELF_HEADER.size, _PROGRAM_HEADER.size, PN_XNUM if extended else count),
            *(_SECTION_HEADER.size if extended else 0, int(extended), 0),
        ),
        _PROGRAM_HEADER.pack(PT_NOTE, 0, notes_offset, 0, 0, notes_size, 0, 4),
    ]
    for region in regions:
        parts.append(
            _PROGRAM_HEADER.pack(
                PT_LOAD,
                _segment_flags(region.protection),
                data_offset,
                *(region.base, 0),
                *(region.size, region.size),
                PAGE_SIZE,
            )
        )
        data_offset += region.size
    if extended:  # the number of program headers is in the first section header's sh_info
        parts.append(_SECTION_HEADER.pack(0, 0, 0, 0, 0, 0, 0, count, 0, 0))
    return b"".join(parts)


def _segment_flags(protection: Protection) -> int:
    """PF_R 4, PF_W 2, PF_X 1."""
    return sum(
        flag
        for flag, wanted in ((4, Protection.READ), (2, Protection.WRITE), (1, Protection.EXECUTE))
        if protection & wanted
    )


def _notes(platform: Platform, state: _State, program: Image | None) -> Iterator[bytes]:
    killed = state.task
    registers = state.registers
    if not state.is_exact and registers.rip:
        # A return address: a debugger is to look into the call, not behind it, where another
        # function may begin.
        registers = registers.copy()
        registers.rip -= 1
    signal = state.signal
    yield notes.task_status(killed.id, registers, killed.thread.fs_base, signal.number)
    name = program.name if program is not None else "guest"
    yield notes.process_information(killed.id, name, f"{name} on {platform.machine.name}")
    if signal.number:
        yield notes.signal_information(*signal)
    if program is not None:
        yield notes.auxiliary_vector(_auxiliary_entries(program))
    yield notes.mapped_files(list(_files(platform.namespace.images)))
    for task in platform.tasks:
        if task is not killed:
            suspended = platform.tasks.registers_of(task) or Registers()
            yield notes.task_status(task.id, suspended, task.thread.fs_base, 0)


def _auxiliary_entries(program: Image) -> Iterable[tuple[int, int]]:
    (entry,) = unpack_from("<Q", program.file, _ENTRY_OFFSET)
    (offset,) = unpack_from("<Q", program.file, _HEADERS_OFFSET)
    (count,) = unpack_from("<H", program.file, _HEADER_COUNT_OFFSET)
    headers = [
        program.base + segment.address + offset - segment.offset
        for segment in program.segments
        if segment.offset <= offset < segment.offset + segment.file_size
    ]
    if headers:
        yield notes.AT_PHDR, headers[0]
        yield notes.AT_PHENT, _PROGRAM_HEADER.size
        yield notes.AT_PHNUM, count
    yield notes.AT_PAGESZ, PAGE_SIZE
    yield notes.AT_ENTRY, program.base + entry


def _files(images: Iterable[Image]) -> Iterator[notes.MappedFile]:
    for image in images:
        for segment in image.segments:
            if segment.file_size:
                start = page_floor(image.base + segment.address)
                end = page_ceil(image.base + segment.address + segment.file_size)
                yield notes.MappedFile(
                    AddressRange(start, end),
                    page_floor(segment.offset),
                    str(image.path.absolute()),
                )
