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
from theseus_kit.runtime.passing import ANY_POINTER

_SHARED_MODULES = ("ctypes", "_ctypes")


class _Loader(ctypes.LibraryLoader[Any]):
    """Stands for ``ctypes.cdll``: whatever is loaded is the guest library."""

    def __init__(self, library: Any) -> None:
        self._guest_library = library
        super().__init__(ctypes.CDLL)

    def LoadLibrary(self, name: str) -> Any:  # noqa: N802  # ctypes' name
        return self._guest_library


class _PointerTypes(dict[Any, Any]):
    """The pointer types by type: stands for ``ctypes.POINTER``, which before Python 3.14 keeps all
    its types for ever.

    The package's structures would outlive their platform, and with them all they refer to. A dict,
    because the package asks for the same few types in every call.
    """

    def __missing__(self, kind: Any) -> Any:
        """Do as ``ctypes.POINTER``; ctypes' own types get the pointer type everybody gets."""
        is_own = isinstance(kind, type) and kind.__module__ not in _SHARED_MODULES
        if is_own and sys.version_info < (3, 14):
            found = type(f"LP_{kind.__name__}", (ANY_POINTER,), {"_type_": kind})
        else:
            found = ctypes.POINTER(kind)
        self[kind] = found
        return found

    def pointer(self, value: Any) -> Any:
        """Do as ``ctypes.pointer``."""
        return self[type(value)](value)


def guest_ctypes(library: Any, functions: FunctionTypes) -> ModuleType:
    """Return a module with all of ctypes' names, bound to a guest library."""
    module = ModuleType("ctypes", ctypes.__doc__)
    names = {name: value for name, value in vars(ctypes).items() if not name.startswith("__")}
    pointers = _PointerTypes()
    names.update(
        POINTER=pointers.__getitem__,
        pointer=pointers.pointer,
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
