"""Our frames against gdb's, at random stops in the Wasmtime library while it compiles a module.

The library runs twice: loaded by the host in a process under gdb, and as a guest. Breakpoints are
the same offsets in both, chosen at random among the instructions of random functions. How many
there are is the environment variable THESEUS_KIT_GDB_STOPS, 100 unless it is set.
"""

import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import capstone
import pytest

from theseus_kit.assembly import assemble
from theseus_kit.runtime.wheel import find_wheel
from theseus_kit.values.exceptions import VECTOR_BREAKPOINT, ExceptionCategory
from theseus_kit.values.memory import MapRequest, Protection
from theseus_kit.values.symbols import FrameKind

DATA = Path(__file__).with_name("data")
STOPS = int(os.environ.get("THESEUS_KIT_GDB_STOPS", "100"))
STOPS_A_ROUND = 100
CANDIDATES = 4000
"""Breakpoints set in a round; most functions are never called. With more gdb takes for ever."""
PLUGINS = ["region", "signals-persistent", "backtrace", "path", "tlibc"]
WAT = b'(module (func (export "f") (param i32) (result i32) local.get 0 i32.const 3 i32.mul))'
INT3 = b"\xcc"


@pytest.fixture(scope="module", params=range(max(1, STOPS // STOPS_A_ROUND)))
def seed(request):
    return request.param


@pytest.fixture(scope="module")
def platform(seed):
    # Native: a host of the same CPU takes the same ways through the library.
    options = {"backtrace": {"max_frames": 300}}
    with assemble(PLUGINS, machine="native", options=options) as platform:
        yield platform


@pytest.fixture(scope="module")
def library(platform):
    return platform.load(find_wheel().library)


@pytest.fixture(scope="module")
def offsets(library, seed):
    """Instructions to stop at, as offsets in the library."""
    chosen = random.Random(seed)
    section = next(s for s in library.sections() if s.name == ".symtab")
    functions = _functions(library, section)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = set()
    for address, size in chosen.sample(functions, min(CANDIDATES, len(functions))):
        segment = library.segment_at(library.base + address)
        start = segment.offset + address - segment.address
        code = library.file[start : start + min(size, 400)]
        lines = [line[0] for line in disassembler.disasm_lite(code, address)]
        found.add(chosen.choice(lines[:40]))
    return sorted(found)


def _functions(library, section):
    entries = struct.iter_unpack(
        "<IBBHQQ", library.file[section.offset : section.offset + section.size]
    )
    return [(value, size) for _, info, _, index, value, size in entries if info & 15 == 2 and size]


@pytest.fixture(scope="module")
def gdb_stops(tmp_path_factory, offsets):
    gdb, compiler = shutil.which("gdb"), shutil.which("cc")
    if gdb is None or compiler is None:
        pytest.skip("needs gdb and a C compiler")
    directory = tmp_path_factory.mktemp("gdb")
    program, result = directory / "compile_module", directory / "stops.json"
    source = DATA / "compile_module.c"
    subprocess.run([compiler, "-g", "-w", "-o", program, source, "-ldl"], check=True)
    (directory / "offsets.json").write_text(json.dumps(offsets))
    command = [gdb, "-batch", "-nx", "-ex", f'set $offsets = "{directory}/offsets.json"']
    command += ["-ex", f'set $result = "{result}"', "-x", str(DATA / "gdb_stops.py"), "--args"]
    command += [str(program), str(find_wheel().library), WAT.decode()]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if not result.exists():
        pytest.skip(f"gdb cannot run programs here: {answer.stderr[-300:]}")
    return json.loads(result.read_text())


def our_stops(platform, library, offsets):
    """Compile the same module as a guest, with the same breakpoints."""
    memory, hooks = platform.machine.memory, platform.hooks
    stops, original = [], {}
    text = next(s for s in library.sections() if s.name == ".text")
    start, size = library.base + text.address & -4096, text.size + 8192 & -4096

    def poke(changes):
        hooks.memory_protect(address=start, size=size, protection=Protection.READ_WRITE)
        for address, byte in changes:
            memory.write(address, byte)
        hooks.memory_protect(address=start, size=size, protection=Protection.READ_EXECUTE)

    for offset in offsets:
        original[library.base + offset] = memory.read(library.base + offset, 1)

    def stopped(context):
        address = context.registers.rip - 1
        if context.vector != VECTOR_BREAKPOINT or address not in original:
            return False
        context.registers.rip = address
        frames = hooks.unwind_frames(
            registers=context.registers, stack=platform.tasks.current.stack, is_exact=True
        )
        stops.append([frame for frame in frames if frame.kind is FrameKind.GUEST])
        poke([(address, original.pop(address))])
        return True

    hooks.exception_register(
        task=platform.tasks.current, category=ExceptionCategory.BREAKPOINT, handler=stopped
    )
    page = hooks.memory_map(request=MapRequest(4096)).base
    memory.write(page, WAT)
    poke([(address, INT3) for address in original])
    config = library.call("wasm_config_new")
    library.call("wasmtime_config_parallel_compilation_set", config, 0)
    engine = library.call("wasm_engine_new_with_config", config)
    assert library.call("wasmtime_wat2wasm", page, len(WAT), page + 1024) == 0
    size_, data = memory.read_u64(page + 1024), memory.read_u64(page + 1032)
    assert library.call("wasmtime_module_new", engine, data, size_, page + 2048) == 0
    poke(original.items())
    return stops


def test_frames_and_names_are_those_that_gdb_sees(platform, library, offsets, gdb_stops):
    ours = {}
    for frames in our_stops(platform, library, offsets):
        names = [
            next((s.name for s in platform.hooks.symbolicate(address=f.lookup_address)), None)
            for f in frames
        ]
        pointers = [frame.instruction_pointer - library.base for frame in frames]
        ours[pointers[0]] = list(map(list, zip(pointers, names, strict=True)))
    theirs = {frames[0][0]: frames for frames in gdb_stops}
    both = sorted(ours.keys() & theirs.keys())
    assert len(both) >= STOPS_A_ROUND // 2
    different = [offset for offset in both if ours[offset] != theirs[offset]]
    shown = [(ours[offset], theirs[offset]) for offset in different[:3]]
    assert not different, shown
