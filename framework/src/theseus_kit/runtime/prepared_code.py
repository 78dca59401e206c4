"""What prepared calls share: numbers as the guest holds them, functions made of source lines."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from struct import error as struct_error
from types import CodeType
from typing import Any

from theseus_kit.errors import ModuleError

VALUE_SIZE = 16
"""Bytes of a wasmtime_val_raw_t: as many as its largest member, a v128, has."""

FORMATS = {
    "i32": ("I12x", "i12x"),
    "i64": ("Q8x", "q8x"),
    "f32": ("f12x",) * 2,
    "f64": ("d8x",) * 2,
}
"""How struct packs and unpacks a number. wasm's integers have no sign: any Python int goes in,
cut to the type's width, and they come out signed, as wasmtime-py returns them."""

_WRITES = {
    "i32": "words[{pair}] = {name} & 0xFFFFFFFF",
    "i64": "words[{pair}] = {name} & 0xFFFFFFFFFFFFFFFF",
    "f32": "singles[{quad}] = {name}",
    "f64": "doubles[{pair}] = {name}",
}
_READS = {
    "i32": "halves[{quad}]",
    "i64": "integers[{pair}]",
    "f32": "singles[{quad}]",
    "f64": "doubles[{pair}]",
}
_CELLS: dict[str, Any] = {
    "words": "Q",
    "integers": "q",
    "halves": "i",
    "doubles": "d",
    "singles": "f",
}
"""The same memory by type. An item of a memoryview costs a third of what struct takes for it."""

MASKS = {"i32": " & 0xFFFFFFFF", "i64": " & 0xFFFFFFFFFFFFFFFF", "f32": "", "f64": ""}


class Compiler:
    """Makes functions of source lines: no loop and no lookup by type is left in them."""

    def __init__(self) -> None:
        self._code: dict[str, CodeType] = {}
        """What was compiled, by its source: functions of one type share it."""

    def compile(self, lines: Sequence[str], **names: Any) -> Callable[..., Any]:
        """Make the function that ``lines`` define; ``names`` are its globals."""
        source = "\n".join(lines)
        code = self._code.get(source)
        if code is None:
            code = self._code[source] = compile(source, "<prepared>", "exec")
        names["NotANumber"] = (struct_error, OverflowError, TypeError)
        exec(code, names)
        # Taken out of its own globals: the cycle would keep it until a garbage collection.
        made: Callable[..., Any] = names.pop(lines[0].removeprefix("def ").partition("(")[0])
        return made


def numbers(types: Sequence[Any]) -> list[str]:
    """Return the names of value types. Raises ModuleError for one that is no plain number."""
    names = [str(kind) for kind in types]
    for name in names:
        if name not in FORMATS:
            raise ModuleError(f"a prepared function cannot pass {name}: call the Func itself")
    return names


def names_of(stem: str, count: int) -> list[str]:
    """Return ``stem0``, ``stem1`` and so on."""
    return [f"{stem}{index}" for index in range(count)]


def packing(layout: str) -> Struct:
    """Return a struct without padding, in the guest's byte order."""
    return Struct("<" + layout)


def cells_of(memory: memoryview) -> dict[str, Any]:
    """Return memory by name, as the lines of :func:`writes` and :func:`reads` use it."""
    return {name: memory.cast(kind) for name, kind in _CELLS.items()}


def writes(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Return the statements that put numbers of these types into the array of values."""
    return [
        _WRITES[kind].format(pair=2 * index, quad=4 * index, name=name)
        for index, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]


def reads(kinds: Sequence[str]) -> list[str]:
    """Return the expressions of the numbers in the array of values."""
    return [_READS[kind].format(pair=2 * i, quad=4 * i) for i, kind in enumerate(kinds)]


def guarded(statements: Sequence[str], not_a_number: str) -> list[str]:
    """Return the lines of statements that write numbers."""
    if not statements:
        return []
    return [
        "        try:",
        *(f"            {statement}" for statement in statements),
        "        except NotANumber as error:",
        f"            {not_a_number}",
    ]


def address_of_pointer(pointer: Any) -> int:
    """Return the address a ctypes pointer, or an integer, stands for; 0 for null."""
    address: int = ctypes.cast(pointer, ctypes.c_void_p).value or 0
    return address
