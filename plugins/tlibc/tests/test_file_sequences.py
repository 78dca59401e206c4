"""Sequences of file operations: the host's kernel on one tree, the guest on an equal one.

Compared is what Linux and POSIX say of any file system. What each file system decides by itself is
left out: where a directory's positions are but its beginning (ext4 counts hashes, tmpfs and others
entries or bytes), where a file has holes, and which of EEXIST and ENOTEMPTY a full directory is.
"""

import ctypes
import errno
import itertools
import os
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.assembly import assemble
from theseus_kit.values.paths import MemoryMount, Mount

from .conftest import CLibrary

HOST = ctypes.CDLL(None, use_errno=True)
MASK = (1 << 64) - 1
O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW = (
    *(0o100, 0o200, 0o1000, 0o2000, 0o200000, 0o400000),
)
ROOM = 64
LSEEK = 8
"""The system call's number."""

names = st.sampled_from(["a", "b", "d", "d/a", "d/e", "d/e/a", "d/..", ".", "a/", "d/", "d/e/../a"])
descriptors = st.integers(0, 5)
flags = st.builds(
    lambda access, *extra: access | sum(extra),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, O_CREAT, O_CREAT | O_EXCL]),
    st.sampled_from([0, 0, O_TRUNC]),
    st.sampled_from([0, 0, O_APPEND]),
    st.sampled_from([0, 0, O_NOFOLLOW]),
)
offsets = st.integers(-5, 5000)
data = st.binary(max_size=ROOM)
operation = st.one_of(
    st.tuples(st.just("open"), names, flags, st.just(0o644)),
    st.tuples(st.just("mkdir"), names, st.just(0o755)),
    st.tuples(st.just("rmdir"), names),
    st.tuples(st.just("unlink"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("link"), names, names),
    st.tuples(st.just("symlink"), st.sampled_from([b"a", b"../a", b"d/e", b"gone"]), names),
    st.tuples(st.just("readlink"), names),
    st.tuples(st.just("truncate"), names, offsets),
    st.tuples(st.just("access"), names, st.integers(0, 7)),
    st.tuples(st.just("write"), descriptors, data),
    st.tuples(st.just("read"), descriptors, st.integers(0, ROOM)),
    st.tuples(st.just("pwrite"), descriptors, data, offsets),
    st.tuples(st.just("pread"), descriptors, st.integers(0, ROOM), offsets),
    st.tuples(st.just("lseek"), descriptors, offsets, st.sampled_from([-1, 0, 1, 2, 5])),
    st.tuples(st.just("ftruncate"), descriptors, offsets),
    st.tuples(st.just("dup"), descriptors),
    st.tuples(st.just("close"), descriptors),
)


class Kernel:
    """The host's kernel, by its C library."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.buffer = ctypes.create_string_buffer(ROOM)

    def path(self, name):
        return self.root + b"/" + name.encode()

    def put(self, data):
        self.buffer[: len(data)] = data
        return self.buffer

    def got(self, size):
        return self.buffer.raw[:size]

    def is_directory(self, descriptor):
        return descriptor >= 0 and stat.S_ISDIR(os.fstat(descriptor).st_mode)

    def call(self, name, *arguments):
        function = getattr(HOST, name)
        function.restype = ctypes.c_long if name in LONG else ctypes.c_int
        given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        result = function(*given)
        return -ctypes.get_errno() if result < 0 else result


class Guest:
    """The guest's C library over a tree at a path of its namespace."""

    def __init__(self, c, root):
        self.c = c
        self.root = root.encode()
        self.buffer = c.block(bytes(ROOM))
        self.texts = [c.block(bytes(4096)), c.block(bytes(4096))]
        self.turns = itertools.cycle(self.texts)

    def path(self, name):
        return self.root + b"/" + name.encode()

    def put(self, data):
        self.c.memory.write(self.buffer, data)
        return self.buffer

    def got(self, size):
        return self.c.memory.read(self.buffer, size)

    def is_directory(self, descriptor):
        status = self.texts[0]
        if self.c.fstat(descriptor & MASK, status):
            return False
        (mode,) = struct.unpack_from("<I", self.c.memory.read(status, 144), 24)
        return stat.S_ISDIR(mode)

    def call(self, name, *arguments):
        given = []
        for value in arguments:
            if isinstance(value, bytes):
                address = next(self.turns)
                self.c.memory.write(address, value + b"\0")
                value = address
            given.append(value & MASK)
        result = getattr(self.c, name)(*given)
        if name not in LONG:
            result = (result & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
        elif result >> 63:
            result -= 1 << 64
        return -self.c.errno if result < 0 else result


LONG = ("read", "write", "pread", "pwrite", "lseek", "readlink")
SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2


def is_the_file_systems_own(side, descriptor, offset, whence):
    """Whether what a seek comes to is for the file system to say."""
    rewinds = (offset, whence) in ((0, SEEK_SET), (0, SEEK_CUR))
    valid = SEEK_SET <= whence <= SEEK_END
    return valid and not rewinds and side.is_directory(descriptor)


def run(side, operations):
    """Do operations on one side; what each of them came to."""
    opened = []
    seen = []
    for name, *arguments in operations:
        if name == "open":
            descriptor = side.call("open", side.path(arguments[0]), *arguments[1:])
            seen.append(min(descriptor, 0))
            if descriptor >= 0:
                opened.append(descriptor)
            continue
        values = [side.path(value) if isinstance(value, str) else value for value in arguments]
        if name in ("write", "read", "pwrite", "pread", "lseek", "ftruncate", "dup", "close"):
            values[0] = opened[values[0] % len(opened)] if opened else -1
        if name in ("write", "pwrite"):
            values[1:2] = [side.put(values[1]), len(values[1])]
        elif name in ("read", "pread"):
            values[1:2] = [side.put(b""), values[1]]
        elif name == "readlink":
            values += [side.put(b""), ROOM]
        if name == "lseek" and is_the_file_systems_own(side, *values):
            seen.append("the file system's own")
            continue
        result = side.call(name, *values)
        if name == "rename" and result == -errno.EEXIST:  # rename(2): either
            result = -errno.ENOTEMPTY
        if name in ("read", "pread", "readlink") and result > 0:
            seen.append(side.got(result))
        elif name == "dup" and result >= 0:
            opened.append(result)
            seen.append("another")
        else:
            seen.append(result)
        if name == "close" and opened:
            opened.remove(values[0])
    for descriptor in opened:
        side.call("close", descriptor)
    return seen


@pytest.fixture(scope="module")
def c():
    with assemble() as platform:
        yield CLibrary(platform)


@pytest.mark.parametrize("tree", ["host", "memory"])
def test_any_sequence_comes_to_the_same_as_on_the_host(c, tmp_path, tree):
    numbers = itertools.count()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(operations=st.lists(operation, max_size=30))
    def check(operations):
        number = next(numbers)
        theirs, ours = tmp_path / f"theirs{number}", tmp_path / f"ours{number}"
        target = f"/{tree}{number}"
        theirs.mkdir()
        if tree == "host":
            ours.mkdir()
            mount = Mount(ours, target, writable=True)
        else:
            mount = MemoryMount(target)
        c.platform.hooks.path_mount(mount=mount)
        try:
            # One level down: of a mount point itself, which the host has not, much is EBUSY.
            for side in (Kernel(theirs), Guest(c, target)):
                assert side.call("mkdir", side.path("top"), 0o755) == 0
            seen = run(Guest(c, f"{target}/top"), operations)
            assert seen == run(Kernel(theirs / "top"), operations)
        finally:
            c.platform.hooks.path_unmount(target=target)

    check()


def test_the_tree_is_the_hosts_own(c, tmp_path):
    """What the sequences compare is real: the guest's files are in the host's directory."""
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/real", writable=True))
    run(
        Guest(c, "/real"),
        [("mkdir", "d", 0o755), ("open", "d/a", 0o101, 0o644), ("write", 0, b"x")],
    )
    assert Path(tmp_path / "d" / "a").read_bytes() == b"x"


@pytest.mark.parametrize("tree", ["host", "memory"])
def test_a_search_for_data_or_for_a_hole_stays_within_the_file(c, tmp_path, tree):
    """lseek(2): no file system has to know holes, but each ends a file in one. A mounted file's are
    those that the host finds in it."""
    path, size = f"/holes-{tree}", 200_000
    mount = MemoryMount(path) if tree == "memory" else Mount(tmp_path, path, writable=True)
    c.platform.hooks.path_mount(mount=mount)
    file = c.open(c.string(f"{path}/f".encode()), os.O_RDWR | os.O_CREAT, 0o600)
    assert c.pwrite(file, c.block(b"x"), 1, 70_000) == 1
    assert c.ftruncate(file, size) == 0
    assert c.fsync(file) == 0  # What is not on disk yet may count as data until it is.

    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        for offset in (0, 1, 70_000, 70_001, 150_000, size - 1, size, size + 1):
            found = c.syscall_(LSEEK, file, offset, whence)
            if tree == "host":
                assert found == searched(tmp_path / "f", offset, whence)
            if found != -errno.ENXIO:
                assert offset <= found <= size
                assert offset < size
            elif whence == os.SEEK_HOLE:
                assert offset >= size
            else:
                assert offset > 70_000
    assert c.close(file) == 0


def searched(path, offset, whence):
    """What the host finds in a file."""
    with path.open("rb") as file:
        try:
            return os.lseek(file.fileno(), offset, whence)
        except OSError as error:
            return -error.errno
