"""What both providers must keep, over the host's files and over files in memory alike."""

import errno
import os

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import Bounds, FileKind, OpenMode, StatusChange
from theseus_kit_path import PathPlugin, TheseusPathPlugin

READ, WRITE, CREATE, PATH = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE, OpenMode.PATH
DIRECTORY, NO_FOLLOW = OpenMode.DIRECTORY, OpenMode.NO_FOLLOW


def refused(*numbers):
    """The block is refused with this errno, or one of these."""
    return pytest.raises(PlatformError, check=lambda error: error.errno in numbers)


@pytest.fixture(params=[PathPlugin, TheseusPathPlugin], ids=lambda plugin: plugin.description.name)
def files(request, provide):
    return provide(request.param)


@pytest.fixture(params=["host", "memory"])
def data(request, files, inside):
    """An empty, writable tree at /data."""
    if request.param == "host":
        files.mount(inside, "/data", writable=True)
    else:
        files.mount_memory("/data")
    return request.param


class TestPathHandling:
    """The contract of the group, whoever provides it."""

    def test_a_path_is_its_text(self, files):
        for text in ("", "/", "a", "/a//b/", "./a/../b"):
            path = files.path(text)
            assert str(path) == text
            assert path == files.path(text)
            assert hash(path) == hash(files.path(text))
            assert path.is_absolute() == text.startswith("/")

    def test_a_path_has_components_a_parent_and_a_name(self, files):
        path = files.path("/srv/data")
        assert [str(part) for part in path.components()] == ["/", "srv", "data"]
        assert path.file_name() == "data"
        assert path.parent() == files.path("/srv")
        assert files.path("/").parent() is None

    def test_an_absolute_path_replaces_what_it_is_joined_to(self, files):
        assert files.path("/srv").join("data") == files.path("/srv/data")
        assert files.path("/srv").join("/data") == files.path("/data")

    def test_a_path_goes_to_the_host_and_back(self, files):
        path = files.path("/srv/data")
        host = files.hooks.path_to_host(path=path)
        assert os.fspath(host) == "/srv/data"
        assert files.hooks.path_from_host(path=host) == path

    def test_what_was_written_is_read(self, files, data):
        assert files.write("/data/f", b"content") == 7
        assert files.read("/data/f") == b"content"
        status = files.status("/data/f")
        assert (status.kind, status.size, status.links) == (FileKind.FILE, 7, 1)

    def test_an_open_file_reads_writes_seeks_and_cuts(self, files, data):
        file = files.open("/data/f", READ | WRITE | CREATE)
        assert file.write(b"0123456789") == 10
        assert file.read_at(3, 4) == b"456"
        assert file.read_at(3, 100) == b""
        assert file.write_at(b"xy", 1) == 2
        assert file.seek(-4, os.SEEK_END) == 6
        assert file.seek(1, os.SEEK_CUR) == 7
        assert file.read(2) == b"78"
        assert file.read() == b"9"
        file.truncate(2)
        assert file.status().size == 2
        assert file.write(b"end") == 3
        assert file.read_at(100, 0) == b"0x" + bytes(8) + b"end"
        file.allocate(10, 10)
        assert file.status().size == 20
        file.synchronize()

    @pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 70])
    def test_an_offset_no_file_can_have_is_invalid(self, files, data, offset):
        file = files.open("/data/f", READ | WRITE | CREATE)
        for attempt in (
            lambda: file.read_at(1, offset),
            lambda: file.write_at(b"x", offset),
            lambda: file.seek(offset),
            lambda: file.truncate(offset),
        ):
            with refused(errno.EINVAL):
                attempt()

    def test_what_the_open_mode_does_not_allow_is_refused(self, files, data):
        files.write("/data/f", b"kept")
        reader, writer = files.open("/data/f", READ), files.open("/data/f", WRITE)
        with refused(errno.EBADF):
            reader.write(b"x")
        with refused(errno.EBADF):
            reader.write_at(b"x", 0)
        with refused(errno.EINVAL):
            reader.truncate(0)
        with refused(errno.EBADF):
            writer.read(1)
        with refused(errno.EBADF):
            writer.read_at(1, 0)
        assert (reader.mode, writer.mode) == (READ, WRITE)

    def test_what_is_opened_for_reading_and_appending_need_not_be_writable(self, files, data):
        files.make_directory("/data/d")
        directory = files.open("/data/d", READ | OpenMode.APPEND)
        assert directory.status().kind is FileKind.DIRECTORY
        files.write("/data/f", b"kept")
        with refused(errno.EBADF):
            files.open("/data/f", READ | OpenMode.APPEND).write(b"x")

    def test_appending_can_be_turned_on_and_off(self, files, data):
        files.write("/data/f", b"one")
        file = files.open("/data/f", READ | WRITE)
        file.set_append(True)
        assert OpenMode.APPEND in file.mode
        file.write(b"two")
        file.set_append(False)
        assert OpenMode.APPEND not in file.mode
        file.write_at(b"O", 0)
        assert files.read("/data/f") == b"Onetwo"

    def test_a_closed_file_answers_ebadf(self, files, data):
        file = files.open("/data/f", READ | WRITE | CREATE)
        directory = files.open("/data", READ | DIRECTORY)
        held = files.open("/data/f", PATH)
        for each in (file, directory, held):
            each.close()
            each.close()
            with refused(errno.EBADF):
                each.status()
        with refused(errno.EBADF):
            file.write(b"x")
        with refused(errno.EBADF):
            files.status(files.at(directory, "f"))

    def test_removing_tells_files_from_directories(self, files, data):
        files.write("/data/f", b"")
        files.make_directory("/data/d")
        files.make_link("/data/l", "d")
        with refused(errno.EISDIR):
            files.remove("/data/d")
        with refused(errno.ENOTDIR):
            files.remove("/data/f", directory=True)
        with refused(errno.ENOTDIR):
            files.remove("/data/l", directory=True)
        with refused(errno.ENOENT):
            files.remove("/data/none")
        files.write("/data/d/f", b"")
        with refused(errno.ENOTEMPTY):
            files.remove("/data/d", directory=True)
        files.remove("/data/d/f")
        files.remove("/data/d", directory=True)
        files.remove("/data/l")
        files.remove("/data/f")
        assert files.names("/data") == []

    def test_listing_is_sorted_and_tells_kinds(self, files, data):
        for name in ("b", "a", "c"):
            files.write(f"/data/{name}", b"")
        files.make_directory("/data/d")
        files.make_link("/data/l", "nowhere")
        listed = [(entry.name, entry.kind) for entry in files.list("/data")]
        file = FileKind.FILE
        assert listed == [
            ("a", file),
            ("b", file),
            ("c", file),
            ("d", FileKind.DIRECTORY),
            ("l", FileKind.SYMBOLIC_LINK),
        ]
        assert files.list("/data")[0].inode == files.status("/data/a").inode
        with refused(errno.ENOTDIR):
            files.list("/data/a")

    def test_a_link_holds_its_text_and_leads_where_it_says(self, files, data):
        files.make_directory("/data/d")
        files.write("/data/d/f", b"found")
        files.make_link("/data/l", "../data/./d")
        assert files.read_link("/data/l") == "../data/./d"
        assert files.status("/data/l", follow=False).size == 11
        assert files.read("/data/l/f") == b"found"
        assert files.resolve("/data/l/f") == "/data/d/f"
        with refused(errno.EINVAL):
            files.read_link("/data/d")
        with refused(errno.EEXIST):
            files.make_link("/data/l", "again")
        for text, number in (
            ("", errno.ENOENT),
            ("x" * 4096, errno.ENAMETOOLONG),
            ("a\0b", errno.EINVAL),
            ("\ud800", errno.EILSEQ),
        ):
            with refused(number):
                files.make_link("/data/new", text)

    def test_a_second_name_is_the_same_file(self, files, data):
        files.write("/data/f", b"shared")
        files.link("/data/f", "/data/g")
        assert files.status("/data/g").inode == files.status("/data/f").inode
        assert files.status("/data/g").links == 2
        files.write("/data/g", b"changed")
        files.remove("/data/f")
        assert files.read("/data/g") == b"changed"
        assert files.status("/data/g").links == 1

    def test_a_second_name_is_refused_where_link_refuses_it(self, files, data, tmp_path):
        files.write("/data/f", b"")
        files.make_directory("/data/d")
        files.mount_memory("/other")
        for source, target, number in (
            ("/data/d", "/data/e", errno.EPERM),
            ("/data/f", "/data/d", errno.EEXIST),
            ("/data/none", "/data/e", errno.ENOENT),
            ("/data/f", "/other/f", errno.EXDEV),
            ("/data/f", "/new", errno.EROFS),
            ("/data/f", "/data/e/", errno.ENOENT),
        ):
            with refused(number):
                files.link(source, target)

    def test_a_link_is_given_a_second_name_itself_unless_it_is_followed(self, files, data):
        files.write("/data/f", b"")
        files.make_link("/data/l", "f")
        files.link("/data/l", "/data/same-link")
        files.link("/data/l", "/data/same-file", follow=True)
        assert files.read_link("/data/same-link") == "f"
        assert files.status("/data/same-file").inode == files.status("/data/f").inode

    def test_permissions_and_times_are_set(self, files, data):
        files.write("/data/f", b"")
        files.make_directory("/data/d")
        for path in ("/data/f", "/data/d"):
            files.change(path, permissions=0o700)
            files.change(path, accessed=1_000_000_000, modified=2_000_000_000)
            files.change(path, modified=3_000_000_000)
            status = files.status(path)
            assert status.permissions == 0o700
            assert (status.accessed, status.modified) == (1_000_000_000, 3_000_000_000)

    def test_a_links_own_times_are_set_and_its_permissions_are_not(self, files, data):
        files.write("/data/f", b"")
        files.make_link("/data/l", "f")
        files.change("/data/l", follow=False, modified=5_000_000_000)
        assert files.status("/data/l", follow=False).modified == 5_000_000_000
        assert files.status("/data/f").modified != 5_000_000_000
        with refused(errno.EOPNOTSUPP):
            files.change("/data/l", follow=False, permissions=0o600)

    def test_an_open_file_changes_its_own_status(self, files, data):
        file = files.open("/data/f", READ | WRITE | CREATE)
        directory = files.open("/data", READ)
        for each in (file, directory):
            times = StatusChange(0o711, accessed=1_000_000_000, modified=2_000_000_000)
            each.change(times)
            status = each.status()
            assert status.permissions == 0o711
            assert (status.accessed, status.modified) == (1_000_000_000, 2_000_000_000)

    def test_a_path_starts_at_an_open_directory_whatever_it_is_called_by_then(self, files, data):
        files.make_directory("/data/d")
        directory = files.open("/data/d", READ)
        files.rename("/data/d", "/data/e")
        files.write(files.at(directory, "f"), b"here")
        files.make_directory(files.at(directory, "sub"))
        files.make_link(files.at(directory, "l"), "f")
        files.rename(files.at(directory, "f"), files.at(directory, "g"))
        files.link(files.at(directory, "g"), "/data/h")
        assert files.read("/data/h") == b"here"
        assert files.names("/data/e") == ["g", "l", "sub"]
        assert [entry.name for entry in directory.entries()] == ["g", "l", "sub"]
        assert files.read_link(files.at(directory, "l")) == "f"
        files.remove(files.at(directory, "l"))
        files.remove(files.at(directory, "sub"), directory=True)
        assert files.names(files.at(directory, ".")) == ["g"]

    def test_a_directory_held_by_its_path_starts_paths_and_does_nothing_else(self, files, data):
        files.write("/data/f", b"here")
        directory = files.open("/data", PATH | DIRECTORY)
        assert files.read(files.at(directory, "f")) == b"here"
        assert directory.status().kind is FileKind.DIRECTORY
        with refused(errno.EBADF):
            directory.entries()

    def test_a_file_held_by_its_path_tells_its_status_and_nothing_else(self, files, data):
        files.write("/data/f", b"here")
        files.make_link("/data/l", "f")
        for path, mode, kind in (
            ("/data/f", PATH, FileKind.FILE),
            ("/data/l", PATH, FileKind.FILE),
            ("/data/l", PATH | NO_FOLLOW, FileKind.SYMBOLIC_LINK),
        ):
            held = files.open(path, mode)
            assert (held.status().kind, held.mode) == (kind, PATH)
            for use in (held.read, held.entries, held.synchronize, lambda f=held: f.write(b"x")):
                with refused(errno.EBADF):
                    use()
        with refused(errno.ENOTDIR):
            files.status(files.at(held, "x"))

    def test_a_removed_directory_takes_nothing_any_more(self, files, data):
        files.make_directory("/data/d")
        directory = files.open("/data/d", READ)
        files.remove("/data/d", directory=True)
        assert directory.entries() == []
        for attempt in (
            lambda: files.write(files.at(directory, "f"), b""),
            lambda: files.make_directory(files.at(directory, "d")),
            lambda: files.make_link(files.at(directory, "l"), "x"),
        ):
            with refused(errno.ENOENT):
                attempt()

    @pytest.mark.parametrize("bounds", Bounds)
    def test_no_link_and_no_dots_lead_out(self, files, data, bounds):
        files.make_directory("/data/d")
        files.make_link("/data/d/up", "../../../../../../../../etc/passwd")
        files.make_link("/data/d/absolute", "/etc/passwd")
        files.make_link("/data/d/process", "/proc/self/root/etc/passwd")
        directory = files.open("/data/d", READ)
        for path in ("up", "absolute", "process", "../../../../../../etc/passwd", "/etc/passwd"):
            with refused(errno.EXDEV if bounds is Bounds.BENEATH else errno.ENOENT):
                files.read(files.at(directory, path, bounds))

    def test_a_directory_cannot_be_moved_into_itself(self, files, data):
        files.make_directory("/data/a")
        files.make_directory("/data/a/b")
        with refused(errno.EINVAL):
            files.rename("/data/a", "/data/a/b/c")

    def test_renaming_replaces_like_with_like(self, files, data):
        files.write("/data/f", b"new")
        files.write("/data/g", b"old")
        files.make_directory("/data/d")
        files.make_directory("/data/e")
        files.write("/data/e/full", b"")
        files.rename("/data/f", "/data/g")
        assert files.read("/data/g") == b"new"
        for source, target, number in (
            ("/data/g", "/data/d", errno.EISDIR),
            ("/data/d", "/data/g", errno.ENOTDIR),
            ("/data/e/full", "/data/e", errno.ENOTEMPTY),
            ("/data/none", "/data/d", errno.ENOENT),
        ):
            with refused(number):
                files.rename(source, target)
        with refused(errno.ENOTEMPTY, errno.EEXIST):  # rename(2): either, by the file system
            files.rename("/data/d", "/data/e")
        files.rename("/data/e", "/data/d")
        assert files.names("/data") == ["d", "g"]

    def test_names_have_up_to_255_bytes(self, files, data):
        longest = "é" * 127 + "e"
        files.write(f"/data/{longest}", b"")
        assert files.names("/data") == [longest]
        for attempt in (files.read, files.make_directory):
            with refused(errno.ENAMETOOLONG):
                attempt(f"/data/{longest}e")

    def test_no_links_at_all_are_followed_where_that_is_asked_for(self, files, data):
        files.make_directory("/data/d")
        files.write("/data/d/f", b"")
        files.make_link("/data/l", "d")
        files.open("/data/d/f", READ | OpenMode.NO_LINKS).close()
        with refused(errno.ELOOP):
            files.open("/data/l/f", READ | OpenMode.NO_LINKS)

    def test_mounts_are_listed_through_an_open_directory(self, files, data):
        files.make_directory("/data/d")
        files.mount_memory("/data/d/more")
        directory = files.open("/data/d", READ)
        assert [entry.name for entry in directory.entries()] == ["more"]
        files.write(files.at(directory, "more/f", Bounds.BENEATH), b"in the other tree")
        assert files.read("/data/d/more/f") == b"in the other tree"
