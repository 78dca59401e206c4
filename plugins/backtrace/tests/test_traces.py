"""Whole traces: guest code, WebAssembly, Python, and why a trace ends."""

import random
import struct

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import Registers
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import AddressRange, MapRequest
from theseus_kit.values.symbols import FrameKind, RuntimeCode

GUEST, WASM = FrameKind.GUEST, FrameKind.WASM
HOST, TRANSITION = FrameKind.HOST, FrameKind.TRANSITION
UNWINDERS = ["backtrace", "backtrace-frame-pointers"]

CALLS = """
extern void python(int n);
__attribute__((noinline)) void inner(int n) { python(n); __asm__ volatile(""); }
void outer(int n) { inner(n); __asm__ volatile(""); }
"""
FLAGS = ("-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
WAT = """
    (module (import "" "host" (func $host))
      (func $inner (call $host) (call $host))
      (func (export "run") (call $inner)))
"""


def kinds(trace):
    """The kinds of a trace's frames, runs of one kind taken together."""
    found = []
    for entry in trace:
        if not found or found[-1] is not entry.frame.kind:
            found.append(entry.frame.kind)
    return found


def names(trace):
    return [symbol.display_name for entry in trace for symbol in entry.symbols]


@pytest.fixture(params=[(m, u) for m in machine_names() for u in UNWINDERS], ids="-".join)
def traced(request):
    machine, unwinder = request.param
    with assemble(["region", "signals", unwinder, "path", "tlibc"], machine=machine) as platform:
        yield platform


def test_one_trace_goes_through_nested_calls_in_order(traced, compile_image):
    traces = []

    def python(n):
        if n:
            image.call("outer", n - 1)
        else:
            traces.append(traced.backtrace())

    traced.namespace.provide("test", CFunction("void python(int n)", python, reenters=True))
    image = traced.load(compile_image("calls", CALLS, *FLAGS))
    image.call("outer", 2)
    (trace,) = traces
    assert [name for name in names(trace) if not name.startswith("0x")] == (
        ["python", "inner", "outer"] * 3
    )
    assert kinds(trace) == [HOST, GUEST, TRANSITION] * 3
    assert all(entry.frame.end_reason is None for entry in trace)


def test_nothing_running_has_no_trace(any_platform):
    assert any_platform.backtrace() == ()


@pytest.mark.parametrize("debug_info", [False, True])
def test_wasm_frames_have_names_and_with_debug_info_positions(any_platform, debug_info):
    wasmtime = any_platform.wasmtime
    config = wasmtime.Config()
    config.debug_info = debug_info
    store = wasmtime.Store(wasmtime.Engine(config))
    module = wasmtime.Module(store.engine, WAT)
    traces = []

    def host():
        traces.append(any_platform.backtrace())

    function = wasmtime.Func(store, wasmtime.FuncType([], []), host)
    wasmtime.Instance(store, module, [function]).exports(store)["run"](store)
    trace = traces[0]
    assert kinds(trace) == [HOST, GUEST, WASM, GUEST, TRANSITION]
    wasm = [entry for entry in trace if entry.frame.kind is WASM]
    symbols = [entry.symbols[-1] for entry in wasm]
    inner = next(symbol for symbol in symbols if symbol.name.endswith("inner"))
    if debug_info:
        assert inner.name == "inner"
        assert inner.file.endswith(".wasm")
        first, second = (
            next(e.symbols[-1] for e in t if e.symbols and e.symbols[-1].name == "inner")
            for t in traces
        )
        assert 0 < first.line < second.line
    else:
        assert inner.name == "wasm[0]::function[1]::inner"
        assert inner.line is None


def test_a_module_in_the_place_of_another_has_its_own_names(any_platform):
    wasmtime = any_platform.wasmtime
    seen = []
    for name in ("first", "other"):
        store = wasmtime.Store(wasmtime.Engine())
        module = wasmtime.Module(store.engine, WAT.replace("$inner", f"${name}"))
        function = wasmtime.Func(
            store, wasmtime.FuncType([], []), lambda: seen.append(names(any_platform.backtrace()))
        )
        wasmtime.Instance(store, module, [function]).exports(store)["run"](store)
        del store, module, function
    assert any("first" in name for name in seen[0])
    assert any("other" in name for name in seen[-1])
    assert not any("first" in name for name in seen[-1])


def jit_elf(text_address, text_size, name):
    """An ELF file with one function, as a JIT hands it to a debugger."""
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    strings = b"\0" + name + b"\0"
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, text_address, text_size)
    offsets = [0x40, 0x40 + len(symbols), 0x40 + len(symbols) + len(strings)]
    table = offsets[2] + len(names)
    row = struct.Struct("<IIQQQQIIQQ")
    rows = [
        bytes(64),
        row.pack(1, 8, 6, text_address, 0, text_size, 0, 0, 1, 0),
        row.pack(7, 2, 0, 0, offsets[0], len(symbols), 3, 1, 8, 24),
        row.pack(15, 3, 0, 0, offsets[1], len(strings), 0, 0, 1, 0),
        row.pack(23, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0),
    ]
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(3, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, len(rows), 4),
    )
    return header + symbols + strings + names + b"".join(rows)


DESCRIPTOR = """
struct entry { struct entry *next, *prev; const void *file; unsigned long size; };
static struct { unsigned version, action; struct entry *relevant, *first; }
    __jit_debug_descriptor __attribute__((used)) = {1, 0, 0, 0};
static struct entry entry;
void publish(const void *file, unsigned long size)
{
    entry.file = file; entry.size = size;
    __jit_debug_descriptor.first = &entry;
}
void corrupt(void *somewhere) { entry.next = somewhere; }
void loop(void) { entry.next = &entry; }
"""


@pytest.fixture
def jit(any_platform, compile_image):
    """Run-time code that names nothing, and a page to put its ELF file into."""
    image = any_platform.load(compile_image("jit", DESCRIPTOR))
    code = any_platform.hooks.memory_map(request=MapRequest(4096, label="code")).base
    page = any_platform.hooks.memory_map(request=MapRequest(4096, label="file")).base
    file = jit_elf(code, 256, b"made_at_run_time")
    any_platform.machine.memory.write(page, file)
    return image, code, page, file


def test_code_on_gdbs_list_has_its_names(any_platform, jit):
    image, code, page, file = jit
    assert any_platform.hooks.symbolicate(address=code + 5) == ()
    image.call("publish", page, len(file))
    (symbol,) = any_platform.hooks.symbolicate(address=code + 5)
    assert (symbol.name, symbol.address, symbol.offset) == ("made_at_run_time", code, 5)
    image.call("corrupt", 0x10)
    (symbol,) = any_platform.hooks.symbolicate(address=code + 5)
    assert symbol.name == "made_at_run_time"


def test_a_broken_list_of_gdbs_is_no_error(any_platform, jit):
    image, code, _page, _file = jit
    image.call("publish", 0x10, 64)
    assert any_platform.hooks.symbolicate(address=code) == ()
    image.call("loop")
    assert any_platform.hooks.symbolicate(address=code) == ()


def test_registered_run_time_code_may_bring_its_elf_file(any_platform, jit):
    _image, code, _page, file = jit
    text = AddressRange.of_size(code, 256)
    any_platform.hooks.symbols_register(code=RuntimeCode(text, "a JIT's", elf=file))
    (symbol,) = any_platform.hooks.symbolicate(address=code + 5)
    assert (symbol.name, symbol.image) == ("made_at_run_time", "a JIT's")


@pytest.mark.parametrize("kept", range(0, 400, 16))
def test_a_truncated_elf_file_leaves_the_label(any_platform, jit, kept):
    _image, code, _page, file = jit
    text = AddressRange.of_size(code, 256)
    any_platform.hooks.symbols_register(code=RuntimeCode(text, "a JIT's", elf=file[:kept]))
    (symbol,) = any_platform.hooks.symbolicate(address=code + 5)
    assert symbol.name == "a JIT's"


SMASH = """
extern void python(int n);
__attribute__((noinline)) void smash(unsigned long value)
{
    volatile unsigned long words[2] = {1, 2};
    for (int n = 2; n < 12; n++) words[n] = value;
    python(words[0]);
    __builtin_trap();
}
void outer(unsigned long value) { volatile long room[64]; room[0] = 1; smash(value); room[1] = 2; }
"""


@pytest.mark.parametrize("value", [1, 0x4141414141414141, (1 << 64) - 1])
def test_a_smashed_stack_gives_a_short_trace_with_its_reason(traced, compile_image, value):
    traced.namespace.provide("test", CFunction("void python(int n)", lambda n: None))
    image = traced.load(compile_image("smash", SMASH, *FLAGS, "-w", "-fno-stack-protector"))
    with pytest.raises(GuestKilled, match="Exception 0x6") as caught:
        image.call("outer", value)
    trace = caught.value.backtrace
    assert names(trace)[0] == "smash"
    assert len(trace) < 5
    assert trace[-1].frame.end_reason


def test_a_walk_that_was_limited_says_so(any_platform, compile_image):
    image = any_platform.load(compile_image("calls", CALLS, *FLAGS))
    page = any_platform.hooks.memory_map(request=MapRequest(4096)).range
    data = b""
    for slot in range(100):
        data += struct.pack("<QQ", page.start + 16 * (slot + 1), image.symbols["outer"] + 1)
    any_platform.machine.memory.write(page.start, data)
    state = Registers(rip=page.start, rsp=page.start, rbp=page.start)
    frames = list(any_platform.hooks.unwind_frames(registers=state, stack=page, is_exact=True))
    assert frames[-1].end_reason


TRAPS = """
__attribute__((noinline)) int traps(int n) { if (n) __builtin_trap(); return n; }
int outer(int n) { volatile int room[9]; room[1] = n; return traps(n) + room[1]; }
"""


@pytest.mark.parametrize("seed", range(12))
def test_broken_unwind_tables_never_hide_what_happened(
    dwarf_platform, compile_image, tmp_path, seed
):
    chosen = random.Random(seed)
    contents = bytearray(compile_image("traps", TRAPS, "-O1").read_bytes())
    whole = dwarf_platform.load(compile_image("traps", TRAPS, "-O1"))
    sections = [s for s in whole.sections() if s.name.startswith(".eh_frame")]
    for _ in range(1 << seed % 6):
        section = chosen.choice(sections)
        contents[section.offset + chosen.randrange(section.size)] = chosen.randrange(256)
    path = tmp_path / "broken.so"
    path.write_bytes(contents)
    image = dwarf_platform.load(path)
    with pytest.raises(GuestKilled, match="Exception 0x6") as caught:
        image.call("outer", 1)
    trace = caught.value.backtrace
    assert names(trace)[0] == "traps"
    assert len(trace) < 100
