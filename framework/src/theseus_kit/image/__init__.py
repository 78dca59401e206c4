"""Images: loading ELF files into a machine, binding them to what plugins provide and to each other.

What no boot needs (``Needs``, ``find_needs``, ``LoadedSection`` …) is imported when it is first
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from theseus_kit.image.elf import ElfFile, Segment
from theseus_kit.image.elf_header import Section
from theseus_kit.image.image import Binding, Image
from theseus_kit.image.namespace import Namespace

if TYPE_CHECKING:
    from theseus_kit.image.needs import Needs, SymbolNeed, SystemCallNeed, find_needs
    from theseus_kit.image.sections import Dependency, LoadedSection, SectionKind
    from theseus_kit.image.system_call_sites import SystemCallSite, find_system_call_sites

__all__ = [
    "Binding",
    "Dependency",
    "ElfFile",
    "Image",
    "LoadedSection",
    "Namespace",
    "Needs",
    "Section",
    "SectionKind",
    "Segment",
    "SymbolNeed",
    "SystemCallNeed",
    "SystemCallSite",
    "find_needs",
    "find_system_call_sites",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("SystemCallSite", "find_system_call_sites"):
        from theseus_kit.image import system_call_sites as module
    elif name in ("Dependency", "LoadedSection", "SectionKind"):
        from theseus_kit.image import sections as module  # type: ignore[no-redef]
    else:
        from theseus_kit.image import needs as module  # type: ignore[no-redef]
    return getattr(module, name)
