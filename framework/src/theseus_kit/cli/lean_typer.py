"""typer, imported without what it imports itself and no command here has a use for.

At its start typer imports what it needs to open an address in a browser, to install completion for
a shell, to print help and to convert dates: a tenth of a short run. While typer is imported, these
modules are stood in for by empty ones, which import what they stand for when something of it is
used. ::

    import subprocess                         subprocess.Popen(…)   imports it, now
    from difflib import get_close_matches     get_close_matches(…)  imports it, now

They stay with typer: anybody else who imports such a module gets the module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_MODULES = ("difflib", "gettext", "platform", "shutil", "subprocess", "traceback", "uuid")


class _StandIn(ModuleType):
    """Stands for a module that has not been imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system's own questions
        if sys.modules.get(self.__name__) is self:
            return _Later(self.__name__, name)  # for who imports the name alone
        return getattr(import_module(self.__name__), name)


class _Later:
    """Stands for a function or class of a module that has not been imported."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def _found(self) -> Any:
        stand_in = sys.modules.get(self._module)
        if isinstance(stand_in, _StandIn):
            del sys.modules[self._module]
        return getattr(import_module(self._module), self._name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._found()(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __eq__(self, other: object) -> bool:
        # Whoever has what it stands for has imported its module.
        module = sys.modules.get(self._module)
        if module is None or isinstance(module, _StandIn):
            return self is other
        return bool(getattr(module, self._name) == other)

    def __hash__(self) -> int:
        return hash(self._found())


def import_typer() -> None:
    """Import typer. What has been imported already is not stood in for."""
    try:
        with _standing_in():
            import typer  # noqa: F401
    except (AttributeError, TypeError):
        # A version that does more with a module than to name what is in it.
        for name in [name for name in sys.modules if name.partition(".")[0] in ("typer", "click")]:
            del sys.modules[name]


@contextmanager
def _standing_in() -> Iterator[None]:
    standing = {name: _StandIn(name) for name in _MODULES if name not in sys.modules}
    sys.modules.update(standing)
    try:
        yield
    finally:
        for name, stand_in in standing.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
