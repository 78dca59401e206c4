"""Relocatable objects as GCC, G++ and rustc write them: linked at run time, they run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import Image, ImageError, Platform
from theseus_kit.image.opening import open_image
from theseus_kit.values.linkage import CFunction, CObject
from theseus_kit.values.memory import AddressRange, MapRequest

Compile = Callable[..., Path]
ZLIB = Path("/usr/lib/x86_64-linux-gnu/libz.a")
COMMANDS = {
    "c": ("gcc", "-c", "-O1", "-g"),
    "cpp": ("g++", "-c", "-O1", "-g"),
    "rs": ("rustc", "--emit=obj", "--crate-type=lib", "-Copt-level=1", "-Cpanic=abort", "-g"),
}


def works(compiler: str) -> bool:
    """A compiler may be a launcher of toolchains, with none installed."""
    return subprocess.run([compiler, "--version"], capture_output=True).returncode == 0


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles a source to a relocatable object, where its compiler is present."""

    def compile_source(source: str, *flags: str, name: str = "object", language: str = "c") -> Path:
        command = COMMANDS[language]
        if shutil.which(command[0]) is None or not works(command[0]):
            pytest.skip(f"{command[0]} is not on this machine")
        path = tmp_path / f"{name}.{language}"
        path.write_text(source)
        output = tmp_path / f"{name}.o"
        done = subprocess.run(
            [*command, *flags, path, "-o", output], capture_output=True, text=True, timeout=120
        )
        if "unrecognized" in done.stderr:
            pytest.skip(f"this {command[0]} does not know {flags}")
        assert done.returncode == 0, done.stderr
        return output

    return compile_source


EVERYTHING = """
extern unsigned long strlen(const char *);
extern int provided(int), number;
extern __attribute__((weak)) int absent(void);
typedef long function(void);

static int order[4], constructed;
__attribute__((constructor(101))) static void first(void) { order[constructed++] = 1; }
__attribute__((constructor(102))) static void second(void) { order[constructed++] = 2; }
long constructors(void) { return constructed * 100 + order[0] * 10 + order[1]; }

static const char *words[] = {"one", "three", "five"};
long lengths(void) { return strlen(words[0]) * 100 + strlen(words[1]) * 10 + strlen(words[2]); }

__thread long counter = 40;
static __thread long zeroed;
long count(void) { return ++counter * 10 + ++zeroed; }

static long fast(void) { return 7; }
static function *choose(void) { return fast; }
long chosen(void) __attribute__((ifunc("choose")));
static function *const table[] = {chosen, constructors};
long calls(void) { return chosen() * 10000 + table[0]() * 1000 + table[1](); }

int common[8];
long outside(void) { common[3] = 1; return (absent ? absent() : 5) + provided(common[3]); }
long jumps(long n) {
    switch (n) {
    case 0: return provided(1);
    case 1: return provided(20) + 1;
    case 2: return common[2];
    case 3: return provided(40) - 4;
    case 4: return counter;
    default: return -1;
    }
}
"""
CODE_MODELS = {
    "default": (),
    "position independent": ("-fPIC",),
    "no PLT": ("-fPIC", "-fno-plt"),
    "large": ("-mcmodel=large", "-fno-pic"),
    "large, position independent": ("-mcmodel=large", "-fPIC"),
    "a section for each": ("-fPIC", "-ffunction-sections", "-fdata-sections"),
    "descriptors": ("-fPIC", "-mtls-dialect=gnu2"),
    "initial-exec": ("-fPIC", "-ftls-model=initial-exec"),
    "common symbols": ("-fcommon",),
    "compressed debug information": ("-gz=zlib",),
    "unoptimised": ("-O0",),
    "optimised": ("-O3", "-fPIC"),
}


@pytest.mark.parametrize("flags", CODE_MODELS.values(), ids=CODE_MODELS)
def test_a_compiled_object_works_in_every_code_model(
    flags: tuple[str, ...], compiled: Compile, platform: Platform
) -> None:
    platform.namespace.provide("test", CFunction("int provided(int x)", lambda x: x * 3))
    image = platform.load(compiled(EVERYTHING, *flags), strict=True)
    assert image.call("constructors") == 212
    assert image.call("lengths") == 354
    assert [image.call("count") for _ in range(2)] == [411, 422]
    assert image.call("calls") == 77212
    assert image.call("outside") == 8
    assert [image.call("jumps", n) for n in range(5)] == [3, 61, 0, 116, 42]


@pytest.mark.parametrize("flags", CODE_MODELS.values(), ids=CODE_MODELS)
def test_what_is_linked_is_a_shared_object_to_other_tools(
    flags: tuple[str, ...], compiled: Compile, tmp_path: Path
) -> None:
    # glibc takes thread-local variables at fixed 32-bit offsets from executables only.
    dialect = () if "-fPIC" in flags else ("-D__thread=",)
    path = compiled("int provided(int x) { return x * 3; }" + EVERYTHING, *flags, *dialect)
    linked = tmp_path / "linked.so"
    with open_image(path) as elf:
        linked.write_bytes(elf.contents)
    if shutil.which("readelf") is not None:
        read = subprocess.run(["readelf", "-aW", linked], capture_output=True, timeout=60)
        assert read.stderr == b""
    # The host's dynamic loader, in a process of its own: a mistake may well end it.
    script = (
        "import ctypes, sys; i = ctypes.CDLL(sys.argv[1]); print(i.calls(), i.outside(), i.count())"
    )
    command = [sys.executable, "-c", script, linked]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout == "77212 8 411\n", run.stderr


def test_a_variable_is_shared_by_an_object_and_a_plugin(
    compiled: Compile, platform: Platform
) -> None:
    platform.namespace.provide("test", CObject("number", (20).to_bytes(4, "little")))
    source = "extern int number; int next(void) { return ++number; }"
    image = platform.load(compiled(source, "-fPIC"))
    assert [image.call("next") for _ in range(2)] == [21, 22]


def test_absolute_addresses_are_refused_with_the_remedy(
    compiled: Compile, platform: Platform
) -> None:
    source = "static int table[9]; int *f(int n) { return table + n; }"
    path = compiled(source, "-fno-pic", "-mcmodel=small")
    with pytest.raises(ImageError, match=r"object\.o: section \.text at .*R_X86_64_32S? .*-fPIC"):
        platform.load(path)


CLASSES = """
inline int &shared() { static int value = 10; return value; }
template <typename T> T twice(T value) { return value * 2; }
struct Base { virtual int id() const { return 1; } virtual ~Base() {} };
struct Derived : Base {
    __attribute__((noinline)) int id() const override { return shared() + twice(IDENTITY); }
};
extern "C" int ENTRY() { Derived d; const Base &b = d; shared()++; return b.id(); }
"""


def test_inline_variables_of_cpp_exist_once_among_objects(
    compiled: Compile, platform: Platform
) -> None:
    def load(entry: str, number: int) -> Image:
        flags = (f"-DENTRY={entry}", f"-DIDENTITY={number}", "-fno-exceptions")
        return platform.load(compiled(CLASSES, *flags, name=entry, language="cpp"))

    platform.namespace.provide("test", CFunction("void _ZdlPvm(void *p, size_t n)", lambda p, n: 0))
    platform.namespace.provide(
        "test", CObject("_ZTVN10__cxxabiv120__si_class_type_infoE", bytes(99))
    )
    platform.namespace.provide("test", CObject("_ZTVN10__cxxabiv117__class_type_infoE", bytes(99)))
    first, second = load("first", 100), load("second", 1000)
    assert first.call("first") == 11 + 200
    # The copies of Derived differ, which the language forbids; so one of them being used shows.
    assert second.call("second") == 12 + 200
    with pytest.raises(ImageError, match=r"first\.o: is in use by second\.o"):
        platform.namespace.unload(first)


STATIC_OBJECTS = """
extern "C" void note(int);
struct Noisy {
    int number;
    Noisy(int number) : number(number) { note(number); }
    ~Noisy() { note(-number); }
};
static Noisy first(1), second(2);
"""


def test_destructors_of_cpp_run_when_the_object_is_unloaded(
    compiled: Compile, platform: Platform
) -> None:
    noted: list[int] = []
    platform.namespace.provide("test", CFunction("void note(int n)", noted.append))
    image = platform.load(compiled(STATIC_OBJECTS, "-fno-exceptions", language="cpp"), strict=True)
    assert noted == [1, 2]
    platform.namespace.unload(image)
    assert noted == [1, 2, -2, -1]


RUST = """
#![no_std]
extern "C" { fn provided(x: i32) -> i32; }
static TABLE: [fn(i32) -> i32; 2] = [double, triple];
fn double(x: i32) -> i32 { x * 2 }
fn triple(x: i32) -> i32 { x * 3 }
#[no_mangle] pub extern "C" fn apply(n: usize, x: i32) -> i32 {
    unsafe { provided(TABLE[n & 1](x)) }
}
pub fn visible(x: i32) -> i32 { double(x) + 1 }
"""


def test_an_object_of_rustc_runs_and_its_symbols_are_found_without_their_hash(
    compiled: Compile, platform: Platform
) -> None:
    platform.namespace.provide("test", CFunction("int provided(int x)", lambda x: x + 1))
    image = platform.load(compiled(RUST, language="rs"))
    assert (image.call("apply", 0, 5), image.call("apply", 1, 5)) == (11, 16)
    names = [name for name in image.symbols if "7visible" in name]
    found = platform.namespace.get_symbol_starting_with(names[0][:-17])
    assert found is not None
    assert (found.name, found.image) == (names[0], image)


def test_the_objects_of_zlib_are_linked_and_compress_as_the_hosts_does(
    tmp_path: Path, platform: Platform
) -> None:
    if not ZLIB.exists() or shutil.which("ar") is None:
        pytest.skip("zlib's archive of objects is not on this machine")
    subprocess.run(["ar", "x", ZLIB], cwd=tmp_path, check=True, timeout=60)
    image = platform.namespace.link(sorted(tmp_path.glob("*.o")))
    text = b"what a port stands on " * 200
    buffer = platform.hooks.memory_map(request=MapRequest(1 << 16)).base
    memory = platform.machine.memory
    memory.write(buffer, text)
    assert image.call("crc32", 0, buffer, len(text)) == zlib.crc32(text)
    target, length = buffer + (1 << 15), buffer + (1 << 14)
    memory.write_u64(length, 1 << 14)
    assert image.call("compress", target, length, buffer, len(text)) == 0
    assert zlib.decompress(memory.read(target, memory.read_u64(length))) == text


def test_objects_with_a_cycle_are_linked_together(compiled: Compile, platform: Platform) -> None:
    even = compiled(
        "int odd(unsigned n); int even(unsigned n) { return n == 0 || odd(n - 1); }", name="even"
    )
    odd = compiled(
        "int even(unsigned n); int odd(unsigned n) { return n != 0 && even(n - 1); }", name="odd"
    )
    image = platform.namespace.link([even, odd], strict=True)
    assert image.name == "even.o"
    assert [image.call("even", n) for n in range(4)] == [1, 0, 1, 0]


DEEP = """
extern long stop(void);
static __attribute__((noinline)) long inner(long n) {
    volatile char room[300];
    room[0] = n;
    return n ? inner(n - 1) + room[0] : stop() + room[0];
}
long outer(long n) { return inner(n) + 1; }
"""


def test_a_backtrace_names_the_functions_of_an_object_and_crosses_its_stubs(
    compiled: Compile, platform: Platform
) -> None:
    traces: list[list[str | None]] = []

    def stop() -> int:
        traces.append([e.symbols[0].name if e.symbols else None for e in platform.backtrace()])
        return 0

    platform.namespace.provide("test", CFunction("long stop(void)", stop, reenters=True))
    image = platform.load(compiled(DEEP, "-O1", "-fPIC", "-fomit-frame-pointer"))
    image.call("outer", 2)
    names = [name for name in traces[0] if name in ("inner", "outer")]
    assert names == ["inner", "inner", "inner", "outer"]


def test_a_stack_is_walked_from_inside_a_stub(compiled: Compile, platform: Platform) -> None:
    image = platform.load(compiled("long stop(void); long f(void) { return stop() + 1; }"))
    found = platform.namespace.get_section_containing_address(
        next(image.base + s.address for s in image.sections() if s.name == ".plt")
    )
    assert found is not None
    stub = found[0]
    assert stub.name == "stop@plt"
    task = platform.tasks.current
    stack = AddressRange(task.stack.end - 4096, task.stack.end)
    memory = platform.machine.memory
    memory.write_u64(stack.start + 64, image.symbol("f") + 1)
    registers = platform.machine.registers()
    registers.rip, registers.rsp = stub.range.start, stack.start + 64
    frames = list(platform.hooks.unwind_frames(registers=registers, stack=stack, is_exact=True))
    assert frames[0].canonical_frame_address == stack.start + 72
    assert frames[1].instruction_pointer == image.symbol("f") + 1


def test_an_object_s_debug_information_tells_source_lines(
    compiled: Compile, platform: Platform
) -> None:
    import io

    from elftools.elf.elffile import ELFFile

    one = compiled("int f(int x)\n{\n    return x + 1;\n}\n", name="one")
    two = compiled("int g(int x)\n{\n\n    return x + 2;\n}\n", name="two")
    image = platform.namespace.link([one, two])
    dwarf = ELFFile(io.BytesIO(bytes(image.file))).get_dwarf_info(relocate_dwarf_sections=False)
    lines = {
        (entry.state.address + image.base, entry.state.line)
        for unit in dwarf.iter_CUs()
        for entry in dwarf.line_program_for_CU(unit).get_entries()
        if entry.state is not None
    }
    assert (image.symbol("f"), 2) in lines
    assert (image.symbol("g"), 2) in lines


def test_an_object_s_needs_are_listed_without_loading_it(
    compiled: Compile, platform: Platform
) -> None:
    needs = platform.needs(compiled(EVERYTHING, "-fPIC", "-fno-builtin"))
    by_name = {symbol.name: symbol for symbol in needs.symbols}
    assert set(by_name) == {"__tls_get_addr", "absent", "provided", "strlen"}
    assert by_name["absent"].weak
    assert by_name["strlen"].provider == "tlibc"
