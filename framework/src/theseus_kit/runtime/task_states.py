"""What calls in progress keep, for each task of its own.

Calls of the library stack up: each notes how far the scratch memory is used and sets it back when
it is done. With several tasks there are several such stacks. The running task's is in the library
itself, where calls find it without asking who they are; this exchanges it when another task goes
on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.passing import Passing
    from theseus_kit.runtime.scratch import Area, Scratch
    from theseus_kit.task import Task


_Errors: TypeAlias = "list[BaseException] | None"
_State: TypeAlias = "tuple[int, _Errors, list[Any] | None, tuple[Area, int], BaseException | None]"
"""Nesting, errors and entries (None where there are none, which is nearly always), the scratch
memory's area and top, the last exception. A plain tuple: this is made at every switch."""


class TaskStates:
    """The states of the tasks that do not run. ``func`` is wasmtime-py's module of functions,
    which keeps a host function's error until the call that it ends returns."""

    def __init__(
        self, library: GuestLibrary, scratch: Scratch, passing: Passing, func: Any
    ) -> None:
        self._library = library
        self._scratch = scratch
        self._passing = passing
        self._func = func
        self._states: dict[Task, _State] = {}
        self._inside: Task | None = None
        """The task whose state the library has; None while it is exchanged. What a signal handler
        of Python's raises meanwhile ends that in the middle, and it is begun again."""
        self._is_new = True

    def switch(self, left: Task, entered: Task) -> None:
        """Keep one task's state and bring back another's: the scheduler's listener."""
        library, scratch, func = self._library, self._scratch, self._func
        if library.is_closed:
            return
        if self._is_new:
            self._inside, self._is_new = left, False
        inside = self._inside
        if inside is entered:
            return
        errors, entries = library.errors, self._passing.entries
        if inside is not None:
            if inside.is_ended:
                self._inside = None  # first: an area is given back once
                scratch.give_back()
            else:
                self._states[inside] = (
                    library.nesting,
                    errors[:] if errors else None,
                    entries[:] if entries else None,
                    scratch.leave(),
                    func.LAST_EXCEPTION,
                )
                self._inside = None
        if errors:
            errors.clear()
        if entries:
            entries.clear()
        state = self._states.get(entered)
        if state is None:
            library.nesting = 0
            scratch.enter_new()
            func.LAST_EXCEPTION = None
        else:
            library.nesting, kept_errors, kept_entries, (area, top), func.LAST_EXCEPTION = state
            if kept_errors:
                errors += kept_errors
            if kept_entries:
                entries += kept_entries
            scratch.enter(area, top)
        self._inside = entered
        if state is not None:
            del self._states[entered]
