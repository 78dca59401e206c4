"""Conformance of path handling: what a path is, mounts, look-ups and reading.

What changes files is :mod:`~theseus_kit.testing.conformance.path_changes`'s; authors inherit both
as ``PathHandlingConformance``.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from theseus_kit.capabilities import Capability
from theseus_kit.errors import PlatformError
from theseus_kit.hookspecs import Group, PathHandling
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.paths import (
    Bounds,
    DirectoryEntry,
    FileKind,
    FileStatus,
    MemoryMount,
    Mount,
    OpenFile,
    OpenMode,
    PathAt,
    PlatformPath,
)

READ, WRITE, CREATE = OpenMode.READ, OpenMode.WRITE, OpenMode.CREATE


class NamingConformance(Conformance):
    """What the hooks that look up and read answer."""

    group = Group.PATH_HANDLING
    _directory: tempfile.TemporaryDirectory[str] | None = None

    def teardown_method(self) -> None:
        super().teardown_method()
        if self._directory is not None:
            self._directory.cleanup()

    def path(self, text: Any) -> Any:
        """A path of its text; what is no text is a location already."""
        return self.hooks.path_parse(text=text) if isinstance(text, str) else text

    def at(self, directory: OpenFile, text: str, bounds: Bounds = Bounds.NAMESPACE) -> PathAt:
        return PathAt(directory, self.path(text), bounds)

    def open(self, path: Any, mode: OpenMode = READ, permissions: int = 0o644) -> OpenFile:
        file: OpenFile = self.hooks.path_open(
            path=self.path(path), mode=mode, permissions=permissions
        )
        return file

    def read(self, path: Any, mode: OpenMode = READ) -> bytes:
        file = self.open(path, mode)
        try:
            return file.read()
        finally:
            file.close()

    def status(self, path: Any, follow: bool = True) -> FileStatus:
        status: FileStatus = self.hooks.path_status(path=self.path(path), follow=follow)
        return status

    def entries(self, path: Any) -> list[DirectoryEntry]:
        return list(self.hooks.path_list(path=self.path(path)))

    def resolve(self, path: Any, follow: bool = True) -> str:
        return str(self.hooks.path_resolve(path=self.path(path), follow=follow))

    def host_directory(self) -> Path:
        """A directory of the host, gone after the test; ``inside`` of it is to be mounted."""
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="theseus-kit-")
            (Path(self._directory.name) / "inside").mkdir()
            (Path(self._directory.name) / "secret").write_text("secret", encoding="ascii")
        return Path(self._directory.name)

    def mount(self, mount: Mount | MemoryMount) -> None:
        self.hooks.path_mount(mount=mount)

    def mounted(self, writable: bool = False) -> Path:
        """Mount a host directory at /data and return it."""
        directory = self.host_directory() / "inside"
        self.mount(Mount(directory, "/data", writable))
        return directory

    def small_tree(self) -> Path:
        """/data with a file ``f``, a directory ``d`` and in it a file ``g``."""
        directory = self.mounted()
        (directory / "f").write_bytes(b"content")
        (directory / "d").mkdir()
        (directory / "d" / "g").write_bytes(b"deeper")
        return directory

    @contextmanager
    def fails(self, number: int) -> Iterator[None]:
        """The block must be refused with this errno."""
        with self.refused(PlatformError, number):
            yield

    @clause(PathHandling.path_parse, "Make a path of its text")
    @clause(PlatformPath, "``str()`` of it is its text")
    def test_a_path_is_its_text(self) -> None:
        for text in ("/", "/srv/data", "a", "a/b.c"):
            path = self.path(text)
            assert str(path) == text
            assert path == self.path(text)
            assert hash(path) == hash(self.path(text))
            assert path != self.path(text + "x")
            assert path.is_absolute() == text.startswith("/")

    @needs(Capability.NON_UTF8_NAMES)
    @clause(PathHandling.path_parse, "Bytes that are not UTF-8 stand as surrogate escapes")
    def test_bytes_that_are_no_text_come_out_as_they_went_in(self) -> None:
        text = os.fsdecode(b"/a/\xff\xfe")
        assert str(self.path(text)) == text
        assert os.fsencode(self.path(text).file_name() or "") == b"\xff\xfe"

    @clause(PlatformPath, "The parts from the first to the last; ``str()`` of each is its text")
    def test_a_path_has_components_a_parent_and_a_name(self) -> None:
        path = self.path("/srv/data")
        assert [str(part) for part in path.components()] == ["/", "srv", "data"]
        assert path.file_name() == "data"
        assert path.parent() == self.path("/srv")
        assert self.path("/").parent() is None

    @clause(PlatformPath, "pure text, no look-ups")
    def test_paths_are_joined_as_text_and_an_absolute_one_replaces(self) -> None:
        assert self.path("/srv").join("none/such") == self.path("/srv/none/such")
        assert self.path("/srv").join("/data") == self.path("/data")

    @clause(PathHandling.path_to_host, "Convert a platform path, textually")
    @clause(PathHandling.path_from_host, "Convert a host path, textually")
    def test_a_path_goes_to_the_host_and_back(self) -> None:
        path = self.path("/no/such/file")
        host = self.hooks.path_to_host(path=path)
        assert os.fspath(host) == "/no/such/file"
        assert self.hooks.path_from_host(path=Path("/no/such/file")) == path

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_mount, "Make a host file or directory")
    def test_a_mounted_directory_s_files_are_seen(self) -> None:
        self.small_tree()
        assert self.read("/data/f") == b"content"
        assert self.read("/data/d/g") == b"deeper"

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_mount, "Make a host file")
    def test_a_mounted_file_is_seen(self) -> None:
        self.mount(Mount(self.host_directory() / "secret", "/file"))
        assert self.read("/file") == b"secret"

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_mount, "visible (ENOENT, EEXIST)")
    def test_a_mount_that_cannot_be_is_refused(self) -> None:
        directory = self.mounted()
        with self.fails(errno.ENOENT):
            self.mount(Mount(directory / "none", "/none"))
        with self.fails(errno.EEXIST):
            self.mount(Mount(directory, "/data"))

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_unmount, "Take a mount away; files already open stay open")
    def test_an_unmounted_tree_is_gone_and_its_open_files_are_not(self) -> None:
        self.small_tree()
        file = self.open("/data/f")
        self.hooks.path_unmount(target="/data")
        with self.fails(errno.ENOENT):
            self.open("/data/f")
        assert file.read() == b"content"
        file.close()

    @clause(PathHandling.path_unmount, "Raises PlatformError (ENOENT)")
    def test_what_is_not_mounted_cannot_be_unmounted(self) -> None:
        with self.fails(errno.ENOENT):
            self.hooks.path_unmount(target="/no-such-mount")

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling, "Nothing outside the mounts can be reached")
    def test_nothing_outside_the_mounts_is_reached_by_name_or_dots(self) -> None:
        directory = self.small_tree()
        for text in (
            str(directory.parent / "secret"),
            "/data/../secret",
            "/data/d/../../secret",
            "/../../../../../../../../../../etc/passwd",
            "../../../../../../../../../../../etc/passwd",
            "/etc/passwd",
        ):
            with self.fails(errno.ENOENT):
                self.open(text)
            with self.fails(errno.ENOENT):
                self.status(text)

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling, "Nothing outside the mounts can be reached")
    def test_nothing_outside_the_mounts_is_reached_by_links(self) -> None:
        directory = self.small_tree()
        (directory / "up").symlink_to("../secret")
        (directory / "absolute").symlink_to(directory.parent / "secret")
        (directory / "d" / "away").symlink_to("../../..")
        (directory / "process").symlink_to("/proc/self/root")
        outside = str(directory.parent / "secret").lstrip("/")
        for text in ("up", "absolute", "d/away/secret", f"process/{outside}", f"d/away/{outside}"):
            self.raised(PlatformError, self.open, f"/data/{text}")

    @needs(Capability.HOST_MOUNTS)
    @clause(
        PathHandling.path_resolve,
        "Resolve to an absolute path without ``.``, ``..`` or symbolic links, of what exists",
    )
    def test_dots_are_resolved_away(self) -> None:
        self.small_tree()
        assert self.resolve("/data/./d/../d/g") == "/data/d/g"
        assert self.resolve("data/d/..") == "/data"
        assert self.resolve("/data/..") == "/"
        with self.fails(errno.ENOENT):
            self.resolve("/data/none")
        with self.fails(errno.ENOTDIR):
            self.resolve("/data/f/..")

    @needs(Capability.HOST_MOUNTS, Capability.SYMBOLIC_LINKS)
    @clause(PathHandling.path_resolve, "symbolic links, of what exists")
    def test_links_are_resolved_away_but_the_last_where_it_is_not_followed(self) -> None:
        directory = self.small_tree()
        (directory / "link").symlink_to("d")
        (directory / "last").symlink_to("/data/d/g")
        assert self.resolve("/data/link/g") == "/data/d/g"
        assert self.resolve("/data/last") == "/data/d/g"
        assert self.resolve("/data/last", follow=False) == "/data/last"
        (directory / "loop").symlink_to("loop")
        with self.fails(errno.ELOOP):
            self.resolve("/data/loop")

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_open, "Open a file or directory, as open(2)")
    def test_opening_fails_as_open_does(self) -> None:
        self.small_tree()
        cases: list[tuple[int, str, OpenMode]] = [
            (errno.ENOENT, "/data/none", READ),
            (errno.ENOENT, "/data/none/f", READ),
            (errno.ENOTDIR, "/data/f/g", READ),
            (errno.ENOTDIR, "/data/f", READ | OpenMode.DIRECTORY),
            (errno.EISDIR, "/data/d", READ | WRITE),
            (errno.EROFS, "/data/f", WRITE),
            (errno.EROFS, "/data/new", WRITE | CREATE),
        ]
        for number, path, mode in cases:
            with self.fails(number):
                self.open(path, mode)

    @needs(Capability.HOST_MOUNTS)
    @clause(OpenFile, "An open file or directory of the namespace")
    def test_an_open_file_reads_and_seeks(self) -> None:
        self.small_tree()
        file = self.open("/data/f")
        assert file.read(3) == b"con"
        assert file.read_at(4, 3) == b"tent"
        assert file.read() == b"tent"
        assert file.read() == b""
        assert file.seek(-2, os.SEEK_END) == 5
        assert file.seek(1, os.SEEK_CUR) == 6
        assert file.read() == b"t"
        assert file.status().size == 7
        assert file.mode == READ
        file.close()

    @needs(Capability.HOST_MOUNTS)
    @clause(OpenFile, "EBADF for what the open mode does not allow and after :meth:`close`")
    @clause(OpenFile, "EISDIR for the\n    bytes of a directory, ENOTDIR for the entries of a file")
    def test_an_open_file_refuses_what_it_is_not_open_for(self) -> None:
        self.small_tree()
        file, directory = self.open("/data/f"), self.open("/data/d", READ | OpenMode.DIRECTORY)
        with self.fails(errno.EBADF):
            file.write(b"x")
        with self.fails(errno.ENOTDIR):
            file.entries()
        with self.fails(errno.EISDIR):
            directory.read()
        assert [entry.name for entry in directory.entries()] == ["g"]
        for each in (file, directory):
            each.close()
            with self.fails(errno.EBADF):
                each.status()

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_status, "Tell what is at a path, as stat(2)")
    def test_a_status_tells_kind_and_size(self) -> None:
        directory = self.small_tree()
        status = self.status("/data/f")
        assert (status.kind, status.size, status.links) == (FileKind.FILE, 7, 1)
        assert status.modified == (directory / "f").stat().st_mtime_ns
        assert self.status("/data/d").kind is FileKind.DIRECTORY
        assert self.status("/").kind is FileKind.DIRECTORY
        for number, path in ((errno.ENOENT, "/data/none"), (errno.ENOTDIR, "/data/f/x")):
            with self.fails(number):
                self.status(path)

    @needs(Capability.HOST_MOUNTS, Capability.SYMBOLIC_LINKS)
    @clause(PathHandling.path_status, "without ``follow``, lstat(2)")
    @clause(OpenMode, "An error if the last component is a symbolic link")
    def test_a_link_is_followed_where_that_is_asked_for(self) -> None:
        directory = self.small_tree()
        (directory / "link").symlink_to("d/g")
        assert self.status("/data/link").size == 6
        assert self.status("/data/link", follow=False).kind is FileKind.SYMBOLIC_LINK
        assert self.read("/data/link") == b"deeper"
        with self.fails(errno.ELOOP):
            self.open("/data/link", READ | OpenMode.NO_FOLLOW)

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_list, "List a directory without ``.`` and ``..``, sorted by name")
    def test_a_directory_is_listed_sorted_with_kinds(self) -> None:
        directory = self.small_tree()
        for name in ("z", "B", "a", "é"):
            (directory / name).touch()
        listed = [(entry.name, entry.kind) for entry in self.entries("/data")]
        kinds = {"d": FileKind.DIRECTORY}
        names = sorted(["B", "a", "d", "f", "z", "é"])
        assert listed == [(name, kinds.get(name, FileKind.FILE)) for name in names]

    @needs(Capability.HOST_MOUNTS)
    @clause(PathHandling.path_list, "Raises as opendir(3)")
    def test_what_is_no_directory_is_not_listed(self) -> None:
        self.small_tree()
        for number, path in ((errno.ENOENT, "/data/none"), (errno.ENOTDIR, "/data/f")):
            with self.fails(number):
                self.entries(path)

    @needs(Capability.HOST_MOUNTS)
    @clause(Mount, "made visible at ``target``, an absolute platform path")
    def test_a_mount_that_is_not_writable_is_changed_by_nothing(self) -> None:
        directory = self.small_tree()
        attempts: list[Callable[[], Any]] = [
            lambda: self.open("/data/f", WRITE | OpenMode.TRUNCATE),
            lambda: self.hooks.path_create_directory(path=self.path("/data/n"), permissions=0o755),
            lambda: self.hooks.path_create_link(path=self.path("/data/n"), text="f"),
            lambda: self.hooks.path_remove(path=self.path("/data/f"), directory=False),
            lambda: self.hooks.path_remove(path=self.path("/data/d"), directory=True),
            lambda: self.hooks.path_rename(
                source=self.path("/data/f"), target=self.path("/data/n")
            ),
            lambda: self.hooks.path_link(
                source=self.path("/data/f"), target=self.path("/data/n"), follow=False
            ),
        ]
        for attempt in attempts:
            with self.fails(errno.EROFS):
                attempt()
        assert sorted(path.name for path in directory.iterdir()) == ["d", "f"]
        assert (directory / "f").read_bytes() == b"content"

    @needs(Capability.HOST_MOUNTS, Capability.OPEN_DIRECTORIES)
    @clause(PathAt, "A path that starts at an open directory where it is relative")
    @clause(PathAt, "The path stays right when the directory is\n    renamed")
    @clause(PathHandling, "or one from an open directory")
    def test_a_path_starts_at_an_open_directory_whatever_it_is_called_by_then(self) -> None:
        host = self.small_tree()
        directory = self.open("/data/d", READ | OpenMode.DIRECTORY)
        assert self.read(self.at(directory, "g")) == b"deeper"
        assert self.read(self.at(directory, "/data/f")) == b"content"
        (host / "d").rename(host / "e")
        assert self.read(self.at(directory, "g")) == b"deeper"
        assert [entry.name for entry in self.entries(self.at(directory, "."))] == ["g"]

    @needs(Capability.HOST_MOUNTS, Capability.OPEN_DIRECTORIES)
    @clause(Bounds, "Never above the directory: EXDEV for what would leave it (RESOLVE_BENEATH)")
    @clause(Bounds, "The directory is taken for the root: ``..`` stays there (RESOLVE_IN_ROOT)")
    def test_bounds_keep_a_path_in_its_directory(self) -> None:
        self.small_tree()
        directory = self.open("/data/d", READ | OpenMode.DIRECTORY)
        assert self.read(self.at(directory, "../f")) == b"content"
        for text in ("../f", "/data/f", "../d/g"):
            with self.fails(errno.EXDEV):
                self.read(self.at(directory, text, Bounds.BENEATH))
        with self.fails(errno.ENOENT):
            self.read(self.at(directory, "../f", Bounds.ROOT))
        assert self.read(self.at(directory, "../../g", Bounds.ROOT)) == b"deeper"
