"""Where files end: large directories, deep trees, long names, full disks, too many descriptors."""

import errno
import os
import struct
import subprocess

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.values.paths import MemoryMount, Mount

from .conftest import CLibrary

O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_APPEND, O_DIRECTORY = 0, 1, 2, 0o100, 0o2000, 0o200000
FAILED = (1 << 64) - 1
GETDENTS64 = 217


@pytest.fixture(params=["host", "memory"])
def tree(request, c, tmp_path):
    """A writable tree at /t."""
    if request.param == "host":
        c.platform.hooks.path_mount(mount=Mount(tmp_path, "/t", writable=True))
    else:
        c.platform.hooks.path_mount(mount=MemoryMount("/t", limit=256 << 20))
    return c


def names_in(c, directory):
    """The names that getdents64 tells, with a buffer as Rust's std has it."""
    buffer, names = c.block(bytes(32768)), []
    while size := c.syscall_(GETDENTS64, directory, buffer, 32768):
        assert size > 0
        data, position = c.memory.read(buffer, size), 0
        while position < size:
            (length,) = struct.unpack_from("<H", data, position + 16)
            names.append(data[position + 19 : position + length].partition(b"\0")[0])
            position += length
    return names


def test_a_directory_of_a_hundred_thousand_entries_is_told_whole(c, tmp_path):
    expected = {b"%06d" % number for number in range(100_000)}
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in expected:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=held))
    finally:
        os.close(held)
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/t"))
    directory = c.open(c.string(b"/t"), O_RDONLY | O_DIRECTORY, 0)

    names = names_in(c, directory)

    assert len(names) == len(expected) + 2
    assert set(names) == expected | {b".", b".."}


def test_two_hundred_levels_of_the_longest_names_are_walked_down_and_up(tree):
    c, name = tree, tree.string(b"n" * 255)
    assert c.chdir(c.string(b"/t")) == 0
    for _ in range(200):
        assert c.mkdir(name, 0o755) == 0
        assert c.chdir(name) == 0
    bottom = c.open(c.string(b"bottom"), O_RDWR | O_CREAT, 0o600)
    assert c.write(bottom, c.block(b"deep"), 4) == 4
    assert c.getcwd(0, 0) == 0
    assert c.errno == errno.ENAMETOOLONG
    above = c.string(b"..")
    for _ in range(200):
        assert c.chdir(above) == 0
    assert c.memory.read_string(c.getcwd(0, 0)) == b"/t"


def test_a_name_of_256_bytes_and_a_path_of_4096_are_too_long(tree):
    c = tree
    for path in (b"/t/" + b"n" * 256, b"/t" + b"/." * 2100):
        assert c.open(c.string(path), O_WRONLY | O_CREAT, 0o600) & 0xFFFFFFFF == 0xFFFFFFFF
        assert c.errno == errno.ENAMETOOLONG


def test_a_full_tree_in_memory_takes_what_fits_and_then_says_so(c):
    c.platform.hooks.path_mount(mount=MemoryMount("/t", limit=10_000))
    file, buffer = c.open(c.string(b"/t/f"), O_RDWR | O_CREAT, 0o600), c.block(bytes(8000))

    first, second, third = (c.write(file, buffer, 8000) for _ in range(3))

    assert first == 8000
    assert 0 < second < 8000
    assert third == FAILED
    assert c.errno == errno.ENOSPC
    assert c.ftruncate(file, 0) == 0
    assert c.pwrite(file, buffer, 8000, 0) == 8000


def test_a_full_disk_takes_what_fits_and_then_says_so(c, tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        c.platform.hooks.path_mount(mount=Mount(tmp_path, "/t", writable=True))
        file = c.open(c.string(b"/t/f"), O_RDWR | O_CREAT, 0o600)
        buffer = c.block(bytes(50_000))
        assert c.write(file, buffer, 50_000) == 50_000
        assert 0 < c.write(file, buffer, 50_000) < 50_000
        assert c.write(file, buffer, 50_000) == FAILED
        assert c.errno == errno.ENOSPC
        stream = c.fopen(c.string(b"/t/g"), c.string(b"w"))
        assert c.fputs(c.string(b"x" * 100), stream) == 1
        assert c.fclose(stream) & 0xFFFFFFFF == 0xFFFFFFFF
        assert c.errno == errno.ENOSPC
        c.platform.hooks.path_unmount(target="/t")
        c.close(file)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_descriptors_end_at_the_option_and_no_file_is_left_behind(tmp_path):
    with assemble(options={"tlibc": {"max_open_files": 8}}) as platform:
        c = CLibrary(platform)
        platform.hooks.path_mount(mount=Mount(tmp_path, "/t", writable=True))
        opened = [
            c.open(c.string(b"/t/%d" % number), O_RDWR | O_CREAT, 0o600) for number in range(5)
        ]
        assert opened == [3, 4, 5, 6, 7]
        for refused in (
            lambda: c.open(c.string(b"/t/more"), O_RDWR | O_CREAT, 0o600),
            lambda: c.dup(3),
            lambda: c.fcntl(3, 0, 3),
        ):
            assert refused() & 0xFFFFFFFF == 0xFFFFFFFF
            assert c.errno == errno.EMFILE
        assert c.opendir(c.string(b"/t")) == 0
        assert c.errno == errno.EMFILE
        assert c.sysconf(4) == 8
        assert len(list(tmp_path.iterdir())) == 5
        assert c.close(5) == 0
        assert c.dup(3) == 5


def test_a_read_only_mount_refuses_every_change(c, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/t"))
    file, folder, new = (c.string(b"/t/" + name) for name in (b"f", b"d", b"new"))
    for changed in (
        lambda: c.open(file, O_WRONLY, 0),
        lambda: c.open(new, O_WRONLY | O_CREAT, 0o600),
        lambda: c.mkdir(new, 0o755),
        lambda: c.rmdir(folder),
        lambda: c.unlink(file),
        lambda: c.rename(file, new),
        lambda: c.link(file, new),
        lambda: c.symlink(file, new),
        lambda: c.chmod(file, 0o600),
        lambda: c.truncate(file, 0),
        lambda: c.utimensat(-100, file, 0, 0),
        lambda: c.access(file, 2),
        lambda: c.access(folder, 2),
    ):
        assert changed() & 0xFFFFFFFF == 0xFFFFFFFF
        assert c.errno == errno.EROFS
    assert c.access(file, 4) == 0
    held = c.open(file, O_RDONLY | O_APPEND, 0)
    assert c.read(held, c.block(bytes(1)), 1) == 1


def test_locks_in_memory_stand_between_descriptions_and_end_with_them(c):
    c.platform.hooks.path_mount(mount=MemoryMount("/t"))
    lock_exclusively, without_waiting = 2, 4
    one, two = (c.open(c.string(b"/t/f"), O_RDWR | O_CREAT, 0o600) for _ in range(2))

    assert c.flock(one, lock_exclusively) == 0
    assert c.flock(two, lock_exclusively | without_waiting) & 0xFFFFFFFF == 0xFFFFFFFF
    assert c.errno == errno.EAGAIN
    again = c.dup(one)
    c.close(one)
    assert c.flock(two, lock_exclusively | without_waiting) & 0xFFFFFFFF == 0xFFFFFFFF
    c.close(again)
    assert c.flock(two, lock_exclusively | without_waiting) == 0


def test_a_lock_is_waited_for_while_other_tasks_run(c):
    c.platform.hooks.path_mount(mount=MemoryMount("/t"))
    one, two = (c.open(c.string(b"/t/f"), O_RDWR | O_CREAT, 0o600) for _ in range(2))
    assert c.flock(one, 2) == 0
    c.platform.tasks.start(
        lambda: c.platform.machine.call(c.platform.namespace.resolve("flock"), (one, 8))
    )

    assert c.flock(two, 2) == 0
