"""memory.grow and its like: guest code changes protections by itself, unless somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from theseus_kit import BUNDLED, Platform, Plugin, PluginDescription, assemble, hookimpl
from theseus_kit.values.memory import PAGE_SIZE, Protection, Region

GROW = """
(module (memory (export "memory") 1)
  (func (export "grow") (param $times i32) (result i32)
    (loop $again
      (drop (memory.grow (i32.const 1)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 7))
    (memory.size)))"""
PAGE = 65536
TIMES = 300


class Watcher(Plugin):
    """Counts changes of protection at one of the two places where one may look on."""

    def __init__(self, services: Any, options: Any) -> None:
        super().__init__(services, options)
        self.seen = 0


class HookWatcher(Watcher):
    description = PluginDescription(name="watcher", version="1", summary="watches a hook")

    @hookimpl(wrapper=True)
    def memory_protect(self, address: int, size: int, protection: Protection) -> Any:
        self.seen += 1
        return (yield)


class CallWatcher(Watcher):
    description = PluginDescription(name="watcher", version="1", summary="watches system calls")

    @hookimpl(wrapper=True)
    def system_calls(self, plugin: str) -> Any:
        calls = yield
        return [self.watched(call) if call.name == "mprotect" else call for call in calls]

    def watched(self, call: Any) -> Any:
        def body(*arguments: int) -> Any:
            self.seen += 1
            return call.function.body(*arguments)

        return call._replace(function=call.function._replace(body=body))


def grow(platform: Platform) -> tuple[Any, Any]:
    """A memory that has grown by many single pages."""
    wasmtime = platform.wasmtime
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, GROW), [])
    exports = instance.exports(store)
    assert exports["grow"](store, TIMES) == TIMES + 1
    return store, exports["memory"]


def test_what_grew_is_what_the_hooks_tell(machine: str) -> None:
    with assemble(machine=machine) as platform:
        store, memory = grow(platform)
        base = _address(memory.data_ptr(store))
        end = base + memory.data_len(store)
        region: Region = platform.hooks.memory_query(address=end - 1)

        assert region.protection == Protection.READ_WRITE
        assert region.range.end == end
        assert platform.machine.memory.read_u32(end - 4) == 7
        assert not platform.hooks.memory_query(address=end).protection


def test_growing_needs_no_python_where_the_machine_knows_how() -> None:
    with assemble(machine="native") as platform:
        asked = []
        served = platform.system_calls._served
        grow(platform)
        function, arity = served[10]
        served[10] = (lambda *words: asked.append(words) or function(*words), arity)
        grow(platform)

    assert len(asked) <= 2


@pytest.mark.parametrize("watcher", [HookWatcher, CallWatcher])
def test_a_watcher_sees_every_change(machine: str, watcher: type[Watcher]) -> None:
    with assemble([*BUNDLED, watcher], machine=machine) as platform:
        grow(platform)
        plugin = platform.plugin("watcher")
        assert isinstance(plugin, Watcher)
        assert plugin.seen >= TIMES


def test_what_is_mapped_anew_is_not_what_it_was(machine: str) -> None:
    with assemble(machine=machine) as platform:
        for _ in range(3):
            store, memory = grow(platform)
            base = _address(memory.data_ptr(store))
            size = memory.data_len(store)
            del memory
            store.close()
            left = platform.hooks.memory_query_range(address=base, size=size)
            assert sum(region.size for region in left) < size
            assert all(region.base % PAGE_SIZE == 0 for region in left)


def _address(pointer: Any) -> int:
    import ctypes

    return ctypes.cast(pointer, ctypes.c_void_p).value or 0
