"""The commands of a ``.wast`` script, as small values.

From the forms of :mod:`theseus_kit.testing.wast.reader` to what a runner is to do. Nothing is
executed or compiled here; a command that is not known becomes an :class:`Unknown`, so that one
new command in a file does not lose the file.

Source of the grammar: the README of the specification's reference interpreter, "Scripts".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import TypeAlias

from theseus_kit.testing.wast.reader import (
    Form,
    ModuleText,
    Node,
    ScriptError,
    line_of,
    read_forms,
    tokens_of_module,
)
from theseus_kit.testing.wast.values import (
    SHAPES,
    Constant,
    Either,
    Expectation,
    HostReference,
    Kind,
    NanPattern,
    Null,
    Number,
    ReferencePattern,
    VectorPattern,
    float_bits,
    integer_bits,
)
from theseus_kit.values.record import NamedTuple


class Encoding(Enum):
    """How a module is given."""

    TEXT = "text"
    BINARY = "binary"
    QUOTE = "quote"
    """Text as a string: the module may be malformed without the script being so."""


class Module(NamedTuple):
    """Compile a module and, unless it is only a definition, instantiate it."""

    offset: int
    name: str | None
    encoding: Encoding
    source: bytes
    definition: bool = False


class ModuleInstance(NamedTuple):
    """Instantiate a module that was defined before; the last definition if unnamed."""

    offset: int
    name: str | None
    module: str | None


class Register(NamedTuple):
    """Offer an instance's exports to imports under a module name."""

    offset: int
    module_name: bytes
    instance: str | None


class Invoke(NamedTuple):
    """Call an exported function."""

    offset: int
    instance: str | None
    export: bytes
    arguments: tuple[Constant, ...]


class Get(NamedTuple):
    """Read an exported global."""

    offset: int
    instance: str | None
    export: bytes


Action: TypeAlias = Invoke | Get


class AssertReturn(NamedTuple):
    """The action returns these results."""

    offset: int
    action: Action
    results: tuple[Expectation, ...]


class AssertTrap(NamedTuple):
    """The action, or instantiating the module, traps with a message."""

    offset: int
    action: Action | Module
    message: str


class AssertExhaustion(NamedTuple):
    """The action exhausts a resource, the call stack for one."""

    offset: int
    action: Action
    message: str


class AssertException(NamedTuple):
    """The action ends with a WebAssembly exception nobody catches."""

    offset: int
    action: Action


class AssertInvalid(NamedTuple):
    """The module is well-formed and not valid."""

    offset: int
    module: Module
    message: str


class AssertMalformed(NamedTuple):
    """The module cannot be decoded or parsed."""

    offset: int
    module: Module
    message: str


class AssertUnlinkable(NamedTuple):
    """The module is valid and cannot be linked."""

    offset: int
    module: Module
    message: str


class Unknown(NamedTuple):
    """A command this reader does not know."""

    offset: int
    keyword: str


Command: TypeAlias = (
    Module
    | ModuleInstance
    | Register
    | Invoke
    | Get
    | AssertReturn
    | AssertTrap
    | AssertExhaustion
    | AssertException
    | AssertInvalid
    | AssertMalformed
    | AssertUnlinkable
    | Unknown
)

_MODULE_FIELDS = frozenset(
    ("type", "rec", "import", "func", "table", "memory", "global")
    + ("export", "start", "elem", "data", "tag")
)
# The characters that Wasmtime's text parser refuses wherever they stand, because editors show
# text in another order than it has where they occur (the wast crate, lexer.rs). In a string they
# are harmless and names.wast is about them: written as an escape they mean the same.
_REORDERING = re.compile("[\u202a\u202b\u202d\u202e\u2066-\u2069\u206c]")
_REORDERING_LEADS = (b"\xe2\x80", b"\xe2\x81")
_DEFINITION = re.compile(rb"\bdefinition\b")


def read_script(source: bytes) -> Iterator[Command]:
    """Yield a script's commands in order. Raises ScriptError where the text is no script.

    A script that is nothing but module fields is one module.
    """
    reader = _ScriptReader(source)
    for form in read_forms(source):
        if isinstance(form, Form) and form.keyword in _MODULE_FIELDS:
            yield Module(form.start, None, Encoding.TEXT, parser_text(source))
            return
        offset = form.start
        try:
            yield reader.command(form)
        except (ValueError, IndexError, TypeError) as error:
            raise ScriptError(f"line {line_of(source, offset)}: {error}") from None


def parser_text(text: bytes) -> bytes:
    """Return module text as Wasmtime's text parser accepts it.

    It is the text itself, unless characters occur that the parser refuses in any place.
    """
    if not any(lead in text for lead in _REORDERING_LEADS):
        return text
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return text  # for the parser to refuse
    return _REORDERING.sub(
        lambda match: "".join(f"\\{byte:02x}" for byte in match.group().encode()), decoded
    ).encode()


class _ScriptReader:
    """Turns forms into commands; remembers the constants it has read, which repeat a lot."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._expectations: dict[tuple[Node, ...], Expectation] = {}

    def command(self, form: Form | ModuleText) -> Command:
        if isinstance(form, ModuleText):
            return self._module_command(form)
        keyword = form.keyword
        offset = form.start
        if keyword == "assert_return":
            results = tuple([self._expectation(result) for result in form[2:]])
            return AssertReturn(offset, self._action(form[1]), results)
        if keyword in ("invoke", "get"):
            return self._action(form)
        if keyword == "register":
            instance = _name(form[2]) if len(form) > 2 else None
            return Register(offset, _string(form[1]), instance)
        if keyword == "assert_trap":
            subject = form[1]
            action = self._module(subject) if isinstance(subject, ModuleText) else None
            return AssertTrap(offset, action or self._action(subject), _text(form[2]))
        if keyword == "assert_exhaustion":
            return AssertExhaustion(offset, self._action(form[1]), _text(form[2]))
        if keyword == "assert_exception":
            return AssertException(offset, self._action(form[1]))
        judge = _JUDGEMENTS.get(keyword)
        if judge is not None:
            return judge(offset, self._module(form[1]), _text(form[2]))
        return Unknown(offset, keyword)

    def _module_command(self, text: ModuleText) -> Command:
        words, _ = tokens_of_module(self._source, text, 4)
        if len(words) > 1 and words[1] == "instance":
            names = [_name(word) for word in words[2:]]
            return ModuleInstance(
                text.start,
                names[0] if names else None,
                names[1] if len(names) > 1 else None,
            )
        return self._module(text)

    def _module(self, text: Node) -> Module:
        if not isinstance(text, ModuleText):
            raise TypeError("expected a module")
        source = self._source
        words, _ = tokens_of_module(source, text, 4)
        rest = words[1:]
        definition = bool(rest) and rest[0] == "definition"
        if definition:
            rest.pop(0)
        name = None
        if rest and isinstance(rest[0], str) and rest[0].startswith("$"):
            name = rest[0]
            del rest[0]
        if rest and rest[0] in ("binary", "quote"):
            skipped = len(words) - len(rest) + 1
            everything, _ = tokens_of_module(source, text, text.end)
            pieces = [_string(piece) for piece in everything[skipped:]]
            if rest[0] == "binary":
                return Module(text.start, name, Encoding.BINARY, b"".join(pieces), definition)
            # The reference for Wasmtime's own runs puts a blank behind every piece.
            quoted = b"".join([piece + b" " for piece in pieces])
            return Module(text.start, name, Encoding.QUOTE, parser_text(quoted), definition)
        slice_ = source[text.start : text.end]
        if definition:  # not part of a module's own grammar; blanks keep the columns
            slice_ = _DEFINITION.sub(b" " * len(b"definition"), slice_, count=1)
        return Module(text.start, name, Encoding.TEXT, parser_text(slice_), definition)

    def _action(self, form: Node) -> Action:
        if not isinstance(form, Form):
            raise TypeError("expected an action")
        instance = None
        rest = 1
        if isinstance(form[1], str):
            instance = _name(form[1])
            rest = 2
        export = _string(form[rest])
        if form.keyword == "get":
            return Get(form.start, instance, export)
        if form.keyword != "invoke":
            raise ValueError(f"unknown action {form.keyword!r}")
        arguments = tuple([self._constant(argument) for argument in form[rest + 1 :]])
        return Invoke(form.start, instance, export, arguments)

    def _constant(self, form: Node) -> Constant:
        value = self._expectation(form)
        if not isinstance(value, Number | Null | HostReference):
            raise TypeError(f"{value} is a pattern, not a constant")
        return value

    def _expectation(self, form: Node) -> Expectation:
        if not isinstance(form, Form):
            raise TypeError("expected a constant")
        if form.keyword == "either":
            return Either(tuple([self._expectation(one) for one in form[1:]]))
        key = tuple(form)
        known = self._expectations.get(key)
        if known is None:
            known = self._expectations[key] = _expectation([str(word) for word in form])
        return known


_JUDGEMENTS: dict[str, type[AssertInvalid | AssertMalformed | AssertUnlinkable]] = {
    "assert_invalid": AssertInvalid,
    "assert_malformed": AssertMalformed,
    "assert_unlinkable": AssertUnlinkable,
}
_SCALARS = {
    "i32.const": Kind.I32,
    "i64.const": Kind.I64,
    "f32.const": Kind.F32,
    "f64.const": Kind.F64,
}


def _expectation(words: list[str]) -> Expectation:
    """Read a constant or a pattern from its atoms."""
    keyword, operands = words[0], words[1:]
    if keyword in _SCALARS:
        (literal,) = operands
        kind = _SCALARS[keyword]
        bits = _scalar(kind, literal, 64 if kind in (Kind.I64, Kind.F64) else 32)
        return bits if isinstance(bits, NanPattern) else Number(kind, bits)
    if keyword == "v128.const":
        return _vector(operands[0], operands[1:])
    if keyword == "ref.null":
        return Null(operands[0] if operands else "")
    if keyword in ("ref.extern", "ref.host") and operands:
        kind = Kind.EXTERNREF if keyword == "ref.extern" else Kind.ANYREF
        return HostReference(kind, integer_bits(operands[0], 32))
    if keyword.startswith("ref."):
        # (ref.func $f) too: the C API does not tell which function a reference is to.
        return ReferencePattern(keyword.removeprefix("ref."))
    raise ValueError(f"{keyword} is no constant")


def _scalar(kind: Kind, literal: str, width: int) -> int | NanPattern:
    if kind in (Kind.I32, Kind.I64):
        return integer_bits(literal, width)
    if literal in ("nan:canonical", "nan:arithmetic"):
        return NanPattern(kind, literal == "nan:canonical")
    return float_bits(literal, kind)


def _vector(shape: str, literals: list[str]) -> Number | VectorPattern:
    if shape not in SHAPES:
        raise ValueError(f"{shape} is no shape of v128")
    kind, width, count = SHAPES[shape]
    if len(literals) != count:
        raise ValueError(f"v128.const {shape} takes {count} lanes, not {len(literals)}")
    lanes = tuple([_scalar(kind, literal, width) for literal in literals])
    bits = 0
    for number, lane in enumerate(lanes):
        if isinstance(lane, NanPattern):
            return VectorPattern(kind, lanes)
        bits |= lane << number * width
    return Number(Kind.V128, bits)


def _name(word: Node) -> str:
    if not isinstance(word, str) or not word.startswith("$"):
        raise ValueError(f"expected a name, not {word!r}")
    return word


def _string(word: Node) -> bytes:
    if not isinstance(word, bytes):
        raise TypeError(f"expected a string, not {word!r}")
    return word


def _text(word: Node) -> str:
    return _string(word).decode()
