"""The address space: what Python and the host see of it."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from theseus_kit.errors import InvalidParameterError, MachineError, MemoryFaultError
from theseus_kit.machine import machine_names
from theseus_kit.machine.protocol import Ability
from theseus_kit.values.memory import Protection

RW, R, NONE = Protection.READ_WRITE, Protection.READ, Protection.NONE


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_mapped_pages_are_zero_and_keep_what_is_written(guest) -> None:
    assert guest.memory.read(guest.data, 0x2000) == bytes(0x2000)
    guest.memory.write(guest.data + 0xFFE, b"four")
    assert guest.memory.read(guest.data + 0xFFD, 6) == b"\0four\0"
    assert bytes(guest.memory.view[guest.data + 0xFFE : guest.data + 0x1002]) == b"four"


def test_guest_and_python_see_the_same_bytes(guest) -> None:
    guest.memory.write_u64(guest.data, 41)
    assert guest.run("48ff07 488b07 c3", guest.data) == 42  # inc qword ptr [rdi]; mov rax, [rdi]
    assert guest.memory.read_u64(guest.data) == 42
    assert guest.memory.read_u32(guest.data) == 42


def test_reading_an_unmapped_byte_names_it(guest) -> None:
    with pytest.raises(MemoryFaultError) as caught:
        guest.memory.read(guest.end_of_data - 4, 8)
    assert caught.value.address == guest.end_of_data
    with pytest.raises(MemoryFaultError):
        guest.memory.read(0, 1)


def test_writing_to_a_read_only_page_is_refused_whole(guest) -> None:
    guest.memory.protect(guest.data + 0x1000, 0x1000, R)
    with pytest.raises(MemoryFaultError) as caught:
        guest.memory.write(guest.data + 0xFFC, b"12345678")
    assert caught.value.address == guest.data + 0x1000
    assert guest.memory.read(guest.data + 0xFFC, 4) == bytes(4)


def test_check_asks_for_every_permission(guest) -> None:
    guest.memory.check(guest.data, 0x2000, RW)
    with pytest.raises(MemoryFaultError):
        guest.memory.check(guest.data, 1, Protection.READ_EXECUTE)
    guest.memory.protect(guest.data, 0x1000, NONE)
    with pytest.raises(MemoryFaultError):
        guest.memory.check(guest.data, 1, R)


def test_a_string_ends_at_its_zero_byte_even_across_pages(guest) -> None:
    guest.memory.write(guest.data + 0xFFD, b"hello\0")
    assert guest.memory.read_string(guest.data + 0xFFD) == b"hello"


def test_a_string_may_end_where_the_mapping_does(guest) -> None:
    guest.memory.write(guest.end_of_data - 3, b"hi\0")
    assert guest.memory.read_string(guest.end_of_data - 3) == b"hi"


def test_a_string_without_an_end_is_refused(guest) -> None:
    guest.memory.write(guest.data, b"x" * 0x2000)
    with pytest.raises(MemoryFaultError) as caught:
        guest.memory.read_string(guest.data)
    assert caught.value.address == guest.end_of_data
    with pytest.raises(InvalidParameterError):
        guest.memory.read_string(guest.data, limit=16)


@pytest.mark.parametrize(("offset", "size"), [(1, 0x1000), (0, 1), (0, 0), (0, -0x1000)])
def test_a_range_that_is_not_whole_pages_is_refused(guest, offset, size) -> None:
    with pytest.raises(InvalidParameterError):
        guest.memory.map(guest.free + offset, size, RW)


def test_a_range_outside_the_territory_is_refused(guest) -> None:
    territory = guest.memory.territory
    for address in (0x1000, territory.start - 0x1000, territory.end):
        with pytest.raises(InvalidParameterError, match="not within"):
            guest.memory.map(address, 0x1000, RW)


def test_mapping_over_pages_makes_them_zero(guest) -> None:
    guest.memory.write(guest.data, b"old")
    guest.memory.map(guest.data, 0x1000, RW)
    assert guest.memory.read(guest.data, 3) == bytes(3)


def test_unmapped_memory_goes_back_to_the_host(guest) -> None:
    size = 64 << 20
    guest.memory.map(guest.free, size, RW)
    before = resident()
    guest.memory.view[guest.free : guest.free + size] = b"x" * size
    touched = resident()
    guest.memory.unmap(guest.free, size)
    assert touched - before > size // 2
    assert resident() - before < size // 4
    with pytest.raises(MemoryFaultError):
        guest.memory.read(guest.free, 1)


def test_discarded_memory_reads_as_zero_and_goes_back(guest) -> None:
    size = 64 << 20
    guest.memory.map(guest.free, size, RW)
    guest.memory.view[guest.free : guest.free + size] = b"x" * size
    touched = resident()
    guest.memory.discard(guest.free, size)
    assert touched - resident() > size // 2
    assert guest.memory.read(guest.free, 16) == bytes(16)


def test_a_file_is_mapped_copy_on_write(guest, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * 0x1000 + b"b" * 0x800)
    with path.open("rb") as file:
        guest.memory.map_file(guest.free, 0x3000, RW, file.fileno(), 0)
        guest.memory.map_file(guest.free + 0x4000, 0x1000, R, file.fileno(), 0x1000)
    read = guest.memory.read
    assert read(guest.free, 0x1001) == b"a" * 0x1000 + b"b"
    assert read(guest.free + 0x1800, 0x1800) == bytes(0x1800), "past the file's end, and its page"
    assert read(guest.free + 0x4000, 4) == b"bbbb"
    guest.memory.write(guest.free, b"changed")
    assert path.read_bytes()[:7] == b"aaaaaaa"
    guest.memory.discard(guest.free, 0x1000)
    assert read(guest.free, 7) == b"aaaaaaa"
    guest.memory.map(guest.free, 0x1000, RW)
    assert read(guest.free, 7) == bytes(7)


def test_a_hundred_thousand_regions_stay_fast(emulated_guest) -> None:
    guest = emulated_guest  # a host's kernel has a limit of its own: vm.max_map_count
    memory, start = guest.memory, guest.free
    begin = time.perf_counter()
    for index in range(100_000):
        memory.map(start + index * 0x2000, 0x1000, RW if index % 2 else R)
    last = start + 99_999 * 0x2000
    memory.protect(last, 0x1000, R)
    memory.write(start + 0x2000, b"1")
    assert guest.run("8a07 c3", last) & 0xFF == 0
    memory.unmap(start, 100_000 * 0x2000)
    assert time.perf_counter() - begin < 120  # a walk over all of them for each would take hours


def test_gigabytes_are_reserved_in_no_time(guest) -> None:
    begin = time.perf_counter()
    for index in range(8):
        guest.memory.map(guest.free + (index << 32), 4 << 30, NONE)
    assert time.perf_counter() - begin < 10  # to touch 32 GiB takes longer, if it can be done


def test_two_machines_side_by_side_do_not_share_addresses(make_guest) -> None:
    one, two = make_guest(), make_guest()
    assert not one.memory.territory.overlaps(two.memory.territory)
    one.memory.write(one.data, b"one")
    two.memory.write(two.data, b"two")
    with pytest.raises(MemoryFaultError):
        one.memory.read(two.data, 1)
    if Ability.ISOLATION not in one.machine.abilities:
        return
    one.give_up_on_exception()
    one.run("8a07 c3", two.data)
    assert one.contexts[0].page_fault.accessed_address == two.data
    add = "488d0437 c3"  # lea rax, [rdi+rsi]
    assert (one.run(add, 1, 2), two.run(add, 3, 4)) == (3, 7)


def test_a_closed_machine_gives_its_addresses_back_and_refuses_calls(make_machine) -> None:
    machine = make_machine()
    start = machine.memory.territory.start
    machine.close()
    machine.close()
    assert not machine.can_call
    with pytest.raises(MachineError, match="closed"):
        machine.call(start)
    with make_machine() as again:
        assert again.memory.territory.start == start


def test_a_machine_that_is_forgotten_gives_its_addresses_back(make_machine) -> None:
    import gc

    starts = set()
    for _ in range(5):
        starts.add(make_machine().memory.territory.start)
        gc.collect()
    assert len(starts) == 1


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
from theseus_kit.errors import MachineError
from theseus_kit.machine import create_machine
try:
    with create_machine("MACHINE", {}) as machine:
        print("GiB", machine.memory.territory.size >> 30)
except MachineError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "said"), [(12 << 10, "GiB 7"), (3 << 10, "the host refuses to reserve 4 GiB")]
)
@pytest.mark.parametrize("name", machine_names())
def test_a_limit_on_addresses_means_less_or_a_clear_error(name, limit, said) -> None:
    program = LIMITED.replace("MEGABYTES", str(limit)).replace("MACHINE", name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said in done.stdout, done.stderr
