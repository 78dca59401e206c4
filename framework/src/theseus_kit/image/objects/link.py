"""Links relocatable objects into one shared object in memory. See the package for the steps."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from theseus_kit.image.elf import ElfFile
from theseus_kit.image.elf_header import (
    SHF_ALLOC,
    SHF_WRITE,
    Section,
    map_file,
)
from theseus_kit.image.objects.frames import FrameTables
from theseus_kit.image.objects.layout import Layout, is_frame_table
from theseus_kit.image.objects.object_file import InputSection, ObjectFile
from theseus_kit.image.objects.references import References
from theseus_kit.image.objects.relocation_types import STATIC_TLS
from theseus_kit.image.objects.resolution import Resolution
from theseus_kit.image.objects.slots import Slots
from theseus_kit.image.objects.tables import DynamicTables
from theseus_kit.image.objects.writer import DYNAMIC_SIZE, Writer

_SHT_DYNAMIC = 6


def link_objects(
    paths: Sequence[str | os.PathLike[str]], is_loaded: Callable[[str], bool]
) -> ElfFile:
    """Link the relocatable objects at host paths; the file is to be closed by the caller.

    ``is_loaded`` tells whether an object that is loaded already defines a name. The image is named
    after the first object. Raises ImageError.
    """
    files = []
    for name in paths:
        path, descriptor, contents = map_file(name)
        os.close(descriptor)
        files.append(ObjectFile(path, contents))
    return _in_memory(files[0].path, _link(files, is_loaded))


def _link(files: Sequence[ObjectFile], is_loaded: Callable[[str], bool]) -> list[tuple[int, bytes]]:
    resolution = Resolution(files, is_loaded)
    sections = [section for file in files for section in file.sections if section.is_loaded]
    if resolution.common is not None:
        sections.append(resolution.common)
    if not any(section.size for section in sections):
        files[0].fail("is a relocatable object with nothing to load")
    slots = Slots(files[0])
    registers_destructors = _define_linkers_own(resolution, sections, slots)
    resolution.settle_hidden()
    dynamic = InputSection(
        files[0],
        0,
        Section(
            *(".dynamic", _SHT_DYNAMIC, SHF_ALLOC | SHF_WRITE, 0, 0, DYNAMIC_SIZE, 0, 0, 8, 16)
        ),
    )
    tables = DynamicTables()
    references = References(resolution, slots, tables)
    frames = FrameTables([s for s in sections if is_frame_table(s)], resolution)
    for section in sections:
        references.ask(section)
    if registers_destructors:
        slots.ask_finaliser(resolution.refer_weakly("__cxa_finalize", files[0]))
    layout = Layout(sections, slots.got, slots.plt, dynamic)
    frames.place(layout.tables_address)
    start = layout.thread_local[0] if layout.thread_local else 0
    uses_static = any(r.type in STATIC_TLS for s in sections for r in s.relocations)
    writer = Writer(files, resolution, layout, tables)
    for section in (*sections, slots.got, slots.plt, dynamic):
        if not is_frame_table(section):
            writer.declare(section)
    for section in sections:
        if not is_frame_table(section) and not section.is_zero:
            writer.put(section, references.apply(section, start))
    slots.write(dynamic.address, start, tables)
    writer.put(slots.got, slots.got.contents())
    writer.put(slots.plt, slots.plt.contents())
    unwind = frames.write(lambda section: references.apply(section, start), slots.plt)
    for target in resolution.globals.values():
        if target.is_exported and (target.is_fixed or target.is_absolute):
            tables.symbol(target)
    writer.put_tables(dynamic, frames, unwind, start, uses_static, slots.finaliser_address)
    writer.put_symbols(slots.stubs(), slots.plt.output)
    writer.put_unloaded(lambda section: references.apply_unloaded(section, start))
    return writer.finish()


def _define_linkers_own(
    resolution: Resolution, sections: Sequence[InputSection], slots: Slots
) -> bool:
    """Define the names that a linker defines; tell whether destructors may be registered."""
    registers_destructors = resolution.define("__dso_handle", slots.got, 0)
    resolution.define("_GLOBAL_OFFSET_TABLE_", slots.got, 0)
    by_name: dict[str, list[InputSection]] = {}
    for section in sections:
        if section.name.isidentifier():
            by_name.setdefault(section.name, []).append(section)
    for name, together in by_name.items():
        resolution.define(f"__start_{name}", together[0], 0)
        resolution.define(f"__stop_{name}", together[-1], together[-1].size)
    return registers_destructors


def _in_memory(path: Path, pieces: list[tuple[int, bytes]]) -> ElfFile:
    """A file without a name that holds the pieces, each at its offset; the gaps are zero."""
    descriptor = os.memfd_create(path.name, os.MFD_CLOEXEC)
    try:
        for offset, data in pieces:
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], offset + written)
        contents = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        return ElfFile(path, contents, descriptor, is_linked_from_objects=True)
    except BaseException:
        os.close(descriptor)
        raise
