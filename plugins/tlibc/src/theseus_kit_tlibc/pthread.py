"""pthread.h: starting, joining and ending threads; which of them one is.

A thread is a task of the platform. A pthread_t is the address of its thread control block, as in
glibc, so it stays one's own until the thread was joined, or has ended detached.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar, NoReturn

from theseus_kit.errors import GuestKilled, InvalidParameterError, PlatformError, TaskExit
from theseus_kit.values.exceptions import Exited
from theseus_kit.values.memory import AddressRange
from theseus_kit_tlibc.declare import RESULT, Header, c_function
from theseus_kit_tlibc.parking import CLOCK_REALTIME, read_timespec, remaining_ns
from theseus_kit_tlibc.pthread_attr import read_attributes
from theseus_kit_tlibc.pthread_code import SELF, SELF_BY_CELL

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.listing import Listing
    from theseus_kit_tlibc.pthread_cleanup import PthreadCleanup

NAME_SIZE = 16
"""Bytes of a thread's name with its final zero (TASK_COMM_LEN)."""


class Pthread(Header):
    header: ClassVar[str] = "pthread.h"

    def __init__(self, library: Library, cleanup: PthreadCleanup) -> None:
        super().__init__(library)
        self._cleanup = cleanup
        self._joining: dict[Task, Task] = {}
        """Who waits for whose end."""

    def machine_code(self, listing: Listing) -> Callable[[], bytes]:
        cell = self.library.machine.thread_pointer_cell
        return lambda: listing.code if cell is None else SELF_BY_CELL.with_address(cell)

    @c_function("pthread_t pthread_self(void)", listing=SELF)
    def pthread_self(self) -> int:
        return self.library.task.thread.fs_base

    @c_function("int pthread_equal(pthread_t t1, pthread_t t2)")
    def pthread_equal(self, t1: int, t2: int) -> int:
        return t1 == t2

    @c_function(
        "int pthread_create(pthread_t *thread, const pthread_attr_t *attr, "
        "void *(*start_routine)(void *), void *arg)",
        on_error=RESULT,
    )
    def pthread_create(self, thread: int, attr: int, start_routine: int, arg: int) -> int:
        """The thread is named as its parent, as on Linux. No room for it is EAGAIN."""
        library = self.library
        call = library.machine.call
        attributes = read_attributes(library.memory, attr)
        stack = None
        if attributes.stack_address is not None:
            stack = AddressRange.of_size(attributes.stack_address, attributes.stack_size)
        library.memory.write_u64(thread, 0)  # a wild pointer is found before there is a thread
        try:
            task = library.services.tasks.start(
                lambda: call(start_routine, (arg,)),
                library.task.name,
                attributes.stack_size,
                stack=stack,
                is_joinable=not attributes.is_detached,
            )
        except PlatformError as error:
            raise PlatformError(str(error), errno.EAGAIN) from error
        library.memory.write_u64(thread, task.thread.fs_base)
        return 0

    @c_function("void pthread_exit(void *retval)", blocks=True)
    def pthread_exit(self, retval: int) -> NoReturn:
        """Of the main thread: the program ends, with status 0, once all others have ended."""
        tasks, me = self.library.services.tasks, self.library.task
        if me is not tasks.main:
            raise TaskExit(retval, self._cleanup.clean_up)
        self._cleanup.clean_up()
        self.library.hooks.tls_run_destructors(task=me)
        for task in tasks:
            if task is not me:
                tasks.join(task)
        raise GuestKilled(Exited(0))

    @c_function("int pthread_join(pthread_t thread, void **retval)", on_error=RESULT, blocks=True)
    def pthread_join(self, thread: int, retval: int) -> int:
        self._join(thread, retval, None)
        return 0

    @c_function(
        "int pthread_tryjoin_np(pthread_t thread, void **retval)", on_error=RESULT, blocks=True
    )
    def pthread_tryjoin_np(self, thread: int, retval: int) -> int:
        if not self._joinable(thread).is_ended:
            return errno.EBUSY
        self._join(thread, retval, None)
        return 0

    @c_function(
        "int pthread_timedjoin_np(pthread_t thread, void **retval, const struct timespec *abstime)",
        on_error=RESULT,
        blocks=True,
    )
    def pthread_timedjoin_np(self, thread: int, retval: int, abstime: int) -> int:
        self._join(thread, retval, read_timespec(self.library.memory, abstime))
        return 0

    @c_function("int pthread_detach(pthread_t thread)", on_error=RESULT)
    def pthread_detach(self, thread: int) -> int:
        self.library.services.tasks.release(self._joinable(thread))
        return 0

    @c_function("int pthread_setname_np(pthread_t thread, const char *name)", on_error=RESULT)
    def pthread_setname_np(self, thread: int, name: int) -> int:
        text = self.library.memory.read_string(name)
        if len(text) >= NAME_SIZE:
            raise PlatformError(f"a thread's name of {len(text)} bytes", errno.ERANGE)
        self._thread(thread).name = text.decode("utf-8", "surrogateescape")
        return 0

    @c_function("int pthread_getname_np(pthread_t thread, char *name, size_t len)", on_error=RESULT)
    def pthread_getname_np(self, thread: int, name: int, size: int) -> int:
        text = name_of(self._thread(thread))
        if size < len(text):
            raise PlatformError("no room for a thread's name", errno.ERANGE)
        self.library.memory.write(name, text)
        return 0

    @c_function(
        "int __register_atfork(void (*prepare)(void), void (*parent)(void), "
        "void (*child)(void), void *dso_handle)",
        on_error=RESULT,
    )
    def register_atfork(self, prepare: int, parent: int, child: int, dso_handle: int) -> int:
        """There is one process and no fork() (ENOSYS): nothing is ever to be called."""
        return 0

    @c_function(
        "int pthread_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))",
        on_error=RESULT,
    )
    def pthread_atfork(self, prepare: int, parent: int, child: int) -> int:
        return 0

    def _join(self, thread: int, retval: int, deadline: int | None) -> None:
        library, tasks = self.library, self.library.services.tasks
        joined, me = self._joinable(thread), library.task
        waited_for: Task | None = joined
        while waited_for is not None:  # a circle of threads would wait for ever
            if waited_for is me:
                raise PlatformError("a thread that joins itself", errno.EDEADLK)
            waited_for = self._joining.get(waited_for)
        if joined in self._joining.values():
            raise InvalidParameterError("another thread is joining this one already")
        self._joining[me] = joined
        try:
            while not joined.is_ended:
                left = None
                if deadline is not None:
                    left = remaining_ns(library.services.clock, CLOCK_REALTIME, deadline)
                try:
                    if not tasks.wait(joined.ended, left):
                        raise PlatformError("the thread did not end in time", errno.ETIMEDOUT)
                except PlatformError as error:
                    if error.errno != errno.EINTR:
                        raise
                    tasks.interrupted()
        finally:
            del self._joining[me]
        if retval:
            library.memory.write_u64(retval, joined.result or 0)
        tasks.release(joined)

    def _joinable(self, thread: int) -> Task:
        task = self._thread(thread)
        if not task.is_joinable:
            raise InvalidParameterError(f"thread {task.id} is detached")
        return task

    def _thread(self, thread: int) -> Task:
        for task in self.library.services.tasks:
            if task.thread.fs_base == thread:
                return task
        raise PlatformError(f"no thread {thread:#x}", errno.ESRCH)


def name_of(task: Task) -> bytes:
    """A task's name as Linux tells it: at most 15 bytes and a zero."""
    return task.name.encode("utf-8", "surrogateescape")[: NAME_SIZE - 1] + b"\0"
