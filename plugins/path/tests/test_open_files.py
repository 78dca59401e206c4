"""Open files and directories: what can be done with them, and the errno of each no."""

import errno
import os
import tracemalloc

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import FileKind, OpenMode

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE


def refused(number):
    """The block is refused with this errno."""
    return pytest.raises(PlatformError, check=lambda error: error.errno == number)


@pytest.fixture
def data(files, inside):
    """``inside`` mounted for writing at /data."""
    files.mount(inside, "/data", writable=True)
    return inside


def test_an_open_file_reads_writes_and_seeks(files, data):
    file = files.open("/data/f", READ | WRITE | CREATE)
    assert file.write(b"0123456789") == 10
    assert file.read_at(3, 4) == b"456"
    assert file.write_at(b"xy", 1) == 2
    assert file.seek(-4, os.SEEK_END) == 6
    assert file.read(2) == b"67"
    assert file.read() == b"89"
    assert file.read(5) == b""
    file.truncate(2)
    file.synchronize()
    assert file.status().size == 2
    file.close()
    file.close()
    assert (data / "f").read_bytes() == b"0x"


def test_a_closed_file_answers_ebadf(files, data):
    file = files.open("/data/f", WRITE | CREATE)
    file.close()
    with refused(errno.EBADF):
        file.write(b"")
    assert file.descriptor is None


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 70])
def test_an_offset_no_file_can_have_is_invalid(files, data, offset):
    file = files.open("/data/f", READ | WRITE | CREATE)
    with refused(errno.EINVAL):
        file.read_at(1, offset)
    with refused(errno.EINVAL):
        file.seek(offset)


def test_reading_two_gibibytes_of_a_small_file_allocates_a_small_buffer(files, data):
    (data / "f").write_bytes(b"small")
    file = files.open("/data/f")
    tracemalloc.start()
    try:
        assert file.read(0x7FFFF000) == b"small"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/data/sub", "/data", "/"])
def test_an_open_directory_tells_its_status_and_shows_no_descriptor(files, data, path):
    (data / "sub").mkdir()
    directory = files.open(path, READ | OpenMode.DIRECTORY)
    assert directory.status().kind is FileKind.DIRECTORY
    assert directory.status().inode == files.status(path).inode
    assert directory.descriptor is None
    directory.synchronize()
    with refused(errno.EISDIR):
        directory.read(1)
    directory.close()
    with refused(errno.EBADF):
        directory.status()


@pytest.mark.parametrize("name", ["f", "l", "d", "m", ".", "..", "l/", "f/", "none", "dangling"])
@pytest.mark.parametrize("follow", [False, True])
def test_a_status_from_an_open_directory_is_the_one_by_the_whole_path(files, data, name, follow):
    (data / "f").write_bytes(b"12345")
    (data / "l").symlink_to("f")
    (data / "dangling").symlink_to("gone")
    (data / "d").mkdir()
    (data / "m").write_bytes(b"hidden by a mount")
    files.mount_memory("/data/m")
    directory = files.open("/data", READ | OpenMode.DIRECTORY)

    def answer(where):
        try:
            return files.status(where, follow)
        except PlatformError as error:
            return error.errno

    assert answer(files.at(directory, name)) == answer(f"/data/{name}")


def test_a_name_that_no_host_can_hold_is_refused_from_an_open_directory_too(files, data):
    directory = files.open("/data", READ | OpenMode.DIRECTORY)
    for name, number in (("a\0b", errno.EINVAL), ("\ud800", errno.EILSEQ)):
        with refused(number):
            files.status(files.at(directory, name))
