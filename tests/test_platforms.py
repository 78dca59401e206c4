"""Whole platforms: side by side, with a stranger's plugin, with memory to the brim."""

from __future__ import annotations

from typing import Any

import pytest

from theseus_kit import (
    BUNDLED,
    AlreadyRegisteredError,
    Group,
    MachineError,
    Platform,
    Plugin,
    PluginDescription,
    PluginError,
    assemble,
    hookimpl,
)
from theseus_kit.task import Task
from theseus_kit.values.exceptions import (
    ExceptionCategory,
    ExceptionContext,
    ExceptionHandler,
    ExceptionOutcome,
    Kill,
    KilledByException,
    KillHandler,
    Resume,
)

COUNTER = """
(module
  (global $count (mut i32) (i32.const 0))
  (func (export "next") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (global.get $count)))
"""


def instantiate(platform: Platform, text: str, imports: tuple[Any, ...] = ()) -> tuple[Any, Any]:
    api = platform.wasmtime
    store = api.Store(platform.boot().engine)
    module = platform.wasmtime.Module(platform.boot().engine, text)
    return store, api.Instance(store, module, list(imports)).exports(store)


def test_two_platforms_run_side_by_side_without_mixing(machine: str) -> None:
    with assemble(machine=machine) as first, assemble(machine=machine) as second:
        stores = [instantiate(platform, COUNTER) for platform in (first, second)]
        for expected in (1, 2, 3):
            assert [exports["next"](store) for store, exports in stores] == [expected] * 2
        assert not first.machine.memory.territory.overlaps(second.machine.memory.territory)
        assert first.wasmtime is not second.wasmtime


def test_a_host_function_of_one_platform_may_run_code_of_another(machine: str) -> None:
    with assemble(machine=machine) as outer, assemble(machine=machine) as inner:
        inner_store, inner_exports = instantiate(inner, COUNTER)
        api = outer.wasmtime
        store = api.Store(outer.boot().engine)
        module = outer.wasmtime.Module(
            outer.boot().engine,
            """(module (import "h" "next" (func $next (result i32)))
                 (func (export "twice") (result i32) (i32.add (call $next) (call $next))))""",
        )
        function = api.Func(
            store, api.FuncType([], [api.ValType.i32()]), lambda: inner_exports["next"](inner_store)
        )
        exports = api.Instance(store, module, [function]).exports(store)
        assert exports["twice"](store) == 1 + 2


def test_a_closed_platform_says_so(machine: str) -> None:
    with assemble(machine=machine) as platform:
        pass
    platform.close()
    with pytest.raises(MachineError):
        platform.load("/lib/x86_64-linux-gnu/libz.so.1")


def test_memory_grows_to_its_maximum_and_not_beyond(platform: Platform) -> None:
    store, exports = instantiate(
        platform,
        """(module (memory (export "memory") 1 1000)
             (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
             (func (export "last") (result i32)
               (i32.store (i32.const 65535996) (i32.const 7)) (i32.load (i32.const 65535996))))""",
    )
    assert exports["grow"](store, 9) == 1
    assert exports["grow"](store, 990) == 10
    assert exports["last"](store) == 7
    assert exports["grow"](store, 1) == -1
    assert exports["memory"].size(store) == 1000


def test_memory_without_a_maximum_grows_to_four_gibibytes(platform: Platform) -> None:
    store, exports = instantiate(
        platform,
        """(module (memory (export "memory") 1)
             (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
             (func (export "last") (result i32)
               (i32.store (i32.const -4) (i32.const 7)) (i32.load (i32.const -4))))""",
    )
    assert exports["grow"](store, 65535) == 1
    assert exports["last"](store) == 7
    assert exports["grow"](store, 1) == -1


class PersistentHandlers(Plugin):
    """Exception handlers that stay registered, POSIX's way: a stranger's provider."""

    description = PluginDescription(
        name="persistent-handlers",
        version="1.0",
        provides=frozenset({Group.EXCEPTION_REGISTRATION}),
    )

    def __init__(self, services: Any, options: Any) -> None:
        super().__init__(services, options)
        self.handlers: dict[tuple[Task, ExceptionCategory], ExceptionHandler] = {}
        self.dispatched = 0

    @hookimpl
    def exception_register(
        self, task: Task, category: ExceptionCategory, handler: ExceptionHandler
    ) -> None:
        if (task, category) in self.handlers:
            raise AlreadyRegisteredError(category.name)
        self.handlers[task, category] = handler

    @hookimpl
    def exception_take(self, task: Task, category: ExceptionCategory) -> ExceptionHandler | None:
        return self.handlers.pop((task, category), None)

    @hookimpl
    def exception_set_kill_handler(self, task: Task, handler: KillHandler | None) -> None:
        raise AssertionError("nobody sets a kill handler here")

    @hookimpl
    def exception_dispatch(self, task: Task, context: ExceptionContext) -> ExceptionOutcome:
        self.dispatched += 1
        assert context.category is not None
        handler = self.handlers.get((task, context.category))
        if handler is not None and handler(context):
            return Resume()
        return Kill(KilledByException(context.vector))


def test_a_stranger_s_provider_replaces_a_bundled_one(machine: str) -> None:
    plugins = [PersistentHandlers if name == "signals" else name for name in BUNDLED]
    with assemble(plugins, machine=machine) as platform:
        shown = {p.group: p.plugin for p in platform.report.providers}
        assert shown["exception-registration"] == "persistent-handlers"
        store, exports = instantiate(platform, '(module (func (export "f") unreachable))')
        provider = platform.plugin("persistent-handlers")
        assert isinstance(provider, PersistentHandlers)
        for expected in (1, 2, 3):
            with pytest.raises(platform.wasmtime.Trap, match="unreachable"):
                exports["f"](store)
            assert provider.dispatched == expected


def test_a_wrapper_sees_every_call_of_its_hook(machine: str) -> None:
    labels: list[str] = []

    class Labels(Plugin):
        description = PluginDescription(name="labels", version="1.0")

        @hookimpl(wrapper=True)
        def memory_map(self, request: Any) -> Any:
            labels.append(request.label)
            return (yield)

    with assemble([Labels, *BUNDLED], machine=machine):
        assert "stack of main" in labels


def test_a_plugin_s_mistake_names_plugin_hook_and_values(machine: str) -> None:
    class Careless(Plugin):
        description = PluginDescription(name="careless", version="1.0")

        @hookimpl(wrapper=True)
        def memory_query(self, address: int) -> Any:
            region = yield
            return region.bsae

    with assemble([Careless, *BUNDLED], machine=machine) as platform:
        stack = platform.tasks.current.stack
        with pytest.raises(PluginError, match="plugin 'careless', hook memory_query") as raised:
            platform.hooks.memory_query(address=stack.start)
        assert f"address={stack.start!r}" in str(raised.value)
        assert isinstance(raised.value.__cause__, AttributeError)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_first_wrapper_of_the_list_is_the_outermost(machine: str, order: str) -> None:
    seen: list[str] = []

    def watcher(letter: str) -> type[Plugin]:
        class Watcher(Plugin):
            description = PluginDescription(name=letter, version="1.0")

            @hookimpl(wrapper=True)
            def memory_query(self, address: int) -> Any:
                seen.append(letter)
                return (yield)

        return Watcher

    with assemble([*map(watcher, order), *BUNDLED], machine=machine) as platform:
        platform.hooks.memory_query(address=platform.tasks.current.stack.start)
        assert "".join(seen) == order
