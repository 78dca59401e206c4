"""Doing all of several things, whatever they or Python's signal handlers raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.task.striking import combine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_ATTEMPTS = 3
"""At one step: two signals may strike it at once. What fails so often has an error of its own."""


class Closing:
    """Steps that may each be taken twice."""

    def __init__(self, steps: Iterable[Callable[[], object]]) -> None:
        self._steps = [*steps][::-1]
        """What is left, the next one last."""
        self._struck: list[BaseException] = []
        self._failures = 0

    # What catches is never in one function with what loops: see the hub.

    def complete(self) -> None:
        """Take all the steps."""
        while self._steps:
            try:
                self._survive()
            except BaseException as error:  # noqa: BLE001  # struck again, while it noted the first
                self._struck += (error,)
            # Once more before the jump: Python 3.11 looks for signals there as well.
            try:
                if self._steps:
                    self._survive()
            except BaseException as error:  # noqa: BLE001
                self._struck += (error,)

    def raise_errors(self) -> None:
        """Raise what was raised: the last error, with the others as its context."""
        if self._struck:
            raised, *others = self._struck
            for error in others:
                raised = combine(error, raised)
            raise raised

    def _survive(self) -> None:
        while self._steps:
            self._catch()

    def _catch(self) -> None:
        try:
            self._take()
        except BaseException as error:  # noqa: BLE001  # raised in the end
            self._struck += (error,)
            self._failures += 1
            if self._failures == _MOST_ATTEMPTS:
                del self._steps[-1:]
                self._failures = 0

    def _take(self) -> None:
        while self._steps:
            self._steps[-1]()
            del self._steps[-1]
            self._failures = 0
