"""What a program is given and how far it may go: what :class:`~theseus_kit.runtime.Program` takes.

Plain values. Where directories come from is the path hooks' business: whoever runs a program mounts
them first, and nothing that is not named here is visible to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from theseus_kit.values.record import NamedTuple

Output = Callable[[bytes], object]
"""Takes what a program writes, as it writes it."""


class Preopen(NamedTuple):
    """A directory that a program finds open when it starts."""

    directory: str
    """Where it is in the platform's namespace, an absolute path."""
    name: str
    """What the program calls it."""
    writable: bool = True


class Surroundings(NamedTuple):
    """What a WASI program sees."""

    arguments: Sequence[str] = ()
    """Without the program's own name."""
    name: str | None = None
    """``argv[0]``; the last component of the module's path where it is None."""
    environment: Mapping[str, str] = {}
    directories: Sequence[Preopen] = ()
    stdin: str | None = None
    """A file of the platform's namespace; None is the platform's own standard input."""
    stdout: Output | None = None
    """None is the platform's own standard output, written to without a buffer."""
    stderr: Output | None = None


class Limits(NamedTuple):
    """How far a program may go; None is as far as it likes.

    Going further raises :class:`~theseus_kit.errors.LimitReachedError`, but for ``memory``: there
    ``memory.grow`` answers -1, as it does where there is no memory left.
    """

    fuel: int | None = None
    """Units of Wasmtime's fuel, of which most instructions take one."""
    epoch_timeout: float | None = None
    """Seconds, after which the engine's epoch moves on and compiled code traps at its next check:
    the program ends between two of its own instructions. It does not end a wait in the host."""
    timeout: float | None = None
    """Seconds, after which the machine is interrupted, wherever it is: the platform is done for."""
    memory: int | None = None
    """Bytes of each linear memory."""
