"""Errors that strike where nobody raised them: what Python's signal handlers raise.

KeyboardInterrupt, a time-out's TimeoutError: Python runs a signal's handler between two
instructions of whatever runs, and what it raises comes from there. Such an error is nobody's
mistake, and several may be on their way to the same caller at once.
"""

from __future__ import annotations

from functools import partial
from types import CodeType, FunctionType, MethodType


def combine(later: BaseException, earlier: BaseException) -> BaseException:
    """Return the one of two errors to raise, with the other in its context: the later one, as
    where Python raises an error while another one passes."""
    known = _contexts(earlier)
    if any(error is later for error in known):
        return earlier
    last = later
    while last.__context__ is not None and all(error is not last.__context__ for error in known):
        last = last.__context__
    last.__context__ = earlier
    return later


def is_from_signal_handler(error: BaseException) -> bool:
    """Whether an error was raised in a handler of Python's for a signal, as installed now."""
    import signal

    codes = {
        code
        for number in signal.valid_signals()
        if (code := _code_of(signal.getsignal(number))) is not None
    }
    traceback = error.__traceback__
    while codes and traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def _contexts(error: BaseException) -> list[BaseException]:
    found = [error]
    while found[-1].__context__ is not None:
        found.append(found[-1].__context__)
    return found


def _code_of(handler: object) -> CodeType | None:
    """The code of a handler that is written in Python; None of others, and where there is none."""
    while not isinstance(handler, FunctionType):
        if isinstance(handler, partial):
            handler = handler.func
        elif isinstance(handler, MethodType):
            handler = handler.__func__
        else:  # an object that can be called, if its class is written in Python
            handler = vars(type(handler)).get("__call__")
            if not isinstance(handler, FunctionType):
                return None
    return handler.__code__
