"""Conformance of thread-local storage: modules, areas, keys, destructors."""

from __future__ import annotations

import errno
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from unittest import SkipTest

from theseus_kit.capabilities import Capability
from theseus_kit.errors import InvalidParameterError, NotRegisteredError, PlatformError
from theseus_kit.hookspecs import Group, ThreadLocalStorage
from theseus_kit.machine.protocol import Ability
from theseus_kit.task import Task
from theseus_kit.testing.conformance.suite import Conformance, clause, needs
from theseus_kit.values.tls import TlsTemplate

READ_FS_CODE = bytes.fromhex("64488b07 c3")
READ_FS = """
    mov rax, qword ptr fs:[rdi]
    ret
"""
MASK = (1 << 64) - 1
MIB = 1 << 20


def template(
    size: int = 64, initial: bytes = b"initial", alignment: int = 8, static: bool = False
) -> TlsTemplate:
    return TlsTemplate("conformance.so", 0, size, alignment, initial, static)


class ThreadLocalStorageConformance(Conformance):
    """The group's suite."""

    group = Group.THREAD_LOCAL_STORAGE

    def add(self, module: TlsTemplate) -> int:
        number: int = self.hooks.tls_add_module(template=module)
        return number

    def address(self, module: int, offset: int = 0, task: Task | None = None) -> int:
        answer: int = self.hooks.tls_address(task=task or self.task, module=module, offset=offset)
        return answer

    def get(self, key: int, task: Task | None = None) -> int:
        value: int = self.hooks.tls_key_get(task=task or self.task, key=key)
        return value

    def set(self, key: int, value: int, task: Task | None = None) -> None:
        self.hooks.tls_key_set(task=task or self.task, key=key, value=value)

    def guest_function(self, function: Callable[[int], Any]) -> int:
        """The address of a guest function that calls a Python one."""
        return self.machine.export(function, 1, reenters=True)

    def mapped_bytes(self) -> int:
        regions = self.hooks.memory_query_range(address=0, size=MASK)
        return sum(region.size for region in regions)

    def end(self, task: Task) -> None:
        self.platform.tasks.end(task, self.hooks)

    @clause(
        ThreadLocalStorage.tls_add_module,
        "Register an image's TLS template and return its module number, 1 or more",
    )
    def test_modules_have_numbers_of_their_own_from_one_on(self) -> None:
        numbers = [self.add(template(static=static)) for static in (False, True, False)]
        assert len(set(numbers)) == 3
        assert min(numbers) >= 1

    @clause(ThreadLocalStorage.tls_address, "Return the address of a variable")
    @clause(TlsTemplate, "the bytes from there to ``size`` are .tbss, zero")
    def test_a_block_starts_as_its_template_and_then_is_zero(self) -> None:
        for static in (False, True):
            module = self.add(template(100, b"x" * 33, static=static))
            assert self.memory.read(self.address(module), 100) == b"x" * 33 + bytes(67)

    @clause(ThreadLocalStorage, "Per-task variables")
    def test_each_task_has_blocks_of_its_own(self) -> None:
        early = self.add(template())
        second = self.new_task()
        late = self.add(template())
        for module in (early, late):
            mine, other = self.address(module), self.address(module, task=second)
            self.memory.write(mine, b"changed")
            assert self.memory.read(other, 7) == b"initial"

    @clause(ThreadLocalStorage.tls_address, "making the task's block at its first use")
    def test_a_variable_stays_where_it_is_and_offsets_count_from_the_block(self) -> None:
        for static in (False, True):
            module = self.add(template(static=static))
            block = self.address(module)
            self.memory.write(block + 8, b"kept")
            self.add(template(static=static))
            assert self.address(module) == block
            assert self.memory.read(self.address(module, 8), 4) == b"kept"
            assert self.address(module, 63) == block + 63

    @clause(ThreadLocalStorage, "ELF TLS modules")
    def test_blocks_have_their_alignment_and_lie_apart(self) -> None:
        blocks = []
        for size in (1, 24, 100):
            for alignment in (1, 16, 64):
                for static in (False, True):
                    module = self.add(template(size, b"", alignment, static))
                    start = self.address(module)
                    assert start % alignment == 0
                    blocks.append((start, start + size))
        assert all(end <= start for (_, end), (start, _) in pairwise(sorted(blocks)))

    @clause(
        ThreadLocalStorage.tls_static_offset,
        "Return the (negative) offset of a static module's block from the thread pointer",
    )
    def test_a_static_block_lies_at_its_negative_offset_in_every_task(self) -> None:
        module = self.add(template(static=True))
        offset = self.hooks.tls_static_offset(module=module)
        assert offset <= -64
        for task in (self.task, self.new_task()):
            assert self.address(module, task=task) == task.thread.fs_base + offset

    @needs(Capability.LATE_STATIC_MODULES)
    @clause(TlsTemplate, "its block must lie at a fixed offset below the")
    def test_a_static_module_reaches_tasks_that_exist_already(self) -> None:
        second = self.new_task()
        offset = self.hooks.tls_static_offset(module=self.add(template(static=True)))
        for task in (self.task, second):
            assert self.memory.read(task.thread.fs_base + offset, 9) == b"initial\0\0"

    @clause(ThreadLocalStorage.tls_create_area, "static blocks; return its FS base")
    def test_a_static_module_reaches_tasks_that_start_later(self) -> None:
        offset = self.hooks.tls_static_offset(module=self.add(template(static=True)))
        base = self.new_task().thread.fs_base
        assert self.memory.read(base + offset, 9) == b"initial\0\0"

    @clause(ThreadLocalStorage.tls_static_offset, "Raises InvalidParameterError for a module")
    def test_what_is_not_static_has_no_static_offset(self) -> None:
        module = self.add(template())
        for number in (module, module + 1000, 0):
            with self.refused(InvalidParameterError, errno.EINVAL):
                self.hooks.tls_static_offset(module=number)

    @clause(ThreadLocalStorage.tls_remove_module, "Raises NotRegisteredError")
    def test_a_module_is_removed_once(self) -> None:
        module = self.add(template())
        self.address(module)
        self.hooks.tls_remove_module(module=module)
        for number in (module, module + 1000):
            with self.refused(NotRegisteredError, errno.ENOENT):
                self.hooks.tls_remove_module(module=number)

    @clause(ThreadLocalStorage.tls_remove_module, "Forget a module")
    def test_a_removed_module_has_no_variables_any_more(self) -> None:
        touched, untouched = self.add(template()), self.add(template())
        self.address(touched)
        for module in (touched, untouched):
            self.hooks.tls_remove_module(module=module)
            self.raised(PlatformError, self.address, module)

    @needs(Capability.MODULE_REMOVAL, Capability.DYNAMIC_MODULES)
    @clause(ThreadLocalStorage.tls_remove_module, "free its blocks in every task")
    def test_the_blocks_of_removed_modules_are_freed(self) -> None:
        second = self.new_task()
        before = self.mapped_bytes()
        for _ in range(64):
            module = self.add(template(MIB, b"x"))
            for task in (self.task, second):
                self.address(module, task=task)
            self.hooks.tls_remove_module(module=module)
        assert self.mapped_bytes() - before < 16 * MIB

    @clause(ThreadLocalStorage.tls_create_area, "its own address at fs:0 and fs:0x10")
    def test_the_control_block_tells_its_own_address(self) -> None:
        for task in (self.task, self.new_task()):
            base = task.thread.fs_base
            assert self.memory.read_u64(base) == base
            assert self.memory.read_u64(base + 0x10) == base

    @clause(ThreadLocalStorage.tls_create_area, "a stack protector's canary at fs:0x28")
    def test_the_control_block_has_a_canary_whose_low_byte_is_zero(self) -> None:
        canary = self.memory.read(self.task.thread.fs_base + 0x28, 8)
        assert canary[0] == 0
        assert any(canary)

    @clause(ThreadLocalStorage.tls_create_area, "return its FS base")
    def test_guest_code_finds_static_variables_by_fs(self) -> None:
        if Ability.THREAD_POINTER not in self.machine.abilities:
            raise SkipTest("the machine has no FS base for each task")
        module = self.add(template(8, b"\x2a", static=True))
        offset = self.hooks.tls_static_offset(module=module)
        read = self.machine.place_code(READ_FS_CODE, "read fs")
        assert self.machine.call(read, (offset & MASK,)) == 42
        assert self.machine.call(read, (0,)) == self.task.thread.fs_base

    @clause(ThreadLocalStorage.tls_destroy_area, "Free everything the task has")
    def test_ended_tasks_give_their_storage_back(self) -> None:
        modules = [self.add(template(MIB, b"x", static=False)), self.add(template(static=True))]
        self.end(self.new_task())
        before = self.mapped_bytes()
        for _ in range(64):
            task = self.new_task()
            for module in modules:
                self.address(module, task=task)
            self.end(task)
        assert self.mapped_bytes() - before < MIB

    @clause(ThreadLocalStorage.tls_key_create, "Make a dynamic key")
    @clause(ThreadLocalStorage.tls_key_set, "Set the task's value of a key")
    def test_a_key_holds_a_value_for_each_task(self) -> None:
        second = self.new_task()
        keys = [self.hooks.tls_key_create(destructor=0) for _ in range(3)]
        assert len(set(keys)) == 3
        for number, key in enumerate(keys):
            self.set(key, number + 5)
            self.set(key, MASK - number, second)
        assert [self.get(key) for key in keys] == [5, 6, 7]
        assert [self.get(key, second) for key in keys] == [MASK, MASK - 1, MASK - 2]

    @clause(ThreadLocalStorage.tls_key_get, "0 where it was never set")
    def test_a_key_that_was_never_set_is_zero(self) -> None:
        key = self.hooks.tls_key_create(destructor=0)
        second = self.new_task()
        assert self.get(key) == 0
        self.set(key, 5)
        assert self.get(key, second) == 0

    @clause(ThreadLocalStorage.tls_key_set, "Raises InvalidParameterError")
    @clause(ThreadLocalStorage.tls_key_delete, "Raises InvalidParameterError")
    def test_a_deleted_key_is_unknown(self) -> None:
        key = self.hooks.tls_key_create(destructor=0)
        self.hooks.tls_key_delete(key=key)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.set(key, 1)
        with self.refused(InvalidParameterError, errno.EINVAL):
            self.hooks.tls_key_delete(key=key)

    @clause(ThreadLocalStorage.tls_key_create, "Make a dynamic key")
    def test_a_new_key_has_no_value_of_a_deleted_one(self) -> None:
        second = self.new_task()
        for _ in range(3):
            key = self.hooks.tls_key_create(destructor=0)
            assert self.get(key) == self.get(key, second) == 0
            self.set(key, 5)
            self.set(key, 6, second)
            self.hooks.tls_key_delete(key=key)

    @clause(ThreadLocalStorage.tls_key_delete, "Delete a key without running its destructor")
    def test_a_deleted_key_s_destructor_never_runs(self) -> None:
        ran: list[int] = []
        task = self.new_task()
        key = self.hooks.tls_key_create(destructor=self.guest_function(ran.append))
        self.set(key, 5, task)
        self.hooks.tls_key_delete(key=key)
        self.end(task)
        assert ran == []

    @clause(
        ThreadLocalStorage.tls_add_destructor,
        "Have ``function(argument)`` called when the task ends",
    )
    def test_a_task_s_destructors_run_when_it_ends_and_no_other_s(self) -> None:
        order: list[int] = []
        task, other = self.new_task(), self.new_task()
        function = self.guest_function(order.append)
        for argument in (1, MASK):
            self.hooks.tls_add_destructor(task=task, function=function, argument=argument)
        self.hooks.tls_add_destructor(task=other, function=function, argument=9)
        assert order == []
        self.end(task)
        assert sorted(order) == [1, MASK]

    @needs(Capability.DESTRUCTORS_LAST_FIRST)
    @clause(ThreadLocalStorage, "destructors")
    def test_destructors_run_last_registered_first(self) -> None:
        order: list[int] = []
        task = self.new_task()
        function = self.guest_function(order.append)
        for argument in (1, 2, MASK):
            self.hooks.tls_add_destructor(task=task, function=function, argument=argument)
        self.end(task)
        assert order == [MASK, 2, 1]

    @clause(
        ThreadLocalStorage.tls_run_destructors,
        "Run the ending task's destructors, then those of its keys' values",
    )
    def test_keys_destructors_run_after_the_others_with_the_keys_values(self) -> None:
        order: list[tuple[str, int]] = []
        task = self.new_task()
        plain = self.guest_function(lambda argument: order.append(("plain", argument)))
        keyed = self.guest_function(lambda value: order.append(("key", value)))
        keys = [self.hooks.tls_key_create(destructor=keyed) for _ in range(2)]
        without = self.hooks.tls_key_create(destructor=0)
        self.set(keys[0], 5, task)
        self.set(without, 6, task)
        self.hooks.tls_add_destructor(task=task, function=plain, argument=7)
        self.end(task)
        assert order == [("plain", 7), ("key", 5)]

    @clause(ThreadLocalStorage.tls_run_destructors, "then those of its keys' values")
    def test_a_destructor_that_sets_its_key_again_runs_four_times_at_most(self) -> None:
        values: list[tuple[int, int]] = []
        task = self.new_task()

        def destructor(value: int) -> None:
            values.append((value, self.get(key, task)))
            self.set(key, value + 1, task)

        key = self.hooks.tls_key_create(destructor=self.guest_function(destructor))
        self.set(key, 1, task)
        self.end(task)
        assert values == [(1, 0), (2, 0), (3, 0), (4, 0)]

    @clause(ThreadLocalStorage.tls_run_destructors, "Run the ending task's destructors")
    def test_destructors_that_are_added_by_a_destructor_run_too(self) -> None:
        order: list[int] = []
        task = self.new_task()

        def add_more(argument: int) -> None:
            order.append(argument)
            if argument < 3:
                self.hooks.tls_add_destructor(task=task, function=function, argument=argument + 1)

        function = self.guest_function(add_more)
        self.hooks.tls_add_destructor(task=task, function=function, argument=1)
        self.end(task)
        assert order == [1, 2, 3]

    @clause(ThreadLocalStorage, "Per-task variables")
    def test_wasmtime_keeps_account_of_calls_within_calls(self) -> None:
        wasmtime = self.platform.wasmtime
        store = wasmtime.Store()
        inner = wasmtime.Instance(store, wasmtime.Module(store.engine, TRAPPING), [])

        def call_and_catch() -> int:
            self.raised(wasmtime.Trap, inner.exports(store)["trap"], store)
            return 41

        host = wasmtime.Func(store, wasmtime.FuncType([], [wasmtime.ValType.i32()]), call_and_catch)
        outer = wasmtime.Instance(store, wasmtime.Module(store.engine, CALLING), [host])
        for _ in range(2):
            assert outer.exports(store)["call"](store) == 42


TRAPPING = '(module (func (export "trap") unreachable))'
CALLING = """
(module
  (import "" "" (func $host (result i32)))
  (func (export "call") (result i32) (i32.add (call $host) (i32.const 1))))
"""
