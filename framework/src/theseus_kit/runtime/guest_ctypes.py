"""The ``ctypes`` and ``platform`` modules that the private copy of the package imports.

They are the host's own but for what must mean the guest: loading a library gives the guest's
instead of opening one, a C function type makes guest addresses, and the processor is the guest's.
"""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType
from typing import Any

from theseus_kit.runtime.callbacks import FunctionTypes


class _Loader(ctypes.LibraryLoader[Any]):
    """Stands for ``ctypes.cdll``: whatever is loaded is the guest library."""

    def __init__(self, library: Any) -> None:
        self._guest_library = library
        super().__init__(ctypes.CDLL)

    def LoadLibrary(self, name: str) -> Any:  # noqa: N802  # ctypes' name
        return self._guest_library


def guest_ctypes(library: Any, functions: FunctionTypes) -> ModuleType:
    """Return a module with all of ctypes' names, bound to a guest library."""
    module = ModuleType("ctypes", ctypes.__doc__)
    names = {name: value for name, value in vars(ctypes).items() if not name.startswith("__")}
    names.update(
        cdll=_Loader(library),
        CDLL=lambda name, *arguments, **keywords: library,
        CFUNCTYPE=functions.function_type,
    )
    vars(module).update(names)
    return module


def guest_platform() -> ModuleType:
    """Return a ``platform`` module that answers ``machine()`` for the guest.

    The package asks it for nothing else, and the real one takes as long to import as the rest of
    the package does; any other name is forwarded to it.
    """
    module = ModuleType("platform", "the guest's platform")
    vars(module).update(machine=lambda: "x86_64", __getattr__=_real_platform)
    return module


def guest_sys() -> ModuleType:
    """Return a ``sys`` module that says the platform is Linux, as it is for the guest."""
    module = ModuleType("sys", sys.__doc__)
    vars(module).update(platform="linux", __getattr__=lambda name: getattr(sys, name))
    return module


def _real_platform(name: str) -> Any:
    import platform

    return getattr(platform, name)
