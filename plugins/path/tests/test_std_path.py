"""What a path is, against Rust's std::path and by its own algebra."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path as HostPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit_path import (
    Component,
    Path,
    PathBuf,
    Prefix,
    PrefixComponent,
    PrefixKind,
    StripPrefixError,
)

DATA = HostPath(__file__).parent / "data"
"""rust_std_path.jsonl holds the answers of rust_std_path.rs, made with rustc 1.95."""

PATHS = st.text(st.sampled_from("ab./é\udcff"), max_size=12)
RELATIVE = PATHS.filter(lambda text: not text.startswith("/"))
NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
EXTENSIONS = st.text(st.sampled_from("ab."), min_size=1, max_size=4)


def rust_answers(asked):
    lines = (DATA / "rust_std_path.jsonl").read_text().splitlines()
    return [answer for [kind, *answer] in map(json.loads, lines) if kind == asked]


def text_of(path):
    return None if path is None else str(path)


def changed(text, change, *arguments):
    path = PathBuf(text)
    return [change(path, *arguments), str(path)]


def test_the_parts_of_a_path_are_those_of_rust():
    for text, *answer in rust_answers("parts"):
        path = Path(text)
        ours = [
            [[part.kind.name, part.as_os_str()] for part in path.components()],
            list(path.iter()),
            text_of(path.parent()),
            path.file_name(),
            path.file_stem(),
            path.file_prefix(),
            path.extension(),
            [path.is_absolute(), path.is_relative(), path.has_root()],
            [str(one) for one in path.ancestors()],
            changed(text, PathBuf.pop),
        ]
        assert (text, ours) == (text, answer)


def test_iterating_from_both_ends_gives_what_rust_gives():
    for text, ends, answer in rust_answers("steps"):
        components = Path(text).components()
        ours = []
        for end in ends:
            found = next(components, None) if end == "F" else components.next_back()
            ours.append([text_of(found), str(components.as_path())])
        assert (text, ends, ours) == (text, ends, answer)


def stripped(path, base):
    try:
        return str(path.strip_prefix(base))
    except StripPrefixError:
        return None


def test_two_paths_relate_as_in_rust():
    for first, second, *answer in rust_answers("pair"):
        one, other = Path(first), Path(second)
        renamed = PathBuf(first)
        renamed.set_file_name(second)
        ours = [
            str(one.join(other)),
            one == other,
            (one > other) - (one < other),
            one.starts_with(other),
            one.ends_with(other),
            stripped(one, other),
            str(one.with_file_name(second)),
            str(renamed),
        ]
        assert (first, second, ours) == (first, second, answer)


def test_extensions_are_set_and_added_as_in_rust():
    for text, extension, *answer in rust_answers("extension"):
        ours = [
            str(Path(text).with_extension(extension)),
            str(Path(text).with_added_extension(extension)),
            changed(text, PathBuf.set_extension, extension),
            changed(text, PathBuf.add_extension, extension),
        ]
        assert (text, extension, ours) == (text, extension, answer)


def test_names_that_are_not_utf8_are_told_and_shown_as_in_rust():
    for name, *answer in rust_answers("lossy"):
        path = Path.from_host_bytes(bytes.fromhex(name))
        assert (name, [path.to_str(), path.to_string_lossy()]) == (name, answer)
        assert path.display() == path.to_string_lossy()


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_the_stored_answers_are_what_rust_says_today(tmp_path):
    if subprocess.run(["rustc", "--version"], capture_output=True).returncode != 0:
        pytest.skip("needs a Rust toolchain beside its launcher")
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


@pytest.mark.parametrize("change", [PathBuf.set_extension, PathBuf.add_extension])
def test_an_extension_with_a_slash_is_refused(change):
    path = PathBuf("a.b")
    with pytest.raises(ValueError, match="cannot hold a slash"):
        change(path, "c/d")
    assert str(path) == "a.b"


def test_a_path_buffer_changes_and_its_path_does_not():
    buffer = PathBuf.with_capacity(80)
    buffer.push("a")
    before = buffer.as_path()
    buffer.push("b")
    assert (str(before), buffer.into_os_string()) == ("a", "a/b")
    assert buffer == Path("a//b")
    buffer.clear()
    assert str(buffer) == ""
    with pytest.raises(TypeError, match="unhashable"):
        hash(buffer)


def test_what_is_taken_from_a_path_buffer_stays_when_it_changes():
    buffer = PathBuf("a/b")
    parent, ancestors = buffer.parent(), buffer.ancestors()
    buffer.clear()
    assert str(parent) == "a"
    assert [str(path) for path in ancestors] == ["a/b", "a", ""]


def test_components_sort_by_kind_and_then_by_the_bytes_of_their_names():
    prefix = Component.of_prefix(PrefixComponent("C:", Prefix(PrefixKind.DISK, "C")))
    escaped, high = Component.normal("\udcff"), Component.normal("\U00010000")
    ordered = [prefix, Component.ROOT_DIR, Component.CUR_DIR, Component.PARENT_DIR, high, escaped]
    for permuted in itertools.permutations(ordered):
        assert sorted(permuted) == ordered


@pytest.mark.parametrize("kind", PrefixKind)
def test_a_prefix_is_verbatim_where_std_says_so(kind):
    assert Prefix(kind).is_verbatim() == kind.name.startswith("VERBATIM")


@given(PATHS)
def test_a_path_keeps_the_text_it_was_made_of(text):
    assert str(Path(text)) == text == os.fspath(Path(text))


@given(PATHS)
def test_joining_its_components_one_by_one_makes_an_equal_path(text):
    path = Path("")
    for component in Path(text).components():
        path = path.join(str(component))
    assert path == Path(text)


@given(PATHS)
def test_both_ends_give_the_same_components(text):
    forward = list(Path(text).components())
    assert list(reversed(Path(text).components())) == forward[::-1]
    assert list(reversed(Path(text).iter())) == [str(part) for part in forward[::-1]]


@given(PATHS, st.lists(st.booleans(), max_size=8))
def test_any_walk_from_both_ends_meets_each_component_once(text, ends):
    components = Path(text).components()
    front, back = [], []
    for from_front in ends:
        found = next(components, None) if from_front else components.next_back()
        if found is not None:
            (front if from_front else back).append(found)
    rest = list(components.clone())
    assert front + rest + back[::-1] == list(Path(text).components())
    left = [part for part in components.as_path().components() if str(part) != "."]
    assert left == [part for part in rest if str(part) != "."]


@given(PATHS, RELATIVE, RELATIVE)
def test_join_is_associative_for_relative_paths(first, second, third):
    left = Path(first).join(second).join(third)
    right = Path(first).join(Path(second).join(third))
    assert left == right


@given(PATHS, NAMES)
def test_parent_and_file_name_undo_a_join_with_a_name(text, name):
    joined = Path(text).join(name)
    assert joined.file_name() == name
    assert joined.parent() == Path(text)


@given(PATHS, RELATIVE.filter(lambda text: not text.startswith(".")))
def test_stripping_what_was_joined_to_gives_the_rest_back(first, second):
    joined = Path(first).join(second)
    assert joined.starts_with(first)
    assert joined.ends_with(second)
    assert joined.strip_prefix(first) == Path(second)


@given(PATHS, PATHS)
def test_a_prefix_that_can_be_stripped_joins_to_the_whole_again(first, second):
    path = Path(first)
    if path.starts_with(second):
        rest = path.strip_prefix(second)
        assert Path(second).join(rest) == path
    else:
        with pytest.raises(StripPrefixError):
            path.strip_prefix(second)


@given(PATHS)
def test_going_up_ends_and_loses_one_component_a_step(text):
    path = Path(text)
    while (parent := path.parent()) is not None:
        assert list(parent.components()) == list(path.components())[:-1]
        path = parent
    assert [str(part) for part in path.components()] in ([], ["/"])


@given(PATHS, PATHS)
def test_joining_an_absolute_path_replaces(first, second):
    assert str(Path(first).join("/" + second)) == "/" + second


@given(PATHS, PATHS)
def test_order_agrees_with_equality_and_with_itself_turned_round(first, second):
    one, other = Path(first), Path(second)
    assert (one == other) == (one <= other and other <= one)
    assert (one < other) == (other > one)


@given(NAMES, EXTENSIONS)
def test_an_added_extension_ends_the_file_name(name, extension):
    path = Path("d").join(name).with_added_extension(extension)
    assert path.file_name() == f"{name}.{extension}"


@given(NAMES)
def test_stem_and_extension_make_the_file_name(name):
    path = Path(name)
    extension = path.extension()
    whole = path.file_stem() + ("" if extension is None else "." + extension)
    assert whole == name


@given(st.binary(max_size=12).filter(lambda name: b"\0" not in name))
def test_host_bytes_survive_the_way_in_and_out(name):
    path = Path.from_host_bytes(name)
    assert path.to_host_bytes() == name == os.fsencode(str(path))


@given(PATHS)
def test_pathlib_and_back_keeps_the_components_but_a_leading_dot(text):
    back = Path.from_pathlib(Path(text).to_pathlib())
    dotless = [part for part in Path(text).components() if str(part) != "."]
    assert [part for part in back.components() if str(part) != "."] == dotless
