"""Descriptors and files: the path hooks as C sees them, beside Python's own view of the host."""

import errno
import os
import struct
from pathlib import Path

import pytest

from theseus_kit.values.paths import MemoryMount, Mount

O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL = 0, 1, 2, 0o100, 0o200
O_DIRECTORY = 0o200000
STATUS = struct.Struct("<QQQIIIIQqqq6q24x")
"""struct stat: st_dev, st_ino, st_nlink, st_mode, st_uid, st_gid, padding, st_rdev, st_size,
st_blksize, st_blocks, then seconds and nanoseconds of st_atim, st_mtim and st_ctim."""

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def data(c, tmp_path):
    """A host directory, writable at /data."""
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/data", writable=True))
    return tmp_path


def opened(c, path, flags=O_RDONLY, mode=0o644):
    result = c.open(c.string(path), flags, mode)
    assert result < 1 << 31, errno.errorcode[c.errno]
    return result


def test_a_file_is_read_from_where_the_last_read_ended(c, data):
    (data / "file").write_bytes(b"0123456789")
    descriptor, buffer = opened(c, b"/data/file"), c.block(bytes(6))

    sizes = [c.read(descriptor, buffer, 6) for _ in range(3)]

    assert sizes == [6, 4, 0]
    assert c.memory.read(buffer, 4) == b"6789"


def test_a_created_file_holds_what_was_written(c, data):
    descriptor = opened(c, b"/data/new", O_WRONLY | O_CREAT | O_EXCL)

    assert c.write(descriptor, c.block(b"content"), 7) == 7
    assert c.close(descriptor) == 0

    assert (data / "new").read_bytes() == b"content"


def test_positions_are_sought_from_all_three_places(c, data):
    (data / "file").write_bytes(b"0123456789")
    descriptor, buffer = opened(c, b"/data/file"), c.block(bytes(1))

    def byte_at(offset, whence):
        c.lseek(descriptor, offset, whence)
        c.read(descriptor, buffer, 1)
        return c.memory.read(buffer, 1)

    assert [byte_at(3, 0), byte_at(1, 1), byte_at(-1, 2)] == [b"3", b"5", b"9"]
    assert c.lseek(descriptor, 0, 9) == (1 << 64) - 1


def test_positioned_reads_and_writes_leave_the_position(c, data):
    (data / "file").write_bytes(b"0123456789")
    descriptor, buffer = opened(c, b"/data/file", O_RDWR), c.block(bytes(2))

    assert c.pread(descriptor, buffer, 2, 4) == 2
    assert c.memory.read(buffer, 2) == b"45"
    assert c.pwrite(descriptor, c.block(b"XY"), 2, 8) == 2
    assert c.lseek(descriptor, 0, 1) == 0
    assert (data / "file").read_bytes() == b"01234567XY"


def test_vectors_scatter_and_gather(c, data):
    descriptor = opened(c, b"/data/file", O_RDWR | O_CREAT)
    parts = [c.block(b"one"), c.block(b""), c.block(b"three")]
    vectors = c.block(struct.pack("<6Q", parts[0], 3, parts[1], 0, parts[2], 5))

    assert c.writev(descriptor, vectors, 3) == 8
    assert (data / "file").read_bytes() == b"onethree"
    c.lseek(descriptor, 0, 0)
    c.memory.write(parts[0], b"___")
    assert c.readv(descriptor, vectors, 3) == 8
    assert c.memory.read(parts[0], 3) == b"one"
    assert c.memory.read(parts[2], 5) == b"three"


def test_stat_tells_what_the_host_tells(c, data):
    (data / "file").write_bytes(b"x" * 5000)
    status, path = c.block(bytes(144)), c.string(b"/data/file")
    host = (data / "file").stat()

    for answer in (c.stat(path, status), c.fstat(opened(c, b"/data/file"), status)):
        assert answer == 0
        fields = STATUS.unpack(c.memory.read(status, 144))
        assert fields[3] & 0o170000 == 0o100000
        assert fields[8] == host.st_size
        assert fields[13] * 10**9 + fields[14] == host.st_mtime_ns


@pytest.mark.parametrize("times", [(1000, 5, 2000, 999_999_999), (-5, 3, -1, 7)])
def test_a_file_in_memory_keeps_times_to_the_nanosecond(c, times):
    c.platform.hooks.path_mount(mount=MemoryMount("/m"))
    descriptor = opened(c, b"/m/file", O_RDWR | O_CREAT)
    status = c.block(bytes(144))

    assert c.futimens(descriptor, c.block(struct.pack("<4q", *times))) == 0

    assert c.fstat(descriptor, status) == 0
    fields = STATUS.unpack(c.memory.read(status, 144))
    assert fields[11:15] == times
    assert fields[9] == 4096


@pytest.mark.parametrize(
    ("path", "flags", "number"),
    [
        (b"/data/absent", O_RDONLY, errno.ENOENT),
        (b"/elsewhere", O_RDONLY, errno.ENOENT),
        (b"", O_RDONLY, errno.ENOENT),
        (b"/data/file", O_WRONLY | O_CREAT | O_EXCL, errno.EEXIST),
        (b"/data/../../../etc/passwd", O_RDONLY, errno.ENOENT),
        (b"/data/new", O_RDONLY | O_CREAT | O_DIRECTORY, errno.EINVAL),  # since Linux 6.4
    ],
)
def test_a_file_that_cannot_be_opened_says_why(c, data, path, flags, number):
    (data / "file").write_bytes(b"")

    assert c.open(c.string(path), flags, 0o644) & 0xFFFFFFFF == 0xFFFFFFFF
    assert c.errno == number


def test_the_lowest_free_descriptor_is_given(c, data):
    (data / "file").write_bytes(b"")
    first, second, third = (opened(c, b"/data/file") for _ in range(3))
    c.close(first)
    c.close(second)

    assert [first, second, third] == [3, 4, 5]
    assert [opened(c, b"/data/file") for _ in range(3)] == [3, 4, 6]


@pytest.mark.parametrize("call", [0, 1, 3, 8, 74])
def test_a_descriptor_that_is_not_open_is_refused(c, call):
    assert c.syscall_(call, 77, c.block(bytes(8)), 1) == -errno.EBADF


def test_unreadable_memory_is_efault_and_consumes_nothing(c, data):
    (data / "file").write_bytes(b"0123")
    descriptor, buffer = opened(c, b"/data/file"), c.block(bytes(4))

    assert c.syscall_(0, descriptor, 0x10, 4) == -errno.EFAULT
    assert c.read(descriptor, buffer, 4) == 4


def test_standard_output_is_the_hosts(c, capfd):
    assert c.write(1, c.block(b"out"), 3) == 3
    assert c.write(2, c.block(b"err"), 3) == 3
    assert capfd.readouterr() == ("out", "err")


def test_a_stream_has_positions_where_the_hosts_has(c, tmp_path):
    reader, writer = os.pipe()
    before = os.dup(0)
    try:
        os.dup2(reader, 0)
        assert c.syscall_(8, 0, 0, 0) == -errno.ESPIPE
        (tmp_path / "file").write_bytes(b"0123456789")
        with (tmp_path / "file").open("rb") as file:
            os.dup2(file.fileno(), 0)
            assert c.lseek(0, 4, 0) == 4
            assert os.lseek(0, 0, 1) == 4
    finally:
        os.dup2(before, 0)
        for descriptor in (reader, writer, before):
            os.close(descriptor)


def test_what_is_no_terminal_says_so(c):
    assert c.isatty(77) == 0
    assert c.errno == errno.EBADF


def test_closing_the_guests_output_leaves_the_hosts_open(c, capfd):
    assert c.close(1) == 0
    assert c.syscall_(1, 1, c.block(b"x"), 1) == -errno.EBADF

    os.write(1, b"still there")
    assert capfd.readouterr().out == "still there"


def test_files_left_open_are_closed_with_the_platform(c, data):
    (data / "file").write_bytes(b"")
    before = len(list(DESCRIPTORS.iterdir()))
    for _ in range(10):
        opened(c, b"/data/file")

    c.platform.close()

    assert len(list(DESCRIPTORS.iterdir())) <= before


def test_directories_and_names_come_and_go(c, data):
    folder, file, moved = (c.string(b"/data/" + name) for name in (b"d", b"d/f", b"d/g"))

    assert c.mkdir(folder, 0o755) == 0
    assert (data / "d").is_dir()
    c.close(opened(c, b"/data/d/f", O_WRONLY | O_CREAT))
    assert c.rename(file, moved) == 0
    assert [entry.name for entry in (data / "d").iterdir()] == ["g"]
    assert c.syscall_(84, folder) == -errno.ENOTEMPTY
    assert c.syscall_(84, moved) == -errno.ENOTDIR
    assert c.syscall_(87, folder) == -errno.EISDIR
    assert c.unlink(moved) == 0
    assert c.rmdir(folder) == 0
    assert list(data.iterdir()) == []


def test_a_path_starts_at_an_open_directory_whatever_it_is_called_by_then(c, data):
    (data / "d").mkdir()
    (data / "d" / "f").write_bytes(b"found")
    directory = opened(c, b"/data/d", 0o200000)
    (data / "d").rename(data / "e")

    held = c.openat(directory, c.string(b"f"), 0o10000000, 0)
    descriptor = c.openat(directory, c.string(b"f"), O_RDONLY, 0)
    buffer = c.block(bytes(5))
    assert c.read(descriptor, buffer, 5) == 5
    assert c.memory.read(buffer, 5) == b"found"
    assert c.syscall_(0, held, buffer, 5) == -errno.EBADF

    assert c.syscall_(257, descriptor, c.string(b"f"), O_RDONLY, 0) == -errno.ENOTDIR
    assert c.syscall_(257, 99, c.string(b"f"), O_RDONLY, 0) == -errno.EBADF
    assert c.syscall_(257, 99, c.string(b"/data/e/f"), O_RDONLY, 0) >= 0
