"""The hooks against Linux's own mmap, mprotect, munmap and madvise, side by side.

The same operations are done on a window of the guest's addresses by hooks and on a window of the
host's by system calls. Afterwards both must agree on every page: whether it is mapped, with which
protection (proc_pid_maps(5)), and what it holds.
"""

import ctypes
import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from theseus_kit.errors import AddressInUseError, UnmappedRegionError
from theseus_kit.values.memory import PAGE_SIZE, AtAddress, MapRequest, Protection

PAGES = 12
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 0x02, 0x10, 0x20, 0x4000
MAP_FIXED_NOREPLACE = 0x100000
MADV_DONTNEED = 4

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

# Linux may show a page that is writable only as readable too, so the tests leave that one out.
PROTECTIONS = st.sampled_from(
    [
        Protection.NONE,
        Protection.READ,
        Protection.READ_WRITE,
        Protection.READ_EXECUTE,
        Protection.READ_WRITE_EXECUTE,
    ]
)


HOST_WINDOW = 0x0800_0000_0000
"""8 TiB: where neither the program, nor its libraries, heap and mappings, nor a machine lies."""


class KernelMachine(RuleBasedStateMachine):
    def __init__(self, mapped: Any) -> None:
        super().__init__()
        self.mapped = mapped
        self.hooks = mapped.hooks
        self.guest = mapped.memory.territory.start + 64 * PAGE_SIZE
        self.host = HOST_WINDOW
        assert not self.host_pages()

    def teardown(self) -> None:
        libc.munmap(self.host, PAGES * PAGE_SIZE)
        self.hooks.memory_unmap(address=self.guest, size=PAGES * PAGE_SIZE)

    def host_pages(self) -> dict[int, str]:
        """Page number within the window → its protection."""
        pages = {}
        for line in Path("/proc/self/maps").read_text().splitlines():
            bounds, protection = line.split()[:2]
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            low, high = max(low, self.host), min(high, self.host + PAGES * PAGE_SIZE)
            for address in range(low, high, PAGE_SIZE):
                pages[(address - self.host) // PAGE_SIZE] = protection[:3]
        return pages

    def guest_pages(self) -> dict[int, str]:
        pages = {}
        for region in self.hooks.memory_query_range(address=self.guest, size=PAGES * PAGE_SIZE):
            for address in range(region.base, region.base + region.size, PAGE_SIZE):
                pages[(address - self.guest) // PAGE_SIZE] = str(region.protection)
        return pages

    @rule(page=st.integers(0, PAGES - 1), count=st.integers(1, PAGES), protection=PROTECTIONS)
    def map_replacing(self, page: int, count: int, protection: Protection) -> None:
        size = min(count, PAGES - page) * PAGE_SIZE
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        host = self.host + page * PAGE_SIZE
        assert libc.mmap(host, size, int(protection), flags, -1, 0) == host
        self.hooks.memory_map(
            request=MapRequest(
                size, protection, AtAddress(self.guest + page * PAGE_SIZE, replace=True)
            )
        )

    @rule(page=st.integers(0, PAGES - 1), count=st.integers(1, PAGES), protection=PROTECTIONS)
    def map_without_replacing(self, page: int, count: int, protection: Protection) -> None:
        size = min(count, PAGES - page) * PAGE_SIZE
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        host = self.host + page * PAGE_SIZE
        refused = libc.mmap(host, size, int(protection), flags, -1, 0) != host
        number = ctypes.get_errno()
        request = MapRequest(size, protection, AtAddress(self.guest + page * PAGE_SIZE))
        if refused:
            with pytest.raises(AddressInUseError) as caught:
                self.hooks.memory_map(request=request)
            assert caught.value.errno == number == errno.EEXIST
        else:
            self.hooks.memory_map(request=request)

    @precondition(lambda self: self.host_pages())
    @rule(data=st.data(), protection=PROTECTIONS)
    def protect(self, data: st.DataObject, protection: Protection) -> None:
        page, count = data.draw(st.sampled_from(self.mapped_spans()))
        assert libc.mprotect(self.host + page * PAGE_SIZE, count * PAGE_SIZE, protection) == 0
        self.hooks.memory_protect(
            address=self.guest + page * PAGE_SIZE, size=count * PAGE_SIZE, protection=protection
        )

    def mapped_spans(self) -> list[tuple[int, int]]:
        """Every (page, count) of pages that are mapped without a hole."""
        mapped = self.host_pages()
        return [
            (page, count)
            for page in range(PAGES)
            for count in range(1, PAGES - page + 1)
            if all(number in mapped for number in range(page, page + count))
        ]

    @rule(page=st.integers(0, PAGES - 1), count=st.integers(1, PAGES), protection=PROTECTIONS)
    def protect_over_a_hole(self, page: int, count: int, protection: Protection) -> None:
        """Both refuse; Linux has then changed the pages before the hole, the hooks nothing."""
        count = min(count, PAGES - page)
        if (page, count) in self.mapped_spans():
            return
        before = self.guest_pages()
        with pytest.raises(UnmappedRegionError) as caught:
            self.hooks.memory_protect(
                address=self.guest + page * PAGE_SIZE, size=count * PAGE_SIZE, protection=protection
            )
        assert caught.value.errno == errno.ENOMEM
        assert self.guest_pages() == before

    @rule(page=st.integers(0, PAGES - 1), count=st.integers(1, PAGES))
    def unmap(self, page: int, count: int) -> None:
        size = min(count, PAGES - page) * PAGE_SIZE
        assert libc.munmap(self.host + page * PAGE_SIZE, size) == 0
        self.hooks.memory_unmap(address=self.guest + page * PAGE_SIZE, size=size)

    @precondition(lambda self: self.host_pages())
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        page, count = data.draw(st.sampled_from(self.mapped_spans()))
        size = count * PAGE_SIZE
        assert libc.madvise(self.host + page * PAGE_SIZE, size, MADV_DONTNEED) == 0
        self.hooks.memory_discard(address=self.guest + page * PAGE_SIZE, size=size)

    @rule(page=st.integers(0, PAGES - 1), text=st.binary(min_size=1, max_size=8))
    def write(self, page: int, text: bytes) -> None:
        if "w" in self.host_pages().get(page, ""):
            ctypes.memmove(self.host + page * PAGE_SIZE, text, len(text))
            self.mapped.memory.write(self.guest + page * PAGE_SIZE, text)

    @invariant()
    def both_have_the_same_pages(self) -> None:
        pages = self.host_pages()
        assert self.guest_pages() == pages
        for page, protection in pages.items():
            if "r" in protection:
                offset = page * PAGE_SIZE
                expected = ctypes.string_at(self.host + offset, PAGE_SIZE)
                assert self.mapped.memory.read(self.guest + offset, PAGE_SIZE) == expected


def test_any_sequence_of_operations_leaves_what_the_kernel_would_leave(mapped: Any) -> None:
    run_state_machine_as_test(
        lambda: KernelMachine(mapped),
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )
