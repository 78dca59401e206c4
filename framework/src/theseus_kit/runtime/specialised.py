"""Calls of C functions, each with code of its own: what is called often gets a Python function for
its signature.

:meth:`~.library.GuestLibrary.bind` serves any signature, by a loop over converters. Here source is
put together for one signature, so that a call is straight code: every argument's usual ctypes type
is recognised in place, all else goes to the same converters (:mod:`.marshalling`). Nothing is
decided by a function's name.

It is for machines where machine code alone can make a call and refuses what may not be made
(:class:`~theseus_kit.machine.protocol.DirectCall`), and where the guest sees host memory. So there
is nothing to lock, to copy or to give back: two host threads that call at once are told apart by
the machine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from theseus_kit.errors import GuestError, MachineBusyError
from theseus_kit.runtime.marshalling import (
    REFERENCE,
    SIGNED,
    UNSIGNED,
    Converter,
    ResultConverter,
    convert_arguments,
)
from theseus_kit.runtime.passing import ANY_FUNCTION, ANY_POINTER, U64
from theseus_kit.runtime.stack_arguments import REGISTERS

if TYPE_CHECKING:
    from theseus_kit.machine.direct import DirectCall

_WORD: Final = "0xFFFF_FFFF_FFFF_FFFF"
_SHARED: Final = {
    "GuestError": GuestError,
    "MachineBusyError": MachineBusyError,
    "address_of": U64.unpack_from,
    "addressof": ctypes.addressof,
    "array_type": type(ctypes.Array),
    "convert_arguments": convert_arguments,
    "reference": REFERENCE,
    "set_address": U64.pack_into,
}
"""Names that the source of every function uses."""


def specialise(
    name: str,
    restype: Any,
    argtypes: Sequence[Any],
    converters: Sequence[Converter],
    result: ResultConverter | None,
    direct: DirectCall,
    *,
    deletes: bool,
    **names: Any,
) -> Callable[..., Any]:
    """Make what calls one C function, with as many positional arguments as ``argtypes``.

    ``direct`` calls it, or what loads its arguments from a block where there are more than fit into
    registers. ``names`` are the library's part of the source: ``library``, ``machine``,
    ``deferred``, ``run_deferred``, ``errors``, ``raise_kept``, ``check_room``,
    ``has_room_to_delete``, ``refusal``, ``function`` and ``slow_call``; ``blocks`` and
    ``new_block`` where there are blocks. ``deletes`` says that the function is a destructor.
    """
    source = _source(restype, argtypes, deletes=deletes)
    environment = {
        **_SHARED,
        **names,
        "converters": converters,
        "direct": direct.function,
        "keep": direct.keep,
        "result": result,
        "restype": restype,
        "pack": Struct(f"<{len(argtypes)}Q").pack_into,
    }
    for index, value in enumerate(direct.first):
        environment[f"first{index}"] = value
    for index, (kind, converter) in enumerate(zip(argtypes, converters, strict=True)):
        environment[f"convert{index}"] = converter
        environment[f"kind{index}"] = kind
        environment[f"target{index}"] = getattr(kind, "_type_", None)
    exec(_compiled(source.format(first=", ".join(_names("first", len(direct.first))))), environment)
    # Taken out of its own globals: the cycle would keep it until a garbage collection.
    made: Callable[..., Any] = environment.pop("invoke")
    made.__name__ = made.__qualname__ = name
    return made


@lru_cache(maxsize=512)
def _compiled(source: str) -> CodeType:
    """Functions of one shape share their code."""
    return compile(source, "<call of a C function>", "exec")


def _names(stem: str, count: int) -> list[str]:
    return [f"{stem}{index}" for index in range(count)]


def _source(restype: Any, argtypes: Sequence[Any], *, deletes: bool) -> str:
    """The source of a function; ``{first}`` is to be filled in."""
    count = len(argtypes)
    arguments, integers = _names("argument", count), _names("integer", count)
    given = f"({', '.join(arguments)}{',' if count == 1 else ''})"
    lines = [f"def invoke({', '.join(arguments)}):"]
    if deletes:
        # Deleting what a dropped call was working on is no more possible.
        lines += [
            "    if library.tasks is not None and library.tasks.is_broken: return None",
            "    if library.nesting and not has_room_to_delete():",
            f"        deferred.append((function, {given}))",
            "        return None",
        ]
    else:
        lines.append("    if library.nesting: check_room()")
    lines += [
        "    if deferred and machine.can_call: run_deferred()",
        "    kept = len(errors) if errors else 0",
    ]
    if count:
        lines.append("    try:")
        for index, kind in enumerate(argtypes):
            lines += [f"        {line}" for line in _conversion(index, kind)]
        lines += [
            "    except TypeError:",
            f"        {', '.join(integers)}, = convert_arguments(converters, {given})",
        ]
    words = integers
    if count > REGISTERS:
        lines.append("    block = blocks.pop() if blocks else new_block()")
        words = ["block"]
    lines.append("    try:")
    if count > REGISTERS:
        lines.append(f"        pack(view, block, {', '.join(integers)})")
    refused = (
        f"deferred.append((function, {given})); return None"
        if restype is None
        else "raise refusal()"
    )
    lines += [
        f"        rax = direct({{first}}{''.join(f', {word}' for word in words)})",
        "        if rax is None:",
        f"            if not machine.can_call: {refused}",
        f"            try: rax = slow_call(({''.join(f'{word}, ' for word in words)}))",
        f"            except MachineBusyError: {refused}",
        "    except GuestError:",
        "        del errors[kept:]",  # the call they were kept for does not return
        "        raise",
    ]
    if count > REGISTERS:
        lines += ["    finally:", "        blocks.append(block)"]
    lines += [
        "    if errors and len(errors) > kept: raise_kept(kept)",
        *(f"    {line}" for line in _result(restype)),
    ]
    return "\n".join(lines)


def _conversion(index: int, kind: Any) -> Iterator[str]:
    """The statements that turn one argument into an integer."""
    argument, integer = f"argument{index}", f"integer{index}"
    convert = f"{integer} = convert{index}({argument})"
    code = getattr(kind, "_type_", None)
    if issubclass(kind, ANY_FUNCTION):
        yield f"if type({argument}) is kind{index}: {integer} = address_of({argument})[0]"
    elif issubclass(kind, ANY_POINTER):
        yield f"if type({argument}) is kind{index}: {integer} = address_of({argument})[0]"
        yield f"elif type({argument}) is reference:"
        yield f"    value = {argument}._obj"
        yield f"    if type(value) is target{index}: {integer} = addressof(value)"
        yield f"    else: {convert}"
        yield f"elif type(type({argument})) is array_type and {argument}._type_ is target{index}:"
        yield f"    {integer} = addressof({argument})"
    elif kind is ctypes.c_void_p:
        yield f"if type({argument}) is int: {integer} = {argument} & {_WORD}"
        yield f"elif {argument} is None: {integer} = 0"
    elif isinstance(code, str) and code in SIGNED + UNSIGNED:
        mask = (1 << 8 * ctypes.sizeof(kind)) - 1
        yield f"if type({argument}) is int: {integer} = {argument} & {mask:#x}"
    else:
        yield convert
        return
    yield f"else: {convert}"


def _result(kind: Any) -> Iterator[str]:
    """The statements that return what ctypes would for rax."""
    if kind is None:
        return
    code = getattr(kind, "_type_", None)
    if issubclass(kind, ANY_POINTER):
        yield "made = restype()"
        yield "if rax: set_address(made, 0, rax)"
        yield "return made"
    elif code == "?":
        yield "return rax & 0xFF != 0"
    elif isinstance(code, str) and code in UNSIGNED:
        size = ctypes.sizeof(kind)
        yield "return rax" if size == 8 else f"return rax & {(1 << 8 * size) - 1:#x}"
    else:
        yield "return result(rax)"
