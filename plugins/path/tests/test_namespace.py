"""The file namespace: what each operation does inside the mounts, and the errno of each no."""

import errno
import os
import time
from pathlib import Path as HostPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, Mount, OpenMode
from theseus_kit_path import Path
from theseus_kit_path.namespace import Namespace

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE


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


def test_a_relative_path_starts_at_the_root(files, data):
    (data / "note").write_bytes(b"hello")
    assert files.read("data/note") == b"hello"


@pytest.mark.parametrize("path", ["/data/a/b/note", "/data/none/x", "/data/note/x", "/data/loop/x"])
def test_walking_leaves_no_descriptor_behind_found_or_not(files, data, path):
    (data / "a" / "b").mkdir(parents=True)
    (data / "a" / "b" / "note").write_bytes(b"")
    (data / "note").write_bytes(b"")
    (data / "loop").symlink_to("loop")
    before = open_descriptors()
    for look in (files.status, files.resolve, files.names, files.read):
        try:
            look(path)
        except PlatformError:
            continue
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("link", "path", "resolved"),
    [
        ("target", "/data/link", "/data/target"),
        ("/data/target", "/data/link/", "/data/target"),
        ("target", "/data/link/../target/./inner", "/data/target/inner"),
        ("../data/target/inner", "/data/link", "/data/target/inner"),
        ("../../../../data/target", "/data/link", "/data/target"),
        ("/", "/data/link/data", "/data"),
        (".", "/data/link/link/target", "/data/target"),
        ("target/.", "/data/link", "/data/target"),
    ],
)
def test_links_are_followed_inside_the_namespace(files, data, link, path, resolved):
    (data / "target" / "inner").mkdir(parents=True)
    (data / "link").symlink_to(link)
    assert files.resolve(path) == resolved


def test_an_unfollowed_link_resolves_to_itself_unless_a_slash_follows_it(files, data):
    (data / "target").mkdir()
    (data / "link").symlink_to("target")
    assert files.resolve("/data/link", follow=False) == "/data/link"
    assert files.status("/data/link", follow=False).kind is FileKind.SYMBOLIC_LINK
    assert files.status("/data/link/", follow=False).kind is FileKind.DIRECTORY


def test_forty_links_are_followed_and_the_next_is_too_many(files, data):
    (data / "0").write_bytes(b"end")
    for number in range(1, 42):
        (data / str(number)).symlink_to(str(number - 1))
    assert files.read("/data/40") == b"end"
    with refused(errno.ELOOP):
        files.read("/data/41")


def test_a_link_to_itself_is_a_loop(files, data):
    (data / "loop").symlink_to("loop")
    for path in ("/data/loop", "/data/loop/x"):
        with refused(errno.ELOOP):
            files.status(path)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("", errno.ENOENT),
        ("/data/none", errno.ENOENT),
        ("/data/none/", errno.ENOENT),
        ("/data/note/", errno.ENOTDIR),
        ("/data/note/.", errno.ENOTDIR),
        ("/data/note/..", errno.ENOTDIR),
        ("/data/dangling", errno.ENOENT),
        ("/data/" + "n" * 256, errno.ENAMETOOLONG),
        ("/data/" + "n/" * 2048, errno.ENAMETOOLONG),
        ("/data/no\0te", errno.EINVAL),
        ("/data/\ud800", errno.EILSEQ),
    ],
)
def test_status_says_no_as_stat_does(files, data, path, number):
    (data / "note").write_bytes(b"")
    (data / "dangling").symlink_to("none")
    with refused(number):
        files.status(path)


@pytest.mark.parametrize(
    ("path", "mode", "number"),
    [
        ("/data/none", READ, errno.ENOENT),
        ("/data/none/", WRITE | CREATE, errno.EISDIR),
        ("/data/note", WRITE | CREATE | OpenMode.EXCLUSIVE, errno.EEXIST),
        ("/data/link", WRITE | CREATE | OpenMode.EXCLUSIVE, errno.EEXIST),
        ("/data/link", READ | OpenMode.NO_FOLLOW, errno.ELOOP),
        ("/data/link", READ | OpenMode.NO_FOLLOW | OpenMode.DIRECTORY, errno.ENOTDIR),
        ("/data/note", READ | OpenMode.DIRECTORY, errno.ENOTDIR),
        ("/data/sub", WRITE, errno.EISDIR),
        ("/data/sub", WRITE | CREATE, errno.EISDIR),
        ("/data/sub", WRITE | CREATE | OpenMode.EXCLUSIVE, errno.EEXIST),
        ("/data/sub", READ | CREATE | OpenMode.DIRECTORY, errno.EINVAL),
        ("/", WRITE, errno.EISDIR),
        ("/new", WRITE | CREATE, errno.EROFS),
    ],
)
def test_open_says_no_as_open_does(files, data, path, mode, number):
    (data / "note").write_bytes(b"kept")
    (data / "sub").mkdir()
    (data / "link").symlink_to("note")
    with refused(number):
        files.open(path, mode)
    assert (data / "note").read_bytes() == b"kept"


def test_creating_through_a_dangling_link_makes_what_it_names(files, data):
    (data / "link").symlink_to("/data/made")
    files.write("/data/link", b"made")
    assert (data / "made").read_bytes() == b"made"


def test_each_open_mode_does_what_it_says(files, data):
    files.write("/data/f", b"one")
    files.write("/data/f", b"two", WRITE | OpenMode.APPEND)
    assert files.read("/data/f") == b"onetwo"
    files.write("/data/f", b"O", WRITE)
    assert files.read("/data/f") == b"Onetwo"
    files.write("/data/f", b"", WRITE | OpenMode.TRUNCATE)
    assert files.status("/data/f").size == 0


def test_a_created_file_has_the_permissions_asked_for_less_the_hosts_umask(files, data):
    files.open("/data/f", WRITE | CREATE, 0o750).close()
    umask = os.umask(0)
    os.umask(umask)
    assert files.status("/data/f").permissions == 0o750 & ~umask


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.write("/data/new", b""),
        lambda files: files.open("/data/note", WRITE),
        lambda files: files.open("/data/note", READ | OpenMode.TRUNCATE),
        lambda files: files.make_directory("/data/new"),
        lambda files: files.remove("/data/note"),
        lambda files: files.rename("/data/note", "/data/new"),
    ],
)
def test_a_read_only_mount_refuses_every_change(files, inside, change):
    (inside / "note").write_bytes(b"kept")
    files.mount(inside, "/data")
    with refused(errno.EROFS):
        change(files)
    assert [entry.name for entry in inside.iterdir()] == ["note"]
    assert (inside / "note").read_bytes() == b"kept"


def test_create_on_a_read_only_mount_opens_what_is_already_there(files, inside):
    (inside / "note").write_bytes(b"there")
    files.mount(inside, "/data")
    assert files.read("/data/note", READ | CREATE) == b"there"


def test_a_writable_file_mount_is_written_in_a_read_only_surrounding(files, inside):
    (inside / "note").write_bytes(b"")
    files.mount(inside, "/data")
    files.mount(inside / "note", "/data/out", writable=True)
    files.write("/data/out", b"written")
    assert (inside / "note").read_bytes() == b"written"


def test_directories_are_made_listed_and_removed(files, data):
    files.make_directory("/data/sub/")
    files.write("/data/sub/f", b"")
    with refused(errno.ENOTEMPTY):
        files.remove("/data/sub", directory=True)
    files.remove("/data/sub/f")
    files.remove("/data/sub/", directory=True)
    assert files.names("/data") == []


@pytest.mark.parametrize("path", ["/data", "/", "/data/.", "/data/sub", "/data/note", "/data/link"])
def test_making_a_directory_that_exists_is_refused(files, data, path):
    (data / "sub").mkdir()
    (data / "note").write_bytes(b"")
    (data / "link").symlink_to("none")
    with refused(errno.EEXIST):
        files.make_directory(path)


def test_removing_a_link_leaves_what_it_names(files, data):
    (data / "note").write_bytes(b"kept")
    (data / "link").symlink_to("note")
    files.remove("/data/link")
    assert files.names("/data") == ["note"]


def test_renaming_replaces_within_a_mount(files, data):
    (data / "old").write_bytes(b"old")
    (data / "new").write_bytes(b"new")
    files.rename("/data/old", "/data/new")
    assert files.names("/data") == ["new"]
    assert files.read("/data/new") == b"old"


def test_renaming_across_mounts_is_refused(files, data, tmp_path):
    (data / "note").write_bytes(b"")
    (tmp_path / "other").mkdir()
    files.mount(tmp_path / "other", "/other", writable=True)
    with refused(errno.EXDEV):
        files.rename("/data/note", "/other/note")
    with refused(errno.EXDEV):
        files.rename("/data/note", "/note")


def test_renaming_a_directory_into_itself_is_refused(files, data):
    (data / "a").mkdir()
    with refused(errno.EINVAL):
        files.rename("/data/a", "/data/a/b")


@pytest.mark.parametrize("path", ["/data", "/", "/data/sub", "/data/one", "/data/x/.."])
def test_a_mount_point_or_a_way_to_one_cannot_be_moved_or_removed(files, data, tmp_path, path):
    (data / "x").mkdir()
    (data / "sub").mkdir()
    files.mount(tmp_path / "secret", "/data/one", writable=True)
    files.mount(tmp_path / "secret", "/data/sub/two", writable=True)
    with refused(errno.EBUSY):
        files.rename(path, "/data/elsewhere")
    with refused(errno.EBUSY):
        files.rename("/data/x", path)
    with refused(errno.EBUSY if path == "/data/one" else errno.EISDIR):
        files.remove(path)
    with refused(errno.ENOTEMPTY if path.endswith("..") else errno.EBUSY):
        files.remove(path, directory=True)


@pytest.mark.parametrize(("path", "number"), [("/data/.", "EINVAL"), ("/data/x/..", "ENOTEMPTY")])
def test_a_directory_cannot_be_removed_by_dots(files, data, path, number):
    (data / "x").mkdir()
    with refused(getattr(errno, number)):
        files.remove(path, directory=True)


def test_a_path_climbs_from_an_open_directory_that_was_moved_meanwhile(files, data):
    (data / "a" / "b").mkdir(parents=True)
    (data / "c").mkdir()
    (data / "c" / "beside").write_bytes(b"right")
    directory = files.open("/data/a/b", READ)
    (data / "a" / "b").rename(data / "c" / "moved")
    (data / "a" / "b").mkdir()
    (data / "a" / "beside").write_bytes(b"wrong")

    assert files.resolve(files.at(directory, ".")) == "/data/c/moved"
    assert files.resolve(files.at(directory, "../beside")) == "/data/c/beside"
    (data / "c" / "moved").rmdir()
    with refused(errno.ENOENT):
        files.resolve(files.at(directory, ".."))


def test_a_directory_that_was_moved_out_of_its_mount_leads_nowhere(files, data, tmp_path):
    (data / "a").mkdir()
    directory = files.open("/data/a", READ)
    (data / "a").rename(tmp_path / "outside")

    with refused(errno.ENOENT):
        files.resolve(files.at(directory, ".."))


def test_names_that_are_not_utf8_are_listed_and_opened(files, data):
    name = b"caf\xe9-\xff"
    (data / os.fsdecode(name)).write_bytes(b"latin")
    (listed,) = files.names("/data")
    assert os.fsencode(listed) == name
    assert files.read(f"/data/{listed}") == b"latin"


def test_a_tree_two_hundred_levels_deep_is_walked_down_and_up(files, data):
    path = "/data"
    for _ in range(200):
        path += "/d"
        files.make_directory(path)
    assert files.resolve(path + "/.." * 200) == "/data"


START = "deep/" * 9
"""Deeper than a tested path can climb: above the mounted root host and namespace differ."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with every kind of entry at each of its levels, below START."""
    root = tmp_path_factory.mktemp("tree")
    start = root / START
    start.mkdir(parents=True)
    for directory in (start, start / "a", start / "b", start / "a" / "a", start / "a" / "b"):
        directory.mkdir(exist_ok=True)
        (directory / "file").write_text(str(directory))
        (directory / "link").symlink_to("a")
        (directory / "up").symlink_to("..")
        (directory / "dangling").symlink_to("none/none")
        (directory / "to-file").symlink_to("./file")
    return root


STEPS = st.sampled_from(["a", "b", "link", "up", "file", "to-file", "dangling", "none", ".", ".."])


@given(st.lists(STEPS, max_size=8), st.booleans(), st.booleans())
def test_status_agrees_with_the_hosts_kernel(tree, names, slash, follow):
    text = START + "/".join(names) + "/" * slash
    namespace = Namespace(time.time_ns)
    namespace.mount(Mount(tree, "/"))
    try:
        status = namespace.status(Path(text), follow)
        answer = (status.inode, status.size)
    except PlatformError as error:
        answer = error.errno
    finally:
        namespace.close()
    try:
        # Not Path.stat: pathlib drops the trailing slash and the dots that are asked about.
        found = os.stat(f"{tree}/{text}", follow_symlinks=follow)  # noqa: PTH116
        expected = (found.st_ino, found.st_size)
    except OSError as error:
        expected = error.errno
    assert answer == expected
