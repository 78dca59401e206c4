"""Machines: what they are is in :mod:`theseus_kit.machine.protocol`; here they are made by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from theseus_kit.errors import UsageError

if TYPE_CHECKING:
    from theseus_kit.machine.protocol import Machine


def machine_names() -> tuple[str, ...]:
    """The names :func:`create_machine` knows."""
    return ("emulated", "native")


def machine_options(name: str) -> type[Any]:
    """The dataclass of a machine's options. Raises UsageError for an unknown name."""
    _require_known(name)
    if name == "native":
        from theseus_kit.machine.native.options import NativeOptions

        return NativeOptions
    from theseus_kit.machine.emulated.options import EmulatedOptions

    return EmulatedOptions


def create_machine(name: str, options: Mapping[str, object] | None = None) -> Machine:
    """Make a machine by name, with options by name (see :func:`machine_options`).

    Raises UsageError for an unknown name or option, MachineError where the host refuses.
    """
    chosen = machine_options(name)
    known = chosen.__dataclass_fields__
    for option in options or {}:
        if option not in known:
            raise UsageError(
                f"machine {name!r} has no option {option!r}: it has {', '.join(known)}"
            )
    if name == "native":
        from theseus_kit.machine.native import NativeMachine

        return NativeMachine(chosen(**(options or {})))
    from theseus_kit.machine.emulated import EmulatedMachine

    return EmulatedMachine(chosen(**(options or {})))


def _require_known(name: str) -> None:
    if name not in machine_names():
        raise UsageError(f"no machine {name!r}: there is {', '.join(machine_names())}")
