"""What a user may choose about the emulated machine."""

from __future__ import annotations

from dataclasses import dataclass

from theseus_kit.options import option


@dataclass(frozen=True, eq=False, repr=False)
class EmulatedOptions:
    """Options of the machine ``emulated``."""

    territory_gib: int = option(
        8192, help="GiB of addresses reserved for guest mappings; less is taken if refused"
    )
    internal_fields: bool = option(
        True, help="use two internal fields of the Unicorn versions whose layout is known"
    )
    grow_tlb: bool = option(True, help="grow the translation look-aside buffer when it pays")
    blocks: str | None = option(
        None, help="file that keeps which code a run needed, to prepare it at the next start"
    )
