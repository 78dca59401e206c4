"""What was assembled, as values: for people, for ``--json`` and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from theseus_kit.values.record import NamedTuple

if TYPE_CHECKING:
    from theseus_kit.hookspecs import Group


class Provider(NamedTuple):
    """Which plugin provides a group."""

    group: str
    plugin: str
    version: str


class AssemblyReport(NamedTuple):
    """A platform's parts: who provides each group, in the contract's order, on which machine."""

    machine: str
    machine_details: str
    providers: tuple[Provider, ...]
    others: tuple[tuple[str, str], ...]
    """Plugins that provide no group (wrappers, C functions): name and version."""

    def provider_of(self, group: Group) -> str:
        """Return the name of the plugin that provides a group."""
        return next(p.plugin for p in self.providers if p.group == group.value)

    def as_json(self) -> dict[str, object]:
        return {
            "machine": {"name": self.machine, "details": self.machine_details},
            "providers": [
                {"group": p.group, "plugin": p.plugin, "version": p.version} for p in self.providers
            ],
            "others": [{"plugin": name, "version": version} for name, version in self.others],
        }

    def __str__(self) -> str:
        rows = [(p.group, p.plugin, p.version) for p in self.providers]
        rows += [("(wraps hooks)", name, version) for name, version in self.others]
        rows.append(("machine", self.machine, self.machine_details))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)
