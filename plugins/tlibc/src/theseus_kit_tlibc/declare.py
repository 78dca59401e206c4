"""How a C function is declared here: once, by its prototype, on the Python method that does it.

::

    class SysMman(Header):
        header = "sys/mman.h"

        @c_function("int munmap(void *addr, size_t length)", system_call=11, on_error=MINUS_ONE)
        def munmap(self, addr: int, length: int) -> int: ...

offers the libc symbol ``munmap`` and system call 11, one body for both. A class stands for one
header of the C library; what all of them share is a :class:`Library <.library.Library>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeVar

from theseus_kit.values.linkage import CFunction, CObject, ErrorConvention, SystemCall
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit_tlibc.library import Library
    from theseus_kit_tlibc.listing import Listing

MINUS_ONE = ErrorConvention.MINUS_ONE
NULL = ErrorConvention.NULL
RESULT = ErrorConvention.RESULT
FATAL = ErrorConvention.FATAL

_Body = TypeVar("_Body", bound=Callable[..., float | None])
_MARK = "tlibc_declaration"


class Declaration(NamedTuple):
    prototype: str
    system_call: int | None
    symbol: bool
    aliases: tuple[str, ...]
    on_error: ErrorConvention
    reenters: bool
    listing: Listing | None
    blocks: bool


def c_function(
    prototype: str,
    *,
    system_call: int | None = None,
    aliases: tuple[str, ...] = (),
    on_error: ErrorConvention = FATAL,
    reenters: bool = False,
    listing: Listing | None = None,
    blocks: bool = False,
) -> Callable[[_Body], _Body]:
    """Declare a method as a C function, and as the system call of the same meaning.

    ``aliases`` are further symbols for it (``open64``); ``listing`` is machine code that does the
    same and is bound in its place. One that ``blocks`` may wait for other tasks, and call guest
    code; one that ``reenters`` does only the latter.
    """
    return _marker(
        Declaration(prototype, system_call, True, aliases, on_error, reenters, listing, blocks)
    )


def system_call(
    number: int, prototype: str, *, reenters: bool = False, blocks: bool = False
) -> Callable[[_Body], _Body]:
    """Declare a method as a system call that has no libc function of the same arguments."""
    return _marker(
        Declaration(prototype, number, False, (), ErrorConvention.NEGATIVE, reenters, None, blocks)
    )


def _marker(declaration: Declaration) -> Callable[[_Body], _Body]:
    def mark(body: _Body) -> _Body:
        setattr(body, _MARK, declaration)
        return body

    return mark


class Header:
    """The functions one C header declares."""

    header: ClassVar[str] = ""

    def __init__(self, library: Library) -> None:
        self.library = library

    @cached_property
    def _declared(self) -> list[tuple[Declaration, CFunction]]:
        found = []
        for name, member in vars(type(self)).items():
            declaration: Declaration | None = getattr(member, _MARK, None)
            if declaration is None:
                continue
            listing = declaration.listing
            function = CFunction(
                declaration.prototype,
                getattr(self, name),
                self.header,
                declaration.on_error,
                declaration.reenters,
                None if listing is None else self.machine_code(listing),
                "" if listing is None else listing.text,
                declaration.blocks,
            )
            found.append((declaration, function))
        return found

    def machine_code(self, listing: Listing) -> Callable[[], bytes] | None:
        """What makes the code when it is bound; None where this machine cannot run it."""
        return lambda: listing.code

    def symbols(self) -> Iterable[CFunction | CObject]:
        """The C symbols of this header."""
        for declaration, function in self._declared:
            if not declaration.symbol:
                continue
            yield function
            for alias in declaration.aliases:
                yield CFunction(
                    declaration.prototype.replace(f"{function.name}(", f"{alias}(", 1),
                    function.body,
                    self.header,
                    function.on_error,
                    function.reenters,
                    function.machine_code,
                    function.assembly,
                    function.blocks,
                )

    def system_calls(self) -> Iterable[SystemCall]:
        """The system calls whose bodies stand in this header's file."""
        for declaration, function in self._declared:
            if declaration.system_call is not None:
                yield SystemCall(declaration.system_call, function)
