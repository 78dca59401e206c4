"""The malloc family: machine code and Python bodies over one heap."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import GuestKilled
from theseus_kit_tlibc.heap import HEADER, LARGE_LIMIT, size_class

NOT_FAST = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(size=st.integers(1, LARGE_LIMIT))
def test_a_size_class_holds_its_sizes_without_gap_or_overlap(size):
    index, capacity = size_class(size)

    assert capacity >= size
    assert capacity % 16 == 0
    assert size_class(capacity) == (index, capacity)
    assert size_class(capacity + 1)[0] == index + 1 or capacity == LARGE_LIMIT
    assert capacity <= max(16, size * 5 // 4 + 16)


@NOT_FAST
@given(sizes=st.lists(st.integers(1, LARGE_LIMIT), max_size=20))
def test_the_machine_code_and_the_python_body_choose_the_same_class(shared, sizes):
    for size in sizes:
        chunk = shared.malloc(size)
        assert shared.memory.read_u64(chunk - HEADER) == size_class(size)[1]
        assert shared.memory.read_u32(chunk - 8) == size_class(size)[0]
        shared.free(chunk)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["malloc", "malloc", "calloc", "realloc", "free", "posix_memalign", "__malloc_slow"]
            + ["__free_slow", "__realloc_slow", "__calloc_slow"]
        ),
        st.one_of(st.integers(0, 200), st.integers(0, 5000), st.sampled_from([1 << 20, 3 << 20])),
        st.integers(0, 1 << 30),
    ),
    max_size=40,
)


@NOT_FAST
@given(steps=STEPS)
def test_chunks_keep_their_bytes_are_aligned_and_never_overlap(shared, steps):
    c = shared
    live: dict[int, bytes] = {}
    memptr = c.block(bytes(8))

    def fill(address: int, size: int, seed: int) -> None:
        pattern = bytes((seed + i * 13) & 0xFF for i in range(min(size, 300)))
        c.memory.write(address, pattern)
        end = address + max(size, 1)
        for other in live:
            assert end <= other or other + c.malloc_usable_size(other) <= address
        live[address] = pattern

    for name, size, seed in steps:
        if name in ("malloc", "__malloc_slow"):
            address = getattr(c, name)(size)
            assert address
            assert address % 16 == 0
            assert c.malloc_usable_size(address) >= size
            fill(address, size, seed)
        elif name in ("calloc", "__calloc_slow"):
            address = getattr(c, name)(size, 3)
            assert not any(c.memory.read(address, min(size * 3, 4096)))
            fill(address, size * 3, seed)
        elif name == "posix_memalign":
            alignment = 8 << seed % 8
            assert c.posix_memalign(memptr, alignment, size) == 0
            address = c.memory.read_u64(memptr)
            assert address % alignment == 0
            fill(address, size, seed)
        elif live:
            victim = sorted(live)[seed % len(live)]
            old = live.pop(victim)
            assert c.memory.read(victim, len(old)) == old
            if name in ("free", "__free_slow"):
                getattr(c, name)(victim)
            else:
                address = getattr(c, name)(victim, size)
                assert bool(address) == bool(size)
                if address:
                    kept = min(len(old), size)
                    assert c.memory.read(address, kept) == old[:kept]
                    fill(address, size, seed)
    for address, pattern in live.items():
        assert c.memory.read(address, len(pattern)) == pattern
        c.free(address)


def test_a_freed_chunk_is_the_next_one_of_its_class(shared):
    chunk = shared.malloc(100)
    shared.free(chunk)

    assert shared.malloc(112) == chunk
    shared.free(chunk)


def test_freeing_nothing_is_nothing(shared):
    chunk = shared.malloc(40)

    shared.free(0)

    shared.free(chunk)
    assert shared.malloc(40) == chunk


def test_reallocating_nothing_allocates(shared):
    chunk = shared.realloc(0, 10)

    assert chunk
    shared.free(chunk)


def test_a_chunk_that_still_fits_stays_where_it_is(shared):
    chunk = shared.malloc(100)

    assert shared.realloc(chunk, 112) == chunk
    assert shared.realloc(chunk, 1) == chunk
    shared.free(chunk)


def test_large_chunks_give_their_pages_back(c):
    chunk = c.malloc(8 << 20)
    region = c.platform.hooks.memory_query(address=chunk)
    assert region.label == "heap, large"

    c.free(chunk)

    assert not c.platform.hooks.memory_query_range(address=chunk, size=4096)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("malloc", (1 << 62,)),
        ("malloc", ((1 << 64) - 1,)),
        ("calloc", (1 << 33, 1 << 33)),
        ("calloc", ((1 << 64) - 1, 1)),
        ("realloc", (0, 1 << 62)),
        ("aligned_alloc", (64, 1 << 62)),
    ],
)
def test_too_much_is_a_null_pointer_and_enomem(c, name, arguments):
    assert getattr(c, name)(*arguments) == 0
    assert c.errno == 12


def test_a_reallocation_that_fails_leaves_the_chunk(c):
    chunk = c.malloc(100)
    c.memory.write(chunk, b"kept")

    assert c.realloc(chunk, 1 << 62) == 0
    assert c.memory.read(chunk, 4) == b"kept"


@pytest.mark.parametrize("alignment", [0, 4, 24, 100])
def test_posix_memalign_refuses_what_is_no_power_of_two_of_a_pointers_size(c, alignment):
    assert c.posix_memalign(c.block(bytes(8)), alignment, 10) == 22


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda c, chunk: (c.free(chunk), c.free(chunk)), "double free detected"),
        (lambda c, chunk: c.free(chunk + 16), "invalid pointer"),
        (lambda c, chunk: c.free(chunk + 8), "invalid pointer"),
        (lambda c, chunk: (c.free(chunk), c.realloc(chunk, 500)), "double free detected"),
        (lambda c, chunk: (c.memory.write_u32(chunk - 8, 5000), c.free(chunk)), "overwritten"),
    ],
)
def test_misuse_of_the_heap_kills_with_a_message_that_says_which(c, misuse, message):
    chunk = c.malloc(40)
    c.memory.write(chunk, bytes(40))

    with pytest.raises(GuestKilled, match=message):
        misuse(c, chunk)


def test_two_platforms_have_two_heaps(c, shared):
    first, second = c.malloc(10), shared.malloc(10)
    c.free(first)

    assert c.malloc(10) == first
    assert shared.malloc(10) != second
