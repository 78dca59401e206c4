"""Trampolines: what a machine calls with the words of registers, and what calls the body.

A trampoline decodes the words to the C types of the prototype, calls the body, and gives whatever
the body raises to a *failure*, which knows the function's convention (:mod:`.c_calls`). There are
two kinds of the same meaning:

- a plain one reads the types as it goes: made in no time, for the first few calls;
- a generated one is Python source, compiled once for each *shape* (the types of a prototype, not
  its names): a function of unsigned 64-bit arguments costs one plain Python call and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from theseus_kit.dispatch.prototype import CType, Prototype
from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import HostFunction

MASK = (1 << 64) - 1

Fail = Callable[[Exception, tuple[int, ...]], int]
"""Answers whatever a body raised, given the words; or raises itself."""

CALLS_BEFORE = 8
"""Calls of a function before its trampoline is generated, which takes as long as some hundred."""

_DOUBLE = struct.Struct("<d")
_SINGLE = struct.Struct("<f")


class Shape(NamedTuple):
    """What a trampoline depends on: the types of a prototype, in order."""

    result: tuple[str, int, bool]
    arguments: tuple[tuple[str, int, bool], ...]


class Parts(NamedTuple):
    """What a trampoline is made of."""

    shape: Shape
    body: Callable[..., float | None]
    fail: Fail
    float_argument: Callable[[int], float]
    float_result: Callable[[float], None]


def shape_of(prototype: Prototype) -> Shape:
    return Shape(_type_key(prototype.result), tuple(_type_key(a.type) for a in prototype.arguments))


def _type_key(ctype: CType) -> tuple[str, int, bool]:
    if ctype.kind == "pointer":
        return ("integer", 8, False)
    if ctype.kind == "integer" and ctype.text in ("bool", "_Bool"):
        return ("bool", 1, False)
    return (ctype.kind, ctype.size, ctype.signed)


def _decoded(word: str, kind: str, size: int, signed: bool) -> str:
    """The Python expression that cuts a register to a C type's width and gives it its sign."""
    if kind == "bool":
        return f"{word} & 0xff != 0"
    bits = size * 8
    cut = word if size == 8 else f"({word} & {(1 << bits) - 1:#x})"
    if not signed:
        return cut
    return f"({cut} ^ {1 << (bits - 1):#x}) - {1 << (bits - 1):#x}"


@lru_cache(maxsize=512)
def trampoline_maker(shape: Shape) -> tuple[Callable[..., HostFunction], int]:
    """Return (maker, arity); ``maker(body, fail, float_argument, float_result)`` makes one.

    The trampoline takes ``arity`` unsigned 64-bit words. ``fail(error, words)`` answers whatever
    the body raises, or raises itself.
    """
    words: list[str] = []
    passed: list[str] = []
    floats = 0
    for kind, size, signed in shape.arguments:
        if kind == "float":
            fetch = f"float_argument({floats})"
            passed.append(fetch if size == 8 else f"single({fetch})")
            floats += 1
        else:
            words.append(f"a{len(words)}")
            passed.append(_decoded(words[-1], kind, size, signed))
    call = f"body({', '.join(passed)})"
    result_kind, result_size, _ = shape.result
    if result_kind == "void":
        answer = call
    elif result_kind == "float":
        answer = f"float_result({call if result_size == 8 else f'single_bits({call})'})"
    else:
        # Also the check that the body returned an integer: anything else raises here.
        answer = f"return {call} & {MASK:#x}"
    lines = [
        "def make(body, fail, float_argument, float_result):",
        f"    def trampoline({', '.join(words)}):",
        "        try:",
        f"            {answer}",
        "        except Exception as error:",
        f"            return fail(error, ({''.join(word + ', ' for word in words)}))",
        "    return trampoline",
    ]
    scope: dict[str, Any] = {"single": _single_of, "single_bits": _single_bits}
    exec("\n".join(lines), scope)  # the text is made of fixed pieces and numbers only
    maker: Callable[..., HostFunction] = scope["make"]
    return maker, len(words)


def growing_trampoline(
    parts: Parts, settle: Callable[[HostFunction, int], object]
) -> tuple[HostFunction, int]:
    """Return (trampoline, arity) of a plain trampoline for a few calls.

    When it is called more often, ``settle(trampoline, arity)`` is to put the generated one in its
    place.
    """
    plain, arity = _plain_trampoline(*parts)
    calls = 0

    def trampoline(*words: int) -> int | None:
        nonlocal calls
        calls += 1
        if calls <= CALLS_BEFORE:
            return plain(*words)
        generated, arity = generated_trampoline(parts)
        settle(generated, arity)
        return generated(*words)

    return trampoline, arity


def generated_trampoline(parts: Parts) -> tuple[HostFunction, int]:
    """Return (trampoline, arity) of a generated trampoline."""
    shape, *rest = parts
    maker, arity = trampoline_maker(shape)
    return maker(*rest), arity


def _plain_trampoline(
    shape: Shape,
    body: Callable[..., float | None],
    fail: Fail,
    float_argument: Callable[[int], float],
    float_result: Callable[[float], None],
) -> tuple[HostFunction, int]:
    floats, integers = count(), count()
    readers = [
        _float_reader(next(floats), size, float_argument)
        if kind == "float"
        else _integer_reader(next(integers), kind, size, signed)
        for kind, size, signed in shape.arguments
    ]
    kind, size, _ = shape.result

    def trampoline(*words: int) -> int | None:
        try:
            result: Any = body(*[read(words) for read in readers])
            if kind == "void":
                return None
            if kind == "float":
                float_result(result if size == 8 else _single_bits(result))
                return None
            # Also the check that the body returned an integer: anything else raises here.
            masked: int = result & MASK
            return masked
        except Exception as error:  # noqa: BLE001  # whatever it is, the failure knows
            return fail(error, words)

    return trampoline, next(integers)


_Reader = Callable[[tuple[int, ...]], float]


def _float_reader(place: int, size: int, float_argument: Callable[[int], float]) -> _Reader:
    if size == 8:
        return lambda words: float_argument(place)
    return lambda words: _single_of(float_argument(place))


def _integer_reader(place: int, kind: str, size: int, signed: bool) -> _Reader:
    mask = (1 << size * 8) - 1
    if kind == "bool":
        return lambda words: words[place] & mask != 0
    if not signed:
        return lambda words: words[place] & mask
    sign = 1 << (size * 8 - 1)
    return lambda words: (words[place] & mask ^ sign) - sign


def _single_bits(value: float) -> float:
    """A double whose low four bytes are a float, as xmm0 returns one."""
    bits: float = _DOUBLE.unpack(_SINGLE.pack(value) + bytes(4))[0]
    return bits


def _single_of(low_double: float) -> float:
    """The float in the low four bytes of a register that was read as a double."""
    value: float = _SINGLE.unpack_from(_DOUBLE.pack(low_double))[0]
    return value
