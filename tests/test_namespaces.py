"""Namespaces, relocatable objects and images that use ``fs:``, on every machine there is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from theseus_kit import Ability, GuestKilled, ImageError, Platform, assemble
from theseus_kit.values.linkage import CFunction
from theseus_kit.values.memory import MapRequest

Compile = Callable[..., Path]


@pytest.fixture
def fresh(machine: str) -> Iterator[Platform]:
    with assemble(machine=machine) as platform:
        yield platform


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles C to a relocatable object, or with -shared to a shared one."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on this machine")

    def compile_c(source: str, *flags: str, name: str = "object") -> Path:
        path, output = tmp_path / f"{name}.c", tmp_path / f"{name}.o"
        path.write_text(source)
        kind = () if "-shared" in flags else ("-c",)
        command = ["gcc", "-O1", *kind, *flags, path, "-o", output]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return output

    return compile_c


LIBRARY = """
extern int printed(const char *, int);
static int calls;
static const char *names[] = {"zero", "one"};
__attribute__((constructor)) static void start(void) { calls = 100; }
int greet(int n) { return printed(names[n], ++calls); }
"""
USER = "extern int greet(int); int twice(void) { return greet(0) * 1000 + greet(1); }"


def test_objects_are_linked_against_each_other_and_plugins_and_run(
    fresh: Platform, compiled: Compile
) -> None:
    heard: list[bytes] = []

    def printed(text: int, number: int) -> int:
        heard.append(fresh.machine.memory.read_string(text))
        return number

    fresh.namespace.provide("test", CFunction("int printed(const char *t, int n)", printed))
    library = fresh.load(compiled(LIBRARY, "-fPIC", name="library"), strict=True)
    user = fresh.load(compiled(USER, name="user"), strict=True)
    assert user.call("twice") == 101102
    assert heard == [b"zero", b"one"]
    with pytest.raises(ImageError, match=r"library\.o: is in use by user\.o \(greet\)"):
        fresh.namespace.unload(library)
    fresh.namespace.unload(user)
    fresh.namespace.unload(library)
    assert fresh.namespace.images == ()


def test_a_child_namespace_replaces_a_function_for_its_images_only(
    fresh: Platform, compiled: Compile
) -> None:
    root = fresh.namespace
    root.load(compiled("int version(void) { return 1; }", name="old"))
    caller = compiled("int version(void); int ask(void) { return version(); }", name="caller")
    child = root.create_child("next")
    child.load(compiled("int version(void) { return 2; }", name="new"))
    assert (root.load(caller).call("ask"), child.load(caller).call("ask")) == (1, 2)
    old, new = root.get_symbol("version"), child.get_symbol("version")
    assert old is not None
    assert new is not None
    assert root.get_section_containing_address(new.range.start) == (new, 0)
    assert [d.section.image for d in new.sections_dependent_on_me] == [child.own_images[1]]
    child.close()
    assert root.image_at(new.range.start) is None
    assert root.image_at(old.range.start) is not None


FAULT = """
static __attribute__((noinline)) int deref(volatile int *p) { return *p + 1; }
int f(void) { return deref((int *)8) + 1; }
"""


def test_a_fault_in_an_object_is_named(fresh: Platform, compiled: Compile) -> None:
    image = fresh.load(compiled(FAULT, "-fomit-frame-pointer"))
    with pytest.raises(GuestKilled) as killed:
        image.call("f")
    names = [e.symbols[0].name for e in killed.value.backtrace if e.symbols]
    assert names[:2] == ["deref", "f"]
    assert killed.value.backtrace[0].symbols[0].image == "object.o"


PROTECTED = """
#include <string.h>
long fill(const char *text) {
    char buffer[64];
    strcpy(buffer, text);
    return strlen(buffer);
}
"""


@pytest.mark.parametrize("flags", [(), ("-shared", "-fPIC")], ids=["object", "shared object"])
def test_a_stack_protector_works(
    fresh: Platform, compiled: Compile, flags: tuple[str, ...]
) -> None:
    path = compiled(PROTECTED, "-fstack-protector-all", "-fno-builtin", *flags)
    assert b"__stack_chk_fail" in path.read_bytes()
    image = fresh.load(path, strict=True)
    text = fresh.hooks.memory_map(request=MapRequest(4096)).base
    fresh.machine.memory.write(text, b"fits\0")
    assert image.call("fill", text) == 4
    fresh.machine.memory.write(text, b"x" * 200 + b"\0")
    with pytest.raises(GuestKilled):
        image.call("fill", text)


THREAD_LOCAL = "__thread long counter = 40; long count(void) { return ++counter; }"
FIXED = {
    "an object, local-exec": (),
    "an object, initial-exec": ("-fPIC", "-ftls-model=initial-exec"),
    "a shared object, initial-exec": ("-shared", "-fPIC", "-ftls-model=initial-exec"),
}


@pytest.mark.parametrize("flags", FIXED.values(), ids=FIXED)
def test_variables_at_fixed_offsets_work_or_are_refused_when_loaded(
    fresh: Platform, compiled: Compile, flags: tuple[str, ...]
) -> None:
    path = compiled(THREAD_LOCAL, *flags)
    if Ability.THREAD_POINTER in fresh.machine.abilities:
        image = fresh.load(path)
        assert [image.call("count") for _ in range(2)] == [41, 42]
    else:
        message = r"object\.o: has thread-local variables at fixed offsets .* the emulated machine"
        with pytest.raises(ImageError, match=message):
            fresh.load(path)
        assert fresh.namespace.images == ()


@pytest.mark.parametrize("flags", [("-fPIC",), ("-shared", "-fPIC")], ids=["object", "shared"])
def test_variables_found_by_a_call_work_on_every_machine(
    fresh: Platform, compiled: Compile, flags: tuple[str, ...]
) -> None:
    image = fresh.load(compiled(THREAD_LOCAL, *flags))
    assert [image.call("count") for _ in range(2)] == [41, 42]


def test_an_object_s_own_system_calls_are_served_by_the_platform(
    fresh: Platform, compiled: Compile
) -> None:
    source = """
    long f(long number) {
        long result;
        __asm__ volatile("syscall" : "=a"(result) : "a"(number) : "rcx", "r11", "memory");
        return result;
    }
    """
    image = fresh.load(compiled(source))
    assert image.call("f", 0x7FFF) == -38 % 2**64  # ENOSYS, from the platform and not the host


THROWING = """
struct Thrown { int number; };
struct Cleanup { int *log; ~Cleanup() { *log += 100; } };
static int log;
static __attribute__((noinline)) void throws(int x) {
    Cleanup cleanup{&log};
    if (x > 3) throw Thrown{x};
}
extern "C" int f(int x) {
    log = 0;
    try { throws(x); } catch (const Thrown &thrown) { return thrown.number * 1000 + log; }
    return log;
}
"""
LIBSTDCXX = Path("/usr/lib/x86_64-linux-gnu/libstdc++.so.6")


def test_an_object_catches_what_it_throws(fresh: Platform, compiled: Compile) -> None:
    if not LIBSTDCXX.exists():
        pytest.skip("libstdc++ is not on this machine")
    fresh.load(LIBSTDCXX)
    image = fresh.load(compiled(THROWING, "-xc++", "-fPIC"), strict=True)
    assert (image.call("f", 7), image.call("f", 2)) == (7100, 100)
