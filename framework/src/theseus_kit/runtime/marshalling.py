"""From ctypes values to the integers of a guest call and back, by ctypes type.

For each type of argument there is one converter, made once when a function is first called, and
for each type of result one more. They follow what ctypes itself accepts and returns
(docs.python.org, ctypes, "Specifying the required argument types"), so that code written for a
library that the host loaded sees no difference. Memory that arguments point to is
:mod:`.passing`'s business, callbacks :mod:`.callbacks`'s.

Not here, because no binding of Wasmtime has them: floating-point arguments and results, structures
by value. A function that declares one says so when it is called.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, TypeAlias

from theseus_kit.runtime.passing import (
    ANY_DATA,
    ANY_FUNCTION,
    ANY_POINTER,
    LOWEST_POINTER,
    U64,
    GuestSpace,
)

Converter: TypeAlias = Callable[[Any], int]
"""Turns one argument into an integer register; raises TypeError as ctypes would."""

ResultConverter: TypeAlias = Callable[[int], Any]
"""Turns rax, unsigned, into what ctypes would return."""

SIGNED = "bhilq"
UNSIGNED = "BHILQ"
"""What ctypes calls its integer types."""

_SMALL = 1024
"""Bytes up to which an array is copied as one value, which is quicker than as a block."""

REFERENCE: Any = type(ctypes.byref(ctypes.c_int()))
"""What ``byref`` returns; its ``_obj`` is the object referred to."""


def argument_converter(space: GuestSpace, kind: Any) -> Converter:
    """Return the converter of an ``argtypes`` entry. Raises TypeError for a type not supported."""
    if kind is ctypes.c_void_p:
        return _void_pointer(space)
    if kind is ctypes.c_char_p:
        return _pointer(space, ctypes.POINTER(ctypes.c_char), ctypes.c_char_p)
    if issubclass(kind, ANY_POINTER):
        return _pointer(space, kind)
    if issubclass(kind, ANY_FUNCTION):
        return _function_pointer(kind)
    code = getattr(kind, "_type_", None)
    if code == "?":
        return _boolean(kind)
    if isinstance(code, str) and code in SIGNED + UNSIGNED:
        return _integer(kind)
    raise TypeError(f"arguments of type {kind.__name__} are not supported")


def untyped_converter(space: GuestSpace) -> Converter:
    """Return the converter for a function that declares no ``argtypes``: any pointer or integer."""
    return _void_pointer(space)


def result_converter(kind: Any) -> ResultConverter | None:
    """Return the converter of a ``restype``, None for void. Raises TypeError if unsupported."""
    if kind is None:
        return None
    if issubclass(kind, ANY_POINTER):
        return pointer_maker(kind)
    if issubclass(kind, ANY_FUNCTION):
        return lambda rax: kind(rax)
    if kind is ctypes.c_void_p:
        return lambda rax: rax or None
    if kind is ctypes.c_char_p:
        return lambda rax: ctypes.string_at(rax) if rax else None
    code = getattr(kind, "_type_", None)
    if code == "?":
        return lambda rax: rax & 0xFF != 0
    if isinstance(code, str) and code in UNSIGNED:
        mask = (1 << 8 * ctypes.sizeof(kind)) - 1
        return lambda rax: rax & mask
    if isinstance(code, str) and code in SIGNED:
        sign = 1 << (8 * ctypes.sizeof(kind) - 1)
        mask = 2 * sign - 1
        return lambda rax: ((rax & mask) ^ sign) - sign
    raise TypeError(f"results of type {kind.__name__} are not supported")


def pointer_maker(kind: Any) -> ResultConverter:
    """Return a function that makes a pointer object of type ``kind`` from an address."""
    set_address = U64.pack_into

    def make_pointer(address: int) -> Any:
        pointer = kind()
        if address:
            set_address(pointer, 0, address)
        return pointer

    return make_pointer


def convert_arguments(converters: Sequence[Converter], arguments: Sequence[Any]) -> list[int]:
    """Convert one by one, to say which argument is wrong: the slow path of a failed call."""
    integers = []
    for index, (converter, argument) in enumerate(zip(converters, arguments, strict=True), 1):
        try:
            integers.append(converter(argument))
        except TypeError as error:
            raise ctypes.ArgumentError(f"argument {index}: TypeError: {error}") from None
    return integers


def _integer(kind: Any) -> Converter:
    mask = (1 << 8 * ctypes.sizeof(kind)) - 1

    def convert(value: Any) -> int:
        if isinstance(value, int):
            return value & mask
        if isinstance(value, kind):
            return int(value.value) & mask
        if hasattr(value, "_as_parameter_"):
            return convert(value._as_parameter_)
        return int(kind(value).value) & mask  # ctypes' own TypeError

    return convert


def _boolean(kind: Any) -> Converter:
    def convert(value: Any) -> int:
        return 1 if (value.value if isinstance(value, kind) else value) else 0

    return convert


def _function_pointer(kind: Any) -> Converter:
    address_of = U64.unpack_from

    def convert(value: Any) -> int:
        if isinstance(value, kind):
            address: int = address_of(value)[0]
            return address
        raise _mismatch(kind, value)

    return convert


def _pointer(space: GuestSpace, kind: Any, alias: Any = None) -> Converter:
    """Convert what may stand where ``kind``, a ``POINTER(T)``, is due; or an ``alias`` of it."""
    target: Any = kind._type_
    size = ctypes.sizeof(target)
    codec = Struct(f"{size}s")
    links = space.links(target)
    single = size == 8 and len(links) == 1 and not links[0].in_union  # POINTER(POINTER(T))
    start, end, passing = space.start, space.end, space.passing
    address_of = U64.unpack_from
    object_address = ctypes.addressof
    takes_bytes = target is ctypes.c_char

    def convert(value: Any) -> int:
        given = type(value)
        address: int
        if given is kind:
            address = address_of(value)[0]
            if start <= address < end or address < LOWEST_POINTER:
                return address
            return passing.pointee(address, target, value)
        if given is REFERENCE:
            value = value._obj
        elif value is None:
            return 0
        elif takes_bytes and given is bytes:
            return passing.string(value)
        if isinstance(value, target):
            address = object_address(value)
            if start <= address < end:
                return address
            if not links:
                return passing.value(value, codec)
            if single:
                address = address_of(value)[0]
                if start <= address < end or address < LOWEST_POINTER:
                    return passing.value(value, codec)
            return passing.linked(value, target, 1)
        return other(value)

    def other(value: Any) -> int:
        address: int
        if isinstance(value, ctypes.Array) and issubclass(value._type_, target):
            address = object_address(value)
            if start <= address < end:
                return address
            if links or ctypes.sizeof(value) > _SMALL:
                return passing.linked(value, target, len(value))
            return passing.value(value, Struct(f"{ctypes.sizeof(value)}s"))
        if (isinstance(value, ANY_POINTER) and value._type_ is target) or (
            takes_bytes and isinstance(value, ctypes.c_char_p)
        ):
            address = address_of(value)[0]
            if start <= address < end or address < LOWEST_POINTER:
                return address
            return passing.pointee(address, target, value)
        if hasattr(value, "_as_parameter_"):
            return convert(value._as_parameter_)
        raise _mismatch(alias or kind, value)

    return convert


def _void_pointer(space: GuestSpace) -> Converter:
    start, end, passing = space.start, space.end, space.passing

    def convert(value: Any) -> int:
        address: int
        if value is None:
            return 0
        if isinstance(value, int):
            return value & 0xFFFF_FFFF_FFFF_FFFF
        if isinstance(value, bytes):
            return passing.string(value)
        if isinstance(value, ctypes.c_void_p):
            return value.value or 0
        if isinstance(value, ANY_FUNCTION):
            address = U64.unpack_from(value)[0]
            return address
        if isinstance(value, (ANY_POINTER, ctypes.c_char_p)):
            address = U64.unpack_from(value)[0]
            if start <= address < end or address < LOWEST_POINTER:
                return address
            is_string = isinstance(value, ctypes.c_char_p)
            return passing.pointee(address, ctypes.c_char if is_string else value._type_, value)
        if type(value) is REFERENCE:
            value = value._obj
        elif hasattr(value, "_as_parameter_"):
            return convert(value._as_parameter_)
        elif not isinstance(value, ctypes.Array):
            raise _mismatch(ctypes.c_void_p, value)
        address = ctypes.addressof(value)
        if start <= address < end:
            return address
        return passing.linked(value, type(value), 1)

    return convert


def _mismatch(kind: Any, value: Any) -> TypeError:
    what = f"{kind.__name__} instance" if issubclass(kind, ANY_DATA) else kind.__name__
    return TypeError(f"expected {what} instead of {type(value).__name__}")
