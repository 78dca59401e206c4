"""A namespace: the images of a platform and the C symbols of its plugins, bound to each other.

A reference of an image is bound to the first definition in this order, which is the order of a
library opened with dlopen(RTLD_LOCAL):

1. the image's own, where the ELF file says so (local, hidden and protected symbols, -Bsymbolic);
2. the one a plugin provides, as libc comes before what a program opens at run time. So an image
   that defines ``malloc`` neither takes it away from the platform nor from other images;
3. of a symbol marked unique (STB_GNU_UNIQUE) the oldest definition among the images;
4. the image's own;
5. another image's, in load order: first in the version asked for, then in its default version.

What nothing answers is 0 if the reference is weak, and otherwise a stand-in that names itself when
it is called (a variable: a page that cannot be touched). Libraries that an image needs (DT_NEEDED)
are not searched for on the host: what plugins provide takes the place of the C library, and any
other library is loaded by the user before the image that needs it.
"""

from __future__ import annotations

import os
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from operator import attrgetter
from typing import TYPE_CHECKING

from theseus_kit.errors import ImageError
from theseus_kit.image.image import Image
from theseus_kit.image.loader import Loader
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

    from theseus_kit.machine.protocol import Machine
    from theseus_kit.task import Tasks

_start = attrgetter("range.start")


class Namespace:
    """The loaded images and the provided symbols of one platform.

    ``export_function`` makes a plugin's C function callable by guest code and returns its address.
    """

    def __init__(
        self,
        machine: Machine,
        hooks: HookRelay,
        tasks: Tasks,
        export_function: Callable[[CFunction], int],
    ) -> None:
        self._machine = machine
        self._tasks = tasks
        self._provided = ProvidedSymbols(machine, hooks, export_function)
        self._loader = Loader(machine, hooks)
        self._images: list[Image] = []
        self._by_address: list[Image] = []
        self._users: dict[Image, set[Image]] = {}
        """By image, the images that are bound to one of its definitions."""

    @property
    def images(self) -> Sequence[Image]:
        """The loaded images in load order."""
        return tuple(self._images)

    def load(self, path: str | os.PathLike[str], *, strict: bool = False) -> Image:
        """Load an ELF shared object from the host, relocate it and run its constructors.

        A file that is loaded twice becomes two images. ``strict`` refuses an image with imports
        that nothing provides. Raises ImageError, with nothing left behind; a GuestError if the
        image's own code fails.
        """
        missing: list[str] = []
        uses: set[Image] = set()

        def bind(image: Image, symbol: ElfSymbol, version: str | None) -> Definition:
            definition = self._find(image, symbol, version, uses)
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
            self._add(image, uses)
            undo.callback(self._remove, image)

        with ExitStack() as undo:
            image = self._loader.load(path, bind, check, self._provided.zero_words, undo)
            undo.pop_all()
        return image

    def unload(self, image: Image) -> None:
        """Run an image's finalisers and take it away.

        Raises ImageError, naming them, while other images are bound to its symbols.
        """
        if image not in self._users:
            raise ImageError(f"{image.path}: is not loaded in this namespace")
        users = sorted(user.name for user in self._users[image])
        if users:
            raise ImageError(
                f"{image.path}: is in use by {', '.join(users)}; unload what uses it first"
            )
        try:
            self._loader.unload(image)
        finally:
            self._remove(image)

    def image_at(self, address: int) -> Image | None:
        """The image whose range holds an address, gaps between its segments included."""
        index = bisect_right(self._by_address, address, key=_start) - 1
        if index < 0 or address not in self._by_address[index].range:
            return None
        return self._by_address[index]

    def image(self, name: str) -> Image | None:
        """The first loaded image with a file name or a soname."""
        return next((i for i in self._images if name in (i.name, i.soname)), None)

    def resolve(self, name: str, version: str | None = None) -> int | None:
        """The address of a function or variable, as dlsym finds it: a plugin's, else an image's.

        Images are searched in load order, for the version and then for their default one. None if
        nothing has the name.
        """
        address = self._provided.address(name)
        if address is not None:
            return address
        for image, symbol in self._definitions(name, version):
            if symbol.type != STT_TLS:
                return image.address_of(symbol)
        return None

    def provide(self, plugin: str, symbol: CFunction | CObject) -> bool:
        """Offer a plugin's C symbol to images loaded from now on.

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
        """The name of the plugin that provides a C symbol, else of the image that defines it."""
        provided = self._provided.get(name)
        if provided is not None:
            return provided.plugin
        return next((image.name for image, _ in self._definitions(name, None)), None)

    @property
    def missing(self) -> Sequence[tuple[Image, str]]:
        """The imports that nothing provides: image and symbol, in load order."""
        return tuple((image, name) for image in self._images for name in image.missing)

    def _find(
        self, image: Image, symbol: ElfSymbol, version: str | None, uses: set[Image]
    ) -> Definition | None:
        own = self._definition(image, symbol) if symbol.is_defined else None
        if own is not None and (symbol.binds_locally or image.dynamic.is_symbolic):
            return own
        is_thread_local = symbol.type == STT_TLS
        if is_thread_local:
            module = self._provided.thread_local(symbol.name)
            if module is not None:
                return Definition(0, symbol.size, tls_module=module)
        else:
            address = self._provided.address(symbol.name)
            if address is not None:
                return Definition(address, symbol.size)
        if own is not None and symbol.binding != STB_GNU_UNIQUE:
            return own
        for other, found in self._definitions(symbol.name, version):
            if (found.type == STT_TLS) == is_thread_local:
                uses.add(other)
                return self._definition(other, found)
        return own

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

    def _add(self, image: Image, uses: set[Image]) -> None:
        self._images.append(image)
        insort(self._by_address, image, key=_start)
        self._users[image] = set()
        for used in uses:
            self._users[used].add(image)

    def _remove(self, image: Image) -> None:
        self._images.remove(image)
        self._by_address.remove(image)
        del self._users[image]
        for users in self._users.values():
            users.discard(image)
