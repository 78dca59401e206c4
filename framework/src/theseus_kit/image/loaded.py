"""The images that are loaded on a platform, in whichever namespace, and who uses whom."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING

from theseus_kit.image.image import Binding, Image

if TYPE_CHECKING:
    from theseus_kit.image.namespace import Namespace

_start = attrgetter("range.start")
_NAMES_SHOWN = 3


class LoadedImages:
    """All images of one platform, in load order and by address."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self._by_address: list[Image] = []

    def add(self, image: Image, namespace: Namespace, bindings: Mapping[str, Binding]) -> None:
        """Take in an image that was relocated."""
        image.namespace = namespace
        image.bindings = bindings
        self.images.append(image)
        insort(self._by_address, image, key=_start)

    def remove(self, image: Image) -> None:
        """Forget an image."""
        self.images.remove(image)
        self._by_address.remove(image)
        image.namespace = None

    def at(self, address: int) -> Image | None:
        """The image whose range holds an address, gaps between its segments included."""
        index = bisect_right(self._by_address, address, key=_start) - 1
        if index < 0 or address not in self._by_address[index].range:
            return None
        return self._by_address[index]

    def users(self, image: Image) -> dict[Image, list[str]]:
        """The images that are bound to one of an image's definitions, and to which."""
        users: dict[Image, list[str]] = {}
        for other in self.images:
            names = [name for name, bound in other.bindings.items() if bound.image is image]
            if names:
                users[other] = names
        return users


def describe_users(users: Mapping[Image, list[str]]) -> str:
    """Users for a message: ``a.o (f, g), b.so (f and 7 more)``."""
    parts = []
    for image, names in sorted(users.items(), key=lambda item: item[0].name):
        shown = ", ".join(names[:_NAMES_SHOWN])
        if len(names) > _NAMES_SHOWN:
            shown += f" and {len(names) - _NAMES_SHOWN} more"
        parts.append(f"{image.name} ({shown})")
    return ", ".join(parts)
