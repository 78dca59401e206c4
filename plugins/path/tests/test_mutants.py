"""Providers with one thing wrong, each caught by the conformance test of the clause it breaks."""

import errno
import os
import posixpath

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.testing.conformance.path_handling import NamingConformance
from theseus_kit.values.paths import Bounds, Mount, OpenMode, PathAt
from theseus_kit_path import Path, PathPlugin

from .mutant import FileMutant, LooseFile

READ, WRITE = OpenMode.READ, OpenMode.WRITE


class EqualToAll(Path):
    def __eq__(self, other):
        return isinstance(other, Path)

    __hash__ = Path.__hash__


@caught_by("test_a_path_is_its_text")
class TakesAllPathsForEqual(PathPlugin):
    def _path(self, text):
        return EqualToAll(text)


@caught_by("test_bytes_that_are_no_text_come_out_as_they_went_in")
class ReplacesWhatIsNoText(PathPlugin):
    def _path(self, text):
        return Path(text.encode("utf-8", "replace").decode())


class RootIsItsParent(Path):
    def parent(self):
        return super().parent() or self


@caught_by("test_a_path_has_components_a_parent_and_a_name")
class HasNoEndUpwards(PathPlugin):
    def _path(self, text):
        return RootIsItsParent(text)


class JoinsAlways(Path):
    def join(self, other):
        return JoinsAlways(f"{self}/{str(other).lstrip('/')}")


@caught_by("test_paths_are_joined_as_text_and_an_absolute_one_replaces")
class AppendsAbsolutePaths(PathPlugin):
    def _path(self, text):
        return JoinsAlways(text)


@caught_by("test_a_path_goes_to_the_host_and_back")
class ResolvesHostPaths(PathPlugin):
    @hookimpl
    def path_to_host(self, path):
        return super().path_to_host(path) / ".." / "file"


@caught_by("test_a_mounted_directory_s_files_are_seen")
class SeesNoSubdirectories(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        if str(path).count("/") > 2:
            raise PlatformError("too deep", errno.ENOENT)
        return super().path_open(path, mode, permissions)


@caught_by("test_a_mounted_file_is_seen")
class MountsDirectoriesOnly(PathPlugin):
    @hookimpl
    def path_mount(self, mount):
        if isinstance(mount, Mount) and mount.source.is_file():
            raise PlatformError("no directory", errno.ENOTDIR)
        super().path_mount(mount)


@caught_by("test_a_mount_that_cannot_be_is_refused")
class MountsOverMounts(PathPlugin):
    @hookimpl
    def path_mount(self, mount):
        try:
            super().path_mount(mount)
        except PlatformError as error:
            if error.errno != errno.EEXIST:
                raise


class Forgotten(LooseFile):
    owner = None

    def read(self, size=-1):
        if self.owner.unmounted:
            raise PlatformError("gone", errno.EIO)
        return self._file.read(size)


@caught_by("test_an_unmounted_tree_is_gone_and_its_open_files_are_not")
class ClosesFilesOfUnmountedTrees(FileMutant):
    unmounted = False

    def file_class(self, file):
        wrapped = Forgotten(file)
        wrapped.owner = self
        return wrapped

    @hookimpl
    def path_unmount(self, target):
        super().path_unmount(target)
        self.unmounted = True


@caught_by("test_what_is_not_mounted_cannot_be_unmounted")
class UnmountsAnything(PathPlugin):
    @hookimpl
    def path_unmount(self, target):
        try:
            super().path_unmount(target)
        except PlatformError as error:
            self.refused = error


class HostFile:
    """What leaks: a file of the host by its own name."""

    def __init__(self, path):
        self.path = path

    def close(self):
        self.path = None


@caught_by("test_nothing_outside_the_mounts_is_reached_by_name_or_dots")
class FallsBackOnTheHost(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        try:
            return super().path_open(path, mode, permissions)
        except PlatformError:
            name = posixpath.normpath(str(path))
            if mode == READ and name.startswith("/etc/") and posixpath.exists(name):
                return HostFile(name)
            raise


@caught_by("test_nothing_outside_the_mounts_is_reached_by_links")
class FollowsLinksOnTheHost(PathPlugin):
    @hookimpl
    def path_mount(self, mount):
        super().path_mount(mount)
        self.mount = mount

    @hookimpl
    def path_open(self, path, mode, permissions):
        try:
            return super().path_open(path, mode, permissions)
        except PlatformError:
            inside = self.mount.source / str(path).removeprefix("/data/")
            if inside.is_symlink() and inside.exists():
                return HostFile(inside)
            raise


@caught_by("test_dots_are_resolved_away")
class ResolvesDotsAsText(PathPlugin):
    @hookimpl
    def path_resolve(self, path, follow):
        text = posixpath.normpath("/" + str(path))
        return super().path_resolve(self._path(text), follow)


@caught_by("test_links_are_resolved_away_but_the_last_where_it_is_not_followed")
class FollowsTheLastLinkAlways(PathPlugin):
    @hookimpl
    def path_resolve(self, path, follow):
        return super().path_resolve(path, True)


@caught_by("test_opening_fails_as_open_does")
class SaysAccessForReadOnly(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        try:
            return super().path_open(path, mode, permissions)
        except PlatformError as error:
            number = errno.EACCES if error.errno == errno.EROFS else error.errno
            raise PlatformError(str(error), number) from error


class SeeksFromTheStart(LooseFile):
    def seek(self, offset, whence=0):
        return self._file.seek(abs(offset), os.SEEK_SET)


@caught_by("test_an_open_file_reads_and_seeks")
class IgnoresWhence(FileMutant):
    file_class = SeeksFromTheStart


class ReadsDirectories(LooseFile):
    def read(self, size=-1):
        try:
            return self._file.read(size)
        except PlatformError as error:
            if error.errno == errno.EISDIR:
                return b""
            raise


@caught_by("test_an_open_file_refuses_what_it_is_not_open_for")
class TakesDirectoriesForEmptyFiles(FileMutant):
    file_class = ReadsDirectories


@caught_by("test_a_status_tells_kind_and_size")
class TellsTimesInSeconds(PathPlugin):
    @hookimpl
    def path_status(self, path, follow):
        status = super().path_status(path, follow)
        return status._replace(modified=status.modified // 1_000_000_000)


@caught_by("test_a_link_is_followed_where_that_is_asked_for")
class FollowsLinksAlways(PathPlugin):
    @hookimpl
    def path_status(self, path, follow):
        return super().path_status(path, True)


@caught_by("test_a_directory_is_listed_sorted_with_kinds")
class ListsBackwards(PathPlugin):
    @hookimpl
    def path_list(self, path):
        return list(super().path_list(path))[::-1]


@caught_by("test_what_is_no_directory_is_not_listed")
class ListsFilesAsEmpty(PathPlugin):
    @hookimpl
    def path_list(self, path):
        try:
            return super().path_list(path)
        except PlatformError as error:
            if error.errno == errno.ENOTDIR:
                return []
            raise


@caught_by("test_a_mount_that_is_not_writable_is_changed_by_nothing")
class MountsAllWritable(PathPlugin):
    @hookimpl
    def path_mount(self, mount):
        is_host_s = isinstance(mount, Mount)
        super().path_mount(mount._replace(writable=True) if is_host_s else mount)


@caught_by("test_a_path_starts_at_an_open_directory_whatever_it_is_called_by_then")
class RemembersDirectoriesByName(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        if isinstance(path, PathAt) and not path.path.is_absolute():
            path = self._path(f"/data/d/{path.path}")
        return super().path_open(path, mode, permissions)


@caught_by("test_bounds_keep_a_path_in_its_directory")
class IgnoresBounds(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        if isinstance(path, PathAt):
            path = path._replace(bounds=Bounds.NAMESPACE)
        return super().path_open(path, mode, permissions)


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    assert unproved(NamingConformance, MUTANTS) == []
