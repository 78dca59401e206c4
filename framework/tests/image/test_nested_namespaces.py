"""Namespaces nest as Theseus's do: own symbols first, then the parent's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import Image, ImageError, Namespace, Platform
from theseus_kit.values.linkage import CFunction

from .tiny_image import CODE, DATA, OBJECT, UNIQUE, Relocation, Symbol, TinyImage

Load = Callable[..., Image]
Word = Callable[[int], int]


def defining(*symbols: Symbol) -> TinyImage:
    """An image with symbols and, for each, a word from DATA on that refers to it."""
    relocations = [Relocation(DATA + 8 * n, 6, s.name) for n, s in enumerate(symbols)]
    return TinyImage(symbols=list(symbols), relocations=relocations)


@pytest.fixture
def load_in(tmp_path: Path) -> Load:
    """Loads a tiny image into a namespace."""

    def write_and_load(namespace: Namespace, tiny: TinyImage, name: str) -> Image:
        return namespace.load(tiny.write(tmp_path / name))

    return write_and_load


@pytest.fixture
def root(platform: Platform) -> Namespace:
    return platform.namespace


def test_an_image_in_a_child_is_bound_to_its_own_namespace_then_to_the_parents(
    root: Namespace, load_in: Load, word: Word
) -> None:
    library = defining(Symbol("f", CODE), Symbol("g", CODE))
    above = load_in(root, library, "above.so")
    child = root.create_child("child")
    beside = load_in(child, defining(Symbol("f", CODE)), "beside.so")
    user = load_in(child, defining(Symbol("f"), Symbol("g"), Symbol("strlen")), "user.so")
    assert word(user.base + DATA) == beside.symbol("f")
    assert word(user.base + DATA + 8) == above.symbol("g")
    assert word(user.base + DATA + 16) == root.resolve("strlen")


def test_a_parent_does_not_see_what_its_child_defines(root: Namespace, load_in: Load) -> None:
    child = root.create_child("child")
    load_in(child, TinyImage(symbols=[Symbol("inner", CODE)]), "inner.so")
    user = load_in(root, defining(Symbol("inner")), "user.so")
    assert user.missing == ("inner",)
    assert root.resolve("inner") is None
    assert root.get_symbol("inner") is None


def test_siblings_do_not_see_each_other(root: Namespace, load_in: Load) -> None:
    one, two = root.create_child("one"), root.create_child("two")
    image = load_in(one, TinyImage(symbols=[Symbol("f", CODE)]), "one.so")
    assert load_in(two, defining(Symbol("f")), "two.so").missing == ("f",)
    assert two.image_at(image.base) is None
    assert two.get_section_containing_address(image.symbol("f")) is None


def test_a_child_may_put_its_own_definition_before_a_plugins(
    root: Namespace, load_in: Load, word: Word
) -> None:
    child = root.create_child("child")
    own = load_in(child, defining(Symbol("strlen", CODE)), "own.so")
    user = load_in(child, defining(Symbol("strlen")), "user.so")
    outside = load_in(root, defining(Symbol("strlen")), "outside.so")
    assert word(own.base + DATA) == word(user.base + DATA) == own.symbol("strlen")
    assert word(outside.base + DATA) == root.resolve("strlen") != own.symbol("strlen")
    assert child.provider_of("strlen") == "own.so"
    assert root.provider_of("strlen") == "tlibc"


def test_a_unique_symbol_is_its_parents_if_that_has_it(
    root: Namespace, load_in: Load, word: Word
) -> None:
    unique = defining(Symbol("only", DATA + 64, type=OBJECT, binding=UNIQUE))
    first = load_in(root, unique, "first.so")
    second = load_in(root.create_child("child"), unique, "second.so")
    assert word(second.base + DATA) == first.symbol("only")


def test_lookups_go_through_any_depth(root: Namespace, load_in: Load) -> None:
    image = load_in(root, TinyImage(symbols=[Symbol("f", CODE)]), "deep.so")
    deepest = root.create_child("a").create_child("b").create_child("c")
    assert deepest.resolve("f") == image.symbol("f")
    assert deepest.image("deep.so") is image
    found = deepest.get_symbol("f")
    assert found is not None
    assert (found.name, found.range.start, found.image) == ("f", image.symbol("f"), image)


def test_get_symbol_finds_what_plugins_provide_at_the_root(
    root: Namespace, platform: Platform
) -> None:
    root.provide("test", CFunction("int provided(void)", lambda: 3))
    found = root.create_child("child").get_symbol("provided")
    assert found is not None
    assert found.image is None
    assert platform.machine.call(found.range.start) == 3
    assert found.sections_i_depend_on == found.sections_dependent_on_me == ()


def test_a_prefix_finds_the_only_symbol_that_starts_with_it(root: Namespace, load_in: Load) -> None:
    symbols = [Symbol("unit::loop::h1", CODE), Symbol("unit::loop2::h1", CODE)]
    load_in(root, TinyImage(symbols=symbols), "unit.so")
    found = root.get_symbol_starting_with("unit::loop::")
    assert found is not None
    assert found.name == "unit::loop::h1"
    assert root.get_symbol_starting_with("unit::loop") is None
    assert root.get_symbol_starting_with("nobody") is None


def test_a_prefix_is_looked_for_in_the_namespace_then_in_its_parent(
    root: Namespace, load_in: Load
) -> None:
    load_in(root, TinyImage(symbols=[Symbol("only::a", CODE), Symbol("both::a", CODE)]), "r.so")
    child = root.create_child("child")
    inner = load_in(child, TinyImage(symbols=[Symbol("both::b", CODE)]), "c.so")
    above, here = child.get_symbol_starting_with("only"), child.get_symbol_starting_with("both")
    assert above is not None
    assert here is not None
    assert (above.name, here.name, here.image) == ("only::a", "both::b", inner)


def test_the_root_sees_every_image_and_a_child_those_it_can_be_bound_to(
    root: Namespace, load_in: Load
) -> None:
    child = root.create_child("child")
    grandchild = child.create_child("grandchild")
    above = load_in(root, TinyImage(), "above.so")
    middle = load_in(child, TinyImage(), "middle.so")
    below = load_in(grandchild, TinyImage(), "below.so")
    assert root.images == (above, middle, below)
    assert child.images == (middle, below)
    assert child.own_images == (middle,)
    for namespace in (root, child, grandchild):
        assert [namespace.image_at(i.base) for i in root.images] == [above, middle, below]
    assert middle.namespace is child


def test_an_image_in_use_from_a_child_is_not_unloaded(root: Namespace, load_in: Load) -> None:
    library = load_in(root, TinyImage(symbols=[Symbol("f", CODE)]), "library.so")
    child = root.create_child("child")
    user = load_in(child, defining(Symbol("f")), "user.so")
    with pytest.raises(ImageError, match=r"library\.so: is in use by user\.so \(f\)"):
        root.unload(library)
    with pytest.raises(ImageError, match="is not loaded in this namespace"):
        child.unload(library)
    root.unload(user)
    root.unload(library)
    assert user.namespace is None


def test_closing_a_child_unloads_its_images_and_those_below(root: Namespace, load_in: Load) -> None:
    child = root.create_child("child")
    load_in(child, TinyImage(symbols=[Symbol("f", CODE)]), "one.so")
    load_in(child.create_child("grandchild"), defining(Symbol("f")), "two.so")
    kept = load_in(root, TinyImage(), "kept.so")
    child.close()
    assert root.images == (kept,)
    assert root.children == ()
    assert root.create_child("child").images == ()


def test_two_children_of_one_name_are_refused(root: Namespace) -> None:
    child = root.create_child("child")
    assert (child.name, child.parent, root.parent) == ("child", root, None)
    with pytest.raises(ImageError, match="root has a child child already"):
        root.create_child("child")
