"""pthread.h: ending another thread, where that one waits.

A thread ends at its next cancellation point: a C function that waits (not a bare system call, nor a
lock), or pthread_testcancel. One that only might have waited, and did not have to, lets it pass.
PTHREAD_CANCEL_ASYNCHRONOUS is taken for a wish: it is no sooner. Source: pthreads(7), "Cancellation
points".
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.errors import InvalidParameterError, PlatformError, TaskExit
from theseus_kit_tlibc.declare import RESULT, Header, c_function

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.pthread_cleanup import PthreadCleanup

ENABLE, DISABLE = 0, 1
DEFERRED, ASYNCHRONOUS = 0, 1
CANCELED = (1 << 64) - 1
"""PTHREAD_CANCELED, -1: what pthread_join gets of it."""


class PthreadCancel(Header):
    header: ClassVar[str] = "pthread.h"

    def __init__(self, library: Library, cleanup: PthreadCleanup) -> None:
        super().__init__(library)
        self._cleanup = cleanup
        self._asked: set[Task] = set()
        """Those that are to end."""
        self._disabled: set[Task] = set()
        self._asynchronous: set[Task] = set()
        library.services.tasks.at_cancellation_point = self.check

    def task_ended(self, task: Task) -> None:
        for tasks in (self._asked, self._disabled, self._asynchronous):
            tasks.discard(task)

    def check(self) -> None:
        """End the current task if somebody wants that. Raises TaskExit."""
        task = self.library.task
        if task.is_cancelled:
            task.is_cancelled = task.has_signal = False
            self._disabled.add(task)
            raise TaskExit(CANCELED, self._cleanup.clean_up)

    @c_function("int pthread_cancel(pthread_t thread)", on_error=RESULT)
    def pthread_cancel(self, thread: int) -> int:
        tasks = self.library.services.tasks
        for task in tasks:
            if task.thread.fs_base == thread:
                break
        else:
            raise PlatformError(f"no thread {thread:#x}", errno.ESRCH)
        if task is tasks.main:
            raise PlatformError("the main thread is not cancelled", errno.ENOSYS)
        if not task.is_ended:
            self._asked.add(task)
            self._tell(task)
        return 0

    @c_function("int pthread_setcancelstate(int state, int *oldstate)", on_error=RESULT)
    def pthread_setcancelstate(self, state: int, oldstate: int) -> int:
        if state not in (ENABLE, DISABLE):
            raise InvalidParameterError(f"no cancellation state {state}")
        task = self.library.task
        self._exchange(self._disabled, state == DISABLE, oldstate)
        if state == DISABLE:
            task.is_cancelled = False
        else:
            self._tell(task)
        return 0

    @c_function("int pthread_setcanceltype(int type, int *oldtype)", on_error=RESULT)
    def pthread_setcanceltype(self, kind: int, oldtype: int) -> int:
        if kind not in (DEFERRED, ASYNCHRONOUS):
            raise InvalidParameterError(f"no cancellation type {kind}")
        self._exchange(self._asynchronous, kind == ASYNCHRONOUS, oldtype)
        return 0

    @c_function("void pthread_testcancel(void)", blocks=True)
    def pthread_testcancel(self) -> None:
        self.check()

    def _exchange(self, tasks: set[Task], include: bool, old: int) -> None:
        task = self.library.task
        if old:
            self.library.memory.write_u32(old, task in tasks)
        (tasks.add if include else tasks.discard)(task)

    def _tell(self, task: Task) -> None:
        """Have a task find that it is to end, if it lets itself be ended."""
        if task not in self._asked or task in self._disabled:
            return
        task.is_cancelled = True
        if task is self.library.task:
            task.has_signal = True
        else:
            self.library.services.tasks.signal(task)
