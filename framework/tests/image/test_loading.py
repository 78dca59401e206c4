"""Loading maps what headers say, runs constructors in order, and undoes it all on failure."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest

from theseus_kit import GuestKilled, Image, ImageError, Platform, PluginError
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import AddressRange, Region

from .tiny_image import CODE, DATA, DYNAMIC, Relocation, Symbol, TinyImage, lay_out

Load = Callable[..., Image]
DT_INIT, DT_FINI, DT_INIT_ARRAY, DT_FINI_ARRAY = 12, 13, 25, 26
DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ = 27, 28


def regions(platform: Platform) -> list[Region]:
    territory: AddressRange = platform.machine.memory.territory
    return list(platform.hooks.memory_query_range(address=territory.start, size=territory.size))


def test_segments_get_the_protections_of_their_headers(load: Load, platform: Platform) -> None:
    image = load(TinyImage(relro=(DYNAMIC, 0)))
    shown = [
        str(platform.hooks.memory_query(address=image.base + at).protection)
        for at in (0, CODE, DATA, DYNAMIC, 0x1000, 0x5000)
    ]
    assert shown == ["r--", "r-x", "rw-", "rw-", "---", "---"]


def test_memory_that_is_only_relocated_becomes_read_only(load: Load, platform: Platform) -> None:
    image = load(TinyImage())
    assert str(platform.hooks.memory_query(address=image.base + DYNAMIC).protection) == "r--"


def test_a_partly_read_only_page_stays_writable(load: Load, platform: Platform) -> None:
    image = load(TinyImage(relro=(DATA, 0x800)))
    assert str(platform.hooks.memory_query(address=image.base + DATA).protection) == "rw-"


def test_variables_behind_the_file_part_start_as_zero(load: Load, platform: Platform) -> None:
    # The file goes on with 0xff where memory must be zero.
    tiny = TinyImage(data=b"\xff" * 0x1000)
    data = bytearray(tiny.build())
    at = 64 + 2 * 56 + 32
    data[at : at + 8] = pack("<Q", 0x123)
    image = load(_ready(data))
    content = platform.machine.memory.read(image.base + DATA, 0x1000)
    assert content == b"\xff" * 0x123 + bytes(0x1000 - 0x123)


def test_writing_to_an_image_does_not_change_its_file(load: Load, platform: Platform) -> None:
    image = load(TinyImage(data=b"before"))
    platform.machine.memory.write(image.base + DATA, b"behind")
    assert b"behind" not in image.path.read_bytes()
    assert b"before" in bytes(image.file[:])


def test_an_image_is_placed_at_its_largest_alignment(load: Load) -> None:
    tiny = TinyImage()
    data = bytearray(tiny.build())
    data[64 + 48 : 64 + 56] = pack("<Q", 1 << 21)
    image = load(_ready(data))
    assert image.base % (1 << 21) == 0


def _ready(data: bytearray) -> TinyImage:
    class Ready(TinyImage):
        def build(self) -> bytes:
            return bytes(data)

    return Ready()


def _tracing(*names: str) -> TinyImage:
    """An image with one function per name; each calls ``trace(its argument count, argv, …)``."""
    pieces, symbols = [], [Symbol("trace")]
    for n, name in enumerate(names):
        at = CODE + 32 * n
        # mov ecx, n; jmp [rip + …]
        code = b"\xb9" + pack("<I", n) + b"\xff\x25" + pack("<i", DATA - at - 11)
        pieces.append((at, code))
        symbols.append(Symbol(name, at))
    return TinyImage(
        code=lay_out(*pieces),
        symbols=symbols,
        relocations=[Relocation(DATA, 6, "trace")],
    )


def _trace(platform: Platform) -> list[tuple[int, ...]]:
    calls: list[tuple[int, ...]] = []
    platform.namespace.provide(
        "test",
        CFunction(
            "void trace(unsigned long a, unsigned long b, unsigned long c, unsigned long n)",
            lambda *arguments: calls.append(arguments),
        ),
    )
    return calls


def _with_life_cycle() -> TinyImage:
    tiny = _tracing("init", "first", "second", "fini", "last")
    arrays = [(DATA + 16, 1), (DATA + 24, 2), (DATA + 32, 3), (DATA + 40, 4)]
    tiny.relocations += [Relocation(place, 8, "", CODE + 32 * n) for place, n in arrays]
    tiny.tags += [
        (DT_INIT, CODE),
        (DT_INIT_ARRAY, DATA + 16),
        (DT_INIT_ARRAYSZ, 16),
        (DT_FINI_ARRAY, DATA + 32),
        (DT_FINI_ARRAYSZ, 16),
        (DT_FINI, CODE + 32),
    ]
    return tiny


def test_constructors_run_in_order_and_finalisers_in_reverse(
    load: Load, platform: Platform
) -> None:
    calls = _trace(platform)
    image = load(_with_life_cycle())
    assert [call[3] for call in calls] == [0, 1, 2]
    calls.clear()
    platform.namespace.unload(image)
    assert [call[3] for call in calls] == [4, 3, 1]


def test_constructors_get_no_arguments_and_an_empty_environment(
    load: Load, platform: Platform
) -> None:
    calls = _trace(platform)
    load(_with_life_cycle())
    for count, argv, environment, _ in calls:
        assert count == 0
        assert platform.machine.memory.read_u64(argv) == 0
        assert platform.machine.memory.read_u64(environment) == 0


def test_plugins_are_told_of_an_image_before_its_constructors_and_after_its_finalisers(
    load: Load, platform: Platform, witness: object
) -> None:
    order: list[str] = []
    platform.namespace.provide(
        "test",
        CFunction(
            "void trace(long a)",
            lambda _: order.append(" ".join(e[0] for e in witness.events)),  # type: ignore[attr-defined]
        ),
    )
    image = load(_with_life_cycle())
    platform.namespace.unload(image)
    assert order == ["loaded"] * 6
    assert witness.events == [("loaded", image, True), ("unloaded", image, True)]  # type: ignore[attr-defined]


def test_unloading_gives_all_memory_back(load: Load, platform: Platform) -> None:
    before = regions(platform)
    image = load(TinyImage(data=b"x"))
    platform.namespace.unload(image)
    assert regions(platform) == before


def test_a_failing_relocation_leaves_nothing_behind(
    load: Load, platform: Platform, witness: object
) -> None:
    before = regions(platform)
    with pytest.raises(ImageError):
        load(TinyImage(data=b"x", relocations=[Relocation(DATA, 99)]))
    assert regions(platform) == before
    assert platform.namespace.images == ()
    assert witness.events == []  # type: ignore[attr-defined]


def test_an_error_raised_in_a_constructor_leaves_nothing_behind(
    load: Load, platform: Platform, witness: object
) -> None:
    def refuse(_: int) -> None:
        raise ZeroDivisionError("in a constructor")

    platform.namespace.provide("test", CFunction("void trace(long a)", refuse))
    platform.namespace.resolve("trace")
    load(TinyImage(tags=[(DT_INIT, CODE)]), "harmless.so")
    before = regions(platform)
    with pytest.raises(PluginError, match="ZeroDivisionError: in a constructor"):
        load(_with_life_cycle(), "failing.so")
    assert regions(platform) == before
    assert [image.name for image in platform.namespace.images] == ["harmless.so"]
    assert [event[0] for event in witness.events] == ["loaded", "loaded", "unloaded"]  # type: ignore[attr-defined]


def test_a_constructor_outside_the_image_kills_and_leaves_nothing_behind(
    load: Load, platform: Platform
) -> None:
    with pytest.raises(GuestKilled):
        load(TinyImage(tags=[(DT_INIT, 0x5000_0000)]))
    assert platform.namespace.images == ()


def test_a_table_of_constructors_outside_the_image_is_refused(
    load: Load, platform: Platform
) -> None:
    before = regions(platform)
    for address in (0x5000, 0x9000 - 8, 1 << 60):
        with pytest.raises(ImageError, match="its table of constructors"):
            load(TinyImage(tags=[(DT_INIT_ARRAY, address), (DT_INIT_ARRAYSZ, 16)]))
    assert platform.namespace.images == ()
    assert len(regions(platform)) <= len(before) + 3  # the arena of the empty environment


def test_a_platform_without_room_refuses_in_one_line(load: Load, platform: Platform) -> None:
    data = bytearray(TinyImage().build())
    at = 64 + 2 * 56 + 40
    size = platform.machine.memory.territory.size
    data[at : at + 8] = pack("<Q", size)
    # The segment behind it has to move out of the way.
    for header in (3, 4):
        address = 64 + header * 56 + 16
        data[address : address + 8] = pack("<Q", size + DYNAMIC)
    with pytest.raises(ImageError, match="bytes of address space"):
        load(_ready(data))


def test_a_hundred_loads_leave_nothing_open(
    load: Load, platform: Platform, witness: object
) -> None:
    gc.collect()
    before = open_descriptors()
    for _ in range(100):
        platform.namespace.unload(load(TinyImage()))
        witness.events.clear()  # type: ignore[attr-defined]
    gc.collect()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
