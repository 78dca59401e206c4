"""Code translated before it is mapped: never run unless it is that very code."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from theseus_kit.machine.emulated import EmulatedMachine, EmulatedOptions, host_code, library
from theseus_kit.machine.emulated.block_profile import MOST_BLOCKS, read_profile, write_profile
from theseus_kit.values.memory import AddressRange, Protection

PAGE = 0x1000
SIZE = 2 << 20
EVERY = 0x333  # bytes from one function to the next: some end on the next page
COUNT = (SIZE - PAGE) // EVERY  # none on the last page, of which nothing is translated ahead
RW, RX = Protection.READ_WRITE, Protection.READ_EXECUTE

pytestmark = pytest.mark.skipif(not host_code.runs_here(), reason="for x86-64 hosts")


def functions(first: int) -> bytes:
    """Code of two blocks each: ``mov eax, first + number; jmp next; next: ret``."""
    code = b"".join(
        (b"\xb8" + (first + number).to_bytes(4, "little") + b"\xeb\x00\xc3").ljust(EVERY, b"\xcc")
        for number in range(COUNT)
    )
    return code.ljust(SIZE, b"\xcc")


class Workshop:
    """A library's file, the file of its blocks, and machines that are given both."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / "library"
        self.blocks = folder / "blocks"
        self.library.write_bytes(functions(100))
        self.machines: list[EmulatedMachine] = []

    def machine(self) -> EmulatedMachine:
        made = EmulatedMachine(EmulatedOptions(territory_gib=64, blocks=str(self.blocks)))
        self.machines.append(made)
        stack = AddressRange.of_size(made.memory.territory.start, 1 << 16)
        made.memory.map(stack.start, stack.size, RW)
        made.select_thread(made.create_thread(stack))
        return made

    def place(self, machine: EmulatedMachine) -> int:
        return machine.memory.territory.start + (16 << 20)

    def map(self, machine: EmulatedMachine, place: int, size: int = SIZE, offset: int = 0) -> None:
        """As the loader does: the whole span first, then the file over it."""
        machine.memory.map(place, size, Protection.NONE)
        with self.library.open("rb") as file:
            machine.memory.map_file(place, size, RX, file.fileno(), offset)

    def run_once(self) -> None:
        """Have a machine note what it runs."""
        with self.machine() as machine:
            place = self.place(machine)
            self.map(machine, place)
            assert results(machine, place) == list(range(100, 100 + COUNT))
        assert self.blocks.exists()

    def guessing(self) -> EmulatedMachine:
        """A machine that has finished its guess, and where nothing has been mapped yet."""
        machine = EmulatedMachine(EmulatedOptions(territory_gib=64, blocks=str(self.blocks)))
        self.machines.append(machine)
        wait_for_translation()
        stack = AddressRange.of_size(machine.memory.territory.start, 1 << 16)
        machine.memory.map(stack.start, stack.size, RW)
        machine.select_thread(machine.create_thread(stack))
        return machine


def wait_for_translation() -> None:
    for thread in threading.enumerate():
        if thread.name == "theseus-kit translation":
            thread.join()


def results(machine: EmulatedMachine, place: int, count: int = COUNT) -> list[int]:
    return [machine.call(place + EVERY * number) for number in range(count)]


def translations(machine: EmulatedMachine) -> list[int]:
    """A list of the blocks that are translated from now on."""
    found: list[int] = []
    kind = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 4)

    def note(engine: int, block: int, before: int, user: int) -> None:
        found.append(ctypes.c_uint64.from_address(block).value)

    callback = kind(note)
    machine._cpu.add_hook(library.HOOK_EDGE_GENERATED, callback)
    found.append(0)
    machine.__dict__["callback of the test"] = callback
    return found


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    for machine in made.machines:
        machine.close()


def test_a_run_notes_the_blocks_of_its_library(workshop) -> None:
    workshop.run_once()
    profile = read_profile(workshop.blocks)
    assert profile is not None
    assert profile.path == str(workshop.library)
    starts = {EVERY * number for number in range(COUNT)}
    assert starts | {start + 7 for start in starts} == set(profile.blocks)


def test_blocks_that_were_guessed_right_are_not_translated_again(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place)
    found = translations(machine)
    assert results(machine, place) == list(range(100, 100 + COUNT))
    assert [address for address in found if place <= address < place + SIZE] == []


def test_without_a_guess_they_are_translated_when_they_run(workshop) -> None:
    machine = workshop.machine()
    place = workshop.place(machine)
    workshop.map(machine, place)
    found = translations(machine)
    results(machine, place)
    assert len([address for address in found if place <= address < place + SIZE]) == 2 * COUNT


def test_the_engine_is_given_up_in_the_middle_to_whoever_needs_it(workshop) -> None:
    workshop.run_once()
    machine = workshop.machine()  # selects a thread while the guess goes on
    place = workshop.place(machine)
    workshop.map(machine, place)
    assert results(machine, place) == list(range(100, 100 + COUNT))


def test_a_guess_goes_on_while_the_machine_is_idle(workshop) -> None:
    workshop.run_once()
    machine = workshop.machine()
    place = workshop.place(machine)
    workshop.map(machine, place)
    machine.idle()
    wait_for_translation()
    found = translations(machine)
    assert results(machine, place) == list(range(100, 100 + COUNT))
    assert [address for address in found if place <= address < place + SIZE] == []


def test_a_library_that_was_changed_is_run_as_it_is_now(workshop) -> None:
    workshop.run_once()
    workshop.library.write_bytes(functions(70_000))
    os.utime(workshop.library, ns=(1, 1))
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place)
    assert results(machine, place) == list(range(70_000, 70_000 + COUNT))
    machine.close()
    assert read_profile(workshop.blocks).identity.modified_ns == 1


def test_other_code_at_the_guessed_place_is_the_code_that_runs(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    machine.memory.map(place, SIZE, RW)
    machine.memory.write(place, functions(5000))
    machine.memory.protect(place, SIZE, RX)
    assert results(machine, place) == list(range(5000, 5000 + COUNT))


def test_another_file_at_the_guessed_place_is_the_one_that_runs(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.library = workshop.library.with_name("other")
    workshop.library.write_bytes(functions(9000))
    workshop.map(machine, place)
    assert results(machine, place) == list(range(9000, 9000 + COUNT))


def test_another_part_of_the_file_at_the_guessed_place_is_the_one_that_runs(workshop) -> None:
    code = functions(300)
    workshop.library.write_bytes(functions(100) + code[EVERY:] + code[:EVERY])
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place, offset=SIZE)
    assert results(machine, place, 1000) == list(range(301, 1301))


def test_a_single_page_at_the_guessed_place_is_enough_to_give_the_guess_up(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    page = place + 5 * PAGE
    machine.memory.map(page, PAGE, RW)
    assert machine.memory.read(page, PAGE) == bytes(PAGE)
    # mov eax, 42; ret
    machine.memory.write(page, bytes.fromhex("b82a000000c3") * (PAGE // 6))
    machine.memory.protect(page, PAGE, RX)
    assert {machine.call(page + 6 * number) for number in range(600)} == {42}


def test_memory_at_the_guessed_place_is_empty(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    machine.memory.map(place, SIZE, Protection.READ)
    assert machine.memory.read(place, SIZE) == bytes(SIZE)


def test_the_library_may_lie_elsewhere(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine) + (32 << 20)
    workshop.map(machine, place)
    assert results(machine, place) == list(range(100, 100 + COUNT))


def test_code_that_follows_a_right_guess_is_the_code_that_runs(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place)
    assert results(machine, place, 10) == list(range(100, 110))
    machine.memory.unmap(place, SIZE)
    machine.memory.map(place, SIZE, RW)
    machine.memory.write(place, functions(8000))
    machine.memory.protect(place, SIZE, RX)
    machine.idle()
    assert results(machine, place) == list(range(8000, 8000 + COUNT))


def test_bytes_changed_in_a_library_guessed_right_are_the_ones_that_run(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place)
    machine.memory.protect(place, SIZE, RW)
    for number in range(COUNT):
        machine.memory.write(place + EVERY * number + 1, (40_000 + number).to_bytes(4, "little"))
    machine.memory.protect(place, SIZE, RX)
    assert results(machine, place) == list(range(40_000, 40_000 + COUNT))


def test_faults_in_guessed_code_are_as_exact_as_ever(workshop) -> None:
    workshop.run_once()
    machine = workshop.guessing()
    place = workshop.place(machine)
    workshop.map(machine, place)
    machine.memory.protect(place, SIZE, Protection.READ)
    faults: list[int] = []

    def handler(context) -> None:
        faults.append(context.page_fault.accessed_address)
        context.registers.rip = leave

    leave = machine.place_code(bytes.fromhex("c3"))
    machine.set_handlers(handler, lambda *_: 0)
    machine.call(place + EVERY)
    assert faults == [place + EVERY]


@pytest.mark.parametrize("content", [b"", b"THSBLOCK", bytes(4096)])
def test_a_file_that_is_no_profile_is_replaced(workshop, content) -> None:
    workshop.blocks.write_bytes(content)
    workshop.run_once()
    assert read_profile(workshop.blocks) is not None


def test_a_profile_whose_library_is_gone_is_no_error(workshop) -> None:
    workshop.run_once()
    content = workshop.library.read_bytes()
    workshop.library.unlink()
    machine = workshop.guessing()
    workshop.library.write_bytes(content)
    place = workshop.place(machine)
    workshop.map(machine, place)
    assert results(machine, place) == list(range(100, 100 + COUNT))


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path) -> None:
    options = EmulatedOptions(territory_gib=64, blocks=str(tmp_path / "missing" / "blocks"))
    with EmulatedMachine(options) as machine:
        assert machine.cpu_features
    assert list(tmp_path.iterdir()) == []


def test_closing_ends_the_translation(workshop) -> None:
    workshop.run_once()
    for _ in range(20):
        EmulatedMachine(EmulatedOptions(territory_gib=64, blocks=str(workshop.blocks))).close()
    wait_for_translation()


def test_a_machine_that_is_dropped_ends_its_translation(workshop) -> None:
    workshop.run_once()
    for _ in range(5):
        EmulatedMachine(EmulatedOptions(territory_gib=64, blocks=str(workshop.blocks)))
        gc.collect()
    wait_for_translation()


def test_a_child_process_has_the_engine_to_itself(workshop) -> None:
    workshop.run_once()
    machine = workshop.machine()
    place = workshop.place(machine)
    workshop.map(machine, place)
    machine.idle()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if results(machine, place) == list(range(100, 100 + COUNT)) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert results(machine, place) == list(range(100, 100 + COUNT))


def call_some(workshop: Workshop, numbers: range) -> None:
    with workshop.guessing() as machine:
        place = workshop.place(machine)
        workshop.map(machine, place)
        assert [machine.call(place + EVERY * n) for n in numbers] == [100 + n for n in numbers]


def test_what_another_run_needed_besides_is_added(workshop) -> None:
    call_some(workshop, range(500))
    first = read_profile(workshop.blocks)
    call_some(workshop, range(400, 1000))
    both = read_profile(workshop.blocks)
    assert len(first.blocks) == 1000
    assert both.blocks[:1000] == first.blocks
    assert len(set(both.blocks)) == len(both.blocks) == 2000


def test_a_few_blocks_more_are_not_worth_a_new_file(workshop) -> None:
    call_some(workshop, range(500))
    kept = workshop.blocks.read_bytes()
    call_some(workshop, range(300, 510))
    assert workshop.blocks.read_bytes() == kept


def test_a_full_file_grows_no_more(workshop) -> None:
    workshop.run_once()
    profile = read_profile(workshop.blocks)
    full = tuple(range(10_000, 10_000 + MOST_BLOCKS))
    assert write_profile(workshop.blocks, profile._replace(blocks=full))
    call_some(workshop, range(COUNT))
    assert read_profile(workshop.blocks).blocks == full
