"""Handlers of real CPU exceptions: raised by guest code, answered, resumed or killed."""

import capstone
import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Access, ExceptionCategory, KilledByException

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


@pytest.fixture
def platform():
    plugins = ["region", "signals", "backtrace", "path", "tlibc"]
    with assemble(plugins, machine="emulated") as platform:
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


def test_a_handler_that_registers_itself_again_answers_a_hundred_exceptions(platform):
    category = ExceptionCategory.ILLEGAL_INSTRUCTION
    fired = []

    def skip(context):
        fired.append(context.vector)
        context.registers.rip += 2
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


def test_a_breakpoint_just_returns(platform):
    code = platform.machine.place_code(bytes.fromhex("cc b82a000000 c3"))  # int3; mov eax, 42; ret
    assert platform.machine.call(code) == 42


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
