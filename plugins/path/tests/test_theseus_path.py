"""Theseus's path type: what it shares with std's, and the quirks that are its own.

Expected values are those of Theseus's ``kernel/path``, its documentation and tests.
"""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import OpenMode
from theseus_kit_path import Path, TheseusPath, TheseusPathBuf, TheseusPathPlugin

PATHS = st.text(st.sampled_from("ab./é"), max_size=12)


def refused(number):
    return pytest.raises(PlatformError, check=lambda error: error.errno == number)


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ("", "a", "/a"),
        ("/", "a", "//a"),
        ("/etc", "passwd", "/etc/passwd"),
        ("/etc/", "passwd", "/etc//passwd"),
        ("/etc", "/bin/sh", "/bin/sh"),
        ("a", "", "a/"),
    ],
)
def test_pushing_always_inserts_a_slash(one, other, joined):
    buffer = TheseusPathBuf(one)
    buffer.push(other)
    assert str(buffer) == str(TheseusPath(one).join(other)) == joined


@pytest.mark.parametrize(("one", "other"), [("a//b", "a/b"), ("a/./b", "a/b"), ("a/", "a")])
def test_paths_are_equal_by_their_text_alone(one, other):
    assert TheseusPath(one) != TheseusPath(other)
    assert TheseusPath(one) == TheseusPath(one)
    assert Path(one) == Path(other)


def test_paths_are_ordered_by_their_text():
    texts = ["", "/", "a", "a/./b", "a//b", "a/b", "é"]
    assert [str(path) for path in sorted(map(TheseusPath, reversed(texts)))] == sorted(texts)


@given(PATHS)
def test_components_parent_and_names_are_those_of_std(text):
    ours, std = TheseusPath(text), Path(text)
    assert list(ours.components()) == list(std.components())
    assert [str(part) for part in reversed(ours.components())] == list(reversed(std.iter()))
    assert str(ours.parent()) == str(std.parent())
    assert ours.file_name() == std.file_name()
    assert ours.file_stem() == std.file_stem()
    assert ours.extension() == std.extension()
    assert ours.is_absolute() == std.is_absolute()


@pytest.mark.parametrize(
    ("path", "base", "relative"),
    [
        ("/a/b/c", "/a", "b/c"),
        ("/a/b", "/a/c/d", "../../b"),
        ("/a", "/a/b/c", "../.."),
        ("/a/b", "/a/b", ""),
        ("a/b", "a/c", "../b"),
        ("/a", "b", "/a"),
        ("a", "/b", None),
        ("a", "..", None),
        ("../a", "..", "a"),
        ("a", ".", "a"),
        ("a/b", "./c", "a/../b"),
    ],
)
def test_the_way_from_a_base_is_what_theseus_makes_of_it(path, base, relative):
    found = TheseusPath(path).relative(base)
    assert (None if found is None else str(found)) == relative


def test_popping_cuts_to_the_parent():
    buffer = TheseusPathBuf("/spirited/away.rs")
    assert buffer.pop()
    assert buffer.as_path() == TheseusPath("/spirited")
    assert buffer.pop()
    assert buffer.as_path() == TheseusPath("/")
    assert not buffer.pop()


def test_collecting_puts_a_slash_between_every_two():
    assert str(TheseusPathBuf.from_iter(["/", "a", TheseusPath("b")])) == "//a/b"


def test_a_name_that_is_not_utf8_cannot_be_said():
    for make in (
        lambda: TheseusPath("\udcff"),
        lambda: TheseusPath.from_host_bytes(b"\xff"),
        lambda: TheseusPath.from_std(Path.from_host_bytes(b"\xff")),
        lambda: TheseusPath("a").join("\udcff"),
        lambda: TheseusPathBuf("a").push("\udcff"),
    ):
        with refused(errno.EILSEQ):
            make()


@given(PATHS)
def test_the_two_kinds_of_path_turn_into_each_other_and_back(text):
    assert TheseusPath.from_std(Path(text)).to_std() == Path(text)
    assert str(TheseusPath.from_std(Path(text))) == text
    assert TheseusPath.from_host_bytes(TheseusPath(text).to_host_bytes()) == TheseusPath(text)


def test_look_ups_tell_files_from_directories_and_nothing(provide, inside):
    files = provide(TheseusPathPlugin)
    (inside / "sub").mkdir()
    (inside / "sub" / "f").write_text("five!")
    files.mount(inside, "/data")
    cwd = files.open("/data/sub", OpenMode.READ)
    hooks = files.hooks
    assert TheseusPath("f").get_file(hooks, cwd).size == 5
    assert TheseusPath("../sub/f").get(hooks, cwd) == TheseusPath("/data/sub/f").get(hooks)
    assert TheseusPath("..").get_dir(hooks, cwd) == TheseusPath("/data").get_absolute(hooks)
    assert TheseusPath("f").get_dir(hooks, cwd) is None
    assert TheseusPath("..").get_file(hooks, cwd) is None
    assert TheseusPath("f").get_absolute(hooks) is None
    assert TheseusPath("none").get(hooks, cwd) is None
