"""C prototypes: from the text a header has to what decides how arguments travel.

Covers what C library headers declare: integer types and the usual typedefs, pointers, arrays and
function pointers (both pointers once they are parameters), ``float`` and ``double``, ``...``.
Structures by value and ``long double`` are not here; no function a plugin serves needs them. How
arguments are fetched and decoded is :mod:`theseus_kit.dispatch.c_calls`'s business.

Widths and signedness are those of the System V ABI for x86-64 (LP64, ``char`` signed).
"""

from __future__ import annotations

import re

from theseus_kit.errors import TheseusKitError
from theseus_kit.values.record import NamedTuple


class PrototypeError(TheseusKitError):
    """A text that is no C prototype this module understands; a plugin author's mistake."""


class CType(NamedTuple):
    """A type, as far as passing a value of it is concerned."""

    kind: str
    """``void``, ``integer``, ``pointer`` or ``float``."""
    size: int
    """Bytes; 0 for void."""
    signed: bool
    text: str
    """As the prototype spells it, ``const char *``."""


class Argument(NamedTuple):
    name: str
    type: CType


class Prototype(NamedTuple):
    """A parsed declaration. ``arguments`` are the fixed ones where it is variadic."""

    name: str
    result: CType
    arguments: tuple[Argument, ...]
    variadic: bool


_UNSIGNED = {
    1: ("bool", "_Bool", "uint8_t", "unsigned char"),
    2: ("uint16_t", "unsigned short", "unsigned short int", "in_port_t", "sa_family_t"),
    4: (
        *("unsigned", "unsigned int", "uint32_t", "mode_t", "uid_t", "gid_t", "id_t"),
        *("pthread_key_t", "socklen_t", "in_addr_t", "useconds_t", "wint_t"),
    ),
    8: (
        *("unsigned long", "unsigned long int", "unsigned long long", "uint64_t", "size_t"),
        *("uintptr_t", "pthread_t", "dev_t", "ino_t", "ino64_t", "nlink_t", "nfds_t", "rlim_t"),
        *("uintmax_t", "fsblkcnt_t", "fsfilcnt_t"),
    ),
}
_SIGNED = {
    1: ("char", "signed char", "int8_t"),
    2: ("short", "short int", "int16_t"),
    4: (
        "int",
        "signed",
        "signed int",
        "int32_t",
        "pid_t",
        "clockid_t",
        "pthread_once_t",
        "wchar_t",
    ),
    8: (
        *("long", "long int", "signed long", "long long", "long long int", "int64_t"),
        *("ssize_t", "off_t", "off64_t", "time_t", "intptr_t", "ptrdiff_t", "blksize_t"),
        *("blkcnt_t", "suseconds_t", "clock_t", "intmax_t"),
    ),
}
_FUNCTION_POINTERS = ("sighandler_t",)

_SCALARS: dict[str, tuple[str, int, bool]] = {
    "void": ("void", 0, False),
    "float": ("float", 4, True),
    "double": ("float", 8, True),
    **{name: ("integer", size, False) for size, names in _UNSIGNED.items() for name in names},
    **{name: ("integer", size, True) for size, names in _SIGNED.items() for name in names},
    **dict.fromkeys(_FUNCTION_POINTERS, ("pointer", 8, False)),
}

_QUALIFIERS = re.compile(r"\b(?:const|volatile|restrict|__restrict|extern|static|_Noreturn)\b")
_DECLARATION = re.compile(
    r"^(?P<result>.*?[\s*])(?P<name>[A-Za-z_]\w*)\s*\((?P<arguments>.*)\)\s*;?$"
)
_FUNCTION_POINTER = re.compile(r"^.+?\(\s*\*\s*(?P<name>\w*)\s*\)\s*\(.*\)$")
_WORDS_THAT_END_A_TYPE = frozenset(
    ["void", "char", "short", "int", "long", "float", "double", "signed", "unsigned"]
)


def parse_prototype(text: str) -> Prototype:
    """Parse ``void *malloc(size_t size)``.

    Parameters without a name get one from their place, ``argument1``. Raises PrototypeError,
    naming the part that is not understood.
    """
    match = _DECLARATION.match(" ".join(text.split()))
    if match is None:
        raise PrototypeError(f"{text!r} is no C prototype; write it as void *malloc(size_t size)")
    result = _type_of(match["result"], text)
    arguments: list[Argument] = []
    variadic = False
    pieces = _split(match["arguments"])
    for place, piece in enumerate(pieces, 1):
        if piece == "...":
            if place != len(pieces) or place == 1:
                raise PrototypeError(f"{text!r}: ... must follow a last named argument")
            variadic = True
        elif piece != "void" or len(pieces) > 1:
            arguments.append(_argument(piece, place, text))
    return Prototype(match["name"], result, tuple(arguments), variadic)


def _split(arguments: str) -> list[str]:
    """Split at the commas that stand in no inner parenthesis."""
    pieces: list[str] = []
    depth = start = 0
    for index, character in enumerate(arguments):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            pieces.append(arguments[start:index].strip())
            start = index + 1
    last = arguments[start:].strip()
    return [*pieces, last] if pieces or last else []


def _argument(piece: str, place: int, text: str) -> Argument:
    function_pointer = _FUNCTION_POINTER.match(piece)
    if function_pointer is not None:
        name = function_pointer["name"] or f"argument{place}"
        return Argument(name, CType("pointer", 8, False, piece))
    declarator, bracket, _ = piece.partition("[")
    declarator = declarator.strip()
    name_match = re.search(r"[A-Za-z_]\w*$", declarator)
    name = ""
    if name_match is not None:
        before = _QUALIFIERS.sub(" ", declarator[: name_match.start()]).strip()
        # "int" alone is a type without a name, "struct stat" too; "int fd" ends in a name.
        if before and before not in ("struct", "union", "enum"):
            word = name_match[0]
            if word not in _WORDS_THAT_END_A_TYPE and not _QUALIFIERS.fullmatch(word):
                name = word
    type_text = declarator[: len(declarator) - len(name)].strip() if name else declarator
    if bracket:
        return Argument(name or f"argument{place}", CType("pointer", 8, False, f"{type_text} *"))
    ctype = _type_of(type_text, text)
    if ctype.kind == "void":
        raise PrototypeError(f"{text!r}: argument {place} has type void")
    return Argument(name or f"argument{place}", ctype)


def _type_of(type_text: str, text: str) -> CType:
    shown = type_text.strip()
    if "*" in shown:
        return CType("pointer", 8, False, shown)
    words = " ".join(_QUALIFIERS.sub(" ", shown).split())
    if words.startswith("enum "):
        return CType("integer", 4, False, shown)
    scalar = _SCALARS.get(words)
    if scalar is None:
        raise PrototypeError(f"{text!r}: unknown type {shown!r}")
    return CType(*scalar, shown)
