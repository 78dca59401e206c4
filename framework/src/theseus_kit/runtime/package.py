"""A private copy of a Python package: its own modules, executed from its own source files.

The copy never enters ``sys.modules``, so any number of copies and the ordinary package live side
by side. What makes it private is the ``__builtins__`` of its modules: a dict whose ``__import__``
sends the package's own names, absolute and relative, to the copy, and the names it was given
replacements for to those. Everything else is imported as usual.

What the copy is given as ``ctypes`` is :mod:`.guest_ctypes`'s business.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

Amendment: TypeAlias = Callable[["PrivatePackage", ModuleType], None]
"""Changes a module of a copy right after it was executed, before another imports from it."""


class PrivatePackage:
    """A package's private copy. Modules are executed when they are first imported.

    They keep the ordinary names (``wasmtime._func``), for people and for messages; pickle and
    :func:`importlib.reload` therefore find the ordinary package, not the copy.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        replacements: Mapping[str, ModuleType] | None = None,
        amendments: Mapping[str, Amendment] | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.modules: dict[str, ModuleType] = {}
        """What was imported so far, by its ordinary name."""
        self._prefix = f"{name}."
        self._replacements = dict(replacements or {})
        self._amendments = dict(amendments or {})
        self._builtins = dict(vars(builtins))
        self._builtins["__import__"] = self._import

    def owns(self, name: str) -> bool:
        """Say whether a module's full name is the package's own or that of one inside it."""
        return name == self.name or name.startswith(self._prefix)

    def load(self, name: str | None = None) -> ModuleType:
        """Return the package's root, or a module of it by its ordinary name.

        Raises ModuleNotFoundError, and whatever executing the module raises.
        """
        name = name or self.name
        module = self.modules.get(name)
        if module is not None:
            return module
        parent_name = name.rpartition(".")[0]
        if not parent_name:
            return self._execute(name, [str(self.directory.parent)], None)
        parent = self.load(parent_name)
        if name in self.modules:  # the parent imported it while it was executed
            return self.modules[name]
        return self._execute(name, getattr(parent, "__path__", []), parent)

    def _execute(self, name: str, folders: Sequence[str], parent: ModuleType | None) -> ModuleType:
        spec = PathFinder.find_spec(name, folders)
        loader = None if spec is None else spec.loader
        if spec is None or not isinstance(loader, SourceFileLoader):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = ModuleType(name)
        module.__spec__, module.__loader__ = spec, loader
        module.__file__, module.__package__ = spec.origin, spec.parent
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
        module.__dict__["__builtins__"] = self._builtins
        last = name.rpartition(".")[2]
        self.modules[name] = module
        if parent is not None:
            # Before execution, where the ordinary import does it after: for a name that is not an
            # attribute yet, `from . import name` falls back to sys.modules, which has the
            # ordinary package or nothing.
            setattr(parent, last, module)
        try:
            code = loader.get_code(name)  # from __pycache__ if it is there
            assert code is not None, "a source file always has code"
            exec(code, module.__dict__)
            amend = self._amendments.get(name)
            if amend is not None:
                amend(self, module)
        except BaseException:
            del self.modules[name]
            if parent is not None:
                delattr(parent, last)
            raise
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  # the interpreter's own name
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """``__import__`` of the copy's modules; the arguments are the interpreter's."""
        if level:
            package: Any = (globals or {}).get("__package__")
            base = str(package).rsplit(".", level - 1)[0] if level > 1 else str(package)
            name = f"{base}.{name}" if name else base
        if self.owns(name):
            module = self.load(name)
            if not fromlist:
                return module if level else self.modules[self.name]
            if hasattr(module, "__path__"):
                for attribute in fromlist:
                    if attribute != "*" and not hasattr(module, attribute):
                        self._import_submodule(f"{name}.{attribute}")
            return module
        replacement = self._replacements.get(name)
        if replacement is not None:
            return replacement
        return builtins.__import__(name, globals, locals, fromlist or (), 0)

    def _import_submodule(self, name: str) -> None:
        """Import what ``from package import name`` may mean; the caller reports an unknown one."""
        try:
            self.load(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
