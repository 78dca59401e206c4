"""CPU exceptions: which, where exactly, and what a handler can do about them."""

from __future__ import annotations

import pytest

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Access, ExceptionContext
from theseus_kit.values.memory import Protection


def only(guest) -> ExceptionContext:
    (context,) = guest.contexts
    return context


LOADS = [
    ("8a07 c3", 1),  # mov al, [rdi]
    ("8b07 c3", 4),  # mov eax, [rdi]
    ("488b07 c3", 8),  # mov rax, [rdi]
    ("480307 c3", 8),  # add rax, [rdi]
    ("f30f6f07 c3", 16),  # movdqu xmm0, [rdi]
    ("f20f1007 c3", 8),  # movsd xmm0, [rdi]
]
STORES = [
    ("8807 c3", 1),  # mov [rdi], al
    ("488907 c3", 8),  # mov [rdi], rax
    ("c70701000000 c3", 4),  # mov dword ptr [rdi], 1
    ("f30f7f07 c3", 16),  # movdqu [rdi], xmm0
    ("aa c3", 1),  # stosb
]


@pytest.mark.parametrize(("code", "size"), LOADS)
@pytest.mark.parametrize("offset", [0, 1, 0x234])
def test_a_load_of_an_unmapped_page_faults_at_the_exact_byte(guest, code, size, offset) -> None:
    guest.give_up_on_exception()
    guest.run(code, guest.end_of_data + offset)
    fault = only(guest).page_fault
    assert (fault.accessed_address, fault.access) == (guest.end_of_data + offset, Access.READ)
    assert not fault.present
    assert only(guest).error_code == 0b100


@pytest.mark.parametrize(("code", "size"), LOADS[1:])
def test_a_load_across_the_end_faults_at_the_first_byte_beyond(guest, code, size) -> None:
    guest.give_up_on_exception()
    guest.run(code, guest.end_of_data - size + 1)
    assert only(guest).page_fault.accessed_address == guest.end_of_data


@pytest.mark.parametrize(("code", "size"), STORES)
@pytest.mark.parametrize("offset", [0, 7, 0xFF0])
def test_a_store_to_a_read_only_page_faults_at_the_exact_byte(guest, code, size, offset) -> None:
    guest.give_up_on_exception()
    guest.memory.protect(guest.data, 0x1000, Protection.READ)
    guest.run(code, guest.data + offset)
    context = only(guest)
    fault = context.page_fault
    assert (fault.accessed_address, fault.access) == (guest.data + offset, Access.WRITE)
    assert fault.present
    assert context.error_code == 0b111


@pytest.mark.parametrize("before", range(1, 8))
def test_a_store_across_a_faulting_page_changes_nothing(guest, before) -> None:
    guest.give_up_on_exception()
    guest.memory.write(guest.end_of_data - 8, b"unharmed")
    guest.run("48c7c0ffffffff 488907 c3", guest.end_of_data - before)  # mov rax,-1; mov [rdi],rax
    assert guest.memory.read(guest.end_of_data - 8, 8) == b"unharmed"
    assert only(guest).page_fault.accessed_address == guest.end_of_data


def test_the_instruction_pointer_is_that_of_the_faulting_instruction(guest) -> None:
    guest.give_up_on_exception()
    code = guest.code("31c0 ffc0 ffc0 8b0f c3")  # xor eax,eax; inc eax; inc eax; mov ecx,[rdi]
    guest.machine.call(code, (0x10,))
    context = only(guest)
    assert context.instruction_pointer == code + 6
    assert context.registers.rax == 2
    assert context.registers.rdi == 0x10


def test_an_access_to_a_reservation_says_the_page_is_present(guest) -> None:
    guest.give_up_on_exception()
    guest.memory.map(guest.free, 4 << 30, Protection.NONE)
    guest.run("488b07 c3", guest.free + (3 << 30) + 5)
    fault = only(guest).page_fault
    assert fault.present
    assert fault.accessed_address == guest.free + (3 << 30) + 5


def test_a_jump_to_an_unmapped_page_faults_there(guest) -> None:
    guest.give_up_on_exception()
    guest.run("ffe7", guest.end_of_data + 0x123)  # jmp rdi
    context = only(guest)
    fault = context.page_fault
    assert context.instruction_pointer == fault.accessed_address == guest.end_of_data + 0x123
    assert fault.access is Access.EXECUTE
    assert context.error_code == 0b10100


def test_a_jump_to_a_page_that_is_not_executable_faults(guest) -> None:
    guest.give_up_on_exception()
    guest.run("ffe7", guest.data)
    fault = only(guest).page_fault
    assert (fault.access, fault.present) == (Access.EXECUTE, True)


def test_running_off_the_end_of_a_page_faults_after_its_last_instruction(guest) -> None:
    guest.give_up_on_exception()
    page = guest.free
    guest.memory.map(page, 0x1000, Protection.READ_WRITE)
    code = bytes.fromhex("31c0 ffc0 ffc0 ffc0")  # xor eax, eax; inc eax; inc eax; inc eax
    guest.memory.write(page + 0x1000 - len(code), code)
    guest.memory.protect(page, 0x1000, Protection.READ_EXECUTE)
    guest.machine.call(page + 0x1000 - len(code))
    context = only(guest)
    assert context.instruction_pointer == page + 0x1000
    assert context.page_fault.accessed_address == page + 0x1000
    assert context.registers.rax == 3
    assert not context.registers.rflags & 0x100


@pytest.mark.parametrize("address", [1 << 47, 0x8000_0000_1234, (1 << 64) - (1 << 47) - 1])
def test_a_non_canonical_address_is_a_general_protection_fault(guest, address) -> None:
    guest.give_up_on_exception()
    guest.run("488b07 c3", address)
    context = only(guest)
    assert (context.vector, context.error_code, context.page_fault) == (13, 0, None)


@pytest.mark.parametrize(
    ("code", "vector", "offset"),
    [
        ("0f0b c3", 6, 0),  # ud2
        ("31c9 31c0 f7f1 c3", 0, 4),  # xor ecx, ecx; xor eax, eax; div ecx
        ("b800000080 99 83c9ff f7f9 c3", 0, 9),  # mov eax,min; cdq; or ecx,-1; idiv ecx
        ("90 f4 c3", 13, 1),  # nop; hlt
        ("90 cc c3", 3, 2),  # nop; int3: the instruction after
        ("90 cd80 c3", 13, 1),  # nop; int 0x80
        ("90 e610 c3", 13, 1),  # nop; out 0x10, al
        ("90 e410 c3", 13, 1),  # nop; in al, 0x10
    ],
)
def test_an_exception_has_its_vector_and_place(guest, code, vector, offset) -> None:
    guest.give_up_on_exception()
    start = guest.code(code)
    guest.machine.call(start)
    context = only(guest)
    assert (context.vector, context.instruction_pointer) == (vector, start + offset)


@pytest.mark.parametrize("code", ["31c931c0f7f1c3", "0f0bc3", "f4c3", "488b042500000000c3", "ccc3"])
def test_ten_thousand_exceptions_in_a_row_are_all_alike(guest, code) -> None:
    seen = []
    leave = guest.code("c3")

    def handler(context: ExceptionContext) -> None:
        seen.append((context.vector, context.instruction_pointer))
        context.registers.rip = leave

    guest.on_exception(handler)
    start = guest.code(code)
    for _ in range(10_000):
        guest.machine.call(start)
    assert len(seen) == 10_000
    assert len(set(seen)) == 1


def test_the_guest_resumes_at_the_registers_a_handler_leaves(guest) -> None:
    def handler(context: ExceptionContext) -> None:
        for index, name in enumerate(("rax", "rbx", "rcx", "rdx", "rsi", "r8", "r15")):
            setattr(context.registers, name, index + 100)
        context.registers.rip += 2

    guest.on_exception(handler)
    # push rbx; push r15; ud2; sub rax..: sum of all edited registers
    code = "53 4157 0f0b 4801d8 4801c8 4801d0 4801f0 4c01c0 4c01f8 415f 5b c3"
    assert guest.run(code) == sum(range(100, 107))


def test_vector_and_x87_state_survive_a_handler_that_calls_guest_code(guest) -> None:
    spoil = guest.code("660fefc0 d9ee c3")  # pxor xmm0, xmm0; fldz

    def handler(context: ExceptionContext) -> None:
        guest.machine.call(spoil)
        context.registers.rip += 2

    guest.on_exception(handler)
    # movq xmm0, rdi; fld1; ud2 (or div); movq rax, xmm0; fistp qword [rsi]; add rax, [rsi]
    tail = "66480f7ec0 df3e 480306 c3"
    assert guest.run("66480f6ec7 d9e8 0f0b" + tail, 41, guest.data) == 42
    assert guest.run("66480f6ec7 d9e8 31c9 31c0 f7f1" + tail, 41, guest.data) == 42


def test_a_handler_that_raises_ends_the_call_and_the_machine_goes_on(guest) -> None:
    def handler(context: ExceptionContext) -> None:
        raise KeyError("mine")

    guest.on_exception(handler)
    for _ in range(100):
        with pytest.raises(KeyError, match="mine"):
            guest.run("0f0b c3")
    assert guest.run("488d4701 c3", 1) == 2  # lea rax, [rdi+1]


def test_without_a_handler_an_exception_kills_the_guest(guest) -> None:
    with pytest.raises(GuestKilled, match=r"Exception 0x6\(6\)"):
        guest.run("0f0b c3")


def test_a_handler_may_run_guest_code_on_another_stack(guest) -> None:
    read_rsp = guest.code("4889e0 c3")  # mov rax, rsp

    def handler(context: ExceptionContext) -> None:
        context.registers.rax = guest.machine.call(read_rsp, stack_pointer=guest.data + 0x1000)
        context.registers.rip += 2

    guest.on_exception(handler)
    assert guest.run("0f0b c3") == guest.data + 0x1000 - 8


def test_a_handler_s_call_leaves_the_red_zone_alone(guest) -> None:
    scribble = guest.code("6a00 6a00 6a00 4883c418 c3")  # push 0 three times; add rsp, 24

    def handler(context: ExceptionContext) -> None:
        guest.machine.call(scribble)
        context.registers.rip += 2

    guest.on_exception(handler)
    # mov [rsp-8], rdi; mov [rsp-128], rdi; ud2; mov rax, [rsp-8]; add rax, [rsp-128]
    assert guest.run("48897c24f8 48897c2480 0f0b 488b4424f8 4803442480 c3", 21) == 42


def test_an_exception_inside_a_handler_s_call_is_one_of_its_own(guest) -> None:
    depths = []
    inner = guest.code("0f0b 488d4701 c3")  # ud2; lea rax, [rdi+1]

    def handler(context: ExceptionContext) -> None:
        depths.append(context.registers.rdi)
        if context.registers.rdi:
            depth = context.registers.rdi
            context.registers.rdi = guest.machine.call(inner, (depth - 1,))
        context.registers.rip += 2

    guest.on_exception(handler)
    assert guest.machine.call(inner, (20,)) == 21
    assert depths == list(range(20, -1, -1))


def test_a_fault_says_what_the_decoder_would_say(make_guest) -> None:
    """The address Unicorn recorded and the one computed from the operands are the same."""
    from theseus_kit.machine.emulated.fault_address import FaultDecoder
    from theseus_kit.values.memory import page_floor

    guest = make_guest()
    guest.give_up_on_exception()
    address = guest.end_of_data
    codes = [
        "488b87ff000000 c3",  # mov rax, [rdi+0xff]
        "48c7c602000000 488b44f703 c3",  # mov rsi, 2; mov rax, [rdi+rsi*8+3]
        "488bf7 48a5 c3",  # mov rsi, rdi; movsq
        "67488b4710 c3",  # mov rax, [edi+0x10]: the address is cut to 32 bits
    ]
    for code in codes:
        guest.run(code, address)
    for context in guest.contexts:
        fault = context.page_fault
        code = bytes(guest.memory.view[context.registers.rip : context.registers.rip + 15])
        page = page_floor(fault.accessed_address)
        found = FaultDecoder(lambda _: 0).exact_address(context.registers, page, code)
        assert found == fault.accessed_address
    assert len(guest.contexts) == len(codes)


@pytest.mark.parametrize("code", ["90 0f0b c3", "31c9 31c0 f7f1 c3", "90 f4 c3", "8a07 c3"])
def test_registers_inside_a_handler_are_those_at_the_exception(guest, code) -> None:
    leave, empty = guest.code("c3"), guest.code("31ff c3")  # xor edi, edi
    found = []

    def handler(context: ExceptionContext) -> None:
        at_first = bytes(guest.machine.registers())
        assert guest.machine.registers_are_exact
        guest.machine.call(empty)
        found.append((bytes(context.registers), at_first, bytes(guest.machine.registers())))
        context.registers.rip = leave

    guest.on_exception(handler)
    guest.run(code, 5)
    (shown, before, after) = found[0]
    assert shown == before == after
