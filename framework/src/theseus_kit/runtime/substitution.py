"""``import wasmtime`` meaning a private copy of the package, for as long as a program runs.

While :func:`standing_in` is open, the copy's modules stand in ``sys.modules`` under their ordinary
names, and a finder in front of all others answers for those not imported yet, so ``import
wasmtime.component`` and ``from wasmtime._ffi import dll`` reach the copy too. The ordinary package,
if it was imported before, is put back afterwards; who holds it keeps it all the time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theseus_kit.runtime.package import PrivatePackage


@contextmanager
def standing_in(package: PrivatePackage) -> Iterator[None]:
    """Import the copy where its ordinary name is imported. Several may nest; the last counts."""
    finder = _Finder(package)
    ordinary = {name: module for name, module in sys.modules.items() if package.owns(name)}
    for name in ordinary:
        del sys.modules[name]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if package.owns(name)]:
            del sys.modules[name]
        sys.modules.update(ordinary)


class _Finder:
    """Finds the copy's modules (importlib's meta path finder and loader in one)."""

    def __init__(self, package: PrivatePackage) -> None:
        self._package = package
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the package's own names only; None leaves a name to the next finder."""
        if not self._package.owns(name):
            return None
        try:
            module = self._package.load(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            return None
        self._specs[name] = module.__spec__
        loader: Any = self
        return ModuleSpec(name, loader, is_package=hasattr(module, "__path__"))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the copy's module, executed already."""
        return self._package.load(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back the spec that says where it comes from; there is no more to do."""
        module.__spec__ = self._specs.pop(module.__name__)
