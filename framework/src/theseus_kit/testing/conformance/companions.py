"""The plugins that stand beside those somebody named: one for each group those do not provide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from theseus_kit.assembly import BUNDLED, Catalogue
from theseus_kit.errors import AssemblyError
from theseus_kit.hookspecs import Group
from theseus_kit.plugin import Plugin


def with_companions(
    plugin: type[Plugin], companions: Sequence[str | type[Plugin]] | None = None
) -> list[str | type[Plugin]]:
    """A whole assembly with this plugin in it, first; see :func:`completed`."""
    return completed([plugin]) if companions is None else [plugin, *companions]


def completed(plugins: Sequence[str | type[Plugin]]) -> list[str | type[Plugin]]:
    """These plugins, and what provides the groups they leave out.

    The bundled plugins where they fit, and else whatever is installed that provides just what is
    left. Raises AssemblyError where nothing does, and for a name that is not installed.
    """
    catalogue = Catalogue()
    left = frozenset(Group)
    for plugin in plugins:
        found = catalogue.plugin(plugin) if isinstance(plugin, str) else plugin
        left -= found.description.provides
    return [*plugins, *_fitting(left, catalogue)]


def _fitting(groups: frozenset[Group], catalogue: Catalogue) -> list[str]:
    known = {installed.name: installed for installed in catalogue}
    names = [*(name for name in BUNDLED if name in known), *sorted(known.keys() - set(BUNDLED))]
    order = list(Group)

    def provided(name: str) -> frozenset[Group]:
        description = known[name].description
        return frozenset() if description is None else description.provides

    def choices(left: frozenset[Group]) -> Iterator[list[str]]:
        if not left:
            yield []
            return
        group = min(left, key=order.index)
        for name in names:
            provides = provided(name)
            if group in provides and provides <= left:
                yield from ([name, *others] for others in choices(left - provides))

    found = next(choices(groups), None)
    if found is None:
        missing = ", ".join(group.value for group in order if group in groups)
        problems = [(name, known[name].problem) for name in names if known[name].problem]
        raise AssemblyError(
            f"the installed plugins do not provide {missing} beside the others"
            + "".join(f"; {name} is broken: {problem}" for name, problem in problems)
        )
    return found
