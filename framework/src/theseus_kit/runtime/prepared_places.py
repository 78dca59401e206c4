"""Guest memory with a C call prepared on it, used again once what it was made for is gone.

A prepared call of a machine is its target and arguments, for good, and on some machines it is code
that is never given back. So the memory that holds the arguments and the call that names it stay
together: a store that is made where another one was, which is what an allocator does, finds its
predecessor's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from theseus_kit.runtime.prepared_code import address_of_pointer

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.library import GuestLibrary

Key: TypeAlias = tuple[str, int, int]
"""Function, context, bytes of memory."""


class PreparedPlaces:
    """The places of one runtime that are free."""

    def __init__(self, machine: Machine, library: GuestLibrary, ffi: Any) -> None:
        self._machine = machine
        self._library = library
        self._ffi = ffi
        self._free: dict[Key, list[_Made]] = {}

    def take(
        self, name: str, context: int, size: int, arguments: Callable[[int], Sequence[int]]
    ) -> Place:
        """Return ``size`` bytes of guest memory and a call of the C function ``name``.

        The call's arguments are the context and, of the memory's address, ``arguments``, the same
        for every place of this function and size. The memory holds what it held last.
        """
        key = (name, context, size)
        free = self._free.setdefault(key, [])
        if free:
            return Place(free.pop(), free)
        memory = _GuestBytes(self._ffi, size)
        target = self._library.address_of(name)
        enter = self._machine.prepare_call(target, (context, *arguments(memory.address)))
        return Place((memory, enter), free)


class Place:
    """A place in use; it is free again when this object goes."""

    __slots__ = ("_free", "_made", "address", "enter")

    def __init__(self, made: _Made, free: list[_Made]) -> None:
        self._made = made
        self._free = free
        self.address = made[0].address
        self.enter = made[1]

    def fill(self, offset: int, value: Any) -> None:
        """Copy a ctypes value to ``offset`` of the memory."""
        ctypes.memmove(self.address + offset, ctypes.addressof(value), ctypes.sizeof(value))

    def __del__(self) -> None:
        self._free.append(self._made)


class _GuestBytes:
    """Guest memory from the library's own allocator, given back when this object goes."""

    def __init__(self, ffi: Any, size: int) -> None:
        self._delete = ffi.wasm_byte_vec_delete
        self._vector = ffi.wasm_byte_vec_t()
        ffi.wasm_byte_vec_new_uninitialized(ctypes.byref(self._vector), size)
        self.address = address_of_pointer(self._vector.data)

    def __del__(self) -> None:
        self._delete(ctypes.byref(self._vector))


_Made: TypeAlias = tuple[_GuestBytes, Callable[[], int]]
