"""The walk by unwind tables: right for code without frame pointers, short on smashed stacks."""

import ctypes
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import GuestKilled
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.memory import AddressRange, BytesBacking, MapRequest, Protection

# Functions of different frames that call each other as a pseudo-random sequence has it, each
# noting its own return address: a shadow stack to compare a walk with.
SHADOWED = """
typedef unsigned long word;
typedef word (*visitor)(void);
struct shadow { visitor visit; word depth, limit, seed, calls[512]; };
word next(struct shadow *s);
#define NOTE s->calls[s->depth++] = (word)__builtin_return_address(0)
#define END s->depth--; __asm__ volatile("" ::: "memory")
#define F(name, body) \\
    __attribute__((noinline)) word name(struct shadow *s) { NOTE; word r; body END; return r + 1; }
F(plain, r = next(s);)
F(large, volatile word a[300]; a[s->depth % 300] = 1; r = next(s) + a[s->depth % 300];)
F(variable, word n = s->seed % 64 + 1; volatile word a[n]; a[n - 1] = 2; r = next(s) + a[n - 1];)
F(saving, word a = s->seed; word b = a * 3; word c = a ^ 5; word d = b - 7; word e = a << 3;
    r = next(s); r += a + b * c - d + e; r += next == 0;)
F(aligned, volatile struct { word a[8]; } __attribute__((aligned(64))) v; v.a[0] = 1;
    r = next(s) + v.a[0];)
F(many, r = next(s) + ((word(*)(word, word, word, word, word, word, word, word))s->calls == 0);)
typedef word (*function)(struct shadow *);
__attribute__((noinline)) word next(struct shadow *s)
{
    function all[] = {plain, large, variable, saving, aligned, many};
    NOTE;
    word r;
    if (s->depth >= s->limit)
        r = s->visit();
    else {
        s->seed = s->seed * 6364136223846793005UL + 1442695040888963407UL;
        r = all[(s->seed >> 33) % 6](s);
    }
    END;
    return r + 1;
}
word start(struct shadow *s) { word r = next(s); __asm__ volatile(""); return r; }
word trap(void) { __builtin_trap(); }
"""

FRAMELESS = (
    "-O2",
    "-fomit-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-fasynchronous-unwind-tables",
)


class Shadow(ctypes.Structure):
    _fields_ = [
        ("visit", ctypes.c_uint64),
        ("depth", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("calls", ctypes.c_uint64 * 512),
    ]


@pytest.fixture(scope="module")
def image(dwarf_platform, compile_image):
    return dwarf_platform.load(compile_image("shadowed", SHADOWED, *FRAMELESS))


@pytest.fixture(scope="module")
def page(dwarf_platform):
    return dwarf_platform.hooks.memory_map(request=MapRequest(16384, label="a test's")).range


def walk(platform, state, stack):
    return list(platform.hooks.unwind_frames(registers=state, stack=stack, is_exact=True))


@pytest.mark.parametrize("seed", range(30))
def test_a_walk_agrees_with_a_shadow_stack(dwarf_platform, image, page, seed):
    platform = dwarf_platform
    traces = []

    def visit():
        state = platform.machine.registers()
        data = platform.machine.memory.read(page.start, ctypes.sizeof(Shadow))
        calls = Shadow.from_buffer_copy(data)
        traces.append((walk(platform, state, platform.tasks.current.stack), calls))
        return 0

    shadow = Shadow(visit=platform.machine.export(visit, 0), limit=40 + 10 * seed, seed=seed)
    platform.machine.memory.write(page.start, bytes(shadow))
    image.call("start", page.start)
    ((frames, seen),) = traces
    called = [seen.calls[index] for index in reversed(range(seen.depth))]
    # The innermost frame is the visitor's caller, which the shadow does not know.
    assert [frame.instruction_pointer for frame in frames[1 : 1 + len(called)]] == called
    for frame, outer in pairwise(frames):
        assert frame.canonical_frame_address == outer.stack_pointer


def test_each_frame_has_its_functions_start(dwarf_platform, image, page):
    platform = dwarf_platform
    starts = []

    def visit():
        frames = platform.hooks.unwind_frames(
            registers=platform.machine.registers(),
            stack=platform.tasks.current.stack,
            is_exact=False,
        )
        starts.extend(frame.function_start for frame in frames)
        return 0

    shadow = Shadow(visit=platform.machine.export(visit, 0), limit=1)
    platform.machine.memory.write(page.start, bytes(shadow))
    image.call("start", page.start)
    assert starts[:2] == [image.symbols["next"], image.symbols["start"]]


def test_a_fault_in_an_images_function_is_an_exact_frame(fresh_dwarf_platform, compile_image):
    image = fresh_dwarf_platform.load(compile_image("shadowed", SHADOWED, *FRAMELESS))
    with pytest.raises(GuestKilled) as caught:
        image.call("trap")
    frame = caught.value.backtrace[0].frame
    assert frame.is_exact
    assert frame.function_start == image.symbols["trap"]


def test_the_whole_stack_below_a_wasm_host_function_is_seen(dwarf_platform):
    wasmtime = dwarf_platform.wasmtime
    store = wasmtime.Store(wasmtime.Engine())
    text = """
        (module (import "" "host" (func $host))
          (func $inner (call $host) (call $host))
          (func (export "run") (call $inner)))
    """
    module = wasmtime.Module(store.engine, text)
    traces = []
    host = wasmtime.Func(
        store, wasmtime.FuncType([], []), lambda: traces.append(dwarf_platform.backtrace())
    )
    wasmtime.Instance(store, module, [host]).exports(store)["run"](store)
    first, second = traces
    names = [symbol.name for entry in first for symbol in entry.symbols]
    assert "wasmtime_func_call" in names
    in_images = [
        dwarf_platform.namespace.image_at(entry.frame.instruction_pointer) is not None
        for entry in first[1:]  # the host function itself comes first
    ]
    # Library, then the module's own frames (trampoline, $inner, run), then the library again.
    assert in_images.index(False) >= 1
    assert in_images[in_images.index(False) :].index(True) >= 3
    # Both calls are made from $inner: one frame differs, at another place of the same function.
    pointers = [[entry.frame.instruction_pointer for entry in trace] for trace in (first, second)]
    assert sum(one != other for one, other in zip(*pointers, strict=True)) == 1


def test_unwind_tables_of_run_time_code_are_used_until_unregistered(dwarf_platform, page):
    # A function without a frame pointer: sub rsp, 24; mov rax, imm64; call rax; add rsp, 24; ret
    platform = dwarf_platform
    traces = []
    export = platform.machine.export(
        lambda: traces.append([entry.frame for entry in platform.backtrace()[1:]]), 0
    )
    code = bytes.fromhex("4883ec18 48b8") + export.to_bytes(8, "little")
    code += bytes.fromhex("ffd0 4883c418 c3")
    request = MapRequest(4096, Protection.READ_EXECUTE, backing=BytesBacking(code), label="jitted")
    function = platform.hooks.memory_map(request=request).base
    # An .eh_frame: CIE (zR, absolute; CFA = rsp + 8, return address at CFA - 8), then an FDE
    # that adds 24 to the CFA from its fifth byte on.
    cie = bytes.fromhex("00000000 01 7a5200 01 78 10 01 00 0c0708 9001 000000")
    program = bytes.fromhex("00 44 0e20 00000000")
    body = function.to_bytes(8, "little") + len(code).to_bytes(8, "little") + program
    table = len(cie).to_bytes(4, "little") + cie
    pointer = len(table) + 4
    table += (len(body) + 4).to_bytes(4, "little") + pointer.to_bytes(4, "little") + body + bytes(4)
    platform.machine.memory.write(page.start, table)

    platform.machine.call(function)
    platform.hooks.unwind_register_tables(frame_table=page.start)
    platform.machine.call(function)
    platform.hooks.unwind_unregister_tables(frame_table=page.start)
    platform.machine.call(function)
    without, with_tables, again = traces
    assert with_tables[0].function_start == function
    assert with_tables[0].canonical_frame_address == with_tables[0].stack_pointer + 32
    assert without[0].function_start is again[0].function_start is None
    assert [frame.stack_pointer for frame in without] == [frame.stack_pointer for frame in again]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offset=st.integers(0, 4000),
    pointer=st.integers(0, 500),
    words=st.lists(st.integers(0, 4000) | st.integers(0, (1 << 64) - 1), min_size=64, max_size=64),
)
def test_any_registers_and_stack_give_a_finite_rising_trace(
    dwarf_platform, image, page, offset, pointer, words
):
    text = image.symbols["next"] & -4096
    content = b"".join(
        (word + text if word <= 4000 else word).to_bytes(8, "little") for word in words
    )
    dwarf_platform.machine.memory.write(page.start, content)
    state = Registers(rip=text + offset, rsp=page.start + pointer, rbp=page.start + pointer)
    frames = walk(dwarf_platform, state, AddressRange.of_size(page.start, len(content)))
    assert 1 <= len(frames) <= 1000
    pointers = [frame.stack_pointer for frame in frames]
    assert pointers == sorted(set(pointers))


@pytest.mark.parametrize("stack_pointer", [0, 1, 1 << 47, (1 << 64) - 8])
def test_a_stack_pointer_into_nowhere_ends_the_walk(dwarf_platform, image, stack_pointer):
    state = Registers(rip=image.symbols["start"], rsp=stack_pointer, rbp=stack_pointer)
    assert len(walk(dwarf_platform, state, AddressRange(0, 1))) == 1
