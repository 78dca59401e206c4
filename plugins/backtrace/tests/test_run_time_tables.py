"""Unwind tables that a JIT registers: what they describe, and tables that make no sense."""

import struct

import pytest

from theseus_kit import AlreadyRegisteredError, NotRegisteredError
from theseus_kit.values.memory import AddressRange, MapRequest
from theseus_kit_backtrace.run_time_tables import RunTimeTables

# Version 1, augmentation "zR", code alignment 1, data alignment -8, return register 16,
# one byte of augmentation data: the encoding of addresses.
CIE_BODY = b"\x01zR\0\x01\x78\x10\x01"


def entry(pointer: int, body: bytes) -> bytes:
    body = body.ljust(-(-len(body) // 4) * 4, b"\0")
    return struct.pack("<II", 4 + len(body), pointer) + body


def section(base: int, encoding: int, functions: list[tuple[int, int]]) -> bytes:
    """An .eh_frame section at an address: one CIE and an FDE for each function."""
    data = entry(0, CIE_BODY + bytes([encoding]))
    for start, size in functions:
        place = base + len(data) + 8
        if encoding == 0x1B:
            body = struct.pack("<ii", start - place, size)
        else:
            body = struct.pack("<QQ", start, size)
        data += entry(len(data) + 4, body + b"\0")  # no augmentation data
    return data + bytes(4)


@pytest.fixture
def page(platform):
    region = platform.hooks.memory_map(request=MapRequest(4096, label="unwind tables"))
    yield region.base
    platform.hooks.memory_unmap(address=region.base, size=region.size)


@pytest.mark.parametrize("encoding", [0x00, 0x1B], ids=["absolute", "relative"])
def test_the_function_that_holds_an_address_is_found(platform, page, encoding):
    functions = [(page + 0x800, 0x40), (page + 0x400, 0x20)]
    platform.machine.memory.write(page, section(page, encoding, functions))
    tables = RunTimeTables(platform.machine.memory)
    tables.register(page)
    for start, size in functions:
        for address in (start, start + size - 1):
            assert tables.function_at(address) == AddressRange.of_size(start, size)
    assert tables.function_at(page + 0x420) is None
    assert tables.function_at(page + 0x3FF) is None


def test_a_table_is_registered_once_and_unregistered_once(platform, page):
    tables = RunTimeTables(platform.machine.memory)
    tables.register(page)
    with pytest.raises(AlreadyRegisteredError):
        tables.register(page)
    tables.unregister(page)
    with pytest.raises(NotRegisteredError):
        tables.unregister(page)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 4096, b"\x10\0\0\0\x08\0\0\0" * 512, struct.pack("<II", 0x20, 0x7FFFFFFF)],
    ids=["ones", "pointers to itself", "a pointer to nowhere"],
)
def test_a_table_that_makes_no_sense_describes_nothing(platform, page, garbage):
    platform.machine.memory.write(page, garbage)
    tables = RunTimeTables(platform.machine.memory)
    tables.register(page)
    assert tables.function_at(page) is None


def test_what_a_table_says_before_it_breaks_off_counts(platform, page):
    good = section(page, 0x00, [(page + 0x400, 0x20)])[:-4]
    platform.machine.memory.write(page, good + struct.pack("<I", 0x7FFFFFF0))
    tables = RunTimeTables(platform.machine.memory)
    tables.register(page)
    assert tables.function_at(page + 0x410) == AddressRange.of_size(page + 0x400, 0x20)
