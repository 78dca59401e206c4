"""Calls that fail by rule: which, when, how, and what is known of it afterwards."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from theseus_kit import GuestKilled, OutOfMemoryError, PlatformError, UsageError
from theseus_kit.values.memory import MapRequest
from theseus_kit_inject import InjectedError


def test_the_third_system_call_fails_and_no_other(guest: Any, machine: str) -> None:
    run = guest("syscall.mmap:3=ENOMEM", machine)
    results = [run.mmap() for _ in range(5)]
    assert [result < 0 for result in results] == [False, False, True, False, False]
    assert results[2] == -errno.ENOMEM


def test_a_c_function_fails_the_way_its_convention_has_it(guest: Any, machine: str) -> None:
    run = guest("c.malloc:2=ENOMEM,posix_memalign=ENOMEM", machine)
    first = run.call("malloc", 10)
    assert first
    assert run.call("malloc", 10) == 0
    assert run.errno == errno.ENOMEM
    assert run.call("posix_memalign", first, 64, 64) & 0xFFFFFFFF == errno.ENOMEM


def test_a_hook_fails_for_whoever_asks_it(guest: Any, machine: str) -> None:
    run = guest("", machine, calls="hook.memory_map")
    hooks = run.platform.hooks
    with run.inject.failing("hook.memory_map", "ENOMEM", nth=2):
        hooks.memory_map(request=MapRequest(4096))
        assert run.mmap() == -errno.ENOMEM
        hooks.memory_map(request=MapRequest(4096))
    with run.inject.failing("hook.memory_map", "EPERM"), pytest.raises(PlatformError) as raised:
        hooks.memory_map(request=MapRequest(4096))
    assert raised.value.errno == errno.EPERM


def test_the_contract_s_own_error_is_raised_where_it_has_one(guest: Any) -> None:
    run = guest("", calls="hook.memory_map")
    with run.inject.failing("hook.memory_map", "ENOMEM"), pytest.raises(OutOfMemoryError):
        run.platform.hooks.memory_map(request=MapRequest(4096))


def test_raise_is_a_plugin_s_bug_and_kill_is_the_guest_s_end(guest: Any, machine: str) -> None:
    run = guest("getpid:1=raise,getpid:3=kill", machine)
    with pytest.raises(InjectedError, match=r"injected into c\.getpid") as raised:
        run.call("getpid")
    assert raised.value.plugin == "tlibc"
    assert run.call("getpid") > 0
    with pytest.raises(GuestKilled, match=r"Panic: injected into c\.getpid"):
        run.call("getpid")


def test_any_error_may_be_raised_from_python(guest: Any) -> None:
    run = guest("", calls="hook.memory_query")
    with (
        run.inject.failing("hook.memory_query", KeyboardInterrupt()),
        pytest.raises(KeyboardInterrupt),
    ):
        run.platform.hooks.memory_query(address=0)


def test_equal_seeds_fail_equal_calls(guest: Any) -> None:
    def failures(seed: int) -> list[bool]:
        run = guest("syscall.mmap:*=ENOMEM@0.3", seed=seed)
        return [run.mmap() < 0 for _ in range(60)]

    assert failures(1) == failures(1)
    assert failures(1) != failures(2)
    assert 5 < sum(failures(1)) < 35


def test_what_failed_is_remembered_with_where_the_guest_was(
    guest: Any, machine: str, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    run = guest("syscall.mmap:2=ENOMEM", machine, report=report)
    api = run.platform.wasmtime
    store = api.Store()
    kind = api.MemoryType(api.Limits(1, None))
    memories = []
    with pytest.raises(api.WasmtimeError):
        memories += [api.Memory(store, kind) for _ in range(5)]
    (injection,) = run.inject.injected
    assert (str(injection.call), injection.occurrence) == ("syscall.mmap", 2)
    assert injection.task == "main"
    (line,) = [json.loads(text) for text in report.read_text().splitlines()]
    assert line["frames"][-1].startswith("wasmtime_memory_new")
    assert (line["call"], line["action"]) == ("syscall.mmap", "ENOMEM")


def test_calls_are_counted_whether_they_fail_or_not(guest: Any, machine: str) -> None:
    run = guest("c.malloc:2=ENOMEM", machine)
    for _ in range(4):
        run.call("malloc", 8)
    assert run.inject.counts["c.malloc"] >= 4


def test_an_error_number_is_not_for_functions_that_cannot_report_one(guest: Any) -> None:
    with pytest.raises(UsageError, match=r"c.memcpy has no way to report an error: let it raise"):
        guest("c.memcpy=ENOMEM")
    run = guest("c.mem*:1=ENOMEM")  # memalign can
    assert run.call("memcpy", 0, 0, 0) == 0


def test_unknown_names_are_refused_with_the_one_that_was_meant(guest: Any) -> None:
    with pytest.raises(UsageError, match=r"'maloc'.*did you mean 'malloc'"):
        guest("maloc=ENOMEM")
    with pytest.raises(UsageError, match=r"'hook.memory_mop'.*did you mean 'hook.memory_map'"):
        guest("hook.memory_mop:*=ENOMEM@0.5")


def test_a_call_that_was_not_made_ready_is_refused_with_the_option_to_give(guest: Any) -> None:
    run = guest("", calls="syscall.mmap")
    with pytest.raises(UsageError, match=r"c.malloc was not made ready .* inject.calls=malloc"):
        run.inject.fail("malloc", "ENOMEM")


def test_only_what_rules_mean_is_wrapped(guest: Any) -> None:
    run = guest("hook.memory_map:99=ENOMEM")
    assert run.platform.services.is_wrapped("memory_map")
    assert not run.platform.services.is_wrapped("memory_protect")
    assert run.platform.namespace.provided("malloc").machine_code is not None
