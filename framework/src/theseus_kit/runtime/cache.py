"""Compiled modules kept between runs, in a directory of the platform's own file namespace.

A file that is not exactly what was once written (truncated, damaged, another module's) is as good
as none. Neither reading nor writing ever fails for the caller: a cache that cannot be used costs
time, nothing else.

    0        8        12             16             24                56
    ┌────────┬────────┬──────────────┬──────────────┬─────────────────┬──────────┬─────────┐
    │ magic  │ format │ identity's   │ payload's    │ BLAKE2b of      │ identity │ payload │
    │        │ = 1    │ length       │ length       │ all that follows│ (UTF-8)  │         │
    └────────┴────────┴──────────────┴──────────────┴─────────────────┴──────────┴─────────┘
"""

from __future__ import annotations

import os
from struct import Struct
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import PlatformError
from theseus_kit.values.paths import OpenMode

if TYPE_CHECKING:
    from pluggy import HookRelay

MAGIC = b"THSCWASM"
FORMAT = 1
_HEADER = Struct("<8sIIQ")
_DIGEST_SIZE = 32


def digest(*parts: bytes) -> bytes:
    """Return the BLAKE2b digest of the parts one after another, 32 bytes."""
    # hashlib's own blake2b, without hashlib: that loads OpenSSL, 4 ms for nothing.
    from _blake2 import blake2b

    state = blake2b(digest_size=_DIGEST_SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


class ArtifactCache:
    """Artifacts by identity, a text that names everything an artifact depends on."""

    def __init__(self, hooks: HookRelay, directory: str) -> None:
        self._hooks = hooks
        self._directory: Any = hooks.path_parse(text=directory)

    def load(self, identity: str) -> bytes | None:
        """Return the artifact of this identity, None if there is no sound one."""
        try:
            content = read_file(self._hooks, self._path(identity))
        except PlatformError:
            return None
        return unseal(content, identity)

    def store(self, identity: str, payload: bytes) -> bool:
        """Keep an artifact; say whether that worked.

        The file appears complete or not at all: it is written under another name first.
        """
        hooks, path = self._hooks, self._path(identity)
        temporary = hooks.path_parse(text=f"{path}.{os.getpid()}.new")
        mode = OpenMode.WRITE | OpenMode.CREATE | OpenMode.TRUNCATE
        try:
            file = hooks.path_open(path=temporary, mode=mode, permissions=0o644)
            try:
                remaining = memoryview(seal(identity, payload))
                while remaining:
                    remaining = remaining[file.write(bytes(remaining)) :]
            finally:
                file.close()
            hooks.path_rename(source=temporary, target=path)
        except PlatformError:
            self._discard(temporary)
            return False
        return True

    def _path(self, identity: str) -> Any:
        return self._directory.join(f"{digest(identity.encode()).hex()}.cwasm")

    def _discard(self, path: Any) -> bool:
        try:
            self._hooks.path_remove(path=path, directory=False)
        except PlatformError:
            return False  # it was never made, or the directory is read-only
        return True


def seal(identity: str, payload: bytes) -> bytes:
    """Return the content of a cache file."""
    name = identity.encode()
    header = _HEADER.pack(MAGIC, FORMAT, len(name), len(payload))
    return b"".join((header, digest(name, payload), name, payload))


def unseal(content: bytes, identity: str) -> bytes | None:
    """Return the payload of a cache file, None unless it is whole and of this identity."""
    name = identity.encode()
    start = _HEADER.size + _DIGEST_SIZE
    if len(content) < start + len(name):
        return None
    magic, version, name_size, payload_size = _HEADER.unpack_from(content)
    if (magic, version, name_size) != (MAGIC, FORMAT, len(name)):
        return None
    body = content[start:]
    payload = body[name_size:]
    if body[:name_size] != name or len(payload) != payload_size:
        return None
    return payload if digest(body) == content[_HEADER.size : start] else None


def read_file(hooks: HookRelay, path: Any) -> bytes:
    """Return a file's whole content. Raises PlatformError with the errno."""
    file = hooks.path_open(path=path, mode=OpenMode.READ, permissions=0)
    try:
        content: bytes = file.read()
    finally:
        file.close()
    return content
