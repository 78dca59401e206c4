"""Exceptions that guest code throws are caught by guest code, on every machine."""

import ctypes

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled, GuestUnwinding
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import ExceptionCategory, Panicked
from theseus_kit.values.linkage import CFunction

SA_ONSTACK = 0x08000000


def order(platform, image):
    """What the C++ image's destructors and handlers noted, since the last time."""
    memory = platform.machine.memory
    count = memory.read_u32(image.symbols["count"])
    memory.write_u32(image.symbols["count"], 0)
    data = memory.read(image.symbols["order"], 4 * count)
    return list(memoryview(data).cast("i"))


def rust_order(image):
    noted = [image.call("order", index) for index in range(image.call("order", 64))]
    image.call("reset")
    return noted


def signed(word):
    return ctypes.c_int32(word & 0xFFFFFFFF).value


def set_callback(platform, image, body):
    function = CFunction("void python(int what)", body, reenters=True)
    platform.machine.memory.write_u64(image.symbols["python"], platform.export(function))


@pytest.mark.parametrize(("what", "result"), [(0, 1), (1, 42), (2, ord("b"))])
def test_a_cpp_handler_gets_what_was_thrown_after_the_destructors_ran(
    any_platform, cpp, what, result
):
    assert cpp.call("outer", what) == result
    assert order(any_platform, cpp) == [1, 2, 3]


def test_a_handler_that_throws_is_left_for_the_next_one(any_platform, cpp):
    assert cpp.call("nested") == ord("s")
    assert order(any_platform, cpp) == [1, 2, 9, 8, 10]


def test_a_destructor_may_throw_and_catch_while_an_exception_is_on_its_way(any_platform, cpp):
    assert cpp.call("in_a_destructor") == 12
    assert order(any_platform, cpp) == [1, 2, 1, 2, 11]


def test_catch_all_catches(any_platform, cpp):
    assert signed(cpp.call("catches_all", 1)) == -1
    assert order(any_platform, cpp) == [1, 2, 5, 6]


def test_an_exception_passes_any_number_of_frames(any_platform, cpp):
    assert cpp.call("recurses", 500) == 7


def test_what_nobody_catches_terminates_where_it_was_thrown(any_platform, cpp):
    with pytest.raises(GuestKilled) as caught:
        cpp.call("uncaught", 1)
    names = [symbol.name or "" for entry in caught.value.backtrace for symbol in entry.symbols]
    inside = next(index for index, name in enumerate(names) if "terminate" in name)
    assert any("inner" in name for name in names[inside:])
    assert order(any_platform, cpp) == []


def test_noexcept_terminates(any_platform, cpp, capfd):
    with pytest.raises(GuestKilled) as caught:
        cpp.call("quiet", 1)
    names = [symbol.name or "" for entry in caught.value.backtrace for symbol in entry.symbols]
    assert "quiet" in names
    # The library's own names are local ones, which its file may be stripped of.
    assert capfd.readouterr().err.startswith("terminate called after throwing")


def test_a_forced_unwind_cleans_up_until_its_stop_function_leaves(any_platform, cpp):
    assert cpp.call("forced") == 13
    assert order(any_platform, cpp) == [1, 2]


def test_an_exception_passes_through_a_python_function(any_platform, cpp):
    passed = []

    def python(what):
        try:
            cpp.call("uncaught", 1)
        except GuestUnwinding as unwinding:
            passed.append(str(unwinding))
            raise

    set_callback(any_platform, cpp, python)
    assert cpp.call("outer", 4) == 42
    assert order(any_platform, cpp) == [1, 2, 4, 1, 2, 3]
    assert passed == ["a C++ exception is looking for its handler further out"]


def test_python_may_catch_an_exception_on_its_way(any_platform, cpp):
    def python(what):
        with pytest.raises(GuestUnwinding):
            cpp.call("uncaught", 1)

    set_callback(any_platform, cpp, python)
    assert cpp.call("outer", 4) == 5
    assert order(any_platform, cpp) == [1, 2, 4, 1, 2, 3]


def test_an_exception_passes_through_two_python_functions(any_platform, cpp):
    depth = []

    def python(what):
        depth.append(what)
        cpp.call("uncaught", 4 if len(depth) < 2 else 2)

    set_callback(any_platform, cpp, python)
    assert cpp.call("outer", 4) == ord("b")
    assert order(any_platform, cpp) == [1, 2, 4, 1, 2, 4, 1, 2, 3]


def test_an_exception_passes_through_a_handler_of_cpu_exceptions(any_platform, cpp):
    any_platform.hooks.exception_register(
        task=any_platform.tasks.current,
        category=ExceptionCategory.INVALID_ADDRESS,
        handler=lambda context: cpp.call("uncaught", 1) == 0,
    )
    assert cpp.call("outer", 3) == 42
    assert order(any_platform, cpp)[:3] == [1, 2, 4]


@pytest.mark.parametrize(("what", "result"), [(0, 1), (1, len("boom 1")), (2, 7)])
def test_rust_catches_its_panics(rust, what, result):
    assert rust.call("outer", what, 0) == result
    reported = [100] if what == 1 or what == 2 else []
    assert rust_order(rust) == [*reported, 1, 2, 3]


def test_a_panic_that_is_resumed_runs_the_outer_destructors_and_is_not_reported_again(rust):
    assert rust.call("resumes", 2, 0) == 7
    assert rust_order(rust) == [100, 1, 2, 6, 5]


def test_a_panic_passes_through_a_python_function(any_platform, rust):
    function = CFunction("void call(long what)", lambda what: rust.call("uncaught", 2, 0))
    address = any_platform.export(function._replace(reenters=True))
    assert rust.call("outer", 3, address) == 7
    assert rust_order(rust) == [100, 1, 2, 4, 1, 2, 3]


def test_a_cpp_exception_passes_through_rust_frames(any_platform, cpp, rust):
    function = CFunction("void call(long what)", lambda what: cpp.call("uncaught", 1))
    address = any_platform.export(function._replace(reenters=True))
    set_callback(any_platform, cpp, lambda what: rust.call("uncaught", 3, address))
    assert cpp.call("outer", 4) == 42
    assert order(any_platform, cpp) == [1, 2, 4, 1, 2, 3]
    assert rust_order(rust) == [1, 2, 4]


def test_a_panic_that_nobody_catches_reaches_catch_unwind(any_platform, rust):
    caught = any_platform.catch_unwind(rust.call, "uncaught", 2, 0)
    assert isinstance(caught.reason, Panicked)
    assert "Rust panic" in caught.reason.message
    assert rust_order(rust) == [100, 1, 2, 4]


@pytest.mark.parametrize("flags", [0, SA_ONSTACK])
def test_a_signal_handler_may_throw_out_of_a_fault(any_platform, cpp_library, compile_cpp, flags):
    any_platform.load(cpp_library)
    image = any_platform.load(compile_cpp("faults", "-fnon-call-exceptions"))
    image.call("install", flags)
    for _ in range(2):
        assert image.call("outer", 0x10) == 0x10
        assert order(any_platform, image) == [1, 2, 3]


def test_a_fault_that_kills_cleans_up_its_own_frame_where_it_has_a_landing_pad(
    any_platform, cpp_library, compile_cpp
):
    any_platform.load(cpp_library)
    image = any_platform.load(compile_cpp("faults", "-fnon-call-exceptions"))
    caught = any_platform.catch_unwind(image.call, "outer", 0x10)
    assert caught.killed.context.page_fault.accessed_address == 0x10
    assert order(any_platform, image) == [2, 3]


def test_an_exception_stops_at_a_function_that_is_no_c_function(any_platform, cpp):
    address = any_platform.machine.export(
        lambda what: cpp.call("uncaught", 1), 1, reenters=True, name="bare"
    )
    any_platform.machine.memory.write_u64(cpp.symbols["python"], address)
    with pytest.raises(GuestUnwinding):
        cpp.call("outer", 4)
    assert order(any_platform, cpp) == [1, 2, 4]
    assert cpp.call("outer", 1) == 42


@pytest.mark.parametrize("machine", machine_names())
def test_images_catch_what_they_throw_whichever_way_stacks_are_walked(
    machine, cpp_library, cpp_path
):
    plugins = ["region", "signals", "backtrace-frame-pointers", "path", "tlibc"]
    with assemble(plugins, machine=machine) as platform:
        platform.load(cpp_library)
        image = platform.load(cpp_path)
        assert image.call("outer", 1) == 42
        assert order(platform, image) == [1, 2, 3]
