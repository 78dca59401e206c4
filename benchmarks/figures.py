"""A measured figure, what it is compared with, and the bound it should meet.

What is measured is the other modules' business; here figures are put side by side and shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

_NARROWEST = 124
"""Columns that the table needs where the output is no terminal and so has no width."""

_STEPS = {"s": (("s", 1.0), ("ms", 1e3), ("µs", 1e6)), "B": (("MB", 1e-6),)}


@dataclass(frozen=True)
class Bound:
    """What a figure should meet: a ratio to its peer, or, with ``unit``, a value of its own."""

    most: float
    least: float = 0.0
    absolute: bool = False

    def text(self, unit: str) -> str:
        """As the table shows it; ``unit`` is that of the figure."""
        most = quantity(self.most, unit) if self.absolute else ratio_text(self.most)
        return f"≤ {most}" if not self.least else f"{self.least:.2f} to {most}"


@dataclass(frozen=True)
class Figure:
    """One row: ``value`` of what is ours beside ``peer_value`` of what it is compared with."""

    name: str
    value: float
    peer: str = ""
    peer_value: float | None = None
    unit: str = "s"
    """``s`` for seconds, ``B`` for bytes."""
    bound: Bound | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None

    @property
    def met(self) -> bool | None:
        """Whether the bound is met; None where there is no bound."""
        measured = self.value if self.bound and self.bound.absolute else self.ratio
        if self.bound is None or measured is None:
            return None
        return self.bound.least <= measured <= self.bound.most

    def as_json(self) -> dict[str, Any]:
        bound = self.bound
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "peer": self.peer or None,
            "peer_value": self.peer_value,
            "ratio": self.ratio,
            "bound": None
            if bound is None
            else {"most": bound.most, "least": bound.least, "absolute": bound.absolute},
            "met": self.met,
        }


def quantity(value: float, unit: str) -> str:
    """A value with the unit that leaves one to three digits before the point."""
    name, factor = _STEPS[unit][-1]
    for name, factor in _STEPS[unit]:  # noqa: B007  (the last one, where none fits)
        if value * factor >= 1:
            break
    scaled = value * factor
    return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {name}"


def ratio_text(ratio: float) -> str:
    """A ratio as people say it: ``1.30x``, and ``1/25`` for what is far cheaper."""
    if ratio < 0.2:
        return f"1/{1 / ratio:.0f}"
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.1f}x"


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table on standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_NARROWEST)
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("here", justify="right")
    table.add_column("against")
    table.add_column("there", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("met")
    for figure in figures:
        table.add_row(
            figure.name,
            quantity(figure.value, figure.unit),
            figure.peer,
            "" if figure.peer_value is None else quantity(figure.peer_value, figure.unit),
            "" if figure.ratio is None else ratio_text(figure.ratio),
            "" if figure.bound is None else figure.bound.text(figure.unit),
            {True: "yes", False: "[bold red]no[/]", None: ""}[figure.met],
        )
    console.print(table)
