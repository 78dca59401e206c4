"""Namespaces: the images of a platform and the C symbols of its plugins, bound to each other.

Namespaces nest, as Theseus's crate namespaces do: what an image in one refers to is looked for
among that namespace's own images, then in its parent, and so on up to the root, whose symbols are
the plugins' too. A reference is bound to the first definition in this order, which in the root is
the order of a library opened with dlopen(RTLD_LOCAL):

1. the image's own, where the ELF file says so (local, hidden and protected symbols, -Bsymbolic);
2. in the root: the one a plugin provides, as libc comes before what a program opens at run time. So
   an image that defines ``malloc`` neither takes it away from the platform nor from other images;
   in a child namespace, where that is what is wanted, its images' definitions come before plugins';
3. of a symbol marked unique (STB_GNU_UNIQUE) the oldest definition among the images;
4. the image's own;
5. another image's of the same namespace, in load order: first in the version asked for, then in
   its default version;
6. the parent namespace's, likewise.

What nothing answers is 0 if the reference is weak, and otherwise a stand-in that names itself when
it is called (a variable: a page that cannot be touched). Libraries that an image needs (DT_NEEDED)
are not searched for on the host: what plugins provide takes the place of the C library, and any
other library is loaded by the user before the image that needs it.

Relocatable objects are linked first (``objects``), for which their own definitions come before all
others, and are bound then like any image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from theseus_kit.errors import ImageError
from theseus_kit.image.elf import ElfFile
from theseus_kit.image.image import Binding, Image
from theseus_kit.image.loaded import LoadedImages, describe_users
from theseus_kit.image.loader import Loader
from theseus_kit.image.opening import open_image
from theseus_kit.image.provided import ProvidedSymbols
from theseus_kit.image.relocation import Definition
from theseus_kit.image.symbols import (
    STB_GNU_UNIQUE,
    STT_COMMON,
    STT_GNU_IFUNC,
    STT_OBJECT,
    STT_TLS,
    ElfSymbol,
)
from theseus_kit.values.linkage import CFunction, CObject

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.image.sections import LoadedSection
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks


class Namespace:
    """The images loaded into one namespace, over those of its parent.

    ``export_function`` makes a plugin's C function callable by guest code and returns its address.
    """

    def __init__(
        self,
        machine: Machine,
        hooks: HookRelay,
        tasks: Tasks,
        export_function: Callable[[CFunction], int],
        *,
        name: str = "root",
        parent: Namespace | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self._children: dict[str, Namespace] = {}
        self._images: list[Image] = []
        self._make_child = partial(Namespace, machine, hooks, tasks, export_function, parent=self)
        if parent is None:
            self._provided = ProvidedSymbols(machine, hooks, export_function)
            self._loader = Loader(machine, hooks)
            self._loaded = LoadedImages()
        else:
            self._provided, self._loader = parent._provided, parent._loader
            self._loaded = parent._loaded

    def create_child(self, name: str) -> Namespace:
        """Make a namespace whose images find the symbols of this one behind their own.

        Raises ImageError if there is a child of that name.
        """
        if name in self._children:
            raise ImageError(f"namespace {self.name} has a child {name} already; use another name")
        child = self._children[name] = self._make_child(name=name)
        return child

    @property
    def children(self) -> Sequence[Namespace]:
        """The namespaces made from this one, oldest first."""
        return tuple(self._children.values())

    @property
    def images(self) -> Sequence[Image]:
        """The loaded images of this namespace and of those below it, in load order."""
        if self.parent is None:
            return tuple(self._loaded.images)
        return tuple(image for image in self._loaded.images if self._holds(image))

    @property
    def own_images(self) -> Sequence[Image]:
        """The images loaded into this very namespace, in load order."""
        return tuple(self._images)

    def load(self, path: str | os.PathLike[str], *, strict: bool = False) -> Image:
        """Load an ELF shared object or relocatable object, and run its constructors.

        A file that is loaded twice becomes two images. ``strict`` refuses an image with imports
        that nothing provides. Raises ImageError, with nothing left behind; a GuestError if the
        image's own code fails.
        """
        return self._load(open_image(path, self._is_defined_by_object), strict)

    def link(self, paths: Sequence[str | os.PathLike[str]], *, strict: bool = False) -> Image:
        """Link relocatable objects into one image, named after the first, and load it.

        Among themselves they may refer to each other's symbols, hidden ones too. Raises as
        :meth:`load` does.
        """
        if not paths:
            raise ImageError("no relocatable object to link: name at least one")
        # Imported here: no boot links objects.
        from theseus_kit.image.objects.link import link_objects

        return self._load(link_objects(paths, self._is_defined_by_object), strict)

    def unload(self, image: Image) -> None:
        """Run an image's finalisers and take it away.

        Raises ImageError, naming them, while other images are bound to its symbols.
        """
        namespace = image.namespace
        if namespace is None or not self._holds(image):
            raise ImageError(f"{image.path}: is not loaded in this namespace")
        users = self._loaded.users(image)
        if users:
            raise ImageError(
                f"{image.path}: is in use by {describe_users(users)}; unload what uses it first"
            )
        try:
            self._loader.unload(image)
        finally:
            namespace._remove(image)

    def close(self) -> None:
        """Unload every image of this namespace and of those below it, the latest first.

        A child is forgotten by its parent then.
        """
        for image in reversed(self.images):
            self.unload(image)
        self._children.clear()
        if self.parent is not None:
            self.parent._children.pop(self.name, None)

    def image_at(self, address: int) -> Image | None:
        """The image whose range holds an address, gaps between its segments included.

        A namespace sees its own images, those below it and those it is bound to, its parents'; the
        root sees all.
        """
        image = self._loaded.at(address)
        return image if image is not None and self._sees(image) else None

    def image(self, name: str) -> Image | None:
        """The first loaded image with a file name or a soname: here and below, then above."""
        for namespace in self._ancestry():
            for image in namespace.images:
                if name in (image.name, image.soname):
                    return image
        return None

    def resolve(self, name: str, version: str | None = None) -> int | None:
        """The address of a function or variable, as an image loaded here would be bound to it.

        Images are searched in load order, for the version and then for their default one; the
        root asks plugins first. None if nothing has the name.
        """
        for namespace in self._ancestry():
            if namespace.parent is None:
                address = self._provided.address(name)
                if address is not None:
                    return address
            for image, symbol in namespace._definitions(name, version):
                if symbol.type != STT_TLS:
                    return image.address_of(symbol)
        return None

    def get_symbol(self, name: str) -> LoadedSection | None:
        """The symbol of a name, as a section: this namespace's, else its parent's.

        As Theseus's ``CrateNamespace::get_symbol``; the root's symbols are the plugins', then the
        images'. None if nothing has the name.
        """
        from theseus_kit.image.sections import provided_section, section_of_symbol

        for namespace in self._ancestry():
            if namespace.parent is None:
                provided = self._provided.get(name)
                address = None if provided is None else self._provided.address(name)
                if provided is not None and address is not None:
                    return provided_section(provided.symbol, address)
            for image, symbol in namespace._definitions(name, None):
                return section_of_symbol(image, symbol)
        return None

    def get_symbol_starting_with(self, prefix: str) -> LoadedSection | None:
        """The one symbol whose name starts with a prefix: this namespace's, else its parent's.

        As Theseus's ``CrateNamespace::get_symbol_starting_with``: where several symbols of a
        namespace match, none of them is the answer. Rust's mangled names end in a hash: the prefix
        ``_ZN4unit4loop17h`` finds the function whatever its hash is.
        """
        for namespace in self._ancestry():
            names = {
                symbol.name
                for image in namespace._images
                for symbol in image.table.exported()
                if symbol.name.startswith(prefix)
            }
            if namespace.parent is None:
                names.update(name for name in self._provided.names() if name.startswith(prefix))
            if len(names) == 1:
                return namespace.get_symbol(names.pop())
        return None

    def get_section_containing_address(
        self, address: int, search_all: bool = False
    ) -> tuple[LoadedSection, int] | None:
        """The section that holds an address, and the offset in it; None if none does.

        As Theseus's ``CrateNamespace::get_section_containing_address``: code only, unless
        ``search_all``; a section's end is not in it; a named symbol is preferred to the section
        of the file that holds it, such as the merged .text.
        """
        image = self.image_at(address)
        if image is None:
            return None
        section = image.loaded_sections.at(address, search_all)
        return None if section is None else (section, address - section.range.start)

    def provide(self, plugin: str, symbol: CFunction | CObject) -> bool:
        """Offer a plugin's C symbol to images loaded from now on, in the root.

        False if an earlier symbol has the name: the first one counts.
        """
        return self._provided.provide(plugin, symbol)

    def thread_local(self, name: str) -> int | None:
        """The TLS module whose first bytes are a provided thread-local variable.

        None if plugins provide none of that name.
        """
        return self._provided.thread_local(name)

    def provided(self, name: str) -> CFunction | CObject | None:
        """The C symbol that plugins provide under a name."""
        provided = self._provided.get(name)
        return None if provided is None else provided.symbol

    def provider_of(self, name: str) -> str | None:
        """The name of the plugin or image whose symbol :meth:`resolve` finds."""
        for namespace in self._ancestry():
            if namespace.parent is None:
                provided = self._provided.get(name)
                if provided is not None:
                    return provided.plugin
            for image, _ in namespace._definitions(name, None):
                return image.name
        return None

    @property
    def missing(self) -> Sequence[tuple[Image, str]]:
        """The imports that nothing provides: image and symbol, in load order."""
        return tuple((image, name) for image in self.images for name in image.missing)

    def users(self, image: Image) -> Sequence[Image]:
        """The images, in load order, that are bound to an image's symbols."""
        return tuple(self._loaded.users(image))

    def _load(self, elf: ElfFile, strict: bool) -> Image:
        missing: list[str] = []
        bindings: dict[str, Binding] = {}

        def bind(image: Image, symbol: ElfSymbol, version: str | None) -> Definition:
            definition = self._find(image, symbol, version, bindings)
            if definition is None:
                definition = self._stand_in(image, symbol, missing)
            return definition

        def check(image: Image) -> None:
            image.missing = tuple(missing)
            if strict and missing:
                raise ImageError(
                    f"{image.path}: no plugin provides {len(missing)} of the symbols it imports: "
                    f"{', '.join(missing)}; add a plugin that does, or load it without strict to "
                    "fail only where one is called"
                )
            self._loaded.add(image, self, bindings)
            self._images.append(image)
            undo.callback(self._remove, image)

        with ExitStack() as undo:
            image = self._loader.load(elf, bind, check, self._provided.zero_words, undo)
            undo.pop_all()
        return image

    def _remove(self, image: Image) -> None:
        self._images.remove(image)
        self._loaded.remove(image)

    def _ancestry(self) -> Iterator[Namespace]:
        namespace: Namespace | None = self
        while namespace is not None:
            yield namespace
            namespace = namespace.parent

    def _holds(self, image: Image) -> bool:
        return image.namespace is not None and any(n is self for n in image.namespace._ancestry())

    def _sees(self, image: Image) -> bool:
        return self._holds(image) or any(n is image.namespace for n in self._ancestry())

    def _is_defined_by_object(self, name: str) -> bool:
        return any(
            image.is_linked_from_objects and image.table.lookup(name) is not None
            for namespace in self._ancestry()
            for image in namespace._images
        )

    def _find(
        self,
        image: Image,
        symbol: ElfSymbol,
        version: str | None,
        bindings: dict[str, Binding],
    ) -> Definition | None:
        own = self._definition(image, symbol) if symbol.is_defined else None
        if own is not None and (symbol.binds_locally or image.dynamic.is_symbolic):
            return own
        is_thread_local = symbol.type == STT_TLS
        for namespace in self._ancestry():
            if namespace.parent is None:
                provided = self._provided_definition(symbol)
                if provided is not None:
                    return provided
            if own is not None and symbol.binding != STB_GNU_UNIQUE:
                return own
            for other, found in namespace._definitions(symbol.name, version):
                if (found.type == STT_TLS) == is_thread_local:
                    definition = self._definition(other, found)
                    bindings[symbol.name] = Binding(other, definition.address)
                    return definition
        return own

    def _provided_definition(self, symbol: ElfSymbol) -> Definition | None:
        if symbol.type == STT_TLS:
            module = self._provided.thread_local(symbol.name)
            return None if module is None else Definition(0, symbol.size, tls_module=module)
        address = self._provided.address(symbol.name)
        return None if address is None else Definition(address, symbol.size)

    def _definition(self, image: Image, symbol: ElfSymbol) -> Definition:
        if symbol.type == STT_TLS:
            return Definition(symbol.value, symbol.size, tls_module=image.tls_module)
        address = symbol.value if symbol.is_absolute else image.base + symbol.value
        return Definition(address, symbol.size, symbol.type == STT_GNU_IFUNC)

    def _stand_in(self, image: Image, symbol: ElfSymbol, missing: list[str]) -> Definition:
        if symbol.is_weak or symbol.type == STT_TLS:
            return Definition(0)
        missing.append(symbol.name)
        if symbol.type in (STT_OBJECT, STT_COMMON):
            return Definition(self._provided.missing_variable(symbol.name, image.name))
        return Definition(self._provided.missing_function(symbol.name, image.name))

    def _definitions(self, name: str, version: str | None) -> Iterator[tuple[Image, ElfSymbol]]:
        for asked in (version,) if version is None else (version, None):
            for image in self._images:
                symbol = image.table.lookup(name, asked)
                if symbol is not None:
                    yield image, symbol

    def __repr__(self) -> str:
        return f"<Namespace {self.name}: {len(self._images)} images>"
