"""Conformance of path handling: making, writing, renaming and removing.

Each test runs over every kind of tree that the provider offers: a host directory's, memory's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

from theseus_kit.capabilities import Capability
from theseus_kit.hookspecs import PathHandling
from theseus_kit.testing.conformance.path_handling import CREATE, READ, WRITE, NamingConformance
from theseus_kit.testing.conformance.suite import clause, needs
from theseus_kit.values.paths import (
    FileKind,
    MemoryMount,
    Mount,
    OpenFile,
    OpenMode,
    StatusChange,
)


class PathHandlingConformance(NamingConformance):
    """The group's whole suite."""

    def trees(self) -> Iterator[str]:
        """Writable, empty trees, by where they are mounted; a test does the same in each."""
        lacks = self.plugin_class().description.lacks
        found = False
        if Capability.HOST_MOUNTS not in lacks:
            found = True
            self.mount(Mount(self.host_directory() / "inside", "/host", writable=True))
            yield "/host"
        if Capability.MEMORY_MOUNTS not in lacks:
            found = True
            self.mount(MemoryMount("/memory"))
            yield "/memory"
        if not found:
            raise SkipTest("the plugin lacks mounts of either kind")

    def write(self, path: Any, data: bytes) -> None:
        file = self.open(path, WRITE | CREATE | OpenMode.TRUNCATE)
        try:
            assert file.write(data) == len(data)
        finally:
            file.close()

    def make_directory(self, path: str) -> None:
        self.hooks.path_create_directory(path=self.path(path), permissions=0o755)

    def make_link(self, path: str, text: str) -> None:
        self.hooks.path_create_link(path=self.path(path), text=text)

    def rename(self, source: str, target: str) -> None:
        self.hooks.path_rename(source=self.path(source), target=self.path(target))

    def link(self, source: str, target: str, follow: bool = False) -> None:
        self.hooks.path_link(source=self.path(source), target=self.path(target), follow=follow)

    def remove(self, path: str, directory: bool = False) -> None:
        self.hooks.path_remove(path=self.path(path), directory=directory)

    def change(self, path: str, follow: bool = True, **fields: int) -> None:
        change = StatusChange(**fields)
        self.hooks.path_change(path=self.path(path), change=change, follow=follow)

    def names(self, path: str) -> list[str]:
        return [entry.name for entry in self.entries(path)]

    @needs(Capability.WRITING)
    @clause(PathHandling.path_open, "permissions count where a file is created")
    @clause(OpenMode, "Create the file if it does not exist")
    def test_what_is_written_is_read(self) -> None:
        for tree in self.trees():
            file = self.open(f"{tree}/f", READ | WRITE | CREATE, 0o600)
            assert file.write(b"0123456789") == 10
            assert file.write_at(b"xy", 1) == 2
            assert file.read_at(4, 0) == b"0xy3"
            file.truncate(6)
            file.close()
            assert self.read(f"{tree}/f") == b"0xy345"
            assert self.status(f"{tree}/f").permissions == 0o600

    @needs(Capability.WRITING)
    @clause(OpenMode, "With CREATE: an error if it exists")
    def test_open_modes_are_open_s_flags(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"first")
            with self.fails(errno.EEXIST):
                self.open(f"{tree}/f", WRITE | CREATE | OpenMode.EXCLUSIVE)
            file = self.open(f"{tree}/f", WRITE | OpenMode.APPEND)
            file.write(b" second")
            file.close()
            assert self.read(f"{tree}/f") == b"first second"
            self.open(f"{tree}/f", WRITE | OpenMode.TRUNCATE).close()
            assert self.read(f"{tree}/f") == b""

    @needs(Capability.WRITING)
    @clause(OpenFile, "the file grows to hold the range")
    @clause(OpenFile, "Have every write go to the file's end, or no longer")
    def test_an_open_file_grows_and_appends_where_it_is_told_to(self) -> None:
        for tree in self.trees():
            file = self.open(f"{tree}/f", READ | WRITE | CREATE)
            file.write(b"ab")
            file.allocate(10, 10)
            assert file.status().size == 20
            file.seek(0)
            file.set_append(True)
            assert OpenMode.APPEND in file.mode
            file.write(b"end")
            assert file.read_at(100, 0) == b"ab" + bytes(18) + b"end"
            file.set_append(False)
            file.seek(0)
            file.write(b"AB")
            file.synchronize()
            assert file.read_at(2, 0) == b"AB"
            file.close()

    @needs(Capability.MEMORY_MOUNTS, Capability.WRITING)
    @clause(PathHandling.path_mount, "or a tree in memory")
    @clause(PathHandling.path_mount, "visible (ENOENT, EEXIST)")
    def test_a_tree_in_memory_starts_empty_and_ends_with_its_mount(self) -> None:
        self.mount(MemoryMount("/memory"))
        assert self.names("/memory") == []
        self.write("/memory/f", b"x")
        self.hooks.path_unmount(target="/memory")
        with self.fails(errno.ENOENT):
            self.status("/memory")
        self.mount(MemoryMount("/memory"))
        assert self.names("/memory") == []

    @needs(Capability.MEMORY_MOUNTS, Capability.WRITING)
    @clause(MemoryMount, "in bytes: ENOSPC above")
    def test_a_tree_in_memory_has_a_limit(self) -> None:
        self.mount(MemoryMount("/memory", limit=1 << 16))
        file = self.open("/memory/f", WRITE | CREATE)
        with self.fails(errno.ENOSPC):
            file.write_at(b"x" * 4096, 1 << 17)
        file.close()

    @needs(Capability.WRITING)
    @clause(PathHandling.path_create_directory, "Create one directory, as mkdir(2)")
    def test_directories_are_made_one_at_a_time(self) -> None:
        for tree in self.trees():
            self.make_directory(f"{tree}/d")
            assert self.status(f"{tree}/d").kind is FileKind.DIRECTORY
            for number, path in ((errno.EEXIST, "d"), (errno.ENOENT, "none/d")):
                with self.fails(number):
                    self.make_directory(f"{tree}/{path}")

    @needs(Capability.WRITING)
    @clause(PathHandling.path_remove, "Remove an empty directory, as rmdir(2)")
    @clause(PathHandling.path_remove, "or else a file or a link, as unlink(2)")
    def test_removing_tells_files_from_directories(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"")
            self.make_directory(f"{tree}/d")
            self.write(f"{tree}/d/g", b"")
            cases = [
                (errno.EISDIR, "d", False),
                (errno.ENOTDIR, "f", True),
                (errno.ENOTEMPTY, "d", True),
                (errno.ENOENT, "none", False),
            ]
            for number, name, directory in cases:
                with self.fails(number):
                    self.remove(f"{tree}/{name}", directory)
            self.remove(f"{tree}/d/g")
            self.remove(f"{tree}/d", directory=True)
            self.remove(f"{tree}/f")
            assert self.names(tree) == []

    @needs(Capability.WRITING)
    @clause(PathHandling.path_rename, "Rename atomically within one mount, as rename(2)")
    def test_renaming_replaces_like_with_like(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"new")
            self.write(f"{tree}/g", b"old")
            self.make_directory(f"{tree}/d")
            self.rename(f"{tree}/f", f"{tree}/g")
            assert self.read(f"{tree}/g") == b"new"
            cases = [
                (errno.EISDIR, "g", "d"),
                (errno.ENOTDIR, "d", "g"),
                (errno.ENOENT, "none", "h"),
                (errno.EINVAL, "d", "d/e"),
            ]
            for number, source, target in cases:
                with self.fails(number):
                    self.rename(f"{tree}/{source}", f"{tree}/{target}")
            assert self.names(tree) == ["d", "g"]

    @needs(Capability.WRITING, Capability.HOST_MOUNTS, Capability.MEMORY_MOUNTS)
    @clause(PathHandling.path_rename, "EXDEV across mounts")
    def test_renaming_across_mounts_is_refused(self) -> None:
        first, second = list(self.trees())
        self.write(f"{first}/f", b"kept")
        with self.fails(errno.EXDEV):
            self.rename(f"{first}/f", f"{second}/f")
        assert self.read(f"{first}/f") == b"kept"
        assert self.names(second) == []

    @needs(Capability.WRITING, Capability.SYMBOLIC_LINKS)
    @clause(
        PathHandling.path_create_link,
        "Create a symbolic link that holds ``text``, as symlink(2); the text is not looked up",
    )
    @clause(PathHandling.path_read_link, "Return the text of a symbolic link, as readlink(2)")
    def test_a_link_holds_its_text_and_leads_where_it_says(self) -> None:
        for tree in self.trees():
            self.make_link(f"{tree}/l", "./d/../f")
            hooks = self.hooks
            assert hooks.path_read_link(path=self.path(f"{tree}/l")) == "./d/../f"
            with self.fails(errno.ENOENT):
                self.open(f"{tree}/l")
            self.make_directory(f"{tree}/d")
            self.write(f"{tree}/f", b"found")
            assert self.read(f"{tree}/l") == b"found"
            assert self.status(f"{tree}/l", follow=False).size == 8
            with self.fails(errno.EEXIST):
                self.make_link(f"{tree}/l", "again")

    @needs(Capability.WRITING, Capability.SYMBOLIC_LINKS)
    @clause(PathHandling.path_read_link, "EINVAL for what is none")
    def test_what_is_no_link_has_no_text(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"")
            for number, name in ((errno.EINVAL, "f"), (errno.ENOENT, "none")):
                with self.fails(number):
                    self.hooks.path_read_link(path=self.path(f"{tree}/{name}"))

    @needs(Capability.WRITING, Capability.SYMBOLIC_LINKS)
    @clause(OpenMode, "An error (ELOOP) if any component is a symbolic link")
    def test_no_link_is_followed_where_none_may_be(self) -> None:
        for tree in self.trees():
            self.make_directory(f"{tree}/d")
            self.write(f"{tree}/d/f", b"x")
            self.make_link(f"{tree}/l", "d")
            assert self.read(f"{tree}/d/f", READ | OpenMode.NO_LINKS) == b"x"
            with self.fails(errno.ELOOP):
                self.read(f"{tree}/l/f", READ | OpenMode.NO_LINKS)

    @needs(Capability.WRITING, Capability.HARD_LINKS)
    @clause(PathHandling.path_link, "Give a file a second name within one mount, as linkat(2)")
    def test_a_second_name_is_the_same_file(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"shared")
            self.link(f"{tree}/f", f"{tree}/g")
            assert self.status(f"{tree}/g").inode == self.status(f"{tree}/f").inode
            assert self.status(f"{tree}/f").links == 2
            self.remove(f"{tree}/f")
            assert self.read(f"{tree}/g") == b"shared"

    @needs(Capability.WRITING, Capability.HARD_LINKS, Capability.SYMBOLIC_LINKS)
    @clause(PathHandling.path_link, "``follow`` is the source's")
    def test_a_second_name_is_the_link_s_own_unless_it_is_followed(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"")
            self.make_link(f"{tree}/l", "f")
            self.link(f"{tree}/l", f"{tree}/own")
            self.link(f"{tree}/l", f"{tree}/target", follow=True)
            kinds = [self.status(f"{tree}/{n}", follow=False).kind for n in ("own", "target")]
            assert kinds == [FileKind.SYMBOLIC_LINK, FileKind.FILE]

    @needs(Capability.WRITING, Capability.STATUS_CHANGES)
    @clause(PathHandling.path_change, "Change permissions or times, as chmod(2), utimensat(2)")
    @clause(StatusChange, "None leaves a field as it is")
    def test_permissions_and_times_are_changed_one_by_one(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"")
            self.change(f"{tree}/f", permissions=0o640)
            self.change(f"{tree}/f", accessed=5_000_000_001, modified=7_000_000_002)
            before = self.status(f"{tree}/f")
            self.change(f"{tree}/f", modified=9_000_000_003)
            status = self.status(f"{tree}/f")
            assert status.permissions == 0o640
            assert status.accessed == before.accessed
            # A file system keeps times as finely as it can, some of them whole seconds.
            assert 4_000_000_001 < status.accessed <= 5_000_000_001
            assert 8_000_000_003 < status.modified <= 9_000_000_003

    @needs(Capability.WRITING, Capability.STATUS_CHANGES, Capability.SYMBOLIC_LINKS)
    @clause(PathHandling.path_change, "EOPNOTSUPP for a link's own")
    def test_a_link_has_no_permissions_of_its_own_to_change(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"")
            self.make_link(f"{tree}/l", "f")
            self.change(f"{tree}/l", follow=False, modified=5_000_000_000)
            assert self.status(f"{tree}/l", follow=False).modified == 5_000_000_000
            assert self.status(f"{tree}/f").modified != 5_000_000_000
            with self.fails(errno.EOPNOTSUPP):
                self.change(f"{tree}/l", follow=False, permissions=0o600)

    @needs(Capability.OPEN_DIRECTORIES, Capability.WRITING)
    @clause(OpenMode, "Hold what is there without opening it, whatever its kind (O_PATH)")
    def test_what_is_held_by_its_path_tells_its_status_and_nothing_else(self) -> None:
        for tree in self.trees():
            self.write(f"{tree}/f", b"here")
            held = self.open(f"{tree}/f", OpenMode.PATH)
            assert held.status().size == 4
            with self.fails(errno.EBADF):
                held.read()
            held.close()
            directory = self.open(tree, OpenMode.PATH | OpenMode.DIRECTORY)
            assert self.read(self.at(directory, "f")) == b"here"
            directory.close()
