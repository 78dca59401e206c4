"""A kill runs the guest's destructors on its way out, when somebody waits for it."""

import pytest

from theseus_kit.assembly import assemble
from theseus_kit.errors import GuestKilled
from theseus_kit.machine import machine_names
from theseus_kit.values.exceptions import KilledByException, KillRequested, Panicked
from theseus_kit.values.linkage import CFunction

PLUGINS = ["region", "signals", "backtrace", "path", "tlibc"]


def order(platform, image):
    memory = platform.machine.memory
    count = memory.read_u32(image.symbols["count"])
    memory.write_u32(image.symbols["count"], 0)
    data = memory.read(image.symbols["order"], 4 * count)
    return list(memoryview(data).cast("i"))


def set_callback(platform, image, body):
    function = CFunction("void python(int what)", body, reenters=True)
    platform.machine.memory.write_u64(image.symbols["python"], platform.export(function))


def test_a_kill_without_anybody_waiting_runs_nothing(any_platform, cpp):
    with pytest.raises(GuestKilled, match="Exception 0xE"):
        cpp.call("uncaught", 3)
    assert order(any_platform, cpp) == []


@pytest.mark.parametrize("machine", machine_names())
def test_the_option_runs_destructors_at_every_kill(machine, cpp_library, cpp_path):
    options = {"backtrace": {"clean_up_on_kill": True}}
    with assemble(PLUGINS, machine=machine, options=options) as platform:
        platform.load(cpp_library)
        image = platform.load(cpp_path)
        with pytest.raises(GuestKilled, match="Exception 0xE") as caught:
            image.call("uncaught", 3)
        # The fault is no call, so its own frame has no landing pad for it.
        assert order(platform, image)[-2:] == [2, 4]
        names = [symbol.name or "" for entry in caught.value.backtrace for symbol in entry.symbols]
        assert "inner" in names[0]
        assert not hasattr(caught.value, "__notes__")


def test_an_exception_reaches_catch_unwind_after_the_destructors(any_platform, cpp):
    caught = any_platform.catch_unwind(cpp.call, "uncaught", 3)
    assert caught.reason == KilledByException(0x0E)
    assert caught.killed.context.page_fault.accessed_address == 0x10
    assert order(any_platform, cpp)[-2:] == [2, 4]


def test_what_returns_is_returned(any_platform, cpp):
    caught = any_platform.catch_unwind(cpp.call, "uncaught", 0)
    assert (caught.result, caught.killed, caught.reason) == (2, None, None)


@pytest.mark.parametrize("reason", [KillRequested(), Panicked("given up"), KilledByException(6)])
def test_any_reason_propagates_innermost_first(any_platform, cpp, reason):
    set_callback(any_platform, cpp, lambda what: any_platform.resume_unwind(reason))
    caught = any_platform.catch_unwind(cpp.call, "uncaught", 4)
    assert caught.reason == reason
    assert order(any_platform, cpp) == [1, 2, 4]


def test_a_resumed_kill_needs_nobody_waiting(any_platform, cpp):
    set_callback(any_platform, cpp, lambda what: any_platform.resume_unwind(KillRequested()))
    with pytest.raises(GuestKilled, match="Requested"):
        cpp.call("uncaught", 4)
    assert order(any_platform, cpp) == [1, 2, 4]


def test_a_kill_caught_in_the_middle_goes_on_when_it_is_resumed(any_platform, cpp):
    """The unwind_test of Theseus, ``-c``: the outer destructors run after the catch."""
    stages = []

    def python(what):
        caught = any_platform.catch_unwind(cpp.call, "catches_all", 3)
        stages.append((caught.reason, order(any_platform, cpp)))
        any_platform.resume_unwind(caught.killed)

    set_callback(any_platform, cpp, python)
    with pytest.raises(GuestKilled) as raised:
        cpp.call("uncaught", 4)
    ((reason, inner),) = stages
    assert reason == KilledByException(0x0E)
    assert inner[-3:] == [2, 5, 6]
    assert order(any_platform, cpp) == [1, 2, 4]
    assert raised.value.context is not None


def test_resuming_does_not_tell_the_kill_handler_again(any_platform, cpp):
    told = []
    task = any_platform.tasks.current

    def watch():
        handler = lambda task, reason: told.append(reason)  # noqa: E731
        any_platform.hooks.exception_set_kill_handler(task=task, handler=handler)

    watch()
    caught = any_platform.catch_unwind(cpp.call, "uncaught", 3)
    assert told == [KilledByException(0x0E)]
    watch()
    set_callback(any_platform, cpp, lambda what: any_platform.resume_unwind(caught.killed))
    with pytest.raises(GuestKilled):
        cpp.call("uncaught", 4)
    assert told == [KilledByException(0x0E)]
    assert order(any_platform, cpp)[-3:] == [1, 2, 4]


def test_catch_all_cannot_stop_a_kill(any_platform, cpp):
    caught = any_platform.catch_unwind(cpp.call, "throws_on", 3)
    assert caught.reason == KilledByException(0x0E)
    assert order(any_platform, cpp)[-5:] == [2, 5, 6, 5, 7]


def test_a_kill_passes_rusts_handlers_by(any_platform, rust):
    caught = any_platform.catch_unwind(rust.call, "outer", 4, 0)
    assert caught.reason == KilledByException(0x0E)
    noted = [rust.call("order", index) for index in range(rust.call("order", 64))]
    # Where the compiler made one landing pad of a handler and a destructor, both are passed by.
    assert noted[-1] in (2, 3)


def test_a_kill_runs_rusts_destructors(any_platform, rust):
    caught = any_platform.catch_unwind(rust.call, "uncaught", 4, 0)
    assert caught.reason == KilledByException(0x0E)
    noted = [rust.call("order", index) for index in range(rust.call("order", 64))]
    assert noted[-2:] == [2, 4]


def test_noexcept_does_not_terminate_what_is_being_killed(any_platform, cpp):
    caught = any_platform.catch_unwind(cpp.call, "quiet", 3)
    assert caught.reason == KilledByException(0x0E)
    assert order(any_platform, cpp)[-1:] == [2]


def test_the_guest_goes_on_after_a_kill_that_was_caught(any_platform, cpp):
    for _ in range(3):
        assert any_platform.catch_unwind(cpp.call, "uncaught", 5).reason is not None
        order(any_platform, cpp)
    assert cpp.call("outer", 1) == 42


def test_other_errors_pass_catch_unwind(any_platform):
    with pytest.raises(ZeroDivisionError):
        any_platform.catch_unwind(lambda: 1 // 0)
    assert any_platform.tasks.current.catches == 0
