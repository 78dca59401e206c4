"""Every error the kit raises on purpose, and who is meant to mend it.

TheseusKitError
├── UsageError            the user's: one line, the thing and the remedy; exit status 2
│   ├── AssemblyError     these plugins do not make a platform
│   ├── ImageError        this file cannot be loaded
│   └── ModuleError       this module, export or argument cannot be run
├── PluginError           the plugin author's: names plugin, hook and values
├── PlatformError         an answer a platform may give: carries the errno that says it in C
└── GuestError            what became of guest code
    ├── GuestKilled       by an exception nobody handled, or at its own wish
    │   └── DeadlockError every task waits for another
    ├── TaskExit          one task ends itself
    ├── GuestUnwinding    its exception passes through Python to a handler further out
    ├── GuestInterrupted  by somebody outside
    ├── LimitReachedError its fuel or its time was used up
    └── MissingSymbolError it called a function that no plugin provides
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theseus_kit.task import Task
    from theseus_kit.values.exceptions import ExceptionContext, KillReason, Registers
    from theseus_kit.values.symbols import BacktraceEntry
    from theseus_kit.values.tasks import StuckTask


class TheseusKitError(Exception):
    """The root of the kit's errors."""


class UsageError(TheseusKitError):
    """A user's mistake; the text is one line that names the thing and the remedy."""


class AssemblyError(UsageError):
    """The plugins, options and machine asked for do not make a platform."""


class ImageError(UsageError):
    """A file that cannot be loaded as an image."""


class ModuleError(UsageError):
    """A WebAssembly module, export or argument that cannot be run as asked."""


class PluginError(TheseusKitError):
    """A plugin broke its contract. ``values`` are the arguments that showed it."""

    def __init__(self, plugin: str, hook: str, problem: str, **values: object) -> None:
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        super().__init__(f"plugin {plugin!r}, hook {hook}({shown}): {problem}")
        self.plugin = plugin
        self.hook = hook
        self.values = values


class PlatformError(TheseusKitError):
    """The platform says no. ``errno`` is how a C face tells the guest."""

    errno: int = errno.EINVAL

    def __init__(self, message: str = "", errno: int | None = None) -> None:
        super().__init__(message)
        if errno is not None:
            self.errno = errno


class InvalidParameterError(PlatformError):
    """A size of zero, an unaligned address, an overflowing range (EINVAL)."""


class UnmappedRegionError(PlatformError):
    """An address of the range is not mapped (ENOMEM, as mprotect(2) and madvise(2) say it)."""

    errno = errno.ENOMEM


class ProtectionDeniedError(PlatformError):
    """More access than the region's max_protection allows (EACCES, as mprotect(2) says it)."""

    errno = errno.EACCES


class AddressInUseError(PlatformError):
    """The exact address asked for is taken (EEXIST, as MAP_FIXED_NOREPLACE says it)."""

    errno = errno.EEXIST


class OutOfMemoryError(PlatformError):
    """No room that fits the request (ENOMEM)."""

    errno = errno.ENOMEM


class MemoryFaultError(PlatformError):
    """A pointer the guest passed cannot be read or written there (EFAULT)."""

    errno = errno.EFAULT

    def __init__(self, address: int, access: str = "access") -> None:
        super().__init__(f"{access} of {address:#x}: not mapped for it")
        self.address = address


class AlreadyRegisteredError(PlatformError):
    """The slot is taken, the code is already known (EEXIST)."""

    errno = errno.EEXIST


class NotRegisteredError(PlatformError):
    """Nothing is registered there (ENOENT)."""

    errno = errno.ENOENT


class GuestError(TheseusKitError):
    """What became of guest code."""


class GuestKilled(GuestError):
    """The guest was killed. Its platform is dead: guest frames were dropped, locks and all.

    ``backtrace`` is what the platform's unwinder saw, innermost frame first. ``registers`` are
    those at the kill, which nothing else keeps: of the exception where there was one, else of the
    guest's call of the C function that killed it; None if no guest code was running. ``task`` is
    the one that was killed, and took the program along; None while nobody has said so.
    """

    def __init__(
        self,
        reason: KillReason,
        context: ExceptionContext | None = None,
        backtrace: Sequence[BacktraceEntry] = (),
    ) -> None:
        super().__init__(f"guest killed: {reason if context is None else context}")
        self.reason = reason
        self.context = context
        self.is_resumed = False
        """It goes on with a kill that was caught, or one that Python began: told of already."""
        self.registers: Registers | None = None if context is None else context.registers
        self.backtrace = tuple(backtrace)
        self.task: Task | None = None


class DeadlockError(GuestKilled):
    """Every task waits, and nothing that is left could wake one. The main task is killed for it.

    ``stuck`` are all tasks that wait, the main one first.
    """

    def __init__(self, reason: KillReason, stuck: Sequence[StuckTask]) -> None:
        super().__init__(reason)
        self.stuck = tuple(stuck)


class TaskExit(GuestError):
    """The running task ends here: its guest frames are dropped, the rest of the platform goes on.

    Raised by a plugin (pthread_exit) with the task's result, and in every task that is left when
    its platform closes. Python code lets it pass. ``clean_up`` is called in each C function that it
    leaves, while the guest's frames still stand.
    """

    def __init__(self, result: Any = None, clean_up: Callable[[], None] | None = None) -> None:
        super().__init__("the task ends")
        self.result = result
        self.clean_up = clean_up


class GuestUnwinding(GuestError):
    """An exception that guest code threw, on its way out through Python to a guest handler.

    It ends the inner guest call as any Python error does, and goes on in the guest frames outside
    of the C function it leaves. Python code lets it pass, or catches it and so discards it.
    ``exception`` is the address of the guest's own exception object.
    """

    def __init__(self, exception: int, description: str) -> None:
        super().__init__(f"a {description} is looking for its handler further out")
        self.exception = exception


class GuestInterrupted(GuestError):
    """``interrupt()`` was called while guest code ran."""


class LimitReachedError(GuestError):
    """A program went as far as it was allowed to. ``limit`` is a field's name of ``Limits``."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


class MissingSymbolError(GuestError):
    """Guest code called an imported function that no plugin provides."""

    def __init__(self, name: str, image: str) -> None:
        super().__init__(f"{image} called {name}, which no plugin of this platform provides")
        self.name = name
        self.image = image


class MachineError(TheseusKitError):
    """The machine itself cannot go on: closed, dead after a kill, or broken."""


class MachineBusyError(MachineError):
    """Another host thread runs guest code of the machine: nothing was done."""
