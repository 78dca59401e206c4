"""pthread.h: attributes of tasks to be started.

pthread_attr_t, the words of it used here, where glibc has them::

    0   priority      4   policy       8   flags: 1 detached, 8 a stack of the program's own
    16  guard size    24  stack address (its lowest byte here)    32  stack size
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError
from theseus_kit.task import STACK_SIZE
from theseus_kit.values.memory import PAGE_SIZE
from theseus_kit_tlibc.declare import RESULT, Header, c_function

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Memory

PTHREAD_STACK_MIN = 16384
ATTRIBUTES_SIZE = 56
_FLAGS, _GUARD_SIZE, _STACK_ADDRESS, _STACK_SIZE = 8, 16, 24, 32
_DETACHED, _OWN_STACK = 1, 8


class Attributes:
    """What pthread_create goes by.

    ``stack_address`` is the lowest byte of a stack that the program has made itself.
    """

    def __init__(
        self,
        is_detached: bool = False,
        stack_size: int = STACK_SIZE,
        stack_address: int | None = None,
    ) -> None:
        self.is_detached = is_detached
        self.stack_size = stack_size
        self.stack_address = stack_address


def read_attributes(memory: Memory, attr: int) -> Attributes:
    """Read a pthread_attr_t; the default ones for a null pointer."""
    if not attr:
        return Attributes()
    flags = memory.read_u32(attr + _FLAGS)
    address = memory.read_u64(attr + _STACK_ADDRESS) if flags & _OWN_STACK else None
    size = memory.read_u64(attr + _STACK_SIZE) or STACK_SIZE
    return Attributes(bool(flags & _DETACHED), size, address)


def write_attributes(memory: Memory, attr: int, attributes: Attributes) -> None:
    flags = attributes.is_detached * _DETACHED
    memory.write(attr, bytes(ATTRIBUTES_SIZE))
    memory.write_u64(attr + _GUARD_SIZE, PAGE_SIZE)
    memory.write_u64(attr + _STACK_SIZE, attributes.stack_size)
    if attributes.stack_address is not None:
        flags |= _OWN_STACK
        memory.write_u64(attr + _STACK_ADDRESS, attributes.stack_address)
    memory.write_u32(attr + _FLAGS, flags)


class PthreadAttr(Header):
    header: ClassVar[str] = "pthread.h"

    @c_function("int pthread_attr_init(pthread_attr_t *attr)", on_error=RESULT)
    def pthread_attr_init(self, attr: int) -> int:
        write_attributes(self.library.memory, attr, Attributes())
        return 0

    @c_function("int pthread_attr_destroy(pthread_attr_t *attr)", on_error=RESULT)
    def pthread_attr_destroy(self, attr: int) -> int:
        return 0

    @c_function(
        "int pthread_attr_setdetachstate(pthread_attr_t *attr, int detachstate)", on_error=RESULT
    )
    def pthread_attr_setdetachstate(self, attr: int, detachstate: int) -> int:
        if detachstate not in (0, 1):
            raise InvalidParameterError(f"detach state {detachstate}")
        memory = self.library.memory
        memory.write_u32(attr + _FLAGS, memory.read_u32(attr + _FLAGS) & ~_DETACHED | detachstate)
        return 0

    @c_function(
        "int pthread_attr_getdetachstate(const pthread_attr_t *attr, int *detachstate)",
        on_error=RESULT,
    )
    def pthread_attr_getdetachstate(self, attr: int, detachstate: int) -> int:
        memory = self.library.memory
        memory.write_u32(detachstate, memory.read_u32(attr + _FLAGS) & _DETACHED)
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
        "int pthread_attr_getstacksize(const pthread_attr_t *attr, size_t *stacksize)",
        on_error=RESULT,
    )
    def pthread_attr_getstacksize(self, attr: int, stacksize: int) -> int:
        memory = self.library.memory
        memory.write_u64(stacksize, memory.read_u64(attr + _STACK_SIZE))
        return 0

    @c_function(
        "int pthread_attr_setstack(pthread_attr_t *attr, void *stackaddr, size_t stacksize)",
        on_error=RESULT,
    )
    def pthread_attr_setstack(self, attr: int, stackaddr: int, stacksize: int) -> int:
        self.pthread_attr_setstacksize(attr, stacksize)
        memory = self.library.memory
        memory.write_u64(attr + _STACK_ADDRESS, stackaddr)
        memory.write_u32(attr + _FLAGS, memory.read_u32(attr + _FLAGS) | _OWN_STACK)
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

    @c_function(
        "int pthread_attr_setguardsize(pthread_attr_t *attr, size_t guardsize)", on_error=RESULT
    )
    def pthread_attr_setguardsize(self, attr: int, guardsize: int) -> int:
        """Told again, but a stack's guard is one page whatever it says."""
        self.library.memory.write_u64(attr + _GUARD_SIZE, guardsize)
        return 0

    @c_function(
        "int pthread_attr_getguardsize(const pthread_attr_t *attr, size_t *guardsize)",
        on_error=RESULT,
    )
    def pthread_attr_getguardsize(self, attr: int, guardsize: int) -> int:
        memory = self.library.memory
        memory.write_u64(guardsize, memory.read_u64(attr + _GUARD_SIZE))
        return 0

    @c_function("int pthread_getattr_np(pthread_t thread, pthread_attr_t *attr)", on_error=RESULT)
    def pthread_getattr_np(self, thread: int, attr: int) -> int:
        """The attributes a running task has: where its stack lies."""
        for task in self.library.services.tasks:
            if task.thread.fs_base == thread:
                found = Attributes(not task.is_joinable, task.stack.size, task.stack.start)
                write_attributes(self.library.memory, attr, found)
                return 0
        raise PlatformError(f"no thread {thread:#x}", errno.ESRCH)
