"""Resolution: walking a path component by component, so that no step can leave the mounts.

Each step enters one name in the directory the walk stands in, which it holds: there is no moment
between looking and going at which somebody could swap a directory for a link. Links are read and
walked by the kit itself, from the namespace's root if they are absolute; no tree ever follows
one, sees ``..`` or more than one name at a time. What is done with the last component is
``namespace.py``'s.

The errors are those of path_resolution(7), and openat2(2) for paths with bounds.
"""

from __future__ import annotations

import errno
import os
from types import TracebackType

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import Bounds, Location, PathAt
from theseus_kit_path.directories import Directory
from theseus_kit_path.host_errors import as_platform_error, path_error
from theseus_kit_path.mounts import DirectoryMount, FileMount, MountNode, Place, root_place

MAX_LINKS = 40
"""Links followed in one resolution before ELOOP: Linux's MAXSYMLINKS, path_resolution(7)."""

MAX_PATH = 4096
"""Bytes of a path with its final zero: Linux's PATH_MAX, limits.h."""


class Walk:
    """One resolution under way; a context manager, because it holds a directory.

    An OSError of the block comes out of it as the PlatformError of the same errno; ``text`` is what
    its message is about, the path itself unless told.
    """

    def __init__(
        self, root: MountNode, location: Location, *, links: int = MAX_LINKS, text: str = ""
    ) -> None:
        path = str(location)
        self.text = text or path
        self.needs_directory = False
        """The path's text ends in a slash: what it names must be a directory."""
        self.last = "/"
        """The last component met, ``.`` and ``..`` included."""
        self.at_mount_point = False
        """The last component is the mount point of a file, its host name what to_last returned."""
        self._root = root
        self._links = links
        self._pending: list[str] = []
        self._owned = False
        self._bounds = Bounds.NAMESPACE
        self._start = root_place(root)
        """Where ``..`` climbs again from: the root, or the directory the path starts at."""
        if isinstance(location, PathAt):
            self._start_at(location)
        self.place = self._start
        """Where the walk stands."""
        self._push(checked(path))

    def _start_at(self, location: PathAt) -> None:
        directory = location.directory
        if not isinstance(directory, Directory):
            raise path_error(errno.ENOTDIR, self.text)
        self._start = directory.place
        self._bounds = location.bounds

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()
        if isinstance(error, OSError | OverflowError):
            raise as_platform_error(error, self.text) from error

    def to_last(self) -> str | None:
        """Walk up to the last component and return the name to look up where the walk stands.

        None if the walk already stands in what the path names: the root, ``.``, ``..``, a mount
        point of a directory. The name may not exist.
        """
        while self._pending:
            name = self._pending.pop()
            self.last = name
            if name == ".":
                continue
            if name == "..":
                self._up()
                continue
            child = self.place.child(name)
            if child is not None and isinstance(child.mount, FileMount):
                return self._to_file_mount(child.mount)
            if child is None and not self._pending:
                return name
            self.enter(name)
        return None

    def follow(self, name: str) -> None:
        """Go where the link ``name`` in this directory leads. Raises ELOOP after so many links."""
        if self.at_mount_point:
            raise path_error(errno.ELOOP, self.text)
        text = self.place.directory.read_link(name)
        if self._links == 0:
            raise path_error(errno.ELOOP, self.text)
        self._links -= 1
        self._push(text)

    def _push(self, text: str) -> None:
        if not text:
            raise path_error(errno.ENOENT, self.text)
        if not self._pending and text.endswith("/"):
            self.needs_directory = True
        self._pending.extend(name for name in reversed(text.split("/")) if name)
        if text.startswith("/"):
            if self._bounds is Bounds.BENEATH:
                raise path_error(errno.EXDEV, self.text)
            if self._bounds is Bounds.NAMESPACE:
                self._start = root_place(self._root)
            self._to_start()

    def enter(self, name: str) -> None:
        """Step into a directory, or put the link that is there in front of what is pending."""
        here = self.place
        names = (*here.names, name)
        child = here.child(name)
        if child is not None:
            if isinstance(child.mount, DirectoryMount):
                self._stand(Place(child.mount.directory, child, child.mount, names), owned=False)
                return
            try:
                behind = here.directory.enter(name)
            except OSError:  # a file, a link, nothing, no permission: the mount table's name stands
                self._stand(Place(child.table, child, None, names), owned=False)
            else:
                self._stand(Place(behind, child, here.mount, names), owned=True)
            return
        try:
            entered = here.directory.enter(name)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        else:
            self._stand(Place(entered, None, here.mount, names), owned=True)
            return
        try:
            self.follow(name)
        except OSError as error:
            # EINVAL is readlink's word for "not a link": a file in the middle of a path.
            number = errno.ENOTDIR if error.errno == errno.EINVAL else error.errno
            raise path_error(number or errno.EIO, self.text) from error

    def _to_file_mount(self, mount: FileMount) -> str:
        if self._pending:
            raise path_error(errno.ENOTDIR, self.text)
        self._stand(Place(mount.directory, None, mount, self.place.names), owned=False)
        self.at_mount_point = True
        return mount.name

    def _up(self) -> None:
        """Go to the parent: from the start again by the resolved names, never by a tree's ``..``,
        which leads out where a directory was moved meanwhile. The root's parent is the root."""
        left = self.place
        if len(left.names) == len(self._start.names):
            if self._bounds is Bounds.BENEATH:
                raise path_error(errno.EXDEV, self.text)
            if self._bounds is Bounds.ROOT:
                return
            names = self.start_names()
            self._start = root_place(self._root)
            self._walk_down(names[:-1])
            return
        self._walk_down(left.names[:-1])

    def _walk_down(self, names: tuple[str, ...]) -> None:
        """Walk from the start by names of directories."""
        links = self._links
        self._to_start()
        for name in names[len(self._start.names) :]:
            self.enter(name)
            if self._links != links:  # somebody put a link where a directory was
                raise path_error(errno.ENOENT, self.text)

    def start_from_now(self) -> None:
        """Know the start by its path as it is now. Asked while the walk stands there."""
        names = self.start_names()
        self._start = self.place = Place(
            self._start.directory, self._start.node, self._start.mount, names
        )

    def start_names(self) -> tuple[str, ...]:
        """The path of the directory that the walk starts at, as it is now: it, or one above it,
        may have been renamed since it was opened. Asked while the walk stands there.

        Raises ENOENT for one that is gone.
        """
        start = self._start
        mount = start.mount
        if start.node is not None or not isinstance(mount, DirectoryMount):
            return start.names
        if self._leads_to(start):
            return start.names
        depth = self._depth_of(mount, start.names)
        below = start.directory.names_below(mount.directory)
        if depth is None or below is None:
            raise path_error(errno.ENOENT, self.text)
        return (*start.names[:depth], *below)

    def _leads_to(self, start: Place) -> bool:
        """Whether the names by which a directory was come by still lead to it."""
        kept = self._pending[:], self._links, self.needs_directory
        try:
            self._start = root_place(self._root)
            self._walk_down(start.names)
            found, held = self.place.directory.status(), start.directory.status()
        except (OSError, PlatformError):
            return False
        finally:
            self._start = start
            self._to_start()
            self._pending, self._links, self.needs_directory = kept
        return (found.device, found.inode) == (held.device, held.inode)

    def _depth_of(self, mount: DirectoryMount, names: tuple[str, ...]) -> int | None:
        """How many of the names lead to a mount's own root; None if it is there no more."""
        node: MountNode | None = self._root
        for depth in range(len(names) + 1):
            if node is None:
                return None
            if node.mount is mount:
                return depth
            node = node.children.get(names[depth]) if depth < len(names) else None
        return None

    def _to_start(self) -> None:
        self._stand(self._start, owned=False)

    def _stand(self, place: Place, *, owned: bool) -> None:
        self._release()
        self.place = place
        self._owned = owned

    def _release(self) -> None:
        if self._owned:
            self._owned = False
            self.place.directory.close()


def checked(text: str) -> str:
    """The text of a path that a host can be asked about.

    Raises PlatformError: EILSEQ, EINVAL for a NUL, ENAMETOOLONG.
    """
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise PlatformError(f"{text!r}: no bytes stand for this text", errno.EILSEQ) from error
    if b"\0" in encoded:
        raise path_error(errno.EINVAL, repr(text))
    if len(encoded) >= MAX_PATH:
        raise path_error(errno.ENAMETOOLONG, f"{text[:40]}...")
    return text
