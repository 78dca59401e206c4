"""Libraries as real tools make them load and run: GCC's, and the host's own."""

from __future__ import annotations

import math
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from theseus_kit import Image, Platform
from theseus_kit.values.linkage import CObject
from theseus_kit.values.memory import MapRequest

Compile = Callable[..., Path]
ZLIB = Path("/lib/x86_64-linux-gnu/libz.so.1")
LIBM = Path("/lib/x86_64-linux-gnu/libm.so.6")


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles C to a shared object, with GCC."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not on this machine")

    def compile_c(source: str, *flags: str, name: str = "library.so") -> Path:
        path = tmp_path / f"{name}.c"
        path.write_text(source)
        output = tmp_path / name
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-nostdlib", "-o", output, path, *flags],
            check=True,
        )
        return output

    return compile_c


EVERYTHING = """
extern unsigned long strlen(const char *);
typedef long function(void);

static int order[4], constructed;
__attribute__((constructor(101))) static void first(void) { order[constructed++] = 1; }
__attribute__((constructor(102))) static void second(void) { order[constructed++] = 2; }
long constructors(void) { return constructed * 100 + order[0] * 10 + order[1]; }

static const char *words[] = {"one", "three", "five"};
long lengths(void) { return strlen(words[0]) * 100 + strlen(words[1]) * 10 + strlen(words[2]); }

__thread long counter = 40;
long count(void) { return ++counter; }

static long fast(void) { return 7; }
static function *choose(void) { return fast; }
long chosen(void) __attribute__((ifunc("choose")));
long call_chosen(void) { return chosen() + 1; }

long exported = 5;
long *pointer = &exported;
long through_pointer(void) { return *pointer; }
static long zeroes[3000];
long sum_of_zeroes(void) { long s = 0; for (int i = 0; i < 3000; i++) s += zeroes[i]; return s; }
"""


def check_everything(image: Image) -> None:
    assert image.call("constructors") == 212
    assert image.call("lengths") == 354
    assert [image.call("count") for _ in range(3)] == [41, 42, 43]
    assert image.call("call_chosen") == 8
    assert image.call("chosen") == 7
    assert image.call("through_pointer") == 5
    assert image.call("sum_of_zeroes") == 0


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-mtls-dialect=gnu2",),
        ("-ftls-model=initial-exec",),
        ("-Wl,-z,pack-relative-relocs",),
        ("-Wl,--hash-style=sysv",),
        ("-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=0x200000"),
        ("-Wl,-z,now", "-Wl,-z,relro"),
        ("-Wl,-z,norelro",),
        ("-Wl,-Bsymbolic",),
        ("-s",),
        ("-fuse-ld=gold",),
        ("-fuse-ld=lld",),
    ],
    ids=lambda flags: " ".join(flags) or "default",
)
def test_a_compiled_library_works_however_it_was_linked(
    compiled: Compile, platform: Platform, flags: tuple[str, ...]
) -> None:
    try:
        path = compiled(EVERYTHING, *flags)
    except subprocess.CalledProcessError:
        pytest.skip(f"this gcc does not know {flags}")
    check_everything(platform.load(path))


def test_a_library_uses_another_one(compiled: Compile, platform: Platform) -> None:
    base = compiled("long base = 30; long twice(long x) { return 2 * x; }", name="base.so")
    user = compiled(
        "extern long base; long twice(long); long f(void) { return twice(base) + base; }",
        name="user.so",
    )
    platform.load(base)
    assert platform.load(user).call("f") == 90


def test_a_library_with_versions_gives_each_user_its_own(
    compiled: Compile, platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "map").write_text("OLD { global: f; }; NEW { global: f; } OLD;")
    library = compiled(
        '__asm__(".symver old_f,f@OLD"); __asm__(".symver new_f,f@@NEW");'
        "long old_f(void) { return 1; } long new_f(void) { return 2; }",
        f"-Wl,--version-script={tmp_path / 'map'}",
        name="versioned.so",
    )
    image = platform.load(library)
    assert image.call("f") == 2
    assert platform.machine.call(image.symbol("f", "OLD")) == 1
    users = []
    for version in ("OLD", "NEW"):
        path = compiled(
            f'__asm__(".symver wanted,f@{version}"); long wanted(void);'
            "long g(void) { return wanted(); }",
            str(library),
            name=f"user_{version}.so",
        )
        users.append(platform.load(path))
    assert [user.call("g") for user in users] == [1, 2]


def test_destructors_of_a_library_run_when_it_is_unloaded(
    compiled: Compile, platform: Platform
) -> None:
    reporter = compiled(
        "static long last; void report(long n) { last = last * 10 + n; } "
        "long reported(void) { return last; }",
        name="reporter.so",
    )
    mortal = compiled(
        "void report(long);"
        "__attribute__((destructor(101))) static void last(void) { report(1); }"
        "__attribute__((destructor(102))) static void first(void) { report(2); }",
        name="mortal.so",
    )
    witness = platform.load(reporter)
    platform.namespace.unload(platform.load(mortal))
    assert witness.call("reported") == 21


def test_an_image_knows_its_build_id_sections_and_unwind_index(
    compiled: Compile, platform: Platform
) -> None:
    image = platform.load(compiled(EVERYTHING, "-Wl,--build-id=0x0123456789abcdef"))
    assert image.build_id == "0123456789abcdef"
    sections = {section.name: section for section in image.sections()}
    text = sections[".text"]
    assert image.symbols["count"] - image.base in range(text.address, text.address + text.size)
    index = sections[".eh_frame_hdr"]
    assert image.eh_frame_hdr is not None
    assert image.eh_frame_hdr.start == image.base + index.address
    assert image.eh_frame_hdr.size == index.size


def test_code_compiled_without_fpic_is_relocated_too(compiled: Compile, platform: Platform) -> None:
    path = compiled(
        "long value = 3; long f(void) { return value; }",
        "-fno-pic",
        "-mcmodel=large",
        "-Wl,-z,notext",
    )
    assert platform.load(path).call("f") == 3


def test_a_position_independent_executable_is_refused(
    compiled: Compile, platform: Platform, tmp_path: Path
) -> None:
    from theseus_kit import ImageError

    source = tmp_path / "program.c"
    source.write_text("void _start(void) {} int main(void) { return 0; }")
    gcc = ["gcc", "-nostdlib", "-o", tmp_path / "program", source]
    subprocess.run([*gcc, "-pie", "-fPIE"], check=True)
    with pytest.raises(ImageError, match="position-independent executable"):
        platform.load(tmp_path / "program")
    subprocess.run([*gcc, "-static", "-no-pie"], check=True)
    with pytest.raises(ImageError, match="is an executable"):
        platform.load(tmp_path / "program")


@pytest.mark.skipif(not ZLIB.exists(), reason="Debian's zlib is not on this machine")
def test_debians_zlib_computes_checksums(platform: Platform) -> None:
    image = platform.load(ZLIB)
    data = bytes(range(256)) * 40
    region = platform.hooks.memory_map(request=MapRequest(len(data), label="input"))
    platform.machine.memory.write(region.base, data)
    assert image.call("crc32", 0, region.base, len(data)) == zlib.crc32(data)
    assert image.call("adler32", 1, region.base, len(data)) == zlib.adler32(data)


@pytest.mark.skipif(not ZLIB.exists(), reason="Debian's zlib is not on this machine")
def test_debians_zlib_compresses_and_restores(platform: Platform) -> None:
    image, memory = platform.load(ZLIB), platform.machine.memory
    data = b"the same words, the same words, " * 300
    region = platform.hooks.memory_map(request=MapRequest(1 << 16, label="buffers"))
    source, packed, length = region.base, region.base + 0x4000, region.base + 0x8000
    memory.write(source, data)
    memory.write_u64(length, 0x4000)
    assert image.call("compress", packed, length, source, len(data)) == 0
    size = memory.read_u64(length)
    assert zlib.decompress(memory.read(packed, size)) == data
    memory.write(source, bytes(len(data)))
    memory.write_u64(length, 0x4000)
    assert image.call("uncompress", source, length, packed, size) == 0
    assert memory.read(source, len(data)) == data


@pytest.mark.skipif(not LIBM.exists(), reason="glibc's libm is not on this machine")
def test_glibcs_libm_computes_as_the_hosts_does(platform: Platform) -> None:
    # What it takes from the rest of glibc: errno of the task, and the CPU's features (here: none).
    platform.namespace.provide("test", CObject("errno", bytes(4), thread_local=True))
    platform.namespace.provide("test", CObject("_rtld_global_ro", bytes(0x1000)))
    image = platform.load(LIBM)
    for name in ("sin", "exp", "log", "tan", "sinh"):
        for n in range(1, 40):
            argument = n * 0.37
            platform.machine.call(image.symbols[name], (), float_arguments=(argument,))
            # The host may run another variant of the function (with FMA): both err by less than
            # a unit in the last place.
            expected = getattr(math, name)(argument)
            assert abs(platform.machine.float_result() - expected) <= math.ulp(expected), name
