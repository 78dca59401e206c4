"""What a user may choose about the native machine."""

from __future__ import annotations

from dataclasses import dataclass

from theseus_kit.options import option


@dataclass(eq=False, repr=False)
class NativeOptions:
    """Options of the machine ``native``."""

    territory_gib: int = option(
        4096, help="GiB of addresses reserved for guest mappings; less is taken if refused"
    )
    system_calls: str = option(
        "auto",
        help="how syscall instructions are caught: dispatch (by the kernel), rewrite, or auto",
    )
