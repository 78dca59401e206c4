"""``--dir``, ``--dir-ro`` and ``--memfs``: mounts and preopened directories from text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from theseus_kit import UsageError
from theseus_kit.cli.directories import parse_directories
from theseus_kit.values.paths import MemoryMount, Mount
from theseus_kit.values.programs import Preopen


def test_a_directory_is_mounted_and_preopened_under_the_guests_name(tmp_path: Path) -> None:
    (found,) = parse_directories([f"{tmp_path}::/data"], [], [])
    assert isinstance(found.mount, Mount)
    assert (found.mount.source, found.mount.writable) == (tmp_path, True)
    assert found.preopen == Preopen(found.mount.target, "/data", True)


def test_a_read_only_directory_is_so_for_the_mount_and_for_wasi(tmp_path: Path) -> None:
    (found,) = parse_directories([], [str(tmp_path)], [])
    assert isinstance(found.mount, Mount)
    assert not found.mount.writable
    assert not found.preopen.writable
    assert found.preopen.name == str(tmp_path)


def test_each_directory_has_a_mount_of_its_own(tmp_path: Path) -> None:
    found = parse_directories([f"{tmp_path}::/"] * 2, [f"{tmp_path}::/"], ["/", "/m"])
    targets = [directory.mount.target for directory in found]
    assert len(set(targets)) == 5
    assert [directory.preopen.directory for directory in found] == targets


def test_a_relative_directory_is_the_working_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    here, below = parse_directories([".", "data::d"], [], [])
    assert isinstance(here.mount, Mount)
    assert isinstance(below.mount, Mount)
    assert here.mount.source.samefile(tmp_path)
    assert here.preopen.name == "."
    assert below.mount.source.samefile(tmp_path / "data")


def test_a_tree_in_memory_may_have_a_limit() -> None:
    plain, limited, odd = parse_directories([], [], ["/scratch", "/small=4KiB", "/a=b=1MiB"])
    assert plain.mount == MemoryMount(plain.preopen.directory)
    assert limited.mount == MemoryMount(limited.preopen.directory, 4096)
    assert (odd.mount, odd.preopen.name) == (MemoryMount(odd.preopen.directory, 1 << 20), "/a=b")


@pytest.mark.parametrize(
    ("writable", "memory", "message"),
    [
        (["::/data"], [], "--dir ::/data: name a directory of the host"),
        (["/nowhere/at/all"], [], "--dir /nowhere/at/all: .* no such directory"),
        (["/etc/passwd::/d"], [], "/etc/passwd is a file: name the directory it is in"),
        ([], [""], "name the directory that the program is to see"),
        ([], ["=1MiB"], "name the directory that the program is to see"),
        ([], ["/m=1Mi"], "--memfs /m=1Mi: no unit is named 'Mi'"),
    ],
)
def test_what_is_no_directory_is_refused(
    writable: list[str], memory: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        parse_directories(writable, [], memory)


def test_a_name_that_is_not_utf8_needs_another(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(odd).mkdir()
    with pytest.raises(UsageError, match="give it another with HOST::GUEST"):
        parse_directories([odd], [], [])
    (found,) = parse_directories([f"{odd}::/d"], [], [])
    assert found.preopen.name == "/d"
