"""mmap and its like: the answers Linux gives, which the host is asked for."""

import ctypes
import errno
from collections.abc import Callable

import pytest

from theseus_kit.errors import GuestKilled
from theseus_kit.values.memory import Protection

PAGE = 4096
RW, PRIVATE, ANONYMOUS, FIXED, NOREPLACE, MAYMOVE = 3, 2, 0x20, 0x10, 0x100000, 1
MMAP, MPROTECT, MUNMAP, MREMAP, MSYNC, MADVISE = 9, 10, 11, 25, 26, 28


class Host:
    """Linux itself, by the same numbers."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def syscall_(self, number: int, *arguments: int) -> int:
        result: int = self._libc.syscall(
            ctypes.c_long(number), *(ctypes.c_uint64(n & (1 << 64) - 1) for n in arguments)
        )
        return -ctypes.get_errno() if result == -1 else result


def mapped(kernel, pages: int = 4, protection: int = RW) -> int:
    address = kernel.syscall_(MMAP, 0, pages * PAGE, protection, PRIVATE | ANONYMOUS, -1, 0)
    assert address > 0
    return address


def holed(kernel) -> int:
    """Four pages of which the third is not mapped."""
    base = mapped(kernel)
    assert kernel.syscall_(MUNMAP, base + 2 * PAGE, PAGE) == 0
    return base


QUESTIONS: dict[str, Callable[..., int]] = {
    "mmap of nothing": lambda k: k.syscall_(MMAP, 0, 0, RW, PRIVATE | ANONYMOUS, -1, 0),
    "mmap neither shared nor private": lambda k: k.syscall_(MMAP, 0, PAGE, RW, ANONYMOUS, -1, 0),
    "mmap at an odd offset": lambda k: k.syscall_(MMAP, 0, PAGE, RW, PRIVATE | ANONYMOUS, -1, 5),
    "mmap of half the address space": lambda k: k.syscall_(
        MMAP, 0, 1 << 63, RW, PRIVATE | ANONYMOUS, -1, 0
    ),
    "mmap of a length that overflows": lambda k: k.syscall_(
        MMAP, 0, (1 << 64) - 1, RW, PRIVATE | ANONYMOUS, -1, 0
    ),
    "mmap fixed at an odd address": lambda k: k.syscall_(
        MMAP, mapped(k) + 1, PAGE, RW, PRIVATE | ANONYMOUS | FIXED, -1, 0
    ),
    "mmap fixed beyond the end": lambda k: k.syscall_(
        MMAP, 1 << 62, PAGE, RW, PRIVATE | ANONYMOUS | FIXED, -1, 0
    ),
    "mmap without replacing at a taken address": lambda k: k.syscall_(
        MMAP, mapped(k), PAGE, RW, PRIVATE | ANONYMOUS | NOREPLACE, -1, 0
    ),
    "mmap of a closed file": lambda k: k.syscall_(MMAP, 0, PAGE, RW, PRIVATE, 999, 0),
    "munmap at an odd address": lambda k: k.syscall_(MUNMAP, mapped(k) + 1, PAGE),
    "munmap of nothing": lambda k: k.syscall_(MUNMAP, mapped(k), 0),
    "munmap of a hole": lambda k: k.syscall_(MUNMAP, holed(k), 4 * PAGE),
    "munmap beyond the end": lambda k: k.syscall_(MUNMAP, 1 << 62, PAGE),
    "mprotect at an odd address": lambda k: k.syscall_(MPROTECT, mapped(k) + 1, PAGE, 1),
    "mprotect of nothing": lambda k: k.syscall_(MPROTECT, mapped(k), 0, 1),
    "mprotect of an odd length": lambda k: k.syscall_(MPROTECT, mapped(k), 1, 1),
    "mprotect to an unknown protection": lambda k: k.syscall_(MPROTECT, mapped(k), PAGE, 0x100),
    "mprotect over a hole": lambda k: k.syscall_(MPROTECT, holed(k), 4 * PAGE, 1),
    "mprotect beyond the end": lambda k: k.syscall_(MPROTECT, 1 << 62, PAGE, 1),
    "madvise at an odd address": lambda k: k.syscall_(MADVISE, mapped(k) + 1, PAGE, 4),
    "madvise of nothing": lambda k: k.syscall_(MADVISE, mapped(k), 0, 4),
    "madvise don't need": lambda k: k.syscall_(MADVISE, mapped(k), 2 * PAGE, 4),
    "madvise don't need over a hole": lambda k: k.syscall_(MADVISE, holed(k), 4 * PAGE, 4),
    "madvise will need": lambda k: k.syscall_(MADVISE, mapped(k), PAGE, 3),
    "madvise unknown": lambda k: k.syscall_(MADVISE, mapped(k), PAGE, 12345),
    "msync": lambda k: k.syscall_(MSYNC, mapped(k), PAGE, 4),
    "msync both ways": lambda k: k.syscall_(MSYNC, mapped(k), PAGE, 5),
    "msync of a hole": lambda k: k.syscall_(MSYNC, holed(k), 4 * PAGE, 4),
    "mremap at an odd address": lambda k: k.syscall_(MREMAP, mapped(k) + 1, PAGE, PAGE, 0, 0),
    "mremap to nothing": lambda k: k.syscall_(MREMAP, mapped(k), PAGE, 0, 0, 0),
    "mremap with unknown flags": lambda k: k.syscall_(MREMAP, mapped(k), PAGE, PAGE, 64, 0),
    "mremap of a hole": lambda k: k.syscall_(
        MREMAP, holed(k) + 2 * PAGE, PAGE, 2 * PAGE, MAYMOVE, 0
    ),
    "mremap fixed without moving": lambda k: k.syscall_(MREMAP, mapped(k), PAGE, PAGE, 2, 0),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_odd_questions_get_the_answer_of_linux(c, question):
    ask = QUESTIONS[question]

    assert ask(c) == ask(Host())


def test_a_free_hint_is_taken_and_a_taken_one_is_not(c):
    base = mapped(c)
    assert c.syscall_(MUNMAP, base, 4 * PAGE) == 0

    flags = PRIVATE | ANONYMOUS
    assert c.syscall_(MMAP, base + 5, PAGE, RW, flags, -1, 0) == base
    second = c.syscall_(MMAP, base, PAGE, RW, flags, -1, 0)
    assert second > 0
    assert second != base


def test_fixed_mappings_replace_what_was_there(c):
    base = mapped(c)
    c.memory.write(base, b"old" * 2000)

    flags = PRIVATE | ANONYMOUS | FIXED
    assert c.syscall_(MMAP, base + PAGE, PAGE, RW, flags, -1, 0) == base + PAGE
    assert c.memory.read(base + PAGE, PAGE) == bytes(PAGE)
    assert c.memory.read(base, 3) == b"old"


def test_not_needed_pages_read_as_zero_again(c):
    base = mapped(c)
    c.memory.write(base, b"x" * PAGE)

    assert c.syscall_(MADVISE, base, PAGE, 4) == 0
    assert c.memory.read(base, PAGE) == bytes(PAGE)


def test_a_file_is_mapped_from_its_offset_and_privately(c, tmp_path):
    from theseus_kit.values.paths import Mount

    file = tmp_path / "data"
    file.write_bytes(b"a" * PAGE + b"tail")
    c.platform.hooks.path_mount(mount=Mount(tmp_path, "/data"))
    descriptor = c.open(c.string(b"/data/data"), 0, 0)

    base = c.mmap(0, 2 * PAGE, RW, PRIVATE, descriptor, PAGE)

    assert c.memory.read(base, 6) == b"tail\0\0"
    c.memory.write(base, b"mine")
    assert file.read_bytes()[PAGE:] == b"tail"


def test_mremap_grows_where_there_is_room_and_moves_where_there_is_not(c):
    base = mapped(c)
    c.memory.write(base, b"first")
    c.memory.write(base + 3 * PAGE, b"last")

    moved = c.syscall_(MREMAP, base, 4 * PAGE, 64 * PAGE, MAYMOVE, 0)

    assert moved > 0
    assert c.memory.read(moved, 5) == b"first"
    assert c.memory.read(moved + 3 * PAGE, 4) == b"last"
    assert c.memory.read(moved + 4 * PAGE, 60 * PAGE) == bytes(60 * PAGE)
    assert c.syscall_(MREMAP, moved, 64 * PAGE, PAGE, 0, 0) == moved
    assert not c.platform.hooks.memory_query_range(address=moved + PAGE, size=63 * PAGE)


def test_mremap_keeps_each_pages_protection(c):
    base = mapped(c)
    c.memory.write(base + PAGE, b"secret")
    assert c.syscall_(MPROTECT, base + PAGE, PAGE, 0) == 0
    target = mapped(c, 8)

    assert c.syscall_(MREMAP, base, 4 * PAGE, 4 * PAGE, MAYMOVE | 2, target) == target

    regions = c.platform.hooks.memory_query_range(address=target + PAGE, size=PAGE)
    assert [region.protection for region in regions] == [Protection.NONE]
    assert c.syscall_(MPROTECT, target + PAGE, PAGE, 1) == 0
    assert c.memory.read(target + PAGE, 6) == b"secret"


def test_a_protected_page_faults_when_the_guest_touches_it(c):
    base = mapped(c)
    assert c.syscall_(MPROTECT, base, PAGE, 1) == 0

    with pytest.raises(GuestKilled) as killed:
        c.memset(base + 100, 0, 8)

    assert killed.value.context.page_fault.accessed_address == base + 100
    assert killed.value.context.page_fault.present


def test_the_c_functions_answer_minus_one_and_errno(c):
    assert c.munmap(1, PAGE) == (1 << 64) - 1
    assert c.errno == errno.EINVAL
    assert c.mmap(0, 0, RW, PRIVATE | ANONYMOUS, -1, 0) == (1 << 64) - 1
