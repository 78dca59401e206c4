"""Conformance suites: whether a provider keeps the contract, clause by clause.

One abstract class for each group of hooks. A plugin's author inherits it::

    from theseus_kit.testing.conformance import MemoryMappingConformance

    class TestMyMaps(MemoryMappingConformance):
        plugin = "my-maps"

and pytest collects its tests, on each machine; or nobody writes anything and
``theseus-kit check my-maps`` runs the same tests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from theseus_kit.testing.conformance.suite import Conformance, clause, needs

if TYPE_CHECKING:
    from theseus_kit.testing.conformance.exception_registration import (
        ExceptionRegistrationConformance,
    )
    from theseus_kit.testing.conformance.memory_changes import MemoryMappingConformance
    from theseus_kit.testing.conformance.path_changes import PathHandlingConformance
    from theseus_kit.testing.conformance.symbolication import SymbolicationConformance
    from theseus_kit.testing.conformance.thread_local_storage import (
        ThreadLocalStorageConformance,
    )
    from theseus_kit.testing.conformance.unwinding import UnwindingConformance

__all__ = [
    "Conformance",
    "ExceptionRegistrationConformance",
    "MemoryMappingConformance",
    "PathHandlingConformance",
    "SymbolicationConformance",
    "ThreadLocalStorageConformance",
    "UnwindingConformance",
    "clause",
    "needs",
    "suites",
]

_SUITES = {
    "MemoryMappingConformance": "memory_changes",
    "ThreadLocalStorageConformance": "thread_local_storage",
    "SymbolicationConformance": "symbolication",
    "UnwindingConformance": "unwinding",
    "PathHandlingConformance": "path_changes",
    "ExceptionRegistrationConformance": "exception_registration",
}


def suites() -> list[type[Conformance]]:
    """Every suite there is, in the contract's order."""
    return [__getattr__(name) for name in _SUITES]


def __getattr__(name: str) -> Any:
    """Import a suite where it is wanted: a plugin's tests want one of them."""
    if name in _SUITES:
        return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
