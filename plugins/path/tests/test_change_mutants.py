"""The same for what makes, writes, renames and removes: each mutant is caught."""

import errno
import posixpath

import pytest

from theseus_kit.errors import PlatformError
from theseus_kit.hookspecs import hookimpl
from theseus_kit.testing.conformance import PathHandlingConformance
from theseus_kit.testing.conformance.mutants import caught_by, escaped, mutants_in, unproved
from theseus_kit.testing.conformance.path_handling import NamingConformance
from theseus_kit.testing.conformance.suite import names_of_tests
from theseus_kit.values.paths import MemoryMount, OpenMode, StatusChange
from theseus_kit_path import PathPlugin

from .mutant import FileMutant, LooseFile

READ, WRITE = OpenMode.READ, OpenMode.WRITE


@caught_by("test_what_is_written_is_read")
class IgnoresPermissions(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        return super().path_open(path, mode, 0o644)


@caught_by("test_open_modes_are_open_s_flags")
class IgnoresExclusive(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        return super().path_open(path, mode & ~OpenMode.EXCLUSIVE, permissions)


class AllocatesNothing(LooseFile):
    def allocate(self, offset, size):
        return None


@caught_by("test_an_open_file_grows_and_appends_where_it_is_told_to")
class MakesNoRoom(FileMutant):
    file_class = AllocatesNothing


@caught_by("test_a_tree_in_memory_starts_empty_and_ends_with_its_mount")
class KeepsTreesInMemory(PathPlugin):
    @hookimpl
    def path_unmount(self, target):
        super().path_list(self._path(target))


@caught_by("test_a_tree_in_memory_has_a_limit")
class IgnoresTheLimit(PathPlugin):
    @hookimpl
    def path_mount(self, mount):
        is_memory_s = isinstance(mount, MemoryMount)
        super().path_mount(mount._replace(limit=1 << 30) if is_memory_s else mount)


@caught_by("test_directories_are_made_one_at_a_time")
class MakesDirectoriesAgain(PathPlugin):
    @hookimpl
    def path_create_directory(self, path, permissions):
        try:
            super().path_create_directory(path, permissions)
        except PlatformError as error:
            if error.errno != errno.EEXIST:
                raise


@caught_by("test_removing_tells_files_from_directories")
class RemovesWhateverIsThere(PathPlugin):
    @hookimpl
    def path_remove(self, path, directory):
        try:
            super().path_remove(path, directory)
        except PlatformError as error:
            if error.errno != errno.EISDIR:
                raise
            super().path_remove(path, True)


@caught_by("test_renaming_replaces_like_with_like")
class RenamesOntoNothingOnly(PathPlugin):
    @hookimpl
    def path_rename(self, source, target):
        try:
            super().path_status(target, False)
        except PlatformError:
            return super().path_rename(source, target)
        raise PlatformError("it exists", errno.EEXIST)


@caught_by("test_renaming_across_mounts_is_refused")
class CopiesAcrossMounts(PathPlugin):
    @hookimpl
    def path_rename(self, source, target):
        try:
            super().path_rename(source, target)
        except PlatformError as error:
            if error.errno != errno.EXDEV:
                raise
            super().path_open(target, WRITE | OpenMode.CREATE, 0o644).close()
            super().path_remove(source, False)


@caught_by("test_a_link_holds_its_text_and_leads_where_it_says")
class TidiesLinksTexts(PathPlugin):
    @hookimpl
    def path_create_link(self, path, text):
        super().path_create_link(path, posixpath.normpath(text))


@caught_by("test_what_is_no_link_has_no_text")
class TakesFilesForEmptyLinks(PathPlugin):
    @hookimpl
    def path_read_link(self, path):
        try:
            return super().path_read_link(path)
        except PlatformError as error:
            if error.errno == errno.EINVAL:
                return ""
            raise


@caught_by("test_no_link_is_followed_where_none_may_be")
class FollowsLinksInBetween(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        return super().path_open(path, mode & ~OpenMode.NO_LINKS, permissions)


@caught_by("test_a_second_name_is_the_same_file")
class CopiesForASecondName(PathPlugin):
    @hookimpl
    def path_link(self, source, target, follow):
        file = super().path_open(source, READ, 0)
        copy = super().path_open(target, WRITE | OpenMode.CREATE, 0o644)
        copy.write(file.read())
        copy.close()
        file.close()


@caught_by("test_a_second_name_is_the_link_s_own_unless_it_is_followed")
class NeverFollowsTheSource(PathPlugin):
    @hookimpl
    def path_link(self, source, target, follow):
        super().path_link(source, target, False)


@caught_by("test_permissions_and_times_are_changed_one_by_one")
class ChangesEverythingAtOnce(PathPlugin):
    @hookimpl
    def path_change(self, path, change, follow):
        filled = StatusChange(
            change.permissions if change.permissions is not None else 0o644,
            change.accessed or 0,
            change.modified or 0,
        )
        super().path_change(path, filled, follow)


@caught_by("test_a_link_has_no_permissions_of_its_own_to_change")
class ChangesTheTargetInstead(PathPlugin):
    @hookimpl
    def path_change(self, path, change, follow):
        super().path_change(path, change, True)


@caught_by("test_what_is_held_by_its_path_tells_its_status_and_nothing_else")
class OpensWhatIsToBeHeld(PathPlugin):
    @hookimpl
    def path_open(self, path, mode, permissions):
        if mode & OpenMode.PATH and not mode & OpenMode.DIRECTORY:
            mode = READ
        return super().path_open(path, mode, permissions)


MUTANTS = mutants_in(globals())


@pytest.mark.parametrize(
    ("mutant", "test"), MUTANTS, ids=[mutant.__name__ for mutant, _ in MUTANTS]
)
def test_a_wrong_provider_is_caught(mutant, test):
    assert escaped(mutant, test) == ""


def test_every_test_of_the_suite_catches_a_wrong_provider():
    others = set(names_of_tests(NamingConformance))
    assert set(unproved(PathHandlingConformance, MUTANTS)) - others == set()
