"""Hooks called straight: all that pluggy promises holds where pluggy is not in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from theseus_kit.assembly.hooks import CALLS_BEFORE
from theseus_kit.assembly.manager import PlatformPluginManager
from theseus_kit.errors import InvalidParameterError, PluginError
from theseus_kit.hookspecs import hookimpl


class Answers:
    """Answers two questions."""

    @hookimpl
    def tls_static_offset(self, module: int) -> int:
        if module == 0:
            raise InvalidParameterError("no module 0")
        return 100 // (module - 7)

    @hookimpl
    def tls_key_get(self, key: int) -> int:
        """Ask for fewer arguments than there are."""
        return key + 1


class Doubles:
    """Stands around a question."""

    @hookimpl(wrapper=True)
    def tls_static_offset(self, module: int) -> Generator[None, int, int]:
        return 2 * (yield)


@pytest.fixture
def manager() -> PlatformPluginManager:
    manager = PlatformPluginManager()
    manager.register(Answers(), name="answers")
    return manager


def test_a_hook_with_one_implementation_answers_without_pluggy_in_between(
    manager: PlatformPluginManager,
) -> None:
    assert manager.hooks.tls_static_offset(module=17) == 10
    assert not hasattr(manager.hooks.tls_static_offset, "get_hookimpls")


@pytest.fixture(params=[0, CALLS_BEFORE], ids=["first calls", "later calls"])
def called(manager: PlatformPluginManager, request: pytest.FixtureRequest) -> PlatformPluginManager:
    """A manager whose hook was called never yet, or often."""
    for _ in range(request.param):
        manager.hooks.tls_static_offset(module=17)
    return manager


def test_a_hook_takes_its_arguments_by_name_alone_and_all_of_them(
    called: PlatformPluginManager,
) -> None:
    manager = called
    with pytest.raises(TypeError, match="positional"):
        manager.hooks.tls_static_offset(17)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="module"):
        manager.hooks.tls_static_offset()


def test_an_error_of_the_plugin_s_own_code_names_plugin_hook_and_values(
    called: PlatformPluginManager,
) -> None:
    manager = called
    with pytest.raises(PluginError, match=r"answers.*tls_static_offset.*module=7.*Zero") as raised:
        manager.hooks.tls_static_offset(module=7)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_an_error_of_the_contract_passes_as_it_is(called: PlatformPluginManager) -> None:
    with pytest.raises(InvalidParameterError, match="no module 0"):
        called.hooks.tls_static_offset(module=0)


def test_a_wrapper_that_comes_after_the_first_call_is_called(
    called: PlatformPluginManager,
) -> None:
    manager = called
    assert manager.hooks.tls_static_offset(module=17) == 10
    manager.register(Doubles(), name="doubles")
    assert manager.hooks.tls_static_offset(module=17) == 20
    with pytest.raises(PluginError, match=r"answers.*module=7"):
        manager.hooks.tls_static_offset(module=7)


def test_plugins_that_leave_are_called_no_more(manager: PlatformPluginManager) -> None:
    manager.register(Doubles(), name="doubles")
    assert manager.hooks.tls_static_offset(module=17) == 20
    manager.unregister(name="doubles")
    assert manager.hooks.tls_static_offset(module=17) == 10
    manager.unregister(name="answers")
    assert manager.hooks.tls_static_offset(module=17) is None


def test_a_kept_hook_is_called_alike_all_the_time(manager: PlatformPluginManager) -> None:
    kept = manager.hooks.tls_static_offset
    assert [kept(module=17) for _ in range(2 * CALLS_BEFORE)] == [10] * 2 * CALLS_BEFORE
    assert manager.hooks.tls_static_offset is not kept


def test_a_hook_that_is_kept_from_before_somebody_came_puts_nothing_in_the_way(
    manager: PlatformPluginManager,
) -> None:
    kept = manager.hooks.tls_static_offset
    manager.register(Doubles(), name="doubles")
    for _ in range(2 * CALLS_BEFORE):
        kept(module=17)
    assert manager.hooks.tls_static_offset(module=17) == 20


def test_whoever_watches_sees_every_call_until_the_watch_ends(
    manager: PlatformPluginManager,
) -> None:
    seen: list[Any] = []
    assert manager.hooks.tls_static_offset(module=17) == 10
    stop = manager.add_hookcall_monitoring(
        lambda name, implementations, arguments: seen.append((name, dict(arguments))),
        lambda outcome, name, implementations, arguments: seen.append(outcome.get_result()),
    )
    assert manager.hooks.tls_static_offset(module=17) == 10
    stop()
    assert manager.hooks.tls_static_offset(module=17) == 10
    assert seen == [("tls_static_offset", {"module": 17}), 10]


def test_an_implementation_may_ask_for_fewer_arguments_than_there_are(
    manager: PlatformPluginManager,
) -> None:
    assert manager.hooks.tls_key_get(task=None, key=41) == 42


def test_a_hook_that_does_not_exist_is_no_attribute(manager: PlatformPluginManager) -> None:
    with pytest.raises(AttributeError):
        manager.hooks.memory_mpa  # noqa: B018
