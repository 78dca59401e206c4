"""One guest thread: its stack, its machine thread, and how it stands with the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit.task.wait_queue import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from theseus_kit.errors import GuestKilled
    from theseus_kit.machine.protocol import Thread
    from theseus_kit.values.memory import AddressRange

STACK_SIZE = 8 << 20
"""Bytes of a task's stack: Linux's default, of which only touched pages cost anything."""

RUNNING, READY, WAITING, ENDED = range(4)


class Task:
    """One guest thread. Plugins keep their own state of it under it: it is hashable by identity.

    ::

        low addresses                                                    high addresses
        ┌────────────┬──────────────────────────────────────────────────────┐
        │ guard page │ stack, growing down                                  │
        └────────────┴──────────────────────────────────────────────────────┘
                     ^ stack.start                              stack.end   ^
    """

    __slots__ = (
        *("id", "name", "stack", "thread", "catches", "result", "killed", "ended"),
        *("state", "waits_for", "woken_by", "wait_number", "error"),
        *("has_signal", "is_cancelled"),
        *("body", "greenlet", "host_thread", "make_ready", "is_joinable", "owns_stack"),
        "__weakref__",
    )

    def __init__(self, id: int, name: str, stack: AddressRange, thread: Thread) -> None:
        self.id = id
        """What gettid() tells: 1 for the main task, never used twice."""
        self.name = name
        self.stack = stack
        self.thread = thread
        self.catches = 0
        """How many calls of catch_unwind wait for what may kill it."""
        self.result: Any = None
        """What its function returned, or it ended itself with; None before."""
        self.killed: GuestKilled | None = None
        """What ended it, where that was a kill of this task alone."""
        self.ended = WaitQueue(f"the end of task {id}")
        """Woken when it has ended."""

        # The scheduler's own:
        self.state = RUNNING
        self.waits_for: tuple[object, ...] = ()
        """The queues and descriptors of its wait, for reports."""
        self.woken_by: object = None
        self.wait_number = 0
        """Counts its waits: tells a timer of an earlier one from today's."""
        self.error: BaseException | None = None
        """What it has to raise when it goes on."""
        self.has_signal = False
        """A signal has to be handled before it waits or goes on."""
        self.is_cancelled = False
        """It is to end where it next waits (pthread_cancel(3))."""
        self.body: Callable[[], Any] | None = None
        """What it runs; None for the main task, and once it has begun."""
        self.greenlet: Any = None
        """Its Python side while it does not run."""
        self.host_thread: Any = None
        """The host thread that its Python side belongs to, once it has begun; the main task's is
        the one that it last waited on."""
        self.make_ready: Callable[[Task, object], None] | None = None
        self.is_joinable = False
        self.owns_stack = True

    @property
    def is_ended(self) -> bool:
        """It has run its last guest code."""
        return self.state == ENDED

    def wake(self, by: object = True) -> bool:
        """End its wait; False if it does not wait, or its wait is over for another reason."""
        if self.state != WAITING or self.make_ready is None:
            return False
        self.make_ready(self, by)
        return True

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name!r}>"
