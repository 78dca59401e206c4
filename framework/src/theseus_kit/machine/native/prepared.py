"""Prepared calls: Python builtins that make one guest call, always the same.

Each has a stub, two instructions that load its slot's address and go on to the shared code, and a
slot: context, slow way, target, stack pointer, six arguments, and the builtin's PyMethodDef. Stubs
and slots are the process's, so that a builtin that outlives its machine finds both; what it finds
in the slot then leads it to Python, which refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from theseus_kit.machine.native import layout, system
from theseus_kit.machine.native.builtin import new_builtin
from theseus_kit.values.memory import PAGE_SIZE

STUB_SIZE: Final = 16
STUB_ASSEMBLY: Final = "lea r11, [rip + slot]; jmp prepared"
_STUB = Struct("<3siBi4x")
_SLOT = Struct("<QQQQ6QQQiiQ")
_METH_NOARGS = 0x4
_STUBS_PER_PAGE = PAGE_SIZE // STUB_SIZE


def stub(address: int, slot: int, prepared: int) -> bytes:
    """``lea r11, [rip + slot]`` (4c 8d 1d rel32); ``jmp prepared`` (e9 rel32)."""
    return _STUB.pack(b"\x4c\x8d\x1d", slot - (address + 7), 0xE9, prepared - (address + 12))


class _Owner:
    """What a builtin keeps alive; when it goes, the slot is free again."""

    __slots__ = ("_calls", "_keep", "_number")

    def __init__(self, calls: PreparedCalls, number: int, keep: tuple[object, ...]) -> None:
        self._calls = calls
        self._number = number
        self._keep = keep

    def __del__(self) -> None:
        self._calls.give_back(self._number)


class PreparedCalls:
    """The process's stubs and slots."""

    def __init__(self, stubs: int, slots: int, count: int, prepared: int, view: memoryview) -> None:
        self._stubs, self._slots, self._count = stubs, slots, count
        self._prepared = prepared
        self._view = view
        self._free: list[int] = []
        self._made = 0
        self._name = slots  # slot 0 holds the builtins' name
        view[slots : slots + 14] = b"prepared_call\0"

    def prepare(
        self,
        context: int,
        target: int,
        arguments: Sequence[int],
        slow: Callable[[], int],
        keep: object,
    ) -> Callable[[], int]:
        """Make a builtin that calls ``target``; ``slow()`` does it where the fast way cannot.

        ``keep`` is kept alive with it: whatever owns the context's memory.
        """
        number = self._take()
        if number is None:
            return slow
        slot = self._slots + number * layout.SLOT_SIZE
        words = [*arguments, *[0] * (6 - len(arguments))]
        method = slot + layout.SLOT_METHOD
        _SLOT.pack_into(
            self._view,
            slot,
            *(context, id(slow), target, 0, *words),
            *(self._name, self._stubs + number * STUB_SIZE, _METH_NOARGS, 0, 0),
        )
        builtin: Any = new_builtin(method, _Owner(self, number, (slow, keep)))
        made: Callable[[], int] = builtin
        return made

    def give_back(self, number: int) -> None:
        self._free.append(number)

    def _take(self) -> int | None:
        if not self._free:
            first = self._made
            if first == self._count:
                return None
            page = self._stubs + first * STUB_SIZE
            numbers = range(first, first + _STUBS_PER_PAGE)
            self._view[page : page + PAGE_SIZE] = b"".join(
                stub(
                    self._stubs + number * STUB_SIZE,
                    self._slots + number * layout.SLOT_SIZE,
                    self._prepared,
                )
                for number in numbers
            )
            system.protect(page, PAGE_SIZE, system.PROT_READ_EXECUTE)
            self._made += _STUBS_PER_PAGE
            self._free.extend(number for number in reversed(numbers) if number)
        return self._free.pop()
