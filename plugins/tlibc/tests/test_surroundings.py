"""The user, the working directory and resolved paths, as C sees them."""

import errno
import struct

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.values.paths import Mount

MASK = (1 << 64) - 1
PASSWD = struct.Struct("<QQIIQQQ")
BUFFER_SIZE = 256


def user(c, uid, size=BUFFER_SIZE):
    """What getpwuid_r returns and the fields it writes, None where it finds nobody."""
    passwd, buffer, found = c.block(bytes(PASSWD.size)), c.block(bytes(size)), c.block(bytes(8))
    result = c.getpwuid_r(uid, passwd, buffer, size, found)
    if c.memory.read_u64(found) == 0:
        return result, None
    assert c.memory.read_u64(found) == passwd
    fields = PASSWD.unpack(c.memory.read(passwd, PASSWD.size))
    texts = [c.memory.read_string(fields[index]) for index in (0, 5, 6)]
    return result, (texts, fields[2:4])


def test_user_0_is_root_at_home_in_the_root_directory(c):
    assert user(c, 0) == (0, ([b"root", b"/", b"/bin/sh"], (0, 0)))


def test_the_home_directory_is_the_environments(c, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    with assemble(options={"tlibc": {"environment": "*"}}) as platform:
        result, found = user(type(c)(platform), 0)
    assert result == 0
    assert found[0][1] == b"/home/somebody"


def test_nobody_else_exists_which_is_no_error(c):
    assert user(c, 1000) == (0, None)


def test_a_buffer_too_small_for_the_user_is_said_so(c):
    assert user(c, 0, size=8) == (errno.ERANGE, None)


def test_relative_paths_start_at_the_working_directory(c, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"content")
    with assemble(options={"tlibc": {"directory": "/data/below"}}) as platform:
        platform.hooks.path_mount(mount=Mount(tmp_path, "/data"))
        inside = type(c)(platform)
        buffer = inside.block(bytes(64))
        assert inside.getcwd(buffer, 64) == buffer
        assert inside.memory.read_string(buffer) == b"/data/below"
        assert inside.open(inside.string(b"file"), 0, 0) < 1024
        assert inside.getcwd(buffer, 4) == 0
        assert inside.errno == errno.ERANGE


@pytest.mark.parametrize("own_memory", [False, True])
def test_realpath_resolves_links_and_dots(c, tmp_path, own_memory):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/data"))
    target = c.block(bytes(4096)) if own_memory else 0
    resolved = c.realpath(c.string(b"/data/./x/../link"), target)
    assert resolved == 0  # as the kernel has it, x must exist
    assert c.errno == errno.ENOENT
    resolved = c.realpath(c.string(b"/data/./link"), target)
    assert resolved == target or not own_memory
    assert c.memory.read_string(resolved) == b"/data/file"
