"""Loads one image: map, relocate, protect, tell the plugins, run what must run first.

The order is a dynamic linker's. Resolver functions (IRELATIVE, STT_GNU_IFUNC) and constructors are
guest code, so they come after everything that can be done without them::

    headers, tables ─ map ─ relocate ─ TLS module, TLS relocations ─ final protections
      ─ hook image_loaded ─ resolvers ─ RELRO read-only ─ constructors

Whatever fails, nothing of the image stays mapped or registered. Which definition a reference is
bound to is the namespace's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from theseus_kit.errors import PlatformError
from theseus_kit.image.dynamic import (
    DT_FINI,
    DT_FINI_ARRAY,
    DT_FINI_ARRAYSZ,
    DT_INIT,
    DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ,
)
from theseus_kit.image.elf import PT_TLS, ElfFile
from theseus_kit.image.image import Image
from theseus_kit.image.mapping import MappedSegments
from theseus_kit.image.relative_relocation import RelativeRelocator
from theseus_kit.image.relocation import STATIC_TLS_TYPES, Definition, Relocator
from theseus_kit.image.symbols import ElfSymbol
from theseus_kit.machine.protocol import Ability
from theseus_kit.values.tls import TlsTemplate

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.image.objects.area import ObjectArea
    from theseus_kit.machine.protocol import Machine

TLS_DESCRIPTOR_CODE = bytes.fromhex("488b4008 c3")
TLS_DESCRIPTOR_ASSEMBLY = "mov rax, qword ptr [rax + 8]; ret"
"""What a TLS descriptor of a static module calls: rax is the descriptor's address, and the offset
from the thread pointer in its second word is the answer. No other register may change."""

BindFor = Callable[[Image, ElfSymbol, str | None], Definition]


class Loader:
    """Loads and unloads the images of one namespace."""

    def __init__(self, machine: Machine, hooks: HookRelay) -> None:
        self._machine = machine
        self._hooks = hooks
        self._mappings: dict[Image, MappedSegments] = {}
        self._relative = RelativeRelocator(machine)
        self._descriptor_stub: int | None = None
        self._area: ObjectArea | None = None

    def load(
        self,
        elf: ElfFile,
        bind: BindFor,
        check: Callable[[Image], None],
        zero_words: Callable[[], int],
        undo: ExitStack,
    ) -> Image:
        """Load a file, and close it. ``check`` may still refuse it before its own code runs.

        ``undo`` collects what takes everything back should the caller fail later.
        """
        with elf:
            area = self._object_area() if elf.is_linked_from_objects else None
            mapping = MappedSegments(elf, self._machine, self._hooks, area)
            undo.callback(mapping.unmap)
            image = Image(elf, mapping, self._machine)
            self._rewrite_system_calls(elf, mapping)
        self._mappings[image] = mapping
        undo.callback(self._forget, image)
        relocator = self._relocate(elf, image, mapping, bind, undo)
        check(image)
        mapping.protect()
        undo.callback(self._hooks.image_unloaded, image=image)
        self._hooks.image_loaded(image=image)
        relocator.write_resolved(self._machine.call)
        mapping.protect_relocated()
        empty = zero_words() if _has_constructors(image) else 0
        for function in _constructors(image, mapping):
            self._machine.call(function, (0, empty, empty))
        return image

    def unload(self, image: Image) -> None:
        """Run an image's finalisers, tell the plugins and give its memory back.

        Its memory goes even if a finaliser fails; the error is raised after that.
        """
        mapping = self._mappings[image]
        try:
            for function in _finalisers(image, mapping):
                self._machine.call(function)
        finally:
            self._hooks.image_unloaded(image=image)
            if image.tls_module is not None:
                self._hooks.tls_remove_module(module=image.tls_module)
            mapping.unmap()
            self._forget(image)

    def _object_area(self) -> ObjectArea:
        if self._area is None:
            # Imported here: no boot loads objects.
            from theseus_kit.image.objects.area import ObjectArea

            self._area = ObjectArea(self._hooks)
        return self._area

    def _rewrite_system_calls(self, elf: ElfFile, mapping: MappedSegments) -> None:
        rewrite = self._machine.rewrite_system_calls
        if rewrite is not None:
            # Imported here: few machines need it.
            from theseus_kit.image.system_call_sites import find_system_call_sites

            rewrite(mapping.bias + site.address for site in find_system_call_sites(elf))

    def _relocate(
        self,
        elf: ElfFile,
        image: Image,
        mapping: MappedSegments,
        bind: BindFor,
        undo: ExitStack,
    ) -> Relocator:
        if image.dynamic.relocates_text:
            mapping.make_text_writable()
        relocator = Relocator(
            elf.reader(),
            image.dynamic,
            image.table,
            mapping.targets(),
            mapping.bias,
            lambda symbol, version: bind(image, symbol, version),
            lambda address, table: self._apply_relative(mapping, address, table),
            elf.locate,
        )
        relocator.apply()
        # The template is read after relocation: a thread-local pointer may start out relocated.
        fixed = next((r for r in relocator.thread_local if r.type in STATIC_TLS_TYPES), None)
        static = image.dynamic.uses_static_tls or fixed is not None
        if static and Ability.THREAD_POINTER not in self._machine.abilities:
            where = "DF_STATIC_TLS" if fixed is None else elf.locate(fixed.place)
            elf.fail(
                "has thread-local variables at fixed offsets from the thread pointer "
                f"({where}), and guest threads have none of their own on the machine "
                f"{self._machine.name!r}: use one that gives them one, as the emulated machine "
                "does, or compile it with -fPIC -ftls-model=global-dynamic"
            )
        self._add_tls_module(elf, image, mapping, static, undo)
        if relocator.thread_local:
            try:
                relocator.apply_thread_local(
                    image.tls_module, self._static_offset, self._tls_descriptor()
                )
            except PlatformError as error:
                elf.fail(f"cannot have its thread-local variables at fixed offsets: {error}")
        return relocator

    def _apply_relative(self, mapping: MappedSegments, address: int, table: memoryview) -> int:
        if not mapping.is_readable(address):
            return 0
        return self._relative.apply(mapping.bias + address, table, mapping.targets(), mapping.bias)

    def _add_tls_module(
        self, elf: ElfFile, image: Image, mapping: MappedSegments, static: bool, undo: ExitStack
    ) -> None:
        segment = elf.segment_of_type(PT_TLS)
        if segment is None or segment.memory_size == 0:
            return
        alignment = segment.alignment or 1
        if segment.file_size > segment.memory_size or alignment & (alignment - 1):
            elf.fail("its thread-local segment has senseless sizes")
        initial = mapping.reader().window(
            segment.address, segment.file_size, "its thread-local segment"
        )
        template = TlsTemplate(
            image.name,
            mapping.bias + segment.address,
            segment.memory_size,
            alignment,
            bytes(initial),
            static,
        )
        try:
            module: int = self._hooks.tls_add_module(template=template)
        except PlatformError as error:
            elf.fail(f"cannot have its thread-local variables: {error}")
        image.tls_module = module
        undo.callback(self._hooks.tls_remove_module, module=module)

    def _static_offset(self, module: int) -> int:
        offset: int = self._hooks.tls_static_offset(module=module)
        return offset

    def _tls_descriptor(self) -> int:
        if self._descriptor_stub is None:
            self._descriptor_stub = self._machine.place_code(TLS_DESCRIPTOR_CODE, "TLS descriptor")
        return self._descriptor_stub

    def _forget(self, image: Image) -> None:
        image.is_loaded = False
        self._mappings.pop(image, None)


def _has_constructors(image: Image) -> bool:
    return DT_INIT in image.dynamic or bool(image.dynamic.get(DT_INIT_ARRAYSZ))


def _constructors(image: Image, mapping: MappedSegments) -> Iterator[int]:
    """DT_INIT, then DT_INIT_ARRAY in order. DT_PREINIT_ARRAY is for executables only (gABI)."""
    if DT_INIT in image.dynamic:
        yield image.base + image.dynamic.get(DT_INIT)
    yield from _functions(image, mapping, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, "constructors")


def _finalisers(image: Image, mapping: MappedSegments) -> Iterator[int]:
    """DT_FINI_ARRAY backwards, then DT_FINI."""
    yield from reversed(_functions(image, mapping, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, "finalisers"))
    if DT_FINI in image.dynamic:
        yield image.base + image.dynamic.get(DT_FINI)


def _functions(
    image: Image, mapping: MappedSegments, table_tag: int, size_tag: int, what: str
) -> list[int]:
    """The addresses in an array of functions, read from memory, where they are relocated."""
    size = image.dynamic.get(size_tag) & -8
    if not size:
        return []
    window = mapping.reader().window(image.dynamic.get(table_tag), size, f"its table of {what}")
    return window.cast("Q").tolist()
