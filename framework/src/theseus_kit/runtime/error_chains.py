"""Wasmtime's errors with their causes as Python errors, and Python's errors with their own.

Wasmtime says why an error happened in the lines below ``Caused by:``. As Python errors they are the
error's ``__cause__``, that one's ``__cause__`` and so on, made where the package makes an error of
a C pointer, the one place they all come from. The error's own text stays whole.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from theseus_kit.runtime.package import Amendment, PrivatePackage

_HEADING = "\n\nCaused by:\n"
_TRACE = "\n\nStack backtrace:\n"
_INDENT = 4
_NUMBERED = re.compile(r"^ {0,4}(\d+): ", re.MULTILINE)


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
    for match in _NUMBERED.finditer(text):
        if int(match.group(1)) == len(found):
            found.append(match)
    return found if found and found[0].start() == 0 else []


def _unindented(text: str, columns: int) -> str:
    prefix = " " * columns
    return "\n".join(line.removeprefix(prefix) for line in text.splitlines()).strip()


def keep_causes(package: PrivatePackage, module: ModuleType) -> None:
    """Chain the errors that a module's error classes make of C pointers."""
    for kind in list(vars(module).values()):
        if (
            isinstance(kind, type)
            and issubclass(kind, BaseException)
            and kind.__module__ == module.__name__
            and "_from_ptr" in vars(kind)
        ):
            _chain(kind, package)


def _chain(kind: Any, package: PrivatePackage) -> None:
    from_pointer: Callable[..., BaseException] = vars(kind)["_from_ptr"].__func__

    def chained(cls: type[BaseException], pointer: Any) -> BaseException:
        error = from_pointer(cls, pointer)
        link = error
        for message in causes(str(error)):
            cause = _cause_type(package)(message)
            link.__cause__ = cause
            link = cause
        return error

    chained.__name__, chained.__doc__ = from_pointer.__name__, from_pointer.__doc__
    kind._from_ptr = classmethod(chained)


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

    @contextmanager
    def enter_wasm(store: Any) -> Iterator[Any]:
        pending: BaseException | None = None
        context: BaseException | None = None
        try:
            with enter(store) as trap:
                try:
                    yield trap
                finally:
                    pending = module.LAST_EXCEPTION
                    if pending is not None:
                        context = pending.__context__
        except BaseException as error:
            if error is pending:
                error.__context__ = context
            raise

    module.enter_wasm = enter_wasm


AMENDMENTS: Final[Mapping[str, Amendment]] = {
    "wasmtime._error": keep_causes,
    "wasmtime._trap": keep_causes,
    "wasmtime._func": keep_contexts,
}
"""What is changed in which module of the copy."""
