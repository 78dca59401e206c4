"""What cannot be linked is refused by name, and leaves nothing; objects lie near each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import Image, ImageError, Platform
from theseus_kit.values.memory import Protection

from .tiny_image import TinyImage
from .tiny_object import (
    ALLOC,
    EXECUTE,
    NOBITS,
    NOTYPE,
    OBJECT,
    THREAD_LOCAL,
    TLS,
    WRITE,
    F,
    Relocation,
    Section,
    Symbol,
    TinyObject,
    code,
    load_from,
    words,
)

Link = Callable[..., Image]
PC32, R_32, TPOFF32, GOTOFF64 = 2, 10, 23, 25


THREE = words(".data", 1, 2, 3)


@pytest.mark.parametrize(
    ("tiny", "problem"),
    [
        (
            TinyObject(
                [load_from("variable"), Section(".tdata", bytes(8), ALLOC | WRITE | THREAD_LOCAL)],
                [F, Symbol("variable", ".tdata", 0, TLS)],
            ),
            "is a thread-local variable",
        ),
        (
            TinyObject([code(bytes(9), Relocation(5, TPOFF32, "f"))], [F]),
            "is no thread-local variable",
        ),
        (TinyObject([code("c3", Relocation(0, 77, "f"))], [F]), "no object has such relocations"),
        (TinyObject([code("c3", Relocation(0, PC32, "f"))], [F]), "lies outside the section"),
        (
            TinyObject(
                [code(bytes(9), Relocation(0, GOTOFF64, "malloc"))],
                [F, Symbol("malloc", type=NOTYPE)],
            ),
            "is defined by another image; compile with -fPIC",
        ),
        (
            TinyObject([Section("both", bytes(8), ALLOC | WRITE | EXECUTE)]),
            "is both writable and executable",
        ),
        (TinyObject([Section(".ctors", bytes(8), ALLOC | WRITE)]), "-fuse-init-array"),
        (
            TinyObject([Section(".bss", b"", ALLOC | WRITE, type=NOBITS, size=1 << 40)]),
            "is 0x10000000000 bytes long",
        ),
        (TinyObject([Section(".data", bytes(8), ALLOC, alignment=24)]), "no power of two"),
        (TinyObject([]), "with nothing to load"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_linked_is_refused_by_file_and_section(
    tiny: TinyObject, problem: str, link: Link, platform: Platform
) -> None:
    with pytest.raises(ImageError, match=problem) as caught:
        link(tiny)
    assert "tiny0.o: " in str(caught.value)
    assert platform.namespace.images == ()


def test_only_relocatable_objects_are_linked(platform: Platform, tmp_path: Path) -> None:
    shared = TinyImage().write(tmp_path / "shared.so")
    with pytest.raises(ImageError, match=r"shared\.so: is a shared object; a relocatable object"):
        platform.namespace.link([shared])
    with pytest.raises(ImageError, match="no relocatable object to link"):
        platform.namespace.link([])
    with pytest.raises(ImageError, match=r"absent\.o: cannot be opened"):
        platform.namespace.link([tmp_path / "absent.o"])


def test_objects_lie_in_reach_of_each_other_whatever_is_mapped_between(
    link: Link, platform: Platform
) -> None:
    from theseus_kit.values.memory import MapRequest

    first = link(TinyObject([words(".data", 8)], [Symbol("number", ".data", type=OBJECT)]))
    for _ in range(3):
        platform.hooks.memory_map(request=MapRequest(4 << 30, Protection.NONE))
    second = link(TinyObject([load_from("number")], [F, Symbol("number", type=NOTYPE)]))
    assert second.call("f") == 8
    assert abs(second.base - first.base) < 1 << 31


def test_unloading_the_last_object_leaves_nothing_mapped(link: Link, platform: Platform) -> None:
    images = [link(TinyObject([code("c3")], [F])) for _ in range(3)]
    span = images[0].range
    for image in images:
        platform.namespace.unload(image)
    assert platform.hooks.memory_query_range(address=span.start, size=span.size) == []


def test_an_object_that_failed_to_load_gives_its_addresses_back(
    link: Link, platform: Platform
) -> None:
    kept = link(TinyObject([code("c3")], [F]))
    broken = words(".data", 0, relocations=[Relocation(0, R_32, ".data")])
    for _ in range(3):
        with pytest.raises(ImageError):
            link(TinyObject([broken]))
    assert link(TinyObject([code("c3")], [F])).range.start == kept.range.end
