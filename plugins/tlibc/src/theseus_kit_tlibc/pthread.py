"""pthread.h: identity, attributes, keys, once and mutexes of tasks.

Tasks switch only where they block. A mutex that is taken, asked for by the only task that could
run, is a deadlock, and is reported as one.

pthread_mutex_t, the words of it used here, where glibc has them::

    0   lock: 0 free, 1 taken      4   count of a recursive lock
    8   owner: the task's id      16   kind: 0 normal, 1 recursive, 2 error-checking

pthread_attr_t, likewise::

    16  guard size    24  stack address (its lowest byte here)    32  stack size
"""

from __future__ import annotations

import errno
from typing import ClassVar, NoReturn

from theseus_kit.errors import GuestKilled, InvalidParameterError, PlatformError
from theseus_kit.task import STACK_SIZE
from theseus_kit.values.exceptions import Panicked
from theseus_kit.values.memory import PAGE_SIZE
from theseus_kit_tlibc.declare import NULL, RESULT, Header, c_function

RECURSIVE = 1
ERROR_CHECKING = 2
PTHREAD_STACK_MIN = 16384
_MUTEX_SIZE = 40
_ATTRIBUTES_SIZE = 56
_GUARD_SIZE, _STACK_ADDRESS, _STACK_SIZE = 16, 24, 32
_COUNT, _OWNER, _KIND = 4, 8, 16
_ONCE_RUNNING, _ONCE_DONE = 1, 2


class Pthread(Header):
    header: ClassVar[str] = "pthread.h"

    @c_function("pthread_t pthread_self(void)")
    def pthread_self(self) -> int:
        """The task's thread control block, as glibc has it."""
        return self.library.task.thread.fs_base

    @c_function("int pthread_equal(pthread_t t1, pthread_t t2)")
    def pthread_equal(self, t1: int, t2: int) -> int:
        return t1 == t2

    @c_function(
        "int pthread_create(pthread_t *thread, const pthread_attr_t *attr, "
        "void *(*start_routine)(void *), void *arg)",
        on_error=RESULT,
    )
    def pthread_create(self, thread: int, attr: int, start_routine: int, arg: int) -> NoReturn:
        """Say that this platform has no threads beside the one there is.

        ENOSYS, not EAGAIN, which would promise that it may work later. Programs ask for it: Rust
        takes it for io::ErrorKind::Unsupported, upon which rayon works on the calling thread.
        """
        raise PlatformError("this platform has a single task", errno.ENOSYS)

    @c_function("int pthread_attr_init(pthread_attr_t *attr)", on_error=RESULT)
    def pthread_attr_init(self, attr: int) -> int:
        memory = self.library.memory
        memory.write(attr, bytes(_ATTRIBUTES_SIZE))
        memory.write_u64(attr + _GUARD_SIZE, PAGE_SIZE)
        memory.write_u64(attr + _STACK_SIZE, STACK_SIZE)
        return 0

    @c_function("int pthread_attr_destroy(pthread_attr_t *attr)", on_error=RESULT)
    def pthread_attr_destroy(self, attr: int) -> int:
        return 0

    @c_function(
        "int pthread_attr_setstacksize(pthread_attr_t *attr, size_t stacksize)", on_error=RESULT
    )
    def pthread_attr_setstacksize(self, attr: int, stacksize: int) -> int:
        if stacksize < PTHREAD_STACK_MIN:
            raise InvalidParameterError(f"a stack of {stacksize} bytes")
        self.library.memory.write_u64(attr + _STACK_SIZE, stacksize)
        return 0

    @c_function(
        "int pthread_attr_getguardsize(const pthread_attr_t *attr, size_t *guardsize)",
        on_error=RESULT,
    )
    def pthread_attr_getguardsize(self, attr: int, guardsize: int) -> int:
        memory = self.library.memory
        memory.write_u64(guardsize, memory.read_u64(attr + _GUARD_SIZE))
        return 0

    @c_function(
        "int pthread_attr_getstack(const pthread_attr_t *attr, void **stackaddr, "
        "size_t *stacksize)",
        on_error=RESULT,
    )
    def pthread_attr_getstack(self, attr: int, stackaddr: int, stacksize: int) -> int:
        memory = self.library.memory
        memory.write_u64(stackaddr, memory.read_u64(attr + _STACK_ADDRESS))
        memory.write_u64(stacksize, memory.read_u64(attr + _STACK_SIZE))
        return 0

    @c_function("int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)", on_error=RESULT)
    def pthread_getattr_np(self, thread: int, attr: int) -> int:
        """The attributes a running task has: where its stack lies."""
        for task in self.library.services.tasks:
            if task.thread.fs_base == thread:
                self.pthread_attr_init(attr)
                self.library.memory.write_u64(attr + _STACK_ADDRESS, task.stack.start)
                self.library.memory.write_u64(attr + _STACK_SIZE, task.stack.size)
                return 0
        raise PlatformError(f"no thread {thread:#x}", errno.ESRCH)

    @c_function(
        "int pthread_key_create(pthread_key_t *key, void (*destructor)(void *))",
        aliases=("__pthread_key_create",),
        on_error=RESULT,
    )
    def pthread_key_create(self, key: int, destructor: int) -> int:
        self.library.memory.write_u32(key, self.library.hooks.tls_key_create(destructor=destructor))
        return 0

    @c_function("int pthread_key_delete(pthread_key_t key)", on_error=RESULT)
    def pthread_key_delete(self, key: int) -> int:
        self.library.hooks.tls_key_delete(key=key)
        return 0

    @c_function("void *pthread_getspecific(pthread_key_t key)", on_error=NULL)
    def pthread_getspecific(self, key: int) -> int:
        value: int = self.library.hooks.tls_key_get(task=self.library.task, key=key)
        return value

    @c_function("int pthread_setspecific(pthread_key_t key, const void *value)", on_error=RESULT)
    def pthread_setspecific(self, key: int, value: int) -> int:
        self.library.hooks.tls_key_set(task=self.library.task, key=key, value=value)
        return 0

    @c_function(
        "int pthread_once(pthread_once_t *once_control, void (*init_routine)(void))",
        on_error=RESULT,
        reenters=True,
    )
    def pthread_once(self, once_control: int, init_routine: int) -> int:
        memory = self.library.memory
        state = memory.read_u32(once_control)
        if state == _ONCE_RUNNING:
            self._deadlock(f"pthread_once({once_control:#x}) inside its own routine")
        if state != _ONCE_DONE:
            memory.write_u32(once_control, _ONCE_RUNNING)
            self.library.machine.call(init_routine)
            memory.write_u32(once_control, _ONCE_DONE)
        return 0

    @c_function("int pthread_mutexattr_init(pthread_mutexattr_t *attr)", on_error=RESULT)
    def pthread_mutexattr_init(self, attr: int) -> int:
        self.library.memory.write_u32(attr, 0)
        return 0

    @c_function(
        "int pthread_mutexattr_settype(pthread_mutexattr_t *attr, int kind)", on_error=RESULT
    )
    def pthread_mutexattr_settype(self, attr: int, kind: int) -> int:
        if kind not in (0, RECURSIVE, ERROR_CHECKING):
            raise PlatformError(f"no mutex type {kind}", errno.EINVAL)
        self.library.memory.write_u32(attr, kind)
        return 0

    @c_function("int pthread_mutexattr_destroy(pthread_mutexattr_t *attr)", on_error=RESULT)
    def pthread_mutexattr_destroy(self, attr: int) -> int:
        return 0

    @c_function(
        "int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)",
        on_error=RESULT,
    )
    def pthread_mutex_init(self, mutex: int, attr: int) -> int:
        memory = self.library.memory
        memory.write(mutex, bytes(_MUTEX_SIZE))
        if attr:
            memory.write_u32(mutex + _KIND, memory.read_u32(attr))
        return 0

    @c_function("int pthread_mutex_destroy(pthread_mutex_t *mutex)", on_error=RESULT)
    def pthread_mutex_destroy(self, mutex: int) -> int:
        if self.library.memory.read_u32(mutex):
            raise PlatformError("pthread_mutex_destroy of a locked mutex", errno.EBUSY)
        return 0

    @c_function("int pthread_mutex_lock(pthread_mutex_t *mutex)", on_error=RESULT)
    def pthread_mutex_lock(self, mutex: int) -> int:
        if not self._try_lock(mutex):
            owner = self.library.memory.read_u32(mutex + _OWNER)
            kind = self.library.memory.read_u32(mutex + _KIND)
            if kind == ERROR_CHECKING and owner == self.library.task.id:
                raise PlatformError("pthread_mutex_lock of a mutex one owns", errno.EDEADLK)
            self._deadlock(f"pthread_mutex_lock({mutex:#x}), which task {owner} holds")
        return 0

    @c_function("int pthread_mutex_trylock(pthread_mutex_t *mutex)", on_error=RESULT)
    def pthread_mutex_trylock(self, mutex: int) -> int:
        return 0 if self._try_lock(mutex) else errno.EBUSY

    @c_function("int pthread_mutex_unlock(pthread_mutex_t *mutex)", on_error=RESULT)
    def pthread_mutex_unlock(self, mutex: int) -> int:
        memory = self.library.memory
        owned = memory.read_u32(mutex) and memory.read_u32(mutex + _OWNER) == self.library.task.id
        if not owned and memory.read_u32(mutex + _KIND) in (RECURSIVE, ERROR_CHECKING):
            raise PlatformError("pthread_mutex_unlock of a mutex one does not own", errno.EPERM)
        count = memory.read_u32(mutex + _COUNT)
        if count > 1:
            memory.write_u32(mutex + _COUNT, count - 1)
            return 0
        memory.write(mutex, bytes(_OWNER + 4))
        return 0

    def _try_lock(self, mutex: int) -> bool:
        memory = self.library.memory
        me = self.library.task.id
        if not memory.read_u32(mutex):
            memory.write_u32(mutex, 1)
            memory.write_u32(mutex + _COUNT, 1)
            memory.write_u32(mutex + _OWNER, me)
            return True
        if memory.read_u32(mutex + _KIND) == RECURSIVE and memory.read_u32(mutex + _OWNER) == me:
            memory.write_u32(mutex + _COUNT, memory.read_u32(mutex + _COUNT) + 1)
            return True
        return False

    def _deadlock(self, what: str) -> None:
        name = self.library.task.name
        raise GuestKilled(Panicked(f"deadlock: task {name!r} waits for ever in {what}"))
