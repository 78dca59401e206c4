"""C functions of the guest library, as ctypes would show them: callables with a signature.

How a signature is turned into a call is the library's business (:mod:`.library`).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import MachineError

if TYPE_CHECKING:
    from types import ModuleType

    from theseus_kit.runtime.library import GuestLibrary
    from theseus_kit.runtime.package import PrivatePackage


class NotNowError(MachineError):
    """Guest code cannot be called at this moment: by nobody, or not by this thread."""


class GuestFunction:
    """A C function of the library; set ``restype`` and ``argtypes`` as on a ctypes function."""

    __slots__ = (
        *("__name__", "_argtypes", "_calls", "_deletes", "_invoke", "_library", "_restype"),
        "_specialised",
    )

    def __init__(self, library: GuestLibrary, name: str) -> None:
        # Some 760 are made at every start, and given a signature: there is nothing to reset yet.
        self._library = library
        self.__name__ = name
        self._deletes = name.endswith("_delete")
        self._restype: Any = ctypes.c_int
        self._argtypes: Sequence[Any] | None = None
        self._invoke: Callable[..., Any] | None = None
        self._specialised: Callable[..., Any] | None = None
        self._calls = 0

    @property
    def restype(self) -> Any:
        return self._restype

    @restype.setter
    def restype(self, kind: Any) -> None:
        self._restype = kind
        if self._invoke or self._specialised:
            self._reset()

    @property
    def argtypes(self) -> Sequence[Any] | None:
        return self._argtypes

    @argtypes.setter
    def argtypes(self, kinds: Sequence[Any] | None) -> None:
        self._argtypes = None if kinds is None else tuple(kinds)
        if self._invoke or self._specialised:
            self._reset()

    @property
    def address(self) -> int:
        """Where the function is in guest memory. Raises AttributeError if the library lacks it."""
        return self._library.address_of(self.__name__)

    def forget(self) -> None:
        """Drop the signature and what it was compiled into, but for whether it has a result."""
        self._argtypes = None
        self._restype = None if self._restype is None else ctypes.c_int
        self._reset()

    def _reset(self) -> None:
        if self._specialised is not None:
            self._library.replace(self._specialised, self)
        self._invoke = self._specialised = None
        self._calls = 0

    def _bind(self) -> Callable[..., Any]:
        """Return what makes the next call; after many, what makes all that come."""
        library, argtypes = self._library, self._argtypes
        self._calls += 1
        if (
            self._calls > library.calls_before
            and argtypes is not None
            and library.specialises(self._deletes)
        ):
            specialised = library.specialise(self, self.address, self._restype, argtypes)
            if specialised is not None:
                self._specialised = specialised
                library.replace(self, specialised)
                return specialised
            self._calls = -sys.maxsize
        invoke = self._invoke
        if invoke is None:
            invoke = self._invoke = library.bind(
                self.__name__, self.address, self._restype, argtypes
            )
        return invoke

    def __call__(self, *arguments: Any) -> Any:
        if self._specialised is not None:
            return self._specialised(*arguments)
        library = self._library
        if self._deletes and library.tasks is not None and library.tasks.is_broken:
            return None  # deleting what a dropped call was working on is no more possible
        if library.is_closed:
            if self._restype is None:
                return None  # a finaliser with nothing left to finalise
            library.check_open()
        if self._deletes and library.nesting and not library.has_room_to_delete():
            library.deferred.append((self, arguments))
            return None
        invoke = self._bind()
        try:
            return invoke(*arguments)
        except NotNowError:
            if self._restype is not None:
                raise
            library.deferred.append((self, arguments))
            return None

    def __repr__(self) -> str:
        return f"<GuestFunction {self.__name__}>"


def let_stand_in(package: PrivatePackage, module: ModuleType) -> None:
    """Let the functions that a module of the package keeps as globals be replaced by their code."""
    functions = (value for value in vars(module).values() if isinstance(value, GuestFunction))
    for function in islice(functions, 1):  # all are of one library
        function._library.namespaces.append(vars(module))
