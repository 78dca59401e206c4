"""Threads' C side with one task: keys, once, mutexes, attributes, futexes."""

import errno
import struct

import pytest

from theseus_kit.errors import GuestKilled

RECURSIVE, ERROR_CHECKING = 1, 2


def mutex_of(c, kind=0):
    attr, mutex = c.block(bytes(8)), c.block(b"\xff" * 40)
    assert c.pthread_mutexattr_init(attr) == 0
    assert c.pthread_mutexattr_settype(attr, kind) == 0
    assert c.pthread_mutex_init(mutex, attr) == 0
    return mutex


def test_a_mutex_is_locked_once_and_unlocked(c):
    mutex = mutex_of(c)

    assert c.pthread_mutex_lock(mutex) == 0
    assert c.pthread_mutex_trylock(mutex) == errno.EBUSY
    assert c.pthread_mutex_destroy(mutex) == errno.EBUSY
    assert c.pthread_mutex_unlock(mutex) == 0
    assert c.pthread_mutex_trylock(mutex) == 0


def test_zeroed_memory_is_a_mutex(c):
    mutex = c.block(bytes(40))

    assert [c.pthread_mutex_lock(mutex), c.pthread_mutex_unlock(mutex)] == [0, 0]


def test_a_recursive_mutex_is_free_after_as_many_unlocks(c):
    mutex = mutex_of(c, RECURSIVE)

    assert [c.pthread_mutex_lock(mutex) for _ in range(3)] == [0, 0, 0]
    assert [c.pthread_mutex_unlock(mutex) for _ in range(4)] == [0, 0, 0, errno.EPERM]


def test_an_error_checking_mutex_says_what_is_wrong(c):
    mutex = mutex_of(c, ERROR_CHECKING)

    assert c.pthread_mutex_unlock(mutex) == errno.EPERM
    assert c.pthread_mutex_lock(mutex) == 0
    assert c.pthread_mutex_lock(mutex) == errno.EDEADLK


def test_waiting_for_a_mutex_that_nobody_can_unlock_is_reported_as_a_deadlock(c):
    mutex = mutex_of(c)
    c.pthread_mutex_lock(mutex)

    with pytest.raises(GuestKilled, match=r"deadlock: task 1 'main' waits for mutex at 0x"):
        c.pthread_mutex_lock(mutex)


def test_once_runs_its_routine_once(c):
    control, runs = c.block(bytes(4)), []
    routine = c.machine.export(lambda: runs.append(1), 0, reenters=True)

    assert [c.pthread_once(control, routine) for _ in range(3)] == [0, 0, 0]
    assert runs == [1]


def test_keys_are_made_set_read_and_deleted(c):
    cell = c.block(bytes(4))
    assert c.pthread_key_create(cell, 0) == 0
    key = c.memory.read_u32(cell)

    assert c.pthread_getspecific(key) == 0
    assert c.pthread_setspecific(key, 0x1234) == 0
    assert c.pthread_getspecific(key) == 0x1234
    assert c.pthread_key_delete(key) == 0
    assert c.pthread_setspecific(key, 1) == errno.EINVAL
    assert c.pthread_key_delete(key) == errno.EINVAL


def test_there_are_1024_keys(c):
    cell = c.block(bytes(4))

    answers = [c.pthread_key_create(cell, 0) for _ in range(1025)]

    assert answers == [0] * 1024 + [errno.EAGAIN]


def test_a_task_knows_its_stack(c):
    attr, address, size = c.block(bytes(56)), c.block(bytes(8)), c.block(bytes(8))
    stack = c.platform.tasks.current.stack

    assert c.pthread_getattr_np(c.pthread_self(), attr) == 0
    assert c.pthread_attr_getstack(attr, address, size) == 0

    assert c.memory.read_u64(address) == stack.start
    assert c.memory.read_u64(size) == stack.size


def test_a_futex_wait_answers_at_once_or_by_its_time_out_or_is_a_deadlock(c):
    word = c.block(struct.pack("<I", 7))
    timeout = c.block(struct.pack("<qq", 0, 1_000_000))
    futex, wait, wake = 202, 0 | 128, 1 | 128

    assert c.syscall_(futex, word, wait, 6) == -errno.EAGAIN
    assert c.syscall_(futex, word, wait, 7, timeout) == -errno.ETIMEDOUT
    assert c.syscall_(futex, word, wake, 1) == 0
    with pytest.raises(GuestKilled, match="deadlock"):
        c.syscall_(futex, word, wait, 7)
