"""Resolution: walking a path component by component, so that no step can leave the mounts.

Each step opens one name in the directory the walk stands in, refusing links (O_NOFOLLOW), by a
descriptor it holds: there is no moment between looking and going at which somebody could swap a
directory for a link. Links are read and walked by the kit itself, from the namespace's root if
they are absolute; the host's kernel never follows one, never sees ``..`` and never more than one
name at a time. What is done with the last component is ``namespace.py``'s.

The errors are those of path_resolution(7).
"""

from __future__ import annotations

import errno
import os
from types import TracebackType

from theseus_kit.errors import PlatformError
from theseus_kit_path.host_errors import path_error
from theseus_kit_path.mounts import WALK, DirectoryMount, FileMount, MountNode

MAX_LINKS = 40
"""Links followed in one resolution before ELOOP: Linux's MAXSYMLINKS, path_resolution(7)."""

MAX_PATH = 4096
"""Bytes of a path with its final zero: Linux's PATH_MAX, limits.h."""


class Walk:
    """One resolution under way; a context manager, because it holds a descriptor.

    For its caller it stands in a directory: ``descriptor`` (-1 where only the mount table has
    that directory), below ``mount`` (None above every mount), at ``node`` (None below the mount
    table's own paths). OSErrors of the steps come out as they are.
    """

    def __init__(self, root: MountNode, text: str) -> None:
        self.text = text
        self.node: MountNode | None = root
        self.mount: DirectoryMount | FileMount | None = None
        self.descriptor = -1
        self.names: list[str] = []
        """The directory the walk stands in, as resolved names from the root."""
        self.needs_directory = False
        """The path's text ends in a slash: what it names must be a directory."""
        self.last = "/"
        """The last component met, ``.`` and ``..`` included."""
        self.at_mount_point = False
        """The last component is the mount point of a file, its host name what to_last returned."""
        self._root = root
        self._owned = False
        self._links = 0
        self._pending: list[str] = []
        self._push(_checked(text))
        self._to_root()

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    @property
    def writable(self) -> bool:
        return self.mount is not None and self.mount.writable

    def to_last(self) -> str | None:
        """Walk up to the last component and return the name to look up in ``descriptor``.

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
            child = self.node.children.get(name) if self.node is not None else None
            if child is not None and isinstance(child.mount, FileMount):
                return self._to_file_mount(name, child.mount)
            if child is None and not self._pending:
                return name
            self.enter(name)
        return None

    def follow(self, name: str) -> None:
        """Go where the link ``name`` in this directory leads. Raises ELOOP after MAX_LINKS."""
        if self.at_mount_point:
            raise path_error(errno.ELOOP, self.text)
        self._links += 1
        if self._links > MAX_LINKS:
            raise path_error(errno.ELOOP, self.text)
        self._push(os.readlink(name, dir_fd=self.descriptor))

    def _push(self, text: str) -> None:
        if not text:
            raise path_error(errno.ENOENT, self.text)
        if not self._pending and text.endswith("/"):
            self.needs_directory = True
        self._pending.extend(name for name in reversed(text.split("/")) if name)
        if text.startswith("/") and self._links:
            self._to_root()

    def enter(self, name: str) -> None:
        """Step into a directory, or put the link that is there in front of what is pending."""
        child = self.node.children.get(name) if self.node is not None else None
        if child is not None:
            if isinstance(child.mount, DirectoryMount):
                self._stand(name, child, child.mount, child.mount.descriptor, owned=False)
            else:
                behind = self._behind(name)
                mount = self.mount if behind >= 0 else None
                self._stand(name, child, mount, behind, owned=True)
            return
        if self.descriptor < 0:
            raise path_error(errno.ENOENT, self.text)
        try:
            opened = os.open(name, WALK, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        else:
            self._stand(name, None, self.mount, opened, owned=True)
            return
        try:
            self.follow(name)
        except OSError as error:
            # EINVAL is readlink's word for "not a link": a file in the middle of a path.
            number = errno.ENOTDIR if error.errno == errno.EINVAL else error.errno
            raise path_error(number or errno.EIO, self.text) from error

    def _behind(self, name: str) -> int:
        """Open the host's directory that a path of the mount table covers, -1 if there is none."""
        if self.descriptor < 0:
            return -1
        try:
            return os.open(name, WALK, dir_fd=self.descriptor)
        except OSError:
            return -1  # a file, a link, nothing, no permission: the mount table's name stands

    def _to_file_mount(self, name: str, mount: FileMount) -> str:
        if self._pending:
            raise path_error(errno.ENOTDIR, self.text)
        self._stand(name, None, mount, mount.descriptor, owned=False)
        self.names.pop()
        self.at_mount_point = True
        return mount.name

    def _up(self) -> None:
        """Go to the parent: from the root again by the resolved names, never by the host's ``..``,
        which leads out where a directory was moved meanwhile. The root's parent is the root."""
        names = self.names[:-1]
        links = self._links
        self._to_root()
        for name in names:
            self.enter(name)
            if self._links != links:  # somebody put a link where a directory was
                raise path_error(errno.ENOENT, self.text)

    def _to_root(self) -> None:
        self._release()
        self.node = self._root
        self.mount = self._root.mount
        self.descriptor = self.mount.descriptor if self.mount is not None else -1
        self.names = []

    def _stand(
        self,
        name: str,
        node: MountNode | None,
        mount: DirectoryMount | FileMount | None,
        descriptor: int,
        *,
        owned: bool,
    ) -> None:
        self._release()
        self.node = node
        self.mount = mount
        self.descriptor = descriptor
        self._owned = owned
        self.names.append(name)

    def _release(self) -> None:
        if self._owned and self.descriptor >= 0:
            os.close(self.descriptor)
        self._owned = False
        self.descriptor = -1


def _checked(text: str) -> str:
    """The text of a path that a host can be asked about."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise PlatformError(f"{text!r}: no bytes stand for this text", errno.EILSEQ) from error
    if b"\0" in encoded:
        raise path_error(errno.EINVAL, repr(text))
    if len(encoded) >= MAX_PATH:
        raise path_error(errno.ENAMETOOLONG, f"{text[:40]}...")
    return text
