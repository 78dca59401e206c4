"""Plugins that intercept calls: what they are told, what they may do, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from theseus_kit import (
    BUNDLED,
    OutOfMemoryError,
    PluginDescription,
    UnmappedRegionError,
    assemble,
)
from theseus_kit.interception import Interceptor, PlatformCall
from theseus_kit.interception.interceptor import HOOK_CALLS
from theseus_kit.values.memory import MapRequest


class Recorder(Interceptor):
    """Notes every call of what is in ``names``; subclasses say what that is."""

    description = PluginDescription(name="recorder", version="1.0")
    names: frozenset[str] = frozenset()
    refuse = False

    def __init__(self, services: Any, options: Any) -> None:
        super().__init__(services, options)
        self.told: list[tuple[Any, ...]] = []

    @classmethod
    def wants(cls, options: Any, call: PlatformCall) -> bool:
        return call.name in cls.names

    def intercept(self, call: PlatformCall) -> Any:
        recorder = self

        class Recording:
            def before(self, arguments: tuple[Any, ...]) -> int:
                recorder.told.append(("before", str(call), arguments))
                if recorder.refuse:
                    raise OutOfMemoryError("refused")
                return len(recorder.told)

            def after(self, token: int, result: Any) -> None:
                recorder.told.append(("after", token, result))

            def failed(self, token: int, error: BaseException) -> None:
                recorder.told.append(("failed", token, type(error).__name__))

        return Recording()


def recording(*wanted: str) -> type[Recorder]:
    class Chosen(Recorder):
        names = frozenset(wanted)

    return Chosen


def test_a_c_function_s_calls_are_told_with_what_came_of_them() -> None:
    with assemble([recording("getpid"), *BUNDLED]) as platform:
        address = platform.namespace.resolve("getpid")
        assert address is not None
        result = platform.machine.call(address)
        recorder: Any = platform.plugin("recorder")
        assert recorder.told == [("before", "c.getpid", ()), ("after", 1, result)]


def test_a_hook_s_calls_are_told_with_its_arguments_in_order_and_its_errors() -> None:
    with assemble([recording("memory_protect"), *BUNDLED]) as platform:
        recorder: Any = platform.plugin("recorder")
        recorder.told.clear()
        with pytest.raises(UnmappedRegionError):
            platform.hooks.memory_protect(address=0x5000, size=4096, protection=1)
        assert recorder.told == [
            ("before", "hook.memory_protect", (0x5000, 4096, 1)),
            ("failed", 1, "UnmappedRegionError"),
        ]


def test_what_is_raised_before_a_call_is_what_the_call_fails_with() -> None:
    with assemble([recording("memory_map"), *BUNDLED]) as platform:
        recorder: Any = platform.plugin("recorder")
        recorder.told.clear()
        recorder.refuse = True
        with pytest.raises(OutOfMemoryError, match="refused"):
            platform.hooks.memory_map(request=MapRequest(4096))
        assert [what for what, *_ in recorder.told] == ["before"]
        recorder.refuse = False


def test_nothing_is_wrapped_but_what_is_wanted() -> None:
    with assemble([recording("memory_map", "memcpy"), *BUNDLED]) as platform:
        always = Interceptor.always_wrapped
        wrapped = {name for name in HOOK_CALLS if platform.services.is_wrapped(name)}
        assert wrapped == {"memory_map", *always}
        functions = {name: platform.namespace.provided(name) for name in ("memcpy", "malloc")}
        code = {name: getattr(found, "machine_code", 0) for name, found in functions.items()}
        assert code["memcpy"] is None
        assert code["malloc"] is not None


def test_interceptors_nest_in_the_assembly_s_order() -> None:
    class Second(recording("getpid")):  # type: ignore[misc]
        description = PluginDescription(name="second", version="1.0")

    with assemble([recording("getpid"), Second, *BUNDLED]) as platform:
        first: Any = platform.plugin("recorder")
        second: Any = platform.plugin("second")
        first.refuse = True
        address = platform.namespace.resolve("getpid")
        assert address is not None
        with pytest.raises(Exception, match="refused"):
            platform.machine.call(address)
        assert first.told
        assert not second.told


def test_every_hook_of_the_contract_can_be_intercepted() -> None:
    class All(Recorder):
        names = frozenset(HOOK_CALLS)

    with assemble([All, *BUNDLED]) as platform:
        assert all(platform.services.is_wrapped(name) for name in HOOK_CALLS)
        recorder: Any = platform.plugin("recorder")
    told = {name for what, name, *_ in recorder.told if what == "before"}
    assert {"hook.c_symbols", "hook.task_started", "hook.platform_closed"} <= told


def test_functions_whose_body_cannot_stand_in_are_left_as_they_are() -> None:
    with assemble([recording("raise", "__raise"), *BUNDLED]) as platform:
        assert getattr(platform.namespace.provided("raise"), "machine_code", None) is not None
        recorder: Any = platform.plugin("recorder")
        address = platform.namespace.resolve("raise")
        assert address is not None
        platform.machine.call(address, (0,))
        assert [name for what, name, *_ in recorder.told if what == "before"] == ["c.__raise"]
