"""What the processes that run a test suite assemble: a plain value, to be sent to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from theseus_kit.runtime.artifacts import CompileOn


@dataclass(frozen=True)
class PlatformChoice:
    """The arguments of :func:`theseus_kit.assemble`, and where modules are compiled."""

    plugins: tuple[str, ...]
    machine: str = "emulated"
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    compile_on: CompileOn = "host"
