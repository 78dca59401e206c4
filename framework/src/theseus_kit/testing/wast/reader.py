"""Reading ``.wast`` text: tokens, forms, strings, and where in the source they stand.

A script of the specification's suite is a sequence of S-expressions. The reader turns each into a
:class:`Form`, with two things the suite makes necessary:

- A ``(module …)`` is not taken apart but kept as a slice of the source (:class:`ModuleText`), so
  that Wasmtime's own text parser judges exactly the text that the suite's authors wrote.
- Strings are bytes, not text: the suite has names and data that are no UTF-8.

What the forms mean is left to :mod:`theseus_kit.testing.wast.script`.

Source of the grammar: WebAssembly specification 3.0, "Text Format", chapters "Lexical Format" and
"Values", and the appendix on custom annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from theseus_kit.errors import UsageError
from theseus_kit.values.record import NamedTuple

Atom: TypeAlias = str
"""A keyword, a number or an identifier (``$name``; ``$"name"`` is the same identifier)."""

Node: TypeAlias = "Atom | bytes | Form | ModuleText"
"""Atoms are ``str``, string literals ``bytes``."""


class ScriptError(UsageError):
    """A ``.wast`` file that cannot be read; the text begins with the line."""


class ModuleText(NamedTuple):
    """Where a ``(module …)`` stands: ``source[start:end]``, both parentheses included."""

    start: int
    end: int


class Form(list["Node"]):
    """A parenthesised list; ``start`` is the offset of its opening parenthesis."""

    __slots__ = ("start",)

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start

    @property
    def keyword(self) -> str:
        """The leading atom, or an empty string."""
        return self[0] if self and isinstance(self[0], str) else ""


_STRING = rb'"(?:[^"\\]|\\.)*"'
# Blanks and line comments are swallowed in front of every token. A form of nothing but atoms, as
# constants are, counts as one token: that halves the time of reading the suite. So does an
# annotation's "(@"; "(" and "@" apart do not make one.
_TOKEN = re.compile(
    rb"(?:[ \t\r\n]+|;;[^\r\n]*)*"
    rb"(?:\((?!@)([^()\";]*)\)|(\(;)|(\(@)|(\()|(\))"
    rb"|(" + _STRING + rb")|(\$" + _STRING + rb"|[^\s()\";]+))",
    re.DOTALL,
)
_FLAT, _BLOCK_COMMENT, _ANNOTATION, _OPEN, _CLOSE, _TEXT, _ATOM = range(1, 8)
_BLANK = re.compile(rb"(?:[ \t\r\n]+|;;[^\r\n]*)*")
_COMMENT_EDGE = re.compile(rb"\(;|;\)")
# All that decides where a form ends: strings and comments hide parentheses.
_EDGE = re.compile(_STRING + rb"|;;[^\r\n]*|(\(;)|(\()|(\))|\"", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-9a-fA-F]{2})|u\{([0-9a-fA-F_]+)\}|(.))", re.DOTALL)
_SHORT_ESCAPES = {
    b"t": b"\t",
    b"n": b"\n",
    b"r": b"\r",
    b'"': b'"',
    b"'": b"'",
    b"\\": b"\\",
}


def line_of(source: bytes, offset: int) -> int:
    """Return the line, from 1, of an offset."""
    return source.count(b"\n", 0, offset) + 1


def read_forms(source: bytes) -> Iterator[Form | ModuleText]:
    """Yield the top-level forms in order. Raises ScriptError where the text is no script."""
    position = 0
    end = len(source)
    while True:
        form, position = _read_top(source, position, end)
        if form is None:
            return
        yield form


def tokens_of_module(source: bytes, module: ModuleText, limit: int) -> tuple[list[Node], int]:
    """Return at most ``limit`` leading atoms and strings inside a module, and where they end.

    Stops at the first parenthesis, which begins a field. The ``module`` keyword itself counts.
    """
    found: list[Node] = []
    position = module.start + 1
    while len(found) < limit:
        match = _TOKEN.match(source, position)
        if match is None:
            break
        kind = match.lastindex
        if kind == _BLOCK_COMMENT:
            position = _skip_comment(source, match.start(kind))
            continue
        if kind == _ANNOTATION:
            position = skip_form(source, match.start(kind))
            continue
        if kind not in (_TEXT, _ATOM):
            break
        found.append(_literal(source, match, kind))
        position = match.end()
    return found, position


def skip_form(source: bytes, start: int) -> int:
    """Return the offset behind the form that opens at ``start``."""
    depth = 0
    position = start
    while True:
        for match in _EDGE.finditer(source, position):
            kind = match.lastindex
            if kind == 2:
                depth += 1
            elif kind == 3:
                depth -= 1
                if depth == 0:
                    return match.end()
            elif kind == 1:
                position = _skip_comment(source, match.start())
                break
            elif match.end() - match.start() == 1:
                raise _error(source, match.start(), "this string has no end")
        else:
            raise _error(source, start, "this parenthesis is never closed")


def decode_string(literal: bytes) -> bytes:
    """Return the bytes a string literal (quotes included) stands for. Raises ValueError.

    >>> decode_string(b'"a\\\\00\\\\u{e9}"')
    b'a\\x00\\xc3\\xa9'
    """
    inner = literal[1:-1]
    return _ESCAPE.sub(_decode_escape, inner) if b"\\" in inner else inner


def _decode_escape(match: re.Match[bytes]) -> bytes:
    byte, scalar, short = match.groups()
    if byte is not None:
        return bytes.fromhex(byte.decode())
    if scalar is not None:
        return chr(int(scalar, 16)).encode()  # a surrogate is refused by encode
    if short not in _SHORT_ESCAPES:
        raise ValueError(f"unknown escape {match.group()!r}")
    return _SHORT_ESCAPES[short]


def _read_top(source: bytes, position: int, end: int) -> tuple[Form | ModuleText | None, int]:
    """Read one form that is not nested; None at the end of the source."""
    open_forms: list[Form] = []
    while True:
        match = _TOKEN.match(source, position)
        if match is None:
            return _at_end(source, position, end, open_forms)
        kind = match.lastindex
        position = match.end()
        if kind == _FLAT:
            form = _flat_form(source, match)
            if not open_forms:
                return form, position
            open_forms[-1].append(form)
        elif kind == _OPEN:
            open_forms.append(Form(position - 1))
        elif kind == _CLOSE:
            if not open_forms:
                raise _error(source, position - 1, "this parenthesis closes nothing")
            closed = open_forms.pop()
            if not open_forms:
                return closed, position
            open_forms[-1].append(closed)
        elif kind == _BLOCK_COMMENT:
            position = _skip_comment(source, position - 2)
        elif kind == _ANNOTATION:
            position = skip_form(source, position - 2)
        else:
            assert kind is not None
            if not open_forms:
                raise _error(source, match.start(kind), "expected a parenthesis")
            literal = _literal(source, match, kind)
            innermost = open_forms[-1]
            if literal != "module" or innermost:
                innermost.append(literal)
                continue
            position = skip_form(source, innermost.start)
            module = ModuleText(innermost.start, position)
            open_forms.pop()
            if not open_forms:
                return module, position
            open_forms[-1].append(module)


def _flat_form(source: bytes, match: re.Match[bytes]) -> Form | ModuleText:
    start = match.start(_FLAT) - 1
    words = match.group(_FLAT).split()
    if words and words[0] == b"module":
        return ModuleText(start, match.end())
    form = Form(start)
    try:
        form.extend([word.decode() for word in words])
    except UnicodeDecodeError as error:
        raise _error(source, start, str(error)) from None
    return form


def _at_end(
    source: bytes, position: int, end: int, open_forms: list[Form]
) -> tuple[Form | ModuleText | None, int]:
    if open_forms:
        raise _error(source, open_forms[0].start, "this parenthesis is never closed")
    blank = _BLANK.match(source, position)
    assert blank is not None
    if blank.end() != end:
        raise _error(source, blank.end(), "this is no token")
    return None, end


def _literal(source: bytes, match: re.Match[bytes], kind: int) -> Atom | bytes:
    text = match.group(kind)
    try:
        if kind == _TEXT:
            return decode_string(text)
        if text.startswith(b'$"') and text.endswith(b'"'):
            return "$" + decode_string(text[1:]).decode()
        return text.decode()
    except ValueError as error:
        raise _error(source, match.start(kind), str(error)) from None


def _skip_comment(source: bytes, start: int) -> int:
    """Return the offset behind the block comment that opens at ``start``; they nest."""
    depth = 0
    for match in _COMMENT_EDGE.finditer(source, start):
        depth += 1 if match.group() == b"(;" else -1
        if depth == 0:
            return match.end()
    raise _error(source, start, "this comment is never closed")


def _error(source: bytes, offset: int, problem: str) -> ScriptError:
    return ScriptError(f"line {line_of(source, offset)}: {problem}")
