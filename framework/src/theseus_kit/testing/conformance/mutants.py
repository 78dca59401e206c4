"""Mutants: wrong providers on purpose, which prove that a suite catches what it says it does.

A mutant is a subclass of a right provider with one thing made wrong, and names the test of the
clause it breaks::

    @caught_by("test_a_size_is_rounded_up_to_whole_pages")
    class KeepsTheSizeAsItIs(MyMaps):
        @hookimpl
        def memory_map(self, request):
            return super().memory_map(request)._replace(size=request.size)

:func:`escaped` is then an empty text for each. A provider's own tests may do the same for what its
suite should know about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from theseus_kit.assembly import assemble
from theseus_kit.errors import TheseusKitError
from theseus_kit.plugin import Plugin
from theseus_kit.testing.conformance.companions import with_companions
from theseus_kit.testing.conformance.results import Outcome
from theseus_kit.testing.conformance.runner import run_test, suites_for
from theseus_kit.testing.conformance.suite import Conformance, names_of_tests

_Mutant = TypeVar("_Mutant", bound=type[Plugin])
_CAUGHT_BY = "theseus_kit_caught_by"


def caught_by(*tests: str) -> Callable[[_Mutant], _Mutant]:
    """Name the tests that must fail for a mutant."""

    def mark(mutant: _Mutant) -> _Mutant:
        setattr(mutant, _CAUGHT_BY, tests)
        return mutant

    return mark


def mutants_in(names: Mapping[str, object]) -> list[tuple[type[Plugin], str]]:
    """Each mutant among a module's names, with each test that has to catch it."""
    return [
        (value, test)
        for value in names.values()
        if isinstance(value, type) and issubclass(value, Plugin)
        for test in vars(value).get(_CAUGHT_BY, ())
    ]


def escaped(mutant: type[Plugin], test: str, machine: str = "emulated") -> str:
    """Why a mutant was not caught by a test; empty if it was.

    It has to make a platform: a provider that is too broken for that proves nothing of a test.
    """
    try:
        assemble(with_companions(mutant), machine).close()
    except TheseusKitError as error:
        return f"{mutant.__name__} makes no platform: {error}"
    for suite in suites_for(mutant):
        if test in names_of_tests(suite):
            result = run_test(suite, test, machine)
            if result.outcome is Outcome.FAILED:
                return ""
            return f"{mutant.__name__}: {test} {result.outcome.value} {result.detail}"
    return f"{mutant.__name__}: no suite of it has a test {test}"


def unproved(suite: type[Conformance], mutants: Iterable[tuple[type[Plugin], str]]) -> list[str]:
    """The tests of a suite that no mutant is caught by."""
    proved = {test for _, test in mutants}
    return [test for test in names_of_tests(suite) if test not in proved]
