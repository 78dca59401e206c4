"""Host memory that one call passes by pointer: what the guest gets instead, and what comes back.

On a machine that isolates the guest, everything a pointer argument leads to is copied into
:class:`~.scratch.Scratch` memory before the call and back after it (:class:`CopyingPassing`). What
a pointer leads to is decided by its ctypes type alone:

- a value of type T passed by ``byref``, or as itself where a ``POINTER(T)`` is due: one T;
- an array: all of it;
- a pointer inside what is copied, or a pointer object: as many elements as the ctypes object it
  was made from has (ctypes keeps those alive, and says so in ``_objects``); of a ``{size, data}``
  structure, ``size`` elements; of ``char`` without either, a string up to its zero byte; else one;
- a pointer member of a union: nothing, unless ctypes keeps its target alive (the bits may be
  another member's);
- ``c_void_p`` inside a structure: nothing, it is a number.

Addresses inside guest memory are passed as they are, wherever they stand. On a machine where the
guest sees host memory every pointer is passed as it is (:class:`DirectPassing`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from theseus_kit.machine.protocol import Ability

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine
    from theseus_kit.runtime.scratch import Scratch

U64: Final = Struct("<Q")
LOWEST_POINTER = 1 << 16
"""Nothing is ever mapped below (vm.mmap_min_addr): smaller values are Rust's dangling pointers of
empty vectors, and are passed as they are."""

ANY_POINTER: Any = ctypes._Pointer
ANY_FUNCTION: Any = ctypes._CFuncPtr  # type: ignore[attr-defined]  # its only name
ANY_DATA: Any = ctypes.c_int.__mro__[2]
"""``_ctypes._CData``, the base of all ctypes types, which ctypes itself gives no name."""


class Link:
    """A pointer inside a type: where it is and what it points to."""

    __slots__ = ("count_offset", "in_union", "offset", "target")

    def __init__(self, offset: int, target: Any, count_offset: int | None, in_union: bool) -> None:
        self.offset = offset
        self.target = target
        """The ctypes type pointed to; c_char stands for strings too."""
        self.count_offset = count_offset
        """Where the number of elements is, in a ``{size, data}`` structure."""
        self.in_union = in_union


class GuestSpace:
    """What marshalling knows of a machine's memory."""

    def __init__(self, machine: Machine, scratch: Scratch) -> None:
        self.view = machine.memory.view
        self.scratch = scratch
        territory = machine.memory.territory
        self.start, self.end = territory.start, territory.end
        isolated = Ability.ISOLATION in machine.abilities
        self.is_direct = not isolated
        """The guest sees host memory."""
        self.passing: Passing = CopyingPassing(self) if isolated else DirectPassing()
        self._links: dict[Any, tuple[Link, ...]] = {}

    def links(self, kind: Any) -> tuple[Link, ...]:
        """Return the pointers inside a ctypes type."""
        found = self._links.get(kind)
        if found is None:
            found = self._links[kind] = tuple(_find_links(kind, 0, in_union=False))
        return found


class Passing:
    """The memory that the calls in progress pass, innermost call last.

    A call notes ``len(entries)`` and the scratch memory's top, passes what it passes, and calls
    :meth:`finish`, or :meth:`drop` where the call failed, if there are more entries then.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[Any, Struct | None, int]] = []
        """(ctypes value, codec, its copy's address) or (:class:`_Copies`, None, 0)."""

    def value(self, value: Any, codec: Struct) -> int:
        """Pass one ctypes value without pointers inside by address; ``codec`` packs its bytes."""
        raise NotImplementedError

    def linked(self, value: Any, kind: Any, count: int) -> int:
        """Pass ``count`` elements of type ``kind`` that the ctypes object ``value`` begins with."""
        raise NotImplementedError

    def pointee(self, address: int, kind: Any, pointer: Any) -> int:
        """Pass what a pointer object points to, outside guest memory."""
        raise NotImplementedError

    def string(self, value: bytes) -> int:
        """Pass bytes with a zero byte after them; the guest's changes are lost."""
        raise NotImplementedError

    def finish(self, depth: int) -> None:
        """Bring back what the guest changed in the entries above ``depth``, and forget them."""
        raise NotImplementedError

    def drop(self, depth: int) -> None:
        """Forget the entries above ``depth``."""
        raise NotImplementedError


class DirectPassing(Passing):
    """For a guest that sees host memory: addresses as they are, and no entries."""

    def value(self, value: Any, codec: Struct) -> int:
        return ctypes.addressof(value)

    def linked(self, value: Any, kind: Any, count: int) -> int:
        return ctypes.addressof(value)

    def pointee(self, address: int, kind: Any, pointer: Any) -> int:
        return address

    def string(self, value: bytes) -> int:
        # The caller's argument tuple keeps the bytes alive during the call.
        address: int = U64.unpack_from(ctypes.c_char_p(value))[0]
        return address


class CopyingPassing(Passing):
    """For an isolated guest: copies, followed by type."""

    def __init__(self, space: GuestSpace) -> None:
        super().__init__()
        self._space = space
        self._view = space.view
        self._scratch = space.scratch

    def value(self, value: Any, codec: Struct) -> int:
        address = self._scratch.reserve(codec.size)
        if address is None:
            return self._copies().follow(ctypes.addressof(value), type(value), 1, value)
        codec.pack_into(self._view, address, *codec.unpack_from(value))
        self.entries.append((value, codec, address))
        return address

    def linked(self, value: Any, kind: Any, count: int) -> int:
        return self._copies().follow(ctypes.addressof(value), kind, count, value)

    def pointee(self, address: int, kind: Any, pointer: Any) -> int:
        size = ctypes.sizeof(kind)
        extent = _extent(pointer, address)
        if extent is not None and size:
            return self._copies().follow(address, kind, max(extent // size, 1), pointer)
        if kind is ctypes.c_char:
            return self.string(ctypes.string_at(address))
        return self._copies().follow(address, kind, 1, pointer)

    def string(self, value: bytes) -> int:
        address = self._scratch.reserve(len(value) + 1)
        if address is None:
            return self._copies().string(value)
        self._view[address : address + len(value) + 1] = value + b"\0"
        return address

    def finish(self, depth: int) -> None:
        view, entries = self._view, self.entries
        while len(entries) > depth:
            value, codec, address = entries.pop()
            if codec is not None:
                codec.pack_into(value, 0, *codec.unpack_from(view, address))
            else:
                try:
                    value.bring_back()
                finally:
                    value.release()

    def drop(self, depth: int) -> None:
        for value, codec, _ in self.entries[depth:]:
            if codec is None:
                value.release()
        del self.entries[depth:]

    def _copies(self) -> _Copies:
        copies = _Copies(self._space)
        self.entries.append((copies, None, 0))
        return copies


class _Copies:
    """The copies of what one argument leads to."""

    def __init__(self, space: GuestSpace) -> None:
        self._space = space
        self._view = space.view
        self._blocks: list[tuple[int, int, int]] = []
        """(host address, its copy's address, size)"""
        self._rewritten: list[tuple[int, int, int]] = []
        """(address of a pointer in a copy, what it was set to, what it is on the host)"""
        self._seen: dict[tuple[int, int], int] = {}
        """The copy of what was copied already, by host address and size: aliases stay aliases."""
        self._large: list[tuple[int, int]] = []

    def follow(self, host: int, kind: Any, count: int, owner: Any) -> int:
        """Copy ``count`` elements at a host address, and what the pointers in them point to."""
        element = ctypes.sizeof(kind)
        size = element * count
        if not element:
            return host  # an opaque type: there is nothing of it to copy, its address is a name
        known = self._seen.get((host, size))
        if known is not None:
            return known
        address = self._seen[host, size] = self._reserve(size)
        ctypes.memmove(address, host, size)
        self._blocks.append((host, address, size))
        links = self._space.links(kind)
        if links:
            for start in range(address, address + size, element):
                for link in links:
                    self._follow_link(start, link, owner)
        return address

    def string(self, value: bytes) -> int:
        """Copy bytes and a zero byte, for reading only."""
        size = len(value) + 1
        address = self._reserve(size)
        self._view[address : address + size] = value + b"\0"
        return address

    def bring_back(self) -> None:
        """Copy everything back; pointers that the guest left alone are the host's again."""
        view = self._view
        for slot, translated, original in self._rewritten:
            if U64.unpack_from(view, slot)[0] == translated:
                U64.pack_into(view, slot, original)
        for host, address, size in self._blocks:
            ctypes.memmove(host, address, size)

    def release(self) -> None:
        """Unmap what had no room in the scratch memory."""
        for address, size in self._large:
            self._space.scratch.unmap_large(address, size)

    def _reserve(self, size: int) -> int:
        address = self._space.scratch.reserve(size)
        if address is None:
            address = self._space.scratch.map_large(size)
            self._large.append((address, size))
        return address

    def _follow_link(self, start: int, link: Link, owner: Any) -> None:
        view = self._view
        slot = start + link.offset
        host: int = U64.unpack_from(view, slot)[0]
        if host < LOWEST_POINTER or self._space.start <= host < self._space.end:
            return
        extent = _extent(owner, host)
        size = ctypes.sizeof(link.target)
        if not size or (link.in_union and extent is None):
            return
        if extent is not None:
            translated = self.follow(host, link.target, max(extent // size, 1), owner)
        elif link.count_offset is not None:
            count = U64.unpack_from(view, start + link.count_offset)[0]
            if not count:
                return
            translated = self.follow(host, link.target, count, owner)
        elif link.target is ctypes.c_char:
            translated = self.string(ctypes.string_at(host))
        else:
            translated = self.follow(host, link.target, 1, owner)
        U64.pack_into(view, slot, translated)
        self._rewritten.append((slot, translated, host))


def _find_links(kind: Any, base: int, *, in_union: bool) -> Iterator[Link]:
    if issubclass(kind, ANY_POINTER):
        yield Link(base, kind._type_, None, in_union)
    elif kind is ctypes.c_char_p:
        yield Link(base, ctypes.c_char, None, in_union)
    elif issubclass(kind, ctypes.Array):
        size = ctypes.sizeof(kind._type_)
        for index in range(kind._length_):
            yield from _find_links(kind._type_, base + index * size, in_union=in_union)
    elif issubclass(kind, (ctypes.Structure, ctypes.Union)):
        inside_union = in_union or issubclass(kind, ctypes.Union)
        fields = [f for c in reversed(kind.__mro__) for f in vars(c).get("_fields_", ())]
        is_vector = (
            [f[0] for f in fields] == ["size", "data"]
            and fields[0][1] is ctypes.c_size_t
            and issubclass(fields[1][1], ANY_POINTER)
        )
        for name, field_kind, *bits in fields:
            if bits:
                continue
            offset = base + getattr(kind, name).offset
            if is_vector and name == "data":
                yield Link(offset, field_kind._type_, base + kind.size.offset, inside_union)
            else:
                yield from _find_links(field_kind, offset, in_union=inside_union)


def _extent(owner: Any, address: int) -> int | None:
    """Bytes from an address to the end of the ctypes object that ``owner`` keeps alive there."""
    for kept in _kept_alive(owner, set()):
        start = ctypes.addressof(kept)
        end = start + ctypes.sizeof(kept)
        if start <= address < end:
            return end - address
    return None


def _kept_alive(value: Any, visited: set[int]) -> Iterator[Any]:
    """Walk the ctypes objects that a ctypes object keeps alive, as its ``_objects`` tells."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _kept_alive(inner, visited)
    elif isinstance(value, ANY_DATA) and id(value) not in visited:
        visited.add(id(value))
        if len(visited) > 1:
            yield value
        yield from _kept_alive(value._objects, visited)
        if value._b_base_ is not None:
            yield from _kept_alive(value._b_base_, visited)
