"""C functions and system calls: who offers them, and wrappers around each plugin's offer."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import pytest

from theseus_kit import BUNDLED, Platform, Plugin, PluginDescription, assemble, hookimpl
from theseus_kit.machine import machine_names
from theseus_kit.values.linkage import CFunction, CObject, SystemCall

MACHINES = pytest.mark.parametrize("machine", machine_names())
Symbols = Iterable[CFunction | CObject]
UNUSED_NUMBER = 1000


def answering(name: str, answer: int) -> type[Plugin]:
    """A plugin that offers the C function ``answer`` and system call 1000."""

    class Answering(Plugin):
        description = PluginDescription(name=name, version="1.0")

        @hookimpl
        def c_symbols(self) -> Symbols:
            # mov eax, 99; ret
            return [CFunction("int answer(void)", lambda: answer, machine_code=MACHINE_CODE)]

        @hookimpl
        def system_calls(self) -> Iterable[SystemCall]:
            return [SystemCall(UNUSED_NUMBER, CFunction("int answer(void)", lambda: answer))]

    return Answering


MACHINE_CODE = bytes.fromhex("b863000000c3")
SYSTEM_CALL = bytes.fromhex("b8e8030000 0f05 c3")  # mov eax, 1000; syscall; ret


def doubling(name: str) -> type[Plugin]:
    """A wrapper that notes whose offers it sees and doubles what ``answer`` answers."""

    class Doubling(Plugin):
        description = PluginDescription(name=name, version="1.0")

        def __init__(self, services: Any, options: Any) -> None:
            super().__init__(services, options)
            self.seen: list[str] = []

        @hookimpl(wrapper=True)
        def c_symbols(self, plugin: str) -> Generator[None, Symbols, Symbols]:
            symbols = yield
            self.seen.append(plugin)
            return [self._doubled(symbol) for symbol in symbols]

        @hookimpl(wrapper=True)
        def system_calls(
            self, plugin: str
        ) -> Generator[None, Iterable[SystemCall], Iterable[SystemCall]]:
            return [call._replace(function=self._doubled(call.function)) for call in (yield)]

        def _doubled(self, symbol: Any) -> Any:
            if symbol.name != "answer":
                return symbol
            return symbol._replace(body=lambda: 2 * symbol.body(), machine_code=None)

    return Doubling


def answer_of(platform: Platform) -> int:
    address = platform.namespace.resolve("answer")
    assert address is not None
    return platform.machine.call(address)


def system_call_answer_of(platform: Platform) -> int:
    return platform.machine.call(platform.machine.place_code(SYSTEM_CALL))


def test_a_wrapper_is_told_whose_offer_it_is_called_around() -> None:
    with assemble([doubling("doubling"), answering("one", 1), *BUNDLED]) as platform:
        assert platform.plugin("doubling").seen == ["one", "backtrace", "tlibc"]  # type: ignore[attr-defined]


@MACHINES
def test_what_a_wrapper_returns_is_what_the_guest_calls(machine: str) -> None:
    with assemble([doubling("doubling"), answering("one", 21), *BUNDLED], machine) as platform:
        assert answer_of(platform) == 42
        assert system_call_answer_of(platform) == 42


def test_wrappers_of_an_offer_nest_the_first_of_the_list_outermost() -> None:
    with assemble([doubling("a"), doubling("b"), answering("one", 3), *BUNDLED]) as platform:
        assert answer_of(platform) == 12


@MACHINES
def test_without_a_wrapper_machine_code_is_what_the_guest_calls(machine: str) -> None:
    with assemble([answering("one", 1), *BUNDLED], machine) as platform:
        assert answer_of(platform) == 99


def test_of_two_offers_of_a_name_the_first_plugins_counts_and_is_named() -> None:
    with assemble([answering("one", 1), answering("two", 2), *BUNDLED]) as platform:
        assert system_call_answer_of(platform) == 1
        assert platform.namespace.provider_of("answer") == "one"
        assert platform.system_calls.provider_of(UNUSED_NUMBER) == "one"


def test_a_plugin_that_offers_nothing_is_no_error() -> None:
    class Silent(Plugin):
        description = PluginDescription(name="silent", version="1.0")

        @hookimpl
        def c_symbols(self) -> None:
            return None

    with assemble([Silent, *BUNDLED]) as platform:
        assert platform.namespace.provider_of("malloc") == "tlibc"


def test_a_plugin_can_ask_whether_a_hook_is_wrapped() -> None:
    class Watcher(Plugin):
        description = PluginDescription(name="watcher", version="1.0")

        @hookimpl(wrapper=True)
        def memory_protect(self) -> Any:
            return (yield)

    with assemble([Watcher, *BUNDLED]) as platform:
        assert platform.services.is_wrapped("memory_protect")
        assert not platform.services.is_wrapped("memory_map")
