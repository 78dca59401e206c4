"""Paths that start at open directories, beside the kernel's own openat2."""

import ctypes
import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import Bounds, OpenMode

READ, PATH = OpenMode.READ, OpenMode.PATH
RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x04, 0x08, 0x10
NUMBER = 437
"""openat2's, on every architecture."""


class OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(directory, path, flags, resolve):
    """The descriptor. Raises OSError."""
    how = OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (directory, path.encode(), ctypes.byref(how), ctypes.c_size_t(24))
    descriptor = libc.syscall(NUMBER, *arguments)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), path)
    return descriptor


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree with links of every kind, out of its directory ``in`` and inside it."""
    root = tmp_path_factory.mktemp("tree")
    start = root / "in"
    for directory in (root, start, start / "a", start / "a" / "a"):
        directory.mkdir(exist_ok=True)
        (directory / "file").write_text(str(directory))
        (directory / "up").symlink_to("..")
        (directory / "link").symlink_to("a")
        (directory / "out").symlink_to("../../file")
        (directory / "absolute").symlink_to("/a/file")
        (directory / "root").symlink_to("/")
        (directory / "loop").symlink_to("loop")
    descriptor = os.open(start, os.O_RDONLY)
    try:
        try:
            os.close(openat2(descriptor, ".", os.O_RDONLY, RESOLVE_BENEATH))
        except OSError as error:
            pytest.skip(f"the kernel has no openat2: {error}")
        yield root
    finally:
        os.close(descriptor)


PARTS = ["a", "up", "link", "out", "absolute", "root", "loop", "file", "none", ".", ".."]
FLAGS = [
    (READ, os.O_RDONLY),
    (READ | OpenMode.DIRECTORY, os.O_RDONLY | os.O_DIRECTORY),
    (READ | OpenMode.NO_FOLLOW, os.O_RDONLY | os.O_NOFOLLOW),
    (PATH, os.O_PATH),
    (PATH | OpenMode.NO_FOLLOW, os.O_PATH | os.O_NOFOLLOW),
    (PATH | OpenMode.DIRECTORY, os.O_PATH | os.O_DIRECTORY),
]
PATHS = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "", "", "/"]),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=6),
    st.sampled_from(["", "", "/"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    PATHS,
    st.sampled_from(FLAGS),
    st.sampled_from([(Bounds.BENEATH, RESOLVE_BENEATH), (Bounds.ROOT, RESOLVE_IN_ROOT)]),
    st.booleans(),
)
def test_bounds_hold_as_the_kernels_do(provide_tree, tree, path, flags, bounds, links):
    files, directory = provide_tree
    ours, mode, resolve = bounds[0], flags[0], bounds[1]
    if not links:
        mode, resolve = mode | OpenMode.NO_LINKS, resolve | RESOLVE_NO_SYMLINKS
    try:
        file = files.open(files.at(directory, path, ours), mode)
        answer = file.status().inode
        file.close()
    except PlatformError as error:
        answer = errno.errorcode[error.errno]
    start = os.open(tree / "in", os.O_RDONLY)
    try:
        descriptor = openat2(start, path, flags[1], resolve)
        expected = os.fstat(descriptor).st_ino
        os.close(descriptor)
    except OSError as error:
        expected = errno.errorcode[error.errno]
    finally:
        os.close(start)
    assert (path, mode, answer) == (path, mode, expected)


@pytest.fixture
def provide_tree(files, tree):
    files.mount(tree, "/data")
    directory = files.open("/data/in", READ | OpenMode.DIRECTORY)
    return files, directory


def test_without_bounds_a_path_climbs_to_the_namespaces_root_and_no_further(provide_tree):
    files, directory = provide_tree
    assert files.read(files.at(directory, "../file")) == files.read("/data/file")
    assert files.resolve(files.at(directory, "..")) == "/data"
    assert files.resolve(files.at(directory, "../..")) == "/"
    assert files.resolve(files.at(directory, "../../../../data/in/a")) == "/data/in/a"
    assert files.resolve(files.at(directory, "/data")) == "/data"


def test_a_path_that_starts_at_a_file_or_at_nothing_is_refused(provide_tree):
    files, _ = provide_tree
    file = files.open("/data/file")
    with pytest.raises(PlatformError, check=lambda error: error.errno == errno.ENOTDIR):
        files.status(files.at(file, "x"))
    directory = files.open("/data")
    with pytest.raises(PlatformError, check=lambda error: error.errno == errno.ENOENT):
        files.status(files.at(directory, ""))


@pytest.mark.parametrize("bounds", Bounds)
def test_a_directory_moved_away_does_not_take_its_paths_out(files, inside, tmp_path, bounds):
    # Where the host moves an open directory out of the mount, ".." of the host's would lead on.
    (inside / "a" / "b").mkdir(parents=True)
    files.mount(inside, "/data", writable=True)
    directory = files.open("/data/a/b", READ)
    (inside / "a" / "b").rename(tmp_path / "b")
    for path in ("../secret", "../../secret", "x/../../secret"):
        with pytest.raises(PlatformError):
            files.read(files.at(directory, path, bounds))
