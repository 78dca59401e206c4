"""The guest library as ctypes would show it: an object whose attributes are its C functions.

It takes the place of the ``CDLL`` that the package's bindings would get from the host. A function's
symbol is looked up and its signature compiled when it is first called: of several hundred
declared, a program calls a few dozen.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import MachineError
from theseus_kit.runtime.marshalling import (
    argument_converter,
    convert_arguments,
    result_converter,
    untyped_converter,
)
from theseus_kit.runtime.passing import GuestSpace
from theseus_kit.runtime.scratch import Scratch

if TYPE_CHECKING:
    from pluggy import HookRelay

    from theseus_kit.machine.protocol import Machine


class GuestLibrary:
    """The functions of one loaded image, by name, as attributes.

    Functions without a result may be called at any time, also by a finaliser that the garbage
    collector runs while the machine cannot be called: they then run before the next call.
    """

    def __init__(
        self, machine: Machine, hooks: HookRelay, name: str, resolve: Callable[[str], int]
    ) -> None:
        self._name = name
        self._machine = machine
        self._resolve = resolve
        self._space = GuestSpace(machine, Scratch(hooks))
        self.deferred: deque[tuple[GuestFunction, tuple[Any, ...]]] = deque()
        """Calls kept for later: function and arguments."""
        self._closed = False

    def __getattr__(self, name: str) -> GuestFunction:
        if name.startswith("__"):
            raise AttributeError(name)
        function = GuestFunction(self, name)
        setattr(self, name, function)
        return function

    def __repr__(self) -> str:
        return f"<GuestLibrary {self._name}>"

    def function_at(
        self, address: int, restype: Any, argtypes: Sequence[Any]
    ) -> Callable[..., Any]:
        """Return a callable for the guest function at an address, with a ctypes signature."""
        return self._bind(f"function at {address:#x}", address, restype, argtypes)

    def address_of(self, name: str) -> int:
        """Return a function's guest address. Raises AttributeError as ctypes does."""
        try:
            return self._resolve(name)
        except KeyError:
            raise AttributeError(f"{self._name}: undefined symbol: {name}") from None

    def close(self) -> None:
        """Take no more calls: finalisers become nothing, everything else raises MachineError."""
        self._closed = True
        self.deferred.clear()

    def defer(self, function: GuestFunction, arguments: tuple[Any, ...]) -> bool:
        """Keep a call for later if now is no time for it; say whether it was kept or dropped."""
        if self._closed:
            return True
        if self._machine.can_call:
            return False
        self.deferred.append((function, arguments))
        return True

    def _bind(
        self, name: str, address: int, restype: Any, argtypes: Sequence[Any] | None
    ) -> Callable[..., Any]:
        """Compile a signature into a callable that marshals, calls, and marshals back."""
        space, call, deferred = self._space, self._machine.call, self.deferred
        new_passing = space.passing
        result = result_converter(restype)
        if argtypes is None:
            untyped = untyped_converter(space)
            converters = []
        else:
            untyped = None
            converters = [argument_converter(space, kind) for kind in argtypes]

        def invoke(*arguments: Any) -> Any:
            if len(arguments) != len(converters):
                if untyped is None:
                    raise TypeError(
                        f"{name} takes {len(converters)} arguments ({len(arguments)} given)"
                    )
                given = [untyped] * len(arguments)
            else:
                given = converters
            if deferred:
                self.run_deferred()
            passing = new_passing(space)
            try:
                try:
                    integers = [
                        convert(value, passing)
                        for convert, value in zip(given, arguments, strict=True)
                    ]
                except TypeError:
                    integers = convert_arguments(given, arguments, passing)
                rax = call(address, integers)
                passing.finish()
            finally:
                passing.release()
            return None if result is None else result(rax)

        return invoke

    def run_deferred(self) -> None:
        """Run what finalisers could not run at the time."""
        while self.deferred and self._machine.can_call:
            function, arguments = self.deferred.popleft()
            function(*arguments)

    def check_open(self) -> None:
        """Raise MachineError once the platform is closed."""
        if self._closed:
            raise MachineError(f"{self._name}: its platform is closed")


class GuestFunction:
    """A C function of the library; set ``restype`` and ``argtypes`` as on a ctypes function."""

    __slots__ = ("__name__", "_argtypes", "_invoke", "_library", "_restype")

    def __init__(self, library: GuestLibrary, name: str) -> None:
        self._library = library
        self.__name__ = name
        self._restype: Any = ctypes.c_int
        self._argtypes: Sequence[Any] | None = None
        self._invoke: Callable[..., Any] | None = None

    @property
    def restype(self) -> Any:
        return self._restype

    @restype.setter
    def restype(self, kind: Any) -> None:
        self._restype = kind
        self._invoke = None

    @property
    def argtypes(self) -> Sequence[Any] | None:
        return self._argtypes

    @argtypes.setter
    def argtypes(self, kinds: Sequence[Any] | None) -> None:
        self._argtypes = None if kinds is None else tuple(kinds)
        self._invoke = None

    @property
    def address(self) -> int:
        """Where the function is in guest memory. Raises AttributeError if the library lacks it."""
        return self._library.address_of(self.__name__)

    def __call__(self, *arguments: Any) -> Any:
        library = self._library
        if self._restype is None:
            if library.defer(self, arguments):
                return None
        else:
            library.check_open()
        invoke = self._invoke
        if invoke is None:
            invoke = self._invoke = library._bind(
                self.__name__, self.address, self._restype, self._argtypes
            )
        return invoke(*arguments)

    def __repr__(self) -> str:
        return f"<GuestFunction {self.__name__}>"
