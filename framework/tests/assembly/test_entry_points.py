"""Entry points, held to what importlib.metadata finds on the same path."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from theseus_kit.assembly.entry_points import EntryPoint, entry_points

ABOUT = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Name: not this\n\nbody\n"


def install(folder: Path, stem: str, text: str, name: str = "some.Thing", suffix: str = "") -> None:
    about = folder / f"{stem}{suffix or '.dist-info'}"
    about.mkdir(parents=True)
    file = "PKG-INFO" if suffix == ".egg-info" else "METADATA"
    (about / file).write_text(ABOUT.format(name=name, version=stem.partition("-")[2]))
    (about / "entry_points.txt").write_text(text)


def pairs(group: str) -> list[tuple[str, str]]:
    return sorted((found.name, found.value) for found in entry_points(group))


def expected(group: str) -> list[tuple[str, str]]:
    return sorted((found.name, found.value) for found in metadata.entry_points(group=group))


@pytest.mark.parametrize("group", ["theseus_kit", "console_scripts", "pytest11", "nobody's"])
def test_this_environment_s_entry_points_are_found(group: str) -> None:
    assert pairs(group) == expected(group)


def test_the_distributions_are_named_as_their_metadata_has_them() -> None:
    names = {found.name: found.distribution for found in entry_points("theseus_kit")}
    for entry in metadata.entry_points(group="theseus_kit"):
        assert entry.dist is not None
        assert names[entry.name] == f"{entry.dist.name} {entry.dist.version}"


def test_the_distributions_are_named_the_same_where_a_zip_file_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipfile.ZipFile(tmp_path / "some.zip", "w").close()
    monkeypatch.syspath_prepend(str(tmp_path / "some.zip"))
    names = {found.name: found.distribution for found in entry_points("theseus_kit")}
    (entry,) = metadata.entry_points(group="theseus_kit", name="region")
    assert entry.dist is not None
    assert names["region"] == f"{entry.dist.name} {entry.dist.version}"


def test_comments_spaces_and_other_groups_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "some_thing-1.0",
        "[other]\na = b:c\n\n[group]\n# no = entry:point\n\n first=os:path.join\n"
        "second =  sys : flags [extra]\n[last]\nfirst = x:y\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pairs("group") == expected("group")
    assert [found.load() for found in entry_points("group")] == [
        __import__("os").path.join,
        sys.flags,
    ]
    assert entry_points("group")[0].distribution == "some.Thing 1.0"


def test_the_first_distribution_of_a_name_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "second", "Some.Thing-1.0", "[group]\nold = a:b\n")
    install(tmp_path / "first", "some_thing-2.0", "[group]\nnew = a:b\n", suffix=".egg-info")
    for folder in ("second", "first"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert pairs("group") == expected("group") == [("new", "a:b")]
    assert entry_points("group")[0].distribution == "some.Thing 2.0"


def test_an_archive_on_the_path_is_searched_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("packed-3.0.dist-info/METADATA", ABOUT.format(name="packed", version="3.0"))
        packed.writestr("packed-3.0.dist-info/entry_points.txt", "[group]\ninside = a:b\n")
    monkeypatch.syspath_prepend(str(archive))
    assert pairs("group") == expected("group") == [("inside", "a:b")]
    assert entry_points("group")[0].distribution == "packed 3.0"


def test_an_object_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        EntryPoint("name", "sys:no_such_thing", "x-1").load()
