"""Guest code maps and protects memory by itself, unless somebody watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theseus_kit import BUNDLED, Platform, Plugin, PluginDescription, assemble, hookimpl
from theseus_kit.values.memory import PAGE_SIZE, BytesBacking, MapRequest, Protection, Region

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


class AllWatcher(Watcher):
    description = PluginDescription(name="watcher", version="1", summary="watches all hooks")

    @hookimpl(wrapper=True)
    def memory_map(self, request: MapRequest) -> Any:
        return (yield)

    @hookimpl(wrapper=True)
    def memory_unmap(self, address: int, size: int) -> Any:
        return (yield)

    @hookimpl(wrapper=True)
    def memory_protect(self, address: int, size: int, protection: Protection) -> Any:
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
        asked: list[Any] = []
        served = platform.system_calls._served
        grow(platform)
        function, arity = served[10]
        served[10] = (_counted(function, asked), arity)
        grow(platform)

    assert len(asked) <= 2


@pytest.mark.parametrize("watcher", [HookWatcher, CallWatcher])
def test_a_watcher_sees_every_change(machine: str, watcher: type[Watcher]) -> None:
    with assemble([*BUNDLED, watcher], machine=machine) as platform:
        grow(platform)
        plugin = platform.plugin("watcher")
        assert isinstance(plugin, Watcher)
        assert plugin.seen >= TIMES


def test_instances_come_and_go_without_python_where_the_machine_knows_how() -> None:
    with assemble(machine="native") as platform:
        for _ in range(3):
            grow(platform)[0].close()
        asked: list[Any] = []
        served = platform.system_calls._served
        for number in (9, 10, 11):
            function, arity = served[number]
            served[number] = (_counted(function, asked), arity)
        wasmtime = platform.wasmtime
        engine = wasmtime.Engine()
        module = wasmtime.Module(engine, GROW)
        for _ in range(20):
            store = wasmtime.Store(engine)
            wasmtime.Instance(store, module, [])
            store.close()

    assert len(asked) <= 12


# A page of guest code, 64 bytes each: mmap, munmap, mprotect
CALLS = (
    "90 4989ca 4531c9 b809000000 0f05 c3",  # mov r10, rcx; xor r9d, r9d; mov eax, 9; syscall; ret
    "90 b80b000000 0f05 c3",  # nop; mov eax, 11; syscall; ret
    "90 b80a000000 0f05 c3",  # nop; mov eax, 10; syscall; ret
)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["map", "unmap", "protect"]),
        st.integers(0, 3),
        st.integers(1, 3),
        st.integers(0, 2),
        st.sampled_from([0, 1, 3]),
    ),
    max_size=40,
)


class Guest:
    """Maps, unmaps and protects by bare system calls."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        code = b"".join(bytes.fromhex(text).ljust(64, b"\x90") for text in CALLS)
        request = MapRequest(
            PAGE_SIZE, Protection.READ_EXECUTE, backing=BytesBacking(code), label="code"
        )
        self.code = platform.hooks.memory_map(request=request).base
        self.bases: list[int] = []

    def call(self, which: int, *arguments: int) -> int:
        return self.platform.machine.call(self.code + 64 * which, arguments)

    def do(self, what: str, which: int, pages: int, offset: int, protection: int) -> int:
        """One operation on one of the last mappings; what it answered, addresses being 0."""
        if what == "map":
            base = self.call(0, 0, pages * PAGE_SIZE, protection, 0x22)
            self.bases = [*self.bases[-3:], base]
            return 0
        if not self.bases:
            return 0
        start = self.bases[which % len(self.bases)] + offset * PAGE_SIZE
        if what == "unmap":
            return self.call(1, start, pages * PAGE_SIZE)
        return self.call(2, start, pages * PAGE_SIZE, protection)

    def accounts(self) -> list[tuple[int, int, str]]:
        """(start, end, protection) of what is mapped by guest code, from the hooks."""
        regions = self.platform.hooks.memory_query_range(address=0, size=(1 << 64) - 1)
        return [
            (region.base, region.range.end, str(region.protection)[:2])
            for region in regions
            if region.label == "mmap"
        ]

    def kernel(self) -> list[tuple[int, int, str]]:
        """The same addresses with what the kernel says of them."""
        maps = []
        for line in Path("/proc/self/maps").read_text().splitlines():
            addresses, protection = line.split()[:2]
            start, end = (int(address, 16) for address in addresses.split("-"))
            maps.append((start, end, protection[:2]))
        found = []
        for start, end, _ in self.accounts():
            inside = [(max(a, start), min(b, end), p) for a, b, p in maps if a < end and start < b]
            assert len({p for _, _, p in inside}) == 1
            assert sum(b - a for a, b, _ in inside) == end - start
            found.append((start, end, inside[0][2]))
        return found


def test_both_ways_of_mapping_do_the_same() -> None:
    with (
        assemble(machine="native") as direct,
        assemble([*BUNDLED, AllWatcher], machine="native") as watched,
    ):
        guests = [Guest(direct), Guest(watched)]

        @settings(max_examples=40, deadline=None)
        @given(OPERATIONS)
        def check(operations: list[tuple[str, int, int, int, int]]) -> None:
            for operation in operations:
                answers = {guest.do(*operation) for guest in guests}
                # Addresses may differ, and with them whether a neighbour lies behind the end.
                if operation[0] == "map":
                    assert answers == {0}
            for guest in guests:
                accounts = guest.accounts()
                assert guest.kernel() == accounts
                for start, end, protection in accounts:
                    if protection == "rw":
                        view = direct.machine.memory.view[start:end]
                        assert bytes(view) == bytes(end - start)

        check()


def _counted(function: Any, asked: list[Any]) -> Any:
    return lambda *words: asked.append(words) or function(*words)


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
