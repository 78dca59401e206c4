"""Which pages the host says were touched, against what a test touched."""

import ctypes
import mmap
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from theseus_kit.postmortem.host_pages import HostPages
from theseus_kit.values.memory import PAGE_SIZE, AddressRange

PAGES = 200


def address_of(mapping):
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


def pages_of(runs):
    return {page for run in runs for page in range(run.start, run.end, PAGE_SIZE)}


@given(st.sets(st.integers(0, PAGES - 1)))
def test_the_runs_are_the_pages_that_were_written(touched):
    mapping = mmap.mmap(-1, PAGES * PAGE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    for page in touched:
        mapping[page * PAGE_SIZE] = 1
    base = address_of(mapping)
    with HostPages() as pages:
        runs = list(pages.touched(AddressRange.of_size(base, len(mapping))))
    assert pages_of(runs) == {base + page * PAGE_SIZE for page in touched}
    assert all(before.end < after.start for before, after in pairwise(runs))


def test_pages_of_a_file_count_as_touched(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * PAGE_SIZE))
    with file.open("r+b") as opened:
        mapping = mmap.mmap(opened.fileno(), 0, flags=mmap.MAP_PRIVATE)
    base = address_of(mapping)
    wanted = AddressRange(base + PAGE_SIZE, base + 3 * PAGE_SIZE)
    with HostPages() as pages:
        assert list(pages.touched(wanted)) == [wanted]
