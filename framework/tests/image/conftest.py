"""A platform to load images on, and a plugin that writes down what it is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from theseus_kit import (
    BUNDLED,
    Image,
    NoOptions,
    Platform,
    Plugin,
    PluginDescription,
    assemble,
    hookimpl,
)

from .tiny_image import TinyImage
from .tiny_object import TinyObject


class Witness(Plugin):
    """Notes every image it is told of, with what was true at that moment."""

    description = PluginDescription(name="witness", version="1", options=NoOptions)

    def __init__(self, services: object, options: object) -> None:
        super().__init__(services, options)  # type: ignore[arg-type]
        self.events: list[tuple[str, Image, bool]] = []

    @hookimpl
    def image_loaded(self, image: Image) -> None:
        self.events.append(("loaded", image, image in self.services.namespace.images))

    @hookimpl
    def image_unloaded(self, image: Image) -> None:
        self.events.append(("unloaded", image, image in self.services.namespace.images))


@pytest.fixture
def platform() -> Iterator[Platform]:
    with assemble([*BUNDLED, Witness]) as assembled:
        yield assembled


@pytest.fixture
def witness(platform: Platform) -> Witness:
    plugin = platform.plugin("witness")
    assert isinstance(plugin, Witness)
    return plugin


@pytest.fixture
def load(platform: Platform, tmp_path: Path) -> Callable[..., Image]:
    """Writes a tiny image to a file and loads it."""

    def write_and_load(tiny: TinyImage, name: str = "libtiny.so", *, strict: bool = False) -> Image:
        return platform.load(tiny.write(tmp_path / name), strict=strict)

    return write_and_load


@pytest.fixture
def word(platform: Platform) -> Callable[[int], int]:
    """Reads the word at a guest address."""
    return platform.machine.memory.read_u64


@pytest.fixture
def link(platform: Platform, tmp_path: Path) -> Callable[..., Image]:
    """Writes tiny objects to files and links them into one image."""

    def write_and_link(*tiny: TinyObject, name: str = "tiny", strict: bool = False) -> Image:
        paths = [each.write(tmp_path / f"{name}{n}.o") for n, each in enumerate(tiny)]
        return platform.namespace.link(paths, strict=strict)

    return write_and_link
