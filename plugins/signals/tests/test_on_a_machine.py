"""Handlers of real CPU exceptions: raised by guest code, answered, resumed or killed."""

from contextlib import suppress

import capstone
import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import AlreadyRegisteredError, GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import Access, ExceptionCategory, KilledByException
from theseus_kit.values.memory import PAGE_SIZE, MapRequest, Protection

CODE = {
    # Each returns 42 once its exception is skipped by as many bytes as stand beside it.
    ExceptionCategory.ILLEGAL_INSTRUCTION: ("ud2; mov eax, 0x2a; ret", "0f0b b82a000000 c3", 2, 6),
    ExceptionCategory.ARITHMETIC_ERROR: (
        "xor ecx, ecx; mov eax, 0x2a; cdq; div ecx; ret",
        "31c9 b82a000000 99 f7f1 c3",
        2,
        0,
    ),
    ExceptionCategory.INVALID_ADDRESS: (
        "mov eax, 0x2a; mov ecx, 0x123; mov dword ptr [rcx], eax; ret",
        "b82a000000 b923010000 8901 c3",
        2,
        14,
    ),
}


@pytest.fixture(params=machine_names())
def machine(request):
    return request.param


@pytest.fixture(params=["signals", "signals-persistent"])
def provider(request):
    return request.param


@pytest.fixture
def platform(machine, provider):
    with assemble(["region", provider, "backtrace", "path", "tlibc"], machine=machine) as platform:
        yield platform


def place(platform, category):
    return platform.machine.place_code(bytes.fromhex(CODE[category][1]))


def register(platform, category, handler):
    platform.hooks.exception_register(
        task=platform.tasks.current, category=category, handler=handler
    )


@pytest.mark.parametrize("category", CODE)
def test_the_code_is_what_its_assembly_says(category):
    assembly, code, _, _ = CODE[category]
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [
        f"{instruction.mnemonic} {instruction.op_str}".strip()
        for instruction in disassembler.disasm(bytes.fromhex(code), 0)
    ]
    assert "; ".join(lines) == assembly


@pytest.mark.parametrize("category", CODE)
def test_a_handler_that_skips_the_instruction_lets_the_guest_go_on(platform, category):
    _, _, length, vector = CODE[category]
    seen = []

    def skip(context):
        seen.append(context.vector)
        context.registers.rip += length
        return True

    register(platform, category, skip)
    assert platform.machine.call(place(platform, category)) == 42
    assert seen == [vector]


@pytest.mark.parametrize("category", CODE)
def test_without_a_handler_the_guest_is_killed_with_the_reason(platform, category):
    code = place(platform, category)
    with pytest.raises(GuestKilled) as caught:
        platform.machine.call(code)
    assert caught.value.reason == KilledByException(CODE[category][3])


def test_the_context_tells_the_exact_address_and_the_access(platform):
    category = ExceptionCategory.INVALID_ADDRESS
    faults = []

    def note(context):
        faults.append((context.page_fault, context.instruction_pointer))
        return False

    register(platform, category, note)
    code = place(platform, category)
    with pytest.raises(GuestKilled):
        platform.machine.call(code)
    ((fault, instruction_pointer),) = faults
    assert (fault.accessed_address, fault.access) == (0x123, Access.WRITE)
    assert instruction_pointer == code + 10


def test_a_handler_that_sees_to_staying_answers_a_hundred_exceptions(platform):
    category = ExceptionCategory.ILLEGAL_INSTRUCTION
    fired = []

    def skip(context):
        fired.append(context.vector)
        context.registers.rip += 2
        with suppress(AlreadyRegisteredError):  # of the provider that keeps handlers
            register(platform, category, skip)
        return True

    register(platform, category, skip)
    code = place(platform, category)
    for _ in range(100):
        assert platform.machine.call(code) == 42
    assert len(fired) == 100


def test_an_error_raised_by_a_handler_reaches_the_caller_as_itself(platform):
    def broken(context):
        raise LookupError("in the handler")

    register(platform, ExceptionCategory.ILLEGAL_INSTRUCTION, broken)
    with pytest.raises(LookupError, match="in the handler"):
        platform.machine.call(place(platform, ExceptionCategory.ILLEGAL_INSTRUCTION))


BREAKPOINT = bytes.fromhex("cc b82a000000 c3")  # int3; mov eax, 42; ret


def test_a_breakpoint_just_returns_on_theseus_and_kills_on_posix(platform, provider):
    code = platform.machine.place_code(BREAKPOINT)
    if provider == "signals":
        assert platform.machine.call(code) == 42
    else:
        with pytest.raises(GuestKilled) as caught:
            platform.machine.call(code)
        assert caught.value.reason == KilledByException(3)


def test_a_breakpoint_handler_sees_the_address_after_it(platform):
    seen = []

    def note(context):
        seen.append(context.instruction_pointer)
        return True

    register(platform, ExceptionCategory.BREAKPOINT, note)
    code = platform.machine.place_code(BREAKPOINT)
    assert platform.machine.call(code) == 42
    assert seen == [code + 1]


@pytest.mark.parametrize(
    ("code", "address", "access", "present"),
    [
        ("488b07 c3", -3, Access.READ, False),  # mov rax, [rdi]: reaches into the next page
        ("488907 c3", -3, Access.WRITE, False),  # mov [rdi], rax
        ("488907 c3", 8, Access.WRITE, True),  # mov [rdi], rax: the page is mapped to be read
        ("ffe7", 0, Access.EXECUTE, True),  # jmp rdi
    ],
)
def test_a_page_fault_tells_the_first_byte_that_faults_and_how(
    platform, code, address, access, present
):
    faults = []

    def note(context):
        faults.append((context.page_fault, context.error_code))
        return False

    # A page to read and to execute nothing of, and behind it one that is not mapped.
    request = MapRequest(2 * PAGE_SIZE, Protection.READ_WRITE)
    page = platform.hooks.memory_map(request=request).base
    platform.hooks.memory_unmap(address=page + PAGE_SIZE, size=PAGE_SIZE)
    if present:
        platform.hooks.memory_protect(address=page, size=PAGE_SIZE, protection=Protection.READ)
    register(platform, ExceptionCategory.INVALID_ADDRESS, note)
    operand = page + (address if present else PAGE_SIZE + address)
    with pytest.raises(GuestKilled):
        platform.machine.call(platform.machine.place_code(bytes.fromhex(code)), (operand,))
    ((fault, error_code),) = faults
    exact = operand if present else page + PAGE_SIZE
    assert (fault.accessed_address, fault.access, fault.present) == (exact, access, present)
    assert error_code == fault.error_code


def test_a_general_protection_fault_has_an_error_code_and_no_address(platform):
    seen = []

    def note(context):
        seen.append((context.vector, context.error_code, context.page_fault))
        return False

    register(platform, ExceptionCategory.ILLEGAL_INSTRUCTION, note)
    # mov rax, 0x8000000000000000; mov rax, [rax]: no canonical address
    code = platform.machine.place_code(bytes.fromhex("48b80000000000000080 488b00 c3"))
    with pytest.raises(GuestKilled):
        platform.machine.call(code)
    assert seen == [(13, 0, None)]


def test_a_handler_sees_and_edits_every_integer_register(platform):
    # mov each register but rsp, 1 to 15; ud2; then add them all up
    low = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
    numbers = {name: number for number, name in enumerate(low) if name != "rsp"}
    numbers |= {f"r{number}": number for number in range(8, 16)}
    names = list(numbers)
    code = bytes.fromhex("53 55 4154 4155 4156 4157")  # push rbx rbp r12 r13 r14 r15
    for value, name in enumerate(names, 1):  # mov r64, imm32
        number = numbers[name]
        code += bytes((0x48 | number >> 3, 0xC7, 0xC0 | number & 7)) + value.to_bytes(4, "little")
    code += b"\x0f\x0b"
    for name in names[1:]:  # add rax, r64
        number = numbers[name]
        code += bytes((0x48 | number >> 3 << 2, 0x01, 0xC0 | (number & 7) << 3))
    code += bytes.fromhex("415f 415e 415d 415c 5d 5b c3")
    seen = []

    def double(context):
        registers = context.registers
        seen.append({name: getattr(registers, name) for name in names})
        for name in names:
            setattr(registers, name, 2 * getattr(registers, name))
        registers.rip += 2
        return True

    register(platform, ExceptionCategory.ILLEGAL_INSTRUCTION, double)
    assert platform.machine.call(platform.machine.place_code(code)) == 2 * sum(range(1, 16))
    assert seen == [{name: value for value, name in enumerate(names, 1)}]


def test_a_kill_tells_the_registers_of_the_fault(platform):
    code = place(platform, ExceptionCategory.INVALID_ADDRESS)
    with pytest.raises(GuestKilled) as caught:
        platform.machine.call(code)
    registers = caught.value.registers
    assert (registers.rip, registers.rax, registers.rcx) == (code + 10, 42, 0x123)


def test_a_program_that_aborts_has_its_kill_handler_told_once(platform):
    told = []
    platform.hooks.exception_set_kill_handler(
        task=platform.tasks.current, handler=lambda task, reason: told.append((task, reason))
    )
    with pytest.raises(GuestKilled) as caught:
        platform.machine.call(platform.namespace.resolve("abort"))
    assert told == [(platform.tasks.current, caught.value.reason)]
    assert caught.value.registers is not None


def test_a_program_that_exits_is_no_panic(platform):
    told = []
    platform.hooks.exception_set_kill_handler(
        task=platform.tasks.current, handler=lambda task, reason: told.append(reason)
    )
    with pytest.raises(GuestKilled):
        platform.machine.call(platform.namespace.resolve("exit"), (3,))
    assert told == []


def test_a_handler_may_call_guest_code(platform):
    answer = platform.machine.place_code(bytes.fromhex("b807000000 c3"))  # mov eax, 7; ret
    results = []

    def handle(context):
        results.append(platform.machine.call(answer))
        context.registers.rip += 2
        return True

    register(platform, ExceptionCategory.ILLEGAL_INSTRUCTION, handle)
    assert platform.machine.call(place(platform, ExceptionCategory.ILLEGAL_INSTRUCTION)) == 42
    assert results == [7]
