"""Wasmtime's errors with their causes as Python errors, and Python's errors with their own.

Wasmtime says why an error happened in the lines below ``Caused by:``. As Python errors they are the
error's ``__cause__``, that one's ``__cause__`` and so on. The error's own text stays whole.

    failed to compile: wasm[0]::function[0]             error
                                                          .__cause__
    Caused by:
        0: WebAssembly translation error                WasmtimeCause("WebAssembly translation …")
                                                          .__cause__
        1: Invalid input WebAssembly code at offset 24  WasmtimeCause("Invalid input WebAssembly …")

A Python error that a host function raised goes through the guest as the package's
``LAST_EXCEPTION``. The package raises it while it handles the guest's own error, which would take
the place of what the host function was handling: that is put back.

Both are changes to modules of the private copy, made by :class:`~.package.PrivatePackage` as soon
as a module is executed, before another can import from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from theseus_kit.errors import MachineError

if TYPE_CHECKING:
    from theseus_kit.runtime.package import Amendment, PrivatePackage

_HEADING = "\n\nCaused by:\n"
_TRACE = "\n\nStack backtrace:\n"
_INDENT = 4
_LOOKED_FOR = "_theseus_kit_causes_looked_for"
_NUMBERED = r"(?m)^ {0,4}(\d+): "


def causes(message: str) -> list[str]:
    """Return the causes a Wasmtime message names, nearest first.

    It is written as Rust's anyhow writes an error's ``{:?}``: one cause indented by four columns,
    several numbered from 0 with their numbers aligned to the fifth column.
    """
    _, heading, text = message.partition(_TRACE)[0].partition(_HEADING)
    if not heading:
        return []
    starts = _numbered(text)
    if len(starts) < 2:
        return [_unindented(text, _INDENT)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [
        _unindented(text[match.end() : end], match.end() - match.start())
        for match, end in zip(starts, ends, strict=True)
    ]


def _numbered(text: str) -> list[re.Match[str]]:
    """The lines' beginnings that count 0, 1, 2 …: a cause's own text may look like one."""
    found: list[re.Match[str]] = []
    for match in re.finditer(_NUMBERED, text):
        if int(match.group(1)) == len(found):
            found.append(match)
    return found if found and found[0].start() == 0 else []


def _unindented(text: str, columns: int) -> str:
    prefix = " " * columns
    return "\n".join(line.removeprefix(prefix) for line in text.splitlines()).strip()


def keep_causes(package: PrivatePackage, module: ModuleType) -> None:
    """Chain the errors of a module's classes that are made of C pointers."""
    for kind in list(vars(module).values()):
        if (
            isinstance(kind, type)
            and issubclass(kind, BaseException)
            and kind.__module__ == module.__name__
            and "_from_ptr" in vars(kind)
        ):
            _chain(kind, package)


def _chain(kind: Any, package: PrivatePackage) -> None:
    """Give an error class a ``__cause__`` that is made when somebody first looks for it.

    Its text takes the guest as long to write as the whole of a trap takes otherwise, and most traps
    are caught by code that asks for none of it. Whatever was put there (``raise trap from error``)
    stays; and Python's own display of an error nobody caught shows the text, which says it all.
    """
    set_cause = BaseException.__cause__.__set__  # type: ignore[union-attr]
    get_cause = BaseException.__cause__.__get__  # type: ignore[union-attr]

    def get(self: BaseException) -> BaseException | None:
        kept: BaseException | None = get_cause(self)
        known = vars(self)
        if kept is None and not known.get(_LOOKED_FOR):
            known[_LOOKED_FOR] = True
            try:
                messages = causes(str(self))
            except (MachineError, ValueError):  # closed, or its platform is: the text is gone
                return None
            link = self
            for message in messages:
                cause = _cause_type(package)(message)
                set_cause(link, cause)
                link = cause
            kept = get_cause(self)
        return kept

    kind.__cause__ = property(get, set_cause)


def _cause_type(package: PrivatePackage) -> type[BaseException]:
    """Return the package's ``WasmtimeCause``, a WasmtimeError without a C object behind it."""
    module: Any = package.load(f"{package.name}._error")
    found: type[BaseException] | None = vars(module).get("WasmtimeCause")
    if found is None:
        root: Any = module.WasmtimeError
        found = module.WasmtimeCause = type(
            "WasmtimeCause",
            (root,),
            {
                "__doc__": "Why a WasmtimeError or a Trap happened.",
                "__module__": module.__name__,
                "__init__": _remember,
                "__str__": Exception.__str__,
            },
        )
    return found


def _remember(self: Any, message: str) -> None:
    """Initialise a WasmtimeCause; its message is ``args[0]``, which ``__new__`` has set."""


def keep_contexts(package: PrivatePackage, module: Any) -> None:
    """Give host functions' errors back the ``__context__`` they came with."""
    enter: Callable[..., Any] = module.enter_wasm
    module.enter_wasm = lambda store: _KeptContext(enter(store), module)


class _KeptContext:
    """The package's own context manager of a call, which raises what a host function raised.

    A class, because every ordinary call goes through it: a generator would take twice as long.
    """

    __slots__ = ("_entered", "_module")

    def __init__(self, entered: Any, module: Any) -> None:
        self._entered = entered
        self._module = module

    def __enter__(self) -> Any:
        return self._entered.__enter__()

    def __exit__(self, *details: Any) -> Any:
        pending: BaseException | None = self._module.LAST_EXCEPTION
        if pending is None:
            return self._entered.__exit__(*details)
        context = pending.__context__
        try:
            return self._entered.__exit__(*details)
        except BaseException as error:
            if error is pending:
                error.__context__ = context
            raise


AMENDMENTS: Final[Mapping[str, Amendment]] = {
    "wasmtime._error": keep_causes,
    "wasmtime._trap": keep_causes,
    "wasmtime._func": keep_contexts,
}
"""What is changed in which module of the copy."""
