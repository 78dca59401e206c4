"""WebAssembly values as text: arguments from the command line, results to stdout.

Texts are those of ``wasmtime run --invoke``: integers in decimal or 0x…, floats as Rust's
``Display`` shows them (the shortest decimal that reads back, without an exponent).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import isinf, isnan

from theseus_kit.errors import ModuleError

_INTEGER_BITS = {"i32": 32, "i64": 64}
_FLOATS = ("f32", "f64")


def parse_arguments(function: str, types: Sequence[str], texts: Sequence[str]) -> list[int | float]:
    """Turn a function's arguments from text. Raises ModuleError for a wrong number or type."""
    if len(texts) != len(types):
        signature = ", ".join(types) or "no arguments"
        raise ModuleError(
            f"{function} takes {len(types)} argument{'' if len(types) == 1 else 's'} "
            f"({signature}), {len(texts)} given"
        )
    return [
        _parse(function, position, type_, text)
        for position, (type_, text) in enumerate(zip(types, texts, strict=True), start=1)
    ]


def _parse(function: str, position: int, type_: str, text: str) -> int | float:
    problem = f"argument {position} of {function}"
    if type_ in _INTEGER_BITS:
        bits = _INTEGER_BITS[type_]
        try:
            value = int(text, 16) if text.lower().startswith("0x") else int(text)
        except ValueError:
            raise ModuleError(f"{problem} must be an {type_}, not {text!r}") from None
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise ModuleError(f"{problem} does not fit an {type_}: {text}")
        return value - (1 << bits) if value >= 1 << bits - 1 else value
    if type_ in _FLOATS:
        try:
            return float(text)
        except ValueError:
            raise ModuleError(f"{problem} must be an {type_}, not {text!r}") from None
    raise ModuleError(f"{problem} is a {type_}, which cannot be given on the command line")


def format_result(type_: str, value: object) -> str:
    """Show one result as ``wasmtime run --invoke`` does."""
    if isinstance(value, float):
        return _format_float(value, single=type_ == "f32")
    if value is None:
        return "<null>"
    if isinstance(value, int):
        return str(value)
    return f"<{type_}>"


def _format_float(value: float, *, single: bool) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "inf" if value > 0 else "-inf"
    from decimal import Decimal  # takes a millisecond that most results need not

    digits = _shortest_single(value) if single else repr(value)
    text = format(Decimal(digits), "f")
    return text[:-2] if text.endswith(".0") else text


def _shortest_single(value: float) -> str:
    """The fewest digits that read back as the same 32-bit float: 0.1f gives '0.1'."""
    wanted = struct.pack("<f", value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == wanted:
                return text
        except OverflowError:  # rounded up past the largest 32-bit float
            continue
    return repr(value)
