"""Functions whose bodies are imported at their first call.

A runtime calls few of the functions that C programs in general need, and importing all of their
modules would cost every run. So their prototypes stand in tables (:mod:`.deferred_tables`), which
are cheap, and each table names the module that has the bodies::

    Table("stdlib_numbers", "stdlib.h", "long strtol(const char *nptr, char **endptr, int base)")

    theseus_kit_tlibc/stdlib_numbers.py
        class Bodies(DeferredBodies):
            def strtol(self, nptr: int, endptr: int, base: int) -> int: ...

A body is named as its function is, without leading underscores. A line may name further symbols for
the same body behind ``=``, and begins with ``N:`` where system call N does the same. A table that
``is_raw`` has system calls alone, those that take other arguments than any function of the C
library; their bodies are named ``raw_getcwd``, so that ``getcwd`` may stand beside it.

Where a table says ``machine_code``, the module has a listing of each name in capitals as well, and
:meth:`DeferredBodies.machine_code` places it when an image first imports the symbol; without a body
of that name it is machine code only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from theseus_kit.values.linkage import CFunction, CObject, ErrorConvention, SystemCall
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit_tlibc import ctype, locale
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.link import Link
    from theseus_kit_tlibc.listing import Listing
    from theseus_kit_tlibc.pthread_mutex import Mutexes
    from theseus_kit_tlibc.signal_wait import Masked
    from theseus_kit_tlibc.stdio_files import StdioFiles
    from theseus_kit_tlibc.stdlib import Stdlib

_PACKAGE = __name__.rpartition(".")[0]
_VARIABLES = {
    **dict.fromkeys(("tzname", "__tzname"), 16),
    **dict.fromkeys(("timezone", "__timezone"), 8),
    **dict.fromkeys(("daylight", "__daylight"), 4),
}
"""What tzset sets, by size in bytes."""


class Table(NamedTuple):
    """Prototypes, a line each, of functions whose bodies one module has."""

    module: str
    header: str
    prototypes: str
    on_error: ErrorConvention = ErrorConvention.FATAL
    reenters: bool = False
    blocks: bool = False
    machine_code: bool = False
    is_raw: bool = False
    machine_code_only: bool = False
    """No Python body can do the same: it calls back, jumps, or answers in other registers."""


class DeferredBodies:
    """The functions of one module; made once for each platform, when one of them is needed."""

    LISTINGS: ClassVar[Mapping[str, Listing]] = {}
    """Machine code by the symbol it stands for."""

    def __init__(self, deferred: Deferred) -> None:
        self.deferred = deferred
        self.library = deferred.library

    def machine_code(self, name: str) -> bytes:
        """The code of a symbol, with its addresses."""
        return self.LISTINGS[name].code

    def set_errno(self, number: int) -> None:
        """For functions that set errno beside a result of their own."""
        self.library.hooks.errno_set(task=self.library.task, value=number)


class Deferred:
    """The tables of a platform, and the modules behind them as far as they are imported."""

    def __init__(
        self,
        library: Library,
        tables: Iterable[Table],
        stdio: StdioFiles,
        stdlib: Stdlib,
        link: Link,
        mutexes: Mutexes,
        masked: Masked,
    ) -> None:
        self.library = library
        self.stdio = stdio
        self.stdlib = stdlib
        self.link = link
        self.mutexes = mutexes
        self.masked = masked
        self._tables = tables
        self._bodies: dict[str, DeferredBodies] = {}

    def bodies(self, module: str) -> DeferredBodies:
        """The functions of a module, which is imported if it has not been."""
        bodies = self._bodies.get(module)
        if bodies is None:
            made = importlib.import_module(f"{_PACKAGE}.{module}").Bodies
            bodies = self._bodies[module] = made(self)
        return bodies

    def locales(self) -> locale.Bodies:
        """What several modules ask about the locale in effect."""
        return cast("locale.Bodies", self.bodies("locale"))

    def characters(self) -> ctype.Bodies:
        """The tables of characters."""
        return cast("ctype.Bodies", self.bodies("ctype"))

    def symbols(self) -> Iterator[CFunction | CObject]:
        """The C symbols of all tables, and the variables that go with them."""
        for name, size in _VARIABLES.items():
            yield CObject(name, bytes(size), "time.h", 8)
        for table in self._tables:
            if table.is_raw:
                continue
            for _, prototype, name, others in _lines(table):
                yield self._function(table, prototype, name, name)
                for other in others:
                    yield self._function(table, prototype.replace(name, other, 1), name, other)

    def system_calls(self) -> Iterator[SystemCall]:
        """The system calls of all tables."""
        for table in self._tables:
            for number, prototype, name, _ in _lines(table, only_system_calls=True):
                yield SystemCall(int(number), self._function(table, prototype, name, name))

    def _function(self, table: Table, prototype: str, name: str, symbol: str) -> CFunction:
        """One of a table's functions: the body of ``name``, under the name ``symbol``."""
        code = None
        if table.machine_code or table.machine_code_only:
            code = partial(self._machine_code, table.module, symbol)
        plain = name.lstrip("_")
        body = self._later(table.module, f"raw_{plain}" if table.is_raw else plain)
        return CFunction(
            prototype, body, table.header, table.on_error, table.reenters, code,
            "", table.blocks, table.machine_code_only,
        )  # fmt: skip

    def _machine_code(self, module: str, symbol: str) -> bytes:
        return self.bodies(module).machine_code(symbol)

    def _later(self, module: str, name: str) -> Callable[..., float | None]:
        target: Callable[..., float | None] | None = None

        def body(*arguments: float) -> float | None:
            nonlocal target
            if target is None:
                target = getattr(self.bodies(module), name)
                assert target is not None
            return target(*arguments)

        return body


def _lines(
    table: Table, *, only_system_calls: bool = False
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Read a table: number of the system call or nothing, prototype, name, further symbols."""
    for line in table.prototypes.strip().splitlines():
        words = line.split()
        is_system_call = words[0][0].isdigit()
        if only_system_calls and not is_system_call:
            continue
        prototype, _, others = " ".join(words).partition(" = ")
        number = ""
        if is_system_call:
            number, _, prototype = prototype.partition(": ")
        name = prototype[: prototype.index("(")].rpartition(" ")[2].lstrip("*")
        yield number, prototype, name, others.split()
