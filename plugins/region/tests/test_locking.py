"""Locked pages, as the host's kernel reports them."""

import errno
import re
from pathlib import Path
from typing import Any

import pytest

from theseus_kit.errors import (
    InvalidParameterError,
    PlatformError,
    UnmappedRegionError,
)
from theseus_kit.values.memory import (
    PAGE_SIZE,
    AtAddress,
    FileBacking,
    MapRequest,
    Protection,
)

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE


def locked_kilobytes(address: int) -> int:
    """What the host's kernel says is locked at an address (proc_pid_smaps(5))."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if bounds:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("Locked:"):
            return int(line.split()[1])
    raise AssertionError(f"{address:#x} is not in the host's address space")


def test_locked_pages_are_locked_by_the_host_until_unlocked(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(2 * PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert locked_kilobytes(base) == 8
    mapped.hooks.memory_unlock(address=base, size=2 * PAGE_SIZE)
    assert locked_kilobytes(base) == 0


def test_unmapping_and_replacing_locked_pages_unlocks_them(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(2 * PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    mapped.hooks.memory_unmap(address=base, size=PAGE_SIZE)
    mapped.hooks.memory_map(
        request=MapRequest(PAGE_SIZE, placement=AtAddress(base + PAGE_SIZE, replace=True))
    )
    mapped.hooks.memory_discard(address=base + PAGE_SIZE, size=PAGE_SIZE)
    assert locked_kilobytes(base) == 0


def test_locked_pages_cannot_be_discarded(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE)).base
    mapped.memory.write(base, b"x")
    mapped.hooks.memory_lock(address=base, size=1)
    with pytest.raises(InvalidParameterError):
        mapped.hooks.memory_discard(address=base, size=1)
    assert mapped.memory.read(base, 1) == b"x"


def test_locking_pages_that_may_not_be_touched_is_refused(mapped: Any) -> None:
    base = mapped.map_pages([READ_WRITE, NONE])
    with pytest.raises(PlatformError) as caught:
        mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert caught.value.errno == errno.ENOMEM
    assert locked_kilobytes(base) == 0


def test_locking_unmapped_pages_is_refused(mapped: Any) -> None:
    base = mapped.map_mixed()
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_lock(address=base, size=3 * PAGE_SIZE)
    with pytest.raises(UnmappedRegionError):
        mapped.hooks.memory_unlock(address=base, size=3 * PAGE_SIZE)


def test_closing_the_platform_unlocks_what_was_locked(mapped: Any) -> None:
    base = mapped.hooks.memory_map(request=MapRequest(PAGE_SIZE)).base
    mapped.hooks.memory_lock(address=base, size=1)
    mapped.hooks.platform_closed()
    assert locked_kilobytes(base) == 0


def test_a_lock_that_the_host_refuses_halfway_locks_nothing(mapped: Any, tmp_path: Path) -> None:
    base = mapped.map_pages([READ_WRITE, NONE])
    with (tmp_path / "data").open("wb+") as file:
        file.truncate(PAGE_SIZE)
        mapped.hooks.memory_map(
            request=MapRequest(
                PAGE_SIZE,
                READ,
                AtAddress(base + PAGE_SIZE, replace=True),
                FileBacking(file.fileno()),
            )
        )
        file.truncate(0)  # the host cannot bring the second page in any more
        with pytest.raises(PlatformError) as caught:
            mapped.hooks.memory_lock(address=base, size=2 * PAGE_SIZE)
    assert caught.value.errno == errno.ENOMEM
    assert locked_kilobytes(base) == 0
    mapped.hooks.memory_discard(address=base, size=1)
