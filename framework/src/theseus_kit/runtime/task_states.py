"""What calls in progress keep, for each task of its own.

Calls of the library stack up: each notes how far the scratch memory is used and sets it back when
it is done. With several tasks there are several such stacks. The running task's is in the library
itself, where calls find it without asking who they are; this exchanges it when another task goes
on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.passing import Passing
    from theseus_kit.runtime.scratch import Area, Scratch
    from theseus_kit.task import Task


class _State(NamedTuple):
    nesting: int
    errors: list[BaseException]
    entries: list[Any]
    area: Area
    top: int
    last_exception: BaseException | None


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

    def switch(self, left: Task, entered: Task) -> None:
        """Keep one task's state and bring back another's: the scheduler's listener."""
        library, scratch, entries = self._library, self._scratch, self._passing.entries
        if library.is_closed:
            return
        if left.is_ended:
            scratch.give_back()
        else:
            self._states[left] = _State(
                library.nesting,
                library.errors[:],
                entries[:],
                *scratch.leave(),
                self._func.LAST_EXCEPTION,
            )
        state = self._states.pop(entered, None)
        if state is None:
            library.nesting = 0
            library.errors.clear()
            entries.clear()
            scratch.enter_new()
            self._func.LAST_EXCEPTION = None
            return
        library.nesting = state.nesting
        library.errors[:] = state.errors
        entries[:] = state.entries
        scratch.enter(state.area, state.top)
        self._func.LAST_EXCEPTION = state.last_exception
