"""Mounts: what they make visible and where, what cannot be mounted, what unmounting takes away."""

import errno
import os
import time
from pathlib import Path as HostPath

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, Mount, OpenMode
from theseus_kit_path import Path
from theseus_kit_path.namespace import Namespace

READ = OpenMode.READ


def refused(number):
    """The block is refused with this errno."""
    return pytest.raises(PlatformError, check=lambda error: error.errno == number)


def open_descriptors():
    return sum(1 for _ in HostPath("/proc/self/fd").iterdir())


@pytest.fixture
def data(files, inside):
    """``inside`` mounted for writing at /data."""
    files.mount(inside, "/data", writable=True)
    return inside


def test_a_file_of_a_mounted_directory_is_read(files, data):
    (data / "note").write_bytes(b"hello")
    assert files.read("/data/note") == b"hello"


def test_a_single_mounted_file_is_read_and_its_neighbours_are_not(files, inside):
    (inside / "module.wasm").write_bytes(b"wasm")
    (inside / "other").write_bytes(b"other")
    files.mount(inside / "module.wasm", "/app/m.wasm")
    assert files.read("/app/m.wasm") == b"wasm"
    assert files.names("/app") == ["m.wasm"]
    with refused(errno.ENOENT):
        files.read("/app/other")


def test_nothing_is_there_until_it_is_mounted(files):
    assert files.names("/") == []
    with refused(errno.ENOENT):
        files.read("/etc/passwd")


def test_mount_points_are_listed_among_the_files_around_them(files, data, tmp_path):
    (data / "note").write_bytes(b"")
    (tmp_path / "more").mkdir()
    files.mount(tmp_path / "more", "/data/more")
    files.mount(tmp_path / "secret", "/data/one-file")
    kinds = {entry.name: entry.kind for entry in files.list("/data")}
    assert kinds == {
        "more": FileKind.DIRECTORY,
        "note": FileKind.FILE,
        "one-file": FileKind.FILE,
    }


def test_a_host_directory_shows_through_the_way_to_a_deeper_mount(files, data, tmp_path):
    (data / "sub").mkdir()
    (data / "sub" / "own").write_bytes(b"own")
    files.mount(tmp_path / "secret", "/data/sub/secret")
    assert files.names("/data/sub") == ["own", "secret"]
    assert files.read("/data/sub/own") == b"own"


def test_a_mount_at_the_root_holds_the_mounts_below_it(files, inside, tmp_path):
    (inside / "note").write_bytes(b"root")
    files.mount(inside, "/")
    files.mount(tmp_path / "secret", "/etc/secret")
    assert files.names("/") == ["etc", "note"]
    assert files.read("/note") == b"root"
    assert files.read("/etc/secret") == b"secret"


def test_unmounting_takes_the_files_away_but_not_the_open_ones(files, data):
    (data / "note").write_bytes(b"hello")
    file = files.open("/data/note")
    files.unmount("/data")
    assert file.read() == b"hello"
    assert files.names("/") == []
    with refused(errno.ENOENT):
        files.unmount("/data")


def test_closing_the_platform_gives_every_descriptor_back(inside):
    (inside / "note").write_bytes(b"")
    before = open_descriptors()
    namespace = Namespace(time.time_ns)
    namespace.mount(Mount(inside, "/data"))
    namespace.mount(Mount(inside / "note", "/one"))
    for path in ("/data/note", "/data", "/", "/one"):
        namespace.open(Path(path), READ, 0)
    namespace.close()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("target", "number"),
    [("data", errno.EINVAL), ("/a/../b", errno.EINVAL), ("/data", errno.EEXIST)],
)
def test_mounting_refuses_a_bad_or_taken_target(files, data, inside, target, number):
    with refused(number):
        files.mount(inside, target)


def test_mounting_refuses_what_does_not_exist_or_is_no_file(files, inside):
    os.mkfifo(inside / "fifo")
    with refused(errno.ENOENT):
        files.mount(inside / "none", "/x")
    with refused(errno.EINVAL):
        files.mount(inside / "fifo", "/x")
    assert files.names("/") == []


def test_mounting_below_a_mounted_file_or_a_file_over_mounts_is_refused(files, inside, tmp_path):
    files.mount(tmp_path / "secret", "/a/file")
    with refused(errno.ENOTDIR):
        files.mount(inside, "/a/file/below")
    with refused(errno.ENOTDIR):
        files.mount(tmp_path / "secret", "/a")
    assert files.names("/a") == ["file"]
