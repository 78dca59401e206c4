"""pthread.h: what runs when a thread ends in the middle: cleanup handlers and destructors.

C compiled without exceptions has its handlers in frames that can be jumped to, which it tells of
(the macro pthread_cleanup_push)::

    if (__sigsetjmp(buffer, 0)) {      ← the end of the thread goes here
        routine(argument);
        __pthread_unwind_next(buffer); ← and from here on to the next buffer
    }
    __pthread_register_cancel(buffer);

C++, and C compiled with exceptions, have landing pads, which the provider of unwinding runs. Of
each guest call that the thread is in first the buffers are gone through, innermost first, and then
the landing pads outside of them: what C++ functions stand inside of a C function with a handler go
without their destructors. Source: glibc's nptl/unwind.c.

__pthread_unwind_buf_t is what __sigsetjmp fills: rbx rbp r12 r13 r14 r15 rsp rip, and more.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from theseus_kit.machine.landing import Landing
from theseus_kit.values.exceptions import KillRequested, Registers
from theseus_kit.values.record import NamedTuple
from theseus_kit_tlibc.declare import Header, c_function

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit_tlibc.library import Library

_BUFFER = Struct("<8Q")
_BUFFER_ORDER = ("rbx", "rbp", "r12", "r13", "r14", "r15", "rsp", "rip")
_STACK_SIZE = 4096


class _Handler(NamedTuple):
    buffer: int
    depth: int
    """How many guest calls were in progress."""
    registers: Registers
    """Of its frame."""


class PthreadCleanup(Header):
    header: ClassVar[str] = "pthread.h"

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._landing = Landing(library.machine)
        self._handlers: dict[Task, list[_Handler]] = {}
        self._tops: dict[Task, list[int]] = {}
        """The stacks of the handlers that run, innermost last."""

    def task_ended(self, task: Task) -> None:
        self._handlers.pop(task, None)
        self._tops.pop(task, None)

    @c_function("void __pthread_register_cancel(void *buf)")
    def register_cancel(self, buf: int) -> None:
        machine = self.library.machine
        handler = _Handler(buf, len(machine.waiting()), machine.registers())
        self._handlers.setdefault(self.library.task, []).append(handler)

    @c_function("void __pthread_unregister_cancel(void *buf)")
    def unregister_cancel(self, buf: int) -> None:
        """Those inside of it are gone as well: somebody has left their functions by longjmp."""
        handlers = self._handlers.get(self.library.task, [])
        while handlers and handlers.pop().buffer != buf:
            continue

    @c_function("long __pthread_unwind_next(void *buf)", reenters=True)
    def unwind_next(self, buf: int) -> int:
        top = self._tops[self.library.task][-1]
        return self._landing.go_on_at(self._landing.end_of(top, self.library.machine.registers()))

    def clean_up(self) -> None:
        """Run what the innermost guest call of the task has, inside a C function that it is in.

        The call's frames cannot be gone on with after that.
        """
        library = self.library
        machine, task = library.machine, library.task
        registers, is_exact = machine.registers(), machine.registers_are_exact
        depth, handlers = len(machine.waiting()), self._handlers.get(task, [])
        while handlers and handlers[-1].depth >= depth:
            handler = handlers.pop()
            if handler.depth == depth:
                registers, is_exact = handler.registers, False
                self._run(task, handler)
        library.hooks.unwind_resume(
            task=task,
            registers=registers,
            is_exact=is_exact,
            reason=KillRequested(),
            is_requested=True,
        )

    def _run(self, task: Task, handler: _Handler) -> None:
        library = self.library
        landing = handler.registers.copy()
        saved = _BUFFER.unpack(library.memory.read(handler.buffer, _BUFFER.size))
        for name, value in zip(_BUFFER_ORDER, saved, strict=True):
            setattr(landing, name, value)
        landing.rax = 1
        stack = library.heap.allocate(_STACK_SIZE)
        tops = self._tops.setdefault(task, [])
        tops.append((stack + _STACK_SIZE) & -16)
        try:
            self._landing.run_at(landing, tops[-1])
        finally:
            tops.pop()
            library.heap.free(stack)
