"""What a path is, against Rust's std::path and by its own algebra."""

import json
import os
import shutil
import subprocess
from pathlib import Path as HostPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit_path import Path

DATA = HostPath(__file__).parent / "data"
"""rust_std_path.jsonl holds the answers of rust_std_path.rs, made with rustc 1.95."""

PATHS = st.text(st.sampled_from("ab./é\udcff"), max_size=12)
RELATIVE = PATHS.filter(lambda text: not text.startswith("/"))
NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)


def rust_answers(length):
    lines = (DATA / "rust_std_path.jsonl").read_text().splitlines()
    return [answer for answer in map(json.loads, lines) if len(answer) == length]


def test_parts_of_every_short_path_are_those_of_rust():
    for text, components, parent, file_name, is_absolute in rust_answers(5):
        path = Path(text)
        ours = None if path.parent() is None else str(path.parent())
        assert (text, list(path.components())) == (text, components)
        assert (text, ours) == (text, parent)
        assert (text, path.file_name(), path.is_absolute()) == (text, file_name, is_absolute)


def test_join_and_equality_of_every_short_pair_are_those_of_rust():
    for first, second, joined, equal in rust_answers(4):
        assert (first, second, str(Path(first).join(second))) == (first, second, joined)
        assert (first, second, Path(first) == Path(second)) == (first, second, equal)


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_the_stored_answers_are_what_rust_says_today(tmp_path):
    program = tmp_path / "rust_std_path"
    subprocess.run(
        ["rustc", "-o", program, DATA / "rust_std_path.rs"], check=True, capture_output=True
    )
    answers = subprocess.run([program], check=True, capture_output=True).stdout
    assert answers == (DATA / "rust_std_path.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("one", "other"),
    [("a//b", "a/b"), ("a/./b", "a/b"), ("a/b/", "a/b"), ("a/b/.", "a/b"), ("//a", "/a")],
)
def test_spellings_of_the_same_components_are_equal_and_hash_alike(one, other):
    assert Path(one) == Path(other)
    assert hash(Path(one)) == hash(Path(other))


@pytest.mark.parametrize(("one", "other"), [("./a", "a"), ("a/../a", "a"), ("/a", "a"), ("", ".")])
def test_paths_of_different_components_differ(one, other):
    assert Path(one) != Path(other)


@given(PATHS)
def test_a_path_keeps_the_text_it_was_made_of(text):
    assert str(Path(text)) == text == os.fspath(Path(text))


@given(PATHS)
def test_joining_its_components_one_by_one_makes_an_equal_path(text):
    path = Path("")
    for component in Path(text).components():
        path = path.join(component)
    assert path == Path(text)


@given(PATHS, RELATIVE, RELATIVE)
def test_join_is_associative_for_relative_paths(first, second, third):
    left = Path(first).join(second).join(third)
    right = Path(first).join(str(Path(second).join(third)))
    assert left == right


@given(PATHS, NAMES)
def test_parent_and_file_name_undo_a_join_with_a_name(text, name):
    joined = Path(text).join(name)
    assert joined.file_name() == name
    assert joined.parent() == Path(text)


@given(PATHS)
def test_going_up_ends_and_loses_one_component_a_step(text):
    path = Path(text)
    while (parent := path.parent()) is not None:
        assert parent.components() == path.components()[:-1]
        path = parent
    assert path.components() in ((), ("/",))


@given(PATHS, PATHS)
def test_joining_an_absolute_path_replaces(first, second):
    assert str(Path(first).join("/" + second)) == "/" + second


@given(st.binary(max_size=12).filter(lambda name: b"\0" not in name))
def test_host_bytes_that_are_not_utf8_survive_the_way_in_and_out(name):
    assert os.fsencode(str(Path(os.fsdecode(name)))) == name
