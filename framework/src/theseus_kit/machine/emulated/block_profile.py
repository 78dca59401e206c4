"""Which blocks of a library's code a run needed, kept in a file for the next run.

The file names the library as the file system knows it, where in the machine's territory it lay,
and the blocks as offsets from there, in the order in which they were first run::

    0        8        12      16                                       80
    ┌────────┬────────┬───────┬───────────────────────────────────────┬──────┬──────────────────┐
    │ magic  │ format │ digest│ device, inode, size, mtime, place,    │ path │ block, block …   │
    │        │ = 1    │ of it ▸ offset in the file, length; how long  │      │ (uint32 each)    │
    │        │        │       │ the path is (uint32), blocks (uint32) │      │                  │
    └────────┴────────┴───────┴───────────────────────────────────────┴──────┴──────────────────┘

It is a hint, and never more: a file that is damaged, outdated, or cannot be read or written is as
good as none.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from struct import Struct, pack, unpack

from theseus_kit.values.memory import PAGE_SIZE
from theseus_kit.values.record import NamedTuple

MOST_BLOCKS = 1 << 14
"""A program that is over in a moment runs 7,000; what is beyond would only be waited for."""
_MAGIC = b"THSBLOCK"
_FORMAT = 1
_START = Struct("<8sI4s")
_REST = Struct("<QQQQQQQII")
_WORD = 4
_LARGEST = 1 << 20


class Identity(NamedTuple):
    """A regular file, as far as the file system tells one from another."""

    device: int
    inode: int
    size: int
    modified_ns: int


class BlockProfile(NamedTuple):
    """Blocks of one executable mapping of a file."""

    identity: Identity
    place: int
    """Where it was mapped, from the start of the machine's territory."""
    offset: int
    """What of the file was mapped there."""
    length: int
    path: str
    blocks: tuple[int, ...]
    """Where each starts, from the mapping's start."""


def identity_of(descriptor: int) -> Identity | None:
    """Return what tells an open file from others; None of what is no regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_profile(path: Path) -> BlockProfile | None:
    """Return the profile in a file, None if there is no sound one."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST)
    except OSError:
        return None
    if len(content) < _START.size + _REST.size:
        return None
    magic, version, check = _START.unpack_from(content)
    body = memoryview(content)[_START.size :]
    if (magic, version) != (_MAGIC, _FORMAT) or _digest(body) != check:
        return None
    *numbers, path_size, count = _REST.unpack_from(body)
    blocks_at = _REST.size + path_size
    if len(body) != blocks_at + _WORD * count or not 0 < count <= MOST_BLOCKS:
        return None
    place, offset, length = numbers[4:]
    blocks = unpack(f"<{count}I", body[blocks_at:])
    if length % PAGE_SIZE or max(blocks) >= length:
        return None
    name = os.fsdecode(bytes(body[_REST.size : blocks_at]))
    return BlockProfile(Identity(*numbers[:4]), place, offset, length, name, blocks)


def write_profile(path: Path, profile: BlockProfile) -> bool:
    """Keep a profile, whole or not at all; say whether that worked."""
    name = os.fsencode(profile.path)
    numbers = (*profile.identity, profile.place, profile.offset, profile.length)
    body = b"".join(
        (
            _REST.pack(*numbers, len(name), len(profile.blocks)),
            name,
            pack(f"<{len(profile.blocks)}I", *profile.blocks),
        )
    )
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(_START.pack(_MAGIC, _FORMAT, _digest(body)) + body)
        temporary.replace(path)
    except OSError:
        _discard(temporary)
        return False
    return True


def _digest(body: bytes | memoryview) -> bytes:
    # hashlib's own blake2b, without hashlib: that loads OpenSSL, 4 ms for nothing.
    from _blake2 import blake2b

    return blake2b(body, digest_size=_WORD).digest()


def _discard(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False  # a directory that is read-only, or none at all
    return True
