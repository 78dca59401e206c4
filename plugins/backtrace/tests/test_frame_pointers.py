"""The walk along frame pointers: right where the chain is kept, short where it is not."""

import struct
from itertools import pairwise

import capstone
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange
from theseus_kit.values.symbols import FrameKind

CALLER = """
    push rbp
    mov rbp, rsp
    movabs rax, 0x1122334455667788
    call rax
    pop rbp
    ret
"""
CALLER_CODE = "55 4889e5 48b8{target} ffd0 5d c3"
RETURN_OFFSET = 16
"""Where in CALLER the call returns to."""


def caller_of(platform, target):
    """Place a function with a frame pointer that calls ``target``; return its address."""
    code = CALLER_CODE.format(target=target.to_bytes(8, "little").hex())
    return platform.machine.place_code(bytes.fromhex(code), name="caller")


def chain(platform, innermost, depth):
    """Place ``depth`` functions, each calling the one before; outermost last."""
    functions = []
    for _ in range(depth):
        innermost = caller_of(platform, innermost)
        functions.append(innermost)
    return functions


def registers(**values):
    return Registers(**values)


def walk(platform, state, stack):
    return list(platform.hooks.unwind_frames(registers=state, stack=stack, is_exact=True))


def link(stack, offset, frame_pointer, return_address, platform):
    data = struct.pack("<QQ", frame_pointer, return_address)
    platform.machine.memory.write(stack.start + offset, data)
    return stack.start + offset


@pytest.fixture(scope="module")
def code(platform):
    """The address of some executable bytes to return to."""
    return platform.machine.place_code(b"\x90" * 16)


def test_the_callers_code_is_what_its_assembly_says():
    target = (0x1122334455667788).to_bytes(8, "little").hex()
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    lines = [
        f"{instruction.mnemonic} {instruction.op_str}".strip()
        for instruction in disassembler.disasm(bytes.fromhex(CALLER_CODE.format(target=target)), 0)
    ]
    assert lines == [line.strip() for line in CALLER.strip().splitlines()]


def test_inside_a_host_function_every_caller_is_seen_innermost_first(platform):
    traces = []
    export = platform.machine.export(lambda: traces.append(platform.backtrace()), 0)
    functions = chain(platform, export, 5)
    platform.machine.call(functions[-1])
    (trace,) = traces
    assert trace[0].frame.kind is FrameKind.HOST
    seen = [entry.frame.instruction_pointer for entry in trace[1:]]
    assert seen[:5] == [function + RETURN_OFFSET for function in functions]


def test_frames_lie_above_each_other_and_each_cfa_is_the_next_stack_pointer(platform):
    traces = []
    export = platform.machine.export(lambda: traces.append(platform.backtrace()), 0)
    platform.machine.call(chain(platform, export, 5)[-1])
    frames = [entry.frame for entry in traces[0][1:]]
    for frame, outer in pairwise(frames):
        assert frame.canonical_frame_address == outer.stack_pointer
        assert frame.stack_pointer < outer.stack_pointer
    assert frames[-1].canonical_frame_address is None


def test_a_fault_is_an_exact_frame_and_its_callers_are_not(fresh_platform):
    platform = fresh_platform
    trap = platform.machine.place_code(bytes.fromhex("55 4889e5 0f0b"))  # push, mov, ud2
    functions = chain(platform, trap, 2)
    with pytest.raises(GuestKilled) as caught:
        platform.machine.call(functions[-1])
    frames = [entry.frame for entry in caught.value.backtrace]
    assert [(frame.instruction_pointer, frame.is_exact) for frame in frames[:3]] == [
        (trap + 4, True),
        (functions[0] + RETURN_OFFSET, False),
        (functions[1] + RETURN_OFFSET, False),
    ]


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_a_walk_ends_after_the_option_max_frames(limit):
    plugins = ["region", "signals", "backtrace", "path", "tlibc"]
    with assemble(plugins, options={"backtrace": {"max_frames": limit}}) as platform:
        traces = []
        export = platform.machine.export(lambda: traces.append(platform.backtrace()), 0)
        platform.machine.call(chain(platform, export, 70)[-1])
        assert len(traces[0]) == 1 + limit  # the host function itself
        assert "enough" in traces[0][-1].frame.end_reason


def test_a_walk_is_lazy(platform, stack_memory, code):
    outer = link(stack_memory, 64, 0, code, platform)
    inner = link(stack_memory, 32, outer, code, platform)
    state = registers(rip=code, rsp=stack_memory.start, rbp=inner)
    frames = platform.hooks.unwind_frames(registers=state, stack=stack_memory, is_exact=True)
    next(frames)
    link(stack_memory, 64, 0, 0, platform)  # the stack changes before the walk gets there
    assert len(list(frames)) == 1


def test_changing_the_registers_during_a_walk_does_not_disturb_it(platform, stack_memory, code):
    state = registers(rip=code, rsp=stack_memory.start, rbp=0)
    frames = platform.hooks.unwind_frames(registers=state, stack=stack_memory, is_exact=True)
    state.rip = 0
    assert next(frames).instruction_pointer == code


@pytest.mark.parametrize(
    "frame_pointer",
    [
        pytest.param(lambda stack: 0, id="zero"),
        pytest.param(lambda stack: stack.start + 33, id="misaligned"),
        pytest.param(lambda stack: stack.start - 16, id="below the stack pointer"),
        pytest.param(lambda stack: stack.end, id="above the stack"),
        pytest.param(lambda stack: stack.end - 8, id="cut by the stack's end"),
        pytest.param(lambda stack: 0xDEAD_BEEF_0000_0000, id="not canonical"),
        pytest.param(lambda stack: (1 << 64) - 8, id="at the end of addresses"),
    ],
)
def test_a_frame_pointer_that_is_none_ends_the_walk(platform, stack_memory, code, frame_pointer):
    state = registers(rip=code, rsp=stack_memory.start, rbp=frame_pointer(stack_memory))
    (frame,) = walk(platform, state, stack_memory)
    assert frame.instruction_pointer == code
    assert frame.canonical_frame_address is None


@pytest.mark.parametrize("address", [0, 1, 0x41414141_41414141, (1 << 64) - 1])
def test_a_return_address_into_nowhere_ends_the_walk(platform, stack_memory, code, address):
    smashed = link(stack_memory, 32, stack_memory.start + 64, address, platform)
    state = registers(rip=code, rsp=stack_memory.start, rbp=smashed)
    assert len(walk(platform, state, stack_memory)) == 1


def test_a_return_address_on_the_stack_itself_ends_the_walk(platform, stack_memory, code):
    smashed = link(stack_memory, 32, stack_memory.start + 64, stack_memory.start + 8, platform)
    state = registers(rip=code, rsp=stack_memory.start, rbp=smashed)
    assert len(walk(platform, state, stack_memory)) == 1


def test_a_cycle_of_frame_pointers_ends_the_walk(platform, stack_memory, code):
    low, high = stack_memory.start + 32, stack_memory.start + 64
    link(stack_memory, 32, high, code, platform)
    link(stack_memory, 64, low, code, platform)
    state = registers(rip=code, rsp=stack_memory.start, rbp=low)
    assert len(walk(platform, state, stack_memory)) == 3


def test_an_unmapped_stack_ends_the_walk(platform, code):
    stack = AddressRange(0x7000_0000, 0x7000_1000)
    state = registers(rip=code, rsp=stack.start, rbp=stack.start + 32)
    assert len(walk(platform, state, stack)) == 1


def test_a_register_state_on_another_stack_is_followed(platform, stack_memory, code):
    outer = link(stack_memory, 64, 0, code, platform)
    inner = link(stack_memory, 32, outer, code, platform)
    state = registers(rip=code, rsp=stack_memory.start, rbp=inner)
    elsewhere = AddressRange(0x7000_0000, 0x7000_1000)
    assert len(walk(platform, state, elsewhere)) == 3


WORDS = st.one_of(
    st.integers(0, 63).map(lambda slot: ("stack", 8 * slot)),
    st.integers(0, 15).map(lambda offset: ("code", offset)),
    st.sampled_from([0, 1, (1 << 64) - 1, 1 << 47, 0xFFFF_8000_0000_0000]).map(
        lambda value: ("value", value)
    ),
    st.integers(0, (1 << 64) - 1).map(lambda value: ("value", value)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, min_size=64, max_size=64), WORDS, WORDS)
def test_any_stack_at_all_gives_a_finite_rising_trace(
    platform, stack_memory, code, words, frame_pointer, stack_pointer
):
    bases = {"stack": stack_memory.start, "code": code, "value": 0}

    def value(word):
        return bases[word[0]] + word[1] & (1 << 64) - 1

    content = b"".join(value(word).to_bytes(8, "little") for word in words)
    platform.machine.memory.write(stack_memory.start, content)
    state = registers(rip=code, rsp=value(stack_pointer), rbp=value(frame_pointer))
    frames = walk(platform, state, AddressRange.of_size(stack_memory.start, len(content)))
    assert 1 <= len(frames) <= 64
    pointers = [frame.stack_pointer for frame in frames]
    assert pointers == sorted(set(pointers))
