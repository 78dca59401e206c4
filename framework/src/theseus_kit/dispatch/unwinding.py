"""catch_unwind and resume_unwind for Python, as Theseus has them for Rust.

A guest that is killed for a :class:`~theseus_kit.values.exceptions.KillReason` is a Python error,
:class:`~theseus_kit.errors.GuestKilled`, which leaves guest calls one by one. While somebody waits
for it in :func:`catch_unwind`, the landing pads of each call's frames run first, innermost first.
Source: Theseus ``kernel/unwind``, ``catch_unwind_with_arg`` and ``resume_unwind``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from theseus_kit.errors import GuestKilled
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.task import Tasks
    from theseus_kit.values.exceptions import KillReason


class Caught(NamedTuple):
    """How a call under :func:`catch_unwind` ended."""

    result: Any = None
    """What it returned."""
    killed: GuestKilled | None = None
    """The kill that ended it, None if it returned."""

    @property
    def reason(self) -> KillReason | None:
        """Why it was killed, None if it returned."""
        return None if self.killed is None else self.killed.reason


def catch_unwind(tasks: Tasks, function: Callable[..., Any], *arguments: Any) -> Caught:
    """Call what may call guest code; stop a kill that comes out of it.

    Other errors pass.
    """
    task = tasks.current
    task.catches += 1
    try:
        return Caught(function(*arguments))
    except GuestKilled as killed:
        return Caught(killed=killed)
    finally:
        task.catches -= 1


def resume_unwind(reason: KillReason | GuestKilled) -> NoReturn:
    """Unwind, or go on unwinding, for a reason; a kill that was caught keeps its backtrace.

    Nobody is told of it again: no kill handler, no log.
    """
    killed = reason if isinstance(reason, GuestKilled) else GuestKilled(reason)
    killed.is_resumed = True
    raise killed
