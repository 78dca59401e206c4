"""The plugins that stand beside the one under test: one for each group it does not provide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from theseus_kit.assembly import BUNDLED, Catalogue
from theseus_kit.errors import AssemblyError
from theseus_kit.hookspecs import Group
from theseus_kit.plugin import Plugin


def with_companions(
    plugin: type[Plugin], companions: Sequence[str | type[Plugin]] | None = None
) -> list[str | type[Plugin]]:
    """A whole assembly with this plugin in it, first.

    Without ``companions``: the bundled plugins where they fit, and else whatever is installed
    that provides just what is left. Raises AssemblyError where nothing does.
    """
    if companions is not None:
        return [plugin, *companions]
    return [plugin, *_fitting(frozenset(Group) - plugin.description.provides)]


def _fitting(groups: frozenset[Group]) -> list[str]:
    catalogue = Catalogue()
    known = {installed.name: installed for installed in catalogue}
    names = [*(name for name in BUNDLED if name in known), *sorted(known.keys() - set(BUNDLED))]

    def provided(name: str) -> frozenset[Group]:
        description = known[name].description
        return frozenset() if description is None else description.provides

    def choices(left: frozenset[Group]) -> Iterator[list[str]]:
        if not left:
            yield []
            return
        group = min(left, key=lambda group: list(Group).index(group))
        for name in names:
            provides = provided(name)
            if group in provides and provides <= left:
                yield from ([name, *others] for others in choices(left - provides))

    found = next(choices(groups), None)
    if found is None:
        missing = ", ".join(sorted(group.value for group in groups))
        raise AssemblyError(f"the installed plugins do not provide {missing} beside this one")
    return found
