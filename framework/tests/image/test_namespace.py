"""References are bound in a dynamic linker's order; what is missing says so by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import GuestKilled, Image, ImageError, MissingSymbolError, Platform
from theseus_kit.values.linkage import CFunction, CObject

from .tiny_image import (
    CODE,
    DATA,
    OBJECT,
    UNIQUE,
    WEAK,
    Relocation,
    Symbol,
    TinyImage,
    jump_through,
    lay_out,
)

Load = Callable[..., Image]
Word = Callable[[int], int]


def defining(*symbols: Symbol, **image: object) -> TinyImage:
    """An image with symbols and, for each, a word from DATA on that refers to it."""
    relocations = [Relocation(DATA + 8 * n, 6, s.name) for n, s in enumerate(symbols)]
    return TinyImage(symbols=list(symbols), relocations=relocations, **image)


def test_a_plugins_symbol_comes_before_an_images_own(
    load: Load, platform: Platform, word: Word
) -> None:
    platform.namespace.provide("test", CObject("shared", bytes(8)))
    image = load(defining(Symbol("shared", DATA + 64, type=OBJECT)))
    assert word(image.base + DATA) == platform.namespace.resolve("shared")
    assert word(image.base + DATA) != image.symbols["shared"]


def test_an_image_does_not_shadow_a_plugins_symbol_for_others(
    load: Load, platform: Platform, word: Word
) -> None:
    load(TinyImage(symbols=[Symbol("strlen", CODE)]), "shadow.so")
    user = load(defining(Symbol("strlen")), "user.so")
    assert word(user.base + DATA) == platform.namespace.resolve("strlen")
    assert platform.namespace.image_at(word(user.base + DATA)) is None
    assert platform.namespace.provider_of("strlen") == "tlibc"


@pytest.mark.parametrize(
    "own",
    [
        defining(Symbol("shared", DATA + 64, type=OBJECT, visibility=3)),
        defining(Symbol("shared", DATA + 64, type=OBJECT, visibility=2)),
        defining(Symbol("shared", DATA + 64, type=OBJECT), tags=[(16, 0)]),
        defining(Symbol("shared", DATA + 64, type=OBJECT), tags=[(30, 2)]),
    ],
    ids=["protected", "hidden", "DT_SYMBOLIC", "DF_SYMBOLIC"],
)
def test_an_image_may_insist_on_its_own_definition(
    load: Load, platform: Platform, word: Word, own: TinyImage
) -> None:
    platform.namespace.provide("test", CObject("shared", bytes(8)))
    image = load(own)
    assert word(image.base + DATA) == image.base + DATA + 64


def test_an_images_own_definition_comes_before_another_images(load: Load, word: Word) -> None:
    load(TinyImage(symbols=[Symbol("shared", DATA, type=OBJECT)]), "first.so")
    image = load(defining(Symbol("shared", DATA + 64, type=OBJECT)), "second.so")
    assert word(image.base + DATA) == image.base + DATA + 64


def test_a_unique_symbol_is_the_first_images_for_all(load: Load, word: Word) -> None:
    first = load(TinyImage(symbols=[Symbol("one", DATA, OBJECT, UNIQUE)]), "first.so")
    image = load(defining(Symbol("one", DATA + 64, OBJECT, UNIQUE)), "second.so")
    assert word(image.base + DATA) == first.base + DATA


def test_other_images_are_searched_in_load_order(load: Load, word: Word) -> None:
    load(TinyImage(symbols=[Symbol("other", CODE)]), "zero.so")
    first = load(TinyImage(symbols=[Symbol("shared", CODE)]), "first.so")
    load(TinyImage(symbols=[Symbol("shared", CODE)]), "second.so")
    image = load(defining(Symbol("shared")), "user.so")
    assert word(image.base + DATA) == first.base + CODE


def test_the_version_asked_for_comes_before_load_order(load: Load, word: Word) -> None:
    load(TinyImage(symbols=[Symbol("f", CODE, version="V1")]), "first.so")
    second = load(TinyImage(symbols=[Symbol("f", CODE, version="V2")]), "second.so")
    image = load(defining(Symbol("f", version="V2")), "user.so")
    assert word(image.base + DATA) == second.base + CODE


def test_another_default_version_is_better_than_none(load: Load, word: Word) -> None:
    first = load(TinyImage(symbols=[Symbol("f", CODE, version="V1")]), "first.so")
    image = load(defining(Symbol("f", version="V9")), "user.so")
    assert word(image.base + DATA) == first.base + CODE


def test_a_weak_reference_to_nothing_is_zero_and_not_missing(load: Load, word: Word) -> None:
    image = load(defining(Symbol("perhaps", binding=WEAK)), strict=True)
    assert word(image.base + DATA) == 0
    assert image.missing == ()


def test_calling_a_missing_function_raises_by_name_and_leaves_the_platform_usable(
    load: Load, platform: Platform
) -> None:
    tiny = TinyImage(
        code=lay_out((CODE, jump_through(CODE, DATA)), (CODE + 16, b"\xb0\x07\xc3")),
        symbols=[Symbol("nowhere"), Symbol("call_it", CODE), Symbol("seven", CODE + 16)],
        relocations=[Relocation(DATA, 7, "nowhere")],
    )
    image = load(tiny)
    for _ in range(3):
        with pytest.raises(MissingSymbolError, match=r"libtiny\.so called nowhere") as caught:
            image.call("call_it")
    assert (caught.value.name, caught.value.image) == ("nowhere", "libtiny.so")
    assert image.call("seven") & 0xFF == 7
    assert platform.namespace.missing == ((image, "nowhere"),)


def test_strict_refuses_an_image_with_missing_symbols_and_lists_them(
    load: Load, platform: Platform, witness: object
) -> None:
    tiny = defining(Symbol("first_one"), Symbol("strlen"), Symbol("second_one"))
    with pytest.raises(ImageError, match=r"no plugin provides 2 .*first_one, second_one;"):
        load(tiny, strict=True)
    assert platform.namespace.images == ()
    assert witness.events == []  # type: ignore[attr-defined]


def test_a_missing_variable_is_a_page_nobody_can_touch(load: Load, platform: Platform) -> None:
    # mov rax, [rip + …]; mov rax, [rax]; ret
    code = bytes.fromhex("48 8b 05") + (DATA - CODE - 7).to_bytes(4, "little")
    code += bytes.fromhex("48 8b 00 c3")
    tiny = TinyImage(
        code=code,
        symbols=[Symbol("no_such_variable", type=OBJECT), Symbol("read_it", CODE)],
        relocations=[Relocation(DATA, 6, "no_such_variable")],
    )
    image = load(tiny)
    region = platform.hooks.memory_query(
        address=platform.machine.memory.read_u64(image.base + DATA)
    )
    assert region.label == "variable no_such_variable, which libtiny.so misses"
    with pytest.raises(GuestKilled, match="read of"):
        image.call("read_it")


def test_the_first_plugin_that_provides_a_name_counts(platform: Platform) -> None:
    space = platform.namespace
    assert space.provide("one", CObject("thing", b"1"))
    assert not space.provide("two", CObject("thing", b"2"))
    assert space.provider_of("thing") == "one"
    assert platform.machine.memory.read(space.resolve("thing") or 0, 1) == b"1"


def test_a_provided_function_gets_its_address_once(platform: Platform) -> None:
    platform.namespace.provide("test", CFunction("int nine(void)", lambda: 9))
    address = platform.namespace.resolve("nine")
    assert address is not None
    assert platform.namespace.resolve("nine") == address
    assert platform.machine.call(address) == 9


def test_provided_variables_are_aligned_and_do_not_overlap(platform: Platform) -> None:
    space, memory = platform.namespace, platform.machine.memory
    for n in range(200):
        space.provide("test", CObject(f"v{n}", bytes([n]) * (n + 1), alignment=1 << n % 13))
    addresses = [space.resolve(f"v{n}") or 0 for n in range(200)]
    for n, address in enumerate(addresses):
        assert address % (1 << n % 13) == 0
        assert memory.read(address, n + 1) == bytes([n]) * (n + 1)


def test_a_large_provided_variable_has_room(platform: Platform) -> None:
    platform.namespace.provide("test", CObject("large", b"x" * 300_000))
    address = platform.namespace.resolve("large")
    assert platform.machine.memory.read(address or 0, 300_000) == b"x" * 300_000


def test_resolve_finds_plugins_symbols_then_images_then_nothing(
    load: Load, platform: Platform
) -> None:
    image = load(TinyImage(symbols=[Symbol("ours", CODE)]))
    space = platform.namespace
    assert space.resolve("ours") == image.base + CODE
    assert space.provider_of("ours") == "libtiny.so"
    assert space.resolve("strlen") is not None
    assert space.resolve("nothing_at_all") is None
    assert space.provider_of("nothing_at_all") is None


def test_an_image_is_found_by_any_address_inside_it(load: Load, platform: Platform) -> None:
    images = [load(TinyImage(), f"lib{n}.so") for n in range(5)]
    space = platform.namespace
    for image in images:
        assert space.image_at(image.range.start) is image
        assert space.image_at(image.base + CODE) is image
        assert space.image_at(image.range.end - 1) is image
        assert space.image_at(image.range.end) is not image
        assert space.image(image.name) is image
    assert space.image_at(0) is None
    assert space.images == tuple(images)


def test_a_file_loaded_twice_becomes_two_images(platform: Platform, tmp_path: Path) -> None:
    path = TinyImage(symbols=[Symbol("f", CODE)]).write(tmp_path / "twice.so")
    first, second = platform.load(path), platform.load(path)
    assert first is not second
    assert not first.range.overlaps(second.range)


def test_an_image_in_use_is_not_unloaded(load: Load, platform: Platform) -> None:
    library = load(TinyImage(symbols=[Symbol("f", CODE)]), "library.so")
    user = load(defining(Symbol("f")), "user.so")
    with pytest.raises(ImageError, match=r"library\.so: is in use by user\.so"):
        platform.namespace.unload(library)
    platform.namespace.unload(user)
    platform.namespace.unload(library)
    assert platform.namespace.images == ()


def test_an_image_that_failed_to_load_does_not_count_as_a_user(
    load: Load, platform: Platform
) -> None:
    library = load(TinyImage(symbols=[Symbol("f", CODE)]), "library.so")
    broken = defining(Symbol("f"))
    broken.relocations.append(Relocation(DATA + 64, 77))
    with pytest.raises(ImageError):
        load(broken, "broken.so")
    platform.namespace.unload(library)


def test_unloading_twice_is_refused(load: Load, platform: Platform) -> None:
    image = load(TinyImage())
    platform.namespace.unload(image)
    with pytest.raises(ImageError, match="is not loaded in this namespace"):
        platform.namespace.unload(image)
