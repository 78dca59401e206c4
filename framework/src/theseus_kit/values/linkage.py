"""What crosses the C faces: functions, objects and system calls that plugins offer to images."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from theseus_kit.values.record import NamedTuple


class ErrorConvention(Enum):
    """How a C function tells its caller of a :class:`~theseus_kit.errors.PlatformError`."""

    MINUS_ONE = "-1 and errno"
    NULL = "a null pointer and errno"
    RESULT = "the error number is the result"  # pthread_*, posix_memalign
    NEGATIVE = "the negated error number is the result"  # system calls
    FATAL = "there is no way: the guest is killed"


class CFunction(NamedTuple):
    """A C function served by a plugin.

    ``prototype`` is its declaration as a header writes it, ``void *malloc(size_t size)``: it names
    the function and its arguments, and decides how the integers in the argument registers reach
    ``body``: pointers and unsigned types as they are, signed ones as negative Python ints where
    they are negative, each cut to its C width; floats as floats. ``body`` returns an int,
    a bool or None, or a float where the prototype says so.
    """

    prototype: str
    body: Callable[..., float | None]
    header: str = ""
    on_error: ErrorConvention = ErrorConvention.FATAL
    reenters: bool = False
    """``body`` may call guest code (qsort). Costs about twice as much for each call on the
    emulated machine."""
    machine_code: bytes | Callable[[], bytes] | None = None
    """Position-independent x86-64 code that does the same; bound instead of ``body``. Where it
    must know addresses (its data, an export it falls back on) it is a function that makes it,
    called when an image first imports the symbol."""
    assembly: str = ""
    """The source of ``machine_code``, for people and for the test that compares the two."""
    blocks: bool = False
    """``body`` may wait for what another task or the outside does: other tasks run meanwhile. It
    may then call guest code as well; costs as much."""
    machine_code_only: bool = False
    """``body`` cannot stand in for ``machine_code``, which passes on to another function what no
    Python function can know (the caller's registers). Wrappers leave it alone and watch that one.
    """

    def __repr__(self) -> str:
        return f"<CFunction {self.prototype}>"

    @property
    def name(self) -> str:
        return self.prototype.partition("(")[0].split()[-1].lstrip("*")


class CObject(NamedTuple):
    """A C variable served by a plugin, such as ``environ``; it is writable guest memory."""

    name: str
    initial: bytes
    header: str = ""
    alignment: int = 16
    thread_local: bool = False
    """Each task has a copy of its own, at a fixed offset from the thread pointer: glibc's libm
    reaches ``errno`` so. :meth:`Namespace.thread_local` tells its module."""
    placed: Callable[[int], None] | None = None
    """Told the address when an image first imports it: for a variable that points at something,
    ``stdout``, which is then made. Not for thread-local ones."""


class DirectWay(NamedTuple):
    """How a machine may serve most calls of a system call without Python.

    It is for ``body`` alone: where a wrapper has put another body in, to watch the calls or to
    alter them, it is not used.
    """

    body: Callable[..., float | None]
    prepare: Callable[[], Callable[[], None] | None]
    """Called at the first call. Returns what is to be called before ``body`` each time a call
    comes to Python nevertheless, or None where this platform has no direct way."""


class SystemCall(NamedTuple):
    """A Linux x86-64 system call: its number and the function that serves it.

    Its errors are always negated results, whatever ``function.on_error`` says.
    """

    number: int
    function: CFunction
    direct: DirectWay | None = None
    """How guest code may do without ``function`` in most cases."""

    @property
    def name(self) -> str:
        return self.function.name
