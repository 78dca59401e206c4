"""Thread-local storage through its hooks, and as C and ELF code see it."""

import struct
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theseus_kit.errors import InvalidParameterError, NotRegisteredError, OutOfMemoryError
from theseus_kit.values.tls import TlsTemplate


def template(size=64, initial=b"initial", alignment=8, static=False):
    return TlsTemplate("test.so", 0, size, alignment, initial, static)


def make_task(c, name="second"):
    return c.platform.tasks.create(name, c.platform.hooks)


def test_the_control_block_points_at_itself_and_has_a_canary(c):
    base = c.platform.tasks.current.thread.fs_base

    assert c.memory.read_u64(base) == c.memory.read_u64(base + 0x10) == base
    canary = c.memory.read(base + 0x28, 8)
    assert canary[0] == 0
    assert any(canary[1:])


def test_code_reads_its_control_block_through_fs(c):
    read = c.machine.place_code(bytes.fromhex("64488b042500000000 c3"))  # mov rax, fs:0; ret

    assert c.machine.call(read) == c.platform.tasks.current.thread.fs_base
    assert c.pthread_self() == c.platform.tasks.current.thread.fs_base


def test_a_dynamic_block_starts_as_its_template_and_is_each_tasks_own(c):
    hooks, first = c.platform.hooks, c.platform.tasks.current
    second = make_task(c)
    module = hooks.tls_add_module(template=template())

    addresses = [hooks.tls_address(task=t, module=module, offset=0) for t in (first, second)]

    assert len(set(addresses)) == 2
    for address in addresses:
        assert c.memory.read(address, 64) == b"initial".ljust(64, b"\0")
    assert hooks.tls_address(task=first, module=module, offset=9) == addresses[0] + 9


def test_tls_get_addr_answers_as_the_hook_does_at_first_and_later(c):
    hooks, task = c.platform.hooks, c.platform.tasks.current
    module = hooks.tls_add_module(template=template())
    index = c.block(struct.pack("<QQ", module, 5))

    answers = [c("__tls_get_addr", index) for _ in range(3)]

    assert set(answers) == {hooks.tls_address(task=task, module=module, offset=5)}


def test_modules_beyond_the_vector_are_served_too(c):
    hooks = c.platform.hooks
    modules = [hooks.tls_add_module(template=template(16, b"%d" % n)) for n in range(300)]

    for n, module in enumerate(modules):
        index = c.block(struct.pack("<QQ", module, 0))
        address = c("__tls_get_addr", index)
        assert c.memory.read_string(address) == b"%d" % n


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 8)), max_size=8))
def test_static_blocks_lie_below_the_thread_pointer_aligned_and_apart(shared, sizes):
    hooks, task = shared.platform.hooks, shared.platform.tasks.current
    blocks = []
    for size, power in sizes:
        module = hooks.tls_add_module(template=template(size, b"x" * size, 1 << power, True))
        offset = hooks.tls_static_offset(module=module)
        address = hooks.tls_address(task=task, module=module, offset=0)
        assert address == task.thread.fs_base + offset
        assert address % (1 << power) == 0
        assert shared.memory.read(address, size) == b"x" * size
        blocks.append((address, address + size))
    blocks.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(blocks))


def test_static_modules_reach_tasks_that_start_later(c):
    hooks = c.platform.hooks
    module = hooks.tls_add_module(template=template(static=True))
    task = make_task(c)

    address = task.thread.fs_base + hooks.tls_static_offset(module=module)

    assert c.memory.read(address, 7) == b"initial"


def test_there_is_an_end_to_static_room(c):
    with pytest.raises(OutOfMemoryError):
        c.platform.hooks.tls_add_module(template=template(1 << 20, static=True))


def test_a_dynamic_module_has_no_static_offset(c):
    module = c.platform.hooks.tls_add_module(template=template())

    with pytest.raises(InvalidParameterError):
        c.platform.hooks.tls_static_offset(module=module)


def test_a_removed_module_is_unknown_and_its_block_is_free_again(c):
    hooks, task = c.platform.hooks, c.platform.tasks.current
    module = hooks.tls_add_module(template=template())
    address = hooks.tls_address(task=task, module=module, offset=0)

    hooks.tls_remove_module(module=module)

    assert c.malloc(64) == address
    with pytest.raises(NotRegisteredError):
        hooks.tls_remove_module(module=module)
    with pytest.raises(NotRegisteredError):
        hooks.tls_address(task=task, module=module, offset=0)


def test_keys_hold_a_value_for_each_task(c):
    hooks, first, second = c.platform.hooks, c.platform.tasks.current, make_task(c)
    key = hooks.tls_key_create(destructor=0)

    hooks.tls_key_set(task=first, key=key, value=5)

    assert hooks.tls_key_get(task=first, key=key) == 5
    assert hooks.tls_key_get(task=second, key=key) == 0


def test_a_deleted_key_may_be_made_again_without_its_old_value(c):
    hooks, task = c.platform.hooks, c.platform.tasks.current
    key = hooks.tls_key_create(destructor=0)
    hooks.tls_key_set(task=task, key=key, value=5)

    hooks.tls_key_delete(key=key)

    with pytest.raises(InvalidParameterError):
        hooks.tls_key_set(task=task, key=key, value=1)
    assert hooks.tls_key_create(destructor=0) == key
    assert hooks.tls_key_get(task=task, key=key) == 0


def exported(c, body):
    return c.machine.export(body, 1, reenters=True)


def test_destructors_run_last_registered_first_before_those_of_keys(c):
    hooks, task = c.platform.hooks, make_task(c)
    order = []
    function = exported(c, order.append)
    key = hooks.tls_key_create(destructor=exported(c, lambda value: order.append(-value)))
    hooks.tls_key_set(task=task, key=key, value=9)
    for argument in (1, 2, 3):
        hooks.tls_add_destructor(task=task, function=function, argument=argument)

    hooks.tls_run_destructors(task=task)

    assert order == [3, 2, 1, -9]


def test_a_destructor_that_sets_its_key_again_runs_four_times_at_most(c):
    hooks, task = c.platform.hooks, make_task(c)
    runs = []

    def destructor(value):
        runs.append(value)
        hooks.tls_key_set(task=task, key=key, value=value + 1)

    key = hooks.tls_key_create(destructor=exported(c, destructor))
    hooks.tls_key_set(task=task, key=key, value=1)

    hooks.tls_run_destructors(task=task)

    assert runs == [1, 2, 3, 4]


def test_an_ended_task_gives_its_memory_back(c):
    task = make_task(c)
    base = task.thread.fs_base

    c.platform.tasks.end(task, c.platform.hooks)

    assert not c.platform.hooks.memory_query_range(address=base, size=8)
    with pytest.raises(InvalidParameterError):
        c.platform.hooks.tls_key_get(task=task, key=0)
