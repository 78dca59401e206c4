"""Guest code that changes protections by itself: what it may, and that every account follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import capstone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theseus_kit.errors import GuestInterrupted, MemoryFaultError
from theseus_kit.machine.direct import DirectWork
from theseus_kit.machine.native import NativeMachine, layout
from theseus_kit.machine.native.argument_loads import find_load
from theseus_kit.machine.native.direct_mapping import trampoline
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import PAGE_SIZE, AddressRange, Protection

from ..later import later

NONE, READ, READ_WRITE = Protection.NONE, Protection.READ, Protection.READ_WRITE
PAGES = 16

# mov rdi, rdi; mov eax, 10; mov r9d, 7; xor r8d, r8d; mov rdi, rdi; syscall; ret
PROTECT = bytes.fromhex("4889ff b80a000000 41b907000000 4531c0 4889ff 0f05 c3")

# Returns 0 if rbx, the flags (carry, sign and overflow are set) and the 128 bytes below rsp are
# after the call what they were before it, and the call's result is 0.
KEEPS = bytes.fromhex(
    "53"  # push rbx
    "bb7b000000"  # mov ebx, 123
    "b07f 0401 f9"  # mov al, 0x7f; add al, 1; stc: OF SF CF
    "9c 4158"  # pushfq; pop r8
    "48897424f8 48897424 80"  # mov [rsp-8], rsi; mov [rsp-128], rsi
    "b80a000000 0f05"  # mov eax, 10; syscall
    "4989c1"  # mov r9, rax
    "488b4c24f8 488b442480"  # mov rcx, [rsp-8]; mov rax, [rsp-128]
    "9c 415b"  # pushfq; pop r11
    "4d31c3"  # xor r11, r8: 0
    "4829f1 4829f0 4809c8"  # sub rcx, rsi; sub rax, rsi; or rax, rcx: 0
    "4c09d8 4c09c8"  # or rax, r11; or rax, r9: 0
    "83eb7b 4809d8"  # sub ebx, 123; or rax, rbx: 0
    "5b c3"  # pop rbx; ret
)


class Protecting:
    """A machine whose guest code changes protections by system call 10, which Python counts."""

    def __init__(self, machine: NativeMachine) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.direct = machine.memory.direct_mapping
        start = self.memory.territory.start + (1 << 30)
        self.area = AddressRange.of_size(start, PAGES * PAGE_SIZE)
        self.code = start - PAGE_SIZE
        self.calls: list[tuple[int, int, int]] = []
        self.changes: list[tuple[int, int, Protection]] = []
        self.memory.map(self.area.start, self.area.size, NONE)
        self.put(PROTECT)
        machine.set_handlers(lambda context: None, self.serve)
        self.direct.tell(self)
        self.direct.allow(self.area.start, self.area.end)

    def put(self, code: bytes) -> None:
        self.memory.map(self.code, PAGE_SIZE, READ_WRITE)
        self.memory.write(self.code, code)
        self.memory.protect(self.code, PAGE_SIZE, Protection.READ_EXECUTE)

    def serve(self, number: int, address: int, size: int, protection: int, *rest: int) -> int:
        assert number == 10
        self.direct.bind_caller(10, DirectWork.PROTECT)
        self.calls.append((address, size, protection))
        return 0

    def protected_directly(self, start: int, end: int, protection: Protection) -> None:
        self.changes.append((start, end, protection))

    def unmapped_directly(self, start: int, end: int) -> None:
        raise AssertionError("nothing was lent")

    def mapped_directly(self, start: int, end: int, protection: Protection, label: str) -> None:
        raise AssertionError("nothing was lent")

    def protect(self, page: int, pages: int, protection: int) -> int:
        address = self.area.start + page * PAGE_SIZE
        return self.machine.call(self.code, (address, pages * PAGE_SIZE, protection))

    def bind(self) -> None:
        """Make the one call by which the machine learns of the instruction."""
        self.protect(0, 1, NONE)
        assert len(self.calls) == 1
        self.calls.clear()


@pytest.fixture
def protecting(native: NativeMachine) -> Protecting:
    bound = Protecting(native)
    bound.bind()
    return bound


def test_a_bound_instruction_changes_protections_without_python(protecting: Protecting) -> None:
    assert protecting.protect(3, 2, READ_WRITE) == 0
    assert protecting.calls == []
    protecting.machine.memory.view[protecting.area.start + 3 * PAGE_SIZE] = 1


def test_the_memory_s_own_account_follows(protecting: Protecting) -> None:
    start = protecting.area.start
    protecting.protect(3, 2, READ_WRITE)

    protecting.memory.write(start + 3 * PAGE_SIZE, bytes(2 * PAGE_SIZE))
    with pytest.raises(MemoryFaultError):
        protecting.memory.write(start + 5 * PAGE_SIZE - 1, b"12")


def test_who_wants_to_know_is_told_in_order(protecting: Protecting) -> None:
    start = protecting.area.start
    protecting.protect(0, 2, READ_WRITE)
    protecting.protect(1, 1, READ)
    protecting.direct.collect()

    assert protecting.changes == [
        (start, start + 2 * PAGE_SIZE, READ_WRITE),
        (start + PAGE_SIZE, start + 2 * PAGE_SIZE, READ),
    ]


def test_growing_is_told_as_one_change(protecting: Protecting) -> None:
    for page in range(PAGES):
        protecting.protect(page, 1, READ_WRITE)
    protecting.direct.collect()

    assert protecting.changes == [(protecting.area.start, protecting.area.end, READ_WRITE)]


@pytest.mark.parametrize(
    ("what", "page", "pages", "protection"),
    [
        ("beyond the area", PAGES - 1, 2, READ),
        ("before the area", -1, 1, READ),
        ("nothing", 0, 0, READ),
        ("the whole address space", 0, 1 << 52, READ),
        ("writable but not readable", 0, 1, 2),
        ("a protection that is none", 0, 1, 1 << 32),
    ],
)
def test_python_is_asked_for(
    protecting: Protecting, what: str, page: int, pages: int, protection: int
) -> None:
    protecting.protect(page, pages, protection)

    assert len(protecting.calls) == 1, what


def test_an_odd_address_is_python_s(protecting: Protecting) -> None:
    protecting.machine.call(protecting.code, (protecting.area.start + 1, PAGE_SIZE, READ))

    assert protecting.calls == [(protecting.area.start + 1, PAGE_SIZE, READ)]


def test_a_denied_area_is_python_s(protecting: Protecting) -> None:
    middle = protecting.area.start + 4 * PAGE_SIZE
    protecting.direct.deny(middle, middle + PAGE_SIZE)
    protecting.protect(0, 1, READ)

    assert len(protecting.calls) == 1


def test_python_serves_when_the_journal_is_full_and_empties_it(protecting: Protecting) -> None:
    for index in range(layout.JOURNAL_CAPACITY):
        protecting.protect(2 * (index % 8), 1, (NONE, READ)[index // 8 % 2])
    assert protecting.calls == []
    protecting.protect(1, 1, READ)
    assert len(protecting.calls) == 1

    protecting.direct.collect()
    assert len(protecting.changes) == layout.JOURNAL_CAPACITY
    protecting.protect(1, 1, READ)
    assert len(protecting.calls) == 1


def test_flags_registers_and_the_red_zone_are_kept(native: NativeMachine) -> None:
    protecting = Protecting(native)
    protecting.put(KEEPS)
    protecting.bind()

    assert protecting.protect(0, 1, READ_WRITE) == 0
    assert protecting.protect(PAGES, 1, READ_WRITE) == 0
    assert len(protecting.calls) == 1, "the second by Python, the first without"


def test_many_areas_may_be_allowed_and_the_oldest_are_forgotten(protecting: Protecting) -> None:
    start, size = protecting.area.end, PAGE_SIZE
    count = layout.JOURNAL_AREA_LIMIT
    protecting.memory.map(start, 2 * count * size, READ)
    for index in range(count):
        protecting.direct.allow(start + 2 * index * size, start + (2 * index + 1) * size)

    protecting.protect(0, 1, READ)
    assert len(protecting.calls) == 1, "the first area was forgotten"
    for index in range(count):
        protecting.machine.call(protecting.code, (start + 2 * index * size, size, NONE))
    assert len(protecting.calls) == 1


def test_placed_code_s_system_calls_come_to_python(native: NativeMachine) -> None:
    protecting = Protecting(native)
    placed = native.place_code(PROTECT)
    for _ in range(3):
        native.call(placed, (protecting.area.start, PAGE_SIZE, READ))

    assert len(protecting.calls) == 3


def test_a_loop_that_only_protects_can_be_interrupted(native: NativeMachine) -> None:
    protecting = Protecting(native)
    # nop; mov eax, 10; mov edx, 3; syscall; jmp 0
    protecting.put(bytes.fromhex("90 b80a000000 ba03000000 0f05 ebf1"))
    timer = later(0.1, native.interrupt)
    with pytest.raises(GuestInterrupted):
        protecting.protect(0, 1, READ_WRITE)
    timer.join()
    assert len(protecting.calls) <= 2


CHANGES = st.lists(
    st.tuples(
        st.integers(0, PAGES - 1), st.integers(1, PAGES), st.sampled_from([NONE, READ, READ_WRITE])
    ),
    max_size=40,
)


def host_protections(area: AddressRange) -> list[str]:
    """What the kernel says of each page of an area."""
    found = ["?"] * (area.size // PAGE_SIZE)
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, protection = line.split()[:2]
        start, end = (int(address, 16) for address in addresses.split("-"))
        for page in range(max(start, area.start), min(end, area.end), PAGE_SIZE):
            found[(page - area.start) // PAGE_SIZE] = protection[:3]
    return found


def test_the_account_is_the_kernel_s(native: NativeMachine) -> None:
    protecting = Protecting(native)
    protecting.bind()
    pages = [protecting.area.start + index * PAGE_SIZE for index in range(PAGES)]

    @settings(max_examples=50, deadline=None)
    @given(CHANGES)
    def check(changes: list[tuple[int, int, Protection]]) -> None:
        for page, count, protection in changes:
            protecting.protect(page, min(count, PAGES - page), protection)
        kernel = host_protections(protecting.area)
        for page, shown in zip(pages, kernel, strict=True):
            for letter, access in (("r", READ), ("w", READ_WRITE)):
                allowed = _allows(protecting.memory.check, page, access)
                assert allowed == (letter in shown)

    check()
    assert protecting.calls == []


def _allows(check: Callable[[int, int, Protection], None], page: int, access: Protection) -> bool:
    try:
        check(page, PAGE_SIZE, access)
    except MemoryFaultError:
        return False
    return True


LOADED = Registers(rax=10, rdx=3, rsi=0x40000, r8=(1 << 64) - 1, r10=0x4022)


@pytest.mark.parametrize(
    ("code", "start", "size"),
    [
        ("90 b80a000000", 1, 5),
        ("c3 b80a000000 ba03000000 4c89f7 4c89e6", 6, 5),  # mov edx, 3; mov rdi, r14; mov rsi, r12
        ("c3 b80a000000 be00000400 31d2 4c89e7", 6, 5),
        ("c3 41ba22400000 31ff 4531c9", 1, 6),  # mov r10d, 0x4022
        ("c3 41ba22400000 49c7c0ffffffff 4531c9", 7, 7),  # mov r8, -1
        ("7441 b80a000000", 2, 5),  # je; mov eax, 10: r8 does not hold 10
        ("b80a000000", None, 0),  # what comes before is not known
        ("90 b80b000000", None, 0),  # not what the register holds
        ("4148 b80a000000", None, 0),  # perhaps the start of a longer load
        ("c3 b80a000000 01d0", None, 0),  # add eax, edx
        ("c3 b80a000000 8b7c2408", None, 0),  # mov edi, [rsp + 8]
        ("c3 b80a000000 e800000000", None, 0),
        ("c3 31c0 4889fe", None, 0),  # no room for a jump
    ],
)
def test_the_load_of_an_argument_is_found(code: str, start: int | None, size: int) -> None:
    found = find_load(bytes.fromhex(code), LOADED)
    assert found == (None if start is None else (start, size))


def test_a_load_of_another_register_is_not_mistaken_for_its_end() -> None:
    code = bytes.fromhex("c3 41b80a000000 4889fe")  # mov r8d, 10

    assert find_load(code, Registers(rax=10, r8=10)) == (1, 6)
    assert find_load(code[1:], Registers(rax=10, r8=10)) is None


def test_a_trampoline_is_what_its_description_says() -> None:
    loads = bytes.fromhex("b80a000000 ba03000000")
    code = trampoline(loads, 0x1000, 0x8000, 0x7F0012345678, 0x7F00CAFE0000)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = [f"{i.mnemonic} {i.op_str}" for i in disassembler.disasm(code[:-8], 0x1000)]

    assert found == [
        "mov eax, 0xa",
        "mov edx, 3",
        "movabs r11, 0x7f0012345678",
        "lea rcx, [rip + 6]",
        "jmp qword ptr [rip + 0xa]",
        "jmp 0x8002",
        "jmp 0x8000",
    ]
    assert code[-8:] == (0x7F00CAFE0000).to_bytes(8, "little")


# nop; mov eax, 11; syscall; ret
UNMAP = bytes.fromhex("90 b80b000000 0f05 c3")
# mov r10, rcx; xor r9d, r9d; mov eax, 9; syscall; ret
MAP = bytes.fromhex("4989ca 4531c9 b809000000 0f05 c3")
PRIVATE_ANONYMOUS = 0x22


class Lending(Protecting):
    """A machine whose guest code may also unmap its area and map it again."""

    def __init__(self, machine: NativeMachine) -> None:
        super().__init__(machine)
        self.events: list[tuple[object, ...]] = []
        self.put(b"".join(code.ljust(64, b"\x90") for code in (PROTECT, UNMAP, MAP)))
        self.direct.lend(self.area.start, self.area.end, "lent")
        self.bind()
        self.call(64, self.area.end, PAGE_SIZE)
        self.call(128, 0, PAGE_SIZE, 0, PRIVATE_ANONYMOUS)
        assert [call[0] for call in self.calls] == [11, 9]
        self.calls.clear()

    def serve(self, number: int, *arguments: int) -> int:
        if number == 10:
            return super().serve(number, *arguments)
        self.direct.bind_caller(number, DirectWork.MAP if number == 9 else DirectWork.UNMAP)
        self.calls.append((number, arguments[0], arguments[1]))
        return 77

    def call(self, offset: int, *arguments: int) -> int:
        return self.machine.call(self.code + offset, arguments)

    def unmap(self) -> int:
        return self.call(64, self.area.start, self.area.size)

    def map(self, size: int, protection: int = 3, flags: int = PRIVATE_ANONYMOUS) -> int:
        return self.call(128, 0, size, protection, flags)

    def protected_directly(self, start: int, end: int, protection: Protection) -> None:
        self.events.append(("protected", start, end, protection))

    def unmapped_directly(self, start: int, end: int) -> None:
        self.events.append(("unmapped", start, end))

    def mapped_directly(self, start: int, end: int, protection: Protection, label: str) -> None:
        self.events.append(("mapped", start, end, protection, label))


@pytest.fixture
def lending(native: NativeMachine) -> Lending:
    return Lending(native)


def test_what_was_lent_is_unmapped_without_python(lending: Lending) -> None:
    assert lending.unmap() == 0
    assert lending.calls == []
    lending.direct.collect()
    assert not lending.memory.is_mapped(lending.area.start)
    assert lending.events == [("unmapped", *lending.area)]
    assert set(host_protections(lending.area)) == {"---"}


@pytest.mark.parametrize("flags", [0x22, 0x4022])
def test_what_was_unmapped_is_mapped_again_as_zeros(lending: Lending, flags: int) -> None:
    lending.protect(0, PAGES, READ_WRITE)
    lending.memory.write(lending.area.start, b"old")
    lending.events.clear()
    lending.unmap()

    assert lending.map(lending.area.size - 1, 3, flags) == lending.area.start
    assert lending.calls == []
    assert lending.memory.read(lending.area.start, 3) == bytes(3)
    assert lending.events == [("mapped", *lending.area, READ_WRITE, "lent")]


def test_what_a_later_change_undoes_is_not_told(lending: Lending) -> None:
    for _ in range(3 * layout.JOURNAL_CAPACITY):
        lending.protect(0, 2, READ_WRITE)
        assert lending.unmap() == 0
        assert lending.map(lending.area.size, 0) == lending.area.start
    lending.protect(3, 1, READ)
    lending.direct.collect()

    start = lending.area.start + 3 * PAGE_SIZE
    assert lending.calls == []
    assert lending.events == [
        ("mapped", *lending.area, NONE, "lent"),
        ("protected", start, start + PAGE_SIZE, READ),
    ]


@pytest.mark.parametrize(
    ("address", "size", "protection", "flags"),
    [
        (PAGE_SIZE, PAGES * PAGE_SIZE, 3, 0x22),  # a hint
        (0, (PAGES - 1) * PAGE_SIZE, 3, 0x22),  # another size
        (0, 0, 3, 0x22),
        (0, PAGES * PAGE_SIZE, 2, 0x22),  # writable but not readable
        (0, PAGES * PAGE_SIZE, 3, 0x21),  # shared
        (0, PAGES * PAGE_SIZE, 3, 0x32),  # at an address
        (0, PAGES * PAGE_SIZE, 3, 0x02),  # a file's
    ],
)
def test_python_maps(
    lending: Lending, address: int, size: int, protection: int, flags: int
) -> None:
    lending.unmap()

    assert lending.call(128, address, size, protection, flags) == 77
    assert lending.calls == [(9, address, size)]


def test_a_mapped_area_is_not_mapped_again(lending: Lending) -> None:
    assert lending.map(lending.area.size) == 77


@pytest.mark.parametrize(("first", "pages"), [(1, PAGES - 1), (0, PAGES - 1), (0, PAGES + 1)])
def test_python_unmaps_what_is_not_the_whole(lending: Lending, first: int, pages: int) -> None:
    address = lending.area.start + first * PAGE_SIZE
    assert lending.call(64, address, pages * PAGE_SIZE) == 77


def test_what_was_unmapped_cannot_be_protected_nor_unmapped_again(lending: Lending) -> None:
    lending.unmap()
    lending.protect(0, 1, READ)
    assert lending.calls == [(lending.area.start, PAGE_SIZE, READ)]
    assert lending.unmap() == 77


def test_a_denied_area_is_not_mapped_again(lending: Lending) -> None:
    lending.unmap()
    lending.direct.deny(lending.area.start + PAGE_SIZE, lending.area.start + 2 * PAGE_SIZE)

    assert lending.map(lending.area.size) == 77
