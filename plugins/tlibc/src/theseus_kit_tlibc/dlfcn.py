"""dlfcn.h: libraries by name, among those that are loaded. ``dlsym`` is :mod:`.link`'s.

There is one handle, and it stands for the whole namespace. Nothing is loaded from here: which
images there are is decided where the platform is used.
"""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from theseus_kit_tlibc.string_search import StringReader

if TYPE_CHECKING:
    from theseus_kit.image import Image

_WHOLE = 1
_NOTHING = 0


class Bodies(StringReader):
    def dlopen(self, filename: int, flags: int) -> int:
        """The namespace for a null pointer; a loaded image by its path, file name or soname."""
        if not filename:
            return _WHOLE
        text = self.string(filename).decode(errors="surrogateescape")
        namespace = self.library.services.namespace
        if namespace.image(text) or any(str(image.path) == text for image in namespace.images):
            return _WHOLE
        self.deferred.link.set_error(
            f"{text}: cannot open shared object file: not loaded on this platform".encode()
        )
        return _NOTHING

    def dlclose(self, handle: int) -> int:
        """Images stay loaded."""
        return 0

    def dladdr(self, address: int, info: int) -> int:
        """The image and the symbol that hold an address: Dl_info is four words."""
        image: Image | None = self.library.services.namespace.image_at(address)
        if image is None:
            return 0
        constant = self.library.constant
        symbols = self.library.hooks.symbolicate(address=address)
        name = start = 0
        if symbols:
            outermost = symbols[-1]
            if outermost.name:
                name, start = constant(outermost.name.encode() + b"\0"), outermost.address
        path = constant(str(image.path).encode("utf-8", "surrogateescape") + b"\0")
        self.library.memory.write(info, pack("<4Q", path, image.base, name, start))
        return 1
