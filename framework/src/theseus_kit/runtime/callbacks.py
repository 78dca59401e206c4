"""C function pointer types whose instances are guest addresses, in place of ``ctypes.CFUNCTYPE``.

A Python callable given to one becomes an export of the machine at once, so an instance's value is
an address the guest can call, wherever it is put: an argument, a structure's field. Exports live as
long as the machine: the package makes its callbacks once, when it is imported, and tells Wasmtime's
objects apart by the integer it passes along with them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import GuestError, MachineError
from theseus_kit.runtime.marshalling import ResultConverter, result_converter
from theseus_kit.runtime.passing import ANY_FUNCTION, ANY_POINTER, U64

if TYPE_CHECKING:
    from theseus_kit.runtime.library import GuestLibrary

_FUNCFLAG_CDECL: Any = ctypes.CFUNCTYPE(None)._flags_


class FunctionTypes:
    """Makes function pointer types; equal signatures get the same type, as with ctypes."""

    def __init__(self, library: GuestLibrary) -> None:
        self._library: GuestLibrary | None = library
        self._types: dict[tuple[Any, ...], Any] = {}

    def function_type(
        self, restype: Any, *argtypes: Any, use_errno: bool = False, use_last_error: bool = False
    ) -> Any:
        """Do as ``ctypes.CFUNCTYPE``; the two flags concern libraries the host loads."""
        key = (restype, *argtypes)
        found = self._types.get(key)
        if found is None:
            found = self._types[key] = self._make(restype, argtypes)
        return found

    def _make(self, restype: Any, argtypes: tuple[Any, ...]) -> Any:
        types = self

        class CFunctionType(ANY_FUNCTION):  # type: ignore[misc]
            """A pointer to a guest function."""

            _argtypes_ = argtypes
            _restype_ = restype
            _flags_ = _FUNCFLAG_CDECL
            _python: Callable[..., Any] | None = None

            def __new__(cls, *arguments: Any) -> Any:
                if len(arguments) == 1 and callable(arguments[0]):
                    function = arguments[0]
                    pointer = super().__new__(cls, types.export(function, restype, argtypes))
                    pointer._python = function
                    return pointer
                return super().__new__(cls, *arguments)

            def __call__(self, *arguments: Any) -> Any:
                if self._python is not None:
                    return self._python(*arguments)
                return types.call(U64.unpack_from(self)[0], restype, argtypes)(*arguments)

        return CFunctionType

    def export(self, function: Callable[..., Any], restype: Any, argtypes: tuple[Any, ...]) -> int:
        """Return the guest address of a Python callable."""
        name = getattr(function, "__qualname__", type(function).__name__)
        library = self._open_library()
        entry = adapter(function, restype, argtypes, library)
        return library.export(entry, len(argtypes), name)

    def call(self, address: int, restype: Any, argtypes: tuple[Any, ...]) -> Callable[..., Any]:
        """Return what calls the guest function at an address. Raises ValueError for null."""
        if not address:
            raise ValueError("NULL function pointer")
        return self._open_library().function_at(address, restype, argtypes)

    def close(self) -> None:
        """Make no more types, and let go of those made.

        The garbage collector does not see a ctypes type's references to its argument types
        (before Python 3.13), so a cycle through them would never be found.
        """
        self._types.clear()
        self._library = None

    def _open_library(self) -> GuestLibrary:
        if self._library is None:
            raise MachineError("the platform of this function pointer is closed")
        return self._library


def adapter(
    function: Callable[..., Any],
    restype: Any,
    argtypes: tuple[Any, ...],
    library: GuestLibrary,
) -> Callable[..., int]:
    """Wrap a callable of ctypes values into one of integers, as the guest passes them.

    Pointers become pointer objects to guest memory in place. The guest gets 0 from a callable that
    raises, as a library that the host loaded does; the library keeps the error. The error of a
    callable without a result, a finaliser, is Python's to report (sys.unraisablehook), as ctypes
    has it too: raised out of the call that deletes an object it would have the object's owner
    delete it a second time.
    """
    decoders = [_argument_decoder(kind) for kind in argtypes]
    encode = _result_encoder(restype)

    def entry(*integers: int) -> int:
        nesting = library.nesting
        library.nesting = nesting + 1
        try:
            return encode(
                function(
                    *[decode(integer) for decode, integer in zip(decoders, integers, strict=True)]
                )
            )
        except (GuestError, MachineError):
            raise  # the guest itself is at its end: none of its frames can go on
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the caller's
            if restype is None and isinstance(error, Exception):
                _report_unraisable(error)
            else:
                library.keep_error(error)
            return 0
        finally:
            library.nesting = nesting

    return entry


def _report_unraisable(error: Exception) -> None:
    """Hand an error to sys.unraisablehook, whose argument only C code can make: ctypes does."""

    def finaliser() -> None:
        raise error

    ctypes.CFUNCTYPE(None)(finaliser)()


def _argument_decoder(kind: Any) -> ResultConverter:
    decoder = result_converter(kind)
    if decoder is None:
        raise TypeError("an argument of a callback cannot be void")
    return decoder


def _result_encoder(kind: Any) -> Callable[[Any], int]:
    """Return what turns a callback's result into rax, accepting what ctypes accepts."""
    if kind is None:
        return lambda value: 0
    if issubclass(kind, (ANY_POINTER, ANY_FUNCTION)):

        def encode_pointer(value: Any) -> int:
            address: int = 0 if value is None else U64.unpack_from(value)[0]
            return address

        return encode_pointer
    if kind is ctypes.c_void_p:
        return lambda value: (value or 0) & 0xFFFF_FFFF_FFFF_FFFF
    mask = (1 << 8 * ctypes.sizeof(kind)) - 1

    def encode_integer(value: Any) -> int:
        if isinstance(value, int):
            return value & mask
        return int(kind(value).value) & mask  # ctypes' own TypeError

    return encode_integer
